//! Bodies that declared answers wait for. Each is bounded, and so is the sum of all.

use crate::channel::MAX_DECLARED_BODY;
use crate::protocol::http::error::HttpError;
use crate::routing::declarative::{Answer, Program};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

/// Bytes of such bodies that a loop holds for all its connections. Beyond it a request is answered with 503.
const MAX_COLLECTED: usize = 256 << 20;

/// An answer that waits for the request's body.
pub struct Collecting {
    program: Arc<Program>,
    answer: Answer,
    body: Collected,
}

impl Collecting {
    /// `all`: the bytes that all connections of the loop hold.
    pub fn new(program: Arc<Program>, answer: Answer, all: Rc<Cell<usize>>) -> Self {
        Collecting { program, answer, body: Collected { bytes: Vec::new(), all } }
    }

    /// Called when the request's body is complete; returns the body of the answer.
    pub fn finish(self) -> (Arc<Program>, Vec<u8>) {
        let body = self.answer.with_body(&self.body.bytes);
        (self.program, body)
    }

    /// The bytes of the body that have arrived.
    pub fn held(&self) -> usize {
        self.body.bytes.len()
    }

    pub fn append(&mut self, bytes: &[u8]) -> Result<(), HttpError> {
        self.body.append(bytes)
    }
}

/// The part of a body that has arrived. It counts with those of all connections as long as it is held.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_bounded_each_and_in_sum_and_counted_while_they_are_held() {
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
