'use strict';
// What users may pass, and the errors they get for everything else. The texts are those of uWebSockets.js where it
// has one.

const { isUtf8 } = require('buffer');
const { types } = require('util');

const TEXT_OR_DATA = 'Text and data can only be passed by String, ArrayBuffer or TypedArray.';

/** The error for too few arguments. */
function missing(count) {
  return new Error(`Function requires at least ${count} arguments.`);
}

function requireArguments(given, count) {
  if (given < count) throw missing(count);
}

/** @param {string} [name] the argument, as a property of the error: the text is the original's */
function callbackError(name) {
  const error = new Error('Passed callback is not a valid function.');
  if (name !== undefined) error.argument = name;
  return error;
}

function requireFunction(value, name) {
  if (typeof value !== 'function') throw callbackError(name);
}

/**
 * Text or data that the native side did not take as it is: `undefined` is empty, shared memory is viewed.
 * @param {string} [name] the argument, for the message
 */
function coerce(value, name) {
  if (value === undefined) return '';
  if (typeof value === 'string' || ArrayBuffer.isView(value) || types.isAnyArrayBuffer(value)) {
    return types.isSharedArrayBuffer(value) ? new Uint8Array(value) : value;
  }
  const error = new Error(TEXT_OR_DATA);
  if (name !== undefined) error.argument = name;
  throw error;
}

/** The getters of a view, which one of its own properties may hide. */
function gettersOf(prototype) {
  const getter = (name) => Object.getOwnPropertyDescriptor(prototype, name).get;
  return ['buffer', 'byteOffset', 'byteLength'].map((name) => Function.prototype.call.bind(getter(name)));
}

const TYPED_ARRAY = gettersOf(Object.getPrototypeOf(Uint8Array.prototype));
const DATA_VIEW = gettersOf(DataView.prototype);

/** The memory of text or data, none where it has been taken away. Runs nothing of a user's, as `Buffer.from` may. */
function bytes(value) {
  if (typeof value === 'string') return Buffer.from(value);
  try {
    return Reflect.construct(Uint8Array, memory(value), Buffer);
  } catch {
    return Buffer.alloc(0);
  }
}

/** Buffer, offset and length of a view; throws for a DataView whose buffer has been detached or has shrunk. */
function memory(value) {
  if (!ArrayBuffer.isView(value)) return [value];
  const getters = types.isDataView(value) ? DATA_VIEW : TYPED_ARRAY;
  return getters.map((getter) => getter(value));
}

/** A RecognizedString as a string, for what has a meaning only as text: bytes that are no UTF-8 become U+FFFD. */
function text(value, name) {
  if (typeof value === 'string') return value;
  const data = coerce(value, name);
  return typeof data === 'string' ? data : bytes(data).toString('utf8');
}

/** A lone surrogate: no well-formed string begins with it. */
const RAW = '\udc00';
const RAW_CODE = RAW.charCodeAt(0);

/**
 * A RecognizedString as a string that is equal for equal bytes only, to be compared and looked up: text where it is
 * UTF-8, and otherwise `RAW` and a character for each byte.
 */
function key(value, name) {
  if (typeof value === 'string') return value.isWellFormed() ? value : value.toWellFormed();
  const data = coerce(value, name);
  return typeof data === 'string' ? data : keyOfBytes(bytes(data));
}

function keyOfBytes(data) {
  // Of a detached buffer nothing may be asked.
  if (data.length === 0) return '';
  return isUtf8(data) ? data.toString('utf8') : RAW + data.toString('latin1');
}

/** Whether a key stands for bytes that are no UTF-8. */
function isRaw(key) {
  return key.charCodeAt(0) === RAW_CODE;
}

/** The text or the bytes that a key was made of. */
function ofKey(key) {
  return isRaw(key) ? Buffer.from(key.slice(1), 'latin1') : key;
}

/** A key as text for people. */
function shown(key) {
  return isRaw(key) ? ofKey(key).toString('utf8') : key;
}

/** A copy of text or data as an ArrayBuffer of its own. */
function toArrayBuffer(value) {
  const data = coerce(value);
  const source = typeof data === 'string' ? Buffer.from(data) : bytes(data);
  return Uint8Array.from(source).buffer;
}

/** A whole number of anything, as the original converts it: 0 for what is none. */
function whole(value) {
  return Math.trunc(Number(value)) || 0;
}

/** A number of bytes, without its fraction; a RangeError for what is none. */
function size(value, name) {
  return integer(Math.trunc(Number(value)), name, 0, Number.MAX_SAFE_INTEGER);
}

/** An integer option within bounds, or a RangeError that names it. */
function integer(value, name, min, max) {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) {
    throw new RangeError(`${name} must be an integer from ${min} to ${max}; got ${String(value)}.`);
  }
  return value;
}

module.exports = {
  requireArguments,
  callbackError,
  requireFunction,
  coerce,
  bytes,
  text,
  key,
  keyOfBytes,
  isRaw,
  ofKey,
  shown,
  toArrayBuffer,
  whole,
  size,
  integer,
};
