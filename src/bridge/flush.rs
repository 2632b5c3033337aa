//! When commands leave for the loop.
//!
//! - Outside of a batch of events they leave at the end of the turn of the runtime's event loop; JavaScript
//!   arranges that.
//! - While JavaScript works through a batch of events they leave after one of the intervals of
//!   [`FlushPolicy`], so that the loop writes while handlers work.
//! - A batch of commands that has grown large leaves at once.
//! - With one processor for both threads they leave less often, JavaScript yields the processor after so many
//!   bytes of answers, and the loop's thread does not interrupt JavaScript's ([`share_a_lone_processor`]).
//! - When the environment ends they leave, and the end waits for as long as peers take bytes, within bounds.

use crate::channel::mailbox::Batch;
use crate::channel::{COMMAND_BATCH_BYTES, COMMAND_QUEUE_BYTES, CommandBatch};
use crate::event_loop::{Control, Loop};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Time between two flushes while JavaScript works through a batch of events.
const FLUSH_INTERVAL: Duration = Duration::from_micros(400);
/// The same where a handler takes longer than [`CHEAP_EVENT`], if the loop has a processor of its own to
/// write meanwhile.
const BUSY_FLUSH_INTERVAL: Duration = Duration::from_micros(50);
/// The same where the loop has none: a flush switches between the threads then, and nothing is written any
/// sooner.
const LONE_FLUSH_INTERVAL: Duration = Duration::from_micros(1500);
const CHEAP_EVENT: Duration = Duration::from_nanos(1500);
/// On a lone processor the loop gets its turn when it has this much to write: more would fall out of the
/// cache before.
const YIELD_BYTES: usize = 1 << 20;
/// The most events handled between two readings of the clock.
const MAX_STRIDE: u32 = 1024;
/// The longest that JavaScript is held up by one wait; the loop takes far less unless the machine is busy.
const LONGEST_WAIT: Duration = Duration::from_millis(100);
/// How long an ending process may be held up by connections that still take bytes.
const LONGEST_DRAIN: Duration = Duration::from_secs(2);

/// Decides when commands leave while JavaScript works through a batch of events. It acts between two
/// handlers, never within one, and reads the clock only there.
struct FlushPolicy {
    /// When the stretch of events began that is being worked through.
    since: Instant,
    /// The number of events in it.
    stride: u32,
    /// The loop and JavaScript have one processor between them.
    is_alone: bool,
    /// On a lone processor, the bytes of messages and responses since it was last left to the loop.
    answered: usize,
}

impl FlushPolicy {
    fn new(is_alone: bool) -> Self {
        FlushPolicy { since: Instant::now(), stride: 1, is_alone, answered: 0 }
    }

    /// The length of the first stretch of a batch. The last handlers are the best guess at how long the next
    /// ones take.
    fn start(&mut self, now: Instant) -> u32 {
        self.since = now;
        self.stride
    }

    /// The length of the next stretch, after one of `events`.
    fn next(&mut self, events: u32, now: Instant) -> u32 {
        let each = (now - self.since).as_nanos() as u64 / u64::from(events.max(1));
        self.since = now;
        let fitting = self.interval(each).as_nanos() as u64 / each.max(1);
        // Growing slowly: one cheap stretch says little about the next handler.
        self.stride = (fitting as u32).clamp(1, (self.stride * 2).min(MAX_STRIDE));
        self.stride
    }

    /// `each`: the nanoseconds that an event took.
    fn interval(&self, each: u64) -> Duration {
        let cheap = each < CHEAP_EVENT.as_nanos() as u64;
        match (cheap, self.is_alone) {
            (true, _) => FLUSH_INTERVAL,
            (false, true) => LONE_FLUSH_INTERVAL,
            (false, false) => BUSY_FLUSH_INTERVAL,
        }
    }

    fn count_answer(&mut self, bytes: usize) {
        if self.is_alone {
            self.answered += bytes;
        }
    }

    /// Whether the processor is to be left to the loop now.
    fn yields(&mut self) -> bool {
        let due = self.answered >= YIELD_BYTES;
        if due {
            self.answered = 0;
        }
        due
    }
}

/// Whether more commands may follow a flush.
#[derive(Debug, PartialEq, Eq)]
pub enum Flushed {
    /// There is room for more commands.
    Room,
    /// The loop may be waiting in turn until JavaScript has taken `Dropped` events.
    ReliefDue,
}

/// The commands of a session on their way to the loop.
///
/// The session owns the batch that is being collected, the loop every batch that was handed over. The session
/// alone counts those handed over, and the loop alone (in `Settled`) those it has executed; JavaScript waits
/// for the second count to reach the first. After the loop thread has ended, a batch is emptied instead of
/// being handed over and the loop's count stands still, so every wait ends as soon as the thread is found not
/// to run.
pub struct Outbox {
    commands: CommandBatch,
    /// Batches handed over, wrapping.
    handed_over: usize,
    /// The number of batches that `drain` has waited for; it is called more than once before the end.
    drained: Option<usize>,
    policy: FlushPolicy,
}

impl Outbox {
    /// An empty one, with the policy for as many processors as the process may use now.
    pub fn new() -> Self {
        let policy = FlushPolicy::new(is_lone_processor());
        Outbox { commands: CommandBatch::default(), handed_over: 0, drained: None, policy }
    }

    pub fn commands(&mut self) -> &mut CommandBatch {
        &mut self.commands
    }

    /// Appends a rare command, behind everything collected so far.
    pub fn control(&mut self, event_loop: &Loop, control: Control) {
        event_loop.push_control(&mut self.commands, control);
    }

    /// Counts the bytes of a message or a response.
    pub fn count_answer(&mut self, bytes: usize) {
        self.policy.count_answer(bytes);
    }

    /// Whether the batch is too large to wait for the end of the turn.
    pub fn is_large(&self) -> bool {
        self.commands.bytes() >= COMMAND_BATCH_BYTES
    }

    /// Hands all commands over. Waits for the loop when too many are queued, which bounds the memory. The
    /// wait ends: the loop executes commands unless JavaScript has to take `Dropped` events first, in which
    /// case this returns `ReliefDue` at once.
    pub fn flush(&mut self, event_loop: &Loop) -> Flushed {
        if self.commands.is_empty() {
            return Flushed::Room;
        }
        event_loop.flush(&mut self.commands);
        self.handed_over = self.handed_over.wrapping_add(1);
        if self.policy.yields() {
            std::thread::yield_now();
        }
        let shared = &event_loop.shared;
        while shared.commands.bytes() >= COMMAND_QUEUE_BYTES && event_loop.is_running() {
            let has_dropped = || !shared.dropped.is_empty();
            if has_dropped() {
                return Flushed::ReliefDue;
            }
            shared.commands.wait_for_room(COMMAND_QUEUE_BYTES, LONGEST_WAIT, has_dropped);
        }
        Flushed::Room
    }

    /// Called when a batch of events begins; returns after how many of them a flush is due.
    pub fn start_stretch(&mut self) -> u32 {
        self.policy.start(Instant::now())
    }

    /// Called when `events` of a batch have been handled; returns after how many more a flush is due.
    pub fn next_stretch(&mut self, events: u32) -> u32 {
        self.policy.next(events, Instant::now())
    }

    /// Waits until the loop has executed the batches that were handed over and tried to write, or
    /// [`LONGEST_WAIT`] has passed. Returns whether it has.
    ///
    /// Meanwhile the loop executes commands however many `Dropped` events wait for JavaScript. The queued
    /// commands bound how many more there will be.
    pub fn wait(&self, event_loop: &Loop) -> bool {
        let shared = &event_loop.shared;
        if shared.drops_stalled.suspend() {
            event_loop.wake();
        }
        let is_settled = shared.settled.wait(self.handed_over, LONGEST_WAIT);
        shared.drops_stalled.resume();
        is_settled
    }

    /// Panics if the loop has executed batches that were not handed over. Right at any time, although the
    /// loop goes on counting meanwhile: the session counts a batch before the next check, and the loop only
    /// batches that it got.
    #[cfg(debug_assertions)]
    pub fn check(&self, event_loop: &Loop) {
        let (done, ours) = (event_loop.shared.settled.batches(), self.handed_over);
        assert!(ours.wrapping_sub(done) as isize >= 0, "batches: {ours} handed over, {done} carried out");
    }

    /// Whether nothing was sent since the last [`wait_until_sent`](Self::wait_until_sent).
    pub fn is_drained(&self) -> bool {
        self.commands.is_empty() && self.drained == Some(self.handed_over)
    }

    /// Waits until the kernel has taken all bytes that were handed over, as long as it takes some and `end`
    /// has not come.
    pub fn wait_until_sent(&mut self, event_loop: &Loop, end: Instant) {
        self.drained = Some(self.handed_over);
        let unsent = || event_loop.shared.counters.unsent.load(Ordering::SeqCst);
        let (mut left, mut progress) = (unsent(), Instant::now());
        while left > 0 && event_loop.is_running() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
            let now = unsent();
            if now != left {
                (left, progress) = (now, Instant::now());
            } else if progress.elapsed() > LONGEST_WAIT {
                return;
            }
        }
    }
}

/// When a drain that begins now has to end.
pub fn end_of_drain() -> Instant {
    Instant::now() + LONGEST_DRAIN
}

/// Whether the process may use but one processor, by its affinity or by the quota of its container.
fn is_lone_processor() -> bool {
    std::thread::available_parallelism().is_ok_and(|count| count.get() == 1)
}

/// Makes the calling thread, the loop's, wait until JavaScript sleeps or has had its time slice (some 3 ms),
/// instead of interrupting it whenever the loop is woken. Then the loop executes the commands of that time in
/// one go, with half the switches between the threads. It acts once, when the loop starts, and only with one
/// processor: with more, nothing waits.
#[cfg(all(target_os = "linux", feature = "binding"))]
pub fn share_a_lone_processor() {
    if is_lone_processor() {
        // SAFETY: the struct is of numbers, for which zeroes are valid; musl's has more of them than glibc's.
        let no_priority: libc::sched_param = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel reads the parameters during the call. A refusal leaves everything as it is.
        unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &no_priority) };
    }
}

#[cfg(not(all(target_os = "linux", feature = "binding")))]
pub fn share_a_lone_processor() {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::{ExchangeId, Op, WakeJs};
    use crate::protocol::http::request::Limits;

    /// The lengths of the next stretches, where each event takes so many nanoseconds.
    fn strides(is_alone: bool, each: u64, count: usize) -> Vec<u32> {
        let mut policy = FlushPolicy::new(is_alone);
        let mut now = Instant::now();
        let mut stride = policy.start(now);
        let mut next = || {
            now += Duration::from_nanos(each * u64::from(stride));
            stride = policy.next(stride, now);
            stride
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn stretches_grow_slowly_up_to_an_interval() {
        assert_eq!(strides(false, 1_000, 10), [2, 4, 8, 16, 32, 64, 128, 256, 400, 400]);
        assert_eq!(strides(false, 2_000, 6), [2, 4, 8, 16, 25, 25]);
        assert_eq!(strides(true, 2_000, 11), [2, 4, 8, 16, 32, 64, 128, 256, 512, 750, 750]);
        assert_eq!(strides(false, 10, 11).last(), Some(&MAX_STRIDE));
        assert_eq!(strides(false, 0, 12).last(), Some(&MAX_STRIDE));
        assert_eq!(strides(false, 1_000_000_000, 2), [1, 1], "one event at a time");
    }

    #[test]
    fn the_first_stretch_of_a_batch_is_the_last_of_the_one_before() {
        let (mut policy, now) = (FlushPolicy::new(false), Instant::now());
        assert_eq!(policy.start(now), 1);
        policy.next(1, now);
        assert_eq!(policy.next(2, now), 4);
        assert_eq!(policy.start(now + Duration::from_secs(1)), 4);
        assert_eq!(policy.next(4, now + Duration::from_secs(1)), 8, "time between batches does not count");
    }

    struct NobodyToWake;

    impl WakeJs for NobodyToWake {
        fn wake(&self) {}
    }

    fn event_loop() -> Loop {
        Loop::start(Limits { max_head: 4096, max_fields: 100 }, Box::new(NobodyToWake)).expect("loop")
    }

    #[test]
    fn batches_that_were_handed_over_are_waited_for() {
        let (mut outbox, event_loop) = (Outbox::new(), event_loop());
        assert!(outbox.wait(&event_loop), "nothing was handed over");
        for app in 0..3 {
            outbox.control(&event_loop, Control::AddApp { app });
            assert_eq!(outbox.flush(&event_loop), Flushed::Room);
            assert!(outbox.commands().is_empty() && !outbox.is_drained());
        }
        while !outbox.wait(&event_loop) {}
        assert_eq!(event_loop.shared.settled.batches(), 3);
        assert_eq!(outbox.flush(&event_loop), Flushed::Room, "there is nothing to hand over");
        while !outbox.wait(&event_loop) {}
        assert_eq!(event_loop.shared.settled.batches(), 3);
        outbox.wait_until_sent(&event_loop, end_of_drain());
        assert!(outbox.is_drained());
        outbox.commands().push(Op::CloseApp, ExchangeId::default(), 0);
        assert!(!outbox.is_drained(), "there is something new");
    }

    #[test]
    fn after_the_loop_nothing_is_waited_for() {
        let (mut outbox, mut event_loop) = (Outbox::new(), event_loop());
        event_loop.stop();
        let begin = Instant::now();
        event_loop.shared.counters.unsent.store(1, Ordering::SeqCst);
        let record = outbox.commands().record(Op::Send, 0, ExchangeId::default(), 0, 0);
        record.finish_owned(vec![0; 2 * COMMAND_QUEUE_BYTES]);
        assert_eq!(outbox.flush(&event_loop), Flushed::Room);
        assert!(outbox.commands().is_empty());
        assert_eq!(event_loop.shared.commands.bytes(), 0, "nobody would take them");
        outbox.wait_until_sent(&event_loop, end_of_drain());
        assert!(begin.elapsed() < LONGEST_DRAIN);
        #[cfg(debug_assertions)]
        outbox.check(&event_loop);
    }

    #[test]
    fn a_lone_processor_is_yielded_after_so_many_bytes() {
        let mut policy = FlushPolicy::new(true);
        policy.count_answer(YIELD_BYTES - 1);
        assert!(!policy.yields());
        policy.count_answer(1);
        assert!(policy.yields());
        assert!(!policy.yields(), "they count anew");
        let mut policy = FlushPolicy::new(false);
        policy.count_answer(2 * YIELD_BYTES);
        assert!(!policy.yields(), "the loop has a processor of its own");
    }
}
