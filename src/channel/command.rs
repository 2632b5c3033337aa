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
            Op::Pause
            | Op::Resume
            | Op::Close
            | Op::WantWritable
            | Op::Release
            | Op::ServerName
            | Op::End
            | Op::Subscribe
            | Op::Unsubscribe
            | Op::LeaveTopics
            | Op::Publish
            | Op::Overflow
            | Op::CloseApp
            | Op::CloseListener
            | Op::EndFlight
            | Op::Forget
            | Op::Control => return 0,
        };
        command_cost(self.owned.as_ref().map_or(inline, Vec::len))
    }

    pub fn arg64(&self) -> u64 {
        u64::from(self.arg) | u64::from(self.extra) << 32
    }
}

impl CommandBatch {
    /// Begins a record, whose payload is written through the result; finishing that adds it to the batch.
    pub fn record(&mut self, op: Op, flags: u32, id: ExchangeId, arg: u32, extra: u32) -> RecordWriter<'_> {
        let start = self.bytes.len();
        let words = [op as u32 | flags << 8, id.slot, id.generation, arg, extra, 0, 0];
        let mut header = [0; COMMAND_HEADER];
        for (place, word) in header.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        self.bytes.extend_from_slice(&header);
        RecordWriter { batch: self, start, is_finished: false }
    }

    /// A record without payload.
    pub fn push(&mut self, op: Op, id: ExchangeId, arg: u32) {
        self.record(op, 0, id, arg, 0).finish();
    }

    /// A rare command, in order with the others.
    pub fn push_boxed(&mut self, boxed: Boxed) {
        let index = self.boxed.len() as u32;
        self.boxed.push(Some(boxed));
        self.push(Op::Control, ExchangeId::default(), index);
    }

    /// A batch of any bytes, which nobody but the fuzz targets makes.
    #[cfg(feature = "fuzzing")]
    pub fn of_bytes(bytes: Vec<u8>, owned: Vec<Vec<u8>>) -> Self {
        CommandBatch { bytes, owned, ..CommandBatch::default() }
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

/// A record that is being written. Dropped before it is finished, it leaves the batch as it was: nobody can
/// forget to take it back.
pub struct RecordWriter<'a> {
    batch: &'a mut CommandBatch,
    start: usize,
    is_finished: bool,
}

impl RecordWriter<'_> {
    /// To append the inline payload.
    pub fn payload(&mut self) -> &mut Vec<u8> {
        &mut self.batch.bytes
    }

    pub fn finish(mut self) {
        let bytes = &mut self.batch.bytes;
        let len = (bytes.len() - self.start - COMMAND_HEADER) as u32;
        bytes[self.start + 20..self.start + 24].copy_from_slice(&len.to_le_bytes());
        self.is_finished = true;
    }

    /// Like `finish`, with a large payload that moves by ownership.
    pub fn finish_owned(self, owned: Vec<u8>) {
        let CommandBatch { bytes, owned: all, owned_bytes, .. } = &mut *self.batch;
        *owned_bytes += owned.len();
        all.push(owned);
        let index = all.len() as u32; // 0 is "none"
        bytes[self.start + 24..self.start + 28].copy_from_slice(&index.to_le_bytes());
        self.finish();
    }

    /// Like `finish_owned`, with the last `len` bytes of the payload.
    pub fn finish_moving(self, len: usize, blocks: &Blocks) {
        let rest = self.batch.bytes.len() - len;
        let owned = blocks.copy(&self.batch.bytes[rest..]);
        self.batch.bytes.truncate(rest);
        self.finish_owned(owned);
    }
}

impl Drop for RecordWriter<'_> {
    fn drop(&mut self) {
        if !self.is_finished {
            self.batch.bytes.truncate(self.start);
        }
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

/// Appends lines to the headers, the last part of the payload so far, whose prefix is at `parts`.
pub fn add_to_headers(arena: &mut Vec<u8>, parts: usize, lines: &[u8]) {
    arena.extend_from_slice(lines);
    let status = ResponseParts::parse(&arena[parts..]).status.len();
    let headers = arena.len() - parts - 2 * size_of::<u32>() - status;
    set_part(arena, parts, 1, headers);
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
        let mut record = batch.record(Op::Send, send_flag::BINARY, id, 3, 4);
        record.payload().extend_from_slice(b"hello");
        record.finish();
        batch.push(Op::Subscribe, id, 12);
        let mut record = batch.record(Op::Respond, 0, id, 0, 0);
        record.payload().extend_from_slice(b"head");
        record.finish_owned(vec![1, 2, 3]);
        let mut record = batch.record(Op::Send, 0, id, 0, 0);
        record.payload().extend_from_slice(b"never finished");
        drop(record);
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
        let mut more = arena[..arena.len() - 4].to_vec();
        add_to_headers(&mut more, parts, b"c: d\r\n");
        more.extend_from_slice(b"body");
        let parsed = ResponseParts::parse(&more);
        assert_eq!(
            (parsed.status, parsed.headers, parsed.body),
            (&b"200 OK"[..], &b"a: b\r\nc: d\r\n"[..], &b"body"[..])
        );
        let whole = ResponseParts { status: b"200 OK", headers: b"a: b\r\n", body: b"body" };
        assert_eq!(ResponseParts::parse(&arena), whole);
        for cut in 0..arena.len() {
            let _ = ResponseParts::parse(&arena[..cut]);
        }
    }
}
