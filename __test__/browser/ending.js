'use strict';

// A server's process requires this before the app (NODE_OPTIONS=--require). Each SIGUSR2 ends workers, in the
// next of WAYS. The adapter has no way to ask for it, and threads cannot be killed from outside.

const Module = require('node:module');
const threads = require('node:worker_threads');

/**
 * The ways in which workers end: by the main thread, by themselves, and by the main thread while their
 * JavaScript never returns.
 */
const WAYS = ['terminate', 'throw', 'exit', 'stall', 'all'];

const orders = new threads.BroadcastChannel('ending');

/** Records the workers that the app starts, oldest first. */
function command() {
  const running = new Set();
  threads.Worker = class extends threads.Worker {
    constructor(...given) {
      super(...given);
      running.add(this);
      this.on('exit', () => running.delete(this));
    }
  };
  Module.syncBuiltinESMExports();
  let signals = 0;
  process.on('SIGUSR2', () => end(WAYS[signals++ % WAYS.length], [...running]));
}

function end(way, running) {
  if (way === 'all') return running.forEach((worker) => worker.terminate());
  const [oldest] = running;
  if (way === 'terminate') return oldest.terminate();
  orders.postMessage({ way, thread: oldest.threadId });
  if (way === 'stall') setTimeout(() => oldest.terminate(), 300);
}

function obey({ data: { way, thread } }) {
  if (thread !== threads.threadId) return;
  if (way === 'exit') process.exit(3);
  if (way === 'stall') for (;;);
  setImmediate(() => {
    throw new Error('ended by its test');
  });
}

if (require.main !== module) {
  if (threads.isMainThread) command();
  else orders.onmessage = obey;
  orders.unref();
}

module.exports = { WAYS };
