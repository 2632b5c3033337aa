//! ClientHellos: rustls finds the same server name and the same ciphers in those that it accepts, and the
//! result does not depend on the ends of reads.

use crate::input::{Input, ends};
use rustls::CipherSuite;
use rustls::server::Acceptor;
use uws_rs::event_loop::fuzzing::look;

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let pieces = input.pieces();
    let stream = input.stream();
    let whole = look(stream);
    let every = if stream.len() <= 128 { 0..stream.len() } else { 0..0 };
    for end in every.chain(ends(&pieces, stream.len())) {
        let part = look(&stream[..end]);
        assert!(part.is_none() || part == whole, "{end} bytes");
    }
    let mut acceptor = Acceptor::default();
    let mut rest = stream;
    let accepted = loop {
        match acceptor.accept() {
            Ok(Some(accepted)) => break accepted,
            // Nothing more to compare: rustls refuses it, and is the one to decide that.
            Err(_) => return,
            Ok(None) => {}
        }
        match acceptor.read_tls(&mut rest) {
            // Messages of the size that rustls waits for here are left to it.
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    };
    let theirs = accepted.client_hello();
    let ours = whole.expect("rustls has all of it");
    assert_eq!(ours.name, theirs.server_name().map(str::to_ascii_lowercase));
    let is_chacha = |suite: &CipherSuite| format!("{suite:?}").contains("CHACHA20_POLY1305");
    let known = theirs.cipher_suites().iter().find(|suite| {
        let name = format!("{suite:?}");
        let modern = name.starts_with("TLS13_") && !name.contains("CCM");
        let ephemeral = name.starts_with("TLS_ECDHE_ECDSA_WITH_") || name.starts_with("TLS_ECDHE_RSA_WITH_");
        (modern || ephemeral) && (name.contains("_GCM_") || name.contains("CHACHA20_POLY1305"))
    });
    assert_eq!(ours.prefers_chacha, known.is_some_and(is_chacha));
}
