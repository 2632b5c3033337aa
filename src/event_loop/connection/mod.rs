//! One connection: its socket, buffers, deadline and end. What its bytes mean is in `http.rs` and `websocket.rs`.
//!
//! Life of the slot: it is freed once the socket is closed *and* JavaScript holds no object for it. A loop-side close
//! sends `Gone` and waits for `Release`, so that the slot's shared state stays true as long as an object can read it.

pub mod compression;
mod declared;
pub mod http;
pub mod input;
pub mod outbound;
pub mod publication;
pub mod records;
mod websocket;

use crate::channel::buffers::Buffer;
use crate::channel::{ConnId, EventKind};
use crate::event_loop::context::Context;
use crate::event_loop::net::batch::CHUNK;
use crate::event_loop::net::socket::Stream;
use crate::event_loop::timer::Tick;
use crate::event_loop::tls::Tls;
use http::Http;
use input::{Input, Unread};
use outbound::{MAX_SLICES, Outbound};
use std::io::{ErrorKind, IoSlice};
use std::sync::atomic::Ordering;
use websocket::WebSocket;

/// Bytes read from one connection in one turn before the others get theirs.
const READ_BUDGET: usize = 512 << 10;
/// Most bytes one read takes of what may be requests behind each other.
const REQUESTS_AT_ONCE: usize = 32 << 10;
/// Bytes written to one connection in one turn.
pub(super) const WRITE_BUDGET: usize = 4 << 20;
/// Bytes collected for one connection that do not wait for the end of the turn.
const EAGER_WRITE: usize = 64 << 10;
/// Seconds for a peer to take the last bytes and close after we are done with it.
const END_TIMEOUT: Tick = 4;

pub struct Connection {
    pub id: ConnId,
    pub app: u32,
    /// `None`: closed.
    pub(super) stream: Option<Stream>,
    /// Of an SSLApp: the records between the socket and the buffers here.
    pub(super) tls: Option<Box<Tls>>,
    /// Received and not yet understood.
    input: Unread,
    pub out: Outbound,
    pub protocol: Protocol,
    object: Object,
    /// The socket may have bytes we have not read (edge-triggered).
    readable: bool,
    /// The peer has closed its sending side.
    pub peer_ended: bool,
    /// The kernel refused bytes; the next writable edge goes on.
    pub blocked: bool,
    pub(super) dirty: bool,
    pub(super) queued: bool,
    /// The last read brought little, so the next may, too.
    pub(super) brief: bool,
    ending: Ending,
    /// Cost of commands carried out, of which JavaScript has not been told.
    carried_out: usize,
    /// What JavaScript was last told of the bytes the kernel refused.
    backlog: usize,
    /// 0: none.
    deadline: Tick,
    /// Where the wheel holds an entry for us; 0: nowhere. Later ones, of longer deadlines before, are ignored.
    wheel_at: Tick,
}

pub enum Protocol {
    /// Boxed like the other, or each WebSocket would hold its room.
    Http(Box<Http>),
    WebSocket(Box<WebSocket>),
}

/// What JavaScript has of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Object {
    None,
    Held,
    /// `Gone` was sent; JavaScript will answer with `Release`.
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    No,
    /// The peer has said its last: what JavaScript answers to that still goes out, until it has let go.
    Answering,
    /// Close our side once everything is sent.
    Flushing,
    /// Our side is closed; what the peer still sends is discarded until it closes too.
    Lingering,
}

impl Connection {
    pub fn new(id: ConnId, app: u32, stream: Stream, tls: Option<Box<Tls>>) -> Self {
        Connection {
            id,
            app,
            stream: Some(stream),
            tls,
            input: Unread::default(),
            out: Outbound::default(),
            protocol: Protocol::Http(Box::default()),
            object: Object::None,
            readable: false,
            peer_ended: false,
            blocked: false,
            dirty: false,
            queued: false,
            brief: false,
            ending: Ending::No,
            carried_out: 0,
            backlog: 0,
            deadline: 0,
            wheel_at: 0,
        }
    }

    // ---- what the event loop calls

    /// `ahead`: the first read has been done, into this memory.
    pub fn on_event(
        &mut self,
        ctx: &mut Context,
        buffer: &mut Buffer,
        event: Readiness,
        ahead: Option<(std::io::Result<usize>, &mut [u8])>,
    ) {
        if self.stream.is_none() {
            return;
        }
        // Otherwise what came before the reset is read first; the error is what that ends with.
        if event.reset && !self.wants_bytes() {
            return self.on_reset(ctx);
        }
        if event.writable && self.blocked {
            self.blocked = false;
            self.flush(ctx);
        }
        if event.ended {
            self.peer_ended = true;
        }
        if event.readable {
            self.readable = true;
            if let Some((answer, chunk)) = ahead
                && !self.receive_ahead(ctx, answer, chunk)
            {
                return;
            }
            if ctx.ready.is_empty() {
                self.drive(ctx, buffer);
            } else {
                // Behind those that wait for room in JavaScript's queue, or it would be filled before their turn comes.
                self.queue(ctx);
            }
        }
    }

    /// Reads as long as there is something, it is wanted, and the turn's budget lasts.
    pub fn drive(&mut self, ctx: &mut Context, buffer: &mut Buffer) {
        self.queued = false;
        if !self.catch_up(ctx) {
            return;
        }
        let mut budget = READ_BUDGET;
        while self.readable && self.wants_bytes() {
            if budget == 0 || ctx.events.is_full() || ctx.overloaded() {
                return self.queue(ctx);
            }
            buffer.clear();
            self.lend_rest(buffer);
            let room = buffer.spare().min(self.read_at_once());
            let Some(stream) = &mut self.stream else { return };
            let answer = stream.read(buffer.room(room));
            let n = match self.take_read(ctx, answer, room) {
                Read::Bytes(n) => n,
                Read::Nothing => continue,
                Read::End => return,
            };
            budget = budget.saturating_sub(n);
            buffer.advance(n);
            match self.tls {
                None => self.receive(ctx, Input::read(buffer)),
                Some(_) => self.receive_records(ctx, buffer.filled_mut()),
            }
            if self.queued {
                return;
            }
        }
        self.notice_peer_end(ctx);
    }

    /// Most bytes of one read. Of requests less is taken from the kernel, which holds what cannot be understood before the
    /// response to an earlier one.
    fn read_at_once(&self) -> usize {
        match &self.protocol {
            Protocol::Http(http) if http.expects_head() => REQUESTS_AT_ONCE,
            _ => usize::MAX,
        }
    }

    /// What a read into `room` bytes says of the socket.
    pub(super) fn take_read(
        &mut self,
        ctx: &mut Context,
        answer: std::io::Result<usize>,
        room: usize,
    ) -> Read {
        match answer {
            Ok(0) => {
                self.readable = false;
                self.peer_ended = true;
                self.on_peer_end(ctx);
                Read::End
            }
            Ok(n) => {
                // A short read has emptied the socket: the next bytes bring a new edge. An end that has been announced
                // already does not, so then the read that returns 0 is needed.
                self.readable = n == room || self.peer_ended;
                self.brief = n < CHUNK;
                Read::Bytes(n)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.readable = false;
                Read::Nothing
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Read::Nothing,
            Err(_) => {
                self.on_reset(ctx);
                Read::End
            }
        }
    }

    /// Writes what is waiting; called at the end of a turn and when the socket became writable.
    pub fn flush(&mut self, ctx: &mut Context) {
        self.dirty = false;
        if self.tls.is_some() {
            return self.flush_records(ctx);
        }
        let mut budget = WRITE_BUDGET;
        while !self.out.is_empty() && !self.blocked {
            if budget == 0 {
                self.mark_dirty(ctx);
                break;
            }
            let Some(stream) = &mut self.stream else { return };
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let used = self.out.slices(&mut slices);
            let answer = stream.write_vectored(&slices[..used]);
            let Some(n) = self.take_write(answer) else { return self.on_write_failed(ctx) };
            self.out.consume(&mut ctx.spare, n);
            budget = budget.saturating_sub(n);
        }
        self.after_flush(ctx);
    }

    /// How many bytes a write has brought to the kernel; `None`: the socket is no more.
    pub(super) fn take_write(&mut self, answer: std::io::Result<usize>) -> Option<usize> {
        match answer {
            Ok(n) => Some(n),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.blocked = true;
                Some(0)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Some(0),
            Err(_) => None,
        }
    }

    pub(super) fn after_flush(&mut self, ctx: &mut Context) {
        let (before, now) = (self.backlog, self.unsent());
        self.tell_backlog(ctx, now);
        self.tell_carried_out(ctx);
        match self.ending {
            Ending::No => match &mut self.protocol {
                Protocol::Http(_) => self.http_flushed(ctx, before),
                Protocol::WebSocket(_) => self.websocket_flushed(ctx, before),
            },
            Ending::Flushing if now == 0 => self.finish_ending(ctx),
            // However slow, a peer that takes bytes gets all of them.
            Ending::Flushing if now < before => self.set_timeout(ctx, ctx.timeouts(self.app).response),
            Ending::Answering | Ending::Flushing | Ending::Lingering => {}
        }
    }

    /// JavaScript is told once the kernel has been offered what the commands brought: until then their bytes are on
    /// their way, and it cannot be known whether they will be refused.
    pub(super) fn count_carried_out(&mut self, ctx: &mut Context, cost: usize) {
        self.carried_out = self.carried_out.wrapping_add(cost);
        match self.stream {
            Some(_) => self.mark_dirty(ctx),
            None => self.tell_carried_out(ctx),
        }
    }

    fn tell_carried_out(&mut self, ctx: &Context) {
        if self.carried_out != 0 {
            let cost = std::mem::take(&mut self.carried_out);
            ctx.shared.slots.get(self.id.slot).acknowledge(cost);
        }
    }

    fn tell_backlog(&mut self, ctx: &Context, now: usize) {
        if self.backlog != now {
            ctx.shared.unsent.fetch_add(now.wrapping_sub(self.backlog), Ordering::SeqCst);
            self.backlog = now;
            ctx.shared.slots.get(self.id.slot).set_backlog(now);
        }
    }

    pub fn on_deadline(&mut self, ctx: &mut Context) {
        if self.wheel_at > ctx.now() {
            // An old entry, from before a deadline that was earlier: the one that counts is still to come.
            return;
        }
        self.wheel_at = 0;
        if self.stream.is_none() || self.deadline == 0 {
            return;
        }
        if self.deadline > ctx.now() {
            return self.arm(ctx);
        }
        self.deadline = 0;
        if self.ending != Ending::No {
            return self.close_socket(ctx);
        }
        if self.queued {
            // The peer has said something; that it is not read yet is not its fault.
            return self.set_timeout(ctx, 1);
        }
        if self.is_handshaking() {
            self.note_failed_handshake(ctx, "timed out");
            return self.close_socket(ctx);
        }
        match self.protocol {
            Protocol::Http(_) => self.http_timeout(ctx),
            Protocol::WebSocket(_) => self.websocket_timeout(ctx),
        }
    }

    /// JavaScript is done with a connection that the loop closed.
    pub fn release(&mut self, ctx: &mut Context) {
        self.object = Object::None;
        self.websocket_farewell(ctx);
        ctx.reap.push(self.id.slot);
    }

    /// JavaScript has let go by itself: no event will follow.
    pub fn let_go(&mut self) {
        if self.object == Object::Held {
            self.object = Object::None;
        }
    }

    /// JavaScript has an object for this connection, or will have once it sees what is queued for it.
    pub fn is_held(&self) -> bool {
        self.object != Object::None
    }

    pub fn hold(&mut self) {
        if self.object == Object::None {
            self.object = Object::Held;
        }
    }

    /// Whether commands of JavaScript still mean anything here.
    pub fn is_open(&self) -> bool {
        self.stream.is_some()
            && match self.ending {
                Ending::No => self.object != Object::Gone,
                Ending::Answering => true,
                Ending::Flushing | Ending::Lingering => false,
            }
    }

    pub fn is_over(&self) -> bool {
        self.stream.is_none() && !self.is_held()
    }

    // ---- what the protocols call

    /// Bytes the kernel has not taken; over TLS those that are encrypted already count as such.
    pub fn unsent(&self) -> usize {
        self.out.len() + self.tls.as_ref().map_or(0, |tls| tls.unsent())
    }

    pub fn mark_dirty(&mut self, ctx: &mut Context) {
        if !self.dirty {
            self.dirty = true;
            ctx.dirty.push(self.id.slot);
        }
    }

    /// Appends to what is to be sent at the end of the turn.
    pub fn send(&mut self, ctx: &mut Context, write: impl FnOnce(&mut Vec<u8>)) {
        self.out.append(&mut ctx.spare, write);
        self.mark_dirty(ctx);
    }

    /// As `send`, for what has a `Date` header in it (RFC 9110 §5.6.7).
    pub(super) fn send_dated(&mut self, ctx: &mut Context, write: impl FnOnce(&mut Vec<u8>, &[u8])) {
        self.out.append(&mut ctx.spare, |out| write(out, ctx.clock.date()));
        self.mark_dirty(ctx);
    }

    /// What one turn collects for a connection does not pile up until its end: a large part leaves at once, and what
    /// the kernel refuses is known before more is added.
    pub fn keep_up(&mut self, ctx: &mut Context) {
        if self.blocked {
            self.tell_backlog(ctx, self.unsent());
            self.tell_carried_out(ctx);
        } else if self.out.len() >= EAGER_WRITE {
            self.flush(ctx);
        }
    }

    /// Goes on in the next turn with what is buffered or readable.
    pub fn queue(&mut self, ctx: &mut Context) {
        if !self.queued {
            self.queued = true;
            ctx.ready.push(self.id.slot);
        }
    }

    /// `in_s` seconds from now; 0: no deadline. Rounded up, since the current tick has begun already.
    pub fn set_timeout(&mut self, ctx: &mut Context, in_s: Tick) {
        self.set_deadline(ctx, if in_s == 0 { 0 } else { ctx.now() + in_s + 1 });
    }

    /// At the beginning of a tick; 0: no deadline.
    pub(super) fn set_deadline(&mut self, ctx: &mut Context, deadline: Tick) {
        self.deadline = deadline;
        self.arm(ctx);
    }

    fn arm(&mut self, ctx: &mut Context) {
        if self.deadline != 0 && (self.wheel_at == 0 || self.deadline < self.wheel_at) {
            let entry = u64::from(self.id.slot) << 32 | u64::from(self.id.generation);
            self.wheel_at = ctx.wheel.insert(self.deadline, entry);
        }
    }

    /// Tells JavaScript, if it holds an object, that this connection is over.
    pub fn tell_gone(&mut self, ctx: &mut Context, code: u16, reason: &[u8]) {
        if self.object == Object::Held {
            self.object = Object::Gone;
            ctx.event(EventKind::Gone, self.id, [u32::from(code), 0, 0], reason);
        }
    }

    /// Over from here on: send what is queued, close our side, discard what comes, close.
    pub fn end_gracefully(&mut self, ctx: &mut Context) {
        if self.stream.is_none() || !matches!(self.ending, Ending::No | Ending::Answering) {
            return;
        }
        self.ending = Ending::Flushing;
        self.leave_topics(ctx);
        self.input = Unread::default();
        // Begins anew with everything the peer takes; the time to close begins when it has taken all.
        self.set_timeout(ctx, ctx.timeouts(self.app).response);
        self.mark_dirty(ctx);
    }

    /// Nothing more is read, and what JavaScript has yet to answer still leaves; `release` ends it then. There is no
    /// deadline, since it is ours to go on.
    pub(super) fn answer_to_the_end(&mut self, ctx: &mut Context) {
        self.ending = Ending::Answering;
        self.input = Unread::default();
        self.set_timeout(ctx, 0);
    }

    /// Nothing has been said of an end.
    pub(super) fn goes_on(&self) -> bool {
        self.ending == Ending::No
    }

    pub(super) fn is_answering(&self) -> bool {
        self.ending == Ending::Answering
    }

    /// Closes at once; what was not sent is lost.
    pub fn close_socket(&mut self, ctx: &mut Context) {
        self.say_that_it_ends();
        if self.stream.take().is_none() {
            return;
        }
        self.leave_topics(ctx);
        self.out.clear(&mut ctx.spare);
        self.tell_backlog(ctx, 0);
        self.tell_carried_out(ctx);
        self.tls = None;
        self.input = Unread::default();
        self.readable = false;
        self.deadline = 0;
        ctx.connections -= 1;
        ctx.filter_event(self.app, self.id, false);
        ctx.reap.push(self.id.slot);
    }

    /// Understands as much of `input` as possible now, after the protocol said it is ready for more.
    pub fn resume(&mut self, ctx: &mut Context) {
        if !self.input.is_empty() {
            self.process_unread(ctx);
        }
        if self.readable && self.wants_bytes() {
            self.queue(ctx);
        }
        self.notice_peer_end(ctx);
    }

    // ---- private

    /// Our side closes once everything is sent.
    pub(super) fn is_flushing(&self) -> bool {
        self.ending == Ending::Flushing
    }

    /// Everything has been sent. Closing now could answer what the peer still sends with a reset, which takes from it what
    /// it has not read yet: only our side is closed, and the peer's is waited for (RFC 9112 §9.6).
    fn finish_ending(&mut self, ctx: &mut Context) {
        if self.peer_ended && !self.readable {
            return self.close_socket(ctx);
        }
        self.ending = Ending::Lingering;
        self.set_timeout(ctx, END_TIMEOUT);
        if let Some(stream) = &self.stream {
            stream.shutdown_write();
        }
        if self.readable {
            self.queue(ctx);
        }
    }

    /// Messages that were left because JavaScript had too much to do already. False: there still are some.
    fn catch_up(&mut self, ctx: &mut Context) -> bool {
        if self.input.is_empty() || !matches!(self.protocol, Protocol::WebSocket(_)) {
            return true;
        }
        if ctx.overloaded() {
            self.queue(ctx);
        } else {
            self.receive(ctx, Input::kept(&mut []));
        }
        !self.queued
    }

    pub(super) fn wants_bytes(&self) -> bool {
        match self.ending {
            // Reading on while the last bytes leave lets us see the peer's close.
            Ending::Answering | Ending::Flushing | Ending::Lingering => self.stream.is_some(),
            Ending::No if self.tls.as_ref().is_some_and(|tls| tls.is_asking()) => false,
            Ending::No => match &self.protocol {
                Protocol::Http(http) => http.wants_bytes() && !self.is_clogged(),
                Protocol::WebSocket(_) => self.stream.is_some(),
            },
        }
    }

    pub(super) fn receive(&mut self, ctx: &mut Context, mut input: Input<'_>) {
        if self.ending != Ending::No {
            return;
        }
        if self.input.is_empty() {
            self.process(ctx, &mut input);
            if self.goes_on() && self.stream.is_some() {
                self.input = Unread::of(input.bytes());
            }
        } else {
            self.input.append(input.bytes());
            self.process_unread(ctx);
        }
    }

    fn process_unread(&mut self, ctx: &mut Context) {
        let mut unread = std::mem::take(&mut self.input);
        let mut input = unread.input();
        self.process(ctx, &mut input);
        let used = input.used();
        if self.goes_on() && self.stream.is_some() {
            self.input = unread.without(used);
        }
    }

    /// Gives `input` to the protocol, which may change on the way.
    fn process(&mut self, ctx: &mut Context, input: &mut Input<'_>) {
        while self.ending == Ending::No && self.stream.is_some() {
            match &self.protocol {
                Protocol::Http(_) => self.http_receive(ctx, input),
                Protocol::WebSocket(_) => return self.websocket_receive(ctx, input),
            }
            let upgraded = matches!(self.protocol, Protocol::WebSocket(_));
            if !upgraded {
                return;
            }
        }
    }

    pub(super) fn notice_peer_end(&mut self, ctx: &mut Context) {
        // Either nothing more is to be read for now, or nothing more is there to be read.
        let is_time = !self.readable || !self.wants_bytes();
        if self.peer_ended && self.stream.is_some() && is_time && !self.is_clogged() {
            self.on_peer_end(ctx);
        }
    }

    pub(super) fn on_peer_end(&mut self, ctx: &mut Context) {
        match self.ending {
            Ending::Lingering => self.close_socket(ctx),
            // The last bytes may still reach a peer that closed only its sending side.
            Ending::Answering | Ending::Flushing => {}
            Ending::No => match self.protocol {
                Protocol::Http(_) => self.http_peer_end(ctx),
                Protocol::WebSocket(_) => self.websocket_peer_end(ctx),
            },
        }
    }

    pub(super) fn on_reset(&mut self, ctx: &mut Context) {
        self.tell_gone(ctx, 1006, b"");
        self.close_socket(ctx);
    }

    /// The peer takes nothing any more, but may have sent something before: that is read first, and ends with the error.
    pub(super) fn on_write_failed(&mut self, ctx: &mut Context) {
        if !self.goes_on() || !self.wants_bytes() {
            return self.on_reset(ctx);
        }
        self.out.clear(&mut ctx.spare);
        self.blocked = true;
        self.readable = true;
        self.peer_ended = true;
        self.tell_backlog(ctx, self.unsent());
        self.tell_carried_out(ctx);
        self.queue(ctx);
    }

    pub(super) fn leave_topics(&mut self, ctx: &mut Context) {
        if let Protocol::WebSocket(websocket) = &mut self.protocol {
            for topic in websocket.topics.take() {
                ctx.topics.unsubscribe(topic, self.id.slot);
            }
        }
    }
}

/// What came of a read.
pub(super) enum Read {
    Bytes(usize),
    /// To be tried again, or with the next edge.
    Nothing,
    /// The connection has been told of its end.
    End,
}

/// What the poll said of one socket.
#[derive(Clone, Copy, Debug)]
pub struct Readiness {
    pub readable: bool,
    pub writable: bool,
    /// The peer closed its sending side.
    pub ended: bool,
    /// Both sides are gone, or the socket has an error.
    pub reset: bool,
}
