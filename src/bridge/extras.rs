//! Functions of the module that need no loop: multipart bodies and the process-wide key-value helpers.

use super::value::{self, Value};
use crate::protocol::multipart;
use crate::store::{INTEGERS, LOCK, STRINGS};
use napi::bindgen_prelude::Unknown;
use napi::{Env, JsValue, Result};
use napi_derive::napi;
use napi_sys as sys;
use std::cell::Cell;
use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

/// `body` is a buffer or a view. `undefined` when the content type is no multipart type.
#[napi(ts_return_type = "Array<object> | undefined")]
pub fn multipart_parts<'a>(env: &'a Env, body: Unknown<'a>, content_type: String) -> Unknown<'a> {
    let bytes = value::view_bytes(env.raw(), body.raw()).unwrap_or_default();
    let parts = multipart::boundary(content_type.as_bytes()).map(|boundary| {
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

#[napi]
pub fn store_get_string(collection: String, key: String) -> String {
    STRINGS.get(&collection, &key)
}

#[napi]
pub fn store_set_string(collection: String, key: String, value: String) {
    STRINGS.update(collection, key, |_| value);
}

#[napi]
pub fn store_string_keys(collection: String) -> Vec<String> {
    STRINGS.keys(&collection)
}

#[napi]
pub fn store_delete_string(collection: String, key: String) {
    STRINGS.delete(&collection, &key);
}

#[napi]
pub fn store_delete_strings(collection: String) {
    STRINGS.delete_collection(&collection);
}

#[napi]
pub fn store_get_integer(collection: String, key: String) -> f64 {
    INTEGERS.get(&collection, &key)
}

#[napi]
pub fn store_set_integer(collection: String, key: String, value: f64) {
    INTEGERS.update(collection, key, |_| value);
}

#[napi]
pub fn store_increase_integer(collection: String, key: String, by: f64) -> f64 {
    INTEGERS.update(collection, key, |value| value + by)
}

#[napi]
pub fn store_integer_keys(collection: String) -> Vec<String> {
    INTEGERS.keys(&collection)
}

#[napi]
pub fn store_delete_integer(collection: String, key: String) {
    INTEGERS.delete(&collection, &key);
}

#[napi]
pub fn store_delete_integers(collection: String) {
    INTEGERS.delete_collection(&collection);
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
    /// This thread's number as an owner of the lock; 0: it has never asked for it.
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
    // Not held is the usual case.
    let _ = LOCK.unlock(OWNER.with(Cell::get));
}
