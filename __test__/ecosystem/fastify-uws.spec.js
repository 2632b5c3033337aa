'use strict';

// The two packages that put Fastify on uWebSockets.js by `serverFactory`.

const fs = require('node:fs');
const http = require('node:http');
const { after } = require('node:test');
const { Readable } = require('node:stream');
const { setTimeout: sleep } = require('node:timers/promises');
const stack = require('./stack');
const { assert, client, it, oneConnection, open, packages, patterned, refusal, temporaryFile } = stack;
const fastify = packages.require('fastify');

/** The second needs a module with top-level `await`, so it can only be imported. */
const PACKAGES = ['fastify-uws', '@geut/fastify-uws'];

// `close` leaves open what clients keep open.
after(() => http.globalAgent.destroy());

/** A listening application, closed after the test. */
async function listen(t, name, configure, options) {
  const { serverFactory } = await packages.import(name);
  const app = fastify({ serverFactory, ...options });
  await configure(app);
  await app.listen({ host: '127.0.0.1', port: 0 });
  t.after(() => app.close());
  return app.server.address().port;
}

for (const name of PACKAGES) {
  const serve = async (t, configure, options) => client(await listen(t, name, configure, options));

  it(`${name}: routes with parameters, query, hooks and schemas`, async (t) => {
    const web = await serve(t, (app) => {
      app.addHook('onRequest', async (req, reply) => {
        reply.header('x-hook', req.method);
      });
      app.get('/users/:id', async ({ params, query, url, ip, headers }) => ({
        params,
        query,
        url,
        ip,
        from: headers['x-from'],
      }));
      const schema = { body: { type: 'object', required: ['n'], properties: { n: { type: 'number' } } } };
      app.post('/checked', { schema }, async ({ body }, reply) =>
        reply.code(201).send({ double: body.n * 2 }),
      );
      app.route({ method: ['PUT', 'PATCH', 'DELETE'], url: '/thing', handler: async (req) => req.method });
    });
    const answer = await web.get('/users/a%20b?x=1&x=2&q=%C3%BC', { headers: { 'x-from': 'here' } });
    assert.deepEqual([answer.status, answer.headers['x-hook']], [200, 'GET']);
    assert.match(answer.headers['content-type'], /^application\/json/);
    assert.equal(answer.headers['content-length'], String(answer.body.length));
    assert.deepEqual(answer.json, {
      params: { id: 'a b' },
      query: { x: ['1', '2'], q: 'ü' },
      url: '/users/a%20b?x=1&x=2&q=%C3%BC',
      ip: '127.0.0.1',
      from: 'here',
    });
    const checked = await web.postJson('/checked', { n: 21 });
    assert.deepEqual([checked.status, checked.json], [201, { double: 42 }]);
    const wrong = await web.postJson('/checked', { n: 'ü' });
    assert.deepEqual([wrong.status, wrong.json.code], [400, 'FST_ERR_VALIDATION']);
    for (const method of ['put', 'patch', 'delete'])
      assert.equal((await web[method]('/thing')).text, method.toUpperCase());
  });

  it(`${name}: errors, of handlers, of bodies and of paths`, async (t) => {
    const web = await serve(
      t,
      (app) => {
        app.get('/throws', () => {
          throw new Error('at once');
        });
        app.get('/rejects', async () => {
          await sleep(1);
          throw Object.assign(new Error('later'), { statusCode: 418 });
        });
        app.post('/small', async ({ body }) => body);
        app.setNotFoundHandler((req, reply) => reply.code(404).send(`no ${req.url}`));
      },
      { bodyLimit: 100 },
    );
    const thrown = await web.get('/throws');
    assert.deepEqual([thrown.status, thrown.json.message], [500, 'at once']);
    const rejected = await web.get('/rejects');
    assert.deepEqual([rejected.status, rejected.json.message], [418, 'later']);
    assert.equal((await web.postJson('/small', { text: 'x'.repeat(200) })).status, 413);
    const broken = await web.post('/small', { body: '{', headers: { 'content-type': 'application/json' } });
    assert.equal(broken.status, 400);
    const missing = await web.get('/nowhere?x');
    assert.deepEqual([missing.status, missing.text], [404, 'no /nowhere?x']);
  });

  it(`${name}: large bodies, buffered and streamed, sized and chunked`, async (t) => {
    const { file, bytes } = temporaryFile(t, 'data.bin', 3 << 20);
    const web = await serve(
      t,
      (app) => {
        const octets = 'application/octet-stream';
        app.addContentTypeParser(octets, { parseAs: 'buffer' }, (req, body, done) => done(null, body));
        app.post('/echo', async (req, reply) => reply.type(octets).send(req.body));
        app.get('/buffer', (req, reply) => reply.send(bytes));
        app.get('/file', (req, reply) => reply.send(fs.createReadStream(file)));
        app.get('/pieces', (req, reply) => {
          reply.header('content-length', bytes.length);
          reply.send(Readable.from(pieces(bytes)));
        });
      },
      { bodyLimit: 8 << 20 },
    );
    const headers = { 'content-type': 'application/octet-stream' };
    assert.ok((await web.post('/echo', { body: bytes, headers })).body.equals(bytes));
    const split = [bytes.subarray(0, 9), bytes.subarray(9)];
    assert.ok((await web.post('/echo', { pieces: split, headers })).body.equals(bytes), 'chunked');
    for (const target of ['/buffer', '/file', '/pieces'])
      assert.ok((await web.get(target)).body.equals(bytes), target);
    const slow = await web.begin('/file');
    await sleep(100);
    const chunks = [];
    for await (const chunk of slow) chunks.push(chunk);
    assert.ok(Buffer.concat(chunks).equals(bytes));
  });

  it(`${name}: keeps the connection, answers HEAD and many requests at once`, async (t) => {
    const web = await serve(t, (app) => {
      app.get('/n/:n', async ({ params }) => {
        await sleep(Number(params.n) % 5);
        return `n ${params.n}`;
      });
      app.get('/old', (req, reply) => reply.redirect('/new'));
      app.get('/empty', (req, reply) => reply.code(204).send());
    });
    const agent = oneConnection(t);
    for (let n = 0; n < 20; n += 1) {
      const answer = await web.get(`/n/${n}`, { agent });
      assert.deepEqual([answer.text, answer.reused], [`n ${n}`, n > 0]);
    }
    const head = await web.head('/n/1', { agent });
    assert.deepEqual([head.status, head.body.length, head.reused], [200, 0, true]);
    const old = await web.get('/old', { agent });
    assert.deepEqual([old.status, old.headers.location], [302, '/new']);
    const empty = await web.get('/empty', { agent });
    assert.deepEqual([empty.status, empty.body.length], [204, 0]);
    const numbers = Array.from({ length: 200 }, (_, n) => n);
    const answers = await Promise.all(numbers.map((n) => web.get(`/n/${n}`)));
    assert.deepEqual(
      answers.map(({ text }) => text),
      numbers.map((n) => `n ${n}`),
    );
  });
}

function* pieces(bytes) {
  for (let at = 0; at < bytes.length; at += 50000) yield bytes.subarray(at, at + 50000);
}

it('fastify-uws: WebSocket routes, with rooms of the server', async (t) => {
  const { websocket } = await packages.import('fastify-uws');
  const closes = [];
  const port = await listen(t, 'fastify-uws', async (app) => {
    await app.register(websocket);
    app.register(async (router) => {
      router.get('/echo/:name', { websocket: true }, (socket, { params, query }) => {
        socket.send(`hello ${params.name} ${query.x}`);
        socket.on('message', (message, binary) => socket.send(message, binary));
        socket.on('close', (code) => closes.push(code));
      });
      router.get('/guarded', { websocket: true, preValidation: guard }, (socket) => socket.send('in'));
      router.get('/page', async () => 'page');
    });
  });
  const socket = await open(t, port, '/echo/ann?x=1');
  assert.deepEqual(await socket.texts(1), ['hello ann 1']);
  const bytes = patterned(100000);
  socket.send('grüß');
  socket.send(bytes);
  const [, text, binary] = await socket.messages.count(3);
  assert.equal(text.data.toString(), 'grüß');
  assert.ok(binary.data.equals(bytes));
  assert.deepEqual(await socket.close(4001, 'bye'), { code: 4001, reason: 'bye' });
  assert.deepEqual(closes, [4001]);
  assert.equal(await refusal(t, port, '/guarded'), 401);
  const known = await open(t, port, '/guarded', undefined, { headers: { authorization: 'let me' } });
  assert.deepEqual(await known.texts(1), ['in']);
  assert.equal((await client(port).get('/page')).text, 'page');
});

async function guard(req, reply) {
  if (req.headers.authorization !== 'let me') await reply.code(401).send('who?');
}

it('fastify-uws: server-sent events', async (t) => {
  const { eventsource } = await packages.import('fastify-uws');
  const port = await listen(t, 'fastify-uws', async (app) => {
    await app.register(eventsource);
    app.get('/events', async (req, reply) => {
      for (const n of [1, 2, 3]) {
        reply.sse({ id: String(n), data: `message ${n}` });
        await sleep(2);
      }
      reply.raw.end();
      return reply;
    });
  });
  const answer = await client(port).get('/events');
  assert.match(answer.headers['content-type'], /^text\/event-stream/);
  assert.equal(answer.text, [1, 2, 3].map((n) => `id: ${n}\ndata: message ${n}\n\n`).join(''));
});

it('@geut/fastify-uws: WebSocket handlers beside pages, with topics', async (t) => {
  const { default: plugin } = await packages.import('@geut/fastify-uws/plugin');
  const port = await listen(t, '@geut/fastify-uws', async (app) => {
    await app.register(plugin);
    app.route({
      method: 'GET',
      url: '/',
      handler: async () => 'page',
      uws: { topics: ['room'] },
      uwsHandler(connection) {
        connection.subscribe('room');
        connection.on('message', (message) => connection.publish('room', message));
        connection.send(JSON.stringify({ hello: 'world' }));
      },
    });
  });
  const [ann, bob] = [await open(t, port, '/'), await open(t, port, '/')];
  for (const socket of [ann, bob]) assert.deepEqual(JSON.parse(await socket.texts(1)), { hello: 'world' });
  ann.send('grüß');
  assert.equal((await bob.texts(2))[1], 'grüß');
  assert.equal(ann.messages.list.length, 1);
  assert.equal((await client(port).get('/')).text, 'page');
});
