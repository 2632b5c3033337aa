//! Contents of messages: a stamp of hexadecimal digits, then a fixed filler, so that a reply can be compared
//! byte for byte with the message that must come next on its connection. No message needs an allocation.

use crate::{Failure, Result};

/// Digits of a full stamp; a shorter payload carries its last digits.
pub const STAMP: usize = 16;

/// Period of [`pattern`]: a prime, so that lost or doubled blocks of a round size do not go unseen.
pub const PATTERN_PERIOD: usize = 251;

/// One payload that is stamped again for every message.
pub struct Payload {
    bytes: Vec<u8>,
}

impl Payload {
    pub fn new(size: usize, text: bool) -> Self {
        // Letters and signs that JSON does not escape.
        let filler = |i: usize| if text { b'#' + (i % 57) as u8 } else { (i * 7 % PATTERN_PERIOD) as u8 };
        Payload { bytes: (0..size).map(filler).collect() }
    }

    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The payload with this stamp.
    pub fn stamped(&mut self, stamp: u64) -> &[u8] {
        let digits = self.bytes.len().min(STAMP);
        let mut rest = stamp;
        for byte in self.bytes[..digits].iter_mut().rev() {
            *byte = b"0123456789abcdef"[(rest & 15) as usize];
            rest >>= 4;
        }
        &self.bytes
    }

    /// Whether everything after the stamp is as sent.
    pub fn filler_matches(&self, received: &[u8]) -> bool {
        received.len() == self.bytes.len() && received[STAMP..] == self.bytes[STAMP..]
    }
}

pub fn parse_stamp(received: &[u8]) -> Result<u64> {
    let digits = received.get(..STAMP).ok_or_else(|| unstamped(received))?;
    digits.iter().try_fold(0, |stamp, &digit| match (digit as char).to_digit(16) {
        Some(value) => Ok(stamp << 4 | u64::from(value)),
        None => Err(unstamped(received)),
    })
}

fn unstamped(received: &[u8]) -> Failure {
    Failure::Server(format!("message without a stamp: {}", excerpt(received)))
}

/// The start of some bytes, printable.
pub fn excerpt(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(80)];
    format!("{} bytes \"{}\"", bytes.len(), shown.escape_ascii())
}

/// A block of the pattern of large bodies: byte `i` is `i % 251`. The bytes at any offset are a slice that
/// starts at `offset % 251`, if they are at most `length` bytes.
pub fn pattern(length: usize) -> Vec<u8> {
    (0..length + PATTERN_PERIOD).map(|i| (i % PATTERN_PERIOD) as u8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_comes_back() {
        let mut payload = Payload::new(20, true);
        let sent = payload.stamped(0x12_0000_beef).to_vec();
        assert_eq!(&sent[..STAMP], b"000000120000beef");
        assert_eq!(parse_stamp(&sent).unwrap(), 0x12_0000_beef);
        assert!(payload.filler_matches(&sent));
        assert!(!payload.filler_matches(&sent[..19]));
        assert!(parse_stamp(b"no stamp at all!").is_err());
        assert!(parse_stamp(b"0123").is_err());
    }

    #[test]
    fn short_payloads_carry_the_last_digits() {
        assert_eq!(Payload::new(2, true).stamped(0xabc), b"bc");
        assert_eq!(Payload::new(0, true).stamped(0xabc), b"");
    }

    #[test]
    fn text_payloads_are_ascii() {
        assert!(Payload::new(1024, true).stamped(7).iter().all(|byte| (b' '..=b'~').contains(byte)));
        assert!(!Payload::new(1024, false).stamped(7).is_ascii());
    }

    #[test]
    fn a_wrong_filler_is_seen() {
        let mut payload = Payload::new(64, false);
        let mut sent = payload.stamped(1).to_vec();
        sent[63] ^= 1;
        assert!(!payload.filler_matches(&sent));
    }

    #[test]
    fn the_pattern_starts_anywhere() {
        let block = pattern(1000);
        assert_eq!(block[500 % PATTERN_PERIOD..][0], (500 % PATTERN_PERIOD) as u8);
        assert!(block.len() >= 1000 + 500 % PATTERN_PERIOD);
    }
}
