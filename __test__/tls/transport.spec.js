'use strict';
// Data over TLS: large and small, in both directions, with slow readers, and the ways in which a connection
// can end.

const https = require('node:https');
const tls = require('node:tls');
const net = require('node:net');
const crypto = require('node:crypto');
const { spawn } = require('node:child_process');
const { Duplex } = require('node:stream');
const {
  it,
  assert,
  Events,
  deferred,
  turn,
  WsPeer,
  certificate,
  secure,
  run,
  sClient,
  get,
  post,
  uWS,
  frame,
  upgradeRequest,
  CLOSE,
} = require('./support');

const MIB = 1 << 20;
const hash = (data) => crypto.createHash('sha256').update(Buffer.from(data)).digest('hex');

/** Opens a client of the `ws` package. */
async function wsClient(t, port, path = '/') {
  const { WebSocket } = require('ws');
  const client = new WebSocket(`wss://127.0.0.1:${port}${path}`, {
    rejectUnauthorized: false,
    perMessageDeflate: false,
  });
  t.after(() => client.terminate());
  await new Promise((resolve, reject) => client.once('open', resolve).once('error', reject));
  return client;
}

it('Node https over one connection kept alive', async (t) => {
  const { port } = secure(t, (app) =>
    app.any('/*', (res) => {
      let length = 0;
      res.onAborted(() => {});
      res.onData((chunk, last) => {
        length += chunk.byteLength;
        if (last) res.end(String(length));
      });
    }),
  );
  const agent = new https.Agent({ keepAlive: true, maxSockets: 1, rejectUnauthorized: false });
  t.after(() => agent.destroy());
  const ports = new Set();
  for (const size of [0, 1, 1000, 16384, 16385, 100000, 3 * MIB]) {
    const answer = await new Promise((resolve, reject) => {
      const request = https.request({ port, host: '127.0.0.1', method: 'POST', agent }, (response) => {
        ports.add(response.socket.localPort);
        let body = '';
        response
          .on('data', (data) => {
            body += data;
          })
          .on('end', () => resolve(body));
      });
      request.on('error', reject);
      request.end(Buffer.alloc(size, 1));
    });
    assert.equal(answer, String(size));
  }
  assert.equal(ports.size, 1);
});

it('ws over wss: messages of every size around a record, both ways', async (t) => {
  const { port } = secure(t, (app) =>
    app.ws('/*', {
      maxPayloadLength: 64 * MIB,
      maxBackpressure: 64 * MIB,
      message: (ws, message, isBinary) => {
        ws.send(message, isBinary);
      },
    }),
  );
  const client = await wsClient(t, port);
  const answers = new Events();
  client.on('message', (data) => answers.push(hash(data)));
  const sizes = [0, 1, 125, 126, 16383, 16384, 16385, 65535, 65536, 131072, MIB, 20 * MIB];
  const sent = sizes.map((size) => crypto.randomBytes(size));
  for (const data of sent) client.send(data);
  assert.deepEqual(await answers.count(sizes.length), sent.map(hash));
});

it('a large response to a slow reader arrives whole; onWritable tells when to go on', async (t) => {
  const piece = crypto.randomBytes(MIB);
  const total = 32 * MIB;
  const refused = deferred();
  const server = secure(t, (app) =>
    app.get('/', (res) => {
      let sent = 0;
      res.onAborted(() => {});
      const go = () => {
        while (sent < total) {
          const [ok, done] = res.tryEnd(piece.subarray(sent % MIB), total);
          if (done) return true;
          sent = res.getWriteOffset();
          if (!ok) {
            refused.resolve();
            return false;
          }
        }
        return true;
      };
      if (!go()) res.onWritable(go);
    }),
  );
  const peer = await server.connect();
  peer.pause();
  await peer.send(get('/'));
  await refused.promise;
  peer.resume();
  const answer = await peer.response();
  assert.equal(answer.raw.length, total);
  assert.equal(hash(answer.raw.subarray(total - MIB)), hash(piece));
});

it('backpressure of a socket: 0, then 2, drain, and nothing accepted is lost', async (t) => {
  const message = Buffer.alloc(MIB, 5);
  const opened = deferred();
  const events = new Events();
  const server = secure(t, (app) =>
    app.ws('/*', {
      maxBackpressure: 1024,
      open: (ws) => opened.resolve(ws),
      drain: (ws) => events.push(['drain', ws.getBufferedAmount()]),
      dropped: () => events.push(['dropped']),
    }),
  );
  const peer = await server.ws('/');
  const ws = await opened.promise;
  peer.pause();
  let accepted = 0;
  for (;;) {
    const answer = ws.send(message, true);
    if (answer === 2) break;
    accepted++;
    await turn();
    assert.ok(accepted < 200);
  }
  assert.ok(ws.getBufferedAmount() > 1024);
  assert.deepEqual(events.list, [['dropped']]);
  peer.resume();
  for (let i = 0; i < accepted; i++) assert.equal((await peer.frame()).data.length, MIB);
  await events.first(([name, left]) => name === 'drain' && left === 0);
  assert.equal(ws.send('after'), 1);
  assert.equal(await peer.message(), 'after');
});

it('a publish reaches plain and TLS subscribers of their apps alike', async (t) => {
  const behaviour = {
    open: (ws) => {
      ws.subscribe('news');
    },
  };
  const server = secure(t, (app) => app.ws('/*', behaviour));
  const peers = await Promise.all(Array.from({ length: 20 }, () => server.ws('/')));
  const large = 'x'.repeat(100000);
  while (server.app.numSubscribers('news') < 20) await turn();
  server.app.publish('news', 'small');
  server.app.publish('news', large);
  for (const peer of peers) assert.deepEqual([await peer.message(), await peer.message()], ['small', large]);
});

it('writes of one tick leave in one record', async (t) => {
  const server = secure(t, (app) =>
    app.get('/', (res) => {
      res.onAborted(() => {});
      res.write('a'.repeat(100));
      res.write('b'.repeat(100));
      res.end('c'.repeat(100));
    }),
  );
  const { output } = await sClient(server.port, ['-msg', '-tls1_2']);
  const records = output.match(/<<< TLS 1\.2, RecordHeader \[length 0005\]\n\s+17 03 03/g);
  assert.match(output, /a{100}[^]*b{100}[^]*c{100}/);
  assert.equal(records.length, 1);
});

it('pipelined requests in one record, and one request in many', async (t) => {
  const server = secure(t, (app) =>
    app.get('/:n', (res, req) => {
      res.end(req.getParameter(0));
    }),
  );
  const peer = await server.connect();
  await peer.send([1, 2, 3].map((n) => get(`/${n}`)).join(''));
  for (const n of ['1', '2', '3']) assert.equal((await peer.response()).body, n);
  await peer.sendPieces(get('/pieces'));
  assert.equal((await peer.response()).body, 'pieces');
});

it('openssl changes its key, alone and together with ours, and data goes on', async (t) => {
  const { port } = secure(t, (app) =>
    app.get('/*', (res, req) => {
      res.end(`answer ${req.getUrl()}`);
    }),
  );
  const child = spawn('openssl', ['s_client', '-connect', `127.0.0.1:${port}`, '-tls1_3']);
  t.after(() => child.kill('SIGKILL'));
  let output = '';
  let look = () => {};
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (data) => {
      output += data;
      look();
    });
  const seen = (pattern) =>
    new Promise((resolve) => {
      look = () => pattern.test(output) && resolve();
      look();
    });
  await seen(/Verify return code/);
  // k changes the key of the client; K asks the server to change its key, too.
  for (const [i, command] of ['k', 'K', 'K', 'k'].entries()) {
    output = '';
    child.stdin.write(`${command}\n`);
    await seen(/KEYUPDATE/);
    child.stdin.write(get(`/${i}`));
    await seen(new RegExp(`answer /${i}`));
  }
});

// ---- ends

it('the end is a close_notify, then FIN', async (t) => {
  const { port } = secure(t, (app) =>
    app.get('/*', (res) => {
      res.end('hello', true);
    }),
  );
  const { output } = await sClient(port, ['-msg']);
  assert.match(output, /<<< TLS 1\.3, Alert \[length 0002\], warning close_notify/);
});

it('close_notify follows a streamed body, however large its last part is', async (t) => {
  const { port } = secure(t, (app) =>
    app.get('/*', (res) => {
      res.write('first');
      res.end('x'.repeat(100_000), true);
    }),
  );
  const { output } = await sClient(port, ['-msg']);
  assert.match(output, /<<< TLS 1\.3, Alert \[length 0002\], warning close_notify/);
});

it('ws: the closing handshake over TLS, from either side', async (t) => {
  const closed = new Events();
  const { port } = secure(t, (app) =>
    app.ws('/*', {
      message: (ws) => {
        ws.end(4001, 'bye');
      },
      close: (ws, code, message) => closed.push([code, Buffer.from(message).toString()]),
    }),
  );
  const first = await wsClient(t, port);
  first.close(4000, 'from the client');
  await new Promise((resolve) => first.once('close', resolve));
  assert.deepEqual(await closed.count(1), [[4000, 'from the client']]);
  const second = await wsClient(t, port);
  second.send('x');
  const [code, reason] = await new Promise((resolve) => second.once('close', (...all) => resolve(all)));
  assert.deepEqual([code, reason.toString()], [4001, 'bye']);
});

it('half-closed and reset connections end what they were about', async (t) => {
  const events = new Events();
  const server = secure(t, (app) => {
    app.any('/pending', (res) => {
      events.push('request');
      res.onData(() => {});
      res.onAborted(() => events.push('aborted'));
    });
    app.ws('/*', {
      open: () => {
        events.push('open');
      },
      close: (ws, code) => {
        events.push(code);
      },
    });
  });
  for (const leave of ['halfClose', 'reset', 'destroy']) {
    for (const open of [
      () => server.ws('/'),
      async () => {
        const peer = await server.connect();
        await peer.send(post('/pending', 'x'));
        return peer;
      },
    ]) {
      const before = events.list.length;
      const peer = await open();
      await events.count(before + 1);
      peer[leave]();
      await events.count(before + 2);
    }
  }
  assert.deepEqual(events.list, Array(3).fill(['open', 1006, 'request', 'aborted']).flat());
});

it('messages and requests in one write with the close_notify behind them are all seen to', async (t) => {
  const events = new Events();
  const server = secure(t, (app) => {
    app.get('/large', new uWS.DeclarativeResponse().end('x'.repeat(60_000)));
    app.ws('/*', {
      message: (ws, message) => {
        events.push(Buffer.from(message).toString());
      },
      close: (ws, code) => {
        events.push(code);
      },
    });
  });
  /** A client that says `last` and that nothing follows in one write; returns what it receives. */
  const say = async (first, last) => {
    const raw = net.connect({ port: server.port, host: '127.0.0.1', allowHalfOpen: true });
    const held = [];
    let holds = false;
    const socket = new Duplex({
      read() {},
      write(chunk, encoding, done) {
        if (holds) held.push(chunk);
        else raw.write(chunk);
        done();
      },
    });
    raw.on('data', (chunk) => socket.push(chunk)).on('end', () => socket.push(null));
    const received = [];
    const client = tls.connect({ socket, rejectUnauthorized: false });
    t.after(() => raw.destroy());
    client.on('data', (chunk) => received.push(chunk));
    const ended = new Promise((resolve) => raw.once('end', resolve));
    await new Promise((resolve, reject) => client.once('secureConnect', resolve).once('error', reject));
    if (first) {
      client.write(first);
      await new Promise((resolve) => client.once('data', resolve));
    }
    holds = true;
    client.end(last);
    await new Promise((resolve) => socket.once('finish', resolve));
    raw.end(Buffer.concat(held));
    await ended;
    await turn();
    return Buffer.concat(received).toString('latin1');
  };
  // More messages than a turn takes of one connection.
  const messages = Array.from({ length: 500 }, (_, index) => `message ${index}`);
  await say(upgradeRequest('/'), Buffer.concat(messages.map((payload) => frame({ payload }))));
  await events.count(501);
  assert.deepEqual(events.list, [...messages, 1006]);
  // More answers than may wait for a connection before its next request is looked at.
  const answers = await say('', get('/large').repeat(9));
  assert.equal(answers.split('x'.repeat(60_000)).length, 10);
});

it('TCP cut without close_notify, in the middle of a record', async (t) => {
  const events = new Events();
  const server = secure(t, (app) =>
    app.ws('/*', {
      open: () => {
        events.push('open');
      },
      close: (ws, code) => {
        events.push(code);
      },
    }),
  );
  const proxy = net.createServer((client) => {
    const upstream = net.connect(server.port, '127.0.0.1');
    upstream.pipe(client);
    client.on('data', (data) => {
      if (events.list.length === 0) upstream.write(data);
      else upstream.end(data.subarray(0, data.length - 3));
    });
    for (const one of [client, upstream])
      one
        .on('error', () => {})
        .on('close', () => {
          client.destroy();
          upstream.destroy();
        });
  });
  await new Promise((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  t.after(() => proxy.close());
  const client = await wsClient(t, proxy.address().port);
  client.on('error', () => {});
  await events.count(1);
  client.send('cut');
  assert.deepEqual(await events.count(2), ['open', 1006]);
});

it('a record that has been tampered with ends the connection with an alert', async (t) => {
  const events = new Events();
  const server = secure(t, (app) =>
    app.ws('/*', {
      open: () => {
        events.push('open');
      },
      close: (ws, code) => {
        events.push(code);
      },
      message: () => {
        events.push('message');
      },
    }),
  );
  const proxy = net.createServer((client) => {
    const upstream = net.connect(server.port, '127.0.0.1');
    upstream.pipe(client);
    client.on('data', (data) => {
      if (events.list.length > 0) data[data.length - 1] ^= 1;
      upstream.write(data);
    });
    for (const one of [client, upstream])
      one
        .on('error', () => {})
        .on('close', () => {
          client.destroy();
          upstream.destroy();
        });
  });
  await new Promise((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  t.after(() => proxy.close());
  const peer = await WsPeer.open(proxy.address().port, '/', { tls: {} });
  const failure = new Promise((resolve) => peer.socket.once('error', (error) => resolve(error.code)));
  await events.count(1);
  await peer.text('tampered');
  assert.deepEqual(await events.count(2), ['open', 1006]);
  assert.equal(await failure, 'ERR_SSL_SSLV3_ALERT_BAD_RECORD_MAC');
});

it('a record that has been tampered with right behind a close frame: the end comes at once', async (t) => {
  const events = new Events();
  const server = secure(t, (app) =>
    app
      .filter((res, count) => count === -1 && events.push('gone'))
      .ws('/*', {
        close: (ws, code) => {
          events.push(code);
        },
      }),
  );
  const tampered = Buffer.from(`1703030020${'00'.repeat(32)}`, 'hex');
  const raw = net.connect(server.port, '127.0.0.1');
  t.after(() => raw.destroy());
  let isLast = false;
  // Both records have to arrive in one read, so the client writes to the socket through this.
  const between = new Duplex({
    read() {},
    write(chunk, encoding, done) {
      raw.write(isLast ? Buffer.concat([chunk, tampered]) : chunk, done);
    },
  });
  raw.on('data', (chunk) => between.push(chunk)).on('end', () => between.push(null));
  const socket = tls.connect({ socket: between, rejectUnauthorized: false });
  const failure = new Promise((resolve) => socket.once('error', (error) => resolve(error.code)));
  await new Promise((resolve) => socket.once('secureConnect', resolve));
  socket.write(upgradeRequest('/'));
  await new Promise((resolve) => socket.once('data', resolve));
  isLast = true;
  const began = Date.now();
  socket.write(frame({ opcode: CLOSE }));
  assert.deepEqual(await events.count(2), [1005, 'gone']);
  assert.equal(await failure, 'ERR_SSL_SSLV3_ALERT_BAD_RECORD_MAC');
  // The response timeout is 10 s: it is the peer's to take bytes, but none are left for it.
  assert.ok(Date.now() - began < 3000, `after ${Date.now() - began} ms`);
});

it('many connections at once', async (t) => {
  const server = secure(t, (app) =>
    app.get('/*', (res, req) => {
      res.end(req.getUrl());
    }),
  );
  const answers = await Promise.all(
    Array.from({ length: 200 }, async (_, i) => {
      const peer = await server.connect();
      const { body } = await peer.request(get(`/${i}`));
      peer.destroy();
      return body;
    }),
  );
  assert.deepEqual(
    answers,
    answers.map((_, i) => `/${i}`),
  );
});

it('app.close() ends TLS connections and handshakes alike', async (t) => {
  const server = secure(t, (app) => app.ws('/*', {}));
  const peer = await server.ws('/');
  const half = net.connect(server.port, '127.0.0.1');
  await new Promise((resolve) => half.on('connect', resolve));
  half.write(Buffer.from([0x16, 3, 1]));
  half.on('error', () => {});
  await turn();
  server.app.close();
  await Promise.all([peer.gone(), new Promise((resolve) => half.on('close', resolve))]);
  assert.ok(
    await new Promise((resolve) =>
      tls.connect({ port: server.port, host: '127.0.0.1' }).on('error', resolve),
    ),
  );
  assert.ok(certificate('localhost'));
});

const START = ['Host: localhost', 'Content-Length: 10', '', 'x'];
const WEBSOCKET = [
  'GET /ws HTTP/1.1',
  'Host: localhost',
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  '',
  '',
];
const GET_1_1 = ['GET /streamed HTTP/1.1', 'Host: localhost', '', ''];
const GET_1_0 = ['GET /streamed HTTP/1.0', 'Host: localhost', '', ''];

/**
 * The ways in which a server cuts a connection once the client has the start of a body, or a socket: the
 * bytes of the client, the action of the server, and whether openssl is told of the end. It must not be told
 * where the end of the connection delimits the body.
 */
const CUTS = {
  'res.close() in a chunked body': [GET_1_1, ({ res }) => res.close(), true],
  'app.close() in a chunked body': [GET_1_1, ({ app }) => app.close(), true],
  'a timeout in a chunked body': [['POST /streamed HTTP/1.1', ...START], () => {}, true],
  'res.close() in a body of a known length': [
    ['GET /known HTTP/1.1', 'Host: localhost', '', ''],
    ({ res }) => res.close(),
    true,
  ],
  'res.close() before an answer': [
    ['GET /nothing HTTP/1.1', 'Host: localhost', '', ''],
    ({ res }) => res.close(),
    true,
  ],
  'ws.close()': [WEBSOCKET, ({ ws }) => ws.close(), true],
  'app.close() with a WebSocket': [WEBSOCKET, ({ app }) => app.close(), true],
  'the end of an HTTP/1.0 body': [GET_1_0, ({ res }) => res.end('the end'), true],
  'res.close() in an HTTP/1.0 body': [GET_1_0, ({ res }) => res.close(), false],
  'app.close() in an HTTP/1.0 body': [GET_1_0, ({ app }) => app.close(), false],
  'a timeout in an HTTP/1.0 body': [['POST /streamed HTTP/1.0', ...START], () => {}, false],
};
for (const [name, [lines, cut, told]] of Object.entries(CUTS)) {
  it(`${name}: ${told ? 'close_notify' : 'no close_notify, since it would look whole'}`, async (t) => {
    const server = secure(t, (app) => {
      const later = (held) => setTimeout(() => cut({ app, ...held }), 50);
      const begin = {
        streamed: (res) => res.write('the start of a body'),
        known: (res) => res.tryEnd('the start of a body', 1000),
        nothing: () => {},
      };
      app
        .any('/:how', (res, req) => {
          // Otherwise the server would have to go on, and the client would have unlimited time.
          res.onAborted(() => {}).onData(() => {});
          begin[req.getParameter(0)](res);
          later({ res });
        })
        .ws('/ws', { open: (ws) => later({ ws }) });
      app.setIdleTimeout?.(1);
    });
    const { code, output } = await run(
      'openssl',
      ['s_client', '-connect', `127.0.0.1:${server.port}`, '-ign_eof', '-quiet'],
      lines.join('\r\n'),
    );
    assert.notEqual(code, null, 'it ends by itself');
    if (!lines.includes('GET /nothing HTTP/1.1')) assert.match(output, /the start of a body|101 Switching/);
    assert.equal(!/unexpected eof/.test(output), told, output);
  });
}
