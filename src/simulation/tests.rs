//! Seeds of every run of the tests, and more of them on demand.

use super::generate::generate;
use super::script::Script;
use super::shrink::shrink;
use super::world::{Report, run};
use crate::fault::{self, Fault};
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;
use std::time::{Duration, Instant};

thread_local! {
    /// Panics of this thread are those of a run, which are noted.
    static IN_RUN: Cell<bool> = const { Cell::new(false) };
    static NOTED: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs a script; the message of the panic if something was not as it must be.
fn try_run(script: &Script) -> Result<Report, String> {
    static NOTES: Once = Once::new();
    NOTES.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !IN_RUN.get() {
                return usual(info);
            }
            NOTED.with(|noted| {
                let mut noted = noted.borrow_mut();
                if noted.is_empty() {
                    *noted = info.to_string();
                }
            });
        }));
    });
    IN_RUN.set(true);
    NOTED.with(|noted| noted.borrow_mut().clear());
    let result = panic::catch_unwind(AssertUnwindSafe(|| run(script)));
    IN_RUN.set(false);
    result.map_err(|_| NOTED.with(|noted| noted.borrow().clone()))
}

/// Whether a script fails with the same message, apart from numbers.
fn fails_alike(script: &Script, message: &str) -> bool {
    let words = |text: &str| text.chars().filter(|each| !each.is_ascii_digit()).take(70).collect::<String>();
    try_run(script).is_err_and(|other| words(&other) == words(message))
}

/// Runs the script of a seed. If that fails, shows the smallest script that does.
fn try_seed(seed: u64) -> Report {
    let script = generate(seed);
    match try_run(&script) {
        Ok(report) => report,
        Err(message) => {
            let small = shrink(&script, 2_000, |script| fails_alike(script, &message));
            let last = try_run(&small).err().unwrap_or_default();
            panic!(
                "seed {seed}: {message}\n\nthe smallest script that fails:\n{small}\n{last}\n\n\
                 once more: npm run simulate -- --seed {seed}"
            );
        }
    }
}

fn try_seeds(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        try_seed(seed);
    }
}

/// Seeds from `SEED` (0) on for `SECONDS` (0: only that one); see scripts/simulate.js.
#[test]
#[ignore = "runs for as long as it is asked to"]
fn more() {
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let (first, seconds) = (number("SEED").unwrap_or(0), number("SECONDS").unwrap_or(0));
    let (began, mut all, mut seeds) = (Instant::now(), Report::default(), 0);
    loop {
        let report = try_seed(first + seeds);
        seeds += 1;
        all.turns += report.turns;
        all.calls += report.calls;
        all.time += report.time;
        all.delivered += report.delivered;
        if began.elapsed() >= Duration::from_secs(seconds) {
            break;
        }
    }
    eprintln!("{seeds} seeds in {:?}: {all:?}", began.elapsed());
}

/// Seeds of every run of the tests, in parts that run beside each other.
macro_rules! seeds {
    ($($name:ident $from:literal;)*) => {$(
        #[test]
        fn $name() {
            try_seeds($from..$from + 250);
        }
    )*};
}

seeds! {
    seeds_from_0 0;
    seeds_from_250 250;
    seeds_from_500 500;
    seeds_from_750 750;
    seeds_from_1000 1000;
    seeds_from_1250 1250;
    seeds_from_1500 1500;
    seeds_from_1750 1750;
}

/// A seed that fails once fails again: all that happens follows from it.
#[test]
fn a_seed_decides_everything() {
    for seed in 0..60 {
        let script = generate(seed);
        assert_eq!(try_run(&script), try_run(&script), "seed {seed}");
    }
}

/// The failures of many seeds, without shrinking.
#[test]
#[ignore = "for those who change the simulation"]
fn survey() {
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let (first, count) = (number("SEED").unwrap_or(0), number("COUNT").unwrap_or(200));
    let (began, mut failed, mut slowest) = (Instant::now(), 0, (Duration::ZERO, 0));
    for seed in first..first + count {
        let start = Instant::now();
        if let Err(message) = try_run(&generate(seed)) {
            failed += 1;
            eprintln!("{seed}: {}", message.chars().take(400).collect::<String>());
        }
        slowest = slowest.max((start.elapsed(), seed));
    }
    eprintln!("{failed} of {count} failed in {:?}; the slowest is {slowest:?}", began.elapsed());
}

/// The script of a seed, and its smallest one if it fails.
#[test]
#[ignore = "for those who change the simulation"]
fn show() {
    let seed = std::env::var("SEED").ok().and_then(|value| value.parse::<u64>().ok()).unwrap_or(0);
    let script = generate(seed);
    eprintln!("{script}");
    if let Err(message) = try_run(&script) {
        let small = shrink(&script, 3_000, |script| fails_alike(script, &message));
        eprintln!("{message}\n\n{small}\n{:?}", try_run(&small).err());
    }
}

/// The most seeds after which a fault must be found.
const MOST: u64 = 1_500;

/// Puts a fault back; returns after how many seeds it was found, and with which message.
fn find(fault: Fault) -> (u64, String) {
    for seed in 0..MOST {
        fault::put_back(Some(fault));
        let found = try_run(&generate(seed)).err();
        fault::put_back(None);
        if let Some(message) = found {
            assert!(try_run(&generate(seed)).is_ok(), "seed {seed} fails without the fault, too");
            return (seed + 1, message);
        }
    }
    panic!("{fault:?} was not found by {MOST} seeds");
}

macro_rules! faults {
    ($($fault:ident $name:ident;)*) => {$(
        #[test]
        fn $name() {
            let began = Instant::now();
            let (seeds, message) = find(Fault::$fault);
            let (time, message) = (began.elapsed(), message.lines().skip(1).collect::<String>());
            eprintln!("\n| {:?} | {seeds} | {time:?} | {message}", Fault::$fault);
        }
    )*};
}

faults! {
    ForeignBuffer fault_1_a_payload_gets_the_buffer_of_another;
    LostAccount fault_2_a_command_for_nobody_is_not_acknowledged;
    EndlessPongs fault_3_pings_take_memory_without_end;
    BehindUpgrade fault_4_a_request_behind_an_upgrade;
    ForeignTopic fault_5_a_topic_reaches_one_that_never_subscribed;
    EndlessDrops fault_8_dropped_messages_wait_without_a_bound;
    CutResponse fault_12_responses_are_cut;
    DoubleLeave fault_21_a_topic_is_left_twice;
    TwoDeciders fault_22_events_of_closed_apps_make_objects;
    ForeignAddress fault_23_an_address_is_that_of_another;
    EndlessTurn fault_29_a_turn_never_ends;
    EarlyDeadlines fault_30_deadlines_come_before_bytes;
    WholeBuffer fault_31_an_unread_byte_keeps_a_buffer;
    Pile fault_32_a_publish_piles_up;
    EatenRequest fault_33_a_request_is_eaten_as_a_body;
    NoLinger fault_34_a_response_is_cut_by_bytes_behind;
}
