'use strict';
// The figures of an app after traffic that is known to the byte, over plain connections and over TLS.

const {
  it,
  assert,
  uWS,
  support,
  serve,
  until,
  get,
  post,
  frame,
  closePayload,
  WsPeer,
} = require('./support');

/** The values of an object by their paths. */
function flat(object, prefix = '') {
  return Object.entries(object).flatMap(([name, value]) =>
    typeof value === 'object' ? flat(value, `${prefix}${name}.`) : [[`${prefix}${name}`, value]],
  );
}

/** The values that are not 0. */
const shown = (stats) => Object.fromEntries(flat(stats).filter(([, value]) => value !== 0));

/** Waits until these figures of the app are as expected, and says which are not. */
async function become(app, expected) {
  const wrong = () => {
    const stats = Object.fromEntries(flat(app.stats()));
    return Object.entries(expected).filter(([path, value]) => stats[path] !== value);
  };
  await until(() => wrong().length === 0).catch(() => {});
  assert.deepEqual(
    Object.fromEntries(wrong().map(([path]) => [path, Object.fromEntries(flat(app.stats()))[path]])),
    {},
    `expected ${JSON.stringify(expected)}`,
  );
}

for (const secure of [false, true]) {
  const side = secure ? 'tls' : 'plain';
  const start = (t, configure) => (secure ? support.secure(t, configure) : support.plain(t, configure));
  const over = secure ? 'over TLS' : 'in plain text';

  it(`an app that was just made counts nothing, ${over}`, () => {
    const app = secure ? uWS.SSLApp(support.certificate('localhost')) : uWS.App();
    assert.deepEqual(shown(app.stats()), {});
  });

  it(`requests and responses, ${over}`, async (t) => {
    const { app, connect } = start(t, (app) =>
      app
        .get('/hello', (res) => res.end('hello'))
        .get('/moved', (res) => res.writeStatus('302 Found').writeHeader('Location', '/').end())
        .get('/broken', (res) => res.writeStatus('503 Later').end())
        .get('/declared', new uWS.DeclarativeResponse().writeHeader('a', 'b').end('declared'))
        .post('/post', (res) => res.onData((_, last) => last && res.end('ok')).onAborted(() => {})),
    );
    const peer = await connect();
    await become(app, { 'connections.accepted': 1, [`connections.${side}.http`]: 1 });
    const texts = [get('/hello'), get('/moved'), get('/broken'), get('/declared'), get('/none')];
    texts.push(post('/post', 'x'.repeat(20000)));
    let received = 0;
    for (const text of texts) {
      const answer = await peer.request(text);
      received += answer.text.length + answer.raw.length;
    }
    // Pipelined ones count like others.
    await peer.send(get('/hello').repeat(3));
    for (let i = 0; i < 3; i++) {
      const answer = await peer.response();
      received += answer.text.length + answer.raw.length;
    }
    const stats = app.stats();
    assert.equal(stats.http.requests, 9);
    assert.deepEqual(stats.http.responses, {
      informational: 0,
      success: 6,
      redirection: 1,
      clientError: 1,
      serverError: 1,
    });
    const sent = texts.join('').length + 3 * get('/hello').length;
    if (secure) assert.ok(stats.bytes.received > sent && stats.bytes.sent > received);
    else assert.deepEqual(stats.bytes, { received: sent, sent: received });
    peer.destroy();
    await become(app, { [`connections.${side}.http`]: 0, 'connections.accepted': 1 });
  });

  it(`messages, publishes, deliveries and upgrades, ${over}`, async (t) => {
    const sockets = [];
    const { app, ws } = start(t, (app) =>
      app.ws('/*', {
        open: (ws) => (sockets.push(ws), ws.subscribe('all')),
        message: (ws, message) => ws.send(message),
      }),
    );
    const peers = [await ws('/'), await ws('/'), await ws('/')];
    await become(app, {
      [`connections.${side}.webSocket`]: 3,
      [`connections.${side}.http`]: 0,
      'webSocket.upgrades': 3,
      'http.requests': 3,
      'http.responses.informational': 3,
    });
    for (const peer of peers) await peer.text('hello');
    for (const peer of peers) assert.equal(`${await peer.message()}`, 'hello');
    // In two fragments: one message.
    await peers[0].sendFrame({ fin: false, payload: 'a' });
    await peers[0].sendFrame({ opcode: 0, payload: 'b' });
    assert.equal(`${await peers[0].message()}`, 'ab');
    await peers[0].ping('not a message');
    sockets[1].sendFirstFragment('x');
    sockets[1].sendFragment('y');
    sockets[1].sendLastFragment('z');
    sockets[1].ping('nor is this');
    assert.equal(app.publish('all', 'published'), true);
    assert.equal(sockets[0].publish('all', 'to others'), true);
    assert.equal(app.publish('nobody', 'here'), false);
    await become(app, {
      'webSocket.messages.received': 4,
      'webSocket.messages.sent': 5,
      'webSocket.publishes': 2,
      'webSocket.deliveries': 5,
    });
    peers[0].destroy();
    peers[1].close(1000);
    await peers[1].gone();
    await become(app, { [`connections.${side}.webSocket`]: 1 });
    sockets[2].close();
    await become(app, { [`connections.${side}.webSocket`]: 0, 'connections.accepted': 3 });
  });

  it(`messages of slow consumers are dropped and counted, ${over}`, async (t) => {
    const sockets = [];
    const dropped = [];
    const { app, ws } = start(t, (app) =>
      app.ws('/*', {
        maxBackpressure: 1 << 20,
        open: (ws) => (sockets.push(ws), ws.subscribe('all')),
        dropped: () => dropped.push(1),
      }),
    );
    const peer = await ws('/');
    await until(() => sockets.length === 1);
    peer.pause();
    let refused = 0;
    for (let i = 0; i < 400; i++) if (sockets[0].send('x'.repeat(100_000)) === 2) refused++;
    assert.ok(refused > 0);
    await new Promise((resolve) => setTimeout(resolve, 50));
    for (let i = 0; i < 10; i++) app.publish('all', 'y'.repeat(1000));
    await until(() => dropped.length === refused + 10);
    await become(app, {
      'webSocket.messages.dropped.send': refused,
      'webSocket.messages.dropped.publish': 10,
      'webSocket.messages.sent': 400 - refused,
      'webSocket.publishes': 10,
      'webSocket.deliveries': 0,
    });
    assert.ok(uWS.stats().memory.unsent > 1 << 20);
    peer.destroy();
    await until(() => uWS.stats().memory.unsent === 0);
  });

  it(`a consumer that is too slow is closed and counted, ${over}`, async (t) => {
    const sockets = [];
    const { app, ws } = start(t, (app) =>
      app.ws('/*', {
        maxBackpressure: 1 << 20,
        closeOnBackpressureLimit: true,
        open: (ws) => sockets.push(ws),
        close: () => sockets.pop(),
      }),
    );
    const peer = await ws('/');
    await until(() => sockets.length === 1);
    peer.pause();
    for (let i = 0; i < 400 && sockets[0].send('x'.repeat(100_000)) !== 2; i++);
    await until(() => sockets.length === 0);
    await become(app, { 'limits.backpressure': 1, 'webSocket.messages.dropped.send': 1 });
  });

  it(`errors of requests by kind, ${over}`, async (t) => {
    const { app, connect } = start(t, (app) =>
      app.get('/*', (res) => res.end()).post('/declared', new uWS.DeclarativeResponse().writeBody().end()),
    );
    const cases = [
      ['badRequest', 'GET / HTTP/1.1\r\n\r\n', '400'],
      ['badRequest', 'GET\r\n\r\n', '400'],
      ['headerFieldsTooLarge', get('/', [['x', 'y'.repeat(9000)]]), '431'],
      ['versionNotSupported', 'GET / HTTP/3.0\r\nHost: a\r\n\r\n', '505'],
      ['contentTooLarge', `POST /declared HTTP/1.1\r\nHost: a\r\nContent-Length: ${1 << 30}\r\n\r\n`, '413'],
      ['badProxyHeader', '\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0', undefined],
    ];
    const expected = {};
    for (const [kind, text, code] of cases) {
      const peer = await connect();
      await peer.send(text);
      const said = await peer.rest();
      assert.equal(/^HTTP\/1.1 (\d+)/.exec(said)?.[1], code, kind);
      peer.destroy();
      expected[`http.errors.${kind}`] = (expected[`http.errors.${kind}`] ?? 0) + 1;
    }
    // One request was well-formed: its length was refused.
    await become(app, {
      ...expected,
      'http.requests': 1,
      'http.responses.clientError': 4,
      'http.responses.serverError': 1,
      [`connections.${side}.http`]: 0,
    });
  });

  it(`errors of WebSockets by kind, ${over}`, async (t) => {
    const { app, ws } = start(t, (app) =>
      app.ws('/*', { maxPayloadLength: 1000, compression: uWS.SHARED_COMPRESSOR }),
    );
    const deflate = { headers: ['Sec-WebSocket-Extensions: permessage-deflate'] };
    const cases = [
      ['invalidFrame', frame({ opcode: 3, payload: 'x' })],
      ['tooBigMessage', frame({ payload: 'x'.repeat(1001) })],
      ['invalidUtf8', frame({ payload: Buffer.of(255) })],
      ['invalidClosePayload', frame({ opcode: 8, payload: '\x03' })],
      ['invalidCloseReason', frame({ opcode: 8, payload: closePayload(1000, Buffer.of(255)) })],
      ['invalidDeflate', frame({ rsv: 4, payload: Buffer.of(255, 255, 255) }), deflate],
      ['tooBigInflation', frame({ rsv: 4, payload: deflated('x'.repeat(5000)) }), deflate],
    ];
    const expected = {};
    for (const [kind, bytes, options] of cases) {
      const peer = await ws('/', options);
      await peer.send(bytes);
      await peer.gone();
      peer.destroy();
      expected[`webSocket.errors.${kind}`] = 1;
    }
    await become(app, { ...expected, 'webSocket.upgrades': 7, [`connections.${side}.webSocket`]: 0 });
  });
}

function deflated(text) {
  const raw = require('node:zlib').deflateRawSync(text, {
    finishFlush: require('node:zlib').constants.Z_SYNC_FLUSH,
  });
  return raw.subarray(0, -4);
}

// ---- TLS

it('handshakes, and those that fail by their alert', async (t) => {
  const { app, port } = support.secure(t, (app) => app.get('/*', (res) => res.end()));
  for (let i = 0; i < 3; i++) assert.equal((await support.httpsGet(port)).status, 200);
  // A client that does not trust the certificate says so.
  assert.notEqual((await support.sClient(port, ['-verify_return_error'])).code, 0);
  // No common cipher: handshake_failure (40).
  const weak = { maxVersion: 'TLSv1.2', ciphers: 'AES128-SHA' };
  assert.ok((await support.handshake(port, weak)).error);
  // No TLS at all, and a connection that says nothing.
  const plain = await support.rawPeer(port);
  await plain.send(get('/'));
  assert.match(await plain.rest(), /^HTTP\/1.1 400 /);
  const silent = await support.rawPeer(port);
  await become(app, { 'connections.tls.handshaking': 1 });
  silent.destroy();
  await become(app, {
    'tls.failures.noTls': 1,
    'tls.failures.abandoned': 1,
    'tls.failures.alertSent.handshakeFailure': 1,
    'tls.failures.alertReceived.unknownCa': 1,
    'tls.handshakes': 3,
    'connections.tls.handshaking': 0,
    'connections.tls.http': 0,
    'connections.accepted': 7,
  });
});

// ---- timeouts

it('timeouts by kind', { timeout: 30000 }, async (t) => {
  const { app, connect, ws } = support.plain(t, (app) =>
    app
      .setIdleTimeout(1)
      .setResponseTimeout(1)
      .get('/*', (res) => res.end('x'))
      .get('/large', (res) => res.end(Buffer.alloc(32 << 20)))
      .post('/*', (res) => res.onData(() => {}).onAborted(() => {}))
      .ws('/idle', { idleTimeout: 8, sendPingsAutomatically: false }),
  );
  const silent = await connect();
  const half = await connect();
  await half.send('GET / HT');
  const kept = await connect();
  await kept.request(get('/'));
  const slow = await connect();
  await slow.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nx');
  const reads = await connect();
  reads.pause();
  await reads.send(get('/large'));
  const idle = await ws('/idle');
  for (const peer of [silent, half, kept, slow]) await peer.gone();
  await become(app, {
    'timeouts.request': 2,
    'timeouts.keepAlive': 1,
    'timeouts.body': 1,
    'timeouts.response': 1,
  });
  await idle.gone();
  await become(app, { 'timeouts.webSocketIdle': 1 });
});

// ---- the process

it('the figures of the process are those of all apps, and of threads that have ended', async (t) => {
  const before = uWS.stats();
  assert.equal(before.loop.count, 1);
  const one = serve(t, (app) => app.get('/*', (res) => res.end('one')), {
    app: uWS.App(),
    peer: { tls: false },
  });
  const peer = await one.connect();
  await peer.request(get('/'));
  const { Worker } = require('node:worker_threads');
  const worker = new Worker(
    `
    const uWS = require(${JSON.stringify(require('node:path').join(__dirname, '../..'))});
    const { parentPort } = require('node:worker_threads');
    const app = uWS.App().get('/*', (res) => res.end('worker'));
    app.listen(0, (token) => parentPort.postMessage(uWS.us_socket_local_port(token)));
    parentPort.on('message', () => parentPort.postMessage(app.stats()));
    `,
    { eval: true },
  );
  const heard = () => new Promise((resolve) => worker.once('message', resolve));
  const other = await WsPeer.connect(await heard(), { tls: false });
  for (let i = 0; i < 5; i++) await other.request(get('/'));
  worker.postMessage('stats');
  assert.equal((await heard()).http.requests, 5);
  const during = uWS.stats();
  assert.equal(during.loop.count, 2);
  assert.equal(during.http.requests - before.http.requests, 6);
  assert.equal(during.connections.plain.http - before.connections.plain.http, 2);
  await worker.terminate();
  await other.gone();
  const after = uWS.stats();
  assert.equal(after.loop.count, 1);
  assert.equal(after.http.requests - before.http.requests, 6, 'counters do not decrease');
  assert.equal(after.connections.plain.http - before.connections.plain.http, 1);
  assert.equal(one.app.stats().http.requests, 1);
  for (const [path, value] of flat(after))
    assert.ok(Number.isFinite(value) && value >= 0, `${path}: ${value}`);
  assert.ok(after.loop.turns > before.loop.turns && after.loop.busySeconds > before.loop.busySeconds);
  assert.ok(after.javaScript.events > before.javaScript.events);
  for (const side of ['loop', 'javaScript'])
    assert.ok(after[side].processorSeconds >= during[side].processorSeconds, `${side}: a counter`);
});

it('both threads have their processor time', { skip: process.platform !== 'linux' }, async (t) => {
  const { connect } = support.plain(t, (app) => app.get('/*', (res) => res.end()));
  const peer = await connect();
  await peer.request(get('/'));
  const before = uWS.stats();
  const [began, used] = [Date.now(), process.cpuUsage()];
  while (process.cpuUsage(used).user < 200_000 && Date.now() - began < 10_000);
  const after = uWS.stats();
  const taken = after.javaScript.processorSeconds - before.javaScript.processorSeconds;
  assert.ok(taken > 0.1 && taken < 15, `${taken} s of JavaScript`);
  assert.ok(after.loop.processorSeconds > 0);
  assert.ok(after.loop.processorSeconds - before.loop.processorSeconds < taken, 'the loop had nothing to do');
});

it('the lag of JavaScript is seen, and that of the loop is small', async (t) => {
  const { connect } = support.plain(t, (app) => app.get('/*', (res) => res.end()));
  const peer = await connect();
  await peer.send(get('/'));
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000);
  const waiting = uWS.stats();
  assert.ok(waiting.queues.events >= 1, 'the request waits');
  assert.ok(waiting.javaScript.lagSeconds > 0.3, 'it is seen while it lasts');
  assert.equal((await peer.response()).code, 200);
  const { javaScript, loop, queues } = uWS.stats();
  assert.ok(javaScript.lagSeconds > 0.3 && javaScript.lagSeconds < 10, `${javaScript.lagSeconds} s`);
  assert.ok(loop.lagSeconds < 1, `${loop.lagSeconds} s`);
  assert.equal(queues.events, 0);
});

// ---- the types

it('index.d.ts declares these figures, all of them and no others', () => {
  const ts = require('typescript');
  const file = require('node:path').join(__dirname, '../../index.d.ts');
  const program = ts.createProgram([file], { strict: true, skipLibCheck: true, types: ['node'] });
  const checker = program.getTypeChecker();
  const exports = checker.getExportsOfModule(checker.getSymbolAtLocation(program.getSourceFile(file)));
  const paths = (type, prefix = '') =>
    type.getProperties().flatMap((property) => {
      const inner = checker.getTypeOfSymbol(property);
      const path = `${prefix}${property.name}`;
      return inner.flags & ts.TypeFlags.Number ? [path] : paths(inner, `${path}.`);
    });
  const declared = (name) =>
    paths(checker.getDeclaredTypeOfSymbol(exports.find((each) => each.name === name))).sort();
  const names = (stats) =>
    flat(stats)
      .map(([path]) => path)
      .sort();
  assert.deepEqual(declared('AppStats'), names(uWS.App().stats()));
  assert.deepEqual(declared('ProcessStats'), names(uWS.stats()));
});
