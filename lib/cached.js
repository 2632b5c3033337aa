'use strict';
// Cached routes: the options of one, and HttpCacheResponse, by which its handler answers all who ask for the
// same.

const { calls } = require('./binding');
const { apps, failure, handlers, receivers, touched } = require('./engine');
const { report, guarded, issueWarning } = require('./errors');
const { checkFinalStatus, checkHeaderValue, lowerCaseName, withLine } = require('./headers');
const { EventKind, FlightFlag } = require('./layout');
const { HttpRequest, requestInternals } = require('./request');
const { drainNow } = require('./scheduling');
const { bytes, coerce, got, integer, key, ofKey, requireFunction, whole } = require('./validate');

// ---- options

const MAX_U32 = 0xffffffff;
const MAX_TIMEOUT_S = 24 * 60 * 60;
const DEFAULTS = Object.freeze({ maxEntries: 1000, maxBytes: 64 * 1024 * 1024, timeout: 30 });
/** The most headers by which the replies of a route may differ. */
const MAX_VARY = 16;

/** Reads the third argument of `get`. */
function cacheOptions(options) {
  if ((typeof options !== 'object' && typeof options !== 'function') || options === null) {
    throw new TypeError('Cache options must be an object');
  }
  const { lowerExpiry, upperExpiry, maxEntries, maxBytes, timeout, vary, head, etag, compress } = options;
  return {
    lowerExpiry: seconds(lowerExpiry, 'lowerExpiry'),
    upperExpiry: seconds(upperExpiry, 'upperExpiry'),
    maxEntries: integer(maxEntries ?? DEFAULTS.maxEntries, 'maxEntries', 0, MAX_U32),
    maxBytes: integer(maxBytes ?? DEFAULTS.maxBytes, 'maxBytes', 0, Number.MAX_SAFE_INTEGER),
    timeout: integer(timeout ?? DEFAULTS.timeout, 'timeout', 1, MAX_TIMEOUT_S),
    vary: headerNames(vary ?? []),
    head: Boolean(head),
    etag: Boolean(etag),
    compress: Boolean(compress),
  };
}

/** An age in whole seconds; 0 for what is not a number, as in the original. */
function seconds(value, name) {
  const count = whole(value);
  if (count < 0) throw new RangeError(`${name} must not be negative; got ${got(value)}.`);
  return Math.min(count, MAX_U32);
}

function headerNames(vary) {
  if (!Array.isArray(vary)) throw new TypeError(`vary must be an array of header names; got ${got(vary)}.`);
  const names = new Set();
  for (const name of vary) {
    if (typeof name !== 'string')
      throw new TypeError(`vary must have names of headers; it has ${got(name)}.`);
    if (name === '*') throw new TypeError('vary must name headers; leave the route uncached instead of "*".');
    names.add(lowerCaseName(name));
  }
  if (names.size > MAX_VARY)
    throw new RangeError(`vary must have ${MAX_VARY} names at most; it has ${names.size}.`);
  // In order, so that the same names make the same keys.
  return [...names].sort();
}

// ---- the response

const INVALID =
  'uWS.HttpCacheResponse must not be accessed after end or close. See documentation for uWS.HttpCacheResponse and consult the user manual.';

/** Headers that the loop writes itself, for each client anew. */
const OF_THE_LOOP = Object.freeze(['connection', 'content-length', 'date', 'transfer-encoding']);

/** Functions for the receiver below; the static block defines them. */
let internals;

class HttpCacheResponse {
  /** The name of the flight that the answer ends, as its two halves; null: the answer is for one client. */
  #flight;
  /** The response of that client; null: it has gone, or the answer is for all. */
  #client;
  #route;
  #open = true;
  /** The status as a key; '': none yet. */
  #status = '';
  /** Header lines; bytes once one of them is not UTF-8. */
  #headers = '';
  /** The handler has written an `ETag`. */
  #hasTag = false;

  constructor(flight, client, route) {
    this.#flight = flight;
    this.#client = client;
    this.#route = route;
    client?.onAborted(() => (this.#client = null));
  }

  static {
    internals = {
      isOpen: (res) => res.#open,
      fail: (res) => res.#send(FlightFlag.FAILED, ''),
    };
  }

  /** Runs a method's work on an answer that is still open. An error says which route's it is. */
  #write(work) {
    try {
      if (!this.#open) throw new Error(INVALID);
      work();
    } catch (error) {
      if (error instanceof Error) error.route ??= this.#route.title;
      throw error;
    }
    return this;
  }

  writeStatus(status) {
    return this.#write(() => {
      const value = key(status, 'status');
      if (this.#status !== '') return;
      checkFinalStatus(value);
      this.#status = value;
    });
  }

  writeHeader(name, value) {
    return this.#write(() => {
      const [header, content] = [key(name, 'key'), key(value, 'value')];
      checkHeaderValue(header, content);
      const lower = lowerCaseName(header);
      if (this.#status === '') this.#status = '200 OK';
      if (lower === 'etag') this.#hasTag = true;
      if (!OF_THE_LOOP.includes(lower)) this.#headers = withLine(this.#headers, header, content);
    });
  }

  end(body) {
    return this.#write(() => this.#send(this.#lacksTag() ? FlightFlag.ETAG : 0, coerce(body, 'body')));
  }

  #lacksTag() {
    const { etag } = this.#route.cached;
    return etag && !this.#hasTag && (this.#status === '' || this.#status.startsWith('200'));
  }

  close() {
    return this.#write(() => this.#send(FlightFlag.CLOSED, ''));
  }

  cork(callback) {
    this.#write(() => requireFunction(callback));
    callback();
    return this;
  }

  /** No client belongs to the answer, so the handler is never called. */
  onAborted(handler) {
    return this.#write(() => requireFunction(handler));
  }

  #send(flags, body) {
    this.#open = false;
    if (this.#flight === null) return this.#sendToClient(flags, body);
    // A loop that has stopped takes nothing.
    if (failure() !== null) return;
    calls.endFlight(...this.#flight, flags, ofKey(this.#status), this.#headers, body);
    touched();
  }

  #sendToClient(flags, body) {
    const client = this.#client;
    if (client === null) return;
    if (flags === FlightFlag.CLOSED) return void client.writeStatus(BAD_GATEWAY).end(BAD_GATEWAY);
    if (this.#status !== '') client.writeStatus(ofKey(this.#status));
    for (const [name, value] of linesOf(this.#headers)) client.writeHeader(name, value);
    client.end(body);
  }
}

const BAD_GATEWAY = '502 Bad Gateway';

/** Header lines as names and values, which are bytes. */
function linesOf(headers) {
  const lines = bytes(headers).toString('latin1').split('\r\n').slice(0, -1);
  return lines.map((line) => {
    const colon = line.indexOf(': ');
    return [line.slice(0, colon), Buffer.from(line.slice(colon + 2), 'latin1')];
  });
}

Object.defineProperty(HttpCacheResponse, 'name', { __proto__: null, value: 'uWS.HttpCacheResponse' });

/**
 * Makes the handler of a cached route one of a plain route, for requests that a handler before it has
 * yielded: JavaScript has those, so each is answered for its client alone.
 */
function uncached(handler, route) {
  return (res, req) => handler(new HttpCacheResponse(null, res, route()), req);
}

// ---- flights

receivers[EventKind.CACHED_REQUEST] = (slot, generation, handler, low, high, offset, length) => {
  const route = handlers[handler];
  const { handler: answer, app } = route.cached;
  // The loop has ended the flight, or will with the app's connections.
  if (apps[app].closing > 0) return;
  const res = new HttpCacheResponse([low, high], null, route);
  const req = new HttpRequest(offset, length, { slot, generation, app });
  requestInternals.enter(req, 0, route);
  try {
    answer(res, req);
  } catch (error) {
    failed(res, req, route, error);
  }
  // The request is also valid in the microtasks that its handler queued.
  drainNow();
  requestInternals.invalidate(req);
  return DRAINED;
};

/** The result of a receiver that has run no code of the program since it drained the queues. */
const DRAINED = true;

/** Routes that a warning was issued for already. */
const reported = new WeakSet();

/** Answers 500 to all who wait, before `uncaughtException` may end the process. */
function failed(res, req, route, error) {
  const isOpen = internals.isOpen(res);
  if (isOpen) internals.fail(res);
  report(error);
  if (reported.has(route)) return;
  reported.add(route);
  const answer = isOpen
    ? 'answered 500 to all who wait, and stored nothing'
    : 'its answer was complete before';
  guarded(
    issueWarning,
    `The handler of ${requestInternals.describe(req)} threw; ${answer}. The cached route is '${route.title}'.`,
  );
}

module.exports = { cacheOptions, uncached };
