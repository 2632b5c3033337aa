//! The codec of permessage-deflate (RFC 7692 §7.2): one message in, one message out.
//!
//! Each loop owns one `SharedDeflater` and one `SharedInflater`, each connection a `Deflater` and an `Inflater` for what
//! its handshake negotiated. What a connection keeps between messages is its LZ77 window and nothing else, presented to
//! the loop's codec as a dictionary: zlib-rs keeps 128 KiB of hash table in every compressor and 32 KiB of window in
//! every decompressor, whatever size is asked of them. Only compressors with a large window have a stream of their own,
//! because there hashing the window anew for each message would take longer than compressing.
//!
//! zlib-rs is used without flate2, which passes on neither memory levels nor dictionaries.

use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, Inflate, InflateFlush, Status};

use super::frame::WsError;
use super::handshake::{Compressor, DEFAULT_MEMORY_LEVEL, Decompressor, MAX_WINDOW_BITS, MIN_WINDOW_BITS};

/// What a flush ends with: removed after deflating, put back before inflating (RFC 7692 §7.2.1, §7.2.2).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];
/// The tail and a last, empty block: reaching its end proves that the message was not cut short.
const TAIL_AND_END: [u8; 6] = [0x00, 0x00, 0xff, 0xff, 0x03, 0x00];
/// An empty message (RFC 7692 §7.2.3.6).
const EMPTY: u8 = 0x00;
/// zlib's default.
const LEVEL: i32 = 6;
/// RFC 7692 §7.2.3.4 lets a message have final blocks with more blocks after them. Each costs a restart, so that many of
/// them are an attack.
const MAX_FINAL_BLOCKS: usize = 16;
/// Output is produced in steps of this size.
const SCRATCH: usize = 32 * 1024;
/// From this window on, a compressor has its own stream.
const STREAM_WINDOW_BITS: u8 = 13;
const WINDOW_SIZES: usize = (MAX_WINDOW_BITS - MIN_WINDOW_BITS + 1) as usize;

/// Compressors of a loop: at most one for each window size, created when first needed.
pub struct SharedDeflater {
    streams: [Option<Deflate>; WINDOW_SIZES],
    scratch: Vec<u8>,
}

impl SharedDeflater {
    pub fn new() -> Self {
        Self { streams: Default::default(), scratch: vec![0; SCRATCH] }
    }

    /// Appends `data` compressed without any context. False: it cannot be, and has to be sent as it is.
    #[must_use]
    pub fn deflate(&mut self, window_bits: u8, data: &[u8], out: &mut Vec<u8>) -> bool {
        self.deflate_after(&[], window_bits, data, out)
    }

    /// As if `history` were what the same stream compressed before.
    fn deflate_after(&mut self, history: &[u8], window_bits: u8, data: &[u8], out: &mut Vec<u8>) -> bool {
        let window_bits = window_bits.clamp(MIN_WINDOW_BITS, MAX_WINDOW_BITS);
        let stream = self.streams[usize::from(window_bits - MIN_WINDOW_BITS)]
            .get_or_insert_with(|| new_stream(window_bits, DEFAULT_MEMORY_LEVEL));
        stream.reset();
        if !history.is_empty() && stream.set_dictionary(history).is_err() {
            return false;
        }
        deflate_message(stream, &mut self.scratch, data, out)
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
    Stream { window_bits: u8, memory_level: u8, stream: Option<Box<Deflate>> },
}

impl Deflater {
    pub fn new(compressor: Compressor) -> Self {
        let context = match compressor {
            Compressor::Shared { window_bits } => Context::None { window_bits },
            Compressor::Dedicated { window_bits, memory_level } if window_bits >= STREAM_WINDOW_BITS => {
                Context::Stream { window_bits, memory_level, stream: None }
            }
            Compressor::Dedicated { window_bits, .. } => Context::Window(Window::new(window_bits)),
        };
        Self { context }
    }

    /// The window's bits if there is no context: then what `SharedDeflater::deflate` made with them may be sent to this
    /// connection as to any other.
    pub fn shared_window_bits(&self) -> Option<u8> {
        match self.context {
            Context::None { window_bits } => Some(window_bits),
            _ => None,
        }
    }

    /// Appends `data` compressed. It has to be sent, or the peer's context no longer fits this one's.
    /// False: it cannot be compressed and has to be sent as it is.
    #[must_use]
    pub fn deflate(&mut self, shared: &mut SharedDeflater, data: &[u8], out: &mut Vec<u8>) -> bool {
        match &mut self.context {
            Context::None { window_bits } => shared.deflate(*window_bits, data, out),
            Context::Window(window) => {
                let done = shared.deflate_after(&window.bytes, window.bits, data, out);
                if done {
                    window.push(data);
                }
                done
            }
            Context::Stream { window_bits, memory_level, stream } => {
                let own = stream.get_or_insert_with(|| Box::new(new_stream(*window_bits, *memory_level)));
                let done = deflate_message(own, &mut shared.scratch, data, out);
                if !done {
                    // A new stream refers to nothing the peer has not seen.
                    *stream = None;
                }
                done
            }
        }
    }
}

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

    /// The message's data is through; it has to stop at the end of a block.
    fn finish(&mut self, output: &mut Bounded) -> Result<(), WsError> {
        match self.run(&TAIL_AND_END, output)? {
            ([], true) => Ok(()),
            _ => Err(WsError::InvalidDeflate),
        }
    }

    /// Inflates until the input is used up or a final block ends; returns what is left of the input and whether a final
    /// block ended.
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
    /// None: no context survives a message.
    window: Option<Window>,
}

impl Inflater {
    pub fn new(decompressor: Decompressor) -> Self {
        match decompressor {
            Decompressor::Shared => Self { window: None },
            Decompressor::Dedicated { window_bits } => Self { window: Some(Window::new(window_bits)) },
        }
    }

    /// Appends the inflated message to `out`. One of more than `max_payload` bytes is an error, found without holding
    /// much more than that.
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

/// The last bytes of a stream, as many as a distance can reach back to.
struct Window {
    bits: u8,
    bytes: Vec<u8>,
}

impl Window {
    fn new(bits: u8) -> Self {
        Self { bits, bytes: Vec::new() }
    }

    fn push(&mut self, data: &[u8]) {
        let size = 1 << self.bits;
        let data = &data[data.len().saturating_sub(size)..];
        let surplus = (self.bytes.len() + data.len()).saturating_sub(size);
        self.bytes.drain(..surplus);
        let wanted = self.bytes.len() + data.len();
        if wanted > self.bytes.capacity() {
            let capacity = wanted.next_power_of_two().min(size);
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        self.bytes.extend_from_slice(data);
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

fn new_stream(window_bits: u8, memory_level: u8) -> Deflate {
    Deflate::new_with_config(DeflateConfig {
        level: LEVEL,
        // Negative: without zlib's header and checksum.
        window_bits: -i32::from(window_bits),
        mem_level: i32::from(memory_level),
        ..DeflateConfig::default()
    })
}

/// Compresses and flushes one message; leaves `out` as it was if that fails.
fn deflate_message(stream: &mut Deflate, scratch: &mut [u8], data: &[u8], out: &mut Vec<u8>) -> bool {
    if data.is_empty() {
        // A second flush without input would produce nothing at all.
        out.push(EMPTY);
        return true;
    }
    let start = out.len();
    let flushed = flush_into(stream, scratch, data, out);
    if !flushed || !out[start..].ends_with(&TAIL) {
        out.truncate(start);
        return false;
    }
    out.truncate(out.len() - TAIL.len());
    true
}

fn flush_into(stream: &mut Deflate, scratch: &mut [u8], mut data: &[u8], out: &mut Vec<u8>) -> bool {
    loop {
        let (consumed, produced) = (stream.total_in(), stream.total_out());
        if stream.compress(data, scratch, DeflateFlush::SyncFlush).is_err() {
            return false;
        }
        data = &data[(stream.total_in() - consumed) as usize..];
        let produced = (stream.total_out() - produced) as usize;
        out.extend_from_slice(&scratch[..produced]);
        // A full buffer means that there may be more to come.
        if produced < scratch.len() {
            return data.is_empty();
        }
    }
}
