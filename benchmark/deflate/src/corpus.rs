//! Messages as applications send them, made from a seed, and an independent codec to check with.

use std::fmt::Write;

pub struct Sample {
    pub name: &'static str,
    pub messages: Vec<Vec<u8>>,
}

pub fn samples() -> Vec<Sample> {
    let of = |name, make: fn(&mut Random) -> String, size: usize| {
        let messages = (0..if size > 20_000 { 8 } else { 64 }).map(|seed| cut(make, seed, size)).collect();
        Sample { name, messages }
    };
    vec![
        of("JSON, 100 bytes", records, 100),
        of("JSON, 300 bytes", records, 300),
        of("JSON, 1 KiB", records, 1024),
        of("prose, 1025 bytes", prose, 1025),
        of("numbers, 1026 bytes", numbers, 1026),
        of("JSON, 4 KiB", records, 4096),
        of("JSON, 16 KiB", records, 16_384),
        of("prose, 64 KiB", prose, 65_536),
        of("JSON, 256 KiB", records, 262_144),
    ]
}

pub fn deflated(data: &[u8]) -> Vec<u8> {
    let mut out = miniz_oxide::deflate::compress_to_vec(data, 6);
    // RFC 7692 §7.2.3.4: a zero byte follows a final block.
    out.push(0);
    out
}

pub fn inflated(data: &[u8]) -> Vec<u8> {
    let mut data = data.to_vec();
    data.extend_from_slice(&[0, 0, 0xff, 0xff, 3, 0]);
    miniz_oxide::inflate::decompress_to_vec(&data).expect("valid deflate")
}

fn cut(make: fn(&mut Random) -> String, seed: u64, size: usize) -> Vec<u8> {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut text = String::new();
    while text.len() < size {
        text.push_str(&make(&mut random));
    }
    text.truncate(size);
    text.into_bytes()
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }

    fn word(&mut self) -> &'static str {
        // Choose common words more often.
        let n = WORDS.len() as u64;
        WORDS[self.below(n).min(self.below(n)) as usize]
    }
}

const WORDS: [&str; 48] = [
    "the",
    "of",
    "and",
    "to",
    "in",
    "is",
    "that",
    "was",
    "for",
    "it",
    "with",
    "as",
    "his",
    "on",
    "be",
    "at",
    "by",
    "had",
    "not",
    "are",
    "but",
    "from",
    "or",
    "have",
    "an",
    "they",
    "which",
    "one",
    "you",
    "were",
    "all",
    "her",
    "she",
    "there",
    "would",
    "their",
    "server",
    "message",
    "connection",
    "window",
    "channel",
    "history",
    "compression",
    "subscriber",
    "benchmark",
    "character",
    "afternoon",
    "yesterday",
];

fn records(random: &mut Random) -> String {
    format!(
        "{{\"id\":{},\"user\":\"{}-{}\",\"text\":\"{} {} {} {}\",\"at\":17{:08},\"score\":{}.{},\"tags\":[\"{}\",\"{}\"],\"active\":{}}},",
        random.below(100_000),
        random.word(),
        random.below(1000),
        random.word(),
        random.word(),
        random.word(),
        random.word(),
        random.below(100_000_000),
        random.below(100),
        random.below(100),
        random.word(),
        random.word(),
        random.below(2) == 0,
    )
}

fn prose(random: &mut Random) -> String {
    let mut text = String::new();
    for _ in 0..4 + random.below(12) {
        let word = random.word();
        let _ = write!(text, "{word} ");
    }
    text.push_str("end. ");
    text
}

fn numbers(random: &mut Random) -> String {
    format!("[{},{}.{}],", random.below(10_000), random.below(100), random.below(10_000))
}
