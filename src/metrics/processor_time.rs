//! The processor time of a thread, for which any thread may ask.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

type Clock = Box<dyn Fn() -> u64 + Send + Sync>;

/// Nanoseconds of processor time since the thread began; 0 where the system does not tell.
#[derive(Default)]
pub struct ProcessorTime {
    clock: OnceLock<Clock>,
    /// The thread ends: its clock may be another thread's by now.
    is_over: AtomicBool,
    at_end: AtomicU64,
}

impl ProcessorTime {
    /// Called once. `clock` reads the time of the thread from any other one, until that thread has ended.
    pub fn begin(&self, clock: impl Fn() -> u64 + Send + Sync + 'static) {
        let _ = self.clock.set(Box::new(clock));
    }

    /// Called before the thread ends. The time that it took up to here remains.
    pub fn end(&self) {
        if let Some(clock) = self.clock.get() {
            self.at_end.store(clock(), Ordering::Relaxed);
            self.is_over.store(true, Ordering::Release);
        }
    }

    pub fn read(&self) -> u64 {
        let Some(clock) = self.clock.get() else { return 0 };
        let now = clock();
        // A thread that had not ended by now had its clock when that was read.
        if self.is_over.load(Ordering::Acquire) { self.at_end.load(Ordering::Relaxed) } else { now }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn the_time_of_a_thread_that_has_ended_remains() {
        let time = ProcessorTime::default();
        assert_eq!(time.read(), 0);
        time.end();
        assert_eq!(time.read(), 0, "of a thread without a clock nothing is known");
        let clock = Arc::new(AtomicU64::new(5));
        let hands = clock.clone();
        time.begin(move || hands.load(Ordering::Relaxed));
        assert_eq!(time.read(), 5);
        clock.store(7, Ordering::Relaxed);
        assert_eq!(time.read(), 7);
        time.end();
        clock.store(1, Ordering::Relaxed);
        assert_eq!(time.read(), 7, "the clock is another thread's now");
    }
}
