//! The JavaScript side of one environment: its loop, the commands being collected, the events being read.

use super::backpressure::Ledgers;
use super::flush::{Flushed, Outbox, end_of_drain};
use super::parked::ParkedBlocks;
use super::value::Words;
use super::wake::Wake;
use crate::channel::buffers::{Blocks, Owned};
use crate::channel::mailbox::Mailbox;
use crate::channel::{
    ANSWER, Answer, DROPPED_QUEUE_BYTES, DROPPED_QUEUE_ITEMS, EVENT_QUEUE_BYTES, EVENT_QUEUE_ITEMS,
    EVENT_WORDS, EventBatch, EventHeader, ExchangeId, OF_DROPPED, OWNED, Op, PARKED, RELIEF_DUE,
    RecordWriter,
};
use crate::event_loop::{Control, Loop};
use crate::metrics::Metric;
use crate::protocol::http::forwarded::Trusted;
use std::collections::HashMap;
use std::sync::Arc;

/// Everything between one environment and its loop that the JavaScript thread owns. It lives from
/// `start_engine` to the end of the environment; dropping it stops the loop and joins its thread.
pub struct Session {
    pub event_loop: Loop,
    pub wake: Wake,
    /// Whether large payloads become ArrayBuffers over memory of the loop. Node calls their finalizers when
    /// the environment ends, although `transfer()` and `postMessage` may have brought the memory to another
    /// environment: where that may live longer, payloads are copied instead.
    lends: bool,
    /// Where JavaScript finds the headers of the next events.
    events: Words,
    /// Where JavaScript leaves the arguments of the most frequent calls, and finds their answers.
    pub call_args: Words,
    outbox: Outbox,
    /// The events being read.
    batch: EventBatch,
    /// How many of them JavaScript has been shown.
    cursor: usize,
    /// `Dropped` events, and how many of them JavaScript has been shown.
    dropped: (EventBatch, usize),
    /// The same from before [`relieve`](Self::relieve), to be continued after it.
    interrupted: Option<(EventBatch, usize)>,
    parked: ParkedBlocks,
    /// The proxies that may name the addresses of their clients, by app.
    pub trusted: HashMap<u32, Arc<Trusted>>,
    ledgers: Ledgers,
}

/// Shows as many headers as fit; returns how many.
fn show(words: &mut Words, headers: &[EventHeader]) -> usize {
    let count = headers.len().min(words.len() / EVENT_WORDS);
    for (index, header) in headers[..count].iter().enumerate() {
        words.put(index * EVENT_WORDS, &header.words());
    }
    count
}

impl Session {
    pub fn new(event_loop: Loop, wake: Wake, lends: bool, events: Words, call_args: Words) -> Self {
        Session {
            event_loop,
            wake,
            lends,
            events,
            call_args,
            outbox: Outbox::new(),
            batch: EventBatch::default(),
            cursor: 0,
            dropped: Default::default(),
            interrupted: None,
            parked: ParkedBlocks::default(),
            trusted: HashMap::new(),
            ledgers: Ledgers::default(),
        }
    }

    // ---- events

    /// Shows JavaScript the headers of the next events; returns how many. 0: none, and it may sleep.
    pub fn take(&mut self) -> usize {
        while self.cursor == self.batch.headers.len() {
            self.cursor = 0;
            self.keep_buffers();
            let events = &self.event_loop.shared.events;
            if events.take(&mut self.batch) {
                let counters = &self.event_loop.shared.counters;
                counters.by_javascript.takes(&counters.by_loop, self.batch.headers.len());
                self.wake_stalled_loop();
            } else if events.may_sleep() {
                let count = self.take_dropped();
                if count > 0 {
                    self.event_loop.shared.events.awake();
                }
                return count;
            }
        }
        // Look for `Dropped` events only after the batch was taken: the loop hands them over before the
        // events that follow them, so those that precede this batch are there by now, and JavaScript gets
        // them first.
        let count = self.take_dropped();
        if count > 0 {
            return count;
        }
        let count = show(&mut self.events, &self.batch.headers[self.cursor..]);
        self.cursor += count;
        count
    }

    /// Shows JavaScript the headers of the next `Dropped` events; returns how many.
    pub fn take_dropped(&mut self) -> usize {
        let (batch, cursor) = &mut self.dropped;
        if *cursor == batch.headers.len() {
            *cursor = 0;
            if !self.event_loop.shared.dropped.take(batch) {
                return 0;
            }
            let taken = batch.headers.len() as u64;
            self.event_loop.shared.counters.by_javascript.counts.add(Metric::EventsTaken, taken);
            self.wake_stalled_loop();
        }
        let (batch, cursor) = &mut self.dropped;
        let count = show(&mut self.events, &batch.headers[*cursor..]);
        *cursor += count;
        count
    }

    /// `begin`: JavaScript takes `Dropped` events in the middle of a call, because the loop executes no more
    /// commands before that; a handler of earlier ones may be making that call. Otherwise: it goes on with
    /// those earlier ones.
    pub fn relieve(&mut self, begin: bool) {
        if begin {
            self.interrupted = Some(std::mem::take(&mut self.dropped));
        } else if let Some(before) = self.interrupted.take() {
            self.dropped = before;
        }
    }

    /// Gives the buffers of payloads that JavaScript did not take back to the pool.
    fn keep_buffers(&mut self) {
        for owned in self.batch.owned.drain(..).flatten() {
            self.event_loop.shared.blocks.give(owned.into_buffer());
        }
    }

    pub fn blocks(&self) -> &Arc<Blocks> {
        &self.event_loop.shared.blocks
    }

    fn wake_stalled_loop(&self) {
        let shared = &self.event_loop.shared;
        let has_room =
            |queue: &Mailbox<EventBatch>, bytes, items| queue.bytes() < bytes && queue.items() < items;
        let read = shared.stalled.ends(|| has_room(&shared.events, EVENT_QUEUE_BYTES, EVENT_QUEUE_ITEMS));
        let execute =
            shared.drops_stalled.ends(|| has_room(&shared.dropped, DROPPED_QUEUE_BYTES, DROPPED_QUEUE_ITEMS));
        if read || execute {
            self.event_loop.wake();
        }
    }

    /// The payload of an event of the current batch, by the offset and length of its header. Empty if they
    /// lie outside of it.
    pub fn payload(&self, offset: u32, len: u32) -> &[u8] {
        if offset & OWNED != 0 {
            let owned = self.batch.owned.get((offset & !OWNED) as usize).and_then(Option::as_ref);
            return owned.map_or(&[], Owned::bytes);
        }
        if offset & PARKED != 0 {
            return self.parked.get((offset & !PARKED) as usize);
        }
        let arena = if offset & OF_DROPPED == 0 { &self.batch.arena } else { &self.dropped.0.arena };
        let (offset, len) = ((offset & !OF_DROPPED) as usize, len as usize);
        offset.checked_add(len).and_then(|end| arena.get(offset..end)).unwrap_or_default()
    }

    /// Copies a payload out of its batch; returns the offset that stands for the copy until `unpark`.
    pub fn park(&mut self, offset: u32, len: u32) -> u32 {
        let block = self.payload(offset, len).to_vec();
        let key = self.parked.park(block) as u32;
        self.count_parked();
        key | PARKED
    }

    /// Forgets a copy. Offsets that `park` has not returned are left alone.
    pub fn unpark(&mut self, offset: u32) {
        if offset & PARKED != 0 {
            self.parked.unpark((offset & !PARKED) as usize);
            self.count_parked();
        }
    }

    fn count_parked(&self) {
        let counts = &self.event_loop.shared.counters.by_javascript.counts;
        counts.set(Metric::ParkedBytes, self.parked.bytes() as u64);
    }

    /// Counts a message of an app for which `send` has answered that it is dropped.
    pub fn count_dropped(&self, app: u32) {
        if let Some(app) = self.event_loop.shared.counters.app(app) {
            app.by_javascript.one(Metric::SendsDropped);
        }
    }

    /// See [`ParkedBlocks::parked_so_far`].
    pub fn parked_so_far(&self) -> u64 {
        self.parked.parked_so_far()
    }

    /// See [`ParkedBlocks::unparked_so_far`].
    pub fn unparked_so_far(&self) -> u64 {
        self.parked.unparked_so_far()
    }

    /// Like `payload`, taking an owned one out of the batch. `None`: the payload is to be copied.
    pub fn take_owned(&mut self, offset: u32) -> Option<Owned> {
        if offset & OWNED == 0 || !self.lends {
            return None;
        }
        self.batch.owned.get_mut((offset & !OWNED) as usize)?.take()
    }

    // ---- commands

    /// Appends a record without payload.
    pub fn command(&mut self, op: Op, id: ExchangeId, arg: u32) {
        self.outbox.commands().push(op, id, arg);
        self.after_command();
    }

    /// A record to be written, and the pool for large payloads.
    pub fn record(
        &mut self,
        op: Op,
        flags: u32,
        id: ExchangeId,
        arg: u32,
        extra: u32,
    ) -> (RecordWriter<'_>, &Blocks) {
        (self.outbox.commands().record(op, flags, id, arg, extra), &self.event_loop.shared.blocks)
    }

    /// Called after each command.
    pub fn after_command(&mut self) {
        if self.outbox.is_large() {
            self.flush();
        }
    }

    /// Hands all commands over; see [`Outbox::flush`].
    pub fn flush(&mut self) {
        match self.outbox.flush(&self.event_loop) {
            Flushed::Room => {}
            Flushed::ReliefDue => self.call_args.put(RELIEF_DUE, &[1]),
        }
        #[cfg(debug_assertions)]
        self.check_accounts();
    }

    /// Panics if one of the accounts of the JavaScript side does not balance; each `check` says why it is
    /// right at any time, although the loop counts on meanwhile. Called when all that was collected has been
    /// handed over.
    #[cfg(debug_assertions)]
    fn check_accounts(&mut self) {
        self.ledgers.check(&self.event_loop.shared.slots);
        self.outbox.check(&self.event_loop);
        self.parked.check();
        assert!(self.cursor <= self.batch.headers.len(), "events shown that there are not");
        let (dropped, shown) = &self.dropped;
        assert!(*shown <= dropped.headers.len(), "dropped messages shown that there are not");
    }

    /// Called before a batch is handled; returns after how many events to call `flush_due`.
    pub fn start_stretch(&mut self) -> u32 {
        self.outbox.start_stretch()
    }

    /// Called every so many events while a batch is handled; returns after how many to call it again.
    pub fn flush_due(&mut self, events: u32) -> u32 {
        self.flush();
        self.outbox.next_stretch(events)
    }

    /// Hands all commands over and waits until the loop has executed them and tried to write, or a tenth of a
    /// second has passed.
    pub fn settle(&mut self) {
        self.flush();
        if self.event_loop.is_running() {
            self.outbox.wait(&self.event_loop);
        }
    }

    /// Hands all commands over and waits until the loop has executed them, however many turns that takes. The
    /// wait ends: the loop does not wait for JavaScript meanwhile, and its turns are bounded.
    pub fn finish(&mut self) {
        self.flush();
        while self.event_loop.is_running() && !self.outbox.wait(&self.event_loop) {}
    }

    /// Sends a rare command, behind everything collected so far.
    pub fn control(&mut self, control: Control) {
        self.outbox.control(&self.event_loop, control);
        self.flush();
    }

    // ---- accounts

    /// Counts a record's payload as sent on a connection.
    pub fn count_sent(&mut self, id: ExchangeId, payload: usize) {
        self.ledgers.count_sent(id, payload);
    }

    /// `count_sent` for a message or a response. Unlike those of `tryEnd` no window bounds their bytes, so
    /// the flush policy counts them as well.
    pub fn count_answer(&mut self, id: ExchangeId, payload: usize) {
        self.outbox.count_answer(payload);
        self.ledgers.count_sent(id, payload);
    }

    /// See [`Ledgers::backlog_and_flight`].
    pub fn backlog_and_flight(&mut self, id: ExchangeId) -> (usize, usize) {
        self.ledgers.backlog_and_flight(id, &self.event_loop.shared.slots)
    }

    /// See [`Ledgers::admit`].
    pub fn admit(&mut self, id: ExchangeId, limit: usize) -> Answer {
        if self.ledgers.is_uncertain(id, &self.event_loop.shared.slots) {
            // Wait for the loop. This takes as long as the system call that the original makes here, and
            // makes the answer as reliable as the original's.
            self.settle();
        }
        let shared = &self.event_loop.shared;
        self.ledgers.admit(id, limit, shared.budget.is_over(), &shared.slots)
    }

    /// See [`Ledgers::tell_buffered`].
    pub fn tell_buffered(&mut self, id: ExchangeId) -> usize {
        self.ledgers.tell_buffered(id, &self.event_loop.shared.slots)
    }

    // ---- the end

    /// Called when the environment ends: waits until the kernel has taken everything that was accepted for
    /// sending, for as long as it goes on taking bytes.
    pub fn drain(&mut self) {
        if self.outbox.is_drained() {
            return;
        }
        let end = end_of_drain();
        self.settle();
        self.outbox.wait_until_sent(&self.event_loop, end);
    }

    /// Called when the environment ends, after its `exit` listeners, so that bytes that these sent leave as
    /// well. A runtime may still run JavaScript afterwards, which finds the answer of a connection that is
    /// gone in the call arguments.
    pub fn end(&mut self) {
        self.drain();
        #[cfg(debug_assertions)]
        self.ledgers.check_all(&self.event_loop.shared.slots);
        self.call_args.put(ANSWER, &[Answer::Dropped as u32]);
    }
}
