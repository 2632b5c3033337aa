'use strict';
// trustedProxies and getClientAddress: only trusted proxies name clients.

const fs = require('node:fs');
const { Worker } = require('node:worker_threads');
const { both, it, assert, limited, get, post, request, until, Peer } = require('./support');

const told = (app) => {
  const tell = (res, req) => {
    const proxied = Buffer.from(res.getProxiedRemoteAddressAsText()).toString();
    res.end(JSON.stringify([req.getClientAddress(), proxied]));
  };
  app.get('/*', tell).post('/*', tell);
};
const PROXY = (address) => `PROXY TCP4 ${address} 127.0.0.1 1 2\r\n`;
const xff = (...lines) => lines.map((line) => ['X-Forwarded-For', line]);

async function ask(server, text) {
  const answer = await server.once(text);
  assert.equal(answer.code, 200, answer.text);
  return JSON.parse(answer.body);
}

both('without trustedProxies anybody may say PROXY, and nobody is believed', async (t, tls) => {
  const server = limited(t, undefined, { tls, configure: told });
  assert.deepEqual(await ask(server, PROXY('1.2.3.4') + get('/')), ['127.0.0.1', '1.2.3.4']);
  assert.deepEqual(await ask(server, get('/', xff('1.2.3.4'))), ['127.0.0.1', '']);
});

both('a PROXY header of somebody who is not trusted is a bad request', async (t, tls) => {
  for (const trustedProxies of [[], ['10.0.0.0/8', '::1']]) {
    const server = limited(t, undefined, { tls, configure: told, trustedProxies });
    for (const header of [
      PROXY('1.2.3.4'),
      '\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x01\x02\x03\x04\x7f\0\0\x01\0\x01\0\x02',
    ]) {
      assert.equal((await server.once(header + get('/'))).code, 400);
    }
    assert.deepEqual(await ask(server, get('/', xff('1.2.3.4'))), ['127.0.0.1', '']);
  }
});

both('a trusted proxy names the client', async (t, tls) => {
  const trustedProxies = ['127.0.0.0/8', '10.0.0.0/8'];
  const server = limited(t, undefined, { tls, configure: told, trustedProxies });
  assert.deepEqual(await ask(server, get('/')), ['127.0.0.1', '']);
  assert.deepEqual(await ask(server, PROXY('1.2.3.4') + get('/', xff('6.6.6.6'))), ['1.2.3.4', '1.2.3.4']);
  assert.deepEqual(await ask(server, PROXY('10.0.0.5') + get('/', xff('1.2.3.4'))), ['1.2.3.4', '10.0.0.5']);
  const table = [
    [xff('1.2.3.4'), '1.2.3.4'],
    [xff('6.6.6.6, 1.2.3.4, 10.0.0.1'), '1.2.3.4'],
    [xff('6.6.6.6', '1.2.3.4', '10.0.0.1, 10.0.0.2'), '1.2.3.4'],
    [xff('2001:DB8:0:0::1'), '2001:db8::1'],
    [xff('[2001:db8::1]:443'), '2001:db8::1'],
    [xff('::ffff:1.2.3.4'), '1.2.3.4'],
    [xff('1.2.3.4, nonsense'), '127.0.0.1'],
    [[['Forwarded', 'for=6.6.6.6, for="[2001:db8::1]:80";proto=https']], '2001:db8::1'],
    [[['Forwarded', 'for=6.6.6.6'], ...xff('1.2.3.4')], '127.0.0.1'],
    [[['Forwarded', 'for=1.2.3.4'], ...xff('1.2.3.4')], '1.2.3.4'],
  ];
  for (const [headers, expected] of table) {
    assert.deepEqual(await ask(server, get('/', headers)), [expected, ''], JSON.stringify(headers));
  }
});

it('the answer is that of each request of a pipeline, also when the response is complete', async (t) => {
  const seen = [];
  const server = limited(t, undefined, {
    trustedProxies: ['::1', '127.0.0.1'],
    configure: (app) =>
      app.any('/*', (res, req) => {
        res.end('ok');
        seen.push(req.getClientAddress());
      }),
  });
  const peer = await server.connect();
  await peer.send(
    [1, 2, 3].map((n) => get('/', xff(`1.1.1.${n}`))).join('') + post('/', 'body', xff('1.1.1.4')),
  );
  for (let i = 0; i < 4; i++) await peer.response();
  assert.deepEqual(seen, ['1.1.1.1', '1.1.1.2', '1.1.1.3', '1.1.1.4']);
});

it('after the handler it throws, as every method', async (t) => {
  let kept;
  const server = limited(t, undefined, {
    configure: (app) =>
      app.get('/*', (res, req) => {
        kept = req;
        res.end();
      }),
  });
  await server.once(get('/'));
  assert.throws(() => kept.getClientAddress(), /^Error: uWS\.HttpRequest must not be accessed/);
});

it('Unix sockets', async (t) => {
  const path = `/tmp/uws-proxies-${process.pid}.sock`;
  t.after(() => fs.rmSync(path, { force: true }));
  for (const [trustedProxies, expected] of [
    [undefined, ''],
    [['127.0.0.1'], ''],
    [['unix'], '1.2.3.4'],
  ]) {
    fs.rmSync(path, { force: true });
    const server = limited(t, undefined, { trustedProxies, configure: told });
    server.app.listen_unix((token) => assert.ok(token), path);
    const peer = await Peer.connect(path, { tls: false });
    assert.equal(JSON.parse((await peer.request(get('/', xff('1.2.3.4')))).body)[0], expected);
    peer.destroy();
  }
});

both('limits per address follow the client that a trusted proxy names', async (t, tls) => {
  const limits = { maxConnectionsPerAddress: 1, maxRequestsPerAddress: { count: 2, seconds: 600 } };
  const server = limited(t, limits, { tls, configure: told, trustedProxies: ['127.0.0.1'] });
  const proxied = async (address) => {
    const peer = await server.connect();
    await peer.send(PROXY(address));
    return peer;
  };
  const [one, other] = [await proxied('1.1.1.1'), await proxied('1.1.1.2')];
  for (const peer of [one, other]) {
    assert.equal((await peer.request(get('/'))).code, 200);
    assert.equal((await peer.request(get('/'))).code, 200);
    assert.equal((await peer.request(get('/'))).code, 429);
  }
  const beyond = await proxied('1.1.1.1');
  await beyond.gone();
  assert.equal(beyond.size, 0);
  assert.deepEqual(server.breaches(), { maxConnectionsPerAddress: 1, maxRequestsPerAddress: 2 });
  // Clients of a proxy that names them in fields share its connections, but not their rates.
  const shared = await server.connect();
  for (const [client, code] of [
    ['2.2.2.2', 200],
    ['2.2.2.2', 200],
    ['2.2.2.2', 429],
    ['6.6.6.6, 2.2.2.2', 429],
    ['2.2.2.3', 200],
  ]) {
    assert.equal((await shared.request(get('/', xff(client)))).code, code, client);
  }
  // The proxy's own requests, such as health checks, are not limited.
  for (let i = 0; i < 5; i++) assert.equal((await shared.request(request('GET', '/'))).code, 200);
});

/** Sends a request, closes with the first bytes of the answer, and makes others connect. */
const LEAVING = `
  const net = require('node:net');
  const { port, text } = require('node:worker_threads').workerData;
  const socket = net.connect(port, '127.0.0.1', () => socket.write(text));
  socket.once('data', () => {
    socket.destroy();
    setInterval(() => net.connect(port, '127.0.0.1').on('error', () => {}), 20);
  });
`;

it('a peer that has left meanwhile is not taken for one of a Unix socket', async (t) => {
  const seen = [];
  const answer = (res, req) => {
    seen.push(req.getClientAddress());
    res.end(Buffer.alloc(8 << 20));
    // The handler goes on for so long that another connection gets the slot.
    const end = Date.now() + 10_000;
    while (req.getClientAddress() === '127.0.0.1' && Date.now() < end);
    seen.push(req.getClientAddress());
  };
  const server = limited(t, undefined, {
    configure: (app) => app.get('/leave', answer),
    trustedProxies: ['unix'],
  });
  const workerData = { port: server.port, text: get('/leave', xff('6.6.6.6')) };
  const client = new Worker(LEAVING, { eval: true, workerData });
  t.after(() => client.terminate());
  await until(() => seen.length === 2);
  assert.deepEqual(seen, ['127.0.0.1', '']);
});
