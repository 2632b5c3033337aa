//! The exit of the process.
//!
//! `process.exit()` and exceptions that nobody caught end the main thread without its cleanup hooks: Node
//! calls `exit` listeners only. The C library still calls the functions that were registered with `atexit`.

use super::place::Place;

/// Has the process wait at its exit until everything that the environment of this thread, the main one, has
/// sent up to its last `exit` listener has left.
pub fn drain_at_exit(place: &'static Place) {
    let mut places = PLACES.lock();
    if places.is_empty() {
        // SAFETY: `atexit` may be called at any time. If it refuses, the process does not wait at its exit.
        unsafe { libc::atexit(drain_all) };
    }
    // SAFETY: `pthread_self` has no preconditions.
    places.push(OnThread { thread: unsafe { libc::pthread_self() }, place });
}

struct OnThread {
    thread: libc::pthread_t,
    place: &'static Place,
}

// SAFETY: `drain_all` uses the place on its own thread only.
unsafe impl Send for OnThread {}

static PLACES: parking_lot::Mutex<Vec<OnThread>> = parking_lot::Mutex::new(Vec::new());

/// Called by the C library, when the thread-locals of the thread have been destroyed.
extern "C" fn drain_all() {
    // Another thread may end the process while an environment starts and holds the lock.
    let Some(places) = PLACES.try_lock() else { return };
    // SAFETY: `pthread_self` has no preconditions.
    let thread = unsafe { libc::pthread_self() };
    for each in places.iter().filter(|each| each.thread == thread) {
        // SAFETY: on the thread of the environment. It ends the process from JavaScript, or after JavaScript
        // has ended, so no native function on its stack holds the session.
        if let Some(session) = unsafe { each.place.session() } {
            session.drain();
        }
    }
}
