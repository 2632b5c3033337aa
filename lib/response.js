'use strict';
// HttpResponse: what a handler answers with. Status and headers are collected here; everything else is a command.

const {
  ANSWER,
  NEITHER,
  hot,
  registers,
  connections,
  receivers,
  touched,
  guarded,
  Kind,
  Op,
} = require('./engine');
const { coerce, text, integer, requireArguments, requireFunction } = require('./arguments');
const { RequestBody } = require('./body');
const { Behaviour, openWebSocket } = require('./websocket');

const INVALID =
  'uWS.HttpResponse must not be accessed after uWS.HttpResponse.onAborted callback, or after a successful response. See documentation for uWS.HttpResponse and consult the user manual.';

/** Flags of a Request event and of response commands; the numbers of src/channel.rs. */
const Flag = Object.freeze({ HAS_BODY: 1, UPGRADE: 2, HEAD: 4, CLOSE: 8 });
/** From this bit on the flags of a Request event are the length of the body, if all of it came with the head. */
const BODY_SHIFT = 8;
const Respond = Object.freeze({ CLOSE: 1, NO_LENGTH: 2, REPORTED_LENGTH: 4, OWN_DATE: 8 });

/** How the body is delimited once the head has left. */
const Mode = Object.freeze({ HEAD_NOT_SENT: 0, CHUNKED: 1, FIXED_LENGTH: 2 });

/** RFC 9110 §5.6.2. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const BREAKS_A_LINE = /[\0\r\n]/;
/** Header names seen before, in lower case; checking a name again costs a look-up. */
const knownNames = new Map();
const KNOWN_NAMES_LIMIT = 1000;

function lowerCaseName(name) {
  const known = knownNames.get(name);
  if (known !== undefined) return known;
  if (!TOKEN.test(name)) {
    throw new Error(`The header name ${JSON.stringify(name)} has characters that are not allowed in one.`);
  }
  const lower = name.toLowerCase();
  if (knownNames.size < KNOWN_NAMES_LIMIT) knownNames.set(name, lower);
  return lower;
}

function checkHeaderValue(name, content) {
  if (BREAKS_A_LINE.test(content)) {
    throw new Error(`The value of the header ${JSON.stringify(name)} has a line break or NUL in it.`);
  }
}

function checkStatus(status) {
  if (!/^[1-9][0-9][0-9]( |$)/.test(status) || BREAKS_A_LINE.test(status)) {
    throw new Error(
      `The status ${JSON.stringify(status)} is not three digits and a reason without line breaks.`,
    );
  }
}

/** By slot: the generation of a connection that JavaScript has closed, or is closing after its response. */
const closed = [];

/** Hands the next request of a pipeline to its handler, and the others to its response. */
function nextInLine(waiting) {
  const event = waiting.shift();
  receivers[Kind.REQUEST](...event);
  hot.unpark(event[5]);
  const [slot, generation] = event;
  const res = internals.at(slot, generation);
  if (waiting.length === 0) return;
  if (res !== undefined) internals.inherit(res, waiting);
  else if (closed[slot] === generation) for (const [, , , , , offset] of waiting) hot.unpark(offset);
  else process.nextTick(nextInLine, waiting);
}

/** What the module keeps to itself; see the static block. */
let internals;

class HttpResponse {
  #slot;
  #generation;
  #request;
  #open = true;
  #app;
  #status = '';
  #headers = '';
  #flags = 0;
  /** The length the user announced with a content-length header; -1: none. */
  #announced = -1;
  #mode = Mode.HEAD_NOT_SENT;
  #offset = 0;
  #total = 0;
  #onAborted = null;
  #onWritable = null;
  #body = null;
  /** Pipelined requests that wait for this response: the arguments of their events. */
  #waiting = null;

  constructor(slot, generation, flags, app) {
    this.#slot = slot;
    this.#generation = generation;
    this.#request = flags;
    this.#app = app;
  }

  static {
    internals = {
      /** The object an event is for; undefined when JavaScript is done with it. */
      at(slot, generation) {
        const res = connections[slot];
        if (res === undefined || !(#slot in res) || res.#generation !== generation) return undefined;
        return res;
      },
      is: (object) => #slot in object,
      isOpen: (res) => res.#open,
      hasAbortHandler: (res) => res.#onAborted !== null,
      app: (res) => res.#app,
      inherit(res, waiting) {
        res.#waiting = waiting;
      },
      isClosed: (slot, generation) => closed[slot] === generation,
      /** A request that came before this response is complete; its turn is next. */
      park(res, event) {
        event[5] = hot.park(event[5], event[6]);
        (res.#waiting ??= []).push(event);
      },
      data: (res, chunk, last, remaining) => res.#requestBody().push(chunk, last, remaining),
      writable(res) {
        const handler = res.#onWritable;
        if (handler !== null) handler(res.#offset);
      },
      /** The connection is gone; the loop has told us or we have told it. */
      abort(res) {
        if (!res.#open) return;
        res.#closeAfter();
        res.#forget();
        if (res.#onAborted !== null) guarded(res.#onAborted);
      },
      /** As `abort`, for a connection that the loop still has. */
      abortAndClose(res) {
        if (!res.#open) return;
        hot.command(Op.CLOSE, res.#slot, res.#generation, 0);
        touched();
        internals.abort(res);
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
    if (!this.#open) throw new Error(INVALID);
  }

  /** Ends with a small page of ours, whatever head the handler had begun. */
  #endWithPage(status) {
    this.#status = status;
    this.#headers = 'Content-Type: text/html\r\n';
    this.#announced = -1;
    this.end(`<!doctype html><html><title>${status}</title><h1>${status}</h1></html>`);
  }

  /** No request that follows on this connection will be answered. */
  #closeAfter() {
    closed[this.#slot] = this.#generation;
    if (this.#waiting === null) return;
    for (const event of this.#waiting) hot.unpark(event[5]);
    this.#waiting = null;
  }

  /** Nothing more may be asked of this object. */
  #forget() {
    this.#open = false;
    if (connections[this.#slot] === this) connections[this.#slot] = undefined;
    this.#body?.discard();
  }

  #done(flags) {
    if ((flags & Respond.CLOSE) !== 0) this.#closeAfter();
    this.#forget();
    touched();
    if (this.#waiting !== null) process.nextTick(nextInLine, this.#waiting);
  }

  #requestBody() {
    return (this.#body ??= new RequestBody(
      this.#slot,
      this.#generation,
      (this.#request & Flag.HAS_BODY) !== 0,
    ));
  }

  // ---- head

  writeStatus(status) {
    this.#check();
    const value = text(status, 'status');
    if (this.#status === '' && this.#mode === Mode.HEAD_NOT_SENT) {
      checkStatus(value);
      this.#status = value;
    }
    return this;
  }

  writeHeader(key, value) {
    this.#check();
    const name = text(key, 'key');
    const content = text(value, 'value');
    checkHeaderValue(name, content);
    if (this.#mode !== Mode.HEAD_NOT_SENT) {
      throw new Error(`The header ${JSON.stringify(name)} comes too late: the head has been sent.`);
    }
    const lower = lowerCaseName(name);
    if (this.#status === '') this.#status = '200 OK';
    if (!this.#isOwnBusiness(lower, content)) this.#headers += `${name}: ${content}\r\n`;
    return this;
  }

  /** Headers that decide how the message is framed are sent once, by the loop. */
  #isOwnBusiness(lower, content) {
    switch (lower) {
      case 'content-length':
        this.#announce(content);
        return true;
      case 'transfer-encoding':
        // The loop says `chunked` where it is so, and nothing else is supported.
        return true;
      case 'connection':
        if (content.toLowerCase() === 'close') this.#flags |= Respond.CLOSE;
        return (this.#flags & Respond.CLOSE) !== 0 || content.toLowerCase() === 'keep-alive';
      case 'date':
        this.#flags |= Respond.OWN_DATE;
        return false;
      default:
        return false;
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

  #takeStatus() {
    return this.#mode === Mode.HEAD_NOT_SENT ? this.#status : '';
  }

  #takeHeaders() {
    return this.#mode === Mode.HEAD_NOT_SENT ? this.#headers : '';
  }

  #respond(op, flags, body, length) {
    const result = this.#tryRespond(op, flags, body, length);
    return result === NEITHER ? this.#tryRespond(op, flags, coerce(body, 'body'), length) : result;
  }

  #tryRespond(op, flags, body, length) {
    const status = this.#takeStatus();
    const headers = this.#takeHeaders();
    registers[0] = op;
    registers[1] = this.#slot;
    registers[2] = this.#generation;
    registers[3] = flags;
    registers[4] = length;
    registers[5] = length / 2 ** 32;
    if (status === '' && headers === '') hot.respond(body);
    else hot.respondWithHead(body, status, headers);
    return registers[ANSWER];
  }

  // ---- ending

  end(body, closeConnection) {
    this.#check();
    const flags = closeConnection ? this.#flags | Respond.CLOSE : this.#flags;
    const content = body === undefined ? '' : body;
    if (this.#mode !== Mode.HEAD_NOT_SENT) return this.#finish(content, flags);
    if (this.#announced >= 0 && this.#keepsAnnouncedLength(content)) {
      this.#respond(Op.RESPOND, flags | Respond.REPORTED_LENGTH, '', this.#announced);
    } else {
      this.#respond(Op.RESPOND, flags, content, 0);
    }
    this.#done(flags);
    return this;
  }

  /** Whether the response has no body here but announces one (HEAD, 304); an error when the two contradict. */
  #keepsAnnouncedLength(content) {
    const length = hot.byteLength(coerce(content, 'body'));
    if (length === this.#announced) return false;
    if (length === 0 && ((this.#request & Flag.HEAD) !== 0 || this.#status.startsWith('304'))) return true;
    throw new Error(`The header content-length says ${this.#announced} bytes, the body has ${length}.`);
  }

  #finish(content, flags) {
    if (this.#mode === Mode.FIXED_LENGTH) {
      const left = this.#total - this.#offset;
      const length = hot.byteLength(coerce(content, 'body'));
      if (length > left) {
        throw new Error(
          `The response was announced with ${this.#total} bytes, of which ${left} are left; got ${length}.`,
        );
      }
    }
    this.#respond(Op.FINISH, flags, content, 0);
    this.#done(flags);
    return this;
  }

  endWithoutBody(reportedContentLength, closeConnection) {
    this.#check();
    const flags = closeConnection ? this.#flags | Respond.CLOSE : this.#flags;
    if (this.#mode !== Mode.HEAD_NOT_SENT) return this.#finish('', flags);
    let length = this.#announced;
    if (reportedContentLength !== undefined) {
      length = integer(Number(reportedContentLength), 'reportedContentLength', 0, Number.MAX_SAFE_INTEGER);
      if (this.#announced >= 0 && this.#announced !== length) {
        throw new Error(
          `The header content-length says ${this.#announced} bytes, reportedContentLength ${length}.`,
        );
      }
    }
    if (length >= 0) this.#respond(Op.RESPOND, flags | Respond.REPORTED_LENGTH, '', length);
    else this.#respond(Op.RESPOND, flags | Respond.NO_LENGTH, '', 0);
    this.#done(flags);
    return this;
  }

  // ---- streaming

  write(chunk) {
    this.#check();
    if (this.#mode === Mode.FIXED_LENGTH) {
      throw new Error('write cannot go on with a response that tryEnd began.');
    }
    const length = hot.byteLength(coerce(chunk, 'chunk'));
    if (length === 0) return true;
    const goOn = this.#respond(Op.WRITE, this.#flags, coerce(chunk, 'chunk'), 0);
    this.#mode = Mode.CHUNKED;
    this.#offset += length;
    touched();
    return goOn === 1;
  }

  beginWrite() {
    this.#check();
    if (this.#mode === Mode.HEAD_NOT_SENT) {
      this.#respond(Op.WRITE, this.#flags, '', 0);
      this.#mode = Mode.CHUNKED;
      touched();
    }
    return this;
  }

  tryEnd(fullBodyOrChunk, totalSize, closeConnection) {
    this.#check();
    requireArguments(arguments.length, 2);
    if (this.#mode === Mode.CHUNKED) throw new Error('tryEnd cannot go on with a response that write began.');
    const body = coerce(fullBodyOrChunk, 'fullBodyOrChunk');
    const length = hot.byteLength(body);
    this.#checkTotal(Number(totalSize), length);
    const flags = closeConnection ? this.#flags | Respond.CLOSE : this.#flags;
    if ((this.#request & Flag.HEAD) !== 0) {
      this.#respond(Op.RESPOND, flags | Respond.REPORTED_LENGTH, '', this.#total);
      this.#done(flags);
      return [true, true];
    }
    const { tryEnd } = hot;
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
    touched();
    if (this.#offset === this.#total) {
      this.#done(flags);
      return [true, true];
    }
    return [accepted === length, false];
  }

  #checkTotal(total, length) {
    if (this.#mode === Mode.HEAD_NOT_SENT) {
      this.#total = integer(total, 'totalSize', 0, Number.MAX_SAFE_INTEGER);
      if (this.#announced >= 0 && this.#announced !== total) {
        throw new Error(`The header content-length says ${this.#announced} bytes, totalSize ${total}.`);
      }
    }
    if (length > this.#total - this.#offset) {
      throw new RangeError(
        `fullBodyOrChunk has ${length} bytes, but only ${this.#total - this.#offset} of totalSize are left.`,
      );
    }
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
    integer(maxSize, 'maxSize', 0, Number.MAX_SAFE_INTEGER);
    requireFunction(handler);
    this.#requestBody().collect(maxSize, handler);
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
    return hot[what](this.#slot, proxied);
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
      throw new TypeError('context must be what the upgrade handler was given as its third argument.');
    }
    if (this.#mode !== Mode.HEAD_NOT_SENT) throw new Error('A response that has begun cannot be upgraded.');
    const key = text(secWebSocketKey, 'secWebSocketKey');
    const protocol = text(secWebSocketProtocol, 'secWebSocketProtocol');
    const extensions = text(secWebSocketExtensions, 'secWebSocketExtensions');
    for (const [name, value] of Object.entries({ secWebSocketKey: key, secWebSocketProtocol: protocol })) {
      if (BREAKS_A_LINE.test(value)) throw new Error(`${name} has a line break or NUL in it.`);
    }
    const { upgrade } = hot;
    context.withId((id) =>
      upgrade(this.#slot, this.#generation, id, this.#status, this.#headers, key, protocol, extensions),
    );
    this.#done(0);
    openWebSocket(this.#slot, this.#generation, context, userData);
  }
}

Object.defineProperty(HttpResponse, 'name', { value: 'uWS.HttpResponse' });

/** The same on an SSLApp, where it goes by another name. */
class SSLHttpResponse extends HttpResponse {}

Object.defineProperty(SSLHttpResponse, 'name', { value: 'uWS.SSLHttpResponse' });

module.exports = {
  HttpResponse,
  SSLHttpResponse,
  responseInternals: internals,
  Flag,
  BODY_SHIFT,
  Respond,
  lowerCaseName,
  checkHeaderValue,
  checkStatus,
};
