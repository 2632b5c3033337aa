//! Calls that read the block of the request being handled.

use super::call::Call;
use crate::bridge::value::{self, Value};
use crate::channel::{NO_MATCH, RequestBlock, RequestPart};
use crate::protocol::http::request;

fn block<'a>(call: &'a Call<'_>) -> RequestBlock<'a> {
    RequestBlock::of(call.session.payload(call.args.u32(0), call.args.u32(1)))
}

/// `requestHeader(offset, length, name) → string`
pub fn request_header(call: Call<'_>) -> Value {
    let mut name = Vec::new();
    let known = value::append_data(call.env(), call.args.value(2), &mut name);
    if known.is_none() {
        return value::undefined();
    }
    let block = block(&call);
    let found = block.header_fields().find(|(field, _)| *field == name);
    value::latin1(call.env(), found.map_or(b"", |(_, value)| value))
}

/// `requestHeaders(offset, length) → [name, value, name, value, …]`
pub fn request_headers(call: Call<'_>) -> Value {
    let env = call.env();
    let block = block(&call);
    let values: Vec<Value> = block
        .header_fields()
        .flat_map(|(name, val)| [value::latin1(env, name), value::utf8(env, val)])
        .collect();
    value::array(env, &values)
}

/// `requestPart(offset, length, part) → string`, with a [`RequestPart`]; `undefined` without a query
pub fn request_part(call: Call<'_>) -> Value {
    let block = block(&call);
    let part = match RequestPart::from_number(call.args.u32(2)) {
        Some(RequestPart::Method) => Some(block.method()),
        Some(RequestPart::Path) => Some(block.path()),
        Some(RequestPart::Query) => block.query(),
        None => None,
    };
    part.map_or(value::undefined(), |part| value::utf8(call.env(), part))
}

/// `requestQuery(offset, length, key, asBytes) → string | ArrayBuffer | undefined`
pub fn request_query(call: Call<'_>) -> Value {
    let mut key = Vec::new();
    if value::append_data(call.env(), call.args.value(2), &mut key).is_none() {
        return value::undefined();
    }
    let block = block(&call);
    let found = block.query().and_then(|query| request::query_value(query, &key));
    found.map_or(value::undefined(), |decoded| text_or_bytes(&call, 3, &decoded))
}

/// `requestBody(offset, length, bytes) → ArrayBuffer` of the last `bytes` of the block
pub fn request_body(call: Call<'_>) -> Value {
    let body = block(&call).body(call.args.u32(2) as usize);
    value::array_buffer(call.env(), body)
}

/// `requestMatch(offset, length, index) → handler id, or NO_MATCH`
pub fn request_match(call: Call<'_>) -> Value {
    let handler = block(&call).handler(call.args.u32(2));
    value::number(call.env(), handler.map_or(f64::from(NO_MATCH), f64::from))
}

/// `requestParameter(offset, length, match, index, asBytes) → string | ArrayBuffer`, empty when there is none
pub fn request_parameter(call: Call<'_>) -> Value {
    let parameter = block(&call).parameter(call.args.u32(2), call.args.u32(3));
    text_or_bytes(&call, 4, parameter.unwrap_or_default())
}

/// The argument at `index` says whether bytes are wanted, which text that is no UTF-8 does not give back.
fn text_or_bytes(call: &Call<'_>, index: usize, bytes: &[u8]) -> Value {
    if call.args.u32(index) == 0 {
        value::utf8(call.env(), bytes)
    } else {
        value::array_buffer(call.env(), bytes)
    }
}
