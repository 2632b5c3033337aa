'use strict';
// The options of cached routes that are this module's own: conditional requests, HEAD, invalidation,
// compression.

const crypto = require('node:crypto');
const zlib = require('node:zlib');
const { it, assert, serve, until, child, get, request } = require('../support');

const LONG = { lowerExpiry: 600, upperExpiry: 600 };

function cached(t, options, handler = (res, req, call) => res.end(`${call}`)) {
  const server = serve(t, (app, self) => {
    self.calls = 0;
    app.get('/*', (res, req) => handler(res, req, ++self.calls), { ...LONG, ...options });
  });
  server.cache = () => server.app.stats().cache;
  server.body = async (target, headers) => (await server.once(get(target, headers))).body;
  return server;
}

it('etag: a strong one of the body is added where the handler has written none', async (t) => {
  const server = cached(t, { etag: true }, (res, req) => {
    if (req.getUrl() === '/own') res.writeHeader('eTag', 'W/"mine"').end('own');
    else if (req.getUrl() === '/404') res.writeStatus('404 Nothing').end('nothing');
    else if (req.getUrl() === '/data') res.writeHeader('A', 'b').end(Buffer.from('hello'));
    else res.end('hello');
  });
  const TAG = '"2cf24dba5fb0a30e26e83b2ac5b9e29e"';
  const peer = await server.connect();
  for (let round = 0; round < 2; round++) {
    assert.deepEqual((await peer.request(get('/text'))).all('etag'), [TAG]);
    const data = await peer.request(get('/data'));
    assert.deepEqual([data.all('etag'), data.get('a'), data.body], [[TAG], 'b', 'hello']);
    assert.deepEqual((await peer.request(get('/own'))).all('etag'), ['W/"mine"']);
    assert.deepEqual((await peer.request(get('/404'))).all('etag'), []);
  }
  const without = cached(t, {}, (res) => res.end('hello'));
  assert.equal((await without.once(get('/'))).get('etag'), undefined);
});

it('If-None-Match and If-Modified-Since are answered by the loop with 304', async (t) => {
  const MODIFIED = 'Sat, 28 Nov 2026 10:00:00 GMT';
  const seen = [];
  const server = cached(t, {}, (res, req) => {
    req.forEach((name) => seen.push(name));
    res.writeHeader('ETag', '"v1"').writeHeader('Last-Modified', MODIFIED);
    res.writeHeader('Content-Type', 'text/x').writeHeader('Cache-Control', 'max-age=1').end('hello');
  });
  const peer = await server.connect();
  // The first of them is a miss: its handler does not see the condition, and makes the whole reply.
  for (const [headers, code] of [
    [['If-None-Match: "v1"'], 304],
    [['If-None-Match: W/"v1"'], 304],
    [['If-None-Match: "v0", "v1"'], 304],
    [['If-None-Match: *'], 304],
    [['If-None-Match: "v2"'], 200],
    [['If-Modified-Since: ' + MODIFIED], 304],
    [['If-Modified-Since: Sat, 28 Nov 2026 09:59:59 GMT'], 200],
    [['If-None-Match: "v2"', 'If-Modified-Since: ' + MODIFIED], 200],
    [['If-Modified-Since: nonsense'], 200],
  ]) {
    const answer = await peer.request(get('/', headers));
    assert.deepEqual([answer.code, answer.body], code === 304 ? [304, ''] : [200, 'hello'], headers.join());
    assert.deepEqual([answer.get('etag'), answer.get('cache-control')], ['"v1"', 'max-age=1']);
    assert.equal(answer.get('content-type'), code === 304 ? undefined : 'text/x');
    assert.ok(answer.get('date'));
    if (code === 304) assert.equal(answer.get('content-length'), undefined);
  }
  assert.equal(server.calls, 1);
  assert.deepEqual(seen, ['host']);
});

it('those who wait for one answer have their own conditions', async (t) => {
  let end;
  const server = cached(t, { etag: true }, (res) => (end = () => res.end('hello')));
  const TAG = '"2cf24dba5fb0a30e26e83b2ac5b9e29e"';
  const peers = await Promise.all(Array.from({ length: 6 }, () => server.connect()));
  const answers = peers.map((peer, i) =>
    peer.request(get('/', i % 2 === 0 ? [`If-None-Match: ${TAG}`] : ['If-None-Match: "x"'])),
  );
  await until(() => server.cache().waits === 5 && server.calls === 1);
  end();
  (await Promise.all(answers)).forEach((answer, i) => assert.equal(answer.code, i % 2 === 0 ? 304 : 200));
});

it('a 304 of the handler itself is for its client alone', async (t) => {
  const server = cached(t, {}, (res) => res.writeStatus('304 Not Modified').end());
  for (let i = 0; i < 2; i++) assert.equal((await server.once(get('/'))).code, 304);
  assert.deepEqual([server.calls, server.cache().stored], [2, 0]);
});

it('head: HEAD requests are answered from the same entry, and make it as a GET would', async (t) => {
  const methods = [];
  const server = cached(t, { head: true, etag: true }, (res, req) => {
    methods.push([req.getMethod(), req.getCaseSensitiveMethod(), req.getUrl(), req.getHeader('x')]);
    res.writeHeader('A', 'b').end('hello');
  });
  server.app.head('/*', (res) => res.end()).any('/*', (res) => res.end());
  const peer = await server.connect();
  const head = (target, headers) => peer.request(request('HEAD', target, headers), { head: true });
  const first = await head('/miss?q', ['X: y']);
  assert.deepEqual([first.code, first.get('a'), first.get('content-length')], [200, 'b', '5']);
  assert.equal((await peer.request(get('/miss?q'))).body, 'hello');
  assert.equal((await peer.request(get('/hit'))).body, 'hello');
  const hit = await head('/hit');
  assert.deepEqual([hit.code, hit.get('content-length')], [200, '5']);
  assert.equal((await head('/hit', [`If-None-Match: ${hit.get('etag')}`])).code, 304);
  assert.deepEqual(methods, [
    ['get', 'GET', '/miss', 'y'],
    ['get', 'GET', '/hit', ''],
  ]);
  // One that is for its client alone is what it is.
  await head('/hit', ['Authorization: x']);
  assert.equal(methods[2][0], 'head');
  server.app.get('/*', null);
  assert.equal((await head('/hit')).get('a'), undefined, 'the routes of head have it again');
});

it('without head, HEAD requests do not match', async (t) => {
  const server = cached(t, {});
  assert.equal((await server.once(request('HEAD', '/'), { head: true })).code, 404);
});

it('invalidate: a URL with its query, or all that begin alike', async (t) => {
  const server = cached(t, { vary: ['x'] });
  const ask = (target, value = '1') => server.body(target, [`X: ${value}`]);
  const all = ['/a', '/a?b', '/a/b', '/c'];
  const before = new Map();
  for (const target of all) before.set(target, await ask(target));
  before.set('other', await ask('/a', '2'));
  const changed = async (invalidated, expected) => {
    assert.equal(server.app.invalidate(invalidated), server.app);
    for (const target of all) {
      const now = await ask(target);
      assert.equal(now !== before.get(target), expected.includes(target), `${invalidated}: ${target}`);
      before.set(target, now);
    }
  };
  await changed('/a', ['/a']);
  assert.notEqual(await ask('/a', '2'), before.get('other'), 'whatever headers it was asked with');
  await changed('/a?b', ['/a?b']);
  await changed('/A', []);
  await changed('', []);
  await changed(Buffer.from('/a/*'), ['/a/b']);
  await changed('/a*', ['/a', '/a?b', '/a/b']);
  await changed('*', all);
  assert.throws(() => server.app.invalidate(), /requires at least 1 arguments/);
  assert.throws(() => server.app.invalidate(5), { argument: 'url' });
});

it('invalidate during a flight: those who wait have its answer, it is not stored, and nobody else gets it', async (t) => {
  const held = [];
  const server = cached(t, {}, (res) => held.push(res));
  const [one, two] = [await server.connect(), await server.connect()];
  const first = one.request(get('/'));
  await until(() => held.length === 1);
  server.app.invalidate('/');
  const second = two.request(get('/'));
  await until(() => held.length === 2);
  held[0].end('old');
  assert.equal((await first).body, 'old');
  // The flight that began later is the one for its key.
  const third = one.request(get('/'));
  await until(() => server.cache().waits === 1);
  held[1].end('new');
  assert.deepEqual([(await second).body, (await third).body], ['new', 'new']);
  assert.equal(await server.body('/'), 'new');
  assert.equal(held.length, 2);
});

it('invalidate is about one app', async (t) => {
  const [one, other] = [cached(t, {}), cached(t, {})];
  await Promise.all([one.body('/'), other.body('/')]);
  one.app.invalidate('*');
  assert.deepEqual([await one.body('/'), await other.body('/')], ['2', '1']);
});

// ---- compression

const TEXT = 'The quick brown fox jumps over the lazy dog, again and again. '.repeat(200);

/** A server whose replies are compressed, and a question that waits until one is. */
function compressed(t, options, handler = (res) => res.writeHeader('Content-Type', 'text/plain').end(TEXT)) {
  const server = cached(t, { compress: true, etag: true, ...options }, handler);
  server.ask = (codings, target = '/') => server.once(get(target, [`Accept-Encoding: ${codings}`]));
  server.whenCoded = async (target) => {
    for (let i = 0; i < 2000; i++) {
      const answers = await Promise.all([server.ask('br', target), server.ask('gzip', target)]);
      if (answers.every((answer) => answer.get('content-encoding') !== undefined)) return;
    }
    throw new Error('it is never compressed');
  };
  return server;
}

it('compress: once for each entry, by the codings that the client accepts', async (t) => {
  const seen = [];
  const server = compressed(t, { head: true }, (res, req) => {
    seen.push(req.getHeader('accept-encoding'));
    res.writeHeader('Content-Type', 'text/plain').end(TEXT);
  });
  const first = await server.ask('br');
  assert.deepEqual(
    [first.get('content-encoding'), first.body, first.get('vary')],
    [undefined, TEXT, 'Accept-Encoding'],
  );
  await server.whenCoded('/');
  const tags = new Set();
  for (const [codings, coding, decode] of [
    ['gzip, deflate, br', 'br', zlib.brotliDecompressSync],
    ['gzip;q=1, br;q=0.5', 'gzip', zlib.gunzipSync],
    ['gzip', 'gzip', zlib.gunzipSync],
    ['br;q=0, gzip;q=0', undefined, (raw) => raw],
    ['identity', undefined, (raw) => raw],
  ]) {
    const answer = await server.ask(codings);
    assert.deepEqual(
      [answer.get('content-encoding'), answer.get('vary')],
      [coding, 'Accept-Encoding'],
      codings,
    );
    assert.equal(decode(answer.raw).toString(), TEXT);
    assert.equal(answer.get('content-type'), 'text/plain');
    if (coding) assert.ok(answer.raw.length < TEXT.length / 5);
    tags.add(answer.get('etag'));
    const again = await server.once(
      get('/', [`Accept-Encoding: ${codings}`, `If-None-Match: ${answer.get('etag')}`]),
    );
    assert.deepEqual(
      [again.code, again.get('vary'), again.get('content-encoding')],
      [304, 'Accept-Encoding', undefined],
    );
  }
  assert.equal(tags.size, 3, 'each variant has a tag of its own');
  assert.equal((await server.once(get('/'))).body, TEXT, 'no wish, no coding');
  const head = await server.once(request('HEAD', '/', ['Accept-Encoding: br']), { head: true });
  assert.deepEqual([head.get('content-encoding'), head.raw.length], ['br', 0]);
  assert.ok(Number(head.get('content-length')) < TEXT.length / 5);
  assert.deepEqual(seen, [''], 'the handler does not see the wish');
});

it('compress: what is small, coded, packed, refused or for one client stays as it is', async (t) => {
  const replies = {
    '/small': (res) => res.end('x'.repeat(500)),
    '/coded': (res) => res.writeHeader('Content-Encoding', 'x').end(TEXT),
    '/image': (res) => res.writeHeader('Content-Type', 'image/png').end(TEXT),
    '/kept': (res) => res.writeHeader('Cache-Control', 'no-transform').end(TEXT),
    '/404': (res) => res.writeStatus('404 Nothing').end(TEXT),
    '/cookie': (res) => res.writeHeader('Set-Cookie', 'a=b').end(TEXT),
    '/noise': (res) => res.end(noise),
    '/last': (res) => res.end(TEXT),
  };
  const noise = crypto.randomBytes(5000);
  const server = compressed(t, {}, (res, req) => replies[req.getUrl()](res));
  for (const target of Object.keys(replies)) await server.ask('br', target);
  // The helper works in order, so it is done with those before.
  await server.whenCoded('/last');
  for (const target of Object.keys(replies).slice(0, -1)) {
    const answer = await server.ask('br', target);
    assert.equal(answer.get('content-encoding'), target === '/coded' ? 'x' : undefined, target);
    assert.equal(answer.get('vary'), target === '/noise' ? 'Accept-Encoding' : undefined, target);
  }
});

it('compress: variants count among the bytes, and outlive a renewal with the same body', async (t) => {
  const plain = compressed(t, { compress: false });
  await plain.ask('br');
  const server = compressed(t, { lowerExpiry: 0 });
  await server.whenCoded('/');
  assert.ok(server.cache().bytes > plain.cache().bytes);
  // The body of the renewed reply is the same, so its variants are, and no request sees it without them.
  while (server.cache().stored < 3) {
    assert.equal((await server.ask('br')).get('content-encoding'), 'br', `after ${server.calls} calls`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.equal((await server.ask('br')).get('content-encoding'), 'br');
});

it('compress: the process ends while the helper has much to do', async () => {
  const result = await child(async ({ listening, get }) => {
    const crypto = require('node:crypto');
    const server = listening((app) =>
      app.get('/*', (res) => res.end(crypto.randomBytes(3 << 20).toString('hex')), {
        upperExpiry: 60,
        lowerExpiry: 60,
        compress: true,
      }),
    );
    const peer = await server.connect();
    for (let i = 0; i < 8; i++) await peer.request(get(`/${i}`));
    process.exit(3);
  });
  assert.deepEqual([result.code, result.hung, result.stderr], [3, false, '']);
});

it('a worker ends while the helper has much to do', async () => {
  const { Worker } = require('node:worker_threads');
  const worker = new Worker(
    `const { listening, get } = require(${JSON.stringify(require.resolve('../support'))});
    const server = listening((app) =>
      app.get('/*', (res) => res.end(Buffer.alloc(3 << 20, 'abcdefgh')), { upperExpiry: 60, lowerExpiry: 60, compress: true }),
    );
    server.connect().then(async (peer) => {
      for (let i = 0; i < 8; i++) await peer.request(get('/' + i));
      process.exit(3);
    });`,
    { eval: true },
  );
  assert.equal(await new Promise((resolve) => worker.on('exit', resolve)), 3);
});
