//! Bodies of requests: a naive decoder finds the same data and the same end, however the reads end.

use crate::input::{Input, ends};
use uws_rs::protocol::http::body::{BodyDecoder, Decoded, MAX_EXTENSION_BYTES, MAX_TRAILER_BYTES};
use uws_rs::protocol::http::error::HttpError;
use uws_rs::protocol::http::request::Framing;
use uws_rs::protocol::http::response::{write_chunk, write_last_chunk};

/// Hexadecimal digits of a chunk size, leading zeros included.
const MAX_SIZE_DIGITS: usize = 128;

/// The data, and how many bytes belonged to the body; `None`: it is not complete.
type Outcome = Result<(Vec<u8>, Option<usize>), HttpError>;

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.number();
    let pieces = input.pieces();
    let stream = input.stream();
    let framing = match kind {
        0..=199 => Framing::Chunked,
        200 => Framing::None,
        201 => Framing::Length(u64::MAX),
        _ => Framing::Length(kind as u64 - 202),
    };
    let whole = decoded(framing, stream, &[stream.len()]);
    assert_eq!(decoded(framing, stream, &ends(&pieces, stream.len())), whole);
    assert_eq!(decoded_in_place(framing, stream, &ends(&pieces, stream.len())), whole);
    match (whole, naive(framing, stream)) {
        (Ok(ours), Some(naive)) => assert_eq!(ours, naive),
        (Err(_), None) => {}
        (ours, naive) => panic!("{ours:?}, the naive decoder: {naive:?}"),
    }
    encode_and_decode(stream, &pieces);
}

fn decoded(framing: Framing, stream: &[u8], ends: &[usize]) -> Outcome {
    let mut decoder = BodyDecoder::new(framing);
    let (mut data, mut consumed) = (Vec::new(), 0);
    for &end in ends {
        while !decoder.is_done() {
            let remaining = decoder.remaining();
            let decoded = decoder.decode(&stream[consumed..end])?;
            assert!(decoded.data.len() <= decoded.used);
            assert_eq!(decoded.done, decoder.is_done());
            if let Some(remaining) = remaining {
                assert_eq!(decoder.remaining(), Some(remaining - decoded.data.len() as u64));
            }
            data.extend_from_slice(decoded.data);
            consumed += decoded.used;
            if decoded.used == 0 {
                break;
            }
        }
        if decoder.is_done() {
            let idle = Decoded { data: &[], used: 0, done: true };
            assert_eq!(decoder.decode(&stream[consumed..]), Ok(idle));
            return Ok((data, Some(consumed)));
        }
        assert_eq!(consumed, end, "input was left over though more is to come");
    }
    Ok((data, None))
}

fn decoded_in_place(framing: Framing, stream: &[u8], ends: &[usize]) -> Outcome {
    let mut decoder = BodyDecoder::new(framing);
    let (mut data, mut consumed) = (Vec::new(), 0);
    for &end in ends {
        let mut piece = stream[consumed..end].to_vec();
        let place = decoder.decode_in_place(&mut piece)?;
        assert!(place.data.end <= place.used);
        assert_eq!(piece[place.used..], stream[consumed + place.used..end]);
        data.extend_from_slice(&piece[place.data]);
        consumed += place.used;
        if decoder.is_done() {
            return Ok((data, Some(consumed)));
        }
    }
    Ok((data, None))
}

/// `None`: malformed.
fn naive(framing: Framing, stream: &[u8]) -> Option<(Vec<u8>, Option<usize>)> {
    match framing {
        Framing::None => Some((Vec::new(), Some(0))),
        Framing::Length(length) => {
            let here = usize::try_from(length).unwrap_or(usize::MAX).min(stream.len());
            Some((stream[..here].to_vec(), (here as u64 == length).then_some(here)))
        }
        Framing::Chunked => {
            let mut cursor = Cursor { stream, at: 0, data: Vec::new() };
            match cursor.body() {
                Ok(()) => Some((cursor.data, Some(cursor.at))),
                Err(Stop::Incomplete) => Some((cursor.data, None)),
                Err(Stop::Malformed) => None,
            }
        }
    }
}

enum Stop {
    Incomplete,
    Malformed,
}

/// Reads a chunked body from front to back (RFC 9112 §7.1).
struct Cursor<'a> {
    stream: &'a [u8],
    at: usize,
    data: Vec<u8>,
}

impl Cursor<'_> {
    fn next(&mut self) -> Result<u8, Stop> {
        let byte = *self.stream.get(self.at).ok_or(Stop::Incomplete)?;
        self.at += 1;
        Ok(byte)
    }

    fn expect(&mut self, byte: u8) -> Result<(), Stop> {
        if self.next()? == byte { Ok(()) } else { Err(Stop::Malformed) }
    }

    fn body(&mut self) -> Result<(), Stop> {
        let mut extensions = 0;
        loop {
            let size = self.size_line(&mut extensions)?;
            if size == 0 {
                return self.trailers();
            }
            for _ in 0..size {
                let byte = self.next()?;
                self.data.push(byte);
            }
            self.expect(b'\r')?;
            self.expect(b'\n')?;
        }
    }

    fn size_line(&mut self, extensions: &mut u32) -> Result<u64, Stop> {
        let mut digits = String::new();
        let mut byte = self.next()?;
        while byte.is_ascii_hexdigit() {
            digits.push(char::from(byte));
            let is_too_large = digits.trim_start_matches('0').len() > 16;
            if digits.len() > MAX_SIZE_DIGITS || is_too_large {
                return Err(Stop::Malformed);
            }
            byte = self.next()?;
        }
        let size = u64::from_str_radix(&digits, 16).map_err(|_| Stop::Malformed)?;
        let mut in_extension = false;
        while byte != b'\r' || (!in_extension && self.stream[self.at - 2].is_ascii_whitespace()) {
            in_extension |= byte == b';';
            let sound = if in_extension { is_field_byte(byte) } else { matches!(byte, b' ' | b'\t') };
            *extensions += 1;
            if !sound || *extensions > MAX_EXTENSION_BYTES {
                return Err(Stop::Malformed);
            }
            byte = self.next()?;
        }
        self.expect(b'\n')?;
        Ok(size)
    }

    fn trailers(&mut self) -> Result<(), Stop> {
        let mut length = 0;
        let mut count = |more| {
            length += more;
            if length > MAX_TRAILER_BYTES { Err(Stop::Malformed) } else { Ok(()) }
        };
        loop {
            let mut byte = self.next()?;
            if byte == b'\r' {
                return self.expect(b'\n');
            }
            let start = self.at;
            while byte != b':' || self.at == start {
                if !(byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)) {
                    return Err(Stop::Malformed);
                }
                count(1)?;
                byte = self.next()?;
            }
            while byte != b'\r' {
                if !is_field_byte(byte) {
                    return Err(Stop::Malformed);
                }
                count(1)?;
                byte = self.next()?;
            }
            self.expect(b'\n')?;
            count(1)?;
        }
    }
}

fn is_field_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// The chunks that responses are made of are read back.
fn encode_and_decode(stream: &[u8], pieces: &[usize]) {
    let (mut body, mut start) = (Vec::new(), 0);
    for end in ends(pieces, stream.len()) {
        write_chunk(&mut body, &stream[start..end]);
        start = end;
    }
    write_last_chunk(&mut body);
    let outcome = decoded(Framing::Chunked, &body, &[body.len()]);
    assert_eq!(outcome, Ok((stream.to_vec(), Some(body.len()))));
}
