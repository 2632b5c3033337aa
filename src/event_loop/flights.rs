//! How flights of cached routes end.

use super::caches::{Flight, Outcome};
use super::commands::PILE;
use super::compressor::Compressor;
use super::context::Answerer;
use super::turn::*;
use crate::caching::Options;
use crate::channel::{Command, ResponseParts, flight_flag};
use std::rc::Rc;

const FAILED: &str = "500 Internal Server Error";
const CLOSED: &str = "502 Bad Gateway";
const TIMED_OUT: &str = "504 Gateway Timeout";

impl EventLoop {
    /// Has the routes with this handler answered from a store of their own.
    pub(super) fn cache(&mut self, handler: u32, app: u32, options: Options) {
        let Some(counts) = self.ctx.apps.get(app as usize).map(|app| app.counts.clone()) else { return };
        if options.compress && self.ctx.caches.compressor.is_none() {
            self.ctx.caches.compressor = Compressor::start(self.myself.clone());
        }
        let route = self.ctx.caches.add(app, options, counts);
        self.ctx.declare(handler, Answerer::Cached(route));
    }

    /// JavaScript has answered. Nothing happens for a flight that is over. Returns the weight in the turn's
    /// budget.
    pub(super) fn end_flight(&mut self, command: Command<'_>) -> usize {
        let Command { id, flags, payload, owned, .. } = command;
        let Some(flight) = self.ctx.caches.flights.take(id) else { return 1 };
        let outcome = match flags {
            flags if flags & flight_flag::FAILED != 0 => Outcome::Failed(FAILED),
            flags if flags & flight_flag::CLOSED != 0 => Outcome::Failed(CLOSED),
            _ => {
                let parts = ResponseParts::parse(payload);
                let (body, now) = (owned.as_deref().unwrap_or(parts.body), self.ctx.seconds());
                self.ctx.caches.land(&flight, &parts, body, now)
            }
        };
        if let Some(buffer) = owned {
            self.ctx.shared.blocks.give(buffer);
        }
        self.settle_flight(&flight, &outcome)
    }

    /// Called once a tick.
    pub(super) fn time_out_flights(&mut self) {
        for late in self.ctx.caches.flights.late(self.ctx.now()) {
            if let Some(flight) = self.ctx.caches.flights.take(late) {
                self.settle_flight(&flight, &Outcome::Failed(TIMED_OUT));
            }
        }
    }

    /// Answers all who wait.
    fn settle_flight(&mut self, flight: &Rc<Flight>, outcome: &Outcome) -> usize {
        flight.end();
        let waiters = flight.take_waiters();
        for &slot in &waiters {
            let EventLoop { slots, ctx, .. } = self;
            if let Some(connection) = connection_at(slots, slot as usize) {
                connection.answer_flight(ctx, flight, outcome);
            }
            // Each of them may ask for itself, or bring the requests behind the one that waited.
            if self.ctx.events.is_full() {
                self.publish_events();
            }
            if self.ctx.piled_up >= PILE {
                self.flush();
            }
        }
        1 + waiters.len()
    }
}
