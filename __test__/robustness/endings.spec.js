'use strict';
// A connection ends after its last byte, however slowly the client reads it, and whatever the client still
// sends.

const { it, assert, serve, get, post, upgradeRequest, frame, uWS } = require('../support');

const SIZE = 24 << 20;
const BODY = Buffer.alloc(SIZE, 'the last bytes count as much as the first');
const PER_SECOND = 4 << 20;
const old = (target) => get(target).replace('HTTP/1.1', 'HTTP/1.0');

/** Reads everything until the end, at so many bytes per second. */
async function readSlowly(peer) {
  const parts = [];
  const began = Date.now();
  let size = 0;
  peer.socket.removeAllListeners('data');
  peer.socket.on('data', (chunk) => {
    parts.push(chunk);
    size += chunk.length;
    const ahead = (size / PER_SECOND) * 1000 - (Date.now() - began);
    if (ahead <= 5) return;
    peer.pause();
    setTimeout(() => peer.resume(), ahead);
  });
  peer.resume();
  return { end: await peer.gone(), bytes: Buffer.concat(parts) };
}

/** Requests after which the connection closes. */
const ENDS = {
  'Connection: close of the client': get('/', ['Connection: close']),
  'end(body, true)': get('/close'),
  'a header of the program': get('/header'),
  'HTTP/1.0': old('/'),
  'HTTP/1.0, streamed': old('/streamed'),
  'chunks and end(…, true)': get('/chunks'),
  'a WebSocket that is ended': upgradeRequest('/ws'),
};

function routes(app) {
  app.get('/', (res) => res.end(BODY));
  app.get('/close', (res) => res.end(BODY, true));
  app.get('/header', (res) => res.writeHeader('Connection', 'close').end(BODY));
  app.get('/streamed', (res) => {
    res.onAborted(() => {});
    res.write(BODY.subarray(0, 1000));
    res.end(BODY.subarray(1000));
  });
  app.get('/chunks', (res) => {
    res.onAborted(() => {});
    res.write(BODY);
    res.end('', true);
  });
  app.ws('/ws', {
    maxBackpressure: 0,
    open(ws) {
      ws.send(BODY, true);
      ws.end(1000, 'bye');
    },
  });
}

it('a slow reader gets every byte of a connection that closes', { timeout: 60000 }, async (t) => {
  const server = serve(t, routes);
  await Promise.all(
    Object.entries(ENDS).map(async ([name, bytes]) => {
      const peer = await server.connect();
      peer.pause();
      await peer.send(bytes);
      const { end, bytes: got } = await readSlowly(peer);
      assert.equal(end, 'fin', name);
      // The data is sent in one or more chunks, with the framing between them.
      const at = got.indexOf(BODY.subarray(0, 1000));
      assert.ok(at > 0, name);
      assert.ok(got.subarray(at).length >= SIZE, `${name}: ${got.length} of ${SIZE}`);
      if (!name.includes('chunks')) assert.ok(got.subarray(at, at + SIZE).equals(BODY), name);
      if (name.includes('WebSocket')) assert.equal(got.subarray(-3).toString(), 'bye');
    }),
  );
});

it('a reader that stops for good is given up', { timeout: 60000 }, async (t) => {
  let gone = 0;
  const app = uWS.App();
  app.setResponseTimeout?.(2);
  app.filter?.((res, count) => count === -1 && gone++);
  const server = serve(t, () => {}, { app });
  routes(app);
  const peers = await Promise.all(Object.values(ENDS).map(() => server.connect()));
  await Promise.all(
    Object.values(ENDS).map((bytes, i) => {
      peers[i].pause();
      return peers[i].send(bytes);
    }),
  );
  for (const end = Date.now() + 15000; gone < peers.length && Date.now() < end;) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.equal(gone, peers.length);
});

it('a client that goes on sending gets the response that closes, whole', { timeout: 60000 }, async (t) => {
  const server = serve(t, (app) => {
    routes(app);
    app.post('/early', (res) => res.end(BODY.subarray(0, 6 << 20), true));
    app.get('/small', (res) => res.end('small', true));
    app.get('/refused', (res) => res.end());
  });
  const more = {
    '/close': [get('/close'), get('/close'), SIZE],
    '/': [get('/', ['Connection: close']), get('/'), SIZE],
    'small ones': [get('/small'), get('/small').repeat(20), 5],
    'a body that is not read': [post('/early', 'x'.repeat(10)).slice(0, -10), 'x'.repeat(5000), 6 << 20],
    'a request that is refused': ['BROKEN\r\n\r\n', get('/refused').repeat(50), 10],
    'a WebSocket': [upgradeRequest('/ws'), frame({ payload: 'more' }).toString('latin1'), SIZE],
  };
  await Promise.all(
    Object.entries(more).map(async ([name, [first, rest, size]]) => {
      const peer = await server.connect();
      await peer.send(first);
      const timer = setInterval(() => peer.socket.write(rest, 'latin1'), 3);
      const got = (await peer.rest()).length;
      clearInterval(timer);
      assert.equal(peer.state, 'fin', name);
      assert.ok(got >= size, `${name}: ${got} of ${size}`);
    }),
  );
});
