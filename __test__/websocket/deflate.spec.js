'use strict';
// permessage-deflate (RFC 7692): negotiation, messages in both directions, publishes, and errors and attacks
// of a peer.

const fs = require('node:fs');
const path = require('node:path');
const zlib = require('node:zlib');
const { spawn, spawnSync } = require('node:child_process');
const {
  it,
  assert,
  uWS,
  ours,
  serve,
  Events,
  frame,
  TEXT,
  BINARY,
  PING,
  PONG,
  CLOSE,
  onlyOurs,
} = require('../support');
const { keptFolder } = require('../kept');
const { DeflatePeer, random } = require('./deflate');

const COMPRESSORS = Object.keys(uWS).filter((name) => /^(SHARED|DEDICATED)_COMPRESSOR/.test(name));
const DECOMPRESSORS = Object.keys(uWS).filter((name) => /^(SHARED|DEDICATED)_DECOMPRESSOR/.test(name));
const INFLATION_ERROR = 'Received too big message, or other inflation error';

/** Creates text like that of an application: repetitive, and never the same twice. */
const json = (length, from = 0) => {
  let text = '';
  for (let id = from; text.length < length; id++)
    text += JSON.stringify({ id, name: `user ${(id * 7919) % 9973}`, tags: ['a', 'b'] });
  return text.slice(0, length);
};
const noise = (length, next = random(length + 7)) => Buffer.from(Array.from({ length }, () => next(256)));

/** Creates a server that echoes as requested, and records the ends of its sockets. */
function echo(t, options) {
  const events = new Events();
  const server = serve(t, (app) => {
    app.ws('/*', {
      maxPayloadLength: 1 << 20,
      maxBackpressure: 0,
      message(ws, message, isBinary) {
        ws.send(message, isBinary, true);
      },
      close(ws, code, reason) {
        events.push({ code, reason: Buffer.from(reason).toString() });
      },
      ...options,
    });
  });
  server.events = events;
  server.open = (offer, more) =>
    DeflatePeer.open(server.port, offer, { track: (peer) => server.peers.add(peer), ...more });
  return server;
}

async function exchange(peer, data, options) {
  await peer.send(await peer.compressed(data, options));
  const answer = await peer.received();
  assert.ok(
    answer.data.equals(Buffer.from(data)),
    `changed on the way: ${answer.data.length} of ${Buffer.byteLength(data)} bytes`,
  );
  return answer;
}

// ---- negotiation

const TAKEOVER = 'permessage-deflate; client_max_window_bits';

it('nothing is negotiated unless both sides want it', async (t) => {
  for (const [compression, offer] of [
    [uWS.DISABLED, TAKEOVER],
    [uWS.SHARED_COMPRESSOR, ''],
    [uWS.SHARED_COMPRESSOR, 'x-other'],
  ]) {
    const server = echo(t, { compression });
    const peer = await server.open(offer);
    assert.equal(peer.answer, undefined);
    await peer.text('plain');
    const answer = await peer.received();
    assert.deepEqual([answer.text, answer.compressed], ['plain', false]);
  }
});

it('an upgrade handler negotiates with the header it passes on', async (t) => {
  const server = echo(t, {
    compression: uWS.SHARED_COMPRESSOR,
    upgrade(res, req, context) {
      const wanted = req.getUrl() === '/none' ? '' : req.getHeader('sec-websocket-extensions');
      res.upgrade(
        {},
        req.getHeader('sec-websocket-key'),
        req.getHeader('sec-websocket-protocol'),
        wanted,
        context,
      );
    },
  });
  const peer = await server.open(TAKEOVER);
  assert.match(peer.answer, /^permessage-deflate; .*client_no_context_takeover.*server_no_context_takeover$/);
  await exchange(peer, 'through the handler');
});

it('the answers to 380 offers are as recorded from the original', { timeout: 60000 }, async (t) => {
  const rows = fs
    .readFileSync(path.join(__dirname, '../../testdata/handshake.txt'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => line.split('|').map((field) => field.trim()));
  const servers = new Map();
  for (const [options, offer, theirs, own] of rows) {
    if (!servers.has(options)) servers.set(options, echo(t, { compression: Number(options) }));
    const peer = await servers.get(options).open(offer);
    assert.equal(peer.answer ?? '-', !ours || own === '=' ? theirs : own, `${options}: ${offer}`);
    peer.destroy();
  }
});

const SAFARI = (version) =>
  `User-Agent: Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/${version} Safari/605.1.15`;
for (const upgrade of [
  undefined,
  (res, req, context) => {
    res.upgrade(
      {},
      req.getHeader('sec-websocket-key'),
      '',
      req.getHeader('sec-websocket-extensions'),
      context,
    );
  },
]) {
  it(`Safari 15.0 to 15.3 gets no compression, ${upgrade ? 'with' : 'without'} an upgrade handler`, async (t) => {
    const server = echo(t, { compression: uWS.SHARED_COMPRESSOR, upgrade });
    for (const [version, refused] of [
      ['15.0', true],
      ['15.3', true],
      ['15.4', false],
      ['14.1', false],
    ]) {
      const peer = await server.open(TAKEOVER, { headers: [SAFARI(version)] });
      assert.equal(peer.answer === undefined, refused, version);
    }
  });
}

const OFFERS = [
  'permessage-deflate',
  TAKEOVER,
  'permessage-deflate; client_no_context_takeover',
  'permessage-deflate; server_no_context_takeover',
  'permessage-deflate; client_max_window_bits=10',
  'permessage-deflate; server_max_window_bits=9',
  'permessage-deflate; client_max_window_bits=8; server_max_window_bits=12',
  'permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=15; client_max_window_bits=15',
];

for (const compressor of COMPRESSORS) {
  it(`${compressor} with every decompressor and offer: messages survive`, { timeout: 60000 }, async (t) => {
    for (const decompressor of DECOMPRESSORS) {
      const server = echo(t, { compression: uWS[compressor] | uWS[decompressor] });
      for (const offer of OFFERS) {
        const peer = await server.open(offer);
        assert.notEqual(peer.answer, undefined, `${decompressor}: ${offer}`);
        for (const text of ['Hello', 'Hello', json(900), json(5000), json(900)]) {
          const answer = await exchange(peer, text);
          assert.equal(answer.compressed, true);
        }
        peer.destroy();
      }
    }
  });
}

// ---- messages

it('a repeated message is a few bytes with a context and full size without', async (t) => {
  const text = json(600);
  const sizes = async (compression) => {
    const server = echo(t, { compression });
    const peer = await server.open('permessage-deflate');
    return [(await exchange(peer, text)).wire, (await exchange(peer, text)).wire];
  };
  const [first, second] = await sizes(uWS.SHARED_COMPRESSOR);
  assert.equal(first, second);
  for (const dedicated of [uWS.DEDICATED_COMPRESSOR_8KB, uWS.DEDICATED_COMPRESSOR_256KB]) {
    const [once, again] = await sizes(dedicated);
    assert.ok(again < once * 0.8, `${once} and then ${again}`);
  }
});

it('uncompressed messages between compressed ones', async (t) => {
  for (const compression of [
    uWS.SHARED_COMPRESSOR,
    uWS.DEDICATED_COMPRESSOR_4KB | uWS.DEDICATED_DECOMPRESSOR_4KB,
  ]) {
    const server = echo(t, {
      compression,
      message: (ws, message, isBinary) => {
        ws.send(message, isBinary, message.byteLength % 2 === 0);
      },
    });
    const peer = await server.open();
    for (const length of [10, 11, 400, 401, 12, 13]) {
      const text = json(length);
      await peer.send(length % 3 === 0 ? frame({ payload: text }) : await peer.compressed(text));
      const answer = await peer.received();
      assert.deepEqual([answer.text, answer.compressed], [text, length % 2 === 0]);
    }
  }
});

it('empty messages are never compressed, and may arrive so', async (t) => {
  const server = echo(t, { compression: uWS.SHARED_COMPRESSOR });
  const peer = await server.open();
  await peer.send(frame({ rsv: 4, payload: Buffer.from([0]) }));
  const answer = await peer.received();
  assert.deepEqual([answer.data.length, answer.compressed, answer.wire], [0, false, 0]);
});

it('control frames are never compressed', async (t) => {
  const server = echo(t, {
    compression: uWS.SHARED_COMPRESSOR,
    open(ws) {
      ws.ping('p'.repeat(100));
    },
    message: (ws) => {
      ws.end(4000, 'r'.repeat(100));
    },
  });
  const peer = await server.open();
  const ping = await peer.frame();
  assert.deepEqual([ping.opcode, ping.rsv, ping.text], [PING, 0, 'p'.repeat(100)]);
  await peer.ping('q'.repeat(100));
  const pong = await peer.frame();
  assert.deepEqual([pong.opcode, pong.rsv, pong.text], [PONG, 0, 'q'.repeat(100)]);
  await peer.send(await peer.compressed('end'));
  const close = await peer.frame();
  assert.deepEqual([close.opcode, close.rsv, close.code, close.text], [CLOSE, 0, 4000, 'r'.repeat(100)]);
});

it('text and binary of every size, in random fragments and pieces', { timeout: 60000 }, async (t) => {
  const next = random(20250101);
  for (const compression of [
    uWS.SHARED_COMPRESSOR | uWS.SHARED_DECOMPRESSOR,
    uWS.DEDICATED_COMPRESSOR_3KB | uWS.DEDICATED_DECOMPRESSOR_512B,
    uWS.DEDICATED_COMPRESSOR | uWS.DEDICATED_DECOMPRESSOR,
  ]) {
    const server = echo(t, { compression });
    const peer = await server.open();
    for (const length of [1, 2, 125, 126, 127, 1000, 8191, 8192, 8193, 32768, 65535, 65536, 200000]) {
      for (const data of [json(length), noise(length, next)]) {
        const binary = typeof data !== 'string';
        const cuts = Array.from({ length: next(4) }, () => next(length + 1));
        const bytes = await peer.compressed(data, { binary, cuts });
        for (let at = 0; at < bytes.length;) {
          const end = at + 1 + next(bytes.length);
          await peer.send(bytes.subarray(at, end));
          at = end;
        }
        const answer = await peer.received();
        assert.equal(answer.binary, binary);
        assert.ok(answer.data.equals(Buffer.from(data)), `${length} bytes`);
      }
    }
  }
});

it('a compressed message cut at each of its bytes', async (t) => {
  const server = echo(t, { compression: uWS.DEDICATED_COMPRESSOR_3KB | uWS.DEDICATED_DECOMPRESSOR_1KB });
  const peer = await server.open();
  for (let cut = 0; cut < 40; cut++) await exchange(peer, `grün 🌿 ${json(20, cut)}`, { cuts: [cut] });
  const bytes = await peer.compressed('byte by byte');
  await peer.sendPieces(bytes.toString('latin1'));
  assert.equal((await peer.received()).text, 'byte by byte');
});

it(
  'fragments are one compressed message when the first asks for it',
  onlyOurs('compressed-fragments'),
  async (t) => {
    const parts = ['', 'first ', 'first first ', '', 'last'];
    for (const compression of [
      uWS.SHARED_COMPRESSOR,
      uWS.DEDICATED_COMPRESSOR_4KB,
      uWS.DEDICATED_COMPRESSOR_256KB,
    ]) {
      for (const [first, others, compressed] of [
        [true, true, true],
        [true, false, true],
        [false, true, false],
      ]) {
        const server = echo(t, {
          compression,
          message(ws) {
            ws.sendFirstFragment('start ', false, first);
            for (const part of parts) ws.sendFragment(part, others);
            ws.sendLastFragment('', others);
            ws.send('whole', true, true);
          },
        });
        const peer = await server.open();
        for (let round = 0; round < 2; round++) {
          await peer.text('go');
          const message = await peer.received();
          assert.deepEqual([message.text, message.compressed], [`start ${parts.join('')}`, compressed]);
          const whole = await peer.received();
          assert.deepEqual([whole.text, whole.binary, whole.compressed], ['whole', true, true]);
        }
      }
    }
  },
);

it('a message handler is not needed to keep the context', async (t) => {
  const server = echo(t, {
    compression: uWS.DEDICATED_COMPRESSOR_4KB | uWS.DEDICATED_DECOMPRESSOR_4KB,
    message: undefined,
    ping(ws) {
      ws.send('still here', false, true);
    },
  });
  const peer = await server.open();
  for (let i = 0; i < 5; i++) await peer.send(await peer.compressed(json(700)));
  await peer.ping();
  const frames = [await peer.received(), await peer.received()];
  assert.ok(frames.some(({ text }) => text === 'still here'));
});

// ---- publishes

it('a publish reaches compressed and plain subscribers alike', async (t) => {
  const server = serve(t, (app) => {
    const behaviour = (compression) => ({
      compression,
      maxBackpressure: 0,
      open(ws) {
        ws.subscribe('t');
      },
      upgrade: undefined,
    });
    app
      .ws('/shared', behaviour(uWS.SHARED_COMPRESSOR))
      .ws('/small', behaviour(uWS.DEDICATED_COMPRESSOR_3KB))
      .ws('/large', behaviour(uWS.DEDICATED_COMPRESSOR));
    app.ws('/off', behaviour(uWS.DISABLED));
  });
  const offers = [
    ['/shared', TAKEOVER],
    ['/shared', 'permessage-deflate; server_max_window_bits=9'],
    ['/shared', TAKEOVER],
    ['/small', TAKEOVER],
    ['/large', TAKEOVER],
    ['/shared', ''],
    ['/off', TAKEOVER],
  ];
  const peers = await Promise.all(
    offers.map(async ([url, offer]) => {
      const peer = await openAt(server, url, offer);
      return { peer, compressed: peer.answer !== undefined };
    }),
  );
  assert.deepEqual(
    peers.map(({ compressed }) => compressed),
    [true, true, true, true, true, false, false],
  );
  await subscribed(server, 't', peers.length);
  const messages = [json(50), '', json(3000), json(3000), json(100000), noise(20000)];
  for (const compress of [true, false]) {
    for (const message of messages) {
      assert.equal(server.app.publish('t', message, typeof message !== 'string', compress), true);
      for (const { peer, compressed } of peers) {
        const got = await peer.received();
        assert.ok(got.data.equals(Buffer.from(message)), `${message.length} bytes`);
        assert.equal(got.compressed, compressed && compress && message.length > 0);
      }
    }
  }
});

/** `open` handlers run a little after the client knows of its upgrade. */
async function subscribed(server, topic, count) {
  while (server.app.numSubscribers(topic) < count) await new Promise((resolve) => setImmediate(resolve));
}

function openAt(server, url, offer) {
  return DeflatePeer.open(server.port, offer, { track: (peer) => server.peers.add(peer), url });
}

it('a publish of a socket skips it and keeps its context whole', async (t) => {
  const server = echo(t, {
    compression: uWS.DEDICATED_COMPRESSOR_4KB,
    open(ws) {
      ws.subscribe('t');
    },
    message(ws, message) {
      ws.publish('t', message, false, true);
      ws.send('sent', false, true);
    },
  });
  const [one, two] = [await server.open(), await server.open()];
  for (let i = 0; i < 4; i++) {
    await one.send(await one.compressed(json(500)));
    assert.equal((await one.received()).text, 'sent');
    assert.equal((await two.received()).text, json(500));
    await two.send(await two.compressed(json(300)));
    assert.equal((await two.received()).text, 'sent');
    assert.equal((await one.received()).text, json(300));
  }
});

it(
  'a compressed publish that a slow subscriber misses leaves its context usable',
  { timeout: 30000, skip: ours ? false : 'the original tells nobody of a publish that it drops' },
  async (t) => {
    let dropped = 0;
    const server = echo(t, {
      compression: uWS.DEDICATED_COMPRESSOR_8KB,
      maxBackpressure: 64 * 1024,
      idleTimeout: 0,
      open(ws) {
        ws.subscribe('t');
      },
      dropped() {
        dropped++;
      },
      message(ws) {
        ws.send('here', false, true);
      },
    });
    const peer = await server.open();
    peer.pause();
    const next = random(3);
    let sent = 0;
    while (dropped === 0 && sent < 2000) {
      server.app.publish('t', noise(20000, next), true, true);
      if (++sent % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    assert.ok(dropped > 0, 'some were dropped');
    peer.resume();
    await peer.text('?');
    for (;;) {
      const got = await peer.received();
      if (!got.binary) {
        assert.equal(got.text, 'here');
        break;
      }
      assert.equal(got.data.length, 20000);
    }
  },
);

// ---- malformed and malicious

async function refused(server, bytes, code) {
  const peer = await server.open();
  await peer.send(bytes instanceof Function ? await bytes(peer) : bytes);
  const frames = await peer.frames();
  const close = frames.find(({ opcode }) => opcode === CLOSE);
  if (ours) assert.equal(close?.code, code);
  return frames;
}

const MALFORMED = [
  ['a reserved block type', Buffer.from([0x06, 0xff])],
  ['a stored block whose lengths disagree', Buffer.from([0x00, 0x05, 0x00, 0x00, 0x00, 1, 2, 3, 4, 5])],
  ['a distance before the beginning', Buffer.from([0xf2, 0x00, 0x11, 0x00, 0x00])],
  ['a message cut short', Buffer.from([0xf2, 0x48, 0xcd]), onlyOurs('strict-deflate')],
];

for (const [name, payload, options = {}] of MALFORMED) {
  it(`${name} closes that connection only`, options, async (t) => {
    const server = echo(t, { compression: uWS.SHARED_COMPRESSOR });
    const witness = await server.open();
    await exchange(witness, 'before');
    await refused(server, frame({ rsv: 4, payload }), 1007);
    const closed = await server.events.first(({ code }) => code === 1006);
    assert.equal(closed.reason, INFLATION_ERROR);
    await exchange(witness, 'after');
  });
}

it('inflated text that is no UTF-8', async (t) => {
  const server = echo(t, { compression: uWS.SHARED_COMPRESSOR });
  for (const bad of [[0xff], [0x61, 0xc3], [0xed, 0xa0, 0x80]]) {
    await refused(server, (peer) => peer.compressed(Buffer.from(bad)), 1007);
  }
  const [first] = await server.events.count(3);
  assert.deepEqual(first, { code: 1006, reason: 'Received invalid UTF-8' });
  const peer = await server.open();
  await exchange(peer, Buffer.from([0xff]), { binary: true });
});

it('maxPayloadLength bounds what a message becomes, to the byte', async (t) => {
  const server = echo(t, { compression: uWS.SHARED_COMPRESSOR, maxPayloadLength: 10000 });
  const peer = await server.open();
  await exchange(peer, 'x'.repeat(10000));
  await refused(server, (other) => other.compressed('x'.repeat(10001)), 1009);
  assert.deepEqual((await server.events.count(1))[0], { code: 1006, reason: INFLATION_ERROR });
  await exchange(peer, 'y'.repeat(10000));
});

it('a bomb is defused, alone and among many', { timeout: 60000 }, async (t) => {
  const bomb = zlib
    .deflateRawSync(Buffer.alloc(64 << 20), { finishFlush: zlib.constants.Z_SYNC_FLUSH })
    .subarray(0, -4);
  const server = echo(t, {
    compression: uWS.SHARED_COMPRESSOR | uWS.DEDICATED_DECOMPRESSOR,
    maxPayloadLength: 1 << 20,
  });
  const witness = await server.open();
  const before = process.memoryUsage().rss;
  await Promise.all(
    Array.from({ length: 10 }, () => refused(server, frame({ opcode: BINARY, rsv: 4, payload: bomb }), 1009)),
  );
  const grown = (process.memoryUsage().rss - before) / 2 ** 20;
  assert.ok(grown < 200, `${grown.toFixed(0)} MiB more for ten bombs of 64 MiB`);
  assert.equal(
    (await server.events.count(10)).every(({ reason }) => reason === INFLATION_ERROR),
    true,
  );
  await exchange(witness, json(1000));
});

it(
  'many large messages in few bytes are taken in turn, none is lost',
  { skip: ours ? false : 'about the queue between our two threads' },
  async (t) => {
    const seen = [];
    const server = echo(t, {
      compression: uWS.SHARED_COMPRESSOR,
      maxPayloadLength: 16 << 20,
      message(ws, message) {
        seen.push(message.byteLength);
        if (seen.length === 60) ws.send('all', false, true);
      },
    });
    const peer = await server.open();
    const one = await peer.compressed(Buffer.alloc(4 << 20), { binary: true });
    const before = process.memoryUsage();
    await peer.send(Buffer.concat(Array.from({ length: 60 }, () => one)));
    peer.halfClose();
    await server.events.count(1);
    assert.equal(seen.length, 60);
    assert.ok(seen.every((length) => length === 4 << 20));
    assert.ok(process.memoryUsage().rss - before.rss < 300 << 20, 'the 240 MiB were never there at once');
  },
);

it(
  'RSV1 without negotiation, on a continuation or on a control frame is a violation',
  onlyOurs('strict-deflate'),
  async (t) => {
    const server = echo(t, { compression: uWS.SHARED_COMPRESSOR });
    const plain = await server.open('');
    await plain.send(frame({ rsv: 4, payload: Buffer.from([0]) }));
    await plain.gone();
    await refused(
      server,
      Buffer.concat([frame({ fin: false, payload: 'a' }), frame({ opcode: 0, rsv: 4, payload: 'b' })]),
      1002,
    );
    await refused(server, frame({ opcode: PING, rsv: 4 }), 1002);
    await refused(server, frame({ opcode: TEXT, rsv: 2 }), 1002);
    await server.events.count(4);
    assert.ok(server.events.list.every(({ code }) => code === 1006));
  },
);

// ---- clients of other authors

const WS_OPTIONS = [
  true,
  { serverNoContextTakeover: true },
  { clientNoContextTakeover: true },
  { clientMaxWindowBits: 9 },
  { serverMaxWindowBits: 10 },
  { clientMaxWindowBits: 12, serverMaxWindowBits: 12, serverNoContextTakeover: true },
];

it('the client of the ws package', { timeout: 60000 }, async (t) => {
  const WebSocket = require('ws');
  for (const compressor of ['SHARED_COMPRESSOR', 'DEDICATED_COMPRESSOR_4KB', 'DEDICATED_COMPRESSOR_256KB']) {
    for (const decompressor of [
      'SHARED_DECOMPRESSOR',
      'DEDICATED_DECOMPRESSOR_512B',
      'DEDICATED_DECOMPRESSOR_32KB',
    ]) {
      const server = echo(t, { compression: uWS[compressor] | uWS[decompressor] });
      for (const perMessageDeflate of WS_OPTIONS) {
        const client = new WebSocket(`ws://127.0.0.1:${server.port}`, {
          perMessageDeflate:
            perMessageDeflate === true ? { threshold: 0 } : { threshold: 0, ...perMessageDeflate },
        });
        await new Promise((resolve, reject) => {
          client.once('open', resolve);
          client.once('error', reject);
        });
        assert.match(client.extensions, /permessage-deflate/);
        for (const message of [json(1000), json(1000), noise(5000), json(70000), 'grün 🌿']) {
          const echoed = new Promise((resolve, reject) => {
            client.once('message', (data, binary) => resolve({ data, binary }));
            client.once('error', reject);
          });
          client.send(message);
          const { data, binary } = await echoed;
          assert.equal(binary, typeof message !== 'string');
          assert.ok(
            data.equals(Buffer.from(message)),
            `${compressor} ${decompressor} ${JSON.stringify(perMessageDeflate)}`,
          );
        }
        client.terminate();
      }
    }
  }
});

/** Finds a Python with `websockets`, installed once by pip; undefined where that is not possible. */
function python() {
  const home = keptFolder('uws-rs-python-websockets');
  const binary = path.join(home, 'bin', 'python');
  const works = () => spawnSync(binary, ['-c', 'import websockets.asyncio.client']).status === 0;
  if (fs.existsSync(binary) && works()) return binary;
  if (spawnSync('python3', ['-m', 'venv', home], { timeout: 60000 }).status !== 0) return undefined;
  spawnSync(path.join(home, 'bin', 'pip'), ['install', '-q', 'websockets'], { timeout: 120000 });
  return works() ? binary : undefined;
}

const PYTHON = `
import asyncio, sys
from websockets.asyncio.client import connect
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory as Factory

async def main():
    url, messages = sys.argv[1], ["Hello", "Hello", "gr\\u00fcn \\U0001f33f " * 200, bytes(range(256)) * 300, "x" * 100000, "Hello"]
    for bits in (None, 9, 10, 11, 12, 13, 14, 15):
        for client_takeover in (False, True):
            for server_takeover in (False, True):
                factory = Factory(server_no_context_takeover=server_takeover, client_no_context_takeover=client_takeover,
                                  server_max_window_bits=bits, client_max_window_bits=True if bits is None else bits)
                async with connect(url, extensions=[factory], compression=None) as ws:
                    names = [extension.name for extension in ws.protocol.extensions]
                    assert names == ["permessage-deflate"], names
                    for message in messages:
                        await ws.send(message)
                        assert await ws.recv() == message
    print("done")

asyncio.run(main())
`;

/** Each size of a dedicated compressor and decompressor once, and the shared ones. */
const PYTHON_SETTINGS = [
  ['SHARED_COMPRESSOR', 'SHARED_DECOMPRESSOR'],
  ['DEDICATED_COMPRESSOR_3KB', 'DEDICATED_DECOMPRESSOR_512B'],
  ['DEDICATED_COMPRESSOR_4KB', 'DEDICATED_DECOMPRESSOR_1KB'],
  ['DEDICATED_COMPRESSOR_8KB', 'DEDICATED_DECOMPRESSOR_2KB'],
  ['DEDICATED_COMPRESSOR_16KB', 'DEDICATED_DECOMPRESSOR_4KB'],
  ['DEDICATED_COMPRESSOR_32KB', 'DEDICATED_DECOMPRESSOR_8KB'],
  ['DEDICATED_COMPRESSOR_64KB', 'DEDICATED_DECOMPRESSOR_16KB'],
  ['DEDICATED_COMPRESSOR_128KB', 'DEDICATED_DECOMPRESSOR_32KB'],
  ['DEDICATED_COMPRESSOR_256KB', 'SHARED_DECOMPRESSOR'],
  ['SHARED_COMPRESSOR', 'DEDICATED_DECOMPRESSOR'],
];

it(
  "Python's websockets",
  {
    timeout: 600000,
    skip: ours ? false : 'the original does not answer server_max_window_bits, which this client insists on',
  },
  async (t) => {
    const binary = python();
    if (binary === undefined) return t.skip('pip could not install websockets');
    for (const names of PYTHON_SETTINGS) {
      const server = echo(t, { compression: names.reduce((sum, name) => sum | uWS[name], 0) });
      const run = await new Promise((resolve) => {
        const process_ = spawn(binary, ['-c', PYTHON, `ws://127.0.0.1:${server.port}/`]);
        let output = '';
        const timer = setTimeout(() => process_.kill('SIGKILL'), 120000);
        for (const stream of [process_.stdout, process_.stderr])
          stream.on('data', (data) => {
            output += data;
          });
        process_.on('close', (code) => {
          clearTimeout(timer);
          resolve({ code, output });
        });
      });
      assert.deepEqual(run, { code: 0, output: 'done\n' }, names.join());
    }
  },
);
