//! Appends the bits of deflate to bytes, lowest first (RFC 1951 §3.1.1).

use super::huffman::Code;

pub struct Bits<'a> {
    out: &'a mut Vec<u8>,
    /// The position of the next whole byte; `out` is longer than the written part.
    at: usize,
    held: u64,
    /// The number of bits in `held`, at most 7.
    count: u32,
}

/// The bytes that one `put` may write, more than its bits need.
const SLACK: usize = 8;

impl<'a> Bits<'a> {
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Bits { at: out.len(), out, held: 0, count: 0 }
    }

    /// Makes room for so many bits. Nothing may be written without room.
    pub fn reserve(&mut self, bits: usize) {
        self.out.resize(self.at + bits.div_ceil(8) + 1 + SLACK, 0);
    }

    /// Appends bits, at most 56.
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

    /// Appends zeroes up to the next byte.
    pub fn pad(&mut self) {
        self.put(0, (8 - self.count) % 8);
    }

    /// Appends bytes. The position must be at the beginning of a byte.
    pub fn put_bytes(&mut self, bytes: &[u8]) {
        debug_assert_eq!(self.count, 0);
        self.out[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    /// Ends the message like a sync flush without its tail (RFC 7692 §7.2.1): with the beginning of an empty
    /// stored block.
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
