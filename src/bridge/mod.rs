//! N-API: the only module that knows JavaScript. It starts a loop, turns calls into commands and events into values.
//!
//! Rare calls are functions through napi-derive that name the environment's state by number; the calls made per event
//! and per message are plain functions over `napi-sys` (`hot`). A session belongs to one environment; its cleanup hook stops
//! and joins the loop before anything JavaScript owns goes away. What is called after that finds none (`place`).

// Only napi-derive refers to most of the functions, and not in test builds.
#![cfg_attr(test, allow(dead_code))]

mod backpressure;
#[cfg(feature = "binding")]
mod calls;
#[cfg(feature = "binding")]
mod engine;
#[cfg(feature = "binding")]
mod exit;
#[cfg(feature = "binding")]
mod extras;
mod flush;
mod parked;
#[cfg(feature = "binding")]
mod place;
#[cfg(feature = "binding")]
mod session;
#[cfg(feature = "binding")]
mod tls;
#[cfg(feature = "binding")]
mod value;
#[cfg(feature = "binding")]
mod wake;
