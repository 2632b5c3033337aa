//! Calls about the request being handled, whose block they read.

use super::Call;
use crate::bridge::value::{self, Value};
use crate::event_loop::{NO_SPAN, REQUEST_BLOCK_WORDS};
use crate::protocol::http::request;
use crate::protocol::http::request::Span;

/// A request block as `event_loop::http` writes it.
struct RequestBlock<'a> {
    words: &'a [u8],
    head: &'a [u8],
    headers: usize,
}

impl<'a> RequestBlock<'a> {
    fn of(call: &'a Call<'_>) -> Self {
        let bytes = call.state.payload(call.args.u32(0), call.args.u32(1));
        let mut block = RequestBlock { words: bytes, head: &[], headers: 0 };
        block.headers = block.word(0) as usize;
        let words = REQUEST_BLOCK_WORDS + 4 * block.headers + block.word(1) as usize;
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

    fn query(&self) -> Option<&'a [u8]> {
        (self.word(6) != NO_SPAN).then(|| self.span(6))
    }

    /// Names and values in order.
    fn header_fields(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + '_ {
        let first = REQUEST_BLOCK_WORDS;
        (0..self.headers).map(move |i| (self.span(first + 4 * i), self.span(first + 4 * i + 2)))
    }

    /// Handler and position of the parameters of match `wanted`.
    fn matched(&self, wanted: u32) -> Option<(u32, usize, u32)> {
        let mut at = REQUEST_BLOCK_WORDS + 4 * self.headers;
        let end = at + self.word(1) as usize;
        let mut index = 0;
        while at + 1 < end {
            let (handler, parameters) = (self.word(at), self.word(at + 1));
            if index == wanted {
                return Some((handler, at + 2, parameters));
            }
            at += 2 + 2 * parameters as usize;
            index += 1;
        }
        None
    }
}

/// `requestHeader(offset, length, name) → string`
pub fn request_header(call: Call<'_>) -> Value {
    let mut name = Vec::new();
    let known = value::append_data(call.env(), call.args.value(2), &mut name);
    if known.is_none() {
        return value::undefined();
    }
    let block = RequestBlock::of(&call);
    let found = block.header_fields().find(|(field, _)| *field == name);
    value::latin1(call.env(), found.map_or(b"", |(_, value)| value))
}

/// `requestHeaders(offset, length) → [name, value, name, value, …]`
pub fn request_headers(call: Call<'_>) -> Value {
    let env = call.env();
    let fields = RequestBlock::of(&call);
    let values: Vec<Value> = fields
        .header_fields()
        .flat_map(|(name, val)| [value::latin1(env, name), value::utf8(env, val)])
        .collect();
    value::array(env, &values)
}

/// `requestPart(offset, length, part) → string`: 0 method, 1 path, 2 query (`undefined` without one)
pub fn request_part(call: Call<'_>) -> Value {
    let block = RequestBlock::of(&call);
    let part = match call.args.u32(2) {
        0 => block.span(2),
        1 => block.span(4),
        _ => match block.query() {
            Some(query) => query,
            None => return value::undefined(),
        },
    };
    value::utf8(call.env(), part)
}

/// `requestQuery(offset, length, key, asBytes) → string | ArrayBuffer | undefined`
pub fn request_query(call: Call<'_>) -> Value {
    let mut key = Vec::new();
    if value::append_data(call.env(), call.args.value(2), &mut key).is_none() {
        return value::undefined();
    }
    let block = RequestBlock::of(&call);
    let found = block.query().and_then(|query| request::query_value(query, &key));
    found.map_or(value::undefined(), |decoded| text_or_bytes(&call, 3, &decoded))
}

/// `requestBody(offset, length, bytes) → ArrayBuffer` of the last `bytes` of the block
pub fn request_body(call: Call<'_>) -> Value {
    let block = call.state.payload(call.args.u32(0), call.args.u32(1));
    let start = block.len().saturating_sub(call.args.u32(2) as usize);
    value::array_buffer(call.env(), &block[start..])
}

/// `requestMatch(offset, length, index) → handler id, or -1`
pub fn request_match(call: Call<'_>) -> Value {
    let matched = RequestBlock::of(&call).matched(call.args.u32(2));
    value::number(call.env(), matched.map_or(-1.0, |(handler, ..)| f64::from(handler)))
}

/// `requestParameter(offset, length, match, index, asBytes) → string | ArrayBuffer`, empty when there is none
pub fn request_parameter(call: Call<'_>) -> Value {
    let block = RequestBlock::of(&call);
    let index = call.args.u32(3);
    match block.matched(call.args.u32(2)) {
        Some((_, at, count)) if index < count => text_or_bytes(&call, 4, block.span(at + 2 * index as usize)),
        _ => text_or_bytes(&call, 4, b""),
    }
}

/// The argument at `index` says whether bytes are wanted, which text that is no UTF-8 does not give back.
fn text_or_bytes(call: &Call<'_>, index: usize, bytes: &[u8]) -> Value {
    if call.args.u32(index) == 0 {
        value::utf8(call.env(), bytes)
    } else {
        value::array_buffer(call.env(), bytes)
    }
}
