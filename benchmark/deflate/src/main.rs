//! Deflate implementations on single messages: the CPU nanoseconds and the bytes for each, in interleaved
//! rounds.
//!
//! `deflate-bench [rounds]` prints a table; `deflate-bench only NAME SIZE COUNT` runs one, for a profiler.

mod codecs;
mod corpus;

use codecs::{Codec, all};
use corpus::Sample;
use cpu_time::ThreadTime;
use std::hint::black_box;
use std::time::Duration;

const SLICE: Duration = Duration::from_millis(1);

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["only", name, size, count] => only(name, size.parse().unwrap(), count.parse().unwrap()),
        [rounds] => table(rounds.parse().unwrap()),
        _ => table(25),
    }
}

fn only(name: &str, size: usize, count: usize) {
    let samples = corpus::samples();
    let sample =
        samples.iter().find(|sample| sample.messages[0].len() == size).expect("a size of the corpus");
    let mut codecs = all();
    let codec = codecs.iter_mut().find(|codec| codec.name() == name).expect("the name of a codec");
    let prepared = Prepared::new(codec.as_mut(), sample);
    for n in 0..count {
        prepared.run(codec.as_mut(), n);
    }
}

/// Messages of one sample as the codec wants them: plain to deflate, compressed to inflate.
struct Prepared {
    inputs: Vec<Vec<u8>>,
    bytes: usize,
}

impl Prepared {
    fn new(codec: &mut dyn Codec, sample: &Sample) -> Self {
        let mut bytes = 0;
        let mut inputs = Vec::new();
        for message in &sample.messages {
            let deflated = corpus::deflated(message);
            let input = if codec.inflates() { &deflated } else { message };
            let mut out = Vec::new();
            codec.run(input, &mut out);
            if codec.inflates() {
                assert!(out == *message, "{}: wrong output", codec.name());
            } else {
                assert!(corpus::inflated(&out) == *message, "{}: wrong output", codec.name());
            }
            bytes += out.len();
            inputs.push(input.clone());
        }
        Prepared { bytes: bytes / inputs.len(), inputs }
    }

    fn run(&self, codec: &mut dyn Codec, n: usize) {
        let mut out = std::mem::take(codec.buffer());
        out.clear();
        codec.run(black_box(&self.inputs[n % self.inputs.len()]), &mut out);
        black_box(&out);
        *codec.buffer() = out;
    }

    fn time(&self, codec: &mut dyn Codec) -> f64 {
        let (start, mut done) = (ThreadTime::now(), 0);
        loop {
            for _ in 0..4 {
                self.run(codec, done);
                done += 1;
            }
            let elapsed = start.elapsed();
            if elapsed >= SLICE {
                return elapsed.as_nanos() as f64 / done as f64;
            }
        }
    }
}

fn table(rounds: usize) {
    for sample in corpus::samples() {
        println!(
            "\n{} ({} messages of {} bytes)",
            sample.name,
            sample.messages.len(),
            sample.messages[0].len()
        );
        println!("{:<28} {:>10} {:>8} {:>7}", "", "ns (best)", "median", "bytes");
        let mut codecs = all();
        let prepared: Vec<_> =
            codecs.iter_mut().map(|codec| Prepared::new(codec.as_mut(), &sample)).collect();
        let mut times = vec![Vec::new(); codecs.len()];
        for _ in 0..rounds {
            for (index, codec) in codecs.iter_mut().enumerate() {
                times[index].push(prepared[index].time(codec.as_mut()));
            }
        }
        for (index, codec) in codecs.iter().enumerate() {
            times[index].sort_by(f64::total_cmp);
            let (best, median) = (times[index][0], times[index][rounds / 2]);
            println!("{:<28} {best:>10.0} {median:>8.0} {:>7}", codec.name(), prepared[index].bytes);
        }
    }
}
