//! Programs of a `DeclarativeResponse`: an answer made of literal text and pieces of its request, without
//! JavaScript.
//!
//! A program is parsed once, when its route is added, and evaluated by the loop thread for each request. This
//! file knows no connection: the caller passes the request and sends the answer.
//!
//! The bytes of a program are those of uWebSockets.js, so that one made elsewhere is understood as well: a
//! number for each instruction, then for each of its texts the length, in one byte or little-endian in two,
//! and the text. The program ends with its first `End`; what follows is not looked at.
#![forbid(unsafe_code)]

use crate::channel::Instruction;
use crate::protocol::http::request::{RequestHead, Span, query_value};
use crate::protocol::http::response::{
    OwnHeader, check_header_name, check_header_value, check_status, has_option, write_header,
};
use crate::routing::router::parameter_names;
use smallvec::SmallVec;
use thiserror::Error;

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// Empty: `200 OK`.
    pub status: Vec<u8>,
    /// Lines for the response's head.
    pub headers: Vec<u8>,
    /// The program wrote a `Date` header.
    pub own_date: bool,
    /// The program wrote a `Connection` header, which is the last of `headers`.
    pub own_connection: bool,
    /// The options of that header include `close`.
    pub close: bool,
    steps: Vec<Step>,
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    Text(Vec<u8>),
    /// The decoded value of a key of the query.
    Query(Vec<u8>),
    RequestHeader(Vec<u8>),
    /// The raw value of a route parameter, by its position.
    Parameter(usize),
    /// The body of the request.
    Body,
}

/// The request a program is evaluated for.
pub struct Request<'a> {
    pub head: &'a RequestHead,
    pub bytes: &'a [u8],
    /// Where the parameters are in `bytes`.
    pub parameters: &'a [Span],
}

/// The body of the response, without the request's body, which is inserted at the holes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Answer {
    text: Vec<u8>,
    holes: SmallVec<[usize; 1]>,
}

/// Why bytes are no program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Malformed {
    #[error("it has no end")]
    Open,
    #[error("byte {at} is the number of no instruction")]
    Unknown { at: usize },
    #[error("the instruction at byte {at} is cut short")]
    Cut { at: usize },
    #[error("the instruction at byte {at} has no valid header")]
    Header { at: usize },
    #[error("the instruction at byte {at} has no status of a final response")]
    Status { at: usize },
}

impl Program {
    pub fn parse(bytes: &[u8], pattern: &[u8]) -> Result<Self, Malformed> {
        let mut program = Program::default();
        let mut rest = bytes;
        let mut connection = Vec::new();
        loop {
            let at = bytes.len() - rest.len();
            let [op, tail @ ..] = rest else { return Err(Malformed::Open) };
            rest = tail;
            let cut = Malformed::Cut { at };
            match Instruction::from_number(u32::from(*op)).ok_or(Malformed::Unknown { at })? {
                Instruction::End => {
                    program.literal(long_text(&mut rest).ok_or(cut)?);
                    break;
                }
                Instruction::Header => {
                    let name = text(&mut rest).ok_or(cut)?;
                    let value = text(&mut rest).ok_or(cut)?;
                    program.header(name, value, &mut connection).ok_or(Malformed::Header { at })?;
                }
                Instruction::Body => program.steps.push(Step::Body),
                Instruction::Query => {
                    program.steps.push(Step::Query(text(&mut rest).ok_or(cut)?.to_vec()));
                }
                Instruction::RequestHeader => {
                    let name = text(&mut rest).ok_or(cut)?;
                    program.steps.push(Step::RequestHeader(name.to_ascii_lowercase()));
                }
                Instruction::Text => program.literal(long_text(&mut rest).ok_or(cut)?),
                Instruction::Parameter => {
                    let name = text(&mut rest).ok_or(cut)?;
                    // A name the pattern does not have is an empty value, as in a handler.
                    let index = parameter_names(pattern).position(|n| n == name);
                    program.steps.extend(index.map(Step::Parameter));
                }
                Instruction::Status => {
                    let status = text(&mut rest).ok_or(cut)?;
                    program.status(status).ok_or(Malformed::Status { at })?;
                }
            }
        }
        if !connection.is_empty() {
            program.own_connection = true;
            program.close = has_option(&connection, b"close");
            write_header(&mut program.headers, b"Connection", &connection);
        }
        Ok(program)
    }

    /// Literal texts in a row are one, since each has a bounded length.
    fn literal(&mut self, text: &[u8]) {
        match self.steps.last_mut() {
            Some(Step::Text(last)) => last.extend_from_slice(text),
            _ if text.is_empty() => {}
            _ => self.steps.push(Step::Text(text.to_vec())),
        }
    }

    /// As in a handler, the first status counts, and none behind a header. A 1xx status is not accepted,
    /// since no final response would follow it.
    fn status(&mut self, status: &[u8]) -> Option<()> {
        check_status(status).ok()?;
        if status.starts_with(b"1") {
            return None;
        }
        if self.status.is_empty() {
            self.status = status.to_vec();
        }
        Some(())
    }

    /// Adds a header. The loop writes those that frame the message itself.
    fn header(&mut self, name: &[u8], value: &[u8], connection: &mut Vec<u8>) -> Option<()> {
        check_header_name(name).ok()?;
        check_header_value(value).ok()?;
        if self.status.is_empty() {
            self.status = b"200 OK".to_vec();
        }
        match OwnHeader::of(name) {
            Some(OwnHeader::ContentLength | OwnHeader::TransferEncoding) => return Some(()),
            Some(OwnHeader::Connection) => {
                if !connection.is_empty() {
                    connection.extend_from_slice(b", ");
                }
                connection.extend_from_slice(value);
                return Some(());
            }
            Some(OwnHeader::Date) => self.own_date = true,
            None => {}
        }
        write_header(&mut self.headers, name, value);
        Some(())
    }

    /// The head of an answer whose body is made elsewhere. `headers`: lines made by `write_header`.
    pub fn of_headers(headers: Vec<u8>) -> Self {
        Program { status: b"200 OK".to_vec(), headers, ..Program::default() }
    }

    pub fn wants_body(&self) -> bool {
        self.steps.contains(&Step::Body)
    }

    pub fn evaluate(&self, request: &Request<'_>) -> Answer {
        let mut answer = Answer::default();
        for step in &self.steps {
            let text = &mut answer.text;
            match step {
                Step::Text(literal) => text.extend_from_slice(literal),
                Step::Query(key) => {
                    let query = request.head.query.map(|query| query.of(request.bytes));
                    let value = query.and_then(|query| query_value(query, key));
                    text.extend_from_slice(&value.unwrap_or_default());
                }
                Step::RequestHeader(name) => {
                    text.extend_from_slice(request.head.header(request.bytes, name).unwrap_or_default());
                }
                Step::Parameter(index) => {
                    let span = request.parameters.get(*index).copied().unwrap_or_default();
                    text.extend_from_slice(span.of(request.bytes));
                }
                Step::Body => answer.holes.push(text.len()),
            }
        }
        answer
    }
}

impl Answer {
    pub fn with_body(self, body: &[u8]) -> Vec<u8> {
        if self.holes.is_empty() || body.is_empty() {
            return self.text;
        }
        let mut whole = Vec::with_capacity(self.text.len() + self.holes.len() * body.len());
        let mut from = 0;
        for hole in self.holes {
            whole.extend_from_slice(&self.text[from..hole]);
            whole.extend_from_slice(body);
            from = hole;
        }
        whole.extend_from_slice(&self.text[from..]);
        whole
    }
}

/// A name, a value or a status.
fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, tail) = rest.split_first()?;
    let (text, tail) = tail.split_at_checked(usize::from(*length))?;
    *rest = tail;
    Some(text)
}

/// Bytes to send.
fn long_text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, tail) = rest.split_first_chunk()?;
    let (text, tail) = tail.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    *rest = tail;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::Instruction::{Body, End, Header, Parameter, Query, RequestHeader, Status, Text};
    use super::*;
    use crate::protocol::http::request::{Limits, parse};
    use proptest::prelude::*;

    fn instruction(op: Instruction, texts: &[&str]) -> Vec<u8> {
        let length_bytes = if matches!(op, End | Text) { 2 } else { 1 };
        let texts = texts
            .iter()
            .flat_map(|text| [&(text.len() as u16).to_le_bytes()[..length_bytes], text.as_bytes()].concat());
        [op as u8].into_iter().chain(texts).collect()
    }

    fn parse_ended(instructions: &[Vec<u8>]) -> Result<Program, Malformed> {
        Program::parse(&[instructions.concat(), instruction(End, &[""])].concat(), b"/x/:id/:other")
    }

    fn program(instructions: &[Vec<u8>]) -> Program {
        parse_ended(instructions).expect("a program")
    }

    /// The answer to a request for `/x/p0/p%31?q=a%20b&e=` with a header `Who: me`.
    fn answer(instructions: &[Vec<u8>], body: &str) -> String {
        let mut bytes = b"POST /x/p0/p%31?q=a%20b&e= HTTP/1.1\r\nHost: a\r\nWho: me\r\n\r\n".to_vec();
        let mut head = RequestHead::default();
        parse(&mut bytes, &Limits::default(), &mut head).expect("a request").expect("a whole one");
        let request =
            Request { head: &head, bytes: &bytes, parameters: &[Span::new(8, 10), Span::new(11, 15)] };
        let answer = program(instructions).evaluate(&request).with_body(body.as_bytes());
        String::from_utf8(answer).expect("text")
    }

    #[test]
    fn pieces_of_the_request_in_order() {
        let all = [
            instruction(Text, &["<"]),
            instruction(Query, &["q"]),
            instruction(Query, &["e"]),
            instruction(Query, &["missing"]),
            instruction(Text, &[","]),
            instruction(RequestHeader, &["WHO"]),
            instruction(RequestHeader, &["missing"]),
            instruction(Parameter, &["other"]),
            instruction(Parameter, &["id"]),
            instruction(Parameter, &["missing"]),
            instruction(Text, &[">"]),
        ];
        assert_eq!(answer(&all, ""), "<a b,mep%31p0>");
        assert!(!program(&all).wants_body());
        assert_eq!(answer(&[], "unused"), "");
    }

    #[test]
    fn the_body_goes_where_it_is_wanted() {
        let twice = [
            instruction(Text, &["["]),
            instruction(Body, &[]),
            instruction(Text, &["|"]),
            instruction(Body, &[]),
            instruction(Text, &["]"]),
        ];
        assert!(program(&twice).wants_body());
        assert_eq!(answer(&twice, "body"), "[body|body]");
        assert_eq!(answer(&twice, ""), "[|]");
    }

    #[test]
    fn headers_that_frame_the_message_are_left_to_the_loop() {
        let plain = program(&[
            instruction(Header, &["A", "b"]),
            instruction(Header, &["Content-Length", "7"]),
            instruction(Header, &["transfer-encoding", "chunked"]),
            instruction(Header, &["Connection", "keep-alive"]),
        ]);
        assert_eq!(&plain.headers[..], b"A: b\r\nConnection: keep-alive\r\n");
        assert_eq!((plain.close, plain.own_connection, plain.own_date), (false, true, false));
        let own = program(&[
            instruction(Header, &["connection", "upgrade"]),
            instruction(Header, &["Date", "today"]),
            instruction(Header, &["Connection", "Close"]),
        ]);
        assert_eq!(&own.headers[..], b"Date: today\r\nConnection: upgrade, Close\r\n");
        assert_eq!((own.close, own.own_connection, own.own_date), (true, true, true));
        for (name, value) in [("a b", "c"), ("a", "b\r\nc: d"), ("", "b"), ("a", "\0")] {
            let parsed = parse_ended(&[instruction(Body, &[]), instruction(Header, &[name, value])]);
            assert_eq!(parsed, Err(Malformed::Header { at: 1 }), "{name}: {value}");
        }
    }

    #[test]
    fn the_first_status_counts_and_none_behind_a_header() {
        let [created, gone] = [instruction(Status, &["201 Created"]), instruction(Status, &["410"])];
        let header = instruction(Header, &["a", "b"]);
        let text = instruction(Text, &["text"]);
        for (instructions, expected) in [
            (&[text.clone()][..], ""),
            (&[text, created.clone(), header.clone()], "201 Created"),
            (&[gone.clone(), created.clone()], "410"),
            (&[header, created, gone], "200 OK"),
        ] {
            assert_eq!(program(instructions).status, expected.as_bytes());
        }
        for status in ["", "20", "103 Early Hints", "201Created", "201 a\r\nb: c"] {
            let parsed = parse_ended(&[instruction(Status, &[status])]);
            assert_eq!(parsed, Err(Malformed::Status { at: 0 }), "{status:?}");
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_original() {
        // Made by 20.57; behind its end a program may have other bytes.
        let bytes = b"\x01\x01a\x02bc\x03\x01q\x04\x01h\x05\x05\0hello\x06\x05other\x02\0\x01\0x\x05\xff";
        let expected = [
            instruction(Header, &["a", "bc"]),
            instruction(Query, &["q"]),
            instruction(RequestHeader, &["h"]),
            instruction(Text, &["hello"]),
            instruction(Parameter, &["other"]),
            instruction(Body, &[]),
            instruction(Text, &["x"]),
        ];
        assert_eq!(Program::parse(bytes, b"/x/:id/:other"), Ok(program(&expected)));
        let longest = [&b"\0\xff\xff"[..], &[b'z'; 65535]].concat();
        let text = Program::parse(&longest, b"/").map(|program| program.steps);
        assert_eq!(text, Ok(vec![Step::Text(longest[3..].to_vec())]));
        let twice = [instruction(Text, &["a"]), instruction(Text, &["b"]), instruction(End, &["c"])];
        assert_eq!(program(&twice).steps, [Step::Text(b"abc".to_vec())]);
    }

    #[test]
    fn bytes_that_are_no_program_are_refused() {
        for (bytes, error) in [
            (&b""[..], Malformed::Open),
            (b"\x02", Malformed::Open),
            (b"\x05\0\0", Malformed::Open),
            (b"\x08", Malformed::Unknown { at: 0 }),
            (b"\x02\xff\0\0\0", Malformed::Unknown { at: 1 }),
            (b"\0", Malformed::Cut { at: 0 }),
            (b"\0\0", Malformed::Cut { at: 0 }),
            (b"\0\x01\0", Malformed::Cut { at: 0 }),
            (b"\x02\x05\x02\0a", Malformed::Cut { at: 1 }),
            (b"\x03", Malformed::Cut { at: 0 }),
            (b"\x06\x02a", Malformed::Cut { at: 0 }),
            (b"\x01\x01a", Malformed::Cut { at: 0 }),
            (b"\x01\x01a\x02b", Malformed::Cut { at: 0 }),
            (b"\x07\x03200", Malformed::Open),
        ] {
            assert_eq!(Program::parse(bytes, b"/"), Err(error), "{}", bytes.escape_ascii());
        }
        assert_eq!(Program::parse(b"\0\0\0", b"/"), Ok(Program::default()));
    }

    proptest! {
        #[test]
        fn random_bytes_do_no_harm(bytes in prop::collection::vec(0u8..10, 0..60)) {
            if let Ok(program) = Program::parse(&bytes, b"/:a") {
                let request = Request { head: &RequestHead::default(), bytes: b"", parameters: &[] };
                prop_assert!(program.evaluate(&request).with_body(b"").len() <= bytes.len());
            }
        }
    }
}
