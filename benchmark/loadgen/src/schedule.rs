//! Open loop: each request is due at a fixed time, whatever the server does meanwhile. Latency counts from
//! that time, so a server that stalls cannot hide it by delaying the requests too (coordinated omission).

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::meter::{histogram, quantiles};
use crate::options::Options;
use crate::{Failure, Result};

pub struct Schedule {
    rate: f64,
    start: u64,
    sent: u64,
    lag: Histogram<u64>,
}

impl Schedule {
    pub fn new(options: &mut Options) -> Result<Option<Self>> {
        match options.take::<f64>("rate")? {
            None => Ok(None),
            Some(rate) if rate > 0.0 => Ok(Some(Schedule { rate, start: 0, sent: 0, lag: histogram() })),
            Some(rate) => Err(Failure::Usage(format!("--rate cannot be {rate}"))),
        }
    }

    pub fn begin(&mut self, now: u64) {
        self.start = now;
    }

    /// The time at which the next request is due.
    pub fn next(&self) -> u64 {
        self.start + (self.sent as f64 * 1e9 / self.rate) as u64
    }

    /// The number and due time of a request to send now, if one is due.
    pub fn pop(&mut self, now: u64) -> Option<(u64, u64)> {
        let due = self.next();
        if due > now {
            return None;
        }
        let number = self.sent;
        self.sent += 1;
        self.lag.saturating_record(now - due);
        Some((number, due))
    }

    /// Adds to the report. Here the generator is the limit if its lateness shows in the result, however
    /// little CPU it uses.
    pub fn report(&self, report: &mut Value) {
        let late_us = self.lag.value_at_quantile(0.99) as f64 / 1000.0;
        let measured_us = report["latency_us"]["p99"].as_f64().unwrap_or(0.0);
        report["target_rate"] = json!(self.rate);
        report["send_lag_us"] = quantiles(&self.lag);
        report["generator_limited"] = json!(late_us > LATE_US.max(measured_us / 10.0));
    }
}

/// The lateness at p99 up to which it does not matter.
const LATE_US: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(rate: &str) -> Schedule {
        let words = ["--rate", rate].map(str::to_owned);
        Schedule::new(&mut Options::parse(words.into_iter()).unwrap()).unwrap().unwrap()
    }

    #[test]
    fn due_times_do_not_move_with_late_sends() {
        let mut schedule = schedule("1000");
        schedule.begin(5_000_000);
        assert_eq!(schedule.pop(4_999_999), None);
        assert_eq!(schedule.pop(5_000_000), Some((0, 5_000_000)));
        assert_eq!(schedule.pop(8_500_000), Some((1, 6_000_000)));
        assert_eq!(schedule.pop(8_500_000), Some((2, 7_000_000)));
        assert_eq!(schedule.pop(8_500_000), Some((3, 8_000_000)));
        assert_eq!(schedule.pop(8_500_000), None);
        assert_eq!(schedule.next(), 9_000_000);
    }
}
