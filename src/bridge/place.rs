//! Where native functions find the [`Session`] of their environment, or find that it is gone.
//!
//! A runtime may call functions of a module after it has run the cleanup hooks and finalizers of the
//! environment, so no function may depend on memory that one of these frees. Each environment leaves a place
//! of a few words behind instead.

use super::session::Session;
use std::cell::{RefCell, UnsafeCell};
use std::ptr;

pub struct Place {
    /// `None`: the environment has ended.
    session: UnsafeCell<Option<Box<Session>>>,
}

thread_local! {
    /// The places of the environments of this thread, by number. There are several where a program that
    /// embeds the runtime has brought several environments to one thread.
    static PLACES: RefCell<Vec<&'static Place>> = const { RefCell::new(Vec::new()) };
}

impl Place {
    /// A place for `session` and its number.
    pub fn for_session(session: Session) -> (&'static Place, u32) {
        let place: &'static Place =
            Box::leak(Box::new(Place { session: UnsafeCell::new(Some(Box::new(session))) }));
        let number = PLACES.with_borrow_mut(|places| {
            places.push(place);
            places.len() - 1
        });
        (place, number as u32)
    }

    /// The place of an environment of this thread.
    pub fn numbered(number: u32) -> Option<&'static Place> {
        PLACES.try_with(|places| places.borrow().get(number as usize).copied()).ok()?
    }

    /// The data pointer of a native function, by which it finds its place (`of_pointer`).
    pub fn pointer(&'static self) -> *mut std::ffi::c_void {
        ptr::from_ref(self).cast_mut().cast()
    }

    /// # Safety
    /// `pointer` must come from [`Place::pointer`], on this thread.
    pub unsafe fn of_pointer(pointer: *mut std::ffi::c_void) -> &'static Place {
        // SAFETY: the caller's promise; a place is never freed.
        unsafe { &*pointer.cast() }
    }

    /// # Safety
    /// Only on the thread of the environment. While the caller has the reference it must neither call into
    /// JavaScript nor ask for the session again.
    #[allow(clippy::mut_from_ref, reason = "the caller promises that there is one reference at a time")]
    pub unsafe fn session(&self) -> Option<&mut Session> {
        // SAFETY: the caller is on the thread of the place, and promises that there is no other reference.
        unsafe { (*self.session.get()).as_deref_mut() }
    }

    /// Called when the environment ends: stops the loop. From here on there is no session.
    pub fn vacate(&self) {
        // SAFETY: the environment's cleanup hook calls this, or a function that has not asked for the
        // session; so nobody has a reference.
        let session = unsafe { (*self.session.get()).take() };
        if let Some(mut session) = session {
            session.end();
        }
    }
}

/// Calls `use_it` with the session of an environment of this thread. It must not call into JavaScript: values
/// are read from the arguments before. `None`: the environment has ended.
pub fn with<R>(number: u32, use_it: impl FnOnce(&mut Session) -> R) -> Option<R> {
    let place = Place::numbered(number)?;
    // SAFETY: the callers are the functions of `engine` and `tls`, whose closures neither call into
    // JavaScript nor nest.
    unsafe { place.session() }.map(use_it)
}
