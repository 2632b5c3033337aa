'use strict';
// Every case against uws-rs: whole, cut in two at many places, byte by byte, and with a request behind it
// that tells where the server believes that the case ends.
const { it, assert, uWS, overTls } = require('../support');
const test = require('node:test');
const { describe } = test;
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
const server = start(app);

/** Servers that answer in other ways, and read no bodies. None says what it has seen. */
const OTHERS = {
  'answers before the body': (every) => every((res) => res.end()),
  'answers later': (every) =>
    every((res) => {
      res.onAborted(() => (res.gone = true));
      setTimeout(() => res.gone || res.end(), 2);
    }),
  'has the loop answer': (every) => every(new uWS.DeclarativeResponse().end('')),
  'has the loop answer with the body': (every) => every(new uWS.DeclarativeResponse().writeBody().end('')),
  'has no routes': () => {},
};
const others = Object.entries(OTHERS).map(([name, route]) => {
  const other = uWS.App();
  route((handler) => other.any('/*', handler).any('*', handler));
  return { name, ...start(other) };
});

function start(one) {
  let port;
  one.listen('127.0.0.1', 0, (token) => (port = uWS.us_socket_local_port(token)));
  test.after(() => one.close());
  return { port, tls: overTls };
}

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

describe('cases', { concurrency: 6 }, () => {
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
});

for (const other of others) {
  it(`a server that ${other.name} finds the same ends`, { timeout: 120000 }, async () => {
    for (const each of CASES) {
      const { requests, end } = wanted(expectedBehind(each));
      const { responses } = await observe(other, [each.bytes + MARKER], patience({ end }));
      const answered = responses.filter(({ status }) => status === 200 || status === 404).length;
      // The answer to a request may have been given before its body turns out to be malformed or missing.
      const early = end === 'refused' || end === 'waits' ? 1 : 0;
      // Where the loop answers in place of 100, the body may come or not, so it ends the connection.
      const fewest = each.section === 'RFC 9110 §10.1.1' ? 1 : requests.length;
      assert.ok(
        answered >= fewest && answered <= requests.length + early,
        `${each.id}: ${answered} answers to ${requests.length} requests, ${end}`,
      );
    }
  });
}

it('the second reading of the RFC agrees in every case', () => {
  for (const { id, bytes, want } of CASES) {
    const { requests } = readStream(bytes + MARKER);
    const list = requests.map(({ method, target, body }) => [method, target, body]);
    assert.deepEqual({ id, list }, { id, list: wanted(expectedBehind({ want })).requests });
  }
});

it('the cases are told apart by their names and their bytes', () => {
  for (const part of ['id', 'bytes'])
    assert.equal(new Set(CASES.map((each) => each[part])).size, CASES.length);
  assert.ok(CASES.length >= 120);
});
