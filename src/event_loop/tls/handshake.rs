//! The handshake, carried out by rustls over bytes that the caller owns: its messages in, ours out.

use super::buffer::Buffer;
use rustls::Error;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus};

/// What `advance` has come to.
pub struct Advanced {
    /// Bytes of the input that are not needed any more; the rest comes again, in front of what follows.
    pub used: usize,
    /// True: the session is established, and what follows is not for the handshake.
    pub result: Result<bool, Error>,
    /// The peer has said that nothing follows.
    pub ended: bool,
}

/// Goes on with a handshake as far as `input` allows. `out` gets what is to be sent, also when it fails; `plain` data
/// that came in the same read as the end of the handshake.
pub fn advance(
    handshake: &mut UnbufferedServerConnection,
    input: &mut [u8],
    plain: &mut Buffer,
    out: &mut Vec<u8>,
) -> Advanced {
    let (mut used, mut ended, mut failure) = (0, false, None);
    let result = loop {
        let UnbufferedStatus { discard, state } = handshake.process_tls_records(&mut input[used..]);
        let next = match (state, &failure) {
            (Ok(ConnectionState::EncodeTlsData(message)), _) => encode(message, out).map(|()| None),
            (Ok(ConnectionState::TransmitTlsData(transmit)), _) => {
                transmit.done();
                Ok(None)
            }
            // rustls has no more alerts for it.
            (_, Some(_)) => Ok(Some(false)),
            (Ok(ConnectionState::ReadTraffic(mut data)), None) => {
                while let Some(Ok(record)) = data.next_record() {
                    plain.extend(record.payload);
                }
                Ok(None)
            }
            (Ok(ConnectionState::PeerClosed), None) => {
                ended = true;
                Ok(None)
            }
            (Ok(ConnectionState::BlockedHandshake), None) => Ok(Some(false)),
            (Ok(ConnectionState::WriteTraffic(_) | ConnectionState::Closed), None) => Ok(Some(true)),
            (Ok(state), None) => Err(Error::General(format!("{state:?}"))),
            (Err(error), None) => {
                // What is to be said about it comes next.
                failure = Some(error);
                Ok(None)
            }
        };
        used += discard;
        match next {
            Ok(None) => {}
            Ok(Some(established)) => break failure.map_or(Ok(established), Err),
            Err(error) => break Err(error),
        }
    };
    Advanced { used, result, ended }
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
