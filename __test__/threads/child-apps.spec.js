'use strict';
// Child apps: connections accepted in one thread are served in others.

const { Worker } = require('node:worker_threads');
const { it, assert, uWS, ours, v57, serve, child, frame, get, Peer, WsPeer } = require('../support');

const SUPPORT = require.resolve('../support');
const needsChildren = (options = {}) => ({
  skip: ours || v57 ? false : '20.30 has no child apps',
  ...options,
});
const OURS = { skip: ours ? false : 'ending a thread with connections crashes the process there' };

/** A thread whose app never listens. It answers with its number, echoes, and streams on /slow. */
const SOURCE = `
const { parentPort, workerData } = require('node:worker_threads')
const { uWS } = require(workerData.support)
const name = String(workerData.number)
const app = uWS.App()
app.get('/slow', (res) => { res.onAborted(() => {}); res.write('begun'); setTimeout(() => res.end(name), 200) })
app.get('/address', (res) => { res.end(Buffer.from(res.getRemoteAddressAsText()).toString()) })
app.get('/*', (res) => { res.end(name) })
app.ws('/*', { open(ws) { ws.subscribe('t') }, message(ws, message) { ws.send(name + Buffer.from(message)); app.publish('t', 'published') } })
parentPort.on('message', (message) => { if (message === 'close') { app.close(); parentPort.close() } })
parentPort.postMessage(app.getDescriptor())
`;

async function start(number) {
  const thread = new Worker(SOURCE, { eval: true, workerData: { number, support: SUPPORT } });
  const descriptor = await new Promise((resolve, reject) => {
    thread.once('message', resolve);
    thread.once('error', reject);
  });
  const ended = new Promise((resolve) => {
    thread.once('exit', resolve);
  });
  return {
    thread,
    descriptor,
    ended,
    close: () => {
      thread.postMessage('close');
      return ended;
    },
  };
}

const acceptor = (t) =>
  serve(t, (app) =>
    app.get('/*', (res) => {
      res.end('acceptor');
    }),
  );

async function ask(server, path = '/') {
  const peer = await Peer.connect(server.port);
  const { body } = await peer.request(get(path));
  peer.destroy();
  return body;
}

async function answers(server, count) {
  const seen = {};
  for (let i = 0; i < count; i++) {
    const body = await ask(server);
    seen[body] = (seen[body] ?? 0) + 1;
  }
  return seen;
}

it('connections go round the children, which never listen', needsChildren(), async (t) => {
  const server = acceptor(t);
  assert.deepEqual(await answers(server, 3), { acceptor: 3 });
  const children = await Promise.all([1, 2, 3].map(start));
  for (const { descriptor } of children)
    assert.equal(server.app.addChildAppDescriptor(descriptor), server.app);
  assert.deepEqual(await answers(server, 9), { 1: 3, 2: 3, 3: 3 });
  assert.equal(server.app.removeChildAppDescriptor(children[1].descriptor), server.app);
  assert.deepEqual(await answers(server, 6), { 1: 3, 3: 3 });
  for (const { descriptor } of children) server.app.removeChildAppDescriptor(descriptor);
  assert.deepEqual(await answers(server, 3), { acceptor: 3 });
  await Promise.all(children.map(({ close }) => close()));
});

it('keep-alive, streams, addresses and WebSockets in a child', needsChildren(), async (t) => {
  const server = acceptor(t);
  const one = await start(1);
  server.app.addChildAppDescriptor(one.descriptor);
  const peer = await server.connect();
  for (let i = 0; i < 3; i++) assert.equal((await peer.request(get('/'))).body, '1');
  assert.equal((await peer.request(get('/slow'))).body, 'begun1');
  assert.match((await peer.request(get('/address'))).body, /127\.0\.0\.1|7f00:0001/);
  const sockets = [await WsPeer.open(server.port), await WsPeer.open(server.port)];
  await sockets[0].text('!');
  assert.deepEqual((await sockets[0].messages(2)).sort(), ['1!', 'published']);
  assert.equal(await sockets[1].message(), 'published');
  for (const each of [peer, ...sockets]) each.destroy();
  await one.close();
});

it('a child that has ended is passed over, with none left the acceptor serves', OURS, async (t) => {
  const server = acceptor(t);
  const children = await Promise.all([1, 2].map(start));
  for (const { descriptor } of children) server.app.addChildAppDescriptor(descriptor);
  const held = [];
  for (let i = 0; i < 4; i++) {
    const peer = await server.connect();
    await peer.request(get('/'));
    held.push(peer);
  }
  await children[0].thread.terminate();
  const gone = await Promise.race([
    Promise.all([held[0].gone(), held[2].gone()]).then(() => 0),
    Promise.all([held[1].gone(), held[3].gone()]).then(() => 1),
  ]);
  assert.ok(gone === 0 || gone === 1, 'the connections of the ended child are closed');
  assert.deepEqual(await answers(server, 4), { 2: 4 });
  const left = held.filter((peer) => peer.state === 'open');
  assert.equal(left.length, 2);
  for (const peer of left) assert.equal((await peer.request(get('/'))).body, '2');
  await children[1].thread.terminate();
  assert.deepEqual(await answers(server, 3), { acceptor: 3 });
  server.app.removeChildAppDescriptor(children[0].descriptor);
  const late = await start(3);
  server.app.addChildAppDescriptor(late.descriptor);
  assert.deepEqual(await answers(server, 3), { 3: 3 });
  await late.thread.terminate();
});

it('children are ended and replaced under load', { ...OURS, timeout: 60000 }, async (t) => {
  const server = acceptor(t);
  const children = await Promise.all([1, 2].map(start));
  for (const { descriptor } of children) server.app.addChildAppDescriptor(descriptor);
  const state = { over: false, answered: 0, cut: 0, heard: 0, closed: 0 };
  const sockets = Array.from({ length: 4 }, () => floods(server, state));
  const load = Array.from({ length: 8 }, async () => {
    while (!state.over) {
      const peer = await Peer.connect(server.port);
      try {
        for (let i = 0; i < 20 && !state.over; i++) {
          await peer.request(get('/'));
          state.answered++;
        }
      } catch {
        state.cut++;
      }
      peer.destroy();
    }
  });
  for (let round = 0; round < 8; round++) {
    const next = await start(10 + round);
    server.app.addChildAppDescriptor(next.descriptor);
    const old = children.shift();
    children.push(next);
    const [before, heard] = [state.answered, state.heard];
    if (round % 2) server.app.removeChildAppDescriptor(old.descriptor);
    await old.thread.terminate();
    while (state.answered < before + 200 || state.heard < heard + 200)
      await new Promise((resolve) => setTimeout(resolve, 5));
  }
  state.over = true;
  await Promise.all([...load, ...sockets]);
  assert.ok(state.answered >= 1600);
  assert.ok(state.closed >= 4, 'WebSockets were busy when their thread ended');
  for (const { thread } of children) await thread.terminate();
});

/**
 * A WebSocket with messages of all sizes under way in both directions; it is opened again when its thread has
 * ended.
 */
async function floods(server, state) {
  const batch = Buffer.concat(
    Array.from({ length: 20 }, (_, n) => frame({ payload: Buffer.alloc(n * 1000, 'm') })),
  );
  while (!state.over) {
    const socket = await WsPeer.open(server.port).catch(() => null);
    if (!socket) continue;
    const gone = socket.gone().then(() => state.closed++);
    // The data is discarded.
    socket.socket.removeAllListeners('data').on('data', () => state.heard++);
    while (!state.over && socket.state === 'open') {
      if (socket.socket.writableLength === 0) socket.socket.write(batch);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    socket.destroy();
    await gone;
  }
}

it('nonsense for a descriptor is an error', { skip: ours ? false : 'it crashes there' }, () => {
  const app = uWS.App();
  for (const bad of [undefined, null, 'x', -1, 1.5, {}])
    assert.throws(() => app.addChildAppDescriptor(bad), TypeError);
  assert.equal(app.removeChildAppDescriptor(123456789), app);
  assert.equal(app.getDescriptor(), app.getDescriptor());
});

it('a thread with nothing but connections of others lives until they end', OURS, async () => {
  const run = await child(
    async ({ listening, Peer: Client, get: head }, { source, support }) => {
      const threads = require('node:worker_threads');
      const server = listening((app) =>
        app.get('/*', (res) => {
          res.end('acceptor');
        }),
      );
      // The port for messages must not keep the thread alive.
      const thread = new threads.Worker(source.replace(/parentPort\.on\(.*/, ''), {
        eval: true,
        workerData: { number: 1, support },
      });
      const descriptor = await new Promise((resolve) => thread.once('message', resolve));
      server.app.addChildAppDescriptor(descriptor);
      console.log('exit', await new Promise((resolve) => thread.once('exit', resolve)));
      const peer = await Client.connect(server.port);
      console.log((await peer.request(head('/'))).body);
      process.exit(0);
    },
    { source: SOURCE, support: SUPPORT },
  );
  assert.equal(run.stdout, 'exit 0\nacceptor\n');
});
