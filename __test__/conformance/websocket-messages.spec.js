'use strict';
const {
  it,
  assert,
  serve,
  Events,
  frame,
  closePayload,
  text,
  differs,
  onlyOurs,
  byVersion,
  TEXT,
  BINARY,
  CONTINUATION,
  CLOSE,
  PING,
  PONG,
} = require('../support');

/** Creates a server that records every call of a handler and echoes messages. */
function recording(t, options = {}) {
  const calls = new Events();
  const server = serve(t, (app) =>
    app.ws('/*', {
      maxPayloadLength: 1024 * 1024,
      ...options,
      message(ws, message, isBinary) {
        calls.push(['message', Buffer.from(message).toString(), isBinary]);
        ws.send(message, isBinary);
      },
      ping(ws, data) {
        calls.push(['ping', text(data)]);
      },
      pong(ws, data) {
        calls.push(['pong', text(data)]);
      },
      close(ws, code, reason) {
        calls.push(['close', code, text(reason)]);
      },
    }),
  );
  return Object.assign(server, { calls });
}
const closed = (server) => server.calls.first(([name]) => name === 'close');

const SIZES = [0, 1, 125, 126, 127, 65535, 65536, 70000, 1024 * 1024];
for (const size of SIZES) {
  it(`a text and a binary message of ${size} bytes`, async (t) => {
    const server = recording(t);
    const peer = await server.ws('/');
    const payload = Buffer.alloc(size, 'a');
    for (const opcode of [TEXT, BINARY]) {
      await peer.sendFrame({ opcode, payload });
      const answer = await peer.frame();
      assert.deepEqual(
        [answer.opcode, answer.fin, answer.rsv, answer.masked, answer.data.equals(payload)],
        [opcode, true, 0, false, true],
      );
    }
    assert.deepEqual(
      server.calls.list.map(([, , isBinary]) => isBinary),
      [false, true],
    );
  });
}

it('the server uses the shortest length encoding', async (t) => {
  const server = serve(t, (app) =>
    app.ws('/*', {
      open(ws) {
        ws.send('x'.repeat(125));
        ws.send('x'.repeat(126));
        ws.send('x'.repeat(65536));
      },
    }),
  );
  const peer = await server.ws('/');
  const heads = [];
  for (const [size, head] of [
    [125, 2],
    [126, 4],
    [65536, 10],
  ])
    heads.push((await peer.take(head + size))[1]);
  assert.deepEqual(heads, [125, 126, 127]);
});

it('longer length encodings than needed are accepted', async (t) => {
  const server = recording(t);
  const peer = await server.ws('/');
  for (const width of [2, 8]) {
    await peer.sendFrame({ payload: 'abc', width });
    assert.equal(await peer.message(), 'abc');
  }
});

it('messages are real ArrayBuffers', async (t) => {
  const types = new Events();
  const server = serve(t, (app) =>
    app.ws('/*', {
      message(ws, message) {
        types.push(Object.prototype.toString.call(message));
      },
    }),
  );
  const peer = await server.ws('/');
  await peer.text('x');
  await peer.binary('');
  assert.deepEqual(await types.count(2), ['[object ArrayBuffer]', '[object ArrayBuffer]']);
});

it('a message after its call', async (t) => {
  const lengths = new Events();
  const server = serve(t, (app) =>
    app.ws('/*', {
      message(ws, message) {
        setImmediate(() => {
          lengths.push(message.byteLength);
        });
      },
    }),
  );
  const peer = await server.ws('/');
  await peer.text('hello');
  await peer.text('x'.repeat(9000));
  assert.deepEqual(await lengths.count(2), [0, 0]);
});

it('a message changed by the handler changes nothing else', async (t) => {
  const server = serve(t, (app) =>
    app.ws('/*', {
      message(ws, message) {
        new Uint8Array(message).fill(65);
        ws.send(message);
      },
    }),
  );
  const peer = await server.ws('/');
  await peer.send(Buffer.concat([frame({ payload: 'abc' }), frame({ payload: 'defg' })]));
  assert.deepEqual(await peer.messages(2), ['AAA', 'AAAA']);
});

it('many messages in one segment, in order', async (t) => {
  const server = recording(t);
  const peer = await server.ws('/');
  const sent = Array.from({ length: 500 }, (_, i) => `message ${i}`);
  await peer.send(Buffer.concat(sent.map((payload) => frame({ payload }))));
  assert.deepEqual(await peer.messages(500), sent);
});

it('frames cut at every place', async (t) => {
  const server = recording(t);
  const peer = await server.ws('/');
  const bytes = Buffer.concat([
    frame({ payload: 'a'.repeat(130) }),
    frame({ opcode: PING, payload: 'p' }),
    frame({ payload: 'b', fin: false }),
    frame({ opcode: CONTINUATION, payload: 'c' }),
  ]);
  await peer.sendPieces(bytes.toString('latin1'), 1);
  const frames = [await peer.frame(), await peer.frame(), await peer.frame()];
  const inOrder = [
    [TEXT, 'a'.repeat(130)],
    [PONG, 'p'],
    [TEXT, 'bc'],
  ];
  const seen = frames.map(({ opcode, text }) => [opcode, text]);
  if (differs('pong-order', { original: 'in order', ours: 'at any time' }) === 'in order') {
    return assert.deepEqual(seen, inOrder);
  }
  const data = ([opcode]) => opcode === TEXT;
  assert.deepEqual(seen.filter(data), inOrder.filter(data));
  assert.deepEqual(
    seen.filter((one) => !data(one)),
    [[PONG, 'p']],
  );
});

it('fragments make one message', async (t) => {
  const server = recording(t);
  const peer = await server.ws('/');
  for (const opcode of [TEXT, BINARY]) {
    await peer.sendFrame({ opcode, payload: 'one ', fin: false });
    await peer.sendFrame({ opcode: CONTINUATION, payload: 'two ', fin: false });
    await peer.sendFrame({ opcode: CONTINUATION, payload: '', fin: false });
    await peer.sendFrame({ opcode: CONTINUATION, payload: 'three' });
    const answer = await peer.frame();
    assert.deepEqual([answer.opcode, answer.text], [opcode, 'one two three']);
  }
});

it('control frames between fragments', async (t) => {
  const server = recording(t);
  const peer = await server.ws('/');
  await peer.sendFrame({ payload: 'a', fin: false });
  await peer.ping('between');
  await peer.pong('unasked');
  await peer.sendFrame({ opcode: CONTINUATION, payload: 'b' });
  assert.deepEqual([(await peer.frame()).text, (await peer.frame()).text], ['between', 'ab']);
  assert.deepEqual(server.calls.list, [
    ['ping', 'between'],
    ['pong', 'unasked'],
    ['message', 'ab', false],
  ]);
});

it('a ping is answered with a pong of the same payload and the ping handler runs', async (t) => {
  const server = recording(t);
  const peer = await server.ws('/');
  for (const payload of ['', 'x', 'y'.repeat(125)]) {
    await peer.ping(payload);
    const answer = await peer.frame();
    assert.deepEqual([answer.opcode, answer.text], [PONG, payload]);
  }
  // The loop answers by itself; the handler may run after the answer has arrived.
  const calls = await server.calls.count(3);
  assert.deepEqual(
    calls.map(([name]) => name),
    ['ping', 'ping', 'ping'],
  );
});

it('a pong runs the pong handler and is not answered', async (t) => {
  const server = recording(t);
  const peer = await server.ws('/');
  await peer.pong('data');
  await peer.text('x');
  assert.equal(await peer.message(), 'x');
  assert.deepEqual(server.calls.list[0], ['pong', 'data']);
});

it('handlers are optional', async (t) => {
  const server = serve(t, (app) => app.ws('/*', {}));
  const peer = await server.ws('/');
  await peer.text('x');
  await peer.pong('x');
  await peer.ping('p');
  assert.equal((await peer.frame()).opcode, PONG);
  await peer.close(1000);
  assert.equal((await peer.frame()).code, 1000);
});

const UTF8 = ['', 'plain', '\u00e9', '\u20ac\u{1f600}', '\0', '\ufeffbom', '\uffff'];
for (const payload of UTF8) {
  it(`valid UTF-8 ${JSON.stringify(payload)}`, async (t) => {
    const server = recording(t);
    const peer = await server.ws('/');
    await peer.text(payload);
    assert.equal(await peer.message(), payload);
  });
}

it('a character split over fragments and segments', async (t) => {
  const server = recording(t);
  const peer = await server.ws('/');
  const bytes = Buffer.from('\u{1f600}');
  await peer.sendFrame({ payload: bytes.subarray(0, 1), fin: false });
  await peer.sendFrame({ opcode: CONTINUATION, payload: bytes.subarray(1, 3), fin: false });
  await peer.sendFrame({ opcode: CONTINUATION, payload: bytes.subarray(3) });
  assert.equal(await peer.message(), '\u{1f600}');
});

/** Violations: [name, frames, reason the handler sees, close code ours sends, reason of 20.30]. */
const FRAME = 'Received invalid WebSocket frame';
const UTF = 'Received invalid UTF-8';
const BIG = 'Received too big message';
const VIOLATIONS = [
  ...[['ff'], ['c080'], ['eda080'], ['f4908080'], ['c3'], ['80'], ['f09f98']].map(([hex]) => [
    `invalid UTF-8 ${hex}`,
    [{ payload: Buffer.from(hex, 'hex') }],
    UTF,
    1007,
    UTF,
  ]),
  [
    'invalid UTF-8 over fragments',
    [
      { payload: Buffer.from([0xc3]), fin: false },
      { opcode: CONTINUATION, payload: 'x' },
    ],
    UTF,
    1007,
    UTF,
  ],
  ['RSV1 without an extension', [{ payload: 'a', rsv: 4 }], FRAME, 1002, ''],
  ['RSV2', [{ payload: 'a', rsv: 2 }], FRAME, 1002, ''],
  ['RSV3', [{ payload: 'a', rsv: 1 }], FRAME, 1002, ''],
  ...[3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map((opcode) => [
    `reserved opcode ${opcode}`,
    [{ opcode }],
    FRAME,
    1002,
    '',
  ]),
  ['a continuation of nothing', [{ opcode: CONTINUATION, payload: 'a' }], FRAME, 1002, ''],
  [
    'a new message inside a fragmented one',
    [{ payload: 'a', fin: false }, { payload: 'b' }],
    FRAME,
    1002,
    '',
  ],
  ['a fragmented ping', [{ opcode: PING, payload: 'a', fin: false }], FRAME, 1002, ''],
  ['a ping of 126 bytes', [{ opcode: PING, payload: 'a'.repeat(126) }], FRAME, 1002, ''],
  ['a fragmented close', [{ opcode: CLOSE, payload: closePayload(1000), fin: false }], FRAME, 1002, ''],
  ['a message over maxPayloadLength', [{ payload: 'x'.repeat(1001) }], BIG, 1009, BIG],
  [
    'fragments that sum up to more than maxPayloadLength',
    [
      { payload: 'x'.repeat(600), fin: false },
      { opcode: CONTINUATION, payload: 'x'.repeat(600) },
    ],
    BIG,
    1009,
    BIG,
  ],
  [
    'an announced length over maxPayloadLength',
    [{ payload: 'abc', length: 2 ** 40, width: 8 }],
    BIG,
    1009,
    BIG,
  ],
];
for (const [name, frames, reason, code, old] of VIOLATIONS) {
  it(`${name}: closed with 1006 and a reason`, async (t) => {
    const server = recording(t, { maxPayloadLength: 1000 });
    const peer = await server.ws('/');
    await peer.send(Buffer.concat(frames.map((options) => frame(options))));
    assert.deepEqual(await closed(server), ['close', 1006, byVersion({ old, now: reason })]);
    const answers = (await peer.frames()).map((answer) => [answer.opcode, answer.code]);
    assert.deepEqual(answers, differs('close-frame-on-violation', { original: [], ours: [[CLOSE, code]] }));
    assert.deepEqual(
      server.calls.list.filter(([call]) => call === 'message'),
      [],
    );
  });
}

it('exactly maxPayloadLength is allowed', async (t) => {
  const server = recording(t, { maxPayloadLength: 1000 });
  const peer = await server.ws('/');
  await peer.text('x'.repeat(1000));
  assert.equal((await peer.message()).length, 1000);
});

it('maxPayloadLength is 16 KiB by default', async (t) => {
  const server = recording(t, { maxPayloadLength: undefined });
  const peer = await server.ws('/');
  await peer.text('x'.repeat(16384));
  assert.equal((await peer.message()).length, 16384);
  await peer.text('x'.repeat(16385));
  assert.deepEqual(await closed(server), ['close', 1006, BIG]);
});

for (const [given, most] of [
  ['1024', 1024],
  [1024.7, 1024],
  [true, 1],
  [null, 0],
  ['none', 0],
  [-1, Infinity],
  [2 ** 32 - 1, Infinity],
  [1e10, Infinity],
]) {
  it(`maxPayloadLength ${JSON.stringify(given)} is ${most}`, async (t) => {
    const server = recording(t, { maxPayloadLength: given });
    const peer = await server.ws('/');
    const length = Math.min(most, 70000);
    await peer.text('x'.repeat(length));
    assert.equal((await peer.message()).length, length);
    if (most === Infinity) return;
    await peer.text('x'.repeat(most + 1));
    assert.deepEqual(await closed(server), ['close', 1006, BIG]);
  });
}

for (const given of [Infinity, 2 ** 32, 2 ** 33 + 5, Number.MAX_VALUE]) {
  it(`maxPayloadLength ${given} is none`, onlyOurs('unlimited-sizes'), async (t) => {
    const server = recording(t, { maxPayloadLength: given });
    const peer = await server.ws('/');
    await peer.text('x'.repeat(70000));
    assert.equal((await peer.message()).length, 70000);
  });
}

it('an unmasked frame', async (t) => {
  const server = recording(t);
  const peer = await server.ws('/');
  await peer.sendFrame({ payload: 'abcdef', mask: false });
  if (differs('unmasked-frame', { original: 'taken for a masked one', ours: 'refused' }) === 'refused') {
    assert.deepEqual(await closed(server), ['close', 1006, FRAME]);
    return assert.deepEqual(
      (await peer.frames()).map(({ code }) => code),
      [1002],
    );
  }
  // The first four bytes of its payload are read as a mask, and four more are expected.
  await peer.send(Buffer.from('1234'));
  await server.calls.first(([name]) => name === 'message');
});

it('messages before a violation are delivered', async (t) => {
  const server = recording(t);
  const peer = await server.ws('/');
  await peer.send(
    Buffer.concat([frame({ payload: 'good' }), frame({ opcode: 3 }), frame({ payload: 'never' })]),
  );
  await closed(server);
  assert.deepEqual(
    server.calls.list.filter(([name]) => name === 'message'),
    [['message', 'good', false]],
  );
});

for (const code of [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 4000, 4999]) {
  it(`the peer's close ${code} with a reason: seen and echoed`, async (t) => {
    const server = recording(t);
    const peer = await server.ws('/');
    await peer.close(code, 'bye');
    assert.deepEqual(await closed(server), ['close', code, 'bye']);
    const [answer, ...more] = await peer.frames();
    assert.deepEqual([answer.opcode, answer.code, answer.text, more.length], [CLOSE, code, 'bye', 0]);
  });
}

for (const code of [1012, 1013, 1014, 3000]) {
  it(`the peer's close ${code}`, async (t) => {
    const server = recording(t);
    const peer = await server.ws('/');
    await peer.close(code);
    const [, seen] = await closed(server);
    assert.equal(seen, differs('registered-close-codes', { original: 1006, ours: code }));
  });
}

it('a close without payload is 1005 and echoed empty', async (t) => {
  const server = recording(t);
  const peer = await server.ws('/');
  await peer.close();
  assert.deepEqual(await closed(server), ['close', 1005, '']);
  assert.deepEqual(
    (await peer.frames()).map(({ opcode, data }) => [opcode, data.length]),
    [[CLOSE, 0]],
  );
});

const BAD_CLOSES = [
  ...[0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535].map((code) => [
    `code ${code}`,
    closePayload(code),
  ]),
  ['a reason that is no UTF-8', Buffer.from([3, 232, 0xff, 0xfe])],
];
for (const [name, payload] of BAD_CLOSES) {
  it(`a close with ${name} is 1006`, async (t) => {
    const server = recording(t);
    const peer = await server.ws('/');
    await peer.sendFrame({ opcode: CLOSE, payload });
    assert.deepEqual(await closed(server), [
      'close',
      1006,
      byVersion({ old: '', now: 'Received invalid close payload' }),
    ]);
    const [answer] = await peer.frames();
    assert.deepEqual(
      [answer.opcode, answer.code],
      [CLOSE, differs('bad-close-answer', { original: 1005, ours: name.startsWith('code') ? 1002 : 1007 })],
    );
  });
}

it('a close with a payload of one byte', async (t) => {
  const server = recording(t);
  const peer = await server.ws('/');
  await peer.sendFrame({ opcode: CLOSE, payload: Buffer.from([3]) });
  assert.equal((await closed(server))[1], differs('one-byte-close', { original: 1005, ours: 1006 }));
});

it('a FIN without a close frame', async (t) => {
  const server = recording(t);
  const peer = await server.ws('/');
  peer.halfClose();
  assert.deepEqual(await closed(server), [
    'close',
    1006,
    byVersion({ old: '', now: 'Received TCP FIN before WebSocket close frame' }),
  ]);
});

it('a reset', async (t) => {
  const server = recording(t);
  const peer = await server.ws('/');
  peer.reset();
  assert.equal((await closed(server))[1], 1006);
});

it('the close handler runs once, with an ArrayBuffer', async (t) => {
  const calls = new Events();
  const server = serve(t, (app) =>
    app.ws('/*', {
      close(ws, code, reason) {
        calls.push(Object.prototype.toString.call(reason));
      },
    }),
  );
  const peer = await server.ws('/');
  await peer.close(1000);
  await peer.gone();
  peer.reset();
  await calls.count(1);
  const other = await server.ws('/');
  await other.close(1000);
  await calls.count(2);
  assert.deepEqual(calls.list, ['[object ArrayBuffer]', '[object ArrayBuffer]']);
});

it('nothing is delivered after the close frame of the peer', async (t) => {
  const server = recording(t);
  const peer = await server.ws('/');
  await peer.send(
    Buffer.concat([frame({ opcode: CLOSE, payload: closePayload(1000) }), frame({ payload: 'late' })]),
  );
  await peer.gone();
  await closed(server);
  assert.deepEqual(
    server.calls.list.map(([name]) => name),
    ['close'],
  );
});
