'use strict';

const { once } = require('node:events');
const { assert, client, deferred, it, packages, patterned, uWS } = require('./stack');
const { Server } = packages.require('socket.io');
const { io: connect } = packages.require('socket.io-client');

const TRANSPORTS = ['polling', 'websocket'];

/** A socket.io server on an app of uWebSockets.js, with clients that are closed after the test. */
async function serve(t, configure, options) {
  const app = uWS.App();
  const io = new Server(options);
  io.attachApp(app);
  configure(io, app);
  const port = await new Promise((resolve) => {
    app.listen(0, (token) => resolve(uWS.us_socket_local_port(token)));
  });
  const sockets = [];
  t.after(async () => {
    for (const socket of sockets) socket.disconnect();
    await io.close();
    app.close();
  });
  /** A client, connected unless it is `lazy`. */
  const join = async (namespace = '/', { lazy, ...more } = {}) => {
    const settings = { transports: ['websocket'], forceNew: true, reconnectionDelay: 10, ...more };
    const socket = connect(`http://127.0.0.1:${port}${namespace}`, settings);
    sockets.push(socket);
    if (!lazy) await once(socket, 'connect');
    return socket;
  };
  return { app, io, join, port };
}

for (const transport of TRANSPORTS) {
  const transports = { transports: [transport] };

  it(`${transport}: events with arguments both ways and acknowledgements`, async (t) => {
    const { join } = await serve(t, (io) => {
      io.on('connection', (socket) => {
        socket.on('echo', (...args) => socket.emit('echo', ...args));
        socket.on('sum', (a, b, answer) => answer(a + b));
      });
    });
    const socket = await join('/', transports);
    assert.equal(socket.io.engine.transport.name, transport);
    socket.emit('echo', 'grüß', 1, { deep: [true, null] });
    assert.deepEqual(await once(socket, 'echo'), ['grüß', 1, { deep: [true, null] }]);
    assert.equal(await socket.timeout(1000).emitWithAck('sum', 2, 3), 5);
    await assert.rejects(socket.timeout(20).emitWithAck('nobody listens'), /timed out/);
  });

  it(`${transport}: binary, small and large, nested among text`, async (t) => {
    const { join } = await serve(
      t,
      (io) => {
        io.on('connection', (socket) => socket.on('bytes', (value, answer) => answer(value)));
      },
      { maxHttpBufferSize: 4 << 20 },
    );
    const socket = await join('/', transports);
    for (const size of [0, 1, 70000, 1 << 20]) {
      const bytes = patterned(size);
      const back = await socket
        .timeout(5000)
        .emitWithAck('bytes', { name: 'ü', bytes, list: [bytes.subarray(0, 3)] });
      assert.equal(back.name, 'ü');
      assert.ok(Buffer.from(back.bytes).equals(bytes), `${size} bytes`);
      assert.ok(Buffer.from(back.list[0]).equals(bytes.subarray(0, 3)));
    }
  });

  it(`${transport}: a burst comes whole and in order`, async (t) => {
    const { join } = await serve(t, (io) => {
      io.on('connection', (socket) => socket.on('n', (n) => socket.emit('n', n)));
    });
    const socket = await join('/', transports);
    const seen = [];
    const done = deferred();
    socket.on('n', (n) => {
      seen.push(n);
      if (seen.length === 1000) done.resolve();
    });
    for (let n = 0; n < 1000; n += 1) socket.emit('n', n);
    await done.promise;
    assert.deepEqual(
      seen,
      Array.from({ length: 1000 }, (_, n) => n),
    );
  });

  it(`${transport}: either side disconnects`, async (t) => {
    const reasons = [];
    const { io, join } = await serve(t, (io) => {
      io.on('connection', (socket) => {
        socket.on('disconnect', (reason) => reasons.push(reason));
        socket.on('kick', () => socket.disconnect(true));
      });
    });
    const kicked = await join('/', transports);
    kicked.emit('kick');
    assert.deepEqual((await once(kicked, 'disconnect'))[0], 'io server disconnect');
    const leaving = await join('/', transports);
    const gone = once(io.sockets.sockets.get(leaving.id).conn, 'close');
    leaving.disconnect();
    await gone;
    assert.deepEqual(reasons, ['server namespace disconnect', 'client namespace disconnect']);
    assert.equal(io.engine.clientsCount, 0);
  });
}

it('begins with polling and upgrades to WebSocket', async (t) => {
  const { join } = await serve(t, (io) => {
    io.on('connection', (socket) => socket.on('ping me', (answer) => answer(socket.conn.transport.name)));
  });
  const socket = await join('/', { transports: TRANSPORTS });
  if (socket.io.engine.transport.name === 'polling') await once(socket.io.engine, 'upgrade');
  assert.equal(await socket.emitWithAck('ping me'), 'websocket');
});

it('has rooms and broadcasts that leave out the sender', async (t) => {
  const { io, join } = await serve(t, (io) => {
    io.on('connection', (socket) => {
      socket.on('join', async (room, answer) => {
        await socket.join(room);
        answer();
      });
      socket.on('leave', async (room, answer) => {
        await socket.leave(room);
        answer();
      });
      socket.on('say', (room, text) => socket.to(room).emit('said', text));
    });
  });
  const [ann, bob, eve] = [await join(), await join(), await join('/', { transports: ['polling'] })];
  const heard = { ann: [], bob: [], eve: [] };
  for (const [name, socket] of Object.entries({ ann, bob, eve }))
    socket.on('said', (text) => heard[name].push(text));
  for (const socket of [ann, bob]) await socket.emitWithAck('join', 'a');
  await eve.emitWithAck('join', 'b');
  ann.emit('say', 'a', 'to a');
  await once(bob, 'said');
  io.to('b').emit('said', 'to b');
  io.to(['a', 'b']).except('b').emit('said', 'a without b');
  io.emit('said', 'to all');
  io.to('a').emit('said', patterned(3));
  await bob.emitWithAck('leave', 'a');
  io.to('a').emit('said', 'after');
  const last = 'the end';
  const all = [ann, bob, eve].map(
    (socket) => new Promise((resolve) => socket.on('said', (text) => text === last && resolve())),
  );
  io.emit('said', last);
  await Promise.all(all);
  const bytes = patterned(3);
  assert.deepEqual(heard, {
    ann: ['a without b', 'to all', bytes, 'after', last],
    bob: ['to a', 'a without b', 'to all', bytes, last],
    eve: ['to b', 'to all', last],
  });
  assert.deepEqual(
    (await io.in('a').fetchSockets()).map((socket) => socket.id),
    [ann.id],
  );
});

it('keeps namespaces apart and refuses by middleware', async (t) => {
  const { io, join } = await serve(t, (io) => {
    io.of('/admin').use((socket, next) => {
      if (socket.handshake.auth.token === 'secret') return next();
      next(Object.assign(new Error('not you'), { data: { code: 401 } }));
    });
    io.of('/admin').on('connection', (socket) => {
      const { headers, query } = socket.handshake;
      socket.emit('welcome', headers['x-from'], query.page);
    });
  });
  const stranger = await join('/admin', { lazy: true });
  const [error] = await once(stranger, 'connect_error');
  assert.deepEqual([error.message, error.data], ['not you', { code: 401 }]);
  const admin = await join('/admin', {
    lazy: true,
    auth: { token: 'secret' },
    extraHeaders: { 'x-from': 'ann' },
    query: { page: 'ü' },
  });
  assert.deepEqual(await once(admin, 'welcome'), ['ann', 'ü']);
  assert.equal(io.of('/admin').sockets.size, 1);
  assert.equal(io.sockets.sockets.size, 0);
});

it('takes clients back after the connection broke, with what was sent meanwhile', async (t) => {
  const { io, join } = await serve(t, () => {}, {
    connectionStateRecovery: { maxDisconnectionDuration: 10000 },
  });
  const socket = await join();
  const heard = [];
  socket.on('note', (text) => heard.push(text));
  const first = socket.id;
  io.emit('note', 'before');
  await once(socket, 'note');
  const broken = once(io.sockets.sockets.get(first), 'disconnect');
  const back = once(socket, 'connect');
  socket.io.engine.transport.ws.terminate();
  await broken;
  io.emit('note', 'meanwhile');
  await back;
  assert.equal(socket.recovered, true);
  assert.equal(socket.id, first);
  if (heard.length < 2) await once(socket, 'note');
  assert.deepEqual(heard, ['before', 'meanwhile']);
});

it('serves 50 clients of both transports', async (t) => {
  const { io, join } = await serve(t, (io) => {
    io.on('connection', (socket) => {
      socket.on('shout', (text) => io.emit('heard', text));
    });
  });
  const count = 50;
  const sockets = await Promise.all(
    Array.from({ length: count }, (_, n) => join('/', { transports: [TRANSPORTS[n % 2]] })),
  );
  assert.equal(io.engine.clientsCount, count);
  const heard = sockets.map((socket) => {
    const texts = new Set();
    const done = deferred();
    socket.on('heard', (text) => {
      texts.add(text);
      if (texts.size === count) done.resolve(texts);
    });
    return done.promise;
  });
  sockets.forEach((socket, n) => socket.emit('shout', `from ${n}`));
  for (const texts of await Promise.all(heard)) assert.equal(texts.size, count);
});

it('answers CORS, other origins and requests it does not know', async (t) => {
  const { app, port } = await serve(t, () => {}, {
    cors: { origin: 'http://there.example', credentials: true },
  });
  app.any('/*', (res) => res.writeStatus('404 Not Found').end('no'));
  const http = client(port);
  const origin = { origin: 'http://there.example' };
  const handshake = await http.get('/socket.io/?EIO=4&transport=polling', { headers: origin });
  assert.equal(handshake.status, 200);
  assert.equal(handshake.headers['access-control-allow-origin'], 'http://there.example');
  assert.match(handshake.text, /^0\{"sid":/);
  const preflight = await http.options('/socket.io/', {
    headers: { ...origin, 'access-control-request-method': 'POST' },
  });
  assert.equal(preflight.status, 204);
  const unknown = await http.get('/socket.io/?EIO=4&transport=polling&sid=none');
  assert.deepEqual([unknown.status, unknown.json.code], [400, 1]);
  const wrong = await http.get('/socket.io/?EIO=4&transport=carrier-pigeon');
  assert.deepEqual([wrong.status, wrong.json.code], [400, 0]);
  assert.equal((await http.get('/elsewhere')).status, 404);
});
