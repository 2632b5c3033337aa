//! Apps by descriptor, and how connections reach the loops that they are handed over to.

use super::control::{Control, Remote};
use std::collections::BTreeMap;

/// A loop that connections are handed over to.
pub trait Reached: Clone {
    type Command;

    /// Gives the command back if the loop has ended.
    fn control(&self, command: Self::Command) -> Result<(), Self::Command>;
    fn is_same(&self, other: &Self) -> bool;
}

impl Reached for Remote {
    type Command = Control;

    fn control(&self, command: Control) -> Result<(), Control> {
        Remote::control(self, command)
    }
    fn is_same(&self, other: &Remote) -> bool {
        Remote::is_same(self, other)
    }
}

/// The apps of all loops, each by the number that stands for it in the process.
pub struct Apps<R> {
    next: u64,
    apps: BTreeMap<u64, (R, u32)>,
}

impl<R: Reached> Apps<R> {
    pub const fn new() -> Self {
        Apps { next: 1, apps: BTreeMap::new() }
    }

    /// The same one each time.
    pub fn descriptor(&mut self, remote: R, app: u32) -> u64 {
        let known = self.apps.iter().find(|(_, (r, a))| r.is_same(&remote) && *a == app);
        if let Some((descriptor, _)) = known {
            return *descriptor;
        }
        let descriptor = self.next;
        self.next += 1;
        self.apps.insert(descriptor, (remote, app));
        descriptor
    }

    /// Gives the command back if the loop of the app is not known, or has ended.
    pub fn hand_over(
        &self,
        descriptor: u64,
        command: impl FnOnce(u32) -> R::Command,
    ) -> Result<(), R::Command> {
        match self.apps.get(&descriptor) {
            Some((remote, app)) => remote.control(command(*app)),
            None => Err(command(0)),
        }
    }

    pub fn forget_app(&mut self, remote: &R, app: u32) {
        self.apps.retain(|_, (other, number)| *number != app || !other.is_same(remote));
    }

    /// Called before the loop stops, so that it still finds every command that was sent to it.
    pub fn forget(&mut self, remote: &R) {
        self.apps.retain(|_, (other, _)| !other.is_same(remote));
    }
}

#[cfg(all(test, loom))]
mod model {
    use super::*;
    use crate::channel::mailbox::Mailbox;
    use crate::channel::sync::model::{Bell, check};
    use crate::channel::sync::{AtomicBool, Mutex, Ordering};
    use loom::sync::Arc;
    use loom::thread;

    /// The parts of a loop that a connection meets that is handed over.
    struct World {
        stop: AtomicBool,
        inbox: Mutex<Vec<u32>>,
        commands: Mailbox<Vec<u32>>,
        waker: Bell,
    }

    impl Reached for Arc<World> {
        type Command = u32;

        fn control(&self, connection: u32) -> Result<(), u32> {
            if self.stop.load(Ordering::SeqCst) {
                return Err(connection);
            }
            self.inbox.lock().push(connection);
            if self.commands.needs_wake() {
                self.waker.ring();
            }
            Ok(())
        }
        fn is_same(&self, other: &Self) -> bool {
            Arc::ptr_eq(self, other)
        }
    }

    impl World {
        /// Connections that were adopted, and those that the loop finds in its inbox when it has ended.
        fn run(&self) -> usize {
            let mut adopted = 0;
            loop {
                let _ = self.commands.may_sleep();
                if self.inbox.lock().is_empty() {
                    self.waker.wait();
                }
                self.commands.awake();
                if self.stop.load(Ordering::SeqCst) {
                    return adopted + self.inbox.lock().len();
                }
                adopted += std::mem::take(&mut *self.inbox.lock()).len();
            }
        }
    }

    #[test]
    fn a_connection_for_a_loop_that_stops_is_adopted_or_given_back() {
        check(|| {
            let (stop, inbox) = (AtomicBool::new(false), Mutex::default());
            let world =
                Arc::new(World { stop, inbox, commands: Mailbox::new(false), waker: Bell::default() });
            let apps = Arc::new(Mutex::new(Apps::new()));
            let descriptor = apps.lock().descriptor(world.clone(), 7);
            let (registry, stopped) = (apps.clone(), world.clone());
            let javascript = thread::spawn(move || {
                registry.lock().forget(&stopped);
                stopped.stop.store(true, Ordering::SeqCst);
                stopped.waker.ring();
            });
            let of_loop = world.clone();
            let event_loop = thread::spawn(move || of_loop.run());
            let given_back = apps.lock().hand_over(descriptor, |app| app).is_err();
            javascript.join().expect("JavaScript");
            let found = event_loop.join().expect("loop");
            assert_eq!(found + usize::from(given_back), 1, "lost, or in two places");
        });
    }
}
