//! uws-rs: HTTP/1.1 and WebSocket on a `mio` event loop in a background thread, for Node.js.
//!
//! Two threads per JavaScript environment. The loop thread (`event_loop`) owns every socket and every byte in flight;
//! the JavaScript thread (`bridge`, feature `binding`) owns what must be answered synchronously. Between them are two
//! queues (`mailbox`) of events and commands (`channel`) and a few atomics.
//!
//! Direction of dependency: `bridge` → `event_loop` → `protocol`; both sides know `channel`, `blocks`, `router` and
//! `topics`; nothing points back.

#[cfg(not(unix))]
compile_error!("uws-rs needs Linux or macOS: its loop works with file descriptors and Unix sockets");

pub mod blocks;
pub mod channel;
pub mod declarative;
pub mod event_loop;
pub mod mailbox;
pub mod protocol;
pub mod router;
pub mod store;
pub mod topics;
pub mod uring;

#[cfg(feature = "binding")]
mod bridge;
