//! The handshake, carried out by rustls over bytes that the caller owns: its messages in, ours out.
//!
//! rustls is given one whole record at a time. It would go on to those behind the last of the handshake,
//! which are for the session, and renew its own key for one that asks for it; and it would look through an
//! unfinished one with every read.

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

/// What `advance` has come to.
pub struct Advanced {
    /// Bytes of the input that are not needed any more; the rest comes again, in front of what follows.
    pub used: usize,
    /// True: the session is established, and what follows is not for the handshake. After an error rustls
    /// must not be given anything more.
    pub result: Result<bool, Error>,
    /// The peer has said that nothing follows.
    pub ended: bool,
}

/// The kinds of record there are (RFC 8446 §5.1), with the heartbeat of RFC 6520.
const KINDS: std::ops::RangeInclusive<u8> = 20..=24;
/// rustls refuses records whose content is as long as this or longer.
const TOO_LONG: usize = (1 << 14) + 2048;

/// How long the first record is; `None`: it is not complete. What cannot become one is all one, for rustls to
/// refuse.
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

    /// Goes on as far as `input` allows. `out` gets what is to be sent, also when it fails.
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

    /// With one record more than before at the end of `input`.
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

    /// Encodes the alert that rustls has for an error. It looks at its input again on the way, and must not
    /// find the record there that it has refused (it would panic, or refuse it once more), but still as many
    /// bytes as it remembers.
    fn last_words(&mut self, input: &[u8], refused: usize, out: &mut Vec<u8>) {
        let (mut input, refused) = (input.to_vec(), refused.min(input.len()));
        let start = input.len() - refused;
        let [high, low] = (TOO_LONG as u16 - 1).to_be_bytes();
        for (place, byte) in input[start..].iter_mut().zip([HANDSHAKE, 3, 3, high, low]) {
            *place = byte;
        }
        // A record that is as long as that is one it cannot remember, since it was too long for a message.
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
