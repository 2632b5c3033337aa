'use strict';
// The behaviour of a `ws` route: its handlers and its checked options.

const { handlers, start, addHandler, forgetHandler } = require('./engine');
const { channels } = require('./diagnostics');
const { Wants } = require('./layout');
const { whole, callbackError } = require('./validate');

const HANDLERS = ['upgrade', 'open', 'message', 'dropped', 'drain', 'close', 'ping', 'pong', 'subscription'];

/** Reads a handler that may be absent, or null as some programs write it. */
function handlerOf(options, name) {
  const handler = options[name];
  if (handler === undefined || handler === null) return null;
  if (typeof handler !== 'function') throw callbackError(name);
  return handler;
}

// The original converts whatever is given as a number (text from the environment, fractions, null), and so
// does this.

function number(options, name, fallback) {
  const value = options[name];
  return value === undefined ? fallback : whole(value);
}

const MAX_U32 = 0xffffffff;

/**
 * Reads a limit of bytes. Above 32 bits, or below 0, which wraps around in the original, there is no limit.
 */
function limit(options, name, fallback, unlimited) {
  const value = number(options, name, fallback);
  return value < 0 || value > MAX_U32 ? unlimited : value;
}

/** Reads a flag: true and numbers other than 0 set it; `'true'` does not, since it is not a number. */
function boolean(options, name, fallback) {
  return number(options, name, fallback ? 1 : 0) !== 0;
}

/**
 * Reads a number of minutes, of which at most four hours count. Infinity means no limit, as in the original.
 */
function maxLifetime(options) {
  const value = number(options, 'maxLifetime', 0);
  return Number.isFinite(value) ? Math.min(Math.max(value, 0), 240) : 0;
}

/** The checked options of one `ws` route. `upgrade` handlers are given it as their `context`. */
class Behaviour {
  /** The handler id by which the loop names it; -1: the loop does not know it yet, or no longer. */
  id = -1;

  /** Reads the options, whose getters may add routes; so the handler id is assigned afterwards. */
  constructor(app, route, parameters, options) {
    this.app = app;
    /** The pattern, to be shown to people. */
    this.route = route;
    this.title = `WS ${route}`;
    this.parameters = parameters;
    for (const name of HANDLERS) this[name] = handlerOf(options, name);
    this.maxBackpressure = limit(options, 'maxBackpressure', 64 * 1024, 0);
    this.closeOnBackpressureLimit = boolean(options, 'closeOnBackpressureLimit', false);
    this.native = {
      id: -1,
      maxPayloadLength: limit(options, 'maxPayloadLength', 16 * 1024, MAX_U32),
      idleTimeout: idleTimeout(options),
      maxLifetime: maxLifetime(options) * 60,
      maxBackpressure: this.maxBackpressure,
      closeOnBackpressureLimit: this.closeOnBackpressureLimit,
      sendPingsAutomatically: boolean(options, 'sendPingsAutomatically', true),
      resetIdleTimeoutOnSend: boolean(options, 'resetIdleTimeoutOnSend', false),
      compression: number(options, 'compression', 0) & 0xffff,
      // A client that has its answer may rely on `open` having run, as programs that start both sides do.
      autoUpgrade: this.upgrade === null && this.open === null,
      wants: Object.entries(Wants).reduce(
        (bits, [name, bit]) => (this[name.toLowerCase()] === null ? bits : bits | bit),
        channels.drop.hasSubscribers ? Wants.DROPPED : 0,
      ),
    };
  }

  register(engine) {
    this.id = addHandler(this);
    this.native.id = this.id;
    engine.addBehaviour(this.native);
  }

  /**
   * Calls `upgrade` with the handler id. If the route was removed before its handler answers, the behaviour
   * is registered again for this one call: the connection then holds what it needs.
   */
  withId(upgrade) {
    if (this.id !== -1) return void upgrade(this.id);
    this.register(start());
    upgrade(this.id);
    forgetHandler(this.id);
  }
}

/** The original aborts the process for 1 to 7 and above 960. Infinity means that there is no timeout. */
function idleTimeout(options) {
  const value = number(options, 'idleTimeout', 120);
  if (value === 0 || !Number.isFinite(value)) return 0;
  if (value < 8 || value > 960)
    throw new RangeError(`idleTimeout must be 0 or from 8 to 960 seconds; got ${value}.`);
  return value;
}

/** Finds a behaviour by its handler id. */
function behaviourAt(id) {
  return handlers[id];
}

module.exports = { Behaviour, behaviourAt };
