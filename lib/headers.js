'use strict';
// Status and headers of a response: how they are checked, and how they become header lines.

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

/** The characters of a header name (RFC 9110 §5.6.2). */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** Control characters except the tab (RFC 9110 §5.5). */
// eslint-disable-next-line no-control-regex
const CONTROL = /[\0-\x08\n-\x1f\x7f]/;
const STATUS = /^[1-9][0-9][0-9]( |$)/;
const LINE_END = Buffer.from('\r\n');
/** Lower-case forms of header names that have been checked; checking such a name again costs one look-up. */
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

/** The kind of content of statuses that have been checked. */
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

/** Checks the status of a final response. */
function checkFinalStatus(status) {
  checkStatus(status);
  if (contentOf(status) === Content.INTERIM) throw interim(status);
}

function interim(status) {
  return new Error(`The status ${JSON.stringify(shown(status))} is not that of a final response.`);
}

/**
 * Appends a header line.
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
