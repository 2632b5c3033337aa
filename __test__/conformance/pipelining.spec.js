'use strict';
const { it, assert, serve, get, post, differs, Events, turn } = require('../support');

/** /now/x answers at once, /later/x in a later turn, /hold/x when released; POST echoes its body. */
function mixed(t) {
  const seen = new Events();
  const held = [];
  const server = serve(t, (app) =>
    app
      .get('/now/*', (res, req) => {
        seen.push(req.getUrl());
        res.end(req.getUrl());
      })
      .get('/later/*', (res, req) => {
        const url = req.getUrl();
        seen.push(url);
        res.onAborted(() => {
          res.gone = true;
        });
        setImmediate(() => {
          if (!res.gone)
            res.cork(() => {
              res.end(url);
            });
        });
      })
      .get('/hold/*', (res, req) => {
        const url = req.getUrl();
        seen.push(url);
        res.onAborted(() => {
          res.gone = true;
          seen.push('aborted');
        });
        held.push(() => {
          if (!res.gone)
            res.cork(() => {
              res.end(url);
            });
        });
      })
      .post('/*', (res) => {
        let body = '';
        res.onAborted(() => {});
        res.onData((chunk, last) => {
          body += Buffer.from(chunk);
          if (last) res.end(body);
        });
      }),
  );
  return Object.assign(server, { seen, held });
}
async function bodies(peer, count) {
  const list = [];
  while (list.length < count) list.push((await peer.response()).body);
  return list;
}

it('requests in one segment that are answered at once', async (t) => {
  const server = mixed(t);
  const peer = await server.connect();
  await peer.send(get('/now/1') + get('/now/2') + get('/now/3'));
  assert.deepEqual(await bodies(peer, 3), ['/now/1', '/now/2', '/now/3']);
});

it('100 requests in one segment', async (t) => {
  const server = mixed(t);
  const peer = await server.connect();
  const targets = Array.from({ length: 100 }, (_, i) => `/now/${i}`);
  await peer.send(targets.map((target) => get(target)).join(''));
  assert.deepEqual(await bodies(peer, 100), targets);
});

it('pipelined requests with bodies', async (t) => {
  const server = mixed(t);
  const peer = await server.connect();
  await peer.send(
    post('/', 'one') +
      post('/', '') +
      get('/now/2') +
      'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n' +
      post('/', 'three'),
  );
  assert.deepEqual(await bodies(peer, 5), ['one', '', '/now/2', 'ab', 'three']);
});

it('pipelined requests cut at every place', async (t) => {
  const server = mixed(t);
  const peer = await server.connect();
  await peer.sendPieces(get('/now/1') + post('/', 'body') + get('/now/2'), 1);
  assert.deepEqual(await bodies(peer, 3), ['/now/1', 'body', '/now/2']);
});

it('a second request in the same segment while the first is pending', async (t) => {
  const server = mixed(t);
  const peer = await server.connect();
  await peer.send(get('/later/1') + get('/now/2') + get('/later/3') + get('/now/4'));
  if (differs('pipelining-pending', { original: 'closed', ours: 'parked' }) === 'closed')
    return assert.equal(await peer.rest(), '');
  assert.deepEqual(await bodies(peer, 4), ['/later/1', '/now/2', '/later/3', '/now/4']);
});

it('a second request in a later segment while the first is pending', async (t) => {
  const server = mixed(t);
  const peer = await server.connect();
  await peer.send(get('/hold/1'));
  await server.seen.count(1);
  await peer.send(get('/now/2'));
  if (differs('pipelining-pending', { original: 'closed', ours: 'parked' }) === 'closed') {
    await server.seen.first((event) => event === 'aborted');
    return assert.equal(await peer.rest(), '');
  }
  for (let i = 0; i < 20; i++) await turn();
  assert.deepEqual(
    server.seen.list,
    ['/hold/1'],
    'the second is not handled before the first has its answer',
  );
  server.held[0]();
  assert.deepEqual(await bodies(peer, 2), ['/hold/1', '/now/2']);
});

it('a request after the pending one was answered', async (t) => {
  const server = mixed(t);
  const peer = await server.connect();
  for (let i = 0; i < 5; i++) assert.equal((await peer.request(get(`/later/${i}`))).body, `/later/${i}`);
});

it('the peer closes its side behind a pipelined request', async (t) => {
  const server = mixed(t);
  const peer = await server.connect();
  await peer.send(get('/now/1') + get('/now/2'));
  peer.halfClose();
  assert.match(await peer.rest(), /^HTTP\/1\.1 200 OK\r\n[^]*\/now\/1HTTP\/1\.1 200 OK\r\n[^]*\/now\/2$/);
});

it('Connection: close on the first of two requests in one segment', async (t) => {
  const server = mixed(t);
  const peer = await server.connect();
  await peer.send(get('/now/1', ['Connection: close']) + get('/now/2'));
  const count = differs('close-before-more', { original: 2, ours: 1 });
  assert.deepEqual(await bodies(peer, count), ['/now/1', '/now/2'].slice(0, count));
  if (count === 1) assert.equal(await peer.rest(), '');
});

it('empty lines before a request', async (t) => {
  const server = mixed(t);
  const peer = await server.connect();
  await peer.send(`\r\n${get('/now/1')}`);
  if (differs('leading-empty-line', { original: 'stuck', ours: 'ignored' }) === 'ignored')
    return assert.deepEqual(await bodies(peer, 1), ['/now/1']);
  for (let i = 0; i < 20; i++) await turn();
  assert.equal(peer.size, 0);
});
