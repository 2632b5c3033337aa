//! The turn of the loop: the order in which it reads, executes commands and writes.

use super::connection::transport::READ_AHEAD;
use super::connection::{Connection, Readiness};
use super::context::Context;
use super::control::{Control, Remote};
use super::net::batch::{Batch as SocketBatch, Writes};
use super::net::clock;
use super::net::event::Event;
use super::net::listener::Listener;
use super::net::uring::BATCH;
use super::tls::DomainRouter;
use super::victims::Relieving;
use crate::channel::buffers::Buffer;
use crate::channel::mailbox::Batch;
use crate::channel::{CommandBatch, ExchangeId, JsEvent, WakeJs};
use crate::fault::{self, Fault};
use crate::metrics::{self, Metric};
use crate::protocol::http::request::Limits;
use crossbeam_channel::Receiver;
use mio::{Events, Poll, Token};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

pub(super) const WAKER: Token = Token(0);
/// The most events that one poll takes from the kernel; few in tests, so that they have more busy connections
/// than that.
pub(super) const EVENTS_PER_POLL: usize = if cfg!(test) { 8 } else { 1024 };
/// Connections accepted from one listener in one turn.
pub(super) const ACCEPTS_PER_TURN: usize = 256;
/// The size of the loop's one read buffer; connections have none of their own. The bytes of larger reads
/// would fall out of the processor's cache before JavaScript has seen them.
pub(super) const READ_BUFFER: usize = 128 << 10;
/// The shortest and the longest pause of a listener after the process ran out of file descriptors.
pub(super) const ACCEPT_BACK_OFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

pub(super) struct EventLoop {
    pub(super) poll: Poll,
    /// This loop, in the form that other loops get with a connection, so that they can give it back.
    pub(super) myself: Remote,
    /// Connections that other loops accepted for apps of this one.
    pub(super) inbox: Receiver<Control>,
    pub(super) wake_js: Arc<dyn WakeJs>,
    pub(super) ctx: Context,
    pub(super) slots: Vec<Slot>,
    pub(super) free: Vec<u32>,
    pub(super) listeners: Vec<Option<Listening>>,
    /// Listeners with more to accept in the next turn.
    pub(super) accepting: Vec<usize>,
    pub(super) read_buffer: Buffer,
    pub(super) commands: CommandBatch,
    /// The position in `commands` to go on at, if the last turn had no time for all of them.
    pub(super) resume_at: Option<usize>,
    pub(super) batch: SocketBatch,
    pub(super) writes: Writes,
    /// Batches of commands executed, wrapping.
    pub(super) batches: usize,
    /// A tick has begun, and its deadlines have not been checked yet.
    pub(super) tick_due: bool,
    /// Events that polls have reported since then.
    pub(super) reported_since_due: usize,
    pub(super) quiet: bool,
    pub(super) relieving: Relieving,
    /// The routes of server names that were removed, which connections still have.
    pub(super) removed_names: Vec<DomainRouter>,
}

/// A place for a connection; the generation counts the connections it has had.
pub(super) struct Slot {
    pub(super) generation: u32,
    pub(super) connection: Option<Box<Connection>>,
}

/// The connection in a slot; a function of the slots alone, so that the context can be borrowed beside it.
pub(super) fn connection_at(slots: &mut [Slot], slot: usize) -> Option<&mut Connection> {
    slots.get_mut(slot)?.connection.as_deref_mut()
}

/// The connection with this name, unless its slot has another one by now.
pub(super) fn connection_with(slots: &mut [Slot], id: ExchangeId) -> Option<&mut Connection> {
    connection_at(slots, id.index()).filter(|connection| connection.id() == id)
}

pub(super) struct Listening {
    pub(super) socket: Listener,
    pub(super) app: u32,
    pub(super) id: u32,
    /// Set while the process has no file descriptor for another connection.
    pub(super) rest: Option<(Instant, Duration)>,
}

impl EventLoop {
    pub(super) fn new(
        poll: Poll,
        myself: Remote,
        inbox: Receiver<Control>,
        limits: Limits,
        wake_js: Arc<dyn WakeJs>,
    ) -> Self {
        let shared = myself.shared.clone();
        EventLoop {
            poll,
            myself,
            inbox,
            wake_js,
            relieving: Relieving::new(shared.budget.clone()),
            read_buffer: shared.blocks.buffer(READ_BUFFER),
            ctx: Context::new(shared, limits),
            slots: Vec::new(),
            free: Vec::new(),
            listeners: Vec::new(),
            accepting: Vec::new(),
            commands: CommandBatch::default(),
            resume_at: None,
            batch: SocketBatch::new(READ_AHEAD),
            writes: Writes::default(),
            batches: 0,
            tick_due: false,
            reported_since_due: 0,
            quiet: true,
            removed_names: Vec::new(),
        }
    }

    pub(super) fn run(&mut self) {
        let mut events = Events::with_capacity(EVENTS_PER_POLL);
        loop {
            let timeout = self.sleep_for();
            match self.poll.poll(&mut events, timeout) {
                // The poll reported nothing, though much time may have passed (the process may have been
                // stopped). Poll again before looking at deadlines: peers may have sent something meanwhile.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => panic!("poll failed: {error}"),
                Ok(()) => {}
            }
            if self.ctx.shared.stop.load(Ordering::SeqCst) {
                return;
            }
            self.turn(events.iter().map(Event::from));
        }
    }

    /// Does all that is to be done after a poll has reported `events`.
    pub(super) fn turn(&mut self, events: impl Iterator<Item = Event> + Clone) {
        self.ctx.shared.counters.by_loop.turn_begins(metrics::now());
        self.ctx.shared.commands.awake();
        self.tick_due |= self.ctx.update_clock();
        if self.tick_due && fault::is_on(Fault::EarlyDeadlines) {
            self.tick_due = false;
            self.tick();
        }
        // Routes and child apps that were added before a client connected must be there before it is served.
        if self.ctx.shared.controls.load(Ordering::SeqCst) > 0 {
            self.execute_commands();
        }
        self.execute_inbox();
        let (mut rest, mut reported) = (events, 0_usize);
        loop {
            if reported.is_multiple_of(BATCH) {
                self.read_ahead(rest.clone().take(BATCH));
            }
            let Some(event) = rest.next() else { break };
            reported += 1;
            self.dispatch(event);
            if self.ctx.events.is_full() {
                // Write JavaScript's answers now: reading more would evict them from the CPU cache.
                self.exchange_batches();
            }
            if std::mem::take(&mut self.ctx.flush_soon) {
                // Write now: otherwise all peers of a burst of handshakes would wait until the last of them
                // is computed.
                self.flush();
            }
        }
        self.catch_up();
        self.tick_when_seen(reported);
        self.exchange_batches();
        self.keep_to_budget();
        self.reap();
        self.publish_events();
        self.ctx.figures.forget();
        self.check_accounts();
        self.ctx.shared.settled.set(self.batches);
        self.count_turn();
    }

    /// How long the poll may wait; zero when there is work already.
    pub(super) fn sleep_for(&mut self) -> Option<Duration> {
        let ready = !self.ctx.ready.is_empty() && !self.ctx.overloaded();
        let busy = ready || !self.ctx.dirty.is_empty() || !self.accepting.is_empty() || self.tick_due;
        let commands = !self.ctx.shared.commands.may_sleep() || self.resume_at.is_some();
        // Do not stay awake for commands that may be executed only after JavaScript has taken `Dropped`
        // events: JavaScript will wake the loop.
        let may_execute = commands && !self.ctx.too_many_dropped();
        if commands {
            self.ctx.shared.commands.sleep_on();
        }
        if busy || may_execute || !self.inbox.is_empty() {
            return Some(Duration::ZERO);
        }
        let resting = self.listeners.iter().flatten().any(|listening| listening.rest.is_some());
        let untimed =
            self.ctx.wheel.is_empty() && self.ctx.shutting_down == 0 && self.ctx.caches.flights.is_empty();
        let until_tick = (!untimed).then(|| self.ctx.until_next_tick());
        let until_accept = resting.then_some(ACCEPT_BACK_OFF.0);
        [until_tick, until_accept, self.relieving.sleep_at_most()].into_iter().flatten().min()
    }

    pub(super) fn dispatch(&mut self, event: Event) {
        match token_meaning(event.token) {
            Meaning::Waker => {}
            Meaning::Listener(index) => self.accept(index),
            Meaning::Connection(id) => {
                let readiness = Readiness {
                    readable: event.readable || event.read_closed || event.error,
                    writable: event.writable,
                    ended: event.read_closed,
                    reset: event.error,
                };
                let EventLoop { slots, ctx, read_buffer, batch, .. } = self;
                if let Some(connection) = connection_with(slots, id) {
                    let ahead = batch.take_ahead(id.index());
                    connection.on_event(ctx, read_buffer, readiness, ahead);
                }
            }
        }
    }

    /// Goes on with the rest of the last turn: sockets with more to read, listeners with more to accept.
    pub(super) fn catch_up(&mut self) {
        let mut ready = std::mem::take(&mut self.ctx.ready);
        let mut driven = 0;
        while driven < ready.len() && !self.ctx.overloaded() {
            let EventLoop { slots, ctx, read_buffer, .. } = self;
            if let Some(connection) = connection_at(slots, ready[driven] as usize) {
                connection.go_on(ctx, read_buffer);
            }
            if self.ctx.events.is_full() {
                self.publish_events();
            }
            driven += 1;
        }
        // Connections that had no turn yet come before those that want another one.
        if driven < ready.len() {
            ready.drain(..driven);
            ready.append(&mut self.ctx.ready);
            self.ctx.ready = ready;
        }
        for index in std::mem::take(&mut self.accepting) {
            self.accept(index);
        }
        for index in 0..self.listeners.len() {
            let rest = self.listeners[index].as_ref().and_then(|listening| listening.rest);
            if rest.is_some_and(|(until, _)| until <= clock::now()) {
                self.accept(index);
            }
        }
    }

    // ---- ends of a turn

    fn count_turn(&self) {
        let counters = &self.ctx.shared.counters;
        counters.by_loop.counts.set(Metric::SpareBytes, self.ctx.spare.bytes() as u64);
        counters.by_loop.counts.set(Metric::CollectedBytes, self.ctx.collected.get() as u64);
        counters.by_loop.turn_ends(metrics::now());
        counters.turns.fetch_add(1, Ordering::Relaxed);
    }

    /// Looks at deadlines once the bytes that were there when the tick began have been read. `reported`:
    /// events of this turn's poll. All sockets that were ready have been reported if the poll had room for
    /// more events, or once it has reported as many events as there are sockets, since the kernel reports
    /// each ready socket once before it reports any again. The second case matters when more connections than
    /// fit into one poll are always ready: they must not keep the deadlines of the others from being looked
    /// at.
    pub(super) fn tick_when_seen(&mut self, reported: usize) {
        self.reported_since_due = if self.tick_due { self.reported_since_due + reported } else { 0 };
        let sockets = self.ctx.connections + self.listeners.len() + 1;
        if self.tick_due && (reported < EVENTS_PER_POLL || self.reported_since_due >= sockets) {
            self.tick_due = false;
            self.reported_since_due = 0;
            self.tick();
        }
    }

    pub(super) fn tick(&mut self) {
        let (mut due, now) = (Vec::new(), self.ctx.now());
        self.ctx.wheel.advance(now, &mut due);
        for entry in due {
            let (slot, generation) = ((entry >> 32) as usize, entry as u32);
            let EventLoop { slots, ctx, .. } = self;
            if let Some(connection) = connection_at(slots, slot)
                && connection.id().generation == generation
            {
                connection.on_deadline(ctx);
            }
        }
        self.time_out_flights();
        if self.ctx.shutting_down > 0 {
            self.cut_due();
        }
        self.ctx.tell_breaches();
    }

    /// Hands the events to JavaScript, executes its commands and writes to the sockets.
    pub(super) fn exchange_batches(&mut self) {
        self.publish_events();
        self.execute_commands();
        self.flush();
    }

    /// Frees the slots of connections that are over. Called only at the end of a turn: events that the poll
    /// reported for a connection must not be taken for those of the next connection in its slot.
    pub(super) fn reap(&mut self) {
        let may_be_last = !self.removed_names.is_empty() && !self.ctx.reap.is_empty();
        while let Some(slot) = self.ctx.reap.pop() {
            let place = &mut self.slots[slot as usize];
            if place.connection.as_ref().is_some_and(|connection| connection.is_over()) {
                place.connection = None;
                self.free.push(slot);
            }
        }
        if may_be_last {
            self.forget_removed_names();
        }
        if self.ctx.shutting_down > 0 {
            self.finish_shutdowns();
        }
        if !self.quiet && self.ctx.connections == 0 && self.listeners.iter().all(Option::is_none) {
            self.quiet = true;
            self.ctx.event(JsEvent::Quiet, ExchangeId::default(), b"");
        }
    }

    pub(super) fn publish_events(&mut self) {
        let Context { shared, events, dropped, .. } = &mut self.ctx;
        let mut wake = false;
        if !dropped.is_empty() {
            // Hand these over first: one of the other events may be the end of the connection. JavaScript
            // sleeps on the other mailbox.
            let _ = shared.dropped.put(dropped);
            wake = shared.events.needs_wake();
        }
        if !events.is_empty() {
            shared.counters.by_loop.hands_over(&shared.events);
            wake |= shared.events.put(events);
        }
        if wake {
            self.wake_js.wake();
        }
    }
}

/// Errors that concern the one connection that was to be accepted, not the listener.
pub(super) fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}

pub(super) enum Meaning {
    Waker,
    Listener(usize),
    Connection(ExchangeId),
}

pub(super) fn token_meaning(Token(token): Token) -> Meaning {
    match (token, token % 2) {
        (0, _) => Meaning::Waker,
        (_, 1) => Meaning::Listener(token / 2),
        _ => Meaning::Connection(ExchangeId {
            slot: token as u32 / 2 - 1,
            generation: (token >> GENERATION_SHIFT) as u32,
        }),
    }
}

pub(super) fn listener_token(index: usize) -> Token {
    Token(index * 2 + 1)
}

/// The poll goes on reporting a socket that was closed here as long as another process has it, too, as one
/// may that has sent it to this one. By its generation such an event is not taken for one of the next
/// connection in the slot.
pub(super) fn connection_token(id: ExchangeId) -> Token {
    Token(((id.generation as usize) << GENERATION_SHIFT) | ((id.slot as usize + 1) * 2))
}

const GENERATION_SHIFT: u32 = 32;
const _: () = assert!(usize::BITS == 64, "tokens have room for a slot and its generation");

impl Drop for EventLoop {
    /// Gives connections that were handed over, and that this loop has not seen, back to the app that
    /// accepted them.
    fn drop(&mut self) {
        while let Ok(control) = self.inbox.try_recv() {
            if let Control::Adopt { stream, peer, home: Some((home, app)), permit, .. } = control {
                // A connection whose home has ended as well is closed.
                let _ = home.control(Control::Adopt { app, stream, peer, home: None, permit });
            }
        }
    }
}
