'use strict';
const {
  it,
  assert,
  serve,
  uWS,
  ours,
  get,
  has,
  differs,
  onlyOurs,
  text,
  Peer,
  deferred,
  turn,
} = require('../support');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const hex = (data) => Buffer.from(data).toString('hex');
const MAPPED = ['00000000000000000000ffff7f000001', '0000:0000:0000:0000:0000:ffff:7f00:0001'];
const six = Object.values(os.networkInterfaces())
  .flat()
  .some((address) => address.address === '::1')
  ? false
  : 'no IPv6 here';

/** Answers with all addresses that the response knows. */
const telling = (t) =>
  serve(t, (app) =>
    app.get('/*', (res) => {
      res.end(
        JSON.stringify([
          hex(res.getRemoteAddress()),
          text(res.getRemoteAddressAsText()),
          hex(res.getProxiedRemoteAddress()),
          text(res.getProxiedRemoteAddressAsText()),
        ]),
      );
    }),
  );
const told = async (peer, before = '') =>
  JSON.parse((await peer.request(Buffer.concat([Buffer.from(before), Buffer.from(get('/'))]))).body);

it('IPv4 on a dual-stack listen socket: 16 bytes, the text fully written out', async (t) => {
  const server = telling(t);
  assert.deepEqual(await told(await server.connect()), [...MAPPED, '', '']);
});

it('IPv6', { skip: six }, async (t) => {
  const server = telling(t);
  assert.deepEqual(await told(await server.connect({ host: '::1' })), [
    '00000000000000000000000000000001',
    '0000:0000:0000:0000:0000:0000:0000:0001',
    '',
    '',
  ]);
});

it('IPv4 on an IPv4 listen socket: 4 bytes, dotted', async (t) => {
  const server = telling(t);
  let port;
  server.app.listen('127.0.0.1', 0, (token) => {
    port = uWS.us_socket_local_port(token);
  });
  const peer = await Peer.connect(port);
  assert.deepEqual(await told(peer), ['7f000001', '127.0.0.1', '', '']);
  peer.destroy();
});

it('on a unix socket there is no address', async (t) => {
  const server = telling(t);
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'uws-'));
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  const file = path.join(folder, 's');
  server.app.listen_unix(() => {}, file);
  const peer = await Peer.connect(file);
  assert.deepEqual(await told(peer), ['', '', '', '']);
  peer.destroy();
});

it('addresses are ArrayBuffers', async (t) => {
  const types = [];
  const server = serve(t, (app) =>
    app.get('/*', (res) => {
      for (const name of [
        'getRemoteAddress',
        'getRemoteAddressAsText',
        'getProxiedRemoteAddress',
        'getProxiedRemoteAddressAsText',
      ])
        types.push(Object.prototype.toString.call(res[name]()));
      res.end();
    }),
  );
  await server.once(get('/'));
  assert.deepEqual(new Set(types), new Set(['[object ArrayBuffer]']));
});

it('the addresses of a WebSocket', async (t) => {
  const seen = deferred();
  const server = serve(t, (app) =>
    app.ws('/*', {
      open(ws) {
        seen.resolve([hex(ws.getRemoteAddress()), text(ws.getRemoteAddressAsText())]);
      },
    }),
  );
  await server.ws('/');
  assert.deepEqual(await seen.promise, MAPPED);
});

// Section 3 of what changed after 20.57, of which there is no binary to run.
it(
  'the address of a WebSocket by binary and text, also long after',
  onlyOurs('socket-address'),
  async (t) => {
    const opened = deferred();
    const server = serve(t, (app) => app.ws('/*', { open: opened.resolve }));
    await server.ws('/');
    const ws = await opened.promise;
    for (let i = 0; i < 3; i++) {
      assert.deepEqual([hex(ws.getRemoteAddress()), text(ws.getRemoteAddressAsText())], MAPPED);
      await turn();
    }
  },
);

it('addresses are still known after an await', async (t) => {
  const server = serve(t, (app) =>
    app.get('/*', async (res) => {
      res.onAborted(() => {});
      await turn();
      const address = text(res.getRemoteAddressAsText());
      res.cork(() => {
        res.end(address);
      });
    }),
  );
  assert.equal((await server.once(get('/'))).body, MAPPED[1]);
});

it('getRemotePort of a response and a WebSocket', async (t) => {
  if (!(await has(t, 'res', 'getRemotePort'))) return;
  const seen = deferred();
  const server = serve(t, (app) =>
    app
      .get('/*', (res) => {
        res.end(String(res.getRemotePort()));
      })
      .ws('/ws', {
        open(ws) {
          seen.resolve(ws.getRemotePort());
        },
      }),
  );
  const peer = await server.connect();
  assert.equal((await peer.request(get('/'))).body, String(peer.socket.localPort));
  const socket = await server.ws('/ws');
  assert.equal(await seen.promise, socket.socket.localPort);
});

const SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex');
function proxyHeader(family, addresses, command = 0x21) {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(addresses.length);
  return Buffer.concat([SIGNATURE, Buffer.from([command, family]), length, addresses]);
}
const V4 = Buffer.from([1, 2, 3, 4, 5, 6, 7, 8, 0x12, 0x34, 0, 80]);
const V6 = Buffer.concat([
  Buffer.from('20010db8000000000000000000000001', 'hex'),
  Buffer.from('20010db8000000000000000000000002', 'hex'),
  Buffer.from([0x12, 0x34, 0, 80]),
]);
const PROXIED_V4 = [...MAPPED, '01020304', '1.2.3.4'];

it('PROXY protocol v2, IPv4', async (t) => {
  const server = telling(t);
  assert.deepEqual(await told(await server.connect(), proxyHeader(0x11, V4)), PROXIED_V4);
});

it('PROXY protocol v2, IPv6', async (t) => {
  const server = telling(t);
  assert.deepEqual(await told(await server.connect(), proxyHeader(0x21, V6)), [
    ...MAPPED,
    '20010db8000000000000000000000001',
    '2001:0db8:0000:0000:0000:0000:0000:0001',
  ]);
});

it('PROXY protocol v2, LOCAL: no proxied address', async (t) => {
  const server = telling(t);
  assert.deepEqual(await told(await server.connect(), proxyHeader(0, Buffer.alloc(0), 0x20)), [
    ...MAPPED,
    '',
    '',
  ]);
});

it('PROXY protocol v2 with further fields behind the addresses', async (t) => {
  const server = telling(t);
  assert.deepEqual(
    await told(await server.connect(), proxyHeader(0x11, Buffer.concat([V4, Buffer.from([4, 0, 1, 0])]))),
    PROXIED_V4,
  );
});

it('the proxied address stays for the later requests of the connection', async (t) => {
  const server = telling(t);
  const peer = await server.connect();
  assert.deepEqual(await told(peer, proxyHeader(0x11, V4)), PROXIED_V4);
  assert.deepEqual(await told(peer), PROXIED_V4);
  assert.deepEqual(await told(await server.connect()), [...MAPPED, '', '']);
});

it('a PROXY header that comes byte by byte', async (t) => {
  const server = telling(t);
  const peer = await server.connect();
  await peer.sendPieces(Buffer.concat([proxyHeader(0x11, V4), Buffer.from(get('/'))]).toString('latin1'), 1);
  assert.deepEqual(JSON.parse((await peer.response()).body), PROXIED_V4);
});

// Section 6 of what changed after 20.57: a PROXY header may precede any request of a connection, and the
// first one counts. In 20.57 it is the last, and no binary is newer.
const OTHER_V4 = Buffer.from([9, 9, 9, 9, 5, 6, 7, 8, 0x12, 0x34, 0, 80]);

it(
  'of two PROXY headers in front of a request the first counts',
  onlyOurs('two-proxy-headers'),
  async (t) => {
    const server = telling(t);
    const both = Buffer.concat([proxyHeader(0x11, V4), proxyHeader(0x11, OTHER_V4)]);
    assert.deepEqual(await told(await server.connect(), both), PROXIED_V4);
  },
);

it('a PROXY header in front of the second request', async (t) => {
  const server = telling(t);
  const peer = await server.connect();
  assert.deepEqual(await told(peer, proxyHeader(0x11, V4)), PROXIED_V4);
  const [, , , address] = await told(peer, proxyHeader(0x11, OTHER_V4));
  assert.equal(address, differs('second-proxy-header', { original: '9.9.9.9', ours: '1.2.3.4' }));
});

it('a PROXY header in front of the second request alone', async (t) => {
  const server = telling(t);
  const peer = await server.connect();
  assert.deepEqual(await told(peer), [...MAPPED, '', '']);
  assert.deepEqual(await told(peer, proxyHeader(0x11, V4)), PROXIED_V4);
});

it('LOCAL and UNSPEC say that nobody is known, and what follows does not change it', async (t) => {
  for (const [family, command, addresses] of [
    [0x11, 0x20, V4],
    [0, 0x21, Buffer.alloc(0)],
  ]) {
    const server = telling(t);
    const peer = await server.connect();
    const first = (await told(peer, proxyHeader(family, addresses, command)))[3];
    const ofLocal = differs('local-proxy-header', { original: '1.2.3.4', ours: '' });
    assert.equal(first, command === 0x20 ? ofLocal : '');
    if (!ours) continue;
    assert.equal((await told(peer, proxyHeader(0x11, OTHER_V4)))[3], '');
  }
});

it('a bad PROXY header is not served', async (t) => {
  const server = telling(t);
  const peer = await server.connect();
  const bad = proxyHeader(0x11, V4);
  bad[12] = 0x11; // version 1
  await peer.send(Buffer.concat([bad, Buffer.from(get('/', ['Connection: close']))]));
  for (let i = 0; i < 20; i++) await turn();
  assert.doesNotMatch(peer.bytes().toString('latin1'), /200 OK/);
});

it('getProxiedRemotePort', async (t) => {
  if (!(await has(t, 'res', 'getProxiedRemotePort'))) return;
  const server = serve(t, (app) =>
    app.get('/*', (res) => {
      res.end(String(res.getProxiedRemotePort()));
    }),
  );
  const peer = await server.connect();
  await peer.send(Buffer.concat([proxyHeader(0x11, V4), Buffer.from(get('/'))]));
  const port = differs('proxied-port', { original: 0x3412, ours: 0x1234 });
  assert.equal((await peer.response()).body, String(port));
});
