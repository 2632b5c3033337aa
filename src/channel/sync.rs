//! The locks and atomics of what both threads share, in one place so that loom's can take their place in the
//! models of the protocols (`npm run test:loom`).

#[cfg(not(all(test, loom)))]
pub use parking_lot::{Condvar, Mutex};
#[cfg(not(all(test, loom)))]
pub use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};

#[cfg(all(test, loom))]
pub use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
#[cfg(all(test, loom))]
pub use model::{Condvar, Mutex};

/// Loom's locks with the interface of parking_lot's, and what models have in common.
#[cfg(all(test, loom))]
pub mod model {
    use std::ops::{Deref, DerefMut};
    use std::time::Instant;

    #[derive(Default)]
    pub struct Mutex<T>(loom::sync::Mutex<T>);

    /// Empty only while its condition is waited for.
    pub struct MutexGuard<'a, T>(Option<loom::sync::MutexGuard<'a, T>>);

    impl<T> Mutex<T> {
        pub fn new(value: T) -> Self {
            Mutex(loom::sync::Mutex::new(value))
        }
        pub fn lock(&self) -> MutexGuard<'_, T> {
            MutexGuard(Some(self.0.lock().expect("nobody panics with the lock")))
        }
    }

    impl<T> Deref for MutexGuard<'_, T> {
        type Target = T;
        fn deref(&self) -> &T {
            self.0.as_ref().expect("locked")
        }
    }

    impl<T> DerefMut for MutexGuard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            self.0.as_mut().expect("locked")
        }
    }

    #[derive(Default)]
    pub struct Condvar(loom::sync::Condvar);

    /// Loom knows no time: a wait that would need it to end is a deadlock, which loom reports.
    pub struct Notified;

    impl Notified {
        pub fn timed_out(&self) -> bool {
            false
        }
    }

    impl Condvar {
        pub fn new() -> Self {
            Condvar::default()
        }
        pub fn notify_one(&self) {
            self.0.notify_one();
        }
        pub fn notify_all(&self) {
            self.0.notify_all();
        }
        pub fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
            let inner = guard.0.take().expect("locked");
            guard.0 = Some(self.0.wait(inner).expect("nobody panics with the lock"));
        }
        pub fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, _: Instant) -> Notified {
            self.wait(guard);
            Notified
        }
    }

    /// Stands for the eventfd or threadsafe function of the real receivers. A wake that never comes is a
    /// deadlock, which loom reports.
    #[derive(Default)]
    pub struct Bell {
        rung: Mutex<bool>,
        waiting: Condvar,
    }

    impl Bell {
        pub fn ring(&self) {
            *self.rung.lock() = true;
            self.waiting.notify_one();
        }
        pub fn wait(&self) {
            let mut rung = self.rung.lock();
            while !*rung {
                self.waiting.wait(&mut rung);
            }
            *rung = false;
        }
    }

    /// Runs every interleaving in which a thread is interrupted three times at most. Without this bound some
    /// models run for many minutes.
    pub fn check(model: impl Fn() + Send + Sync + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(model);
    }
}
