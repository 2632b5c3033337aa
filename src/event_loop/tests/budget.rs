//! The memory budget: who counts, and who has to go.

use super::harness::*;
use crate::channel::{CommandBatch, EventKind, ExchangeId, Op, send_flag};
use crate::event_loop::Behaviour;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tungstenite::protocol::frame::coding::{Data, OpCode};

const MIB: usize = 1 << 20;
const HELLO: &[u8] = b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";

fn used(harness: &Harness) -> usize {
    harness.shared().budget.used()
}

fn limit(harness: &Harness, bytes: usize) {
    harness.shared().budget.set_limit(bytes);
    harness.event_loop.wake();
}

/// Sends `bytes` in one message or response, in memory of its own.
fn send(harness: &Harness, op: Op, id: ExchangeId, bytes: usize) {
    let mut batch = CommandBatch::default();
    let mut record = batch.record(op, send_flag::BINARY, id, 0, 0);
    if op == Op::Respond {
        record.payload().extend_from_slice(&response_parts([b"", b"", b""]));
    }
    record.finish_owned(vec![b'x'; bytes]);
    harness.send(&mut batch);
}

fn open(harness: &mut Harness) -> (Client, ExchangeId) {
    let mut client = Client::connect_slow(harness.port);
    client.upgrade();
    let id = harness.expect(EventKind::Open).id;
    (client, id)
}

fn unlimited() -> Harness {
    Harness::with_behaviour(Behaviour { max_backpressure: 0, ..behaviour() })
}

#[test]
fn the_slowest_go_first_and_only_until_the_budget_is_kept() {
    let mut harness = unlimited();
    let (_large, large_id) = open(&mut harness);
    let (_small, small_id) = open(&mut harness);
    send(&harness, Op::Send, large_id, 40 * MIB);
    send(&harness, Op::Send, small_id, 10 * MIB);
    wait_until("both wait", || used(&harness) > 35 * MIB && harness.backlog(small_id) > 0);
    harness.settle();
    let before = used(&harness);
    limit(&harness, before);
    // Nobody goes while the budget is kept, however slow.
    std::thread::sleep(Duration::from_millis(3200));
    harness.expect_nothing();
    // The kernel may have taken some more meanwhile.
    let before = used(&harness);
    limit(&harness, before - MIB);
    let gone = harness.expect(EventKind::Gone);
    assert_eq!((gone.id, gone.args[0]), (large_id, 1013));
    let warning = harness.expect(EventKind::Warning);
    assert!(String::from_utf8_lossy(&warning.payload).contains("1 slow connections were closed"));
    harness.expect_nothing();
    let left = used(&harness);
    assert!(left > 2 * MIB && left < 11 * MIB, "{left}");
    // Another in the same minute is told, but not warned of.
    limit(&harness, MIB);
    let gone = harness.expect(EventKind::Gone);
    assert_eq!((gone.id, gone.args[0]), (small_id, 1013));
    wait_until("nothing is left", || used(&harness) < 10_000);
    harness.expect_nothing();
}

#[test]
fn a_large_response_of_a_fast_reader_is_not_the_victim() {
    let mut harness = unlimited();
    let (_stalled, stalled_id) = open(&mut harness);
    send(&harness, Op::Send, stalled_id, 30 * MIB);
    wait_until("it waits", || used(&harness) > 20 * MIB);
    std::thread::sleep(Duration::from_millis(3200));
    // Either of the two alone would be within it.
    limit(&harness, 70 * MIB);
    let mut fast = harness.connect();
    fast.send(HELLO);
    let id = harness.expect_request().id;
    let mut stream = fast.stream.try_clone().expect("clone");
    let reader = std::thread::spawn(move || {
        let (mut all, mut buffer) = (0, vec![0; 64 << 10]);
        while all < 64 * MIB {
            match stream.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(n) => all += n,
            }
            // As fast as a good line, and not as fast as memory.
            std::thread::sleep(Duration::from_millis(1));
        }
        all
    });
    send(&harness, Op::Respond, id, 64 * MIB);
    let gone = harness.expect(EventKind::Gone);
    assert_eq!((gone.id, gone.args[0]), (stalled_id, 1013));
    assert!(reader.join().expect("reader") >= 64 * MIB);
}

#[test]
fn if_nobody_is_slow_the_bound_still_holds() {
    let mut harness = unlimited();
    limit(&harness, 8 * MIB);
    let mut client = harness.connect();
    client.send(HELLO);
    let id = harness.expect_request().id;
    // Far more than the budget, at once.
    send(&harness, Op::Respond, id, 200 * MIB);
    // The response was complete for JavaScript, which is therefore told nothing.
    harness.expect(EventKind::Warning);
    // But for events on their way, which count until the next turn.
    wait_until("it is closed", || used(&harness) < 10_000);
    harness.expect_nothing();
}

#[test]
fn a_frame_that_many_wait_for_counts_once() {
    let mut harness = unlimited();
    let mut clients: Vec<_> = (0..20).map(|_| open(&mut harness)).collect();
    for (_, id) in &clients {
        harness.command(Op::Subscribe, 0, *id, 7, b"");
    }
    for _ in 0..8 {
        let mut batch = CommandBatch::default();
        let nobody = ExchangeId { slot: u32::MAX, generation: 0 };
        batch.record(Op::Publish, send_flag::BINARY, nobody, 7, 0).finish_owned(vec![1; MIB]);
        harness.send(&mut batch);
    }
    wait_until("all wait", || clients.iter().all(|(_, id)| harness.backlog(*id) > 5 * MIB));
    harness.settle();
    assert!(used(&harness) < 12 * MIB, "{}", used(&harness));
    // Over the budget, no backlog grows: the next publish is dropped.
    limit(&harness, 9 * MIB);
    limit(&harness, 5 * MIB);
    let mut batch = CommandBatch::default();
    push(&mut batch, Op::Publish, 0, ExchangeId { slot: u32::MAX, generation: 0 }, 7, b"dropped");
    harness.send(&mut batch);
    let event = harness.expect(EventKind::Dropped);
    assert_eq!(event.payload, b"dropped");
    clients.clear();
    // But for the events of their ends.
    wait_until("nothing is left", || used(&harness) < 10_000);
}

#[test]
fn a_publish_that_is_dropped_for_the_budget_is_no_breach_of_the_connections_own_limit() {
    let behaviour = Behaviour {
        max_backpressure: 1 << 30,
        close_on_backpressure_limit: true,
        ..super::harness::behaviour()
    };
    let mut harness = Harness::with_behaviour(behaviour);
    let (_client, id) = open(&mut harness);
    harness.command(Op::Subscribe, 0, id, 7, b"");
    send(&harness, Op::Send, id, 20 * MIB);
    wait_until("it waits", || harness.backlog(id) > 10 * MIB);
    harness.settle();
    let budget = used(&harness) * 9 / 10;
    limit(&harness, budget);
    let nobody = ExchangeId { slot: u32::MAX, generation: 0 };
    harness.command(Op::Publish, 0, nobody, 7, b"lost");
    let dropped = harness.expect(EventKind::Dropped);
    assert_eq!((dropped.id, &dropped.payload[..]), (id, &b"lost"[..]));
    limit(&harness, usize::MAX);
    harness.expect_nothing();
    assert!(harness.backlog(id) > 0, "it is open");
}

#[test]
fn what_is_received_and_incomplete_counts_too() {
    let mut harness = unlimited();
    let mut client = harness.connect();
    client.upgrade();
    let id = harness.expect(EventKind::Open).id;
    let mut message = masked(OpCode::Data(Data::Binary), true, &vec![0; 3 * MIB]);
    message.truncate(2 * MIB);
    client.send(&message);
    wait_until("it is held", || used(&harness) >= 2 * MIB - 1000);
    limit(&harness, MIB);
    let gone = harness.expect(EventKind::Gone);
    assert_eq!((gone.id, gone.args[0]), (id, 1013));
    // Although JavaScript has not released it.
    wait_until("nothing is left", || used(&harness) < 10_000);
}

/// JavaScript keeps requests of a pipeline until their turn, which never comes if it does not answer.
#[test]
fn requests_that_wait_for_their_turn_are_the_burden_of_their_connection() {
    const EACH: usize = 9;
    let mut harness = unlimited();
    let mut honest = harness.connect();
    honest.send(&HELLO[..20]);
    let head = format!("GET /hello HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(3000));
    let mut strangers: Vec<_> = (0..50).map(|_| harness.connect()).collect();
    for stranger in &mut strangers {
        stranger.send(head.repeat(EACH).as_bytes());
    }
    let mut first = None;
    for _ in 0..strangers.len() * EACH {
        first.get_or_insert(harness.expect_request().id);
    }
    let parked = strangers.len() * (EACH - 1) * head.len();
    wait_until("they are counted", || (parked..parked + 10_000).contains(&used(&harness)));
    // The second of them has its turn.
    harness.end(first.expect("first"), b"hi");
    wait_until("it waits no more", || used(&harness) < parked);
    limit(&harness, MIB);
    let gone = harness.expect(EventKind::Gone);
    assert_eq!(gone.args[0], 1013);
    wait_until("the budget is kept", || used(&harness) <= MIB);
    honest.send(&HELLO[20..]);
    loop {
        let event = harness.event_within(Duration::from_secs(5)).expect("request");
        if event.is(EventKind::Request) {
            harness.end(event.id, b"hi");
            break;
        }
    }
    assert_eq!(honest.response().1, b"hi");
    strangers.into_iter().for_each(Client::reset);
    wait_until("nothing is left", || used(&harness) < 10_000);
}

/// JavaScript keeps the first part of a body until a handler asks for it, which may be never.
#[test]
fn a_body_that_nobody_asks_for_is_the_burden_of_its_connection() {
    const PART: usize = 30_000;
    let mut harness = unlimited();
    let mut strangers: Vec<_> = (0..50).map(|_| harness.connect()).collect();
    let mut ids = Vec::new();
    for stranger in &mut strangers {
        let head = b"POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n";
        stranger.send(&[&head[..], &[b'x'; PART]].concat());
        ids.push(harness.expect_request_only().id);
        assert_eq!(harness.expect(EventKind::Data).payload.len(), PART);
    }
    let kept = strangers.len() * PART;
    wait_until("they are counted", || (kept..kept + 10_000).contains(&used(&harness)));
    // One is asked for, and another is answered without it.
    harness.command(Op::Resume, 0, ids[0], 0, b"");
    harness.end(ids[1], b"hi");
    wait_until("they are kept no more", || used(&harness) <= kept - 2 * PART + 10_000);
    limit(&harness, MIB);
    let gone = harness.expect(EventKind::Gone);
    assert_eq!(gone.args[0], 1013);
    wait_until("the budget is kept", || used(&harness) <= MIB);
    strangers.into_iter().for_each(Client::reset);
    wait_until("nothing is left", || used(&harness) < 10_000);
}

/// A program that pauses a body has been given only a part of what the loop has handed over.
#[test]
fn what_javascript_keeps_of_paused_bodies_is_the_burden_of_its_connection() {
    const PART: usize = 30_000;
    let mut harness = unlimited();
    let mut client = harness.connect();
    let head = format!("POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", 3 * PART);
    client.send(&[head.as_bytes(), &[b'x'; PART]].concat());
    let request = harness.expect_request();
    assert_eq!(harness.expect(EventKind::Data).payload.len(), PART);
    let is = |kept: usize| kept..kept + PART / 2;
    wait_until("the program has been given all", || is(0).contains(&used(&harness)));
    client.send(&[b'x'; PART]);
    assert_eq!(harness.expect(EventKind::Data).payload.len(), PART);
    harness.command(Op::Pause, 0, request.id, PART as u32, b"");
    wait_until("the second part is kept", || is(PART).contains(&used(&harness)));
    harness.command(Op::Resume, 0, request.id, 0, b"");
    wait_until("it is kept no more", || is(0).contains(&used(&harness)));
    // The last part is there when the program pauses, so nothing but its turn in JavaScript is to come.
    client.send(&[b'x'; PART]);
    assert_eq!(harness.expect(EventKind::Data).payload.len(), PART);
    harness.command(Op::Pause, 0, request.id, 2 * PART as u32, b"");
    wait_until("the last part is kept", || is(PART).contains(&used(&harness)));
    harness.end(request.id, b"hi");
    assert_eq!(client.response().1, b"hi");
    wait_until("nothing is left", || is(0).contains(&used(&harness)));
}

/// A body that comes with its head waits in JavaScript for a handler, and so does one of a later request
/// whose turn has come.
#[test]
fn what_javascript_keeps_of_whole_bodies_is_the_burden_of_its_connection() {
    const BODY: usize = 12_000;
    let mut harness = unlimited();
    let mut client = harness.connect();
    let head = format!("POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: {BODY}\r\n\r\n");
    client.send(&[head.as_bytes(), &[b'x'; BODY]].concat().repeat(2));
    let requests = [harness.expect_request_only(), harness.expect_request_only()];
    let is = |kept: usize| kept..kept + BODY / 2;
    wait_until("the second waits for its turn", || is(BODY).contains(&used(&harness)));
    harness.command(Op::Pause, 0, requests[0].id, 0, b"");
    wait_until("both are kept", || is(2 * BODY).contains(&used(&harness)));
    harness.end(requests[0].id, b"hi");
    assert_eq!(client.response().1, b"hi");
    wait_until("it has its turn", || is(0).contains(&used(&harness)));
    harness.command(Op::Pause, 0, requests[1].id, 0, b"");
    wait_until("it is kept", || is(BODY).contains(&used(&harness)));
    harness.command(Op::Resume, 0, requests[1].id, 0, b"");
    wait_until("the program has it", || is(0).contains(&used(&harness)));
    harness.end(requests[1].id, b"hi");
    assert_eq!(client.response().1, b"hi");
}

#[test]
fn a_loop_that_ends_holds_nothing() {
    let mut harness = unlimited();
    let budget = harness.shared().budget.clone();
    let (_client, id) = open(&mut harness);
    send(&harness, Op::Send, id, 20 * MIB);
    wait_until("it waits", || budget.used() > 10 * MIB);
    harness.event_loop.stop();
    assert_eq!(budget.used(), 0);
}

#[test]
fn the_bound_holds_while_many_stall_and_those_that_read_lose_nothing() {
    let mut harness = unlimited();
    let budget = harness.shared().budget.clone();
    let most = Arc::new(AtomicUsize::new(0));
    let over = Arc::new(AtomicBool::new(false));
    let watch = {
        let (budget, most, over) = (budget.clone(), most.clone(), over.clone());
        std::thread::spawn(move || {
            while !over.load(Ordering::SeqCst) {
                most.fetch_max(budget.used(), Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(1));
            }
        })
    };
    limit(&harness, 32 * MIB);
    let (mut reader, reader_id) = open(&mut harness);
    reader.stream.set_nodelay(true).expect("nodelay");
    let slow: Vec<_> = (0..30).map(|_| open(&mut harness)).collect();
    let (mut sent, began) = (0, Instant::now());
    let mut gone = Vec::new();
    // Longer where the machine has other work.
    while began.elapsed() < Duration::from_secs(5) || gone.is_empty() && began.elapsed() < 3 * PATIENCE {
        for (_, id) in slow.iter().filter(|(_, id)| !gone.contains(id)) {
            send(&harness, Op::Send, *id, 64 << 10);
        }
        send(&harness, Op::Send, reader_id, 1000);
        sent += 1;
        assert_eq!(reader.frame().2.len(), 1000, "message {sent}");
        while let Some(event) = harness.event_within(Duration::from_millis(1)) {
            if event.is(EventKind::Gone) {
                assert_ne!(event.id, reader_id);
                assert_eq!(event.args[0], 1013);
                gone.push(event.id);
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    over.store(true, Ordering::SeqCst);
    watch.join().expect("watch");
    assert!(!gone.is_empty() && sent > 5);
    // A quarter too much, and what one turn adds before the loop looks.
    let most = most.load(Ordering::SeqCst);
    assert!(most <= 32 * MIB * 5 / 4 + 8 * MIB, "{most}");
}
