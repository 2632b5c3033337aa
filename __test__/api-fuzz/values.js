'use strict';
// Arguments that no program should pass, and those that one could.

const os = require('os');
const path = require('path');
const vm = require('vm');

/** An error that the fuzzer throws itself. */
class Thrown extends Error {}

const OTHER_REALM = vm.createContext({});
const inOtherRealm = (source) => vm.runInContext(source, OTHER_REALM);

const NUMBERS = [
  0,
  -0,
  1,
  -1,
  2,
  8,
  20,
  125,
  126,
  255,
  256,
  1000,
  1006,
  4000,
  65535,
  65536,
  0.5,
  3.7,
  NaN,
  Infinity,
  -Infinity,
  2 ** 31 - 1,
  2 ** 31,
  2 ** 32 - 1,
  2 ** 32,
  2 ** 53,
  2 ** 53 + 2,
  1e308,
  5e-324,
  -(2 ** 31),
  -(2 ** 53),
];
const TEXTS = [
  '',
  'a',
  'topic',
  'é',
  '\ud800',
  '\udc00x',
  'a\0b',
  'a\r\nb: c',
  '200 OK',
  '204 No Content',
  '304 Not Modified',
  '101 Switching Protocols',
  '103 Early',
  'x',
  'content-length',
  'Connection',
  'close',
  '5',
  '12',
  'transfer-encoding',
  '/*',
  '/a',
  '/:a/:b',
  '*',
  '/a/*/b',
  '__proto__',
  'constructor',
  'toString',
  ' ',
  '\t',
  '\x7f',
  '/'.repeat(120),
  'dGhlIHNhbXBsZSBub25jZQ==',
  'permessage-deflate; client_max_window_bits',
  'multipart/form-data; boundary=x',
];
/** Hosts that are resolved without a name server. */
const HOSTS = ['127.0.0.1', 'localhost', '::1', '', '999.1.1.1', '127.0.0.1\0', ' ', '0x7f.1'];

class Values {
  /**
   * @param {object} fuzz { below, pick, chance, step, own, … }: `step` makes calls, `own` gives an object of
   *   the API
   */
  constructor(fuzz) {
    this.fuzz = fuzz;
  }

  text() {
    const { pick, chance, below } = this.fuzz;
    if (chance(0.05)) return 'x'.repeat(below(200000));
    if (chance(0.02)) return 'é'.repeat(below(50000));
    return pick(TEXTS);
  }

  number() {
    const { pick, chance, below } = this.fuzz;
    return chance(0.5) ? pick(NUMBERS) : below(20000);
  }

  size() {
    const { chance, below } = this.fuzz;
    if (chance(0.02)) return below(3 << 20);
    return chance(0.1) ? below(200000) : below(300);
  }

  /** Memory in all its forms; some of it is gone. */
  buffer() {
    const { pick, below } = this.fuzz;
    const size = this.size();
    const forms = [
      () => Buffer.alloc(size, 7),
      () => new ArrayBuffer(size),
      () => new Uint8Array(size),
      () => new Uint8Array(new ArrayBuffer(size + 8), 4, size),
      () => new Float64Array(below(100)),
      () => new BigUint64Array(below(100)),
      () => new DataView(new ArrayBuffer(size + 3), 2, size),
      () => new SharedArrayBuffer(size),
      () => new Uint8Array(new SharedArrayBuffer(size + 2), 1),
      () => detached(new ArrayBuffer(size)),
      () => viewOf(new ArrayBuffer(size), detached),
      () => new ArrayBuffer(size, { maxByteLength: size + 1000 }),
      () =>
        viewOf(new ArrayBuffer(size, { maxByteLength: size + 1000 }), (buffer) =>
          buffer.resize(below(size + 1000)),
        ),
      () => outOfBounds(size),
      () => new DataView(shrunk(size), 0),
      () => new SharedArrayBuffer(size, { maxByteLength: size + 1000 }),
      () => inOtherRealm(`new ArrayBuffer(${below(1000)})`),
      () => inOtherRealm(`new Uint8Array(${below(1000)})`),
      () => lying(new Uint8Array(size)),
      () => this.fuzz.kept() ?? new ArrayBuffer(1),
    ];
    return pick(forms)();
  }

  data() {
    return this.fuzz.chance(0.5) ? this.text() : this.buffer();
  }

  callback() {
    const { fuzz } = this;
    const steps = fuzz.below(3);
    const throws = fuzz.chance(0.1);
    return (...given) => {
      fuzz.keep(given);
      for (let i = 0; i < steps; i++) fuzz.step();
      if (throws) throw new Thrown('of a callback');
      return fuzz.chance(0.3) ? this.any() : fuzz.chance(0.5);
    };
  }

  /** An object whose conversion calls back. */
  converting() {
    const { pick } = this.fuzz;
    const call = this.callback();
    const results = [() => 1, () => 'text', () => this.number(), () => ({}), () => Symbol('s'), () => 5n];
    const result = pick(results);
    const convert = () => (call(), result());
    return pick([
      () => ({ valueOf: convert }),
      () => ({ toString: convert }),
      () => ({ [Symbol.toPrimitive]: convert }),
      () => ({ toString: 1, valueOf: convert }),
      () => Object.defineProperty({}, 'valueOf', { get: () => convert }),
    ])();
  }

  /** A proxy whose traps call back. */
  proxy() {
    const { pick, chance } = this.fuzz;
    const call = this.callback();
    const target = pick([{}, [], () => {}, new Uint8Array(4), new ArrayBuffer(4)]);
    const { proxy, revoke } = Proxy.revocable(target, {
      get: (object, name) => (call(), Reflect.get(object, name, object)),
      has: () => (call(), true),
      ownKeys: (object) => (call(), Reflect.ownKeys(object)),
      getPrototypeOf: (object) => (call(), Reflect.getPrototypeOf(object)),
    });
    if (chance(0.2)) revoke();
    return proxy;
  }

  /** Options whose getters call back. */
  options(names) {
    const { chance, pick } = this.fuzz;
    const options = {};
    for (const name of names) {
      if (chance(0.7)) continue;
      const value = this.any();
      if (chance(0.2)) Object.defineProperty(options, name, { get: this.callback(), enumerable: true });
      else options[name] = chance(0.5) ? pick([0, 1, 8, 16384, true, false, null, undefined]) : value;
    }
    return options;
  }

  any() {
    const { fuzz } = this;
    const kinds = [
      () => undefined,
      () => null,
      () => fuzz.chance(0.5),
      () => this.number(),
      () => BigInt(Math.floor(fuzz.below(1000))) ** BigInt(fuzz.below(9)),
      () => this.text(),
      () => Symbol('symbol'),
      () => this.callback(),
      () => this.buffer(),
      () => this.buffer(),
      () => this.converting(),
      () => this.converting(),
      () => this.proxy(),
      () => fuzz.own(),
      () => fuzz.own(),
      () => ({}),
      () => [1, 'two', {}],
      () => new Date(0),
      () => new Map(),
      () => Promise.resolve(),
      () => class Some {},
      () => async () => fuzz.step(),
      () => inOtherRealm('({})'),
      () => inOtherRealm('(() => 1)'),
      () => inOtherRealm('new Error("of another realm")'),
      () => Object.create(fuzz.own() ?? null),
      () => Object.freeze([]),
      () => globalThis,
    ];
    return fuzz.pick(kinds)();
  }

  host() {
    return this.fuzz.pick(HOSTS);
  }

  /** A path that may be listened at. */
  socketPath() {
    return path.join(os.tmpdir(), `api-fuzz-${process.pid}-${this.fuzz.below(4)}.sock`);
  }
}

function detached(buffer) {
  structuredClone(buffer, { transfer: [buffer] });
  return buffer;
}

function viewOf(buffer, change) {
  const view = new Uint8Array(buffer);
  change(buffer);
  return view;
}

/** A view that lies beyond the end of its buffer. */
function outOfBounds(size) {
  const buffer = new ArrayBuffer(size + 100, { maxByteLength: size + 100 });
  const view = new Uint8Array(buffer, 50, size);
  buffer.resize(10);
  return view;
}

function shrunk(size) {
  const buffer = new ArrayBuffer(size + 10, { maxByteLength: size + 10 });
  buffer.resize(5);
  return buffer;
}

/** A view whose own properties say something else than is true. */
function lying(view) {
  for (const name of ['byteLength', 'byteOffset', 'length', 'buffer']) {
    Object.defineProperty(view, name, { get: () => 2 ** 31 });
  }
  return view;
}

module.exports = { Values, Thrown };
