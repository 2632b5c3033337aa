'use strict';
// HttpRequest: a view of the head of the request being handled, valid during its handler.

const { calls } = require('./binding');
const { RequestPart } = require('./layout');
const { responseInternals } = require('./response');
const { coerce, key, requireFunction } = require('./validate');

const INVALID =
  'uWS.HttpRequest must not be accessed after await or route handler return. See documentation for uWS.HttpRequest and consult the user manual.';

/** Functions for other modules of lib/; the static block defines them. */
let internals;

class HttpRequest {
  #offset;
  #length;
  /** The response to it, which knows the connection, or the names of that where an answer is for all. */
  #response;
  #match = 0;
  #route = null;
  #valid = true;
  #yielded = false;

  constructor(offset, length, response) {
    this.#offset = offset;
    this.#length = length;
    this.#response = response;
  }

  static {
    internals = {
      /** Sets the match whose handler runs now. */
      enter(request, match, route) {
        request.#match = match;
        request.#route = route;
        request.#yielded = false;
      },
      invalidate(request) {
        request.#valid = false;
      },
      queryBytes: (request, name) =>
        Buffer.from(calls.requestQuery(request.#offset, request.#length, name, 1) ?? ''),
      parameterBytes(request, name) {
        const index = request.#route.parameters.indexOf(key(name));
        if (index < 0) return Buffer.alloc(0);
        return Buffer.from(
          calls.requestParameter(request.#offset, request.#length, request.#match, index, 1),
        );
      },
      hasYielded: (request) => request.#yielded,
      describe(request) {
        const part = (which) => calls.requestPart(request.#offset, request.#length, which);
        return `${part(RequestPart.METHOD)} ${part(RequestPart.PATH)}`;
      },
    };
  }

  #check() {
    if (!this.#valid) throw new Error(INVALID);
  }

  #part(part) {
    this.#check();
    return calls.requestPart(this.#offset, this.#length, part);
  }

  getHeader(lowerCaseName) {
    this.#check();
    return calls.requestHeader(this.#offset, this.#length, coerce(lowerCaseName, 'lowerCaseName'));
  }

  getParameter(indexOrName) {
    this.#check();
    let index = indexOrName;
    if (typeof index !== 'number') {
      index = this.#route.parameters.indexOf(key(indexOrName, 'indexOrName'));
    }
    if (!(index >= 0)) return '';
    return calls.requestParameter(this.#offset, this.#length, this.#match, Math.trunc(index));
  }

  getUrl() {
    return this.#part(RequestPart.PATH);
  }

  getMethod() {
    return this.#part(RequestPart.METHOD).toLowerCase();
  }

  getCaseSensitiveMethod() {
    return this.#part(RequestPart.METHOD);
  }

  getQuery(name) {
    if (name === undefined) return this.#part(RequestPart.QUERY);
    this.#check();
    return calls.requestQuery(this.#offset, this.#length, coerce(name, 'key'));
  }

  getClientAddress() {
    this.#check();
    if (responseInternals.is(this.#response)) {
      return responseInternals.clientAddress(this.#response, this.#offset, this.#length);
    }
    const { slot, generation, app } = this.#response;
    return calls.clientAddress(slot, generation, app, this.#offset, this.#length);
  }

  forEach(callback) {
    this.#check();
    requireFunction(callback);
    const fields = calls.requestHeaders(this.#offset, this.#length);
    for (let i = 0; i < fields.length; i += 2) callback(fields[i], fields[i + 1]);
  }

  setYield(yielded) {
    this.#check();
    if (yielded && !responseInternals.is(this.#response)) {
      throw new Error(
        'The handler of a cached route cannot yield: its answer is for all who ask for the same.',
      );
    }
    this.#yielded = Boolean(yielded);
    return this;
  }
}

Object.defineProperty(HttpRequest, 'name', { __proto__: null, value: 'uWS.HttpRequest' });

module.exports = { HttpRequest, requestInternals: internals };
