//! The context: everything of a loop that connections use but do not own. It has the events being collected,
//! the apps, topics, timers and spare buffers.

use super::app::{App, Behaviour, Timeouts};
use super::caches::{Caches, Route};
use super::connection::compression::Codecs;
use super::limits::Guard;
use super::timer::{Tick, Wheel};
use super::tls::Scratch;
use crate::channel::buffers::Payload;
use crate::channel::buffers::Spare;
use crate::channel::mailbox::Batch;
use crate::channel::{
    DROPPED_QUEUE_BYTES, DROPPED_QUEUE_ITEMS, EVENT_QUEUE_BYTES, EVENT_QUEUE_ITEMS, EventBatch, ExchangeId,
    ForgottenStage, JsEvent, OWNED_EVENT, Shared, write_address,
};
use crate::event_loop::net::clock;
use crate::event_loop::topics::Topics;
use crate::fault::{self, Fault};
use crate::metrics::{Format, Scope};
use crate::protocol::http::request::{Limits, RequestHead};
use crate::routing::declarative::Program;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A way in which the loop answers requests by itself.
#[derive(Clone)]
pub enum Answerer {
    Program(Arc<Program>),
    /// With the figures of this scope.
    Metrics(Scope),
    /// With a stored reply, or that of a handler for all that ask for the same.
    Cached(Rc<Route>),
}

/// The texts of figures that requests of this turn were answered with. A text takes as long as many requests,
/// so whoever asks for it a thousand times in one read would keep all others waiting.
#[derive(Default)]
pub struct Figures(Vec<(u32, Scope, Format, String)>);

impl Figures {
    /// Called at the end of a turn.
    pub fn forget(&mut self) {
        self.0 = Vec::new();
    }

    pub fn of(&mut self, app: u32, scope: Scope, format: Format, render: impl FnOnce() -> String) -> &str {
        let is_this = |text: &(u32, Scope, Format, String)| (text.0, text.1, text.2) == (app, scope, format);
        let at = self.0.iter().position(is_this).unwrap_or_else(|| {
            self.0.push((app, scope, format, render()));
            self.0.len() - 1
        });
        &self.0[at].3
    }
}

pub struct Context {
    pub shared: Arc<Shared>,
    pub events: EventBatch,
    /// `Dropped` events.
    pub dropped: EventBatch,
    pub apps: Vec<App>,
    pub behaviours: Vec<Option<Arc<Behaviour>>>,
    /// By handler id.
    answerers: Vec<Option<Answerer>>,
    pub topics: Topics,
    /// Scratch: the slots a publish goes to.
    pub subscribers: Vec<u32>,
    /// Bytes that publishes have copied for their subscribers since everything was last written.
    pub piled_up: usize,
    pub spare: Spare,
    pub codecs: Codecs,
    pub wheel: Wheel,
    /// Slots with bytes to write at the end of the turn.
    pub dirty: Vec<u32>,
    /// Slots with more to read in the next turn.
    pub ready: Vec<u32>,
    /// Slots whose connection may be over.
    pub reap: Vec<u32>,
    /// Scratch: the head being parsed and the matches of its path.
    pub head: RequestHead,
    pub matches: Vec<u32>,
    pub limits: Limits,
    pub connections: usize,
    /// Apps that shut down.
    pub shutting_down: usize,
    /// Bytes of bodies that declared answers wait for.
    pub collected: Rc<Cell<usize>>,
    pub caches: Caches,
    /// Bytes that connections hold, each in memory of its own: of those that wait to be sent, and of those
    /// that are not parsed.
    pub held: usize,
    /// Bytes of frames that connections share, each counted once.
    pub frames: Rc<Cell<usize>>,
    overload: Overload,
    /// The last step took long (a signature, a key exchange): the loop should write before it goes on, since
    /// other peers are waiting.
    pub flush_soon: bool,
    pub tls: Scratch,
    pub figures: Figures,
    pub(super) clock: Clock,
}

impl Context {
    pub fn new(shared: Arc<Shared>, limits: Limits) -> Self {
        Context {
            spare: Spare::new(shared.blocks.clone()),
            shared,
            limits,
            events: EventBatch::default(),
            dropped: EventBatch::default(),
            apps: Vec::new(),
            behaviours: Vec::new(),
            answerers: Vec::new(),
            topics: Topics::default(),
            subscribers: Vec::new(),
            piled_up: 0,
            codecs: Codecs::default(),
            wheel: Wheel::default(),
            dirty: Vec::new(),
            ready: Vec::new(),
            reap: Vec::new(),
            head: RequestHead::default(),
            matches: Vec::new(),
            connections: 0,
            shutting_down: 0,
            collected: Rc::default(),
            caches: Caches::default(),
            held: 0,
            frames: Rc::default(),
            overload: Overload::default(),
            flush_soon: false,
            tls: Scratch::default(),
            figures: Figures::default(),
            clock: Clock::new(),
        }
    }

    /// An event with a payload of any size.
    pub fn payload_event(&mut self, event: JsEvent, id: ExchangeId, payload: Payload<'_>) {
        match payload {
            Payload::Owned(owned) if owned.bytes().len() >= OWNED_EVENT => {
                self.events.push_owned(event, id, owned);
            }
            Payload::Owned(owned) => self.events.push(event, id, owned.bytes()),
            Payload::Inline(bytes) if bytes.len() < OWNED_EVENT => self.events.push(event, id, bytes),
            Payload::Inline(bytes) => {
                let copy = self.shared.blocks.copy(bytes);
                self.events.push_owned(event, id, copy.into());
            }
        }
    }

    pub fn event(&mut self, event: JsEvent, id: ExchangeId, payload: &[u8]) {
        self.events.push(event, id, payload);
    }

    /// Tells `filter` handlers of an app, if it has any, that a connection has come or gone.
    pub fn filter_event(&mut self, app: u32, id: ExchangeId, accepted: bool) {
        if !self.apps.get(app as usize).is_some_and(|app| app.filter) {
            return;
        }
        let slot = self.shared.slots.get(id.slot);
        self.events.push_with(JsEvent::Filter { app, accepted }, id, |arena| {
            write_address(arena, slot.peer(id.generation));
            write_address(arena, slot.proxied(id.generation));
        });
    }

    /// Whether JavaScript is so far behind that the loop may not read any more.
    pub fn overloaded(&self) -> bool {
        let overloaded = self.shared.stalled.is_stalled(|| {
            let waiting = &self.shared.events;
            waiting.bytes() + self.events.bytes() >= EVENT_QUEUE_BYTES
                || waiting.items() + self.events.items() >= EVENT_QUEUE_ITEMS
        });
        if overloaded != self.overload.goes_on() {
            self.overload.turns(self.nanos());
        }
        overloaded
    }

    /// Whether so many `Dropped` events wait for JavaScript that no more messages may be dropped before it
    /// has taken some.
    pub fn too_many_dropped(&self) -> bool {
        !fault::is_on(Fault::EndlessDrops)
            && self.shared.drops_stalled.is_stalled(|| {
                let waiting = &self.shared.dropped;
                waiting.bytes() + self.dropped.bytes() >= DROPPED_QUEUE_BYTES
                    || waiting.items() + self.dropped.items() >= DROPPED_QUEUE_ITEMS
            })
    }

    pub fn behaviour(&self, id: u32) -> Option<Arc<Behaviour>> {
        self.behaviours.get(id as usize)?.clone()
    }

    pub fn declare(&mut self, handler: u32, answerer: Answerer) {
        let handler = handler as usize;
        self.answerers.resize_with(self.answerers.len().max(handler + 1), || None);
        self.answerers[handler] = Some(answerer);
    }

    /// By what the loop answers in place of a handler of JavaScript, if it does.
    pub fn answerer(&self, handler: u32) -> Option<Answerer> {
        self.answerers.get(handler as usize)?.clone()
    }

    /// Tells JavaScript that no event names a handler from here on.
    pub fn unname(&mut self, handler: u32) {
        let event = JsEvent::Forgotten { handler, stage: ForgottenStage::Unnamed as u32 };
        self.event(event, ExchangeId::default(), b"");
    }

    /// Forgets the behaviour or answerer of a handler, whose id may be used for another.
    pub fn forget(&mut self, handler: u32) {
        if let Some(behaviour) = self.behaviours.get_mut(handler as usize) {
            *behaviour = None;
        }
        if let Some(answerer) = self.answerers.get_mut(handler as usize) {
            *answerer = None;
        }
        let event = JsEvent::Forgotten { handler, stage: ForgottenStage::Free as u32 };
        self.event(event, ExchangeId::default(), b"");
    }

    /// Tells JavaScript of breaches of limits: once a tick of each limit, however many there were.
    pub fn tell_breaches(&mut self) {
        let Context { apps, events, .. } = self;
        for (app, each) in apps.iter_mut().enumerate() {
            for (name, count) in each.new_breaches() {
                let event =
                    JsEvent::Breach { app: app as u32, count: u32::try_from(count).unwrap_or(u32::MAX) };
                events.push(event, ExchangeId::default(), name.as_bytes());
            }
        }
    }

    pub fn timeouts(&self, app: u32) -> Timeouts {
        self.apps.get(app as usize).map(|app| app.timeouts).unwrap_or_default()
    }

    /// Whether an app shuts down.
    pub fn is_shutting_down(&self, app: u32) -> bool {
        self.shutting_down > 0 && self.apps.get(app as usize).is_some_and(|app| app.shutdown.is_some())
    }

    /// Counts a connection that is about to be closed, if its app shuts down and it `owes` something.
    pub fn note_cut(&mut self, app: u32, owes: bool) {
        if let Some(shutdown) = self.apps.get_mut(app as usize).and_then(|app| app.shutdown.as_mut()) {
            shutdown.cut += u32::from(owes);
        }
    }

    /// The limits of an app, if it has any of its own.
    pub fn guard(&self, app: u32) -> Option<&Guard> {
        self.apps.get(app as usize)?.guard.as_deref()
    }

    /// The time in which the loop could read from its sockets, in parts of a tick (`PARTS`), for deadlines of
    /// peers who send as fast as they are read.
    pub fn reading(&self) -> u64 {
        u64::from(self.now()) * PARTS - self.overload.parts
    }

    /// The time since the start of the loop in nanoseconds, for rates.
    pub fn nanos(&self) -> u64 {
        self.clock.nanos()
    }

    /// Whole seconds since the start of the loop, for ages. Unlike ticks they go on while the loop sleeps or
    /// the process is stopped.
    pub fn seconds(&self) -> u64 {
        self.clock.seconds
    }

    pub fn now(&self) -> Tick {
        self.clock.now
    }

    /// Reads the clock; true when a tick has passed.
    pub fn update_clock(&mut self) -> bool {
        if self.overload.goes_on() {
            // Nobody may have asked since.
            self.overloaded();
        }
        let begins = self.clock.update();
        if begins {
            self.overload.end_tick(self.clock.nanos());
        }
        begins
    }

    pub fn until_next_tick(&self) -> Duration {
        self.clock.until_next_tick()
    }
}

/// The parts of a tick in which `Context::reading` counts.
pub const PARTS: u64 = 1_000_000;

/// The time in which JavaScript was so far behind that the loop could not read. Only that much is granted to
/// peers: one that sends very much brings about such a moment in every tick.
#[derive(Default)]
struct Overload {
    /// The moment (`Context::nanos`) since which it is so; `None`: it is not.
    since: Cell<Option<u64>>,
    /// Nanoseconds of this tick that were so.
    in_tick: Cell<u64>,
    /// When this tick began.
    tick_began: u64,
    /// The parts of all ticks before. A late tick has no more of them than another.
    parts: u64,
}

impl Overload {
    fn goes_on(&self) -> bool {
        self.since.get().is_some()
    }

    /// It begins or ends.
    fn turns(&self, now: u64) {
        match self.since.take() {
            None => self.since.set(Some(now)),
            Some(since) => self.in_tick.set(self.in_tick.get() + now.saturating_sub(since)),
        }
    }

    fn end_tick(&mut self, now: u64) {
        if self.goes_on() {
            self.turns(now);
            self.turns(now);
        }
        let length = now.saturating_sub(self.tick_began).max(1);
        let parts = u128::from(self.in_tick.take()) * u128::from(PARTS) / u128::from(length);
        self.parts += (parts as u64).min(PARTS);
        self.tick_began = now;
    }
}

/// The loop's own time, counted in ticks, and the date for responses.
///
/// This time counts only while the loop could see the peers' bytes: if a turn comes late, because the one
/// before took long or the process was stopped, one tick passes, however late the turn is. Deadlines are
/// ticks of this time.
pub(super) struct Clock {
    started: Instant,
    tick_began: Instant,
    now: Tick,
    /// Whole seconds since `started`, as of the last tick.
    seconds: u64,
    date: String,
}

const TICK: Duration = Duration::from_secs(1);

impl Clock {
    fn new() -> Self {
        let started = clock::now();
        Clock {
            started,
            tick_began: started,
            now: 0,
            seconds: 0,
            date: httpdate::fmt_http_date(clock::date()),
        }
    }

    /// The time since the start of the loop, without regard to turns.
    fn nanos(&self) -> u64 {
        clock::now().saturating_duration_since(self.started).as_nanos() as u64
    }

    fn update(&mut self) -> bool {
        self.pass(clock::now().saturating_duration_since(self.tick_began))
    }

    /// `elapsed` has passed since the tick began. True: a new tick begins.
    pub(super) fn pass(&mut self, elapsed: Duration) -> bool {
        if elapsed < TICK {
            return false;
        }
        self.now += if fault::is_on(Fault::EarlyDeadlines) { elapsed.as_secs() as Tick } else { 1 };
        self.tick_began += if elapsed < 2 * TICK { TICK } else { elapsed };
        self.seconds = (self.tick_began - self.started).as_secs();
        self.date = httpdate::fmt_http_date(clock::date());
        true
    }

    /// The value for a `Date` header.
    pub fn date(&self) -> &[u8] {
        self.date.as_bytes()
    }

    fn until_next_tick(&self) -> Duration {
        // Never zero while the tick is still to come: rounding down would spin through the last millisecond.
        (self.tick_began + TICK).saturating_duration_since(clock::now()) + Duration::from_millis(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_of_a_tick_is_granted_than_the_loop_could_not_read() {
        let (mut overload, tick) = (Overload::default(), TICK.as_nanos() as u64);
        for (now, expected) in [(tick / 4, true), (tick / 2, false), (tick / 2, true)] {
            overload.turns(now);
            assert_eq!(overload.goes_on(), expected);
        }
        overload.turns(tick * 3 / 4);
        overload.end_tick(tick);
        assert_eq!(overload.parts, PARTS / 2);
        overload.end_tick(2 * tick);
        assert_eq!(overload.parts, PARTS / 2);
        // It goes on over the end of a tick, and a late one is no more than one.
        overload.turns(2 * tick + tick / 2);
        overload.end_tick(3 * tick);
        assert_eq!(overload.parts, PARTS);
        overload.end_tick(20 * tick);
        assert_eq!((overload.parts, overload.goes_on()), (2 * PARTS, true));
        overload.turns(20 * tick);
        overload.end_tick(21 * tick);
        assert_eq!((overload.parts, overload.goes_on()), (2 * PARTS, false));
    }

    #[test]
    fn time_passes_by_ticks_and_a_late_turn_is_one_of_them() {
        let (mut clock, ms) = (Clock::new(), Duration::from_millis);
        let began = clock.tick_began;
        assert!(!clock.pass(ms(999)));
        assert!(clock.pass(ms(1400)));
        assert_eq!((clock.now, clock.tick_began), (1, began + ms(1000)), "what is over goes on to the next");
        assert!(clock.pass(ms(14_000)));
        assert_eq!((clock.now, clock.tick_began), (2, began + ms(15_000)));
        assert!(!clock.pass(ms(999)));
    }
}
