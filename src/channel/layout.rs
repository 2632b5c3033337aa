//! Everything that crosses between the two sides, declared once. A macro makes the Rust items and the text of
//! `lib/layout.js` of it; a test compares that file. After a change here, write it with
//! `UPDATE=1 cargo test --no-default-features layout`.

mod exchange;
mod javascript;
mod macros;
mod words;

pub use exchange::ExchangeId;
use javascript::{
    Literal, Part, bit_field_function, camel, deliver_function, event_docs, pascal, put_function, screaming,
};
use macros::{layout, numbers, read_fields, write_fields};
use words::longest;
pub use words::{BitField, Field};

layout! {
    /// The header of an event, as JavaScript reads it.
    header EventHeader {
        kind,
        slot,
        generation,
        a,
        b,
        c,
        offset,
        len,
    }

    events {
        /// A request head, with the first handler that matches; payload: a request block (`request_block`).
        Request { handler: u32, flags: u32, app: u32 },
        /// A request of a cached route, whose answer ends the flight and no exchange. The connection is that
        /// of the client that asked, for its address. Payload: a request block.
        CachedRequest { handler: u32, flight: u64 },
        /// Body bytes; `flags` may have `BODY_LAST`, `remaining` is the number of bytes still to come, or
        /// [`UNKNOWN_LENGTH`].
        Data { flags: u32, remaining: u64 },
        /// So little of the response waits to be sent (`WRITABLE_BELOW`) that it may go on; `onWritable`.
        Writable { exchange: u32 },
        /// The peer closed its sending side while a response is pending.
        PeerEnd,
        /// The loop closed the connection while JavaScript held an object for it; payload: the reason.
        Gone { code: u32 },
        /// A WebSocket message.
        Message { binary: bool },
        Ping,
        Pong,
        /// The loop upgraded a connection by itself.
        Open { behaviour: u32 },
        Drain,
        /// A publish that this WebSocket did not get.
        Dropped { binary: bool },
        /// Nothing listens and no connection is open any more.
        Quiet,
        /// A connection is open again after `Quiet`, or JavaScript has handed one over (`adopted`), which
        /// may be closed already.
        Busy { adopted: bool },
        /// For `filter`; payload: the connection's addresses (`write_address`), peer and proxied, since its
        /// slot may have another one by the time they are asked for.
        Filter { app: u32, accepted: bool },
        /// The loop thread panicked; payload: the message. Nothing follows.
        Panic,
        /// A condition worth one line in the log; payload: the text.
        Warning,
        /// A handshake waits for a server name that is not known; payload: the name.
        ServerName { app: u32 },
        /// A limit of the app was breached so many times since the last such event; payload: its name.
        Breach { app: u32, count: u32 },
        /// `CloseApp` is executed. Events of that app behind this one belong to connections that came later.
        AppClosed { app: u32 },
        /// The app has shut down: its last connection is over, and `cut` of them were closed before they were
        /// done.
        ShutDown { app: u32, cut: u32 },
        /// A handler whose route was replaced or removed; `stage` is one of `ForgottenStage`.
        Forgotten { handler: u32, stage: u32 },
    }

    /// How far the two sides have got with forgetting a handler.
    enum ForgottenStage: u32 = 0 {
        /// No event that follows names the handler; JavaScript answers with `Forget` once its commands will
        /// not name it either.
        Unnamed,
        /// The loop has seen `Forget`; the number may be used again.
        Free,
    }

    /// Flags of a `Request` event, and above them two numbers.
    flags request_flag {
        HAS_BODY,
        /// A HEAD request: the response has no body.
        HEAD,
        /// An earlier request of its connection was still being answered when it was handed over.
        AHEAD,
        ;
        /// The length of the body, if the request block has all of it.
        BODY_LENGTH: 16 bits,
        /// The low bits of the exchange's number on its connection. A connection never has so many exchanges
        /// at once that two of them have the same.
        EXCHANGE: 7 bits,
    }

    /// A flag of a `Data` event.
    const BODY_LAST: u32 = 1;

    /// Stands for the number of bytes still to come of a body whose length is not known.
    const UNKNOWN_LENGTH: u64 = u64::MAX;

    /// The answer for a match that a request does not have.
    const NO_MATCH: i32 = -1;

    /// Parts of a request line.
    enum RequestPart: u32 = 0 {
        Method,
        Path,
        Query,
    }

    /// Payloads of events from this size on move by ownership, and JavaScript gets an ArrayBuffer over memory
    /// of the loop. Below this size that costs more than a copy.
    const OWNED_EVENT: usize = 32 << 10;

    /// A command of JavaScript, most of them about one connection.
    enum Op: u8 = 1 {
        /// A whole response; payload: `ResponseParts`. Flags: [`respond_flag`].
        Respond,
        /// A chunk of a streamed response (the first one with its head).
        Write,
        /// Part of a response of known length; `arg` and `extra` are the halves of the total, low and high.
        TryEnd,
        /// The end of a streamed response, with a last chunk that may be empty.
        Finish,
        /// `arg` = bytes of the body, wrapping, that the program has been given. JavaScript keeps the others.
        Pause,
        /// The program has been given all bytes of the body so far, and reads on.
        Resume,
        /// Close at once, without an event, behind the bytes that the kernel takes now. `arg`: 1 if not even
        /// they are to be sent.
        Close,
        /// Report `Writable` once little waits to be sent (`WRITABLE_BELOW`).
        WantWritable,
        /// JavaScript has seen `Gone`: the slot may be used again.
        Release,
        /// Payload: `ResponseParts` with key, protocol and extensions as body; `arg` = behaviour.
        Upgrade,
        /// JavaScript has seen `ServerName`: the handshake goes on.
        ServerName,
        /// A WebSocket frame. Flags: [`send_flag`].
        Send,
        /// Close frame with code `arg` and the payload as reason.
        End,
        /// `arg` = topic.
        Subscribe,
        /// `arg` = topic.
        Unsubscribe,
        /// The WebSocket is subscribed to nothing any more: JavaScript has learnt of its end, and gives back
        /// the numbers of topics without other subscribers.
        LeaveTopics,
        /// `arg` = topic; the connection is the sender, which is left out (slot [`NOBODY`]: none).
        Publish,
        /// Close because of `closeOnBackpressureLimit`, with an event.
        Overflow,
        /// `arg` = app: close its listeners and connections.
        CloseApp,
        /// `arg` = listener.
        CloseListener,
        /// The answer of a cached route's handler, to all that wait for it. The exchange is the name of the
        /// flight; payload: `ResponseParts`. Flags: [`flight_flag`].
        EndFlight,
        /// `arg` = handler that no command behind this one names.
        Forget,
        /// A rare command whose contents do not fit into a record: `arg` = index of the boxed item in the
        /// batch.
        Control,
    }

    /// The slot of nobody, for publishes without a sender: its loop number does not exist.
    const NOBODY: u32 = u32::MAX;

    /// Flags of the commands of a response.
    flags respond_flag {
        /// Close after the last byte.
        CLOSE,
        /// No body and no automatic length (`endWithoutBody()`).
        NO_LENGTH,
        /// No body; `arg` and `extra` are the length to report (`endWithoutBody(n)`).
        REPORTED_LENGTH,
        /// The user wrote a `Date` header.
        OWN_DATE,
        /// The last of the header lines is the user's `Connection`.
        OWN_CONNECTION,
    }

    /// Flags of an `EndFlight` command.
    flags flight_flag {
        /// There is no answer: the handler has thrown.
        FAILED,
        /// There is no answer: the program has called `close`.
        CLOSED,
        /// An `ETag` of the body is added, on the JavaScript thread.
        ETAG,
    }

    /// Flags of a `Send` command, and the first two of a `Publish` as well.
    flags send_flag {
        BINARY,
        COMPRESS,
        PING,
        /// A continuation (`sendFragment`, `sendLastFragment`).
        CONTINUATION,
        /// More fragments follow.
        NOT_FINAL,
    }

    calls {
        /// Writes the arguments of `lendPayload`.
        PayloadArgs { offset: u32, length: u32 }
        /// Writes the arguments of `send`.
        SendArgs { id: ExchangeId, flags: u32, limit: u32 }
        /// Writes the arguments of `respond` and `respondWithHead`; `op` is `Respond`, `Write` or `Finish`.
        RespondArgs { op: u32, id: ExchangeId, flags: u32, length: u64 }
    }

    /// The word of the call arguments in which a call leaves its answer. JavaScript never writes it: after
    /// the end of the environment it keeps the last answer.
    const ANSWER: usize = CALL_LAYOUT_WORDS;

    /// The word of the call arguments that is not 0 when JavaScript has to take `Dropped` events before it
    /// goes on.
    const RELIEF_DUE: usize = ANSWER + 1;

    /// Words of the call arguments.
    const CALL_ARG_WORDS: usize = RELIEF_DUE + 1;

    /// The fate of a message, or of a part of a response. `send` returns the first three to the program.
    enum Answer: u32 = 0 {
        /// The kernel has refused bytes, or much is on its way: `Writable` or `Drain` follows once it is
        /// gone.
        Backpressure,
        /// It is sent, and more may follow.
        Sent,
        /// It is dropped, as everything is after the end of the environment.
        Dropped,
        /// It was neither text nor data.
        Neither,
    }

    /// The answer, instead of 0 or a length, of calls that were given neither text nor data.
    const REFUSED: i32 = -1;

    /// Optional events for which a `ws` route has handlers.
    flags wants {
        MESSAGE,
        DRAIN,
        DROPPED,
        PING,
        PONG,
    }

    /// Instructions of a declared response, as the original numbers them. Each is followed by its texts: the
    /// length in one byte, or in two with the low one first, then the bytes.
    enum Instruction: u8 = 0 {
        /// Text with two bytes of length: the last bytes to send.
        End,
        /// Texts: name and value.
        Header,
        /// No text: the body of the request.
        Body,
        /// Text: a key of the query, whose decoded value is inserted.
        Query,
        /// Text: the name of a header of the request.
        RequestHeader,
        /// Text with two bytes of length: the bytes to send.
        Text,
        /// Text: the name of a parameter of the route.
        Parameter,
        /// Text: the status.
        Status,
    }

    /// The largest body of a request that a declared response may contain. It has to be whole before the
    /// answer can begin, since clients may read nothing before they have sent everything; a larger one is
    /// refused with 413.
    const MAX_DECLARED_BODY: usize = 16 << 20;

    /// The limits of an app, by whose numbers breaches are counted.
    enum Limit: u32 = 0 {
        MaxConnections,
        MaxConnectionsPerAddress,
        MaxRequestsPerAddress,
        MaxUpgradesPerAddress,
        HeadTimeout,
        RequestTimeout,
        KeepAliveTimeout,
        MinBodyRate,
        MaxBodyLength,
        MaxRequestsPerConnection,
        MaxUnsentBytes,
        MaxTopicsPerConnection,
        MaxTopicLength,
        MaxSubscriptions,
    }

    /// With more bytes of responses than this waiting to be sent on a connection, its next request is neither
    /// read nor handled, unless the App says otherwise.
    const MAX_UNSENT: usize = 1 << 20;

    /// Seconds an App gives the connections of HTTP, unless it says otherwise.
    const DEFAULT_TIMEOUT_S: u32 = 10;
}

pub const EVENT_WORDS: usize = EventHeader::WORDS;

/// Words of a header that are the arguments of its event.
pub const EVENT_ARGS: usize = 3;

/// Marks an offset that is an index of the batch's `owned` payloads instead of a position in its arena.
pub const OWNED: u32 = 1 << 31;

/// Marks a request block that JavaScript had set aside (`park`).
pub const PARKED: u32 = 1 << 30;

/// Marks a payload in the arena of the `Dropped` events, which have batches of their own.
pub const OF_DROPPED: u32 = 1 << 29;

/// Offsets below this have no mark in them. A batch is handed over long before its arena is that large,
/// unless one payload alone is.
pub(super) const MOST_ARENA: usize = 1 << 29;

/// A number that identifies the layout; `lib/layout.js` of the same build has the same.
pub fn layout_number() -> u32 {
    javascript::number_of(&parts())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/lib/layout.js");

    #[test]
    fn layout_js_is_the_text_of_the_declarations() {
        let text = javascript::text(&parts());
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(PATH, &text).expect("lib/layout.js can be written");
        }
        let found = std::fs::read_to_string(PATH).unwrap_or_default();
        assert_eq!(found, text, "run `UPDATE=1 cargo test --no-default-features layout`");
    }

    #[test]
    fn numbers_are_those_of_the_entries() {
        for op in Op::ALL {
            assert_eq!(Op::from_number(*op as u32), Some(*op));
        }
        assert_eq!((Op::from_number(0), Op::from_number(Op::ALL.len() as u32 + 1)), (None, None));
        assert_eq!(Answer::from_number(0), Some(Answer::Backpressure));
        assert_eq!(EventKind::from_number(1), Some(EventKind::Request));
    }

    #[test]
    fn events_come_out_as_they_went_in() {
        let number = 0x1234_5678_9abc_def0;
        for (event, args) in [
            (JsEvent::Request { handler: 7, flags: 8, app: 9 }, [7, 8, 9]),
            (JsEvent::Data { flags: 1, remaining: number }, [1, 0x9abc_def0, 0x1234_5678]),
            (JsEvent::Filter { app: 3, accepted: true }, [3, 1, 0]),
            (JsEvent::Quiet, [0, 0, 0]),
        ] {
            assert_eq!(event.args(), args);
            assert_eq!(JsEvent::read(event.kind(), args), event);
        }
    }

    #[test]
    fn arguments_of_calls_are_read_as_they_are_left() {
        let args = RespondArgs::read([1, 2, 3, 4, 5, 6]);
        assert_eq!(
            args,
            RespondArgs { op: 1, id: ExchangeId { slot: 2, generation: 3 }, flags: 4, length: 5 | 6 << 32 }
        );
        assert!(
            [PayloadArgs::WORDS, SendArgs::WORDS, RespondArgs::WORDS].iter().all(|words| *words <= ANSWER)
        );
    }

    #[test]
    fn flags_and_numbers_above_them_share_a_word() {
        use request_flag::{BODY_LENGTH, EXCHANGE, HAS_BODY, HEAD};
        let flags = HAS_BODY | HEAD | BODY_LENGTH.put(0xffff) | EXCHANGE.put(0x55);
        assert_eq!((BODY_LENGTH.of(flags), EXCHANGE.of(flags)), (0xffff, 0x55));
        assert_eq!(flags & (HAS_BODY | HEAD), HAS_BODY | HEAD);
    }
}
