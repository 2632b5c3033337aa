//! Where native functions find the [`State`] of their environment, or find that it is gone.
//!
//! A runtime may call functions of a module after it has run the cleanup hooks and finalizers of the environment, so
//! none may depend on memory that one of these frees. A place of a few words is left behind for each instead.

use super::session::State;
use std::cell::{RefCell, UnsafeCell};
use std::ptr;

pub struct Place {
    /// `None`: the environment has ended.
    state: UnsafeCell<Option<Box<State>>>,
}

thread_local! {
    /// The places of the environments of this thread, by number. There is more than one where a program brings several
    /// environments to a thread.
    static PLACES: RefCell<Vec<&'static Place>> = const { RefCell::new(Vec::new()) };
}

impl Place {
    /// A place for `state` and its number.
    pub fn for_state(state: State) -> (&'static Place, u32) {
        let place: &'static Place =
            Box::leak(Box::new(Place { state: UnsafeCell::new(Some(Box::new(state))) }));
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

    /// The pointer by which a native function finds it again (`of_pointer`).
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
    /// On the thread of the environment. The caller must not call into JavaScript, nor ask for the state again, while it has the reference.
    #[allow(clippy::mut_from_ref, reason = "the caller's promise is that there is one reference at a time")]
    pub unsafe fn state(&self) -> Option<&mut State> {
        // SAFETY: a place belongs to one thread, and by the caller's promise there is no other reference.
        unsafe { (*self.state.get()).as_deref_mut() }
    }

    /// The environment ends: the loop stops, and from here on there is no state.
    pub fn vacate(&self) {
        // SAFETY: called by the environment's cleanup hook, hence from no function that has a reference.
        let state = unsafe { (*self.state.get()).take() };
        if let Some(mut state) = state {
            state.end();
        }
    }
}

/// The state of an environment of this thread by its number. Calls back into JavaScript are not possible with it; what
/// arguments need of JavaScript has been asked for before. `None`: the environment has ended.
pub fn with<R>(number: u32, use_it: impl FnOnce(&mut State) -> R) -> Option<R> {
    let place = Place::numbered(number)?;
    // SAFETY: the rare functions, which call this, do with the state what needs no JavaScript, and do not nest.
    unsafe { place.state() }.map(use_it)
}
