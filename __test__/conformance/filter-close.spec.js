'use strict';
const { Worker } = require('node:worker_threads');
const {
  it,
  assert,
  serve,
  uWS,
  get,
  Events,
  Peer,
  text,
  differs,
  v30,
  turn,
  post,
  named,
  ours,
  until,
  upgradeRequest,
  ERRORS,
} = require('../support');

const filtered = { skip: v30 ? '20.30 has no filter' : false };
function counting(t, configure = () => {}) {
  const counts = new Events();
  const server = serve(t, (app) => {
    app.filter((res, count) => {
      counts.push(count);
    });
    app.get('/*', (res) => {
      res.end('x');
    });
    configure(app);
  });
  return Object.assign(server, { counts });
}

it('filter returns the app', filtered, () => {
  const app = uWS.App();
  assert.equal(
    app.filter(() => {}),
    app,
  );
});

it('filter: 1 when a connection is accepted, before its requests; -1 when it closes', filtered, async (t) => {
  const order = new Events();
  const server = serve(t, (app) =>
    app
      .filter((res, count) => {
        order.push(count);
      })
      .get('/*', (res) => {
        order.push('request');
        res.end();
      }),
  );
  const peer = await server.connect();
  await order.count(1);
  await peer.request(get('/'));
  await peer.request(get('/'));
  peer.destroy();
  await order.count(4);
  assert.deepEqual(order.list, [1, 'request', 'request', -1]);
});

it('filter counts the connections of all listen sockets', filtered, async (t) => {
  const { app, counts, connect } = counting(t);
  let port;
  app.listen(0, (token) => {
    port = uWS.us_socket_local_port(token);
  });
  const a = await connect();
  const b = await Peer.connect(port);
  await counts.count(2);
  a.destroy();
  b.destroy();
  assert.deepEqual(await counts.count(4), [1, 1, -1, -1]);
});

it('filter gets a response that knows the address', filtered, async (t) => {
  const seen = new Events();
  const server = serve(t, (app) =>
    app
      .filter((res, count) => {
        if (count === 1) seen.push([res.constructor.name, text(res.getRemoteAddressAsText())]);
      })
      .get('/*', (res) => {
        res.end();
      }),
  );
  await server.connect();
  assert.deepEqual(await seen.count(1), [[named('HttpResponse'), '0000:0000:0000:0000:0000:ffff:7f00:0001']]);
});

it('several filters all run', filtered, async (t) => {
  const seen = new Events();
  const server = serve(t, (app) =>
    app
      .filter(() => {
        seen.push('a');
      })
      .filter(() => {
        seen.push('b');
      })
      .get('/*', (res) => {
        res.end();
      }),
  );
  await server.connect();
  assert.deepEqual(await seen.count(2), ['a', 'b']);
});

it('filter and a connection that was upgraded', filtered, async (t) => {
  const closed = new Events();
  const { counts, ws, once } = counting(t, (app) =>
    app.ws('/ws', {
      close() {
        closed.push(1);
      },
    }),
  );
  const peer = await ws('/ws');
  await counts.count(1);
  peer.destroy();
  await closed.count(1);
  const expected = differs('filter-upgraded', { original: [1], ours: [1, -1] });
  await counts.count(expected.length);
  await once(get('/')); // accepted after the close was seen
  await counts.when((list) => list.filter((count) => count === 1).length === 2);
  const before = counts.list.slice(0, counts.list.lastIndexOf(1));
  assert.deepEqual(before, expected);
});

it('filter runs for a connection that never sends anything', filtered, async (t) => {
  const { counts, connect } = counting(t);
  const peer = await connect();
  await counts.count(1);
  peer.reset();
  assert.deepEqual(await counts.count(2), [1, -1]);
});

it('close returns the app', () => {
  const app = uWS.App();
  assert.equal(app.close(), app);
});

it('close ends the listen sockets', async (t) => {
  const server = serve(t, (app) =>
    app.get('/*', (res) => {
      res.end();
    }),
  );
  await server.once(get('/'));
  server.app.close();
  await assert.rejects(Peer.connect(server.port), { code: 'ECONNREFUSED' });
});

it('close force-closes every connection: close handlers with 1006, onAborted, synchronously', async (t) => {
  const log = new Events();
  const server = serve(t, (app) =>
    app
      .ws('/ws', {
        open() {
          log.push('open');
        },
        close(ws, code, reason) {
          log.push(`close ${code} ${text(reason)}`);
        },
      })
      .get('/pending', (res) => {
        log.push('request');
        res.onAborted(() => {
          log.push('aborted');
        });
      })
      .post('/body', (res) => {
        log.push('request');
        res.onAborted(() => {
          log.push('aborted');
        });
        res.onData(() => {});
      })
      .get('/*', (res) => {
        res.end('x');
      }),
  );
  const sockets = [await server.ws('/ws'), await server.ws('/ws')];
  const idle = await server.connect();
  await idle.request(get('/'));
  const pending = await server.connect();
  await pending.send(get('/pending'));
  const body = await server.connect();
  await body.send(post('/body', 'abc').slice(0, -1));
  await log.count(4);
  log.list.length = 0;
  server.app.close();
  assert.deepEqual([...log.list].sort(), ['aborted', 'aborted', 'close 1006 ', 'close 1006 ']);
  for (const peer of [...sockets, idle, pending, body]) await peer.gone();
  for (let i = 0; i < 10; i++) await turn();
  assert.equal(log.list.length, 4);
});

it('close twice', async (t) => {
  const server = serve(t, (app) =>
    app.get('/*', (res) => {
      res.end();
    }),
  );
  server.app.close();
  assert.doesNotThrow(() => server.app.close());
});

it('close inside a handler', async (t) => {
  const log = new Events();
  const server = serve(t, (app) =>
    app.get('/close', (res) => {
      res.onAborted(() => {
        log.push('aborted');
      });
      app.close();
      log.push('after');
    }),
  );
  const peer = await server.connect();
  await peer.send(get('/close'));
  await peer.gone();
  assert.deepEqual(log.list, ['aborted', 'after']);
});

it('close inside a handler that watches no end: it may respond as if nothing had happened', async (t) => {
  const log = new Events();
  // The original ends the process where such a handler does not respond.
  for (const way of ours ? ['respond', 'nothing'] : ['respond']) {
    const server = serve(t, (app) =>
      app.get('/', (res) => {
        app.close();
        if (way === 'nothing') return log.push(way);
        res.writeStatus('200 OK').writeHeader('a', 'b');
        log.push([res.write('x'), res.cork(() => res.end('y')) === res]);
        assert.throws(() => res.end('z'), { message: ERRORS.response });
      }),
    );
    const peer = await server.connect();
    await peer.send(get('/'));
    await peer.gone();
    assert.equal(peer.size, 0, 'nothing was sent');
  }
  assert.deepEqual(log.list, [[true, true], ...(ours ? ['nothing'] : [])]);
});

it('close inside a message handler', async (t) => {
  const log = new Events();
  const server = serve(t, (app) =>
    app.ws('/*', {
      message() {
        app.close();
        log.push('after');
      },
      close(ws, code) {
        log.push(code);
      },
    }),
  );
  const peer = await server.ws('/');
  await peer.text('x');
  await peer.gone();
  assert.deepEqual(log.list, [1006, 'after']);
});

it('after close the app has no subscribers', async (t) => {
  const opened = new Events();
  const server = serve(t, (app) =>
    app.ws('/*', {
      open(ws) {
        ws.subscribe('x');
        opened.push(1);
      },
    }),
  );
  await server.ws('/');
  await opened.count(1);
  assert.equal(server.app.numSubscribers('x'), 1);
  server.app.close();
  assert.deepEqual([server.app.numSubscribers('x'), server.app.publish('x', 'y')], [0, false]);
});

it('another app lives on', async (t) => {
  const one = serve(t, (app) =>
    app.get('/*', (res) => {
      res.end('one');
    }),
  );
  const two = serve(t, (app) =>
    app.get('/*', (res) => {
      res.end('two');
    }),
  );
  const peer = await two.connect();
  one.app.close();
  assert.equal((await peer.request(get('/'))).body, 'two');
  assert.equal((await two.once(get('/'))).body, 'two');
});

it('filter sees the address of its own connection, however late it is called', filtered, async (t) => {
  const seen = new Events();
  const server = serve(t, (app) => {
    app.filter((res, count) => {
      const [bytes, address] = [res.getRemoteAddress(), text(res.getRemoteAddressAsText())];
      seen.push([count, new Uint8Array(bytes).at(-1), Number(address.at(-1))]);
    });
  });
  const last = [2, 3, 4, 5];
  const addresses = last.map((n) => `127.0.0.${n}`);
  const client = new Worker(
    `const net = require('net');
    const { workerData: { port, addresses } } = require('worker_threads');
    const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
    (async () => {
      for (const localAddress of addresses) {
        const socket = net.connect({ port, host: '127.0.0.1', localAddress });
        socket.on('error', () => {});
        await new Promise((resolve) => socket.on('connect', resolve));
        await wait(20);
        socket.destroy();
        await wait(20);
      }
    })()`,
    { eval: true, workerData: { port: server.port, addresses } },
  );
  // Each connection has come and gone, and its slot has been used again, before any handler runs.
  for (const end = Date.now() + 500; Date.now() < end;);
  await new Promise((resolve) => client.once('exit', resolve));
  await seen.count(8);
  for (const count of [1, -1]) {
    // An original may be asked after the socket was closed, and then has no address.
    const list = seen.list.filter(([n]) => n === count && (ours || count === 1));
    if (!list.length) continue;
    assert.deepEqual(
      list.map(([, ...ends]) => ends),
      last.map((n) => [n, n]),
    );
  }
});

it('filter: one that adds another filter, which is called for the next connection', filtered, async (t) => {
  const heard = [];
  const server = serve(t, (app) => {
    app.filter((res, count) => {
      if (count !== 1) return;
      heard.push('first');
      app.filter((other, n) => n === 1 && heard.push('added'));
    });
    app.get('/*', (res) => {
      res.end('x');
    });
  });
  await server.once(get('/'));
  assert.deepEqual(heard, ['first']);
  await server.once(get('/'));
  assert.deepEqual(heard, ['first', 'first', 'added']);
});

it('app.close(): a WebSocket that an onAborted of another connection makes is closed, too', async (t) => {
  const log = [];
  const waiting = [];
  const server = serve(t, (app) =>
    app.ws('/*', {
      upgrade(res, req, context) {
        const fields = ['key', 'protocol', 'extensions'].map((name) =>
          req.getHeader(`sec-websocket-${name}`),
        );
        const own = { upgrade: () => res.upgrade({}, ...fields, context), over: false };
        waiting.push(own);
        res.onAborted(() => {
          own.over = true;
          log.push('aborted');
          waiting.find((each) => !each.over)?.upgrade();
        });
      },
      open: () => log.push('open'),
      close: (ws, code) => log.push(`close ${code}`),
    }),
  );
  for (const number of [1, 2]) {
    await (await server.connect()).send(upgradeRequest('/'));
    await until(() => waiting.length === number);
  }
  server.app.close();
  assert.deepEqual(log, ['aborted', 'open', 'close 1006']);
});
