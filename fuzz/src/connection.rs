//! A whole connection in a simulated loop and kernel: requests and frames of a client, answers of a scripted
//! JavaScript. The requests are those that the parsers find in the bytes by themselves, and neither they nor
//! the bytes that come back depend on the ends of reads, on short writes or on signals.

use crate::input::{Input, ends};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use uws_rs::channel::mailbox::Batch;
use uws_rs::channel::{
    BODY_LAST, CommandBatch, EventBatch, EventHeader, EventKind, ExchangeId, OF_DROPPED, OWNED, Op,
    RequestBlock, Shared, WakeJs, begin_parts, request_flag, send_flag, set_part, wants,
};
use uws_rs::event_loop::net::listener::Bound;
use uws_rs::event_loop::net::simulated::{Options, Received, Running, kernel, start};
use uws_rs::event_loop::simulated::{Simulated, push_control};
use uws_rs::event_loop::{Behaviour, Control};
use uws_rs::protocol::http::body::BodyDecoder;
use uws_rs::protocol::http::proxy;
use uws_rs::protocol::http::request::{Limits, RequestHead, parse};
use uws_rs::routing::router::{Method, Priority};

const APP: u32 = 0;
const HANDLER: u32 = 1;
const BEHAVIOUR: u32 = 2;
const MAX_STREAM: usize = 16 << 10;

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let mood = Mood {
        batches: input.number() % 2 == 1,
        interrupted: input.number() % 4 * 100,
        short: input.number() % 4 * 250,
        server_room: 1 + (input.number() << (input.number() % 8)),
        client_room: 16 + (input.number() << (input.number() % 8)),
    };
    let answers: Vec<usize> = (0..input.number() % 8).map(|_| input.number()).collect();
    let pieces = input.pieces();
    let stream = input.stream();
    let stream = &stream[..stream.len().min(MAX_STREAM)];
    let calm = play(stream, &[stream.len()], Mood::calm(), &answers);
    check_requests(stream, &calm);
    let moody = play(stream, &ends(&pieces, stream.len()), mood, &answers);
    compare(moody, calm);
}

/// What came of a body before it turned out to be malformed depends on the reads; the rest does not.
fn compare(mut moody: Outcome, mut calm: Outcome) {
    if calm.output.windows(11).any(|window| window == b"HTTP/1.1 40") {
        for (one, other) in moody.seen.iter_mut().zip(&mut calm.seen) {
            if let (Seen::Request(.., Body::Unfinished(one)), Seen::Request(.., Body::Unfinished(other))) =
                (one, other)
            {
                let shorter = one.len().min(other.len());
                one.truncate(shorter);
                other.truncate(shorter);
            }
        }
    }
    assert_eq!(moody, calm);
}

#[derive(Clone, Copy)]
struct Mood {
    batches: bool,
    interrupted: usize,
    short: usize,
    server_room: usize,
    client_room: usize,
}

impl Mood {
    fn calm() -> Self {
        Mood { batches: false, interrupted: 0, short: 0, server_room: usize::MAX, client_room: 1 << 20 }
    }
}

#[derive(Debug, PartialEq)]
struct Outcome {
    seen: Vec<Seen>,
    /// The bytes that the client received.
    output: Vec<u8>,
}

#[derive(Debug, PartialEq)]
enum Seen {
    /// Method, path and query, fields, and the body that was received.
    Request(Vec<u8>, Vec<u8>, Vec<(Vec<u8>, Vec<u8>)>, Body),
    Open,
    Message(bool, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Gone(u32, Vec<u8>),
}

#[derive(Debug, PartialEq)]
enum Body {
    Whole(Vec<u8>),
    Unfinished(Vec<u8>),
}

/// The requests in front of the stream, until one after which the connection ends or that is malformed.
fn check_requests(stream: &[u8], outcome: &Outcome) {
    let found: Vec<_> = outcome.seen.iter().filter(|seen| matches!(seen, Seen::Request(..))).collect();
    let mut expected = 0;
    let mut buffer = stream.to_vec();
    let (mut head, mut at) = (RequestHead::default(), 0);
    loop {
        at += proxy_headers(&buffer[at..]);
        let Ok(Some(used)) = parse(&mut buffer[at..], &Limits::default(), &mut head) else { break };
        let bytes = &buffer[at..at + used];
        let Some(Seen::Request(method, path, fields, body)) = found.get(expected) else { break };
        let (path_only, query) = (head.path.of(bytes), head.query.map(|query| query.of(bytes)));
        let whole_path = [path_only, &query.map(|query| [b"?", query].concat()).unwrap_or_default()].concat();
        assert_eq!((&method[..], &path[..]), (head.method.of(bytes), &whole_path[..]));
        let all =
            head.headers.iter().map(|field| (field.name.of(bytes).to_vec(), field.value.of(bytes).to_vec()));
        assert_eq!(*fields, all.collect::<Vec<_>>());
        at += used;
        let mut decoder = BodyDecoder::new(head.framing);
        let Ok(place) = decoder.decode_in_place(&mut buffer[at..]) else { break };
        let data = &buffer[at..][place.data.clone()];
        match body {
            Body::Whole(body) => assert!(decoder.is_done() && body == data),
            Body::Unfinished(body) => assert!(data.starts_with(body)),
        }
        at += place.used;
        expected += 1;
        if !decoder.is_done() || !head.keep_alive {
            break;
        }
    }
    // After an upgrade there are none.
    assert!(found.len() <= expected + 1, "{} requests, {expected} expected", found.len());
}

/// The length of the PROXY headers in front of a request.
fn proxy_headers(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Ok(Some((_, used))) = proxy::parse(&bytes[at..]) {
        at += used;
    }
    at
}

// ---- a run

fn play(stream: &[u8], ends: &[usize], mood: Mood, answers: &[usize]) -> Outcome {
    let mut world = World::new(mood, answers);
    let mut sent = 0;
    for &end in ends {
        while sent < end && world.is_open {
            sent += world.send(&stream[sent..end]);
            world.settle();
        }
    }
    kernel(|kernel| kernel.client_ends(world.number()));
    world.finish()
}

struct World {
    event_loop: Simulated,
    shared: Arc<Shared>,
    /// Its number, once it has connected.
    client: Option<u32>,
    is_open: bool,
    javascript: JavaScript,
    output: Vec<u8>,
    /// Lives as long as its loop.
    _kernel: Running,
}

struct Nobody;

impl WakeJs for Nobody {
    fn wake(&self) {}
}

impl World {
    fn new(mood: Mood, answers: &[usize]) -> Self {
        let running = start(Options {
            batches: mood.batches,
            interrupted: mood.interrupted,
            short: mood.short,
            look: Duration::ZERO,
            seed: 1,
        });
        let event_loop = Simulated::new(0, Limits::default(), Arc::new(Nobody)).expect("a poll");
        let shared = event_loop.shared().clone();
        let listener = kernel(|kernel| kernel.listen());
        let number = listener.number();
        let mut commands = CommandBatch::default();
        let mut control = |control| push_control(&shared, &mut commands, control);
        control(Control::AddApp { app: APP });
        control(Control::Behaviour(behaviour()));
        for (method, pattern, handler) in [
            (Method::Any, &b"/*"[..], HANDLER),
            (Method::Any, b"*", HANDLER),
            (Method::WebSocket, b"/ws", BEHAVIOUR),
        ] {
            let (pattern, priority) = (pattern.to_vec(), Priority::Medium);
            control(Control::Route { app: APP, domain: None, method, pattern, priority, handler });
        }
        control(Control::Listen { app: APP, listener: 0, bound: Bound::simulated(listener) });
        let _ = shared.commands.put(&mut commands);
        let mut world = World {
            event_loop,
            shared,
            client: None,
            is_open: true,
            javascript: JavaScript { answers: answers.to_vec(), ..JavaScript::default() },
            output: Vec::new(),
            _kernel: running,
        };
        world.settle();
        let rooms = (mood.server_room, mood.client_room);
        world.client = kernel(|kernel| kernel.connect(number, None, rooms.0, rooms.1));
        assert!(world.client.is_some(), "it listens");
        world.settle();
        world
    }

    fn number(&self) -> u32 {
        self.client.expect("it has connected")
    }

    /// Returns how many bytes were taken.
    fn send(&mut self, bytes: &[u8]) -> usize {
        let taken = kernel(|kernel| kernel.client_sends(self.number(), bytes));
        self.is_open &= taken.is_some();
        taken.unwrap_or(0)
    }

    /// Lets loop, JavaScript and client run until none of them has anything to do.
    fn settle(&mut self) {
        for _ in 0..100_000 {
            let busy = self.event_loop.sleep_for() == Some(Duration::ZERO) || self.event_loop.is_ready();
            if busy {
                self.event_loop.turn();
            }
            let answered = self.javascript.run(&self.shared);
            if !self.receive() && !busy && !answered {
                return;
            }
        }
        panic!("the loop finds no rest");
    }

    /// Takes what the client was sent; returns whether that was anything.
    fn receive(&mut self) -> bool {
        let (Some(client), output) = (self.client, &mut self.output) else { return false };
        let received = kernel(|kernel| kernel.client_receives(client, 4096, output));
        self.is_open &= !matches!(received, Received::End | Received::Reset);
        matches!(received, Received::Bytes(_))
    }

    /// The client has ended: so does the connection, within its timeouts, and nothing is left of it.
    fn finish(mut self) -> Outcome {
        self.settle();
        for _ in 0..60 {
            kernel(|kernel| kernel.pass(Duration::from_secs(1)));
            self.settle();
        }
        let held = self.event_loop.held();
        assert_eq!((held.connections, held.slots, held.subscriptions), (0, 0, 0), "{held:?}");
        assert_eq!((held.outbound, held.unread, held.collected, held.events), (0, 0, 0, 0), "{held:?}");
        assert!(!kernel(|kernel| kernel.is_served(self.number())));
        assert!(self.shared.commands.is_empty() && self.shared.events.is_empty());
        Outcome { seen: self.javascript.seen, output: without_continue(&self.output) }
    }
}

/// Whether a client is told to continue depends on whether its body has arrived by then (RFC 9110 §10.1.1).
fn without_continue(output: &[u8]) -> Vec<u8> {
    const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
    let (mut rest, mut left) = (output, Vec::new());
    while let Some(at) = rest.windows(CONTINUE.len()).position(|window| window == CONTINUE) {
        left.extend_from_slice(&rest[..at]);
        rest = &rest[at + CONTINUE.len()..];
    }
    left.extend_from_slice(rest);
    left
}

fn behaviour() -> Behaviour {
    Behaviour {
        id: BEHAVIOUR,
        max_payload: 4096,
        idle_timeout: 8,
        max_lifetime: 0,
        max_backpressure: 1 << 20,
        close_on_backpressure_limit: false,
        send_pings: false,
        reset_idle_timeout_on_send: false,
        compression: 0,
        auto_upgrade: true,
        wants: wants::MESSAGE | wants::DRAIN | wants::DROPPED | wants::PING | wants::PONG,
    }
}

// ---- JavaScript

#[derive(Default)]
struct JavaScript {
    answers: Vec<usize>,
    events: EventBatch,
    commands: CommandBatch,
    /// Requests without an answer, in order.
    open: VecDeque<Request>,
    requests: usize,
    seen: Vec<Seen>,
}

struct Request {
    id: ExchangeId,
    number: usize,
    /// Its place among those that were seen.
    place: usize,
    is_whole: bool,
    omits_body: bool,
    /// Rounds until it is answered.
    rounds: usize,
}

impl JavaScript {
    /// Handles the events that there are; returns whether it did anything.
    fn run(&mut self, shared: &Shared) -> bool {
        let mut events = std::mem::take(&mut self.events);
        let mut any = false;
        while shared.dropped.take(&mut events) || shared.events.take(&mut events) {
            any = true;
            for header in &events.headers {
                self.handle(header, payload(header, &events));
            }
        }
        self.events = events;
        any |= self.answer();
        if !self.commands.is_empty() {
            let _ = shared.commands.put(&mut self.commands);
        }
        any
    }

    fn handle(&mut self, header: &EventHeader, payload: &[u8]) {
        let id = ExchangeId { slot: header.slot, generation: header.generation };
        let is = |kind: EventKind| header.kind == kind as u32;
        if is(EventKind::Request) {
            self.request(id, header.b, payload);
        } else if is(EventKind::Data) {
            let Some(request) = self.open.iter_mut().rev().find(|request| !request.is_whole) else { return };
            request.is_whole = header.a & BODY_LAST != 0;
            let (place, is_whole) = (request.place, request.is_whole);
            let Seen::Request(.., body) = &mut self.seen[place] else { unreachable!("a request") };
            let Body::Unfinished(bytes) = body else { panic!("bytes behind the end of a body") };
            bytes.extend_from_slice(payload);
            if is_whole {
                *body = Body::Whole(std::mem::take(bytes));
            }
        } else if is(EventKind::Open) {
            self.seen.push(Seen::Open);
        } else if is(EventKind::Message) {
            let binary = header.a != 0;
            self.seen.push(Seen::Message(binary, payload.to_vec()));
            let flags = if binary { send_flag::BINARY } else { 0 };
            self.command(Op::Send, flags, id, payload);
        } else if is(EventKind::Ping) {
            self.seen.push(Seen::Ping(payload.to_vec()));
        } else if is(EventKind::Pong) {
            self.seen.push(Seen::Pong(payload.to_vec()));
        } else if is(EventKind::Gone) {
            assert!(!self.seen.iter().any(|seen| matches!(seen, Seen::Gone(..))), "a second end");
            self.open.clear();
            self.seen.push(Seen::Gone(header.a, payload.to_vec()));
            self.command(Op::Release, 0, id, b"");
        } else if is(EventKind::Panic) {
            panic!("{}", payload.escape_ascii());
        }
    }

    fn request(&mut self, id: ExchangeId, flags: u32, payload: &[u8]) {
        let block = RequestBlock::of(payload);
        let query = block.query().map(|query| [b"?", query].concat()).unwrap_or_default();
        let path = [block.path(), &query].concat();
        let fields = block.header_fields().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
        let with_head = request_flag::BODY_LENGTH.of(flags) as usize;
        let is_whole = flags & request_flag::HAS_BODY == 0 || with_head > 0;
        let body = block.body(with_head).to_vec();
        let body = if is_whole { Body::Whole(body) } else { Body::Unfinished(body) };
        let place = self.seen.len();
        self.seen.push(Seen::Request(block.method().to_vec(), path, fields, body));
        if !is_whole {
            self.command(Op::Resume, 0, id, b"");
        }
        let number = self.requests;
        self.requests += 1;
        let rounds = self.way(number) / 8;
        let omits_body = flags & request_flag::HEAD != 0;
        self.open.push_back(Request { id, number, place, is_whole, omits_body, rounds });
    }

    fn way(&self, number: usize) -> usize {
        if self.answers.is_empty() { 0 } else { self.answers[number % self.answers.len()] }
    }

    /// Answers the oldest requests, each once its body is whole, in its own way.
    fn answer(&mut self) -> bool {
        let mut any = false;
        while let Some(request) = self.open.front_mut() {
            if !request.is_whole {
                break;
            }
            any = true;
            if request.rounds > 0 {
                request.rounds -= 1;
                break;
            }
            let Some(request) = self.open.pop_front() else { break };
            let Request { id, number, omits_body, .. } = request;
            let text = format!("answer {number};").repeat(1 + number % 3 * 100);
            match self.way(number) % 4 {
                0 | 1 => self.respond(Op::Respond, id, &text),
                2 if !omits_body => {
                    self.respond(Op::Write, id, &text);
                    self.respond(Op::Write, id, "more");
                    self.respond(Op::Finish, id, "");
                }
                _ => self.respond(Op::Respond, id, ""),
            }
        }
        any
    }

    fn respond(&mut self, op: Op, id: ExchangeId, body: &str) {
        let mut record = self.commands.record(op, 0, id, 0, 0);
        let payload = record.payload();
        let parts = begin_parts(payload);
        for index in 0..2 {
            set_part(payload, parts, index, 0);
        }
        payload.extend_from_slice(body.as_bytes());
        record.finish();
    }

    fn command(&mut self, op: Op, flags: u32, id: ExchangeId, payload: &[u8]) {
        let mut record = self.commands.record(op, flags, id, 0, 0);
        record.payload().extend_from_slice(payload);
        record.finish();
    }
}

fn payload<'a>(header: &EventHeader, events: &'a EventBatch) -> &'a [u8] {
    if header.offset & OWNED != 0 {
        let owned = events.owned[(header.offset & !OWNED) as usize].as_ref();
        return owned.expect("a payload").bytes();
    }
    &events.arena[(header.offset & !OF_DROPPED) as usize..][..header.len as usize]
}
