/**
 * uws-rs: the API of uWebSockets.js v20 on its own event loop.
 *
 * A background thread owns every socket. JavaScript receives batches of events and returns batches of
 * commands. This page says what a program may rely on. "Original" means uWebSockets.js v20;
 * docs/differences.md lists all differences.
 *
 * **Order.** Data written to one connection arrives in the order of the calls, publishes included. Requests
 * of one connection are answered in their order (RFC 9112 §9.3.2). Between connections no order is
 * guaranteed. A command takes effect as if it had run at its call: "publish, then unsubscribe" delivers.
 *
 * **When data is sent.** Data that a handler writes is sent together, shortly after the handler returns. Data
 * written elsewhere (timers, promises) is sent at the end of that turn of Node's event loop. Long-running
 * code between two writes delays neither reading nor pinging nor data that was handed over before.
 *
 * **Handlers.** After every handler call Node's nextTick and microtask queues are drained before the next
 * handler runs. An error that a handler throws becomes an `uncaughtException`, as if Node had called the
 * handler.
 *
 * **Memory.** {@link WebSocketBehavior.maxBackpressure} limits WebSockets, {@link HttpResponse.write} tells
 * when a response should wait. Up to 4 MiB of events may wait for JavaScript. Beyond that sockets are not
 * read until JavaScript has caught up, while writing, pinging and accepting go on. Nothing is dropped.
 *
 * **Fake timers** (Jest, sinon, Vitest, node:test) do not stop the server: it uses the functions that it
 * found when it was loaded, and does without `setImmediate` where that was faked by then.
 *
 * **Threads.** Each worker thread that loads the module has its own loop and apps. When a worker ends, its
 * own sockets are closed and no others.
 *
 * **Environment.** `UWS_HTTP_MAX_HEADERS_SIZE` sets the largest size of a request head in bytes, 4096 by
 * default. It is read when the first app is created. A larger head, or one with more than 100 header fields,
 * is answered with 431 (RFC 6585 §5).
 */

/** An opaque listen socket, as passed to the callback of `listen`. */
export interface us_listen_socket {}

/** A socket. In this module it is always a listen socket. */
export interface us_socket {}

/** The opaque value that an `upgrade` handler passes on to {@link HttpResponse.upgrade}. */
export interface us_socket_context_t {}

/** An opaque value that names an app to another thread; see {@link TemplatedApp.getDescriptor}. */
export interface AppDescriptor {}

/**
 * Text or data. Strings are sent as UTF-8; a lone surrogate becomes U+FFFD. Everything else is taken as
 * bytes, whatever the type of its elements; SharedArrayBuffer and DataView are accepted too. The bytes are
 * copied during the call, so they may be changed afterwards.
 *
 * Data need not be UTF-8. Topics, keys, header values and the like are equal when their bytes are equal:
 * `'é'` and `Buffer.from('é')` are the same topic, `Buffer.from([0xe9])` is another. Where bytes that are not
 * UTF-8 are returned as a string, as by `getTopics`, they become U+FFFD.
 *
 * `undefined` counts as the empty string. Anything else throws
 * `Text and data can only be passed by String, ArrayBuffer or ArrayBufferView.`
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

/**
 * The target of a route: a handler, the program of a {@link DeclarativeResponse}, or `null` to remove the
 * route.
 */
export type RouteHandler =
  ((res: HttpResponse, req: HttpRequest) => void | Promise<void>) | ArrayBuffer | null;

/**
 * The options of a cached route: `app.get(pattern, handler, options)`.
 *
 * The first request for a URL waits for the handler, and so do those for the same URL meanwhile: all of them
 * get its one answer. Later requests get the stored reply at once until it is `upperExpiry` seconds old; once
 * it is older than `lowerExpiry`, the handler is called to renew it meanwhile. From `upperExpiry` on they
 * wait again.
 *
 * The key is the URL as sent, with its query. **Host, cookies and other headers play no part** unless `vary`
 * names them, as in uWebSockets.js: whatever the handler reads beside the URL must be in `vary`, or its
 * reply must say that it is for one client. The options below `upperExpiry`, and the rules that follow, are
 * those of uws-rs.
 *
 * A reply is given to the client whose request the handler saw, to no other, and not stored, if it has
 * `Set-Cookie`, `Cache-Control` with `private` or `no-store`, a `Vary` with a name that is not in `vary`,
 * `Content-Range`, or status 206, 304, 412 or 416. Then requests for that URL are not merged for 10 s. A
 * request with `Authorization` or `Proxy-Authorization` (unless `vary` names it), `Range`, `If-Range`,
 * `If-Match` or `If-Unmodified-Since` is always handled for its client alone.
 *
 * The handler of a shared reply does not see `If-None-Match` and `If-Modified-Since`: where the reply has an
 * `ETag` or `Last-Modified` and status 200, the loop answers 304 itself (RFC 9110 §13).
 */
export interface CacheOptions {
  /**
   * Age in whole seconds beyond which a reply is renewed while it is still served; default 0. A value that is
   * not a number counts as 0.
   */
  lowerExpiry?: number;
  /**
   * Age in whole seconds from which on a reply is not served any more. Default 0: nothing is reused, and
   * requests at the same time are merged.
   */
  upperExpiry?: number;
  /** The most replies that the route keeps; default 1000. Those used least recently go first. */
  maxEntries?: number;
  /**
   * The most bytes of all replies that the route keeps, with their keys and 256 bytes for each; default 64
   * MiB. They count in {@link memoryBudget}: over the budget replies go before any connection is closed.
   */
  maxBytes?: number;
  /**
   * Seconds that the handler has for its answer, from 1 to 86400; default 30. Then those who wait get 504,
   * and the next request tries again.
   */
  timeout?: number;
  /**
   * Names of request headers, 16 at most, by whose values replies differ, such as `['accept-language']`. The
   * route does not add `Vary` to its replies: the handler does, for caches of clients.
   */
  vary?: string[];
  /**
   * Whether HEAD requests are answered by this route as well, from the same replies and before routes of
   * `head` and `any`; default false, as in uWebSockets.js. The handler sees a GET.
   */
  head?: boolean;
  /**
   * Whether replies with status 200 whose handler has written no `ETag` get one, a hash of the body; default
   * false. It is computed in `end`, on the JavaScript thread.
   */
  etag?: boolean;
  /**
   * Whether stored replies are compressed, once each, for clients whose `Accept-Encoding` has `br` or
   * `gzip`; default false. A thread beside the loop does it, and until it is done the reply is sent as it is.
   * That is so for replies with status 200 and 1 KiB to 8 MiB, without `Content-Encoding` and `no-transform`,
   * that are no pictures (but SVG), sound or film. They get `Vary: Accept-Encoding`, and each variant an
   * `ETag` of its own if there is one. The handler does not see `Accept-Encoding`. Variants count in
   * {@link maxBytes}.
   */
  compress?: boolean;
}

/**
 * The answer of a cached route's handler, for any number of clients. It may come later; there is none that it
 * could be aborted by. Every method throws once {@link end} or {@link close} was called.
 *
 * A handler that throws answers 500 to all who wait. Nothing is stored then, nor behind {@link close} or a
 * timeout. `req.setYield(true)` throws.
 */
export interface HttpCacheResponse {
  /** Writes the status, `200 OK` by default. The first call counts. Its errors are those of HttpResponse. */
  writeStatus(status: RecognizedString): HttpCacheResponse;
  /**
   * Writes a header. `Content-Length`, `Transfer-Encoding`, `Date` and `Connection` are left to the loop,
   * which writes them for each client anew. Its errors are those of HttpResponse.
   */
  writeHeader(key: RecognizedString, value: RecognizedString): HttpCacheResponse;
  /** Answers all who wait, and stores the reply. `closeConnection` is ignored. */
  end(body?: RecognizedString, closeConnection?: boolean): HttpCacheResponse;
  /** Answers all who wait with 502, and stores nothing. */
  close(): HttpCacheResponse;
  /** Calls the callback at once. */
  cork(cb: () => void): HttpCacheResponse;
  /** The callback is never called: clients that leave are forgotten, and the answer is still wanted. */
  onAborted(handler: () => void): HttpCacheResponse;
}

/**
 * A WebSocket connection (RFC 6455), valid from `open` until its `close` handler is called.
 *
 * In the `close` handler and after it every method throws
 * `Invalid access of closed uWS.WebSocket/SSLWebSocket.`, except {@link getUserData}. The object is also its
 * own user data: properties may be set on it, and it has those of the `userData` given to
 * {@link HttpResponse.upgrade} from the start.
 */
export interface WebSocket<UserData> {
  /**
   * Sends a message.
   *
   * - `1`: the message was sent, or is on its way with nothing in front of it.
   * - `0`: the message was accepted and waits behind bytes that the kernel has refused; `drain` is called
   *   when some of them have been written.
   * - `2`: the message was dropped, because {@link getBufferedAmount} exceeded `maxBackpressure` already. The
   *   `dropped` handler runs inside this call. The first message to meet such an amount is still accepted and
   *   answered `0`, so a program that stops at `0` until `drain` never loses a message.
   *
   * After `1` or `0` the message is delivered, in order, unless the connection ends; it is never dropped
   * later. With more than 1 MiB on its way to one connection the call waits (at most 0.1 s) until the loop
   * has tried to write it, so that the result is accurate.
   *
   * @param isBinary whether the message is binary; default false: text. Text should be UTF-8, which is not
   *   checked; peers close the connection when it is not (RFC 6455 §8.1).
   * @param compress whether to compress the message; default false. It has an effect when compression was
   *   negotiated and the message is not empty.
   */
  send(message: RecognizedString, isBinary?: boolean, compress?: boolean): number;

  /**
   * Begins a message that is sent in fragments (RFC 6455 §5.4). `isBinary` and `compress` apply to the whole
   * message. Returns the same values as `send`; after 2 (dropped) the other fragments of the message are
   * dropped as well. Until {@link sendLastFragment} only fragments and pings may be sent on this connection;
   * publishes count as messages.
   */
  sendFirstFragment(message: RecognizedString, isBinary?: boolean, compress?: boolean): number;

  /**
   * Continues a message begun by {@link sendFirstFragment}, with the same `compress`. Returns the same values
   * as `send`. If a fragment is dropped behind others that were sent, the message can have no end, and the
   * connection is closed (1006).
   */
  sendFragment(message: RecognizedString, compress?: boolean): number;

  /**
   * Ends a message begun by {@link sendFirstFragment}, with the same `compress`. Returns the same values as
   * `send`.
   */
  sendLastFragment(message: RecognizedString, compress?: boolean): number;

  /**
   * Sends a ping. The peer's pong is passed to the `pong` handler. Returns the same values as `send`.
   *
   * @throws RangeError when the message is longer than 125 bytes (RFC 6455 §5.5).
   */
  ping(message?: RecognizedString): number;

  /**
   * Returns the number of bytes that wait because the kernel has refused them, including everything sent
   * behind those. It is 0 as long as the kernel accepts everything, however much is on its way.
   */
  getBufferedAmount(): number;

  /**
   * Closes the connection with a close frame. The `close` handler runs inside this call, with the same code
   * and reason. Data sent before is written first; data that still arrives is ignored. A peer that does not
   * close within 4 s is disconnected.
   *
   * @param code the status code (RFC 6455 §7.4). None, 0 or 1005 send a close frame without a code, and
   *   `close` gets the number given (0 for none).
   * @param shortMessage the reason; it is cut to 123 bytes (RFC 6455 §5.5.1).
   * @throws RangeError when the code is not an integer from 0 to 65535.
   */
  end(code?: number, shortMessage?: RecognizedString): void;

  /**
   * Closes the connection at once, without a close frame; data that has not been written is lost. The `close`
   * handler runs inside this call with 1006 and an empty reason. Surplus arguments are ignored.
   */
  close(): void;

  /**
   * Calls `cb` at once and returns the WebSocket. Writes of one turn are sent together with or without it; it
   * exists for programs that use it.
   */
  cork(cb: () => void): WebSocket<UserData>;

  /**
   * Subscribes to a topic: a plain string without wildcards, in one name space per app. Returns true, also
   * when the connection is subscribed already; false beyond a limit of {@link AppLimits}, and in a
   * `subscription` handler that runs because the connection ends.
   */
  subscribe(topic: RecognizedString): boolean;

  /** Ends a subscription. Returns whether there was one. */
  unsubscribe(topic: RecognizedString): boolean;

  /** Returns whether this connection is subscribed to the topic. */
  isSubscribed(topic: RecognizedString): boolean;

  /** Returns the topics that this connection is subscribed to, in the order of the subscriptions. */
  getTopics(): string[];

  /**
   * Sends a message to every other subscriber of the topic in this app, never to this connection. Returns
   * false, and sends nothing, when there is no other subscriber or this connection has no subscription at
   * all. A subscriber that exceeds its `maxBackpressure` is skipped and its `dropped` handler is called; the
   * others are not affected.
   */
  publish(
    topic: RecognizedString,
    message: RecognizedString,
    isBinary?: boolean,
    compress?: boolean,
  ): boolean;

  /**
   * Returns the user data. As in the original this is the WebSocket itself, with the properties that were
   * given to {@link HttpResponse.upgrade}. It can also be called after the close.
   */
  getUserData(): UserData;

  /** Returns the peer's address in binary: 4 bytes for IPv4, 16 for IPv6, none on a unix socket. */
  getRemoteAddress(): ArrayBuffer;

  /**
   * Returns the peer's address as text: `127.0.0.1`, or IPv6 in full, as in
   * `0000:0000:0000:0000:0000:ffff:7f00:0001` for an IPv4 peer of a listener on all addresses.
   */
  getRemoteAddressAsText(): ArrayBuffer;

  /** Returns the peer's port, 0 on a unix socket. */
  getRemotePort(): number;
}

/**
 * The response to one request. It is valid until it is complete (`end`, `endWithoutBody`, a complete
 * `tryEnd`), is upgraded, or its connection is gone. After that, and in the `onAborted` handler, every method
 * throws `uWS.HttpResponse must not be accessed after uWS.HttpResponse.onAborted callback, or after a
 * successful response. …`
 *
 * A handler may respond later if it attaches {@link onAborted} before it and its microtasks are done. For a
 * handler that does neither, a warning (`UwsRsWarning`) names the request, once per route, and the request is
 * answered with 500; the original ends the process. A request whose handler throws is answered with 500, too.
 *
 * Timeouts: a connection that is idle between requests, a request head that is not complete, and a write that
 * makes no progress are given 10 s, which begin anew with each progress. A request body must arrive at 16
 * KiB/s on average over 10 s: an upload of one byte per second ends after about 11 s, as in the original.
 * {@link TemplatedApp.setIdleTimeout} and {@link TemplatedApp.setResponseTimeout} change these limits. A
 * response may be pending without limit.
 *
 * A 1xx status is not that of a final response and throws an Error, except 101 before {@link upgrade}. 204
 * and 304 are sent without a body, and 204 without a length, whatever is written.
 */
export interface HttpResponse {
  /**
   * Sets the status code and reason, as in `'404 Not Found'`; default `200 OK`. The first call counts and
   * later ones are ignored, as is a call after {@link writeHeader}, which implies `200 OK`. Before an
   * {@link upgrade} with headers of its own, write `101 Switching Protocols` first.
   *
   * 1xx is not final: after it every method that answers throws, except `upgrade` after 101.
   *
   * @throws Error when it does not begin with three digits, or contains a control character other than the
   *   tab.
   */
  writeStatus(status: RecognizedString): HttpResponse;

  /**
   * Adds a header field. Header fields are written in the order of the calls. Behind them follow `Date`
   * (unless you write one), `Content-Length` or `Transfer-Encoding`, and `Connection`, as needed.
   *
   * - `content-length`: exactly one is sent. It may announce the length of a body that is not sent (HEAD,
   *   304). The method that ends the response throws when it contradicts the body.
   * - `transfer-encoding`: ignored; a streamed response is `chunked` by itself.
   * - `connection`: one line is sent, as written. With the option `close` the connection closes after the
   *   response; where it closes for another reason, `keep-alive` becomes `close`.
   *
   * @throws Error when the name is not a token (RFC 9110 §5.6.2), the value contains a control character
   *   other than the tab, or the head has been sent.
   */
  writeHeader(key: RecognizedString, value: RecognizedString): HttpResponse;

  /**
   * Sends the head, unless it has been sent, and a chunk of the body (RFC 9112 §7.1). An HTTP/1.0 client gets
   * the bytes as they are, and the connection is closed at the end. Everything is accepted. Returns false
   * when the kernel has refused bytes or 1 MiB is on its way; `onWritable` is called once less than 256 KiB
   * wait. A program that stops at false holds at most 1 MiB and one chunk here; one that goes on holds all it
   * writes.
   *
   * An empty chunk is accepted and nothing is sent. For HEAD, 204 and 304 the head is sent and the chunks are
   * not.
   */
  write(chunk: RecognizedString): boolean;

  /** Sends the head of a streamed response now, without waiting for the first chunk. */
  beginWrite(): HttpResponse;

  /**
   * Completes the response with a body, or with the last chunk of a streamed one. For HEAD the head is sent
   * with the body's length, but no body; for 204 and 304 neither is sent (RFC 9110 §6.4.1).
   *
   * @param closeConnection whether to close after the last byte; `Connection: close` says so unless the head
   *   has been sent.
   * @throws Error when a `content-length` written before contradicts the body.
   */
  end(body?: RecognizedString, closeConnection?: boolean): HttpResponse;

  /**
   * Completes the response without a body.
   *
   * @param reportedContentLength the length to announce, as for HEAD. Without it, or with 204, there is no
   *   `Content-Length`.
   */
  endWithoutBody(reportedContentLength?: number, closeConnection?: boolean): HttpResponse;

  /**
   * Sends as much as possible of a response whose length is known. The first call sends the head with
   * `Content-Length: totalSize` (0: the length of the data). Data is accepted up to 1 MiB on its way; the
   * rest of it is not kept.
   *
   * Returns `[ok, hasResponded]`. `ok`: all of the data was accepted. Otherwise go on from
   * {@link getWriteOffset} in `onWritable`. `hasResponded`: `totalSize` bytes were accepted; the response is
   * complete and no longer valid.
   *
   * @throws RangeError when there is more data than is left of `totalSize`.
   */
  tryEnd(
    fullBodyOrChunk: RecognizedString,
    totalSize: number,
    closeConnection?: boolean,
  ): [ok: boolean, hasResponded: boolean];

  /** Returns the number of bytes of the body that {@link write} and {@link tryEnd} have accepted so far. */
  getWriteOffset(): number;

  /**
   * Sets a handler that is called when there is room again after `write` returned false or `tryEnd` accepted
   * less than it was given. It gets the present {@link getWriteOffset}. Its result is ignored; the original
   * expects true for "done, or nothing written" and false for "still failing". A later handler replaces an
   * earlier one.
   */
  onWritable(handler: (offset: number) => boolean): HttpResponse;

  /**
   * Sets a handler that is called once if the connection ends before the response is complete: closed or
   * reset by the client, timed out, or closed by {@link close} or `app.close()`. The response is no longer
   * valid in the handler. A client that closes only its sending side counts as gone, as in the original. A
   * later handler replaces an earlier one.
   */
  onAborted(handler: () => void): HttpResponse;

  /**
   * Sets a handler for the request's body. It is called with each chunk, the last time with `isLast`; once
   * with an empty chunk when there is no body. The chunk is lent for the call and is detached after it, as in
   * the original: copy what you keep (`chunk.slice(0)`).
   *
   * The handler may be attached at any time until the response is complete. Until then the body waits, and
   * nothing more is read from the client. A client that sent `Expect: 100-continue` gets 100 (Continue)
   * before the request's handler runs.
   */
  onData(handler: (chunk: ArrayBuffer, isLast: boolean) => void): HttpResponse;

  /**
   * Is like {@link onData}, but instead of `isLast` the handler gets the maximal number of bytes still to
   * come: `0n` with the last chunk, 2^64 - 1 when the length is not known (chunked).
   */
  onDataV2(handler: (chunk: ArrayBuffer, maxRemainingBodyLength: bigint) => void): HttpResponse;

  /**
   * Gathers the whole body and calls `handler` with it, or with `null` as soon as it exceeds `maxSize` bytes;
   * the rest is then read and discarded. The buffer is yours.
   */
  collectBody(maxSize: number, handler: (fullBody: ArrayBuffer | null) => void): HttpResponse;

  /**
   * Returns the maximal number of bytes of the request's body still to come, as passed to {@link onDataV2}.
   * Before the first chunk it is the Content-Length, 2^64 - 1 for a chunked body, `0n` without a body.
   */
  maxRemainingBodyLength(): bigint;

  /** Stops reading the request's body; TCP's flow control slows the client down. */
  pause(): HttpResponse;

  /** Continues reading after {@link pause}. */
  resume(): HttpResponse;

  /**
   * Calls `cb` at once and returns the response. Writes of one turn are sent together with or without it, and
   * there is no warning for writes outside of it.
   */
  cork(cb: () => void): HttpResponse;

  /** The same as {@link cork}. */
  collect(cb: () => void): HttpResponse;

  /**
   * Closes the connection at once, whatever state the response is in. The `onAborted` handler runs inside
   * this call.
   */
  close(): HttpResponse;

  /**
   * Upgrades the connection to a WebSocket (RFC 6455 §4.2.2), in the `upgrade` handler or later, as long as
   * nothing has been sent. Headers that were written before are sent with the 101 response, after
   * `writeStatus('101 Switching Protocols')`.
   *
   * The `open` handler runs inside this call, after which the response is no longer valid. The first of the
   * offered subprotocols is accepted; compression is negotiated from the offered extensions. Frames that
   * arrived early are delivered after `open`.
   *
   * @param userData an object whose own enumerable properties, and own properties with symbols for keys,
   *   become properties of the WebSocket; its prototype is not used. See {@link WebSocket.getUserData}.
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

  /** Returns the client's address in binary: 4 bytes for IPv4, 16 for IPv6, none on a unix socket. */
  getRemoteAddress(): ArrayBuffer;

  /** Returns the client's address as text; see {@link WebSocket.getRemoteAddressAsText}. */
  getRemoteAddressAsText(): ArrayBuffer;

  /** Returns the client's port, 0 on a unix socket. */
  getRemotePort(): number;

  /**
   * Returns the client's address as given by a proxy (PROXY protocol v1 or v2, which is recognized by
   * itself); empty without one. Anybody can send such a header, unless the app has {@link
   * AppOptions.trustedProxies}.
   */
  getProxiedRemoteAddress(): ArrayBuffer;

  /** Returns the address of {@link getProxiedRemoteAddress} as text. */
  getProxiedRemoteAddressAsText(): ArrayBuffer;

  /** Returns the port that belongs to {@link getProxiedRemoteAddress}, 0 without one. */
  getProxiedRemotePort(): number;

  /**
   * Returns the certificate that the client has sent, as PEM text: the client's own one, without those of the
   * authorities above it. `''` if the client has sent none, or was not asked for one, which it is where
   * {@link AppOptions.ca_file_name} is set; a certificate that was sent has been signed by an authority of
   * that file. It is there as long as the response is valid, so also after an `await`. A client that resumes
   * a session is known by the certificate it had sent before.
   *
   * Only responses of an SSLApp have this method. For the response that a filter is given it returns `''`.
   * uWebSockets.js has it without a word in its types.
   */
  getX509Certificate?(): string;

  /** Programs may set properties of their own on the object. */
  [key: string]: any;
}

/**
 * The head of the request being handled, valid in its handler and the microtasks that the handler queued.
 * Afterwards every method throws
 * `uWS.HttpRequest must not be accessed after await or route handler return. …`
 */
export interface HttpRequest {
  /**
   * Returns the value of a header as latin1 text without surrounding white space; `''` without one. If there
   * are several, it is the first.
   *
   * @param lowerCaseKey the name, which must be in lower case.
   */
  getHeader(lowerCaseKey: RecognizedString): string;

  /**
   * Returns the part of the path that a `:name` segment of the route's pattern matched, as sent:
   * percent-encoding is not decoded. The segment is given by its position from 0, or by name. `''` when there
   * is none (`undefined` is in the type because the original has it).
   */
  getParameter(index: number | RecognizedString): string | undefined;

  /** Returns the path, with its leading slash and without the query, as sent. */
  getUrl(): string;

  /** Returns the method in lower case, as in `'get'`. */
  getMethod(): string;

  /** Returns the method as sent. */
  getCaseSensitiveMethod(): string;

  /**
   * Returns the text behind the `?`, as sent. Without a `?` it is `undefined`, despite the type, as in the
   * original.
   */
  getQuery(): string;

  /**
   * Returns the value of the first `key=value` in the query, with `%` and `+` decoded. `undefined` when there
   * is none, when the key has no `=`, and when the value has a malformed escape. The key is compared with the
   * query as sent.
   */
  getQuery(key: RecognizedString): string | undefined;

  /**
   * Returns the address of the client as text (IPv6 in its short form, IPv4 never as IPv6), `''` for a peer
   * of a unix socket. It is the address of the socket, unless that is one of {@link
   * AppOptions.trustedProxies}: then it is the client that the proxy names, in a PROXY header, in `Forwarded`
   * (RFC 7239) or in `X-Forwarded-For`. Of several hops it is the right-most that is no trusted proxy, since
   * only trusted ones can be believed; where they name nobody, or where the two fields disagree, it is the
   * last trusted hop.
   */
  getClientAddress(): string;

  /** Calls `cb` with every header in order, with names in lower case. */
  forEach(cb: (key: string, value: string) => void): void;

  /**
   * With true, this handler leaves the request to the next route that matches. If there is none, the request
   * is answered with 404; if the app has its own `any('/*')` route, the connection is closed instead.
   */
  setYield(_yield: boolean): HttpRequest;
}

/**
 * Options and handlers of a `ws` route; all are optional. A handler may be `null`; anything else that is not
 * a function throws `Passed callback is not a valid function.` Numbers out of bounds throw a RangeError that
 * names the option.
 *
 * The ArrayBuffer that `message` gets is lent for the call and is detached after it, as in the original: copy
 * what you keep (`message.slice(0)`). The other handlers may keep theirs.
 */
export interface WebSocketBehavior<UserData> {
  // Numbers are converted as in the original: from text, with fractions cut off; `null` and text that is not
  // a number become 0. Sizes below 0 or above 32 bits mean no limit.

  /**
   * The largest size of a received message in bytes, over all its fragments and after decompression. Default
   * 16384. A larger message closes the connection: the peer gets 1009 (RFC 6455 §7.4.1), `close` gets 1006
   * and `Received too big message`.
   */
  maxPayloadLength?: number;

  /**
   * Whether a message that exceeds `maxBackpressure` closes the connection, with 1006, instead of being
   * dropped only. Default false.
   */
  closeOnBackpressureLimit?: boolean;

  /**
   * Minutes until a connection is closed with 1000 and `please reconnect`: 0 (default, never) to 240; more
   * counts as 240.
   */
  maxLifetime?: number;

  /**
   * Seconds without a byte from the peer after which the connection is closed: 0 (never) or 8 to 960, default
   * 120; anything else throws a RangeError. It may happen up to a second late. See
   * {@link sendPingsAutomatically}.
   */
  idleTimeout?: number;

  /**
   * permessage-deflate (RFC 7692): {@link DISABLED} (default), or a compressor and a decompressor combined
   * with `|`.
   *
   * Only messages sent with `compress` true are compressed, but never empty ones or control frames; in a
   * fragmented message the flag of the first fragment decides. With {@link SHARED_COMPRESSOR} each message is
   * compressed by itself, idle connections hold no memory for it, and a publish is compressed once for all
   * subscribers with the same window. A dedicated compressor refers back to earlier messages, which makes
   * similar messages much smaller. It compresses a publish for each connection, and holds memory as long as
   * the connection lives: 512 bytes to 4 KiB up to `DEDICATED_COMPRESSOR_32KB`, and 64, 128 and 256 KiB for
   * those with these numbers in their names. A dedicated decompressor holds up to its window, 512 bytes to 32
   * KiB. `maxPayloadLength` limits a message after decompression, too. All of it runs outside the JavaScript
   * thread. Safari 15.0 to 15.3 is not offered compression.
   */
  compression?: CompressOptions;

  /**
   * The number of bytes that may wait for a slow peer, default 65536; 0: no limit. A message is dropped when
   * more than this waits *before* it, so one message may exceed the limit.
   *
   * The memory that one slow connection can hold is bounded: this limit, one message, and the data that was
   * on its way when the kernel first refused bytes. The latter is 1 MiB and a message when sent by
   * {@link WebSocket.send} (with more than that the call waits for the loop). It is at most twice the 4 MiB
   * that all commands on their way to the loop may take; beyond those JavaScript waits for the loop.
   */
  maxBackpressure?: number;

  /**
   * Whether to send a ping when a peer has been silent for `idleTimeout` less 4, 8 or 16 s (the largest of
   * these whose double still fits into the rest), so that live peers stay connected. Default true.
   */
  sendPingsAutomatically?: boolean;

  /** Whether data that the server sends resets `idleTimeout`, as data from the peer does. Default false. */
  resetIdleTimeoutOnSend?: boolean;

  /**
   * Called for an upgrade request, to answer it or {@link HttpResponse.upgrade} it, at once or later. Without
   * this handler every request is upgraded, with the first subprotocol and empty user data.
   */
  upgrade?:
    ((res: HttpResponse, req: HttpRequest, context: us_socket_context_t) => void | Promise<void>) | null;

  /**
   * Called when the connection is a WebSocket. The client has the answer to its handshake only afterwards,
   * so it can rely on all that this handler did before its first `await`, as on a subscription. With neither
   * this handler nor `upgrade` the loop answers by itself, also while JavaScript is busy.
   */
  open?: ((ws: WebSocket<UserData>) => void | Promise<void>) | null;

  /** Called with each whole message. Text has been checked to be UTF-8 (RFC 6455 §8.1). */
  message?:
    ((ws: WebSocket<UserData>, message: ArrayBuffer, isBinary: boolean) => void | Promise<void>) | null;

  /** Called with each message, sent or published, that was dropped because of `maxBackpressure`. */
  dropped?:
    ((ws: WebSocket<UserData>, message: ArrayBuffer, isBinary: boolean) => void | Promise<void>) | null;

  /** Called when {@link WebSocket.getBufferedAmount} has become smaller. */
  drain?: ((ws: WebSocket<UserData>) => void) | null;

  /**
   * Called once when the connection has ended, whichever side ended it; the WebSocket is no longer valid. Its
   * subscriptions have ended before.
   *
   * `code` and `message` are those of the peer's close frame, 1005 when it has none, or those given to
   * {@link WebSocket.end}. Otherwise the code is 1006 with a reason: `Received too big message`,
   * `Received too big message, or other inflation error`, `Received invalid UTF-8`,
   * `Received invalid close payload`, `Received invalid WebSocket frame`,
   * `WebSocket timed out from inactivity`, `Received TCP FIN before WebSocket close frame`, or an empty one.
   * After a violation the peer is first sent the close frame that RFC 6455 asks for.
   */
  close?: ((ws: WebSocket<UserData>, code: number, message: ArrayBuffer) => void) | null;

  /** Called with the payload of each ping, which is answered automatically. */
  ping?: ((ws: WebSocket<UserData>, message: ArrayBuffer) => void) | null;

  /** Called with the payload of each pong. */
  pong?: ((ws: WebSocket<UserData>, message: ArrayBuffer) => void) | null;

  /**
   * Called inside `subscribe` and `unsubscribe`, and for each subscription when the connection ends, with the
   * number of subscribers of the topic now and before.
   */
  subscription?:
    ((ws: WebSocket<UserData>, topic: ArrayBuffer, newCount: number, oldCount: number) => void) | null;
}

/** So many in so many seconds. They may come all at once, and then one each `seconds / count`. */
export interface RateLimit {
  /** 1 to 2^32 - 1. */
  count: number;
  /** 1 to 86400. */
  seconds: number;
}

/**
 * Limits of an app, which the event loop enforces, also while JavaScript is busy. All are optional; without
 * one its default holds. `Infinity` means no limit. docs/limits.md explains each of them.
 *
 * A wrong type throws a TypeError, a number out of bounds a RangeError, and an unknown name a TypeError that
 * lists the known ones. Addresses of IPv6 count by their network of 64 bits, those of IPv4 also where a
 * socket of IPv6 tells them as `::ffff:a.b.c.d`. Peers of unix sockets have no address, and no limits by
 * address.
 */
export interface AppLimits {
  /**
   * Connections that are open at a time, those served by child apps included. Another one is closed right
   * after it was accepted, and no handler hears of it. Default: no limit.
   */
  maxConnections?: number;
  /** The same for the connections of each address. Those of trusted proxies count with the client's. */
  maxConnectionsPerAddress?: number;
  /** Requests of each address; others are answered with 429 and `Retry-After`. Default: no limit. */
  maxRequestsPerAddress?: RateLimit;
  /** Requests of each address for `ws` routes, which also count as requests. Default: no limit. */
  maxUpgradesPerAddress?: RateLimit;
  /**
   * Seconds for a request head, from its first byte on, and for the first byte of a connection: 0 (no limit)
   * to 86400. A late head is answered with 408. Default: {@link TemplatedApp.setIdleTimeout}, 10 s, after
   * which the connection is closed without an answer, as in the original.
   */
  headTimeout?: number;
  /**
   * Seconds for a whole request, head and body, in which the program reads it: 0 (default, no limit) to
   * 86400. A late one is answered with 408, or closed if its response has begun.
   */
  requestTimeout?: number;
  /**
   * Seconds for which a connection is kept for its next request: 0 (no limit) to 86400. Default:
   * {@link TemplatedApp.setResponseTimeout}, 10 s.
   */
  keepAliveTimeout?: number;
  /**
   * Bytes of data per second that a request body must bring, on average over
   * {@link TemplatedApp.setIdleTimeout}, 10 s; the framing of chunks and trailer fields do not count. Default
   * 16384, as in the original, which closes the connection; with this option the answer is 408. With 0, or
   * Infinity, a byte in that time is enough.
   */
  minBodyRate?: number;
  /**
   * Bytes of a request body; more are answered with 413, or closed if the response has begun. Default: no
   * limit.
   */
  maxBodyLength?: number;
  /** Requests of one connection; the last response closes it, and says so. Default: no limit. */
  maxRequestsPerConnection?: number;
  /**
   * Bytes of responses that may wait to be sent on a connection when its next request is read or handled,
   * from 16384 on. Default 1 MiB.
   */
  maxUnsentBytes?: number;
  /** Topics of one WebSocket; beyond it `subscribe` returns false. Default: no limit. */
  maxTopicsPerConnection?: number;
  /** Bytes of a topic; `subscribe` returns false for a longer one. Default: no limit. */
  maxTopicLength?: number;
  /**
   * Subscriptions of all WebSockets of the app together; beyond it `subscribe` returns false. Default: no
   * limit.
   */
  maxSubscriptions?: number;
}

/**
 * Settings of an {@link App} or {@link SSLApp}. Those of TLS are for an SSLApp and for its server names; an
 * App ignores them. `limits` and `trustedProxies` are for apps, and hold for all of their server names.
 */
export interface AppOptions {
  /** See {@link AppLimits}. */
  limits?: AppLimits;
  /**
   * The proxies in front of the app, as addresses (`'::1'`), networks (`'10.0.0.0/8'`) or `'unix'` for all
   * peers of unix sockets. Only these may send a PROXY header (from others it is a bad request), and only
   * these are believed about the addresses of clients; see {@link HttpRequest.getClientAddress}. Default:
   * anybody may send a PROXY header, as in the original, and nobody is believed.
   *
   * @throws TypeError for anything else.
   */
  trustedProxies?: readonly string[];
  /** The path of the private key (PEM). */
  key_file_name?: RecognizedString;
  /** The path of the certificate with its chain (PEM), of X.509 version 3 or 1. */
  cert_file_name?: RecognizedString;
  /**
   * The path of the authorities (PEM), of X.509 version 3 or 1, that must have issued client certificates.
   * With it clients are asked for a certificate, which must be of version 3: one of version 1, as `openssl
   * x509 -req` makes them without `-extfile`, says nothing of its use, and the handshake fails.
   */
  ca_file_name?: RecognizedString;
  /**
   * Whether clients must have a certificate of one of these authorities. Handshakes without one fail with
   * the alert `certificate_required` (`handshake_failure` with TLS 1.2), and no handler but those of `filter`
   * hears of them. Default false, as in the original: a client may have none, but a wrong one is refused. It
   * is an Error without {@link AppOptions.ca_file_name}. Server names with a certificate of their own have
   * options of their own.
   */
  requireClientCertificate?: boolean;
  /** The passphrase of an encrypted private key. */
  passphrase?: RecognizedString;
  /**
   * Accepted because the original has it. Keys are exchanged by elliptic curves only, which need no such
   * file.
   */
  dh_params_file_name?: RecognizedString;
  /**
   * Cipher suites in OpenSSL's notation; the client's first one of these is used. Without this option
   * AES-128-GCM is preferred to AES-256-GCM, which costs more and gains little, and ChaCha20 to both where
   * the client lists it first.
   */
  ssl_ciphers?: RecognizedString;
  /** Accepted because the original has it; buffers of idle connections are released in any case. */
  ssl_prefer_low_memory_usage?: boolean;
}

/** Options of `listen`. */
export enum ListenOptions {
  /** Several processes and threads may listen on one port; the kernel distributes the connections. */
  LIBUS_LISTEN_DEFAULT = 0,
  /** Nobody else may listen on the port: the callback gets `false` when it is taken. */
  LIBUS_LISTEN_EXCLUSIVE_PORT = 1,
}

/** See {@link ListenOptions.LIBUS_LISTEN_DEFAULT}. */
export const LIBUS_LISTEN_DEFAULT: ListenOptions.LIBUS_LISTEN_DEFAULT;
/** See {@link ListenOptions.LIBUS_LISTEN_EXCLUSIVE_PORT}. */
export const LIBUS_LISTEN_EXCLUSIVE_PORT: ListenOptions.LIBUS_LISTEN_EXCLUSIVE_PORT;

/** Options of {@link TemplatedApp.shutdown}. */
export interface ShutdownOptions {
  /**
   * Seconds until the connections that are left are closed: an integer from 0 to 86400. With 0, what the
   * kernel does not take at once is lost. Default: 10.
   */
  timeout?: number;
}

/** The result of {@link TemplatedApp.shutdown}. */
export interface ShutdownResult {
  /**
   * How many connections were closed, by the timeout or by `close`, before they had got all that was owed to
   * them: a response, or a close frame and what was sent before it.
   */
  cut: number;
}

/** Handshakes by the TLS alert that ended them (RFC 8446 §6.2); `other` are those of all other numbers. */
export interface HandshakeAlerts {
  /** Alert 0, close_notify. */
  closeNotify: number;
  /** Alert 10, unexpected_message. */
  unexpectedMessage: number;
  /** Alert 20, bad_record_mac. */
  badRecordMac: number;
  /** Alert 22, record_overflow. */
  recordOverflow: number;
  /** Alert 40, handshake_failure. */
  handshakeFailure: number;
  /** Alert 42, bad_certificate. */
  badCertificate: number;
  /** Alert 43, unsupported_certificate. */
  unsupportedCertificate: number;
  /** Alert 44, certificate_revoked. */
  certificateRevoked: number;
  /** Alert 45, certificate_expired. */
  certificateExpired: number;
  /** Alert 46, certificate_unknown. */
  certificateUnknown: number;
  /** Alert 47, illegal_parameter. */
  illegalParameter: number;
  /** Alert 48, unknown_ca. */
  unknownCa: number;
  /** Alert 49, access_denied. */
  accessDenied: number;
  /** Alert 50, decode_error. */
  decodeError: number;
  /** Alert 51, decrypt_error. */
  decryptError: number;
  /** Alert 70, protocol_version. */
  protocolVersion: number;
  /** Alert 71, insufficient_security. */
  insufficientSecurity: number;
  /** Alert 80, internal_error. */
  internalError: number;
  /** Alert 86, inappropriate_fallback. */
  inappropriateFallback: number;
  /** Alert 90, user_canceled. */
  userCanceled: number;
  /** Alert 109, missing_extension. */
  missingExtension: number;
  /** Alert 110, unsupported_extension. */
  unsupportedExtension: number;
  /** Alert 112, unrecognized_name. */
  unrecognizedName: number;
  /** Alert 116, certificate_required. */
  certificateRequired: number;
  /** Alert 120, no_application_protocol. */
  noApplicationProtocol: number;
  /** All other alerts. */
  other: number;
}

/**
 * The figures of an app: counters since it was made, which only increase, and gauges. A number above 2^53 is
 * rounded. docs/observability.md says what each means exactly, and its name in the texts of
 * {@link TemplatedApp.metrics}.
 */
export interface AppStats {
  /** Bytes on the sockets. */
  bytes: {
    /** Bytes read from sockets, those of TLS included. */
    received: number;
    /** Bytes that the kernel has taken for sending, those of TLS included. */
    sent: number;
  };
  /** Requests and responses. */
  http: {
    /** Requests whose head was read and well-formed, upgrades included. */
    requests: number;
    /** Responses whose head was handed over for sending, by the class of their status. */
    responses: {
      /** Status 1xx, mostly upgrades. */
      informational: number;
      /** Status 2xx. */
      success: number;
      /** Status 3xx. */
      redirection: number;
      /** Status 4xx. */
      clientError: number;
      /** Status 5xx. */
      serverError: number;
    };
    /** Requests that could not be understood or were refused, and what was wrong with them. */
    errors: {
      /** Answered with 400. */
      badRequest: number;
      /** A head that is too long or has too many fields; answered with 431. */
      headerFieldsTooLarge: number;
      /** A request that was too slow for a limit of the app; answered with 408. */
      requestTimeout: number;
      /** Answered with 413. */
      contentTooLarge: number;
      /** Too many bodies for declared responses at once; answered with 503. */
      unavailable: number;
      /** Answered with 505. */
      versionNotSupported: number;
      /** A malformed header of the PROXY protocol; the connection is closed. */
      badProxyHeader: number;
    };
  };
  /** Cached routes, see {@link CacheOptions}. */
  cache: {
    /** Requests answered with a stored reply that was fresh. */
    hits: number;
    /** Requests answered with a stored reply older than `lowerExpiry`, which is renewed. */
    stale: number;
    /** Requests for which the handler was called. */
    misses: number;
    /** Requests that waited for a call for an earlier one. */
    waits: number;
    /** Requests for which the handler was called for this client alone. */
    alone: number;
    /** Replies that were stored. */
    stored: number;
    /** Stored replies that went for others, or for the memory budget. */
    evicted: number;
    /** Stored replies. A note that replies for a URL are for one client each counts, too. */
    entries: number;
    /** Bytes of stored replies, with their keys and some 256 bytes for each. */
    bytes: number;
  };
  /** WebSockets. */
  webSocket: {
    /** Messages, not control frames. */
    messages: {
      /** Messages that WebSockets received, before any handler. */
      received: number;
      /**
       * Messages of ws.send() and its like that were handed over for sending; a fragmented one counts once.
       */
      sent: number;
      /**
       * Messages that were dropped because of maxBackpressure: of ws.send(), or for a subscriber of a
       * publish.
       */
      dropped: {
        /** Those to which `send` and its like answered 2. */
        send: number;
        /** One for each subscriber that did not get a publish. */
        publish: number;
      };
    };
    /** Publishes of topics that had subscribers. */
    publishes: number;
    /** Messages of publishes that were handed over for sending to a subscriber. */
    deliveries: number;
    /** Connections that became WebSockets. */
    upgrades: number;
    /** WebSockets that were closed because of what they sent. */
    errors: {
      /** A frame that RFC 6455 does not allow; closed with 1002. */
      invalidFrame: number;
      /** A message above `maxPayloadLength`; closed with 1009. */
      tooBigMessage: number;
      /** A text that is not UTF-8; closed with 1007. */
      invalidUtf8: number;
      /** A close frame with an invalid code; closed with 1002. */
      invalidClosePayload: number;
      /** A close frame whose reason is not UTF-8; closed with 1007. */
      invalidCloseReason: number;
      /** A compressed message above `maxPayloadLength`; closed with 1009. */
      tooBigInflation: number;
      /** Data that is not compressed as negotiated; closed with 1007. */
      invalidDeflate: number;
    };
  };
  /** Connections. One is counted as HTTP until it is upgraded. */
  connections: {
    /** Connections that the app took over from its listeners or from another app. */
    accepted: number;
    /** Connections without TLS. */
    plain: {
      /** HTTP. */
      http: number;
      /** WebSockets. */
      webSocket: number;
    };
    /** Connections of an SSLApp. */
    tls: {
      /** The handshake is not complete. */
      handshaking: number;
      /** HTTP. */
      http: number;
      /** WebSockets. */
      webSocket: number;
    };
  };
  /** Connections that ran into a timeout. */
  timeouts: {
    /** A TLS handshake that took more than 10 s. */
    handshake: number;
    /** A first request, or the rest of a head, that did not come. */
    request: number;
    /** A body that came too slowly. */
    body: number;
    /** A client that took nothing of a response. */
    response: number;
    /** No further request came, which is the usual end of a connection. */
    keepAlive: number;
    /** A WebSocket that was silent for `idleTimeout`. */
    webSocketIdle: number;
    /** A WebSocket that reached its `maxLifetime`. */
    webSocketLifetime: number;
    /** A peer that did not take the last bytes, or did not close its side. */
    end: number;
  };
  /** Breaches of limits, each with the consequence that belongs to the limit. */
  limits: {
    /** The process had no file descriptor left: accepting paused. */
    descriptors: number;
    /** The loop has as many connections as it can have: the new one was closed. */
    connections: number;
    /** A WebSocket was closed by `closeOnBackpressureLimit`. */
    backpressure: number;
    /** See {@link AppLimits.maxConnections}; the connection was closed. */
    maxConnections: number;
    /** See {@link AppLimits.maxConnectionsPerAddress}; the connection was closed. */
    maxConnectionsPerAddress: number;
    /** See {@link AppLimits.maxRequestsPerAddress}; the answer was 429. */
    maxRequestsPerAddress: number;
    /** See {@link AppLimits.maxUpgradesPerAddress}; the answer was 429. */
    maxUpgradesPerAddress: number;
    /** See {@link AppLimits.headTimeout}; the answer was 408 if a head had begun. */
    headTimeout: number;
    /** See {@link AppLimits.requestTimeout}; the answer was 408 if no response had begun. */
    requestTimeout: number;
    /** See {@link AppLimits.keepAliveTimeout}; the connection was closed, where the limit is set. */
    keepAliveTimeout: number;
    /** See {@link AppLimits.minBodyRate}; the answer was 408 if no response had begun. */
    minBodyRate: number;
    /** See {@link AppLimits.maxBodyLength}; the answer was 413 if no response had begun. */
    maxBodyLength: number;
    /** See {@link AppLimits.maxRequestsPerConnection}; the response closed the connection. */
    maxRequestsPerConnection: number;
    /** See {@link AppLimits.maxUnsentBytes}; the next request waited. */
    maxUnsentBytes: number;
    /** See {@link AppLimits.maxTopicsPerConnection}; `subscribe` returned false. */
    maxTopicsPerConnection: number;
    /** See {@link AppLimits.maxTopicLength}; `subscribe` returned false. */
    maxTopicLength: number;
    /** See {@link AppLimits.maxSubscriptions}; `subscribe` returned false. */
    maxSubscriptions: number;
    /** A slow connection was closed because of {@link memoryBudget}. */
    memoryBudget: number;
  };
  /** Handshakes of an SSLApp. */
  tls: {
    /** TLS handshakes that were completed. */
    handshakes: number;
    /** TLS handshakes that did not come about, by the alert that ended them, or by another reason. */
    failures: {
      /** Plain text, such as HTTP without TLS. */
      noTls: number;
      /** Not complete after 10 s. */
      timeout: number;
      /** The client left without an alert, as port scanners do. */
      abandoned: number;
      /** The server refused. */
      alertSent: HandshakeAlerts;
      /** The client refused, for instance an unknown authority. */
      alertReceived: HandshakeAlerts;
    };
  };
}

/**
 * The figures of the process: those of all apps of all threads, ended ones included, and those of the loops.
 * Times are in seconds, memory is in bytes.
 */
export interface ProcessStats extends AppStats {
  /** The loops: the threads that own the sockets. */
  loop: {
    /** Loops, one for each thread that made an App. */
    count: number;
    /** Turns of the loops. */
    turns: number;
    /** Time in which the loops worked; the rest they slept. */
    busySeconds: number;
    /** Processor time of the threads of the loops; 0 on macOS. */
    processorSeconds: number;
    /** The longest turn of a loop in the last 15 to 30 s: so long a ready socket waited for the loop. */
    lagSeconds: number;
  };
  /** The threads of JavaScript that made an App. */
  javaScript: {
    /** Events that JavaScript has taken from the loops. */
    events: number;
    /** Processor time of these threads since they began; 0 on macOS. */
    processorSeconds: number;
    /** The longest that events waited for JavaScript in the last 15 to 30 s, or wait now. */
    lagSeconds: number;
  };
  /** The queues between the loops and JavaScript. */
  queues: {
    /** Events that wait for JavaScript. From 2048 of a loop on its sockets are not read. */
    events: number;
    /** Batches of commands that wait for the loops. */
    commandBatches: number;
  };
  /** Memory by its purpose. */
  memory: {
    /** Bytes that the kernel has refused, of all connections. */
    unsent: number;
    /** Events that wait for JavaScript. */
    events: number;
    /** Messages that were dropped, of which `dropped` handlers have not heard. */
    dropped: number;
    /** Commands that wait for the loops. */
    commands: number;
    /** Pipelined requests that wait for their turn in JavaScript. */
    parked: number;
    /** Bodies for declared responses. */
    collected: number;
    /** Small buffers of the loops for their next use. */
    spare: number;
    /** Large buffers for their next use. */
    pool: number;
  };
}

/**
 * A message of the diagnostics channel `uws.upgrade` (`diagnostics_channel` of Node): a connection has become
 * a WebSocket, whose `open` handler runs next. A message is made only where a channel has subscribers. They
 * run inside the event; an error of theirs is an uncaught exception and disturbs no connection.
 */
export interface UpgradeMessage {
  /** The app of the route. */
  app: TemplatedApp;
  /** The pattern of the `ws` route. */
  route: string;
  /** The WebSocket. */
  ws: WebSocket<unknown>;
}

/** A message of the diagnostics channel `uws.close`: a WebSocket has ended; its `close` handler runs next. */
export interface CloseMessage extends UpgradeMessage {
  /** As in {@link WebSocketBehavior.close}. */
  code: number;
  /** As in {@link WebSocketBehavior.close}, as text. */
  reason: string;
}

/** A message of the diagnostics channel `uws.drop`: a message was dropped because of `maxBackpressure`. */
export interface DropMessage extends UpgradeMessage {
  /**
   * `'send'`: `send` or its like has answered 2. `'publish'`: this subscriber did not get a publish; of these
   * the channel hears only on routes that have a `dropped` handler, or were added while it had subscribers.
   */
  of: 'send' | 'publish';
  /** The length of the message. */
  bytes: number;
  /** Whether it was a binary message. */
  isBinary: boolean;
}

/** A message of the diagnostics channel `uws.limit`: a limit was breached, up to a second ago. */
export interface LimitMessage {
  /** The app whose limit it is. */
  app: TemplatedApp;
  /** The limit, by its name in {@link AppStats.limits}. */
  limit: string;
  /** How often it was breached since the last message of this limit. */
  count: number;
}

/** Options of {@link TemplatedApp.metrics}. */
export interface MetricsOptions {
  /**
   * Whose figures are shown: `'process'`, those of all apps of all threads with the loops, as {@link stats}
   * returns them; or `'app'`, those of this app alone, as {@link TemplatedApp.stats} does. Default
   * `'process'`. Anything else throws a TypeError.
   */
  scope?: 'process' | 'app';
}

/**
 * A server with its routes, listen sockets and topics. {@link App} or {@link SSLApp} creates it.
 *
 * **Patterns.** Segments are literal, `:name` (one segment that is not empty) or, at the end, `*` (the rest,
 * which may be empty). They match the path as sent, case-sensitively, including a trailing slash. An upgrade
 * request is first looked up among the `ws` routes. Then every request is looked up among the routes of its
 * method, and then among those of `any`. In each of these a literal segment is tried before `:name`, and that
 * before `*`. A handler passes the request on to the next match with {@link HttpRequest.setYield}. A route
 * registered again replaces the earlier one. Requests without a match are answered with `404 File Not Found`.
 * Patterns of more than 100 segments never match.
 *
 * Routes may be added and removed (`null` as the handler) while listening.
 */
export interface TemplatedApp {
  /**
   * Listens on all addresses, IPv4 and IPv6. `cb` runs before this returns, with the listen socket, or with
   * `false` when listening failed. Port 0 picks a free port, see {@link us_socket_local_port}. A listen
   * socket keeps the process alive.
   *
   * @param port 0 to 65535, also as text.
   * @throws RangeError when the port is not such a number.
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
  /** Listens on one address, given as an address or as a host name. */
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

  /**
   * Shuts the app down in good order, and resolves when its last connection is over and all handlers have
   * heard of that. It works in the event loop, so it goes on while JavaScript is busy.
   *
   * - Nothing is accepted any more: listen sockets are closed, after the connections that the kernel had
   *   accepted by then have been taken over. Other apps hand no connections to this one.
   * - Connections between two requests end: at once, or, if the last response was less than a second ago,
   *   behind the next request or after two seconds at most, since that may be on its way. A request that was
   *   received is answered, also one that arrives on a connection that is still needed; the last response of
   *   a connection says `Connection: close`. A client that has connected and not asked for anything has 2 s
   *   for its first request.
   * - A WebSocket gets all that was sent to it, then a close frame with 1001; its `close` handler gets 1001
   *   and an empty reason. Data that still arrives is ignored, and a peer that does not close within 4 s is
   *   disconnected.
   * - Whatever is left after the timeout is closed at once: `onAborted` and `close` (1006) are called.
   *
   * Called again, it returns the same promise, and the earlier of the deadlines counts. {@link close} ends it
   * at once. While it lasts, `listen` calls back with false; afterwards the app may listen again. The process
   * stays alive for it, and ends by itself afterwards if nothing else keeps it alive.
   *
   * @throws TypeError when options is not an object.
   * @throws RangeError when the timeout is not an integer from 0 to 86400.
   */
  shutdown(options?: ShutdownOptions): Promise<ShutdownResult>;

  /** Listens on a unix socket at this path. `cb` is called as by `listen`. */
  listen_unix(
    cb: (listenSocket: us_listen_socket | false) => void | Promise<void>,
    path: RecognizedString,
  ): TemplatedApp;

  /** Adds a route for GET requests. */
  get(pattern: RecognizedString, handler: RouteHandler): TemplatedApp;
  /**
   * Adds a cached route for GET requests: the loop keeps the replies of the handler and answers with them
   * without JavaScript, also while that is busy. See {@link CacheOptions} for what is kept, how long, and for
   * whom. `get(pattern, null)` removes the route with its replies.
   *
   * **Cookies play no part.** A reply that depends on who asks, by a cookie or by anything else that `vary`
   * does not name, is given to everybody, unless it says so by `Set-Cookie`, `Cache-Control: private` or
   * `no-store`, or `Vary`.
   *
   * @throws TypeError `Cache options must be an object`; or when `vary` is not an array of header names.
   * @throws RangeError when an option is out of bounds.
   */
  get(
    pattern: RecognizedString,
    handler: (res: HttpCacheResponse, req: HttpRequest) => void | Promise<void>,
    options: CacheOptions,
  ): TemplatedApp;
  /**
   * Forgets the stored replies of this app's cached routes for a URL, as it was sent and with its query, or
   * for all URLs that begin alike: `'/blog/*'`, `'*'`. The answers that handlers are making at the moment
   * reach those who wait for them, nobody else, and are not stored.
   *
   * @throws Error when `url` is neither text nor data.
   */
  invalidate(url: RecognizedString): TemplatedApp;
  /** Adds a route for POST requests. */
  post(pattern: RecognizedString, handler: RouteHandler): TemplatedApp;
  /** Adds a route for OPTIONS requests. */
  options(pattern: RecognizedString, handler: RouteHandler): TemplatedApp;
  /** Adds a route for DELETE requests. */
  del(pattern: RecognizedString, handler: RouteHandler): TemplatedApp;
  /** Adds a route for PATCH requests. */
  patch(pattern: RecognizedString, handler: RouteHandler): TemplatedApp;
  /** Adds a route for PUT requests. */
  put(pattern: RecognizedString, handler: RouteHandler): TemplatedApp;
  /** Adds a route for HEAD requests. Without one, a HEAD request does not match the `get` route either. */
  head(pattern: RecognizedString, handler: RouteHandler): TemplatedApp;
  /** Adds a route for CONNECT requests. */
  connect(pattern: RecognizedString, handler: RouteHandler): TemplatedApp;
  /** Adds a route for TRACE requests. */
  trace(pattern: RecognizedString, handler: RouteHandler): TemplatedApp;
  /** Adds a route for requests of any method. It is tried after the routes of the request's own method. */
  any(pattern: RecognizedString, handler: RouteHandler): TemplatedApp;

  /**
   * Adds a route for WebSockets: GET requests with a `sec-websocket-key` of 24 characters. Other requests to
   * this pattern are looked up among the other routes. `null` removes the route.
   */
  ws<UserData>(pattern: RecognizedString, behavior: WebSocketBehavior<UserData> | null): TemplatedApp;

  /**
   * Sends a message to every subscriber of the topic in this app. Returns whether there was one. A subscriber
   * that exceeds its `maxBackpressure` is skipped and its `dropped` handler is called.
   */
  publish(
    topic: RecognizedString,
    message: RecognizedString,
    isBinary?: boolean,
    compress?: boolean,
  ): boolean;

  /** Returns how many connections of this app are subscribed to the topic. */
  numSubscribers(topic: RecognizedString): number;

  /**
   * Adds settings of an SSLApp for clients that ask for this host name (SNI, RFC 6066 §3); `*` may stand for
   * the first label. It may be called while listening, and in {@link missingServerName}. It has no effect on
   * an App.
   *
   * Called again for a name it replaces the certificate for later handshakes, which is how one is renewed;
   * open connections and the routes of the name stay. If the files cannot be used, a warning
   * (`UwsRsWarning`) says why, and the name keeps what it had.
   */
  addServerName(hostname: string, options: AppOptions): TemplatedApp;

  /**
   * Undoes {@link addServerName}, with the name as given there. Open connections that came by the name keep
   * its routes; what these hold is released with the last of them.
   */
  removeServerName(hostname: string): TemplatedApp;

  /**
   * Sets a handler that is called when a client asks for a host name that was not added; it may add the name
   * for this very handshake.
   */
  missingServerName(cb: (hostname: string) => void): TemplatedApp;

  /**
   * Restricts the routes registered from now on to this server name; with a name that was not added, to all
   * others.
   */
  domain(domain: string): TemplatedApp;

  /**
   * Adds a handler that is called with 1 for every connection that is accepted, and with -1 when it closes.
   * `res` gives its addresses, and `res.close()` closes the connection at any time; nothing can be sent with
   * it.
   */
  filter(cb: (res: HttpResponse, count: number) => void | Promise<void>): TemplatedApp;

  /**
   * Closes all listen sockets and, at once, all connections: `onAborted` and `close` handlers (with 1006) run
   * inside this call. Responses that were complete before are still sent as far as the kernel accepts them
   * without waiting. No handler is called for requests and WebSockets that have arrived and not been handled
   * yet. The app may {@link listen} again.
   */
  close(): TemplatedApp;

  /**
   * Has the loop answer GET and HEAD requests for this pattern with the figures of the process or of the
   * app, for Prometheus and the like: in the text format 0.0.4, in OpenMetrics 1.0 or as JSON, as the
   * `Accept` header asks. The loop answers also while JavaScript is busy, as for a {@link
   * DeclarativeResponse}; once 2048 events wait for JavaScript the loop reads no more requests, these
   * included. The route has the place among others that `get` would have, and `get(pattern, null)` and
   * `head(pattern, null)` remove it. Whoever reaches the app can read the figures: give them an app of their
   * own that listens on an address that only the scraper reaches.
   */
  metrics(pattern: RecognizedString, options?: MetricsOptions): TemplatedApp;

  /**
   * Returns the figures of this app. They are counted always; this call takes some 50 µs. The figures of an
   * app of another thread are those of that thread. After the end of the environment they are 0.
   */
  stats(): AppStats;

  /**
   * Sets the time in seconds in which a connection must send a whole request head, and the next 16 KiB/s of a
   * body; default 10, 0: no limit. It applies to heads and bodies that begin from now on.
   */
  setIdleTimeout(seconds: number): TemplatedApp;
  /** Returns the value of {@link setIdleTimeout}. */
  getIdleTimeout(): number;
  /**
   * Sets the time in seconds for which a connection is kept open for the next request, and for which a
   * response waits for a client that accepts none of its bytes; default 10, 0: no limit.
   */
  setResponseTimeout(seconds: number): TemplatedApp;
  /** Returns the value of {@link setResponseTimeout}. */
  getResponseTimeout(): number;

  /**
   * Returns a value for {@link addChildAppDescriptor} that may be sent to another thread by `postMessage`.
   */
  getDescriptor(): AppDescriptor;

  /**
   * Takes over a connection that was accepted elsewhere, and serves it as if the app had accepted it: with
   * TLS if it is an {@link SSLApp}, within the {@link AppLimits}, handed on to child apps, and told to
   * filters. Nothing of the connection may have been read before.
   *
   * @param socket a file descriptor of a connected stream socket of TCP or of the Unix domain, such as one
   *   that a service manager or a parent process has passed on. From this call on it is the app's, which
   *   closes it; nobody else may read, write or close it. Or a `net.Socket`, as a server made with
   *   `pauseOnConnect: true` gets it, or a process with `process.on('message')`: the app takes a duplicate of
   *   its descriptor, and the object is destroyed, of which the peer does not notice anything. uWebSockets.js
   *   takes descriptors alone.
   * @param ip the address of the client in 4 or 16 bytes, as {@link HttpResponse.getRemoteAddress} returns
   *   it, where it is not that of the socket's peer. Limits by address count with it.
   * @throws TypeError for anything else, RangeError for an address of another length.
   * @throws Error with a `code` where the socket cannot be taken, which is then left as it was: `EBADF` (not
   *   open), `ENOTSOCK`, `EPROTOTYPE` (a socket of another kind), `EINVAL` (it listens), `ENOTCONN` (no peer,
   *   or one that is gone), `EBUSY` (an app of this process has it, or it is 1 or 2, a standard stream),
   *   `EALREADY` (a `net.Socket` that has been used), `EMFILE`, `EIO` (another error of the system); and,
   *   without a code, where the app shuts down.
   */
  adoptSocket(socket: number | { destroy(): unknown }, ip?: ArrayBuffer | ArrayBufferView): TemplatedApp;

  /**
   * Adds an app of another thread. From now on the connections that this app accepts are handed to the added
   * apps in turn, each in its own thread. Those do not listen themselves. Without any, this app serves its
   * connections itself.
   */
  addChildAppDescriptor(descriptor: AppDescriptor): TemplatedApp;

  /**
   * Undoes {@link addChildAppDescriptor}, also for an app whose thread has ended. Its connections live on.
   */
  removeChildAppDescriptor(descriptor: AppDescriptor): TemplatedApp;
}

/**
 * Creates an app without TLS; it can be called with or without `new`. The first app starts the background
 * thread.
 */
export function App(options?: AppOptions | null): TemplatedApp;

/**
 * Creates an app with TLS 1.2 and 1.3. WebSockets and responses are used as those of an App.
 *
 * @throws Error `App construction failed`, with the cause, when the certificate, key or passphrase cannot be
 *   used.
 */
export function SSLApp(options: AppOptions): TemplatedApp;

/** Stops listening. Open connections live on. A second call has no effect. */
export function us_listen_socket_close(listenSocket: us_listen_socket): void;

/** Returns the port that a listen socket is bound to, -1 for a unix socket. */
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
 * Splits a multipart body (RFC 7578). It takes the whole body and the request's `content-type`, and returns
 * `undefined` when that is not a multipart type with a boundary. An incomplete part ends the list.
 */
export function getParts(body: RecognizedString, contentType: RecognizedString): MultipartField[] | undefined;

/**
 * A response that differs only by parts of its request. The event loop sends it without calling JavaScript:
 *
 * ```js
 * const greeting = new DeclarativeResponse().write('Hi ').writeParameterValue('name').end('!');
 * app.get('/hi/:name', greeting);
 * ```
 *
 * The instructions are executed in the order of the calls. {@link end} returns the program, which takes the
 * place of a handler; what is called after it does not change it. Names, values and the status may have up to
 * 255 bytes each, the text of one call up to 65535; a longer one throws a RangeError, `Data length exceeds
 * 255` or `65535`. All of them may be text or data.
 *
 * A program is an ArrayBuffer of the form that uWebSockets.js gives it, so one that was made elsewhere, in a
 * worker or by the original, is a handler too. Any other ArrayBuffer throws an error that says what is wrong
 * with it.
 */
export class DeclarativeResponse {
  /**
   * Sets the status, such as `404 Not Found`; default `200 OK`. The first one counts, and none after
   * {@link writeHeader}. Releases up to 20.57 do not have it.
   */
  writeStatus(status: RecognizedString): this;
  /** Adds a header field. */
  writeHeader(key: RecognizedString, value: RecognizedString): this;
  /** Appends the request's body to the response's. */
  writeBody(): this;
  /** Appends the value of a key of the query, like {@link HttpRequest.getQuery}. */
  writeQueryValue(key: RecognizedString): this;
  /** Appends the value of a header of the request, whose name must be in lower case. */
  writeHeaderValue(key: RecognizedString): this;
  /** Appends text. */
  write(value: RecognizedString): this;
  /** Appends the part of the path that a `:name` segment of the route's pattern matched. */
  writeParameterValue(key: RecognizedString): this;
  /** Appends text and ends the program. */
  end(value?: RecognizedString): ArrayBuffer;
}

/** A compressor and a decompressor combined with `|`. See {@link WebSocketBehavior.compression}. */
export type CompressOptions = number;

/** No compression; none is negotiated. */
export const DISABLED: CompressOptions;
/**
 * One compressor for all connections. It compresses each message by itself and holds no memory per
 * connection.
 */
export const SHARED_COMPRESSOR: CompressOptions;
/** One decompressor for all connections. Clients are asked to compress each message by itself. */
export const SHARED_DECOMPRESSOR: CompressOptions;
/**
 * A compressor for each connection that refers back to its earlier messages; the largest, the same as
 * `_256KB`.
 */
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
/** A decompressor for each connection; the largest, the same as `_32KB`. */
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

// A store of strings and integers shared by all threads of the process; undocumented in the original. Strings
// and integers are separate, and so are collections, which the optional last argument names.

/** Returns the string under a key, `''` without one. */
export function getString(key: RecognizedString, collection?: RecognizedString): string;
/** Sets the string under a key. */
export function setString(
  key: RecognizedString,
  value: RecognizedString,
  collection?: RecognizedString,
): void;
/** Returns the keys that have a string. */
export function getStringKeys(collection?: RecognizedString): string[];
/** Removes a key and its string. */
export function deleteString(key: RecognizedString, collection?: RecognizedString): void;
/** Removes all strings of a collection. */
export function deleteStringCollection(collection: RecognizedString): void;
/** Returns the integer under a key, 0 without one. */
export function getInteger(key: RecognizedString, collection?: RecognizedString): number;
/** Sets the integer under a key. */
export function setInteger(key: RecognizedString, value: number, collection?: RecognizedString): void;
/** Adds to the integer under a key (1 by default, 0 to begin with) and returns the sum. */
export function incInteger(key: RecognizedString, by?: number, collection?: RecognizedString): number;
/** Returns the keys that have an integer. */
export function getIntegerKeys(collection?: RecognizedString): string[];
/** Removes a key and its integer. */
export function deleteInteger(key: RecognizedString, collection?: RecognizedString): void;
/** Removes all integers of a collection. */
export function deleteIntegerCollection(collection: RecognizedString): void;
/**
 * Keeps other threads out of the store until {@link unlock}, so that several values can be changed at once.
 */
export function lock(): void;
/** Ends a {@link lock}. */
export function unlock(): void;

/** See {@link memoryBudget}. */
export interface MemoryBudget {
  /** Bytes that may be held; Infinity: as many as there are. */
  budget: number;
  /** Bytes that are held now, as the threads last counted them. */
  used: number;
}

/**
 * Sets how much memory uws-rs may hold for all apps of the process together, and returns the budget and how
 * much of it is used; without an argument it only returns them. Counted are the bytes that wait to be sent
 * (those of a publish once for all its subscribers), messages and bodies that are incomplete, pipelined
 * requests, and what waits between the threads. Idle connections hold nothing. The objects of JavaScript do
 * not count.
 *
 * Over the budget, messages for WebSockets that have a backlog are dropped (`dropped`). If that is not
 * enough, connections whose client has taken nothing for 2 s are closed, those with the largest and oldest
 * backlog first, until the budget is kept: `close` gets 1013, `onAborted` is called. The others follow, the
 * largest first, only if it is exceeded by a quarter, or for 2 s. A warning says so, at most once a minute.
 *
 * @param bytes an integer from 1,048,576, or Infinity. Default: a quarter of the memory of the machine or, if
 *   that is less, of the control group (cgroup) that the process was in when the first App was made; 1 GiB on
 *   macOS.
 * @throws RangeError when it is something else.
 */
export function memoryBudget(bytes?: number): MemoryBudget;

/**
 * Returns the figures of all apps of the process, those of other threads and of threads that have ended
 * included. They are all 0 before the first App. The call takes some 50 µs.
 */
export function stats(): ProcessStats;

/** Is accepted and ignored; internal to the original. */
export function _cfg(key: RecognizedString): void;

/** Throws an Error, since HTTP/3 is out of scope. */
export function H3App(options?: AppOptions): never;
