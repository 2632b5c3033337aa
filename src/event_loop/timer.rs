//! Deadlines in ticks of one second: a wheel of buckets, of which one is checked each tick.
//!
//! A deadline that moves away (every request, every message) costs nothing here: the entry stays where it is,
//! and when its bucket comes up the connection says what its deadline is by then. The caller passes the time
//! in, and knows the meaning of the numbers that name the entries.

/// A point or a span of the loop's own time, in ticks of a second from the loop's start. A late turn is one
/// tick, however late (`Clock`).
pub type Tick = u32;

/// One more than the longest time, in ticks, before an entry comes up.
pub const BUCKETS: usize = 128;

#[derive(Debug)]
pub struct Wheel {
    buckets: Vec<Vec<u64>>,
    now: Tick,
    entries: usize,
}

impl Default for Wheel {
    fn default() -> Self {
        Wheel { buckets: vec![Vec::new(); BUCKETS], now: 0, entries: 0 }
    }
}

impl Wheel {
    /// Inserts an entry; returns the tick at which it comes up: its deadline, or earlier if that is far away.
    pub fn insert(&mut self, deadline: Tick, entry: u64) -> Tick {
        let at = deadline.clamp(self.now + 1, self.now + BUCKETS as u32 - 1);
        self.buckets[at as usize % BUCKETS].push(entry);
        self.entries += 1;
        at
    }

    #[cfg(any(test, feature = "simulation"))]
    pub fn len(&self) -> usize {
        self.entries
    }

    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Moves the time forward to `now`, one tick at a time; appends the entries that came up to `due`.
    pub fn advance(&mut self, now: Tick, due: &mut Vec<u64>) {
        // After a long sleep every bucket is visited once, not once per missed tick.
        let steps = now.saturating_sub(self.now).min(BUCKETS as u32);
        for step in 0..steps {
            let bucket = &mut self.buckets[(now - step) as usize % BUCKETS];
            self.entries -= bucket.len();
            due.append(bucket);
        }
        self.now = self.now.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(wheel: &mut Wheel, now: Tick) -> Vec<u64> {
        let mut due = Vec::new();
        wheel.advance(now, &mut due);
        due.sort_unstable();
        due
    }

    #[test]
    fn entries_come_up_at_their_tick() {
        let mut wheel = Wheel::default();
        assert_eq!(wheel.insert(2, 20), 2);
        assert_eq!(wheel.insert(5, 50), 5);
        assert!(due(&mut wheel, 1).is_empty());
        assert_eq!(due(&mut wheel, 2), [20]);
        assert!(due(&mut wheel, 4).is_empty());
        assert_eq!(due(&mut wheel, 9), [50]);
        assert!(wheel.is_empty());
    }

    #[test]
    fn the_past_comes_up_at_the_next_tick_and_the_far_future_early() {
        let mut wheel = Wheel::default();
        let _ = due(&mut wheel, 1000);
        assert_eq!(wheel.insert(3, 1), 1001);
        assert_eq!(wheel.insert(90_000, 2), 1127);
        assert_eq!(due(&mut wheel, 1001), [1]);
        assert!(due(&mut wheel, 1126).is_empty());
        assert_eq!(due(&mut wheel, 1127), [2]);
    }

    #[test]
    fn a_long_sleep_misses_nothing() {
        let mut wheel = Wheel::default();
        for n in 1..=127 {
            wheel.insert(n, u64::from(n));
        }
        assert_eq!(due(&mut wheel, 100_000).len(), 127);
        assert!(wheel.is_empty());
        assert_eq!(wheel.insert(0, 7), 100_001);
    }
}
