//! The two queues between the JavaScript thread and the loop thread.
//!
//! A [`Mailbox`] carries whole batches in one direction. The sender fills a batch without any lock, then hands it
//! over under one short lock and gets an empty, already allocated one back; so neither side allocates in the steady
//! state. It also owns the wake protocol: a receiver that is about to sleep says so, and only then does the sender
//! have to pay for a wake (an eventfd write or a threadsafe-function call).
//!
//! Knows nothing of what the batches mean, of sockets or of JavaScript.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::time::{Duration, Instant};

#[cfg(not(loom))]
use parking_lot::{Condvar, Mutex};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

/// What a mailbox carries: something with a size that can be emptied and used again.
pub trait Batch: Default {
    fn is_empty(&self) -> bool;
    /// Bytes held, for the bound on what may be queued.
    fn bytes(&self) -> usize;
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
    /// Set by a receiver that is going to sleep, cleared by whoever wakes it.
    asleep: AtomicBool,
}

struct Queue<T> {
    full: VecDeque<T>,
    spare: Vec<T>,
}

/// Spare batches kept for reuse; more would only hold memory after a burst.
const SPARE_BATCHES: usize = 2;

impl<T: Batch> Mailbox<T> {
    /// `asleep`: whether the receiver has to be woken for the very first batch.
    pub fn new(asleep: bool) -> Self {
        Mailbox {
            queue: Mutex::new(Queue { full: VecDeque::new(), spare: Vec::new() }),
            room: Condvar::new(),
            len: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            asleep: AtomicBool::new(asleep),
        }
    }

    /// Hands `batch` over and leaves an empty one in its place. True: the receiver sleeps and the caller must wake it.
    #[must_use]
    pub fn put(&self, batch: &mut T) -> bool {
        if batch.is_empty() {
            return false;
        }
        let bytes = batch.bytes();
        let mut queue = self.queue.lock();
        let empty = queue.spare.pop().unwrap_or_default();
        queue.full.push_back(std::mem::replace(batch, empty));
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.len.fetch_add(1, Ordering::Relaxed);
        drop(queue);
        self.needs_wake()
    }

    /// Whether the receiver sleeps; if so it counts as woken from here on and the caller must wake it.
    #[must_use]
    pub fn needs_wake(&self) -> bool {
        // Pairs with the fence in `may_sleep`: either the receiver sees what was put, or we see that it sleeps.
        fence(Ordering::SeqCst);
        self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed)
    }

    /// Takes the oldest batch in exchange for `used`, which is recycled. False: nothing queued, `used` is left empty.
    pub fn take(&self, used: &mut T) -> bool {
        used.recycle();
        if self.len.load(Ordering::Acquire) == 0 {
            return false;
        }
        let mut queue = self.queue.lock();
        let Some(batch) = queue.full.pop_front() else { return false };
        self.len.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(batch.bytes(), Ordering::Relaxed);
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

    /// Called by the receiver when it woke for a reason of its own.
    pub fn awake(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    pub fn is_empty(&self) -> bool {
        self.len.load(Ordering::Relaxed) == 0
    }

    /// Bytes queued and not yet taken.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Waits until fewer than `limit` bytes are queued, at most for `longest`. Returns whether there is room.
    #[cfg(not(loom))]
    pub fn wait_for_room(&self, limit: usize, longest: Duration) -> bool {
        let end = Instant::now() + longest;
        let mut queue = self.queue.lock();
        while self.bytes() >= limit {
            if self.room.wait_until(&mut queue, end).timed_out() {
                return self.bytes() < limit;
            }
        }
        true
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::Arc;

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
        assert!(!mailbox.wait_for_room(400, Duration::from_millis(1)));
        let other = mailbox.clone();
        let receiver = std::thread::spawn(move || other.take(&mut Vec::new()));
        assert!(mailbox.wait_for_room(400, Duration::from_secs(30)));
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
