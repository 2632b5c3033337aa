//! The contract between the JavaScript thread and the loop thread: the events and commands, their layout in a
//! batch, and the few atomics both sides read.
//!
//! Events and commands travel as fixed-size headers beside one byte arena, so that a batch of thousands costs
//! no allocation each. Large payloads are moved as buffers of their own. The module knows the addresses of
//! peers, but no other module of the crate: no protocol, no socket, no JavaScript. The one type it carries
//! without knowing it is the rare command, which is boxed.
#![forbid(unsafe_code)]

mod bounds;
pub mod buffers;
mod command;
mod counters;
mod event;
mod layout;
pub mod mailbox;
mod request_block;
mod shared;
mod slots;

pub use bounds::*;
pub use command::*;
pub use counters::*;
pub use event::*;
pub use layout::*;
pub use request_block::*;
pub use shared::*;
pub use slots::*;
