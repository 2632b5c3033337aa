//! The wheel of deadlines against a list of them.

use crate::input::steps;
use arbitrary::Arbitrary;
use uws_rs::event_loop::fuzzing::{BUCKETS, Wheel};

#[derive(Arbitrary, Debug)]
enum Step {
    Insert(u8),
    InsertAt(u32),
    Advance(u8),
    AdvanceFar(u16),
    AdvanceTo(u32),
}

pub fn run(data: &[u8]) {
    let mut wheel = Wheel::default();
    let mut now = 0u32;
    // The tick at which each entry comes up.
    let mut model: Vec<(u32, u64)> = Vec::new();
    for (number, step) in steps::<Step>(data, 2000).enumerate() {
        match step {
            Step::Insert(ticks) => insert(&mut wheel, &mut model, now, now + u32::from(ticks), number as u64),
            Step::InsertAt(deadline) => insert(&mut wheel, &mut model, now, deadline, number as u64),
            Step::Advance(ticks) => now = advance(&mut wheel, &mut model, now, now + u32::from(ticks % 4)),
            Step::AdvanceFar(ticks) => now = advance(&mut wheel, &mut model, now, now + u32::from(ticks)),
            // Times in the past, too: nothing happens then.
            Step::AdvanceTo(tick) => now = advance(&mut wheel, &mut model, now, tick % (1 << 20)),
        }
        assert_eq!(wheel.is_empty(), model.is_empty());
    }
}

fn insert(wheel: &mut Wheel, model: &mut Vec<(u32, u64)>, now: u32, deadline: u32, entry: u64) {
    let at = wheel.insert(deadline, entry);
    assert!(at > now, "an entry never comes up in the tick that it was made in");
    assert!(at - now < BUCKETS as u32);
    assert!(at == deadline.max(now + 1) || (at < deadline && at == now + BUCKETS as u32 - 1));
    model.push((at, entry));
}

/// Returns the time after it.
fn advance(wheel: &mut Wheel, model: &mut Vec<(u32, u64)>, now: u32, to: u32) -> u32 {
    let mut due = vec![u64::MAX];
    wheel.advance(to, &mut due);
    assert_eq!(due.remove(0), u64::MAX, "the entries are appended");
    let now = to.max(now);
    due.sort_unstable();
    let mut expected: Vec<_> = model.iter().filter(|(at, _)| *at <= now).map(|(_, entry)| *entry).collect();
    expected.sort_unstable();
    assert_eq!(due, expected);
    model.retain(|(at, _)| *at > now);
    now
}
