'use strict';
// Raw clients for the specs, which send and receive plain bytes. No HTTP or WebSocket library stands between
// a test and the wire.

const net = require('node:net');
const tls = require('node:tls');
const crypto = require('node:crypto');

const turn = () => new Promise((resolve) => setImmediate(resolve));

/** A TCP connection whose received bytes the test takes in the order in which they arrived. */
class Peer {
  /** @param {net.Socket} [raw] the TCP connection, where `socket` is TLS over it */
  constructor(socket, raw = socket) {
    this.socket = socket;
    this.raw = raw;
    this.chunks = [];
    this.size = 0;
    this.state = 'open'; // then 'fin' or 'reset'
    this.waiting = new Set();
    const wake = () => {
      for (const check of [...this.waiting]) check();
    };
    socket.on('data', (chunk) => {
      this.chunks.push(chunk);
      this.size += chunk.length;
      wake();
    });
    socket.on('end', () => {
      if (this.state === 'open') this.state = 'fin';
      wake();
    });
    socket.on('error', () => {
      this.state = 'reset';
      wake();
    });
    socket.on('close', () => {
      if (this.state === 'open') this.state = 'reset';
      wake();
    });
  }

  static connect(target, options = {}) {
    const where =
      typeof target === 'string' ? { path: target } : { port: target, host: options.host || '127.0.0.1' };
    return new Promise((resolve, reject) => {
      const raw = net.connect({ ...where, allowHalfOpen: true, noDelay: true });
      const secure = options.tls || (options.tls === undefined && process.env.UWS_TLS === '1');
      const socket = secure ? tls.connect({ socket: raw, rejectUnauthorized: false, ...options.tls }) : raw;
      socket.once('error', reject);
      socket.once(secure ? 'secureConnect' : 'connect', () => {
        socket.removeListener('error', reject);
        const peer = new this(socket, raw);
        if (options.track) options.track(peer);
        resolve(peer);
      });
    });
  }

  /** Writes and resolves when the kernel has the bytes. */
  send(data) {
    return new Promise((resolve) => this.socket.write(data, 'latin1', () => resolve()));
  }

  /** Writes in pieces of the given size, and lets the receiver run between them. */
  async sendPieces(data, size = 1) {
    const bytes = Buffer.from(data, 'latin1');
    for (let at = 0; at < bytes.length; at += size) {
      await this.send(bytes.subarray(at, at + size));
      await turn();
    }
  }

  halfClose() {
    this.socket.end();
  }
  reset() {
    this.outside(() => this.raw.resetAndDestroy());
  }
  pause() {
    this.socket.pause();
  }
  resume() {
    this.socket.resume();
  }
  destroy() {
    this.outside(() => this.socket.destroy());
  }

  /**
   * Node's TLS crashes when its socket is destroyed while it delivers data that it has read, which is when
   * tests often continue.
   */
  outside(action) {
    if (this.socket === this.raw) action();
    else setImmediate(action);
  }

  bytes() {
    if (this.chunks.length > 1) this.chunks = [Buffer.concat(this.chunks)];
    return this.chunks[0] || Buffer.alloc(0);
  }

  consume(count) {
    const all = this.bytes();
    this.chunks = count < all.length ? [all.subarray(count)] : [];
    this.size = all.length - count;
    return all.subarray(0, count);
  }

  /** Resolves with the first truthy value of `check`; rejects when the connection ends before. */
  when(check, what) {
    return new Promise((resolve, reject) => {
      const attempt = () => {
        const value = check();
        if (value) resolve(value);
        else if (this.state !== 'open')
          reject(
            new Error(
              `connection ended (${this.state}) before ${what}; left: ${JSON.stringify(this.bytes().toString('latin1').slice(0, 300))}`,
            ),
          );
        else return;
        this.waiting.delete(attempt);
      };
      this.waiting.add(attempt);
      attempt();
    });
  }

  async take(count) {
    await this.when(() => this.size >= count || count === 0, `${count} bytes came`);
    return this.consume(count);
  }

  /** Takes everything up to and including the text. */
  async until(text) {
    const end = await this.when(() => {
      const at = this.bytes().indexOf(text, 0, 'latin1');
      return at < 0 ? 0 : at + Buffer.byteLength(text, 'latin1');
    }, JSON.stringify(text));
    return this.consume(end).toString('latin1');
  }

  /**
   * Resolves when the other side has ended the connection, with 'fin' or 'reset'. The data received before
   * stays readable.
   */
  gone() {
    return new Promise((resolve) => {
      const attempt = () => {
        if (this.state === 'open') return;
        this.waiting.delete(attempt);
        resolve(this.state);
      };
      this.waiting.add(attempt);
      attempt();
    });
  }

  /** Takes everything that arrives until the other side ends the connection. */
  async rest() {
    await this.gone();
    return this.consume(this.size).toString('latin1');
  }

  async head() {
    const text = await this.until('\r\n\r\n');
    const [first, ...lines] = text.slice(0, -4).split('\r\n');
    const list = lines.map((line) => [
      line.slice(0, line.indexOf(':')).toLowerCase(),
      line.slice(line.indexOf(':') + 1).trim(),
    ]);
    const status = first.slice(first.indexOf(' ') + 1);
    return {
      text,
      version: first.split(' ', 1)[0],
      status,
      code: Number(status.slice(0, 3)),
      list,
      all: (name) => list.filter(([key]) => key === name).map(([, value]) => value),
      get: (name) => (list.find(([key]) => key === name) || [])[1],
    };
  }

  async chunked() {
    const chunks = [];
    for (;;) {
      const size = parseInt(await this.until('\r\n'), 16);
      const data = await this.take(size);
      await this.until('\r\n');
      if (size === 0) return chunks;
      chunks.push(data);
    }
  }

  /**
   * Reads one whole response: the head, and the body that its framing announces (none for HEAD, 1xx, 204,
   * 304).
   */
  async response({ head = false } = {}) {
    const answer = await this.head();
    if (answer.get('transfer-encoding') === 'chunked') {
      answer.chunks = await this.chunked();
      answer.raw = Buffer.concat(answer.chunks);
    } else {
      const bodyless = head || answer.code < 200 || answer.code === 204 || answer.code === 304;
      answer.raw = await this.take(bodyless ? 0 : Number(answer.get('content-length') || 0));
    }
    answer.body = answer.raw.toString('latin1');
    return answer;
  }

  async request(text, options) {
    await this.send(text);
    return this.response(options);
  }
}

/** Builds a request head; `headers` are [name, value] pairs or whole lines. */
function request(method, target, headers = [], body = '') {
  const lines = headers.map((header) => (Array.isArray(header) ? `${header[0]}: ${header[1]}` : header));
  return [`${method} ${target} HTTP/1.1`, 'Host: localhost', ...lines, '', body].join('\r\n');
}
const get = (target, headers) => request('GET', target, headers);
const post = (target, body, headers = []) =>
  request('POST', target, [`Content-Length: ${Buffer.byteLength(body, 'latin1')}`, ...headers], body);

const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';
const ACCEPT = 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=';

function upgradeRequest(target, { headers = [], key = KEY } = {}) {
  return get(target, [
    'Upgrade: websocket',
    'Connection: Upgrade',
    'Sec-WebSocket-Version: 13',
    `Sec-WebSocket-Key: ${key}`,
    ...headers,
  ]);
}

const CONTINUATION = 0,
  TEXT = 1,
  BINARY = 2,
  CLOSE = 8,
  PING = 9,
  PONG = 10;

/**
 * Builds one client frame. `length` overrides the announced length, `width` (0, 2, 8) its encoding;
 * `mask: false` leaves the frame unmasked.
 */
function frame({ opcode = TEXT, payload = '', fin = true, rsv = 0, mask = true, length, width } = {}) {
  const data = Buffer.from(payload);
  const size = length === undefined ? data.length : length;
  const bytes = width === undefined ? (size < 126 ? 0 : size < 65536 ? 2 : 8) : width;
  const head = Buffer.alloc(2 + bytes);
  head[0] = (fin ? 0x80 : 0) | (rsv << 4) | opcode;
  head[1] = (mask ? 0x80 : 0) | (bytes === 0 ? size : bytes === 2 ? 126 : 127);
  if (bytes === 2) head.writeUInt16BE(size, 2);
  if (bytes === 8) head.writeBigUInt64BE(BigInt(size), 2);
  if (!mask) return Buffer.concat([head, data]);
  const key = crypto.randomBytes(4);
  const masked = Buffer.allocUnsafe(data.length);
  for (let i = 0; i < data.length; i++) masked[i] = data[i] ^ key[i & 3];
  return Buffer.concat([head, key, masked]);
}

function closePayload(code, reason = '') {
  const head = Buffer.alloc(2);
  head.writeUInt16BE(code);
  return Buffer.concat([head, Buffer.from(reason)]);
}

/** A WebSocket client with control over every frame. It sends nothing by itself. */
class WsPeer extends Peer {
  static async open(target, path = '/', options = {}) {
    const peer = await this.connect(target, options);
    await peer.send(upgradeRequest(path, options));
    peer.handshake = await peer.head();
    if (peer.handshake.code !== 101) throw new Error(`no upgrade: ${peer.handshake.text}`);
    return peer;
  }

  sendFrame(options) {
    return this.send(frame(options));
  }
  text(payload) {
    return this.sendFrame({ opcode: TEXT, payload });
  }
  binary(payload) {
    return this.sendFrame({ opcode: BINARY, payload });
  }
  ping(payload = '') {
    return this.sendFrame({ opcode: PING, payload });
  }
  pong(payload = '') {
    return this.sendFrame({ opcode: PONG, payload });
  }
  close(code, reason) {
    return this.sendFrame({ opcode: CLOSE, payload: code === undefined ? '' : closePayload(code, reason) });
  }

  /** Reads the next frame of the server: { fin, rsv, opcode, masked, data, text, code }. */
  async frame() {
    const [first, second] = await this.take(2);
    let length = second & 127;
    if (length === 126) length = (await this.take(2)).readUInt16BE();
    else if (length === 127) length = Number((await this.take(8)).readBigUInt64BE());
    const data = await this.take(length);
    const result = {
      fin: first >= 128,
      rsv: (first >> 4) & 7,
      opcode: first & 15,
      masked: second >= 128,
      data,
      text: data.toString(),
    };
    if (result.opcode === CLOSE) {
      result.code = length >= 2 ? data.readUInt16BE() : 1005;
      result.text = data.subarray(2).toString();
    }
    return result;
  }

  async message() {
    const { text } = await this.frame();
    return text;
  }

  async messages(count) {
    const list = [];
    while (list.length < count) list.push(await this.message());
    return list;
  }

  /** Reads all frames until the server ends the connection. */
  async frames() {
    await this.gone();
    const list = [];
    while (this.size > 0) list.push(await this.frame());
    return list;
  }
}

module.exports = {
  Peer,
  WsPeer,
  turn,
  request,
  get,
  post,
  upgradeRequest,
  frame,
  closePayload,
  KEY,
  ACCEPT,
  CONTINUATION,
  TEXT,
  BINARY,
  CLOSE,
  PING,
  PONG,
};
