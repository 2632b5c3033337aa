//! The TLS side of a connection: what `connection.rs` does with a plain socket, with records in between.

use super::input::Input;
use crate::channel::EventKind;
use crate::channel::buffers::Buffer;
use crate::event_loop::connection::outbound::{MAX_SLICES, Outbound};
use crate::event_loop::connection::{Connection, Protocol, WRITE_BUDGET};
use crate::event_loop::context::Context;
use crate::event_loop::timer::Tick;
use crate::event_loop::tls::{Failure, Hello, Tls};
use crate::protocol::http::error::HttpError;
use std::fmt::Display;
use std::io::IoSlice;
use std::sync::atomic::Ordering;

/// Seconds a handshake may take.
const HANDSHAKE_TIMEOUT: Tick = 10;
/// Plain bytes encrypted for one write. What the kernel refuses of it waits as records, so this bounds those.
const ENCRYPT_AT_ONCE: usize = 128 << 10;
/// Records that wait and are no longer than this leave in one write with what follows.
const JOINED: usize = 16 << 10;
/// Capacity the scratch buffers keep.
const KEPT_SCRATCH: usize = 256 << 10;

impl Connection {
    /// The deadline of a new connection.
    pub(in crate::event_loop) fn start_timeout(&mut self, ctx: &mut Context) {
        match self.tls {
            Some(_) => self.set_timeout(ctx, HANDSHAKE_TIMEOUT),
            None => self.restart_http_timeout(ctx),
        }
    }

    // ---- receiving

    /// Puts the start of a record that was kept to the front of the buffer for the next read.
    pub(in crate::event_loop) fn lend_rest(&self, buffer: &mut Buffer) {
        if let Some(tls) = &self.tls {
            buffer.extend(tls.rest());
        }
    }

    /// Bytes from the socket of a TLS connection, behind what was kept.
    pub(in crate::event_loop) fn receive_records(&mut self, ctx: &mut Context, bytes: &mut [u8]) {
        let Some(tls) = &mut self.tls else { return };
        match tls.read_hello(bytes) {
            Hello::Incomplete => tls.keep_rest(bytes),
            Hello::Complete => self.choose_or_ask(ctx, bytes),
            Hello::Passed => self.decrypt(ctx, bytes),
            Hello::PlainText => self.refuse_plain_text(ctx),
        }
    }

    fn decrypt(&mut self, ctx: &mut Context, records: &mut [u8]) {
        let Some(tls) = &mut self.tls else { return };
        let was_handshaking = tls.is_handshaking();
        let mut plain = std::mem::take(&mut ctx.tls.plain);
        let result = tls.decrypt(records, &mut plain);
        let is_established = was_handshaking && !tls.is_handshaking();
        ctx.laboured |= was_handshaking;
        // Behind the handshake come tickets; a request that came with its end will soon have an answer to go with.
        let waits = is_established && !plain.is_empty() && tls.may_wait();
        if tls.unsent() > 0 && !waits {
            self.mark_dirty(ctx);
        }
        if is_established {
            self.restart_http_timeout(ctx);
        }
        if !plain.is_empty() {
            self.receive(ctx, Input::read(&mut plain));
        }
        ctx.tls.plain = plain.recycle(KEPT_SCRATCH);
        match result {
            Ok(true) if self.stream.is_some() => {
                self.peer_ended = true;
                self.on_peer_end(ctx);
            }
            Ok(_) => {}
            Err(failure) => self.tls_failed(ctx, &failure),
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

    // ---- the settings of a handshake

    fn choose_or_ask(&mut self, ctx: &mut Context, hello: &mut [u8]) {
        let Some(tls) = &mut self.tls else { return };
        let names = ctx.apps.get(self.app as usize).and_then(|app| app.names.as_ref());
        let name = tls.wishes().and_then(|wishes| wishes.name.as_deref());
        match name.filter(|name| names.is_some_and(|names| names.asks_for(name))) {
            Some(name) => {
                ctx.event(EventKind::ServerName, self.id, [self.app, 0, 0], name.as_bytes());
                tls.keep_rest(hello);
            }
            None => self.choose_settings(ctx, hello),
        }
    }

    /// JavaScript has been asked for the name, and may have added it.
    pub(in crate::event_loop) fn server_name_answered(&mut self, ctx: &mut Context) {
        if self.is_open()
            && let Some(tls) = self.tls.as_mut().filter(|tls| tls.is_asking())
        {
            let mut hello = tls.take_rest();
            self.choose_settings(ctx, &mut hello);
            self.resume(ctx);
        }
    }

    fn choose_settings(&mut self, ctx: &mut Context, hello: &mut [u8]) {
        let Some(tls) = &mut self.tls else { return };
        let Some(names) = ctx.apps.get(self.app as usize).and_then(|app| app.names.as_ref()) else { return };
        let choice = names.choose(tls.wishes().and_then(|wishes| wishes.name.as_deref()));
        match tls.choose(choice) {
            Ok(()) => self.decrypt(ctx, hello),
            Err(failure) => self.tls_failed(ctx, &failure),
        }
    }

    // ---- ends

    pub(in crate::event_loop) fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// A failed handshake is the peer's affair; JavaScript has no object for it.
    pub(in crate::event_loop) fn note_failed_handshake(&self, ctx: &Context, reason: impl Display) {
        ctx.shared.failed_handshakes.fetch_add(1, Ordering::Relaxed);
        log::debug!("connection {}: TLS handshake failed: {reason}", self.id.slot);
    }

    /// The alert that is waiting is the last thing the peer gets.
    fn tls_failed(&mut self, ctx: &mut Context, failure: &Failure) {
        if self.is_handshaking() {
            self.note_failed_handshake(ctx, failure);
        } else {
            log::debug!("connection {}: TLS: {failure}", self.id.slot);
        }
        if let Some(tls) = &mut self.tls {
            tls.fail();
        }
        self.tell_gone(ctx, 1006, b"");
        self.out.clear(&mut ctx.spare);
        self.end_gracefully(ctx);
    }

    /// The connection is closed at once. A close_notify tells the peer that the cut is ours and not one of the network (RFC
    /// 8446 §6.1), as far as the kernel takes it, and unless that would make a body look whole that ends with the connection.
    pub(in crate::event_loop) fn say_that_it_ends(&mut self) {
        let is_cut = self.is_cut(!self.out.is_empty());
        let (Some(tls), Some(stream)) = (&mut self.tls, &mut self.stream) else { return };
        // Behind a part of a record it would only be taken for the rest of it.
        if is_cut || tls.unsent() > 0 {
            return;
        }
        let mut records = Buffer::default();
        tls.close(&mut records);
        if !records.is_empty() {
            let _ = stream.write_vectored(&[IoSlice::new(records.filled())]);
        }
    }

    /// Whether an end would be one in a body that ends with the connection. `unsent`: the kernel has not taken everything.
    fn is_cut(&self, unsent: bool) -> bool {
        match &self.protocol {
            Protocol::Http(http) => http.ends_with_the_connection(unsent),
            Protocol::WebSocket(_) => false,
        }
    }

    // ---- sending

    /// `flush` for TLS: encrypts no more than the kernel takes, but for one buffer.
    pub(in crate::event_loop) fn flush_records(&mut self, ctx: &mut Context) {
        if self.stream.is_none() {
            return;
        }
        let mut records = std::mem::take(&mut ctx.tls.records);
        let result = self.write_all(ctx, &mut records);
        ctx.tls.records = records.recycle(KEPT_SCRATCH);
        match result {
            Ok(()) => self.after_flush(ctx),
            Err(Some(failure)) => self.tls_failed(ctx, &failure),
            Err(None) => self.on_write_failed(ctx),
        }
    }

    /// The records of an offer; false: there is nothing to offer, and all has been done.
    pub(in crate::event_loop) fn offer_records(&mut self, ctx: &mut Context, records: &mut Buffer) -> bool {
        let start = records.len();
        if let Err(failure) = self.fill_records(ctx, records) {
            self.tls_failed(ctx, &failure);
            return false;
        }
        let any = records.len() > start;
        if !any {
            self.flush_records(ctx);
        }
        any
    }

    /// As far as the kernel and the turn's budget allow. An error without failure is one of the socket.
    fn write_all(&mut self, ctx: &mut Context, records: &mut Buffer) -> Result<(), Option<Failure>> {
        let mut budget = WRITE_BUDGET;
        while !self.blocked {
            if budget == 0 {
                self.mark_dirty(ctx);
                break;
            }
            records.clear();
            self.fill_records(ctx, records).map_err(Some)?;
            let unsent = self.tls.as_ref().map_or(0, |tls| tls.unsent());
            if records.is_empty() && unsent == 0 {
                break;
            }
            budget = budget.saturating_sub(self.write_records(records.filled()).map_err(|()| None)?);
        }
        Ok(())
    }

    /// Moves what is to be sent next to `records`; nothing while many of them wait already.
    fn fill_records(&mut self, ctx: &mut Context, records: &mut Buffer) -> Result<(), Failure> {
        let (ends, is_cut, start) = (self.is_flushing(), self.is_cut(false), records.len());
        let Some(tls) = self.tls.as_mut().filter(|tls| tls.unsent() <= JOINED) else { return Ok(()) };
        match encrypt_some(tls, &self.out, records) {
            Ok(taken) => self.out.consume(&mut ctx.spare, taken),
            Err(failure) => {
                tls.close(records);
                tls.keep(&records.filled()[start..]);
                return Err(failure);
            }
        }
        if ends && !is_cut && self.out.is_empty() {
            tls.close(records);
        }
        Ok(())
    }

    /// Writes `records`, or what is unsent; what the kernel refuses of those becomes unsent.
    fn write_records(&mut self, records: &[u8]) -> Result<usize, ()> {
        let (Some(tls), Some(stream)) = (&self.tls, &mut self.stream) else { return Err(()) };
        let bytes = if records.is_empty() { tls.unsent_records() } else { records };
        let answer = stream.write_vectored(&[IoSlice::new(bytes)]);
        let written = self.take_write(answer).ok_or(())?;
        let Some(tls) = &mut self.tls else { return Err(()) };
        if records.is_empty() {
            tls.sent(written);
        } else {
            tls.keep(&records[written..]);
        }
        Ok(written)
    }
}

/// Encrypts the front of what waits; returns how many plain bytes that was.
fn encrypt_some(tls: &mut Tls, out: &Outbound, records: &mut Buffer) -> Result<usize, Failure> {
    let mut slices = [IoSlice::new(&[]); MAX_SLICES];
    let used = out.slices_within(ENCRYPT_AT_ONCE, &mut slices);
    tls.encrypt(&slices[..used], records)
}
