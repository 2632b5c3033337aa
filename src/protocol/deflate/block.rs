//! Blocks of deflate (RFC 1951 §3.2.3): collects tokens, then writes them in the shortest of the three forms.

use super::bits::Bits;
use super::huffman::{Code, MAX_BITS, code_lengths, codes};
use smallvec::SmallVec;

/// The most tokens of one block.
const CAPACITY: usize = 16 * 1024;
const LITERALS: usize = 286;
const DISTANCES: usize = 30;
const END_OF_BLOCK: usize = 256;
/// RFC 1951 §3.2.3: the types of blocks, behind a bit that says that another block follows.
const STORED: u64 = 0b000;
const FIXED: u64 = 0b010;
const DYNAMIC: u64 = 0b100;
/// RFC 1951 §3.2.4.
const MAX_STORED: usize = 0xffff;
/// RFC 1951 §3.2.7: how code lengths are written, and in which order the lengths of their own codes.
const LENGTH_CODES: usize = 19;
const LENGTH_CODE_ORDER: [u8; LENGTH_CODES] =
    [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
const MAX_LENGTH_CODE_BITS: usize = 7;
/// No dynamic block has fewer bits than this: its header alone takes so many.
const NEVER_DYNAMIC: usize = 200;

/// A block that is being collected.
pub struct Block {
    /// Length or literal above 16 bits of distance, which is 0 for a literal.
    tokens: Box<[u32; CAPACITY]>,
    len: usize,
    literals: [u32; LITERALS],
    distances: [u32; DISTANCES],
    /// Bytes of text.
    bytes: usize,
    /// Bits of lengths and distances beyond their codes.
    extra_bits: usize,
}

/// The codes of a block.
struct Codes {
    literals: [Code; LITERALS],
    distances: [Code; DISTANCES],
}

impl Codes {
    /// RFC 1951 §3.2.6.
    fn fixed() -> Self {
        let mut lengths = [8; 288];
        lengths[144..256].fill(9);
        lengths[256..280].fill(7);
        let (literals, distances) = (codes(&lengths), codes(&[5; DISTANCES]));
        Codes { literals: std::array::from_fn(|symbol| literals[symbol]), distances }
    }
}

impl Block {
    pub fn new() -> Self {
        Block {
            tokens: Box::new([0; CAPACITY]),
            len: 0,
            literals: [0; LITERALS],
            distances: [0; DISTANCES],
            bytes: 0,
            extra_bits: 0,
        }
    }

    pub fn is_full(&self) -> bool {
        self.len == CAPACITY
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of text.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    #[inline]
    pub fn literal(&mut self, byte: u8) {
        self.tokens[self.len % CAPACITY] = u32::from(byte) << 16;
        self.len += 1;
        self.literals[usize::from(byte)] += 1;
        self.bytes += 1;
    }

    #[inline]
    pub fn copy(&mut self, len: usize, distance: usize) {
        self.tokens[self.len % CAPACITY] = (len as u32) << 16 | distance as u32;
        self.len += 1;
        let (length, far) = (length_symbol(len), distance_symbol(distance));
        self.literals[length.symbol] += 1;
        self.distances[far.symbol] += 1;
        self.bytes += len;
        self.extra_bits += (length.extra_bits + far.extra_bits) as usize;
    }

    /// Writes the collected tokens, which stand for `text`, and begins a new block. It must be called when
    /// the block is full.
    pub fn write(&mut self, text: &[u8], bits: &mut Bits<'_>) {
        self.literals[END_OF_BLOCK] = 1;
        let stored = stored_bits(text.len());
        let fixed = self.fixed_bits();
        let dynamic = (fixed.min(stored) > NEVER_DYNAMIC).then(|| Dynamic::new(self));
        match dynamic.filter(|dynamic| dynamic.bits < fixed.min(stored)) {
            Some(dynamic) => {
                bits.reserve(dynamic.bits);
                bits.put(DYNAMIC, 3);
                dynamic.header.write(bits);
                self.write_tokens(&dynamic.codes(), bits);
            }
            None if fixed <= stored => {
                bits.reserve(fixed);
                bits.put(FIXED, 3);
                self.write_tokens(&Codes::fixed(), bits);
            }
            None => {
                bits.reserve(stored);
                write_stored(text, bits);
            }
        }
        self.clear();
    }

    fn clear(&mut self) {
        self.len = 0;
        self.literals = [0; LITERALS];
        self.distances = [0; DISTANCES];
        (self.bytes, self.extra_bits) = (0, 0);
    }

    fn fixed_bits(&self) -> usize {
        let longer: u32 = self.literals[144..256].iter().sum();
        let shorter: u32 = self.literals[256..280].iter().sum();
        let all: u32 = self.literals.iter().sum();
        let distances: u32 = self.distances.iter().sum();
        3 + (8 * all + longer - shorter + 5 * distances) as usize + self.extra_bits
    }

    fn write_tokens(&self, codes: &Codes, bits: &mut Bits<'_>) {
        for &token in &self.tokens[..self.len] {
            let (value, distance) = ((token >> 16) as usize, (token & 0xffff) as usize);
            if distance == 0 {
                bits.put_code(codes.literals[value & 0xff]);
                continue;
            }
            let (length, far) = (length_symbol(value), distance_symbol(distance));
            let code = codes.literals[length.symbol];
            let far_code = codes.distances[far.symbol];
            let len = u32::from(code.len);
            let length = (u64::from(code.bits) | u64::from(length.extra) << len, len + length.extra_bits);
            let len = u32::from(far_code.len);
            let far = (u64::from(far_code.bits) | u64::from(far.extra) << len, len + far.extra_bits);
            bits.put(length.0 | far.0 << length.1, length.1 + far.1);
        }
        bits.put_code(codes.literals[END_OF_BLOCK]);
    }
}

/// The codes that fit a block best, and what they cost.
struct Dynamic {
    literals: [u8; LITERALS],
    distances: [u8; DISTANCES],
    header: Header,
    /// The whole block.
    bits: usize,
}

/// The lengths of a block's codes, as they are written.
/// Symbols and their extra bits, with room for all there can be: each block has such a list.
type Runs = SmallVec<[(u8, u8); LITERALS + DISTANCES]>;

struct Header {
    used_literals: usize,
    used_distances: usize,
    runs: Runs,
    run_lengths: [u8; LENGTH_CODES],
    used_run_lengths: usize,
    bits: usize,
}

impl Dynamic {
    fn new(block: &Block) -> Self {
        let literals = code_lengths(&block.literals, MAX_BITS);
        let distances = code_lengths(&block.distances, MAX_BITS);
        let header = Header::new(&literals, &distances);
        let bits = 3
            + header.bits
            + cost(&block.literals, &literals)
            + cost(&block.distances, &distances)
            + block.extra_bits;
        Dynamic { literals, distances, header, bits }
    }

    fn codes(&self) -> Codes {
        Codes { literals: codes(&self.literals), distances: codes(&self.distances) }
    }
}

impl Header {
    fn new(literals: &[u8; LITERALS], distances: &[u8; DISTANCES]) -> Self {
        let used = |lengths: &[u8]| lengths.iter().rposition(|len| *len != 0).map_or(0, |last| last + 1);
        let (used_literals, used_distances) = (used(literals).max(257), used(distances).max(1));
        let mut lengths = [0; LITERALS + DISTANCES];
        lengths[..used_literals].copy_from_slice(&literals[..used_literals]);
        lengths[used_literals..][..used_distances].copy_from_slice(&distances[..used_distances]);
        let runs = runs(&lengths[..used_literals + used_distances]);
        let mut frequencies = [0; LENGTH_CODES];
        let mut extra_bits = 0;
        for &(symbol, _) in &runs {
            frequencies[usize::from(symbol)] += 1;
            extra_bits += extra_bits_of_run(symbol) as usize;
        }
        let run_lengths = code_lengths(&frequencies, MAX_LENGTH_CODE_BITS);
        let used_run_lengths = used(&LENGTH_CODE_ORDER.map(|symbol| run_lengths[usize::from(symbol)])).max(4);
        let bits = 14 + 3 * used_run_lengths + cost(&frequencies, &run_lengths) + extra_bits;
        Header { used_literals, used_distances, runs, run_lengths, used_run_lengths, bits }
    }

    fn write(&self, bits: &mut Bits<'_>) {
        bits.put((self.used_literals - 257) as u64, 5);
        bits.put((self.used_distances - 1) as u64, 5);
        bits.put((self.used_run_lengths - 4) as u64, 4);
        for symbol in &LENGTH_CODE_ORDER[..self.used_run_lengths] {
            bits.put(self.run_lengths[usize::from(*symbol)].into(), 3);
        }
        let codes = codes(&self.run_lengths);
        for &(symbol, extra) in &self.runs {
            let Code { bits: code, len } = codes[usize::from(symbol)];
            bits.put(u64::from(code) | u64::from(extra) << len, u32::from(len) + extra_bits_of_run(symbol));
        }
    }
}

fn cost(frequencies: &[u32], lengths: &[u8]) -> usize {
    frequencies.iter().zip(lengths).map(|(n, len)| n * u32::from(*len)).sum::<u32>() as usize
}

/// The most bits of a stored block.
fn stored_bits(len: usize) -> usize {
    8 * len + len.div_ceil(MAX_STORED) * (3 + 7 + 32)
}

fn write_stored(text: &[u8], bits: &mut Bits<'_>) {
    for part in text.chunks(MAX_STORED) {
        bits.put(STORED, 3);
        bits.pad();
        let len = part.len() as u64;
        bits.put(len | (!len & 0xffff) << 16, 32);
        bits.put_bytes(part);
    }
}

/// Code lengths in the alphabet of RFC 1951 §3.2.7: 16 repeats the last length, 17 and 18 stand for zeroes.
fn runs(lengths: &[u8]) -> Runs {
    let mut runs = Runs::new();
    for run in lengths.chunk_by(|a, b| a == b) {
        let (len, mut left) = (run[0], run.len());
        if len != 0 {
            runs.push((len, 0));
            left -= 1;
        }
        while left > 0 {
            let (n, symbol) = match (len, left) {
                (0, 11..) => (left.min(138), (18, left.min(138) - 11)),
                (0, 3..) => (left, (17, left - 3)),
                (_, 3..) => (left.min(6), (16, left.min(6) - 3)),
                _ => (1, (len, 0)),
            };
            runs.push((symbol.0, symbol.1 as u8));
            left -= n;
        }
    }
    runs
}

fn extra_bits_of_run(symbol: u8) -> u32 {
    match symbol {
        16 => 2,
        17 => 3,
        18 => 7,
        _ => 0,
    }
}

struct Symbol {
    symbol: usize,
    extra: u32,
    extra_bits: u32,
}

/// By length less 3: the symbol above 256, and how many extra bits it has.
const LENGTH_SYMBOLS: [(u8, u8); 256] = {
    let mut symbols = [(0, 0); 256];
    let mut n = 0_u32;
    while n < 255 {
        // RFC 1951 §3.2.5: four symbols for each power of two, and one of its own for the longest.
        let extra_bits = if n < 8 { 0 } else { n.ilog2() - 2 };
        symbols[n as usize] = (1 + (4 * extra_bits + (n >> extra_bits)) as u8, extra_bits as u8);
        n += 1;
    }
    symbols[255] = (29, 0);
    symbols
};

#[inline]
fn length_symbol(len: usize) -> Symbol {
    let (symbol, extra_bits) = LENGTH_SYMBOLS[len.wrapping_sub(3) & 0xff];
    let extra_bits = u32::from(extra_bits);
    Symbol {
        symbol: 256 + usize::from(symbol),
        extra: (len as u32 - 3) & ((1 << extra_bits) - 1),
        extra_bits,
    }
}

/// RFC 1951 §3.2.5: two symbols for each power of two.
fn distance_symbol(distance: usize) -> Symbol {
    let n = (distance as u32 - 1) & 0x7fff;
    if n < 4 {
        return Symbol { symbol: n as usize, extra: 0, extra_bits: 0 };
    }
    let extra_bits = n.ilog2() - 1;
    Symbol {
        symbol: 2 * extra_bits as usize + (n >> extra_bits) as usize,
        extra: n & ((1 << extra_bits) - 1),
        extra_bits,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 1951 §3.2.5, both tables: the first value of each symbol.
    const FIRST_LENGTHS: [usize; 29] = [
        3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163,
        195, 227, 258,
    ];
    const FIRST_DISTANCES: [usize; DISTANCES] = [
        1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049,
        3073, 4097, 6145, 8193, 12_289, 16_385, 24_577,
    ];

    #[test]
    fn symbols_are_those_of_the_rfc() {
        for len in 3..=258 {
            let index = FIRST_LENGTHS.iter().rposition(|first| *first <= len).unwrap();
            let Symbol { symbol, extra, extra_bits } = length_symbol(len);
            assert_eq!((symbol, extra as usize), (257 + index, len - FIRST_LENGTHS[index]), "{len}");
            assert!(extra < 1 << extra_bits);
        }
        for distance in 1..=32_768 {
            let index = FIRST_DISTANCES.iter().rposition(|first| *first <= distance).unwrap();
            let Symbol { symbol, extra, extra_bits } = distance_symbol(distance);
            assert_eq!((symbol, extra as usize), (index, distance - FIRST_DISTANCES[index]), "{distance}");
            assert!(extra < 1 << extra_bits);
        }
    }

    fn written(text: &[u8]) -> Vec<u8> {
        let (mut block, mut out) = (Block::new(), Vec::new());
        text.iter().for_each(|byte| block.literal(*byte));
        let mut bits = Bits::new(&mut out);
        block.write(text, &mut bits);
        bits.finish();
        out
    }

    fn inflated(deflated: &[u8]) -> Vec<u8> {
        miniz_oxide::inflate::decompress_to_vec(&[deflated, &[0, 0, 0xff, 0xff, 3, 0]].concat()).unwrap()
    }

    #[test]
    fn the_shortest_form_is_chosen() {
        let every_byte: Vec<u8> = (0..=255).collect();
        let cases: [(&[u8], u64); 3] = [(b"short", FIXED), (&[b'a'; 1000], DYNAMIC), (&every_byte, STORED)];
        for (text, form) in cases {
            let deflated = written(text);
            assert_eq!(u64::from(deflated[0] & 7), form, "{} bytes", text.len());
            assert!(inflated(&deflated) == text, "{} bytes", text.len());
        }
    }

    #[test]
    fn a_block_of_long_copies_may_be_stored_in_parts() {
        let mut out = Vec::new();
        let text = vec![7; 2 * MAX_STORED + 1];
        let mut bits = Bits::new(&mut out);
        bits.reserve(stored_bits(text.len()));
        write_stored(&text, &mut bits);
        bits.finish();
        assert!(inflated(&out) == text);
        assert!(out.len() * 8 <= stored_bits(text.len()) + 16);
    }

    #[test]
    fn runs_say_the_lengths() {
        let lengths: Vec<u8> =
            [(0, 1), (5, 1), (0, 2), (7, 8), (0, 10), (3, 3), (0, 11), (9, 20), (0, 150), (1, 2)]
                .into_iter()
                .flat_map(|(len, n)| std::iter::repeat_n(len, n))
                .collect();
        let mut said: Vec<u8> = Vec::new();
        for (symbol, extra) in runs(&lengths) {
            let (len, n) = match symbol {
                16 => (*said.last().unwrap(), 3 + extra),
                17 => (0, 3 + extra),
                18 => (0, 11 + extra),
                len => (len, 1),
            };
            assert!(extra_bits_of_run(symbol) == 0 || extra < 1 << extra_bits_of_run(symbol));
            said.extend(std::iter::repeat_n(len, n.into()));
        }
        assert_eq!(said, lengths);
    }
}
