//! The loops of the process, for the figures of all of them, and apps by descriptor: an accepting app in one
//! thread finds its child apps in others by it.
//!
//! All environments of the process share the registry on purpose, as they do the key-value helpers
//! (`store.rs`). A descriptor is a number, so that it can cross `postMessage`; it stands for an app until
//! that app's loop stops.

use super::control::{Control, Remote};
use super::handover::Apps;
use crate::channel::Shared;
use crate::metrics::Reading;
use mio::Waker;
use parking_lot::Mutex;
use std::sync::Arc;

struct Registry {
    apps: Apps<Remote>,
    loops: Vec<(Arc<Shared>, Arc<Waker>)>,
    /// The counters of loops that have ended.
    ended: Option<Box<Reading>>,
}

static REGISTRY: Mutex<Registry> = Mutex::new(Registry { apps: Apps::new(), loops: Vec::new(), ended: None });

/// Counts a loop that starts among those of the process.
pub(super) fn enter(shared: &Arc<Shared>, waker: &Arc<Waker>) {
    REGISTRY.lock().loops.push((shared.clone(), waker.clone()));
}

/// Called when the thread of a loop has ended. Its counters are added to those of the loops before it.
pub(super) fn leave(shared: &Arc<Shared>) {
    let mut registry = REGISTRY.lock();
    let Some(place) = registry.loops.iter().position(|(other, _)| Arc::ptr_eq(other, shared)) else { return };
    let mut last = Reading::default();
    registry.loops.swap_remove(place).0.read(&mut last);
    registry.ended.get_or_insert_default().add_reading(&last.without_gauges());
}

/// Wakes all loops that sleep, so that they count what they hold.
pub fn wake_all() {
    for (_, waker) in &REGISTRY.lock().loops {
        // A loop whose poll is gone holds nothing any more.
        let _ = waker.wake();
    }
}

/// The figures of the whole process, those of ended loops included. Any thread may ask. The lock keeps loops
/// from starting and ending, not from counting.
pub fn reading() -> Reading {
    let registry = REGISTRY.lock();
    let mut reading = registry.ended.as_deref().cloned().unwrap_or_default();
    registry.loops.iter().for_each(|(shared, _)| shared.read(&mut reading));
    reading
}

/// The descriptor of an app; the same one each time.
pub fn descriptor(remote: Remote, app: u32) -> u64 {
    REGISTRY.lock().apps.descriptor(remote, app)
}

/// Sends a command to the loop of an app, which gets the app's number. Gives the command back if that loop
/// has stopped. The registry forgets a loop before it stops, so a loop still finds every command that was
/// sent to it.
pub(super) fn hand_over(descriptor: u64, command: impl FnOnce(u32) -> Control) -> Result<(), Control> {
    REGISTRY.lock().apps.hand_over(descriptor, command)
}

/// Forgets an app that shuts down: nothing is handed over to it from here on.
pub fn forget_app(remote: &Remote, app: u32) {
    REGISTRY.lock().apps.forget_app(remote, app);
}

/// Forgets the apps of a loop that stops.
pub fn forget(remote: &Remote) {
    REGISTRY.lock().apps.forget(remote);
}
