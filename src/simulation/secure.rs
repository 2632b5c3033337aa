//! TLS for peers of a run: rustls as the client, and the settings of the app that serves them.
//!
//! The key is one of Ed25519, whose signatures have one length: the bytes of a handshake are others in each
//! run, but always as many, so that they decide nothing.

use crate::event_loop::tls::Settings;
use crate::event_loop::tls::testing::{client_config, settings_with};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, version};
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::sync::{Arc, LazyLock};

/// A key that was made for this and is used nowhere else.
const KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIAf5u36X+WY4n455MPuZSMytAKKsaZr78NuUEXXkPnJT
-----END PRIVATE KEY-----
";
const CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----
MIIBTjCCAQCgAwIBAgIUN+HfVWKtTcd6NQBXM/x3BLnipe8wBQYDK2VwMA8xDTAL
BgNVBAMMBHRlc3QwIBcNMjYxMTI4MTcxMjA0WhgPMjEyNjExMDQxNzEyMDRaMA8x
DTALBgNVBAMMBHRlc3QwKjAFBgMrZXADIQDgRGbtIZtnc3lP6h2NWFw9JBuspV0n
IOzzJ1WoRIzvhKNsMGowHQYDVR0OBBYEFALDFQQAJdduA/ut4ndmlDK8+TKTMB8G
A1UdIwQYMBaAFALDFQQAJdduA/ut4ndmlDK8+TKTMA8GA1UdEwEB/wQFMAMBAf8w
FwYDVR0RBBAwDoIMdGVzdC5leGFtcGxlMAUGAytlcANBAPsUMBVc4P5cLZX0v7MO
4I93C/qRqhvaK4PUd+3q671lHfBBItD26l5onVeOXs2mXVCm/O1qzi3W+McYZdf9
kA0=
-----END CERTIFICATE-----
";

/// The settings of the app.
pub static SETTINGS: LazyLock<Arc<Settings>> =
    LazyLock::new(|| settings_with("simulation", KEY, CERTIFICATE));

/// The client's end of a session.
pub struct Session {
    connection: ClientConnection,
    /// The server has said that it sends nothing more.
    pub has_ended: bool,
}

impl Session {
    /// `old`: with TLS 1.2.
    pub fn new(old: bool) -> Self {
        let version = if old { &version::TLS12 } else { &version::TLS13 };
        let config = client_config(aws_lc_rs::default_provider(), &[version]);
        let name = ServerName::try_from("test.example").expect("name");
        let connection = ClientConnection::new(Arc::new(config), name).expect("client");
        Session { connection, has_ended: false }
    }

    /// Encrypts plain bytes.
    pub fn send(&mut self, bytes: &[u8]) {
        self.connection.writer().write_all(bytes).expect("memory");
    }

    /// Whether plain bytes may follow: before the end of the handshake rustls would collect them.
    pub fn is_established(&self) -> bool {
        !self.connection.is_handshaking()
    }

    /// New keys. `true`: also for the other direction, which rustls always asks for.
    pub fn update_keys(&mut self) {
        // TLS 1.2 has no such thing.
        let _ = self.connection.refresh_traffic_keys();
    }

    pub fn end(&mut self) {
        self.connection.send_close_notify();
    }

    /// Appends the records that are to be sent.
    pub fn take_records(&mut self, wire: &mut VecDeque<u8>) {
        while self.connection.wants_write() {
            self.connection.write_tls(wire).expect("memory");
        }
    }

    /// Decrypts records, and appends the plain bytes.
    pub fn receive(&mut self, mut records: &[u8], plain: &mut Vec<u8>) -> Result<(), rustls::Error> {
        while !records.is_empty() {
            self.connection.read_tls(&mut records).expect("memory");
            let state = self.connection.process_new_packets()?;
            let start = plain.len();
            plain.resize(start + state.plaintext_bytes_to_read(), 0);
            self.connection.reader().read_exact(&mut plain[start..]).expect("plain text");
            self.has_ended |= state.peer_has_closed();
        }
        Ok(())
    }
}
