//! Inflates messages, never to more bytes than are allowed.
//!
//! The loop owns the one decoder. Each connection owns its window, which the decoder gets as a dictionary.

use zlib_rs::{Inflate, InflateFlush, Status};

use super::window::Window;
use super::{MAX_FINAL_BLOCKS, SCRATCH, TAIL, TAIL_AND_END};
use crate::protocol::websocket::frame::WsError;
use crate::protocol::websocket::handshake::{Decompressor, MAX_WINDOW_BITS};

/// The decompressor of a loop.
pub struct SharedInflater {
    stream: Inflate,
    scratch: Vec<u8>,
}

impl SharedInflater {
    pub fn new() -> Self {
        Self { stream: Inflate::new(false, MAX_WINDOW_BITS), scratch: vec![0; SCRATCH] }
    }

    /// Appends the inflated `data`, at most `max_payload` bytes.
    fn inflate_after(
        &mut self,
        history: &[u8],
        data: &[u8],
        max_payload: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), WsError> {
        let mut output = Bounded { start: out.len(), max: max_payload, out };
        let mut data = data.strip_suffix(&TAIL).unwrap_or(data);
        for _ in 0..MAX_FINAL_BLOCKS {
            if data.is_empty() {
                return Ok(());
            }
            self.restart(history, output.written())?;
            let (rest, ended) = self.run(data, &mut output)?;
            if !ended {
                return self.finish(&mut output);
            }
            data = rest;
        }
        Err(WsError::InvalidDeflate)
    }

    /// Begins a stream that continues after `history` and then `written`.
    fn restart(&mut self, history: &[u8], written: &[u8]) -> Result<(), WsError> {
        self.stream.reset(false);
        for dictionary in [history, written].into_iter().filter(|bytes| !bytes.is_empty()) {
            self.stream.set_dictionary(dictionary).map_err(|_| WsError::InvalidDeflate)?;
        }
        Ok(())
    }

    /// Called after the data of a message, which has to end at the end of a block.
    fn finish(&mut self, output: &mut Bounded) -> Result<(), WsError> {
        match self.run(&TAIL_AND_END, output)? {
            ([], true) => Ok(()),
            _ => Err(WsError::InvalidDeflate),
        }
    }

    /// Inflates until the input is used up or a final block ends; returns the rest of the input and whether a
    /// final block ended.
    fn run<'a>(&mut self, mut input: &'a [u8], output: &mut Bounded) -> Result<(&'a [u8], bool), WsError> {
        loop {
            let (consumed, produced) = (self.stream.total_in(), self.stream.total_out());
            let status = self
                .stream
                .decompress(input, &mut self.scratch, InflateFlush::SyncFlush)
                .map_err(|_| WsError::InvalidDeflate)?;
            let consumed = (self.stream.total_in() - consumed) as usize;
            let produced = (self.stream.total_out() - produced) as usize;
            input = &input[consumed..];
            output.push(&self.scratch[..produced])?;
            if status == Status::StreamEnd {
                return Ok((input, true));
            }
            // After a full buffer there may be more output. A step that consumes nothing is not expected;
            // return then rather than loop for ever.
            if produced < self.scratch.len() && (input.is_empty() || consumed == 0) {
                return Ok((input, false));
            }
        }
    }
}

impl Default for SharedInflater {
    fn default() -> Self {
        Self::new()
    }
}

/// A connection's decompressor.
pub struct Inflater {
    /// `None`: no context survives a message.
    window: Option<Window>,
}

impl Inflater {
    pub fn new(decompressor: Decompressor) -> Self {
        match decompressor {
            Decompressor::Shared => Self { window: None },
            Decompressor::Dedicated { window_bits } => Self { window: Some(Window::new(window_bits)) },
        }
    }

    /// Bytes held between messages.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.window.as_ref().map_or(0, |window| window.bytes.capacity())
    }

    /// Appends the inflated message to `out`. One of more than `max_payload` bytes is an error, found without
    /// holding much more than that.
    pub fn inflate(
        &mut self,
        shared: &mut SharedInflater,
        data: &[u8],
        max_payload: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), WsError> {
        let start = out.len();
        let history = self.window.as_ref().map_or(&[][..], |window| &window.bytes);
        shared.inflate_after(history, data, max_payload, out)?;
        if let Some(window) = &mut self.window {
            window.push(&out[start..]);
        }
        Ok(())
    }
}

/// Output that refuses to grow beyond `max` bytes from `start`.
struct Bounded<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    max: usize,
}

impl Bounded<'_> {
    fn push(&mut self, data: &[u8]) -> Result<(), WsError> {
        if self.out.len() - self.start + data.len() > self.max {
            return Err(WsError::TooBigInflation);
        }
        self.out.extend_from_slice(data);
        Ok(())
    }

    fn written(&self) -> &[u8] {
        &self.out[self.start..]
    }
}
