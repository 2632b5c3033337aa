//! The bytes that wait to be sent on one connection: a queue of segments, some shared between connections.
//!
//! The queue knows no sockets: it lends slices for a vectored write and is told how many of their bytes were
//! sent.

use crate::channel::buffers::Spare;
use std::cell::Cell;
use std::collections::VecDeque;
use std::io::IoSlice;
use std::rc::Rc;
use std::sync::Arc;

/// Data from this size on becomes a segment of its own instead of being copied behind the last one.
const OWN_SEGMENT: usize = 8 << 10;
/// The most slices lent for one write.
pub const MAX_SLICES: usize = 32;

#[derive(Default)]
pub struct Outbound {
    /// The bytes at the front. Most connections never need more than this, and hold nothing between two
    /// writes.
    first: Vec<u8>,
    /// Bytes of `first` that have been sent.
    sent: usize,
    /// The segments behind `first`.
    rest: VecDeque<Segment>,
    len: usize,
    /// Bytes of `len` that are in buffers shared with other connections.
    shared: usize,
    #[cfg(any(test, feature = "simulation"))]
    weight: crate::event_loop::net::simulated::Weight,
}

struct Segment {
    bytes: Bytes,
    /// Bytes at the front that have been sent.
    sent: usize,
}

enum Bytes {
    Own(Vec<u8>),
    Shared(Rc<SharedBytes>),
}

/// Bytes that several connections send. They count once among those of the loop, as long as one of them still
/// has to send some.
pub struct SharedBytes {
    bytes: Arc<[u8]>,
    all: Rc<Cell<usize>>,
}

impl SharedBytes {
    /// `all`: the bytes of all that are shared.
    pub fn new(bytes: &[u8], all: &Rc<Cell<usize>>) -> Rc<Self> {
        all.set(all.get() + bytes.len());
        Rc::new(SharedBytes { bytes: bytes.into(), all: all.clone() })
    }
}

impl SharedBytes {
    /// The bytes for another thread. They count only as long as this lives, so it is kept until that is done.
    pub fn lent(&self) -> Arc<[u8]> {
        self.bytes.clone()
    }
}

impl std::ops::Deref for SharedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for SharedBytes {
    fn drop(&mut self) {
        self.all.set(self.all.get() - self.bytes.len());
    }
}

impl Segment {
    fn rest(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Own(bytes) => &bytes[self.sent..],
            Bytes::Shared(shared) => &shared.bytes[self.sent..],
        }
    }
}

impl Outbound {
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// Bytes in memory of this connection alone.
    pub fn own_bytes(&self) -> usize {
        self.len - self.shared
    }

    /// Simulated runs know how many bytes wait in all connections together, at any moment of a turn.
    fn weigh(&mut self) {
        #[cfg(any(test, feature = "simulation"))]
        self.weight.set(self.len - self.shared);
    }

    /// Lets `write` append bytes to the end of the queue. `spare` supplies buffers of earlier use.
    pub fn append(&mut self, spare: &mut Spare, write: impl FnOnce(&mut Vec<u8>)) {
        let bytes = self.open_end(spare);
        let before = bytes.len();
        write(bytes);
        let added = bytes.len() - before;
        self.len += added;
        self.weigh();
    }

    /// The last buffer, or a new one if that is full or shared.
    fn open_end(&mut self, spare: &mut Spare) -> &mut Vec<u8> {
        if self.rest.is_empty() && self.first.len() < OWN_SEGMENT {
            if self.first.capacity() == 0 {
                self.first = spare.take();
            }
            return &mut self.first;
        }
        let open =
            matches!(self.rest.back(), Some(Segment { bytes: Bytes::Own(b), .. }) if b.len() < OWN_SEGMENT);
        if !open {
            self.rest.push_back(Segment { bytes: Bytes::Own(spare.take()), sent: 0 });
        }
        match self.rest.back_mut() {
            Some(Segment { bytes: Bytes::Own(bytes), .. }) => bytes,
            _ => unreachable!("such a buffer has just been put there"),
        }
    }

    /// Queues a buffer as it is; a small one is copied so that writes stay joined.
    pub fn push(&mut self, spare: &mut Spare, bytes: Vec<u8>) {
        if bytes.len() < OWN_SEGMENT {
            self.append(spare, |out| out.extend_from_slice(&bytes));
        } else {
            self.len += bytes.len();
            self.rest.push_back(Segment { bytes: Bytes::Own(bytes), sent: 0 });
            self.weigh();
        }
    }

    /// Queues a frame that other connections send too.
    pub fn push_shared(&mut self, shared: &Rc<SharedBytes>) {
        self.len += shared.bytes.len();
        self.shared += shared.bytes.len();
        self.rest.push_back(Segment { bytes: Bytes::Shared(shared.clone()), sent: 0 });
    }

    /// Debug builds assert that the counts are those of the segments.
    pub fn check(&self) {
        debug_assert_eq!(self.len, self.pieces().map(<[u8]>::len).sum::<usize>());
        debug_assert!(self.shared <= self.len);
    }

    /// The bytes that are not sent yet, in order.
    fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let first = Some(&self.first[self.sent..]).filter(|first| !first.is_empty());
        first.into_iter().chain(self.rest.iter().map(Segment::rest))
    }

    /// Fills `slices` with the next bytes to write; returns how many slices it used.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>; MAX_SLICES]) -> usize {
        self.slices_within(usize::MAX, slices)
    }

    /// Like `slices`, with at most `limit` bytes.
    pub fn slices_within<'a>(&'a self, limit: usize, slices: &mut [IoSlice<'a>; MAX_SLICES]) -> usize {
        let (mut room, mut used) = (limit, 0);
        for (slice, piece) in slices.iter_mut().zip(self.pieces()) {
            let bytes = &piece[..piece.len().min(room)];
            if bytes.is_empty() {
                break;
            }
            *slice = IoSlice::new(bytes);
            room -= bytes.len();
            used += 1;
        }
        used
    }

    /// Called when `n` bytes of the lent slices have been sent.
    pub fn consume(&mut self, spare: &mut Spare, n: usize) {
        self.remove(spare, n);
        self.weigh();
    }

    fn remove(&mut self, spare: &mut Spare, mut n: usize) {
        self.len -= n.min(self.len);
        let rest = self.first.len() - self.sent;
        if n < rest {
            self.sent += n;
            return;
        }
        n -= rest;
        self.sent = 0;
        spare.give(std::mem::take(&mut self.first));
        while let Some(front) = self.rest.front_mut() {
            let rest = front.rest().len();
            if let Bytes::Shared(_) = front.bytes {
                self.shared -= n.min(rest);
            }
            if n < rest {
                front.sent += n;
                return;
            }
            n -= rest;
            if let Some(Segment { bytes: Bytes::Own(bytes), .. }) = self.rest.pop_front() {
                spare.give(bytes);
            }
        }
        // A connection that has been idle since a burst should not keep the queue's memory.
        if self.rest.capacity() > 8 {
            self.rest = VecDeque::new();
        }
    }

    pub fn clear(&mut self, spare: &mut Spare) {
        #[cfg(any(test, feature = "simulation"))]
        self.weight.discard();
        self.consume(spare, self.len);
        self.rest = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn drain(out: &mut Outbound, spare: &mut Spare, step: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while !out.is_empty() {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let used = out.slices(&mut slices);
            let before = all.len();
            all.extend(slices[..used].iter().flat_map(|s| s.iter().copied()).take(step));
            assert_ne!(all.len(), before, "slices of nothing");
            out.consume(spare, all.len() - before);
        }
        all
    }

    #[test]
    fn small_pieces_are_joined_into_one_slice() {
        let (mut out, mut spare) = (Outbound::default(), Spare::default());
        out.append(&mut spare, |o| o.extend_from_slice(b"ab"));
        out.push(&mut spare, b"cd".to_vec());
        out.append(&mut spare, |o| o.extend_from_slice(b"ef"));
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        assert_eq!(out.slices(&mut slices), 1);
        assert_eq!(out.len(), 6);
        assert_eq!(drain(&mut out, &mut spare, 4), b"abcdef");
        assert_eq!(spare.kept(), 1, "the buffer is kept for the next connection");
    }

    #[test]
    fn clear_forgets_everything() {
        let (mut out, mut spare) = (Outbound::default(), Spare::default());
        out.push(&mut spare, vec![1; OWN_SEGMENT]);
        out.clear(&mut spare);
        assert!(out.is_empty());
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        assert_eq!(out.slices(&mut slices), 0);
    }

    proptest! {
        #[test]
        fn bytes_leave_in_the_order_they_came(
            pieces in prop::collection::vec((0usize..40_000, 0u8..3), 0..60), step in 1usize..70_000) {
            let (mut out, mut spare, mut expected) = (Outbound::default(), Spare::default(), Vec::new());
            let all = Rc::default();
            for (i, (len, kind)) in pieces.into_iter().enumerate() {
                let bytes: Vec<u8> = (0..len).map(|n| (n * 7 + i) as u8).collect();
                expected.extend_from_slice(&bytes);
                match kind {
                    0 => out.append(&mut spare, |o| o.extend_from_slice(&bytes)),
                    1 => out.push(&mut spare, bytes),
                    _ => out.push_shared(&SharedBytes::new(&bytes, &all)),
                }
            }
            prop_assert_eq!(out.len(), expected.len());
            let shared = out.rest.iter().filter(|segment| matches!(segment.bytes, Bytes::Shared(_)));
            prop_assert_eq!(out.own_bytes(), out.len() - shared.map(|segment| segment.rest().len()).sum::<usize>());
            prop_assert_eq!(drain(&mut out, &mut spare, step), expected);
            prop_assert_eq!(out.own_bytes(), 0);
            prop_assert_eq!(all.get(), 0);
        }
    }
}
