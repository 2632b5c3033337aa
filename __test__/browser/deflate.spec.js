'use strict';

// Compressed messages in Chromium: what it negotiates, what is sent over the wire, and that every byte
// arrives as it was sent.

const assert = require('node:assert/strict');
const net = require('node:net');
const { once } = require('node:events');
const { test } = require('node:test');
const { serve, uWS } = require('../support.js');
const { Deployment } = require('./stack.js');
const { openBrowser, openTab } = require('./tabs.js');

const it = (name, body, options) => test(name, { timeout: 120000, ...options }, body);

/**
 * A proxy between the browser and the server, which keeps the bytes of both directions on the connection that
 * became a WebSocket.
 */
class Tap {
  #connections = [];

  static async before(t, target) {
    const tap = new Tap();
    const server = net.createServer((near) => {
      const connection = { near, far: net.connect(target, '127.0.0.1'), sent: [], received: [] };
      tap.#connections.push(connection);
      tap.#join(near, connection.far, connection.sent);
      tap.#join(connection.far, near, connection.received);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    t.after(() => {
      server.close();
      for (const { near, far } of tap.#connections) (near.destroy(), far.destroy());
    });
    tap.port = server.address().port;
    return tap;
  }

  #join(from, to, record) {
    from.on('data', (chunk) => (record.push(chunk), to.write(chunk)));
    from.on('end', () => to.end());
    from.on('error', () => to.destroy());
  }

  /** Reads the messages of both directions, as { compressed, length }. */
  messages() {
    const upgraded = (chunks) => Buffer.concat(chunks).includes('101 Switching Protocols');
    const { sent, received } = this.#connections.find((each) => upgraded(each.received));
    return { sent: messagesIn(Buffer.concat(sent)), received: messagesIn(Buffer.concat(received)) };
  }
}

/**
 * Returns the bytes behind the head of the handshake. RSV1 of a message's first frame says that it is
 * compressed (RFC 7692 §6).
 */
function messagesIn(bytes) {
  const list = [];
  let message = null;
  for (let at = bytes.indexOf('\r\n\r\n') + 4; at + 2 <= bytes.length;) {
    const [first, second] = bytes.subarray(at);
    const [size, extra] = { 126: [2, 2], 127: [8, 8] }[second & 127] ?? [0, 0];
    const length =
      size === 2
        ? bytes.readUInt16BE(at + 2)
        : size === 8
          ? Number(bytes.readBigUInt64BE(at + 2))
          : second & 127;
    at += 2 + extra + (second & 128 ? 4 : 0) + length;
    if ((first & 15) >= 8) continue;
    message ??= { compressed: (first & 64) !== 0, length: 0 };
    message.length += length;
    if (first < 128) continue;
    list.push(message);
    message = null;
  }
  return list;
}

/** Runs in the page: sends each text, waits for its echo, and returns the echoes. */
async function echo({ port, texts }) {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/`);
  socket.binaryType = 'arraybuffer';
  const next = () => new Promise((resolve) => socket.addEventListener('message', resolve, { once: true }));
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onclose = () => reject(new Error('closed'));
  });
  const results = [];
  for (const text of texts) {
    const answers = [next()];
    socket.send(text);
    const same = (await answers[0]).data === text;
    const binary = next();
    const bytes = new TextEncoder().encode(text);
    socket.send(bytes);
    const back = new Uint8Array((await binary).data);
    results.push([
      text.length,
      same,
      back.length === bytes.length && back.every((byte, i) => byte === bytes[i]),
    ]);
  }
  // All are sent at once: each reply must be to its message.
  const replies = new Promise((resolve) => {
    const list = [];
    socket.addEventListener('message', ({ data }) => list.push(data) === texts.length && resolve(list));
  });
  for (const text of texts) socket.send(text);
  const inOrder = (await replies).every((text, i) => text === texts[i]);
  return { extensions: socket.extensions, results, inOrder };
}

/**
 * Texts like those of programs, of sizes around those where a frame's length or a buffer changes; no two are
 * alike.
 */
const TEXTS = [1, 100, 125, 126, 1000, 4096, 16384, 65535, 65536, 100000, 1 << 20].map((size) => {
  const entry = (n) =>
    `{"id":${n},"name":"Größe ${(n * 7919) % 1000}","tags":["a${n % 17}","b${n % 5}"],"n":${size}}`;
  let text = '';
  for (let n = 0; text.length < size; n++) text += `${entry(n)},`;
  return text.slice(0, size);
});

const { SHARED_COMPRESSOR: SHARED, SHARED_DECOMPRESSOR, DEDICATED_DECOMPRESSOR } = uWS;
const SETTINGS = {
  SHARED_COMPRESSOR: SHARED,
  'SHARED_COMPRESSOR | SHARED_DECOMPRESSOR': SHARED | SHARED_DECOMPRESSOR,
  DEDICATED_COMPRESSOR_4KB: uWS.DEDICATED_COMPRESSOR_4KB,
  'DEDICATED_COMPRESSOR | DEDICATED_DECOMPRESSOR': uWS.DEDICATED_COMPRESSOR | DEDICATED_DECOMPRESSOR,
  'DEDICATED_COMPRESSOR_64KB | DEDICATED_DECOMPRESSOR_512B':
    uWS.DEDICATED_COMPRESSOR_64KB | uWS.DEDICATED_DECOMPRESSOR_512B,
};

for (const [name, compression] of Object.entries(SETTINGS)) {
  it(`echo of texts and data up to 1 MiB: ${name}`, async (t) => {
    const server = serve(t, (app) =>
      app
        .get('/*', (res) => res.writeHeader('content-type', 'text/html').end('<title>echo</title>'))
        .ws('/*', {
          compression,
          maxPayloadLength: 4 << 20,
          maxBackpressure: 64 << 20,
          message: (ws, message, binary) => void ws.send(message, binary, true),
        }),
    );
    const tap = await Tap.before(t, server.port);
    const { page, complaints } = await openTab(await openBrowser(t), `http://127.0.0.1:${server.port}/page`);
    const { extensions, results, inOrder } = await page.evaluate(echo, { port: tap.port, texts: TEXTS });
    assert.match(extensions, /^permessage-deflate/);
    assert.deepEqual(
      results,
      TEXTS.map((text) => [text.length, true, true]),
    );
    assert.equal(inOrder, true);
    const { sent, received } = tap.messages();
    const sizes = [...TEXTS.flatMap((text) => [text, text]), ...TEXTS].map((text) => Buffer.byteLength(text));
    for (const messages of [sent, received]) {
      assert.equal(messages.length, sizes.length);
      for (const [i, { compressed, length }] of messages.entries()) {
        if (sizes[i] >= 1000) assert.ok(compressed && length < sizes[i] / 2, `${length} for ${sizes[i]}`);
      }
    }
    assert.deepEqual(complaints, []);
  });
}

it('the live page with the adapter told to compress', async (t) => {
  const deployment = new Deployment(t);
  deployment.configure('compression', true);
  const server = await deployment.start();
  const tap = await Tap.before(t, server.port);
  const browser = await openBrowser(t);
  const urls = [`http://127.0.0.1:${tap.port}/live`, `${server.url}/live`];
  const tabs = await Promise.all(urls.map((url) => openTab(browser, url)));
  const [a, b] = tabs.map((tab) => tab.room);
  await Promise.all([a.connected(), b.connected()]);
  await b.say('Compressed or not');
  await Promise.all([a.hears('Compressed or not'), b.hears('Compressed or not')]);
  await a.more();
  await b.counts(1);
  // The adapter publishes without compression, whatever was negotiated.
  const { sent } = tap.messages();
  assert.ok(sent.length > 0 && sent.every(({ compressed }) => compressed));
  for (const { complaints } of tabs) assert.deepEqual(complaints, []);
});
