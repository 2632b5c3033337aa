'use strict';
// Functions of the module that need no server: multipart bodies, and the key-value store that all threads of
// the process share.

const { load } = require('./binding');
const { bytes, coerce, integer } = require('./validate');

function getParts(body, contentType) {
  const data = coerce(body, 'body');
  const type = coerce(contentType, 'contentType');
  return load().multipartParts(typeof data === 'string' ? Buffer.from(data) : bytes(data), type);
}

/** Checks key and collection, which are bytes. A collection needs no name. */
const place = (key, collection) => [coerce(collection, 'collection'), coerce(key, 'key')];

/** Converts a value to a whole number, as the original does. */
function whole(value) {
  const number = Math.trunc(Number(value));
  return Number.isSafeInteger(number) ? number : 0;
}

function getString(key, collection) {
  return load().storeGetString(...place(key, collection));
}

function setString(key, value, collection) {
  load().storeSetString(...place(key, collection), coerce(value, 'value'));
}

function getStringKeys(collection) {
  return load().storeStringKeys(coerce(collection, 'collection'));
}

function deleteString(key, collection) {
  load().storeDeleteString(...place(key, collection));
}

function deleteStringCollection(collection) {
  load().storeDeleteStrings(coerce(collection, 'collection'));
}

function getInteger(key, collection) {
  return load().storeGetInteger(...place(key, collection));
}

function setInteger(key, value, collection) {
  load().storeSetInteger(...place(key, collection), whole(value));
}

function incInteger(key, value, collection) {
  return load().storeIncreaseInteger(...place(key, collection), whole(value));
}

function getIntegerKeys(collection) {
  return load().storeIntegerKeys(coerce(collection, 'collection'));
}

function deleteInteger(key, collection) {
  load().storeDeleteInteger(...place(key, collection));
}

function deleteIntegerCollection(collection) {
  load().storeDeleteIntegers(coerce(collection, 'collection'));
}

/** Blocks this thread until no other thread holds the lock. */
function lock() {
  load().storeLock();
}

function unlock() {
  load().storeUnlock();
}

/** The figures of all loops of the process; index.d.ts and docs/observability.md describe them. */
function stats() {
  return JSON.parse(load().processStats());
}

/** The least memory budget: what fits into less would be the buffers of a few connections. */
const LEAST_BUDGET = 1024 * 1024;

function memoryBudget(limit) {
  if (limit !== undefined && limit !== Infinity) {
    integer(limit, 'bytes', LEAST_BUDGET, Number.MAX_SAFE_INTEGER);
  }
  const [budget, used] = load().memoryBudget(limit);
  return { budget, used };
}

/** The original has internal settings here; there is nothing to set. */
function _cfg() {}

/** Creates a function that says why a function of the original is missing. */
function absent(name, why) {
  const message = `uws-rs has no ${name}: ${why}`;
  return {
    [name]() {
      throw new Error(message);
    },
  }[name];
}

const extras = {
  getParts,
  getString,
  setString,
  getStringKeys,
  deleteString,
  deleteStringCollection,
  getInteger,
  setInteger,
  incInteger,
  getIntegerKeys,
  deleteInteger,
  deleteIntegerCollection,
  lock,
  unlock,
  stats,
  memoryBudget,
  _cfg,
  H3App: absent('H3App', 'HTTP/3 is out of its scope.'),
};

module.exports = { extras };
