'use strict';
// The ways in which other packages use the module, one in each test, as far as the other specs do not cover
// them.
const vm = require('node:vm');
const util = require('node:util');
const {
  it,
  assert,
  serve,
  get,
  post,
  request,
  uWS,
  Events,
  deferred,
  turn,
  text,
  upgradeRequest,
  differs,
  onlyOurs,
  v30,
  ERRORS,
  named,
} = require('../support');

const offered = (req) =>
  ['sec-websocket-key', 'sec-websocket-protocol', 'sec-websocket-extensions'].map((name) =>
    req.getHeader(name),
  );

it('an adapter writes content-encoding first and the status after, without an error', async (t) => {
  const server = serve(t, (app) =>
    app.get('/*', (res) => {
      res.cork(() => {
        res.writeHeader('content-encoding', 'br');
        res.writeStatus('200 OK');
        res.writeHeader('etag', '"x"');
        res.end('body');
      });
    }),
  );
  const answer = await server.once(get('/'));
  assert.deepEqual(
    [answer.status, answer.get('content-encoding'), answer.get('etag'), answer.body],
    ['200 OK', 'br', '"x"', 'body'],
  );
});

it('a static file with a content-length of its own', async (t) => {
  const file = Buffer.alloc(5000, 'f');
  const server = serve(t, (app) =>
    app.get('/*', (res) => {
      res.cork(() => {
        res.writeStatus('200 OK');
        res.writeHeader('content-type', 'text/plain');
        res.writeHeader('content-length', String(file.length));
        res.end(file);
      });
    }),
  );
  const answer = await server.once(get('/'));
  assert.deepEqual(
    answer.all('content-length'),
    differs('double-content-length', { original: ['5000', '5000'], ours: ['5000'] }),
  );
  assert.equal(answer.raw.length, 5000);
});

it(
  'HEAD of a static file: endWithoutBody with the length is all a synchronous handler does',
  { skip: v30 ? '20.30 aborts the process' : false },
  async (t) => {
    const server = serve(t, (app) =>
      app.any('/*', (res, req) => {
        if (req.getMethod() === 'head') res.writeStatus('200 OK').endWithoutBody(1234);
        else res.end();
      }),
    );
    const peer = await server.connect();
    assert.equal((await peer.request(request('HEAD', '/'), { head: true })).get('content-length'), '1234');
    assert.equal((await peer.request(get('/'))).code, 200);
  },
);

it('a body read by an async handler: headers first, onData in a microtask, a response in a later turn', async (t) => {
  const server = serve(t, (app) =>
    app.any('/*', async (res, req) => {
      let aborted = false;
      res.onAborted(() => {
        aborted = true;
      });
      const headers = {};
      req.forEach((name, value) => {
        headers[name] = value;
      });
      const method = req.getMethod();
      await null;
      const chunks = [];
      await new Promise((resolve) => {
        res.onData((chunk, last) => {
          if (chunk.byteLength > 0) chunks.push(Buffer.from(chunk.slice(0)));
          if (last) resolve();
        });
      });
      await turn();
      if (!aborted)
        res.cork(() => {
          res.writeStatus('200 OK');
          res.end(`${method} ${headers['x-a']} ${Buffer.concat(chunks)}`);
        });
    }),
  );
  const peer = await server.connect();
  assert.equal((await peer.request(post('/', 'hello', ['X-A: 1']))).body, 'post 1 hello');
  assert.equal((await peer.request(get('/', ['X-A: 2']))).body, 'get 2 ');
});

const STALL = onlyOurs('write-in-drain');
const LATER = {
  'in a later turn': [setImmediate, {}],
  'in its microtasks': [
    (go) => {
      go();
    },
    STALL,
  ],
};
for (const [when, [later, options]] of Object.entries(LATER)) {
  it(`streaming a response: write, wait for onWritable when false, go on ${when}`, options, async (t) => {
    const piece = Buffer.alloc(256 * 1024, 'p');
    const server = serve(t, (app) =>
      app.get('/*', async (res) => {
        let aborted = false;
        res.onAborted(() => {
          aborted = true;
        });
        await turn();
        for (let i = 0; i < 60 && !aborted; i++) {
          let ok;
          res.cork(() => {
            ok = res.write(piece);
          });
          if (!ok)
            await new Promise((resolve) => {
              res.onWritable(() => {
                later(resolve);
                return true;
              });
            });
        }
        if (!aborted)
          res.cork(() => {
            res.end();
          });
      }),
    );
    assert.equal((await server.once(get('/'))).raw.length, 60 * piece.length);
  });

  it(
    `streaming with a known length: tryEnd by the offset arithmetic of the documentation, going on ${when}`,
    options,
    async (t) => {
      const total = 30 * 1024 * 1024;
      const size = 64 * 1024;
      const server = serve(t, (app) =>
        app.get('/*', async (res) => {
          res.onAborted(() => {});
          for (let at = 0; at < total; at += size) {
            const chunk = Buffer.alloc(size, (at / size) & 255);
            const last = res.getWriteOffset();
            const [ok, done] = res.tryEnd(chunk, total);
            if (done) return;
            if (ok) continue;
            const finished = await new Promise((resolve) => {
              res.onWritable((offset) => {
                const [well, end] = res.tryEnd(chunk.subarray(offset - last), total);
                if (well || end) later(() => resolve(end));
                return well;
              });
            });
            if (finished) return;
          }
        }),
      );
      const peer = await server.connect();
      const { raw } = await peer.request(get('/'));
      assert.equal(raw.length, total);
      for (let at = 0; at < total; at += size)
        assert.ok(raw[at] === ((at / size) & 255) && raw[at + size - 1] === raw[at], `piece ${at / size}`);
    },
  );
}

it('polling transports: res.close() inside onData is an abort at once', async (t) => {
  const order = [];
  const server = serve(t, (app) =>
    app.post('/*', (res) => {
      res.onAborted(() => {
        order.push('aborted');
      });
      res.onData((chunk) => {
        if (chunk.byteLength > 3) {
          order.push('too big');
          res.close();
          order.push('closed');
        }
      });
    }),
  );
  const peer = await server.connect();
  await peer.send(post('/', 'too much'));
  await peer.gone();
  assert.deepEqual(order, ['too big', 'aborted', 'closed']);
});

it('a room server: topics with \\x1f, subscription counts, publish excluding the sender', async (t) => {
  const counts = [];
  const server = serve(t, (app) =>
    app.ws('/*', {
      open(ws) {
        ws.subscribe('main\x1fbroadcast');
      },
      subscription(ws, topic, now, before) {
        counts.push([text(topic), now - before]);
      },
      message(ws, message, isBinary) {
        ws.publish('main\x1fbroadcast', message, isBinary);
      },
    }),
  );
  const a = await server.ws('/');
  const b = await server.ws('/');
  await a.text('hi');
  assert.equal(await b.message(), 'hi');
  assert.deepEqual(counts, [
    ['main\x1fbroadcast', 1],
    ['main\x1fbroadcast', 1],
  ]);
  assert.equal(server.app.publish('main\x1fbroadcast', 'all'), true);
  assert.deepEqual([await a.message(), await b.message()], ['all', 'all']);
});

it('dead sockets are found by getBufferedAmount that throws', async (t) => {
  const sockets = new Events();
  const gone = new Events();
  const server = serve(t, (app) =>
    app.ws('/*', {
      open(ws) {
        sockets.push(ws);
      },
      close() {
        gone.push(1);
      },
    }),
  );
  const peer = await server.ws('/');
  const living = await server.ws('/');
  await sockets.count(2);
  peer.reset();
  await gone.count(1);
  const alive = sockets.list.filter((ws) => {
    try {
      ws.getBufferedAmount();
      return true;
    } catch {
      return false;
    }
  });
  assert.equal(alive.length, 1);
  alive[0].send('x');
  assert.equal(await living.message(), 'x');
});

it('state on the socket by string and symbol keys, a Map keyed by the socket, after close as well', async (t) => {
  const states = new Map();
  const weak = new WeakMap();
  const key = Symbol('mine');
  const closed = deferred();
  const server = serve(t, (app) =>
    app.ws('/*', {
      upgrade(res, req, context) {
        res.upgrade({ __state: { n: 0 }, path: req.getUrl() }, ...offered(req), context);
      },
      open(ws) {
        states.set(ws, 1);
        weak.set(ws, 2);
        ws[key] = 3;
      },
      message(ws) {
        ws.getUserData().__state.n++;
      },
      close(ws) {
        closed.resolve(ws);
      },
    }),
  );
  const peer = await server.ws('/p');
  await peer.text('1');
  await peer.text('2');
  await peer.close(1000);
  const ws = await closed.promise;
  assert.deepEqual(
    [states.get(ws), weak.get(ws), ws[key], ws.__state.n, ws.getUserData().path, ws.constructor.name],
    [1, 2, 3, 2, '/p', named('WebSocket')],
  );
});

it('an async upgrade that authenticates by a promise already resolved', async (t) => {
  const session = Promise.resolve({ user: 'u' });
  const server = serve(t, (app) =>
    app.ws('/*', {
      async upgrade(res, req, context) {
        let aborted = false;
        res.onAborted(() => {
          aborted = true;
        });
        const found = await session;
        if (aborted) return;
        res.cork(() => {
          res.writeStatus('101 Switching Protocols').writeHeader('set-cookie', 'sid=1');
          res.upgrade(found, ...offered(req), context);
        });
      },
      message(ws) {
        ws.send(ws.user);
      },
    }),
  );
  const peer = await server.ws('/');
  assert.equal(peer.handshake.get('set-cookie'), 'sid=1');
  await peer.text('?');
  assert.equal(await peer.message(), 'u');
});

it('an async upgrade that refuses in a later turn', async (t) => {
  const server = serve(t, (app) =>
    app.ws('/*', {
      async upgrade(res) {
        res.onAborted(() => {});
        await turn();
        res.cork(() => {
          res.writeStatus('403 Forbidden').end('no');
        });
      },
    }),
  );
  assert.equal((await server.once(upgradeRequest('/'))).status, '403 Forbidden');
});

it('handlers of another realm: messages are real ArrayBuffers by their internal type', async (t) => {
  const context = vm.createContext({ done: null });
  const seen = deferred();
  context.done = seen.resolve;
  const handler = vm.runInContext(
    '(ws, message, isBinary) => { done([message, isBinary]); ws.send(new Uint8Array([79, 75])) }',
    context,
  );
  const server = serve(t, (app) => app.ws('/*', { message: handler }));
  const peer = await server.ws('/');
  await peer.binary('abc');
  const [message] = await seen.promise;
  assert.equal(util.types.isArrayBuffer(message) || util.types.isAnyArrayBuffer(message), true);
  assert.equal(await peer.message(), 'OK');
});

it('getParameter of a wildcard is the empty string, a missing query key undefined, a missing header empty', async (t) => {
  const server = serve(t, (app) =>
    app.get('/s/*', (res, req) => {
      res.end(JSON.stringify([req.getParameter(0), typeof req.getQuery('k'), req.getHeader('x')]));
    }),
  );
  assert.equal((await server.once(get('/s/a/b?z=1'))).body, '["","undefined",""]');
});

it('after the end of a response every method throws the documented text, the address too', async (t) => {
  const errors = [];
  const server = serve(t, (app) =>
    app.get('/*', (res) => {
      res.end();
      for (const name of ['getRemoteAddressAsText', 'writeStatus', 'cork'])
        try {
          res[name](() => {});
        } catch (error) {
          errors.push(error.message);
        }
    }),
  );
  await server.once(get('/'));
  assert.equal(errors.length, 3);
  for (const error of errors) assert.match(error, ERRORS.response);
});

it('the product header may be asked away: _cfg in a try', async () => {
  try {
    uWS._cfg('999999990007');
  } catch {
    /* as the caller does */
  }
});

it('send tested for truth, end with a reason, close with surplus arguments', async (t) => {
  const closes = new Events();
  const server = serve(t, (app) =>
    app.ws('/*', {
      message(ws, message) {
        if (text(message) === 'end') ws.end(4000, 'bye');
        else ws.close(1001, 'going away');
      },
      close(ws, code, reason) {
        closes.push([code, text(reason)]);
      },
      open(ws) {
        assert.ok(ws.send('hello'));
      },
    }),
  );
  const a = await server.ws('/');
  assert.equal(await a.message(), 'hello');
  await a.text('end');
  const frame = await a.frame();
  assert.deepEqual([frame.code, frame.text], [4000, 'bye']);
  const b = await server.ws('/');
  await b.text('close');
  assert.deepEqual(await closes.count(2), [
    [4000, 'bye'],
    [1006, ''],
  ]);
});

it('several apps in one process', async (t) => {
  const servers = ['a', 'b', 'c'].map((name) =>
    serve(t, (app) =>
      app.get('/*', (res) => {
        res.end(name);
      }),
    ),
  );
  assert.deepEqual(
    await Promise.all(servers.map((server) => server.once(get('/')).then(({ body }) => body))),
    ['a', 'b', 'c'],
  );
});

it('a graceful shutdown: stop listening, end the sockets, wait for their close', async (t) => {
  const sockets = new Events();
  const closes = new Events();
  const server = serve(t, (app) =>
    app.ws('/*', {
      open(ws) {
        sockets.push(ws);
      },
      close(ws, code) {
        closes.push(code);
      },
    }),
  );
  const peers = [await server.ws('/'), await server.ws('/')];
  await sockets.count(2);
  uWS.us_listen_socket_close(server.token);
  for (const ws of sockets.list) ws.end(1001, 'shutdown');
  assert.deepEqual(await closes.count(2), [1001, 1001]);
  for (const peer of peers) assert.equal((await peer.frame()).code, 1001);
  await assert.rejects(server.connect(), { code: 'ECONNREFUSED' });
});
