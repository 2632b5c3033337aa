//! Every implementation behind one trait, used as a loop uses it: the state is kept from message to message,
//! the context is not.

use std::mem::MaybeUninit;
use uws_rs::protocol::deflate::{Deflater, Inflater, SharedDeflater, SharedInflater};
use uws_rs::protocol::websocket::handshake::{Compressor, Decompressor};
use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, Inflate, InflateFlush};

pub trait Codec {
    fn name(&self) -> String;
    fn inflates(&self) -> bool;
    /// Appends the result of one message.
    fn run(&mut self, data: &[u8], out: &mut Vec<u8>);
    /// The output of the last message, whose memory the next one uses again.
    fn buffer(&mut self) -> &mut Vec<u8>;
}

struct With<S, F> {
    name: String,
    inflates: bool,
    state: S,
    run: F,
    buffer: Vec<u8>,
}

impl<S, F: FnMut(&mut S, &[u8], &mut Vec<u8>)> Codec for With<S, F> {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn inflates(&self) -> bool {
        self.inflates
    }

    fn run(&mut self, data: &[u8], out: &mut Vec<u8>) {
        (self.run)(&mut self.state, data, out);
    }

    fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }
}

fn with<S: 'static>(
    name: impl Into<String>,
    state: S,
    run: impl FnMut(&mut S, &[u8], &mut Vec<u8>) + 'static,
) -> Box<dyn Codec> {
    let name = name.into();
    Box::new(With { inflates: name.starts_with("inflate"), name, state, run, buffer: Vec::new() })
}

pub fn all() -> Vec<Box<dyn Codec>> {
    let mut all = vec![ours(), ours_dedicated("4KB", 9)];
    all.extend([zlib_rs_deflate(6, 8), zlib_rs_deflate(6, 3), zlib_rs_deflate(1, 8)]);
    all.extend([zlib_deflate(6), zlib_deflate(1)]);
    #[cfg(feature = "ng")]
    all.extend([zlib_ng_deflate(6), zlib_ng_deflate(1)]);
    all.extend([miniz_deflate(6), miniz_deflate(1), libdeflate_deflate(6), libdeflate_deflate(1)]);
    all.extend([our_inflate(), zlib_rs_inflate(), zlib_inflate()]);
    #[cfg(feature = "ng")]
    all.push(zlib_ng_inflate());
    all.extend([miniz_inflate(), libdeflate_inflate()]);
    all
}

fn ours() -> Box<dyn Codec> {
    with("deflate: uws-rs shared", SharedDeflater::new(), |shared, data, out| shared.deflate(15, data, out))
}

/// Each message alone: a window still empty, for results that can be checked one by one.
fn ours_dedicated(name: &str, window_bits: u8) -> Box<dyn Codec> {
    with(format!("deflate: uws-rs {name}, first"), SharedDeflater::new(), move |shared, data, out| {
        Deflater::new(Compressor::Dedicated { window_bits, memory_level: window_bits - 7 })
            .deflate(shared, data, out);
    })
}

fn our_inflate() -> Box<dyn Codec> {
    with("inflate: uws-rs shared", SharedInflater::new(), |shared, data, out| {
        Inflater::new(Decompressor::Shared).inflate(shared, data, 1 << 20, out).unwrap();
    })
}

fn zlib_rs_deflate(level: i32, mem_level: i32) -> Box<dyn Codec> {
    let config = DeflateConfig { level, window_bits: -15, mem_level, ..DeflateConfig::default() };
    let state = (Deflate::new_with_config(config), vec![0; 300_000]);
    with(format!("deflate: zlib-rs {level}, memory {mem_level}"), state, |(stream, scratch), data, out| {
        stream.reset();
        stream.compress(data, scratch, DeflateFlush::SyncFlush).unwrap();
        out.extend_from_slice(&scratch[..stream.total_out() as usize - 4]);
    })
}

fn zlib_rs_inflate() -> Box<dyn Codec> {
    with("inflate: zlib-rs", (Inflate::new(false, 15), vec![0; 300_000]), |(stream, scratch), data, out| {
        stream.reset(false);
        stream.decompress(data, scratch, InflateFlush::SyncFlush).unwrap();
        out.extend_from_slice(&scratch[..stream.total_out() as usize]);
    })
}

macro_rules! c_zlib {
    ($deflate:ident, $inflate:ident, $label:literal, $lib:ident, $init:expr, $init_inflate:expr, $c:ident, $reset:ident, $i:ident, $ireset:ident) => {
        fn $deflate(level: i32) -> Box<dyn Codec> {
            let mut stream = Box::new(MaybeUninit::<$lib::z_stream>::zeroed());
            assert_eq!($init(stream.as_mut_ptr(), level), 0);
            // SAFETY: zeroes and what deflateInit2 wrote; zlib has set the allocator. The box does not move.
            let stream = unsafe { stream.assume_init() };
            with(format!("deflate: {} {level}", $label), (stream, vec![0_u8; 300_000]), |(stream, scratch), data, out| {
                // SAFETY: the pointers are to live slices of the given lengths.
                unsafe {
                    $lib::$reset(&mut **stream);
                    (stream.next_in, stream.avail_in) = (data.as_ptr().cast_mut(), data.len() as u32);
                    (stream.next_out, stream.avail_out) = (scratch.as_mut_ptr(), scratch.len() as u32);
                    $lib::$c(&mut **stream, $lib::Z_SYNC_FLUSH);
                }
                out.extend_from_slice(&scratch[..stream.total_out as usize - 4]);
            })
        }

        fn $inflate() -> Box<dyn Codec> {
            let mut stream = Box::new(MaybeUninit::<$lib::z_stream>::zeroed());
            assert_eq!($init_inflate(stream.as_mut_ptr()), 0);
            // SAFETY: as above.
            let stream = unsafe { stream.assume_init() };
            with(format!("inflate: {}", $label), (stream, vec![0_u8; 300_000]), |(stream, scratch), data, out| {
                // SAFETY: as above.
                unsafe {
                    $lib::$ireset(&mut **stream);
                    (stream.next_in, stream.avail_in) = (data.as_ptr().cast_mut(), data.len() as u32);
                    (stream.next_out, stream.avail_out) = (scratch.as_mut_ptr(), scratch.len() as u32);
                    $lib::$i(&mut **stream, $lib::Z_SYNC_FLUSH);
                }
                out.extend_from_slice(&scratch[..stream.total_out as usize]);
            })
        }
    };
}

c_zlib!(
    zlib_deflate,
    zlib_inflate,
    "zlib",
    libz_sys,
    |s: *mut libz_sys::z_stream, level| {
        let size = size_of::<libz_sys::z_stream>() as i32;
        // SAFETY: version and size are this header's.
        unsafe { libz_sys::deflateInit2_(s, level, 8, -15, 8, 0, libz_sys::zlibVersion(), size) }
    },
    |s: *mut libz_sys::z_stream| {
        let size = size_of::<libz_sys::z_stream>() as i32;
        // SAFETY: as above.
        unsafe { libz_sys::inflateInit2_(s, -15, libz_sys::zlibVersion(), size) }
    },
    deflate,
    deflateReset,
    inflate,
    inflateReset
);

#[cfg(feature = "ng")]
c_zlib!(
    zlib_ng_deflate,
    zlib_ng_inflate,
    "zlib-ng",
    libz_ng_sys,
    |s: *mut libz_ng_sys::z_stream, level| {
        let size = size_of::<libz_ng_sys::z_stream>() as i32;
        // SAFETY: version and size are this header's.
        unsafe { libz_ng_sys::deflateInit2_(s, level, 8, -15, 8, 0, libz_ng_sys::zlibVersion(), size) }
    },
    |s: *mut libz_ng_sys::z_stream| {
        let size = size_of::<libz_ng_sys::z_stream>() as i32;
        // SAFETY: as above.
        unsafe { libz_ng_sys::inflateInit2_(s, -15, libz_ng_sys::zlibVersion(), size) }
    },
    deflate,
    deflateReset,
    inflate,
    inflateReset
);

fn miniz_deflate(level: u8) -> Box<dyn Codec> {
    use miniz_oxide::deflate::core::{
        CompressorOxide, TDEFLFlush, compress, create_comp_flags_from_zip_params,
    };
    let flags = create_comp_flags_from_zip_params(level.into(), 0, 0);
    let state = (CompressorOxide::new(flags), vec![0; 300_000]);
    with(format!("deflate: miniz_oxide {level}"), state, |(compressor, scratch), data, out| {
        compressor.reset();
        let (_, _, written) = compress(compressor, data, scratch, TDEFLFlush::Sync);
        out.extend_from_slice(&scratch[..written - 4]);
    })
}

fn miniz_inflate() -> Box<dyn Codec> {
    use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};
    let state = (DecompressorOxide::new(), vec![0; 300_000]);
    with("inflate: miniz_oxide", state, |(decompressor, scratch), data, out| {
        decompressor.init();
        let flags = inflate_flags::TINFL_FLAG_HAS_MORE_INPUT
            | inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
        let (_, _, written) = decompress(decompressor, data, scratch, 0, flags);
        out.extend_from_slice(&scratch[..written]);
    })
}

fn libdeflate_deflate(level: i32) -> Box<dyn Codec> {
    use libdeflater::{CompressionLvl, Compressor};
    let state = (Compressor::new(CompressionLvl::new(level).unwrap()), vec![0; 300_000]);
    with(format!("deflate: libdeflate {level}"), state, |(compressor, scratch), data, out| {
        let written = compressor.deflate_compress(data, scratch).unwrap();
        out.extend_from_slice(&scratch[..written]);
        out.push(0);
    })
}

fn libdeflate_inflate() -> Box<dyn Codec> {
    let state = (libdeflater::Decompressor::new(), vec![0; 300_000]);
    with("inflate: libdeflate", state, |(decompressor, scratch), data, out| {
        let written = decompressor.deflate_decompress(data, scratch).unwrap();
        out.extend_from_slice(&scratch[..written]);
    })
}
