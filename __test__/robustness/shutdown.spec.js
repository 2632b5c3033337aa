'use strict';
// `app.shutdown()`: nothing that was accepted is lost, every object hears of its end once, and the process
// ends by itself. The event loop's side of it is in src/event_loop/tests/shutdown.rs.

const { Worker } = require('node:worker_threads');
const { it, assert, uWS, ours, serve, get, upgradeRequest, frame, child, until } = require('../support');

const OURS = { skip: ours ? false : 'the originals can only close' };
const settled = async (promise) =>
  Promise.race([promise.then(() => true), new Promise((resolve) => setTimeout(resolve, 50, false))]);

it('checks its arguments and changes nothing if they are wrong', OURS, async (t) => {
  const server = serve(t, (app) => app.get('/*', (res) => res.end('here')));
  for (const bad of [null, 5, 'now', true]) {
    assert.throws(() => server.app.shutdown(bad), {
      name: 'TypeError',
      message: 'options must be an object.',
    });
  }
  for (const bad of [-1, 1.5, NaN, Infinity, '5', null, 86401, 10n]) {
    assert.throws(() => server.app.shutdown({ timeout: bad }), {
      name: 'RangeError',
      message: /^timeout must be an integer from 0 to 86400; got /,
    });
  }
  assert.equal((await server.once(get('/'))).body, 'here');
  assert.deepEqual(await server.app.shutdown(), { cut: 0 });
});

it('answers what is in flight, ends what is idle, and resolves behind the last end', OURS, async (t) => {
  const heard = [];
  let answer;
  const server = serve(t, (app) => {
    app.get('/kept', (res) => res.end('kept'));
    app.get('/later', (res) => {
      res.onAborted(() => heard.push('aborted'));
      answer = () => res.end('later');
    });
    app.ws('/*', { close: (ws, code, reason) => heard.push([code, reason.byteLength]) });
  });
  const idle = await server.connect();
  assert.equal((await idle.request(get('/kept'))).get('connection'), undefined);
  const socket = await server.ws('/');
  const busy = await server.connect();
  await busy.send(get('/later'));
  await until(() => answer);
  const over = server.app.shutdown({ timeout: 60 });
  assert.equal(server.app.shutdown(), over, 'the same promise');
  await idle.gone();
  const close = await socket.frame();
  assert.deepEqual([close.opcode, close.code, close.text], [8, 1001, '']);
  await until(() => heard.length > 0);
  assert.deepEqual(heard, [[1001, 0]]);
  socket.destroy();
  await assert.rejects(server.connect());
  assert.equal(await settled(over), false);
  answer();
  const last = await busy.response();
  assert.deepEqual([last.body, last.get('connection')], ['later', 'close']);
  await busy.gone();
  busy.destroy();
  idle.destroy();
  assert.deepEqual(await over, { cut: 0 });
  assert.deepEqual(heard, [[1001, 0]]);
});

it('calls back with false while it lasts, and listens again afterwards', OURS, async (t) => {
  const server = serve(t, (app) => app.get('/*', (res) => res.end('again')));
  const over = server.app.shutdown();
  server.app.listen(0, (token) => assert.equal(token, false));
  await over;
  server.app.listen(0, (token) => {
    server.port = uWS.us_socket_local_port(token);
  });
  const answer = await server.once(get('/'));
  assert.deepEqual([answer.body, answer.get('connection')], ['again', undefined]);
});

it('cuts at the timeout, and tells of each once', OURS, async (t) => {
  const heard = [];
  let asked = 0;
  const server = serve(t, (app) => {
    app.get('/*', (res) => {
      asked++;
      res.onAborted(() => heard.push('aborted'));
    });
  });
  const peers = [];
  for (let n = 0; n < 3; n++) {
    const peer = await server.connect();
    await peer.send(get('/'));
    peers.push(peer);
  }
  await until(() => asked === 3);
  assert.deepEqual(await server.app.shutdown({ timeout: 1 }), { cut: 3 });
  assert.deepEqual(heard, ['aborted', 'aborted', 'aborted']);
  await Promise.all(peers.map((peer) => peer.gone()));
});

it('close ends it at once', OURS, async (t) => {
  const heard = [];
  let asked = 0;
  const server = serve(t, (app) => {
    app.get('/*', (res) => {
      asked++;
      res.onAborted(() => heard.push('aborted'));
    });
  });
  const peer = await server.connect();
  await peer.send(get('/'));
  await until(() => asked === 1);
  const over = server.app.shutdown({ timeout: 60 });
  server.app.close();
  assert.deepEqual(heard, ['aborted']);
  assert.deepEqual(await over, { cut: 1 });
  assert.deepEqual(heard, ['aborted']);
});

it('a WebSocket that a handler opens meanwhile is told to go', OURS, async (t) => {
  const heard = [];
  let upgrade;
  const server = serve(t, (app) => {
    app.ws('/*', {
      upgrade(res, req, context) {
        res.onAborted(() => heard.push('aborted'));
        const [key, protocol] = [req.getHeader('sec-websocket-key'), req.getHeader('sec-websocket-protocol')];
        upgrade = () => res.upgrade({}, key, protocol, '', context);
      },
      open: () => heard.push('open'),
      close: (ws, code) => heard.push(code),
    });
  });
  const peer = await server.connect();
  await peer.send(upgradeRequest('/'));
  await until(() => upgrade);
  const over = server.app.shutdown({ timeout: 60 });
  upgrade();
  assert.equal((await peer.head()).code, 101);
  await peer.gone();
  peer.destroy();
  assert.deepEqual(await over, { cut: 0 });
  assert.deepEqual(heard, ['open', 1001]);
});

it('ends the sockets of its routes that another app has accepted', OURS, async (t) => {
  const heard = [];
  const guest = uWS.App();
  let context;
  guest.ws('/ws', {
    upgrade: (res, req, its) => {
      context = its;
      res.end();
    },
    close: (ws, code) => heard.push(code),
  });
  const own = serve(t, () => {}, { app: guest });
  await own.once(upgradeRequest('/ws'));
  const host = serve(t, (app) =>
    app.ws('/*', {
      upgrade(res, req) {
        res.upgrade({}, req.getHeader('sec-websocket-key'), '', '', context);
      },
    }),
  );
  const socket = await host.ws('/');
  await guest.shutdown();
  const close = await socket.frame();
  assert.deepEqual([close.opcode, close.code, heard.length, heard[0]], [8, 1001, 1, 1001]);
});

it('ends such a socket also if it opens meanwhile', OURS, async (t) => {
  const heard = [];
  const guest = uWS.App();
  let context, answer, upgrade;
  const own = serve(
    t,
    (app) =>
      app
        .get('/later', (res) => {
          res.onAborted(() => {});
          answer = () => res.end('later');
        })
        .ws('/ws', {
          upgrade: (res, req, its) => {
            context = its;
            res.end();
          },
          open: () => heard.push('open'),
          close: (ws, code) => heard.push(code),
        }),
    { app: guest },
  );
  await own.once(upgradeRequest('/ws'));
  const busy = await own.connect();
  await busy.send(get('/later'));
  const host = serve(t, (app) =>
    app.ws('/*', {
      upgrade(res, req) {
        res.onAborted(() => {});
        const key = req.getHeader('sec-websocket-key');
        upgrade = () => res.upgrade({}, key, '', '', context);
      },
    }),
  );
  const opening = host.ws('/');
  await until(() => answer && upgrade);
  const over = guest.shutdown({ timeout: 60 });
  upgrade();
  const close = await (await opening).frame();
  assert.deepEqual([close.opcode, close.code, heard], [8, 1001, ['open', 1001]]);
  answer();
  assert.deepEqual(await over, { cut: 0 });
  assert.deepEqual(heard, ['open', 1001]);
});

it('goes on if such a socket ends others, or has user data that hides its methods', OURS, async (t) => {
  const guest = uWS.App();
  const [sockets, heard] = [[], []];
  let context;
  guest.ws('/ws', {
    upgrade: (res, req, its) => {
      context = its;
      res.end();
    },
    open: (ws) => sockets.push(ws),
    close(ws, code) {
      heard.push(code);
      for (const other of sockets.filter((each) => each !== ws)) {
        try {
          other.close();
        } catch {
          // It has ended before.
        }
      }
    },
  });
  const own = serve(t, () => {}, { app: guest });
  await own.once(upgradeRequest('/ws'));
  const host = serve(t, (app) =>
    app.ws('/*', {
      upgrade(res, req) {
        res.upgrade({ end: 5 }, req.getHeader('sec-websocket-key'), '', '', context);
      },
    }),
  );
  const peers = [await host.ws('/'), await host.ws('/')];
  await until(() => sockets.length === 2);
  assert.deepEqual(await guest.shutdown(), { cut: 0 });
  assert.deepEqual(heard, [1001, 1006], 'the first ends the second from within its handler');
  for (const peer of peers) peer.destroy();
});

it('the process ends by itself, however it waits for the end', OURS, async () => {
  const result = await child((support) => {
    const server = support.listening((app) => app.get('/*', (res) => res.end('x')));
    const never = support.uWS.App();
    (async () => {
      const peer = await server.connect();
      await peer.request(support.get('/'));
      // Nothing else keeps the process alive, so a promise that does not would end it with code 13.
      const results = await Promise.all([server.app.shutdown(), never.shutdown(), never.shutdown()]);
      console.log(JSON.stringify(results), await never.shutdown({ timeout: 0 }));
    })();
  });
  assert.equal(result.stderr, '');
  assert.equal(result.stdout, '[{"cut":0},{"cut":0},{"cut":0}] { cut: 0 }\n');
  assert.deepEqual([result.code, result.hung], [0, false]);
});

it('goes on while JavaScript is blocked', OURS, async () => {
  const result = await child(
    (support) => {
      const { Worker } = require('node:worker_threads');
      const server = support.listening((app) => {
        app.get('/kept', (res) => res.end('kept'));
        app.get('/never', (res) => res.onAborted(() => console.log('aborted')));
        app.ws('/*', { close: (ws, code) => console.log('close', code) });
      });
      const done = new Int32Array(new SharedArrayBuffer(8));
      const worker = new Worker(
        `const { workerData } = require('worker_threads');
         const { Peer, WsPeer, get } = require(workerData.clients);
         (async () => {
           const idle = await Peer.connect(workerData.port), socket = await WsPeer.open(workerData.port);
           const never = await Peer.connect(workerData.port);
           await idle.request(get('/kept'));
           await never.send(get('/never'));
           await new Promise((resolve) => setTimeout(resolve, 100));
           Atomics.store(workerData.done, 0, 1);
           Atomics.notify(workerData.done, 0);
           const { code } = await socket.frame();
           await idle.gone();
           await never.gone();
           Atomics.store(workerData.done, 1, code);
           Atomics.notify(workerData.done, 1);
         })();`,
        {
          eval: true,
          workerData: { port: server.port, done, clients: require.resolve('./__test__/clients') },
        },
      );
      const wait = setInterval(() => {
        if (Atomics.load(done, 0) === 0) return;
        clearInterval(wait);
        const over = server.app.shutdown({ timeout: 1 });
        // JavaScript is blocked until all clients have seen their end.
        console.log(Atomics.wait(done, 1, 0, 6000), done[1]);
        over.then((result) => {
          console.log(JSON.stringify(result));
          worker.terminate();
        });
      }, 5);
    },
    null,
    { timeout: 14000 },
  );
  assert.equal(result.stderr, '');
  const lines = result.stdout.trim().split('\n');
  assert.deepEqual([lines[0], lines.at(-1)], ['ok 1001', '{"cut":1}']);
  assert.deepEqual(lines.slice(1, -1).sort(), ['aborted', 'close 1001']);
});

it('works in workers, and a child app leaves the rotation', OURS, async (t) => {
  const source = `
    const { parentPort } = require('worker_threads');
    const { uWS } = require(${JSON.stringify(require.resolve('../support'))});
    const app = uWS.App().get('/*', (res) => res.end('child'));
    parentPort.postMessage(app.getDescriptor());
    parentPort.once('message', async () => parentPort.postMessage(await app.shutdown()));`;
  const server = serve(t, (app) => app.get('/*', (res) => res.end('home')));
  const worker = new Worker(source, { eval: true });
  const message = () => new Promise((resolve) => worker.once('message', resolve));
  const exit = new Promise((resolve) => worker.once('exit', resolve));
  server.app.addChildAppDescriptor(await message());
  assert.equal((await server.once(get('/'))).body, 'child');
  const over = message();
  worker.postMessage('shut down');
  assert.deepEqual(await over, { cut: 0 });
  for (let n = 0; n < 3; n++) assert.equal((await server.once(get('/'))).body, 'home');
  assert.equal(await exit, 0, 'the worker ends by itself');
});

it('a worker that ends during it disturbs nothing', OURS, async (t) => {
  const source = `
    const { parentPort } = require('worker_threads');
    const { uWS } = require(${JSON.stringify(require.resolve('../support'))});
    const app = uWS.App().get('/*', (res) => res.onAborted(() => {}));
    app.listen(0, (token) => parentPort.postMessage(uWS.us_socket_local_port(token)));
    parentPort.once('message', () => {
      app.shutdown({ timeout: 60 });
      parentPort.postMessage('begun');
    });`;
  const server = serve(t, () => {});
  const worker = new Worker(source, { eval: true });
  const message = () => new Promise((resolve) => worker.once('message', resolve));
  server.port = await message();
  const peer = await server.connect();
  await peer.send(get('/'));
  const begun = message();
  worker.postMessage('shut down');
  await begun;
  await worker.terminate();
  await peer.gone();
});

it('a loop that has stopped rejects', OURS, async () => {
  const result = await child((support) => {
    const server = support.listening(() => {});
    process.on('uncaughtException', (error) => console.log('uncaught', error.message));
    const { start } = require('./lib/engine');
    server.connect().then(async () => {
      const over = server.app.shutdown({ timeout: 60 });
      start().panicForTest('on purpose');
      await over.catch((error) => console.log('rejected', error.message));
      await server.app.shutdown().catch((error) => console.log('again', error.message));
      process.exit();
    });
  });
  assert.equal(
    result.stdout.replaceAll('The event loop of uws-rs has stopped: on purpose', '…'),
    'uncaught …\nrejected …\nagain …\n',
  );
});

it('under load every accepted request gets its whole response', OURS, async (t) => {
  const body = 'x'.repeat(2000);
  let handled = 0;
  const server = serve(t, (app) => {
    app.get('/now', (res) => {
      handled++;
      res.end(body);
    });
    app.get('/later', (res) => {
      handled++;
      res.onAborted(() => {});
      setTimeout(() => res.end(body), 3);
    });
    app.ws('/*', { message: (ws, data, isBinary) => ws.send(data, isBinary) });
  });
  let [answered, promised] = [0, 0];
  let ends = false;
  /** A client sends its next request only on a connection that the server has promised to keep. */
  const client = async (target) => {
    for (;;) {
      const peer = await server.connect().catch(() => null);
      if (peer === null) return;
      for (;;) {
        promised++;
        const before = peer.raw.bytesRead;
        const sent = await peer.request(get(target)).catch((error) => error);
        if (sent instanceof Error) {
          // The connection was idle when the request was sent, and no part of an answer came.
          assert.ok(ends, 'only a shutdown ends connections here');
          assert.equal(peer.raw.bytesRead, before, 'a response was cut');
          promised--;
          break;
        }
        assert.equal(sent.body, body);
        answered++;
        if (sent.get('connection') === 'close') break;
      }
      peer.destroy();
      if (ends) return;
    }
  };
  const clients = Array.from({ length: 60 }, (unused, n) => client(n % 2 ? '/now' : '/later'));
  const sockets = await Promise.all(Array.from({ length: 20 }, () => server.ws('/')));
  const echoes = sockets.map(async (socket) => {
    for (let n = 0; ; n++) {
      await socket.send(frame({ payload: `${n}` })).catch(() => {});
      const { opcode, code, text } = await socket.frame();
      if (opcode === 8) return void (socket.destroy(), assert.equal(code, 1001));
      assert.equal(text, `${n}`);
    }
  });
  await until(() => answered > 1000);
  ends = true;
  const result = await server.app.shutdown({ timeout: 10 });
  await Promise.all([...clients, ...echoes]);
  assert.deepEqual(result, { cut: 0 });
  assert.equal(answered, promised);
  assert.equal(handled, answered, 'nothing was handled in vain');
});
