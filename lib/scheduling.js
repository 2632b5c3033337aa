'use strict';
// The functions that put off a call, as the runtime had them when this was loaded. Tests replace these functions, the globals as well as
// the properties of `timers` and `process` (Jest, sinon), and what is handed to a replacement may never be called.

const { AsyncLocalStorage, AsyncResource } = require('async_hooks');
const { setImmediate } = require('timers');
const { calls } = require('./binding');

const nextTick = process.nextTick.bind(process);

// ---- nextTick and microtasks after every handler

/** The function that drains the queues; null: there is none, or nobody has looked for one yet. */
let runTicks = null;
let prepared = false;

/**
 * The function of the runtime that runs nextTick and microtask queues. These are internals, so it is tried before it
 * is trusted; null: handle one event per callback of the runtime, which drains them by itself.
 */
function findRunTicks() {
  const candidate = globalThis.Bun ? require('bun:jsc').drainMicrotasks : process._tickCallback;
  if (typeof candidate !== 'function') return null;
  let ticked = false;
  let resolved = false;
  nextTick(() => (ticked = true));
  Promise.resolve().then(() => (resolved = true));
  try {
    candidate.call(process);
  } catch (error) {
    calls.fatal(error);
  }
  return ticked && resolved ? candidate.bind(process) : null;
}

/** Runs the queues, past any number of callbacks that throw. */
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

/** The queues, where it is for us to run them; also for receivers that look at what a handler did including its microtasks. */
function drainNow() {
  if (runTicks !== null) drain();
}

/** Whether it is for us to run them; otherwise the runtime does so behind each of its callbacks. */
function drainsQueues() {
  return runTicks !== null;
}

// ---- async contexts

let scope = null;

/**
 * What a handler, or a callback of the queues that throws, leaves as the async context would be that of the events behind it:
 * in Node from 24 on each event is handled in a scope, by which it is restored. In earlier ones the context of a resource is
 * changed, and as in the original stays so.
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

/** Finds out about the runtime, once, from a callback of its event loop. */
function prepareScheduling() {
  if (prepared) return;
  prepared = true;
  runTicks = findRunTicks();
  scope = findScope();
}

// ---- events of our own

/** Whether events are being handled: `pump` is under way. */
const turn = { pumping: false };

/** Functions that are to run as events of their own, each with its argument behind it. */
const due = [];

/**
 * Calls `run(argument)` as the loop's events call handlers: after all that is running now, with its nextTicks and
 * microtasks, before immediates, and in no async context of whoever asked for it.
 */
function later(run, argument) {
  due.push(run, argument);
  if (!turn.pumping) calls.ring();
}

module.exports = { setImmediate, prepareScheduling, drainsQueues, drainNow, outside, turn, due, later };
