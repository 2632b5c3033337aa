'use strict';
// headTimeout, requestTimeout, keepAliveTimeout and minBodyRate. All of this file wait at the same time.

const { describe } = require('node:test');
const { both, assert, limited, blockable, sayHi, kept, get, post } = require('./support');

/** A deadline is never early, and at most a second late; the test may be a bit later still. */
const SLACK = 1.8;
const now = () => Number(process.hrtime.bigint()) / 1e9;

const PULSE = 0.05;
let [still, last] = [0, now()];
/** Seconds for which this process has stood still so far, as on a machine with other work. */
function stoodStill() {
  const late = now() - last - PULSE;
  return late > PULSE ? still + late : still;
}
setInterval(() => ([still, last] = [stoodStill(), now()]), PULSE * 1000).unref();

/** Tells the seconds since its making, and for how many of them the process stood still. */
function clock() {
  const [began, before] = [now(), stoodStill()];
  return () => ({ seconds: now() - began, still: stoodStill() - before });
}
function assertIn({ seconds, still: lost }, least, what) {
  const most = least + SLACK + lost;
  const text = `${what} after ${seconds.toFixed(2)} s, of which ${lost.toFixed(2)} s stood still`;
  assert.ok(seconds >= least - 0.05 && seconds < most, text);
}

function drip(t, peer, piece, every = 100) {
  const timer = setInterval(() => peer.state === 'open' && peer.send(piece), every);
  t.after(() => clearInterval(timer));
}

async function expect408(peer) {
  const answer = await peer.response();
  assert.deepEqual([answer.status, answer.get('connection')], ['408 Request Timeout', 'close']);
  assert.equal(await peer.rest(), '');
}

describe('times', { concurrency: true }, () => {
  both('headTimeout', async (t, tls) => {
    const server = limited(t, { headTimeout: 1 }, { tls });
    const other = await kept(server);
    const time = clock();
    const [silent, half, dripping] = [await server.connect(), await server.connect(), await server.connect()];
    await half.send('GET / HTTP/1.1\r\nHost: a\r\n');
    await dripping.send('GET / HTTP/1.1\r\nA: ');
    drip(t, dripping, 'a');
    await Promise.all([
      silent.gone().then(() => assertIn(time(), 1, 'a silent connection')),
      expect408(half).then(() => assertIn(time(), 1, 'half a head')),
      dripping.until('\r\n\r\n').then((text) => {
        assertIn(time(), 1, 'a dripping head');
        assert.match(text, /^HTTP\/1.1 408 /);
      }),
    ]);
    assert.equal(silent.size, 0);
    // The time between requests is another one.
    await sayHi(other);
    await other.send(get('/hi').slice(0, 10));
    await expect408(other);
    assert.deepEqual(server.breaches(), { headTimeout: 4 });
    await sayHi(await server.connect());
  });

  both('keepAliveTimeout', async (t, tls) => {
    const server = limited(t, { keepAliveTimeout: 1 }, { tls });
    const peer = await server.connect();
    await sayHi(peer);
    const time = clock();
    await peer.gone();
    assertIn(time(), 1, 'a kept connection');
    assert.equal(peer.size, 0);
    assert.deepEqual(server.breaches(), { keepAliveTimeout: 1 });
    const busy = await server.connect();
    for (let i = 0; i < 8; i++) {
      await sayHi(busy);
      await new Promise((resolve) => setTimeout(resolve, 400));
    }
  });

  both('requestTimeout, however the body drips', async (t, tls) => {
    const ended = [];
    const server = limited(
      t,
      { requestTimeout: 1, minBodyRate: 0 },
      {
        tls,
        configure(app) {
          app.post('/*', (res) => {
            res.onAborted(() => ended.push('aborted'));
            res.onData(() => {});
          });
          app.get('/late', (res) => {
            res.onAborted(() => ended.push('late'));
            setTimeout(() => res.end('late'), 2600);
          });
          app.get('/hi', (res) => res.end('hi'));
        },
      },
    );
    const late = await server.connect();
    await late.send(get('/late'));
    const peer = await server.connect();
    const time = clock();
    await peer.send(post('/', '').replace('Content-Length: 0', 'Content-Length: 100000'));
    drip(t, peer, 'x', 20);
    const text = await peer.until('\r\n\r\n');
    assertIn(time(), 1, 'a dripping body');
    assert.match(text, /^HTTP\/1.1 408 /);
    assert.deepEqual(ended, ['aborted']);
    // A response may take its time.
    assert.equal((await late.response()).body, 'late');
    assert.deepEqual(server.breaches(), { requestTimeout: 1 });
  });

  both('requestTimeout does not count the time in which nobody reads', async (t, tls) => {
    const server = limited(
      t,
      { requestTimeout: 1 },
      {
        tls,
        configure: (app) =>
          app.post('/*', (res) => {
            res.onAborted(() => {});
            res.pause();
            setTimeout(() => {
              res.onData((chunk, last) => last && res.end('whole'));
              res.resume();
            }, 3000);
          }),
      },
    );
    const peer = await server.connect();
    await peer.send(post('/', 'x'.repeat(3e6)));
    assert.equal((await peer.response()).body, 'whole');
    assert.deepEqual(server.breaches(), {});
  });

  both('minBodyRate', async (t, tls) => {
    const ended = [];
    const server = limited(
      t,
      { minBodyRate: 1000 },
      {
        tls,
        configure: (app) =>
          app.setIdleTimeout(1).post('/*', (res) => {
            res.onAborted(() => ended.push('aborted'));
            res.onData((chunk, last) => last && res.end('whole'));
          }),
      },
    );
    const upload = (length) => post('/', '').replace('Content-Length: 0', `Content-Length: ${length}`);
    const [slow, quick] = [await server.connect(), await server.connect()];
    await slow.send(upload(1e5));
    drip(t, slow, 'x'.repeat(20));
    await quick.send(upload(15000));
    const done = quick.response();
    drip(t, quick, 'x'.repeat(500));
    const answer = await slow.until('\r\n\r\n');
    assert.match(answer, /^HTTP\/1.1 408 /);
    assert.equal((await done).body, 'whole');
    assert.deepEqual(ended, ['aborted']);
    assert.equal(server.breaches().minBodyRate, 1);
  });

  for (const minBodyRate of [0, Infinity])
    both(`minBodyRate: ${minBodyRate}, with which a byte in each window is enough`, async (t, tls) => {
      const server = limited(
        t,
        { minBodyRate },
        {
          tls,
          configure: (app) =>
            app.setIdleTimeout(2).post('/*', (res) => {
              res.onAborted(() => {});
              res.onData((chunk, last) => last && res.end('whole'));
            }),
        },
      );
      const peer = await server.connect();
      await peer.send(post('/', '').replace('Content-Length: 0', 'Content-Length: 10'));
      drip(t, peer, 'x', 500);
      assert.equal((await peer.response()).body, 'whole');
      assert.deepEqual(server.breaches(), {});
    });

  both('deadlines hold while JavaScript is blocked', { timeout: 20000 }, async (t, tls) => {
    const server = await blockable(t, { headTimeout: 1, keepAliveTimeout: 1, requestTimeout: 2 }, { tls });
    const [idle, body] = [await kept(server), await server.connect()];
    await body.send(post('/', 'body').slice(0, -1));
    // The program has asked for the body, so it is up to the client now.
    await new Promise((resolve) => setTimeout(resolve, 200));
    await server.whileBlocked(5000, async () => {
      const time = clock();
      const half = await server.connect();
      await half.send('GET / HT');
      await Promise.all([
        expect408(half).then(() => assertIn(time(), 1, 'half a head')),
        idle.gone().then(() => assertIn(time(), 0.7, 'a kept connection')),
        expect408(body).then(() => assertIn(time(), 1.7, 'half a body')),
      ]);
    });
    assert.deepEqual(await server.breaches(), { headTimeout: 1, keepAliveTimeout: 1, requestTimeout: 1 });
    await kept(server);
  });
});
