//! Bits of deflate, lowest first (RFC 1951 §3.1.1), appended to bytes.

use super::huffman::Code;

pub struct Bits<'a> {
    out: &'a mut Vec<u8>,
    /// Where the next whole byte goes; `out` is longer than what is written.
    at: usize,
    held: u64,
    /// Bits of `held`: 7 at most.
    count: u32,
}

/// What one `put` may touch beyond its bits.
const SLACK: usize = 8;

impl<'a> Bits<'a> {
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Bits { at: out.len(), out, held: 0, count: 0 }
    }

    /// Makes room; nothing may be written without.
    pub fn reserve(&mut self, bits: usize) {
        self.out.resize(self.at + bits.div_ceil(8) + 1 + SLACK, 0);
    }

    /// At most 56 bits.
    #[inline]
    pub fn put(&mut self, bits: u64, count: u32) {
        self.held |= bits << self.count;
        self.count += count;
        match self.out.get_mut(self.at..self.at + SLACK) {
            Some(place) => place.copy_from_slice(&self.held.to_le_bytes()),
            None => debug_assert!(false, "written without room"),
        }
        self.at += self.count as usize / 8;
        self.held >>= self.count & !7;
        self.count &= 7;
    }

    #[inline]
    pub fn put_code(&mut self, code: Code) {
        self.put(code.bits.into(), code.len.into());
    }

    /// Zeroes up to the next byte.
    pub fn pad(&mut self) {
        self.put(0, (8 - self.count) % 8);
    }

    /// At the beginning of a byte.
    pub fn put_bytes(&mut self, bytes: &[u8]) {
        debug_assert_eq!(self.count, 0);
        self.out[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    /// Ends with what is left of a sync flush once its tail is removed (RFC 7692 §7.2.1): the beginning of an
    /// empty stored block.
    pub fn finish(mut self) {
        self.reserve(8);
        self.put(0, 3);
        self.pad();
        self.out.truncate(self.at);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bits_follow_one_another(values in proptest::collection::vec((any::<u64>(), 0_u32..=56), 0..50)) {
            let (mut out, mut expected) = (b"head".to_vec(), Vec::new());
            let mut bits = Bits::new(&mut out);
            bits.reserve(values.iter().map(|(_, count)| *count as usize).sum());
            for (value, count) in values {
                let value = value & ((1 << count) - 1);
                bits.put(value, count);
                expected.extend((0..count).map(|n| value >> n & 1));
            }
            bits.finish();
            prop_assert_eq!(&out[..4], b"head");
            let written: Vec<u64> = out[4..].iter().flat_map(|byte| (0..8).map(move |n| u64::from(byte >> n & 1))).collect();
            prop_assert_eq!(&written[..expected.len()], &expected[..]);
            prop_assert!(written[expected.len()..].iter().all(|bit| *bit == 0));
            prop_assert_eq!(written.len(), (expected.len() + 3).div_ceil(8) * 8);
        }
    }
}
