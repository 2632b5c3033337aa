'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { Readable } = require('node:stream');
const { setTimeout: sleep } = require('node:timers/promises');
const stack = require('./stack');
const {
  assert,
  client,
  deferred,
  it,
  needs,
  oneConnection,
  open,
  packages,
  patterned,
  temporaryFile,
  versionOf,
} = stack;
const express = packages.require('ultimate-express');
const multer = packages.require('multer');

/** A listening application, closed after the test. */
async function listen(t, configure) {
  const app = express();
  configure(app);
  await new Promise((resolve) => app.listen(0, '127.0.0.1', resolve));
  t.after(() => app.close());
  return app;
}

/** Requests to such an application. */
const serve = async (t, configure) => client((await listen(t, configure)).port);

it('routes by method with parameters, patterns and query', async (t) => {
  const http = await serve(t, (app) => {
    app.get('/users/:id/posts/:post', (req, res) => {
      res.json({
        params: req.params,
        query: req.query,
        url: req.originalUrl,
        ip: req.ip,
        host: req.hostname,
      });
    });
    app.get(/^\/files\/.+\.txt$/, (req, res) => res.send(req.path));
    app.get('/opt/:a?/end', (req, res) => res.json(req.params));
    app
      .route('/thing')
      .put((req, res) => res.send('put'))
      .delete((req, res) => res.sendStatus(204));
    app.all('/all', (req, res) => res.send(req.method));
  });
  const answer = await http.get('/users/7/posts/a%20b?tag=x&tag=y&o[k]=v');
  assert.equal(answer.status, 200);
  assert.deepEqual(answer.json, {
    params: { id: '7', post: 'a%20b' },
    query: { tag: ['x', 'y'], o: { k: 'v' } },
    url: '/users/7/posts/a%20b?tag=x&tag=y&o[k]=v',
    ip: '127.0.0.1',
    host: '127.0.0.1',
  });
  assert.equal((await http.get('/files/a/b.txt')).text, '/files/a/b.txt');
  assert.equal((await http.get('/opt/end')).status, 200);
  assert.equal((await http.put('/thing')).text, 'put');
  const deleted = await http.delete('/thing');
  assert.deepEqual([deleted.status, deleted.body.length], [204, 0]);
  assert.equal((await http.patch('/all')).text, 'PATCH');
  assert.match((await http.options('/thing')).headers.allow, /PUT/);
});

it(
  'answers routes that are declarative inside uWebSockets.js',
  needs('writeStatus of DeclarativeResponse', false),
  async (t) => {
    let registered;
    const http = await serve(t, (app) => {
      registered = t.mock.method(app.uwsApp, 'get').mock;
      app.set('etag', false);
      app.get('/fixed', (req, res) => res.status(201).send('Hello'));
      app.get('/greet/:name', (req, res) =>
        res.set('x-a', '1').send(`Hi ${req.params.name}, ${req.query.q}`),
      );
      app.get('/object', (req, res) => res.send({ a: 1 }));
      app.get('/dynamic', (req, res) => res.json(req.query));
    });
    // From 2.2 on, routes with parameters are left to its own router.
    const greeting =
      Number(versionOf('ultimate-express').slice(0, 3)) < 2.2 ? ['/greet/:name', '/greet/:name/'] : [];
    const declarative = registered.calls.filter(
      ({ arguments: [, handler] }) => typeof handler !== 'function',
    );
    assert.deepEqual(
      declarative.map(({ arguments: [pattern] }) => pattern),
      ['/fixed', '/fixed/', ...greeting, '/object', '/object/'],
    );
    const agent = oneConnection(t);
    for (const reused of [false, true]) {
      const fixed = await http.get('/fixed', { agent });
      assert.deepEqual([fixed.status, fixed.statusText, fixed.text], [201, 'Created', 'Hello']);
      assert.equal(fixed.reused, reused);
    }
    const greeted = await http.get('/greet/Ann?q=why', { agent });
    assert.deepEqual([greeted.status, greeted.text, greeted.headers['x-a']], [200, 'Hi Ann, why', '1']);
    assert.match(greeted.headers['content-type'], /^text\/html/);
    assert.deepEqual((await http.get('/dynamic?b=2', { agent })).json, { b: '2' });
    assert.deepEqual((await http.get('/object')).json, { a: 1 });
  },
);

it('answers 404 and the errors of handlers', async (t) => {
  const http = await serve(t, (app) => {
    app.get('/throws', () => {
      throw new Error('at once');
    });
    app.get('/next', async (req, res, next) => {
      await sleep(1);
      next(Object.assign(new Error('later'), { status: 418 }));
    });
    app.use((error, req, res, _next) => res.status(error.status || 500).json({ error: error.message }));
  });
  const thrown = await http.get('/throws');
  assert.deepEqual([thrown.status, thrown.json], [500, { error: 'at once' }]);
  const passed = await http.get('/next');
  assert.deepEqual([passed.status, passed.json], [418, { error: 'later' }]);
  const missing = await http.get('/nowhere');
  assert.equal(missing.status, 404);
  assert.match(missing.text, /Cannot GET \/nowhere/);
});

it('runs middlewares in order, of the application and of routers', async (t) => {
  const trail = (name) => (req, res, next) => {
    req.trail = [...(req.trail || []), name];
    next();
  };
  const http = await serve(t, (app) => {
    app.use(trail('app'));
    const router = express.Router();
    router.use(trail('router'));
    router.get('/path', trail('route'), (req, res) => res.json({ trail: req.trail, base: req.baseUrl }));
    app.use('/api/v1', router);
    app.use('/slow', async (req, res, next) => {
      await sleep(2);
      next();
    });
    app.get('/slow/path', (req, res) => res.json(req.trail));
  });
  assert.deepEqual((await http.get('/api/v1/path')).json, {
    trail: ['app', 'router', 'route'],
    base: '/api/v1',
  });
  assert.deepEqual((await http.get('/slow/path')).json, ['app']);
});

it('reads JSON, urlencoded, text and raw bodies', async (t) => {
  const http = await serve(t, (app) => {
    app.post('/json', express.json({ limit: '4mb' }), (req, res) => res.json(req.body));
    app.post('/form', express.urlencoded({ extended: true }), (req, res) => res.json(req.body));
    app.post('/text', express.text(), (req, res) => res.send(req.body));
    app.post('/raw', express.raw({ limit: '4mb' }), (req, res) => res.send(req.body));
    app.post('/echo', (req, res) => req.pipe(res));
    app.use((error, req, res, _next) => res.status(400).send(error.message));
  });
  const large = { list: Array.from({ length: 50000 }, (_, n) => `item ${n} ü`) };
  assert.deepEqual((await http.postJson('/json', large)).json, large);
  const wrong = await http.post('/json', { body: '{', headers: { 'content-type': 'application/json' } });
  assert.equal(wrong.status, 400);
  assert.deepEqual((await http.postForm('/form', 'a[b]=1&c=x+y%26')).json, { a: { b: '1' }, c: 'x y&' });
  const text = await http.post('/text', { body: 'grüß', headers: { 'content-type': 'text/plain' } });
  assert.equal(text.text, 'grüß');
  const bytes = patterned(3 << 20);
  const headers = { 'content-type': 'application/octet-stream' };
  assert.ok((await http.post('/raw', { body: bytes, headers })).body.equals(bytes));
  assert.ok((await http.post('/echo', { body: bytes })).body.equals(bytes));
  assert.ok(
    (await http.post('/echo', { pieces: [bytes.subarray(0, 9), bytes.subarray(9)] })).body.equals(bytes),
  );
});

it('takes multipart uploads with multer', async (t) => {
  const http = await serve(t, (app) => {
    app.post('/upload', multer().array('photos'), (req, res) => {
      res.json({
        body: req.body,
        files: req.files.map((file) => [file.originalname, file.mimetype, file.size]),
      });
    });
  });
  const form = new FormData();
  form.append('title', 'Grüße');
  form.append('photos', new Blob([patterned(1 << 20)], { type: 'image/png' }), 'a b.png');
  form.append('photos', new Blob(['text'], { type: 'text/plain' }), 'note.txt');
  assert.deepEqual((await http.postMultipart('/upload', form)).json, {
    body: { title: 'Grüße' },
    files: [
      ['a b.png', 'image/png', 1 << 20],
      ['note.txt', 'text/plain', 4],
    ],
  });
});

it('serves static files, small and large, ranges, conditions and downloads', async (t) => {
  const { file, folder, bytes } = temporaryFile(t, 'data.bin', 5 << 20);
  fs.writeFileSync(path.join(folder, 'index.html'), '<h1>grüß</h1>');
  const http = await serve(t, (app) => {
    app.use('/static', express.static(folder));
    app.get('/file', (req, res) => res.sendFile(file));
    app.get('/download', (req, res) => res.download(file, 'yours.bin'));
    app.use((error, req, res, _next) => res.send(error.message));
  });
  const index = await http.get('/static/');
  assert.equal(index.text, '<h1>grüß</h1>');
  assert.match(index.headers['content-type'], /^text\/html/);
  for (const target of ['/static/data.bin', '/file', '/download']) {
    const answer = await http.get(target);
    assert.equal(answer.headers['content-length'], String(bytes.length), target);
    assert.ok(answer.body.equals(bytes), target);
  }
  const whole = await http.head('/static/data.bin');
  assert.deepEqual(
    [whole.status, whole.headers['content-length'], whole.body.length],
    [200, String(bytes.length), 0],
  );
  const part = await http.get('/static/data.bin', { headers: { range: 'bytes=1000-4999999' } });
  assert.deepEqual([part.status, part.headers['content-range']], [206, `bytes 1000-4999999/${bytes.length}`]);
  assert.ok(part.body.equals(bytes.subarray(1000, 5000000)));
  const outside = await http.get('/file', { headers: { range: 'bytes=99999999-' } });
  assert.deepEqual([outside.status, outside.headers['content-range']], [416, `bytes */${bytes.length}`]);
  const known = await http.get('/static/data.bin', { headers: { 'if-none-match': whole.headers.etag } });
  assert.deepEqual([known.status, known.body.length], [304, 0]);
  assert.equal((await http.get('/static/none.bin')).status, 404);
});

it('streams responses, sized and chunked, also to a slow reader', async (t) => {
  const bytes = patterned(3 << 20);
  const gone = deferred();
  const http = await serve(t, (app) => {
    app.get('/chunked', (req, res) => Readable.from(pieces(bytes)).pipe(res));
    app.get('/sized', (req, res) => {
      res.set('content-length', bytes.length);
      Readable.from(pieces(bytes)).pipe(res);
    });
    app.get('/events', async (req, res) => {
      res.set('content-type', 'text/event-stream');
      for (const n of [1, 2, 3]) {
        res.write(`data: ${n}\n\n`);
        await sleep(1);
      }
      res.end();
    });
    app.get('/gone', (req, res) => {
      res.write('start');
      res.socket.on('error', (error) => gone.resolve(error.code));
    });
  });
  const chunked = await http.get('/chunked');
  assert.equal(chunked.headers['transfer-encoding'], 'chunked');
  assert.ok(chunked.body.equals(bytes));
  const sized = await http.get('/sized');
  assert.equal(sized.headers['content-length'], String(bytes.length));
  assert.ok(sized.body.equals(bytes));
  assert.equal((await http.get('/events')).text, 'data: 1\n\ndata: 2\n\ndata: 3\n\n');
  const slow = await http.begin('/sized');
  await sleep(100);
  let size = 0;
  for await (const chunk of slow) size += chunk.length;
  assert.equal(size, bytes.length);
  (await http.begin('/gone')).destroy();
  assert.equal(await gone.promise, 'ECONNRESET');
});

function* pieces(bytes) {
  for (let at = 0; at < bytes.length; at += 50000) yield bytes.subarray(at, at + 50000);
}

it('sets cookies, redirects, and has etags for dynamic answers', async (t) => {
  const http = await serve(t, (app) => {
    app.get('/cookies', (req, res) => {
      res.cookie('a', '1', { httpOnly: true, path: '/' }).cookie('b', '2').send(req.get('cookie'));
    });
    app.get('/old', (req, res) => res.redirect(301, '/new'));
    app.get('/etag', (req, res) => res.send({ stable: Boolean(req.query) }));
  });
  const cookies = await http.get('/cookies', { headers: { cookie: 'x=1; y=z' } });
  assert.equal(cookies.text, 'x=1; y=z');
  assert.deepEqual(cookies.headers['set-cookie'], ['a=1; Path=/; HttpOnly', 'b=2; Path=/']);
  const redirect = await http.get('/old');
  assert.deepEqual([redirect.status, redirect.headers.location], [301, '/new']);
  const { etag } = (await http.get('/etag')).headers;
  const known = await http.get('/etag', { headers: { 'if-none-match': etag } });
  assert.deepEqual([known.status, known.body.length], [304, 0]);
});

it('answers HEAD and keeps the connection', async (t) => {
  const http = await serve(t, (app) => {
    app.get('/page', (req, res) => res.send(`grüß ${req.query.n}`));
    app.post('/page', express.json(), (req, res) => res.json(req.body));
  });
  const agent = oneConnection(t);
  const head = await http.head('/page?n=1', { agent });
  assert.deepEqual([head.status, head.headers['content-length'], head.body.length], [200, '8', 0]);
  for (let n = 0; n < 20; n += 1) {
    const answer = await http.get(`/page?n=${n}`, { agent });
    assert.deepEqual([answer.text, answer.reused], [`grüß ${n}`, true]);
  }
  const missing = await http.get('/none', { agent });
  assert.deepEqual([missing.status, missing.reused], [404, true]);
  assert.equal((await http.get('/page?n=x', { agent })).reused, true);
});

it('answers many requests at once, each its own', async (t) => {
  const http = await serve(t, (app) => {
    app.get('/:n', async (req, res) => {
      await sleep(Number(req.params.n) % 7);
      res.send(req.params.n);
    });
  });
  const numbers = Array.from({ length: 200 }, (_, n) => String(n));
  const answers = await Promise.all(numbers.map((n) => http.get(`/${n}`)));
  assert.deepEqual(
    answers.map((answer) => answer.text),
    numbers,
  );
});

it('has WebSockets beside it on the same port', async (t) => {
  const app = await listen(t, (app) => {
    app.get('/', (req, res) => res.send('page'));
    app.uwsApp.ws('/ws', { message: (ws, message, binary) => ws.send(message, binary) });
  });
  const socket = await open(t, app.port, '/ws');
  socket.send('grüß');
  assert.deepEqual(await socket.texts(1), ['grüß']);
  assert.equal((await client(app.port).get('/')).text, 'page');
});

it('listens where it is free alone', async (t) => {
  const app = await listen(t, () => {});
  assert.throws(() => express().listen(app.port, '127.0.0.1'), { code: 'EADDRINUSE' });
});
