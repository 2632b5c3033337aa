//! Calls that append a command, except those about a response, and calls that hand commands over.

use super::call::Call;
use crate::bridge::value::{self, Value};
use crate::channel::{ANSWER, Answer, OWNED_PAYLOAD, Op, REFUSED, SendArgs, send_flag};

pub fn flush(call: Call<'_>) -> Value {
    call.session.flush();
    value::undefined()
}

/// `flushDue(events) → events until the next call`
pub fn flush_due(call: Call<'_>) -> Value {
    let stride = call.session.flush_due(call.args.u32(0));
    value::integer(call.env(), stride as i32)
}

/// `startStretch() → events until the first flushDue`
pub fn start_stretch(call: Call<'_>) -> Value {
    let stride = call.session.start_stretch();
    value::integer(call.env(), stride as i32)
}

/// `drain()`: see `Session::drain`
pub fn drain(call: Call<'_>) -> Value {
    call.session.drain();
    value::undefined()
}

/// `ring()`: the pump is called, as for events
pub fn ring(call: Call<'_>) -> Value {
    call.session.event_loop.ring();
    value::undefined()
}

/// `command(op, slot, generation, arg)`
pub fn command(call: Call<'_>) -> Value {
    if let Some(op) = Op::from_number(call.args.u32(0)) {
        call.session.command(op, call.id(1), call.args.u32(3));
    }
    value::undefined()
}

/// Appends the data argument as the payload of the record begun at `start`. `None`: neither text nor data.
pub fn finish_with_data(call: &mut Call<'_>, start: usize, index: usize) -> Option<usize> {
    let (env, data) = (call.env(), call.args.value(index));
    match value::view_bytes(env, data) {
        Some(bytes) if bytes.len() >= OWNED_PAYLOAD => {
            let copy = call.session.blocks().copy(bytes);
            call.session.commands().finish_owned(start, copy);
            Some(bytes.len())
        }
        Some(bytes) => {
            let commands = call.session.commands();
            commands.payload().extend_from_slice(bytes);
            commands.finish(start);
            Some(bytes.len())
        }
        None => finish_with_text(call, start, data),
    }
}

fn finish_with_text(call: &mut Call<'_>, start: usize, text: Value) -> Option<usize> {
    let env = call.env();
    let commands = call.session.commands();
    let Some(len) = value::append_string(env, text, commands.payload()) else {
        commands.cancel(start);
        return None;
    };
    if len < OWNED_PAYLOAD {
        commands.finish(start);
        return Some(len);
    }
    let blocks = call.session.blocks().clone();
    call.session.commands().finish_moving(start, len, &blocks);
    Some(len)
}

/// `send(data)`, with [`SendArgs`] among the call arguments and an [`Answer`] in [`ANSWER`]
pub fn send(mut call: Call<'_>) -> Value {
    let SendArgs { id, flags, limit } = SendArgs::read(call.session.call_args.read());
    let mut answer = call.session.admit(id, limit as usize);
    if answer != Answer::Dropped {
        let start = call.session.commands().begin(Op::Send, flags, id, 0, 0);
        match finish_with_data(&mut call, start, 0) {
            Some(len) => {
                call.session.count_answer(id, len);
                call.session.after_command();
            }
            None => answer = Answer::Neither,
        }
    }
    call.session.call_args.put(ANSWER, &[answer as u32]);
    value::undefined()
}

/// `end(slot, generation, code, reason) → 0, or REFUSED`
pub fn end(mut call: Call<'_>) -> Value {
    let (env, id) = (call.env(), call.id(0));
    let start = call.session.commands().begin(Op::End, 0, id, call.args.u32(2), 0);
    let done = finish_with_data(&mut call, start, 3).is_some();
    call.session.after_command();
    value::integer(env, if done { 0 } else { REFUSED })
}

/// `publish(topic, senderSlot, senderGeneration, data, flags) → 0, or REFUSED`; slot NOBODY: nobody is left
/// out
pub fn publish(mut call: Call<'_>) -> Value {
    let (env, flags) = (call.env(), call.args.u32(4));
    let id = call.id(1);
    let flags = flags & (send_flag::BINARY | send_flag::COMPRESS);
    let start = call.session.commands().begin(Op::Publish, flags, id, call.args.u32(0), 0);
    let done = finish_with_data(&mut call, start, 3).is_some();
    call.session.after_command();
    value::integer(env, if done { 0 } else { REFUSED })
}

/// `buffered(slot, generation) → bytes`
pub fn buffered(call: Call<'_>) -> Value {
    let id = call.id(0);
    let buffered = call.session.tell_buffered(id);
    value::number(call.env(), buffered as f64)
}
