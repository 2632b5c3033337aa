//! Request heads: ours (checks of framing and names in lower case included) and httparse, which ours builds
//! on, alone.

use std::mem::MaybeUninit;

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use uws_rs::protocol::http::request::{Limits, RequestHead, parse};

const HEADS: [(&str, &str); 3] = [
    ("least", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    (
        "upgrade",
        "GET /chat?room=1 HTTP/1.1\r\nHost: localhost:9001\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n",
    ),
    (
        "browser",
        "GET /articles/2026/11/a-long-title?page=2&sort=new HTTP/1.1\r\nHost: www.example.org\r\n\
         Connection: keep-alive\r\nCache-Control: max-age=0\r\nUpgrade-Insecure-Requests: 1\r\n\
         User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n\
         Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
         Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-User: ?1\r\nSec-Fetch-Dest: document\r\n\
         Referer: https://www.example.org/articles\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
         Accept-Language: de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7\r\n\
         Cookie: session=8f14e45fceea167a5a36dedd4bea2543; theme=dark; consent=1\r\n\r\n",
    ),
];

const NAMES: [&str; 3] = [HEADS[0].0, HEADS[1].0, HEADS[2].0];

fn head(name: &str) -> Vec<u8> {
    HEADS
        .iter()
        .find(|(other, _)| *other == name)
        .map(|(_, head)| head.as_bytes().to_vec())
        .unwrap_or_default()
}

#[divan::bench(args = NAMES)]
fn ours(bencher: Bencher, name: &str) {
    let mut bytes = head(name);
    let mut parsed = RequestHead::default();
    let limits = Limits::default();
    bencher.counter(BytesCount::of_slice(&bytes)).bench_local(|| {
        let used = parse(black_box(&mut bytes), &limits, &mut parsed);
        assert_eq!(used.ok().flatten(), Some(bytes.len()));
    });
}

#[divan::bench(args = NAMES)]
fn httparse_alone(bencher: Bencher, name: &str) {
    let bytes = head(name);
    bencher.counter(BytesCount::of_slice(&bytes)).bench_local(|| {
        let mut headers = [MaybeUninit::uninit(); 100];
        let mut request = httparse::Request::new(&mut []);
        let status = request.parse_with_uninit_headers(black_box(&bytes), &mut headers);
        assert!(status.is_ok_and(|status| status.is_complete()));
    });
}

fn main() {
    divan::main();
}
