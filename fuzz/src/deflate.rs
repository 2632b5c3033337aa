//! permessage-deflate: our compressor and our decompressor against each other, zlib-rs and miniz_oxide, with
//! every window, with and without context, and bounded whatever is inflated.

use crate::input::{Input, ends};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};
use std::cell::RefCell;
use uws_rs::protocol::deflate::{Deflater, Inflater, SharedDeflater, SharedInflater};
use uws_rs::protocol::websocket::frame::WsError;
use uws_rs::protocol::websocket::handshake::{Compressor, Decompressor};
use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, Inflate, InflateFlush};

thread_local! {
    /// Those of a loop, which nothing may outlive a message in: one run has them from another.
    static SHARED: RefCell<(SharedDeflater, SharedInflater)> = RefCell::default();
}

const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];
const MAX_INPUT: usize = 64 << 10;

pub fn run(data: &[u8]) {
    let mut input = Input::new(&data[..data.len().min(MAX_INPUT)]);
    let (compressor, repeat) = (compressor(input.number()), input.number() % 8);
    let (level, limit) = (input.number(), input.number());
    let pieces = input.pieces();
    let stream = input.stream();
    let messages = messages(stream, &pieces, repeat);
    SHARED.with_borrow_mut(|shared| {
        deflate_and_inflate(shared, compressor, &messages);
        in_parts(shared, compressor, &messages);
        zlib_and_inflate(&mut shared.1, compressor, level, &messages);
        inflate_anything(&mut shared.1, compressor, stream, limit << (level % 8));
    });
}

fn window_of(compressor: Compressor) -> u8 {
    let (Compressor::Shared { window_bits } | Compressor::Dedicated { window_bits, .. }) = compressor;
    window_bits
}

fn compressor(number: usize) -> Compressor {
    let window_bits = 9 + (number % 7) as u8;
    match number / 7 % 2 {
        0 => Compressor::Shared { window_bits },
        _ => Compressor::Dedicated { window_bits, memory_level: 8 },
    }
}

/// The stream in pieces; each is repeated so often that texts are longer than the window, and comes once more
/// later on.
fn messages(stream: &[u8], pieces: &[usize], repeat: usize) -> Vec<Vec<u8>> {
    let mut start = 0;
    let cut = ends(pieces, stream.len()).into_iter().map(|end| {
        let piece = &stream[start..end];
        start = end;
        let times = if piece.len() < 4096 { 1 << repeat } else { 1 };
        piece.repeat(times)
    });
    let mut messages: Vec<_> = cut.collect();
    messages.extend(messages.first().cloned());
    messages
}

/// A decoder of one unbroken stream, with no more than the window to copy from: a longer distance gives wrong
/// bytes or an error.
struct Reference {
    decoder: Box<DecompressorOxide>,
    window: Vec<u8>,
    at: usize,
}

impl Reference {
    fn new(window_bits: u8) -> Self {
        Self { decoder: Box::default(), window: vec![0; 1 << window_bits], at: 0 }
    }

    /// `None`: malformed, or a final block has come.
    fn inflate(&mut self, data: &[u8], most: usize) -> Option<Vec<u8>> {
        let (mut input, mut out) = (data, Vec::new());
        loop {
            let flags = inflate_flags::TINFL_FLAG_HAS_MORE_INPUT;
            let (status, consumed, produced) =
                decompress(&mut self.decoder, input, &mut self.window, self.at, flags);
            input = &input[consumed..];
            out.extend_from_slice(&self.window[self.at..self.at + produced]);
            self.at = (self.at + produced) % self.window.len();
            match status {
                TINFLStatus::NeedsMoreInput => return input.is_empty().then_some(out),
                TINFLStatus::HasMoreOutput if out.len() <= most => {}
                _ => return None,
            }
        }
    }
}

fn deflate_and_inflate(
    shared: &mut (SharedDeflater, SharedInflater),
    compressor: Compressor,
    messages: &[Vec<u8>],
) {
    let window_bits = window_of(compressor);
    let has_context = matches!(compressor, Compressor::Dedicated { .. });
    let mut deflater = Deflater::new(compressor);
    let mut inflater = Inflater::new(if has_context {
        Decompressor::Dedicated { window_bits }
    } else {
        Decompressor::Shared
    });
    let mut reference = Reference::new(window_bits);
    let mut zlib = Inflate::new(false, 15);
    for message in messages {
        let mut compressed = b"before".to_vec();
        deflater.deflate(&mut shared.0, message, &mut compressed);
        let compressed = compressed.strip_prefix(b"before").expect("output is appended");
        assert!(compressed.len() <= message.len() + message.len() / 1000 + 16, "no stored blocks");
        let mut out = b"before".to_vec();
        let result = inflater.inflate(&mut shared.1, compressed, message.len(), &mut out);
        assert_eq!(result, Ok(()));
        assert!(out.strip_prefix(b"before") == Some(message));
        if let Some(less) = message.len().checked_sub(1) {
            let result =
                Inflater::new(Decompressor::Shared).inflate(&mut shared.1, compressed, less, &mut out);
            assert!(result.is_err(), "with one byte less allowed, or without the context");
        }
        if !has_context {
            reference = Reference::new(window_bits);
            zlib.reset(false);
        }
        let whole = [compressed, &TAIL].concat();
        assert!(reference.inflate(&whole, message.len()).as_ref() == Some(message), "a window too large");
        let mut theirs = vec![0; message.len() + 1];
        let before = zlib.total_out();
        zlib.decompress(&whole, &mut theirs, InflateFlush::SyncFlush).expect("sound");
        theirs.truncate((zlib.total_out() - before) as usize);
        assert!(&theirs == message);
    }
}

/// All messages as the parts of one.
fn in_parts(shared: &mut (SharedDeflater, SharedInflater), compressor: Compressor, messages: &[Vec<u8>]) {
    let mut deflater = Deflater::new(compressor);
    let (mut compressed, whole) = (Vec::new(), messages.concat());
    for (at, part) in messages.iter().enumerate() {
        deflater.deflate_part(&mut shared.0, part, at + 1 == messages.len(), &mut compressed);
    }
    let mut out = Vec::new();
    let mut inflater = Inflater::new(Decompressor::Shared);
    assert_eq!(inflater.inflate(&mut shared.1, &compressed, whole.len(), &mut out), Ok(()));
    assert!(out == whole);
}

/// A peer that deflates with zlib.
fn zlib_and_inflate(shared: &mut SharedInflater, compressor: Compressor, level: usize, messages: &[Vec<u8>]) {
    let window_bits = window_of(compressor);
    let has_context = matches!(compressor, Compressor::Dedicated { .. });
    let config = DeflateConfig {
        level: (level % 10) as i32,
        // Negative: without zlib's header and checksum.
        window_bits: -i32::from(window_bits),
        ..DeflateConfig::default()
    };
    let mut zlib = Deflate::new_with_config(config);
    let mut inflater = Inflater::new(if has_context {
        Decompressor::Dedicated { window_bits }
    } else {
        Decompressor::Shared
    });
    for message in messages {
        if !has_context {
            zlib.reset();
        }
        let mut compressed = vec![0; 2 * message.len() + 1000];
        let before = zlib.total_out();
        zlib.compress(message, &mut compressed, DeflateFlush::SyncFlush).expect("room");
        compressed.truncate((zlib.total_out() - before) as usize);
        let compressed = compressed.strip_suffix(&TAIL).unwrap_or(&compressed);
        let mut out = Vec::new();
        assert_eq!(inflater.inflate(shared, compressed, message.len(), &mut out), Ok(()));
        assert!(&out == message);
    }
}

/// Whatever is inflated, no more than is allowed comes out, and the same as from another decoder.
fn inflate_anything(shared: &mut SharedInflater, compressor: Compressor, stream: &[u8], limit: usize) {
    let window_bits = window_of(compressor);
    let mut inflater = Inflater::new(Decompressor::Dedicated { window_bits });
    let mut out = Vec::new();
    let result = inflater.inflate(shared, stream, limit, &mut out);
    assert!(out.len() <= limit && out.capacity() <= (2 * limit).max(64));
    let stripped = stream.strip_suffix(&TAIL).unwrap_or(stream);
    let theirs = Reference::new(15).inflate(&[stripped, &TAIL].concat(), limit);
    match (result, theirs) {
        (Ok(()), Some(theirs)) => assert!(out == theirs),
        // A final block ended the other decoder.
        (Ok(()), None) => {}
        (Err(WsError::TooBigInflation), None) => {}
        (Err(WsError::TooBigInflation), Some(theirs)) => assert!(theirs.len() > limit),
        // The other one does not ask that a message ends with a block.
        (Err(WsError::InvalidDeflate), _) => {}
        (Err(error), _) => panic!("{error:?}"),
    }
    // The shared decoder is as good as new for the next connection.
    out.clear();
    let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let result = Inflater::new(Decompressor::Shared).inflate(shared, &hello, 5, &mut out);
    assert_eq!((result, &out[..]), (Ok(()), &b"Hello"[..]));
}
