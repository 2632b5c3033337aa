'use strict';
// Node's nextTick and microtask queues are drained after each handler call, before the next handler runs.
const {
  it,
  assert,
  serve,
  Events,
  get,
  post,
  frame,
  upgradeRequest,
  uWS,
  WsPeer,
  turn,
} = require('../support');

/** Queues a tick and a promise chain that log themselves. */
function queues(log, label) {
  Promise.resolve()
    .then(() => {
      log.push(`${label} promise`);
      return null;
    })
    .then(() => {
      log.push(`${label} promise 2`);
    });
  process.nextTick(() => {
    log.push(`${label} tick`);
    process.nextTick(() => {
      log.push(`${label} tick 2`);
    });
  });
  queueMicrotask(() => {
    log.push(`${label} microtask`);
  });
}
const drained = (label) => [
  `${label} tick`,
  `${label} tick 2`,
  `${label} promise`,
  `${label} microtask`,
  `${label} promise 2`,
];
const sorted = (list) => [...list].sort();

/** The log must be blocks of [label, …everything it queued], one after the other. */
function assertBlocks(list, labels) {
  assert.equal(list.length, labels.length * 6, list.join());
  labels.forEach((label, i) => {
    const block = list.slice(i * 6, i * 6 + 6);
    assert.equal(block[0], label);
    assert.deepEqual(sorted(block.slice(1)), sorted(drained(label)));
  });
}

it('messages that came in one segment', async (t) => {
  const log = new Events();
  const server = serve(t, (app) =>
    app.ws('/*', {
      message(ws, message) {
        const label = Buffer.from(message).toString();
        log.push(label);
        queues(log, label);
      },
    }),
  );
  const peer = await server.ws('/');
  await peer.send(Buffer.concat(['a', 'b', 'c'].map((payload) => frame({ payload }))));
  assertBlocks(await log.count(18), ['a', 'b', 'c']);
});

it('ticks run before promises', async (t) => {
  const log = new Events();
  const server = serve(t, (app) =>
    app.ws('/*', {
      message(ws, message) {
        queues(log, Buffer.from(message).toString());
      },
    }),
  );
  const peer = await server.ws('/');
  await peer.text('x');
  assert.deepEqual(await log.count(5), drained('x'));
});

it('pipelined requests', async (t) => {
  const log = new Events();
  const server = serve(t, (app) =>
    app.get('/*', (res, req) => {
      const label = req.getUrl();
      log.push(label);
      queues(log, label);
      res.end();
    }),
  );
  const peer = await server.connect();
  await peer.send(get('/a') + get('/b') + get('/c'));
  assertBlocks(await log.count(18), ['/a', '/b', '/c']);
});

it('a request handler and its onData', async (t) => {
  const log = new Events();
  const server = serve(t, (app) =>
    app.post('/*', (res) => {
      res.onAborted(() => {});
      log.push('handler');
      queues(log, 'handler');
      res.onData((chunk, last) => {
        log.push('data');
        queues(log, 'data');
        if (last) res.end();
      });
    }),
  );
  await (await server.connect()).request(post('/', 'x'));
  assertBlocks(await log.count(12), ['handler', 'data']);
});

it('open, message, ping, pong and close of one segment', async (t) => {
  const log = new Events();
  const step = (label) => {
    log.push(label);
    queues(log, label);
  };
  const server = serve(t, (app) =>
    app.ws('/*', {
      open: () => step('open'),
      message: () => step('message'),
      ping: () => step('ping'),
      pong: () => step('pong'),
      close: () => step('close'),
    }),
  );
  const peer = await server.ws('/');
  await log.count(6);
  await peer.send(
    Buffer.concat([
      frame({ payload: 'x' }),
      frame({ opcode: 9 }),
      frame({ opcode: 10 }),
      frame({ opcode: 8 }),
    ]),
  );
  assertBlocks(await log.count(30), ['open', 'message', 'ping', 'pong', 'close']);
});

it('messages of several sockets', async (t) => {
  const log = new Events();
  const server = serve(t, (app) =>
    app.ws('/*', {
      message(ws, message) {
        const label = Buffer.from(message).toString();
        log.push(label);
        queues(log, label);
      },
    }),
  );
  const peers = [await server.ws('/'), await server.ws('/'), await server.ws('/')];
  await Promise.all(peers.map((peer, i) => peer.text(`p${i}`)));
  const list = await log.count(18);
  assertBlocks(
    list,
    [0, 6, 12].map((at) => list[at]),
  );
});

it('an async handler goes on between two messages of one segment', async (t) => {
  const log = new Events();
  const server = serve(t, (app) =>
    app.ws('/*', {
      async message(ws, message) {
        const label = Buffer.from(message).toString();
        log.push(`${label} 1`);
        await null;
        log.push(`${label} 2`);
        await null;
        log.push(`${label} 3`);
      },
    }),
  );
  const peer = await server.ws('/');
  await peer.send(Buffer.concat(['a', 'b'].map((payload) => frame({ payload }))));
  assert.deepEqual(await log.count(6), ['a 1', 'a 2', 'a 3', 'b 1', 'b 2', 'b 3']);
});

it('handlers that run synchronously inside a call do not drain: the caller goes on first', async (t) => {
  const log = new Events();
  const server = serve(t, (app) =>
    app.ws('/*', {
      message(ws) {
        ws.subscribe('x');
        log.push('after subscribe');
        ws.close();
        log.push('after close');
      },
      subscription() {
        log.push('subscription');
      },
      close() {
        log.push('close');
      },
    }),
  );
  const peer = await server.ws('/');
  await peer.text('x');
  await log.count(4);
  assert.deepEqual(
    log.list.filter((label) => label !== 'subscription'),
    ['after subscribe', 'close', 'after close'],
  );
  assert.equal(log.list[0], 'subscription');
});

it('setImmediate callbacks get their turn while messages keep coming', async (t) => {
  const count = 40000;
  let handled = 0;
  let seen;
  const server = serve(t, (app) =>
    app.ws('/*', {
      message(ws) {
        handled++;
        if (handled === 1)
          setImmediate(() => {
            seen = handled;
          });
        if (handled === count) ws.send('all');
      },
    }),
  );
  const peer = await server.ws('/');
  await peer.send(Buffer.concat(Array.from({ length: count }, () => frame({ payload: 'x'.repeat(100) }))));
  assert.equal(await peer.message(), 'all');
  assert.ok(seen < count, `${seen} of ${count}`);
});

it('promises of the listen callback run after the caller', async () => {
  const log = [];
  const app = uWS.App();
  app.listen(0, (token) => {
    log.push('listen');
    Promise.resolve().then(() => {
      log.push('promise');
    });
    uWS.us_listen_socket_close(token);
  });
  log.push('after');
  await turn();
  assert.ok(log.indexOf('listen') < log.indexOf('after'));
  assert.ok(log.includes('promise'));
});

it('the upgrade handler drains before open of the next socket', async (t) => {
  const log = new Events();
  const server = serve(t, (app) =>
    app.ws('/*', {
      upgrade(res, req, context) {
        log.push('upgrade');
        res.upgrade({}, req.getHeader('sec-websocket-key'), '', '', context);
        log.push('upgraded');
        Promise.resolve().then(() => {
          log.push('promise');
        });
      },
      open() {
        log.push('open');
      },
      message() {
        log.push('message');
      },
    }),
  );
  const peer = await WsPeer.connect(server.port, { track: (found) => server.peers.add(found) });
  await peer.send(upgradeRequest('/'));
  await peer.head();
  await peer.text('x');
  assert.deepEqual(await log.count(5), ['upgrade', 'open', 'upgraded', 'promise', 'message']);
});
