//! Received bytes on their way into a protocol, and those it has not parsed yet.

use crate::channel::OWNED_EVENT;
use crate::channel::buffers::{Blocks, Buffer, Payload};
use crate::fault::{self, Fault};
use std::ops::Range;

/// Bytes for a protocol, which parses them from the front on.
pub struct Input<'a> {
    source: Source<'a>,
    /// Bytes of the source that have been parsed.
    used: usize,
}

enum Source<'a> {
    /// The buffer of a read. Its memory may leave with a payload that fills most of it.
    Read(&'a mut Buffer),
    /// Bytes in other memory, which stays where it is.
    Kept(&'a mut [u8]),
}

impl<'a> Input<'a> {
    pub fn read(buffer: &'a mut Buffer) -> Self {
        Input { source: Source::Read(buffer), used: 0 }
    }

    pub fn kept(bytes: &'a mut [u8]) -> Self {
        Input { source: Source::Kept(bytes), used: 0 }
    }

    /// The bytes that are still to be parsed.
    pub fn bytes(&mut self) -> &mut [u8] {
        let used = self.used;
        match &mut self.source {
            Source::Read(buffer) => &mut buffer.filled_mut()[used..],
            Source::Kept(bytes) => &mut bytes[used..],
        }
    }

    pub fn is_empty(&self) -> bool {
        self.used == self.len()
    }

    fn len(&self) -> usize {
        match &self.source {
            Source::Read(buffer) => buffer.len(),
            Source::Kept(bytes) => bytes.len(),
        }
    }

    /// Called when the first `n` bytes have been parsed.
    pub fn consume(&mut self, n: usize) {
        self.used += n;
        debug_assert!(self.used <= self.len());
    }

    pub fn consume_all(&mut self) {
        self.used = self.len();
    }

    /// The number of bytes that have been parsed. Of use only while the source keeps its memory.
    pub fn used(&self) -> usize {
        self.used
    }

    /// Called when the first `n` bytes have been parsed, of which `data` is a payload for JavaScript. A
    /// payload that fills most of a read leaves with the memory of the read: the other bytes, which have to
    /// move then, are fewer than its own.
    pub fn payload(&mut self, n: usize, data: Range<usize>, blocks: &Blocks) -> Payload<'_> {
        let start = self.used;
        self.consume(n);
        let range = start + data.start..start + data.end;
        match &mut self.source {
            Source::Read(buffer) if data.len() >= OWNED_EVENT && data.len() > buffer.len() / 2 => {
                // The framing behind the data has been parsed, too.
                let behind = start + n - range.end;
                let owned = buffer.take(range, blocks);
                self.used = behind;
                Payload::Owned(owned)
            }
            Source::Read(buffer) => Payload::Inline(&buffer.filled()[range]),
            Source::Kept(bytes) => Payload::Inline(&bytes[range]),
        }
    }
}

/// Bytes that were received and are not parsed yet, in memory of about their size: a peer may leave a request
/// or a frame incomplete for as long as it likes.
#[derive(Default)]
pub struct Unread {
    bytes: Vec<u8>,
    /// Bytes at the front that have been parsed; they are removed once they are many.
    used: usize,
}

impl Unread {
    pub fn of(bytes: &[u8]) -> Self {
        if fault::is_on(Fault::WholeBuffer) && !bytes.is_empty() {
            let mut all = Vec::with_capacity(128 << 10);
            all.extend_from_slice(bytes);
            return Unread { bytes: all, used: 0 };
        }
        Unread { bytes: bytes.to_vec(), used: 0 }
    }

    pub fn is_empty(&self) -> bool {
        self.used == self.bytes.len()
    }

    /// Its bytes, and the memory they are in.
    pub fn held(&self) -> (usize, usize) {
        (self.bytes.len() - self.used, self.bytes.capacity())
    }

    pub fn input(&mut self) -> Input<'_> {
        Input::kept(&mut self.bytes[self.used..])
    }

    pub fn append(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.used);
        self.used = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The bytes without the first `n`. The rest is not moved to the front each time: that would take long
    /// where few of very many bytes are parsed at a time.
    pub fn without(mut self, n: usize) -> Self {
        self.used += n;
        let left = self.bytes.len() - self.used;
        if left < self.bytes.capacity() / 2 { Unread::of(&self.bytes[self.used..]) } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(count: usize) -> Vec<u8> {
        (0..count).map(|n| n as u8).collect()
    }

    /// The payload's bytes, and whether its memory left with it.
    fn taken(payload: Payload<'_>) -> (Vec<u8>, bool) {
        match payload {
            Payload::Inline(bytes) => (bytes.to_vec(), false),
            Payload::Owned(owned) => (owned.bytes().to_vec(), true),
        }
    }

    #[test]
    fn a_payload_that_fills_most_of_a_read_leaves_with_it_and_the_rest_is_still_there() {
        let (blocks, all) = (Blocks::default(), numbered(100_000));
        for behind in [0, 5] {
            let mut buffer = blocks.buffer(128 << 10);
            buffer.extend(&all);
            let mut input = Input::read(&mut buffer);
            input.consume(10);
            let n = 60_000 + 3 + behind;
            assert_eq!(taken(input.payload(n, 3..60_003, &blocks)), (all[13..60_013].to_vec(), true));
            assert_eq!(input.bytes(), &all[10 + n..]);
            // The next payload, however large, no longer fills most of a read.
            let (data, is_taken) = taken(input.payload(30_000, 0..30_000, &blocks));
            assert_eq!((data, is_taken), (all[10 + n..][..30_000].to_vec(), false));
            assert_eq!(input.bytes(), &all[10 + n + 30_000..]);
        }
    }

    #[test]
    fn small_payloads_and_those_of_kept_bytes_stay_where_they_are() {
        let (blocks, mut all) = (Blocks::default(), numbered(100_000));
        let mut buffer = blocks.buffer(128 << 10);
        buffer.extend(&all[..40_000]);
        let mut input = Input::read(&mut buffer);
        assert!(!taken(input.payload(OWNED_EVENT - 1, 0..OWNED_EVENT - 1, &blocks)).1);
        let mut input = Input::kept(&mut all);
        assert_eq!(taken(input.payload(90_000, 1..90_000, &blocks)), (numbered(90_000)[1..].to_vec(), false));
        input.consume_all();
        assert!(input.is_empty());
    }
}
