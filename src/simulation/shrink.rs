//! Smaller scripts that fail as well.

use super::script::{Body, Do, How, Peer, Reads, Request, Script, Secure, Step, System};

/// Tries smaller scripts as long as one `fails`, at most so many; returns the smallest.
pub fn shrink(script: &Script, most: usize, mut fails: impl FnMut(&Script) -> bool) -> Script {
    let mut smallest = script.clone();
    let mut tried = 0;
    'again: loop {
        for mut candidate in candidates(&smallest) {
            if candidate == smallest {
                continue;
            }
            // Another order of events may be needed for the same.
            for _ in 0..2 {
                tried += 1;
                if fails(&candidate) {
                    smallest = candidate;
                    continue 'again;
                }
                if tried >= most {
                    return smallest;
                }
                candidate.schedule = candidate.schedule.wrapping_mul(31) % 1_000_003;
            }
        }
        return smallest;
    }
}

/// Scripts that are a little smaller, the smallest first.
fn candidates(script: &Script) -> Vec<Script> {
    let mut found = Vec::new();
    let mut add = |change: &dyn Fn(&mut Script)| {
        let mut candidate = script.clone();
        change(&mut candidate);
        found.push(candidate);
    };
    let mut part = script.peers.len();
    while part > 1 {
        part = part.div_ceil(2);
        for start in (0..script.peers.len()).step_by(part) {
            // The numbers of peers are their places, so one that is gone does nothing instead.
            let range = start..(start + part).min(script.peers.len());
            if script.peers[range.clone()].iter().any(|peer| !peer.steps.is_empty()) {
                add(&|script| script.peers[range.clone()].iter_mut().for_each(|peer| peer.steps.clear()));
            }
        }
    }
    if script.peers.last().is_some_and(|peer| peer.steps.is_empty()) {
        add(&|script| while script.peers.pop_if(|peer| peer.steps.is_empty()).is_some() {});
    }
    add(&|script| script.end_of_loop = None);
    for act in 0..script.acts.len() {
        add(&|script| {
            script.acts.remove(act);
        });
    }
    for (number, peer) in script.peers.iter().enumerate() {
        let mut part = peer.steps.len();
        while part > 0 {
            for start in (0..peer.steps.len()).step_by(part) {
                let range = start..(start + part).min(peer.steps.len());
                add(&|script| drop(script.peers[number].steps.drain(range.clone())));
            }
            part /= 2;
        }
    }
    add(&|script| script.system = System { interrupted: 0, short: 0, ..script.system });
    add(&|script| script.system.concurrent = 0);
    add(&|script| script.system.batches = false);
    for (number, peer) in script.peers.iter().enumerate() {
        if peer.steps.is_empty() {
            continue;
        }
        let mut of_peer = |change: &dyn Fn(&mut Peer)| add(&|script| change(&mut script.peers[number]));
        of_peer(&|peer| (peer.cut, peer.pause_us) = (1 << 20, 0));
        of_peer(&|peer| peer.reads = Reads::Always);
        of_peer(&|peer| peer.at = 0);
        of_peer(&|peer| peer.secure = Secure::Plain);
        for step in 0..peer.steps.len() {
            of_peer(&|peer| smaller(&mut peer.steps[step], |len| len / 2));
            of_peer(&|peer| smaller(&mut peer.steps[step], |len| len - len / 8));
            if let Step::Message(message) = &peer.steps[step] {
                for act in 0..message.then.len() {
                    of_peer(&|peer| {
                        if let Step::Message(message) = &mut peer.steps[step] {
                            message.then.remove(act);
                        }
                    });
                }
            }
        }
    }
    found
}

/// Makes the sizes of a step smaller.
fn smaller(step: &mut Step, by: impl Fn(usize) -> usize) {
    match step {
        Step::Request(Request { body, answer, .. }) => {
            match body {
                Body::None => {}
                Body::Length(len) => *len = by(*len),
                Body::Chunks(len, chunk) => (*len, *chunk) = (by(*len), by(*chunk).max(1)),
            }
            match &mut answer.how {
                How::Whole(len) | How::Try(len) | How::Cut(len) | How::Chunks(_, len) => *len = by(*len),
                How::Nothing => {}
            }
        }
        Step::Message(message) => {
            message.len = by(message.len);
            for act in &mut message.then {
                match act {
                    Do::Send { len, .. } | Do::Fragments { len, .. } | Do::Publish { len, .. } => {
                        *len = by(*len)
                    }
                    Do::Ping | Do::Join(_) | Do::Leave(_) | Do::End(_) | Do::Close => {}
                }
            }
        }
        Step::Pings { count, .. } => *count = by(*count),
        Step::Wait { ms } => *ms = by(*ms as usize) as u32,
        _ => {}
    }
}
