'use strict';
// The JavaScript end of the crossing: reads batches of events, calls what they are for, and sees to it that commands
// leave in time. One per environment (main thread or worker), started with the first App.

const { isMainThread } = require('worker_threads');
const { load, calls, callArgs } = require('./binding');
const {
  setImmediate,
  prepareScheduling,
  drainsQueues,
  drainNow,
  outside,
  turn,
  due,
} = require('./scheduling');
const { report, reportSoon, reportThrown } = require('./errors');

/** Event kinds; the numbers of `EventKind` in src/channel.rs. */
const Kind = Object.freeze({
  REQUEST: 1,
  DATA: 2,
  WRITABLE: 3,
  PEER_END: 4,
  GONE: 5,
  MESSAGE: 6,
  PING: 7,
  PONG: 8,
  OPEN: 9,
  DRAIN: 10,
  DROPPED: 11,
  QUIET: 12,
  FILTER: 13,
  PANIC: 14,
  WARNING: 15,
  BUSY: 16,
  SERVER_NAME: 17,
  APP_CLOSED: 18,
  FORGOTTEN: 19,
});

/** Command numbers; those of `Op` in src/channel.rs. */
const Op = Object.freeze({
  RESPOND: 1,
  WRITE: 2,
  TRY_END: 3,
  FINISH: 4,
  PAUSE: 5,
  RESUME: 6,
  CLOSE: 7,
  WANT_WRITABLE: 8,
  RELEASE: 9,
  UPGRADE: 10,
  SERVER_NAME: 11,
  LEAVE_TOPICS: 12,
  SEND: 20,
  END: 21,
  SUBSCRIBE: 22,
  UNSUBSCRIBE: 23,
  PUBLISH: 24,
  OVERFLOW: 25,
  FORGET: 32,
});

const EVENT_WORDS = 8;
/** Most events that one native call brings. */
const EVENTS_PER_TAKE = 256;
/** Events handled before timers and other I/O of the process get their turn. */
const EVENTS_PER_PUMP = 4096;

/** An ArrayBuffer from here on has memory of the loop, which gets it back in a turn of the runtime's event loop. */
const LARGE = 32 * 1024;
const LARGE_BYTES_PER_PUMP = 4 * 1024 * 1024;

/** The native functions of an engine that are called rarely. */
const ENGINE_FUNCTIONS = Object.freeze([
  'addApp',
  'addSecureApp',
  'addServerName',
  'removeServerName',
  'askForMissingNames',
  'failedHandshakes',
  'addRoute',
  'removeRoute',
  'addBehaviour',
  'declare',
  'timeouts',
  'filter',
  'listen',
  'listenUnix',
  'descriptor',
  'addChild',
  'removeChild',
  'closeListener',
  'closeApp',
  'keepAlive',
  'panicForTest',
  'endForTest',
]);
/** What the loop's handler ids stand for: a Route or a Behaviour. */
const handlers = [];
/** By slot: the HttpResponse or WebSocket that JavaScript holds for a connection. */
const connections = [];
/** By app: { id, topics, secure, ownsDefault, filters, missing }; see lib/app.js. */
const apps = [];
/** Open listen sockets by number. */
const listeners = new Map();
/** By kind of event, filled in by the modules whose objects the events are for. One that returns true has drained the queues. */
const receivers = [];

/** The headers of the events being handled; the native side writes them here. */
const words = new Uint32Array(EVENTS_PER_TAKE * EVENT_WORDS);
/** The register by which the native side asks for `relieve`; the number of src/bridge/state.rs. */
const RELIEF_DUE = 15;
/** The element of `callArgs` with the answer. */
const ANSWER = 6;
/** The answer for what is neither text nor data; `NEITHER` of src/bridge/hot.rs. */
const NEITHER = 3;

let engine = null;
let flushScheduled = false;

function start() {
  if (engine !== null) return engine;
  const native = load();
  // Only the main thread's environment ends after all that may have been handed memory of the loop.
  const number = native.startEngine(pump, isNode(), isMainThread, words, callArgs);
  Object.assign(calls, native.hotFunctions(number));
  engine = Object.fromEntries(ENGINE_FUNCTIONS.map((name) => [name, native[name].bind(null, number)]));
  // What was sent before process.exit() has been sent in the original.
  process.on('exit', () => calls.drain());
  return engine;
}

/** Whether the event loop is libuv, which others have not or only in part. */
function isNode() {
  return process.release.name === 'node' && !globalThis.Bun && !globalThis.Deno;
}

/**
 * Called after each command: outside of an event batch it leaves at the end of this turn of Node's event loop. Handlers may run
 * in it, so it is the last thing that a method does.
 */
function touched() {
  if (callArgs[RELIEF_DUE] !== 0) relieve();
  if (turn.pumping || flushScheduled) return;
  flushScheduled = true;
  setImmediate(flushScheduledCommands);
}

let relieving = false;

/**
 * The loop has dropped so many messages of publishes that it waits until handlers have heard of them, and there is no room
 * for more commands until it goes on: they hear of them now, in the middle of what publishes, as in the original.
 */
function relieve() {
  callArgs[RELIEF_DUE] = 0;
  if (relieving) return;
  relieving = true;
  // The pump may be in the middle of others.
  const shown = words.slice();
  calls.relieve(1);
  try {
    for (let count = calls.takeDropped(); count > 0; count = calls.takeDropped()) {
      for (let at = 0; at < count * EVENT_WORDS; at += EVENT_WORDS) receive(at);
    }
  } finally {
    calls.relieve(0);
    words.set(shown);
    relieving = false;
  }
}

function flushScheduledCommands() {
  flushScheduled = false;
  calls.flush();
}

// ---- events of our own

function runDue() {
  while (due.length > 0) {
    outside(runOneDue);
    // Elsewhere the queues are run by the runtime, behind this callback.
    if (!drainsQueues()) return;
  }
}

function runOneDue() {
  const run = due.shift();
  const argument = due.shift();
  try {
    run(argument);
  } catch (error) {
    report(error);
  }
  reportThrown();
  drainNow();
  reportThrown();
}

// ---- the pump

/** Called by the native side, from the runtime's event loop, when events wait. */
function pump() {
  prepareScheduling();
  turn.pumping = true;
  let stride = calls.startStretch();
  let since = 0;
  largeBytes = 0;
  let left = drainsQueues() ? EVENTS_PER_PUMP : 1;
  if (due.length > 0) {
    runDue();
    // One event for each callback, where the queues run behind it.
    if (!drainsQueues()) return void endPump(true);
  }
  for (;;) {
    const count = next();
    if (count === 0) break;
    for (let at = 0; at < count * EVENT_WORDS; at += EVENT_WORDS) {
      outside(dispatch, at);
      if (due.length > 0 && drainsQueues()) runDue();
      if (++since >= stride) {
        stride = calls.flushDue(since);
        since = 0;
      }
    }
    left -= count;
    if (left <= 0 || largeBytes > LARGE_BYTES_PER_PUMP) {
      return void endPump(true);
    }
  }
  endPump(false);
}

/** `goOn`: there may be more, behind the immediates and the I/O that wait already. */
function endPump(goOn) {
  takeBack();
  if (retired.length > 0) forgetRetired();
  turn.pumping = false;
  // All is handed over below. The immediate may still come, which does no harm, or have been lost, which would for ever.
  flushScheduled = false;
  calls.flush();
  if (goOn) setImmediate(pump);
  else if (due.length > 0) calls.ring();
}

let spared = null;

/** Brings the next events to `words`; where queues are not drained by us, one at a time. */
function next() {
  if (drainsQueues()) return calls.take();
  spared ??= { count: 0, at: 0, words: new Uint32Array(words.length) };
  if (spared.at === spared.count) {
    spared.count = calls.take();
    spared.at = 0;
    if (spared.count === 0) return 0;
    spared.words.set(words);
  }
  words.set(spared.words.subarray(spared.at * EVENT_WORDS, (spared.at + 1) * EVENT_WORDS));
  spared.at++;
  return 1;
}

/** What a handler was lent last; undefined: nothing. */
let lent;
/** Bytes of large ArrayBuffers handed out since the runtime's event loop had its turn. */
let largeBytes = 0;

/**
 * Lends a handler an ArrayBuffer for its call and the microtasks it queued. It is detached, as in the original, when the
 * next one is lent or the batch ends.
 */
function lend(buffer) {
  takeBack();
  if (buffer.byteLength >= LARGE) largeBytes += buffer.byteLength;
  lent = buffer;
  return buffer;
}

/** Lends the payload of an event. */
function lendPayload(offset, length) {
  if (length >= LARGE) largeBytes += length;
  // Where the queues are not run by us, the handler's microtasks are still to come: left to the garbage collector.
  if (!drainsQueues()) return calls.payload(offset, length);
  callArgs[0] = offset;
  callArgs[1] = length;
  return (lent = calls.lendPayload(lent));
}

function takeBack() {
  if (lent !== undefined && drainsQueues()) calls.detach(lent);
  lent = undefined;
}

function dispatch(at) {
  const drained = receive(at);
  reportThrown();
  if (drained !== true) drainNow();
  reportThrown();
}

/** Has an event received; true: the queues have been drained since a handler ran. */
function receive(at) {
  try {
    return receivers[words[at]](
      words[at + 1],
      words[at + 2],
      words[at + 3],
      words[at + 4],
      words[at + 5],
      words[at + 6],
      words[at + 7],
    );
  } catch (error) {
    reportSoon(error);
    return false;
  }
}

// ---- handler ids

/** Ids that neither the loop nor an event that is still to be seen names any more. */
const freeIds = [];
/** Ids of routes that are no more, which requests that wait in a pipeline may still name: [id, how many were parked then]. */
const retired = [];

/** The id by which the loop names a route from here on. */
function addHandler(route) {
  const id = freeIds.pop() ?? handlers.length;
  handlers[id] = route;
  return id;
}

/** The loop has said its last of a route; what it holds goes with it. The caller sees to it that the command leaves. */
function forgetHandler(id) {
  const route = handlers[id];
  handlers[id] = null;
  // A behaviour may still be in the hands of a user; see lib/behavior.js.
  if (route?.id === id) route.id = -1;
  calls.command(Op.FORGET, 0, 0, id);
}

/** Those that nothing names any more; the others have to wait. */
function forgetRetired() {
  const unparked = calls.unparkedSoFar();
  while (retired.length > 0 && retired[0][1] <= unparked) forgetHandler(retired.shift()[0]);
}

receivers[Kind.FORGOTTEN] = (slot, generation, id, stage) => {
  if (stage === 1) return void freeIds.push(id);
  retired.push([id, calls.parkedSoFar()]);
  forgetRetired();
};

// ---- what the process lives for

function addListener(listener) {
  if (listeners.size === 0) engine.keepAlive(true);
  listeners.set(listener.id, listener);
}

receivers[Kind.QUIET] = () => {
  if (listeners.size === 0) engine.keepAlive(false);
};

/** A connection came from another thread, without anything listening here. */
receivers[Kind.BUSY] = () => {
  engine.keepAlive(true);
};

receivers[Kind.WARNING] = (slot, generation, a, b, c, offset, length) => {
  process.emitWarning(Buffer.from(calls.payload(offset, length)).toString(), 'UwsRsWarning');
};

module.exports = {
  Kind,
  Op,
  EVENT_WORDS,
  ANSWER,
  NEITHER,
  handlers,
  connections,
  apps,
  listeners,
  receivers,
  start,
  touched,
  lend,
  lendPayload,
  addListener,
  addHandler,
  forgetHandler,
};
