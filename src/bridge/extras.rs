//! Functions of the module that need no loop: multipart bodies and the process-wide key-value helpers.

use super::value::{self, Value};
use crate::channel::Budget;
use crate::event_loop::net::uring::Uring;
use crate::event_loop::registry;
use crate::protocol::http::multipart;
use crate::store::{INTEGERS, LOCK, STRINGS};
use napi::bindgen_prelude::Unknown;
use napi::{Env, JsValue, Result};
use napi_derive::napi;
use napi_sys as sys;
use std::cell::Cell;
use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

/// The parts of a body, which is a buffer or a view. `undefined` when the content type is no multipart type.
#[napi(ts_return_type = "Array<object> | undefined")]
pub fn multipart_parts<'a>(env: &'a Env, body: Unknown<'a>, content_type: Unknown<'a>) -> Unknown<'a> {
    let bytes = value::view_bytes(env.raw(), body.raw()).unwrap_or_default();
    let parts = multipart::boundary(&data(env, content_type)).map(|boundary| {
        let parts = multipart::parts(bytes, &boundary);
        let objects: Vec<Value> = parts.iter().map(|part| part_object(env.raw(), part)).collect();
        value::array(env.raw(), &objects)
    });
    let result = parts.unwrap_or_else(|| value::undefined_value(env.raw()));
    // SAFETY: the value was just created in the current scope.
    unsafe { Unknown::from_raw_unchecked(env.raw(), result) }
}

fn part_object(env: sys::napi_env, part: &multipart::Part<'_>) -> Value {
    let object = value::object(env);
    value::set_property(env, object, "data", value::array_buffer(env, part.data));
    let texts =
        [("name", part.name.as_deref()), ("type", part.content_type), ("filename", part.filename.as_deref())];
    for (name, text) in texts {
        if let Some(text) = text {
            value::set_property(env, object, name, value::utf8(env, text));
        }
    }
    object
}

/// A copy of text or data. The bytes stay as they are: keys, collections and values need not be text.
fn data(env: &Env, value: Unknown<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    value::append_data(env.raw(), value.raw(), &mut bytes);
    bytes
}

fn text<'a>(env: &'a Env, bytes: &[u8]) -> Unknown<'a> {
    // SAFETY: the value was just created in the current scope.
    unsafe { Unknown::from_raw_unchecked(env.raw(), value::utf8(env.raw(), bytes)) }
}

fn texts<'a>(env: &'a Env, keys: &[Vec<u8>]) -> Unknown<'a> {
    let keys: Vec<Value> = keys.iter().map(|key| value::utf8(env.raw(), key)).collect();
    // SAFETY: as above.
    unsafe { Unknown::from_raw_unchecked(env.raw(), value::array(env.raw(), &keys)) }
}

#[napi(ts_return_type = "string")]
pub fn store_get_string<'a>(env: &'a Env, collection: Unknown<'a>, key: Unknown<'a>) -> Unknown<'a> {
    text(env, &STRINGS.get(&data(env, collection), &data(env, key)))
}

#[napi]
pub fn store_set_string(env: &Env, collection: Unknown<'_>, key: Unknown<'_>, value: Unknown<'_>) {
    let value = data(env, value);
    STRINGS.update(data(env, collection), data(env, key), |_| value);
}

#[napi(ts_return_type = "string[]")]
pub fn store_string_keys<'a>(env: &'a Env, collection: Unknown<'a>) -> Unknown<'a> {
    texts(env, &STRINGS.keys(&data(env, collection)))
}

#[napi]
pub fn store_delete_string(env: &Env, collection: Unknown<'_>, key: Unknown<'_>) {
    STRINGS.delete(&data(env, collection), &data(env, key));
}

#[napi]
pub fn store_delete_strings(env: &Env, collection: Unknown<'_>) {
    STRINGS.delete_collection(&data(env, collection));
}

#[napi]
pub fn store_get_integer(env: &Env, collection: Unknown<'_>, key: Unknown<'_>) -> f64 {
    INTEGERS.get(&data(env, collection), &data(env, key))
}

#[napi]
pub fn store_set_integer(env: &Env, collection: Unknown<'_>, key: Unknown<'_>, value: f64) {
    INTEGERS.update(data(env, collection), data(env, key), |_| value);
}

#[napi]
pub fn store_increase_integer(env: &Env, collection: Unknown<'_>, key: Unknown<'_>, by: f64) -> f64 {
    INTEGERS.update(data(env, collection), data(env, key), |value| value + by)
}

#[napi(ts_return_type = "string[]")]
pub fn store_integer_keys<'a>(env: &'a Env, collection: Unknown<'a>) -> Unknown<'a> {
    texts(env, &INTEGERS.keys(&data(env, collection)))
}

#[napi]
pub fn store_delete_integer(env: &Env, collection: Unknown<'_>, key: Unknown<'_>) {
    INTEGERS.delete(&data(env, collection), &data(env, key));
}

#[napi]
pub fn store_delete_integers(env: &Env, collection: Unknown<'_>) {
    INTEGERS.delete_collection(&data(env, collection));
}

/// Sets the memory budget of the process, if `bytes` is given. Returns it, and how much of it is used.
#[napi]
pub fn memory_budget(bytes: Option<f64>) -> Vec<f64> {
    let budget = Budget::of_process();
    if let Some(bytes) = bytes {
        // The conversion saturates: infinity is no limit.
        budget.set_limit(bytes as usize);
        registry::wake_all();
    }
    let limit = if budget.limit() == usize::MAX { f64::INFINITY } else { budget.limit() as f64 };
    vec![limit, budget.used() as f64]
}

/// Whether loops of this process can use io_uring.
#[napi]
pub fn has_io_uring() -> bool {
    Uring::new().is_some()
}

/// Waits until no other thread holds the lock.
#[napi]
pub fn store_lock(env: Env) -> Result<()> {
    LOCK.lock(owner(env)).map_err(|error| napi::Error::from_reason(error.to_string()))
}

#[napi]
pub fn store_unlock(env: Env) -> Result<()> {
    LOCK.unlock(owner(env)).map_err(|error| napi::Error::from_reason(error.to_string()))
}

thread_local! {
    /// The number of this thread as an owner of the lock; 0: it has never asked for the lock.
    static OWNER: Cell<u64> = const { Cell::new(0) };
}

/// The number of the calling environment's thread; a lock it still holds when it ends is given back.
fn owner(env: Env) -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    OWNER.with(|owner| {
        if owner.get() == 0 {
            owner.set(NEXT.fetch_add(1, Ordering::Relaxed));
            // SAFETY: the hook needs no data; it runs on this thread when the environment ends.
            unsafe { sys::napi_add_env_cleanup_hook(env.raw(), Some(give_lock_back), ptr::null_mut()) };
        }
        owner.get()
    })
}

unsafe extern "C" fn give_lock_back(_data: *mut c_void) {
    // The error says that the thread does not hold it, which is the usual case.
    let _ = LOCK.unlock(OWNER.with(Cell::get));
}
