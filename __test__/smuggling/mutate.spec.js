'use strict';
// The mutator finds a reading of the RFC that is a little too lenient, and a short stream that shows it.
const { it, assert } = require('../support');
const { Mutator, reduce } = require('./mutate');
const { MARKER } = require('./peers');
const { readStream } = require('./reference');

const requests = (stream) => JSON.stringify(readStream(stream).requests);

/** Faults that servers have had. */
const LENIENT = {
  'a bare LF ends a line': (stream) => stream.replace(/\r?\n/g, '\r\n'),
  'a space before the colon is skipped': (stream) => stream.replace(/[ \t]+:/g, ':'),
  'a sign is skipped': (stream) => stream.replace(/: [+-](?=\d)/g, ': '),
  'a length beside a coding is ignored': (stream) =>
    /transfer-encoding:/i.test(stream) ? stream.replace(/content-length:.*\r\n/gi, '') : stream,
  'a last chunk needs no empty line': (stream) => stream.replace(/\r\n0\r\n(?!\r\n)/g, '\r\n0\r\n\r\n'),
};

for (const [fault, read] of Object.entries(LENIENT)) {
  it(`it finds that ${fault}`, { timeout: 60000 }, async () => {
    const mutator = new Mutator(7);
    const shows = (stream) => requests(read(stream + MARKER)) !== requests(stream + MARKER);
    let stream;
    for (let tries = 0; !shows((stream = mutator.stream())); tries++) assert.ok(tries < 5000, 'never found');
    const short = await reduce(stream, shows, 2000);
    assert.ok(shows(short));
    assert.ok(short.length <= stream.length && short.length < 150, JSON.stringify(short));
  });
}

it('a seed gives the same streams again', () => {
  const [one, same, other] = [1, 1, 2].map((seed) => new Mutator(seed));
  const streams = (mutator) => Array.from({ length: 50 }, () => mutator.cut(mutator.stream()));
  const expected = streams(one);
  assert.deepEqual(streams(same), expected);
  assert.notDeepEqual(streams(other), expected);
});
