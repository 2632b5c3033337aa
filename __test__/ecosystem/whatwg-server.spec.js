'use strict';

// Handlers of the Fetch API on uWebSockets.js: `@whatwg-node/server`, and GraphQL Yoga, which is one.

const { setTimeout: sleep } = require('node:timers/promises');
const stack = require('./stack');
const { assert, client, deferred, it, oneConnection, packages, patterned, uWS } = stack;
const { Response, createServerAdapter } = packages.require('@whatwg-node/server');
const { createSchema, createYoga } = packages.require('graphql-yoga');

/** Serves a handler on every path, as the documentation of both says, by an app closed after the test. */
function serve(t, handler, app = uWS.App()) {
  app.any('/*', handler);
  let port;
  app.listen('127.0.0.1', 0, (token) => {
    port = uWS.us_socket_local_port(token);
  });
  t.after(() => app.close());
  return client(port);
}

const adapted = (t, handler) => serve(t, createServerAdapter(handler));

it('adapter: gives the request as a Request and sends the Response', async (t) => {
  const http = adapted(t, async (request) => {
    const { method, url, headers } = request;
    const body = method === 'GET' ? null : await request.text();
    const answer = { method, path: url.replace(/^http:\/\/[^/]+/, ''), from: headers.get('x-from'), body };
    return Response.json(answer, { status: 201, headers: { 'x-to': 'there', 'set-cookie': 'a=1' } });
  });
  const get = await http.get('/a%20b?x=1&q=%C3%BC', { headers: { 'x-from': 'here' } });
  assert.deepEqual([get.status, get.statusText, get.headers['x-to']], [201, 'Created', 'there']);
  assert.deepEqual(get.headers['set-cookie'], ['a=1']);
  assert.match(get.headers['content-type'], /^application\/json/);
  assert.deepEqual(get.json, { method: 'GET', path: '/a%20b?x=1&q=%C3%BC', from: 'here', body: null });
  for (const method of ['post', 'put', 'patch']) {
    const answer = (await http[method]('/', { body: 'grüß' })).json;
    assert.deepEqual([answer.method, answer.body], [method.toUpperCase(), 'grüß']);
  }
});

it('adapter: large bodies, sized and chunked, and streams both ways', async (t) => {
  const bytes = patterned(3 << 20);
  const http = adapted(t, async (request) => {
    if (request.url.endsWith('/buffer')) return new Response(await request.arrayBuffer());
    if (request.url.endsWith('/echo')) return new Response(request.body);
    return new Response(streamed(bytes));
  });
  for (const target of ['/buffer', '/echo']) {
    assert.ok((await http.post(target, { body: bytes })).body.equals(bytes), target);
    const split = [bytes.subarray(0, 9), bytes.subarray(9)];
    assert.ok((await http.post(target, { pieces: split })).body.equals(bytes), `${target}, chunked`);
  }
  assert.ok((await http.get('/stream')).body.equals(bytes));
  const slow = await http.begin('/stream');
  await sleep(100);
  const chunks = [];
  for await (const chunk of slow) chunks.push(chunk);
  assert.ok(Buffer.concat(chunks).equals(bytes));
});

/** A stream that gives the bytes as they are asked for. */
function streamed(bytes) {
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      if (at >= bytes.length) return controller.close();
      controller.enqueue(bytes.subarray(at, (at += 50000)));
    },
  });
}

it('adapter: forms with files', async (t) => {
  const http = adapted(t, async (request) => {
    const form = await request.formData();
    const file = form.get('file');
    const { name, type, size } = file;
    const last = new Uint8Array(await file.arrayBuffer()).at(-1);
    return Response.json({ title: form.get('title'), name, type, size, last });
  });
  const bytes = patterned(1 << 20);
  const form = new FormData();
  form.append('title', 'Grüße');
  form.append('file', new Blob([bytes], { type: 'image/png' }), 'a b.png');
  assert.deepEqual((await http.postMultipart('/', form)).json, {
    title: 'Grüße',
    name: 'a b.png',
    type: 'image/png',
    size: bytes.length,
    last: bytes.at(-1),
  });
});

it('adapter: errors of the handler, answers without a body, and redirects', async (t) => {
  const http = adapted(t, async (request) => {
    const { pathname } = new URL(request.url);
    if (pathname === '/error') throw new Error('it fails');
    if (pathname === '/empty') return new Response(null, { status: 204 });
    if (pathname === '/old') return new Response(null, { status: 302, headers: { location: '/new' } });
    return new Response('not here', { status: 404 });
  });
  assert.equal((await http.get('/error')).status, 500);
  const empty = await http.get('/empty');
  assert.deepEqual([empty.status, empty.body.length], [204, 0]);
  const old = await http.get('/old');
  assert.deepEqual([old.status, old.headers.location], [302, '/new']);
  const missing = await http.get('/x');
  assert.deepEqual([missing.status, missing.text], [404, 'not here']);
});

it('adapter: tells the handler that the client has gone', async (t) => {
  const gone = deferred();
  const http = adapted(t, (request) => {
    request.signal.addEventListener('abort', () => gone.resolve('aborted'));
    return new Response(
      new ReadableStream({
        start: (controller) => controller.enqueue(Buffer.from('start')),
        cancel: () => {},
      }),
    );
  });
  (await http.begin('/')).destroy();
  assert.equal(await gone.promise, 'aborted');
});

it('adapter: keeps the connection and answers many requests at once', async (t) => {
  const http = adapted(t, async (request) => {
    const n = Number(new URL(request.url).pathname.slice(1));
    await sleep(n % 5);
    return new Response(`n ${n}`);
  });
  const agent = oneConnection(t);
  for (let n = 0; n < 20; n += 1) {
    const answer = await http.get(`/${n}`, { agent });
    assert.deepEqual([answer.text, answer.reused], [`n ${n}`, n > 0]);
  }
  const numbers = Array.from({ length: 200 }, (_, n) => n);
  const answers = await Promise.all(numbers.map((n) => http.get(`/${n}`)));
  assert.deepEqual(
    answers.map(({ text }) => text),
    numbers.map((n) => `n ${n}`),
  );
});

/** GraphQL Yoga with the schema of these tests. */
function yoga(t) {
  const schema = createSchema({
    typeDefs: `
      type Query { hello(name: String): String! fails: String! }
      type Mutation { add(a: Int!, b: Int!): Int! }
      type Subscription { count(to: Int!): Int! }`,
    resolvers: {
      Query: {
        hello: (_, { name }) => `Hello ${name ?? 'you'}`,
        fails: () => {
          throw new Error('it fails');
        },
      },
      Mutation: { add: (_, { a, b }) => a + b },
      Subscription: {
        count: {
          async *subscribe(_, { to }) {
            for (let count = 1; count <= to; count += 1) {
              await sleep(1);
              yield { count };
            }
          },
        },
      },
    },
  });
  return serve(t, createYoga({ schema, logging: false }));
}

it('Yoga: queries, mutations and variables, by GET and POST', async (t) => {
  const http = yoga(t);
  const query = 'query ($name: String) { hello(name: $name) }';
  const posted = await http.postJson('/graphql', { query, variables: { name: 'Grüße' } });
  assert.equal(posted.status, 200);
  assert.deepEqual(posted.json, { data: { hello: 'Hello Grüße' } });
  const got = await http.get(`/graphql?query=${encodeURIComponent('{ hello }')}`);
  assert.deepEqual(got.json, { data: { hello: 'Hello you' } });
  const added = await http.postJson('/graphql', { query: 'mutation { add(a: 2, b: 3) }' });
  assert.deepEqual(added.json, { data: { add: 5 } });
});

it('Yoga: errors of syntax, of the schema and of resolvers', async (t) => {
  const http = yoga(t);
  const headers = { 'content-type': 'application/json', accept: 'application/json' };
  const ask = (query) => http.post('/graphql', { body: JSON.stringify({ query }), headers });
  assert.match((await ask('{ hello')).json.errors[0].message, /Syntax Error/);
  assert.match((await ask('{ nothing }')).json.errors[0].message, /Cannot query field/);
  const failed = await ask('{ fails }');
  assert.deepEqual([failed.json.data, failed.json.errors[0].path], [null, ['fails']]);
  assert.equal((await http.get('/elsewhere')).status, 404);
  assert.equal((await http.post('/graphql', { body: '{', headers })).status, 400);
});

it('Yoga: subscriptions as server-sent events', async (t) => {
  const http = yoga(t);
  const query = encodeURIComponent('subscription { count(to: 5) }');
  const answer = await http.get(`/graphql?query=${query}`, { headers: { accept: 'text/event-stream' } });
  assert.match(answer.headers['content-type'], /^text\/event-stream/);
  const counts = [...answer.text.matchAll(/"count":(\d)/g)].map(([, count]) => Number(count));
  assert.deepEqual(counts, [1, 2, 3, 4, 5]);
});

it('Yoga: its page for browsers, and many queries at once', async (t) => {
  const http = yoga(t);
  const page = await http.get('/graphql', { headers: { accept: 'text/html' } });
  assert.match(page.headers['content-type'], /^text\/html/);
  assert.match(page.text, /<\/html>\s*$/);
  const names = Array.from({ length: 100 }, (_, n) => `n ${n}`);
  const answers = await Promise.all(
    names.map((name) => http.postJson('/graphql', { query: `{ hello(name: "${name}") }` })),
  );
  assert.deepEqual(
    answers.map(({ json }) => json.data.hello),
    names.map((name) => `Hello ${name}`),
  );
});
