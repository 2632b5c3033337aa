//! How the loop stops when too much waits for JavaScript, and goes on once JavaScript has taken some.

use super::sync::{AtomicBool, Ordering, fence};

/// Whether the loop has stopped to fill a queue of JavaScript's. The loop decides so itself, from the amounts
/// that it sees; the flag only asks JavaScript to wake it once there is room.
#[derive(Default)]
pub struct Stall {
    stalled: AtomicBool,
    /// JavaScript waits for the loop and can take nothing meanwhile: the loop does not stop.
    suspended: AtomicBool,
}

impl Stall {
    /// Whether the loop has to stop, because `too_much` waits for JavaScript. If so, JavaScript wakes it once
    /// it has taken some. Called by the loop.
    pub fn is_stalled(&self, too_much: impl Fn() -> bool) -> bool {
        let too_much = || too_much() && !self.suspended.load(Ordering::Relaxed);
        if !too_much() {
            return false;
        }
        self.stalled.store(true, Ordering::Relaxed);
        // Pairs with the fences below: either JavaScript, which has taken some meanwhile, sees the flag, or
        // the loop sees that it has.
        fence(Ordering::SeqCst);
        too_much()
    }

    /// Called by JavaScript after it has taken something. True: the loop has stopped, there is room again,
    /// and the caller must wake the loop.
    #[must_use]
    pub fn ends(&self, has_room: impl Fn() -> bool) -> bool {
        fence(Ordering::SeqCst);
        has_room() && self.stalled.load(Ordering::Relaxed) && self.stalled.swap(false, Ordering::Relaxed)
    }

    /// Called by JavaScript before it waits for the loop; until `resume` the loop does not stop. True: it has
    /// stopped, and the caller must wake it.
    #[must_use]
    pub fn suspend(&self) -> bool {
        self.suspended.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.stalled.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    pub fn asks_to_be_woken(&self) -> bool {
        self.stalled.load(Ordering::Relaxed)
    }

    pub fn resume(&self) {
        self.suspended.store(false, Ordering::Relaxed);
    }
}

#[cfg(all(test, loom))]
mod model {
    use super::super::mailbox::Mailbox;
    use super::super::sync::model::{Bell, check};
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    struct World {
        stall: Stall,
        /// Two batches for JavaScript, which are too many.
        dropped: Mailbox<Vec<u32>>,
        /// Wakes the loop.
        bell: Bell,
    }

    const TOO_MANY: usize = 2;

    impl World {
        fn full() -> Arc<Self> {
            let dropped = Mailbox::new(false);
            for number in 0..TOO_MANY as u32 {
                assert!(!dropped.put(&mut vec![number]));
            }
            Arc::new(World { stall: Stall::default(), dropped, bell: Bell::default() })
        }

        /// The loop sleeps as long as it may not go on.
        fn goes_on(&self) {
            while self.stall.is_stalled(|| self.dropped.len() >= TOO_MANY) {
                self.bell.wait();
            }
        }
    }

    #[test]
    fn the_loop_goes_on_when_javascript_has_taken_some() {
        check(|| {
            let world = World::full();
            let javascript = world.clone();
            let thread = thread::spawn(move || {
                let World { stall, dropped, bell } = &*javascript;
                assert!(dropped.take(&mut Vec::new()));
                if stall.ends(|| dropped.len() < TOO_MANY) {
                    bell.ring();
                }
            });
            world.goes_on();
            thread.join().expect("JavaScript");
        });
    }

    #[test]
    fn the_loop_goes_on_while_javascript_waits_for_it() {
        check(|| {
            let world = World::full();
            let (javascript, done) = (world.clone(), Arc::new(Bell::default()));
            let settled = done.clone();
            let thread = thread::spawn(move || {
                if javascript.stall.suspend() {
                    javascript.bell.ring();
                }
                settled.wait();
                javascript.stall.resume();
            });
            world.goes_on();
            done.ring();
            thread.join().expect("JavaScript");
            assert!(world.stall.is_stalled(|| world.dropped.len() >= TOO_MANY), "only meanwhile");
        });
    }

    /// With batches of commands that it may not execute, the loop sleeps as well; the next batch and room for
    /// dropped messages both wake it.
    #[test]
    fn commands_that_wait_are_executed_once_there_is_room() {
        check(|| {
            let (world, commands) = (World::full(), Arc::new(Mailbox::<Vec<u32>>::new(false)));
            assert!(!commands.put(&mut vec![1]));
            let (javascript, sender) = (world.clone(), commands.clone());
            let thread = thread::spawn(move || {
                let World { stall, dropped, bell } = &*javascript;
                if sender.put(&mut vec![2]) {
                    bell.ring();
                }
                assert!(dropped.take(&mut Vec::new()));
                if stall.ends(|| dropped.len() < TOO_MANY) {
                    bell.ring();
                }
            });
            let (mut batch, mut executed) = (Vec::new(), 0);
            while executed < 2 {
                // As `sleep_for` and `execute_commands` do.
                let waiting = !commands.may_sleep();
                let may_execute = waiting && !world.stall.is_stalled(|| world.dropped.len() >= TOO_MANY);
                if waiting {
                    commands.sleep_on();
                }
                if !may_execute {
                    world.bell.wait();
                }
                commands.awake();
                while !world.stall.is_stalled(|| world.dropped.len() >= TOO_MANY) && commands.take(&mut batch)
                {
                    executed += batch.len();
                }
            }
            thread.join().expect("JavaScript");
        });
    }
}
