//! A peer: it sends what its script says, in pieces, and compares all that it receives with what it must be.

use super::javascript::{HEADER_TEXT, KEY, body_len, cached_answer, cached_target, declared_answer};
use super::oracle::{Expected, Kind, NONSENSE, Oracle};
use super::rng::Rng;
use super::script::{Body, How, Message, Method, Peer, Reads, Request, Script, Secure, Step, System, Target};
use super::secure::Session;
use super::text::{Owner, compare, shown, text};
use super::uncut::{Seen, uncut};
use crate::event_loop::net::simulated::{Received, kernel};
use crate::protocol::deflate::{Deflater, Inflater, SharedDeflater, SharedInflater};
use crate::protocol::http::response::is_bodiless;
use crate::protocol::websocket::frame::{self, Control, Data, OpCode};
use crate::protocol::websocket::handshake::{Compressor, Decompressor, accept_key};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

/// How often a peer looks whether it has been answered.
const LOOK: Duration = Duration::from_millis(50);
/// How long a peer waits for an answer that may never come.
const PATIENCE: Duration = Duration::from_secs(40);
/// The mask of all frames.
const MASK: [u8; 4] = [0x5a, 0xa5, 0x3c, 0xc3];

pub struct Client {
    pub number: usize,
    script: Rc<Script>,
    rng: Rng,
    socket: Option<u32>,
    step: usize,
    /// Bytes to be sent.
    out: VecDeque<u8>,
    /// Received and not understood yet.
    received: Vec<u8>,
    /// Requests without a response, by their steps.
    outstanding: VecDeque<usize>,
    /// Steps whose responses have been received.
    completed: usize,
    /// The body that waits for `100 Continue`.
    held_body: Option<(usize, Vec<u8>)>,
    web: Option<Web>,
    waits_until: Option<Duration>,
    next_read: Duration,
    next_send: Duration,
    last_sent: Duration,
    /// The longest time between two sends.
    longest_silence: Duration,
    ended_sending: bool,
    /// The end follows what is to be sent.
    ends_next: bool,
    session: Option<Session>,
    /// Records to be sent, or plain bytes.
    wire: VecDeque<u8>,
    wire_has_content: bool,
    /// All plain bytes that were sent.
    content: Vec<u8>,
    pub is_over: bool,
    /// A reset has been seen, or an end.
    pub end_seen: bool,
    final_seen: bool,
    /// The response that ends the connection has been seen.
    closes: bool,
    /// Nonsense has been answered; nothing behind that answer means anything.
    refused: bool,
}

#[derive(Default)]
struct Web {
    deflate: Option<Codec>,
    /// Pings that were not answered yet, by their numbers.
    pings: VecDeque<Vec<u8>>,
    fragments: Vec<u8>,
    /// Opcode and RSV1 of the message whose fragments are received.
    open: Option<(Data, bool)>,
    close_received: Option<u16>,
    close_sent: bool,
    messages: usize,
}

struct Codec {
    inflater: Inflater,
    shared: SharedInflater,
    deflater: Deflater,
    shared_deflater: SharedDeflater,
}

/// When a client wants to go on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Next {
    Now,
    At(Duration),
    /// When its socket has news.
    News,
    Over,
}

impl Client {
    pub fn new(number: usize, script: Rc<Script>, rng: Rng) -> Self {
        Client {
            number,
            script,
            rng,
            socket: None,
            step: 0,
            out: VecDeque::new(),
            received: Vec::new(),
            outstanding: VecDeque::new(),
            completed: 0,
            held_body: None,
            web: None,
            waits_until: None,
            next_read: Duration::ZERO,
            next_send: Duration::ZERO,
            last_sent: Duration::ZERO,
            longest_silence: Duration::ZERO,
            ended_sending: false,
            ends_next: false,
            session: None,
            wire: VecDeque::new(),
            wire_has_content: false,
            content: Vec::new(),
            is_over: false,
            end_seen: false,
            final_seen: false,
            closes: false,
            refused: false,
        }
    }

    fn peer(&self) -> &Peer {
        &self.script.peers[self.number]
    }

    fn fail(&self, what: impl AsRef<str>) -> ! {
        panic!("peer {}: {}", self.number, what.as_ref())
    }

    pub fn connect(&mut self, oracle: &mut Oracle, listener: Option<u32>) -> Option<u32> {
        let address = ([127, 0, 0, 1], self.number as u16).into();
        let (server_room, client_room) = self.peer().rooms;
        self.last_sent = oracle.loop_time();
        self.socket = listener.and_then(|listener| {
            kernel(|kernel| kernel.connect(listener, Some(address), server_room, client_room))
        });
        self.is_over = self.socket.is_none();
        self.session = match self.peer().secure {
            Secure::Plain => None,
            version => Some(Session::new(version == Secure::Tls12)),
        };
        self.socket
    }

    /// Does a little; returns when it wants to go on.
    pub fn turn(&mut self, oracle: &mut Oracle) -> Next {
        let Some(socket) = self.socket.filter(|_| !self.is_over) else { return Next::Over };
        let mut next = self.read(oracle, socket);
        if self.is_over {
            return Next::Over;
        }
        let sends = self.send(oracle, socket);
        next = earlier(next, sends);
        if self.is_over { Next::Over } else { next }
    }

    // ---- sending

    fn send(&mut self, oracle: &mut Oracle, socket: u32) -> Next {
        if self.end_seen {
            return Next::News;
        }
        let now = oracle.now;
        if now < self.next_send {
            return Next::At(self.next_send);
        }
        while self.wire.is_empty() {
            self.encrypt();
            if !self.wire.is_empty() {
                break;
            }
            if std::mem::take(&mut self.ends_next) {
                kernel(|kernel| kernel.client_ends(socket));
            }
            if !self.out.is_empty() {
                // The handshake comes first.
                return Next::News;
            }
            if let Some(until) = self.waits_until {
                let is_awaiting = self.is_awaiting();
                if now < until && !(is_awaiting && self.is_answered(oracle)) {
                    // Nobody tells it that the program has handled its messages, so it looks now and then.
                    return Next::At(if is_awaiting { until.min(now + LOOK) } else { until });
                }
                self.waits_until = None;
                self.step += 1;
                continue;
            }
            let script = self.script.clone();
            let Some(step) = script.peers[self.number].steps.get(self.step) else { return Next::News };
            if self.held_body.is_some() {
                // The answer to `Expect` comes first.
                return Next::News;
            }
            self.begin(oracle, socket, step);
            if self.is_over {
                return Next::Over;
            }
        }
        let cut = self.peer().cut.max(1);
        let piece = self.rng.within(1..cut.min(self.wire.len()).max(1) + 1);
        let (front, _) = self.wire.as_slices();
        let bytes = &front[..piece.min(front.len())];
        let Some(taken) = kernel(|kernel| kernel.client_sends(socket, bytes)) else {
            self.out.clear();
            self.wire.clear();
            return Next::Now;
        };
        if self.session.is_none() {
            self.content.extend_from_slice(&front[..taken]);
        }
        self.wire.drain(..taken);
        if taken == 0 {
            return Next::News;
        }
        // Records of TLS itself, as new keys, are no sign of life.
        if self.wire_has_content {
            let now = oracle.loop_time();
            self.longest_silence = self.longest_silence.max(now.saturating_sub(self.last_sent));
            self.last_sent = now;
        }
        let pause = Duration::from_micros(self.peer().pause_us.into());
        if pause.is_zero() {
            return Next::Now;
        }
        self.next_send = now + pause;
        Next::At(self.next_send)
    }

    /// Moves the bytes to be sent to the wire, over TLS in a record or two.
    fn encrypt(&mut self) {
        self.wire_has_content = true;
        let Some(session) = &mut self.session else { return self.wire.append(&mut self.out) };
        session.take_records(&mut self.wire);
        self.wire_has_content = self.wire.is_empty() || !session.is_established();
        if self.wire.is_empty() && session.is_established() && !self.out.is_empty() {
            let (front, _) = self.out.as_slices();
            let piece = self.rng.within(1..front.len().min(20_000) + 1);
            session.send(&front[..piece]);
            self.content.extend_from_slice(&front[..piece]);
            self.out.drain(..piece);
            session.take_records(&mut self.wire);
        }
    }

    fn is_awaiting(&self) -> bool {
        matches!(self.peer().steps.get(self.step), Some(Step::Await))
    }

    /// Whether all requests and messages so far have been answered.
    fn is_answered(&self, oracle: &Oracle) -> bool {
        let known = &oracle.peers[self.number];
        let messages = self.web.as_ref().map_or(0, |web| web.messages);
        self.outstanding.is_empty() && known.expected.is_empty() && known.messages == messages
    }

    fn begin(&mut self, oracle: &mut Oracle, socket: u32, step: &Step) {
        let index = self.step;
        match step {
            // A script without its upgrade.
            Step::Message(_) | Step::Pings { .. } | Step::Close { .. } if self.web.is_none() => {}
            // Frames are expected there, and these are none.
            Step::Request(request) if self.web.is_some() => {
                oracle.peers[self.number].may_end("a request behind an upgrade");
                self.begin_request(oracle, index, request);
                self.outstanding.pop_back();
            }
            Step::Request(request) => self.begin_request(oracle, index, request),
            Step::Upgrade { deflate, .. } => {
                let extensions =
                    if *deflate { "Sec-WebSocket-Extensions: permessage-deflate\r\n" } else { "" };
                let head = format!(
                    "GET /ws/{}/{index} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{extensions}X-Text: {}\r\n\
                     Sec-WebSocket-Key: {}\r\nSec-WebSocket-Version: 13\r\n\r\n",
                    self.number,
                    String::from_utf8_lossy(&text(Owner::Peer(self.number), index, HEADER_TEXT)),
                    String::from_utf8_lossy(KEY),
                );
                self.outstanding.push_back(index);
                self.web = Some(Web::default());
                self.out.extend(head.as_bytes());
            }
            Step::Message(message) => self.begin_message(index, message),
            Step::Pings { count, len } => {
                let number = self.web.as_ref().map_or(0, |web| web.pings.len());
                for ping in 0..*count {
                    let payload = text(Owner::Peer(self.number), index * 1000 + ping + number, *len);
                    self.frame(OpCode::Control(Control::Ping), true, false, &payload);
                    if let Some(web) = &mut self.web {
                        web.pings.push_back(payload);
                    }
                }
            }
            Step::Close { code } => {
                let mut payload = Vec::new();
                payload.extend_from_slice(&code.to_be_bytes());
                self.frame(OpCode::Control(Control::Close), true, false, &payload);
                oracle.peers[self.number].may_end("the peer has sent a close frame");
                if let Some(web) = &mut self.web {
                    web.close_sent = true;
                }
            }
            Step::Raw(bytes) => {
                oracle.peers[self.number].may_end(NONSENSE);
                self.out.extend(bytes);
            }
            Step::End => {
                if let Some(session) = self.session.as_mut().filter(|session| session.is_established()) {
                    session.end();
                }
                oracle.peers[self.number].may_end("the peer has ended");
                self.ended_sending = true;
                self.ends_next = true;
            }
            Step::Reset => {
                kernel(|kernel| kernel.client_resets(socket));
                self.is_over = true;
            }
            Step::Wait { ms } => {
                self.waits_until = Some(oracle.now + Duration::from_millis((*ms).into()));
                return;
            }
            Step::Await => {
                self.waits_until = Some(oracle.now + PATIENCE);
                return;
            }
            Step::KeyUpdate => {
                if let Some(session) = self.session.as_mut().filter(|session| session.is_established()) {
                    session.update_keys();
                }
            }
        }
        self.step += 1;
    }

    fn begin_request(&mut self, oracle: &mut Oracle, index: usize, request: &Request) {
        let method = ["GET", "HEAD", "POST"][request.method as usize];
        let version = if request.http_1_0 { "1.0" } else { "1.1" };
        let target = match request.target {
            Target::Program => format!("/r/{}/{index}", self.number),
            Target::Declared => format!("/declared/{}/{index}", self.number),
            Target::Cached => cached_target(self.number, index),
            Target::Nowhere => format!("/nowhere/{}/{index}", self.number),
        };
        let len = body_len(request.body);
        let mut head = format!(
            "{method} {target} HTTP/{version}\r\nHost: a\r\nX-Text: {}\r\n",
            String::from_utf8_lossy(&text(Owner::Peer(self.number), index, HEADER_TEXT)),
        );
        if request.close {
            head.push_str("Connection: close\r\n");
        }
        if request.expect {
            head.push_str("Expect: 100-continue\r\n");
        }
        match request.body {
            Body::None => {}
            Body::Length(len) => head.push_str(&format!("Content-Length: {len}\r\n")),
            Body::Chunks(..) => head.push_str("Transfer-Encoding: chunked\r\n"),
        }
        head.push_str("\r\n");
        self.out.extend(head.as_bytes());
        self.outstanding.push_back(index);
        let content = text(Owner::Peer(self.number), index, len);
        let body = match request.body {
            Body::None => Vec::new(),
            Body::Length(_) => content,
            Body::Chunks(_, chunk) => chunked(&content, chunk.max(1)),
        };
        if request.expect {
            self.held_body = Some((index, body));
        } else {
            self.out.extend(body);
        }
        let known = &mut oracle.peers[self.number];
        known.sent += 1024 + if request.target == Target::Declared { len } else { 0 };
    }

    fn begin_message(&mut self, index: usize, message: &Message) {
        let content = text(Owner::Peer(self.number), index, message.len);
        let Some(web) = &mut self.web else { return };
        web.messages += 1;
        let (mut payload, mut rsv1) = (content, false);
        if message.deflated
            && let Some(codec) = &mut web.deflate
            && !payload.is_empty()
        {
            let mut out = Vec::new();
            codec.deflater.deflate_part(&mut codec.shared_deflater, &payload, true, &mut out);
            (payload, rsv1) = (out, true);
        }
        let frames = message.frames.clamp(1, payload.len().max(1));
        let each = payload.len().div_ceil(frames).max(1);
        let mut pieces: Vec<&[u8]> = payload.chunks(each).collect();
        if pieces.is_empty() {
            pieces.push(&[]);
        }
        let count = pieces.len();
        for (part, piece) in pieces.into_iter().enumerate() {
            let kind = match (part, message.binary) {
                (0, true) => Data::Binary,
                (0, false) => Data::Text,
                _ => Data::Continue,
            };
            self.frame(OpCode::Data(kind), part + 1 == count, rsv1 && part == 0, piece);
            if part + 1 < count {
                let ping = text(Owner::Peer(self.number), 0x80000 + index * 100 + part, 20);
                self.frame(OpCode::Control(Control::Ping), true, false, &ping);
                if let Some(web) = &mut self.web {
                    web.pings.push_back(ping);
                }
            }
        }
    }

    fn frame(&mut self, opcode: OpCode, fin: bool, rsv1: bool, payload: &[u8]) {
        let mut header = Vec::new();
        frame::write_header(&mut header, opcode, fin, rsv1, payload.len());
        header[1] |= 0x80;
        header.extend_from_slice(&MASK);
        self.out.extend(header);
        let mut masked = payload.to_vec();
        frame::unmask(&mut masked, MASK, 0);
        self.out.extend(masked);
    }

    // ---- receiving

    fn read(&mut self, oracle: &mut Oracle, socket: u32) -> Next {
        let now = oracle.now;
        let (most, then) = match self.peer().reads {
            _ if self.end_seen => return Next::News,
            Reads::Always => (self.rng.within(1..40_000), None),
            Reads::Slowly(bytes, ms) if now >= self.next_read => (bytes, Some(ms)),
            Reads::Slowly(..) => return Next::At(self.next_read),
            Reads::Never => return Next::News,
        };
        let answer = self.receive(oracle, socket, most);
        match answer {
            Received::Bytes(_) => {
                self.understand(oracle);
                match then {
                    Some(ms) => {
                        self.next_read = now + Duration::from_millis(ms.into());
                        Next::At(self.next_read)
                    }
                    None => Next::Now,
                }
            }
            Received::Nothing => Next::News,
            Received::End => {
                self.end_seen = true;
                // One that the kernel does not take at once is not sent again.
                let System { interrupted, short, .. } = self.script.system;
                let takes = interrupted == 0 && short == 0 && self.peer().reads == Reads::Always;
                let is_cut = takes && self.session.as_ref().is_some_and(|session| !session.has_ended);
                if is_cut && oracle.peers[self.number].may_end.is_none() && self.outstanding.is_empty() {
                    self.fail("the session ended without a close_notify");
                }
                self.ended(oracle, socket);
                kernel(|kernel| kernel.client_closes(socket));
                self.is_over = true;
                Next::Over
            }
            Received::Reset => {
                self.end_seen = true;
                let lost = kernel(|kernel| kernel.lost(socket));
                let promptly = self.peer().reads == Reads::Always;
                if lost > 0 && promptly && oracle.peers[self.number].may_end.is_none() {
                    self.fail(format!("a reset took {lost} bytes of a response"));
                }
                self.ended(oracle, socket);
                kernel(|kernel| kernel.client_closes(socket));
                self.is_over = true;
                Next::Over
            }
        }
    }

    fn receive(&mut self, oracle: &mut Oracle, socket: u32, most: usize) -> Received {
        let Some(session) = &mut self.session else {
            return kernel(|kernel| kernel.client_receives(socket, most, &mut self.received));
        };
        let mut records = Vec::new();
        let answer = kernel(|kernel| kernel.client_receives(socket, most, &mut records));
        if let Err(error) = session.receive(&records, &mut self.received) {
            let may = oracle.peers[self.number].may_end;
            if may != Some(NONSENSE) {
                self.fail(format!("TLS: {error}"));
            }
            self.refused = true;
        }
        answer
    }

    fn understand(&mut self, oracle: &mut Oracle) {
        let mut received = std::mem::take(&mut self.received);
        let mut used = 0;
        loop {
            let rest = &received[used..];
            let is_web = self.web.is_some() && self.outstanding.is_empty();
            let n = if is_web { self.frame_received(oracle, rest) } else { self.response(oracle, rest) };
            if n == 0 {
                break;
            }
            used += n;
        }
        received.drain(..used);
        self.received = received;
    }

    /// A whole response; returns its length, or 0 while it is incomplete.
    fn response(&mut self, oracle: &mut Oracle, bytes: &[u8]) -> usize {
        if bytes.is_empty() {
            return 0;
        }
        if self.refused {
            return bytes.len();
        }
        if self.closes {
            self.fail(format!("bytes behind the last response: {}", shown(bytes)));
        }
        let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else { return 0 };
        let head = Head::of(&bytes[..end + 4]);
        let body = &bytes[end + 4..];
        if head.status == 100 {
            match self.held_body.take() {
                Some((_, body)) => self.out.extend(body),
                None => self.fail("100 Continue that it has not asked for"),
            }
            return end + 4;
        }
        let Some(step) = self.outstanding.front().copied() else {
            if head.status >= 400 && oracle.peers[self.number].may_end.is_some() {
                self.refused = true;
                return bytes.len();
            }
            self.fail(format!("a response to nothing: {}", shown(bytes)))
        };
        let script = self.script.clone();
        match &script.peers[self.number].steps[step] {
            Step::Request(request) => self.response_to(oracle, step, request, &head, end + 4, body),
            Step::Upgrade { deflate, .. } => {
                if head.status != 101 {
                    if oracle.peers[self.number].may_end.is_none() {
                        self.fail(format!("an upgrade is answered with {}", shown(bytes)));
                    }
                    self.refused = true;
                    return bytes.len();
                }
                let accept = head.field("sec-websocket-accept").unwrap_or_default();
                assert_eq!(accept, accept_key(KEY), "peer {}: the accept key", self.number);
                let agreed = head.field("sec-websocket-extensions");
                if agreed.is_some() && !deflate {
                    self.fail("an extension that it has not offered");
                }
                if let (Some(web), Some(agreed)) = (&mut self.web, agreed) {
                    web.deflate = Some(Codec::of(&agreed));
                }
                self.outstanding.pop_front();
                self.completed += 1;
                end + 4
            }
            _ => self.fail("an answer to no request"),
        }
    }

    fn response_to(
        &mut self,
        oracle: &mut Oracle,
        step: usize,
        request: &Request,
        head: &Head,
        start: usize,
        body: &[u8],
    ) -> usize {
        let number = self.number;
        let known = &mut oracle.peers[number];
        let is_unanswered = request.target == Target::Cached && matches!(head.status, 500 | 502 | 504);
        if head.status >= 400 && head.status != 404 && !is_unanswered {
            // The loop refuses nonsense.
            if known.may_end.is_none() {
                self.fail(format!("step {step} is answered with {}", head.status));
            }
            self.refused = true;
            return start + body.len();
        }
        let sent = text(Owner::Peer(number), step, body_len(request.body));
        let owner = Owner::Server(number);
        let (status, expected) = match (request.target, request.answer.how) {
            (Target::Nowhere, _) => (404, None),
            (Target::Declared, _) => (200, Some(declared_answer(&sent))),
            (Target::Cached, _) if request.method == Method::Post => (404, None),
            (Target::Cached, _) if is_unanswered => (head.status, None),
            (Target::Cached, _) => {
                let field = text(Owner::Peer(number), step, HEADER_TEXT);
                (200, Some(cached_answer(&cached_target(number, step), &field)))
            }
            (Target::Program, how) => {
                if !known.begun.contains(&step) {
                    self.fail(format!("a response to step {step}, which the program has not answered"));
                }
                match how {
                    How::Whole(len) | How::Try(len) | How::Cut(len) => (200, Some(text(owner, step, len))),
                    How::Chunks(count, len) => (200, Some(text(owner, step, count * len))),
                    How::Nothing => (204, Some(Vec::new())),
                }
            }
        };
        assert_eq!(head.status, status, "peer {number} step {step}: the status of the response");
        let is_bodiless = request.method == Method::Head || is_bodiless(head.status.to_string().as_bytes());
        let (content, used, is_whole) = head.content(body, is_bodiless, self.end_seen);
        let cut = matches!(request.answer.how, How::Cut(_)) && request.target == Target::Program
            || head.is_until_close() && oracle.peers[number].may_end.is_some();
        if let Some(expected) = expected.filter(|_| !is_bodiless) {
            let compared =
                if is_whole && !cut { &expected[..] } else { &expected[..content.len().min(expected.len())] };
            compare(|| format!("peer {number} step {step}: the response"), &content, compared);
        }
        if !is_whole {
            return 0;
        }
        if self.held_body.as_ref().is_some_and(|(of, _)| *of == step) {
            // A final response instead of 100: RFC 9110 §10.1.1 leaves it to the client whether to send the
            // body. This one does not, and goes on with its next request.
            self.held_body = None;
        }
        self.outstanding.pop_front();
        self.completed += 1;
        self.closes = head.closes(request.http_1_0);
        let should_close = request.close || request.answer.close && request.target == Target::Program;
        if should_close && !self.closes && !request.close {
            self.fail(format!("the response to step {step} does not say that it is the last"));
        }
        self.closes |= request.close;
        if self.closes {
            // Requests behind it are not answered.
            oracle.peers[number].may_end("the response was the last");
        }
        start + used
    }

    /// A whole frame; returns its length, or 0 while it is incomplete.
    fn frame_received(&mut self, oracle: &mut Oracle, bytes: &[u8]) -> usize {
        let [first, second, rest @ ..] = bytes else { return 0 };
        assert_eq!(second & 0x80, 0, "peer {}: a masked frame", self.number);
        let (len, extended) = match second {
            126 if rest.len() >= 2 => (usize::from(u16::from_be_bytes([rest[0], rest[1]])), 2),
            127 if rest.len() >= 8 => {
                (u64::from_be_bytes(rest[..8].try_into().expect("8 bytes")) as usize, 8)
            }
            126 | 127 => return 0,
            len => (usize::from(*len), 0),
        };
        let start = 2 + extended;
        if len > 1 << 24 {
            self.fail(format!("a frame of {len} bytes: {}", shown(bytes)));
        }
        let Some(payload) = bytes.get(start..start + len) else { return 0 };
        let (fin, rsv1) = (first & 0x80 != 0, first & 0x40 != 0);
        let opcode = OpCode::from(first & 0x0f);
        if first & 0x30 != 0 {
            self.fail(format!("reserved bits: {}", shown(bytes)));
        }
        let Some(web) = &mut self.web else { return 0 };
        if web.close_received.is_some() {
            self.fail(format!("a frame behind the close frame: {}", shown(bytes)));
        }
        match opcode {
            OpCode::Data(kind) => {
                match (kind, web.open) {
                    (Data::Continue, Some(_)) => {}
                    (Data::Text | Data::Binary, None) => web.open = Some((kind, rsv1)),
                    _ => self.fail(format!("a fragment out of place: {}", shown(bytes))),
                }
                if rsv1 && kind == Data::Continue {
                    self.fail("RSV1 on a continuation");
                }
                let Some(web) = &mut self.web else { return 0 };
                web.fragments.extend_from_slice(payload);
                if fin && let Some((kind, deflated)) = web.open.take() {
                    let message = std::mem::take(&mut web.fragments);
                    self.message_received(oracle, kind, deflated, message);
                }
            }
            OpCode::Control(Control::Ping) => {
                if !payload.is_empty() {
                    self.take_expected(oracle, Kind::Ping, payload);
                }
                if !self.ended_sending {
                    let payload = payload.to_vec();
                    self.frame(OpCode::Control(Control::Pong), true, false, &payload);
                }
            }
            OpCode::Control(Control::Pong) if oracle.peers[self.number].may_end == Some(NONSENSE) => {}
            OpCode::Control(Control::Pong) => {
                let Some(at) = web.pings.iter().position(|ping| ping == payload) else {
                    self.fail(format!("a pong to nothing: {}", shown(payload)))
                };
                web.pings.drain(..=at);
            }
            OpCode::Control(Control::Close) => {
                let code = payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
                web.close_received = Some(code);
                if oracle.peers[self.number].may_end.is_none() {
                    self.fail(format!("closed with {code} for no reason: {}", shown(payload)));
                }
            }
            OpCode::Control(_) => self.fail(format!("a frame of a reserved kind: {}", shown(bytes))),
        }
        start + len
    }

    fn message_received(&mut self, oracle: &mut Oracle, kind: Data, deflated: bool, payload: Vec<u8>) {
        let mut message = payload;
        if deflated {
            let number = self.number;
            let Some(codec) = self.web.as_mut().and_then(|web| web.deflate.as_mut()) else {
                self.fail("a deflated message without the extension")
            };
            let mut inflated = Vec::new();
            let done = codec.inflater.inflate(&mut codec.shared, &message, 1 << 24, &mut inflated);
            assert!(done.is_ok(), "peer {number}: a message that cannot be inflated: {}", shown(&message));
            message = inflated;
        }
        oracle.delivered += 1;
        let kind = if kind == Data::Binary { Kind::Binary } else { Kind::Text };
        self.take_expected(oracle, kind, &message);
    }

    /// The message must be the next one, apart from publishes that were dropped.
    fn take_expected(&mut self, oracle: &mut Oracle, kind: Kind, payload: &[u8]) {
        let known = &mut oracle.peers[self.number];
        let mut skipped = Vec::new();
        while let Some(next) = known.expected.pop_front() {
            let Expected { owner, number, len, publish, .. } = next;
            if next.kind == kind && len == payload.len() && payload == &text(owner, number, len)[..] {
                if let Some(publish) = publish {
                    assert!(
                        !known.dropped.contains(&publish),
                        "peer {}: a publish that was dropped",
                        self.number
                    );
                }
                known.skipped.extend(skipped);
                return;
            }
            let Some(publish) = publish else {
                self.fail(format!("{kind:?} {} instead of {next:?}", shown(payload)))
            };
            skipped.push(publish);
        }
        self.fail(format!("{kind:?} {}, which nobody has sent to it (skipped {skipped:?})", shown(payload)));
    }

    // ---- the end

    /// The server has ended the connection.
    fn ended(&mut self, oracle: &mut Oracle, _socket: u32) {
        if !self.received.is_empty() {
            self.understand(oracle);
        }
        if let Some(_why) = oracle.peers[self.number].may_end {
            return self.check_promised(oracle);
        }
        // The end may have been on its way when it sent something again.
        let silence = oracle.loop_time().saturating_sub(self.last_sent).max(self.longest_silence);
        let (idle, response) = self.script.timeouts;
        // It may have become a WebSocket while earlier responses are still on their way.
        let web = self.web.is_some() && (self.outstanding.is_empty() || oracle.peers[self.number].opened > 0);
        let limit = if web { self.script.route.idle_timeout } else { idle.min(response) };
        let limit = if limit == 0 { Duration::MAX } else { Duration::from_secs(limit.into()) };
        // A late turn counts less than two of the loop's ticks.
        if silence + Duration::from_secs(2 * oracle.freezes as u64) >= limit {
            if web {
                // Messages may have been sent after the loop closed it, before the program knew.
                oracle.peers[self.number].may_end("it was silent");
            }
            return self.check_promised(oracle);
        }
        self.fail(format!(
            "the connection ended for no reason, {silence:?} without a byte from it; unanswered: {:?}",
            self.outstanding
        ));
    }

    /// Everything that was promised has come.
    pub fn check_promised(&mut self, oracle: &mut Oracle) {
        if std::mem::replace(&mut self.final_seen, true) {
            return;
        }
        let known = &oracle.peers[self.number];
        let is_cut = known.may_end.is_some_and(|why| why != "the response was the last");
        if self.peer().reads == Reads::Never || is_cut {
            return;
        }
        let first = self.outstanding.front().copied();
        if let Some(step) = first.filter(|_| !self.closes && !self.refused) {
            let script = self.script.clone();
            let is_due = match &script.peers[self.number].steps[step] {
                Step::Request(request) if request.target == Target::Program => {
                    known.completed.contains(&step)
                }
                // A flight that nobody answers ends by ticks.
                Step::Request(request) if request.target == Target::Cached => !oracle.has_unanswered,
                Step::Request(request) => !request.expect || self.held_body.is_none(),
                Step::Upgrade { .. } => known.opened > 0,
                _ => false,
            };
            if is_due {
                self.fail(format!("the response to step {step} never came"));
            }
        }
        if known.may_end.is_none() {
            let missing = known
                .expected
                .iter()
                .find(|next| next.publish.is_none_or(|publish| !known.dropped.contains(&publish)));
            if let Some(missing) = missing.filter(|_| known.closed == 0) {
                self.fail(format!("{missing:?} never came"));
            }
            let untold = known.skipped.difference(&known.dropped).next();
            if let Some(publish) = untold.filter(|_| known.closed == 0) {
                self.fail(format!("publish {publish} was dropped, and nobody told"));
            }
        }
    }

    /// However the bytes were cut, the program was handed what the pure layers make of them.
    pub fn check_uncut(&self, oracle: &Oracle) {
        let route = &self.script.route;
        let deflates = route.compression != 0;
        let is_handed = |seen: &Seen| match seen {
            Seen::Request(path) => path.starts_with("/r/") || path.starts_with("/ws/") && !route.auto,
            Seen::Message { .. } => true,
        };
        let known = &oracle.peers[self.number];
        let mut all = uncut(&self.content, route.max_payload, deflates).into_iter().filter(is_handed);
        for seen in &known.seen {
            match all.next() {
                Some(expected) if seen.is(&expected) => {}
                expected => self.fail(format!("the program got {seen:?}; of the bytes uncut {expected:?}")),
            }
        }
    }

    /// Closes the connection at the end of a run.
    pub fn close(&mut self) {
        if let Some(socket) = self.socket.filter(|_| !self.is_over) {
            kernel(|kernel| kernel.client_closes(socket));
        }
        self.is_over = true;
    }
}

/// The earlier of two times.
fn earlier(a: Next, b: Next) -> Next {
    match (a, b) {
        (Next::Over, _) | (_, Next::Over) => Next::Over,
        (Next::Now, _) | (_, Next::Now) => Next::Now,
        (Next::At(a), Next::At(b)) => Next::At(a.min(b)),
        (Next::At(at), Next::News) | (Next::News, Next::At(at)) => Next::At(at),
        (Next::News, Next::News) => Next::News,
    }
}

fn chunked(content: &[u8], chunk: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 64);
    for piece in content.chunks(chunk) {
        out.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        out.extend_from_slice(piece);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}

impl Codec {
    /// For the parameters that the server has agreed to.
    fn of(agreed: &str) -> Self {
        let has = |name: &str| agreed.split(';').any(|each| each.trim().starts_with(name));
        let bits = |name: &str| {
            let value = agreed.split(';').find_map(|each| each.trim().strip_prefix(name));
            value
                .and_then(|value| value.strip_prefix('='))
                .and_then(|bits| bits.parse::<u8>().ok())
                .unwrap_or(15)
        };
        let decompressor = if has("server_no_context_takeover") {
            Decompressor::Shared
        } else {
            Decompressor::Dedicated { window_bits: 15 }
        };
        let window_bits = bits("client_max_window_bits").max(9);
        let compressor = if has("client_no_context_takeover") {
            Compressor::Shared { window_bits }
        } else {
            Compressor::Dedicated { window_bits, memory_level: 8 }
        };
        Codec {
            inflater: Inflater::new(decompressor),
            shared: SharedInflater::default(),
            deflater: Deflater::new(compressor),
            shared_deflater: SharedDeflater::default(),
        }
    }
}

/// The head of a response.
struct Head {
    status: u16,
    fields: Vec<(String, String)>,
}

impl Head {
    fn of(bytes: &[u8]) -> Self {
        let text = std::str::from_utf8(bytes).unwrap_or_else(|_| panic!("no head: {}", shown(bytes)));
        let mut lines = text.trim_end().split("\r\n");
        let line = lines.next().unwrap_or_default();
        let status = line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let Some(status) = status else { panic!("no status line: {}", shown(bytes)) };
        let field = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("no header: {line:?}"));
            (name.to_ascii_lowercase(), value.to_owned())
        };
        Head { status, fields: lines.map(field).collect() }
    }

    fn field(&self, name: &str) -> Option<String> {
        let mut found = self.fields.iter().filter(|(each, _)| each == name);
        let first = found.next().map(|(_, value)| value.clone());
        assert!(found.next().is_none(), "two fields {name}");
        first
    }

    fn is_until_close(&self) -> bool {
        self.field("content-length").is_none() && self.field("transfer-encoding").is_none()
    }

    fn closes(&self, http_1_0: bool) -> bool {
        match self.field("connection") {
            Some(value) => value == "close" || http_1_0 && value != "keep-alive",
            None => http_1_0,
        }
    }

    /// The content that has come, how many bytes that were, and whether it is all (RFC 9112 §6.3).
    fn content(&self, body: &[u8], is_bodiless: bool, has_ended: bool) -> (Vec<u8>, usize, bool) {
        let length = self.field("content-length");
        let coding = self.field("transfer-encoding");
        assert!(length.is_none() || coding.is_none(), "two framings of one response");
        if is_bodiless {
            return (Vec::new(), 0, true);
        }
        if let Some(length) = length {
            let length: usize = length.parse().expect("a length");
            let content = &body[..length.min(body.len())];
            return (content.to_vec(), content.len(), content.len() == length);
        }
        if coding.is_some() {
            return dechunked(body);
        }
        (body.to_vec(), body.len(), has_ended)
    }
}

fn dechunked(body: &[u8]) -> (Vec<u8>, usize, bool) {
    let (mut content, mut at) = (Vec::new(), 0);
    loop {
        let Some(line) = memchr::memmem::find(&body[at..], b"\r\n") else { return (content, 0, false) };
        let digits = std::str::from_utf8(&body[at..at + line]).expect("a chunk size");
        let size = usize::from_str_radix(digits, 16).unwrap_or_else(|_| panic!("no chunk size: {digits:?}"));
        let start = at + line + 2;
        let end = start + size;
        content.extend_from_slice(&body[start..end.min(body.len())]);
        match body.get(end..end + 2) {
            None => return (content, 0, false),
            Some(behind) => assert_eq!(behind, b"\r\n", "behind a chunk"),
        }
        at = end + 2;
        if size == 0 {
            return (content, at, true);
        }
    }
}
