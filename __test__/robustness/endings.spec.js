'use strict';
// A connection ends after its last byte, however slowly the client reads it, and whatever the client still
// sends.

const { it, assert, serve, get, post, upgradeRequest, frame, uWS, until } = require('../support');
const { Program, sleep } = require('./program');

const SIZE = 24 << 20;
const BODY = Buffer.alloc(SIZE, 'the last bytes count as much as the first');
const PER_SECOND = 4 << 20;
const old = (target) => get(target).replace('HTTP/1.1', 'HTTP/1.0');

/** Reads everything until the end, at so many bytes per second. */
async function readSlowly(peer) {
  const parts = [];
  const began = Date.now();
  let size = 0;
  peer.socket.removeAllListeners('data');
  peer.socket.on('data', (chunk) => {
    parts.push(chunk);
    size += chunk.length;
    const ahead = (size / PER_SECOND) * 1000 - (Date.now() - began);
    if (ahead <= 5) return;
    peer.pause();
    setTimeout(() => peer.resume(), ahead);
  });
  peer.resume();
  return { end: await peer.gone(), bytes: Buffer.concat(parts) };
}

/** Requests after which the connection closes. */
const ENDS = {
  'Connection: close of the client': get('/', ['Connection: close']),
  'end(body, true)': get('/close'),
  'a header of the program': get('/header'),
  'HTTP/1.0': old('/'),
  'HTTP/1.0, streamed': old('/streamed'),
  'chunks and end(…, true)': get('/chunks'),
  'a WebSocket that is ended': upgradeRequest('/ws'),
};

function routes(app) {
  app.get('/', (res) => res.end(BODY));
  app.get('/close', (res) => res.end(BODY, true));
  app.get('/header', (res) => res.writeHeader('Connection', 'close').end(BODY));
  app.get('/streamed', (res) => {
    res.onAborted(() => {});
    res.write(BODY.subarray(0, 1000));
    res.end(BODY.subarray(1000));
  });
  app.get('/chunks', (res) => {
    res.onAborted(() => {});
    res.write(BODY);
    res.end('', true);
  });
  app.ws('/ws', {
    maxBackpressure: 0,
    open(ws) {
      ws.send(BODY, true);
      ws.end(1000, 'bye');
    },
  });
}

it('a slow reader gets every byte of a connection that closes', { timeout: 60000 }, async (t) => {
  const server = serve(t, routes);
  await Promise.all(
    Object.entries(ENDS).map(async ([name, bytes]) => {
      const peer = await server.connect();
      peer.pause();
      await peer.send(bytes);
      const { end, bytes: got } = await readSlowly(peer);
      assert.equal(end, 'fin', name);
      // The data is sent in one or more chunks, with the framing between them.
      const at = got.indexOf(BODY.subarray(0, 1000));
      assert.ok(at > 0, name);
      assert.ok(got.subarray(at).length >= SIZE, `${name}: ${got.length} of ${SIZE}`);
      if (!name.includes('chunks')) assert.ok(got.subarray(at, at + SIZE).equals(BODY), name);
      if (name.includes('WebSocket')) assert.equal(got.subarray(-3).toString(), 'bye');
    }),
  );
});

it('a reader that stops for good is given up', { timeout: 60000 }, async (t) => {
  let gone = 0;
  const app = uWS.App();
  app.setResponseTimeout?.(2);
  app.filter?.((res, count) => count === -1 && gone++);
  const server = serve(t, () => {}, { app });
  routes(app);
  const peers = await Promise.all(Object.values(ENDS).map(() => server.connect()));
  await Promise.all(
    Object.values(ENDS).map((bytes, i) => {
      peers[i].pause();
      return peers[i].send(bytes);
    }),
  );
  for (const end = Date.now() + 15000; gone < peers.length && Date.now() < end;) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.equal(gone, peers.length);
});

it('a client that goes on sending gets the response that closes, whole', { timeout: 60000 }, async (t) => {
  const server = serve(t, (app) => {
    routes(app);
    app.post('/early', (res) => res.end(BODY.subarray(0, 6 << 20), true));
    app.get('/small', (res) => res.end('small', true));
    app.get('/refused', (res) => res.end());
  });
  const more = {
    '/close': [get('/close'), get('/close'), SIZE],
    '/': [get('/', ['Connection: close']), get('/'), SIZE],
    'small ones': [get('/small'), get('/small').repeat(20), 5],
    'a body that is not read': [post('/early', 'x'.repeat(10)).slice(0, -10), 'x'.repeat(5000), 6 << 20],
    'a request that is refused': ['BROKEN\r\n\r\n', get('/refused').repeat(50), 10],
    'a WebSocket': [upgradeRequest('/ws'), frame({ payload: 'more' }).toString('latin1'), SIZE],
  };
  await Promise.all(
    Object.entries(more).map(async ([name, [first, rest, size]]) => {
      const peer = await server.connect();
      await peer.send(first);
      const timer = setInterval(() => peer.socket.write(rest, 'latin1'), 3);
      const got = (await peer.rest()).length;
      clearInterval(timer);
      assert.equal(peer.state, 'fin', name);
      assert.ok(got >= size, `${name}: ${got} of ${size}`);
    }),
  );
});

it(
  'a reset while the kernel refuses bytes ends at once, whatever else is sent',
  { timeout: 60000 },
  async (t) => {
    let gone = 0;
    const sockets = [];
    const closed = [];
    const app = uWS.App();
    app.filter((res, count) => count === -1 && gone++);
    const server = serve(
      t,
      () =>
        app.ws('/*', {
          maxBackpressure: 0,
          open(ws) {
            ws.send(BODY, true);
            sockets.push(ws);
          },
          close: (ws, code) => closed.push(code),
        }),
      { app },
    );
    // JavaScript does not know of the reset yet when it sends, ends, or does nothing.
    const ways = [() => {}, (ws) => ws.send('more'), (ws) => ws.end(1000, 'bye')];
    for (const way of ways) {
      const peer = await server.ws('/');
      peer.pause();
      await until(() => sockets.at(-1)?.getBufferedAmount() > 0);
      const ws = sockets.pop();
      await sleep(50);
      peer.raw.resetAndDestroy();
      for (const end = Date.now() + 100; Date.now() < end;);
      way(ws);
    }
    const began = Date.now();
    await until(() => gone === ways.length, 15000);
    // The response timeout, for peers that take no bytes, is 10 s.
    assert.ok(Date.now() - began < 3000, `after ${Date.now() - began} ms`);
    assert.deepEqual(closed, [1006, 1006, 1000]);
  },
);

/** Ends every object in every way, with handlers that do anything in it; prints what was called of them. */
const everyEnd = async (support) => {
  const { uWS, Peer, WsPeer, get: head, request, frame: framed, until } = support;
  const topic = 'topic';
  const seen = [];
  const peers = [];
  const errors = [];
  process.on('uncaughtException', (error) => errors.push(error.message));
  const endAgain = (object) => {
    for (const method of ['end', 'close', 'end']) {
      try {
        object[method]();
      } catch {
        // It is over.
      }
    }
  };
  /** The deeds of the handler of the end, besides being counted. */
  const BEHAVIOURS = {
    'does nothing': () => {},
    throws: () => {
      throw new Error('of the handler');
    },
    'ends it again': ({ object }) => endAgain(object),
    publishes: ({ app }) => app.publish(topic, 'over'),
    'closes the app': ({ app }) => app.close(),
  };
  /** Notes the handlers that are called of one object. */
  const watch = (entry, object) => {
    const own = { ...entry, handlers: [] };
    seen.push(own);
    return {
      call: (name) => own.handlers.push(name),
      end() {
        own.handlers.push('end');
        BEHAVIOURS[entry.behaviour]({ object, app: entry.app });
      },
    };
  };
  const listen = (app) => {
    let port = 0;
    app.listen(0, (token) => (port = uWS.us_socket_local_port(token)));
    return port;
  };
  const connected = async (connecting) => {
    const peer = await connecting;
    peers.push(peer);
    return peer;
  };

  const more = [framed({ payload: 'more' }), framed({ opcode: 9 }), framed({ opcode: 10 })];
  const chatter = Buffer.concat([...more, ...more]);
  const go = Buffer.concat([framed({ payload: 'go' }), chatter]);
  const behind = (bytes) => Buffer.concat([go, bytes, chatter]);
  const WEBSOCKETS = {
    'the end of the peer': { peer: async (peer) => (await peer.send(go), peer.halfClose()) },
    'a reset': { peer: async (peer) => (await peer.send(go), peer.reset()) },
    'a close frame': { peer: (peer) => peer.send(behind(framed({ opcode: 8 }))) },
    'a violation': { peer: (peer) => peer.send(behind(framed({ opcode: 3 }))) },
    'a timeout': { peer: (peer) => peer.send(go) },
    'ws.end()': { own: (ws) => ws.end(1000, 'bye') },
    'ws.close()': { own: (ws) => ws.close() },
    'ws.end() and again': { own: (ws) => (ws.end(), endAgain(ws)) },
    'app.close()': { own: (ws, app) => app.close() },
    closeOnBackpressureLimit: {
      slow: true,
      own(ws) {
        for (let sent = 0; sent !== 2;) sent = ws.send(Buffer.alloc(1 << 20));
      },
    },
  };
  const endWebSocket = async (cause, behaviour) => {
    const app = uWS.App();
    const { own, peer: act, slow } = WEBSOCKETS[cause];
    const watched = new Map();
    const note = (name) => (ws) => watched.get(ws).call(name);
    app.ws('/:who', {
      idleTimeout: cause === 'a timeout' ? 8 : 0,
      sendPingsAutomatically: false,
      maxBackpressure: 1 << 16,
      closeOnBackpressureLimit: true,
      upgrade: (res, req, context) =>
        res.upgrade({ who: req.getParameter(0) }, req.getHeader('sec-websocket-key'), '', '', context),
      open(ws) {
        const object = ws.who === 'one' ? 'a WebSocket' : 'another WebSocket of its app';
        watched.set(ws, watch({ object, cause, behaviour, app }, ws));
        ws.subscribe(topic);
      },
      message(ws, message) {
        watched.get(ws).call('message');
        if (own && ws.who === 'one' && Buffer.from(message).toString() === 'go') own(ws, app);
      },
      ping: note('ping'),
      pong: note('pong'),
      drain: note('drain'),
      dropped: note('dropped'),
      close: (ws) => watched.get(ws).end(),
    });
    const port = listen(app);
    await connected(WsPeer.open(port, '/other'));
    const peer = await connected(WsPeer.open(port, '/one'));
    if (slow) peer.pause();
    await (act ? act(peer) : peer.send(go));
  };

  const chunked = request('POST', '/one', ['Transfer-Encoding: chunked'], '3\r\nabc\r\n');
  const RESPONSES = {
    'the end of the peer': { peer: async (peer) => (await peer.send(head('/one')), peer.halfClose()) },
    'a reset': { peer: async (peer) => (await peer.send(head('/one')), await peer.seen(), peer.reset()) },
    'a reset of a pipeline': {
      objects: 5,
      peer: async (peer) => (await peer.send(head('/one').repeat(5)), await peer.seen(), peer.reset()),
    },
    'the end of the peer of a pipeline': {
      objects: 5,
      peer: async (peer) => (await peer.send(head('/one').repeat(5)), await peer.seen(), peer.halfClose()),
    },
    'the end of the peer within a body': {
      peer: async (peer) => (await peer.send(chunked), await peer.seen(), peer.halfClose()),
    },
    'a violation': { peer: async (peer) => (await peer.send(chunked), await peer.send('zz\r\n')) },
    'a timeout': { peer: (peer) => peer.send(chunked) },
    'res.close()': { own: (res) => res.close() },
    'res.end()': { ends: 0, own: (res) => res.end('x') },
    'res.end() and close': { ends: 0, own: (res) => res.end('x', true) },
    'app.close()': { own: (res, app) => app.close() },
  };
  const endResponse = async (cause, behaviour) => {
    const app = uWS.App();
    const { own, peer: act, objects = 1, ends = 1 } = RESPONSES[cause];
    if (cause === 'a timeout') app.setIdleTimeout(1);
    let requests = 0;
    app.any('/*', (res) => {
      const { call, end } = watch({ object: 'a response', cause, behaviour, app, ends }, res);
      requests++;
      res.onAborted(end);
      res.onData(() => call('data'));
      res.onWritable(() => (call('writable'), true));
      own?.(res, app);
    });
    const peer = await connected(Peer.connect(listen(app)));
    // The requests behind the first are objects once JavaScript has reached them.
    peer.seen = () => until(() => requests > 0);
    await (act ? act(peer) : peer.send(chunked));
    await until(() => requests >= (objects > 1 ? 1 : objects));
  };

  const all = [
    [WEBSOCKETS, endWebSocket],
    [RESPONSES, endResponse],
  ].flatMap(([causes, end]) =>
    Object.keys(causes).flatMap((cause) => Object.keys(BEHAVIOURS).map((behaviour) => end(cause, behaviour))),
  );
  await Promise.all(all);
  const ends = (entry) => entry.handlers.filter((name) => name === 'end').length;
  const isOver = (entry) => entry.object.startsWith('another') || ends(entry) >= (entry.ends ?? 1);
  await until(() => seen.every(isOver), 20000).catch(() => {});
  // Whatever comes behind an end has time to come.
  await new Promise((resolve) => setTimeout(resolve, 300));
  const missing = seen.filter((entry) => !isOver(entry)).map((entry) => ({ ...entry, app: 0 }));
  seen.forEach(({ app }) => app.close());
  await new Promise((resolve) => setTimeout(resolve, 100));
  const wrong = seen
    .filter((entry) => {
      const { handlers, ends: expected = 1 } = entry;
      return ends(entry) !== expected || (expected === 1 && handlers.at(-1) !== 'end');
    })
    .map((entry) => ({ ...entry, app: 0 }));
  const thrown = seen.filter(({ behaviour, handlers }) => behaviour === 'throws' && handlers.includes('end'));
  console.log(
    `result ${JSON.stringify({ combinations: all.length, objects: seen.length, missing, wrong, errors, thrown: thrown.length })}`,
  );
  for (const peer of peers) peer.destroy();
};

it('each end × what its handler does: told once, and of nothing behind it', { timeout: 60000 }, async (t) => {
  const program = Program.start(t, everyEnd);
  const result = JSON.parse(await program.said('result'));
  assert.deepEqual(result.missing, [], 'not told of their end');
  assert.deepEqual(result.wrong, [], 'told twice, or of something behind the end');
  const errors = Array.from({ length: result.thrown }, () => 'of the handler');
  assert.deepEqual(result.errors, errors, 'each error of a handler is reported once');
  assert.ok(result.combinations > 100 && result.objects > result.combinations, JSON.stringify(result));
  const end = await program.endWithin(5000);
  assert.ok(end, 'the process hangs');
  assert.deepEqual([end.code, end.signal], [0, null], end.stderr);
});
