//! What many connections have to send at the end of a turn, and what many have received at its beginning: one system call
//! each.

use super::socket::Stream;
use crate::channel::buffers::Buffer;
use crate::event_loop::connection::input::Input;
use crate::event_loop::connection::outbound::MAX_SLICES;
use crate::event_loop::connection::{Connection, Read};
use crate::event_loop::context::Context;
use crate::event_loop::net::uring::{MOST, Sends, Uring};
use crate::event_loop::{EventLoop, Meaning, connection_at, token_meaning};
use mio::event::Event;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::ops::Range;

/// Connections below which a system call for each is as fast. The tests of the loop go this way with one, too; those in
/// JavaScript go both.
const WORTH_IT: usize = if cfg!(test) { 1 } else { 4 };
/// Bytes to be sealed above which a connection writes alone: those of many would not stay in the processor's cache until
/// they are sent.
const SEALED_AT_ONCE: usize = 8 << 10;
/// Capacity the buffer of records keeps.
const KEPT_RECORDS: usize = 1 << 20;
/// What is read ahead from a connection: a message of 1 KiB with its headers, also sealed. An odd number of cache lines, so
/// that the chunks do not all fall into the same sets of the processor's cache.
pub const CHUNK: usize = 17 * 64;

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

/// A write that a connection would do now.
struct Offer {
    slot: u32,
    /// Where the records are; empty without TLS.
    records: Range<usize>,
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
    pub(in crate::event_loop) fn read_ahead<'a>(&mut self, events: impl Iterator<Item = &'a Event>) {
        let EventLoop { slots, ctx, together, .. } = self;
        let Together { uring, answers, ahead, sockets, chunks, .. } = together;
        debug_assert!(ahead.is_empty(), "every connection that was read from has had its turn");
        if matches!(uring, Ring::Unable) || !ctx.ready.is_empty() || ctx.overloaded() {
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
        if chunks.is_empty() {
            // Memory that nobody has touched yet costs nothing, which `resize` would not leave so.
            *chunks = vec![0; MOST * CHUNK];
        }
        uring.receive(sockets, chunks, CHUNK, answers);
        for (ahead, answer) in ahead.iter_mut().zip(answers.drain(..)) {
            ahead.answer = answer;
        }
    }

    /// Writes what connections have collected.
    pub(in crate::event_loop) fn flush(&mut self) {
        let mut dirty = std::mem::take(&mut self.ctx.dirty);
        self.ctx.piled_up = 0;
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

impl Connection {
    /// The socket, if its next bytes may be read before their turn: they are wanted, few, and no part of a record waits for
    /// them.
    fn read_ahead_from(&self) -> Option<i32> {
        let fit = self.brief
            && self.goes_on()
            && !self.queued
            && self.tls.as_ref().is_none_or(|tls| tls.rest().is_empty())
            && self.wants_bytes();
        self.stream.as_ref().filter(|_| fit).map(Stream::descriptor)
    }

    /// Understands what was read ahead; false: there is nothing more to do now.
    pub(in crate::event_loop) fn receive_ahead(
        &mut self,
        ctx: &mut Context,
        answer: io::Result<usize>,
        chunk: &mut [u8],
    ) -> bool {
        match self.take_read(ctx, answer, chunk.len()) {
            Read::Bytes(n) if self.tls.is_some() => self.receive_records(ctx, &mut chunk[..n]),
            Read::Bytes(n) => self.receive(ctx, Input::kept(&mut chunk[..n])),
            Read::Nothing => {}
            Read::End => return false,
        }
        !self.queued
    }

    /// The first write of `flush`, to be done together with those of other connections; what it has of TLS is appended to
    /// `records`. `None`: nothing is to be written, or it has been.
    fn offer(&mut self, ctx: &mut Context, records: &mut Buffer) -> Option<Offer> {
        // Who was marked twice has been seen to, and must not be offered twice.
        if !std::mem::take(&mut self.dirty) {
            return None;
        }
        let unsent = self.unsent();
        let alone = unsent == 0 || self.tls.is_some() && unsent > SEALED_AT_ONCE;
        if alone || self.blocked || self.stream.is_none() {
            self.flush(ctx);
            return None;
        }
        let start = records.len();
        if self.tls.is_some() && !self.offer_records(ctx, records) {
            return None;
        }
        Some(Offer { slot: self.id.slot, records: start..records.len() })
    }

    /// The file descriptor and bytes of an offer.
    fn offered<'a>(
        &'a self,
        offer: &Offer,
        records: &'a Buffer,
        slices: &mut [IoSlice<'a>; MAX_SLICES],
    ) -> Option<(i32, usize)> {
        let socket = self.stream.as_ref()?.descriptor();
        let used = match self.tls {
            None => self.out.slices(slices),
            Some(_) => {
                slices[0] = IoSlice::new(&records.filled()[offer.records.clone()]);
                1
            }
        };
        Some((socket, used))
    }

    /// What became of it; what the kernel has not taken follows.
    fn offer_answered(&mut self, ctx: &mut Context, answer: io::Result<usize>, records: &[u8]) {
        let Some(taken) = self.take_write(answer) else { return self.on_write_failed(ctx) };
        match &mut self.tls {
            None => self.out.consume(&mut ctx.spare, taken),
            Some(tls) => tls.keep(&records[taken..]),
        }
        if self.blocked || self.unsent() == 0 { self.after_flush(ctx) } else { self.flush(ctx) }
    }
}
