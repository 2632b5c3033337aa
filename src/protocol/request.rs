//! Request heads: syntax, the fields that frame the message, and bounds on all of it (RFC 9112).
//!
//! Owns no bytes: a head is a set of spans into the connection's read buffer. Bodies are `body.rs`'s business, the
//! meaning of a route or an upgrade is the caller's.

use std::borrow::Cow;
use std::mem::MaybeUninit;

use memchr::memchr;

use super::http_error::HttpError;

/// Heads longer than this are refused unless the program asks for more.
pub const DEFAULT_MAX_HEAD: usize = 4096;
/// More header fields than this are always refused.
pub const MAX_FIELDS: usize = 100;
/// RFC 6455, 4.1: 16 bytes in base64.
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

    /// The bytes meant; empty when the span does not lie in `buf`.
    pub fn of<'a>(&self, buf: &'a [u8]) -> &'a [u8] {
        buf.get(self.start as usize..self.end as usize).unwrap_or_default()
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

/// How the body of a request is delimited (RFC 9112, 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Framing {
    #[default]
    None,
    Length(u64),
    Chunked,
}

/// A parsed head. Made once per connection and filled again by each `parse`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestHead {
    pub method: Span,
    /// Without the query. For `OPTIONS *` and `CONNECT host:port` the target as sent.
    pub path: Span,
    /// The raw text after `?`.
    pub query: Option<Span>,
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
    /// Bytes of request line and header fields together, blank line included.
    pub max_head: usize,
    /// At most `MAX_FIELDS`, larger values count as that.
    pub max_fields: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { max_head: DEFAULT_MAX_HEAD, max_fields: MAX_FIELDS }
    }
}

/// Parses the head of a request at the start of `buf`.
///
/// `Ok(None)`: incomplete, nothing consumed, nothing changed. `Ok(Some(n))`: the head is `buf[..n]`, empty lines
/// before it included, and its header names have been lower-cased in place. After an error the connection is over
/// and `head` holds nothing of use.
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

/// Runs httparse and fills in where the parts are.
fn tokenize(buf: &[u8], limits: &Limits, head: &mut RequestHead) -> Result<Option<usize>, HttpError> {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let fields = &mut fields[..limits.max_fields.min(MAX_FIELDS)];
    let mut request = httparse::Request::new(&mut []);
    let used = match request.parse_with_uninit_headers(buf, fields) {
        Ok(httparse::Status::Complete(used)) => used,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(syntax_error(error, buf)),
    };
    let span = |part: &[u8]| {
        let start = part.as_ptr() as usize - buf.as_ptr() as usize;
        Span::new(start, start + part.len())
    };
    head.clear();
    head.method = span(request.method.unwrap_or_default().as_bytes());
    head.minor_version = request.version.unwrap_or_default();
    (head.path, head.query) =
        target(buf, head.method.of(buf), span(request.path.unwrap_or_default().as_bytes()))?;
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

/// Whether the request line ends in something like `HTTP/2`, so that the version is at fault and not the syntax.
fn names_a_version(buf: &[u8]) -> bool {
    let line = buf.trim_ascii_start();
    line.split(|&byte| byte == b' ').nth(2).is_some_and(|version| {
        version.starts_with(b"HTTP/") && version.get(5).is_some_and(u8::is_ascii_digit)
    })
}

/// httparse takes LF alone for a line end, which RFC 9112, 2.2 allows and request smuggling feeds on.
fn reject_bare_line_feeds(buf: &[u8], head: &RequestHead) -> Result<(), HttpError> {
    let lines_end_well = buf.ends_with(b"\r\n\r\n")
        && head.headers.iter().all(|header| buf[..header.name.start as usize].ends_with(b"\r\n"));
    if lines_end_well { Ok(()) } else { Err(HttpError::BadRequest("bare line feed")) }
}

/// Splits a request target into path and query (RFC 9112, 3.2).
fn target(buf: &[u8], method: &[u8], target: Span) -> Result<(Span, Option<Span>), HttpError> {
    let text = target.of(buf);
    if text.first() == Some(&b'/') {
        return Ok(split_query(buf, target));
    }
    if method == b"CONNECT" || (method == b"OPTIONS" && text == b"*") {
        return Ok((target, None));
    }
    let Some(authority) = authority_start(text) else {
        return Err(HttpError::BadRequest("malformed request target"));
    };
    let length = text[authority..].iter().take_while(|byte| !matches!(byte, b'/' | b'?')).count();
    if length == 0 {
        return Err(HttpError::BadRequest("request target without host"));
    }
    let rest = Span::new(target.start as usize + authority + length, target.end as usize);
    let (path, query) = split_query(buf, rest);
    // RFC 9112, 3.2.1: an empty path is sent as "/". The slash before the authority stands for it.
    let slash = target.start as usize + authority - 1;
    Ok((if path.is_empty() { Span::new(slash, slash + 1) } else { path }, query))
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

/// What the fields that steer the connection say together.
#[derive(Default)]
struct Steering {
    hosts: u32,
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
                check_host(value)?;
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
    steering.apply(head)
}

impl Steering {
    fn content_length(&mut self, value: &[u8]) -> Result<(), HttpError> {
        let length = parse_length(value).ok_or(HttpError::BadRequest("malformed content-length"))?;
        match self.length.replace(length) {
            Some(other) if other != length => Err(HttpError::BadRequest("differing content-length")),
            _ => Ok(()),
        }
    }

    /// Nothing but one "chunked" is understood; a list of codings, even if it ends so, is refused.
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
        if self.hosts > 1 || (modern && self.hosts == 0) {
            return Err(HttpError::BadRequest("missing or repeated host"));
        }
        head.framing = match (self.length, self.chunked) {
            (Some(_), true) => return Err(HttpError::BadRequest("content-length and transfer-encoding")),
            // RFC 9112, 6.1: the framing of such a message is faulty.
            (None, true) if !modern => return Err(HttpError::BadRequest("transfer-encoding in HTTP/1.0")),
            (None, true) => Framing::Chunked,
            (Some(length), false) => Framing::Length(length),
            (None, false) => Framing::None,
        };
        head.connection_close = self.close;
        head.keep_alive = !self.close && (modern || self.keep_alive);
        // RFC 9110, 10.1.1: an HTTP/1.0 client cannot mean it.
        head.expect_continue &= modern;
        Ok(())
    }
}

/// A Content-Length value: digits only, no sign, no list (RFC 9110, 8.6).
pub fn parse_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0u64, |length, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        length.checked_mul(10)?.checked_add(digit)
    })
}

/// RFC 9112, 3.2 wants an invalid Host refused; what may stand in one is RFC 3986, 3.2.2.
fn check_host(value: &[u8]) -> Result<(), HttpError> {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(byte);
    if value.iter().all(allowed) { Ok(()) } else { Err(HttpError::BadRequest("malformed host")) }
}
