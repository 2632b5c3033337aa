//! Batches of reads at the beginning of a turn and of writes at its end: io_uring does all of a batch with
//! one system call. The batch knows sockets and slots, but no connections.

#[cfg(any(test, feature = "simulation"))]
use super::simulated;
use super::uring::{BATCH, Sends, Uring};
use crate::channel::buffers::Buffer;
use std::collections::VecDeque;
use std::io;
use std::ops::Range;

/// From so many sockets on a batch is faster than a system call for each. The tests of the loop use batches
/// for one socket as well; those in JavaScript use both ways.
const WORTH_IT: usize = if cfg!(test) { 1 } else { 4 };

type Answers = Vec<io::Result<usize>>;

/// The ring and the memory for batches, both of which are used again.
pub struct Batch {
    uring: Ring,
    answers: Answers,
    /// Reads that are done and whose bytes are not processed yet, in the order of the events.
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

/// The ring, which is made when a batch is worth it for the first time.
#[derive(Default)]
enum Ring {
    #[default]
    Untried,
    Unable,
    Able(Box<Uring>),
    /// That of the simulated kernel.
    #[cfg(any(test, feature = "simulation"))]
    Simulated(simulated::Ring),
}

impl Ring {
    fn is_able(&mut self) -> bool {
        if let Ring::Untried = self {
            *self = Ring::new();
        }
        !matches!(self, Ring::Unable)
    }

    fn new() -> Self {
        #[cfg(any(test, feature = "simulation"))]
        if let Some(able) = simulated::has_batches() {
            return if able { Ring::Simulated(simulated::Ring) } else { Ring::Unable };
        }
        Uring::new().map_or(Ring::Unable, |uring| Ring::Able(Box::new(uring)))
    }

    /// Receives from each socket into the chunk of the memory with the same index.
    fn receive(&mut self, sockets: &[i32], memory: &mut [u8], chunk: usize, answers: &mut Answers) {
        match self {
            Ring::Able(uring) => uring.receive(sockets, memory, chunk, answers),
            #[cfg(any(test, feature = "simulation"))]
            Ring::Simulated(ring) => ring.receive(sockets, memory, chunk, answers),
            Ring::Untried | Ring::Unable => {}
        }
    }

    fn send(&mut self, sends: &Sends<'_>, answers: &mut Answers) {
        match self {
            Ring::Able(uring) => uring.send(sends, answers),
            #[cfg(any(test, feature = "simulation"))]
            Ring::Simulated(ring) => ring.send(sends, answers),
            Ring::Untried | Ring::Unable => {}
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

    /// Reads once from the sockets of these slots; `take_ahead` returns each answer when the slot has its
    /// turn.
    pub fn read_ahead(&mut self, from: impl Iterator<Item = (usize, i32)>) {
        self.sockets.clear();
        for (slot, socket) in from {
            self.ahead.push_back(Ahead { slot, chunk: self.sockets.len(), answer: Ok(0) });
            self.sockets.push(socket);
        }
        if self.sockets.len() < WORTH_IT || !self.uring.is_able() {
            return self.ahead.clear();
        }
        if self.chunks.is_empty() {
            // Pages of zeroed memory cost nothing until they are used; `resize` would write all of them.
            self.chunks = vec![0; BATCH * self.chunk];
        }
        self.uring.receive(&self.sockets, &mut self.chunks, self.chunk, &mut self.answers);
        for (ahead, answer) in self.ahead.iter_mut().zip(self.answers.drain(..)) {
            ahead.answer = answer;
        }
    }

    /// The answer of the read ahead for this slot, whose connection has its turn now.
    pub fn take_ahead(&mut self, slot: usize) -> Option<(io::Result<usize>, &mut [u8])> {
        self.ahead.front().filter(|ahead| ahead.slot == slot)?;
        let Ahead { chunk, answer, .. } = self.ahead.pop_front()?;
        Some((answer, &mut self.chunks[chunk * self.chunk..][..self.chunk]))
    }

    // ---- writing

    /// Whether a batch is faster for the writes of so many sockets.
    pub fn is_worth_it(&mut self, sockets: usize) -> bool {
        sockets >= WORTH_IT && self.uring.is_able()
    }

    /// Executes all sends; returns an answer for each, in their order.
    pub fn send(&mut self, sends: &Sends<'_>) -> std::vec::Drain<'_, io::Result<usize>> {
        self.uring.send(sends, &mut self.answers);
        self.answers.drain(..)
    }
}

/// The writes of one batch.
#[derive(Default)]
pub struct Writes {
    pub offers: Vec<Offer>,
    /// The records of all TLS connections in the batch.
    pub records: Buffer,
}

/// The write of one connection in a batch.
pub struct Offer {
    pub slot: u32,
    /// The place of its records; empty without TLS.
    pub records: Range<usize>,
}
