//! Traces for people: lines on standard error, which `UWS_DEBUG` asks for. Without it no line is made; the
//! macros of `log` look at one number then.
//!
//! The part of a line that a peer has sent is escaped, so that it cannot move the cursor of a terminal or
//! look like another line. Bodies, messages, headers and queries are shown only if they are asked for.
#![forbid(unsafe_code)]

use log::{Level, LevelFilter, Log, Metadata, Record};
use parking_lot::Mutex;
use std::fmt::{self, Write as _};
use std::io::{ErrorKind, Stderr, Write};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

pub const LOOP: &str = "loop";
pub const HTTP: &str = "http";
pub const WS: &str = "ws";
pub const TLS: &str = "tls";
/// The name by which the contents of requests and messages are asked for.
const PAYLOADS: &str = "payloads";
const ALL: &str = "*";
const AREAS: [&str; 4] = [LOOP, HTTP, WS, TLS];

/// Lines of one second; the others are left out.
const LINES_PER_SECOND: usize = 500;
/// Bytes of a value that are shown.
const SHOWN: usize = 200;

/// A trace of a connection, whose id comes first.
macro_rules! trace {
    ($area:ident, $id:expr, $($text:tt)+) => {
        log::debug!(target: $crate::trace::$area, "{} {}", $id, format_args!($($text)+))
    };
}

/// The same for the contents of requests and messages.
macro_rules! trace_payload {
    ($area:ident, $id:expr, $what:literal, $bytes:expr) => {
        log::trace!(target: $crate::trace::$area, "{} {}: {}", $id, $what, $crate::trace::Shown($bytes))
    };
}

pub(crate) use {trace, trace_payload};

/// Shows the areas that are named in `list`, by commas or spaces, from now on. Returns the names that are not
/// known. Only the first call of the process has an effect.
pub fn start(list: &str) -> Vec<String> {
    let (wanted, unknown) = Wanted::parse(list);
    let level = match (wanted.areas.is_empty(), wanted.payloads) {
        (true, _) => LevelFilter::Off,
        (false, false) => LevelFilter::Debug,
        (false, true) => LevelFilter::Trace,
    };
    let out = Mutex::new(Out::new(std::io::stderr()));
    let tracer = Tracer { wanted, began: Instant::now(), out };
    if level == LevelFilter::Off || TRACER.set(tracer).is_err() {
        return unknown;
    }
    if let Some(tracer) = TRACER.get()
        && log::set_logger(tracer).is_ok()
    {
        log::set_max_level(level);
    }
    unknown
}

static TRACER: OnceLock<Tracer> = OnceLock::new();

/// The names that [`start`] knows.
pub fn known() -> String {
    format!("{}, {PAYLOADS} and {ALL}", AREAS.join(", "))
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Wanted {
    areas: Vec<&'static str>,
    payloads: bool,
}

impl Wanted {
    fn parse(list: &str) -> (Self, Vec<String>) {
        let (mut wanted, mut unknown) = (Wanted::default(), Vec::new());
        for name in list.split([',', ' ']).map(str::trim).filter(|name| !name.is_empty()) {
            match AREAS.iter().find(|area| **area == name) {
                Some(area) => wanted.areas.push(area),
                None if name == PAYLOADS => wanted.payloads = true,
                None if name == ALL => wanted.areas.extend(AREAS),
                None => unknown.push(name.to_owned()),
            }
        }
        (wanted, unknown)
    }
}

struct Tracer {
    wanted: Wanted,
    began: Instant,
    out: Mutex<Out<Stderr>>,
}

impl Log for Tracer {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Crates that we use write to the same log, under other names.
        self.wanted.areas.contains(&metadata.target())
            && (self.wanted.payloads || metadata.level() <= Level::Debug)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let line = format_args!("{} {}", record.target(), Clean(record.args()));
            self.out.lock().line(self.began.elapsed(), &line);
        }
    }

    fn flush(&self) {}
}

/// Writes lines, not too many in a second and none that would have to wait. The lines that are left out are
/// counted, and the next one that is written says how many there were.
struct Out<W> {
    to: W,
    second: u64,
    /// Lines of this second.
    lines: usize,
    left_out: usize,
    /// The end of a line of which `to` has taken the beginning.
    rest: Vec<u8>,
}

impl<W: Write> Out<W> {
    fn new(to: W) -> Self {
        Out { to, second: 0, lines: 0, left_out: 0, rest: Vec::new() }
    }

    fn line(&mut self, at: Duration, line: &fmt::Arguments<'_>) {
        if at.as_secs() != self.second {
            (self.second, self.lines) = (at.as_secs(), 0);
        }
        self.lines += 1;
        if self.lines > LINES_PER_SECOND || !self.is_free() {
            self.left_out += 1;
            return;
        }
        let mut text = String::new();
        let at = at.as_secs_f64();
        // Writing to a String does not fail.
        if self.left_out > 0 {
            let _ = writeln!(text, "uws {at:.6} {} lines were left out", self.left_out);
        }
        let _ = writeln!(text, "uws {at:.6} {line}");
        if self.lines == LINES_PER_SECOND {
            let _ = writeln!(text, "uws {at:.6} the rest of this second is left out");
        }
        self.left_out = 0;
        self.rest = text.into_bytes();
        self.is_free();
    }

    /// Writes the rest, as far as that is possible without waiting. True: nothing of it is left.
    fn is_free(&mut self) -> bool {
        while !self.rest.is_empty() {
            match self.to.write(&self.rest) {
                Ok(0) => return false,
                Ok(n) => drop(self.rest.drain(..n)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        true
    }
}

/// Text in which everything that is not visible is escaped, and so are backslashes.
struct Clean<'a>(&'a fmt::Arguments<'a>);

impl fmt::Display for Clean<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        struct Filter<'a, 'b>(&'a mut fmt::Formatter<'b>);
        impl fmt::Write for Filter<'_, '_> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                for each in text.chars() {
                    match each {
                        '"' | '\'' => self.0.write_char(each)?,
                        _ => write!(self.0, "{}", each.escape_debug())?,
                    }
                }
                Ok(())
            }
        }
        Filter(f).write_fmt(*self.0)
    }
}

/// The beginning of bytes of a peer, in quotes.
pub struct Shown<'a>(pub &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(SHOWN)];
        write!(f, "'{}'", String::from_utf8_lossy(shown))?;
        if shown.len() < self.0.len() {
            write!(f, " and {} bytes", self.0.len() - shown.len())
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_unknown_ones_returned() {
        let parse = |list: &str| {
            let (Wanted { areas, payloads }, unknown) = Wanted::parse(list);
            (areas.join("+"), payloads, unknown.join("+"))
        };
        assert_eq!(parse("http, ws,,tls"), ("http+ws+tls".into(), false, "".into()));
        assert_eq!(parse("*,payloads"), ("loop+http+ws+tls".into(), true, "".into()));
        assert_eq!(parse("HTTP uws 1"), ("".into(), false, "HTTP+uws+1".into()));
        assert_eq!(known(), "loop, http, ws, tls, payloads and *");
    }

    #[test]
    fn no_text_of_a_peer_reaches_the_terminal_as_it_is() {
        let text = "a\u{1b}[2J\r\n\u{9b}b\u{202e}\u{7f}\0\\ \"é\" 'ü'";
        let clean = Clean(&format_args!("{text}")).to_string();
        assert_eq!(clean, "a\\u{1b}[2J\\r\\n\\u{9b}b\\u{202e}\\u{7f}\\0\\\\ \"é\" 'ü'");
        assert_eq!(Shown(b"a\xffb").to_string(), "'a\u{fffd}b'");
        assert_eq!(Shown(&[b'x'; 300]).to_string(), format!("'{}' and 100 bytes", "x".repeat(200)));
    }

    /// Takes so many bytes, then none until it is emptied.
    struct Pipe {
        text: Vec<u8>,
        room: usize,
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let n = bytes.len().min(self.room);
            if n == 0 {
                return Err(ErrorKind::WouldBlock.into());
            }
            self.room -= n;
            self.text.extend_from_slice(&bytes[..n]);
            Ok(n)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn lines(out: &Out<Pipe>) -> Vec<&str> {
        std::str::from_utf8(&out.to.text).expect("text").lines().collect()
    }

    #[test]
    fn lines_of_one_second_are_bounded_and_the_others_counted() {
        let mut out = Out::new(Pipe { text: Vec::new(), room: usize::MAX });
        for _ in 0..LINES_PER_SECOND + 7 {
            out.line(Duration::from_millis(500), &format_args!("line"));
        }
        out.line(Duration::from_millis(3000), &format_args!("next"));
        let lines = lines(&out);
        assert_eq!(lines.len(), LINES_PER_SECOND + 3);
        let end = ["the rest of this second is left out", "7 lines were left out", "next"];
        for (line, end) in lines[LINES_PER_SECOND..].iter().zip(end) {
            assert!(line.ends_with(end), "{line}");
        }
        assert!(lines[..LINES_PER_SECOND].iter().all(|line| *line == "uws 0.500000 line"));
    }

    #[test]
    fn a_full_pipe_is_not_waited_for_and_no_line_is_torn() {
        let mut out = Out::new(Pipe { text: Vec::new(), room: 20 });
        for line in 1..=4 {
            out.line(Duration::ZERO, &format_args!("line {line}"));
        }
        assert_eq!(out.left_out, 2);
        out.to.room = usize::MAX;
        out.line(Duration::ZERO, &format_args!("line 5"));
        let expected = ["line 1", "line 2", "2 lines were left out", "line 5"];
        assert_eq!(lines(&out), expected.map(|line| format!("uws 0.000000 {line}")));
    }
}
