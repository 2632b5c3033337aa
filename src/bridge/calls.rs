//! The calls JavaScript makes per event and per message, registered as plain functions.
//!
//! Each gets the environment's [`Place`] as its data pointer, and answers 0 once there is no [`State`] in it. Arguments come from our own JavaScript, which has checked
//! what users may get wrong; what memory safety needs is checked again here and in `value.rs`. Text or data that is
//! neither string nor buffer is answered with -1, in the registers with [`NEITHER`], and JavaScript sorts it out.

use super::place::Place;
use super::session::{State, TRY_END_WINDOW};
use super::value::{self, Arguments, Env, MAX_ARGUMENTS, Value};
use crate::channel::{ConnId, NOBODY, OWNED_PAYLOAD, Op, begin_parts, send_flag, set_part};
use crate::event_loop::{NO_SPAN, REQUEST_BLOCK_WORDS};
use crate::protocol::http::request;
use crate::protocol::http::request::Span;
use napi_sys as sys;
use std::net::{IpAddr, SocketAddr};
use std::ptr;

/// What a hot function is given.
struct Call<'a> {
    args: Arguments,
    state: &'a mut State,
}

impl Call<'_> {
    fn env(&self) -> Env {
        self.args.env
    }

    /// Slot and generation in the arguments from `index` on.
    fn id(&self, index: usize) -> ConnId {
        ConnId { slot: self.args.u32(index), generation: self.args.u32(index + 1) }
    }
}

/// Defines the native callback around a function of `Call`. A number: that many arguments are read, instead of all.
macro_rules! hot {
    ($($name:literal $(($count:literal))? => $function:ident as $callback:ident),* $(,)?) => {
        $(
            unsafe extern "C" fn $callback(env: Env, info: sys::napi_callback_info) -> Value {
                // SAFETY: Node calls this with the env and info of the current call, on the thread of the environment;
                // the data pointer is its Place. No hot function calls back into JavaScript while it uses the state,
                // so the reference is the only one.
                let (args, state) = unsafe {
                    let (args, data) = Arguments::read(env, info, hot!(@count $($count)?));
                    (args, Place::of_pointer(data).state())
                };
                match state {
                    Some(state) => $function(Call { args, state }),
                    None => value::integer(env, 0),
                }
            }
        )*

        /// An object with every hot function, bound to `place`.
        pub fn functions(env: Env, place: &'static Place) -> Value {
            let mut object = ptr::null_mut();
            // SAFETY: plain creation of a value in the current scope.
            unsafe { sys::napi_create_object(env, &mut object) };
            $(
                let function = value::function(env, $name, Some($callback), place.pointer());
                value::set_property(env, object, $name, function);
            )*
            for (name, callback) in STATELESS {
                let function = value::function(env, name, Some(callback), ptr::null_mut());
                value::set_property(env, object, name, function);
            }
            object
        }
    };
    (@count) => { MAX_ARGUMENTS };
    (@count $count:literal) => { $count };
}

hot! {
    "take" (0) => take as take_callback,
    "takeDropped" (0) => take_dropped as take_dropped_callback,
    "relieve" (1) => relieve as relieve_callback,
    "payload" => payload as payload_callback,
    "lendPayload" (1) => lend_payload as lend_payload_callback,
    "park" => park as park_callback,
    "unpark" => unpark as unpark_callback,
    "parkedSoFar" (0) => parked_so_far as parked_so_far_callback,
    "unparkedSoFar" (0) => unparked_so_far as unparked_so_far_callback,
    "flush" => flush as flush_callback,
    "flushDue" => flush_due as flush_due_callback,
    "startStretch" => start_stretch as start_stretch_callback,
    "drain" => drain as drain_callback,
    "ring" (0) => ring as ring_callback,
    "command" => command as command_callback,
    "send" (1) => send as send_callback,
    "end" => end as end_callback,
    "publish" => publish as publish_callback,
    "buffered" => buffered as buffered_callback,
    "respond" (1) => respond as respond_callback,
    "respondWithHead" (3) => respond_with_head as respond_with_head_callback,
    "tryEnd" => try_end as try_end_callback,
    "upgrade" => upgrade as upgrade_callback,
    "requestHeader" => request_header as request_header_callback,
    "requestHeaders" => request_headers as request_headers_callback,
    "requestPart" => request_part as request_part_callback,
    "requestQuery" => request_query as request_query_callback,
    "requestBody" => request_body as request_body_callback,
    "requestMatch" => request_match as request_match_callback,
    "requestParameter" => request_parameter as request_parameter_callback,
    "address" => address as address_callback,
    "addressText" => address_text as address_text_callback,
    "port" => port as port_callback,
}

type Callback = unsafe extern "C" fn(Env, sys::napi_callback_info) -> Value;

/// Functions that need no state.
const STATELESS: [(&str, Callback); 3] =
    [("detach", detach_callback), ("byteLength", byte_length_callback), ("fatal", fatal_callback)];

// ---- events

/// `take() → number` of events whose headers are in the event words now
fn take(call: Call<'_>) -> Value {
    let count = call.state.take();
    value::integer(call.env(), count as i32)
}

/// `takeDropped() → number` of `Dropped` events whose headers are in the event words now
fn take_dropped(call: Call<'_>) -> Value {
    let count = call.state.take_dropped();
    value::integer(call.env(), count as i32)
}

/// `relieve(begin)`: see `State::relieve`
fn relieve(call: Call<'_>) -> Value {
    call.state.relieve(call.args.u32(0) != 0);
    value::undefined()
}

/// `payload(offset, length) → ArrayBuffer`
fn payload(call: Call<'_>) -> Value {
    let (offset, len) = (call.args.u32(0), call.args.u32(1));
    payload_at(call, offset, len)
}

/// `lendPayload(done) → ArrayBuffer`, with offset and length in the registers; `done` is one that is to be detached first,
/// if any
fn lend_payload(call: Call<'_>) -> Value {
    value::detach(call.env(), call.args.value(0));
    let [offset, len] = call.state.registers.read();
    payload_at(call, offset, len)
}

fn payload_at(call: Call<'_>, offset: u32, len: u32) -> Value {
    match call.state.take_owned(offset) {
        Some(owned) => value::external_array_buffer(call.env(), owned, call.state.blocks()),
        None => value::array_buffer(call.env(), call.state.payload(offset, len)),
    }
}

/// `park(offset, length) → offset` that stays valid until `unpark`
fn park(call: Call<'_>) -> Value {
    let offset = call.state.park(call.args.u32(0), call.args.u32(1));
    value::number(call.env(), f64::from(offset))
}

/// `unpark(offset)`; offsets that are not parked are left alone
fn unpark(call: Call<'_>) -> Value {
    call.state.unpark(call.args.u32(0));
    value::undefined()
}

/// `parkedSoFar() → number` of blocks that have been parked
fn parked_so_far(call: Call<'_>) -> Value {
    value::number(call.env(), call.state.parked_so_far() as f64)
}

/// `unparkedSoFar() → number` of them that came before the oldest that still is
fn unparked_so_far(call: Call<'_>) -> Value {
    value::number(call.env(), call.state.unparked_so_far() as f64)
}

// ---- commands

fn flush(call: Call<'_>) -> Value {
    call.state.flush();
    value::undefined()
}

/// `flushDue(events) → events until the next call`
fn flush_due(call: Call<'_>) -> Value {
    let stride = call.state.flush_due(call.args.u32(0));
    value::integer(call.env(), stride as i32)
}

/// `startStretch() → events until the first flushDue`
fn start_stretch(call: Call<'_>) -> Value {
    let stride = call.state.start_stretch();
    value::integer(call.env(), stride as i32)
}

/// `drain()`: see `State::drain`
fn drain(call: Call<'_>) -> Value {
    call.state.drain();
    value::undefined()
}

/// `ring()`: the pump is called, as for events
fn ring(call: Call<'_>) -> Value {
    call.state.event_loop.ring();
    value::undefined()
}

/// `command(op, slot, generation, arg)`
fn command(call: Call<'_>) -> Value {
    if let Some(op) = Op::from_number(call.args.u32(0)) {
        call.state.command(op, call.id(1), call.args.u32(3));
    }
    value::undefined()
}

/// Appends the data argument as the payload of the record begun at `start`. `None`: neither text nor data.
fn finish_with_data(call: &mut Call<'_>, start: usize, index: usize) -> Option<usize> {
    let (env, data) = (call.env(), call.args.value(index));
    match value::view_bytes(env, data) {
        Some(bytes) if bytes.len() >= OWNED_PAYLOAD => {
            let copy = call.state.blocks().copy(bytes);
            call.state.commands().finish_owned(start, copy);
            Some(bytes.len())
        }
        Some(bytes) => {
            let commands = call.state.commands();
            commands.payload().extend_from_slice(bytes);
            commands.finish(start);
            Some(bytes.len())
        }
        None => finish_with_text(call, start, data),
    }
}

fn finish_with_text(call: &mut Call<'_>, start: usize, text: Value) -> Option<usize> {
    let env = call.env();
    let commands = call.state.commands();
    let Some(len) = value::append_string(env, text, commands.payload()) else {
        commands.cancel(start);
        return None;
    };
    if len < OWNED_PAYLOAD {
        commands.finish(start);
        return Some(len);
    }
    let blocks = call.state.blocks().clone();
    call.state.commands().finish_moving(start, len, &blocks);
    Some(len)
}

/// `send(data)`, with slot, generation, flags and maxBackpressure in the registers, with the answer in [`ANSWER`]: 1 sent,
/// 0 backpressure, 2 dropped, 3 neither text nor data
fn send(mut call: Call<'_>) -> Value {
    let [slot, generation, flags, limit] = call.state.registers.read();
    let id = ConnId { slot, generation };
    let mut answer = call.state.admit(id, limit as usize);
    if answer != 2 {
        let start = call.state.commands().begin(Op::Send, flags, id, 0, 0);
        match finish_with_data(&mut call, start, 0) {
            Some(len) => {
                call.state.count_answer(id, len);
                call.state.after_command();
            }
            None => answer = NEITHER,
        }
    }
    call.state.registers.put(ANSWER, &[answer]);
    value::undefined()
}

/// The register of the answer, in which JavaScript leaves nothing: with the state goes the last word in it.
pub const ANSWER: usize = 6;
/// Answered by the one who is not there any more: a message is dropped, a response does not go on.
pub const GONE: u32 = 2;
/// Answered for what is neither text nor data.
pub const NEITHER: u32 = 3;

/// `end(slot, generation, code, reason) → 0, or -1`
fn end(mut call: Call<'_>) -> Value {
    let (env, id) = (call.env(), call.id(0));
    let start = call.state.commands().begin(Op::End, 0, id, call.args.u32(2), 0);
    let done = finish_with_data(&mut call, start, 3).is_some();
    call.state.after_command();
    value::integer(env, if done { 0 } else { -1 })
}

/// `publish(topic, senderSlot, senderGeneration, data, flags) → 0, or -1`; slot -1: nobody is left out
fn publish(mut call: Call<'_>) -> Value {
    let (env, flags) = (call.env(), call.args.u32(4));
    let sender = call.args.f64(1);
    let id = if sender < 0.0 { ConnId { slot: NOBODY, generation: 0 } } else { call.id(1) };
    let flags = flags & (send_flag::BINARY | send_flag::COMPRESS);
    let start = call.state.commands().begin(Op::Publish, flags, id, call.args.u32(0), 0);
    let done = finish_with_data(&mut call, start, 3).is_some();
    call.state.after_command();
    value::integer(env, if done { 0 } else { -1 })
}

/// `buffered(slot, generation) → bytes`
fn buffered(call: Call<'_>) -> Value {
    let id = call.id(0);
    let buffered = call.state.tell_buffered(id);
    value::number(call.env(), buffered as f64)
}

/// Appends status and headers as the first parts of a record's payload. False: one is neither text nor data.
fn append_parts(call: &mut Call<'_>, first: usize) -> bool {
    let (env, parts) = (call.env(), [call.args.value(first), call.args.value(first + 1)]);
    let arena = call.state.commands().payload();
    let at = begin_parts(arena);
    for (index, part) in parts.into_iter().enumerate() {
        let Some(len) = value::append_data(env, part, arena) else { return false };
        set_part(arena, at, index, len);
    }
    true
}

/// `respond(body)`, with op, slot, generation, flags, and the halves of the length in the registers, with the answer in
/// [`ANSWER`]
///
/// 1 means "write on". 0: the kernel has refused bytes or much is on its way; `Writable` follows once it is gone. 3: neither
/// text nor data.
fn respond(call: Call<'_>) -> Value {
    respond_with(call, |call| {
        begin_parts(call.state.commands().payload());
        true
    })
}

/// `respondWithHead(body, status, headers)`: the same with a status and lines of headers
fn respond_with_head(call: Call<'_>) -> Value {
    respond_with(call, |call| append_parts(call, 1))
}

fn respond_with(mut call: Call<'_>, append_head: impl FnOnce(&mut Call<'_>) -> bool) -> Value {
    let answer = try_respond(&mut call, append_head).unwrap_or(NEITHER);
    call.state.registers.put(ANSWER, &[answer]);
    value::undefined()
}

fn try_respond(call: &mut Call<'_>, append_head: impl FnOnce(&mut Call<'_>) -> bool) -> Option<u32> {
    let [op, slot, generation, flags, low, high] = call.state.registers.read();
    let id = ConnId { slot, generation };
    let op = Op::from_number(op).filter(|op| matches!(op, Op::Respond | Op::Write | Op::Finish))?;
    let start = call.state.commands().begin(op, flags, id, low, high);
    if !append_head(call) {
        call.state.commands().cancel(start);
        return None;
    }
    let len = finish_with_data(call, start, 0)?;
    call.state.count_answer(id, len);
    let (backlog, flight) = call.state.backlog_and_flight(id);
    let go_on = backlog == 0 && flight < TRY_END_WINDOW;
    if op == Op::Write && !go_on {
        call.state.command(Op::WantWritable, id, 0);
    }
    call.state.after_command();
    Some(u32::from(go_on))
}

/// `tryEnd(slot, generation, flags, status, headers, body, total) → bytes accepted, or -1`
///
/// Takes what keeps the bytes in flight within a window; for the rest JavaScript asks to be told when there is room.
fn try_end(mut call: Call<'_>) -> Value {
    let (env, id, total) = (call.env(), call.id(0), call.args.f64(6) as u64);
    let body = call.args.value(5);
    let (backlog, flight) = call.state.backlog_and_flight(id);
    let room = TRY_END_WINDOW.saturating_sub(backlog + flight);
    let start =
        call.state.commands().begin(Op::TryEnd, call.args.u32(2), id, total as u32, (total >> 32) as u32);
    if !append_parts(&mut call, 3) {
        call.state.commands().cancel(start);
        return value::integer(env, -1);
    }
    let mut text = Vec::new();
    let bytes = match value::view_bytes(env, body) {
        Some(bytes) => bytes,
        None if value::append_string(env, body, &mut text).is_some() => &text[..],
        None => {
            call.state.commands().cancel(start);
            return value::integer(env, -1);
        }
    };
    let accepted = &bytes[..bytes.len().min(room)];
    if accepted.len() >= OWNED_PAYLOAD {
        let copy = call.state.blocks().copy(accepted);
        call.state.commands().finish_owned(start, copy);
    } else {
        call.state.commands().payload().extend_from_slice(accepted);
        call.state.commands().finish(start);
    }
    call.state.count_sent(id, accepted.len());
    if accepted.len() < bytes.len() {
        call.state.command(Op::WantWritable, id, 0);
    }
    call.state.after_command();
    value::number(env, accepted.len() as f64)
}

/// `upgrade(slot, generation, behaviour, status, headers, key, protocol, extensions) → 0, or -1`
fn upgrade(mut call: Call<'_>) -> Value {
    let (env, id) = (call.env(), call.id(0));
    let start = call.state.commands().begin(Op::Upgrade, 0, id, call.args.u32(2), 0);
    // What the loop sees as the body, and acknowledges, is everything behind the first two parts.
    let Some(inner) = append_upgrade(&mut call) else {
        call.state.commands().cancel(start);
        return value::integer(env, -1);
    };
    call.state.commands().finish(start);
    call.state.count_sent(id, inner);
    call.state.after_command();
    value::integer(env, 0)
}

fn append_upgrade(call: &mut Call<'_>) -> Option<usize> {
    if !append_parts(call, 3) {
        return None;
    }
    let before = call.state.commands().payload().len();
    if !append_parts(call, 5) {
        return None;
    }
    let (env, extensions) = (call.env(), call.args.value(7));
    let arena = call.state.commands().payload();
    value::append_data(env, extensions, arena)?;
    Some(arena.len() - before)
}

// ---- the request being handled

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
fn request_header(call: Call<'_>) -> Value {
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
fn request_headers(call: Call<'_>) -> Value {
    let env = call.env();
    let fields = RequestBlock::of(&call);
    let values: Vec<Value> = fields
        .header_fields()
        .flat_map(|(name, val)| [value::latin1(env, name), value::utf8(env, val)])
        .collect();
    value::array(env, &values)
}

/// `requestPart(offset, length, part) → string`: 0 method, 1 path, 2 query (`undefined` without one)
fn request_part(call: Call<'_>) -> Value {
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
fn request_query(call: Call<'_>) -> Value {
    let mut key = Vec::new();
    if value::append_data(call.env(), call.args.value(2), &mut key).is_none() {
        return value::undefined();
    }
    let block = RequestBlock::of(&call);
    let found = block.query().and_then(|query| request::query_value(query, &key));
    found.map_or(value::undefined(), |decoded| text_or_bytes(&call, 3, &decoded))
}

/// `requestBody(offset, length, bytes) → ArrayBuffer` of the last `bytes` of the block
fn request_body(call: Call<'_>) -> Value {
    let block = call.state.payload(call.args.u32(0), call.args.u32(1));
    let start = block.len().saturating_sub(call.args.u32(2) as usize);
    value::array_buffer(call.env(), &block[start..])
}

/// `requestMatch(offset, length, index) → handler id, or -1`
fn request_match(call: Call<'_>) -> Value {
    let matched = RequestBlock::of(&call).matched(call.args.u32(2));
    value::number(call.env(), matched.map_or(-1.0, |(handler, ..)| f64::from(handler)))
}

/// `requestParameter(offset, length, match, index, asBytes) → string | ArrayBuffer`, empty when there is none
fn request_parameter(call: Call<'_>) -> Value {
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

// ---- addresses

fn address_of(call: &Call<'_>) -> Option<SocketAddr> {
    let ConnId { slot, generation } = call.id(0);
    let state = call.state.event_loop.shared.slots.get(slot);
    if call.args.u32(2) == 0 { state.peer(generation) } else { state.proxied(generation) }
}

/// `address(slot, generation, proxied) → ArrayBuffer` of 0, 4 or 16 bytes
fn address(call: Call<'_>) -> Value {
    match address_of(&call).map(|address| address.ip()) {
        None => value::array_buffer(call.env(), b""),
        Some(IpAddr::V4(ip)) => value::array_buffer(call.env(), &ip.octets()),
        Some(IpAddr::V6(ip)) => value::array_buffer(call.env(), &ip.octets()),
    }
}

/// `addressText(slot, generation, proxied) → ArrayBuffer`; IPv6 fully written out
fn address_text(call: Call<'_>) -> Value {
    let text = match address_of(&call).map(|address| address.ip()) {
        None => String::new(),
        Some(IpAddr::V4(ip)) => ip.to_string(),
        Some(IpAddr::V6(ip)) => ip.segments().map(|segment| format!("{segment:04x}")).join(":"),
    };
    value::array_buffer(call.env(), text.as_bytes())
}

/// `port(slot, generation, proxied) → number`
fn port(call: Call<'_>) -> Value {
    value::integer(call.env(), address_of(&call).map_or(0, |address| i32::from(address.port())))
}

// ---- without state

/// `detach(buffer)`
unsafe extern "C" fn detach_callback(env: Env, info: sys::napi_callback_info) -> Value {
    // SAFETY: env and info of the current call.
    let (args, _) = unsafe { Arguments::read(env, info, 1) };
    value::detach(env, args.value(0));
    value::undefined()
}

/// `byteLength(data) → bytes, or -1`
unsafe extern "C" fn byte_length_callback(env: Env, info: sys::napi_callback_info) -> Value {
    // SAFETY: as above.
    let (args, _) = unsafe { Arguments::read(env, info, 1) };
    let length = value::byte_length(env, args.value(0));
    value::number(env, length.map_or(-1.0, |n| n as f64))
}

/// `fatal(error)`: as if nobody had caught it. Listeners of `uncaughtException` run inside and may call the functions
/// above, so this one must have no state.
unsafe extern "C" fn fatal_callback(env: Env, info: sys::napi_callback_info) -> Value {
    // SAFETY: as above.
    let (args, _) = unsafe { Arguments::read(env, info, 1) };
    value::fatal_exception(env, args.value(0));
    value::undefined()
}
