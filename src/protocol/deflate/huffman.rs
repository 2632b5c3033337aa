//! Prefix codes (RFC 1951 §3.2.2): lengths from frequencies, codes from lengths.

/// Bits of the longest code for literals, lengths and distances (RFC 1951 §3.2.7).
pub const MAX_BITS: usize = 15;
const MAX_SYMBOLS: usize = 288;
const SYMBOL_BITS: u32 = 9;
/// In a tree this deep the frequencies grow at least like the Fibonacci numbers: their sum is more than a
/// block has tokens.
const MAX_DEPTH: usize = 40;

/// A code in the form in which it is written: its first bit is the lowest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Code {
    pub bits: u16,
    pub len: u8,
}

/// The lengths of an optimal code for symbols of these frequencies, except that lengths are limited. Symbols
/// that never occur have no code. At least two symbols have one, since some decoders refuse an incomplete
/// code.
pub fn code_lengths<const N: usize>(frequencies: &[u32; N], max_bits: usize) -> [u8; N] {
    let mut sorted = [0_u32; MAX_SYMBOLS];
    let mut used = 0;
    for (symbol, &frequency) in (0..).zip(frequencies) {
        sorted[used] = frequency << SYMBOL_BITS | symbol;
        used += usize::from(frequency != 0);
    }
    let mut lengths = [0; N];
    if used < 2 {
        let only = frequencies.iter().position(|frequency| *frequency != 0).unwrap_or(0);
        lengths[only] = 1;
        lengths[usize::from(only == 0)] = 1;
        return lengths;
    }
    let sorted = &mut sorted[..used];
    sorted.sort_unstable();
    let counts = lengths_of(sorted, max_bits);
    let mut rarest_first = sorted.iter().map(|key| (key & ((1 << SYMBOL_BITS) - 1)) as usize);
    for (len, &count) in counts.iter().enumerate().rev() {
        for symbol in rarest_first.by_ref().take(count) {
            lengths[symbol] = len as u8;
        }
    }
    lengths
}

/// The number of codes of each length. `sorted` has the frequencies, above the symbols.
fn lengths_of(sorted: &[u32], max_bits: usize) -> [usize; MAX_BITS + 1] {
    let (parents, root) = tree(sorted);
    let mut depths = [0_u8; MAX_SYMBOLS];
    // Inner nodes of each depth; both children of one are a level below it.
    let mut inner = [0_usize; MAX_DEPTH + 2];
    inner[0] = 1;
    for node in (0..root).rev() {
        let depth = (depths[usize::from(parents[node]) % MAX_SYMBOLS] + 1).min(MAX_DEPTH as u8);
        depths[node] = depth;
        inner[usize::from(depth)] += 1;
    }
    let mut counts = [0; MAX_BITS + 1];
    for depth in 1..inner.len() {
        counts[depth.min(max_bits)] += 2 * inner[depth - 1] - inner[depth];
    }
    shorten(&mut counts, max_bits);
    counts
}

/// Joins the two lightest nodes until one is left (Huffman); returns the parent of each inner node, and the
/// last node.
fn tree(sorted: &[u32]) -> ([u16; MAX_SYMBOLS], usize) {
    let mut weights = [0_u32; MAX_SYMBOLS];
    let mut parents = [0_u16; MAX_SYMBOLS];
    let (mut leaf, mut inner) = (0, 0);
    let last = sorted.len() - 2;
    for node in 0..=last {
        let mut weight = 0;
        for _ in 0..2 {
            let of_leaf = sorted.get(leaf).map_or(u32::MAX, |key| key >> SYMBOL_BITS);
            if inner < node && weights[inner] < of_leaf {
                weight += weights[inner];
                parents[inner] = node as u16;
                inner += 1;
            } else {
                weight += of_leaf;
                leaf += 1;
            }
        }
        weights[node] = weight;
    }
    (parents, last)
}

/// There are too many codes of length `max_bits`, since longer ones were cut to it: makes shorter codes
/// longer until all fit.
fn shorten(counts: &mut [usize; MAX_BITS + 1], max_bits: usize) {
    let room = 1 << max_bits;
    let mut taken: usize = (1..=max_bits).map(|len| counts[len] << (max_bits - len)).sum();
    while taken > room {
        // A code of length `len` becomes two codes of the next length; one of the longest codes takes the
        // second.
        let Some(len) = (1..max_bits).rev().find(|len| counts[*len] > 0) else { return };
        counts[len] -= 1;
        counts[len + 1] += 2;
        counts[max_bits] -= 1;
        taken -= 1;
    }
}

/// The codes that follow from their lengths (RFC 1951 §3.2.2).
pub fn codes<const N: usize>(lengths: &[u8; N]) -> [Code; N] {
    let mut counts = [0_u16; MAX_BITS + 1];
    for &len in lengths {
        counts[usize::from(len) % counts.len()] += 1;
    }
    counts[0] = 0;
    let mut next = [0_u16; MAX_BITS + 1];
    for len in 1..next.len() {
        next[len] = (next[len - 1] + counts[len - 1]) << 1;
    }
    lengths.map(|len| {
        let place = &mut next[usize::from(len) % (MAX_BITS + 1)];
        let bits = u32::from(place.reverse_bits()) << len >> 16;
        *place = place.wrapping_add(1);
        Code { bits: bits as u16, len }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;

    use super::*;

    /// Bits of all symbols with Huffman's code, from its definition.
    fn least_cost(frequencies: &[u32]) -> u32 {
        let mut heap: BinaryHeap<_> = frequencies.iter().filter(|f| **f != 0).map(|f| Reverse(*f)).collect();
        let mut cost = 0;
        while let (Some(Reverse(a)), Some(Reverse(b))) = (heap.pop(), heap.pop()) {
            cost += a + b;
            heap.push(Reverse(a + b));
        }
        cost
    }

    /// The number of codes of the longest length that these codes take the place of; a complete code takes
    /// that of all.
    fn used_of_complete(lengths: &[u8]) -> u32 {
        lengths.iter().filter(|len| **len != 0).map(|len| 1 << (MAX_BITS - usize::from(*len))).sum()
    }

    #[test]
    fn codes_are_those_of_the_rfc() {
        // RFC 1951 §3.2.2, the second example.
        let written = codes(&[3, 3, 3, 3, 3, 2, 4, 4]);
        let bits = written.map(|code| format!("{:0len$b}", code.bits, len = code.len.into()));
        let reversed = bits.map(|bits| bits.chars().rev().collect::<String>());
        assert_eq!(reversed, ["010", "011", "100", "101", "110", "00", "1110", "1111"]);
    }

    #[test]
    fn at_least_two_symbols_have_a_code() {
        assert_eq!(code_lengths(&[0, 0, 0], 15), [1, 1, 0]);
        assert_eq!(code_lengths(&[7, 0, 0], 15), [1, 1, 0]);
        assert_eq!(code_lengths(&[0, 0, 7], 15), [1, 0, 1]);
    }

    #[test]
    fn codes_too_long_are_shortened() {
        let mut fibonacci = [1_u32; 20];
        (2..20).for_each(|n| fibonacci[n] = fibonacci[n - 1] + fibonacci[n - 2]);
        assert_eq!(code_lengths(&fibonacci, 40_usize.min(MAX_BITS)).iter().max(), Some(&15));
        for max_bits in 5..=MAX_BITS {
            let lengths = code_lengths(&fibonacci, max_bits);
            assert_eq!(usize::from(*lengths.iter().max().unwrap()), max_bits);
            assert_eq!(used_of_complete(&lengths), 1 << MAX_BITS, "{max_bits}");
        }
    }

    proptest! {
        #[test]
        fn codes_are_complete_and_no_other_is_shorter(
            frequencies in proptest::array::uniform32(prop_oneof![Just(0_u32), 1_u32..40, 1_u32..5000]),
        ) {
            let lengths = code_lengths(&frequencies, MAX_BITS);
            prop_assert_eq!(used_of_complete(&lengths), 1 << MAX_BITS);
            if frequencies.iter().filter(|f| **f != 0).count() < 2 {
                return Ok(());
            }
            prop_assert!(frequencies.iter().zip(&lengths).all(|(f, len)| (*f == 0) == (*len == 0)));
            let cost: u32 = frequencies.iter().zip(&lengths).map(|(f, len)| f * u32::from(*len)).sum();
            // 32 symbols of such frequencies reach the limit only in rare cases.
            if usize::from(*lengths.iter().max().unwrap()) < MAX_BITS {
                prop_assert_eq!(cost, least_cost(&frequencies));
            }
        }
    }
}
