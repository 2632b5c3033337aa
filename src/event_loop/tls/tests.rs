//! Whole sessions in memory: a client of rustls against our server, and a client that seals arbitrary
//! records.

mod client;

use super::names::Choice;
use super::record::{ALERT, DATA, HANDSHAKE, HEADER, MAX_OVERHEAD, RecordKey};
use super::testing::client_config;
use super::*;
use client::{Pair, SETTINGS, suite_of, suites};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ProtocolVersion};
use std::io::Write;
use std::sync::Arc;

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31) as u8).collect()
}

#[test]
fn every_suite_in_both_directions_in_pieces_of_any_size() {
    for suite in suites() {
        for step in [1, 7, 1000, usize::MAX] {
            let mut pair = Pair::new(suite, step);
            pair.exchange().expect("handshake");
            assert_eq!(pair.client.negotiated_cipher_suite().expect("suite").suite(), suite.suite());
            for len in [1, 2, 20, 16383, 16384, 16385, 50_000] {
                let data = pattern(len);
                pair.client_sends(&data).expect("sound records");
                assert_eq!(pair.plain.filled(), data, "{suite:?} {step} {len}");
                pair.plain.clear();
                let records = pair.take(&data).expect("records");
                assert_eq!(pair.client_gets(&records).expect("client"), data, "{suite:?} {step} {len}");
            }
            assert!(pair.server.rest().is_empty());
        }
    }
}

#[test]
fn data_in_the_same_read_as_the_end_of_the_handshake_is_not_lost() {
    for version in [ProtocolVersion::TLSv1_3, ProtocolVersion::TLSv1_2] {
        let mut pair = Pair::new(suite_of(version), usize::MAX);
        pair.client.writer().write_all(b"early bird").expect("memory");
        pair.exchange().expect("handshake");
        assert_eq!(pair.plain.filled(), b"early bird");
    }
}

/// Cuts the flight at every byte: the records behind the client's Finished are for the session, wherever a
/// read ends.
#[test]
fn a_change_of_keys_in_one_flight_with_the_end_of_the_handshake() {
    for asks in 0..3 {
        for cut in 0..usize::MAX {
            let mut pair = Pair::new(suite_of(ProtocolVersion::TLSv1_3), usize::MAX);
            let hello = pair.client_records();
            pair.give(&hello).expect("hello");
            let records = pair.take(b"").expect("records");
            pair.client_gets(&records).expect("flight of the server");
            pair.client.writer().write_all(b"early").expect("memory");
            for _ in 0..asks {
                pair.client.refresh_traffic_keys().expect("TLS 1.3");
                pair.client.writer().write_all(b" bird").expect("memory");
            }
            let flight = pair.client_records();
            if cut > flight.len() {
                assert!(cut > 100);
                break;
            }
            pair.give(&flight[..cut]).expect("first part");
            pair.give(&flight[cut..]).expect("second part");
            let records = pair.take(b"answer").expect("records");
            assert_eq!(pair.client_gets(&records).expect("key"), b"answer", "{asks} {cut}");
            assert_eq!(pair.plain.filled().len(), 5 + 5 * asks);
        }
    }
}

#[test]
fn the_last_flight_of_a_tls_1_2_client_wherever_a_read_ends() {
    for cut in 0..usize::MAX {
        let mut pair = Pair::new(suite_of(ProtocolVersion::TLSv1_2), usize::MAX);
        pair.client.writer().write_all(b"early bird").expect("memory");
        let hello = pair.client_records();
        pair.give(&hello).expect("hello");
        let records = pair.take(b"").expect("records");
        pair.client_gets(&records).expect("flight of the server");
        let flight = pair.client_records();
        if cut > flight.len() {
            assert!(cut > 80);
            break;
        }
        pair.give(&flight[..cut]).expect("first part");
        pair.give(&flight[cut..]).expect("second part");
        pair.exchange().expect("handshake");
        let records = pair.take(b"answer").expect("records");
        assert_eq!(pair.client_gets(&records).expect("key"), b"answer", "{cut}");
        assert_eq!(pair.plain.filled(), b"early bird");
    }
}

#[test]
fn a_handshake_in_small_records_is_put_together() {
    for (suite, part) in suites().into_iter().flat_map(|suite| [1, 3, 4, 5, 100].map(|part| (suite, part))) {
        for step in [1, 7, usize::MAX] {
            let mut pair = Pair::new(suite, step);
            // The ClientHello in records of so many bytes.
            let hello = pair.client_records();
            let records: Vec<u8> = hello[HEADER..]
                .chunks(part)
                .flat_map(|part| [&[HANDSHAKE, 3, 1, 0, part.len() as u8], part].concat())
                .collect();
            pair.give(&records).expect("hello");
            assert!(!pair.exchange().expect("handshake"));
            assert!(!pair.client.is_handshaking());
        }
    }
}

#[test]
fn our_cipher_is_aes_128_unless_the_client_has_no_hardware_for_it() {
    let order = |first: &str| {
        let mut provider = aws_lc_rs::default_provider();
        provider.cipher_suites.sort_by_key(|suite| !format!("{:?}", suite.suite()).contains(first));
        let mut pair = Pair::new(provider.cipher_suites[0], usize::MAX);
        let config = client_config(provider, rustls::DEFAULT_VERSIONS);
        let name = ServerName::try_from("test.example").expect("name");
        pair.client = ClientConnection::new(Arc::new(config), name).expect("client");
        pair.exchange().expect("handshake");
        format!("{:?}", pair.client.negotiated_cipher_suite().expect("suite").suite())
    };
    assert_eq!(order("AES_256"), "TLS13_AES_128_GCM_SHA256");
    assert_eq!(order("CHACHA20"), "TLS13_CHACHA20_POLY1305_SHA256");
}

// ---- keys

#[test]
fn the_client_may_change_its_key_and_have_ours_changed() {
    let mut pair = Pair::established(suite_of(ProtocolVersion::TLSv1_3));
    for round in 0..50 {
        pair.client.refresh_traffic_keys().expect("TLS 1.3");
        pair.client_sends(&[round]).expect("new key");
        // Our new key comes with the next data, not before.
        assert!(pair.take(b"").expect("nothing").is_empty());
        let records = pair.take(b"answer").expect("records");
        assert_eq!(pair.client_gets(&records).expect("new key"), b"answer");
    }
    assert_eq!(pair.plain.filled().len(), 50);
}

/// A new key takes as long as many records, so a client may not change it with each.
#[test]
fn the_client_may_not_change_its_key_all_the_time() {
    for (records, rounds) in [(1, 68), (8, 127), (16, 1000)] {
        let mut pair = Pair::established(suite_of(ProtocolVersion::TLSv1_3));
        let failed = (0..1000).find_map(|round| {
            pair.client.refresh_traffic_keys().expect("TLS 1.3");
            (0..records).find_map(|_| pair.client_sends(b"x").err()).map(|failure| (round, failure))
        });
        match failed {
            None => assert_eq!(rounds, 1000, "{records} records"),
            Some((round, failure)) => {
                assert_eq!(round, rounds, "{records} records");
                assert!(matches!(failure, Failure::Session(Violation::Idle)));
            }
        }
    }
}

#[test]
fn a_key_that_is_worn_out_is_changed_in_tls_1_3_and_ends_the_session_in_1_2() {
    let mut pair = Pair::established(suite_of(ProtocolVersion::TLSv1_3));
    let State::Session(session) = &mut pair.server.state else { panic!("session") };
    session.wear_out_after(20);
    for round in 0..100u8 {
        let records = pair.take(&[round; 3]).expect("records");
        assert_eq!(pair.client_gets(&records).expect("key"), [round; 3]);
    }
    pair.client_sends(b"still here").expect("key of the client");
    let mut pair = Pair::established(suite_of(ProtocolVersion::TLSv1_2));
    let State::Session(session) = &mut pair.server.state else { panic!("session") };
    session.wear_out_after(20);
    let failed = (0..100).find_map(|_| pair.take(b"x").err());
    assert!(matches!(failed, Some(Failure::Session(Violation::WornOut))));
}

// ---- a client that seals arbitrary records

/// The client's side of an established session, with its bare keys.
struct Forger {
    pair: Pair,
    sealer: RecordKey,
    opener: RecordKey,
}

impl Forger {
    fn new(version: ProtocolVersion) -> Self {
        let mut pair = Pair::established(suite_of(version));
        let other = Pair::new(suite_of(version), usize::MAX).client;
        let client = std::mem::replace(&mut pair.client, other);
        let secrets = client.dangerous_extract_secrets().expect("secrets");
        let key = |(sequence, secrets)| {
            RecordKey::new(version == ProtocolVersion::TLSv1_3, sequence, &secrets).expect("key")
        };
        Forger { pair, sealer: key(secrets.tx), opener: key(secrets.rx) }
    }

    fn sends(&mut self, kind: u8, content: &[u8]) -> Result<bool, Failure> {
        let mut record = vec![0; content.len() + MAX_OVERHEAD];
        let len = self
            .sealer
            .seal(kind, content.len(), &mut record, |to| to.copy_from_slice(content))
            .expect("sealed");
        self.pair.give(&record[..len])
    }

    /// The records of the server, opened.
    fn gets(&mut self) -> Vec<(u8, Vec<u8>)> {
        let records = self.pair.take(b"").expect("records");
        let (mut rest, mut all) = (&records[..], Vec::new());
        while !rest.is_empty() {
            let end = HEADER + usize::from(u16::from_be_bytes([rest[3], rest[4]]));
            let mut out = vec![0; end];
            let (kind, len) = self.opener.open(rest[0], &rest[HEADER..end], &mut out).expect("opened");
            all.push((kind, out[..len].to_vec()));
            rest = &rest[end..];
        }
        all
    }
}

const BOTH: [ProtocolVersion; 2] = [ProtocolVersion::TLSv1_3, ProtocolVersion::TLSv1_2];

#[test]
fn violations_are_told_with_their_alert() {
    let hello = [1, 0, 0, 0];
    let all: [(u8, &[u8], u8, Option<u8>); 7] = [
        // Kind, content, alert in TLS 1.3 and in 1.2.
        (DATA, &[1; (1 << 14) + 1], 22, Some(22)),
        (20, &[1], 10, Some(10)),
        (HANDSHAKE, &[20, 0, 0, 0], 10, Some(10)),
        (HANDSHAKE, &hello, 10, None),
        (HANDSHAKE, &[24, 0, 0, 1, 2], 47, Some(10)),
        (HANDSHAKE, &[24, 0, 0, 1, 0, 24, 0, 0, 1, 0], 10, Some(10)),
        (ALERT, &[2], 50, Some(50)),
    ];
    for (kind, content, alert13, alert12) in all {
        for version in BOTH {
            let mut forger = Forger::new(version);
            let result = forger.sends(kind, content);
            let alert = if version == ProtocolVersion::TLSv1_3 { Some(alert13) } else { alert12 };
            let Some(alert) = alert else { continue };
            assert!(matches!(result, Err(Failure::Session(_))), "{kind} {version:?}");
            assert_eq!(forger.gets(), [(ALERT, vec![2, alert])], "{kind} {version:?}");
        }
    }
}

#[test]
fn a_record_nobody_sealed_or_in_clear_text_is_refused() {
    for version in BOTH {
        for record in
            [&[DATA, 3, 3, 0, 24][..], &[ALERT, 3, 3, 0, 2], &[DATA, 3, 3, 0xff, 0xff], b"GET / HTTP/1.1"]
        {
            let mut forger = Forger::new(version);
            let record = [record, &[1; 24]].concat();
            assert!(forger.pair.give(&record).is_err());
            let [(ALERT, alert)] = &forger.gets()[..] else { panic!("one alert") };
            assert!(matches!(alert[..], [2, 10 | 20 | 22 | 50]), "{alert:?}");
            forger.pair.server.fail();
            assert!(!forger.sends(DATA, b"more").expect("ignored"));
            assert!(forger.pair.plain.is_empty());
        }
    }
}

#[test]
fn records_without_data_are_borne_only_so_many_times() {
    for version in BOTH {
        let mut forger = Forger::new(version);
        for round in 0..100 {
            assert!(forger.sends(DATA, b"").is_ok());
            if round % 20 == 0 {
                forger.sends(DATA, b"!").expect("data");
            }
        }
        let failed = (0..100).find_map(|_| forger.sends(DATA, b"").err());
        assert!(matches!(failed, Some(Failure::Session(Violation::Idle))));
    }
}

#[test]
fn renegotiation_is_refused_once_and_then_ends_the_session() {
    let mut forger = Forger::new(ProtocolVersion::TLSv1_2);
    let hello = [1, 0, 0, 0];
    assert!(!forger.sends(HANDSHAKE, &hello).expect("refused"));
    assert_eq!(forger.gets(), [(ALERT, vec![1, 100])]);
    forger.sends(DATA, b"data").expect("the session goes on");
    assert_eq!(forger.pair.plain.filled(), b"data");
    assert!(forger.sends(HANDSHAKE, &hello).is_err());
}

#[test]
fn alerts_end_the_session_but_for_those_that_do_not() {
    for version in BOTH {
        let mut forger = Forger::new(version);
        assert!(!forger.sends(ALERT, &[1, 90]).expect("user_canceled"));
        assert!(forger.sends(ALERT, &[1, 0]).expect("close_notify"));
        // Further bytes are ignored, and our side may still send.
        assert!(!forger.pair.give(b"anything").expect("ignored"));
        assert_eq!(forger.pair.take(b"data").expect("records")[0], DATA);
        let mut forger = Forger::new(version);
        assert!(matches!(forger.sends(ALERT, &[2, 40]), Err(Failure::Session(Violation::Alert(40)))));
        assert!(forger.gets().is_empty());
    }
}

#[test]
fn close_notify_is_the_last_we_say_and_is_said_once() {
    for version in BOTH {
        let mut forger = Forger::new(version);
        let mut records = Buffer::default();
        forger.pair.server.close(&mut records);
        forger.pair.server.close(&mut records);
        forger.pair.server.keep(records.filled());
        assert_eq!(forger.gets(), [(ALERT, vec![1, 0])]);
        let data = [IoSlice::new(b"data")];
        assert_eq!(forger.pair.server.encrypt(&data, &mut Buffer::default()).expect("nothing"), 0);
    }
}

// ---- handshakes that fail

#[test]
fn a_handshake_that_fails_leaves_the_alert_of_rustls() {
    for bytes in [&[22, 3, 1, 0, 4, 20, 0, 0, 0][..], &[22, 3, 1, 0, 4, 1, 0, 0, 0], &[23, 3, 3, 0, 1, 1]] {
        let mut server = Tls::default();
        assert_eq!(server.read_hello(bytes), Hello::Complete);
        server.choose(Choice { settings: Some(SETTINGS.clone()), router: None }).expect("settings");
        assert!(matches!(
            server.decrypt(&mut bytes.to_vec(), &mut Buffer::default()),
            Err(Failure::Handshake { .. })
        ));
        assert!(server.is_handshaking());
        assert_eq!(server.unsent_records().first(), Some(&ALERT), "{bytes:?}");
        // Further bytes are ignored.
        let said = server.unsent();
        for more in [bytes, &[0; 100], b"GET / HTTP/1.1"] {
            assert!(!server.decrypt(&mut more.to_vec(), &mut Buffer::default()).expect("ignored"));
        }
        assert_eq!(server.unsent(), said);
    }
}

#[test]
fn without_certificate_the_name_is_unknown() {
    let mut server = Tls::default();
    let mut pair = Pair::new(suite_of(ProtocolVersion::TLSv1_3), usize::MAX);
    assert_eq!(server.read_hello(&pair.client_records()), Hello::Complete);
    assert!(matches!(server.choose(Choice { settings: None, router: None }), Err(Failure::NoCertificate)));
    assert!(matches!(pair.client_gets(server.unsent_records()), Err(rustls::Error::AlertReceived(_))));
}

#[test]
fn a_hello_without_end_is_not_kept() {
    let mut server = Tls::default();
    let record = [&[22, 3, 1, 0, 1], &[1][..]].concat();
    let mut records = [record.clone(), [22, 3, 1, 0, 3, 0, 0xff, 0xff].into()].concat();
    while server.read_hello(&records) == Hello::Incomplete {
        assert!(records.len() < 200 << 10);
        records.extend(record.repeat(100));
    }
    server.choose(Choice { settings: Some(SETTINGS.clone()), router: None }).expect("settings");
    while server.decrypt(&mut records, &mut Buffer::default()).is_ok() {
        assert!(records.len() < 200 << 10);
        records = [server.rest(), &record.repeat(1000)].concat();
    }
}

#[test]
fn text_is_told_from_tls() {
    assert_eq!(Tls::default().read_hello(b"GET / HTTP/1.1"), Hello::PlainText);
    assert_eq!(Tls::default().read_hello(b""), Hello::Incomplete);
    assert_eq!(Tls::default().read_hello(&[22]), Hello::Incomplete);
}

fn give_anything(server: &mut Tls, bytes: &[u8], step: usize) {
    for piece in bytes.chunks(step) {
        let mut all = [server.rest(), piece].concat();
        match server.read_hello(&all) {
            Hello::PlainText => return,
            Hello::Incomplete => server.keep_rest(&all),
            hello => {
                if hello == Hello::Complete {
                    let choice = Choice { settings: Some(SETTINGS.clone()), router: None };
                    server.choose(choice).expect("settings");
                }
                // Call it also after a failure, which no caller should do.
                let _ = server.decrypt(&mut all, &mut Buffer::default());
            }
        }
    }
}

proptest::proptest! {
    #[test]
    fn no_bytes_do_harm_to_a_handshake(
        bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200), at in 0usize..10_000, flip in 1u8..,
        flight in 0..2, step in 1usize..300) {
        let mut pair = Pair::new(suites()[at % suites().len()], step);
        if flight == 1 {
            let hello = pair.client_records();
            pair.give(&hello).expect("hello");
            let records = pair.take(b"").expect("records");
            pair.client_gets(&records).expect("flight of the server");
        }
        let mut records = pair.client_records();
        let at = at % records.len();
        records[at] ^= flip;
        give_anything(&mut pair.server, &records, step);
        give_anything(&mut pair.server, &bytes, step);
    }

    #[test]
    fn no_bytes_do_harm_to_a_session(
        bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200), at in 0usize..100, flip in 1u8..) {
        let mut pair = Pair::established(suites()[at % suites().len()]);
        pair.client.writer().write_all(&bytes).expect("memory");
        let mut records = pair.client_records();
        if !records.is_empty() {
            let at = at % records.len();
            records[at] ^= flip;
            let _ = pair.give(&records);
            assert!(pair.plain.is_empty());
        }
        let _ = pair.give(&bytes);
    }
}
