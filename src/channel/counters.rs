//! Counters of one loop. The loop counts, JavaScript reads.

use std::sync::atomic::{AtomicU64, AtomicUsize};

#[derive(Default)]
pub struct Counters {
    /// TLS handshakes that did not come about, for whatever reason.
    pub failed_handshakes: AtomicU64,
    /// Bytes of all connections together that the kernel has refused and that wait in the loop.
    pub unsent: AtomicUsize,
    /// Turns of the loop, for diagnosis.
    pub turns: AtomicUsize,
}
