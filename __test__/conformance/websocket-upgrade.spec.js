'use strict';
const {
  it,
  assert,
  serve,
  get,
  upgradeRequest,
  frame,
  WsPeer,
  ACCEPT,
  KEY,
  TEXT,
  ERRORS,
  differs,
  onlyOurs,
  byVersion,
  ours,
  deferred,
  Events,
  turn,
  child,
  aborted,
  named,
} = require('../support');
const { AsyncLocalStorage } = require('node:async_hooks');

/** The five values that an upgrade handler passes on. */
const offered = (req) =>
  ['sec-websocket-key', 'sec-websocket-protocol', 'sec-websocket-extensions'].map((name) =>
    req.getHeader(name),
  );
const upgrading =
  (userData, before = () => {}) =>
  (res, req, context) => {
    before(res);
    res.upgrade(userData, ...offered(req), context);
  };

it('without an upgrade handler: 101 by itself', async (t) => {
  const server = serve(t, (app) => app.ws('/*', {}));
  const { handshake } = await server.ws('/');
  assert.equal(handshake.status, '101 Switching Protocols');
  assert.equal(handshake.get('upgrade').toLowerCase(), 'websocket');
  assert.equal(handshake.get('connection').toLowerCase(), 'upgrade');
  assert.equal(handshake.get('sec-websocket-accept'), ACCEPT);
  assert.deepEqual(
    [
      handshake.all('sec-websocket-protocol'),
      handshake.all('sec-websocket-extensions'),
      handshake.all('content-length'),
    ],
    [[], [], []],
  );
});

it('without an upgrade handler: the first subprotocol', async (t) => {
  const server = serve(t, (app) => app.ws('/*', {}));
  const { handshake } = await server.ws('/', { headers: ['Sec-WebSocket-Protocol: a, b'] });
  assert.equal(handshake.get('sec-websocket-protocol'), 'a');
});

it('without compression the extension is not accepted', async (t) => {
  const server = serve(t, (app) => app.ws('/*', {}));
  const { handshake } = await server.ws('/', { headers: ['Sec-WebSocket-Extensions: permessage-deflate'] });
  assert.deepEqual(handshake.all('sec-websocket-extensions'), []);
});

it('without an upgrade handler: empty user data', async (t) => {
  const keys = deferred();
  const server = serve(t, (app) =>
    app.ws('/*', {
      open(ws) {
        keys.resolve([Object.keys(ws), ws.getUserData() === ws]);
      },
    }),
  );
  await server.ws('/');
  assert.deepEqual(await keys.promise, [[], true]);
});

it('res.upgrade in the handler: open runs synchronously inside, the call returns undefined', async (t) => {
  const order = [];
  const server = serve(t, (app) =>
    app.ws('/*', {
      upgrade(res, req, context) {
        order.push('before');
        order.push(res.upgrade({}, ...offered(req), context));
      },
      open() {
        order.push('open');
      },
    }),
  );
  await server.ws('/');
  assert.deepEqual(order, ['before', 'open', undefined]);
});

it('the upgrade handler gets response, request and context', async (t) => {
  const seen = [];
  const server = serve(t, (app) =>
    app.ws('/room/:id', {
      upgrade(res, req, context) {
        seen.push(
          res.constructor.name,
          req.constructor.name,
          typeof context,
          req.getUrl(),
          req.getQuery(),
          req.getParameter(0),
          req.getHeader('x-a'),
        );
        res.upgrade({}, ...offered(req), context);
      },
    }),
  );
  await server.ws('/room/7?q=1', { headers: ['X-A: v'] });
  assert.deepEqual(seen, [named('HttpResponse'), 'uWS.HttpRequest', 'object', '/room/7', 'q=1', '7', 'v']);
});

it('the subprotocol given to upgrade: the first of a list', async (t) => {
  const server = serve(t, (app) => app.ws('/*', { upgrade: upgrading({}) }));
  const { handshake } = await server.ws('/', { headers: ['Sec-WebSocket-Protocol: one, two'] });
  assert.equal(handshake.get('sec-websocket-protocol'), 'one');
});

it('the program may choose another subprotocol', async (t) => {
  const server = serve(t, (app) =>
    app.ws('/*', {
      upgrade(res, req, context) {
        res.upgrade({}, req.getHeader('sec-websocket-key'), 'two', '', context);
      },
    }),
  );
  const { handshake } = await server.ws('/', { headers: ['Sec-WebSocket-Protocol: one, two'] });
  assert.equal(handshake.get('sec-websocket-protocol'), 'two');
});

it('headers written before upgrade, with the status first', async (t) => {
  const server = serve(t, (app) =>
    app.ws('/*', {
      upgrade: upgrading({}, (res) =>
        res.writeStatus('101 Switching Protocols').writeHeader('X-A', '1').writeHeader('Set-Cookie', 'a=b'),
      ),
    }),
  );
  const { handshake } = await server.ws('/');
  assert.deepEqual(
    [
      handshake.code,
      handshake.get('x-a'),
      handshake.get('set-cookie'),
      handshake.get('sec-websocket-accept'),
    ],
    [101, '1', 'a=b', ACCEPT],
  );
});

it('own enumerable string keys of the user data are copied onto the socket', async (t) => {
  const seen = deferred();
  const symbol = Symbol('s');
  const inner = { deep: true };
  const userData = Object.assign(Object.create({ inherited: 1 }), {
    a: 1,
    inner,
    method() {
      return this.a;
    },
    [symbol]: 2,
  });
  Object.defineProperty(userData, 'getter', { enumerable: true, get: () => 42 });
  Object.defineProperty(userData, 'hidden', { enumerable: false, value: 1 });
  const server = serve(t, (app) => app.ws('/*', { upgrade: upgrading(userData), open: seen.resolve }));
  await server.ws('/');
  const ws = await seen.promise;
  assert.deepEqual(Object.keys(ws), ['a', 'inner', 'method', 'getter']);
  assert.deepEqual([ws.a, ws.inner === inner, ws.method(), ws.getter], [1, true, 1, 42]);
  assert.deepEqual([ws.hidden, ws.inherited], [undefined, undefined]);
  assert.equal(ws[symbol], differs('symbol-user-data', { original: undefined, ours: 2 }));
  assert.equal(Object.getOwnPropertyDescriptor(ws, 'getter').value, 42);
});

it('symbol keys of the user data follow the others', onlyOurs('symbol-user-data'), async (t) => {
  const seen = deferred();
  const [first, hidden, getter, inherited] = ['first', 'hidden', 'getter', 'inherited'].map(Symbol);
  const order = [];
  const userData = { __proto__: { [inherited]: 1 }, [first]: 1 };
  Object.defineProperty(userData, hidden, { enumerable: false, writable: false, value: 2 });
  Object.defineProperty(userData, getter, { get: () => order.push('symbol') });
  Object.defineProperty(userData, 'text', { enumerable: true, get: () => order.push('text') });
  Object.defineProperty(userData, '__proto__', { enumerable: true, value: 'own' });
  const server = serve(t, (app) => app.ws('/*', { upgrade: upgrading(userData), open: seen.resolve }));
  await server.ws('/');
  const ws = await seen.promise;
  assert.deepEqual(Object.getOwnPropertySymbols(ws), [first, hidden, getter]);
  assert.deepEqual(Object.keys(ws), ['text', '__proto__']);
  assert.deepEqual([ws[first], ws[hidden], ws[getter], ws.text], [1, 2, 2, 1]);
  ws[hidden] = 3;
  assert.equal(ws[hidden], 3);
  assert.equal(typeof ws.send, 'function');
});

const BAD_USER_DATA = {
  'a getter': () => ({
    get bad() {
      throw new Error('bad user data');
    },
  }),
  'a getter of a symbol': () => ({
    get [Symbol('bad')]() {
      throw new Error('bad user data');
    },
  }),
  'a proxy': () =>
    new Proxy(
      {},
      {
        ownKeys() {
          throw new Error('bad user data');
        },
      },
    ),
};
for (const [name, make] of Object.entries(BAD_USER_DATA)) {
  for (const late of [false, true]) {
    it(
      `user data with ${name} that throws${late ? ', after an await' : ''}`,
      onlyOurs('throwing-user-data'),
      async () => {
        const run = await child(
          async ({ listening, upgradeRequest, get }, [source, late]) => {
            const log = [];
            const make = eval(source);
            process.on('uncaughtException', (error) => log.push(error.message));
            process.on('unhandledRejection', (error) => log.push(error.message));
            const upgrade = (res, req, context) => {
              const names = ['key', 'protocol', 'extensions'].map((each) => `sec-websocket-${each}`);
              const offered = names.map((each) => req.getHeader(each));
              const finish = () => res.upgrade(make(), ...offered, context);
              if (!late) return finish();
              res.onAborted(() => log.push('aborted'));
              return Promise.resolve()
                .then(() => new Promise(setImmediate))
                .then(finish);
            };
            const server = listening((app) => {
              app.ws('/*', { upgrade, open: () => log.push('open'), close: () => log.push('close') });
              app.get('/*', (res) => {
                res.end('served');
              });
            });
            const peer = await server.connect();
            log.push((await peer.request(upgradeRequest('/'))).status);
            log.push((await peer.request(get('/'))).body);
            console.log(JSON.stringify(log));
            process.exit(0);
          },
          [`(${make})`, late],
        );
        const log = JSON.parse(run.stdout);
        assert.deepEqual(log.sort(), ['500 Internal Server Error', 'bad user data', 'served']);
      },
    );
  }
}

it('user data whose getter closes, ends or upgrades', onlyOurs('throwing-user-data'), async (t) => {
  for (const act of [(res) => res.close(), (res) => res.end('mine'), (res, again) => again()]) {
    const errors = [];
    let opened = 0;
    const server = serve(t, (app) =>
      app.ws('/*', {
        upgrade(res, req, context) {
          res.onAborted(() => {});
          const values = offered(req);
          const userData = {
            get bad() {
              return act(res, () => res.upgrade({}, ...values, context));
            },
          };
          try {
            res.upgrade(userData, ...values, context);
          } catch (error) {
            errors.push(error.message);
          }
        },
        open: () => opened++,
      }),
    );
    const peer = await server.connect();
    await peer.send(upgradeRequest('/'));
    await peer.when(() => peer.size > 0 || peer.state !== 'open', 'an answer').catch(() => {});
    assert.equal(errors.length, 1);
    assert.match(errors[0], ERRORS.response);
    assert.ok(opened <= 1);
  }
});

it('getUserData is the socket itself, before and after close; later properties and symbols stay', async (t) => {
  const closed = deferred();
  const symbol = Symbol('s');
  const seen = new Set();
  const server = serve(t, (app) =>
    app.ws('/*', {
      upgrade: upgrading({ id: 1 }),
      open(ws) {
        seen.add(ws);
        ws.getUserData().later = 2;
        ws[symbol] = 3;
      },
      message(ws) {
        seen.add(ws);
        ws.close();
      },
      close(ws) {
        seen.add(ws);
        closed.resolve(ws);
      },
    }),
  );
  const peer = await server.ws('/');
  await peer.text('x');
  const ws = await closed.promise;
  assert.equal(seen.size, 1);
  assert.equal(ws.getUserData(), ws);
  assert.deepEqual([ws.id, ws.later, ws[symbol]], [1, 2, 3]);
});

it('the socket is an object named uWS.WebSocket', async (t) => {
  const seen = deferred();
  const server = serve(t, (app) => app.ws('/*', { open: seen.resolve }));
  await server.ws('/');
  assert.equal((await seen.promise).constructor.name, named('WebSocket'));
});

it('upgrade after an await of something already resolved, headers read after it', async (t) => {
  const server = serve(t, (app) =>
    app.ws('/*', {
      async upgrade(res, req, context) {
        await null;
        await Promise.resolve();
        res.upgrade({ url: req.getUrl() }, ...offered(req), context);
      },
      message(ws) {
        ws.send(ws.url);
      },
    }),
  );
  const peer = await server.ws('/x');
  await peer.text('?');
  assert.equal(await peer.message(), '/x');
});

it('upgrade in a later turn', async (t) => {
  const server = serve(t, (app) =>
    app.ws('/*', {
      upgrade(res, req, context) {
        const values = offered(req);
        let gone = false;
        res.onAborted(() => {
          gone = true;
        });
        setTimeout(() => {
          if (!gone)
            res.cork(() => {
              res.upgrade({ late: 'yes' }, ...values, context);
            });
        }, 20);
      },
      message(ws, message) {
        ws.send(`${ws.late} ${Buffer.from(message)}`);
      },
    }),
  );
  const peer = await server.ws('/');
  await peer.text('hi');
  assert.equal(await peer.message(), 'yes hi');
});

it('frames that came before a late upgrade', async (t) => {
  const requested = deferred();
  const go = deferred();
  const events = new Events();
  const server = serve(t, (app) =>
    app.ws('/*', {
      async upgrade(res, req, context) {
        const values = offered(req);
        let gone = false;
        res.onAborted(() => {
          gone = true;
          events.push('aborted');
        });
        requested.resolve();
        await go.promise;
        if (!gone)
          res.cork(() => {
            res.upgrade({}, ...values, context);
          });
      },
      message(ws, message) {
        events.push(Buffer.from(message).toString());
      },
    }),
  );
  const peer = await WsPeer.connect(server.port, { track: (found) => server.peers.add(found) });
  await peer.send(upgradeRequest('/'));
  await requested.promise;
  await peer.send(frame({ payload: 'early' }));
  for (let i = 0; i < 20; i++) await turn();
  go.resolve();
  const wanted = differs('early-frames', {
    original: byVersion({ old: 'later', now: 'aborted' }),
    ours: 'early',
  });
  if (wanted !== 'aborted') {
    await peer.head();
    await peer.text('later');
  }
  await events.count(1);
  assert.equal(events.list[0], wanted);
});

it('frames in the segment of the handshake', async (t) => {
  const order = new Events();
  const server = serve(t, (app) =>
    app.ws('/*', {
      open() {
        order.push('open');
      },
      message(ws, message) {
        order.push(Buffer.from(message).toString());
      },
    }),
  );
  const peer = await WsPeer.connect(server.port, { track: (found) => server.peers.add(found) });
  await peer.send(
    Buffer.concat([Buffer.from(upgradeRequest('/')), frame({ payload: 'a' }), frame({ payload: 'b' })]),
  );
  await peer.head();
  await peer.text('c');
  await order.first((event) => event === 'c');
  assert.deepEqual(
    order.list,
    differs('handshake-segment', { original: ['open', 'c'], ours: ['open', 'a', 'b', 'c'] }),
  );
});

it('the peer leaves before a late upgrade: onAborted, and upgrade throws', async (t) => {
  const started = deferred();
  const error = deferred();
  const server = serve(t, (app) =>
    app.ws('/*', {
      upgrade(res, req, context) {
        const values = offered(req);
        res.onAborted(() => {
          try {
            res.upgrade({}, ...values, context);
            error.resolve(null);
          } catch (caught) {
            error.resolve(caught);
          }
        });
        started.resolve();
      },
    }),
  );
  const peer = await server.connect();
  await peer.send(upgradeRequest('/'));
  await started.promise;
  peer.reset();
  assert.match((await error.promise).message, /^uWS\.HttpResponse must not be accessed/);
});

it('the upgrade handler may refuse with an ordinary response', async (t) => {
  const server = serve(t, (app) =>
    app.ws('/*', {
      upgrade(res) {
        res.writeStatus('401 Unauthorized').writeHeader('x-a', '1').end('no');
      },
    }),
  );
  const peer = await server.connect();
  const answer = await peer.request(upgradeRequest('/'));
  assert.deepEqual([answer.status, answer.get('x-a'), answer.body], ['401 Unauthorized', '1', 'no']);
  assert.equal((await peer.request(upgradeRequest('/'))).code, 401);
});

it('the upgrade handler may yield to the next route', async (t) => {
  const server = serve(t, (app) =>
    app
      .ws('/*', {
        upgrade(res, req) {
          req.setYield(true);
        },
      })
      .get('/*', (res) => {
        res.end('get');
      }),
  );
  assert.equal((await server.once(upgradeRequest('/'))).body, 'get');
});

it('the upgrade handler may close', async (t) => {
  const server = serve(t, (app) =>
    app.ws('/*', {
      upgrade(res) {
        res.onAborted(() => {});
        res.close();
      },
    }),
  );
  const peer = await server.connect();
  await peer.send(upgradeRequest('/'));
  assert.equal(await peer.rest(), '');
});

it('only GET upgrades', async (t) => {
  const server = serve(t, (app) =>
    app.ws('/*', {}).any('/*', (res) => {
      res.end('any');
    }),
  );
  assert.equal((await server.once(upgradeRequest('/').replace('GET', 'POST'))).body, 'any');
});

it('a key of 24 characters is what makes an upgrade request', async (t) => {
  const server = serve(t, (app) =>
    app.ws('/*', {}).get('/*', (res) => {
      res.end('get');
    }),
  );
  assert.equal((await server.once(get('/', [`Sec-WebSocket-Key: ${KEY}`]))).code, 101);
  assert.equal((await server.once(get('/', ['Upgrade: websocket', 'Connection: Upgrade']))).body, 'get');
});

it('the handshake may come byte by byte', async (t) => {
  const server = serve(t, (app) =>
    app.ws('/*', {
      message(ws, message) {
        ws.send(message);
      },
    }),
  );
  const peer = await WsPeer.connect(server.port);
  await peer.sendPieces(upgradeRequest('/'), 3);
  assert.equal((await peer.head()).code, 101);
  await peer.text('x');
  assert.equal(await peer.message(), 'x');
  peer.destroy();
});

it('an upgrade on a connection that has served requests', async (t) => {
  const server = serve(t, (app) =>
    app
      .ws('/ws', {
        message(ws, message) {
          ws.send(message);
        },
      })
      .get('/*', (res) => {
        res.end('get');
      }),
  );
  const peer = await WsPeer.connect(server.port);
  assert.equal((await peer.request(get('/'))).body, 'get');
  await peer.send(upgradeRequest('/ws'));
  assert.equal((await peer.head()).code, 101);
  await peer.text('x');
  assert.deepEqual(await peer.frame().then(({ opcode, text }) => [opcode, text]), [TEXT, 'x']);
  peer.destroy();
});

it('AsyncLocalStorage: an upgrade after an await keeps the context of the caller; the original runs open outside of it', async (t) => {
  const storage = new AsyncLocalStorage();
  const seen = deferred();
  let inOpen;
  const server = serve(t, (app) =>
    app.ws('/*', {
      upgrade(res, req, context) {
        const values = offered(req);
        res.onAborted(() => {});
        storage.run('mine', async () => {
          await turn();
          const before = storage.getStore();
          res.cork(() => {
            res.upgrade({}, ...values, context);
          });
          seen.resolve([before, inOpen, storage.getStore()]);
        });
      },
      open() {
        inOpen = storage.getStore();
      },
    }),
  );
  await server.ws('/');
  const [before, inside, after] = await seen.promise;
  assert.deepEqual([before, after], ['mine', 'mine']);
  if (!ours) assert.equal(inside, undefined);
});

it('AsyncLocalStorage does not leak from one handler into the next', async (t) => {
  const storage = new AsyncLocalStorage();
  const stores = [];
  const server = serve(t, (app) =>
    app.get('/*', (res) => {
      stores.push(storage.getStore());
      storage.run('leak', () => {
        res.end('x');
      });
    }),
  );
  const peer = await server.connect();
  await peer.request(get('/'));
  await peer.request(get('/'));
  assert.deepEqual(stores, [undefined, undefined]);
});

it('upgrade with too few arguments', async (t) => {
  let error;
  const server = serve(t, (app) =>
    app.ws('/*', {
      upgrade(res, req) {
        try {
          res.upgrade({}, req.getHeader('sec-websocket-key'));
        } catch (caught) {
          error = caught;
        }
        res.end('no');
      },
    }),
  );
  assert.equal((await server.once(upgradeRequest('/'))).body, 'no');
  assert.equal(
    error && error.message,
    differs('upgrade-arguments', { original: undefined, ours: 'Function requires at least 5 arguments.' }),
  );
});

it('upgrade with the wrong type of argument throws', async (t) => {
  let error;
  const server = serve(t, (app) =>
    app.ws('/*', {
      upgrade(res, req, context) {
        try {
          res.upgrade({}, 1, '', '', context);
        } catch (caught) {
          error = caught;
        }
        res.end('no');
      },
    }),
  );
  assert.equal((await server.once(upgradeRequest('/'))).body, 'no');
  assert.equal(error.message, ERRORS.data);
});

it('upgrade with undefined for user data', async () => {
  const run = await child(async ({ listening }) => {
    const server = listening((app) =>
      app.ws('/*', {
        upgrade(res, req, context) {
          res.upgrade(undefined, req.getHeader('sec-websocket-key'), '', '', context);
        },
        open(ws) {
          console.log(Object.keys(ws).length);
          process.exit(0);
        },
      }),
    );
    await server.ws('/');
  });
  if (differs('upgrade-undefined', { original: 'aborts', ours: 'empty' }) === 'aborts')
    assert.ok(aborted(run));
  else assert.equal(run.stdout, '0\n');
});

it('several ws routes each have their own behaviour; the parameters choose', async (t) => {
  const server = serve(t, (app) => {
    for (const name of ['a', 'b'])
      app.ws(`/${name}`, {
        message(ws) {
          ws.send(name);
        },
      });
  });
  for (const name of ['b', 'a']) {
    const peer = await server.ws(`/${name}`);
    await peer.text('?');
    assert.equal(await peer.message(), name);
  }
});
