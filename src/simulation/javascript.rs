//! The program: JavaScript as the loop knows it, at the level of the channel. It does all that `lib/` and
//! `bridge/` do there, and no more: objects, pipelines, topics and their numbers, accounts, the end of apps.

use super::oracle::{Expected, Kind, NONSENSE, Oracle};
use super::rng::Rng;
use super::script::{Act, Answer, Body, Do, How, Method, Request, Script, Secure, Step, Target};
use super::text::{Owner, compare, text};
use super::uncut::Seen;
use crate::bridge::backpressure::{Ledgers, TRY_END_WINDOW};
use crate::channel::mailbox::{Batch, Mailbox};
use crate::channel::{
    Answer as Fate, BODY_LAST, COMMAND_QUEUE_BYTES, CommandBatch, DROPPED_QUEUE_BYTES, DROPPED_QUEUE_ITEMS,
    EVENT_QUEUE_BYTES, EVENT_QUEUE_ITEMS, EventBatch, EventHeader, EventKind, ExchangeId, ForgottenStage,
    JsEvent, NOBODY, OF_DROPPED, OWNED, OWNED_PAYLOAD, Op, RequestBlock, Shared, begin_parts, flight_flag,
    request_flag, respond_flag, send_flag, set_part,
};
use crate::event_loop::Control;
use crate::event_loop::net::listener::Bound;
use crate::event_loop::net::simulated::kernel;
use crate::event_loop::simulated::push_control;
use crate::fault::{self, Fault};
use crate::routing::router::{Method as RouteMethod, Priority};
use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The app of plain peers, and that of those with TLS.
pub const APP: u32 = 0;
pub const SECURE_APP: u32 = 1;
/// The handler of the `ws` route, and the declared one.
pub const BEHAVIOUR: u32 = 1;
pub const DECLARED: u32 = 2;
/// The handler of the `ws` route of the secure app.
pub const SECURE_BEHAVIOUR: u32 = 3;
/// The handler of the cached route of each app, by its number.
pub const CACHED: u32 = 4;
/// The first number of the handlers that answer requests.
const FIRST_HANDLER: u32 = 6;
pub struct Javascript {
    script: Rc<Script>,
    rng: Rng,
    shared: Arc<Shared>,
    /// An event has woken it.
    pub woken: Arc<AtomicBool>,
    is_asleep: bool,
    loop_woken: Rc<Cell<bool>>,
    commands: CommandBatch,
    handed_over: usize,
    pub bytes_handed_over: usize,
    batch: EventBatch,
    cursor: usize,
    dropped: EventBatch,
    dropped_cursor: usize,
    ledgers: Ledgers,
    objects: BTreeMap<u32, Object>,
    lines: BTreeMap<u32, Line>,
    over: BTreeMap<u32, u32>,
    topics: Topics,
    tasks: BTreeMap<(Duration, usize), Task>,
    next_task: usize,
    next_object: usize,
    closing: [usize; 2],
    busy_until: Duration,
    waits: Option<Waits>,
    has_waited: bool,
    /// Batches that it hands over as fast as the loop takes them.
    /// A socket that has ended, and whose handlers send something.
    parting: Option<ExchangeId>,
    /// The last connection of each slot on which anything was sent.
    sent_on: BTreeMap<u32, ExchangeId>,
    refills: usize,
    pub refilled: usize,
    handler: u32,
    pub listener: Option<u32>,
    /// That of the secure app, which nobody closes.
    pub secure_listener: Option<u32>,
    /// The environment has ended.
    is_over: bool,
    plain_number: u32,
    next_listener: u32,
}

/// Requests of a connection whose turn has not come, by its generation.
type Line = (u32, VecDeque<(EventHeader, Vec<u8>)>);

enum Object {
    Response(Box<Response>),
    Socket(Box<Socket>),
}

struct Response {
    id: ExchangeId,
    /// Of all objects, so that a task finds the one it was meant for.
    number: usize,
    app: u32,
    exchange: u32,
    peer: usize,
    step: usize,
    request: Request,
    received: usize,
    is_whole: bool,
    head_sent: bool,
    offset: usize,
    chunks: usize,
    wants_writable: bool,
}

struct Socket {
    id: ExchangeId,
    app: u32,
    peer: usize,
    topics: Vec<usize>,
    sent: usize,
    is_closing: bool,
}

/// Names and numbers of topics, as lib/topics.js has them.
#[derive(Default)]
struct Topics {
    /// By name: the number, and how many are subscribed.
    by_name: BTreeMap<usize, (u32, i32)>,
    free: Vec<u32>,
    next: u32,
}

impl Topics {
    fn join(&mut self, name: usize) -> u32 {
        let Topics { by_name, free, next } = self;
        let topic = by_name.entry(name).or_insert_with(|| {
            let number = free.pop().unwrap_or_else(|| {
                *next += 1;
                *next - 1
            });
            (number, 0)
        });
        topic.1 += 1;
        topic.0
    }

    fn leave(&mut self, name: usize) {
        let Some(topic) = self.by_name.get_mut(&name) else { return };
        topic.1 -= 1;
        if topic.1 <= 0 {
            self.free.push(topic.0);
            self.by_name.remove(&name);
        }
    }
}

enum Task {
    Act(Act),
    Answer(u32, usize),
    Resume(u32, usize),
    Upgrade(u32, usize),
    HandOver(u32, u32),
    /// A flight's answer, and whether that is for one client.
    Land(ExchangeId, bool, Vec<u8>),
}

/// Calls in which JavaScript stands still until the loop has gone on.
enum Waits {
    /// Until so many batches are executed; then the objects of the app end.
    CloseApp(usize, u32),
    Settled(usize),
}

impl Javascript {
    pub fn new(script: Rc<Script>, rng: Rng, shared: Arc<Shared>, loop_woken: Rc<Cell<bool>>) -> Self {
        let mut javascript = Javascript {
            script: script.clone(),
            rng,
            shared,
            woken: Arc::default(),
            is_asleep: false,
            loop_woken,
            commands: CommandBatch::default(),
            handed_over: 0,
            bytes_handed_over: 0,
            batch: EventBatch::default(),
            cursor: 0,
            dropped: EventBatch::default(),
            dropped_cursor: 0,
            ledgers: Ledgers::default(),
            objects: BTreeMap::new(),
            lines: BTreeMap::new(),
            over: BTreeMap::new(),
            topics: Topics::default(),
            tasks: BTreeMap::new(),
            next_task: 0,
            next_object: 0,
            closing: [0; 2],
            busy_until: Duration::ZERO,
            waits: None,
            has_waited: false,
            parting: None,
            sent_on: BTreeMap::new(),
            refills: 0,
            refilled: 0,
            handler: FIRST_HANDLER,
            listener: None,
            secure_listener: None,
            is_over: false,
            plain_number: 0,
            next_listener: 0,
        };
        for (ms, act) in &script.acts {
            javascript.later(Duration::ZERO, *ms, Task::Act(*act));
        }
        javascript
    }

    /// Sends a rare command.
    pub fn control(&mut self, control: Control) {
        push_control(&self.shared, &mut self.commands, control);
    }

    pub fn route(&mut self, app: u32, method: RouteMethod, pattern: &str, handler: u32) {
        let (pattern, priority) = (pattern.as_bytes().to_vec(), Priority::Medium);
        self.control(Control::Route { app, domain: None, method, pattern, priority, handler });
    }

    pub fn route_requests(&mut self, app: u32) {
        self.route(app, RouteMethod::Any, "/r/:peer/:step", self.handler);
    }

    pub fn listen(&mut self, app: u32) {
        let listener = kernel(|kernel| kernel.listen());
        let (number, socket) = (self.next_listener, listener.number());
        self.next_listener += 1;
        let bound = Bound::simulated(listener);
        if app == APP {
            (self.listener, self.plain_number) = (Some(socket), number);
        } else {
            self.secure_listener = Some(socket);
        }
        self.control(Control::Listen { app, listener: number, bound });
    }

    // ---- its turns

    fn later(&mut self, now: Duration, ms: u32, task: Task) {
        self.next_task += 1;
        let at = now + Duration::from_millis(ms.into());
        self.tasks.insert((at, self.next_task), task);
    }

    /// When it has something to do, if nothing happens. `None`: it sleeps.
    pub fn next_at(&self, now: Duration) -> Option<Duration> {
        if self.is_over {
            return None;
        }
        if self.waits.is_some() {
            return self.may_go_on().then_some(now);
        }
        if self.shared.commands.bytes() >= COMMAND_QUEUE_BYTES && self.shared.dropped.is_empty() {
            return None;
        }
        if self.parting.is_some() {
            return Some(now);
        }
        let has_work = !self.is_asleep || self.woken.load(Ordering::SeqCst) || !self.commands.is_empty();
        let work = if has_work || self.refills() { Some(now) } else { None };
        let task = self.tasks.first_key_value().map(|((at, _), _)| *at);
        let next = match (work, task) {
            (Some(work), Some(task)) => Some(work.min(task)),
            (work, task) => work.or(task),
        };
        next.map(|at| at.max(self.busy_until).max(now))
    }

    fn may_go_on(&self) -> bool {
        let settled = self.shared.settled.batches();
        match self.waits {
            Some(Waits::CloseApp(batches, _) | Waits::Settled(batches)) => {
                settled.wrapping_sub(batches) as isize >= 0
            }
            None => true,
        }
    }

    /// Does one thing.
    pub fn step(&mut self, oracle: &mut Oracle) {
        let now = oracle.now;
        if self.is_over {
            return;
        }
        if self.waits.is_some() {
            if !self.may_go_on() {
                return;
            }
            self.shared.drops_stalled.resume();
            if let Some(Waits::CloseApp(_, app)) = self.waits.take() {
                self.end_all(oracle, app);
            }
            return;
        }
        if let Some(id) = self.parting.take() {
            self.push_data(Op::Send, 0, id, 0, text(Owner::Server(0), 0xfffff, 30));
            self.count_sent(id, 30);
            return self.flush();
        }
        if now < self.busy_until {
            return;
        }
        // As `Outbox::flush`: JavaScript waits for room, and takes `Dropped` events meanwhile.
        if self.shared.commands.bytes() >= COMMAND_QUEUE_BYTES {
            self.take_dropped(oracle);
            return;
        }
        if self.refills > 0 && self.shared.commands.is_empty() {
            self.refills -= 1;
            self.refilled += 1;
            self.refill();
            return self.flush();
        }
        let due = self.tasks.first_key_value().map(|(key, _)| *key).filter(|(at, _)| *at <= now);
        if let Some(key) = due
            && self.rng.chance(500)
            && let Some(task) = self.tasks.remove(&key)
        {
            self.run(oracle, task);
        } else if !self.take_event(oracle) {
            match due.and_then(|key| self.tasks.remove(&key)) {
                Some(task) => self.run(oracle, task),
                None => self.flush(),
            }
        }
        if self.rng.chance(300) {
            self.flush();
        }
    }

    pub fn flush(&mut self) {
        if self.commands.is_empty() {
            return;
        }
        self.handed_over = self.handed_over.wrapping_add(1);
        self.bytes_handed_over += self.commands.bytes();
        if self.shared.commands.put(&mut self.commands) {
            self.loop_woken.set(true);
        }
    }

    /// As `Session::take`.
    fn take_event(&mut self, oracle: &mut Oracle) -> bool {
        if self.is_asleep {
            if !self.woken.swap(false, Ordering::SeqCst) {
                return false;
            }
            self.is_asleep = false;
        }
        while self.cursor == self.batch.headers.len() {
            self.cursor = 0;
            for owned in self.batch.owned.drain(..).flatten() {
                self.shared.blocks.give(owned.into_buffer());
            }
            if self.shared.events.take(&mut self.batch) {
                self.wake_stalled_loop();
            } else if self.shared.events.may_sleep() {
                if self.take_dropped(oracle) {
                    self.shared.events.awake();
                    return true;
                }
                self.is_asleep = true;
                return false;
            }
        }
        if self.take_dropped(oracle) {
            return true;
        }
        let header = self.batch.headers[self.cursor];
        self.cursor += 1;
        let payload = if header.offset & OWNED != 0 {
            let owned = self.batch.owned[(header.offset & !OWNED) as usize].take().expect("a payload once");
            let payload = owned.bytes().to_vec();
            self.shared.blocks.give(owned.into_buffer());
            payload
        } else {
            self.batch.arena[header.offset as usize..][..header.len as usize].to_vec()
        };
        assert_eq!(payload.len(), header.len as usize, "the length of a payload");
        self.receive(oracle, header, payload);
        true
    }

    fn take_dropped(&mut self, oracle: &mut Oracle) -> bool {
        if self.dropped_cursor == self.dropped.headers.len() {
            self.dropped_cursor = 0;
            if !self.shared.dropped.take(&mut self.dropped) {
                return false;
            }
            self.wake_stalled_loop();
        }
        let header = self.dropped.headers[self.dropped_cursor];
        self.dropped_cursor += 1;
        let offset = (header.offset & !OF_DROPPED) as usize;
        let payload = self.dropped.arena[offset..][..header.len as usize].to_vec();
        self.receive(oracle, header, payload);
        true
    }

    fn wake_stalled_loop(&self) {
        let shared = &self.shared;
        let has_room =
            |queue: &Mailbox<EventBatch>, bytes, items| queue.bytes() < bytes && queue.items() < items;
        let read = shared.stalled.ends(|| has_room(&shared.events, EVENT_QUEUE_BYTES, EVENT_QUEUE_ITEMS));
        let execute =
            shared.drops_stalled.ends(|| has_room(&shared.dropped, DROPPED_QUEUE_BYTES, DROPPED_QUEUE_ITEMS));
        if read || execute {
            self.loop_woken.set(true);
        }
    }

    // ---- events

    fn receive(&mut self, oracle: &mut Oracle, header: EventHeader, payload: Vec<u8>) {
        let kind = EventKind::from_number(header.kind).expect("a kind of event");
        let id = ExchangeId { slot: header.slot, generation: header.generation };
        match JsEvent::read(kind, [header.a, header.b, header.c]) {
            JsEvent::Request { app, .. } => self.request(oracle, header, payload, id, app),
            JsEvent::Data { flags, .. } => self.data(oracle, id, &payload, flags & BODY_LAST != 0),
            JsEvent::Writable { exchange } => {
                if let Some(Object::Response(response)) = self.at(id)
                    && response.exchange == exchange
                    && std::mem::take(&mut response.wants_writable)
                {
                    self.go_on(oracle, id.slot);
                }
            }
            JsEvent::PeerEnd => {
                if let Some(Object::Response(response)) = self.at(id) {
                    let peer = response.peer;
                    oracle.peers[peer].may_end("the peer's end before the response");
                    self.abort_and_close(id);
                }
            }
            JsEvent::Gone { .. } => self.gone(oracle, id),
            JsEvent::Message { binary } => self.message(oracle, id, &payload, binary),
            JsEvent::Ping | JsEvent::Pong | JsEvent::Drain => {}
            JsEvent::Open { behaviour } => {
                let app = if behaviour == BEHAVIOUR { APP } else { SECURE_APP };
                if self.closing[app as usize] > 0 && !fault::is_on(Fault::TwoDeciders)
                    || self.over.get(&id.slot) == Some(&id.generation)
                {
                    return;
                }
                if let Some(peer) = self.peer_of(id) {
                    self.open(oracle, id, app, peer);
                }
            }
            JsEvent::Dropped { binary } => self.told_dropped(oracle, id, &payload, binary),
            JsEvent::AppClosed { app } => self.closing[app as usize] -= 1,
            JsEvent::Forgotten { handler, stage } if stage == ForgottenStage::Unnamed as u32 => {
                self.commands.push(Op::Forget, ExchangeId::default(), handler);
            }
            JsEvent::Warning => {
                let text = String::from_utf8_lossy(&payload);
                assert!(text.contains("accepting connections is paused"), "{text}");
            }
            JsEvent::Panic => panic!("the loop: {}", String::from_utf8_lossy(&payload)),
            JsEvent::ServerName { .. } => self.commands.push(Op::ServerName, id, 0),
            JsEvent::Filter { accepted, .. } => self.filter(oracle, id, &payload, accepted),
            JsEvent::Breach { .. } => {
                let lacks = self.script.acts.iter().any(|(_, act)| matches!(act, Act::NoDescriptors { .. }));
                let may = match &payload[..] {
                    b"descriptors" => lacks,
                    b"backpressure" => self.script.route.close_on_limit,
                    _ => false,
                };
                assert!(may, "a breach of {}", String::from_utf8_lossy(&payload));
            }
            JsEvent::CachedRequest { handler, flight } => self.cached(oracle, id, handler, flight, &payload),
            JsEvent::ShutDown { .. } => {}
            JsEvent::Busy { .. } | JsEvent::Quiet | JsEvent::Forgotten { .. } => {}
        }
    }

    /// A `filter` handler asks for the address, which the event brings along.
    fn filter(&mut self, oracle: &mut Oracle, id: ExchangeId, payload: &[u8], accepted: bool) {
        assert_eq!(payload[..5], [4, 127, 0, 0, 1], "the address of a filter");
        let peer = usize::from(u16::from_le_bytes([payload[5], payload[6]]));
        self.check_address(id, peer);
        let known = &mut oracle.peers[peer];
        *if accepted { &mut known.accepted } else { &mut known.released } += 1;
        assert!(known.accepted == 1 && known.released <= 1, "peer {peer}: calls of `filter`");
    }

    /// The handler of a cached route. It answers at once or later, now and then twice or never.
    fn cached(&mut self, oracle: &mut Oracle, id: ExchangeId, handler: u32, flight: u64, payload: &[u8]) {
        let app = handler - CACHED;
        if self.closing[app as usize] > 0 {
            return;
        }
        let block = RequestBlock::of(payload);
        assert!(matches!(block.method(), b"GET" | b"HEAD"), "the method of a cached route");
        let target = std::str::from_utf8(block.path()).expect("a path");
        let field = block.header_fields().find(|(name, _)| *name == b"x-text").map(|(_, value)| value);
        let answer = cached_answer(target, field.unwrap_or_default());
        let name = ExchangeId { slot: flight as u32, generation: (flight >> 32) as u32 };
        if let Some(peer) = self.peer_of(id) {
            assert_eq!(cached_peer(field.unwrap_or_default()), Some(peer), "the client of a request");
        }
        match self.rng.below(20) {
            0 => oracle.has_unanswered = true,
            1..=8 => {
                let ms = self.rng.pick(&[1, 20, 500, 2_500, 5_000]);
                self.later(oracle.now, ms, Task::Land(name, is_private(target), answer));
            }
            9 => {
                self.land(name, is_private(target), answer.clone());
                self.land(name, false, b"a second answer".to_vec());
            }
            _ => self.land(name, is_private(target), answer),
        }
    }

    fn land(&mut self, flight: ExchangeId, is_private: bool, answer: Vec<u8>) {
        let headers: &[u8] = if is_private { b"Set-Cookie: a=b\r\n" } else { b"X-A: b\r\n" };
        let flags = self.rng.pick(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, flight_flag::CLOSED, flight_flag::FAILED]);
        self.push_parts(Op::EndFlight, flags, flight, 0, &[b"200 OK", headers], answer);
    }

    fn at(&mut self, id: ExchangeId) -> Option<&mut Object> {
        let is_it = |object: &&mut Object| match object {
            Object::Response(response) => response.id == id,
            Object::Socket(socket) => socket.id == id,
        };
        self.objects.get_mut(&id.slot).filter(is_it)
    }

    /// The peer with the address that the loop says a connection has.
    fn peer_of(&self, id: ExchangeId) -> Option<usize> {
        self.shared.slots.get(id.slot).peer(id.generation).map(|address| usize::from(address.port()))
    }

    /// Whenever a handler asks for the address, it is that of its own client.
    fn check_address(&self, id: ExchangeId, peer: usize) {
        if let Some(found) = self.peer_of(id) {
            assert_eq!(found, peer, "the address of {id:?} is that of another peer");
        }
    }

    fn request(
        &mut self,
        oracle: &mut Oracle,
        header: EventHeader,
        payload: Vec<u8>,
        id: ExchangeId,
        app: u32,
    ) {
        if self.closing[app as usize] > 0 && !fault::is_on(Fault::TwoDeciders)
            || self.over.get(&id.slot) == Some(&id.generation)
        {
            return;
        }
        let waits = self.lines.get(&id.slot).is_some_and(|(generation, _)| *generation == id.generation);
        if self.objects.contains_key(&id.slot) || waits {
            if let Some(Object::Socket(_)) = self.at(id) {
                panic!("a request on {id:?}, which is a WebSocket");
            }
            let line = self.lines.entry(id.slot).or_default();
            if line.0 != id.generation {
                *line = (id.generation, VecDeque::new());
            }
            return line.1.push_back((header, payload));
        }
        self.take_request(oracle, header, &payload);
    }

    fn take_request(&mut self, oracle: &mut Oracle, header: EventHeader, payload: &[u8]) {
        let id = ExchangeId { slot: header.slot, generation: header.generation };
        let (handler, flags, app) = (header.a, header.b, header.c);
        let block = RequestBlock::of(payload);
        let path = std::str::from_utf8(block.path()).expect("a path");
        let mut parts = path.split('/').skip(2).map(|part| part.parse::<usize>().expect("a number"));
        let (peer, step) = (parts.next().expect("peer"), parts.next().expect("step"));
        self.check_address(id, peer);
        let script = self.script.clone();
        let known = &mut oracle.peers[peer];
        let steps = &script.peers[peer].steps;
        let upgrade = steps.iter().position(|step| matches!(step, Step::Upgrade { .. }));
        assert!(
            upgrade.is_none_or(|at| step <= at),
            "peer {peer}: the request of step {step} is one of frames"
        );
        let is_for_program = |step: &Step| match step {
            Step::Request(request) => request.target == Target::Program,
            Step::Upgrade { .. } => !script.route.auto,
            _ => false,
        };
        let next = (known.handed..steps.len()).find(|step| is_for_program(&steps[*step]));
        assert_eq!(Some(step), next, "peer {peer}: the request of step {step}");
        known.handed = step + 1;
        known.seen.push(Seen::Request(path.to_owned()));
        let (request, is_upgrade) = match &steps[step] {
            Step::Request(request) => (request.clone(), None),
            Step::Upgrade { after, .. } => (upgrade_request(), Some(*after)),
            _ => unreachable!("only these steps are requests"),
        };
        if is_upgrade.is_some() {
            let behaviours = [BEHAVIOUR, SECURE_BEHAVIOUR];
            assert_eq!(handler, behaviours[app as usize], "peer {peer}: the handler of an upgrade");
        }
        assert!(self.closing[app as usize] > 0 || handler != DECLARED, "the loop answers these");
        let method = [&b"GET"[..], b"HEAD", b"POST"][request.method as usize];
        assert_eq!(block.method(), method, "peer {peer} step {step}");
        assert_eq!(flags & request_flag::HEAD != 0, request.method == Method::Head);
        let field = block.header_fields().find(|(name, _)| *name == b"x-text").map(|(_, value)| value);
        compare(
            || format!("peer {peer} step {step}: a header"),
            field.unwrap_or_default(),
            &text(Owner::Peer(peer), step, HEADER_TEXT),
        );
        let body = block.body(request_flag::BODY_LENGTH.of(flags) as usize);
        let len = body_len(request.body);
        assert_eq!(flags & request_flag::HAS_BODY != 0, len > 0 || matches!(request.body, Body::Chunks(..)));
        if !body.is_empty() {
            compare(
                || format!("peer {peer} step {step}: the body with the head"),
                body,
                &text(Owner::Peer(peer), step, len),
            );
        }
        self.next_object += 1;
        let number = self.next_object;
        let is_whole = flags & request_flag::HAS_BODY == 0 || !body.is_empty();
        let response = Response {
            id,
            number,
            app,
            exchange: request_flag::EXCHANGE.of(flags),
            peer,
            step,
            received: body.len(),
            is_whole,
            head_sent: false,
            offset: 0,
            chunks: 0,
            wants_writable: false,
            request,
        };
        let answer = response.request.answer;
        let before = self.objects.insert(id.slot, Object::Response(Box::new(response)));
        assert!(before.is_none(), "{id:?} has two objects");
        let now = oracle.now;
        if let Some(after) = is_upgrade {
            return self.later(now, after, Task::Upgrade(id.slot, number));
        }
        if answer.reads && !is_whole {
            return self.commands.push(Op::Resume, id, 0);
        }
        if let Some(after) = answer.after {
            match after {
                0 => self.go_on(oracle, id.slot),
                after => self.later(now, after, Task::Answer(id.slot, number)),
            }
        }
    }

    fn data(&mut self, oracle: &mut Oracle, id: ExchangeId, chunk: &[u8], last: bool) {
        let Some(Object::Response(response)) = self.at(id) else { return };
        let Response { peer, step, received, number, .. } = **response;
        let len = body_len(response.request.body);
        assert!(!response.is_whole, "peer {peer} step {step}: data behind the last of a body");
        assert!(received + chunk.len() <= len, "peer {peer} step {step}: too much body");
        compare(
            || format!("peer {peer} step {step}: the body from byte {received} on"),
            chunk,
            &text(Owner::Peer(peer), step, len)[received..][..chunk.len()],
        );
        response.received += chunk.len();
        response.is_whole = last;
        let taken = response.received as u32;
        let Answer { after, reads, pauses, .. } = response.request.answer;
        if last {
            assert_eq!(response.received, len, "peer {peer} step {step}: the length of the body");
            if let Some(after) = after.filter(|_| reads) {
                self.later(oracle.now, after, Task::Answer(id.slot, number));
            }
        } else if reads && pauses > 0 && received == 0 {
            self.commands.push(Op::Pause, id, taken);
            self.later(oracle.now, pauses, Task::Resume(id.slot, number));
        }
    }

    fn gone(&mut self, oracle: &mut Oracle, id: ExchangeId) {
        match self.at(id) {
            Some(Object::Response(_)) => self.end_response(id),
            Some(Object::Socket(_)) => self.end_socket(oracle, id),
            None => self.pipeline_end(id),
        }
        self.commands.push(Op::Release, id, 0);
    }

    fn end_response(&mut self, id: ExchangeId) {
        self.pipeline_end(id);
        self.objects.remove(&id.slot);
    }

    fn abort_and_close(&mut self, id: ExchangeId) {
        self.commands.push(Op::Close, id, 0);
        self.end_response(id);
    }

    /// As `end` of lib/pipeline.js.
    fn pipeline_end(&mut self, id: ExchangeId) {
        let over = self.over.entry(id.slot).or_insert(id.generation);
        if !ExchangeId::is_later(*over, id.generation) {
            *over = id.generation;
        }
        if self.lines.get(&id.slot).is_some_and(|(generation, _)| *generation == id.generation) {
            self.lines.remove(&id.slot);
        }
    }

    fn end_all(&mut self, oracle: &mut Oracle, app: u32) {
        let of_app = |line: &Line| line.1.front().is_some_and(|(header, _)| header.c == app);
        let lines = self.lines.iter().filter(|(_, line)| of_app(line));
        let lines = lines.map(|(slot, (generation, _))| (*slot, *generation));
        for (slot, generation) in lines.collect::<Vec<_>>() {
            self.pipeline_end(ExchangeId { slot, generation });
        }
        let of_app = |object: &Object| match object {
            Object::Response(response) => (response.app == app).then_some(response.id),
            Object::Socket(socket) => (socket.app == app).then_some(socket.id),
        };
        for id in self.objects.values().filter_map(of_app).collect::<Vec<_>>() {
            match self.at(id) {
                Some(Object::Response(_)) => self.end_response(id),
                Some(Object::Socket(_)) => self.end_socket(oracle, id),
                None => {}
            }
        }
    }

    // ---- tasks

    fn run(&mut self, oracle: &mut Oracle, task: Task) {
        match task {
            Task::Act(act) => self.act(oracle, act),
            Task::Answer(slot, number) => {
                if self.is_response(slot, number) {
                    self.go_on(oracle, slot);
                }
            }
            Task::Resume(slot, number) => {
                if let Some(Object::Response(response)) = self.objects.get(&slot)
                    && response.number == number
                {
                    self.commands.push(Op::Resume, response.id, 0);
                }
            }
            Task::Upgrade(slot, number) => {
                if self.is_response(slot, number) {
                    self.upgrade(oracle, slot);
                }
            }
            Task::Land(flight, is_private, answer) => self.land(flight, is_private, answer),
            Task::HandOver(slot, generation) => {
                // A request may have come meanwhile whose turn it is not: it waits in the line.
                let Some((of, line)) = self.lines.get_mut(&slot) else { return };
                if *of != generation {
                    return;
                }
                let next = line.pop_front();
                if line.is_empty() {
                    self.lines.remove(&slot);
                }
                if let Some((header, payload)) = next {
                    self.take_request(oracle, header, &payload);
                }
            }
        }
    }

    fn is_response(&self, slot: u32, number: usize) -> bool {
        matches!(self.objects.get(&slot), Some(Object::Response(response)) if response.number == number)
    }

    fn act(&mut self, oracle: &mut Oracle, act: Act) {
        match act {
            Act::Publish { topic, len, count, deflate } => {
                for _ in 0..count {
                    self.publish(oracle, None, topic, len, deflate);
                }
            }
            Act::CloseApp => {
                self.listener = None;
                self.closing[APP as usize] += 1;
                let peers = oracle.peers.iter_mut().zip(&self.script.peers);
                for (known, _) in peers.filter(|(_, peer)| peer.secure == Secure::Plain) {
                    known.may_end("the app was closed");
                }
                self.commands.push(Op::CloseApp, ExchangeId::default(), APP);
                self.flush();
                self.wait(Waits::CloseApp(self.handed_over, APP));
            }
            Act::Listen => {
                if self.listener.is_none() {
                    self.listen(APP);
                }
            }
            Act::CloseListener => {
                if self.listener.take().is_some() {
                    // Connections that the loop has not accepted are reset.
                    for known in &mut oracle.peers {
                        if known.handed == 0 && known.opened == 0 {
                            known.may_end("the listener was closed");
                        }
                    }
                    let listener = self.plain_number;
                    self.commands.push(Op::CloseListener, ExchangeId::default(), listener);
                    self.flush();
                    self.wait(Waits::Settled(self.handed_over));
                }
            }
            Act::Replace => {
                self.handler += 1;
                self.route_requests(APP);
                self.handler += 1;
                self.route_requests(SECURE_APP);
            }
            Act::Busy { ms } => self.busy_until = oracle.now + Duration::from_millis(ms.into()),
            Act::NoDescriptors { accepts } => {
                if let Some(listener) = self.listener {
                    kernel(|kernel| kernel.fail_accepts(listener, accepts));
                }
            }
            Act::Refill { batches } => self.refills = batches,
            Act::Freeze { .. } => {}
        }
    }

    /// As `Outbox::wait`.
    fn wait(&mut self, waits: Waits) {
        self.waits = Some(waits);
        self.has_waited = true;
        if self.shared.drops_stalled.suspend() {
            self.loop_woken.set(true);
        }
    }

    /// Whether it waits for the loop or has done so since the last call. Meanwhile the loop executes commands
    /// however many `Dropped` events wait.
    pub fn has_waited(&mut self) -> bool {
        std::mem::take(&mut self.has_waited) || self.waits.is_some()
    }

    /// Whether it hands over another batch as soon as the loop has taken the one before.
    pub fn refills(&self) -> bool {
        !self.is_over && self.refills > 0 && self.shared.commands.is_empty()
    }

    /// Commands for a connection that is gone, enough that the loop looks at the clock.
    fn refill(&mut self) {
        for _ in 0..70 {
            self.commands.push(Op::Resume, ExchangeId { slot: 0, generation: 0 }, 0);
        }
    }

    // ---- responses

    /// Sends the response, or as much of it as there is room for.
    fn go_on(&mut self, oracle: &mut Oracle, slot: u32) {
        let Some(Object::Response(response)) = self.objects.get_mut(&slot) else { return };
        let Response { id, peer, step, head_sent, offset, chunks, .. } = **response;
        let Answer { how, close, .. } = response.request.answer;
        let is_head = response.request.method == Method::Head;
        self.check_address(id, peer);
        if oracle.peers[peer].begun.insert(step) {
            oracle.peers[peer].sent += match how {
                How::Whole(len) | How::Try(len) | How::Cut(len) => len + 512,
                How::Chunks(count, len) => count * (len + 32) + 512,
                How::Nothing => 512,
            };
        }
        let flags = if close { respond_flag::CLOSE } else { 0 };
        let owner = Owner::Server(peer);
        match how {
            How::Whole(len) => {
                self.respond(Op::Respond, flags, id, 0, &[b"200 OK", b"X-A: b\r\n"], text(owner, step, len));
                self.done(oracle, slot, close);
            }
            How::Nothing => {
                self.respond(Op::Respond, flags, id, 0, &[b"204 No Content", b""], Vec::new());
                self.done(oracle, slot, close);
            }
            How::Chunks(count, len) => {
                for chunk in chunks..count {
                    let all = text(owner, step, count * len);
                    let body = all[chunk * len..][..len].to_vec();
                    let head: [&[u8]; 2] = if chunk == 0 { [b"200 OK", b"X-A: b\r\n"] } else { [b"", b""] };
                    self.respond(Op::Write, flags, id, 0, &head, body);
                    let (backlog, flight) = self.ledgers.backlog_and_flight(id, &self.shared.slots);
                    if (backlog > 0 || flight >= TRY_END_WINDOW) && self.want_writable(slot, chunk + 1) {
                        return;
                    }
                }
                let head: [&[u8]; 2] = if count == 0 { [b"200 OK", b"X-A: b\r\n"] } else { [b"", b""] };
                self.respond(Op::Finish, flags, id, 0, &head, Vec::new());
                self.done(oracle, slot, close);
            }
            How::Try(len) if is_head || len == 0 => {
                let flags = flags | respond_flag::REPORTED_LENGTH;
                let head: [&[u8]; 2] = [b"200 OK", b"X-A: b\r\n"];
                self.respond(Op::Respond, flags, id, len as u64, &head, Vec::new());
                self.done(oracle, slot, close);
            }
            How::Try(len) => {
                let (backlog, flight) = self.ledgers.backlog_and_flight(id, &self.shared.slots);
                let room = TRY_END_WINDOW.saturating_sub(backlog + flight).min(len - offset);
                let all = text(owner, step, len);
                let head: [&[u8]; 2] = if head_sent { [b"", b""] } else { [b"200 OK", b"X-A: b\r\n"] };
                let body = all[offset..][..room].to_vec();
                self.respond(Op::TryEnd, flags, id, len as u64, &head, body);
                let Some(Object::Response(response)) = self.objects.get_mut(&slot) else { return };
                response.offset += room;
                response.head_sent = true;
                if response.offset == len {
                    return self.done(oracle, slot, close);
                }
                self.want_writable(slot, 0);
            }
            How::Cut(len) => {
                let head: [&[u8]; 2] = [b"200 OK", b"X-A: b\r\n"];
                if len > 0 {
                    self.respond(Op::Write, flags, id, 0, &head, text(owner, step, len));
                }
                oracle.peers[peer].may_end("the program closed it");
                self.abort_and_close(id);
            }
        }
    }

    fn want_writable(&mut self, slot: u32, chunks: usize) -> bool {
        let Some(Object::Response(response)) = self.objects.get_mut(&slot) else { return false };
        (response.wants_writable, response.chunks) = (true, chunks);
        self.commands.push(Op::WantWritable, response.id, 0);
        true
    }

    fn respond(&mut self, op: Op, flags: u32, id: ExchangeId, number: u64, head: &[&[u8]; 2], body: Vec<u8>) {
        let len = body.len();
        self.push_parts(op, flags, id, number, head, body);
        self.count_sent(id, len);
    }

    /// The command alone: an answer of a cached route counts in the account of no connection.
    fn push_parts(
        &mut self,
        op: Op,
        flags: u32,
        id: ExchangeId,
        number: u64,
        head: &[&[u8]; 2],
        body: Vec<u8>,
    ) {
        let mut record = self.commands.record(op, flags, id, number as u32, (number >> 32) as u32);
        let payload = record.payload();
        let parts = begin_parts(payload);
        for (index, bytes) in head.iter().enumerate() {
            payload.extend_from_slice(bytes);
            set_part(payload, parts, index, bytes.len());
        }
        if body.len() >= OWNED_PAYLOAD {
            record.finish_owned(self.shared.blocks.copy(&body));
        } else {
            payload.extend_from_slice(&body);
            record.finish();
        }
    }

    fn done(&mut self, oracle: &mut Oracle, slot: u32, close: bool) {
        let Some(Object::Response(response)) = self.objects.remove(&slot) else { return };
        let Response { id, peer, step, .. } = *response;
        oracle.peers[peer].completed.insert(step);
        if close {
            self.pipeline_end(id);
        }
        if self.lines.get(&slot).is_some_and(|(generation, _)| *generation == id.generation) {
            self.later(oracle.now, 0, Task::HandOver(slot, id.generation));
        }
    }

    fn upgrade(&mut self, oracle: &mut Oracle, slot: u32) {
        let Some(Object::Response(response)) = self.objects.remove(&slot) else { return };
        let Response { id, app, peer, step, .. } = *response;
        let Step::Upgrade { deflate, .. } = self.script.peers[peer].steps[step] else { return };
        let extensions: &[u8] = if deflate { b"permessage-deflate" } else { b"" };
        let behaviour = if app == APP { BEHAVIOUR } else { SECURE_BEHAVIOUR };
        let mut record = self.commands.record(Op::Upgrade, 0, id, behaviour, 0);
        let payload = record.payload();
        begin_parts(payload);
        let before = payload.len();
        let parts = begin_parts(payload);
        payload.extend_from_slice(KEY);
        set_part(payload, parts, 0, KEY.len());
        payload.extend_from_slice(extensions);
        let inner = payload.len() - before;
        record.finish();
        self.count_sent(id, inner);
        oracle.peers[peer].begun.insert(step);
        oracle.peers[peer].completed.insert(step);
        if fault::is_on(Fault::BehindUpgrade) {
            self.later(oracle.now, 0, Task::HandOver(slot, id.generation));
        } else {
            self.pipeline_end(id);
        }
        self.open(oracle, id, app, peer);
    }

    // ---- WebSockets

    fn open(&mut self, oracle: &mut Oracle, id: ExchangeId, app: u32, peer: usize) {
        oracle.peers[peer].opened += 1;
        assert_eq!(oracle.peers[peer].opened, 1, "peer {peer} is opened once");
        let socket = Socket { id, app, peer, topics: Vec::new(), sent: 0, is_closing: false };
        let before = self.objects.insert(id.slot, Object::Socket(Box::new(socket)));
        assert!(before.is_none(), "{id:?} has two objects");
        self.join(id, 0);
    }

    fn message(&mut self, oracle: &mut Oracle, id: ExchangeId, payload: &[u8], binary: bool) {
        let Some(Object::Socket(socket)) = self.at(id) else { return };
        let peer = socket.peer;
        self.check_address(id, peer);
        let known = &mut oracle.peers[peer];
        let script = self.script.clone();
        let messages = script.peers[peer].steps.iter().enumerate().filter_map(|(step, each)| match each {
            Step::Message(message) => Some((step, message)),
            _ => None,
        });
        known.seen.push(Seen::message(binary, payload));
        let Some((step, message)) = messages.clone().nth(known.messages) else {
            // Nonsense may be a message, which the pure layers know.
            assert_eq!(known.may_end, Some(NONSENSE), "peer {peer}: a message more");
            return;
        };
        known.messages += 1;
        assert_eq!(binary, message.binary, "peer {peer} step {step}: the kind of the message");
        compare(
            || format!("peer {peer} step {step}: a message"),
            payload,
            &text(Owner::Peer(peer), step, message.len),
        );
        for act in &message.then {
            self.act_on(oracle, id, *act);
        }
    }

    fn act_on(&mut self, oracle: &mut Oracle, id: ExchangeId, act: Do) {
        let Some(Object::Socket(socket)) = self.at(id) else { return };
        let peer = socket.peer;
        match act {
            Do::Send { len, binary, deflate } => self.send(oracle, id, len, binary, deflate),
            Do::Fragments { count, len, deflate } => self.fragments(oracle, id, count, len, deflate),
            Do::Ping => self.ping(oracle, id),
            Do::Publish { topic, len, deflate } => self.publish(oracle, Some(id), topic, len, deflate),
            Do::Join(topic) => self.join(id, topic),
            Do::Leave(topic) => self.leave(id, topic),
            Do::End(code) => {
                oracle.peers[peer].may_end("the program ended it");
                self.commands.record(Op::End, 0, id, u32::from(code), 0).finish();
                self.end_socket(oracle, id);
            }
            Do::Close => {
                oracle.peers[peer].may_end("the program closed it");
                self.commands.push(Op::Close, id, 0);
                self.end_socket(oracle, id);
                if self.rng.chance(500) {
                    // The batch left in the middle of the handlers, and one of them sends something yet.
                    self.flush();
                    self.parting = Some(id);
                }
            }
        }
    }

    /// As `#send` of lib/websocket.js: whether the message is on its way.
    fn admit(&mut self, oracle: &mut Oracle, id: ExchangeId) -> bool {
        let limit = self.script.route.max_backpressure;
        if self.ledgers.is_uncertain(id, &self.shared.slots) {
            // JavaScript would wait for the loop here.
            return false;
        }
        let fate = self.ledgers.admit(id, limit, self.shared.budget.is_over(), &self.shared.slots);
        if fate == Fate::Dropped && self.script.route.close_on_limit {
            if let Some(Object::Socket(socket)) = self.at(id) {
                oracle.peers[socket.peer].may_end("it is over its limit");
            }
            self.commands.push(Op::Overflow, id, 0);
        }
        fate != Fate::Dropped
    }

    fn send(&mut self, oracle: &mut Oracle, id: ExchangeId, len: usize, binary: bool, deflate: bool) {
        if !self.admit(oracle, id) {
            return;
        }
        let Some(Object::Socket(socket)) = self.at(id) else { return };
        let (peer, number) = (socket.peer, socket.sent);
        socket.sent += 1;
        let flags =
            if binary { send_flag::BINARY } else { 0 } | if deflate { send_flag::COMPRESS } else { 0 };
        let kind = if binary { Kind::Binary } else { Kind::Text };
        oracle.peers[peer].expected.push_back(Expected {
            owner: Owner::Server(peer),
            number,
            len,
            kind,
            publish: None,
        });
        oracle.peers[peer].sent += len + 64;
        self.push_data(Op::Send, flags, id, 0, text(Owner::Server(peer), number, len));
        self.count_sent(id, len);
    }

    fn fragments(&mut self, oracle: &mut Oracle, id: ExchangeId, count: usize, len: usize, deflate: bool) {
        // A message of which a part is dropped is none, so a program asks first.
        if self.ledgers.tell_buffered(id, &self.shared.slots) > 0 {
            return;
        }
        let Some(Object::Socket(socket)) = self.at(id) else { return };
        let (peer, number) = (socket.peer, socket.sent);
        socket.sent += 1;
        let all = text(Owner::Server(peer), number, count * len);
        for part in 0..count {
            let flags = if part > 0 { send_flag::CONTINUATION } else { 0 }
                | if part + 1 < count { send_flag::NOT_FINAL } else { 0 }
                | if deflate { send_flag::COMPRESS } else { 0 };
            self.push_data(Op::Send, flags, id, 0, all[part * len..][..len].to_vec());
            self.count_sent(id, len);
        }
        let (owner, kind) = (Owner::Server(peer), Kind::Text);
        let expected = Expected { owner, number, len: count * len, kind, publish: None };
        oracle.peers[peer].expected.push_back(expected);
        oracle.peers[peer].sent += count * (len + 64);
    }

    fn ping(&mut self, oracle: &mut Oracle, id: ExchangeId) {
        if !self.admit(oracle, id) {
            return;
        }
        let Some(Object::Socket(socket)) = self.at(id) else { return };
        let (peer, number) = (socket.peer, socket.sent);
        socket.sent += 1;
        let (owner, kind) = (Owner::Server(peer), Kind::Ping);
        oracle.peers[peer].expected.push_back(Expected { owner, number, len: 20, kind, publish: None });
        oracle.peers[peer].sent += 64;
        self.push_data(Op::Send, send_flag::PING, id, 0, text(owner, number, 20));
        self.count_sent(id, 20);
    }

    fn count_sent(&mut self, id: ExchangeId, len: usize) {
        self.sent_on.insert(id.slot, id);
        self.ledgers.count_sent(id, len);
    }

    fn push_data(&mut self, op: Op, flags: u32, id: ExchangeId, arg: u32, data: Vec<u8>) {
        let mut record = self.commands.record(op, flags, id, arg, 0);
        if data.len() >= OWNED_PAYLOAD {
            record.finish_owned(self.shared.blocks.copy(&data));
        } else {
            record.payload().extend_from_slice(&data);
            record.finish();
        }
    }

    fn publish(
        &mut self,
        oracle: &mut Oracle,
        sender: Option<ExchangeId>,
        topic: usize,
        len: usize,
        deflate: bool,
    ) {
        let Some((number, _)) = self.topics.by_name.get(&topic).copied() else { return };
        let closes = self.script.route.close_on_limit;
        let publish = oracle.publishes;
        oracle.publishes += 1;
        for object in self.objects.values() {
            if let Object::Socket(socket) = object
                && socket.topics.contains(&topic)
                && Some(socket.id) != sender
            {
                let known = &mut oracle.peers[socket.peer];
                if closes {
                    known.may_end("it may be over its limit");
                }
                known.sent += len + 64;
                known.expected.push_back(Expected {
                    owner: Owner::Topic(topic),
                    number: publish,
                    len,
                    kind: Kind::Text,
                    publish: Some(publish),
                });
            }
        }
        let flags = if deflate { send_flag::COMPRESS } else { 0 };
        let id = sender.unwrap_or(ExchangeId { slot: NOBODY, generation: 0 });
        self.push_data(Op::Publish, flags, id, number, text(Owner::Topic(topic), publish, len));
    }

    fn told_dropped(&mut self, oracle: &mut Oracle, id: ExchangeId, payload: &[u8], binary: bool) {
        let Some(Object::Socket(socket)) = self.at(id) else { return };
        assert!(!binary, "no publish is binary");
        let peer = socket.peer;
        let number =
            |range| std::str::from_utf8(&payload[range]).ok().map(|hex| usize::from_str_radix(hex, 16));
        let Some(Ok(publish)) = number(7..12) else { panic!("a drop of nothing that was published") };
        assert!(oracle.peers[peer].dropped.insert(publish), "peer {peer}: publish {publish} dropped twice");
    }

    fn join(&mut self, id: ExchangeId, topic: usize) {
        let Some(Object::Socket(socket)) = self.objects.get_mut(&id.slot) else { return };
        if socket.is_closing || socket.topics.contains(&topic) {
            return;
        }
        socket.topics.push(topic);
        let number = self.topics.join(topic);
        self.commands.push(Op::Subscribe, id, number);
    }

    fn leave(&mut self, id: ExchangeId, topic: usize) {
        let Some(Object::Socket(socket)) = self.objects.get_mut(&id.slot) else { return };
        let Some(at) = socket.topics.iter().position(|each| *each == topic) else { return };
        socket.topics.remove(at);
        let Some((number, _)) = self.topics.by_name.get(&topic).copied() else { return };
        self.commands.push(Op::Unsubscribe, id, number);
        self.topics.leave(topic);
    }

    /// As `over` of lib/websocket.js: the `subscription` handlers, which may unsubscribe and send, then
    /// `close`.
    fn end_socket(&mut self, oracle: &mut Oracle, id: ExchangeId) {
        let Some(Object::Socket(socket)) = self.at(id) else { return };
        socket.is_closing = true;
        let (peer, all) = (socket.peer, socket.topics.clone());
        if !all.is_empty() {
            self.commands.push(Op::LeaveTopics, id, 0);
        }
        for topic in all {
            let Some(Object::Socket(socket)) = self.at(id) else { return };
            let was = socket.topics.contains(&topic);
            socket.topics.retain(|each| *each != topic);
            if !was && !fault::is_on(Fault::DoubleLeave) {
                continue;
            }
            let other = socket.topics.last().copied();
            self.topics.leave(topic);
            if let Some(other) = other.filter(|_| self.rng.chance(500)) {
                self.leave(id, other);
            }
            if self.rng.chance(200) {
                // It may still reach a peer that has not been cut off, and counts as sent in any case.
                oracle.peers[peer].may_end("it has ended");
                self.send(oracle, id, 30, false, false);
            }
        }
        self.close_handler(oracle);
        self.objects.remove(&id.slot);
        oracle.peers[peer].closed += 1;
        assert_eq!(oracle.peers[peer].closed, 1, "peer {peer} is closed once");
    }

    /// A `close` handler may do anything with other sockets.
    fn close_handler(&mut self, oracle: &mut Oracle) {
        if !self.rng.chance(300) {
            return;
        }
        let open = |object: &Object| match object {
            Object::Socket(socket) if !socket.is_closing => Some(socket.id),
            _ => None,
        };
        let open: Vec<_> = self.objects.values().filter_map(open).collect();
        if !open.is_empty() {
            let topic = self.rng.below(6);
            let id = self.rng.pick(&open);
            self.join(id, topic);
            self.publish(oracle, None, topic, 50, false);
        }
    }

    // ---- the end of a run

    /// The environment ends: no code of the program runs any more, and nobody listens.
    pub fn end(&mut self) {
        self.is_over = true;
        (self.listener, self.secure_listener) = (None, None);
        self.objects.clear();
        // All that the session has of the loop, with what is on its way.
        self.commands = CommandBatch::default();
        (self.batch, self.dropped) = (EventBatch::default(), EventBatch::default());
        self.shared = Arc::default();
    }

    /// Objects that have not ended, and what else is left.
    pub fn left(&self) -> Vec<String> {
        let name = |object: &Object| match object {
            Object::Response(response) => {
                format!("the response of peer {} step {}", response.peer, response.step)
            }
            Object::Socket(socket) => format!("the WebSocket of peer {}", socket.peer),
        };
        let mut left: Vec<_> = self.objects.values().map(name).collect();
        left.extend(self.lines.keys().map(|slot| format!("requests that wait in slot {slot}")));
        left.extend(self.topics.by_name.iter().map(|(name, (number, count))| {
            format!("topic {name} (number {number}) with {count} subscribers")
        }));
        left
    }

    /// The program gives up what it has never answered, at the end of a run: a body that it has paused hides
    /// the peer's end from it.
    pub fn give_up(&mut self, oracle: &mut Oracle) {
        let paused = |object: &Object| match object {
            Object::Response(response) => (!response.is_whole).then_some((response.id, response.peer)),
            Object::Socket(_) => None,
        };
        for (id, peer) in self.objects.values().filter_map(paused).collect::<Vec<_>>() {
            oracle.peers[peer].may_end("the program gave up");
            self.abort_and_close(id);
        }
        self.tasks.clear();
    }

    /// Panics unless the loop has acknowledged all that was sent on this connection.
    pub fn check_settled(&mut self, id: ExchangeId) {
        let (backlog, flight) = self.ledgers.backlog_and_flight(id, &self.shared.slots);
        assert_eq!((backlog, flight), (0, 0), "backlog and flight of {id:?} at rest");
    }

    /// Panics if one of the accounts does not balance.
    pub fn check(&mut self, is_over: bool) {
        #[cfg(debug_assertions)]
        self.ledgers.check_all(&self.shared.slots);
        for id in self.sent_on.clone().into_values() {
            let has_slot = self.shared.slots.get(id.slot).account(id.generation).is_some();
            let is_open = self.at(id).is_some();
            if has_slot && !is_open && is_over {
                self.check_settled(id);
            }
        }
    }
}

/// Bytes of the header that each request has.
pub const HEADER_TEXT: usize = 40;
pub const KEY: &[u8] = b"dGhlIHNhbXBsZSBub25jZQ==";

pub fn body_len(body: Body) -> usize {
    match body {
        Body::None => 0,
        Body::Length(len) | Body::Chunks(len, _) => len,
    }
}

/// An upgrade as a request.
fn upgrade_request() -> Request {
    Request {
        method: Method::Get,
        http_1_0: false,
        close: false,
        body: Body::None,
        expect: false,
        target: Target::Program,
        answer: Answer { after: None, how: How::Nothing, reads: false, pauses: 0, close: false },
    }
}

/// Few keys, so that requests of many peers are for the same.
pub fn cached_target(peer: usize, step: usize) -> String {
    format!("/cached/{}", (peer + step) % 6)
}

fn is_private(target: &str) -> bool {
    target.ends_with(['1', '3', '5'])
}

/// The answer of the cached route to a request with this field, which says whose it is.
pub fn cached_answer(target: &str, field: &[u8]) -> Vec<u8> {
    match is_private(target) {
        true => [b"for one: ", field].concat(),
        false => format!("for all: {target} {}", "x".repeat(target.len() * 1_000)).into_bytes(),
    }
}

/// The number of the peer in a text of its own.
fn cached_peer(field: &[u8]) -> Option<usize> {
    usize::from_str_radix(std::str::from_utf8(field.get(1..6)?).ok()?, 16).ok()
}

/// The answer of the declared route to a request with this body.
pub fn declared_answer(body: &[u8]) -> Vec<u8> {
    let mut answer = b"declared ".to_vec();
    answer.extend_from_slice(body);
    answer
}
