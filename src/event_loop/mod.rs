//! The loop thread: polls the sockets, carries out commands, reports events. Knows protocols, nothing of JavaScript.
//!
//! One turn: read what is ready, hand the events over (waking JavaScript if it sleeps), carry out the commands that
//! arrived, write what they produced, sleep until something happens.
#![deny(unsafe_code)]

mod accept;
mod accounts;
mod commands;
mod connection;
mod context;
pub mod net;
pub mod registry;
mod sockets;
mod timer;
pub mod tls;
pub mod topics;

#[cfg(test)]
mod tests;

pub use context::{Behaviour, Timeouts};
pub use timer::Tick;

use crate::channel::buffers::Buffer;
use crate::channel::mailbox::Batch;
use crate::channel::{
    Command, CommandBatch, ExchangeId, JsEvent, MAX_CONNECTIONS, Op, Shared, WakeJs, send_flag,
};
use crate::protocol::http::request::Limits;
use crate::routing::declarative::Program;
use crate::routing::router::{Method, Priority};
use connection::publication::Publication;
use connection::{Connection, Readiness};
use context::Context;
use crossbeam_channel::{Receiver, Sender};
use mio::{Events, Poll, Token, Waker};
use net::batch::Batch as SocketBatch;
use net::socket::{self, Bound, Listener};
use net::uring::MOST;
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
        settings: Option<Arc<tls::Settings>>,
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
    /// A connection another loop accepted for `app`. `home`: the app that accepted it and gets it back from a loop that ends.
    Adopt {
        app: u32,
        stream: socket::Stream,
        peer: Option<std::net::SocketAddr>,
        home: Option<(Remote, u32)>,
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
    wake_js: Arc<dyn WakeJs>,
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
        let myself = Remote { shared: shared.clone(), control: control.clone(), waker: waker.clone() };
        let (in_loop, wake_js): (_, Arc<dyn WakeJs>) = (shared.clone(), Arc::from(wake_js));
        let ring = wake_js.clone();
        let thread = std::thread::Builder::new().name("uws-rs loop".into()).spawn(move || {
            let report = (in_loop, wake_js.clone());
            wake_js.loop_starts();
            let run = move || EventLoop::new(poll, myself, inbox, limits, wake_js).run();
            if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
                report_panic(&report.0, &*report.1, &*panic);
            }
        })?;
        Ok(Loop { shared, control, waker, wake_js: ring, thread: Some(thread) })
    }

    /// Sends a rare command by itself: behind all batches that were handed over before.
    pub fn control(&self, control: Control) {
        let mut batch = CommandBatch::default();
        self.push_control(&mut batch, control);
        self.flush(&mut batch);
    }

    /// Puts a rare command into a batch that will be handed over to this loop.
    pub fn push_control(&self, batch: &mut CommandBatch, control: Control) {
        self.shared.controls.fetch_add(1, Ordering::SeqCst);
        batch.push_boxed(Box::new(control));
    }

    /// Hands a batch of commands over.
    pub fn flush(&self, batch: &mut CommandBatch) {
        if !self.is_running() {
            return self.forget_commands(batch);
        }
        if self.shared.commands.put(batch) {
            self.wake();
        }
    }

    /// Nobody takes commands any more: neither these nor those that wait. Their buffers are used for something else.
    fn forget_commands(&self, batch: &mut CommandBatch) {
        loop {
            batch.give_back(&self.shared.blocks);
            if !self.shared.commands.take(batch) {
                return;
            }
        }
    }

    pub fn wake(&self) {
        // An eventfd write fails only when the loop's poll is gone, and then nobody sleeps on it.
        let _ = self.waker.wake();
    }

    /// Wakes JavaScript as an event would.
    pub fn ring(&self) {
        self.wake_js.wake();
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

impl Drop for EventLoop {
    /// Connections that were handed over, and that this loop has not seen, go back to the app that accepted them.
    fn drop(&mut self) {
        while let Ok(control) = self.inbox.try_recv() {
            if let Control::Adopt { stream, peer, home: Some((home, app)), .. } = control {
                // One that has no home any more either is closed.
                let _ = home.control(Control::Adopt { app, stream, peer, home: None });
            }
        }
    }
}

/// The last thing a loop does after a panic: JavaScript throws it as an uncaught exception.
fn report_panic(shared: &Shared, wake_js: &dyn WakeJs, panic: &(dyn Any + Send)) {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    let text =
        text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "unknown cause".into());
    let mut batch = crate::channel::EventBatch::default();
    batch.push(JsEvent::Panic, ExchangeId::default(), text.as_bytes());
    if shared.events.put(&mut batch) {
        wake_js.wake();
    }
}

const WAKER: Token = Token(0);
/// Events taken from the kernel in one poll. The tests of the loop have more connections than that.
const EVENTS_PER_POLL: usize = if cfg!(test) { 8 } else { 1024 };
/// Connections accepted from one listener in one turn.
const ACCEPTS_PER_TURN: usize = 256;
/// What one read may bring; connections keep no buffer of their own. Larger ones fall out of the processor's cache
/// before JavaScript has seen them.
const READ_BUFFER: usize = 128 << 10;
/// How long a listener rests after the process ran out of file descriptors, at first and at most.
const ACCEPT_BACK_OFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

struct EventLoop {
    poll: Poll,
    /// As the loops see it that get connections from this one.
    myself: Remote,
    /// Connections that other loops accepted for apps of this one.
    inbox: Receiver<Control>,
    wake_js: Arc<dyn WakeJs>,
    ctx: Context,
    slots: Vec<Slot>,
    free: Vec<u32>,
    listeners: Vec<Option<Listening>>,
    /// Listeners with more to accept in the next turn.
    accepting: Vec<usize>,
    read_buffer: Buffer,
    commands: CommandBatch,
    /// Where in `commands` to go on: the last turn had no time for all of them.
    resume_at: Option<usize>,
    batch: SocketBatch,
    writes: sockets::Writes,
    /// Batches of commands carried out, wrapping.
    batches: usize,
    /// A tick has begun whose deadlines have not been looked at.
    tick_due: bool,
    /// Events of sockets since then.
    reported_since_due: usize,
    quiet: bool,
}

/// A place for a connection; the generation counts its users.
struct Slot {
    generation: u32,
    connection: Option<Box<Connection>>,
}

/// The connection in a slot; a function of the slots alone, so that the context can be borrowed beside it.
fn connection_at(slots: &mut [Slot], slot: usize) -> Option<&mut Connection> {
    slots.get_mut(slot)?.connection.as_deref_mut()
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
            read_buffer: shared.blocks.buffer(READ_BUFFER),
            ctx: Context::new(shared, limits),
            slots: Vec::new(),
            free: Vec::new(),
            listeners: Vec::new(),
            accepting: Vec::new(),
            commands: CommandBatch::default(),
            resume_at: None,
            batch: SocketBatch::new(connection::transport::BRIEF),
            writes: sockets::Writes::default(),
            batches: 0,
            tick_due: false,
            reported_since_due: 0,
            quiet: true,
        }
    }

    fn run(&mut self) {
        let mut events = Events::with_capacity(EVENTS_PER_POLL);
        loop {
            let timeout = self.sleep_for();
            match self.poll.poll(&mut events, timeout) {
                // Nothing was reported, and time may have passed, as where the process was stopped: what peers have sent
                // meanwhile comes before what they have not.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => panic!("poll failed: {error}"),
                Ok(()) => {}
            }
            self.ctx.shared.commands.awake();
            if self.ctx.shared.stop.load(Ordering::SeqCst) {
                return;
            }
            self.tick_due |= self.ctx.update_clock();
            // Routes and child apps that were added before a client came are there when it is seen to.
            if self.ctx.shared.controls.load(Ordering::SeqCst) > 0 {
                self.carry_out_commands();
            }
            self.carry_out_inbox();
            for (index, event) in events.iter().enumerate() {
                if index.is_multiple_of(MOST) {
                    self.read_ahead(events.iter().skip(index).take(MOST));
                }
                self.dispatch(event);
                if self.ctx.events.is_full() {
                    // What JavaScript answers while this goes on leaves before the next is read over it in the caches.
                    self.hand_over();
                }
                if std::mem::take(&mut self.ctx.flush_soon) {
                    // Or the peers of a burst of handshakes would idle until our half of the last one is done.
                    self.flush();
                }
            }
            self.catch_up();
            self.tick_when_seen(events.iter().count());
            self.hand_over();
            self.reap();
            self.publish_events();
            self.check_accounts();
            self.ctx.shared.settled.set(self.batches);
            self.ctx.shared.turns.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How long the poll may wait; zero when there is work already.
    fn sleep_for(&mut self) -> Option<Duration> {
        let ready = !self.ctx.ready.is_empty() && !self.ctx.overloaded();
        let busy = ready || !self.ctx.dirty.is_empty() || !self.accepting.is_empty() || self.tick_due;
        let commands = !self.ctx.shared.commands.may_sleep() || self.resume_at.is_some();
        // Commands that wait for JavaScript to hear of drops are no reason to stay awake: it will wake us.
        let may_carry_out = commands && !self.ctx.too_many_dropped();
        if commands {
            self.ctx.shared.commands.sleep_on();
        }
        if busy || may_carry_out || !self.inbox.is_empty() {
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
                let EventLoop { slots, ctx, read_buffer, batch, .. } = self;
                let ahead = batch.take_ahead(slot);
                if let Some(connection) = connection_at(slots, slot) {
                    connection.on_event(ctx, read_buffer, readiness, ahead);
                }
            }
        }
    }

    /// What was left over from the last turn: sockets with more to read, listeners with more to accept.
    fn catch_up(&mut self) {
        let mut ready = std::mem::take(&mut self.ctx.ready);
        let mut driven = 0;
        while driven < ready.len() && !self.ctx.overloaded() {
            let EventLoop { slots, ctx, read_buffer, .. } = self;
            if let Some(connection) = connection_at(slots, ready[driven] as usize) {
                connection.drive(ctx, read_buffer);
            }
            if self.ctx.events.is_full() {
                self.publish_events();
            }
            driven += 1;
        }
        // Who has had no turn comes before those that want another.
        if driven < ready.len() {
            ready.drain(..driven);
            ready.append(&mut self.ctx.ready);
            self.ctx.ready = ready;
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
    }

    // ---- ends of a turn

    /// Deadlines come behind the bytes that were there when the tick began. `reported`: events of this turn's poll. All have
    /// been seen if it had room for more, or once as many were reported as there are sockets, since the kernel reports each
    /// that is ready once before it reports any again: more connections than fit into a poll that always have something
    /// to say must not keep the others' deadlines from being looked at.
    fn tick_when_seen(&mut self, reported: usize) {
        self.reported_since_due = if self.tick_due { self.reported_since_due + reported } else { 0 };
        let sockets = self.ctx.connections + self.listeners.len() + 1;
        if self.tick_due && (reported < EVENTS_PER_POLL || self.reported_since_due >= sockets) {
            self.tick_due = false;
            self.reported_since_due = 0;
            self.tick();
        }
    }

    fn tick(&mut self) {
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
    }

    /// Events to JavaScript, its commands to the sockets.
    fn hand_over(&mut self) {
        self.publish_events();
        self.carry_out_commands();
        self.flush();
    }

    /// Frees the slots of connections that are over. Only at the end of a turn: what the kernel has told of a connection that
    /// ends within one must not be taken for news of the next in its place.
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
            self.ctx.event(JsEvent::Quiet, ExchangeId::default(), b"");
        }
    }

    fn publish_events(&mut self) {
        let Context { shared, events, dropped, .. } = &mut self.ctx;
        let mut wake = false;
        if !dropped.is_empty() {
            // Before the events behind them, one of which may be the end of the connection. JavaScript sleeps in the
            // other mailbox.
            let _ = shared.dropped.put(dropped);
            wake = shared.events.needs_wake();
        }
        if !events.is_empty() {
            wake |= shared.events.put(events);
        }
        if wake {
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
