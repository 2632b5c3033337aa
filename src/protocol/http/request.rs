//! Request heads: syntax, the fields that frame the message, and bounds on all of it (RFC 9112).
//!
//! The parser owns no bytes: a head is a set of spans into the connection's read buffer. `body.rs` handles
//! bodies, and the caller knows the meaning of routes and upgrades.

use std::borrow::Cow;
use std::mem::MaybeUninit;

use memchr::memchr;

use super::error::HttpError;

/// Heads longer than this are refused unless the program asks for more.
pub const DEFAULT_MAX_HEAD: usize = 4096;
/// More header fields than this are always refused.
pub const MAX_FIELDS: usize = 100;
/// The most digits of a Content-Length, leading zeros included, as in the original.
const MAX_LENGTH_DIGITS: usize = 18;
/// The largest Content-Length: beyond it numbers of JavaScript are no longer exact.
const MAX_LENGTH: u64 = 1 << 53;
/// RFC 6455 §4.1: 16 bytes in base64.
const WEBSOCKET_KEY_LENGTH: usize = 24;

/// A range of the head's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    pub start: u32,
    pub end: u32,
}

impl Span {
    pub fn new(start: usize, end: usize) -> Self {
        // Heads are bounded by `Limits::max_head`, far below 4 GiB.
        Span { start: start as u32, end: end as u32 }
    }

    /// The bytes of the span; empty if it does not lie in `buf`.
    pub fn of<'a>(&self, buf: &'a [u8]) -> &'a [u8] {
        buf.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    /// Start and end, little-endian.
    pub fn to_bytes(self) -> [u8; 8] {
        (u64::from(self.start) | u64::from(self.end) << 32).to_le_bytes()
    }

    pub fn len(&self) -> usize {
        self.end.saturating_sub(self.start) as usize
    }

    pub fn is_empty(&self) -> bool {
        self.start >= self.end
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderSpan {
    pub name: Span,
    pub value: Span,
}

/// How the body of a request is delimited (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Framing {
    #[default]
    None,
    Length(u64),
    Chunked,
}

impl Framing {
    /// A chunked body may still turn out to be empty.
    pub fn has_body(self) -> bool {
        !matches!(self, Framing::None | Framing::Length(0))
    }
}

/// A parsed head. Each `parse` fills it again; a loop has one for all its connections.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestHead {
    pub method: Span,
    /// Without the query. For `OPTIONS *` and `CONNECT host:port` the target as sent.
    pub path: Span,
    /// The raw text after `?`.
    pub query: Option<Span>,
    /// The authority of a target in absolute form. It replaces the value of the `Host` field
    /// (RFC 9112 §3.2.2).
    pub authority: Option<Span>,
    pub minor_version: u8,
    /// In order of arrival, names lower-cased, values without the white space around them.
    pub headers: Vec<HeaderSpan>,
    pub framing: Framing,
    pub keep_alive: bool,
    pub expect_continue: bool,
    /// The `sec-websocket-key` of a GET, if it has the length of one.
    pub websocket_key: Option<Span>,
    /// The client sent `Connection: close`.
    pub connection_close: bool,
}

impl RequestHead {
    /// The first value of a header, its name given in lower case.
    pub fn header<'a>(&self, buf: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
        self.headers.iter().find(|header| header.name.of(buf) == name).map(|header| header.value.of(buf))
    }

    fn clear(&mut self) {
        let mut headers = std::mem::take(&mut self.headers);
        headers.clear();
        *self = RequestHead { headers, ..RequestHead::default() };
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most bytes of a head: request line, header fields and blank line.
    pub max_head: usize,
    /// The most header fields. Values above `MAX_FIELDS` count as `MAX_FIELDS`.
    pub max_fields: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { max_head: DEFAULT_MAX_HEAD, max_fields: MAX_FIELDS }
    }
}

/// Parses the head of a request at the start of `buf`.
///
/// `Ok(None)`: incomplete, nothing consumed, nothing changed. `Ok(Some(n))`: the head is `buf[..n]`, empty
/// lines before it included, and its header names have been lower-cased in place. After an error the
/// connection has to end, and `head` holds nothing of use.
///
/// The result depends on the bytes alone, never on how they were cut into reads.
pub fn parse(buf: &mut [u8], limits: &Limits, head: &mut RequestHead) -> Result<Option<usize>, HttpError> {
    let window = buf.len().min(limits.max_head);
    let Some(used) = tokenize(&buf[..window], limits, head)? else {
        return if buf.len() >= limits.max_head { Err(HttpError::HeaderFieldsTooLarge) } else { Ok(None) };
    };
    for header in &head.headers {
        if let Some(name) = buf.get_mut(header.name.start as usize..header.name.end as usize) {
            name.make_ascii_lowercase();
        }
    }
    interpret(&buf[..used], head)?;
    Ok(Some(used))
}

/// The decoded value of the first `key=value` of a query; the key is compared as sent, without decoding.
///
/// As in the original, a key without `=` counts as absent, and so does a value with a malformed escape.
pub fn query_value<'a>(query: &'a [u8], key: &[u8]) -> Option<Cow<'a, [u8]>> {
    if key.is_empty() {
        return None;
    }
    let value = query.split(|&byte| byte == b'&').find_map(|pair| {
        let equals = memchr(b'=', pair)?;
        (&pair[..equals] == key).then(|| &pair[equals + 1..])
    })?;
    if value.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        percent_decode(value).map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(value))
    }
}

fn percent_decode(value: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(value.len());
    let mut bytes = value.iter();
    while let Some(&byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => hex_digit(*bytes.next()?)? << 4 | hex_digit(*bytes.next()?)?,
            b'+' => b' ',
            other => other,
        });
    }
    Some(decoded)
}

pub(super) fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// Fills in the spans of the parts.
fn tokenize(buf: &[u8], limits: &Limits, head: &mut RequestHead) -> Result<Option<usize>, HttpError> {
    match locate(buf, buf, limits, head) {
        Err(error) => match with_plain_target(buf) {
            Some(plain) => locate(&plain, buf, limits, head),
            None => Err(error),
        },
        located => located,
    }
}

/// A copy with a letter in place of each byte above 127 in the request line behind the method. httparse
/// refuses targets that are not UTF-8, although they need not be, and one that has not arrived completely may
/// look like that. `None`: there is no such byte.
fn with_plain_target(buf: &[u8]) -> Option<Vec<u8>> {
    let start = buf.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?;
    let end = memchr(b'\n', &buf[start..]).map_or(buf.len(), |length| start + length);
    let target = start + memchr(b' ', &buf[start..end])?;
    if buf[target..end].is_ascii() {
        return None;
    }
    let mut plain = buf.to_vec();
    plain[target..end].iter_mut().filter(|byte| !byte.is_ascii()).for_each(|byte| *byte = b'x');
    Some(plain)
}

/// Runs httparse on `plain`, whose parts have the same positions as those of `buf`.
fn locate(
    plain: &[u8],
    buf: &[u8],
    limits: &Limits,
    head: &mut RequestHead,
) -> Result<Option<usize>, HttpError> {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let fields = &mut fields[..limits.max_fields.min(MAX_FIELDS)];
    let mut request = httparse::Request::new(&mut []);
    let used = match request.parse_with_uninit_headers(plain, fields) {
        Ok(httparse::Status::Complete(used)) => used,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(syntax_error(error, buf)),
    };
    let span = |part: &[u8]| {
        let start = part.as_ptr() as usize - plain.as_ptr() as usize;
        Span::new(start, start + part.len())
    };
    head.clear();
    head.method = span(request.method.unwrap_or_default().as_bytes());
    head.minor_version = request.version.unwrap_or_default();
    target(buf, span(request.path.unwrap_or_default().as_bytes()), head)?;
    for field in request.headers.iter() {
        head.headers
            .push(HeaderSpan { name: span(field.name.as_bytes()), value: value_span(field.value, span) });
    }
    reject_bare_line_feeds(&buf[..used], head)?;
    Ok(Some(used))
}

/// httparse's empty values are not part of the buffer.
fn value_span(value: &[u8], span: impl Fn(&[u8]) -> Span) -> Span {
    if value.is_empty() { Span::default() } else { span(value) }
}

fn syntax_error(error: httparse::Error, buf: &[u8]) -> HttpError {
    match error {
        httparse::Error::TooManyHeaders => HttpError::HeaderFieldsTooLarge,
        httparse::Error::Version if names_a_version(buf) => HttpError::VersionNotSupported,
        httparse::Error::Version => HttpError::BadRequest("malformed version"),
        httparse::Error::HeaderName => HttpError::BadRequest("malformed header name"),
        httparse::Error::HeaderValue => HttpError::BadRequest("malformed header value"),
        httparse::Error::NewLine => HttpError::BadRequest("malformed line end"),
        _ => HttpError::BadRequest("malformed request line"),
    }
}

/// Whether the request line ends in something like `HTTP/2`, so that the version is the fault and not the
/// syntax.
fn names_a_version(buf: &[u8]) -> bool {
    let line = buf.trim_ascii_start();
    line.split(|&byte| byte == b' ').nth(2).is_some_and(|version| {
        version.starts_with(b"HTTP/") && version.get(5).is_some_and(u8::is_ascii_digit)
    })
}

/// Refuses a line that ends in LF alone: httparse accepts it, as RFC 9112 §2.2 allows, but it makes request
/// smuggling possible.
fn reject_bare_line_feeds(buf: &[u8], head: &RequestHead) -> Result<(), HttpError> {
    let before = &buf[..head.method.start as usize];
    let lines_end_well = buf.ends_with(b"\r\n\r\n")
        && before.chunks(2).all(|line| line == b"\r\n")
        && head.headers.iter().all(|header| buf[..header.name.start as usize].ends_with(b"\r\n"));
    if lines_end_well { Ok(()) } else { Err(HttpError::BadRequest("bare line feed")) }
}

/// Splits a request target into its parts (RFC 9112 §3.2); the method is known.
fn target(buf: &[u8], target: Span, head: &mut RequestHead) -> Result<(), HttpError> {
    let (method, text) = (head.method.of(buf), target.of(buf));
    if text.first() == Some(&b'/') {
        (head.path, head.query) = split_query(buf, target);
        return Ok(());
    }
    if method == b"CONNECT" || (method == b"OPTIONS" && text == b"*") {
        head.path = target;
        return Ok(());
    }
    let Some(authority) = authority_start(text) else {
        return Err(HttpError::BadRequest("malformed request target"));
    };
    let length = text[authority..].iter().take_while(|byte| !matches!(byte, b'/' | b'?')).count();
    if length == 0 {
        return Err(HttpError::BadRequest("request target without host"));
    }
    let start = target.start as usize + authority;
    let named = Span::new(start, start + length);
    check_host(named.of(buf))?;
    head.authority = Some(named);
    let rest = Span::new(start + length, target.end as usize);
    let (path, query) = split_query(buf, rest);
    // RFC 9112 §3.2.1: an empty path is sent as "/". The slash before the authority stands for it.
    head.path = if path.is_empty() { Span::new(start - 1, start) } else { path };
    head.query = query;
    Ok(())
}

/// Where the authority of an absolute-form target begins.
fn authority_start(text: &[u8]) -> Option<usize> {
    const SCHEMES: [&[u8]; 4] = [b"http://", b"https://", b"ws://", b"wss://"];
    let matches =
        |scheme: &&&[u8]| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    SCHEMES.iter().find(matches).map(|scheme| scheme.len())
}

fn split_query(buf: &[u8], target: Span) -> (Span, Option<Span>) {
    match memchr(b'?', target.of(buf)) {
        None => (target, None),
        Some(at) => {
            let mark = target.start + at as u32;
            (Span { start: target.start, end: mark }, Some(Span { start: mark + 1, end: target.end }))
        }
    }
}

/// The values of the fields that frame the message and steer the connection.
#[derive(Default)]
struct Steering {
    hosts: u32,
    names_host: bool,
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
}

/// Reads the fields that frame the message and steer the connection.
fn interpret(buf: &[u8], head: &mut RequestHead) -> Result<(), HttpError> {
    let mut steering = Steering::default();
    for at in 0..head.headers.len() {
        let header = head.headers[at];
        let value = header.value.of(buf);
        match header.name.of(buf) {
            b"host" => {
                steering.hosts += 1;
                steering.names_host = !value.is_empty();
                check_host(value)?;
                head.headers[at].value = head.authority.unwrap_or(header.value);
            }
            b"content-length" => steering.content_length(value)?,
            b"transfer-encoding" => steering.transfer_encoding(value)?,
            b"connection" => steering.connection(value),
            b"expect" => head.expect_continue |= value.eq_ignore_ascii_case(b"100-continue"),
            b"sec-websocket-key" => {
                let fits = header.value.len() == WEBSOCKET_KEY_LENGTH && head.method.of(buf) == b"GET";
                head.websocket_key = head.websocket_key.or(fits.then_some(header.value));
            }
            _ => {}
        }
    }
    steering.apply(head)?;
    // RFC 9110 §9.3.6: after a CONNECT its sender, or a proxy between, may take the bytes for those of a
    // tunnel. They must not be requests here.
    head.keep_alive &= head.method.of(buf) != b"CONNECT";
    Ok(())
}

impl Steering {
    fn content_length(&mut self, value: &[u8]) -> Result<(), HttpError> {
        let length = parse_length(value).ok_or(HttpError::BadRequest("malformed content-length"))?;
        match self.length.replace(length) {
            Some(other) if other != length => Err(HttpError::BadRequest("differing content-length")),
            _ => Ok(()),
        }
    }

    /// Accepts only a single "chunked". A list of codings is refused, even if "chunked" is the last of them.
    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), HttpError> {
        if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(HttpError::BadRequest("unknown transfer-encoding"));
        }
        self.chunked = true;
        Ok(())
    }

    fn connection(&mut self, value: &[u8]) {
        for option in value.split(|&byte| byte == b',') {
            let option = option.trim_ascii();
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    fn apply(self, head: &mut RequestHead) -> Result<(), HttpError> {
        let modern = head.minor_version >= 1;
        if self.hosts > 1 || (modern && !self.names_host) {
            return Err(HttpError::BadRequest("missing, empty or repeated host"));
        }
        head.framing = match (self.length, self.chunked) {
            (Some(_), true) => return Err(HttpError::BadRequest("content-length and transfer-encoding")),
            // RFC 9112 §6.1: the framing of such a message is faulty.
            (None, true) if !modern => return Err(HttpError::BadRequest("transfer-encoding in HTTP/1.0")),
            (None, true) => Framing::Chunked,
            (Some(length), false) => Framing::Length(length),
            (None, false) => Framing::None,
        };
        head.connection_close = self.close;
        head.keep_alive = !self.close && (modern || self.keep_alive);
        // RFC 9110 §10.1.1 and §7.8: an HTTP/1.0 client cannot mean either.
        head.expect_continue &= modern;
        head.websocket_key = head.websocket_key.filter(|_| modern);
        Ok(())
    }
}

/// A Content-Length value: digits only, no sign, no list (RFC 9110 §8.6), and not longer than anybody along
/// the way can count.
fn parse_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > MAX_LENGTH_DIGITS {
        return None;
    }
    let length = value.iter().try_fold(0u64, |length, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        Some(length * 10 + digit)
    });
    length.filter(|length| *length <= MAX_LENGTH)
}

/// Refuses an invalid Host (RFC 9112 §3.2). RFC 3986 §3.2.2 says which characters may be in one.
fn check_host(value: &[u8]) -> Result<(), HttpError> {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(byte);
    if value.iter().all(allowed) { Ok(()) } else { Err(HttpError::BadRequest("malformed host")) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Outcome = Result<Option<(Vec<u8>, RequestHead)>, HttpError>;

    /// The first result that is not "incomplete", for a connection whose reads end at the given places.
    fn feed(bytes: &[u8], ends: impl Iterator<Item = usize>, limits: &Limits) -> Outcome {
        let mut head = RequestHead::default();
        let mut buf = Vec::new();
        for end in ends {
            buf.extend_from_slice(&bytes[buf.len()..end]);
            match parse(&mut buf, limits, &mut head)? {
                Some(used) => return Ok(Some((buf[..used].to_vec(), head))),
                None => {
                    assert_eq!(buf, bytes[..end], "an incomplete head was changed");
                    assert_eq!(head, RequestHead::default(), "an incomplete head was filled in");
                }
            }
        }
        Ok(None)
    }

    /// Parses in one piece, byte by byte, and cut in two at each position; all must agree.
    fn parse_every_way(bytes: &[u8], limits: &Limits) -> Outcome {
        let whole = feed(bytes, [bytes.len()].into_iter(), limits);
        assert_eq!(feed(bytes, 1..=bytes.len(), limits), whole, "byte by byte: {}", bytes.escape_ascii());
        for cut in 1..bytes.len() {
            let halves = feed(bytes, [cut, bytes.len()].into_iter(), limits);
            assert_eq!(halves, whole, "cut at {cut}: {}", bytes.escape_ascii());
        }
        whole
    }

    fn parsed(bytes: &[u8]) -> (Vec<u8>, RequestHead) {
        parse_every_way(bytes, &Limits::default()).unwrap().expect("a whole head")
    }

    fn status(bytes: &[u8], limits: &Limits) -> u16 {
        match parse_every_way(bytes, limits) {
            Ok(outcome) => panic!("{} gave {outcome:?}", bytes.escape_ascii()),
            Err(error) => error.status(),
        }
    }

    #[test]
    fn malformed_requests() {
        // The idea and a good part of the cases are h1spec's.
        let table: &[(&str, &[u8], u16)] = &[
            ("no host", b"GET / HTTP/1.1\r\n\r\n", 400),
            ("two hosts", b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
            ("two hosts in 1.0", b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400),
            ("space in host", b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
            ("empty host", b"GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
            ("blank host", b"GET / HTTP/1.1\r\nHost: \t\r\n\r\n", 400),
            ("empty host beside another", b"GET / HTTP/1.1\r\nHost: a\r\nHost:\r\n\r\n", 400),
            ("empty host in absolute form", b"GET http://a/ HTTP/1.1\r\nHost:\r\n\r\n", 400),
            ("path in host", b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
            ("user in host", b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400),
            ("space before colon", b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
            ("tab before colon", b"GET / HTTP/1.1\r\nHost: a\r\nA\t: b\r\n\r\n", 400),
            ("brackets in name", b"GET / HTTP/1.1\r\nHost: a\r\nA[]: b\r\n\r\n", 400),
            ("control in name", b"GET / HTTP/1.1\r\nHost: a\r\nA\x01: b\r\n\r\n", 400),
            ("non-ASCII name", b"GET / HTTP/1.1\r\nHost: a\r\n\xc3\xa9: b\r\n\r\n", 400),
            ("empty name", b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", 400),
            ("no colon", b"GET / HTTP/1.1\r\nHost: a\r\nA\r\n\r\n", 400),
            ("no colon in first", b"GET / HTTP/1.1\r\nHost\r\n\r\n", 400),
            ("NUL in value", b"GET / HTTP/1.1\r\nHost: a\r\nA: b\0c\r\n\r\n", 400),
            ("control in value", b"GET / HTTP/1.1\r\nHost: a\r\nA: b\x01c\r\n\r\n", 400),
            ("DEL in value", b"GET / HTTP/1.1\r\nHost: a\r\nA: b\x7fc\r\n\r\n", 400),
            ("folded value", b"GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n", 400),
            ("folded first line", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
            ("CR alone in value", b"GET / HTTP/1.1\r\nHost: a\r\nA: b\rc\r\n\r\n", 400),
            ("CR alone before name", b"GET / HTTP/1.1\r\nHost: a\r\n\rA: b\r\n\r\n", 400),
            ("LF alone throughout", b"GET / HTTP/1.1\nHost: a\n\n", 400),
            ("LF alone after request line", b"GET / HTTP/1.1\nHost: a\r\n\r\n", 400),
            ("LF alone after field", b"GET / HTTP/1.1\r\nHost: a\nA: b\r\n\r\n", 400),
            ("LF alone after last field", b"GET / HTTP/1.1\r\nHost: a\n\r\n", 400),
            ("LF alone at end", b"GET / HTTP/1.1\r\nHost: a\r\n\n", 400),
            ("LF alone before", b"\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("LF alone without fields", b"GET / HTTP/1.0\n\r\n", 400),
            ("both framings", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
            ("both, other order", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n", 400),
            ("differing lengths", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", 400),
            ("list of lengths", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n", 400),
            ("negative length", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n", 400),
            ("signed length", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n", 400),
            ("overflowing negative", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -99999999999999999999999\r\n\r\n", 400),
            ("overflowing length", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\n", 400),
            ("length beyond exact numbers", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9007199254740993\r\n\r\n", 400),
            ("length of 19 digits", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0000000000000000005\r\n\r\n", 400),
            ("length of 20 digits", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n\r\n", 400),
            ("hexadecimal length", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\n", 400),
            ("length of a word", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: abc\r\n\r\n", 400),
            ("length with spaces", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1 2\r\n\r\n", 400),
            ("empty length", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", 400),
            ("unknown coding", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
            ("list of codings", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 400),
            ("chunked twice", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
            ("chunked not last", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n", 400),
            ("identity", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n", 400),
            ("vertical tab before chunked", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n", 400),
            ("quoted coding", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n", 400),
            ("empty coding", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n", 400),
            ("chunked in 1.0", b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
            ("two spaces", b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("two spaces before version", b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("space after version", b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400),
            ("tab for space", b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("space before method", b" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("no method", b"/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("bracket in method", b"G[T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("no version", b"GET /\r\nHost: a\r\n\r\n", 400),
            ("foreign protocol", b"GET / FOO/1.1\r\nHost: a\r\n\r\n", 400),
            ("lower-case version", b"GET / http/1.1\r\nHost: a\r\n\r\n", 400),
            ("version in words", b"GET / HTTP/one\r\nHost: a\r\n\r\n", 400),
            ("space in target", b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("control in target", b"GET /a\x01 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("relative target", b"GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("query for a target", b"GET ?a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("star for GET", b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("absolute without host", b"GET http:///a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("absolute of another scheme", b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("TLS", b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03", 400),
            ("NUL first", b"\0GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("version 1.2", b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505),
            ("version 0.9", b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505),
            ("version 2.0", b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
            ("version 9.9", b"GET / HTTP/9.9\r\nHost: a\r\n\r\n", 505),
            ("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
            ("empty line, then version 3", b"\r\nGET / HTTP/3\r\nHost: a\r\n\r\n", 505),
        ];
        for (name, bytes, expected) in table {
            assert_eq!(status(bytes, &Limits::default()), *expected, "{name}");
        }
    }

    #[test]
    fn incomplete_heads() {
        for bytes in [
            &b""[..],
            b"\r\n\r",
            b"GET",
            b"GET / HTTP/1.",
            b"GET / HTTP/1.1\r\nHost: a\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\n\r",
        ] {
            assert_eq!(parse_every_way(bytes, &Limits::default()), Ok(None), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn targets() {
        // Target, path, query.
        type Case<'a> = (&'a str, &'a str, &'a str, Option<&'a str>);
        let table: &[Case] = &[
            ("GET", "/", "/", None),
            ("GET", "/a/b", "/a/b", None),
            ("GET", "/a?", "/a", Some("")),
            ("GET", "/a?b=c&d", "/a", Some("b=c&d")),
            ("GET", "/a?b?c", "/a", Some("b?c")),
            ("GET", "//a//", "//a//", None),
            ("GET", "/a#b", "/a#b", None),
            ("GET", "/\"<>^`{|}\\", "/\"<>^`{|}\\", None),
            ("GET", "/\u{e9}", "/\u{e9}", None),
            ("GET", "http://host/p/q?r", "/p/q", Some("r")),
            ("GET", "HTTPS://host:1/", "/", None),
            ("GET", "http://host", "/", None),
            ("GET", "http://host?a/b", "/", Some("a/b")),
            ("GET", "ws://[::1]:80/x", "/x", None),
            ("OPTIONS", "*", "*", None),
            ("OPTIONS", "/a", "/a", None),
            ("CONNECT", "host:80", "host:80", None),
            ("CONNECT", "/a?b", "/a", Some("b")),
            ("get", "/", "/", None),
            ("M-SEARCH", "/", "/", None),
        ];
        for (method, target, path, query) in table {
            let (buf, head) = parsed(format!("{method} {target} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
            assert_eq!(head.method.of(&buf), method.as_bytes(), "{target}");
            assert_eq!(head.path.of(&buf), path.as_bytes(), "{target}");
            assert_eq!(head.query.map(|span| span.of(&buf)), query.map(str::as_bytes), "{target}");
        }
    }

    #[test]
    fn targets_of_any_bytes() {
        for target in [
            &b"/\xe9"[..],
            b"/\xc3\xa9?\xff=\x80",
            b"/\xf0\x9f",
            b"/a\xc3?b",
            b"/\xed\xa0\x80",
            b"http://host/\xfe",
        ] {
            let line = [b"\r\nGET ", target, b" HTTP/1.1\r\nHost: x\r\nA: \xe9\r\n\r\n"].concat();
            let (buf, head) = parsed(&line);
            let path = target.strip_prefix(b"http://host").unwrap_or(target);
            let query = head.query.map_or(vec![], |query| [b"?", query.of(&buf)].concat());
            assert_eq!([head.path.of(&buf), &query].concat(), path);
            assert_eq!(head.header(&buf, b"a"), Some(&b"\xe9"[..]));
            assert_eq!(parse_every_way(&line[..line.len() - 2], &Limits::default()), Ok(None));
        }
        for bytes in [
            &b"G\xe9T / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
            b"GET /\xe9\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /\xe9 HTTP/1.1\xe9\r\nHost: a\r\n\r\n",
            b"GET /\xe9 \xe9 HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET http://a\xe9/ HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /\xe9 HTTP/1.1\r\nA\xe9: a\r\n\r\n",
        ] {
            assert_eq!(status(bytes, &Limits::default()), 400, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn the_authority_of_the_target_is_the_host() {
        for (target, host) in [
            ("http://host:1/p?q", "host:1"),
            ("WS://[::1]", "[::1]"),
            ("https://a?b", "a"),
            ("/http://b/", "sent"),
            ("*", "sent"),
        ] {
            let (buf, head) =
                parsed(format!("OPTIONS {target} HTTP/1.1\r\nA: b\r\nHost: sent\r\n\r\n").as_bytes());
            assert_eq!(head.header(&buf, b"host"), Some(host.as_bytes()), "{target}");
            assert_eq!(head.header(&buf, b"a"), Some(&b"b"[..]));
        }
        for target in ["http://user@a/", "http://a,b\"/", "http:///", "http://?a"] {
            let text = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(status(text.as_bytes(), &Limits::default()), 400, "{target}");
        }
        // The field that was sent is checked all the same.
        assert_eq!(status(b"GET http://a/ HTTP/1.1\r\nHost: a b\r\n\r\n", &Limits::default()), 400);
        assert_eq!(status(b"GET http://a/ HTTP/1.1\r\n\r\n", &Limits::default()), 400);
    }

    #[test]
    fn no_upgrade_in_http_1_0() {
        let fields = "Host: x\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        for (version, taken) in [("1.0", false), ("1.1", true)] {
            let (_, head) = parsed(format!("GET / HTTP/{version}\r\n{fields}\r\n").as_bytes());
            assert_eq!(head.websocket_key.is_some(), taken);
        }
    }

    #[test]
    fn header_fields() {
        let (buf, head) = parsed(
            b"\r\n\r\nGET / HTTP/1.1\r\nHOST: x\r\nA-b_C!:  one \t two\t \r\nEmpty:\r\nBlank: \t\r\nA-B_C!:three\r\n\
              Text: \xc3\xa9\xff\tb\r\n\r\nrest",
        );
        let fields: Vec<(&[u8], &[u8])> =
            head.headers.iter().map(|header| (header.name.of(&buf), header.value.of(&buf))).collect();
        let expected: [(&[u8], &[u8]); 6] = [
            (b"host", b"x"),
            (b"a-b_c!", b"one \t two"),
            (b"empty", b""),
            (b"blank", b""),
            (b"a-b_c!", b"three"),
            (b"text", b"\xc3\xa9\xff\tb"),
        ];
        assert_eq!(fields, expected);
        assert_eq!(head.header(&buf, b"a-b_c!"), Some(&b"one \t two"[..]));
        assert_eq!(head.header(&buf, b"empty"), Some(&b""[..]));
        assert_eq!(head.header(&buf, b"none"), None);
        assert!(buf.ends_with(b"\r\n\r\n"), "the rest is not part of the head");
    }

    /// The steering parts of a head whose field lines are given.
    fn steered(version: &str, fields: &str) -> RequestHead {
        parsed(format!("POST / HTTP/{version}\r\n{fields}\r\n").as_bytes()).1
    }

    #[test]
    fn framing() {
        let table: &[(&str, &str, Framing)] = &[
            ("1.1", "Host: x\r\n", Framing::None),
            ("1.0", "Host:\r\n", Framing::None),
            ("1.1", "Host: x\r\nContent-Length: 0\r\n", Framing::Length(0)),
            ("1.1", "Host: x\r\nContent-Length: 007\r\n", Framing::Length(7)),
            ("1.1", "Host: x\r\ncontent-length: 7\r\nContent-Length: 7\r\n", Framing::Length(7)),
            ("1.1", "Host: x\r\nContent-Length: 000000000000000007\r\n", Framing::Length(7)),
            ("1.1", "Host: x\r\nContent-Length: 9007199254740992\r\n", Framing::Length(1 << 53)),
            ("1.1", "Host: x\r\nTransfer-Encoding: chunked\r\n", Framing::Chunked),
            ("1.1", "Host: x\r\ntransfer-encoding:CHUNKED \r\n", Framing::Chunked),
            ("1.0", "", Framing::None),
            ("1.0", "Content-Length: 3\r\n", Framing::Length(3)),
        ];
        for (version, fields, framing) in table {
            assert_eq!(steered(version, fields).framing, *framing, "{fields}");
        }
    }

    #[test]
    fn persistence_and_expectations() {
        // Version, fields, keep-alive, close, expects.
        let table: &[(&str, &str, bool, bool, bool)] = &[
            ("1.1", "Host: x\r\n", true, false, false),
            ("1.1", "Host: x\r\nConnection: close\r\n", false, true, false),
            ("1.1", "Host: x\r\nConnection: Keep-Alive, CLOSE\r\n", false, true, false),
            ("1.1", "Host: x\r\nConnection: upgrade\r\nConnection: close\r\n", false, true, false),
            ("1.1", "Host: x\r\nConnection: closed, not-close\r\n", true, false, false),
            ("1.0", "", false, false, false),
            ("1.0", "Connection: keep-alive\r\n", true, false, false),
            ("1.0", "Connection: close, keep-alive\r\n", false, true, false),
            ("1.1", "Host: x\r\nExpect: 100-continue\r\n", true, false, true),
            ("1.1", "Host: x\r\nExpect: 100-Continue\r\n", true, false, true),
            ("1.1", "Host: x\r\nExpect: 200-ok\r\n", true, false, false),
            ("1.0", "Expect: 100-continue\r\n", false, false, false),
        ];
        for (version, fields, keep_alive, close, expects) in table {
            let head = steered(version, fields);
            assert_eq!(head.minor_version, u8::from(*version == "1.1"));
            assert_eq!(
                (head.keep_alive, head.connection_close, head.expect_continue),
                (*keep_alive, *close, *expects),
                "{version} {fields}"
            );
        }
    }

    #[test]
    fn no_request_follows_a_connect() {
        for (line, keep_alive) in [
            ("CONNECT host:80 HTTP/1.1", false),
            ("CONNECT / HTTP/1.1", false),
            ("CONNECT host:80 HTTP/1.0", false),
            ("connect / HTTP/1.1", true),
        ] {
            let fields = "Host: x\r\nConnection: keep-alive\r\nContent-Length: 3";
            let (_, head) = parsed(format!("{line}\r\n{fields}\r\n\r\n").as_bytes());
            assert_eq!(head.keep_alive, keep_alive, "{line}");
            assert!(!head.connection_close, "the client has not said so");
            assert_eq!(head.framing, Framing::Length(3));
        }
    }

    #[test]
    fn websocket_keys() {
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        let table = [
            ("GET", key.to_string(), true),
            ("GET", format!(" {key}\t"), true),
            ("GET", key[1..].to_string(), false),
            ("GET", format!("{key}="), false),
            ("POST", key.to_string(), false),
            ("get", key.to_string(), false),
        ];
        for (method, value, taken) in table {
            let text = format!("{method} / HTTP/1.1\r\nHost: x\r\nSec-WebSocket-Key: {value}\r\n\r\n");
            let (buf, head) = parsed(text.as_bytes());
            let expected = taken.then_some(key.as_bytes());
            assert_eq!(head.websocket_key.map(|span| span.of(&buf)), expected, "{method} {value}");
        }
    }

    #[test]
    fn heads_up_to_the_limit_and_no_longer() {
        let padded = |length: usize| {
            let mut text = String::from("GET / HTTP/1.1\r\nHost: x\r\nP: ");
            text.push_str(&"a".repeat(length - text.len() - 4));
            text + "\r\n\r\n"
        };
        let limits = Limits { max_head: 200, ..Limits::default() };
        assert!(matches!(parse_every_way(padded(200).as_bytes(), &limits), Ok(Some(_))));
        assert_eq!(status(padded(201).as_bytes(), &limits), 431);
        assert_eq!(status(&padded(300).as_bytes()[..200], &limits), 431);
        assert_eq!(parse_every_way(&padded(300).as_bytes()[..199], &limits), Ok(None));
        assert_eq!(status("\r\n".repeat(100).as_bytes(), &limits), 431);
        assert_eq!(status(&[b'A'; 200], &limits), 431);
        // Bytes behind a head do not count.
        let mut followed = padded(200).into_bytes();
        followed.resize(1000, b'x');
        assert!(matches!(parse_every_way(&followed, &limits), Ok(Some(_))));
    }

    #[test]
    fn as_many_fields_as_the_limit_and_no_more() {
        let with_fields = |count: usize| format!("GET / HTTP/1.0\r\n{}\r\n", "a:b\r\n".repeat(count));
        for (max_fields, most) in [(100, 100), (7, 7), (1000, MAX_FIELDS)] {
            let limits = Limits { max_fields, ..Limits::default() };
            let outcome = parse_every_way(with_fields(most).as_bytes(), &limits);
            assert!(matches!(outcome, Ok(Some((_, head))) if head.headers.len() == most));
            assert_eq!(status(with_fields(most + 1).as_bytes(), &limits), 431);
        }
    }

    #[test]
    fn a_head_is_reused_whole() {
        let mut head = RequestHead::default();
        let mut first = Vec::from(
            b"GET /a?b HTTP/1.0\r\nConnection: close\r\nContent-Length: 3\r\n\
              Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        );
        let mut second = Vec::from(b"PUT /c HTTP/1.1\r\nHost: x\r\n\r\n");
        parse(&mut first, &Limits::default(), &mut head).unwrap();
        let capacity = head.headers.capacity();
        parse(&mut second, &Limits::default(), &mut head).unwrap();
        assert_eq!(head, parsed(&second).1);
        assert_eq!(head.headers.capacity(), capacity);
    }

    #[test]
    fn query_values() {
        // Checked against 20.30 and 20.57, except where they read past a malformed escape.
        let table: &[(&str, &str, Option<&str>)] = &[
            ("a=1&a=2", "a", Some("1")),
            ("a=1&a=2", "b", None),
            ("a", "a", None),
            ("a&b=2", "b", Some("2")),
            ("a&a=2", "a", Some("2")),
            ("a=", "a", Some("")),
            ("aa=1&a=2", "a", Some("2")),
            ("ab&a=2", "a", Some("2")),
            ("a=b=c", "a", Some("b=c")),
            ("&&a=1&", "a", Some("1")),
            ("=1", "", None),
            ("", "a", None),
            ("A=1", "a", None),
            ("a=1;b=2", "a", Some("1;b=2")),
            ("a?b=1", "a?b", Some("1")),
            ("a=1+2%2B3", "a", Some("1 2+3")),
            ("a=%C3%a9", "a", Some("\u{e9}")),
            ("a=%00b", "a", Some("\0b")),
            ("a=%2525", "a", Some("%25")),
            ("%61=1", "a", None),
            ("%61=1", "%61", Some("1")),
            ("a+b=1", "a b", None),
            ("a=%", "a", None),
            ("a=%4", "a", None),
            ("a=x%2", "a", None),
            ("a=%zz", "a", None),
            ("a=%4g", "a", None),
            ("a=%&a=1", "a", None),
        ];
        for (query, key, expected) in table {
            let value = query_value(query.as_bytes(), key.as_bytes());
            assert_eq!(value.as_deref(), expected.map(str::as_bytes), "{query} {key}");
        }
        assert_eq!(query_value(b"a=%E9", b"a").as_deref(), Some(&b"\xe9"[..]));
        assert!(matches!(query_value(b"a=plain", b"a"), Some(Cow::Borrowed(_))));
    }

    #[test]
    fn spans_never_reach_outside() {
        assert_eq!(Span { start: 2, end: 9 }.of(b"abc"), b"");
        assert_eq!(Span { start: 3, end: 1 }.of(b"abc"), b"");
        assert_eq!(Span { start: 1, end: 3 }.of(b"abc"), b"bc");
        assert_eq!(Span { start: 3, end: 1 }.len(), 0);
    }

    /// Pieces that make requests which are nearly right.
    const PIECES: [&[u8]; 20] = [
        b"GET",
        b" ",
        b"/",
        b"/a?b",
        b" HTTP/1.1",
        b" HTTP/1.0",
        b"\r\n",
        b"\n",
        b"\r",
        b"Host: x\r\n",
        b"A: b\r\n",
        b"A:",
        b" c\r\n",
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"\0",
        b"\xff",
        b"http://h/",
        b"GET / HTTP/1.1\r\nHost: x\r\n",
        b"\r\n\r\n",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]

        #[test]
        fn cuts_do_not_matter(
            pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..14),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
            max_head in 1usize..200,
        ) {
            let bytes = pieces.concat();
            let limits = Limits { max_head, max_fields: 4 };
            let whole = feed(&bytes, [bytes.len()].into_iter(), &limits);
            let ends = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).chain([bytes.len()]);
            let mut ends: Vec<usize> = ends.filter(|&end| end > 0 || bytes.is_empty()).collect();
            ends.sort();
            prop_assert_eq!(feed(&bytes, ends.into_iter(), &limits), whole.clone());

            let Ok(Some((buf, head))) = whole else { return Ok(()) };
            prop_assert!(buf.len() <= max_head && buf.ends_with(b"\r\n\r\n"));
            for span in head.headers.iter().flat_map(|h| [h.name, h.value]).chain([head.method, head.path]) {
                prop_assert!(span.start <= span.end && span.end as usize <= buf.len());
            }
        }
    }
}
