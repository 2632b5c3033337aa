//! Calls about events and their payloads.

use super::call::Call;
use crate::bridge::value::{self, Value};
use crate::channel::PayloadArgs;

/// `take() → number` of events whose headers are in the event words now
pub fn take(call: Call<'_>) -> Value {
    let count = call.session.take();
    value::integer(call.env(), count as i32)
}

/// `takeDropped() → number` of `Dropped` events whose headers are in the event words now
pub fn take_dropped(call: Call<'_>) -> Value {
    let count = call.session.take_dropped();
    value::integer(call.env(), count as i32)
}

/// `relieve(begin)`: see `Session::relieve`
pub fn relieve(call: Call<'_>) -> Value {
    call.session.relieve(call.args.u32(0) != 0);
    value::undefined()
}

/// `payload(offset, length) → ArrayBuffer`
pub fn payload(call: Call<'_>) -> Value {
    let (offset, len) = (call.args.u32(0), call.args.u32(1));
    payload_at(call, offset, len)
}

/// `lendPayload(done) → ArrayBuffer`, with [`PayloadArgs`] among the call arguments; `done` is one that is to
/// be detached first, if any
pub fn lend_payload(call: Call<'_>) -> Value {
    value::detach(call.env(), call.args.value(0));
    let PayloadArgs { offset, length } = PayloadArgs::read(call.session.call_args.read());
    payload_at(call, offset, length)
}

fn payload_at(call: Call<'_>, offset: u32, len: u32) -> Value {
    match call.session.take_owned(offset) {
        Some(owned) => value::external_array_buffer(call.env(), owned, call.session.blocks()),
        None => value::array_buffer(call.env(), call.session.payload(offset, len)),
    }
}

/// `park(offset, length) → offset` that stays valid until `unpark`
pub fn park(call: Call<'_>) -> Value {
    let offset = call.session.park(call.args.u32(0), call.args.u32(1));
    value::number(call.env(), f64::from(offset))
}

/// `unpark(offset)`; offsets that are not parked are left alone
pub fn unpark(call: Call<'_>) -> Value {
    call.session.unpark(call.args.u32(0));
    value::undefined()
}

/// `parkedSoFar() → number` of blocks that have been parked
pub fn parked_so_far(call: Call<'_>) -> Value {
    value::number(call.env(), call.session.parked_so_far() as f64)
}

/// `unparkedSoFar() → number` of them that came before the oldest that still is
pub fn unparked_so_far(call: Call<'_>) -> Value {
    value::number(call.env(), call.session.unparked_so_far() as f64)
}
