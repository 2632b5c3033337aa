//! Brings connections to their states, lets the cause come to all of them, and looks at what comes of it.

use super::{Case, Cause, Held, Parked, State, Told};
use crate::channel::{Account, CommandBatch, EventKind, ExchangeId, Op, command_cost, respond_flag};
use crate::event_loop::net::listener;
use crate::event_loop::tests::harness::*;
use crate::event_loop::{Behaviour, Control, Timeouts};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};
use tungstenite::protocol::frame::coding::{Control as ControlCode, Data, OpCode};

const HELLO: &[u8] = b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &[u8] = b"POST /post HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
const BAD_CHUNK: &[u8] = b"zz\r\n";
/// A reserved opcode.
const BAD_FRAME: &[u8] = &[0x83, 0x80, 0, 0, 0, 0];
const CLOSE: OpCode = OpCode::Control(ControlCode::Close);
/// More than the kernel takes for a peer that does not read.
const LARGE: usize = 512 << 10;
const SEND_BUFFER: usize = 16 << 10;
/// Seconds, in the test of timeouts.
const SHORT: u32 = 3;
/// Less than the seconds for which a peer may take its time to close (`END_TIMEOUT`).
const SOON: Duration = Duration::from_secs(3);
/// Connections that come while JavaScript has not released any.
const PROBES: usize = 10;

fn half_frame() -> (Vec<u8>, Vec<u8>) {
    let mut first = masked(OpCode::Data(Data::Binary), true, &[7; 1000]);
    let second = first.split_off(500);
    (first, second)
}

/// The end that a client saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Saw {
    Fin,
    Reset,
    /// It reset the connection itself.
    Itself,
    /// None in time.
    Nothing,
}

struct Peer {
    case: Case,
    client: Option<Client>,
    id: ExchangeId,
    received: Vec<u8>,
    saw: Option<Saw>,
    /// JavaScript's count of what it sent.
    sent: usize,
}

/// The news that JavaScript was told of one connection.
#[derive(Clone, Debug, Default)]
struct Heard {
    kinds: Vec<u32>,
    opened: usize,
    closed: usize,
}

impl Heard {
    fn count(&self, kind: EventKind) -> usize {
        self.kinds.iter().filter(|each| **each == kind as u32).count()
    }

    /// Whether something was said behind the end.
    fn is_told_more(&self) -> bool {
        let gone = self.kinds.iter().position(|kind| *kind == EventKind::Gone as u32);
        gone.is_some_and(|at| at + 1 < self.kinds.len())
    }
}

pub struct Matrix {
    harness: Harness,
    cause: Cause,
    peers: Vec<Peer>,
    heard: HashMap<(u32, u32), Heard>,
    newest: Option<ExchangeId>,
    apps_closed: usize,
    panics: usize,
    listeners: u32,
}

impl Matrix {
    pub fn start(cause: Cause) -> Self {
        let seconds = if cause == Cause::Timeout { SHORT } else { 0 };
        let harness = Harness::with_behaviour(Behaviour { idle_timeout: seconds, ..behaviour() });
        let timeouts = Timeouts { idle: seconds, response: seconds };
        harness.event_loop.control(Control::Timeouts { app: APP, timeouts });
        harness.event_loop.control(Control::Filter { app: APP });
        let mut matrix = Matrix {
            cause,
            peers: Vec::new(),
            heard: HashMap::new(),
            newest: None,
            apps_closed: 0,
            panics: 0,
            listeners: 1,
            harness,
        };
        matrix.listen();
        matrix
    }

    /// Of sockets with so little room that the kernel soon refuses bytes.
    fn listen(&mut self) {
        let bound = listener::bind_tcp(Some("127.0.0.1"), 0, true).expect("bind");
        bound.socket().set_send_buffer_size(SEND_BUFFER).expect("send buffer");
        self.harness.port = bound.port.expect("port");
        self.harness.event_loop.control(Control::Listen { app: APP, listener: self.listeners, bound });
        self.listeners += 1;
    }

    pub fn run(mut self, cases: &[Case]) -> Vec<String> {
        for case in cases {
            self.set_up(*case);
        }
        self.let_the_cause_come();
        self.settle();
        self.for_each(Held::LetGoAfter, Matrix::let_go);
        self.settle();
        let mut failures = match self.cause {
            Cause::Stop | Cause::Panic => self.after_the_loop(),
            _ => self.after_the_cause(),
        };
        failures.extend(self.what_was_heard());
        failures.extend(self.what_was_received());
        failures
    }

    // ---- JavaScript's side

    /// Takes events until none comes for `time`.
    fn pump(&mut self, time: Duration) {
        while let Some(event) = self.harness.event_within(time) {
            let heard = || (event.id.slot, event.id.generation);
            match event.kind {
                _ if event.is(EventKind::Panic) => {
                    assert_eq!(self.cause, Cause::Panic, "{}", String::from_utf8_lossy(&event.payload));
                    self.panics += 1;
                }
                _ if event.is(EventKind::AppClosed) || event.is(EventKind::ShutDown) => self.apps_closed += 1,
                _ if event.is(EventKind::Quiet) || event.is(EventKind::Busy) => {}
                _ if event.is(EventKind::Filter) && event.args[1] == 1 => {
                    self.heard.entry(heard()).or_default().opened += 1;
                    self.newest = Some(event.id);
                }
                _ if event.is(EventKind::Filter) => self.heard.entry(heard()).or_default().closed += 1,
                kind => self.heard.entry(heard()).or_default().kinds.push(kind),
            }
        }
    }

    /// Takes events until `condition` holds.
    fn pump_until(&mut self, what: &str, mut condition: impl FnMut(&Matrix) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !condition(self) {
            assert!(Instant::now() < end, "waited in vain: {what}");
            self.pump(Duration::from_millis(1));
        }
    }

    fn heard(&self, id: ExchangeId) -> Heard {
        self.heard.get(&(id.slot, id.generation)).cloned().unwrap_or_default()
    }

    fn wait_for(&mut self, at: usize, kind: EventKind, count: usize) {
        let (id, name) = (self.peers[at].id, self.peers[at].case.name());
        self.pump_until(&format!("{kind:?} of {name}"), |matrix| matrix.heard(id).count(kind) >= count);
    }

    fn wait_for_backlog(&mut self, at: usize) {
        let (id, name) = (self.peers[at].id, self.peers[at].case.name());
        self.pump_until(&name, |matrix| matrix.harness.backlog(id) > 0);
    }

    /// Until the loop has seen everything that was done so far.
    fn settle(&mut self) {
        if self.harness.event_loop.is_running() {
            // The tests' loop takes few events of the kernel in a turn.
            for _ in 0..2 + self.peers.len() / 16 {
                self.harness.settle();
            }
        }
        self.pump(Duration::from_millis(20));
    }

    fn command(&mut self, at: usize, op: Op, flags: u32, body: &[u8]) {
        let peer = &mut self.peers[at];
        let payload = match op {
            Op::Respond | Op::Write | Op::Finish => response_parts([b"", b"", body]),
            _ => body.to_vec(),
        };
        if matches!(op, Op::Respond | Op::Write | Op::Finish | Op::Send) {
            peer.sent += command_cost(body.len());
        }
        let mut batch = CommandBatch::default();
        push(&mut batch, op, flags, peer.id, 0, &payload);
        self.harness.send(&mut batch);
    }

    /// As of a program that is done with its object.
    fn let_go(&mut self, at: usize) {
        let case = self.peers[at].case;
        if case.is_websocket() {
            return self.command(at, Op::End, 0, b"bye");
        }
        let op = if case.state == State::Streaming { Op::Finish } else { Op::Respond };
        self.command(at, op, 0, b"done");
        for _ in 0..case.ahead() {
            self.command(at, Op::Respond, 0, b"done");
        }
    }

    fn for_each(&mut self, held: Held, run: fn(&mut Matrix, usize)) {
        for at in 0..self.peers.len() {
            if self.peers[at].case.held == held {
                run(self, at);
            }
        }
    }

    // ---- bringing a connection to its state

    fn set_up(&mut self, case: Case) {
        let port = self.harness.port;
        let client = if case.has_backlog() { Client::connect_slow(port) } else { Client::connect(port) };
        self.newest = None;
        self.pump_until("a connection", |matrix| matrix.newest.is_some());
        let id = self.newest.unwrap_or_default();
        self.peers.push(Peer { case, client: Some(client), id, received: Vec::new(), saw: None, sent: 0 });
        let at = self.peers.len() - 1;
        if case.is_websocket() { self.set_up_websocket(at) } else { self.set_up_http(at) }
    }

    fn client(&mut self, at: usize) -> &mut Client {
        self.peers[at].client.as_mut().expect("a client that has not reset its connection")
    }

    /// A request, and those behind it.
    fn ask(&mut self, at: usize) {
        let requests = HELLO.repeat(1 + self.peers[at].case.ahead());
        self.client(at).send(&requests);
        self.wait_for(at, EventKind::Request, 1 + self.peers[at].case.ahead());
    }

    fn set_up_http(&mut self, at: usize) {
        let case = self.peers[at].case;
        match case.state {
            State::Idle => {
                self.ask(at);
                self.command(at, Op::Respond, 0, b"before");
                self.client(at).response();
            }
            State::InHand => self.ask(at),
            State::Body | State::Paused => self.begin_body(at),
            State::Streaming => {
                self.ask(at);
                let op = if case.held == Held::Nothing { Op::Respond } else { Op::Write };
                self.command(at, op, 0, &[b'x'; LARGE]);
                self.wait_for_backlog(at);
            }
            State::Flushing | State::Lingering => self.begin_http_end(at),
            State::Closed => {
                self.ask(at);
                self.reset(at);
                self.wait_for(at, EventKind::Gone, 1);
            }
            State::Open | State::OpenBacklog | State::AwaitingJs => unreachable!("of WebSockets"),
        }
        if case.parked == Parked::PartialRequest {
            self.client(at).send(b"GET /hel");
            self.harness.settle();
        }
    }

    fn begin_body(&mut self, at: usize) {
        let case = self.peers[at].case;
        self.client(at).send(POST);
        self.wait_for(at, EventKind::Request, 1);
        if case.state != State::Paused {
            self.command(at, Op::Resume, 0, b"");
        }
        self.wait_for(at, EventKind::Data, 1);
        if case.held == Held::Nothing {
            self.command(at, Op::Respond, 0, b"early");
        }
    }

    /// `Flushing` or `Lingering`: by JavaScript's end, or by the loop's, of which JavaScript is told.
    fn begin_http_end(&mut self, at: usize) {
        let case = self.peers[at].case;
        let is_flushing = case.state == State::Flushing;
        let body = if is_flushing { vec![b'x'; LARGE] } else { b"last".to_vec() };
        if case.held == Held::Told && case.ahead() == 0 {
            self.client(at).send(POST);
            self.wait_for(at, EventKind::Data, 1);
            self.command(at, Op::Resume, 0, b"");
            if is_flushing {
                self.command(at, Op::Write, 0, &body);
                self.wait_for_backlog(at);
            }
            self.client(at).send(BAD_CHUNK);
        } else {
            self.ask(at);
            self.command(at, Op::Respond, respond_flag::CLOSE, &body);
        }
        self.has_begun_to_end(at);
    }

    fn has_begun_to_end(&mut self, at: usize) {
        let case = self.peers[at].case;
        if case.held == Held::Told {
            self.wait_for(at, EventKind::Gone, 1);
        }
        match case.state {
            State::Flushing => self.wait_for_backlog(at),
            _ => {
                let client = self.client(at).second();
                let (received, saw) = read_to_end(client.stream);
                self.peers[at].received.extend(received);
                self.peers[at].saw = Some(saw);
            }
        }
    }

    fn set_up_websocket(&mut self, at: usize) {
        let case = self.peers[at].case;
        self.client(at).upgrade();
        self.wait_for(at, EventKind::Open, 1);
        if case.has_backlog() {
            self.command(at, Op::Send, 0, &[b'x'; LARGE]);
            self.wait_for_backlog(at);
        }
        if case.parked == Parked::UnansweredPing {
            self.client(at).send(&masked(OpCode::Control(ControlCode::Ping), true, b"?"));
            self.wait_for(at, EventKind::Ping, 1);
        }
        if case.parked == Parked::HalfFrame && case.state != State::AwaitingJs {
            self.client(at).send(&half_frame().0);
            self.harness.settle();
        }
        match case.state {
            State::Open | State::OpenBacklog => {}
            State::AwaitingJs => self.end_by_peer(at),
            State::Flushing | State::Lingering => {
                if case.held == Held::Told {
                    self.end_by_peer(at);
                }
                self.let_go(at);
                self.has_begun_to_end(at);
            }
            State::Idle | State::InHand | State::Body | State::Paused | State::Streaming | State::Closed => {
                unreachable!("of HTTP")
            }
        }
    }

    /// The peer ends a WebSocket: with a close frame, unless nothing is parked.
    fn end_by_peer(&mut self, at: usize) {
        let mut bytes = masked(CLOSE, true, &1001u16.to_be_bytes());
        match self.peers[at].case.parked {
            Parked::Nothing => {
                self.client(at).end();
                bytes.clear();
            }
            Parked::HalfFrame => bytes.extend(half_frame().0),
            _ => {}
        }
        self.client(at).send(&bytes);
        self.wait_for(at, EventKind::Gone, 1);
    }

    fn reset(&mut self, at: usize) {
        self.peers[at].saw = Some(Saw::Itself);
        if let Some(client) = self.peers[at].client.take() {
            client.reset();
        }
    }

    // ---- the cause

    fn let_the_cause_come(&mut self) {
        match self.cause {
            Cause::PeerEnd | Cause::Reset | Cause::Violation | Cause::End | Cause::Close => {
                for at in 0..self.peers.len() {
                    if self.peers[at].case.held == Held::LetGoBefore {
                        self.let_go(at);
                    }
                    self.end_one(at);
                }
            }
            Cause::Timeout => {
                self.for_each(Held::LetGoBefore, Matrix::let_go);
                self.wait_until_all_are_closed();
            }
            Cause::CloseApp => {
                self.for_each(Held::LetGoBefore, Matrix::let_go);
                self.harness.command(Op::CloseApp, 0, ExchangeId::default(), APP, b"");
                self.pump_until("the app is closed", |matrix| matrix.apps_closed > 0);
            }
            Cause::ShutDown | Cause::ShutDownNow => {
                self.for_each(Held::LetGoBefore, Matrix::let_go);
                let seconds = u32::from(self.cause == Cause::ShutDown);
                self.harness.event_loop.control(Control::ShutDown { app: APP, seconds });
                self.pump_until("the app has shut down", |matrix| matrix.apps_closed > 0);
            }
            Cause::Stop => {
                self.for_each(Held::LetGoBefore, Matrix::let_go);
                self.harness.event_loop.stop();
            }
            Cause::Panic => {
                self.for_each(Held::LetGoBefore, Matrix::let_go);
                self.harness.event_loop.control(Control::Panic("on purpose".into()));
                wait_until("the thread ends", || !self.harness.event_loop.is_running());
            }
        }
    }

    fn end_one(&mut self, at: usize) {
        let case = self.peers[at].case;
        match case.cause {
            Cause::PeerEnd => {
                let _ = self.client(at).stream.shutdown(Shutdown::Write);
            }
            Cause::Reset => self.reset(at),
            Cause::Violation => {
                let _ = self.client(at).stream.write_all(&violation(case));
            }
            Cause::End if case.is_websocket() => self.command(at, Op::End, 0, b"bye"),
            Cause::End => {
                let op = if case.state == State::Streaming { Op::Finish } else { Op::Respond };
                self.command(at, op, respond_flag::CLOSE, b"the last");
            }
            Cause::Close => self.command(at, Op::Close, 0, b""),
            Cause::Timeout
            | Cause::CloseApp
            | Cause::ShutDown
            | Cause::ShutDownNow
            | Cause::Stop
            | Cause::Panic => unreachable!("of all at once"),
        }
    }

    fn wait_until_all_are_closed(&mut self) {
        let all: Vec<_> = self.peers.iter().map(|peer| (peer.id, peer.case.name())).collect();
        for (id, name) in all {
            self.pump_until(&format!("the end of {name}"), |matrix| matrix.heard(id).closed > 0);
        }
    }

    // ---- what comes of it

    /// JavaScript and the peers go on, until nothing is left of the connections.
    fn after_the_cause(&mut self) -> Vec<String> {
        self.for_each(Held::Object, Matrix::answer);
        self.settle();
        let mut failures = self.unacknowledged();
        if matches!(self.cause, Cause::CloseApp | Cause::ShutDown | Cause::ShutDownNow) {
            self.listen();
        }
        let probes = self.probe(&mut failures);
        self.release();
        self.read_all();
        let began = Instant::now();
        self.wait_until_all_are_closed();
        if began.elapsed() > SOON {
            failures.push(format!("some were closed by a deadline alone, after {:?}", began.elapsed()));
        }
        self.settle();
        failures.extend(self.slots_that_are_not_free(probes));
        let unsent = self.harness.shared().counters.unsent.load(std::sync::atomic::Ordering::SeqCst);
        if unsent != 0 {
            failures.push(format!("{unsent} bytes are counted of connections that are no more"));
        }
        failures
    }

    /// A program that has not heard of an end does what it would have done anyway.
    fn answer(&mut self, at: usize) {
        let case = self.peers[at].case;
        let is_peers = matches!(case.cause, Cause::PeerEnd | Cause::Violation);
        match case.state {
            State::InHand | State::Streaming if is_peers => self.let_go(at),
            State::Paused if is_peers => self.command(at, Op::Resume, 0, b""),
            _ => {}
        }
    }

    /// Connections of which JavaScript has counted more, or less, than the loop says it has seen.
    fn unacknowledged(&self) -> Vec<String> {
        let account = |peer: &Peer| {
            let slot = self.harness.shared().slots.get(peer.id.slot);
            slot.account(peer.id.generation).map(|account| account.acked)
        };
        let wrong = self.peers.iter().filter(|peer| account(peer) != Some(peer.sent));
        wrong
            .map(|peer| format!("{}: sent {}, acknowledged {:?}", peer.case.name(), peer.sent, account(peer)))
            .collect()
    }

    /// New connections share nothing with those JavaScript has not released. Returns how many there were.
    fn probe(&mut self, failures: &mut Vec<String>) -> usize {
        for _ in 0..PROBES {
            let (_client, id) = self.connect();
            let held = self.peers.iter().filter(|peer| self.heard(peer.id).count(EventKind::Gone) > 0);
            for peer in held.filter(|peer| peer.id.slot == id.slot) {
                failures.push(format!("{}: its slot is another's before it is released", peer.case.name()));
            }
        }
        PROBES
    }

    fn connect(&mut self) -> (Client, ExchangeId) {
        self.newest = None;
        let client = self.harness.connect();
        self.pump_until("a connection", |matrix| matrix.newest.is_some());
        (client, self.newest.unwrap_or_default())
    }

    fn release(&mut self) {
        for at in 0..self.peers.len() {
            if self.heard(self.peers[at].id).count(EventKind::Gone) > 0 {
                self.command(at, Op::Release, 0, b"");
            }
        }
    }

    /// All clients at once, since each may have to wait for the other side.
    fn read_all(&mut self) {
        std::thread::scope(|scope| {
            for peer in self.peers.iter_mut() {
                let Some(client) = peer.client.take() else { continue };
                if peer.saw.is_some() {
                    continue;
                }
                scope.spawn(|| {
                    let (received, saw) = read_to_end(client.stream);
                    peer.received.extend(received);
                    peer.saw = Some(saw);
                });
            }
        });
    }

    /// Each slot has another connection, whose account begins at nothing.
    fn slots_that_are_not_free(&mut self, probes: usize) -> Vec<String> {
        let new: Vec<_> = (0..self.peers.len() + probes).map(|_| self.connect()).collect();
        let mut failures = Vec::new();
        for peer in &self.peers {
            let next = new.iter().find(|(_, id)| id.slot == peer.id.slot);
            match next {
                None => failures.push(format!("{}: its slot is never free", peer.case.name())),
                Some((_, id)) => {
                    let account = self.harness.account(*id);
                    if account != Account::default() || id.generation == peer.id.generation {
                        failures.push(format!("{}: the next user inherits {account:?}", peer.case.name()));
                    }
                }
            }
        }
        failures
    }

    /// The loop is no more; commands for it go nowhere.
    fn after_the_loop(&mut self) -> Vec<String> {
        self.for_each(Held::Object, Matrix::let_go);
        self.release();
        self.pump(MOMENT);
        assert!(self.harness.shared().commands.is_empty(), "commands that nobody takes");
        assert_eq!(self.panics, usize::from(self.cause == Cause::Panic), "panics told of");
        self.read_all();
        Vec::new()
    }

    fn what_was_heard(&self) -> Vec<String> {
        let mut failures = Vec::new();
        for peer in &self.peers {
            let (case, heard) = (peer.case, self.heard(peer.id));
            let gone = heard.count(EventKind::Gone);
            let as_expected = match case.told() {
                Told::Never => gone == 0,
                Told::Once => gone == 1,
                Told::AtMostOnce => gone <= 1,
            };
            if !as_expected {
                failures.push(format!("{}: told {gone} times, not {:?}", case.name(), case.told()));
            }
            if heard.is_told_more() {
                failures.push(format!("{}: told of something behind the end", case.name()));
            }
            let was_closed = !matches!(case.cause, Cause::Stop | Cause::Panic) || case.state == State::Closed;
            if (heard.opened, heard.closed) != (1, usize::from(was_closed)) {
                failures.push(format!("{}: opened {}, closed {}", case.name(), heard.opened, heard.closed));
            }
        }
        failures
    }

    fn what_was_received(&self) -> Vec<String> {
        let mut failures = Vec::new();
        for peer in &self.peers {
            let case = peer.case;
            let received = match case.is_websocket() {
                true => frames(&peer.received),
                false => responses(&peer.received),
            };
            let is_whole = match received {
                Ok(is_whole) => is_whole,
                Err(error) => {
                    failures.push(format!("{}: the peer got {error}", case.name()));
                    continue;
                }
            };
            match peer.saw {
                None | Some(Saw::Nothing) => failures.push(format!("{}: the peer sees no end", case.name())),
                Some(Saw::Fin | Saw::Itself) if is_whole != case.is_cut() || !case.is_orderly() => {}
                Some(saw) if case.is_orderly() => {
                    let len = peer.received.len();
                    failures.push(format!("{}: {len} bytes, whole: {is_whole}, then {saw:?}", case.name()));
                }
                Some(_) => {}
            }
        }
        failures
    }
}

/// Bytes that no peer may send there.
fn violation(case: Case) -> Vec<u8> {
    if case.is_websocket() {
        let rest = if case.parked == Parked::HalfFrame { half_frame().1 } else { Vec::new() };
        return [&rest[..], BAD_FRAME].concat();
    }
    match case.state {
        State::Body | State::Paused => BAD_CHUNK.to_vec(),
        _ => b"\x01BROKEN\r\n\r\n".to_vec(),
    }
}

fn read_to_end(mut stream: TcpStream) -> (Vec<u8>, Saw) {
    // With a small window on both sides the rest would take long.
    let _ = socket2::SockRef::from(&stream).set_recv_buffer_size(1 << 20);
    let (mut received, mut buffer) = (Vec::new(), [0; 64 << 10]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return (received, Saw::Fin),
            Ok(n) => received.extend_from_slice(&buffer[..n]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                return (received, Saw::Reset);
            }
            Err(_) => return (received, Saw::Nothing),
        }
    }
}

/// Whether these are whole responses; an error if they are no beginning of such.
fn responses(mut bytes: &[u8]) -> Result<bool, String> {
    while !bytes.is_empty() {
        let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else { return Ok(false) };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        if !head.starts_with("HTTP/1.1 ") {
            return Err(format!("no head: {head:?}"));
        }
        bytes = &bytes[end + 4..];
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let rest = match length {
            Some(length) => bytes.get(length.parse().expect("length")..),
            None if head.contains("Transfer-Encoding: chunked") => behind_chunks(bytes)?,
            None => Some(&b""[..]),
        };
        match rest {
            Some(rest) => bytes = rest,
            None => return Ok(false),
        }
    }
    Ok(true)
}

/// The bytes behind the last chunk, if that is there.
fn behind_chunks(mut bytes: &[u8]) -> Result<Option<&[u8]>, String> {
    loop {
        let Some(line) = memchr::memmem::find(bytes, b"\r\n") else { return Ok(None) };
        let size = String::from_utf8_lossy(&bytes[..line]).into_owned();
        let size = usize::from_str_radix(&size, 16).map_err(|_| format!("no chunk: {size:?}"))?;
        match bytes.get(line + 2 + size + 2..) {
            Some(rest) if size == 0 => return Ok(Some(rest)),
            Some(rest) => bytes = rest,
            None => return Ok(None),
        }
    }
}

/// Whether these are whole frames, the last of which may be a close frame; an error if they cannot be.
fn frames(mut bytes: &[u8]) -> Result<bool, String> {
    while !bytes.is_empty() {
        let Some(((opcode, _, len), used)) = parse_server_header(bytes) else { return Ok(false) };
        let Some(rest) = bytes.get(used + len..) else { return Ok(false) };
        if opcode == CLOSE && !rest.is_empty() {
            return Err(format!("{} bytes behind a close frame", rest.len()));
        }
        bytes = rest;
    }
    Ok(true)
}
