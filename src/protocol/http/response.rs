//! Response heads and chunks, and checks of the parts that a program writes (RFC 9112 §4 and §7.1).
//!
//! This file decides nothing about a response: status, framing and persistence come from the caller.

use thiserror::Error;

use super::body::is_token_byte;

/// The answer to `Expect: 100-continue` (RFC 9110 §10.1.1).
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The header field by which a response says where its body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFraming {
    Length(u64),
    Chunked,
    /// None, for responses that have no body by their status or method.
    None,
}

/// A response head. The status and the headers have passed the checks of this file.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// Such as `200 OK`.
    pub status: &'a [u8],
    /// Lines made by `write_header`.
    pub headers: &'a [u8],
    pub date: Option<&'a [u8]>,
    pub framing: BodyFraming,
    /// The options of the program's `Connection` header; empty: it wrote none.
    pub connection: &'a [u8],
    pub connection_close: bool,
    /// The client speaks HTTP/1.0 and asked to keep the connection, so it must be told that it is.
    pub keep_alive_10: bool,
}

/// A part, written by a program, that would make the response malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HeadError {
    #[error("malformed status")]
    Status,
    #[error("malformed header name")]
    Name,
    #[error("malformed header value")]
    Value,
}

/// A header whose meaning this server must know about when a program writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnHeader {
    ContentLength,
    TransferEncoding,
    Connection,
    Date,
}

impl OwnHeader {
    pub fn of(name: &[u8]) -> Option<Self> {
        const NAMES: [(&[u8], OwnHeader); 4] = [
            (b"content-length", OwnHeader::ContentLength),
            (b"transfer-encoding", OwnHeader::TransferEncoding),
            (b"connection", OwnHeader::Connection),
            (b"date", OwnHeader::Date),
        ];
        NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|&(_, header)| header)
    }
}

/// Room for the lines that `write_head` adds itself.
const OWN_LINES: usize = 128;

/// Appends a whole head, blank line included.
pub fn write_head(out: &mut Vec<u8>, head: &Head) {
    out.reserve(head.status.len() + head.headers.len() + OWN_LINES);
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(head.status);
    // RFC 9112 §4: the space stays when there is no reason phrase.
    out.extend_from_slice(if head.status.len() == 3 { b" \r\n" } else { b"\r\n" });
    out.extend_from_slice(head.headers);
    if let Some(date) = head.date {
        write_header(out, b"Date", date);
    }
    match head.framing {
        BodyFraming::Length(length) => {
            write_header(out, b"Content-Length", itoa::Buffer::new().format(length).as_bytes());
        }
        BodyFraming::Chunked => write_header(out, b"Transfer-Encoding", b"chunked"),
        BodyFraming::None => {}
    }
    write_connection(out, head);
    out.extend_from_slice(b"\r\n");
}

/// Writes one `Connection` line that says what happens to the connection, with the program's own options in
/// it.
fn write_connection(out: &mut Vec<u8>, head: &Head) {
    let (said, contrary): (&[u8], &[u8]) = match (head.connection_close, head.keep_alive_10) {
        (true, _) => (b"close", b"keep-alive"),
        (false, true) => (b"keep-alive", b"close"),
        (false, false) => (b"", b"close"),
    };
    let said_already = said.is_empty() || has_option(head.connection, said);
    if said_already && !has_option(head.connection, contrary) {
        if !head.connection.is_empty() {
            write_header(out, b"Connection", head.connection);
        }
        return;
    }
    let others = options(head.connection)
        .filter(|option| !option.eq_ignore_ascii_case(contrary) && !option.eq_ignore_ascii_case(said));
    let list: Vec<&[u8]> = others.chain([said]).filter(|option| !option.is_empty()).collect();
    if !list.is_empty() {
        write_header(out, b"Connection", &list.join(&b", "[..]));
    }
}

fn options(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|option| !option.is_empty())
}

/// Whether a `Connection` header has an option.
pub fn has_option(list: &[u8], wanted: &[u8]) -> bool {
    options(list).any(|option| option.eq_ignore_ascii_case(wanted))
}

/// Splits off the program's `Connection` header, which is the last of its lines; returns the other lines and
/// its value.
pub fn split_connection(headers: &[u8]) -> (&[u8], &[u8]) {
    let Some(lines) = headers.strip_suffix(b"\r\n") else { return (headers, b"") };
    let start = memchr::memrchr(b'\n', lines).map_or(0, |at| at + 1);
    let line = &lines[start..];
    let value = memchr::memchr(b':', line).map_or(&b""[..], |at| line[at + 1..].trim_ascii());
    (&headers[..start], value)
}

/// Appends one header line. Name and value have passed their checks.
#[inline]
pub fn write_header(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Appends a chunk, unless `data` is empty: an empty chunk would end the body.
pub fn write_chunk(out: &mut Vec<u8>, data: &[u8]) {
    if data.is_empty() {
        return;
    }
    write_chunk_prefix(out, data.len());
    out.extend_from_slice(data);
    out.extend_from_slice(CHUNK_END);
}

/// Appends the line before the data of a chunk; `CHUNK_END` follows the data. The length must not be 0.
pub fn write_chunk_prefix(out: &mut Vec<u8>, length: usize) {
    debug_assert_ne!(length, 0, "an empty chunk ends the body");
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = length.checked_ilog2().unwrap_or(0) / 4;
    out.extend((0..=digits).rev().map(|digit| DIGITS[length >> (digit * 4) & 15]));
    out.extend_from_slice(b"\r\n");
}

pub const CHUNK_END: &[u8] = b"\r\n";

/// Appends the end of a chunked body, with no trailers.
pub fn write_last_chunk(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n\r\n");
}

const NOT_FOUND: &str = "404 File Not Found";

/// Appends the answer to a request that no route matched; to a HEAD request `omit_body` leaves out the body
/// and keeps its length.
pub fn write_not_found(out: &mut Vec<u8>, date: Option<&[u8]>, connection_close: bool, omit_body: bool) {
    let body = format!("<!doctype html><html><title>{NOT_FOUND}</title><h1>{NOT_FOUND}</h1></html>");
    let head = Head {
        status: NOT_FOUND.as_bytes(),
        headers: b"Content-Type: text/html\r\n",
        date,
        framing: BodyFraming::Length(body.len() as u64),
        connection: b"",
        connection_close,
        keep_alive_10: false,
    };
    write_head(out, &head);
    if !omit_body {
        out.extend_from_slice(body.as_bytes());
    }
}

/// Three digits, then nothing or a space and a reason phrase.
pub fn check_status(status: &[u8]) -> Result<(), HeadError> {
    let well_formed = match status {
        [a, b, c, rest @ ..] => {
            [a, b, c].iter().all(|byte| byte.is_ascii_digit())
                && (rest.is_empty() || rest.starts_with(b" "))
                && !has_control(rest)
        }
        _ => false,
    };
    if well_formed { Ok(()) } else { Err(HeadError::Status) }
}

/// A token (RFC 9110 §5.6.2).
pub fn check_header_name(name: &[u8]) -> Result<(), HeadError> {
    let well_formed = !name.is_empty() && name.iter().all(|&byte| is_token_byte(byte));
    if well_formed { Ok(()) } else { Err(HeadError::Name) }
}

/// Anything without control characters (RFC 9110 §5.5).
pub fn check_header_value(value: &[u8]) -> Result<(), HeadError> {
    if has_control(value) { Err(HeadError::Value) } else { Ok(()) }
}

/// Whether the text has a control character other than the tab.
fn has_control(text: &[u8]) -> bool {
    text.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t')
}

/// RFC 9110 §6.4.1: 1xx, 204 and 304 never have content.
pub fn is_bodiless(status: &[u8]) -> bool {
    status.starts_with(b"1") || status.starts_with(b"204") || status.starts_with(b"304")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head_of(head: &Head) -> String {
        let mut out = Vec::new();
        write_head(&mut out, head);
        String::from_utf8(out).unwrap()
    }

    const PLAIN: Head = Head {
        status: b"200 OK",
        headers: b"",
        date: None,
        framing: BodyFraming::None,
        connection: b"",
        connection_close: false,
        keep_alive_10: false,
    };

    #[test]
    fn heads() {
        let table: &[(Head, &str)] = &[
            (PLAIN, "HTTP/1.1 200 OK\r\n\r\n"),
            (Head { status: b"299", ..PLAIN }, "HTTP/1.1 299 \r\n\r\n"),
            (
                Head { framing: BodyFraming::Length(0), ..PLAIN },
                "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            ),
            (
                Head { framing: BodyFraming::Length(u64::MAX), connection_close: true, ..PLAIN },
                "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\nConnection: close\r\n\r\n",
            ),
            (
                Head { framing: BodyFraming::Chunked, keep_alive_10: true, ..PLAIN },
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n",
            ),
            (
                Head { headers: b"A: b\r\nC: d\r\n", date: Some(b"now"), ..PLAIN },
                "HTTP/1.1 200 OK\r\nA: b\r\nC: d\r\nDate: now\r\n\r\n",
            ),
            (
                Head { connection_close: true, keep_alive_10: true, ..PLAIN },
                "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
            ),
        ];
        for (head, text) in table {
            assert_eq!(head_of(head), *text);
        }
    }

    #[test]
    fn one_connection_header_with_one_meaning() {
        for (written, close, keep_alive_10, line) in [
            ("keep-alive", false, false, "keep-alive"),
            ("Keep-Alive", false, true, "Keep-Alive"),
            ("upgrade", false, false, "upgrade"),
            ("upgrade", false, true, "upgrade, keep-alive"),
            ("keep-alive", true, false, "close"),
            ("keep-alive, upgrade", true, true, "upgrade, close"),
            ("upgrade, Close", true, false, "upgrade, Close"),
            ("Keep-Alive,close", true, false, "close"),
            ("upgrade, close", false, false, "upgrade"),
            (" , ", true, false, "close"),
        ] {
            let head =
                Head { connection: written.as_bytes(), connection_close: close, keep_alive_10, ..PLAIN };
            assert_eq!(head_of(&head), format!("HTTP/1.1 200 OK\r\nConnection: {line}\r\n\r\n"));
        }
    }

    #[test]
    fn the_connection_header_is_the_last_line() {
        let cases: [(&str, &str, &str); 5] = [
            ("A: b\r\nconnection: Keep-Alive\r\n", "A: b\r\n", "Keep-Alive"),
            ("Connection: close\r\n", "", "close"),
            ("Connection:\r\n", "", ""),
            ("broken\r\n", "", ""),
            ("", "", ""),
        ];
        for (headers, rest, value) in cases {
            let split = split_connection(headers.as_bytes());
            assert_eq!(split, (rest.as_bytes(), value.as_bytes()), "{headers:?}");
        }
    }

    #[test]
    fn chunk_lengths_are_hexadecimal() {
        for length in [1, 9, 10, 15, 16, 17, 255, 256, 4095, 4096, 65_535, 65_536, 0xfff_ffff, usize::MAX] {
            let mut out = Vec::new();
            write_chunk_prefix(&mut out, length);
            assert_eq!(String::from_utf8(out).unwrap(), format!("{length:x}\r\n"));
        }
    }

    #[test]
    fn chunks() {
        let mut out = Vec::new();
        write_chunk(&mut out, b"hello");
        write_chunk(&mut out, b"");
        write_chunk(&mut out, &[b'x'; 17]);
        write_last_chunk(&mut out);
        assert_eq!(out, b"5\r\nhello\r\n11\r\nxxxxxxxxxxxxxxxxx\r\n0\r\n\r\n");
    }

    #[test]
    fn the_404_has_the_length_it_tells() {
        let (mut whole, mut headless) = (Vec::new(), Vec::new());
        write_not_found(&mut whole, Some(b"now"), true, false);
        write_not_found(&mut headless, Some(b"now"), true, true);
        let text = String::from_utf8(whole).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert_eq!(headless, format!("{head}\r\n\r\n").into_bytes());
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\nConnection: close", body.len())), "{head}");
        assert!(head.contains("\r\nDate: now\r\n"));
    }

    #[test]
    fn checks() {
        let statuses: &[(&[u8], bool)] = &[
            (b"200 OK", true),
            (b"200", true),
            (b"200 ", true),
            (b"404 File Not Found", true),
            ("200 \u{e9}".as_bytes(), true),
            (b"", false),
            (b"20", false),
            (b"OK", false),
            (b"2000 x", false),
            (b"200OK", false),
            (b"200 OK\r\nX: y", false),
            (b"200 a\nb", false),
            (b"200 a\0b", false),
            (b"200 a\x1bb", false),
            (b"200 a\x7f", false),
            (b"200 a\tb", true),
        ];
        for (status, good) in statuses {
            assert_eq!(check_status(status).is_ok(), *good, "{status:?}");
        }
        for name in [&b"X-Y"[..], b"a", b"!#$%&'*+-.^_`|~09"] {
            assert_eq!(check_header_name(name), Ok(()));
        }
        for name in [&b""[..], b"a b", b"a:", b"a\r", b"a\n", b"a\0", b"\xc3\xa9", b"(x)", b"a\tb", b" a"] {
            assert_eq!(check_header_name(name), Err(HeadError::Name), "{name:?}");
        }
        for value in [&b""[..], b"a b", b"\ta", b"\xff\xc3\xa9", b"a: b; c=\"d\""] {
            assert_eq!(check_header_value(value), Ok(()));
        }
        for value in [&b"a\rb"[..], b"a\nb", b"a\0b", b"\r\nX: y", b"\x01", b"a\x1f", b"\x7f", b"\x0b"] {
            assert_eq!(check_header_value(value), Err(HeadError::Value), "{value:?}");
        }
    }

    #[test]
    fn own_headers_are_known_in_any_case() {
        assert_eq!(OwnHeader::of(b"CONTENT-length"), Some(OwnHeader::ContentLength));
        assert_eq!(OwnHeader::of(b"transfer-encoding"), Some(OwnHeader::TransferEncoding));
        assert_eq!(OwnHeader::of(b"Date"), Some(OwnHeader::Date));
        assert_eq!(OwnHeader::of(b"connection"), Some(OwnHeader::Connection));
        assert_eq!(OwnHeader::of(b"content-lengths"), None);
    }
}
