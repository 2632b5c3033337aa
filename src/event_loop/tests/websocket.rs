//! Upgrades, messages, topics and the ends of WebSockets.

use super::harness::*;
use crate::channel::{
    COMMAND_QUEUE_BYTES, CommandBatch, EventKind, ExchangeId, NOBODY, OWNED_PAYLOAD, Op, command_cost,
    send_flag, wants,
};
use crate::event_loop::Behaviour;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

const TEXT: OpCode = OpCode::Data(Data::Text);
const BINARY: OpCode = OpCode::Data(Data::Binary);
const CONTINUE: OpCode = OpCode::Data(Data::Continue);
const PING: OpCode = OpCode::Control(Control::Ping);
const PONG: OpCode = OpCode::Control(Control::Pong);
const CLOSE: OpCode = OpCode::Control(Control::Close);

/// An upgraded client and its connection.
fn open(harness: &mut Harness) -> (Client, ExchangeId) {
    let mut client = harness.connect();
    let head = client.upgrade();
    assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
    assert!(head.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{head}");
    let event = harness.expect(EventKind::Open);
    assert_eq!(event.args[0], 1, "the behaviour");
    (client, event.id)
}

fn echo(harness: &mut Harness) -> Happened {
    let event = harness.expect(EventKind::Message);
    let binary = if event.args[0] == 1 { send_flag::BINARY } else { 0 };
    harness.command(Op::Send, binary, event.id, 0, &event.payload);
    event
}

#[test]
fn the_loop_upgrades_by_itself_and_messages_go_both_ways() {
    let mut harness = Harness::with_behaviour(behaviour());
    let (mut client, id) = open(&mut harness);
    for (opcode, payload) in
        [(TEXT, &b"hello"[..]), (BINARY, &[0, 255, 1]), (TEXT, b""), (BINARY, &[7; 20_000])]
    {
        client.send(&masked(opcode, true, payload));
        let event = echo(&mut harness);
        assert_eq!((event.id, &event.payload[..]), (id, payload));
        assert_eq!(client.frame(), (opcode, true, payload.to_vec()));
    }
}

#[test]
fn frames_may_come_byte_by_byte_or_many_at_once() {
    let mut harness = Harness::with_behaviour(behaviour());
    let (mut client, _) = open(&mut harness);
    let mut bytes = masked(TEXT, false, "gr\u{fc}".as_bytes());
    bytes.extend(masked(PING, true, b"between"));
    bytes.extend(masked(CONTINUE, true, "n \u{1f33f}".as_bytes()));
    bytes.extend(masked(BINARY, true, &[1; 130]));
    for slowly in [true, false] {
        if slowly {
            client.send_slowly(&bytes)
        } else {
            client.send(&bytes)
        }
        assert_eq!(harness.expect(EventKind::Ping).payload, b"between");
        assert_eq!(echo(&mut harness).payload, "gr\u{fc}n \u{1f33f}".as_bytes());
        assert_eq!(echo(&mut harness).payload, [1; 130]);
        assert_eq!(client.frame(), (PONG, true, b"between".to_vec()));
        assert_eq!(client.frame().2, "gr\u{fc}n \u{1f33f}".as_bytes());
        assert_eq!(client.frame(), (BINARY, true, vec![1; 130]));
    }
}

#[test]
fn javascript_upgrades_when_it_likes() {
    let mut harness = Harness::with_behaviour(Behaviour { auto_upgrade: false, ..behaviour() });
    let mut client = harness.connect();
    // A client that does not wait for the answer: its first message is behind the request.
    client.send(&[UPGRADE_REQUEST, &masked(TEXT, true, b"early")].concat());
    let request = harness.expect_request();
    assert_eq!((request.handler, request.flags), (1, 0));
    harness.expect_nothing();
    let inner = response_parts([b"dGhlIHNhbXBsZSBub25jZQ==", b"chat, other", b""]);
    let payload = response_parts([b"101 Fine", b"A: b\r\n", &inner]);
    harness.command(Op::Upgrade, 0, request.id, 1, &payload);
    harness.command(Op::Send, 0, request.id, 0, b"from open");
    let head = String::from_utf8(client.read_through(b"\r\n\r\n")).expect("text");
    assert!(head.starts_with("HTTP/1.1 101 Fine\r\n") && head.contains("\r\nA: b\r\n"), "{head}");
    assert!(head.contains("\r\nSec-WebSocket-Protocol: chat\r\n"), "{head}");
    assert_eq!(client.frame().2, b"from open");
    assert_eq!(echo(&mut harness).payload, b"early");
    assert_eq!(client.frame().2, b"early");
}

#[test]
fn large_messages_move_by_ownership() {
    let mut harness = Harness::with_behaviour(behaviour());
    let (mut client, id) = open(&mut harness);
    let content: Vec<u8> = (0..5_000_000).map(|n: usize| ((n * 31) >> 3) as u8).collect();
    let (frame, mut sending) = (masked(BINARY, true, &content), client.second());
    let sender = std::thread::spawn(move || sending.send(&frame));
    let event = harness.expect(EventKind::Message);
    sender.join().expect("sender");
    assert!(event.payload == content, "the message arrived changed");
    assert!(event.owned && content.len() > OWNED_PAYLOAD);
    let mut batch = CommandBatch::default();
    let record = batch.record(Op::Send, send_flag::BINARY, id, 0, 0);
    record.finish_owned(event.payload);
    harness.send(&mut batch);
    assert!(client.frame() == (BINARY, true, content), "the message left changed");
}

#[test]
fn fragments_and_pings_can_be_sent() {
    let mut harness = Harness::with_behaviour(behaviour());
    let (mut client, id) = open(&mut harness);
    harness.command(Op::Send, send_flag::NOT_FINAL, id, 0, b"a");
    harness.command(Op::Send, send_flag::NOT_FINAL | send_flag::CONTINUATION, id, 0, b"b");
    harness.command(Op::Send, send_flag::CONTINUATION, id, 0, b"c");
    harness.command(Op::Send, send_flag::PING, id, 0, b"p");
    let frames =
        [(TEXT, false, &b"a"[..]), (CONTINUE, false, b"b"), (CONTINUE, true, b"c"), (PING, true, b"p")];
    for (opcode, fin, payload) in frames {
        assert_eq!(client.frame(), (opcode, fin, payload.to_vec()));
    }
    client.send(&masked(PONG, true, b"p"));
    assert_eq!(harness.expect(EventKind::Pong).payload, b"p");
}

#[test]
fn the_loop_acknowledges_the_commands_it_has_executed() {
    let mut harness = Harness::with_behaviour(behaviour());
    let (mut client, id) = open(&mut harness);
    let acked = || harness.account(id).acked;
    let before = acked();
    for payload in [&b"abc"[..], b"", &[b'x'; 2000]] {
        harness.command(Op::Send, 0, id, 0, payload);
        assert_eq!(client.frame().2, payload);
    }
    // The loop counts after it has written, so the client may have read before that.
    harness.settle();
    assert_eq!(acked().wrapping_sub(before), command_cost(3) + command_cost(0) + command_cost(2000));
    assert!(acked() < COMMAND_QUEUE_BYTES);
}

#[test]
fn a_handler_nobody_has_gets_no_event() {
    let mut harness = Harness::with_behaviour(Behaviour { wants: 0, ..behaviour() });
    let (mut client, _) = open(&mut harness);
    for opcode in [TEXT, PING, PONG] {
        client.send(&masked(opcode, true, b"x"));
    }
    assert_eq!(client.frame(), (PONG, true, b"x".to_vec()));
    harness.expect_nothing();
}

#[test]
fn a_publish_reaches_its_subscribers_in_the_order_of_the_commands() {
    let mut harness = Harness::with_behaviour(behaviour());
    let mut clients: Vec<_> = (0..5).map(|_| open(&mut harness)).collect();
    let ids: Vec<ExchangeId> = clients.iter().map(|(_, id)| *id).collect();
    let large = vec![b'L'; OWNED_PAYLOAD + 1];
    let mut batch = CommandBatch::default();
    for id in &ids[..4] {
        batch.push(Op::Subscribe, *id, 9);
        batch.push(Op::Subscribe, *id, 9);
    }
    let nobody = ExchangeId { slot: NOBODY, generation: 0 };
    push(&mut batch, Op::Publish, 0, nobody, 9, b"to all");
    push(&mut batch, Op::Send, 0, ids[1], 0, b"between");
    push(&mut batch, Op::Publish, send_flag::BINARY, ids[0], 9, b"not to the sender");
    batch.push(Op::Unsubscribe, ids[2], 9);
    push(&mut batch, Op::Publish, 0, nobody, 9, &large);
    push(&mut batch, Op::Publish, 0, nobody, 8, b"to nobody");
    for id in &ids {
        push(&mut batch, Op::Send, 0, *id, 0, b"end");
    }
    harness.send(&mut batch);
    type Frame<'a> = (OpCode, &'a [u8]);
    let (all, other): (Frame<'_>, Frame<'_>) = ((TEXT, b"to all"), (BINARY, b"not to the sender"));
    let (large, end): (Frame<'_>, Frame<'_>) = ((TEXT, &large), (TEXT, b"end"));
    let expected = [
        vec![all, large, end],
        vec![all, (TEXT, b"between"), other, large, end],
        vec![all, other, end],
        vec![all, other, large, end],
        vec![end],
    ];
    for ((client, _), expected) in clients.iter_mut().zip(expected) {
        for (opcode, payload) in expected {
            assert_eq!(client.frame(), (opcode, true, payload.to_vec()));
        }
    }
}

#[test]
fn a_closed_connection_leaves_its_topics() {
    let mut harness = Harness::with_behaviour(behaviour());
    let (first, id) = open(&mut harness);
    harness.command(Op::Subscribe, 0, id, 3, b"");
    harness.settle();
    first.reset();
    assert_eq!(harness.expect(EventKind::Gone).id, id);
    harness.command(Op::Release, 0, id, 0, b"");
    harness.settle();
    let (mut second, new) = open(&mut harness);
    assert_eq!((new.slot, new.generation), (id.slot, id.generation + 1), "the slot is used again");
    harness.command(Op::Subscribe, 0, id, 3, b"");
    harness.command(Op::Publish, 0, ExchangeId { slot: NOBODY, generation: 0 }, 3, b"lost");
    harness.command(Op::Send, 0, id, 0, b"stale");
    harness.command(Op::Send, 0, new, 0, b"end");
    assert_eq!(second.frame().2, b"end");
}

#[test]
fn the_peer_closes() {
    let mut harness = Harness::with_behaviour(behaviour());
    let close = |code: u16, reason: &[u8]| [&code.to_be_bytes()[..], reason].concat();
    for (payload, code, reason) in
        [(close(1000, b"bye"), 1000, &b"bye"[..]), (close(4321, b""), 4321, b""), (Vec::new(), 1005, b"")]
    {
        let (mut client, id) = open(&mut harness);
        client.send(&masked(CLOSE, true, &payload));
        // Frames after a close frame are ignored.
        client.send(&masked(TEXT, true, b"late"));
        let gone = harness.expect(EventKind::Gone);
        assert_eq!((gone.id, gone.args[0], &gone.payload[..]), (id, code, reason));
        harness.command(Op::Release, 0, id, 0, b"");
        harness.command(Op::Send, 0, id, 0, b"late");
        assert_eq!(client.frame(), (CLOSE, true, payload));
        client.end();
        client.expect_closed();
    }
    harness.expect_nothing();
}

#[test]
fn javascript_closes() {
    let mut harness = Harness::with_behaviour(behaviour());
    let (mut client, id) = open(&mut harness);
    harness.command(Op::Send, 0, id, 0, b"last");
    harness.command(Op::End, 0, id, 1001, b"going");
    harness.command(Op::Send, 0, id, 0, b"after the end");
    assert_eq!(client.frame().2, b"last");
    assert_eq!(client.frame(), (CLOSE, true, [&1001u16.to_be_bytes()[..], b"going"].concat()));
    client.expect_closed();
    let (mut client, id) = open(&mut harness);
    harness.command(Op::Close, 0, id, 0, b"");
    client.expect_closed();
    harness.expect_nothing();
}

#[test]
fn a_close_takes_nothing_along_that_was_sent_before() {
    let mut harness = Harness::with_behaviour(behaviour());
    for discard in [0, 1] {
        let (mut client, id) = open(&mut harness);
        // However busy the loop is: both come in one turn here.
        let mut batch = CommandBatch::default();
        push(&mut batch, Op::Send, 0, id, 0, b"last");
        push(&mut batch, Op::Close, 0, id, discard, b"");
        harness.send(&mut batch);
        if discard == 0 {
            assert_eq!(client.frame().2, b"last");
        }
        client.expect_closed();
    }
    harness.expect_nothing();
}

#[test]
fn peers_that_break_the_protocol_are_told_and_closed() {
    let mut harness = Harness::with_behaviour(Behaviour { max_payload: 100, ..behaviour() });
    let unmasked = [0x81, 1, b'a'];
    let cases = [
        (unmasked.to_vec(), 1002, "Received invalid WebSocket frame"),
        (masked(TEXT, true, &[b'a'; 101]), 1009, "Received too big message"),
        (masked(TEXT, true, &[0xff, 0xfe]), 1007, "Received invalid UTF-8"),
        (masked(CLOSE, true, &[3]), 1002, "Received invalid close payload"),
        (masked(CONTINUE, true, b"of nothing"), 1002, "Received invalid WebSocket frame"),
    ];
    for (bytes, code, reason) in cases {
        let (mut client, id) = open(&mut harness);
        client.send(&bytes);
        let gone = harness.expect(EventKind::Gone);
        assert_eq!((gone.id, gone.args[0], &gone.payload[..]), (id, 1006, reason.as_bytes()));
        harness.command(Op::Release, 0, id, 0, b"");
        let (opcode, _, payload) = client.frame();
        assert_eq!((opcode, &payload[..2]), (CLOSE, &u16::to_be_bytes(code)[..]), "{reason}");
        client.end();
        client.expect_closed();
    }
}

#[test]
fn messages_before_the_end_are_answered_before_the_close_frame() {
    let invalid = [0x81, 1, b'a'].to_vec();
    let close = masked(CLOSE, true, &1000u16.to_be_bytes());
    for (last, code) in [(invalid, 1002u16), (close, 1000)] {
        let mut harness = Harness::with_behaviour(behaviour());
        let (mut client, id) = open(&mut harness);
        harness.command(Op::Subscribe, 0, id, 3, b"");
        client.send(&[masked(TEXT, true, b"a question"), last].concat());
        assert_eq!(harness.expect(EventKind::Message).payload, b"a question");
        harness.expect(EventKind::Gone);
        harness.command(Op::Send, 0, id, 0, b"an answer");
        harness.command(Op::Publish, 0, ExchangeId { slot: NOBODY, generation: 0 }, 3, b"to all");
        assert_eq!(client.frame().2, b"an answer");
        assert_eq!(client.frame().2, b"to all");
        harness.command(Op::Release, 0, id, 0, b"");
        harness.command(Op::Send, 0, id, 0, b"too late");
        let (opcode, _, payload) = client.frame();
        assert_eq!((opcode, &payload[..2]), (CLOSE, &code.to_be_bytes()[..]));
        client.expect_closed();
    }
}

#[test]
fn an_end_by_javascript_replaces_the_answer_to_that_of_the_peer() {
    let mut harness = Harness::with_behaviour(behaviour());
    let (mut client, id) = open(&mut harness);
    client.send(&masked(CLOSE, true, &1000u16.to_be_bytes()));
    harness.expect(EventKind::Gone);
    harness.command(Op::End, 0, id, 4000, b"first");
    harness.command(Op::Release, 0, id, 0, b"");
    assert_eq!(client.frame(), (CLOSE, true, [&4000u16.to_be_bytes()[..], b"first"].concat()));
    client.expect_closed();
}

#[test]
fn an_answer_reaches_a_peer_that_closed_only_its_sending_side() {
    let mut harness = Harness::with_behaviour(behaviour());
    let (mut client, id) = open(&mut harness);
    client.send(&masked(TEXT, true, b"a question"));
    client.end();
    harness.expect(EventKind::Message);
    harness.expect(EventKind::Gone);
    harness.command(Op::Send, 0, id, 0, b"an answer");
    harness.command(Op::Release, 0, id, 0, b"");
    assert_eq!(client.frame().2, b"an answer");
    client.expect_closed();
}

#[test]
fn an_end_without_close_frame_is_abnormal() {
    let mut harness = Harness::with_behaviour(behaviour());
    let (mut client, _) = open(&mut harness);
    client.send(&masked(TEXT, true, b"last words"));
    client.end();
    assert_eq!(harness.expect(EventKind::Message).payload, b"last words");
    let gone = harness.expect(EventKind::Gone);
    assert_eq!(
        (gone.args[0], &gone.payload[..]),
        (1006, &b"Received TCP FIN before WebSocket close frame"[..])
    );
    harness.command(Op::Release, 0, gone.id, 0, b"");
    client.expect_closed();
    let (client, _) = open(&mut harness);
    client.reset();
    let gone = harness.expect(EventKind::Gone);
    assert_eq!((gone.args[0], &gone.payload[..]), (1006, &b""[..]));
}

#[test]
fn pings_are_answered_without_an_event_if_no_handler_wants_it() {
    let mut harness = Harness::with_behaviour(Behaviour { wants: wants::PONG, ..behaviour() });
    let (mut client, _) = open(&mut harness);
    client.send(&[masked(PING, true, b"a"), masked(PONG, true, b"b")].concat());
    assert_eq!(harness.expect(EventKind::Pong).payload, b"b");
    assert_eq!(client.frame(), (PONG, true, b"a".to_vec()));
}
