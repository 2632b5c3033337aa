'use strict';
// When functions are called: the runtime's queues, async contexts, and events of JavaScript's own.

const { AsyncLocalStorage, AsyncResource } = require('async_hooks');
const timers = require('timers');
const { callbackify, promisify } = require('util');
const { calls } = require('./binding');
const { isBun, isDeno } = require('./runtime');

// These are the functions as the runtime had them when this module was loaded. Tests replace the globals as
// well as the properties of `timers` and `process` (Jest, sinon), and a replacement may never call the
// function it is given.
const nextTick = process.nextTick.bind(process);

/**
 * Whether `setImmediate` was replaced before this module was loaded, by a function that may wait for somebody
 * to advance its clock. That of Node has its promisified form by a getter.
 */
function isReplaced(setImmediate) {
  if (isBun || isDeno) return false;
  return Object.getOwnPropertyDescriptor(setImmediate, promisify.custom)?.get === undefined;
}

/**
 * Calls a function of lib/engine.js after the I/O of this turn of the runtime's event loop. Without
 * immediates a wake does it: that calls the pump, which also sends the commands.
 */
const afterIo = isReplaced(timers.setImmediate) ? () => calls.ring() : timers.setImmediate;

// ---- nextTick and microtasks after every handler

/** The function that drains the queues; null: there is none, or it has not been looked for yet. */
let runTicks = null;
let prepared = false;

/** The function that drains the queues by the name that each runtime has for it. */
function drainOfRuntime() {
  if (isBun) return process.getBuiltinModule?.('bun:jsc')?.drainMicrotasks;
  if (isDeno) return globalThis.Deno?.[globalThis.Deno.internal]?.core?.processTicksAndRejections;
  return undeprecated(process._tickCallback);
}

/**
 * Under `--pending-deprecation` Node has a function in its place that warns once, or throws with
 * `--throw-deprecation`, which is meant for the code of the program. The prototype of that function is the
 * deprecated one, while the prototype of an ordinary function has an object for a prototype.
 */
function undeprecated(candidate) {
  const prototypeOf = (value) => value && Object.getPrototypeOf(value);
  const inner = prototypeOf(candidate);
  return typeof prototypeOf(inner) === 'function' ? inner : candidate;
}

/**
 * Finds the function of the runtime that drains the nextTick and microtask queues. It is internal, so it is
 * tried before it is trusted. Without it one event is handled in each callback of the runtime, which drains
 * the queues afterwards.
 */
function findRunTicks() {
  const candidate = drainOfRuntime();
  if (typeof candidate !== 'function') return null;
  let ticked = false;
  let resumed = false;
  const tick = () => (ticked = true);
  nextTick(tick);
  // Where the module is loaded behind fake timers (Jest can be told so), that one is never called. This
  // function calls the runtime's own `nextTick`, in a microtask.
  callbackify(async () => {})(tick);
  // The promises of the language itself, whatever a program has put in the place of `Promise`.
  (async () => {
    await null;
    resumed = true;
  })();
  try {
    candidate.call(process);
  } catch (error) {
    calls.fatal(error);
  }
  return ticked && resumed ? candidate.bind(process) : null;
}

/** Drains the queues, however many of their callbacks throw. */
function drain() {
  for (;;) {
    try {
      runTicks();
      return;
    } catch (error) {
      calls.fatal(error);
    }
  }
}

/**
 * Drains the queues, unless the runtime does so. Receivers also call it when they need to see the effects of
 * a handler's microtasks.
 */
function drainNow() {
  if (runTicks !== null) drain();
}

/** Whether this module drains the queues; otherwise the runtime does after each of its callbacks. */
function drainsQueues() {
  return runTicks !== null;
}

// ---- async contexts

let scope = null;

/**
 * A handler, or a callback of the queues that throws, may leave an async context behind, which the next
 * events would run in. From Node 24 on each event is handled in a scope, which restores the context. Before
 * Node 24 a scope changes the context of its resource for good, so none is used; the original behaves in the
 * same way there.
 */
function findScope() {
  const resource = new AsyncResource('uws-rs');
  const probe = new AsyncLocalStorage();
  resource.runInAsyncScope(() => probe.enterWith(true));
  const restores = resource.runInAsyncScope(() => probe.getStore()) === undefined;
  probe.disable();
  return restores ? resource : null;
}

/** Calls `run` outside of the async context of whatever ran before. */
function outside(run, argument) {
  if (scope === null) run(argument);
  else scope.runInAsyncScope(run, undefined, argument);
}

/** Examines the runtime. This is done once, in a callback of its event loop. */
function prepareScheduling() {
  if (prepared) return;
  prepared = true;
  runTicks = findRunTicks();
  scope = findScope();
}

// ---- events of JavaScript's own

/** `pumping` says whether events are being handled. */
const turn = { pumping: false };

/** Items that have been taken out of a queue before the others are moved to its beginning. */
const MANY = 1024;

/**
 * A queue that takes the same time however long it is. `shift` of an array moves everything behind the first
 * element once that is some 100 KiB, so to take 20,000 elements out would block for a second.
 */
class Queue {
  #items = [];
  /** The number of items at the beginning that have been taken. */
  #taken = 0;

  get length() {
    return this.#items.length - this.#taken;
  }

  /** The item that `shift` takes next. */
  get first() {
    return this.#items[this.#taken];
  }

  push(item) {
    this.#items.push(item);
  }

  shift() {
    const item = this.#items[this.#taken];
    this.#items[this.#taken++] = undefined;
    if (this.#taken >= MANY && 2 * this.#taken >= this.#items.length) {
      this.#items.splice(0, this.#taken);
      this.#taken = 0;
    }
    return item;
  }
}

/** Functions that are to run in events of their own, each followed by its argument. */
const due = new Queue();

/**
 * Calls `run(argument)` as an event: after the code that is running now with its nextTicks and microtasks,
 * before immediates, and outside of the caller's async context.
 */
function later(run, argument) {
  due.push(run);
  due.push(argument);
  if (!turn.pumping) calls.ring();
}

module.exports = { Queue, afterIo, prepareScheduling, drainsQueues, drainNow, outside, turn, due, later };
