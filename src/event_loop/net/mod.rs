//! Sockets and the system calls on them.

pub mod batch;
pub mod listener;
pub mod socket;
#[allow(unsafe_code, reason = "the border to the kernel")]
pub mod uring;
