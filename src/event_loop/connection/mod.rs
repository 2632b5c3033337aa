//! One connection, composed of its transport (bytes), its protocol (their meaning), JavaScript's handle, and
//! how it ends. Each part is a type of its own. A protocol reaches the other parts through [`Io`]; only this
//! file knows all of them.
//!
//! Owner: the slot, until the socket is closed *and* JavaScript holds no object for it. A loop-side end sends
//! `Gone` and waits for `Release`, so that the slot's shared state stays true as long as an object can read
//! it.
//!
//! A protocol decides on an end through [`Io`]; it takes effect in `settle`, which every entry point calls
//! last.

mod cached;
pub mod close;
mod collect;
pub mod compression;
mod declared;
pub mod http;
pub mod input;
pub mod io;
mod limited;
pub mod outbound;
pub mod publication;
mod respond;
mod secure;
pub mod transport;
mod waiting;
mod websocket;

use crate::channel::buffers::Buffer;
use crate::channel::{AppCounts, Command, ExchangeId, Op};
use crate::event_loop::caches::{Flight, Outcome};
use crate::event_loop::context::Context;
use crate::event_loop::limits::{Admission, Doors, Guard};
use crate::event_loop::net::socket::Stream;
use crate::event_loop::timer::Tick;
use crate::event_loop::tls::Tls;
use crate::fault::{self, Fault};
use crate::metrics::{Counts, Metric};
use crate::trace::trace;
use close::{Cause, Close, JsHandle};
use http::{Http, STEPS_PER_TURN};
use input::{Input, Unread};
use io::Io;
use publication::Publication;
use std::rc::Rc;
use std::sync::Arc;
use transport::{News, Read, Transport, Trouble};
use websocket::WebSocket;

/// Bytes read from one connection in one turn; then the others have their turn.
const READ_BUDGET: usize = 512 << 10;
/// Seconds that a peer has to close its side after this side has sent everything and closed.
const END_TIMEOUT: Tick = 4;
/// The code that JavaScript gets for a WebSocket that went because of the memory budget.
const TRY_AGAIN_LATER: u16 = 1013;

pub struct Connection {
    app: u32,
    transport: Transport,
    protocol: Protocol,
    js: JsHandle,
    /// Its places among the connections that are counted, until the socket is closed.
    admission: Option<Box<Admission>>,
    close: Close,
    /// The state whose effects have been applied.
    entered: Close,
    /// Received and not yet parsed.
    unread: Unread,
    /// The bytes that the context counts for it.
    held: usize,
    /// The gauge in which the connection is counted until it is closed.
    kind: Metric,
}

/// The meaning of the bytes. Both are boxed, since each connection would otherwise take the memory of the
/// larger.
enum Protocol {
    Http(Box<Http>),
    WebSocket(Box<WebSocket>),
}

/// The readiness of one socket, as the poll reported it.
#[derive(Clone, Copy, Debug)]
pub struct Readiness {
    pub readable: bool,
    pub writable: bool,
    /// The peer closed its sending side.
    pub ended: bool,
    /// Both sides are gone, or the socket has an error.
    pub reset: bool,
}

impl Connection {
    pub fn new(
        id: ExchangeId,
        app: u32,
        stream: Stream,
        tls: Option<Box<Tls>>,
        counts: Arc<AppCounts>,
        admission: Admission,
    ) -> Self {
        let kind = if tls.is_some() { Metric::TlsHandshaking } else { Metric::PlainHttp };
        counts.by_loop.one(Metric::Accepted);
        counts.by_loop.one(kind);
        Connection {
            app,
            kind,
            transport: Transport::new(id, stream, tls, counts),
            protocol: Protocol::Http(Box::default()),
            js: JsHandle::Detached,
            admission: admission.counts().then(|| Box::new(admission)),
            close: Close::Open,
            entered: Close::Open,
            unread: Unread::default(),
            held: 0,
        }
    }

    pub fn id(&self) -> ExchangeId {
        self.transport.id
    }

    pub fn app(&self) -> u32 {
        self.app
    }

    /// Whether neither the kernel nor JavaScript has anything of the connection any more, so that its slot
    /// may be used again.
    pub fn is_over(&self) -> bool {
        self.close == Close::Closed && self.js == JsHandle::Detached
    }

    fn is_closed(&self) -> bool {
        self.close == Close::Closed
    }

    /// The counters of the app.
    pub fn counts(&self) -> &Counts {
        self.transport.counts()
    }

    /// Counts the connection in another gauge.
    fn turn_into(&mut self, kind: Metric) {
        self.counts().less(self.kind);
        self.counts().one(kind);
        self.kind = kind;
    }

    fn parts<'a>(&'a mut self, ctx: &'a mut Context) -> (&'a mut Protocol, Io<'a>) {
        let Connection { app, transport, protocol, js, admission, close, unread, .. } = self;
        let more = !unread.is_empty();
        (protocol, Io { app: *app, transport, js, admission, close, ctx, more })
    }

    // ---- events of the kernel

    pub fn start_timeout(&mut self, ctx: &mut Context) {
        match self.transport.tls {
            Some(_) => self.start_handshake_timeout(ctx),
            None => self.protocol_starts(ctx),
        }
    }

    fn protocol_starts(&mut self, ctx: &mut Context) {
        let (protocol, mut io) = self.parts(ctx);
        protocol.start(&mut io);
    }

    /// `ahead`: the answer of a first read that the loop has done already, and the memory it read into.
    pub fn on_event(
        &mut self,
        ctx: &mut Context,
        buffer: &mut Buffer,
        event: Readiness,
        ahead: Option<(std::io::Result<usize>, &mut [u8])>,
    ) {
        self.react(ctx, buffer, event, ahead);
        self.note_waiting(ctx);
    }

    /// Notes how long bytes of the peer wait for the loop or for JavaScript, for the app's rates. The rest of
    /// a head waits for the peer itself, and so do requests behind a response that it does not take.
    fn note_waiting(&mut self, ctx: &Context) {
        if !ctx.guard(self.app).is_some_and(Guard::has_rates) {
            return;
        }
        let is_left = self.transport.readable || !self.unread.is_empty();
        if is_left && self.close == Close::Open && (self.transport.queued || !self.wants_bytes()) {
            let for_peer = self.transport.is_blocked();
            self.transport.waiting.get_or_insert_default().goes_on(ctx.nanos(), for_peer);
        } else {
            self.transport.waiting = None;
        }
    }

    /// Called after bytes that waited may have been parsed: what comes from then on has not waited.
    fn note_caught_up(&mut self, ctx: &Context) {
        if self.transport.waiting.is_some() {
            self.note_waiting(ctx);
        }
    }

    fn react(
        &mut self,
        ctx: &mut Context,
        buffer: &mut Buffer,
        event: Readiness,
        ahead: Option<(std::io::Result<usize>, &mut [u8])>,
    ) {
        if self.is_closed() {
            return;
        }
        // If bytes are wanted, read those that came before the reset first; the read behind them returns the
        // error.
        if event.reset && !self.wants_bytes() {
            return self.end(ctx, Cause::Abort, 1006);
        }
        if event.writable && self.transport.unblock() {
            self.flush(ctx);
        }
        self.transport.peer_ended |= event.ended;
        if event.readable {
            self.transport.readable = true;
            if let Some((answer, chunk)) = ahead
                && !self.receive_ahead(ctx, answer, chunk)
            {
                return;
            }
            if ctx.ready.is_empty() {
                self.drive(ctx, buffer);
            } else {
                // Queue behind the connections that wait for room in JavaScript's queue; otherwise this one
                // would fill the queue before their turn.
                self.transport.queue(ctx);
            }
        }
    }

    /// Goes on where an earlier turn has left off.
    pub fn go_on(&mut self, ctx: &mut Context, buffer: &mut Buffer) {
        self.drive(ctx, buffer);
        self.note_caught_up(ctx);
    }

    /// Reads as long as there is something, it is wanted, and the turn's budget lasts.
    fn drive(&mut self, ctx: &mut Context, buffer: &mut Buffer) {
        self.transport.queued = false;
        let requests = self.protocol.requests();
        if !self.catch_up(ctx) {
            return;
        }
        let mut budget = READ_BUDGET;
        while self.transport.readable && self.wants_bytes() {
            let is_enough = budget == 0 || self.protocol.has_had_its_turn(requests);
            if is_enough || ctx.events.is_full() || ctx.overloaded() {
                return self.transport.queue(ctx);
            }
            let read = self.transport.read(buffer, self.protocol.read_at_once());
            match read {
                Read::Bytes(n) => budget = budget.saturating_sub(n),
                Read::Nothing => continue,
                Read::End => return self.on_peer_end(ctx),
                Read::Reset => return self.end(ctx, Cause::Abort, 1006),
            }
            match self.transport.tls {
                None => self.receive(ctx, Input::read(buffer)),
                Some(_) => self.receive_records(ctx, buffer.filled_mut()),
            }
            if self.transport.queued {
                return;
            }
        }
        self.notice_peer_end(ctx);
        self.settle(ctx);
        if self.is_due_to_end(ctx) && !self.transport.readable && !self.waits_for_last(ctx) {
            self.end(ctx, Cause::Finish, 0);
        }
    }

    /// The socket, if its next bytes may be read before its turn: the connection wants them, and they are
    /// likely to be few.
    pub fn read_ahead_from(&self) -> Option<i32> {
        let socket = self.transport.read_ahead_from()?;
        (self.close == Close::Open && self.wants_bytes()).then_some(socket)
    }

    /// Processes bytes that were read ahead. False: there is nothing more to do now.
    fn receive_ahead(&mut self, ctx: &mut Context, answer: std::io::Result<usize>, chunk: &mut [u8]) -> bool {
        match self.transport.take_read(answer, chunk.len()) {
            Read::Bytes(n) if self.transport.tls.is_some() => self.receive_records(ctx, &mut chunk[..n]),
            Read::Bytes(n) => self.receive(ctx, Input::kept(&mut chunk[..n])),
            Read::Nothing => {}
            Read::End => {
                self.on_peer_end(ctx);
                return false;
            }
            Read::Reset => {
                self.end(ctx, Cause::Abort, 1006);
                return false;
            }
        }
        !self.transport.queued
    }

    pub fn on_deadline(&mut self, ctx: &mut Context) {
        if !self.transport.is_due(ctx) {
            return;
        }
        if self.close == Close::Open && self.transport.put_off(ctx) {
            // The peer has sent something, and it is not the peer's fault that the loop has not read it yet.
            return;
        }
        if self.close == Close::Open && self.is_handshaking() {
            self.counts().one(Metric::HandshakeTimeout);
            self.note_failed_handshake(Metric::HandshakeTimedOut, "timed out");
            return self.end(ctx, Cause::Abort, 1006);
        }
        if self.close == Close::Open {
            let (protocol, mut io) = self.parts(ctx);
            protocol.on_timeout(&mut io);
            return self.settle(ctx);
        }
        self.counts().one(Metric::EndTimeout);
        self.end(ctx, Cause::Timeout, 1006);
    }

    // ---- commands of JavaScript

    /// Executes a command of this connection; JavaScript has counted `cost` as sent.
    pub fn execute(&mut self, ctx: &mut Context, command: Command<'_>, cost: usize) {
        if cost != 0 {
            self.transport.count_executed(ctx, cost);
        }
        match command.op {
            Op::Release => {
                self.end(ctx, Cause::Release, 0);
                ctx.reap.push(self.id().slot);
            }
            Op::Close => {
                if command.arg == 0 {
                    self.transport.flush(ctx);
                }
                let behind = self.close == Close::Open && self.protocol.closes_behind_responses();
                self.end(ctx, if behind { Cause::End } else { Cause::Close }, 0);
            }
            Op::ServerName => self.server_name_answered(ctx),
            Op::LeaveTopics if fault::is_on(Fault::ForeignTopic) => {}
            Op::LeaveTopics => self.protocol.leave_topics(ctx, self.transport.id),
            Op::Respond
            | Op::Write
            | Op::TryEnd
            | Op::Finish
            | Op::Pause
            | Op::Resume
            | Op::WantWritable
            | Op::Upgrade
            | Op::Send
            | Op::End
            | Op::Subscribe
            | Op::Unsubscribe
            | Op::Overflow => {
                if self.close.takes_commands() {
                    self.execute_in_protocol(ctx, command);
                }
            }
            // The loop executes these itself.
            Op::Publish | Op::CloseApp | Op::CloseListener | Op::EndFlight | Op::Forget | Op::Control => {}
        }
        self.settle(ctx);
        self.look_for_more(ctx);
        self.note_caught_up(ctx);
    }

    fn execute_in_protocol(&mut self, ctx: &mut Context, command: Command<'_>) {
        let wanted_bytes = self.wants_bytes();
        let (protocol, mut io) = self.parts(ctx);
        let became = protocol.execute(&mut io, command);
        if self.become_next(ctx, became) || !wanted_bytes && self.wants_bytes() {
            self.resume(ctx);
        } else {
            self.notice_peer_end(ctx);
        }
    }

    /// A flight has ended, for which the connection has waited.
    pub fn answer_flight(&mut self, ctx: &mut Context, flight: &Rc<Flight>, outcome: &Outcome) {
        let wanted_bytes = self.wants_bytes();
        let (protocol, mut io) = self.parts(ctx);
        protocol.answer_flight(&mut io, flight, outcome);
        if !wanted_bytes && self.wants_bytes() {
            self.resume(ctx);
        } else {
            self.notice_peer_end(ctx);
        }
        self.settle(ctx);
        self.look_for_more(ctx);
        self.note_caught_up(ctx);
    }

    /// Sends a publish to this subscriber, unless the subscriber is too slow.
    pub fn deliver(&mut self, ctx: &mut Context, publication: &mut Publication<'_>) {
        let (protocol, mut io) = self.parts(ctx);
        protocol.deliver(&mut io, publication);
        self.settle(ctx);
    }

    /// `app.close()`: JavaScript has run the handlers. Earlier answers are still sent, as far as the kernel
    /// takes them.
    pub fn close_with_app(&mut self, ctx: &mut Context) {
        self.flush(ctx);
        self.end(ctx, Cause::Close, 0);
    }

    // ---- `app.shutdown()`

    /// Ends as soon as nothing is owed to the peer, now or later.
    pub fn shut_down(&mut self, ctx: &mut Context) {
        if self.close != Close::Open {
            return;
        }
        if !self.is_handshaking() {
            let (protocol, mut io) = self.parts(ctx);
            protocol.shut_down(&mut io);
        }
        self.settle(ctx);
        self.look_for_more(ctx);
    }

    /// Whether the app shuts down and neither the peer nor JavaScript waits for anything here.
    fn is_due_to_end(&self, ctx: &Context) -> bool {
        ctx.is_shutting_down(self.app)
            && self.close == Close::Open
            && self.protocol.is_idle()
            && self.unread.is_empty()
            && !self.transport.queued
    }

    /// True: the connection goes on for a moment, since it was busy until now and a request that is on its
    /// way would be lost.
    fn waits_for_last(&mut self, ctx: &mut Context) -> bool {
        let (protocol, mut io) = self.parts(ctx);
        protocol.waits_for_last(&mut io)
    }

    /// Has `drive` end the connection, unless the kernel has another request of it: the poll may not have
    /// reported its bytes yet.
    fn look_for_more(&mut self, ctx: &mut Context) {
        if self.is_due_to_end(ctx) && !self.waits_for_last(ctx) {
            self.transport.readable = true;
            self.transport.queue(ctx);
        }
    }

    /// Whether its end, if it came now, would take something from the peer or from JavaScript.
    pub fn owes(&self) -> bool {
        match self.close {
            Close::Open => self.js == JsHandle::Attached || self.protocol.owes() || !self.unread.is_empty(),
            Close::AwaitingJs => true,
            Close::Flushing => self.transport.unsent() > 0,
            Close::Lingering | Close::Closed => false,
        }
    }

    /// The time to shut down is over.
    pub fn cut(&mut self, ctx: &mut Context) {
        self.end(ctx, Cause::Abort, 1006);
    }

    // ---- the memory budget

    /// The memory of bytes that wait, as the context counts it.
    pub fn held(&self) -> usize {
        self.held
    }

    /// The bytes that its end would free, or help to free: those of shared frames wait for each subscriber.
    pub fn burden(&self) -> usize {
        self.held.max(self.transport.unsent())
    }

    /// See [`Transport::stalled_for`].
    pub fn stalled_for(&self, now: Tick) -> Tick {
        self.transport.stalled_for(now)
    }

    /// Closes a slow connection, because too much memory is held for all of them.
    pub fn give_up(&mut self, ctx: &mut Context) {
        self.counts().one(Metric::MemoryLimit);
        self.end(ctx, Cause::Abort, TRY_AGAIN_LATER);
    }

    // ---- sending

    /// Writes the bytes that wait; called at the end of a turn and when the socket became writable.
    pub fn flush(&mut self, ctx: &mut Context) {
        self.transport.flush(ctx);
        self.settle(ctx);
        self.note_caught_up(ctx);
    }

    /// Prepares the first write of `flush` for a batch with those of other connections; appends its records
    /// to `records`. False: there is nothing to write, or it has been written.
    pub fn offer(&mut self, ctx: &mut Context, records: &mut Buffer, sealed_at_once: usize) -> bool {
        // A connection that is in the list twice must not be offered twice.
        if !std::mem::take(&mut self.transport.dirty) {
            return false;
        }
        let offers = self.transport.may_offer(sealed_at_once) && self.transport.offer_records(ctx, records);
        if !offers {
            self.flush(ctx);
        }
        offers
    }

    pub fn transport(&self) -> &Transport {
        &self.transport
    }

    pub fn on_offered(&mut self, ctx: &mut Context, answer: std::io::Result<usize>, records: &[u8]) {
        self.transport.take_offered(ctx, answer, records);
        self.settle(ctx);
        self.note_caught_up(ctx);
    }

    // ---- receiving

    /// Whether received bytes would be parsed or discarded now.
    fn wants_bytes(&self) -> bool {
        match self.close {
            Close::Open => !self.is_asking() && self.protocol.wants_bytes(self.transport.unsent()),
            // Reading on while the last bytes leave lets us see the peer's close.
            Close::AwaitingJs | Close::Flushing | Close::Lingering => true,
            Close::Closed => false,
        }
    }

    fn receive(&mut self, ctx: &mut Context, mut input: Input<'_>) {
        if self.close != Close::Open {
            return;
        }
        if self.unread.is_empty() {
            self.process(ctx, &mut input);
            if self.close == Close::Open {
                self.unread = Unread::of(input.bytes());
            }
        } else {
            self.unread.append(input.bytes());
            self.process_unread(ctx);
        }
        self.settle(ctx);
    }

    fn process_unread(&mut self, ctx: &mut Context) {
        let mut unread = std::mem::take(&mut self.unread);
        let mut input = unread.input();
        self.process(ctx, &mut input);
        let used = input.used();
        if self.close == Close::Open {
            self.unread = unread.without(used);
        }
    }

    /// Gives `input` to the protocol, which becomes another one at an upgrade.
    fn process(&mut self, ctx: &mut Context, input: &mut Input<'_>) {
        loop {
            let (protocol, mut io) = self.parts(ctx);
            let became = protocol.receive(&mut io, input);
            if self.close != Close::Open || !self.become_next(ctx, became) {
                return;
            }
        }
    }

    /// True: the connection has become another one, whose bytes may follow.
    fn become_next(&mut self, ctx: &mut Context, next: Option<Box<WebSocket>>) -> bool {
        let Some(websocket) = next else { return false };
        self.protocol = Protocol::WebSocket(websocket);
        self.counts().one(Metric::Upgrades);
        let plain = self.transport.tls.is_none();
        self.turn_into(if plain { Metric::PlainWebSocket } else { Metric::TlsWebSocket });
        let (protocol, mut io) = self.parts(ctx);
        if io.is_shutting_down() {
            protocol.shut_down(&mut io);
        }
        self.close == Close::Open
    }

    /// Parses what was left unread because it was too much for a turn, or JavaScript was too far behind.
    /// False: some of it is still left.
    fn catch_up(&mut self, ctx: &mut Context) -> bool {
        if self.unread.is_empty() || !self.protocol.leaves_messages() {
            return true;
        }
        if ctx.overloaded() {
            self.transport.queue(ctx);
        } else {
            self.receive(ctx, Input::kept(&mut []));
        }
        !self.transport.queued
    }

    /// Parses as much of the unread bytes as possible, after the protocol said that it is ready for more.
    fn resume(&mut self, ctx: &mut Context) {
        let waits_for_its_turn = self.transport.queued && self.protocol.leaves_messages();
        if self.close == Close::Open && !self.unread.is_empty() && !waits_for_its_turn {
            self.process_unread(ctx);
        }
        if self.transport.readable && self.wants_bytes() {
            self.transport.queue(ctx);
        }
        self.notice_peer_end(ctx);
    }

    // ---- ends

    fn end(&mut self, ctx: &mut Context, cause: Cause, code: u16) {
        let (_, mut io) = self.parts(ctx);
        io.end(cause, code, b"");
        self.settle(ctx);
    }

    /// Acts on the peer's end, once it has sent everything and the loop has read as much as it wants to for
    /// now. Messages that wait for their turn come first; `drive` notices the end behind them.
    fn notice_peer_end(&mut self, ctx: &mut Context) {
        let Transport { peer_ended, readable, queued, .. } = self.transport;
        let leaves_messages = queued && !self.unread.is_empty();
        if !peer_ended || leaves_messages || readable && self.wants_bytes() {
            return;
        }
        if !self.is_closed() && !self.protocol.is_over_high_water(self.transport.unsent()) {
            self.on_peer_end(ctx);
        }
    }

    fn on_peer_end(&mut self, ctx: &mut Context) {
        let (protocol, mut io) = self.parts(ctx);
        match io.close {
            Close::Open => protocol.on_peer_end(&mut io),
            // The last bytes may still reach a peer that closed only its sending side.
            _ => io.end(Cause::PeerEnd, 1006, b""),
        }
        self.settle(ctx);
    }

    /// Applies the consequences of the last step, until there are no more.
    fn settle(&mut self, ctx: &mut Context) {
        while self.close != self.entered || self.transport.has_news() {
            let news = self.transport.take_news();
            match news {
                News::Failed(Trouble::Socket) => self.on_write_failed(ctx),
                News::Failed(Trouble::Tls) => self.on_session_failed(ctx),
                News::Flushed | News::None => {}
            }
            if self.close != self.entered {
                // News of a write before it says nothing of the new state: more may have been queued since.
                self.entered = self.close;
                self.enter(ctx);
            } else if news == News::Flushed {
                self.on_flushed(ctx, self.transport.flushed_from());
            }
        }
        self.count_held(ctx);
    }

    fn count_held(&mut self, ctx: &mut Context) {
        let held = self.transport.held() + self.unread.held().1 + self.protocol.held();
        ctx.held = ctx.held.wrapping_add(held).wrapping_sub(self.held);
        self.held = held;
    }

    /// Applies the effects of the state that the connection has entered.
    fn enter(&mut self, ctx: &mut Context) {
        self.unread = Unread::default();
        trace!(LOOP, self.transport.id, "{:?}", self.close);
        match self.close {
            Close::Open => {}
            // No deadline: the next step is JavaScript's.
            Close::AwaitingJs => self.transport.set_timeout(ctx, 0),
            Close::Flushing => self.enter_flushing(ctx),
            Close::Lingering => {
                self.transport.set_timeout(ctx, END_TIMEOUT);
                self.transport.shutdown_write();
                if self.transport.readable {
                    self.transport.queue(ctx);
                }
            }
            Close::Closed => self.enter_closed(ctx),
        }
    }

    fn enter_flushing(&mut self, ctx: &mut Context) {
        let (protocol, mut io) = self.parts(ctx);
        protocol.leave_topics(io.ctx, io.transport.id);
        protocol.send_last(&mut io);
        io.transport.says_goodbye = !protocol.is_cut_by_an_end(false);
        // This timeout begins anew whenever the peer takes bytes; the time to close begins when it has taken
        // all of them.
        let cut = fault::is_on(Fault::CutResponse);
        io.set_timeout(if cut { END_TIMEOUT } else { io.timeouts().response });
        io.transport.mark_dirty(io.ctx);
    }

    fn enter_closed(&mut self, ctx: &mut Context) {
        self.protocol.leave_topics(ctx, self.transport.id);
        let is_cut = self.protocol.is_cut_by_an_end(!self.transport.out.is_empty());
        self.transport.close(ctx, is_cut);
        self.admission = None;
        self.counts().less(self.kind);
        if self.kind == Metric::TlsHandshaking && !self.transport.handshake_failed {
            self.counts().one(Metric::HandshakeAbandoned);
        }
        self.protocol.clear();
        ctx.connections -= 1;
        if let Some(app) = ctx.apps.get_mut(self.app as usize) {
            app.open -= 1;
        }
        ctx.filter_event(self.app, self.transport.id, false);
        ctx.reap.push(self.transport.id.slot);
    }

    /// Called when the kernel has been offered all bytes.
    fn on_flushed(&mut self, ctx: &mut Context, before: usize) {
        let now = self.transport.backlog();
        match self.close {
            Close::Open => {
                let (protocol, mut io) = self.parts(ctx);
                if protocol.on_flushed(&mut io, before, now) {
                    self.resume(ctx);
                }
            }
            Close::Flushing if self.transport.unsent() == 0 => {
                let ended = self.transport.peer_ended && !self.transport.readable;
                let peer_is_done = ended || fault::is_on(Fault::NoLinger);
                let (_, mut io) = self.parts(ctx);
                io.end(Cause::Sent { peer_is_done }, 0, b"");
            }
            // A peer that takes bytes gets all of them, however slow it is.
            Close::Flushing if now < before && !fault::is_on(Fault::CutResponse) => {
                self.transport.set_timeout(ctx, ctx.timeouts(self.app).response);
            }
            Close::AwaitingJs | Close::Flushing | Close::Lingering | Close::Closed => {}
        }
    }

    /// The peer takes no bytes any more, but may have sent some before. They are read first, and the read
    /// behind them returns the error.
    fn on_write_failed(&mut self, ctx: &mut Context) {
        if self.close == Close::Open && self.wants_bytes() {
            self.transport.give_up_writing(ctx);
            return self.transport.queue(ctx);
        }
        let (_, mut io) = self.parts(ctx);
        io.end(Cause::Abort, 1006, b"");
    }

    /// Debug builds assert at the end of a turn that all accounts of the connection balance.
    pub fn check(&self, ctx: &Context) {
        debug_assert_eq!(self.close, self.entered, "an end that has not taken effect");
        debug_assert!(self.close == Close::Open || self.unread.is_empty());
        debug_assert!(self.close == Close::Open || self.js != JsHandle::Attached, "JavaScript was not told");
        debug_assert!(self.close.takes_commands() || self.protocol.subscriptions() == 0);
        self.transport.check(ctx);
    }

    /// Whether the connection has a place among those that `doors` counts.
    pub fn is_counted_by(&self, doors: &Arc<Doors>) -> bool {
        self.admission.as_ref().is_some_and(|admission| admission.is_counted_by(doors))
    }

    /// Topics the connection is subscribed to.
    pub fn subscriptions(&self) -> usize {
        self.protocol.subscriptions()
    }

    /// Bytes that were received and are not parsed, and the memory they are in.
    #[cfg(any(test, feature = "simulation"))]
    pub fn unread(&self) -> (usize, usize) {
        self.unread.held()
    }

    /// The gauge that the connection counts in; `None`: it is closed.
    pub fn kind(&self) -> Option<Metric> {
        self.is_open().then_some(self.kind)
    }

    pub fn is_open(&self) -> bool {
        !self.is_closed()
    }
}

/// The differences between the two protocols; no other code asks which one a connection has.
impl Protocol {
    /// The connection is ready for the first request.
    fn start(&mut self, io: &mut Io<'_>) {
        match self {
            Protocol::Http(http) => http.start(io),
            Protocol::WebSocket(_) => {}
        }
    }

    /// Parses as much of the input as it may now. Returns the WebSocket that the connection becomes at an
    /// upgrade.
    fn receive(&mut self, io: &mut Io<'_>, input: &mut Input<'_>) -> Option<Box<WebSocket>> {
        match self {
            Protocol::Http(http) => http.receive(io, input),
            Protocol::WebSocket(websocket) => {
                websocket.receive(io, input);
                None
            }
        }
    }

    /// The app shuts down: ends a WebSocket, and bounds the time for a first request.
    fn shut_down(&mut self, io: &mut Io<'_>) {
        match self {
            Protocol::Http(http) => http.shut_down(io),
            Protocol::WebSocket(websocket) => websocket.go_away(io),
        }
    }

    /// Whether the connection is between two requests, so that its end takes nothing from anybody.
    fn is_idle(&self) -> bool {
        match self {
            Protocol::Http(http) => http.is_idle(),
            Protocol::WebSocket(_) => false,
        }
    }

    /// True: another request may be on its way, and has a moment to arrive.
    fn waits_for_last(&self, io: &mut Io<'_>) -> bool {
        match self {
            Protocol::Http(http) => {
                let waits = http.may_be_asked(io.ctx.now());
                if waits {
                    http.wait_for_last(io);
                }
                waits
            }
            Protocol::WebSocket(_) => false,
        }
    }

    /// The memory of a message or a body that is incomplete.
    fn held(&self) -> usize {
        match self {
            Protocol::Http(http) => http.held(),
            Protocol::WebSocket(websocket) => websocket.held(),
        }
    }

    /// The connection is closed: frees that memory, although JavaScript may keep the slot.
    fn clear(&mut self) {
        match self {
            Protocol::Http(http) => http.clear(),
            Protocol::WebSocket(websocket) => websocket.clear(),
        }
    }

    /// Whether a response is not complete.
    fn owes(&self) -> bool {
        match self {
            Protocol::Http(http) => http.owes(),
            Protocol::WebSocket(_) => true,
        }
    }

    /// Commands for the HTTP exchange that became a WebSocket, and WebSocket commands before that, are
    /// ignored.
    fn execute(&mut self, io: &mut Io<'_>, command: Command<'_>) -> Option<Box<WebSocket>> {
        match self {
            Protocol::Http(http) => http.execute(io, command),
            Protocol::WebSocket(websocket) => {
                websocket.execute(io, command);
                None
            }
        }
    }

    fn answer_flight(&mut self, io: &mut Io<'_>, flight: &Rc<Flight>, outcome: &Outcome) {
        match self {
            Protocol::Http(http) => http.answer_flight(io, flight, outcome),
            Protocol::WebSocket(_) => {}
        }
    }

    fn deliver(&mut self, io: &mut Io<'_>, publication: &mut Publication<'_>) {
        match self {
            Protocol::Http(_) => {}
            Protocol::WebSocket(websocket) => websocket.deliver(io, publication),
        }
    }

    /// True: the unread bytes may be parsed now.
    fn on_flushed(&mut self, io: &mut Io<'_>, before: usize, now: usize) -> bool {
        match self {
            Protocol::Http(http) => http.on_flushed(io, before, now),
            Protocol::WebSocket(websocket) => {
                websocket.on_flushed(io, before, now);
                false
            }
        }
    }

    fn on_timeout(&mut self, io: &mut Io<'_>) {
        match self {
            Protocol::Http(http) => http.on_timeout(io),
            Protocol::WebSocket(websocket) => websocket.on_timeout(io),
        }
    }

    fn on_peer_end(&mut self, io: &mut Io<'_>) {
        match self {
            Protocol::Http(http) => http.on_peer_end(io),
            Protocol::WebSocket(websocket) => websocket.on_peer_end(io),
        }
    }

    /// `unsent`: bytes the kernel has not taken.
    fn wants_bytes(&self, unsent: usize) -> bool {
        match self {
            Protocol::Http(http) => http.wants_bytes() && !http.is_over_high_water(unsent),
            Protocol::WebSocket(_) => true,
        }
    }

    /// Whether so much waits to be sent that the next request has to wait.
    fn is_over_high_water(&self, unsent: usize) -> bool {
        match self {
            Protocol::Http(http) => http.is_over_high_water(unsent),
            Protocol::WebSocket(_) => false,
        }
    }

    /// Whether a close by JavaScript leaves the responses to earlier requests alone.
    fn closes_behind_responses(&self) -> bool {
        match self {
            Protocol::Http(http) => http.closes_behind_responses(),
            Protocol::WebSocket(_) => false,
        }
    }

    /// The most bytes of one read.
    fn read_at_once(&self) -> usize {
        match self {
            Protocol::Http(http) => http.read_at_once(),
            Protocol::WebSocket(_) => usize::MAX,
        }
    }

    /// Whether whole messages or requests may be left in the unread bytes, by the bounds of a turn.
    fn leaves_messages(&self) -> bool {
        match self {
            Protocol::Http(http) => http.is_left(),
            Protocol::WebSocket(_) => true,
        }
    }

    /// Whether it has had its share of a turn that began with so many requests.
    fn has_had_its_turn(&self, requests: u32) -> bool {
        match self {
            Protocol::Http(http) => http.requests().saturating_sub(requests) >= STEPS_PER_TURN,
            Protocol::WebSocket(_) => false,
        }
    }

    /// How many requests the connection has brought.
    fn requests(&self) -> u32 {
        match self {
            Protocol::Http(http) => http.requests(),
            Protocol::WebSocket(_) => 0,
        }
    }

    /// Sends the last bytes, after JavaScript has answered all messages it got.
    fn send_last(&mut self, io: &mut Io<'_>) {
        match self {
            Protocol::Http(_) => {}
            Protocol::WebSocket(websocket) => websocket.send_pending_close(io),
        }
    }

    fn leave_topics(&mut self, ctx: &mut Context, id: ExchangeId) {
        match self {
            Protocol::Http(_) => {}
            Protocol::WebSocket(websocket) => websocket.leave_topics(ctx, id),
        }
    }

    /// Whether the end of the connection, if it came now, would look to the peer like the end of a body that
    /// is in fact incomplete. `unsent`: the kernel has not taken everything.
    fn is_cut_by_an_end(&self, unsent: bool) -> bool {
        match self {
            Protocol::Http(http) => http.ends_with_the_connection(unsent),
            Protocol::WebSocket(_) => false,
        }
    }

    fn subscriptions(&self) -> usize {
        match self {
            Protocol::Http(_) => 0,
            Protocol::WebSocket(websocket) => websocket.subscriptions(),
        }
    }
}
