//! Scripts from seeds.

use super::rng::Rng;
use super::script::{
    Act, Answer, Body, Do, How, Message, Method, Peer, Reads, Request, Route, Script, Secure, Step, System,
    Target,
};

/// The script of a seed. Most have few peers, some many.
pub fn generate(seed: u64) -> Script {
    let rng = &mut Rng::new(seed);
    let system = System {
        batches: rng.chance(600),
        interrupted: rng.pick(&[0, 0, 20, 200]),
        short: rng.pick(&[0, 0, 100, 500]),
        look_us: rng.pick(&[1, 10, 100, 1000]),
        concurrent: rng.pick(&[0, 50, 300, 800]),
    };
    let theme = rng.below(1_000);
    let route = route(rng);
    let count = match theme {
        0..=719 => rng.within(1..5),
        720..=959 => rng.within(4..16),
        960..=989 => rng.within(20..80),
        990..=998 => rng.within(260..500),
        _ => rng.within(1_000..3_000),
    };
    let mut script = Script {
        schedule: rng.draw() % 1_000_000,
        system,
        route,
        timeouts: (rng.within(6..12) as u32, rng.within(6..12) as u32),
        peers: Vec::new(),
        acts: Vec::new(),
        end_of_loop: None,
    };
    let is_crowd = count >= 20;
    if is_crowd {
        // Their heads must arrive within their timeouts.
        script.system.look_us = script.system.look_us.min(10);
    }
    let favourite = rng.below(KINDS);
    for _ in 0..count {
        let kind = if rng.chance(500) { favourite } else { rng.below(KINDS) };
        let peer = peer(rng, kind, is_crowd, &script.route);
        script.peers.push(peer);
    }
    match rng.below(16) {
        0 => storm(rng, &mut script),
        1 => pile(rng, &mut script),
        2 => closing(rng, &mut script),
        _ => {}
    }
    acts(rng, &mut script, is_crowd);
    script.end_of_loop =
        rng.chance(80).then(|| rng.pick(&[3, 30, 300, 3_000])).map(|most| rng.below(most) as u32);
    script
}

/// Very many publishes to one that does not read.
fn storm(rng: &mut Rng, script: &mut Script) {
    script.peers.push(Peer {
        at: 0,
        reads: Reads::Never,
        rooms: (64 << 10, 2 << 10),
        cut: 1 << 20,
        pause_us: 0,
        secure: Secure::Plain,
        steps: vec![Step::Upgrade { after: 0, deflate: false }],
    });
    let at = rng.within(100..400) as u32;
    script.acts.push((at, Act::Publish { topic: 0, len: 12, count: 7_000, deflate: false }));
}

/// The app is closed about the time when a peer connects or has just done so, and listens again.
fn closing(rng: &mut Rng, script: &mut Script) {
    for _ in 0..rng.within(1..4) {
        let at = rng.below(script.peers.len());
        let at = script.peers[at].at + rng.below(6) as u32;
        script.acts.push((at, Act::CloseApp));
        script.acts.push((at + rng.below(20) as u32, Act::Listen));
    }
}

/// Some large publishes to many.
fn pile(rng: &mut Rng, script: &mut Script) {
    for _ in 0..rng.within(5..10) {
        script.peers.push(Peer {
            at: 0,
            reads: Reads::Always,
            rooms: (64 << 10, 200 << 10),
            cut: 1 << 20,
            pause_us: 0,
            secure: Secure::Plain,
            steps: vec![Step::Upgrade { after: 0, deflate: false }, Step::Wait { ms: 1_000 }],
        });
    }
    let at = rng.within(100..400) as u32;
    script.acts.push((at, Act::Publish { topic: 0, len: 7_000, count: 14, deflate: false }));
}

fn route(rng: &mut Rng) -> Route {
    Route {
        max_payload: 1 << 20,
        max_backpressure: rng.pick(&[0, 1 << 10, 16 << 10, 64 << 10]),
        close_on_limit: rng.chance(100),
        idle_timeout: rng.pick(&[0, 8, 30]),
        send_pings: rng.chance(500),
        compression: rng.pick(&[0, 0, 0x101, 0x191, 0x1f8, 0xf01, 0x991, 0xff8]),
        auto: rng.chance(500),
    }
}

/// Kinds of peers; see `peer`.
const KINDS: usize = 16;

fn peer(rng: &mut Rng, kind: usize, is_crowd: bool, route: &Route) -> Peer {
    let reads = match rng.below(10) {
        _ if kind == 14 => Reads::Slowly(rng.within(4_000..9_000), rng.within(300..900) as u32),
        _ if kind == 13 => Reads::Always,
        0 if !is_crowd => Reads::Never,
        1 | 2 if !is_crowd => Reads::Slowly(rng.within(3_000..20_000), rng.within(100..1500) as u32),
        _ => Reads::Always,
    };
    let mut steps = Vec::new();
    match kind {
        0..=5 => requests(rng, &mut steps, is_crowd),
        6..=10 => web(rng, &mut steps, is_crowd, route),
        11 | 12 => topics(rng, &mut steps),
        13 => brief(rng, &mut steps),
        14 => download(rng, &mut steps),
        _ => {
            requests(rng, &mut steps, is_crowd);
            let closes = steps.iter().any(ends);
            if !closes {
                web(rng, &mut steps, is_crowd, route);
            }
        }
    }
    match rng.below(40) {
        0 => steps.push(Step::Reset),
        1 => steps.push(Step::End),
        2 => {
            let at = rng.below(steps.len() + 1);
            steps.insert(at, Step::Reset);
        }
        3 => {
            let at = rng.below(steps.len() + 1);
            steps.truncate(at);
            steps.push(Step::End);
        }
        4 => steps.push(Step::Raw((0..rng.within(1..30)).map(|_| rng.draw() as u8).collect())),
        5 => steps.push(Step::Raw(b"GET / HT".to_vec())),
        _ => {}
    }
    let secure = match rng.below(16) {
        0 if !is_crowd => Secure::Tls12,
        1 | 2 if !is_crowd => Secure::Tls13,
        _ => Secure::Plain,
    };
    if secure == Secure::Tls13 && rng.chance(500) {
        for _ in 0..rng.within(1..4) {
            let at = rng.below(steps.len() + 1);
            steps.insert(at, Step::KeyUpdate);
        }
    }
    let handshake = if secure == Secure::Plain { 0 } else { 3_000 };
    let bytes = handshake + steps.iter().map(size).sum::<usize>();
    let pause_us = rng.pick(&[0, 0, 100, 5_000]);
    let least = (bytes / if pause_us > 100 { 100 } else { 400 }).max(1);
    // A slow reader that takes much in a while makes progress each second.
    let room = match reads {
        Reads::Slowly(at_once, _) => at_once * 2,
        _ => rng.pick(&[2 << 10, 16 << 10, 64 << 10, 200 << 10]),
    };
    Peer {
        at: if is_crowd || kind == 13 { rng.below(50) } else { rng.pick(&[0, 0, 5, 700, 2_000]) } as u32,
        reads,
        rooms: (rng.pick(&[4 << 10, 64 << 10, 256 << 10]), room),
        cut: least.max(if is_crowd { 100 } else { 1 }).max(rng.pick(&[1, 10, 100, 1_000, 10_000, 1 << 20])),
        pause_us: pause_us as u32,
        secure,
        steps,
    }
}

/// Whether nothing is served behind a step.
fn ends(step: &Step) -> bool {
    match step {
        Step::Request(request) => {
            request.close
                || request.http_1_0
                || request.target == Target::Program
                    && (request.answer.close
                        || request.answer.after.is_none()
                        || matches!(request.answer.how, How::Cut(_)))
        }
        _ => false,
    }
}

fn size(step: &Step) -> usize {
    match step {
        Step::Request(Request { body: Body::Length(len) | Body::Chunks(len, _), .. }) => 200 + len,
        Step::Message(message) => 20 + message.len,
        Step::Pings { count, len } => count * (len + 6),
        _ => 200,
    }
}

fn length(rng: &mut Rng, is_crowd: bool) -> usize {
    match rng.below(if is_crowd { 20 } else { 28 }) {
        0..=2 => 0,
        3..=15 => rng.within(1..300),
        16..=19 => rng.within(300..3_000),
        20..=23 => rng.within(3_000..20_000),
        24 | 25 => rng.within(20_000..50_000),
        26 => rng.within(33_000..90_000),
        _ => rng.within(90_000..250_000),
    }
}

fn requests(rng: &mut Rng, steps: &mut Vec<Step>, is_crowd: bool) {
    let pipelines = rng.chance(500);
    for _ in 0..rng.within(1..if is_crowd { 3 } else { 7 }) {
        let request = request(rng, is_crowd);
        let ends = ends(&Step::Request(request.clone()));
        steps.push(Step::Request(request));
        if !pipelines || rng.chance(100) {
            steps.push(Step::Await);
        }
        match rng.below(12) {
            0 => steps.push(Step::Wait { ms: rng.below(1_500) as u32 }),
            // Bytes behind the last response.
            _ if ends && rng.chance(800) => return,
            _ => {}
        }
    }
    if rng.chance(700) {
        steps.push(Step::Await);
    }
}

fn request(rng: &mut Rng, is_crowd: bool) -> Request {
    let body = match rng.below(5) {
        0 | 1 => Body::None,
        2 | 3 => Body::Length(length(rng, is_crowd)),
        _ => {
            let len = length(rng, is_crowd);
            let least = (len / 100).max(1);
            Body::Chunks(len, rng.within(least..least + 5_000))
        }
    };
    let method = match body {
        Body::None if rng.chance(800) => Method::Get,
        Body::None => Method::Head,
        _ => Method::Post,
    };
    let http_1_0 = rng.chance(60) && !matches!(body, Body::Chunks(..));
    let how = match rng.below(10) {
        0..=3 => How::Whole(length(rng, is_crowd)),
        4 | 5 => How::Chunks(rng.within(0..6), length(rng, is_crowd) / 3 + 1),
        6..=8 => How::Try(length(rng, is_crowd)),
        _ if rng.chance(300) => How::Cut(rng.below(3_000)),
        _ => How::Nothing,
    };
    let has_body = !matches!(body, Body::None | Body::Length(0));
    Request {
        method,
        http_1_0,
        close: rng.chance(60),
        body,
        expect: has_body && !http_1_0 && rng.chance(150),
        target: match rng.below(12) {
            0 => Target::Nowhere,
            1 | 2 => Target::Declared,
            3 => Target::Cached,
            _ => Target::Program,
        },
        answer: Answer {
            after: match rng.below(20) {
                0 => None,
                1..=3 => Some(rng.below(2_000) as u32),
                4..=7 => Some(rng.below(10) as u32),
                _ => Some(0),
            },
            how,
            reads: rng.chance(850),
            pauses: rng.pick(&[0, 0, 0, 3, 500]),
            close: rng.chance(60),
        },
    }
}

fn web(rng: &mut Rng, steps: &mut Vec<Step>, is_crowd: bool, route: &Route) {
    let deflate = rng.chance(400);
    steps.push(Step::Upgrade { after: rng.pick(&[0, 0, 1, 300]), deflate });
    match rng.below(20) {
        0..=2 => {
            steps.pop();
            steps.push(Step::Upgrade { after: rng.pick(&[0, 1, 30]), deflate });
            let (method, body, target) = (Method::Get, Body::None, Target::Program);
            let request = request(rng, is_crowd);
            return steps.push(Step::Request(Request { method, body, target, expect: false, ..request }));
        }
        3..=16 => steps.push(Step::Await),
        _ => {}
    }
    let deflates = deflate && route.compression != 0;
    for _ in 0..rng.within(1..if is_crowd { 4 } else { 9 }) {
        match rng.below(12) {
            0 => steps.push(Step::Wait { ms: rng.below(1_500) as u32 }),
            1 => steps.push(Step::Pings { count: rng.within(1..10), len: rng.within(1..120) }),
            2 if !is_crowd && rng.chance(300) => {
                steps.push(Step::Pings { count: rng.within(200..600), len: rng.within(80..125) });
            }
            3 => steps.push(Step::Await),
            4 if !is_crowd && rng.chance(600) => {
                // Two that leave with the read.
                for len in [70_000, 40_000] {
                    let then = Vec::new();
                    steps.push(Step::Message(Message {
                        len,
                        binary: true,
                        frames: 1,
                        deflated: false,
                        then,
                    }));
                }
            }
            _ => steps.push(Step::Message(message(rng, is_crowd, deflates))),
        }
    }
    match rng.below(10) {
        0..=2 => steps.push(Step::Close { code: rng.pick(&[1000, 1001, 4000]) }),
        3 => {
            steps.push(Step::Await);
            steps.push(Step::Close { code: 1000 });
        }
        4 => steps.push(Step::End),
        5 => steps.push(Step::Reset),
        _ => steps.push(Step::Await),
    }
}

/// Joins and leaves topics, which others do as well.
fn topics(rng: &mut Rng, steps: &mut Vec<Step>) {
    steps.push(Step::Upgrade { after: 0, deflate: false });
    steps.push(Step::Await);
    for _ in 0..rng.within(2..8) {
        let mut act = || match rng.below(10) {
            0..=4 => Do::Join(rng.below(8)),
            5 => Do::Leave(rng.below(8)),
            _ => Do::Publish { topic: rng.below(8), len: rng.within(12..200), deflate: false },
        };
        let then = (0..4).map(|_| act()).collect();
        steps.push(Step::Message(Message { len: 20, binary: false, frames: 1, deflated: false, then }));
        if rng.chance(400) {
            steps.push(Step::Wait { ms: rng.below(100) as u32 });
        }
    }
    steps.push(match rng.below(4) {
        0 => Step::Close { code: 1000 },
        1 => Step::End,
        2 => Step::Reset,
        _ => Step::Await,
    });
}

/// A connection of which the program hears nothing but by `filter`.
fn brief(rng: &mut Rng, steps: &mut Vec<Step>) {
    let target = rng.pick(&[Target::Nowhere, Target::Declared]);
    let request = request(rng, true);
    steps.push(Step::Request(Request { target, close: true, expect: false, body: Body::None, ..request }));
    steps.push(Step::Await);
}

/// A response that ends the connection, and takes its time.
fn download(rng: &mut Rng, steps: &mut Vec<Step>) {
    let request = request(rng, false);
    let how = match rng.below(3) {
        0 => How::Whole(rng.within(60_000..200_000)),
        // Now and then more than is accepted at once.
        1 => How::Try(rng.pick(&[60_000, 200_000, 200_000, 1_300_000])),
        _ => How::Chunks(4, rng.within(15_000..50_000)),
    };
    let answer = Answer { after: Some(0), how, close: rng.chance(500), ..request.answer };
    let (method, body, target) = (Method::Get, Body::None, Target::Program);
    let close = !answer.close;
    steps.push(Step::Request(Request { method, body, target, answer, close, expect: false, ..request }));
    steps.push(Step::Await);
}

fn message(rng: &mut Rng, is_crowd: bool, deflates: bool) -> Message {
    let len = length(rng, is_crowd);
    let then = (0..rng.below(4)).map(|_| act(rng, is_crowd)).collect();
    Message {
        len,
        binary: rng.chance(500),
        frames: if rng.chance(200) { rng.within(2..6) } else { 1 },
        deflated: deflates && rng.chance(600),
        then,
    }
}

fn act(rng: &mut Rng, is_crowd: bool) -> Do {
    let deflate = rng.chance(300);
    match rng.below(30) {
        0..=9 => Do::Send { len: length(rng, is_crowd), binary: rng.chance(500), deflate },
        10 | 11 => Do::Fragments { count: rng.within(2..5), len: length(rng, is_crowd) / 4, deflate },
        12 => Do::Ping,
        13..=17 => Do::Publish { topic: rng.below(6), len: length(rng, is_crowd).clamp(12, 40_000), deflate },
        18..=23 => Do::Join(rng.below(6)),
        24..=26 => Do::Leave(rng.below(6)),
        27 => Do::End(rng.pick(&[1000, 1011, 4001])),
        28 if rng.chance(500) => Do::Close,
        _ => Do::Send { len: rng.below(100), binary: false, deflate },
    }
}

fn acts(rng: &mut Rng, script: &mut Script, is_crowd: bool) {
    for _ in 0..rng.below(5) {
        let at = rng.below(3_000) as u32;
        let act = match rng.below(24) {
            0..=6 => Act::Publish {
                topic: rng.below(4),
                len: length(rng, is_crowd).clamp(12, 60_000),
                count: rng.pick(&[1, 1, 3, 20]),
                deflate: rng.chance(300),
            },
            7 => {
                // Many to few, and large ones to many.
                let (len, count) = rng.pick(&[(12, 6_000), (7_000, 12)]);
                Act::Publish { topic: 0, len, count, deflate: false }
            }
            8 | 9 => {
                script.acts.push((at + rng.below(50) as u32, Act::Listen));
                Act::CloseApp
            }
            10 => {
                script.acts.push((at + rng.below(50) as u32, Act::Listen));
                Act::CloseListener
            }
            11..=13 => Act::Replace,
            14..=16 => Act::Freeze { ms: rng.within(500..20_000) as u32 },
            17..=19 => Act::Busy { ms: rng.within(1..3_000) as u32 },
            20 => Act::NoDescriptors { accepts: rng.within(1..5) },
            _ => Act::Refill { batches: 200 },
        };
        script.acts.push((at, act));
    }
    if rng.chance(250) {
        script.acts.push((rng.below(40) as u32, Act::Busy { ms: rng.within(10..400) as u32 }));
    }
    script.acts.sort_by_key(|(at, _)| *at);
}
