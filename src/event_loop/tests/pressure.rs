//! Peers that do not read, and JavaScript that does not keep up.

use super::harness::*;
use crate::channel::{
    COMMAND_QUEUE_BYTES, CommandBatch, DROPPED_QUEUE_ITEMS, EVENT_QUEUE_BYTES, EVENT_QUEUE_ITEMS, EventKind,
    ExchangeId, NOBODY, Op, send_flag,
};
use crate::event_loop::Behaviour;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

const HELLO: &[u8] = b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";
const BINARY: OpCode = OpCode::Data(Data::Binary);
const PING: OpCode = OpCode::Control(Control::Ping);
const PONG: OpCode = OpCode::Control(Control::Pong);

/// Sends a response chunk of `len` bytes that moves by ownership.
fn write_owned(harness: &Harness, id: ExchangeId, len: usize) {
    let mut batch = CommandBatch::default();
    let mut record = batch.record(Op::Write, 0, id, 0, 0);
    record.payload().extend_from_slice(&response_parts([b"", b"", b""]));
    record.finish_owned(vec![b'x'; len]);
    harness.send(&mut batch);
}

#[test]
fn a_slow_reader_of_a_response_shows_as_backlog_and_then_as_writable() {
    const CHUNK: usize = 16 << 20;
    let mut harness = Harness::start();
    let mut client = Client::connect_slow(harness.port);
    client.send(HELLO);
    let id = harness.expect_request().id;
    assert_eq!(harness.backlog(id), 0);
    write_owned(&harness, id, CHUNK);
    wait_until("the kernel refuses bytes", || harness.backlog(id) > 0);
    assert!(harness.backlog(id) < CHUNK, "it took some");
    harness.command(Op::WantWritable, 0, id, 0, b"");
    harness.expect_nothing();
    let mut reading = client.second();
    let reader = std::thread::spawn(move || {
        let head = reading.read_through(b"\r\n\r\n");
        assert_eq!(reading.read_through(b"\r\n"), b"1000000\r\n");
        assert!(reading.read(CHUNK).iter().all(|byte| *byte == b'x'));
        assert_eq!(reading.read(2 + 6 + 5), b"\r\n1\r\n!\r\n0\r\n\r\n"[..13]);
        head
    });
    assert_eq!(harness.expect(EventKind::Writable).id, id);
    wait_until("everything has left", || harness.backlog(id) == 0);
    harness.respond(Op::Finish, 0, id, 0, [b"", b"", b"!"]);
    assert!(reader.join().expect("reader").starts_with(b"HTTP/1.1 200 OK"));
}

#[test]
fn room_is_reported_at_once_when_there_is_room() {
    let mut harness = Harness::start();
    let mut client = harness.connect();
    client.send(HELLO);
    let id = harness.expect_request().id;
    harness.command(Op::WantWritable, 0, id, 0, b"");
    assert_eq!(harness.expect(EventKind::Writable).id, id);
    harness.expect_nothing();
    harness.end(id, b"");
    client.response();
}

fn open_slow(harness: &mut Harness) -> (Client, ExchangeId) {
    let mut client = Client::connect_slow(harness.port);
    client.upgrade();
    (client, harness.expect(EventKind::Open).id)
}

#[test]
fn a_publish_skips_slow_subscribers_and_javascript_is_told() {
    let mut harness = Harness::with_behaviour(behaviour());
    let (mut slow, slow_id) = open_slow(&mut harness);
    let mut healthy = harness.connect();
    healthy.upgrade();
    let healthy_id = harness.expect(EventKind::Open).id;
    for id in [slow_id, healthy_id] {
        harness.command(Op::Subscribe, 0, id, 1, b"");
    }
    let large = vec![1; 8 << 20];
    harness.command(Op::Send, send_flag::BINARY, slow_id, 0, &large);
    wait_until("the kernel refuses bytes", || harness.backlog(slow_id) > behaviour().max_backpressure);
    harness.command(Op::Publish, 0, ExchangeId { slot: NOBODY, generation: 0 }, 1, b"news");
    let dropped = harness.expect(EventKind::Dropped);
    assert_eq!((dropped.id, dropped.args[0], &dropped.payload[..]), (slow_id, 0, &b"news"[..]));
    assert_eq!(healthy.frame().2, b"news");
    // A message that was sent is never dropped, however slow the peer is.
    harness.command(Op::Send, 0, slow_id, 0, b"sent");
    let reader = std::thread::spawn(move || (slow.frame(), slow.frame()));
    let mut drains = 0;
    while harness.backlog(slow_id) > 0 || drains == 0 {
        assert_eq!(harness.expect(EventKind::Drain).id, slow_id);
        drains += 1;
    }
    let (first, second) = reader.join().expect("reader");
    assert!(first == (BINARY, true, large), "the message left changed");
    assert_eq!(second.2, b"sent");
}

#[test]
fn a_limit_can_close_the_connection() {
    let limited = Behaviour { close_on_backpressure_limit: true, ..behaviour() };
    let mut harness = Harness::with_behaviour(limited);
    let (_client, id) = open_slow(&mut harness);
    harness.command(Op::Subscribe, 0, id, 1, b"");
    harness.command(Op::Send, send_flag::BINARY, id, 0, &vec![1; 8 << 20]);
    wait_until("the kernel refuses bytes", || harness.backlog(id) > behaviour().max_backpressure);
    harness.command(Op::Publish, 0, ExchangeId { slot: NOBODY, generation: 0 }, 1, b"news");
    assert!(harness.expect(EventKind::Dropped).id == id);
    let gone = harness.expect(EventKind::Gone);
    assert_eq!((gone.id, gone.args[0]), (id, 1006));
    let (_client, id) = open_slow(&mut harness);
    harness.command(Op::Overflow, 0, id, 0, b"");
    assert_eq!(harness.expect(EventKind::Gone).id, id);
    harness.expect_nothing();
}

#[test]
fn without_limit_everything_is_delivered() {
    let mut harness = Harness::with_behaviour(Behaviour { max_backpressure: 0, ..behaviour() });
    let (mut client, id) = open_slow(&mut harness);
    harness.command(Op::Subscribe, 0, id, 1, b"");
    for _ in 0..20 {
        let payload = vec![2; 500_000];
        harness.command(Op::Publish, 0, ExchangeId { slot: NOBODY, generation: 0 }, 1, &payload);
    }
    wait_until("the kernel refuses bytes", || harness.backlog(id) > 0);
    for _ in 0..20 {
        assert_eq!(client.frame().2.len(), 500_000);
    }
    assert!(harness.event_within(MOMENT).is_none_or(|event| event.is(EventKind::Drain)));
}

/// More connections than fit into one batch; one of them reads nothing, one is gone.
#[test]
fn bytes_for_hundreds_of_peers_in_one_turn_arrive_whole_and_in_order() {
    const PEERS: usize = 300;
    let mut harness = Harness::with_behaviour(Behaviour { max_backpressure: 0, ..behaviour() });
    let mut peers: Vec<_> = (0..PEERS).map(|_| open_slow(&mut harness)).collect();
    let mut batch = CommandBatch::default();
    let nobody = ExchangeId { slot: NOBODY, generation: 0 };
    for (n, (_, id)) in peers.iter().enumerate() {
        batch.push(Op::Subscribe, *id, 1);
        push(&mut batch, Op::Send, 0, *id, 0, format!("welcome {n}").as_bytes());
    }
    let (slow, slow_id) = peers.pop().expect("peer");
    push(&mut batch, Op::Send, send_flag::BINARY, slow_id, 0, &vec![1; 8 << 20]);
    let large = vec![3; 40_000];
    push(&mut batch, Op::Publish, send_flag::BINARY, nobody, 1, &large);
    push(&mut batch, Op::Publish, 0, nobody, 1, b"after");
    harness.send(&mut batch);
    wait_until("the kernel refuses bytes", || harness.backlog(slow_id) > 0);
    let (resetting, gone_id) = peers.pop().expect("peer");
    resetting.reset();
    while harness.expect(EventKind::Gone).id != gone_id {}
    push(&mut batch, Op::Publish, 0, nobody, 1, b"last");
    harness.send(&mut batch);
    for (n, (client, _)) in peers.iter_mut().enumerate() {
        assert_eq!(client.frame().2, format!("welcome {n}").into_bytes());
        assert!(client.frame() == (BINARY, true, large.clone()), "changed on the way to {n}");
        assert_eq!(client.frame().2, b"after");
        assert_eq!(client.frame().2, b"last");
    }
    drop(slow);
}

/// `count` messages of 1 KiB that begin with their number. They are copies of one frame: masking each would
/// take longer than the test.
fn numbered(count: u32) -> Vec<u8> {
    const PAYLOAD: usize = 1024;
    let first = masked(BINARY, true, &[0; PAYLOAD]);
    let at = first.len() - PAYLOAD;
    let mut bytes = Vec::with_capacity(count as usize * first.len());
    for n in 0..count {
        let start = bytes.len() + at;
        bytes.extend_from_slice(&first);
        for (byte, number) in bytes[start..].iter_mut().zip(n.to_le_bytes()) {
            *byte ^= number;
        }
    }
    bytes
}

#[test]
fn when_javascript_does_not_keep_up_the_loop_stops_reading_and_loses_nothing() {
    const CLIENTS: usize = 4;
    const MESSAGES: u32 = 12_000;
    let mut harness = Harness::with_behaviour(behaviour());
    // Open all before the first one sends: its messages would come between the others' `Open` events.
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let mut client = harness.connect();
            client.upgrade();
            (client, harness.expect(EventKind::Open).id)
        })
        .collect();
    let ids: Vec<_> = clients.iter().map(|(_, id)| *id).collect();
    let mut senders: Vec<_> = clients
        .into_iter()
        .map(|(client, _)| {
            let mut sending = client.second();
            (client, std::thread::spawn(move || sending.send(&numbered(MESSAGES))))
        })
        .collect();
    wait_until("the loop has stopped reading", || harness.shared().stalled.asks_to_be_woken());
    // The loop does other work than reading, and makes no turns without work meanwhile.
    let mut most = 0;
    for _ in 0..10 {
        std::thread::sleep(Duration::from_millis(20));
        most = most.max(harness.shared().events.items());
    }
    assert!((EVENT_QUEUE_ITEMS..EVENT_QUEUE_ITEMS + 200).contains(&most), "{most} events wait");
    assert!(harness.shared().events.bytes() < EVENT_QUEUE_BYTES);
    let before = harness.turns();
    std::thread::sleep(Duration::from_millis(200));
    assert!(harness.turns() - before < 10, "{} turns without work", harness.turns() - before);
    harness.command(Op::Send, 0, ids[2], 0, b"still writing");
    assert_eq!(senders[2].0.frame().2, b"still writing");

    let mut next = [0; CLIENTS];
    for _ in 0..CLIENTS as u32 * MESSAGES {
        let event = harness.expect(EventKind::Message);
        let client = ids.iter().position(|id| *id == event.id).expect("one of the clients");
        assert_eq!(event.payload[..4], u32::to_le_bytes(next[client]), "in order, of client {client}");
        next[client] += 1;
    }
    assert_eq!(next, [MESSAGES; CLIENTS]);
    for (_, sender) in senders {
        sender.join().expect("sender");
    }
}

#[test]
fn a_peer_that_ends_during_a_stall_is_noticed_after_it() {
    let mut harness = Harness::with_behaviour(behaviour());
    let mut client = harness.connect();
    client.upgrade();
    let id = harness.expect(EventKind::Open).id;
    let mut sending = client.second();
    let sender = std::thread::spawn(move || {
        sending.send(&numbered(20_000));
        sending.end();
    });
    wait_until("the loop has stopped reading", || harness.shared().stalled.asks_to_be_woken());
    for n in 0..20_000u32 {
        assert_eq!(harness.expect(EventKind::Message).payload[..4], n.to_le_bytes());
    }
    sender.join().expect("sender");
    assert_eq!(harness.expect(EventKind::Gone).id, id);
}

#[test]
fn requests_that_come_during_a_stall_are_answered_after_it() {
    let mut harness = Harness::with_behaviour(behaviour());
    let mut client = harness.connect();
    client.upgrade();
    harness.expect(EventKind::Open);
    let mut sending = client.second();
    let sender = std::thread::spawn(move || {
        sending.send(&numbered(8_000));
    });
    wait_until("the loop has stopped reading", || harness.shared().stalled.asks_to_be_woken());
    // The whole request and the end of the client's side are there before the loop reads any of it.
    let mut late = harness.connect();
    late.send(HELLO);
    late.end();
    harness.settle();
    let (mut messages, mut request, mut ended) = (0, None, false);
    while messages < 8_000 || request.is_none() || !ended {
        let event = harness.event_within(PATIENCE).expect("more events");
        match () {
            () if event.is(EventKind::Message) => messages += 1,
            () if event.is(EventKind::Request) => request = Some(event.id),
            () if event.is(EventKind::PeerEnd) => ended = true,
            () => panic!("unexpected: {event:?}"),
        }
    }
    harness.end(request.expect("seen"), b"late");
    assert_eq!(late.response().1, b"late");
    late.expect_closed();
    sender.join().expect("sender");
}

#[test]
fn pings_of_a_peer_that_reads_nothing_are_answered_once_it_does() {
    let silent = Behaviour { wants: 0, ..behaviour() };
    let mut harness = Harness::with_behaviour(silent);
    let mut client = Client::connect_slow(harness.port);
    client.upgrade();
    let id = harness.expect(EventKind::Open).id;
    // Far more pongs than the kernel holds for a client with so small a receive buffer.
    let pings: Vec<u8> = (0..4000).flat_map(|_| masked(PING, true, &[b'p'; 125])).collect();
    for _ in 0..30 {
        client.send(&pings);
        assert!(harness.backlog(id) < 256 << 10, "{} bytes of pongs wait", harness.backlog(id));
    }
    client.send(&masked(PING, true, b"the newest"));
    let mut pongs = 0;
    loop {
        let (opcode, _, payload) = client.frame();
        assert_eq!(opcode, PONG);
        pongs += 1;
        if payload == b"the newest" {
            break;
        }
        assert_eq!(payload, [b'p'; 125]);
    }
    assert!((2..120_000).contains(&pongs));
}

#[test]
fn commands_that_never_end_keep_nobody_else_waiting() {
    let compressing = Behaviour { compression: 1, wants: 0, ..behaviour() };
    let mut harness = Harness::with_behaviour(compressing);
    let mut subscriber = harness.connect();
    subscriber.send(
        b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
    );
    subscriber.read_through(b"\r\n\r\n");
    let id = harness.expect(EventKind::Open).id;
    harness.command(Op::Subscribe, 0, id, 7, b"");
    let (over, shared) = (AtomicBool::new(false), harness.event_loop.shared.clone());
    let text: Vec<u8> = (0..7900u32).map(|n| b'a' + (n.wrapping_mul(n) >> 5) as u8 % 26).collect();
    std::thread::scope(|scope| {
        // JavaScript that publishes without a pause, as far as the queue of commands lets it.
        scope.spawn(|| {
            let nobody = ExchangeId { slot: NOBODY, generation: 0 };
            while !over.load(Ordering::SeqCst) {
                let mut batch = CommandBatch::default();
                for _ in 0..20 {
                    push(&mut batch, Op::Publish, send_flag::COMPRESS, nobody, 7, &text);
                }
                harness.send(&mut batch);
                shared.commands.wait_for_room(COMMAND_QUEUE_BYTES, Duration::from_secs(1), || false);
            }
        });
        scope.spawn(|| while subscriber.frame().2 != b"the end" {});
        // Clients are still accepted, read and answered.
        for _ in 0..30 {
            let mut client = harness.connect();
            client.send(b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n");
            assert!(client.response().0.starts_with("HTTP/1.1 404 "));
        }
        over.store(true, Ordering::SeqCst);
        harness.command(Op::Publish, 0, ExchangeId { slot: NOBODY, generation: 0 }, 7, b"the end");
    });
}

#[test]
fn a_loop_that_waits_until_javascript_hears_of_drops_serves_others_and_sleeps() {
    let mut harness = Harness::with_behaviour(behaviour());
    let mut client = Client::connect_slow(harness.port);
    client.upgrade();
    let id = harness.expect(EventKind::Open).id;
    harness.command(Op::Subscribe, 0, id, 1, b"");
    harness.command(Op::Send, 0, id, 0, &vec![b'x'; 8 << 20]);
    wait_until("the kernel refuses bytes", || harness.backlog(id) > behaviour().max_backpressure);
    let nobody = ExchangeId { slot: NOBODY, generation: 0 };
    const PUBLISHES: usize = 3 * DROPPED_QUEUE_ITEMS;
    let mut batch = CommandBatch::default();
    for n in 0..PUBLISHES {
        push(&mut batch, Op::Publish, 0, nobody, 1, &(n as u32).to_le_bytes());
    }
    harness.send(&mut batch);
    wait_until("the loop waits", || harness.shared().drops_stalled.asks_to_be_woken());
    std::thread::sleep(MOMENT);
    let (before, waiting) = (harness.turns(), harness.shared().dropped.items());
    assert!((DROPPED_QUEUE_ITEMS..DROPPED_QUEUE_ITEMS + 100).contains(&waiting), "{waiting} drops wait");
    std::thread::sleep(Duration::from_millis(300));
    assert!(harness.turns() - before < 5, "{} turns for nothing", harness.turns() - before);
    // The loop goes on with everything else.
    let mut other = harness.connect();
    other.send(b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(other.response().0.starts_with("HTTP/1.1 404 "));
    // A command behind those that wait is executed once JavaScript has taken the `Dropped` events.
    harness.command(Op::Publish, 0, nobody, 1, b"last");
    for n in 0..PUBLISHES {
        assert_eq!(harness.expect(EventKind::Dropped).payload, (n as u32).to_le_bytes());
    }
    assert_eq!(harness.expect(EventKind::Dropped).payload, b"last");
}
