//! The bounds of the queues, and the sizes from which on payloads are not copied into an arena.

/// Bytes of events queued for JavaScript beyond which the loop stops reading from sockets: TCP's flow control
/// then slows the peers down.
pub const EVENT_QUEUE_BYTES: usize = 4 << 20;
/// The number of events with the same effect: JavaScript needs as much time for a tiny message as for a
/// larger one, and others wait behind it.
pub const EVENT_QUEUE_ITEMS: usize = 2048;
/// Bytes of `Dropped` events queued for JavaScript beyond which the loop executes no more commands: publishes
/// produce them, however little is read.
pub const DROPPED_QUEUE_BYTES: usize = 4 << 20;
/// The number of such events with the same effect.
pub const DROPPED_QUEUE_ITEMS: usize = 4096;
/// Bytes of commands queued for the loop beyond which the JavaScript thread waits for it. With
/// `maxBackpressure` this bounds what one slow client can hold in memory: its limit, one message, and twice
/// this window.
pub const COMMAND_QUEUE_BYTES: usize = 4 << 20;
/// A batch of commands larger than this is handed over at once, not at the end of the turn of Node's event
/// loop.
pub const COMMAND_BATCH_BYTES: usize = 256 << 10;
/// Payloads of commands from this size on are moved by ownership instead of through the arena.
pub const OWNED_PAYLOAD: usize = 8 << 10;
/// A batch of events larger than this is handed over at once, not at the end of the turn: the next read then
/// uses memory that is still in the processor's cache.
pub const EVENT_BATCH_BYTES: usize = 512 << 10;
/// The same for the bytes in its arena, which are copied once more on each side.
pub const EVENT_ARENA_BYTES: usize = 256 << 10;
