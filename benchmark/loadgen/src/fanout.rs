//! `ws-publish` and `ws-mixed`: senders whose messages the server publishes to all subscribers.
//!
//! Work goes in rounds: in each, every sender sends a burst, and the round is over when every subscriber has
//! every message of it. `ws-publish` is one sender that subscribes to nothing, `ws-mixed` some of the
//! subscribers. Per subscriber and sender the messages must come complete and in order. Slow subscribers
//! (`--slow N`) come in addition: they ask for more than the kernel takes and read nothing. The run expects
//! nothing of them.

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::content::Content;
use crate::meter::{Meter, Phase, histogram, quantiles};
use crate::net::{Load, Net, Target, Turn, run as run_net};
use crate::options::Options;
use crate::payload::{STAMP, excerpt};
use crate::ws::{self, Frame, Masks};
use crate::{Failure, Result};

/// A slow subscriber sends this to ask for so many bytes at once that it has a backlog from then on.
const FILL: &[u8] = b"fill";

pub fn run_publish(options: &mut Options) -> Result<Value> {
    let subscribers = options.take_count("subscribers", 1000)?;
    let shape = Shape {
        subscribers,
        first_sender: subscribers,
        senders: 1,
        slow: options.take_or("slow", 0)?,
        burst: 1,
        rounds_in_flight: options.take_count("in-flight", 4)?,
    };
    run(options, shape)
}

pub fn run_mixed(options: &mut Options) -> Result<Value> {
    let shape = Shape {
        subscribers: options.take_count("clients", 50)?,
        first_sender: 0,
        slow: 0,
        senders: options.take_count("senders", 10)?,
        burst: options.take_count("burst", 50)?,
        rounds_in_flight: options.take_count("in-flight", 1)?,
    };
    if shape.senders > shape.subscribers {
        return Err(Failure::Usage("more --senders than --clients".into()));
    }
    run(options, shape)
}

fn run(options: &mut Options, shape: Shape) -> Result<Value> {
    let content = Content::take(options, 100, true)?;
    if !content.is_distinct() {
        return Err(Failure::Usage(format!("--size must be at least {STAMP}")));
    }
    if content.is_compressed() && shape.senders > 1 {
        return Err(Failure::Usage("compressed messages tell no sender: one only".into()));
    }
    let target = Target::websocket(options, shape.first_slow() + shape.slow, 128, &content)?;
    let mut load = Fanout {
        content,
        masks: Masks::new(),
        meter: Meter::new(options)?,
        complete: histogram(),
        subscribed: 0,
        expected: vec![0; shape.subscribers * shape.senders],
        rounds: vec![Round::default(); shape.rounds_in_flight],
        started: 0,
        finished: 0,
        shape,
    };
    options.finish()?;
    let mut net = Net::new(target)?;
    run_net(&mut net, &mut load)?;
    let mut report = load.meter.report(&net);
    load.content.report(&mut report);
    report["subscribers"] = json!(load.shape.subscribers);
    report["published"] = json!(load.finished * load.shape.messages_per_round() as u64);
    report["last_latency_us"] = quantiles(&load.complete);
    Ok(report)
}

struct Shape {
    subscribers: usize,
    first_sender: usize,
    senders: usize,
    /// The number of slow subscribers, which are the last connections.
    slow: usize,
    burst: usize,
    rounds_in_flight: usize,
}

impl Shape {
    fn first_slow(&self) -> usize {
        self.subscribers.max(self.first_sender + self.senders)
    }

    fn messages_per_round(&self) -> usize {
        self.senders * self.burst
    }

    fn deliveries_per_round(&self) -> usize {
        self.messages_per_round() * self.subscribers
    }
}

struct Fanout {
    shape: Shape,
    content: Content,
    masks: Masks,
    meter: Meter,
    /// From the start of a round to its last delivery.
    complete: Histogram<u64>,
    subscribed: usize,
    /// Next message number by subscriber and sender.
    expected: Vec<u64>,
    /// Rounds in flight: round `n` is at `n % rounds_in_flight`.
    rounds: Vec<Round>,
    started: u64,
    finished: u64,
}

#[derive(Clone, Default)]
struct Round {
    since: u64,
    missing: usize,
}

impl Fanout {
    fn start_rounds(&mut self, net: &mut Net, now: u64) {
        while self.meter.sending() && self.started - self.finished < self.rounds.len() as u64 {
            let slot = self.started as usize % self.rounds.len();
            // Rounds may end out of order when senders overtake each other; a slot is free only after its own
            // end.
            if self.rounds[slot].missing > 0 {
                return;
            }
            self.rounds[slot] = Round { since: now, missing: self.shape.deliveries_per_round() };
            let first = self.started * self.shape.burst as u64;
            self.started += 1;
            for sender in 0..self.shape.senders {
                for number in first..first + self.shape.burst as u64 {
                    let stamp = (sender as u64) << NUMBER_BITS | number;
                    let out = net.out(self.shape.first_sender + sender);
                    self.content.append(out, ws::TEXT, stamp, self.masks.next());
                }
            }
        }
    }

    fn subscribed(&mut self, net: &mut Net, conn: usize) {
        self.subscribed += 1;
        if conn >= self.shape.first_slow() {
            net.pause(conn)
        }
        if self.subscribed == self.shape.subscribers + self.shape.slow && net.all_open() {
            self.begin(net)
        }
    }

    fn begin(&mut self, net: &mut Net) {
        let now = net.now();
        self.meter.begin(now);
        self.start_rounds(net, now);
    }

    fn delivered(&mut self, net: &mut Net, conn: usize, frame: &Frame<'_>, now: u64) -> Result<()> {
        let wrong = |what: &str| {
            let shown = excerpt(frame.payload);
            Failure::Server(format!("subscriber {conn}: {what}: opcode {}, {shown}", frame.opcode))
        };
        if conn >= self.shape.subscribers {
            return Err(wrong("delivered to who did not subscribe"));
        }
        // It is used only if there is one sender.
        let next = self.expected[conn * self.shape.senders];
        let Some(stamp) = self.content.stamp_of(net, conn, frame, next)? else {
            return Err(wrong("wrong content"));
        };
        let (sender, number) = ((stamp >> NUMBER_BITS) as usize, stamp & ((1 << NUMBER_BITS) - 1));
        let round = number / self.shape.burst as u64;
        if sender >= self.shape.senders || round >= self.started {
            return Err(wrong("never sent"));
        }
        let expected = &mut self.expected[conn * self.shape.senders + sender];
        if number != *expected {
            return Err(wrong(&format!("number {number} instead of {expected}")));
        }
        *expected += 1;
        let slot = round as usize % self.rounds.len();
        let entry = &mut self.rounds[slot];
        entry.missing -= 1;
        self.meter.record(entry.since, now);
        if entry.missing == 0 {
            if self.meter.phase() == Phase::Measuring {
                self.complete.saturating_record(now.saturating_sub(entry.since));
            }
            self.finished += 1;
            self.start_rounds(net, now);
        }
        Ok(())
    }
}

impl Load for Fanout {
    fn opened(&mut self, net: &mut Net, conn: usize) -> Result<()> {
        let slow = conn >= self.shape.first_slow();
        if conn < self.shape.subscribers || slow {
            self.content.subscribe(net.out(conn), self.masks.next());
        }
        if slow {
            ws::append_frame(net.out(conn), ws::TEXT, FILL, self.masks.next());
        } else if net.all_open() && self.subscribed == self.shape.subscribers + self.shape.slow {
            self.begin(net);
        }
        Ok(())
    }

    fn received(&mut self, net: &mut Net, conn: usize, input: &[u8], now: u64) -> Result<usize> {
        let mut used = 0;
        while let Some((frame, size)) = ws::parse_frame(&input[used..])? {
            used += size;
            match frame.opcode {
                ws::CLOSE => return Err(ws::closed(&frame)),
                _ if self.content.pong(&frame, net, conn, &mut self.masks) => {}
                _ if self.meter.phase() == Phase::Setup && self.content.is_subscribed(&frame) => {
                    self.subscribed(net, conn);
                    if conn >= self.shape.first_slow() {
                        return Ok(input.len());
                    }
                }
                _ => self.delivered(net, conn, &frame, now)?,
            }
        }
        Ok(used)
    }

    fn turn(&mut self, net: &mut Net, now: u64) -> Result<Turn> {
        let phase = self.meter.advance(net, now)?;
        if phase == Phase::Draining && self.started == self.finished {
            return Ok(Turn::Done);
        }
        Ok(Turn::Until(self.meter.deadline()))
    }
}

/// Bits of a stamp that are the number; the bits above are the sender.
const NUMBER_BITS: u32 = 48;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Payload;

    fn fanout() -> (Fanout, Net) {
        let mut options = Options::parse(std::iter::empty()).unwrap();
        let shape =
            Shape { subscribers: 2, first_sender: 0, senders: 2, slow: 0, burst: 2, rounds_in_flight: 1 };
        let mut aim = Options::parse(["--port", "1"].map(str::to_owned).into_iter()).unwrap();
        let target = Target::http(&mut aim, 2, 1).unwrap();
        let load = Fanout {
            content: Content::Stamped(Payload::new(20, true)),
            masks: Masks::new(),
            meter: Meter::new(&mut options).unwrap(),
            complete: histogram(),
            subscribed: 2,
            expected: vec![0; 4],
            rounds: vec![Round { since: 0, missing: 8 }],
            started: 1,
            finished: 0,
            shape,
        };
        (load, Net::new(target).unwrap())
    }

    fn deliver(load: &mut Fanout, net: &mut Net, conn: usize, sender: u64, number: u64) -> Result<()> {
        let payload = Payload::new(20, true).stamped(sender << NUMBER_BITS | number).to_vec();
        load.delivered(net, conn, &Frame { opcode: ws::TEXT, payload: &payload }, 1)
    }

    #[test]
    fn a_round_ends_with_its_last_delivery() {
        let (mut load, mut net) = fanout();
        for (conn, sender) in [(0, 0), (1, 1), (1, 0), (0, 1)] {
            assert_eq!(load.finished, 0);
            deliver(&mut load, &mut net, conn, sender, 0).unwrap();
            deliver(&mut load, &mut net, conn, sender, 1).unwrap();
        }
        assert_eq!(load.finished, 1);
    }

    #[test]
    fn gaps_repeats_and_strangers_are_failures() {
        let (mut load, mut net) = fanout();
        deliver(&mut load, &mut net, 0, 0, 0).unwrap();
        assert!(deliver(&mut load, &mut net, 0, 0, 0).is_err(), "repeat");
        assert!(deliver(&mut load, &mut net, 1, 0, 1).is_err(), "gap");
        assert!(deliver(&mut load, &mut net, 0, 0, 2).is_err(), "round not started");
        assert!(deliver(&mut load, &mut net, 0, 2, 0).is_err(), "no such sender");
        assert!(deliver(&mut load, &mut net, 2, 0, 0).is_err(), "no subscriber");
    }
}
