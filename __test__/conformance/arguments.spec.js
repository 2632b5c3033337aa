'use strict';
const vm = require('node:vm');
const {
  it,
  assert,
  serve,
  uWS,
  ours,
  child,
  aborted,
  deferred,
  get,
  differs,
  onlyOurs,
  v30,
  modulePath,
  ERRORS,
} = require('../support');

const BYTES = new TextEncoder().encode('text');
function shared() {
  const buffer = new SharedArrayBuffer(4);
  new Uint8Array(buffer).set(BYTES);
  return buffer;
}
/** Values that carry the bytes of `text`, or none. */
const GOOD = {
  string: () => 'text',
  ArrayBuffer: () => BYTES.slice().buffer,
  Buffer: () => Buffer.from('text'),
  Uint8Array: () => BYTES.slice(),
  Int8Array: () => new Int8Array(BYTES.slice().buffer),
  Uint8ClampedArray: () => new Uint8ClampedArray(BYTES.slice().buffer),
  Uint16Array: () => new Uint16Array(BYTES.slice().buffer),
  Int32Array: () => new Int32Array(BYTES.slice().buffer),
  Float32Array: () => new Float32Array(BYTES.slice().buffer),
  SharedArrayBuffer: shared,
  'Uint8Array over shared memory': () => new Uint8Array(shared()),
  'a view into a larger buffer': () => Buffer.from('...text...').subarray(3, 7),
  'an ArrayBuffer of another realm': () => vm.runInNewContext('new Uint8Array([116, 101, 120, 116]).buffer'),
  'a typed array of another realm': () => vm.runInNewContext('new Uint8Array([116, 101, 120, 116])'),
};
const BAD = {
  number: 1,
  null: null,
  true: true,
  object: {},
  array: [],
  bigint: 1n,
  symbol: Symbol('s'),
  function: () => {},
  'String object': new String('x'),
  Date: new Date(),
};

/** Runs `use(res, req)` once in a handler and answers in any case. */
async function inHandler(t, use) {
  const result = deferred();
  const server = serve(t, (app) =>
    app.get('/*', (res, req) => {
      res.onAborted(() => {});
      try {
        result.resolve(use(res, req));
      } catch (error) {
        result.reject(error);
      }
      try {
        res.end();
      } catch {
        /* it has ended */
      }
    }),
  );
  const peer = await server.connect();
  await peer.send(get('/'));
  return result.promise;
}
async function socket(t) {
  const opened = deferred();
  const server = serve(t, (app) => app.ws('/*', { open: opened.resolve }));
  const peer = await server.ws('/');
  return { app: server.app, peer, ws: await opened.promise };
}
const messageOf = (call) => {
  try {
    call();
    return 'no error';
  } catch (error) {
    return error.message;
  }
};

for (const [name, make] of Object.entries(GOOD)) {
  it(`${name} is taken for text and data everywhere`, async (t) => {
    const server = serve(t, (app) =>
      app
        .get('/end', (res) => {
          res.writeHeader(make(), make()).end(make());
        })
        .get('/write', (res) => {
          res.onAborted(() => {});
          res.write(make());
          res.end();
        })
        .get('/tryend', (res) => {
          res.tryEnd(make(), 4);
        })
        .get('/header', (res, req) => {
          res.end(req.getHeader(make()) + req.getQuery(make()));
        }),
    );
    const ended = await server.once(get('/end'));
    assert.deepEqual([ended.body, ended.get('text')], ['text', 'text']);
    for (const target of ['/write', '/tryend']) assert.equal((await server.once(get(target))).body, 'text');
    assert.equal((await server.once(get('/header?text=b', ['text: a']))).body, 'ab');
    const { app, ws, peer } = await socket(t);
    ws.subscribe(make());
    assert.deepEqual(
      [ws.isSubscribed('text'), app.numSubscribers(make()), app.publish(make(), make())],
      [true, 1, true],
    );
    ws.send(make());
    ws.ping(make());
    assert.deepEqual((await peer.messages(3)).sort(), ['text', 'text', 'text']);
  });
}

it('a DataView', async (t) => {
  const { ws, peer } = await socket(t);
  const message = messageOf(() => ws.send(new DataView(BYTES.slice().buffer)));
  assert.equal(message, differs('data-view', { original: ERRORS.data, ours: 'no error' }));
  if (ours) assert.equal(await peer.message(), 'text');
});

it('undefined is the empty string', async (t) => {
  const { ws, peer } = await socket(t);
  ws.send(undefined);
  ws.send();
  assert.deepEqual(await peer.messages(2), ['', '']);
  assert.equal(await inHandler(t, (res) => res.end(undefined) === res), true);
  assert.equal(await inHandler(t, (res, req) => req.getHeader(undefined)), '');
});

for (const [name, value] of Object.entries(BAD)) {
  it(`${name} is refused for text and data`, async (t) => {
    const { app, ws } = await socket(t);
    const calls = [
      () => ws.send(value),
      () => ws.ping(value),
      () => ws.sendFirstFragment(value),
      () => ws.sendFragment(value),
      () => ws.sendLastFragment(value),
      () => ws.subscribe(value),
      () => ws.unsubscribe(value),
      () => ws.isSubscribed(value),
      () => ws.publish('t', value),
      () => ws.publish(value, 'm'),
      () => app.publish(value, 'm'),
      () => app.publish('t', value),
      () => app.numSubscribers(value),
      () => app.get(value, () => {}),
      () => app.ws(value, {}),
    ];
    for (const call of calls) assert.equal(messageOf(call), ERRORS.data, String(call));
    const inside = await inHandler(t, (res, req) =>
      [
        () => res.writeStatus(value),
        () => res.writeHeader(value, 'x'),
        () => res.writeHeader('x', value),
        () => res.write(value),
        () => res.tryEnd(value, 1),
        () => req.getHeader(value),
        () => req.getQuery(value),
        () => res.end(value),
      ].map((call) => [String(call), messageOf(call)]),
    );
    for (const [call, message] of inside) assert.equal(message, ERRORS.data, call);
  });
}

it('a refused argument leaves the response as it was', async (t) => {
  const server = serve(t, (app) =>
    app.get('/*', (res) => {
      for (const call of [() => res.writeHeader('x', 1), () => res.end(1)])
        try {
          call();
        } catch {
          /* expected */
        }
      res.writeStatus('201 Created').end('fine');
    }),
  );
  const answer = await server.once(get('/'));
  assert.deepEqual([answer.status, answer.get('x'), answer.body], ['201 Created', undefined, 'fine']);
});

it('errors are instances of Error', async (t) => {
  const { ws } = await socket(t);
  assert.throws(
    () => ws.send(1),
    (error) => error instanceof Error && error.name === 'Error',
  );
});

it('too few arguments', async (t) => {
  const { app, ws } = await socket(t);
  const least = (count) => `Function requires at least ${count} arguments.`;
  const cases = [
    [() => ws.publish(), 2],
    [() => ws.publish('t'), 2],
    [() => app.publish(), 2],
    [() => app.publish('t'), 2],
    [() => app.numSubscribers(), 1],
    [() => app.listen(), 2],
    [() => app.listen(0), 2],
    [() => app.listen_unix(), 2],
    [() => app.listen_unix(() => {}), 2],
    [() => app.ws(), 2],
    [() => app.ws('/x'), 2],
  ];
  for (const [call, count] of cases) assert.equal(messageOf(call), least(count), String(call));
});

const METHODS = ['get', 'post', 'options', 'del', 'patch', 'put', 'head', 'connect', 'trace', 'any'];
for (const method of METHODS) {
  it(`app.${method} with a handler that is no function`, () => {
    const app = uWS.App();
    for (const args of [[], ['/x'], ['/x', undefined], ['/x', 1], ['/x', {}], ['/x', 'text']])
      assert.equal(
        messageOf(() => app[method](...args)),
        ERRORS.callback,
        String(args),
      );
  });
}

it('filter with a handler that is no function', { skip: v30 ? '20.30 has no filter' : false }, () => {
  for (const args of [[], [1]])
    assert.equal(
      messageOf(() => uWS.App().filter(...args)),
      ERRORS.callback,
    );
});

it('cork, forEach and listen throw when their callback is no function', async (t) => {
  const { app, ws } = await socket(t);
  for (const call of [
    () => ws.cork(),
    () => ws.cork(1),
    () => app.listen(0, 1),
    () => app.listen('127.0.0.1', 0),
  ])
    assert.throws(call);
  const inside = await inHandler(t, (res, req) =>
    [() => res.cork(), () => res.cork(1), () => req.forEach(), () => req.forEach(1)].map(messageOf),
  );
  assert.ok(!inside.includes('no error'), inside.join());
});

for (const name of ['onAborted', 'onData', 'onWritable']) {
  it(`${name} with a handler that is no function`, async (t) => {
    const message = await inHandler(t, (res) => {
      const result = messageOf(() => res[name](1));
      res[name](() => true);
      return result;
    });
    assert.equal(message, differs('bad-callbacks', { original: 'no error', ours: ERRORS.callback }));
  });
}

it('surplus arguments never throw', async (t) => {
  const { app, ws } = await socket(t);
  for (const call of [
    () => ws.send('a', false, false, 1, {}),
    () => ws.subscribe('a', 1, 2),
    () => ws.unsubscribe('a', 1),
    () => ws.getBufferedAmount(1),
    () => ws.getTopics(1),
    () => ws.getUserData(1),
    () => ws.ping('x', 1, 2),
    () => ws.publish('a', 'b', false, false, 1),
    () => app.publish('a', 'b', false, false, 1),
    () => app.numSubscribers('a', 1),
    () => ws.end(1000, 'x', 1),
  ])
    assert.doesNotThrow(call);
  const inside = await inHandler(t, (res, req) =>
    [
      () => res.writeStatus('200 OK', 1),
      () => res.writeHeader('a', 'b', 1),
      () => res.getWriteOffset(1),
      () => req.getUrl(1),
      () => req.getMethod(1),
      () => req.getHeader('a', 1),
      () => req.getParameter(0, 1),
      () => res.getRemoteAddress(1),
      () => res.end('x', false, 1),
    ].map(messageOf),
  );
  assert.deepEqual(new Set(inside), new Set(['no error']));
});

it('undefined for a handler of a ws behavior is as good as none', async (t) => {
  const server = serve(t, (app) =>
    app.ws('/*', {
      open: undefined,
      message: undefined,
      close: undefined,
      ping: undefined,
      upgrade: undefined,
    }),
  );
  const peer = await server.ws('/');
  await peer.text('x');
  await peer.ping('p');
  assert.equal((await peer.frame()).text, 'p');
});

for (const [name, value] of [
  ['null', null],
  ['a number', 1],
  ['text', 'x'],
]) {
  it(`${name} for a handler of a ws behavior`, async () => {
    const run = await child(async ({ listening }, handler) => {
      const server = listening((app) => {
        try {
          app.ws('/*', { open: handler, message: handler });
        } catch (error) {
          console.log(error.message);
          process.exit(0);
        }
      });
      const peer = await server.ws('/');
      await peer.text('x');
      await peer.ping('p');
      console.log((await peer.frame()).text);
      process.exit(0);
    }, value);
    const wanted = differs('bad-ws-handlers', {
      original: 'crash',
      ours: value === null ? 'p' : ERRORS.callback,
    });
    if (wanted === 'crash') assert.ok(aborted(run), JSON.stringify(run));
    else assert.equal(run.stdout, `${wanted}\n`);
  });
}

it('options of App', () => {
  for (const args of [[], [{}], [{ unknown: 1 }]]) assert.equal(typeof uWS.App(...args).get, 'function');
});

for (const value of ['undefined', 'null']) {
  it(`App(${value})`, async () => {
    const run = await child(({ uWS: module }, name) => {
      console.log(typeof module.App(name === 'null' ? null : undefined).get);
    }, value);
    if (differs('app-null', { original: 'aborts', ours: 'works' }) === 'aborts') assert.ok(aborted(run));
    else assert.equal(run.stdout, 'function\n');
  });
}

// Section 2 of what changed after 20.57, of which there is no binary to run; 20.57 reads nothing of them.
for (const value of [1, 'text', true, Symbol('s'), 1n]) {
  it(`a ${typeof value} for the options of an app or a server name`, () => {
    const message = differs('bad-options', { original: 'no error', ours: 'Options must be an object.' });
    const app = uWS.App();
    for (const call of [
      // Over TLS `uWS.App` is another function.
      () => require(modulePath()).App(value),
      () => uWS.SSLApp(value),
      () => app.addServerName('localhost', value),
    ])
      assert.equal(messageOf(call), message);
  });
}

it('getParts with wrong arguments', () => {
  assert.equal(
    messageOf(() => uWS.getParts(1, 'multipart/form-data; boundary=x')),
    ERRORS.data,
  );
});

it('us_listen_socket_close and us_socket_local_port without a token', onlyOurs('no-token'), () => {
  for (const call of [
    () => uWS.us_listen_socket_close(),
    () => uWS.us_listen_socket_close(false),
    () => uWS.us_socket_local_port({}),
    () => uWS.us_socket_local_port(1),
  ]) {
    try {
      call();
    } catch (error) {
      assert.ok(error instanceof Error);
    }
  }
});

it('methods on a foreign this', onlyOurs('foreign-this'), async (t) => {
  const { app, ws } = await socket(t);
  for (const call of [
    () => ws.send.call({}, 'x'),
    () => ws.send.call(undefined, 'x'),
    () => app.get.call({}, '/x', () => {}),
  ])
    assert.throws(call);
});

it('a number may be given as text', async (t) => {
  const { peer } = await socket(t);
  const server = serve(t, (app) =>
    app.get('/*', (res) => {
      res.tryEnd('text', '4');
    }),
  );
  assert.equal((await server.once(get('/'))).get('content-length'), '4');
  peer.destroy();
});
