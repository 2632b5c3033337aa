//! An established session: data in records, and the few other messages that may still arrive. rustls has
//! carried out the handshake and keeps the secrets for new keys. The records are handled here, because rustls
//! would copy their content once or twice more in each direction and allocate for each.

use super::record::{ALERT, DATA, HANDSHAKE, HEADER, MAX_OVERHEAD, MAX_PLAIN, RecordKey};
use super::violation::Violation;
use crate::channel::buffers::Buffer;
use rustls::kernel::KernelConnection;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::{ConnectionTrafficSecrets, ProtocolVersion, SupportedCipherSuite};
use std::io::IoSlice;

pub struct Session {
    secrets: KernelConnection<ServerConnectionData>,
    opener: RecordKey,
    sealer: RecordKey,
    /// Records that may be sealed with one key.
    limit: u64,
    /// The peer has asked for a new key of ours, which is sent in front of the next data.
    update_asked: bool,
    /// Messages without data since the last one with some.
    idle: u8,
    /// The cost of the peer's changes of its key, less the records with data.
    update_cost: u16,
    renegotiation_refused: bool,
}

/// The most messages without data in a row; BoringSSL has the same limit.
const IDLE_LIMIT: u8 = 32;
/// Records with data that pay for one change of the peer's key, which takes about as long as these.
const UPDATE_COST: u16 = 16;
/// The most that unpaid changes may cost: 64 of them. A peer that changes its key with each byte would
/// otherwise keep the loop from all others, since 10,000 changes fit into what a turn reads.
const UPDATE_LIMIT: u16 = 64 * UPDATE_COST;
/// So many of the records that may be sealed with one key are reserved for alerts and the change of keys.
const RESERVE: u64 = 16;

const CLIENT_HELLO: u8 = 1;
const KEY_UPDATE: u8 = 24;

const WARNING: u8 = 1;
const FATAL: u8 = 2;
const CLOSE_NOTIFY: u8 = 0;
const USER_CANCELED: u8 = 90;
const NO_RENEGOTIATION: u8 = 100;

/// The result of `open`.
pub struct Opened {
    /// Bytes of the records that were processed. The start of an incomplete record follows them.
    pub used: usize,
    /// True: the peer has sent a close_notify.
    pub result: Result<bool, Violation>,
}

impl Session {
    pub fn new(handshake: UnbufferedServerConnection) -> Result<Self, rustls::Error> {
        let (keys, secrets) = handshake.dangerous_into_kernel_connection()?;
        let tls13 = secrets.protocol_version() == ProtocolVersion::TLSv1_3;
        let key = |(sequence, secrets): (u64, ConnectionTrafficSecrets)| {
            let key = RecordKey::new(tls13, sequence, &secrets);
            key.ok_or_else(|| rustls::Error::General("a cipher nobody asked for".into()))
        };
        let limit = match secrets.negotiated_cipher_suite() {
            SupportedCipherSuite::Tls13(suite) => suite.common.confidentiality_limit,
            SupportedCipherSuite::Tls12(suite) => suite.common.confidentiality_limit,
        };
        Ok(Session {
            opener: key(keys.rx)?,
            sealer: key(keys.tx)?,
            secrets,
            limit,
            update_asked: false,
            idle: 0,
            update_cost: 0,
            renegotiation_refused: false,
        })
    }

    pub fn is_tls13(&self) -> bool {
        self.sealer.is_tls13()
    }

    #[cfg(test)]
    pub fn wear_out_after(&mut self, records: u64) {
        self.limit = records + RESERVE;
    }

    // ---- receiving

    /// Opens the complete records at the front and appends their data to `plain`. Appends records to be sent
    /// in reply to `reply`.
    pub fn open(&mut self, records: &[u8], plain: &mut Buffer, reply: &mut Vec<u8>) -> Opened {
        let mut used = 0;
        while let Some((&[kind, major, minor, high, low], rest)) =
            records[used..].split_first_chunk::<HEADER>()
        {
            let len = usize::from(u16::from_be_bytes([high, low]));
            let result = match rest.split_at_checked(len) {
                // The version of TLS 1.2, also in 1.3 (RFC 8446 §5.1).
                _ if (major, minor) != (3, 3) => Err(Violation::Malformed),
                _ if len > self.opener.max_sealed() => Err(Violation::TooLong),
                None => break,
                Some((body, _)) => self.open_one(kind, body, plain, reply),
            };
            used += HEADER + len;
            match result {
                Ok(false) => {}
                Ok(true) => return Opened { used: records.len(), result: Ok(true) },
                Err(violation) => {
                    if let Some(alert) = violation.alert() {
                        self.seal_alert(FATAL, alert, reply);
                    }
                    return Opened { used: records.len(), result: Err(violation) };
                }
            }
        }
        Opened { used, result: Ok(false) }
    }

    fn open_one(
        &mut self,
        kind: u8,
        body: &[u8],
        plain: &mut Buffer,
        reply: &mut Vec<u8>,
    ) -> Result<bool, Violation> {
        if self.is_tls13() && kind != DATA {
            return Err(Violation::Unexpected);
        }
        let room = plain.room(body.len());
        let (kind, len) = self.opener.open(kind, body, room)?;
        if kind == DATA && len > 0 {
            self.idle = 0;
            self.update_cost = self.update_cost.saturating_sub(1);
            plain.advance(len);
            return Ok(false);
        }
        self.idle += 1;
        if self.idle > IDLE_LIMIT {
            return Err(Violation::Idle);
        }
        let message = &room[..len];
        match kind {
            DATA => Ok(false),
            ALERT => on_alert(message, self.is_tls13()),
            HANDSHAKE if self.is_tls13() => {
                let asks = asks_for_update(message)?;
                self.update_asked |= asks;
                self.renew_opener()
            }
            HANDSHAKE => self.refuse_renegotiation(message.first(), reply),
            _ => Err(Violation::Unexpected),
        }
    }

    /// The peer seals with its next key from here on (RFC 8446 §4.6.3).
    fn renew_opener(&mut self) -> Result<bool, Violation> {
        self.update_cost += UPDATE_COST;
        if self.update_cost > UPDATE_LIMIT {
            return Err(Violation::Idle);
        }
        let (sequence, secrets) = self.secrets.update_rx_secret().map_err(|_| Violation::Internal)?;
        self.opener = RecordKey::new(true, sequence, &secrets).ok_or(Violation::Internal)?;
        Ok(false)
    }

    /// Refuses a renegotiation once; the session of a client that asks again ends (RFC 5246 §7.2.2).
    fn refuse_renegotiation(&mut self, kind: Option<&u8>, reply: &mut Vec<u8>) -> Result<bool, Violation> {
        if kind != Some(&CLIENT_HELLO) || std::mem::replace(&mut self.renegotiation_refused, true) {
            return Err(Violation::Unexpected);
        }
        self.seal_alert(WARNING, NO_RENEGOTIATION, reply);
        Ok(false)
    }

    // ---- sending

    /// Seals `slices` into records behind what `records` holds; returns how many plain bytes those were.
    pub fn seal(&mut self, slices: &[IoSlice<'_>], records: &mut Buffer) -> Result<usize, Violation> {
        let len: usize = slices.iter().map(|slice| slice.len()).sum();
        let mut source = Source { slices, offset: 0 };
        let mut left = len;
        while left > 0 {
            self.renew_sealer(records)?;
            let part = left.min(MAX_PLAIN);
            let room = records.room(part + MAX_OVERHEAD);
            let sealed = self.sealer.seal(DATA, part, room, |to| source.copy_to(to))?;
            records.advance(sealed);
            left -= part;
        }
        Ok(len)
    }

    /// Takes the next key if the peer has asked for it or ours is worn out. TLS 1.2 has only one key.
    fn renew_sealer(&mut self, records: &mut Buffer) -> Result<(), Violation> {
        let worn_out = self.sealer.sequence() >= self.limit.saturating_sub(RESERVE);
        if !worn_out && !self.update_asked {
            return Ok(());
        }
        if !self.is_tls13() {
            return Err(Violation::WornOut);
        }
        const NOT_REQUESTED: u8 = 0;
        let message = [KEY_UPDATE, 0, 0, 1, NOT_REQUESTED];
        let room = records.room(message.len() + MAX_OVERHEAD);
        let sealed = self.sealer.seal(HANDSHAKE, message.len(), room, |to| to.copy_from_slice(&message))?;
        records.advance(sealed);
        let (sequence, secrets) = self.secrets.update_tx_secret().map_err(|_| Violation::Internal)?;
        self.sealer = RecordKey::new(true, sequence, &secrets).ok_or(Violation::Internal)?;
        self.update_asked = false;
        Ok(())
    }

    /// Seals a close_notify.
    pub fn seal_close(&mut self, records: &mut Vec<u8>) {
        self.seal_alert(WARNING, CLOSE_NOTIFY, records);
    }

    fn seal_alert(&mut self, level: u8, description: u8, records: &mut Vec<u8>) {
        let mut record = [0; 2 + MAX_OVERHEAD];
        let fill = |to: &mut [u8]| to.copy_from_slice(&[level, description]);
        // The peer does not get an alert that cannot be sealed.
        if let Ok(len) = self.sealer.seal(ALERT, 2, &mut record, fill) {
            records.extend_from_slice(&record[..len]);
        }
    }
}

/// True: close_notify.
fn on_alert(alert: &[u8], tls13: bool) -> Result<bool, Violation> {
    match *alert {
        [_, CLOSE_NOTIFY] => Ok(true),
        // The level of the alert does not matter (RFC 8446 §6).
        [_, USER_CANCELED] if tls13 => Ok(false),
        [WARNING, _] if !tls13 => Ok(false),
        [_, description] => Err(Violation::Alert(description)),
        _ => Err(Violation::Malformed),
    }
}

/// Whether a KeyUpdate asks for one in return. It must fill its record, since the next one has another key
/// (RFC 8446 §5.1); a client sends no other messages after its Finished.
fn asks_for_update(message: &[u8]) -> Result<bool, Violation> {
    match *message {
        [KEY_UPDATE, 0, 0, 1, request @ (0 | 1)] => Ok(request == 1),
        [KEY_UPDATE, 0, 0, 1, _] => Err(Violation::Illegal),
        _ => Err(Violation::Unexpected),
    }
}

/// Slices, copied from front to back.
struct Source<'a> {
    slices: &'a [IoSlice<'a>],
    offset: usize,
}

impl Source<'_> {
    fn copy_to(&mut self, mut to: &mut [u8]) {
        while let (Some(first), false) = (self.slices.first(), to.is_empty()) {
            let rest = &first[self.offset..];
            let len = rest.len().min(to.len());
            to[..len].copy_from_slice(&rest[..len]);
            to = &mut to[len..];
            self.offset += len;
            if self.offset == first.len() {
                (self.slices, self.offset) = (&self.slices[1..], 0);
            }
        }
    }
}
