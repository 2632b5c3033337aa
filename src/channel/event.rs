//! Events on their way to JavaScript.

use super::bounds::{EVENT_ARENA_BYTES, EVENT_BATCH_BYTES, EVENT_QUEUE_ITEMS};
use super::buffers::clear_bounded;
use super::layout::{ConnId, EventHeader, EventKind, MOST_ARENA, OF_DROPPED, OWNED};
use super::mailbox::Batch;
use std::ops::Range;

#[derive(Default)]
pub struct EventBatch {
    pub headers: Vec<EventHeader>,
    pub arena: Vec<u8>,
    pub owned: Vec<Owned>,
    owned_bytes: usize,
    /// The one of `owned` that waits for the buffer it is a part of. Others may have been pushed behind it.
    claimed: Option<usize>,
}

/// A payload with a buffer of its own, of which it is a part.
#[derive(Debug, Default)]
pub struct Owned {
    pub buffer: Vec<u8>,
    pub range: Range<usize>,
}

impl Owned {
    pub fn bytes(&self) -> &[u8] {
        self.buffer.get(self.range.clone()).unwrap_or_default()
    }
}

impl EventBatch {
    /// Whether it is to be handed over before more is added.
    pub fn is_full(&self) -> bool {
        self.arena.len() >= EVENT_ARENA_BYTES
            || self.bytes() >= EVENT_BATCH_BYTES
            || self.items() >= EVENT_QUEUE_ITEMS
    }

    /// An event with its payload copied into the arena.
    pub fn push(&mut self, kind: EventKind, id: ConnId, [a, b, c]: [u32; 3], payload: &[u8]) {
        if self.arena.len() >= MOST_ARENA {
            return self.push_owned(kind, id, [a, b, c], payload.to_vec());
        }
        let offset = self.arena.len() as u32;
        self.arena.extend_from_slice(payload);
        self.push_header(kind, id, [a, b, c], offset, payload.len() as u32);
    }

    /// An event whose payload the caller has just appended to the arena, from `offset` on.
    pub fn push_from(&mut self, kind: EventKind, id: ConnId, args: [u32; 3], offset: usize) {
        let len = (self.arena.len() - offset) as u32;
        self.push_header(kind, id, args, offset as u32, len);
    }

    /// A `Dropped` event, whose payload is a range of the arena that other events have, too.
    pub fn push_dropped(&mut self, id: ConnId, binary: bool, offset: usize, len: usize) {
        debug_assert!(offset < MOST_ARENA, "the queue's bound comes first");
        let offset = offset as u32 | OF_DROPPED;
        self.push_header(EventKind::Dropped, id, [u32::from(binary), 0, 0], offset, len as u32);
    }

    /// An event whose payload moves by ownership.
    pub fn push_owned(&mut self, kind: EventKind, id: ConnId, args: [u32; 3], payload: Vec<u8>) {
        let range = 0..payload.len();
        self.push_part(kind, id, args, payload, range);
    }

    /// An event whose payload is in the read buffer, at `range`. The caller gives the buffer away with
    /// [`give_claimed`](Self::give_claimed) before it reads again or hands the batch over.
    pub fn push_claim(&mut self, kind: EventKind, id: ConnId, args: [u32; 3], range: Range<usize>) {
        debug_assert!(self.claimed.is_none(), "a read buffer can be given away once");
        self.claimed = Some(self.owned.len());
        self.push_part(kind, id, args, Vec::new(), range);
    }

    /// Whether an event waits for the read buffer.
    pub fn is_claimed(&self) -> bool {
        self.claimed.is_some()
    }

    pub fn give_claimed(&mut self, buffer: Vec<u8>) {
        if let Some(owned) = self.claimed.take().and_then(|index| self.owned.get_mut(index)) {
            // All of the buffer is held for it.
            self.owned_bytes += buffer.capacity() - owned.range.len();
            owned.buffer = buffer;
        }
    }

    fn push_part(
        &mut self,
        kind: EventKind,
        id: ConnId,
        args: [u32; 3],
        buffer: Vec<u8>,
        range: Range<usize>,
    ) {
        let (len, offset) = (range.len(), self.owned.len() as u32 | OWNED);
        self.owned_bytes += len;
        self.owned.push(Owned { buffer, range });
        self.push_header(kind, id, args, offset, len as u32);
    }

    fn push_header(&mut self, kind: EventKind, id: ConnId, [a, b, c]: [u32; 3], offset: u32, len: u32) {
        let ConnId { slot, generation } = id;
        self.headers.push(EventHeader { kind: kind as u32, slot, generation, a, b, c, offset, len });
    }
}

impl Batch for EventBatch {
    fn is_empty(&self) -> bool {
        self.headers.is_empty()
    }
    fn bytes(&self) -> usize {
        self.arena.len() + self.owned_bytes + self.headers.len() * size_of::<EventHeader>()
    }
    fn items(&self) -> usize {
        self.headers.len()
    }
    fn recycle(&mut self) {
        clear_bounded(&mut self.arena);
        self.headers.clear();
        self.owned.clear();
        self.owned_bytes = 0;
        self.claimed = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_event_payloads_move_by_ownership() {
        let mut batch = EventBatch::default();
        batch.push(EventKind::Message, ConnId::default(), [1, 0, 0], b"abc");
        batch.push_owned(EventKind::Message, ConnId::default(), [0; 3], vec![9; 10]);
        assert_eq!(batch.headers[0].words(), [EventKind::Message as u32, 0, 0, 1, 0, 0, 0, 3]);
        assert_eq!(batch.headers[1].offset, OWNED);
        assert_eq!(batch.owned[0].bytes(), [9; 10]);
        assert_eq!(batch.bytes(), 3 + 10 + 64);
    }

    #[test]
    fn an_event_can_claim_the_buffer_its_payload_was_read_into() {
        let mut batch = EventBatch::default();
        batch.push_claim(EventKind::Data, ConnId::default(), [0; 3], 2..5);
        assert!(batch.is_claimed());
        batch.give_claimed(b"abcdefgh".to_vec());
        assert!(!batch.is_claimed());
        assert_eq!(batch.owned[0].bytes(), b"cde");
        assert_eq!(batch.headers[0].len, 3);
        assert_eq!(batch.bytes(), 8 + 32, "the whole buffer counts");
    }

    #[test]
    fn the_read_buffer_goes_to_the_event_that_claimed_it_whatever_was_pushed_since() {
        let mut batch = EventBatch::default();
        batch.push_claim(EventKind::Message, ConnId::default(), [0; 3], 2..5);
        batch.push_owned(EventKind::Message, ConnId::default(), [0; 3], b"other".to_vec());
        batch.push(EventKind::Message, ConnId::default(), [0; 3], b"small");
        batch.give_claimed(b"abcdefgh".to_vec());
        assert_eq!(batch.owned[0].bytes(), b"cde");
        assert_eq!(batch.owned[1].bytes(), b"other");
    }
}
