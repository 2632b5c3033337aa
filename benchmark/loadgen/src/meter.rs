//! The clock of a run (setup, warm-up, measuring, draining) and its counts while measuring.

use std::time::Duration;

use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

use crate::net::Net;
use crate::options::Options;
use crate::{Failure, Result};

#[derive(Clone, Copy, PartialEq, PartialOrd, Debug)]
pub enum Phase {
    /// Connecting and subscribing.
    Setup,
    Warmup,
    Measuring,
    /// No new work; every reply that is due must still come.
    Draining,
}

pub struct Meter {
    warmup_ns: u64,
    measure_ns: u64,
    phase: Phase,
    phase_end: u64,
    start: Snapshot,
    end: Snapshot,
    count: u64,
    latency: Histogram<u64>,
}

#[derive(Clone, Copy, Default)]
struct Snapshot {
    at: u64,
    cpu_ns: u64,
    traffic: (u64, u64),
}

impl Meter {
    pub fn new(options: &mut Options) -> Result<Self> {
        let warmup: f64 = options.take_or("warmup", 1.0)?;
        let measure: f64 = options.take_or("seconds", 3.0)?;
        if !(warmup >= 0.0 && measure > 0.0) {
            return Err(Failure::Usage("--warmup and --seconds must be positive".into()));
        }
        Ok(Meter {
            warmup_ns: (warmup * 1e9) as u64,
            measure_ns: (measure * 1e9) as u64,
            phase: Phase::Setup,
            phase_end: SETUP_TIMEOUT_NS,
            start: Snapshot::default(),
            end: Snapshot::default(),
            count: 0,
            latency: histogram(),
        })
    }

    /// Called when everything is connected: begins the warm-up.
    pub fn begin(&mut self, now: u64) {
        self.phase = Phase::Warmup;
        self.phase_end = now + self.warmup_ns;
    }

    /// Moves on to the phase of this moment; fails when replies or connections are overdue.
    pub fn advance(&mut self, net: &Net, now: u64) -> Result<Phase> {
        if now < self.phase_end {
            return Ok(self.phase);
        }
        match self.phase {
            Phase::Setup => return Err(Failure::Server("connecting or subscribing took too long".into())),
            Phase::Warmup => {
                self.phase = Phase::Measuring;
                self.phase_end = now + self.measure_ns;
                self.start = Snapshot::take(net, now);
                eprintln!("measure-start");
            }
            Phase::Measuring => {
                self.phase = Phase::Draining;
                self.phase_end = now + DRAIN_TIMEOUT_NS;
                self.end = Snapshot::take(net, now);
                eprintln!("measure-end");
            }
            Phase::Draining => return Err(Failure::Server("replies are missing: lost or very late".into())),
        }
        Ok(self.phase)
    }

    /// Whether new work may be sent.
    pub fn sending(&self) -> bool {
        matches!(self.phase, Phase::Warmup | Phase::Measuring)
    }

    pub fn phase(&self) -> Phase {
        self.phase
    }

    pub fn deadline(&self) -> u64 {
        self.phase_end
    }

    /// Records a reply to a request that was sent, or due to be sent, at `since`.
    pub fn record(&mut self, since: u64, now: u64) {
        if self.phase != Phase::Measuring {
            return;
        }
        self.count += 1;
        self.latency.saturating_record(now.saturating_sub(since));
    }

    /// The part of the report all modes share.
    pub fn report(&self, net: &Net) -> Value {
        let seconds = (self.end.at - self.start.at) as f64 / 1e9;
        let cpu = (self.end.cpu_ns - self.start.cpu_ns) as f64 / 1e9 / seconds;
        let per_second = |from: u64, to: u64| ((to - from) as f64 / seconds).round();
        json!({
            "connections": net.count(),
            "seconds": seconds,
            "messages": self.count,
            "rate": (self.count as f64 / seconds).round(),
            "bytes_in_per_s": per_second(self.start.traffic.0, self.end.traffic.0),
            "bytes_out_per_s": per_second(self.start.traffic.1, self.end.traffic.1),
            "latency_us": quantiles(&self.latency),
            "generator_cpu": (cpu * 1000.0).round() / 1000.0,
            "generator_limited": cpu >= GENERATOR_LIMIT,
            "tls": net.negotiated(),
        })
    }
}

impl Snapshot {
    fn take(net: &Net, now: u64) -> Self {
        Snapshot { at: now, cpu_ns: cpu_ns(), traffic: net.traffic() }
    }
}

pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_NS, 3).expect("1 to 60 s at three digits is a valid range")
}

/// Quantiles of nanoseconds, in microseconds.
pub fn quantiles(latency: &Histogram<u64>) -> Value {
    let micros = |ns: f64| (ns / 10.0).round() / 100.0;
    let at = |quantile| micros(latency.value_at_quantile(quantile) as f64);
    json!({
        "mean": micros(latency.mean()),
        "p50": at(0.5),
        "p99": at(0.99),
        "p999": at(0.999),
        "max": micros(latency.max() as f64),
    })
}

/// CPU time of this process so far.
pub fn cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// From this share of a core on the generator itself may limit the result.
pub const GENERATOR_LIMIT: f64 = 0.95;

const SETUP_TIMEOUT_NS: u64 = Duration::from_secs(60).as_nanos() as u64;
const DRAIN_TIMEOUT_NS: u64 = Duration::from_secs(10).as_nanos() as u64;
const LONGEST_NS: u64 = Duration::from_secs(60).as_nanos() as u64;
