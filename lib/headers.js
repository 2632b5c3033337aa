'use strict';
// Status and headers of a response: what they are checked for, and the lines they become.

const { bytes, isRaw, shown, ofKey } = require('./validate');

/** The kinds of content that a status allows (RFC 9110 §6.4.1, §8.6). */
const Content = Object.freeze({ USUAL: 0, INTERIM: 1, NO_CONTENT: 2, NOT_MODIFIED: 3 });

/** @param {string} status a key */
function contentOf(status) {
  const at = isRaw(status) ? 1 : 0;
  if (status[at] === '1') return Content.INTERIM;
  if (status.startsWith('204', at)) return Content.NO_CONTENT;
  return status.startsWith('304', at) ? Content.NOT_MODIFIED : Content.USUAL;
}

/** RFC 9110 §5.6.2. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** Control characters but the tab (RFC 9110 §5.5). */
// eslint-disable-next-line no-control-regex
const CONTROL = /[\0-\x08\n-\x1f\x7f]/;
const STATUS = /^[1-9][0-9][0-9]( |$)/;
const LINE_END = Buffer.from('\r\n');
/** Header names seen before, in lower case; checking a name again costs a look-up. */
const knownNames = new Map();
const KNOWN_NAMES_LIMIT = 1000;

function lowerCaseName(name) {
  const known = knownNames.get(name);
  if (known !== undefined) return known;
  if (!TOKEN.test(name)) {
    throw new Error(`The header name ${JSON.stringify(name)} has characters that are not allowed in one.`);
  }
  const lower = name.toLowerCase();
  if (knownNames.size < KNOWN_NAMES_LIMIT) knownNames.set(name, lower);
  return lower;
}

/** Statuses seen before, and what they say of the body. */
const knownStatuses = new Map();

/** @param {string} status a key */
function checkedContentOf(status) {
  const known = knownStatuses.get(status);
  if (known !== undefined) return known;
  checkStatus(status);
  const content = contentOf(status);
  if (knownStatuses.size < KNOWN_NAMES_LIMIT) knownStatuses.set(status, content);
  return content;
}

/** @param {string} content a key */
function checkHeaderValue(name, content) {
  if (CONTROL.test(content)) {
    throw new Error(`The value of the header ${JSON.stringify(name)} has a control character in it.`);
  }
}

/** @param {string} status a key */
function checkStatus(status) {
  if (!STATUS.test(isRaw(status) ? status.slice(1) : status) || CONTROL.test(status)) {
    throw new Error(
      `The status ${JSON.stringify(status)} is not three digits and a reason without control characters.`,
    );
  }
}

/** The same for a status that no other one follows. */
function checkFinalStatus(status) {
  checkStatus(status);
  if (contentOf(status) === Content.INTERIM) throw interim(status);
}

function interim(status) {
  return new Error(`The status ${JSON.stringify(shown(status))} is not that of a final response.`);
}

/**
 * Header lines with one more.
 * @param {string | Buffer} headers
 * @param {string} content a key
 */
function withLine(headers, name, content) {
  if (typeof headers === 'string' && !isRaw(content)) return `${headers}${name}: ${content}\r\n`;
  return Buffer.concat([bytes(headers), Buffer.from(`${name}: `), bytes(ofKey(content)), LINE_END]);
}

module.exports = {
  Content,
  CONTROL,
  contentOf,
  lowerCaseName,
  checkedContentOf,
  checkHeaderValue,
  checkFinalStatus,
  interim,
  withLine,
};
