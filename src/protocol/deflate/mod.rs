//! The codec of permessage-deflate (RFC 7692 §7.2): one message in, one message out.
//!
//! Each loop owns one `SharedDeflater` and one `SharedInflater`, each connection a `Deflater` and an
//! `Inflater` with the parameters of its handshake. Between messages a connection keeps only its LZ77 window,
//! which the loop's codec gets as the preceding data. Only compressors with a large window have tables of
//! their own, because entering such a window again for each message would take longer than compressing.
//!
//! From the first message on, dedicated codecs hold memory. A decompressor holds its window (512 bytes to 32
//! KiB, as far as it has been filled), a compressor of up to "32KB" its window (512 bytes to 4 KiB), and one
//! of "64KB", "128KB" or "256KB" a window and tables of these sizes. Shared codecs hold nothing.
//!
//! We have a compressor of our own, because a general one clears tables of some 100 KiB before each message
//! without context, which takes longer than compressing a short message.

mod bits;
mod block;
mod compressor;
mod decompressor;
mod huffman;
mod matcher;
mod window;

pub use compressor::{Deflater, SharedDeflater};
pub use decompressor::{Inflater, SharedInflater};

use super::websocket::handshake::MAX_WINDOW_BITS;

/// The end of a flush, which is removed after deflating and put back before inflating
/// (RFC 7692 §7.2.1, §7.2.2).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];
/// The tail and a last, empty block. The decoder reaches its end only from the end of another block, so not
/// if a message was cut short.
const TAIL_AND_END: [u8; 6] = [0x00, 0x00, 0xff, 0xff, 0x03, 0x00];
/// RFC 7692 §7.2.3.4 lets a message have final blocks with more blocks after them. Each costs a restart, so
/// that many of them are an attack.
const MAX_FINAL_BLOCKS: usize = 16;
/// The decoder produces output in steps of this size.
const SCRATCH: usize = 32 * 1024;

#[cfg(test)]
mod tests {
    use miniz_oxide::inflate::TINFLStatus;
    use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};
    use proptest::prelude::*;

    use super::super::websocket::frame::WsError;
    use super::super::websocket::handshake::{Compressor, Decompressor};
    use super::*;
    use zlib_rs::{Deflate, DeflateConfig, DeflateFlush};

    const SHARED: Decompressor = Decompressor::Shared;

    fn dedicated(window_bits: u8) -> Decompressor {
        Decompressor::Dedicated { window_bits }
    }

    fn all_compressors() -> Vec<Compressor> {
        let shared = (9..=15).map(|window_bits| Compressor::Shared { window_bits });
        let levels = [(9, 1), (9, 2), (10, 3), (11, 4), (12, 5), (13, 6), (14, 7), (15, 8)];
        let dedicated =
            levels.map(|(window_bits, memory_level)| Compressor::Dedicated { window_bits, memory_level });
        shared.chain(dedicated).collect()
    }

    fn inflate(decompressor: Decompressor, data: &[u8], max: usize) -> Result<Vec<u8>, WsError> {
        let mut out = Vec::new();
        Inflater::new(decompressor).inflate(&mut SharedInflater::new(), data, max, &mut out)?;
        Ok(out)
    }

    fn deflate(compressor: Compressor, data: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        Deflater::new(compressor).deflate(&mut SharedDeflater::new(), data, &mut out);
        out
    }

    fn without_context(data: &[u8]) -> Vec<u8> {
        deflate(Compressor::Shared { window_bits: 15 }, data)
    }

    /// Another implementation's decoder, which reads one unbroken stream and has no more than the given
    /// window to copy from: a longer distance gives wrong bytes or an error.
    struct Reference {
        decoder: Box<DecompressorOxide>,
        window: Vec<u8>,
        at: usize,
    }

    impl Reference {
        fn new(window_bits: u8) -> Self {
            Self { decoder: Box::default(), window: vec![0; 1 << window_bits], at: 0 }
        }

        fn inflate(&mut self, message: &[u8]) -> Option<Vec<u8>> {
            let data = [message, &TAIL].concat();
            let (mut input, mut out) = (&data[..], Vec::new());
            loop {
                let flags = inflate_flags::TINFL_FLAG_HAS_MORE_INPUT;
                let (status, consumed, produced) =
                    decompress(&mut self.decoder, input, &mut self.window, self.at, flags);
                input = &input[consumed..];
                out.extend_from_slice(&self.window[self.at..self.at + produced]);
                self.at = (self.at + produced) % self.window.len();
                match status {
                    TINFLStatus::NeedsMoreInput => return input.is_empty().then_some(out),
                    TINFLStatus::HasMoreOutput => {}
                    _ => return None,
                }
            }
        }
    }

    /// A peer that compresses with zlib.
    fn zlib_stream(window_bits: u8) -> Deflate {
        Deflate::new_with_config(DeflateConfig {
            // Negative: without zlib's header and checksum.
            window_bits: -i32::from(window_bits),
            ..DeflateConfig::default()
        })
    }

    fn zlib_message(stream: &mut Deflate, data: &[u8], out: &mut Vec<u8>) {
        if data.is_empty() {
            // A second flush without input would produce nothing at all.
            return out.push(0);
        }
        let mut flushed = vec![0; 2 * data.len() + 1000];
        let before = stream.total_out();
        stream.compress(data, &mut flushed, DeflateFlush::SyncFlush).unwrap();
        flushed.truncate((stream.total_out() - before) as usize);
        out.extend_from_slice(flushed.strip_suffix(&TAIL).unwrap());
    }

    /// Text that compresses somewhat and never repeats itself.
    fn sample(len: usize) -> Vec<u8> {
        let line =
            |i: usize| format!("{{\"id\":{i},\"name\":\"user {}\"}},", i.wrapping_mul(2_654_435_761) % 9973);
        (0..).flat_map(|i| line(i).into_bytes()).take(len).collect()
    }

    fn noise(len: usize) -> Vec<u8> {
        let mut state = 88_172_645_463_325_252_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        };
        (0..len).map(|_| next()).collect()
    }

    #[test]
    fn examples_of_the_rfc_are_inflated() {
        // RFC 7692 §7.2.3.1 to §7.2.3.6.
        let cases: [(&str, &[u8], &[u8]); 6] = [
            ("one block", &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00], b"Hello"),
            ("stored", &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00], b"Hello"),
            ("final block", &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00], b"Hello"),
            ("two blocks", &[0xf2, 0x48, 0x05, 0, 0, 0, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00], b"Hello"),
            ("empty", &[0x00], b""),
            ("empty as stored", &[0x02, 0x00], b""),
        ];
        for (name, data, expected) in cases {
            for decompressor in [SHARED, dedicated(9), dedicated(15)] {
                assert_eq!(inflate(decompressor, data, 5).as_deref(), Ok(expected), "{name}");
            }
        }
    }

    #[test]
    fn context_of_the_rfc_is_taken_over() {
        let (first, second) = ([0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00], [0xf2, 0x00, 0x11, 0x00, 0x00]);
        let mut shared = SharedInflater::new();
        let mut inflater = Inflater::new(dedicated(15));
        let mut out = Vec::new();
        assert_eq!(inflater.inflate(&mut shared, &first, 5, &mut out), Ok(()));
        assert_eq!(inflate(SHARED, &second, 100), Err(WsError::InvalidDeflate));
        assert_eq!(inflater.inflate(&mut shared, &second, 5, &mut out), Ok(()));
        assert_eq!(out, b"HelloHello");
    }

    #[test]
    fn examples_of_the_rfc_are_deflated() {
        assert_eq!(without_context(b"Hello"), [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]);
        assert_eq!(without_context(b""), [0x00]);
        for compressor in all_compressors() {
            let mut shared = SharedDeflater::new();
            let mut deflater = Deflater::new(compressor);
            let [mut first, mut second] = [Vec::new(), Vec::new()];
            deflater.deflate(&mut shared, b"Hello", &mut first);
            deflater.deflate(&mut shared, b"Hello", &mut second);
            assert_eq!(first, [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00], "{compressor:?}");
            // RFC 7692 §7.2.3.2 copies four bytes; all five are a byte shorter.
            let again = if let Compressor::Shared { .. } = compressor {
                &first[..]
            } else {
                &[0x02, 0x13, 0x00, 0x00]
            };
            assert_eq!(second, again, "{compressor:?}");
        }
    }

    #[test]
    fn empty_messages_among_others_are_deflated() {
        for compressor in all_compressors() {
            let mut shared = (SharedDeflater::new(), SharedInflater::new());
            let (mut deflater, mut inflater) = (Deflater::new(compressor), Inflater::new(dedicated(15)));
            for message in [b"", &b"a"[..], b"", b"", b"aa", b""] {
                let (mut compressed, mut out) = (Vec::new(), Vec::new());
                deflater.deflate(&mut shared.0, message, &mut compressed);
                assert_eq!(inflater.inflate(&mut shared.1, &compressed, 2, &mut out), Ok(()));
                assert_eq!(out, message, "{compressor:?}");
            }
        }
    }

    #[test]
    fn blocks_after_a_final_one_may_refer_to_earlier_ones() {
        // "Hello" in a final block, then the second message of RFC 7692 §7.2.3.2, which copies it.
        let data = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0xf2, 0x00, 0x11, 0x00, 0x00];
        assert_eq!(inflate(SHARED, &data, 10).as_deref(), Ok(&b"HelloHello"[..]));
        let mut shared = SharedInflater::new();
        let mut inflater = Inflater::new(dedicated(9));
        let mut out = Vec::new();
        assert_eq!(inflater.inflate(&mut shared, &without_context(b"Hello"), 5, &mut out), Ok(()));
        // "!" in a final block, then "H" and four bytes from five before.
        let data = [0x53, 0x04, 0x00, 0xf2, 0x00, 0x11, 0x00, 0x00];
        let result = inflater.inflate(&mut shared, &data, 10, &mut out);
        assert_eq!((result, &out[..]), (Ok(()), &b"Hello!Hllo!"[..]));
    }

    #[test]
    fn sloppy_endings_are_accepted() {
        let stripped = without_context(b"Hello");
        let unstripped = [&stripped[..], &TAIL].concat();
        assert_eq!(inflate(SHARED, &unstripped, 5).as_deref(), Ok(&b"Hello"[..]));
        let final_block_alone = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        assert_eq!(inflate(SHARED, &final_block_alone, 5).as_deref(), Ok(&b"Hello"[..]));
        assert_eq!(inflate(SHARED, b"", 5).as_deref(), Ok(&b""[..]));
    }

    #[test]
    fn cut_messages_are_refused() {
        for data in [sample(10), sample(300)] {
            let compressed = without_context(&data);
            for len in 1..compressed.len() {
                let cut = &compressed[..len];
                assert_eq!(inflate(SHARED, cut, 10_000), Err(WsError::InvalidDeflate), "{len} bytes");
            }
        }
    }

    #[test]
    fn the_limit_is_exact() {
        for len in [1, 5, 1000, SCRATCH - 1, SCRATCH, SCRATCH + 1, 3 * SCRATCH] {
            for data in [sample(len), vec![0; len], noise(len)] {
                let compressed = without_context(&data);
                assert_eq!(inflate(SHARED, &compressed, len).as_deref(), Ok(&data[..]), "{len}");
                assert_eq!(inflate(SHARED, &compressed, len - 1), Err(WsError::TooBigInflation), "{len}");
                assert_eq!(inflate(SHARED, &compressed, 0), Err(WsError::TooBigInflation), "{len}");
            }
        }
    }

    #[test]
    fn a_bomb_takes_no_more_memory_than_the_limit() {
        let bomb = without_context(&vec![0; 50_000_000]);
        assert!(bomb.len() < 100_000);
        for max in [0, 100, 16 * 1024, 1 << 20] {
            let mut out = Vec::new();
            let mut inflater = Inflater::new(dedicated(15));
            let result = inflater.inflate(&mut SharedInflater::new(), &bomb, max, &mut out);
            assert_eq!(result, Err(WsError::TooBigInflation));
            assert!(out.capacity() <= 2 * max, "{} for {max}", out.capacity());
        }
    }

    #[test]
    fn many_final_blocks_are_refused() {
        let data = [0x03, 0x00].repeat(1000);
        assert_eq!(inflate(dedicated(15), &data, 10), Err(WsError::InvalidDeflate));
    }

    #[test]
    fn output_is_appended() {
        let mut out = b"head".to_vec();
        SharedDeflater::new().deflate(15, b"Hello", &mut out);
        assert_eq!(out, b"head\xf2\x48\xcd\xc9\xc9\x07\x00");
        let mut inflated = b"head".to_vec();
        let mut inflater = Inflater::new(dedicated(9));
        assert_eq!(inflater.inflate(&mut SharedInflater::new(), &out[4..], 5, &mut inflated), Ok(()));
        assert_eq!(inflated, b"headHello");
        assert_eq!(inflater.held(), 8, "of the window only what is appended");
    }

    #[test]
    fn every_size_around_the_buffers_survives() {
        let mut shared = (SharedDeflater::new(), SharedInflater::new());
        for around in [SCRATCH, 2 * SCRATCH] {
            for len in around - 40..around + 10 {
                let data = noise(len);
                let mut compressed = Vec::new();
                shared.0.deflate(15, &data, &mut compressed);
                let mut out = Vec::new();
                let result = Inflater::new(SHARED).inflate(&mut shared.1, &compressed, len, &mut out);
                assert_eq!(result, Ok(()), "{len}");
                assert!(out == data, "{len}");
            }
        }
    }

    #[test]
    fn distances_stay_within_the_negotiated_window() {
        let data = [sample(40_000), sample(40_000)].concat();
        for compressor in all_compressors() {
            let (Compressor::Shared { window_bits } | Compressor::Dedicated { window_bits, .. }) = compressor;
            let mut shared = SharedDeflater::new();
            for size in [700, data.len()] {
                let mut deflater = Deflater::new(compressor);
                let mut reference = Reference::new(window_bits);
                for message in data.chunks(size) {
                    let mut compressed = Vec::new();
                    deflater.deflate(&mut shared, message, &mut compressed);
                    assert!(reference.inflate(&compressed).as_deref() == Some(message), "{compressor:?}");
                }
            }
        }
        // The check can fail: what was compressed with the largest window needs it.
        let far = [noise(5_000), noise(5_000)].concat();
        let compressed = without_context(&far);
        assert!(Reference::new(13).inflate(&compressed) == Some(far.clone()));
        assert!(Reference::new(12).inflate(&compressed) != Some(far));
    }

    #[test]
    fn idle_connections_hold_little() {
        assert!(size_of::<Deflater>() <= 40, "{}", size_of::<Deflater>());
        assert!(size_of::<Inflater>() <= 40, "{}", size_of::<Inflater>());
        let mut shared = (SharedDeflater::new(), SharedInflater::new());
        let mut inflater = Inflater::new(dedicated(10));
        let mut deflater = Deflater::new(Compressor::Dedicated { window_bits: 9, memory_level: 1 });
        for len in [1, 10, 600, 5000, 3, 100_000] {
            let data = sample(len);
            let compressed = without_context(&data);
            assert_eq!(inflater.inflate(&mut shared.1, &compressed, len, &mut Vec::new()), Ok(()));
            deflater.deflate(&mut shared.0, &data, &mut Vec::new());
            assert!(inflater.held() <= 1024, "{}", inflater.held());
            assert!(deflater.held() <= 512, "{}", deflater.held());
        }
    }

    #[test]
    fn large_windows_hold_as_much_as_their_names_say() {
        for (window_bits, kib) in [(13, 64), (14, 128), (15, 256)] {
            let mut shared = SharedDeflater::new();
            let mut deflater =
                Deflater::new(Compressor::Dedicated { window_bits, memory_level: window_bits - 7 });
            assert_eq!(deflater.held(), 0, "nothing before the first message");
            for len in [1, 10_000, 3, 40_000, 100_000, 70_000, 5] {
                deflater.deflate(&mut shared, &sample(len), &mut Vec::new());
                assert!(deflater.held() <= kib * 1024, "{} after {len}", deflater.held());
            }
        }
    }

    #[test]
    fn codecs_may_move_between_threads() {
        fn movable<T: Send>() {}
        movable::<(SharedDeflater, SharedInflater, Deflater, Inflater)>();
    }

    fn any_message() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            4 => (0usize..3000).prop_map(sample),
            2 => "[a-f]{0,300}".prop_map(String::into_bytes),
            2 => proptest::collection::vec(any::<u8>(), 0..400),
            1 => (0usize..40_000).prop_map(noise),
            1 => (0usize..100_000).prop_map(|len| vec![b'x'; len]),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn deflated_messages_are_inflated_again(
            messages in proptest::collection::vec(any_message(), 1..12),
            compressor in proptest::sample::select(all_compressors()),
            roomier in 0u8..7,
        ) {
            let (Compressor::Shared { window_bits } | Compressor::Dedicated { window_bits, .. }) = compressor;
            let decompressor = dedicated((window_bits + roomier).min(15));
            let (mut shared_deflater, mut shared_inflater) = (SharedDeflater::new(), SharedInflater::new());
            let (mut deflater, mut inflater) = (Deflater::new(compressor), Inflater::new(decompressor));
            let mut reference = Reference::new(window_bits);
            for message in messages {
                let mut compressed = Vec::new();
                deflater.deflate(&mut shared_deflater, &message, &mut compressed);
                prop_assert!(reference.inflate(&compressed).as_ref() == Some(&message));
                let mut out = Vec::new();
                prop_assert_eq!(inflater.inflate(&mut shared_inflater, &compressed, message.len(), &mut out), Ok(()));
                prop_assert!(out == message);
            }
        }

        #[test]
        fn one_unbroken_stream_of_a_peer_is_inflated(
            messages in proptest::collection::vec(any_message(), 1..12),
            window_bits in 9u8..=15,
        ) {
            let mut peer = zlib_stream(window_bits);
            let (mut shared, mut inflater) = (SharedInflater::new(), Inflater::new(dedicated(window_bits)));
            for message in messages {
                let (mut compressed, mut out) = (Vec::new(), Vec::new());
                zlib_message(&mut peer, &message, &mut compressed);
                prop_assert_eq!(inflater.inflate(&mut shared, &compressed, message.len(), &mut out), Ok(()));
                prop_assert!(out == message);
            }
        }

        #[test]
        fn connections_do_not_see_each_other(messages in proptest::collection::vec((0usize..4, any_message()), 1..20)) {
            let (mut shared_deflater, mut shared_inflater) = (SharedDeflater::new(), SharedInflater::new());
            let compressors = [
                Compressor::Shared { window_bits: 12 },
                Compressor::Dedicated { window_bits: 12, memory_level: 5 },
                Compressor::Dedicated { window_bits: 12, memory_level: 5 },
                Compressor::Dedicated { window_bits: 15, memory_level: 8 },
            ];
            let mut pairs = compressors.map(|compressor| (Deflater::new(compressor), Inflater::new(dedicated(15))));
            for (index, message) in messages {
                let (deflater, inflater) = &mut pairs[index];
                let (mut compressed, mut out) = (Vec::new(), Vec::new());
                deflater.deflate(&mut shared_deflater, &message, &mut compressed);
                prop_assert_eq!(inflater.inflate(&mut shared_inflater, &compressed, message.len(), &mut out), Ok(()));
                prop_assert!(out == message);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn malformed_data_does_no_harm(
            data in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..100),
                (0usize..500, any::<prop::sample::Index>(), any::<u8>()).prop_map(|(len, at, byte)| {
                    let mut compressed = without_context(&sample(len));
                    let at = at.index(compressed.len());
                    compressed[at] = byte;
                    compressed
                }),
            ],
            max in 0usize..5000,
        ) {
            let mut shared = SharedInflater::new();
            let mut inflater = Inflater::new(dedicated(15));
            let mut out = Vec::new();
            let result = inflater.inflate(&mut shared, &data, max, &mut out);
            prop_assert!(out.len() <= max);
            prop_assert!(result.is_ok() || matches!(result, Err(WsError::InvalidDeflate | WsError::TooBigInflation)));
            // The loop's decoder is as good as new for the next connection.
            let mut next = Vec::new();
            prop_assert_eq!(Inflater::new(SHARED).inflate(&mut shared, &without_context(b"next"), 4, &mut next), Ok(()));
            prop_assert_eq!(next, b"next");
        }
    }
}
