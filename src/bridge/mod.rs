//! N-API: the only module that knows JavaScript. It starts a loop, and turns calls into commands and events
//! into values.
//!
//! A [`Session`](session::Session) belongs to one JavaScript environment and owns its loop, the commands on
//! their way to it (`flush`), the events being read, and the accounts of what was sent (`backpressure`). The
//! cleanup hook of the environment stops and joins the loop before anything JavaScript owns goes away; a
//! function called after that finds no session (`place`) and does nothing.
//!
//! Functions that are called rarely are exported through napi-derive and name the session by number
//! (`engine`, `tls`); those called for each event and message are plain functions over `napi-sys` (`calls`).
//! `unsafe` stays at the border to the runtime and the system.
//!
//! `backpressure`, `flush` and `parked` know no N-API, so they are compiled for tests that run without Node,
//! too.

// Test builds have no callers: napi-derive exports nothing in them.
#![cfg_attr(any(test, feature = "simulation"), allow(dead_code))]

pub mod backpressure;
#[cfg(feature = "binding")]
mod calls;
#[cfg(feature = "binding")]
mod engine;
#[cfg(feature = "binding")]
mod exit;
#[cfg(feature = "binding")]
mod extras;
mod flush;
#[cfg(feature = "binding")]
mod limits;
mod parked;
#[cfg(feature = "binding")]
mod place;
#[cfg(feature = "binding")]
mod processor_time;
#[cfg(feature = "binding")]
mod session;
#[cfg(feature = "binding")]
mod stats;
#[cfg(feature = "binding")]
mod tls;
#[cfg(feature = "binding")]
mod value;
#[cfg(feature = "binding")]
mod wake;
