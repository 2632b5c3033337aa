'use strict';
// Streams of bytes made from the cases by small damage, from a seed; and the way back, from a stream that
// shows a fault to a short one that still does.

const { CASES } = require('./cases');

const BYTES = [
  '\r',
  '\n',
  '\0',
  ' ',
  '\t',
  '\x0b',
  '\x7f',
  '\xff',
  ':',
  ';',
  ',',
  '"',
  '0',
  '5',
  'a',
  '-',
  '+',
];
const LINE_ENDS = ['\n', '\r', '\r\r\n', '\n\r', '\r\n\r\n', '', '\r\n ', ' \r\n', '\0\r\n'];
const NUMBERS = [
  '0',
  '00',
  '1',
  '5',
  '05',
  '+5',
  '-1',
  '0x5',
  '5 ',
  '5,5',
  '1e1',
  'a',
  '4294967301',
  `1${'0'.repeat(20)}`,
];
const LINES = [
  'Content-Length: 5',
  'Content-Length: 0',
  'Content-Length: 33',
  'Content-length : 5',
  'Transfer-Encoding: chunked',
  'Transfer-Encoding: identity',
  'transfer-encoding:chunked',
  'Transfer-Encoding : chunked',
  'Connection: close',
  'Connection: keep-alive',
  'Connection: Content-Length, Transfer-Encoding',
  'Expect: 100-continue',
  'Host: h',
  'GET /hidden HTTP/1.1',
  'GET http://h/hidden HTTP/1.0',
  'CONNECT h:80 HTTP/1.1',
  '0',
  '5;a=b',
  ' folded: b',
  '',
];
const MAX_LENGTH = 2000;

/** Numbers from 0 to 1 that follow from the seed (mulberry32). */
function numbers(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

class Mutator {
  constructor(seed) {
    this.random = numbers(seed);
    this.bases = CASES.map(({ bytes }) => bytes).filter((bytes) => bytes.length < MAX_LENGTH / 2);
  }

  below(bound) {
    return Math.floor(this.random() * bound);
  }
  pick(list) {
    return list[this.below(list.length)];
  }

  /** The next stream. */
  stream() {
    let bytes = this.pick(this.bases);
    if (this.random() < 0.3) bytes += this.pick(this.bases);
    for (let left = 1 + this.below(4); left > 0; left--) bytes = this.damaged(bytes);
    return bytes.slice(0, MAX_LENGTH);
  }

  /** The stream as it is sent: whole, or in a few pieces. */
  cut(stream) {
    if (this.random() < 0.5) return [stream];
    const places = [1 + this.below(stream.length), 1 + this.below(stream.length)].sort((a, b) => a - b);
    return [stream.slice(0, places[0]), stream.slice(places[0], places[1]), stream.slice(places[1])].filter(
      Boolean,
    );
  }

  damaged(bytes) {
    const at = this.below(bytes.length + 1);
    const [before, behind] = [bytes.slice(0, at), bytes.slice(at)];
    switch (this.below(11)) {
      case 0:
        return before + this.pick(BYTES) + behind;
      case 1:
        return before + this.pick(BYTES) + behind.slice(1);
      case 2:
        return before + behind.slice(1);
      case 3:
        return before + String.fromCharCode(this.below(256)) + behind.slice(1);
      case 4:
        return before + this.tail(this.pick(this.bases));
      case 5:
        return this.number(bytes);
      case 6:
        return this.lineEnd(bytes);
      default:
        return this.lines(bytes);
    }
  }

  tail(bytes) {
    return bytes.slice(this.below(bytes.length));
  }

  /** With another number in place of one. */
  number(bytes) {
    const found = [...bytes.matchAll(/[0-9a-f]+(?=\r\n)/gi)];
    if (!found.length) return bytes;
    const { index, 0: old } = this.pick(found);
    const near = (parseInt(old, 10) || 0) + this.pick([-1, 1, 2]);
    const next = this.random() < 0.4 ? String(Math.max(0, near)) : this.pick(NUMBERS);
    return bytes.slice(0, index) + next + bytes.slice(index + old.length);
  }

  lineEnd(bytes) {
    const found = [...bytes.matchAll(/\r\n/g)];
    if (!found.length) return bytes;
    const { index } = this.pick(found);
    return bytes.slice(0, index) + this.pick(LINE_ENDS) + bytes.slice(index + 2);
  }

  /** With a line twice, without one, with two in another order, or with a new one. */
  lines(bytes) {
    const list = bytes.split('\r\n');
    const [at, other] = [this.below(list.length), this.below(list.length)];
    switch (this.below(4)) {
      case 0:
        list.splice(other, 0, list[at]);
        break;
      case 1:
        list.splice(at, 1);
        break;
      case 2:
        [list[at], list[other]] = [list[other], list[at]];
        break;
      default:
        list.splice(Math.max(1, at), 0, this.pick(LINES));
    }
    return list.join('\r\n');
  }
}

/** Returns a short stream of which `shows` still holds, by leaving out one part after the other. */
async function reduce(stream, shows, tries = 300) {
  let [best, size] = [stream, stream.length >> 1];
  while (size > 0 && tries > 0) {
    let smaller = false;
    for (let at = 0; at < best.length && tries > 0; tries--) {
      const attempt = best.slice(0, at) + best.slice(at + size);
      if (attempt.length < best.length && (await shows(attempt))) {
        best = attempt;
        smaller = true;
      } else {
        at += size;
      }
    }
    if (!smaller || size > 1) size >>= 1;
  }
  return best;
}

module.exports = { Mutator, reduce };
