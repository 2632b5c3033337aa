'use strict';
const { it, assert } = require('../support');
const { Program } = require('./program');

/** A server with a WebSocket, a pending response and a `/panic` that makes its loop panic. */
const body = async ({ modulePath, listening, get }, listener) => {
  const engine = require(`${modulePath()}/lib/engine`).start();
  const log = (...words) => console.log(...words);
  if (listener) process.on('uncaughtException', (error, origin) => log('uncaught', origin, error.message));
  process.on('exit', (code) => log('exit', code));
  const server = listening((app) =>
    app
      .ws('/*', {
        close(ws, code, reason) {
          log('close', code, reason.byteLength);
          try {
            ws.send('x');
          } catch (error) {
            log('invalid', error.message);
          }
        },
      })
      .get('/*', (res) => res.onAborted(() => log('aborted'))),
  );
  const sockets = [await server.ws('/'), await server.ws('/')];
  const plain = await server.connect();
  await plain.send(get('/'));
  setTimeout(async () => {
    engine.panicForTest('made for a test');
    await Promise.all([...sockets, plain].map((peer) => peer.gone()));
    log('gone');
    // Calls on objects of the dead loop may throw an Error, but nothing else, and must not block.
    for (const call of [() => server.app.publish('a', 'b'), () => server.app.close()]) {
      try {
        call();
      } catch (error) {
        log('error', error instanceof Error);
      }
    }
    setTimeout(() => {
      server.app.listen(0, (token) => log('listens', token));
      log('lives');
    }, 200);
  }, 50);
};

it('a panic of the loop with a listener: every handler of the end runs, the process goes on and ends by itself', async (t) => {
  const run = await Program.start(t, body, true).endWithin(6000);
  assert.ok(run, 'the process hangs');
  assert.deepEqual([run.code, run.signal], [0, null], run.stderr);
  const lines = run.stdout.trim().split('\n');
  const socketEnd = ['close 1006 0', 'invalid Invalid access of closed uWS.WebSocket/SSLWebSocket.'];
  assert.deepEqual(
    lines.slice().sort(),
    [
      ...socketEnd,
      ...socketEnd,
      'aborted',
      'uncaught uncaughtException The event loop of uws-rs has stopped: made for a test',
      'gone',
      'listens false',
      'lives',
      'exit 0',
    ].sort(),
  );
  const at = (text) => lines.findIndex((line) => line.startsWith(text));
  assert.ok(at('close') < at('uncaught') && at('aborted') < at('uncaught'), run.stdout);
});

it('a panic of the loop without a listener ends the process as any uncaught exception, not by abort', async (t) => {
  const run = await Program.start(t, body, false).endWithin(6000);
  assert.ok(run, 'the process hangs');
  assert.deepEqual([run.code, run.signal], [1, null]);
  assert.match(run.stderr, /Error: The event loop of uws-rs has stopped: made for a test/);
  assert.equal(run.stdout.match(/^close 1006 0$/gm).length, 2);
  assert.match(run.stdout, /^aborted$/m);
  assert.match(run.stdout, /^exit 1$/m);
});

it('a panic in a worker is the error of that worker; the main thread goes on', async (t) => {
  const program = Program.start(t, async ({ modulePath, listening, get }) => {
    const { Worker } = require('node:worker_threads');
    const server = listening((app) => app.get('/*', (res) => res.end('main')));
    const source = `
      const engine = require(${JSON.stringify(`${modulePath()}/lib/engine`)}).start();
      require(${JSON.stringify(modulePath())}).App().get('/*', () => {}).listen(0, () => engine.panicForTest('in a worker'));`;
    const worker = new Worker(source, { eval: true });
    worker.on('error', (error) => console.log(`error ${error.message}`));
    worker.on('exit', async (code) => {
      const peer = await server.connect();
      console.log(`exit ${code} ${(await peer.request(get('/'))).body}`);
      process.exit(0);
    });
  });
  const run = await program.endWithin(6000);
  assert.ok(run, 'the process hangs');
  assert.equal(run.stdout, 'error The event loop of uws-rs has stopped: in a worker\nexit 1 main\n');
  assert.deepEqual([run.code, run.signal], [0, null]);
});
