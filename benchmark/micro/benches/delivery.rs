//! Delivery: 1,000 routes, and a topic with many subscribers. A map of whole paths and a plain list show the
//! cost without patterns and without order.

use std::collections::HashMap;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use uws_rs::routing::router::{Method, Priority, Router};
use uws_rs::event_loop::topics::Topics;

const ROUTES: u32 = 1000;
const PATHS: [&str; 4] =
    ["/api/v1/thing999", "/api/v1/thing500/17/edit", "/files/a/b/c.txt", "/nothing/like/it"];

fn router() -> Router {
    let mut router = Router::new();
    for i in 0..ROUTES {
        let pattern =
            if i % 2 == 0 { format!("/api/v1/thing{i}/:id/edit") } else { format!("/api/v1/thing{i}") };
        router.add(Method::Get, pattern.as_bytes(), Priority::Medium, i);
    }
    router.add(Method::Any, b"/files/*", Priority::Low, ROUTES);
    router
}

#[divan::bench(args = PATHS)]
fn route_ours(bencher: Bencher, path: &str) {
    let router = router();
    bencher.bench_local(|| {
        router.route(b"GET", black_box(path.as_bytes()), false, &mut |id, _, parameters| {
            black_box((id, parameters.len()));
            false
        })
    });
}

#[divan::bench(args = PATHS)]
fn route_hash_map(bencher: Bencher, path: &str) {
    let map: HashMap<Vec<u8>, u32> =
        (0..ROUTES).map(|i| (format!("/api/v1/thing{i}").into_bytes(), i)).collect();
    bencher.bench_local(|| map.get(black_box(path.as_bytes())).copied());
}

const SUBSCRIBERS: [u32; 2] = [1000, 10000];

#[divan::bench(args = SUBSCRIBERS)]
fn fan_out_ours(bencher: Bencher, count: u32) {
    let mut topics = Topics::default();
    for slot in 0..count {
        topics.subscribe(3, slot);
    }
    bencher.counter(ItemsCount::new(count)).bench_local(|| {
        for index in 0..topics.count(3) {
            black_box(topics.subscriber(3, index));
        }
    });
}

#[divan::bench(args = SUBSCRIBERS)]
fn fan_out_list(bencher: Bencher, count: u32) {
    let list: Vec<u32> = (0..count).collect();
    bencher.counter(ItemsCount::new(count)).bench_local(|| {
        for slot in black_box(&list) {
            black_box(slot);
        }
    });
}

#[divan::bench(args = SUBSCRIBERS)]
fn subscribe_and_leave(bencher: Bencher, count: u32) {
    let mut topics = Topics::default();
    for slot in 0..count {
        topics.subscribe(3, slot);
    }
    bencher.bench_local(|| {
        topics.subscribe(3, black_box(count));
        topics.unsubscribe(3, black_box(count))
    });
}

fn main() {
    divan::main();
}
