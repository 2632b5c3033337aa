'use strict';
// The part that the specs of limits share: servers with limits, with and without TLS, in this thread and in
// one that can be blocked, and what their limits have counted.

const { Worker } = require('node:worker_threads');
const support = require('../support');
const certificates = require('../tls/certificates');
const engine = require('../../lib/engine');
const { Limit } = require('../../lib/layout');

const { assert, uWS, serve, get } = support;

/**
 * How often each limit of the app with this number was breached, by its name; those that were not are left
 * out.
 */
function breachesOf(app) {
  const counts = engine.start().breaches(app);
  const named = Object.entries(Limit).map(([name, number]) => [camel(name), counts[number]]);
  return Object.fromEntries(named.filter(([, count]) => count > 0));
}

/** `MAX_CONNECTIONS` → `maxConnections` */
const camel = (name) => name.toLowerCase().replaceAll(/_(.)/g, (_, letter) => letter.toUpperCase());

/** The options of an app, with a certificate where it speaks TLS. */
const appOptions = (tls, options) => (tls ? { ...certificates.shared(), ...options } : options);

function routes(app) {
  app.get('/hi', (res) => res.end('hi'));
  app.post('/*', (res) => {
    res.onAborted(() => {});
    let length = 0;
    res.onData((chunk, last) => {
      length += chunk.byteLength;
      if (last) res.end(String(length));
    });
  });
}

/** Creates an app with limits on a free port; it is closed after the test. */
function limited(t, limits, { tls = false, configure = routes, ...options } = {}) {
  const all = appOptions(tls, { limits, ...options });
  const app = tls ? uWS.SSLApp(all) : uWS.App(all);
  const number = engine.apps.length - 1;
  const server = serve(t, configure, { app, peer: { tls: tls ? {} : false } });
  server.breaches = () => breachesOf(number);
  return server;
}

const THREAD = `
const { parentPort, workerData } = require('node:worker_threads');
const { limited, routes } = require(workerData.support);
const open = new Set();
const configure = (app) => {
  routes(app);
  app.ws('/ws', { open: (ws) => open.add(ws), close: (ws) => open.delete(ws) });
};
const server = limited({ after() {} }, workerData.limits, { ...workerData.options, configure });
parentPort.on('message', (message) => {
  if (typeof message === 'number') {
    parentPort.postMessage('blocked');
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, message);
    parentPort.postMessage('awake');
  } else {
    parentPort.postMessage(server.breaches());
  }
});
parentPort.postMessage(server.port);
`;

/** A server in a thread of its own, whose JavaScript can be blocked while clients go on. */
async function blockable(t, limits, options = {}) {
  const thread = new Worker(THREAD, { eval: true, workerData: { support: __filename, limits, options } });
  const next = () => new Promise((resolve) => thread.once('message', resolve));
  const server = { port: await next() };
  const peers = new Set();
  const peer = { track: (each) => peers.add(each), tls: options.tls ? {} : false };
  server.connect = () => support.Peer.connect(server.port, peer);
  server.once = async (text) => {
    const client = await server.connect();
    const answer = await client.request(text);
    client.destroy();
    return answer;
  };
  /** Runs `act` while JavaScript does nothing, which has to last longer. */
  server.whileBlocked = async (milliseconds, act) => {
    thread.postMessage(milliseconds);
    assert.equal(await next(), 'blocked');
    let awake = false;
    const woken = next().then((message) => {
      awake = message === 'awake';
    });
    await act();
    assert.ok(!awake, 'all of it happened while JavaScript was blocked');
    await woken;
  };
  server.breaches = () => {
    thread.postMessage('breaches');
    return next();
  };
  t.after(() => {
    for (const each of peers) each.destroy();
    return thread.terminate();
  });
  return server;
}

/** Proves that a client is served. */
async function sayHi(peer) {
  assert.equal((await peer.request(get('/hi'))).body, 'hi');
}

/** Whether a connection is closed without a byte, be it before or after Node has seen it as connected. */
async function isRefused(server) {
  try {
    const peer = await server.connect();
    await peer.gone();
    return peer.size === 0;
  } catch (error) {
    return /ECONNRESET|EPIPE|disconnected|socket hang up/.test(`${error.code} ${error.message}`);
  }
}

/** Connects until the server keeps a connection, since it learns of the ends of others by and by. */
async function kept(server) {
  for (const end = Date.now() + 10000; ;) {
    try {
      const peer = await server.connect();
      await sayHi(peer);
      return peer;
    } catch (error) {
      if (Date.now() > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}

/** Runs a test twice: without and with TLS. */
function both(name, options, body) {
  if (typeof options === 'function') [options, body] = [{}, options];
  for (const tls of [false, true])
    support.it(`${name}${tls ? ', over TLS' : ''}`, options, (t) => body(t, tls));
}

module.exports = { ...support, limited, blockable, routes, sayHi, isRefused, kept, both };
