//! Routes that are answered in the loop, without waking JavaScript: by a declared program
//! (`DeclarativeResponse`), or with figures (`metrics`).

use super::collect::Collecting;
use super::http::{Http, Phase};
use super::io::Io;
use crate::channel::{MAX_DECLARED_BODY, ResponseParts, respond_flag};
use crate::event_loop::registry;
use crate::metrics::{Format, Reading, Scope, render};
use crate::protocol::http::error::HttpError;
use crate::protocol::http::request::{RequestHead, Span};
use crate::protocol::http::response::{self, BodyFraming, is_bodiless};
use crate::routing::declarative::{Program, Request};
use smallvec::SmallVec;
use std::sync::Arc;

impl Http {
    /// Answers the request whose matches are in `ctx.matches`, now or when its body is there.
    pub(super) fn answer_declared(
        &mut self,
        io: &mut Io<'_>,
        head: &RequestHead,
        bytes: &[u8],
        program: Arc<Program>,
    ) {
        let parameters = first_parameters(&io.ctx.matches);
        let answer = program.evaluate(&Request { head, bytes, parameters: &parameters });
        let announced = self.body_announced();
        if announced.is_none() || !program.wants_body() {
            self.leave_body(head);
            return self.send_declared(io, &program, answer.with_body(b""));
        }
        // The client waits for an answer: until that is there, `refuse` answers every fault.
        self.collect(Collecting::new(program, answer, io.ctx.collected.clone()));
        if announced.flatten().is_some_and(|length| length > MAX_DECLARED_BODY as u64) {
            return self.refuse(io, HttpError::ContentTooLarge);
        }
        self.restart_window(io);
        if head.expect_continue {
            self.ask_for_body(io);
        }
    }

    /// The answer does not need the request's body, if there is one.
    pub(super) fn leave_body(&mut self, head: &RequestHead) {
        if self.body_announced().is_some() && head.expect_continue {
            // A client that was not asked for its body may send it or not, so the loop cannot tell where the
            // next request begins. There is nothing but the answer to come, and no time for the body passes.
            self.exchange.keep_alive = false;
            self.phase = Phase::Responding;
        }
    }

    /// Answers with the figures of this turn, in the format that the client accepts.
    pub(super) fn answer_metrics(&mut self, io: &mut Io<'_>, head: &RequestHead, bytes: &[u8], scope: Scope) {
        self.leave_body(head);
        let format = Format::accepted(head.header(bytes, b"accept").unwrap_or_default());
        let mut headers = Vec::new();
        response::write_header(&mut headers, b"Content-Type", format.content_type().as_bytes());
        response::write_header(&mut headers, b"Cache-Control", b"no-store");
        response::write_header(&mut headers, b"Vary", b"Accept");
        let mut figures = std::mem::take(&mut io.ctx.figures);
        let text = figures.of(io.app, scope, format, || render(format, scope, &reading(io, scope)));
        self.send_declared(io, &Program::of_headers(headers), text.as_bytes().to_vec());
        io.ctx.figures = figures;
    }

    /// Sends the answer that waited for the body, which is complete.
    pub(super) fn answer_collected(&mut self, io: &mut Io<'_>, collecting: Collecting) {
        let (program, body) = collecting.finish();
        self.send_declared(io, &program, body);
    }

    fn send_declared(&mut self, io: &mut Io<'_>, program: &Program, body: Vec<u8>) {
        self.exchange.keep_alive &= !program.close;
        let bodiless = is_bodiless(&program.status);
        let omit_body = self.exchange.head_request || bodiless;
        let framing = if bodiless { BodyFraming::None } else { BodyFraming::Length(body.len() as u64) };
        let parts = ResponseParts { status: &program.status, headers: &program.headers, body: b"" };
        let flag = |set: bool, flag: u32| if set { flag } else { 0 };
        let flags = flag(program.own_date, respond_flag::OWN_DATE)
            | flag(program.own_connection, respond_flag::OWN_CONNECTION);
        self.write_head(io, &parts, flags, framing);
        if !omit_body {
            io.send_payload(b"", Some(body));
        }
        self.done(io);
    }
}

fn reading(io: &Io<'_>, scope: Scope) -> Reading {
    match scope {
        Scope::Process => registry::reading(),
        Scope::App => {
            let mut reading = Reading::default();
            if let Some(app) = io.ctx.apps.get(io.app as usize) {
                app.counts.read(&mut reading);
            }
            reading
        }
    }
}

/// The parameters of the first match; see `match_routes`.
fn first_parameters(matches: &[u32]) -> SmallVec<[Span; 4]> {
    let count = matches.get(1).map_or(0, |count| *count as usize);
    let spans = matches.get(2..).unwrap_or_default().chunks_exact(2).take(count);
    spans.map(|span| Span { start: span[0], end: span[1] }).collect()
}
