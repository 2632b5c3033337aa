//! The loop thread: polls the sockets, carries out commands, reports events. Knows protocols, nothing of JavaScript.
//!
//! One turn: read what is ready, hand the events over (waking JavaScript if it sleeps), carry out the commands that
//! arrived, write what they produced, sleep until something happens.
#![forbid(unsafe_code)]

mod compression;
mod connection;
mod context;
mod declared;
mod http;
mod outbound;
mod publication;
pub mod registry;
pub mod socket;
mod timer;
pub mod tls;
mod websocket;

#[cfg(test)]
mod tests;

pub use context::{Behaviour, Timeouts, wants};
pub use http::{NO_SPAN, REQUEST_BLOCK_WORDS};
pub use timer::Tick;

use crate::channel::{
    Command, CommandBatch, ConnId, EventKind, MAX_CONNECTIONS, NOBODY, Op, Shared, WakeJs, send_flag,
};
use crate::declarative::Program;
use crate::mailbox::Batch;
use crate::protocol::request::Limits;
use crate::router::{Method, Priority};
use connection::{Connection, Readiness};
use context::Context;
use crossbeam_channel::{Receiver, Sender};
use mio::{Events, Poll, Token, Waker};
use publication::Publication;
use socket::{Bound, Listener};
use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

/// Rare commands, which carry what does not fit into a record.
pub enum Control {
    AddApp {
        app: u32,
    },
    /// Makes an app an SSLApp, with the certificate for clients that ask for no name we know.
    Secure {
        app: u32,
        config: Option<Arc<rustls::ServerConfig>>,
    },
    ServerNames {
        app: u32,
        change: tls::Change,
    },
    Route {
        app: u32,
        /// The server name whose router it belongs to.
        domain: Option<String>,
        method: Method,
        pattern: Vec<u8>,
        priority: Priority,
        handler: u32,
    },
    RemoveRoute {
        app: u32,
        domain: Option<String>,
        method: Method,
        pattern: Vec<u8>,
    },
    Behaviour(Behaviour),
    /// The routes with this handler are answered by the loop.
    Declared {
        handler: u32,
        program: Program,
    },
    Filter {
        app: u32,
    },
    Timeouts {
        app: u32,
        timeouts: Timeouts,
    },
    Listen {
        app: u32,
        listener: u32,
        bound: Bound,
    },
    /// From now on `app` hands its accepted connections to the child app with this descriptor, too.
    AddChild {
        app: u32,
        descriptor: u64,
    },
    RemoveChild {
        app: u32,
        descriptor: u64,
    },
    /// A connection another loop accepted for `app`.
    Adopt {
        app: u32,
        stream: socket::Stream,
        peer: Option<std::net::SocketAddr>,
    },
    /// For tests of the panic path.
    #[doc(hidden)]
    Panic(String),
}

/// One loop thread, as its environment's thread sees it.
pub struct Loop {
    pub shared: Arc<Shared>,
    control: Sender<Control>,
    waker: Arc<Waker>,
    thread: Option<JoinHandle<()>>,
}

/// A loop as other loops see it.
#[derive(Clone)]
pub struct Remote {
    shared: Arc<Shared>,
    control: Sender<Control>,
    waker: Arc<Waker>,
}

impl Remote {
    /// Gives the command back when the loop is over.
    fn control(&self, control: Control) -> Result<(), Control> {
        if self.shared.stop.load(Ordering::SeqCst) {
            return Err(control);
        }
        self.control.send(control).map_err(|error| error.into_inner())?;
        if self.shared.commands.needs_wake() {
            let _ = self.waker.wake();
        }
        Ok(())
    }

    fn is_same(&self, other: &Remote) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl Loop {
    pub fn remote(&self) -> Remote {
        Remote { shared: self.shared.clone(), control: self.control.clone(), waker: self.waker.clone() }
    }

    pub fn start(limits: Limits, wake_js: Box<dyn WakeJs>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let shared = Arc::new(Shared::default());
        let (control, inbox) = crossbeam_channel::unbounded();
        let (in_loop, wake_js): (_, Arc<dyn WakeJs>) = (shared.clone(), Arc::from(wake_js));
        let thread = std::thread::Builder::new().name("uws-rs loop".into()).spawn(move || {
            let report = (in_loop.clone(), wake_js.clone());
            let run = move || EventLoop::new(poll, in_loop, inbox, limits, wake_js).run();
            if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
                report_panic(&report.0, &*report.1, &*panic);
            }
        })?;
        Ok(Loop { shared, control, waker, thread: Some(thread) })
    }

    /// Sends a rare command. Commands of the batch queue that are flushed later are carried out after it.
    pub fn control(&self, control: Control) {
        // The loop ends before its handle only by a panic, which JavaScript is told.
        let _ = self.control.send(control);
        if self.shared.commands.needs_wake() {
            self.wake();
        }
    }

    /// Hands a batch of commands over.
    pub fn flush(&self, batch: &mut CommandBatch) {
        if self.shared.commands.put(batch) {
            self.wake();
        }
    }

    pub fn wake(&self) {
        // An eventfd write fails only when the loop's poll is gone, and then nobody sleeps on it.
        let _ = self.waker.wake();
    }

    /// Ends the thread and waits for it; every socket is closed.
    pub fn stop(&mut self) {
        registry::forget(&self.remote());
        self.shared.stop.store(true, Ordering::SeqCst);
        self.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }

    pub fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The last thing a loop does after a panic: JavaScript throws it as an uncaught exception.
fn report_panic(shared: &Shared, wake_js: &dyn WakeJs, panic: &(dyn Any + Send)) {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    let text =
        text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "unknown cause".into());
    let mut batch = crate::channel::EventBatch::default();
    batch.push(EventKind::Panic, ConnId::default(), [0; 3], text.as_bytes());
    if shared.events.put(&mut batch) {
        wake_js.wake();
    }
}

const WAKER: Token = Token(0);
/// Events taken from the kernel in one poll.
const EVENTS_PER_POLL: usize = 1024;
/// Connections accepted from one listener in one turn.
const ACCEPTS_PER_TURN: usize = 256;
/// What one read may bring; connections keep no buffer of their own.
const READ_BUFFER: usize = 128 << 10;
/// How long a listener rests after the process ran out of file descriptors, at first and at most.
const ACCEPT_BACK_OFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

struct EventLoop {
    poll: Poll,
    control: Receiver<Control>,
    wake_js: Arc<dyn WakeJs>,
    ctx: Context,
    slots: Vec<Slot>,
    free: Vec<u32>,
    listeners: Vec<Option<Listening>>,
    /// Listeners with more to accept in the next turn.
    accepting: Vec<usize>,
    read_buffer: Box<[u8]>,
    commands: CommandBatch,
    /// Batches of commands taken, wrapping.
    batches: usize,
    quiet: bool,
}

/// A place for a connection; the generation counts its users.
struct Slot {
    generation: u32,
    connection: Option<Box<Connection>>,
}

struct Listening {
    socket: Listener,
    app: u32,
    id: u32,
    /// Set while the process has no file descriptor for another connection.
    rest: Option<(std::time::Instant, Duration)>,
}

impl EventLoop {
    fn new(
        poll: Poll,
        shared: Arc<Shared>,
        control: Receiver<Control>,
        limits: Limits,
        wake_js: Arc<dyn WakeJs>,
    ) -> Self {
        EventLoop {
            poll,
            control,
            wake_js,
            ctx: Context::new(shared, limits),
            slots: Vec::new(),
            free: Vec::new(),
            listeners: Vec::new(),
            accepting: Vec::new(),
            read_buffer: vec![0; READ_BUFFER].into_boxed_slice(),
            commands: CommandBatch::default(),
            batches: 0,
            quiet: true,
        }
    }

    fn run(&mut self) {
        let mut events = Events::with_capacity(EVENTS_PER_POLL);
        loop {
            let timeout = self.sleep_for();
            if let Err(error) = self.poll.poll(&mut events, timeout)
                && error.kind() != io::ErrorKind::Interrupted
            {
                panic!("poll failed: {error}");
            }
            self.ctx.shared.commands.awake();
            if self.ctx.shared.stop.load(Ordering::SeqCst) {
                return;
            }
            if self.ctx.update_clock() {
                self.tick();
            }
            // Routes and child apps that were added before a client came are there when it is seen to.
            self.carry_out_control();
            for event in &events {
                self.dispatch(event);
            }
            self.catch_up();
            self.publish_events();
            self.carry_out_commands();
            self.flush();
            self.publish_events();
            self.ctx.shared.settled.set(self.batches);
            self.ctx.shared.turns.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How long the poll may wait; zero when there is work already.
    fn sleep_for(&mut self) -> Option<Duration> {
        let ready = !self.ctx.ready.is_empty() && !self.ctx.overloaded();
        let busy = ready || !self.ctx.dirty.is_empty() || !self.accepting.is_empty();
        if busy || !self.ctx.shared.commands.may_sleep() || !self.control.is_empty() {
            return Some(Duration::ZERO);
        }
        let resting = self.listeners.iter().flatten().any(|listening| listening.rest.is_some());
        match (self.ctx.wheel.is_empty(), resting) {
            (true, false) => None,
            (_, true) => Some(self.ctx.until_next_tick().min(ACCEPT_BACK_OFF.0)),
            (false, false) => Some(self.ctx.until_next_tick()),
        }
    }

    fn dispatch(&mut self, event: &mio::event::Event) {
        match token_meaning(event.token()) {
            Meaning::Waker => {}
            Meaning::Listener(index) => self.accept(index),
            Meaning::Connection(slot) => {
                let readiness = Readiness {
                    readable: event.is_readable() || event.is_read_closed() || event.is_error(),
                    writable: event.is_writable(),
                    ended: event.is_read_closed(),
                    reset: event.is_error(),
                };
                let EventLoop { slots, ctx, read_buffer, .. } = self;
                if let Some(connection) = slots.get_mut(slot).and_then(|slot| slot.connection.as_mut()) {
                    connection.on_event(ctx, read_buffer, readiness);
                }
            }
        }
    }

    /// What was left over from the last turn: sockets with more to read, listeners with more to accept.
    fn catch_up(&mut self) {
        let ready = std::mem::take(&mut self.ctx.ready);
        if !ready.is_empty() && self.ctx.overloaded() {
            self.ctx.ready = ready;
        } else {
            for slot in &ready {
                let EventLoop { slots, ctx, read_buffer, .. } = self;
                if let Some(connection) =
                    slots.get_mut(*slot as usize).and_then(|slot| slot.connection.as_mut())
                {
                    connection.drive(ctx, read_buffer);
                }
            }
        }
        for index in std::mem::take(&mut self.accepting) {
            self.accept(index);
        }
        let now = std::time::Instant::now();
        for index in 0..self.listeners.len() {
            let due =
                self.listeners[index].as_ref().and_then(|l| l.rest).is_some_and(|(until, _)| until <= now);
            if due {
                self.accept(index);
            }
        }
        self.reap();
    }

    // ---- accepting

    fn accept(&mut self, index: usize) {
        for _ in 0..ACCEPTS_PER_TURN {
            let Some(Some(listening)) = self.listeners.get_mut(index) else { return };
            match listening.socket.accept() {
                Ok((stream, peer)) => {
                    // The shortage is over, and may be warned of again, when nobody waits any more.
                    listening.rest = listening.rest.map(|(until, _)| (until, Duration::ZERO));
                    let app = listening.app;
                    self.hand_out(stream, peer, app);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    listening.rest = None;
                    return;
                }
                Err(error) if is_transient(&error) => {}
                Err(error) => return self.rest(index, &error),
            }
        }
        self.accepting.push(index);
    }

    /// No file descriptor or memory for another connection: try again a little later, longer each time.
    fn rest(&mut self, index: usize, error: &io::Error) {
        let Some(Some(listening)) = self.listeners.get_mut(index) else { return };
        let pause = match listening.rest {
            None => {
                let text = format!("uws-rs: accepting connections is paused: {error}");
                self.ctx.event(EventKind::Warning, ConnId::default(), [0; 3], text.as_bytes());
                ACCEPT_BACK_OFF.0
            }
            Some((_, pause)) => (pause * 2).clamp(ACCEPT_BACK_OFF.0, ACCEPT_BACK_OFF.1),
        };
        listening.rest = Some((std::time::Instant::now() + pause, pause));
    }

    /// To the next child app, or to the accepting app itself when it has none that lives.
    fn hand_out(&mut self, mut stream: socket::Stream, peer: Option<std::net::SocketAddr>, app: u32) {
        while let Some(child) = self.ctx.apps.get_mut(app as usize).and_then(context::App::next_child) {
            let Some((remote, child_app)) = registry::find(child) else {
                self.ctx.apps[app as usize].remove_child(child);
                continue;
            };
            match remote.control(Control::Adopt { app: child_app, stream, peer }) {
                Err(Control::Adopt { stream: back, .. }) => stream = back,
                _ => return,
            }
            self.ctx.apps[app as usize].remove_child(child);
        }
        self.adopt(stream, peer, app);
    }

    fn adopt(&mut self, mut stream: socket::Stream, peer: Option<std::net::SocketAddr>, app: u32) {
        let Some(slot) = self.free_slot() else { return };
        if stream.register(self.poll.registry(), connection_token(slot)).is_err() {
            self.free.push(slot);
            return;
        }
        let place = &mut self.slots[slot as usize];
        place.generation = place.generation.wrapping_add(1) & 0x7fff_ffff;
        let id = ConnId { slot, generation: place.generation };
        let state = self.ctx.shared.slots.get(slot);
        state.backlog.store(0, Ordering::Relaxed);
        state.peer.store(peer);
        state.proxied.store(None);
        let secure = self.ctx.apps.get(app as usize).is_some_and(|app| app.names.is_some());
        let tls = secure.then(Box::default);
        let mut connection = Box::new(Connection::new(id, app, stream, tls));
        connection.start_timeout(&mut self.ctx);
        place.connection = Some(connection);
        self.ctx.connections += 1;
        if std::mem::replace(&mut self.quiet, false) {
            self.ctx.event(EventKind::Busy, ConnId::default(), [0; 3], b"");
        }
        if self.ctx.apps.get(app as usize).is_some_and(|app| app.filter) {
            self.ctx.event(EventKind::Filter, id, [app, 1, 0], b"");
        }
    }

    fn free_slot(&mut self) -> Option<u32> {
        if let Some(slot) = self.free.pop() {
            return Some(slot);
        }
        if self.slots.len() >= MAX_CONNECTIONS {
            return None;
        }
        self.slots.push(Slot { generation: 0, connection: None });
        Some(self.slots.len() as u32 - 1)
    }

    // ---- commands

    fn carry_out_commands(&mut self) {
        self.carry_out_control();
        let mut batch = std::mem::take(&mut self.commands);
        while self.ctx.shared.commands.take(&mut batch) {
            self.batches += 1;
            // What was put before this batch through the other channel counts as earlier.
            self.carry_out_control();
            let (bytes, owned) = batch.parts();
            let mut at = 0;
            while let Some(command) = CommandBatch::next(bytes, owned, &mut at) {
                self.carry_out(command);
            }
        }
        self.commands = batch;
        self.reap();
    }

    fn carry_out_control(&mut self) {
        while let Ok(control) = self.control.try_recv() {
            match control {
                Control::AddApp { app } => {
                    let apps = &mut self.ctx.apps;
                    apps.resize_with(apps.len().max(app as usize + 1), Default::default);
                }
                Control::Secure { app, config } => {
                    if let Some(app) = self.ctx.apps.get_mut(app as usize) {
                        app.names = Some(tls::Names::new(config));
                    }
                }
                Control::ServerNames { app, change } => {
                    if let Some(names) = self.ctx.apps.get_mut(app as usize).and_then(|a| a.names.as_mut()) {
                        names.change(change);
                    }
                }
                Control::Route { app, domain, method, pattern, priority, handler } => {
                    if let Some(app) = self.ctx.apps.get_mut(app as usize) {
                        app.change_routes(domain.as_deref(), |routes| {
                            routes.add(method, &pattern, priority, handler);
                        });
                    }
                }
                Control::RemoveRoute { app, domain, method, pattern } => {
                    if let Some(app) = self.ctx.apps.get_mut(app as usize) {
                        app.change_routes(domain.as_deref(), |routes| {
                            routes.remove(method, &pattern);
                        });
                    }
                }
                Control::Behaviour(behaviour) => {
                    let (id, behaviours) = (behaviour.id as usize, &mut self.ctx.behaviours);
                    behaviours.resize_with(behaviours.len().max(id + 1), || None);
                    behaviours[id] = Some(Arc::new(behaviour));
                }
                Control::Declared { handler, program } => self.ctx.declare(handler, program),
                Control::Timeouts { app, timeouts } => {
                    if let Some(app) = self.ctx.apps.get_mut(app as usize) {
                        app.timeouts = timeouts;
                    }
                }
                Control::Filter { app } => {
                    if let Some(app) = self.ctx.apps.get_mut(app as usize) {
                        app.filter = true;
                    }
                }
                Control::AddChild { app, descriptor } => {
                    if let Some(app) = self.ctx.apps.get_mut(app as usize) {
                        app.add_child(descriptor);
                    }
                }
                Control::RemoveChild { app, descriptor } => {
                    if let Some(app) = self.ctx.apps.get_mut(app as usize) {
                        app.remove_child(descriptor);
                    }
                }
                Control::Adopt { app, stream, peer } => self.adopt(stream, peer, app),
                Control::Listen { app, listener, bound } => self.listen(app, listener, bound),
                Control::Panic(message) => panic!("{message}"),
            }
        }
    }

    fn listen(&mut self, app: u32, id: u32, bound: Bound) {
        let index = self.listeners.iter().position(Option::is_none).unwrap_or(self.listeners.len());
        let mut socket = Listener::new(bound);
        if let Err(error) = socket.register(self.poll.registry(), listener_token(index)) {
            let text = format!("uws-rs: a listening socket could not be watched: {error}");
            return self.ctx.event(EventKind::Warning, ConnId::default(), [0; 3], text.as_bytes());
        }
        self.listeners.resize_with(self.listeners.len().max(index + 1), || None);
        self.listeners[index] = Some(Listening { socket, app, id, rest: None });
        self.quiet = false;
    }

    fn carry_out(&mut self, command: Command<'_>) {
        match command.op {
            Op::Publish => return self.publish(command),
            Op::CloseApp => return self.close_app(command.arg),
            Op::CloseListener => {
                return self.close_listeners(|listening| listening.id == command.arg);
            }
            _ => {}
        }
        let EventLoop { slots, ctx, .. } = self;
        let Some(slot) = slots.get_mut(command.id.slot as usize) else { return };
        let Some(connection) = slot.connection.as_mut().filter(|c| c.id == command.id) else { return };
        match command.op {
            Op::Respond => connection.http_command(ctx, command, Connection::respond),
            Op::Write => connection.http_command(ctx, command, Connection::write_chunk),
            Op::TryEnd => connection.http_command(ctx, command, Connection::try_end),
            Op::Finish => connection.http_command(ctx, command, Connection::finish),
            Op::Upgrade => connection.http_command(ctx, command, Connection::upgrade),
            Op::Pause => connection.pause(),
            Op::Resume => connection.unpause(ctx),
            Op::WantWritable => connection.want_writable(ctx),
            Op::Release => connection.release(ctx),
            Op::Close => {
                connection.let_go();
                connection.close_socket(ctx);
            }
            Op::Send => connection.websocket_send(ctx, command),
            Op::End => connection.websocket_end(ctx, &command),
            Op::Subscribe => connection.subscribe(ctx, command.arg),
            Op::Unsubscribe => connection.unsubscribe(ctx, command.arg),
            Op::Overflow => connection.websocket_overflow(ctx),
            Op::ServerName => connection.server_name_answered(ctx),
            Op::Publish | Op::CloseApp | Op::CloseListener => {}
        }
    }

    /// Goes to every subscriber but the sender; each distinct frame is built once.
    fn publish(&mut self, command: Command<'_>) {
        let payload = command.owned.as_deref().unwrap_or(command.payload);
        let flag = |flag: u32| command.flags & flag != 0;
        let mut publication = Publication::new(flag(send_flag::BINARY), flag(send_flag::COMPRESS), payload);
        let sender = (command.id.slot != NOBODY).then_some(command.id.slot);
        // Backwards: a subscriber that is closed on the way leaves the topic, and the last one takes its place.
        for index in (0..self.ctx.topics.count(command.arg)).rev() {
            let Some(slot) = self.ctx.topics.subscriber(command.arg, index) else { continue };
            if Some(slot) == sender {
                continue;
            }
            let EventLoop { slots, ctx, .. } = self;
            if let Some(connection) = slots.get_mut(slot as usize).and_then(|slot| slot.connection.as_mut()) {
                connection.deliver(ctx, &mut publication);
            }
        }
        publication.recycle(&mut self.ctx.spare);
    }

    /// JavaScript has run the handlers of all its objects; what remains is to close the sockets.
    fn close_app(&mut self, app: u32) {
        self.close_listeners(|listening| listening.app == app);
        let EventLoop { slots, ctx, .. } = self;
        for connection in slots.iter_mut().filter_map(|slot| slot.connection.as_mut()) {
            if connection.app == app {
                // What was answered before the close leaves first, as far as the kernel takes it.
                connection.flush(ctx);
                connection.let_go();
                connection.close_socket(ctx);
            }
        }
    }

    fn close_listeners(&mut self, mut which: impl FnMut(&Listening) -> bool) {
        for place in &mut self.listeners {
            if place.as_ref().is_some_and(&mut which) {
                *place = None;
            }
        }
    }

    // ---- ends of a turn

    fn tick(&mut self) {
        let (mut due, now) = (Vec::new(), self.ctx.now());
        self.ctx.wheel.advance(now, &mut due);
        for entry in due {
            let (slot, generation) = ((entry >> 32) as usize, entry as u32);
            let EventLoop { slots, ctx, .. } = self;
            if let Some(connection) = slots.get_mut(slot).and_then(|slot| slot.connection.as_mut())
                && connection.id.generation == generation
            {
                connection.on_deadline(ctx);
            }
        }
        self.reap();
    }

    fn flush(&mut self) {
        let mut dirty = std::mem::take(&mut self.ctx.dirty);
        for slot in dirty.drain(..) {
            let EventLoop { slots, ctx, .. } = self;
            if let Some(connection) = slots.get_mut(slot as usize).and_then(|slot| slot.connection.as_mut()) {
                connection.flush(ctx);
            }
        }
        // Connections marked meanwhile (over their write budget) are for the next turn.
        if self.ctx.dirty.is_empty() {
            self.ctx.dirty = dirty;
        }
        self.reap();
    }

    /// Frees the slots of connections that are over.
    fn reap(&mut self) {
        while let Some(slot) = self.ctx.reap.pop() {
            let place = &mut self.slots[slot as usize];
            if place.connection.as_ref().is_some_and(|connection| connection.is_over()) {
                place.connection = None;
                self.free.push(slot);
            }
        }
        if !self.quiet && self.ctx.connections == 0 && self.listeners.iter().all(Option::is_none) {
            self.quiet = true;
            self.ctx.event(EventKind::Quiet, ConnId::default(), [0; 3], b"");
        }
    }

    fn publish_events(&mut self) {
        if !self.ctx.events.is_empty() && self.ctx.shared.events.put(&mut self.ctx.events) {
            self.wake_js.wake();
        }
    }
}

/// Errors that concern the one connection that was to be accepted, not the listener.
fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}

enum Meaning {
    Waker,
    Listener(usize),
    Connection(usize),
}

fn token_meaning(Token(token): Token) -> Meaning {
    match (token, token % 2) {
        (0, _) => Meaning::Waker,
        (_, 1) => Meaning::Listener(token / 2),
        _ => Meaning::Connection(token / 2 - 1),
    }
}

fn listener_token(index: usize) -> Token {
    Token(index * 2 + 1)
}

fn connection_token(slot: u32) -> Token {
    Token((slot as usize + 1) * 2)
}
