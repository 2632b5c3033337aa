//! What JavaScript asks of an exchange: responses whole and streamed, pausing, and the bytes they become.

use super::{Exchange, Phase, Sending};
use crate::channel::{Command, ResponseParts, respond_flag};
use crate::event_loop::connection::Connection;
use crate::event_loop::context::Context;
use crate::protocol::http::response::{self, BodyFraming, Head};

/// One of the methods that carry out a response command.
pub type HttpCommand = fn(&mut Connection, &mut Context, Command<'_>);

impl Connection {
    /// Runs a response command; bytes that followed the request are looked at once it is complete.
    pub fn http_command(&mut self, ctx: &mut Context, command: Command<'_>, run: HttpCommand) {
        if !self.is_open() || self.http().is_none_or(|http| !http.pending) {
            return;
        }
        run(self, ctx, command);
        if self.is_open() && self.http().is_some_and(|http| !http.pending) {
            self.resume(ctx);
        }
    }

    pub fn respond(&mut self, ctx: &mut Context, command: Command<'_>) {
        let parts = ResponseParts::parse(command.payload);
        let body_len = command.owned.as_ref().map_or(parts.body.len(), Vec::len);
        let Some(http) = self.http() else { return };
        if command.flags & respond_flag::CLOSE != 0 {
            http.exchange.keep_alive = false;
        }
        let omit_body = http.exchange.head_request || is_bodiless(parts.status);
        let framing = if command.flags & respond_flag::REPORTED_LENGTH != 0 {
            length_framing(parts.status, command.arg64())
        } else if command.flags & respond_flag::NO_LENGTH != 0 || is_bodiless(parts.status) {
            BodyFraming::None
        } else {
            BodyFraming::Length(body_len as u64)
        };
        self.write_head(ctx, &parts, command.flags, framing);
        if !omit_body {
            self.send_body(ctx, parts.body, command.owned);
        }
        self.http_done(ctx);
    }

    pub fn write_chunk(&mut self, ctx: &mut Context, command: Command<'_>) {
        let parts = ResponseParts::parse(command.payload);
        self.begin_stream(ctx, &parts, command.flags);
        self.send_chunk(ctx, parts.body, command.owned);
    }

    pub fn finish(&mut self, ctx: &mut Context, command: Command<'_>) {
        let parts = ResponseParts::parse(command.payload);
        let len = command.owned.as_ref().map_or(parts.body.len(), Vec::len) as u64;
        self.begin_stream(ctx, &parts, command.flags);
        let Some(http) = self.http() else { return };
        // A body that is not what its Content-Length announced can only be ended by closing.
        let short = matches!(http.sending, Sending::Length(left) if left != len);
        if command.flags & respond_flag::CLOSE != 0 || short {
            http.exchange.keep_alive = false;
        }
        self.send_chunk(ctx, parts.body, command.owned);
        if self.http().is_some_and(|http| http.sending == Sending::Chunked) {
            self.send(ctx, response::write_last_chunk);
        }
        self.http_done(ctx);
    }

    pub fn try_end(&mut self, ctx: &mut Context, command: Command<'_>) {
        let parts = ResponseParts::parse(command.payload);
        let Some(http) = self.http() else { return };
        if http.sending == Sending::Nothing {
            let total = command.arg64();
            let omit_body = http.exchange.head_request || is_bodiless(parts.status);
            http.sending = if omit_body { Sending::Omitted } else { Sending::Length(total) };
            self.write_head(ctx, &parts, command.flags, length_framing(parts.status, total));
        }
        self.send_chunk(ctx, parts.body, command.owned);
        if self.http().is_some_and(|http| matches!(http.sending, Sending::Length(0) | Sending::Omitted)) {
            if command.flags & respond_flag::CLOSE != 0
                && let Some(http) = self.http()
            {
                http.exchange.keep_alive = false;
            }
            self.http_done(ctx);
        }
    }

    pub fn pause(&mut self) {
        if let Some(http) = self.http() {
            http.paused = true;
        }
    }

    pub fn unpause(&mut self, ctx: &mut Context) {
        let Some(http) = self.http() else { return };
        http.body_wanted = true;
        if std::mem::replace(&mut http.paused, false) {
            http.window_bytes = 0;
            if let Phase::Body(_) = http.phase {
                self.restart_http_timeout(ctx);
            }
            self.resume(ctx);
        }
    }

    pub fn want_writable(&mut self, ctx: &mut Context) {
        let Some(http) = self.http() else { return };
        http.want_writable = true;
        // Answered by the flush at the end of the turn, when nothing is in the way.
        self.mark_dirty(ctx);
    }

    // ---- writing

    pub(in crate::event_loop) fn write_head(
        &mut self,
        ctx: &mut Context,
        parts: &ResponseParts<'_>,
        flags: u32,
        framing: BodyFraming,
    ) {
        let Some(http) = self.http() else { return };
        // A response that never becomes final: the client learns by the end of the connection that none will come.
        http.exchange.keep_alive &= !parts.status.starts_with(b"1") && flags & respond_flag::CLOSE == 0;
        let Exchange { keep_alive, http_1_0, close_known, .. } = http.exchange;
        let own_date = flags & respond_flag::OWN_DATE != 0;
        let own_connection = flags & respond_flag::OWN_CONNECTION != 0;
        let (headers, connection) = match own_connection {
            true => response::split_connection(parts.headers),
            false => (parts.headers, &b""[..]),
        };
        // The program's header must not say another thing of the connection than what becomes of it.
        let close = !keep_alive && (own_connection || !close_known);
        let keep_alive_10 = http_1_0 && keep_alive;
        self.send_dated(ctx, |out, now| {
            let head = Head {
                status: if parts.status.is_empty() { b"200 OK" } else { parts.status },
                headers,
                date: (!own_date).then_some(now),
                framing,
                connection,
                connection_close: close,
                keep_alive_10,
            };
            response::write_head(out, &head);
        });
    }

    /// Writes the head of a streamed response if that has not happened.
    pub(in crate::event_loop) fn begin_stream(
        &mut self,
        ctx: &mut Context,
        parts: &ResponseParts<'_>,
        flags: u32,
    ) {
        let Some(http) = self.http() else { return };
        if http.sending != Sending::Nothing {
            return;
        }
        let framing = if is_bodiless(parts.status) {
            http.sending = Sending::Omitted;
            BodyFraming::None
        } else if http.exchange.http_1_0 {
            http.exchange.keep_alive = false;
            http.sending = Sending::UntilClose;
            BodyFraming::None
        } else {
            http.sending = if http.exchange.head_request { Sending::Omitted } else { Sending::Chunked };
            BodyFraming::Chunked
        };
        self.write_head(ctx, parts, flags, framing);
    }

    pub(in crate::event_loop) fn send_chunk(
        &mut self,
        ctx: &mut Context,
        inline: &[u8],
        owned: Option<Vec<u8>>,
    ) {
        let len = owned.as_ref().map_or(inline.len(), Vec::len);
        let Some(http) = self.http() else { return };
        if http.exchange.head_request || http.sending == Sending::Omitted || len == 0 {
            return;
        }
        let chunked = http.sending == Sending::Chunked;
        if let Sending::Length(left) = &mut http.sending {
            *left = left.saturating_sub(len as u64);
        }
        if chunked {
            self.send(ctx, |out| response::write_chunk_prefix(out, len));
        }
        self.send_body(ctx, inline, owned);
        if chunked {
            self.send(ctx, |out| out.extend_from_slice(response::CHUNK_END));
        }
        self.keep_up(ctx);
    }

    pub(in crate::event_loop) fn send_body(
        &mut self,
        ctx: &mut Context,
        inline: &[u8],
        owned: Option<Vec<u8>>,
    ) {
        match owned {
            Some(bytes) => {
                self.out.push(&mut ctx.spare, bytes);
                self.mark_dirty(ctx);
            }
            None => self.send(ctx, |out| out.extend_from_slice(inline)),
        }
    }
}

/// RFC 9110 §8.6: a response that can have no content does not tell a length. 304 may tell that of the answer it stands for.
fn length_framing(status: &[u8], length: u64) -> BodyFraming {
    if is_bodiless(status) && !status.starts_with(b"304") {
        BodyFraming::None
    } else {
        BodyFraming::Length(length)
    }
}

/// RFC 9110 §6.4.1: 1xx, 204 and 304 never have content.
pub(in crate::event_loop) fn is_bodiless(status: &[u8]) -> bool {
    status.starts_with(b"1") || status.starts_with(b"204") || status.starts_with(b"304")
}
