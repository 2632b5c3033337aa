//! The response commands of JavaScript, for whole and streamed responses, and the bytes they become.

use super::http::{Exchange, Http, Sending};
use super::io::Io;
use crate::channel::{Command, ResponseParts, respond_flag};
use crate::metrics::Metric;
use crate::protocol::http::response::{self, BodyFraming, Head, is_bodiless};
use crate::trace::{Shown, trace};

impl Http {
    pub(super) fn respond(&mut self, io: &mut Io<'_>, command: Command<'_>) {
        let parts = ResponseParts::parse(command.payload);
        let body_len = command.owned.as_ref().map_or(parts.body.len(), Vec::len);
        if command.flags & respond_flag::CLOSE != 0 {
            self.exchange.keep_alive = false;
        }
        let omit_body = self.exchange.head_request || is_bodiless(parts.status);
        let framing = if command.flags & respond_flag::REPORTED_LENGTH != 0 {
            length_framing(parts.status, command.arg64())
        } else if command.flags & respond_flag::NO_LENGTH != 0 || is_bodiless(parts.status) {
            BodyFraming::None
        } else {
            BodyFraming::Length(body_len as u64)
        };
        self.write_head(io, &parts, command.flags, framing);
        if !omit_body {
            io.send_payload(parts.body, command.owned);
        }
        self.done(io);
    }

    pub(super) fn write_chunk(&mut self, io: &mut Io<'_>, command: Command<'_>) {
        let parts = ResponseParts::parse(command.payload);
        self.begin_stream(io, &parts, command.flags);
        self.send_chunk(io, parts.body, command.owned);
    }

    pub(super) fn finish(&mut self, io: &mut Io<'_>, command: Command<'_>) {
        let parts = ResponseParts::parse(command.payload);
        let len = command.owned.as_ref().map_or(parts.body.len(), Vec::len) as u64;
        self.begin_stream(io, &parts, command.flags);
        // A body that is not what its Content-Length announced can only be ended by closing.
        let short = matches!(self.sending, Sending::Length(left) if left != len);
        if command.flags & respond_flag::CLOSE != 0 || short {
            self.exchange.keep_alive = false;
        }
        self.send_chunk(io, parts.body, command.owned);
        if self.sending == Sending::Chunked {
            io.send(response::write_last_chunk);
        }
        self.done(io);
    }

    pub(super) fn try_end(&mut self, io: &mut Io<'_>, command: Command<'_>) {
        let parts = ResponseParts::parse(command.payload);
        if self.sending == Sending::Nothing {
            let total = command.arg64();
            let omit_body = self.exchange.head_request || is_bodiless(parts.status);
            self.sending = if omit_body { Sending::Omitted } else { Sending::Length(total) };
            self.write_head(io, &parts, command.flags, length_framing(parts.status, total));
        }
        self.send_chunk(io, parts.body, command.owned);
        if matches!(self.sending, Sending::Length(0) | Sending::Omitted) {
            if command.flags & respond_flag::CLOSE != 0 {
                self.exchange.keep_alive = false;
            }
            self.done(io);
        }
    }

    // ---- writing

    pub(super) fn write_head(
        &mut self,
        io: &mut Io<'_>,
        parts: &ResponseParts<'_>,
        flags: u32,
        framing: BodyFraming,
    ) {
        self.close_behind_last(io);
        // After a 1xx status no final response follows, which the client learns by the end of the connection.
        self.exchange.keep_alive &= !parts.status.starts_with(b"1") && flags & respond_flag::CLOSE == 0;
        let Exchange { keep_alive, http_1_0, close_known, .. } = self.exchange;
        let own_date = flags & respond_flag::OWN_DATE != 0;
        let own_connection = flags & respond_flag::OWN_CONNECTION != 0;
        // The program's `Connection` header must not contradict what happens to the connection. A client that
        // has asked for the end knows it, and gets the header as it was written.
        let (headers, connection) = match own_connection && !close_known {
            true => response::split_connection(parts.headers),
            false => (parts.headers, &b""[..]),
        };
        let close = !keep_alive && !close_known;
        let keep_alive_10 = http_1_0 && keep_alive;
        io.count(Metric::responses(parts.status));
        let status = if parts.status.is_empty() { b"200 OK" } else { parts.status };
        trace!(HTTP, io.id(), "status {} {framing:?}", Shown(status));
        io.send_dated(|out, now| {
            let head = Head {
                status,
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

    /// Writes the head of a streamed response, if it is not written yet.
    fn begin_stream(&mut self, io: &mut Io<'_>, parts: &ResponseParts<'_>, flags: u32) {
        if self.sending != Sending::Nothing {
            return;
        }
        let framing = if is_bodiless(parts.status) {
            self.sending = Sending::Omitted;
            BodyFraming::None
        } else if self.exchange.http_1_0 {
            self.exchange.keep_alive = false;
            self.sending = Sending::UntilClose;
            BodyFraming::None
        } else {
            self.sending = if self.exchange.head_request { Sending::Omitted } else { Sending::Chunked };
            BodyFraming::Chunked
        };
        self.write_head(io, parts, flags, framing);
    }

    fn send_chunk(&mut self, io: &mut Io<'_>, inline: &[u8], owned: Option<Vec<u8>>) {
        let len = owned.as_ref().map_or(inline.len(), Vec::len);
        if self.exchange.head_request || self.sending == Sending::Omitted || len == 0 {
            return;
        }
        let chunked = self.sending == Sending::Chunked;
        if let Sending::Length(left) = &mut self.sending {
            *left = left.saturating_sub(len as u64);
        }
        if chunked {
            io.send(|out| response::write_chunk_prefix(out, len));
        }
        io.send_payload(inline, owned);
        if chunked {
            io.send(|out| out.extend_from_slice(response::CHUNK_END));
        }
        io.flush_if_large();
    }
}

/// RFC 9110 §8.6: a response that can have no content has no Content-Length, except that a 304 may have the
/// length of the 200 response in whose place it is sent.
fn length_framing(status: &[u8], length: u64) -> BodyFraming {
    if is_bodiless(status) && !status.starts_with(b"304") {
        BodyFraming::None
    } else {
        BodyFraming::Length(length)
    }
}
