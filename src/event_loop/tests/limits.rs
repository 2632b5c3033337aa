//! The limits of an app: at each one, beyond it, and back below it, while the connections of others go on.

use super::harness::*;
use crate::channel::{CommandBatch, EventKind, Limit, Op};
use crate::event_loop::{AppLimits, Control, Rate, Timeouts, registry};
use crate::metrics::Metric;
use crate::protocol::http::forwarded::Trusted;
use crate::routing::router::Method;
use std::sync::Arc;
use std::time::{Duration, Instant};

const HELLO: &[u8] = b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";

/// Proves that a connection is served.
fn say_hello(harness: &mut Harness, client: &mut Client) {
    client.send(HELLO);
    let id = harness.expect_request().id;
    harness.end(id, b"hi");
    assert_eq!(client.response().1, b"hi");
}

#[test]
fn no_more_connections_than_allowed_and_those_beyond_are_closed_at_once() {
    let mut harness = Harness::limited(AppLimits { max_connections: Some(3), ..AppLimits::default() });
    let mut inside: Vec<_> = (0..3).map(|_| harness.connect()).collect();
    inside.iter_mut().for_each(|client| say_hello(&mut harness, client));
    for _ in 0..20 {
        harness.connect().expect_closed();
    }
    assert_eq!(harness.breaches(Limit::MaxConnections), 20);
    inside.iter_mut().for_each(|client| say_hello(&mut harness, client));
    // Every way in which a connection can end gives its place back.
    for round in 0..30 {
        let client = inside.remove(0);
        match round % 3 {
            0 => drop(client),
            1 => client.reset(),
            _ => {
                let mut client = client;
                client.send(b"what\r\n\r\n");
                assert!(client.read_to_end().starts_with(b"HTTP/1.1 400 "));
            }
        }
        let mut next = wait_for_place(&harness);
        say_hello(&mut harness, &mut next);
        inside.push(next);
    }
    harness.expect_nothing();
}

/// Connects again and again until the server keeps a connection.
fn wait_for_place(harness: &Harness) -> Client {
    let before = harness.breaches(Limit::MaxConnections) + harness.breaches(Limit::MaxConnectionsPerAddress);
    let mut refused = 0;
    let end = Instant::now() + PATIENCE;
    loop {
        let client = harness.connect();
        harness.settle();
        let now = harness.breaches(Limit::MaxConnections) + harness.breaches(Limit::MaxConnectionsPerAddress);
        if now == before + refused {
            return client;
        }
        refused += 1;
        assert!(Instant::now() < end, "no place became free");
        std::thread::sleep(MOMENT / 20);
    }
}

#[test]
fn an_address_has_its_share_and_others_have_theirs() {
    let limits = AppLimits { max_connections_per_address: Some(2), ..AppLimits::default() };
    let mut harness = Harness::limited(limits);
    let mut inside: Vec<_> = (0..2).map(|_| harness.connect()).collect();
    inside.iter_mut().for_each(|client| say_hello(&mut harness, client));
    harness.connect().expect_closed();
    let mut other = Client::connect_from("127.0.0.2", harness.port);
    say_hello(&mut harness, &mut other);
    assert_eq!(harness.breaches(Limit::MaxConnectionsPerAddress), 1);
    inside.pop();
    let mut next = wait_for_place(&harness);
    say_hello(&mut harness, &mut next);
    say_hello(&mut harness, &mut inside[0]);
    harness.expect_nothing();
}

#[test]
fn connections_beyond_the_limit_are_refused_while_javascript_does_nothing() {
    let mut harness = Harness::limited(AppLimits { max_connections: Some(5), ..AppLimits::default() });
    harness.event_loop.control(Control::Filter { app: APP });
    let mut clients: Vec<_> = (0..300).map(|_| harness.connect()).collect();
    clients[5..].iter_mut().for_each(Client::expect_closed);
    assert_eq!(harness.breaches(Limit::MaxConnections), 295);
    // A filter hears of those that came in, and of no other.
    for accepted in 0..5 {
        assert_eq!(harness.expect(EventKind::Filter).args[1], 1, "{accepted}");
    }
    drop(clients);
    for _ in 0..5 {
        assert_eq!(harness.expect(EventKind::Filter).args[1], 0);
    }
    harness.expect_nothing();
}

#[test]
fn connections_of_child_apps_count_with_the_app_that_accepted_them() {
    let parent = Harness::limited(AppLimits { max_connections: Some(2), ..AppLimits::default() });
    let mut child = Harness::start();
    let descriptor = registry::descriptor(child.event_loop.remote(), APP);
    parent.event_loop.control(Control::AddChild { app: APP, descriptor });
    parent.settle();
    let mut inside: Vec<_> = (0..2).map(|_| parent.connect()).collect();
    inside.iter_mut().for_each(|client| say_hello(&mut child, client));
    parent.connect().expect_closed();
    inside.pop();
    let mut next = wait_for_place(&parent);
    say_hello(&mut child, &mut next);
    // With the loop of the child its connections end, and so does what they counted.
    drop(child);
    parent.event_loop.control(Control::RemoveChild { app: APP, descriptor });
    inside[0].expect_closed();
    let mut parent = parent;
    let mut both = [wait_for_place(&parent), parent.connect()];
    both.iter_mut().for_each(|client| say_hello(&mut parent, client));
}

// ---- bodies

fn post(length: usize) -> String {
    format!("POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n")
}

const CHUNKED: &[u8] = b"POST /post HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Expects a whole response with this status, and the end of the connection behind it.
fn expect_refused(client: &mut Client, status: &str) {
    let (head, _) = client.response();
    assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
    assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
    assert_eq!(client.read_to_end(), b"");
}

#[test]
fn a_body_that_is_announced_too_long_is_refused_before_anybody_sees_it() {
    let mut harness = Harness::limited(AppLimits { max_body_length: Some(1000), ..AppLimits::default() });
    let mut other = harness.connect();
    let mut client = harness.connect();
    client.send(&[post(1000).as_bytes(), &[b'x'; 1000]].concat());
    let request = harness.expect_request();
    assert_eq!(request.body.len(), 1000);
    harness.end(request.id, b"");
    assert!(client.response().0.starts_with("HTTP/1.1 200 "));
    client.send(post(1001).as_bytes());
    expect_refused(&mut client, "413");
    let mut client = harness.connect();
    client.send(&[post(1001).as_bytes(), &vec![b'x'; 100_000]].concat());
    expect_refused(&mut client, "413");
    // A client that waits for 100 (Continue) is not asked for the body.
    let mut client = harness.connect();
    client.send(
        b"POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999999\r\nExpect: 100-continue\r\n\r\n",
    );
    expect_refused(&mut client, "413");
    let mut client = harness.connect();
    client.send(b"POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n");
    expect_refused(&mut client, "413");
    assert_eq!(harness.breaches(Limit::MaxBodyLength), 4);
    say_hello(&mut harness, &mut other);
    harness.expect_nothing();
}

#[test]
fn a_pipelined_body_that_is_too_long_is_refused_in_its_turn() {
    let mut harness = Harness::limited(AppLimits { max_body_length: Some(10), ..AppLimits::default() });
    let mut client = harness.connect();
    client.send(&[HELLO, HELLO, post(11).as_bytes(), b"01234567890", HELLO].concat());
    let ids: Vec<_> = (0..2).map(|_| harness.expect_request().id).collect();
    harness.expect_nothing();
    ids.iter().for_each(|id| harness.end(*id, b"hi"));
    assert_eq!((client.response().1, client.response().1), (b"hi".to_vec(), b"hi".to_vec()));
    expect_refused(&mut client, "413");
    harness.expect_nothing();
}

#[test]
fn a_chunked_body_is_refused_where_it_becomes_too_long() {
    let mut harness = Harness::limited(AppLimits { max_body_length: Some(10), ..AppLimits::default() });
    let mut client = harness.connect();
    client.send(&[CHUNKED, b"5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n"].concat());
    let request = harness.expect_request();
    let data = harness.expect(EventKind::Data);
    assert_eq!(data.payload, b"helloworld");
    harness.end(request.id, b"");
    client.response();
    client.send(&[CHUNKED, b"5\r\nhello\r\n"].concat());
    harness.expect_request();
    assert_eq!(harness.expect(EventKind::Data).payload, b"hello");
    client.send(b"6\r\nworlds\r\n0\r\n\r\n");
    let gone = harness.expect(EventKind::Gone);
    expect_refused(&mut client, "413");
    harness.command(Op::Release, 0, gone.id, 0, b"");
    // Behind a response that has begun there is no place for another.
    let mut client = harness.connect();
    client.send(CHUNKED);
    let id = harness.expect_request().id;
    harness.respond(Op::Write, 0, id, 0, [b"", b"", b"begun"]);
    client.read_through(b"begun\r\n");
    client.send(b"b\r\n01234567890\r\n");
    assert_eq!(harness.expect(EventKind::Gone).id, id);
    assert_eq!(client.read_to_end(), b"");
    harness.command(Op::Release, 0, id, 0, b"");
    assert_eq!(harness.breaches(Limit::MaxBodyLength), 2);
    let mut other = harness.connect();
    say_hello(&mut harness, &mut other);
}

#[test]
fn the_last_request_of_a_connection_closes_it() {
    let limits = AppLimits { max_requests_per_connection: Some(3), ..AppLimits::default() };
    let mut harness = Harness::limited(limits);
    let mut client = harness.connect();
    for nth in 1..=3 {
        client.send(HELLO);
        let id = harness.expect_request().id;
        harness.end(id, b"hi");
        let (head, body) = client.response();
        assert_eq!((head.contains("Connection: close"), &body[..]), (nth == 3, &b"hi"[..]), "{nth}: {head}");
    }
    assert_eq!(client.read_to_end(), b"");
    // Those of a pipeline behind the last one are not handled.
    let mut client = harness.connect();
    client.send(&HELLO.repeat(9));
    let ids: Vec<_> = (0..3).map(|_| harness.expect_request().id).collect();
    harness.expect_nothing();
    ids.iter().for_each(|id| harness.end(*id, b"hi"));
    let answers = String::from_utf8(client.read_to_end()).expect("text");
    assert_eq!((answers.matches("HTTP/1.1 200 OK").count(), answers.matches("close").count()), (3, 1));
    assert_eq!(harness.breaches(Limit::MaxRequestsPerConnection), 2);
    harness.expect_nothing();
}

// ---- rates

fn expect_too_many(client: &mut Client) -> u32 {
    let (head, body) = client.response();
    assert!(head.starts_with("HTTP/1.1 429 Too Many Requests\r\n"), "{head}");
    assert!(!head.contains("Connection: close") && body.starts_with(b"<!doctype html>"), "{head}");
    let seconds = head.lines().find_map(|line| line.strip_prefix("Retry-After: ")).expect("Retry-After");
    seconds.parse().expect("seconds")
}

#[test]
fn requests_beyond_the_rate_of_an_address_get_429_and_the_connection_stays() {
    let rate = Rate { count: 3, seconds: 60 };
    let limits = AppLimits { max_requests_per_address: Some(rate), ..AppLimits::default() };
    let mut harness = Harness::limited(limits);
    let mut client = harness.connect();
    (0..3).for_each(|_| say_hello(&mut harness, &mut client));
    client.send(HELLO);
    assert_eq!(expect_too_many(&mut client), 20);
    // The body of a refused request is read, so that the next request is found behind it.
    client.send(&[post(100_000).as_bytes(), &[b'x'; 100_000], HELLO].concat());
    expect_too_many(&mut client);
    expect_too_many(&mut client);
    client.send(b"HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\nGET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = String::from_utf8(client.read_through(b"\r\n\r\n")).expect("text");
    assert!(head.starts_with("HTTP/1.1 429 "), "{head}");
    expect_too_many(&mut client);
    let mut same = harness.connect();
    same.send(HELLO);
    expect_too_many(&mut same);
    assert_eq!(harness.breaches(Limit::MaxRequestsPerAddress), 6);
    let mut other = Client::connect_from("127.0.0.2", harness.port);
    say_hello(&mut harness, &mut other);
    // A client that was not asked for its body may send it or not.
    client.send(b"POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    expect_refused(&mut client, "429");
    harness.expect_nothing();
}

#[test]
fn pipelined_requests_beyond_the_rate_are_answered_in_order() {
    let rate = Rate { count: 3, seconds: 60 };
    let limits = AppLimits { max_requests_per_address: Some(rate), ..AppLimits::default() };
    let mut harness = Harness::limited(limits);
    let mut client = harness.connect();
    client.send(&HELLO.repeat(6));
    let ids: Vec<_> = (0..3).map(|_| harness.expect_request().id).collect();
    harness.expect_nothing();
    ids.iter().for_each(|id| harness.end(*id, b"hi"));
    for _ in 0..3 {
        assert_eq!(client.response().1, b"hi");
    }
    for _ in 0..3 {
        expect_too_many(&mut client);
    }
    assert_eq!(harness.breaches(Limit::MaxRequestsPerAddress), 3);
}

#[test]
fn tokens_come_back() {
    let rate = Rate { count: 4, seconds: 1 };
    let limits = AppLimits { max_requests_per_address: Some(rate), ..AppLimits::default() };
    let mut harness = Harness::limited(limits);
    let mut client = harness.connect();
    (0..4).for_each(|_| say_hello(&mut harness, &mut client));
    client.send(HELLO);
    assert_eq!(expect_too_many(&mut client), 1);
    std::thread::sleep(Duration::from_millis(300));
    say_hello(&mut harness, &mut client);
}

#[test]
fn requests_that_wait_for_javascript_are_not_a_burst() {
    let rate = Rate { count: 4, seconds: 1 };
    let limits = AppLimits { max_requests_per_address: Some(rate), ..AppLimits::default() };
    let mut harness = Harness::limited(limits);
    let mut client = harness.connect();
    // A request each 0.3 s, of which JavaScript answers none for the time being.
    for _ in 0..10 {
        client.send(HELLO);
        std::thread::sleep(Duration::from_millis(300));
    }
    for _ in 0..10 {
        let id = harness.expect_request().id;
        harness.end(id, b"hi");
        assert_eq!(client.response().1, b"hi");
    }
    assert_eq!(harness.breaches(Limit::MaxRequestsPerAddress), 0);
}

#[test]
fn an_idle_client_saves_nothing_up() {
    let rate = Rate { count: 4, seconds: 40 };
    let limits = AppLimits { max_requests_per_address: Some(rate), ..AppLimits::default() };
    let mut harness = Harness::limited(limits);
    let mut client = harness.connect();
    say_hello(&mut harness, &mut client);
    std::thread::sleep(Duration::from_millis(1500));
    client.send(&HELLO.repeat(10));
    for _ in 0..3 {
        let id = harness.expect_request().id;
        harness.end(id, b"hi");
    }
    (0..3).for_each(|_| assert_eq!(client.response().1, b"hi"));
    for _ in 0..7 {
        expect_too_many(&mut client);
    }
}

/// Bytes that once waited for a response must not let what follows count as if it had waited, too.
#[test]
fn nothing_is_saved_up_behind_the_rest_of_a_head_or_after_the_wait_for_a_response() {
    for rest in [&HELLO[..10], b""] {
        let rate = Rate { count: 4, seconds: 2 };
        let limits = AppLimits { max_requests_per_address: Some(rate), ..AppLimits::default() };
        let mut harness = Harness::limited(limits);
        let mut client = harness.connect();
        client.send(HELLO);
        let first = harness.expect_request().id;
        // The loop answers this one itself, so it waits for its turn.
        client.send(&[post(0).replace("/post", "/nowhere").as_bytes(), rest].concat());
        harness.settle();
        std::thread::sleep(Duration::from_millis(100));
        harness.end(first, b"hi");
        assert_eq!(client.response().1, b"hi");
        assert!(client.response().0.starts_with("HTTP/1.1 404 "));
        std::thread::sleep(Duration::from_millis(4000));
        client.send(&[&HELLO[rest.len()..], &HELLO.repeat(9)].concat());
        for _ in 0..4 {
            let id = harness.expect_request().id;
            harness.end(id, b"hi");
            assert_eq!(client.response().1, b"hi");
        }
        expect_too_many(&mut client);
        harness.expect_nothing();
    }
}

/// A peer that does not take responses lets its own requests wait.
#[test]
fn nothing_is_saved_up_by_reading_slowly() {
    for is_answered in [true, false] {
        let rate = Rate { count: 4, seconds: 2 };
        let limits = AppLimits { max_requests_per_address: Some(rate), ..AppLimits::default() };
        let mut harness = Harness::limited(limits);
        let mut client = Client::connect_slow(harness.port);
        client.send(HELLO);
        let first = harness.expect_request().id;
        let body = vec![b'x'; 16 << 20];
        match is_answered {
            true => harness.end(first, &body),
            false => harness.respond(Op::Write, 0, first, 0, [b"", b"", &body]),
        }
        wait_until("the kernel refuses bytes", || harness.backlog(first) > 0);
        // The loop answers these itself, so they wait for their turn.
        client.send(&b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n".repeat(20));
        std::thread::sleep(Duration::from_millis(5000));
        match is_answered {
            true => assert_eq!(client.response().1, body),
            false => {
                client.read_through(b"\r\n1000000\r\n");
                assert_eq!(client.read(body.len()), body);
                harness.respond(Op::Finish, 0, first, 0, [b"", b"", b""]);
                client.read_through(b"0\r\n\r\n");
            }
        }
        let answers: Vec<_> = (0..20).map(|_| client.response().0[9..12].to_owned()).collect();
        let passed = answers.iter().filter(|status| *status == "404").count();
        assert!((4..=6).contains(&passed), "{passed} at once: {answers:?}");
        harness.expect_nothing();
    }
}

/// The time of a long body is not one in which the requests behind it waited.
#[test]
fn nothing_is_saved_up_by_a_body_that_javascript_reads_slowly() {
    let rate = Rate { count: 4, seconds: 2 };
    let limits = AppLimits { max_requests_per_address: Some(rate), ..AppLimits::default() };
    let mut harness = Harness::limited(limits);
    let mut client = harness.connect();
    let length = 64 << 20;
    let mut sending = client.second();
    let sender = std::thread::spawn(move || {
        sending.send(post(length).as_bytes());
        sending.send(&vec![b'x'; length]);
        sending.send(&b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n".repeat(20));
    });
    let request = harness.expect_request();
    // JavaScript is always a few MiB behind, so the loop never reads all that is there.
    let (mut received, mut pauses) = (0, 0);
    while received < length {
        received += harness.expect(EventKind::Data).payload.len();
        if received >> 22 > pauses {
            pauses = received >> 22;
            std::thread::sleep(Duration::from_millis(350));
        }
    }
    harness.end(request.id, b"");
    sender.join().expect("sender");
    client.response();
    let answers: Vec<_> = (0..20).map(|_| client.response().0[9..12].to_owned()).collect();
    let passed = answers.iter().filter(|status| *status == "404").count();
    assert!((4..=8).contains(&passed), "{passed} at once: {answers:?}");
    harness.expect_nothing();
}

#[test]
fn upgrades_have_a_rate_of_their_own() {
    let rate = Rate { count: 2, seconds: 60 };
    let limits = AppLimits { max_upgrades_per_address: Some(rate), ..AppLimits::default() };
    let mut harness = Harness::limited(limits);
    harness.event_loop.control(Control::Behaviour(behaviour()));
    harness.route(Method::WebSocket, "/ws", behaviour().id);
    let mut sockets: Vec<_> = (0..2).map(|_| harness.connect()).collect();
    for socket in &mut sockets {
        assert!(socket.upgrade().starts_with("HTTP/1.1 101 "));
        harness.expect(EventKind::Open);
    }
    let mut client = harness.connect();
    client.send(UPGRADE_REQUEST);
    assert_eq!(expect_too_many(&mut client), 30);
    say_hello(&mut harness, &mut client);
    assert_eq!(harness.breaches(Limit::MaxUpgradesPerAddress), 1);
    let mut other = Client::connect_from("127.0.0.2", harness.port);
    assert!(other.upgrade().starts_with("HTTP/1.1 101 "));
}

// ---- proxies

fn trust(harness: &Harness, list: &[&str]) {
    let list: Vec<_> = list.iter().map(|text| text.to_string()).collect();
    let proxies = Arc::new(Trusted::parse(&list).expect("addresses"));
    harness.event_loop.control(Control::Trust { app: APP, proxies });
}

fn proxied(by: &str) -> Vec<u8> {
    format!("PROXY TCP4 {by} 127.0.0.1 1 2\r\n").into_bytes()
}

#[test]
fn a_proxy_header_of_somebody_else_is_a_bad_request() {
    let mut harness = Harness::limited(AppLimits::default());
    trust(&harness, &["127.0.0.2"]);
    let binary = [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x01\x02\x03\x04\x7f\0\0\x01\0\x01\0\x02"[..], HELLO];
    for header in [[&proxied("1.2.3.4"), HELLO].concat(), binary.concat()] {
        let mut stranger = harness.connect();
        stranger.send(&header);
        expect_refused(&mut stranger, "400");
        let mut proxy = Client::connect_from("127.0.0.2", harness.port);
        proxy.send(&header);
        let id = harness.expect_request().id;
        let client = harness.shared().slots.get(id.slot).proxied(id.generation);
        assert_eq!(client.map(|client| client.ip().to_string()).as_deref(), Some("1.2.3.4"));
        harness.end(id, b"hi");
        assert_eq!(proxy.response().1, b"hi");
    }
    harness.expect_nothing();
}

/// A request behind headers of PROXY is served; returns the client that the connection is said to be of.
fn serve_proxied(harness: &mut Harness, client: &mut Client, before: &[&[u8]]) -> Option<String> {
    client.send(&[before.concat().as_slice(), HELLO].concat());
    let id = harness.expect_request().id;
    let named = harness.shared().slots.get(id.slot).proxied(id.generation);
    harness.end(id, b"hi");
    assert_eq!(client.response().1, b"hi");
    named.map(|address| address.ip().to_string())
}

#[test]
fn a_proxy_header_may_precede_any_request_and_the_first_one_counts() {
    const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x09\x09\x09\x09\x7f\0\0\x01\0\x01\0\x02";
    let mut harness = Harness::limited(AppLimits::default());
    let one = proxied("1.2.3.4");
    let seen = |harness: &mut Harness, requests: &[&[&[u8]]]| {
        let mut client = harness.connect();
        requests.iter().map(|before| serve_proxied(harness, &mut client, before)).collect::<Vec<_>>()
    };
    let [named, other] = ["1.2.3.4", "9.9.9.9"].map(|address| Some(address.to_owned()));
    assert_eq!(seen(&mut harness, &[&[&one], &[BINARY], &[]]), [named.clone(), named.clone(), named.clone()]);
    assert_eq!(seen(&mut harness, &[&[&one, BINARY, LOCAL], &[]]), [named.clone(), named]);
    assert_eq!(seen(&mut harness, &[&[], &[BINARY], &[&one]]), [None, other.clone(), other]);
    // A proxy that speaks for itself has said so: what follows may come from anybody.
    assert_eq!(seen(&mut harness, &[&[LOCAL], &[BINARY], &[&one]]), [None, None, None]);
    harness.expect_nothing();
}

#[test]
fn a_later_proxy_header_may_come_in_pieces_and_a_bad_one_ends_the_connection() {
    const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x09\x09\x09\x09\x7f\0\0\x01\0\x01\0\x02";
    let mut harness = Harness::limited(AppLimits::default());
    let mut client = harness.connect();
    say_hello(&mut harness, &mut client);
    for end in 1..BINARY.len() {
        client.send(&BINARY[..end]);
        std::thread::sleep(Duration::from_millis(2));
        assert!(serve_proxied(&mut harness, &mut client, &[&BINARY[end..]]).is_some(), "cut at {end}");
    }
    client.send(&[BINARY, b"\r\n\r\n\0\r\nQUIT\n\x22\x11\0\0", HELLO].concat());
    expect_refused(&mut client, "400");
    // It takes no response along that is still to be sent.
    let mut client = harness.connect();
    client.send(&[HELLO, b"PROXY TCP4 x y 1 2\r\n", HELLO].concat());
    let id = harness.expect_request().id;
    harness.end(id, b"hi");
    assert_eq!(client.response().1, b"hi");
    expect_refused(&mut client, "400");
    // Empty lines and a NUL, but no signature: the request is malformed.
    let mut client = harness.connect();
    say_hello(&mut harness, &mut client);
    client.send(b"\r\n\r\n\0\r\nX");
    expect_refused(&mut client, "400");
    harness.expect_nothing();
}

#[test]
fn proxy_headers_without_requests_win_no_time() {
    let limits = AppLimits { head_timeout: Some(1), keep_alive_timeout: Some(1), ..AppLimits::default() };
    let mut harness = Harness::limited(limits);
    let began = Instant::now();
    let (fresh, mut kept) = (harness.connect(), harness.connect());
    say_hello(&mut harness, &mut kept);
    for mut client in [fresh, kept] {
        let mut dripping = client.second();
        let drip = std::thread::spawn(move || {
            while dripping.try_send(&proxied("1.2.3.4")) && !dripping.has_bytes() {
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        client.expect_closed();
        drip.join().expect("drip");
    }
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    harness.expect_nothing();
}

#[test]
fn no_later_header_of_a_stranger_is_believed() {
    let mut harness = Harness::limited(AppLimits::default());
    trust(&harness, &["127.0.0.2"]);
    let mut stranger = harness.connect();
    say_hello(&mut harness, &mut stranger);
    stranger.send(&[&proxied("1.2.3.4"), HELLO].concat());
    expect_refused(&mut stranger, "400");
    harness.expect_nothing();
}

#[test]
fn a_client_that_is_named_late_counts_from_then_on() {
    let limits = AppLimits { max_connections_per_address: Some(1), ..AppLimits::default() };
    let mut harness = Harness::limited(limits);
    trust(&harness, &["127.0.0.2"]);
    let by_proxy = || Client::connect_from("127.0.0.2", harness.port);
    let (mut one, mut other) = (by_proxy(), by_proxy());
    say_hello(&mut harness, &mut one);
    say_hello(&mut harness, &mut other);
    assert_eq!(serve_proxied(&mut harness, &mut one, &[&proxied("1.2.3.4")]).as_deref(), Some("1.2.3.4"));
    other.send(&[&proxied("1.2.3.4"), HELLO].concat());
    other.expect_closed();
    assert_eq!(harness.breaches(Limit::MaxConnectionsPerAddress), 1);
    say_hello(&mut harness, &mut one);
    harness.expect_nothing();
}

#[test]
fn connections_by_a_trusted_proxy_count_with_the_client_that_it_names() {
    let limits = AppLimits { max_connections_per_address: Some(2), ..AppLimits::default() };
    let harness = Harness::limited(limits);
    trust(&harness, &["127.0.0.2"]);
    let by_proxy = |header: &[u8]| {
        let mut client = Client::connect_from("127.0.0.2", harness.port);
        client.send(header);
        client
    };
    let mut of_one: Vec<_> = (0..2).map(|_| by_proxy(&proxied("1.2.3.4"))).collect();
    let mut of_other: Vec<_> = (0..2).map(|_| by_proxy(&proxied("1.2.3.5"))).collect();
    let mut of_itself: Vec<_> = (0..4).map(|_| by_proxy(b"PROXY UNKNOWN\r\n")).collect();
    let mut beyond = by_proxy(&[&proxied("1.2.3.4"), HELLO].concat());
    beyond.expect_closed();
    let mut harness = harness;
    for client in [&mut of_one, &mut of_other, &mut of_itself].into_iter().flatten() {
        say_hello(&mut harness, client);
    }
    assert_eq!(harness.breaches(Limit::MaxConnectionsPerAddress), 1);
    // A stranger counts with its own address, and cannot choose another one.
    let mut strangers: Vec<_> = (0..2).map(|_| harness.connect()).collect();
    strangers.iter_mut().for_each(|client| say_hello(&mut harness, client));
    harness.connect().expect_closed();
    of_one.pop();
    wait_until("the place is free", || {
        let mut client = Client::connect_from("127.0.0.2", harness.port);
        client.send(&[&proxied("1.2.3.4")[..], b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n"].concat());
        client.is_answered()
    });
    harness.expect_nothing();
}

#[test]
fn nobody_chooses_the_address_he_counts_with_where_no_proxy_is_trusted_by_name() {
    let limits = AppLimits { max_connections_per_address: Some(1), ..AppLimits::default() };
    let mut harness = Harness::limited(limits);
    let mut client = harness.connect();
    client.send(&proxied("1.2.3.4"));
    say_hello(&mut harness, &mut client);
    harness.connect().expect_closed();
    assert_eq!(harness.breaches(Limit::MaxConnectionsPerAddress), 1);
}

#[test]
fn requests_by_a_trusted_proxy_count_with_the_client_that_it_names() {
    let rate = Rate { count: 2, seconds: 600 };
    let limits = AppLimits { max_requests_per_address: Some(rate), ..AppLimits::default() };
    let mut harness = Harness::limited(limits);
    trust(&harness, &["127.0.0.2"]);
    let mut proxy = Client::connect_from("127.0.0.2", harness.port);
    let mut ask = |harness: &mut Harness, field: &str, served: bool| {
        proxy.send(format!("GET /hello HTTP/1.1\r\nHost: a\r\n{field}\r\n").as_bytes());
        if served {
            let id = harness.expect_request().id;
            harness.end(id, b"hi");
            assert_eq!(proxy.response().1, b"hi", "{field}");
        } else {
            expect_too_many(&mut proxy);
        }
    };
    for client in ["1.1.1.1", "1.1.1.2", "2001:db8::1", "6.6.6.6, 1.1.1.3"] {
        for served in [true, true, false] {
            ask(&mut harness, &format!("X-Forwarded-For: {client}\r\n"), served);
        }
    }
    ask(&mut harness, "X-Forwarded-For: 7.7.7.7, 1.1.1.3\r\n", false);
    // The proxy itself is not limited, but whoever hides behind it is.
    (0..5).for_each(|_| ask(&mut harness, "", true));
    for (at, field) in ["Forwarded: for=unknown\r\n", "X-Forwarded-For: x\r\n", "X-Forwarded-For: y\r\n"]
        .into_iter()
        .enumerate()
    {
        ask(&mut harness, field, at < 2);
    }
    // A stranger who claims to be somebody else stays himself.
    let mut stranger = harness.connect();
    for (at, claimed) in ["9.9.9.1", "9.9.9.2", "9.9.9.3"].into_iter().enumerate() {
        let request = format!("GET /hello HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {claimed}\r\n\r\n");
        stranger.send(request.as_bytes());
        if at == 2 {
            expect_too_many(&mut stranger);
        } else {
            let id = harness.expect_request().id;
            harness.end(id, b"hi");
            stranger.response();
        }
    }
    harness.expect_nothing();
}

// ---- times; deadlines are rounded up to the next tick, so they may be a second late

/// Expects that something ends in between `least` seconds and a second and a half more.
fn expect_end_after(least: f64, began: Instant, what: &str) {
    let took = began.elapsed().as_secs_f64();
    assert!((least..least + 1.6).contains(&took), "{what} after {took:.2} s");
}

#[test]
fn a_head_has_its_time_and_a_late_one_is_answered_408() {
    let mut harness = Harness::limited(AppLimits { head_timeout: Some(1), ..AppLimits::default() });
    let began = Instant::now();
    let (mut silent, mut late, mut other) = (harness.connect(), harness.connect(), harness.connect());
    let mut dripping = late.second();
    let drip = std::thread::spawn(move || {
        for byte in b"GET /hello HTTP/1.1\r\nHost: a\r\nA: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb" {
            let _ = dripping.try_send(&[*byte]);
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    silent.expect_closed();
    expect_end_after(1.0, began, "a silent connection");
    let (head, _) = late.response();
    expect_end_after(1.0, began, "a dripping head");
    assert!(head.starts_with("HTTP/1.1 408 "), "{head}");
    drip.join().expect("drip");
    assert_eq!(harness.breaches(Limit::HeadTimeout), 3, "the third connection was silent, too");
    other.expect_closed();
    let mut next = harness.connect();
    say_hello(&mut harness, &mut next);
    harness.expect_nothing();
}

#[test]
fn a_connection_is_kept_for_the_next_request_for_its_time() {
    let mut harness = Harness::limited(AppLimits { keep_alive_timeout: Some(1), ..AppLimits::default() });
    let mut client = harness.connect();
    say_hello(&mut harness, &mut client);
    let began = Instant::now();
    client.expect_closed();
    expect_end_after(0.9, began, "a kept connection");
    assert_eq!(harness.breaches(Limit::KeepAliveTimeout), 1);
    // A connection that waits for its answer is not one that is kept.
    let mut waiting = harness.connect();
    waiting.send(HELLO);
    let id = harness.expect_request().id;
    std::thread::sleep(Duration::from_millis(2600));
    harness.end(id, b"hi");
    assert_eq!(waiting.response().1, b"hi");
    harness.expect_nothing();
    assert_eq!(harness.told("keepAliveTimeout"), 1);
}

#[test]
fn a_request_has_its_time_however_it_drips() {
    let limits = AppLimits { request_timeout: Some(1), min_body_rate: Some(0), ..AppLimits::default() };
    let mut harness = Harness::limited(limits);
    let mut client = harness.connect();
    client.send(post(1000).as_bytes());
    let began = Instant::now();
    let id = harness.expect_request().id;
    let mut dripping = client.second();
    let drip = std::thread::spawn(move || {
        while dripping.try_send(b"x") && !dripping.has_bytes() {
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    let gone = loop {
        let event = harness.event_within(PATIENCE).expect("an event");
        if !event.is(EventKind::Data) {
            break event;
        }
    };
    assert!(gone.is(EventKind::Gone) && gone.id == id, "{gone:?}");
    expect_end_after(1.0, began, "a dripping body");
    drip.join().expect("drip");
    assert!(client.response().0.starts_with("HTTP/1.1 408 "));
    harness.command(Op::Release, 0, id, 0, b"");
    assert_eq!(harness.breaches(Limit::RequestTimeout), 1);
    let mut next = harness.connect();
    say_hello(&mut harness, &mut next);
}

const CHUNKED_NOWHERE: &[u8] = b"POST /nowhere HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn a_flood_wins_no_time() {
    let limits = AppLimits { head_timeout: Some(1), request_timeout: Some(1), ..AppLimits::default() };
    let harness = Harness::limited(limits);
    let began = Instant::now();
    let floods = [(&b""[..], proxied("1.2.3.4")), (CHUNKED_NOWHERE, b"1\r\na\r\n".to_vec())];
    let clients = floods.map(|(first, rest)| {
        let mut client = harness.connect();
        client.send(first);
        let flood = client.flood(&rest);
        (client, flood)
    });
    for (client, flood) in clients {
        flood.join().expect("the server closes");
        drop(client);
    }
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    // Which limit it is depends on where the flood is cut into reads.
    let breaches = [Limit::HeadTimeout, Limit::RequestTimeout].map(|limit| harness.breaches(limit));
    assert_eq!(breaches.iter().sum::<u64>(), 2, "{breaches:?}");
}

/// One client floods a body, and another sends nothing of its own. JavaScript takes what comes, pauses and
/// resumes all the time, and is behind for a moment in each tick. Returns when `cut` of the two were cut.
fn flood_javascript(limits: AppLimits, timeouts: Timeouts, cut: usize) -> Harness {
    let mut harness = Harness::limited(limits);
    harness.event_loop.control(Control::Timeouts { app: APP, timeouts });
    let (mut flooding, mut silent) = (harness.connect(), harness.connect());
    flooding.send(CHUNKED);
    let flooder = harness.expect_request().id;
    silent.send(post(1000).as_bytes());
    let waiting = harness.expect_request().id;
    let chunk = [&b"8000\r\n"[..], &[b'x'; 0x8000], b"\r\n"].concat();
    let flood = flooding.flood(&chunk);
    let (began, mut behind_at) = (Instant::now(), Instant::now());
    let (mut taken, mut gone) = (0_usize, Vec::new());
    while gone.len() < cut {
        assert!(began.elapsed() < Duration::from_secs(12), "they are still served; gone: {gone:?}");
        let event = harness.event_within(PATIENCE).expect("an event");
        match event.is(EventKind::Gone) {
            true => gone.push(event.id),
            false => taken += event.payload.len(),
        }
        let mut batch = CommandBatch::default();
        push(&mut batch, Op::Pause, 0, flooder, u64::from(taken as u32), b"");
        push(&mut batch, Op::Resume, 0, flooder, 0, b"");
        harness.send(&mut batch);
        if behind_at.elapsed() > Duration::from_millis(300) {
            std::thread::sleep(Duration::from_millis(50));
            behind_at = Instant::now();
        }
    }
    assert!(gone.contains(&waiting));
    for id in gone {
        harness.command(Op::Release, 0, id, 0, b"");
    }
    harness.command(Op::Close, 0, flooder, 0, b"");
    flood.join().expect("the server closes");
    harness
}

#[test]
fn a_flood_that_javascript_reads_wins_no_time_for_anybody() {
    let limits = AppLimits { request_timeout: Some(1), min_body_rate: Some(0), ..AppLimits::default() };
    let harness = flood_javascript(limits, Timeouts { idle: 10, response: 10 }, 2);
    assert_eq!(harness.breaches(Limit::RequestTimeout), 2);
    let limits = AppLimits { min_body_rate: Some(100), ..AppLimits::default() };
    let harness = flood_javascript(limits, Timeouts { idle: 1, response: 10 }, 1);
    assert_eq!(harness.breaches(Limit::MinBodyRate), 1);
}

#[test]
fn a_body_owes_nothing_while_the_loop_cannot_read() {
    const LEN: usize = 2 << 20;
    let mut harness = Harness::limited(AppLimits { min_body_rate: Some(100), ..AppLimits::default() });
    harness.event_loop.control(Control::Timeouts { app: APP, timeouts: Timeouts { idle: 1, response: 10 } });
    let mut slow = harness.connect();
    slow.send(post(1000).as_bytes());
    let waiting = harness.expect_request().id;
    let mut clients: Vec<_> = (0..6).map(|_| harness.connect()).collect();
    let mut requests = vec![waiting];
    for client in &mut clients {
        client.send(post(LEN).as_bytes());
        requests.push(harness.expect_request().id);
    }
    // They fill the queue of events, of which JavaScript takes none for several windows.
    let uploads: Vec<_> = clients.iter().map(Client::second).collect();
    let uploads =
        uploads.into_iter().map(|mut client| std::thread::spawn(move || client.send(&vec![b'x'; LEN])));
    let uploads: Vec<_> = uploads.collect();
    std::thread::sleep(Duration::from_millis(500));
    slow.send(&[b'y'; 1000]);
    std::thread::sleep(Duration::from_millis(3500));
    let mut missing = clients.len() * LEN + 1000;
    while missing > 0 {
        let event = harness.event_within(PATIENCE).expect("an event");
        assert!(event.is(EventKind::Data), "{:?} of {:?}", event.kind, event.id);
        missing -= event.payload.len();
    }
    for id in requests {
        harness.end(id, b"read");
    }
    for mut client in clients.into_iter().chain([slow]) {
        assert_eq!(client.response().1, b"read");
    }
    for upload in uploads {
        upload.join().expect("sent");
    }
    assert_eq!(harness.breaches(Limit::MinBodyRate), 0);
}

#[test]
fn the_time_in_which_javascript_reads_no_body_is_not_that_of_the_request() {
    let limits = AppLimits { request_timeout: Some(1), ..AppLimits::default() };
    let mut harness = Harness::limited(limits);
    let mut client = harness.connect();
    client.send(&[CHUNKED, b"1\r\na\r\n"].concat());
    let request = harness.expect_request_only();
    assert_eq!(harness.expect(EventKind::Data).payload, b"a");
    std::thread::sleep(Duration::from_millis(3200));
    harness.command(Op::Resume, 0, request.id, 0, b"");
    client.send(b"1\r\nb\r\n0\r\n\r\n");
    assert_eq!(harness.expect(EventKind::Data).payload, b"b");
    harness.end(request.id, b"hi");
    assert_eq!(client.response().1, b"hi");
    assert_eq!(harness.breaches(Limit::RequestTimeout), 0);
    harness.expect_nothing();
}

#[test]
fn the_time_of_a_request_ends_with_its_body_however_long_the_response_takes() {
    let mut harness = Harness::limited(AppLimits { request_timeout: Some(1), ..AppLimits::default() });
    for cut in [0, 3] {
        let mut client = Client::connect_slow(harness.port);
        client.send(post(5).as_bytes());
        client.send(&b"01234"[..cut]);
        let id = harness.expect_request().id;
        client.send(&b"01234"[cut..]);
        let mut received = 0;
        while received < 5 {
            received += harness.expect(EventKind::Data).payload.len();
        }
        let body = vec![b'x'; 16 << 20];
        // A streamed response, which the client does not read for some time.
        harness.respond(Op::Write, 0, id, 0, [b"", b"", &body]);
        wait_until("the kernel refuses bytes", || harness.backlog(id) > 0);
        std::thread::sleep(Duration::from_millis(2600));
        client.read_through(b"\r\n1000000\r\n");
        assert_eq!(client.read(body.len()), body);
        harness.respond(Op::Finish, 0, id, 0, [b"", b"", b""]);
        assert_eq!(client.read(7), b"\r\n0\r\n\r\n");
    }
    assert_eq!(harness.breaches(Limit::RequestTimeout), 0);
    harness.expect_nothing();
}

#[test]
fn a_body_has_to_come_at_its_rate() {
    let mut harness = Harness::limited(AppLimits { min_body_rate: Some(100), ..AppLimits::default() });
    let timeouts = Timeouts { idle: 1, response: 10 };
    harness.event_loop.control(Control::Timeouts { app: APP, timeouts });
    harness.settle();
    let (mut slow, mut quick) = (harness.connect(), harness.connect());
    slow.send(post(1000).as_bytes());
    let slow_id = harness.expect_request().id;
    quick.send(post(1000).as_bytes());
    let quick_id = harness.expect_request().id;
    let began = Instant::now();
    for _ in 0..4 {
        let _ = slow.try_send(&[b'x'; 10]);
        quick.send(&[b'x'; 240]);
        std::thread::sleep(Duration::from_millis(1000));
    }
    quick.send(&[b'x'; 40]);
    let mut received = 0;
    let gone = loop {
        let event = harness.event_within(PATIENCE).expect("an event");
        match event.is(EventKind::Gone) {
            true => break event,
            false if event.id == quick_id => received += event.payload.len(),
            false => {}
        }
    };
    assert_eq!(gone.id, slow_id);
    assert!(slow.response().0.starts_with("HTTP/1.1 408 "));
    while received < 1000 {
        received += harness.expect(EventKind::Data).payload.len();
    }
    harness.end(quick_id, b"hi");
    assert_eq!(quick.response().1, b"hi");
    harness.command(Op::Release, 0, slow_id, 0, b"");
    assert_eq!(harness.breaches(Limit::MinBodyRate), 1);
    assert!(began.elapsed() < PATIENCE);
}

/// The framing of chunks brings nothing, however much of it there is.
#[test]
fn leading_zeros_and_extensions_are_no_part_of_the_rate_of_a_body() {
    let mut harness = Harness::limited(AppLimits { min_body_rate: Some(100), ..AppLimits::default() });
    let timeouts = Timeouts { idle: 1, response: 10 };
    harness.event_loop.control(Control::Timeouts { app: APP, timeouts });
    harness.settle();
    let (mut zeros, mut trailers, mut honest) = (harness.connect(), harness.connect(), harness.connect());
    for client in [&mut zeros, &mut trailers, &mut honest] {
        client.send(CHUNKED);
        harness.expect_request();
    }
    trailers.send(b"0\r\n");
    for n in 0..4 {
        let _ = zeros.try_send(format!("{}1;{}\r\nx\r\n", "0".repeat(127), "e".repeat(300)).as_bytes());
        let _ = trailers.try_send(format!("A{n}: {}\r\n", "b".repeat(300)).as_bytes());
        honest.send(format!("f0\r\n{}\r\n", "x".repeat(240)).as_bytes());
        std::thread::sleep(Duration::from_millis(1000));
    }
    assert!(zeros.response().0.starts_with("HTTP/1.1 408 "));
    assert!(trailers.response().0.starts_with("HTTP/1.1 408 "));
    assert_eq!(harness.breaches(Limit::MinBodyRate), 2);
    assert!(!honest.has_bytes());
}

/// A client whose body was paused could not send, so it has a whole window from when that is over.
#[test]
fn the_rest_of_a_body_has_a_window_of_its_own_behind_the_response() {
    let mut harness = Harness::limited(AppLimits { min_body_rate: Some(1000), ..AppLimits::default() });
    let timeouts = Timeouts { idle: 3, response: 10 };
    harness.event_loop.control(Control::Timeouts { app: APP, timeouts });
    harness.settle();
    let mut client = harness.connect();
    client.send(&[post(6001).as_bytes(), b"x"].concat());
    let request = harness.expect_request_only();
    harness.expect(EventKind::Data);
    std::thread::sleep(Duration::from_millis(2900));
    harness.end(request.id, b"hi");
    assert_eq!(client.response().1, b"hi");
    for _ in 0..8 {
        std::thread::sleep(Duration::from_millis(500));
        assert!(client.try_send(&[b'x'; 750]));
    }
    say_hello(&mut harness, &mut client);
    assert_eq!(harness.breaches(Limit::MinBodyRate), 0);
}

// ---- responses that nobody takes

/// Seconds that these tests give a peer to take something.
const TAKES: Timeouts = Timeouts { idle: 1, response: 1 };

fn impatient(limits: AppLimits) -> Harness {
    let harness = Harness::limited(limits);
    harness.event_loop.control(Control::Timeouts { app: APP, timeouts: TAKES });
    harness.settle();
    harness
}

/// Begins a response that does not fit into the kernel's buffers.
fn respond_beyond_the_kernel(harness: &Harness, request: &Request) {
    harness.respond(Op::Write, 0, request.id, 0, [b"", b"", &vec![b'x'; 16 << 20]]);
    wait_until("the kernel refuses bytes", || harness.backlog(request.id) > 0);
}

/// Takes all of that response, which is complete.
fn take_all(client: &mut Client) {
    client.read_through(b"\r\n1000000\r\n");
    client.read(16 << 20);
    assert_eq!(client.read(7), b"\r\n0\r\n\r\n");
}

fn expect_given_up(harness: &mut Harness, request: &Request) {
    let gone = loop {
        let event = harness.event_within(PATIENCE).expect("the end of a peer that takes nothing");
        if !event.is(EventKind::Data) {
            break event;
        }
    };
    assert!(gone.is(EventKind::Gone) && gone.id == request.id, "{gone:?}");
    harness.command(Op::Release, 0, gone.id, 0, b"");
}

#[test]
fn a_peer_that_takes_nothing_is_given_up_though_its_body_ended_meanwhile() {
    let mut harness = impatient(AppLimits::default());
    let mut client = Client::connect_slow(harness.port);
    client.send(post(5).as_bytes());
    let request = harness.expect_request();
    respond_beyond_the_kernel(&harness, &request);
    client.send(b"01234");
    expect_given_up(&mut harness, &request);
}

#[test]
fn a_peer_that_takes_nothing_is_given_up_though_the_program_does_not_read_its_body() {
    for is_begun in [false, true] {
        let mut harness = impatient(AppLimits::default());
        let mut client = Client::connect_slow(harness.port);
        client.send(post(1000).as_bytes());
        let request = harness.expect_request_only();
        let pause = |client: &mut Client, harness: &mut Harness| {
            client.send(b"0");
            harness.expect(EventKind::Data);
        };
        if is_begun {
            pause(&mut client, &mut harness);
        }
        respond_beyond_the_kernel(&harness, &request);
        if !is_begun {
            pause(&mut client, &mut harness);
        }
        expect_given_up(&mut harness, &request);
    }
}

#[test]
fn a_peer_that_takes_nothing_is_given_up_though_it_has_sent_another_request() {
    let mut harness = impatient(AppLimits { max_unsent_bytes: Some(64 << 20), ..AppLimits::default() });
    let mut client = Client::connect_slow(harness.port);
    client.send(HELLO);
    let first = harness.expect_request();
    harness.end(first.id, &vec![b'x'; 16 << 20]);
    wait_until("the kernel refuses bytes", || harness.backlog(first.id) > 0);
    client.send(HELLO);
    let second = harness.expect_request();
    expect_given_up(&mut harness, &second);
}

#[test]
fn the_time_of_a_body_begins_when_the_client_can_have_been_asked_for_it() {
    let limits = AppLimits { max_unsent_bytes: Some(64 << 20), ..AppLimits::default() };
    for takes in [true, false] {
        let mut harness = Harness::limited(limits.clone());
        // A peer with so small a buffer may get nothing for two seconds, by the kernel's own timers.
        let timeouts = Timeouts { idle: 1, response: 4 };
        harness.event_loop.control(Control::Timeouts { app: APP, timeouts });
        harness.settle();
        let mut client = Client::connect_slow(harness.port);
        client.send(HELLO);
        let first = harness.expect_request();
        harness.end(first.id, &vec![b'x'; 16 << 20]);
        wait_until("the kernel refuses bytes", || harness.backlog(first.id) > 0);
        client.send(b"POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
        let second = harness.expect_request();
        if !takes {
            expect_given_up(&mut harness, &second);
            continue;
        }
        // The window of the body is over long before the response has been taken, a part each second.
        client.read_through(b"\r\n\r\n");
        for _ in 0..4 {
            std::thread::sleep(Duration::from_millis(1000));
            client.read(4 << 20);
        }
        client.read_through(b"100 Continue\r\n\r\n");
        client.send(b"12345");
        assert_eq!(harness.expect(EventKind::Data).payload, b"12345");
        harness.end(second.id, b"hi");
        assert_eq!(client.response().1, b"hi");
    }
}

#[test]
fn a_client_that_sends_its_body_unasked_need_not_take_anything_meanwhile() {
    let limits = AppLimits { max_unsent_bytes: Some(64 << 20), ..AppLimits::default() };
    let mut harness = Harness::limited(limits);
    let timeouts = Timeouts { idle: 1, response: 2 };
    harness.event_loop.control(Control::Timeouts { app: APP, timeouts });
    harness.settle();
    let mut client = Client::connect_slow(harness.port);
    client.send(HELLO);
    let first = harness.expect_request();
    harness.end(first.id, &vec![b'x'; 16 << 20]);
    wait_until("the kernel refuses bytes", || harness.backlog(first.id) > 0);
    client.send(b"POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\nExpect: 100-continue\r\n\r\n");
    let second = harness.expect_request();
    harness.command(Op::Resume, 0, second.id, 0, b"");
    for _ in 0..10 {
        client.send(&[b'y'; 10_000]);
        std::thread::sleep(Duration::from_millis(500));
    }
    let mut received = 0;
    while received < 100_000 {
        received += harness.expect(EventKind::Data).payload.len();
    }
    harness.end(second.id, b"hi");
    assert_eq!(client.response().1.len(), 16 << 20);
    client.read_through(b"100 Continue\r\n\r\n");
    assert_eq!(client.response().1, b"hi");
}

/// The time for taking bytes must not replace that for sending some.
#[test]
fn a_response_that_is_taken_slowly_does_not_shorten_the_window_of_a_body() {
    let limits = AppLimits { min_body_rate: Some(100), ..AppLimits::default() };
    let mut harness = Harness::limited(limits);
    let timeouts = Timeouts { idle: 4, response: 1 };
    harness.event_loop.control(Control::Timeouts { app: APP, timeouts });
    harness.settle();
    let mut client = Client::connect_slow(harness.port);
    client.send(post(1000).as_bytes());
    let request = harness.expect_request();
    client.send(&[b'x'; 100]);
    harness.expect(EventKind::Data);
    respond_beyond_the_kernel(&harness, &request);
    // It sends the rest within the window, in which a byte each second would have been too few.
    std::thread::sleep(Duration::from_millis(3100));
    client.send(&[b'x'; 900]);
    assert_eq!(harness.expect(EventKind::Data).payload.len(), 900);
    harness.respond(Op::Finish, 0, request.id, 0, [b"", b"", b""]);
    take_all(&mut client);
    assert_eq!(harness.breaches(Limit::MinBodyRate), 0);
}

#[test]
fn a_response_that_is_taken_late_does_not_shorten_the_time_of_the_next_head() {
    let limits =
        AppLimits { max_unsent_bytes: Some(64 << 20), head_timeout: Some(0), ..AppLimits::default() };
    let mut harness = impatient(limits);
    let mut client = Client::connect_slow(harness.port);
    client.send(HELLO);
    let first = harness.expect_request();
    client.send(&HELLO[..9]);
    harness.end(first.id, &vec![b'x'; 16 << 20]);
    wait_until("the kernel refuses bytes", || harness.backlog(first.id) > 0);
    assert_eq!(client.response().1.len(), 16 << 20);
    std::thread::sleep(Duration::from_millis(3200));
    client.send(&HELLO[9..]);
    let second = harness.expect_request();
    harness.end(second.id, b"hi");
    assert_eq!(client.response().1, b"hi");
    assert_eq!(harness.breaches(Limit::HeadTimeout), 0);
}

#[test]
fn a_late_head_is_one_also_behind_a_response_that_still_has_time_to_be_taken() {
    let limits =
        AppLimits { max_unsent_bytes: Some(64 << 20), head_timeout: Some(1), ..AppLimits::default() };
    let mut harness = Harness::limited(limits);
    let mut client = Client::connect_slow(harness.port);
    client.send(HELLO);
    let first = harness.expect_request();
    harness.end(first.id, &vec![b'x'; 16 << 20]);
    wait_until("the kernel refuses bytes", || harness.backlog(first.id) > 0);
    client.send(&HELLO[..9]);
    wait_until("the head is late", || harness.breaches(Limit::HeadTimeout) == 1);
    assert_eq!(client.response().1.len(), 16 << 20);
    assert!(client.response().0.starts_with("HTTP/1.1 408 "));
}

#[test]
fn a_response_has_its_own_time_to_be_taken_whatever_that_of_a_kept_connection_is() {
    for (keep_alive, is_taken) in [(1, true), (0, false)] {
        let limits = AppLimits { keep_alive_timeout: Some(keep_alive), ..AppLimits::default() };
        let mut harness = Harness::limited(limits);
        let timeouts = Timeouts { idle: 1, response: if is_taken { 10 } else { 1 } };
        harness.event_loop.control(Control::Timeouts { app: APP, timeouts });
        harness.settle();
        let mut client = Client::connect_slow(harness.port);
        client.send(HELLO);
        let request = harness.expect_request();
        respond_beyond_the_kernel(&harness, &request);
        harness.respond(Op::Finish, 0, request.id, 0, [b"", b"", b""]);
        std::thread::sleep(Duration::from_millis(3200));
        let counts = harness.shared().counters.app(APP).expect("app");
        let given_up = counts.by_loop.get(Metric::ResponseTimeout);
        assert_eq!(given_up, u64::from(!is_taken));
        if is_taken {
            take_all(&mut client);
            say_hello(&mut harness, &mut client);
        }
    }
}
