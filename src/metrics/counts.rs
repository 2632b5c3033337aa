//! Counters with one writer, and readings of them.

use super::table::{FAMILIES, Kind, Metric, Sample, Scope};
use std::sync::atomic::{AtomicU64, Ordering};

/// A counter for each metric, of which its owner uses those that it counts. One thread writes them; the
/// alignment keeps the lines of other threads' counters apart (processors fetch lines in pairs).
#[repr(align(128))]
pub struct Counts {
    values: [AtomicU64; Metric::COUNT],
}

impl Default for Counts {
    fn default() -> Self {
        Counts { values: [const { AtomicU64::new(0) }; Metric::COUNT] }
    }
}

impl Counts {
    /// Only the owner counts, so no atomic addition is needed.
    pub fn add(&self, metric: Metric, n: u64) {
        self.set(metric, self.get(metric).wrapping_add(n));
    }

    pub fn one(&self, metric: Metric) {
        self.add(metric, 1);
    }

    /// One less of a gauge.
    pub fn less(&self, metric: Metric) {
        debug_assert_ne!(self.get(metric), 0, "{metric:?} below 0");
        self.add(metric, u64::MAX);
    }

    pub fn set(&self, metric: Metric, value: u64) {
        self.values[metric as usize].store(value, Ordering::Relaxed);
    }

    pub fn get(&self, metric: Metric) -> u64 {
        self.values[metric as usize].load(Ordering::Relaxed)
    }
}

/// The values of all metrics, added up over several sets of counters.
#[derive(Clone)]
pub struct Reading {
    values: [u64; Metric::COUNT],
}

impl Default for Reading {
    fn default() -> Self {
        Reading { values: [0; Metric::COUNT] }
    }
}

impl Reading {
    pub fn get(&self, metric: Metric) -> u64 {
        self.values[metric as usize]
    }

    pub fn add(&mut self, metric: Metric, n: u64) {
        let value = &mut self.values[metric as usize];
        *value = value.wrapping_add(n);
    }

    /// For times of which only the longest counts.
    pub fn raise(&mut self, metric: Metric, value: u64) {
        let longest = &mut self.values[metric as usize];
        *longest = value.max(*longest);
    }

    pub fn add_counts(&mut self, counts: &Counts) {
        for (sum, value) in self.values.iter_mut().zip(&counts.values) {
            *sum = sum.wrapping_add(value.load(Ordering::Relaxed));
        }
    }

    pub fn add_reading(&mut self, other: &Reading) {
        for (sum, value) in self.values.iter_mut().zip(other.values) {
            *sum = sum.wrapping_add(value);
        }
    }

    /// The part that remains of a loop that has ended: its counters, so that the sums of the process do not
    /// decrease.
    pub fn without_gauges(mut self) -> Self {
        for family in FAMILIES.iter().filter(|family| family.kind == Kind::Gauge) {
            for Sample { metric, .. } in family.samples {
                self.values[*metric as usize] = 0;
            }
        }
        self
    }
}

/// Whether a reading of this scope has the family.
pub(super) fn is_within(scope: Scope, family: Scope) -> bool {
    scope == Scope::Process || family == Scope::App
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_add_up_and_what_has_ended_keeps_its_counters() {
        let (one, other) = (Counts::default(), Counts::default());
        one.add(Metric::BytesReceived, 5);
        other.add(Metric::BytesReceived, 7);
        one.one(Metric::PlainHttp);
        one.one(Metric::PlainHttp);
        one.less(Metric::PlainHttp);
        let mut sum = Reading::default();
        sum.add_counts(&one);
        sum.add_counts(&other);
        sum.raise(Metric::LoopLag, 9);
        sum.raise(Metric::LoopLag, 3);
        assert_eq!((sum.get(Metric::BytesReceived), sum.get(Metric::PlainHttp)), (12, 1));
        assert_eq!(sum.get(Metric::LoopLag), 9);
        let left = sum.without_gauges();
        assert_eq!((left.get(Metric::BytesReceived), left.get(Metric::PlainHttp)), (12, 0));
        assert_eq!(left.get(Metric::LoopLag), 0);
    }

    #[test]
    fn counters_of_two_threads_share_no_cache_line() {
        assert_eq!((align_of::<Counts>(), size_of::<Counts>() % 128), (128, 0));
    }
}
