/**
 * The clients that the server runs against itself, in a worker thread of their own, so that they go on while
 * the server's JavaScript is blocked: one that pings, the readers of the feed with a slow one among them,
 * and the clients of the load. `engine.ts` starts the thread from this text, so it imports Node's modules
 * only.
 */
import net from 'node:net';
import tls from 'node:tls';
import { parentPort, workerData } from 'node:worker_threads';

/** @typedef {{ port: number, secure: boolean, inner: string, readers: number, clients: number }} Settings */

const REPORT_EVERY_MS = 200;
const PING_EVERY_MS = 50;
const SEND_EVERY_MS = 25;
const LOAD_BYTES = 64;
/** How long a switch that was turned off is still counted. */
const LAST_MS = 600;
const BINARY = 2;
const PING = 9;
const PONG = 10;

const { port, secure, inner, readers, clients } = /** @type {Settings} */ (workerData);

const now = () => performance.timeOrigin + performance.now();

/** A WebSocket client, as small as its purpose allows: messages and pongs of one frame. */
class Client {
  /**
   * @param {string} path
   * @param {(opcode: number, payload: Buffer) => void} onFrame
   * @param {() => void} [onOpen]
   */
  constructor(path, onFrame, onOpen) {
    const options = { host: '127.0.0.1', port, rejectUnauthorized: false };
    this.socket = secure ? tls.connect(options) : net.connect(options);
    this.onFrame = onFrame;
    this.onOpen = onOpen;
    this.open = false;
    /** @type {Buffer} */
    this.rest = Buffer.alloc(0);
    this.socket.setNoDelay(true);
    this.socket.on('data', (data) => this.#read(data));
    this.socket.on('error', () => {});
    this.socket.write(
      `GET ${inner}/${path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
        'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
    );
  }

  /** @param {Buffer} data */
  #read(data) {
    const bytes = this.rest.length > 0 ? Buffer.concat([this.rest, data]) : data;
    let at = 0;
    if (!this.open) {
      const end = bytes.indexOf('\r\n\r\n');
      if (end < 0) return void (this.rest = bytes);
      if (!bytes.toString('latin1', 0, end).startsWith('HTTP/1.1 101')) return void this.socket.destroy();
      this.open = true;
      this.onOpen?.();
      at = end + 4;
    }
    for (;;) {
      const frame = frameAt(bytes, at);
      if (!frame) break;
      this.onFrame(bytes[at] & 15, bytes.subarray(frame.start, frame.end));
      at = frame.end;
    }
    this.rest = bytes.subarray(at);
  }

  /**
   * Sends a frame of up to 125 bytes. Its mask is 0, which leaves the payload as it is.
   *
   * @param {number} opcode
   * @param {Buffer} payload
   */
  send(opcode, payload) {
    const head = Buffer.from([0x80 | opcode, 0x80 | payload.length, 0, 0, 0, 0]);
    this.socket.write(Buffer.concat([head, payload]));
  }

  close() {
    this.socket.destroy();
  }
}

/**
 * Where the payload of a server's frame is, if all of it is there.
 *
 * @param {Buffer} bytes
 * @param {number} at
 */
function frameAt(bytes, at) {
  if (bytes.length < at + 2) return undefined;
  const short = bytes[at + 1] & 127;
  const start = at + (short === 127 ? 10 : short === 126 ? 4 : 2);
  if (bytes.length < start) return undefined;
  let length = short;
  if (short === 126) length = bytes.readUInt16BE(at + 2);
  if (short === 127) length = Number(bytes.readBigUInt64BE(at + 2));
  return bytes.length < start + length ? undefined : { start, end: start + length };
}

/** Pings, one after the other: when each was sent, and how long its pong took. */
class Pings {
  constructor() {
    /** @type {[number, number][]} */
    this.answered = [];
    this.waiting = false;
    this.sent = 0;
    this.client = this.#connect();
    setInterval(() => this.#ping(), PING_EVERY_MS);
  }

  #connect() {
    const client = new Client('ping', (opcode) => {
      if (opcode !== PONG) return;
      this.answered.push([this.sent, now() - this.sent]);
      this.waiting = false;
    });
    client.socket.on('close', () => setTimeout(() => (this.client = this.#connect()), 1000));
    this.waiting = false;
    return client;
  }

  #ping() {
    if (!this.client.open || this.waiting) return;
    this.waiting = true;
    this.sent = now();
    this.client.send(PING, Buffer.alloc(0));
  }

  report() {
    return this.answered.splice(0);
  }
}

/** The latencies since the last report. */
class Latencies {
  constructor() {
    /** @type {number[]} */
    this.all = [];
  }

  /** @param {number} sent */
  add(sent) {
    this.all.push(now() - sent);
  }

  median() {
    const sorted = this.all.splice(0).sort((left, right) => left - right);
    return sorted.length > 0 ? sorted[sorted.length >> 1] : null;
  }
}

/** Readers of the feed, each of which must get every message, and one that reads nothing. */
class Feed {
  /** @param {number} run */
  constructor(run) {
    this.run = run;
    this.latencies = new Latencies();
    this.open = 0;
    this.readers = Array.from({ length: readers }, () => {
      const reader = { received: 0, missed: 0, next: 0 };
      const client = new Client(
        'feed',
        (opcode, payload) => this.#take(reader, opcode, payload),
        this.#opened,
      );
      return Object.assign(reader, { client });
    });
    const slow = new Client(
      'feed',
      () => {},
      () => {
        slow.socket.pause();
        this.#opened();
      },
    );
    this.slow = slow;
  }

  #opened = () => {
    // The last one has joined: whatever is published from now on is for all of them.
    if (++this.open === readers + 1) parentPort?.postMessage({ opened: this.run });
  };

  /**
   * @param {{ received: number, missed: number, next: number }} reader
   * @param {number} opcode
   * @param {Buffer} payload
   */
  #take(reader, opcode, payload) {
    if (opcode !== BINARY) return;
    const number = payload.readUInt32LE(0);
    reader.missed += number - reader.next;
    reader.next = number + 1;
    reader.received++;
    this.latencies.add(payload.readDoubleLE(8));
  }

  report() {
    const counts = this.readers.map(({ received, missed }) => ({ received, missed }));
    return { run: this.run, readers: counts, latency: this.latencies.median() };
  }

  stop() {
    this.slow.close();
  }

  close() {
    for (const { client } of this.readers) client.close();
  }
}

/** Clients that all say something at each tick, which the server publishes to all of them. */
class Load {
  /** @param {number} run */
  constructor(run) {
    this.run = run;
    this.latencies = new Latencies();
    this.sent = 0;
    this.received = 0;
    this.open = 0;
    this.clients = Array.from(
      { length: clients },
      () =>
        new Client(
          'load',
          (opcode, payload) => this.#take(opcode, payload),
          () => {
            if (++this.open === clients) this.timer = setInterval(() => this.#say(), SEND_EVERY_MS);
          },
        ),
    );
  }

  #say() {
    const payload = Buffer.alloc(LOAD_BYTES, 'x');
    for (const client of this.clients) {
      // A client whose bytes wait in this process would only make them more.
      if (client.socket.writableLength > 0) continue;
      payload.writeDoubleLE(now(), 0);
      client.send(BINARY, payload);
      this.sent++;
    }
  }

  /**
   * @param {number} opcode
   * @param {Buffer} payload
   */
  #take(opcode, payload) {
    if (opcode !== BINARY) return;
    this.received++;
    if (this.received % clients === 0) this.latencies.add(payload.readDoubleLE(0));
  }

  report() {
    return { run: this.run, sent: this.sent, received: this.received, latency: this.latencies.median() };
  }

  stop() {
    clearInterval(this.timer);
  }

  close() {
    for (const client of this.clients) client.close();
  }
}

const pings = new Pings();
/** @type {{ feed?: Feed, load?: Load }} */
const running = {};

/** @param {'feed' | 'load'} kind */
function close(kind) {
  running[kind]?.stop();
  running[kind]?.close();
  delete running[kind];
}

/** @param {'feed' | 'load'} kind */
function end(kind) {
  const ended = running[kind];
  ended?.stop();
  // Messages that are on their way are counted too.
  setTimeout(() => {
    if (running[kind] === ended) close(kind);
  }, LAST_MS);
}

parentPort?.on('message', (/** @type {{ kind: 'feed' | 'load', run: number }} */ { kind, run }) => {
  if (run === 0) return end(kind);
  close(kind);
  if (kind === 'feed') running.feed = new Feed(run);
  else running.load = new Load(run);
});

setInterval(() => {
  const report = { feed: running.feed?.report(), load: running.load?.report() };
  parentPort?.postMessage({ sentAt: now(), pings: pings.report(), ...report });
}, REPORT_EVERY_MS);
