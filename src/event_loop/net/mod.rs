//! Sockets and the system calls on them.

#[allow(unsafe_code, reason = "the border to the kernel")]
pub mod adopted;
pub mod batch;
pub mod clock;
pub mod event;
pub mod listener;
pub mod owned;
#[cfg(any(test, feature = "simulation"))]
pub mod simulated;
pub mod socket;
#[allow(unsafe_code, reason = "the border to the kernel")]
pub mod uring;
