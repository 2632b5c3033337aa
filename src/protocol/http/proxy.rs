//! PROXY protocol headers, binary (version 2) and text (version 1): the address of a client behind a
//! balancer.
//!
//! The caller decides whether to accept one on a connection: anyone who can send such a header can claim any
//! address.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use memchr::memchr;
use thiserror::Error;

/// Starts every version 2 header.
pub const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes after the fixed part of a version 2 header: addresses and TLVs. The format allows 64 KiB.
pub const MAX_PAYLOAD: usize = 16 * 1024;
/// A version 1 line with its CRLF, as its specification has it.
pub const MAX_LINE: usize = 107;
const FIXED_PART: usize = 16;

/// The addresses in a header; both are `None` when the proxy speaks for itself or for an unknown protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProxyHeader {
    pub source: Option<SocketAddr>,
    pub destination: Option<SocketAddr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ProxyError {
    #[error("malformed PROXY header")]
    Malformed,
    #[error("PROXY header too large")]
    TooLarge,
}

/// Whether the first bytes of a stream are those of a PROXY header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Likeness {
    No,
    /// Too few bytes to tell.
    Maybe,
    Yes,
}

pub fn looks_like_proxy(buf: &[u8]) -> Likeness {
    // No request with a method PROXY looks like these: its target does not begin with such letters.
    const STARTS: [&[u8]; 4] = [SIGNATURE, b"PROXY TCP4 ", b"PROXY TCP6 ", b"PROXY UNKNOWN"];
    if !matches!(buf.first(), None | Some(b'\r' | b'P')) {
        // Most requests; the others are compared with all of it.
        Likeness::No
    } else if STARTS.iter().any(|start| buf.starts_with(start)) {
        Likeness::Yes
    } else if STARTS.iter().any(|start| start.starts_with(buf)) {
        Likeness::Maybe
    } else {
        Likeness::No
    }
}

/// Parses the header at the start of `buf`: `Ok(None)` if it is incomplete, else its addresses and its
/// length.
pub fn parse(buf: &[u8]) -> Result<Option<(ProxyHeader, usize)>, ProxyError> {
    match looks_like_proxy(buf) {
        Likeness::No => Err(ProxyError::Malformed),
        Likeness::Maybe => Ok(None),
        Likeness::Yes if buf.starts_with(SIGNATURE) => parse_binary(buf),
        Likeness::Yes => parse_line(buf),
    }
}

fn parse_binary(buf: &[u8]) -> Result<Option<(ProxyHeader, usize)>, ProxyError> {
    // Refuse a wrong version or command before the rest has arrived.
    let command = match buf.get(12) {
        None => return Ok(None),
        Some(0x20) => Command::Local,
        Some(0x21) => Command::Proxy,
        Some(_) => return Err(ProxyError::Malformed),
    };
    let Some(&[family, high, low]) = buf.get(13..FIXED_PART) else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > MAX_PAYLOAD {
        return Err(ProxyError::TooLarge);
    }
    let Some(payload) = buf.get(FIXED_PART..FIXED_PART + length) else { return Ok(None) };
    let header = match command {
        Command::Local => ProxyHeader::default(),
        Command::Proxy => addresses(family, payload)?,
    };
    Ok(Some((header, FIXED_PART + length)))
}

enum Command {
    /// The proxy's own connection, such as a health check.
    Local,
    Proxy,
}

/// The address block; the TLVs behind it are skipped.
fn addresses(family: u8, payload: &[u8]) -> Result<ProxyHeader, ProxyError> {
    match family >> 4 {
        0x1 => pair::<4>(payload, |ip| Ipv4Addr::from(ip).into()),
        0x2 => pair::<16>(payload, |ip| Ipv6Addr::from(ip).into()),
        // Unspecified and Unix sockets have no address to tell.
        0x0 | 0x3 => Ok(ProxyHeader::default()),
        _ => Err(ProxyError::Malformed),
    }
}

/// Two addresses of `N` bytes, then two ports.
fn pair<const N: usize>(payload: &[u8], ip: fn([u8; N]) -> IpAddr) -> Result<ProxyHeader, ProxyError> {
    let read = || {
        let (source, rest) = payload.split_first_chunk::<N>()?;
        let (destination, rest) = rest.split_first_chunk::<N>()?;
        let (source_port, rest) = rest.split_first_chunk::<2>()?;
        let (destination_port, _) = rest.split_first_chunk::<2>()?;
        Some(ProxyHeader {
            source: Some(SocketAddr::new(ip(*source), u16::from_be_bytes(*source_port))),
            destination: Some(SocketAddr::new(ip(*destination), u16::from_be_bytes(*destination_port))),
        })
    };
    read().ok_or(ProxyError::Malformed)
}

fn parse_line(buf: &[u8]) -> Result<Option<(ProxyHeader, usize)>, ProxyError> {
    let window = &buf[..buf.len().min(MAX_LINE)];
    let Some(line_feed) = memchr(b'\n', window) else {
        return if buf.len() >= MAX_LINE { Err(ProxyError::TooLarge) } else { Ok(None) };
    };
    let line = window[..line_feed].strip_suffix(b"\r").ok_or(ProxyError::Malformed)?;
    // Each word by itself: behind UNKNOWN the receiver must ignore whatever bytes there are.
    let words = line.split(|&byte| byte == b' ').skip(1);
    let mut words = words.map(|word| std::str::from_utf8(word).unwrap_or_default());
    let header = match words.next() {
        Some("TCP4") => text_pair::<Ipv4Addr>(words)?,
        Some("TCP6") => text_pair::<Ipv6Addr>(words)?,
        Some("UNKNOWN") => ProxyHeader::default(),
        _ => return Err(ProxyError::Malformed),
    };
    Ok(Some((header, line_feed + 1)))
}

/// `source destination source-port destination-port`, and nothing else.
fn text_pair<'a, A: FromStr + Into<IpAddr>>(
    words: impl Iterator<Item = &'a str>,
) -> Result<ProxyHeader, ProxyError> {
    let mut words = words.fuse();
    let mut address = || words.next()?.parse::<A>().ok().map(Into::<IpAddr>::into);
    let (source, destination) = (address(), address());
    let mut port = || words.next().and_then(parse_port);
    let (source_port, destination_port) = (port(), port());
    let header = ProxyHeader {
        source: source.zip(source_port).map(SocketAddr::from),
        destination: destination.zip(destination_port).map(SocketAddr::from),
    };
    let complete = header.source.is_some() && header.destination.is_some() && words.next().is_none();
    if complete { Ok(header) } else { Err(ProxyError::Malformed) }
}

/// Digits only: `u16::from_str` would take a plus sign.
fn parse_port(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn binary(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
        let mut header = SIGNATURE.to_vec();
        header.extend([command, family]);
        header.extend((payload.len() as u16).to_be_bytes());
        header.extend(payload);
        header
    }

    fn header(source: &str, destination: &str) -> ProxyHeader {
        ProxyHeader { source: Some(source.parse().unwrap()), destination: Some(destination.parse().unwrap()) }
    }

    const V4: &[u8] = &[1, 2, 3, 4, 5, 6, 7, 8, 0x30, 0x39, 0x01, 0xbb];
    const V6: &[u8] = &[
        0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff,
        127, 0, 0, 1, 0, 80, 0xff, 0xff,
    ];

    #[test]
    fn headers_at_every_length() {
        let nobody = ProxyHeader::default();
        let four = header("1.2.3.4:12345", "5.6.7.8:443");
        let six = header("[2001:db8::1]:80", "[::ffff:127.0.0.1]:65535");
        let table: Vec<(Vec<u8>, ProxyHeader)> = vec![
            (binary(0x21, 0x11, V4), four),
            (binary(0x21, 0x12, V4), four),
            (binary(0x21, 0x11, &[V4, &[3, 0, 4, 1, 2, 3, 4]].concat()), four),
            (binary(0x21, 0x21, V6), six),
            (binary(0x21, 0x31, &[b'/'; 216]), nobody),
            (binary(0x21, 0x00, b""), nobody),
            (binary(0x20, 0x00, b""), nobody),
            (binary(0x20, 0x11, V4), nobody),
            (binary(0x20, 0xff, b"any"), nobody),
            (b"PROXY TCP4 1.2.3.4 5.6.7.8 12345 443\r\n".to_vec(), four),
            (b"PROXY TCP6 2001:db8::1 ::ffff:127.0.0.1 80 65535\r\n".to_vec(), six),
            (b"PROXY UNKNOWN\r\n".to_vec(), nobody),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), nobody),
            (b"PROXY UNKNOWN \xc0 \xff\0\r\n".to_vec(), nobody),
        ];
        for (bytes, expected) in table {
            let followed = [&bytes[..], b"GET / HTTP/1.1\r\n"].concat();
            for end in 0..bytes.len() {
                assert_eq!(parse(&followed[..end]), Ok(None), "{end} of {}", bytes.escape_ascii());
            }
            for end in bytes.len()..=followed.len() {
                assert_eq!(
                    parse(&followed[..end]),
                    Ok(Some((expected, bytes.len()))),
                    "{}",
                    bytes.escape_ascii()
                );
            }
        }
    }

    #[test]
    fn malformed_headers() {
        let table: Vec<Vec<u8>> = vec![
            binary(0x11, 0x11, V4),
            binary(0x22, 0x11, V4),
            binary(0x00, 0x11, V4),
            binary(0x21, 0x41, V4),
            binary(0x21, 0x11, &V4[..11]),
            binary(0x21, 0x21, &V6[..35]),
            binary(0x21, 0x21, V4),
            b"PROXY TCP4 1.2.3.4 5.6.7.8 12345 443\n".to_vec(),
            b"PROXY TCP4 1.2.3.4 5.6.7.8 12345\r\n".to_vec(),
            b"PROXY TCP4 1.2.3.4 5.6.7.8 12345 443 1\r\n".to_vec(),
            b"PROXY TCP4 1.2.3.4 5.6.7.8  443\r\n".to_vec(),
            b"PROXY TCP4 1.2.3.4 5.6.7.8 65536 443\r\n".to_vec(),
            b"PROXY TCP4 1.2.3.4 5.6.7.8 +1 443\r\n".to_vec(),
            b"PROXY TCP4 1.2.3.256 5.6.7.8 1 443\r\n".to_vec(),
            b"PROXY TCP4 ::1 ::1 1 443\r\n".to_vec(),
            b"PROXY TCP6 1.2.3.4 5.6.7.8 1 443\r\n".to_vec(),
            b"PROXY TCP4 \xff\r\n".to_vec(),
            b"PROXY UNKNOWNS\r\n".to_vec(),
            b"GET / HTTP/1.1\r\n".to_vec(),
        ];
        for bytes in table {
            assert_eq!(parse(&bytes), Err(ProxyError::Malformed), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn oversized_headers() {
        assert!(matches!(parse(&binary(0x21, 0, &[0; MAX_PAYLOAD])), Ok(Some(_))));
        let long = binary(0x21, 0, &[0; MAX_PAYLOAD + 1]);
        assert_eq!(parse(&long[..FIXED_PART]), Err(ProxyError::TooLarge));
        let line = |length: usize| format!("PROXY UNKNOWN {}\r\n", "x".repeat(length - 16));
        assert_eq!(parse(line(MAX_LINE).as_bytes()), Ok(Some((ProxyHeader::default(), MAX_LINE))));
        assert_eq!(parse(line(MAX_LINE + 1).as_bytes()), Err(ProxyError::TooLarge));
    }

    #[test]
    fn likeness() {
        let table: &[(&[u8], Likeness)] = &[
            (b"", Likeness::Maybe),
            (b"\r", Likeness::Maybe),
            (b"\r\n\r\n", Likeness::Maybe),
            (b"\r\n\r\n\0\r\nQUIT\n", Likeness::Yes),
            (b"\r\nG", Likeness::No),
            (b"\r\n\r\nG", Likeness::No),
            (b"G", Likeness::No),
            (b"P", Likeness::Maybe),
            (b"POST / HTTP/1.1\r\n", Likeness::No),
            (b"PROXY ", Likeness::Maybe),
            (b"PROXY /", Likeness::No),
            (b"PROXY TCP4 ", Likeness::Yes),
            (b"PROXY TCP5", Likeness::No),
            (b"PROXY UNKNOWN", Likeness::Yes),
        ];
        for (bytes, expected) in table {
            assert_eq!(looks_like_proxy(bytes), *expected, "{}", bytes.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_after_a_signature_are_survived(
            tail in prop::collection::vec(any::<u8>(), 0..80),
            line in any::<bool>(),
        ) {
            let start: &[u8] = if line { b"PROXY TCP4 " } else { SIGNATURE };
            let bytes = [start, &tail].concat();
            if let Ok(Some((_, used))) = parse(&bytes) {
                prop_assert!(used <= bytes.len());
            }
        }
    }
}
