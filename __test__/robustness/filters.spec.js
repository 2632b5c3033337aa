'use strict';
// The response that a filter is given, used at any time: it is no response to a request of its connection.

const { it, assert, serve, get, post, until, upgradeRequest } = require('../support');

/** A server whose filter keeps the response of each connection that is accepted. */
function keeping(t, configure) {
  const kept = [];
  const server = serve(t, (app) => {
    app.filter((res, count) => {
      if (count === 1) kept.push(res);
    });
    configure(app, kept);
  });
  return Object.assign(server, { kept });
}

/** Calls that answer a request, made with the response of a filter. */
const ANSWERS = {
  end: (res) => res.end('of the filter'),
  'end and close': (res) => res.end('of the filter', true),
  endWithoutBody: (res) => res.endWithoutBody(3),
  write: (res) => res.write('of the filter'),
  beginWrite: (res) => res.beginWrite(),
  tryEnd: (res) => res.tryEnd('of the filter', 100),
  'tryEnd of all': (res) => res.tryEnd('of the filter', 13),
};

for (const [name, answer] of Object.entries(ANSWERS)) {
  it(`${name} of a filter's response sends nothing, and each request has its own answer`, async (t) => {
    let aborts = 0;
    const server = keeping(t, (app, kept) =>
      app
        .get('/', (res) => {
          answer(kept.at(-1));
          res.end('of the route');
        })
        .get('/open', (res) => {
          res.onAborted(() => aborts++);
        }),
    );
    const peer = await server.connect();
    const { code, body } = await peer.request(get('/'));
    assert.deepEqual([code, String(body)], [200, 'of the route']);
    await peer.send(get('/open'));
    peer.destroy();
    await until(() => aborts === 1);
    assert.equal(String((await server.once(get('/'))).body), 'of the route', 'the slot may be used again');
  });
}

it("pause of a filter's response does not hold back a body", async (t) => {
  const server = keeping(t, (app, kept) =>
    app.post('/', (res) => {
      res
        .onAborted(() => {})
        .onData((chunk, last) => {
          kept.at(-1).pause();
          if (last) res.end('all');
        });
    }),
  );
  assert.equal(String((await server.once(post('/', 'x'.repeat(4 << 20)))).body), 'all');
});

it("a filter's response cannot be upgraded", async (t) => {
  let thrown;
  const server = keeping(t, (app, kept) =>
    app.ws('/', {
      upgrade(res, req, context) {
        try {
          kept.at(-1).upgrade({}, req.getHeader('sec-websocket-key'), '', '', context);
        } catch (error) {
          thrown = error;
        }
        res.end('no upgrade');
      },
    }),
  );
  const { body } = await server.once(upgradeRequest('/'));
  assert.equal(String(body), 'no upgrade');
  assert.match(thrown.message, /filter/);
});

it("close of a filter's response ends the object of its connection, once", async (t) => {
  const ends = [];
  let [isOpen, asked] = [false, false];
  const server = keeping(t, (app) =>
    app
      .ws('/ws', { open: () => (isOpen = true), close: (ws, code) => ends.push(code) })
      .get('/open', (res) => {
        asked = true;
        res.onAborted(() => ends.push('aborted'));
      })
      .get('/', (res) => {
        res.end('alive');
      }),
  );
  const socket = await server.ws('/ws');
  // The loop upgrades by itself, so the client may know of it before this thread does.
  await until(() => isOpen);
  server.kept[0].close();
  assert.deepEqual(ends, [1006]);
  await socket.gone();
  const peer = await server.connect();
  await peer.send(get('/open'));
  await until(() => asked);
  server.kept[1].close();
  await peer.gone();
  assert.deepEqual(ends, [1006, 'aborted']);
  for (let n = 0; n < 3; n++) assert.equal(String((await server.once(get('/'))).body), 'alive');
});

it('a filter that closes a connection prevents its upgrade by the loop', async (t) => {
  const [opened, closed] = [[], []];
  const server = serve(t, (app) =>
    app
      .filter((res, count) => {
        if (count !== 1) return;
        // The loop has time to read the request and to upgrade.
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50);
        res.close();
      })
      .ws('/', { open: (ws) => opened.push(ws), close: (ws) => closed.push(ws) }),
  );
  const { Worker } = require('node:worker_threads');
  // The client is in another thread, since the filter blocks this one.
  const client = new Worker(
    `const net = require('node:net');
     const { port, text } = require('node:worker_threads').workerData;
     const socket = net.connect(port, '127.0.0.1', () => socket.write(text));
     socket.on('error', () => {}).resume();`,
    { eval: true, workerData: { port: server.port, text: upgradeRequest('/') } },
  );
  await new Promise((resolve) => client.on('exit', resolve));
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.deepEqual([opened.length, closed.length], [0, 0]);
});
