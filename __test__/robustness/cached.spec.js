'use strict';
// Cached routes under load, with careless handlers, clients that leave, and ends of every kind. The first
// property: an answer that is for one client never reaches another.

const { it, assert, uWS, serve, until, child, get, request, Peer, WsPeer } = require('../support');
const certificates = require('../tls/certificates');
const { Program, sleep } = require('./program');

const LONG = { lowerExpiry: 600, upperExpiry: 600 };

function cached(t, options, handler, serving) {
  const server = serve(
    t,
    (app, self) => {
      self.calls = 0;
      app.get('/*', (res, req) => handler(res, req, ++self.calls), options);
      app.get('/plain', (res) => res.end('plain'));
    },
    serving,
  );
  server.cache = () => server.app.stats().cache;
  server.body = async (target, headers) => (await server.once(get(target, headers))).body;
  return server;
}

const connect = (server, count) => Promise.all(Array.from({ length: count }, () => server.connect()));

// ---- JavaScript is busy

it('JavaScript is blocked for 2 s: hits are served meanwhile, and a miss waits', async (t) => {
  const program = Program.start(t, ({ listening }) => {
    let calls = 0;
    const server = listening((app) =>
      app
        .get('/*', (res) => res.end(`${++calls}`), { lowerExpiry: 0, upperExpiry: 600 })
        .ws('/control', {
          message(ws) {
            Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2000);
            ws.send('done');
          },
        }),
    );
    console.log(`port ${server.port}`);
  });
  const port = Number(await program.said('port'));
  const control = await WsPeer.open(port, '/control');
  const [peer, waiting] = [await Peer.connect(port), await Peer.connect(port)];
  assert.equal((await peer.request(get('/hit'))).body, '1');
  await control.text('block');
  await sleep(100);
  const began = Date.now();
  await waiting.send(get('/miss'));
  // Some of them are stale, and ask for a renewal that has to wait.
  const elapsed = () => Date.now() - began;
  let hits = 0;
  while (elapsed() < 1500) {
    assert.equal((await peer.request(get('/hit'))).body, '1');
    // On a busy machine the last answers may come when it is over.
    if (elapsed() >= 1800) break;
    assert.deepEqual([control.size, waiting.size], [0, 0], 'JavaScript is blocked all the time');
    if (++hits % 100 === 0) await sleep(50);
  }
  assert.ok(hits >= 100, `${hits} hits while JavaScript was blocked`);
  assert.equal(await control.message(), 'done');
  assert.match((await waiting.response()).body, /^[23]$/);
  for (const each of [control, peer, waiting]) each.destroy();
});

it('1,000 concurrent misses are one call', async (t) => {
  let end;
  const server = cached(t, LONG, (res) => (end = () => res.end('x'.repeat(5000))));
  const peers = await connect(server, 1000);
  const answers = peers.map((peer) => peer.request(get('/')));
  await until(() => server.cache().waits === 999 && server.calls > 0);
  end();
  for (const answer of await Promise.all(answers)) assert.equal(answer.body.length, 5000);
  assert.deepEqual([server.calls, server.cache().misses], [1, 1]);
});

it('200 pipelined hits, among requests of other routes, are answered in order', async (t) => {
  const server = cached(t, LONG, (res, req) => setTimeout((url) => res.end(url), 1, req.getUrl()));
  const peer = await server.connect();
  let text = '';
  const expected = [];
  for (let i = 0; i < 200; i++) {
    const target = i % 17 === 0 ? '/plain' : `/${i % 5}`;
    expected.push(target === '/plain' ? 'plain' : target);
    text += get(target);
  }
  await peer.send(text);
  for (const body of expected) assert.equal((await peer.response()).body, body);
  assert.equal(server.calls, 5);
});

it('HTTP/1.0, Connection: close and bodies of requests are treated as elsewhere', async (t) => {
  const server = cached(t, LONG, (res) => res.end('x'));
  for (let round = 0; round < 2; round++) {
    const old = await server.connect();
    await old.send('GET / HTTP/1.0\r\n\r\n');
    assert.match(await old.rest(), /\r\nConnection: close\r\n\r\nx$|\r\n\r\nx$/);
    const closing = await server.connect();
    await closing.send(get('/', ['Connection: close']));
    assert.match(await closing.rest(), /\r\n\r\nx$/);
    const peer = await server.connect();
    for (const body of ['5\r\nhello\r\n0\r\n\r\n', '0\r\n\r\n']) {
      assert.equal((await peer.request(request('GET', '/', ['Transfer-Encoding: chunked'], body))).body, 'x');
    }
    const large = Buffer.alloc(100000, 'b').toString();
    await peer.send(request('GET', `/${round}`, [`Content-Length: ${large.length}`], large));
    assert.equal((await peer.response()).body, 'x');
    assert.equal((await peer.request(get('/'))).body, 'x');
    const expecting = await server.connect();
    await expecting.send(request('GET', `/e${round}`, ['Content-Length: 5', 'Expect: 100-continue']));
    assert.equal((await expecting.response()).get('connection'), 'close');
  }
});

it('a body that is malformed while its request waits ends that request alone', async (t) => {
  let end;
  const server = cached(t, LONG, (res) => (end = () => res.end('x')));
  const [first, broken] = await connect(server, 2);
  const answer = first.request(get('/'));
  await until(() => server.calls === 1);
  await broken.send(request('GET', '/', ['Transfer-Encoding: chunked'], '5\r\nhello\r\n'));
  await until(() => server.cache().waits === 1);
  await broken.send('no size\r\n');
  assert.equal((await broken.response()).code, 400);
  end();
  assert.equal((await answer).body, 'x');
});

it('slow readers of a large reply share its memory', async (t) => {
  // More than the kernel takes for a connection.
  const size = 32 << 20;
  const server = cached(t, LONG, (res) => res.end(Buffer.alloc(size, 'z')));
  assert.equal((await server.once(get('/'))).raw.length, size);
  const peers = await connect(server, 20);
  for (const peer of peers) peer.pause();
  await Promise.all(peers.map((peer) => peer.send(get('/').repeat(2))));
  await until(() => server.cache().hits >= 20 && uWS.stats().memory.unsent > 10 * size);
  assert.ok(uWS.memoryBudget().used < 2 * size, `${uWS.memoryBudget().used} bytes are held for them`);
  peers[0].resume();
  for (let i = 0; i < 2; i++) assert.equal((await peers[0].response()).raw.length, size);
});

// ---- careless handlers

const careless = {
  'throws at once': () => {
    throw new Error('careless');
  },
  'throws behind a status': (res) => {
    res.writeStatus('201 Created').writeHeader('a', 'b');
    throw new Error('careless');
  },
};

for (const [name, handler] of Object.entries(careless)) {
  it(`a handler that ${name}: 500 for all who wait, reported, and the next request tries again`, async () => {
    const result = await child(async ({ listening, get, until }, source) => {
      const errors = [];
      process.on('uncaughtException', (error) => errors.push(error.message));
      process.on('warning', (warning) => errors.push(warning.message));
      // The handler is asked for before it is known what it does.
      const fail = eval(source);
      let calls = 0;
      const server = listening((app) =>
        app.get('/*', (res) => (++calls < 3 ? fail(res) : res.end('well')), {
          lowerExpiry: 600,
          upperExpiry: 600,
        }),
      );
      const peer = await server.connect();
      const codes = [];
      for (let i = 0; i < 4; i++) codes.push((await peer.request(get('/'))).code);
      await until(() => errors.length >= 3);
      console.log(
        JSON.stringify({ codes, calls, errors: errors.sort(), stored: server.app.stats().cache.stored }),
      );
      process.exit();
    }, `(${handler})`);
    const { codes, calls, errors, stored } = JSON.parse(result.stdout);
    assert.deepEqual([codes, calls, stored], [[500, 500, 200, 200], 3, 1]);
    assert.deepEqual(errors.slice(1), ['careless', 'careless']);
    assert.match(errors[0], /^The handler of GET \/ threw; answered 500 to all who wait.* 'GET \/\*'\.$/);
  });
}

it('a handler that never ends: 504 behind the timeout, and its late answer goes nowhere', async (t) => {
  const held = [];
  const server = cached(t, { ...LONG, timeout: 1 }, (res) => held.push(res));
  const peers = await connect(server, 3);
  const answers = await Promise.all(peers.map((peer) => peer.request(get('/'))));
  assert.deepEqual(
    answers.map(({ code }) => code),
    [504, 504, 504],
  );
  const again = peers[0].request(get('/'));
  await until(() => held.length === 2);
  held[0].writeHeader('x', 'late').end('late');
  await sleep(50);
  held[1].end('in time');
  assert.equal((await again).body, 'in time');
  assert.equal((await peers[1].request(get('/'))).body, 'in time');
});

it('an async handler that rejects is reported as elsewhere, and times out', async () => {
  const result = await child(async ({ listening, get }) => {
    process.on('unhandledRejection', (error) => console.log(`rejected ${error.message}`));
    const server = listening((app) =>
      app.get(
        '/*',
        async () => {
          await null;
          throw new Error('careless');
        },
        { timeout: 1 },
      ),
    );
    console.log((await (await server.connect()).request(get('/'))).code);
    process.exit();
  });
  assert.equal(result.stdout, 'rejected careless\n504\n');
});

it('a handler cannot yield, nor use its request later', async (t) => {
  const errors = [];
  const server = cached(t, LONG, (res, req) => {
    assert.throws(() => req.setYield(true), /cannot yield/);
    req.setYield(false);
    setTimeout(() => {
      assert.throws(() => req.getUrl(), /must not be accessed after await/);
      res.end('x');
    }, 5);
    errors.push(req.getClientAddress());
  });
  assert.equal(await server.body('/'), 'x');
  assert.deepEqual(errors, ['127.0.0.1']);
});

it('behind a handler that yields, the handler of a cached route answers one client', async (t) => {
  let calls = 0;
  const server = serve(t, (app) =>
    app
      .get('/a', (res, req) => req.setYield(true))
      .get('/gone', (res, req) => req.setYield(true))
      .get(
        '/*',
        (res, req) => {
          const url = req.getUrl();
          if (url === '/gone') return void setTimeout(() => res.writeHeader('a', 'b').end('nobody'), 100);
          res.writeStatus('201 Created').writeHeader('X', 'y').writeHeader('Date', 'never');
          if (req.getQuery('close') !== undefined) res.close();
          else setTimeout((body) => res.end(body), 1, `${++calls}`);
        },
        LONG,
      ),
  );
  for (const body of ['1', '2']) {
    const answer = await server.once(get('/a'));
    assert.deepEqual([answer.code, answer.get('x'), answer.body], [201, 'y', body]);
    assert.notEqual(answer.get('date'), 'never');
  }
  assert.equal((await server.once(get('/a?close=1'))).code, 502);
  const leaving = await server.connect();
  await leaving.send(get('/gone'));
  await sleep(30);
  leaving.reset();
  await sleep(150);
  assert.equal((await server.once(get('/b'))).body, '3');
});

// ---- clients that leave, apps that end

it('a client that leaves is forgotten, and the flight goes on for the others and for later ones', async (t) => {
  for (const leave of ['reset', 'destroy', 'halfClose']) {
    let end;
    const server = cached(t, LONG, (res) => (end = () => res.end('x')));
    const peers = await connect(server, 4);
    const first = peers[0].send(get('/'));
    await until(() => server.calls === 1);
    await first;
    const answers = peers.slice(2).map((peer) => peer.request(get('/')));
    await peers[1].send(get('/'));
    await until(() => server.cache().waits === 3);
    peers[0][leave]();
    peers[1][leave]();
    await until(() => server.app.stats().connections.plain.http === 2);
    end();
    for (const answer of await Promise.all(answers)) assert.equal(answer.body, 'x');
    assert.equal(await server.body('/'), 'x');
    assert.equal(server.calls, 1);
  }
});

it('all clients leave: the answer is stored all the same', async (t) => {
  let end;
  const server = cached(t, LONG, (res) => (end = () => res.end('x')));
  const peer = await server.connect();
  await peer.send(get('/'));
  await until(() => server.calls === 1);
  peer.reset();
  await until(() => server.app.stats().connections.plain.http === 0);
  end();
  await until(() => server.cache().stored === 1);
  assert.equal(await server.body('/'), 'x');
  assert.equal(server.calls, 1);
});

it('app.close during flights: everybody is gone, a late answer goes nowhere, and the app serves again', async (t) => {
  const held = [];
  const server = cached(t, LONG, (res) => held.push(res));
  const peers = await connect(server, 10);
  for (const [i, peer] of peers.entries()) await peer.send(get(`/${i % 3}`));
  await until(() => held.length === 3);
  server.app.close();
  for (const peer of peers) await peer.gone();
  for (const res of held) res.end('late');
  server.app.listen(server.port, (token) => assert.ok(token));
  const answer = (await server.connect()).request(get('/0'));
  await until(() => held.length === 4);
  held[3].end('new');
  assert.equal((await answer).body, 'new');
  assert.equal(server.cache().entries, 1);
});

it('app.close in the handler itself, and behind its end', async (t) => {
  for (const order of ['before', 'behind']) {
    const server = cached(t, LONG, (res) => {
      if (order === 'before') server.app.close();
      res.end('x');
      if (order === 'behind') server.app.close();
    });
    const peer = await server.connect();
    await peer.send(get('/'));
    await peer.gone();
    assert.equal(server.app.stats().connections.plain.http, 0);
  }
});

it('app.shutdown waits for those who wait for a flight', async (t) => {
  const held = [];
  const server = cached(t, LONG, (res) => held.push(res));
  const peers = await connect(server, 3);
  const answers = peers.map((peer) => peer.request(get('/')));
  await until(() => server.cache().waits === 2 && held.length === 1);
  const over = server.app.shutdown({ timeout: 5 });
  await sleep(50);
  held[0].end('last');
  for (const answer of await Promise.all(answers)) {
    assert.deepEqual([answer.body, answer.get('connection')], ['last', 'close']);
  }
  assert.deepEqual(await over, { cut: 0 });
});

it('the environment ends, or the loop stops, with flights under way', async () => {
  const ended = await child(async ({ listening, get, until }) => {
    let held = 0;
    const server = listening((app) => app.get('/*', () => void held++, {}));
    const peer = await server.connect();
    await peer.send(get('/'));
    await until(() => held === 1);
    process.exit(7);
  });
  assert.deepEqual([ended.code, ended.stderr], [7, '']);
  const stopped = await child(async ({ listening, get, until, modulePath }) => {
    const path = require('node:path');
    const held = [];
    const server = listening((app) => app.get('/*', (res) => held.push(res), {}));
    const peer = await server.connect();
    await peer.send(get('/'));
    await until(() => held.length === 1);
    process.on('uncaughtException', (error) => console.log(error.message));
    const { start } = require(path.join(modulePath(), 'lib/engine'));
    start().panicForTest('for the test');
    await peer.gone();
    await new Promise((resolve) => setTimeout(resolve, 50));
    held[0].writeHeader('a', 'b').end('nobody');
    console.log('over');
  });
  assert.equal(stopped.stdout, 'The event loop of uws-rs has stopped: for the test\nover\n');
  assert.equal(stopped.code, 0);
});

it('a route that is replaced or removed during a flight still answers those who wait', async (t) => {
  const held = [];
  const server = cached(t, LONG, (res) => held.push(res));
  const [one, other] = await connect(server, 2);
  const first = one.request(get('/'));
  await until(() => held.length === 1);
  server.app.get('/*', (res) => res.end('replaced'), LONG);
  assert.equal((await other.request(get('/'))).body, 'replaced');
  held[0].end('old');
  assert.equal((await first).body, 'old');
  assert.equal((await one.request(get('/'))).body, 'replaced', 'each has a store of its own');
  server.app.get('/*', null);
  await until(() => server.cache().entries === 0);
  assert.equal((await one.request(get('/'))).code, 404);
});

// ---- one client's answer never reaches another

/** How an answer says that it is for one client. */
const PRIVATE = {
  'Set-Cookie': (res) => res.writeHeader('Set-Cookie', 'session=secret'),
  'Cache-Control: private': (res) => res.writeHeader('Cache-Control', 'max-age=60, private'),
  'Cache-Control: no-store': (res) => res.writeHeader('cache-control', 'No-Store'),
  'Vary: Cookie': (res) => res.writeHeader('Vary', 'Cookie'),
  'Vary: *': (res) => res.writeHeader('Vary', '*'),
  'status 206': (res) => res.writeStatus('206 Partial Content'),
};

for (const [name, mark] of Object.entries(PRIVATE)) {
  it(`an answer with ${name} reaches the client that asked for it, and no other of 200`, async (t) => {
    const server = cached(t, LONG, (res, req) => {
      const who = req.getHeader('cookie');
      // Some of them at once, most of them while others wait.
      if (who === '3') mark(res).end(who);
      else setTimeout(() => mark(res).end(who), Math.random() * 5);
    });
    const peers = await connect(server, 200);
    for (let round = 0; round < 3; round++) {
      await Promise.all(
        peers.map(async (peer, i) => {
          const answer = await peer.request(get('/page', [`Cookie: ${i}`]));
          assert.equal(answer.body, `${i}`, `client ${i} in round ${round}`);
        }),
      );
    }
    assert.equal(server.calls, 600);
    const { stored, hits, stale } = server.cache();
    assert.deepEqual([stored, hits, stale], [0, 0, 0]);
  });
}

it('a request with Authorization is neither merged, nor stored, nor answered from the store', async (t) => {
  const server = cached(t, LONG, (res, req) => {
    const who = req.getHeader('authorization') || 'nobody';
    setTimeout(() => res.end(who), 3);
  });
  const peers = await connect(server, 60);
  const ask = (peer, i) => peer.request(get('/', i % 3 === 0 ? [] : [`Authorization: Basic ${i}`]));
  for (let round = 0; round < 3; round++) {
    const answers = await Promise.all(peers.map(ask));
    answers.forEach((answer, i) => assert.equal(answer.body, i % 3 === 0 ? 'nobody' : `Basic ${i}`));
  }
  assert.equal(server.calls, 3 * 40 + 1);
});

it('a target in absolute form with an empty path makes no entry of another URL', async (t) => {
  const server = cached(t, LONG, (res, req) => res.end(`${req.getUrl()} ${req.getQuery()}`));
  assert.equal(await server.body('http://news?a'), '/ a');
  assert.equal(await server.body('/news?a'), '/news a');
  assert.equal(await server.body('http://news'), '/ undefined');
  assert.deepEqual([await server.body('/?a'), await server.body('http://other?a')], ['/ a', '/ a']);
  assert.deepEqual([server.calls, server.cache().hits], [3, 2]);
});

it('vary: flights and entries by the values of the named headers', async (t) => {
  const vary = ['Authorization', 'accept-language'];
  const server = cached(t, { ...LONG, vary }, (res, req) => {
    res.writeHeader('Vary', 'Accept-Language, authorization');
    const body = `${req.getHeader('authorization')} ${req.getHeader('accept-language')}`;
    setTimeout(() => res.end(body), 3);
  });
  const peers = await connect(server, 64);
  for (let round = 0; round < 3; round++) {
    await Promise.all(
      peers.map(async (peer, i) => {
        const headers = [`Authorization: ${i % 4}`, `Accept-Language: ${i % 2}`, `X-Other: ${i}`];
        assert.equal((await peer.request(get('/', headers))).body, `${i % 4} ${i % 2}`);
      }),
    );
  }
  assert.equal(server.calls, 4);
});

it('ranges and other particular requests are left to the handler, each with its own answer', async (t) => {
  const server = cached(t, LONG, (res, req) => {
    const range = req.getHeader('range');
    if (range === '') return void res.end('whole');
    res.writeStatus('206 Partial Content').writeHeader('Content-Range', 'bytes 0-1/5').end(range);
  });
  assert.equal(await server.body('/'), 'whole');
  for (const range of ['bytes=0-1', 'bytes=1-2']) {
    const answer = await server.once(get('/', [`Range: ${range}`]));
    assert.deepEqual([answer.code, answer.body], [206, range]);
  }
  assert.equal(await server.body('/', ['If-Match: "x"']), 'whole');
  assert.equal(server.calls, 4);
  assert.equal(await server.body('/'), 'whole');
  assert.equal(server.calls, 4);
});

// ---- bounds

it('maxEntries and maxBytes: the least recently used replies go', async (t) => {
  const server = cached(t, { ...LONG, maxEntries: 10 }, (res, req) => res.end(req.getUrl()));
  const peer = await server.connect();
  const ask = async (target) => assert.equal((await peer.request(get(target))).body, target);
  for (let i = 0; i < 100; i++) {
    await ask(`/${i}`);
    await ask('/0');
  }
  const { entries, evicted, stored, hits } = server.cache();
  assert.deepEqual([entries, evicted, stored, hits], [10, 90, 100, 100], '/0 was used all the time');
  const bytes = cached(t, { ...LONG, maxBytes: 100000 }, (res) => res.end('x'.repeat(10000)));
  const other = await bytes.connect();
  for (let i = 0; i < 50; i++) await other.request(get(`/${i}`));
  assert.deepEqual([bytes.cache().entries, bytes.cache().evicted], [9, 41]);
  assert.ok(bytes.cache().bytes <= 100000);
  const large = cached(t, { ...LONG, maxBytes: 5000 }, (res) => res.end('x'.repeat(10000)));
  for (let i = 0; i < 2; i++) assert.equal((await large.once(get('/'))).body.length, 10000);
  assert.deepEqual([large.calls, large.cache().entries, large.cache().stored], [2, 0, 0]);
});

it('over the memory budget stored replies go before anybody is closed', async () => {
  const result = await child(async ({ uWS, listening, get, until }) => {
    uWS.memoryBudget(8 << 20);
    const server = listening((app) =>
      app.get('/*', (res) => res.end(Buffer.alloc(1 << 20)), { lowerExpiry: 60, upperExpiry: 60 }),
    );
    const peer = await server.connect();
    for (let i = 0; i < 40; i++) {
      const answer = await peer.request(get(`/${i}`));
      if (answer.raw.length !== 1 << 20) throw new Error('short');
    }
    const { cache, limits } = server.app.stats();
    await until(() => uWS.memoryBudget().used <= 8 << 20);
    console.log(cache.entries > 0, cache.entries < 9, cache.evicted > 30, limits.memoryBudget);
    process.exit();
  });
  assert.equal(result.stdout, 'true true true 0\n', result.stderr);
});

it('options: wrong ones are refused by name', () => {
  const app = uWS.App();
  const make = (options) => () => app.get('/', () => {}, options);
  for (const [options, name, message] of [
    [{ lowerExpiry: -1 }, 'RangeError', /^lowerExpiry must not be negative; got -1\.$/],
    [{ upperExpiry: -Infinity }, 'RangeError', /^upperExpiry /],
    [{ maxEntries: -1 }, 'RangeError', /^maxEntries must be an integer from 0 /],
    [{ maxEntries: '5' }, 'RangeError', /^maxEntries /],
    [{ maxBytes: 1.5 }, 'RangeError', /^maxBytes /],
    [{ timeout: 0 }, 'RangeError', /^timeout must be an integer from 1 to 86400; got 0\.$/],
    [{ timeout: Infinity }, 'RangeError', /^timeout /],
    [{ vary: 'accept' }, 'TypeError', /^vary must be an array of header names; got accept\.$/],
    [{ vary: [5] }, 'TypeError', /^vary must have names of headers; it has 5\.$/],
    [{ vary: ['*'] }, 'TypeError', /^vary must name headers/],
    [{ vary: ['a b'] }, 'Error', /header name "a b"/],
    [
      { vary: Array.from({ length: 17 }, (_, i) => `x${i}`) },
      'RangeError',
      /^vary must have 16 names at most/,
    ],
  ]) {
    assert.throws(make(options), { name, message }, JSON.stringify(options));
  }
  for (const options of [
    {},
    { lowerExpiry: NaN, upperExpiry: 'no number' },
    { lowerExpiry: Infinity, upperExpiry: 1.9 },
    { unknown: 5 },
    { maxEntries: 0, maxBytes: 0 },
  ])
    make(options)();
});

// ---- over TLS

it('an SSLApp has cached routes as well', async (t) => {
  const size = 1 << 20;
  const app = uWS.SSLApp(certificates.shared());
  const server = cached(
    t,
    LONG,
    (res, req) => res.end(req.getUrl() === '/large' ? Buffer.alloc(size, 'z') : 'x'),
    {
      app,
      peer: { tls: {} },
    },
  );
  const peers = await connect(server, 20);
  for (let round = 0; round < 2; round++) {
    await Promise.all(peers.map(async (peer) => assert.equal((await peer.request(get('/'))).body, 'x')));
    await Promise.all(
      peers.map(async (peer) => assert.equal((await peer.request(get('/large'))).raw.length, size)),
    );
  }
  assert.equal(server.calls, 2);
});
