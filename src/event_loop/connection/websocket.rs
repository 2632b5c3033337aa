//! The WebSocket side of a connection: upgrade, messages in, frames out, pings and the closing handshake.

use super::compression::{Compression, Outgoing};
use super::http::Http;
use super::input::Input;
use super::publication::Publication;
use super::{Connection, Protocol};
use crate::channel::buffers::Payload;
use crate::channel::{Command, ConnId, EventKind, OWNED_PAYLOAD, ResponseParts, send_flag};
use crate::event_loop::context::{Behaviour, Context, wants};
use crate::event_loop::timer::Tick;
use crate::event_loop::topics::Subscriptions;
use crate::protocol::http::request::RequestHead;
use crate::protocol::websocket::frame::{self, WsError};
use crate::protocol::websocket::handshake::{self, CompressOptions};
use crate::protocol::websocket::message::{Event, Payload as Data, Receiver};
use std::sync::Arc;
use tungstenite::protocol::frame::coding::{self, Control, OpCode};

pub struct WebSocket {
    pub behaviour: Arc<Behaviour>,
    receiver: Receiver,
    /// `None`: permessage-deflate was not negotiated.
    compression: Option<Box<Compression>>,
    /// Topics this connection is subscribed to in the loop's table.
    pub topics: Subscriptions,
    ping_outstanding: bool,
    /// 0: no limit.
    lives_until: Tick,
    /// The close frame that follows JavaScript's last answers; empty: none.
    farewell: Vec<u8>,
    /// The newest ping that is not answered yet, because much waits to be sent.
    unanswered_ping: Option<Box<[u8]>>,
}

/// Frames of one connection before the others get their turn: tens of thousands fit into one read.
const FRAMES_PER_TURN: usize = 64;
/// With this much waiting to be sent, pings are not answered one by one: only the newest is, once there is room (RFC
/// 6455 §5.5.3). A peer that sends pings and reads nothing would fill the memory otherwise.
const PONGS_BELOW: usize = 16 << 10;

impl Connection {
    fn websocket(&mut self) -> Option<&mut WebSocket> {
        match &mut self.protocol {
            Protocol::WebSocket(websocket) => Some(websocket),
            Protocol::Http(_) => None,
        }
    }

    // ---- upgrade

    /// A `ws` route without `upgrade` handler: first subprotocol, negotiated compression, empty user data.
    pub(super) fn auto_upgrade(&mut self, ctx: &mut Context, head: &RequestHead, bytes: &[u8], id: u32) {
        let Some(behaviour) = ctx.behaviour(id) else { return };
        let request = UpgradeRequest {
            key: head.websocket_key.map_or(&b""[..], |key| key.of(bytes)),
            protocol: head.header(bytes, b"sec-websocket-protocol").unwrap_or_default(),
            extensions: head.header(bytes, b"sec-websocket-extensions").unwrap_or_default(),
            may_compress: self.may_compress(),
        };
        self.hold();
        ctx.event(EventKind::Open, self.id, [id, 0, 0], b"");
        self.become_websocket(
            ctx,
            behaviour,
            &ResponseParts { status: b"", headers: b"", body: b"" },
            &request,
        );
    }

    /// `res.upgrade`: now or long after the request.
    pub fn upgrade(&mut self, ctx: &mut Context, command: Command<'_>) {
        let parts = ResponseParts::parse(command.payload);
        let inner = ResponseParts::parse(parts.body);
        let request = UpgradeRequest {
            key: inner.status,
            protocol: inner.headers,
            extensions: inner.body,
            may_compress: self.may_compress(),
        };
        let Some(behaviour) = ctx.behaviour(command.arg) else { return };
        let fits =
            |http: &Http| http.has_whole_request() && !http.has_looked_ahead() && !http.has_begun_response();
        if !matches!(&self.protocol, Protocol::Http(http) if fits(http)) {
            // The rest of a body would be taken for frames, or what comes behind is being taken for requests.
            self.tell_gone(ctx, 1006, b"");
            return self.close_socket(ctx);
        }
        self.become_websocket(ctx, behaviour, &parts, &request);
        self.resume(ctx);
    }

    fn may_compress(&self) -> bool {
        matches!(&self.protocol, Protocol::Http(http) if http.may_compress())
    }

    fn become_websocket(
        &mut self,
        ctx: &mut Context,
        behaviour: Arc<Behaviour>,
        parts: &ResponseParts<'_>,
        request: &UpgradeRequest<'_>,
    ) {
        let options = if request.may_compress { behaviour.compression } else { 0 };
        let (extensions, negotiated) =
            handshake::negotiate(request.extensions, CompressOptions(options)).unzip();
        self.send_dated(ctx, |out, now| {
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
            if behaviour.max_lifetime == 0 { 0 } else { ctx.now() + behaviour.max_lifetime + 1 };
        self.protocol = Protocol::WebSocket(Box::new(WebSocket {
            receiver: Receiver::new(behaviour.max_payload, negotiated.is_some()),
            compression: negotiated.map(|negotiated| Box::new(Compression::new(negotiated))),
            behaviour,
            topics: Subscriptions::default(),
            ping_outstanding: false,
            lives_until,
            farewell: Vec::new(),
            unanswered_ping: None,
        }));
        self.restart_idle_timeout(ctx);
    }

    // ---- receiving

    /// Understands as much of the input as it can.
    pub(super) fn websocket_receive(&mut self, ctx: &mut Context, input: &mut Input<'_>) {
        let (id, mut frames) = (self.id, 0);
        if !input.is_empty() {
            self.restart_idle_timeout(ctx);
        }
        while !input.is_empty() {
            if frames == FRAMES_PER_TURN {
                return self.queue(ctx);
            }
            frames += 1;
            let Protocol::WebSocket(websocket) = &mut self.protocol else { return };
            let wanted = websocket.behaviour.wants;
            let (n, result) = websocket.receiver.receive(input.bytes());
            match result {
                Ok(None) if n == 0 => break,
                Ok(None) => input.consume(n),
                Ok(Some(Event::Message { binary, compressed: true, data })) => {
                    let inflated = inflated_event(ctx, websocket, id, binary, &data);
                    input.consume(n);
                    if let Err(error) = inflated {
                        input.consume_all();
                        return self.websocket_fail(ctx, error);
                    }
                    // A few bytes may have become very many: the rest waits until JavaScript has seen to these.
                    if ctx.overloaded() {
                        return self.queue(ctx);
                    }
                }
                Ok(Some(Event::Message { binary, compressed: false, data })) => {
                    let message = match data {
                        Data::Owned(message) => Err(message),
                        // A frame ends with its payload.
                        Data::Borrowed(bytes) => Ok(n - bytes.len()..n),
                    };
                    if wanted & wants::MESSAGE == 0 {
                        input.consume(n);
                        continue;
                    }
                    let payload = match message {
                        Ok(range) => input.payload(n, range, &ctx.shared.blocks),
                        Err(message) => {
                            input.consume(n);
                            Payload::Owned(message.into())
                        }
                    };
                    ctx.payload_event(EventKind::Message, id, [u32::from(binary), 0, 0], payload);
                }
                Ok(Some(Event::Ping(payload))) => {
                    if wanted & wants::PING != 0 {
                        ctx.event(EventKind::Ping, id, [0; 3], payload);
                    }
                    self.answer_ping(ctx, payload);
                    input.consume(n);
                }
                Ok(Some(Event::Pong(payload))) => {
                    if wanted & wants::PONG != 0 {
                        ctx.event(EventKind::Pong, id, [0; 3], payload);
                    }
                    input.consume(n);
                }
                Ok(Some(Event::Close { code, reason })) => {
                    let mut farewell = Vec::new();
                    frame::write_close(&mut farewell, code, reason);
                    self.tell_gone(ctx, code.unwrap_or(1005), reason);
                    self.websocket_over(ctx, farewell);
                    return input.consume_all();
                }
                Err(error) => {
                    self.websocket_fail(ctx, error);
                    return input.consume_all();
                }
            }
        }
    }

    fn answer_ping(&mut self, ctx: &mut Context, payload: &[u8]) {
        let is_full = self.unsent() >= PONGS_BELOW;
        let Some(websocket) = self.websocket() else { return };
        if is_full {
            websocket.unanswered_ping = Some(payload.into());
        } else {
            websocket.unanswered_ping = None;
            self.send_frame(ctx, OpCode::Control(Control::Pong), payload);
        }
    }

    /// The peer broke the protocol or a limit: say so in a close frame, then close. The handler sees 1006 with the
    /// reason; the peer is told the code RFC 6455 §7.4.1 has for it.
    fn websocket_fail(&mut self, ctx: &mut Context, error: WsError) {
        let (code, reason) = (error.close_code(), error.reason().as_bytes());
        let mut farewell = Vec::new();
        if code != 1006 {
            frame::write_close(&mut farewell, Some(code), reason);
        }
        self.tell_gone(ctx, 1006, reason);
        self.websocket_over(ctx, farewell);
    }

    pub(super) fn websocket_peer_end(&mut self, ctx: &mut Context) {
        self.tell_gone(ctx, 1006, b"Received TCP FIN before WebSocket close frame");
        self.websocket_over(ctx, Vec::new());
    }

    /// After the last that is read. JavaScript may have messages before it; its answers to them come before our close
    /// frame, after which none may be sent (RFC 6455 §5.5.1).
    fn websocket_over(&mut self, ctx: &mut Context, farewell: Vec<u8>) {
        if let Some(websocket) = self.websocket() {
            websocket.farewell = farewell;
        }
        self.answer_to_the_end(ctx);
        if !self.is_held() {
            self.websocket_farewell(ctx);
        }
    }

    /// JavaScript has answered all it saw.
    pub(super) fn websocket_farewell(&mut self, ctx: &mut Context) {
        if !self.is_answering() {
            return;
        }
        let farewell = self.websocket().map(|websocket| std::mem::take(&mut websocket.farewell));
        self.send(ctx, |out| out.extend_from_slice(&farewell.unwrap_or_default()));
        self.end_gracefully(ctx);
    }

    // ---- what JavaScript asks for

    pub fn websocket_send(&mut self, ctx: &mut Context, command: Command<'_>) {
        let len = command.owned.as_ref().map_or(command.payload.len(), Vec::len);
        if !self.is_open() {
            return;
        }
        let Protocol::WebSocket(websocket) = &mut self.protocol else { return };
        let reset_timeout = websocket.behaviour.reset_idle_timeout_on_send;
        let (opcode, fin) = opcode(command.flags);
        let mut deflated = Vec::new();
        let outgoing = match &mut websocket.compression {
            None => Outgoing::Plain,
            Some(compression) => {
                deflated = ctx.spare.take();
                let data = command.owned.as_deref().unwrap_or(command.payload);
                compression.outgoing(&mut ctx.codecs, command.flags, data, &mut deflated)
            }
        };
        match (outgoing, command.owned) {
            (Outgoing::Deflated { rsv1 }, _) => self.send_deflated(ctx, opcode, fin, rsv1, deflated),
            (Outgoing::Plain, owned) => {
                ctx.spare.give(deflated);
                self.send(ctx, |out| frame::write_header(out, opcode, fin, false, len));
                match owned {
                    Some(bytes) => self.out.push(&mut ctx.spare, bytes),
                    None => self.send(ctx, |out| out.extend_from_slice(command.payload)),
                }
            }
        }
        if reset_timeout {
            self.restart_idle_timeout(ctx);
        }
        self.keep_up(ctx);
    }

    fn send_deflated(&mut self, ctx: &mut Context, opcode: OpCode, fin: bool, rsv1: bool, payload: Vec<u8>) {
        self.send(ctx, |out| frame::write_header(out, opcode, fin, rsv1, payload.len()));
        if payload.len() >= OWNED_PAYLOAD {
            return self.out.push(&mut ctx.spare, payload);
        }
        self.send(ctx, |out| out.extend_from_slice(&payload));
        ctx.spare.give(payload);
    }

    /// `ws.end`: JavaScript has run its `close` handler already. It may not have known that the peer was faster; then
    /// this is our close frame all the same.
    pub fn websocket_end(&mut self, ctx: &mut Context, command: &Command<'_>) {
        if !self.is_open() || self.websocket().is_none() {
            return;
        }
        self.let_go();
        self.send(ctx, |out| frame::write_close(out, Some(command.arg as u16), command.payload));
        self.end_gracefully(ctx);
    }

    /// Over `maxBackpressure` with `closeOnBackpressureLimit`.
    pub fn websocket_overflow(&mut self, ctx: &mut Context) {
        if self.is_open() && self.websocket().is_some() {
            self.tell_gone(ctx, 1006, b"");
            self.close_socket(ctx);
        }
    }

    pub fn subscribe(&mut self, ctx: &mut Context, topic: u32) {
        let slot = self.id.slot;
        if self.is_open()
            && let Some(websocket) = self.websocket()
            && ctx.topics.subscribe(topic, slot)
        {
            websocket.topics.add(topic);
        }
    }

    pub fn unsubscribe(&mut self, ctx: &mut Context, topic: u32) {
        let slot = self.id.slot;
        if let Some(websocket) = self.websocket()
            && ctx.topics.unsubscribe(topic, slot)
        {
            websocket.topics.remove(topic);
        }
    }

    /// A publish reaches this subscriber, unless it is too slow for it.
    pub fn deliver(&mut self, ctx: &mut Context, publication: &mut Publication<'_>) {
        let (id, answering) = (self.id, self.is_answering());
        let waiting = if self.blocked { self.unsent() } else { 0 };
        if !self.is_open() {
            return;
        }
        let Some(websocket) = self.websocket() else { return };
        let behaviour = &websocket.behaviour;
        if behaviour.max_backpressure != 0 && waiting > behaviour.max_backpressure {
            if behaviour.wants & wants::DROPPED != 0 && !answering {
                publication.dropped(ctx, id);
            }
            if behaviour.close_on_backpressure_limit {
                self.websocket_overflow(ctx);
            }
            return;
        }
        let (reset_timeout, before) = (behaviour.reset_idle_timeout_on_send, self.out.own_bytes());
        let Protocol::WebSocket(websocket) = &mut self.protocol else { return };
        match websocket.compression.as_deref_mut().filter(|_| publication.compress) {
            None => publication.queue_plain(&mut self.out, &mut ctx.spare),
            Some(compression) => match compression.shared_window_bits() {
                Some(bits) => {
                    publication.queue_compressed(bits, &mut ctx.codecs, &mut self.out, &mut ctx.spare);
                }
                None => self.deliver_in_context(ctx, publication),
            },
        }
        ctx.piled_up += self.out.own_bytes().saturating_sub(before);
        self.mark_dirty(ctx);
        if reset_timeout {
            self.restart_idle_timeout(ctx);
        }
        self.keep_up(ctx);
    }

    /// For a compressor whose context is this connection's alone.
    fn deliver_in_context(&mut self, ctx: &mut Context, publication: &mut Publication<'_>) {
        let Protocol::WebSocket(websocket) = &mut self.protocol else { return };
        let Some(compression) = &mut websocket.compression else { return };
        let mut deflated = ctx.spare.take();
        match compression.outgoing(&mut ctx.codecs, send_flag::COMPRESS, publication.payload, &mut deflated) {
            Outgoing::Deflated { rsv1 } => {
                self.send_deflated(ctx, publication.opcode(), true, rsv1, deflated);
            }
            Outgoing::Plain => {
                ctx.spare.give(deflated);
                publication.queue_plain(&mut self.out, &mut ctx.spare);
            }
        }
    }

    // ---- what happens to the connection

    pub(super) fn websocket_flushed(&mut self, ctx: &mut Context, before: usize) {
        let (id, now) = (self.id, self.unsent());
        if before > now && self.websocket().is_some_and(|w| w.behaviour.wants & wants::DRAIN != 0) {
            ctx.event(EventKind::Drain, id, [0; 3], b"");
        }
        if now < PONGS_BELOW
            && let Some(ping) = self.websocket().and_then(|websocket| websocket.unanswered_ping.take())
        {
            self.send_frame(ctx, OpCode::Control(Control::Pong), &ping);
        }
    }

    pub(super) fn websocket_timeout(&mut self, ctx: &mut Context) {
        let now = ctx.now();
        let Some(websocket) = self.websocket() else { return };
        if websocket.lives_until != 0 && now >= websocket.lives_until {
            let mut farewell = Vec::new();
            frame::write_close(&mut farewell, Some(1000), b"please reconnect");
            self.tell_gone(ctx, 1000, b"please reconnect");
            return self.websocket_over(ctx, farewell);
        }
        let behaviour = websocket.behaviour.clone();
        if behaviour.idle_timeout == 0 {
            return self.set_websocket_deadline(ctx, 0);
        }
        if behaviour.send_pings && !std::mem::replace(&mut websocket.ping_outstanding, true) {
            self.send_frame(ctx, OpCode::Control(Control::Ping), b"");
            // This tick has just begun: the two waits together are no longer than the idle timeout and a tick.
            return self.set_websocket_deadline(ctx, now + ping_margin(behaviour.idle_timeout));
        }
        self.tell_gone(ctx, 1006, b"WebSocket timed out from inactivity");
        self.close_socket(ctx);
    }

    fn send_frame(&mut self, ctx: &mut Context, opcode: OpCode, payload: &[u8]) {
        self.send(ctx, |out| {
            frame::write_header(out, opcode, true, false, payload.len());
            out.extend_from_slice(payload);
        });
    }

    fn restart_idle_timeout(&mut self, ctx: &mut Context) {
        if self.is_answering() {
            return;
        }
        let Some(websocket) = self.websocket() else { return };
        websocket.ping_outstanding = false;
        let behaviour = &websocket.behaviour;
        let margin = if behaviour.send_pings { ping_margin(behaviour.idle_timeout) } else { 0 };
        let silence = behaviour.idle_timeout - margin.min(behaviour.idle_timeout);
        // Rounded up, since the current tick has begun already.
        self.set_websocket_deadline(ctx, if silence == 0 { 0 } else { ctx.now() + silence + 1 });
    }

    /// The next thing to happen by itself: at this tick (0: never), or at the end of the lifetime.
    fn set_websocket_deadline(&mut self, ctx: &mut Context, deadline: Tick) {
        let Some(websocket) = self.websocket() else { return };
        let deadline = match (deadline, websocket.lives_until) {
            (deadline, 0) => deadline,
            (0, lives_until) => lives_until,
            (deadline, lives_until) => deadline.min(lives_until),
        };
        self.set_deadline(ctx, deadline);
    }
}

struct UpgradeRequest<'a> {
    key: &'a [u8],
    protocol: &'a [u8],
    extensions: &'a [u8],
    /// The client is none of those that negotiate permessage-deflate and get it wrong.
    may_compress: bool,
}

/// Inflates a message into the arena of events, where it stays unless it is large or nobody wants it.
fn inflated_event(
    ctx: &mut Context,
    websocket: &mut WebSocket,
    id: ConnId,
    binary: bool,
    data: &[u8],
) -> Result<(), WsError> {
    let Some(compression) = &mut websocket.compression else { return Err(WsError::InvalidFrame) };
    let (Context { codecs, events, .. }, behaviour) = (ctx, &websocket.behaviour);
    events.try_push_with(EventKind::Message, id, [u32::from(binary), 0, 0], |arena| {
        compression.inflate(codecs, binary, data, behaviour.max_payload, arena)?;
        Ok(behaviour.wants & wants::MESSAGE != 0)
    })
}

/// The opcode and FIN bit of a frame JavaScript sends.
pub fn opcode(flags: u32) -> (OpCode, bool) {
    let opcode = if flags & send_flag::PING != 0 {
        OpCode::Control(Control::Ping)
    } else if flags & send_flag::CONTINUATION != 0 {
        OpCode::Data(coding::Data::Continue)
    } else if flags & send_flag::BINARY != 0 {
        OpCode::Data(coding::Data::Binary)
    } else {
        OpCode::Data(coding::Data::Text)
    };
    (opcode, flags & send_flag::NOT_FINAL == 0)
}

/// How long before the end of the idle timeout a ping is sent: 4, 8 or 16 s, the largest whose double still fits in
/// what is left, as uWebSockets has it.
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
    fn frames_carry_what_was_asked() {
        assert_eq!(opcode(0), (OpCode::Data(coding::Data::Text), true));
        assert_eq!(
            opcode(send_flag::BINARY | send_flag::NOT_FINAL),
            (OpCode::Data(coding::Data::Binary), false)
        );
        assert_eq!(opcode(send_flag::CONTINUATION), (OpCode::Data(coding::Data::Continue), true));
        assert_eq!(opcode(send_flag::PING), (OpCode::Control(Control::Ping), true));
    }
}
