/**
 * uws-rs: the API of uWebSockets.js v20 on an event loop of its own.
 *
 * A background thread owns every socket. Your JavaScript gets events in batches and hands back batches of answers;
 * what follows says what may be relied on. "Original" means uWebSockets.js v20; docs/differences.md lists all
 * differences.
 *
 * **Order.** What is written to one connection arrives in the order of the calls, publishes to it included, and later
 * requests of one connection are answered after earlier ones (RFC 9112 §9.3.2). Between connections there is no order.
 * A command takes effect as if it had run at its call: "publish, then unsubscribe" delivers.
 *
 * **When it leaves.** What a handler writes leaves together, shortly after it returns; what is written elsewhere
 * (timers, promises) leaves at the end of that turn of Node's event loop. Long-running code between two writes delays
 * neither reading nor pinging nor what was handed over before.
 *
 * **Handlers.** Every handler call is followed by Node's nextTick and microtask queues before the next one runs. What a
 * handler throws becomes an `uncaughtException`, as if Node had called it.
 *
 * **Memory.** See {@link WebSocketBehavior.maxBackpressure} for WebSockets and {@link HttpResponse.write} for responses.
 * Towards JavaScript 4 MiB of events may wait; beyond that sockets are not read until JavaScript has caught up, while
 * writing, pinging and accepting go on. Nothing is dropped.
 *
 * **Faked timers** (Jest, sinon) do not hold up the server: it uses the functions it found when it was loaded.
 *
 * **Threads.** Each worker thread that loads the module has a loop and apps of its own; a worker that ends closes its
 * own sockets and no others.
 *
 * **Environment.** `UWS_HTTP_MAX_HEADERS_SIZE`, read when the first app is made: the most bytes of a request head,
 * 4096 by default. Beyond it, or beyond 100 header fields, a request is answered with 431 (RFC 6585 §5).
 */

/** A listen socket, as the callback of `listen` gets it. Opaque. */
export interface us_listen_socket {}

/** A socket. Here this is always a listen socket. */
export interface us_socket {}

/** What an `upgrade` handler is given to pass on to {@link HttpResponse.upgrade}. Opaque. */
export interface us_socket_context_t {}

/** Names an app to another thread; see {@link TemplatedApp.getDescriptor}. Opaque. */
export interface AppDescriptor {}

/**
 * Text or data. Strings are sent as UTF-8, a lone surrogate as U+FFFD. Everything else is taken as bytes, whatever the
 * type of its elements; SharedArrayBuffer and DataView are accepted too. The bytes are copied during the call, so they
 * may be changed afterwards.
 *
 * Data stays the bytes it is, UTF-8 or not: topics, keys, header values and the like are equal when their bytes are, so
 * `'é'` and `Buffer.from('é')` are one topic and `Buffer.from([0xe9])` is another. Where a string is handed back for
 * bytes that are no UTF-8, as by `getTopics`, they are U+FFFD in it.
 *
 * `undefined` counts as the empty string. Anything else throws
 * `Text and data can only be passed by String, ArrayBuffer or TypedArray.`
 */
export type RecognizedString =
  | string
  | ArrayBuffer
  | SharedArrayBuffer
  | DataView
  | Uint8Array
  | Uint8ClampedArray
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | BigUint64Array
  | BigInt64Array
  | Float32Array
  | Float64Array;

/** Where a route leads: a handler, the program of a {@link DeclarativeResponse}, or `null` to remove the route. */
export type RouteHandler =
  ((res: HttpResponse, req: HttpRequest) => void | Promise<void>) | ArrayBuffer | null;

/**
 * A WebSocket connection (RFC 6455), valid from `open` until its `close` handler is called.
 *
 * In that handler and after it every method throws `Invalid access of closed uWS.WebSocket/SSLWebSocket.`, except
 * {@link getUserData}. The object is also its own user data: properties may be set on it, and those of the `userData`
 * given to {@link HttpResponse.upgrade} are there from the start.
 */
export interface WebSocket<UserData> {
  /**
   * Sends a message.
   *
   * - `1`: sent, or on its way with nothing in front of it.
   * - `0`: accepted, behind bytes the kernel has refused; `drain` is called when some of them have gone.
   * - `2`: dropped, because {@link getBufferedAmount} was over `maxBackpressure` already. The `dropped` handler runs
   *   inside this call. The first message to meet such an amount is still accepted and answered `0`, so a program that
   *   stops at `0` until `drain` never loses one.
   *
   * What was answered `1` or `0` is delivered, in order, or dies with the connection; it is never dropped later.
   * With more than 1 MiB on its way to one connection the call waits (0.1 s at most) for the loop to have tried
   * writing it, so that the answer is true.
   *
   * @param isBinary sent as a binary message, default false: as text. Text should be UTF-8, which is not checked; peers
   * close the connection when it is not (RFC 6455 §8.1).
   * @param compress default false. Has an effect when compression was negotiated and the message is not empty.
   */
  send(message: RecognizedString, isBinary?: boolean, compress?: boolean): number;

  /**
   * Begins a message sent in parts (RFC 6455 §5.4). `isBinary` and `compress` hold for all of it. Answers as `send`.
   * Until {@link sendLastFragment} only fragments and pings may be sent on this connection, publishes included.
   */
  sendFirstFragment(message: RecognizedString, isBinary?: boolean, compress?: boolean): number;

  /** Goes on with a message begun by {@link sendFirstFragment}. `compress` should be as there. Answers as `send`. */
  sendFragment(message: RecognizedString, compress?: boolean): number;

  /** Ends a message begun by {@link sendFirstFragment}. `compress` should be as there. Answers as `send`. */
  sendLastFragment(message: RecognizedString, compress?: boolean): number;

  /**
   * Sends a ping; the peer's pong goes to the `pong` handler. Answers as `send`.
   *
   * @throws RangeError when the message is longer than 125 bytes (RFC 6455 §5.5).
   */
  ping(message?: RecognizedString): number;

  /**
   * Bytes that wait here because the kernel has refused them, and what was sent behind those. 0 as long as the kernel
   * takes everything, however much is on its way.
   */
  getBufferedAmount(): number;

  /**
   * Closes with a close frame. The `close` handler runs inside this call, with the same code and reason; what was sent
   * before leaves first, and what still arrives is ignored. A peer that does not close within 4 s is cut off.
   *
   * @param code RFC 6455 §7.4. None, 0 or 1005: a close frame without code, and `close` gets the number given (0 for none).
   * @param shortMessage the reason; cut to 123 bytes (RFC 6455 §5.5.1).
   * @throws RangeError when the code is no integer from 0 to 65535.
   */
  end(code?: number, shortMessage?: RecognizedString): void;

  /**
   * Closes the connection at once, without a close frame; what has not left is lost. The `close` handler runs inside
   * this call with 1006 and an empty reason. Surplus arguments are ignored.
   */
  close(): void;

  /**
   * Calls `cb` at once and returns the WebSocket. Writes of one turn leave together with or without it; it is there for
   * programs that use it.
   */
  cork(cb: () => void): WebSocket<UserData>;

  /**
   * Subscribes to a topic: a plain string without wildcards, one name space per app. True, also when subscribed
   * already; false in a `subscription` handler that runs because the connection ends.
   */
  subscribe(topic: RecognizedString): boolean;

  /** Ends a subscription; whether there was one. */
  unsubscribe(topic: RecognizedString): boolean;

  /** Whether this connection is subscribed to the topic. */
  isSubscribed(topic: RecognizedString): boolean;

  /** The topics this connection is subscribed to, in the order it subscribed. */
  getTopics(): string[];

  /**
   * Sends a message to every other subscriber of the topic in this app, never to this connection. False, and nothing is
   * sent, when there is no other subscriber or this connection has no subscription at all. A subscriber over its
   * `maxBackpressure` is left out and its `dropped` handler called; the others are not affected.
   */
  publish(
    topic: RecognizedString,
    message: RecognizedString,
    isBinary?: boolean,
    compress?: boolean,
  ): boolean;

  /**
   * The user data. As in the original this is the WebSocket itself, carrying the own enumerable string-keyed properties
   * of what was given to {@link HttpResponse.upgrade}; symbols and the prototype are not taken over. Works after the
   * close as well.
   */
  getUserData(): UserData;

  /** The peer's address in binary: 4 bytes for IPv4, 16 for IPv6, none on a unix socket. */
  getRemoteAddress(): ArrayBuffer;

  /**
   * The peer's address as text: `127.0.0.1`, or IPv6 written out, as in `0000:0000:0000:0000:0000:ffff:7f00:0001` for an
   * IPv4 peer of a listener on all addresses.
   */
  getRemoteAddressAsText(): ArrayBuffer;

  /** The peer's port, 0 on a unix socket. */
  getRemotePort(): number;
}

/**
 * The response to one request, valid until it has responded (`end`, `endWithoutBody`, a complete `tryEnd`), was upgraded,
 * or its connection is gone. After that, and in the `onAborted` handler, every method throws
 * `uWS.HttpResponse must not be accessed after uWS.HttpResponse.onAborted callback, or after a successful response. …`
 *
 * A handler may respond later, provided it attaches {@link onAborted} before it returns (its microtasks included). A
 * handler that does neither is reported once per route with a warning (`UwsRsWarning`) that names the request, and the
 * request is answered with 500; the original ends the process. A handler that throws is answered with 500 too.
 *
 * Limits: a connection that idles between requests, a request head that is not complete, and a write that makes no
 * progress get 10 s, which begin anew with each progress; a request body has to bring 16 KiB/s on average over 10 s: an
 * upload of a byte a second ends after some 11 s, as in the original ({@link TemplatedApp.setIdleTimeout} changes both).
 * There is no limit on how long a response may be pending. A status of 1xx is none of a response and an Error, but for
 * 101 before {@link upgrade}; 204 and 304 are sent without a body, and 204 without a length, whatever is written.
 */
export interface HttpResponse {
  /**
   * The status line's code and reason, as in `'404 Not Found'`; default `200 OK`. The first call counts, later ones are
   * ignored, and so is one after {@link writeHeader}, which stands for `200 OK`. For a response that will be
   * {@link upgrade}d with headers of its own, write `101 Switching Protocols` first.
   *
   * 1xx is not final: with it every method that answers throws, but for `upgrade` with 101.
   *
   * @throws Error when it does not begin with three digits or has a control character in it, but for the tab.
   */
  writeStatus(status: RecognizedString): HttpResponse;

  /**
   * A header field. Written in the order of the calls, before `Date` (unless you write one), `Content-Length` or
   * `Transfer-Encoding`, and `Connection`, which are added as needed.
   *
   * - `content-length`: exactly one is sent. It may announce the length of a body that is not sent (HEAD, 304), and throws
   *   at the end when it contradicts the body.
   * - `transfer-encoding`: ignored; a streamed response is `chunked` by itself.
   * - `connection`: one line is sent, as written; with `close` in it the connection closes after the response, and where
   *   it closes for another reason `keep-alive` becomes `close`.
   *
   * @throws Error when the name is no token (RFC 9110 §5.6.2), the value has a control character in it, but for the tab, or
   * the head has left.
   */
  writeHeader(key: RecognizedString, value: RecognizedString): HttpResponse;

  /**
   * Sends the head, if that has not happened, and a chunk of the body (RFC 9112 §7.1; for an HTTP/1.0 client the bytes as
   * they are, ended by the close). Everything is accepted. True: go on. False: the kernel has refused bytes or 1 MiB is
   * on its way; the `onWritable` handler is called once less than 256 KiB wait. A program that stops at false holds at
   * most 1 MiB and one chunk here; one that goes on holds all it writes.
   *
   * An empty chunk is accepted and nothing is sent. For HEAD, 204 and 304 the head is sent and the chunks are not.
   */
  write(chunk: RecognizedString): boolean;

  /** Sends the head of a streamed response now, without waiting for the first chunk. */
  beginWrite(): HttpResponse;

  /**
   * Completes the response with a body, or with the last chunk of a streamed one. For HEAD the head is sent with the
   * body's length, and no body; 204 and 304 have neither (RFC 9110 §6.4.1).
   *
   * @param closeConnection close after the last byte, and say so with `Connection: close` when the head has not left.
   * @throws Error when a `content-length` written before contradicts the body.
   */
  end(body?: RecognizedString, closeConnection?: boolean): HttpResponse;

  /**
   * Completes the response without a body.
   *
   * @param reportedContentLength the length to announce, as for HEAD; none, or with 204: no `Content-Length` at all.
   */
  endWithoutBody(reportedContentLength?: number, closeConnection?: boolean): HttpResponse;

  /**
   * Sends what is possible of a response whose length is known. The first call sends the head with
   * `Content-Length: totalSize` (0: the length of the data); as much of the data is taken as keeps 1 MiB on its way, none of the rest is kept.
   *
   * Returns `[ok, hasResponded]`. `ok`: all of the data was taken. If not, go on from {@link getWriteOffset} in
   * `onWritable`. `hasResponded`: `totalSize` bytes were taken; the response is complete and no longer valid.
   *
   * @throws RangeError when the data is more than what is left of `totalSize`.
   */
  tryEnd(
    fullBodyOrChunk: RecognizedString,
    totalSize: number,
    closeConnection?: boolean,
  ): [ok: boolean, hasResponded: boolean];

  /** Bytes of the body accepted so far by {@link write} and {@link tryEnd}. */
  getWriteOffset(): number;

  /**
   * Called when there is room again after `write` answered false or `tryEnd` took less than it was given, with the
   * present {@link getWriteOffset}. The answer is not needed here; the original wants true for "done, or nothing
   * written" and false for "still failing". A later handler replaces an earlier one.
   */
  onWritable(handler: (offset: number) => boolean): HttpResponse;

  /**
   * Called once when the connection goes before the response is complete: closed or reset by the client, timed out, or
   * by {@link close} and `app.close()`. The response is no longer valid inside it. A client that closes only its sending
   * side counts as gone, as in the original. A later handler replaces an earlier one.
   */
  onAborted(handler: () => void): HttpResponse;

  /**
   * Called with each piece of the request's body, the last time with `isLast`; once with an empty chunk when there is no
   * body. The chunk is lent for the call and is detached after it, as in the original: copy what you keep (`chunk.slice(0)`).
   *
   * May be attached at any time until the response is complete: until then the body waits, and the client is not read
   * further. A client that sent `Expect: 100-continue` is told to go on before the request's handler runs.
   */
  onData(handler: (chunk: ArrayBuffer, isLast: boolean) => void): HttpResponse;

  /**
   * Like {@link onData}, with the most bytes that are still to come instead of `isLast`: `0n` with the last piece,
   * 2^64 - 1 when the length is not known (chunked).
   */
  onDataV2(handler: (chunk: ArrayBuffer, maxRemainingBodyLength: bigint) => void): HttpResponse;

  /**
   * Gathers the whole body and calls `handler` with it, or with `null` as soon as it is more than `maxSize` bytes; the
   * rest is then read and thrown away. The buffer is yours.
   */
  collectBody(maxSize: number, handler: (fullBody: ArrayBuffer | null) => void): HttpResponse;

  /**
   * The most bytes of the request's body still to come, as {@link onDataV2} gets it: before the first chunk those of its
   * Content-Length, 2^64−1 for a body in chunks, `0n` without a body.
   */
  maxRemainingBodyLength(): bigint;

  /** Stops reading the request's body; the client feels it by TCP's flow control. */
  pause(): HttpResponse;

  /** Goes on reading after {@link pause}. */
  resume(): HttpResponse;

  /**
   * Calls `cb` at once and returns the response. Writes of one turn leave together with or without it, and writing
   * outside of it is not warned of.
   */
  cork(cb: () => void): HttpResponse;

  /** The same as {@link cork}. */
  collect(cb: () => void): HttpResponse;

  /** Closes the connection at once, whatever state the response is in. The `onAborted` handler runs inside this call. */
  close(): HttpResponse;

  /**
   * Turns the connection into a WebSocket (RFC 6455 §4.2.2). In the `upgrade` handler or any time later, as long as
   * nothing has been sent; headers written before go with the 101, after `writeStatus('101 Switching Protocols')`.
   *
   * The `open` handler runs inside this call, and the response is no longer valid. Of the offered subprotocols the first
   * is accepted; compression is negotiated from the offered extensions. Frames that came early are delivered after `open`.
   *
   * @param userData its own enumerable properties become those of the WebSocket, and all with symbols for keys; see
   * {@link WebSocket.getUserData}.
   * @param secWebSocketKey the request's `sec-websocket-key`; the other two likewise, `''` for none.
   * @param context the third argument of the `upgrade` handler.
   */
  upgrade<UserData>(
    userData: UserData,
    secWebSocketKey: RecognizedString,
    secWebSocketProtocol: RecognizedString,
    secWebSocketExtensions: RecognizedString,
    context: us_socket_context_t,
  ): void;

  /** The client's address in binary: 4 bytes for IPv4, 16 for IPv6, none on a unix socket. */
  getRemoteAddress(): ArrayBuffer;

  /** The client's address as text; see {@link WebSocket.getRemoteAddressAsText}. */
  getRemoteAddressAsText(): ArrayBuffer;

  /** The client's port, 0 on a unix socket. */
  getRemotePort(): number;

  /** The client's address as a proxy in front of us tells it (PROXY protocol v2, recognized by itself); else empty. */
  getProxiedRemoteAddress(): ArrayBuffer;

  /** As {@link getProxiedRemoteAddress}, as text. */
  getProxiedRemoteAddressAsText(): ArrayBuffer;

  /** The port that belongs to {@link getProxiedRemoteAddress}, 0 without one. */
  getProxiedRemotePort(): number;

  /** Properties of your own may be set on the object. */
  [key: string]: any;
}

/**
 * The head of the request being handled, valid in its handler and the microtasks that the handler queued. Afterwards
 * every method throws `uWS.HttpRequest must not be accessed after await or route handler return. …`
 */
export interface HttpRequest {
  /**
   * The value of a header, as latin1 text without the white space around it; `''` without one. Of several the first.
   *
   * @param lowerCaseKey must be in lower case.
   */
  getHeader(lowerCaseKey: RecognizedString): string;

  /**
   * What a `:name` segment of the route's pattern matched, as sent: percent-encoding is left alone. By position from 0,
   * or by name. `''` when there is none (`undefined` is in the type for the original's sake).
   */
  getParameter(index: number | RecognizedString): string | undefined;

  /** The path, with its leading slash and without the query, as sent. */
  getUrl(): string;

  /** The method in lower case, as in `'get'`. */
  getMethod(): string;

  /** The method as sent. */
  getCaseSensitiveMethod(): string;

  /** The text behind the `?`, as sent. Without a `?` it is `undefined`, whatever the type says, as in the original. */
  getQuery(): string;

  /**
   * The value of the first `key=value` in the query, with `%` and `+` decoded. `undefined` when there is none, when the
   * key has no `=`, and when the value has a malformed escape. The key is compared with what was sent.
   */
  getQuery(key: RecognizedString): string | undefined;

  /** Calls `cb` with every header in order, names in lower case. */
  forEach(cb: (key: string, value: string) => void): void;

  /**
   * With true: this handler leaves the request to the next route that matches. If there is none, the request is answered
   * with 404, or the connection closed where the app has an `any('/*')` route of its own.
   */
  setYield(_yield: boolean): HttpRequest;
}

/**
 * Options and handlers of a `ws` route; all optional. A handler may be `null` for none; anything that is no function
 * throws `Passed callback is not a valid function.` Numbers out of bounds throw a RangeError that names the option.
 *
 * The ArrayBuffer that `message` gets is lent for the call and is detached after it, as in the original: copy what you
 * keep (`message.slice(0)`). Those of the other handlers are theirs.
 */
export interface WebSocketBehavior<UserData> {
  // Numbers are converted as the original does: from text, with fractions cut off, `null` and text that is no number
  // being 0. Sizes below 0 or beyond 32 bits are without limit.

  /**
   * The most bytes of a received message, over all its fragments and after inflation. Default 16384. A larger one closes
   * the connection: the peer gets 1009 (RFC 6455 §7.4.1), `close` gets 1006 and `Received too big message`.
   */
  maxPayloadLength?: number;

  /**
   * Close the connection, with 1006, instead of only dropping a message that meets an amount over `maxBackpressure`.
   * Default false.
   */
  closeOnBackpressureLimit?: boolean;

  /** Minutes until a connection is closed with 1000 and `please reconnect`: 0 (default, never) to 240; more is 240. */
  maxLifetime?: number;

  /**
   * Seconds without a byte from the peer after which the connection is dropped: 0 (never) or 8 to 960, default 120;
   * anything else throws a RangeError. At most a second late. See {@link sendPingsAutomatically}.
   */
  idleTimeout?: number;

  /**
   * permessage-deflate (RFC 7692): {@link DISABLED} (default), or a compressor and a decompressor combined with `|`.
   *
   * Only messages sent with `compress` true are compressed, never empty ones or control frames; in a fragmented message
   * the flag of the first fragment decides. With {@link SHARED_COMPRESSOR} each message is compressed by itself and an idle
   * connection holds nothing for it; a publish is then compressed once for all subscribers with the same window. A
   * dedicated compressor refers back to earlier messages, which makes similar messages much smaller, compresses a publish
   * for each connection, and holds memory as long as the connection lives: 512 bytes to 4 KiB up to
   * `DEDICATED_COMPRESSOR_32KB`, and 64, 128 and 256 KiB for those that are named so. A dedicated decompressor holds up to
   * its window, 512 bytes to 32 KiB. `maxPayloadLength` bounds a message after inflation, too. All of it runs outside the
   * JavaScript thread. Safari 15.0 to 15.3 is not offered compression.
   */
  compression?: CompressOptions;

  /**
   * Bytes that may wait for a slow peer, default 65536; 0: no limit. A message is dropped when more than this wait
   * *before* it, so one message may go past the limit.
   *
   * What one slow connection can hold in memory is bounded: this limit, one message, and what was on its way when the
   * kernel first refused bytes. The latter is 1 MiB and a message of what {@link WebSocket.send} sent (with more than
   * that the call waits for the loop), and at the very most twice the 4 MiB that all commands on their way to the loop
   * may take; beyond those JavaScript waits for the loop.
   */
  maxBackpressure?: number;

  /**
   * Send a ping when a peer has been silent for `idleTimeout` less 4, 8 or 16 s (the largest of these whose double still
   * fits into the rest), so that living peers are kept. Default true.
   */
  sendPingsAutomatically?: boolean;

  /** What the server sends counts against `idleTimeout` like what the peer sends. Default false. */
  resetIdleTimeoutOnSend?: boolean;

  /**
   * Called for a request to upgrade, to answer it or {@link HttpResponse.upgrade} it, at once or later. Without this
   * handler every request is upgraded, with the first subprotocol and empty user data.
   */
  upgrade?:
    ((res: HttpResponse, req: HttpRequest, context: us_socket_context_t) => void | Promise<void>) | null;

  /** Called when the connection is a WebSocket. */
  open?: ((ws: WebSocket<UserData>) => void | Promise<void>) | null;

  /** Called with each whole message. Text has been checked to be UTF-8 (RFC 6455 §8.1). */
  message?:
    ((ws: WebSocket<UserData>, message: ArrayBuffer, isBinary: boolean) => void | Promise<void>) | null;

  /** Called with each message, sent or published, that this connection did not get because of `maxBackpressure`. */
  dropped?:
    ((ws: WebSocket<UserData>, message: ArrayBuffer, isBinary: boolean) => void | Promise<void>) | null;

  /** Called when {@link WebSocket.getBufferedAmount} has become less. */
  drain?: ((ws: WebSocket<UserData>) => void) | null;

  /**
   * Called once when the connection is over, whoever ended it; the WebSocket is no longer valid. Subscriptions have ended
   * before.
   *
   * `code` and `message` are those of the peer's close frame, 1005 when it has none, or what {@link WebSocket.end} was
   * given. Everything else is 1006 with a reason: `Received too big message`,
   * `Received too big message, or other inflation error`, `Received invalid UTF-8`, `Received invalid close payload`,
   * `Received invalid WebSocket frame`, `WebSocket timed out from inactivity`,
   * `Received TCP FIN before WebSocket close frame`, or an empty one. For a violation the peer is sent the close frame
   * that RFC 6455 asks for first.
   */
  close?: ((ws: WebSocket<UserData>, code: number, message: ArrayBuffer) => void) | null;

  /** Called with the payload of each ping, which is answered by itself. */
  ping?: ((ws: WebSocket<UserData>, message: ArrayBuffer) => void) | null;

  /** Called with the payload of each pong. */
  pong?: ((ws: WebSocket<UserData>, message: ArrayBuffer) => void) | null;

  /**
   * Called inside `subscribe` and `unsubscribe`, and for each subscription when the connection ends, with the number of
   * the topic's subscribers now and before.
   */
  subscription?:
    ((ws: WebSocket<UserData>, topic: ArrayBuffer, newCount: number, oldCount: number) => void) | null;
}

/** TLS settings of an {@link SSLApp} or of one of its server names. {@link App} ignores them. */
export interface AppOptions {
  /** Path of the private key, PEM. */
  key_file_name?: RecognizedString;
  /** Path of the certificate with its chain, PEM. */
  cert_file_name?: RecognizedString;
  /** Path of the authorities, PEM, that client certificates must come from. With it clients are asked for one. */
  ca_file_name?: RecognizedString;
  /** Opens an encrypted private key. */
  passphrase?: RecognizedString;
  /** Accepted for the original's sake; key exchange is by elliptic curves only, which need no such file. */
  dh_params_file_name?: RecognizedString;
  /**
   * Cipher suites, in OpenSSL's notation; of these the client's first one is taken. Without this option AES-128-GCM goes
   * before AES-256-GCM, which costs more and is of no use to most, and ChaCha20 before both where the client has it first.
   */
  ssl_ciphers?: RecognizedString;
  /** Accepted for the original's sake; buffers of idle connections are released in any case. */
  ssl_prefer_low_memory_usage?: boolean;
}

/** How to listen. */
export enum ListenOptions {
  /** Several processes and threads may listen on one port; the kernel spreads the connections. */
  LIBUS_LISTEN_DEFAULT = 0,
  /** The port is ours alone: the callback gets `false` when it is taken. */
  LIBUS_LISTEN_EXCLUSIVE_PORT = 1,
}

/** {@link ListenOptions.LIBUS_LISTEN_DEFAULT}. */
export const LIBUS_LISTEN_DEFAULT: ListenOptions.LIBUS_LISTEN_DEFAULT;
/** {@link ListenOptions.LIBUS_LISTEN_EXCLUSIVE_PORT}. */
export const LIBUS_LISTEN_EXCLUSIVE_PORT: ListenOptions.LIBUS_LISTEN_EXCLUSIVE_PORT;

/**
 * A server: routes, listen sockets, topics. Made by {@link App} or {@link SSLApp}.
 *
 * **Patterns.** Segments are literal, `:name` (one segment that is not empty) or, at the end, `*` (the rest, also
 * nothing). They match the path as sent, case-sensitive, a trailing slash included. A request to upgrade is first looked
 * up among the `ws` routes; then every request among those of its method, then among those of `any`. In each of these a
 * literal segment is tried before `:name`, and that before `*`. A handler passes the request on to the next match with
 * {@link HttpRequest.setYield}. A route registered again replaces the earlier one. What nothing matches is answered with
 * `404 File Not Found`. Patterns of more than 100 segments never match.
 *
 * Routes may be added and removed (`null` as the handler) while listening.
 */
export interface TemplatedApp {
  /**
   * Listens on all addresses, IPv4 and IPv6. `cb` runs before this returns, with the listen socket, or `false` when that
   * was not possible. Port 0 picks a free one, see {@link us_socket_local_port}. A listen socket keeps the process alive.
   *
   * @param port 0 to 65535, also as text.
   * @throws RangeError when the port is no such number.
   */
  listen(
    port: number | `${number}`,
    cb: (listenSocket: us_listen_socket | false) => void | Promise<void>,
  ): TemplatedApp;
  /** Listens on all addresses, with options. */
  listen(
    port: number | `${number}`,
    options: ListenOptions,
    cb: (listenSocket: us_listen_socket | false) => void | Promise<void>,
  ): TemplatedApp;
  /** Listens on one address, given as such or as a host name. */
  listen(
    host: RecognizedString,
    port: number | `${number}`,
    cb: (listenSocket: us_listen_socket | false) => void | Promise<void>,
  ): TemplatedApp;
  /** Listens on one address, with options. */
  listen(
    host: RecognizedString,
    port: number | `${number}`,
    options: ListenOptions,
    cb: (listenSocket: us_listen_socket | false) => void | Promise<void>,
  ): TemplatedApp;

  /** Listens on a unix socket at this path. `cb` as for `listen`. */
  listen_unix(
    cb: (listenSocket: us_listen_socket | false) => void | Promise<void>,
    path: RecognizedString,
  ): TemplatedApp;

  /** A route for GET requests. */
  get(pattern: RecognizedString, handler: RouteHandler): TemplatedApp;
  /** A route for POST requests. */
  post(pattern: RecognizedString, handler: RouteHandler): TemplatedApp;
  /** A route for OPTIONS requests. */
  options(pattern: RecognizedString, handler: RouteHandler): TemplatedApp;
  /** A route for DELETE requests. */
  del(pattern: RecognizedString, handler: RouteHandler): TemplatedApp;
  /** A route for PATCH requests. */
  patch(pattern: RecognizedString, handler: RouteHandler): TemplatedApp;
  /** A route for PUT requests. */
  put(pattern: RecognizedString, handler: RouteHandler): TemplatedApp;
  /** A route for HEAD requests; those to a `get` route without one of these are not matched. */
  head(pattern: RecognizedString, handler: RouteHandler): TemplatedApp;
  /** A route for CONNECT requests. */
  connect(pattern: RecognizedString, handler: RouteHandler): TemplatedApp;
  /** A route for TRACE requests. */
  trace(pattern: RecognizedString, handler: RouteHandler): TemplatedApp;
  /** A route for requests of any method, tried after those of the request's own method. */
  any(pattern: RecognizedString, handler: RouteHandler): TemplatedApp;

  /**
   * A route for WebSockets: GET requests with a `sec-websocket-key` of 24 characters. Other requests to this pattern go
   * to the other routes. `null` removes the route.
   */
  ws<UserData>(pattern: RecognizedString, behavior: WebSocketBehavior<UserData> | null): TemplatedApp;

  /**
   * Sends a message to every subscriber of the topic in this app; whether there was one. A subscriber over its
   * `maxBackpressure` is left out and its `dropped` handler called.
   */
  publish(
    topic: RecognizedString,
    message: RecognizedString,
    isBinary?: boolean,
    compress?: boolean,
  ): boolean;

  /** How many connections of this app are subscribed to the topic. */
  numSubscribers(topic: RecognizedString): number;

  /**
   * On an SSLApp, settings for clients that ask for this host name (SNI, RFC 6066 §3); `*` may stand for the first label.
   * May be called while listening, and in {@link missingServerName}. Without effect on an App.
   *
   * @throws Error when the certificate or key cannot be used.
   */
  addServerName(hostname: string, options: AppOptions): TemplatedApp;

  /** Takes back {@link addServerName}, with the name as given there. */
  removeServerName(hostname: string): TemplatedApp;

  /** Called when a client asks for a host name that was not added, to add it for this very handshake. */
  missingServerName(cb: (hostname: string) => void): TemplatedApp;

  /** Routes registered from here on are for this server name only; for a name that was not added, for all others. */
  domain(domain: string): TemplatedApp;

  /**
   * Called with 1 for every connection that is accepted and -1 when it closes. `res` is there for its addresses; nothing
   * can be sent with it.
   */
  filter(cb: (res: HttpResponse, count: number) => void | Promise<void>): TemplatedApp;

  /**
   * Closes all listen sockets and, at once, all connections: `onAborted` and `close` handlers (with 1006) run inside this
   * call. What was completely answered before is still sent as far as the kernel takes it without waiting. No handler is
   * called for requests and WebSockets that have come and not been seen yet. The app may {@link listen} again.
   */
  close(): TemplatedApp;

  /**
   * How long a connection may take to bring a whole request head, and a body to bring the next 16 KiB/s, in seconds;
   * default 10, 0: no limit. Applies to what begins from now on.
   */
  setIdleTimeout(seconds: number): TemplatedApp;
  /** The value of {@link setIdleTimeout}. */
  getIdleTimeout(): number;
  /**
   * How long a connection is kept open for the next request, and a response may wait for a client that takes none of its
   * bytes, in seconds; default 10, 0: no limit.
   */
  setResponseTimeout(seconds: number): TemplatedApp;
  /** The value of {@link setResponseTimeout}. */
  getResponseTimeout(): number;

  /** A value for {@link addChildAppDescriptor} that may be sent to another thread by `postMessage`. */
  getDescriptor(): AppDescriptor;

  /**
   * From here on connections that this app accepts are handed in turn to the apps added so, each in a thread of its own.
   * Those do not listen themselves. Without any, this app serves its connections itself.
   */
  addChildAppDescriptor(descriptor: AppDescriptor): TemplatedApp;

  /** Takes back {@link addChildAppDescriptor}; also fine for an app whose thread has ended. Its connections live on. */
  removeChildAppDescriptor(descriptor: AppDescriptor): TemplatedApp;
}

/** Makes an app without TLS, with or without `new`. Starts the background thread when it is the first one. */
export function App(options?: AppOptions | null): TemplatedApp;

/**
 * Makes an app with TLS 1.2 and 1.3. WebSockets and responses are used as those of an App.
 *
 * @throws Error `App construction failed`, with the cause, when the certificate, key or passphrase cannot be used.
 */
export function SSLApp(options: AppOptions): TemplatedApp;

/** Stops listening. Open connections live on. A second call does nothing. */
export function us_listen_socket_close(listenSocket: us_listen_socket): void;

/** The port a listen socket is bound to, -1 for a unix socket. */
export function us_socket_local_port(socket: us_socket | us_listen_socket): number;

/** One part of a multipart body. */
export interface MultipartField {
  /** The content, as it is. */
  data: ArrayBuffer;
  /** The `name` of its `Content-Disposition`. */
  name: string;
  /** Its `Content-Type`, if it has one. */
  type?: string;
  /** The `filename` of its `Content-Disposition`, if it has one. */
  filename?: string;
}

/**
 * Takes a multipart body (RFC 7578) apart: the whole body and the request's `content-type`. `undefined` when that is not
 * a multipart type with a boundary. A part that is not complete ends the list.
 */
export function getParts(body: RecognizedString, contentType: RecognizedString): MultipartField[] | undefined;

/**
 * A response that is the same but for parts of its request, answered by the event loop without calling JavaScript:
 *
 * ```js
 * app.get('/hi/:name', new DeclarativeResponse().writeHeader('x', 'y').write('Hi ').writeParameterValue('name').end('!'));
 * ```
 *
 * The instructions are carried out in the order of the calls. Names and values have up to 255 bytes each, literal text up
 * to 65535. {@link end} returns the program, which takes the place of a handler.
 */
export class DeclarativeResponse {
  /**
   * The status, such as `404 Not Found`; `200 OK` without. The first one counts, and none after {@link writeHeader}.
   * Releases up to 20.57 do not have it.
   */
  writeStatus(status: string): this;
  /** A header field. */
  writeHeader(key: string, value: string): this;
  /** Appends the request's body to the response's. */
  writeBody(): this;
  /** Appends the value of a key of the query, as {@link HttpRequest.getQuery}. */
  writeQueryValue(key: string): this;
  /** Appends the value of a header of the request, named in lower case. */
  writeHeaderValue(key: string): this;
  /** Appends text. */
  write(value: string): this;
  /** Appends what a `:name` segment of the route's pattern matched. */
  writeParameterValue(key: string): this;
  /** Appends text and ends the program. */
  end(value: string): ArrayBuffer;
}

/** A compressor and a decompressor combined with `|`. See {@link WebSocketBehavior.compression}. */
export type CompressOptions = number;

/** No compression, and none is negotiated. */
export const DISABLED: CompressOptions;
/** One compressor for all connections: each message by itself, no memory per connection. */
export const SHARED_COMPRESSOR: CompressOptions;
/** One decompressor for all connections: clients are asked to compress each message by itself. */
export const SHARED_DECOMPRESSOR: CompressOptions;
/** A compressor for each connection that learns from its earlier messages; the largest, as `_256KB`. */
export const DEDICATED_COMPRESSOR: CompressOptions;
/** A compressor for each connection, with a window of 512 bytes. */
export const DEDICATED_COMPRESSOR_3KB: CompressOptions;
/** A compressor for each connection, with a window of 512 bytes. */
export const DEDICATED_COMPRESSOR_4KB: CompressOptions;
/** A compressor for each connection, with a window of 1 KiB. */
export const DEDICATED_COMPRESSOR_8KB: CompressOptions;
/** A compressor for each connection, with a window of 2 KiB. */
export const DEDICATED_COMPRESSOR_16KB: CompressOptions;
/** A compressor for each connection, with a window of 4 KiB. */
export const DEDICATED_COMPRESSOR_32KB: CompressOptions;
/** A compressor for each connection, with a window of 8 KiB. */
export const DEDICATED_COMPRESSOR_64KB: CompressOptions;
/** A compressor for each connection, with a window of 16 KiB. */
export const DEDICATED_COMPRESSOR_128KB: CompressOptions;
/** A compressor for each connection, with a window of 32 KiB. */
export const DEDICATED_COMPRESSOR_256KB: CompressOptions;
/** A decompressor for each connection; the largest, as `_32KB`. */
export const DEDICATED_DECOMPRESSOR: CompressOptions;
/** A decompressor for each connection, with a window of 512 bytes. */
export const DEDICATED_DECOMPRESSOR_512B: CompressOptions;
/** A decompressor for each connection, with a window of 1 KiB. */
export const DEDICATED_DECOMPRESSOR_1KB: CompressOptions;
/** A decompressor for each connection, with a window of 2 KiB. */
export const DEDICATED_DECOMPRESSOR_2KB: CompressOptions;
/** A decompressor for each connection, with a window of 4 KiB. */
export const DEDICATED_DECOMPRESSOR_4KB: CompressOptions;
/** A decompressor for each connection, with a window of 8 KiB. */
export const DEDICATED_DECOMPRESSOR_8KB: CompressOptions;
/** A decompressor for each connection, with a window of 16 KiB. */
export const DEDICATED_DECOMPRESSOR_16KB: CompressOptions;
/** A decompressor for each connection, with a window of 32 KiB. */
export const DEDICATED_DECOMPRESSOR_32KB: CompressOptions;

// A store of strings and integers shared by all threads of the process; undocumented in the original. Strings and
// integers are apart, and so are collections, which are named by the optional last argument.

/** The string under a key, `''` without one. */
export function getString(key: RecognizedString, collection?: RecognizedString): string;
/** Sets the string under a key. */
export function setString(
  key: RecognizedString,
  value: RecognizedString,
  collection?: RecognizedString,
): void;
/** The keys that have a string. */
export function getStringKeys(collection?: RecognizedString): string[];
/** Removes a key and its string. */
export function deleteString(key: RecognizedString, collection?: RecognizedString): void;
/** Removes all strings of a collection. */
export function deleteStringCollection(collection: RecognizedString): void;
/** The integer under a key, 0 without one. */
export function getInteger(key: RecognizedString, collection?: RecognizedString): number;
/** Sets the integer under a key. */
export function setInteger(key: RecognizedString, value: number, collection?: RecognizedString): void;
/** Adds to the integer under a key (1 by default, 0 to begin with) and returns the sum. */
export function incInteger(key: RecognizedString, by?: number, collection?: RecognizedString): number;
/** The keys that have an integer. */
export function getIntegerKeys(collection?: RecognizedString): string[];
/** Removes a key and its integer. */
export function deleteInteger(key: RecognizedString, collection?: RecognizedString): void;
/** Removes all integers of a collection. */
export function deleteIntegerCollection(collection: RecognizedString): void;
/** Keeps other threads out of the store until {@link unlock}, to change several values at once. */
export function lock(): void;
/** Ends a {@link lock}. */
export function unlock(): void;

/** Internal to the original; accepted and ignored. */
export function _cfg(key: RecognizedString): void;

/** HTTP/3 is out of scope: calling this throws an Error that says so. */
export function H3App(options?: AppOptions): never;
