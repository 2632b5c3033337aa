'use strict';
// The JavaScript side of the crossing: it reads batches of events, calls the objects they are for, and makes
// sure that commands are sent in time. There is one engine per environment (main thread or worker); the first
// App starts it.

const { isMainThread } = require('worker_threads');
const { load, calls, callArgs } = require('./binding');
const { isBun, isDeno } = require('./runtime');
const {
  Queue,
  afterIo,
  prepareScheduling,
  drainsQueues,
  drainNow,
  outside,
  turn,
  due,
} = require('./scheduling');
const { report, reportSoon, reportThrown } = require('./errors');
const {
  EVENT_WORDS,
  EventKind,
  ForgottenStage,
  OWNED_EVENT,
  Op,
  RELIEF_DUE,
  deliver,
  putPayloadArgs,
} = require('./layout');

/** The most events that one native call returns. */
const EVENTS_PER_TAKE = 256;
/** The number of events after which timers and other I/O of the process get their turn. */
const EVENTS_PER_PUMP = 4096;

/**
 * The bytes of large ArrayBuffers (`OWNED_EVENT`) after which the runtime's event loop gets its turn. In it
 * the memory of collected ones returns to the loop.
 */
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
  'declareMetrics',
  'cache',
  'invalidate',
  'metricsAnswer',
  'appStats',
  'timeouts',
  'limits',
  'trustProxies',
  'unusableProxy',
  'breaches',
  'countBreach',
  'filter',
  'listen',
  'listenUnix',
  'adoptSocket',
  'descriptor',
  'addChild',
  'removeChild',
  'closeListener',
  'closeApp',
  'shutDown',
  'keepAlive',
  'panicForTest',
  'endForTest',
]);
/** A Route or a Behaviour by handler id. */
const handlers = [];
/** The HttpResponse or WebSocket that JavaScript holds for a connection, by slot. */
const connections = [];
/**
 * The shared part of each app, by its id: { id, topics, secure, ownsDefault, filters, missing, closing,
 * shutdown }; see lib/app.js.
 */
const apps = [];
/** Open listen sockets by their id. */
const listeners = new Map();
/**
 * The functions that handle events, by kind of event. The modules whose objects the events are for register
 * them. A receiver that returns true has drained the queues.
 */
const receivers = [];

/** The headers of the events being handled. The native side writes them here. */
const words = new Uint32Array(EVENTS_PER_TAKE * EVENT_WORDS);

let engine = null;
let flushScheduled = false;

function start() {
  if (engine !== null) return engine;
  const native = load();
  if (process.env.UWS_DEBUG) require('./debug').startTraces(native, process.env.UWS_DEBUG);
  // ArrayBuffers may carry memory of the loop to other environments. Only that of the main thread ends after
  // all of them.
  const number = native.startEngine(pump, isNode(), isMainThread, words, callArgs);
  Object.assign(calls, native.callFunctions(number));
  engine = Object.fromEntries(ENGINE_FUNCTIONS.map((name) => [name, native[name].bind(null, number)]));
  // In the original, data that was sent before process.exit() has left the process by then.
  process.on('exit', () => calls.drain());
  return engine;
}

/** Whether the runtime's event loop is libuv. Other runtimes do not have it, or only in part. */
function isNode() {
  return process.release.name === 'node' && !isBun && !isDeno;
}

/**
 * Every method calls this after it has issued a command. Outside of a batch of events the command is sent at
 * the end of this turn of Node's event loop. Handlers may run in this call, so a method does nothing after
 * it.
 */
function touched() {
  if (callArgs[RELIEF_DUE] !== 0) relieve();
  if (turn.pumping || flushScheduled) return;
  flushScheduled = true;
  afterIo(flushScheduledCommands);
}

let relieving = false;

/**
 * The loop waits, because handlers have not heard yet of the many publishes it has dropped, and there is no
 * room for more commands until it goes on. So the `dropped` handlers are called now, in the middle of the
 * method that publishes, as in the original.
 */
function relieve() {
  callArgs[RELIEF_DUE] = 0;
  if (relieving) return;
  relieving = true;
  // The pump may be in the middle of these events.
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

// ---- events of JavaScript's own

function runDue() {
  while (due.length > 0) {
    outside(runOneDue);
    // Otherwise the runtime drains the queues after this callback.
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

/** Handles the events that wait. The native side calls it from the runtime's event loop. */
function pump() {
  prepareScheduling();
  turn.pumping = true;
  let stride = calls.startStretch();
  let since = 0;
  largeBytes = 0;
  let left = drainsQueues() ? EVENTS_PER_PUMP : 1;
  if (due.length > 0) {
    runDue();
    // Where the runtime drains the queues after each callback, a callback handles one event.
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

/**
 * Ends a pump. With `goOn` there may be more events; they come after the immediates and the I/O that wait
 * already.
 */
function endPump(goOn) {
  takeBack();
  if (retired.length > 0) forgetRetired();
  turn.pumping = false;
  // All commands are sent below. If the immediate still comes, it does no harm; if the runtime has lost it,
  // waiting for it would block all further commands.
  flushScheduled = false;
  calls.flush();
  if (goOn) afterIo(pump);
  else if (due.length > 0) calls.ring();
}

let spared = null;

/** Brings the next events to `words`; one at a time where the runtime drains the queues. */
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

/** The ArrayBuffer that was lent to a handler last; undefined: none. */
let lent;
/** The bytes of large ArrayBuffers handed out since the runtime's event loop had its turn. */
let largeBytes = 0;

/**
 * Lends a handler an ArrayBuffer for the time of its call and of the microtasks it queued. The ArrayBuffer is
 * detached, as in the original, when the next one is lent or the batch ends.
 */
function lend(buffer) {
  takeBack();
  if (buffer.byteLength >= OWNED_EVENT) largeBytes += buffer.byteLength;
  lent = buffer;
  return buffer;
}

/** Lends a handler the payload of an event. */
function lendPayload(offset, length) {
  if (length >= OWNED_EVENT) largeBytes += length;
  // Where the runtime drains the queues, the handler's microtasks run later. So this ArrayBuffer is not
  // detached but left to the garbage collector.
  if (!drainsQueues()) return calls.payload(offset, length);
  putPayloadArgs(callArgs, offset, length);
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

/** Calls the receiver of an event. Returns true if the queues have been drained since a handler ran. */
function receive(at) {
  try {
    return deliver(receivers, words, at);
  } catch (error) {
    reportSoon(error);
    return false;
  }
}

// ---- handler ids

/** Ids that neither the loop nor a pending event refers to any more. */
const freeIds = [];
/**
 * Removed routes that requests waiting in a pipeline may still refer to: [id, how many requests had been
 * parked by then].
 */
const retired = new Queue();

/** Assigns the id by which the loop names a route from now on. */
function addHandler(route) {
  const id = freeIds.pop() ?? handlers.length;
  handlers[id] = route;
  return id;
}

/**
 * Releases a route that the loop will not refer to again, and all that it holds. The caller makes sure that
 * the command is sent.
 */
function forgetHandler(id) {
  const route = handlers[id];
  handlers[id] = null;
  // A program may still hold a behaviour; see lib/behavior.js.
  if (route?.id === id) route.id = -1;
  calls.command(Op.FORGET, 0, 0, id);
}

/** Releases the removed routes that nothing refers to any more; the others have to wait. */
function forgetRetired() {
  const unparked = calls.unparkedSoFar();
  while (retired.length > 0 && retired.first[1] <= unparked) forgetHandler(retired.shift()[0]);
}

receivers[EventKind.FORGOTTEN] = (slot, generation, id, stage) => {
  if (stage === ForgottenStage.FREE) return void freeIds.push(id);
  retired.push([id, calls.parkedSoFar()]);
  forgetRetired();
};

// ---- the reasons for the process to stay alive

/** Nothing listens and no connection is open, as far as the loop has said. */
let quiet = true;
/** The error of the loop that has stopped; null while it runs. */
let stopped = null;
/** Apps that shut down, whose promises the program may wait for. */
let shuttingDown = 0;
/** Connections handed over by `adoptSocket`, of which the loop has not said yet that it has them. */
let adopted = 0;

function keepAliveIfNeeded() {
  engine.keepAlive(!quiet || shuttingDown > 0 || adopted > 0);
}

function addListener(listener) {
  quiet = false;
  if (listeners.size === 0) keepAliveIfNeeded();
  listeners.set(listener.id, listener);
}

/** The listeners and connections have ended with the loop, and keep the process alive no longer. */
function stop(error) {
  stopped = error;
  listeners.clear();
  quiet = true;
  adopted = 0;
  keepAliveIfNeeded();
}

/** The error of the loop that has stopped, and says nothing more; null while it runs. */
const failure = () => stopped;

receivers[EventKind.QUIET] = () => {
  quiet = listeners.size === 0;
  keepAliveIfNeeded();
};

/** A connection was adopted, from another thread or from the program; perhaps nothing listens here. */
receivers[EventKind.BUSY] = (slot, generation, isOurs) => {
  quiet = false;
  if (isOurs) adopted--;
  keepAliveIfNeeded();
};

/** @param {number} more connections that the program has handed over */
function countAdopted(more) {
  adopted += more;
  keepAliveIfNeeded();
}

/** @param {number} more 1 when an app begins to shut down, -1 when it has */
function countShutdowns(more) {
  shuttingDown += more;
  keepAliveIfNeeded();
}

receivers[EventKind.WARNING] = (slot, generation, a, b, c, offset, length) => {
  process.emitWarning(Buffer.from(calls.payload(offset, length)).toString(), 'UwsRsWarning');
};

module.exports = {
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
  countShutdowns,
  countAdopted,
  stop,
  failure,
  addHandler,
  forgetHandler,
};
