'use strict';
// Checks arguments, and creates the errors for those that are not accepted. The messages are those of
// uWebSockets.js where it has one.

const { isUtf8 } = require('buffer');
const { types } = require('util');

const TEXT_OR_DATA = 'Text and data can only be passed by String, ArrayBuffer or ArrayBufferView.';

/** The error for too few arguments. */
function missing(count) {
  return new Error(`Function requires at least ${count} arguments.`);
}

function requireArguments(given, count) {
  if (given < count) throw missing(count);
}

/** Returns whether there are options at all. */
function hasOptions(options) {
  if (options === undefined || options === null) return false;
  if (typeof options !== 'object') throw new Error('Options must be an object.');
  return true;
}

/** @param {string} [name] the argument, as a property of the error: the message is the original's */
function callbackError(name) {
  const error = new Error('Passed callback is not a valid function.');
  if (name !== undefined) error.argument = name;
  return error;
}

function requireFunction(value, name) {
  if (typeof value !== 'function') throw callbackError(name);
}

/**
 * Checks text or data that the native side did not take as it is: `undefined` is empty, shared memory is
 * viewed.
 * @param {string} [name] the argument, for the error
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

/** The getters of a view are called directly, since its own properties may hide them. */
function gettersOf(prototype) {
  const getter = (name) => Object.getOwnPropertyDescriptor(prototype, name).get;
  return ['buffer', 'byteOffset', 'byteLength'].map((name) => Function.prototype.call.bind(getter(name)));
}

const TYPED_ARRAY = gettersOf(Object.getPrototypeOf(Uint8Array.prototype));
const DATA_VIEW = gettersOf(DataView.prototype);

/**
 * Returns the memory of text or data, which is empty if it has been detached. Unlike `Buffer.from` this runs
 * no code of the program.
 */
function bytes(value) {
  if (typeof value === 'string') return Buffer.from(value);
  try {
    return Reflect.construct(Uint8Array, memory(value), Buffer);
  } catch {
    return Buffer.alloc(0);
  }
}

/**
 * Returns buffer, offset and length of a view. Throws for a DataView whose buffer has been detached or has
 * shrunk.
 */
function memory(value) {
  if (!ArrayBuffer.isView(value)) return [value];
  const getters = types.isDataView(value) ? DATA_VIEW : TYPED_ARRAY;
  return getters.map((getter) => getter(value));
}

/**
 * Converts a RecognizedString to a string where only text has a meaning: bytes that are not UTF-8 become
 * U+FFFD.
 */
function text(value, name) {
  if (typeof value === 'string') return value;
  const data = coerce(value, name);
  return typeof data === 'string' ? data : bytes(data).toString('utf8');
}

/** A lone surrogate: no well-formed string begins with it. */
const RAW = '\udc00';
const RAW_CODE = RAW.charCodeAt(0);

/** Replaces lone surrogates by U+FFFD. Node 18 has no methods for that. */
const wellFormed =
  ''.isWellFormed === undefined
    ? (text) => text.replace(/\p{Surrogate}/gu, '\ufffd')
    : (text) => (text.isWellFormed() ? text : text.toWellFormed());

/**
 * Converts a RecognizedString to a string that is equal only for equal bytes, so that it can be compared and
 * looked up: UTF-8 becomes text, anything else `RAW` and one character for each byte.
 */
function key(value, name) {
  if (typeof value === 'string') return wellFormed(value);
  const data = coerce(value, name);
  return typeof data === 'string' ? data : keyOfBytes(bytes(data));
}

function keyOfBytes(data) {
  // The methods of a detached buffer throw.
  if (data.length === 0) return '';
  return isUtf8(data) ? data.toString('utf8') : RAW + data.toString('latin1');
}

/** Whether a key stands for bytes that are not UTF-8. */
function isRaw(key) {
  return key.charCodeAt(0) === RAW_CODE;
}

/** Returns the text or the bytes that a key was made of. */
function ofKey(key) {
  return isRaw(key) ? Buffer.from(key.slice(1), 'latin1') : key;
}

/** Returns a key as text to be shown to people. */
function shown(key) {
  return isRaw(key) ? ofKey(key).toString('utf8') : key;
}

/** Copies text or data to an ArrayBuffer of its own. */
function toArrayBuffer(value) {
  const data = coerce(value);
  const source = typeof data === 'string' ? Buffer.from(data) : bytes(data);
  return Uint8Array.from(source).buffer;
}

/**
 * A value for the text of an error. Objects are named by their kind alone: their conversion may run code of
 * the program, whose error would hide ours.
 */
function got(value) {
  if (value === null || (typeof value !== 'object' && typeof value !== 'function')) return String(value);
  return typeof value === 'function' ? 'a function' : isList(value) ? 'an array' : 'an object';
}

/** Whether a value is an array. A revoked proxy is none, for which `Array.isArray` throws. */
function isList(value) {
  return !types.isProxy(value) && Array.isArray(value);
}

/** Converts a value to a whole number, as the original does: 0 for what is not a number. */
function whole(value) {
  return Math.trunc(Number(value)) || 0;
}

/** Converts a value to a number of bytes without a fraction, or throws a RangeError. */
function size(value, name) {
  return integer(Math.trunc(Number(value)), name, 0, Number.MAX_SAFE_INTEGER);
}

/** Checks that an option is an integer within bounds, or throws a RangeError that names it. */
function integer(value, name, min, max) {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) {
    throw new RangeError(`${name} must be an integer from ${min} to ${max}; got ${got(value)}.`);
  }
  return value;
}

/**
 * Checks an optional quantity: an integer within bounds, or Infinity. Throws a TypeError or RangeError that
 * names it.
 */
function quantity(value, name, min, max) {
  if (value === undefined || value === Infinity) return value;
  if (typeof value !== 'number') {
    throw new TypeError(`${name} must be a number; got ${value === null ? 'null' : typeof value}.`);
  }
  return integer(value, name, min, max);
}

module.exports = {
  requireArguments,
  hasOptions,
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
  got,
  whole,
  size,
  integer,
  quantity,
};
