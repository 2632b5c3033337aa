//! Requests, responses and bodies.

use super::harness::*;
use crate::channel::{BODY_LAST, CommandBatch, EventKind, ExchangeId, Op, request_flag, respond_flag};
use crate::event_loop::connection::http::STEPS_PER_TURN;
use crate::routing::router::Method;
use std::collections::VecDeque;

const HELLO: &[u8] = b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn a_request_becomes_an_event_and_a_command_its_response() {
    let mut harness = Harness::start();
    harness.route(Method::Get, "/users/:id/*", 7);
    harness.route(Method::Any, "/*", 8);
    let mut client = harness.connect();
    client.send(b"GET /users/42/x/y?q=1&r HTTP/1.1\r\nHost: a\r\nX-Thing:  some thing \r\n\r\n");
    let request = harness.expect_request();
    assert_eq!((request.handler, request.flags, request.has_body()), (7, 0, false));
    assert_eq!((request.method(), request.path(), request.query()), ("GET", "/users/42/x/y", Some("q=1&r")));
    assert_eq!(request.headers(), [("host", "a"), ("x-thing", "some thing")]);
    assert_eq!(request.matches(), [(7, vec!["42"]), (8, vec![])]);
    harness.respond(Op::Respond, 0, request.id, 0, [b"201 Created", b"A: b\r\n", b"body"]);
    let (head, body) = client.response();
    assert!(head.starts_with("HTTP/1.1 201 Created\r\nA: b\r\nDate: "), "{head}");
    assert!(head.ends_with("\r\nContent-Length: 4\r\n\r\n"), "{head}");
    assert_eq!(body, b"body");
}

#[test]
fn a_connection_serves_many_requests() {
    let mut harness = Harness::start();
    let mut client = harness.connect();
    let mut ids = Vec::new();
    for n in 0..20u8 {
        client.send(HELLO);
        let request = harness.expect_request();
        assert_eq!(request.query(), None);
        ids.push(request.id);
        harness.end(request.id, &[n]);
        assert_eq!(client.response().1, [n]);
    }
    assert!(ids.windows(2).all(|two| two[0] == two[1]), "one connection: {ids:?}");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let mut harness = Harness::start();
    harness.route(Method::Get, "/n/:n", 3);
    let mut client = harness.connect();
    let requests: String = (0..50).map(|n| format!("GET /n/{n} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    client.send(requests.as_bytes());
    let mut waiting = VecDeque::new();
    for n in 0..50 {
        let parameter = n.to_string();
        if waiting.is_empty() {
            // The loop hands over a bounded number before the first is answered; the rest waits unread.
            for ahead in n..50.min(n + 32) {
                let request = harness.expect_request();
                assert_eq!(request.matches(), [(3, vec![&ahead.to_string()[..]])]);
                waiting.push_back(request);
            }
            harness.expect_nothing();
        }
        let Some(request) = waiting.pop_front() else { panic!("no request waits") };
        // Every other response streams, so that bytes of two responses could mix.
        if n % 2 == 0 {
            harness.end(request.id, parameter.as_bytes());
        } else {
            harness.respond(Op::Write, 0, request.id, 0, [b"", b"", parameter.as_bytes()]);
            harness.respond(Op::Finish, 0, request.id, 0, [b"", b"", b"!"]);
        }
    }
    for n in 0..50 {
        if n % 2 == 0 {
            assert_eq!(client.response().1, n.to_string().as_bytes());
        } else {
            let expected = format!("\r\n\r\n{:x}\r\n{n}\r\n1\r\n!\r\n0\r\n\r\n", n.to_string().len());
            let response = client.read_through(b"0\r\n\r\n");
            assert!(response.ends_with(expected.as_bytes()), "{:?}", String::from_utf8_lossy(&response));
        }
    }
}

#[test]
fn requests_without_a_route_are_answered_by_the_loop_alone() {
    let mut harness = Harness::start();
    let mut client = harness.connect();
    client.send(b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\nPOST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    for _ in 0..2 {
        let (head, body) = client.response();
        assert!(head.starts_with("HTTP/1.1 404 File Not Found\r\n"), "{head}");
        assert!(!body.is_empty());
    }
    // The connection lives on, and JavaScript has heard nothing of it.
    client.send(HELLO);
    let request = harness.expect_request();
    harness.end(request.id, b"");
    assert!(client.response().0.starts_with("HTTP/1.1 200 OK"));
    client.send(b"HEAD /nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let answer = client.read_to_end();
    assert!(answer.starts_with(b"HTTP/1.1 404") && answer.ends_with(b"\r\n\r\n"), "no body for HEAD");
    harness.expect_nothing();
}

/// The body of a request, from its head's event or from `Data` events, and the length that was announced when
/// it began.
fn body(harness: &mut Harness, request: &Request) -> (Vec<u8>, u64) {
    if !request.body.is_empty() {
        return (request.body.clone(), request.body.len() as u64);
    }
    let (mut body, mut first) = (Vec::new(), None);
    loop {
        let event = harness.expect(EventKind::Data);
        body.extend_from_slice(&event.payload);
        let [flags, low, high] = event.args;
        let remaining = u64::from(low) | u64::from(high) << 32;
        first.get_or_insert(remaining + event.payload.len() as u64 * u64::from(remaining != u64::MAX));
        if flags & BODY_LAST != 0 {
            assert_eq!(remaining, 0);
            return (body, first.unwrap_or_default());
        }
    }
}

#[test]
fn input_may_come_byte_by_byte() {
    let mut harness = Harness::start();
    let mut client = harness.connect();
    let with_length = b"\r\nPOST /post?a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    let chunked = b"POST /post HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nT: v\r\n\r\n";
    for request in [&with_length[..], chunked] {
        for slowly in [true, false] {
            if slowly {
                client.send_slowly(request)
            } else {
                client.send(request)
            }
            let head = harness.expect_request();
            assert_eq!((head.handler, head.has_body()), (2, true));
            assert_eq!(body(&mut harness, &head).0, b"hello");
            harness.end(head.id, b"ok");
            assert_eq!(client.response().1, b"ok");
        }
    }
}

fn post(content: &[u8], fields: &str) -> Vec<u8> {
    let length = content.len();
    let head = format!("POST /post HTTP/1.1\r\nHost: a\r\n{fields}Content-Length: {length}\r\n\r\n");
    [head.as_bytes(), content].concat()
}

/// The requests that are handed over now, each with its body.
fn requests_in_hand(harness: &mut Harness) -> Vec<(ExchangeId, Vec<u8>)> {
    let mut requests = Vec::new();
    while let Some(event) = harness.event_within(MOMENT) {
        let request = Request::new(event);
        harness.want_body(&request);
        requests.push((request.id, body(harness, &request).0));
    }
    requests
}

#[test]
fn requests_with_small_bodies_are_handed_over_ahead_of_answers() {
    let mut harness = Harness::start();
    let mut client = harness.connect();
    let large = vec![b'l'; (16 << 10) + 1];
    // Content, further header fields, and whether the request waits until those before it are answered.
    let table: [(&[u8], &str, bool); 6] = [
        (b"first", "", false),
        (b"second", "", false),
        (b"", "", false),
        (b"third", "Expect: 100-continue\r\n", true),
        (b"fourth", "", false),
        (&large, "", true),
    ];
    client.send(&table.iter().flat_map(|(content, fields, _)| post(content, fields)).collect::<Vec<_>>());
    let mut waiting = VecDeque::new();
    for (content, _, waits) in table {
        if waits {
            harness.expect_nothing();
            waiting.drain(..).for_each(|request: Request| harness.end(request.id, &request.body));
        }
        let request = harness.expect_request();
        assert_eq!(request.has_body(), !content.is_empty());
        assert_eq!(request.body, if content.len() == large.len() { b"" } else { content });
        waiting.push_back(request);
    }
    let Some(last) = waiting.pop_back() else { panic!("no request waits") };
    assert_eq!(body(&mut harness, &last).0, large);
    harness.end(last.id, &large);
    for (content, fields, _) in table {
        if !fields.is_empty() {
            assert_eq!(client.read_through(b"\r\n\r\n"), b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        assert_eq!(client.response().1, content);
    }
}

#[test]
fn bodies_handed_over_ahead_of_answers_are_bounded() {
    let mut harness = Harness::start();
    let mut client = harness.connect();
    let contents: Vec<_> = (b'a'..=b'z').map(|letter| vec![letter; 16 << 10]).collect();
    let mut sending = client.second();
    let all: Vec<u8> = contents.iter().flat_map(|content| post(content, "")).collect();
    let sender = std::thread::spawn(move || sending.send(&all));
    let mut answered = 0;
    while answered < contents.len() {
        let requests = requests_in_hand(&mut harness);
        assert!((1..=5).contains(&requests.len()), "{} at once", requests.len());
        for (id, content) in requests {
            assert_eq!(content, contents[answered]);
            harness.end(id, &content[..1]);
            answered += 1;
        }
    }
    sender.join().expect("sender");
    for content in contents {
        assert_eq!(client.response().1, content[..1]);
    }
}

#[test]
fn requests_may_be_cut_anywhere() {
    let mut harness = Harness::start();
    let mut client = harness.connect();
    let bytes = b"POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /hello HTTP/1.1\r\nHost: a\r\n\r\n";
    for cut in 1..bytes.len() {
        client.send(&bytes[..cut]);
        std::thread::sleep(std::time::Duration::from_micros(500));
        client.send(&bytes[cut..]);
        let post = harness.expect_request();
        assert_eq!(body(&mut harness, &post).0, b"abc", "cut at {cut}");
        harness.end(post.id, b"1");
        let get = harness.expect_request();
        assert_eq!(get.path(), "/hello");
        harness.end(get.id, b"2");
        assert_eq!((client.response().1, client.response().1), (b"1".to_vec(), b"2".to_vec()));
    }
}

#[test]
fn large_bodies_arrive_whole_in_both_directions() {
    const SIZE: usize = 6 << 20;
    let mut harness = Harness::start();
    let mut client = harness.connect();
    let content: Vec<u8> = (0..SIZE).map(|n| (n ^ n >> 11) as u8).collect();
    let mut uploading = client.second();
    let (sent, expected) = (content.clone(), content.clone());
    let upload = std::thread::spawn(move || {
        let head = format!(
            "POST /post HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: {SIZE}\r\n\r\n"
        );
        uploading.send(head.as_bytes());
        uploading.send(&sent);
    });
    let request = harness.expect_request();
    let (received, announced) = body(&mut harness, &request);
    assert_eq!(announced, SIZE as u64);
    assert!(received == expected, "the body arrived changed");
    upload.join().expect("upload");
    assert_eq!(client.read_through(b"\r\n\r\n"), b"HTTP/1.1 100 Continue\r\n\r\n");

    let mut batch = CommandBatch::default();
    let mut record = batch.record(Op::Respond, 0, request.id, 0, 0);
    record.payload().extend_from_slice(&response_parts([b"", b"", b""]));
    record.finish_owned(content);
    harness.send(&mut batch);
    let (head, received) = client.response();
    assert!(head.contains(&format!("\r\nContent-Length: {SIZE}\r\n")), "{head}");
    assert!(received == expected, "the body left changed");
}

#[test]
fn a_stream_of_known_length_ends_when_it_is_reached() {
    let mut harness = Harness::start();
    let mut client = harness.connect();
    client.send(HELLO);
    let request = harness.expect_request();
    for part in [&b"abc"[..], b"", b"defg"] {
        harness.respond(Op::TryEnd, 0, request.id, 7, [b"", b"", part]);
    }
    // The response is over; what comes now belongs to no request.
    harness.end(request.id, b"stale");
    assert_eq!(client.response().1, b"abcdefg");
    // A command names the connection, not the request: JavaScript knows when a response is over and sends
    // none behind it. The loop has to have seen this one before the next request comes.
    harness.settle();
    client.send(HELLO);
    let next = harness.expect_request();
    harness.end(next.id, b"next");
    assert_eq!(client.response().1, b"next");
}

#[test]
fn heads_without_body() {
    let mut harness = Harness::start();
    harness.route(Method::Head, "/hello", 3);
    let mut client = harness.connect();
    client.send(b"HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    let request = harness.expect_request();
    assert_eq!(request.flags, request_flag::HEAD);
    harness.end(request.id, b"12345");
    assert!(client.read_through(b"\r\n\r\n").ends_with(b"\r\nContent-Length: 5\r\n\r\n"));
    for (flags, status, length) in [
        (respond_flag::REPORTED_LENGTH, &b""[..], Some("Content-Length: 9")),
        (respond_flag::NO_LENGTH, b"", None),
        (0, b"304 Not Modified", None),
    ] {
        client.send(HELLO);
        let request = harness.expect_request();
        harness.respond(Op::Respond, flags, request.id, 9, [status, b"", b""]);
        let head = String::from_utf8(client.read_through(b"\r\n\r\n")).expect("text");
        let found = head.lines().find(|line| line.starts_with("Content-Length"));
        assert_eq!(found, length, "{head}");
    }
}

#[test]
fn no_body_and_no_framing_leave_with_a_status_that_has_none() {
    let mut harness = Harness::start();
    harness.route(Method::Head, "/hello", 3);
    type Sent = &'static [(Op, u64)];
    let ways: [Sent; 5] = [
        &[(Op::Respond, 0)],
        &[(Op::Finish, 0)],
        &[(Op::Write, 0), (Op::Write, 0), (Op::Finish, 0)],
        &[(Op::TryEnd, 4)],
        // The response is complete after the first call, although its total is larger than its chunk.
        &[(Op::TryEnd, 40)],
    ];
    for old in [false, true] {
        for status in [&b"204 No Content"[..], b"304 Not Modified", b"304"] {
            for way in ways {
                let mut client = harness.connect();
                for again in [false, true] {
                    client.send(match (old, again) {
                        (true, _) => b"GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
                        (false, false) => HELLO,
                        (false, true) => b"HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n",
                    });
                    let request = harness.expect_request();
                    for (op, total) in way {
                        harness.respond(*op, 0, request.id, *total, [status, b"", b"body"]);
                    }
                    let head = String::from_utf8(client.read_through(b"\r\n\r\n")).expect("text");
                    assert!(head.starts_with("HTTP/1.1 ") && !head.contains("Transfer-Encoding"), "{head}");
                    assert!(!head.contains("Content-Length") || head.contains("304"), "{head}");
                }
                // Nothing of a body is between this answer and the last one.
                client.send(HELLO);
                let request = harness.expect_request();
                harness.end(request.id, b"next");
                let (head, body) = client.response();
                assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
                assert_eq!(body, b"next");
            }
        }
    }
}

#[test]
fn after_a_status_that_is_not_final_the_connection_ends() {
    for op in [Op::Respond, Op::Finish, Op::TryEnd] {
        let mut harness = Harness::start();
        let mut client = harness.connect();
        client.send(HELLO);
        let request = harness.expect_request();
        harness.respond(op, 0, request.id, 4, [b"103 Early Hints", b"", b"body"]);
        let all = String::from_utf8(client.read_to_end()).expect("text");
        assert!(all.starts_with("HTTP/1.1 103 ") && all.ends_with("\r\n\r\n"), "{all}");
        assert!(!all.contains("Transfer-Encoding") && !all.contains("Content-Length"), "{all}");
    }
}

#[test]
fn a_streamed_answer_to_head_has_its_head_only() {
    let mut harness = Harness::start();
    harness.route(Method::Head, "/hello", 3);
    let mut client = harness.connect();
    for way in [&[(Op::Write, 0), (Op::Finish, 0)][..], &[(Op::TryEnd, 4)], &[(Op::Finish, 0)]] {
        client.send(b"HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n");
        let request = harness.expect_request();
        for (op, total) in way {
            harness.respond(*op, 0, request.id, *total, [b"", b"", b"body"]);
        }
        let head = String::from_utf8(client.read_through(b"\r\n\r\n")).expect("text");
        assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    }
}

#[test]
fn what_follows_a_large_last_chunk_is_sent_before_the_connection_ends() {
    let mut harness = Harness::start();
    // So large that it is written before the command that brings it has been carried out.
    let body = vec![b'x'; 100_000];
    for (request, flags) in [
        (&b"GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"[..], 0),
        (HELLO, respond_flag::CLOSE),
    ] {
        let mut client = harness.connect();
        client.send(request);
        let request = harness.expect_request();
        harness.respond(Op::Finish, flags, request.id, 0, [b"", b"", &body]);
        let response = client.read_to_end();
        assert!(response.ends_with(b"xx\r\n0\r\n\r\n"), "{:?}", response.last_chunk::<12>());
    }
}

#[test]
fn a_connection_that_is_not_kept_is_closed_after_the_last_byte() {
    let mut harness = Harness::start();
    let old = b"GET /hello HTTP/1.0\r\n\r\n";
    let closing = b"GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let body = vec![b'x'; 300_000];
    let cases = [
        (&old[..], 0, true),
        // The client sent `Connection: close`; like the original we do not repeat it.
        (closing, 0, false),
        (HELLO, respond_flag::CLOSE, true),
    ];
    for (request, flags, said) in cases {
        let mut client = harness.connect();
        client.send(request);
        let request = harness.expect_request();
        harness.respond(Op::Respond, flags, request.id, 0, [b"", b"", &body]);
        let response = client.read_to_end();
        assert!(response.ends_with(&body));
        assert_eq!(memchr::memmem::find(&response, b"\r\nConnection: close\r\n").is_some(), said);
    }
    let mut client = harness.connect();
    client.send(old);
    let request = harness.expect_request();
    harness.respond(Op::Write, 0, request.id, 0, [b"", b"", b"not "]);
    harness.respond(Op::Finish, 0, request.id, 0, [b"", b"", b"chunked"]);
    assert!(client.read_to_end().ends_with(b"\r\n\r\nnot chunked"));
    harness.expect_nothing();
}

#[test]
fn a_request_that_has_its_answer_gets_no_second_one_for_a_faulty_body() {
    let mut harness = Harness::start();
    let head =
        |path| format!("POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    let mut early = harness.connect();
    early.send(head("/post").as_bytes());
    let id = harness.expect_request().id;
    harness.expect(EventKind::Data);
    harness.end(id, b"early");
    assert_eq!(early.response().1, b"early");
    let mut nowhere = harness.connect();
    nowhere.send(head("/nothing").as_bytes());
    assert!(nowhere.response().0.starts_with("HTTP/1.1 404 "));
    for client in [&mut early, &mut nowhere] {
        client.send(b"no length\r\n");
        assert_eq!(String::from_utf8_lossy(&client.read_to_end()), "");
    }
    harness.expect_nothing();
}

#[test]
fn malformed_requests_are_refused() {
    let mut harness = Harness::start();
    for (bytes, status) in [
        (&b"nonsense\r\n\r\n"[..], "400 "),
        (b"GET /hello HTTP/1.1\r\n\r\n", "400 "),
        (b"GET /hello HTTP/2.0\r\nHost: a\r\n\r\n", "505 "),
        (&[&b"GET /hello HTTP/1.1\r\nHost: a\r\nX: "[..], &[b'x'; 5000], b"\r\n\r\n"].concat(), "431 "),
    ] {
        let mut client = harness.connect();
        client.send(bytes);
        let answer = String::from_utf8(client.read_to_end()).expect("text");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
    harness.expect_nothing();
    // In the middle of a body JavaScript holds an object, and is told of the end.
    let mut client = harness.connect();
    client.send(b"POST /post HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\nzz\r\n");
    let request = harness.expect_request();
    let mut event = harness.event_within(PATIENCE).expect("an event");
    if event.is(EventKind::Data) {
        event = harness.event_within(PATIENCE).expect("an event");
    }
    assert!(event.is(EventKind::Gone) && event.id == request.id, "{event:?}");
    assert!(client.read_to_end().starts_with(b"HTTP/1.1 400 "));
}

#[test]
fn a_paused_body_waits() {
    let mut harness = Harness::start();
    let mut client = harness.connect();
    client.send(b"POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n");
    let request = harness.expect_request();
    harness.command(Op::Pause, 0, request.id, 0, b"");
    harness.settle();
    client.send(b"abcdef");
    harness.expect_nothing();
    harness.command(Op::Resume, 0, request.id, 0, b"");
    assert_eq!(body(&mut harness, &request).0, b"abcdef");
    harness.end(request.id, b"");
    client.response();
}

#[test]
fn a_response_before_the_end_of_the_body_leaves_the_connection_in_step() {
    let mut harness = Harness::start();
    let mut client = harness.connect();
    client.send(b"POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n1234");
    let request = harness.expect_request();
    let data = harness.expect(EventKind::Data);
    assert_eq!((data.payload, data.args), (b"1234".to_vec(), [0, 6, 0]));
    harness.end(request.id, b"early");
    assert_eq!(client.response().1, b"early");
    client.send(b"567890");
    client.send(HELLO);
    let next = harness.expect_request();
    assert_eq!(next.path(), "/hello");
    harness.end(next.id, b"next");
    assert_eq!(client.response().1, b"next");
}

#[test]
fn one_read_is_taken_of_a_body_that_javascript_has_not_asked_for() {
    let mut harness = Harness::start();
    let mut client = harness.connect();
    let body: Vec<u8> = (0..2_000_000u32).map(|n| (n >> 4) as u8).collect();
    let (mut sending, sent) = (client.second(), body.clone());
    let sender = std::thread::spawn(move || {
        sending.send(b"POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n");
        sending.send(&sent);
    });
    let request = harness.expect_request_only();
    let mut received = harness.expect(EventKind::Data).payload;
    harness.expect_nothing();
    assert!(received.len() <= 128 << 10, "{} bytes", received.len());
    harness.command(Op::Resume, 0, request.id, 0, b"");
    while received.len() < body.len() {
        received.extend(harness.expect(EventKind::Data).payload);
    }
    assert!(received == body);
    sender.join().expect("sender");
    harness.end(request.id, b"done");
    assert_eq!(client.response().1, b"done");
    // After an answer the loop discards the rest of the body, and serves the next request.
    let (mut sending, sent) = (client.second(), body.clone());
    let sender = std::thread::spawn(move || {
        sending.send(b"POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n");
        sending.send(&sent);
        sending.send(HELLO);
    });
    let request = harness.expect_request_only();
    harness.expect(EventKind::Data);
    harness.end(request.id, b"early");
    assert_eq!(client.response().1, b"early");
    let next = harness.expect_request();
    assert_eq!(next.path(), "/hello");
    harness.end(next.id, b"next");
    assert_eq!(client.response().1, b"next");
    sender.join().expect("sender");
}

/// Requests that the loop answers itself are not handed over, so no queue bounds them.
#[test]
fn a_pipeline_takes_many_turns_however_small_its_requests_are() {
    let harness = Harness::start();
    let (mut client, count) = (harness.connect(), 20_000);
    let mut sending = client.second();
    harness.settle();
    let before = harness.turns();
    let requests = b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n".repeat(count);
    let sender = std::thread::spawn(move || sending.send(&requests));
    for _ in 0..count {
        assert!(client.response().0.starts_with("HTTP/1.1 404 "));
    }
    sender.join().expect("sender");
    // A turn may go on with a connection after it has read from it, and after it has written to it.
    let most = 3 * STEPS_PER_TURN as usize;
    let turns = harness.turns() - before;
    assert!(turns >= count / most, "{count} requests in {turns} turns");
}
