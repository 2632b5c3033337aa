'use strict';
const { it, assert, ours, Peer, WsPeer, get, post, uWS } = require('../support');
const { Program, sleep, eventually, settled, descriptorsOf } = require('./program');

const CLEAN = { code: 0, signal: null };
const OURS = { skip: ours ? false : 'the originals are one file, and have no cached routes' };
const how = ({ code, signal }) => ({ code, signal });

it('a process that only loads the module, or has an app that never listens, ends by itself', async (t) => {
  const program = Program.start(t, ({ uWS }) => {
    uWS
      .App()
      .get('/*', () => {})
      .ws('/*', {});
  });
  assert.deepEqual(how((await program.endWithin(5000)) ?? { hung: true }), CLEAN);
});

it('it ends when the listen socket closes and nothing was ever open', async (t) => {
  const program = Program.start(t, ({ listening, uWS }) => {
    const server = listening((app) => app.get('/*', () => {}));
    setTimeout(() => uWS.us_listen_socket_close(server.token), 50);
  });
  assert.deepEqual(how((await program.endWithin(5000)) ?? { hung: true }), CLEAN);
});

it('a listen that failed keeps nothing alive', async (t) => {
  const program = Program.start(t, ({ listening, uWS }) => {
    const server = listening((app) => app);
    uWS.App().listen('127.0.0.1', server.port, 1, (token) => {
      console.log(`token ${token}`);
      uWS.us_listen_socket_close(server.token);
    });
  });
  assert.deepEqual(how((await program.endWithin(5000)) ?? { hung: true }), CLEAN);
  assert.equal(program.stdout, 'token false\n');
});

for (const leave of ['close', 'reset', 'destroy']) {
  it(`an open WebSocket keeps it alive behind a closed listen socket, until it ends (${leave})`, async (t) => {
    const program = Program.start(t, ({ listening, uWS }) => {
      const server = listening((app) =>
        app.ws('/*', {
          message(ws, message) {
            if (Buffer.from(message).toString() === 'unlisten') uWS.us_listen_socket_close(server.token);
            ws.send(message);
          },
        }),
      );
      console.log(`port ${server.port}`);
    });
    const port = Number(await program.said('port'));
    const peers = [await WsPeer.open(port), await WsPeer.open(port)];
    await peers[0].text('unlisten');
    await peers[0].message();
    await assert.rejects(Peer.connect(port));
    for (const peer of peers) {
      await sleep(150);
      await peer.text('still there');
      assert.equal(await peer.message(), 'still there');
      await (leave === 'close' ? peer.close(1000) : peer[leave]());
    }
    assert.deepEqual(how((await program.endWithin(5000)) ?? { hung: true }), CLEAN);
    for (const peer of peers) peer.destroy();
  });
}

it('a pending response keeps it alive behind a closed listen socket', async (t) => {
  const program = Program.start(t, ({ listening, uWS }) => {
    const server = listening((app) =>
      app.get('/*', (res) => {
        res.onAborted(() => {});
        uWS.us_listen_socket_close(server.token);
        // The listener is unref'd, so only the connection keeps the process alive.
        setTimeout(() => res.cork(() => res.end('late', true)), 300).unref();
      }),
    );
    console.log(`port ${server.port}`);
  });
  const peer = await Peer.connect(Number(await program.said('port')));
  assert.equal((await peer.request(get('/'))).body, 'late');
  assert.deepEqual(how((await program.endWithin(5000)) ?? { hung: true }), CLEAN);
  peer.destroy();
});

it('app.close() leaves no descriptor, no object and no connection behind', async () => {
  const { connections, listeners } = require('../../lib/engine');
  // The loop itself has descriptors, and starts with the first app.
  uWS.App().close();
  const before = await settled(descriptorsOf);
  for (let round = 0; round < 5; round++) {
    const ended = [];
    const app = uWS.App();
    app
      .get('/*', (res) => res.onAborted(() => ended.push('aborted')))
      .ws('/*', { open: (ws) => ws.subscribe('all'), close: (ws, code) => ended.push(code) });
    let port;
    for (let i = 0; i < 3; i++) app.listen(0, (token) => (port = uWS.us_socket_local_port(token)));
    const peers = [
      await WsPeer.open(port),
      await WsPeer.open(port),
      await Peer.connect(port),
      await Peer.connect(port),
    ];
    await peers[3].send(get('/'));
    assert.ok(await eventually(() => connections.filter(Boolean).length === 3), 'three objects');
    app.close();
    assert.deepEqual(ended.sort(), [1006, 1006, 'aborted']);
    assert.equal(connections.filter(Boolean).length, 0);
    assert.equal(listeners.size, 0);
    await Promise.all(peers.map((peer) => peer.gone()));
    await assert.rejects(Peer.connect(port));
    for (const peer of peers) peer.destroy();
  }
  assert.ok(
    await eventually(() => descriptorsOf() === before),
    `${descriptorsOf()} descriptors, ${before} before`,
  );
});

for (const [name, size] of Object.entries({ small: 10, large: 1 << 20 })) {
  it(`a ${name} response written in the tick of process.exit() arrives`, async (t) => {
    const program = Program.start(
      t,
      ({ listening }, length) => {
        const server = listening((app) =>
          app.get('/*', (res) => {
            res.end('x'.repeat(length));
            process.exit(3);
          }),
        );
        console.log(`port ${server.port}`);
      },
      size,
    );
    const peer = await Peer.connect(Number(await program.said('port')));
    assert.equal((await peer.request(get('/'))).body.length, size);
    assert.deepEqual(how((await program.endWithin(5000)) ?? { hung: true }), { code: 3, signal: null });
    peer.destroy();
  });
}

it('a message and a close frame sent in the tick of process.exit() arrive', async (t) => {
  const program = Program.start(t, ({ listening }) => {
    const server = listening((app) =>
      app.ws('/*', {
        message(ws, message) {
          for (let i = 0; i < 100; i++) ws.send(message);
          ws.end(1001, 'bye');
          process.exit(0);
        },
      }),
    );
    console.log(`port ${server.port}`);
  });
  const peer = await WsPeer.open(Number(await program.said('port')));
  await peer.text('last words');
  const frames = await peer.frames();
  assert.equal(frames.length, 101);
  assert.ok(frames.slice(0, 100).every(({ text }) => text === 'last words'));
  assert.deepEqual([frames[100].code, frames[100].text], [1001, 'bye']);
  assert.deepEqual(how((await program.endWithin(5000)) ?? { hung: true }), CLEAN);
  peer.destroy();
});

it('a client that reads nothing does not hold up the end of the process', async (t) => {
  const program = Program.start(t, ({ listening }) => {
    const server = listening((app) =>
      app.get('/*', (res) => {
        res.end('x'.repeat(32 << 20));
        process.exit(0);
      }),
    );
    console.log(`port ${server.port}`);
  });
  const peer = await Peer.connect(Number(await program.said('port')));
  peer.pause();
  await peer.send(get('/'));
  assert.deepEqual(how((await program.endWithin(5000)) ?? { hung: true }), CLEAN);
  peer.destroy();
});

/** The ways in which a process reaches its `exit` listeners, and how a test causes each from outside. */
const WAYS = {
  'process.exit() in a handler': ({ ws }) => ws.text('exit'),
  'process.exit() in a timer': ({ say }) => say('timer'),
  'an exception nobody catches': ({ say }) => say('throw'),
  'process.exit() in a worker': ({ say }) => say('timer'),
};
for (const [name, go] of Object.entries(WAYS)) {
  it(`data sent by an exit listener added late arrives: ${name}`, async (t) => {
    const program = Program.start(
      t,
      (_, { support, inWorker }) => {
        const run = (listening) => {
          const held = { open: [] };
          const server = listening((app) =>
            app
              .get('/*', (res) => res.onAborted(() => {}) && held.open.push(res))
              .post('/:end', (res, req) => {
                res.end();
                if (req.getParameter(0) === 'ready') return;
                if (req.getParameter(0) === 'timer') return void setTimeout(() => process.exit(5), 20);
                setTimeout(() => {
                  throw new Error('nobody catches this');
                }, 20);
              })
              .ws('/*', { open: (ws) => (held.ws = ws), message: () => process.exit(5) }),
          );
          process.on('exit', () => {
            held.ws.send('last words');
            held.ws.end(1001, 'bye');
            for (const res of held.open) res.end('x'.repeat(100000));
          });
          return server;
        };
        const { listening } = require(support);
        if (!inWorker) return void console.log(`port ${run(listening).port}`);
        const { Worker } = require('node:worker_threads');
        const source = `const { listening } = require(${JSON.stringify(support)});
          require('node:worker_threads').parentPort.postMessage((${run})(listening).port);`;
        const thread = new Worker(source, { eval: true });
        thread.on('message', (port) => console.log(`port ${port}`));
        thread.on('exit', (code) => process.exit(code));
      },
      { support: require.resolve('../support'), inWorker: name.endsWith('worker') },
    );
    const port = Number(await program.said('port'));
    const ws = await WsPeer.open(port);
    const plain = await Peer.connect(port);
    await plain.send(get('/'));
    const say = async (end) => (await Peer.connect(port)).request(post(`/${end}`, ''));
    await say('ready');
    await go({ ws, say });
    assert.equal((await plain.response()).body.length, 100000);
    const frames = await ws.frames();
    assert.deepEqual(
      frames.map(({ text }) => text),
      ['last words', 'bye'],
    );
    const { code, signal } = (await program.endWithin(5000)) ?? {};
    assert.deepEqual([code, signal], [name.startsWith('an exception') ? 1 : 5, null]);
    plain.destroy();
  });
}

it('a stalled client holds up an end with late listeners no longer than one without', async (t) => {
  const program = Program.start(t, ({ listening }) => {
    const server = listening((app) =>
      app.get('/*', (res) => {
        res.end('x'.repeat(32 << 20));
        process.exit(0);
      }),
    );
    process.on('exit', () => console.log(`last ${Date.now()}`));
    console.log(`port ${server.port}`);
  });
  const peer = await Peer.connect(Number(await program.said('port')));
  peer.pause();
  await peer.send(get('/'));
  assert.deepEqual(how((await program.endWithin(5000)) ?? { hung: true }), CLEAN);
  assert.ok(Date.now() - Number(await program.said('last')) < 1000);
  peer.destroy();
});

it('a program that is loaded again and again in one process has one engine', async (t) => {
  const body = async ({ modulePath }, helpers) => {
    const { settled, eventually, descriptorsOf } = require(helpers);
    const threads = () => require('node:fs').readdirSync('/proc/self/task').length;
    const count = () => `${threads()} ${descriptorsOf()} ${process.listenerCount('exit')}`;
    const load = () => {
      for (const name of Object.keys(require.cache))
        if (name.startsWith(modulePath())) delete require.cache[name];
      const uWS = require(modulePath());
      uWS
        .App()
        .get('/*', (res) => res.end())
        .listen(0, uWS.us_listen_socket_close);
      return uWS;
    };
    const first = load();
    // The loop closes the listeners when it comes to that.
    const before = await settled(count);
    const same = Array.from({ length: 20 }, load).every((each) => each === first);
    console.log(`result ${same} ${await eventually(() => count() === before, 5000)}`);
  };
  const program = Program.start(t, body, require.resolve('./program'));
  assert.equal(await program.said('result'), 'true true');
  assert.deepEqual(how((await program.endWithin(5000)) ?? { hung: true }), CLEAN);
});

for (const [when, early] of [
  ['before the first app', true],
  ['while it serves', false],
]) {
  it(`a tool clears the cache of require ${when}: what is loaded later is no copy`, OURS, async (t) => {
    const program = Program.start(
      t,
      ({ uWS }, clearEarly) => {
        const clear = () => Object.keys(require.cache).forEach((name) => delete require.cache[name]);
        if (clearEarly) clear();
        const app = uWS.App({ limits: { maxConnections: 9 } }).post('/late', (res) => {
          res.onAborted(() => {});
          // Bytes are held until then, so the loop is told to pause.
          setTimeout(() => res.collectBody(1e6, (body) => res.end(`late ${body.byteLength}`)), 50);
        });
        const acceptor = require('net').createServer({ pauseOnConnect: true }, (socket) => {
          app.adoptSocket(socket);
        });
        app.listen('127.0.0.1', 0, (token) => {
          if (!clearEarly) clear();
          app.get('/cached', (res) => res.end('cached'), { upperExpiry: 9 });
          acceptor.listen(0, '127.0.0.1', () => {
            console.log(`port ${uWS.us_socket_local_port(token)}`);
            console.log(`acceptor ${acceptor.address().port}`);
          });
        });
      },
      early,
    );
    for (const name of ['port', 'acceptor']) {
      const peer = await Peer.connect(Number(await program.said(name)));
      assert.equal((await peer.request(post('/late', 'x'.repeat(100000)))).body, 'late 100000');
      assert.equal((await peer.request(get('/cached'))).body, 'cached');
      peer.destroy();
    }
    await program.stop();
    assert.equal(program.stderr, '');
  });
}
