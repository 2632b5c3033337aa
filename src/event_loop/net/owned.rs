//! The descriptors that the connections of all loops have.
//!
//! A descriptor is a number that anybody can name, twice or by mistake. They are noted here, so that none of
//! them gets a second owner.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU64, Ordering};

/// Descriptors from here on are not noted; few systems have them.
const NOTED: usize = 1 << 20;
static OWNED: [AtomicU64; NOTED / 64] = [const { AtomicU64::new(0) }; NOTED / 64];

fn place(descriptor: RawFd) -> Option<(&'static AtomicU64, u64)> {
    let number = usize::try_from(descriptor).ok()?;
    Some((OWNED.get(number / 64)?, 1 << (number % 64)))
}

/// Notes that a connection has the descriptor. False: one had it already.
pub fn note(descriptor: RawFd) -> bool {
    place(descriptor).is_none_or(|(word, bit)| word.fetch_or(bit, Ordering::Relaxed) & bit == 0)
}

/// Whether a connection has the descriptor.
pub fn is_noted(descriptor: RawFd) -> bool {
    place(descriptor).is_some_and(|(word, bit)| word.load(Ordering::Relaxed) & bit != 0)
}

/// Called before the descriptor is closed: another thread may get the same one right after.
pub fn forget(descriptor: RawFd) {
    if let Some((word, bit)) = place(descriptor) {
        word.fetch_and(!bit, Ordering::Relaxed);
    }
}
