'use strict';
// App: routes, listening, publishing.

const { calls } = require('./binding');
const {
  apps,
  listeners,
  start,
  touched,
  addListener,
  addHandler,
  forgetHandler,
  countShutdowns,
  countAdopted,
  failure,
} = require('./engine');
const {
  bytes,
  coerce,
  got,
  hasOptions,
  integer,
  key,
  keyOfBytes,
  ofKey,
  text,
  whole,
  requireArguments,
  requireFunction,
} = require('./validate');
const { Behaviour } = require('./behavior');
const { DEFAULT_TIMEOUT_S, MAX_UNSENT, NOBODY, SendFlag } = require('./layout');
const { isProgram, handlerOf } = require('./declarative');
const { cacheOptions, uncached } = require('./cached');
const { Topics } = require('./topics');
const { endAll, failShutdown } = require('./events');
const { dismissGuests } = require('./websocket');

/**
 * Loaded when it is needed: each file takes some tenths of a millisecond of a program's start. No such file
 * may have state of its own or require one that has, since a tool may have cleared the cache of `require` by
 * then, which makes copies of all of them.
 */
const tlsOptions = (options) => require('./tls').tlsOptions(options);

/** The options of an app that sets none of those that have nothing to do with TLS. */
const NO_OPTIONS = Object.freeze({});

const LIBUS_LISTEN_EXCLUSIVE_PORT = 1;
const MAX_TIMEOUT_S = 24 * 60 * 60;
/** Seconds that connections have to end when an app shuts down, unless the program says otherwise. */
const SHUTDOWN_TIMEOUT_S = 10;

/** A plain route, by which a handler id is resolved. */
class Route {
  /**
   * @param {string} method the name of the method of the app that adds it
   * @param {Buffer} pattern
   */
  constructor(handler, method, pattern) {
    this.handler = handler;
    this.parameters = parameterNames(pattern);
    /**
     * Of a cached route: { handler, app, etag }. The `handler` above runs only where one before it has
     * yielded.
     */
    this.cached = null;
    /** To be shown to people. */
    this.title = `${method === 'del' ? 'DELETE' : method.toUpperCase()} ${pattern}`;
  }
}

/** A listen socket; opaque to users. */
class ListenSocket {
  constructor(id, app, port) {
    this.id = id;
    this.app = app;
    this.port = port;
  }
}

let nextListener = 0;

/** Reads a route's pattern, or a URL, which is bytes like the paths it is compared with. */
function patternOf(value, name = 'pattern') {
  return Buffer.from(bytes(coerce(value, name)));
}

/** The names of a pattern's parameters, in the order of their values, as keys. */
function parameterNames(pattern) {
  const segments = pattern.toString('latin1').split('/').slice(1);
  return segments
    .filter((segment) => segment.startsWith(':'))
    .map((segment) => keyOfBytes(Buffer.from(segment.slice(1), 'latin1')));
}

function portOf(value) {
  // NaN, as from an environment variable that is not set, asks for any free port, as in the original.
  const port = typeof value === 'number' ? whole(value) : Math.trunc(Number(text(value, 'port')));
  if (!Number.isInteger(port) || port < 0 || port > 65535) {
    throw new RangeError(`port must be an integer from 0 to 65535; got ${got(value)}.`);
  }
  return port;
}

/** `listen`'s call shapes: (port, cb), (port, options, cb), (host, port, cb), (host, port, options, cb). */
function listenArguments(given) {
  requireArguments(given.length, 2);
  const all = [...given];
  const callback = all.findLast((value) => typeof value === 'function');
  requireFunction(callback);
  const rest = all.slice(0, all.lastIndexOf(callback));
  if (rest.length === 0) throw new Error('port is missing: listen(port, cb) or listen(host, port, cb).');
  const hasHost = rest.length > 1 && typeof rest[0] !== 'number';
  const [host, port, options] = hasHost ? rest : [undefined, ...rest];
  return {
    host: host === undefined ? undefined : text(host, 'host'),
    port: portOf(hasHost ? (port ?? 0) : port),
    exclusive: (Number(options ?? 0) & LIBUS_LISTEN_EXCLUSIVE_PORT) !== 0,
    callback,
  };
}

function descriptorOf(value) {
  if (!Number.isSafeInteger(value) || value <= 0) {
    throw new TypeError('descriptor must be what getDescriptor() of another app returned.');
  }
  return value;
}

/**
 * Host names are case-insensitive (RFC 4343). A name that is not UTF-8 is never asked for, and must not be
 * taken for another.
 */
function serverName(value) {
  return key(value, 'hostname').toLowerCase();
}

function shutdownTimeout(options) {
  if (options === undefined) return SHUTDOWN_TIMEOUT_S;
  if (typeof options !== 'object' || options === null) throw new TypeError('options must be an object.');
  const { timeout = SHUTDOWN_TIMEOUT_S } = options;
  return integer(timeout, 'timeout', 0, MAX_TIMEOUT_S);
}

/** A promise with the functions that settle it. */
function withResolvers() {
  const result = {};
  result.promise = new Promise((resolve, reject) => Object.assign(result, { resolve, reject }));
  return result;
}

/** Reads the option `scope` of `metrics`. */
function isOfAppAlone(options) {
  if (options === undefined || options === null) return false;
  if (typeof options !== 'object') throw new TypeError('options must be an object.');
  const { scope = 'process' } = options;
  if (scope !== 'process' && scope !== 'app') {
    throw new TypeError(`scope must be 'process' or 'app'; got ${got(scope)}.`);
  }
  return scope === 'app';
}

class TemplatedApp {
  #id;
  #engine;
  /** The part of the app that other modules need; `apps` has it as well. */
  #shared;
  /** Server names that have been added. */
  #names = new Set();
  /** The server name to whose router routes are added; undefined: the app's own router. */
  #domain;
  #idleTimeout = DEFAULT_TIMEOUT_S;
  #responseTimeout = DEFAULT_TIMEOUT_S;

  /**
   * @param {object | null} tls the options of an SSLApp
   * @param {object} options those that every app has, checked
   */
  constructor(tls, { limits, trustedProxies }) {
    this.#engine = start();
    // This comes first: an app that cannot be made must leave nothing behind for the next one of its number.
    if (trustedProxies !== undefined) this.#checkProxies(trustedProxies);
    this.#id = apps.length;
    this.#shared = {
      id: this.#id,
      /** The app itself, for messages of diagnostics channels. */
      object: this,
      topics: new Topics(),
      secure: tls !== null,
      /** Whether a route takes the place of the 404 response that every app has. */
      ownsDefault: false,
      filters: [],
      missing: null,
      /** Of subscriptions; null: none. */
      topicLimits: limits?.topics ?? null,
      maxUnsent: limits?.maxUnsentBytes ?? MAX_UNSENT,
      /**
       * How many calls of `close` the loop has not confirmed yet. Until it has, events of this app belong to
       * connections that are closed.
       */
      closing: 0,
      /** While the app shuts down: { promise, resolve, reject }. */
      shutdown: null,
    };
    if (tls === null) this.#engine.addApp(this.#id);
    else this.#secure(tls);
    if (limits !== undefined) this.#engine.limits(this.#id, limits);
    if (trustedProxies !== undefined) this.#engine.trustProxies(this.#id, trustedProxies);
    apps.push(this.#shared);
  }

  #secure(tls) {
    try {
      this.#engine.addSecureApp(this.#id, tls);
    } catch (error) {
      throw new Error(`App construction failed: ${error.message}`, { cause: error });
    }
  }

  #checkProxies(list) {
    const wrong = this.#engine.unusableProxy(list);
    if (wrong === null) return;
    throw new TypeError(
      `trustedProxies has ${JSON.stringify(wrong)}, which is no address, network ('10.0.0.0/8') or 'unix'.`,
    );
  }

  #route(method, given) {
    const [pattern, handler] = given;
    // Any other number of arguments makes a plain route, as in the original.
    if (method === 'get' && given.length === 3) return this.#cachedRoute(pattern, handler, given[2]);
    const declared = isProgram(handler);
    if (handler !== null && !declared) requireFunction(handler, 'handler');
    const path = patternOf(pattern);
    if (handler === null) {
      this.#engine.removeRoute(this.#id, this.#domain, method, path);
      return this;
    }
    // In the original the connection is closed when the handler of this route yields.
    if (method === 'any' && ['/*', '*'].includes(path.toString('latin1')) && this.#domain === undefined)
      this.#shared.ownsDefault = true;
    const route = new Route(handler, method, path);
    const id = addHandler(route);
    if (declared) this.#declare(id, path, route);
    this.#engine.addRoute(this.#id, this.#domain, method, path, id);
    return this;
  }

  /**
   * The loop answers for the route by itself. The route's handler runs only where a handler before it has
   * yielded.
   */
  #declare(id, path, route) {
    try {
      this.#engine.declare(id, path, route.handler);
      route.handler = handlerOf(route.handler);
    } catch (error) {
      forgetHandler(id);
      touched();
      throw error;
    }
  }

  /** The loop answers with the replies of the handler, which it keeps. */
  #cachedRoute(pattern, handler, options) {
    requireFunction(handler, 'handler');
    const checked = cacheOptions(options);
    const path = patternOf(pattern);
    const route = new Route(
      uncached(handler, () => route),
      'get',
      path,
    );
    route.cached = { handler, app: this.#id, etag: checked.etag };
    const id = addHandler(route);
    this.#engine.cache(this.#id, id, checked);
    this.#engine.addRoute(this.#id, this.#domain, 'get', path, id);
    return this;
  }

  invalidate(url) {
    requireArguments(arguments.length, 1);
    this.#engine.invalidate(this.#id, patternOf(url, 'url'));
    return this;
  }

  /**
   * The loop answers for the route with figures, also while JavaScript is busy. The handlers run only where a
   * handler before them has yielded.
   */
  metrics(pattern, options) {
    requireArguments(arguments.length, 1);
    const path = patternOf(pattern);
    const appAlone = isOfAppAlone(options);
    for (const method of ['get', 'head']) {
      const id = addHandler(new Route(this.#answerMetrics(appAlone), method, path));
      this.#engine.declareMetrics(id, appAlone);
      this.#engine.addRoute(this.#id, this.#domain, method, path, id);
    }
    return this;
  }

  #answerMetrics(appAlone) {
    return (res, req) => {
      const [type, text] = this.#engine.metricsAnswer(
        req.getHeader('accept'),
        appAlone ? this.#id : undefined,
      );
      res.writeHeader('Content-Type', type).writeHeader('Cache-Control', 'no-store');
      res.writeHeader('Vary', 'Accept').end(text);
    };
  }

  stats() {
    return JSON.parse(this.#engine.appStats(this.#id));
  }

  ws(pattern, behavior) {
    requireArguments(arguments.length, 2);
    const path = patternOf(pattern);
    if (behavior === null) {
      this.#engine.removeRoute(this.#id, this.#domain, 'ws', path);
      return this;
    }
    if (typeof behavior !== 'object') throw new TypeError('behavior must be an object.');
    const behaviour = new Behaviour(this.#shared, path.toString(), parameterNames(path), behavior);
    behaviour.register(this.#engine);
    this.#engine.addRoute(this.#id, this.#domain, 'ws', path, behaviour.id);
    return this;
  }

  listen(...given) {
    const { host, port, exclusive, callback } = listenArguments(given);
    return this.#listen(callback, (id) => this.#engine.listen(this.#id, id, host, port, exclusive));
  }

  listen_unix(callback, path) {
    requireArguments(arguments.length, 2);
    requireFunction(callback);
    const name = ofKey(key(path, 'path'));
    return this.#listen(callback, (id) => {
      this.#engine.listenUnix(this.#id, id, name);
      return -1;
    });
  }

  #listen(callback, bind) {
    const id = nextListener++;
    let token = false;
    try {
      if (this.#shared.shutdown !== null) throw new Error('The app shuts down.');
      if (failure() !== null) throw failure();
      token = new ListenSocket(id, this.#id, bind(id));
    } catch {
      // The port is taken, forbidden or unknown, the app shuts down, or the loop has stopped: the
      // callback gets false, as documented.
    }
    if (token !== false) addListener(token);
    callback(token);
    return this;
  }

  publish(topic, message, isBinary, compress) {
    if (message === undefined) requireArguments(arguments.length, 2);
    const target = this.#shared.topics.get(key(topic, 'topic'));
    const data = coerce(message, 'message');
    if (target === undefined) return false;
    const flags = (isBinary ? SendFlag.BINARY : 0) | (compress ? SendFlag.COMPRESS : 0);
    calls.publish(target.id, NOBODY, 0, data, flags);
    touched();
    return true;
  }

  numSubscribers(topic) {
    requireArguments(arguments.length, 1);
    return this.#shared.topics.count(key(topic, 'topic'));
  }

  filter(callback) {
    requireFunction(callback, 'callback');
    this.#shared.filters.push(callback);
    this.#engine.filter(this.#id);
    return this;
  }

  /** The process does not stay alive for the listeners any more. */
  #forgetListeners() {
    for (const [id, listener] of listeners) {
      if (listener.app === this.#id) listeners.delete(id);
    }
  }

  shutdown(options) {
    const timeout = shutdownTimeout(options);
    const shared = this.#shared;
    const begins = shared.shutdown === null;
    if (begins) {
      this.#forgetListeners();
      countShutdowns(1);
      shared.shutdown = withResolvers();
    }
    const { promise } = shared.shutdown;
    // It is sent at once, since the program may be busy from here on.
    this.#engine.shutDown(this.#id, timeout, begins);
    failShutdown(shared);
    dismissGuests(shared);
    return promise;
  }

  close() {
    this.#forgetListeners();
    this.#shared.closing++;
    this.#engine.closeApp(this.#id);
    endAll(this.#shared);
    touched();
    return this;
  }

  // ---- timeouts

  setIdleTimeout(seconds) {
    requireArguments(arguments.length, 1);
    return this.#setTimeouts(integer(seconds, 'seconds', 0, MAX_TIMEOUT_S), this.#responseTimeout);
  }

  setResponseTimeout(seconds) {
    requireArguments(arguments.length, 1);
    return this.#setTimeouts(this.#idleTimeout, integer(seconds, 'seconds', 0, MAX_TIMEOUT_S));
  }

  #setTimeouts(idle, response) {
    this.#idleTimeout = idle;
    this.#responseTimeout = response;
    this.#engine.timeouts(this.#id, idle, response);
    return this;
  }

  getIdleTimeout() {
    return this.#idleTimeout;
  }

  getResponseTimeout() {
    return this.#responseTimeout;
  }

  // ---- connections accepted elsewhere

  adoptSocket(connection, ip) {
    requireArguments(arguments.length, 1);
    const { addressOf, connectionOf, socketError } = require('./adopt');
    // It is read last, since nothing of the program may run between a look at it and its adoption.
    const address = addressOf(ip);
    if (this.#shared.shutdown !== null) throw new Error('The app shuts down.');
    if (failure() !== null) throw failure();
    const { descriptor, socket } = connectionOf(connection);
    const unfit = this.#engine.adoptSocket(this.#id, descriptor, socket !== undefined, address);
    if (unfit !== null) throw socketError(unfit[0], `The file descriptor ${descriptor} ${unfit[1]}.`);
    countAdopted(1);
    // The loop has a duplicate, so the peer does not notice that Node closes its own.
    socket?.destroy();
    return this;
  }

  // ---- child apps in other threads

  getDescriptor() {
    return this.#engine.descriptor(this.#id);
  }

  addChildAppDescriptor(descriptor) {
    this.#engine.addChild(this.#id, descriptorOf(descriptor));
    return this;
  }

  removeChildAppDescriptor(descriptor) {
    this.#engine.removeChild(this.#id, descriptorOf(descriptor));
    return this;
  }

  // ---- server names; without TLS they have no effect

  addServerName(hostname, options) {
    requireArguments(arguments.length, 1);
    const name = serverName(hostname);
    const native = tlsOptions(options);
    if (!this.#shared.secure) return this;
    try {
      this.#engine.addServerName(this.#id, name, native);
      this.#names.add(name);
    } catch (error) {
      // The original is silent, and its programs go on with the certificate of the app.
      process.emitWarning(
        `addServerName('${name}'): ${error.message}; the name is not added.`,
        'UwsRsWarning',
      );
    }
    return this;
  }

  removeServerName(hostname) {
    requireArguments(arguments.length, 1);
    const name = serverName(hostname);
    if (!this.#names.delete(name)) return this;
    this.#engine.removeServerName(this.#id, name);
    if (this.#domain === name) this.#domain = undefined;
    return this;
  }

  missingServerName(callback) {
    requireArguments(arguments.length, 1);
    requireFunction(callback);
    if (!this.#shared.secure) return this;
    this.#shared.missing = callback;
    this.#engine.askForMissingNames(this.#id);
    return this;
  }

  domain(hostname) {
    requireArguments(arguments.length, 1);
    const name = serverName(hostname);
    this.#domain = this.#names.has(name) ? name : undefined;
    return this;
  }

  static {
    for (const method of [
      'get',
      'post',
      'options',
      'del',
      'patch',
      'put',
      'head',
      'connect',
      'trace',
      'any',
    ]) {
      // These are methods like those written out: not enumerable, on the prototype, with a name.
      const value = {
        [method](...given) {
          return this.#route(method, given);
        },
      }[method];
      Object.defineProperty(this.prototype, method, {
        __proto__: null,
        value,
        writable: true,
        configurable: true,
      });
    }
  }
}

Object.defineProperty(TemplatedApp, 'name', { __proto__: null, value: 'uWS.App' });

/** The app of an SSLApp, whose class has another name in the original. */
class SSLTemplatedApp extends TemplatedApp {}

Object.defineProperty(SSLTemplatedApp, 'name', { __proto__: null, value: 'uWS.SSLApp' });

/** Reads the options that have nothing to do with TLS. */
function appOptions(options) {
  const { limits, trustedProxies } = options;
  if (limits === undefined && trustedProxies === undefined) return NO_OPTIONS;
  const { checkedLimits, checkedProxies } = require('./limits');
  return { limits: checkedLimits(limits), trustedProxies: checkedProxies(trustedProxies) };
}

/** Creates an HTTP and WebSocket server. It can be called with and without `new`. */
function App(options) {
  return new TemplatedApp(null, appOptions(hasOptions(options) ? options : NO_OPTIONS));
}

/** Creates a server over TLS. Without a certificate it serves only the names that are added later. */
function SSLApp(options) {
  return new SSLTemplatedApp(tlsOptions(options), appOptions(options ?? NO_OPTIONS));
}

function us_listen_socket_close(token) {
  requireArguments(arguments.length, 1);
  if (!(token instanceof ListenSocket))
    throw new TypeError('token must be what the listen callback was given.');
  if (listeners.delete(token.id)) start().closeListener(token.id);
}

function us_socket_local_port(token) {
  requireArguments(arguments.length, 1);
  if (!(token instanceof ListenSocket))
    throw new TypeError('token must be what the listen callback was given.');
  return token.port;
}

module.exports = { App, SSLApp, us_listen_socket_close, us_socket_local_port };
