//! Sockets and the system calls on them.

pub mod batch;
pub mod clock;
pub mod event;
pub mod listener;
#[cfg(any(test, feature = "simulation"))]
pub mod simulated;
pub mod socket;
#[allow(unsafe_code, reason = "the border to the kernel")]
pub mod uring;
