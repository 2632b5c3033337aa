'use strict';

const fs = require('node:fs');
const { Readable, Writable } = require('node:stream');
const { setTimeout: sleep } = require('node:timers/promises');
const stack = require('./stack');
const {
  assert,
  client,
  deferred,
  majorOf,
  needs,
  oneConnection,
  open,
  packages,
  patterned,
  refusal,
  request,
  temporaryFile,
} = stack;
const { Router, Server, compressors } = packages.require('hyper-express');

/** Release 7 asks each request for `getRemotePort`, which uWebSockets.js has from 20.61 on. */
const { skip } = needs('getRemotePort', majorOf('hyper-express') < 7);
const it = (name, body) => stack.it(name, { skip }, body);

/** A listening server, closed after the test. */
async function listen(t, configure, options) {
  const server = new Server({ auto_close: false, ...options });
  configure(server);
  await server.listen(0, '127.0.0.1');
  t.after(() => server.uws_instance.close());
  return server;
}

/** Requests to such a server. */
const serve = async (...args) => client((await listen(...args)).port);

it('routes by method with parameters and query', async (t) => {
  const http = await serve(t, (server) => {
    server.get('/users/:id/posts/:post', (req, res) => {
      res.json({ path: req.path_parameters, query: req.query_parameters, url: req.url, ip: req.ip });
    });
    server.put('/users/:id', (req, res) => res.send(`put ${req.params.id}`));
    server.patch('/users/:id', (req, res) => res.send(`patch ${req.params.id}`));
    server.delete('/users/:id', (req, res) => res.status(204).send());
    server.any('/any', (req, res) => res.send(req.method));
  });
  const answer = await http.get('/users/7/posts/a%20b?tag=x&tag=y&q=%C3%BC');
  assert.equal(answer.status, 200);
  assert.match(answer.headers['content-type'], /^application\/json/);
  assert.deepEqual(answer.json.path.id, '7');
  assert.deepEqual(answer.json.query, { tag: ['x', 'y'], q: 'ü' });
  assert.equal(answer.json.ip, '127.0.0.1');
  assert.equal((await http.put('/users/3')).text, 'put 3');
  assert.equal((await http.patch('/users/4')).text, 'patch 4');
  const deleted = await http.delete('/users/5');
  assert.equal(deleted.status, 204);
  assert.equal(deleted.body.length, 0);
  assert.equal((await http.options('/any')).text, 'OPTIONS');
});

it('answers 404 and the errors of handlers, also of asynchronous ones', async (t) => {
  const http = await serve(t, (server) => {
    server.get('/throws', () => {
      throw new Error('at once');
    });
    server.get('/rejects', async () => {
      await sleep(1);
      throw new Error('later');
    });
    server.set_error_handler((req, res, error) => res.status(500).json({ error: error.message }));
    server.set_not_found_handler((req, res) => res.status(404).send(`no ${req.path}`));
  });
  for (const [target, error] of [
    ['/throws', 'at once'],
    ['/rejects', 'later'],
  ]) {
    const answer = await http.get(target);
    assert.equal(answer.status, 500);
    assert.deepEqual(answer.json, { error });
  }
  const missing = await http.get('/nowhere');
  assert.equal(missing.status, 404);
  assert.equal(missing.statusText, 'Not Found');
  assert.equal(missing.text, 'no /nowhere');
});

it('runs middlewares in order, of the server, of a router and of a route', async (t) => {
  const http = await serve(t, (server) => {
    const trail = (name) => (req, res, next) => {
      req.locals.trail = [...(req.locals.trail || []), name];
      next();
    };
    server.use(trail('server'));
    const router = new Router();
    router.use(trail('router'));
    router.get('/path', { middlewares: [trail('route')] }, (req, res) => res.json(req.locals.trail));
    router.get('/async', async (req, res) => {
      await sleep(1);
      res.header('x-trail', req.locals.trail.join()).send();
    });
    server.use('/api', router);
    server.use('/closed', (req, res) => res.status(401).send('no'));
    server.get('/closed/door', (req, res) => res.send('yes'));
  });
  assert.deepEqual((await http.get('/api/path')).json, ['server', 'router', 'route']);
  assert.equal((await http.get('/api/async')).headers['x-trail'], 'server,router');
  assert.equal((await http.get('/closed/door')).status, 401);
});

it('reads JSON, urlencoded, text and binary bodies', async (t) => {
  const http = await serve(
    t,
    (server) => {
      server.post('/json', async (req, res) => res.json(await req.json()));
      server.post('/form', async (req, res) => res.json(await req.urlencoded()));
      server.post('/text', async (req, res) => res.send(await req.text()));
      server.post('/late', async (req, res) => {
        await sleep(20);
        res.send(await req.buffer());
      });
      server.post('/limited', { max_body_length: 10 }, async (req, res) => res.send(await req.text()));
    },
    { max_body_length: 8 << 20 },
  );
  assert.deepEqual((await http.postJson('/json', { a: [1, 'ü'] })).json, { a: [1, 'ü'] });
  assert.deepEqual((await http.postForm('/form', 'a=1&a=2&b=x+y%26')).json, { a: ['1', '2'], b: 'x y&' });
  assert.equal((await http.post('/text', { body: 'grüß' })).text, 'grüß');
  const large = patterned(3 << 20);
  assert.ok((await http.post('/late', { body: large })).body.equals(large));
  const pieces = [large.subarray(0, 100000), large.subarray(100000)];
  assert.ok((await http.post('/late', { pieces })).body.equals(large), 'chunked');
  assert.equal((await http.post('/limited', { body: 'x'.repeat(11) })).status, 413);
  assert.equal((await http.post('/text')).text, '');
});

it('streams an upload to the handler and a pipe back', async (t) => {
  const http = await serve(
    t,
    (server) => {
      server.post('/echo', (req, res) => {
        req.pipe(res);
      });
      server.post('/slow', async (req, res) => {
        let size = 0;
        const slow = new Writable({
          write(chunk, encoding, done) {
            size += chunk.length;
            setTimeout(done, 1);
          },
        });
        slow.on('finish', () => res.json({ size }));
        req.pipe(slow);
      });
    },
    { max_body_length: 8 << 20 },
  );
  const bytes = patterned(2 << 20);
  assert.ok((await http.post('/echo', { body: bytes })).body.equals(bytes));
  assert.deepEqual((await http.post('/slow', { body: bytes })).json, { size: bytes.length });
});

it('takes multipart uploads', async (t) => {
  const http = await serve(
    t,
    (server) => {
      server.post('/upload', async (req, res) => {
        const fields = [];
        await req.multipart(async (field) => {
          if (!field.file) return fields.push([field.name, field.value]);
          const chunks = [];
          for await (const chunk of field.file.stream) chunks.push(chunk);
          const content = Buffer.concat(chunks);
          fields.push([field.name, field.file.name, field.mime_type, content.length, content.at(-1)]);
        });
        res.json(fields);
      });
    },
    { max_body_length: 8 << 20 },
  );
  const bytes = patterned(1 << 20);
  const form = new FormData();
  form.append('title', 'Grüße');
  form.append('photo', new Blob([bytes], { type: 'image/png' }), 'a b.png');
  form.append('note', new Blob(['text'], { type: 'text/plain' }), 'note.txt');
  assert.deepEqual((await http.postMultipart('/upload', form)).json, [
    ['title', 'Grüße'],
    ['photo', 'a b.png', 'image/png', bytes.length, bytes.at(-1)],
    ['note', 'note.txt', 'text/plain', 4, 't'.charCodeAt(0)],
  ]);
});

it('serves files, whole, as a download and as streams with and without a length', async (t) => {
  const { file, bytes } = temporaryFile(t, 'data.bin', 5 << 20);
  // It watches the files that it serves, which keeps the process alive.
  const watchers = new Set();
  t.after(() => watchers.forEach((watcher) => watcher.close()));
  const http = await serve(t, (server) => {
    server.get('/file', (req, res) => res.file(file, (pool) => watchers.add(pool[file].watcher)));
    server.get('/download', (req, res) => res.download(file, 'yours.bin'));
    server.get('/sized', (req, res) => res.stream(fs.createReadStream(file), bytes.length));
    server.get('/chunked', (req, res) => res.stream(fs.createReadStream(file)));
    server.get('/piped', (req, res) => fs.createReadStream(file).pipe(res));
  });
  for (const target of ['/file', '/download', '/sized', '/chunked', '/piped']) {
    const answer = await http.get(target);
    assert.equal(answer.status, 200, target);
    assert.ok(answer.body.equals(bytes), target);
    const chunked = target === '/chunked' || target === '/piped';
    assert.equal(answer.headers['content-length'], chunked ? undefined : String(bytes.length), target);
    assert.equal(answer.headers['transfer-encoding'], chunked ? 'chunked' : undefined, target);
  }
  const download = await http.get('/download');
  assert.equal(download.headers['content-disposition'], 'attachment; filename="yours.bin"');
  assert.equal(watchers.size, 1);
});

it('lets a slow reader take a large stream and stops the source when the reader goes', async (t) => {
  const chunk = Buffer.alloc(65536);
  const gone = deferred();
  let pushed = 0;
  const http = await serve(t, (server) => {
    server.get('/endless', (req, res) => {
      const source = new Readable({
        read() {
          pushed += chunk.length;
          this.push(chunk);
        },
      });
      source.on('close', () => gone.resolve());
      res.stream(source);
    });
  });
  const answer = await http.begin('/endless');
  await new Promise((resolve) => answer.once('readable', resolve));
  await sleep(50);
  assert.ok(pushed < 100 << 20, 'the source is read as fast as the client reads');
  answer.destroy();
  await gone.promise;
});

it('sets cookies, redirects and gives server-sent events', async (t) => {
  const http = await serve(t, (server) => {
    server.get('/cookies', (req, res) => {
      res.cookie('a', '1', 60000, { path: '/', httpOnly: true }).cookie('b', '2').json(req.cookies);
    });
    server.get('/old', (req, res) => res.redirect('/new'));
    server.get('/events', (req, res) => {
      res.sse.open();
      res.sse.send('1', 'tick', 'one');
      res.sse.send('2', 'tick', 'two');
      setTimeout(() => res.sse.close(), 5);
    });
  });
  const cookies = await http.get('/cookies', { headers: { cookie: 'x=1; y=z' } });
  assert.deepEqual(cookies.json, { x: '1', y: 'z' });
  assert.equal(cookies.headers['set-cookie'].length, 2);
  assert.match(cookies.headers['set-cookie'][0], /^a=1; .*HttpOnly/);
  const redirect = await http.get('/old');
  assert.deepEqual([redirect.status, redirect.headers.location], [302, '/new']);
  const events = await http.get('/events');
  const charset = majorOf('hyper-express') < 7 ? '' : '; charset=utf-8';
  assert.equal(events.headers['content-type'], `text/event-stream${charset}`);
  assert.match(events.text, /id: 1\nevent: tick\ndata: one\n\nid: 2\nevent: tick\ndata: two\n\n/);
});

it('answers HEAD with the length and keeps the connection', async (t) => {
  const http = await serve(t, (server) => {
    server.head('/page', (req, res) => res.header('content-length', '1234').send());
    server.head('/body', (req, res) => res.send('grüß'));
    server.get('/page', (req, res) => res.send('page'));
    server.get('/close', (req, res) => res.send('bye', true));
  });
  const agent = oneConnection(t);
  const head = await http.head('/page', { agent });
  assert.deepEqual([head.status, head.headers['content-length'], head.body.length], [200, '1234', 0]);
  const body = await http.head('/body', { agent });
  assert.deepEqual([body.headers['content-length'], body.reused], ['6', true]);
  for (let n = 0; n < 20; n += 1) {
    const answer = await http.get('/page', { agent });
    assert.deepEqual([answer.text, answer.reused], ['page', true]);
  }
  assert.equal((await http.get('/close', { agent })).text, 'bye');
  assert.equal((await http.get('/page', { agent })).reused, false);
});

it('closes without an answer and stops taking requests', async (t) => {
  const asked = deferred();
  const server = await listen(t, (app) => {
    app.get('/closed', (req, res) => res.close());
    app.get('/slow', async (req, res) => {
      asked.resolve();
      await sleep(50);
      res.send('done');
    });
  });
  const { port } = server;
  await assert.rejects(request(port, '/closed'), { code: 'ECONNRESET' });
  const slow = request(port, '/slow', { agent: false });
  await asked.promise;
  await server.shutdown();
  assert.equal((await slow).text, 'done');
  await assert.rejects(request(port, '/slow', { agent: false }), { code: 'ECONNREFUSED' });
});

it('echoes over WebSockets, text and binary, and streams fragments', async (t) => {
  const server = await listen(t, (app) => {
    app.ws('/echo', { message_type: 'Buffer', max_payload_length: 1 << 20 }, (ws) => {
      ws.on('message', (message, binary) => ws.send(message, binary));
    });
    app.ws('/stream', (ws) => ws.stream(Readable.from(['one ', 'two ', 'three']), false));
  });
  const socket = await open(t, server.port, '/echo');
  const bytes = patterned(300000);
  socket.send('grüß');
  socket.send(bytes);
  socket.send(Buffer.alloc(0));
  const [text, binary, empty] = await socket.messages.count(3);
  assert.deepEqual([text.data.toString(), text.binary], ['grüß', false]);
  assert.ok(binary.binary && binary.data.equals(bytes));
  assert.deepEqual([empty.data.length, empty.binary], [0, true]);
  const streamed = await open(t, server.port, '/stream');
  assert.deepEqual(await streamed.texts(1), ['one two three']);
});

it('has rooms, publishing from sockets and from the server', async (t) => {
  const server = await listen(t, (app) => {
    app.ws('/room/:name', (ws) => {
      ws.subscribe(ws.context.room);
      ws.on('message', (message) => {
        if (message === 'leave') return ws.send(String(ws.unsubscribe(ws.context.room)));
        ws.publish(ws.context.room, `${ws.context.user}: ${message}`);
      });
    });
    app.upgrade('/room/:name', async (req, res) => {
      await sleep(2);
      if (!req.query.user) return res.status(403).send('who?');
      res.upgrade({ room: req.params.name, user: req.query.user });
    });
  });
  assert.equal(await refusal(t, server.port, '/room/a'), 403);
  const join = (room, user) => open(t, server.port, `/room/${room}?user=${user}`);
  const [ann, bob, eve] = [await join('a', 'ann'), await join('a', 'bob'), await join('b', 'eve')];
  assert.equal(server.num_of_subscribers('a'), 2);
  ann.send('hi');
  assert.deepEqual(await bob.texts(1), ['ann: hi']);
  assert.equal(server.publish('b', 'only b'), true);
  assert.deepEqual(await eve.texts(1), ['only b']);
  bob.send('leave');
  assert.deepEqual(await bob.texts(2), ['ann: hi', 'true']);
  server.publish('a', 'after');
  assert.deepEqual(await ann.texts(1), ['after']);
  assert.equal(bob.messages.list.length, 2);
  assert.equal(eve.messages.list.length, 1);
});

it('gives close codes both ways, pings, and takes a client that comes back', async (t) => {
  const closes = [];
  const closed = deferred();
  const server = await listen(t, (app) => {
    app.ws('/', (ws) => {
      ws.on('message', (message) => (message === 'destroy' ? ws.destroy() : ws.close(4001, 'enough')));
      ws.on('ping', (message) => ws.send(`ping ${message}`));
      ws.on('close', (code, message) => {
        closes.push([code, message]);
        if (closes.length === 3) closed.resolve();
      });
    });
  });
  const first = await open(t, server.port, '/');
  first.socket.ping('p');
  assert.deepEqual(await first.texts(1), ['ping p']);
  first.send('close me');
  assert.deepEqual(await first.closed, { code: 4001, reason: 'enough' });
  const second = await open(t, server.port, '/');
  assert.deepEqual(await second.close(4002, 'bye'), { code: 4002, reason: 'bye' });
  const third = await open(t, server.port, '/');
  third.send('destroy');
  assert.deepEqual(await third.closed, { code: 1006, reason: '' });
  await closed.promise;
  assert.deepEqual(closes, [
    [4001, 'enough'],
    [4002, 'bye'],
    [1006, ''],
  ]);
});

it('negotiates a subprotocol', async (t) => {
  const server = await listen(t, (app) => {
    app.ws('/', (ws) => ws.send('open'));
  });
  const socket = await open(t, server.port, '/', ['chat.v2']);
  assert.equal(socket.socket.protocol, 'chat.v2');
});

it('compresses messages where client and server wish it', async (t) => {
  const server = await listen(t, (app) => {
    const options = { compression: compressors.SHARED_COMPRESSOR, max_payload_length: 1 << 20 };
    app.ws('/', options, (ws) => ws.on('message', (message) => ws.send(message, false, true)));
  });
  const text = 'grüß '.repeat(20000);
  for (const perMessageDeflate of [true, false]) {
    const socket = await open(t, server.port, '/', undefined, { perMessageDeflate });
    assert.equal(/permessage-deflate/.test(socket.socket.extensions), perMessageDeflate);
    socket.send(text);
    assert.deepEqual(await socket.texts(1), [text]);
    assert.equal(socket.socket._socket.bytesRead < 10000, perMessageDeflate);
  }
});
