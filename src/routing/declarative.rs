//! Programs of a `DeclarativeResponse`: an answer made of literal text and pieces of its request, without
//! JavaScript.
//!
//! A program is parsed once, when its route is added, and evaluated by the loop thread for each request. This
//! file knows no connection: the caller passes the request and sends the answer.
//!
//! The bytes of a program, which lib/declarative.js writes, are: a number for each instruction, then for each
//! of its texts a little-endian length of four bytes and the text.
#![forbid(unsafe_code)]

use crate::channel::Instruction;
use crate::protocol::http::request::{RequestHead, Span, query_value};
use crate::protocol::http::response::{
    OwnHeader, check_header_name, check_header_value, check_status, has_option, write_header,
};
use crate::routing::router::parameter_names;
use smallvec::SmallVec;

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

impl Program {
    /// `None`: these bytes are no program.
    pub fn parse(bytes: &[u8], pattern: &[u8]) -> Option<Self> {
        let mut program = Program::default();
        let mut rest = bytes;
        let mut connection = Vec::new();
        while let [op, tail @ ..] = rest {
            rest = tail;
            match Instruction::from_number(u32::from(*op))? {
                Instruction::Header => program.header(text(&mut rest)?, text(&mut rest)?, &mut connection)?,
                Instruction::Body => program.steps.push(Step::Body),
                Instruction::Query => program.steps.push(Step::Query(text(&mut rest)?.to_vec())),
                Instruction::RequestHeader => {
                    program.steps.push(Step::RequestHeader(text(&mut rest)?.to_ascii_lowercase()))
                }
                Instruction::Text => program.steps.push(Step::Text(text(&mut rest)?.to_vec())),
                Instruction::Parameter => {
                    let name = text(&mut rest)?;
                    // A name the pattern does not have is an empty value, as in a handler.
                    program
                        .steps
                        .extend(parameter_names(pattern).position(|n| n == name).map(Step::Parameter));
                }
                Instruction::Status => program.status(text(&mut rest)?)?,
            }
        }
        if !connection.is_empty() {
            program.own_connection = true;
            program.close = has_option(&connection, b"close");
            write_header(&mut program.headers, b"Connection", &connection);
        }
        Some(program)
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

fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, tail) = rest.split_first_chunk()?;
    let (text, tail) = tail.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    *rest = tail;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::Instruction::{Body, Header, Parameter, Query, RequestHeader, Status, Text};
    use super::*;
    use crate::protocol::http::request::{Limits, parse};
    use proptest::prelude::*;

    fn instruction(op: Instruction, texts: &[&str]) -> Vec<u8> {
        let texts =
            texts.iter().flat_map(|text| [&(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat());
        [op as u8].into_iter().chain(texts).collect()
    }

    fn program(instructions: &[Vec<u8>]) -> Program {
        Program::parse(&instructions.concat(), b"/x/:id/:other").expect("a program")
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
            assert_eq!(Program::parse(&instruction(Header, &[name, value]), b"/"), None, "{name}: {value}");
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
            assert_eq!(Program::parse(&instruction(Status, &[status]), b"/"), None, "{status:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_program_are_refused() {
        for bytes in
            [&[0][..], &[8], &[7], &[5], &[5, 1, 0, 0], &[5, 2, 0, 0, 0, b'a'], &[1, 0, 0, 0, 0], &[255; 40]]
        {
            assert_eq!(Program::parse(bytes, b"/"), None, "{bytes:?}");
        }
        assert_eq!(Program::parse(b"", b"/"), Some(Program::default()));
    }

    proptest! {
        #[test]
        fn random_bytes_do_no_harm(bytes in prop::collection::vec(0u8..10, 0..60)) {
            if let Some(program) = Program::parse(&bytes, b"/:a") {
                let request = Request { head: &RequestHead::default(), bytes: b"", parameters: &[] };
                prop_assert!(program.evaluate(&request).with_body(b"").len() <= bytes.len());
            }
        }
    }
}
