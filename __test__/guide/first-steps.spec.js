'use strict';
// The program of README.md, routing, async handlers, JSON, CORS and static files, as docs/guide.md has them.

const http = require('node:http');
const { assert, get, hash, bytes, it, post, request, start, until } = require('./support');

it('README: answers, and passes messages on to the others of the room', async (t) => {
  const port = await freePort();
  const edit = (text) => text.replaceAll('9001', String(port));
  const program = await start(t, 'hello.mjs', { edit });
  assert.equal(await (await fetch(program.url('/hello/world'))).text(), 'Hello world');
  const [one, two, three] = await Promise.all([1, 2, 3].map(() => program.ws('/chat')));
  await one.text('first');
  assert.deepEqual(await two.messages(1), ['first']);
  await two.binary(Buffer.from([1, 2, 255]));
  for (const other of [one]) assert.deepEqual((await other.frame()).data, Buffer.from([1, 2, 255]));
  assert.equal(await three.message(), 'first');
  assert.deepEqual((await three.frame()).data, Buffer.from([1, 2, 255]));
  for (const each of [one, two, three]) each.destroy();

  const second = await start(t, 'hello.mjs', { edit, listens: false });
  assert.deepEqual(await second.ended.promise, { code: 0, signal: null });
  assert.equal(second.output, `Port ${port} is taken\n`);
});

it('routing: parameters, precedence, queries, guards, 405, 404', async (t) => {
  const program = await start(t, 'routing.mjs', { env: { ADMIN_KEY: 'secret' } });
  const at = async (target, options) => {
    const response = await fetch(program.url(target), options);
    const text = await response.text();
    return [response.status, text === '' ? '' : JSON.parse(text), response.headers];
  };
  assert.deepEqual((await at('/users/ada')).slice(0, 2), [200, { name: 'Ada', born: 1815 }]);
  assert.deepEqual((await at('/users/zoë')).slice(0, 2), [200, { name: 'Zoë', born: 1990 }]);
  assert.equal((await at('/users/newest'))[1].name, 'Zoë');
  for (const missing of ['/users/nobody', '/users/%E0%A4%A', '/users/', '/nothing', '/users/ada/more'])
    assert.equal((await at(missing))[0], 404, missing);
  assert.deepEqual((await at('/search?q=Zo%C3%AB'))[1], [{ name: 'Zoë', born: 1990 }]);
  assert.equal((await at('/search'))[1].length, 2);

  const [status, , headers] = await at('/users/ada', { method: 'PUT' });
  assert.deepEqual([status, headers.get('allow')], [405, 'GET, DELETE']);
  for (const authorization of ['', 'Bearer wrong', 'Bearer undefined', 'secret']) {
    const [status, , headers] = await at('/users/ada', { method: 'DELETE', headers: { authorization } });
    assert.deepEqual([status, headers.get('www-authenticate')], [401, 'Bearer'], authorization);
  }
  assert.equal((await at('/users/ada'))[0], 200, 'those who were refused have changed nothing');
  const right = { method: 'DELETE', headers: { authorization: 'Bearer secret' } };
  assert.deepEqual((await at('/users/ada', right)).slice(0, 2), [200, true]);
  assert.equal((await at('/users/ada'))[0], 404);

  const taken = await start(t, 'routing.mjs', { env: { PORT: String(program.port) }, listens: false });
  assert.equal((await taken.ended.promise).code, 1);
  assert.match(taken.output, new RegExp(`Port ${program.port} is taken`));
});

it('async: an upstream answers, fails, and is left when the client leaves', async (t) => {
  const upstream = { asked: [], left: 0 };
  const server = http.createServer((req, res) => {
    upstream.asked.push(req.url);
    res.once('close', () => (upstream.left += res.writableFinished ? 0 : 1));
    if (req.url.includes('slow')) return;
    if (req.url.includes('broken')) return res.writeHead(500).end();
    setTimeout(() => res.end(JSON.stringify({ asked: req.url })), 20);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => (server.closeAllConnections(), server.close()));
  const env = { UPSTREAM: `http://127.0.0.1:${server.address().port}` };
  const program = await start(t, 'async.mjs', { env });

  const cities = ['Paris', 'São Paulo', '../secret', 'a&b=c'];
  const answers = await Promise.all(
    cities.map((city) =>
      fetch(program.url(`/weather?city=${encodeURIComponent(city)}`)).then((r) => r.json()),
    ),
  );
  answers.forEach(({ asked }, at) => {
    const url = new URL(asked, 'http://upstream');
    assert.deepEqual([url.pathname, url.searchParams.get('city')], ['/weather', cities[at]]);
  });

  const broken = await fetch(program.url('/weather?city=broken'));
  assert.equal(broken.status, 502);
  await program.prints(/answered 500/);

  const peers = await Promise.all([1, 2, 3].map(() => program.connect()));
  for (const peer of peers) await peer.send(get('/weather?city=slow'));
  await until(() => upstream.asked.filter((url) => url.includes('slow')).length === 3);
  for (const peer of peers) peer.destroy();
  await until(() => upstream.left === 3);
  assert.equal((await fetch(program.url('/weather?city=Rome'))).status, 200, 'it goes on');
  assert.doesNotMatch(program.output, /AbortError|must not be accessed/);
});

it('json: 201, 400, 413, 415, and bodies of several clients in pieces', async (t) => {
  const program = await start(t, 'json.mts');
  const TYPE = 'Content-Type: application/json; charset=utf-8';
  const answer = async (text, pieces) => {
    const peer = await program.connect();
    if (pieces) await peer.sendPieces(text, pieces);
    else await peer.send(text);
    const got = await peer.response();
    peer.destroy();
    return [got.code, JSON.parse(got.raw.toString())];
  };
  const todo = (title) => JSON.stringify({ title });
  const each = ['a', 'b', 'c'].map((title) => answer(post('/todos', todo(title), [TYPE]), 7));
  for (const [at, got] of (await Promise.all(each)).entries())
    assert.deepEqual(got, [201, { title: 'abc'[at], done: false }]);
  const chunked = `5\r\n{"tit\r\n8\r\nle":"d"}\r\n0\r\n\r\n`;
  const encoding = 'Transfer-Encoding: chunked';
  assert.equal((await answer(request('POST', '/todos', [TYPE, encoding], chunked)))[0], 201);

  for (const bad of [
    '',
    '{',
    'null',
    '[]',
    '{"title":1}',
    '{"title":"x","done":"yes"}',
    todo('x'.repeat(201)),
  ])
    assert.equal((await answer(post('/todos', bad, [TYPE])))[0], 400, bad);
  assert.equal((await answer(post('/todos', todo('x'))))[0], 415);
  assert.equal((await answer(post('/todos', todo('x'), ['Content-Type: application/jsonx'])))[0], 415);

  const exactly = `{"title":"e"${' '.repeat(64 * 1024 - 13)}}`;
  assert.equal(exactly.length, 64 * 1024);
  assert.equal((await answer(post('/todos', exactly, [TYPE])))[0], 201);
  assert.equal((await answer(post('/todos', `${exactly} `, [TYPE])))[0], 413);
  const large = `${(1024 * 1024).toString(16)}\r\n${'x'.repeat(1024 * 1024)}\r\n0\r\n\r\n`;
  assert.equal((await answer(request('POST', '/todos', [TYPE, encoding], large)))[0], 413);

  const leaver = await program.connect();
  await leaver.send(post('/todos', exactly, [TYPE]).slice(0, 3000));
  leaver.reset();
  const todos = await (await fetch(program.url('/todos'))).json();
  assert.deepEqual(todos.map(({ title }) => title).sort(), ['a', 'b', 'c', 'd', 'e']);
  assert.doesNotMatch(program.output, /rror/);
});

it('cors: a preflight, an allowed origin, a foreign one, and none', async (t) => {
  const env = { ORIGINS: 'https://one.example,https://two.example' };
  const program = await start(t, 'cors.mjs', { env });
  const peer = await program.connect();
  const ask = async (method, target, origin) => {
    const headers = origin ? [`Origin: ${origin}`] : [];
    const answer = await peer.request(request(method, target, headers));
    return [answer.code, answer.get('access-control-allow-origin'), answer];
  };
  for (const origin of ['https://one.example', 'https://two.example']) {
    const [code, allowed, answer] = await ask('OPTIONS', '/api/name', origin);
    assert.deepEqual([code, allowed], [204, origin]);
    assert.match(answer.get('access-control-allow-methods'), /\bPUT\b/);
    assert.deepEqual((await ask('GET', '/api/time', origin)).slice(0, 2), [200, origin]);
    assert.deepEqual((await ask('PUT', '/api/name', origin)).slice(0, 2), [204, origin]);
  }
  for (const origin of ['https://three.example', 'null', 'https://one.example.evil']) {
    const [code, allowed, answer] = await ask('OPTIONS', '/api/name', origin);
    assert.deepEqual(
      [code, allowed, answer.get('access-control-allow-methods')],
      [204, undefined, undefined],
    );
    assert.equal(answer.get('vary'), 'Origin');
    assert.deepEqual((await ask('PUT', '/api/name', origin)).slice(0, 2), [403, undefined]);
  }
  assert.deepEqual((await ask('PUT', '/api/name')).slice(0, 2), [204, undefined]);
  peer.destroy();
});

it('static: types, ETag and 304, HEAD, and nothing outside of the folder', async (t) => {
  const script = bytes(3_000_000);
  const program = await start(t, 'static.mjs', {
    files: {
      'public/index.html': '<!doctype html>é',
      'public/docs/index.html': 'docs',
      'public/a b+c.css': 'css',
      'public/app.js': script,
      'public/data.bin': '\0\x01',
      'secret.txt': 'secret',
    },
  });
  const got = async (target, headers, method = 'GET') => {
    const peer = await program.connect();
    const answer = await peer.request(request(method, target, headers), { head: method === 'HEAD' });
    peer.destroy();
    return answer;
  };
  const index = await got('/');
  assert.deepEqual([index.code, index.get('content-type')], [200, 'text/html; charset=utf-8']);
  assert.equal(index.raw.toString(), '<!doctype html>é');
  assert.equal((await got('/docs/')).body, 'docs');
  for (const target of ['/a%20b+c.css', '/a%20b%2Bc.css?v=1']) assert.equal((await got(target)).body, 'css');
  const app = await got('/app.js');
  assert.equal(hash(app.raw), hash(script));
  assert.equal((await got('/data.bin')).get('content-type'), 'application/octet-stream');

  const etag = app.get('etag');
  for (const known of [etag, `W/${etag}`, `"other", ${etag}`, '*']) {
    const answer = await got('/app.js', [`If-None-Match: ${known}`]);
    assert.deepEqual([answer.code, answer.get('etag'), answer.body], [304, etag, '']);
  }
  assert.equal((await got('/app.js', ['If-None-Match: "other"'])).code, 200);
  const head = await got('/app.js', [], 'HEAD');
  assert.deepEqual([head.code, head.get('content-length'), head.get('etag')], [200, '3000000', etag]);

  const outside = ['/../secret.txt', '/%2e%2e/secret.txt', '/..%2fsecret.txt', '/docs/../../secret.txt'];
  for (const target of [...outside, '/%00', '/%E0%A4%A', '//', '/docs', '/__proto__', '/index.html'])
    assert.equal((await got(target)).code, 404, target);
});

/** A port that was free a moment ago. */
async function freePort() {
  const server = http.createServer();
  await new Promise((resolve) => server.listen(0, resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}
