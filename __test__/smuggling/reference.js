'use strict';
// Where a request ends, as RFC 9112 has it: a second, slow and plain reading of the rules, which shares
// nothing with the parsers of src/protocol/http. Where the RFC leaves a choice it takes the strict one, and
// so does uws-rs. The mutator compares it with the server: both must see the same requests in any stream of
// bytes.

const crypto = require('crypto');
const net = require('net');

const MAX_HEAD = 4096;
const MAX_FIELDS = 100;
const MAX_DISCARDED = 16 * 1024;
const MAX_PROXY_LINE = 107;
const PROXY_SIGNATURE = '\r\n\r\n\0\r\nQUIT\n';

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
const REQUEST_LINE = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([\x21-\x7e\x80-\xff]+) HTTP\/1\.([01])$/;
const HOST = /^[A-Za-z0-9\-._~%!$&'()*+,;=:[\]]*$/;
const ABSOLUTE = /^(?:https?|wss?):\/\/([^/?]+)(.*)$/i;

/** The stream breaks a rule, so nothing behind this point is a request. */
class Malformed extends Error {}
/** The stream ends before the request does. */
class Incomplete extends Error {}

const demand = (condition, text) => {
  if (!condition) throw new Malformed(text);
};

/**
 * Returns the requests in a stream, { method, target, body } each, and how it ends: `refused`, `waits` for
 * the rest of a request, `closed` behind a request that is the last, or `open` for the next one.
 * @param {string} stream its bytes, one a character
 */
function readStream(stream) {
  const requests = [];
  try {
    let at = 0;
    while (at < stream.length) {
      const behind = at + skipProxyHeader(stream.slice(at));
      if (behind > at) {
        at = behind;
        continue;
      }
      const head = readHead(stream, at);
      if (head === null) return { requests, end: 'open' };
      const body = readBody(stream, head);
      const target = summary(plain(head.target));
      requests.push({ method: head.method, target, body: summary(body.data), emptyLine: head.emptyLine });
      if (!head.keepAlive) return { requests, end: 'closed' };
      at = body.end;
    }
    return { requests, end: 'open' };
  } catch (error) {
    if (error instanceof Malformed) return { requests, end: 'refused', why: error.message };
    if (error instanceof Incomplete) return { requests, end: 'waits' };
    throw error;
  }
}

/** A balancer may say before any request whom it speaks for. A bad header ends the connection. */
function skipProxyHeader(stream) {
  if (stream.startsWith(PROXY_SIGNATURE)) return skipBinaryProxyHeader(stream);
  if (!/^PROXY (?:TCP[46] |UNKNOWN)/.test(stream)) return 0;
  const end = stream.indexOf('\n') + 1;
  if (end === 0 && stream.length < MAX_PROXY_LINE) throw new Incomplete();
  demand(end > 0 && end <= MAX_PROXY_LINE && stream[end - 2] === '\r', 'PROXY line');
  const [, family, ...addresses] = stream.slice(0, end - 2).split(' ');
  if (family === 'UNKNOWN') return end;
  const isAddress = { TCP4: net.isIPv4, TCP6: net.isIPv6 }[family];
  const [from, to, ...ports] = addresses;
  demand(isAddress && isAddress(from) && isAddress(to), 'PROXY addresses');
  demand(ports.length === 2 && ports.every((port) => /^\d+$/.test(port) && port < 65536), 'PROXY ports');
  return end;
}

function skipBinaryProxyHeader(stream) {
  if (stream.length < 16) throw new Incomplete();
  const [command, family, high, low] = [12, 13, 14, 15].map((at) => stream.charCodeAt(at));
  const length = high * 256 + low;
  demand((command === 0x20 || command === 0x21) && length <= MAX_DISCARDED, 'PROXY version');
  if (stream.length < 16 + length) throw new Incomplete();
  const least = { 0: 0, 1: 12, 2: 36, 3: 0 }[family >> 4];
  demand(command === 0x20 || length >= least, 'PROXY addresses');
  return 16 + length;
}

function readHead(stream, from) {
  let at = from;
  while (stream.startsWith('\r\n', at)) at += 2;
  if (at === stream.length) return null;
  const end = stream.indexOf('\r\n\r\n', at);
  // The end may be that of a head without fields, whose request line is followed by an empty one.
  const text = end < 0 ? stream.slice(at) : stream.slice(at, end);
  if (end < 0 || end + 4 - from > MAX_HEAD) {
    demand(stream.length - from < MAX_HEAD, 'head too large');
    throw new Incomplete();
  }
  const [line, ...fields] = text.split('\r\n');
  const match = REQUEST_LINE.exec(line);
  demand(match, 'request line');
  demand(fields.length <= MAX_FIELDS, 'too many fields');
  const [, method, target, minor] = match;
  const head = { method, target: originForm(method, target), minor: Number(minor), end: end + 4 };
  head.emptyLine = at > from;
  return Object.assign(head, framing(fields.map(readField), head));
}

function readField(line) {
  const colon = line.indexOf(':');
  const [name, value] = [line.slice(0, colon), line.slice(colon + 1)];
  demand(colon > 0 && TOKEN.test(name), 'field name');
  demand(VALUE.test(value), 'field value');
  return [name.toLowerCase(), value.replace(/^[ \t]+|[ \t]+$/g, '')];
}

/** RFC 9112 §3.2. */
function originForm(method, target) {
  if (target.startsWith('/') || method === 'CONNECT' || (method === 'OPTIONS' && target === '*'))
    return target;
  const [, authority, rest] = ABSOLUTE.exec(target) ?? [];
  demand(authority !== undefined && HOST.test(authority), 'request target');
  return rest.startsWith('/') ? rest : `/${rest}`;
}

/** RFC 9112 §3.2, §6.1 to §6.3 and §9.3. */
function framing(fields, { method, minor }) {
  const all = (name) => fields.filter(([key]) => key === name).map(([, value]) => value);
  const [hosts, lengths, codings] = ['host', 'content-length', 'transfer-encoding'].map(all);
  demand(hosts.length <= 1 && (minor === 0 || hosts.some((host) => host !== '')), 'one host');
  demand(
    hosts.every((host) => HOST.test(host)),
    'host',
  );
  demand(
    lengths.every((value) => /^[0-9]{1,18}$/.test(value) && BigInt(value) <= 1n << 53n),
    'length',
  );
  demand(new Set(lengths.map(BigInt)).size <= 1, 'differing lengths');
  demand(codings.length <= 1 && codings.every((coding) => coding.toLowerCase() === 'chunked'), 'coding');
  demand(!(lengths.length && codings.length), 'two framings');
  demand(!(codings.length && minor === 0), 'coding in HTTP/1.0');
  const options = all('connection').flatMap((value) =>
    value.split(',').map((one) => one.trim().toLowerCase()),
  );
  const keepAlive =
    method !== 'CONNECT' && !options.includes('close') && (minor === 1 || options.includes('keep-alive'));
  return { keepAlive, chunked: codings.length > 0, length: BigInt(lengths[0] ?? 0) };
}

function readBody(stream, head) {
  if (head.chunked) return readChunks(stream, head.end);
  const rest = stream.length - head.end;
  if (head.length > BigInt(rest)) throw new Incomplete();
  const end = head.end + Number(head.length);
  return { data: stream.slice(head.end, end), end };
}

/** RFC 9112 §7.1. */
function readChunks(stream, from) {
  let [at, data, extensions] = [from, '', 0];
  for (;;) {
    const line = readLine(stream, at);
    const match = /^([0-9A-Fa-f]{1,128})(|[ \t]*;[\t\x20-\x7e\x80-\xff]*)$/.exec(line);
    demand(match, 'chunk size');
    extensions += match[2].length;
    demand(extensions <= MAX_DISCARDED, 'extensions too large');
    at += line.length + 2;
    const size = BigInt(`0x${match[1]}`);
    demand(size < 1n << 64n, 'chunk size too large');
    if (size === 0n) return { data, end: skipTrailers(stream, at) };
    if (size > BigInt(stream.length - at)) throw new Incomplete();
    data += stream.slice(at, at + Number(size));
    at += Number(size);
    expectLineEnd(stream, at);
    at += 2;
  }
}

function skipTrailers(stream, from) {
  let at = from;
  for (;;) {
    const line = readLine(stream, at);
    at += line.length + 2;
    if (line === '') return at;
    readField(line);
    demand(at - from <= MAX_DISCARDED, 'trailers too large');
  }
}

/** The line that begins at `at`; only CRLF ends it. */
function readLine(stream, at) {
  const end = stream.indexOf('\r\n', at);
  const line = end < 0 ? stream.slice(at).replace(/\r$/, '') : stream.slice(at, end);
  demand(!/[\r\n]/.test(line), 'bare CR or LF');
  if (end < 0) throw new Incomplete();
  return line;
}

function expectLineEnd(stream, at) {
  const end = stream.slice(at, at + 2);
  demand('\r\n'.startsWith(end), 'data without its CRLF');
  if (end.length < 2) throw new Incomplete();
}

/** A body as the servers of these tests report it: long ones by length and hash. */
function summary(body) {
  if (body.length <= 200) return body;
  return `${body.length} bytes, ${crypto.createHash('sha1').update(body, 'latin1').digest('hex')}`;
}

/** A target without bytes above 127, which programs decode in ways of their own. */
function plain(target) {
  return target.replace(/[^\0-\x7f]+/g, '?');
}

module.exports = { plain, readStream, summary };
