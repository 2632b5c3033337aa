'use strict';
// Programs under test whose timers are faked, as Jest and sinon do: functions given to a replacement are
// never called, and the server must go on all the same. The server runs in a worker, since clients need real
// timers.

const { Worker } = require('node:worker_threads');
const { it, assert, Peer, WsPeer, get, post } = require('../support');

const SUPPORT = require.resolve('../support');

/** The program of the worker. It acts on messages, which need no timers. */
async function faked() {
  const { parentPort, workerData } = require('node:worker_threads');
  const timers = require('node:timers');
  const { uWS } = require(workerData);
  const never = () => ({ unref() {}, ref() {}, hasRef: () => false });
  const real = [];
  const fake = (object, names) => {
    for (const name of names) {
      real.push([object, name, object[name]]);
      object[name] = never;
    }
  };
  const held = [];
  const sockets = new Set();
  const app = uWS.App();
  app.get('/now', (res) => {
    res.end('now');
  });
  app.get('/later', (res) => {
    res.onAborted(() => {});
    held.push(res);
    parentPort.postMessage('held');
  });
  app.post('/body', (res) => {
    res.onAborted(() => {});
    res.onData((chunk, last) => last && res.end('read'));
  });
  app.post('/late-body', (res) => {
    res.onAborted(() => {});
    Promise.resolve().then(() => res.collectBody(100, (body) => res.end(`${body.byteLength}`)));
  });
  app.ws('/*', {
    open(ws) {
      sockets.add(ws);
      ws.subscribe('topic');
      ws.send('open');
    },
    message: (ws, message) => ws.send(message),
    close: (ws) => sockets.delete(ws),
  });
  const acts = {
    fake() {
      const names = ['setImmediate', 'setTimeout', 'setInterval', 'queueMicrotask', 'clearImmediate'];
      fake(globalThis, names);
      fake(timers, ['setImmediate', 'setTimeout', 'setInterval', 'clearImmediate']);
      fake(process, ['nextTick']);
    },
    restore() {
      for (const [object, name, value] of real) object[name] = value;
    },
    answer: () => held.splice(0).forEach((res) => res.end('later')),
    publish: () => app.publish('topic', 'published'),
    end: () => sockets.forEach((ws) => ws.end(1000)),
    close: () => app.close(),
  };
  parentPort.on('message', (name) => {
    acts[name]();
    parentPort.postMessage(name);
  });
  app.listen(0, (token) => parentPort.postMessage({ port: uWS.us_socket_local_port(token) }));
}

async function server(t) {
  const worker = new Worker(`(${faked})()`, { eval: true, workerData: SUPPORT });
  t.after(() => worker.terminate());
  const queue = [];
  let wake = () => {};
  worker.on('message', (message) => {
    queue.push(message);
    wake();
  });
  const next = async (wanted) => {
    for (;;) {
      const at = queue.findIndex((each) => wanted(each));
      if (at >= 0) return queue.splice(at, 1)[0];
      await new Promise((resolve) => (wake = resolve));
    }
  };
  const act = async (name) => {
    worker.postMessage(name);
    await next((message) => message === name);
  };
  const held = () => next((message) => message === 'held');
  const { port } = await next((message) => message.port);
  return { port, act, held };
}

/** Uses everything that depends on a deferred call. */
async function works({ port, act, held }) {
  const peer = await Peer.connect(port);
  const socket = await WsPeer.open(port, '/');
  assert.equal(await socket.message(), 'open');
  assert.equal((await peer.request(get('/now'))).body, 'now');
  await peer.send(get('/later'));
  await held();
  await act('answer');
  assert.equal((await peer.response()).body, 'later');
  await socket.text('echo');
  assert.equal(await socket.message(), 'echo');
  await act('publish');
  assert.equal(await socket.message(), 'published');
  assert.equal((await peer.request(post('/body', 'abc'))).body, 'read');
  assert.equal((await peer.request(post('/late-body', 'abc'))).body, '3');
  await peer.send(post('/late-body', 'ab', []).replace('\r\n\r\nab', '\r\n\r\n'));
  await peer.send('ab');
  assert.equal((await peer.response()).body, '2');
  // A pipeline behind a request that is answered outside of an event.
  await peer.send(get('/later') + get('/now') + get('/later') + get('/now'));
  for (let i = 0; i < 2; i++) {
    await held();
    await act('answer');
    assert.equal((await peer.response()).body, 'later');
    assert.equal((await peer.response()).body, 'now');
  }
  await act('end');
  assert.equal((await socket.frame()).code, 1000);
  peer.destroy();
  socket.destroy();
}

it('with faked timers, and after they are restored', async (t) => {
  const running = await server(t);
  await works(running);
  await running.act('fake');
  await works(running);
  await works(running);
  await running.act('restore');
  await works(running);
});

it('faked before the first connection, and while the app closes', async (t) => {
  const running = await server(t);
  await running.act('fake');
  await works(running);
  const peer = await Peer.connect(running.port);
  await running.act('close');
  await peer.gone();
  peer.destroy();
  await running.act('restore');
});
