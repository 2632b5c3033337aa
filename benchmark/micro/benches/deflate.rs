//! permessage-deflate of a JSON text, with and without context. `benchmark/deflate`, where it is there,
//! compares codecs.

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use uws_rs::protocol::deflate::{Deflater, Inflater, SharedDeflater, SharedInflater};
use uws_rs::protocol::websocket::handshake::{Compressor, Decompressor};

const SIZES: [usize; 3] = [128, 1024, 16384];
const LIMIT: usize = 1 << 20;

fn text(size: usize) -> Vec<u8> {
    let mut text = String::from("[");
    for i in 0.. {
        if text.len() >= size {
            break;
        }
        let name = ["river", "lamp", "window", "garden", "silver"][i * 7 % 5];
        text.push_str(&format!(
            r#"{{"id":{},"name":"{name}","price":{}.{:02}}},"#,
            i * 7919 % 9973,
            i % 200,
            i * 31 % 100
        ));
    }
    text.truncate(size);
    text.into_bytes()
}

fn compressed(size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    SharedDeflater::new().deflate(15, &text(size), &mut out);
    out
}

#[divan::bench(args = SIZES)]
fn deflate_shared(bencher: Bencher, size: usize) {
    let (text, mut out) = (text(size), Vec::new());
    let mut shared = SharedDeflater::new();
    bencher.counter(BytesCount::new(size)).bench_local(|| {
        out.clear();
        shared.deflate(15, black_box(&text), &mut out);
        black_box(&out);
    });
}

#[divan::bench(args = SIZES)]
fn deflate_4_kib(bencher: Bencher, size: usize) {
    let (text, mut out) = (text(size), Vec::new());
    let mut shared = SharedDeflater::new();
    let mut own = Deflater::new(Compressor::Dedicated { window_bits: 12, memory_level: 3 });
    bencher.counter(BytesCount::new(size)).bench_local(|| {
        out.clear();
        own.deflate(&mut shared, black_box(&text), &mut out);
        black_box(&out);
    });
}

#[divan::bench(args = SIZES)]
fn inflate_shared(bencher: Bencher, size: usize) {
    let (data, mut out) = (compressed(size), Vec::new());
    let mut shared = SharedInflater::new();
    let mut own = Inflater::new(Decompressor::Shared);
    bencher.counter(BytesCount::new(size)).bench_local(|| {
        out.clear();
        assert!(own.inflate(&mut shared, black_box(&data), LIMIT, &mut out).is_ok());
        assert_eq!(out.len(), size);
    });
}

#[divan::bench(args = SIZES)]
fn memcpy(bencher: Bencher, size: usize) {
    let (text, mut out) = (text(size), vec![0; size]);
    bencher.counter(BytesCount::new(size)).bench_local(|| out.copy_from_slice(black_box(&text)));
}

fn main() {
    divan::main();
}
