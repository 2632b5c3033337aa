'use strict';
// A WebSocket client that says what it wants in its messages, and records all it gets.

const zlib = require('node:zlib');
const crypto = require('node:crypto');
const { Line, sleep } = require('./line');
const { To, describing, fault } = require('./bytes');

const Opcode = Object.freeze({ MORE: 0, TEXT: 1, BINARY: 2, CLOSE: 8, PING: 9, PONG: 10 });
const TAIL = Buffer.from([0, 0, 0xff, 0xff]);
/** A careless server sends it in a `subscription` handler that runs because the connection ends. */
const BEHIND_THE_END = Buffer.from('a message behind the end');
/** The payload of pings of which the server need not answer each. */
const FLOOD = 'flood';
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

/** One masked frame. Masks are of the connection's random numbers, so that a run can be repeated. */
function frameOf(opcode, payload, random, { fin = true, compressed = false } = {}) {
  const size = payload.length;
  const width = size < 126 ? 0 : size < 65536 ? 2 : 8;
  const frame = Buffer.allocUnsafe(2 + width + 4 + size);
  frame[0] = (fin ? 0x80 : 0) | (compressed ? 0x40 : 0) | opcode;
  frame[1] = 0x80 | (width === 0 ? size : width === 2 ? 126 : 127);
  if (width === 2) frame.writeUInt16BE(size, 2);
  if (width === 8) frame.writeBigUInt64BE(BigInt(size), 2);
  const mask = random.below(2 ** 32) >>> 0;
  frame.writeUInt32BE(mask, 2 + width);
  const key = frame.subarray(2 + width, 6 + width);
  for (let i = 0, at = 6 + width; i < size; i++) frame[at + i] = payload[i] ^ key[i & 3];
  return frame;
}

/** Feeds a zlib stream at once. Node closes the handle afterwards, unless it is kept from it. */
function through(stream, bytes) {
  const handle = stream._handle;
  const { close } = handle;
  stream.removeAllListeners('error');
  handle.close = () => {};
  try {
    return stream._processChunk(bytes, zlib.constants.Z_SYNC_FLUSH);
  } finally {
    stream._handle = handle;
    handle.close = close;
  }
}

/** permessage-deflate (RFC 7692), with the parameters that the server has chosen. */
class Deflation {
  constructor(answer) {
    const bits = Number(/client_max_window_bits=(\d+)/.exec(answer)?.[1] ?? 15);
    this.alone = {
      sent: /client_no_context_takeover/.test(answer),
      received: /server_no_context_takeover/.test(answer),
    };
    this.deflate = zlib.createDeflateRaw({ windowBits: bits });
    this.inflate = zlib.createInflateRaw();
  }

  compress(bytes) {
    const out = through(this.deflate, bytes);
    if (this.alone.sent) this.deflate.reset();
    return out.subarray(0, -4);
  }

  expand(bytes) {
    const out = through(this.inflate, Buffer.concat([bytes, TAIL]));
    if (this.alone.received) this.inflate.reset();
    return out;
  }
}

class WsClient extends Line {
  constructor(plan, run) {
    super(plan, run);
    this.open = false;
    this.sentMessages = 0;
    /** All that came, as the server records what it sent: publishes by number, others as -1 - number. */
    this.got = [];
    this.synced = -1;
    this.syncsAsked = 0;
    this.pings = 0;
    this.pongs = 0;
    this.fragments = undefined;
    /** { code } of the server's close frame. */
    this.closed = null;
    this.closeSent = false;
    this.endAsked = false;
  }

  async run() {
    const { plan } = this;
    await this.write(Buffer.concat([this.handshake(), ...this.early()]), plan.pieces ?? 1);
    if (plan.steps.some((step) => step.abrupt === 'at once')) return this.reset();
    await this.when(() => this.open || this.refused);
    if (this.refused || !this.open) return;
    for (const step of plan.steps) {
      if (this.state !== 'open') return;
      await this[step.do](step);
    }
  }

  handshake() {
    const { plan } = this;
    this.key = crypto.createHash('md5').update(`${plan.id}`).digest('base64').slice(0, 24);
    const lines = [
      `GET /ws/${plan.kind}?c=${plan.id}&via=${plan.via}&t=${plan.t}${plan.refuse ? '&refuse=1' : ''} HTTP/1.1`,
      'Host: a',
      `x-port: ${this.port}`,
      'Upgrade: websocket',
      'Connection: Upgrade',
      'Sec-WebSocket-Version: 13',
      `Sec-WebSocket-Key: ${this.key}`,
    ];
    if (plan.deflate) lines.push(`Sec-WebSocket-Extensions: ${plan.deflate}`);
    return Buffer.from(`${lines.join('\r\n')}\r\n\r\n`);
  }

  /** Messages, or another request, in the segment of the handshake. */
  early() {
    const { early, foreign } = this.plan;
    const list = (early ?? []).map((order) => this.messageOf(order));
    if (foreign)
      list.push(Buffer.from(`GET /get?a=end&c=${this.plan.id}&q=0&n=9 HTTP/1.1\r\nHost: a\r\n\r\n`));
    return list;
  }

  // ---- steps

  async send({ orders, pieces }) {
    await this.write(Buffer.concat(orders.map((order) => this.messageOf(order))), pieces);
  }

  async pause({ t }) {
    await sleep(t);
  }

  /** Reads nothing for a while. */
  async deafen({ t }) {
    this.socket.pause();
    await sleep(t);
    if (this.state === 'open') this.socket.resume();
  }

  async sync() {
    if (this.closed || this.endAsked) return;
    const number = this.sentMessages;
    await this.write(this.messageOf({ op: 'sync', pad: 0 }));
    await this.when(() => this.synced >= number || this.closed !== null);
  }

  /** Sends pings, and reads none of the answers meanwhile. */
  async flood({ count, size }) {
    this.socket.pause();
    const payload = Buffer.alloc(size, FLOOD);
    const many = Buffer.concat(Array.from({ length: 500 }, () => frameOf(Opcode.PING, payload, this.random)));
    this.flooded = true;
    const end = Date.now() + 4000;
    for (let i = 0; i < count && this.state === 'open' && Date.now() < end; i++) {
      await Promise.race([this.push(many), sleep(200)]);
    }
    this.reset();
  }

  /** Closes with a close frame; everything before has been sent. */
  async close({ code, sync }) {
    if (sync) await this.sync();
    if (this.closed) return;
    const payload = Buffer.alloc(2);
    payload.writeUInt16BE(code);
    this.closeSent = code;
    await this.write(frameOf(Opcode.CLOSE, Buffer.concat([payload, Buffer.from('bye')]), this.random));
    await this.when(() => false);
    this.leave();
  }

  /** Waits for the end that a message has asked for. */
  async ended() {
    await this.when(() => false);
    this.leave();
  }

  async resetNow({ after }) {
    await sleep(after);
    this.reset();
  }

  async fin() {
    this.abrupt = true;
    this.halfClose();
    await this.when(() => false);
    this.leave();
  }

  /** A message, and then one byte of a frame, whose rest comes later. */
  async partial({ t }) {
    await this.write(this.messageOf({ op: 'echo', n: 0, pad: 100 }));
    const next = this.messageOf({ op: 'sync', pad: 0 });
    await sleep(100);
    await this.write(next.subarray(0, 1));
    await sleep(t);
    await this.write(next.subarray(1));
    await this.when(() => this.synced === 1);
  }

  // ---- what is sent

  /** The frames of one message, with pings between its fragments. */
  messageOf(order) {
    const { pad, fragments = 1, bin = false, ping, compress, ...more } = order;
    const number = this.sentMessages++;
    if (order.op === 'end' || order.op === 'close') this.endAsked = true;
    const head = JSON.stringify({ ...more, bin, c: this.plan.id, q: number, pad });
    let message = Buffer.concat([Buffer.from(`${head}\n`), describing(To.SERVER, this.plan.id, number, pad)]);
    const compressed = Boolean(compress && this.deflation);
    if (compressed) message = this.deflation.compress(message);
    const cuts = Array.from({ length: fragments - 1 }, () => this.random.below(message.length + 1));
    const frames = [];
    let from = 0;
    [...cuts, message.length]
      .sort((a, b) => a - b)
      .forEach((cut, i, all) => {
        const opcode = i > 0 ? Opcode.MORE : bin ? Opcode.BINARY : Opcode.TEXT;
        const fin = i === all.length - 1;
        frames.push(
          frameOf(opcode, message.subarray(from, cut), this.random, {
            fin,
            compressed: compressed && i === 0,
          }),
        );
        if (ping)
          frames.push(frameOf(Opcode.PING, Buffer.from(`${this.plan.id}.${this.pings++}`), this.random));
        from = cut;
      });
    return Buffer.concat(frames);
  }

  // ---- what arrives

  feed() {
    if (!this.open && !this.readHandshake()) return;
    while (this.readFrame());
  }

  readHandshake() {
    if (this.refused) return false;
    const text = this.inbox.until('\r\n\r\n');
    if (text === undefined) return false;
    const code = Number(text.slice(9, 12));
    if (code === 403 && this.plan.refuse) {
      this.refused = true;
      return false;
    }
    const accept = crypto
      .createHash('sha1')
      .update(this.key + GUID)
      .digest('base64');
    if (code !== 101 || !text.includes(accept)) return this.confused(`no upgrade: ${JSON.stringify(text)}`);
    const extension = /sec-websocket-extensions: (.*)\r\n/i.exec(text);
    if (extension) this.deflation = new Deflation(extension[1]);
    this.open = true;
    return true;
  }

  readFrame() {
    const { inbox } = this;
    if (inbox.size < 2) return false;
    const short = inbox.peek(2)[1] & 127;
    const width = short === 126 ? 2 : short === 127 ? 8 : 0;
    if (inbox.size < 2 + width) return false;
    const head = inbox.peek(2 + width);
    const length = width === 0 ? short : width === 2 ? head.readUInt16BE(2) : Number(head.readBigUInt64BE(2));
    if (inbox.size < 2 + width + length) return false;
    const [first, second] = inbox.take(2 + width);
    const payload = inbox.take(length);
    const opcode = first & 15;
    if (second > 127 || (first & 0x30) !== 0)
      return this.confused(`a frame that begins with ${first}, ${second}`);
    if (this.closed) return this.confused('a frame behind the close frame');
    return opcode < 8
      ? this.part(opcode, payload, first > 127, (first & 0x40) !== 0)
      : this.control(opcode, payload, first);
  }

  control(opcode, payload, first) {
    if (first !== (0x80 | opcode) || payload.length > 125) return this.confused(`control frame ${first}`);
    if (opcode === Opcode.PING) this.answer(frameOf(Opcode.PONG, payload, this.random));
    else if (opcode === Opcode.PONG) this.pong(payload.toString('latin1'));
    else if (opcode === Opcode.CLOSE) this.closeFrame(payload);
    else return this.confused(`opcode ${opcode}`);
    return true;
  }

  pong(text) {
    if (this.flooded) return;
    const [connection, number] = text.split('.').map(Number);
    if (connection !== this.plan.id || !(number >= this.pongs) || number >= this.pings)
      this.wrong(`pong ${text}`);
    this.pongs = number + 1;
  }

  closeFrame(payload) {
    this.closed = { code: payload.length < 2 ? 1005 : payload.readUInt16BE() };
    if (!this.closeSent && this.state === 'open') {
      this.answer(frameOf(Opcode.CLOSE, payload.subarray(0, 2), this.random));
    }
  }

  part(opcode, payload, fin, compressed) {
    if ((opcode === Opcode.MORE) !== (this.fragments !== undefined))
      return this.confused(`fragment ${opcode}`);
    this.fragments ??= { parts: [], compressed };
    this.fragments.parts.push(payload);
    if (!fin) return true;
    const { parts } = this.fragments;
    const whole = Buffer.concat(parts);
    const inflate = this.fragments.compressed;
    this.fragments = undefined;
    try {
      this.message(inflate ? this.deflation.expand(whole) : whole);
    } catch (error) {
      return this.confused(
        `a message that cannot be read: ${error.message} ${JSON.stringify(whole.toString('latin1', 0, 60))}`,
      );
    }
    return true;
  }

  message(bytes) {
    if (bytes.equals(BEHIND_THE_END)) return;
    const end = bytes.indexOf(10);
    const { c, d, n, y, p, t, b } = JSON.parse(bytes.toString('utf8', 0, end));
    const body = bytes.subarray(end + 1);
    const bad =
      p === undefined
        ? c !== this.plan.id
          ? `a message of connection ${c}`
          : fault(body, To.CLIENT, c, d, n)
        : fault(body, To.SUBSCRIBERS, this.plan.tls ? 1 : 0, b, n);
    if (bad) this.wrong(`message ${d ?? `${p} of ${t}`}: ${bad}`);
    this.got.push(p ?? -1 - d);
    if (y !== undefined) this.synced = y;
  }

  confused(text) {
    this.wrong(text);
    this.reset();
    return false;
  }

  /** Compares with what the server has told; `told` is undefined when it knows of no upgrade. */
  check(told) {
    if (this.checked) return;
    this.checked = true;
    if (!told || !told.opened) {
      if (this.open) this.wrong('upgraded, but the server knows of no WebSocket');
      else if (!this.abrupt && !this.plan.refuse && this.state !== 'connecting')
        this.wrong(`not upgraded; ${this.state}`);
      return;
    }
    if (this.plan.stays && this.state !== 'open')
      this.wrong(`closed by the server: ${JSON.stringify(told.closed)}`);
    this.checkReceived(told);
    this.checkSent(told);
    this.checkClose(told);
  }

  /** All that the server has sent is here when the connection ended in order; else the beginning of it. */
  checkReceived({ expected }) {
    const { got } = this;
    const at = got.findIndex((number, i) => number !== expected[i]);
    if (at >= 0) {
      const around = (list) => list.slice(Math.max(0, at - 2), at + 3).join(' ');
      return this.wrong(`received …${around(got)}… instead of …${around(expected)}…, from ${at} on`);
    }
    const all = !this.abrupt && (this.closed && !this.closeSent ? true : this.state === 'open');
    if (all && got.length < expected.length) {
      this.wrong(
        `received ${got.length} of ${expected.length} messages; ${this.state}, ${JSON.stringify(this.closed)}`,
      );
    }
  }

  checkSent({ received, closed, pings }) {
    if (received > this.sentMessages)
      this.wrong(`the server has ${received} of ${this.sentMessages} messages`);
    const whole = !this.abrupt && !this.endAsked && (this.closeSent || this.state === 'open');
    if (whole && received < this.sentMessages)
      this.wrong(`the server has ${received} of ${this.sentMessages} messages (${JSON.stringify(closed)})`);
    if (!this.flooded && whole && pings !== this.pings)
      this.wrong(`the server has ${pings} of ${this.pings} pings`);
    if (whole && this.synced >= 0 && this.pings > 0 && this.state === 'open' && this.pongs !== this.pings)
      this.wrong(`${this.pongs} of ${this.pings} pings are answered`);
  }

  checkClose({ closed }) {
    if (!closed) {
      if (this.state !== 'open') this.wrong(`over (${this.state}), but the server was not told`);
      return;
    }
    if (
      this.closeSent &&
      !this.abrupt &&
      !this.endAsked &&
      (closed.code !== this.closeSent || closed.reason !== 'bye')
    ) {
      this.wrong(`closed with ${JSON.stringify(closed)} instead of ${this.closeSent}`);
    }
  }
}

module.exports = { WsClient };
