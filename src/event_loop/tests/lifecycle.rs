//! How connections, listeners and the loop itself begin and end.

use super::harness::*;
use crate::channel::{EventKind, ExchangeId, ForgottenStage, Op};
use crate::event_loop::connection::transport::Transport;
use crate::event_loop::context::Context;
use crate::event_loop::net::{adopted, socket};
use crate::event_loop::{AppLimits, Behaviour, Control};
use crate::metrics::Metric;
use crate::protocol::http::request::Limits;
use crate::routing::router::Method;
use mio::net::UnixStream;
use std::fs::File;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::IntoRawFd;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tungstenite::protocol::frame::coding::{Control as ControlCode, Data, OpCode};

const HELLO: &[u8] = b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";

// ---- slots

#[test]
fn a_slot_is_kept_until_javascript_is_detached() {
    let mut harness = Harness::start();
    let mut client = harness.connect();
    client.send(HELLO);
    let first = harness.expect_request().id;
    client.reset();
    let gone = harness.expect(EventKind::Gone);
    assert_eq!((gone.id, gone.args[0]), (first, 1006));
    // Another connection must not use the state that JavaScript still reads for the first.
    let mut second = harness.connect();
    second.send(HELLO);
    let other = harness.expect_request().id;
    assert_ne!(other.slot, first.slot);
    harness.command(Op::Release, 0, first, 0, b"");
    harness.settle();
    let mut third = harness.connect();
    third.send(HELLO);
    let reused = harness.expect_request().id;
    assert_eq!((reused.slot, reused.generation), (first.slot, first.generation + 1));
    // Commands for the earlier user of the slot find nothing.
    for op in [Op::Respond, Op::Finish, Op::Close, Op::Release, Op::End, Op::Overflow, Op::Pause] {
        harness.respond(op, 0, first, 0, [b"", b"", b"stale"]);
    }
    harness.end(reused, b"third");
    harness.end(other, b"second");
    assert_eq!((second.response().1, third.response().1), (b"second".to_vec(), b"third".to_vec()));
    harness.expect_nothing();
}

#[test]
fn a_slot_nobody_holds_is_used_again_at_once() {
    let mut harness = Harness::start();
    let mut slots = Vec::new();
    for _ in 0..3 {
        let mut client = harness.connect();
        client.send(HELLO);
        let id = harness.expect_request().id;
        slots.push(id);
        harness.end(id, b"");
        client.response();
        client.end();
        client.expect_closed();
        harness.settle();
    }
    assert!(slots.windows(2).all(|two| two[0].slot == two[1].slot), "{slots:?}");
    assert!(slots.windows(2).all(|two| two[0].generation + 1 == two[1].generation), "{slots:?}");
    harness.expect_nothing();
}

#[test]
fn nonsense_is_ignored() {
    let mut harness = Harness::start();
    let mut client = harness.connect();
    client.send(HELLO);
    let id = harness.expect_request().id;
    let far = crate::channel::ExchangeId { slot: 4_000_000, generation: 1 };
    for op in (0..=255).filter_map(Op::from_number).filter(|op| !matches!(op, Op::CloseApp | Op::Forget)) {
        harness.command(op, 0, far, 77, b"cut short");
    }
    // WebSocket commands for a connection that is not a WebSocket, and an upgrade to a behaviour that does
    // not exist.
    for op in [Op::Send, Op::End, Op::Subscribe, Op::Unsubscribe, Op::Overflow] {
        harness.command(op, 0, id, 5, b"x");
    }
    harness.command(Op::Upgrade, 0, id, 99, b"");
    harness.end(id, b"well");
    assert_eq!(client.response().1, b"well");
    harness.expect_nothing();
}

#[test]
fn a_handler_that_is_replaced_or_removed_is_given_up_in_two_steps() {
    let mut harness = Harness::start();
    let removed = |pattern: &str| Control::RemoveRoute {
        app: APP,
        domain: None,
        method: Method::Get,
        pattern: pattern.into(),
    };
    harness.route(Method::Get, "/hello", 7);
    let event = harness.expect(EventKind::Forgotten);
    assert_eq!(event.args, [1, ForgottenStage::Unnamed as u32, 0]);
    harness.event_loop.control(removed("/hello"));
    assert_eq!(harness.expect(EventKind::Forgotten).args, [7, ForgottenStage::Unnamed as u32, 0]);
    harness.event_loop.control(removed("/hello"));
    harness.event_loop.control(removed("/never/there"));
    for handler in [1, 7] {
        harness.command(Op::Forget, 0, Default::default(), handler, b"");
        assert_eq!(harness.expect(EventKind::Forgotten).args, [handler, ForgottenStage::Free as u32, 0]);
    }
    harness.expect_nothing();
}

// ---- ends of connections

#[test]
fn a_peer_that_only_ends_its_side_still_gets_the_response() {
    let mut harness = Harness::start();
    let mut client = harness.connect();
    client.send(HELLO);
    client.end();
    let id = harness.expect_request().id;
    assert_eq!(harness.expect(EventKind::PeerEnd).id, id);
    harness.respond(Op::Write, 0, id, 0, [b"", b"", b"to the "]);
    harness.respond(Op::Finish, 0, id, 0, [b"", b"", b"end"]);
    assert!(client.read_to_end().ends_with(b"7\r\nto the \r\n3\r\nend\r\n0\r\n\r\n"));
    harness.expect_nothing();
}

/// A client that asks twice and then ends its side, and its second request. The response to the first one is
/// more than the kernel takes, and JavaScript has been told of the end.
fn half_closed(harness: &mut Harness, large: &[u8]) -> (Client, ExchangeId) {
    let mut client = harness.connect();
    client.send(HELLO);
    let id = harness.expect_request().id;
    harness.end(id, large);
    client.send(HELLO);
    client.end();
    let id = harness.expect_request().id;
    assert_eq!(harness.expect(EventKind::PeerEnd).id, id);
    (client, id)
}

#[test]
fn a_close_behind_the_end_of_the_peer_takes_no_response_along() {
    let mut harness =
        Harness::limited(AppLimits { max_unsent_bytes: Some(64 << 20), ..AppLimits::default() });
    let large = vec![b'l'; 16 << 20];
    let (mut client, id) = half_closed(&mut harness, &large);
    harness.command(Op::Close, 0, id, 0, b"");
    // There is nobody who could answer any more.
    harness.end(id, b"late");
    assert!(client.response().1 == large);
    assert_eq!(client.read_to_end(), b"");
    // A response that has begun is cut, and so is what was sent before.
    let (mut client, id) = half_closed(&mut harness, &large);
    harness.respond(Op::Write, 0, id, 0, [b"", b"", b"begun"]);
    harness.command(Op::Close, 0, id, 0, b"");
    assert!(client.read_to_end().len() < large.len());
    harness.expect_nothing();
}

#[test]
fn a_body_that_will_never_come_ends_the_request() {
    let mut harness = Harness::start();
    let mut client = harness.connect();
    client.send(b"POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n123");
    client.end();
    let id = harness.expect_request().id;
    assert_eq!(harness.expect(EventKind::Data).payload, b"123");
    assert_eq!(harness.expect(EventKind::Gone).id, id);
    client.expect_closed();
}

#[test]
fn a_peer_that_says_nothing_more_is_closed_quietly() {
    let mut harness = Harness::start();
    for bytes in [&b""[..], b"GET /hel"] {
        let mut client = harness.connect();
        client.send(bytes);
        client.end();
        client.expect_closed();
    }
    harness.expect_nothing();
}

// ---- apps and listeners

#[test]
fn closing_a_listener_leaves_its_connections_alone() {
    let mut harness = Harness::start();
    let port = harness.listen(5);
    let mut client = Client::connect(port);
    client.send(HELLO);
    let id = harness.expect_request().id;
    harness.command(Op::CloseListener, 0, id, 5, b"");
    wait_until("nobody listens there", || TcpStream::connect(("127.0.0.1", port)).is_err());
    harness.end(id, b"still here");
    assert_eq!(client.response().1, b"still here");
    assert!(TcpStream::connect(("127.0.0.1", harness.port)).is_ok());
}

#[test]
fn closing_an_app_closes_everything_and_then_it_is_quiet() {
    let mut harness = Harness::with_behaviour(behaviour());
    let mut clients: Vec<_> = (0..3).map(|_| harness.connect()).collect();
    clients[0].send(HELLO);
    let first = harness.expect_request().id;
    clients[1].upgrade();
    harness.expect(EventKind::Open);
    harness.settle();
    harness.respond(Op::Write, 0, first, 0, [b"", b"", b"x"]);
    harness.command(Op::CloseApp, 0, first, APP, b"");
    assert!(clients[0].read_to_end().ends_with(b"1\r\nx\r\n"));
    for client in &mut clients[1..] {
        client.expect_closed();
    }
    assert!(TcpStream::connect(("127.0.0.1", harness.port)).is_err());
    assert_eq!(harness.expect(EventKind::AppClosed).args[0], APP);
    harness.expect(EventKind::Quiet);
    harness.expect_nothing();
    // A new listener works afterwards.
    harness.port = harness.listen(1);
    let mut client = harness.connect();
    client.send(HELLO);
    let id = harness.expect_request().id;
    assert_ne!(id, first);
    harness.end(id, b"again");
    assert_eq!(client.response().1, b"again");
    client.end();
    client.expect_closed();
    harness.command(Op::CloseListener, 0, id, 1, b"");
    harness.expect(EventKind::Quiet);
}

#[test]
fn a_filter_hears_of_every_connection() {
    let mut harness = Harness::start();
    harness.event_loop.control(Control::Filter { app: APP });
    harness.settle();
    let mut client = harness.connect();
    let opened = harness.expect(EventKind::Filter);
    assert_eq!(opened.args, [APP, 1, 0]);
    client.end();
    let closed = harness.expect(EventKind::Filter);
    assert_eq!((closed.id, closed.args), (opened.id, [APP, 0, 0]));
}

#[test]
fn a_removed_route_is_gone() {
    let mut harness = Harness::start();
    let mut client = harness.connect();
    client.send(HELLO);
    let id = harness.expect_request().id;
    harness.end(id, b"");
    client.response();
    let (method, pattern) = (crate::routing::router::Method::Get, b"/hello".to_vec());
    harness.event_loop.control(Control::RemoveRoute { app: APP, domain: None, method, pattern });
    harness.settle();
    client.send(HELLO);
    assert!(client.response().0.starts_with("HTTP/1.1 404 "));
}

// ---- the loop

#[test]
fn an_idle_loop_sleeps() {
    let mut harness = Harness::start();
    harness.settle();
    harness.expect_nothing();
    let before = harness.turns();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(harness.turns(), before);
    // Nor does it turn without end for a connection that it does not want to read from.
    let mut client = harness.connect();
    client.send(HELLO);
    let id = harness.expect_request().id;
    client.send(HELLO);
    client.end();
    harness.expect(EventKind::PeerEnd);
    harness.settle();
    let before = harness.turns();
    std::thread::sleep(Duration::from_millis(300));
    assert!(harness.turns() - before < 3, "{} turns", harness.turns() - before);
    harness.end(id, b"");
    client.response();
    let id = harness.expect_request().id;
    harness.end(id, b"");
}

#[test]
fn stopping_joins_the_thread_and_closes_the_sockets() {
    let mut harness = Harness::start();
    let mut client = harness.connect();
    client.send(HELLO);
    harness.expect_request();
    assert!(harness.event_loop.is_running());
    harness.event_loop.stop();
    assert!(!harness.event_loop.is_running());
    client.expect_closed();
    assert!(TcpStream::connect(("127.0.0.1", harness.port)).is_err());
    // A second stop, and commands to nobody, do no harm.
    harness.event_loop.stop();
    harness.event_loop.control(Control::AddApp { app: 1 });
    harness.command(Op::CloseApp, 0, Default::default(), APP, b"");
}

#[test]
fn a_panic_is_reported_and_ends_the_loop() {
    let mut harness = Harness::start();
    let mut client = harness.connect();
    client.send(HELLO);
    let id = harness.expect_request().id;
    harness.event_loop.control(Control::Panic("on purpose".into()));
    let event = harness.expect(EventKind::Panic);
    assert_eq!(event.payload, b"on purpose");
    wait_until("the thread ends", || !harness.event_loop.is_running());
    client.expect_closed();
    harness.end(id, b"to nobody");
    harness.event_loop.stop();
    harness.expect_nothing();
}

#[test]
fn commands_for_a_loop_that_has_panicked_do_not_pile_up() {
    let mut harness = Harness::start();
    let mut client = harness.connect();
    client.send(HELLO);
    let id = harness.expect_request().id;
    harness.event_loop.control(Control::Panic("on purpose".into()));
    harness.expect(EventKind::Panic);
    wait_until("the thread ends", || !harness.event_loop.is_running());
    for _ in 0..1000 {
        harness.end(id, &[b'x'; 100_000]);
    }
    assert_eq!(harness.shared().commands.bytes(), 0);
    assert!(harness.shared().commands.is_empty());
}

#[test]
fn a_connection_handed_to_a_loop_that_ends_goes_back_to_the_one_that_accepted_it() {
    for panics in [false, true] {
        let mut parent = Harness::start();
        let mut child = Harness::without_listener();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let mut client = Client::connect(listener.local_addr().expect("address").port());
        let (stream, peer) = listener.accept().expect("accept");
        stream.set_nonblocking(true).expect("socket");
        client.send(HELLO);
        // Hand it over as a loop does, but without a wake: the child ends before it has seen the connection.
        child.settle();
        std::thread::sleep(MOMENT);
        let handed_over = child.event_loop.remote().control.send(Control::Adopt {
            app: APP,
            stream: socket::Stream::Tcp(mio::net::TcpStream::from_std(stream)),
            peer: Some(peer),
            home: Some((parent.event_loop.remote(), APP)),
            permit: None,
        });
        assert!(handed_over.is_ok());
        if panics {
            child.event_loop.control(Control::Panic("on purpose".into()));
        }
        child.event_loop.stop();
        let request = parent.expect_request();
        parent.end(request.id, b"served all the same");
        assert_eq!(client.response().1, b"served all the same");
    }
}

// ---- time

/// Runs all cases that have to wait at the same time, whatever the number of test threads.
#[test]
fn deadlines() {
    let cases: [fn(); 7] = [
        http_connections_time_out_unless_a_response_is_pending,
        a_body_that_trickles_times_out_and_a_paused_one_does_not,
        websockets_time_out_from_inactivity,
        pings_keep_a_websocket_alive_as_long_as_they_are_answered,
        websockets_live_no_longer_than_they_may,
        a_request_that_javascript_has_no_room_for_does_not_time_out,
        deadlines_come_though_more_connections_are_busy_than_one_poll_reports,
    ];
    let running = cases.map(std::thread::spawn);
    let failed = running.into_iter().filter_map(|case| case.join().err()).count();
    assert_eq!(failed, 0, "see the panics above");
}

#[test]
fn deadlines_that_come_and_go_leave_no_entries() {
    let (mut ctx, (end, _other)) =
        (Context::new(Arc::default(), Limits::default()), UnixStream::pair().expect("a pair"));
    let id = ExchangeId { slot: 0, generation: 1 };
    let mut transport = Transport::new(id, socket::Stream::Unix(end), None, Default::default());
    for tick in 1..=300 {
        ctx.clock.pass(Duration::from_secs(1));
        let mut due = Vec::new();
        ctx.wheel.advance(tick, &mut due);
        due.iter().for_each(|_| {
            transport.is_due(&mut ctx);
        });
        // The deadline is far away while the entry comes up, then near, and far again, as for requests that
        // begin and end.
        for seconds in [3, 60] {
            transport.set_timeout(&mut ctx, seconds);
        }
    }
    assert!(ctx.wheel.len() <= 20, "{} entries of one connection", ctx.wheel.len());
}

fn http_connections_time_out_unless_a_response_is_pending() {
    let mut harness = Harness::start();
    let started = Instant::now();
    let mut pending = harness.connect();
    pending.send(HELLO);
    let id = harness.expect_request().id;
    let mut stalled_body = harness.connect();
    stalled_body.send(b"POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n");
    let stalled = harness.expect_request().id;
    let ends: Vec<_> = [&b""[..], b"GET /hello HTTP/1.1\r\nHo", b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n"]
        .into_iter()
        .map(|bytes| {
            let mut client = harness.connect();
            client.send(bytes);
            std::thread::spawn(move || {
                client.read_to_end();
                started.elapsed()
            })
        })
        .collect();
    assert_eq!(harness.expect(EventKind::Gone).id, stalled);
    assert!((10.0..13.0).contains(&started.elapsed().as_secs_f64()), "{:?}", started.elapsed());
    for end in ends {
        let after = end.join().expect("client");
        assert!((10.0..13.0).contains(&after.as_secs_f64()), "closed after {after:?}");
    }
    harness.end(id, b"late");
    assert_eq!(pending.response().1, b"late");
}

fn a_body_that_trickles_times_out_and_a_paused_one_does_not() {
    let mut harness = Harness::start();
    let started = Instant::now();
    let post = b"POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n";
    let (mut paused, mut trickling) = (harness.connect(), harness.connect());
    paused.send(post);
    let paused_id = harness.expect_request().id;
    harness.command(Op::Pause, 0, paused_id, 0, b"");
    trickling.send(post);
    let id = harness.expect_request().id;
    let gone = loop {
        std::thread::sleep(Duration::from_millis(100));
        trickling.send(b"x");
        match harness.event_within(Duration::from_millis(500)) {
            Some(event) if event.is(EventKind::Data) => assert_eq!(event.id, id),
            Some(event) => break event,
            None => {}
        }
    };
    assert!(gone.is(EventKind::Gone) && gone.id == id, "{gone:?}");
    assert!((10.0..13.0).contains(&started.elapsed().as_secs_f64()), "{:?}", started.elapsed());
    harness.end(paused_id, b"early");
    assert_eq!(paused.response().1, b"early");
}

fn deadlines_come_though_more_connections_are_busy_than_one_poll_reports() {
    let mut harness = Harness::with_behaviour(Behaviour { idle_timeout: 1, ..behaviour() });
    let port = harness.port;
    let over = Arc::new(AtomicBool::new(false));
    // The loop discards bodies without a route, so it always has more to read than it manages to.
    let floods: Vec<_> = (0..4)
        .map(|_| {
            let over = over.clone();
            std::thread::spawn(move || {
                let part = vec![b'x'; 16 << 10];
                let mut clients: Vec<_> = (0..16).map(|_| Client::connect(port)).collect();
                for client in &mut clients {
                    client.send(b"POST /nothing HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999999\r\n\r\n");
                }
                while !over.load(Ordering::SeqCst) {
                    clients.iter_mut().for_each(|client| client.send(&part));
                }
            })
        })
        .collect();
    let mut client = harness.connect();
    client.upgrade();
    let id = harness.expect(EventKind::Open).id;
    let gone = harness.event_within(Duration::from_secs(6));
    over.store(true, Ordering::SeqCst);
    floods.into_iter().for_each(|flood| flood.join().expect("flood"));
    assert_eq!(gone.expect("the idle timeout").id, id);
}

fn websockets_time_out_from_inactivity() {
    let mut harness = Harness::with_behaviour(Behaviour { idle_timeout: 1, ..behaviour() });
    let mut client = harness.connect();
    client.upgrade();
    let id = harness.expect(EventKind::Open).id;
    let gone = harness.expect(EventKind::Gone);
    assert_eq!((gone.id, gone.args[0]), (id, 1006));
    assert_eq!(gone.payload, b"WebSocket timed out from inactivity");
    client.expect_closed();
}

fn pings_keep_a_websocket_alive_as_long_as_they_are_answered() {
    let idle = Behaviour { idle_timeout: 5, send_pings: true, ..behaviour() };
    let mut harness = Harness::with_behaviour(idle);
    let started = Instant::now();
    let mut client = harness.connect();
    client.upgrade();
    harness.expect(EventKind::Open);
    for _ in 0..2 {
        assert_eq!(client.frame(), (OpCode::Control(ControlCode::Ping), true, vec![]));
        client.send(&masked(OpCode::Control(ControlCode::Pong), true, b""));
        harness.expect(EventKind::Pong);
    }
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
    assert_eq!(client.frame().0, OpCode::Control(ControlCode::Ping));
    assert_eq!(harness.expect(EventKind::Gone).payload, b"WebSocket timed out from inactivity");
    assert!(started.elapsed() > Duration::from_secs(6), "{:?}", started.elapsed());
}

fn websockets_live_no_longer_than_they_may() {
    let mut harness = Harness::with_behaviour(Behaviour { max_lifetime: 2, ..behaviour() });
    let mut client = harness.connect();
    client.upgrade();
    harness.expect(EventKind::Open);
    let gone = harness.expect(EventKind::Gone);
    assert_eq!((gone.args[0], &gone.payload[..]), (1000, &b"please reconnect"[..]));
    harness.command(Op::Release, 0, gone.id, 0, b"");
    let expected = [&1000u16.to_be_bytes()[..], b"please reconnect"].concat();
    assert_eq!(client.frame(), (OpCode::Control(ControlCode::Close), true, expected));
    client.end();
    client.expect_closed();
}

#[test]
fn a_websocket_that_floods_lives_no_longer() {
    let mut harness = Harness::with_behaviour(Behaviour { max_lifetime: 2, wants: 0, ..behaviour() });
    let mut client = harness.connect();
    client.upgrade();
    harness.expect(EventKind::Open);
    let began = Instant::now();
    let flood = client.flood(&masked(OpCode::Data(Data::Binary), true, &[7; 500]));
    let gone = harness.expect(EventKind::Gone);
    assert_eq!((gone.args[0], &gone.payload[..]), (1000, &b"please reconnect"[..]));
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    harness.command(Op::Release, 0, gone.id, 0, b"");
    flood.join().expect("the server closes");
}

// ---- file descriptors

fn gauge(harness: &Harness) -> u64 {
    harness.shared().counters.app(APP).map_or(0, |app| app.by_loop.get(Metric::PlainHttp))
}

/// Gives the loop a connection that was accepted elsewhere.
fn take_over(harness: &mut Harness, accepted: TcpStream) {
    let (stream, peer) = adopted::adopt(accepted.into_raw_fd(), false).expect("adopted");
    harness.event_loop.control(Control::Accepted { app: APP, stream, peer });
    harness.expect(EventKind::Busy);
}

#[test]
fn the_end_of_a_closed_connection_that_others_have_as_well_is_not_that_of_the_next_one() {
    let mut harness = Harness::start();
    let elsewhere = TcpListener::bind("127.0.0.1:0").expect("bind");
    let mut first = Client::connect(elsewhere.local_addr().expect("address").port());
    let (accepted, _) = elsewhere.accept().expect("accept");
    let of_others = accepted.try_clone().expect("clone");
    take_over(&mut harness, accepted);
    first.send(b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    let closed = harness.expect_request().id;
    harness.command(Op::Close, 0, closed, 0, b"");
    wait_until("it is closed", || gauge(&harness) == 0);
    let mut next = harness.connect();
    for _ in 0..2 {
        next.send(b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
        let id = harness.expect_request().id;
        assert_eq!((id.slot, id.generation != closed.generation), (closed.slot, true));
        harness.end(id, b"hello");
        assert_eq!(next.response().1, b"hello");
        // The poll reports this for the socket that was closed.
        let _ = first.stream.shutdown(Shutdown::Write);
        harness.settle();
    }
    drop(of_others);
    harness.expect_nothing();
}

#[test]
fn a_socket_that_others_have_as_well_can_be_adopted_again() {
    let mut harness = Harness::start();
    let elsewhere = TcpListener::bind("127.0.0.1:0").expect("bind");
    let mut client = Client::connect(elsewhere.local_addr().expect("address").port());
    let (of_others, _) = elsewhere.accept().expect("accept");
    for _ in 0..3 {
        // The number is that of the one before, which is closed.
        let again = of_others.try_clone().expect("clone");
        take_over(&mut harness, again);
        client.send(HELLO);
        let id = harness.expect_request().id;
        harness.end(id, b"hello");
        assert_eq!(client.response().1, b"hello");
        client.send(HELLO);
        let id = harness.expect_request().id;
        harness.command(Op::Close, 0, id, 0, b"");
        wait_until("it is closed", || gauge(&harness) == 0);
    }
}

const IN_CHILD: &str = "UWS_RS_TEST_FEW_FILES";

/// Runs this test again in a process that may open few files.
#[test]
fn without_file_descriptors_accepting_pauses_and_recovers() {
    if std::env::var_os(IN_CHILD).is_some() {
        return accept_with_few_files();
    }
    let name = "event_loop::tests::lifecycle::without_file_descriptors_accepting_pauses_and_recovers";
    let test = std::env::current_exe().expect("the test's own path");
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 48; exec \"$0\" \"$@\""])
        .arg(test)
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(IN_CHILD, "1")
        .output()
        .expect("sh");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

fn accept_with_few_files() {
    let mut harness = Harness::start();
    let mut early = harness.connect();
    early.send(HELLO);
    let early_id = harness.expect_request().id;
    let mut files = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        files.push(file);
    }
    assert!(files.len() < 48, "the limit holds");
    // There is one descriptor for the client, and none for the server's end of the connection.
    files.pop();
    let mut client = harness.connect();
    client.send(HELLO);
    let warning = harness.expect(EventKind::Warning);
    let text = String::from_utf8_lossy(&warning.payload).into_owned();
    assert!(text.contains("accepting connections is paused") && text.contains("maxConnections"), "{text}");
    let before = harness.turns();
    harness.end(early_id, b"goes on");
    assert_eq!(early.response().1, b"goes on");
    std::thread::sleep(Duration::from_millis(600));
    let turns = harness.turns() - before;
    assert!(turns < 40, "{turns} turns while nothing can be accepted");
    assert!(harness.shared().events.is_empty(), "one warning is enough");
    drop(files);
    let id = harness.expect_request().id;
    harness.end(id, b"recovered");
    assert_eq!(client.response().1, b"recovered");
}

fn a_request_that_javascript_has_no_room_for_does_not_time_out() {
    const MESSAGES: usize = 8_000;
    let mut harness = Harness::with_behaviour(behaviour());
    let mut flooding = harness.connect();
    flooding.upgrade();
    harness.expect(EventKind::Open);
    let mut sending = flooding.second();
    let sender = std::thread::spawn(move || {
        sending.send(&masked(OpCode::Data(Data::Binary), true, &[0; 1024]).repeat(MESSAGES))
    });
    wait_until("the loop has stopped reading", || harness.shared().stalled.asks_to_be_woken());
    let mut late = harness.connect();
    late.send(HELLO);
    std::thread::sleep(Duration::from_secs(14));
    let (mut messages, mut request) = (0, None);
    while messages < MESSAGES || request.is_none() {
        let event = harness.event_within(PATIENCE).expect("more events");
        match () {
            () if event.is(EventKind::Message) => messages += 1,
            () if event.is(EventKind::Request) => request = Some(event.id),
            () => panic!("unexpected: {event:?}"),
        }
    }
    harness.end(request.expect("seen"), b"late");
    assert_eq!(late.response().1, b"late");
    sender.join().expect("sender");
}
