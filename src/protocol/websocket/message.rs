//! From frames to messages (RFC 6455 §5.4, §8.1): fragments, control frames between them, UTF-8, size limits.
//!
//! `Receiver` holds the state between two reads of one connection. It does not inflate: a compressed message
//! comes out as it arrived. The event loop feeds it and acts on the events.

use super::frame::{
    Control, Data, FrameHeader, MAX_CONTROL_PAYLOAD, OpCode, WsError, parse_close_payload, parse_header,
    unmask,
};

/// First allocation for a payload that arrives in pieces, unless less is declared. From there on it doubles,
/// so that the memory is in proportion to the bytes received and not to those announced.
const FIRST_RESERVATION: usize = 4 * 1024;

/// The most bytes that `receive` leaves to the caller: one byte less than a control frame.
pub const MAX_LEFT: usize = MAX_CONTROL_FRAME - 1;
const MAX_CONTROL_FRAME: usize = 6 + MAX_CONTROL_PAYLOAD;

/// The receiving side of one WebSocket. It holds no memory but itself while it is idle.
#[derive(Debug)]
pub struct Receiver {
    max_payload: usize,
    compression: bool,
    partial: Option<Box<Partial>>,
}

impl Receiver {
    /// The memory of a message that is incomplete.
    pub fn held(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| partial.data.capacity())
    }

    /// Nothing more is received.
    pub fn clear(&mut self) {
        self.partial = None;
    }
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
    /// Bytes behind it must be ignored.
    Close {
        code: Option<u16>,
        reason: &'a [u8],
    },
}

/// A message's bytes: in the caller's buffer if they arrived in one read, else assembled.
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
    /// `max_payload` bounds a message in its form on the wire. `compression`: permessage-deflate was
    /// negotiated.
    pub fn new(max_payload: usize, compression: bool) -> Self {
        Self { max_payload, compression, partial: None }
    }

    /// Takes bytes from the front of `input`: returns how many, and at most one event.
    ///
    /// The caller calls it again with the rest until it takes nothing. The bytes left are an incomplete
    /// header or control frame, which the caller gives again with more behind them. After an error or a
    /// `Close` the connection has to end.
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

/// A message that has not arrived completely.
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

    /// Takes the bytes of `input` that belong to the open frame, and closes the frame with its last byte.
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

    /// Called at the end of the text: no character may be incomplete.
    pub fn finish(&self) -> Result<(), WsError> {
        if self.pending_len == 0 { Ok(()) } else { Err(WsError::InvalidUtf8) }
    }

    /// Adds a byte to the incomplete character; `pending` has room, for no character is longer than four
    /// bytes.
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
    // `parse_header` has checked that this is at most 125.
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

/// Makes room for `added` bytes of a frame with `missing` bytes to come. The memory grows by doubling; for
/// the last frame of a message it grows to no more than that still needs.
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

/// Fuzz target: receives a stream in pieces, with the limits and the cuts taken from `data`, and panics if
/// the events are not those of the whole stream or more memory is held than received.
#[doc(hidden)]
pub fn fuzz_receive(data: &[u8]) {
    let [flags, max_payload, cuts, data @ ..] = data else { return };
    let (cuts, stream) = data.split_at(data.len().min(usize::from(*cuts)));
    let receiver = || Receiver::new(usize::from(*max_payload) << (flags >> 4), flags & 1 != 0);
    let cuts = cuts.iter().map(|cut| usize::from(*cut));
    assert_eq!(seen_in_pieces(receiver(), stream, cuts), seen_in_pieces(receiver(), stream, []));
}

/// An event that outlives its buffer, or the error at the end.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Message { binary: bool, compressed: bool, data: Vec<u8> },
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, Vec<u8>),
    Error(WsError),
}

impl From<Event<'_>> for Seen {
    fn from(event: Event) -> Self {
        match event {
            Event::Message { binary, compressed, data } => {
                Self::Message { binary, compressed, data: data.to_vec() }
            }
            Event::Ping(data) => Self::Ping(data.to_vec()),
            Event::Pong(data) => Self::Pong(data.to_vec()),
            Event::Close { code, reason } => Self::Close(code, reason.to_vec()),
        }
    }
}

/// Gives `stream` to the receiver in reads of the given lengths, and the rest in one.
fn seen_in_pieces(
    mut receiver: Receiver,
    stream: &[u8],
    pieces: impl IntoIterator<Item = usize>,
) -> Vec<Seen> {
    let mut seen = Vec::new();
    let (mut start, mut end) = (0, 0);
    let mut buffer = stream.to_vec();
    for piece in pieces.into_iter().chain([stream.len()]) {
        end = stream.len().min(end + piece);
        loop {
            let (used, event) = receiver.receive(&mut buffer[start..end]);
            start += used;
            match event {
                Ok(Some(event)) => seen.push(event.into()),
                Ok(None) if used > 0 => continue,
                Ok(None) => break,
                Err(error) => seen.push(Seen::Error(error)),
            }
            if let Some(Seen::Error(_) | Seen::Close(..)) = seen.last() {
                return seen;
            }
        }
        let held = receiver.partial.as_ref().map_or(0, |partial| partial.data.capacity());
        assert!(held <= FIRST_RESERVATION.max(2 * stream.len()));
        assert!(end - start <= MAX_LEFT, "only an incomplete header or control frame may be left");
    }
    seen
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FIN: u8 = 0x80;
    const RSV1: u8 = 0x40;
    const CONTINUE: u8 = 0;
    const TEXT: u8 = 1;
    const BINARY: u8 = 2;
    const CLOSE: u8 = 8;
    const PING: u8 = 9;
    const PONG: u8 = 10;
    const MAX: usize = 1000;

    /// A client's frame; `first` is its first byte.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        let mut frame = vec![first];
        match payload.len() {
            len @ 0..126 => frame.push(0x80 | len as u8),
            len @ 126..65536 => frame.extend([&[0xfe], &(len as u16).to_be_bytes()[..]].concat()),
            len => frame.extend([&[0xff], &(len as u64).to_be_bytes()[..]].concat()),
        }
        frame.extend(mask);
        frame.extend(payload.iter().enumerate().map(|(i, byte)| byte ^ mask[i % 4]));
        frame
    }

    fn message(first: u8, data: &[u8]) -> Seen {
        let (binary, compressed) = (first & 0x0f == BINARY, first & RSV1 != 0);
        Seen::Message { binary, compressed, data: data.to_vec() }
    }

    fn ping(data: &[u8]) -> Seen {
        Seen::Ping(data.to_vec())
    }

    fn receiver() -> Receiver {
        Receiver::new(MAX, true)
    }

    /// Whole, byte by byte, and cut once at every position.
    fn check(stream: &[u8], expected: &[Seen]) {
        assert_eq!(seen_in_pieces(receiver(), stream, []), expected);
        assert_eq!(seen_in_pieces(receiver(), stream, vec![1; stream.len()]), expected);
        for cut in 0..stream.len() {
            assert_eq!(seen_in_pieces(receiver(), stream, [cut]), expected, "cut at {cut}");
        }
    }

    macro_rules! streams {
        ($($name:ident: [$($frame:expr),*] => [$($seen:expr),*];)*) => {$(
            #[test]
            fn $name() {
                let frames: &[Vec<u8>] = &[$($frame),*];
                check(&frames.concat(), &[$($seen),*]);
            }
        )*};
    }

    streams! {
        text: [frame(FIN | TEXT, b"Hello")] => [message(TEXT, b"Hello")];
        empty_messages: [frame(FIN | TEXT, b""), frame(FIN | BINARY, b"")]
            => [message(TEXT, b""), message(BINARY, b"")];
        several: [frame(FIN | TEXT, b"a"), frame(FIN | BINARY, &[0xff; 300]), frame(FIN | TEXT, "äöü€😀".as_bytes())]
            => [message(TEXT, b"a"), message(BINARY, &[0xff; 300]), message(TEXT, "äöü€😀".as_bytes())];
        fragments: [frame(TEXT, b"Hel"), frame(CONTINUE, b""), frame(CONTINUE, b"lo"), frame(FIN | CONTINUE, b"!")]
            => [message(TEXT, b"Hello!")];
        empty_fragments: [frame(BINARY, b""), frame(CONTINUE, b""), frame(FIN | CONTINUE, b"")] => [message(BINARY, b"")];
        control_between_fragments:
            [frame(TEXT, b"Hel"), frame(FIN | PING, b"1"), frame(FIN | PONG, b""), frame(FIN | CONTINUE, b"lo"), frame(FIN | PING, b"2")]
            => [ping(b"1"), Seen::Pong(vec![]), message(TEXT, b"Hello"), ping(b"2")];
        longest_ping: [frame(FIN | PING, &[7; 125])] => [ping(&[7; 125])];
        close: [frame(FIN | CLOSE, b"\x03\xe8bye"), frame(FIN | TEXT, b"ignored")] => [Seen::Close(Some(1000), b"bye".to_vec())];
        close_without_code: [frame(FIN | CLOSE, b"")] => [Seen::Close(None, vec![])];
        close_between_fragments: [frame(TEXT, b"Hel"), frame(FIN | CLOSE, b"\x03\xe9")] => [Seen::Close(Some(1001), vec![])];
        close_with_bad_code: [frame(FIN | CLOSE, b"\x03\xed")] => [Seen::Error(WsError::InvalidClosePayload)];
        close_with_one_byte: [frame(FIN | CLOSE, b"\x03")] => [Seen::Error(WsError::InvalidClosePayload)];
        close_with_bad_reason: [frame(FIN | CLOSE, b"\x03\xe8\xff")] => [Seen::Error(WsError::InvalidCloseReason)];
        continuation_of_nothing: [frame(FIN | CONTINUE, b"x")] => [Seen::Error(WsError::InvalidFrame)];
        continuation_after_the_end: [frame(TEXT, b"a"), frame(FIN | CONTINUE, b"b"), frame(CONTINUE, b"c")]
            => [message(TEXT, b"ab"), Seen::Error(WsError::InvalidFrame)];
        text_inside_fragments: [frame(TEXT, b"a"), frame(FIN | TEXT, b"b")] => [Seen::Error(WsError::InvalidFrame)];
        binary_inside_fragments: [frame(TEXT, b"a"), frame(BINARY, b"b")] => [Seen::Error(WsError::InvalidFrame)];
        valid_before_invalid: [frame(FIN | TEXT, b"a"), frame(FIN | PING, b"b"), frame(FIN | 3, b"c")]
            => [message(TEXT, b"a"), ping(b"b"), Seen::Error(WsError::InvalidFrame)];
        compressed: [frame(FIN | RSV1 | TEXT, b"\xff"), frame(FIN | TEXT, b"plain")] => [message(RSV1 | TEXT, b"\xff"), message(TEXT, b"plain")];
        compressed_fragments: [frame(RSV1 | BINARY, b"\xff"), frame(FIN | CONTINUE, b"\xfe")] => [message(RSV1 | BINARY, b"\xff\xfe")];
        compressed_text_fragments: [frame(RSV1 | TEXT, b"\xff"), frame(FIN | CONTINUE, b"\xfe")] => [message(RSV1 | TEXT, b"\xff\xfe")];
        rsv1_on_continuation: [frame(RSV1 | TEXT, b"a"), frame(FIN | RSV1 | CONTINUE, b"b")] => [Seen::Error(WsError::InvalidFrame)];
        rsv1_on_ping: [frame(FIN | RSV1 | PING, b"a")] => [Seen::Error(WsError::InvalidFrame)];
        unmasked: [vec![FIN | TEXT, 1, b'a']] => [Seen::Error(WsError::InvalidFrame)];
        invalid_text: [frame(FIN | TEXT, b"ab\xff")] => [Seen::Error(WsError::InvalidUtf8)];
        surrogate: [frame(FIN | TEXT, b"\xed\xa0\x80")] => [Seen::Error(WsError::InvalidUtf8)];
        text_ends_inside_a_character: [frame(FIN | TEXT, b"ab\xe2\x82")] => [Seen::Error(WsError::InvalidUtf8)];
        fragments_end_inside_a_character: [frame(TEXT, b"\xe2"), frame(FIN | CONTINUE, b"\x82")] => [Seen::Error(WsError::InvalidUtf8)];
        character_across_fragments: [frame(TEXT, b"\xf0"), frame(CONTINUE, b"\x9f\x98"), frame(FIN | CONTINUE, b"\x80!")]
            => [message(TEXT, "😀!".as_bytes())];
        invalid_across_fragments: [frame(TEXT, b"\xe2"), frame(CONTINUE, b"\x41"), frame(FIN | CONTINUE, b"")]
            => [Seen::Error(WsError::InvalidUtf8)];
        binary_is_not_checked: [frame(BINARY, b"\xe2"), frame(FIN | CONTINUE, b"\xff")] => [message(BINARY, b"\xe2\xff")];
        largest: [frame(FIN | BINARY, &[1; MAX])] => [message(BINARY, &[1; MAX])];
        too_large: [frame(FIN | BINARY, &[1; MAX + 1])] => [Seen::Error(WsError::TooBigMessage)];
        largest_in_fragments: [frame(BINARY, &[1; MAX - 1]), frame(CONTINUE, b"2"), frame(FIN | CONTINUE, b"")]
            => [message(BINARY, &[&[1; MAX - 1][..], b"2"].concat())];
        too_large_in_fragments: [frame(BINARY, &[1; MAX]), frame(FIN | CONTINUE, b"2")] => [Seen::Error(WsError::TooBigMessage)];
        too_large_by_far: [vec![FIN | BINARY, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255, 1, 2, 3, 4]]
            => [Seen::Error(WsError::TooBigMessage)];
    }

    #[test]
    fn rsv1_needs_negotiation() {
        let stream = frame(FIN | RSV1 | TEXT, b"a");
        let seen = seen_in_pieces(Receiver::new(MAX, false), &stream, []);
        assert_eq!(seen, [Seen::Error(WsError::InvalidFrame)]);
    }

    #[test]
    fn whole_frames_stay_in_the_callers_buffer() {
        let mut input = frame(FIN | BINARY, b"data");
        let (used, event) = receiver().receive(&mut input);
        assert_eq!(used, 10);
        assert!(matches!(event, Ok(Some(Event::Message { data: Payload::Borrowed(b"data"), .. }))));
    }

    /// The number of bytes after which the stream fails.
    fn fails_after(stream: &[u8]) -> usize {
        let failed = |len: &usize| {
            let seen = seen_in_pieces(receiver(), &stream[..*len], vec![1; *len]);
            matches!(seen.last(), Some(Seen::Error(_)))
        };
        (0..=stream.len()).find(failed).expect("an invalid stream")
    }

    #[test]
    fn invalid_text_fails_with_its_first_invalid_byte() {
        let cases: &[(&[u8], usize)] = &[
            (b"abc\xff....", 4),
            (b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80edited", 13),
            (b"\xc0\x80..", 1),
            (b"\xe0\x9f\x80..", 2),
            (b"\xed\xa0\x80..", 2),
            (b"\xf0\x9f\x98.", 4),
        ];
        for (text, bad) in cases {
            assert_eq!(fails_after(&frame(FIN | TEXT, text)), 6 + bad, "{text:?}");
            let fragments = [frame(TEXT, &text[..1]), frame(FIN | CONTINUE, &text[1..])].concat();
            let headers = if *bad == 1 { 6 } else { 12 };
            assert_eq!(fails_after(&fragments), headers + bad, "{text:?} in fragments");
        }
    }

    #[test]
    fn a_too_long_frame_fails_with_its_header() {
        assert_eq!(fails_after(&frame(FIN | BINARY, &[0; MAX + 1])), 8);
        let fragments = [frame(BINARY, &[0; MAX]), frame(FIN | CONTINUE, &[0; 1])].concat();
        assert_eq!(fails_after(&fragments), 8 + MAX + 6);
    }

    #[test]
    fn bad_flags_fail_with_the_second_byte() {
        assert_eq!(fails_after(&frame(FIN | PING, &[0; 126])), 2);
        assert_eq!(fails_after(&frame(FIN | 5, b"")), 2);
    }

    #[test]
    fn an_idle_receiver_is_small_and_gives_memory_back() {
        assert!(size_of::<Receiver>() <= 24);
        let mut receiver = Receiver::new(1 << 20, false);
        let mut stream = frame(FIN | BINARY, &[1; 100_000]);
        let (first, second) = stream.split_at_mut(50_000);
        assert!(matches!(receiver.receive(first), (50_000, Ok(None))));
        assert!(receiver.partial.is_some());
        let (_, Ok(Some(Event::Message { data: Payload::Owned(data), .. }))) = receiver.receive(second)
        else {
            panic!("a message by ownership");
        };
        assert_eq!(data.len(), 100_000);
        assert!(data.capacity() <= 100_000);
        assert!(receiver.partial.is_none());
    }

    #[test]
    fn memory_grows_with_the_bytes_received() {
        let mut receiver = Receiver::new(1 << 30, false);
        let mut header = [FIN | BINARY, 0xff, 0, 0, 0, 0, 0x3f, 0xff, 0xff, 0xff, 1, 2, 3, 4];
        assert!(matches!(receiver.receive(&mut header), (14, Ok(None))));
        let mut received = 0;
        for _ in 0..1000 {
            assert!(matches!(receiver.receive(&mut [0; 1000]), (1000, Ok(None))));
            received += 1000;
            let held = receiver.partial.as_ref().map_or(0, |partial| partial.data.capacity());
            assert!(held <= FIRST_RESERVATION.max(2 * received), "{held} for {received}");
        }
    }

    #[test]
    fn many_small_fragments_reallocate_rarely() {
        let mut receiver = Receiver::new(1 << 20, false);
        let mut capacities = std::collections::BTreeSet::new();
        assert!(receiver.receive(&mut frame(BINARY, b"x")).1.is_ok());
        for _ in 0..100_000 {
            assert!(receiver.receive(&mut frame(CONTINUE, b"x")).1.is_ok());
            capacities.insert(receiver.partial.as_ref().map_or(0, |partial| partial.data.capacity()));
        }
        assert!(capacities.len() < 20, "{capacities:?}");
    }

    fn any_frame() -> impl Strategy<Value = Vec<u8>> {
        let opcode = prop_oneof![8 => 0u8..=2, 3 => 8u8..=10, 1 => 0u8..=15];
        let flags = prop_oneof![6 => Just(FIN), 5 => Just(0), 1 => Just(FIN | RSV1), 1 => Just(RSV1), 1 => Just(FIN | 0x20)];
        let payload = prop_oneof![
            3 => "[a-z\u{e4}\u{20ac}\u{1f600}]{0,40}".prop_map(String::into_bytes),
            1 => proptest::collection::vec(any::<u8>(), 0..200),
            1 => Just(Vec::new()),
        ];
        (opcode, flags, payload).prop_map(|(opcode, flags, payload)| frame(flags | opcode, &payload))
    }

    proptest! {
        #[test]
        fn cuts_do_not_change_the_events(
            frames in proptest::collection::vec(any_frame(), 0..12),
            cuts in proptest::collection::vec(0usize..60, 0..60),
            max in 0usize..400,
        ) {
            let stream = frames.concat();
            let whole = seen_in_pieces(Receiver::new(max, true), &stream, []);
            prop_assert_eq!(&seen_in_pieces(Receiver::new(max, true), &stream, cuts), &whole);
            prop_assert_eq!(&seen_in_pieces(Receiver::new(max, true), &stream, vec![1; stream.len()]), &whole);
        }

        #[test]
        fn fragmented_text_is_text(text in "\\PC{0,100}", cuts in proptest::collection::vec(0usize..400, 0..6)) {
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut <= text.len()).collect();
            cuts.sort_unstable();
            cuts.push(text.len());
            let mut stream = frame(TEXT, b"");
            let mut start = 0;
            for cut in cuts {
                stream.extend(frame(CONTINUE, &text.as_bytes()[start..cut]));
                start = cut;
            }
            stream.extend(frame(FIN | CONTINUE, b""));
            let expected = [message(TEXT, text.as_bytes())];
            prop_assert_eq!(seen_in_pieces(receiver(), &stream, []), expected);
        }

        #[test]
        fn utf8_in_pieces_is_utf8(
            bytes in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..12),
                proptest::collection::vec(proptest::sample::select(vec![0x41, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc2, 0xe0, 0xed, 0xef, 0xf0, 0xf4]), 0..8),
                "\\PC{0,60}".prop_map(String::into_bytes),
            ],
            cuts in proptest::collection::vec(0usize..5, 0..20),
        ) {
            let mut checker = Utf8Checker::default();
            let mut rest = &bytes[..];
            let mut seen = 0;
            for cut in cuts.into_iter().chain([bytes.len()]) {
                let (piece, tail) = rest.split_at(cut.min(rest.len()));
                rest = tail;
                seen += piece.len();
                let hopeless = std::str::from_utf8(&bytes[..seen]).is_err_and(|error| error.error_len().is_some());
                prop_assert_eq!(checker.check(piece).is_err(), hopeless);
                if hopeless {
                    return Ok(());
                }
            }
            prop_assert_eq!(checker.finish().is_ok(), std::str::from_utf8(&bytes).is_ok());
        }

        #[test]
        fn random_bytes_do_no_harm(data in proptest::collection::vec(any::<u8>(), 0..300)) {
            fuzz_receive(&data);
        }

        #[test]
        fn frames_among_random_bytes_do_no_harm(
            flags: u8,
            max: u8,
            cuts in proptest::collection::vec(any::<u8>(), 0..30),
            frames in proptest::collection::vec(any_frame(), 0..8),
            junk in proptest::collection::vec(any::<u8>(), 0..20),
        ) {
            fuzz_receive(&[&[flags, max, cuts.len() as u8][..], &cuts, &frames.concat(), &junk].concat());
        }
    }
}
