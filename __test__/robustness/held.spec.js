'use strict';
// What a connection may make the server hold for as long as it likes is in proportion to what it has to say.

const { it, assert, serve, until, get, post, frame, upgradeRequest } = require('../support');

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const COUNT = 500;

async function rss() {
  await wait(50);
  globalThis.gc?.();
  return process.memoryUsage.rss() / 2 ** 20;
}

/** Resolves with the growth of the resident set by `COUNT` connections that each do this. */
async function growth(server, connect, act) {
  const peers = [];
  for (let i = 0; i < COUNT; i++) {
    peers.push(await connect());
    if (i % 100 === 99) await wait(1);
  }
  const before = await rss();
  for (const peer of peers) await act(peer);
  await wait(300);
  return (await rss()) - before;
}

it(
  'a byte of a frame to come does not keep the memory of what came before it',
  { timeout: 60000 },
  async (t) => {
    let messages = 0;
    const server = serve(t, (app) => {
      app.ws('/*', { maxPayloadLength: 1 << 20, idleTimeout: 0, message: () => messages++ });
    });
    const large = frame({ payload: Buffer.alloc(110000, 'l') });
    const first = large.subarray(0, 1);
    const rest = Buffer.concat([large.subarray(1), first]);
    // The last one leaves a byte again.
    const grown = await growth(
      server,
      () => server.ws('/'),
      async (peer) => {
        const had = messages;
        await peer.send(first);
        await wait(1);
        await peer.send(rest);
        await until(() => messages !== had);
      },
    );
    assert.equal(messages, COUNT);
    assert.ok(grown < 25, `${grown} MiB for ${COUNT} bytes`);
  },
);

it('requests behind a pending response are left to the kernel', { timeout: 60000 }, async (t) => {
  let pending = 0;
  const server = serve(t, (app) => {
    app.get('/pending', (res) => {
      pending++;
      res.onAborted(() => {});
    });
    app.post('/*', (res) => res.end('x'));
  });
  const behind = Buffer.from(get('/pending') + post('/', 'x'.repeat(40000)) + post('/', 'y'.repeat(60000)));
  const grown = await growth(
    server,
    () => server.connect(),
    async (peer) => {
      const had = pending;
      await peer.send(behind);
      await until(() => pending !== had);
    },
  );
  assert.ok(grown < 25, `${grown} MiB for ${COUNT} connections`);
  // And served once there is a response: a connection like the others.
  const peer = await server.connect();
  await peer.send(behind.subarray(get('/pending').length));
  for (let i = 0; i < 2; i++) assert.equal((await peer.response()).body, 'x');
});

it('frames behind an upgrade that is still to come are left to the kernel', { timeout: 60000 }, async (t) => {
  let asked = 0;
  const server = serve(t, (app) => {
    app.ws('/*', {
      upgrade(res) {
        asked++;
        res.onAborted(() => {});
      },
    });
  });
  const bytes = Buffer.concat([
    Buffer.from(upgradeRequest('/')),
    frame({ payload: Buffer.alloc(110000, 'l') }),
  ]);
  const grown = await growth(
    server,
    () => server.connect(),
    async (peer) => {
      const had = asked;
      await peer.send(bytes);
      await until(() => asked !== had);
    },
  );
  assert.ok(grown < 25, `${grown} MiB for ${COUNT} connections`);
});
