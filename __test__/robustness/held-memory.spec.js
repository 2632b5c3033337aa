'use strict';
// A connection may make the server hold memory for as long as it likes, but only in proportion to what it has
// sent.

const { it, assert, serve, until, get, post, frame, upgradeRequest, WsPeer } = require('../support');
const { Program } = require('./program');

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
    // The last read of it leaves a byte again.
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
  // Once there is a response the connection is served like the others.
  const peer = await server.connect();
  await peer.send(behind.subarray(get('/pending').length));
  for (let i = 0; i < 2; i++) assert.equal((await peer.response()).body, 'x');
});

it('of a body without a reader only one read is held', { timeout: 60000 }, async (t) => {
  let asked = 0;
  const server = serve(t, (app) => {
    app.post('/*', (res) => {
      asked++;
      res.onAborted(() => {});
    });
  });
  const bytes = Buffer.from(post('/', 'x'.repeat(1 << 20)));
  const grown = await growth(
    server,
    () => server.connect(),
    async (peer) => {
      const had = asked;
      peer.socket.write(bytes);
      await until(() => asked !== had);
    },
  );
  assert.ok(grown < 70, `${grown} MiB for ${COUNT} connections`);
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

it('publishes do not pile up for all subscribers together', { timeout: 60000 }, async (t) => {
  const program = Program.start(t, ({ listening }) => {
    const peak = () =>
      +/VmHWM:\s+(\d+)/.exec(require('fs').readFileSync('/proc/self/status', 'utf8'))[1] / 1024;
    let open = 0;
    const server = listening((app) =>
      app.ws('/*', {
        idleTimeout: 0,
        maxBackpressure: 0,
        open: (ws) => {
          ws.subscribe('all');
          if (++open === 1000) console.log('ready ');
        },
        message(ws, message) {
          const size = Number(Buffer.from(message));
          const before = [process.memoryUsage.rss() / 2 ** 20, peak()];
          // All of them are executed in few turns.
          for (let i = 0; i < 40; i++) app.publish('all', Buffer.alloc(size, i), true);
          setTimeout(() => {
            const now = [process.memoryUsage.rss() / 2 ** 20, peak()];
            console.log(`grew${size} ${Math.round(now[0] - before[0])} ${Math.round(now[1] - before[1])}`);
          }, 2000);
        },
      }),
    );
    console.log(`port ${server.port}`);
  });
  const port = Number(await program.said('port'));
  let received = 0;
  const readers = [];
  for (let i = 0; i < 1000; i++) {
    const peer = await WsPeer.open(port, '/');
    peer.socket.removeAllListeners('data');
    peer.socket.on('data', (data) => (received += data.length));
    readers.push(peer);
  }
  await program.said('ready');
  for (const size of [7900, 600]) {
    received = 0;
    await readers[0].text(`${size}`);
    await until(() => received >= 1000 * 40 * size, 30000);
    const [kept, most] = (await program.said(`grew${size}`)).split(' ').map(Number);
    // Copies would take 300 MiB.
    assert.ok(kept < 60 && most < 100, `${size}: ${most} MiB at most, ${kept} MiB kept`);
  }
});
