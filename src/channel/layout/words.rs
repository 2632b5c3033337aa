//! Values as the words they cross in.

use super::exchange::ExchangeId;

/// A value that crosses in one or more words.
pub trait Field: Copy {
    const WORDS: usize;

    /// Reads the value from the first words; returns it with the words behind them.
    fn read(words: &[u32]) -> (Self, &[u32]);
    /// Writes the value into the first words; returns the words behind them.
    fn write(self, words: &mut [u32]) -> &mut [u32];

    /// The names of its words in JavaScript, where it is named `name`.
    fn words(name: &str) -> Vec<String> {
        vec![name.into()]
    }

    /// The parameters JavaScript passes for it, and the expression for each word.
    fn passed(name: &str) -> Passed {
        Passed { parameters: Self::words(name), words: Self::words(name) }
    }
}

/// A value in a JavaScript function that leaves it in words.
pub struct Passed {
    pub parameters: Vec<String>,
    /// An expression for each word.
    pub words: Vec<String>,
}

fn first(words: &[u32]) -> (u32, &[u32]) {
    words.split_first().map_or((0, words), |(word, rest)| (*word, rest))
}

fn set_first(words: &mut [u32], value: u32) -> &mut [u32] {
    match words.split_first_mut() {
        Some((word, rest)) => {
            *word = value;
            rest
        }
        None => &mut [],
    }
}

impl Field for u32 {
    const WORDS: usize = 1;
    fn read(words: &[u32]) -> (Self, &[u32]) {
        first(words)
    }
    fn write(self, words: &mut [u32]) -> &mut [u32] {
        set_first(words, self)
    }
}

/// JavaScript sees 0 or 1.
impl Field for bool {
    const WORDS: usize = 1;
    fn read(words: &[u32]) -> (Self, &[u32]) {
        let (word, rest) = first(words);
        (word != 0, rest)
    }
    fn write(self, words: &mut [u32]) -> &mut [u32] {
        set_first(words, u32::from(self))
    }
}

/// The low half, then the high one.
impl Field for u64 {
    const WORDS: usize = 2;
    fn read(words: &[u32]) -> (Self, &[u32]) {
        let (low, rest) = first(words);
        let (high, rest) = first(rest);
        (u64::from(low) | u64::from(high) << 32, rest)
    }
    fn write(self, words: &mut [u32]) -> &mut [u32] {
        let rest = set_first(words, self as u32);
        set_first(rest, (self >> 32) as u32)
    }
    fn words(name: &str) -> Vec<String> {
        vec![format!("{name} (low half)"), "its high half".into()]
    }
    /// As one number; storing it in a word cuts off the bits above 32.
    fn passed(name: &str) -> Passed {
        Passed { parameters: vec![name.into()], words: vec![name.into(), format!("{name} / 2 ** 32")] }
    }
}

impl Field for ExchangeId {
    const WORDS: usize = 2;
    fn read(words: &[u32]) -> (Self, &[u32]) {
        let (slot, rest) = first(words);
        let (generation, rest) = first(rest);
        (ExchangeId { slot, generation }, rest)
    }
    fn write(self, words: &mut [u32]) -> &mut [u32] {
        let rest = set_first(words, self.slot);
        set_first(rest, self.generation)
    }
    fn words(_name: &str) -> Vec<String> {
        vec!["slot".into(), "generation".into()]
    }
}

/// A number of some bits in a word of flags.
#[derive(Clone, Copy, Debug)]
pub struct BitField {
    pub shift: u32,
    pub bits: u32,
}

impl BitField {
    /// The one with number `index` of those with these widths, which begin at bit `first`.
    pub const fn above(first: u32, widths: &[u32], index: usize) -> BitField {
        let (mut shift, mut i) = (first, 0);
        while i < index {
            shift += widths[i];
            i += 1;
        }
        BitField { shift, bits: widths[index] }
    }

    /// The largest number it holds.
    pub const fn max(self) -> u32 {
        (1 << self.bits) - 1
    }

    /// The bits of `value`, which fits.
    pub const fn put(self, value: u32) -> u32 {
        debug_assert!(value <= self.max());
        value << self.shift
    }

    pub const fn of(self, flags: u32) -> u32 {
        flags >> self.shift & self.max()
    }
}

/// The largest of some lengths.
pub const fn longest(lengths: &[usize]) -> usize {
    let (mut longest, mut i) = (0, 0);
    while i < lengths.len() {
        if lengths[i] > longest {
            longest = lengths[i];
        }
        i += 1;
    }
    longest
}
