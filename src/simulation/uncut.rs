//! The pure protocol layers, fed with all bytes of a peer at once: however they were cut on their way, the
//! program must have been handed the same.

use crate::protocol::http::body::BodyDecoder;
use crate::protocol::http::request::{Limits, RequestHead, parse};
use crate::protocol::websocket::message::{Event, Receiver};

/// A thing that the program is handed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// By its path.
    Request(String),
    /// Length and sum of the bytes; `None` if it was compressed.
    Message { binary: bool, content: Option<(usize, u64)> },
}

impl Seen {
    pub fn message(binary: bool, bytes: &[u8]) -> Self {
        let sum = bytes.iter().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
        Seen::Message { binary, content: Some((bytes.len(), sum)) }
    }

    /// Whether both are the same, as far as it is known.
    pub fn is(&self, other: &Seen) -> bool {
        match (self, other) {
            (Seen::Message { binary: a, content: None }, Seen::Message { binary: b, .. })
            | (Seen::Message { binary: a, .. }, Seen::Message { binary: b, content: None }) => a == b,
            (a, b) => a == b,
        }
    }
}

/// All that the program may be handed for these bytes, in order.
pub fn uncut(bytes: &[u8], max_payload: usize, deflates: bool) -> Vec<Seen> {
    let (mut seen, mut bytes, mut at) = (Vec::new(), bytes.to_vec(), 0);
    let mut head = RequestHead::default();
    while let Ok(Some(used)) = parse(&mut bytes[at..], &Limits::default(), &mut head) {
        let path = String::from_utf8_lossy(head.path.of(&bytes[at..])).into_owned();
        let is_upgrade = head.websocket_key.is_some() && path.starts_with("/ws/");
        seen.push(Seen::Request(path));
        at += used;
        if is_upgrade {
            messages(&mut bytes[at..], max_payload, deflates, &mut seen);
            break;
        }
        let mut decoder = BodyDecoder::new(head.framing);
        while !decoder.is_done() {
            match decoder.decode(&bytes[at..]) {
                Ok(decoded) if decoded.used > 0 => at += decoded.used,
                _ => return seen,
            }
        }
    }
    seen
}

fn messages(mut bytes: &mut [u8], max_payload: usize, deflates: bool, seen: &mut Vec<Seen>) {
    let mut receiver = Receiver::new(max_payload, deflates);
    loop {
        let (used, event) = receiver.receive(bytes);
        match event {
            Ok(Some(Event::Message { binary, compressed: false, data })) => {
                seen.push(Seen::message(binary, &data))
            }
            Ok(Some(Event::Message { binary, .. })) => seen.push(Seen::Message { binary, content: None }),
            Ok(Some(Event::Close { .. })) | Err(_) => return,
            Ok(Some(Event::Ping(_) | Event::Pong(_))) => {}
            Ok(None) if used == 0 => return,
            Ok(None) => {}
        }
        bytes = &mut bytes[used..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_come_before_an_upgrade_and_messages_behind_it() {
        let requests = b"POST /r/1/0 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nabGET /ws/1/1 HTTP/1.1\r\n\
            Host: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
            Sec-WebSocket-Version: 13\r\n\r\n";
        let frame = b"\x82\x81\0\0\0\0x";
        let nonsense = b"\x82\x01";
        let all = [&requests[..], frame, nonsense, frame].concat();
        let expected =
            [Seen::Request("/r/1/0".into()), Seen::Request("/ws/1/1".into()), Seen::message(true, b"x")];
        assert_eq!(uncut(&all, 100, false), expected);
    }
}
