//! A request that waits for the flight of a cached route.

use crate::event_loop::caches::Flight;
use std::rc::Rc;

/// The place of a connection among those that wait for a flight, which it leaves when this is dropped.
pub struct Waiting {
    flight: Rc<Flight>,
    slot: u32,
    /// The head of the request, for an answer that turns out to be for one client.
    request: Box<[u8]>,
}

impl Waiting {
    pub fn new(flight: Rc<Flight>, slot: u32, is_first: bool, request: &[u8]) -> Self {
        flight.join(slot, is_first);
        Waiting { flight, slot, request: request.into() }
    }

    pub fn is_for(&self, flight: &Rc<Flight>) -> bool {
        Rc::ptr_eq(&self.flight, flight)
    }

    /// Whether others may wait for the same flight.
    pub fn is_shared(&self) -> bool {
        self.flight.is_shared()
    }

    pub fn slot(&self) -> u32 {
        self.slot
    }

    pub fn request(&self) -> &[u8] {
        &self.request
    }

    pub fn held(&self) -> usize {
        self.request.len()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.flight.leave(self.slot);
    }
}
