//! Large byte buffers that are used again and again.
//!
//! An allocator gives large buffers back to the kernel and gets new ones page by page, each with a fault that costs more
//! than copying the page does. Here both threads take buffers and give them back, whichever of them is done with one.
//! Knows nothing of what they hold.
#![forbid(unsafe_code)]

use parking_lot::Mutex;

/// Sizes are powers of two from here on. Smaller buffers are the allocator's business.
const SMALLEST: usize = 8 << 10;
/// The last one is of 1 MiB. Larger buffers are not kept.
const CLASSES: usize = 8;
/// Bytes kept for reuse; more would only hold memory after a burst.
const KEPT: usize = 4 << 20;

#[derive(Default)]
pub struct Blocks {
    free: Mutex<Free>,
}

#[derive(Default)]
struct Free {
    /// By class; the one used last is the next to be used.
    classes: [Vec<Vec<u8>>; CLASSES],
    bytes: usize,
}

impl Blocks {
    /// An empty buffer with room for `len` bytes.
    pub fn take(&self, len: usize) -> Vec<u8> {
        let mut buffer = self.reuse(len).unwrap_or_else(|| Vec::with_capacity(room_for(len)));
        buffer.clear();
        buffer
    }

    /// A buffer of `len` bytes with whatever content.
    pub fn take_filled(&self, len: usize) -> Vec<u8> {
        let mut buffer = self.reuse(len).unwrap_or_else(|| vec![0; room_for(len)]);
        buffer.resize(len, 0);
        buffer
    }

    /// A copy of `bytes`.
    pub fn copy(&self, bytes: &[u8]) -> Vec<u8> {
        let mut buffer = self.take(bytes.len());
        buffer.extend_from_slice(bytes);
        buffer
    }

    /// Keeps `buffer` for whoever needs one next, or frees it.
    pub fn give(&self, buffer: Vec<u8>) {
        let Some(class) = class_below(buffer.capacity()) else { return };
        let mut free = self.free.lock();
        if free.bytes + buffer.capacity() <= KEPT {
            free.bytes += buffer.capacity();
            free.classes[class].push(buffer);
        }
    }

    fn reuse(&self, len: usize) -> Option<Vec<u8>> {
        let class = class_above(len)?;
        let mut free = self.free.lock();
        let buffer = free.classes[class].pop()?;
        free.bytes -= buffer.capacity();
        Some(buffer)
    }
}

fn room_for(len: usize) -> usize {
    class_above(len).map_or(len, |class| SMALLEST << class)
}

/// The smallest class with room for `len` bytes.
fn class_above(len: usize) -> Option<usize> {
    (0..CLASSES).find(|class| SMALLEST << class >= len)
}

/// The largest class that a buffer of this capacity has room for.
fn class_below(capacity: usize) -> Option<usize> {
    let class = (capacity / SMALLEST).checked_ilog2()? as usize;
    // Twice the largest class and more would be held for nothing.
    (class < CLASSES).then_some(class)
}

/// Arena capacity that is kept from one batch to the next.
const KEPT_CAPACITY: usize = 1 << 20;

pub(super) fn clear_bounded(arena: &mut Vec<u8>) {
    arena.clear();
    if arena.capacity() > KEPT_CAPACITY {
        arena.shrink_to(KEPT_CAPACITY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_by_whoever_needs_its_size() {
        let blocks = Blocks::default();
        let buffer = blocks.copy(&[7; 20_000]);
        assert_eq!((buffer.len(), buffer.capacity()), (20_000, 32 << 10));
        let place = buffer.as_ptr();
        blocks.give(buffer);
        let (larger, smaller) = (blocks.take(40_000), blocks.take(10_000));
        assert!(larger.as_ptr() != place && smaller.as_ptr() != place, "it is of another size");
        let again = blocks.take(32 << 10);
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
        blocks.give(again);
        assert_eq!(blocks.take_filled(30_000).len(), 30_000);
    }

    #[test]
    fn every_buffer_has_the_room_that_was_asked_for() {
        let blocks = Blocks::default();
        for capacity in [1, 8191, 8192, 8193, 16_383, 16_384, 100_000, 1 << 20, (1 << 20) + 1, 3 << 20] {
            blocks.give(Vec::with_capacity(capacity));
            for len in [0, 1, capacity - 1, capacity, capacity + 1, 2 * capacity] {
                let buffer = blocks.take(len);
                assert!(buffer.is_empty() && buffer.capacity() >= len);
                blocks.give(buffer);
            }
        }
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let blocks = Blocks::default();
        let many: Vec<_> = (0..100).map(|_| blocks.take(1 << 20)).collect();
        many.into_iter().for_each(|buffer| blocks.give(buffer));
        let free = blocks.free.lock();
        assert_eq!(free.bytes, KEPT);
        assert_eq!(free.classes.iter().flatten().map(Vec::capacity).sum::<usize>(), KEPT);
    }
}
