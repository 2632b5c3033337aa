//! uws-rs: HTTP/1.1 and WebSocket on a `mio` event loop in a background thread, for Node.js.
//!
//! Two threads per JavaScript environment. The loop thread (`event_loop`) owns every socket and every byte in flight;
//! the JavaScript thread (`bridge`, feature `binding`) owns what must be answered synchronously. Between them are two
//! queues of events and commands and a few atomics (`channel`).
//!
//! Direction of dependency: `bridge` → `event_loop` → `protocol`; both sides know `channel` and `routing`; nothing
//! points back.

#[cfg(not(unix))]
compile_error!("uws-rs needs Linux or macOS: its loop works with file descriptors and Unix sockets");

pub mod channel;
pub mod event_loop;
pub mod protocol;
pub mod routing;
pub mod store;

#[cfg(feature = "binding")]
mod bridge;
