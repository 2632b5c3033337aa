//! N-API: the only module that knows JavaScript. It starts a loop, turns calls into commands and events into values.
//!
//! Rare calls are methods of [`Engine`] through napi-derive; the calls made per event and per message are plain
//! functions over `napi-sys` (`hot`). State belongs to one environment; its cleanup hook stops and joins the loop
//! before anything JavaScript owns goes away.

mod extras;
mod hot;
mod state;
mod tls;
mod value;

use crate::channel::{ConnId, Op, WakeJs};
use crate::declarative::Program;
use crate::event_loop::{Behaviour, Control, Loop, Timeouts, registry, socket};
use crate::protocol::request::{DEFAULT_MAX_HEAD, Limits, MAX_FIELDS};
use crate::router::{Method, Priority};
use napi::bindgen_prelude::{Function, Object, Unknown};
use napi::{Env, JsValue, Result};
use napi_derive::napi;
use napi_sys as sys;
use state::State;
use std::ffi::c_void;
use std::path::Path;
use std::ptr;

/// Wakes the JavaScript thread through a threadsafe function.
struct ThreadsafeWake(sys::napi_threadsafe_function);

// SAFETY: a threadsafe function may be called from any thread; it outlives the loop thread, which the cleanup hook
// joins before Node finalizes the function.
unsafe impl Send for ThreadsafeWake {}
// SAFETY: as above; the call takes Node's own lock.
unsafe impl Sync for ThreadsafeWake {}

impl WakeJs for ThreadsafeWake {
    fn wake(&self) {
        // SAFETY: see above. The only failure is that the environment is closing, when nobody needs to be woken.
        unsafe {
            sys::napi_call_threadsafe_function(
                self.0,
                ptr::null_mut(),
                sys::ThreadsafeFunctionCallMode::nonblocking,
            )
        };
    }
}

unsafe extern "C" fn call_pump(
    env: sys::napi_env,
    pump: sys::napi_value,
    _context: *mut c_void,
    _data: *mut c_void,
) {
    if env.is_null() || pump.is_null() {
        return;
    }
    // SAFETY: Node calls this on the JavaScript thread with a live env and function. An exception (the environment
    // is being terminated; the pump catches all others) stays pending for Node to see.
    unsafe {
        let mut receiver = ptr::null_mut();
        sys::napi_get_undefined(env, &mut receiver);
        sys::napi_call_function(env, receiver, pump, 0, ptr::null(), ptr::null_mut());
    }
}

unsafe extern "C" fn environment_ends(data: *mut c_void) {
    // SAFETY: the pointer is the box `Engine::new` leaked; a cleanup hook runs once, and no JavaScript after it.
    drop(unsafe { Box::from_raw(data.cast::<State>()) });
}

/// The options of a `ws` route, checked by JavaScript.
#[napi(object)]
pub struct BehaviourOptions {
    pub id: u32,
    pub max_payload_length: f64,
    pub idle_timeout: u32,
    /// In seconds.
    pub max_lifetime: u32,
    pub max_backpressure: f64,
    pub close_on_backpressure_limit: bool,
    pub send_pings_automatically: bool,
    pub reset_idle_timeout_on_send: bool,
    pub compression: u32,
    pub auto_upgrade: bool,
    pub wants: u32,
}

/// One loop and its connection to one JavaScript environment.
#[napi]
pub struct Engine {
    state: *mut State,
    wake: sys::napi_threadsafe_function,
}

#[napi]
impl Engine {
    /// Starts a loop that calls `pump` when there are events.
    #[napi(constructor)]
    pub fn new(env: Env, pump: Function<'_, (), ()>) -> Result<Self> {
        let wake = threadsafe_function(env.raw(), pump.raw())?;
        let event_loop = Loop::start(head_limits(), Box::new(ThreadsafeWake(wake)))
            .map_err(|error| napi::Error::from_reason(format!("the event loop could not start: {error}")))?;
        let state = Box::into_raw(Box::new(State::new(event_loop)));
        // SAFETY: the hook gets the pointer just leaked. It is added after the threadsafe function was made, hence
        // runs before that is finalized.
        unsafe { sys::napi_add_env_cleanup_hook(env.raw(), Some(environment_ends), state.cast()) };
        Ok(Engine { state, wake })
    }

    fn state(&mut self) -> &mut State {
        // SAFETY: the state lives until the cleanup hook, after which no method can be called; methods do not call
        // back into JavaScript, so this is the only reference.
        unsafe { &mut *self.state }
    }

    /// The functions called per event and per message.
    #[napi(ts_return_type = "object")]
    pub fn hot(&mut self, env: Env) -> Unknown<'_> {
        let functions = hot::functions(env.raw(), self.state);
        // SAFETY: the value was just created in the current scope.
        unsafe { Unknown::from_raw_unchecked(env.raw(), functions) }
    }

    /// Numbers JavaScript and Rust must agree on.
    #[napi(ts_return_type = "object")]
    pub fn constants<'a>(&self, env: &'a Env) -> Result<Object<'a>> {
        let mut constants = Object::new(env)?;
        constants.set("eventsPerTake", state::EVENTS_PER_TAKE as u32)?;
        constants.set("eventWords", crate::channel::EVENT_WORDS as u32)?;
        Ok(constants)
    }

    #[napi]
    pub fn add_app(&mut self, app: u32) {
        self.state().control(Control::AddApp { app });
    }

    #[napi]
    pub fn add_route(
        &mut self,
        app: u32,
        domain: Option<String>,
        method: String,
        pattern: String,
        handler: u32,
    ) -> Result<()> {
        let (method, pattern, priority) = (method_named(&method)?, pattern.into_bytes(), Priority::Medium);
        self.state().control(Control::Route { app, domain, method, pattern, priority, handler });
        Ok(())
    }

    #[napi]
    pub fn remove_route(
        &mut self,
        app: u32,
        domain: Option<String>,
        method: String,
        pattern: String,
    ) -> Result<()> {
        let (method, pattern) = (method_named(&method)?, pattern.into_bytes());
        self.state().control(Control::RemoveRoute { app, domain, method, pattern });
        Ok(())
    }

    #[napi]
    pub fn add_behaviour(&mut self, options: BehaviourOptions) {
        self.state().control(Control::Behaviour(Behaviour {
            id: options.id,
            max_payload: options.max_payload_length as usize,
            idle_timeout: options.idle_timeout,
            max_lifetime: options.max_lifetime,
            max_backpressure: options.max_backpressure as usize,
            close_on_backpressure_limit: options.close_on_backpressure_limit,
            send_pings: options.send_pings_automatically,
            reset_idle_timeout_on_send: options.reset_idle_timeout_on_send,
            compression: options.compression as u16,
            auto_upgrade: options.auto_upgrade,
            wants: options.wants,
        }));
    }

    /// Has the loop answer for `handler`, whose route is added after this; `program` is a buffer.
    #[napi]
    pub fn declare(&mut self, env: Env, handler: u32, pattern: String, program: Unknown<'_>) -> Result<()> {
        let bytes = value::view_bytes(env.raw(), program.raw()).unwrap_or_default();
        let program = Program::parse(bytes, pattern.as_bytes());
        let program = program.ok_or_else(|| {
            napi::Error::from_reason("handler is not what end() of a DeclarativeResponse returned.")
        })?;
        self.state().control(Control::Declared { handler, program });
        Ok(())
    }

    /// In seconds; 0: none.
    #[napi]
    pub fn timeouts(&mut self, app: u32, idle: u32, response: u32) {
        self.state().control(Control::Timeouts { app, timeouts: Timeouts { idle, response } });
    }

    #[napi]
    pub fn filter(&mut self, app: u32) {
        self.state().control(Control::Filter { app });
    }

    /// Binds on the calling thread, so that the answer is there at once: the port, or an error.
    #[napi]
    pub fn listen(
        &mut self,
        app: u32,
        listener: u32,
        host: Option<String>,
        port: u16,
        exclusive: bool,
    ) -> Result<u16> {
        let bound = socket::bind_tcp(host.as_deref(), port, exclusive)?;
        let port = bound.port.unwrap_or(0);
        self.state().control(Control::Listen { app, listener, bound });
        Ok(port)
    }

    #[napi]
    pub fn listen_unix(&mut self, app: u32, listener: u32, path: String) -> Result<()> {
        let bound = socket::bind_unix(Path::new(&path))?;
        self.state().control(Control::Listen { app, listener, bound });
        Ok(())
    }

    /// The number that stands for an app in the whole process.
    #[napi]
    pub fn descriptor(&mut self, app: u32) -> f64 {
        registry::descriptor(self.state().event_loop.remote(), app) as f64
    }

    #[napi]
    pub fn add_child(&mut self, app: u32, descriptor: f64) {
        self.state().control(Control::AddChild { app, descriptor: descriptor as u64 });
    }

    #[napi]
    pub fn remove_child(&mut self, app: u32, descriptor: f64) {
        self.state().control(Control::RemoveChild { app, descriptor: descriptor as u64 });
    }

    #[napi]
    pub fn close_listener(&mut self, listener: u32) {
        self.state().command(Op::CloseListener, ConnId::default(), listener);
        // As in the original nothing is accepted any more when this returns.
        self.state().settle();
    }

    #[napi]
    pub fn close_app(&mut self, app: u32) {
        self.state().command(Op::CloseApp, ConnId::default(), app);
        // As in the original nothing is accepted any more when this returns.
        self.state().settle();
    }

    /// Keeps the process alive while something listens or is open.
    #[napi]
    pub fn keep_alive(&self, env: Env, keep: bool) {
        // SAFETY: called on the JavaScript thread with the function of this environment.
        unsafe {
            if keep {
                sys::napi_ref_threadsafe_function(env.raw(), self.wake);
            } else {
                sys::napi_unref_threadsafe_function(env.raw(), self.wake);
            }
        }
    }

    /// Makes the loop thread panic, to test what JavaScript sees of it.
    #[napi]
    pub fn panic_for_test(&mut self, message: String) {
        self.state().control(Control::Panic(message));
    }
}

fn threadsafe_function(env: sys::napi_env, pump: sys::napi_value) -> Result<sys::napi_threadsafe_function> {
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
        return Err(napi::Error::from_reason("the threadsafe function could not be created"));
    }
    // SAFETY: as above; nothing listens yet, so the process may end.
    unsafe { sys::napi_unref_threadsafe_function(env, result) };
    Ok(result)
}

/// The head limit of the original, raised by the same environment variable.
fn head_limits() -> Limits {
    let raised = std::env::var("UWS_HTTP_MAX_HEADERS_SIZE").ok().and_then(|text| text.parse().ok());
    Limits { max_head: raised.unwrap_or(DEFAULT_MAX_HEAD), max_fields: MAX_FIELDS }
}

fn method_named(name: &str) -> Result<Method> {
    Ok(match name {
        "get" => Method::Get,
        "post" => Method::Post,
        "options" => Method::Options,
        "del" => Method::Delete,
        "patch" => Method::Patch,
        "put" => Method::Put,
        "head" => Method::Head,
        "connect" => Method::Connect,
        "trace" => Method::Trace,
        "any" => Method::Any,
        "ws" => Method::WebSocket,
        _ => return Err(napi::Error::from_reason(format!("unknown method '{name}'"))),
    })
}
