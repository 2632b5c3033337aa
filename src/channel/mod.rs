//! The contract between the JavaScript thread and the loop thread: what an event and a command are, how they are
//! laid out in a batch, and the few atomics both sides read.
//!
//! Events and commands travel as fixed-size headers beside one byte arena, so that a batch of thousands costs no
//! allocation each. Large payloads are moved as a `Vec` of their own. The module names protocol values only; neither
//! sockets nor N-API.
#![forbid(unsafe_code)]

pub mod buffers;
pub mod mailbox;

use crate::channel::buffers::Blocks;
use crate::channel::mailbox::{Batch, Mailbox};
use parking_lot::{Condvar, Mutex};
use std::any::Any;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Events queued for JavaScript beyond which the loop stops reading from sockets (TCP then pushes back on the peers).
pub const EVENT_QUEUE_BYTES: usize = 4 << 20;
/// The same by number: a tiny message costs JavaScript as much time as a larger one, and others wait behind it.
pub const EVENT_QUEUE_ITEMS: usize = 2048;
/// Bytes of `Dropped` events queued for JavaScript beyond which the loop carries out no more commands: publishes make
/// them, however little is read.
pub const DROPPED_QUEUE_BYTES: usize = 4 << 20;
/// The same by number.
pub const DROPPED_QUEUE_ITEMS: usize = 4096;
/// Commands queued for the loop beyond which the JavaScript thread waits for it. With `maxBackpressure` this bounds
/// what one slow client can hold in memory: its limit, one message, and twice this window.
pub const COMMAND_QUEUE_BYTES: usize = 4 << 20;
/// A batch of commands larger than this is handed over at once, not at the end of the tick.
pub const COMMAND_BATCH_BYTES: usize = 256 << 10;
/// Payloads of commands from this size on are moved by ownership instead of through the arena.
pub const OWNED_PAYLOAD: usize = 8 << 10;
/// The same for events, whose copies into JavaScript cost less than an ArrayBuffer over memory of ours up to here.
pub const OWNED_EVENT: usize = 32 << 10;
/// A batch of events larger than this is handed over at once, not at the end of the turn: what is read next finds
/// memory that is still in the processor's cache.
pub const EVENT_BATCH_BYTES: usize = 512 << 10;
/// The same for what its arena holds, which is copied once more on each side.
pub const EVENT_ARENA_BYTES: usize = 256 << 10;

/// A connection as both sides name it. The generation makes a command or event for an earlier user of the slot void.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ConnId {
    pub slot: u32,
    pub generation: u32,
}

/// What happened, as the number JavaScript sees in an event header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum EventKind {
    /// A request head; `a` = first matching handler id or `NO_HANDLER`, `b` = flags, `c` = app; payload: a request block (see `event_loop::http`).
    Request = 1,
    /// Body bytes; `a` = flags (`BODY_LAST`), `b`/`c` = low/high half of what is still to come (all ones: unknown).
    Data = 2,
    /// All that was accepted for this response has left; `onWritable`. `a` = the number of its exchange.
    Writable = 3,
    /// The peer closed its sending side while a response is pending.
    PeerEnd = 4,
    /// The loop closed the connection while JavaScript held an object for it; `a` = close code, payload: reason.
    Gone = 5,
    /// A WebSocket message; `a` = 1 when binary.
    Message = 6,
    Ping = 7,
    Pong = 8,
    /// The loop upgraded a connection by itself; `a` = behaviour id.
    Open = 9,
    Drain = 10,
    /// A publish this socket did not get; `a` = 1 when binary.
    Dropped = 11,
    /// Nothing listens and no connection is open any more.
    Quiet = 12,
    /// For `filter`: `a` = app, `b` = 1 accepted, 0 closed; payload: the connection's addresses (`write_address`), peer
    /// and proxied, since its slot may have another one by the time they are asked for.
    Filter = 13,
    /// The loop thread panicked; payload: the message. Nothing follows.
    Panic = 14,
    /// A condition worth one line in the log; payload: the text.
    Warning = 15,
    /// A handshake waits for a server name that is not known; `a` = app, payload: the name.
    ServerName = 17,
    /// A connection is open again after `Quiet`.
    Busy = 16,
    /// `CloseApp` is carried out; `a` = app. Whatever comes of that app behind this is of connections that came after.
    AppClosed = 18,
    /// `a` = handler id of a route that is no more. `b` = 0: no event that follows names it; JavaScript answers with
    /// `Forget` once it will not name it either. 1: that has been seen, and the id may be used again.
    Forgotten = 19,
}

/// The handler id that means "no route matched".
pub const NO_HANDLER: u32 = u32::MAX;

/// Flags of a `Request` event.
pub mod request_flag {
    pub const HAS_BODY: u32 = 1;
    /// The first match is a `ws` route.
    pub const UPGRADE: u32 = 2;
    pub const HEAD: u32 = 4;
    /// The connection closes after this response.
    pub const CLOSE: u32 = 8;
}

/// From this bit on, and below [`EXCHANGE_SHIFT`], the flags of a `Request` event are the length of the body, if the
/// request block has all of it.
pub const BODY_SHIFT: u32 = 8;

/// From this bit on, the flags of a `Request` event are the low bits of the exchange's number on its connection. There
/// are never so many exchanges at once that two of them had the same.
pub const EXCHANGE_SHIFT: u32 = 24;
/// Of the number: with one bit more the flags would be no small integer of V8's.
pub const EXCHANGE_MASK: u8 = 0x7f;

pub const BODY_LAST: u32 = 1;

/// Marks an event whose payload is `owned[offset]` instead of a range of the arena.
pub const OWNED: u32 = 1 << 31;

/// Marks a request block that JavaScript had set aside (`park`).
pub const PARKED: u32 = 1 << 30;

/// Marks a payload of the `Dropped` events, which have batches of their own.
pub const OF_DROPPED: u32 = 1 << 29;

/// Offsets below this are unmarked. An arena is handed over long before it is so large, unless by one huge payload.
const MOST_ARENA: usize = 1 << 29;

/// One event, eight words as JavaScript reads them.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct EventHeader {
    pub kind: u32,
    pub slot: u32,
    pub generation: u32,
    pub a: u32,
    pub b: u32,
    pub c: u32,
    pub offset: u32,
    pub len: u32,
}

pub const EVENT_WORDS: usize = 8;

impl EventHeader {
    pub fn words(&self) -> [u32; EVENT_WORDS] {
        [self.kind, self.slot, self.generation, self.a, self.b, self.c, self.offset, self.len]
    }
}

#[derive(Default)]
pub struct EventBatch {
    pub headers: Vec<EventHeader>,
    pub arena: Vec<u8>,
    pub owned: Vec<Owned>,
    owned_bytes: usize,
    /// The one of `owned` that waits for the buffer it is a part of. Others may have been pushed behind it.
    claimed: Option<usize>,
}

/// A payload with a buffer of its own, of which it is a part.
#[derive(Debug, Default)]
pub struct Owned {
    pub buffer: Vec<u8>,
    pub range: Range<usize>,
}

impl Owned {
    pub fn bytes(&self) -> &[u8] {
        self.buffer.get(self.range.clone()).unwrap_or_default()
    }
}

impl EventBatch {
    /// Whether it is to be handed over before more is added.
    pub fn is_full(&self) -> bool {
        self.arena.len() >= EVENT_ARENA_BYTES
            || self.bytes() >= EVENT_BATCH_BYTES
            || self.items() >= EVENT_QUEUE_ITEMS
    }

    /// An event with its payload copied into the arena.
    pub fn push(&mut self, kind: EventKind, id: ConnId, [a, b, c]: [u32; 3], payload: &[u8]) {
        if self.arena.len() >= MOST_ARENA {
            return self.push_owned(kind, id, [a, b, c], payload.to_vec());
        }
        let offset = self.arena.len() as u32;
        self.arena.extend_from_slice(payload);
        self.push_header(kind, id, [a, b, c], offset, payload.len() as u32);
    }

    /// An event whose payload the caller has just appended to the arena, from `offset` on.
    pub fn push_from(&mut self, kind: EventKind, id: ConnId, args: [u32; 3], offset: usize) {
        let len = (self.arena.len() - offset) as u32;
        self.push_header(kind, id, args, offset as u32, len);
    }

    /// A `Dropped` event, whose payload is a range of the arena that other events have, too.
    pub fn push_dropped(&mut self, id: ConnId, binary: bool, offset: usize, len: usize) {
        debug_assert!(offset < MOST_ARENA, "the queue's bound comes first");
        let offset = offset as u32 | OF_DROPPED;
        self.push_header(EventKind::Dropped, id, [u32::from(binary), 0, 0], offset, len as u32);
    }

    /// An event whose payload moves by ownership.
    pub fn push_owned(&mut self, kind: EventKind, id: ConnId, args: [u32; 3], payload: Vec<u8>) {
        let range = 0..payload.len();
        self.push_part(kind, id, args, payload, range);
    }

    /// An event whose payload is in the read buffer, at `range`. The caller gives the buffer away with
    /// [`give_claimed`](Self::give_claimed) before it reads again or hands the batch over.
    pub fn push_claim(&mut self, kind: EventKind, id: ConnId, args: [u32; 3], range: Range<usize>) {
        debug_assert!(self.claimed.is_none(), "a read buffer can be given away once");
        self.claimed = Some(self.owned.len());
        self.push_part(kind, id, args, Vec::new(), range);
    }

    /// Whether an event waits for the read buffer.
    pub fn is_claimed(&self) -> bool {
        self.claimed.is_some()
    }

    pub fn give_claimed(&mut self, buffer: Vec<u8>) {
        if let Some(owned) = self.claimed.take().and_then(|index| self.owned.get_mut(index)) {
            // All of the buffer is held for it.
            self.owned_bytes += buffer.capacity() - owned.range.len();
            owned.buffer = buffer;
        }
    }

    fn push_part(
        &mut self,
        kind: EventKind,
        id: ConnId,
        args: [u32; 3],
        buffer: Vec<u8>,
        range: Range<usize>,
    ) {
        let (len, offset) = (range.len(), self.owned.len() as u32 | OWNED);
        self.owned_bytes += len;
        self.owned.push(Owned { buffer, range });
        self.push_header(kind, id, args, offset, len as u32);
    }

    fn push_header(&mut self, kind: EventKind, id: ConnId, [a, b, c]: [u32; 3], offset: u32, len: u32) {
        let ConnId { slot, generation } = id;
        self.headers.push(EventHeader { kind: kind as u32, slot, generation, a, b, c, offset, len });
    }
}

impl Batch for EventBatch {
    fn is_empty(&self) -> bool {
        self.headers.is_empty()
    }
    fn bytes(&self) -> usize {
        self.arena.len() + self.owned_bytes + self.headers.len() * size_of::<EventHeader>()
    }
    fn items(&self) -> usize {
        self.headers.len()
    }
    fn recycle(&mut self) {
        clear_bounded(&mut self.arena);
        self.headers.clear();
        self.owned.clear();
        self.owned_bytes = 0;
        self.claimed = None;
    }
}

/// What JavaScript asks of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Op {
    /// A whole response; payload: [`ResponseParts`]. Flags: [`respond_flag`].
    Respond = 1,
    /// A chunk of a streamed response (the first one with its head).
    Write = 2,
    /// Part of a response of known length; `arg`/`extra` = low/high half of the total.
    TryEnd = 3,
    /// The end of a streamed response, with a last chunk that may be empty.
    Finish = 4,
    Pause = 5,
    Resume = 6,
    /// Close at once, without an event.
    Close = 7,
    /// Report `Writable` once nothing is waiting to be sent.
    WantWritable = 8,
    /// JavaScript has seen `Gone`: the slot may be used again.
    Release = 9,
    /// Payload: [`ResponseParts`] with key, protocol and extensions as body; `arg` = behaviour id.
    Upgrade = 10,
    /// JavaScript has seen `ServerName`: the handshake goes on.
    ServerName = 11,
    /// The WebSocket is subscribed to nothing any more: JavaScript has learnt of its end, and gives back the numbers of
    /// topics that nobody else has.
    LeaveTopics = 12,
    /// A rare command with more to it than fits into a record: the boxed item of the batch says which.
    Control = 13,
    /// A WebSocket frame. Flags: [`send_flag`].
    Send = 20,
    /// Close frame with code `arg` and the payload as reason.
    End = 21,
    /// `arg` = topic.
    Subscribe = 22,
    Unsubscribe = 23,
    /// `arg` = topic; the connection is the sender, which is left out (slot `NOBODY`: none).
    Publish = 24,
    /// Close because of `closeOnBackpressureLimit`, with an event.
    Overflow = 25,
    /// `arg` = app: close its listeners and connections.
    CloseApp = 30,
    /// `arg` = listener.
    CloseListener = 31,
    /// `arg` = handler id that no command behind this one names.
    Forget = 32,
}

impl Op {
    const ALL: [Op; 22] = [
        Op::Respond,
        Op::Write,
        Op::TryEnd,
        Op::Finish,
        Op::Pause,
        Op::Resume,
        Op::Close,
        Op::WantWritable,
        Op::Release,
        Op::Upgrade,
        Op::ServerName,
        Op::LeaveTopics,
        Op::Control,
        Op::Send,
        Op::End,
        Op::Subscribe,
        Op::Unsubscribe,
        Op::Publish,
        Op::Overflow,
        Op::CloseApp,
        Op::CloseListener,
        Op::Forget,
    ];

    pub fn from_number(number: u32) -> Option<Op> {
        const TABLE: [Option<Op>; 64] = {
            let (mut table, mut i) = ([None; 64], 0);
            while i < Op::ALL.len() {
                table[Op::ALL[i] as usize] = Some(Op::ALL[i]);
                i += 1;
            }
            table
        };
        TABLE.get(number as usize).copied().flatten()
    }
}

/// The slot number of nobody, for publishes without a sender.
pub const NOBODY: u32 = u32::MAX;

pub mod respond_flag {
    /// Close after the last byte.
    pub const CLOSE: u32 = 1;
    /// No body and no automatic length (`endWithoutBody()`).
    pub const NO_LENGTH: u32 = 2;
    /// No body; `arg`/`extra` are the length to report (`endWithoutBody(n)`).
    pub const REPORTED_LENGTH: u32 = 4;
    /// The user wrote a `Date` header.
    pub const OWN_DATE: u32 = 8;
    /// The last of the header lines is the user's `Connection`.
    pub const OWN_CONNECTION: u32 = 16;
}

pub mod send_flag {
    pub const BINARY: u32 = 1;
    pub const COMPRESS: u32 = 2;
    pub const PING: u32 = 4;
    /// A continuation (`sendFragment`, `sendLastFragment`).
    pub const CONTINUATION: u32 = 8;
    /// More fragments follow.
    pub const NOT_FINAL: u32 = 16;
}

const COMMAND_HEADER: usize = 28;

/// Commands as records in one arena: op, flags, slot, generation, arg, extra, inline length, each a little-endian
/// word (op and flags share the first), then the inline payload.
#[derive(Default)]
pub struct CommandBatch {
    bytes: Vec<u8>,
    owned: Vec<Vec<u8>>,
    owned_bytes: usize,
    boxed: Vec<Option<Boxed>>,
}

/// A rare command, whose type the event loop knows. It travels with the others so that its place among them is its own.
pub type Boxed = Box<dyn Any + Send>;

/// The records of a batch, one after the other.
pub struct Records<'a> {
    bytes: &'a [u8],
    owned: &'a mut [Vec<u8>],
    boxed: &'a mut [Option<Boxed>],
    /// Of the next record.
    at: usize,
}

/// One command as the loop sees it.
pub struct Command<'a> {
    pub op: Op,
    pub flags: u32,
    pub id: ConnId,
    pub arg: u32,
    pub extra: u32,
    pub payload: &'a [u8],
    /// A large payload that follows the inline one.
    pub owned: Option<Vec<u8>>,
    /// Of [`Op::Control`].
    pub boxed: Option<Boxed>,
}

impl Command<'_> {
    /// The [`command_cost`] that JavaScript has counted as sent for it; 0 for commands that carry nothing for the peer.
    pub fn cost(&self) -> usize {
        let inline = match self.op {
            Op::Respond | Op::Write | Op::TryEnd | Op::Finish | Op::Upgrade => {
                ResponseParts::parse(self.payload).body.len()
            }
            Op::Send => self.payload.len(),
            _ => return 0,
        };
        command_cost(self.owned.as_ref().map_or(inline, Vec::len))
    }

    pub fn arg64(&self) -> u64 {
        u64::from(self.arg) | u64::from(self.extra) << 32
    }
}

impl CommandBatch {
    /// Starts a record and returns the position to give to [`finish`](Self::finish) once the payload is appended.
    pub fn begin(&mut self, op: Op, flags: u32, id: ConnId, arg: u32, extra: u32) -> usize {
        let start = self.bytes.len();
        let words = [op as u32 | flags << 8, id.slot, id.generation, arg, extra, 0, 0];
        let mut header = [0; COMMAND_HEADER];
        for (place, word) in header.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        self.bytes.extend_from_slice(&header);
        start
    }

    /// The arena, to append the inline payload of the record that was begun last.
    pub fn payload(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    pub fn finish(&mut self, start: usize) {
        let len = (self.bytes.len() - start - COMMAND_HEADER) as u32;
        self.bytes[start + 20..start + 24].copy_from_slice(&len.to_le_bytes());
    }

    /// Like `finish`, with a large payload that moves by ownership.
    pub fn finish_owned(&mut self, start: usize, owned: Vec<u8>) {
        self.finish(start);
        self.owned_bytes += owned.len();
        self.owned.push(owned);
        let index = self.owned.len() as u32; // 0 is "none"
        self.bytes[start + 24..start + 28].copy_from_slice(&index.to_le_bytes());
    }

    /// Like `finish_owned`, with the last `len` bytes of what was appended.
    pub fn finish_moving(&mut self, start: usize, len: usize, blocks: &Blocks) {
        let rest = self.bytes.len() - len;
        let owned = blocks.copy(&self.bytes[rest..]);
        self.bytes.truncate(rest);
        self.finish_owned(start, owned);
    }

    /// Takes back a record begun at `start` (its payload could not be read).
    pub fn cancel(&mut self, start: usize) {
        self.bytes.truncate(start);
    }

    /// A record without payload.
    pub fn push(&mut self, op: Op, id: ConnId, arg: u32) {
        let start = self.begin(op, 0, id, arg, 0);
        self.finish(start);
    }

    /// A rare command, in order with the others.
    pub fn push_boxed(&mut self, boxed: Boxed) {
        let index = self.boxed.len() as u32;
        self.boxed.push(Some(boxed));
        self.push(Op::Control, ConnId::default(), index);
    }

    /// Empties the batch without carrying it out.
    pub fn give_back(&mut self, blocks: &Blocks) {
        for buffer in self.owned.drain(..) {
            blocks.give(buffer);
        }
        self.recycle();
    }

    /// The records from position `at` on.
    pub fn records(&mut self, at: usize) -> Records<'_> {
        Records { bytes: &self.bytes, owned: &mut self.owned, boxed: &mut self.boxed, at }
    }
}

impl<'a> Records<'a> {
    /// Where the next record is, for another [`records`](CommandBatch::records); `None` at the end.
    pub fn position(&self) -> Option<usize> {
        (self.at < self.bytes.len()).then_some(self.at)
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Command<'a>;

    fn next(&mut self) -> Option<Command<'a>> {
        let header = self.bytes.get(self.at..self.at + COMMAND_HEADER)?;
        let word = |i: usize| u32::from_le_bytes(header[i * 4..i * 4 + 4].try_into().unwrap_or_default());
        let payload_start = self.at + COMMAND_HEADER;
        let payload = self.bytes.get(payload_start..payload_start + word(5) as usize)?;
        self.at = payload_start + payload.len();
        let owned = word(6).checked_sub(1).and_then(|i| self.owned.get_mut(i as usize)).map(std::mem::take);
        let (op, arg) = (Op::from_number(word(0) & 0xff)?, word(3));
        let boxed = match op {
            Op::Control => self.boxed.get_mut(arg as usize).and_then(Option::take),
            _ => None,
        };
        Some(Command {
            op,
            flags: word(0) >> 8,
            id: ConnId { slot: word(1), generation: word(2) },
            arg,
            extra: word(4),
            payload,
            owned,
            boxed,
        })
    }
}

impl Batch for CommandBatch {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
    fn bytes(&self) -> usize {
        self.bytes.len() + self.owned_bytes
    }
    fn recycle(&mut self) {
        clear_bounded(&mut self.bytes);
        self.owned.clear();
        self.owned_bytes = 0;
        self.boxed.clear();
    }
}

/// Arena capacity that is kept from one batch to the next.
const KEPT_CAPACITY: usize = 1 << 20;

fn clear_bounded(arena: &mut Vec<u8>) {
    arena.clear();
    if arena.capacity() > KEPT_CAPACITY {
        arena.shrink_to(KEPT_CAPACITY);
    }
}

/// What a connection's `sent`/`acked` counters count for a payload: its bytes and a little for the record itself.
pub fn command_cost(payload: usize) -> usize {
    payload + 16
}

/// The atomics of one connection that JavaScript reads to answer synchronously.
///
/// They belong to a generation, not to the slot: whoever asks names the one it means, and gets nothing of a later
/// user's. Only the loop writes.
pub struct SlotState {
    /// Of the connection that the rest is about; [`BETWEEN`] while the loop makes place for another.
    generation: AtomicU32,
    backlog: AtomicUsize,
    acked: AtomicUsize,
    peer: AddressCell,
    proxied: AddressCell,
}

/// No connection has this generation, which is of 31 bits.
const BETWEEN: u32 = u32::MAX;

impl Default for SlotState {
    fn default() -> Self {
        SlotState {
            generation: AtomicU32::new(BETWEEN),
            backlog: AtomicUsize::default(),
            acked: AtomicUsize::default(),
            peer: AddressCell::default(),
            proxied: AddressCell::default(),
        }
    }
}

/// The loop's account of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Bytes the kernel has refused so far and that wait in the loop.
    pub backlog: usize,
    /// [`command_cost`] of all the commands of this connection that the loop has carried out or dropped, wrapping.
    pub acked: usize,
}

impl SlotState {
    /// The slot has another connection: its account begins at nothing.
    pub fn begin(&self, generation: u32, peer: Option<SocketAddr>) {
        self.generation.store(BETWEEN, Ordering::Relaxed);
        // Pairs with the fence in `read`: who sees anything that follows sees that it is not the earlier user's.
        fence(Ordering::Release);
        self.backlog.store(0, Ordering::Relaxed);
        self.acked.store(0, Ordering::Relaxed);
        self.peer.store(peer);
        self.proxied.store(None);
        self.generation.store(generation, Ordering::Release);
    }

    pub fn set_backlog(&self, bytes: usize) {
        self.backlog.store(bytes, Ordering::SeqCst);
    }

    pub fn acknowledge(&self, cost: usize) {
        self.acked.fetch_add(cost, Ordering::Release);
    }

    /// From a PROXY protocol header.
    pub fn set_proxied(&self, address: Option<SocketAddr>) {
        self.proxied.store(address);
    }

    /// `None`: the slot has another connection by now.
    pub fn account(&self, generation: u32) -> Option<Account> {
        self.read(generation, |state| {
            // In this order: the loop tells of a backlog before it tells that the bytes have arrived.
            let acked = state.acked.load(Ordering::Acquire);
            Account { acked, backlog: state.backlog.load(Ordering::SeqCst) }
        })
    }

    pub fn peer(&self, generation: u32) -> Option<SocketAddr> {
        self.read(generation, |state| state.peer.load()).flatten()
    }

    pub fn proxied(&self, generation: u32) -> Option<SocketAddr> {
        self.read(generation, |state| state.proxied.load()).flatten()
    }

    fn read<T>(&self, generation: u32, look: impl FnOnce(&Self) -> T) -> Option<T> {
        if self.generation.load(Ordering::Acquire) != generation {
            return None;
        }
        let seen = look(self);
        fence(Ordering::Acquire);
        (self.generation.load(Ordering::Relaxed) == generation).then_some(seen)
    }
}

/// A socket address in atomics.
#[derive(Default)]
pub struct AddressCell {
    high: AtomicU64,
    low: AtomicU64,
    /// 0: none; otherwise family (4 or 6) in bits 16 and up, port below.
    meta: AtomicU32,
}

impl AddressCell {
    pub fn store(&self, address: Option<SocketAddr>) {
        let (ip, meta) = match address {
            None => (0, 0),
            Some(SocketAddr::V4(a)) => (u128::from(a.ip().to_bits()), 4 << 16 | u32::from(a.port())),
            Some(SocketAddr::V6(a)) => (a.ip().to_bits(), 6 << 16 | u32::from(a.port())),
        };
        self.high.store((ip >> 64) as u64, Ordering::Relaxed);
        self.low.store(ip as u64, Ordering::Relaxed);
        self.meta.store(meta, Ordering::Relaxed);
    }

    pub fn load(&self) -> Option<SocketAddr> {
        let meta = self.meta.load(Ordering::Relaxed);
        let (high, low) = (self.high.load(Ordering::Relaxed), self.low.load(Ordering::Relaxed));
        let ip: IpAddr = match meta >> 16 {
            4 => Ipv4Addr::from_bits(low as u32).into(),
            6 => Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low)).into(),
            _ => return None,
        };
        Some(SocketAddr::new(ip, meta as u16))
    }
}

/// Appends an address for JavaScript: the number of its bytes (0: none), those, and the port in two more, low byte first.
pub fn write_address(out: &mut Vec<u8>, address: Option<SocketAddr>) {
    match address.map(|address| address.ip()) {
        None => out.push(0),
        Some(IpAddr::V4(ip)) => {
            out.push(4);
            out.extend_from_slice(&ip.octets());
        }
        Some(IpAddr::V6(ip)) => {
            out.push(16);
            out.extend_from_slice(&ip.octets());
        }
    }
    if let Some(address) = address {
        out.extend_from_slice(&address.port().to_le_bytes());
    }
}

const SLOTS_PER_CHUNK: usize = 1024;
const CHUNKS: usize = 4096;
/// Most connections one loop can hold.
pub const MAX_CONNECTIONS: usize = SLOTS_PER_CHUNK * CHUNKS;

/// The slot states of one loop; grows by chunks and never moves one.
pub struct SlotTable {
    chunks: Box<[OnceLock<Box<[SlotState]>>]>,
}

impl Default for SlotTable {
    fn default() -> Self {
        SlotTable { chunks: (0..CHUNKS).map(|_| OnceLock::new()).collect() }
    }
}

impl SlotTable {
    /// The state of a slot below [`MAX_CONNECTIONS`]; created on first use.
    pub fn get(&self, slot: u32) -> &SlotState {
        let slot = slot as usize;
        let chunk = self.chunks[slot / SLOTS_PER_CHUNK % CHUNKS]
            .get_or_init(|| (0..SLOTS_PER_CHUNK).map(|_| SlotState::default()).collect());
        &chunk[slot % SLOTS_PER_CHUNK]
    }
}

/// Everything the two threads share.
pub struct Shared {
    pub events: Mailbox<EventBatch>,
    /// `Dropped` events, of which JavaScript has to be able to take some while it waits for the loop to take commands.
    /// The loop puts them before the events that follow them, and wakes JavaScript as for those.
    pub dropped: Mailbox<EventBatch>,
    pub commands: Mailbox<CommandBatch>,
    pub slots: SlotTable,
    pub blocks: Arc<Blocks>,
    /// Set when the loop stopped reading because too many events wait; JavaScript then wakes it after taking some.
    pub stalled: AtomicBool,
    /// Set when the loop stopped carrying out commands because too many `Dropped` events wait; likewise.
    pub drops_stalled: AtomicBool,
    /// JavaScript waits for commands to be carried out and can take no events meanwhile: the loop does not stop.
    pub urgent: AtomicBool,
    /// [`Op::Control`] records that were put and are not carried out yet.
    pub controls: AtomicUsize,
    /// The environment ends: the loop returns.
    pub stop: AtomicBool,
    pub settled: Settled,
    /// TLS handshakes that did not come about, for whatever reason.
    pub failed_handshakes: AtomicU64,
    /// Bytes of all connections together that the kernel has refused.
    pub unsent: AtomicUsize,
    /// Turns the loop has made: how often it woke, for diagnosis.
    pub turns: AtomicUsize,
}

impl Default for Shared {
    fn default() -> Self {
        Shared {
            events: Mailbox::new(true),
            dropped: Mailbox::new(false),
            commands: Mailbox::new(false),
            slots: SlotTable::default(),
            blocks: Arc::default(),
            stalled: AtomicBool::new(false),
            drops_stalled: AtomicBool::new(false),
            urgent: AtomicBool::new(false),
            controls: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            settled: Settled::default(),
            failed_handshakes: AtomicU64::new(0),
            unsent: AtomicUsize::new(0),
            turns: AtomicUsize::new(0),
        }
    }
}

/// How many batches of commands the loop has carried out, and tried to write what they produced.
#[derive(Default)]
pub struct Settled {
    batches: AtomicUsize,
    waiting: AtomicBool,
    lock: Mutex<()>,
    changed: Condvar,
}

impl Settled {
    /// Called by the loop at the end of a turn.
    pub fn set(&self, batches: usize) {
        self.batches.store(batches, Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst) {
            let _lock = self.lock.lock();
            self.changed.notify_all();
        }
    }

    /// Waits until `batches` of them are done, at most for `longest`. Called by the JavaScript thread.
    pub fn wait(&self, batches: usize, longest: Duration) -> bool {
        let reached = || self.batches.load(Ordering::SeqCst).wrapping_sub(batches) as isize >= 0;
        if reached() {
            return true;
        }
        let end = Instant::now() + longest;
        let mut lock = self.lock.lock();
        self.waiting.store(true, Ordering::SeqCst);
        while !reached() && !self.changed.wait_until(&mut lock, end).timed_out() {}
        self.waiting.store(false, Ordering::SeqCst);
        reached()
    }
}

/// Wakes the JavaScript thread; called by the loop.
pub trait WakeJs: Send + Sync {
    fn wake(&self);
    /// Called on the loop's thread before it begins.
    fn loop_starts(&self) {}
}

/// The parts of a response inside a command payload: status, head lines, and what is left as body.
#[derive(Debug, PartialEq, Eq)]
pub struct ResponseParts<'a> {
    pub status: &'a [u8],
    pub headers: &'a [u8],
    pub body: &'a [u8],
}

impl<'a> ResponseParts<'a> {
    /// The inverse of [`begin_parts`]; a payload that is cut short gives empty parts.
    pub fn parse(payload: &'a [u8]) -> Self {
        let length = |at: usize| -> usize {
            payload.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes) as usize
        };
        let (status, headers) = (length(0), length(4));
        let range = |from: usize, len: usize| payload.get(from..from + len).unwrap_or_default();
        ResponseParts {
            status: range(8, status),
            headers: range(8 + status, headers),
            body: payload.get(8 + status + headers..).unwrap_or_default(),
        }
    }
}

/// Writes the length prefix of [`ResponseParts`]; returns its position for [`set_part`].
pub fn begin_parts(arena: &mut Vec<u8>) -> usize {
    let at = arena.len();
    arena.extend_from_slice(&[0; 8]);
    at
}

/// Records the length of part `index` (0 status, 1 headers), which was appended from `from` on.
pub fn set_part(arena: &mut [u8], parts: usize, index: usize, len: usize) {
    let at = parts + index * 4;
    arena[at..at + 4].copy_from_slice(&(len as u32).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    type Record = (Op, u32, ConnId, u64, Vec<u8>, Option<Vec<u8>>);

    fn collect(batch: &mut CommandBatch) -> Vec<Record> {
        batch.records(0).map(|c| (c.op, c.flags, c.id, c.arg64(), c.payload.to_vec(), c.owned)).collect()
    }

    #[test]
    fn commands_come_out_as_they_went_in() {
        let mut batch = CommandBatch::default();
        let id = ConnId { slot: 7, generation: 9 };
        let start = batch.begin(Op::Send, send_flag::BINARY, id, 3, 4);
        batch.payload().extend_from_slice(b"hello");
        batch.finish(start);
        batch.push(Op::Subscribe, id, 12);
        let start = batch.begin(Op::Respond, 0, id, 0, 0);
        batch.payload().extend_from_slice(b"head");
        batch.finish_owned(start, vec![1, 2, 3]);
        let start = batch.begin(Op::Send, 0, id, 0, 0);
        batch.cancel(start);
        assert_eq!(
            collect(&mut batch),
            [
                (Op::Send, 1, id, 3 | 4 << 32, b"hello".to_vec(), None),
                (Op::Subscribe, 0, id, 12, vec![], None),
                (Op::Respond, 0, id, 0, b"head".to_vec(), Some(vec![1, 2, 3])),
            ]
        );
        assert_eq!(batch.bytes(), 3 * COMMAND_HEADER + 5 + 4 + 3);
        batch.recycle();
        assert!(batch.is_empty() && batch.bytes() == 0);
    }

    #[test]
    fn every_op_has_a_number_of_its_own() {
        for op in Op::ALL {
            assert_eq!(Op::from_number(op as u32), Some(op));
        }
        assert_eq!(Op::from_number(0), None);
    }

    #[test]
    fn response_parts_round_trip_and_tolerate_truncation() {
        let mut arena = Vec::new();
        let parts = begin_parts(&mut arena);
        arena.extend_from_slice(b"200 OK");
        set_part(&mut arena, parts, 0, 6);
        arena.extend_from_slice(b"a: b\r\n");
        set_part(&mut arena, parts, 1, 6);
        arena.extend_from_slice(b"body");
        let whole = ResponseParts { status: b"200 OK", headers: b"a: b\r\n", body: b"body" };
        assert_eq!(ResponseParts::parse(&arena), whole);
        for cut in 0..arena.len() {
            let _ = ResponseParts::parse(&arena[..cut]);
        }
    }

    #[test]
    fn addresses_survive_the_cell() {
        let cell = AddressCell::default();
        assert_eq!(cell.load(), None);
        for text in ["127.0.0.1:80", "[::ffff:127.0.0.1]:65535", "[2001:db8::1]:1"] {
            let address: SocketAddr = text.parse().expect("address");
            cell.store(Some(address));
            assert_eq!(cell.load(), Some(address));
        }
        cell.store(None);
        assert_eq!(cell.load(), None);
    }

    #[test]
    fn what_is_said_of_a_slot_is_said_of_one_connection() {
        let (state, peer) = (SlotState::default(), "127.0.0.1:80".parse().ok());
        assert_eq!((state.account(0), state.peer(0)), (None, None));
        state.begin(7, peer);
        state.acknowledge(100);
        state.set_backlog(5);
        state.set_proxied(peer);
        assert_eq!(state.account(7), Some(Account { backlog: 5, acked: 100 }));
        assert_eq!((state.peer(7), state.proxied(7)), (peer, peer));
        state.begin(8, None);
        assert_eq!(state.account(7), None, "nothing of the next one");
        assert_eq!((state.peer(7), state.proxied(7)), (None, None));
        assert_eq!((state.account(8), state.proxied(8)), (Some(Account::default()), None));
    }

    #[test]
    fn large_event_payloads_move_by_ownership() {
        let mut batch = EventBatch::default();
        batch.push(EventKind::Message, ConnId::default(), [1, 0, 0], b"abc");
        batch.push_owned(EventKind::Message, ConnId::default(), [0; 3], vec![9; 10]);
        assert_eq!(batch.headers[0].words(), [6, 0, 0, 1, 0, 0, 0, 3]);
        assert_eq!(batch.headers[1].offset, OWNED);
        assert_eq!(batch.owned[0].bytes(), [9; 10]);
        assert_eq!(batch.bytes(), 3 + 10 + 64);
    }

    #[test]
    fn an_event_can_claim_the_buffer_its_payload_was_read_into() {
        let mut batch = EventBatch::default();
        batch.push_claim(EventKind::Data, ConnId::default(), [0; 3], 2..5);
        assert!(batch.is_claimed());
        batch.give_claimed(b"abcdefgh".to_vec());
        assert!(!batch.is_claimed());
        assert_eq!(batch.owned[0].bytes(), b"cde");
        assert_eq!(batch.headers[0].len, 3);
        assert_eq!(batch.bytes(), 8 + 32, "the whole buffer counts");
    }

    #[test]
    fn the_read_buffer_goes_to_the_event_that_claimed_it_whatever_was_pushed_since() {
        let mut batch = EventBatch::default();
        batch.push_claim(EventKind::Message, ConnId::default(), [0; 3], 2..5);
        batch.push_owned(EventKind::Message, ConnId::default(), [0; 3], b"other".to_vec());
        batch.push(EventKind::Message, ConnId::default(), [0; 3], b"small");
        batch.give_claimed(b"abcdefgh".to_vec());
        assert_eq!(batch.owned[0].bytes(), b"cde");
        assert_eq!(batch.owned[1].bytes(), b"other");
    }
}
