//! The loop thread: polls the sockets, executes commands, reports events. It knows the protocols, but no
//! JavaScript.
//!
//! One turn: read the sockets that are ready, hand the events over (waking JavaScript if it sleeps), execute
//! the commands that arrived, write what they produced, sleep until something happens.
#![deny(unsafe_code)]

mod accept;
mod accounts;
mod app;
mod caches;
mod commands;
mod compressor;
mod connection;
mod context;
mod control;
mod flights;
mod handle;
mod handover;
mod limits;
pub mod net;
pub mod registry;
mod relief;
mod shutdown;
#[cfg(any(test, feature = "simulation"))]
pub mod simulated;
mod sockets;
mod timer;
pub mod tls;
pub mod topics;
mod turn;
mod victims;

#[cfg(test)]
mod tests;

/// The parts of the loop that the targets in fuzz/ test and nobody else sees.
#[cfg(feature = "fuzzing")]
pub mod fuzzing {
    pub use super::timer::{BUCKETS, Wheel};
    pub use super::tls::fuzzing::*;
}

pub use app::{Behaviour, Timeouts};
#[cfg(any(test, feature = "simulation"))]
pub use commands::PILE;
pub use control::{Control, Remote};
pub use handle::Loop;
pub use limits::{AppLimits, Rate};
pub use timer::Tick;
