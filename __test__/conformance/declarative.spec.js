'use strict';
// The programs of a DeclarativeResponse, whose bytes are the same in all releases. 20.57 is the newest that
// can be run; what came later is in sections 3 and 9 of what changed after it.
const { it, assert, uWS, ours, v30, serve, get, differs, onlyOurs } = require('../support');

const { DeclarativeResponse } = uWS;
const respond = () => new DeclarativeResponse();
const latin1 = (data) => Buffer.from(data).toString('latin1');
const program = (text) => Uint8Array.from(Buffer.from(text, 'latin1')).buffer;
const present = { skip: v30 ? '20.30 has no DeclarativeResponse' : false };

it('the bytes of a program', present, () => {
  const all = respond()
    .writeHeader('a', 'bc')
    .writeQueryValue('q')
    .writeHeaderValue('h')
    .write('hello')
    .writeParameterValue('p')
    .writeBody();
  assert.equal(
    latin1(all.end('x')),
    '\x01\x01a\x02bc\x03\x01q\x04\x01h\x05\x05\0hello\x06\x01p\x02\0\x01\0x',
  );
  assert.equal(latin1(respond().end()), '\0\0\0');
  const long = 'z'.repeat(258);
  assert.equal(latin1(respond().write(long).end('é')), `\x05\x02\x01${long}\0\x02\0\xc3\xa9`);
});

it('a program may be used, and ended, again', present, async (t) => {
  const twice = respond().write('a');
  const first = twice.end('b');
  assert.equal(latin1(twice.end('c')), '\x05\x01\0a\0\x01\0b\0\x01\0c');
  const server = serve(t, (app) => app.get('/first', first).get('/second', twice.end('d')));
  for (const path of ['/first', '/second']) assert.equal((await server.once(get(path))).body, 'ab');
});

it('a program that was made elsewhere is a handler', present, async (t) => {
  const server = serve(t, (app) => {
    app.get('/a/:id', program('\x01\x01x\x01y\x06\x02id\x05\x01\0-\x03\x01q\x04\x04host\0\x01\0!'));
    // 20.57 goes on behind the end, for ever if the bytes there are no instructions.
    if (ours) app.get('/longer', program('\0\x04\0text\x05\xff\xff\x09'));
  });
  const answer = await server.once(get('/a/7?q=8'));
  assert.deepEqual([answer.get('x'), answer.body], ['y', '7-8localhost!']);
  if (ours) assert.equal((await server.once(get('/longer'))).body, 'text');
});

it(
  'a status is instruction 7; the first counts, and none behind a header',
  onlyOurs('declared-status'),
  async (t) => {
    assert.equal(latin1(respond().writeStatus('201 Created').end()), '\x07\x0b201 Created\0\0\0');
    const server = serve(t, (app) =>
      app
        .get('/first', program('\x07\x03201\x07\x03404\0\0\0'))
        .get('/late', program('\x01\x01x\x01y\x07\x03404\0\0\0')),
    );
    assert.equal((await server.once(get('/first'))).code, 201);
    assert.equal((await server.once(get('/late'))).code, 200);
  },
);

it('names, values and texts are data as well', onlyOurs('declared-data'), () => {
  const data = (text) => [
    Buffer.from(text),
    Uint8Array.from(Buffer.from(text)).buffer,
    new DataView(Uint8Array.from(Buffer.from(text)).buffer),
  ];
  const expected = latin1(
    respond()
      .writeHeader('a', 'b')
      .writeQueryValue('q')
      .writeHeaderValue('h')
      .write('t')
      .writeParameterValue('p')
      .end('x'),
  );
  for (const at of [0, 1, 2]) {
    const made = respond()
      .writeHeader(data('a')[at], data('b')[at])
      .writeQueryValue(data('q')[at])
      .writeHeaderValue(data('h')[at])
      .write(data('t')[at])
      .writeParameterValue(data('p')[at])
      .end(data('x')[at]);
    assert.equal(latin1(made), expected);
  }
});

const error = (call) => {
  try {
    call();
    return 'no error';
  } catch (thrown) {
    return String(thrown);
  }
};

it('lengths are counted in bytes, and one that is too long is an error at that call', present, async (t) => {
  const short = 'x'.repeat(255);
  const [tooShort, tooLong] = [`${short}x`, `${'é'.repeat(32767)}xx`];
  const calls = {
    255: [
      (made) => made.writeHeader(tooShort, 'v'),
      (made) => made.writeHeader('k', tooShort),
      (made) => made.writeHeader('k', 'é'.repeat(128)),
      (made) => made.writeQueryValue(tooShort),
      (made) => made.writeHeaderValue(tooShort),
      (made) => made.writeParameterValue(tooShort),
      ...(ours ? [(made) => made.writeStatus(`200 ${short}`)] : []),
    ],
    65535: [(made) => made.write(tooLong), (made) => made.end(tooLong)],
  };
  for (const [length, list] of Object.entries(calls)) {
    const message = `RangeError: Data length exceeds ${length}`;
    const wanted = differs('declared-lengths', { original: 'no error', ours: message });
    for (const call of list)
      assert.equal(
        error(() => call(respond())),
        wanted,
        String(call),
      );
  }
  if (!ours) return;
  const made = respond().writeHeader('k', short).writeHeader(short, 'v').write(tooLong.slice(0, -1));
  assert.throws(() => made.write(tooLong), RangeError);
  const server = serve(t, (app) => app.get('/*', made.end(`${'y'.repeat(65535)}`)));
  const answer = await server.once(get('/'));
  assert.deepEqual([answer.get('k'), answer.get(short)], [short, 'v']);
  assert.equal(answer.body, `${latin1(Buffer.from(tooLong.slice(0, -1)))}${'y'.repeat(65535)}`);
});

it('an ArrayBuffer that is no program is refused where it is given', onlyOurs('declared-malformed'), () => {
  const app = uWS.App();
  const detached = respond().end('x');
  structuredClone(detached, { transfer: [detached] });
  for (const [buffer, reason] of [
    [new ArrayBuffer(0), 'it has no end'],
    [detached, 'it has no end'],
    [program('\x02'), 'it has no end'],
    [program('\x05\x01\0a'), 'it has no end'],
    [program('\x08\0\0\0'), 'byte 0 is the number of no instruction'],
    [program('\x02\x02\xff'), 'byte 2 is the number of no instruction'],
    [program('\0\x05\0four'), 'the instruction at byte 0 is cut short'],
    [program('\x02\x03\x09q\0\0\0'), 'the instruction at byte 1 is cut short'],
    [program('\x01\x03a b\x01c\0\0\0'), 'the instruction at byte 0 has no valid header'],
    [program('\x01\x01a\x04b\r\nc\0\0\0'), 'the instruction at byte 0 has no valid header'],
    [program('\x02\x07\x03100\0\0\0'), 'the instruction at byte 1 has no status of a final response'],
  ]) {
    const message = `handler is no program of a DeclarativeResponse: ${reason}.`;
    for (const method of ['get', 'any']) assert.throws(() => app[method]('/*', buffer), { message });
  }
  assert.throws(() => app.get('/*', Buffer.from([0, 0, 0])), /Passed callback is not a valid function/);
});
