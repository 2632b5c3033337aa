//! The state that both threads share: queues, slots, buffers, flags and counters.

use super::budget::Budget;
use super::buffers::Blocks;
use super::command::CommandBatch;
use super::counters::Counters;
use super::event::EventBatch;
use super::mailbox::{Batch, Mailbox};
use super::slots::SlotTable;
use crate::metrics::{Metric, Reading};
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Everything the two threads share.
pub struct Shared {
    pub events: Mailbox<EventBatch>,
    /// `Dropped` events, which JavaScript has to be able to take while it waits for the loop to take
    /// commands. The loop hands them over before the events that follow them, and wakes JavaScript as for
    /// those.
    pub dropped: Mailbox<EventBatch>,
    pub commands: Mailbox<CommandBatch>,
    pub slots: SlotTable,
    pub blocks: Arc<Blocks>,
    /// Set when the loop stopped reading because too many events wait; JavaScript then wakes it after taking
    /// some.
    pub stalled: AtomicBool,
    /// Set when the loop stopped executing commands because too many `Dropped` events wait; JavaScript then
    /// wakes it as well.
    pub drops_stalled: AtomicBool,
    /// JavaScript waits for the loop to execute commands and can take no events meanwhile: the loop does not
    /// stop executing them.
    pub urgent: AtomicBool,
    /// [`Op::Control`](super::layout::Op::Control) records that were handed over and are not executed yet.
    pub controls: AtomicUsize,
    /// The environment ends: the loop returns.
    pub stop: AtomicBool,
    pub settled: Settled,
    pub counters: Counters,
    /// That of the process; each loop of the tests has one of its own.
    pub budget: Arc<Budget>,
}

impl Default for Shared {
    fn default() -> Self {
        Shared {
            events: Mailbox::new(true),
            dropped: Mailbox::new(false),
            commands: Mailbox::new(false),
            slots: SlotTable::default(),
            blocks: Arc::default(),
            stalled: AtomicBool::new(false),
            drops_stalled: AtomicBool::new(false),
            urgent: AtomicBool::new(false),
            controls: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            settled: Settled::default(),
            counters: Counters::default(),
            budget: if cfg!(test) { Arc::new(Budget::new(usize::MAX)) } else { Budget::of_process() },
        }
    }
}

impl Shared {
    /// Adds the figures of this loop and its JavaScript to `reading`. Any thread may ask.
    pub fn read(&self, reading: &mut Reading) {
        fn bytes<T: Batch>(queue: &Mailbox<T>) -> u64 {
            queue.bytes() as u64
        }
        self.counters.read(&self.events, reading);
        reading.add(Metric::QueuedEvents, (self.events.items() + self.dropped.items()) as u64);
        reading.add(Metric::QueuedCommands, self.commands.len() as u64);
        reading.add(Metric::EventBytes, bytes(&self.events));
        reading.add(Metric::DroppedBytes, bytes(&self.dropped));
        reading.add(Metric::CommandBytes, bytes(&self.commands));
        reading.add(Metric::PoolBytes, self.blocks.kept() as u64);
    }
}

/// The number of batches of commands that the loop has executed and whose output it has tried to write. The
/// loop alone counts them. JavaScript counts the batches it has handed over, and waits until the loop has
/// executed as many. A loop that has ended counts no further, so JavaScript also checks that its thread still
/// runs.
#[derive(Default)]
pub struct Settled {
    batches: AtomicUsize,
    waiting: AtomicBool,
    lock: Mutex<()>,
    changed: Condvar,
}

impl Settled {
    /// Called by the loop at the end of a turn.
    pub fn set(&self, batches: usize) {
        self.batches.store(batches, Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst) {
            let _lock = self.lock.lock();
            self.changed.notify_all();
        }
    }

    /// Called by the JavaScript thread.
    pub fn batches(&self) -> usize {
        self.batches.load(Ordering::SeqCst)
    }

    /// Waits until `batches` of them are done, at most for `longest`. Called by the JavaScript thread.
    pub fn wait(&self, batches: usize, longest: Duration) -> bool {
        let reached = || self.batches().wrapping_sub(batches) as isize >= 0;
        if reached() {
            return true;
        }
        let end = Instant::now() + longest;
        let mut lock = self.lock.lock();
        self.waiting.store(true, Ordering::SeqCst);
        while !reached() && !self.changed.wait_until(&mut lock, end).timed_out() {}
        self.waiting.store(false, Ordering::SeqCst);
        reached()
    }
}

/// Wakes the JavaScript thread; called by the loop.
pub trait WakeJs: Send + Sync {
    fn wake(&self);
    /// Called on the loop's thread before it begins.
    fn loop_starts(&self) {}
}
