//! TLS between a socket and its connection: bytes of records in, plain bytes out, and the reverse. Owns the state of
//! one connection from the ClientHello on; neither the socket nor what the plain bytes mean.
//!
//! Three stages: the ClientHello is looked at (`hello`) until settings are chosen by the name in it (`names`), for
//! which JavaScript may have to be asked; rustls carries out the handshake (`handshake`); then records are opened and
//! sealed here (`session`). What comes while JavaScript is asked stays in the kernel.

mod ciphers;
mod config;
mod handshake;
mod hello;
mod names;
mod record;
mod session;
mod violation;

#[cfg(test)]
mod tests;

pub use config::{ConfigError, Options, Settings, settings};
pub use names::{Change, DomainRouter, Names};

use crate::channel::buffers::Buffer;
use handshake::Handshake;
use hello::ClientHello;
use rustls::server::UnbufferedServerConnection;
use session::Session;
use std::io::IoSlice;
use thiserror::Error;
use violation::Violation;

/// Buffers for one read or write, used by all connections of a loop in turn.
#[derive(Default)]
pub struct Scratch {
    pub plain: Buffer,
    pub records: Buffer,
}

#[derive(Default)]
pub struct Tls {
    state: State,
    /// The start of a record or a message whose rest has not come.
    rest: Vec<u8>,
    /// Records the kernel has refused or has not been offered, from `sent` on.
    pending: Vec<u8>,
    sent: usize,
    /// The routes of the name the client asked for.
    router: Option<DomainRouter>,
    established: bool,
    /// The peer has said that nothing follows.
    peer_closed: bool,
    /// Nothing more is to be said: close_notify or a fatal alert is on its way.
    closing: bool,
}

#[derive(Default)]
enum State {
    /// The ClientHello is not complete.
    #[default]
    Hello,
    /// It is, and no settings have been chosen.
    Asking(ClientHello),
    Handshake(Box<Handshake>),
    Session(Box<Session>),
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

/// Why a connection cannot go on.
#[derive(Debug, Error)]
pub enum Failure {
    #[error("no certificate for the name the client asks for")]
    NoCertificate,
    #[error("a handshake that is too long")]
    TooLong,
    #[error("{0}")]
    Handshake(#[from] rustls::Error),
    #[error("{0}")]
    Session(#[from] Violation),
}

/// The alerts of the handshake we send ourselves (RFC 8446 §6).
const UNRECOGNIZED_NAME: u8 = 112;
/// Bytes in which the ClientHello must end.
const MAX_HELLO: usize = 20 << 10;
/// Bytes of an unfinished message that are kept during the handshake.
const MAX_HANDSHAKE: usize = 80 << 10;

impl Tls {
    // ---- handshake

    pub fn is_handshaking(&self) -> bool {
        !self.established
    }

    /// Whether the handshake waits for settings.
    pub fn is_asking(&self) -> bool {
        matches!(self.state, State::Asking(_))
    }

    /// Looks at the ClientHello; all bytes so far are given each time.
    pub fn read_hello(&mut self, bytes: &[u8]) -> Hello {
        if !matches!(self.state, State::Hello) {
            return Hello::Passed;
        }
        // No record begins with a letter (RFC 8446 §5.1), and every HTTP request does.
        if bytes.first().is_some_and(u8::is_ascii_alphabetic) {
            return Hello::PlainText;
        }
        match hello::look(bytes) {
            // One that is longer is not looked at again and again, but left to rustls.
            None if bytes.len() <= MAX_HELLO => Hello::Incomplete,
            hello => {
                self.state = State::Asking(hello.unwrap_or_default());
                Hello::Complete
            }
        }
    }

    /// What the client asks for, while settings are to be chosen.
    pub fn client_hello(&self) -> Option<&ClientHello> {
        match &self.state {
            State::Asking(hello) => Some(hello),
            _ => None,
        }
    }

    /// Goes on with the settings chosen; the ClientHello itself is for `decrypt`, then.
    pub fn choose(&mut self, choice: names::Choice) -> Result<(), Failure> {
        let State::Asking(hello) = std::mem::replace(&mut self.state, State::Failed) else { return Ok(()) };
        self.router = choice.router;
        let Some(settings) = choice.settings else {
            self.pending.extend_from_slice(&[21, 3, 3, 0, 2, 2, UNRECOGNIZED_NAME]);
            return Err(Failure::NoCertificate);
        };
        let handshake = UnbufferedServerConnection::new(settings.for_client(hello.prefers_chacha))?;
        self.state = State::Handshake(Box::new(Handshake::new(handshake)));
        Ok(())
    }

    pub fn router(&self) -> Option<&DomainRouter> {
        self.router.as_ref()
    }

    // ---- receiving

    /// What was kept of earlier reads; it stands in front of what is given to `read_hello` and `decrypt`.
    pub fn rest(&self) -> &[u8] {
        &self.rest
    }

    pub fn take_rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.rest)
    }

    pub fn keep_rest(&mut self, bytes: &[u8]) {
        // In memory of its size: it may stay for as long as the peer likes.
        self.rest = bytes.to_vec();
    }

    /// Appends the plain bytes of `records` to `plain`. True: the peer has said that nothing follows.
    pub fn decrypt(&mut self, mut records: &mut [u8], plain: &mut Buffer) -> Result<bool, Failure> {
        if self.peer_closed || matches!(self.state, State::Failed) {
            return Ok(false);
        }
        if let State::Handshake(handshake) = &mut self.state {
            let advanced = handshake.advance(records, &mut self.pending);
            records = &mut records[advanced.used..];
            self.peer_closed = advanced.ended;
            if advanced.result.inspect_err(|_| self.fail())? {
                self.establish()?;
            } else if records.len() > MAX_HANDSHAKE {
                return Err(Failure::TooLong);
            }
        }
        if let State::Session(session) = &mut self.state {
            let opened = session.open(records, plain, &mut self.pending);
            records = &mut records[opened.used..];
            self.peer_closed |= opened.result?;
        }
        self.keep_rest(records);
        Ok(self.peer_closed)
    }

    fn establish(&mut self) -> Result<(), Failure> {
        if let State::Handshake(handshake) = std::mem::replace(&mut self.state, State::Failed) {
            self.state = State::Session(Box::new(Session::new(handshake.into_inner())?));
            self.established = true;
        }
        Ok(())
    }

    // ---- sending

    /// Appends what waits for `records`: first what the kernel was not offered yet, then `slices`, of which it returns
    /// how many bytes it took. Nothing of them during the handshake.
    pub fn encrypt(&mut self, slices: &[IoSlice<'_>], records: &mut Buffer) -> Result<usize, Failure> {
        records.extend(&self.pending[self.sent..]);
        self.sent(self.unsent());
        match &mut self.state {
            State::Session(session) if !self.closing => Ok(session.seal(slices, records)?),
            _ => Ok(0),
        }
    }

    /// Says that nothing follows.
    pub fn close(&mut self, records: &mut Buffer) {
        if !std::mem::replace(&mut self.closing, true)
            && let State::Session(session) = &mut self.state
        {
            let mut alert = Vec::new();
            session.seal_close(&mut alert);
            records.extend(&alert);
        }
    }

    /// Whether the last record of this side has been made.
    pub fn is_closing(&self) -> bool {
        self.closing
    }

    /// The session is over by an error, whose alert is the last to be sent.
    pub fn fail(&mut self) {
        self.closing = true;
        self.state = State::Failed;
        self.rest = Vec::new();
    }

    // ---- records on their way out

    /// Bytes the kernel has not taken.
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

    /// Whether what is to be sent may wait for the next data: tickets do not hurry.
    pub fn may_wait(&self) -> bool {
        matches!(&self.state, State::Session(session) if session.is_tls13()) && !self.closing
    }
}
