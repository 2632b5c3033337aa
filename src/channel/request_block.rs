//! The request block: a request in the form in which JavaScript gets it and reads its parts.
//!
//! Little-endian words (the fixed ones below, then name and value spans of each header, then the matches:
//! handler, number of parameters, their spans), then the head itself, to which all spans are relative, then
//! the body, if the block has it.

use crate::protocol::http::request::{HeaderSpan, RequestHead, Span};

/// Number of headers.
const HEADERS: usize = 0;
/// Words of the matches.
const MATCH_WORDS: usize = HEADERS + 1;
const METHOD: usize = MATCH_WORDS + 1;
const PATH: usize = METHOD + SPAN;
const QUERY: usize = PATH + SPAN;
/// Words before the spans of the headers.
const FIXED: usize = QUERY + SPAN;

/// Words of a span: start and end.
const SPAN: usize = 2;
/// Words of a header: the spans of name and value.
const HEADER: usize = 2 * SPAN;
/// Stands for "no query".
const NO_SPAN: u32 = u32::MAX;

/// Appends a request: `bytes` is its head; `matches` have the form that the block has.
pub fn write_request_block(
    arena: &mut Vec<u8>,
    head: &RequestHead,
    matches: &[u32],
    bytes: &[u8],
    body: &[u8],
) {
    let mut fixed = [0; FIXED];
    fixed[HEADERS] = head.headers.len() as u32;
    fixed[MATCH_WORDS] = matches.len() as u32;
    let query = head.query.unwrap_or(Span { start: NO_SPAN, end: NO_SPAN });
    for (at, span) in [(METHOD, head.method), (PATH, head.path), (QUERY, query)] {
        fixed[at..at + SPAN].copy_from_slice(&[span.start, span.end]);
    }
    let size = 4 * (FIXED + HEADER * head.headers.len() + matches.len());
    arena.reserve(size + bytes.len() + body.len());
    arena.extend_from_slice(fixed.map(u32::to_le_bytes).as_flattened());
    for HeaderSpan { name, value } in &head.headers {
        arena.extend_from_slice([name.to_bytes(), value.to_bytes()].as_flattened());
    }
    for word in matches {
        arena.extend_from_slice(&word.to_le_bytes());
    }
    arena.extend_from_slice(bytes);
    arena.extend_from_slice(body);
}

/// Reads a block. Parts that lie outside of its bytes are empty, so that no bytes do harm.
pub struct RequestBlock<'a> {
    words: &'a [u8],
    /// The head, and the body behind it.
    head: &'a [u8],
    headers: usize,
}

/// A handler that matches, and where its parameters are.
struct Match {
    handler: u32,
    at: usize,
    parameters: u32,
}

impl<'a> RequestBlock<'a> {
    pub fn of(bytes: &'a [u8]) -> Self {
        let mut block = RequestBlock { words: bytes, head: &[], headers: 0 };
        // Not more than there are bytes for: walks over them end soon, whatever the bytes say.
        block.headers = (block.word(HEADERS) as usize).min(bytes.len() / (4 * HEADER));
        let words = FIXED + HEADER * block.headers + block.word(MATCH_WORDS) as usize;
        block.head = bytes.get(4 * words..).unwrap_or_default();
        block
    }

    fn word(&self, index: usize) -> u32 {
        let bytes = self.words.get(4 * index..4 * index + 4);
        bytes.and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
    }

    fn span(&self, index: usize) -> &'a [u8] {
        Span { start: self.word(index), end: self.word(index + 1) }.of(self.head)
    }

    pub fn method(&self) -> &'a [u8] {
        self.span(METHOD)
    }

    pub fn path(&self) -> &'a [u8] {
        self.span(PATH)
    }

    pub fn query(&self) -> Option<&'a [u8]> {
        (self.word(QUERY) != NO_SPAN).then(|| self.span(QUERY))
    }

    /// Names and values in order.
    pub fn header_fields(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + '_ {
        (0..self.headers).map(|i| FIXED + HEADER * i).map(|at| (self.span(at), self.span(at + SPAN)))
    }

    /// The handler of match `wanted`, by priority.
    pub fn handler(&self, wanted: u32) -> Option<u32> {
        self.matched(wanted).map(|found| found.handler)
    }

    /// The parameter of match `wanted` with this position.
    pub fn parameter(&self, wanted: u32, index: u32) -> Option<&'a [u8]> {
        let found = self.matched(wanted).filter(|found| index < found.parameters)?;
        Some(self.span(found.at + SPAN * index as usize))
    }

    fn matched(&self, wanted: u32) -> Option<Match> {
        let mut at = FIXED + HEADER * self.headers;
        let end = (at + self.word(MATCH_WORDS) as usize).min(self.words.len() / 4);
        let mut index = 0;
        while at + 1 < end {
            let (handler, parameters) = (self.word(at), self.word(at + 1));
            if index == wanted {
                return Some(Match { handler, at: at + 2, parameters });
            }
            at += 2 + SPAN * parameters as usize;
            index += 1;
        }
        None
    }

    /// The last `length` bytes, which are the body.
    pub fn body(&self, length: usize) -> &'a [u8] {
        &self.words[self.words.len().saturating_sub(length)..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::http::request::{Limits, parse};

    fn written(text: &str, matches: &[u32], body: &[u8]) -> Vec<u8> {
        let mut bytes = text.as_bytes().to_vec();
        let mut head = RequestHead::default();
        parse(&mut bytes, &Limits::default(), &mut head).expect("a request").expect("a whole one");
        let mut arena = b"of another".to_vec();
        let before = arena.len();
        write_request_block(&mut arena, &head, matches, &bytes, body);
        arena.split_off(before)
    }

    #[test]
    fn a_written_block_can_be_read() {
        let text = "POST /x/p0/p1?q=1 HTTP/1.1\r\nHost: a\r\nB: c\r\n\r\n";
        // Two handlers, of which the first one has parameters.
        let matches = [7, 2, 8, 10, 11, 13, 9, 0];
        let bytes = written(text, &matches, b"body");
        let block = RequestBlock::of(&bytes);
        assert_eq!(
            (block.method(), block.path(), block.query()),
            (&b"POST"[..], &b"/x/p0/p1"[..], Some(&b"q=1"[..]))
        );
        let fields: Vec<_> = block.header_fields().collect();
        assert_eq!(fields, [(&b"host"[..], &b"a"[..]), (b"b", b"c")]);
        assert_eq!([0, 1, 2].map(|wanted| block.handler(wanted)), [Some(7), Some(9), None]);
        assert_eq!((block.parameter(0, 1), block.parameter(0, 2)), (Some(&b"p1"[..]), None));
        assert_eq!((block.parameter(1, 0), block.parameter(2, 0)), (None, None));
        assert_eq!((block.body(4), block.body(0)), (&b"body"[..], &b""[..]));
    }

    #[test]
    fn walks_over_parts_that_are_not_there_end_soon() {
        let begin = std::time::Instant::now();
        let bytes = [0xff; 100];
        let block = RequestBlock::of(&bytes);
        assert_eq!(block.handler(u32::MAX), None);
        assert!(block.header_fields().all(|(name, value)| name.is_empty() && value.is_empty()));
        let mut bytes = [0; 100];
        bytes[4 * MATCH_WORDS..][..4].fill(0xff);
        assert_eq!(RequestBlock::of(&bytes).handler(u32::MAX), None);
        assert!(begin.elapsed().as_secs() < 1);
    }

    #[test]
    fn a_block_that_is_cut_short_is_empty_where_it_ends() {
        let bytes = written("GET / HTTP/1.0\r\nA: b\r\n\r\n", &[7, 1, 0, 1], b"");
        assert_eq!(RequestBlock::of(&bytes).query(), None);
        for cut in 0..bytes.len() {
            let block = RequestBlock::of(&bytes[..cut]);
            let _ = (block.method(), block.path(), block.query(), block.handler(0), block.parameter(0, 0));
            let _ = (block.header_fields().count(), block.body(9));
        }
    }
}
