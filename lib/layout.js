'use strict';
// The numbers by which the two sides of the addon understand each other. Generated from
// src/channel/layout.rs: change them there, and run `UPDATE=1 cargo test --no-default-features layout`.

/** Words of the header of an event. */
const EVENT_WORDS = 8;

/** Calls the receiver of the event whose header begins at `at`. */
function deliver(receivers, words, at) {
  return receivers[words[at]](
    words[at + 1],
    words[at + 2],
    words[at + 3],
    words[at + 4],
    words[at + 5],
    words[at + 6],
    words[at + 7],
  );
}

/**
 * The kinds of events. A receiver is called with slot and generation, which name the exchange, the
 * three words of arguments, and offset and length of the payload.
 */
const EventKind = Object.freeze({
  /**
   * A request head, with the first handler that matches; payload: a request block (`request_block`).
   * Arguments: handler, flags, app.
   */
  REQUEST: 1,
  /**
   * A request of a cached route, whose answer ends the flight and no exchange. The connection is that
   * of the client that asked, for its address. Payload: a request block.
   * Arguments: handler, flight (low half), its high half.
   */
  CACHED_REQUEST: 2,
  /**
   * Body bytes; `flags` may have `BODY_LAST`, `remaining` is the number of bytes still to come, or
   * `UNKNOWN_LENGTH`.
   * Arguments: flags, remaining (low half), its high half.
   */
  DATA: 3,
  /**
   * So little of the response waits to be sent (`WRITABLE_BELOW`) that it may go on; `onWritable`.
   * Arguments: exchange.
   */
  WRITABLE: 4,
  /** The peer closed its sending side while a response is pending. */
  PEER_END: 5,
  /**
   * The loop closed the connection while JavaScript held an object for it; payload: the reason.
   * Arguments: code.
   */
  GONE: 6,
  /**
   * A WebSocket message.
   * Arguments: binary.
   */
  MESSAGE: 7,
  PING: 8,
  PONG: 9,
  /**
   * The loop upgraded a connection by itself.
   * Arguments: behaviour.
   */
  OPEN: 10,
  DRAIN: 11,
  /**
   * A publish that this WebSocket did not get.
   * Arguments: binary.
   */
  DROPPED: 12,
  /** Nothing listens and no connection is open any more. */
  QUIET: 13,
  /**
   * A connection is open again after `Quiet`, or JavaScript has handed one over (`adopted`), which
   * may be closed already.
   * Arguments: adopted.
   */
  BUSY: 14,
  /**
   * For `filter`; payload: the connection's addresses (`write_address`), peer and proxied, since its
   * slot may have another one by the time they are asked for.
   * Arguments: app, accepted.
   */
  FILTER: 15,
  /** The loop thread panicked; payload: the message. Nothing follows. */
  PANIC: 16,
  /** A condition worth one line in the log; payload: the text. */
  WARNING: 17,
  /**
   * A handshake waits for a server name that is not known; payload: the name.
   * Arguments: app.
   */
  SERVER_NAME: 18,
  /**
   * A limit of the app was breached so many times since the last such event; payload: its name.
   * Arguments: app, count.
   */
  BREACH: 19,
  /**
   * `CloseApp` is executed. Events of that app behind this one belong to connections that came later.
   * Arguments: app.
   */
  APP_CLOSED: 20,
  /**
   * The app has shut down: its last connection is over, and `cut` of them were closed before they were
   * done.
   * Arguments: app, cut.
   */
  SHUT_DOWN: 21,
  /**
   * A handler whose route was replaced or removed; `stage` is one of `ForgottenStage`.
   * Arguments: handler, stage.
   */
  FORGOTTEN: 22,
});

/** How far the two sides have got with forgetting a handler. */
const ForgottenStage = Object.freeze({
  /**
   * No event that follows names the handler; JavaScript answers with `Forget` once its commands will
   * not name it either.
   */
  UNNAMED: 0,
  /** The loop has seen `Forget`; the number may be used again. */
  FREE: 1,
});

/** Flags of a `Request` event, and above them two numbers. */
const RequestFlag = Object.freeze({
  HAS_BODY: 1,
  /** A HEAD request: the response has no body. */
  HEAD: 2,
  /** An earlier request of its connection was still being answered when it was handed over. */
  AHEAD: 4,
});

/** The length of the body, if the request block has all of it. */
function bodyLengthOf(flags) {
  return (flags >>> 3) & 0xffff;
}

/**
 * The low bits of the exchange's number on its connection. A connection never has so many exchanges
 * at once that two of them have the same.
 */
function exchangeOf(flags) {
  return (flags >>> 19) & 0x7f;
}

/** A flag of a `Data` event. */
const BODY_LAST = 1;

/** Stands for the number of bytes still to come of a body whose length is not known. */
const UNKNOWN_LENGTH = 0xffffffffffffffffn;

/** The answer for a match that a request does not have. */
const NO_MATCH = -1;

/** Parts of a request line. */
const RequestPart = Object.freeze({
  METHOD: 0,
  PATH: 1,
  QUERY: 2,
});

/**
 * Payloads of events from this size on move by ownership, and JavaScript gets an ArrayBuffer over memory
 * of the loop. Below this size that costs more than a copy.
 */
const OWNED_EVENT = 32768;

/** A command of JavaScript, most of them about one connection. */
const Op = Object.freeze({
  /** A whole response; payload: `ResponseParts`. Flags: `respond_flag`. */
  RESPOND: 1,
  /** A chunk of a streamed response (the first one with its head). */
  WRITE: 2,
  /** Part of a response of known length; `arg` and `extra` are the halves of the total, low and high. */
  TRY_END: 3,
  /** The end of a streamed response, with a last chunk that may be empty. */
  FINISH: 4,
  /** `arg` = bytes of the body, wrapping, that the program has been given. JavaScript keeps the others. */
  PAUSE: 5,
  /** The program has been given all bytes of the body so far, and reads on. */
  RESUME: 6,
  /**
   * Close at once, without an event, behind the bytes that the kernel takes now. `arg`: 1 if not even
   * they are to be sent.
   */
  CLOSE: 7,
  /** Report `Writable` once little waits to be sent (`WRITABLE_BELOW`). */
  WANT_WRITABLE: 8,
  /** JavaScript has seen `Gone`: the slot may be used again. */
  RELEASE: 9,
  /** Payload: `ResponseParts` with key, protocol and extensions as body; `arg` = behaviour. */
  UPGRADE: 10,
  /** JavaScript has seen `ServerName`: the handshake goes on. */
  SERVER_NAME: 11,
  /** A WebSocket frame. Flags: `send_flag`. */
  SEND: 12,
  /** Close frame with code `arg` and the payload as reason. */
  END: 13,
  /** `arg` = topic. */
  SUBSCRIBE: 14,
  /** `arg` = topic. */
  UNSUBSCRIBE: 15,
  /**
   * The WebSocket is subscribed to nothing any more: JavaScript has learnt of its end, and gives back
   * the numbers of topics without other subscribers.
   */
  LEAVE_TOPICS: 16,
  /** `arg` = topic; the connection is the sender, which is left out (slot `NOBODY`: none). */
  PUBLISH: 17,
  /** Close because of `closeOnBackpressureLimit`, with an event. */
  OVERFLOW: 18,
  /** `arg` = app: close its listeners and connections. */
  CLOSE_APP: 19,
  /** `arg` = listener. */
  CLOSE_LISTENER: 20,
  /**
   * The answer of a cached route's handler, to all that wait for it. The exchange is the name of the
   * flight; payload: `ResponseParts`. Flags: `flight_flag`.
   */
  END_FLIGHT: 21,
  /** `arg` = handler that no command behind this one names. */
  FORGET: 22,
  /**
   * A rare command whose contents do not fit into a record: `arg` = index of the boxed item in the
   * batch.
   */
  CONTROL: 23,
});

/** The slot of nobody, for publishes without a sender: its loop number does not exist. */
const NOBODY = 0xffffffff;

/** Flags of the commands of a response. */
const RespondFlag = Object.freeze({
  /** Close after the last byte. */
  CLOSE: 1,
  /** No body and no automatic length (`endWithoutBody()`). */
  NO_LENGTH: 2,
  /** No body; `arg` and `extra` are the length to report (`endWithoutBody(n)`). */
  REPORTED_LENGTH: 4,
  /** The user wrote a `Date` header. */
  OWN_DATE: 8,
  /** The last of the header lines is the user's `Connection`. */
  OWN_CONNECTION: 16,
});

/** Flags of an `EndFlight` command. */
const FlightFlag = Object.freeze({
  /** There is no answer: the handler has thrown. */
  FAILED: 1,
  /** There is no answer: the program has called `close`. */
  CLOSED: 2,
  /** An `ETag` of the body is added, on the JavaScript thread. */
  ETAG: 4,
});

/** Flags of a `Send` command, and the first two of a `Publish` as well. */
const SendFlag = Object.freeze({
  BINARY: 1,
  COMPRESS: 2,
  PING: 4,
  /** A continuation (`sendFragment`, `sendLastFragment`). */
  CONTINUATION: 8,
  /** More fragments follow. */
  NOT_FINAL: 16,
});

/** Writes the arguments of `lendPayload`. */
function putPayloadArgs(callArgs, offset, length) {
  callArgs[0] = offset;
  callArgs[1] = length;
}

/** Writes the arguments of `send`. */
function putSendArgs(callArgs, slot, generation, flags, limit) {
  callArgs[0] = slot;
  callArgs[1] = generation;
  callArgs[2] = flags;
  callArgs[3] = limit;
}

/** Writes the arguments of `respond` and `respondWithHead`; `op` is `Respond`, `Write` or `Finish`. */
function putRespondArgs(callArgs, op, slot, generation, flags, length) {
  callArgs[0] = op;
  callArgs[1] = slot;
  callArgs[2] = generation;
  callArgs[3] = flags;
  callArgs[4] = length;
  callArgs[5] = length / 2 ** 32;
}

/**
 * The word of the call arguments in which a call leaves its answer. JavaScript never writes it: after
 * the end of the environment it keeps the last answer.
 */
const ANSWER = 6;

/**
 * The word of the call arguments that is not 0 when JavaScript has to take `Dropped` events before it
 * goes on.
 */
const RELIEF_DUE = 7;

/** Words of the call arguments. */
const CALL_ARG_WORDS = 8;

/** The fate of a message, or of a part of a response. `send` returns the first three to the program. */
const Answer = Object.freeze({
  /**
   * The kernel has refused bytes, or much is on its way: `Writable` or `Drain` follows once it is
   * gone.
   */
  BACKPRESSURE: 0,
  /** It is sent, and more may follow. */
  SENT: 1,
  /** It is dropped, as everything is after the end of the environment. */
  DROPPED: 2,
  /** It was neither text nor data. */
  NEITHER: 3,
});

/** The answer, instead of 0 or a length, of calls that were given neither text nor data. */
const REFUSED = -1;

/** Optional events for which a `ws` route has handlers. */
const Wants = Object.freeze({
  MESSAGE: 1,
  DRAIN: 2,
  DROPPED: 4,
  PING: 8,
  PONG: 16,
});

/**
 * Instructions of a declared response, as the original numbers them. Each is followed by its texts: the
 * length in one byte, or in two with the low one first, then the bytes.
 */
const Instruction = Object.freeze({
  /** Text with two bytes of length: the last bytes to send. */
  END: 0,
  /** Texts: name and value. */
  HEADER: 1,
  /** No text: the body of the request. */
  BODY: 2,
  /** Text: a key of the query, whose decoded value is inserted. */
  QUERY: 3,
  /** Text: the name of a header of the request. */
  REQUEST_HEADER: 4,
  /** Text with two bytes of length: the bytes to send. */
  TEXT: 5,
  /** Text: the name of a parameter of the route. */
  PARAMETER: 6,
  /** Text: the status. */
  STATUS: 7,
});

/**
 * The largest body of a request that a declared response may contain. It has to be whole before the
 * answer can begin, since clients may read nothing before they have sent everything; a larger one is
 * refused with 413.
 */
const MAX_DECLARED_BODY = 16777216;

/** The limits of an app, by whose numbers breaches are counted. */
const Limit = Object.freeze({
  MAX_CONNECTIONS: 0,
  MAX_CONNECTIONS_PER_ADDRESS: 1,
  MAX_REQUESTS_PER_ADDRESS: 2,
  MAX_UPGRADES_PER_ADDRESS: 3,
  HEAD_TIMEOUT: 4,
  REQUEST_TIMEOUT: 5,
  KEEP_ALIVE_TIMEOUT: 6,
  MIN_BODY_RATE: 7,
  MAX_BODY_LENGTH: 8,
  MAX_REQUESTS_PER_CONNECTION: 9,
  MAX_UNSENT_BYTES: 10,
  MAX_TOPICS_PER_CONNECTION: 11,
  MAX_TOPIC_LENGTH: 12,
  MAX_SUBSCRIPTIONS: 13,
});

/**
 * With more bytes of responses than this waiting to be sent on a connection, its next request is neither
 * read nor handled, unless the App says otherwise.
 */
const MAX_UNSENT = 1048576;

/** Seconds an App gives the connections of HTTP, unless it says otherwise. */
const DEFAULT_TIMEOUT_S = 10;

/** Of all that is above; the addon has the same, if it is of the same build. */
const LAYOUT = 1712795932;

module.exports = {
  EVENT_WORDS,
  deliver,
  EventKind,
  ForgottenStage,
  RequestFlag,
  bodyLengthOf,
  exchangeOf,
  BODY_LAST,
  UNKNOWN_LENGTH,
  NO_MATCH,
  RequestPart,
  OWNED_EVENT,
  Op,
  NOBODY,
  RespondFlag,
  FlightFlag,
  SendFlag,
  putPayloadArgs,
  putSendArgs,
  putRespondArgs,
  ANSWER,
  RELIEF_DUE,
  CALL_ARG_WORDS,
  Answer,
  REFUSED,
  Wants,
  Instruction,
  MAX_DECLARED_BODY,
  Limit,
  MAX_UNSENT,
  DEFAULT_TIMEOUT_S,
  LAYOUT,
};
