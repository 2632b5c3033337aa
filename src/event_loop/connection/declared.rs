//! Routes that are answered by a declared program (`DeclarativeResponse`) in the loop, without waking JavaScript.

use super::Connection;
use super::http::is_bodiless;
use crate::channel::{ResponseParts, respond_flag};
use crate::event_loop::context::Context;
use crate::protocol::http::error::HttpError;
use crate::protocol::http::request::{RequestHead, Span};
use crate::protocol::http::response::{self, BodyFraming};
use crate::routing::declarative::{Answer, Program, Request};
use smallvec::SmallVec;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

/// Largest request body a program can answer with. It has to be whole before the answer can begin, since clients may
/// read nothing before they have sent everything; a larger one is refused with 413.
pub const MAX_DECLARED_BODY: usize = 16 << 20;

/// Bytes of such bodies that all connections of a loop together may make it hold; who comes with more is told to come
/// again later.
const MAX_COLLECTED: usize = 256 << 20;

/// An answer that waits for the request's body.
pub struct Collecting {
    program: Arc<Program>,
    answer: Answer,
    body: Collected,
}

impl Collecting {
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), HttpError> {
        self.body.append(bytes)
    }
}

/// A part of a body, counted with those of all connections for as long as it is held.
struct Collected {
    bytes: Vec<u8>,
    all: Rc<Cell<usize>>,
}

impl Collected {
    fn append(&mut self, bytes: &[u8]) -> Result<(), HttpError> {
        if self.bytes.len() + bytes.len() > MAX_DECLARED_BODY {
            return Err(HttpError::ContentTooLarge);
        }
        if self.all.get() + bytes.len() > MAX_COLLECTED {
            return Err(HttpError::Unavailable);
        }
        self.all.set(self.all.get() + bytes.len());
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

impl Drop for Collected {
    fn drop(&mut self) {
        self.all.set(self.all.get() - self.bytes.len());
    }
}

impl Connection {
    /// Answers the request whose matches are in `ctx.matches`, now or when its body is there.
    pub(super) fn http_declared(
        &mut self,
        ctx: &mut Context,
        head: &RequestHead,
        bytes: &[u8],
        program: Arc<Program>,
    ) {
        let parameters = first_parameters(&ctx.matches);
        let answer = program.evaluate(&Request { head, bytes, parameters: &parameters });
        let Some(http) = self.http() else { return };
        let announced = http.body_announced();
        if announced.is_none() || !program.wants_body() {
            if announced.is_some() && head.expect_continue {
                // A client that was not asked for its body may send it or not: what follows cannot be told.
                http.exchange.keep_alive = false;
            }
            return self.send_declared(ctx, &program, answer.with_body(b""));
        }
        // The answer is what the client waits for: until it is there, whatever is wrong is told.
        let body = Collected { bytes: Vec::new(), all: ctx.collected.clone() };
        http.collect(Collecting { program, answer, body });
        if announced.flatten().is_some_and(|length| length > MAX_DECLARED_BODY as u64) {
            return self.http_refuse(ctx, HttpError::ContentTooLarge);
        }
        if head.expect_continue {
            self.send(ctx, |out| out.extend_from_slice(response::CONTINUE));
        }
        self.restart_http_timeout(ctx);
    }

    /// The body an answer waited for is whole.
    pub(super) fn http_collected(&mut self, ctx: &mut Context, collecting: Collecting) {
        let Collecting { program, answer, body } = collecting;
        self.send_declared(ctx, &program, answer.with_body(&body.bytes));
    }

    fn send_declared(&mut self, ctx: &mut Context, program: &Program, body: Vec<u8>) {
        let Some(http) = self.http() else { return };
        http.exchange.keep_alive &= !program.close;
        let bodiless = is_bodiless(&program.status);
        let omit_body = http.exchange.head_request || bodiless;
        let framing = if bodiless { BodyFraming::None } else { BodyFraming::Length(body.len() as u64) };
        let parts = ResponseParts { status: &program.status, headers: &program.headers, body: b"" };
        let flag = |set: bool, flag: u32| if set { flag } else { 0 };
        let flags = flag(program.own_date, respond_flag::OWN_DATE)
            | flag(program.own_connection, respond_flag::OWN_CONNECTION);
        self.write_head(ctx, &parts, flags, framing);
        if !omit_body {
            self.send_body(ctx, b"", Some(body));
        }
        self.http_done(ctx);
    }
}

/// The parameters of the first match; see `match_routes`.
fn first_parameters(matches: &[u32]) -> SmallVec<[Span; 4]> {
    let count = matches.get(1).map_or(0, |count| *count as usize);
    let spans = matches.get(2..).unwrap_or_default().chunks_exact(2).take(count);
    spans.map(|span| Span { start: span[0], end: span[1] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_bounded_each_and_all_together_and_counted_while_they_are_held() {
        let all = Rc::new(Cell::new(0));
        let body = || Collected { bytes: Vec::new(), all: all.clone() };
        let part = vec![0; MAX_DECLARED_BODY];
        let mut bodies: Vec<_> = (0..MAX_COLLECTED / MAX_DECLARED_BODY).map(|_| body()).collect();
        for body in &mut bodies {
            assert_eq!(body.append(&part), Ok(()));
            assert_eq!(body.append(b"x"), Err(HttpError::ContentTooLarge));
        }
        let mut last = body();
        assert_eq!(last.append(b"x"), Err(HttpError::Unavailable));
        bodies.pop();
        assert_eq!(last.append(b"x"), Ok(()));
        drop((bodies, last));
        assert_eq!(all.get(), 0);
    }
}
