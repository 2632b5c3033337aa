//! Bytes in, values out: no socket, clock, thread or JavaScript.
#![forbid(unsafe_code)]

pub mod body;
pub mod deflate;
pub mod frame;
pub mod handshake;
pub mod http_error;
pub mod message;
pub mod multipart;
pub mod proxy;
pub mod request;
pub mod response;
