//! What many connections have to send at the end of a turn, and what many have received at its beginning: one system call
//! each.

use super::connection::Offer;
use super::outbound::MAX_SLICES;
use super::tls::Buffer;
use super::{EventLoop, Meaning, connection_at, token_meaning};
use crate::uring::{MOST, Sends, Uring};
use mio::event::Event;
use std::collections::VecDeque;
use std::io::{self, IoSlice};

/// Connections below which a system call for each is as fast. The tests of the loop go this way with one, too; those in
/// JavaScript go both.
const WORTH_IT: usize = if cfg!(test) { 1 } else { 4 };
/// Capacity the buffer of records keeps.
const KEPT_RECORDS: usize = 256 << 10;
/// What is read ahead from a connection: a message of 1 KiB with its headers, also sealed. An odd number of cache lines, so
/// that the chunks do not all fall into the same sets of the processor's cache.
pub(super) const CHUNK: usize = 17 * 64;

/// What is needed for it, and used again.
#[derive(Default)]
pub struct Together {
    uring: Ring,
    offers: Vec<Offer>,
    /// Of all connections of one batch.
    records: Buffer,
    answers: Vec<io::Result<usize>>,
    /// What was read ahead and is still to be understood, in the order of the events.
    ahead: VecDeque<Ahead>,
    sockets: Vec<i32>,
    chunks: Vec<u8>,
}

struct Ahead {
    slot: usize,
    chunk: usize,
    answer: io::Result<usize>,
}

impl Together {
    /// What was read ahead for the connection whose turn it is now.
    pub fn take_ahead(&mut self, slot: usize) -> Option<(io::Result<usize>, &mut [u8])> {
        self.ahead.front().filter(|ahead| ahead.slot == slot)?;
        let Ahead { chunk, answer, .. } = self.ahead.pop_front()?;
        Some((answer, &mut self.chunks[chunk * CHUNK..][..CHUNK]))
    }
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

impl EventLoop {
    /// Reads from those of the next connections that never have much to say; `take_ahead` has it when their turn comes.
    pub(super) fn read_ahead<'a>(&mut self, events: impl Iterator<Item = &'a Event>) {
        let EventLoop { slots, ctx, together, .. } = self;
        let Together { uring, answers, ahead, sockets, chunks, .. } = together;
        debug_assert!(ahead.is_empty(), "every connection that was read from has had its turn");
        if !ctx.ready.is_empty() || ctx.overloaded() {
            return;
        }
        sockets.clear();
        for event in
            events.filter(|event| event.is_readable() && !event.is_read_closed() && !event.is_error())
        {
            if let Meaning::Connection(slot) = token_meaning(event.token())
                && let Some(socket) =
                    connection_at(slots, slot).and_then(|connection| connection.read_ahead_from())
            {
                ahead.push_back(Ahead { slot, chunk: sockets.len(), answer: Ok(0) });
                sockets.push(socket);
            }
        }
        let uring = if sockets.len() < WORTH_IT { None } else { uring.get() };
        let Some(uring) = uring else { return ahead.clear() };
        chunks.resize(MOST * CHUNK, 0);
        uring.receive(sockets, chunks, CHUNK, answers);
        for (ahead, answer) in ahead.iter_mut().zip(answers.drain(..)) {
            ahead.answer = answer;
        }
    }

    /// Writes what connections have collected.
    pub(super) fn flush(&mut self) {
        let mut dirty = std::mem::take(&mut self.ctx.dirty);
        if dirty.len() >= WORTH_IT && self.together.uring.get().is_some() {
            for slots in dirty.chunks(MOST) {
                self.flush_together(slots);
            }
        } else {
            for &slot in &dirty {
                let EventLoop { slots, ctx, .. } = self;
                if let Some(connection) = connection_at(slots, slot as usize) {
                    connection.flush(ctx);
                }
            }
        }
        dirty.clear();
        // Connections marked meanwhile (over their write budget) are for the next turn.
        if self.ctx.dirty.is_empty() {
            self.ctx.dirty = dirty;
        }
    }

    fn flush_together(&mut self, dirty: &[u32]) {
        let EventLoop { slots, ctx, together, .. } = self;
        let Together { uring, offers, records, answers, .. } = together;
        let Some(uring) = uring.get() else { return };
        for &slot in dirty {
            let connection = connection_at(slots, slot as usize);
            offers.extend(connection.and_then(|connection| connection.offer(ctx, records)));
        }
        let mut sends = Sends::with_capacity(offers.len());
        offers.retain(|offer| {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let connection = slots.get(offer.slot as usize).and_then(|slot| slot.connection.as_deref());
            let offered = connection.and_then(|connection| connection.offered(offer, records, &mut slices));
            if let Some((socket, used)) = offered {
                sends.push(socket, &slices[..used]);
            }
            offered.is_some()
        });
        uring.send(&sends, answers);
        drop(sends);
        for (offer, answer) in offers.drain(..).zip(answers.drain(..)) {
            if let Some(connection) = connection_at(slots, offer.slot as usize) {
                connection.offer_answered(ctx, answer, &records.filled()[offer.records]);
            }
        }
        let kept = std::mem::take(records);
        *records = kept.recycle(KEPT_RECORDS);
    }
}
