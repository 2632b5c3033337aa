//! The form of inputs that are a stream of bytes.

use arbitrary::Unstructured;

/// A stream, and behind it the numbers that say how it is read, the first one last. So recorded traffic is an
/// input as it is.
pub struct Input<'a> {
    bytes: &'a [u8],
}

impl<'a> Input<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Input { bytes }
    }

    /// The next number; 0 when there are no more.
    pub fn number(&mut self) -> usize {
        let Some((last, rest)) = self.bytes.split_last() else { return 0 };
        self.bytes = rest;
        usize::from(*last)
    }

    /// The lengths of the reads, of which the last gets what the others leave.
    pub fn pieces(&mut self) -> Vec<usize> {
        let count = self.number() % 32;
        (0..count).map(|_| self.number()).collect()
    }

    pub fn stream(self) -> &'a [u8] {
        self.bytes
    }
}

/// The places where reads of these lengths end; the last is the end of the stream.
pub fn ends(pieces: &[usize], length: usize) -> Vec<usize> {
    let mut end = 0;
    let mut ends: Vec<usize> = pieces
        .iter()
        .map(|piece| {
            end = length.min(end + piece);
            end
        })
        .collect();
    ends.push(length);
    ends
}

/// Steps of a script, as many as the input has bytes for.
pub fn steps<'a, T: arbitrary::Arbitrary<'a>>(input: &'a [u8], most: usize) -> impl Iterator<Item = T> {
    let mut input = Unstructured::new(input);
    std::iter::from_fn(move || (!input.is_empty()).then(|| input.arbitrary().ok()).flatten()).take(most)
}
