//! When commands leave for the loop, and what is different where the loop and JavaScript have but one processor between them.

use super::session::{RELIEF_DUE, Session};
use crate::channel::mailbox::Batch;
use crate::channel::{COMMAND_BATCH_BYTES, COMMAND_QUEUE_BYTES};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Time between two hand-overs of commands while JavaScript works through a batch of events.
const FLUSH_INTERVAL: Duration = Duration::from_micros(400);
/// The same where a handler takes longer than [`CHEAP_EVENT`], if the loop has a processor of its own to write meanwhile.
const BUSY_FLUSH_INTERVAL: Duration = Duration::from_micros(50);
/// And where it has none: a hand-over is a switch between the threads then, and nothing is written any sooner by the way.
const LONE_FLUSH_INTERVAL: Duration = Duration::from_micros(1500);
const CHEAP_EVENT: Duration = Duration::from_nanos(1500);
/// On a lone processor the loop gets its turn when it has this much to write: more falls out of the cache before it does.
const YIELD_BYTES: usize = 1 << 20;
/// Most events handled between two looks at the clock.
const MAX_STRIDE: u32 = 1024;
/// The longest such wait; the loop takes far less unless the machine is busy.
const LONGEST_WAIT: Duration = Duration::from_millis(100);
/// How long an ending process may be held up by connections that still take bytes.
const LONGEST_DRAIN: Duration = Duration::from_secs(2);

impl Session {
    /// Called after each command: what has grown large does not wait for the end of the tick.
    pub fn after_command(&mut self) {
        if self.commands.bytes() >= COMMAND_BATCH_BYTES {
            self.flush();
        }
    }

    /// Hands all commands over. Waits for the loop when too many are queued, which bounds the memory; the loop never
    /// waits for JavaScript, so this ends.
    pub fn flush(&mut self) {
        if self.commands.is_empty() {
            return;
        }
        self.event_loop.flush(&mut self.commands);
        self.handed_over = self.handed_over.wrapping_add(1);
        if self.is_alone && self.answered >= YIELD_BYTES {
            self.answered = 0;
            std::thread::yield_now();
        }
        let shared = &self.event_loop.shared;
        while shared.commands.bytes() >= COMMAND_QUEUE_BYTES && self.event_loop.is_running() {
            if !shared.dropped.is_empty() {
                // The loop may wait in turn until JavaScript hears of what was dropped: it does so at once.
                self.registers.put(RELIEF_DUE, &[1]);
                return;
            }
            let is_told = || !shared.dropped.is_empty();
            shared.commands.wait_for_room(COMMAND_QUEUE_BYTES, LONGEST_WAIT, is_told);
        }
    }

    /// Called every so many events while a batch is worked through: answers leave after one of the intervals above, however
    /// long the handlers take. Returns after how many events to call again.
    pub fn flush_due(&mut self, events: u32) -> u32 {
        self.flush();
        let now = Instant::now();
        let each = (now - self.last_flush).as_nanos() as u64 / u64::from(events.max(1));
        self.last_flush = now;
        let cheap = each < CHEAP_EVENT.as_nanos() as u64;
        let interval = match (cheap, self.is_alone) {
            (true, _) => FLUSH_INTERVAL,
            (false, true) => LONE_FLUSH_INTERVAL,
            (false, false) => BUSY_FLUSH_INTERVAL,
        };
        let fitting = interval.as_nanos() as u64 / each.max(1);
        // Growing slowly: one cheap stretch says little about the next handler.
        self.stride = (fitting as u32).clamp(1, (self.stride * 2).min(MAX_STRIDE));
        self.stride
    }

    /// Called before a batch is worked through; returns after how many events to call `flush_due`. What the last
    /// handlers took is the best guess for the next ones.
    pub fn start_stretch(&mut self) -> u32 {
        self.last_flush = Instant::now();
        self.stride
    }

    /// Hands all commands over and waits until the loop has carried them out and tried to write (or a tenth of a second has passed).
    pub fn settle(&mut self) {
        self.flush();
        if self.event_loop.is_running() {
            self.wait_urgently();
        }
    }

    /// The loop must not wait for JavaScript meanwhile. It drops what it has to: as much as there were commands queued.
    fn wait_urgently(&self) -> bool {
        let shared = &self.event_loop.shared;
        shared.urgent.store(true, Ordering::SeqCst);
        if shared.drops_stalled.load(Ordering::SeqCst) {
            self.event_loop.wake();
        }
        let is_settled = shared.settled.wait(self.handed_over, LONGEST_WAIT);
        shared.urgent.store(false, Ordering::SeqCst);
        is_settled
    }

    /// Hands all commands over and waits until the loop has carried them out, however long its turn takes: it never waits
    /// for JavaScript, and every turn of it is bounded.
    pub fn finish(&mut self) {
        self.flush();
        while self.event_loop.is_running() && !self.wait_urgently() {}
    }

    /// The environment ends: waits until what was accepted for sending has reached the kernel, as long as that gets on.
    pub fn drain(&mut self) {
        if self.commands.is_empty() && self.drained == Some(self.handed_over) {
            return;
        }
        let end = Instant::now() + LONGEST_DRAIN;
        self.settle();
        self.drained = Some(self.handed_over);
        let shared = &self.event_loop.shared;
        let (mut left, mut progress) = (shared.unsent.load(Ordering::SeqCst), Instant::now());
        while left > 0 && self.event_loop.is_running() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
            let now = shared.unsent.load(Ordering::SeqCst);
            if now != left {
                (left, progress) = (now, Instant::now());
            } else if progress.elapsed() > LONGEST_WAIT {
                return;
            }
        }
    }
}

/// By affinity, or by the quota of a container.
pub fn is_one() -> bool {
    std::thread::available_parallelism().is_ok_and(|count| count.get() == 1)
}

/// Makes the calling thread, the loop's, one that waits for JavaScript to sleep or to have had its slice of time (some 3 ms)
/// instead of interrupting it whenever woken: then what JavaScript asks of it is done in one go, with half the switches
/// between the two. Only where there is one processor, so nothing waits where there are more.
#[cfg(target_os = "linux")]
pub fn share_a_lone_one() {
    if is_one() {
        let no_priority = libc::sched_param { sched_priority: 0 };
        // SAFETY: the kernel reads the parameters during the call. A refusal leaves everything as it is.
        unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &no_priority) };
    }
}

#[cfg(not(target_os = "linux"))]
pub fn share_a_lone_one() {}
