//! Compressed messages: some hundred JSON texts, deflated once before the run. A reply is checked against the
//! text it must hold; if the server keeps no context, equal bytes need not be inflated again.

use std::mem;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::payload::excerpt;
use crate::ws::WINDOW_BITS;
use crate::{Failure, Result};

pub struct Corpus {
    messages: Vec<Message>,
    /// The decompressor for servers that keep no context.
    inflater: Decompress,
    /// By connection, for servers that keep one.
    inflaters: Vec<Option<Box<Decompress>>>,
    input: Vec<u8>,
    output: Vec<u8>,
    /// Messages received, their size, and their size before compression.
    received: u64,
    received_bytes: u64,
    received_plain: u64,
}

struct Message {
    plain: Vec<u8>,
    deflated: Vec<u8>,
    /// The compressed form that was last found to be right.
    known: Vec<u8>,
}

impl Corpus {
    pub fn new(size: usize) -> Result<Self> {
        if size < LEAST {
            return Err(Failure::Usage(format!("compressed messages have at least {LEAST} bytes")));
        }
        let message = |number| {
            let plain = json_text(number, size);
            Message { deflated: deflated(&plain), plain, known: Vec::new() }
        };
        Ok(Corpus {
            messages: (0..MESSAGES).map(message).collect(),
            inflater: Decompress::new(false),
            inflaters: Vec::new(),
            input: Vec::new(),
            output: vec![0; size + 1],
            received: 0,
            received_bytes: 0,
            received_plain: 0,
        })
    }

    pub fn plain(&self, number: u64) -> &[u8] {
        &self.messages[number as usize % MESSAGES].plain
    }

    pub fn deflated(&self, number: u64) -> &[u8] {
        &self.messages[number as usize % MESSAGES].deflated
    }

    /// Whether the compressed `payload` is the message of this number. `takeover`: it may refer to earlier
    /// messages of the connection.
    pub fn matches(&mut self, conn: usize, takeover: bool, payload: &[u8], number: u64) -> Result<bool> {
        let index = number as usize % MESSAGES;
        self.received += 1;
        self.received_bytes += payload.len() as u64;
        self.received_plain += self.messages[index].plain.len() as u64;
        if !takeover && payload == self.messages[index].known {
            return Ok(true);
        }
        let mut output = mem::take(&mut self.output);
        let size = self.inflate(conn, takeover, payload, &mut output)?;
        let message = &mut self.messages[index];
        let same = output[..size] == message.plain;
        self.output = output;
        if same && !takeover {
            message.known.clear();
            message.known.extend_from_slice(payload);
        }
        Ok(same)
    }

    /// Inflates one message into `output` and returns its size (RFC 7692 §7.2.2).
    fn inflate(&mut self, conn: usize, takeover: bool, payload: &[u8], output: &mut [u8]) -> Result<usize> {
        self.input.clear();
        self.input.extend_from_slice(payload);
        self.input.extend_from_slice(&TAIL);
        let inflater = if takeover {
            if self.inflaters.len() <= conn {
                self.inflaters.resize_with(conn + 1, || None)
            }
            self.inflaters[conn].get_or_insert_with(|| Box::new(Decompress::new(false))).as_mut()
        } else {
            self.inflater.reset(false);
            &mut self.inflater
        };
        let before = inflater.total_out();
        let wrong = |what: &str| Failure::Server(format!("connection {conn}: {what}: {}", excerpt(payload)));
        match inflater.decompress(&self.input, output, FlushDecompress::Sync) {
            // RFC 7692 §7.2.3.4 allows a final block; going on after one is more than is needed here.
            Ok(Status::StreamEnd) if takeover => Err(wrong("final block in a stream with context")),
            Ok(_) => Ok((inflater.total_out() - before) as usize),
            Err(error) => Err(wrong(&error.to_string())),
        }
    }

    /// The size of the received messages in percent of their size before compression.
    pub fn ratio(&self) -> f64 {
        self.received_bytes as f64 / self.received_plain.max(1) as f64
    }
}

/// One message without context, and without the tail that every message would end with (RFC 7692 section
/// 7.2.1).
fn deflated(plain: &[u8]) -> Vec<u8> {
    let mut deflater = Compress::new_with_window_bits(Compression::default(), false, WINDOW_BITS);
    let mut out = Vec::with_capacity(plain.len() * 2 + 64);
    deflater
        .compress_vec(plain, &mut out, FlushCompress::Sync)
        .expect("deflating into a buffer that is large enough does not fail");
    let end = out.len().saturating_sub(TAIL.len());
    debug_assert_eq!(out[end..], TAIL);
    out.truncate(end);
    out
}

/// A JSON text as applications send them, padded to `size`: keys that repeat, numbers that do not, some
/// prose.
fn json_text(number: usize, size: usize) -> Vec<u8> {
    let mut random = Random(number as u64 * 0x9e37_79b9_7f4a_7c15 + 1);
    let mut text = format!(
        r#"{{"id":"{:016x}","type":"update","room":"room-{}","at":{},"user":{{"id":{},"name":"{}","online":{}}},"items":["#,
        random.next(),
        random.below(64),
        1_700_000_000_000 + random.below(100_000_000_000),
        random.below(100_000),
        random.word(),
        random.below(2) == 0,
    );
    let end = r#"],"text":""}"#;
    for item in 0.. {
        let entry = format!(
            r#"{}{{"sku":"{:06x}","title":"{} {}","price":{}.{:02},"count":{},"tags":["{}","{}"]}}"#,
            if item == 0 { "" } else { "," },
            random.below(1 << 24),
            random.word(),
            random.word(),
            random.below(1000),
            random.below(100),
            random.below(20),
            random.word(),
            random.word(),
        );
        // The last quarter is prose.
        if text.len() + entry.len() + end.len() > size * 3 / 4 {
            break;
        }
        text.push_str(&entry);
    }
    text.push_str(r#"],"text":""#);
    while text.len() + 2 < size {
        text.push_str(random.word());
        text.push(' ');
    }
    text.truncate(size - 2);
    text.push_str(r#""}"#);
    text.into_bytes()
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 11) % limit
    }

    fn word(&mut self) -> &'static str {
        WORDS[self.below(WORDS.len() as u64) as usize]
    }
}

const WORDS: [&str; 40] = [
    "river", "lamp", "window", "the", "of", "and", "garden", "silver", "to", "in", "morning", "paper",
    "that", "stone", "with", "blue", "forest", "for", "market", "bridge", "was", "on", "harbour", "letter",
    "from", "copper", "is", "evening", "station", "as", "mountain", "by", "quiet", "winter", "at", "ladder",
    "engine", "or", "island", "candle",
];

/// The end of a sync flush.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
const MESSAGES: usize = 256;
/// Room for everything that is not an item or prose.
const LEAST: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_json_of_the_size_asked_for() {
        for size in [LEAST, 1024, 16384] {
            let texts: Vec<_> = (0..MESSAGES).map(|number| json_text(number, size)).collect();
            for text in &texts {
                assert_eq!(text.len(), size);
                assert!(serde_json::from_slice::<serde_json::Value>(text).is_ok());
            }
            assert_ne!(texts[0], texts[1]);
        }
    }

    #[test]
    fn own_messages_are_recognised_and_others_are_not() {
        let mut corpus = Corpus::new(1024).unwrap();
        for number in [0, 1, 255, 256] {
            let deflated = corpus.deflated(number).to_vec();
            assert!(deflated.len() < 700, "{}", deflated.len());
            assert!(corpus.matches(0, false, &deflated, number).unwrap());
            assert!(corpus.matches(0, false, &deflated, number).unwrap(), "known");
            assert!(!corpus.matches(0, false, &deflated, number + 1).unwrap());
            assert!(corpus.matches(3, true, &deflated, number).unwrap());
        }
        assert!(corpus.matches(0, false, b"\xff\xff\xff", 0).is_err());
    }

    #[test]
    fn context_is_kept_by_connection() {
        let mut corpus = Corpus::new(1024).unwrap();
        let mut deflater = Compress::new(Compression::default(), false);
        for number in 0..3 {
            let mut out = Vec::with_capacity(4096);
            deflater.compress_vec(corpus.plain(number), &mut out, FlushCompress::Sync).unwrap();
            out.truncate(out.len() - TAIL.len());
            assert!(corpus.matches(1, true, &out, number).unwrap());
        }
        assert!(corpus.ratio() < 0.6, "{}", corpus.ratio());
    }
}
