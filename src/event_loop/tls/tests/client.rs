//! A client of rustls and our side of its connection, in memory.

use super::super::config::{Options, Settings, settings};
use super::super::names::Choice;
use super::super::{Failure, Hello, Tls};
use crate::channel::buffers::Buffer;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, ProtocolVersion, SignatureScheme,
    SupportedCipherSuite,
};
use std::io::{IoSlice, Read, Write};
use std::sync::{Arc, LazyLock};

/// A key that was made for these tests and is used nowhere else.
const KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgyJQx+CLN/UZHThbj
Iq2FikjBYLALuViydEiYN7z8Dg6hRANCAAQ1qA7d124NSP4gxBM3hsgi8hyM+Mmq
gGqk6HEjRI16kiraeFZJ/+uN231pvWLNqot0XZTGC3bPI8tOGxTtY+9o
-----END PRIVATE KEY-----
";
const CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----
MIIBjjCCATSgAwIBAgIUOqD1aTB3fMXuVzDrl59GD4Razy0wCgYIKoZIzj0EAwIw
DzENMAsGA1UEAwwEdGVzdDAgFw0yNjExMjUwMzA2MTZaGA8yMTI2MTEwMTAzMDYx
NlowDzENMAsGA1UEAwwEdGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABDWo
Dt3Xbg1I/iDEEzeGyCLyHIz4yaqAaqTocSNEjXqSKtp4Vkn/643bfWm9Ys2qi3Rd
lMYLds8jy04bFO1j72ijbDBqMB0GA1UdDgQWBBQ5OVYDj2+PXe0bmUoRfSUDwEKn
RDAfBgNVHSMEGDAWgBQ5OVYDj2+PXe0bmUoRfSUDwEKnRDAPBgNVHRMBAf8EBTAD
AQH/MBcGA1UdEQQQMA6CDHRlc3QuZXhhbXBsZTAKBggqhkjOPQQDAgNIADBFAiBk
sjm5DqxoPpE19HjFjN8GQbByLCwDc6z8Cxd/wpG4wwIhAPpkjY/fJT94J4+KsRUu
ZFw9SREP0K6jwLkYBf1HgScy
-----END CERTIFICATE-----
";

pub static SETTINGS: LazyLock<Arc<Settings>> = LazyLock::new(|| {
    let file = |name: &str, content: &str| {
        let path = std::env::temp_dir().join(format!("uws-rs-tls-{}-{name}.pem", std::process::id()));
        std::fs::write(&path, content).expect("temporary file");
        path.to_str().expect("path").to_owned()
    };
    let (key, cert) = (file("key", KEY), file("cert", CERTIFICATE));
    let options = Options {
        key_file_name: Some(key.clone()),
        cert_file_name: Some(cert.clone()),
        ..Options::default()
    };
    let settings = settings(&options).expect("settings").expect("certificate");
    for path in [key, cert] {
        std::fs::remove_file(path).expect("temporary file");
    }
    settings
});

#[derive(Debug)]
pub struct Trusting;

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let provider = aws_lc_rs::default_provider();
        rustls::crypto::verify_tls12_signature(
            message,
            cert,
            dss,
            &provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let provider = aws_lc_rs::default_provider();
        rustls::crypto::verify_tls13_signature(
            message,
            cert,
            dss,
            &provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

/// Every suite that goes with the key.
pub fn suites() -> Vec<SupportedCipherSuite> {
    let all = aws_lc_rs::ALL_CIPHER_SUITES.iter();
    all.copied().filter(|suite| !format!("{:?}", suite.suite()).contains("_RSA_")).collect()
}

pub fn suite_of(version: ProtocolVersion) -> SupportedCipherSuite {
    suites().into_iter().find(|suite| suite.version().version == version).expect("suite")
}

pub struct Pair {
    pub server: Tls,
    pub client: ClientConnection,
    /// The plain bytes that the server has received.
    pub plain: Buffer,
    /// The server gets so many bytes at a time.
    pub step: usize,
}

impl Pair {
    pub fn new(suite: SupportedCipherSuite, step: usize) -> Self {
        let mut provider = aws_lc_rs::default_provider();
        provider.cipher_suites = vec![suite];
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[suite.version()])
            .expect("versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Trusting))
            .with_no_client_auth();
        config.enable_secret_extraction = true;
        let name = ServerName::try_from("Test.Example").expect("name");
        let client = ClientConnection::new(Arc::new(config), name).expect("client");
        Pair { server: Tls::default(), client, plain: Buffer::default(), step }
    }

    pub fn established(suite: SupportedCipherSuite) -> Self {
        let mut pair = Pair::new(suite, usize::MAX);
        pair.exchange().expect("handshake");
        assert!(!pair.server.is_handshaking() && !pair.client.is_handshaking());
        pair
    }

    /// Gives bytes to the server as a connection does.
    pub fn give(&mut self, bytes: &[u8]) -> Result<bool, Failure> {
        let mut ended = false;
        for piece in bytes.chunks(self.step) {
            let mut all = [self.server.rest(), piece].concat();
            match self.server.read_hello(&all) {
                Hello::Incomplete => self.server.keep_rest(&all),
                Hello::PlainText => panic!("plain text"),
                Hello::Complete => {
                    assert_eq!(
                        self.server.client_hello().expect("ClientHello").name.as_deref(),
                        Some("test.example")
                    );
                    self.server.choose(Choice { settings: Some(SETTINGS.clone()), router: None })?;
                    ended |= self.server.decrypt(&mut all, &mut self.plain)?;
                }
                Hello::Passed => ended |= self.server.decrypt(&mut all, &mut self.plain)?,
            }
        }
        Ok(ended)
    }

    /// The records that the server has to send, with `data` behind them.
    pub fn take(&mut self, data: &[u8]) -> Result<Vec<u8>, Failure> {
        let mut records = Buffer::default();
        let (front, back) = data.split_at(data.len() / 3);
        let taken = self.server.encrypt(&[IoSlice::new(front), IoSlice::new(back)], &mut records)?;
        assert_eq!(taken, data.len());
        Ok(records.filled().to_vec())
    }

    pub fn client_gets(&mut self, mut records: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let mut got = Vec::new();
        while !records.is_empty() {
            self.client.read_tls(&mut records).expect("memory");
            let state = self.client.process_new_packets()?;
            let mut part = vec![0; state.plaintext_bytes_to_read()];
            self.client.reader().read_exact(&mut part).expect("plain text");
            got.extend(part);
        }
        Ok(got)
    }

    pub fn client_records(&mut self) -> Vec<u8> {
        let mut records = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut records).expect("memory");
        }
        records
    }

    /// Passes records until neither side has any to send.
    pub fn exchange(&mut self) -> Result<bool, Failure> {
        let mut ended = false;
        loop {
            let from_client = self.client_records();
            ended |= self.give(&from_client)?;
            let from_server = self.take(b"")?;
            self.client_gets(&from_server).expect("client");
            if from_client.is_empty() && from_server.is_empty() {
                return Ok(ended);
            }
        }
    }

    pub fn client_sends(&mut self, data: &[u8]) -> Result<bool, Failure> {
        for part in data.chunks(32 << 10) {
            self.client.writer().write_all(part).expect("memory");
            let records = self.client_records();
            self.give(&records)?;
        }
        Ok(false)
    }
}
