//! Request blocks that outlive their batch of events, because their turn in a pipeline has not come.

use slab::Slab;
use std::collections::BTreeSet;

/// Copies of request blocks.
///
/// The session owns them. JavaScript holds the key of each from `park` to `unpark`, which it calls once: when
/// the request was handled, or its connection has ended before. The blocks need nothing of the loop, so they
/// do not notice its end.
#[derive(Default)]
pub struct ParkedBlocks {
    blocks: Slab<Block>,
    /// The numbers of the blocks that are parked, so that the first one is that of the oldest.
    numbers: BTreeSet<u64>,
    /// How many blocks have been parked, all in all: the number of the next one.
    so_far: u64,
    /// Bytes of all blocks that are parked.
    bytes: usize,
}

struct Block {
    number: u64,
    bytes: Vec<u8>,
}

impl ParkedBlocks {
    /// Keeps `bytes`; returns the key they are found by. A key is used again after `unpark`.
    pub fn park(&mut self, bytes: Vec<u8>) -> usize {
        let number = self.so_far;
        self.so_far += 1;
        self.numbers.insert(number);
        self.bytes += bytes.len();
        self.blocks.insert(Block { number, bytes })
    }

    /// The bytes of a block; none where nothing is parked.
    pub fn get(&self, key: usize) -> &[u8] {
        self.blocks.get(key).map_or(&[], |block| &block.bytes)
    }

    pub fn unpark(&mut self, key: usize) {
        if let Some(block) = self.blocks.try_remove(key) {
            self.numbers.remove(&block.number);
            self.bytes -= block.bytes.len();
        }
    }

    /// Bytes of all blocks that are parked.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many blocks have been parked.
    pub fn parked_so_far(&self) -> u64 {
        self.so_far
    }

    /// How many blocks were parked before the oldest that still is. A block names handlers that may be gone
    /// since, so a handler's number is free once this has reached what `parked_so_far` was when the handler
    /// went.
    pub fn unparked_so_far(&self) -> u64 {
        self.numbers.first().copied().unwrap_or(self.so_far)
    }

    /// Panics unless each block has its number among `numbers`, which has no others. The walk over all of
    /// them is left out where it would be long.
    #[cfg(debug_assertions)]
    pub fn check(&self) {
        const FEW: usize = 64;
        assert_eq!(self.blocks.len(), self.numbers.len(), "blocks and numbers of blocks");
        assert!(self.numbers.last().is_none_or(|last| *last < self.so_far), "a block that was never parked");
        if self.blocks.len() <= FEW {
            let known = self.blocks.iter().all(|(_, block)| self.numbers.contains(&block.number));
            assert!(known, "a block without its number");
            let bytes = self.blocks.iter().map(|(_, block)| block.bytes.len()).sum::<usize>();
            assert_eq!(self.bytes, bytes, "bytes of blocks");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_until_they_are_unparked() {
        let mut parked = ParkedBlocks::default();
        let (a, b) = (parked.park(b"a".to_vec()), parked.park(b"b".to_vec()));
        assert_eq!((parked.get(a), parked.get(b)), (&b"a"[..], &b"b"[..]));
        parked.unpark(a);
        assert_eq!((parked.get(a), parked.get(b)), (&b""[..], &b"b"[..]));
        assert_eq!(parked.get(1000), b"");
    }

    #[test]
    fn the_oldest_block_counts_whatever_its_key() {
        let mut parked = ParkedBlocks::default();
        let told = |parked: &ParkedBlocks| (parked.unparked_so_far(), parked.parked_so_far());
        assert_eq!(told(&parked), (0, 0));
        let keys = [0, 1, 2].map(|n| parked.park(vec![n]));
        assert_eq!(told(&parked), (0, 3));
        parked.unpark(keys[1]);
        assert_eq!(told(&parked), (0, 3), "the first is still parked");
        let again = parked.park(vec![3]);
        assert_eq!(again, keys[1], "the slab gives a key again");
        parked.unpark(keys[0]);
        assert_eq!(told(&parked), (2, 4), "the third, although the fourth has a lower key");
        parked.unpark(keys[2]);
        assert_eq!(told(&parked), (3, 4));
        parked.unpark(again);
        assert_eq!(told(&parked), (4, 4), "all of them");
        parked.unpark(again);
        assert_eq!(told(&parked), (4, 4), "nothing is there any more");
    }

    #[test]
    fn the_oldest_is_the_least_number_of_all() {
        let mut parked = ParkedBlocks::default();
        let mut keys = Vec::new();
        for n in 0..1000_usize {
            keys.push(parked.park(Vec::new()));
            if n % 3 != 0 {
                parked.unpark(keys.swap_remove(n * 7919 % keys.len()));
            }
            let least = parked.blocks.iter().map(|(_, block)| block.number).min();
            assert_eq!(parked.unparked_so_far(), least.unwrap_or(parked.so_far));
            #[cfg(debug_assertions)]
            parked.check();
        }
        keys.into_iter().for_each(|key| parked.unpark(key));
        assert_eq!(parked.unparked_so_far(), 1000);
        assert!(parked.numbers.is_empty());
    }
}
