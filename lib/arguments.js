'use strict';
// What users may pass, and the errors they get for everything else. The texts are those of uWebSockets.js where it
// has one.

const { types } = require('node:util');

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

function bytes(value) {
  if (ArrayBuffer.isView(value)) return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  return Buffer.from(value);
}

/** A RecognizedString as a string. */
function text(value, name) {
  if (typeof value === 'string') return value;
  const data = coerce(value, name);
  return typeof data === 'string' ? data : bytes(data).toString('utf8');
}

/** A copy of text or data as an ArrayBuffer of its own. */
function toArrayBuffer(value) {
  const data = coerce(value);
  const source = typeof data === 'string' ? Buffer.from(data) : bytes(data);
  return Uint8Array.from(source).buffer;
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
  toArrayBuffer,
  integer,
};
