//! Executes the commands of JavaScript: the records of the batches, and the rare commands in them.

use super::app;
use super::connection::publication::Publication;
use super::context::Answerer;
use super::control::Control;
use super::limits::Guard;
use super::net::clock;
use super::net::listener::{Bound, Listener};
use super::tls;
use super::turn::*;
use crate::channel::Boxed;
use crate::channel::mailbox::Batch;
use crate::channel::{Command, ExchangeId, JsEvent, Op, send_flag};
use crate::fault::{self, Fault};
use crate::metrics::Metric;
use crate::routing::router::Method;
use crate::routing::router::{HandlerId, Router};
use crate::trace;
use smallvec::SmallVec;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long one turn executes commands while sockets wait to be read, accepted, written and timed.
const TIME_FOR_COMMANDS: Duration = Duration::from_millis(10);
/// Commands between two looks at the clock; a publish counts as one for each subscriber.
const COMMANDS_PER_LOOK: usize = 64;

/// So many bytes of a payload weigh as much as another command, since compressing them takes far longer than
/// reading a record.
const BYTES_PER_WEIGHT: usize = 256;

/// The loop writes once publishes have copied so many bytes for all their subscribers. Tests have a smaller
/// pile.
pub const PILE: usize = if cfg!(any(test, feature = "simulation")) { 256 << 10 } else { 8 << 20 };

/// The share of the waiting commands that a turn may execute.
struct Budget {
    /// The batches that waited when the turn began: JavaScript may add to them as fast as the loop executes
    /// them.
    batches: usize,
    until: Instant,
    since_look: usize,
}

impl Budget {
    /// Whether the time is over after another command of this weight.
    fn is_spent(&mut self, weight: usize) -> bool {
        self.since_look += weight;
        if self.since_look < COMMANDS_PER_LOOK {
            return false;
        }
        self.since_look = 0;
        clock::now() >= self.until
    }
}

impl EventLoop {
    /// Executes the commands that wait now, for as long as a turn may; the next turn goes on with the rest.
    pub(super) fn execute_commands(&mut self) {
        let mut budget = Budget {
            batches: self.ctx.shared.commands.len(),
            until: clock::now() + TIME_FOR_COMMANDS,
            since_look: 0,
        };
        if fault::is_on(Fault::EndlessTurn) {
            budget =
                Budget { batches: usize::MAX, until: budget.until + Duration::from_secs(3600), ..budget };
        }
        while !self.waits_for_javascript() && (self.resume_at.is_some() || self.take_commands(&mut budget)) {
            self.resume_at = self.execute_batch(&mut budget);
            if self.resume_at.is_some() {
                return;
            }
            self.batches = self.batches.wrapping_add(1);
        }
    }

    /// Whether no more commands may be executed before JavaScript has taken `Dropped` events. JavaScript may
    /// be waiting for room for more commands, so it is notified.
    fn waits_for_javascript(&mut self) -> bool {
        let waits = self.ctx.too_many_dropped();
        if waits {
            self.publish_events();
            self.ctx.shared.commands.nudge();
        }
        waits
    }

    fn take_commands(&mut self, budget: &mut Budget) -> bool {
        let Some(left) = budget.batches.checked_sub(1) else { return false };
        budget.batches = left;
        let taken = self.ctx.shared.commands.take(&mut self.commands);
        if taken {
            self.resume_at = Some(0);
        }
        taken
    }

    /// The position to go on at; `None` if the batch is finished.
    fn execute_batch(&mut self, budget: &mut Budget) -> Option<usize> {
        let mut batch = std::mem::take(&mut self.commands);
        let mut records = batch.records(self.resume_at.unwrap_or_default());
        for command in records.by_ref() {
            let weight = self.execute(command);
            // While a rare command waits, the turn goes on: clients may be waiting for the route or listener
            // it brings.
            if budget.is_spent(weight) && self.ctx.shared.controls.load(Ordering::Relaxed) == 0 {
                break;
            }
            if !self.ctx.dropped.is_empty() && self.ctx.too_many_dropped() {
                break;
            }
        }
        let rest = records.position();
        self.commands = batch;
        rest
    }

    /// Adopts connections that other loops accepted.
    pub(super) fn execute_inbox(&mut self) {
        while let Ok(control) = self.inbox.try_recv() {
            self.execute_control(control);
        }
    }

    fn execute_boxed(&mut self, boxed: Option<Boxed>) {
        self.ctx.shared.controls.fetch_sub(1, Ordering::SeqCst);
        if let Some(control) = boxed.and_then(|boxed| boxed.downcast::<Control>().ok()) {
            self.execute_control(*control);
        }
    }

    fn execute_control(&mut self, control: Control) {
        match control {
            Control::AddApp { app } => {
                while self.ctx.apps.len() <= app as usize {
                    let added = app::App::default();
                    self.ctx.shared.counters.add_app(added.counts.clone());
                    self.ctx.apps.push(added);
                }
            }
            Control::Secure { app, settings } => {
                if let Some(app) = self.app(app) {
                    app.names = Some(tls::Names::new(settings));
                }
            }
            Control::ServerNames { app, change } => {
                let names = self.app(app).and_then(|app| app.names.as_mut());
                if let Some(removed) = names.and_then(|names| names.change(change)) {
                    self.removed_names.push(removed);
                    self.forget_removed_names();
                }
            }
            Control::Route { app, domain, method, pattern, priority, handler } => {
                self.change_routes(app, domain.as_deref(), method, &pattern, |routes| {
                    routes.add(method, &pattern, priority, handler);
                });
            }
            Control::RemoveRoute { app, domain, method, pattern } => {
                self.change_routes(app, domain.as_deref(), method, &pattern, |routes| {
                    routes.remove(method, &pattern);
                });
            }
            Control::Behaviour(behaviour) => {
                let (id, behaviours) = (behaviour.id as usize, &mut self.ctx.behaviours);
                behaviours.resize_with(behaviours.len().max(id + 1), || None);
                behaviours[id] = Some(Arc::new(behaviour));
            }
            Control::Declared { handler, program } => {
                self.ctx.declare(handler, Answerer::Program(Arc::new(program)));
            }
            Control::Metrics { handler, scope } => self.ctx.declare(handler, Answerer::Metrics(scope)),
            Control::Cached { handler, app, options } => self.cache(handler, app, *options),
            Control::Compressed { job, variants } => self.ctx.caches.add_variants(job, &variants),
            Control::Invalidate { app, url } => self.ctx.caches.invalidate(app, &url),
            Control::Timeouts { app, timeouts } => {
                if let Some(app) = self.app(app) {
                    app.timeouts = timeouts;
                }
            }
            Control::Limits { app, limits } => {
                if let Some(app) = self.app(app) {
                    app.guard = Some(Box::new(Guard::new(*limits)));
                }
            }
            Control::Trust { app, proxies } => {
                if let Some(app) = self.app(app) {
                    app.trusted = Some(proxies);
                }
            }
            Control::Filter { app } => {
                if let Some(app) = self.app(app) {
                    app.filter = true;
                }
            }
            Control::AddChild { app, descriptor } => {
                if let Some(app) = self.app(app) {
                    app.add_child(descriptor);
                }
            }
            Control::RemoveChild { app, descriptor } => {
                if let Some(app) = self.app(app) {
                    app.remove_child(descriptor);
                }
            }
            Control::Adopt { app, stream, peer, home, permit } => {
                self.adopt_from(stream, peer, app, home.is_some(), permit);
            }
            Control::Accepted { app, stream, peer } => {
                self.quiet = false;
                self.ctx.event(JsEvent::Busy { adopted: true }, ExchangeId::default(), b"");
                self.let_in(stream, peer, app);
            }
            Control::Listen { app, listener, bound } => self.listen(app, listener, bound),
            Control::ShutDown { app, seconds } => self.shut_down(app, seconds),
            Control::HurryUp { app, seconds } => self.hurry_up(app, seconds),
            Control::Panic(message) => panic!("{message}"),
            #[cfg(test)]
            Control::Wait(busy) => assert!(busy.recv().is_err()),
            #[cfg(test)]
            Control::Allocations(told) => told.send(crate::allocations::so_far()).unwrap_or_default(),
        }
    }

    /// Changes routes. From here on no event names a handler that was replaced or removed, and JavaScript is
    /// told so.
    fn change_routes(
        &mut self,
        app: u32,
        domain: Option<&str>,
        method: Method,
        pattern: &[u8],
        change: impl FnOnce(&mut Router),
    ) {
        let Some(app) = self.app(app) else { return };
        let mut gone = SmallVec::<[HandlerId; 1]>::new();
        app.change_routes(domain, |routes| {
            gone = routes.at(method, pattern);
            change(routes);
            let left = routes.at(method, pattern);
            gone.retain(|id| !left.contains(id));
        });
        gone.into_iter().for_each(|id| self.ctx.unname(id));
    }

    /// Gives up the routes of removed server names whose last connection is gone.
    pub(super) fn forget_removed_names(&mut self) {
        let EventLoop { removed_names, ctx, .. } = self;
        removed_names.retain(|router| {
            let is_used = Rc::strong_count(router) > 1;
            if !is_used {
                router.borrow().handlers().into_iter().for_each(|id| ctx.unname(id));
            }
            is_used
        });
    }

    fn app(&mut self, app: u32) -> Option<&mut app::App> {
        self.ctx.apps.get_mut(app as usize)
    }

    pub(super) fn listen(&mut self, app: u32, id: u32, bound: Bound) {
        let index = self.listeners.iter().position(Option::is_none).unwrap_or(self.listeners.len());
        let mut socket = Listener::new(bound);
        if let Err(error) = socket.register(self.poll.registry(), listener_token(index)) {
            let text = format!("uws-rs: a listening socket could not be watched: {error}");
            return self.ctx.event(JsEvent::Warning, ExchangeId::default(), text.as_bytes());
        }
        self.listeners.resize_with(self.listeners.len().max(index + 1), || None);
        log::debug!(target: trace::LOOP, "app {app} listens: listener {id}");
        self.listeners[index] = Some(Listening { socket, app, id, rest: None });
        self.quiet = false;
    }

    /// Executes a command; returns its weight in the turn's budget.
    fn execute(&mut self, command: Command<'_>) -> usize {
        match command.op {
            Op::Publish => return self.publish(command),
            Op::EndFlight => return self.end_flight(command),
            Op::Forget => self.ctx.forget(command.arg),
            Op::CloseApp => self.close_app(command.arg),
            Op::CloseListener => self.close_listeners(|listening| listening.id == command.arg),
            Op::Control => self.execute_boxed(command.boxed),
            _ => return self.execute_on_connection(command),
        }
        1
    }

    /// A command of one connection.
    fn execute_on_connection(&mut self, command: Command<'_>) -> usize {
        let weight = 1 + command.owned.as_ref().map_or(command.payload.len(), Vec::len) / BYTES_PER_WEIGHT;
        let (cost, id) = (command.cost(), command.id);
        let EventLoop { slots, ctx, .. } = self;
        let connection = connection_at(slots, id.slot as usize).filter(|c| c.id() == id);
        let Some(connection) = connection else {
            self.settle_dropped(id, cost);
            return weight;
        };
        connection.execute(ctx, command, cost);
        weight
    }

    /// Acknowledges a command for a connection that is gone, since JavaScript has counted its bytes as sent
    /// and may still ask for the account. Nobody asks for the account of an earlier user of the slot.
    fn settle_dropped(&self, id: ExchangeId, cost: usize) {
        if fault::is_on(Fault::LostAccount) {
            return;
        }
        if cost != 0 && self.slots.get(id.slot as usize).is_some_and(|slot| slot.generation == id.generation)
        {
            self.ctx.shared.slots.get(id.slot).acknowledge(cost);
        }
    }

    /// Delivers a publish to every subscriber but the sender; each distinct frame is built once.
    fn publish(&mut self, command: Command<'_>) -> usize {
        let payload = command.owned.as_deref().unwrap_or(command.payload);
        let flag = |flag: u32| command.flags & flag != 0;
        let sender = connection_at(&mut self.slots, command.id.slot as usize)
            .filter(|connection| connection.id() == command.id)
            .map(|connection| connection.id().slot);
        // A copy of the list, since subscribers that are closed during the walk leave the topic. Their slots
        // get no other user in this turn.
        let mut subscribers = std::mem::take(&mut self.ctx.subscribers);
        self.ctx.topics.list(command.arg, &mut subscribers);
        let (binary, compress) = (flag(send_flag::BINARY), flag(send_flag::COMPRESS));
        let mut publication =
            Publication::new(binary, compress, payload, subscribers.len(), &self.ctx.frames);
        if let Some(first) = subscribers.first()
            && let Some(connection) = connection_at(&mut self.slots, *first as usize)
        {
            // All subscribers of a topic are of one app.
            connection.counts().one(Metric::Publishes);
        }
        for &slot in subscribers.iter().filter(|slot| Some(**slot) != sender) {
            let EventLoop { slots, ctx, .. } = self;
            if let Some(connection) = connection_at(slots, slot as usize) {
                connection.deliver(ctx, &mut publication);
            }
            if self.ctx.piled_up >= PILE && !fault::is_on(Fault::Pile) {
                // The kernel takes most of these bytes now, so they do not wait in memory for the end of the
                // turn.
                self.flush();
            }
        }
        publication.recycle(&mut self.ctx.spare);
        let weight = 1 + subscribers.len();
        self.ctx.subscribers = subscribers;
        weight
    }

    /// Closes the listeners and sockets of an app, after JavaScript has run the handlers of all its objects.
    pub(super) fn close_app(&mut self, app: u32) {
        log::debug!(target: trace::LOOP, "app {app} is closed");
        self.close_listeners(|listening| listening.app == app);
        let EventLoop { slots, ctx, .. } = self;
        for connection in slots.iter_mut().filter_map(|slot| slot.connection.as_mut()) {
            if connection.app() == app {
                ctx.note_cut(app, connection.owes());
                connection.close_with_app(ctx);
            }
        }
        ctx.caches.close_app(app);
        ctx.event(JsEvent::AppClosed { app }, ExchangeId::default(), b"");
    }

    pub(super) fn close_listeners(&mut self, mut which: impl FnMut(&Listening) -> bool) {
        for place in &mut self.listeners {
            if place.as_ref().is_some_and(&mut which) {
                *place = None;
            }
        }
    }
}
