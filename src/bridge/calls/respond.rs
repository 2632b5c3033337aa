//! Calls about a response.

use super::call::Call;
use super::commands::finish_with_data;
use crate::bridge::backpressure::TRY_END_WINDOW;
use crate::bridge::value::{self, Arguments, Env, Value};
use crate::caching::etag;
use crate::channel::{
    ANSWER, Answer, OWNED_PAYLOAD, Op, REFUSED, RespondArgs, add_to_headers, begin_parts, flight_flag,
    set_part,
};

/// Appends status and headers as the first parts of a payload; returns where they begin. `None`: one is
/// neither text nor data.
fn append_parts(args: &Arguments, first: usize, payload: &mut Vec<u8>) -> Option<usize> {
    let at = begin_parts(payload);
    for index in 0..2 {
        let len = value::append_data(args.env, args.value(first + index), payload)?;
        set_part(payload, at, index, len);
    }
    Some(at)
}

/// `respond(body)`, with [`RespondArgs`] among the call arguments and an [`Answer`] in [`ANSWER`]
pub fn respond(call: Call<'_>) -> Value {
    respond_with(call, |_, payload| {
        begin_parts(payload);
        Some(())
    })
}

/// `respondWithHead(body, status, headers)`: the same with a status and lines of headers
pub fn respond_with_head(call: Call<'_>) -> Value {
    respond_with(call, |args, payload| append_parts(args, 1, payload).map(drop))
}

type AppendHead = fn(&Arguments, &mut Vec<u8>) -> Option<()>;

fn respond_with(mut call: Call<'_>, append_head: AppendHead) -> Value {
    let answer = try_respond(&mut call, append_head).unwrap_or(Answer::Neither);
    call.session.call_args.put(ANSWER, &[answer as u32]);
    value::undefined()
}

fn try_respond(call: &mut Call<'_>, append_head: AppendHead) -> Option<Answer> {
    let RespondArgs { op, id, flags, length } = RespondArgs::read(call.session.call_args.read());
    let op = Op::from_number(op).filter(|op| matches!(op, Op::Respond | Op::Write | Op::Finish))?;
    let (mut record, blocks) = call.session.record(op, flags, id, length as u32, (length >> 32) as u32);
    append_head(&call.args, record.payload())?;
    let len = finish_with_data(record, blocks, call.args.env, call.args.value(0))?;
    call.session.count_answer(id, len);
    let (backlog, flight) = call.session.backlog_and_flight(id);
    let go_on = backlog == 0 && flight < TRY_END_WINDOW;
    if op == Op::Write && !go_on {
        call.session.command(Op::WantWritable, id, 0);
    }
    call.session.after_command();
    Some(if go_on { Answer::Sent } else { Answer::Backpressure })
}

/// `endFlight(flight, its high half, flags, status, headers, body) → 0, or REFUSED`: the answer of a cached
/// route's handler. It counts in no account of a connection, since it is for any number of them.
pub fn end_flight(call: Call<'_>) -> Value {
    let env = call.env();
    let done = try_end_flight(call);
    value::integer(env, if done.is_some() { 0 } else { REFUSED })
}

fn try_end_flight(call: Call<'_>) -> Option<usize> {
    let (env, id, flags, body) = (call.env(), call.id(0), call.args.u32(2), call.args.value(5));
    let tag = if flags & flight_flag::ETAG != 0 { Some(tag_of(env, body)?) } else { None };
    let (mut record, blocks) = call.session.record(Op::EndFlight, flags, id, 0, 0);
    let at = append_parts(&call.args, 3, record.payload())?;
    if let Some(tag) = tag {
        add_to_headers(record.payload(), at, format!("ETag: {tag}\r\n").as_bytes());
    }
    let done = finish_with_data(record, blocks, env, body);
    call.session.after_command();
    done
}

/// The entity tag of text or data.
fn tag_of(env: Env, body: Value) -> Option<String> {
    if let Some(bytes) = value::view_bytes(env, body) {
        return Some(etag::of(bytes));
    }
    let mut text = Vec::new();
    value::append_string(env, body, &mut text)?;
    Some(etag::of(&text))
}

/// `tryEnd(slot, generation, flags, status, headers, body, total) → bytes accepted, or REFUSED`
///
/// Accepts bytes until those in flight fill the window. If some are left, it asks the loop to tell JavaScript
/// when there is room.
pub fn try_end(mut call: Call<'_>) -> Value {
    let accepted = accept_part(&mut call);
    call.session.after_command();
    accepted.map_or(value::integer(call.env(), REFUSED), |bytes| value::number(call.env(), bytes as f64))
}

fn accept_part(call: &mut Call<'_>) -> Option<usize> {
    let (env, id, total) = (call.env(), call.id(0), call.args.f64(6) as u64);
    let (backlog, flight) = call.session.backlog_and_flight(id);
    let room = TRY_END_WINDOW.saturating_sub(backlog + flight);
    let flags = call.args.u32(2);
    let (mut record, blocks) = call.session.record(Op::TryEnd, flags, id, total as u32, (total >> 32) as u32);
    append_parts(&call.args, 3, record.payload())?;
    let (mut text, body) = (Vec::new(), call.args.value(5));
    let bytes = match value::view_bytes(env, body) {
        Some(bytes) => bytes,
        None => {
            value::append_string(env, body, &mut text)?;
            &text[..]
        }
    };
    let accepted = &bytes[..bytes.len().min(room)];
    if accepted.len() >= OWNED_PAYLOAD {
        record.finish_owned(blocks.copy(accepted));
    } else {
        record.payload().extend_from_slice(accepted);
        record.finish();
    }
    call.session.count_sent(id, accepted.len());
    if accepted.len() < bytes.len() {
        call.session.command(Op::WantWritable, id, 0);
    }
    Some(accepted.len())
}

/// `upgrade(slot, generation, behaviour, status, headers, key, protocol, extensions) → 0, or REFUSED`
pub fn upgrade(call: Call<'_>) -> Value {
    let (env, id) = (call.env(), call.id(0));
    let (mut record, _) = call.session.record(Op::Upgrade, 0, id, call.args.u32(2), 0);
    let Some(inner) = append_upgrade(&call.args, record.payload()) else {
        return value::integer(env, REFUSED);
    };
    record.finish();
    call.session.count_sent(id, inner);
    call.session.after_command();
    value::integer(env, 0)
}

/// Returns the bytes behind the first two parts: the loop takes all of them for the body, and acknowledges
/// it.
fn append_upgrade(args: &Arguments, payload: &mut Vec<u8>) -> Option<usize> {
    append_parts(args, 3, payload)?;
    let before = payload.len();
    append_parts(args, 5, payload)?;
    value::append_data(args.env, args.value(7), payload)?;
    Some(payload.len() - before)
}
