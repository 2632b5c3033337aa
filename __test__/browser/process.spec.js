'use strict';

// The server as a process: where it listens, how it ends, how its workers share the work.

const assert = require('node:assert/strict');
const os = require('node:os');
const { test } = require('node:test');
const { Deployment, freePort, needsDescriptors, onlyOurs } = require('./stack.js');
const { Connection, request } = require('./http.js');

const lossy = onlyOurs('may miss onWritable under backpressure, which ends the response early');

const it = (name, body, options) => test(name, { timeout: 60000, ...options }, body);

it('PORT and HOST say where it listens', async (t) => {
  const deployment = new Deployment(t);
  const server = await deployment.start({ env: { HOST: '127.0.0.1' } });
  assert.ok(server.output.includes(`Listening on http://127.0.0.1:${server.port}`));
  assert.equal((await request(server.port, 'GET', '/healthz')).status, 200);
  const outside = Object.values(os.networkInterfaces())
    .flat()
    .find(({ internal, family }) => !internal && family === 'IPv4');
  if (outside) await assert.rejects(fetch(`http://${outside.address}:${server.port}/healthz`));
});

it('HOST=0.0.0.0 is reached by any address of ours', async (t) => {
  const server = await new Deployment(t).start({ env: { HOST: '0.0.0.0' } });
  for (const host of ['127.0.0.1', '127.0.0.2', 'localhost']) {
    assert.equal((await fetch(`http://${host}:${server.port}/download/1`)).status, 200, host);
  }
});

it('an address it cannot have ends it with an error', async (t) => {
  const server = await new Deployment(t).launch({ env: { HOST: '192.0.2.1' }, port: await freePort() });
  assert.equal(await server.exited, 1);
  assert.match(server.output, /Failed to listen/);
});

for (const signal of ['SIGTERM', 'SIGINT']) {
  it(`${signal} ends it while tabs and idle connections are open`, async (t) => {
    const server = await new Deployment(t).start();
    const idle = await Connection.open(server.port);
    await idle.request('GET', '/healthz');
    const socket = await openWebSocket(server);
    const started = Date.now();
    assert.equal(await server.stop(signal), 0);
    assert.ok(Date.now() - started < 5000);
    assert.match(server.output, /Shutdown complete/);
    await idle.closed();
    await socket.closed();
  });
}

for (const [accept, options] of [
  ['text/html', {}],
  // The handler answers in the very tick in which the rest of the body came, after which the adapter ends the
  // process.
  ['application/json', onlyOurs('loses what is written in the tick that ends the process')],
]) {
  const name = `SIGTERM lets a request that is being received be answered whole, ${accept}`;
  it(name, (t) => answeredWhole(t, accept), options);
}

it(
  'SIGTERM lets a download be read to its end',
  async (t) => {
    const server = await new Deployment(t).start();
    const connection = await Connection.open(server.port);
    connection.send('GET /download/48 HTTP/1.1\r\nhost: localhost\r\n\r\n');
    await inFlight(server);
    const ended = server.stop('SIGTERM');
    await server.printed(/Received SIGTERM/);
    const { body } = await connection.response();
    assert.equal(body.length, 48 * 1024 * 1024);
    assert.equal(await ended, 0);
  },
  lossy,
);

it('SHUTDOWN_TIMEOUT ends what takes longer', async (t) => {
  const server = await new Deployment(t).start({ env: { SHUTDOWN_TIMEOUT: '1' } });
  const connection = await Connection.open(server.port);
  connection.send('GET /download/1024 HTTP/1.1\r\nhost: localhost\r\n\r\n');
  await inFlight(server);
  assert.equal(await server.stop('SIGTERM'), 0);
  connection.destroy();
});

it(
  'CLUSTER_WORKERS=2: every worker serves',
  async (t) => {
    const server = await new Deployment(t).start({ workers: 2 });
    const answers = await Promise.all(Array.from({ length: 20 }, () => request(server.port, 'GET', '/')));
    assert.ok(answers.every(({ status, body }) => status === 200 && body.includes('</html>')));
    const download = await request(server.port, 'GET', '/download/1');
    assert.equal(download.body.length, 1024 * 1024);
  },
  needsDescriptors,
);

it(
  'CLUSTER_WORKERS=2: SIGTERM ends all of it',
  async (t) => {
    const server = await new Deployment(t).start({ workers: 2 });
    const sockets = await Promise.all([1, 2, 3, 4].map(() => openWebSocket(server)));
    await request(server.port, 'GET', '/');
    assert.equal(await server.stop('SIGTERM'), 0);
    for (const socket of sockets) await socket.closed();
    assert.equal(server.output.match(/Shutdown complete/g).length, 2);
  },
  onlyOurs('aborts while its workers end'),
);

async function answeredWhole(t, accept) {
  const server = await new Deployment(t).start();
  const connection = await Connection.open(server.port);
  connection.send(
    `POST /live?/say HTTP/1.1\r\nhost: 127.0.0.1:${server.port}\r\norigin: ${server.url}\r\naccept: ${accept}\r\n` +
      'content-type: application/x-www-form-urlencoded\r\ncontent-length: 17\r\n\r\ntext=last',
  );
  await inFlight(server);
  const ended = server.stop('SIGTERM');
  await server.printed(/Received SIGTERM/);
  await refuses(server.port);
  connection.send('+request');
  const response = await connection.response();
  assert.equal(response.status, 200);
  assert.ok(response.body.toString().includes(accept === 'text/html' ? 'last request' : '"success"'));
  assert.equal(await ended, 0);
}

/** A WebSocket of a visitor with a cookie. */
async function openWebSocket(server) {
  const page = await request(server.port, 'GET', '/live');
  const connection = await Connection.open(server.port);
  connection.send(
    `GET /ws HTTP/1.1\r\nhost: 127.0.0.1:${server.port}\r\norigin: ${server.url}\r\n` +
      `cookie: ${page.header('set-cookie').split(';')[0]}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n` +
      'sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
  );
  assert.equal((await connection.response()).status, 101);
  return connection;
}

/** Waits until nobody listens any more: the message is printed before the listen socket is closed. */
async function refuses(port) {
  for (;;) {
    try {
      (await Connection.open(port)).destroy();
    } catch (error) {
      return assert.equal(error.code, 'ECONNREFUSED');
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Waits until a request sent before has certainly reached its handler: a later one was answered. */
async function inFlight(server) {
  for (let i = 0; i < 2; i++) assert.equal((await request(server.port, 'GET', '/')).status, 200);
}
