'use strict';
// The limits on requests: their rate, the length of their bodies, and how many a connection may bring.

const {
  both,
  it,
  assert,
  limited,
  blockable,
  sayHi,
  get,
  post,
  request,
  upgradeRequest,
} = require('./support');
const { routes, until, Peer } = require('./support');

const head = (length, more = []) =>
  post('/', '', more).replace('Content-Length: 0', `Content-Length: ${length}`);
const chunked = (...chunks) =>
  request(
    'POST',
    '/',
    ['Transfer-Encoding: chunked'],
    chunks.map((each) => `${each.length.toString(16)}\r\n${each}\r\n`).join(''),
  );
const LAST = '0\r\n\r\n';

/**
 * Expects 429 with all that belongs to it, on a connection that stays. The first request came at `began` or
 * later; since then so much of the seconds has passed that are to be waited for.
 */
async function tooMany(answer, seconds, began) {
  assert.equal(answer.status, '429 Too Many Requests');
  const [wait, least] = [Number(answer.get('retry-after')), seconds - (Date.now() - began) / 1000];
  assert.ok(wait >= Math.ceil(least) && wait <= seconds, `${wait} s of ${least} to ${seconds}`);
  assert.equal(answer.get('connection'), undefined);
  assert.match(answer.body, /^<!doctype html>/);
}

/** Expects an answer that ends the connection. */
async function refused(peer, code) {
  const answer = await peer.response();
  assert.deepEqual([answer.code, answer.get('connection')], [code, 'close']);
  assert.equal(await peer.rest(), '');
}

// ---- rates

both('requests of an address beyond their rate get 429', async (t, tls) => {
  const server = limited(t, { maxRequestsPerAddress: { count: 3, seconds: 60 } }, { tls });
  const peer = await server.connect();
  const began = Date.now();
  for (let i = 0; i < 3; i++) await sayHi(peer);
  await tooMany(await peer.request(get('/hi')), 20, began);
  await tooMany(await peer.request(post('/', 'x'.repeat(100000))), 20, began);
  assert.equal((await peer.request(request('HEAD', '/hi'), { head: true })).code, 429);
  // A second connection of the same address has the same bucket.
  await tooMany(await server.once(get('/nowhere')), 20, began);
  assert.deepEqual(server.breaches(), { maxRequestsPerAddress: 4 });
  const other = await limited(t, {}, { tls }).connect();
  await sayHi(other);
});

both('pipelined requests beyond the rate are answered in order, and tokens come back', async (t, tls) => {
  const server = limited(t, { maxRequestsPerAddress: { count: 5, seconds: 5 } }, { tls });
  const peer = await server.connect();
  await peer.send(get('/hi').repeat(8));
  const codes = [];
  for (let i = 0; i < 8; i++) codes.push((await peer.response()).code);
  assert.deepEqual(codes, [200, 200, 200, 200, 200, 429, 429, 429]);
  await new Promise((resolve) => setTimeout(resolve, 2100));
  await sayHi(peer);
  await sayHi(peer);
});

both('a rate holds while JavaScript is blocked', async (t, tls) => {
  const server = await blockable(t, { maxRequestsPerAddress: { count: 2, seconds: 60 } }, { tls });
  const peer = await server.connect();
  const began = Date.now();
  await sayHi(peer);
  const waiting = await server.connect();
  await server.whileBlocked(1500, async () => {
    await waiting.send(get('/hi'));
    await new Promise((resolve) => setTimeout(resolve, 50));
    for (let i = 0; i < 3; i++) await tooMany(await peer.request(get('/hi')), 30, began);
  });
  assert.equal((await waiting.response()).body, 'hi');
  assert.deepEqual(await server.breaches(), { maxRequestsPerAddress: 3 });
});

it(
  'a client that keeps to its rate is not refused for what piled up while JavaScript was blocked',
  { timeout: 30000 },
  async (t) => {
    const server = await blockable(t, { maxRequestsPerAddress: { count: 4000, seconds: 1 } });
    // More events than the loop keeps for JavaScript: it does not read meanwhile, and then all at once.
    const peers = await Promise.all(Array.from({ length: 200 }, () => server.connect()));
    let sent = 0;
    await server.whileBlocked(7000, async () => {
      for (let round = 0; round < 60; round++) {
        for (const peer of peers) peer.send(get('/hi'));
        sent += peers.length;
        await new Promise((resolve) => setTimeout(resolve, 55));
      }
    });
    assert.ok(sent > 8000);
    for (const peer of peers) {
      for (let i = 0; i < 60; i++) assert.equal((await peer.response()).code, 200);
    }
    assert.deepEqual(await server.breaches(), {});
  },
);

both('upgrades have a rate of their own', async (t, tls) => {
  for (const upgrade of [
    undefined,
    (res, req, context) => {
      const field = (name) => req.getHeader(`sec-websocket-${name}`);
      res.upgrade({}, field('key'), field('protocol'), field('extensions'), context);
    },
  ]) {
    const server = limited(
      t,
      { maxUpgradesPerAddress: { count: 2, seconds: 10 } },
      {
        tls,
        configure(app) {
          routes(app);
          app.ws('/ws', { upgrade, message: (ws, message) => ws.send(message) });
        },
      },
    );
    const began = Date.now();
    const sockets = [await server.ws('/ws'), await server.ws('/ws')];
    const peer = await server.connect();
    await tooMany(await peer.request(upgradeRequest('/ws')), 5, began);
    await sayHi(peer);
    for (const ws of sockets) {
      await ws.text('still here');
      assert.equal(await ws.message(), 'still here');
    }
    assert.deepEqual(server.breaches(), { maxUpgradesPerAddress: 1 });
  }
});

// ---- bodies

both('a body that is announced too long is refused before the handler', async (t, tls) => {
  let handled = 0;
  const server = limited(
    t,
    { maxBodyLength: 1000 },
    {
      tls,
      configure: (app) =>
        app.post('/*', (res) => {
          handled++;
          res.onAborted(() => {});
          res.collectBody(1e6, (body) => res.end(String(body.byteLength)));
        }),
    },
  );
  const other = await server.connect();
  assert.equal((await other.request(post('/', 'x'.repeat(1000)))).body, '1000');
  for (const [text, more] of [
    [head(1001), ''],
    [head(1001), 'x'.repeat(1001)],
    [head(1e12), 'x'.repeat(300000)],
    [head(1001, ['Expect: 100-continue']), ''],
    [head(1001).replace('POST /', 'POST /elsewhere'), ''],
  ]) {
    const peer = await server.connect();
    await peer.send(text + more);
    await refused(peer, 413);
  }
  assert.equal(handled, 1);
  assert.deepEqual(server.breaches(), { maxBodyLength: 5 });
  assert.equal((await other.request(post('/', 'x'.repeat(999)))).body, '999');
});

both('a chunked body is refused where it becomes too long', async (t, tls) => {
  const seen = [];
  const server = limited(
    t,
    { maxBodyLength: 1000 },
    {
      tls,
      configure(app) {
        app.post('/*', (res) => {
          let length = 0;
          res.onAborted(() => seen.push(['aborted', length]));
          res.onData((chunk, last) => {
            length += chunk.byteLength;
            if (last) res.end(String(length));
          });
        });
        app.post('/begun', (res) => {
          res.onAborted(() => seen.push(['aborted', 'begun']));
          res.write('begun');
          res.onData(() => {});
        });
      },
    },
  );
  const peer = await server.connect();
  assert.equal((await peer.request(chunked('x'.repeat(500), 'y'.repeat(500)) + LAST)).body, '1000');
  const long = await server.connect();
  await long.send(chunked('x'.repeat(400)));
  await long.send(`190\r\n${'y'.repeat(400)}\r\n`);
  await long.send(`190\r\n${'z'.repeat(400)}\r\n`);
  await refused(long, 413);
  await until(() => seen.length === 1);
  assert.equal(seen[0][0], 'aborted');
  assert.ok(seen[0][1] <= 1000, `${seen[0][1]} bytes were given to the handler`);
  const begun = await server.connect();
  await begun.send(chunked('x').replace('POST /', 'POST /begun'));
  await begun.until('begun\r\n');
  await begun.send(`3e8\r\n${'y'.repeat(1000)}\r\n`);
  assert.equal(await begun.rest(), '');
  await until(() => seen.length === 2);
  assert.deepEqual(seen[1], ['aborted', 'begun']);
  assert.deepEqual(server.breaches(), { maxBodyLength: 2 });
  assert.equal((await peer.request(post('/', 'body'))).body, '4');
});

both('bodies that nobody may send at all', async (t, tls) => {
  const server = limited(t, { maxBodyLength: 0 }, { tls });
  const peer = await server.connect();
  await sayHi(peer);
  assert.equal((await peer.request(post('/', ''))).body, '0');
  assert.equal((await peer.request(chunked() + LAST)).body, '0');
  await peer.send(post('/', 'x'));
  await refused(peer, 413);
});

both('a body too long is refused while JavaScript is blocked', async (t, tls) => {
  const server = await blockable(t, { maxBodyLength: 10 }, { tls });
  await server.whileBlocked(1500, async () => {
    const peer = await server.connect();
    await peer.send(post('/', '01234567890'));
    await refused(peer, 413);
  });
  assert.equal((await server.once(post('/', '0123456789'))).body, '10');
});

// ---- requests of one connection

both('the last request of a connection closes it', async (t, tls) => {
  const server = limited(t, { maxRequestsPerConnection: 3 }, { tls });
  const other = await server.connect();
  await sayHi(other);
  const peer = await server.connect();
  for (let nth = 1; nth <= 3; nth++) {
    const answer = await peer.request(nth === 2 ? post('/', 'body') : get('/hi'));
    assert.equal(answer.get('connection'), nth === 3 ? 'close' : undefined);
    assert.equal(answer.body, nth === 2 ? '4' : 'hi');
  }
  assert.equal(await peer.rest(), '');
  const pipelined = await server.connect();
  await pipelined.send(get('/hi').repeat(10));
  const all = await pipelined.rest();
  assert.deepEqual([all.split('200 OK').length - 1, all.split('Connection: close').length - 1], [3, 1]);
  assert.deepEqual(server.breaches(), { maxRequestsPerConnection: 2 });
  await sayHi(other);
  const text = await Peer.connect(server.port, { tls: tls ? {} : false });
  await text.send(get('/hi', ['Connection: close']));
  assert.match(await text.rest(), /^HTTP\/1.1 200 OK/);
});
