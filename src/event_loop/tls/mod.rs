//! TLS between a socket and its connection: bytes of records in, plain bytes out, and the reverse. It owns
//! the TLS state of one connection from the ClientHello on. It does not own the socket, and does not know the
//! meaning of the plain bytes.
//!
//! There are three stages. The ClientHello is read (`hello`), and settings are chosen by the name in it
//! (`names`), for which the loop may have to ask JavaScript. rustls carries out the handshake (`handshake`).
//! Then the loop opens and seals records itself (`session`). While JavaScript is asked, further bytes stay in
//! the kernel.

mod ciphers;
mod config;
mod error;
mod handshake;
mod hello;
mod names;
mod record;
mod session;
mod violation;

#[cfg(any(test, feature = "simulation"))]
pub mod testing;
#[cfg(test)]
mod tests;

#[cfg(feature = "fuzzing")]
pub mod fuzzing {
    pub use super::hello::{ClientHello, look};
    pub use super::names::Choice;
    pub use super::record::{ALERT, DATA, HANDSHAKE, HEADER, MAX_OVERHEAD, MAX_PLAIN, RecordKey};
    pub use super::violation::Violation;
}

pub use config::{Options, Settings, settings};
pub use error::ConfigError;
pub use names::{Change, DomainRouter, Names};

use crate::channel::buffers::Buffer;
use handshake::Handshake;
use hello::ClientHello;
use rustls::server::UnbufferedServerConnection;
use session::Session;
use std::io::IoSlice;
use std::sync::Arc;
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
    /// The start of a record or a message whose rest has not arrived.
    rest: Vec<u8>,
    /// Records the kernel has refused or has not been offered, from `sent` on.
    pending: Vec<u8>,
    sent: usize,
    /// The routes of the name the client asked for.
    router: Option<DomainRouter>,
    /// The one that the client has sent, until somebody takes it.
    client_certificate: Option<Arc<[u8]>>,
    established: bool,
    /// The peer has sent a close_notify.
    peer_closed: bool,
    /// Nothing more may be sent: a close_notify or a fatal alert is queued already.
    closing: bool,
}

#[derive(Default)]
enum State {
    /// The ClientHello is not complete.
    #[default]
    Hello,
    /// The ClientHello is complete, and no settings have been chosen.
    Asking(ClientHello),
    Handshake(Box<Handshake>),
    Session(Box<Session>),
    Failed,
}

/// How far the ClientHello has been received.
#[derive(Debug, PartialEq, Eq)]
pub enum Hello {
    Incomplete,
    Complete,
    /// The first byte is of a text protocol, most likely HTTP.
    PlainText,
    /// The ClientHello was complete before: the bytes are for `decrypt`.
    Passed,
}

/// Why a connection cannot go on.
#[derive(Debug, Error)]
pub enum Failure {
    #[error("no certificate for the name the client asks for")]
    NoCertificate,
    #[error("a handshake that is too long")]
    TooLong,
    #[error("{error}")]
    Handshake {
        error: rustls::Error,
        /// The alert that tells the peer, unless it is encrypted.
        alert: Option<u8>,
    },
    #[error("{0}")]
    Session(#[from] Violation),
}

impl From<rustls::Error> for Failure {
    fn from(error: rustls::Error) -> Self {
        Failure::Handshake { error, alert: None }
    }
}

/// The alert that ended a handshake.
pub enum Alert {
    Sent(u8),
    Received(u8),
}

impl Failure {
    pub fn alert(&self) -> Alert {
        match self {
            Failure::NoCertificate => Alert::Sent(UNRECOGNIZED_NAME),
            Failure::Handshake { error: rustls::Error::AlertReceived(alert), .. } => {
                Alert::Received(u8::from(*alert))
            }
            Failure::Handshake { error, alert } => Alert::Sent(alert.unwrap_or_else(|| alert_for(error))),
            Failure::Session(Violation::Alert(alert)) => Alert::Received(*alert),
            Failure::Session(violation) => Alert::Sent(violation.alert().unwrap_or(NO_ALERT)),
            Failure::TooLong => Alert::Sent(NO_ALERT),
        }
    }
}

/// The alert that rustls has for an error. It is asked for only where the alert itself is encrypted.
fn alert_for(error: &rustls::Error) -> u8 {
    use rustls::{AlertDescription as Description, Error};
    u8::from(match error {
        Error::InvalidCertificate(error) => Description::from(error.clone()),
        Error::InvalidMessage(error) => Description::from(*error),
        Error::NoCertificatesPresented => Description::CertificateRequired,
        Error::DecryptError => Description::BadRecordMac,
        Error::PeerSentOversizedRecord => Description::RecordOverflow,
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            Description::UnexpectedMessage
        }
        Error::PeerIncompatible(_) => Description::HandshakeFailure,
        Error::PeerMisbehaved(_) => Description::IllegalParameter,
        _ => Description::InternalError,
    })
}

/// The description in the alert at the end of `records`, unless that is encrypted.
fn plain_alert(records: &[u8]) -> Option<u8> {
    match records.last_chunk::<7>() {
        Some([ALERT_RECORD, 3, _, 0, 2, _, description]) => Some(*description),
        _ => None,
    }
}

const ALERT_RECORD: u8 = 21;
/// No alert has this number.
const NO_ALERT: u8 = u8::MAX;
/// The alert of the handshake that we send without rustls (RFC 8446 §6).
const UNRECOGNIZED_NAME: u8 = 112;
/// The most bytes of a ClientHello that are read here.
const MAX_HELLO: usize = 20 << 10;
/// The most bytes of an unfinished message that are kept during the handshake.
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

    /// Reads the ClientHello. The caller gives all bytes so far each time.
    pub fn read_hello(&mut self, bytes: &[u8]) -> Hello {
        if !matches!(self.state, State::Hello) {
            return Hello::Passed;
        }
        // No record begins with a letter (RFC 8446 §5.1), but an HTTP request does.
        if bytes.first().is_some_and(u8::is_ascii_alphabetic) {
            return Hello::PlainText;
        }
        match hello::look(bytes) {
            // A longer one is left to rustls instead of being read again and again.
            None if bytes.len() <= MAX_HELLO => Hello::Incomplete,
            hello => {
                self.state = State::Asking(hello.unwrap_or_default());
                Hello::Complete
            }
        }
    }

    /// The ClientHello, until settings are chosen.
    pub fn client_hello(&self) -> Option<&ClientHello> {
        match &self.state {
            State::Asking(hello) => Some(hello),
            _ => None,
        }
    }

    /// Begins the handshake with the chosen settings. The caller then gives the ClientHello to `decrypt`.
    pub fn choose(&mut self, choice: names::Choice) -> Result<(), Failure> {
        let State::Asking(hello) = std::mem::replace(&mut self.state, State::Failed) else { return Ok(()) };
        self.router = choice.router;
        let Some(settings) = choice.settings else {
            self.pending.extend_from_slice(&[ALERT_RECORD, 3, 3, 0, 2, 2, UNRECOGNIZED_NAME]);
            return Err(Failure::NoCertificate);
        };
        let handshake = UnbufferedServerConnection::new(settings.for_client(hello.prefers_chacha))?;
        self.state = State::Handshake(Box::new(Handshake::new(handshake)));
        Ok(())
    }

    /// The certificate of the client, in the form of DER, once the handshake is complete.
    pub fn take_client_certificate(&mut self) -> Option<Arc<[u8]>> {
        self.client_certificate.take()
    }

    pub fn router(&self) -> Option<&DomainRouter> {
        self.router.as_ref()
    }

    // ---- receiving

    /// The bytes kept from earlier reads. The caller puts them in front of the bytes for `read_hello` and
    /// `decrypt`.
    pub fn rest(&self) -> &[u8] {
        &self.rest
    }

    pub fn take_rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.rest)
    }

    pub fn keep_rest(&mut self, bytes: &[u8]) {
        // Keep them in memory of their size: the peer may leave a record incomplete for as long as it likes.
        self.rest = bytes.to_vec();
    }

    /// Appends the plain bytes of `records` to `plain`. True: the peer has sent a close_notify.
    pub fn decrypt(&mut self, mut records: &mut [u8], plain: &mut Buffer) -> Result<bool, Failure> {
        if self.peer_closed || matches!(self.state, State::Failed) {
            return Ok(false);
        }
        if let State::Handshake(handshake) = &mut self.state {
            let advanced = handshake.advance(records, &mut self.pending);
            records = &mut records[advanced.used..];
            self.peer_closed = advanced.ended;
            let established = advanced.result.map_err(|error| {
                let alert = plain_alert(&self.pending);
                self.fail();
                Failure::Handshake { error, alert }
            })?;
            if established {
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
            let handshake = handshake.into_inner();
            // It comes from the ticket where the client resumes a session.
            let leaf = handshake.peer_certificates().and_then(<[_]>::first);
            self.client_certificate = leaf.map(|leaf| Arc::from(leaf.as_ref()));
            self.state = State::Session(Box::new(Session::new(handshake)?));
            self.established = true;
        }
        Ok(())
    }

    // ---- sending

    /// Appends to `records` first the waiting records, then `slices` encrypted; returns how many bytes of
    /// `slices` it took, which are none during the handshake.
    pub fn encrypt(&mut self, slices: &[IoSlice<'_>], records: &mut Buffer) -> Result<usize, Failure> {
        records.extend(&self.pending[self.sent..]);
        self.sent(self.unsent());
        match &mut self.state {
            State::Session(session) if !self.closing => Ok(session.seal(slices, records)?),
            _ => Ok(0),
        }
    }

    /// Seals a close_notify, once.
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

    /// Ends the session after an error, whose alert is the last to be sent.
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

    /// Called when `n` bytes of `unsent_records` have been sent.
    pub fn sent(&mut self, n: usize) {
        self.sent += n;
        if self.sent >= self.pending.len() {
            self.pending = Vec::new();
            self.sent = 0;
        }
    }

    /// Whether waiting records may be sent with the next data: session tickets are not urgent.
    pub fn may_wait(&self) -> bool {
        matches!(&self.state, State::Session(session) if session.is_tls13()) && !self.closing
    }
}
