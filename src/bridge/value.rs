//! JavaScript values to Rust and back, straight through `napi-sys`, as far as the native functions need it.
//!
//! The functions are safe to call from a native callback with the `env` and the values it was given; they
//! check types, so that a wrong argument is a `None`, never undefined behaviour. Most `unsafe` of the crate
//! is here and in `wake.rs`; the rest is at the border to N-API and the C library elsewhere in `bridge`, and
//! at the border to the kernel in `event_loop/net/uring.rs`.

use crate::channel::buffers::{Blocks, Owned};
use napi_sys as sys;
use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;

pub type Env = sys::napi_env;
pub type Value = sys::napi_value;

/// The most arguments that a function of `calls` takes.
pub const MAX_ARGUMENTS: usize = 9;

/// The arguments of one native call.
pub struct Arguments {
    pub env: Env,
    values: [Value; MAX_ARGUMENTS],
}

impl Arguments {
    /// Reads the first `count` arguments and the data pointer the function was created with. Arguments that
    /// are missing are `undefined`. Those behind `count` are null, which every function here treats as a
    /// value of the wrong type.
    ///
    /// # Safety
    /// `env` and `info` must be those the current native callback was called with.
    pub unsafe fn read(env: Env, info: sys::napi_callback_info, count: usize) -> (Self, *mut c_void) {
        let mut count = count.min(MAX_ARGUMENTS);
        let mut values = [ptr::null_mut(); MAX_ARGUMENTS];
        let mut data = ptr::null_mut();
        // SAFETY: the caller's promise; the arrays are as long as `count` says.
        unsafe {
            sys::napi_get_cb_info(env, info, &mut count, values.as_mut_ptr(), ptr::null_mut(), &mut data);
        }
        (Arguments { env, values }, data)
    }

    pub fn value(&self, index: usize) -> Value {
        self.values[index]
    }

    /// The argument converted as by `ToUint32`; 0 if it is not a number.
    pub fn u32(&self, index: usize) -> u32 {
        let mut result = 0;
        // SAFETY: value and env belong to the current call; a wrong type leaves `result` alone.
        unsafe { sys::napi_get_value_uint32(self.env, self.values[index], &mut result) };
        result
    }

    pub fn f64(&self, index: usize) -> f64 {
        let mut result = 0.0;
        // SAFETY: as above.
        unsafe { sys::napi_get_value_double(self.env, self.values[index], &mut result) };
        result
    }
}

/// The memory of a typed array that both sides read and write numbers in: that costs nothing, while each
/// argument of a call costs some nanoseconds.
pub struct Words {
    start: *mut u32,
    len: usize,
}

impl Words {
    /// The memory of a Uint32Array, which is kept alive for as long as the environment lives. Our JavaScript
    /// never detaches it. `None`: the value is something else.
    pub fn of(env: Env, array: Value) -> Option<Self> {
        let (mut kind, mut len, mut data, mut reference) = (0, 0, ptr::null_mut(), ptr::null_mut());
        // SAFETY: plain calls with a value of the current scope.
        unsafe {
            let status = sys::napi_get_typedarray_info(
                env,
                array,
                &mut kind,
                &mut len,
                &mut data,
                ptr::null_mut(),
                ptr::null_mut(),
            );
            let fits = status == sys::Status::napi_ok && kind == sys::TypedarrayType::uint32_array;
            if !fits || sys::napi_create_reference(env, array, 1, &mut reference) != sys::Status::napi_ok {
                return None;
            }
        }
        Some(Words { start: data.cast(), len })
    }

    /// Reads the first words; 0 behind the end of the array.
    pub fn read<const COUNT: usize>(&self) -> [u32; COUNT] {
        let mut words = [0; COUNT];
        // SAFETY: within the memory, which lives; on the JavaScript thread, so nobody writes to it meanwhile.
        unsafe { ptr::copy_nonoverlapping(self.start, words.as_mut_ptr(), COUNT.min(self.len)) };
        words
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// Writes words from `index` on, if they fit.
    pub fn put(&mut self, index: usize, words: &[u32]) {
        if index.saturating_add(words.len()) <= self.len {
            // SAFETY: within the memory, as in `read`.
            unsafe { ptr::copy_nonoverlapping(words.as_ptr(), self.start.add(index), words.len()) };
        }
    }
}

/// The room that is tried first for a string, whose length is not known.
const STRING_GUESS: usize = 512;

/// Appends a string as UTF-8. `None`: the value is no string.
pub fn append_string(env: Env, value: Value, out: &mut Vec<u8>) -> Option<usize> {
    out.reserve(STRING_GUESS);
    let room = out.capacity() - out.len();
    let mut copied = 0;
    // SAFETY: the buffer has `room` writable bytes behind `len`; Node writes at most that many.
    let status = unsafe {
        let end = out.as_mut_ptr().add(out.len());
        sys::napi_get_value_string_utf8(env, value, end.cast(), room, &mut copied)
    };
    if status != sys::Status::napi_ok {
        return None;
    }
    // A text that may have been cut (before a character of up to four bytes, and the NUL) is read again in
    // full.
    if copied + 5 > room {
        let mut len = 0;
        // SAFETY: a null buffer asks for the length only; the second call has room for that and the NUL.
        unsafe {
            sys::napi_get_value_string_utf8(env, value, ptr::null_mut(), 0, &mut len);
            out.reserve(len + 1);
            let end = out.as_mut_ptr().add(out.len());
            sys::napi_get_value_string_utf8(env, value, end.cast(), len + 1, &mut copied);
        }
    }
    // SAFETY: Node has initialised `copied` bytes behind `len`.
    unsafe { out.set_len(out.len() + copied) };
    Some(copied)
}

/// The bytes of an ArrayBuffer or a view (typed array, Buffer, DataView). `None` for anything else.
///
/// The slice is valid until JavaScript runs again: no caller calls into JavaScript while it holds the slice.
pub fn view_bytes<'a>(env: Env, value: Value) -> Option<&'a [u8]> {
    let (mut is, mut data, mut len) = (false, ptr::null_mut(), 0);
    // SAFETY: `napi_is_buffer` is true for every ArrayBufferView, and then the info is that of the view; the
    // memory stays where it is as long as no JavaScript runs.
    unsafe {
        sys::napi_is_buffer(env, value, &mut is);
        if is {
            sys::napi_get_buffer_info(env, value, &mut data, &mut len);
            // For Deno a DataView is a buffer without bytes.
            if len == 0 {
                dataview_bytes(env, value, &mut data, &mut len);
            }
        } else {
            sys::napi_is_arraybuffer(env, value, &mut is);
            if !is {
                return None;
            }
            sys::napi_get_arraybuffer_info(env, value, &mut data, &mut len);
        }
        if len == 0 || data.is_null() {
            return Some(&[]);
        }
        Some(std::slice::from_raw_parts(data.cast::<u8>(), len))
    }
}

/// Sets `data` and `len` to the bytes of a DataView, and leaves them for anything else.
fn dataview_bytes(env: Env, value: Value, data: &mut *mut c_void, len: &mut usize) {
    let (mut is, mut buffer, mut offset) = (false, ptr::null_mut(), 0);
    // SAFETY: values of the current scope; the info is asked for a DataView only.
    unsafe {
        if sys::napi_is_dataview(env, value, &mut is) == sys::Status::napi_ok && is {
            sys::napi_get_dataview_info(env, value, len, data, &mut buffer, &mut offset);
        }
    }
}

/// Appends text or data. `None`: the value is neither; our JavaScript tells `undefined`, SharedArrayBuffer
/// and errors apart.
pub fn append_data(env: Env, value: Value, out: &mut Vec<u8>) -> Option<usize> {
    append_string(env, value, out).or_else(|| {
        let bytes = view_bytes(env, value)?;
        out.extend_from_slice(bytes);
        Some(bytes.len())
    })
}

/// The length in bytes of text or data.
pub fn byte_length(env: Env, value: Value) -> Option<usize> {
    let mut len = 0;
    // SAFETY: a null buffer asks for the length only; for a wrong type the call fails.
    let status = unsafe { sys::napi_get_value_string_utf8(env, value, ptr::null_mut(), 0, &mut len) };
    if status == sys::Status::napi_ok { Some(len) } else { view_bytes(env, value).map(<[u8]>::len) }
}

pub fn number(env: Env, n: f64) -> Value {
    let mut result = ptr::null_mut();
    // SAFETY: plain creation of a value in the current scope.
    unsafe { sys::napi_create_double(env, n, &mut result) };
    result
}

pub fn integer(env: Env, n: i32) -> Value {
    let mut result = ptr::null_mut();
    // SAFETY: as above.
    unsafe { sys::napi_create_int32(env, n, &mut result) };
    result
}

pub fn undefined() -> Value {
    ptr::null_mut()
}

/// A string of UTF-8. Node replaces invalid sequences.
pub fn utf8(env: Env, bytes: &[u8]) -> Value {
    let mut result = ptr::null_mut();
    // SAFETY: pointer and length are those of `bytes`, which Node copies.
    unsafe { sys::napi_create_string_utf8(env, bytes.as_ptr().cast(), bytes.len() as isize, &mut result) };
    result
}

pub fn object(env: Env) -> Value {
    let mut result = ptr::null_mut();
    // SAFETY: plain creation of a value in the current scope.
    unsafe { sys::napi_create_object(env, &mut result) };
    result
}

/// `undefined` as an element or a property, for which the null of `undefined()` is no value.
pub fn undefined_value(env: Env) -> Value {
    let mut result = ptr::null_mut();
    // SAFETY: as above.
    unsafe { sys::napi_get_undefined(env, &mut result) };
    result
}

pub fn latin1(env: Env, bytes: &[u8]) -> Value {
    let mut result = ptr::null_mut();
    // SAFETY: pointer and length are those of `bytes`, which Node copies.
    unsafe { sys::napi_create_string_latin1(env, bytes.as_ptr().cast(), bytes.len() as isize, &mut result) };
    result
}

pub fn array(env: Env, values: &[Value]) -> Value {
    let mut result = ptr::null_mut();
    // SAFETY: the values are of the current scope.
    unsafe {
        sys::napi_create_array_with_length(env, values.len(), &mut result);
        for (index, value) in values.iter().enumerate() {
            sys::napi_set_element(env, result, index as u32, *value);
        }
    }
    result
}

/// A new ArrayBuffer with a copy of `bytes`.
pub fn array_buffer(env: Env, bytes: &[u8]) -> Value {
    let (mut data, mut result) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: on success `data` points to `bytes.len()` fresh bytes.
    unsafe {
        let status = sys::napi_create_arraybuffer(env, bytes.len(), &mut data, &mut result);
        if status == sys::Status::napi_ok && !bytes.is_empty() && !data.is_null() {
            ptr::copy_nonoverlapping(bytes.as_ptr(), data.cast(), bytes.len());
        }
    }
    result
}

/// Memory of the loop that JavaScript sees. The ArrayBuffer owns it until `take_back`.
struct Lent {
    owned: Owned,
    home: Arc<Blocks>,
}

/// An ArrayBuffer over `owned` itself, or a copy where the runtime allows no external memory (Electron). Its
/// buffer goes back to `home` when the ArrayBuffer is detached or collected.
pub fn external_array_buffer(env: Env, owned: Owned, home: &Arc<Blocks>) -> Value {
    let mut lent = Box::new(Lent { owned, home: home.clone() });
    let bytes = lent.owned.bytes_mut();
    let (data, len) = (bytes.as_mut_ptr(), bytes.len());
    let hint = Box::into_raw(lent);
    let mut result = ptr::null_mut();
    // SAFETY: the memory lives until Node calls `take_back` with the hint, once, when the buffer is detached
    // or collected.
    let status = unsafe {
        sys::napi_create_external_arraybuffer(
            env,
            data.cast(),
            len,
            Some(take_back),
            hint.cast(),
            &mut result,
        )
    };
    if status == sys::Status::napi_ok {
        return result;
    }
    // SAFETY: Node did not take the memory, so the box is still ours.
    let lent = unsafe { Box::from_raw(hint) };
    array_buffer(env, lent.owned.bytes())
}

unsafe extern "C" fn take_back(_env: Env, _data: *mut c_void, hint: *mut c_void) {
    // SAFETY: the hint is the box `external_array_buffer` leaked, and Node calls a finalizer once.
    let lent = unsafe { Box::from_raw(hint.cast::<Lent>()) };
    lent.home.give(lent.owned.into_buffer());
}

/// Takes the memory of an ArrayBuffer away from JavaScript, for which its length is 0 from then on.
pub fn detach(env: Env, buffer: Value) {
    // SAFETY: a value of the current scope; if it is no ArrayBuffer, or may not be detached, the call fails.
    unsafe { sys::napi_detach_arraybuffer(env, buffer) };
}

/// Emits `uncaughtException` for an error that a handler threw. Without a listener Node ends the process.
pub fn fatal_exception(env: Env, error: Value) {
    // SAFETY: plain call with a value of the current scope.
    unsafe { sys::napi_fatal_exception(env, error) };
}

/// A JavaScript function that calls a native callback.
pub fn function(env: Env, name: &str, callback: sys::napi_callback, data: *mut c_void) -> Value {
    let mut result = ptr::null_mut();
    // SAFETY: name pointer and length belong together; `data` is handed back to the callback untouched.
    unsafe {
        sys::napi_create_function(
            env,
            name.as_ptr().cast(),
            name.len() as isize,
            callback,
            data,
            &mut result,
        );
    }
    result
}

pub fn set_property(env: Env, object: Value, name: &str, value: Value) {
    let mut key = ptr::null_mut();
    // SAFETY: as above; object and value are of the current scope.
    unsafe {
        sys::napi_create_string_utf8(env, name.as_ptr().cast(), name.len() as isize, &mut key);
        sys::napi_set_property(env, object, key, value);
    }
}
