//! `app.shutdown()`: nothing that was accepted is lost, and the deadline holds.

use super::harness::*;
use crate::channel::{CommandBatch, EventKind, Op};
use crate::event_loop::{Control, Timeouts, registry};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use tungstenite::protocol::frame::coding::{Control as ControlCode, Data, OpCode};

const HELLO: &[u8] = b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";
const CLOSE: OpCode = OpCode::Control(ControlCode::Close);
/// Longer than any test.
const LONG: u32 = 1000;

fn shut_down(harness: &Harness, seconds: u32) {
    harness.event_loop.control(Control::ShutDown { app: APP, seconds });
}

/// The next event, which must be the end of the shutdown: how many were cut.
fn cut(harness: &mut Harness) -> u32 {
    let event = harness.expect(EventKind::ShutDown);
    assert_eq!(event.args[0], APP);
    event.args[1]
}

fn closes(head: &str) -> bool {
    head.contains("\r\nConnection: close\r\n")
}

#[test]
fn an_app_without_connections_is_done_at_once_and_listens_again_afterwards() {
    let mut harness = Harness::start();
    for _ in 0..2 {
        shut_down(&harness, LONG);
        assert_eq!(cut(&mut harness), 0);
        harness.expect(EventKind::Quiet);
        // This was said before JavaScript heard of the end.
        harness.event_loop.control(Control::HurryUp { app: APP, seconds: 0 });
        harness.expect_nothing();
        assert!(TcpStream::connect(("127.0.0.1", harness.port)).is_err());
        harness.port = harness.listen(1);
        let mut client = harness.connect();
        client.send(HELLO);
        let id = harness.expect_request().id;
        harness.end(id, b"again");
        assert!(!closes(&client.response().0));
        client.end();
        client.expect_closed();
        harness.settle();
    }
}

#[test]
fn idle_connections_end_and_requests_in_flight_are_answered() {
    let mut harness = Harness::start();
    let mut idle = harness.connect();
    idle.send(HELLO);
    let id = harness.expect_request().id;
    harness.end(id, b"kept");
    assert!(!closes(&idle.response().0));
    let (mut whole, mut streamed) = (harness.connect(), harness.connect());
    whole.send(HELLO);
    let first = harness.expect_request().id;
    streamed.send(HELLO);
    let second = harness.expect_request().id;
    harness.respond(Op::Write, 0, second, 0, [b"", b"", b"be"]);
    assert!(!closes(&String::from_utf8(streamed.read_through(b"\r\n\r\n")).expect("text")));
    shut_down(&harness, LONG);
    idle.expect_closed();
    harness.end(first, b"whole");
    let (head, body) = whole.response();
    assert!(closes(&head) && body == b"whole", "{head}");
    whole.expect_closed();
    harness.respond(Op::Finish, 0, second, 0, [b"", b"", b"gun"]);
    assert_eq!(streamed.read_to_end(), b"2\r\nbe\r\n3\r\ngun\r\n0\r\n\r\n");
    drop((idle, whole, streamed));
    assert_eq!(cut(&mut harness), 0);
    harness.expect(EventKind::Quiet);
    harness.expect_nothing();
}

#[test]
fn requests_that_were_read_are_answered_and_only_the_last_response_closes() {
    let mut harness = Harness::start();
    let mut client = harness.connect();
    // More than are handed over ahead, and one that waits for that.
    let post = b"POST /post HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    client.send(&[&HELLO.repeat(40)[..], post, b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n"].concat());
    let id = harness.expect_request().id;
    shut_down(&harness, LONG);
    harness.settle();
    for number in 0..40 {
        if number > 0 {
            assert_eq!(harness.expect_request().id, id);
        }
        harness.end(id, b"hello");
        let (head, _) = client.response();
        assert!(!closes(&head), "{number}");
    }
    harness.expect_request();
    assert_eq!(harness.expect(EventKind::Data).payload, b"abc");
    if let Some(last) = harness.event_within(MOMENT) {
        assert!(last.is(EventKind::Data) && last.payload.is_empty());
    }
    harness.end(id, b"post");
    assert!(!closes(&client.response().0));
    let (head, _) = client.response();
    assert!(head.starts_with("HTTP/1.1 404") && closes(&head), "{head}");
    client.expect_closed();
    drop(client);
    assert_eq!(cut(&mut harness), 0);
}

#[test]
fn a_request_on_a_kept_connection_is_answered_and_its_connection_closed() {
    let mut harness = Harness::start();
    let mut client = harness.connect();
    client.send(HELLO);
    let id = harness.expect_request().id;
    harness.respond(Op::Write, 0, id, 0, [b"", b"", b"a"]);
    client.read_through(b"1\r\na\r\n");
    shut_down(&harness, LONG);
    harness.settle();
    // The head has promised to keep the connection, so the client goes on.
    client.send(HELLO);
    harness.respond(Op::Finish, 0, id, 0, [b"", b"", b""]);
    client.read_through(b"0\r\n\r\n");
    let next = harness.expect_request().id;
    harness.end(next, b"next");
    let (head, body) = client.response();
    assert!(closes(&head) && body == b"next", "{head}");
    client.expect_closed();
    drop(client);
    assert_eq!(cut(&mut harness), 0);
}

#[test]
fn a_connection_that_was_busy_until_now_has_a_moment_for_the_next_request() {
    let mut harness = Harness::start();
    let (mut busy, mut idle) = (harness.connect(), harness.connect());
    for client in [&mut busy, &mut idle] {
        client.send(HELLO);
        let id = harness.expect_request().id;
        harness.end(id, b"kept");
        client.response();
    }
    shut_down(&harness, LONG);
    // This was sent before its client could know of the shutdown.
    busy.send(HELLO);
    let id = harness.expect_request().id;
    harness.end(id, b"answered");
    let (head, body) = busy.response();
    assert!(closes(&head) && body == b"answered", "{head}");
    busy.expect_closed();
    let began = Instant::now();
    idle.expect_closed();
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    // Its end is one in order, not a reset.
    idle.end();
    drop(busy);
    assert_eq!(cut(&mut harness), 0);
}

#[test]
fn connections_of_the_backlog_and_those_without_a_request_are_served() {
    let mut harness = Harness::start();
    let early = harness.connect();
    harness.settle();
    // While the loop is busy, the kernel accepts on its own.
    let (hold, let_go) = crossbeam_channel::bounded::<()>(0);
    harness.event_loop.control(Control::Wait(let_go));
    let mut late: Vec<_> = (0..300).map(|_| harness.connect()).collect();
    late[0].send(HELLO);
    shut_down(&harness, LONG);
    drop(hold);
    let mut all: Vec<_> = late.drain(..).chain([early]).collect();
    let id = harness.expect_request().id;
    harness.end(id, b"first");
    assert!(closes(&all[0].response().0));
    for client in &mut all[1..] {
        client.send(HELLO);
        let id = harness.expect_request().id;
        harness.end(id, b"later");
        let (head, body) = client.response();
        assert!(closes(&head) && body == b"later", "{head}");
        client.expect_closed();
    }
    drop(all);
    assert_eq!(cut(&mut harness), 0);
}

#[test]
fn a_client_whose_proxy_has_named_it_may_still_ask_and_one_that_does_not_is_no_hindrance() {
    const NAMED: &[u8] = b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n";
    let mut harness = Harness::start();
    let timeouts = Timeouts { idle: 0, response: 0 };
    harness.event_loop.control(Control::Timeouts { app: APP, timeouts });
    let (mut before, mut during, mut silent) = (harness.connect(), harness.connect(), harness.connect());
    before.send(NAMED);
    silent.send(NAMED);
    // More ticks than a client of a kept connection would have.
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(1100));
        harness.settle();
    }
    let began = Instant::now();
    shut_down(&harness, LONG);
    during.send(NAMED);
    std::thread::sleep(MOMENT);
    for client in [&mut before, &mut during] {
        client.send(HELLO);
        let id = harness.expect_request().id;
        harness.end(id, b"answered");
        let (head, body) = client.response();
        assert!(closes(&head) && body == b"answered", "{head}");
        client.expect_closed();
        client.end();
    }
    silent.expect_closed();
    assert_eq!(cut(&mut harness), 0);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn a_client_that_asks_for_nothing_does_not_hold_a_shutdown_up() {
    let mut harness = Harness::start();
    let timeouts = Timeouts { idle: 0, response: 0 };
    harness.event_loop.control(Control::Timeouts { app: APP, timeouts });
    let mut silent = harness.connect();
    harness.settle();
    let began = Instant::now();
    shut_down(&harness, LONG);
    silent.expect_closed();
    assert_eq!(cut(&mut harness), 0);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn a_websocket_gets_what_was_sent_and_then_1001() {
    let mut harness = Harness::with_behaviour(behaviour());
    let mut client = harness.connect();
    client.upgrade();
    let id = harness.expect(EventKind::Open).id;
    let mut batch = CommandBatch::default();
    for _ in 0..3 {
        push(&mut batch, Op::Send, 0, id, 0, b"queued");
    }
    harness.send(&mut batch);
    shut_down(&harness, LONG);
    let gone = harness.expect(EventKind::Gone);
    assert_eq!((gone.id, gone.args[0], &gone.payload[..]), (id, 1001, &b""[..]));
    // The loop does not wait for JavaScript.
    for _ in 0..3 {
        assert_eq!(client.frame(), (OpCode::Data(Data::Text), true, b"queued".to_vec()));
    }
    assert_eq!(client.frame(), (CLOSE, true, 1001u16.to_be_bytes().to_vec()));
    client.send(&masked(CLOSE, true, &1001u16.to_be_bytes()));
    client.end();
    client.expect_closed();
    assert_eq!(cut(&mut harness), 0);
    harness.command(Op::Release, 0, id, 0, b"");
    harness.expect(EventKind::Quiet);
    harness.expect_nothing();
}

#[test]
fn a_websocket_that_opens_meanwhile_goes_away_at_once() {
    let mut harness = Harness::with_behaviour(behaviour());
    let mut client = harness.connect();
    harness.settle();
    shut_down(&harness, LONG);
    harness.settle();
    client.upgrade();
    let id = harness.expect(EventKind::Open).id;
    let gone = harness.expect(EventKind::Gone);
    assert_eq!((gone.id, gone.args[0]), (id, 1001));
    assert_eq!(client.frame().0, CLOSE);
    drop(client);
    assert_eq!(cut(&mut harness), 0);
}

#[test]
fn what_is_left_is_cut_and_counted_and_the_shorter_time_wins() {
    let mut harness = Harness::with_behaviour(behaviour());
    let (mut waits, mut done, mut slow) = (harness.connect(), harness.connect(), harness.connect());
    waits.send(HELLO);
    let first = harness.expect_request().id;
    done.send(HELLO);
    let second = harness.expect_request().id;
    slow.upgrade();
    let socket = harness.expect(EventKind::Open).id;
    shut_down(&harness, LONG);
    harness.end(second, b"done");
    done.response();
    drop(done);
    let began = Instant::now();
    for seconds in [1, LONG] {
        harness.event_loop.control(Control::HurryUp { app: APP, seconds });
    }
    // The WebSocket has got all, and only its client's end is missing: that is no loss.
    let gone = harness.expect(EventKind::Gone);
    assert_eq!((gone.id, gone.args[0]), (socket, 1001));
    assert_eq!(harness.expect(EventKind::Gone).id, first);
    assert_eq!(cut(&mut harness), 1);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    waits.expect_closed();
    assert_eq!(slow.frame().0, CLOSE);
}

#[test]
fn no_time_at_all_cuts_at_once_what_the_kernel_does_not_take() {
    let mut harness = Harness::with_behaviour(behaviour());
    let (mut open, mut waits) = (harness.connect(), harness.connect());
    open.upgrade();
    let socket = harness.expect(EventKind::Open).id;
    waits.send(HELLO);
    let first = harness.expect_request().id;
    harness.command(Op::Send, 0, socket, 0, b"last");
    shut_down(&harness, 0);
    let mut gone = [harness.expect(EventKind::Gone).id, harness.expect(EventKind::Gone).id];
    gone.sort_by_key(|id| id.slot);
    let mut both = [socket, first];
    both.sort_by_key(|id| id.slot);
    assert_eq!(gone, both);
    assert_eq!(cut(&mut harness), 1);
    assert_eq!(open.frame().2, b"last");
    assert_eq!(open.frame().0, CLOSE);
    waits.expect_closed();
}

#[test]
fn closing_an_app_that_shuts_down_ends_both() {
    let mut harness = Harness::start();
    let mut waits = harness.connect();
    waits.send(HELLO);
    let id = harness.expect_request().id;
    shut_down(&harness, LONG);
    harness.command(Op::CloseApp, 0, id, APP, b"");
    waits.expect_closed();
    harness.expect(EventKind::AppClosed);
    assert_eq!(cut(&mut harness), 1);
    harness.expect(EventKind::Quiet);
    harness.expect_nothing();
}

#[test]
fn a_child_app_that_shuts_down_serves_what_it_was_given_and_is_given_nothing_more() {
    let (mut home, mut child) = (Harness::start(), Harness::start());
    let descriptor = registry::descriptor(child.event_loop.remote(), APP);
    home.event_loop.control(Control::AddChild { app: APP, descriptor });
    let mut given = home.connect();
    given.send(HELLO);
    let id = child.expect_request().id;
    registry::forget_app(&child.event_loop.remote(), APP);
    shut_down(&child, LONG);
    let mut kept = home.connect();
    kept.send(HELLO);
    let other = home.expect_request().id;
    home.end(other, b"home");
    assert_eq!(kept.response().1, b"home");
    child.end(id, b"child");
    let (head, body) = given.response();
    assert!(closes(&head) && body == b"child", "{head}");
    drop(given);
    assert_eq!(cut(&mut child), 0);
}

#[test]
fn the_loop_cuts_while_javascript_takes_no_events() {
    let mut harness = Harness::with_behaviour(behaviour());
    let mut clients: Vec<_> = (0..20).map(|_| harness.connect()).collect();
    for client in &mut clients[..10] {
        client.upgrade();
    }
    for client in &mut clients[10..] {
        client.send(HELLO);
    }
    harness.settle();
    shut_down(&harness, 1);
    // Nobody takes events here.
    for client in &mut clients[..10] {
        assert_eq!(client.frame().0, CLOSE);
    }
    for client in &mut clients {
        client.expect_closed();
    }
    let mut kinds = Vec::new();
    while let Some(event) = harness.event_within(MOMENT) {
        kinds.push(event.kind);
    }
    let count = |kind: EventKind| kinds.iter().filter(|each| **each == kind as u32).count();
    assert_eq!((count(EventKind::Gone), count(EventKind::ShutDown)), (20, 1));
}
