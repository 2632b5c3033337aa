//! The calls that JavaScript makes for each event and message, registered as plain functions.
//!
//! Each gets the environment's [`Place`] as its data pointer, and answers 0 once there is no session in it.
//! Arguments come from our own JavaScript, which has checked the arguments of users; the checks that memory
//! safety needs are made again here and in `value.rs`. To text or data that is neither string nor buffer a
//! call answers `REFUSED`, or [`Answer::Neither`](crate::channel::Answer) among the call arguments, and
//! JavaScript finds out why.

mod address;
mod call;
mod commands;
mod events;
mod request;
mod respond;

use super::place::Place;
use super::value::{self, Arguments, Env, MAX_ARGUMENTS, Value};
use crate::channel::REFUSED;
use address::{address, address_text, client_address, client_certificate, port};
use call::Call;
use commands::{
    buffered, command, count_dropped, drain, end, flush, flush_due, publish, ring, send, start_stretch,
    unsent,
};
use events::{
    lend_payload, park, parked_so_far, payload, relieve, take, take_dropped, unpark, unparked_so_far,
};
use napi_sys as sys;
use request::{
    request_body, request_header, request_headers, request_match, request_parameter, request_part,
    request_query,
};
use respond::{end_flight, respond, respond_with_head, try_end, upgrade};
use std::ptr;

/// Defines the native callback around a function of `Call`. A number: that many arguments are read, instead
/// of all.
macro_rules! calls {
    ($($name:literal $(($count:literal))? => $function:ident as $callback:ident),* $(,)?) => {
        $(
            unsafe extern "C" fn $callback(env: Env, info: sys::napi_callback_info) -> Value {
                // SAFETY: Node calls this with the env and info of the current call, on the thread of the
                // environment; the data pointer is its Place. No such function calls back into JavaScript
                // while it uses the session, so the reference is the only one.
                let (args, session) = unsafe {
                    let (args, data) = Arguments::read(env, info, calls!(@count $($count)?));
                    (args, Place::of_pointer(data).session())
                };
                match session {
                    Some(session) => $function(Call { args, session }),
                    None => value::integer(env, 0),
                }
            }
        )*

        /// An object with all functions, bound to `place`.
        pub fn functions(env: Env, place: &'static Place) -> Value {
            let mut object = ptr::null_mut();
            // SAFETY: plain creation of a value in the current scope.
            unsafe { sys::napi_create_object(env, &mut object) };
            $(
                let function = value::function(env, $name, Some($callback), place.pointer());
                value::set_property(env, object, $name, function);
            )*
            for (name, callback) in SESSIONLESS {
                let function = value::function(env, name, Some(callback), ptr::null_mut());
                value::set_property(env, object, name, function);
            }
            object
        }
    };
    (@count) => { MAX_ARGUMENTS };
    (@count $count:literal) => { $count };
}

calls! {
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
    "countDropped" (1) => count_dropped as count_dropped_callback,
    "buffered" => buffered as buffered_callback,
    "unsent" => unsent as unsent_callback,
    "respond" (1) => respond as respond_callback,
    "respondWithHead" (3) => respond_with_head as respond_with_head_callback,
    "tryEnd" => try_end as try_end_callback,
    "endFlight" => end_flight as end_flight_callback,
    "upgrade" => upgrade as upgrade_callback,
    "requestHeader" => request_header as request_header_callback,
    "requestHeaders" => request_headers as request_headers_callback,
    "requestPart" => request_part as request_part_callback,
    "requestQuery" => request_query as request_query_callback,
    "requestBody" => request_body as request_body_callback,
    "requestMatch" => request_match as request_match_callback,
    "requestParameter" => request_parameter as request_parameter_callback,
    "address" => address as address_callback,
    "clientAddress" => client_address as client_address_callback,
    "addressText" => address_text as address_text_callback,
    "port" => port as port_callback,
    "clientCertificate" => client_certificate as client_certificate_callback,
}

type Callback = unsafe extern "C" fn(Env, sys::napi_callback_info) -> Value;

/// Functions that need no session.
const SESSIONLESS: [(&str, Callback); 3] =
    [("detach", detach_callback), ("byteLength", byte_length_callback), ("fatal", fatal_callback)];

/// `detach(buffer)`
unsafe extern "C" fn detach_callback(env: Env, info: sys::napi_callback_info) -> Value {
    // SAFETY: env and info of the current call.
    let (args, _) = unsafe { Arguments::read(env, info, 1) };
    value::detach(env, args.value(0));
    value::undefined()
}

/// `byteLength(data) → bytes, or REFUSED`
unsafe extern "C" fn byte_length_callback(env: Env, info: sys::napi_callback_info) -> Value {
    // SAFETY: as above.
    let (args, _) = unsafe { Arguments::read(env, info, 1) };
    let length = value::byte_length(env, args.value(0));
    value::number(env, length.map_or(f64::from(REFUSED), |n| n as f64))
}

/// `fatal(error)`: as if nobody had caught it. Listeners of `uncaughtException` run inside and may call the
/// functions above, so this one must hold no session.
unsafe extern "C" fn fatal_callback(env: Env, info: sys::napi_callback_info) -> Value {
    // SAFETY: as above.
    let (args, _) = unsafe { Arguments::read(env, info, 1) };
    value::fatal_exception(env, args.value(0));
    value::undefined()
}
