//! N-API: the only module that knows JavaScript. It starts a loop, turns calls into commands and events into values.
//!
//! Rare calls are methods of [`Engine`] through napi-derive; the calls made per event and per message are plain
//! functions over `napi-sys` (`hot`). State belongs to one environment; its cleanup hook stops and joins the loop
//! before anything JavaScript owns goes away.

mod extras;
mod hot;
mod processors;
mod state;
mod tls;
mod value;
mod wake;

use crate::channel::{ConnId, Op};
use crate::declarative::Program;
use crate::event_loop::{Behaviour, Control, Loop, Timeouts, registry, socket};
use crate::protocol::request::{DEFAULT_MAX_HEAD, Limits, MAX_FIELDS};
use crate::router::{Method, Priority};
use napi::bindgen_prelude::{Function, Object, Unknown};
use napi::{Env, JsValue, Result};
use napi_derive::napi;
use state::State;
use std::path::Path;
use value::Words;
use wake::Wake;

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
    wake: Wake,
}

#[napi]
impl Engine {
    /// Starts a loop that calls `pump` when there are events. `libuv`: the runtime is Node, whose event loop that is.
    /// `lends`: JavaScript may see memory of ours, which only an environment may that ends after all others.
    /// `events` and `registers` are memory shared with the hot functions, see there.
    #[napi(constructor)]
    pub fn new(
        env: Env,
        pump: Function<'_, (), ()>,
        libuv: bool,
        lends: bool,
        events: Unknown<'_>,
        registers: Unknown<'_>,
    ) -> Result<Self> {
        let words = |array: Unknown<'_>| {
            Words::of(env.raw(), array.raw()).ok_or_else(|| napi::Error::from_reason("no Uint32Array"))
        };
        let (events, registers) = (words(events)?, words(registers)?);
        let wake = Wake::new(env.raw(), pump.raw(), libuv)?;
        let event_loop = Loop::start(head_limits(), Box::new(wake)).map_err(|error| {
            wake.at_end(env.raw(), Box::new(|| {}));
            napi::Error::from_reason(format!("the event loop could not start: {error}"))
        })?;
        let state = Box::into_raw(Box::new(State::new(event_loop, lends, events, registers)));
        // SAFETY: the box just leaked, after whose end no JavaScript runs.
        wake.at_end(env.raw(), Box::new(move || drop(unsafe { Box::from_raw(state) })));
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
        self.wake.keep_alive(env.raw(), keep);
    }

    /// Makes the loop thread panic, to test what JavaScript sees of it.
    #[napi]
    pub fn panic_for_test(&mut self, message: String) {
        self.state().control(Control::Panic(message));
    }
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
