//! What one JavaScript environment has on its side: the loop, the commands being collected, the events being read.

use super::calls::{ANSWER, GONE};
use super::processors;
use super::value::Words;
use super::wake::Wake;
use crate::channel::buffers::{Blocks, Owned};
use crate::channel::mailbox::{Batch, Mailbox};
use crate::channel::{
    Account, COMMAND_BATCH_BYTES, COMMAND_QUEUE_BYTES, CommandBatch, ConnId, DROPPED_QUEUE_BYTES,
    DROPPED_QUEUE_ITEMS, EVENT_QUEUE_BYTES, EVENT_QUEUE_ITEMS, EVENT_WORDS, EventBatch, EventHeader,
    MAX_CONNECTIONS, OF_DROPPED, OWNED, Op, PARKED, command_cost,
};
use crate::event_loop::{Control, Loop};
use slab::Slab;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::time::{Duration, Instant};

/// Time between two hand-overs of commands while JavaScript works through a batch of events.
const FLUSH_INTERVAL: Duration = Duration::from_micros(400);
/// The same where a handler takes longer than [`CHEAP_EVENT`], if the loop has a processor of its own to write meanwhile.
const BUSY_FLUSH_INTERVAL: Duration = Duration::from_micros(50);
/// And where it has none: a hand-over is a switch between the threads then, and nothing is written any sooner by the way.
const LONE_FLUSH_INTERVAL: Duration = Duration::from_micros(1500);
const CHEAP_EVENT: Duration = Duration::from_nanos(1500);
/// On a lone processor the loop gets its turn when it has this much to write: more falls out of the cache before it does.
const YIELD_BYTES: usize = 1 << 20;
/// Most events handled between two looks at the clock.
const MAX_STRIDE: u32 = 1024;
/// `tryEnd` accepts no more than keeps this many bytes in flight.
pub const TRY_END_WINDOW: usize = 1 << 20;
/// With more than this on its way to one connection, the loop is waited for before the next message is judged.
const SEND_WINDOW: usize = 1 << 20;
/// The longest such wait; the loop takes far less unless the machine is busy.
const LONGEST_WAIT: Duration = Duration::from_millis(100);
/// How long an ending process may be held up by connections that still take bytes.
const LONGEST_DRAIN: Duration = Duration::from_secs(2);

pub struct State {
    pub event_loop: Loop,
    pub wake: Wake,
    /// Large payloads become ArrayBuffers over memory of ours. Where the environment may end before those who can see them
    /// they are copied instead: Node calls the finalizers when the environment ends, although `transfer()` and
    /// `postMessage` may have brought the memory to another one.
    lends: bool,
    /// Where JavaScript finds the headers of the next events.
    events: Words,
    /// Where it leaves the numbers that the most frequent calls are about.
    pub registers: Words,
    commands: CommandBatch,
    /// Batches of commands handed over, wrapping.
    handed_over: usize,
    /// How many of them `drain` has waited for; it is called more than once on the way to the end.
    drained: Option<usize>,
    batch: EventBatch,
    cursor: usize,
    /// `Dropped` events, and how many of them JavaScript has been shown.
    dropped: (EventBatch, usize),
    /// The same of a walk that was interrupted for relief.
    interrupted: Option<(EventBatch, usize)>,
    /// Request blocks that outlive their batch, because their turn in a pipeline has not come.
    parked: Slab<Parked>,
    /// How many have been parked, all in all.
    parked_so_far: u64,
    /// By slot.
    ledger: Vec<Ledger>,
    last_flush: Instant,
    stride: u32,
    /// The loop and JavaScript have one processor between them.
    is_alone: bool,
    /// Bytes of messages and responses since the processor was last left to the loop.
    answered: usize,
}

/// JavaScript's account of one connection: the last one of its slot that anything was sent on.
#[derive(Clone, Copy, Default)]
struct Ledger {
    generation: u32,
    /// `command_cost` of all commands sent, wrapping. As much of it as the loop has not acknowledged is in flight.
    sent: usize,
    /// A send was answered 0 since the kernel last took everything.
    warned: bool,
}

/// Generations are of 31 bits and wrap.
fn is_later(generation: u32, than: u32) -> bool {
    let ahead = generation.wrapping_sub(than) & 0x7fff_ffff;
    ahead != 0 && ahead < 0x4000_0000
}

/// The register that tells JavaScript to hear of what was dropped, before it goes on.
const RELIEF_DUE: usize = 15;

/// Shows as many headers as fit; returns how many.
fn show(words: &mut Words, headers: &[EventHeader]) -> usize {
    let count = headers.len().min(words.len() / EVENT_WORDS);
    for (index, header) in headers[..count].iter().enumerate() {
        words.put(index * EVENT_WORDS, &header.words());
    }
    count
}

struct Parked {
    number: u64,
    block: Vec<u8>,
}

impl State {
    pub fn new(event_loop: Loop, wake: Wake, lends: bool, events: Words, registers: Words) -> Self {
        State {
            event_loop,
            wake,
            lends,
            events,
            registers,
            commands: CommandBatch::default(),
            handed_over: 0,
            drained: None,
            batch: EventBatch::default(),
            cursor: 0,
            dropped: Default::default(),
            interrupted: None,
            parked: Slab::new(),
            parked_so_far: 0,
            ledger: Vec::new(),
            last_flush: Instant::now(),
            stride: 1,
            is_alone: processors::is_one(),
            answered: 0,
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
                self.wake_stalled_loop();
            } else if events.may_sleep() {
                let count = self.take_dropped();
                if count > 0 {
                    self.event_loop.shared.events.awake();
                }
                return count;
            }
        }
        // After a batch of events was taken: what was dropped before they came is heard of before them.
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
            self.wake_stalled_loop();
        }
        let (batch, cursor) = &mut self.dropped;
        let count = show(&mut self.events, &batch.headers[*cursor..]);
        *cursor += count;
        count
    }

    /// `begin`: JavaScript hears of what was dropped while it waits for room for commands, perhaps in a handler that hears
    /// of such. Otherwise: it goes on with what it was shown before.
    pub fn relieve(&mut self, begin: bool) {
        if begin {
            self.interrupted = Some(std::mem::take(&mut self.dropped));
        } else if let Some(before) = self.interrupted.take() {
            self.dropped = before;
        }
    }

    /// Of payloads that nobody wanted.
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
        let wake = |flag: &AtomicBool, queue: &Mailbox<EventBatch>, bytes: usize, items: usize| {
            queue.bytes() < bytes
                && queue.items() < items
                && flag.load(Ordering::Relaxed)
                && flag.swap(false, Ordering::SeqCst)
        };
        // Pairs with the one in `is_stalled` of the loop's context.
        fence(Ordering::SeqCst);
        let read = wake(&shared.stalled, &shared.events, EVENT_QUEUE_BYTES, EVENT_QUEUE_ITEMS);
        let carry_out =
            wake(&shared.drops_stalled, &shared.dropped, DROPPED_QUEUE_BYTES, DROPPED_QUEUE_ITEMS);
        if read || carry_out {
            self.event_loop.wake();
        }
    }

    /// The payload of an event of the current batch. JavaScript passes on what the header said; anything else is
    /// an empty payload.
    pub fn payload(&self, offset: u32, len: u32) -> &[u8] {
        if offset & OWNED != 0 {
            let owned = self.batch.owned.get((offset & !OWNED) as usize).and_then(Option::as_ref);
            return owned.map_or(&[], Owned::bytes);
        }
        if offset & PARKED != 0 {
            return self.parked.get((offset & !PARKED) as usize).map_or(&[], |parked| &parked.block);
        }
        let arena = if offset & OF_DROPPED == 0 { &self.batch.arena } else { &self.dropped.0.arena };
        let (offset, len) = ((offset & !OF_DROPPED) as usize, len as usize);
        offset.checked_add(len).and_then(|end| arena.get(offset..end)).unwrap_or_default()
    }

    /// Copies a payload out of its batch; returns the offset that stands for the copy until `unpark`.
    pub fn park(&mut self, offset: u32, len: u32) -> u32 {
        let block = self.payload(offset, len).to_vec();
        let number = self.parked_so_far;
        self.parked_so_far += 1;
        self.parked.insert(Parked { number, block }) as u32 | PARKED
    }

    /// How many blocks were parked before the oldest that still is; a block names handlers that may be gone since.
    pub fn unparked_so_far(&self) -> u64 {
        self.parked.iter().map(|(_, parked)| parked.number).min().unwrap_or(self.parked_so_far)
    }

    pub fn parked_so_far(&self) -> u64 {
        self.parked_so_far
    }

    pub fn unpark(&mut self, offset: u32) {
        if offset & PARKED != 0 {
            self.parked.try_remove((offset & !PARKED) as usize);
        }
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
    pub fn command(&mut self, op: Op, id: ConnId, arg: u32) {
        self.commands.push(op, id, arg);
        self.after_command();
    }

    pub fn commands(&mut self) -> &mut CommandBatch {
        &mut self.commands
    }

    /// Counts a record's payload as sent on a connection.
    pub fn count_sent(&mut self, id: ConnId, payload: usize) {
        let slot = id.slot as usize;
        if slot >= MAX_CONNECTIONS {
            return;
        }
        if slot >= self.ledger.len() {
            self.ledger.resize(slot + 1, Ledger::default());
        }
        let ledger = &mut self.ledger[slot];
        if is_later(id.generation, ledger.generation) {
            *ledger = Ledger { generation: id.generation, ..Ledger::default() };
        }
        // Bytes for a connection that is gone must not count for the next one in its slot.
        if ledger.generation == id.generation {
            ledger.sent = ledger.sent.wrapping_add(command_cost(payload));
        }
    }

    /// `count_sent` for a message or a response, which unlike `tryEnd` come one after the other without a bound of their own.
    pub fn count_answer(&mut self, id: ConnId, payload: usize) {
        self.answered += payload;
        self.count_sent(id, payload);
    }

    /// `None`: nothing was sent on this connection, or it is gone and another has its slot.
    fn ledger(&mut self, id: ConnId) -> Option<&mut Ledger> {
        self.ledger.get_mut(id.slot as usize).filter(|ledger| ledger.generation == id.generation)
    }

    /// Bytes the kernel refused, and those sent since that the loop has not seen.
    pub fn backlog_and_flight(&mut self, id: ConnId) -> (usize, usize) {
        let Some(sent) = self.ledger(id).map(|ledger| ledger.sent) else { return (0, 0) };
        let account = self.event_loop.shared.slots.get(id.slot).account(id.generation);
        account.map_or((0, 0), |Account { backlog, acked }| (backlog, sent.wrapping_sub(acked)))
    }

    /// What waits behind bytes the kernel has refused; 0 as long as it refuses none.
    fn buffered(&mut self, id: ConnId) -> usize {
        match self.backlog_and_flight(id) {
            (0, _) => 0,
            (backlog, flight) => backlog + flight,
        }
    }

    /// Whether a message may be sent, and what to answer: 1, 0, or 2 for one that is dropped.
    ///
    /// Between two calls the backlog may jump from nothing past the limit; the first message to meet it is accepted
    /// all the same, so that a program that stops at 0 never loses one.
    pub fn admit(&mut self, id: ConnId, limit: usize) -> u32 {
        let (backlog, flight) = self.backlog_and_flight(id);
        if backlog == 0 && flight > SEND_WINDOW {
            // As long as the original's own system call would take; then the answer is as true as its.
            self.settle();
        }
        let buffered = self.buffered(id);
        let Some(Ledger { warned, .. }) = self.ledger(id) else { return 1 };
        if buffered == 0 {
            *warned = false;
            return 1;
        }
        let over = limit > 0 && buffered > limit;
        if over && *warned {
            return 2;
        }
        *warned = true;
        0
    }

    /// `getBufferedAmount`, after which the program knows that the connection is slow.
    pub fn tell_buffered(&mut self, id: ConnId) -> usize {
        let buffered = self.buffered(id);
        if let Some(ledger) = self.ledger(id).filter(|_| buffered > 0) {
            ledger.warned = true;
        }
        buffered
    }

    /// Called after each command: what has grown large does not wait for the end of the tick.
    pub fn after_command(&mut self) {
        if self.commands.bytes() >= COMMAND_BATCH_BYTES {
            self.flush();
        }
    }

    /// Hands all commands over. Waits for the loop when too many are queued, which bounds the memory; the loop never
    /// waits for JavaScript, so this ends.
    pub fn flush(&mut self) {
        if self.commands.is_empty() {
            return;
        }
        self.event_loop.flush(&mut self.commands);
        self.handed_over = self.handed_over.wrapping_add(1);
        if self.is_alone && self.answered >= YIELD_BYTES {
            self.answered = 0;
            std::thread::yield_now();
        }
        let shared = &self.event_loop.shared;
        while shared.commands.bytes() >= COMMAND_QUEUE_BYTES && self.event_loop.is_running() {
            if !shared.dropped.is_empty() {
                // The loop may wait in turn until JavaScript hears of what was dropped: it does so at once.
                self.registers.put(RELIEF_DUE, &[1]);
                return;
            }
            let is_told = || !shared.dropped.is_empty();
            shared.commands.wait_for_room(COMMAND_QUEUE_BYTES, LONGEST_WAIT, is_told);
        }
    }

    /// Called every so many events while a batch is worked through: answers leave after one of the intervals above, however
    /// long the handlers take. Returns after how many events to call again.
    pub fn flush_due(&mut self, events: u32) -> u32 {
        self.flush();
        let now = Instant::now();
        let each = (now - self.last_flush).as_nanos() as u64 / u64::from(events.max(1));
        self.last_flush = now;
        let cheap = each < CHEAP_EVENT.as_nanos() as u64;
        let interval = match (cheap, self.is_alone) {
            (true, _) => FLUSH_INTERVAL,
            (false, true) => LONE_FLUSH_INTERVAL,
            (false, false) => BUSY_FLUSH_INTERVAL,
        };
        let fitting = interval.as_nanos() as u64 / each.max(1);
        // Growing slowly: one cheap stretch says little about the next handler.
        self.stride = (fitting as u32).clamp(1, (self.stride * 2).min(MAX_STRIDE));
        self.stride
    }

    /// Called before a batch is worked through; returns after how many events to call `flush_due`. What the last
    /// handlers took is the best guess for the next ones.
    pub fn start_stretch(&mut self) -> u32 {
        self.last_flush = Instant::now();
        self.stride
    }

    /// Hands all commands over and waits until the loop has carried them out and tried to write (or a tenth of a second has passed).
    pub fn settle(&mut self) {
        self.flush();
        if self.event_loop.is_running() {
            self.wait_urgently();
        }
    }

    /// The loop must not wait for JavaScript meanwhile. It drops what it has to: as much as there were commands queued.
    fn wait_urgently(&self) -> bool {
        let shared = &self.event_loop.shared;
        shared.urgent.store(true, Ordering::SeqCst);
        if shared.drops_stalled.load(Ordering::SeqCst) {
            self.event_loop.wake();
        }
        let is_settled = shared.settled.wait(self.handed_over, LONGEST_WAIT);
        shared.urgent.store(false, Ordering::SeqCst);
        is_settled
    }

    /// Hands all commands over and waits until the loop has carried them out, however long its turn takes: it never waits
    /// for JavaScript, and every turn of it is bounded.
    pub fn finish(&mut self) {
        self.flush();
        while self.event_loop.is_running() && !self.wait_urgently() {}
    }

    /// The environment ends: waits until what was accepted for sending has reached the kernel, as long as that gets on.
    pub fn drain(&mut self) {
        if self.commands.is_empty() && self.drained == Some(self.handed_over) {
            return;
        }
        let end = Instant::now() + LONGEST_DRAIN;
        self.settle();
        self.drained = Some(self.handed_over);
        let shared = &self.event_loop.shared;
        let (mut left, mut progress) = (shared.unsent.load(Ordering::SeqCst), Instant::now());
        while left > 0 && self.event_loop.is_running() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
            let now = shared.unsent.load(Ordering::SeqCst);
            if now != left {
                (left, progress) = (now, Instant::now());
            } else if progress.elapsed() > LONGEST_WAIT {
                return;
            }
        }
    }

    /// The environment ends: what its `exit` listeners sent leaves. What JavaScript may still ask is answered from here on as if everything were dropped.
    pub fn end(&mut self) {
        self.drain();
        self.registers.put(ANSWER, &[GONE]);
    }

    /// Sends a rare command, behind everything collected so far.
    pub fn control(&mut self, control: Control) {
        self.event_loop.push_control(&mut self.commands, control);
        self.flush();
    }
}
