'use strict';
// app.close() decides once, for everything: events of its connections that are still on their way to
// JavaScript are discarded.

const { Worker } = require('node:worker_threads');
const { it, assert, serve, uWS, get, post, upgradeRequest, Peer, WsPeer } = require('../support');

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const block = (ms) => {
  for (const end = Date.now() + ms; Date.now() < end;);
};

/** Clients in a thread of their own, so that they go on while JavaScript here is busy. */
function clientsElsewhere(port, texts) {
  const worker = new Worker(
    `const net = require('net');
    const { workerData: { port, texts } } = require('worker_threads');
    for (const text of texts) {
      const socket = net.connect(port, '127.0.0.1', () => socket.write(text, 'latin1'));
      socket.on('error', () => {});
      socket.on('data', () => {});
    }`,
    { eval: true, workerData: { port, texts } },
  );
  return new Promise((resolve) => worker.once('exit', resolve));
}

const TEXTS = [
  upgradeRequest('/loop'),
  upgradeRequest('/program'),
  get('/now'),
  get('/now').repeat(10),
  get('/late') + get('/now').repeat(10),
  post('/body', 'x'.repeat(1000)),
  upgradeRequest('/loop') + '\x82\x85\0\0\0\0hello',
];

for (const again of [false, true]) {
  it(`a request that waits when app.close() is called gets no handler${again ? ', and a new listener is served' : ''}`, async (t) => {
    const log = [];
    let closed = false;
    const note = (what) => log.push(closed ? `late ${what}` : what);
    let more;
    const configure = (app) => {
      app.get('/close', (res) => {
        // All of these arrive now, and no handler sees any of it.
        more = clientsElsewhere(server.port, TEXTS);
        block(500);
        res.end('closing');
        app.close();
        closed = true;
      });
      const behaviour = {
        open(ws) {
          note('open');
          ws.subscribe('topic');
        },
        message: () => note('message'),
        close: () => log.push('close'),
      };
      app.ws('/loop', behaviour);
      app.ws('/program', {
        ...behaviour,
        upgrade: (res, req, context) => res.upgrade({}, req.getHeader('sec-websocket-key'), '', '', context),
      });
      app.get('/now', (res) => {
        note('now');
        res.end('x');
      });
      app.get('/late', (res) => {
        note('late');
        res.onAborted(() => log.push('aborted'));
      });
      app.post('/body', (res) => {
        note('body');
        res.onAborted(() => log.push('aborted'));
        res.onData((chunk, last) => last && res.end('x'));
      });
    };
    const server = serve(t, configure);
    const first = await server.connect();
    const others = clientsElsewhere(server.port, [...TEXTS, ...TEXTS]);
    await wait(200);
    await first.send(get('/close'));
    await first.gone();
    await Promise.all([others, more]);
    const count = (what) => log.filter((each) => each === what).length;
    await wait(100);
    assert.deepEqual(
      log.filter((each) => each.startsWith('late ')),
      [],
    );
    assert.equal(count('open'), count('close'), log.join());
    assert.equal(server.app.numSubscribers('topic'), 0);
    await assert.rejects(Peer.connect(server.port));
    if (!again) return;
    closed = false;
    let port;
    server.app.listen(0, (token) => (port = uWS.us_socket_local_port(token)));
    const peer = await Peer.connect(port);
    assert.equal((await peer.request(get('/now'))).body, 'x');
    const ws = await WsPeer.open(port, '/loop');
    await wait(20);
    assert.equal(server.app.numSubscribers('topic'), 1);
    ws.destroy();
    peer.destroy();
  });
}

it(
  'a listener opened right after app.close() stays, whatever the loop is busy with',
  { timeout: 30000 },
  async (t) => {
    const server = serve(t, (app) => {
      app.ws('/*', {
        compression: uWS.DEDICATED_COMPRESSOR_256KB,
        maxBackpressure: 0,
        open: (ws) => ws.subscribe('topic'),
      });
      app.get('/*', (res) => res.end('here'));
    });
    const headers = ['Sec-WebSocket-Extensions: permessage-deflate'];
    await Promise.all(Array.from({ length: 12 }, () => server.ws('/', { headers })));
    await wait(20);
    // This is half a second of work for the loop, in one command.
    const text = Array.from({ length: 40000 }, (_, n) => (n * 2654435761).toString(36)).join(' ');
    for (let round = 0; round < 3; round++) {
      server.app.publish('topic', text, false, true);
      server.app.close();
      let port = 0;
      server.app.listen(0, (token) => (port = uWS.us_socket_local_port(token)));
      const peer = await Peer.connect(port);
      assert.equal((await peer.request(get('/'))).body, 'here');
      peer.destroy();
      await Promise.all(Array.from({ length: 12 }, () => WsPeer.open(port, '/', { headers })));
      await wait(20);
    }
  },
);

it('a request that is upgraded with the context of another app is over with whichever is closed first', async (t) => {
  for (const first of ['accepting', 'other']) {
    const log = [];
    let context;
    const apps = { accepting: uWS.App(), other: uWS.App() };
    apps.other.ws('/*', {
      upgrade(res, req, own) {
        context = own;
        res.end();
      },
      open: (ws) => ws.subscribe('topic'),
      message: (ws, message) => ws.send(message),
      close: (ws, code) => log.push(code),
    });
    apps.accepting.ws('/*', {
      upgrade(res, req) {
        const fields = ['key', 'protocol', 'extensions'].map((name) =>
          req.getHeader(`sec-websocket-${name}`),
        );
        res.upgrade({}, ...fields, context);
      },
    });
    const other = serve(t, () => {}, { app: apps.other });
    const accepting = serve(t, () => {}, { app: apps.accepting });
    await other.once(upgradeRequest('/'));
    const peer = await accepting.ws('/');
    await peer.text('x');
    assert.equal(await peer.message(), 'x');
    assert.equal(apps.other.numSubscribers('topic'), 1);
    apps[first].close();
    assert.deepEqual(log, [1006]);
    assert.equal(apps.other.numSubscribers('topic'), 0);
    await peer.gone();
    apps.other.close();
    apps.accepting.close();
    assert.deepEqual(log, [1006]);
  }
});
