//! Byte buffers that are used again, and the part of each that is visible.
//!
//! An allocator gives large buffers back to the kernel and gets new ones page by page, each with a fault that
//! costs more than copying the page does. Both threads take buffers from the pool here, and the thread that
//! is done with one gives it back.
//!
//! A buffer that was used before still has the bytes of its last user in it. Of a [`Buffer`] only the part
//! that its user has written is ever visible, of an [`Owned`] only its range; debug builds overwrite the
//! rest.
#![forbid(unsafe_code)]

use super::sync::Mutex;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The smallest size of the pool; sizes are powers of two. Smaller buffers are left to the allocator.
const SMALLEST: usize = 8 << 10;
/// The last one is of 1 MiB. Larger buffers are not kept.
const CLASSES: usize = 8;
/// Bytes kept for reuse; more would only hold memory after a burst.
const KEPT: usize = 4 << 20;

#[derive(Default)]
pub struct Blocks {
    free: Mutex<Free>,
    /// The bytes in `free`, to be read without the lock that both threads write it under.
    kept: AtomicUsize,
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

    /// An empty buffer with `len` bytes of memory to be written into.
    pub fn buffer(&self, len: usize) -> Buffer {
        let mut memory = self.reuse(len).unwrap_or_else(|| vec![0; room_for(len)]);
        memory.resize(len, 0);
        Buffer { memory, filled: 0 }
    }

    /// A copy of `bytes`.
    pub fn copy(&self, bytes: &[u8]) -> Vec<u8> {
        let mut buffer = self.take(bytes.len());
        buffer.extend_from_slice(bytes);
        buffer
    }

    /// Keeps `buffer` for the next user, or frees it.
    pub fn give(&self, mut buffer: Vec<u8>) {
        let Some(class) = class_below(buffer.capacity()) else { return };
        poison(&mut buffer);
        let mut free = self.free.lock();
        if free.bytes + buffer.capacity() <= KEPT {
            free.bytes += buffer.capacity();
            free.classes[class].push(buffer);
            self.kept.store(free.bytes, Ordering::Relaxed);
        }
    }

    /// Bytes of memory that wait for their next user.
    pub fn kept(&self) -> usize {
        self.kept.load(Ordering::Relaxed)
    }

    fn reuse(&self, len: usize) -> Option<Vec<u8>> {
        let class = class_above(len)?;
        let mut free = self.free.lock();
        let buffer = free.classes[class].pop()?;
        free.bytes -= buffer.capacity();
        self.kept.store(free.bytes, Ordering::Relaxed);
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
    // A buffer of twice the largest class or more would waste half of its memory.
    (class < CLASSES).then_some(class)
}

/// Buffers for reuse, so that an idle connection holds none and a busy one allocates none.
#[derive(Default)]
pub struct Spare {
    buffers: Vec<Vec<u8>>,
    /// The capacity of all of them.
    bytes: usize,
    /// The pool that large buffers go back to.
    blocks: Arc<Blocks>,
}

/// Enough that a publish to some thousand connections finds its buffers here each time.
const SPARE_BYTES: usize = 1 << 20;
/// Buffers from this size on go to the pool, where others can use them.
const SPARE_CAPACITY: usize = 16 << 10;
/// Most answers fit in this; a buffer that had to grow is larger the next time.
const FIRST_CAPACITY: usize = 128;

impl Spare {
    pub fn new(blocks: Arc<Blocks>) -> Self {
        Spare { blocks, ..Spare::default() }
    }

    #[cfg(test)]
    pub fn kept(&self) -> usize {
        self.buffers.len()
    }

    /// The capacity of all buffers that wait for their next user.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn take(&mut self) -> Vec<u8> {
        let Some(buffer) = self.buffers.pop() else { return Vec::with_capacity(FIRST_CAPACITY) };
        self.bytes -= buffer.capacity();
        buffer
    }

    pub fn give(&mut self, mut buffer: Vec<u8>) {
        match buffer.capacity() {
            0 => {}
            SPARE_CAPACITY.. => self.blocks.give(buffer),
            capacity if self.bytes + capacity <= SPARE_BYTES => {
                buffer.clear();
                self.bytes += capacity;
                self.buffers.push(buffer);
            }
            _ => {}
        }
    }
}

/// Overwrites the bytes of the last user; in debug builds only.
fn poison(bytes: &mut [u8]) {
    if cfg!(debug_assertions) {
        bytes.fill(POISON);
    }
}

/// A byte that no test takes for text or for the start of a frame of its own.
const POISON: u8 = 0xdb;

/// Memory that bytes are written into: always initialised, so that growing does not clear it each time, and
/// never visible beyond what was written.
#[derive(Default)]
pub struct Buffer {
    memory: Vec<u8>,
    filled: usize,
}

impl Buffer {
    pub fn clear(&mut self) {
        poison(&mut self.memory[..self.filled]);
        self.filled = 0;
    }

    pub fn is_empty(&self) -> bool {
        self.filled == 0
    }

    pub fn len(&self) -> usize {
        self.filled
    }

    /// Bytes that can be written without growing.
    pub fn spare(&self) -> usize {
        self.memory.len() - self.filled
    }

    pub fn filled(&self) -> &[u8] {
        &self.memory[..self.filled]
    }

    pub fn filled_mut(&mut self) -> &mut [u8] {
        &mut self.memory[..self.filled]
    }

    /// `len` bytes behind the filled part. The caller writes into them and then says with `advance` how many
    /// bytes it has written.
    pub fn room(&mut self, len: usize) -> &mut [u8] {
        let end = self.filled + len;
        if self.memory.len() < end {
            // `Blocks` has these sizes, too.
            self.memory.resize(end.next_power_of_two(), 0);
        }
        &mut self.memory[self.filled..end]
    }

    pub fn advance(&mut self, len: usize) {
        debug_assert!(self.filled + len <= self.memory.len());
        self.filled += len;
    }

    pub fn extend(&mut self, bytes: &[u8]) {
        self.room(bytes.len()).copy_from_slice(bytes);
        self.advance(bytes.len());
    }

    /// The payload at `range`, with the memory it is in. The bytes behind it move to other memory of the same
    /// size, which takes the place of this one; those in front of it have been parsed.
    pub fn take(&mut self, range: Range<usize>, blocks: &Blocks) -> Owned {
        let mut fresh = blocks.buffer(self.memory.len());
        fresh.extend(&self.filled()[range.end..]);
        let taken = std::mem::replace(self, fresh);
        Owned { buffer: taken.memory, range }
    }

    /// Empties the buffer and shrinks it to at most `limit` bytes.
    pub fn recycle(mut self, limit: usize) -> Self {
        self.clear();
        if self.memory.len() > limit {
            self.memory.truncate(limit);
            self.memory.shrink_to_fit();
        }
        self
    }
}

/// A payload with a buffer of its own, of which it is a part.
#[derive(Debug)]
pub struct Owned {
    buffer: Vec<u8>,
    /// Always within the buffer.
    range: Range<usize>,
}

impl Owned {
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.range.clone()]
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.range.clone()]
    }

    /// Bytes of memory that the payload holds.
    pub fn held(&self) -> usize {
        self.buffer.capacity()
    }

    /// The memory alone, to be given to [`Blocks::give`] when the payload is no longer needed.
    pub fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }
}

impl From<Vec<u8>> for Owned {
    fn from(buffer: Vec<u8>) -> Self {
        let range = 0..buffer.len();
        Owned { buffer, range }
    }
}

/// A payload on its way to JavaScript: bytes to be copied, or a buffer to be handed over.
pub enum Payload<'a> {
    Inline(&'a [u8]),
    Owned(Owned),
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
    fn a_buffer_is_used_again_for_a_payload_of_its_size() {
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
        assert_eq!((blocks.buffer(30_000).len(), blocks.buffer(30_000).spare()), (0, 30_000));
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
    fn the_pool_keeps_a_bounded_number_of_bytes() {
        let blocks = Blocks::default();
        let many: Vec<_> = (0..100).map(|_| blocks.take(1 << 20)).collect();
        many.into_iter().for_each(|buffer| blocks.give(buffer));
        let free = blocks.free.lock();
        assert_eq!((free.bytes, blocks.kept()), (KEPT, KEPT));
        assert_eq!(free.classes.iter().flatten().map(Vec::capacity).sum::<usize>(), KEPT);
    }

    #[test]
    fn only_bytes_that_were_advanced_over_are_filled() {
        let mut buffer = Buffer::default();
        buffer.extend(b"one");
        buffer.room(10)[..3].copy_from_slice(b"two");
        buffer.advance(2);
        buffer.extend(b"!");
        assert_eq!(buffer.filled(), b"onetw!");
        let buffer = buffer.recycle(4);
        assert!(buffer.is_empty() && buffer.memory.len() == 4);
    }

    #[test]
    fn a_payload_takes_its_memory_along_and_the_bytes_behind_it_stay() {
        let blocks = Blocks::default();
        let mut buffer = blocks.buffer(8);
        buffer.extend(b"abcdefgh");
        let (place, owned) = (buffer.filled().as_ptr(), buffer.take(2..5, &blocks));
        assert_eq!(owned.bytes(), b"cde");
        assert_eq!(owned.bytes().as_ptr(), place.wrapping_add(2), "it was not copied");
        assert_eq!(buffer.filled(), b"fgh");
        assert_eq!(buffer.memory.len(), 8);
    }

    #[test]
    fn bytes_of_the_last_user_are_not_found_in_a_buffer() {
        let blocks = Blocks::default();
        blocks.give(vec![7; 8 << 10]);
        let mut buffer = blocks.buffer(8 << 10);
        assert!(buffer.filled().is_empty());
        assert!(!buffer.room(8 << 10).contains(&7));
        buffer.extend(b"seven");
        buffer.clear();
        assert!(!buffer.room(8 << 10).starts_with(b"seven"));
    }
}

#[cfg(all(test, loom))]
mod model {
    use super::super::sync::model::check;
    use super::*;
    use loom::thread;

    /// Each thread writes its number into the buffers that it takes: no buffer has two users, and the pool
    /// counts what it holds.
    #[test]
    fn no_buffer_has_two_users() {
        check(|| {
            let blocks = loom::sync::Arc::new(Blocks::default());
            blocks.give(Vec::with_capacity(SMALLEST));
            let use_one = |blocks: &Blocks, number: u8| {
                for _ in 0..2 {
                    let mut buffer = blocks.take(SMALLEST);
                    assert!(buffer.is_empty());
                    buffer.push(number);
                    thread::yield_now();
                    assert_eq!(buffer, [number]);
                    blocks.give(buffer);
                }
            };
            let other = blocks.clone();
            let thread = thread::spawn(move || use_one(&other, 1));
            use_one(&blocks, 2);
            thread.join().expect("thread");
            let free = blocks.free.lock();
            let held: usize = free.classes.iter().flatten().map(Vec::capacity).sum();
            assert!(held == free.bytes && (SMALLEST..=2 * SMALLEST).contains(&held));
        });
    }
}
