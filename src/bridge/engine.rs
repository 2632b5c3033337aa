//! The exported functions that are called rarely, through napi-derive. Each names its session by the engine's
//! number.

use super::place::{self, Place};
use super::session::Session;
use super::value::{self, Words};
use super::wake::Wake;
use super::{calls, exit, processor_time};
use crate::caching::{self, freshness::Lifetimes};
use crate::channel::{ExchangeId, Op, layout_number};
use crate::event_loop::net::adopted::{self, Unfit};
use crate::event_loop::net::listener;
use crate::event_loop::{Behaviour, Control, Loop, Timeouts, registry};
use crate::protocol::http::request::{DEFAULT_MAX_HEAD, Limits, MAX_FIELDS};
use crate::routing::declarative::Program;
use crate::routing::router::{Method, Priority};
use napi::bindgen_prelude::{Function, Unknown};
use napi::{Env, JsValue, Result};
use napi_derive::napi;
use std::ffi::OsStr;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The options of a `ws` route, which JavaScript has checked.
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

/// Starts a loop that calls `pump` when there are events; returns the number to name it by.
///
/// `libuv`: the runtime is Node, whose event loop is libuv's. `lends`: JavaScript may see memory of the loop,
/// which is safe only in an environment that ends after all others. `events` and `call_args` are memory by
/// which the functions of `calls` pass numbers.
#[napi]
pub fn start_engine(
    env: Env,
    pump: Function<'_, (), ()>,
    libuv: bool,
    lends: bool,
    events: Unknown<'_>,
    call_args: Unknown<'_>,
) -> Result<u32> {
    let words = |array: Unknown<'_>| {
        Words::of(env.raw(), array.raw()).ok_or_else(|| napi::Error::from_reason("no Uint32Array"))
    };
    let (events, call_args) = (words(events)?, words(call_args)?);
    let wake = Wake::new(env.raw(), pump.raw(), libuv)?;
    let event_loop = Loop::start(head_limits(), Box::new(wake)).map_err(|error| {
        wake.at_end(env.raw(), Box::new(|| {}));
        napi::Error::from_reason(format!("the event loop could not start: {error}"))
    })?;
    processor_time::begin(&event_loop.shared.counters.by_javascript.processor);
    let (place, number) = Place::for_session(Session::new(event_loop, wake, lends, events, call_args));
    wake.at_end(env.raw(), Box::new(|| place.vacate()));
    if lends {
        exit::drain_at_exit(place);
    }
    Ok(number)
}

/// The functions called for each event and message; see `calls`.
#[napi(ts_return_type = "object")]
pub fn call_functions(env: &Env, engine: u32) -> Result<Unknown<'_>> {
    let place = Place::numbered(engine).ok_or_else(|| napi::Error::from_reason("no engine"))?;
    let functions = calls::functions(env.raw(), place);
    // SAFETY: the value was just created in the current scope.
    Ok(unsafe { Unknown::from_raw_unchecked(env.raw(), functions) })
}

/// The number of the layout that the module was built with, for JavaScript to compare.
#[napi]
pub fn layout() -> u32 {
    layout_number()
}

/// The version of the package that the addon was built from, for JavaScript to compare with its own.
#[napi]
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// Sends a rare command. Does nothing once the environment has ended.
pub fn control(engine: u32, control: Control) {
    place::with(engine, |session| session.control(control));
}

/// Has the loop accept on a socket. An error once the environment has ended.
fn watch(engine: u32, listen: Control) -> Result<()> {
    let watched = place::with(engine, |session| session.control(listen));
    watched.ok_or_else(|| napi::Error::from_reason("the environment has ended"))
}

/// As in the original, no connection is accepted any more when this returns.
fn close(engine: u32, op: Op, number: u32) {
    place::with(engine, |session| {
        session.command(op, ExchangeId::default(), number);
        session.finish();
    });
}

#[napi]
pub fn add_app(engine: u32, app: u32) {
    control(engine, Control::AddApp { app });
}

#[napi]
pub fn add_route(
    engine: u32,
    env: Env,
    app: u32,
    domain: Option<String>,
    method: String,
    pattern: Unknown<'_>,
    handler: u32,
) -> Result<()> {
    let (method, pattern, priority) = (method_named(&method)?, data(env, &pattern), Priority::Medium);
    control(engine, Control::Route { app, domain, method, pattern, priority, handler });
    Ok(())
}

#[napi]
pub fn remove_route(
    engine: u32,
    env: Env,
    app: u32,
    domain: Option<String>,
    method: String,
    pattern: Unknown<'_>,
) -> Result<()> {
    let (method, pattern) = (method_named(&method)?, data(env, &pattern));
    control(engine, Control::RemoveRoute { app, domain, method, pattern });
    Ok(())
}

#[napi]
pub fn add_behaviour(engine: u32, options: BehaviourOptions) {
    control(
        engine,
        Control::Behaviour(Behaviour {
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
        }),
    );
}

/// Has the loop answer by itself for `handler`, whose route is added after this; `program` is a buffer.
#[napi]
pub fn declare(
    engine: u32,
    env: Env,
    handler: u32,
    pattern: Unknown<'_>,
    program: Unknown<'_>,
) -> Result<()> {
    let program = Program::parse(&data(env, &program), &data(env, &pattern));
    let program = program.map_err(|error| {
        napi::Error::from_reason(format!("handler is no program of a DeclarativeResponse: {error}."))
    })?;
    control(engine, Control::Declared { handler, program });
    Ok(())
}

/// The options of a cached route, which JavaScript has checked.
#[napi(object)]
pub struct CacheOptions {
    pub lower_expiry: u32,
    pub upper_expiry: u32,
    /// In seconds.
    pub timeout: u32,
    pub max_entries: u32,
    pub max_bytes: f64,
    /// Names of headers, in lower case.
    pub vary: Vec<String>,
    pub head: bool,
    pub compress: bool,
}

impl From<CacheOptions> for caching::Options {
    fn from(options: CacheOptions) -> Self {
        caching::Options {
            lifetimes: Lifetimes { lower: options.lower_expiry, upper: options.upper_expiry },
            timeout: options.timeout,
            vary: options.vary.into_iter().map(|name| name.into_bytes().into()).collect(),
            head: options.head,
            compress: options.compress,
            max_entries: options.max_entries as usize,
            max_bytes: options.max_bytes as usize,
        }
    }
}

/// Has the loop store the replies of `handler`, whose route is added after this.
#[napi]
pub fn cache(engine: u32, app: u32, handler: u32, options: CacheOptions) {
    control(engine, Control::Cached { handler, app, options: Box::new(options.into()) });
}

/// Forgets the stored replies of an app for a URL, or for all that begin as one that ends in `*`.
#[napi]
pub fn invalidate(engine: u32, env: Env, app: u32, url: Unknown<'_>) {
    control(engine, Control::Invalidate { app, url: data(env, &url) });
}

/// Timeouts of an app in seconds; 0: none.
#[napi]
pub fn timeouts(engine: u32, app: u32, idle: u32, response: u32) {
    control(engine, Control::Timeouts { app, timeouts: Timeouts { idle, response } });
}

#[napi]
pub fn filter(engine: u32, app: u32) {
    control(engine, Control::Filter { app });
}

/// Binds on the calling thread, so that the port or an error can be returned at once.
#[napi]
pub fn listen(
    engine: u32,
    app: u32,
    listener: u32,
    host: Option<String>,
    port: u16,
    exclusive: bool,
) -> Result<u16> {
    let bound = listener::bind_tcp(host.as_deref(), port, exclusive)?;
    let port = bound.port.unwrap_or(0);
    watch(engine, Control::Listen { app, listener, bound })?;
    Ok(port)
}

#[napi]
pub fn listen_unix(engine: u32, env: Env, app: u32, listener: u32, path: Unknown<'_>) -> Result<()> {
    let bound = listener::bind_unix(Path::new(OsStr::from_bytes(&data(env, &path))))?;
    watch(engine, Control::Listen { app, listener, bound })
}

/// Hands a connected socket over to an app, or a duplicate of it. `ip`: the address of the client in 4 or 16
/// bytes, instead of that of the peer. Returns code and text of an error, after which the descriptor is the
/// caller's as before.
#[napi]
pub fn adopt_socket(
    engine: u32,
    env: Env,
    app: u32,
    descriptor: i32,
    duplicate: bool,
    ip: Unknown<'_>,
) -> Option<Vec<String>> {
    let ip = address(&data(env, &ip));
    let adopted = place::with(engine, |session| {
        let (stream, peer) = adopted::adopt(descriptor, duplicate)?;
        let named = ip.map(|ip| SocketAddr::new(ip, peer.map_or(0, |peer| peer.port())));
        session.control(Control::Accepted { app, stream, peer: named.or(peer) });
        Ok(())
    });
    match adopted {
        Some(Ok(())) => None,
        Some(Err(error)) => Some(vec![Unfit::code(&error).to_owned(), error.to_string()]),
        None => Some(vec!["ECANCELED".to_owned(), "comes too late: the environment has ended".to_owned()]),
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// The number by which other environments of the process find an app.
#[napi]
pub fn descriptor(engine: u32, app: u32) -> f64 {
    place::with(engine, |session| registry::descriptor(session.event_loop.remote(), app) as f64)
        .unwrap_or_default()
}

#[napi]
pub fn add_child(engine: u32, app: u32, descriptor: f64) {
    control(engine, Control::AddChild { app, descriptor: descriptor as u64 });
}

#[napi]
pub fn remove_child(engine: u32, app: u32, descriptor: f64) {
    control(engine, Control::RemoveChild { app, descriptor: descriptor as u64 });
}

#[napi]
pub fn close_listener(engine: u32, listener: u32) {
    close(engine, Op::CloseListener, listener);
}

#[napi]
pub fn close_app(engine: u32, app: u32) {
    close(engine, Op::CloseApp, app);
}

/// The app accepts nothing more, and ends within so many seconds. `begins`: JavaScript does not wait for the
/// end of an earlier call.
#[napi]
pub fn shut_down(engine: u32, app: u32, seconds: u32, begins: bool) {
    place::with(engine, |session| {
        if !begins {
            return session.control(Control::HurryUp { app, seconds });
        }
        registry::forget_app(&session.event_loop.remote(), app);
        session.control(Control::ShutDown { app, seconds });
    });
}

/// Sets whether this engine keeps the process alive: JavaScript has it do so while something listens or is
/// open.
#[napi]
pub fn keep_alive(env: Env, engine: u32, keep: bool) {
    place::with(engine, |session| session.wake.keep_alive(env.raw(), keep));
}

/// Ends the session as the end of the environment does, to test that a runtime may call any function after
/// it.
#[napi]
pub fn end_for_test(engine: u32) {
    if let Some(place) = Place::numbered(engine) {
        place.vacate();
    }
}

/// Makes the loop thread panic, to test that JavaScript learns of it.
#[napi]
pub fn panic_for_test(engine: u32, message: String) {
    control(engine, Control::Panic(message));
}

/// The original's limit on the size of a head, which the same environment variable raises.
fn head_limits() -> Limits {
    let raised = std::env::var("UWS_HTTP_MAX_HEADERS_SIZE").ok().and_then(|text| text.parse().ok());
    Limits { max_head: raised.unwrap_or(DEFAULT_MAX_HEAD), max_fields: MAX_FIELDS }
}

/// A copy of text or data; empty for anything else.
fn data(env: Env, value: &Unknown<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    value::append_data(env.raw(), value.raw(), &mut bytes);
    bytes
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
