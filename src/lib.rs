//! uws-rs: HTTP/1.1 and WebSocket on a `mio` event loop in a background thread, for Node.js.
//!
//! Each JavaScript environment that serves has two threads. The loop thread (`event_loop`) owns every socket
//! and every byte handed over for one; the JavaScript thread (`bridge`, feature `binding`) owns the state
//! that must be answered for synchronously. Between them are two queues of events and commands and a few
//! atomics (`channel`).
//!
//! Direction of dependency: `bridge` → `event_loop` → `routing` → `protocol`, where each also knows those
//! further down. `bridge` and `event_loop` share `channel`, which of the others knows only the spans of a
//! request's head (`protocol`); `routing` takes the instructions of declared responses from its table. Only
//! `bridge` uses `store`. `scripts/layers.js` checks that nothing points back.

#[cfg(not(unix))]
compile_error!("uws-rs needs Linux or macOS: its loop works with file descriptors and Unix sockets");

#[cfg(test)]
mod allocations;
pub mod caching;
pub mod channel;
pub mod event_loop;
mod fault;
pub mod metrics;
pub mod protocol;
pub mod routing;
#[cfg(any(test, feature = "simulation"))]
pub mod simulation;
pub mod store;
pub mod trace;

// Tests and simulations are built without the feature `binding`: they need the parts of the bridge that know
// no N-API.
#[cfg(any(feature = "binding", feature = "simulation", test))]
mod bridge;
