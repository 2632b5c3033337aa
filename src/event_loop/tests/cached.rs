//! Cached routes: stored replies, and those that wait for one.

use super::harness::*;
use crate::caching::Options;
use crate::caching::freshness::Lifetimes;
use crate::channel::{EventKind, ExchangeId, Op, flight_flag};
use crate::event_loop::{Control, Timeouts};
use crate::metrics::Metric;
use crate::routing::router::Method;
use std::time::{Duration, Instant};

const CACHED: u32 = 9;
const EVER: Lifetimes = Lifetimes { lower: 1000, upper: 1000 };

fn start(lifetimes: Lifetimes, timeout: u32) -> Harness {
    let harness = Harness::start();
    let options = Options { lifetimes, timeout, max_entries: 100, max_bytes: 1 << 20, ..Options::default() };
    harness.event_loop.control(Control::Cached { handler: CACHED, app: APP, options: Box::new(options) });
    harness.route(Method::Get, "/cached/*", CACHED);
    harness
}

fn get(target: &str, fields: &str) -> String {
    format!("GET /cached/{target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

impl Harness {
    /// The next event, which must be a request of a cached route; returns its flight.
    fn expect_flight(&mut self) -> ExchangeId {
        let event = self.expect(EventKind::CachedRequest);
        let [handler, slot, generation] = event.args;
        assert_eq!(handler, CACHED);
        ExchangeId { slot, generation }
    }

    fn land(&self, flight: ExchangeId, headers: &str, body: &[u8]) {
        self.respond(Op::EndFlight, 0, flight, 0, [b"", headers.as_bytes(), body]);
    }

    fn figure(&self, metric: Metric) -> u64 {
        self.shared().counters.app(APP).map_or(0, |app| app.by_loop.get(metric))
    }
}

#[test]
fn all_who_wait_get_the_answer_and_later_ones_do_without_javascript() {
    let mut harness = start(EVER, 30);
    let mut clients: Vec<_> = (0..50).map(|_| harness.connect()).collect();
    clients.iter_mut().for_each(|client| client.send(get("a", "").as_bytes()));
    let flight = harness.expect_flight();
    wait_until("all wait", || harness.figure(Metric::CacheWaits) == 49);
    harness.land(flight, "A: b\r\n", b"body");
    for client in &mut clients {
        let (head, body) = client.response();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\nA: b\r\nDate: "), "{head}");
        assert_eq!(body, b"body");
    }
    for client in &mut clients {
        client.send(get("a", "").repeat(3).as_bytes());
        for _ in 0..3 {
            assert_eq!(client.response().1, b"body");
        }
    }
    harness.expect_nothing();
    assert_eq!((harness.figure(Metric::CacheHits), harness.figure(Metric::CacheEntries)), (150, 1));
}

#[test]
fn a_flight_ends_once_whatever_javascript_sends() {
    let mut harness = start(EVER, 30);
    let mut client = harness.connect();
    client.send(get("a", "").as_bytes());
    let flight = harness.expect_flight();
    for wrong in [
        ExchangeId { generation: flight.generation + 1, ..flight },
        ExchangeId { slot: flight.slot + 1, ..flight },
        ExchangeId { slot: u32::MAX, generation: u32::MAX },
    ] {
        harness.land(wrong, "", b"wrong");
    }
    harness.respond(Op::EndFlight, flight_flag::CLOSED, flight, 0, [b"", b"", b"x"]);
    harness.land(flight, "", b"twice");
    assert!(client.response().0.starts_with("HTTP/1.1 502 Bad Gateway\r\n"));
    client.send(get("a", "").as_bytes());
    let second = harness.expect_flight();
    assert_ne!(flight, second, "no name is used again");
    harness.land(flight, "", b"late");
    harness.respond(Op::EndFlight, flight_flag::FAILED, second, 0, [b"", b"", b""]);
    assert!(client.response().0.starts_with("HTTP/1.1 500 Internal Server Error\r\n"));
    assert_eq!(harness.figure(Metric::CacheStored), 0);
}

#[test]
fn commands_for_the_connection_do_not_answer_a_request_that_waits() {
    let mut harness = start(EVER, 30);
    let mut client = harness.connect();
    client.send(b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    let request = harness.expect_request();
    harness.end(request.id, b"hello");
    assert_eq!(client.response().1, b"hello");
    client.send((get("a", "") + "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
    let flight = harness.expect_flight();
    // The request behind it is not handed over, though JavaScript could answer it.
    harness.expect_nothing();
    harness.end(request.id, b"of another");
    harness.respond(Op::Upgrade, 0, request.id, 0, [b"", b"", b"x"]);
    harness.land(flight, "", b"cached");
    assert_eq!(client.response().1, b"cached");
    let behind = harness.expect_request();
    harness.end(behind.id, b"behind");
    assert_eq!(client.response().1, b"behind");
}

#[test]
fn an_answer_for_one_client_goes_to_that_client_alone() {
    let mut harness = start(EVER, 30);
    let mut clients: Vec<_> = (0..20).map(|_| harness.connect()).collect();
    clients[0].send(get("a", "").as_bytes());
    let first = harness.expect_flight();
    clients[1..].iter_mut().for_each(|client| client.send(get("a", "").as_bytes()));
    wait_until("all wait", || harness.figure(Metric::CacheWaits) == 19);
    harness.land(first, "Set-Cookie: a=b\r\n", b"first");
    assert_eq!(clients[0].response().1, b"first");
    let flights: Vec<_> = (1..20).map(|_| harness.expect_flight()).collect();
    for (n, flight) in flights.iter().enumerate() {
        harness.land(*flight, "", n.to_string().as_bytes());
    }
    let mut bodies: Vec<_> = clients[1..].iter_mut().map(|client| client.response().1).collect();
    bodies.sort();
    bodies.dedup();
    assert_eq!(bodies.len(), 19);
    // For a while none of them is merged.
    clients[0].send(get("a", "").as_bytes());
    clients[1].send(get("a", "").as_bytes());
    let two = [harness.expect_flight(), harness.expect_flight()];
    for flight in two {
        harness.land(flight, "", b"each");
    }
    assert_eq!(harness.figure(Metric::CacheStored), 0);
}

#[test]
fn the_client_that_asked_first_has_left_and_nobody_takes_its_answer() {
    let mut harness = start(EVER, 30);
    let mut first = harness.connect();
    first.send(get("a", "").as_bytes());
    let flight = harness.expect_flight();
    let mut other = harness.connect();
    other.send(get("a", "").as_bytes());
    wait_until("it waits", || harness.figure(Metric::CacheWaits) == 1);
    drop(first);
    wait_until("it has left", || harness.figure(Metric::PlainHttp) == 1);
    // Another connection takes its slot, and waits for the same flight.
    let mut third = harness.connect();
    third.send(get("a", "").as_bytes());
    wait_until("it waits", || harness.figure(Metric::CacheWaits) == 2);
    harness.land(flight, "Set-Cookie: a=b\r\n", b"of the one that left");
    for _ in 0..2 {
        let own = harness.expect_flight();
        harness.land(own, "Set-Cookie: a=b\r\n", b"own");
    }
    assert_eq!((other.response().1, third.response().1), (b"own".to_vec(), b"own".to_vec()));
}

#[test]
fn a_flight_that_takes_too_long_is_answered_and_its_slot_has_another() {
    let mut harness = start(EVER, 1);
    let mut client = harness.connect();
    client.send(get("a", "").as_bytes());
    let flight = harness.expect_flight();
    assert!(client.response().0.starts_with("HTTP/1.1 504 Gateway Timeout\r\n"));
    client.send(get("a", "").as_bytes());
    let second = harness.expect_flight();
    assert_eq!((second.slot, second.generation != flight.generation), (flight.slot, true));
    harness.land(flight, "", b"late");
    harness.land(second, "", b"in time");
    assert_eq!(client.response().1, b"in time");
}

#[test]
fn large_replies_are_counted_once_and_as_long_as_somebody_has_them() {
    let mut harness = start(EVER, 30);
    let mut clients: Vec<_> = (0..8).map(|_| harness.connect()).collect();
    clients[0].send(get("a", "").as_bytes());
    let flight = harness.expect_flight();
    let body = vec![7; 900 << 10];
    harness.land(flight, "", &body);
    assert_eq!(clients[0].response().1, body);
    clients.iter_mut().for_each(|client| client.send(get("a", "").as_bytes()));
    for client in &mut clients {
        assert_eq!(client.response().1, body);
    }
    let held = harness.figure(Metric::CacheBytes);
    assert!((900 << 10..910 << 10).contains(&held), "{held}");
    harness.command(Op::CloseApp, 0, ExchangeId::default(), APP, b"");
    wait_until("nothing is stored", || harness.figure(Metric::CacheBytes) == 0);
    wait_until("nothing is held", || harness.shared().budget.used() < 100 << 10);
}

#[test]
fn a_body_counts_as_long_as_the_helper_compresses_it() {
    const EACH: usize = 4 << 20;
    let mut harness = Harness::start();
    let options = Options {
        lifetimes: EVER,
        timeout: 30,
        max_entries: 100,
        max_bytes: 100 << 20,
        compress: true,
        ..Options::default()
    };
    harness.event_loop.control(Control::Cached { handler: CACHED, app: APP, options: Box::new(options) });
    harness.route(Method::Get, "/cached/*", CACHED);
    // Bytes without a pattern keep the helper busy for long, and none of its codings makes them smaller.
    let mut state = 1_u32;
    let body: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(EACH)
    .collect();
    let mut clients: Vec<_> = (0..6).map(|_| harness.connect()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(get(&number.to_string(), "").as_bytes());
        let flight = harness.expect_flight();
        harness.land(flight, "", &body);
        assert_eq!(client.response().1, body);
    }
    harness.event_loop.control(Control::Invalidate { app: APP, url: b"*".to_vec() });
    wait_until("nothing is stored", || harness.figure(Metric::CacheBytes) == 0);
    harness.settle();
    let used = harness.shared().budget.used();
    assert!(used >= EACH, "{used} bytes while the helper has some");
    wait_until("the helper is done", || harness.shared().budget.used() < 100 << 10);
}

/// Asserts that the peer gets one response, which is the stored one, and then the end.
fn expect_stored_alone(client: &mut Client) {
    let all = String::from_utf8(client.read_to_end()).expect("text");
    assert!(all.ends_with("\r\n\r\nstored") && all.matches("HTTP/1.1").count() == 1, "{all}");
}

#[test]
fn a_client_that_has_ended_its_side_gets_an_answer_that_comes_at_once() {
    let mut harness = start(EVER, 30);
    let mut client = harness.connect();
    client.send((get("a", "") + &get("b", "")).as_bytes());
    client.end();
    for body in [b"first", b"other"] {
        let flight = harness.expect_flight();
        harness.settle();
        harness.land(flight, "", body);
        assert_eq!(client.response().1, body);
    }
    client.expect_closed();
    assert_eq!(harness.figure(Metric::CacheStored), 2);
}

#[test]
fn an_answer_that_takes_long_finds_nobody_and_takes_none_of_the_responses_before_it() {
    let mut harness = start(EVER, 30);
    let mut client = harness.connect();
    client.send(get("a", "").as_bytes());
    let flight = harness.expect_flight();
    harness.land(flight, "", b"stored");
    assert_eq!(client.response().1, b"stored");
    let began = Instant::now();
    client.send((get("a", "") + &get("b", "")).as_bytes());
    client.end();
    let late = harness.expect_flight();
    expect_stored_alone(&mut client);
    assert!(began.elapsed() >= Duration::from_secs(1), "it had a moment");
    wait_until("it has left", || harness.figure(Metric::PlainHttp) == 0);
    harness.land(late, "", b"late");
    wait_until("it is stored", || harness.figure(Metric::CacheStored) == 2);
}

#[test]
fn a_body_that_will_never_come_takes_no_response_before_it_along() {
    let mut harness = start(EVER, 30);
    let mut client = harness.connect();
    client.send(get("a", "").as_bytes());
    let flight = harness.expect_flight();
    harness.land(flight, "", b"stored");
    assert_eq!(client.response().1, b"stored");
    client.send((get("a", "") + &get("b", "Content-Length: 9\r\n") + "part").as_bytes());
    client.end();
    harness.expect_flight();
    expect_stored_alone(&mut client);
}

#[test]
fn a_client_that_is_not_asked_for_its_body_is_not_given_up_for_it() {
    let mut harness = start(EVER, 30);
    let timeouts = Timeouts { idle: 1, response: 10 };
    harness.event_loop.control(Control::Timeouts { app: APP, timeouts });
    let mut clients = [harness.connect(), harness.connect()];
    for client in &mut clients {
        client.send(get("a", "Expect: 100-continue\r\nContent-Length: 40\r\n").as_bytes());
    }
    let flight = harness.expect_flight();
    // One of them sends its body all the same, which is taken for no request.
    clients[1].send(get("b", "").as_bytes());
    std::thread::sleep(Duration::from_millis(3500));
    harness.land(flight, "", b"cached");
    for client in &mut clients {
        let (head, body) = client.response();
        assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
        assert_eq!(body, b"cached");
        client.expect_closed();
    }
    harness.expect_nothing();
}
