//! Memory that bytes are written into: always initialised, so that growing by a record does not clear it each time.

#[derive(Default)]
pub struct Buffer {
    bytes: Vec<u8>,
    len: usize,
}

impl Buffer {
    pub fn clear(&mut self) {
        self.len = 0;
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn filled(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// The memory itself, for someone who may take it away and put other memory of the same size in its place.
    pub fn memory(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// `len` bytes behind what is filled; `advance` says how many of them are, then.
    pub fn room(&mut self, len: usize) -> &mut [u8] {
        let end = self.len + len;
        if self.bytes.len() < end {
            // In sizes that `Blocks` has, too.
            self.bytes.resize(end.next_power_of_two(), 0);
        }
        &mut self.bytes[self.len..end]
    }

    pub fn advance(&mut self, len: usize) {
        debug_assert!(self.len + len <= self.bytes.len());
        self.len += len;
    }

    pub fn extend(&mut self, bytes: &[u8]) {
        self.room(bytes.len()).copy_from_slice(bytes);
        self.advance(bytes.len());
    }

    /// Empty, and of at most `limit` bytes from here on.
    pub fn recycle(mut self, limit: usize) -> Self {
        self.clear();
        if self.bytes.len() > limit {
            self.bytes.truncate(limit);
            self.bytes.shrink_to_fit();
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_advanced_over_stays_and_the_rest_is_written_again() {
        let mut buffer = Buffer::default();
        buffer.extend(b"one");
        buffer.room(10)[..3].copy_from_slice(b"two");
        buffer.advance(2);
        buffer.extend(b"!");
        assert_eq!(buffer.filled(), b"onetw!");
        buffer.memory()[0] = b'O';
        assert_eq!(buffer.filled(), b"Onetw!");
        assert_eq!(buffer.len(), 6);
        let buffer = buffer.recycle(4);
        assert!(buffer.is_empty() && buffer.bytes.len() == 4);
    }
}
