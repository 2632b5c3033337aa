'use strict';
// The connections that use one slot of the loop after another must not affect each other: however a
// connection ends, and whatever JavaScript still asks of it, the next one is served completely and the loop
// does not spin.

const {
  it,
  assert,
  serve,
  uWS,
  get,
  upgradeRequest,
  Peer,
  WsPeer,
  turn,
  frame,
  closePayload,
} = require('../support');

const BODY = Buffer.alloc(3 << 20, 'the file ');
const LATE = Buffer.alloc(2 << 20, 'for nobody');
const KEEP = ['Connection: keep-alive'];
const old = (target) => get(target, KEEP).replace('HTTP/1.1', 'HTTP/1.0');
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Responses of 2 MiB that may come long after the client is gone. */
function late(res) {
  let gone = false;
  res.onAborted(() => (gone = true));
  setTimeout(() => gone || res.end(LATE), 100);
}

/** Streams a file as programs do; counts how often it is asked for more. */
function file(counts) {
  return (res) => {
    let calls = 0;
    res.onAborted(() => {});
    const [, done] = res.tryEnd(BODY, BODY.length);
    if (done) return;
    res.onWritable((offset) => {
      counts.push(++calls);
      return res.tryEnd(BODY.subarray(offset), BODY.length)[1];
    });
  };
}

/** By name: the routes, the bytes of a client, and its action after them. */
const ENDS = {
  'two requests of HTTP/1.0, the first answered in pieces': {
    routes: (app) => {
      app.get('/streamed', (res) => {
        res.onAborted(() => {});
        res.write('abc');
        res.end('d');
      });
      app.get('/late', late);
    },
    bytes: old('/streamed') + old('/late'),
  },
  'a response shorter than announced, with requests behind it': {
    routes: (app) => {
      app.get('/short', (res) => {
        res.onAborted(() => {});
        res.tryEnd('x', 100);
        res.end('y');
      });
      app.get('/late', late);
    },
    bytes: get('/short') + get('/late') + get('/late'),
  },
  'a response that closes, with requests behind it': {
    routes: (app) => {
      app.get('/close', (res) => res.end('x', true));
      app.get('/later', (res) => {
        res.onAborted(() => {});
        setTimeout(() => {
          try {
            res.writeHeader('Connection', 'close').end('x');
          } catch {
            // The response has been aborted meanwhile.
          }
        }, 20);
      });
      app.get('/late', late);
    },
    bytes: get('/later') + get('/late') + get('/close') + get('/late'),
  },
  'an upgrade with a request behind it': {
    routes: (app) => {
      app.ws('/ws', {
        upgrade(res, req, context) {
          res.upgrade({}, req.getHeader('sec-websocket-key'), '', '', context);
        },
        open: (ws) => ws.close(),
      });
      app.get('/late', late);
    },
    bytes: upgradeRequest('/ws') + get('/late'),
  },
  'messages sent while a WebSocket ends': {
    routes: (app) => {
      app.ws('/ws', {
        maxBackpressure: 0,
        open(ws) {
          ws.subscribe('a');
          ws.subscribe('b');
        },
        message: (ws, message) => {
          if (message.byteLength === 1) ws.close();
          else ws.end(1000, 'bye');
        },
        subscription(ws, topic, now, before) {
          if (now < before) for (let i = 0; i < 3; i++) ws.send(LATE, true);
        },
      });
    },
    bytes: upgradeRequest('/ws'),
    then: async (peer, n) => {
      await peer.until('\r\n\r\n');
      const ends = [
        () => peer.send(frame({ payload: 'x' })),
        () => peer.send(frame({ payload: 'xy' })),
        () => peer.send(frame({ opcode: 8, payload: closePayload(1000) })),
        () => peer.send(Buffer.from([0xf1, 0x80, 0, 0, 0, 0])),
        () => peer.halfClose(),
        () => peer.reset(),
      ];
      await ends[n % ends.length]();
    },
  },
  'a client that resets in the middle of a large response': {
    routes: (app) => {
      app.get('/large', (res) => {
        res.onAborted(() => {});
        res.write(LATE);
        setTimeout(() => {
          try {
            res.end(LATE);
          } catch {
            // The response has been aborted meanwhile.
          }
        }, 60);
      });
    },
    bytes: get('/large') + get('/large'),
    then: async (peer) => {
      peer.pause();
      await wait(30);
      peer.reset();
    },
  },
};

for (const [name, { routes, bytes, then }] of Object.entries(ENDS)) {
  it(`the next one in the slot is well after ${name}`, { timeout: 40000 }, async (t) => {
    const counts = [];
    const server = serve(t, (app) => {
      routes(app);
      app.get('/file', file(counts));
    });
    for (let round = 0; round < 3; round++) {
      const clients = await Promise.all(Array.from({ length: 6 }, () => server.connect()));
      await Promise.all(
        clients.map(async (peer, n) => {
          await peer.send(bytes);
          await then?.(peer, n);
        }),
      );
      await wait(60);
      for (const peer of clients) peer.destroy();
      // Late responses come both before and after other connections use the slots.
      if (round % 2) await wait(150);
      const next = await Promise.all(Array.from({ length: 6 }, () => server.connect()));
      const answers = await Promise.all(next.map((peer) => peer.request(get('/file'))));
      for (const { raw } of answers) assert.ok(raw.equals(BODY), `round ${round}`);
      for (const peer of next) peer.destroy();
      await wait(150);
    }
    assert.ok(
      Math.max(0, ...counts) < 300,
      `onWritable was called ${Math.max(0, ...counts)} times for one file`,
    );
  });
}

it('the next one in the slot is well after app.close()', { timeout: 40000 }, async (t) => {
  for (let round = 0; round < 3; round++) {
    const counts = [];
    const app = uWS.App();
    app.get('/late', late);
    app.get('/large', (res) => {
      res.onAborted(() => {});
      res.write(LATE);
    });
    app.ws('/ws', {
      maxBackpressure: 0,
      open: (ws) => ws.subscribe('a'),
      subscription: (ws, topic, now, before) => now < before && ws.send(LATE, true),
    });
    const listening = serve(t, () => {}, { app });
    const clients = await Promise.all(Array.from({ length: 6 }, () => Peer.connect(listening.port)));
    await Promise.all(
      clients.map((peer, n) => peer.send(n % 2 ? get('/large') + get('/late') : upgradeRequest('/ws'))),
    );
    await wait(50);
    app.close();
    const server = serve(t, (other) => other.get('/file', file(counts)));
    const next = await Promise.all(Array.from({ length: 6 }, () => server.connect()));
    const answers = await Promise.all(next.map((peer) => peer.request(get('/file'))));
    for (const { raw } of answers) assert.ok(raw.equals(BODY));
    assert.ok(
      Math.max(0, ...counts) < 300,
      `onWritable was called ${Math.max(0, ...counts)} times for one file`,
    );
    for (const peer of clients) peer.destroy();
  }
});

it('a WebSocket in the slot of a slow one begins with a clean account', { timeout: 20000 }, async (t) => {
  const results = [];
  const server = serve(t, (app) => {
    app.ws('/ws', {
      maxBackpressure: 1024,
      open(ws) {
        results.push([ws.getBufferedAmount(), ws.send('hello'), ws.getBufferedAmount()]);
        for (let i = 0; i < 40; i++) ws.send(LATE, true);
      },
    });
  });
  for (let round = 0; round < 8; round++) {
    const peer = await WsPeer.open(server.port, '/ws');
    peer.pause();
    await wait(30);
    peer.reset();
    await wait(30);
    await turn();
  }
  assert.deepEqual(results, Array(8).fill([0, 1, 0]));
});
