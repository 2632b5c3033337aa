//! From frames to messages (RFC 6455 §5.4, §8.1): fragments, control frames between them, UTF-8, size limits.
//!
//! `Receiver` holds what must survive between two reads of one connection. It does not inflate: a compressed message
//! comes out as it arrived. The event loop feeds it and acts on the events.

use super::frame::{Control, Data, FrameHeader, OpCode, WsError, parse_close_payload, parse_header, unmask};

/// First allocation for a payload that arrives in pieces, unless less is declared. From there on it doubles, so that
/// the memory held is in proportion to what was received and not to what was announced.
const FIRST_RESERVATION: usize = 4 * 1024;

/// Receiving side of one WebSocket. Idle, it holds no memory but itself.
#[derive(Debug)]
pub struct Receiver {
    max_payload: usize,
    compression: bool,
    partial: Option<Box<Partial>>,
}

/// Whole messages and control frames, in the order of arrival.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// `compressed`: still to be inflated and, for text, then checked to be UTF-8.
    Message {
        binary: bool,
        compressed: bool,
        data: Payload<'a>,
    },
    Ping(&'a [u8]),
    Pong(&'a [u8]),
    /// Nothing after it may be looked at.
    Close {
        code: Option<u16>,
        reason: &'a [u8],
    },
}

/// A message's bytes: in the caller's buffer when they arrived together, or assembled.
#[derive(Debug)]
pub enum Payload<'a> {
    Borrowed(&'a [u8]),
    Owned(Vec<u8>),
}

impl std::ops::Deref for Payload<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Borrowed(data) => data,
            Self::Owned(data) => data,
        }
    }
}

/// Equal bytes are equal payloads, however they arrived.
impl PartialEq for Payload<'_> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Payload<'_> {}

type Received<'a> = (usize, Result<Option<Event<'a>>, WsError>);

impl Receiver {
    /// `max_payload` bounds a message as it is on the wire. `compression`: permessage-deflate was negotiated.
    pub fn new(max_payload: usize, compression: bool) -> Self {
        Self { max_payload, compression, partial: None }
    }

    /// Takes bytes from the front of `input`: returns how many, and at most one event.
    ///
    /// To be called again with the rest until it takes nothing. What it leaves is an incomplete header or control
    /// frame, to be presented again with more behind it. After an error or a `Close` the connection is over.
    pub fn receive<'a>(&mut self, input: &'a mut [u8]) -> Received<'a> {
        if self.partial.as_ref().is_some_and(|partial| partial.frame.is_some()) {
            return self.payload(input, 0);
        }
        let (header, header_len) = match parse_header(input) {
            Ok(Some(parsed)) => parsed,
            Ok(None) => return (0, Ok(None)),
            Err(error) => return (0, Err(error)),
        };
        match header.opcode {
            OpCode::Control(kind) => control_frame(kind, &header, header_len, input),
            OpCode::Data(kind) => self.data_frame(kind, &header, header_len, input),
        }
    }

    fn data_frame<'a>(
        &mut self,
        kind: Data,
        header: &FrameHeader,
        header_len: usize,
        input: &'a mut [u8],
    ) -> Received<'a> {
        let len = match self.check_data_frame(kind, header) {
            Ok(len) => len,
            Err(error) => return (0, Err(error)),
        };
        let binary = kind == Data::Binary;
        let whole = header.fin && kind != Data::Continue && input.len() - header_len >= len;
        if whole {
            let frame_len = header_len + len;
            let data = &mut input[header_len..frame_len];
            unmask(data, header.mask, 0);
            if !binary && !header.rsv1 && simdutf8::basic::from_utf8(data).is_err() {
                return (0, Err(WsError::InvalidUtf8));
            }
            let data = Payload::Borrowed(data);
            return (frame_len, Ok(Some(Event::Message { binary, compressed: header.rsv1, data })));
        }
        let partial = self.partial.get_or_insert_with(|| Box::new(Partial::new(binary, header.rsv1)));
        partial.frame = Some(OpenFrame { fin: header.fin, mask: header.mask, len, received: 0 });
        self.payload(input, header_len)
    }

    /// The payload length, if a data frame may come now and is not too long.
    fn check_data_frame(&self, kind: Data, header: &FrameHeader) -> Result<usize, WsError> {
        let first = kind != Data::Continue;
        if first == self.partial.is_some() {
            return Err(WsError::InvalidFrame);
        }
        // RFC 7692 §6.1: the first frame's bit speaks for the whole message.
        if header.rsv1 && !(first && self.compression) {
            return Err(WsError::InvalidFrame);
        }
        let received = self.partial.as_ref().map_or(0, |partial| partial.data.len());
        match usize::try_from(header.len) {
            Ok(len) if len <= self.max_payload.saturating_sub(received) => Ok(len),
            _ => Err(WsError::TooBigMessage),
        }
    }

    /// Takes payload of the open frame from `input[start..]`.
    fn payload<'a>(&mut self, input: &[u8], start: usize) -> Received<'a> {
        let Some(partial) = &mut self.partial else { return (start, Ok(None)) };
        let taken = match partial.append(&input[start..]) {
            Ok(taken) => start + taken,
            Err(error) => return (start, Err(error)),
        };
        if !partial.is_complete() {
            return (taken, Ok(None));
        }
        let event = self.partial.take().map(|partial| partial.finish()).transpose();
        (taken, event)
    }
}

/// A message of which not everything has arrived.
#[derive(Debug)]
struct Partial {
    binary: bool,
    compressed: bool,
    /// Unmasked payload of all frames so far.
    data: Vec<u8>,
    utf8: Utf8Checker,
    /// The frame whose payload is arriving; none between two fragments.
    frame: Option<OpenFrame>,
    complete: bool,
}

/// Invariant: `received <= len`.
#[derive(Debug)]
struct OpenFrame {
    fin: bool,
    mask: [u8; 4],
    len: usize,
    received: usize,
}

impl Partial {
    fn new(binary: bool, compressed: bool) -> Self {
        Self {
            binary,
            compressed,
            data: Vec::new(),
            utf8: Utf8Checker::default(),
            frame: None,
            complete: false,
        }
    }

    /// Takes what of `input` belongs to the open frame, and closes the frame with its last byte.
    fn append(&mut self, input: &[u8]) -> Result<usize, WsError> {
        let Some(frame) = &mut self.frame else { return Ok(0) };
        let missing = frame.len - frame.received;
        let input = &input[..input.len().min(missing)];

        let start = self.data.len();
        reserve(&mut self.data, input.len(), missing, frame.fin);
        self.data.extend_from_slice(input);
        let added = &mut self.data[start..];
        unmask(added, frame.mask, frame.received);
        if !self.binary && !self.compressed {
            self.utf8.check(added)?;
        }

        frame.received += input.len();
        if frame.received == frame.len {
            self.complete = frame.fin;
            self.frame = None;
        }
        Ok(input.len())
    }

    fn is_complete(&self) -> bool {
        self.complete
    }

    fn finish(self) -> Result<Event<'static>, WsError> {
        self.utf8.finish()?;
        let Self { binary, compressed, data, .. } = self;
        Ok(Event::Message { binary, compressed, data: Payload::Owned(data) })
    }
}

/// Checks text that arrives in pieces, failing at the first byte that no continuation can make valid.
#[derive(Debug, Default, Clone)]
pub struct Utf8Checker {
    /// The beginning of a character whose rest has not arrived.
    pending: [u8; 4],
    pending_len: u8,
}

impl Utf8Checker {
    /// Checks the next piece.
    pub fn check(&mut self, mut piece: &[u8]) -> Result<(), WsError> {
        while let ([byte, rest @ ..], true) = (piece, self.pending_len > 0) {
            self.push_pending(*byte)?;
            piece = rest;
        }
        match simdutf8::compat::from_utf8(piece) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_none() => {
                let tail = &piece[error.valid_up_to()..];
                tail.iter().try_for_each(|byte| self.push_pending(*byte))
            }
            Err(_) => Err(WsError::InvalidUtf8),
        }
    }

    /// To be asked at the end of the text: no character may be left unfinished.
    pub fn finish(&self) -> Result<(), WsError> {
        if self.pending_len == 0 { Ok(()) } else { Err(WsError::InvalidUtf8) }
    }

    /// Adds a byte to the unfinished character; `pending` has room, for no character is longer than four bytes.
    fn push_pending(&mut self, byte: u8) -> Result<(), WsError> {
        let len = usize::from(self.pending_len);
        self.pending[len] = byte;
        match std::str::from_utf8(&self.pending[..=len]) {
            Ok(_) => self.pending_len = 0,
            Err(error) if error.error_len().is_none() => self.pending_len += 1,
            Err(_) => return Err(WsError::InvalidUtf8),
        }
        Ok(())
    }
}

fn control_frame<'a>(
    kind: Control,
    header: &FrameHeader,
    header_len: usize,
    input: &'a mut [u8],
) -> Received<'a> {
    // `parse_header` has seen to it that this fits: at most 125.
    let frame_len = header_len + header.len as usize;
    let Some(payload) = input.get_mut(header_len..frame_len) else { return (0, Ok(None)) };
    unmask(payload, header.mask, 0);
    let event = match kind {
        Control::Ping => Ok(Event::Ping(payload)),
        Control::Pong => Ok(Event::Pong(payload)),
        Control::Close => parse_close_payload(payload).map(|(code, reason)| Event::Close { code, reason }),
        Control::Reserved(_) => Err(WsError::InvalidFrame),
    };
    (frame_len, event.map(Some))
}

/// Makes room for `added` bytes of a frame that has `missing` to come. Grows by doubling; the last frame of a message
/// is not given more than it still needs.
fn reserve(data: &mut Vec<u8>, added: usize, missing: usize, last: bool) {
    if data.capacity() - data.len() >= added {
        return;
    }
    let step = data.capacity().max(FIRST_RESERVATION).max(added);
    if last && missing <= step {
        data.reserve_exact(missing);
    } else {
        data.reserve(step.min(missing));
    }
}
