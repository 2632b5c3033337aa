//! The loop allocates nothing for a message in the steady state: all of its buffers are used again.

use super::harness::*;
use crate::channel::{CommandBatch, EventKind, ExchangeId, Op, send_flag};
use crate::event_loop::turn::EVENTS_PER_POLL;
use crate::event_loop::{Behaviour, Control};
use tungstenite::protocol::frame::coding::{Data, OpCode};

const WARM_UP: usize = 100;
const ROUNDS: usize = 200;
/// Messages of one round.
const MESSAGES: usize = 50;
/// A batch of writes takes two for its lists, however many messages are in it; a round may need some batches.
const OF_A_ROUND: usize = 5;
const SHARED: u16 = 1 | 256;

/// Allocations of the loop's thread so far.
fn so_far(harness: &Harness) -> usize {
    let (told, counts) = crossbeam_channel::bounded(1);
    harness.event_loop.control(Control::Allocations(told));
    counts.recv_timeout(PATIENCE).expect("count")
}

fn assert_few(harness: &mut Harness, of: &str, of_a_round: usize, mut round: impl FnMut(&mut Harness)) {
    (0..WARM_UP).for_each(|_| round(harness));
    let before = so_far(harness);
    (0..ROUNDS).for_each(|_| round(harness));
    let count = so_far(harness) - before;
    assert!(count <= ROUNDS * of_a_round, "{of}: {count} allocations for {} messages", ROUNDS * MESSAGES);
}

/// One batch with `MESSAGES` records.
fn send_all(harness: &Harness, op: Op, flags: u32, id: ExchangeId, number: u64, payload: &[u8]) {
    let mut batch = CommandBatch::default();
    for _ in 0..MESSAGES {
        push(&mut batch, op, flags, id, number, payload);
    }
    harness.send(&mut batch);
}

#[test]
fn none_for_a_request() {
    let mut harness = Harness::start();
    let request = b"GET /hello?a=b HTTP/1.1\r\nHost: a\r\nAccept: */*\r\nUser-Agent: test\r\n\r\n";
    // As many as one poll of the tests reports. Each batch of answers takes its two lists.
    let mut clients: Vec<_> = (0..EVENTS_PER_POLL).map(|_| harness.connect()).collect();
    assert_few(&mut harness, "hello", MESSAGES / 2, |harness| {
        for _ in 0..MESSAGES / EVENTS_PER_POLL {
            clients.iter_mut().for_each(|client| client.send(request));
            let mut batch = CommandBatch::default();
            for _ in 0..EVENTS_PER_POLL {
                let id = harness.expect_request().id;
                push(&mut batch, Op::Respond, 0, id, 0, &response_parts([b"", b"", b"hello"]));
            }
            harness.send(&mut batch);
            for client in &mut clients {
                client.response();
            }
        }
    });
}

#[test]
fn none_for_an_echo() {
    for compression in [0, SHARED] {
        let mut harness = Harness::with_behaviour(Behaviour { compression, ..behaviour() });
        let mut client = harness.connect();
        let request = String::from_utf8_lossy(UPGRADE_REQUEST).into_owned();
        let offer = "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
        client.send(request.replace("\r\n\r\n", offer).as_bytes());
        let head = String::from_utf8(client.read_through(b"\r\n\r\n")).expect("text");
        assert_eq!(head.contains("permessage-deflate"), compression != 0);
        let id = harness.expect(EventKind::Open).id;
        let (name, flags) = if compression == 0 { ("echo", 0) } else { ("compressed", send_flag::COMPRESS) };
        let payload = b"a message that repeats itself, a message that repeats itself";
        let messages = masked(OpCode::Data(Data::Text), true, payload).repeat(MESSAGES);
        assert_few(&mut harness, name, OF_A_ROUND, |harness| {
            client.send(&messages);
            for _ in 0..MESSAGES {
                assert_eq!(harness.expect(EventKind::Message).payload, payload);
            }
            send_all(harness, Op::Send, flags, id, 0, payload);
            for _ in 0..MESSAGES {
                client.frame();
            }
        });
    }
}

#[test]
fn none_for_a_publish() {
    let mut harness = Harness::with_behaviour(behaviour());
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = harness.connect();
        client.upgrade();
        let id = harness.expect(EventKind::Open).id;
        harness.command(Op::Subscribe, 0, id, 7, b"");
        clients.push(client);
    }
    let nobody = ExchangeId { slot: u32::MAX, generation: 0 };
    assert_few(&mut harness, "publish", OF_A_ROUND, |harness| {
        send_all(harness, Op::Publish, 0, nobody, 7, b"to all");
        for client in &mut clients {
            for _ in 0..MESSAGES {
                client.frame();
            }
        }
    });
}
