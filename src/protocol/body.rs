//! Request bodies: from the bytes after a head to body data (RFC 9112, 6 and 7.1).
//!
//! Knows where a body ends, nothing of who reads it or how much of it is kept.

use super::http_error::HttpError;
use super::request::{Framing, hex_digit};

/// Bytes of chunk extensions in one body; they carry nothing, so more of them is an attack.
pub const MAX_EXTENSION_BYTES: u32 = 16 * 1024;
/// Bytes of trailer fields after the last chunk; they are checked and discarded.
pub const MAX_TRAILER_BYTES: u32 = 16 * 1024;
/// Hexadecimal digits of a chunk size: 64 bits, leading zeros included.
const MAX_SIZE_DIGITS: u8 = 16;

/// A body being received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyDecoder {
    Done,
    /// That many bytes are still to come, at least one.
    Length(u64),
    Chunked(Chunked),
}

/// What `decode` made of its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// Body data, possibly none.
    pub data: &'a [u8],
    /// Bytes of input consumed, those of `data` included.
    pub used: usize,
    /// The body is complete; what follows in the input is the next request.
    pub done: bool,
}

impl BodyDecoder {
    pub fn new(framing: Framing) -> Self {
        match framing {
            Framing::None | Framing::Length(0) => BodyDecoder::Done,
            Framing::Length(length) => BodyDecoder::Length(length),
            Framing::Chunked => BodyDecoder::Chunked(Chunked::default()),
        }
    }

    /// Consumes input and yields at most one slice of data. To be called again with the rest of the input while it
    /// used any and the body is not done. Any cut of the input gives the same data.
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

/// The front of `input`, at most `remaining` bytes, which are then no longer remaining.
fn take<'a>(input: &'a [u8], remaining: &mut u64) -> &'a [u8] {
    let length = usize::try_from(*remaining).unwrap_or(usize::MAX).min(input.len());
    *remaining -= length as u64;
    &input[..length]
}

/// The machine behind a chunked body: a state per class of octet.
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
        Some(digit) if digits < MAX_SIZE_DIGITS => {
            Ok(ChunkState::Size { size: size << 4 | u64::from(digit), digits: digits + 1 })
        }
        Some(_) => Err(HttpError::BadRequest("chunk size too large")),
        None => Err(HttpError::BadRequest("malformed chunk size")),
    }
}

/// RFC 9110, 5.6.2.
pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// RFC 9110, 5.5: visible, space, tab or not ASCII.
fn is_field_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}
