//! Entity tags of replies whose handler has given none.
#![forbid(unsafe_code)]

use aws_lc_rs::digest::{SHA256, digest};

/// Bytes of the hash that a tag has.
const LENGTH: usize = 16;

/// A strong tag (RFC 9110 §8.8.3): bodies that differ have different ones.
pub fn of(body: &[u8]) -> String {
    let hash = digest(&SHA256, body);
    let mut tag = String::with_capacity(2 * LENGTH + 2);
    tag.push('"');
    for byte in &hash.as_ref()[..LENGTH] {
        tag.extend([byte >> 4, byte & 15].map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)])));
    }
    tag.push('"');
    tag
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_the_first_half_of_a_hash() {
        assert_eq!(of(b""), "\"e3b0c44298fc1c149afbf4c8996fb924\"");
        assert_eq!(of(b"hello"), "\"2cf24dba5fb0a30e26e83b2ac5b9e29e\"");
    }
}
