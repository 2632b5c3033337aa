//! The process-wide key-value helpers: texts and numbers in named collections, and one lock for changes that
//! take several steps.
//!
//! All environments of the process share them on purpose, as they do the descriptors of apps
//! (`event_loop/registry.rs`); therefore they are `static`. Each operation is atomic by itself, unlike the
//! original's.
#![forbid(unsafe_code)]

use parking_lot::{Condvar, Mutex};
use std::collections::BTreeMap;
use thiserror::Error;

pub static STRINGS: Collections<Vec<u8>> = Collections::new();
/// JavaScript calls them integers: whole numbers up to 2^53.
pub static INTEGERS: Collections<f64> = Collections::new();
pub static LOCK: Lock = Lock::new();

type Collection<T> = BTreeMap<Vec<u8>, T>;

/// Named collections of one kind of value. Names and keys are bytes that need not be text.
pub struct Collections<T> {
    collections: Mutex<BTreeMap<Vec<u8>, Collection<T>>>,
}

impl<T: Clone + Default> Collections<T> {
    const fn new() -> Self {
        Collections { collections: Mutex::new(BTreeMap::new()) }
    }

    /// The default of the kind for a key that is not there.
    pub fn get(&self, collection: &[u8], key: &[u8]) -> T {
        let collections = self.collections.lock();
        collections.get(collection).and_then(|values| values.get(key)).cloned().unwrap_or_default()
    }

    /// Replaces the value by the one that `change` makes of it; returns the new one.
    pub fn update(&self, collection: Vec<u8>, key: Vec<u8>, change: impl FnOnce(T) -> T) -> T {
        let mut collections = self.collections.lock();
        let value = collections.entry(collection).or_default().entry(key).or_default();
        *value = change(std::mem::take(value));
        value.clone()
    }

    /// All keys of a collection, in order.
    pub fn keys(&self, collection: &[u8]) -> Vec<Vec<u8>> {
        let collections = self.collections.lock();
        collections.get(collection).map(|values| values.keys().cloned().collect()).unwrap_or_default()
    }

    pub fn delete(&self, collection: &[u8], key: &[u8]) {
        let mut collections = self.collections.lock();
        let Some(values) = collections.get_mut(collection) else { return };
        values.remove(key);
        if values.is_empty() {
            collections.remove(collection);
        }
    }

    pub fn delete_collection(&self, collection: &[u8]) {
        self.collections.lock().remove(collection);
    }
}

/// A lock that JavaScript takes and gives back in separate calls, so it remembers its owner. An environment
/// that ends while it is the owner gives it back.
pub struct Lock {
    owner: Mutex<Option<u64>>,
    freed: Condvar,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LockError {
    #[error("lock() was called twice without unlock() between; waiting for itself would never end.")]
    HeldAlready,
    #[error("unlock() was called without lock() before.")]
    NotHeld,
}

impl Lock {
    const fn new() -> Self {
        Lock { owner: Mutex::new(None), freed: Condvar::new() }
    }

    /// Waits until no other owner holds the lock.
    pub fn lock(&self, owner: u64) -> Result<(), LockError> {
        let mut holder = self.owner.lock();
        if *holder == Some(owner) {
            return Err(LockError::HeldAlready);
        }
        while holder.is_some() {
            self.freed.wait(&mut holder);
        }
        *holder = Some(owner);
        Ok(())
    }

    pub fn unlock(&self, owner: u64) -> Result<(), LockError> {
        let mut holder = self.owner.lock();
        if *holder != Some(owner) {
            return Err(LockError::NotHeld);
        }
        *holder = None;
        self.freed.notify_one();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn values_keys_and_collections() {
        let store: Collections<Vec<u8>> = Collections::new();
        let set = |collection: &[u8], key: &[u8], value: &[u8]| {
            store.update(collection.into(), key.into(), |_| value.into())
        };
        assert_eq!(store.get(b"a", b"x"), b"");
        set(b"a", b"y", b"2");
        set(b"a", b"x", b"1");
        set(b"b", b"x", b"3");
        assert_eq!((store.get(b"a", b"x"), store.get(b"b", b"x")), (b"1".to_vec(), b"3".to_vec()));
        assert_eq!(store.keys(b"a"), [b"x", b"y"]);
        store.delete(b"a", b"x");
        store.delete(b"none", b"x");
        assert_eq!((store.get(b"a", b"x"), store.keys(b"a")), (vec![], vec![b"y".to_vec()]));
        store.delete_collection(b"a");
        assert_eq!((store.keys(b"a").len(), store.keys(b"b").len()), (0, 1));
        store.delete(b"b", b"x");
        assert!(store.collections.lock().is_empty(), "an empty collection costs nothing");
    }

    #[test]
    fn keys_that_are_no_text_are_kept_apart() {
        let store: Collections<f64> = Collections::new();
        store.update(vec![200], vec![201], |_| 1.0);
        store.update(vec![200], vec![202], |_| 2.0);
        store.update(vec![203], vec![201], |_| 3.0);
        let values = [store.get(&[200], &[201]), store.get(&[200], &[202]), store.get(&[203], &[201])];
        assert_eq!(values, [1.0, 2.0, 3.0]);
    }

    #[test]
    fn the_lock_keeps_others_out() {
        let lock = Arc::new((Lock::new(), Collections::<f64>::new()));
        let threads: Vec<_> = (1..=4)
            .map(|owner| {
                let shared = lock.clone();
                std::thread::spawn(move || {
                    for _ in 0..500 {
                        shared.0.lock(owner).expect("not held");
                        // Two steps, between which another thread would lose its addition.
                        let value = shared.1.get(b"c", b"k");
                        std::thread::yield_now();
                        shared.1.update("c".into(), "k".into(), |_| value + 1.0);
                        shared.0.unlock(owner).expect("held");
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("thread");
        }
        assert_eq!(lock.1.get(b"c", b"k"), 2000.0);
    }

    #[test]
    fn misuse_of_the_lock_is_an_error() {
        let lock = Lock::new();
        assert_eq!(lock.unlock(1), Err(LockError::NotHeld));
        assert_eq!(lock.lock(1), Ok(()));
        assert_eq!(lock.lock(1), Err(LockError::HeldAlready));
        assert_eq!(lock.unlock(2), Err(LockError::NotHeld));
        assert_eq!(lock.unlock(1), Ok(()));
    }
}
