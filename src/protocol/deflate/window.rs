//! The last bytes of a stream, as many as a distance can refer back to.

pub struct Window {
    pub bits: u8,
    pub bytes: Vec<u8>,
}

impl Window {
    pub fn new(bits: u8) -> Self {
        Self { bits, bytes: Vec::new() }
    }

    pub fn push(&mut self, data: &[u8]) {
        let size = 1 << self.bits;
        let data = &data[data.len().saturating_sub(size)..];
        let surplus = (self.bytes.len() + data.len()).saturating_sub(size);
        self.bytes.drain(..surplus);
        let wanted = self.bytes.len() + data.len();
        if wanted > self.bytes.capacity() {
            let capacity = wanted.next_power_of_two().min(size);
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        self.bytes.extend_from_slice(data);
    }
}
