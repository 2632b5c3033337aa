//! The part of the memory budget that a loop holds, and whom it would close first.

use crate::channel::{Budget, Share};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Nobody is closed before this is over: the other loops may hold less by now than they have counted.
pub const GRACE: Duration = Duration::from_millis(50);

pub struct Relieving {
    pub share: Share,
    /// Since when the budget has been exceeded, as far as this loop has seen.
    pub over_since: Option<Instant>,
    pub looked_at: Option<Instant>,
    /// The first to go is the last.
    pub victims: Vec<Victim>,
}

/// A connection that holds memory; the greater one goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Victim {
    /// Its kernel has taken nothing for some time.
    pub is_stalled: bool,
    pub weight: u64,
    pub slot: u32,
    pub generation: u32,
}

impl Relieving {
    pub fn new(budget: Arc<Budget>) -> Self {
        Relieving { share: Share::new(budget), over_since: None, looked_at: None, victims: Vec::new() }
    }

    /// How long the loop may sleep at most.
    pub fn sleep_at_most(&self) -> Option<Duration> {
        self.over_since.map(|_| GRACE)
    }
}
