//! One system call for what many connections have to send at the end of a turn, and one for what many have
//! received at its beginning, by io_uring. Knows sockets and slots, nothing of connections.

use super::uring::{BATCH, Sends, Uring};
use crate::channel::buffers::Buffer;
use std::collections::VecDeque;
use std::io;
use std::ops::Range;

/// Sockets below which a system call for each is as fast. The tests of the loop go this way with one, too;
/// those in JavaScript go both.
const WORTH_IT: usize = if cfg!(test) { 1 } else { 4 };

/// The memory this needs, and the ring; used again and again.
pub struct Batch {
    uring: Ring,
    answers: Vec<io::Result<usize>>,
    /// Reads that are done and still to be understood, in the order of the events.
    ahead: VecDeque<Ahead>,
    sockets: Vec<i32>,
    /// Bytes read ahead of one socket.
    chunk: usize,
    chunks: Vec<u8>,
}

struct Ahead {
    slot: usize,
    chunk: usize,
    answer: io::Result<usize>,
}

/// Made when it is worth it for the first time.
#[derive(Default)]
enum Ring {
    #[default]
    Untried,
    Unable,
    Able(Box<Uring>),
}

impl Ring {
    fn get(&mut self) -> Option<&mut Uring> {
        if let Ring::Untried = self {
            *self = Uring::new().map_or(Ring::Unable, |uring| Ring::Able(Box::new(uring)));
        }
        match self {
            Ring::Able(uring) => Some(uring),
            Ring::Untried | Ring::Unable => None,
        }
    }
}

impl Batch {
    /// `chunk`: bytes read ahead of one socket.
    pub fn new(chunk: usize) -> Self {
        Batch {
            uring: Ring::default(),
            answers: Vec::new(),
            ahead: VecDeque::new(),
            sockets: Vec::new(),
            chunk,
            chunks: Vec::new(),
        }
    }

    // ---- reading

    pub fn may_read_ahead(&self) -> bool {
        debug_assert!(self.ahead.is_empty(), "every connection that was read from has had its turn");
        !matches!(self.uring, Ring::Unable)
    }

    /// Reads once from each of these slots' sockets; `take_ahead` has it when their turn comes.
    pub fn read_ahead(&mut self, from: impl Iterator<Item = (usize, i32)>) {
        self.sockets.clear();
        for (slot, socket) in from {
            self.ahead.push_back(Ahead { slot, chunk: self.sockets.len(), answer: Ok(0) });
            self.sockets.push(socket);
        }
        let uring = if self.sockets.len() < WORTH_IT { None } else { self.uring.get() };
        let Some(uring) = uring else { return self.ahead.clear() };
        if self.chunks.is_empty() {
            // Memory that nobody has touched yet costs nothing, which `resize` would not leave so.
            self.chunks = vec![0; BATCH * self.chunk];
        }
        uring.receive(&self.sockets, &mut self.chunks, self.chunk, &mut self.answers);
        for (ahead, answer) in self.ahead.iter_mut().zip(self.answers.drain(..)) {
            ahead.answer = answer;
        }
    }

    /// The read that was done ahead for the connection whose turn it is now.
    pub fn take_ahead(&mut self, slot: usize) -> Option<(io::Result<usize>, &mut [u8])> {
        self.ahead.front().filter(|ahead| ahead.slot == slot)?;
        let Ahead { chunk, answer, .. } = self.ahead.pop_front()?;
        Some((answer, &mut self.chunks[chunk * self.chunk..][..self.chunk]))
    }

    // ---- writing

    /// Whether the writes of so many sockets are better done with one call.
    pub fn is_worth_it(&mut self, sockets: usize) -> bool {
        sockets >= WORTH_IT && self.uring.get().is_some()
    }

    /// Carries out all sends; an answer for each, in their order.
    pub fn send(&mut self, sends: &Sends<'_>) -> std::vec::Drain<'_, io::Result<usize>> {
        if let Some(uring) = self.uring.get() {
            uring.send(sends, &mut self.answers);
        }
        self.answers.drain(..)
    }
}

/// The writes of one batch.
#[derive(Default)]
pub struct Writes {
    pub offers: Vec<Offer>,
    /// Of all its TLS connections.
    pub records: Buffer,
}

/// A write that a connection would do now.
pub struct Offer {
    pub slot: u32,
    /// Where its records are; empty without TLS.
    pub records: Range<usize>,
}
