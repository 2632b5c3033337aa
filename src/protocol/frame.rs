//! WebSocket frames on the wire (RFC 6455 §5): header parsing and formatting, masking, close payloads.
//!
//! Stateless. It knows one frame at a time; how frames make up messages is `message.rs`, when to answer what is the
//! connection's. Opcodes and close codes are tungstenite's.

use thiserror::Error;
pub use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

/// Longest header a client can send: two bytes, 64-bit length, masking key.
pub const MAX_CLIENT_HEADER: usize = 14;
/// RFC 6455 §5.5: all control frames have a payload of 125 bytes or less.
pub const MAX_CONTROL_PAYLOAD: usize = 125;
/// What remains of a control payload after the close code.
pub const MAX_CLOSE_REASON: usize = MAX_CONTROL_PAYLOAD - 2;

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const RSV2_RSV3: u8 = 0x30;
const MASKED: u8 = 0x80;
const LEN_16: u8 = 126;
const LEN_64: u8 = 127;

/// What a peer did wrong. Each knows the close code the peer is sent and the reason the `close` handler sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WsError {
    #[error("Received invalid WebSocket frame")]
    InvalidFrame,
    #[error("Received too big message")]
    TooBigMessage,
    #[error("Received invalid UTF-8")]
    InvalidUtf8,
    /// A close frame with one byte of payload or a code that must not be sent.
    #[error("Received invalid close payload")]
    InvalidClosePayload,
    /// A close frame whose reason is not UTF-8; told apart only by the code it is answered with.
    #[error("Received invalid close payload")]
    InvalidCloseReason,
    #[error("Received too big message, or other inflation error")]
    TooBigInflation,
    #[error("Received too big message, or other inflation error")]
    InvalidDeflate,
}

impl WsError {
    /// The code of the close frame that tells the peer (RFC 6455 §7.4.1).
    pub fn close_code(&self) -> u16 {
        let code = match self {
            Self::InvalidFrame | Self::InvalidClosePayload => CloseCode::Protocol,
            Self::InvalidUtf8 | Self::InvalidCloseReason | Self::InvalidDeflate => CloseCode::Invalid,
            Self::TooBigMessage | Self::TooBigInflation => CloseCode::Size,
        };
        code.into()
    }

    /// The text JavaScript's `close` handler gets along with 1006.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::InvalidFrame => "Received invalid WebSocket frame",
            Self::TooBigMessage => "Received too big message",
            Self::InvalidUtf8 => "Received invalid UTF-8",
            Self::InvalidClosePayload | Self::InvalidCloseReason => "Received invalid close payload",
            Self::TooBigInflation | Self::InvalidDeflate => {
                "Received too big message, or other inflation error"
            }
        }
    }
}

/// The header of a client's frame; `opcode` is never a reserved one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    pub fin: bool,
    pub rsv1: bool,
    pub opcode: OpCode,
    pub mask: [u8; 4],
    pub len: u64,
}

/// Parses a client's frame header and returns it with its size; `None` while bytes are missing.
///
/// What is wrong in the first two bytes is reported before the rest has arrived. A length in a longer form than needed
/// is accepted, as uWebSockets does, although RFC 6455 §5.2 forbids sending it.
pub fn parse_header(buf: &[u8]) -> Result<Option<(FrameHeader, usize)>, WsError> {
    let &[first, second, ref rest @ ..] = buf else { return Ok(None) };
    let opcode = OpCode::from(first & 0x0f);
    check_flags(first, second, opcode)?;

    let (len, extended) = match second & !MASKED {
        LEN_16 => match rest.first_chunk() {
            Some(bytes) => (u64::from(u16::from_be_bytes(*bytes)), 2),
            None => return Ok(None),
        },
        LEN_64 => match rest.first_chunk() {
            Some(bytes) => (u64::from_be_bytes(*bytes), 8),
            None => return Ok(None),
        },
        len => (u64::from(len), 0),
    };
    if len > i64::MAX as u64 {
        return Err(WsError::InvalidFrame);
    }
    let Some(&mask) = rest.get(extended..).and_then(<[u8]>::first_chunk) else { return Ok(None) };
    let header = FrameHeader { fin: first & FIN != 0, rsv1: first & RSV1 != 0, opcode, mask, len };
    Ok(Some((header, 2 + extended + mask.len())))
}

/// RFC 6455 §5.1 (a client masks), §5.2 (reserved bits and opcodes), §5.5 (control frames are short and whole);
/// RFC 7692 §6 (RSV1 is for data frames).
fn check_flags(first: u8, second: u8, opcode: OpCode) -> Result<(), WsError> {
    let masked = second & MASKED != 0;
    let reserved = matches!(opcode, OpCode::Data(Data::Reserved(_)) | OpCode::Control(Control::Reserved(_)));
    let bad_control = matches!(opcode, OpCode::Control(_))
        && (first & (FIN | RSV1) != FIN || usize::from(second & !MASKED) > MAX_CONTROL_PAYLOAD);
    if !masked || reserved || bad_control || first & RSV2_RSV3 != 0 {
        return Err(WsError::InvalidFrame);
    }
    Ok(())
}

/// Appends the header of a server's frame: unmasked, at most 10 bytes.
pub fn write_header(out: &mut Vec<u8>, opcode: OpCode, fin: bool, rsv1: bool, len: usize) {
    let first = u8::from(opcode) | if fin { FIN } else { 0 } | if rsv1 { RSV1 } else { 0 };
    if let Ok(short @ 0..LEN_16) = u8::try_from(len) {
        out.extend_from_slice(&[first, short]);
    } else if let Ok(medium) = u16::try_from(len) {
        let [high, low] = medium.to_be_bytes();
        out.extend_from_slice(&[first, LEN_16, high, low]);
    } else {
        out.extend_from_slice(&[first, LEN_64]);
        out.extend_from_slice(&(len as u64).to_be_bytes());
    }
}

/// Appends a whole unfragmented, uncompressed frame.
pub fn write_frame(out: &mut Vec<u8>, opcode: OpCode, payload: &[u8]) {
    write_header(out, opcode, true, false, payload.len());
    out.extend_from_slice(payload);
}

/// XORs `data` with the masking key; `offset` is how far into the frame's payload `data` begins.
pub fn unmask(data: &mut [u8], mask: [u8; 4], offset: usize) {
    let key: [u8; 8] = std::array::from_fn(|i| mask[(offset % 4 + i) % 4]);
    let word = u64::from_ne_bytes(key);
    let (words, tail) = data.as_chunks_mut::<8>();
    for bytes in words {
        *bytes = (u64::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip(key) {
        *byte ^= key;
    }
}

/// Appends a close frame. It is empty when there is no code, or one that only stands for the absence of a code on this
/// side (0 as uWebSockets takes it; 1005, 1006 and 1015 of RFC 6455 §7.4.1).
/// The reason is cut to what fits and is UTF-8.
pub fn write_close(out: &mut Vec<u8>, code: Option<u16>, reason: &[u8]) {
    let code = code.filter(|code| !matches!(code, 0 | 1005 | 1006 | 1015));
    let reason = if code.is_some() { sendable_reason(reason) } else { b"" };
    let code = code.map(u16::to_be_bytes);
    let code = code.as_ref().map_or(&[][..], |bytes| bytes);
    write_header(out, OpCode::Control(Control::Close), true, false, code.len() + reason.len());
    out.extend_from_slice(code);
    out.extend_from_slice(reason);
}

fn sendable_reason(reason: &[u8]) -> &[u8] {
    let cut = &reason[..reason.len().min(MAX_CLOSE_REASON)];
    match std::str::from_utf8(cut) {
        Ok(_) => cut,
        Err(error) => &cut[..error.valid_up_to()],
    }
}

/// Code and reason of a received close frame (RFC 6455 §5.5.1); no code for an empty payload.
pub fn parse_close_payload(payload: &[u8]) -> Result<(Option<u16>, &[u8]), WsError> {
    let (code, reason) = match payload {
        [] => return Ok((None, payload)),
        [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
        [_] => return Err(WsError::InvalidClosePayload),
    };
    if !is_receivable(code) {
        return Err(WsError::InvalidClosePayload);
    }
    if simdutf8::basic::from_utf8(reason).is_err() {
        return Err(WsError::InvalidCloseReason);
    }
    Ok((Some(code), reason))
}

/// RFC 6455 §7.4; 1014 (bad gateway) was registered with IANA later and tungstenite does not know it.
fn is_receivable(code: u16) -> bool {
    code == 1014 || CloseCode::from(code).is_allowed()
}
