'use strict';
// Every case against uws-rs: whole, cut in two at many places, byte by byte, and with a request behind it
// that tells where the server believes that the case ends.
const { it, assert, uWS, overTls } = require('../support');
const test = require('node:test');
const { CASES, expectedBehind } = require('./cases');
const { MARKER, observe } = require('./peers');
const { readStream, summary } = require('./reference');
const { echo } = require('./server');

const AT_ONCE = 24;
/** Handshakes are dear, so there are fewer of them. */
const CUTS = overTls ? 6 : 80;

const app = echo(uWS.App()).any('*', (res, req) => {
  const seen = { method: req.getCaseSensitiveMethod(), target: req.getUrl(), body: '' };
  res.writeHeader('X-Seen', Buffer.from(JSON.stringify(seen)).toString('base64url')).end();
});
let server;
app.listen('127.0.0.1', 0, (token) => {
  server = { port: uWS.us_socket_local_port(token), tls: overTls };
});
test.after(() => app.close());

/** The outcome in the words of the cases. */
function outcome({ requests, end, status }) {
  const list = requests.map(({ method, target, body }) => [method, target, body]);
  return { requests: list, end, ...(end === 'refused' ? { status } : {}) };
}

function wanted({ requests, end, status }) {
  const list = requests.map(([method, target, body]) => [method, summary(target), summary(body)]);
  // The server keeps the connection in both cases.
  return { requests: list, end: end === 'open' ? 'waits' : end, ...(end === 'refused' ? { status } : {}) };
}

/** Places to cut the bytes at: all of them, or as many as there is time for. */
function cuts(length) {
  const every = Math.max(1, Math.ceil((length - 1) / CUTS));
  const places = [];
  for (let at = 1; at < length; at += every) places.push(at);
  return places;
}

/**
 * The server may take its time to end a connection. Where it should keep one, a short time is enough to see
 * that it does: all that it has to say comes in any case.
 */
const patience = ({ end }) => ({ quiet: end === 'waits' ? 20 : 5000 });

async function inPieces(ways, wanted, place) {
  const left = ways.entries();
  const work = async () => {
    for (const [index, pieces] of left) {
      assert.deepEqual(outcome(await observe(server, pieces, patience(wanted))), wanted, place(index));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
}

for (const { id, section, bytes, want, why } of CASES) {
  it(`${section}, ${id}: ${why}`, { timeout: 60000 }, async () => {
    await inPieces([[bytes]], wanted(want), () => 'whole');
    const stream = bytes + MARKER;
    const behind = wanted(expectedBehind({ want }));
    await inPieces([[stream]], behind, () => 'with a request behind it');
    const places = cuts(stream.length);
    const ways = places.map((at) => [stream.slice(0, at), stream.slice(at)]);
    if (stream.length < 600) ways.push([...stream]);
    await inPieces(ways, behind, (index) => `cut at ${places[index] ?? 'every byte'}`);
  });
}

it('the second reading of the RFC agrees in every case', () => {
  for (const { id, bytes, want } of CASES) {
    const { requests } = readStream(bytes + MARKER);
    const list = requests.map(({ method, target, body }) => [method, summary(target), body]);
    assert.deepEqual({ id, list }, { id, list: wanted(expectedBehind({ want })).requests });
  }
});

it('the cases are told apart by their names and their bytes', () => {
  for (const part of ['id', 'bytes'])
    assert.equal(new Set(CASES.map((each) => each[part])).size, CASES.length);
  assert.ok(CASES.length >= 120);
});
