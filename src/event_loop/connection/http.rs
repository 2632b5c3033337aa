//! The HTTP/1.1 side of a connection: one exchange at a time, later requests wait unread until it is over.

use super::declared::Collecting;
use super::input::Input;
use super::{Connection, Protocol};
use crate::channel::{
    BODY_LAST, BODY_SHIFT, EXCHANGE_MASK, EXCHANGE_SHIFT, EventKind, NO_HANDLER, request_flag,
};
use crate::event_loop::context::Context;
use crate::protocol::http::body::{BodyDecoder, InPlace};
use crate::protocol::http::error::HttpError;
use crate::protocol::http::proxy::{self, Likeness};
use crate::protocol::http::request::{self, Framing, HeaderSpan, RequestHead, Span};
use crate::protocol::http::response;
use crate::protocol::websocket::handshake;
use crate::routing::router::RouteKind;
use std::collections::VecDeque;

mod respond;

pub(super) use respond::is_bodiless;

/// Bytes a body must bring in each second of the idle timeout.
const BODY_BYTES_PER_SECOND: usize = 16 * 1024;
/// With less than this waiting, a response that was refused more bytes may go on.
const WRITABLE_BELOW: usize = 256 << 10;
/// With more than this waiting, the next request of a connection waits unread.
const CLOGGED_ABOVE: usize = 256 << 10;

/// Requests handed to JavaScript before the first of them is answered; the rest of a pipeline waits unread.
const MAX_AHEAD: usize = 31;
/// A body of a known length up to here goes with its head, if it has arrived with it.
const BODY_WITH_HEAD: usize = 16 << 10;
/// The same for all bodies together of the requests handed over ahead: JavaScript keeps them until their turn.
const BODIES_AHEAD: usize = 64 << 10;

#[derive(Default)]
pub struct Http {
    phase: Phase,
    /// A request was handed to JavaScript and its response is not complete.
    pending: bool,
    sending: Sending,
    pub(super) exchange: Exchange,
    /// The answer of a declared program that waits for the body; JavaScript knows nothing of this request.
    collecting: Option<Box<Collecting>>,
    /// Pipelined requests JavaScript has been handed, too; it answers them in order.
    ahead: VecDeque<Exchange>,
    /// Body bytes handed over since `ahead` was last empty.
    ahead_bytes: usize,
    /// JavaScript asked not to be given body bytes for now, or has not asked for more than the first.
    paused: bool,
    /// JavaScript has asked for more of the body than what came first.
    body_wanted: bool,
    /// JavaScript asked to be told when there is room.
    want_writable: bool,
    peer_end_told: bool,
    /// A first part of a head has arrived; its time is running.
    head_started: bool,
    /// Body bytes since the current timeout window began.
    window_bytes: usize,
}

/// What a response must know of its request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Exchange {
    pub(super) head_request: bool,
    http_1_0: bool,
    pub(super) keep_alive: bool,
    /// The client said itself that the connection closes; the response need not repeat it.
    close_known: bool,
    /// A browser that must not be offered permessage-deflate asks for a WebSocket.
    broken_deflate: bool,
    /// The bytes behind it may be those of a WebSocket, not requests.
    may_upgrade: bool,
    /// Of the connection's exchanges this one's, wrapping.
    number: u8,
}

/// Where the request stands.
#[derive(Default)]
enum Phase {
    /// Nothing received yet: a PROXY protocol header may come first.
    #[default]
    Fresh,
    Head,
    Body(BodyDecoder),
    /// The request is complete, its response is not.
    Responding,
}

/// How the response's body is delimited, once its head is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Sending {
    #[default]
    Nothing,
    Chunked,
    /// Until the connection closes (HTTP/1.0).
    UntilClose,
    Length(u64),
    /// Status or method leave none; what JavaScript sends of one is discarded.
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
        self.pending && last.keep_alive && !last.may_upgrade && self.ahead.len() < MAX_AHEAD
    }

    /// The one whose request came last.
    fn last_exchange(&self) -> &Exchange {
        self.ahead.back().unwrap_or(&self.exchange)
    }

    /// Whether requests behind the one being answered have been handed over, too.
    pub(super) fn has_looked_ahead(&self) -> bool {
        !self.ahead.is_empty()
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

    /// Whether what comes next is the head of a request.
    pub(super) fn expects_head(&self) -> bool {
        !matches!(self.phase, Phase::Body(_))
    }

    /// Whether a request is to come next; what was answered before may still be on its way.
    pub(super) fn is_between_requests(&self) -> bool {
        matches!(self.phase, Phase::Head)
    }

    /// Whether permessage-deflate may be negotiated with the client of this exchange.
    pub fn may_compress(&self) -> bool {
        !self.exchange.broken_deflate
    }

    /// Whether a peer that is told of the end of the connection now takes that for the end of a body, of which something is
    /// missing. `unsent`: the kernel has not taken everything.
    pub fn ends_with_the_connection(&self, unsent: bool) -> bool {
        (self.pending && self.sending == Sending::UntilClose) || (self.exchange.http_1_0 && unsent)
    }

    pub fn has_whole_request(&self) -> bool {
        !matches!(self.phase, Phase::Body(_))
    }
}

impl Exchange {
    /// The one behind `last`.
    fn new(head: &RequestHead, bytes: &[u8], last: &Exchange) -> Self {
        Exchange {
            number: last.number.wrapping_add(1) & EXCHANGE_MASK,
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

impl Connection {
    pub(super) fn http(&mut self) -> Option<&mut Http> {
        match &mut self.protocol {
            Protocol::Http(http) => Some(http),
            Protocol::WebSocket(_) => None,
        }
    }

    /// Understands as much of the input as it can now.
    pub(super) fn http_receive(&mut self, ctx: &mut Context, input: &mut Input<'_>) {
        loop {
            let clogged = self.is_clogged();
            let Some(http) = self.http() else { return };
            let used = match &http.phase {
                Phase::Fresh => self.proxy_header(ctx, input.bytes()),
                Phase::Head if clogged => None,
                Phase::Head => self.http_head(ctx, input.bytes()),
                Phase::Body(_) if http.paused || input.is_empty() => None,
                Phase::Body(_) => {
                    self.http_body(ctx, input);
                    Some(0)
                }
                Phase::Responding if http.may_look_ahead() => self.http_ahead(ctx, input.bytes()),
                Phase::Responding => None,
            };
            let Some(used) = used else { return };
            input.consume(used);
            if !self.is_open() && !self.is_held() {
                return input.consume_all();
            }
        }
    }

    /// `None`: more bytes are needed.
    fn proxy_header(&mut self, ctx: &mut Context, bytes: &[u8]) -> Option<usize> {
        let used = match proxy::looks_like_proxy(bytes) {
            Likeness::Maybe => return None,
            Likeness::No => 0,
            Likeness::Yes => match proxy::parse(bytes) {
                Ok(None) => return None,
                Ok(Some((header, used))) => {
                    ctx.shared.slots.get(self.id.slot).set_proxied(header.source);
                    used
                }
                Err(_) => {
                    self.close_socket(ctx);
                    return Some(0);
                }
            },
        };
        if let Some(http) = self.http() {
            http.phase = Phase::Head;
        }
        Some(used)
    }

    fn http_head(&mut self, ctx: &mut Context, bytes: &mut [u8]) -> Option<usize> {
        if bytes.is_empty() {
            return None;
        }
        let mut head = std::mem::take(&mut ctx.head);
        let result = request::parse(bytes, &ctx.limits, &mut head);
        let used = match result {
            Ok(Some(used)) => Some(self.http_dispatch(ctx, &head, bytes, used)),
            Ok(None) => {
                self.head_is_partial(ctx);
                None
            }
            Err(error) => {
                self.http_refuse(ctx, error);
                Some(bytes.len())
            }
        };
        ctx.head = head;
        used
    }

    /// Hands over a pipelined request behind the ones JavaScript has. `None`: not yet whole, or one that has to wait
    /// until the others are answered: with a large or chunked body, asking for an upgrade, answered by the loop itself,
    /// or malformed.
    fn http_ahead(&mut self, ctx: &mut Context, bytes: &mut [u8]) -> Option<usize> {
        if bytes.is_empty() {
            return None;
        }
        let mut head = std::mem::take(&mut ctx.head);
        let parsed = request::parse(bytes, &ctx.limits, &mut head);
        let used = parsed.ok().flatten().and_then(|used| self.look_ahead(ctx, &head, bytes, used));
        ctx.head = head;
        used
    }

    /// Of `bytes` the first `used` are `head`. `None`: the request has to wait.
    fn look_ahead(
        &mut self,
        ctx: &mut Context,
        head: &RequestHead,
        bytes: &[u8],
        used: usize,
    ) -> Option<usize> {
        if head.websocket_key.is_some() || head.expect_continue {
            return None;
        }
        let (request, rest) = bytes.split_at(used);
        let body = body_with_head(head, rest)?;
        if self.http()?.ahead_bytes + body.len() > BODIES_AHEAD {
            return None;
        }
        let first = match_routes(ctx, self, head, request).filter(|(id, _)| ctx.program(*id).is_none())?;
        let http = self.http()?;
        let exchange = Exchange::new(head, request, http.last_exchange());
        http.ahead_bytes += body.len();
        http.ahead.push_back(exchange);
        self.request_event(ctx, head, request, body, exchange, Some(first));
        Some(used + body.len())
    }

    fn head_is_partial(&mut self, ctx: &mut Context) {
        if let Some(http) = self.http()
            && !std::mem::replace(&mut http.head_started, true)
        {
            self.restart_http_timeout(ctx);
        }
    }

    /// The idle timeout begins anew.
    pub(super) fn restart_http_timeout(&mut self, ctx: &mut Context) {
        self.set_timeout(ctx, ctx.timeouts(self.app).idle);
    }

    /// So much waits to be sent that the next request has to.
    pub(super) fn is_clogged(&self) -> bool {
        self.unsent() > CLOGGED_ABOVE
            && matches!(&self.protocol, Protocol::Http(http) if http.is_between_requests())
    }

    /// Answers a request that cannot be understood, unless it has an answer already, and closes.
    pub(super) fn http_refuse(&mut self, ctx: &mut Context, error: HttpError) {
        log::debug!("connection {}: {error}", self.id.slot);
        self.tell_gone(ctx, 0, b"");
        let has_answer = self.http().is_some_and(|http| {
            http.collecting = None;
            http.has_begun_response() || http.is_answered()
        });
        if !has_answer && self.http().is_some() {
            self.send(ctx, |out| out.extend_from_slice(error.response()));
        }
        self.end_gracefully(ctx);
    }

    /// Of `bytes` the first `used` are `head`; returns how many are now.
    fn http_dispatch(&mut self, ctx: &mut Context, head: &RequestHead, bytes: &[u8], used: usize) -> usize {
        let (request, rest) = bytes.split_at(used);
        let has_body = head.framing.has_body();
        let Protocol::Http(http) = &mut self.protocol else { return used };
        let exchange = Exchange::new(head, request, &http.exchange);
        **http = Http {
            phase: if has_body { Phase::Body(BodyDecoder::new(head.framing)) } else { Phase::Responding },
            exchange,
            ..Http::default()
        };
        let first = match_routes(ctx, self, head, request);
        match first {
            None => {
                if has_body && head.expect_continue {
                    // Or a client that waits for it would send its next request where its body is expected.
                    self.send(ctx, |out| out.extend_from_slice(response::CONTINUE));
                }
                self.http_not_found(ctx);
                return used;
            }
            Some((id, RouteKind::WebSocket))
                if ctx.behaviour(id).is_some_and(|b| b.auto_upgrade) && !has_body =>
            {
                self.auto_upgrade(ctx, head, request, id);
                return used;
            }
            Some((id, _)) => {
                if let Some(program) = ctx.program(id) {
                    self.http_declared(ctx, head, request, program);
                    return used;
                }
            }
        }
        let whole = body_with_head(head, rest);
        let body = whole.unwrap_or_default();
        self.request_event(ctx, head, request, body, exchange, first);
        self.hold();
        if let Some(http) = self.http() {
            http.pending = true;
            if whole.is_some() {
                http.phase = Phase::Responding;
            }
        }
        if has_body && head.expect_continue {
            self.send(ctx, |out| out.extend_from_slice(response::CONTINUE));
        }
        self.set_timeout(ctx, if whole.is_some() { 0 } else { ctx.timeouts(self.app).idle });
        used + body.len()
    }

    fn request_event(
        &self,
        ctx: &mut Context,
        head: &RequestHead,
        bytes: &[u8],
        body: &[u8],
        exchange: Exchange,
        first: Option<(u32, RouteKind)>,
    ) {
        let flag = |set: bool, flag: u32| if set { flag } else { 0 };
        let flags = flag(head.framing.has_body(), request_flag::HAS_BODY)
            | flag(matches!(first, Some((_, RouteKind::WebSocket))), request_flag::UPGRADE)
            | flag(exchange.head_request, request_flag::HEAD)
            | flag(!exchange.keep_alive, request_flag::CLOSE)
            | (body.len() as u32) << BODY_SHIFT
            | u32::from(exchange.number) << EXCHANGE_SHIFT;
        let handler = first.map_or(NO_HANDLER, |(id, _)| id);
        let Context { events, matches, .. } = ctx;
        events.push_with(EventKind::Request, self.id, [handler, flags, self.app], |arena| {
            write_request_block(arena, head, matches, bytes, body);
        });
    }

    fn http_not_found(&mut self, ctx: &mut Context) {
        let Some(http) = self.http() else { return };
        let Exchange { keep_alive, close_known, head_request: omit_body, .. } = http.exchange;
        let close = !keep_alive && !close_known;
        self.send_dated(ctx, |out, now| response::write_not_found(out, Some(now), close, omit_body));
        self.http_done(ctx);
    }

    fn http_body(&mut self, ctx: &mut Context, input: &mut Input<'_>) {
        let Protocol::Http(http) = &mut self.protocol else { return };
        let Phase::Body(decoder) = &mut http.phase else { return };
        let decoded = decoder.decode_in_place(input.bytes());
        let (last, remaining) = (decoder.is_done(), decoder.remaining().unwrap_or(u64::MAX));
        let InPlace { used, data } = match decoded {
            Ok(in_place) => in_place,
            Err(error) => {
                input.consume_all();
                return self.http_refuse(ctx, error);
            }
        };
        http.window_bytes += used;
        if let Some(collecting) = &mut http.collecting {
            let appended = collecting.append(&input.bytes()[data]);
            input.consume(used);
            if let Err(error) = appended {
                input.consume_all();
                return self.http_refuse(ctx, error);
            }
        } else if http.pending && (last || !data.is_empty()) {
            let args = [if last { BODY_LAST } else { 0 }, remaining as u32, (remaining >> 32) as u32];
            let payload = input.payload(used, data, &ctx.shared.blocks);
            ctx.payload_event(EventKind::Data, self.id, args, payload);
            // Or all that a turn reads would wait in JavaScript for a handler that may never come.
            http.paused |= !http.body_wanted && !last;
        } else {
            input.consume(used);
        }
        if last {
            self.http_body_complete(ctx);
        }
    }

    fn http_body_complete(&mut self, ctx: &mut Context) {
        let Some(http) = self.http() else { return };
        if http.pending {
            http.phase = Phase::Responding;
            let collecting = http.collecting.take();
            self.set_timeout(ctx, 0);
            if let Some(collecting) = collecting {
                self.http_collected(ctx, *collecting);
            }
        } else {
            self.http_next(ctx);
        }
    }

    /// The connection waits for the next request.
    fn http_next(&mut self, ctx: &mut Context) {
        if let Some(http) = self.http() {
            // Only the number of the last exchange goes on.
            *http = Http { phase: Phase::Head, exchange: http.exchange, ..Http::default() };
        }
        self.set_timeout(ctx, ctx.timeouts(self.app).response);
    }

    /// The response is complete.
    pub(super) fn http_done(&mut self, ctx: &mut Context) {
        let Some(http) = self.http() else { return };
        if http.exchange.keep_alive
            && let Some(next) = http.ahead.pop_front()
        {
            http.exchange = next;
            http.sending = Sending::Nothing;
            http.paused = false;
            http.body_wanted = false;
            // The next exchange has asked for nothing and been told nothing yet.
            http.want_writable = false;
            http.peer_end_told = false;
            if http.ahead.is_empty() {
                http.ahead_bytes = 0;
            }
            return self.notice_peer_end(ctx);
        }
        if http.has_looked_ahead() {
            // JavaScript has requests that will not be answered: it hears of their end, and lets go itself.
            self.tell_gone(ctx, 0, b"");
            return self.end_gracefully(ctx);
        }
        http.pending = false;
        http.paused = false;
        let keep_alive = http.exchange.keep_alive;
        self.let_go();
        if !keep_alive {
            return self.end_gracefully(ctx);
        }
        let Some(http) = self.http() else { return };
        // With a body still on its way the rest of it is read and discarded first.
        if let Phase::Responding = http.phase {
            self.http_next(ctx);
        }
    }

    // ---- what happens to the connection

    pub(super) fn http_flushed(&mut self, ctx: &mut Context, before: usize) {
        let (id, now) = (self.id, self.unsent());
        let Some(http) = self.http() else { return };
        let drained = before > 0 && now == 0;
        if http.pending && http.want_writable && now < WRITABLE_BELOW {
            http.want_writable = false;
            ctx.event(EventKind::Writable, id, [u32::from(http.exchange.number), 0, 0], b"");
        }
        let waits_for_javascript = http.pending && matches!(http.phase, Phase::Responding);
        if self.blocked && (before == 0 || now < before) {
            self.set_timeout(ctx, ctx.timeouts(self.app).response);
        } else if drained && waits_for_javascript {
            self.set_timeout(ctx, 0);
        }
        if now <= CLOGGED_ABOVE && self.http().is_some_and(|http| http.is_between_requests()) {
            self.resume(ctx);
        }
    }

    pub(super) fn http_timeout(&mut self, ctx: &mut Context) {
        let window = ctx.timeouts(self.app).idle;
        let Some(http) = self.http() else { return };
        if let Phase::Body(_) = http.phase {
            let expected = BODY_BYTES_PER_SECOND * window as usize;
            let enough = std::mem::take(&mut http.window_bytes) >= expected;
            if http.paused || enough || ctx.was_overloaded(window) {
                return self.restart_http_timeout(ctx);
            }
        }
        self.tell_gone(ctx, 0, b"");
        self.close_socket(ctx);
    }

    pub(super) fn http_peer_end(&mut self, ctx: &mut Context) {
        let id = self.id;
        let Some(http) = self.http() else { return };
        match http.phase {
            Phase::Body(_) if http.pending => {
                // The rest of the body will never come.
                if !http.paused {
                    self.tell_gone(ctx, 0, b"");
                    self.close_socket(ctx);
                }
            }
            _ if http.pending => {
                if !std::mem::replace(&mut http.peer_end_told, true) {
                    ctx.event(EventKind::PeerEnd, id, [0; 3], b"");
                }
            }
            _ => self.end_gracefully(ctx),
        }
    }
}

/// All of a body, which may be none, if it has arrived with its head and is small enough to be handed over with it.
fn body_with_head<'a>(head: &RequestHead, rest: &'a [u8]) -> Option<&'a [u8]> {
    match head.framing {
        Framing::None => Some(&[]),
        Framing::Length(length) if length <= BODY_WITH_HEAD as u64 => rest.get(..length as usize),
        _ => None,
    }
}

/// Fills `ctx.matches` with all matches in order of priority and returns the first.
fn match_routes(
    ctx: &mut Context,
    connection: &Connection,
    head: &RequestHead,
    bytes: &[u8],
) -> Option<(u32, RouteKind)> {
    let Context { apps, matches, .. } = ctx;
    matches.clear();
    let app = apps.get(connection.app as usize)?;
    // A server name without routes of its own is served by those of the app.
    let domain = connection.tls.as_ref().and_then(|tls| tls.router()).map(|router| router.borrow());
    let router = domain.as_deref().filter(|router| !router.is_empty()).unwrap_or(&app.router);
    let mut first = None;
    router.route(
        head.method.of(bytes),
        head.path.of(bytes),
        head.websocket_key.is_some(),
        &mut |id, kind, parameters| {
            first.get_or_insert((id, kind));
            matches.extend([id, parameters.len() as u32]);
            for span in parameters {
                // Relative to the head, like every other span JavaScript gets.
                matches.extend([head.path.start + span.start, head.path.start + span.end]);
            }
            true
        },
    );
    first
}

/// Words before the header spans of a request block.
pub const REQUEST_BLOCK_WORDS: usize = 8;
/// Stands for "no query" in a request block.
pub const NO_SPAN: u32 = u32::MAX;

/// A request as JavaScript gets it: little-endian words — number of headers, words of matches, and start and end of
/// method, path and query — then name and value spans of each header, then the matches (handler id, number of
/// parameters, their spans), then the head itself, to which all spans are relative, then the body, if it goes with it.
fn write_request_block(arena: &mut Vec<u8>, head: &RequestHead, matches: &[u32], bytes: &[u8], body: &[u8]) {
    let (method, path) = (head.method, head.path);
    let query = head.query.unwrap_or(Span { start: NO_SPAN, end: NO_SPAN });
    let counts = Span { start: head.headers.len() as u32, end: matches.len() as u32 };
    let size = 4 * (REQUEST_BLOCK_WORDS + 4 * head.headers.len() + matches.len());
    arena.reserve(size + bytes.len() + body.len());
    for span in [counts, method, path, query] {
        arena.extend_from_slice(&span.to_bytes());
    }
    for HeaderSpan { name, value } in &head.headers {
        arena.extend_from_slice([name.to_bytes(), value.to_bytes()].as_flattened());
    }
    for word in matches {
        arena.extend_from_slice(&word.to_le_bytes());
    }
    arena.extend_from_slice(bytes);
    arena.extend_from_slice(body);
}
