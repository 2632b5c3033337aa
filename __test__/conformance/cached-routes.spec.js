'use strict';
// Cached routes: app.get(pattern, handler, { lowerExpiry, upperExpiry }), as section 4 of the notes on newer
// releases describes them. No binary newer than 20.57 is to be had, and 20.57 aborts at the first request, so
// these tests run on this module alone and that page is their only source.

const { it, assert, uWS, serve, until, get, onlyOurs, ERRORS } = require('../support');

const ONLY = onlyOurs('cached-routes');
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** A server with one cached route, whose handler's calls are counted. */
function cached(t, options, handler = (res, req, call) => res.end(`${call}`)) {
  const server = serve(t, (app, self) => {
    self.calls = 0;
    app.get('/*', (res, req) => handler(res, req, ++self.calls), options);
  });
  server.body = async (target, headers) => (await server.once(get(target, headers))).body;
  return server;
}

it('the third argument of get must be an object, and the handler a function', ONLY, () => {
  const app = uWS.App();
  const handler = () => {};
  for (const options of [undefined, null, 5, '5', true, 1n, Symbol('x')]) {
    assert.throws(() => app.get('/', handler, options), {
      name: 'TypeError',
      message: 'Cache options must be an object',
    });
  }
  const declared = new uWS.DeclarativeResponse().end('x');
  for (const wrong of [undefined, null, declared, {}, 'x']) {
    assert.throws(() => app.get('/', wrong, {}), { message: ERRORS.callback });
  }
  assert.equal(app.get('/', handler, {}), app);
  assert.equal(app.get('/', handler, [], 'a fourth argument makes it a plain route'), app);
});

it('a hit is answered without the handler, for as long as upperExpiry says', ONLY, async (t) => {
  const server = cached(t, { lowerExpiry: 1, upperExpiry: 60 });
  const first = await server.once(get('/a?b=1'));
  assert.deepEqual([first.status, first.body, first.get('content-length')], ['200 OK', '1', '1']);
  assert.ok(first.get('date'));
  for (let i = 0; i < 5; i++) assert.equal(await server.body('/a?b=1'), '1');
  assert.equal(server.calls, 1);
});

it('the key is the URL as sent with its query; other headers and cookies play no part', ONLY, async (t) => {
  const server = cached(t, { lowerExpiry: 60, upperExpiry: 60 });
  const targets = ['/a', '/a?', '/a?x', '/a?x=1', '/a?x=2', '/a/', '/%61', '/b'];
  const bodies = [];
  for (const target of targets) bodies.push(await server.body(target));
  assert.equal(new Set(bodies).size, targets.length - (bodies[0] === bodies[1] ? 1 : 0));
  assert.equal(await server.body('/a?x=2', [['Cookie', 'who=me']]), bodies[4]);
  assert.equal(await server.body('/a?x=2', [['Accept', 'text/html']]), bodies[4]);
  assert.equal(await server.body('http://elsewhere/a?x=2'), bodies[4]);
});

it('status and headers are replayed; date and length are made anew', ONLY, async (t) => {
  const server = cached(t, { upperExpiry: 60, lowerExpiry: 60 }, (res, req, call) => {
    assert.equal(res.constructor.name, 'uWS.HttpCacheResponse');
    assert.equal(res.writeStatus('404 Nothing Here').writeStatus('500 x'), res);
    assert.equal(res.writeHeader('X-A', 'b').writeHeader('Date', 'never'), res);
    res.writeHeader('Content-Length', '999').writeHeader('Connection', 'close');
    assert.equal(res.end(`call ${call}`, true), res);
  });
  const peer = await server.connect();
  for (let i = 0; i < 3; i++) {
    const answer = await peer.request(get('/'));
    assert.deepEqual([answer.status, answer.get('x-a'), answer.body], ['404 Nothing Here', 'b', 'call 1']);
    assert.deepEqual(answer.all('content-length'), ['6']);
    assert.equal(answer.all('date').length, 1);
    assert.notEqual(answer.get('date'), 'never');
    assert.equal(answer.get('connection'), undefined);
  }
});

it('the response of the handler has six methods, and no other of a response', ONLY, async (t) => {
  const found = [];
  const server = cached(t, {}, (res) => {
    for (const name of [
      'write',
      'tryEnd',
      'endWithoutBody',
      'onData',
      'onDataV2',
      'collectBody',
      'onWritable',
      'upgrade',
      'pause',
      'resume',
      'getRemoteAddress',
      'getWriteOffset',
    ])
      assert.equal(res[name], undefined, name);
    let corked = false;
    assert.equal(
      res.cork(() => (corked = true)),
      res,
    );
    assert.ok(corked, 'cork runs the callback at once');
    assert.equal(
      res.onAborted(() => found.push('aborted')),
      res,
    );
    assert.throws(() => res.onAborted(5), { message: ERRORS.callback });
    assert.throws(() => res.cork(), { message: ERRORS.callback });
    res.end('x');
    for (const use of [
      () => res.end('y'),
      () => res.close(),
      () => res.writeStatus('200 OK'),
      () => res.writeHeader('a', 'b'),
      () => res.cork(() => {}),
      () => res.onAborted(() => {}),
    ])
      assert.throws(use, /^Error: uWS\.HttpCacheResponse must not be accessed after end or close/);
  });
  assert.equal(await server.body('/'), 'x');
  assert.deepEqual(found, []);
});

it('requests for one key wait for one call, whose end answers all of them', ONLY, async (t) => {
  let answer;
  const server = cached(t, { lowerExpiry: 0, upperExpiry: 0 }, (res) => {
    answer = () => res.end('for all');
  });
  const peers = await Promise.all(Array.from({ length: 20 }, () => server.connect()));
  const answers = peers.map((peer) => peer.request(get('/merged')));
  await until(() => server.app.stats().cache.waits === 19 && server.calls > 0);
  assert.equal(server.calls, 1);
  answer();
  for (const each of await Promise.all(answers)) assert.equal(each.body, 'for all');
  // Nothing is reused with upperExpiry 0.
  const again = peers[0].request(get('/merged'));
  await until(() => server.calls === 2);
  answer();
  assert.equal((await again).body, 'for all');
});

it('behind lowerExpiry a reply is served at once and renewed with the request at hand', ONLY, async (t) => {
  const held = [];
  const server = cached(t, { lowerExpiry: 0, upperExpiry: 60 }, (res, req, call) => {
    if (call === 1) return res.end('1');
    held.push({ res, from: req.getHeader('x-from') });
  });
  assert.equal(await server.body('/'), '1');
  await sleep(2100);
  // Served stale, while the handler runs for the first of these alone.
  assert.equal(await server.body('/', [['X-From', 'second']]), '1');
  await until(() => held.length === 1);
  assert.equal(await server.body('/', [['X-From', 'third']]), '1');
  assert.equal(server.calls, 2);
  assert.equal(held[0].from, 'second');
  held[0].res.end('2');
  await until(() => server.app.stats().cache.stored === 2);
  assert.equal(await server.body('/'), '2');
});

it(
  'from upperExpiry on a request waits: for the renewal that runs, or for one of its own',
  ONLY,
  async (t) => {
    const held = [];
    const server = cached(t, { lowerExpiry: 0, upperExpiry: 3 }, (res, req, call) => {
      if (call === 1) return res.end('1');
      held.push(res);
    });
    assert.equal(await server.body('/a'), '1');
    await sleep(2100);
    // This is stale or expired, by when the seconds of the loop began; its renewal runs in both cases.
    const second = server.body('/a');
    await until(() => held.length === 1);
    await sleep(2000);
    const third = server.body('/a');
    await until(() => server.app.stats().cache.waits >= 1);
    assert.equal(server.calls, 2);
    held[0].end('2');
    assert.equal(await third, '2');
    assert.ok(['1', '2'].includes(await second));
  },
);

it('close answers those who wait with 502 and stores nothing', ONLY, async (t) => {
  const server = cached(t, { lowerExpiry: 60, upperExpiry: 60 }, (res, req, call) => {
    if (call === 1) assert.equal(res.close(), res);
    else res.end('now');
  });
  const refused = await server.once(get('/'));
  assert.deepEqual([refused.code, refused.get('content-type')], [502, 'text/html']);
  assert.equal(await server.body('/'), 'now');
  assert.equal(server.calls, 2);
});

it('routes of other methods ignore a third argument', ONLY, async (t) => {
  let calls = 0;
  const handler = (res) => res.end(`${++calls}`);
  const server = serve(t, (app) => {
    for (const method of ['post', 'any', 'put']) app[method]('/x', handler, { upperExpiry: 60 });
    app.post('/y', handler, 5);
  });
  assert.equal((await server.once(get('/x'))).body, '1');
  assert.equal((await server.once(get('/x'))).body, '2');
});
