'use strict';
// WebSocket. The object is also its own user data, as in uWebSockets.js, so all state is private.

const { calls, callArgs } = require('./binding');
const { connections, start, touched } = require('./engine');
const { ANSWER, Answer, Limit, Op, SendFlag, putSendArgs } = require('./layout');
const { guarded } = require('./errors');
const { channels, tell } = require('./diagnostics');
const { Subscriptions } = require('./topics');
const {
  coerce,
  key,
  ofKey,
  shown,
  toArrayBuffer,
  integer,
  whole,
  requireArguments,
  requireFunction,
} = require('./validate');

const INVALID = 'Invalid access of closed uWS.WebSocket/SSLWebSocket.';

/**
 * Sockets of a route of one app that were upgraded by another app, by the id of the latter. They end when
 * either app is closed.
 */
const guests = new Map();

/** The status code of servers that shut down (RFC 6455 §7.4.1). */
const GOING_AWAY = 1001;

/** Ends the sockets of an app that other apps have accepted, when it shuts down. */
function dismissGuests(app) {
  for (const ws of [...guests.keys()]) {
    // The `close` handler of one may end others.
    if (internals.isOpen(ws) && internals.behaviour(ws).app === app) internals.end(ws, GOING_AWAY, '');
  }
}

/** Functions for other modules of lib/; the static block defines them. */
let internals;

class WebSocket {
  #slot;
  #generation;
  #behaviour;
  #open = true;
  #closing = false;
  #topics = null;
  /** The first fragment of the message that is being sent was dropped, so the others are as well. */
  #skipsMessage = false;

  constructor(slot, generation, behaviour) {
    this.#slot = slot;
    this.#generation = generation;
    this.#behaviour = behaviour;
  }

  static {
    internals = {
      /** Finds the object that an event is for; undefined when JavaScript has released it. */
      at(slot, generation) {
        const ws = connections[slot];
        if (ws === undefined || !(#slot in ws) || ws.#generation !== generation) return undefined;
        return ws;
      },
      is: (object) => #slot in object,
      isOpen: (ws) => ws.#open,
      openDuring,
      behaviour: (ws) => ws.#behaviour,
      /** The method `end` after its checks; user data may hide the method. */
      end(ws, code, reason) {
        if (ws.#closing) return;
        calls.end(ws.#slot, ws.#generation, code, reason);
        internals.over(ws, code, toArrayBuffer(reason));
        touched();
      },
      /** Whether an open object ends when the app is closed, or, without an app, when the loop stops. */
      isOf(ws, app) {
        if (ws.#closing) return false;
        return app === undefined || ws.#behaviour.app === app || guests.get(ws) === app.id;
      },
      /**
       * Ends an object with its app. The loop has closed the connections that this app accepted, but not
       * those of others.
       */
      overWith(ws, app) {
        if (guests.has(ws) && guests.get(ws) !== app?.id) {
          calls.command(Op.CLOSE, ws.#slot, ws.#generation, 0);
        }
        internals.over(ws, 1006, new ArrayBuffer(0));
      },
      /**
       * Calls the handlers for the end: `subscription` first, then `close`, in which the object is invalid.
       */
      over(ws, code, reason) {
        if (ws.#closing) return;
        ws.#closing = true;
        if (guests.size > 0) guests.delete(ws);
        ws.#leaveTopics();
        ws.#open = false;
        if (connections[ws.#slot] === ws) connections[ws.#slot] = undefined;
        tell(channels.close, closeMessage, ws, code, reason);
        const { close } = ws.#behaviour;
        if (close !== null) guarded(close, ws, code, reason);
      },
    };
  }

  #check() {
    if (!this.#open) throw new Error(INVALID);
  }

  #send(message, flags) {
    let result = this.#try(message, flags);
    if (result === Answer.NEITHER) result = this.#try(coerce(message, 'message'), flags);
    if (result === Answer.DROPPED) this.#drop(message, flags);
    else touched();
    return result;
  }

  #try(message, flags) {
    putSendArgs(callArgs, this.#slot, this.#generation, flags, this.#behaviour.maxBackpressure);
    calls.send(message);
    return callArgs[ANSWER];
  }

  #drop(message, flags) {
    const { dropped } = this.#behaviour;
    calls.countDropped(this.#behaviour.app.id);
    if (this.#endsByDrop(flags)) calls.command(Op.OVERFLOW, this.#slot, this.#generation, 0);
    const isBinary = (flags & SendFlag.BINARY) !== 0;
    const data = dropped === null && !channels.drop.hasSubscribers ? null : toArrayBuffer(message);
    tell(channels.drop, sendDropped, this, data, isBinary);
    // A subscriber may have closed the socket.
    if (dropped !== null && this.#open) guarded(dropped, this, data, isBinary);
    touched();
  }

  /**
   * Whether the connection ends with this message: by `closeOnBackpressureLimit`, unless it was dropped for
   * the memory budget alone, or because the peer has got the beginning of a message that will have no end.
   */
  #endsByDrop(flags) {
    if ((flags & SendFlag.CONTINUATION) !== 0) return !this.#skipsMessage;
    const { closeOnBackpressureLimit, maxBackpressure } = this.#behaviour;
    if (!closeOnBackpressureLimit || maxBackpressure === 0) return false;
    return calls.buffered(this.#slot, this.#generation) > maxBackpressure;
  }

  /** Sends a further fragment, unless the first one was dropped. */
  #sendMore(message, flags) {
    if (!this.#skipsMessage) return this.#send(message, flags);
    this.#drop(coerce(message, 'message'), flags);
    return Answer.DROPPED;
  }

  send(message, isBinary, compress) {
    this.#check();
    return this.#send(message, (isBinary ? SendFlag.BINARY : 0) | (compress ? SendFlag.COMPRESS : 0));
  }

  sendFirstFragment(message, isBinary, compress) {
    this.#check();
    this.#skipsMessage = false;
    const answer = this.#send(
      message,
      SendFlag.NOT_FINAL | (isBinary ? SendFlag.BINARY : 0) | (compress ? SendFlag.COMPRESS : 0),
    );
    this.#skipsMessage = answer === Answer.DROPPED;
    return answer;
  }

  sendFragment(message, compress) {
    this.#check();
    return this.#sendMore(
      message,
      SendFlag.NOT_FINAL | SendFlag.CONTINUATION | (compress ? SendFlag.COMPRESS : 0),
    );
  }

  sendLastFragment(message, compress) {
    this.#check();
    const answer = this.#sendMore(message, SendFlag.CONTINUATION | (compress ? SendFlag.COMPRESS : 0));
    this.#skipsMessage = false;
    return answer;
  }

  ping(message) {
    this.#check();
    const length = message === undefined ? 0 : calls.byteLength(coerce(message, 'message'));
    if (length > 125)
      throw new RangeError(`message must not be longer than 125 bytes in a ping; got ${length}.`);
    return this.#send(message, SendFlag.PING);
  }

  getBufferedAmount() {
    this.#check();
    return calls.buffered(this.#slot, this.#generation);
  }

  end(code, shortMessage) {
    this.#check();
    const given = whole(code);
    const number = Number.isFinite(given) ? integer(given, 'code', 0, 0xffff) : 0;
    const reason = shortMessage === undefined ? '' : coerce(shortMessage, 'shortMessage');
    // The conversion may have run a `valueOf` that ended or closed.
    this.#check();
    internals.end(this, number, reason);
  }

  close() {
    this.#check();
    if (this.#closing) return;
    // A socket that is closed in `open` does not get the answer to its handshake, as in the original, nor
    // does one that is closed in what `open` has queued while the request is handled.
    calls.command(Op.CLOSE, this.#slot, this.#generation, this === opening ? 1 : 0);
    internals.over(this, 1006, new ArrayBuffer(0));
    touched();
  }

  cork(callback) {
    this.#check();
    requireFunction(callback);
    callback();
    return this;
  }

  // ---- topics

  subscribe(topic) {
    requireArguments(arguments.length, 1);
    this.#check();
    const name = key(topic, 'topic');
    if (this.#closing) return false;
    if (this.#topics?.has(name)) return true;
    const { app } = this.#behaviour;
    if (app.topicLimits !== null && !mayJoin(app, this.#topics?.size ?? 0, name)) return false;
    this.#topics ??= new Subscriptions();
    const joined = app.topics.join(name);
    this.#topics.add(joined);
    calls.command(Op.SUBSCRIBE, this.#slot, this.#generation, joined.id);
    this.#tellSubscription(joined, joined.count, joined.count - 1);
    touched();
    return true;
  }

  unsubscribe(topic) {
    requireArguments(arguments.length, 1);
    this.#check();
    const name = key(topic, 'topic');
    const joined = this.#topics?.get(name);
    if (joined === undefined) return false;
    calls.command(Op.UNSUBSCRIBE, this.#slot, this.#generation, joined.id);
    this.#leave(joined);
    touched();
    return true;
  }

  /** Leaves a topic once, even if the handlers that this calls unsubscribe meanwhile. */
  #leave(joined) {
    if (!this.#topics.delete(joined)) return;
    const count = joined.count - 1;
    this.#behaviour.app.topics.leave(joined);
    this.#tellSubscription(joined, count, count + 1);
  }

  #leaveTopics() {
    if (this.#topics === null || this.#topics.size === 0) return;
    // The loop may still list this socket as a subscriber, and the topic numbers are freed now.
    calls.command(Op.LEAVE_TOPICS, this.#slot, this.#generation, 0);
    for (const joined of this.#topics.all()) this.#leave(joined);
  }

  #tellSubscription(topic, newCount, oldCount) {
    const { subscription } = this.#behaviour;
    if (subscription !== null)
      guarded(subscription, this, toArrayBuffer(ofKey(topic.name)), newCount, oldCount);
  }

  isSubscribed(topic) {
    requireArguments(arguments.length, 1);
    this.#check();
    const name = key(topic, 'topic');
    return this.#topics?.has(name) ?? false;
  }

  getTopics() {
    this.#check();
    return this.#topics === null ? [] : this.#topics.all().map(({ name }) => shown(name));
  }

  publish(topic, message, isBinary, compress) {
    if (message === undefined) requireArguments(arguments.length, 2);
    this.#check();
    const name = key(topic, 'topic');
    const data = coerce(message, 'message');
    // As in the original, a socket that has never subscribed publishes nothing; one that has may go on.
    if (this.#topics === null) return false;
    const target = this.#behaviour.app.topics.get(name);
    const others = target === undefined ? 0 : target.count - (this.#topics.has(name) ? 1 : 0);
    if (others === 0) return false;
    const flags = (isBinary ? SendFlag.BINARY : 0) | (compress ? SendFlag.COMPRESS : 0);
    calls.publish(target.id, this.#slot, this.#generation, data, flags);
    touched();
    return true;
  }

  // ---- user data and addresses

  getUserData() {
    return this;
  }

  #address(what) {
    this.#check();
    return calls[what](this.#slot, this.#generation, 0);
  }

  getRemoteAddress() {
    return this.#address('address');
  }

  getRemoteAddressAsText() {
    return this.#address('addressText');
  }

  getRemotePort() {
    return this.#address('port');
  }
}

/** Whether a connection with so many topics may have this one as well. A breach of a limit is counted. */
function mayJoin({ id, topics, topicLimits }, size, name) {
  const breached = breachedLimit(topicLimits, topics, size, name);
  if (breached === undefined) return true;
  start().countBreach(id, breached);
  return false;
}

function breachedLimit({ perConnection, maxTopicLength, maxSubscriptions }, topics, size, name) {
  if (Buffer.byteLength(ofKey(name)) > maxTopicLength) return Limit.MAX_TOPIC_LENGTH;
  if (size >= perConnection) return Limit.MAX_TOPICS_PER_CONNECTION;
  if (topics.subscriptions >= maxSubscriptions) return Limit.MAX_SUBSCRIPTIONS;
  return undefined;
}

Object.defineProperty(WebSocket, 'name', { __proto__: null, value: 'uWS.WebSocket' });

// ---- messages of diagnostics channels

function aboutSocket(ws) {
  const { app, route } = internals.behaviour(ws);
  return { app: app.object, route, ws };
}

function closeMessage(ws, code, reason) {
  return { ...aboutSocket(ws), code, reason: Buffer.from(reason).toString() };
}

function sendDropped(ws, data, isBinary) {
  return { ...aboutSocket(ws), of: 'send', bytes: data.byteLength, isBinary };
}

/** A subscriber did not get a publish. */
function publishDropped(ws, data, isBinary) {
  return { ...aboutSocket(ws), of: 'publish', bytes: data.byteLength, isBinary };
}

/**
 * Reads the properties of the user data that become properties of the socket: the enumerable ones, then all
 * whose key is a symbol. Getters run here, so this may throw.
 * @returns {[string | symbol, unknown][]}
 */
function readUserData(userData) {
  if (userData === undefined || userData === null) return NO_USER_DATA;
  const source = Object(userData);
  const keys = [...Object.keys(source), ...Object.getOwnPropertySymbols(source)];
  return keys.map((name) => [name, source[name]]);
}

const NO_USER_DATA = Object.freeze([]);

/** The socket of an SSLApp, whose class has another name in the original. */
class SSLWebSocket extends WebSocket {}

Object.defineProperty(SSLWebSocket, 'name', { __proto__: null, value: 'uWS.SSLWebSocket' });

/**
 * Defines a property as a literal does, so that a setter of the class is not called. Without a prototype the
 * description has no `get` that somebody has put into Object.prototype.
 */
function define(object, name, value) {
  const description = { __proto__: null, value, writable: true, enumerable: true, configurable: true };
  Object.defineProperty(object, name, description);
}

/** The socket whose `open` handler runs, or what it has queued. */
let opening = null;

/** Calls `work`, in which the answer to the handshake of a socket has not left yet. */
function openDuring(ws, work, argument) {
  // The handler may upgrade others.
  const outer = opening;
  opening = ws;
  try {
    work(argument);
  } finally {
    opening = outer;
  }
}

function callOpen(ws) {
  guarded(internals.behaviour(ws).open, ws);
}

/**
 * Creates the socket of an upgrade that is under way, and calls its `open` handler. `acceptedBy` is the id of
 * the app that received the request.
 */
function openWebSocket(
  slot,
  generation,
  behaviour,
  properties = NO_USER_DATA,
  acceptedBy = behaviour.app.id,
) {
  const ws = new (behaviour.app.secure ? SSLWebSocket : WebSocket)(slot, generation, behaviour);
  for (const [name, value] of properties) {
    define(ws, name, value);
  }
  connections[slot] = ws;
  if (acceptedBy !== behaviour.app.id) guests.set(ws, acceptedBy);
  tell(channels.upgrade, aboutSocket, ws);
  // A subscriber may have closed the socket.
  if (behaviour.open !== null && internals.isOpen(ws)) openDuring(ws, callOpen, ws);
  // The loop tells the sockets of an app that shuts down to go, but not those that others accepted for it.
  if (guests.has(ws) && behaviour.app.shutdown !== null) internals.end(ws, GOING_AWAY, '');
}

module.exports = {
  WebSocket,
  websocketInternals: internals,
  readUserData,
  openWebSocket,
  publishDropped,
  dismissGuests,
};
