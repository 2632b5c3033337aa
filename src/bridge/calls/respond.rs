//! Calls about a response.

use super::call::Call;
use super::commands::finish_with_data;
use crate::bridge::backpressure::TRY_END_WINDOW;
use crate::bridge::value::{self, Value};
use crate::channel::{ANSWER, Answer, OWNED_PAYLOAD, Op, REFUSED, RespondArgs, begin_parts, set_part};

/// Appends status and headers as the first parts of a record's payload. False: one is neither text nor data.
fn append_parts(call: &mut Call<'_>, first: usize) -> bool {
    let (env, parts) = (call.env(), [call.args.value(first), call.args.value(first + 1)]);
    let arena = call.session.commands().payload();
    let at = begin_parts(arena);
    for (index, part) in parts.into_iter().enumerate() {
        let Some(len) = value::append_data(env, part, arena) else { return false };
        set_part(arena, at, index, len);
    }
    true
}

/// `respond(body)`, with [`RespondArgs`] among the call arguments and an [`Answer`] in [`ANSWER`]
pub fn respond(call: Call<'_>) -> Value {
    respond_with(call, |call| {
        begin_parts(call.session.commands().payload());
        true
    })
}

/// `respondWithHead(body, status, headers)`: the same with a status and lines of headers
pub fn respond_with_head(call: Call<'_>) -> Value {
    respond_with(call, |call| append_parts(call, 1))
}

fn respond_with(mut call: Call<'_>, append_head: impl FnOnce(&mut Call<'_>) -> bool) -> Value {
    let answer = try_respond(&mut call, append_head).unwrap_or(Answer::Neither);
    call.session.call_args.put(ANSWER, &[answer as u32]);
    value::undefined()
}

fn try_respond(call: &mut Call<'_>, append_head: impl FnOnce(&mut Call<'_>) -> bool) -> Option<Answer> {
    let RespondArgs { op, id, flags, length } = RespondArgs::read(call.session.call_args.read());
    let op = Op::from_number(op).filter(|op| matches!(op, Op::Respond | Op::Write | Op::Finish))?;
    let start = call.session.commands().begin(op, flags, id, length as u32, (length >> 32) as u32);
    if !append_head(call) {
        call.session.commands().cancel(start);
        return None;
    }
    let len = finish_with_data(call, start, 0)?;
    call.session.count_answer(id, len);
    let (backlog, flight) = call.session.backlog_and_flight(id);
    let go_on = backlog == 0 && flight < TRY_END_WINDOW;
    if op == Op::Write && !go_on {
        call.session.command(Op::WantWritable, id, 0);
    }
    call.session.after_command();
    Some(if go_on { Answer::Sent } else { Answer::Backpressure })
}

/// `tryEnd(slot, generation, flags, status, headers, body, total) → bytes accepted, or REFUSED`
///
/// Accepts bytes until those in flight fill the window. If some are left, it asks the loop to tell JavaScript
/// when there is room.
pub fn try_end(mut call: Call<'_>) -> Value {
    let (env, id, total) = (call.env(), call.id(0), call.args.f64(6) as u64);
    let body = call.args.value(5);
    let (backlog, flight) = call.session.backlog_and_flight(id);
    let room = TRY_END_WINDOW.saturating_sub(backlog + flight);
    let start =
        call.session.commands().begin(Op::TryEnd, call.args.u32(2), id, total as u32, (total >> 32) as u32);
    if !append_parts(&mut call, 3) {
        call.session.commands().cancel(start);
        return value::integer(env, REFUSED);
    }
    let mut text = Vec::new();
    let bytes = match value::view_bytes(env, body) {
        Some(bytes) => bytes,
        None if value::append_string(env, body, &mut text).is_some() => &text[..],
        None => {
            call.session.commands().cancel(start);
            return value::integer(env, REFUSED);
        }
    };
    let accepted = &bytes[..bytes.len().min(room)];
    if accepted.len() >= OWNED_PAYLOAD {
        let copy = call.session.blocks().copy(accepted);
        call.session.commands().finish_owned(start, copy);
    } else {
        call.session.commands().payload().extend_from_slice(accepted);
        call.session.commands().finish(start);
    }
    call.session.count_sent(id, accepted.len());
    if accepted.len() < bytes.len() {
        call.session.command(Op::WantWritable, id, 0);
    }
    call.session.after_command();
    value::number(env, accepted.len() as f64)
}

/// `upgrade(slot, generation, behaviour, status, headers, key, protocol, extensions) → 0, or REFUSED`
pub fn upgrade(mut call: Call<'_>) -> Value {
    let (env, id) = (call.env(), call.id(0));
    let start = call.session.commands().begin(Op::Upgrade, 0, id, call.args.u32(2), 0);
    // The loop sees everything behind the first two parts as the body, and acknowledges it.
    let Some(inner) = append_upgrade(&mut call) else {
        call.session.commands().cancel(start);
        return value::integer(env, REFUSED);
    };
    call.session.commands().finish(start);
    call.session.count_sent(id, inner);
    call.session.after_command();
    value::integer(env, 0)
}

fn append_upgrade(call: &mut Call<'_>) -> Option<usize> {
    if !append_parts(call, 3) {
        return None;
    }
    let before = call.session.commands().payload().len();
    if !append_parts(call, 5) {
        return None;
    }
    let (env, extensions) = (call.env(), call.args.value(7));
    let arena = call.session.commands().payload();
    value::append_data(env, extensions, arena)?;
    Some(arena.len() - before)
}
