//! `ws-echo`: messages (or pings) that come back. Closed loop with a pipeline per connection, or open loop
//! with a rate. Every reply must have the opcode, the length and every byte of the oldest message in flight.

use std::collections::VecDeque;

use serde_json::{Value, json};

use crate::content::Content;
use crate::meter::{Meter, Phase};
use crate::net::{Load, Net, Target, Turn, run as run_net};
use crate::options::Options;
use crate::payload::excerpt;
use crate::schedule::Schedule;
use crate::ws::{self, Frame, Masks};
use crate::{Failure, Result};

pub fn run(options: &mut Options) -> Result<Value> {
    let count = options.take_count("connections", 1)?;
    let pipeline = options.take_count("pipeline", 1)?;
    let kind = options.take_or("opcode", "text".to_owned())?;
    let content = Content::take(options, 20, kind == "text")?;
    let (opcode, reply) = match kind.as_str() {
        "text" => (ws::TEXT, ws::TEXT),
        "binary" if content.is_binary() => (ws::BINARY, ws::BINARY),
        "ping" if content.is_binary() && content.size() <= 125 => (ws::PING, ws::PONG),
        other => return Err(Failure::Usage(format!("--opcode cannot be {other} with this content"))),
    };
    let target = Target::websocket(options, count, 64, &content)?;
    let mut load = Echo {
        conns: (0..count).map(|_| Conn::default()).collect(),
        pipeline,
        content,
        opcode,
        reply,
        masks: Masks::new(),
        meter: Meter::new(options)?,
        schedule: Schedule::new(options)?,
        in_flight: 0,
    };
    options.finish()?;
    let mut net = Net::new(target)?;
    run_net(&mut net, &mut load)?;
    let mut report = load.meter.report(&net);
    load.content.report(&mut report);
    match &load.schedule {
        Some(schedule) => schedule.report(&mut report),
        None => report["pipeline"] = json!(pipeline),
    }
    Ok(report)
}

struct Echo {
    conns: Vec<Conn>,
    pipeline: usize,
    content: Content,
    opcode: u8,
    reply: u8,
    masks: Masks,
    meter: Meter,
    schedule: Option<Schedule>,
    in_flight: usize,
}

#[derive(Default)]
struct Conn {
    sent: u64,
    answered: u64,
    /// Times of the messages in flight, oldest first.
    since: VecDeque<u64>,
}

impl Echo {
    fn send(&mut self, net: &mut Net, conn: usize, since: u64) {
        let entry = &mut self.conns[conn];
        let stamp = stamp(conn, entry.sent);
        entry.sent += 1;
        entry.since.push_back(since);
        self.in_flight += 1;
        self.content.append(net.out(conn), self.opcode, stamp, self.masks.next());
    }

    fn start(&mut self, net: &mut Net, now: u64) {
        self.meter.begin(now);
        match &mut self.schedule {
            Some(schedule) => schedule.begin(now),
            None => {
                for conn in 0..self.conns.len() {
                    for _ in 0..self.pipeline {
                        self.send(net, conn, now);
                    }
                }
            }
        }
    }

    fn answered(&mut self, net: &Net, conn: usize, frame: &Frame<'_>, now: u64) -> Result<()> {
        let entry = &mut self.conns[conn];
        let stamp = stamp(conn, entry.answered);
        let Some(since) = entry.since.pop_front() else {
            return Err(Failure::Server(format!("connection {conn}: reply nobody waits for")));
        };
        if !self.content.matches(net, conn, frame, self.reply, stamp)? {
            return Err(Failure::Server(format!(
                "connection {conn}, message {}: opcode {} with {} instead of opcode {} with {}",
                entry.answered,
                frame.opcode,
                excerpt(frame.payload),
                self.reply,
                self.content.expected(stamp)
            )));
        }
        entry.answered += 1;
        self.in_flight -= 1;
        self.meter.record(since, now);
        Ok(())
    }
}

impl Load for Echo {
    fn opened(&mut self, net: &mut Net, _conn: usize) -> Result<()> {
        if net.all_open() {
            let now = net.now();
            self.start(net, now);
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
                _ => {
                    self.answered(net, conn, &frame, now)?;
                    if self.schedule.is_none() && self.meter.sending() {
                        self.send(net, conn, now)
                    }
                }
            }
        }
        Ok(used)
    }

    fn turn(&mut self, net: &mut Net, now: u64) -> Result<Turn> {
        let phase = self.meter.advance(net, now)?;
        if phase == Phase::Draining && self.in_flight == 0 {
            return Ok(Turn::Done);
        }
        if !self.meter.sending() || self.schedule.is_none() {
            return Ok(Turn::Until(self.meter.deadline()));
        }
        while let Some((number, due)) = self.schedule.as_mut().and_then(|schedule| schedule.pop(now)) {
            self.send(net, number as usize % self.conns.len(), due);
        }
        let next = self.schedule.as_ref().map_or(u64::MAX, Schedule::next);
        Ok(Turn::Until(next.min(self.meter.deadline())))
    }
}

/// Connection and number in one stamp, so that a reply on the wrong connection is seen.
fn stamp(conn: usize, number: u64) -> u64 {
    (conn as u64) << 40 | number
}
