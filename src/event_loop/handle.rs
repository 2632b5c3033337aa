//! A loop thread as its environment's thread sees it: started, given commands, stopped.

use super::control::{Control, Remote};
use super::registry;
use super::turn::{EventLoop, WAKER};
use crate::channel::{CommandBatch, EventBatch, ExchangeId, JsEvent, Shared, WakeJs};
use crate::protocol::http::request::Limits;
use crossbeam_channel::Sender;
use mio::{Poll, Waker};
use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

/// One loop thread, as its environment's thread sees it.
pub struct Loop {
    pub shared: Arc<Shared>,
    control: Sender<Control>,
    waker: Arc<Waker>,
    wake_js: Arc<dyn WakeJs>,
    thread: Option<JoinHandle<()>>,
}

impl Loop {
    pub fn remote(&self) -> Remote {
        Remote { shared: self.shared.clone(), control: self.control.clone(), waker: self.waker.clone() }
    }

    pub fn start(limits: Limits, wake_js: Box<dyn WakeJs>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let shared = Arc::new(Shared::default());
        let (control, inbox) = crossbeam_channel::unbounded();
        let myself = Remote { shared: shared.clone(), control: control.clone(), waker: waker.clone() };
        let (in_loop, wake_js): (_, Arc<dyn WakeJs>) = (shared.clone(), Arc::from(wake_js));
        let ring = wake_js.clone();
        let thread = std::thread::Builder::new().name("uws-rs loop".into()).spawn(move || {
            let report = (in_loop, wake_js.clone());
            wake_js.loop_starts(&report.0);
            let run = move || EventLoop::new(poll, myself, inbox, limits, wake_js).run();
            if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
                report_panic(&report.0, &*report.1, &*panic);
            }
            report.0.counters.by_loop.processor.end();
        })?;
        registry::enter(&shared, &waker);
        Ok(Loop { shared, control, waker, wake_js: ring, thread: Some(thread) })
    }

    /// Sends a rare command in a batch of its own, behind all batches that were handed over before.
    pub fn control(&self, control: Control) {
        let mut batch = CommandBatch::default();
        self.push_control(&mut batch, control);
        self.flush(&mut batch);
    }

    /// Puts a rare command into a batch that will be handed over to this loop.
    pub fn push_control(&self, batch: &mut CommandBatch, control: Control) {
        self.shared.controls.fetch_add(1, Ordering::SeqCst);
        batch.push_boxed(Box::new(control));
    }

    /// Hands a batch of commands over.
    pub fn flush(&self, batch: &mut CommandBatch) {
        if !self.is_running() {
            return self.forget_commands(batch);
        }
        if self.shared.commands.put(batch) {
            self.wake();
        }
    }

    /// Empties this batch and those that wait, since a loop that has ended takes none of them. Their buffers
    /// go back to the pool.
    fn forget_commands(&self, batch: &mut CommandBatch) {
        loop {
            batch.give_back(&self.shared.blocks);
            if !self.shared.commands.take(batch) {
                return;
            }
        }
    }

    pub fn wake(&self) {
        // An eventfd write fails only when the loop's poll is gone, and then no thread sleeps in it.
        let _ = self.waker.wake();
    }

    /// Wakes JavaScript as an event would.
    pub fn ring(&self) {
        self.wake_js.wake();
    }

    /// Ends the thread and waits for it; every socket is closed. Called by the thread of the environment,
    /// which ends.
    pub fn stop(&mut self) {
        registry::forget(&self.remote());
        self.shared.stop.store(true, Ordering::SeqCst);
        self.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
            self.shared.counters.by_javascript.processor.end();
            registry::leave(&self.shared);
        }
    }

    pub fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Tells JavaScript of a panic, which it throws as an uncaught exception. The loop does nothing after this.
fn report_panic(shared: &Shared, wake_js: &dyn WakeJs, panic: &(dyn Any + Send)) {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    let text =
        text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "unknown cause".into());
    let mut batch = EventBatch::default();
    batch.push(JsEvent::Panic, ExchangeId::default(), text.as_bytes());
    if shared.events.put(&mut batch) {
        wake_js.wake();
    }
}
