'use strict';
// A client has the answer to its handshake when the `open` handler has run, and not before: it may ask for a
// publish by any way then, also through another thread or process, and gets it. Where there is neither an
// `upgrade` nor an `open` handler the loop answers by itself.

const { Worker } = require('node:worker_threads');
const { assert, it, modulePath, Peer, WsPeer, upgradeRequest } = require('../support');

/** A server that can be blocked, and that publishes when it is told by its port. */
const SERVER = `
const { parentPort, workerData } = require('node:worker_threads');
const uWS = require(workerData.path);
const app = uWS.App();
const upgrade = (res, req, context) =>
  res.upgrade({}, req.getHeader('sec-websocket-key'), '', '', context);
app.ws('/both', { upgrade, open: (ws) => ws.subscribe('all') });
app.ws('/open', { open: (ws) => ws.subscribe('all') });
app.ws('/none', { message: (ws, message) => ws.send(message) });
parentPort.on('message', (milliseconds) => {
  if (milliseconds === 0) return app.publish('all', 'hello');
  parentPort.postMessage('blocked');
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
  parentPort.postMessage('awake');
});
app.listen('127.0.0.1', 0, (token) => parentPort.postMessage(uWS.us_socket_local_port(token)));
`;

async function begin(t) {
  const thread = new Worker(SERVER, { eval: true, workerData: { path: modulePath() } });
  t.after(() => thread.terminate());
  const next = () => new Promise((resolve) => thread.once('message', resolve));
  return { thread, next, port: await next() };
}

for (const path of ['/both', '/open']) {
  it(`the answer to a handshake follows the open handler: ${path}`, async (t) => {
    const { thread, next, port } = await begin(t);
    const peer = await Peer.connect(port, { tls: false });
    thread.postMessage(1500);
    assert.equal(await next(), 'blocked');
    let isAwake = false;
    next().then(() => (isAwake = true));
    await peer.send(upgradeRequest(path));
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert.ok(!isAwake);
    assert.equal(peer.size, 0, 'no answer while JavaScript cannot have called the handler');
    assert.equal((await peer.head()).code, 101);
    peer.destroy();
  });

  it(`a publish by another way reaches a client that has its answer: ${path}`, async (t) => {
    const { thread, port } = await begin(t);
    for (let round = 0; round < 200; round++) {
      const peer = await WsPeer.open(port, path, { tls: false });
      thread.postMessage(0);
      assert.equal(await peer.message(), 'hello');
      peer.destroy();
    }
  });
}

it('without an upgrade or an open handler the loop answers while JavaScript is busy', async (t) => {
  const { thread, next, port } = await begin(t);
  thread.postMessage(1000);
  assert.equal(await next(), 'blocked');
  let isAwake = false;
  next().then(() => (isAwake = true));
  const peer = await WsPeer.open(port, '/none', { tls: false });
  assert.ok(!isAwake, 'it was answered meanwhile');
  await peer.text('later');
  assert.equal(await peer.message(), 'later');
  peer.destroy();
});
