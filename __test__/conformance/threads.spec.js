'use strict';
const { Worker, MessageChannel } = require('node:worker_threads');
const net = require('node:net');
const { it, assert, uWS, get, Peer, WsPeer, child, differs, aborted, serve, needs } = require('../support');

async function freePort() {
  const probe = net.createServer();
  await new Promise((resolve) => probe.listen(0, resolve));
  const { port } = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

/** A worker whose app answers with its number; it closes its app on 'close'. */
const SOURCE = `
const { parentPort, workerData } = require('node:worker_threads')
const { uWS } = require(workerData.support)
const name = 'w' + workerData.number
const app = uWS.App()
app.get('/*', (res) => { res.end(name) }).ws('/*', {
  open(ws) { ws.subscribe('x') },
  message(ws, message) { if (Buffer.from(message).toString() === 'publish') app.publish('x', 'by ' + name); else ws.send(name) },
})
app.listen(workerData.port, (token) => { parentPort.postMessage(token ? uWS.us_socket_local_port(token) : 0) })
parentPort.on('message', (message) => {
  if (message === 'close') { app.close(); parentPort.close() }
  if (message === 'exit') process.exit(3)
})`;

async function worker(number, port = 0) {
  const thread = new Worker(SOURCE, {
    eval: true,
    workerData: { number, port, support: require.resolve('../support') },
  });
  const bound = await new Promise((resolve, reject) => {
    thread.once('message', resolve);
    thread.once('error', reject);
  });
  const exit = new Promise((resolve) => {
    thread.once('exit', resolve);
  });
  return {
    thread,
    port: bound,
    close: () => {
      thread.postMessage('close');
      return exit;
    },
  };
}
async function ask(port) {
  const peer = await Peer.connect(port);
  const { body } = await peer.request(get('/'));
  peer.destroy();
  return body;
}

it('the module loads in several workers at once, each with its own app', async () => {
  const workers = await Promise.all([1, 2, 3, 4].map((number) => worker(number)));
  assert.equal(new Set(workers.map(({ port }) => port)).size, 4);
  assert.deepEqual(await Promise.all(workers.map(({ port }) => ask(port))), ['w1', 'w2', 'w3', 'w4']);
  assert.deepEqual(await Promise.all(workers.map(({ close }) => close())), [0, 0, 0, 0]);
});

it('main thread and worker serve side by side; the main thread goes on after the worker', async (t) => {
  const server = serve(t, (app) =>
    app.get('/*', (res) => {
      res.end('main');
    }),
  );
  const one = await worker(1);
  const kept = await server.connect();
  assert.deepEqual([await ask(server.port), await ask(one.port)], ['main', 'w1']);
  await one.close();
  assert.equal(await ask(server.port), 'main');
  assert.equal((await kept.request(get('/'))).body, 'main');
  await assert.rejects(Peer.connect(one.port));
});

it('workers share one port, the kernel spreads the connections', async () => {
  const port = await freePort();
  const workers = await Promise.all([1, 2].map((number) => worker(number, port)));
  assert.deepEqual(
    workers.map((one) => one.port),
    [port, port],
  );
  const seen = new Set();
  for (let i = 0; i < 200 && seen.size < 2; i++) seen.add(await ask(port));
  assert.deepEqual([...seen].sort(), ['w1', 'w2']);
  await workers[0].close();
  for (let i = 0; i < 10; i++) assert.equal(await ask(port), 'w2');
  await workers[1].close();
});

it('WebSockets in workers; topics are per app', async () => {
  const workers = await Promise.all([1, 2].map((number) => worker(number)));
  const peers = await Promise.all(workers.map(({ port }) => WsPeer.open(port)));
  await peers[0].text('publish');
  assert.equal(await peers[0].message(), 'by w1');
  await peers[1].text('?');
  assert.equal(await peers[1].message(), 'w2');
  await Promise.all(workers.map(({ close }) => close()));
  for (const peer of peers) {
    await peer.gone();
    peer.destroy();
  }
});

it('a worker may come and go many times', { timeout: 30000 }, async () => {
  for (let i = 0; i < 8; i++) {
    const one = await worker(i);
    assert.equal(await ask(one.port), `w${i}`);
    assert.equal(await one.close(), 0);
  }
});

for (const [name, stop] of [
  ['worker.terminate', 'terminate'],
  ['process.exit in a worker', 'exit'],
]) {
  it(`${name} with open sockets closes them and leaves the other threads alone`, async () => {
    const run = await child(
      async ({ Peer: Client, WsPeer: Socket, get: head, listening }, { source, support, how }) => {
        const threads = require('node:worker_threads');
        const server = listening((app) =>
          app.get('/*', (res) => {
            res.end('main');
          }),
        );
        const thread = new threads.Worker(source, {
          eval: true,
          workerData: { number: 1, port: 0, support },
        });
        const port = await new Promise((resolve) => thread.once('message', resolve));
        const socket = await Socket.open(port);
        const plain = await Client.connect(port);
        console.log((await plain.request(head('/'))).body);
        if (how === 'terminate') await thread.terminate();
        else {
          thread.postMessage('exit');
          await new Promise((resolve) => thread.once('exit', resolve));
        }
        await Promise.all([socket.gone(), plain.gone()]);
        console.log((await (await server.connect()).request(head('/'))).body);
        process.exit(0);
      },
      { source: SOURCE, support: require.resolve('../support'), how: stop },
    );
    if (differs('worker-exit', { original: 'aborts', ours: 'closes' }) === 'aborts') {
      assert.match(run.stdout, /^w1\n/);
      return assert.ok(aborted(run) || run.hung, JSON.stringify(run));
    }
    assert.deepEqual([run.stdout, run.code], ['w1\nmain\n', 0]);
  });
}

it('the main thread may exit while workers listen', async () => {
  const run = await child(
    async (support, { source, path }) => {
      const threads = require('node:worker_threads');
      for (let number = 0; number < 3; number++) {
        const thread = new threads.Worker(source, {
          eval: true,
          workerData: { number, port: 0, support: path },
        });
        await new Promise((resolve) => thread.once('message', resolve));
      }
      console.log('up');
      process.exit(4);
    },
    { source: SOURCE, path: require.resolve('../support') },
  );
  assert.equal(run.stdout, 'up\n');
  if (differs('worker-exit', { original: 'aborts', ours: 'exits' }) === 'exits')
    assert.deepEqual([run.code, run.signal], [4, null]);
});

it('the key-value helpers are shared by all threads', async () => {
  const key = `t${process.pid}`;
  uWS.setInteger(key, 40, 'threads');
  const thread = new Worker(
    `
    const { workerData } = require('node:worker_threads')
    const { uWS } = require(workerData.support)
    uWS.incInteger(workerData.key, 2, 'threads')
    uWS.setString(workerData.key, 'from the worker', 'threads')`,
    { eval: true, workerData: { key, support: require.resolve('../support') } },
  );
  await new Promise((resolve) => thread.once('exit', resolve));
  assert.equal(uWS.getInteger(key, 'threads'), 42);
  assert.equal(Buffer.from(uWS.getString(key, 'threads')).toString(), 'from the worker');
});

it(
  'a descriptor crosses postMessage',
  needs('getDescriptor', typeof uWS.App().getDescriptor === 'function'),
  async () => {
    const { port1, port2 } = new MessageChannel();
    const app = uWS.App();
    const arrived = new Promise((resolve) => {
      port2.once('message', resolve);
    });
    port1.postMessage(app.getDescriptor());
    assert.notEqual(await arrived, undefined);
    port1.close();
  },
);
