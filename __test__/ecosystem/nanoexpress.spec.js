'use strict';

// Release 6.4.4 has faults that it shows on either module and that programs must avoid, as these tests do: an
// answer with a field, a status or JSON never ends, nor does a handler that returns its answer; the first
// `OPTIONS` request, or one that a schema refuses, ends the process; a part of a file has the status 200.

const { setTimeout: sleep } = require('node:timers/promises');
const stack = require('./stack');
const { assert, client, it, oneConnection, open, packages, patterned, temporaryFile, uWS } = stack;

const nanoexpress = packages.import('nanoexpress').then((module) => module.default);
/** It reports each start and stop. */
const silent = { debug() {}, error() {}, log() {} };

/** A listening application, closed after the test. */
async function listen(t, configure) {
  const app = (await nanoexpress)({ console: silent });
  configure(app);
  await app.listen(0, '127.0.0.1');
  t.after(() => app.close());
  return uWS.us_socket_local_port(app._instance);
}

const serve = async (t, configure) => client(await listen(t, configure));

it('routes by method with parameters and query, in handlers that it compiles', async (t) => {
  const http = await serve(t, (app) => {
    app.get('/user/:id', (request, response) => response.end(request.params.id));
    app.get('/fixed', (_, response) => response.end('fixed'));
    app.put('/thing', (_, response) => response.end('put'));
    app.patch('/thing', (_, response) => response.end('patch'));
    app.del('/thing', (_, response) => response.end('delete'));
  });
  assert.equal((await http.get('/user/7')).text, '7');
  assert.equal((await http.get('/fixed')).text, 'fixed');
  for (const method of ['put', 'patch', 'delete']) assert.equal((await http[method]('/thing')).text, method);
});

it('runs middlewares in order before handlers that it does not compile', async (t) => {
  const http = await serve(t, (app) => {
    app.use(async (req) => {
      await sleep(1);
      req.trail = ['first'];
    });
    app.use((req, res, next) => {
      req.trail.push('second');
      next();
    });
    app.get('/trail/:id', async (req, res) => {
      await sleep(1);
      const { trail, params, query, headers, method, path } = req;
      res.end(JSON.stringify({ trail, params, query, from: headers['x-from'], method, path }));
    });
  });
  const answer = await http.get('/trail/7?x=1&q=%C3%BC', { headers: { 'x-from': 'here' } });
  assert.deepEqual(answer.json, {
    trail: ['first', 'second'],
    params: { id: '7' },
    query: { x: '1', q: 'ü' },
    from: 'here',
    method: 'GET',
    path: '/trail/7',
  });
});

it('answers requests that a schema has checked', async (t) => {
  const http = await serve(t, (app) => {
    const query = { type: 'object', required: ['n'], properties: { n: { type: 'string' } } };
    app.get('/checked', { schema: { query } }, async (req, res) => {
      await sleep(1);
      res.send(`n is ${req.query.n}`);
    });
  });
  assert.equal((await http.get('/checked?n=1')).text, 'n is 1');
});

it('reads bodies', async (t) => {
  const http = await serve(t, (app) => {
    app.post('/echo', async (req, res) => {
      await sleep(1);
      res.end(req.body);
    });
    app.post('/size', { schema: { body: false } }, async (req, res) => {
      let size = 0;
      for await (const chunk of req.stream) size += chunk.length;
      res.end(String(size));
    });
  });
  assert.equal((await http.post('/echo', { body: 'grüß' })).text, 'grüß');
  const bytes = patterned(1 << 20);
  assert.ok((await http.post('/echo', { body: bytes })).body.equals(bytes));
  assert.equal((await http.post('/size', { body: patterned(4 << 20) })).text, String(4 << 20));
});

it('sends files, whole and in part', async (t) => {
  const { file, bytes } = temporaryFile(t, 'data.bin', 3 << 20);
  const http = await serve(t, (app) => {
    app.get('/file', async (req, res) => {
      await sleep(1);
      res.sendFile(file);
    });
  });
  const whole = await http.get('/file');
  assert.equal(whole.headers['content-length'], String(bytes.length));
  assert.ok(whole.body.equals(bytes));
  const part = await http.get('/file', { headers: { range: 'bytes=1000-1999999' } });
  assert.equal(part.headers['content-range'], `bytes 1000-1999999/${bytes.length}`);
  assert.ok(part.body.equals(bytes.subarray(1000, 2000000)));
});

it('keeps the connection and answers many requests at once', async (t) => {
  const http = await serve(t, (app) => {
    app.get('/n/:n', async (req, res) => {
      const { n } = req.params;
      await sleep(Number(n) % 5);
      res.send(`n ${n}`);
    });
  });
  const agent = oneConnection(t);
  for (let n = 0; n < 20; n += 1) {
    const answer = await http.get(`/n/${n}`, { agent });
    assert.deepEqual([answer.text, answer.reused], [`n ${n}`, n > 0]);
  }
  const numbers = Array.from({ length: 200 }, (_, n) => n);
  const answers = await Promise.all(numbers.map((n) => http.get(`/n/${n}`)));
  assert.deepEqual(
    answers.map(({ text }) => text),
    numbers.map((n) => `n ${n}`),
  );
});

it('has WebSockets with asynchronous handshakes and topics', async (t) => {
  const closes = [];
  const port = await listen(t, (app) => {
    app.get('/', (_, response) => response.end('page'));
    app.ws('/ws', async (req, res) => {
      await sleep(5);
      res.on('connection', (ws) => {
        ws.subscribe('room');
        ws.on('message', (message, binary) => {
          if (message === 'all') return app.publish('room', 'to all');
          ws.send(message, binary);
        });
        ws.on('close', (code, message) => closes.push([code, message]));
      });
    });
  });
  const [ann, bob] = [await open(t, port, '/ws'), await open(t, port, '/ws')];
  const bytes = patterned(10000);
  ann.send('grüß');
  ann.send(bytes);
  const [text, binary] = await ann.messages.count(2);
  assert.equal(text.data.toString(), 'grüß');
  assert.ok(binary.data.equals(bytes));
  ann.send('all');
  assert.deepEqual(await bob.texts(1), ['to all']);
  assert.deepEqual(await bob.close(4001, 'bye'), { code: 4001, reason: 'bye' });
  assert.equal(closes.length, 1);
  assert.equal((await client(port).get('/')).text, 'page');
});
