//! `http`: keep-alive requests, pipelined or at a rate. Every response must have the status, the body length
//! and, where given, the content expected; large bodies in either direction are the pattern of
//! [`crate::payload`] and are sent and checked as they stream.

use std::cell::OnceCell;
use std::collections::VecDeque;

use memchr::memmem;
use serde_json::{Value, json};

use crate::meter::{Meter, Phase};
use crate::net::{Load, Net, Target, Turn, run as run_net};
use crate::options::Options;
use crate::payload::{PATTERN_PERIOD, excerpt, pattern};
use crate::schedule::Schedule;
use crate::{Failure, Result};

pub fn run(options: &mut Options) -> Result<Value> {
    let count = options.take_count("connections", 1)?;
    let target = Target::http(options, count, 64)?;
    let pipeline = options.take_count("pipeline", 1)?;
    let request = Request::new(options)?;
    if request.streamed > 0 && pipeline > 1 {
        return Err(Failure::Usage("large uploads cannot be pipelined".into()));
    }
    let mut load = Http {
        conns: (0..count).map(|_| Conn::default()).collect(),
        pipeline,
        request,
        expected: Expected::new(options)?,
        block: pattern(BLOCK),
        meter: Meter::new(options)?,
        schedule: Schedule::new(options)?,
        in_flight: 0,
        drain: options.take_or("drain", true)?,
        of_body: options.take_or("latency", "request".to_owned())? == "body",
    };
    options.finish()?;
    let mut net = Net::new(target)?;
    run_net(&mut net, &mut load)?;
    let mut report = load.meter.report(&net);
    match &load.schedule {
        Some(schedule) => schedule.report(&mut report),
        None => report["pipeline"] = json!(pipeline),
    }
    Ok(report)
}

/// The request, which is the same every time.
struct Request {
    /// Head, and the body unless it is streamed.
    bytes: Vec<u8>,
    /// Bytes of pattern that follow the head.
    streamed: usize,
}

impl Request {
    fn new(options: &mut Options) -> Result<Self> {
        let path = options.take_or("path", "/".to_owned())?;
        let json_body: Option<usize> = options.take("json-body")?;
        let body_size = options.take("body-size")?.or(json_body);
        let default = if body_size.is_some() { "POST" } else { "GET" };
        let method = options.take_or("method", default.to_owned())?;
        let mut bytes = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n").into_bytes();
        if json_body.is_some() {
            bytes.extend_from_slice(b"Content-Type: application/json\r\n")
        }
        if let Some(size) = body_size {
            bytes.extend_from_slice(format!("Content-Length: {size}\r\n").as_bytes())
        }
        bytes.extend_from_slice(b"\r\n");
        let size = body_size.unwrap_or(0);
        let streamed = if json_body.is_none() && size > BLOCK { size } else { 0 };
        match json_body {
            Some(size) => bytes.extend_from_slice(&json_of(size)?),
            None if streamed == 0 => bytes.extend_from_slice(&pattern(size)[..size]),
            None => {}
        }
        Ok(Request { bytes, streamed })
    }
}

/// A JSON object of exactly this size.
fn json_of(size: usize) -> Result<Vec<u8>> {
    let (start, end) = (r#"{"id":12345,"tags":["a","b"],"text":""#, r#""}"#);
    let Some(filler) = size.checked_sub(start.len() + end.len()) else {
        return Err(Failure::Usage(format!("no JSON body of {size} bytes")));
    };
    Ok([start.as_bytes(), &vec![b'x'; filler], end.as_bytes()].concat())
}

/// The properties that every response must have.
struct Expected {
    status: u16,
    length: Option<usize>,
    body: Option<String>,
    /// The text that the first response must contain; all others must be equal to the first.
    same: Option<String>,
    first: OnceCell<Vec<u8>>,
    pattern: bool,
    /// A response with its length twice is a mistake of the server, but may be accepted (RFC 9112 §6.3).
    repeated_length: bool,
}

impl Expected {
    fn new(options: &mut Options) -> Result<Self> {
        let body: Option<String> = options.take("expect-body")?;
        Ok(Expected {
            status: options.take_or("expect-status", 200)?,
            length: options.take("expect-length")?.or(body.as_ref().map(String::len)),
            body,
            same: options.take("expect-same")?,
            first: OnceCell::new(),
            pattern: options.take_or("expect-pattern", false)?,
            repeated_length: options.take_or("repeated-length", false)?,
        })
    }
}

impl Expected {
    /// Whether bodies are compared as a whole, as short ones are.
    fn is_whole(&self) -> bool {
        self.body.is_some() || self.same.is_some()
    }

    fn matches(&self, body: &[u8]) -> bool {
        match (&self.body, &self.same) {
            (Some(expected), _) => body == expected.as_bytes(),
            (None, Some(text)) if self.first.get().is_none() => {
                memmem::find(body, text.as_bytes()).is_some() && self.first.set(body.to_vec()).is_ok()
            }
            _ => self.first.get().is_none_or(|first| first == body),
        }
    }
}

struct Http {
    conns: Vec<Conn>,
    pipeline: usize,
    request: Request,
    expected: Expected,
    /// Some pattern to send from and compare with.
    block: Vec<u8>,
    meter: Meter,
    schedule: Option<Schedule>,
    in_flight: usize,
    /// Wait at the end for the responses under way.
    drain: bool,
    /// Latency is from the first byte of a response to its last.
    of_body: bool,
}

#[derive(Default)]
struct Conn {
    /// Times of the requests in flight, oldest first.
    since: VecDeque<u64>,
    /// Bytes of the request body that are not yet queued.
    unsent: usize,
    body: Option<Body>,
}

/// A response whose head is read.
struct Body {
    length: usize,
    seen: usize,
    /// The time at which its first byte arrived.
    since: u64,
}

impl Http {
    fn send(&mut self, net: &mut Net, conn: usize, since: u64) {
        let entry = &mut self.conns[conn];
        entry.since.push_back(since);
        entry.unsent = self.request.streamed;
        self.in_flight += 1;
        net.out(conn).extend_from_slice(&self.request.bytes);
    }

    fn start(&mut self, net: &mut Net, now: u64) {
        self.meter.begin(now);
        match &mut self.schedule {
            Some(schedule) => schedule.begin(now),
            None => {
                for conn in 0..self.conns.len() {
                    for _ in 0..self.pipeline {
                        self.send(net, conn, now);
                    }
                }
            }
        }
    }

    /// Reads a head; `None` means more is needed.
    fn head(&self, conn: usize, input: &[u8]) -> Result<Option<(Body, usize)>> {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut headers);
        let wrong = |what: &str| Failure::Server(format!("connection {conn}: {what}: {}", excerpt(input)));
        let size = match response.parse(input) {
            Ok(httparse::Status::Complete(size)) => size,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(error) => return Err(wrong(&error.to_string())),
        };
        if self.conns[conn].since.is_empty() {
            return Err(wrong("response nobody waits for"));
        }
        if response.code != Some(self.expected.status) {
            return Err(wrong("wrong status"));
        }
        let length = content_length(response.headers, self.expected.repeated_length)
            .ok_or_else(|| wrong("no single content-length"))?;
        if self.expected.length.is_some_and(|expected| expected != length) {
            return Err(wrong("wrong length"));
        }
        Ok(Some((Body { length, seen: 0, since: 0 }, size)))
    }

    /// Checks the next bytes of a body and says how many of `input` belong to it.
    fn body(&self, conn: usize, body: &mut Body, input: &[u8]) -> Result<usize> {
        let wanted = body.length - body.seen;
        let wrong = || Failure::Server(format!("connection {conn}: wrong body: {}", excerpt(input)));
        if self.expected.is_whole() {
            let Some(whole) = input.get(..wanted) else { return Ok(0) };
            if !self.expected.matches(whole) {
                return Err(wrong());
            }
            body.seen = body.length;
            return Ok(wanted);
        }
        let part = &input[..input.len().min(wanted)];
        if self.expected.pattern && !self.is_pattern(body.seen, part) {
            return Err(wrong());
        }
        body.seen += part.len();
        Ok(part.len())
    }

    fn is_pattern(&self, offset: usize, mut part: &[u8]) -> bool {
        let mut at = offset % PATTERN_PERIOD;
        while !part.is_empty() {
            let (now, later) = part.split_at(part.len().min(BLOCK));
            if now != &self.block[at..at + now.len()] {
                return false;
            }
            at = (at + now.len()) % PATTERN_PERIOD;
            part = later;
        }
        true
    }

    fn answered(&mut self, net: &mut Net, conn: usize, body: &Body, now: u64) -> Result<()> {
        let entry = &mut self.conns[conn];
        if entry.unsent > 0 {
            return Err(Failure::Server(format!("connection {conn}: answered too early")));
        }
        if let Some(since) = entry.since.pop_front() {
            self.meter.record(if self.of_body { body.since } else { since }, now)
        }
        self.in_flight -= 1;
        if self.schedule.is_none() && self.meter.sending() {
            self.send(net, conn, now)
        }
        Ok(())
    }
}

impl Load for Http {
    fn opened(&mut self, net: &mut Net, _conn: usize) -> Result<()> {
        if net.all_open() {
            let now = net.now();
            self.start(net, now);
        }
        Ok(())
    }

    fn received(&mut self, net: &mut Net, conn: usize, input: &[u8], now: u64) -> Result<usize> {
        let mut used = 0;
        loop {
            let mut body = match self.conns[conn].body.take() {
                Some(body) => body,
                None if used == input.len() => return Ok(used),
                None => match self.head(conn, &input[used..])? {
                    None => return Ok(used),
                    Some((body, size)) => {
                        used += size;
                        Body { since: now, ..body }
                    }
                },
            };
            used += self.body(conn, &mut body, &input[used..])?;
            if body.seen < body.length {
                self.conns[conn].body = Some(body);
                return Ok(used);
            }
            self.answered(net, conn, &body, now)?;
        }
    }

    fn drained(&mut self, net: &mut Net, conn: usize) {
        let entry = &mut self.conns[conn];
        if entry.unsent == 0 {
            return;
        }
        let at = (self.request.streamed - entry.unsent) % PATTERN_PERIOD;
        let part = entry.unsent.min(BLOCK);
        entry.unsent -= part;
        net.out(conn).extend_from_slice(&self.block[at..at + part]);
    }

    fn turn(&mut self, net: &mut Net, now: u64) -> Result<Turn> {
        let phase = self.meter.advance(net, now)?;
        if phase == Phase::Draining && (self.in_flight == 0 || !self.drain) {
            return Ok(Turn::Done);
        }
        if !self.meter.sending() || self.schedule.is_none() {
            return Ok(Turn::Until(self.meter.deadline()));
        }
        while let Some((number, due)) = self.schedule.as_mut().and_then(|schedule| schedule.pop(now)) {
            self.send(net, number as usize % self.conns.len(), due);
        }
        let next = self.schedule.as_ref().map_or(u64::MAX, Schedule::next);
        Ok(Turn::Until(next.min(self.meter.deadline())))
    }
}

/// The `Content-Length`; `None` if there are different ones. `repeated`: it may be there more than once.
pub fn content_length(headers: &[httparse::Header<'_>], repeated: bool) -> Option<usize> {
    let mut lengths = headers.iter().filter(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = lengths.next()?;
    if lengths.any(|other| !repeated || other.value != length.value) {
        return None;
    }
    std::str::from_utf8(length.value).ok()?.parse().ok()
}

/// Large bodies are sent and compared in pieces of this size.
const BLOCK: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn http(words: &[&str]) -> Http {
        let mut options = Options::parse(words.iter().map(|word| word.to_string())).unwrap();
        let mut conn = Conn::default();
        conn.since.push_back(0);
        Http {
            conns: vec![conn],
            pipeline: 1,
            request: Request::new(&mut options).unwrap(),
            expected: Expected::new(&mut options).unwrap(),
            block: pattern(BLOCK),
            meter: Meter::new(&mut options).unwrap(),
            schedule: None,
            in_flight: 1,
            drain: true,
            of_body: false,
        }
    }

    fn head(words: &[&str], text: &str) -> Result<Option<(usize, usize)>> {
        Ok(http(words).head(0, text.as_bytes())?.map(|(body, size)| (body.length, size)))
    }

    #[test]
    fn heads_are_checked() {
        let good = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(head(&[], good).unwrap(), Some((5, good.len())));
        assert_eq!(head(&[], &good[..20]).unwrap(), None);
        assert!(head(&["--expect-status", "204"], good).is_err());
        assert!(head(&["--expect-length", "6"], good).is_err());
        assert!(head(&["--expect-body", "four"], good).is_err());
        assert!(head(&[], &good.replace("\r\n\r\n", "\r\nContent-Length: 5\r\n\r\n")).is_err());
        let twice = good.replace("\r\n\r\n", "\r\nContent-Length: 5\r\n\r\n");
        assert!(head(&["--repeated-length", "true"], &twice).is_ok());
        let different = good.replace("\r\n\r\n", "\r\nContent-Length: 6\r\n\r\n");
        assert!(head(&["--repeated-length", "true"], &different).is_err());
        assert!(head(&[], "HTTP/1.1 200 OK\r\n\r\n").is_err());
    }

    #[test]
    fn bodies_are_compared() {
        let http = http(&["--expect-body", "hello"]);
        let body = || Body { length: 5, seen: 0, since: 0 };
        assert_eq!(http.body(0, &mut body(), b"hell").unwrap(), 0);
        assert_eq!(http.body(0, &mut body(), b"hello and more").unwrap(), 5);
        assert!(http.body(0, &mut body(), b"hullo").is_err());
    }

    #[test]
    fn the_first_body_is_the_measure_of_the_others() {
        let expected = http(&["--expect-same", "ell"]).expected;
        assert!(!expected.matches(b"nothing"));
        assert!(expected.matches(b"hello"));
        assert!(expected.matches(b"hello"));
        assert!(!expected.matches(b"hello there"));
    }

    #[test]
    fn patterns_are_compared_at_any_offset_and_over_blocks() {
        let http = http(&["--expect-pattern", "true"]);
        let whole = pattern(3 * BLOCK);
        assert!(http.is_pattern(0, &whole));
        assert!(http.is_pattern(1000, &whole[1000..]));
        assert!(!http.is_pattern(1, &whole));
        let mut broken = whole.clone();
        broken[2 * BLOCK + 3] ^= 1;
        assert!(!http.is_pattern(0, &broken));
    }

    #[test]
    fn json_bodies_have_their_size_and_parse() {
        let body = json_of(1024).unwrap();
        assert_eq!(body.len(), 1024);
        assert!(serde_json::from_slice::<Value>(&body).is_ok());
        assert!(json_of(10).is_err());
    }
}
