//! The handshake, which rustls carries out over bytes that the caller owns: the client's messages in, ours
//! out.
//!
//! rustls gets one whole record at a time. Given more, it would process records behind the last one of the
//! handshake, which are for the session, and even renew its key if one of them asks for that. Given less, it
//! would look through an unfinished record with every read.

use super::record::{HANDSHAKE, HEADER};
use rustls::Error;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus};

pub struct Handshake {
    rustls: UnbufferedServerConnection,
    /// Bytes in front of the input that rustls has seen and still needs: the start of a message in several
    /// records.
    seen: usize,
}

/// The result of `advance`.
pub struct Advanced {
    /// Bytes of the input that are not needed any more. The caller gives the rest again, in front of the next
    /// bytes.
    pub used: usize,
    /// True: the session is established, and the next bytes are not for the handshake. After an error rustls
    /// must not get any more bytes.
    pub result: Result<bool, Error>,
    /// The peer has sent a close_notify.
    pub ended: bool,
}

/// The content types of records (RFC 8446 §5.1), with the heartbeat of RFC 6520.
const KINDS: std::ops::RangeInclusive<u8> = 20..=24;
/// rustls refuses records whose content is as long as this or longer.
const TOO_LONG: usize = (1 << 14) + 2048;

/// The length of the first record; `None`: it is not complete. Bytes that cannot become a record count as
/// one, which rustls then refuses.
fn first_record(bytes: &[u8]) -> Option<usize> {
    let (&[kind, major, _, high, low], rest) = bytes.split_first_chunk::<HEADER>()?;
    let len = usize::from(u16::from_be_bytes([high, low]));
    if !KINDS.contains(&kind) || major != 3 || len >= TOO_LONG {
        return Some(bytes.len());
    }
    (len <= rest.len()).then_some(HEADER + len)
}

impl Handshake {
    pub fn new(rustls: UnbufferedServerConnection) -> Self {
        Handshake { rustls, seen: 0 }
    }

    pub fn into_inner(self) -> UnbufferedServerConnection {
        self.rustls
    }

    /// Advances the handshake as far as `input` allows. Appends the bytes to be sent to `out`, also when it
    /// fails.
    pub fn advance(&mut self, input: &mut [u8], out: &mut Vec<u8>) -> Advanced {
        let mut advanced = Advanced { used: 0, result: Ok(false), ended: false };
        while let Some(len) = first_record(&input[advanced.used + self.seen..]) {
            let end = advanced.used + self.seen + len;
            advanced.result = self.take_record(&mut input[..end], &mut advanced, out);
            self.seen = end - advanced.used;
            if !matches!(advanced.result, Ok(false)) {
                if advanced.result.is_err() {
                    self.last_words(&input[advanced.used..end], len, out);
                }
                break;
            }
        }
        advanced
    }

    /// Processes one more record, which is at the end of `input`.
    fn take_record(
        &mut self,
        input: &mut [u8],
        advanced: &mut Advanced,
        out: &mut Vec<u8>,
    ) -> Result<bool, Error> {
        loop {
            let UnbufferedStatus { discard, state } =
                self.rustls.process_tls_records(&mut input[advanced.used..]);
            let next = match state {
                Ok(ConnectionState::EncodeTlsData(message)) => encode(message, out).map(|()| None),
                Ok(ConnectionState::TransmitTlsData(transmit)) => {
                    transmit.done();
                    Ok(None)
                }
                Ok(ConnectionState::PeerClosed) => {
                    advanced.ended = true;
                    Ok(None)
                }
                Ok(ConnectionState::BlockedHandshake) => Ok(Some(false)),
                Ok(ConnectionState::WriteTraffic(_) | ConnectionState::Closed) => Ok(Some(true)),
                Ok(state) => Err(Error::General(format!("{state:?}"))),
                Err(error) => Err(error),
            };
            advanced.used += discard;
            if let Some(established) = next? {
                return Ok(established);
            }
        }
    }

    /// Encodes the alert that rustls has for an error. rustls looks at its input again for that. It must not
    /// find the record that it has refused, since it would panic or refuse it once more, but the input must
    /// still have as many bytes as rustls remembers.
    fn last_words(&mut self, input: &[u8], refused: usize, out: &mut Vec<u8>) {
        let (mut input, refused) = (input.to_vec(), refused.min(input.len()));
        let start = input.len() - refused;
        let [high, low] = (TOO_LONG as u16 - 1).to_be_bytes();
        for (place, byte) in input[start..].iter_mut().zip([HANDSHAKE, 3, 3, high, low]) {
            *place = byte;
        }
        // rustls does not remember the bytes of a record of this length, since that was too long for a
        // message.
        input.truncate(start + refused.min(TOO_LONG - 1));
        while let UnbufferedStatus { state: Ok(ConnectionState::EncodeTlsData(message)), .. } =
            self.rustls.process_tls_records(&mut input)
        {
            if encode(message, out).is_err() {
                return;
            }
        }
    }
}

fn encode<Data>(mut message: EncodeTlsData<'_, Data>, out: &mut Vec<u8>) -> Result<(), Error> {
    let start = out.len();
    let needed = match message.encode(&mut []) {
        Err(EncodeError::InsufficientSize(size)) => size.required_size,
        _ => 0,
    };
    out.resize(start + needed, 0);
    message.encode(&mut out[start..]).map(drop).map_err(|error| Error::General(error.to_string()))
}
