//! HTTP/1.1 on a connection: requests in, exchanges in order.
//!
//! Pipelined requests are handed to JavaScript before the earlier ones are answered, up to a bound. The rest
//! of a pipeline stays in the connection's unread bytes, and the loop reads no more of it meanwhile.

use super::close::Cause;
use super::collect::Collecting;
use super::input::Input;
use super::io::Io;
use super::waiting::Waiting;
use super::websocket::{UpgradeRequest, WebSocket};
use crate::channel::{
    BODY_LAST, Command, JsEvent, Limit, MAX_UNSENT, Op, ResponseParts, UNKNOWN_LENGTH, request_flag,
    write_request_block,
};
use crate::event_loop::app::Behaviour;
use crate::event_loop::context::{Answerer, Context};
use crate::event_loop::timer::Tick;
use crate::fault::{self, Fault};
use crate::metrics::Metric;
use crate::protocol::http::body::{BodyDecoder, InPlace};
use crate::protocol::http::error::HttpError;
use crate::protocol::http::proxy::{self, Likeness};
use crate::protocol::http::request::{self, Framing, RequestHead};
use crate::protocol::http::response;
use crate::protocol::websocket::handshake;
use crate::routing::router::RouteKind;
use crate::trace::{Shown, trace, trace_payload};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

/// The most bytes that one read takes while they may be pipelined requests.
const REQUESTS_AT_ONCE: usize = 32 << 10;
/// Seconds that a client has for its first request once the app shuts down.
const FIRST_REQUEST: Tick = 2;
/// Seconds that a client has for its next request then, since it may have sent that before it could know.
const NEXT_REQUEST: Tick = 1;
/// JavaScript is told that a response may go on when less than this waits to be sent.
const WRITABLE_BELOW: usize = 256 << 10;

/// Steps of parsing (a head, or what is there of a body) in one turn; then the others have theirs. It bounds
/// the requests that the loop answers itself, of which very many fit into one read.
pub const STEPS_PER_TURN: u32 = 128;
/// Requests handed to JavaScript behind the one that is being answered; the rest of a pipeline waits
/// unparsed.
const MAX_AHEAD: usize = 31;
/// A body up to this length is handed over with its head, if all of it has arrived with the head.
const BODY_WITH_HEAD: usize = 16 << 10;
const _: () = assert!(BODY_WITH_HEAD <= request_flag::BODY_LENGTH.max() as usize);
/// The bound on the sum of the bodies of requests handed over ahead, which JavaScript keeps until their turn.
const BODIES_AHEAD: usize = 64 << 10;

#[derive(Default)]
pub struct Http {
    pub(super) phase: Phase,
    /// A request was handed to JavaScript, or waits for a flight, and its response is not complete.
    pub(super) pending: bool,
    pub(super) sending: Sending,
    pub(super) exchange: Exchange,
    /// The answer of a declared program that waits for the body; JavaScript knows nothing of this request.
    collecting: Option<Box<Collecting>>,
    /// The flight of a cached route that the request waits for; JavaScript knows nothing of this exchange.
    pub(super) waiting: Option<Box<Waiting>>,
    /// Pipelined requests behind `exchange` that JavaScript has been handed; it answers them in order.
    ahead: VecDeque<Exchange>,
    /// Body bytes handed over since `ahead` was last empty.
    ahead_bytes: usize,
    /// Bytes of the requests in `ahead`, which JavaScript keeps until their turn.
    ahead_held: usize,
    /// Bytes of the body that JavaScript keeps, because no handler has asked for it, or the program has
    /// paused.
    kept: usize,
    /// JavaScript has paused the body, or has not asked for more of it than the first bytes.
    pub(super) paused: bool,
    /// JavaScript has asked for more of the body than the first bytes.
    body_wanted: bool,
    /// JavaScript asked to be told when there is room.
    want_writable: bool,
    /// The peer has ended its side while its request waits. If JavaScript has the request, it was told so.
    pub(super) peer_end_told: bool,
    /// More can be parsed, in the next turn.
    is_left: bool,
    /// The first part of a head has arrived, and its timeout is running.
    pub(super) head_started: bool,
    /// Bytes of the body's data since the current timeout window began.
    pub(super) window_bytes: usize,
    /// When that window began, in the time in which the loop could read (`Context::reading`).
    pub(super) window_began: u64,
    /// The tick until which the next bytes have time, if those of the whole request does not end before;
    /// `Tick::MAX`: as long as they like.
    pub(super) waits_until: Tick,
    /// While the peer also owes a part of a head, or the program does not read its body: the tick until which
    /// it has to take bytes of a response that the kernel has refused; 0: there are none.
    pub(super) takes_until: Tick,
    /// Bytes of the body's data so far.
    pub(super) received: u64,
    /// The deadline of the whole request, in the same time; 0: none.
    pub(super) request_until: u64,
    /// When the body was paused, in that time.
    paused_at: u64,
    /// With more bytes than this waiting to be sent, the next request is not read. It is set when the
    /// connection starts.
    max_unsent: usize,
    /// The tick in which the last response was complete.
    idle_since: Tick,
    /// `100 Continue` waits to be sent behind a response, and the client waits for it.
    pub(super) asks_for_body: bool,
    /// A PROXY header has said who the client is, or that nobody knows.
    is_named: bool,
}

/// The parts of a request that its response depends on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Exchange {
    pub(super) head_request: bool,
    pub(super) http_1_0: bool,
    pub(super) keep_alive: bool,
    /// The client sent `Connection: close`; the response need not repeat it.
    pub(super) close_known: bool,
    /// The client is a browser whose permessage-deflate is broken, and asks for a WebSocket.
    broken_deflate: bool,
    /// The bytes behind it may be those of a WebSocket, not requests.
    may_upgrade: bool,
    /// The number of this exchange on its connection, wrapping.
    number: u8,
    /// How many requests the connection has brought with this one.
    pub(super) nth: u32,
    /// Bytes of the request, if it was handed over ahead.
    bytes: u32,
    /// Those of its body.
    body: u16,
}

/// How far the request has been received.
#[derive(Default)]
pub(super) enum Phase {
    /// Nothing received yet, or the beginning of a PROXY protocol header.
    #[default]
    Fresh,
    Head,
    Body(BodyDecoder),
    /// The request is complete, its response is not.
    Responding,
}

/// How the response's body is delimited, once its head is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sending {
    #[default]
    Nothing,
    Chunked,
    /// Until the connection closes (HTTP/1.0).
    UntilClose,
    Length(u64),
    /// The status or the method leaves no body; the loop discards the bytes that JavaScript sends for one.
    Omitted,
}

impl Http {
    pub fn wants_bytes(&self) -> bool {
        match self.phase {
            Phase::Fresh | Phase::Head => true,
            Phase::Body(_) => !self.paused,
            Phase::Responding => false,
        }
    }

    /// Whether a pipelined request may be handed over before this one is answered.
    fn may_look_ahead(&self) -> bool {
        let last = self.last_exchange();
        let waits = last.may_upgrade && !fault::is_on(Fault::BehindUpgrade);
        // JavaScript would take the first request that it is handed for the one to be answered.
        self.pending && self.waiting.is_none() && last.keep_alive && !waits && self.ahead.len() < MAX_AHEAD
    }

    /// The exchange whose request came last.
    fn last_exchange(&self) -> &Exchange {
        self.ahead.back().unwrap_or(&self.exchange)
    }

    /// Whether requests behind the one being answered have been handed over, too.
    pub(super) fn has_looked_ahead(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// Whether the peer has ended its side before its request was answered. JavaScript closes then, since the
    /// peer has most likely left. If it has not, the responses to its earlier requests are complete, and it
    /// takes them.
    pub fn closes_behind_responses(&self) -> bool {
        self.pending && self.peer_end_told && !self.has_begun_response()
    }

    pub(super) fn has_begun_response(&self) -> bool {
        self.sending != Sending::Nothing
    }

    /// Whether the response is complete and only the rest of the request's body is still to come.
    fn is_answered(&self) -> bool {
        matches!(self.phase, Phase::Body(_)) && !self.pending
    }

    /// Whether the request's body is still to come, and how much of it if that is known.
    pub(super) fn body_announced(&self) -> Option<Option<u64>> {
        match &self.phase {
            Phase::Body(decoder) => Some(decoder.remaining()),
            Phase::Fresh | Phase::Head | Phase::Responding => None,
        }
    }

    pub(super) fn collect(&mut self, collecting: Collecting) {
        self.pending = true;
        self.collecting = Some(Box::new(collecting));
    }

    /// The most bytes of one read. It is small between bodies: requests that cannot be handled before earlier
    /// ones are answered stay in the kernel then, whose flow control slows the client.
    pub fn read_at_once(&self) -> usize {
        match self.phase {
            Phase::Body(_) => usize::MAX,
            Phase::Fresh | Phase::Head | Phase::Responding => REQUESTS_AT_ONCE,
        }
    }

    /// Whether so much waits to be sent that the next request has to wait.
    pub fn is_over_high_water(&self, unsent: usize) -> bool {
        unsent > self.max_unsent && self.is_between_requests()
    }

    /// Whether the next bytes are those of a request. Earlier responses may still be on their way.
    pub(super) fn is_between_requests(&self) -> bool {
        matches!(self.phase, Phase::Head)
    }

    /// Whether the end of the connection, if it came now, would look to the peer like the end of a body that
    /// is in fact incomplete. `unsent`: the kernel has not taken everything.
    pub fn ends_with_the_connection(&self, unsent: bool) -> bool {
        (self.pending && self.sending == Sending::UntilClose) || (self.exchange.http_1_0 && unsent)
    }

    fn has_whole_request(&self) -> bool {
        !matches!(self.phase, Phase::Body(_))
    }
}

impl Exchange {
    /// The exchange behind `last`.
    fn new(head: &RequestHead, bytes: &[u8], last: &Exchange) -> Self {
        Exchange {
            number: last.number.wrapping_add(1) & request_flag::EXCHANGE.max() as u8,
            nth: last.nth.saturating_add(1),
            bytes: 0,
            body: 0,
            may_upgrade: head.websocket_key.is_some(),
            head_request: head.method.of(bytes) == b"HEAD",
            http_1_0: head.minor_version == 0,
            keep_alive: head.keep_alive,
            close_known: head.connection_close,
            broken_deflate: head.websocket_key.is_some()
                && head.header(bytes, b"user-agent").is_some_and(handshake::has_broken_compression),
        }
    }
}

/// The outcome of one step through the input.
enum Step {
    /// More bytes are needed, or the next ones may not be parsed yet.
    Wait,
    /// So many bytes have been parsed.
    Used(usize),
    /// So many bytes have been parsed, and frames follow.
    Upgraded(usize, Box<WebSocket>),
}

/// A command with a response, or a part of one.
type ResponseCommand = fn(&mut Http, &mut Io<'_>, Command<'_>);

impl Http {
    /// The connection is ready for its first request.
    pub fn start(&mut self, io: &mut Io<'_>) {
        self.max_unsent = io.limits().and_then(|limits| limits.max_unsent_bytes).unwrap_or(MAX_UNSENT);
        self.wait_for_head(io);
        if io.is_shutting_down() {
            self.shut_down(io);
        }
    }

    /// The app shuts down. A client that has connected, and whose first request may be on its way, gets an
    /// answer to it.
    pub fn shut_down(&self, io: &mut Io<'_>) {
        if self.is_new() && !self.head_started {
            io.set_timeout(FIRST_REQUEST);
        }
    }

    /// Whether there was no request so far. A PROXY header is none.
    fn is_new(&self) -> bool {
        self.exchange.nth == 0
    }

    /// The app shuts down, and the client waits for nothing.
    pub fn wait_for_last(&self, io: &mut Io<'_>) {
        io.set_timeout(NEXT_REQUEST);
    }

    /// Whether the client waits for nothing. It may be sending the rest of a body whose request is answered.
    pub fn is_idle(&self) -> bool {
        !self.pending && !self.is_new() && matches!(self.phase, Phase::Head | Phase::Body(_))
    }

    /// Whether the last response is so recent that the next request may be on its way.
    pub fn may_be_asked(&self, now: Tick) -> bool {
        matches!(self.phase, Phase::Head) && now <= self.idle_since + NEXT_REQUEST
    }

    /// The memory of a body that the answer waits for, and of what JavaScript keeps: requests until their
    /// turn, and parts of a body until the program takes them.
    pub fn held(&self) -> usize {
        let waiting = self.waiting.as_ref().map_or(0, |waiting| waiting.held());
        let collecting = self.collecting.as_ref().map_or(0, |collecting| collecting.held());
        self.ahead_held + self.kept + collecting + waiting
    }

    /// The connection is closed. JavaScript drops its requests when it hears of that.
    pub fn clear(&mut self) {
        self.collecting = None;
        self.waiting = None;
        self.ahead_held = 0;
        self.kept = 0;
    }

    /// Whether a response is not complete.
    pub fn owes(&self) -> bool {
        self.pending
    }

    /// Called when the head of a response is about to be written: it is the connection's last if the app
    /// shuts down and no other request has been received.
    pub(super) fn close_behind_last(&mut self, io: &Io<'_>) {
        if io.is_shutting_down() && !io.more && !io.transport.may_have_more() && self.ahead.is_empty() {
            self.exchange.keep_alive = false;
        }
    }

    /// The state behind a request: it keeps only what is of the connection.
    fn after(&self, phase: Phase, exchange: Exchange) -> Self {
        let Http { max_unsent, is_named, .. } = *self;
        Http { phase, exchange, max_unsent, is_named, ..Http::default() }
    }

    /// Parses as much of the input as it may now. Returns the WebSocket that the connection becomes at an
    /// upgrade.
    pub fn receive(&mut self, io: &mut Io<'_>, input: &mut Input<'_>) -> Option<Box<WebSocket>> {
        self.is_left = false;
        for _ in 0..STEPS_PER_TURN {
            let step = match &self.phase {
                Phase::Fresh => self.first_bytes(io, input.bytes()),
                Phase::Head if self.is_over_high_water(io.unsent()) => {
                    if !input.is_empty() {
                        io.breach(Limit::MaxUnsentBytes);
                    }
                    Step::Wait
                }
                Phase::Head => self.head(io, input.bytes()),
                Phase::Body(_) if self.paused || input.is_empty() => Step::Wait,
                Phase::Body(_) => {
                    self.body(io, input);
                    Step::Used(0)
                }
                Phase::Responding if self.may_look_ahead() && io.unsent() <= self.max_unsent => {
                    self.head_ahead(io, input.bytes())
                }
                Phase::Responding => Step::Wait,
            };
            match step {
                Step::Wait => return None,
                Step::Used(n) => input.consume(n),
                Step::Upgraded(n, websocket) => {
                    input.consume(n);
                    return Some(websocket);
                }
            }
            if !io.takes_commands() {
                input.consume_all();
                return None;
            }
        }
        if !input.is_empty() {
            self.is_left = true;
            io.transport.queue(io.ctx);
        }
        None
    }

    /// Whether more can be parsed, in the next turn.
    pub fn is_left(&self) -> bool {
        self.is_left
    }

    /// How many requests the connection has brought.
    pub fn requests(&self) -> u32 {
        self.last_exchange().nth
    }

    /// The first bytes of a connection.
    fn first_bytes(&mut self, io: &mut Io<'_>, bytes: &[u8]) -> Step {
        if bytes.is_empty() {
            return Step::Wait;
        }
        let step = self.proxy_header(io, bytes).unwrap_or(Step::Used(0));
        if let Step::Used(_) = step {
            self.phase = Phase::Head;
        }
        step
    }

    /// Takes a PROXY header, which may precede any request. `None`: there is none. From a peer that may not
    /// send one it is the beginning of a request, and of none that is well formed.
    fn proxy_header(&mut self, io: &mut Io<'_>, bytes: &[u8]) -> Option<Step> {
        let likeness = proxy::looks_like_proxy(bytes);
        if likeness == Likeness::No || !io.may_say_proxy() {
            return None;
        }
        if likeness == Likeness::Maybe {
            return Some(Step::Wait);
        }
        match proxy::parse(bytes) {
            Ok(None) => Some(Step::Wait),
            Ok(Some((header, used))) => {
                self.name_client(io, header.source);
                Some(Step::Used(used))
            }
            Err(_) => {
                io.count(Metric::BadProxyHeader);
                trace!(HTTP, io.id(), "a malformed PROXY header");
                if self.is_new() {
                    io.end(Cause::Abort, 0, b"");
                } else {
                    // The responses to earlier requests are still to be sent.
                    self.refuse(io, HttpError::BadRequest("a malformed PROXY header"));
                }
                Some(Step::Used(bytes.len()))
            }
        }
    }

    /// The first PROXY header of a connection says for whom it is. The proxy writes it in front of all that
    /// comes from the client, so a later one may be the client's own and counts for nothing.
    fn name_client(&mut self, io: &mut Io<'_>, client: Option<SocketAddr>) {
        if std::mem::replace(&mut self.is_named, true) {
            return;
        }
        io.ctx.shared.slots.get(io.id().slot).set_proxied(client);
        if !io.name_client(client) {
            let cause = if self.is_new() { Cause::Abort } else { Cause::Refuse };
            io.end(cause, 0, b"");
        }
    }

    fn head(&mut self, io: &mut Io<'_>, bytes: &mut [u8]) -> Step {
        if bytes.is_empty() {
            return Step::Wait;
        }
        match self.proxy_header(io, bytes) {
            Some(Step::Wait) => {
                self.head_is_partial(io);
                return Step::Wait;
            }
            Some(step) => return step,
            None => {}
        }
        let mut head = std::mem::take(&mut io.ctx.head);
        let result = request::parse(bytes, &io.ctx.limits, &mut head);
        let step = match result {
            Ok(Some(used)) => self.dispatch(io, &head, bytes, used),
            Ok(None) => {
                self.head_is_partial(io);
                Step::Wait
            }
            Err(error) => {
                self.refuse(io, error);
                Step::Used(bytes.len())
            }
        };
        io.ctx.head = head;
        step
    }

    /// Hands over a pipelined request behind those that JavaScript has. An incomplete one waits, and so does
    /// one that cannot be handled before the others are answered: one with a large or chunked body, one that
    /// asks for an upgrade, one that the loop answers itself, and a malformed one.
    fn head_ahead(&mut self, io: &mut Io<'_>, bytes: &mut [u8]) -> Step {
        if bytes.is_empty() {
            return Step::Wait;
        }
        let mut head = std::mem::take(&mut io.ctx.head);
        let parsed = request::parse(bytes, &io.ctx.limits, &mut head);
        let used = parsed.ok().flatten().and_then(|used| self.look_ahead(io, &head, bytes, used));
        io.ctx.head = head;
        used.map_or(Step::Wait, Step::Used)
    }

    /// `head` is in the first `used` of `bytes`. `None`: the request has to wait.
    fn look_ahead(
        &mut self,
        io: &mut Io<'_>,
        head: &RequestHead,
        bytes: &[u8],
        used: usize,
    ) -> Option<usize> {
        if head.websocket_key.is_some() || head.expect_continue {
            return None;
        }
        let (request, rest) = bytes.split_at(used);
        let body = body_with_head(head, rest)?;
        if self.ahead_bytes + body.len() > BODIES_AHEAD {
            return None;
        }
        let (handler, _) =
            match_routes(io, head, request).filter(|(id, _)| io.ctx.answerer(*id).is_none())?;
        let mut exchange = Exchange::new(head, request, self.last_exchange());
        if !io.may_pass_ahead(head, request) {
            return None;
        }
        io.note_last(&mut exchange);
        self.ahead_bytes += body.len();
        (exchange.bytes, exchange.body) = ((used + body.len()) as u32, body.len() as u16);
        self.ahead_held += exchange.bytes as usize;
        self.ahead.push_back(exchange);
        trace_payload!(HTTP, io.id(), "head", request);
        io.count(Metric::Requests);
        request_event(io, head, request, body, exchange, handler, request_flag::AHEAD);
        Some(used + body.len())
    }

    fn head_is_partial(&mut self, io: &mut Io<'_>) {
        if !std::mem::replace(&mut self.head_started, true) {
            self.begin_request_timeout(io);
            self.wait_for_head(io);
            if io.transport.is_blocked() {
                self.wait_for_taking(io);
            }
        }
    }

    /// Answers a request that is malformed or refused, unless it has an answer already, and ends the
    /// connection.
    pub(super) fn refuse(&mut self, io: &mut Io<'_>, error: HttpError) {
        trace!(HTTP, io.id(), "refused with {}: {error}", error.status());
        io.count(metric_of(error));
        io.end(Cause::Refuse, 0, b"");
        self.collecting = None;
        self.waiting = None;
        if !self.has_begun_response() && !self.is_answered() {
            io.count(Metric::responses(error.status().to_string().as_bytes()));
            io.send(|out| out.extend_from_slice(error.response()));
        }
    }

    /// Ends the connection without an answer to its last request. The responses to earlier ones are still
    /// sent: a pipeline and the end behind it may come in one read.
    pub(super) fn leave_unanswered(&mut self, io: &mut Io<'_>) {
        self.collecting = None;
        self.waiting = None;
        io.end(Cause::Refuse, 0, b"");
    }

    /// Handles a request; `head` is in the first `used` of `bytes`.
    fn dispatch(&mut self, io: &mut Io<'_>, head: &RequestHead, bytes: &[u8], used: usize) -> Step {
        let (request, rest) = bytes.split_at(used);
        let has_body = head.framing.has_body();
        io.more = !has_body && !rest.is_empty();
        let mut exchange = Exchange::new(head, request, &self.exchange);
        io.note_last(&mut exchange);
        io.count(Metric::Requests);
        trace_payload!(HTTP, io.id(), "head", request);
        let phase = if has_body { Phase::Body(BodyDecoder::new(head.framing)) } else { Phase::Responding };
        let request_until = self.request_until;
        *self = self.after(phase, exchange);
        if has_body {
            self.request_until = request_until;
            self.begin_request_timeout(io);
            self.restart_window(io);
        }
        if self.is_over_limits(io, head, request) {
            return Step::Used(used);
        }
        let matched = match_routes(io, head, request);
        if matches!(matched, Some((_, RouteKind::WebSocket))) && self.is_over_upgrades(io, head, request) {
            return Step::Used(used);
        }
        let handler = match matched {
            None => {
                if has_body && head.expect_continue && !fault::is_on(Fault::EatenRequest) {
                    // Ask for the body: a client that waits for this response would otherwise send its next
                    // request where the loop expects the body.
                    self.ask_for_body(io);
                }
                self.not_found(io);
                return Step::Used(used);
            }
            Some((id, RouteKind::WebSocket)) if !has_body => {
                if let Some(behaviour) = io.ctx.behaviour(id).filter(|behaviour| behaviour.auto_upgrade) {
                    return Step::Upgraded(used, self.auto_upgrade(io, head, request, behaviour));
                }
                id
            }
            Some((id, _)) => {
                if let Some(answerer) = io.ctx.answerer(id) {
                    self.answer_without_javascript(io, head, request, id, answerer);
                    return Step::Used(used);
                }
                id
            }
        };
        Step::Used(used + self.hand_over(io, head, request, rest, handler))
    }

    fn answer_without_javascript(
        &mut self,
        io: &mut Io<'_>,
        head: &RequestHead,
        request: &[u8],
        handler: u32,
        answerer: Answerer,
    ) {
        let method = head.method.of(request);
        trace!(HTTP, io.id(), "{} {} by the loop", Shown(method), Shown(head.path.of(request)));
        match answerer {
            Answerer::Program(program) => self.answer_declared(io, head, request, program),
            Answerer::Metrics(scope) => self.answer_metrics(io, head, request, scope),
            Answerer::Cached(route) => self.answer_cached(io, head, request, handler, &route),
        }
    }

    /// Hands a request to JavaScript; returns how many bytes of its body are handed over with it.
    fn hand_over(
        &mut self,
        io: &mut Io<'_>,
        head: &RequestHead,
        request: &[u8],
        rest: &[u8],
        handler: u32,
    ) -> usize {
        let whole = body_with_head(head, rest);
        let body = whole.unwrap_or_default();
        request_event(io, head, request, body, self.exchange, handler, 0);
        io.attach();
        self.pending = true;
        self.received = body.len() as u64;
        if whole.is_some() {
            self.phase = Phase::Responding;
        }
        if head.framing.has_body() && head.expect_continue {
            self.ask_for_body(io);
        }
        if whole.is_some() {
            self.request_is_whole(io);
        }
        body.len()
    }

    /// The client has done its part: the time of the request is over, and the response may take its own.
    pub(super) fn request_is_whole(&mut self, io: &mut Io<'_>) {
        self.request_until = 0;
        self.takes_until = 0;
        if io.transport.is_blocked() {
            // It still has to take what has been sent: perhaps there is no other event before it does.
            self.wait(io, io.timeouts().response);
        } else {
            io.set_timeout(0);
        }
    }

    fn not_found(&mut self, io: &mut Io<'_>) {
        self.close_behind_last(io);
        let Exchange { keep_alive, close_known, head_request: omit_body, .. } = self.exchange;
        let close = !keep_alive && !close_known;
        io.count(Metric::Responses4xx);
        trace!(HTTP, io.id(), "no route matches: 404");
        io.send_dated(|out, now| response::write_not_found(out, Some(now), close, omit_body));
        self.done(io);
    }

    fn body(&mut self, io: &mut Io<'_>, input: &mut Input<'_>) {
        let Phase::Body(decoder) = &mut self.phase else { return };
        let decoded = decoder.decode_in_place(input.bytes());
        let (last, remaining) = (decoder.is_done(), decoder.remaining().unwrap_or(UNKNOWN_LENGTH));
        let InPlace { used, data } = match decoded {
            Ok(in_place) => in_place,
            Err(error) => {
                input.consume_all();
                return self.refuse(io, error);
            }
        };
        // Data alone, as in the original: leading zeros, chunk extensions and trailer fields bring nothing.
        if !data.is_empty() && std::mem::take(&mut self.asks_for_body) {
            // The client has not waited to be asked.
            self.restart_window(io);
        }
        self.window_bytes += data.len();
        trace_payload!(HTTP, io.id(), "body", &input.bytes()[data.clone()]);
        self.received += data.len() as u64;
        if io.limits().and_then(|limits| limits.max_body_length).is_some_and(|most| self.received > most) {
            input.consume_all();
            io.breach(Limit::MaxBodyLength);
            return self.refuse(io, HttpError::ContentTooLarge);
        }
        if let Some(collecting) = &mut self.collecting {
            let collected = collecting.append(&input.bytes()[data]);
            input.consume(used);
            if let Err(error) = collected {
                input.consume_all();
                return self.refuse(io, error);
            }
        } else if self.pending && self.waiting.is_none() && (last || !data.is_empty()) {
            let length = data.len();
            let event = JsEvent::Data { flags: if last { BODY_LAST } else { 0 }, remaining };
            let payload = input.payload(used, data, &io.ctx.shared.blocks);
            io.payload_event(event, payload);
            // Pause until JavaScript asks for more: otherwise all that a turn reads would wait in JavaScript
            // for a handler that may never be set.
            if !self.body_wanted && !last {
                self.pause(io);
                self.kept += length;
            }
        } else {
            input.consume(used);
        }
        if last {
            io.more = !input.is_empty();
            self.body_complete(io);
        }
    }

    fn body_complete(&mut self, io: &mut Io<'_>) {
        if !self.pending {
            return self.next(io);
        }
        self.phase = Phase::Responding;
        self.request_is_whole(io);
        if let Some(collecting) = self.collecting.take() {
            self.answer_collected(io, *collecting);
        }
    }

    /// The connection waits for the next request.
    fn next(&mut self, io: &mut Io<'_>) {
        // Keep only the number of the last exchange.
        *self = self.after(Phase::Head, self.exchange);
        self.idle_since = io.ctx.now();
        self.wait_for_request(io);
    }

    /// The response is complete.
    pub(super) fn done(&mut self, io: &mut Io<'_>) {
        if self.exchange.keep_alive
            && let Some(next) = self.ahead.pop_front()
        {
            self.exchange = next;
            self.ahead_held -= next.bytes as usize;
            self.received = u64::from(next.body);
            self.kept = 0;
            self.sending = Sending::Nothing;
            self.paused = false;
            self.body_wanted = false;
            // JavaScript has asked for nothing and been told nothing on the next exchange.
            self.want_writable = false;
            self.peer_end_told = false;
            if self.ahead.is_empty() {
                self.ahead_bytes = 0;
            }
            return;
        }
        if self.has_looked_ahead() {
            // JavaScript has requests that will not be answered, so it is told of the end.
            return io.end(Cause::Refuse, 0, b"");
        }
        self.pending = false;
        self.go_on_with_body(io);
        io.detach();
        if !self.exchange.keep_alive {
            return io.end(Cause::End, 0, b"");
        }
        // If the body is still arriving, the rest of it is read and discarded first.
        if let Phase::Responding = self.phase {
            self.next(io);
        }
    }

    // ---- commands of JavaScript

    pub fn execute(&mut self, io: &mut Io<'_>, command: Command<'_>) -> Option<Box<WebSocket>> {
        match command.op {
            Op::Respond => self.execute_response(io, command, Http::respond),
            Op::Write => self.execute_response(io, command, Http::write_chunk),
            Op::TryEnd => self.execute_response(io, command, Http::try_end),
            Op::Finish => self.execute_response(io, command, Http::finish),
            Op::Upgrade if self.pending && self.waiting.is_none() => return self.upgrade(io, &command),
            Op::Pause => self.pause_with(io, command.arg),
            Op::Resume => self.unpause(io),
            Op::WantWritable => {
                self.want_writable = true;
                // The flush at the end of the turn answers, at once if little waits to be sent.
                io.transport.mark_dirty(io.ctx);
            }
            _ => {}
        }
        None
    }

    fn execute_response(&mut self, io: &mut Io<'_>, command: Command<'_>, run: ResponseCommand) {
        if self.pending && self.waiting.is_none() {
            run(self, io, command);
        }
    }

    /// `taken`: the bytes of the body, wrapping, that the program has been given. JavaScript keeps the others
    /// that are on their way, and asks for none before it has given the program all of them.
    fn pause_with(&mut self, io: &mut Io<'_>, taken: u32) {
        if self.pending {
            self.kept = (self.received as u32).wrapping_sub(taken) as usize;
        }
        self.pause(io);
    }

    fn pause(&mut self, io: &mut Io<'_>) {
        if !std::mem::replace(&mut self.paused, true) {
            self.paused_at = io.ctx.reading();
            if io.transport.is_blocked() {
                self.wait_for_taking(io);
            }
        }
    }

    /// Returns whether the body was paused. The time in which nobody read it does not count against the peer.
    fn end_pause(&mut self, io: &Io<'_>) -> bool {
        let was_paused = std::mem::replace(&mut self.paused, false);
        self.kept = 0;
        self.takes_until = 0;
        if was_paused && self.request_until != 0 {
            self.request_until += io.ctx.reading() - self.paused_at;
        }
        was_paused
    }

    fn unpause(&mut self, io: &mut Io<'_>) {
        self.body_wanted = true;
        self.go_on_with_body(io);
    }

    /// The body is read again, or its rest is read and discarded, in a window of its own.
    fn go_on_with_body(&mut self, io: &mut Io<'_>) {
        if self.end_pause(io)
            && let Phase::Body(_) = self.phase
        {
            self.restart_window(io);
        }
    }

    // ---- upgrades

    /// Upgrades for a `ws` route without `upgrade` handler: with the first subprotocol, negotiated
    /// compression and empty user data.
    fn auto_upgrade(
        &mut self,
        io: &mut Io<'_>,
        head: &RequestHead,
        bytes: &[u8],
        behaviour: Arc<Behaviour>,
    ) -> Box<WebSocket> {
        let request = UpgradeRequest {
            key: head.websocket_key.map_or(&b""[..], |key| key.of(bytes)),
            protocol: head.header(bytes, b"sec-websocket-protocol").unwrap_or_default(),
            extensions: head.header(bytes, b"sec-websocket-extensions").unwrap_or_default(),
            may_compress: !self.exchange.broken_deflate,
        };
        io.attach();
        io.event(JsEvent::Open { behaviour: behaviour.id }, b"");
        let parts = ResponseParts { status: b"", headers: b"", body: b"" };
        WebSocket::accept(io, behaviour, &parts, &request)
    }

    /// `res.upgrade`, called in the handler or long after it.
    fn upgrade(&mut self, io: &mut Io<'_>, command: &Command<'_>) -> Option<Box<WebSocket>> {
        let parts = ResponseParts::parse(command.payload);
        let inner = ResponseParts::parse(parts.body);
        let request = UpgradeRequest {
            key: inner.status,
            protocol: inner.headers,
            extensions: inner.body,
            may_compress: !self.exchange.broken_deflate,
        };
        let behaviour = io.ctx.behaviour(command.arg)?;
        let ahead = self.has_looked_ahead() && !fault::is_on(Fault::BehindUpgrade);
        if !self.has_whole_request() || ahead || self.has_begun_response() {
            // An upgrade now would take the rest of a body for frames, or come after bytes were parsed as
            // requests.
            io.end(Cause::Abort, 1006, b"");
            return None;
        }
        Some(WebSocket::accept(io, behaviour, &parts, &request))
    }

    /// Sends `100 Continue` (RFC 9110 §10.1.1). Behind a response that the client takes slowly, the time for
    /// the body begins only when that has left.
    pub(super) fn ask_for_body(&mut self, io: &mut Io<'_>) {
        self.asks_for_body = io.unsent() > 0;
        io.send(|out| out.extend_from_slice(response::CONTINUE));
        if io.transport.is_blocked() {
            self.wait_for_taking(io);
        }
    }

    // ---- events of the connection

    /// True: the next request may be parsed, if there is one.
    pub fn on_flushed(&mut self, io: &mut Io<'_>, before: usize, now: usize) -> bool {
        let drained = before > 0 && now == 0;
        if self.pending && self.want_writable && now < WRITABLE_BELOW && now <= self.max_unsent {
            self.want_writable = false;
            io.event(JsEvent::Writable { exchange: u32::from(self.exchange.number) }, b"");
        }
        let waits_for_javascript = self.pending && matches!(self.phase, Phase::Responding);
        if drained && std::mem::take(&mut self.asks_for_body) && matches!(self.phase, Phase::Body(_)) {
            self.restart_window(io);
        }
        if io.transport.is_blocked() && (before == 0 || now < before) {
            self.wait_for_taking(io);
        } else if drained && self.takes_until != 0 {
            self.need_not_take(io);
        } else if drained && waits_for_javascript {
            self.wait_for_answer(io);
        } else if drained && self.is_between_requests() && !self.head_started {
            self.restart_wait_for_request(io);
        }
        now <= self.max_unsent && self.is_between_requests()
    }

    pub fn on_peer_end(&mut self, io: &mut Io<'_>) {
        match self.phase {
            Phase::Body(_) if self.pending => {
                // The rest of the body will never come.
                if !self.paused {
                    self.leave_unanswered(io);
                }
            }
            _ if self.waiting.is_some() => {
                if !std::mem::replace(&mut self.peer_end_told, true) && !io.transport.is_blocked() {
                    self.wait_for_answer(io);
                }
            }
            _ if self.pending => {
                if !std::mem::replace(&mut self.peer_end_told, true) {
                    io.event(JsEvent::PeerEnd, b"");
                }
            }
            _ => io.end(Cause::Refuse, 0, b""),
        }
    }
}

fn metric_of(error: HttpError) -> Metric {
    match error {
        HttpError::BadRequest(_) => Metric::BadRequest,
        HttpError::HeaderFieldsTooLarge => Metric::HeaderFieldsTooLarge,
        HttpError::RequestTimeout => Metric::LateRequest,
        HttpError::ContentTooLarge => Metric::ContentTooLarge,
        HttpError::Unavailable => Metric::Unavailable,
        HttpError::VersionNotSupported => Metric::VersionNotSupported,
    }
}

fn request_event(
    io: &mut Io<'_>,
    head: &RequestHead,
    bytes: &[u8],
    body: &[u8],
    exchange: Exchange,
    handler: u32,
    flags: u32,
) {
    let method = head.method.of(bytes);
    trace!(HTTP, io.id(), "{} {} to JavaScript", Shown(method), Shown(head.path.of(bytes)));
    let flag = |set: bool, flag: u32| if set { flag } else { 0 };
    let flags = flags
        | flag(head.framing.has_body(), request_flag::HAS_BODY)
        | flag(exchange.head_request, request_flag::HEAD)
        | request_flag::BODY_LENGTH.put(body.len() as u32)
        | request_flag::EXCHANGE.put(u32::from(exchange.number));
    let Context { events, matches, .. } = io.ctx;
    events.push_with(JsEvent::Request { handler, flags, app: io.app }, io.transport.id, |arena| {
        write_request_block(arena, head, matches, bytes, body);
    });
}

/// The whole body, which may be empty, if it has arrived with its head and is small enough to be handed over
/// with it.
fn body_with_head<'a>(head: &RequestHead, rest: &'a [u8]) -> Option<&'a [u8]> {
    match head.framing {
        Framing::None => Some(&[]),
        Framing::Length(length) if length <= BODY_WITH_HEAD as u64 => rest.get(..length as usize),
        _ => None,
    }
}

/// Fills `ctx.matches` with all matches in order of priority and returns the first.
pub(super) fn match_routes(io: &mut Io<'_>, head: &RequestHead, bytes: &[u8]) -> Option<(u32, RouteKind)> {
    let method = head.method.of(bytes);
    if method == b"HEAD" && io.ctx.caches.answer_head {
        let first = match_routes_of(io, head, bytes, b"GET");
        let answerer = first.and_then(|(id, _)| io.ctx.answerer(id));
        if matches!(answerer, Some(Answerer::Cached(route)) if route.options.head) {
            return first;
        }
    }
    match_routes_of(io, head, bytes, method)
}

fn match_routes_of(
    io: &mut Io<'_>,
    head: &RequestHead,
    bytes: &[u8],
    method: &[u8],
) -> Option<(u32, RouteKind)> {
    let Context { apps, matches, .. } = &mut *io.ctx;
    matches.clear();
    let app = apps.get(io.app as usize)?;
    // A server name without routes of its own is served by those of the app.
    let domain = io.transport.router().map(|router| router.borrow());
    let router = domain.as_deref().filter(|router| !router.is_empty()).unwrap_or(&app.router);
    let mut first = None;
    router.route(method, head.path.of(bytes), head.websocket_key.is_some(), &mut |id, kind, parameters| {
        first.get_or_insert((id, kind));
        matches.extend([id, parameters.len() as u32]);
        for span in parameters {
            // Relative to the head, like every other span JavaScript gets.
            matches.extend([head.path.start + span.start, head.path.start + span.end]);
        }
        true
    });
    first
}
