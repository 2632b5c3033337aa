'use strict';
// One client connection: it writes bytes cut anywhere, reads as slowly as its plan says, and hands what
// arrives to its protocol.

const net = require('node:net');
const tls = require('node:tls');

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Received bytes, of which the protocol takes as many as it understands. */
class Inbox {
  chunks = [];
  size = 0;

  push(chunk) {
    this.chunks.push(chunk);
    this.size += chunk.length;
  }

  /** Returns the first bytes without taking them. */
  peek(count) {
    if (this.chunks.length > 1 && this.chunks[0].length < count) this.chunks = [Buffer.concat(this.chunks)];
    return this.chunks.length === 0 ? Buffer.alloc(0) : this.chunks[0].subarray(0, count);
  }

  take(count) {
    const bytes = this.peek(count);
    if (count > 0) {
      const rest = this.chunks[0].subarray(count);
      if (rest.length > 0) this.chunks[0] = rest;
      else this.chunks.shift();
      this.size -= count;
    }
    return bytes;
  }

  /** Takes everything up to and including the text; undefined when it has not arrived. */
  until(text) {
    const at = this.peek(this.size).indexOf(text, 0, 'latin1');
    return at < 0 ? undefined : this.take(at + text.length).toString('latin1');
  }
}

class Line {
  /**
   * @param {object} plan of this connection
   * @param {object} run { wrong, random }: reports what is wrong; the connection's own random numbers
   */
  constructor(plan, run) {
    this.plan = plan;
    this.random = run.random;
    this.wrong = (text) => run.wrong(`connection ${plan.id}${plan.tls ? ' (TLS)' : ''}: ${text}`);
    this.inbox = new Inbox();
    /** 'open', then 'fin', 'reset' or 'left' (by this side). */
    this.state = 'connecting';
    /** Whether the connection ended in a way that may lose what was on its way. */
    this.abrupt = false;
    this.waiting = new Set();
    this.readInTick = 0;
    this.writing = false;
    this.answers = [];
  }

  async connect(port) {
    const { plan } = this;
    this.raw = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
    this.raw.on('error', () => this.over('reset'));
    this.socket = plan.tls
      ? tls.connect({ socket: this.raw, rejectUnauthorized: false, ...plan.tls })
      : this.raw;
    this.socket.on('error', () => this.over('reset'));
    await new Promise((resolve) => {
      this.socket.once(plan.tls ? 'secureConnect' : 'connect', resolve);
      this.socket.once('close', resolve);
    });
    if (this.state !== 'connecting') return false;
    this.state = 'open';
    this.port = this.raw.localPort;
    this.socket.on('data', (chunk) => this.arrived(chunk));
    this.socket.on('end', () => this.over('fin'));
    this.socket.on('close', () => this.over('reset'));
    this.socket.setMaxListeners(0);
    return true;
  }

  arrived(chunk) {
    if (this.state === 'left') return;
    this.inbox.push(chunk);
    this.feed();
    this.wake();
    const { slow } = this.plan;
    if (!slow) return;
    this.readInTick += chunk.length;
    if (this.readInTick < slow.bytes) return;
    this.socket.pause();
    setTimeout(() => {
      this.readInTick = 0;
      if (this.state === 'open') this.socket.resume();
    }, slow.every);
  }

  over(how) {
    if (this.state !== 'open' && this.state !== 'connecting') return;
    this.state = how;
    this.onOver?.();
    if (how === 'fin') this.outside(() => this.socket.end());
    this.wake();
  }

  wake() {
    for (const check of [...this.waiting]) check();
  }

  /** Resolves when the condition holds or the connection is over. */
  when(condition) {
    return new Promise((resolve) => {
      const check = () => {
        if (!condition() && (this.state === 'open' || this.state === 'connecting')) return;
        this.waiting.delete(check);
        resolve(condition());
      };
      this.waiting.add(check);
      check();
    });
  }

  /** Writes the bytes in so many pieces, cut anywhere, with a pause between some. */
  async write(bytes, pieces = 1) {
    this.writing = true;
    await this.writePieces(bytes, pieces);
    this.writing = false;
    for (const answer of this.answers.splice(0)) this.socket.write(answer);
  }

  /** Writes an answer that the protocol asks for, but not into the middle of what is being written. */
  answer(bytes) {
    if (this.writing) this.answers.push(bytes);
    else this.socket.write(bytes);
  }

  async writePieces(bytes, pieces) {
    const cuts = Array.from({ length: pieces - 1 }, () => this.random.below(bytes.length + 1));
    cuts.push(bytes.length);
    let from = 0;
    for (const cut of cuts.sort((a, b) => a - b)) {
      if (this.state !== 'open') return;
      if (cut === from) continue;
      await this.push(bytes.subarray(from, cut));
      from = cut;
      if (pieces > 1 && this.random.below(3) === 0) await sleep(this.random.below(4));
    }
  }

  /** Resolves when the kernel has the bytes, or the connection is over. */
  push(bytes) {
    return new Promise((resolve) => {
      const done = () => {
        this.socket.removeListener('close', done);
        resolve();
      };
      this.socket.once('close', done);
      this.socket.write(bytes, done);
    });
  }

  /** Node's TLS crashes when its socket is destroyed while it delivers data. */
  outside(action) {
    if (this.socket === this.raw) action();
    else setImmediate(action);
  }

  leave() {
    if (this.state === 'open') this.state = 'left';
    this.outside(() => this.socket?.destroy());
    this.wake();
  }

  reset() {
    this.abrupt = true;
    if (this.state === 'open') this.state = 'left';
    this.outside(() => this.raw.resetAndDestroy());
    this.wake();
  }

  /** Ends the sending side alone. */
  halfClose() {
    this.socket.end();
  }
}

module.exports = { Line, sleep };
