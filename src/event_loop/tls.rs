//! TLS between a socket and its connection: bytes of records in, plain bytes out, and the reverse. Owns the rustls
//! session of one connection, from the ClientHello on; neither the socket nor what the plain bytes mean.
//!
//! The handshake stops after the ClientHello until a context is chosen by the name in it (`names`), for which
//! JavaScript may have to be asked. What follows meanwhile stays in the kernel.

mod ciphers;
mod config;
mod names;
mod transport;

pub use config::{ConfigError, Options, server_config};
pub use names::{Change, DomainRouter, Names};
pub use transport::Scratch;

use rustls::ServerConnection;
use rustls::server::{Accepted, Acceptor};
use std::io::{BufRead, IoSlice, Write};

pub struct Tls {
    state: State,
    /// Records the kernel has refused, from `sent` on.
    pending: Vec<u8>,
    sent: usize,
    /// The routes of the name the client asked for.
    router: Option<DomainRouter>,
    established: bool,
    /// Nothing more is to be said: close_notify or a fatal alert is on its way.
    closing: bool,
}

enum State {
    /// The ClientHello is not complete; true until its first byte.
    Hello(Box<Acceptor>, bool),
    /// It is, and no context has been chosen. What came behind it follows.
    Asking(Box<Accepted>, Vec<u8>),
    Session(Box<ServerConnection>),
    Failed,
}

/// How far the ClientHello is.
#[derive(Debug, PartialEq, Eq)]
pub enum Hello {
    Incomplete,
    Complete,
    /// The first byte is of a text protocol, most likely HTTP.
    PlainText,
    /// The handshake is past it: the bytes are for `decrypt`.
    Passed,
}

/// The alerts we send ourselves (RFC 8446 §6).
const UNRECOGNIZED_NAME: u8 = 112;

impl Default for Tls {
    fn default() -> Self {
        Tls {
            state: State::Hello(Box::default(), true),
            pending: Vec::new(),
            sent: 0,
            router: None,
            established: false,
            closing: false,
        }
    }
}

impl Tls {
    // ---- handshake

    pub fn is_handshaking(&self) -> bool {
        !self.established
    }

    /// Whether the handshake waits for a context.
    pub fn is_asking(&self) -> bool {
        matches!(self.state, State::Asking(..))
    }

    /// Reads the ClientHello.
    pub fn read_hello(&mut self, mut bytes: &[u8]) -> Result<Hello, rustls::Error> {
        let State::Hello(acceptor, fresh) = &mut self.state else { return Ok(Hello::Passed) };
        // No record begins with a letter (RFC 8446 §5.1), and every HTTP request does.
        if std::mem::replace(fresh, false) && bytes.first().is_some_and(u8::is_ascii_alphabetic) {
            return Ok(Hello::PlainText);
        }
        while !bytes.is_empty() {
            if let Err(error) = acceptor.read_tls(&mut bytes) {
                return Err(rustls::Error::General(error.to_string()));
            }
            match acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => {
                    self.state = State::Asking(Box::new(accepted), bytes.to_vec());
                    return Ok(Hello::Complete);
                }
                Err((error, mut alert)) => {
                    // Writing to memory does not fail.
                    let _ = alert.write_all(&mut self.pending);
                    return Err(error);
                }
            }
        }
        Ok(Hello::Incomplete)
    }

    /// The name the client asks for.
    pub fn asked_name(&self) -> Option<String> {
        let State::Asking(accepted, _) = &self.state else { return None };
        accepted.client_hello().server_name().map(str::to_owned)
    }

    /// Goes on with a context; returns what came behind the ClientHello.
    pub fn choose(&mut self, choice: names::Choice) -> Result<Vec<u8>, rustls::Error> {
        let State::Asking(accepted, rest) = std::mem::replace(&mut self.state, State::Failed) else {
            return Ok(Vec::new());
        };
        self.router = choice.router;
        let Some(config) = choice.config else {
            self.pending.extend_from_slice(&[21, 3, 3, 0, 2, 2, UNRECOGNIZED_NAME]);
            return Err(rustls::Error::General("no certificate for the name the client asks for".into()));
        };
        match accepted.into_connection(config) {
            Ok(mut session) => {
                // What may be buffered is bounded by whoever writes: nothing is encrypted before it can leave.
                session.set_buffer_limit(None);
                self.state = State::Session(Box::new(session));
                Ok(rest)
            }
            Err((error, mut alert)) => {
                let _ = alert.write_all(&mut self.pending);
                Err(error)
            }
        }
    }

    pub fn router(&self) -> Option<&DomainRouter> {
        self.router.as_ref()
    }

    // ---- session

    /// Appends the plain bytes of `records` to `plain`. True: the peer has said that nothing follows.
    pub fn decrypt(&mut self, mut records: &[u8], plain: &mut Vec<u8>) -> Result<bool, rustls::Error> {
        let State::Session(session) = &mut self.state else { return Ok(false) };
        let mut ended = false;
        while !records.is_empty() && !ended {
            // Reading from memory fails only when rustls has a full buffer, which `take_plain` empties.
            match session.read_tls(&mut records) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => return Err(rustls::Error::General(error.to_string())),
            }
            let state = session.process_new_packets();
            // Also what came in front of a record that is wrong.
            take_plain(session, plain);
            ended = state?.peer_has_closed();
            self.established = self.established || !session.is_handshaking();
        }
        Ok(ended)
    }

    /// Encrypts as much of `slices` as one turn of writing is worth; returns how much that was. 0 during the handshake.
    pub fn encrypt(&mut self, slices: &[IoSlice<'_>]) -> usize {
        match &mut self.state {
            // Writing to an unlimited buffer does not fail.
            State::Session(session) if !session.is_handshaking() => {
                session.writer().write_vectored(slices).unwrap_or(0)
            }
            _ => 0,
        }
    }

    /// Says that nothing follows.
    pub fn close(&mut self) {
        if !std::mem::replace(&mut self.closing, true)
            && let State::Session(session) = &mut self.state
        {
            session.send_close_notify();
        }
    }

    /// The session is over by an error, whose alert is the last to be sent.
    pub fn fail(&mut self) {
        self.closing = true;
    }

    // ---- records on their way out

    pub fn wants_write(&self) -> bool {
        matches!(&self.state, State::Session(session) if session.wants_write()) || self.unsent() > 0
    }

    /// Moves the records of the session to `records`.
    pub fn take_records(&mut self, records: &mut Vec<u8>) {
        if let State::Session(session) = &mut self.state {
            while session.wants_write() {
                if session.write_tls(records).is_err() {
                    break;
                }
            }
        }
    }

    /// Bytes the kernel has refused.
    pub fn unsent(&self) -> usize {
        self.pending.len() - self.sent
    }

    pub fn unsent_records(&self) -> &[u8] {
        &self.pending[self.sent..]
    }

    /// Keeps records that the kernel has refused.
    pub fn keep(&mut self, records: &[u8]) {
        self.pending.extend_from_slice(records);
    }

    /// `n` bytes of `unsent_records` have gone.
    pub fn sent(&mut self, n: usize) {
        self.sent += n;
        if self.sent >= self.pending.len() {
            self.pending = Vec::new();
            self.sent = 0;
        }
    }
}

fn take_plain(session: &mut ServerConnection, plain: &mut Vec<u8>) {
    let mut reader = session.reader();
    // "Would block" means that there is no more for now.
    while let Ok(chunk) = reader.fill_buf() {
        let len = chunk.len();
        if len == 0 {
            return;
        }
        plain.extend_from_slice(chunk);
        reader.consume(len);
    }
}
