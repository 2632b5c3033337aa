//! Calls that append a command, except those about a response, and calls that hand commands over.

use super::call::Call;
use crate::bridge::value::{self, Env, Value};
use crate::channel::buffers::Blocks;
use crate::channel::{ANSWER, Answer, OWNED_PAYLOAD, Op, REFUSED, RecordWriter, SendArgs, send_flag};

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

/// Finishes a record with text or data as (the rest of) its payload. `None`: it is neither, and there is no
/// record.
pub fn finish_with_data(
    mut record: RecordWriter<'_>,
    blocks: &Blocks,
    env: Env,
    data: Value,
) -> Option<usize> {
    match value::view_bytes(env, data) {
        Some(bytes) if bytes.len() >= OWNED_PAYLOAD => {
            record.finish_owned(blocks.copy(bytes));
            Some(bytes.len())
        }
        Some(bytes) => {
            record.payload().extend_from_slice(bytes);
            record.finish();
            Some(bytes.len())
        }
        None => {
            let len = value::append_string(env, data, record.payload())?;
            match len < OWNED_PAYLOAD {
                true => record.finish(),
                false => record.finish_moving(len, blocks),
            }
            Some(len)
        }
    }
}

/// `send(data)`, with [`SendArgs`] among the call arguments and an [`Answer`] in [`ANSWER`]
pub fn send(call: Call<'_>) -> Value {
    let SendArgs { id, flags, limit } = SendArgs::read(call.session.call_args.read());
    let mut answer = call.session.admit(id, limit as usize);
    if answer != Answer::Dropped {
        let (record, blocks) = call.session.record(Op::Send, flags, id, 0, 0);
        match finish_with_data(record, blocks, call.args.env, call.args.value(0)) {
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
pub fn end(call: Call<'_>) -> Value {
    let (env, id) = (call.env(), call.id(0));
    let (record, blocks) = call.session.record(Op::End, 0, id, call.args.u32(2), 0);
    let done = finish_with_data(record, blocks, env, call.args.value(3)).is_some();
    call.session.after_command();
    value::integer(env, if done { 0 } else { REFUSED })
}

/// `publish(topic, senderSlot, senderGeneration, data, flags) → 0, or REFUSED`; slot NOBODY: nobody is left
/// out
pub fn publish(call: Call<'_>) -> Value {
    let (env, flags) = (call.env(), call.args.u32(4));
    let id = call.id(1);
    let flags = flags & (send_flag::BINARY | send_flag::COMPRESS);
    let (record, blocks) = call.session.record(Op::Publish, flags, id, call.args.u32(0), 0);
    let done = finish_with_data(record, blocks, env, call.args.value(3)).is_some();
    call.session.after_command();
    value::integer(env, if done { 0 } else { REFUSED })
}

/// `countDropped(app)`: a message that `send` dropped
pub fn count_dropped(call: Call<'_>) -> Value {
    call.session.count_dropped(call.args.u32(0));
    value::undefined()
}

/// `unsent(slot, generation) → bytes` on their way to a connection, with those that the kernel has refused
pub fn unsent(call: Call<'_>) -> Value {
    let id = call.id(0);
    let (backlog, flight) = call.session.backlog_and_flight(id);
    value::number(call.env(), (backlog + flight) as f64)
}

/// `buffered(slot, generation) → bytes`
pub fn buffered(call: Call<'_>) -> Value {
    let id = call.id(0);
    let buffered = call.session.tell_buffered(id);
    value::number(call.env(), buffered as f64)
}
