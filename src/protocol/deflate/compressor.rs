//! Deflates messages, without their tail (RFC 7692 §7.2.1).

use super::TAIL;
use super::bits::Bits;
use super::block::Block;
use super::matcher::{Matcher, Sink};
use super::window::Window;
use crate::protocol::websocket::handshake::{Compressor, MAX_WINDOW_BITS, MIN_WINDOW_BITS};

/// From this window size on, a compressor has tables of its own.
const STREAM_WINDOW_BITS: u8 = 13;
/// The buffer for a window and a message keeps at most this capacity.
const KEPT_TEXT: usize = 64 * 1024;

/// The part that all compressors of a loop share. Nothing in it outlives a message.
pub struct SharedDeflater {
    matcher: Matcher,
    block: Block,
    /// A window and the message that follows it.
    text: Vec<u8>,
}

impl SharedDeflater {
    pub fn new() -> Self {
        Self { matcher: Matcher::new(MAX_WINDOW_BITS), block: Block::new(), text: Vec::new() }
    }

    /// Appends `data` compressed without any context.
    pub fn deflate(&mut self, window_bits: u8, data: &[u8], out: &mut Vec<u8>) {
        let window_bits = window_bits.clamp(MIN_WINDOW_BITS, MAX_WINDOW_BITS);
        let mut writer = Writer::new(&mut self.block, data, 0, out);
        self.matcher.tokens(data, 0, window_bits, &mut writer);
        writer.finish();
    }

    /// Compresses `data` as if the window had been compressed before in the same stream.
    fn deflate_after(&mut self, window: &Window, data: &[u8], out: &mut Vec<u8>) {
        self.text.clear();
        self.text.extend_from_slice(&window.bytes);
        self.text.extend_from_slice(data);
        let from = window.bytes.len();
        let mut writer = Writer::new(&mut self.block, &self.text, from, out);
        self.matcher.tokens(&self.text, from, window.bits, &mut writer);
        writer.finish();
        self.text.clear();
        self.text.shrink_to(KEPT_TEXT);
    }
}

impl Default for SharedDeflater {
    fn default() -> Self {
        Self::new()
    }
}

/// A connection's compressor.
pub struct Deflater {
    context: Context,
}

enum Context {
    None { window_bits: u8 },
    Window(Window),
    Stream { window_bits: u8, stream: Option<Box<Stream>> },
}

impl Deflater {
    pub fn new(compressor: Compressor) -> Self {
        let context = match compressor {
            Compressor::Shared { window_bits } => Context::None { window_bits },
            Compressor::Dedicated { window_bits, .. } if window_bits >= STREAM_WINDOW_BITS => {
                Context::Stream { window_bits, stream: None }
            }
            Compressor::Dedicated { window_bits, .. } => Context::Window(Window::new(window_bits)),
        };
        Self { context }
    }

    /// The window bits, if there is no context. The output of `SharedDeflater::deflate` for them may then be
    /// sent to this connection as well as to any other with the same.
    pub fn shared_window_bits(&self) -> Option<u8> {
        match self.context {
            Context::None { window_bits } => Some(window_bits),
            _ => None,
        }
    }

    /// Bytes held between messages.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        match &self.context {
            Context::None { .. } | Context::Stream { stream: None, .. } => 0,
            Context::Window(window) => window.bytes.capacity(),
            Context::Stream { stream: Some(stream), .. } => stream.text.capacity() + stream.matcher.held(),
        }
    }

    /// Like `deflate`, for a message in parts. Every part but the last ends with the tail, which the whole
    /// message does not have.
    pub fn deflate_part(&mut self, shared: &mut SharedDeflater, data: &[u8], last: bool, out: &mut Vec<u8>) {
        if last {
            self.deflate(shared, data, out);
        } else if !data.is_empty() {
            self.deflate(shared, data, out);
            out.extend_from_slice(&TAIL);
        }
    }

    /// Appends `data` compressed. The result has to be sent, or the peer's context no longer equals this one.
    pub fn deflate(&mut self, shared: &mut SharedDeflater, data: &[u8], out: &mut Vec<u8>) {
        match &mut self.context {
            Context::None { window_bits } => shared.deflate(*window_bits, data, out),
            Context::Window(window) => {
                shared.deflate_after(window, data, out);
                window.push(data);
            }
            Context::Stream { window_bits, stream } => {
                let stream = stream.get_or_insert_with(|| Box::new(Stream::new(*window_bits)));
                stream.deflate(&mut shared.block, data, out);
            }
        }
    }
}

/// Compresses message after message as one text.
struct Stream {
    matcher: Matcher,
    window_bits: u8,
    /// The window, and up to as many bytes again that precede it.
    text: Vec<u8>,
}

impl Stream {
    fn new(window_bits: u8) -> Self {
        Stream { matcher: Matcher::new(window_bits), window_bits, text: Vec::new() }
    }

    fn deflate(&mut self, block: &mut Block, data: &[u8], out: &mut Vec<u8>) {
        let size = 1 << self.window_bits;
        if self.text.len() + data.len() > 2 * size {
            self.text.drain(..self.text.len().saturating_sub(size));
        }
        let (from, needed) = (self.text.len(), self.text.len() + data.len());
        if needed > self.text.capacity() {
            self.text.reserve_exact(needed.next_power_of_two().min(2 * size).max(needed) - from);
        }
        self.text.extend_from_slice(data);
        let mut writer = Writer::new(block, &self.text, from, out);
        self.matcher.more_tokens(&self.text, from, self.window_bits, &mut writer);
        writer.finish();
        if self.text.len() > 2 * size {
            self.text.drain(..self.text.len() - size);
            self.text.shrink_to(2 * size);
        }
    }
}

/// Collects tokens, and writes a block whenever it is full.
struct Writer<'a> {
    block: &'a mut Block,
    bits: Bits<'a>,
    text: &'a [u8],
    /// Where the block's text begins.
    begin: usize,
}

impl<'a> Writer<'a> {
    fn new(block: &'a mut Block, text: &'a [u8], begin: usize, out: &'a mut Vec<u8>) -> Self {
        Writer { block, bits: Bits::new(out), text, begin }
    }

    fn write(&mut self) {
        let end = self.begin + self.block.bytes();
        self.block.write(&self.text[self.begin..end], &mut self.bits);
        self.begin = end;
    }

    fn finish(mut self) {
        if !self.block.is_empty() {
            self.write();
        }
        self.bits.finish();
    }
}

impl Sink for Writer<'_> {
    #[inline]
    fn literal(&mut self, byte: u8) {
        self.block.literal(byte);
        if self.block.is_full() {
            self.write();
        }
    }

    #[inline]
    fn copy(&mut self, len: usize, distance: usize) {
        self.block.copy(len, distance);
        if self.block.is_full() {
            self.write();
        }
    }
}
