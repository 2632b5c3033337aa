//! Frames of WebSockets: what is received does not depend on the ends of reads, tungstenite receives the same,
//! and each side reads what the other one writes.

use crate::input::{Input, ends};
use std::io::{Error, ErrorKind, Read, Write};
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};
use tungstenite::protocol::frame::{Frame, FrameHeader};
use tungstenite::protocol::{Role, WebSocket, WebSocketConfig};
use tungstenite::{Error as TungsteniteError, Message};
use uws_rs::protocol::websocket::frame::{
    MAX_CONTROL_PAYLOAD, WsError, write_close, write_frame, write_header,
};
use uws_rs::protocol::websocket::message::{Event, Receiver, fuzz_receive};

pub fn run(data: &[u8]) {
    fuzz_receive(data);
    let mut input = Input::new(data);
    let max = MAX_CONTROL_PAYLOAD + (input.number() << (input.number() % 8));
    let pieces = input.pieces();
    let stream = input.stream();
    let ours = received(stream, &pieces, max);
    let theirs = received_by_tungstenite(stream, Role::Server, max);
    compare(&ours, &theirs, &stream[ours.used..]);
    clients_frames_are_read(stream, &pieces);
    our_frames_are_read(stream, &pieces);
}

#[derive(Debug, PartialEq)]
enum Seen {
    Message(bool, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, Vec<u8>),
}

#[derive(Debug)]
struct Received<E> {
    seen: Vec<Seen>,
    /// Bytes in front of the error.
    used: usize,
    /// `None`: the stream may go on.
    error: Option<E>,
}

fn received(stream: &[u8], pieces: &[usize], max: usize) -> Received<WsError> {
    let mut receiver = Receiver::new(max, false);
    let mut buffer = stream.to_vec();
    let (mut seen, mut start) = (Vec::new(), 0);
    for end in ends(pieces, stream.len()) {
        loop {
            let (used, event) = receiver.receive(&mut buffer[start..end]);
            start += used;
            seen.push(match event {
                Ok(Some(Event::Message { binary, compressed, data })) => {
                    assert!(!compressed && data.len() <= max);
                    Seen::Message(binary, data.to_vec())
                }
                Ok(Some(Event::Ping(data))) => Seen::Ping(data.to_vec()),
                Ok(Some(Event::Pong(data))) => Seen::Pong(data.to_vec()),
                Ok(Some(Event::Close { code, reason })) => {
                    seen.push(Seen::Close(code, reason.to_vec()));
                    return Received { seen, used: start, error: None };
                }
                Ok(None) if used > 0 => continue,
                Ok(None) => break,
                Err(error) => return Received { seen, used: start, error: Some(error) },
            });
        }
    }
    Received { seen, used: start, error: None }
}

/// A stream that has no more bytes as yet once it is read, and that takes everything.
struct Pipe<'a>(&'a [u8]);

impl Read for Pipe<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        match self.0.read(buffer)? {
            0 => Err(ErrorKind::WouldBlock.into()),
            read => Ok(read),
        }
    }
}

impl Write for Pipe<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

fn received_by_tungstenite(stream: &[u8], role: Role, max: usize) -> Received<TungsteniteError> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(max))
        .max_frame_size(Some(max))
        .read_buffer_size(4096)
        .write_buffer_size(0);
    let mut socket = WebSocket::from_raw_socket(Pipe(stream), role, Some(config));
    let mut seen = Vec::new();
    let error = loop {
        match socket.read() {
            Ok(Message::Text(text)) => seen.push(Seen::Message(false, text.as_bytes().to_vec())),
            Ok(Message::Binary(data)) => seen.push(Seen::Message(true, data.to_vec())),
            Ok(Message::Ping(data)) => seen.push(Seen::Ping(data.to_vec())),
            Ok(Message::Pong(data)) => seen.push(Seen::Pong(data.to_vec())),
            Ok(Message::Close(frame)) => {
                seen.push(match frame {
                    None => Seen::Close(None, Vec::new()),
                    Some(frame) => Seen::Close(Some(frame.code.into()), frame.reason.as_bytes().to_vec()),
                });
                break None;
            }
            Ok(Message::Frame(_)) => unreachable!("only to be written"),
            Err(TungsteniteError::Io(error)) if error.kind() == ErrorKind::WouldBlock => break None,
            Err(error) => break Some(error),
        }
    };
    Received { seen, used: stream.len(), error }
}

/// `rest`: the bytes from our error on.
fn compare(ours: &Received<WsError>, theirs: &Received<TungsteniteError>, rest: &[u8]) {
    let same = match (&ours.error, &theirs.error) {
        // It answers a close frame with a forbidden code as it should, but shows it all the same.
        (Some(WsError::InvalidClosePayload), None) => {
            let [rest @ .., Seen::Close(..)] = &theirs.seen[..] else { panic!("{ours:?}, {theirs:?}") };
            ours.seen == rest
        }
        // It does not know 1014, which was registered later.
        (None, None) if matches!(ours.seen.last(), Some(Seen::Close(Some(1014), _))) => {
            let [rest @ .., Seen::Close(Some(1002), _)] = &theirs.seen[..] else {
                panic!("{ours:?}, {theirs:?}")
            };
            ours.seen[..ours.seen.len() - 1] == *rest
        }
        // It lets the length of a control frame have a longer form (RFC 6455 §5.2 and §5.5 do not).
        (Some(WsError::InvalidFrame), _) if matches!(rest, [0x88..=0x8f, 0xfe..=0xff, ..]) => {
            theirs.seen.starts_with(&ours.seen)
        }
        (None, None) => ours.seen == theirs.seen,
        // We fail with the first byte that is wrong, it with the header or the frame.
        (Some(_), None | Some(_)) => ours.seen == theirs.seen,
        (None, Some(_)) => false,
    };
    assert!(same, "{ours:?}, tungstenite: {theirs:?}");
}

/// Messages as tungstenite writes them for a client, in fragments with pings between.
fn clients_frames_are_read(stream: &[u8], pieces: &[usize]) {
    let (mut bytes, mut expected) = (Vec::new(), Vec::new());
    let mut start = 0;
    let fragments = ends(pieces, stream.len());
    for (at, &end) in fragments.iter().enumerate() {
        let (first, last) = (at == 0, at + 1 == fragments.len());
        let kind = OpCode::Data(if first { Data::Binary } else { Data::Continue });
        write_as_client(&mut bytes, kind, last, &stream[start..end]);
        start = end;
        if at % 3 == 1 && !last {
            let ping = &stream[..end.min(MAX_CONTROL_PAYLOAD)];
            write_as_client(&mut bytes, OpCode::Control(Control::Ping), true, ping);
            expected.push(Seen::Ping(ping.to_vec()));
        }
    }
    expected.push(Seen::Message(true, stream.to_vec()));
    let ours = received(&bytes, &[], stream.len());
    assert!(ours.error.is_none() && ours.seen == expected, "{ours:?}");
    let ours = received(&bytes, pieces, stream.len());
    assert!(ours.error.is_none() && ours.seen == expected, "{ours:?}");
    if let Some(less) = stream.len().checked_sub(1) {
        assert_eq!(received(&bytes, pieces, less).error, Some(WsError::TooBigMessage));
    }
}

fn write_as_client(bytes: &mut Vec<u8>, opcode: OpCode, is_final: bool, payload: &[u8]) {
    let mask = [1, 0xf2, payload.len() as u8, 0x80];
    let header = FrameHeader { is_final, opcode, mask: Some(mask), ..FrameHeader::default() };
    Frame::from_payload(header, payload.to_vec().into()).format(bytes).expect("memory");
}

/// tungstenite as a client reads the frames that we write.
fn our_frames_are_read(stream: &[u8], pieces: &[usize]) {
    let (mut bytes, mut expected) = (Vec::new(), Vec::new());
    let (mut start, mut part) = (0, Vec::new());
    for (at, end) in ends(pieces, stream.len()).into_iter().enumerate() {
        let payload = &stream[start..end];
        start = end;
        match at % 3 {
            0 if part.is_empty() => {
                write_frame(&mut bytes, OpCode::Data(Data::Binary), payload);
                expected.push(Seen::Message(true, payload.to_vec()));
            }
            1 if payload.len() <= MAX_CONTROL_PAYLOAD => {
                write_frame(&mut bytes, OpCode::Control(Control::Ping), payload);
                expected.push(Seen::Ping(payload.to_vec()));
            }
            _ => {
                let kind = if part.is_empty() { Data::Binary } else { Data::Continue };
                let last = !part.is_empty();
                let payload = if payload.is_empty() { b"!" } else { payload };
                write_header(&mut bytes, OpCode::Data(kind), last, false, payload.len());
                bytes.extend_from_slice(payload);
                part.extend_from_slice(payload);
                if last {
                    expected.push(Seen::Message(true, std::mem::take(&mut part)));
                }
            }
        }
    }
    let code = 3000 + stream.len() as u16 % 2000;
    write_close(&mut bytes, Some(code), stream);
    let theirs = received_by_tungstenite(&bytes, Role::Client, usize::MAX >> 1);
    assert!(theirs.error.is_none(), "{theirs:?}");
    let Some((Seen::Close(Some(theirs_code), reason), rest)) = theirs.seen.split_last() else {
        panic!("{theirs:?}")
    };
    assert_eq!((*theirs_code, rest), (code, &expected[..]));
    assert!(stream.starts_with(reason) && std::str::from_utf8(reason).is_ok());
}
