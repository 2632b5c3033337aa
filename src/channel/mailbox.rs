//! The two queues between the JavaScript thread and the loop thread.
//!
//! A [`Mailbox`] carries whole batches in one direction. The sender fills a batch without any lock, then
//! hands it over under one short lock and gets an empty, already allocated one back; so neither side
//! allocates in the steady state. It also owns the wake protocol: a receiver that is about to sleep says so,
//! and only then does the sender have to pay for a wake (an eventfd write or a threadsafe-function call).
//!
//! The mailbox does not know the meaning of the batches, sockets or JavaScript.
#![forbid(unsafe_code)]

use super::sync::{AtomicBool, AtomicUsize, Condvar, Mutex, Ordering, fence};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A batch that a mailbox carries. It has a size, and can be emptied and used again.
pub trait Batch: Default {
    fn is_empty(&self) -> bool;
    /// Bytes held, for the bound on what may be queued.
    fn bytes(&self) -> usize;
    /// The number of things it holds, where that is bounded, too.
    fn items(&self) -> usize {
        0
    }
    /// Empties the batch and keeps a reasonable capacity.
    fn recycle(&mut self);
}

/// A one-way queue of batches with exactly one sender and one receiver.
pub struct Mailbox<T> {
    queue: Mutex<Queue<T>>,
    /// Signalled when the receiver took a batch, for a sender that waits for room.
    room: Condvar,
    /// Batches queued; readable without the lock.
    len: AtomicUsize,
    /// Bytes queued; readable without the lock.
    bytes: AtomicUsize,
    /// [`Batch::items`] queued; readable without the lock.
    items: AtomicUsize,
    /// Set by a receiver that is going to sleep, cleared by the thread that wakes it.
    asleep: AtomicBool,
}

struct Queue<T> {
    full: VecDeque<T>,
    spare: Vec<T>,
}

/// Spare batches kept for reuse; more would only hold memory after a burst.
const SPARE_BATCHES: usize = 6;

impl<T: Batch> Mailbox<T> {
    /// `asleep`: whether the receiver has to be woken for the very first batch.
    pub fn new(asleep: bool) -> Self {
        Mailbox {
            queue: Mutex::new(Queue { full: VecDeque::new(), spare: Vec::new() }),
            room: Condvar::new(),
            len: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            items: AtomicUsize::new(0),
            asleep: AtomicBool::new(asleep),
        }
    }

    /// Hands `batch` over and leaves an empty one in its place. True: the receiver sleeps and the caller must
    /// wake it.
    #[must_use]
    pub fn put(&self, batch: &mut T) -> bool {
        if batch.is_empty() {
            return false;
        }
        let (bytes, items) = (batch.bytes(), batch.items());
        let mut queue = self.queue.lock();
        let empty = queue.spare.pop().unwrap_or_default();
        queue.full.push_back(std::mem::replace(batch, empty));
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.items.fetch_add(items, Ordering::Relaxed);
        self.len.fetch_add(1, Ordering::Relaxed);
        drop(queue);
        self.needs_wake()
    }

    /// Whether the receiver sleeps; if so it counts as woken from here on and the caller must wake it.
    #[must_use]
    pub fn needs_wake(&self) -> bool {
        // Pairs with the fence in `may_sleep`: either the receiver sees the batch, or we see that it sleeps.
        fence(Ordering::SeqCst);
        // No swap: that would write although there is nothing to change.
        let (relaxed, asleep) = (Ordering::Relaxed, &self.asleep);
        asleep.load(relaxed) && asleep.compare_exchange(true, false, relaxed, relaxed).is_ok()
    }

    /// Takes the oldest batch in exchange for `used`, which is recycled. False: nothing queued, `used` is
    /// left empty.
    pub fn take(&self, used: &mut T) -> bool {
        used.recycle();
        if self.len.load(Ordering::Acquire) == 0 {
            return false;
        }
        let mut queue = self.queue.lock();
        let Some(batch) = queue.full.pop_front() else { return false };
        self.len.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(batch.bytes(), Ordering::Relaxed);
        self.items.fetch_sub(batch.items(), Ordering::Relaxed);
        let empty = std::mem::replace(used, batch);
        if queue.spare.len() < SPARE_BATCHES {
            queue.spare.push(empty);
        }
        drop(queue);
        self.room.notify_one();
        true
    }

    /// Called by the receiver before it sleeps. False: something was put meanwhile; do not sleep.
    #[must_use]
    pub fn may_sleep(&self) -> bool {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.len.load(Ordering::Relaxed) == 0 {
            return true;
        }
        self.asleep.store(false, Ordering::Relaxed);
        false
    }

    /// Called by a receiver that sleeps although something is queued, because it cannot use it yet. The next
    /// batch wakes it all the same.
    pub fn sleep_on(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Called by the receiver when it woke for a reason of its own.
    pub fn awake(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Batches queued and not yet taken.
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Bytes queued and not yet taken.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Items queued and not yet taken.
    pub fn items(&self) -> usize {
        self.items.load(Ordering::Relaxed)
    }

    /// Called by the receiver: makes a sender that waits for room check again whether to give up.
    pub fn nudge(&self) {
        // Take the lock, or the notification could come between the sender's check and its sleep.
        let _queue = self.queue.lock();
        self.room.notify_one();
    }

    /// Waits until fewer than `limit` bytes are queued or there is reason to `give_up`, at most for
    /// `longest`. Returns whether there is room.
    pub fn wait_for_room(&self, limit: usize, longest: Duration, give_up: impl Fn() -> bool) -> bool {
        let end = Instant::now() + longest;
        let mut queue = self.queue.lock();
        while self.bytes() >= limit {
            if give_up() {
                return false;
            }
            if self.room.wait_until(&mut queue, end).timed_out() {
                return self.bytes() < limit;
            }
        }
        true
    }
}

#[cfg(test)]
impl Batch for Vec<u32> {
    fn is_empty(&self) -> bool {
        self.is_empty()
    }
    fn bytes(&self) -> usize {
        self.len() * 4
    }
    fn recycle(&mut self) {
        self.clear();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn batches_arrive_in_order_and_come_back_empty() {
        let mailbox = Mailbox::new(false);
        let mut batch = vec![1, 2];
        assert!(!mailbox.put(&mut batch));
        assert!(batch.is_empty());
        batch.push(3);
        assert!(!mailbox.put(&mut batch));
        assert_eq!(mailbox.bytes(), 12);
        let mut got = Vec::new();
        assert!(mailbox.take(&mut got));
        assert_eq!(got, [1, 2]);
        assert!(mailbox.take(&mut got));
        assert_eq!(got, [3]);
        assert!(!mailbox.take(&mut got));
        assert!(got.is_empty());
        assert_eq!(mailbox.bytes(), 0);
    }

    #[test]
    fn an_empty_batch_is_not_sent() {
        let mailbox = Mailbox::<Vec<u32>>::new(true);
        assert!(!mailbox.put(&mut Vec::new()));
        assert!(mailbox.is_empty());
    }

    #[test]
    fn a_sleeper_is_woken_exactly_once() {
        let mailbox = Mailbox::new(false);
        assert!(mailbox.may_sleep());
        assert!(mailbox.put(&mut vec![1]));
        assert!(!mailbox.put(&mut vec![2]));
        assert!(!mailbox.may_sleep(), "two batches wait");
        let mut got = Vec::new();
        while mailbox.take(&mut got) {}
        assert!(mailbox.may_sleep());
        mailbox.awake();
        assert!(!mailbox.put(&mut vec![3]), "a receiver that is awake looks by itself");
    }

    #[test]
    fn a_full_mailbox_makes_the_sender_wait_until_there_is_room() {
        let mailbox = Arc::new(Mailbox::new(false));
        assert!(!mailbox.put(&mut vec![0; 100]));
        assert!(!mailbox.wait_for_room(400, Duration::from_millis(1), || false));
        let other = mailbox.clone();
        let receiver = std::thread::spawn(move || other.take(&mut Vec::new()));
        assert!(mailbox.wait_for_room(400, Duration::from_secs(30), || false));
        assert!(receiver.join().expect("receiver"));
    }

    #[test]
    fn nothing_is_lost_between_two_threads() {
        let mailbox = Arc::new(Mailbox::new(false));
        let waker = Arc::new((Mutex::new(false), Condvar::new()));
        let (sender, wake) = (mailbox.clone(), waker.clone());
        let thread = std::thread::spawn(move || {
            let mut batch = Vec::new();
            for n in 0..20_000u32 {
                batch.push(n);
                if n % 7 == 0 && sender.put(&mut batch) {
                    *wake.0.lock() = true;
                    wake.1.notify_one();
                }
            }
            let _ = sender.put(&mut batch);
            *wake.0.lock() = true;
            wake.1.notify_one();
        });
        let (mut got, mut next) = (Vec::new(), 0);
        while next < 20_000 {
            while mailbox.take(&mut got) {
                for n in &got {
                    assert_eq!(*n, next);
                    next += 1;
                }
            }
            if next < 20_000 && mailbox.may_sleep() {
                let mut woken = waker.0.lock();
                while !*woken {
                    assert!(
                        !waker.1.wait_for(&mut woken, Duration::from_secs(30)).timed_out(),
                        "lost wake-up"
                    );
                }
                *woken = false;
                mailbox.awake();
            }
        }
        thread.join().expect("sender");
    }
}

/// Every interleaving of one sender and one receiver, as far as the memory model lets them reorder.
#[cfg(all(test, loom))]
mod model {
    use super::super::sync::model::{Bell, check};
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    /// Receives until `last` has come. With `restless`, wakes once for a reason of its own instead of
    /// sleeping.
    fn receive(mailbox: &Mailbox<Vec<u32>>, bell: &Bell, last: u32, mut restless: bool) {
        let (mut batch, mut next) = (Vec::new(), 1);
        loop {
            while mailbox.take(&mut batch) {
                for n in batch.iter() {
                    assert_eq!(*n, next, "in order, nothing lost");
                    next += 1;
                }
            }
            if next > last {
                break;
            }
            if mailbox.may_sleep() {
                if !std::mem::take(&mut restless) {
                    bell.wait();
                }
                mailbox.awake();
            }
        }
        assert!(mailbox.is_empty());
        assert_eq!(mailbox.bytes(), 0);
    }

    fn send_and_receive(asleep: bool, batches: &'static [&'static [u32]], restless: bool) {
        check(move || {
            let (mailbox, bell) = (Arc::new(Mailbox::new(asleep)), Arc::new(Bell::default()));
            let (to, ring) = (mailbox.clone(), bell.clone());
            let sender = thread::spawn(move || {
                for numbers in batches {
                    if to.put(&mut numbers.to_vec()) {
                        ring.ring();
                    }
                }
            });
            if asleep {
                // Asleep from the start: the first batch must ring.
                bell.wait();
            }
            let last = batches.iter().map(|batch| batch.len() as u32).sum();
            receive(&mailbox, &bell, last, restless);
            sender.join().expect("sender");
        });
    }

    #[test]
    fn one_batch_wakes_the_receiver() {
        send_and_receive(false, &[&[1]], false);
    }

    #[test]
    fn a_receiver_that_sleeps_from_the_start_is_woken() {
        send_and_receive(true, &[&[1], &[2]], false);
    }

    #[test]
    fn nothing_is_lost_and_no_wake_is() {
        send_and_receive(false, &[&[1, 2], &[3]], false);
    }

    #[test]
    fn a_receiver_that_woke_by_itself_is_still_woken_the_next_time() {
        send_and_receive(false, &[&[1], &[2]], true);
    }

    /// Another loop leaves a connection in the inbox of this one and asks its mailbox of commands whether to
    /// wake it; JavaScript hands commands over at the same time. The loop either executes them at once or may
    /// not, because too many dropped messages wait.
    fn connection_in_the_inbox(may_execute: bool) {
        check(move || {
            let (mailbox, bell) = (Arc::new(Mailbox::new(false)), Arc::new(Bell::default()));
            let inbox = Arc::new(AtomicUsize::new(0));
            let (commands, ring) = (mailbox.clone(), bell.clone());
            let javascript = thread::spawn(move || {
                if commands.put(&mut vec![1]) {
                    ring.ring();
                }
            });
            let (commands, ring, to) = (mailbox.clone(), bell.clone(), inbox.clone());
            let other = thread::spawn(move || {
                to.fetch_add(1, Ordering::Relaxed);
                if commands.needs_wake() {
                    ring.ring();
                }
            });
            let (mut executed, mut adopted, mut batch) = (0, 0, Vec::new());
            while adopted == 0 || (may_execute && executed == 0) {
                // As `sleep_for` does.
                let commands = !mailbox.may_sleep();
                if commands {
                    mailbox.sleep_on();
                }
                let busy = (commands && may_execute) || inbox.load(Ordering::Relaxed) > 0;
                if !busy {
                    bell.wait();
                }
                mailbox.awake();
                adopted += inbox.swap(0, Ordering::Relaxed);
                while may_execute && mailbox.take(&mut batch) {
                    executed += batch.len();
                }
            }
            javascript.join().expect("JavaScript");
            other.join().expect("the other loop");
        });
    }

    #[test]
    fn a_connection_in_the_inbox_wakes_the_loop_as_commands_do() {
        connection_in_the_inbox(true);
    }

    #[test]
    fn a_connection_in_the_inbox_wakes_a_loop_that_may_execute_nothing() {
        connection_in_the_inbox(false);
    }

    /// `Dropped` events have a mailbox of their own, and JavaScript sleeps on the other one. It sees them
    /// before the events that follow them.
    #[test]
    fn dropped_events_wake_javascript_and_come_before_those_that_follow_them() {
        check(|| {
            let (events, dropped) = (Arc::new(Mailbox::new(false)), Arc::new(Mailbox::new(false)));
            let bell = Arc::new(Bell::default());
            let (of_loop, of_drops, ring) = (events.clone(), dropped.clone(), bell.clone());
            let thread = thread::spawn(move || {
                // As `publish_events` does, for one turn with dropped messages alone and one with both.
                for turn in [&[][..], &[9]] {
                    let _ = of_drops.put(&mut vec![1]);
                    let mut wake = of_loop.needs_wake();
                    wake |= of_loop.put(&mut turn.to_vec());
                    if wake {
                        ring.ring();
                    }
                }
            });
            let (mut seen, mut batch, mut drops) = (Vec::new(), Vec::new(), Vec::new());
            while !seen.contains(&9) {
                // As `Session::take` does.
                let taken = events.take(&mut batch);
                let sleeps = !taken && events.may_sleep();
                let before = seen.len();
                while dropped.take(&mut drops) {
                    seen.append(&mut drops);
                }
                seen.append(&mut batch);
                if sleeps {
                    if seen.len() == before {
                        bell.wait();
                    }
                    events.awake();
                }
            }
            assert_eq!(seen, [1, 1, 9]);
            thread.join().expect("loop");
        });
    }

    /// JavaScript waits for room, and gives up when the loop waits for it in turn.
    #[test]
    fn a_sender_that_waits_for_room_gets_it_or_gives_up() {
        check(|| {
            let (mailbox, dropped) = (Arc::new(Mailbox::new(false)), Arc::new(AtomicBool::new(false)));
            assert!(!mailbox.put(&mut vec![1]) && !mailbox.put(&mut vec![2]));
            let (of_loop, drops) = (mailbox.clone(), dropped.clone());
            let thread = thread::spawn(move || {
                assert!(of_loop.take(&mut Vec::new()));
                drops.store(true, Ordering::Relaxed);
                of_loop.nudge();
            });
            let longest = Duration::from_secs(1);
            let has_room = mailbox.wait_for_room(4, longest, || dropped.load(Ordering::Relaxed));
            assert!(!has_room || mailbox.is_empty());
            assert!(mailbox.wait_for_room(8, longest, || false));
            thread.join().expect("loop");
        });
    }
}
