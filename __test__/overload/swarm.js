'use strict';
// Many clients in one process: WebSockets and HTTP connections that check every byte they get. A message and
// a response say which connection asked for them, and when: those of others, and those that are missing, are
// errors.

const net = require('node:net');
const tls = require('node:tls');
const { frame, upgradeRequest, get } = require('../clients');

const OPEN_AT_ONCE = 500;
const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const now = () => performance.now();

/** One connection that reads frames or responses. */
class Client {
  constructor(swarm, number, options) {
    this.swarm = swarm;
    this.number = number;
    this.left = Buffer.alloc(0);
    this.waiting = [];
    this.isOpen = false;
    this.closeCode = undefined;
    this.sent = 0;
    this.got = 0;
    this.connect(options);
  }

  connect({ port, secure = false, path = '/', plain = false, paused = false }) {
    this.isPlain = plain;
    this.opened = new Promise((resolve, reject) => Object.assign(this, { resolve, reject }));
    this.ended = new Promise((resolve) => (this.end = resolve));
    const raw = net.connect({ port, host: '127.0.0.1', localAddress: this.swarm.host, noDelay: true });
    this.raw = raw;
    this.socket = secure ? tls.connect({ socket: raw, rejectUnauthorized: false }) : raw;
    this.socket.on(secure ? 'secureConnect' : 'connect', () => {
      if (plain) this.open();
      else this.socket.write(upgradeRequest(path));
    });
    this.paused = paused;
    this.socket.on('data', (data) => this.receive(data));
    this.socket.on('error', (error) => this.over(error));
    this.socket.on('close', () => this.over());
  }

  open() {
    this.isOpen = true;
    this.resolve(this);
    if (this.paused) this.socket.pause();
  }

  over(error) {
    if (this.isOver) return;
    this.isOver = true;
    this.isOpen = false;
    this.reject(error ?? new Error('closed before it was open'));
    this.opened.catch(() => {});
    for (const { reject } of this.waiting.splice(0)) reject(error ?? new Error('closed'));
    this.end(this.closeCode);
  }

  receive(data) {
    this.left = this.left.length === 0 ? data : Buffer.concat([this.left, data]);
    if (this.isPlain) return this.responses();
    if (!this.isOpen && !this.isOver) {
      const end = this.left.indexOf('\r\n\r\n');
      if (end < 0) return;
      const head = this.left.toString('latin1', 0, end);
      this.left = this.left.subarray(end + 4);
      if (!head.startsWith('HTTP/1.1 101')) return void (this.over(new Error(head)), this.socket.destroy());
      this.open();
    }
    this.frames();
  }

  frames() {
    while (this.left.length >= 2) {
      let [length, head] = [this.left[1] & 127, 2];
      if (length === 126) {
        if (this.left.length < 4) return;
        [length, head] = [this.left.readUInt16BE(2), 4];
      } else if (length === 127) {
        if (this.left.length < 10) return;
        [length, head] = [Number(this.left.readBigUInt64BE(2)), 10];
      }
      if (this.left.length < head + length) return;
      const opcode = this.left[0] & 15;
      const payload = this.left.subarray(head, head + length);
      this.left = this.left.subarray(head + length);
      this.frame(opcode, payload);
    }
  }

  frame(opcode, payload) {
    if (opcode === 8) {
      this.closeCode = payload.length >= 2 ? payload.readUInt16BE() : 1005;
      this.socket.end(frame({ opcode: 8, payload }));
      return;
    }
    if (opcode === 10) return this.answered('pong', payload.toString('latin1'));
    const text = payload.toString('latin1');
    if (text.startsWith('all ')) return void this.swarm.published++;
    this.answered('echo', text);
  }

  /** The answer is that to the oldest question, and of this connection. */
  answered(kind, text) {
    const asked = this.waiting.shift();
    const expected = asked && (asked.expected ?? `${this.number} ${this.got}`);
    this.got++;
    if (asked === undefined || !text.startsWith(expected)) {
      this.swarm.errors.push(`client ${this.number}: ${kind} ${text.slice(0, 60)} instead of ${expected}`);
    }
    asked?.resolve(now() - asked.at);
  }

  /** Asks for an echo of `size` bytes; resolves with the milliseconds it took. */
  echo(size = 16) {
    const payload = `${this.number} ${this.sent++} `.padEnd(size, 'x');
    this.socket.write(frame({ payload }));
    return this.wait(payload);
  }

  ping() {
    const payload = `ping ${this.number} ${this.sent++}`;
    this.socket.write(frame({ opcode: 9, payload }));
    return this.wait(payload);
  }

  wait(expected) {
    return new Promise((resolve, reject) => this.waiting.push({ resolve, reject, expected, at: now() }));
  }

  /** Asks for `path`; resolves with { closes, milliseconds }. The body must be the path, and spaces. */
  request(path) {
    this.before = this.raw.bytesRead;
    this.socket.write(get(path));
    return new Promise((resolve, reject) => this.waiting.push({ resolve, reject, path, at: now() }));
  }

  responses() {
    const end = this.left.indexOf('\r\n\r\n');
    if (end < 0) return;
    const head = this.left.toString('latin1', 0, end);
    const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? NaN);
    if (!(this.left.length >= end + 4 + length)) return;
    const body = this.left.toString('latin1', end + 4, end + 4 + length);
    this.left = this.left.subarray(end + 4 + length);
    const asked = this.waiting.shift();
    if (asked === undefined || !head.startsWith('HTTP/1.1 200') || body.trimEnd() !== asked.path) {
      this.swarm.errors.push(`client ${this.number}: ${head.slice(0, 80)} ${body.slice(0, 60)}`);
    }
    asked?.resolve({ closes: /\r\nconnection: close/i.test(head), milliseconds: now() - asked.at });
  }
}

class Swarm {
  constructor(host) {
    this.host = host;
    this.clients = [];
    this.errors = [];
    this.published = 0;
    this.isStopped = false;
  }

  /**
   * Opens `count` connections, `atOnce` at a time. `failures`: how many may fail. Returns how many are open,
   * and how long the slowest took, in milliseconds.
   */
  async open({ count, atOnce = OPEN_AT_ONCE, failures = 0, ...options }) {
    let [left, failed, slowest] = [count, 0, 0];
    const worker = async () => {
      while (left > 0) {
        left--;
        const at = now();
        const client = new Client(this, this.clients.length, options);
        this.clients.push(client);
        try {
          await client.opened;
          slowest = Math.max(slowest, now() - at);
        } catch (error) {
          if (++failed > failures) throw error;
        }
      }
    };
    await Promise.all(Array.from({ length: Math.min(atOnce, count) }, worker));
    return { open: this.count(), failed, slowest };
  }

  count() {
    return this.clients.filter((client) => client.isOpen).length;
  }

  /** Begins to open one more, and says after so many milliseconds whether it is open. */
  async tryOne({ within, ...options }) {
    const client = new Client(this, this.clients.length, options);
    this.clients.push(client);
    this.last = client;
    client.opened.catch(() => {});
    await sleep(within);
    return client.isOver ? 'over' : client.isOpen ? 'open' : 'waits';
  }

  /** Whether the client of `tryOne` is open within so many milliseconds. */
  async lastOpens(within) {
    return Promise.race([this.last.opened.then(() => true), sleep(within).then(() => false)]);
  }

  /** Ends the first `count` connections, all at once and without waiting. */
  reset(count = this.clients.length) {
    for (const client of this.clients.splice(0, count)) {
      client.isOver = true;
      client.raw.resetAndDestroy();
    }
  }

  /** Resets all, and opens as many again at once. */
  async reconnect(options) {
    const count = this.clients.length;
    this.reset();
    return this.open({ ...options, count, atOnce: count });
  }

  /** So many echoes per second for so long, over random connections; returns the sorted times. */
  async echoes({ perSecond, seconds, size }) {
    const [times, all] = [[], []];
    const began = now();
    for (let asked = 0; now() - began < seconds * 1000; await sleep(5)) {
      const due = ((now() - began) / 1000) * perSecond;
      for (; asked < due; asked++) {
        const client = this.clients[Math.floor(Math.random() * this.clients.length)];
        all.push(client.echo(size).then((time) => times.push(time)));
      }
    }
    await Promise.all(all);
    return times.sort((a, b) => a - b);
  }

  /** Each connection asks again as soon as it has its answer, until `stop`. Returns { answers, slowest }. */
  async hammer({ size } = {}) {
    this.isStopped = false;
    let [answers, slowest] = [0, 0];
    const one = async (client) => {
      while (!this.isStopped && client.isOpen) {
        const time = await client.echo(size);
        answers++;
        slowest = Math.max(slowest, time);
      }
    };
    await Promise.all(this.clients.map(one));
    return { answers, slowest };
  }

  stop() {
    this.isStopped = true;
  }

  /** Pings of one connection, one after the other, for so many milliseconds; returns the sorted times. */
  async pings(milliseconds) {
    const times = [];
    for (const end = now() + milliseconds; now() < end; await sleep(10))
      times.push(await this.clients[0].ping());
    return times.sort((a, b) => a - b);
  }

  /**
   * HTTP clients that ask without end, each on a connection for as long as that is kept, until connecting
   * fails. A request counts as promised if the connection was promised to be kept.
   */
  async ask({ port, count, paths }) {
    const result = { answered: 0, cut: 0, crossed: 0, refused: 0 };
    const one = async (number) => {
      for (let asked = 0; ;) {
        const client = new Client(this, number, { port, plain: true });
        try {
          await client.opened;
        } catch {
          result.refused++;
          return;
        }
        for (let first = true; ; first = false) {
          const path = `/${paths[asked++ % paths.length]}/${number}/${asked}`;
          try {
            const { closes } = await client.request(path);
            result.answered++;
            if (closes) break;
          } catch {
            // Nothing of an answer came: a request that crossed the end of an idle connection.
            const isWhole = client.raw.bytesRead === client.before && !first;
            if (isWhole) result.crossed++;
            else result.cut++;
            break;
          }
        }
        client.raw.destroy();
      }
    };
    await Promise.all(Array.from({ length: count }, (unused, number) => one(number)));
    return result;
  }

  /** Resolves with how often each close code came, when all connections are over or the time is. */
  async codes(milliseconds) {
    const all = Promise.all(this.clients.map((client) => client.ended));
    await Promise.race([all, sleep(milliseconds)]);
    const counts = {};
    for (const client of this.clients) {
      const code = client.isOver ? (client.closeCode ?? 'none') : 'open';
      counts[code] = (counts[code] ?? 0) + 1;
    }
    return counts;
  }

  report() {
    const { errors, published } = this;
    return { errors: errors.slice(0, 10), published, open: this.count() };
  }
}

module.exports = { Swarm };
