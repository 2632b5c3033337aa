'use strict';
// HttpResponse: the answer to a request. Status and headers are collected here; everything else becomes a
// command.

const { calls, callArgs } = require('./binding');
const { connections, touched } = require('./engine');
const {
  ANSWER,
  Answer,
  NOBODY,
  Op,
  RequestFlag,
  RespondFlag,
  bodyLengthOf,
  exchangeOf,
  putRespondArgs,
} = require('./layout');
const { guarded } = require('./errors');
const {
  coerce,
  key,
  isRaw,
  ofKey,
  size,
  toArrayBuffer,
  requireArguments,
  requireFunction,
} = require('./validate');
const {
  Content,
  CONTROL,
  contentOf,
  lowerCaseName,
  checkedContentOf,
  checkHeaderValue,
  interim,
  withLine,
} = require('./headers');
const pipeline = require('./pipeline');
const { RequestBody } = require('./request-body');
const { Behaviour } = require('./behavior');
const { readUserData, openWebSocket, websocketInternals } = require('./websocket');

const INVALID =
  'uWS.HttpResponse must not be accessed after uWS.HttpResponse.onAborted callback, or after a successful response. See documentation for uWS.HttpResponse and consult the user manual.';

/** How the body is delimited once the head has been sent. */
const Mode = Object.freeze({ HEAD_NOT_SENT: 0, CHUNKED: 1, FIXED_LENGTH: 2 });

/**
 * Reads the peer's address and that of a PROXY header, as `write_address` of src/channel/slots.rs wrote
 * them.
 */
function readAddresses(bytes) {
  const list = [];
  for (let at = 0; list.length < 2;) {
    const ip = bytes.subarray(at + 1, at + 1 + bytes[at]);
    at += 1 + ip.length;
    const port = ip.length === 0 ? 0 : bytes[at++] | (bytes[at++] << 8);
    list.push({ address: ip.slice().buffer, addressText: toArrayBuffer(addressText(ip)), port });
  }
  return list;
}

/** Formats an address; IPv6 is written in full, as in the original. */
function addressText(ip) {
  if (ip.length !== 16) return ip.join('.');
  const hex = Buffer.from(ip).toString('hex');
  return hex.match(/.{4}/g).join(':');
}

/**
 * The connections of the responses that filters are given: { slot, generation, addresses }. Such a connection
 * may be gone, so the event brings the addresses.
 */
const filtered = new WeakMap();

/** Functions for other modules of lib/; the static block defines them. */
let internals;

/**
 * Ends the object of a connection that a filter has closed. The loop says nothing of an end that JavaScript
 * decided on.
 */
function endObject(slot, generation) {
  const res = internals.at(slot, generation);
  const ws = websocketInternals.at(slot, generation);
  if (res !== undefined) internals.abort(res);
  else if (ws !== undefined) websocketInternals.over(ws, 1006, new ArrayBuffer(0));
}

class HttpResponse {
  #slot;
  #generation;
  #request;
  #open = true;
  #app;
  /** The status as a key; '': none yet. */
  #status = '';
  /** Header lines. They are bytes once one of them is not UTF-8. */
  #headers = '';
  #flags = 0;
  /** The options of the `Connection` headers that the program wrote. */
  #connection = '';
  /** The length that the program announced with a content-length header; -1: none. */
  #announced = -1;
  #mode = Mode.HEAD_NOT_SENT;
  #offset = 0;
  #total = 0;
  #onAborted = null;
  #onWritable = null;
  #body = null;
  /** The route whose handler was called last; null: that of no request, or not yet. */
  #route = null;
  /** The app was closed while the handler ran, which goes on as if there were still a client. */
  #isAbandoned = false;

  constructor(slot, generation, flags, app) {
    this.#slot = slot;
    this.#generation = generation;
    this.#request = flags;
    this.#app = app;
  }

  static {
    internals = {
      /** Finds the object that an event is for; undefined when JavaScript has released it. */
      at(slot, generation) {
        const res = connections[slot];
        if (res === undefined || !(#slot in res) || res.#generation !== generation) return undefined;
        return res;
      },
      is: (object) => #slot in object,
      isOpen: (res) => res.#open && !res.#isAbandoned,
      enter(res, route) {
        res.#route = route;
      },
      /** The address of the client of a request, whose block is at this place. */
      clientAddress: (res, offset, length) =>
        calls.clientAddress(res.#slot, res.#generation, res.#app, offset, length),
      clientCertificate(res) {
        res.#check();
        return calls.clientCertificate(res.#slot, res.#generation);
      },
      hasBegun: (res) => res.#mode !== Mode.HEAD_NOT_SENT,
      hasAbortHandler: (res) => res.#onAborted !== null,
      /** Whether the object ends when the app is closed, or, without an app, when the loop stops. */
      isOf: (res, app) => app === undefined || res.#app === app.id,
      /**
       * A body is still to come.
       * @param {string} length the announced length; empty: unknown
       */
      expectBody(res, length) {
        res.#body = new RequestBody(res.#slot, res.#generation, true, length === '' ? 0 : length, true);
      },
      data: (res, chunk, last, remaining) => res.#requestBody().push(chunk, last, remaining),
      writable(res, exchange) {
        // An earlier response of the pipeline may have asked for the event.
        if (exchangeOf(res.#request) !== exchange) return;
        const handler = res.#onWritable;
        if (handler !== null) handler(res.#offset);
      },
      /**
       * Makes a new response that of a filter. It names no exchange, so whatever a program does with it,
       * at whatever time, the requests of the connection are answered by their own responses alone. Only
       * `close` and the addresses are about the connection.
       */
      becomeFiltered(res, bytes) {
        filtered.set(res, { ...res.#connectionName, addresses: readAddresses(new Uint8Array(bytes)) });
        res.#slot = NOBODY;
      },
      /** The connection is gone: the loop has said so, or JavaScript has decided it. */
      abort(res) {
        if (!res.#open) return;
        const { slot, generation } = res.#connectionName;
        pipeline.end(slot, generation);
        res.#forget();
        if (res.#onAborted !== null) guarded(res.#onAborted);
      },
      /**
       * The app is closed, and the connection with it. A program that does not ask to be told of such an end
       * is in the handler of this request, and may still respond, as in `app.close(); res.end()`: nothing is
       * sent, since the response is nobody's from now on.
       */
      abandon(res) {
        if (!res.#open || res.#onAborted !== null) return internals.abort(res);
        const { slot, generation } = res.#connectionName;
        pipeline.end(slot, generation);
        res.#forget();
        [res.#open, res.#isAbandoned, res.#slot] = [true, true, NOBODY];
      },
      /** Ends a response whose connection the loop still has. */
      abortAndClose(res) {
        if (!res.#open) return;
        const { slot, generation } = res.#connectionName;
        calls.command(Op.CLOSE, slot, generation, 0);
        internals.abort(res);
        if (res.#slot === NOBODY) endObject(slot, generation);
        touched();
      },
      internalServerError(res) {
        if (!res.#open) return;
        if (res.#mode !== Mode.HEAD_NOT_SENT) return void internals.abortAndClose(res);
        res.#endWithPage('500 Internal Server Error');
      },
      notFound: (res) => res.#endWithPage('404 File Not Found'),
    };
  }

  #check() {
    if (!this.#open) throw this.#fault(new Error(INVALID));
  }

  /** Adds the route to an error. The stack of code that responds later need not show whose response it is. */
  #fault(error) {
    if (this.#route !== null) error.route = this.#route.title;
    return error;
  }

  /** The name of the connection, which for the response of a filter is not that of an exchange. */
  get #connectionName() {
    return filtered.get(this) ?? { slot: this.#slot, generation: this.#generation };
  }

  /** The kind of content that the status allows. */
  get #content() {
    return this.#status === '' ? Content.USUAL : contentOf(this.#status);
  }

  /** Ends the response with a small error page, whatever head the handler had begun. */
  #endWithPage(status) {
    this.#status = status;
    this.#headers = 'Content-Type: text/html\r\n';
    this.#connection = '';
    this.#flags &= RespondFlag.CLOSE;
    this.#announced = -1;
    // Not by the method: a program may have put its own in its place, which may be what has failed.
    this.#end(`<!doctype html><html><title>${status}</title><h1>${status}</h1></html>`, false);
  }

  /** Releases the object: from now on its methods throw. */
  #forget() {
    this.#open = false;
    if (connections[this.#slot] === this) connections[this.#slot] = undefined;
    this.#body?.discard();
  }

  /** `answer`: that of the last bytes of the response. */
  #done(flags, answer) {
    if ((flags & RespondFlag.CLOSE) !== 0) pipeline.end(this.#slot, this.#generation);
    this.#forget();
    pipeline.proceed(this.#slot, this.#generation, answer);
  }

  #requestBody() {
    return (this.#body ??= new RequestBody(
      this.#slot,
      this.#generation,
      (this.#request & RequestFlag.HAS_BODY) !== 0,
      bodyLengthOf(this.#request),
      false,
    ));
  }

  // ---- head

  writeStatus(status) {
    this.#check();
    try {
      this.#setStatus(status);
    } catch (error) {
      throw this.#fault(error);
    }
    return this;
  }

  #setStatus(status) {
    const value = key(status, 'status');
    if (this.#status === '' && this.#mode === Mode.HEAD_NOT_SENT) {
      checkedContentOf(value);
      this.#status = value;
    }
  }

  writeHeader(name, value) {
    this.#check();
    try {
      this.#addHeader(name, value);
    } catch (error) {
      throw this.#fault(error);
    }
    return this;
  }

  #addHeader(name, value) {
    // A name that is a string is checked below.
    const header = typeof name === 'string' ? name : key(name, 'key');
    const content = typeof value === 'string' && !isRaw(value) ? value : key(value, 'value');
    checkHeaderValue(header, content);
    if (this.#mode !== Mode.HEAD_NOT_SENT) {
      throw new Error(`The header ${JSON.stringify(header)} comes too late: the head has been sent.`);
    }
    const lower = lowerCaseName(header);
    if (this.#status === '') this.#status = '200 OK';
    if (!this.#isOwnBusiness(lower, content)) this.#headers = withLine(this.#headers, header, content);
  }

  /**
   * The loop alone sends headers that decide how the message is framed. Returns whether this is one of them.
   */
  #isOwnBusiness(lower, content) {
    switch (lower) {
      case 'content-length':
        this.#announce(content);
        return true;
      case 'transfer-encoding':
        // The loop writes `chunked` where it applies; no other transfer coding is supported.
        return true;
      case 'connection':
        this.#addConnection(content);
        return true;
      case 'date':
        this.#flags |= RespondFlag.OWN_DATE;
        return false;
      default:
        return false;
    }
  }

  /**
   * The options of all `Connection` headers are sent in one line, so that recipients agree on their meaning.
   */
  #addConnection(content) {
    const all = this.#connection === '' ? content : `${this.#connection}, ${content}`;
    const options = all.split(',').map((option) => option.trim());
    if (options.some((option) => option.toLowerCase() === 'close')) this.#flags |= RespondFlag.CLOSE;
    if (options.some((option) => option !== '')) {
      this.#connection = all;
      this.#flags |= RespondFlag.OWN_CONNECTION;
    }
  }

  #announce(content) {
    const length = /^[0-9]+$/.test(content.trim()) ? Number(content) : NaN;
    if (!Number.isSafeInteger(length)) {
      throw new Error(`The header content-length must be a number of bytes; got ${JSON.stringify(content)}.`);
    }
    if (this.#announced >= 0 && this.#announced !== length) {
      throw new Error(`The header content-length was ${this.#announced} before and cannot become ${length}.`);
    }
    this.#announced = length;
  }

  /** A client goes on waiting after a 1xx response. Only `upgrade` can give 101 a meaning. */
  #refuseInterim() {
    if (this.#content === Content.INTERIM) throw this.#fault(interim(this.#status));
  }

  #takeStatus() {
    return this.#mode === Mode.HEAD_NOT_SENT ? ofKey(this.#status) : '';
  }

  #takeHeaders() {
    if (this.#mode !== Mode.HEAD_NOT_SENT) return '';
    if (this.#connection === '') return this.#headers;
    return withLine(this.#headers, 'Connection', this.#connection);
  }

  #respond(op, flags, body, length) {
    const result = this.#tryRespond(op, flags, body, length);
    return result === Answer.NEITHER ? this.#tryRespond(op, flags, coerce(body, 'body'), length) : result;
  }

  #tryRespond(op, flags, body, length) {
    const status = this.#takeStatus();
    const headers = this.#takeHeaders();
    putRespondArgs(callArgs, op, this.#slot, this.#generation, flags, length);
    if (status === '' && headers === '') calls.respond(body);
    else calls.respondWithHead(body, status, headers);
    return callArgs[ANSWER];
  }

  // ---- ending

  end(body, closeConnection) {
    this.#check();
    return this.#end(body, closeConnection);
  }

  #end(body, closeConnection) {
    const flags = closeConnection ? this.#flags | RespondFlag.CLOSE : this.#flags;
    const content = body === undefined ? '' : body;
    if (this.#mode !== Mode.HEAD_NOT_SENT) return this.#finish(content, flags);
    this.#refuseInterim();
    if (this.#announced >= 0 && this.#keepsAnnouncedLength(content)) {
      const omitted = flags | RespondFlag.REPORTED_LENGTH;
      this.#done(flags, this.#respond(Op.RESPOND, omitted, '', this.#announced));
    } else {
      this.#done(flags, this.#respond(Op.RESPOND, flags, content, 0));
    }
    touched();
    return this;
  }

  /**
   * Whether the body is omitted but its length is announced (HEAD, 304). Throws when body and announced
   * length contradict.
   */
  #keepsAnnouncedLength(content) {
    if (this.#content === Content.NO_CONTENT) return false;
    const length = calls.byteLength(coerce(content, 'body'));
    const omitted = (this.#request & RequestFlag.HEAD) !== 0 || this.#content === Content.NOT_MODIFIED;
    if (length === this.#announced) return omitted;
    if (length === 0 && omitted) return true;
    throw this.#fault(
      new Error(`The header content-length says ${this.#announced} bytes, the body has ${length}.`),
    );
  }

  #finish(content, flags) {
    if (this.#mode === Mode.FIXED_LENGTH) {
      const left = this.#total - this.#offset;
      const length = calls.byteLength(coerce(content, 'body'));
      if (length > left) {
        throw this.#fault(
          new Error(
            `The response was announced with ${this.#total} bytes, of which ${left} are left; got ${length}.`,
          ),
        );
      }
    }
    this.#done(flags, this.#respond(Op.FINISH, flags, content, 0));
    touched();
    return this;
  }

  endWithoutBody(reportedContentLength, closeConnection) {
    this.#check();
    const reported = reportedContentLength === undefined ? -1 : Number(reportedContentLength);
    // The conversion may have run a `valueOf` that answered or closed.
    this.#check();
    const flags = closeConnection ? this.#flags | RespondFlag.CLOSE : this.#flags;
    if (this.#mode !== Mode.HEAD_NOT_SENT) return this.#finish('', flags);
    this.#refuseInterim();
    let length = this.#announced;
    if (reportedContentLength !== undefined) {
      length = size(reported, 'reportedContentLength');
      if (this.#contradicts(length)) {
        throw this.#fault(
          new Error(
            `The header content-length says ${this.#announced} bytes, reportedContentLength ${length}.`,
          ),
        );
      }
    }
    const kind = length >= 0 ? RespondFlag.REPORTED_LENGTH : RespondFlag.NO_LENGTH;
    this.#done(flags, this.#respond(Op.RESPOND, flags | kind, '', Math.max(length, 0)));
    touched();
    return this;
  }

  // ---- streaming

  write(chunk) {
    this.#check();
    if (this.#mode === Mode.FIXED_LENGTH) {
      throw this.#fault(new Error('write cannot go on with a response that tryEnd began.'));
    }
    this.#refuseInterim();
    const length = calls.byteLength(coerce(chunk, 'chunk'));
    if (length === 0) return true;
    const answer = this.#respond(Op.WRITE, this.#flags, coerce(chunk, 'chunk'), 0);
    this.#mode = Mode.CHUNKED;
    this.#offset += length;
    touched();
    return answer === Answer.SENT;
  }

  beginWrite() {
    this.#check();
    if (this.#mode === Mode.HEAD_NOT_SENT) {
      this.#refuseInterim();
      this.#respond(Op.WRITE, this.#flags, '', 0);
      this.#mode = Mode.CHUNKED;
      touched();
    }
    return this;
  }

  tryEnd(fullBodyOrChunk, totalSize, closeConnection) {
    this.#check();
    requireArguments(arguments.length, 2);
    const total = Number(totalSize);
    // The conversion may have run a `valueOf` that answered, closed or changed the data.
    this.#check();
    if (this.#mode === Mode.CHUNKED)
      throw this.#fault(new Error('tryEnd cannot go on with a response that write began.'));
    this.#refuseInterim();
    const body = coerce(fullBodyOrChunk, 'fullBodyOrChunk');
    const length = calls.byteLength(body);
    this.#checkTotal(total, length);
    if (closeConnection) this.#flags |= RespondFlag.CLOSE;
    const flags = this.#flags;
    if ((this.#request & RequestFlag.HEAD) !== 0 || this.#content !== Content.USUAL) {
      this.#done(flags, this.#respond(Op.RESPOND, flags | RespondFlag.REPORTED_LENGTH, '', this.#total));
      touched();
      return [true, true];
    }
    const { tryEnd } = calls;
    const accepted = tryEnd(
      this.#slot,
      this.#generation,
      flags,
      this.#takeStatus(),
      this.#takeHeaders(),
      body,
      this.#total,
    );
    this.#mode = Mode.FIXED_LENGTH;
    this.#offset += accepted;
    const isWhole = this.#offset === this.#total;
    if (isWhole) this.#done(flags, Answer.BACKPRESSURE);
    touched();
    return [accepted === length, isWhole];
  }

  #checkTotal(total, length) {
    if (this.#mode === Mode.HEAD_NOT_SENT) {
      // A total of 0 means the length of the data, as in the original.
      this.#total = size(total, 'totalSize') || length;
      if (this.#contradicts(this.#total)) {
        throw this.#fault(
          new Error(`The header content-length says ${this.#announced} bytes, totalSize ${this.#total}.`),
        );
      }
    }
    if (length > this.#total - this.#offset) {
      throw this.#fault(
        new RangeError(
          `fullBodyOrChunk has ${length} bytes, but only ${this.#total - this.#offset} of totalSize are left.`,
        ),
      );
    }
  }

  /** Whether a length differs from the one announced before. A 204 response announces none. */
  #contradicts(length) {
    return this.#announced >= 0 && this.#announced !== length && this.#content !== Content.NO_CONTENT;
  }

  getWriteOffset() {
    this.#check();
    return this.#offset;
  }

  onWritable(handler) {
    this.#check();
    requireFunction(handler);
    this.#onWritable = handler;
    return this;
  }

  onAborted(handler) {
    this.#check();
    requireFunction(handler);
    this.#onAborted = handler;
    return this;
  }

  cork(callback) {
    this.#check();
    requireFunction(callback);
    callback();
    return this;
  }

  collect(callback) {
    return this.cork(callback);
  }

  close() {
    this.#check();
    internals.abortAndClose(this);
    return this;
  }

  // ---- the request's body

  onData(handler) {
    this.#check();
    requireFunction(handler);
    this.#requestBody().attach((chunk, last) => handler(chunk, last));
    return this;
  }

  onDataV2(handler) {
    this.#check();
    requireFunction(handler);
    this.#requestBody().attach((chunk, last, remaining) => handler(chunk, remaining));
    return this;
  }

  collectBody(maxSize, handler) {
    this.#check();
    requireArguments(arguments.length, 2);
    const most = Number(maxSize);
    requireFunction(handler);
    this.#check();
    this.#requestBody().collect(most === Infinity ? most : size(most, 'maxSize'), handler);
    return this;
  }

  maxRemainingBodyLength() {
    this.#check();
    return this.#requestBody().remaining;
  }

  pause() {
    this.#check();
    this.#requestBody().pause();
    return this;
  }

  resume() {
    this.#check();
    this.#requestBody().resume();
    return this;
  }

  // ---- addresses

  #address(what, proxied) {
    this.#check();
    const connection = filtered.get(this);
    if (connection !== undefined) {
      const kept = connection.addresses[proxied][what];
      return typeof kept === 'number' ? kept : kept.slice(0);
    }
    return calls[what](this.#slot, this.#generation, proxied);
  }

  getRemoteAddress() {
    return this.#address('address', 0);
  }

  getRemoteAddressAsText() {
    return this.#address('addressText', 0);
  }

  getRemotePort() {
    return this.#address('port', 0);
  }

  getProxiedRemoteAddress() {
    return this.#address('address', 1);
  }

  getProxiedRemoteAddressAsText() {
    return this.#address('addressText', 1);
  }

  getProxiedRemotePort() {
    return this.#address('port', 1);
  }

  // ---- upgrade

  upgrade(userData, secWebSocketKey, secWebSocketProtocol, secWebSocketExtensions, context) {
    this.#check();
    requireArguments(arguments.length, 5);
    if (!(context instanceof Behaviour)) {
      throw this.#fault(
        new TypeError('context must be what the upgrade handler was given as its third argument.'),
      );
    }
    const request = { secWebSocketKey, secWebSocketProtocol, secWebSocketExtensions };
    const [webSocketKey, protocol, extensions] = Object.entries(request).map(([name, value]) => {
      const checked = key(value, name);
      if (CONTROL.test(checked)) throw this.#fault(new Error(`${name} has a control character in it.`));
      return ofKey(checked);
    });
    const properties = this.#readUserData(userData);
    this.#check();
    if (this.#isAbandoned) throw this.#fault(new Error(INVALID));
    if (this.#slot === NOBODY) throw this.#fault(new Error('The response of a filter cannot be upgraded.'));
    if (this.#mode !== Mode.HEAD_NOT_SENT)
      throw this.#fault(new Error('A response that has begun cannot be upgraded.'));
    if (this.#content === Content.INTERIM && !/^101( |$)/.test(this.#status))
      throw this.#fault(interim(this.#status));
    const { upgrade } = calls;
    context.withId((id) =>
      upgrade(
        this.#slot,
        this.#generation,
        id,
        ofKey(this.#status),
        this.#headers,
        webSocketKey,
        protocol,
        extensions,
      ),
    );
    // After the upgrade, the bytes behind this request are not requests.
    pipeline.end(this.#slot, this.#generation);
    this.#done(0, Answer.SENT);
    openWebSocket(this.#slot, this.#generation, context, properties, this.#app);
    touched();
  }

  /**
   * This runs before the loop is told of the upgrade: afterwards there must be an object for the connection.
   */
  #readUserData(userData) {
    try {
      return readUserData(userData);
    } catch (error) {
      internals.internalServerError(this);
      throw error;
    }
  }
}

Object.defineProperty(HttpResponse, 'name', { __proto__: null, value: 'uWS.HttpResponse' });

/** The response of an SSLApp, whose class has another name in the original. */
class SSLHttpResponse extends HttpResponse {
  getX509Certificate() {
    return internals.clientCertificate(this);
  }
}

Object.defineProperty(SSLHttpResponse, 'name', { __proto__: null, value: 'uWS.SSLHttpResponse' });

module.exports = {
  HttpResponse,
  SSLHttpResponse,
  responseInternals: internals,
};
