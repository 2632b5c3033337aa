'use strict';
// Every export and member of the real module exists here, and the reverse, except for the differences listed
// here.

const { it, assert, uWS, ours, v57, overTls, members, serve, get, Peer, Events } = require('../support');

/** The exports of 20.57, found by probing it. */
const EXPORTS = `App SSLApp H3App getString setString getInteger setInteger incInteger lock unlock getIntegerKeys getStringKeys deleteString deleteInteger
  deleteStringCollection deleteIntegerCollection setTimeout clearTimeout arm _cfg getParts us_listen_socket_close us_socket_local_port DISABLED
  SHARED_COMPRESSOR SHARED_DECOMPRESSOR DEDICATED_DECOMPRESSOR DEDICATED_COMPRESSOR DEDICATED_COMPRESSOR_3KB DEDICATED_COMPRESSOR_4KB
  DEDICATED_COMPRESSOR_8KB DEDICATED_COMPRESSOR_16KB DEDICATED_COMPRESSOR_32KB DEDICATED_COMPRESSOR_64KB DEDICATED_COMPRESSOR_128KB
  DEDICATED_COMPRESSOR_256KB DEDICATED_DECOMPRESSOR_32KB DEDICATED_DECOMPRESSOR_16KB DEDICATED_DECOMPRESSOR_8KB DEDICATED_DECOMPRESSOR_4KB
  DEDICATED_DECOMPRESSOR_2KB DEDICATED_DECOMPRESSOR_1KB DEDICATED_DECOMPRESSOR_512B LIBUS_LISTEN_EXCLUSIVE_PORT DeclarativeResponse`;
const MEMBERS = {
  app: `get post options del patch put head connect trace any listen close listen_unix filter removeChildAppDescriptor addChildAppDescriptor getDescriptor
    adoptSocket ws publish numSubscribers domain addServerName removeServerName missingServerName setIdleTimeout setResponseTimeout getIdleTimeout
    getResponseTimeout constructor`,
  res: `end writeStatus endWithoutBody tryEnd write writeHeader close onWritable onAborted onData getWriteOffset getRemoteAddress cork collect upgrade
    getRemoteAddressAsText getProxiedRemoteAddress getProxiedRemoteAddressAsText pause resume constructor`,
  req: 'getHeader getParameter getUrl getMethod getCaseSensitiveMethod getQuery forEach setYield constructor',
  ws: `sendFirstFragment sendFragment sendLastFragment getUserData send end close getBufferedAmount getRemoteAddress subscribe unsubscribe publish cork ping
    getRemoteAddressAsText isSubscribed getTopics constructor`,
};
/** Undocumented parts of that build which are missing here, so that asking for them fails visibly. */
const LESS = {
  exports: ['setTimeout', 'clearTimeout', 'arm'],
  app: [],
  res: [],
  req: [],
  ws: [],
};
/** Additional members of this module: from the types of the original, or from newer versions. */
const MORE = {
  exports: ['LIBUS_LISTEN_DEFAULT', 'ListenOptions', 'memoryBudget', 'stats'],
  app: ['invalidate', 'metrics', 'shutdown', 'stats'],
  res: [
    'beginWrite',
    'collectBody',
    'getProxiedRemotePort',
    'getRemotePort',
    'maxRemainingBodyLength',
    'onDataV2',
  ],
  req: ['getClientAddress'],
  ws: ['getRemotePort'],
};
const list = (text) => text.split(/\s+/).sort();

/** Methods that only an SSLApp has. */
const SECURE = { res: ' getX509Certificate' };

/** The expected names for the module under test. */
function expected(object, names) {
  const text = overTls ? names + (SECURE[object] ?? '') : names;
  if (!ours) return list(text);
  return [...list(text).filter((name) => !LESS[object].includes(name)), ...MORE[object]].sort();
}

const PEER = { skip: ours || v57 ? false : '20.30 is older' };

it('exports', PEER, () => {
  assert.deepEqual(Object.keys(uWS).sort(), expected('exports', EXPORTS));
});

for (const object of Object.keys(MEMBERS)) {
  it(`members of ${object}`, PEER, async () => {
    const found = [...(await members())[object]].sort();
    assert.deepEqual(found, expected(object, MEMBERS[object]));
  });
}

it('calling something out of scope says so', { skip: ours ? false : 'about ours' }, () => {
  assert.equal(uWS.H3App.name, 'H3App');
  assert.throws(() => uWS.H3App(), /^Error: uws-rs has no H3App: /);
});

it('_cfg is accepted and ignored', () => {
  for (const key of ['999999990007', 'x', '']) assert.equal(uWS._cfg(key), undefined);
});

// ---- timeouts of an app

it('timeouts are told and set', { skip: ours || v57 ? false : '20.30 has none' }, () => {
  const app = uWS.App();
  const before = app.getIdleTimeout();
  assert.equal(app.setIdleTimeout(20), app);
  assert.equal(app.setResponseTimeout(30), app);
  assert.deepEqual([app.getIdleTimeout(), app.getResponseTimeout()], [20, 30]);
  assert.equal(uWS.App().getIdleTimeout(), before, 'of that app alone');
  if (!ours) return;
  for (const bad of [-1, 1.5, NaN, 'x', 1e9, undefined])
    assert.throws(() => app.setIdleTimeout(bad), RangeError);
  assert.equal(app.getIdleTimeout(), 20);
});

const SECOND = 1000;
/** Returns how long the server keeps such a connection. */
async function lifetime(server, bytes) {
  const peer = await server.connect();
  const started = Date.now();
  if (bytes !== '') await peer.send(bytes);
  await peer.gone();
  return Date.now() - started;
}

it(
  'the idle timeout is for requests, the response timeout for what comes after',
  { skip: ours ? false : 'the original counts in steps of four seconds', timeout: 30000 },
  async (t) => {
    const server = serve(t, (app) => {
      app.setIdleTimeout(2).setResponseTimeout(5);
      app
        .get('/*', (res) => {
          res.end('x');
        })
        .post('/*', (res) => {
          res.onAborted(() => {});
          res.onData(() => {});
        });
    });
    const [fresh, partial, body, kept] = await Promise.all([
      lifetime(server, ''),
      lifetime(server, 'GET / HTTP/1.1\r\nHo'),
      lifetime(server, 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nab'),
      lifetime(server, get('/')),
    ]);
    for (const [name, time] of Object.entries({ fresh, partial, body }))
      assert.ok(time > 1.5 * SECOND && time < 4.5 * SECOND, `${name}: ${time} ms`);
    assert.ok(kept > 4.5 * SECOND && kept < 8 * SECOND, `after a response: ${kept} ms`);
  },
);

it('0 is no timeout', { skip: ours ? false : 'about ours', timeout: 30000 }, async (t) => {
  const server = serve(t, (app) => {
    app.setIdleTimeout(0).setResponseTimeout(0);
    app.get('/*', (res) => {
      res.end('x');
    });
  });
  const peers = [await server.connect(), await server.connect()];
  await peers[1].request(get('/'));
  await new Promise((resolve) => setTimeout(resolve, 13 * SECOND));
  for (const peer of peers) assert.equal((await peer.request(get('/'))).body, 'x');
});

// ---- PROXY protocol

const SIGNATURE = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');

function proxyV2(source, destination, ports, { command = 1, more = '' } = {}) {
  const parts = source.includes(':')
    ? {
        family: 0x21,
        bytes: (text) =>
          Buffer.from(
            text
              .split(':')
              .map((part) => part.padStart(4, '0'))
              .join(''),
            'hex',
          ),
      }
    : { family: 0x11, bytes: (text) => Buffer.from(text.split('.').map(Number)) };
  const port = Buffer.alloc(4);
  port.writeUInt16BE(ports[0], 0);
  port.writeUInt16BE(ports[1], 2);
  const body = Buffer.concat([parts.bytes(source), parts.bytes(destination), port, Buffer.from(more)]);
  const head = Buffer.from([0x20 | command, parts.family, body.length >> 8, body.length & 255]);
  return Buffer.concat([SIGNATURE, head, body]).toString('latin1');
}

const PROXIED = [
  ['v2 over IPv4', proxyV2('192.0.2.7', '198.51.100.1', [4711, 80]), '192.0.2.7', 4711, true],
  [
    'v2 over IPv6, with additions',
    proxyV2('2001:db8:0:0:0:0:0:1', '2001:db8:0:0:0:0:0:2', [50000, 443], { more: 'extra' }),
    '2001:0db8:0000:0000:0000:0000:0000:0001',
    50000,
    false,
  ],
  ['v2 LOCAL', proxyV2('192.0.2.7', '198.51.100.1', [1, 2], { command: 0 }), '', 0, false],
  ['v1 TCP4', 'PROXY TCP4 192.0.2.9 198.51.100.1 5000 80\r\n', '192.0.2.9', 5000, false],
  [
    'v1 TCP6',
    'PROXY TCP6 2001:db8::3 2001:db8::4 5001 80\r\n',
    '2001:0db8:0000:0000:0000:0000:0000:0003',
    5001,
    false,
  ],
  ['v1 UNKNOWN', 'PROXY UNKNOWN\r\n', '', 0, false],
  ['no header', '', '', 0, true],
];

for (const [name, header, address, port, inOriginal] of PROXIED) {
  it(
    `PROXY protocol ${name}`,
    { skip: ours || inOriginal ? false : 'the original knows version 2 without additions alone' },
    async (t) => {
      const seen = new Events();
      const server = serve(t, (app) =>
        app.get('/*', (res) => {
          const text = Buffer.from(res.getProxiedRemoteAddressAsText()).toString();
          seen.push({
            text,
            bytes: res.getProxiedRemoteAddress().byteLength,
            port: ours ? res.getProxiedRemotePort() : port,
            direct: Buffer.from(res.getRemoteAddressAsText()).toString(),
          });
          res.end('x');
        }),
      );
      const peer = await Peer.connect(server.port, { track: (each) => server.peers.add(each) });
      if (ours) await peer.sendPieces(header, 5);
      else if (header !== '') await peer.send(header);
      for (let i = 0; i < 2; i++) assert.equal((await peer.request(get('/'))).body, 'x');
      const [first, second] = await seen.count(2);
      assert.deepEqual(
        [first.text, first.port, first.bytes],
        [address, port, address === '' ? 0 : address.includes(':') ? 16 : 4],
      );
      assert.deepEqual(second, first, 'the same for every request of the connection');
      assert.match(first.direct, /127\.0\.0\.1|7f00:0001/);
    },
  );
}
