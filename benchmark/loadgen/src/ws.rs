//! The client's half of RFC 6455: upgrade request and check of its answer, masked frames out, unmasked frames
//! in. Bytes only; sockets belong to [`crate::net`].

use memchr::memmem;

use crate::payload::excerpt;
use crate::{Failure, Result};

pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// The sample nonce of RFC 6455 §1.3 and the answer it must get. One key for all connections: nothing
/// between generator and server caches, and no hash is needed.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// `deflate`: with the offer of permessage-deflate that browsers make.
pub fn upgrade_request(path: &str, deflate: bool) -> Vec<u8> {
    let offer = match deflate {
        true => "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n",
        false => "",
    };
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{offer}\r\n"
    )
    .into_bytes()
}

/// The answer of a server about permessage-deflate (RFC 7692 §7.1).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Extension {
    /// It keeps the context of its compressor.
    pub takeover: bool,
}

/// Size of a complete and correct 101 response and the extension in it; `None` means more is needed.
pub fn upgrade_response(input: &[u8]) -> Result<Option<(usize, Option<Extension>)>> {
    let Some(end) = memmem::find(input, b"\r\n\r\n") else { return Ok(None) };
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let wrong = || Failure::Server(format!("upgrade answered with {}", excerpt(input)));
    response.parse(input).map_err(|_| wrong())?;
    let accepted = response
        .headers
        .iter()
        .any(|h| h.name.eq_ignore_ascii_case("sec-websocket-accept") && h.value == ACCEPT.as_bytes());
    if response.code != Some(101) || !accepted {
        return Err(wrong());
    }
    let extensions =
        response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("sec-websocket-extensions"));
    let extension = extensions.map(|header| extension(header.value)).transpose()?;
    Ok(Some((end + 4, extension)))
}

fn extension(value: &[u8]) -> Result<Extension> {
    let wrong = || Failure::Server(format!("extension not asked for: {}", excerpt(value)));
    let text = std::str::from_utf8(value).map_err(|_| wrong())?;
    let mut parts = text.split(';').map(str::trim);
    if parts.next() != Some("permessage-deflate") {
        return Err(wrong());
    }
    let mut extension = Extension { takeover: true };
    for part in parts {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        match name.trim() {
            "server_no_context_takeover" => extension.takeover = false,
            // Messages of this client refer to nothing further back than this.
            "client_max_window_bits" if value.parse().is_ok_and(|bits: u8| bits < WINDOW_BITS) => {
                return Err(wrong());
            }
            "client_no_context_takeover" | "client_max_window_bits" | "server_max_window_bits" => {}
            _ => return Err(wrong()),
        }
    }
    Ok(extension)
}

/// Window of the compressor of this client.
pub const WINDOW_BITS: u8 = 10;

/// First reserved bit: the message is compressed (RFC 7692 §6).
pub const COMPRESSED: u8 = 0x40;

/// Appends a final, masked frame; `opcode` may come with [`COMPRESSED`].
pub fn append_frame(out: &mut Vec<u8>, opcode: u8, payload: &[u8], mask: u32) {
    out.push(0x80 | opcode);
    match payload.len() {
        length @ 0..=125 => out.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    let key = mask.to_ne_bytes();
    out.extend_from_slice(&key);
    let start = out.len();
    out.extend_from_slice(payload);
    apply_mask(&mut out[start..], key);
}

pub fn apply_mask(bytes: &mut [u8], key: [u8; 4]) {
    let wide = u64::from(u32::from_ne_bytes(key)) * 0x1_0000_0001;
    let (blocks, rest) = bytes.as_chunks_mut::<8>();
    for block in blocks {
        *block = (u64::from_ne_bytes(*block) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

#[derive(Debug, PartialEq)]
pub struct Frame<'a> {
    /// With [`COMPRESSED`] where that is set.
    pub opcode: u8,
    pub payload: &'a [u8],
}

/// The first frame of a server's bytes and its size; `None` means more is needed. Fragments, other reserved
/// bits and masks are failures: no server under test has a reason to send them.
pub fn parse_frame(input: &[u8]) -> Result<Option<(Frame<'_>, usize)>> {
    let [first, second, ..] = *input else { return Ok(None) };
    if first & 0xb0 != 0x80 || second & 0x80 != 0 {
        return Err(Failure::Server(format!("unexpected frame: {}", excerpt(input))));
    }
    let Some((length, header)) = payload_length(second, input) else { return Ok(None) };
    match input.get(header..header + length) {
        None => Ok(None),
        Some(payload) => Ok(Some((Frame { opcode: first & (COMPRESSED | 15), payload }, header + length))),
    }
}

/// Length of the payload and of the header up to it, mask not counted.
pub fn payload_length(second: u8, input: &[u8]) -> Option<(usize, usize)> {
    match second & 0x7f {
        126 => Some((u16::from_be_bytes(*input.get(2..)?.first_chunk()?).into(), 4)),
        // RFC 6455 §5.2: the top bit is zero. Cutting it off keeps sums from overflowing.
        127 => Some(((u64::from_be_bytes(*input.get(2..)?.first_chunk()?) & (u64::MAX >> 1)) as usize, 10)),
        length => Some((length.into(), 2)),
    }
}

/// A cheap sequence of mask keys: the key must change, it need not be secret here.
pub struct Masks(u32);

impl Masks {
    pub fn new() -> Self {
        Masks(0x9e37_79b9)
    }

    pub fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }
}

/// Why a control frame that is neither ping nor pong ends the run.
pub fn closed(frame: &Frame<'_>) -> Failure {
    let code = frame.payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
    let reason = frame.payload.get(2..).unwrap_or_default();
    Failure::Server(format!("server closed with {code} \"{}\"", reason.escape_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unmasked(frame: &[u8]) -> (u8, Vec<u8>) {
        let (length, header) = payload_length(frame[1], frame).unwrap();
        let key = *frame[header..].first_chunk().unwrap();
        let mut payload = frame[header + 4..].to_vec();
        assert_eq!(payload.len(), length);
        apply_mask(&mut payload, key);
        (frame[0], payload)
    }

    #[test]
    fn masked_frames_follow_the_rfc_sample() {
        let mut out = Vec::new();
        append_frame(&mut out, TEXT, b"Hello", u32::from_ne_bytes([0x37, 0xfa, 0x21, 0x3d]));
        assert_eq!(out, [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    }

    #[test]
    fn all_length_forms_round_trip() {
        for length in [0, 1, 7, 8, 9, 125, 126, 127, 65535, 65536] {
            let payload: Vec<u8> = (0..length).map(|i| i as u8).collect();
            let mut out = Vec::new();
            append_frame(&mut out, BINARY, &payload, Masks::new().next());
            assert_eq!(unmasked(&out), (0x82, payload), "{length}");
        }
    }

    #[test]
    fn frames_are_parsed_only_when_complete() {
        let mut frame = vec![0x82, 126, 0, 200];
        frame.extend_from_slice(&[5; 200]);
        for cut in 0..frame.len() {
            assert_eq!(parse_frame(&frame[..cut]).unwrap(), None, "{cut}");
        }
        let (parsed, used) = parse_frame(&frame).unwrap().unwrap();
        assert_eq!((parsed.opcode, parsed.payload.len(), used), (BINARY, 200, 204));
    }

    #[test]
    fn fragments_masks_and_reserved_bits_are_refused() {
        for start in [[0x01, 1], [0xa1, 1], [0x91, 1], [0x81, 0x81]] {
            assert!(parse_frame(&start).is_err(), "{start:?}");
        }
        assert!(parse_frame(&[0x81, 127, 255, 255, 255, 255, 255, 255, 255, 255]).unwrap().is_none());
    }

    #[test]
    fn upgrade_needs_101_and_the_right_accept() {
        let good = format!("HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\nrest");
        assert_eq!(upgrade_response(good.as_bytes()).unwrap(), Some((good.len() - 4, None)));
        assert_eq!(upgrade_response(&good.as_bytes()[..40]).unwrap(), None);
        assert!(upgrade_response(good.replace("101", "200").as_bytes()).is_err());
        assert!(upgrade_response(good.replace("s3p", "S3p").as_bytes()).is_err());
    }

    #[test]
    fn extensions_are_those_offered() {
        let takeover = |text: &str| extension(text.as_bytes()).map(|extension| extension.takeover);
        assert!(takeover("permessage-deflate").unwrap());
        assert!(
            takeover("permessage-deflate; server_max_window_bits=12; client_max_window_bits=10").unwrap()
        );
        assert!(
            !takeover("permessage-deflate; client_no_context_takeover; server_no_context_takeover").unwrap()
        );
        assert!(takeover("permessage-deflate; client_max_window_bits=9").is_err());
        assert!(takeover("permessage-deflate; other").is_err());
        assert!(takeover("x-webkit-deflate-frame").is_err());
    }
}
