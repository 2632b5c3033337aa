'use strict';
// maxConnections and maxConnectionsPerAddress: at the limit, beyond it, and back below it.

const { Worker } = require('node:worker_threads');
const {
  both,
  it,
  assert,
  uWS,
  limited,
  blockable,
  sayHi,
  isRefused,
  kept,
  until,
  get,
  post,
} = require('./support');
const { Peer, routes } = require('./support');

both('connections beyond the limit are closed before anybody hears of them', async (t, tls) => {
  const filtered = [];
  const server = limited(
    t,
    { maxConnections: 3 },
    {
      tls,
      configure(app) {
        routes(app);
        app.filter((res, count) => filtered.push(count));
      },
    },
  );
  const peers = [];
  for (let i = 0; i < 3; i++) {
    peers.push(await server.connect());
    await sayHi(peers[i]);
  }
  for (let i = 0; i < 5; i++) assert.ok(await isRefused(server));
  assert.deepEqual(server.breaches(), { maxConnections: 5 });
  assert.deepEqual(filtered, [1, 1, 1]);
  for (const peer of peers) await sayHi(peer);
  peers.pop().destroy();
  await until(() => filtered.includes(-1));
  peers.push(await kept(server));
  for (const peer of peers) await sayHi(peer);
  for (const peer of peers) peer.destroy();
  await until(() => filtered.filter((count) => count === -1).length === 4);
  const again = await Promise.all([kept(server), kept(server), kept(server)]);
  for (const peer of again) await sayHi(peer);
});

both('connections beyond the limit are closed while JavaScript is blocked', async (t, tls) => {
  const server = await blockable(t, { maxConnections: 2 }, { tls });
  const peers = [await kept(server), await kept(server)];
  await server.whileBlocked(1500, async () => {
    for (let i = 0; i < 10; i++) assert.ok(await isRefused(server));
    peers.pop().destroy();
    // The place is free for another, although JavaScript has heard of nothing.
    await new Promise((resolve) => setTimeout(resolve, 100));
    peers.push(await server.connect());
    assert.ok(await isRefused(server));
  });
  for (const peer of peers) await sayHi(peer);
  assert.deepEqual(await server.breaches(), { maxConnections: 11 });
});

/** Whether this machine lets clients bind to other addresses of the loopback network. */
function connectFrom(server, localAddress) {
  return new Promise((resolve, reject) => {
    const socket = require('node:net').connect({ port: server.port, host: '127.0.0.1', localAddress });
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.removeListener('error', reject);
      const peer = new Peer(socket);
      server.peers.add(peer);
      resolve(peer);
    });
  });
}

it('each address has its share', async (t) => {
  const server = limited(t, { maxConnectionsPerAddress: 2 });
  const mine = [await kept(server), await kept(server)];
  assert.ok(await isRefused(server));
  const others = [await connectFrom(server, '127.0.0.2'), await connectFrom(server, '127.0.0.2')];
  for (const peer of [...mine, ...others]) await sayHi(peer);
  const third = await connectFrom(server, '127.0.0.2');
  await third.gone();
  assert.deepEqual(server.breaches(), { maxConnectionsPerAddress: 2 });
  mine[0].reset();
  await sayHi(await kept(server));
  for (const peer of others) await sayHi(peer);
});

it('IPv4 by a socket of IPv6 is IPv4, and Unix sockets have no address', async (t) => {
  const server = limited(t, { maxConnectionsPerAddress: 1 });
  // The listener is on all addresses, so the kernel tells this one as ::ffff:127.0.0.1.
  await kept(server);
  assert.ok(await isRefused(server));
  const path = `/tmp/uws-limits-${process.pid}.sock`;
  server.app.listen_unix((token) => assert.ok(token), path);
  t.after(() => require('node:fs').rmSync(path, { force: true }));
  const local = await Promise.all([1, 2, 3].map(() => Peer.connect(path, { tls: false })));
  for (const peer of local) {
    server.peers.add(peer);
    await sayHi(peer);
  }
});

both('a connection that became a WebSocket keeps its place until it ends', async (t, tls) => {
  const server = limited(
    t,
    { maxConnections: 1 },
    {
      tls,
      configure(app) {
        routes(app);
        app.ws('/*', {});
      },
    },
  );
  const ws = await server.ws('/');
  assert.ok(await isRefused(server));
  await ws.close(1000);
  assert.equal((await ws.frame()).code, 1000);
  ws.destroy();
  await sayHi(await kept(server));
});

both('app.close() gives all places back', async (t, tls) => {
  const server = limited(t, { maxConnections: 2 }, { tls });
  const peers = [await kept(server), await kept(server)];
  server.app.close();
  for (const peer of peers) await peer.gone();
  server.app.listen(server.port, (token) => assert.ok(token));
  await Promise.all([kept(server), kept(server)]);
  assert.ok(await isRefused(server));
});

it('connections that a child app serves count with the app that accepted them', async (t) => {
  const server = limited(t, { maxConnections: 2 });
  const thread = new Worker(
    `const { uWS } = require(${JSON.stringify(require.resolve('./support'))});
    const app = uWS.App();
    app.get('/hi', (res) => res.end('hi'));
    require('node:worker_threads').parentPort.on('message', () => {}).postMessage(app.getDescriptor());`,
    { eval: true, env: { ...process.env, UWS_TLS: '' } },
  );
  t.after(() => thread.terminate());
  const descriptor = await new Promise((resolve) => thread.once('message', resolve));
  server.app.addChildAppDescriptor(descriptor);
  const peers = [await kept(server), await kept(server)];
  assert.ok(await isRefused(server));
  peers[0].destroy();
  await kept(server);
  await thread.terminate();
  await peers[1].gone();
  // The child's connections ended with its thread.
  server.app.removeChildAppDescriptor(descriptor);
  await Promise.all([kept(server), kept(server)]);
  assert.ok(await isRefused(server));
});

it('a flood of connections costs those inside nothing', async (t) => {
  const server = limited(t, { maxConnections: 10 });
  const peers = await Promise.all(Array.from({ length: 10 }, () => kept(server)));
  for (let round = 0; round < 20; round++) {
    const flood = Array.from({ length: 50 }, () => isRefused(server));
    await Promise.all([...flood, ...peers.map(sayHi)]);
    assert.ok((await Promise.all(flood)).every(Boolean));
  }
  assert.deepEqual(server.breaches(), { maxConnections: 1000 });
  assert.equal((await peers[0].request(post('/', 'body'))).body, '4');
  assert.equal((await peers[1].request(get('/hi'))).body, 'hi');
  assert.equal(uWS.us_socket_local_port(server.token), server.port);
});
