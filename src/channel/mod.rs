//! The contract between the JavaScript thread and the loop thread: what an event and a command are, how they are
//! laid out in a batch, and the few atomics both sides read.
//!
//! Events and commands travel as fixed-size headers beside one byte arena, so that a batch of thousands costs no
//! allocation each. Large payloads are moved as a `Vec` of their own. The module names protocol values only; neither
//! sockets nor N-API.
#![forbid(unsafe_code)]

mod bounds;
pub mod buffers;
mod command;
mod event;
mod layout;
pub mod mailbox;
mod shared;
mod slots;

pub use bounds::*;
pub use command::*;
pub use event::*;
pub use layout::*;
pub use shared::*;
pub use slots::*;
