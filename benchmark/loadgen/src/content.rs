//! The contents of the messages of a run: stamped bytes, the same as events of socket.io, or a corpus of
//! texts that are sent and received compressed.

use serde_json::{Value, json};

use crate::corpus::Corpus;
use crate::net::{Greeting, Net};
use crate::options::Options;
use crate::payload::{Payload, STAMP, excerpt, parse_stamp};
use crate::socketio;
use crate::ws::{self, Frame, Masks};
use crate::{Failure, Result};

/// The message that a client sends once to get everything that is published. The server answers it with
/// `SUBSCRIBED`.
const SUBSCRIBE: &[u8] = b"sub";
const SUBSCRIBED: &[u8] = b"ok";

pub enum Content {
    Stamped(Payload),
    SocketIo(Payload),
    Compressed(Box<Corpus>),
}

impl Content {
    /// `--size N`, and `--deflate true` or `--dialect socket.io`, which make texts of the messages.
    pub fn take(options: &mut Options, size: usize, text: bool) -> Result<Self> {
        let size = options.take_or("size", size)?;
        let deflate = options.take_or("deflate", false)?;
        match options.take_or("dialect", String::new())?.as_str() {
            "socket.io" if !deflate => Ok(Content::SocketIo(Payload::new(size, true))),
            "" if deflate => Ok(Content::Compressed(Box::new(Corpus::new(size)?))),
            "" => Ok(Content::Stamped(Payload::new(size, text))),
            other => Err(Failure::Usage(format!("--dialect cannot be {other}"))),
        }
    }

    /// The default path of such connections.
    pub fn path(&self) -> &'static str {
        if let Content::SocketIo(_) = self { socketio::PATH } else { "/" }
    }

    pub fn greeting(&self) -> Option<Greeting> {
        if let Content::SocketIo(_) = self { Some(socketio::greet) } else { None }
    }

    pub fn is_binary(&self) -> bool {
        matches!(self, Content::Stamped(_))
    }

    pub fn is_compressed(&self) -> bool {
        matches!(self, Content::Compressed(_))
    }

    pub fn size(&self) -> usize {
        match self {
            Content::Stamped(payload) | Content::SocketIo(payload) => payload.size(),
            Content::Compressed(corpus) => corpus.plain(0).len(),
        }
    }

    /// Appends the message that has this stamp.
    pub fn append(&mut self, out: &mut Vec<u8>, opcode: u8, stamp: u64, mask: u32) {
        match self {
            Content::Stamped(payload) => ws::append_frame(out, opcode, payload.stamped(stamp), mask),
            Content::SocketIo(payload) => {
                ws::append_frame(out, ws::TEXT, &socketio::event(payload.stamped(stamp)), mask)
            }
            Content::Compressed(corpus) => {
                let payload = corpus.deflated(spread(stamp));
                ws::append_frame(out, ws::TEXT | ws::COMPRESSED, payload, mask)
            }
        }
    }

    /// Whether a frame is the message with this stamp, with this opcode.
    pub fn matches(
        &mut self,
        net: &Net,
        conn: usize,
        frame: &Frame<'_>,
        opcode: u8,
        stamp: u64,
    ) -> Result<bool> {
        match self {
            Content::Stamped(payload) => {
                Ok(frame.opcode == opcode && frame.payload == payload.stamped(stamp))
            }
            Content::SocketIo(payload) => {
                let inner = socketio::argument(frame.payload);
                Ok(frame.opcode == ws::TEXT && inner == Some(payload.stamped(stamp)))
            }
            Content::Compressed(corpus) => Ok(frame.opcode == ws::TEXT | ws::COMPRESSED
                && corpus.matches(conn, net.takeover(conn), frame.payload, spread(stamp))?),
        }
    }

    /// The stamp of a message, which tells which one it is; `None` if it is none of ours. `next` is the stamp
    /// that is due, for content that carries none.
    pub fn stamp_of(&mut self, net: &Net, conn: usize, frame: &Frame<'_>, next: u64) -> Result<Option<u64>> {
        match self {
            Content::Stamped(payload) => {
                let stamp = parse_stamp(frame.payload)?;
                let ours = frame.opcode == ws::TEXT && payload.filler_matches(frame.payload);
                Ok(ours.then_some(stamp))
            }
            Content::SocketIo(payload) => {
                let Some(inner) = socketio::argument(frame.payload) else { return Ok(None) };
                Ok(payload.filler_matches(inner).then_some(parse_stamp(inner)?))
            }
            Content::Compressed(_) => Ok(self.matches(net, conn, frame, ws::TEXT, next)?.then_some(next)),
        }
    }

    /// Asks for everything that is published; answered with what [`Content::is_subscribed`] knows.
    pub fn subscribe(&self, out: &mut Vec<u8>, mask: u32) {
        match self {
            Content::SocketIo(_) => ws::append_frame(out, ws::TEXT, &socketio::event(SUBSCRIBE), mask),
            _ => ws::append_frame(out, ws::TEXT, SUBSCRIBE, mask),
        }
    }

    pub fn is_subscribed(&self, frame: &Frame<'_>) -> bool {
        match self {
            Content::SocketIo(_) => socketio::argument(frame.payload) == Some(SUBSCRIBED),
            _ => frame.payload == SUBSCRIBED,
        }
    }

    /// Answers a ping, of WebSocket or of socket.io; false if it is none.
    pub fn pong(&self, frame: &Frame<'_>, net: &mut Net, conn: usize, masks: &mut Masks) -> bool {
        let (opcode, payload) = match (self, frame.opcode) {
            (_, ws::PING) => (ws::PONG, frame.payload),
            (Content::SocketIo(_), ws::TEXT) if frame.payload == socketio::PING => (ws::TEXT, socketio::PONG),
            _ => return false,
        };
        ws::append_frame(net.out(conn), opcode, payload, masks.next());
        true
    }

    /// Whether every message can carry a whole stamp, or needs none.
    pub fn is_distinct(&self) -> bool {
        self.is_compressed() || self.size() >= STAMP
    }

    /// The message that was expected, for a report of another one in its place.
    pub fn expected(&mut self, stamp: u64) -> String {
        match self {
            Content::Stamped(payload) | Content::SocketIo(payload) => excerpt(payload.stamped(stamp)),
            Content::Compressed(corpus) => excerpt(corpus.plain(spread(stamp))),
        }
    }

    pub fn report(&self, report: &mut Value) {
        report["size"] = json!(self.size());
        if let Content::Compressed(corpus) = self {
            report["compressed_to"] = json!((corpus.ratio() * 1000.0).round() / 1000.0);
        }
    }
}

/// Text of the corpus for a stamp: neighbours on a connection and on neighbouring connections differ.
fn spread(stamp: u64) -> u64 {
    (stamp >> 40) * 37 + stamp
}
