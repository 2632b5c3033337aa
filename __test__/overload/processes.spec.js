'use strict';
// Workers and processes that die under load.

const { it, assert, ours } = require('../support');
const { Remote, swarm, sized, figure, sleep, since } = require('./support');

const OPTIONS = { skip: ours ? false : 'figures of ours', timeout: sized(90000, 900000) };

it('a worker is terminated under load, again and again', OPTIONS, async (t) => {
  const times = sized(20, 1000);
  const server = await Remote.start(t, async ({ uWS, modulePath }) => {
    const { Worker } = require('node:worker_threads');
    const source = `
      const { parentPort, workerData } = require('worker_threads');
      const uWS = require(workerData.module);
      uWS.App()
        .ws('/*', { compression: uWS.SHARED_COMPRESSOR, open: (ws) => ws.subscribe('all'), message: (ws, data, isBinary) => {
          ws.send(data, isBinary, true);
        } })
        .get('/*', (res, req) => { const url = req.getUrl(); res.onAborted(() => {}); setTimeout(() => res.end(url), 1); })
        .listen(0, (token) => parentPort.postMessage(uWS.us_socket_local_port(token)));`;
    const main = uWS.App().get('/*', (res, req) => res.end(req.getUrl()));
    let port;
    main.listen(0, (token) => (port = uWS.us_socket_local_port(token)));
    let worker;
    return {
      port: () => port,
      start: () =>
        new Promise((resolve, reject) => {
          worker = new Worker(source, { eval: true, workerData: { module: modulePath() } });
          worker.once('message', resolve);
          worker.once('error', reject);
        }),
      end: () => worker.terminate(),
    };
  });
  const [crowd, others] = [await swarm(t, 0), await swarm(t, 1)];
  const load = others.call('ask', { port: await server.call('port'), count: 5, paths: ['main'] });
  const began = Date.now();
  let [ends, warm] = [0, null];
  for (let n = 0; n < times; n++) {
    const port = await server.call('start');
    await crowd.call('open', { port, count: 20 });
    const hammered = crowd.call('hammer', { size: 300 }).catch(() => {});
    await sleep(n % 20);
    await server.call('end');
    await hammered;
    const codes = await crowd.call('codes', 5000);
    assert.deepEqual(codes, { none: 20 }, `worker ${n}: all its connections are over`);
    ends += 20;
    await crowd.call('reset');
    if (n === Math.floor(times / 4))
      warm = { resident: server.resident(), descriptors: server.descriptors() };
  }
  const seconds = since(began);
  assert.deepEqual((await crowd.call('report')).errors, []);
  assert.deepEqual((await others.call('report')).errors, []);
  const now = { resident: server.resident(), descriptors: server.descriptors() };
  assert.ok(
    now.descriptors <= warm.descriptors + 8,
    `${warm.descriptors} descriptors, then ${now.descriptors}`,
  );
  assert.ok(now.resident < warm.resident * 1.5 + 32, `${warm.resident} MiB, then ${now.resident}`);
  await server.stop();
  const { answered } = await load;
  assert.ok(answered > 0);
  figure(
    t,
    `${times} workers terminated under load in ${seconds} s: their ${ends} connections are over, the main thread answered ${answered} requests meanwhile; ${warm.descriptors} descriptors and ${warm.resident} MiB after a quarter, ${now.descriptors} and ${now.resident} MiB at the end`,
  );
});

it('one of two processes that share a port is killed', OPTIONS, async (t) => {
  const shared = ({ uWS }, port) => {
    let [used, open] = [0, 0];
    const app = uWS.App();
    app.ws('/*', {
      open: () => open++,
      message: (ws, data, isBinary) => ws.send(data, isBinary),
      close: () => open--,
    });
    app.get('/*', (res, req) => res.end(req.getUrl()));
    app.listen('127.0.0.1', port, (token) => (used = uWS.us_socket_local_port(token)));
    return { port: () => used, open: () => open };
  };
  const first = await Remote.start(t, shared, 0);
  const port = await first.call('port');
  const second = await Remote.start(t, shared, port);
  const [crowd, later] = [await swarm(t, 0), await swarm(t, 1)];
  const count = sized(400, 4000);
  await crowd.call('open', { port, count });
  const [theirs, others] = [await first.call('open'), await second.call('open')];
  assert.ok(theirs + others === count && theirs > 0 && others > 0, `${theirs} and ${others} of ${count}`);
  const hammered = crowd.call('hammer').catch(() => {});
  await sleep(300);
  await first.stop('SIGKILL');
  const began = Date.now();
  // Those whose connection the killed process had accepted, or had in its backlog, are gone.
  await later.call('open', { port, count, failures: 0 });
  const seconds = since(began);
  // Those of the killed process are over; the clients are busy and may see that later.
  let left = count;
  for (const end = Date.now() + 30000; left !== others && Date.now() < end; await sleep(100)) {
    left = (await crowd.call('report')).open;
  }
  assert.equal(left, others);
  await crowd.call('stop');
  await hammered;
  const times = await later.call('echoes', { perSecond: 500, seconds: 1 });
  assert.ok(times.length > 0);
  for (const each of [crowd, later]) assert.deepEqual((await each.call('report')).errors, []);
  assert.equal(second.process.exitCode, null);
  figure(
    t,
    `SIGKILL of one of two processes that share a port with ${count} WebSockets: the ${left} of the other go on, the ${theirs} of the killed one are over, ${count} new ones all opened, in ${seconds} s`,
  );
});
