//! How the loop wakes the JavaScript thread, and how that calls back into JavaScript.
//!
//! On Node the loop uses an async handle of libuv, whose functions Node exports to addons. A threadsafe
//! function writes to the same eventfd, but with its mutex held: the thread it wakes takes the core, waits
//! for that mutex and gives the core back, which costs two switches and two `futex` calls more for each wake.
//! Other runtimes have no libuv, or a part of it; there the loop uses a threadsafe function.

use super::flush::share_a_lone_processor;
use super::processor_time;
use super::value::{self, Env, Value};
use crate::channel::{Shared, WakeJs};
use napi::{Error, Result};
use napi_sys as sys;
use std::ffi::{CStr, c_int, c_void};
use std::mem::transmute;
use std::ptr;

/// Called once when the environment ends, before anything it owns goes away; no wake may follow it.
pub type AtEnd = Box<dyn FnOnce()>;

#[derive(Clone, Copy)]
pub enum Wake {
    Async(Async),
    Threadsafe(sys::napi_threadsafe_function),
}

// SAFETY: both kinds may be used from any thread. They live until the loop thread, the only other one that
// uses them, has been joined.
unsafe impl Send for Wake {}
// SAFETY: as above.
unsafe impl Sync for Wake {}

impl WakeJs for Wake {
    fn wake(&self) {
        // SAFETY: the handle or function lives, as above. A failure means that the environment is closing,
        // and then nobody needs to be woken.
        unsafe {
            match *self {
                Wake::Async(Async { uv, handle }) => {
                    (uv.async_send)(handle);
                }
                Wake::Threadsafe(function) => {
                    let mode = sys::ThreadsafeFunctionCallMode::nonblocking;
                    sys::napi_call_threadsafe_function(function, ptr::null_mut(), mode);
                }
            }
        }
    }

    fn loop_starts(&self, shared: &Shared) {
        share_a_lone_processor();
        processor_time::begin(&shared.counters.by_loop.processor);
    }
}

impl Wake {
    /// Makes the runtime call `pump` after a wake, once for several if they are close. `libuv`: the runtime
    /// is Node.
    pub fn new(env: Env, pump: Value, libuv: bool) -> Result<Self> {
        let uv = if libuv { Libuv::find() } else { None };
        match uv {
            Some(uv) => Async::new(env, pump, uv).map(Wake::Async),
            None => threadsafe_function(env, pump).map(Wake::Threadsafe),
        }
    }

    /// Makes the runtime call `at_end` when the environment ends.
    pub fn at_end(&self, env: Env, at_end: AtEnd) {
        match *self {
            Wake::Async(handle) => handle.at_end(env, at_end),
            Wake::Threadsafe(_) => {
                let data = Box::into_raw(Box::new(at_end));
                // SAFETY: the hook gets the pointer just leaked. It was added after the threadsafe function
                // was created, so it runs before that is finalized.
                unsafe { sys::napi_add_env_cleanup_hook(env, Some(run_at_end), data.cast()) };
            }
        }
    }

    /// Sets whether this keeps the process alive.
    pub fn keep_alive(&self, env: Env, keep: bool) {
        // SAFETY: called on the JavaScript thread, with what belongs to its environment.
        unsafe {
            match (*self, keep) {
                (Wake::Async(Async { uv, handle }), true) => (uv.reference)(handle),
                (Wake::Async(Async { uv, handle }), false) => (uv.unreference)(handle),
                (Wake::Threadsafe(function), true) => {
                    sys::napi_ref_threadsafe_function(env, function);
                }
                (Wake::Threadsafe(function), false) => {
                    sys::napi_unref_threadsafe_function(env, function);
                }
            }
        }
    }
}

// ---- libuv

type UvHandle = *mut c_void;
/// A callback, or a function, of one handle and nothing else.
type OfHandle = unsafe extern "C" fn(UvHandle);
type HandleSize = unsafe extern "C" fn(kind: c_int) -> usize;
type AsyncInit = unsafe extern "C" fn(*mut sys::uv_loop_s, UvHandle, OfHandle) -> c_int;
type AsyncSend = unsafe extern "C" fn(UvHandle) -> c_int;
type Close = unsafe extern "C" fn(UvHandle, OfHandle);

/// The functions that are used, by their C names without `uv_`.
#[derive(Clone, Copy)]
struct Libuv {
    handle_size: HandleSize,
    async_init: AsyncInit,
    async_send: AsyncSend,
    close: Close,
    reference: OfHandle,
    unreference: OfHandle,
}

/// `uv_handle_type` of an async handle; part of libuv's ABI.
const UV_ASYNC: c_int = 1;

impl Libuv {
    /// Looks for the functions in the process. `None`: it does not export all of them.
    fn find() -> Option<Self> {
        type Symbol = *mut c_void;
        fn symbol(name: &CStr) -> Option<Symbol> {
            // SAFETY: `dlsym` only looks the name up.
            let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
            (!found.is_null()).then_some(found)
        }
        // SAFETY: the types are those of libuv 1.x, whose ABI is stable, for the functions of these names.
        unsafe {
            Some(Libuv {
                handle_size: transmute::<Symbol, HandleSize>(symbol(c"uv_handle_size")?),
                async_init: transmute::<Symbol, AsyncInit>(symbol(c"uv_async_init")?),
                async_send: transmute::<Symbol, AsyncSend>(symbol(c"uv_async_send")?),
                close: transmute::<Symbol, Close>(symbol(c"uv_close")?),
                reference: transmute::<Symbol, OfHandle>(symbol(c"uv_ref")?),
                unreference: transmute::<Symbol, OfHandle>(symbol(c"uv_unref")?),
            })
        }
    }
}

/// An async handle. It belongs to the event loop of the environment until `close`.
#[derive(Clone, Copy)]
pub struct Async {
    uv: Libuv,
    handle: UvHandle,
}

/// The data of a handle, which owns it until `on_closed`.
struct Pump {
    env: Env,
    function: sys::napi_ref,
    /// The memory of the handle, in words large enough to align every member that libuv has in it.
    _handle: Box<[u128]>,
    hook: sys::napi_async_cleanup_hook_handle,
    at_end: Option<AtEnd>,
}

impl Async {
    fn new(env: Env, pump: Value, uv: Libuv) -> Result<Self> {
        let failed = || Error::from_reason("the event loop of the runtime could not be reached");
        let (mut event_loop, mut function) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: called on the JavaScript thread during a native call. The handle has the size libuv asks
        // for and lives until `on_closed`, and so does its data.
        unsafe {
            if sys::napi_get_uv_event_loop(env, &mut event_loop) != sys::Status::napi_ok {
                return Err(failed());
            }
            let words = (uv.handle_size)(UV_ASYNC).div_ceil(size_of::<u128>());
            let mut memory = vec![0u128; words].into_boxed_slice();
            let handle: UvHandle = memory.as_mut_ptr().cast();
            if (uv.async_init)(event_loop, handle, on_wake) != 0 {
                return Err(failed());
            }
            sys::napi_create_reference(env, pump, 1, &mut function);
            let hook = ptr::null_mut();
            let pump = Pump { env, function, _handle: memory, hook, at_end: None };
            *data_of(handle) = Box::into_raw(Box::new(pump));
            // Nothing listens yet, so the process may end.
            (uv.unreference)(handle);
            Ok(Async { uv, handle })
        }
    }

    fn at_end(self, env: Env, at_end: AtEnd) {
        // SAFETY: on the JavaScript thread, the only one that uses the data of the handle. The hook gets the
        // handle, which lives until the hook has closed it.
        unsafe {
            let pump = *data_of(self.handle);
            (*pump).at_end = Some(at_end);
            let data = Box::into_raw(Box::new(self)).cast();
            // An asynchronous hook, because the environment has to run its event loop until the handle is
            // closed.
            sys::napi_add_async_cleanup_hook(env, Some(close), data, &mut (*pump).hook);
        }
    }
}

unsafe extern "C" fn on_wake(handle: UvHandle) {
    // SAFETY: libuv calls this on the JavaScript thread with the handle of an `Async` that is not closed; the
    // data is its Pump.
    unsafe {
        let pump = *data_of(handle);
        call(&*pump);
    }
}

/// The place of a handle's data, which is the first member of every handle by libuv's ABI.
fn data_of(handle: UvHandle) -> *mut *mut Pump {
    handle.cast()
}

/// Calls `pump` as Node calls the callbacks of its own handles.
fn call(pump: &Pump) {
    let env = pump.env;
    let (mut scope, mut function) = (ptr::null_mut(), ptr::null_mut());
    let mut global = ptr::null_mut();
    // SAFETY: on the JavaScript thread of a live environment; values are used within the scope only. Without
    // an async context, as in the original.
    unsafe {
        if sys::napi_open_handle_scope(env, &mut scope) != sys::Status::napi_ok {
            return;
        }
        sys::napi_get_reference_value(env, pump.function, &mut function);
        sys::napi_get_global(env, &mut global);
        let none = ptr::null_mut();
        let status = sys::napi_make_callback(env, none, global, function, 0, ptr::null(), ptr::null_mut());
        report(env, status);
        sys::napi_close_handle_scope(env, scope);
    }
}

/// Reports an exception of the pump, which catches the errors of handlers. So the pump has a fault, or the
/// environment ends: then the exception is null, and the reason has been reported.
///
/// # Safety
///
/// On the JavaScript thread, in a handle scope; `status` is that of the call of the pump.
unsafe fn report(env: Env, status: sys::napi_status) {
    if status != sys::Status::napi_pending_exception {
        return;
    }
    let (mut error, mut kind) = (ptr::null_mut(), sys::ValueType::napi_null);
    // SAFETY: as the caller promises.
    unsafe {
        if sys::napi_get_and_clear_last_exception(env, &mut error) == sys::Status::napi_ok
            && sys::napi_typeof(env, error, &mut kind) == sys::Status::napi_ok
            && kind != sys::ValueType::napi_null
        {
            value::fatal_exception(env, error);
        }
    }
}

/// Called when the environment ends. The loop stops first, so that no thread sends any more; then the handle
/// is closed.
unsafe extern "C" fn close(_hook: sys::napi_async_cleanup_hook_handle, data: *mut c_void) {
    // SAFETY: the data is the box `at_end` leaked; a hook runs once, on the JavaScript thread.
    unsafe {
        let Async { uv, handle } = *Box::from_raw(data.cast::<Async>());
        let pump = *data_of(handle);
        if let Some(at_end) = (*pump).at_end.take() {
            at_end();
        }
        sys::napi_delete_reference((*pump).env, (*pump).function);
        (uv.close)(handle, on_closed);
    }
}

unsafe extern "C" fn on_closed(handle: UvHandle) {
    // SAFETY: libuv is done with the handle, whose data is the box `new` leaked; no one else uses either of
    // them any more.
    unsafe {
        let pump = Box::from_raw(*data_of(handle));
        sys::napi_remove_async_cleanup_hook(pump.hook);
    }
}

// ---- threadsafe function

fn threadsafe_function(env: Env, pump: Value) -> Result<sys::napi_threadsafe_function> {
    let (mut name, mut result) = (ptr::null_mut(), ptr::null_mut());
    let text = "uws-rs";
    // SAFETY: called on the JavaScript thread during a native call; all pointers are valid for its duration.
    let status = unsafe {
        sys::napi_create_string_utf8(env, text.as_ptr().cast(), text.len() as isize, &mut name);
        sys::napi_create_threadsafe_function(
            env,
            pump,
            ptr::null_mut(),
            name,
            0,
            1,
            ptr::null_mut(),
            None,
            ptr::null_mut(),
            Some(call_pump),
            &mut result,
        )
    };
    if status != sys::Status::napi_ok {
        return Err(Error::from_reason("the threadsafe function could not be created"));
    }
    // SAFETY: as above; nothing listens yet, so the process may end.
    unsafe { sys::napi_unref_threadsafe_function(env, result) };
    Ok(result)
}

unsafe extern "C" fn call_pump(env: Env, pump: Value, _context: *mut c_void, _data: *mut c_void) {
    if env.is_null() || pump.is_null() {
        return;
    }
    // SAFETY: the runtime calls this on the JavaScript thread, in a handle scope, with a live env and
    // function. No exception stays pending: Deno would leave it so until the environment ends, where napi-rs
    // clears it by a handle, without a scope for it.
    unsafe {
        let mut receiver = ptr::null_mut();
        sys::napi_get_undefined(env, &mut receiver);
        let status = sys::napi_call_function(env, receiver, pump, 0, ptr::null(), ptr::null_mut());
        report(env, status);
    }
}

unsafe extern "C" fn run_at_end(data: *mut c_void) {
    // SAFETY: the pointer is the box `at_end` leaked; a cleanup hook runs once.
    let at_end = unsafe { Box::from_raw(data.cast::<AtEnd>()) };
    at_end();
}
