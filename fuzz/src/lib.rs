//! The bodies of the fuzz targets. Each compares the code with a second opinion: another crate, a naive
//! version of the same, or the same bytes cut otherwise. `fuzz_targets/` has one program for each.
//!
//! They are here and not in the addon, because the second opinions need crates that the addon does not. What
//! the addon keeps private it shows by its feature `fuzzing`.

pub mod client_hello;
pub mod commands;
pub mod connection;
pub mod deflate;
pub mod events;
pub mod forwarded;
pub mod http_body;
pub mod http_head;
pub mod input;
pub mod multipart;
pub mod proxy;
pub mod router;
pub mod tls;
pub mod topics;
pub mod websocket;
pub mod wheel;
