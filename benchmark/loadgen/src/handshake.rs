//! `handshake`: TLS connections that are made, used for one request at most, and made again. Full handshakes,
//! or (`--resume true`) resumed ones, of which every one must be. Closed loop, or open loop with a rate.
//!
//! With a request the unit is connecting, handshake, request and response; a reset ends it. Tickets come
//! before the response, so each connection can take up where the one before left off. Without one
//! (`--request false`) the unit ends with the client's half of the handshake, which a server can do while its
//! JavaScript is busy.

use memchr::memmem;
use serde_json::Value;

use crate::http::content_length;
use crate::meter::{Meter, Phase};
use crate::net::{Load, Net, Target, Turn, run as run_net};
use crate::options::Options;
use crate::payload::excerpt;
use crate::schedule::Schedule;
use crate::{Failure, Result};

pub fn run(options: &mut Options) -> Result<Value> {
    let count = options.take_count("connections", 16)?;
    let resume = options.take_or("resume", false)?;
    if resume {
        options.put("resume", "true")
    }
    let with_request = options.take_or("request", true)?;
    let path = options.take_or("path", "/".to_owned())?;
    let target = Target::http(options, count, count)?;
    let mut load = Handshakes {
        slots: (0..count).map(|_| Slot::default()).collect(),
        request: with_request.then(|| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes()),
        expected: options.take_or("expect-body", "Hello World!".to_owned())?,
        resume,
        begun: false,
        busy: count,
        meter: Meter::new(options)?,
        schedule: Schedule::new(options)?,
    };
    options.finish()?;
    let mut net = Net::new(target)?;
    run_net(&mut net, &mut load)?;
    let mut report = load.meter.report(&net);
    if let Some(schedule) = &load.schedule {
        schedule.report(&mut report)
    }
    Ok(report)
}

struct Handshakes {
    slots: Vec<Slot>,
    request: Option<Vec<u8>>,
    expected: String,
    resume: bool,
    begun: bool,
    /// Slots with a connection under way.
    busy: usize,
    meter: Meter,
    schedule: Option<Schedule>,
}

#[derive(Default)]
struct Slot {
    /// Connections that have had their response.
    done: u64,
    /// The time at which the connection was due; `None` while there is nothing to do.
    since: Option<u64>,
}

impl Handshakes {
    /// Called when a connection has finished its unit.
    fn done(&mut self, net: &mut Net, conn: usize, now: u64) -> Result<()> {
        let slot = &mut self.slots[conn];
        slot.done += 1;
        self.busy -= 1;
        if let Some(since) = slot.since.take() {
            self.meter.record(since, now)
        }
        if !self.begun {
            self.begin(net, now)?
        } else if self.schedule.is_none() && self.meter.sending() {
            self.again(net, conn, now)?
        }
        Ok(())
    }

    /// Called when every slot has had a first connection, which cannot be a resumed one.
    fn begin(&mut self, net: &mut Net, now: u64) -> Result<()> {
        if self.busy > 0 {
            return Ok(());
        }
        self.begun = true;
        self.meter.begin(now);
        match &mut self.schedule {
            Some(schedule) => schedule.begin(now),
            None => {
                for conn in 0..self.slots.len() {
                    self.again(net, conn, now)?
                }
            }
        }
        Ok(())
    }

    fn again(&mut self, net: &mut Net, conn: usize, since: u64) -> Result<()> {
        self.slots[conn].since = Some(since);
        self.busy += 1;
        net.reconnect(conn, self.request.is_some())
    }

    /// Size of a whole and right response; `None` means more is needed.
    fn response(&self, conn: usize, input: &[u8]) -> Result<Option<usize>> {
        let wrong = || Failure::Server(format!("connection {conn}: wrong response: {}", excerpt(input)));
        let Some(end) = memmem::find(input, b"\r\n\r\n") else { return Ok(None) };
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut response = httparse::Response::new(&mut headers);
        response.parse(input).map_err(|_| wrong())?;
        if response.code != Some(200) || content_length(response.headers, false) != Some(self.expected.len())
        {
            return Err(wrong());
        }
        let Some(body) = input[end + 4..].get(..self.expected.len()) else { return Ok(None) };
        if body != self.expected.as_bytes() {
            return Err(wrong());
        }
        Ok(Some(end + 4 + body.len()))
    }
}

impl Load for Handshakes {
    fn opened(&mut self, net: &mut Net, conn: usize) -> Result<()> {
        let Some(session) = net.session(conn) else { return Err(Failure::Usage("--tls is missing".into())) };
        let must_resume = self.resume && self.slots[conn].done > 0;
        if session.resumed() != Some(must_resume) {
            let how = if must_resume { "not resumed" } else { "resumed without a ticket" };
            return Err(Failure::Server(format!("connection {conn}: handshake {how}")));
        }
        match &self.request {
            Some(request) => net.out(conn).extend_from_slice(request),
            None => {
                let now = net.now();
                self.done(net, conn, now)?
            }
        }
        Ok(())
    }

    fn received(&mut self, net: &mut Net, conn: usize, input: &[u8], now: u64) -> Result<usize> {
        let Some(size) = self.response(conn, input)? else { return Ok(0) };
        if size < input.len() {
            return Err(Failure::Server(format!("connection {conn}: more than one response")));
        }
        self.done(net, conn, now)?;
        Ok(size)
    }

    fn turn(&mut self, net: &mut Net, now: u64) -> Result<Turn> {
        let phase = self.meter.advance(net, now)?;
        if phase == Phase::Draining && self.busy == 0 {
            return Ok(Turn::Done);
        }
        if !self.meter.sending() || self.schedule.is_none() {
            return Ok(Turn::Until(self.meter.deadline()));
        }
        while let Some(idle) = self.slots.iter().position(|slot| slot.since.is_none()) {
            let due = self.schedule.as_mut().and_then(|schedule| schedule.pop(now));
            let Some((_, due)) = due else {
                let next = self.schedule.as_ref().map_or(u64::MAX, Schedule::next);
                return Ok(Turn::Until(next.min(self.meter.deadline())));
            };
            self.again(net, idle, due)?
        }
        // A unit that is due waits until a connection is free, and this wait counts as latency.
        Ok(Turn::Until(self.meter.deadline()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handshakes() -> Handshakes {
        let mut options = Options::parse(std::iter::empty()).unwrap();
        Handshakes {
            slots: vec![Slot::default()],
            request: None,
            expected: "hello".into(),
            resume: false,
            begun: false,
            busy: 1,
            meter: Meter::new(&mut options).unwrap(),
            schedule: None,
        }
    }

    #[test]
    fn responses_are_checked_as_a_whole() {
        let good = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        let check = |text: &str| handshakes().response(0, text.as_bytes());
        assert_eq!(check(good).unwrap(), Some(good.len()));
        for cut in 0..good.len() {
            assert_eq!(check(&good[..cut]).unwrap(), None, "{cut}");
        }
        assert!(check(&good.replace("hello", "hullo")).is_err());
        assert!(check(&good.replace("200", "404")).is_err());
        assert!(check(&good.replace(": 5", ": 6")).is_err());
    }
}
