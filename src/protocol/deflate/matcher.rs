//! Finds repetitions for deflate (RFC 1951 §4): for each position of a text, the longest earlier copy of the
//! bytes that follow.
//!
//! The matcher owns positions, not bytes. Positions count on from one text to the next, so those of earlier
//! texts lie before the beginning of this one and are skipped: nothing is cleared between messages, however
//! short they are. Whatever the tables hold, the matcher compares the bytes of the text itself before it
//! reports a match.

use super::MAX_WINDOW_BITS;

/// Shorter matches are not searched: their codes save next to nothing.
pub const MIN_MATCH: usize = 4;
/// RFC 1951 §3.2.5.
pub const MAX_MATCH: usize = 258;
/// A match of this length is good enough to end the search.
const NICE_MATCH: usize = 66;
/// A text up to this length is short.
const SHORT_TEXT: usize = 2048;
const MIN_HASH_BITS: u32 = 9;

/// A receiver of tokens.
pub trait Sink {
    fn literal(&mut self, byte: u8);
    fn copy(&mut self, len: usize, distance: usize);
}

pub struct Matcher {
    /// By hash of four bytes: the last position where they stood.
    heads: Box<[u32]>,
    /// By position, as a ring: the distance to the previous position with the same hash.
    links: Box<[u16]>,
    /// The position of the next text.
    end: u32,
}

/// The search through one text.
struct Search<'a> {
    heads: &'a mut [u32],
    links: &'a mut [u16],
    /// Position of the text's first byte.
    base: u32,
    hash_shift: u32,
    window: usize,
    effort: Effort,
    data: &'a [u8],
}

/// The effort of a search. A short text has few positions to try, and little to gain.
#[derive(Clone, Copy)]
struct Effort {
    /// The number of positions with the same hash that are tried.
    depth: usize,
    /// For a match shorter than this, the matcher also tries the one that begins a byte later.
    lazy: usize,
}

#[derive(Clone, Copy)]
struct Found {
    len: usize,
    distance: usize,
}

impl Matcher {
    /// A matcher for windows of up to this size. It takes six bytes for each byte of the window.
    pub fn new(window_bits: u8) -> Self {
        let size = 1 << window_bits.min(MAX_WINDOW_BITS);
        // Position 0 stands for "none".
        Matcher { heads: vec![0; size].into(), links: vec![0; size].into(), end: 1 }
    }

    /// Turns `data[from..]` into tokens whose matches reach back no further than the window; matches may
    /// refer to the bytes before `from`.
    pub fn tokens(&mut self, data: &[u8], from: usize, window_bits: u8, sink: &mut impl Sink) {
        // A small table for a small text: it stays in the fastest cache.
        let hash_bits = ((data.len() | 1).ilog2() + 2).max(MIN_HASH_BITS).min(self.heads.len().ilog2());
        let mut search = self.search(data, self.end, window_bits, hash_bits);
        search.enter_all(from.saturating_sub(search.window), from);
        search.run(from, sink);
        self.end = self.end.wrapping_add(data.len() as u32);
    }

    /// Like `tokens`, where `data[..from]` is the end of the data that this matcher got before.
    pub fn more_tokens(&mut self, data: &[u8], from: usize, window_bits: u8, sink: &mut impl Sink) {
        let base = self.end.wrapping_sub(from as u32);
        let mut search = self.search(data, base, window_bits, self.heads.len().ilog2());
        // Enter the last positions, whose hashes were not known before.
        search.enter_all(from.saturating_sub(MIN_MATCH - 1), from);
        search.run(from, sink);
        self.end = base.wrapping_add(data.len() as u32);
    }

    /// Bytes of the tables.
    #[cfg(test)]
    pub fn held(&self) -> usize {
        size_of_val(&*self.heads) + size_of_val(&*self.links)
    }

    fn search<'a>(&'a mut self, data: &'a [u8], base: u32, window_bits: u8, hash_bits: u32) -> Search<'a> {
        let effort = match data.len() {
            ..=SHORT_TEXT => Effort { depth: 4, lazy: 0 },
            _ => Effort { depth: 16, lazy: 32 },
        };
        Search {
            heads: &mut self.heads,
            window: self.links.len().min(1 << window_bits),
            links: &mut self.links,
            base,
            hash_shift: 32 - hash_bits,
            effort,
            data,
        }
    }
}

impl Search<'_> {
    fn run(&mut self, from: usize, sink: &mut impl Sink) {
        let mut at = from;
        while let Some(bytes) = load(self.data, at) {
            let distance = self.enter(at, bytes);
            let Some(mut found) = self.longest(at, distance, MIN_MATCH - 1, self.effort.depth) else {
                sink.literal(bytes as u8);
                at += 1;
                continue;
            };
            let mut entered = at + 1;
            // A longer one may start at the next byte.
            while found.len < self.effort.lazy
                && let Some(bytes) = load(self.data, at + 1)
            {
                let distance = self.enter(at + 1, bytes);
                entered = at + 2;
                let Some(better) = self.longest(at + 1, distance, found.len, self.effort.depth / 2) else {
                    break;
                };
                sink.literal(self.data[at]);
                at += 1;
                found = better;
            }
            sink.copy(found.len, found.distance);
            at += found.len;
            self.enter_all(entered, at);
        }
        self.data[at..].iter().for_each(|byte| sink.literal(*byte));
    }

    fn enter_all(&mut self, begin: usize, end: usize) {
        let text = &self.data[begin..self.data.len().min(end + MIN_MATCH - 1)];
        for (at, bytes) in (begin..).zip(text.windows(MIN_MATCH)) {
            self.enter(at, u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
        }
    }

    /// Enters a position; returns the distance to the last one with the same hash.
    #[inline]
    fn enter(&mut self, at: usize, bytes: u32) -> u32 {
        let position = self.base.wrapping_add(at as u32);
        let Some(head) = self.heads.get_mut((bytes.wrapping_mul(0x9e37_79b1) >> self.hash_shift) as usize)
        else {
            return u32::MAX;
        };
        let distance = position.wrapping_sub(*head);
        *head = position;
        self.links[position as usize & (self.links.len() - 1)] = distance.min(u16::MAX.into()) as u16;
        distance
    }

    /// The longest match that is longer than `beat`; the search begins at `distance`.
    #[inline(always)]
    fn longest(&self, at: usize, distance: u32, beat: usize, depth: usize) -> Option<Found> {
        let limit = at.min(self.window);
        let max = MAX_MATCH.min(self.data.len() - at);
        // A distance of 0 is that of a position four billion bytes ago.
        if distance == 0 || distance as usize > limit || max <= beat {
            return None;
        }
        self.longest_in_chain(at, distance as usize, beat, depth)
    }

    #[inline(never)]
    fn longest_in_chain(&self, at: usize, mut distance: usize, beat: usize, depth: usize) -> Option<Found> {
        let limit = at.min(self.window);
        let data = &self.data[..self.data.len().min(at + MAX_MATCH)];
        let here = &data[at..];
        let (mut best, mut best_len) = (None, beat);
        let mut end = load(here, best_len - 3);
        for _ in 0..depth {
            let candidate = at - distance;
            // Most candidates differ in the bytes that would make them longer, so compare these first.
            if load(data, candidate + best_len - 3) == end {
                let len = common_prefix(&data[candidate..], here);
                if len > best_len {
                    (best, best_len) = (Some(Found { len, distance }), len);
                    if len >= NICE_MATCH || len == here.len() {
                        break;
                    }
                    end = load(here, best_len - 3);
                }
            }
            let position = self.base.wrapping_add(candidate as u32);
            distance += usize::from(self.links[position as usize & (self.links.len() - 1)]);
            if distance > limit {
                break;
            }
        }
        best
    }
}

#[inline]
fn load(data: &[u8], at: usize) -> Option<u32> {
    data.get(at..at + 4).map(|bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

/// `b` is the shorter.
#[inline]
fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let mut len = 0;
    for (x, y) in a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0) {
        let differ = u64::from_le_bytes(*x) ^ u64::from_le_bytes(*y);
        if differ != 0 {
            return len + differ.trailing_zeros() as usize / 8;
        }
        len += 8;
    }
    len + a[len..].iter().zip(&b[len..]).take_while(|(x, y)| x == y).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The text that the tokens make, behind the text before them.
    struct Text {
        bytes: Vec<u8>,
        window: usize,
        copies: usize,
    }

    impl Sink for Text {
        fn literal(&mut self, byte: u8) {
            self.bytes.push(byte);
        }

        fn copy(&mut self, len: usize, distance: usize) {
            assert!((MIN_MATCH..=MAX_MATCH).contains(&len) && (1..=self.window).contains(&distance));
            (0..len).for_each(|_| self.bytes.push(self.bytes[self.bytes.len() - distance]));
            self.copies += 1;
        }
    }

    fn replay(matcher: &mut Matcher, before: &[u8], text: &[u8], window_bits: u8) -> usize {
        let mut said = Text { bytes: before.to_vec(), window: 1 << window_bits, copies: 0 };
        let data = [before, text].concat();
        matcher.tokens(&data, before.len(), window_bits, &mut said);
        assert!(said.bytes == data);
        said.copies
    }

    #[test]
    fn repetitions_are_found() {
        let mut matcher = Matcher::new(15);
        assert_eq!(replay(&mut matcher, b"", b"abcdefg", 15), 0);
        assert_eq!(replay(&mut matcher, b"", b"abcdefg", 15), 0, "what another message said");
        assert_eq!(replay(&mut matcher, b"abcdefg", b"abcdefg", 15), 1);
        assert_eq!(replay(&mut matcher, b"", b"aaaaaaaaaaaaaaaa", 15), 1, "overlapping itself");
        assert_eq!(
            replay(&mut matcher, &[&b"abcdefg"[..], &[0; 600]].concat(), b"abcdefg", 9),
            0,
            "too far away"
        );
    }

    #[test]
    fn the_end_of_a_message_is_found_from_the_next() {
        let mut matcher = Matcher::new(13);
        let data = b"ab cd ef gh ij kl!h ij kl!";
        let mut said = Text { bytes: Vec::new(), window: 1 << 13, copies: 0 };
        matcher.more_tokens(&data[..18], 0, 13, &mut said);
        matcher.more_tokens(data, 18, 13, &mut said);
        assert_eq!((&said.bytes[..], said.copies), (&data[..], 1));
    }

    #[test]
    fn positions_may_wrap() {
        let mut matcher = Matcher::new(15);
        matcher.end = u32::MAX - 20;
        for _ in 0..10 {
            assert_eq!(replay(&mut matcher, b"abcdefg", b"hijkabcdefg", 15), 1);
        }
    }

    #[test]
    fn positions_that_come_round_are_not_taken_for_matches() {
        let mut matcher = Matcher::new(15);
        for _ in 0..3 {
            let begin = matcher.end;
            replay(&mut matcher, b"", b"abcdefgabcdefg", 15);
            matcher.end = begin;
        }
    }

    proptest! {
        #[test]
        fn tokens_say_the_text(
            texts in proptest::collection::vec((0_usize..300, "[a-c]{0,600}", 9_u8..=15), 1..8),
        ) {
            let mut matcher = Matcher::new(15);
            for (from, text, window_bits) in texts {
                let from = from.min(text.len());
                replay(&mut matcher, &text.as_bytes()[..from], &text.as_bytes()[from..], window_bits);
            }
        }
    }
}
