//! Heads of requests: a naive parser by the grammar of RFC 9112 accepts the same ones and finds the same parts
//! in them, httparse agrees, and the result does not depend on the ends of reads.

use crate::input::{Input, ends};
use std::borrow::Cow;
use uws_rs::protocol::http::error::HttpError;
use uws_rs::protocol::http::request::{
    DEFAULT_MAX_HEAD, Framing, Limits, MAX_FIELDS, RequestHead, parse, query_value,
};

/// Where the head ends, what is in it, and its bytes with the names in lower case.
type Outcome = Result<Option<(usize, RequestHead, Vec<u8>)>, HttpError>;

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let limits = limits(input.number());
    let pieces = input.pieces();
    let stream = input.stream();
    let whole = parsed(stream, &limits);
    check_cuts(stream, &pieces, &limits, &whole);
    match (&whole, naive(stream, &limits)) {
        (Ok(Some((used, head, bytes))), Some(naive)) => {
            compare(*used, head, bytes, &naive);
            compare_with_httparse(stream, *used, head, bytes);
            check_query(head, bytes);
        }
        (Ok(None) | Err(_), None) => {}
        (ours, naive) => {
            panic!("{ours:?}, the naive parser: {:?}", naive.map(|head| head.used))
        }
    }
}

fn limits(number: usize) -> Limits {
    match number {
        0..=199 => Limits::default(),
        200..=229 => Limits { max_head: (number - 199) * 32, max_fields: MAX_FIELDS },
        _ => Limits { max_head: DEFAULT_MAX_HEAD, max_fields: number - 230 },
    }
}

fn parsed(stream: &[u8], limits: &Limits) -> Outcome {
    let (mut buffer, mut head) = (stream.to_vec(), RequestHead::default());
    let Some(used) = parse(&mut buffer, limits, &mut head)? else {
        assert_eq!(buffer, stream, "an incomplete head is left as it is");
        return Ok(None);
    };
    assert!(used <= stream.len().min(limits.max_head));
    assert_eq!(buffer[used..], stream[used..], "the bytes behind a head are left as they are");
    buffer.truncate(used);
    Ok(Some((used, head, buffer)))
}

/// A read that ends anywhere gives nothing or the result of the whole stream.
fn check_cuts(stream: &[u8], pieces: &[usize], limits: &Limits, whole: &Outcome) {
    let every = if stream.len() <= 128 { 0..stream.len() } else { 0..0 };
    for end in every.chain(ends(pieces, stream.len())) {
        match (parsed(&stream[..end], limits), whole) {
            (Ok(None), Ok(Some((used, ..)))) => assert!(end < *used, "{end} bytes are a head"),
            (Ok(None), _) => {}
            (Err(error), Err(other)) => assert_eq!(error.status(), other.status(), "{end} bytes"),
            (part, whole) => assert_eq!(&part, whole, "{end} bytes"),
        }
    }
}

// ---- the naive parser

struct Naive<'a> {
    used: usize,
    method: &'a [u8],
    target: &'a [u8],
    minor: u8,
    fields: Vec<(Vec<u8>, &'a [u8])>,
}

/// `None`: incomplete, malformed or beyond the limits.
fn naive<'a>(stream: &'a [u8], limits: &Limits) -> Option<Naive<'a>> {
    let mut start = 0;
    while stream[start..].starts_with(b"\r\n") {
        start += 2;
    }
    let end = stream[start..].windows(4).position(|four| four == b"\r\n\r\n")? + start;
    let used = end + 4;
    let mut lines = split_lines(&stream[start..end]);
    let mut words = lines.next()?.split(|byte| *byte == b' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    let minor = match version {
        b"HTTP/1.0" => 0,
        b"HTTP/1.1" => 1,
        _ => return None,
    };
    let is_target = |byte: &u8| *byte > b' ' && *byte != 0x7f;
    let sound =
        words.next().is_none() && is_token(method) && !target.is_empty() && target.iter().all(is_target);
    let fields: Vec<_> = lines.map(field).collect::<Option<_>>()?;
    let head = Naive { used, method, target, minor, fields };
    let fits = used <= limits.max_head && head.fields.len() <= limits.max_fields.min(MAX_FIELDS);
    (sound && fits && head.is_meaningful()).then_some(head)
}

fn split_lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(bytes);
    std::iter::from_fn(move || {
        let bytes = rest?;
        let end = bytes.windows(2).position(|two| two == b"\r\n");
        rest = end.map(|end| &bytes[end + 2..]);
        Some(&bytes[..end.unwrap_or(bytes.len())])
    })
}

fn is_token(name: &[u8]) -> bool {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !name.is_empty() && name.iter().all(is_token)
}

fn field(line: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, mut value) = (&line[..colon], &line[colon + 1..]);
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    let sound = value.iter().all(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f));
    (is_token(name) && sound).then(|| (name.to_ascii_lowercase(), value))
}

impl Naive<'_> {
    fn values(&self, name: &str) -> Vec<&[u8]> {
        let named = self.fields.iter().filter(|(other, _)| other == name.as_bytes());
        named.map(|(_, value)| *value).collect()
    }

    fn is_meaningful(&self) -> bool {
        let hosts = self.values("host");
        hosts.iter().all(|host| is_host(host))
            && hosts.len() <= 1
            && (self.minor == 0 || hosts.first().is_some_and(|host| !host.is_empty()))
            && self.target_parts().is_some()
            && self.framing().is_some()
    }

    /// Authority, path and query.
    fn target_parts(&self) -> Option<(Option<&[u8]>, &[u8], Option<&[u8]>)> {
        let target = self.target;
        if target[0] != b'/' {
            if self.method == b"CONNECT" || (self.method == b"OPTIONS" && target == b"*") {
                return Some((None, target, None));
            }
            let colon = target.windows(3).position(|three| three == b"://")?;
            let scheme = target[..colon].to_ascii_lowercase();
            if ![&b"http"[..], b"https", b"ws", b"wss"].contains(&&scheme[..]) {
                return None;
            }
            let rest = &target[colon + 3..];
            let end = rest.iter().position(|byte| b"/?".contains(byte)).unwrap_or(rest.len());
            let (authority, rest) = rest.split_at(end);
            let (path, query) = split_query(rest);
            let path = if path.is_empty() { &b"/"[..] } else { path };
            return (!authority.is_empty() && is_host(authority)).then_some((Some(authority), path, query));
        }
        let (path, query) = split_query(target);
        Some((None, path, query))
    }

    fn framing(&self) -> Option<Framing> {
        let (lengths, codings) = (self.values("content-length"), self.values("transfer-encoding"));
        match (&lengths[..], &codings[..]) {
            ([], []) => Some(Framing::None),
            ([first, others @ ..], []) => {
                let number = |text: &[u8]| {
                    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
                    let number: u64 =
                        digits.then(|| std::str::from_utf8(text).ok()?.parse().ok()).flatten()?;
                    (text.len() < 19 && number <= 1 << 53).then_some(number)
                };
                let length: u64 = number(first)?;
                others.iter().all(|other| number(other) == Some(length)).then_some(Framing::Length(length))
            }
            ([], [coding]) if self.minor == 1 && coding.to_ascii_lowercase() == b"chunked" => {
                Some(Framing::Chunked)
            }
            _ => None,
        }
    }
}

fn is_host(host: &[u8]) -> bool {
    host.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(byte))
}

fn split_query(target: &[u8]) -> (&[u8], Option<&[u8]>) {
    match target.iter().position(|byte| *byte == b'?') {
        None => (target, None),
        Some(mark) => (&target[..mark], Some(&target[mark + 1..])),
    }
}

fn compare(used: usize, head: &RequestHead, bytes: &[u8], naive: &Naive) {
    assert_eq!(used, naive.used);
    assert_eq!(head.method.of(bytes), naive.method);
    assert_eq!(head.minor_version, naive.minor);
    let (authority, path, query) = naive.target_parts().expect("checked");
    assert_eq!(head.path.of(bytes), path);
    assert_eq!(head.query.map(|query| query.of(bytes)), query);
    assert_eq!(head.authority.map(|named| named.of(bytes)), authority);
    assert_eq!(Some(head.framing), naive.framing());
    assert_eq!(head.headers.len(), naive.fields.len());
    for (header, (name, value)) in head.headers.iter().zip(&naive.fields) {
        assert_eq!(header.name.of(bytes), name);
        let value = if name == b"host" { authority.unwrap_or(value) } else { value };
        assert_eq!(header.value.of(bytes), value);
    }
    let options: Vec<Vec<u8>> = naive
        .values("connection")
        .iter()
        .flat_map(|value| value.split(|byte| *byte == b','))
        .map(|option| option.trim_ascii().to_ascii_lowercase())
        .collect();
    let has = |option: &str| options.iter().any(|other| other == option.as_bytes());
    assert_eq!(head.connection_close, has("close"));
    let persists = !has("close") && (naive.minor == 1 || has("keep-alive"));
    // RFC 9110 §9.3.6: what follows may be the bytes of a tunnel.
    assert_eq!(head.keep_alive, persists && naive.method != b"CONNECT");
    let expects = naive.values("expect").iter().any(|value| value.to_ascii_lowercase() == b"100-continue");
    assert_eq!(head.expect_continue, expects && naive.minor == 1);
    let keys = naive.values("sec-websocket-key");
    let key = keys.into_iter().find(|key| key.len() == 24 && naive.method == b"GET" && naive.minor == 1);
    assert_eq!(head.websocket_key.map(|key| key.of(bytes)), key);
}

fn compare_with_httparse(stream: &[u8], used: usize, head: &RequestHead, bytes: &[u8]) {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut theirs = httparse::Request::new(&mut fields);
    // It refuses targets that are not UTF-8.
    let Ok(status) = theirs.parse(stream) else { return };
    assert_eq!(status, httparse::Status::Complete(used));
    assert_eq!(theirs.method.map(str::as_bytes), Some(head.method.of(bytes)));
    assert_eq!(theirs.headers.len(), head.headers.len());
    for (theirs, ours) in theirs.headers.iter().zip(&head.headers) {
        assert_eq!(theirs.name.to_ascii_lowercase().as_bytes(), ours.name.of(bytes));
        assert!(ours.name.of(bytes) == b"host" || theirs.value == ours.value.of(bytes));
    }
}

// ---- queries

fn check_query(head: &RequestHead, bytes: &[u8]) {
    let Some(query) = head.query.map(|query| query.of(bytes)) else { return };
    for pair in query.split(|byte| *byte == b'&') {
        let key = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
        assert_eq!(query_value(query, key).map(Cow::into_owned), naive_value(query, key));
    }
    assert_eq!(query_value(query, b""), None);
}

fn naive_value(query: &[u8], key: &[u8]) -> Option<Vec<u8>> {
    let start = [key, b"="].concat();
    let pair = query.split(|byte| *byte == b'&').find(|pair| pair.starts_with(&start))?;
    let text: Vec<char> = pair[start.len()..].iter().map(|byte| char::from(*byte)).collect();
    let (mut decoded, mut at) = (Vec::new(), 0);
    while at < text.len() {
        if text[at] == '%' {
            let (high, low) = (text.get(at + 1)?.to_digit(16)?, text.get(at + 2)?.to_digit(16)?);
            decoded.push((high * 16 + low) as u8);
            at += 3;
        } else {
            decoded.push(if text[at] == '+' { b' ' } else { text[at] as u8 });
            at += 1;
        }
    }
    (!key.is_empty()).then_some(decoded)
}
