'use strict';
// DeclarativeResponse: responses that the loop sends without waking JavaScript.

const { it, assert, uWS, ours, serve, child, get, post, request, onlyOurs } = require('../support');

const { DeclarativeResponse } = uWS;
const respond = () => new DeclarativeResponse();

it('every instruction, in order', async (t) => {
  const server = serve(t, (app) => {
    app.get(
      '/user/:id/:other',
      respond()
        .writeHeader('x-kind', 'declared')
        .writeHeader('x-more', '2')
        .write('[')
        .writeParameterValue('other')
        .write(',')
        .writeParameterValue('id')
        .write(',')
        .writeQueryValue('q')
        .write(',')
        .writeHeaderValue('x-client')
        .end(']'),
    );
  });
  const answer = await server.once(get('/user/7%20/%C3%BC?q=a%20b%2B&q=second', [['X-Client', 'me']]));
  assert.deepEqual([answer.status, answer.get('x-kind'), answer.get('x-more')], ['200 OK', 'declared', '2']);
  assert.equal(answer.body, '[%C3%BC,7%20,a b+,me]');
  const missing = await server.once(get('/user/a/b'));
  assert.equal(missing.body, '[b,a,,]');
});

it('end() returns an ArrayBuffer that any route method takes, as often as one likes', async (t) => {
  const program = respond().end('again');
  assert.ok(program instanceof ArrayBuffer);
  const methods = ['get', 'post', 'options', 'del', 'patch', 'put', 'any'];
  const server = serve(t, (app) => {
    for (const method of methods) assert.equal(app[method](`/${method}`, program), app);
    new Uint8Array(program).fill(0);
  });
  for (const method of methods) {
    const name = method === 'del' ? 'DELETE' : method === 'any' ? 'BREW' : method.toUpperCase();
    assert.equal(
      (await server.once(request(name, `/${method}`, name === 'GET' ? [] : ['Content-Length: 0']))).body,
      'again',
    );
  }
});

it('nothing, texts of data, and long ones', async (t) => {
  const long = 'x'.repeat(65535);
  const server = serve(t, (app) => {
    app.get('/nothing', respond().end()).get('/text', respond().write('grün ').end('🌿'));
    if (ours)
      app
        .get(
          '/data',
          respond()
            .write(Buffer.from([0, 255]))
            .end(new Uint8Array([1])),
        )
        .get(
          '/long',
          respond().write(long).write(long).writeHeader('x'.repeat(255), 'y'.repeat(255)).end(long),
        );
  });
  assert.deepEqual(
    [
      (await server.once(get('/nothing'))).body,
      Buffer.from((await server.once(get('/text'))).body, 'latin1').toString(),
    ],
    ['', 'grün 🌿'],
  );
  if (!ours) return;
  assert.equal((await server.once(get('/data'))).body, '\0\xff\x01');
  const answer = await server.once(get('/long'));
  assert.equal(answer.body, long.repeat(3));
  assert.equal(answer.get('x'.repeat(255)), 'y'.repeat(255));
});

it('texts are bytes, in the loop as behind a handler that yields', { skip: !ours }, async (t) => {
  const bytes = (text) => Buffer.from(text, 'latin1');
  const program = respond()
    .writeStatus(bytes('200 \u00e9'))
    .writeHeader('x', bytes('a\u00e9'))
    .write(bytes('\u00e9,'))
    .writeQueryValue('k')
    .write(',')
    .writeHeaderValue('X-Client')
    .end();
  const server = serve(t, (app) => app.get('/yielding', (res, req) => req.setYield(true)).get('/*', program));
  for (const path of ['/direct', '/yielding']) {
    const answer = await server.once(get(`${path}?k=%e9`, [['X-Client', 'm\u00e9']]));
    assert.deepEqual(
      [answer.status, answer.get('x'), answer.body],
      ['200 \u00e9', 'a\u00e9', '\u00e9,\u00e9,m\u00e9'],
      path,
    );
  }
});

it('a Connection header of the program', { skip: !ours }, async (t) => {
  const server = serve(t, (app) =>
    app
      .get('/kept', respond().writeHeader('connection', 'keep-alive').end('x'))
      .get('/list', respond().writeHeader('connection', 'upgrade, close').end('x')),
  );
  const peer = await server.connect();
  assert.deepEqual((await peer.request(get('/kept'))).all('connection'), ['keep-alive']);
  assert.deepEqual((await peer.request(get('/list'))).all('connection'), ['upgrade, close']);
  assert.equal(await peer.gone(), 'fin');
});

it('1xx is no status of a whole response', { skip: !ours }, () => {
  assert.throws(() => respond().writeStatus('103 Early Hints'), /not that of a final response/);
});

it('behind a handler that yields a program is the one that was given', { skip: !ours }, async (t) => {
  const program = respond().writeHeader('x', 'header').end('text');
  const server = serve(t, (app) => app.get('/a', (res, req) => req.setYield(true)).get('/*', program));
  new Uint8Array(program).fill(0);
  const answer = await server.once(get('/a'));
  assert.deepEqual([answer.get('x'), answer.body], ['header', 'text']);
});

const STATUS = { skip: ours ? false : 'the originals compared with have no writeStatus here' };

it('a status; the first counts, and none behind a header', STATUS, async (t) => {
  const yields = (res, req) => void req.setYield(true);
  const server = serve(t, (app) => {
    const programs = {
      created: respond().write('made ').writeStatus('201 Created').writeHeader('x', 'y').end('it'),
      first: respond().writeStatus('418').writeStatus('500 No').end('short'),
      late: respond().writeHeader('x', 'y').writeStatus('404 Not Found').end('late'),
      data: respond().writeStatus(Buffer.from('202 Accepted')).end('data'),
      body: respond().writeStatus('203 Other').writeHeader('x', 'y').writeBody().end(),
    };
    for (const [name, program] of Object.entries(programs)) {
      app.any(`/${name}`, program);
      app.get(`/yield/${name}`, yields).post(`/yield/${name}`, yields).any(`/yield/${name}`, program);
    }
  });
  for (const path of ['/', '/yield/']) {
    const peer = await server.connect();
    const seen = [];
    for (const name of ['created', 'first', 'late', 'data']) {
      const answer = await peer.request(get(path + name));
      seen.push([answer.status, answer.get('x'), answer.body]);
    }
    const body = await peer.request(post(`${path}body`, 'body'));
    seen.push([body.status, body.get('x'), body.body]);
    assert.deepEqual(seen, [
      ['201 Created', 'y', 'made it'],
      ['418 ', undefined, 'short'],
      ['200 OK', 'y', 'late'],
      ['202 Accepted', undefined, 'data'],
      ['203 Other', 'y', 'body'],
    ]);
  }
});

it('a status that has no body has none, and the connection goes on', STATUS, async (t) => {
  const server = serve(t, (app) => {
    app
      .any('/none', respond().writeStatus('204 No Content').writeHeader('x', 'y').end('left out'))
      .get('/same', respond().writeStatus('304 Not Modified').end('left out'))
      .get('/page', respond().end('page'));
  });
  const peer = await server.connect();
  for (const [path, status] of [
    ['/none', '204 No Content'],
    ['/same', '304 Not Modified'],
  ]) {
    const answer = await peer.request(get(path));
    assert.deepEqual([answer.status, answer.all('content-length'), answer.body], [status, [], '']);
    assert.equal((await peer.request(get('/page'))).body, 'page');
  }
});

it(
  'a body too large is refused whatever the status, also behind a handler that yields',
  STATUS,
  async (t) => {
    const program = respond().writeStatus('201 Created').writeHeader('x', 'y').writeBody().end();
    const server = serve(t, (app) => {
      app
        .post('/now', program)
        .post('/later', (res, req) => void req.setYield(true))
        .any('/later', program);
    });
    for (const path of ['/now', '/later']) {
      const peer = await server.connect();
      await peer.send(request('POST', path, ['Transfer-Encoding: chunked']));
      const chunk = `100000\r\n${'x'.repeat(1 << 20)}\r\n`;
      for (let i = 0; i < 17; i++) peer.socket.write(chunk);
      const answer = await peer.response();
      assert.deepEqual([answer.code, answer.get('x')], [413, undefined], path);
    }
  },
);

it('exactly one content-length and a date', onlyOurs('double-content-length'), async (t) => {
  const server = serve(t, (app) => {
    app.get(
      '/a',
      respond().writeHeader('content-length', '99').writeHeader('transfer-encoding', 'chunked').end('abc'),
    );
    app
      .get('/b', respond().writeHeader('Date', 'yesterday').end('abc'))
      .get('/c', respond().writeHeader('connection', 'close').end('abc'));
  });
  const answer = await server.once(get('/a'));
  assert.deepEqual(
    [answer.all('content-length'), answer.all('transfer-encoding'), answer.all('date').length, answer.body],
    [['3'], [], 1, 'abc'],
  );
  assert.deepEqual((await server.once(get('/b'))).all('date'), ['yesterday']);
  const peer = await server.connect();
  const last = await peer.request(get('/c'));
  assert.deepEqual([last.all('connection'), last.body], [['close'], 'abc']);
  assert.equal(await peer.gone(), 'fin');
});

it('HEAD has the length and no body', onlyOurs('head-body'), async (t) => {
  const server = serve(t, (app) => app.any('/*', respond().write('four').end()));
  const peer = await server.connect();
  const head = await peer.request(request('HEAD', '/'), { head: true });
  assert.deepEqual([head.get('content-length'), head.body], ['4', '']);
  assert.equal((await peer.request(get('/'))).body, 'four', 'the connection goes on');
});

it('keep-alive, Connection: close and HTTP/1.0', async (t) => {
  const server = serve(t, (app) => app.get('/*', respond().end('x')));
  const peer = await server.connect();
  for (let i = 0; i < 3; i++) assert.equal((await peer.request(get('/'))).body, 'x');
  assert.equal((await peer.request(get('/', ['Connection: close']))).body, 'x');
  assert.equal(await peer.gone(), 'fin');
  if (!ours) return;
  const old = await server.connect();
  assert.equal((await old.request('GET / HTTP/1.0\r\n\r\n')).body, 'x');
  assert.equal(await old.gone(), 'fin');
});

const BODIES = onlyOurs('declared-body');

it('the body of the request in the answer', BODIES, async (t) => {
  const server = serve(t, (app) =>
    app
      .post('/*', respond().write('<').writeBody().write('|').writeBody().end('>'))
      .get('/*', respond().writeBody().end('none')),
  );
  const peer = await server.connect();
  assert.equal((await peer.request(post('/', 'body'))).body, '<body|body>');
  assert.equal((await peer.request(post('/', ''))).body, '<|>');
  assert.equal((await peer.request(get('/'))).body, 'none');
  await peer.sendPieces(
    request('POST', '/', ['Transfer-Encoding: chunked'], '3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n'),
  );
  assert.equal((await peer.response()).body, '<abcde|abcde>');
  const large = 'z'.repeat(3 << 20);
  const answer = await peer.request(post('/', large));
  assert.ok(answer.body === `<${large}|${large}>`);
  await peer.send(request('POST', '/', ['Content-Length: 3', 'Expect: 100-continue']));
  assert.match(await peer.until('\r\n\r\n'), /^HTTP\/1\.1 100 Continue/);
  await peer.send('yes');
  assert.equal((await peer.response()).body, '<yes|yes>');
});

it('a body beyond what an answer may hold is refused, announced or not', BODIES, async (t) => {
  const server = serve(t, (app) => app.post('/*', respond().writeBody().end()));
  const peer = await server.connect();
  await peer.send(request('POST', '/', [`Content-Length: ${(16 << 20) + 1}`, 'Expect: 100-continue']));
  assert.equal((await peer.response()).code, 413);
  const chunked = await server.connect();
  chunked.socket.write(request('POST', '/', ['Transfer-Encoding: chunked']));
  const chunk = `100000\r\n${'x'.repeat(1 << 20)}\r\n`;
  for (let i = 0; i < 17; i++) chunked.socket.write(chunk);
  assert.equal((await chunked.response()).code, 413);
});

it('a body nobody asked for is passed over', async (t) => {
  const server = serve(t, (app) => app.post('/*', respond().end('done')));
  const peer = await server.connect();
  for (let i = 0; i < 2; i++) assert.equal((await peer.request(post('/', 'y'.repeat(100000)))).body, 'done');
});

it('pipelined with handlers of JavaScript, the order is kept', onlyOurs('pipelining-pending'), async (t) => {
  const server = serve(t, (app) => {
    app.get('/declared/:n', respond().writeParameterValue('n').end());
    app.get('/slow/:n', (res, req) => {
      const n = req.getParameter(0);
      res.onAborted(() => {});
      setTimeout(() => res.end(n), 20);
    });
    app.post('/echo', respond().writeBody().end());
  });
  const peer = await server.connect();
  await peer.send(
    [
      get('/declared/1'),
      get('/slow/2'),
      get('/declared/3'),
      get('/slow/4'),
      get('/slow/5'),
      post('/echo', '6'),
      get('/declared/7'),
    ].join(''),
  );
  const seen = [];
  for (let i = 0; i < 7; i++) seen.push((await peer.response()).body);
  assert.deepEqual(seen, ['1', '2', '3', '4', '5', '6', '7']);
});

it('behind a handler that yields', async (t) => {
  const server = serve(t, (app) => {
    app
      .get('/a/:id', (res, req) => {
        req.setYield(true);
      })
      .any(
        '/a/:id',
        respond()
          .writeHeader('x', 'y')
          .writeParameterValue('id')
          .writeQueryValue('q')
          .writeHeaderValue('host')
          .end('!'),
      );
    if (ours)
      app
        .post('/b', (res, req) => {
          req.setYield(true);
        })
        .any('/b', respond().write('<').writeBody().end('>'));
  });
  const answer = await server.once(get('/a/7?q=8'));
  assert.deepEqual([answer.get('x'), answer.body], ['y', '78localhost!']);
  if (ours) assert.equal((await server.once(post('/b', 'late'))).body, '<late>');
});

it('a route is replaced and removed like any other', async (t) => {
  const server = serve(t, (app) => app.get('/a', respond().end('first')));
  assert.equal((await server.once(get('/a'))).body, 'first');
  server.app.get('/a', respond().end('second'));
  server.app.get('/b', respond().end('third'));
  assert.equal((await server.once(get('/b'))).body, 'third');
  assert.equal((await server.once(get('/a'))).body, 'second');
  server.app.get('/b', null);
  assert.equal((await server.once(get('/b'))).code, 404);
});

it('misuse is an error where it happens', { skip: ours ? false : 'the original checks nothing here' }, () => {
  const app = uWS.App();
  assert.throws(() => respond().writeHeader('a', 'b\r\nc: d'), /control character/);
  assert.throws(() => respond().writeHeader('a b', 'c'), /header name/);
  for (const status of ['', '20', '200OK', '200 a\r\nb: c', undefined]) {
    assert.throws(() => respond().writeStatus(status), /is not three digits/);
  }
  assert.throws(() => respond().writeStatus(200), /Text and data/);
  assert.throws(() => respond().write({}), /Text and data/);
  assert.throws(() => respond().writeQueryValue(), /at least 1 arguments/);
  assert.throws(() => app.get('/*', new ArrayBuffer(2)), /DeclarativeResponse/);
  assert.throws(() => app.get('/*', respond()), /not a valid function/);
});

it(
  'a client that sends requests and reads no answer does not fill the memory',
  { skip: ours ? false : 'about our loop', timeout: 30000 },
  async (t) => {
    const size = 100000;
    const half = 'x'.repeat(size / 2);
    const server = serve(t, (app) => app.get('/*', respond().write(half).write(half).end()));
    const before = process.memoryUsage().rss;
    const peers = await Promise.all(Array.from({ length: 5 }, () => server.connect()));
    const many = 400;
    for (const peer of peers) {
      peer.pause();
      peer.socket.write(get('/').repeat(many));
    }
    await new Promise((resolve) => setTimeout(resolve, 500));
    const grown = process.memoryUsage().rss - before;
    assert.ok(
      grown < 60 << 20,
      `${(grown / 2 ** 20).toFixed(0)} MiB for ${(peers.length * many * size) / 2 ** 20} MiB of answers`,
    );
    for (const peer of peers) peer.resume();
    for (let i = 0; i < many; i++) assert.equal((await peers[0].response()).raw.length, size);
    peers[0].halfClose();
    assert.equal(await peers[0].gone(), 'fin');
  },
);

it(
  'half-closed after a burst of requests, every one is answered',
  { skip: ours ? false : 'about our loop' },
  async (t) => {
    const server = serve(t, (app) => app.get('/*', respond().write('x'.repeat(50000)).end()));
    const peer = await server.connect();
    await peer.send(get('/').repeat(100));
    peer.halfClose();
    for (let i = 0; i < 100; i++) assert.equal((await peer.response()).raw.length, 50000);
    assert.equal(await peer.gone(), 'fin');
  },
);

it(
  'requests are served while JavaScript is blocked for two seconds',
  onlyOurs('declared-while-blocked'),
  async () => {
    const run = await child(
      async ({ uWS: module_, listening, request: text }) => {
        const { Worker } = require('node:worker_threads');
        const server = listening((app) =>
          app
            .get('/:n', new module_.DeclarativeResponse().writeParameterValue('n').end())
            .post('/*', new module_.DeclarativeResponse().writeBody().end()),
        );
        const source = `
      const net = require('node:net')
      const { workerData, parentPort } = require('node:worker_threads')
      const socket = net.connect(workerData.port, '127.0.0.1')
      let sent = 0, text = ''
      const answered = new Int32Array(workerData.answered)
      const next = () => socket.write(++sent % 2 ? 'GET /a HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n' : 'POST / HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 1\\r\\n\\r\\na')
      socket.on('connect', () => { parentPort.postMessage('ready'); next() })
      socket.on('data', (data) => { text += data; if (text.endsWith('\\r\\n\\r\\na')) { text = ''; Atomics.add(answered, 0, 1); next() } })
    `;
        const answered = new SharedArrayBuffer(4);
        const worker = new Worker(source, { eval: true, workerData: { port: server.port, answered } });
        await new Promise((resolve) => worker.once('message', resolve));
        await new Promise((resolve) => setTimeout(resolve, 100));
        const before = Atomics.load(new Int32Array(answered), 0);
        const end = Date.now() + 2000;
        while (Date.now() < end);
        const during = Atomics.load(new Int32Array(answered), 0) - before;
        console.log(JSON.stringify({ during, text: typeof text }));
        process.exit(0);
      },
      null,
      { timeout: 14000 },
    );
    const { during } = JSON.parse(run.stdout);
    assert.ok(during > 200, `${during} requests while JavaScript was blocked`);
  },
);
