//! permessage-deflate of a connection: inflates received messages, and decides which sent ones are deflated.
//!
//! The codecs that keep no context belong to the loop and are made when first needed, so that a server
//! without compression has none and a connection with shared compressor and decompressor adds nothing but the
//! few words of [`Compression`]. `protocol::deflate` says how much memory a dedicated one takes. Everything
//! runs in the loop thread.

use crate::channel::send_flag;
use crate::protocol::deflate::{Deflater, Inflater, SharedDeflater, SharedInflater};
use crate::protocol::websocket::frame::WsError;
use crate::protocol::websocket::handshake::Negotiated;

/// The loop's codecs, without a context that outlives a message.
#[derive(Default)]
pub struct Codecs {
    deflater: Option<Box<SharedDeflater>>,
    inflater: Option<Box<SharedInflater>>,
}

impl Codecs {
    pub fn deflater(&mut self) -> &mut SharedDeflater {
        self.deflater.get_or_insert_default()
    }

    fn inflater(&mut self) -> &mut SharedInflater {
        self.inflater.get_or_insert_default()
    }
}

/// The codecs of a connection that negotiated permessage-deflate.
pub struct Compression {
    deflater: Deflater,
    inflater: Inflater,
    /// Whether the message whose fragments are being sent is compressed.
    fragments: bool,
}

/// How a payload is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// The payload itself.
    Plain,
    /// The bytes that were appended to the buffer are sent in its place.
    Deflated { rsv1: bool },
}

impl Compression {
    pub fn new(negotiated: Negotiated) -> Self {
        Compression {
            deflater: Deflater::new(negotiated.compressor),
            inflater: Inflater::new(negotiated.decompressor),
            fragments: false,
        }
    }

    /// The window bits of a compressor without context; its output may be sent to every connection with the
    /// same.
    pub fn shared_window_bits(&self) -> Option<u8> {
        self.deflater.shared_window_bits()
    }

    /// Decides whether a frame that JavaScript sends is compressed, and if so appends its compressed payload.
    ///
    /// RFC 7692 §6.1: compression is a property of the whole message. The `compress` flag of its first
    /// fragment decides for all of them; the original goes by each fragment's own, which no client can read.
    pub fn outgoing(&mut self, codecs: &mut Codecs, flags: u32, data: &[u8], out: &mut Vec<u8>) -> Outgoing {
        if flags & send_flag::PING != 0 {
            return Outgoing::Plain;
        }
        let (first, last) = (flags & send_flag::CONTINUATION == 0, flags & send_flag::NOT_FINAL == 0);
        let compressed =
            if first { flags & send_flag::COMPRESS != 0 && !data.is_empty() } else { self.fragments };
        self.fragments = compressed && !last;
        if !compressed {
            return Outgoing::Plain;
        }
        self.deflater.deflate_part(codecs.deflater(), data, last, out);
        Outgoing::Deflated { rsv1: first }
    }

    /// Appends the inflated message to `out`, or leaves that as it was.
    pub fn inflate(
        &mut self,
        codecs: &mut Codecs,
        binary: bool,
        data: &[u8],
        max_payload: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), WsError> {
        let start = out.len();
        let inflated = self.inflater.inflate(codecs.inflater(), data, max_payload, out);
        let checked =
            inflated.and_then(|()| match binary || simdutf8::basic::from_utf8(&out[start..]).is_ok() {
                true => Ok(()),
                false => Err(WsError::InvalidUtf8),
            });
        if checked.is_err() {
            out.truncate(start);
        }
        checked
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::websocket::handshake::{Compressor, Decompressor};

    fn compression(compressor: Compressor) -> Compression {
        Compression::new(Negotiated { compressor, decompressor: Decompressor::Shared })
    }

    fn compressors() -> [Compressor; 3] {
        let dedicated = |window_bits, memory_level| Compressor::Dedicated { window_bits, memory_level };
        [Compressor::Shared { window_bits: 15 }, dedicated(9, 1), dedicated(15, 8)]
    }

    #[test]
    fn pings_empty_and_unmarked_messages_stay_as_they_are() {
        let (mut codecs, mut out) = (Codecs::default(), Vec::new());
        let mut compression = compression(Compressor::Shared { window_bits: 15 });
        let cases: [(u32, &[u8]); 4] = [
            (send_flag::PING | send_flag::COMPRESS, b"ping"),
            (send_flag::COMPRESS, b""),
            (0, b"text"),
            (send_flag::CONTINUATION | send_flag::COMPRESS, b"of a plain message"),
        ];
        for (flags, data) in cases {
            assert_eq!(compression.outgoing(&mut codecs, flags, data, &mut out), Outgoing::Plain);
        }
        assert!(out.is_empty() && codecs.deflater.is_none(), "nothing was made for it");
    }

    #[test]
    fn fragments_make_one_compressed_message() {
        const MORE: u32 = send_flag::NOT_FINAL;
        const NEXT: u32 = send_flag::CONTINUATION;
        for compressor in compressors() {
            let (mut codecs, mut sender) = (Codecs::default(), compression(compressor));
            let whole = Compressor::Dedicated { window_bits: 15, memory_level: 8 };
            let mut receiver = Compression::new(Negotiated {
                compressor: whole,
                decompressor: Decompressor::Dedicated { window_bits: 15 },
            });
            for last in [&b" and last"[..], b""] {
                let (mut payload, mut text) = (Vec::new(), Vec::new());
                let parts: [(u32, &[u8]); 4] = [
                    (MORE | send_flag::COMPRESS, b"first"),
                    (MORE | NEXT, b""),
                    (MORE | NEXT, b" first first"),
                    (NEXT, last),
                ];
                for (index, (flags, data)) in parts.into_iter().enumerate() {
                    let sent = sender.outgoing(&mut codecs, flags, data, &mut payload);
                    assert_eq!(sent, Outgoing::Deflated { rsv1: index == 0 }, "{compressor:?}");
                }
                assert_eq!(receiver.inflate(&mut codecs, false, &payload, 100, &mut text), Ok(()));
                assert_eq!(text, [&b"first first first"[..], last].concat(), "{compressor:?}");
            }
        }
    }

    #[test]
    fn data_that_cannot_be_inflated_leaves_nothing_behind() {
        let (mut codecs, mut deflated) = (Codecs::default(), Vec::new());
        let mut compression = compression(Compressor::Shared { window_bits: 15 });
        let text = [&b"\xff"[..], &[b'a'; 99]].concat();
        let sent = compression.outgoing(&mut codecs, send_flag::COMPRESS, &text, &mut deflated);
        assert_eq!(sent, Outgoing::Deflated { rsv1: true });
        let mut out = b"before".to_vec();
        let mut inflate = |binary, max| {
            let result = compression.inflate(&mut codecs, binary, &deflated, max, &mut out);
            (result, out.len())
        };
        assert_eq!(inflate(false, 100), (Err(WsError::InvalidUtf8), 6));
        assert_eq!(inflate(true, 99), (Err(WsError::TooBigInflation), 6));
        assert_eq!(inflate(true, 100), (Ok(()), 106));
    }
}
