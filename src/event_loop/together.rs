//! The end of a turn: what many connections have to send leaves with one system call.

use super::connection::Offer;
use super::outbound::MAX_SLICES;
use super::tls::Buffer;
use super::{EventLoop, connection_at};
use crate::uring::{MOST_SENDS, Sends, Uring};
use std::io::{self, IoSlice};

/// Connections below which a system call for each is as fast. The tests of the loop go this way with one, too; those in
/// JavaScript go both.
const WORTH_IT: usize = if cfg!(test) { 1 } else { 4 };
/// Capacity the buffer of records keeps.
const KEPT_RECORDS: usize = 256 << 10;

/// What is needed for it, and used again.
#[derive(Default)]
pub struct Together {
    uring: Ring,
    offers: Vec<Offer>,
    /// Of all connections of one batch.
    records: Buffer,
    answers: Vec<io::Result<usize>>,
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
    /// Writes what connections have collected.
    pub(super) fn flush(&mut self) {
        let mut dirty = std::mem::take(&mut self.ctx.dirty);
        if dirty.len() >= WORTH_IT && self.together.uring.get().is_some() {
            for slots in dirty.chunks(MOST_SENDS) {
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
        let Together { uring, offers, records, answers } = together;
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
