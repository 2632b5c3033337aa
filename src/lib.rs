//! uws-rs: HTTP/1.1 and WebSocket on a `mio` event loop in a background thread, for Node.js.

pub mod protocol;
pub mod router;
