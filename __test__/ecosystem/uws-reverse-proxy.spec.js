'use strict';

// The ways of its README to have an HTTP server of Node.js and uWebSockets.js on one port: an app that the
// proxy makes, one that is there, and an SSLApp. Faults of its own, the same on either module, are what the
// tests expect: a target without a query gets `?undefined`, a status has no reason phrase, and an error of
// its own has the status 200.

const fs = require('node:fs');
const http = require('node:http');
const net = require('node:net');
const { once } = require('node:events');
const { setTimeout: sleep } = require('node:timers/promises');
const stack = require('./stack');
const { assert, client, deferred, it, oneConnection, open, ours, packages, patterned, uWS } = stack;
const certificates = require('../tls/certificates');
const { UWSProxy, createHTTPConfig, createUWSConfig } = packages.require('uws-reverse-proxy');

/**
 * An upload of the size that every Node.js buffers in a stream. Of a longer one it may send parts twice, as
 * it queues what `push` has taken already, so the server behind reads the rest as another request.
 */
const UPLOAD = 16000;

/** A proxy before the handler of an HTTP server, both closed after the test. */
async function serve(t, handler, { app = uWS.App(), options, ws } = {}) {
  const server = http.createServer(handler);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    app.close();
    server.close();
    server.closeAllConnections();
  });
  const { port } = server.address();
  return { server, ...before(app, { port, host: '127.0.0.1' }, { options, ws }) };
}

function before(app, target, { options, ws } = {}) {
  const uws = createUWSConfig(app, { quiet: true });
  const proxy = new UWSProxy(uws, createHTTPConfig(target), options);
  proxy.start();
  if (ws) app.ws('/*', ws);
  let port;
  app.listen('127.0.0.1', 0, (token) => {
    port = uWS.us_socket_local_port(token);
  });
  return { port, client: client(port) };
}

/** Answers with what it was asked. */
function mirror(req, res) {
  const chunks = [];
  req.on('data', (chunk) => chunks.push(chunk));
  req.on('end', () => {
    const { method, url, headers } = req;
    const body = Buffer.concat(chunks).toString();
    res.setHeader('content-type', 'application/json').end(JSON.stringify({ method, url, headers, body }));
  });
}

it('passes every method with its target, fields and body, and what is answered', async (t) => {
  const { client: through, port } = await serve(t, mirror);
  const get = await through.get('/a/b%20c?x=1&y=%C3%BC', { headers: { 'x-a': 'one, two', cookie: 'c=d' } });
  assert.deepEqual([get.status, get.statusText], [200, '']);
  assert.equal(get.headers['content-type'], 'application/json');
  const { headers, ...asked } = get.json;
  assert.deepEqual(asked, { method: 'GET', url: '/a/b%20c?x=1&y=%C3%BC', body: '' });
  assert.deepEqual([headers['x-a'], headers.cookie], ['one, two', 'c=d']);
  assert.equal(headers['x-forwarded-host'], `127.0.0.1:${port}`);
  assert.equal(headers['x-forwarded-proto'], 'http');
  assert.match(headers['x-forwarded-for'], /^0000:.*:ffff:7f00:0001$|^127\.0\.0\.1$/);
  for (const method of ['post', 'put', 'patch']) {
    const answer = await through[method]('/x', { body: 'grüß' });
    assert.deepEqual([answer.json.method, answer.json.body], [method.toUpperCase(), 'grüß']);
  }
  for (const method of ['delete', 'options'])
    assert.equal((await through[method]('/x')).json.method, method.toUpperCase());
});

it('answers many GETs, of one connection and of many at once', async (t) => {
  const { client: through } = await serve(t, async (req, res) => {
    await sleep(parseInt(req.url.slice(2), 10) % 5);
    res.end(`answer to ${req.url}`);
  });
  const agent = oneConnection(t);
  for (let n = 0; n < 50; n += 1) {
    const answer = await through.get(`/n${n}`, { agent });
    assert.deepEqual([answer.text, answer.reused], [`answer to /n${n}?undefined`, n > 0]);
  }
  const numbers = Array.from({ length: 200 }, (_, n) => n);
  const answers = await Promise.all(numbers.map((n) => through.get(`/n${n}`)));
  assert.deepEqual(
    answers.map(({ text }) => text),
    numbers.map((n) => `answer to /n${n}?undefined`),
  );
});

it('streams large bodies both ways, sized and chunked, also to a slow reader', async (t) => {
  const bytes = patterned(3 << 20);
  const { client: through } = await serve(t, (req, res) => {
    if (req.method === 'POST') return req.pipe(res);
    if (req.url.startsWith('/sized')) res.setHeader('content-length', bytes.length);
    for (let at = 0; at < bytes.length; at += 100000) res.write(bytes.subarray(at, at + 100000));
    res.end();
  });
  assert.ok((await through.get('/sized')).body.equals(bytes));
  assert.ok((await through.get('/chunked')).body.equals(bytes));
  const upload = bytes.subarray(0, UPLOAD);
  assert.ok((await through.post('/', { body: upload })).body.equals(upload));
  const pieces = [upload.subarray(0, 5), upload.subarray(5)];
  assert.ok((await through.post('/', { pieces })).body.equals(upload));
  const slow = await through.begin('/sized');
  await sleep(100);
  const chunks = [];
  for await (const chunk of slow) chunks.push(chunk);
  assert.ok(Buffer.concat(chunks).equals(bytes));
});

/** Node.js answers a redirect without a body by an empty chunked one, whose field the proxy passes on. */
const empty = { skip: ours ? false : 'it would send the length beside the chunked coding' };

it('passes statuses, repeated fields, redirects and answers without a body', empty, async (t) => {
  const { client: through } = await serve(t, (req, res) => {
    if (req.url.startsWith('/none')) return res.writeHead(404).end('not here');
    if (req.url.startsWith('/old')) return res.writeHead(302, { location: '/new' }).end();
    res.setHeader('set-cookie', ['a=1', 'b=2']).end();
  });
  const none = await through.get('/none');
  assert.deepEqual([none.status, none.text], [404, 'not here']);
  const old = await through.get('/old');
  assert.deepEqual([old.status, old.headers.location, old.text], [302, '/new', '']);
  assert.deepEqual((await through.get('/')).headers['set-cookie'], ['a=1', 'b=2']);
});

it('answers when the server behind is not there, resets the connection or is too slow', async (t) => {
  const vacant = net.createServer().listen(0, '127.0.0.1');
  await once(vacant, 'listening');
  const target = { port: vacant.address().port, host: '127.0.0.1' };
  await new Promise((resolve) => vacant.close(resolve));
  const app = uWS.App();
  t.after(() => app.close());
  const absent = await before(app, target).client.get('/');
  assert.deepEqual([absent.status, absent.text], [200, refusal('ECONNREFUSED')]);
  const resets = await serve(t, (req) => req.socket.resetAndDestroy());
  const reset = await resets.client.get('/');
  assert.deepEqual([reset.status, reset.text], [200, refusal('ECONNRESET')]);
  const slow = await serve(t, () => {}, { options: { timeout: 50 } });
  const late = await slow.client.get('/');
  assert.match(late.text, /^No response received from the server in 50ms/);
});

const refusal = (code) => `Unable to forward the request to the server (${code}).`;

it('asks the error handler for the answer', async (t) => {
  const errors = [];
  const options = {
    on: {
      error: async (error, { url }) => {
        errors.push([error.code, url]);
        return { status: '418 Teapot', headers: { 'x-from': 'handler' }, body: 'mine' };
      },
    },
  };
  const { client: through } = await serve(t, (req) => req.socket.resetAndDestroy(), { options });
  const answer = await through.get('/path');
  assert.deepEqual([answer.status, answer.headers['x-from'], answer.text], [418, 'handler', 'mine']);
  assert.deepEqual(errors, [['ECONNRESET', '/path']]);
});

it('stops asking the server behind when the client goes', async (t) => {
  const gone = deferred();
  const { client: through } = await serve(t, (req, res) => {
    res.write('start');
    res.on('close', () => gone.resolve(res.writableFinished));
  });
  (await through.begin('/')).destroy();
  assert.equal(await gone.promise, false);
});

it('has WebSockets of uWebSockets.js beside it', async (t) => {
  const echo = { message: (ws, message, binary) => ws.send(message, binary) };
  const { port, client: through } = await serve(t, (req, res) => res.end('page'), { ws: echo });
  const socket = await open(t, port, '/ws');
  const bytes = patterned(10000);
  socket.send('grüß');
  socket.send(bytes);
  const [text, binary] = await socket.messages.count(2);
  assert.deepEqual([text.data.toString(), text.binary], ['grüß', false]);
  assert.ok(binary.binary && binary.data.equals(bytes));
  assert.equal((await through.get('/')).text, 'page');
});

it('makes the app by itself, and names the address of the server behind', async (t) => {
  const server = http.createServer((req, res) => res.end(req.headers['x-forwarded-port']));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const behind = server.address().port;
  const proxy = new UWSProxy(createUWSConfig(uWS, { port: 4000 }), createHTTPConfig({ port: behind }));
  const app = proxy.uws.server;
  t.after(() => {
    app.close();
    server.close();
    server.closeAllConnections();
  });
  assert.deepEqual([proxy.http.protocol, proxy.http.host, proxy.http.port], ['http', '127.0.0.1', behind]);
  proxy.start();
  let port;
  app.listen('127.0.0.1', 0, (token) => {
    port = uWS.us_socket_local_port(token);
  });
  assert.equal((await client(port).get('/')).text, '4000');
});

it('serves over TLS what the server behind serves plain', async (t) => {
  const files = certificates.shared();
  const trust = { ca: fs.readFileSync(files.cert_file_name), servername: 'localhost' };
  const app = uWS.SSLApp(files);
  const bytes = patterned(UPLOAD);
  const { port } = await serve(t, (req, res) => req.pipe(res), { app });
  const secure = client(port, trust);
  assert.ok((await secure.post('/', { body: bytes })).body.equals(bytes));
  assert.deepEqual([(await secure.get('/')).status, (await secure.get('/')).text], [200, '']);
});
