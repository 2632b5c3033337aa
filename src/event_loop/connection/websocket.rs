//! WebSocket on a connection: messages in, frames out, pings and the closing handshake.

use super::close::{Cause, Close};
use super::compression::{Compression, Outgoing};
use super::input::Input;
use super::io::Io;
use super::publication::Publication;
use crate::channel::buffers::Payload;
use crate::channel::{Command, ExchangeId, JsEvent, OWNED_PAYLOAD, Op, ResponseParts, send_flag, wants};
use crate::event_loop::app::Behaviour;
use crate::event_loop::context::Context;
use crate::event_loop::timer::Tick;
use crate::event_loop::topics::Subscriptions;
use crate::fault::{self, Fault};
use crate::metrics::Metric;
use crate::protocol::websocket::frame::{self, WsError};
use crate::protocol::websocket::handshake::{self, CompressOptions};
use crate::protocol::websocket::message::{Event, Payload as Message, Receiver};
use crate::trace::{trace, trace_payload};
use std::ops::Range;
use std::sync::Arc;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// The most frames of one connection before the others have their turn: tens of thousands fit into one read.
const FRAMES_PER_TURN: usize = 64;
/// With this much waiting to be sent, pings are not answered one by one: only the newest is, once there is
/// room (RFC 6455 §5.5.3). Otherwise a peer that sends pings and reads nothing would fill the memory.
const PONGS_BELOW: usize = 16 << 10;

/// The status code of servers that shut down.
const GOING_AWAY: u16 = 1001;

pub struct WebSocket {
    behaviour: Arc<Behaviour>,
    receiver: Receiver,
    /// `None`: permessage-deflate was not negotiated.
    compression: Option<Box<Compression>>,
    /// Topics this connection is subscribed to in the loop's table.
    topics: Subscriptions,
    ping_outstanding: bool,
    /// 0: no limit.
    lives_until: Tick,
    /// The close frame that follows JavaScript's last answers; empty: none.
    pending_close_frame: Vec<u8>,
    /// The newest ping that is not answered yet, because much waits to be sent.
    unanswered_ping: Option<Box<[u8]>>,
}

/// The parts of an upgrade request that decide on the answer.
pub struct UpgradeRequest<'a> {
    pub key: &'a [u8],
    pub protocol: &'a [u8],
    pub extensions: &'a [u8],
    /// The client is not one of those whose permessage-deflate is broken.
    pub may_compress: bool,
}

/// Whether to parse more frames of a read.
enum Next {
    Frame,
    /// In another turn, or when more bytes have arrived.
    Later,
    /// None: the connection ends.
    Never,
}

impl WebSocket {
    /// Answers the upgrade; frames follow on the connection.
    pub fn accept(
        io: &mut Io<'_>,
        behaviour: Arc<Behaviour>,
        parts: &ResponseParts<'_>,
        request: &UpgradeRequest<'_>,
    ) -> Box<Self> {
        let options = if request.may_compress { behaviour.compression } else { 0 };
        let (extensions, negotiated) =
            handshake::negotiate(request.extensions, CompressOptions(options)).unzip();
        let compressed = if negotiated.is_some() { "compressed" } else { "not compressed" };
        trace!(WS, io.id(), "open, {compressed}, route {}", behaviour.id);
        io.count(Metric::responses(if parts.status.is_empty() { b"101" } else { parts.status }));
        io.send_dated(|out, now| {
            let upgrade = handshake::Upgrade {
                status: (!parts.status.is_empty()).then_some(parts.status),
                headers: parts.headers,
                key: request.key,
                protocol: request.protocol,
                extensions: extensions.as_deref(),
                date: Some(now),
            };
            handshake::write_response(out, &upgrade);
        });
        // The current tick has begun already.
        let lives_until =
            if behaviour.max_lifetime == 0 { 0 } else { io.ctx.now() + behaviour.max_lifetime + 1 };
        let mut websocket = Box::new(WebSocket {
            receiver: Receiver::new(behaviour.max_payload, negotiated.is_some()),
            compression: negotiated.map(|negotiated| Box::new(Compression::new(negotiated))),
            behaviour,
            topics: Subscriptions::default(),
            ping_outstanding: false,
            lives_until,
            pending_close_frame: Vec::new(),
            unanswered_ping: None,
        });
        websocket.restart_idle_timeout(io);
        websocket
    }

    // ---- receiving

    /// Parses as much of the input as it may now.
    pub fn receive(&mut self, io: &mut Io<'_>, input: &mut Input<'_>) {
        if !input.is_empty() {
            self.restart_idle_timeout(io);
        }
        for _ in 0..FRAMES_PER_TURN {
            if input.is_empty() {
                return;
            }
            match self.receive_frame(io, input) {
                Next::Frame => {}
                Next::Later => return,
                Next::Never => return input.consume_all(),
            }
        }
        if !input.is_empty() {
            io.transport.queue(io.ctx);
        }
    }

    fn receive_frame(&mut self, io: &mut Io<'_>, input: &mut Input<'_>) -> Next {
        let wanted = self.behaviour.wants;
        let (n, result) = self.receiver.receive(input.bytes());
        if let Ok(Some(event)) = &result {
            trace_received(io, event);
            if let Event::Message { .. } = event {
                io.count(Metric::MessagesReceived);
            }
        }
        match result {
            Ok(None) => {
                input.consume(n);
                return if n == 0 { Next::Later } else { Next::Frame };
            }
            Ok(Some(Event::Message { binary, compressed: true, data })) => {
                let inflated = inflated_event(io, &mut self.compression, &self.behaviour, binary, &data);
                if let Err(error) = inflated {
                    return self.fail(io, error);
                }
                input.consume(n);
                // A few bytes may have inflated to very many: the rest waits until JavaScript has taken
                // these.
                if io.ctx.overloaded() {
                    io.transport.queue(io.ctx);
                    return Next::Later;
                }
            }
            Ok(Some(Event::Message { compressed: false, .. })) if wanted & wants::MESSAGE == 0 => {
                input.consume(n);
            }
            Ok(Some(Event::Message { binary, compressed: false, data })) => {
                let place = Place::of(data, n);
                message_event(io, input, n, binary, place);
            }
            Ok(Some(Event::Ping(payload))) => {
                if wanted & wants::PING != 0 {
                    io.event(JsEvent::Ping, payload);
                }
                self.answer_ping(io, payload);
                input.consume(n);
            }
            Ok(Some(Event::Pong(payload))) => {
                if wanted & wants::PONG != 0 {
                    io.event(JsEvent::Pong, payload);
                }
                input.consume(n);
            }
            Ok(Some(Event::Close { code, reason })) => {
                frame::write_close(&mut self.pending_close_frame, code, reason);
                io.end(Cause::Finish, code.unwrap_or(1005), reason);
                return Next::Never;
            }
            Err(error) => return self.fail(io, error),
        }
        Next::Frame
    }

    fn answer_ping(&mut self, io: &mut Io<'_>, payload: &[u8]) {
        if io.unsent() >= PONGS_BELOW && !fault::is_on(Fault::EndlessPongs) {
            self.unanswered_ping = Some(payload.into());
        } else {
            self.unanswered_ping = None;
            send_control(io, Control::Pong, payload);
        }
    }

    /// The peer broke the protocol or a limit: tells it so in a close frame with the code of RFC 6455 §7.4.1,
    /// then closes. The `close` handler gets 1006 and the reason.
    fn fail(&mut self, io: &mut Io<'_>, error: WsError) -> Next {
        io.count(metric_of(error));
        trace!(WS, io.id(), "{error:?}");
        let (code, reason) = (error.close_code(), error.reason().as_bytes());
        if code != 1006 {
            frame::write_close(&mut self.pending_close_frame, Some(code), reason);
        }
        io.end(Cause::Finish, 1006, reason);
        Next::Never
    }

    pub fn on_peer_end(&mut self, io: &mut Io<'_>) {
        io.end(Cause::Finish, 1006, b"Received TCP FIN before WebSocket close frame");
    }

    /// Sends our close frame, after JavaScript has answered all messages it got: no data may follow a close
    /// frame (RFC 6455 §5.5.1).
    pub fn send_pending_close(&mut self, io: &mut Io<'_>) {
        let close_frame = std::mem::take(&mut self.pending_close_frame);
        io.send(|out| out.extend_from_slice(&close_frame));
    }

    // ---- commands of JavaScript

    pub fn execute(&mut self, io: &mut Io<'_>, command: Command<'_>) {
        match command.op {
            Op::Send => self.send(io, command),
            Op::End => self.end(io, &command),
            Op::Subscribe => self.subscribe(io, command.arg),
            Op::Unsubscribe => self.unsubscribe(io, command.arg),
            // Over `maxBackpressure` with `closeOnBackpressureLimit`.
            Op::Overflow => overflow(io),
            _ => {}
        }
    }

    fn send(&mut self, io: &mut Io<'_>, command: Command<'_>) {
        let len = command.owned.as_ref().map_or(command.payload.len(), Vec::len);
        let (opcode, fin) = opcode(command.flags);
        trace!(WS, io.id(), "sends {opcode}, {len} bytes");
        trace_payload!(WS, io.id(), "sends", command.owned.as_deref().unwrap_or(command.payload));
        if fin && matches!(opcode, OpCode::Data(_)) {
            io.count(Metric::MessagesSent);
        }
        let mut deflated = Vec::new();
        let outgoing = match &mut self.compression {
            None => Outgoing::Plain,
            Some(compression) => {
                deflated = io.ctx.spare.take();
                let data = command.owned.as_deref().unwrap_or(command.payload);
                compression.outgoing(&mut io.ctx.codecs, command.flags, data, &mut deflated)
            }
        };
        match outgoing {
            Outgoing::Deflated { rsv1 } => send_deflated(io, opcode, fin, rsv1, deflated),
            Outgoing::Plain => {
                io.ctx.spare.give(deflated);
                io.send(|out| frame::write_header(out, opcode, fin, false, len));
                io.send_payload(command.payload, command.owned);
            }
        }
        if self.behaviour.reset_idle_timeout_on_send {
            self.restart_idle_timeout(io);
        }
        io.flush_if_large();
    }

    /// The memory of a message that is incomplete.
    pub fn held(&self) -> usize {
        self.receiver.held()
    }

    /// The connection is closed.
    pub fn clear(&mut self) {
        self.receiver.clear();
    }

    /// The app shuts down: the close frame follows what is queued (RFC 6455 §7.4.1).
    pub fn go_away(&mut self, io: &mut Io<'_>) {
        self.pending_close_frame.clear();
        frame::write_close(&mut self.pending_close_frame, Some(GOING_AWAY), b"");
        io.end(Cause::Refuse, GOING_AWAY, b"");
    }

    /// `ws.end`: JavaScript has run its `close` handler already. It may not have known that the peer had sent
    /// a close frame first; this one is our answer all the same.
    fn end(&mut self, io: &mut Io<'_>, command: &Command<'_>) {
        self.pending_close_frame.clear();
        frame::write_close(&mut self.pending_close_frame, Some(command.arg as u16), command.payload);
        io.end(Cause::End, 0, b"");
    }

    fn subscribe(&mut self, io: &mut Io<'_>, topic: u32) {
        if io.ctx.topics.subscribe(topic, io.transport.id.slot) {
            self.topics.add(topic);
        }
    }

    fn unsubscribe(&mut self, io: &mut Io<'_>, topic: u32) {
        if io.ctx.topics.unsubscribe(topic, io.transport.id.slot) {
            self.topics.remove(topic);
        }
    }

    pub fn leave_topics(&mut self, ctx: &mut Context, id: ExchangeId) {
        for topic in self.topics.take() {
            ctx.topics.unsubscribe(topic, id.slot);
        }
    }

    pub fn subscriptions(&self) -> usize {
        self.topics.len()
    }

    /// Sends a publish to this subscriber, unless the subscriber is too slow.
    pub fn deliver(&mut self, io: &mut Io<'_>, publication: &mut Publication<'_>) {
        if !io.takes_commands() {
            return;
        }
        let behaviour = &self.behaviour;
        let waiting = if io.transport.is_blocked() { io.unsent() } else { 0 };
        let is_too_much = behaviour.max_backpressure != 0 && waiting > behaviour.max_backpressure;
        if is_too_much || waiting > 0 && io.ctx.shared.budget.is_over() {
            io.count(Metric::DeliveriesDropped);
            trace!(WS, io.id(), "a publish is dropped: {waiting} bytes wait");
            if behaviour.wants & wants::DROPPED != 0 && *io.close == Close::Open {
                publication.dropped(io.ctx, io.transport.id);
            }
            // The memory budget closes those that hold most of it; the limit of this one is not at stake.
            if is_too_much && behaviour.close_on_backpressure_limit {
                overflow(io);
            }
            return;
        }
        io.count(Metric::Deliveries);
        trace!(WS, io.id(), "a publish, {} bytes", publication.payload.len());
        let before = io.transport.out.own_bytes();
        self.queue_publication(io, publication);
        io.ctx.piled_up += io.transport.out.own_bytes().saturating_sub(before);
        io.transport.mark_dirty(io.ctx);
        if self.behaviour.reset_idle_timeout_on_send {
            self.restart_idle_timeout(io);
        }
        io.flush_if_large();
    }

    fn queue_publication(&mut self, io: &mut Io<'_>, publication: &mut Publication<'_>) {
        let (out, ctx) = (&mut io.transport.out, &mut *io.ctx);
        let Some(compression) = self.compression.as_deref_mut().filter(|_| publication.compress) else {
            return publication.queue_plain(out, &mut ctx.spare);
        };
        if let Some(bits) = compression.shared_window_bits() {
            return publication.queue_compressed(bits, &mut ctx.codecs, out, &mut ctx.spare);
        }
        // The context belongs to this connection alone, so compress for it alone.
        let mut deflated = ctx.spare.take();
        match compression.outgoing(&mut ctx.codecs, send_flag::COMPRESS, publication.payload, &mut deflated) {
            Outgoing::Deflated { rsv1 } => send_deflated(io, publication.opcode(), true, rsv1, deflated),
            Outgoing::Plain => {
                ctx.spare.give(deflated);
                publication.queue_plain(out, &mut ctx.spare);
            }
        }
    }

    // ---- events of the connection

    pub fn on_flushed(&mut self, io: &mut Io<'_>, before: usize, now: usize) {
        if before > now && self.behaviour.wants & wants::DRAIN != 0 {
            io.event(JsEvent::Drain, b"");
        }
        if now < PONGS_BELOW
            && let Some(ping) = self.unanswered_ping.take()
        {
            send_control(io, Control::Pong, &ping);
        }
    }

    pub fn on_timeout(&mut self, io: &mut Io<'_>) {
        let now = io.ctx.now();
        if self.lives_until != 0 && now >= self.lives_until {
            frame::write_close(&mut self.pending_close_frame, Some(1000), b"please reconnect");
            io.count(Metric::LifetimeTimeout);
            trace!(WS, io.id(), "maxLifetime is over");
            return io.end(Cause::Finish, 1000, b"please reconnect");
        }
        let Behaviour { idle_timeout, send_pings, .. } = *self.behaviour;
        if idle_timeout == 0 {
            return self.set_deadline(io, 0);
        }
        if send_pings && !std::mem::replace(&mut self.ping_outstanding, true) {
            send_control(io, Control::Ping, b"");
            // This tick has just begun, so the sum of the two waits is at most the idle timeout and a tick.
            return self.set_deadline(io, now + ping_margin(idle_timeout));
        }
        io.count(Metric::IdleTimeout);
        trace!(WS, io.id(), "silent for idleTimeout");
        io.end(Cause::Abort, 1006, b"WebSocket timed out from inactivity");
    }

    fn restart_idle_timeout(&mut self, io: &mut Io<'_>) {
        if *io.close != Close::Open {
            return;
        }
        self.ping_outstanding = false;
        let Behaviour { idle_timeout, send_pings, .. } = *self.behaviour;
        let margin = if send_pings { ping_margin(idle_timeout) } else { 0 };
        let silence = idle_timeout - margin.min(idle_timeout);
        // Rounded up, since the current tick has begun already.
        self.set_deadline(io, if silence == 0 { 0 } else { io.ctx.now() + silence + 1 });
    }

    /// Sets the deadline to this tick (0: none), or to the end of the lifetime if that is earlier.
    fn set_deadline(&self, io: &mut Io<'_>, deadline: Tick) {
        let deadline = match (deadline, self.lives_until) {
            (deadline, 0) => deadline,
            (0, lives_until) => lives_until,
            (deadline, lives_until) => deadline.min(lives_until),
        };
        io.set_deadline(deadline);
    }
}

/// More waits for the peer than `maxBackpressure`, with `closeOnBackpressureLimit`.
fn overflow(io: &mut Io<'_>) {
    io.count(Metric::BackpressureLimit);
    trace!(WS, io.id(), "too slow: {} bytes wait", io.unsent());
    io.end(Cause::Abort, 1006, b"");
}

fn trace_received(io: &Io<'_>, event: &Event<'_>) {
    let payload: &[u8] = match event {
        Event::Message { binary, compressed, data } => {
            let kind = if *binary { "binary" } else { "text" };
            let packed = if *compressed { ", compressed" } else { "" };
            trace!(WS, io.id(), "received {kind}, {} bytes{packed}", data.len());
            data
        }
        Event::Ping(payload) => {
            trace!(WS, io.id(), "received ping");
            payload
        }
        Event::Pong(payload) => {
            trace!(WS, io.id(), "received pong");
            payload
        }
        Event::Close { code, reason } => {
            trace!(WS, io.id(), "received close {}", code.unwrap_or(1005));
            reason
        }
    };
    trace_payload!(WS, io.id(), "received", payload);
}

fn metric_of(error: WsError) -> Metric {
    match error {
        WsError::InvalidFrame => Metric::InvalidFrame,
        WsError::TooBigMessage => Metric::TooBigMessage,
        WsError::InvalidUtf8 => Metric::InvalidUtf8,
        WsError::InvalidClosePayload => Metric::InvalidClosePayload,
        WsError::InvalidCloseReason => Metric::InvalidCloseReason,
        WsError::TooBigInflation => Metric::TooBigInflation,
        WsError::InvalidDeflate => Metric::InvalidDeflate,
    }
}

fn send_control(io: &mut Io<'_>, kind: Control, payload: &[u8]) {
    io.send(|out| {
        frame::write_header(out, OpCode::Control(kind), true, false, payload.len());
        out.extend_from_slice(payload);
    });
}

fn send_deflated(io: &mut Io<'_>, opcode: OpCode, fin: bool, rsv1: bool, payload: Vec<u8>) {
    io.send(|out| frame::write_header(out, opcode, fin, rsv1, payload.len()));
    if payload.len() >= OWNED_PAYLOAD {
        return io.send_payload(b"", Some(payload));
    }
    io.send(|out| out.extend_from_slice(&payload));
    io.ctx.spare.give(payload);
}

/// The place of a message's bytes: in the input, or assembled from several reads.
enum Place {
    Input(Range<usize>),
    Assembled(Vec<u8>),
}

impl Place {
    /// `n`: bytes of input that were parsed with the message. A frame ends with its payload.
    fn of(data: Message<'_>, n: usize) -> Self {
        match data {
            Message::Borrowed(bytes) => Place::Input(n - bytes.len()..n),
            Message::Owned(bytes) => Place::Assembled(bytes),
        }
    }
}

fn message_event(io: &mut Io<'_>, input: &mut Input<'_>, n: usize, binary: bool, place: Place) {
    let payload = match place {
        Place::Input(range) => input.payload(n, range, &io.ctx.shared.blocks),
        Place::Assembled(bytes) => {
            input.consume(n);
            Payload::Owned(bytes.into())
        }
    };
    io.payload_event(JsEvent::Message { binary }, payload);
}

/// Inflates a message into the arena of events, where it stays unless it is large or JavaScript has no
/// handler for it.
fn inflated_event(
    io: &mut Io<'_>,
    compression: &mut Option<Box<Compression>>,
    behaviour: &Behaviour,
    binary: bool,
    data: &[u8],
) -> Result<(), WsError> {
    let Some(compression) = compression else { return Err(WsError::InvalidFrame) };
    let Context { codecs, events, .. } = &mut *io.ctx;
    events.try_push_with(JsEvent::Message { binary }, io.transport.id, |arena| {
        compression.inflate(codecs, binary, data, behaviour.max_payload, arena)?;
        Ok(behaviour.wants & wants::MESSAGE != 0)
    })
}

/// The opcode and FIN bit of a frame JavaScript sends.
pub fn opcode(flags: u32) -> (OpCode, bool) {
    let opcode = if flags & send_flag::PING != 0 {
        OpCode::Control(Control::Ping)
    } else if flags & send_flag::CONTINUATION != 0 {
        OpCode::Data(Data::Continue)
    } else if flags & send_flag::BINARY != 0 {
        OpCode::Data(Data::Binary)
    } else {
        OpCode::Data(Data::Text)
    };
    (opcode, flags & send_flag::NOT_FINAL == 0)
}

/// How long before the end of the idle timeout a ping is sent: 4, 8 or 16 s, the largest whose double still
/// fits in what is left, as uWebSockets has it.
fn ping_margin(idle_timeout: u32) -> u32 {
    let mut margin = 4;
    while margin < 16 && idle_timeout.saturating_sub(margin) >= margin * 2 {
        margin *= 2;
    }
    margin
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ping_margins_are_those_of_the_original() {
        for (idle, margin) in [(8, 4), (11, 4), (12, 8), (16, 8), (24, 16), (120, 16), (960, 16)] {
            assert_eq!(ping_margin(idle), margin, "{idle}");
        }
    }

    #[test]
    fn frames_have_the_opcode_and_fin_bit_of_the_flags() {
        assert_eq!(opcode(0), (OpCode::Data(Data::Text), true));
        assert_eq!(opcode(send_flag::BINARY | send_flag::NOT_FINAL), (OpCode::Data(Data::Binary), false));
        assert_eq!(opcode(send_flag::CONTINUATION), (OpCode::Data(Data::Continue), true));
        assert_eq!(opcode(send_flag::PING), (OpCode::Control(Control::Ping), true));
    }
}
