//! The counters of one loop and of its JavaScript. Each part has one thread that writes it, and cache lines
//! of its own; every thread may read all of them (`metrics`).

use super::layout::Limit;
use super::mailbox::{Batch, Mailbox};
use crate::metrics::{Counts, Longest, Metric, ProcessorTime, Reading, now};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

#[derive(Default)]
pub struct Counters {
    pub by_loop: ByLoop,
    pub by_javascript: ByJavaScript,
    /// Bytes of all connections together that the kernel has refused and that wait in the loop, which writes
    /// this.
    pub unsent: AtomicUsize,
    /// Turns of the loop, which writes this.
    pub turns: AtomicUsize,
    apps: Apps,
}

/// The counters of each app, by its number. The loop adds them with the app; the lock is taken only for that
/// and by readers.
#[derive(Default)]
#[repr(align(128))]
struct Apps(Mutex<Vec<Arc<AppCounts>>>);

/// Written by the loop.
#[derive(Default)]
#[repr(align(128))]
pub struct ByLoop {
    pub counts: Counts,
    pub processor: ProcessorTime,
    /// When the turn that goes on now began; 0: the loop sleeps.
    turn_began: AtomicU64,
    turns_taken: Longest,
    /// When events were handed over while none waited.
    waiting_since: AtomicU64,
}

/// Written by the JavaScript thread.
#[derive(Default)]
#[repr(align(128))]
pub struct ByJavaScript {
    pub counts: Counts,
    pub processor: ProcessorTime,
    /// When it last took events.
    taken_at: AtomicU64,
    waits: Longest,
}

/// The counters of one app. The loop thread of the app writes all but those of its JavaScript.
#[derive(Default)]
pub struct AppCounts {
    pub by_loop: Counts,
    pub by_javascript: Counts,
}

const RELAXED: Ordering = Ordering::Relaxed;

impl ByLoop {
    pub fn turn_begins(&self, now: u64) {
        self.turn_began.store(now, RELAXED);
    }

    pub fn turn_ends(&self, now: u64) {
        let took = now.saturating_sub(self.turn_began.load(RELAXED));
        self.turn_began.store(0, RELAXED);
        self.counts.add(Metric::LoopBusy, took);
        self.turns_taken.record(now, took);
    }

    /// Called before events are handed over.
    pub fn hands_over<T: Batch>(&self, queue: &Mailbox<T>) {
        if queue.is_empty() {
            self.waiting_since.store(now(), RELAXED);
        }
    }

    /// The longest recent turn, or the one that goes on.
    fn lag(&self, now: u64) -> u64 {
        let current = match self.turn_began.load(RELAXED) {
            0 => 0,
            began => now.saturating_sub(began),
        };
        self.turns_taken.read(now).max(current)
    }
}

impl ByJavaScript {
    /// Called when JavaScript has taken a batch with so many events. Events wait from when they were handed
    /// over, or from when JavaScript took those before them.
    pub fn takes(&self, by_loop: &ByLoop, events: usize) {
        let now = now();
        self.waits.record(now, now.saturating_sub(self.waited_from(by_loop)));
        self.taken_at.store(now, RELAXED);
        self.counts.add(Metric::EventsTaken, events as u64);
    }

    fn waited_from(&self, by_loop: &ByLoop) -> u64 {
        self.taken_at.load(RELAXED).max(by_loop.waiting_since.load(RELAXED))
    }

    fn lag<T: Batch>(&self, by_loop: &ByLoop, queue: &Mailbox<T>, now: u64) -> u64 {
        let current = if queue.is_empty() { 0 } else { now.saturating_sub(self.waited_from(by_loop)) };
        self.waits.read(now).max(current)
    }
}

impl Counters {
    /// Called by the loop, which adds apps in the order of their numbers.
    pub fn add_app(&self, counts: Arc<AppCounts>) {
        self.apps.0.lock().push(counts);
    }

    /// The counters of an app; `None`: the loop has not added it yet.
    pub fn app(&self, app: u32) -> Option<Arc<AppCounts>> {
        self.apps.0.lock().get(app as usize).cloned()
    }

    pub fn failed_handshakes(&self) -> u64 {
        let sum = |app: &Arc<AppCounts>| -> u64 {
            Metric::failed_handshakes().map(|metric| app.by_loop.get(metric)).sum()
        };
        self.apps.0.lock().iter().map(sum).sum()
    }

    /// Adds all counters to `reading`, with the times that belong to this loop and `events`, its queue.
    pub fn read<T: Batch>(&self, events: &Mailbox<T>, reading: &mut Reading) {
        let Counters { by_loop, by_javascript, unsent, turns, apps } = self;
        reading.add_counts(&by_loop.counts);
        reading.add_counts(&by_javascript.counts);
        for app in apps.0.lock().iter() {
            app.read(reading);
        }
        let now = now();
        reading.add(Metric::Loops, 1);
        reading.add(Metric::Turns, turns.load(RELAXED) as u64);
        reading.add(Metric::Unsent, unsent.load(RELAXED) as u64);
        reading.add(Metric::LoopProcessor, by_loop.processor.read());
        reading.add(Metric::JavaScriptProcessor, by_javascript.processor.read());
        reading.raise(Metric::LoopLag, by_loop.lag(now));
        reading.raise(Metric::JavaScriptLag, by_javascript.lag(by_loop, events, now));
    }
}

impl Limit {
    /// The counter of its breaches.
    pub fn metric(self) -> Metric {
        match self {
            Limit::MaxConnections => Metric::MaxConnections,
            Limit::MaxConnectionsPerAddress => Metric::MaxConnectionsPerAddress,
            Limit::MaxRequestsPerAddress => Metric::MaxRequestsPerAddress,
            Limit::MaxUpgradesPerAddress => Metric::MaxUpgradesPerAddress,
            Limit::HeadTimeout => Metric::HeadTimeout,
            Limit::RequestTimeout => Metric::WholeRequestTimeout,
            Limit::KeepAliveTimeout => Metric::KeptTooLong,
            Limit::MinBodyRate => Metric::MinBodyRate,
            Limit::MaxBodyLength => Metric::MaxBodyLength,
            Limit::MaxRequestsPerConnection => Metric::MaxRequestsPerConnection,
            Limit::MaxUnsentBytes => Metric::MaxUnsentBytes,
            Limit::MaxTopicsPerConnection => Metric::MaxTopicsPerConnection,
            Limit::MaxTopicLength => Metric::MaxTopicLength,
            Limit::MaxSubscriptions => Metric::MaxSubscriptions,
        }
    }
}

impl AppCounts {
    /// How often a limit was breached. The loop counts the breaches of its peers, JavaScript those of the
    /// limits that it enforces.
    pub fn breaches(&self, limit: Limit) -> u64 {
        self.by_loop.get(limit.metric()) + self.by_javascript.get(limit.metric())
    }

    pub fn read(&self, reading: &mut Reading) {
        reading.add_counts(&self.by_loop);
        reading.add_counts(&self.by_javascript);
    }
}
