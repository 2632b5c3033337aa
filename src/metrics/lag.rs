//! Times by which one side lags behind: the longest of the last while, which a scrape would otherwise miss.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Nanoseconds of a window. The longest time of the current and the last window is shown, so each is seen by
/// a scraper that comes at least this often.
const WINDOW: u64 = 15_000_000_000;

static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Nanoseconds since the process first asked; at least 1, so that 0 can stand for "not yet".
pub fn now() -> u64 {
    BEGAN.elapsed().as_nanos() as u64 + 1
}

/// The longest of the times recorded in the last 15 to 30 s. One thread records, any reads.
#[derive(Default)]
pub struct Longest {
    /// The number of the window that `current` is of.
    window: AtomicU64,
    current: AtomicU64,
    previous: AtomicU64,
}

impl Longest {
    /// `now` and `time` are in nanoseconds.
    pub fn record(&self, now: u64, time: u64) {
        let (window, relaxed) = (now / WINDOW, Ordering::Relaxed);
        let last = self.window.load(relaxed);
        if window != last {
            let previous = if window == last + 1 { self.current.load(relaxed) } else { 0 };
            self.previous.store(previous, relaxed);
            self.current.store(time, relaxed);
            self.window.store(window, relaxed);
        } else if time > self.current.load(relaxed) {
            self.current.store(time, relaxed);
        }
    }

    pub fn read(&self, now: u64) -> u64 {
        let relaxed = Ordering::Relaxed;
        let (current, previous) = (self.current.load(relaxed), self.previous.load(relaxed));
        match (now / WINDOW).saturating_sub(self.window.load(relaxed)) {
            0 => current.max(previous),
            1 => current,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_time_is_shown_for_one_window_more() {
        let (longest, at) = (Longest::default(), |window: u64| window * WINDOW + 1);
        assert_eq!(longest.read(at(0)), 0);
        longest.record(at(3), 70);
        longest.record(at(3), 20);
        assert_eq!((longest.read(at(3)), longest.read(at(4)), longest.read(at(5))), (70, 70, 0));
        longest.record(at(4), 30);
        assert_eq!((longest.read(at(4)), longest.read(at(5)), longest.read(at(6))), (70, 30, 0));
        longest.record(at(5), 1);
        assert_eq!(longest.read(at(5)), 30);
        longest.record(at(9), 2);
        assert_eq!(longest.read(at(9)), 2, "nothing of long ago");
    }

    #[test]
    fn the_clock_begins_above_zero() {
        assert!(now() > 0);
    }
}
