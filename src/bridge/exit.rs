//! The exit of the process, at which Node calls `exit` listeners but no cleanup hooks: `process.exit()` and exceptions
//! nobody caught end the main thread that way.

use super::place::Place;

/// Has what the environment of this thread, the main one, sent up to the last `exit` listener leave before the process
/// does.
pub fn drain_at_exit(place: &'static Place) {
    let mut places = PLACES.lock();
    if places.is_empty() {
        // SAFETY: the function may be called at any time. A refusal means that its work is not done.
        unsafe { libc::atexit(drain_all) };
    }
    // SAFETY: a plain question.
    places.push(OnThread { thread: unsafe { libc::pthread_self() }, place });
}

struct OnThread {
    thread: libc::pthread_t,
    place: &'static Place,
}

// SAFETY: the place is used on its thread only.
unsafe impl Send for OnThread {}

static PLACES: parking_lot::Mutex<Vec<OnThread>> = parking_lot::Mutex::new(Vec::new());

/// Called by the C library. The thread's own variables are gone by then.
extern "C" fn drain_all() {
    // Somebody else may be ending the process while this is held.
    let Some(places) = PLACES.try_lock() else { return };
    // SAFETY: a plain question.
    let thread = unsafe { libc::pthread_self() };
    for each in places.iter().filter(|each| each.thread == thread) {
        // SAFETY: on the thread of the environment, which ends the process from JavaScript or has ended before, hence not
        // from within a function that has the state.
        if let Some(state) = unsafe { each.place.state() } {
            state.drain();
        }
    }
}
