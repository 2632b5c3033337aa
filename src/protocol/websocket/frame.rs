//! WebSocket frames on the wire (RFC 6455 §5): header parsing and formatting, masking, close payloads.
//!
//! This file has no state and knows one frame at a time. `message.rs` makes messages of frames, and the
//! connection decides what to answer. Opcodes and close codes are tungstenite's.

use std::fmt;

pub use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

/// RFC 6455 §5.5: all control frames have a payload of 125 bytes or less.
pub const MAX_CONTROL_PAYLOAD: usize = 125;
/// The bytes of a control payload behind the close code.
pub const MAX_CLOSE_REASON: usize = MAX_CONTROL_PAYLOAD - 2;

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const RSV2_RSV3: u8 = 0x30;
const MASKED: u8 = 0x80;
const LEN_16: u8 = 126;
const LEN_64: u8 = 127;

/// A fault of a peer. Each has the close code that the peer is sent and the reason that the `close` handler
/// gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WsError {
    InvalidFrame,
    TooBigMessage,
    InvalidUtf8,
    /// A close frame with one byte of payload or a code that must not be sent.
    InvalidClosePayload,
    /// A close frame whose reason is not UTF-8; told apart only by the code it is answered with.
    InvalidCloseReason,
    TooBigInflation,
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

    /// The text that JavaScript's `close` handler gets along with 1006.
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

impl fmt::Display for WsError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for WsError {}

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
/// Faults in the first two bytes are reported before the rest has arrived. A length in a longer form than
/// needed is accepted, as uWebSockets does, although RFC 6455 §5.2 forbids sending it.
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

/// RFC 6455 §5.1 (a client masks), §5.2 (reserved bits and opcodes), §5.5 (control frames are short and
/// whole); RFC 7692 §6 (RSV1 is for data frames).
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

/// XORs `data` with the masking key; `offset` is the position of `data` in the frame's payload.
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

/// Appends a close frame. It is empty when there is no code, or one that only stands for the absence of a
/// code on this side (0 as uWebSockets takes it; 1005, 1006 and 1015 of RFC 6455 §7.4.1). The reason is cut
/// to the part that fits and is UTF-8.
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

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: OpCode = OpCode::Data(Data::Text);
    const BINARY: OpCode = OpCode::Data(Data::Binary);
    const CONTINUE: OpCode = OpCode::Data(Data::Continue);
    const CLOSE: OpCode = OpCode::Control(Control::Close);
    const PING: OpCode = OpCode::Control(Control::Ping);
    const PONG: OpCode = OpCode::Control(Control::Pong);

    type Parsed = Result<Option<(FrameHeader, usize)>, WsError>;

    fn accepted(first: (bool, bool, OpCode), len: u64, used: usize) -> Parsed {
        let (fin, rsv1, opcode) = first;
        Ok(Some((FrameHeader { fin, rsv1, opcode, mask: [1, 2, 3, 4], len }, used)))
    }

    macro_rules! headers {
        ($($name:ident: $bytes:expr => $expected:expr;)*) => {$(
            #[test]
            fn $name() {
                let bytes: &[u8] = &$bytes;
                let expected: Parsed = $expected;
                assert_eq!(parse_header(bytes), expected);
                let Ok(Some((_, used))) = expected else { return };
                for len in 0..used {
                    assert_eq!(parse_header(&bytes[..len]), Ok(None), "{len} bytes");
                }
                assert_eq!(parse_header(&[bytes, b"payload"].concat()), expected);
            }
        )*};
    }

    headers! {
        nothing: [] => Ok(None);
        text: [0x81, 0x85, 1, 2, 3, 4] => accepted((true, false, TEXT), 5, 6);
        empty: [0x82, 0x80, 1, 2, 3, 4] => accepted((true, false, BINARY), 0, 6);
        first_fragment: [0x01, 0x85, 1, 2, 3, 4] => accepted((false, false, TEXT), 5, 6);
        continuation: [0x00, 0x85, 1, 2, 3, 4] => accepted((false, false, CONTINUE), 5, 6);
        last_fragment: [0x80, 0x85, 1, 2, 3, 4] => accepted((true, false, CONTINUE), 5, 6);
        compressed: [0xc1, 0x85, 1, 2, 3, 4] => accepted((true, true, TEXT), 5, 6);
        longest_short: [0x82, 0xfd, 1, 2, 3, 4] => accepted((true, false, BINARY), 125, 6);
        medium: [0x82, 0xfe, 0x01, 0x02, 1, 2, 3, 4] => accepted((true, false, BINARY), 258, 8);
        long: [0x82, 0xff, 0, 0, 0, 1, 0, 0, 0, 2, 1, 2, 3, 4] => accepted((true, false, BINARY), (1 << 32) + 2, 14);
        longest: [0x82, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255, 1, 2, 3, 4]
            => accepted((true, false, BINARY), i64::MAX as u64, 14);
        beyond_longest: [0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0] => Err(WsError::InvalidFrame);
        medium_form_of_short: [0x82, 0xfe, 0, 5, 1, 2, 3, 4] => accepted((true, false, BINARY), 5, 8);
        long_form_of_short: [0x82, 0xff, 0, 0, 0, 0, 0, 0, 0, 5, 1, 2, 3, 4] => accepted((true, false, BINARY), 5, 14);
        ping: [0x89, 0x80, 1, 2, 3, 4] => accepted((true, false, PING), 0, 6);
        pong: [0x8a, 0x81, 1, 2, 3, 4] => accepted((true, false, PONG), 1, 6);
        close: [0x88, 0xfd, 1, 2, 3, 4] => accepted((true, false, CLOSE), 125, 6);
        long_ping: [0x89, 0xfe] => Err(WsError::InvalidFrame);
        very_long_pong: [0x8a, 0xff] => Err(WsError::InvalidFrame);
        fragmented_ping: [0x09, 0x80] => Err(WsError::InvalidFrame);
        compressed_close: [0xc8, 0x80] => Err(WsError::InvalidFrame);
        unmasked: [0x81, 0x05] => Err(WsError::InvalidFrame);
        unmasked_ping: [0x89, 0x00] => Err(WsError::InvalidFrame);
        rsv2: [0xa1, 0x85] => Err(WsError::InvalidFrame);
        rsv3: [0x91, 0x85] => Err(WsError::InvalidFrame);
    }

    #[test]
    fn reserved_opcodes_are_refused() {
        for opcode in (3..=7).chain(11..=15) {
            assert_eq!(parse_header(&[0x80 | opcode, 0x80]), Err(WsError::InvalidFrame), "{opcode}");
        }
    }

    #[test]
    fn writes_the_shortest_length() {
        let header = |len| {
            let mut out = Vec::new();
            write_header(&mut out, BINARY, true, false, len);
            out
        };
        assert_eq!(header(0), [0x82, 0]);
        assert_eq!(header(125), [0x82, 125]);
        assert_eq!(header(126), [0x82, 126, 0, 126]);
        assert_eq!(header(65535), [0x82, 126, 255, 255]);
        assert_eq!(header(65536), [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn writes_the_flags() {
        let mut out = Vec::new();
        write_header(&mut out, TEXT, false, true, 1);
        write_header(&mut out, CONTINUE, false, false, 1);
        write_header(&mut out, CONTINUE, true, false, 1);
        write_frame(&mut out, PONG, b"hi");
        assert_eq!(out, [0x41, 1, 0x00, 1, 0x80, 1, 0x8a, 2, b'h', b'i']);
    }

    #[test]
    fn unmasks_like_the_definition() {
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        let data: Vec<u8> = (0..=255).collect();
        for start in 0..8 {
            for len in 0..100 {
                for offset in (0..9).chain([usize::MAX - 1, usize::MAX]) {
                    let original = &data[start..start + len];
                    let expected: Vec<u8> =
                        (0..len).map(|i| original[i] ^ mask[(offset % 4 + i) % 4]).collect();
                    let mut buffer = data.clone();
                    unmask(&mut buffer[start..start + len], mask, offset);
                    assert_eq!(buffer[start..start + len], expected, "{start} {len} {offset}");
                    assert_eq!(buffer[..start], data[..start]);
                    assert_eq!(buffer[start + len..], data[start + len..]);
                }
            }
        }
    }

    fn close_frame(code: Option<u16>, reason: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write_close(&mut out, code, reason);
        out
    }

    #[test]
    fn writes_close_frames() {
        assert_eq!(close_frame(Some(1000), b""), [0x88, 2, 0x03, 0xe8]);
        assert_eq!(close_frame(Some(4001), b"bye"), [0x88, 5, 0x0f, 0xa1, b'b', b'y', b'e']);
        for code in [None, Some(0), Some(1005), Some(1006), Some(1015)] {
            assert_eq!(close_frame(code, b"bye"), [0x88, 0], "{code:?}");
        }
    }

    #[test]
    fn cuts_the_close_reason_between_characters() {
        assert_eq!(close_frame(Some(1000), &[b'a'; 123])[1], 125);
        assert_eq!(close_frame(Some(1000), &[b'a'; 124])[1], 125);
        let reason = ["a".repeat(121), "€uro".into()].concat();
        assert_eq!(close_frame(Some(1000), reason.as_bytes())[4..], [b'a'; 121]);
        assert_eq!(close_frame(Some(1000), b"ab\xffcd")[4..], *b"ab");
    }

    #[test]
    fn parses_close_payloads() {
        assert_eq!(parse_close_payload(b""), Ok((None, &b""[..])));
        assert_eq!(parse_close_payload(b"\x03\xe8"), Ok((Some(1000), &b""[..])));
        assert_eq!(parse_close_payload(b"\x0f\xa1h\xc3\xa9"), Ok((Some(4001), &b"h\xc3\xa9"[..])));
        assert_eq!(parse_close_payload(b"\x03"), Err(WsError::InvalidClosePayload));
        assert_eq!(parse_close_payload(b"\x03\xe8\xc3"), Err(WsError::InvalidCloseReason));
        assert_eq!(parse_close_payload(b"\x03\xee\xc3"), Err(WsError::InvalidClosePayload));
    }

    #[test]
    fn knows_the_close_codes() {
        let valid = [1000..=1003, 1007..=1014, 3000..=4999];
        for code in 0..=u16::MAX {
            let expected = valid.iter().any(|range| range.contains(&code));
            assert_eq!(parse_close_payload(&code.to_be_bytes()).is_ok(), expected, "{code}");
        }
    }

    #[test]
    fn errors_have_a_sendable_code_and_one_text() {
        use WsError::*;
        let errors = [
            (InvalidFrame, 1002),
            (TooBigMessage, 1009),
            (InvalidUtf8, 1007),
            (InvalidClosePayload, 1002),
            (InvalidCloseReason, 1007),
            (TooBigInflation, 1009),
            (InvalidDeflate, 1007),
        ];
        for (error, code) in errors {
            assert_eq!(error.close_code(), code, "{error:?}");
            assert_eq!(error.to_string(), error.reason());
        }
    }
}
