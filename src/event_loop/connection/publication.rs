//! One publish on its way to its subscribers: its frames, each of which is built once for all of them.
//!
//! There is at most one plain frame and one compressed frame for each window size without context. For a
//! connection with a context of its own the payload is compressed separately; see `websocket.rs`.

use super::compression::Codecs;
use super::outbound::{Outbound, SharedBytes};
use crate::channel::buffers::Spare;
use crate::channel::{ExchangeId, OWNED_PAYLOAD};
use crate::event_loop::context::Context;
use crate::protocol::websocket::frame;
use crate::protocol::websocket::handshake::MAX_WINDOW_BITS;
use std::cell::Cell;
use std::rc::Rc;
use tungstenite::protocol::frame::coding::{Data, OpCode};

/// From so many subscribers on, copies of a small frame take more memory than sharing it does.
const MANY: usize = 256;
/// The size from which on so many subscribers share a frame.
const SHARED_BY_MANY: usize = 512;

pub struct Publication<'a> {
    pub binary: bool,
    pub payload: &'a [u8],
    /// The frame is sent compressed to subscribers that negotiated compression.
    pub compress: bool,
    /// Frames from this size on are shared by reference instead of being copied.
    shared_from: usize,
    /// The bytes of all shared frames of the loop.
    frames: Rc<Cell<usize>>,
    plain: Option<Frame>,
    /// By window bits.
    compressed: [Option<Frame>; MAX_WINDOW_BITS as usize + 1],
    /// The position of the payload in the arena of the `Dropped` events, once there is one for a slow
    /// subscriber.
    dropped_at: Option<usize>,
}

/// A whole frame. A small one is copied behind the bytes that are queued already, a large one is shared by
/// reference.
enum Frame {
    Small(Vec<u8>),
    Large(Rc<SharedBytes>),
}

impl<'a> Publication<'a> {
    /// Tells JavaScript that a subscriber did not get this publish. All `Dropped` events of it share one
    /// payload.
    pub fn dropped(&mut self, ctx: &mut Context, id: ExchangeId) {
        let offset = *self.dropped_at.get_or_insert_with(|| {
            let offset = ctx.dropped.arena.len();
            ctx.dropped.arena.extend_from_slice(self.payload);
            offset
        });
        ctx.dropped.push_dropped(id, self.binary, offset, self.payload.len());
    }

    /// An empty message is never compressed.
    pub fn new(
        binary: bool,
        compress: bool,
        payload: &'a [u8],
        subscribers: usize,
        frames: &Rc<Cell<usize>>,
    ) -> Self {
        let compress = compress && !payload.is_empty();
        Publication {
            binary,
            payload,
            compress,
            shared_from: if subscribers >= MANY { SHARED_BY_MANY } else { OWNED_PAYLOAD },
            frames: frames.clone(),
            plain: None,
            compressed: Default::default(),
            dropped_at: None,
        }
    }

    pub fn queue_plain(&mut self, out: &mut Outbound, spare: &mut Spare) {
        let (opcode, payload, shared_from) = (self.opcode(), self.payload, self.shared_from);
        let frames = &self.frames;
        let build = || Frame::build(spare, frames, opcode, false, payload, shared_from);
        self.plain.get_or_insert_with(build).queue(out, spare);
    }

    /// Queues the frame compressed for this window without context.
    pub fn queue_compressed(&mut self, bits: u8, codecs: &mut Codecs, out: &mut Outbound, spare: &mut Spare) {
        let (opcode, payload, shared_from) = (self.opcode(), self.payload, self.shared_from);
        let frames = &self.frames;
        let place = &mut self.compressed[usize::from(bits.min(MAX_WINDOW_BITS))];
        let frame = place.get_or_insert_with(|| {
            let mut deflated = spare.take();
            codecs.deflater().deflate(bits, payload, &mut deflated);
            let frame = Frame::build(spare, frames, opcode, true, &deflated, shared_from);
            spare.give(deflated);
            frame
        });
        frame.queue(out, spare);
    }

    pub fn opcode(&self) -> OpCode {
        OpCode::Data(if self.binary { Data::Binary } else { Data::Text })
    }

    /// Gives the buffers back.
    pub fn recycle(self, spare: &mut Spare) {
        for frame in self.compressed.into_iter().chain([self.plain]).flatten() {
            if let Frame::Small(bytes) = frame {
                spare.give(bytes);
            }
        }
    }
}

impl Frame {
    fn build(
        spare: &mut Spare,
        frames: &Rc<Cell<usize>>,
        opcode: OpCode,
        rsv1: bool,
        payload: &[u8],
        shared_from: usize,
    ) -> Self {
        let mut built = spare.take();
        frame::write_header(&mut built, opcode, true, rsv1, payload.len());
        built.extend_from_slice(payload);
        if built.len() < shared_from {
            return Frame::Small(built);
        }
        let shared = SharedBytes::new(&built, frames);
        spare.give(built);
        Frame::Large(shared)
    }

    fn queue(&self, out: &mut Outbound, spare: &mut Spare) {
        match self {
            Frame::Small(bytes) => out.append(spare, |out| out.extend_from_slice(bytes)),
            Frame::Large(bytes) => out.push_shared(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_built_once_and_large_ones_shared() {
        let (mut spare, mut codecs) = (Spare::default(), Codecs::default());
        let payload: Vec<u8> = (0..100_000_u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect();
        let mut publication = Publication::new(true, true, &payload, 3, &Rc::default());
        let mut outs = [Outbound::default(), Outbound::default(), Outbound::default()];
        for out in &mut outs {
            publication.queue_plain(out, &mut spare);
            publication.queue_compressed(15, &mut codecs, out, &mut spare);
            publication.queue_compressed(9, &mut codecs, out, &mut spare);
        }
        let built = publication.compressed.iter().flatten().count();
        assert_eq!(built, 2, "one frame for each window");
        for frame in publication.compressed.iter().flatten().chain(&publication.plain) {
            let Frame::Large(bytes) = frame else { panic!("these frames are large") };
            assert_eq!(Rc::strong_count(bytes), 1 + outs.len());
        }
        assert!(outs[0].len() > 100_010 && outs.iter().all(|out| out.len() == outs[0].len()));
    }

    #[test]
    fn an_empty_publish_is_plain() {
        assert!(!Publication::new(false, true, b"", 1, &Rc::default()).compress);
        assert!(Publication::new(false, true, b"x", 1, &Rc::default()).compress);
    }
}
