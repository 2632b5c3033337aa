//! The TLS side of a connection: what `connection.rs` does with a plain socket, with records in between.

use super::{Hello, Tls};
use crate::channel::EventKind;
use crate::event_loop::connection::{Connection, WRITE_BUDGET};
use crate::event_loop::context::Context;
use crate::event_loop::outbound::{MAX_SLICES, Outbound};
use crate::event_loop::timer::Tick;
use crate::protocol::http_error::HttpError;
use std::io::{ErrorKind, IoSlice};
use std::sync::atomic::Ordering;

/// Seconds a handshake may take.
const HANDSHAKE_TIMEOUT: Tick = 10;
/// Plain bytes encrypted for one write. What the kernel refuses of it waits as records, so this bounds those.
const ENCRYPT_AT_ONCE: usize = 128 << 10;
/// Capacity the scratch buffers keep.
const KEPT_SCRATCH: usize = 256 << 10;

/// Buffers for one read or write, used by all connections of a loop in turn.
#[derive(Default)]
pub struct Scratch {
    plain: Vec<u8>,
    records: Vec<u8>,
}

fn recycle(mut buffer: Vec<u8>) -> Vec<u8> {
    buffer.clear();
    buffer.shrink_to(KEPT_SCRATCH);
    buffer
}

impl Connection {
    /// The deadline of a new connection.
    pub(in crate::event_loop) fn start_timeout(&mut self, ctx: &mut Context) {
        match self.tls {
            Some(_) => self.set_timeout(ctx, HANDSHAKE_TIMEOUT),
            None => self.restart_http_timeout(ctx),
        }
    }

    // ---- receiving

    /// Bytes from the socket of a TLS connection.
    pub(in crate::event_loop) fn receive_records(&mut self, ctx: &mut Context, bytes: &[u8]) {
        let Some(tls) = &mut self.tls else { return };
        match tls.read_hello(bytes) {
            Ok(Hello::Incomplete) => {}
            Ok(Hello::Complete) => self.choose_or_ask(ctx),
            Ok(Hello::Passed) => self.decrypt(ctx, bytes),
            Ok(Hello::PlainText) => self.refuse_plain_text(ctx),
            Err(error) => self.tls_failed(ctx, &error.to_string()),
        }
    }

    fn decrypt(&mut self, ctx: &mut Context, records: &[u8]) {
        let Some(tls) = &mut self.tls else { return };
        let was_handshaking = tls.is_handshaking();
        let mut plain = std::mem::take(&mut ctx.tls.plain);
        let result = tls.decrypt(records, &mut plain);
        let is_established = was_handshaking && !tls.is_handshaking();
        if tls.wants_write() {
            self.mark_dirty(ctx);
        }
        if is_established {
            self.restart_http_timeout(ctx);
        }
        if !plain.is_empty() {
            self.receive(ctx, &mut plain);
        }
        ctx.tls.plain = recycle(plain);
        match result {
            Ok(true) if self.stream.is_some() => {
                self.peer_ended = true;
                self.on_peer_end(ctx);
            }
            Ok(_) => {}
            Err(error) => self.tls_failed(ctx, &error.to_string()),
        }
    }

    /// HTTP without TLS: answered in kind.
    fn refuse_plain_text(&mut self, ctx: &mut Context) {
        self.note_failed_handshake(ctx, "no TLS, but text");
        self.tls = None;
        let answer = HttpError::BadRequest("plain HTTP on a TLS port").response();
        self.send(ctx, |out| out.extend_from_slice(answer));
        self.end_gracefully(ctx);
    }

    // ---- the context of a handshake

    fn choose_or_ask(&mut self, ctx: &mut Context) {
        let name = self.tls.as_ref().and_then(|tls| tls.asked_name());
        let names = ctx.apps.get(self.app as usize).and_then(|app| app.names.as_ref());
        match name.as_deref().filter(|name| names.is_some_and(|names| names.asks_for(name))) {
            Some(name) => ctx.event(EventKind::ServerName, self.id, [self.app, 0, 0], name.as_bytes()),
            None => self.choose_context(ctx),
        }
    }

    /// JavaScript has been asked for the name, and may have added it.
    pub(in crate::event_loop) fn server_name_answered(&mut self, ctx: &mut Context) {
        if self.is_open() && self.tls.as_ref().is_some_and(|tls| tls.is_asking()) {
            self.choose_context(ctx);
            self.resume(ctx);
        }
    }

    fn choose_context(&mut self, ctx: &mut Context) {
        let Some(tls) = &mut self.tls else { return };
        let Some(names) = ctx.apps.get(self.app as usize).and_then(|app| app.names.as_ref()) else { return };
        let choice = names.choose(tls.asked_name().as_deref());
        match tls.choose(choice) {
            Ok(rest) => self.decrypt(ctx, &rest),
            Err(error) => self.tls_failed(ctx, &error.to_string()),
        }
    }

    // ---- ends

    pub(in crate::event_loop) fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// A failed handshake is the peer's affair; JavaScript has no object for it.
    pub(in crate::event_loop) fn note_failed_handshake(&self, ctx: &Context, reason: &str) {
        ctx.shared.failed_handshakes.fetch_add(1, Ordering::Relaxed);
        log::debug!("connection {}: TLS handshake failed: {reason}", self.id.slot);
    }

    /// The alert that is waiting is the last thing the peer gets.
    fn tls_failed(&mut self, ctx: &mut Context, reason: &str) {
        if self.is_handshaking() {
            self.note_failed_handshake(ctx, reason);
        } else {
            log::debug!("connection {}: TLS: {reason}", self.id.slot);
        }
        if let Some(tls) = &mut self.tls {
            tls.fail();
        }
        self.tell_gone(ctx, 1006, b"");
        self.out.clear(&mut ctx.spare);
        self.end_gracefully(ctx);
    }

    // ---- sending

    /// `flush` for TLS: encrypts no more than the kernel takes, but for one buffer.
    pub(in crate::event_loop) fn flush_records(&mut self, ctx: &mut Context) {
        if self.stream.is_none() {
            return;
        }
        let mut records = std::mem::take(&mut ctx.tls.records);
        let mut budget = WRITE_BUDGET;
        while !self.blocked {
            if budget == 0 {
                self.mark_dirty(ctx);
                break;
            }
            records.clear();
            let ends = self.is_flushing();
            let Some(tls) = &mut self.tls else { break };
            let waiting = tls.unsent() > 0;
            if !waiting {
                let taken = encrypt_some(tls, &self.out);
                self.out.consume(&mut ctx.spare, taken);
                if ends && self.out.is_empty() {
                    tls.close();
                }
                tls.take_records(&mut records);
            }
            if !waiting && records.is_empty() {
                break;
            }
            match self.write_records(&records) {
                Ok(n) => budget = budget.saturating_sub(n),
                Err(()) => {
                    ctx.tls.records = recycle(records);
                    return self.on_reset(ctx);
                }
            }
        }
        ctx.tls.records = recycle(records);
        self.after_flush(ctx);
    }

    /// Writes what is unsent, or `records`; what the kernel refuses of those becomes unsent.
    fn write_records(&mut self, records: &[u8]) -> Result<usize, ()> {
        let (Some(tls), Some(stream)) = (&mut self.tls, &mut self.stream) else { return Err(()) };
        let bytes = if records.is_empty() { tls.unsent_records() } else { records };
        let written = match stream.write_vectored(&[IoSlice::new(bytes)]) {
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.blocked = true;
                0
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => 0,
            Err(_) => return Err(()),
        };
        if records.is_empty() {
            tls.sent(written);
        } else {
            tls.keep(&records[written..]);
        }
        Ok(written)
    }
}

/// Encrypts the front of what waits; returns how many plain bytes that was.
fn encrypt_some(tls: &mut Tls, out: &Outbound) -> usize {
    if out.is_empty() {
        return 0;
    }
    let mut slices = [IoSlice::new(&[]); MAX_SLICES];
    let used = out.slices_within(ENCRYPT_AT_ONCE, &mut slices);
    tls.encrypt(&slices[..used])
}
