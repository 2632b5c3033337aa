//! What the messages of a run consist of: stamped bytes, or a corpus of texts sent and received compressed.

use serde_json::{Value, json};

use crate::Result;
use crate::corpus::Corpus;
use crate::net::Net;
use crate::options::Options;
use crate::payload::{Payload, STAMP, excerpt};
use crate::ws::{self, Frame};

pub enum Content {
    Stamped(Payload),
    Compressed(Box<Corpus>),
}

impl Content {
    /// `--size N` and `--deflate true`, which makes them texts whatever they were.
    pub fn take(options: &mut Options, size: usize, text: bool) -> Result<Self> {
        let size = options.take_or("size", size)?;
        match options.take_or("deflate", false)? {
            true => Ok(Content::Compressed(Box::new(Corpus::new(size)?))),
            false => Ok(Content::Stamped(Payload::new(size, text))),
        }
    }

    pub fn is_compressed(&self) -> bool {
        matches!(self, Content::Compressed(_))
    }

    pub fn size(&self) -> usize {
        match self {
            Content::Stamped(payload) => payload.size(),
            Content::Compressed(corpus) => corpus.plain(0).len(),
        }
    }

    /// Appends the message that has this stamp.
    pub fn append(&mut self, out: &mut Vec<u8>, opcode: u8, stamp: u64, mask: u32) {
        match self {
            Content::Stamped(payload) => ws::append_frame(out, opcode, payload.stamped(stamp), mask),
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
            Content::Compressed(corpus) => Ok(frame.opcode == ws::TEXT | ws::COMPRESSED
                && corpus.matches(conn, net.takeover(conn), frame.payload, spread(stamp))?),
        }
    }

    /// The same where only the stamp tells which message it is; `None` if it is none of ours.
    /// `next` is the stamp that is due, for content that carries none.
    pub fn stamp_of(&mut self, net: &Net, conn: usize, frame: &Frame<'_>, next: u64) -> Result<Option<u64>> {
        match self {
            Content::Stamped(payload) => {
                let stamp = crate::payload::parse_stamp(frame.payload)?;
                let ours = frame.opcode == ws::TEXT && payload.filler_matches(frame.payload);
                Ok(ours.then_some(stamp))
            }
            Content::Compressed(_) => Ok(self.matches(net, conn, frame, ws::TEXT, next)?.then_some(next)),
        }
    }

    /// Whether every message can carry a whole stamp, or needs none.
    pub fn is_distinct(&self) -> bool {
        self.is_compressed() || self.size() >= STAMP
    }

    /// The message that was expected, for a report of what came instead.
    pub fn expected(&mut self, stamp: u64) -> String {
        match self {
            Content::Stamped(payload) => excerpt(payload.stamped(stamp)),
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
