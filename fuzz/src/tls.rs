//! Records of TLS: our server against a client of rustls, with keys changed at any point, records cut and
//! joined anywhere, and damage; and our records as a client's against a server of rustls.

use crate::input::steps;
use arbitrary::Arbitrary;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConnection, PeerMisbehaved, ProtocolVersion, ServerConfig, ServerConnection, SupportedCipherSuite,
};
use std::io::{IoSlice, Read, Write};
use std::sync::{Arc, LazyLock};
use uws_rs::channel::buffers::Buffer;
use uws_rs::event_loop::fuzzing::{ALERT, Choice, DATA, HEADER, MAX_OVERHEAD, MAX_PLAIN, RecordKey};
use uws_rs::event_loop::tls::testing::{CERTIFICATE, KEY, client_config, settings_with};
use uws_rs::event_loop::tls::{Hello, Settings, Tls};

#[derive(Arbitrary, Debug)]
enum Step {
    ClientSends(u16),
    ClientChangesKey,
    ServerSends(u16, u8),
    /// So many bytes of those on the way; 255 is all.
    ServerGets(u8),
    ClientGets(u8),
    ClientCloses,
    ServerCloses,
    /// A byte on the way is changed: the position from the end, and how.
    DamageToServer(u16, u8),
    DamageToClient(u16, u8),
}

pub fn run(data: &[u8]) {
    let &[suite, fragment, mode, ref script @ ..] = data else { return };
    let suite = SUITES[usize::from(suite) % SUITES.len()];
    let fragment = [None, Some(32), Some(100), Some(4096)][usize::from(fragment) % 4];
    match mode % 4 {
        0 => records_of_a_client(suite, script),
        _ => Pair::new(suite, fragment).play(script),
    }
}

// ---- configuration

static SUITES: LazyLock<Vec<SupportedCipherSuite>> = LazyLock::new(|| {
    let all = aws_lc_rs::ALL_CIPHER_SUITES.iter();
    all.copied().filter(|suite| !format!("{:?}", suite.suite()).contains("_RSA_")).collect()
});

static SETTINGS: LazyLock<Arc<Settings>> = LazyLock::new(|| settings_with("fuzz", KEY, CERTIFICATE));

fn client(suite: SupportedCipherSuite, fragment: Option<usize>) -> ClientConnection {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites = vec![suite];
    let mut config = client_config(provider, &[suite.version()]);
    config.enable_secret_extraction = true;
    config.max_fragment_size = fragment;
    let name = ServerName::try_from("test.example").expect("name");
    let mut client = ClientConnection::new(Arc::new(config), name).expect("client");
    client.set_buffer_limit(None);
    client
}

fn is_tls13(suite: SupportedCipherSuite) -> bool {
    suite.version().version == ProtocolVersion::TLSv1_3
}

/// Bytes that say where in a stream they are.
fn pattern(start: usize, len: usize) -> Vec<u8> {
    (start..start + len).map(|at| (at * 31 + at / 256) as u8).collect()
}

// ---- our server

struct Pair {
    tls13: bool,
    server: Tls,
    client: ClientConnection,
    plain: Buffer,
    to_server: Vec<u8>,
    to_client: Vec<u8>,
    /// Bytes that each side has sent, and that the client has received.
    from_client: usize,
    from_server: usize,
    client_got: usize,
    /// Messages without data that the server has got in a row at most.
    idle: usize,
    /// Changes of the client's key.
    changes: usize,
    damaged: bool,
    client_closed: bool,
    server_closed: bool,
    over: bool,
}

impl Pair {
    fn new(suite: SupportedCipherSuite, fragment: Option<usize>) -> Self {
        Pair {
            tls13: is_tls13(suite),
            server: Tls::default(),
            client: client(suite, fragment),
            plain: Buffer::default(),
            to_server: Vec::new(),
            to_client: Vec::new(),
            from_client: 0,
            from_server: 0,
            client_got: 0,
            idle: 0,
            changes: 0,
            damaged: false,
            client_closed: false,
            server_closed: false,
            over: false,
        }
    }

    fn play(mut self, script: &[u8]) {
        for step in steps::<Step>(script, 100) {
            self.client_writes();
            if self.over {
                return;
            }
            self.step(step);
        }
        if !self.damaged {
            self.finish();
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::ClientSends(len) if !self.client_closed => self.client_sends(usize::from(len)),
            Step::ClientChangesKey if self.tls13 && self.may_change_key() => {
                if self.client.refresh_traffic_keys().is_ok() {
                    self.idle += 1;
                    self.changes += 1;
                }
            }
            Step::ServerSends(len, cut) if !self.server_closed => {
                self.server_sends(usize::from(len), usize::from(cut));
            }
            Step::ServerGets(len) => self.server_gets(len),
            Step::ClientGets(len) => self.client_gets(len),
            // A client of rustls asserts that nothing is wrong with the records behind its own close_notify.
            Step::ClientCloses if !self.client_closed && !self.damaged && !self.client.is_handshaking() => {
                self.client.send_close_notify();
                self.client_closed = true;
            }
            Step::ServerCloses if !self.server.is_handshaking() && !self.server_closed => {
                self.server_sends(0, 0);
                let mut records = Buffer::default();
                self.server.close(&mut records);
                self.to_client.extend_from_slice(records.filled());
                self.server_closed = true;
            }
            Step::DamageToServer(at, change) => self.damaged |= damage(&mut self.to_server, at, change),
            Step::DamageToClient(at, change) if !self.client_closed => {
                self.damaged |= damage(&mut self.to_client, at, change)
            }
            _ => {}
        }
    }

    /// Our server takes so many changes whatever comes between them.
    fn may_change_key(&self) -> bool {
        self.idle < 20 && self.changes < 64 && !self.client_closed
    }

    fn client_sends(&mut self, len: usize) {
        if len > 0 {
            self.client.writer().write_all(&pattern(self.from_client, len)).expect("memory");
            self.from_client += len;
            self.idle = 0;
        }
    }

    fn client_writes(&mut self) {
        while self.client.wants_write() {
            self.client.write_tls(&mut self.to_server).expect("memory");
        }
    }

    fn server_sends(&mut self, len: usize, cut: usize) {
        let data = pattern(self.from_server, len);
        let (front, back) = data.split_at(len * cut / 256);
        let mut records = Buffer::default();
        let slices = [IoSlice::new(front), IoSlice::new(&[]), IoSlice::new(back)];
        let taken = self.server.encrypt(&slices, &mut records).expect("keys that are not worn out");
        assert_eq!(taken, if self.server.is_handshaking() || self.server_closed { 0 } else { len });
        self.from_server += taken;
        self.to_client.extend_from_slice(records.filled());
        assert_eq!(self.server.unsent(), 0);
    }

    fn server_gets(&mut self, len: u8) {
        let len = if len == 255 { self.to_server.len() } else { self.to_server.len().min(usize::from(len)) };
        let mut bytes = self.server.take_rest();
        bytes.extend(self.to_server.drain(..len));
        let hello = self.server.read_hello(&bytes);
        let result = match hello {
            Hello::Incomplete => {
                self.server.keep_rest(&bytes);
                return;
            }
            Hello::PlainText => {
                assert!(self.damaged);
                self.over = true;
                return;
            }
            Hello::Complete => {
                let choice = Choice { settings: Some(SETTINGS.clone()), router: None };
                self.server.choose(choice).expect("settings");
                self.server.decrypt(&mut bytes, &mut self.plain)
            }
            Hello::Passed => self.server.decrypt(&mut bytes, &mut self.plain),
        };
        assert!(self.plain.len() <= self.from_client, "more than was sent");
        assert!(self.plain.filled() == pattern(0, self.plain.len()), "other bytes than were sent");
        match result {
            Ok(closed) => assert!(!closed || self.client_closed, "an end that nobody sent"),
            Err(failure) => {
                assert!(self.damaged, "{failure}");
                self.server.fail();
                self.after_failure();
            }
        }
    }

    /// Nothing but one alert leaves a session that has failed, and nothing comes out of it.
    fn after_failure(&mut self) {
        let before = self.plain.len();
        let mut more = self.to_server.clone();
        assert!(!self.server.decrypt(&mut more, &mut self.plain).expect("ignored"));
        assert_eq!(self.plain.len(), before);
        let mut records = Buffer::default();
        assert_eq!(self.server.encrypt(&[IoSlice::new(b"data")], &mut records).expect("nothing"), 0);
        self.over = true;
    }

    fn client_gets(&mut self, len: u8) {
        if !self.server_closed {
            self.server_sends(0, 0);
        }
        let len = if len == 255 { self.to_client.len() } else { self.to_client.len().min(usize::from(len)) };
        let bytes: Vec<u8> = self.to_client.drain(..len).collect();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let read = self.client.read_tls(&mut rest).expect("memory");
            if read == 0 {
                // rustls reads nothing behind a close_notify.
                assert!(self.server_closed || self.damaged);
                return;
            }
            let state = match self.client.process_new_packets() {
                Ok(state) => state,
                Err(error) => {
                    assert!(self.damaged, "{error}");
                    self.over = true;
                    return;
                }
            };
            let mut part = vec![0; state.plaintext_bytes_to_read()];
            self.client.reader().read_exact(&mut part).expect("plain bytes");
            assert!(part == pattern(self.client_got, part.len()), "other bytes than were sent");
            self.client_got += part.len();
        }
        assert!(self.client_got <= self.from_server);
    }

    /// Everything that is on its way arrives.
    fn finish(&mut self) {
        loop {
            self.client_writes();
            let before = (self.to_server.len(), self.to_client.len());
            if !self.to_server.is_empty() {
                self.server_gets(255);
            }
            self.client_gets(255);
            self.client_writes();
            if before == (0, 0) && self.to_server.is_empty() && self.to_client.is_empty() {
                break;
            }
            if self.server_closed && !self.to_client.is_empty() {
                break;
            }
        }
        assert!(!self.over);
        assert!(!self.server.is_handshaking() && !self.client.is_handshaking());
        assert_eq!(self.plain.len(), self.from_client);
        assert_eq!(self.client_got, self.from_server);
        assert!(self.server.rest().is_empty());
    }
}

/// Changes a byte, counted from the end; false if there is none or the change is none.
fn damage(bytes: &mut [u8], at: u16, change: u8) -> bool {
    let Some(index) = bytes.len().checked_sub(usize::from(at) + 1) else { return false };
    bytes[index] ^= change;
    change != 0
}

// ---- a server of rustls

/// So many empty records in a row are taken by rustls.
const MAX_EMPTY: usize = 32;

#[derive(Arbitrary, Debug)]
enum Record {
    Sent(u16),
    Received(u16),
    Damaged(u16, u16, u8),
    ReceivedDamaged(u16, u16, u8),
    Closed,
}

static SERVER: LazyLock<Arc<ServerConfig>> = LazyLock::new(|| {
    let chain = vec![CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).expect("certificate")];
    let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).expect("key");
    let provider =
        rustls::crypto::CryptoProvider { cipher_suites: SUITES.clone(), ..aws_lc_rs::default_provider() };
    let config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("settings");
    Arc::new(config)
});

fn records_of_a_client(suite: SupportedCipherSuite, script: &[u8]) {
    let mut client = client(suite, None);
    let mut server = ServerConnection::new(SERVER.clone()).expect("server");
    server.set_buffer_limit(None);
    while client.is_handshaking() || server.is_handshaking() || server.wants_write() || client.wants_write() {
        let mut records = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut records).expect("memory");
        }
        feed(&mut server, &records).expect("sound");
        let mut records = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut records).expect("memory");
        }
        let mut rest = &records[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest).expect("memory");
            client.process_new_packets().expect("sound");
        }
    }
    let secrets = client.dangerous_extract_secrets().expect("secrets");
    let key = |(sequence, secrets)| RecordKey::new(is_tls13(suite), sequence, &secrets).expect("cipher");
    let (mut sealer, mut opener) = (key(secrets.tx), key(secrets.rx));
    let (mut sent, mut received, mut empty) = (0, 0, 0);
    for step in steps::<Record>(script, 60) {
        match step {
            Record::Sent(len) => {
                let len = usize::from(len) % (MAX_PLAIN + 1);
                empty = if len == 0 { empty + 1 } else { 0 };
                if empty > MAX_EMPTY {
                    let refused = feed(&mut server, &seal(&mut sealer, DATA, &[])).expect_err("too many");
                    assert_eq!(refused, PeerMisbehaved::TooManyEmptyFragments.into());
                    return;
                }
                let data = pattern(sent, len);
                let got = feed(&mut server, &seal(&mut sealer, DATA, &data)).expect("sound");
                assert!(got == data);
                sent += len;
            }
            Record::Damaged(len, at, change) => {
                let len = usize::from(len) % (MAX_PLAIN + 1);
                let mut record = seal(&mut sealer, DATA, &pattern(sent, len));
                let at = HEADER + usize::from(at) % (record.len() - HEADER);
                record[at] ^= change.max(1);
                assert!(feed(&mut server, &record).is_err());
                return;
            }
            Record::Received(len) | Record::ReceivedDamaged(len, ..) => {
                let data = pattern(received, usize::from(len).max(1));
                server.writer().write_all(&data).expect("memory");
                let mut records = Vec::new();
                while server.wants_write() {
                    server.write_tls(&mut records).expect("memory");
                }
                if let Record::ReceivedDamaged(_, at, change) = step {
                    // In the first record, behind its header.
                    let end = HEADER + usize::from(u16::from_be_bytes([records[3], records[4]]));
                    let at = HEADER + usize::from(at) % (end - HEADER);
                    records[at] ^= change.max(1);
                    let mut out = vec![0; end];
                    assert!(opener.open(records[0], &records[HEADER..end], &mut out).is_err());
                    return;
                }
                assert!(open(&mut opener, &records) == data);
                received += data.len();
            }
            Record::Closed => {
                let record = seal(&mut sealer, ALERT, &[1, 0]);
                let mut rest = &record[..];
                server.read_tls(&mut rest).expect("memory");
                let state = server.process_new_packets().expect("sound");
                assert!(state.peer_has_closed());
                return;
            }
        }
    }
}

/// The plain bytes that come out of the server.
fn feed(server: &mut ServerConnection, mut records: &[u8]) -> Result<Vec<u8>, rustls::Error> {
    let mut got = Vec::new();
    while !records.is_empty() {
        server.read_tls(&mut records).expect("memory");
        let state = server.process_new_packets()?;
        let mut part = vec![0; state.plaintext_bytes_to_read()];
        server.reader().read_exact(&mut part).expect("plain bytes");
        got.extend(part);
    }
    Ok(got)
}

fn seal(sealer: &mut RecordKey, kind: u8, content: &[u8]) -> Vec<u8> {
    let mut record = vec![0; content.len() + MAX_OVERHEAD];
    let sealed = sealer.seal(kind, content.len(), &mut record, |to| to.copy_from_slice(content));
    record.truncate(sealed.ok().expect("sealed"));
    record
}

fn open(opener: &mut RecordKey, mut records: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    while !records.is_empty() {
        let end = HEADER + usize::from(u16::from_be_bytes([records[3], records[4]]));
        let mut out = vec![0; end];
        let (kind, len) = opener.open(records[0], &records[HEADER..end], &mut out).ok().expect("sound");
        assert_eq!(kind, DATA);
        all.extend_from_slice(&out[..len]);
        records = &records[end..];
    }
    all
}
