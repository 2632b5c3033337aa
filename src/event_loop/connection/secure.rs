//! TLS records on their way in: the settings of the handshake, and the end of a connection whose TLS fails.

use super::Connection;
use super::close::{Cause, Close};
use super::input::Input;
use super::transport::KEPT_SCRATCH;
use crate::channel::{Certificate, JsEvent};
use crate::event_loop::context::Context;
use crate::event_loop::timer::Tick;
use crate::event_loop::tls::{Alert, Failure, Hello};
use crate::metrics::Metric;
use crate::protocol::http::error::HttpError;
use crate::trace::{Shown, trace};
use std::fmt::Display;

/// Seconds a handshake may take.
const HANDSHAKE_TIMEOUT: Tick = 10;

impl Connection {
    pub(super) fn start_handshake_timeout(&mut self, ctx: &mut Context) {
        self.transport.set_timeout(ctx, HANDSHAKE_TIMEOUT);
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.transport.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// Whether the handshake waits for JavaScript to look for a server name.
    pub(super) fn is_asking(&self) -> bool {
        self.transport.tls.as_ref().is_some_and(|tls| tls.is_asking())
    }

    /// Processes bytes from the socket, with those that were kept in front of them.
    pub(super) fn receive_records(&mut self, ctx: &mut Context, bytes: &mut [u8]) {
        let Some(tls) = &mut self.transport.tls else { return };
        match tls.read_hello(bytes) {
            Hello::Incomplete => tls.keep_rest(bytes),
            Hello::Complete => self.choose_or_ask(ctx, bytes),
            Hello::Passed => self.decrypt(ctx, bytes),
            Hello::PlainText => self.refuse_plain_text(ctx),
        }
    }

    fn decrypt(&mut self, ctx: &mut Context, records: &mut [u8]) {
        let Some(tls) = &mut self.transport.tls else { return };
        let was_handshaking = tls.is_handshaking();
        let mut plain = std::mem::take(&mut ctx.tls.plain);
        let result = tls.decrypt(records, &mut plain);
        let is_established = was_handshaking && !tls.is_handshaking();
        ctx.flush_soon |= was_handshaking;
        if let Some(der) = tls.take_client_certificate() {
            let (all, id) = (&ctx.shared.certificates, self.transport.id);
            self.transport.certificate = Some(Box::new(Certificate::new(all, id, der)));
        }
        // Session tickets follow the handshake. If a request came with the end of the handshake, they wait
        // for its response and leave with it.
        let waits = is_established && !plain.is_empty() && tls.may_wait();
        if tls.unsent() > 0 && !waits {
            self.transport.mark_dirty(ctx);
        }
        if is_established {
            self.counts().one(Metric::Handshakes);
            trace!(TLS, self.transport.id, "the handshake is complete");
            self.turn_into(Metric::TlsHttp);
            if self.close == Close::Open {
                self.protocol_starts(ctx);
            }
        }
        if !plain.is_empty() {
            self.receive(ctx, Input::read(&mut plain));
        }
        ctx.tls.plain = plain.recycle(KEPT_SCRATCH);
        match result {
            Ok(true) if self.is_open() => {
                // Of what came before it some may have been left for another turn.
                self.transport.peer_ended = true;
                self.notice_peer_end(ctx);
            }
            Ok(_) => {}
            Err(failure) => self.tls_failed(ctx, &failure),
        }
    }

    /// Answers HTTP without TLS with HTTP without TLS.
    fn refuse_plain_text(&mut self, ctx: &mut Context) {
        self.note_failed_handshake(Metric::NoTls, "no TLS, but text");
        self.counts().one(Metric::Responses4xx);
        self.transport.tls = None;
        let answer = HttpError::BadRequest("plain HTTP on a TLS port").response();
        self.transport.send(ctx, |out| out.extend_from_slice(answer));
        self.end(ctx, Cause::Refuse, 0);
    }

    // ---- the settings of a handshake

    fn choose_or_ask(&mut self, ctx: &mut Context, hello: &mut [u8]) {
        let Some(tls) = &mut self.transport.tls else { return };
        let names = ctx.apps.get(self.app as usize).and_then(|app| app.names.as_ref());
        let name = tls.client_hello().and_then(|hello| hello.name.as_deref());
        trace!(TLS, self.transport.id, "a ClientHello for {}", Shown(name.unwrap_or_default().as_bytes()));
        match name.filter(|name| names.is_some_and(|names| names.asks_for(name))) {
            Some(name) => {
                ctx.event(JsEvent::ServerName { app: self.app }, self.transport.id, name.as_bytes());
                tls.keep_rest(hello);
            }
            None => self.choose_settings(ctx, hello),
        }
    }

    /// Goes on with the handshake, after JavaScript was asked for the name and may have added it.
    pub(super) fn server_name_answered(&mut self, ctx: &mut Context) {
        if self.close == Close::Open
            && let Some(tls) = self.transport.tls.as_mut().filter(|tls| tls.is_asking())
        {
            let mut hello = tls.take_rest();
            self.choose_settings(ctx, &mut hello);
            self.resume(ctx);
        }
    }

    fn choose_settings(&mut self, ctx: &mut Context, hello: &mut [u8]) {
        let Some(tls) = &mut self.transport.tls else { return };
        let Some(names) = ctx.apps.get(self.app as usize).and_then(|app| app.names.as_ref()) else { return };
        let choice = names.choose(tls.client_hello().and_then(|hello| hello.name.as_deref()));
        match tls.choose(choice) {
            Ok(()) => self.decrypt(ctx, hello),
            Err(failure) => self.tls_failed(ctx, &failure),
        }
    }

    // ---- failures

    /// Counts and logs a failed handshake. JavaScript has no object for the connection, and is not told.
    pub(super) fn note_failed_handshake(&mut self, metric: Metric, reason: impl Display) {
        self.counts().one(metric);
        self.transport.handshake_failed = true;
        trace!(TLS, self.transport.id, "the handshake failed: {reason}");
    }

    fn tls_failed(&mut self, ctx: &mut Context, failure: &Failure) {
        if self.is_handshaking() {
            self.note_failed_handshake(metric_of(failure), failure);
        } else {
            trace!(TLS, self.transport.id, "the session failed: {failure}");
        }
        self.on_session_failed(ctx);
        self.settle(ctx);
    }

    /// Ends the connection behind the alert that waits to be sent.
    pub(super) fn on_session_failed(&mut self, ctx: &mut Context) {
        if self.is_handshaking() && !self.transport.handshake_failed {
            self.note_failed_handshake(Metric::alert_sent(INTERNAL_ERROR), "it could not be sent");
        }
        self.transport.fail_session(ctx);
        let (_, mut io) = self.parts(ctx);
        io.end(Cause::Refuse, 1006, b"");
    }
}

/// RFC 8446 §6.2.
const INTERNAL_ERROR: u8 = 80;

fn metric_of(failure: &Failure) -> Metric {
    match failure.alert() {
        Alert::Sent(alert) => Metric::alert_sent(alert),
        Alert::Received(alert) => Metric::alert_received(alert),
    }
}
