//! The numbers and flags by which the two sides understand each other.

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
pub(super) const MOST_ARENA: usize = 1 << 29;

pub const EVENT_WORDS: usize = 8;

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
    pub(super) const ALL: [Op; 22] = [
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
