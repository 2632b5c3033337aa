//! Bytes in, values out: no socket, clock, thread or JavaScript.
#![forbid(unsafe_code)]

pub mod deflate;
pub mod http;
pub mod websocket;
