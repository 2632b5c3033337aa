//! The name of an exchange.

use crate::channel::slots::MAX_CONNECTIONS;
use std::fmt;

/// The name of an exchange on both sides: its loop, its slot there, and the generation of the slot, which
/// makes commands and events for an earlier user of the slot void.
///
/// There is one exchange for each connection as yet, and one loop for each environment. The number of the
/// loop is in the upper bits of `slot`, so that it costs no word: with loop 0, the only one, `slot` is the
/// index in the tables of the loop as it is, and in those of JavaScript.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ExchangeId {
    pub slot: u32,
    /// 31 bits, which V8 keeps as a small integer; generations wrap.
    pub generation: u32,
}

/// Bits of the slot's word that are the index in the tables of its loop.
const INDEX_BITS: u32 = MAX_CONNECTIONS.ilog2();
const _: () = assert!(MAX_CONNECTIONS == 1 << INDEX_BITS, "all of the bits are used");

impl ExchangeId {
    pub const fn new(loop_number: u32, index: u32, generation: u32) -> Self {
        ExchangeId { slot: loop_number << INDEX_BITS | index, generation }
    }

    pub const fn loop_number(self) -> u32 {
        self.slot >> INDEX_BITS
    }

    /// The index in the tables of its loop.
    pub const fn index(self) -> usize {
        (self.slot & ((1 << INDEX_BITS) - 1)) as usize
    }

    /// The generation of the slot's next user.
    pub const fn next_generation(generation: u32) -> u32 {
        generation.wrapping_add(1) & GENERATIONS
    }

    /// Whether a generation of a slot came after another: it is ahead of it by less than half of all
    /// generations.
    pub const fn is_later(generation: u32, than: u32) -> bool {
        let ahead = generation.wrapping_sub(than) & GENERATIONS;
        ahead != 0 && ahead <= GENERATIONS / 2
    }
}

/// For traces.
impl fmt::Display for ExchangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.slot, self.generation)
    }
}

const GENERATIONS: u32 = 0x7fff_ffff;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exchange_is_named_by_loop_slot_and_generation() {
        let last = MAX_CONNECTIONS as u32 - 1;
        for (loop_number, index) in [(0, 0), (0, last), (1, 7), (1000, last)] {
            let id = ExchangeId::new(loop_number, index, 9);
            assert_eq!((id.loop_number(), id.index(), id.generation), (loop_number, index as usize, 9));
        }
        assert_eq!(ExchangeId::new(0, 7, 9), ExchangeId { slot: 7, generation: 9 });
    }

    #[test]
    fn generations_wrap() {
        let last = GENERATIONS;
        assert_eq!((ExchangeId::next_generation(7), ExchangeId::next_generation(last)), (8, 0));
        for (generation, than) in [(1, 0), (8, 7), (0, last), (GENERATIONS / 2, 0)] {
            assert!(ExchangeId::is_later(generation, than) && !ExchangeId::is_later(than, generation));
        }
        assert!(!ExchangeId::is_later(7, 7));
    }
}
