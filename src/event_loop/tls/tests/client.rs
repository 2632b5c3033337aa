//! A client of rustls and our side of its connection, in memory.

use super::super::config::Settings;
use super::super::names::Choice;
use super::super::testing::{CERTIFICATE, KEY, client_config, settings_with};
use super::super::{Failure, Hello, Tls};
use crate::channel::buffers::Buffer;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ProtocolVersion, SupportedCipherSuite};
use std::io::{IoSlice, Read, Write};
use std::sync::{Arc, LazyLock};

pub static SETTINGS: LazyLock<Arc<Settings>> = LazyLock::new(|| settings_with("tls", KEY, CERTIFICATE));

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
        let mut config = client_config(provider, &[suite.version()]);
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
