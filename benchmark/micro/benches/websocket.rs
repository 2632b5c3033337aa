//! Frames: ours, tungstenite's codec over memory, and a memcpy of the same bytes; masking beside a memcpy.

use std::io::{self, Cursor, Read, Write};

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use tungstenite::WebSocket;
use tungstenite::protocol::{Role, WebSocketConfig};
use uws_rs::protocol::websocket::frame::{Data, OpCode, unmask, write_frame};
use uws_rs::protocol::websocket::message::{Event, Receiver};

/// Messages per round.
const MESSAGES: usize = 64;
const SIZES: [usize; 3] = [20, 1024, 16384];
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

fn count() -> ItemsCount {
    ItemsCount::new(MESSAGES)
}

/// Masked text frames one after the other.
fn frames(size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..MESSAGES {
        let start = out.len();
        out.push(0x81);
        match size {
            0..126 => out.push(0x80 | size as u8),
            _ => {
                out.push(0x80 | 126);
                out.extend_from_slice(&(size as u16).to_be_bytes());
            }
        }
        out.extend_from_slice(&MASK);
        let payload = out.len();
        out.resize(payload + size, b'x');
        unmask(&mut out[payload..], MASK, 0);
        assert!(out.len() > start);
    }
    out
}

#[divan::bench(args = SIZES)]
fn receive_ours(bencher: Bencher, size: usize) {
    let bytes = frames(size);
    bencher
        .counter(count())
        .counter(BytesCount::new(MESSAGES * size))
        .with_inputs(|| bytes.clone())
        .bench_local_refs(|input| {
            let mut receiver = Receiver::new(1 << 20, false);
            let (mut at, mut messages) = (0, 0);
            while at < input.len() {
                let (used, event) = receiver.receive(&mut input[at..]);
                at += used;
                if let Ok(Some(Event::Message { data, .. })) = &event {
                    messages += 1;
                    black_box(data.len());
                }
            }
            assert_eq!(messages, MESSAGES);
        });
}

/// A stream that has all input and forgets all output.
struct Memory(Cursor<Vec<u8>>);

impl Read for Memory {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[divan::bench(args = SIZES)]
fn receive_tungstenite(bencher: Bencher, size: usize) {
    let bytes = frames(size);
    let config = WebSocketConfig::default();
    bencher
        .counter(count())
        .counter(BytesCount::new(MESSAGES * size))
        .with_inputs(|| {
            WebSocket::from_raw_socket(Memory(Cursor::new(bytes.clone())), Role::Server, Some(config))
        })
        .bench_local_refs(|socket| {
            for _ in 0..MESSAGES {
                assert!(socket.read().is_ok_and(|message| black_box(message.len()) == size));
            }
        });
}

#[divan::bench(args = SIZES)]
fn receive_memcpy(bencher: Bencher, size: usize) {
    let bytes = frames(size);
    let mut out = vec![0; bytes.len()];
    bencher
        .counter(count())
        .counter(BytesCount::new(MESSAGES * size))
        .bench_local(|| out.copy_from_slice(black_box(&bytes)));
}

#[divan::bench(args = SIZES)]
fn send_ours(bencher: Bencher, size: usize) {
    let payload = vec![b'x'; size];
    let mut out = Vec::new();
    bencher.counter(count()).counter(BytesCount::new(MESSAGES * size)).bench_local(|| {
        out.clear();
        for _ in 0..MESSAGES {
            write_frame(&mut out, OpCode::Data(Data::Text), black_box(&payload));
        }
    });
}

#[divan::bench(args = SIZES)]
fn mask_ours(bencher: Bencher, size: usize) {
    let mut bytes = vec![b'x'; size];
    bencher.counter(BytesCount::new(size)).bench_local(|| unmask(black_box(&mut bytes), MASK, 0));
}

#[divan::bench(args = SIZES)]
fn mask_memcpy(bencher: Bencher, size: usize) {
    let bytes = vec![b'x'; size];
    let mut out = vec![0; size];
    bencher.counter(BytesCount::new(size)).bench_local(|| out.copy_from_slice(black_box(&bytes)));
}

fn main() {
    divan::main();
}
