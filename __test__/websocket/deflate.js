'use strict';
// permessage-deflate on the client's side, written by hand: zlib streams of one connection, with or without
// context, on raw frames.

const zlib = require('node:zlib');
const { WsPeer, frame, TEXT, BINARY, CONTINUATION } = require('../support');

const TAIL = Buffer.from([0, 0, 255, 255]);

/** Feeds a zlib stream and resolves with its output for one flush. */
function through(stream, data) {
  return new Promise((resolve, reject) => {
    const chunks = [];
    const collect = (chunk) => chunks.push(chunk);
    stream.on('data', collect);
    stream.once('error', reject);
    stream.write(data);
    stream.flush(zlib.constants.Z_SYNC_FLUSH, () => {
      stream.off('data', collect);
      stream.off('error', reject);
      resolve(Buffer.concat(chunks));
    });
  });
}

/**
 * Reads the parameters of a response: { server_max_window_bits: '9', … }; undefined when it does not accept
 * permessage-deflate.
 */
function parametersOf(answer) {
  const [name, ...rest] = (answer ?? '').split(';').map((part) => part.trim());
  if (name !== 'permessage-deflate') return undefined;
  return Object.fromEntries(rest.map((part) => part.split('=')));
}

class Codec {
  constructor(parameters) {
    this.parameters = parameters;
    this.bits = {
      own: Number(parameters.client_max_window_bits ?? 15),
      peer: Number(parameters.server_max_window_bits ?? 15),
    };
  }

  #deflater() {
    // zlib cannot write raw deflate with a window of 8 bits. For a short text the output with 9 bits fits,
    // too.
    return zlib.createDeflateRaw({ windowBits: Math.max(this.bits.own, 9) });
  }

  async deflate(data) {
    if (!this.deflater || 'client_no_context_takeover' in this.parameters) this.deflater = this.#deflater();
    const compressed = await through(this.deflater, data);
    return compressed.subarray(0, -TAIL.length);
  }

  /**
   * Fails when a message refers to more than the negotiated window, or to another message without context.
   */
  async inflate(data) {
    if (!this.inflater || 'server_no_context_takeover' in this.parameters)
      this.inflater = zlib.createInflateRaw({ windowBits: this.bits.peer });
    return through(this.inflater, Buffer.concat([data, TAIL]));
  }
}

/** A raw client that has negotiated permessage-deflate, or not. */
class DeflatePeer extends WsPeer {
  static async open(port, offer = 'permessage-deflate; client_max_window_bits', options = {}) {
    const headers = offer === '' ? [] : [`Sec-WebSocket-Extensions: ${offer}`];
    const peer = await super.open(port, options.url ?? '/', {
      ...options,
      headers: [...headers, ...(options.headers ?? [])],
    });
    peer.answer = peer.handshake.get('sec-websocket-extensions');
    const parameters = parametersOf(peer.answer);
    peer.codec = parameters && new Codec(parameters);
    return peer;
  }

  /** Builds the frames of one compressed message, cut into as many fragments as there are positions. */
  async compressed(data, { binary = false, cuts = [] } = {}) {
    const payload = await this.codec.deflate(Buffer.from(data));
    const edges = [
      0,
      ...cuts.map((cut) => Math.min(cut, payload.length)).sort((a, b) => a - b),
      payload.length,
    ];
    const parts = edges.slice(1).map((end, i) => payload.subarray(edges[i], end));
    const frames = parts.map((part, i) =>
      frame({
        opcode: i > 0 ? CONTINUATION : binary ? BINARY : TEXT,
        rsv: i === 0 ? 4 : 0,
        fin: i === parts.length - 1,
        payload: part,
      }),
    );
    return Buffer.concat(frames);
  }

  /** Reads the next message, decompressed: { data, text, binary, compressed, wire }. */
  async received() {
    let first;
    const parts = [];
    for (;;) {
      const next = await this.frame();
      first ??= next;
      parts.push(next.data);
      if (next.fin) break;
    }
    const wire = Buffer.concat(parts);
    const compressed = first.rsv === 4;
    const data = compressed ? await this.codec.inflate(wire) : wire;
    return {
      data,
      text: data.toString(),
      binary: first.opcode === BINARY,
      opcode: first.opcode,
      compressed,
      wire: wire.length,
      code: first.code,
    };
  }
}

/** Creates random numbers that a failed run can repeat. */
function random(seed) {
  let state = seed >>> 0 || 1;
  return (limit) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % limit;
  };
}

module.exports = { DeflatePeer, random };
