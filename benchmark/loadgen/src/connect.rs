//! `ws-storm` measures how fast connections are accepted and upgraded. `ws-idle` makes connections that stay
//! open until stdin ends, each with one subscription; it reports when all of them are open.

use std::io::Read;
use std::thread;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::content::Content;
use crate::meter::{GENERATOR_LIMIT, cpu_ns, histogram, quantiles};
use crate::net::{Load, Net, Target, Turn, run as run_net};
use crate::options::Options;
use crate::ws::{self, Masks};
use crate::{Failure, Result};

pub fn run_storm(options: &mut Options) -> Result<Value> {
    let (target, content) = target(options, 10_000)?;
    options.finish()?;
    let mut net = Net::new(target)?;
    let mut load = Storm { content, masks: Masks::new(), last: 0, cpu_ns: 0, latency: histogram() };
    let cpu_start = cpu_ns();
    eprintln!("measure-start");
    run_net(&mut net, &mut load)?;
    eprintln!("measure-end");
    let seconds = load.last as f64 / 1e9;
    let cpu = (load.cpu_ns - cpu_start) as f64 / 1e9 / seconds;
    Ok(json!({
        "connections": net.count(),
        "seconds": seconds,
        "messages": net.count(),
        "rate": (net.count() as f64 / seconds).round(),
        "latency_us": quantiles(&load.latency),
        "generator_cpu": (cpu * 1000.0).round() / 1000.0,
        "generator_limited": cpu >= GENERATOR_LIMIT,
    }))
}

pub fn run_idle(options: &mut Options) -> Result<Value> {
    let (target, content) = target(options, 1000)?;
    options.finish()?;
    let mut net = Net::new(target)?;
    let waker = net.waker()?;
    let held = thread::spawn(move || {
        let mut sink = Vec::new();
        // An error on stdin is an end of it as well.
        let _ = std::io::stdin().read_to_end(&mut sink);
        waker.wake()
    });
    let mut load = Idle { content, masks: Masks::new(), subscribed: 0, holder: Some(held), pings: 0 };
    run_net(&mut net, &mut load)?;
    Ok(json!({ "connections": net.count(), "pings": load.pings, "done": true }))
}

fn target(options: &mut Options, count: usize) -> Result<(Target, Content)> {
    let count = options.take_count("connections", count)?;
    let content = Content::take(options, 256, true)?;
    Ok((Target::websocket(options, count, 128, &content)?, content))
}

struct Storm {
    content: Content,
    masks: Masks,
    /// The time at which the last connection was open.
    last: u64,
    /// CPU time used by then.
    cpu_ns: u64,
    /// From connecting to the answer of the upgrade.
    latency: Histogram<u64>,
}

impl Load for Storm {
    fn opened(&mut self, net: &mut Net, conn: usize) -> Result<()> {
        self.last = net.now();
        self.latency.saturating_record(self.last - net.since(conn));
        Ok(())
    }

    fn received(&mut self, net: &mut Net, conn: usize, input: &[u8], _now: u64) -> Result<usize> {
        let mut used = 0;
        while let Some((frame, size)) = ws::parse_frame(&input[used..])? {
            used += size;
            if !self.content.pong(&frame, net, conn, &mut self.masks) {
                return Err(Failure::Server(format!("connection {conn}: a message nobody asked for")));
            }
        }
        Ok(used)
    }

    fn turn(&mut self, net: &mut Net, now: u64) -> Result<Turn> {
        if net.all_open() {
            self.cpu_ns = cpu_ns();
            return Ok(Turn::Done);
        }
        timed_out(now, STORM_TIMEOUT_NS)?;
        Ok(Turn::Until(STORM_TIMEOUT_NS))
    }
}

struct Idle {
    content: Content,
    masks: Masks,
    subscribed: usize,
    holder: Option<thread::JoinHandle<std::io::Result<()>>>,
    pings: u64,
}

impl Load for Idle {
    fn opened(&mut self, net: &mut Net, conn: usize) -> Result<()> {
        self.content.subscribe(net.out(conn), self.masks.next());
        Ok(())
    }

    fn received(&mut self, net: &mut Net, conn: usize, input: &[u8], _now: u64) -> Result<usize> {
        let mut used = 0;
        while let Some((frame, size)) = ws::parse_frame(&input[used..])? {
            used += size;
            match frame.opcode {
                ws::CLOSE => return Err(ws::closed(&frame)),
                _ if self.content.pong(&frame, net, conn, &mut self.masks) => self.pings += 1,
                _ if self.content.is_subscribed(&frame) => {
                    self.subscribed += 1;
                    if self.subscribed == net.count() {
                        println!("{}", json!({ "connections": net.count() }))
                    }
                }
                _ => return Err(Failure::Server(format!("connection {conn}: a message nobody asked for"))),
            }
        }
        Ok(used)
    }

    fn turn(&mut self, net: &mut Net, now: u64) -> Result<Turn> {
        if self.subscribed < net.count() {
            timed_out(now, STORM_TIMEOUT_NS)?
        }
        match self.holder.take_if(|holder| holder.is_finished()) {
            Some(_) => Ok(Turn::Done),
            // The waker ends the sleep; looking again every second covers a wake that came a moment too
            // early.
            None => Ok(Turn::Until(now + 1_000_000_000)),
        }
    }
}

fn timed_out(now: u64, limit: u64) -> Result<()> {
    match now < limit {
        true => Ok(()),
        false => {
            Err(Failure::Server(format!("not all connections were open after {} s", limit / 1_000_000_000)))
        }
    }
}

const STORM_TIMEOUT_NS: u64 = 60_000_000_000;
