'use strict';

// The memory of a connection, by what it has negotiated: 1,000 WebSockets after one message and its echo; and
// the growth by 1,000 more that have had 64 KiB each way, when the windows of dedicated compressors are full.
// It is the growth, because the first of these also make the server's heaps as large as they have to be. The
// clients are in this process.

const net = require('net');
const tls = require('tls');
const zlib = require('zlib');

const CONNECTIONS = 1000;
/**
 * These are opened and closed before: memory that a server allocates once does not belong to a connection.
 */
const WARM_UP = 50;
const AT_ONCE = 50;
const KIB = 1024;
const MESSAGES = 16;

const REQUEST =
  'GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n' +
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n';
const OFFER = 'Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n';

/** Creates JSON of about `size` bytes, no two messages alike. */
const text = (size, number) => {
  let all = '';
  for (let n = 0; all.length < size; n += 1) all += `{"id":${number * 7919 + n},"name":"Item ${n % 97}"},`;
  return Buffer.from(all.slice(0, size));
};

/** Builds a masked text frame; compressed within the smallest window, which any server can decompress. */
const frame = (content, deflated) => {
  const payload = deflated
    ? zlib
        .deflateRawSync(content, { windowBits: 9, finishFlush: zlib.constants.Z_SYNC_FLUSH })
        .subarray(0, -4)
    : content;
  const head = Buffer.alloc(payload.length < 126 ? 6 : 8);
  head[0] = deflated ? 0xc1 : 0x81;
  head[1] = 0x80 | (payload.length < 126 ? payload.length : 126);
  // With a mask of zeros the payload is unchanged.
  if (payload.length >= 126) head.writeUInt16BE(payload.length, 2);
  return Buffer.concat([head, payload]);
};

/** A client that counts the messages it gets. */
class Client {
  #buffer = Buffer.alloc(0);
  #upgraded = false;
  #messages = 0;
  #waiting = null;

  constructor(port, { secure, deflate }) {
    const where = { port, host: '127.0.0.1', rejectUnauthorized: false };
    this.socket = secure ? tls.connect(where) : net.connect(where);
    this.socket.on('data', (data) => this.#take(data));
    this.ended = new Promise((_, reject) => {
      this.socket.on('error', reject);
      this.socket.on('close', () => reject(new Error('a connection was closed')));
    });
    this.ended.catch(() => {});
    this.socket.once(secure ? 'secureConnect' : 'connect', () =>
      this.socket.write(`${REQUEST}${deflate ? OFFER : ''}\r\n`),
    );
    this.deflate = deflate;
  }

  /** Sends and waits until as many messages have come back. */
  async exchange(frames) {
    const target = this.#messages + frames.length;
    for (const each of frames) {
      if (this.#upgraded) this.socket.write(each);
      else this.socket.once('upgraded', () => this.socket.write(each));
    }
    const enough = new Promise((resolve) => (this.#waiting = { target, resolve }));
    await Promise.race([enough, this.ended]);
  }

  #take(data) {
    let bytes = this.#buffer.length ? Buffer.concat([this.#buffer, data]) : data;
    if (!this.#upgraded) {
      const end = bytes.indexOf('\r\n\r\n');
      if (end < 0) return void (this.#buffer = bytes);
      const head = bytes.toString('latin1', 0, end);
      if (!head.includes(' 101 ') || head.includes('permessage-deflate') !== this.deflate)
        return void this.socket.destroy(new Error(`not what was asked for: ${head}`));
      bytes = bytes.subarray(end + 4);
      this.#upgraded = true;
      this.socket.emit('upgraded');
    }
    for (let size; (size = wholeFrame(bytes)) > 0; bytes = bytes.subarray(size)) {
      if (bytes[0] & 0x80) this.#messages += 1;
    }
    // It is a copy: a view would keep everything that was read.
    this.#buffer = Buffer.from(bytes);
    if (this.#waiting && this.#messages >= this.#waiting.target) this.#waiting.resolve();
  }
}

/** Returns the length of the first frame; 0 when it is not whole. */
const wholeFrame = (bytes) => {
  if (bytes.length < 2) return 0;
  const short = bytes[1] & 127;
  const head = { 126: 4, 127: 10 }[short] ?? 2;
  if (bytes.length < head) return 0;
  const payload = head === 2 ? short : head === 4 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2));
  return bytes.length >= head + payload ? head + payload : 0;
};

/** Runs `work(number)` for each, some at a time. */
const forEach = async (count, work) => {
  let next = 0;
  const worker = async () => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
};

const memory = async (trial, driver, { withServer, loadgen }) =>
  withServer(trial, driver, loadgen, async (server, { port }) => {
    const settled = async () => {
      await new Promise((resolve) => setTimeout(resolve, 500));
      server.collectGarbage();
      return (await server.stats()).rss;
    };
    const kind = { secure: Boolean(trial.tls), deflate: Boolean(trial.options?.compression) };
    const first = [frame(text(300, 0), kind.deflate)];
    const later = Array.from({ length: MESSAGES }, (_, n) => frame(text(4 * KIB, n), kind.deflate));
    const clients = [];
    const open = async () => {
      const client = new Client(port, kind);
      clients.push(client);
      await client.exchange(first);
    };
    try {
      await forEach(WARM_UP, open);
      for (const { socket } of clients.splice(0)) socket.destroy();
      const readings = [await settled()];
      await forEach(CONNECTIONS, open);
      readings.push(await settled());
      const use = async () => {
        await forEach(CONNECTIONS, (number) => clients[clients.length - 1 - number].exchange(later));
        readings.push(await settled());
      };
      await use();
      await forEach(CONNECTIONS, open);
      await use();
      const each = (from, to) => (readings[to] - readings[from]) / KIB / CONNECTIONS;
      return { kibAt1000: each(0, 1), kibUsed: each(2, 3) };
    } finally {
      for (const { socket } of clients) socket.destroy();
    }
  });

const trial = (name, about, more) => ({
  name: `memory/${name}`,
  about: `memory of a WebSocket: ${about}`,
  server: 'ws-echo.js',
  flags: ['--expose-gc'],
  measure: memory,
  unit: 'connection',
  rounds: 2,
  onlyModules: true,
  whole: false,
  ...more,
});

const compressed = (name, about, ...compression) =>
  trial(`deflate-${name}`, about, { options: { compression } });

const COMPRESSORS = ['3KB', '4KB', '8KB', '16KB', '32KB', '64KB', '128KB', '256KB'];
const DECOMPRESSORS = ['512B', '1KB', '2KB', '4KB', '8KB', '16KB', '32KB'];

module.exports = [
  trial('plain', 'no TLS, no compression'),
  trial('tls', 'TLS', { tls: true }),
  compressed('shared', 'shared compressor and decompressor', 'SHARED_COMPRESSOR', 'SHARED_DECOMPRESSOR'),
  ...COMPRESSORS.map((size) =>
    compressed(
      `compressor-${size}`,
      `dedicated compressor of ${size}`,
      `DEDICATED_COMPRESSOR_${size}`,
      'SHARED_DECOMPRESSOR',
    ),
  ),
  ...DECOMPRESSORS.map((size) =>
    compressed(
      `decompressor-${size}`,
      `dedicated decompressor of ${size}`,
      'SHARED_COMPRESSOR',
      `DEDICATED_DECOMPRESSOR_${size}`,
    ),
  ),
];
