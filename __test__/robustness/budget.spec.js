'use strict';
// `uWS.memoryBudget()`. The order in which connections go is tested in src/event_loop/tests/budget.rs.

const { it, assert, uWS, ours, child } = require('../support');

const OURS = { skip: ours ? false : 'the originals have no bound on all connections' };

it('returns and checks the budget', OURS, () => {
  const { budget, used } = uWS.memoryBudget();
  assert.ok(Number.isInteger(budget) && budget >= 2 ** 20 && Number.isInteger(used) && used < budget);
  for (const bad of [0, -1, 1.5, 2 ** 20 - 1, NaN, -Infinity, '64MB', null, 2 ** 60, 5n, {}]) {
    assert.throws(() => uWS.memoryBudget(bad), {
      name: 'RangeError',
      message: /^bytes must be an integer from /,
    });
  }
  assert.equal(uWS.memoryBudget(2 ** 30).budget, 2 ** 30);
  assert.equal(uWS.memoryBudget(Infinity).budget, Infinity);
  assert.equal(uWS.memoryBudget().budget, Infinity);
  assert.equal(uWS.memoryBudget(budget).budget, budget);
});

it('slow clients of all threads go, JavaScript is told, and others do not notice', OURS, async () => {
  const result = await child(
    async (support) => {
      const { uWS, WsPeer, until } = support;
      const { Worker } = require('node:worker_threads');
      const heard = { closed: {}, dropped: 0, aborted: 0, warnings: [] };
      process.on('warning', (warning) => heard.warnings.push(warning.message));
      const chunk = Buffer.alloc(1 << 20);
      const sockets = new Set();
      const behaviour = {
        maxBackpressure: 0,
        open: (ws) => sockets.add(ws),
        dropped: () => heard.dropped++,
        message: (ws, data) => ws.send(data),
        close(ws, code) {
          sockets.delete(ws);
          heard.closed[code] = (heard.closed[code] ?? 0) + 1;
        },
      };
      const server = support.listening((app) =>
        app
          .ws('/slow', behaviour)
          .ws('/fast', { message: behaviour.message })
          .get('/large', (res) => {
            res.onAborted(() => heard.aborted++);
            res.write(Buffer.alloc(20 << 20));
          }),
      );
      // A loop of another thread, with nothing to do but to hold memory.
      const worker = new Worker(
        `const { parentPort, workerData } = require('worker_threads');
         const { uWS } = require(workerData);
         process.on('warning', ({ message }) => parentPort.postMessage({ warning: message }));
         uWS.App().ws('/*', { maxBackpressure: 0, idleTimeout: 0, close: (ws, code) => parentPort.postMessage({ code }),
           open: (ws) => ws.send(Buffer.alloc(20 << 20)) })
           .listen(0, (token) => parentPort.postMessage({ port: uWS.us_socket_local_port(token) }));`,
        { eval: true, workerData: require.resolve('./__test__/support') },
      );
      const told = [];
      // The loop that closes the first connection warns its own thread.
      worker.on('message', (message) => {
        if (message.warning === undefined) told.push(message);
        else heard.warnings.push(message.warning);
      });
      await until(() => told.length > 0);
      const peers = [await WsPeer.open(told[0].port, '/'), await server.connect()];
      peers[0].pause();
      peers[1].pause();
      await peers[1].send(support.get('/large'));
      for (let n = 0; n < 4; n++) {
        const slow = await server.ws('/slow');
        slow.pause();
        peers.push(slow);
      }
      const fast = await server.ws('/fast');
      await until(() => sockets.size === 4);
      for (const ws of sockets) for (let n = 0; n < 12; n++) ws.send(chunk, true);
      await new Promise((resolve) => setTimeout(resolve, 3500));
      const before = uWS.memoryBudget().used;
      uWS.memoryBudget(1 << 20);
      // Over the budget, a slow one's backlog does not grow.
      const answers = new Set();
      const asking = setInterval(() => {
        for (const ws of sockets) answers.add(ws.send(chunk, true));
      }, 1);
      await until(() => sockets.size === 0 && told.length > 1 && heard.aborted > 0);
      clearInterval(asking);
      for (let n = 0; n < 20; n++) {
        await fast.text(`${n}`);
        if ((await fast.message()) !== `${n}`) throw new Error('not echoed');
      }
      await until(() => uWS.memoryBudget().used < 1 << 20 && heard.warnings.length > 0);
      console.log(
        JSON.stringify({
          before: before > 20 << 20,
          told: told.slice(1),
          closed: heard.closed,
          aborted: heard.aborted,
          warnings: heard.warnings,
          count: uWS.stats().limits.memoryBudget,
        }),
      );
      process.exit(0);
    },
    null,
    { timeout: 14000 },
  );
  assert.equal(result.stderr.replace(/^.*(UwsRsWarning|trace-warnings).*\n/gm, ''), '');
  const { warnings, ...rest } = JSON.parse(result.stdout);
  assert.deepEqual(rest, {
    before: true,
    told: [{ code: 1013 }],
    closed: { 1013: 4 },
    aborted: 1,
    count: 6,
  });
  assert.equal(warnings.length, 1);
  assert.match(warnings[0], /slow connections were closed, because more than 1048576 bytes waited in memory/);
});

it('what is kept of a body until a program asks for it, or goes on with it, counts', OURS, async () => {
  const { stdout, stderr } = await child(async (support) => {
    const { uWS, until } = support;
    const holds = () => uWS.memoryBudget().used;
    let paused = null;
    let waiting = null;
    const received = { slow: 0, late: 0 };
    const reads = (res, name) =>
      res.onData((chunk, last) => {
        received[name] += chunk.byteLength;
        if (last) return void res.end(String(received[name]));
        if (name !== 'slow' || paused !== null) return;
        // Meanwhile the loop goes on reading.
        const end = Date.now() + 500;
        while (Date.now() < end);
        paused = res.pause();
      });
    const server = support.listening((app) =>
      app
        .post(
          '/slow',
          (res) =>
            void reads(
              res.onAborted(() => {}),
              'slow',
            ),
        )
        .post('/late', (res) => void (waiting = res.onAborted(() => {}))),
    );
    const post = (url, length) =>
      `POST ${url} HTTP/1.1\r\nHost: a\r\nContent-Length: ${length}\r\n\r\n${'x'.repeat(length)}`;
    const [slow, late] = [await server.connect(), await server.connect()];
    const heard = {};
    slow.send(post('/slow', 4 << 20)).catch(() => {});
    await until(() => paused !== null);
    await new Promise((resolve) => setTimeout(resolve, 300));
    heard.paused = holds();
    paused.resume();
    heard.slow = (await slow.response()).body;
    await until(() => holds() < 8000);
    await late.send(post('/late', 16_000));
    await until(() => waiting !== null && holds() >= 16_000);
    reads(waiting, 'late');
    heard.late = (await late.response()).body;
    await until(() => holds() < 8000);
    console.log(JSON.stringify(heard));
    process.exit(0);
  });
  assert.equal(stderr, '');
  const result = JSON.parse(stdout);
  assert.ok(result.paused >= 256 << 10, `${result.paused} bytes`);
  assert.deepEqual([result.slow, result.late], [String(4 << 20), '16000']);
});
