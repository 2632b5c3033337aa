//! Cached routes: the replies they store, and the flights of those that a handler is making.
//!
//! | thing | owner | ends |
//! | --- | --- | --- |
//! | route | the answerer of its handler, and its flights | with the last of them |
//! | stored reply | the route's store | replaced, evicted, invalidated, expired, or with its route |
//! | body of a reply | the reply, who sends it, and the helper's job | with the last of them |
//! | flight | the table of the loop, by its name | once: by JavaScript's answer, its timeout, its app's end |
//! | place of a waiter | its connection (`Waiting`) | with the answer, or the connection |
//!
//! A name of a flight that is over finds nothing: numbers of flights are never used twice while anybody can
//! have one of them.

use super::compressor::Compressor;
use super::connection::outbound::SharedBytes;
use super::timer::Tick;
use crate::caching::coding::{self, Coding};
use crate::caching::conditional::{Validators, date};
use crate::caching::freshness::Freshness;
use crate::caching::store::{OVERHEAD, Store};
use crate::caching::{Options, request, response};
use crate::channel::{AppCounts, ExchangeId, ResponseParts};
use crate::metrics::Metric;
use crate::protocol::http::request::RequestHead;
use indexmap::IndexSet;
use slab::Slab;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::SystemTime;

/// Flights of a loop at once; a request beyond them is answered with 503.
const MAX_FLIGHTS: usize = 1 << 14;
/// Seconds in which requests for a key are not merged, after its answer turned out to be for one client.
const ALONE: u64 = 10;

/// Everything of a loop that is about cached routes.
#[derive(Default)]
pub struct Caches {
    pub flights: Flights,
    routes: Vec<Weak<Route>>,
    /// There has been a route that answers HEAD requests, too.
    pub answer_head: bool,
    /// Memory of replies and keys, each counted as long as it is held.
    pub bytes: Rc<Cell<usize>>,
    /// There is one once a route has asked for it.
    pub compressor: Option<Compressor>,
    compressing: HashMap<u64, Compressing>,
    last_job: u64,
}

/// A stored reply that is being compressed, until the helper says that it is done.
struct Compressing {
    route: Weak<Route>,
    key: Box<[u8]>,
    reply: Weak<Reply>,
    /// The helper has the bytes, which count as long as it does, also if the reply has gone.
    _body: Rc<SharedBytes>,
}

/// Bytes that are counted as long as this lives.
struct Charge {
    bytes: usize,
    all: Rc<Cell<usize>>,
}

impl Charge {
    fn new(bytes: usize, all: &Rc<Cell<usize>>) -> Self {
        all.set(all.get() + bytes);
        Charge { bytes, all: all.clone() }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.all.set(self.all.get() - self.bytes);
    }
}

/// An answer that may be given many times.
pub struct Reply {
    /// Empty: `200 OK`.
    pub status: Box<[u8]>,
    /// Lines without those that the loop writes itself.
    pub headers: Box<[u8]>,
    pub body: Rc<SharedBytes>,
    pub has_no_body: bool,
    etag: Option<Box<[u8]>>,
    last_modified: Option<SystemTime>,
    /// The same compressed, by the order of `Coding::ALL`, once the helper has done so.
    coded: [OnceCell<Box<Reply>>; Coding::ALL.len()],
    _charge: Charge,
}

impl Reply {
    pub fn new(parts: &ResponseParts<'_>, body: &[u8], all: &Rc<Cell<usize>>) -> Self {
        Reply::of(parts.status, parts.headers, SharedBytes::new(body, all), all)
    }

    fn of(status: &[u8], headers: &[u8], body: Rc<SharedBytes>, all: &Rc<Cell<usize>>) -> Self {
        // Conditions replace a 200 alone: a client has no use for the news that a 404 is still the same.
        let ok = status.is_empty() || status.starts_with(b"200");
        let field = |name: &[u8]| response::field(headers, name).filter(|_| ok);
        Reply {
            status: status.into(),
            headers: headers.into(),
            body,
            coded: Default::default(),
            has_no_body: response::has_no_body(status),
            etag: field(b"etag").map(Box::from),
            last_modified: field(b"last-modified").and_then(date),
            _charge: Charge::new(status.len() + headers.len(), all),
        }
    }

    /// The values with which conditions of requests are compared; `None`: there are none.
    pub fn validators(&self) -> Option<Validators<'_>> {
        let Reply { etag, last_modified, .. } = self;
        (etag.is_some() || last_modified.is_some())
            .then_some(Validators { etag: etag.as_deref(), last_modified: *last_modified })
    }

    /// The variant of the reply that a client likes best.
    pub fn variant(&self, head: &RequestHead, bytes: &[u8]) -> &Reply {
        if self.coded.iter().all(|coded| coded.get().is_none()) {
            return self;
        }
        let of = |coding: Coding| self.coded[coding as usize].get();
        let chosen = coding::choose(head, bytes, |coding| of(coding).is_some());
        chosen.and_then(of).map_or(self, |coded| coded)
    }

    /// Whether it has variants, so that which one a client gets depends on its request.
    pub fn varies(&self) -> bool {
        self.coded.iter().any(|coded| coded.get().is_some())
    }

    /// Adds a variant; returns the bytes that it takes.
    fn add_coded(&self, coding: Coding, body: Rc<SharedBytes>, all: &Rc<Cell<usize>>) -> usize {
        let reply = Reply::of(&self.status, &coding::coded(&self.headers, coding), body, all);
        let bytes = reply.bytes();
        self.coded[coding as usize].set(Box::new(reply)).map_or(0, |()| bytes)
    }

    fn bytes(&self) -> usize {
        let coded: usize = self.coded.iter().filter_map(OnceCell::get).map(|coded| coded.bytes()).sum();
        self.status.len() + self.headers.len() + self.body.len() + coded
    }
}

/// An entry of a store.
struct Kept {
    /// The second in which the handler gave it.
    created: u64,
    /// `None`: replies for this key turned out to be for one client each.
    reply: Option<Rc<Reply>>,
    _charge: Charge,
}

/// A route whose replies are stored. No other route has a share in its store, so what one handler made is
/// never taken for the reply of another.
pub struct Route {
    pub app: u32,
    pub options: Options,
    counts: Arc<AppCounts>,
    all: Rc<Cell<usize>>,
    store: RefCell<Store<Kept>>,
    /// By key, the flights that others may join.
    running: RefCell<HashMap<Box<[u8]>, Weak<Flight>>>,
}

pub enum Found {
    Fresh(Rc<Reply>),
    /// To be used, and renewed unless that goes on already.
    Stale(Rc<Reply>),
    /// A handler is making it.
    Running(Rc<Flight>),
    /// Each client has a reply of its own.
    Alone,
    Nothing,
}

impl Route {
    /// The best that there is for a key at second `now`.
    pub fn find(&self, key: &[u8], now: u64) -> Found {
        let mut store = self.store.borrow_mut();
        if let Some(kept) = store.get(key) {
            let state = self.options.lifetimes.state(kept.created, now);
            match (&kept.reply, state) {
                (Some(reply), Freshness::Fresh) => return Found::Fresh(reply.clone()),
                (Some(reply), Freshness::Stale) => return Found::Stale(reply.clone()),
                (None, _) if now.saturating_sub(kept.created) < ALONE => return Found::Alone,
                _ => {}
            }
        }
        drop(store);
        if let Some(flight) = self.running(key) {
            return Found::Running(flight);
        }
        self.change(|store| {
            store.remove(key);
            0
        });
        Found::Nothing
    }

    /// The flight for a key that others may join.
    pub fn running(&self, key: &[u8]) -> Option<Rc<Flight>> {
        self.running.borrow().get(key).and_then(Weak::upgrade)
    }

    /// Changes the store by a function that returns how many replies had to go for others, and keeps the
    /// gauges.
    fn change(&self, change: impl FnOnce(&mut Store<Kept>) -> usize) {
        let mut store = self.store.borrow_mut();
        let before = (store.count(), store.bytes());
        let evicted = change(&mut store);
        let counts = &self.counts.by_loop;
        counts.add(Metric::CacheEvicted, evicted as u64);
        counts.add(Metric::CacheEntries, (store.count() as u64).wrapping_sub(before.0 as u64));
        counts.add(Metric::CacheBytes, (store.bytes() as u64).wrapping_sub(before.1 as u64));
    }

    /// False: it is larger than all the room.
    fn keep(&self, key: &[u8], reply: Option<Rc<Reply>>, now: u64) -> bool {
        let bytes = reply.as_ref().map_or(0, |reply| reply.bytes());
        let kept = Kept { created: now, reply, _charge: Charge::new(key.len() + OVERHEAD, &self.all) };
        let mut is_kept = false;
        self.change(|store| {
            let evicted = store.insert(key.into(), kept, bytes);
            is_kept = evicted.is_some();
            evicted.unwrap_or_default()
        });
        is_kept
    }

    /// Gives a new reply the variants of the one that is stored, if that has the same body. True: it had
    /// some.
    fn take_coded(&self, key: &[u8], reply: &Reply) -> bool {
        let mut store = self.store.borrow_mut();
        let old = store.get(key).and_then(|kept| kept.reply.as_ref());
        let Some(old) = old.filter(|old| old.varies() && **old.body == **reply.body) else { return false };
        for coding in Coding::ALL {
            if let Some(coded) = old.coded[coding as usize].get() {
                reply.add_coded(coding, coded.body.clone(), &self.all);
            }
        }
        true
    }

    /// A stored reply has grown.
    fn charge(&self, key: &[u8], reply: &Rc<Reply>, more: usize) {
        self.change(|store| {
            let stored = store.get(key).and_then(|kept| kept.reply.as_ref());
            let is_it = stored.is_some_and(|stored| Rc::ptr_eq(stored, reply));
            if is_it { store.charge(key, more) } else { 0 }
        });
    }

    /// Forgets the replies for a URL or a prefix, also those that handlers are making: whoever waits for them
    /// gets them, and nobody else.
    fn invalidate(&self, url: &[u8]) {
        self.change(|store| {
            store.remove_all(|key| request::is_meant(key, url));
            0
        });
        self.running.borrow_mut().retain(|key, _| !request::is_meant(key, url));
    }
}

impl Drop for Route {
    fn drop(&mut self) {
        self.change(|store| {
            store.remove_all(|_| true);
            0
        });
    }
}

/// One call of a handler, whose answer goes to all who wait for it.
pub struct Flight {
    /// The name by which JavaScript ends it.
    pub id: ExchangeId,
    pub route: Rc<Route>,
    /// `None`: the answer is for one client.
    key: Option<Box<[u8]>>,
    until: Tick,
    /// The slot of the client whose request the handler sees, while it waits.
    first: Cell<Option<u32>>,
    /// Slots of the connections that wait.
    waiters: RefCell<IndexSet<u32>>,
    _charge: Charge,
}

impl Flight {
    pub fn is_shared(&self) -> bool {
        self.key.is_some()
    }

    pub fn name(&self) -> u64 {
        u64::from(self.id.slot) | u64::from(self.id.generation) << 32
    }

    /// `is_first`: the handler sees its request.
    pub fn join(&self, slot: u32, is_first: bool) {
        self.waiters.borrow_mut().insert(slot);
        if is_first {
            self.first.set(Some(slot));
        }
    }

    pub fn leave(&self, slot: u32) {
        self.waiters.borrow_mut().swap_remove(&slot);
        if self.first.get() == Some(slot) {
            self.first.set(None);
        }
    }

    pub fn take_waiters(&self) -> IndexSet<u32> {
        std::mem::take(&mut self.waiters.borrow_mut())
    }

    /// Whether it is the one that others join for its key, as it is until `invalidate`.
    fn is_current(&self, key: &[u8]) -> bool {
        self.route.running(key).is_some_and(|flight| std::ptr::eq(&*flight, self))
    }

    /// Nobody joins it from now on. Called after `land`.
    pub fn end(&self) {
        let Some(key) = &self.key else { return };
        let mut running = self.route.running.borrow_mut();
        if running.get(key).is_some_and(|flight| std::ptr::eq(flight.as_ptr(), self)) {
            running.remove(key);
        }
    }
}

/// The end of a flight, for those who wait.
pub enum Outcome {
    ForAll(Rc<Reply>),
    /// For the connection in this slot, if it still waits; the others must ask for themselves.
    ForOne(Option<u32>, Rc<Reply>),
    /// There is no answer, but this status.
    Failed(&'static str),
}

/// The flights of a loop.
#[derive(Default)]
pub struct Flights {
    all: Slab<Rc<Flight>>,
    /// The generation of the last one. All have different ones, until they wrap.
    last: u32,
}

impl Flights {
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Takes a flight out of the table. The caller ends it.
    pub fn take(&mut self, id: ExchangeId) -> Option<Rc<Flight>> {
        let slot = id.slot as usize;
        self.all.get(slot).filter(|flight| flight.id == id)?;
        Some(self.all.remove(slot))
    }

    /// The flights whose time is over.
    pub fn late(&self, now: Tick) -> Vec<ExchangeId> {
        self.all.iter().filter(|(_, flight)| flight.until <= now).map(|(_, flight)| flight.id).collect()
    }
}

impl Caches {
    pub fn add(&mut self, app: u32, options: Options, counts: Arc<AppCounts>) -> Rc<Route> {
        self.answer_head |= options.head;
        let store = RefCell::new(Store::new(options.max_entries, options.max_bytes));
        let (all, running) = (self.bytes.clone(), RefCell::default());
        let route = Rc::new(Route { app, options, counts, all, store, running });
        self.routes.retain(|route| route.strong_count() > 0);
        self.routes.push(Rc::downgrade(&route));
        route
    }

    /// Begins a flight. `key`: others may join it; `None` if there are too many flights.
    pub fn take_off(&mut self, route: &Rc<Route>, key: Option<&[u8]>, now: Tick) -> Option<Rc<Flight>> {
        if self.flights.all.len() >= MAX_FLIGHTS {
            return None;
        }
        self.flights.last = ExchangeId::next_generation(self.flights.last);
        let place = self.flights.all.vacant_entry();
        let flight = Rc::new(Flight {
            id: ExchangeId { slot: place.key() as u32, generation: self.flights.last },
            route: route.clone(),
            key: key.map(Box::from),
            // Rounded up, since the current tick has begun already.
            until: now.saturating_add(route.options.timeout).saturating_add(1),
            first: Cell::new(None),
            waiters: RefCell::default(),
            // The key is in the table of those that run as well.
            _charge: Charge::new(key.map_or(0, |key| 2 * key.len()) + OVERHEAD, &self.bytes),
        });
        if let Some(key) = key {
            route.running.borrow_mut().insert(key.into(), Rc::downgrade(&flight));
        }
        place.insert(flight.clone());
        Some(flight)
    }

    /// The outcome for those who wait for a flight that has ended with an answer, which is stored if others
    /// may have it.
    pub fn land(&mut self, flight: &Flight, parts: &ResponseParts<'_>, body: &[u8], now: u64) -> Outcome {
        let ResponseParts { status, headers, .. } = *parts;
        let Route { options, counts, .. } = &*flight.route;
        let Some(key) = &flight.key else {
            return Outcome::ForAll(Rc::new(Reply::new(parts, body, &self.bytes)));
        };
        if !response::is_for_all(status, headers, &options.vary, options.compress) {
            if flight.is_current(key) {
                flight.route.keep(key, None, now);
            }
            return Outcome::ForOne(flight.first.get(), Rc::new(Reply::new(parts, body, &self.bytes)));
        }
        let compress = options.compress && coding::is_worth_it(status, headers, body);
        let headers = if compress { coding::varied(headers) } else { headers.to_vec() };
        let reply = Reply::new(&ResponseParts { status, headers: &headers, body: b"" }, body, &self.bytes);
        let reply = Rc::new(reply);
        if flight.is_current(key) && options.lifetimes.upper > 0 {
            let is_coded = compress && flight.route.take_coded(key, &reply);
            let is_kept = flight.route.keep(key, Some(reply.clone()), now);
            counts.by_loop.add(Metric::CacheStored, u64::from(is_kept));
            if is_kept && compress && !is_coded {
                self.compress(&flight.route, key, &reply);
            }
        }
        Outcome::ForAll(reply)
    }

    /// Has the helper compress a stored reply, unless it has too much to do.
    fn compress(&mut self, route: &Rc<Route>, key: &[u8], reply: &Rc<Reply>) {
        let Some(compressor) = &self.compressor else { return };
        self.last_job += 1;
        if compressor.compress(self.last_job, reply.body.lent()) {
            let (route, _body) = (Rc::downgrade(route), reply.body.clone());
            let job = Compressing { route, key: key.into(), reply: Rc::downgrade(reply), _body };
            self.compressing.insert(self.last_job, job);
        }
    }

    /// The helper has compressed a reply. Nothing happens if that has gone meanwhile.
    pub fn add_variants(&mut self, job: u64, variants: &[(Coding, Vec<u8>)]) {
        let Some(Compressing { route, key, reply, .. }) = self.compressing.remove(&job) else { return };
        let (Some(route), Some(reply)) = (route.upgrade(), reply.upgrade()) else { return };
        for (coding, body) in variants {
            let more = reply.add_coded(*coding, SharedBytes::new(body, &self.bytes), &self.bytes);
            route.charge(&key, &reply, more);
        }
    }

    fn of_app(&self, app: u32) -> impl Iterator<Item = Rc<Route>> {
        self.routes.iter().filter_map(Weak::upgrade).filter(move |route| route.app == app)
    }

    pub fn invalidate(&mut self, app: u32, url: &[u8]) {
        self.of_app(app).for_each(|route| route.invalidate(url));
    }

    /// The app's connections are closed: nobody waits for its flights, and nothing asks for its replies.
    pub fn close_app(&mut self, app: u32) {
        self.flights.all.retain(|_, flight| {
            let stays = flight.route.app != app;
            if !stays {
                flight.end();
            }
            stays
        });
        self.invalidate(app, b"*");
    }

    /// Drops a stored reply of each route, the one used least recently. False: there is none.
    pub fn shed(&mut self) -> bool {
        let mut some = false;
        for route in self.routes.iter().filter_map(Weak::upgrade) {
            route.change(|store| {
                let shed = store.pop().is_some();
                some |= shed;
                usize::from(shed)
            });
        }
        some
    }

    /// Debug builds assert that everything that is counted exists.
    pub fn check(&self) {
        let mut least = 0;
        for route in self.routes.iter().filter_map(Weak::upgrade) {
            route.store.borrow().check();
            least += route.store.borrow().bytes();
            for flight in route.running.borrow().values() {
                let flight = flight.upgrade();
                debug_assert!(flight.is_some_and(|flight| {
                    self.flights
                        .all
                        .get(flight.id.slot as usize)
                        .is_some_and(|each| Rc::ptr_eq(each, &flight))
                }));
            }
        }
        debug_assert!(least <= self.bytes.get(), "bytes of stored replies");
    }
}
