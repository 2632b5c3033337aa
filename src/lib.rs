//! uws-rs: HTTP/1.1 and WebSocket on a `mio` event loop in a background thread, for Node.js.
//!
//! Each JavaScript environment that serves has two threads. The loop thread (`event_loop`) owns every socket
//! and every byte handed over for one; the JavaScript thread (`bridge`, feature `binding`) owns the state
//! that must be answered for synchronously. Between them are two queues of events and commands and a few
//! atomics (`channel`).
//!
//! Direction of dependency: `bridge` → `event_loop` → `routing` → `protocol`, where each also knows those
//! further down. `bridge` and `event_loop` share `channel`, which knows no other module. Only `bridge` uses
//! `store`. Nothing points back.

#[cfg(not(unix))]
compile_error!("uws-rs needs Linux or macOS: its loop works with file descriptors and Unix sockets");

pub mod channel;
pub mod event_loop;
pub mod protocol;
pub mod routing;
pub mod store;

// Its tests are of the parts that know no N-API, and run without it.
#[cfg(any(feature = "binding", test))]
mod bridge;
