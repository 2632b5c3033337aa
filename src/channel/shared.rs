//! The state that both threads share: queues, slots, buffers, flags and counters.

use super::budget::Budget;
use super::buffers::Blocks;
use super::certificates::Certificates;
use super::command::CommandBatch;
use super::counters::Counters;
use super::event::EventBatch;
use super::mailbox::{Batch, Mailbox};
use super::slots::SlotTable;
use super::stall::Stall;
use super::sync::{self, Condvar, Mutex, Ordering, fence};
use crate::metrics::{Metric, Reading};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
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
    pub certificates: Arc<Certificates>,
    /// The loop stopped reading because too many events wait.
    pub stalled: Stall,
    /// The loop stopped executing commands because too many `Dropped` events wait.
    pub drops_stalled: Stall,
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
            certificates: Arc::default(),
            stalled: Stall::default(),
            drops_stalled: Stall::default(),
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
    batches: sync::AtomicUsize,
    waiting: sync::AtomicBool,
    lock: Mutex<()>,
    changed: Condvar,
}

impl Settled {
    /// Called by the loop at the end of a turn.
    pub fn set(&self, batches: usize) {
        self.batches.store(batches, Ordering::Release);
        // Pairs with the fence in `wait`: either JavaScript sees the number, or the loop sees that it waits.
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) {
            // Take the lock, or the notification could come between JavaScript's look and its sleep.
            let _lock = self.lock.lock();
            self.changed.notify_all();
        }
    }

    /// Called by the JavaScript thread.
    pub fn batches(&self) -> usize {
        self.batches.load(Ordering::Acquire)
    }

    /// Waits until `batches` of them are done, at most for `longest`. Called by the JavaScript thread.
    pub fn wait(&self, batches: usize, longest: Duration) -> bool {
        let reached = || self.batches().wrapping_sub(batches) as isize >= 0;
        if reached() {
            return true;
        }
        let end = Instant::now() + longest;
        let mut lock = self.lock.lock();
        self.waiting.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        while !reached() && !self.changed.wait_until(&mut lock, end).timed_out() {}
        self.waiting.store(false, Ordering::Relaxed);
        reached()
    }
}

/// Wakes the JavaScript thread; called by the loop.
pub trait WakeJs: Send + Sync {
    fn wake(&self);
    /// Called on the loop's thread before it begins.
    fn loop_starts(&self, _: &Shared) {}
}

#[cfg(all(test, loom))]
mod model {
    use super::super::sync::model::check;
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    /// JavaScript waits until the loop has settled `wanted` batches, of which it settles `turns` one by one,
    /// and then sees what the loop published before.
    fn wait_for(turns: usize, wanted: &'static [usize]) {
        check(move || {
            let world = Arc::new((Settled::default(), sync::AtomicUsize::new(0)));
            let of_loop = world.clone();
            let thread = thread::spawn(move || {
                for batches in 1..=turns {
                    of_loop.1.store(batches, Ordering::Relaxed);
                    of_loop.0.set(batches);
                }
            });
            for &wanted in wanted {
                assert!(world.0.wait(wanted, Duration::from_secs(1)));
                assert!(world.1.load(Ordering::Relaxed) >= wanted, "settled before it was published");
            }
            thread.join().expect("loop");
        });
    }

    #[test]
    fn a_batch_is_waited_for() {
        wait_for(1, &[1]);
    }

    #[test]
    fn the_second_of_two_batches_is_waited_for() {
        wait_for(2, &[2]);
    }

    #[test]
    fn one_batch_after_the_other_is_waited_for() {
        wait_for(2, &[1, 2]);
    }
}
