//! Request bodies: decodes the bytes after a head to body data (RFC 9112 §6 and §7.1).
//!
//! The decoder knows where a body ends, but not who reads it or how much of it is kept.

use super::error::HttpError;
use super::request::{Framing, hex_digit};
use std::ops::Range;

/// Bytes of chunk extensions in one body; they carry no information, so more of them is an attack.
pub const MAX_EXTENSION_BYTES: u32 = 16 * 1024;
/// Bytes of trailer fields after the last chunk; they are checked and discarded.
pub const MAX_TRAILER_BYTES: u32 = 16 * 1024;
/// Hexadecimal digits of a chunk size, leading zeros included. RFC 9112 §7.1 has no bound for these; the
/// value has to fit into 64 bits.
const MAX_SIZE_DIGITS: u8 = 128;

/// A body being received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyDecoder {
    Done,
    /// That many bytes are still to come, at least one.
    Length(u64),
    Chunked(Chunked),
}

/// The result of `decode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// Body data, possibly none.
    pub data: &'a [u8],
    /// Bytes of input consumed, those of `data` included.
    pub used: usize,
    /// The body is complete; the next request follows in the input.
    pub done: bool,
}

/// The result of `decode_in_place`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InPlace {
    /// Bytes of input consumed.
    pub used: usize,
    /// The place of the data in the input.
    pub data: Range<usize>,
}

impl BodyDecoder {
    pub fn new(framing: Framing) -> Self {
        match framing {
            Framing::None | Framing::Length(0) => BodyDecoder::Done,
            Framing::Length(length) => BodyDecoder::Length(length),
            Framing::Chunked => BodyDecoder::Chunked(Chunked::default()),
        }
    }

    /// Consumes input and yields at most one slice of data. The caller calls it again with the rest of the
    /// input, as long as it consumes some and the body is not complete. Any cut of the input gives the same
    /// data.
    pub fn decode<'a>(&mut self, input: &'a [u8]) -> Result<Decoded<'a>, HttpError> {
        match self {
            BodyDecoder::Done => Ok(Decoded { data: &[], used: 0, done: true }),
            BodyDecoder::Length(remaining) => {
                let data = take(input, remaining);
                let done = *remaining == 0;
                if done {
                    *self = BodyDecoder::Done;
                }
                Ok(Decoded { data, used: data.len(), done })
            }
            BodyDecoder::Chunked(chunked) => {
                let decoded = chunked.decode(input)?;
                if decoded.done {
                    *self = BodyDecoder::Done;
                }
                Ok(decoded)
            }
        }
    }

    /// Decodes as much of `bytes` as belongs to the body, and moves its data into one range.
    pub fn decode_in_place(&mut self, bytes: &mut [u8]) -> Result<InPlace, HttpError> {
        let mut all = InPlace { used: 0, data: 0..0 };
        while all.used < bytes.len() && !self.is_done() {
            let decoded = self.decode(&bytes[all.used..])?;
            let len = decoded.data.len();
            all.used += decoded.used;
            // The data is at the end of the consumed bytes.
            let from = all.used - len;
            if all.data.is_empty() {
                all.data = from..from + len;
            } else {
                bytes.copy_within(from..from + len, all.data.end);
                all.data.end += len;
            }
        }
        Ok(all)
    }

    /// Bytes of data still to come; unknown for a chunked body that is not done.
    pub fn remaining(&self) -> Option<u64> {
        match self {
            BodyDecoder::Done => Some(0),
            BodyDecoder::Length(remaining) => Some(*remaining),
            BodyDecoder::Chunked(_) => None,
        }
    }

    pub fn is_done(&self) -> bool {
        matches!(self, BodyDecoder::Done)
    }
}

/// The front of `input`, at most `remaining` bytes; subtracts their number from `remaining`.
fn take<'a>(input: &'a [u8], remaining: &mut u64) -> &'a [u8] {
    let length = usize::try_from(*remaining).unwrap_or(usize::MAX).min(input.len());
    *remaining -= length as u64;
    &input[..length]
}

/// The state machine of a chunked body, with a state for each class of octet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chunked {
    state: ChunkState,
    extension_bytes: u32,
    trailer_bytes: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChunkState {
    Size {
        size: u64,
        digits: u8,
    },
    /// White space, after which only an extension may come.
    SizeSpace {
        size: u64,
    },
    Extension {
        size: u64,
    },
    SizeLf {
        size: u64,
    },
    Data {
        remaining: u64,
    },
    DataCr,
    DataLf,
    /// A trailer field or the final empty line.
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    End,
}

impl Default for ChunkState {
    fn default() -> Self {
        ChunkState::Size { size: 0, digits: 0 }
    }
}

impl Chunked {
    fn decode<'a>(&mut self, input: &'a [u8]) -> Result<Decoded<'a>, HttpError> {
        for (at, &byte) in input.iter().enumerate() {
            if let ChunkState::Data { remaining } = &mut self.state {
                let data = take(&input[at..], remaining);
                if *remaining == 0 {
                    self.state = ChunkState::DataCr;
                }
                return Ok(Decoded { data, used: at + data.len(), done: false });
            }
            self.state = self.step(byte)?;
            if self.state == ChunkState::End {
                return Ok(Decoded { data: &[], used: at + 1, done: true });
            }
        }
        Ok(Decoded { data: &[], used: input.len(), done: false })
    }

    fn step(&mut self, byte: u8) -> Result<ChunkState, HttpError> {
        Ok(match (self.state, byte) {
            (ChunkState::Size { size, digits: 1.. }, b'\r') => ChunkState::SizeLf { size },
            (ChunkState::Size { size, digits: 1.. }, b';') => self.extension(size)?,
            (ChunkState::Size { size, digits: 1.. }, b' ' | b'\t') => self.size_space(size)?,
            (ChunkState::Size { size, digits }, _) => size_digit(size, digits, byte)?,
            (ChunkState::SizeSpace { size }, b' ' | b'\t') => self.size_space(size)?,
            (ChunkState::SizeSpace { size }, b';') => self.extension(size)?,
            (ChunkState::Extension { size }, b'\r') => ChunkState::SizeLf { size },
            (ChunkState::Extension { size }, _) if is_field_byte(byte) => self.extension(size)?,
            (ChunkState::SizeLf { size: 0 }, b'\n') => ChunkState::TrailerStart,
            (ChunkState::SizeLf { size }, b'\n') => ChunkState::Data { remaining: size },
            (ChunkState::DataCr, b'\r') => ChunkState::DataLf,
            (ChunkState::DataLf, b'\n') => ChunkState::default(),
            (ChunkState::TrailerStart, b'\r') => ChunkState::EndLf,
            (ChunkState::EndLf, b'\n') => ChunkState::End,
            (ChunkState::TrailerStart | ChunkState::TrailerName, _) if is_token_byte(byte) => {
                self.trailer(ChunkState::TrailerName)?
            }
            (ChunkState::TrailerName, b':') => self.trailer(ChunkState::TrailerValue)?,
            (ChunkState::TrailerValue, b'\r') => ChunkState::TrailerLf,
            (ChunkState::TrailerValue, _) if is_field_byte(byte) => self.trailer(ChunkState::TrailerValue)?,
            (ChunkState::TrailerLf, b'\n') => self.trailer(ChunkState::TrailerStart)?,
            _ => return Err(HttpError::BadRequest("malformed chunked body")),
        })
    }

    fn extension(&mut self, size: u64) -> Result<ChunkState, HttpError> {
        self.count_extension()?;
        Ok(ChunkState::Extension { size })
    }

    fn size_space(&mut self, size: u64) -> Result<ChunkState, HttpError> {
        self.count_extension()?;
        Ok(ChunkState::SizeSpace { size })
    }

    fn count_extension(&mut self) -> Result<(), HttpError> {
        self.extension_bytes += 1;
        if self.extension_bytes > MAX_EXTENSION_BYTES {
            return Err(HttpError::BadRequest("chunk extensions too large"));
        }
        Ok(())
    }

    fn trailer(&mut self, next: ChunkState) -> Result<ChunkState, HttpError> {
        self.trailer_bytes += 1;
        if self.trailer_bytes > MAX_TRAILER_BYTES {
            return Err(HttpError::HeaderFieldsTooLarge);
        }
        Ok(next)
    }
}

fn size_digit(size: u64, digits: u8, byte: u8) -> Result<ChunkState, HttpError> {
    match hex_digit(byte) {
        Some(digit) if digits < MAX_SIZE_DIGITS && size >> 60 == 0 => {
            Ok(ChunkState::Size { size: size << 4 | u64::from(digit), digits: digits + 1 })
        }
        Some(_) => Err(HttpError::BadRequest("chunk size too large")),
        None => Err(HttpError::BadRequest("malformed chunk size")),
    }
}

/// RFC 9110 §5.6.2.
pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// RFC 9110 §5.5: visible, space, tab or not ASCII.
fn is_field_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The data, and how many bytes belonged to the body; `None` while it is not done.
    type Outcome = Result<(Vec<u8>, Option<usize>), HttpError>;

    /// Decodes input that arrives in reads ending at the given places.
    fn feed(framing: Framing, bytes: &[u8], ends: impl Iterator<Item = usize>) -> Outcome {
        let mut decoder = BodyDecoder::new(framing);
        let (mut data, mut consumed) = (Vec::new(), 0);
        for end in ends {
            while !decoder.is_done() {
                let before = decoder.remaining();
                let decoded = decoder.decode(&bytes[consumed..end])?;
                assert!(decoded.data.len() <= decoded.used);
                assert_eq!(decoded.done, decoder.is_done());
                if let Some(before) = before {
                    assert_eq!(decoder.remaining(), Some(before - decoded.data.len() as u64));
                }
                data.extend_from_slice(decoded.data);
                consumed += decoded.used;
                if decoded.used == 0 {
                    break;
                }
            }
            if decoder.is_done() {
                let idle = Decoded { data: &[], used: 0, done: true };
                assert_eq!(decoder.decode(&bytes[consumed..]), Ok(idle));
                assert_eq!(decoder.remaining(), Some(0));
                return Ok((data, Some(consumed)));
            }
            assert_eq!(consumed, end, "input was left over though more is to come");
        }
        Ok((data, None))
    }

    fn decode_every_way(framing: Framing, bytes: &[u8]) -> Outcome {
        let whole = feed(framing, bytes, [bytes.len()].into_iter());
        assert_eq!(feed(framing, bytes, 1..=bytes.len()), whole, "byte by byte: {}", bytes.escape_ascii());
        for cut in 1..bytes.len() {
            let halves = feed(framing, bytes, [cut, bytes.len()].into_iter());
            assert_eq!(halves, whole, "cut at {cut}: {}", bytes.escape_ascii());
        }
        whole
    }

    #[test]
    fn bodies_of_fixed_length() {
        let table: &[(Framing, &[u8], &[u8], bool)] = &[
            (Framing::None, b"GET", b"", true),
            (Framing::Length(0), b"GET", b"", true),
            (Framing::Length(3), b"abcGET", b"abc", true),
            (Framing::Length(3), b"abc", b"abc", true),
            (Framing::Length(3), b"ab", b"ab", false),
            (Framing::Length(u64::MAX), b"abc", b"abc", false),
        ];
        for (framing, bytes, data, done) in table {
            let outcome = decode_every_way(*framing, bytes);
            assert_eq!(outcome, Ok((data.to_vec(), done.then_some(data.len()))), "{framing:?}");
        }
    }

    #[test]
    fn chunked_bodies() {
        let table: &[(&[u8], &[u8])] = &[
            (b"0\r\n\r\n", b""),
            (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
            (b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", b"hello world"),
            (b"a\r\n0123456789\r\nA\r\n0123456789\r\n000\r\n\r\n", b"01234567890123456789"),
            (b"0000000000000001\r\nx\r\n0\r\n\r\n", b"x"),
            (b"00000000000000000000001\r\nx\r\n00000000000000000000\r\n\r\n", b"x"),
            (b"4\r\n\r\n\r\n\r\n0\r\n\r\n", b"\r\n\r\n"),
            (b"1;a\r\nx\r\n0\r\n\r\n", b"x"),
            (b"1;a=b;c=\"d; e\"\r\nx\r\n0;last\r\n\r\n", b"x"),
            (b"1 \t;a = \xff\r\nx\r\n0\r\n\r\n", b"x"),
            (b"1;\r\nx\r\n0\r\n\r\n", b"x"),
            (b"1\r\nx\r\n0\r\nA: b\r\n\r\n", b"x"),
            (b"1\r\nx\r\n0\r\nA:\r\nB-c: \t\xc3\xa9 d\r\n\r\n", b"x"),
        ];
        for (bytes, data) in table {
            let outcome = Ok((data.to_vec(), Some(bytes.len())));
            assert_eq!(decode_every_way(Framing::Chunked, bytes), outcome, "{}", bytes.escape_ascii());
            let followed = [bytes, &b"GET / HTTP/1.1\r\n"[..]].concat();
            assert_eq!(decode_every_way(Framing::Chunked, &followed), outcome, "{}", bytes.escape_ascii());
            for end in 0..bytes.len() {
                let unfinished = decode_every_way(Framing::Chunked, &bytes[..end]).unwrap();
                assert_eq!(unfinished.1, None);
                assert!(data.starts_with(&unfinished.0));
            }
        }
    }

    #[test]
    fn malformed_chunked_bodies() {
        let table: &[&[u8]] = &[
            b"\r\n",
            b"\n",
            b";a\r\n",
            b" 5\r\nhello\r\n",
            b"5 \r\nhello\r\n",
            b"5 5\r\nhello\r\n",
            b"-5\r\nhello\r\n",
            b"+5\r\nhello\r\n",
            b"0x5\r\nhello\r\n",
            b"g\r\n",
            b"5_\r\n",
            b"5\nhello\r\n",
            b"5\rhello\r\n",
            b"5\r\r\nhello\r\n",
            b"5;a\nhello\r\n",
            b"5;a\rb\r\nhello\r\n",
            b"5;\0\r\nhello\r\n",
            b"5;\x7f\r\nhello\r\n",
            b"5\r\nhello0\r\n\r\n",
            b"5\r\nhello\n0\r\n\r\n",
            b"5\r\nhello\r0\r\n\r\n",
            b"5\r\nhello!\r\n0\r\n\r\n",
            b"5\r\nhello\r\n\r\n0\r\n\r\n",
            b"0\n\r\n",
            b"0\r\n\n",
            b"0\r\n\rx",
            b"0\r\nA\r\n\r\n",
            b"0\r\nA b: c\r\n\r\n",
            b"0\r\nA : c\r\n\r\n",
            b"0\r\n: c\r\n\r\n",
            b"0\r\nA: b\n\r\n",
            b"0\r\nA: b\rc\r\n\r\n",
            b"0\r\nA: b\0\r\n\r\n",
            b"0\r\nA: b\r\n c\r\n\r\n",
            b"10000000000000000\r\n",
            b"10000000000000005\r\nhello\r\n",
            b"000ffffffffffffffff0\r\nhello\r\n",
            b"ffffffffffffffffffffffff\r\n",
        ];
        for bytes in table {
            let outcome = decode_every_way(Framing::Chunked, bytes);
            let error = outcome.expect_err(&bytes.escape_ascii().to_string());
            assert_eq!(error.status(), 400);
        }
    }

    #[test]
    fn the_largest_chunk_size_is_no_overflow() {
        let mut decoder = BodyDecoder::new(Framing::Chunked);
        decoder.decode(b"ffffffffffffffff\r\n").unwrap();
        let decoded = decoder.decode(b"abc").unwrap();
        assert_eq!(decoded, Decoded { data: b"abc", used: 3, done: false });
    }

    #[test]
    fn leading_zeros_of_a_chunk_size_are_bounded() {
        let sized = |zeros: usize| format!("{}1\r\nx\r\n0\r\n\r\n", "0".repeat(zeros));
        let most = usize::from(MAX_SIZE_DIGITS) - 1;
        assert_eq!(one_piece(sized(most).as_bytes()), Ok((b"x".to_vec(), Some(sized(most).len()))));
        assert_eq!(one_piece(sized(most + 1).as_bytes()).unwrap_err().status(), 400);
    }

    fn one_piece(bytes: &[u8]) -> Outcome {
        feed(Framing::Chunked, bytes, [bytes.len()].into_iter())
    }

    #[test]
    fn extensions_are_bounded_over_the_whole_body() {
        // Each chunk counts its semicolon and what follows it up to the CR.
        let chunk = |length: usize| format!("1;{}\r\nx\r\n", "e".repeat(length - 1));
        let half = MAX_EXTENSION_BYTES as usize / 2;
        let within = chunk(half) + &chunk(half) + "0\r\n\r\n";
        assert_eq!(one_piece(within.as_bytes()), Ok((b"xx".to_vec(), Some(within.len()))));
        let beyond = chunk(half) + &chunk(half) + "0;\r\n\r\n";
        assert_eq!(one_piece(beyond.as_bytes()).unwrap_err().status(), 400);
        let spaces = format!("1{}", " ".repeat(MAX_EXTENSION_BYTES as usize + 1));
        assert_eq!(one_piece(spaces.as_bytes()).unwrap_err().status(), 400);
    }

    #[test]
    fn trailers_are_bounded() {
        // CRs are not counted: "A:" and the line feed make three bytes.
        let body = |length: usize| format!("0\r\nA:{}\r\n\r\n", "b".repeat(length - 3));
        let limit = MAX_TRAILER_BYTES as usize;
        assert_eq!(one_piece(body(limit).as_bytes()), Ok((vec![], Some(limit + 7 - 1))));
        assert_eq!(one_piece(body(limit + 1).as_bytes()), Err(HttpError::HeaderFieldsTooLarge));
        let many = format!("0\r\n{}", "A:\r\n".repeat(limit));
        assert_eq!(one_piece(many.as_bytes()), Err(HttpError::HeaderFieldsTooLarge));
    }

    /// A chunked body and its data.
    fn chunked_body() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
        let extension = prop::sample::select(vec!["", ";a", " ;a=\"b c\"", ";;"]);
        let chunk = (prop::collection::vec(any::<u8>(), 1..40), extension);
        let trailers = prop::sample::select(vec!["", "A: b\r\n", "A: b\r\nC:\r\n"]);
        (prop::collection::vec(chunk, 0..8), trailers).prop_map(|(chunks, trailers)| {
            let (mut body, mut data) = (Vec::new(), Vec::new());
            for (piece, extension) in &chunks {
                body.extend_from_slice(format!("{:x}{extension}\r\n", piece.len()).as_bytes());
                body.extend_from_slice(piece);
                body.extend_from_slice(b"\r\n");
                data.extend_from_slice(piece);
            }
            body.extend_from_slice(format!("0\r\n{trailers}\r\n").as_bytes());
            (body, data)
        })
    }

    /// Ends of reads, made from random places; the last is the end of the input.
    fn ends(cuts: &[prop::sample::Index], length: usize) -> impl Iterator<Item = usize> {
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(length + 1)).chain([length]).collect();
        ends.sort();
        ends.into_iter()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn any_cut_gives_the_same_data(
            (body, data) in chunked_body(),
            next in prop::collection::vec(any::<u8>(), 0..8),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let input = [&body[..], &next].concat();
            let outcome = feed(Framing::Chunked, &input, ends(&cuts, input.len()));
            prop_assert_eq!(outcome, Ok((data.clone(), Some(body.len()))));

            let input = [&data[..], &next].concat();
            let outcome = feed(Framing::Length(data.len() as u64), &input, ends(&cuts, input.len()));
            prop_assert_eq!(outcome, Ok((data.clone(), Some(data.len()))));
        }

        #[test]
        fn damage_is_seen_alike_however_it_is_cut(
            (mut body, _) in chunked_body(),
            at in any::<prop::sample::Index>(),
            byte in prop::sample::select(b"\r\n;: 0fg\0\xff".to_vec()),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let at = at.index(body.len());
            body[at] = byte;
            prop_assert_eq!(feed(Framing::Chunked, &body, ends(&cuts, body.len())), one_piece(&body));
        }

        #[test]
        fn chunks_of_a_response_are_read_back(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..6),
        ) {
            let mut body = Vec::new();
            for piece in &pieces {
                super::super::response::write_chunk(&mut body, piece);
            }
            super::super::response::write_last_chunk(&mut body);
            prop_assert_eq!(one_piece(&body), Ok((pieces.concat(), Some(body.len()))));
        }
    }
}
