//! The limits of an app on its HTTP connections: rates, lengths and times, and the answers to those who
//! exceed them.

use super::close::Cause;
use super::http::{Exchange, Http, Phase};
use super::io::Io;
use crate::channel::{DEFAULT_TIMEOUT_S, Limit, ResponseParts};
use crate::event_loop::context::PARTS;
use crate::event_loop::limits::{Address, Buckets, Guard, Moment};
use crate::event_loop::timer::Tick;
use crate::metrics::Metric;
use crate::protocol::http::error::HttpError;
use crate::protocol::http::forwarded::{self, Speaker, Trusted};
use crate::protocol::http::request::{Framing, RequestHead};
use crate::protocol::http::response::BodyFraming;
use crate::trace::trace;
use std::net::{IpAddr, SocketAddr};

/// Bytes of a body that must arrive for each second of the idle timeout, unless the app says otherwise.
const BODY_BYTES_PER_SECOND: u32 = 16 * 1024;

/// Seconds in which a flight's answer is still sent to a client that has ended its side.
const LAST_ANSWER: Tick = 1;

/// The page of a response 429 (RFC 6585 §4).
const TOO_MANY: &[u8] = b"<!doctype html><title>429 Too Many Requests</title><h1>429 Too Many Requests</h1>";

// ---- rates and lengths

impl Http {
    /// Answers a request that the app's limits do not allow. `true`: it has been answered.
    pub(super) fn is_over_limits(&mut self, io: &mut Io<'_>, head: &RequestHead, bytes: &[u8]) -> bool {
        let Some(limits) = io.limits() else { return false };
        if limits.max_body_length.is_some_and(|most| is_longer(head, most)) {
            io.breach(Limit::MaxBodyLength);
            // None of the body is read, so there is nothing but the answer to come.
            self.phase = Phase::Responding;
            self.refuse(io, HttpError::ContentTooLarge);
            return true;
        }
        self.is_over_rate(io, head, bytes, Limit::MaxRequestsPerAddress, |guard| guard.requests.as_mut())
    }

    /// The same for a request that a `ws` route would take.
    pub(super) fn is_over_upgrades(&mut self, io: &mut Io<'_>, head: &RequestHead, bytes: &[u8]) -> bool {
        self.is_over_rate(io, head, bytes, Limit::MaxUpgradesPerAddress, |guard| guard.upgrades.as_mut())
    }

    fn is_over_rate(
        &mut self,
        io: &mut Io<'_>,
        head: &RequestHead,
        bytes: &[u8],
        limit: Limit,
        buckets: fn(&mut Guard) -> Option<&mut Buckets>,
    ) -> bool {
        let Err(seconds) = io.take_token(head, bytes, buckets) else { return false };
        io.breach(limit);
        if head.framing.has_body() && head.expect_continue {
            // A client that was not asked for its body may send it or not, so the loop cannot tell where the
            // next request begins.
            self.exchange.keep_alive = false;
        }
        self.too_many(io, seconds);
        true
    }

    fn too_many(&mut self, io: &mut Io<'_>, seconds: u32) {
        let headers = format!("Retry-After: {seconds}\r\nContent-Type: text/html\r\n");
        let parts =
            ResponseParts { status: b"429 Too Many Requests", headers: headers.as_bytes(), body: TOO_MANY };
        self.write_head(io, &parts, 0, BodyFraming::Length(TOO_MANY.len() as u64));
        if !self.exchange.head_request {
            io.send_payload(TOO_MANY, None);
        }
        self.done(io);
    }
}

fn is_longer(head: &RequestHead, most: u64) -> bool {
    matches!(head.framing, Framing::Length(length) if length > most)
}

impl Io<'_> {
    /// Whether a pipelined request is within the limits. If it is not, it waits for its turn, in which it is
    /// answered.
    pub(super) fn may_pass_ahead(&mut self, head: &RequestHead, bytes: &[u8]) -> bool {
        let Some(limits) = self.limits() else { return true };
        !limits.max_body_length.is_some_and(|most| is_longer(head, most))
            && self.take_token(head, bytes, |guard| guard.requests.as_mut()).is_ok()
    }

    /// The last request that the connection may bring ends it.
    pub(super) fn note_last(&self, exchange: &mut Exchange) {
        let most = self.limits().and_then(|limits| limits.max_requests_per_connection);
        if most.is_some_and(|most| exchange.nth >= most) && exchange.keep_alive {
            exchange.keep_alive = false;
            self.breach(Limit::MaxRequestsPerConnection);
        }
    }

    /// Takes a token of the client's bucket, if there are buckets. An error is the number of seconds to wait.
    fn take_token(
        &mut self,
        head: &RequestHead,
        bytes: &[u8],
        buckets: fn(&mut Guard) -> Option<&mut Buckets>,
    ) -> Result<(), u32> {
        let (address, moment) = match self.ctx.guard(self.app) {
            Some(guard) if guard.has_rates() => (self.client(head, bytes), self.moment()),
            _ => return Ok(()),
        };
        let guard = self.ctx.apps.get_mut(self.app as usize).and_then(|app| app.guard.as_deref_mut());
        match (guard.and_then(buckets), address) {
            (Some(buckets), Some(address)) => buckets.take(address, moment),
            _ => Ok(()),
        }
    }

    fn moment(&self) -> Moment {
        let now = self.ctx.nanos();
        let waited = self.transport.waiting.map_or(0, |waiting| waiting.until(now));
        Moment { now, sent_since: now - waited }
    }

    /// The address that a request counts with. A trusted proxy that speaks for itself counts with none, but
    /// what comes by it from nobody knows whom counts with the proxy.
    fn client(&self, head: &RequestHead, bytes: &[u8]) -> Option<Address> {
        let peer = self.peer();
        let Some(trusted) = self.trusted() else { return peer.map(Address::from) };
        let fields = head.headers.iter().map(|field| (field.name.of(bytes), field.value.of(bytes)));
        match forwarded::speaker(trusted, peer, self.proxied(), fields) {
            Speaker::Peer => peer.map(Address::from),
            Speaker::Proxy => None,
            Speaker::Client(address) => Some(address.map_or(NOBODY, Address::from)),
        }
    }

    // ---- proxies

    fn trusted(&self) -> Option<&Trusted> {
        self.ctx.apps.get(self.app as usize)?.trusted.as_deref()
    }

    fn peer(&self) -> Option<IpAddr> {
        let id = self.id();
        self.ctx.shared.slots.get(id.slot).peer(id.generation).map(|peer| peer.ip())
    }

    fn proxied(&self) -> Option<IpAddr> {
        let id = self.id();
        self.ctx.shared.slots.get(id.slot).proxied(id.generation).map(|client| client.ip())
    }

    /// Whether the peer may send a PROXY header.
    pub(super) fn may_say_proxy(&self) -> bool {
        self.trusted().is_none_or(|trusted| trusted.includes(self.peer()))
    }

    /// A PROXY header has named the client. False: that has too many connections. Where nobody is trusted by
    /// name, anybody may send such a header, so it is not what the connection counts with.
    pub(super) fn name_client(&mut self, client: Option<SocketAddr>) -> bool {
        let (Some(trusted), Some(client)) = (self.trusted(), client) else { return true };
        if trusted.includes(Some(client.ip())) {
            return true;
        }
        let named = self.admission.as_mut().is_none_or(|admission| admission.name(client.ip().into()));
        if !named {
            self.breach(Limit::MaxConnectionsPerAddress);
        }
        named
    }
}

/// Counts what comes by a proxy without an address from nobody knows whom.
const NOBODY: Address = Address::V4(0);

// ---- times

impl Http {
    /// The time for a head begins.
    pub(super) fn wait_for_head(&mut self, io: &mut Io<'_>) {
        let limit = io.limits().and_then(|limits| limits.head_timeout);
        self.wait(io, limit.unwrap_or(io.timeouts().idle));
    }

    /// The time for the next request begins, or first that for taking the last response.
    pub(super) fn wait_for_request(&mut self, io: &mut Io<'_>) {
        let limit = io.limits().and_then(|limits| limits.keep_alive_timeout);
        let limit = limit.filter(|_| !io.transport.is_blocked());
        io.set_timeout(limit.unwrap_or(io.timeouts().response));
    }

    /// The last response has left only now, so a limit of the app on the time for the next request begins.
    pub(super) fn restart_wait_for_request(&mut self, io: &mut Io<'_>) {
        if io.limits().is_some_and(|limits| limits.keep_alive_timeout.is_some()) {
            self.wait_for_request(io);
        }
    }

    /// The time for the next bytes of a body begins.
    pub(super) fn restart_window(&mut self, io: &mut Io<'_>) {
        self.window_bytes = 0;
        self.window_began = io.ctx.reading();
        self.wait(io, body_window(io));
    }

    /// The time for the whole request begins, unless it has begun.
    pub(super) fn begin_request_timeout(&mut self, io: &Io<'_>) {
        let limit = io.limits().and_then(|limits| limits.request_timeout).unwrap_or_default();
        if self.request_until == 0 && limit != 0 {
            self.request_until = io.ctx.reading() + u64::from(limit + 1) * PARTS;
        }
    }

    /// Sets the deadline to `in_s` seconds from now (0: none), or to that of the whole request if that is
    /// earlier. Rounded up, since the current tick has begun already.
    pub(super) fn wait(&mut self, io: &mut Io<'_>, in_s: Tick) {
        self.waits_until = if in_s == 0 { Tick::MAX } else { io.ctx.now() + in_s + 1 };
        self.arm(io);
    }

    /// The kernel refuses bytes, so the time for the peer to take some begins. Where the peer owes bytes as
    /// well, this is not in place of the time for those. A body that is being read is proof enough that the
    /// peer is there: many clients take a response only behind their last byte.
    pub(super) fn wait_for_taking(&mut self, io: &mut Io<'_>) {
        let limit = io.timeouts().response;
        match self.phase {
            Phase::Body(_) if self.asks_for_body => self.wait(io, limit),
            Phase::Body(_) if !self.paused => {}
            Phase::Body(_) | Phase::Head if self.owes_bytes() => {
                self.takes_until = if limit == 0 { 0 } else { io.ctx.now() + limit + 1 };
                self.arm(io);
            }
            _ => self.wait(io, limit),
        }
    }

    /// The peer has taken everything, and the next step is not its own.
    pub(super) fn wait_for_answer(&mut self, io: &mut Io<'_>) {
        self.wait(io, if self.waits_for_nobody() { LAST_ANSWER } else { 0 });
    }

    /// Whether a flight's answer is likely to reach nobody. A client that leaves and one that has only ended
    /// its side cannot be told apart. With requests of its own JavaScript closes then, unless it has answered
    /// at once; so a handler of a cached route has a moment to do that.
    fn waits_for_nobody(&self) -> bool {
        self.waiting.is_some() && self.peer_end_told
    }

    /// Whether the peer is in the middle of a request.
    fn owes_bytes(&self) -> bool {
        self.head_started || matches!(self.phase, Phase::Body(_))
    }

    /// The kernel has taken everything.
    pub(super) fn need_not_take(&mut self, io: &mut Io<'_>) {
        self.takes_until = 0;
        self.arm(io);
    }

    fn arm(&self, io: &mut Io<'_>) {
        let mut deadline = self.waits_until;
        if self.takes_until != 0 {
            deadline = deadline.min(self.takes_until);
        }
        if self.request_until != 0 && !self.paused {
            // Once it has passed it lies ahead no more, however often the window of the body begins anew.
            let left = self.request_until.saturating_sub(io.ctx.reading()).div_ceil(PARTS) as Tick;
            deadline = deadline.min(io.ctx.now() + left);
        }
        io.set_deadline(if deadline == Tick::MAX { 0 } else { deadline });
    }

    fn is_request_late(&self, io: &Io<'_>) -> bool {
        self.request_until != 0 && !self.paused && io.ctx.reading() >= self.request_until
    }

    pub fn on_timeout(&mut self, io: &mut Io<'_>) {
        if io.is_shutting_down() && self.is_idle() && !io.more {
            return io.end(Cause::Finish, 0, b"");
        }
        if self.is_request_late(io) {
            return self.time_out(io, Limit::RequestTimeout);
        }
        if self.takes_until != 0 && io.ctx.now() >= self.takes_until {
            return self.take_no_longer(io);
        }
        if (self.request_until != 0 || self.takes_until != 0) && io.ctx.now() < self.waits_until {
            // The deadline of the request has moved, since the loop could not read meanwhile, or the peer has
            // taken something.
            return self.arm(io);
        }
        if self.waits_for_nobody() && !io.transport.is_blocked() {
            return self.leave_unanswered(io);
        }
        match self.phase {
            Phase::Body(_) if self.asks_for_body && io.transport.is_blocked() => self.take_no_longer(io),
            Phase::Body(_) => self.on_window_end(io),
            // The response has been handed over, and the peer takes none of it.
            _ if io.transport.is_blocked() && !self.owes_bytes() => self.take_no_longer(io),
            Phase::Head if !self.head_started && self.exchange.nth > 0 => {
                self.time_out(io, Limit::KeepAliveTimeout);
            }
            Phase::Fresh | Phase::Head => self.time_out(io, Limit::HeadTimeout),
            Phase::Responding => self.take_no_longer(io),
        }
    }

    fn take_no_longer(&self, io: &mut Io<'_>) {
        io.count(Metric::ResponseTimeout);
        trace!(HTTP, io.id(), "the peer takes nothing of the response");
        io.end(Cause::Abort, 0, b"");
    }

    fn on_window_end(&mut self, io: &mut Io<'_>) {
        let window = body_window(io);
        let rate = io.limits().and_then(|limits| limits.min_body_rate).unwrap_or(BODY_BYTES_PER_SECOND);
        // No rate is owed for the time in which the loop could not read. Bytes that came then put off the
        // deadline until they have been read, so a peer without any has sent nothing.
        let read_for = (io.ctx.reading() - self.window_began).min(u64::from(window) * PARTS);
        let expected = u128::from(rate) * u128::from(read_for) / u128::from(PARTS);
        let enough = self.window_bytes as u128 >= expected.max(1);
        if self.paused || enough {
            return self.restart_window(io);
        }
        self.time_out(io, Limit::MinBodyRate);
    }

    /// The peer was too slow. Where the app has set the limit itself, the peer is told so if it has begun a
    /// request; by default the connection is closed without a word, as in the original.
    fn time_out(&mut self, io: &mut Io<'_>, limit: Limit) {
        let is_set = io.limits().is_some_and(|limits| match limit {
            Limit::HeadTimeout => limits.head_timeout.is_some(),
            Limit::KeepAliveTimeout => limits.keep_alive_timeout.is_some(),
            Limit::MinBodyRate => limits.min_body_rate.is_some(),
            _ => true,
        });
        trace!(HTTP, io.id(), "timed out: {limit:?}");
        if is_set {
            io.breach(limit);
        }
        io.count(match limit {
            Limit::KeepAliveTimeout => Metric::KeepAliveTimeout,
            Limit::MinBodyRate => Metric::BodyTimeout,
            _ if matches!(self.phase, Phase::Body(_)) => Metric::BodyTimeout,
            _ => Metric::RequestTimeout,
        });
        if is_set && (self.head_started || matches!(self.phase, Phase::Body(_))) {
            return self.refuse(io, HttpError::RequestTimeout);
        }
        io.end(Cause::Abort, 0, b"");
    }
}

/// Seconds of a window in which a body must bring its share.
fn body_window(io: &Io<'_>) -> Tick {
    match (io.timeouts().idle, io.limits().and_then(|limits| limits.min_body_rate)) {
        (0, Some(_)) => DEFAULT_TIMEOUT_S,
        (idle, _) => idle,
    }
}
