//! WebSocket (RFC 6455): the handshake, frames and the messages they make.

pub mod frame;
pub mod handshake;
pub mod message;
