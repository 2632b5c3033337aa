//! Load generator: one thread, one mode per run, one JSON object on stdout.
//!
//! Every mode is a [`net::Load`] driven by [`net::run`]; it counts through [`meter::Meter`]. A reply that is
//! wrong in any way ends the run with exit code 1: a rate of wrong answers is not a result. `measure-start`
//! and `measure-end` lines on stderr let the runner read the server's counters at the same moments.

mod connect;
mod content;
mod corpus;
mod echo;
mod fanout;
mod handshake;
mod http;
mod meter;
mod net;
mod options;
mod payload;
mod schedule;
mod server;
mod socketio;
mod tls;
mod ws;

use std::fmt;
use std::io;
use std::process::ExitCode;

use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};

use options::Options;

/// Why a run ended without a result.
#[derive(Debug)]
pub enum Failure {
    /// The command line makes no sense.
    Usage(String),
    /// The server closed, answered wrongly or not at all.
    Server(String),
    Io(io::Error),
}

pub type Result<T> = std::result::Result<T, Failure>;

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Usage(text) | Failure::Server(text) => f.write_str(text),
            Failure::Io(error) => write!(f, "system: {error}"),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Io(error)
    }
}

const USAGE: &str =
    "usage: loadgen ws-echo|http|handshake|ws-publish|ws-mixed|ws-storm|ws-idle --port N [--option value…]
       loadgen server ws-echo|ws-publish|http --port N";

fn main() -> ExitCode {
    let nofile = raise_nofile();
    match run(nofile) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("{}", json!({ "error": failure.to_string() }));
            eprintln!("loadgen: {failure}");
            if matches!(failure, Failure::Usage(_)) {
                eprintln!("{USAGE}")
            }
            ExitCode::FAILURE
        }
    }
}

fn run(nofile: Option<u64>) -> Result<Value> {
    let mut arguments = std::env::args().skip(1);
    let mode = arguments.next().ok_or_else(|| Failure::Usage("no mode".into()))?;
    if mode == "server" {
        let kind = arguments.next().unwrap_or_default();
        return server::run(&kind, Options::parse(arguments)?);
    }
    let mut options = Options::parse(arguments)?;
    let mut report = match mode.as_str() {
        "ws-echo" => echo::run(&mut options),
        "http" => http::run(&mut options),
        "handshake" => handshake::run(&mut options),
        "ws-publish" => fanout::run_publish(&mut options),
        "ws-mixed" => fanout::run_mixed(&mut options),
        "ws-storm" => connect::run_storm(&mut options),
        "ws-idle" => connect::run_idle(&mut options),
        other => Err(Failure::Usage(format!("unknown mode {other}"))),
    }?;
    report["mode"] = json!(mode);
    report["nofile"] = json!(nofile);
    Ok(report)
}

/// Raises the soft limit of open files to the hard one; `None` means unlimited.
fn raise_nofile() -> Option<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // A refusal is no failure: the run reports how many files it could open, and connecting fails loudly if
    // they are too few.
    let _ = setrlimit(Resource::Nofile, limit);
    getrlimit(Resource::Nofile).current
}
