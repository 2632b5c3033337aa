//! Events on their way to JavaScript.

use super::bounds::{EVENT_ARENA_BYTES, EVENT_BATCH_BYTES, EVENT_QUEUE_ITEMS};
use super::buffers::{Owned, clear_bounded};
use super::layout::{EventHeader, ExchangeId, JsEvent, MOST_ARENA, OF_DROPPED, OWNED, OWNED_EVENT};
use super::mailbox::Batch;
use crate::fault::{self, Fault};

#[derive(Default)]
pub struct EventBatch {
    pub headers: Vec<EventHeader>,
    pub arena: Vec<u8>,
    /// `None`: JavaScript has taken the payload.
    pub owned: Vec<Option<Owned>>,
    owned_bytes: usize,
}

impl EventBatch {
    /// Whether the batch is to be handed over before more is added.
    pub fn is_full(&self) -> bool {
        self.arena.len() >= EVENT_ARENA_BYTES
            || self.bytes() >= EVENT_BATCH_BYTES
            || self.items() >= EVENT_QUEUE_ITEMS
    }

    /// An event with its payload copied into the arena.
    pub fn push(&mut self, event: JsEvent, id: ExchangeId, payload: &[u8]) {
        self.push_with(event, id, |arena| arena.extend_from_slice(payload));
    }

    /// An event whose payload `write` appends to the arena, unless its offset there would have a mark in it.
    pub fn push_with(&mut self, event: JsEvent, id: ExchangeId, write: impl FnOnce(&mut Vec<u8>)) {
        let offset = self.arena.len();
        if offset >= MOST_ARENA {
            let mut payload = Vec::new();
            write(&mut payload);
            return self.push_owned(event, id, payload.into());
        }
        write(&mut self.arena);
        self.push_header(event, id, offset as u32, (self.arena.len() - offset) as u32);
    }

    /// An event whose payload `write` appends to the arena. If `write` fails, or answers that nobody wants
    /// the event, the arena stays as it was. A large payload gets memory of its own.
    pub fn try_push_with<E>(
        &mut self,
        event: JsEvent,
        id: ExchangeId,
        write: impl FnOnce(&mut Vec<u8>) -> Result<bool, E>,
    ) -> Result<(), E> {
        let offset = self.arena.len();
        let wanted = write(&mut self.arena);
        let len = self.arena.len() - offset;
        match wanted {
            Ok(true) if len < OWNED_EVENT && offset < MOST_ARENA => {
                self.push_header(event, id, offset as u32, len as u32)
            }
            Ok(true) => {
                let payload = self.arena.split_off(offset);
                self.push_owned(event, id, payload.into());
            }
            Ok(false) | Err(_) => self.arena.truncate(offset),
        }
        wanted.map(drop)
    }

    /// A `Dropped` event. Its payload is a range of the arena that it shares with other events.
    pub fn push_dropped(&mut self, id: ExchangeId, binary: bool, offset: usize, len: usize) {
        debug_assert!(offset < MOST_ARENA, "the queue's bound comes first");
        let offset = offset as u32 | OF_DROPPED;
        self.push_header(JsEvent::Dropped { binary }, id, offset, len as u32);
    }

    /// An event whose payload takes its memory along.
    pub fn push_owned(&mut self, event: JsEvent, id: ExchangeId, payload: Owned) {
        let (len, offset) = (payload.bytes().len(), self.owned.len() as u32 | OWNED);
        // The payload counts with all of the memory it holds.
        self.owned_bytes += payload.held();
        self.owned.push(Some(payload));
        self.push_header(event, id, offset, len as u32);
        if fault::is_on(Fault::ForeignBuffer)
            && let [.., before, last] = &mut self.owned[..]
        {
            std::mem::swap(before, last);
        }
    }

    fn push_header(&mut self, event: JsEvent, id: ExchangeId, offset: u32, len: u32) {
        let (kind, [a, b, c]) = (event.kind(), event.args());
        let ExchangeId { slot, generation } = id;
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
    }
}

#[cfg(test)]
mod tests {
    use super::super::layout::EventKind;
    use super::*;

    #[test]
    fn large_event_payloads_move_by_ownership() {
        let mut batch = EventBatch::default();
        batch.push(JsEvent::Message { binary: true }, ExchangeId::default(), b"abc");
        batch.push_owned(JsEvent::Message { binary: false }, ExchangeId::default(), vec![9; 10].into());
        assert_eq!(batch.headers[0].words(), [EventKind::Message as u32, 0, 0, 1, 0, 0, 0, 3]);
        assert_eq!(batch.headers[1].offset, OWNED);
        assert_eq!(batch.owned[0].as_ref().expect("payload").bytes(), [9; 10]);
        assert_eq!(batch.bytes(), 3 + 10 + 64);
    }

    #[test]
    fn no_offset_in_the_arena_is_taken_for_another_mark() {
        let (mut batch, id) = (EventBatch::default(), ExchangeId::default());
        let message = JsEvent::Message { binary: false };
        // Pages of zeroed memory cost nothing until they are used.
        batch.arena = vec![0; MOST_ARENA - 1];
        for _ in 0..2 {
            batch.push(message, id, b"abc");
            batch.push_with(message, id, |arena| arena.extend_from_slice(b"abc"));
            let written = batch.try_push_with(message, id, |arena| {
                arena.extend_from_slice(b"abc");
                Ok::<_, ()>(true)
            });
            assert_eq!(written, Ok(()));
        }
        let offsets: Vec<_> = batch.headers.iter().map(|header| header.offset).collect();
        assert_eq!(offsets[0], MOST_ARENA as u32 - 1);
        assert_eq!(offsets[1..], [0, 1, 2, 3, 4].map(|index| OWNED | index));
        assert!(batch.owned.iter().flatten().all(|owned| owned.bytes() == b"abc"));
        assert_eq!(batch.arena.len(), MOST_ARENA + 2);
    }

    #[test]
    fn a_payload_that_cannot_be_written_leaves_nothing_behind() {
        let (mut batch, id) = (EventBatch::default(), ExchangeId::default());
        let message = JsEvent::Message { binary: false };
        batch.push(message, id, b"before");
        let mut write = |len: usize, result| {
            batch.try_push_with(message, id, |arena| {
                arena.extend(std::iter::repeat_n(1, len));
                result
            })
        };
        assert_eq!(write(9, Err(())), Err(()));
        assert_eq!(write(9, Ok(false)), Ok(()));
        assert_eq!(write(3, Ok(true)), Ok(()));
        assert_eq!(write(OWNED_EVENT, Ok(true)), Ok(()));
        assert_eq!(batch.arena, b"before\x01\x01\x01");
        assert_eq!(batch.headers.iter().map(|header| header.len).collect::<Vec<_>>(), [6, 3, 32 << 10]);
        assert_eq!(batch.headers[2].offset, OWNED);
    }
}
