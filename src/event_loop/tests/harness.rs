//! The JavaScript side of the crossing, and raw clients.

use crate::channel::{
    Account, CommandBatch, EventBatch, EventKind, ExchangeId, Limit, OF_DROPPED, OWNED, Op, RequestBlock,
    Shared, WakeJs, begin_parts, request_flag, set_part, wants,
};
use crate::event_loop::net::listener;
use crate::event_loop::{AppLimits, Behaviour, Control, Loop};
use crate::protocol::http::request::Limits;
use crate::protocol::websocket::frame;
use crate::routing::router::{Method, Priority};
use crossbeam_channel::{Receiver, Sender, bounded};
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tungstenite::protocol::frame::coding::OpCode;

/// How long a test waits for something that must happen.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// How long a test waits for something that must not happen.
pub const MOMENT: Duration = Duration::from_millis(60);

/// The app every test uses.
pub const APP: u32 = 0;

struct Wake(Sender<()>);

impl WakeJs for Wake {
    fn wake(&self) {
        let _ = self.0.try_send(());
    }
}

pub struct Harness {
    pub event_loop: Loop,
    pub port: u16,
    woken: Receiver<()>,
    events: VecDeque<Happened>,
    /// Breaches of limits that the loop has told of, which it does once a tick and so in between of all other
    /// events.
    told: Vec<Happened>,
    batch: EventBatch,
}

/// An event with its payload.
#[derive(Clone, Debug)]
pub struct Happened {
    pub kind: u32,
    pub id: ExchangeId,
    pub args: [u32; 3],
    pub payload: Vec<u8>,
    /// The payload was moved, not copied through the arena.
    pub owned: bool,
}

impl Happened {
    pub fn is(&self, kind: EventKind) -> bool {
        self.kind == kind as u32
    }
}

impl Harness {
    /// A loop with one app that listens on loopback. `GET /hello` and `POST /post` go to handlers 1 and 2.
    pub fn start() -> Self {
        let mut harness = Self::without_listener();
        harness.route(Method::Get, "/hello", 1);
        harness.route(Method::Post, "/post", 2);
        harness.port = harness.listen(0);
        harness
    }

    /// Like `start`, with limits.
    pub fn limited(limits: AppLimits) -> Self {
        let mut harness = Self::without_listener();
        harness.event_loop.control(Control::Limits { app: APP, limits: Box::new(limits) });
        harness.route(Method::Get, "/hello", 1);
        harness.route(Method::Post, "/post", 2);
        harness.port = harness.listen(0);
        harness
    }

    /// How often a limit of the app was breached.
    pub fn breaches(&self, limit: Limit) -> u64 {
        self.shared().counters.app(APP).map_or(0, |app| app.breaches(limit))
    }

    /// Like `start`, with a `ws` route `/ws` that upgrades by itself unless `behaviour` says otherwise.
    pub fn with_behaviour(behaviour: Behaviour) -> Self {
        let harness = Self::start();
        let handler = behaviour.id;
        harness.event_loop.control(Control::Behaviour(behaviour));
        harness.route(Method::WebSocket, "/ws", handler);
        harness
    }

    pub fn without_listener() -> Self {
        let (wake, woken) = bounded(1);
        let event_loop = Loop::start(Limits::default(), Box::new(Wake(wake))).expect("loop");
        event_loop.control(Control::AddApp { app: APP });
        Harness {
            event_loop,
            port: 0,
            woken,
            events: VecDeque::new(),
            told: Vec::new(),
            batch: EventBatch::default(),
        }
    }

    pub fn route(&self, method: Method, pattern: &str, handler: u32) {
        let (pattern, priority) = (pattern.as_bytes().to_vec(), Priority::Medium);
        self.event_loop.control(Control::Route {
            app: APP,
            domain: None,
            method,
            pattern,
            priority,
            handler,
        });
    }

    pub fn listen(&self, listener: u32) -> u16 {
        let bound = listener::bind_tcp(Some("127.0.0.1"), 0, true).expect("bind");
        let port = bound.port.expect("port");
        self.event_loop.control(Control::Listen { app: APP, listener, bound });
        port
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.port)
    }

    pub fn shared(&self) -> &Shared {
        &self.event_loop.shared
    }

    /// The account of a connection that still has its slot.
    pub fn account(&self, id: ExchangeId) -> Account {
        self.shared().slots.get(id.slot).account(id.generation).unwrap_or_default()
    }

    pub fn backlog(&self, id: ExchangeId) -> usize {
        self.account(id).backlog
    }

    /// The number of turns of the loop.
    pub fn turns(&self) -> usize {
        self.shared().counters.turns.load(Ordering::SeqCst)
    }

    // ---- events

    /// Takes one batch if there is one.
    pub fn take_batch(&mut self) -> bool {
        let shared = self.event_loop.shared.clone();
        let taken = shared.dropped.take(&mut self.batch) || shared.events.take(&mut self.batch);
        if !taken {
            return false;
        }
        let (read, execute) = (shared.stalled.ends(|| true), shared.drops_stalled.ends(|| true));
        if read || execute {
            self.event_loop.wake();
        }
        for header in &self.batch.headers {
            let owned = header.offset & OWNED != 0;
            let payload = if owned {
                let owned = &self.batch.owned[(header.offset & !OWNED) as usize];
                owned.as_ref().expect("payload").bytes().to_vec()
            } else {
                self.batch.arena[(header.offset & !OF_DROPPED) as usize..][..header.len as usize].to_vec()
            };
            assert_eq!(payload.len(), header.len as usize);
            let id = ExchangeId { slot: header.slot, generation: header.generation };
            let args = [header.a, header.b, header.c];
            let event = Happened { kind: header.kind, id, args, payload, owned };
            match event.is(EventKind::Breach) {
                true => self.told.push(event),
                false => self.events.push_back(event),
            }
        }
        true
    }

    /// How many breaches of a limit the loop has told of.
    pub fn told(&self, limit: &str) -> u32 {
        self.told.iter().filter(|event| event.payload == limit.as_bytes()).map(|event| event.args[1]).sum()
    }

    /// The next event, if one comes within `time`.
    pub fn event_within(&mut self, time: Duration) -> Option<Happened> {
        let end = Instant::now() + time;
        while self.events.is_empty() {
            let asleep = !self.take_batch() && self.shared().events.may_sleep();
            if asleep && self.shared().dropped.is_empty() {
                let left = end.saturating_duration_since(Instant::now());
                if self.woken.recv_timeout(left).is_err() && !self.take_batch() {
                    return None;
                }
            }
        }
        self.events.pop_front()
    }

    /// The next event, which must be of this kind.
    pub fn expect(&mut self, kind: EventKind) -> Happened {
        let event = self.event_within(PATIENCE);
        let event = event.unwrap_or_else(|| panic!("no event, {kind:?} expected"));
        assert!(event.is(kind), "{kind:?} expected: {event:?}");
        event
    }

    /// The next event, which must be a request. Asks for its body if that is still to come.
    pub fn expect_request(&mut self) -> Request {
        let request = self.expect_request_only();
        self.want_body(&request);
        request
    }

    /// Asks for the rest of a request's body.
    pub fn want_body(&self, request: &Request) {
        if request.has_body() && request.body.is_empty() {
            self.command(Op::Resume, 0, request.id, 0, b"");
        }
    }

    pub fn expect_request_only(&mut self) -> Request {
        Request::new(self.expect(EventKind::Request))
    }

    pub fn expect_nothing(&mut self) {
        if let Some(event) = self.event_within(MOMENT) {
            panic!("unexpected: {event:?}");
        }
    }

    // ---- commands

    pub fn send(&self, batch: &mut CommandBatch) {
        self.event_loop.flush(batch);
    }

    /// Sends one record at once.
    pub fn command(&self, op: Op, flags: u32, id: ExchangeId, arg: u32, payload: &[u8]) {
        let mut batch = CommandBatch::default();
        push(&mut batch, op, flags, id, u64::from(arg), payload);
        self.send(&mut batch);
    }

    /// Sends one response record at once.
    pub fn respond(&self, op: Op, flags: u32, id: ExchangeId, number: u64, parts: [&[u8]; 3]) {
        let mut batch = CommandBatch::default();
        push(&mut batch, op, flags, id, number, &response_parts(parts));
        self.send(&mut batch);
    }

    /// A plain `res.end(body)`.
    pub fn end(&self, id: ExchangeId, body: &[u8]) {
        self.respond(Op::Respond, 0, id, 0, [b"", b"", body]);
    }

    /// Waits until the loop has executed the commands sent so far and has tried to write their output.
    pub fn settle(&self) {
        let before = self.turns();
        self.event_loop.wake();
        wait_until("the loop goes on turning", || {
            self.event_loop.wake();
            self.turns() >= before + 3
        });
    }
}

/// Appends a record to `batch`.
pub fn push(batch: &mut CommandBatch, op: Op, flags: u32, id: ExchangeId, number: u64, payload: &[u8]) {
    let mut record = batch.record(op, flags, id, number as u32, (number >> 32) as u32);
    record.payload().extend_from_slice(payload);
    record.finish();
}

/// Status, head lines and body as a response record carries them.
pub fn response_parts([status, headers, body]: [&[u8]; 3]) -> Vec<u8> {
    let mut payload = Vec::new();
    let parts = begin_parts(&mut payload);
    for (index, bytes) in [status, headers].into_iter().enumerate() {
        payload.extend_from_slice(bytes);
        set_part(&mut payload, parts, index, bytes.len());
    }
    payload.extend_from_slice(body);
    payload
}

pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A request event, read as JavaScript reads it.
pub struct Request {
    pub id: ExchangeId,
    pub handler: u32,
    pub flags: u32,
    /// All of the body, if it came with the head.
    pub body: Vec<u8>,
    block: Vec<u8>,
}

impl Request {
    pub fn new(event: Happened) -> Self {
        let [handler, flags, _] = event.args;
        let body =
            RequestBlock::of(&event.payload).body(request_flag::BODY_LENGTH.of(flags) as usize).to_vec();
        // The flags without the two numbers above them.
        let flags = flags & ((1 << request_flag::BODY_LENGTH.shift) - 1);
        Request { id: event.id, handler, flags, body, block: event.payload }
    }

    fn block(&self) -> RequestBlock<'_> {
        RequestBlock::of(&self.block)
    }

    pub fn has_body(&self) -> bool {
        self.flags & request_flag::HAS_BODY != 0
    }

    pub fn method(&self) -> &str {
        text(self.block().method())
    }

    pub fn path(&self) -> &str {
        text(self.block().path())
    }

    pub fn query(&self) -> Option<&str> {
        self.block().query().map(text)
    }

    pub fn headers(&self) -> Vec<(&str, &str)> {
        self.block().header_fields().map(|(name, value)| (text(name), text(value))).collect()
    }

    /// Each matching handler with its parameters, in order of priority.
    pub fn matches(&self) -> Vec<(u32, Vec<&str>)> {
        let block = self.block();
        let parameters = |wanted| (0..).map_while(|index| block.parameter(wanted, index)).map(text).collect();
        (0..).map_while(|wanted| Some((block.handler(wanted)?, parameters(wanted)))).collect()
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

/// A behaviour with id 1 that upgrades by itself, wants everything and has no timeouts.
pub fn behaviour() -> Behaviour {
    Behaviour {
        id: 1,
        max_payload: 64 << 20,
        idle_timeout: 0,
        max_lifetime: 0,
        max_backpressure: 64 << 10,
        close_on_backpressure_limit: false,
        send_pings: false,
        reset_idle_timeout_on_send: false,
        compression: 0,
        auto_upgrade: true,
        wants: wants::MESSAGE | wants::DRAIN | wants::DROPPED | wants::PING | wants::PONG,
    }
}

pub const UPGRADE_REQUEST: &[u8] =
    b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// A client that writes and reads bytes.
pub struct Client {
    pub stream: TcpStream,
    unread: Vec<u8>,
}

impl Client {
    pub fn connect(port: u16) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("connect");
        stream.set_nodelay(true).expect("nodelay");
        stream.set_read_timeout(Some(PATIENCE)).expect("read timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("write timeout");
        Client { stream, unread: Vec::new() }
    }

    /// A client with another address of the loopback network.
    pub fn connect_from(address: &str, port: u16) -> Self {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("socket");
        let from: Ipv4Addr = address.parse().expect("address");
        socket.bind(&SocketAddr::from((from, 0)).into()).expect("bind");
        socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()).expect("connect");
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE)).expect("read timeout");
        Client { stream, unread: Vec::new() }
    }

    /// A client with a small receive buffer, so that few bytes are in flight when it does not read.
    pub fn connect_slow(port: u16) -> Self {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("socket");
        socket.set_recv_buffer_size(4096).expect("receive buffer");
        socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()).expect("connect");
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE)).expect("read timeout");
        Client { stream, unread: Vec::new() }
    }

    /// The same connection for another thread.
    pub fn second(&self) -> Self {
        Client { stream: self.stream.try_clone().expect("clone"), unread: Vec::new() }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("write");
    }

    /// Whether the other side has taken the bytes so far.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Whether bytes have arrived, or the end.
    pub fn has_bytes(&self) -> bool {
        self.stream.set_nonblocking(true).expect("non-blocking");
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).expect("blocking");
        !peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    /// Whether the server answers, and does not close.
    pub fn is_answered(&mut self) -> bool {
        self.stream.read(&mut [0; 64]).is_ok_and(|n| n > 0)
    }

    /// Every byte in a segment of its own, as far as the kernel lets us.
    pub fn send_slowly(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.send(&[*byte]);
            std::thread::sleep(Duration::from_micros(300));
        }
    }

    /// A thread that sends these bytes again and again, faster than they are read, until the server closes.
    pub fn flood(&self, bytes: &[u8]) -> std::thread::JoinHandle<()> {
        let (mut flooding, bytes) = (self.second(), bytes.repeat((256 << 10) / bytes.len()));
        let end = Instant::now() + PATIENCE;
        std::thread::spawn(move || {
            while flooding.try_send(&bytes) {
                assert!(Instant::now() < end, "it is still served");
            }
        })
    }

    pub fn end(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("shutdown");
    }

    /// Closes with a reset.
    pub fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("linger");
    }

    fn fill(&mut self) -> usize {
        let mut buffer = [0; 64 << 10];
        let n = self.stream.read(&mut buffer).expect("read");
        self.unread.extend_from_slice(&buffer[..n]);
        n
    }

    pub fn read(&mut self, n: usize) -> Vec<u8> {
        while self.unread.len() < n {
            assert_ne!(self.fill(), 0, "ended after {} of {n} bytes", self.unread.len());
        }
        self.unread.drain(..n).collect()
    }

    pub fn read_through(&mut self, end: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = memchr::memmem::find(&self.unread, end) {
                return self.read(at + end.len());
            }
            assert_ne!(self.fill(), 0, "ended: {:?}", String::from_utf8_lossy(&self.unread));
        }
    }

    /// A response with `Content-Length`: its head, and its body.
    pub fn response(&mut self) -> (String, Vec<u8>) {
        let head = String::from_utf8(self.read_through(b"\r\n\r\n")).expect("text");
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let length = length.map_or(0, |n| n.parse().expect("length"));
        (head, self.read(length))
    }

    /// The bytes that arrive until the server closes its side.
    pub fn read_to_end(&mut self) -> Vec<u8> {
        while self.fill() != 0 {}
        std::mem::take(&mut self.unread)
    }

    /// Expects that the server closes, with or without a reset, without sending anything more.
    pub fn expect_closed(&mut self) {
        assert!(self.unread.is_empty(), "unread: {:?}", String::from_utf8_lossy(&self.unread));
        match self.stream.read(&mut [0; 64]) {
            Ok(0) => {}
            Ok(n) => panic!("{n} more bytes"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }

    // ---- WebSocket

    pub fn upgrade(&mut self) -> String {
        self.send(UPGRADE_REQUEST);
        String::from_utf8(self.read_through(b"\r\n\r\n")).expect("text")
    }

    /// The next frame: opcode, FIN, payload.
    pub fn frame(&mut self) -> (OpCode, bool, Vec<u8>) {
        loop {
            if let Some((header, used)) = parse_server_header(&self.unread) {
                let _ = self.read(used);
                return (header.0, header.1, self.read(header.2));
            }
            assert_ne!(self.fill(), 0, "ended");
        }
    }
}

/// Opcode, FIN and length of an unmasked frame, and the bytes of its header.
pub fn parse_server_header(bytes: &[u8]) -> Option<((OpCode, bool, usize), usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    assert_eq!(second & 0x80, 0, "servers do not mask");
    let (len, used) = match second {
        126 => (u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 4),
        127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?), 10),
        short => (u64::from(short), 2),
    };
    Some(((OpCode::from(first & 15), first & 0x80 != 0, len as usize), used))
}

/// A frame as a client sends it.
pub fn masked(opcode: OpCode, fin: bool, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x1f, 0x82, 0x33, 0xe4];
    let mut bytes = Vec::new();
    frame::write_header(&mut bytes, opcode, fin, false, payload.len());
    bytes[1] |= 0x80;
    bytes.extend_from_slice(&MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}
