'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { setTimeout: sleep } = require('node:timers/promises');
const {
  assert,
  client,
  it,
  oneConnection,
  open,
  packages,
  patterned,
  temporaryFile,
  uWS,
} = require('./stack');
const express = packages.require('express');

// Its CommonJS build requires files that it does not have, so programs import it.
const expressify = packages.import('uwebsockets-express').then((module) => module.default);

/** An express app on an app of uWebSockets.js, closed after the test. */
async function listen(t, configure) {
  const server = uWS.App();
  const app = (await expressify)(server);
  configure(app, server);
  await new Promise((resolve) => app.listen(0, resolve));
  t.after(() => server.close());
  return uWS.us_socket_local_port(app.listeningSocket);
}

const serve = async (t, configure) => client(await listen(t, configure));

it('routes by method with parameters and query', async (t) => {
  const http = await serve(t, (app) => {
    app.get('/users/:id/posts/:post', (req, res) => {
      res.json({ params: req.params, query: req.query, url: req.originalUrl || req.url });
    });
    app.put('/thing', (req, res) => res.send('put'));
    app.delete('/thing', (req, res) => res.sendStatus(204));
    app.all('/all', (req, res) => res.status(201).send(req.method));
  });
  const answer = await http.get('/users/7/posts/a%20b?tag=x&tag=y&q=%C3%BC');
  assert.equal(answer.status, 200);
  assert.match(answer.headers['content-type'], /^application\/json/);
  assert.deepEqual(answer.json.params, { id: '7', post: 'a b' });
  assert.deepEqual(answer.json.query, { tag: ['x', 'y'], q: 'ü' });
  assert.equal((await http.put('/thing')).text, 'put');
  assert.equal((await http.delete('/thing')).status, 204);
  const all = await http.patch('/all');
  assert.deepEqual([all.status, all.statusText, all.text], [201, 'Created', 'PATCH']);
});

it('answers 404 and the errors of handlers', async (t) => {
  const http = await serve(t, (app) => {
    app.get('/throws', () => {
      throw new Error('at once');
    });
    app.get('/rejects', async () => {
      await sleep(1);
      throw Object.assign(new Error('later'), { status: 418 });
    });
    app.use((error, req, res, _next) => res.status(error.status || 500).json({ error: error.message }));
  });
  const thrown = await http.get('/throws');
  assert.deepEqual([thrown.status, thrown.json], [500, { error: 'at once' }]);
  const rejected = await http.get('/rejects');
  assert.deepEqual([rejected.status, rejected.json], [418, { error: 'later' }]);
  assert.equal((await http.get('/nowhere')).status, 404);
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
    router.get('/path', trail('route'), (req, res) => res.json(req.trail));
    app.use('/api', router);
    app.use('/slow', async (req, res, next) => {
      await sleep(2);
      next();
    });
    app.get('/slow/path', (req, res) => res.json(req.trail));
  });
  assert.deepEqual((await http.get('/api/path')).json, ['app', 'router', 'route']);
  assert.deepEqual((await http.get('/slow/path')).json, ['app']);
});

it('reads JSON, urlencoded and text bodies', async (t) => {
  const http = await serve(t, (app) => {
    app.use(express.json({ limit: '4mb' }), express.urlencoded({ extended: true }), express.text());
    app.post('/body', (req, res) => res.json({ body: req.body }));
  });
  const large = { list: Array.from({ length: 50000 }, (_, n) => `item ${n} ü`) };
  assert.deepEqual((await http.postJson('/body', large)).json.body, large);
  assert.deepEqual((await http.postForm('/body', 'a=1&b=x+y%26')).json.body, { a: '1', b: 'x y&' });
  const text = await http.post('/body', { body: 'grüß', headers: { 'content-type': 'text/plain' } });
  assert.equal(text.json.body, 'grüß');
});

it('serves static files, small and large', async (t) => {
  const { folder, bytes } = temporaryFile(t, 'data.bin', 5 << 20);
  fs.writeFileSync(path.join(folder, 'index.html'), '<h1>grüß</h1>');
  const http = await serve(t, (app) => {
    app.use('/static', express.static(folder));
    app.get('/file', (req, res) => res.sendFile(path.join(folder, 'data.bin')));
  });
  const index = await http.get('/static/');
  assert.equal(index.text, '<h1>grüß</h1>');
  assert.match(index.headers['content-type'], /^text\/html/);
  assert.ok((await http.get('/static/data.bin')).body.equals(bytes));
  assert.ok((await http.get('/file')).body.equals(bytes));
  assert.equal((await http.get('/static/none.bin')).status, 404);
});

it('writes in pieces, sets cookies and redirects', async (t) => {
  const http = await serve(t, (app) => {
    app.get('/pieces', async (req, res) => {
      res.set('content-type', 'text/plain');
      res.write('one ');
      await sleep(1);
      res.write('two ');
      res.end('three');
    });
    app.get('/bytes', (req, res) => res.send(patterned(2 << 20)));
    app.get('/cookie', (req, res) => res.cookie('a', '1', { httpOnly: true }).send(req.get('cookie')));
    app.get('/old', (req, res) => res.redirect('/new'));
  });
  assert.equal((await http.get('/pieces')).text, 'one two three');
  assert.ok((await http.get('/bytes')).body.equals(patterned(2 << 20)));
  const cookie = await http.get('/cookie', { headers: { cookie: 'x=1' } });
  assert.deepEqual([cookie.text, cookie.headers['set-cookie']], ['x=1', ['a=1; Path=/; HttpOnly']]);
  const redirect = await http.get('/old');
  assert.deepEqual([redirect.status, redirect.headers.location], [302, '/new']);
});

it('answers HEAD, keeps the connection, and many requests at once', async (t) => {
  const http = await serve(t, (app) => {
    app.get('/:n', async (req, res) => {
      await sleep(Number(req.params.n) % 5);
      res.send(`n ${req.params.n}`);
    });
  });
  const agent = oneConnection(t);
  const head = await http.head('/1', { agent });
  assert.deepEqual([head.status, head.body.length], [200, 0]);
  for (let n = 0; n < 10; n += 1) {
    const answer = await http.get(`/${n}`, { agent });
    assert.deepEqual([answer.text, answer.reused], [`n ${n}`, true]);
  }
  const answers = await Promise.all(Array.from({ length: 100 }, (_, n) => http.get(`/${n}`)));
  assert.deepEqual(
    answers.map((answer) => answer.text),
    answers.map((_, n) => `n ${n}`),
  );
});

it('times out a body that does not come', async (t) => {
  const http = await serve(t, (app) => {
    app.opts = { readBodyMaxTime: 50 };
    app.post('/', (req, res) => res.send('read'));
  });
  const answer = await stalled(http.port);
  assert.equal(answer, 'HTTP/1.1 408 Request Timeout');
});

/** Returns the status line for a request whose body is incomplete. */
function stalled(port) {
  const socket = require('node:net').connect(port, '127.0.0.1');
  socket.write('POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n123');
  return new Promise((resolve, reject) => {
    socket.on('error', reject);
    socket.on('data', (data) => {
      socket.destroy();
      resolve(data.toString().split('\r\n')[0]);
    });
  });
}

it('has WebSockets beside it on the same port', async (t) => {
  const port = await listen(t, (app, server) => {
    app.get('/', (req, res) => res.send('page'));
    server.ws('/ws', { message: (ws, message, binary) => ws.send(message, binary) });
  });
  const socket = await open(t, port, '/ws');
  socket.send('grüß');
  assert.deepEqual(await socket.texts(1), ['grüß']);
  assert.equal((await client(port).get('/')).text, 'page');
});
