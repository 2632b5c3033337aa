//! Commands on their way to the loop.

use super::buffers::{Blocks, clear_bounded};
use super::layout::{ExchangeId, Op};
use super::mailbox::Batch;
use std::any::Any;

const COMMAND_HEADER: usize = 28;

/// Commands as records in one arena: op, flags, slot, generation, arg, extra, inline length, each a
/// little-endian word (op and flags share the first), then the inline payload.
#[derive(Default)]
pub struct CommandBatch {
    bytes: Vec<u8>,
    owned: Vec<Vec<u8>>,
    owned_bytes: usize,
    boxed: Vec<Option<Boxed>>,
}

/// A rare command, whose type only the event loop knows. It travels in the batch so that it keeps its place
/// among the other commands.
pub type Boxed = Box<dyn Any + Send>;

/// The records of a batch, one after the other.
pub struct Records<'a> {
    bytes: &'a [u8],
    owned: &'a mut [Vec<u8>],
    boxed: &'a mut [Option<Boxed>],
    /// The position of the next record.
    at: usize,
}

/// One command as the loop sees it.
pub struct Command<'a> {
    pub op: Op,
    pub flags: u32,
    pub id: ExchangeId,
    pub arg: u32,
    pub extra: u32,
    pub payload: &'a [u8],
    /// A large payload that follows the inline one.
    pub owned: Option<Vec<u8>>,
    /// The rare command of an [`Op::Control`].
    pub boxed: Option<Boxed>,
}

impl Command<'_> {
    /// The [`command_cost`] that JavaScript has counted as sent for it; 0 for commands that carry nothing for
    /// the peer.
    pub fn cost(&self) -> usize {
        let inline = match self.op {
            Op::Respond | Op::Write | Op::TryEnd | Op::Finish | Op::Upgrade => {
                ResponseParts::parse(self.payload).body.len()
            }
            Op::Send => self.payload.len(),
            _ => return 0,
        };
        command_cost(self.owned.as_ref().map_or(inline, Vec::len))
    }

    pub fn arg64(&self) -> u64 {
        u64::from(self.arg) | u64::from(self.extra) << 32
    }
}

impl CommandBatch {
    /// Starts a record and returns the position to give to [`finish`](Self::finish) once the payload is
    /// appended.
    pub fn begin(&mut self, op: Op, flags: u32, id: ExchangeId, arg: u32, extra: u32) -> usize {
        let start = self.bytes.len();
        let words = [op as u32 | flags << 8, id.slot, id.generation, arg, extra, 0, 0];
        let mut header = [0; COMMAND_HEADER];
        for (place, word) in header.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        self.bytes.extend_from_slice(&header);
        start
    }

    /// The arena, for the caller to append the inline payload of the record begun last.
    pub fn payload(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    pub fn finish(&mut self, start: usize) {
        let len = (self.bytes.len() - start - COMMAND_HEADER) as u32;
        self.bytes[start + 20..start + 24].copy_from_slice(&len.to_le_bytes());
    }

    /// Like `finish`, with a large payload that moves by ownership.
    pub fn finish_owned(&mut self, start: usize, owned: Vec<u8>) {
        self.finish(start);
        self.owned_bytes += owned.len();
        self.owned.push(owned);
        let index = self.owned.len() as u32; // 0 is "none"
        self.bytes[start + 24..start + 28].copy_from_slice(&index.to_le_bytes());
    }

    /// Like `finish_owned`, with the last `len` bytes that were appended as the owned payload.
    pub fn finish_moving(&mut self, start: usize, len: usize, blocks: &Blocks) {
        let rest = self.bytes.len() - len;
        let owned = blocks.copy(&self.bytes[rest..]);
        self.bytes.truncate(rest);
        self.finish_owned(start, owned);
    }

    /// Takes back a record begun at `start` (its payload could not be read).
    pub fn cancel(&mut self, start: usize) {
        self.bytes.truncate(start);
    }

    /// A record without payload.
    pub fn push(&mut self, op: Op, id: ExchangeId, arg: u32) {
        let start = self.begin(op, 0, id, arg, 0);
        self.finish(start);
    }

    /// A rare command, in order with the others.
    pub fn push_boxed(&mut self, boxed: Boxed) {
        let index = self.boxed.len() as u32;
        self.boxed.push(Some(boxed));
        self.push(Op::Control, ExchangeId::default(), index);
    }

    /// Empties the batch without executing it, and gives its buffers back.
    pub fn give_back(&mut self, blocks: &Blocks) {
        for buffer in self.owned.drain(..) {
            blocks.give(buffer);
        }
        self.recycle();
    }

    /// The records from position `at` on.
    pub fn records(&mut self, at: usize) -> Records<'_> {
        Records { bytes: &self.bytes, owned: &mut self.owned, boxed: &mut self.boxed, at }
    }
}

impl<'a> Records<'a> {
    /// Where the next record is, for another [`records`](CommandBatch::records); `None` at the end.
    pub fn position(&self) -> Option<usize> {
        (self.at < self.bytes.len()).then_some(self.at)
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Command<'a>;

    fn next(&mut self) -> Option<Command<'a>> {
        let header = self.bytes.get(self.at..self.at + COMMAND_HEADER)?;
        let word = |i: usize| u32::from_le_bytes(header[i * 4..i * 4 + 4].try_into().unwrap_or_default());
        let payload_start = self.at + COMMAND_HEADER;
        let payload = self.bytes.get(payload_start..payload_start + word(5) as usize)?;
        self.at = payload_start + payload.len();
        let owned = word(6).checked_sub(1).and_then(|i| self.owned.get_mut(i as usize)).map(std::mem::take);
        let (op, arg) = (Op::from_number(word(0) & 0xff)?, word(3));
        let boxed = match op {
            Op::Control => self.boxed.get_mut(arg as usize).and_then(Option::take),
            _ => None,
        };
        Some(Command {
            op,
            flags: word(0) >> 8,
            id: ExchangeId { slot: word(1), generation: word(2) },
            arg,
            extra: word(4),
            payload,
            owned,
            boxed,
        })
    }
}

impl Batch for CommandBatch {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
    fn bytes(&self) -> usize {
        self.bytes.len() + self.owned_bytes
    }
    fn recycle(&mut self) {
        clear_bounded(&mut self.bytes);
        self.owned.clear();
        self.owned_bytes = 0;
        self.boxed.clear();
    }
}

/// The amount that a connection's `sent` and `acked` count for a payload: its bytes and a little for the
/// record itself.
pub fn command_cost(payload: usize) -> usize {
    payload + 16
}

/// The parts of a response inside a command payload: status, head lines, and the rest as body.
#[derive(Debug, PartialEq, Eq)]
pub struct ResponseParts<'a> {
    pub status: &'a [u8],
    pub headers: &'a [u8],
    pub body: &'a [u8],
}

impl<'a> ResponseParts<'a> {
    /// The inverse of [`begin_parts`]; a payload that is cut short gives empty parts.
    pub fn parse(payload: &'a [u8]) -> Self {
        let length = |at: usize| -> usize {
            payload.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes) as usize
        };
        let (status, headers) = (length(0), length(4));
        let range = |from: usize, len: usize| payload.get(from..from + len).unwrap_or_default();
        ResponseParts {
            status: range(8, status),
            headers: range(8 + status, headers),
            body: payload.get(8 + status + headers..).unwrap_or_default(),
        }
    }
}

/// Writes the length prefix of [`ResponseParts`]; returns its position for [`set_part`].
pub fn begin_parts(arena: &mut Vec<u8>) -> usize {
    let at = arena.len();
    arena.extend_from_slice(&[0; 8]);
    at
}

/// Writes the length of part `index` (0 status, 1 headers) into the prefix at `parts`.
pub fn set_part(arena: &mut [u8], parts: usize, index: usize, len: usize) {
    let at = parts + index * 4;
    arena[at..at + 4].copy_from_slice(&(len as u32).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::super::layout::send_flag;
    use super::*;

    type Record = (Op, u32, ExchangeId, u64, Vec<u8>, Option<Vec<u8>>);

    fn collect(batch: &mut CommandBatch) -> Vec<Record> {
        batch.records(0).map(|c| (c.op, c.flags, c.id, c.arg64(), c.payload.to_vec(), c.owned)).collect()
    }

    #[test]
    fn commands_come_out_as_they_went_in() {
        let mut batch = CommandBatch::default();
        let id = ExchangeId { slot: 7, generation: 9 };
        let start = batch.begin(Op::Send, send_flag::BINARY, id, 3, 4);
        batch.payload().extend_from_slice(b"hello");
        batch.finish(start);
        batch.push(Op::Subscribe, id, 12);
        let start = batch.begin(Op::Respond, 0, id, 0, 0);
        batch.payload().extend_from_slice(b"head");
        batch.finish_owned(start, vec![1, 2, 3]);
        let start = batch.begin(Op::Send, 0, id, 0, 0);
        batch.cancel(start);
        assert_eq!(
            collect(&mut batch),
            [
                (Op::Send, 1, id, 3 | 4 << 32, b"hello".to_vec(), None),
                (Op::Subscribe, 0, id, 12, vec![], None),
                (Op::Respond, 0, id, 0, b"head".to_vec(), Some(vec![1, 2, 3])),
            ]
        );
        assert_eq!(batch.bytes(), 3 * COMMAND_HEADER + 5 + 4 + 3);
        batch.recycle();
        assert!(batch.is_empty() && batch.bytes() == 0);
    }

    #[test]
    fn response_parts_round_trip_and_tolerate_truncation() {
        let mut arena = Vec::new();
        let parts = begin_parts(&mut arena);
        arena.extend_from_slice(b"200 OK");
        set_part(&mut arena, parts, 0, 6);
        arena.extend_from_slice(b"a: b\r\n");
        set_part(&mut arena, parts, 1, 6);
        arena.extend_from_slice(b"body");
        let whole = ResponseParts { status: b"200 OK", headers: b"a: b\r\n", body: b"body" };
        assert_eq!(ResponseParts::parse(&arena), whole);
        for cut in 0..arena.len() {
            let _ = ResponseParts::parse(&arena[..cut]);
        }
    }
}
