//! Requests of cached routes: answered with a stored reply, or waiting for the one that a handler is making.
//!
//! A request that waits belongs to its connection alone; JavaScript has been handed the request of one client
//! for all of them, and knows no exchange. Nothing behind it in a pipeline is handed over meanwhile.

use super::http::{Exchange, Http, Phase, match_routes};
use super::io::Io;
use super::waiting::Waiting;
use crate::caching::conditional::is_not_modified;
use crate::caching::request::{is_for_one, key, shared};
use crate::caching::response::lines_not_modified;
use crate::channel::{JsEvent, ResponseParts, write_request_block};
use crate::event_loop::caches::{Flight, Found, Outcome, Reply, Route};
use crate::event_loop::context::{Answerer, Context};
use crate::metrics::Metric;
use crate::protocol::http::request::{Limits, RequestHead, parse};
use crate::protocol::http::response::BodyFraming;
use crate::trace::trace;
use std::rc::Rc;

/// Bodies from this size on are sent from the memory that the store has them in.
const SHARED_FROM: usize = 8 << 10;

const UNAVAILABLE: &str = "503 Service Unavailable";

/// A request whose matches are in `ctx.matches`.
#[derive(Clone, Copy)]
struct Asked<'a> {
    head: &'a RequestHead,
    bytes: &'a [u8],
    handler: u32,
}

impl Http {
    /// Answers the request whose matches are in `ctx.matches`, now or when there is an answer.
    pub(super) fn answer_cached(
        &mut self,
        io: &mut Io<'_>,
        head: &RequestHead,
        bytes: &[u8],
        handler: u32,
        route: &Rc<Route>,
    ) {
        self.leave_body(head);
        let asked = Asked { head, bytes, handler };
        if is_for_one(head, bytes, &route.options.vary) {
            return self.ask_alone(io, asked, route);
        }
        let key = key(head, bytes, &route.options.vary);
        match route.find(&key, io.ctx.seconds()) {
            Found::Fresh(reply) => {
                io.count(Metric::CacheHits);
                self.send_reply(io, Some((head, bytes)), &reply);
            }
            Found::Stale(reply) => {
                io.count(Metric::CacheStale);
                if route.running(&key).is_none() {
                    self.take_off(io, asked, route, Some(&key));
                }
                self.send_reply(io, Some((head, bytes)), &reply);
            }
            Found::Running(flight) => {
                io.count(Metric::CacheWaits);
                self.wait_for_flight(io, flight, false, bytes);
            }
            Found::Alone => self.ask_alone(io, asked, route),
            Found::Nothing => {
                io.count(Metric::CacheMisses);
                self.ask(io, asked, route, Some(&key));
            }
        }
    }

    fn ask_alone(&mut self, io: &mut Io<'_>, asked: Asked<'_>, route: &Rc<Route>) {
        io.count(Metric::CacheAlone);
        self.ask(io, asked, route, None);
    }

    /// Has the handler make an answer, and waits for it. `key`: others may wait for it as well.
    fn ask(&mut self, io: &mut Io<'_>, asked: Asked<'_>, route: &Rc<Route>, key: Option<&[u8]>) {
        match self.take_off(io, asked, route, key) {
            Some(flight) => self.wait_for_flight(io, flight, true, asked.bytes),
            None => self.send_page(io, UNAVAILABLE),
        }
    }

    /// Hands the request to JavaScript. `None`: there are too many flights.
    fn take_off(
        &self,
        io: &mut Io<'_>,
        asked: Asked<'_>,
        route: &Rc<Route>,
        key: Option<&[u8]>,
    ) -> Option<Rc<Flight>> {
        let flight = io.ctx.caches.take_off(route, key, io.ctx.now())?;
        let shared = flight.is_shared().then(|| shared(asked.head, asked.bytes, route.options.compress));
        trace!(HTTP, io.id(), "a cached route asks JavaScript: flight {}", flight.id);
        let event = JsEvent::CachedRequest { handler: asked.handler, flight: flight.name() };
        let Context { events, matches, .. } = io.ctx;
        events.push_with(event, io.transport.id, |arena| {
            let (head, bytes) =
                shared.as_ref().map_or((asked.head, asked.bytes), |(head, bytes)| (head, bytes));
            write_request_block(arena, head, matches, bytes, b"");
        });
        Some(flight)
    }

    fn wait_for_flight(&mut self, io: &mut Io<'_>, flight: Rc<Flight>, is_first: bool, bytes: &[u8]) {
        let was_pending = std::mem::replace(&mut self.pending, true);
        self.waiting = Some(Box::new(Waiting::new(flight, io.id().slot, is_first, bytes)));
        if !was_pending && matches!(self.phase, Phase::Responding) {
            self.request_is_whole(io);
        }
    }

    /// A flight has ended. A request that waits for another one goes on waiting.
    pub fn answer_flight(&mut self, io: &mut Io<'_>, flight: &Rc<Flight>, outcome: &Outcome) {
        let Some(waiting) = self.waiting.take_if(|waiting| waiting.is_for(flight)) else {
            return;
        };
        if !io.takes_commands() {
            return;
        }
        match outcome {
            Outcome::ForAll(reply) => self.send_reply_to_waiting(io, &waiting, reply),
            Outcome::ForOne(first, reply) if *first == Some(waiting.slot()) => {
                self.send_reply_to_waiting(io, &waiting, reply);
            }
            Outcome::ForOne(..) => self.ask_for_itself(io, &waiting),
            Outcome::Failed(status) => self.send_page(io, status),
        }
    }

    fn send_reply_to_waiting(&mut self, io: &mut Io<'_>, waiting: &Waiting, reply: &Reply) {
        let depends = waiting.is_shared() && (reply.validators().is_some() || reply.varies());
        match depends.then(|| parsed(waiting.request())).flatten() {
            Some((head, bytes)) => self.send_reply(io, Some((&head, &bytes)), reply),
            None => self.send_reply(io, None, reply),
        }
    }

    /// The answer that the request waited for is for another client: the handler makes one for this client
    /// alone.
    fn ask_for_itself(&mut self, io: &mut Io<'_>, waiting: &Waiting) {
        let Some((head, bytes)) = parsed(waiting.request()) else { return self.send_page(io, UNAVAILABLE) };
        // JavaScript must not be told of a handler that was replaced or removed meanwhile.
        let handler = match_routes(io, &head, &bytes).map(|(handler, _)| handler);
        match handler.and_then(|handler| Some((handler, io.ctx.answerer(handler)?))) {
            Some((handler, Answerer::Cached(route))) => {
                self.ask_alone(io, Asked { head: &head, bytes: &bytes, handler }, &route);
            }
            _ => self.send_page(io, UNAVAILABLE),
        }
    }

    /// `request`: the request, if the reply depends on its conditions or on the codings that it accepts.
    fn send_reply(&mut self, io: &mut Io<'_>, request: Option<(&RequestHead, &[u8])>, reply: &Reply) {
        let reply = request.map_or(reply, |(head, bytes)| reply.variant(head, bytes));
        let not_modified = matches!((request, reply.validators()), (Some((head, bytes)), Some(validators))
            if is_not_modified(head, bytes, validators));
        if not_modified {
            let headers = lines_not_modified(&reply.headers);
            let parts = ResponseParts { status: b"304 Not Modified", headers: &headers, body: b"" };
            self.write_head(io, &parts, 0, BodyFraming::None);
            return self.done(io);
        }
        let Exchange { head_request, .. } = self.exchange;
        let framing = match reply.has_no_body {
            true => BodyFraming::None,
            false => BodyFraming::Length(reply.body.len() as u64),
        };
        let parts = ResponseParts { status: &reply.status, headers: &reply.headers, body: b"" };
        self.write_head(io, &parts, 0, framing);
        if !head_request && !reply.has_no_body {
            self.send_body(io, reply);
        }
        self.done(io);
    }

    fn send_body(&self, io: &mut Io<'_>, reply: &Reply) {
        if reply.body.len() >= SHARED_FROM {
            return io.send_shared(&reply.body);
        }
        io.ctx.piled_up += reply.body.len();
        io.send_payload(&reply.body, None);
    }

    /// Answers with a small page that says no more than the status.
    fn send_page(&mut self, io: &mut Io<'_>, status: &str) {
        let page = format!("<!doctype html><html><title>{status}</title><h1>{status}</h1></html>");
        let parts =
            ResponseParts { status: status.as_bytes(), headers: b"Content-Type: text/html\r\n", body: b"" };
        self.write_head(io, &parts, 0, BodyFraming::Length(page.len() as u64));
        if !self.exchange.head_request {
            io.send_payload(page.as_bytes(), None);
        }
        self.done(io);
    }
}

/// A head that was parsed before, for the spans in it.
fn parsed(request: &[u8]) -> Option<(RequestHead, Vec<u8>)> {
    let (mut head, mut bytes) = (RequestHead::default(), request.to_vec());
    let limits = Limits { max_head: usize::MAX, ..Limits::default() };
    parse(&mut bytes, &limits, &mut head).ok()??;
    Some((head, bytes))
}
