//! A run: the loop, the program and the peers of a script, in an order that its seed decides, and the checks
//! that hold at every moment and at the end.

use super::client::{Client, Next};
use super::javascript::{APP, BEHAVIOUR, CACHED, DECLARED, Javascript, SECURE_APP, SECURE_BEHAVIOUR};
use super::oracle::{Known, Oracle};
use super::rng::Rng;
use super::script::{Act, Reads, Route, Script, Secure, System};
use super::secure::SETTINGS;
use crate::caching::{self, freshness::Lifetimes};
use crate::channel::{
    DROPPED_QUEUE_BYTES, DROPPED_QUEUE_ITEMS, EVENT_QUEUE_BYTES, Instruction, WakeJs, wants,
};
use crate::event_loop::net::simulated::{self, Options, Weights, kernel};
use crate::event_loop::simulated::{Held, Seen, Simulated};
use crate::event_loop::{Behaviour, Control, PILE, Timeouts};
use crate::protocol::http::request::Limits;
use crate::routing::declarative::Program;
use crate::routing::router::Method;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The most calls that a turn of the loop makes, and so many more for each peer.
const CALLS_PER_TURN: usize = 20_000;
const CALLS_FOR_A_PEER: usize = 200;
/// Batches that the program can hand over during one turn and see executed in it: one for each time that the
/// turn executes commands.
const REFILLS_PER_TURN: usize = 100;
/// Turns that the loop may do while nobody else does anything.
const TURNS_ALONE: usize = 3_000;
/// The most rounds of a run, for each few hundred peers.
const ROUNDS: usize = 300_000;
/// The longest that a run takes in its own time.
const LONGEST: Duration = Duration::from_secs(3_000);
/// With more connections than this only some turns are checked.
const EACH_TURN: usize = 32;
/// Bytes that the loop sends by itself, beside the answers of the program.
const OWN_BYTES: usize = 20 << 10;

/// Bytes of a handshake, with its tickets.
const HANDSHAKE: usize = 4 << 10;

/// The figures of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub turns: usize,
    pub calls: usize,
    /// In the time of the run.
    pub time: Duration,
    pub delivered: usize,
}

struct Wake(Arc<AtomicBool>);

impl WakeJs for Wake {
    fn wake(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Everything but the loop.
struct World {
    script: Rc<Script>,
    rng: Rng,
    oracle: Oracle,
    javascript: Javascript,
    clients: Vec<Client>,
    /// Peers that have not connected, the next one last.
    to_come: Vec<usize>,
    freezes: Vec<(Duration, Duration)>,
    runnable: Vec<usize>,
    is_runnable: Vec<bool>,
    timers: BTreeSet<(Duration, usize)>,
    timer_of: Vec<Option<Duration>>,
    /// By socket.
    owners: Vec<usize>,
    news: Vec<u32>,
    /// Calls and refills when the turn began.
    turn_began: (usize, usize),
    concurrent: usize,
}

impl World {
    /// Peers with news become runnable, others connect.
    fn update(&mut self) {
        let World { oracle, news, .. } = self;
        oracle.now = kernel(|kernel| {
            kernel.take_news(news);
            kernel.elapsed()
        });
        let now = self.oracle.now;
        for socket in std::mem::take(&mut self.news) {
            self.make_runnable(self.owners[socket as usize]);
        }
        while let Some((at, client)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, client));
            self.timer_of[client] = None;
            self.make_runnable(client);
        }
        while let Some(peer) = self.to_come.last().copied().filter(|peer| self.comes_at(*peer) <= now) {
            self.to_come.pop();
            let listener = match self.script.peers[peer].secure {
                Secure::Plain => self.javascript.listener,
                Secure::Tls12 | Secure::Tls13 => self.javascript.secure_listener,
            };
            if let Some(socket) = self.clients[peer].connect(&mut self.oracle, listener) {
                assert_eq!(socket as usize, self.owners.len(), "sockets have numbers in order");
                self.owners.push(peer);
                self.make_runnable(peer);
            }
        }
        while let Some((_, time)) = self.freezes.pop_if(|(at, _)| *at <= now) {
            self.oracle.freeze(time);
        }
    }

    fn comes_at(&self, peer: usize) -> Duration {
        Duration::from_millis(self.script.peers[peer].at.into())
    }

    fn make_runnable(&mut self, client: usize) {
        if !std::mem::replace(&mut self.is_runnable[client], true) {
            self.runnable.push(client);
        }
    }

    /// The program or a peer does something. False: none of them has anything to do now.
    fn step(&mut self) -> bool {
        self.update();
        let now = self.oracle.now;
        let javascript = self.javascript.next_at(now).is_some_and(|at| at <= now);
        if javascript && (self.runnable.is_empty() || self.rng.chance(400)) {
            self.javascript.step(&mut self.oracle);
            return true;
        }
        if self.runnable.is_empty() {
            return false;
        }
        let client = self.runnable.swap_remove(self.rng.below(self.runnable.len()));
        self.is_runnable[client] = false;
        match self.clients[client].turn(&mut self.oracle) {
            Next::Now => self.make_runnable(client),
            Next::At(at) => {
                if let Some(before) = self.timer_of[client].replace(at) {
                    self.timers.remove(&(before, client));
                }
                self.timers.insert((at, client));
            }
            Next::News | Next::Over => {}
        }
        true
    }

    /// When somebody has something to do, if the loop does nothing.
    fn next_at(&self) -> Option<Duration> {
        let now = self.oracle.now;
        if !self.runnable.is_empty() {
            return Some(now);
        }
        let timer = self.timers.first().map(|(at, _)| *at);
        let comes = self.to_come.last().map(|peer| self.comes_at(*peer));
        let freezes = self.freezes.last().map(|(at, _)| *at);
        [self.javascript.next_at(now), timer, comes, freezes].into_iter().flatten().min()
    }

    /// Between two calls of the loop.
    fn between_calls(&mut self) {
        let calls = kernel(|kernel| kernel.calls());
        let most = CALLS_PER_TURN + CALLS_FOR_A_PEER * self.clients.len();
        assert!(calls - self.turn_began.0 < most, "a turn that does not end");
        if self.javascript.refills() {
            self.javascript.step(&mut self.oracle);
            let refilled = self.javascript.refilled - self.turn_began.1;
            assert!(refilled < REFILLS_PER_TURN, "a turn that goes on for as long as there are commands");
        } else if self.rng.chance(self.concurrent) {
            self.step();
        }
    }
}

/// Runs a script to its end.
///
/// # Panics
///
/// Panics where something is not as it must be.
pub fn run(script: &Script) -> Report {
    let System { batches, interrupted, short, look_us, concurrent } = script.system;
    let mut rng = Rng::new(script.schedule);
    let look = Duration::from_micros(look_us);
    let _kernel = simulated::start(Options { batches, interrupted, short, look, seed: rng.fork().draw() });
    let end_of_loop = script.end_of_loop.map(|ms| Duration::from_millis(ms.into()));
    let script = Rc::new(script.clone());
    let woken = Arc::new(AtomicBool::new(false));
    let event_loop = Simulated::new(0, Limits::default(), Arc::new(Wake(woken.clone()))).expect("a loop");
    let loop_woken = Rc::new(Cell::new(false));
    let shared = event_loop.shared().clone();
    let mut javascript = Javascript::new(script.clone(), rng.fork(), shared, loop_woken.clone());
    javascript.woken = woken;
    start(&mut javascript, &script);
    let count = script.peers.len();
    let mut to_come: Vec<_> = (0..count).collect();
    to_come.sort_by_key(|peer| (std::cmp::Reverse(script.peers[*peer].at), std::cmp::Reverse(*peer)));
    let freeze = |(at, act): &(u32, Act)| match act {
        Act::Freeze { ms } => {
            Some((Duration::from_millis((*at).into()), Duration::from_millis((*ms).into())))
        }
        _ => None,
    };
    let mut freezes: Vec<_> = script.acts.iter().filter_map(freeze).collect();
    freezes.sort_by_key(|freeze| std::cmp::Reverse(*freeze));
    let mut oracle = Oracle::default();
    oracle.peers.resize_with(count, Known::default);
    let world = Rc::new(RefCell::new(World {
        clients: (0..count).map(|number| Client::new(number, script.clone(), rng.fork())).collect(),
        rng: rng.fork(),
        oracle,
        javascript,
        to_come,
        freezes,
        runnable: Vec::new(),
        is_runnable: vec![false; count],
        timers: BTreeSet::new(),
        timer_of: vec![None; count],
        owners: Vec::new(),
        news: Vec::new(),
        turn_began: (0, 0),
        concurrent,
        script,
    }));
    let others = world.clone();
    simulated::between_calls(Some(Box::new(move || others.borrow_mut().between_calls())));
    let mut run = Run {
        world,
        event_loop,
        end_of_loop,
        loop_woken,
        sleeps: Some(Duration::ZERO),
        rng,
        handed_over: [0; RECENT],
        was_urgent: false,
        report: Report::default(),
    };
    run.until_rest(true);
    let (world, report) = (run.world.clone(), run.report);
    if run.end_of_loop.is_some() {
        run.end_loop();
    } else {
        run.check_promises();
        run.close_all();
        run.until_rest(false);
        run.check_nothing_left();
    }
    let world = world.borrow();
    Report {
        calls: kernel(|kernel| kernel.calls()),
        time: world.oracle.now,
        delivered: world.oracle.delivered,
        ..report
    }
}

/// The program before the first peer: routes, and the listener.
fn start(javascript: &mut Javascript, script: &Script) {
    let program = Program::parse(&declared(), b"/declared/:peer/:step").expect("a program");
    javascript.control(Control::Declared { handler: DECLARED, program });
    let apps: &[_] = match script.peers.iter().any(|peer| peer.secure != Secure::Plain) {
        true => &[(APP, BEHAVIOUR), (SECURE_APP, SECURE_BEHAVIOUR)],
        false => &[(APP, BEHAVIOUR)],
    };
    let (idle, response) = script.timeouts;
    for (app, behaviour) in apps.iter().copied() {
        javascript.control(Control::AddApp { app });
        if app == SECURE_APP {
            javascript.control(Control::Secure { app, settings: Some(SETTINGS.clone()) });
        }
        javascript.control(Control::Timeouts { app, timeouts: Timeouts { idle, response } });
        javascript.control(Control::Filter { app });
        javascript.control(Control::Behaviour(behaviour_of(behaviour, &script.route)));
        javascript.route(app, Method::WebSocket, "/ws/:peer/:step", behaviour);
        javascript.route(app, Method::Any, "/declared/:peer/:step", DECLARED);
        let handler = CACHED + app;
        javascript.control(Control::Cached { handler, app, options: Box::new(cached()) });
        javascript.route(app, Method::Get, "/cached/:key", handler);
        javascript.route_requests(app);
        javascript.listen(app);
    }
    javascript.flush();
}

fn behaviour_of(id: u32, route: &Route) -> Behaviour {
    Behaviour {
        id,
        max_payload: route.max_payload,
        idle_timeout: route.idle_timeout,
        max_lifetime: 0,
        max_backpressure: route.max_backpressure,
        close_on_backpressure_limit: route.close_on_limit,
        send_pings: route.send_pings,
        reset_idle_timeout_on_send: false,
        compression: route.compression,
        auto_upgrade: route.auto,
        wants: wants::MESSAGE | wants::DRAIN | wants::DROPPED,
    }
}

/// Replies that are stale soon, and few of them.
fn cached() -> caching::Options {
    caching::Options {
        lifetimes: Lifetimes { lower: 0, upper: 2 },
        timeout: 3,
        head: true,
        max_entries: 3,
        max_bytes: 1 << 20,
        ..caching::Options::default()
    }
}

/// The program of the declared route; see `declared_answer`.
fn declared() -> Vec<u8> {
    let text = b"declared ";
    let mut program = vec![Instruction::Text as u8];
    program.extend_from_slice(&(text.len() as u16).to_le_bytes());
    program.extend_from_slice(text);
    program.extend_from_slice(&[Instruction::Body as u8, Instruction::End as u8, 0, 0]);
    program
}

struct Run {
    world: Rc<RefCell<World>>,
    event_loop: Simulated,
    end_of_loop: Option<Duration>,
    loop_woken: Rc<Cell<bool>>,
    /// Until when the loop sleeps, if it is not woken; `None`: for ever.
    sleeps: Option<Duration>,
    rng: Rng,
    report: Report,
    /// Bytes of commands that had been handed over after each of the last turns.
    handed_over: [usize; RECENT],
    /// More dropped messages wait than usual, since the program waits for the loop.
    was_urgent: bool,
}

/// Turns after which all commands of a batch are executed.
const RECENT: usize = 16;

impl Run {
    fn now(&self) -> Duration {
        kernel(|kernel| kernel.elapsed())
    }

    fn loop_runs(&self) -> bool {
        let is_awake = self.loop_woken.get()
            || self.sleeps.is_some_and(|until| until <= self.now())
            || self.event_loop.is_ready();
        is_awake && self.world.borrow().oracle.frozen_until().is_none()
    }

    fn turn(&mut self) {
        self.loop_woken.set(false);
        {
            let mut world = self.world.borrow_mut();
            world.turn_began = (kernel(|kernel| kernel.calls()), world.javascript.refilled);
        }
        let before = simulated::weights().now;
        let moved = kernel(|kernel| kernel.moved());
        let waits = self.world.borrow_mut().javascript.has_waited();
        self.event_loop.turn();
        self.report.turns += 1;
        self.check_pile(before, kernel(|kernel| kernel.moved()) - moved);
        self.sleeps = self.event_loop.sleep_for().map(|time| self.now() + time);
        let waits = waits || self.world.borrow_mut().javascript.has_waited();
        self.check(waits);
    }

    /// Until nothing happens any more, but for ticks of the loop if `with_ticks`.
    fn until_rest(&mut self, with_ticks: bool) {
        let (mut alone, mut rounds) = (0, 0);
        let peers = self.world.borrow().clients.len();
        loop {
            rounds += 1;
            assert!(rounds < ROUNDS * peers.div_ceil(300), "a run without end; at {:?}", self.now());
            if self.end_of_loop.is_some_and(|at| at <= self.now()) {
                return;
            }
            let some = self.rng.below(6);
            let mut others = false;
            for _ in 0..some {
                others |= self.world.borrow_mut().step();
            }
            if others {
                alone = 0;
            }
            if self.loop_runs() {
                alone += 1;
                assert!(alone < TURNS_ALONE, "the loop turns and turns, and nothing happens");
                self.turn();
                continue;
            }
            let mut world = self.world.borrow_mut();
            world.update();
            let (next, now) = (world.next_at(), world.oracle.now);
            drop(world);
            if self.loop_runs() {
                continue;
            }
            let world = self.world.borrow_mut();
            if next.is_some_and(|next| next <= now) {
                continue;
            }
            let rests = world.oracle.frozen_until().is_none() && !kernel(|kernel| kernel.has_waiting());
            if next.is_none() && with_ticks && rests {
                return;
            }
            let frozen = world.oracle.frozen_until();
            let wakes = match frozen {
                Some(until) => Some(until),
                None => self.sleeps,
            };
            let Some(at) = [next, wakes, self.end_of_loop].into_iter().flatten().min() else { return };
            assert!(
                at < LONGEST,
                "a run that does not come to rest; the loop sleeps until {:?}",
                self.sleeps
            );
            drop(world);
            kernel(|kernel| kernel.pass(at.saturating_sub(now)));
            alone = 0;
        }
    }

    // ---- the end of the loop

    /// The environment ends in the midst of all: what the loop held is gone, and every peer sees an end.
    fn end_loop(self) {
        let Run { world, event_loop, .. } = self;
        let (shared, budget) = (Arc::downgrade(event_loop.shared()), event_loop.shared().budget.clone());
        for known in &mut world.borrow_mut().oracle.peers {
            known.may_end("the loop has ended");
        }
        drop(event_loop);
        world.borrow_mut().javascript.end();
        assert!(shared.upgrade().is_none(), "somebody holds what the two threads shared");
        assert_eq!(budget.used(), 0, "bytes of the budget that nobody holds");
        assert_eq!(simulated::weights().now, 0, "bytes that wait for nobody");
        assert_eq!(kernel(|kernel| kernel.held_by_loops()), 0, "sockets that nobody holds");
        loop {
            let mut world = world.borrow_mut();
            if world.step() {
                continue;
            }
            let Some(at) = world.next_at() else { break };
            let now = world.oracle.now;
            kernel(|kernel| kernel.pass(at.saturating_sub(now)));
        }
        let world = world.borrow();
        for (peer, client) in world.script.peers.iter().zip(&world.clients) {
            assert!(client.is_over || peer.reads == Reads::Never, "a peer that sees no end");
            client.check_uncut(&world.oracle);
        }
    }

    // ---- checks

    /// Copies of publishes do not pile up in the middle of a turn. `before`: bytes that waited when it began;
    /// `moved`: bytes that loop and clients have received in it.
    fn check_pile(&mut self, before: usize, moved: usize) {
        let Weights { now: after, most, discarded } = simulated::weights();
        let handed_over = self.world.borrow().javascript.bytes_handed_over;
        self.handed_over.rotate_right(1);
        self.handed_over[0] = handed_over;
        let commands = handed_over - self.handed_over[RECENT - 1];
        // A copy for each subscriber may be behind the pile, and answers to what was read.
        // Those that the kernel refused are still there.
        let bound = before.max(after) + discarded + PILE + commands + 2 * moved + (128 << 10);
        assert!(most <= bound, "copies of {most} bytes in a turn, of {commands} bytes of commands");
    }

    /// At the end of each turn: memory within its bounds. `waits`: the program waited for the loop.
    fn check(&mut self, waits: bool) {
        let shared = self.event_loop.shared().clone();
        let peers = self.world.borrow().clients.len();
        if peers > EACH_TURN && !self.report.turns.is_multiple_of(peers / 2) {
            return;
        }
        let held = self.event_loop.held();
        assert!(
            shared.events.bytes() + held.events <= EVENT_QUEUE_BYTES + (2 << 20),
            "events for the program: {} bytes",
            shared.events.bytes()
        );
        let dropped = (shared.dropped.bytes() + held.dropped, shared.dropped.items());
        let fits =
            dropped.0 <= DROPPED_QUEUE_BYTES + (256 << 10) && dropped.1 <= DROPPED_QUEUE_ITEMS + held.slots;
        // While the program waits for the loop, nothing but the commands that are there bounds them.
        self.was_urgent = !fits && (self.was_urgent || waits);
        assert!(fits || self.was_urgent, "dropped messages that wait for the program: {dropped:?}");
        let world = self.world.borrow();
        for Seen { id, unsent, unread: (bytes, memory), is_open, .. } in self.event_loop.each() {
            let Some(peer) = shared.slots.get(id.slot).peer(id.generation) else { continue };
            let peer = usize::from(peer.port());
            let sent = world.oracle.peers[peer].sent;
            assert!(
                !is_open || unsent <= sent + sent / 8 + OWN_BYTES + HANDSHAKE,
                "peer {peer}: {unsent} bytes wait to be sent, of {sent} that the program sent"
            );
            assert!(
                memory <= 4 * bytes + 256,
                "peer {peer}: {bytes} unread bytes in {memory} bytes of memory"
            );
        }
    }

    /// Nothing happens any more: all that was promised has come.
    fn check_promises(&mut self) {
        let mut world = self.world.borrow_mut();
        let World { clients, oracle, javascript, script, .. } = &mut *world;
        for client in clients.iter_mut().filter(|client| !client.is_over) {
            client.check_promised(oracle);
        }
        javascript.check(false);
        let shared = self.event_loop.shared().clone();
        for Seen { id, unsent, is_open, .. } in self.event_loop.each().filter(|seen| !seen.has_tickets) {
            let Some(peer) = shared.slots.get(id.slot).peer(id.generation) else { continue };
            if script.peers[usize::from(peer.port())].reads != Reads::Never && is_open {
                assert_eq!(unsent, 0, "peer {}: bytes that wait although it reads", peer.port());
                javascript.check_settled(id);
            }
        }
    }

    fn close_all(&mut self) {
        let mut world = self.world.borrow_mut();
        let World { clients, oracle, javascript, .. } = &mut *world;
        for known in &mut oracle.peers {
            known.may_end("the run ends");
        }
        clients.iter_mut().for_each(Client::close);
        javascript.give_up(oracle);
    }

    fn check_nothing_left(&mut self) {
        self.world.borrow_mut().javascript.check(true);
        let world = self.world.borrow();
        let left = world.javascript.left();
        assert!(left.is_empty(), "left in the program: {left:?}");
        let Javascript { listener, secure_listener, .. } = &world.javascript;
        let listeners = [listener, secure_listener].into_iter().flatten().count();
        let held = self.event_loop.held();
        assert_eq!(held, Held { listeners, ..Held::default() }, "left in the loop");
        let unsent = self.event_loop.shared().counters.unsent.load(Ordering::SeqCst);
        assert_eq!(unsent, 0, "bytes that wait for nobody");
        world.clients.iter().for_each(|client| client.check_uncut(&world.oracle));
        for (peer, known) in world.oracle.peers.iter().enumerate() {
            assert_eq!(known.opened, known.closed, "peer {peer}: `open` and `close`");
            assert_eq!(known.accepted, known.released, "peer {peer}: calls of `filter`");
        }
    }
}
