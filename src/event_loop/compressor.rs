//! The thread that compresses stored replies, so that no turn of the loop does.
//!
//! Owner: the loop, with the first route that compresses. It is joined when the loop ends: it may be the last
//! thread in this code. Each job comes back once, as a command of another loop would; nobody waits for it.

use super::control::{Control, Remote};
use crate::caching::coding::Coding;
use crossbeam_channel::{Sender, bounded};
use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};

/// Jobs that wait. A reply beyond them is sent as it is until it is made again.
const MOST_WAITING: usize = 16;

pub struct Compressor {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

struct Job {
    number: u64,
    body: Arc<[u8]>,
}

impl Compressor {
    /// `None`: there is no thread to be had, and replies are sent as they are.
    pub fn start(home: Remote) -> Option<Self> {
        let (jobs, waiting) = bounded::<Job>(MOST_WAITING);
        let work = move || {
            for Job { number, body } in waiting {
                let mut variants = Vec::new();
                for coding in Coding::ALL {
                    if home.shared.stop.load(Ordering::SeqCst) {
                        return;
                    }
                    // Bytes that a codec cannot cope with must not end the thread.
                    if let Ok(Some(compressed)) = catch_unwind(|| coding.compress(&body)) {
                        variants.push((coding, compressed));
                    }
                }
                // The loop counts the body until it hears of this.
                drop(body);
                if home.control(Control::Compressed { job: number, variants }).is_err() {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("uws-rs-codings".into()).spawn(work).ok()?;
        Some(Compressor { jobs: Some(jobs), thread: Some(thread) })
    }

    /// False: too many jobs wait.
    pub fn compress(&self, number: u64, body: Arc<[u8]>) -> bool {
        self.jobs.as_ref().is_some_and(|jobs| jobs.try_send(Job { number, body }).is_ok())
    }
}

impl Drop for Compressor {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
