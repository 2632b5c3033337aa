//! The reads and writes of many connections at once, at the beginning and the end of a turn.

use super::connection::outbound::MAX_SLICES;
use super::net::batch::{Offer, Writes};
use super::net::event::Event;
use super::net::uring::{BATCH, Sends};
use super::turn::*;
use std::io::IoSlice;

/// A connection with more plain bytes to encrypt than this writes alone: the records of many such connections
/// would not stay in the processor's cache until they are sent.
const SEALED_AT_ONCE: usize = 8 << 10;
/// Capacity the buffer of records keeps.
const KEPT_RECORDS: usize = 1 << 20;

impl EventLoop {
    /// Reads ahead from those of the next connections whose reads are likely to be short.
    pub(super) fn read_ahead(&mut self, events: impl Iterator<Item = Event>) {
        let EventLoop { slots, ctx, batch, .. } = self;
        if !batch.may_read_ahead() || !ctx.ready.is_empty() || ctx.overloaded() {
            return;
        }
        let calm = events.filter(|event| event.readable && !event.read_closed && !event.error);
        batch.read_ahead(calm.filter_map(|event| {
            let Meaning::Connection(id) = token_meaning(event.token) else { return None };
            let connection = connection_with(slots, id)?;
            Some((id.index(), connection.read_ahead_from()?))
        }));
    }

    /// Writes what connections have collected.
    pub(super) fn flush(&mut self) {
        let mut dirty = std::mem::take(&mut self.ctx.dirty);
        self.ctx.piled_up = 0;
        if self.batch.is_worth_it(dirty.len()) {
            for slots in dirty.chunks(BATCH) {
                self.flush_batch(slots);
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
        // Connections that were marked meanwhile (over their write budget) are written in the next turn.
        if self.ctx.dirty.is_empty() {
            self.ctx.dirty = dirty;
        }
    }

    fn flush_batch(&mut self, dirty: &[u32]) {
        let EventLoop { slots, ctx, batch, writes, .. } = self;
        let Writes { offers, records } = writes;
        for &slot in dirty {
            let start = records.len();
            if let Some(connection) = connection_at(slots, slot as usize)
                && connection.offer(ctx, records, SEALED_AT_ONCE)
            {
                offers.push(Offer { slot, records: start..records.len() });
            }
        }
        let mut sends = Sends::with_capacity(offers.len());
        offers.retain(|offer| {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let connection = slots.get(offer.slot as usize).and_then(|slot| slot.connection.as_deref());
            let records = &records.filled()[offer.records.clone()];
            let offered = connection.and_then(|each| each.transport().offered(records, &mut slices));
            if let Some((socket, used)) = offered {
                sends.push(socket, &slices[..used]);
            }
            offered.is_some()
        });
        let answers = batch.send(&sends);
        for (offer, answer) in offers.drain(..).zip(answers) {
            if let Some(connection) = connection_at(slots, offer.slot as usize) {
                connection.on_offered(ctx, answer, &records.filled()[offer.records]);
            }
        }
        let kept = std::mem::take(records);
        *records = kept.recycle(KEPT_RECORDS);
    }
}
