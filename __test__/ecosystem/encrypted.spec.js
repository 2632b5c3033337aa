'use strict';

// The frameworks over TLS: each serves a page, a large response, a body and a WebSocket.

const fs = require('node:fs');
const { once } = require('node:events');
const { setTimeout: sleep } = require('node:timers/promises');
const {
  assert,
  client,
  differs,
  it,
  majorOf,
  needs,
  oneConnection,
  open,
  packages,
  patterned,
  uWS,
} = require('./stack');
const certificates = require('../tls/certificates');
const hyper = packages.require('hyper-express');
const { Server } = packages.require('socket.io');
const { io: connect } = packages.require('socket.io-client');
const express = packages.require('ultimate-express');

const files = certificates.shared();
const trust = { ca: fs.readFileSync(files.cert_file_name), servername: 'localhost' };
const large = patterned(3 << 20);

/** The checks that each framework must pass. */
async function exercise(t, port) {
  const http = client(port, trust);
  const agent = oneConnection(t, { secure: true });
  for (const reused of [false, true]) {
    const answer = await http.get('/page', { agent });
    assert.deepEqual([answer.status, answer.text, answer.reused], [200, 'grüß', reused]);
  }
  assert.ok((await http.get('/large')).body.equals(large));
  assert.deepEqual((await http.postJson('/json', { a: ['ü'] })).json, { a: ['ü'] });
  assert.ok(
    (
      await http.post('/bytes', { body: large, headers: { 'content-type': 'application/octet-stream' } })
    ).body.equals(large),
  );
  const socket = await open(t, port, '/ws', undefined, trust);
  socket.send('grüß');
  assert.deepEqual(await socket.texts(1), ['grüß']);
  assert.deepEqual(await socket.close(4001, 'bye'), { code: 4001, reason: 'bye' });
  const plain = await client(port)
    .get('/page')
    .then(
      ({ status }) => status,
      ({ code }) => code,
    );
  assert.equal(plain, differs('plain-http-on-tls', { original: 'ECONNRESET', ours: 400 }));
}

it('hyper-express', needs('getRemotePort', majorOf('hyper-express') < 7), async (t) => {
  const server = new hyper.Server({ ...files, auto_close: false, max_body_length: 8 << 20 });
  server.get('/page', async (req, res) => {
    await sleep(1);
    res.send('grüß');
  });
  server.get('/large', (req, res) => res.send(large));
  server.post('/json', async (req, res) => res.json(await req.json()));
  server.post('/bytes', async (req, res) => res.send(await req.buffer()));
  server.ws('/ws', (ws) => ws.on('message', (message) => ws.send(message)));
  await server.listen(0, '127.0.0.1');
  t.after(() => server.uws_instance.close());
  await exercise(t, server.port);
});

it('ultimate-express', async (t) => {
  const app = express({ uwsOptions: files });
  app.get('/page', (req, res) => res.send(req.secure ? 'grüß' : 'not secure'));
  app.get('/large', (req, res) => res.send(large));
  app.post('/json', express.json(), (req, res) => res.json(req.body));
  app.post('/bytes', express.raw({ limit: '8mb' }), (req, res) => res.send(req.body));
  app.uwsApp.ws('/ws', { message: (ws, message, binary) => ws.send(message, binary) });
  await new Promise((resolve) => app.listen(0, '127.0.0.1', resolve));
  t.after(() => app.close());
  await exercise(t, app.port);
});

it('socket.io', async (t) => {
  const app = uWS.SSLApp(files);
  const io = new Server({ maxHttpBufferSize: 8 << 20 });
  io.attachApp(app);
  io.on('connection', (socket) => {
    socket.join('room');
    socket.on('bytes', (value, answer) => answer(value));
  });
  const port = await new Promise((resolve) => {
    app.listen(0, (token) => resolve(uWS.us_socket_local_port(token)));
  });
  const sockets = [];
  t.after(async () => {
    for (const socket of sockets) socket.disconnect();
    await io.close();
    app.close();
  });
  for (const transport of ['polling', 'websocket']) {
    const settings = { transports: [transport], forceNew: true, ca: trust.ca };
    const socket = connect(`https://localhost:${port}`, settings);
    sockets.push(socket);
    await once(socket, 'connect');
    assert.ok(Buffer.from(await socket.timeout(5000).emitWithAck('bytes', large)).equals(large), transport);
  }
  const heard = sockets.map((socket) => once(socket, 'news'));
  io.to('room').emit('news', 'grüß');
  assert.deepEqual(await Promise.all(heard), [['grüß'], ['grüß']]);
});
