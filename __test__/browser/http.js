'use strict';

// A client that accepts responses as they are, even with two Content-Length fields, which Node's own clients
// refuse.

const net = require('node:net');
const tls = require('node:tls');
const { once } = require('node:events');

/** One connection on which responses are read one after the other. */
class Connection {
  #socket;
  #chunks;
  #buffer = Buffer.alloc(0);

  /** The connection uses TLS where there is a certificate to trust. */
  static async open(port, { ca } = {}) {
    const socket = ca
      ? tls.connect({ port, host: '127.0.0.1', servername: 'localhost', ca })
      : net.connect(port, '127.0.0.1');
    await once(socket, ca ? 'secureConnect' : 'connect');
    return new Connection(socket);
  }

  constructor(socket) {
    // A reset is seen where the test reads; a write that meets it does not fail the test.
    this.#socket = socket.on('error', () => {});
    this.#chunks = socket[Symbol.asyncIterator]();
  }

  send(data) {
    this.#socket.write(data);
  }

  request(method, target, fields = {}, body = '') {
    const head = Object.entries({ host: 'localhost', ...fields }).map(
      ([name, value]) => `${name}: ${value}\r\n`,
    );
    this.send(`${method} ${target} HTTP/1.1\r\n${head.join('')}\r\n`);
    if (body.length) this.send(body);
    return this.response({ head: method === 'HEAD' });
  }

  /** Reads a whole response. `head` means the response to HEAD, which has no body whatever it announces. */
  async response({ head = false } = {}) {
    const lines = (await this.#until('\r\n\r\n')).toString('latin1').split('\r\n');
    const fields = lines.slice(1).map((line) => {
      const colon = line.indexOf(':');
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    });
    const all = (name) => fields.filter(([field]) => field === name).map(([, value]) => value);
    const status = Number(lines[0].split(' ')[1]);
    const bare = head || status === 304 || status === 204;
    const body = bare
      ? Buffer.alloc(0)
      : await this.#body(all('transfer-encoding')[0], all('content-length'));
    return { status, all, header: (name) => all(name)[0], body };
  }

  /** Waits until the peer closes; the data it still sends is ignored. */
  async closed() {
    while (!(await this.#chunks.next()).done);
  }

  destroy() {
    this.#socket.destroy();
  }

  async #body(encoding, lengths) {
    if (encoding !== 'chunked') return this.#take(Number(lengths[0] ?? 0));
    const parts = [];
    for (;;) {
      const size = parseInt((await this.#until('\r\n')).toString('latin1'), 16);
      const part = await this.#take(size);
      await this.#take(2);
      if (size === 0) return Buffer.concat(parts);
      parts.push(part);
    }
  }

  async #until(end) {
    for (let at; ; await this.#more()) {
      if ((at = this.#buffer.indexOf(end)) < 0) continue;
      const found = this.#buffer.subarray(0, at);
      this.#buffer = this.#buffer.subarray(at + end.length);
      return found;
    }
  }

  async #take(size) {
    const parts = [];
    let missing = size;
    while (missing > this.#buffer.length) {
      parts.push(this.#buffer);
      missing -= this.#buffer.length;
      this.#buffer = Buffer.alloc(0);
      await this.#more();
    }
    parts.push(this.#buffer.subarray(0, missing));
    this.#buffer = this.#buffer.subarray(missing);
    return Buffer.concat(parts, size);
  }

  async #more() {
    const { done, value } = await this.#chunks.next();
    if (done) throw new Error('connection closed within a response');
    this.#buffer = this.#buffer.length ? Buffer.concat([this.#buffer, value]) : value;
  }
}

/** Sends one request on a connection of its own. */
async function request(port, method, target, fields, body, options) {
  const connection = await Connection.open(port, options);
  try {
    return await connection.request(method, target, fields, body);
  } finally {
    connection.destroy();
  }
}

module.exports = { Connection, request };
