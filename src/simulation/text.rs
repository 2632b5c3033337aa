//! Bytes that say where they belong: whose they are, in which message, and where in it.

/// Bytes of one line: whose it is, the number of the text, the line in its page (of the first line of a page:
/// in the text), then letters.
const LINE: usize = 64;
const LINES: usize = 16;
const PAGE: usize = LINE * LINES;

/// The owner of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// From the peer with this number.
    Peer(usize),
    /// From the server to that peer.
    Server(usize),
    /// Published.
    Topic(usize),
}

/// The text with this number of an owner.
pub fn text(owner: Owner, number: usize, len: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(len + LINE);
    append(&mut text, owner, number, len);
    text
}

fn append(out: &mut Vec<u8>, owner: Owner, number: usize, len: usize) {
    let (kind, owner) = match owner {
        Owner::Peer(peer) => (b'p', peer),
        Owner::Server(peer) => (b's', peer),
        Owner::Topic(topic) => (b't', topic),
    };
    let mut line = *b"p00000.00000.0000 the quick brown fox jumps over the lazy dog. \n";
    line[0] = kind;
    hex(&mut line[1..6], owner);
    hex(&mut line[7..12], number);
    let start = out.len();
    for at in 0..LINES.min(len.div_ceil(LINE)) {
        hex(&mut line[13..17], at);
        out.extend_from_slice(&line);
    }
    out.truncate(start + len);
    // The pages behind the first one are copies of it, each with its number in its first line.
    while out.len() < start + len {
        let at = out.len() - start;
        out.extend_from_within(start..start + PAGE.min(len - at));
        let number = start + at + 13;
        if let Some(place) = out.get_mut(number..number + 4) {
            hex(place, at / LINE);
        }
    }
}

fn hex(into: &mut [u8], number: usize) {
    let (mut at, mut number) = (into.len(), number);
    while at > 0 {
        at -= 1;
        into[at] = b"0123456789abcdef"[number & 15];
        number >>= 4;
    }
}

/// The beginning of bytes, for people.
pub fn shown(bytes: &[u8]) -> String {
    let begin = String::from_utf8_lossy(&bytes[..bytes.len().min(48)]).into_owned();
    format!("{} bytes {begin:?}", bytes.len())
}

/// Panics unless `found` is `expected`.
pub fn compare(whose: impl FnOnce() -> String, found: &[u8], expected: &[u8]) {
    if found == expected {
        return;
    }
    let at = found.iter().zip(expected).position(|(a, b)| a != b).unwrap_or(found.len().min(expected.len()));
    let (found, expected) = (&found[at.min(found.len())..], &expected[at.min(expected.len())..]);
    panic!("{}: from byte {at} on {} instead of {}", whose(), shown(found), shown(expected));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_says_whose_it_is() {
        let of = |owner, number, len| String::from_utf8(text(owner, number, len)).expect("text");
        assert_eq!(of(Owner::Peer(0x12), 3, 17), "p00012.00003.0000");
        assert_eq!(&of(Owner::Server(1), 2, 100)[64..], "s00001.00002.0001 the quick brown fo");
        assert_eq!(of(Owner::Topic(1), 2, 0), "");
        let long = of(Owner::Topic(1), 2, 3 * PAGE + 20);
        assert_eq!(long.len(), 3 * PAGE + 20);
        assert_eq!(&long[3 * PAGE..], "t00001.00002.0030 th");
        assert_eq!(&long[PAGE + LINE..][..17], "t00001.00002.0001");
    }

    #[test]
    #[should_panic = "here: from byte 5 on 4 bytes \"2.00\" instead of 4 bytes \"1.00\""]
    fn the_first_difference_is_shown() {
        compare(|| "here".into(), &text(Owner::Peer(2), 0, 9), &text(Owner::Peer(1), 0, 9));
    }
}
