'use strict';
// maxUnsentBytes: a client that sends requests and reads no responses holds one response and so many bytes.

const { both, it, assert, limited, until, get, post } = require('./support');
const { settled } = require('../robustness/program');

const KIB = 1024;
const SIZE = 4096 * KIB;
const BODY = Buffer.alloc(SIZE, 'x');

/** Bytes of responses that wait in the loop. */
function serverWith(t, tls, limits, seen) {
  return limited(t, limits, {
    tls,
    configure(app) {
      app.get('/large', (res) => {
        seen.push('large');
        res.end(BODY);
      });
      app.get('/hi', (res) => res.end('hi'));
      app.post('/*', (res) => {
        res.onAborted(() => {});
        res.onData((chunk, last) => last && res.end('got'));
      });
    },
  });
}

both('requests of a client that reads nothing are not handled beyond 1 MiB of responses', async (t, tls) => {
  const seen = [];
  const server = serverWith(t, tls, {}, seen);
  const peer = await server.connect();
  peer.pause();
  await peer.send(get('/large').repeat(30));
  await until(() => seen.length >= 1);
  const stopped = await settled(() => seen.length, 500);
  // The kernel holds some of the 120 MiB.
  assert.ok(stopped < 20, `${stopped} of 30 were handled`);
  const other = await server.connect();
  for (let i = 0; i < 5; i++) assert.equal((await other.request(get('/hi'))).body, 'hi');
  assert.equal(seen.length, stopped);
  assert.ok(server.breaches().maxUnsentBytes >= 1);
  peer.resume();
  for (let i = 0; i < 30; i++) assert.equal((await peer.response()).raw.length, SIZE);
  assert.equal((await peer.request(get('/hi'))).body, 'hi');
  assert.equal((await peer.request(post('/', 'body'))).body, 'got');
});

both('a limit of its own', async (t, tls) => {
  for (const maxUnsentBytes of [16 * KIB, 100 * KIB]) {
    const seen = [];
    const server = serverWith(t, tls, { maxUnsentBytes }, seen);
    const peer = await server.connect();
    peer.pause();
    await peer.send(get('/large').repeat(30));
    await until(() => seen.length >= 1);
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert.ok(seen.length < 20, `${seen.length} of 30 were handled with ${maxUnsentBytes}`);
    peer.resume();
    for (let i = 0; i < 30; i++) assert.equal((await peer.response()).raw.length, SIZE);
    await peer.send(get('/hi').repeat(40));
    for (let i = 0; i < 40; i++) assert.equal((await peer.response()).body, 'hi');
  }
});

it('without a limit all of them are handled', async (t) => {
  const seen = [];
  const server = serverWith(t, false, { maxUnsentBytes: Infinity }, seen);
  const peer = await server.connect();
  peer.pause();
  await peer.send(get('/large').repeat(30));
  await until(() => seen.length === 30);
  peer.resume();
  for (let i = 0; i < 30; i++) assert.equal((await peer.response()).raw.length, SIZE);
  assert.deepEqual(server.breaches(), {});
});

it('a client that ends while its requests wait', async (t) => {
  const seen = [];
  const server = serverWith(t, false, { maxUnsentBytes: 20000 }, seen);
  for (const end of ['reset', 'halfClose', 'destroy']) {
    const peer = await server.connect();
    peer.pause();
    await peer.send(get('/large').repeat(30));
    await new Promise((resolve) => setTimeout(resolve, 100));
    peer[end]();
  }
  await new Promise((resolve) => setTimeout(resolve, 200));
  assert.equal((await server.once(get('/hi'))).body, 'hi');
  server.app.close();
});

it('a client that ends its side while its request waits gets what is complete, and its handler hears of it', async (t) => {
  const seen = [];
  const server = serverWith(t, false, {}, seen);
  let aborted = 0;
  // More than the kernel takes.
  server.app.get('/huge', (res) => res.end(Buffer.alloc(4 * SIZE, 'x')));
  server.app.get('/never', (res) => {
    seen.push('never');
    res.onAborted(() => aborted++);
  });
  const ask = async (...paths) => {
    const peer = await server.connect();
    peer.pause();
    await peer.send(paths.map((path) => get(path)).join(''));
    peer.halfClose();
    await settled(() => server.breaches().maxUnsentBytes, 200);
    assert.deepEqual(seen, [], 'the request did not wait');
    peer.resume();
    assert.equal((await peer.response()).raw.length, 4 * SIZE);
    return peer;
  };
  const answered = await ask('/huge', '/hi', '/hi');
  for (let i = 0; i < 2; i++) assert.equal((await answered.response()).body, 'hi');
  await until(() => answered.state === 'fin');
  const peer = await ask('/huge', '/never', '/large');
  await until(() => peer.state === 'fin');
  assert.deepEqual([seen, aborted, peer.size], [['never'], 1, 0]);
});
