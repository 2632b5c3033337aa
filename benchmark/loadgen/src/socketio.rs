//! socket.io over WebSocket, as far as the runs need it: Engine.IO 4 packets (`0` open, `4` message) with
//! Socket.IO 5 in them (`0` connect, `2` event), and the ping that comes every 25 s.

use crate::payload::excerpt;
use crate::ws;
use crate::{Failure, Result};

pub const PING: &[u8] = b"2";
pub const PONG: &[u8] = b"3";
pub const PATH: &str = "/socket.io/?EIO=4&transport=websocket";

/// The handshake: `0{…}` is answered with `40`, `40{…}` ends it.
pub fn greet(input: &[u8], out: &mut Vec<u8>) -> Result<(usize, bool)> {
    let mut used = 0;
    while let Some((frame, size)) = ws::parse_frame(&input[used..])? {
        used += size;
        match frame.payload {
            [b'0', b'{', ..] => ws::append_frame(out, ws::TEXT, b"40", MASK),
            [b'4', b'0', ..] => return Ok((used, true)),
            other => return Err(Failure::Server(format!("socket.io begins with {}", excerpt(other)))),
        }
    }
    Ok((used, false))
}

/// An event of one text argument. Nothing in it is escaped: it must be a text that needs no escaping.
pub fn event(argument: &[u8]) -> Vec<u8> {
    [PREFIX, argument, SUFFIX].concat()
}

/// The argument of such an event.
pub fn argument(message: &[u8]) -> Option<&[u8]> {
    message.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)
}

const PREFIX: &[u8] = br#"42["m",""#;
const SUFFIX: &[u8] = br#""]"#;
/// Any mask will do for a message that is sent once.
const MASK: u32 = 0x9e37_79b9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_come_out_of_events() {
        assert_eq!(event(b"sub"), br#"42["m","sub"]"#);
        assert_eq!(argument(&event(b"sub")), Some(&b"sub"[..]));
        assert_eq!(argument(br#"42["x","sub"]"#), None);
    }

    #[test]
    fn the_handshake_takes_two_messages() {
        let mut out = Vec::new();
        let open = b"\x81\x020{".to_vec();
        assert_eq!(greet(&open, &mut out).unwrap(), (4, false));
        assert_eq!(out.len(), 8);
        let connected = b"\x81\x0340{\x81\x012".to_vec();
        assert_eq!(greet(&connected, &mut out).unwrap(), (5, true));
        assert!(greet(b"\x81\x0144", &mut out).is_err());
    }
}
