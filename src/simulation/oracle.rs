//! All that the two sides of a run know of each connection: what was sent, and what the other side must see.

use super::text::Owner;
use super::uncut::Seen;
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// The reason for any end of a peer that has sent bytes of no meaning.
pub const NONSENSE: &str = "the peer has sent nonsense";

/// Of each peer.
#[derive(Default)]
pub struct Oracle {
    pub peers: Vec<Known>,
    /// Publishes so far.
    pub publishes: usize,
    /// Messages that peers have received.
    pub delivered: usize,
    /// The handler of a cached route has left a flight without an answer.
    pub has_unanswered: bool,
    /// The time of the run, and how much of it the loop was frozen.
    pub now: Duration,
    frozen: Duration,
    /// How often it was frozen.
    pub freezes: usize,
    freeze: Option<(Duration, Duration)>,
}

#[derive(Default)]
pub struct Known {
    /// The step behind the last one whose request the program was handed.
    pub handed: usize,
    /// Steps whose responses the program has begun, and those it has completed.
    pub begun: BTreeSet<usize>,
    pub completed: BTreeSet<usize>,
    /// Messages that the program was handed.
    pub messages: usize,
    /// All that the program was handed.
    pub seen: Vec<Seen>,
    pub opened: usize,
    /// Calls of `filter` for its beginning and its end.
    pub accepted: usize,
    pub released: usize,
    pub closed: usize,
    /// Frames that the peer must receive, in order.
    pub expected: VecDeque<Expected>,
    /// Publishes that the program was told this peer did not get, and those that it did not get.
    pub dropped: BTreeSet<usize>,
    pub skipped: BTreeSet<usize>,
    /// Why the connection may end at any moment.
    pub may_end: Option<&'static str>,
    /// Bytes that the program has sent, with all framing at its largest.
    pub sent: usize,
}

impl Known {
    pub fn may_end(&mut self, why: &'static str) {
        self.may_end.get_or_insert(why);
    }
}

/// A frame for a peer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expected {
    pub owner: Owner,
    pub number: usize,
    pub len: usize,
    pub kind: Kind,
    /// It may be dropped: its number as a publish.
    pub publish: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    Binary,
    Ping,
}

impl Oracle {
    /// The loop does not run from now on for so long.
    pub fn freeze(&mut self, time: Duration) {
        self.thaw();
        if self.freeze.is_none() {
            self.freeze = Some((self.now, self.now + time));
        }
    }

    fn thaw(&mut self) {
        if let Some((began, end)) = self.freeze
            && self.now >= end
        {
            self.frozen += end - began;
            self.freezes += 1;
            self.freeze = None;
        }
    }

    /// When the loop may run again.
    pub fn frozen_until(&self) -> Option<Duration> {
        self.freeze.map(|(_, end)| end).filter(|end| *end > self.now)
    }

    /// The time in which the loop could have run.
    pub fn loop_time(&mut self) -> Duration {
        self.thaw();
        self.freeze.map_or(self.now, |(began, _)| began) - self.frozen
    }
}
