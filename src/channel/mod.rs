//! The contract between the JavaScript thread and the loop thread: the events and commands, their layout in a
//! batch, and the few atomics that both sides read.
//!
//! Events and commands travel as fixed-size headers beside one byte arena, so that a batch of thousands costs
//! no allocation each. Large payloads are moved as buffers of their own. The module knows the addresses of
//! peers and, for the request block, the spans of a request's head. It knows no connection, no socket and no
//! JavaScript. It carries the rare commands of the loop boxed, without knowing their type.
#![forbid(unsafe_code)]

mod bounds;
mod budget;
pub mod buffers;
mod certificates;
mod command;
mod counters;
mod event;
mod layout;
pub mod mailbox;
mod request_block;
mod shared;
mod slots;
mod stall;
pub(crate) mod sync;

pub use bounds::*;
pub use budget::*;
pub use certificates::*;
pub use command::*;
pub use counters::*;
pub use event::*;
pub use layout::*;
pub use request_block::*;
pub use shared::*;
pub use slots::*;
pub use stall::*;
