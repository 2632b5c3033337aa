'use strict';
// Bytes that say whose they are: units of sixteen characters with the direction, the connection, the sequence
// number and the position. A byte at the wrong place names the place where it belongs.

const UNIT = 16;
const DIGITS = Buffer.from('0123456789abcdefghijklmnopqrstuvwxyz');

const To = Object.freeze({ SERVER: 'c', CLIENT: 's', SUBSCRIBERS: 'p' });

/** Writes a number in base 36, most significant digit first. */
function put(buffer, at, number, digits) {
  for (let i = at + digits - 1; i >= at; i--) {
    buffer[i] = DIGITS[number % 36];
    number = Math.floor(number / 36);
  }
}

function describing(to, connection, sequence, length) {
  const units = Math.ceil(length / UNIT);
  const buffer = Buffer.allocUnsafe(units * UNIT);
  const unit = Buffer.alloc(UNIT, '|');
  unit.write(to);
  put(unit, 1, connection, 4);
  put(unit, 5, sequence, 4);
  for (let i = 0; i < units; i++) {
    put(unit, 9, i, 6);
    unit.copy(buffer, i * UNIT);
  }
  return buffer.subarray(0, length);
}

/** The bytes that were expected last: a message to all is expected many times. */
const last = { key: '', bytes: undefined };

function expectedBytes(...of) {
  const key = of.join();
  if (last.key !== key) Object.assign(last, { key, bytes: describing(...of) });
  return last.bytes;
}

/** Returns what is wrong with received bytes; undefined when they are the right ones. */
function fault(bytes, to, connection, sequence, length) {
  const expected = expectedBytes(to, connection, sequence, length);
  if (expected.equals(bytes)) return undefined;
  if (bytes.length !== length) return `${bytes.length} bytes instead of ${length}`;
  const at = bytes.findIndex((byte, i) => byte !== expected[i]);
  const start = at - (at % UNIT);
  const shown = (buffer) => JSON.stringify(buffer.toString('latin1', start, start + 2 * UNIT));
  return `at ${at} of ${length} bytes ${shown(bytes)} instead of ${shown(expected)}`;
}

module.exports = { To, describing, fault };
