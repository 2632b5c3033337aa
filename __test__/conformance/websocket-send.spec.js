'use strict';
const {
  it,
  assert,
  serve,
  deferred,
  Events,
  turn,
  until,
  text,
  v30,
  differs,
  onlyOurs,
  TEXT,
  BINARY,
  CONTINUATION,
  PING,
} = require('../support');

const MIB = 1024 * 1024;
/**
 * Creates a server with one open socket: `ws` on the server's side, `peer` on the other, and the recorded
 * calls of the handlers.
 */
async function pair(t, behavior = {}, { paused = false } = {}) {
  const opened = deferred();
  const events = new Events();
  const server = serve(t, (app) =>
    app.ws('/*', {
      idleTimeout: 0,
      ...behavior,
      open: opened.resolve,
      dropped(ws, message, isBinary) {
        events.push(['dropped', message.byteLength, isBinary]);
      },
      drain(ws) {
        events.push(['drain', ws.getBufferedAmount()]);
      },
      close(ws, code, reason) {
        events.push(['close', code, text(reason)]);
      },
    }),
  );
  const peer = await server.ws('/');
  if (paused) peer.pause();
  return { server, peer, ws: await opened.promise, events };
}

/**
 * Sends to a peer that does not read until the kernel refuses bytes. Returns the messages that were accepted.
 */
async function fill(ws, size = MIB) {
  const message = Buffer.alloc(size, 'f');
  let accepted = 0;
  for (let i = 0; i < 200 && ws.getBufferedAmount() === 0; i++) {
    if (ws.send(message, true) !== 2) accepted++;
    await turn();
  }
  assert.ok(ws.getBufferedAmount() > 0);
  return accepted;
}

/**
 * Returns whether the second message to a peer that does not read is dropped; the loop decides about
 * publishes.
 */
async function isLimited(t, maxBackpressure) {
  const { ws, server, events } = await pair(t, { maxBackpressure }, { paused: true });
  await fill(ws);
  await fill(ws, 10);
  for (let i = 0; i < 3; i++) ws.send(Buffer.alloc(MIB), true);
  const sent = ws.send('x') === 2;
  events.list.length = 0;
  ws.subscribe('topic');
  server.app.publish('topic', 'published');
  if (sent) await until(() => events.list.length > 0);
  else await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(events.list.length > 0, sent);
  return sent;
}

for (const [given, limited] of [
  ['1024', true],
  [1024.7, true],
  [true, true],
  ['0', false],
  [0.5, false],
  [null, false],
  ['none', false],
  [-1, false],
  [1e10, false],
  [Infinity, false],
  [2 ** 32, false],
]) {
  it(`maxBackpressure ${given} is ${limited ? 'one' : 'none'}`, { skip: v30 }, async (t) => {
    assert.equal(await isLimited(t, given), limited);
  });
}

it('maxBackpressure just beyond 32 bits is none', onlyOurs('unlimited-sizes'), async (t) => {
  assert.equal(await isLimited(t, 2 ** 32 + 1), false);
});

for (const [given, closes] of [
  [true, true],
  [1, true],
  ['1', true],
  [2.5, true],
  [false, false],
  [0, false],
  ['0', false],
  ['yes', false],
  [null, false],
]) {
  it(`closeOnBackpressureLimit ${JSON.stringify(given)} is ${closes}`, { skip: v30 }, async (t) => {
    const { ws, events } = await pair(
      t,
      { maxBackpressure: 1024, closeOnBackpressureLimit: given },
      { paused: true },
    );
    await fill(ws);
    for (let i = 0; i < 3; i++) ws.send(Buffer.alloc(MIB), true);
    const isClosed = () => events.list.some(([name]) => name === 'close');
    if (closes) await until(isClosed);
    else await new Promise((resolve) => setTimeout(resolve, 50));
    assert.equal(isClosed(), closes);
  });
}

it('send returns 1 and sends text by default, binary when asked', async (t) => {
  const { peer, ws } = await pair(t);
  assert.deepEqual(
    [ws.send('a'), ws.send('b', false), ws.send('c', true), ws.send('d', 1), ws.send('e', undefined)],
    [1, 1, 1, 1, 1],
  );
  const frames = [];
  while (frames.length < 5) frames.push(await peer.frame());
  assert.deepEqual(
    frames.map(({ opcode, text: data }) => [opcode, data]),
    [
      [TEXT, 'a'],
      [TEXT, 'b'],
      [BINARY, 'c'],
      [BINARY, 'd'],
      [TEXT, 'e'],
    ],
  );
});

it('send takes any recognized data', async (t) => {
  const { peer, ws } = await pair(t);
  const bytes = new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]);
  for (const data of [
    bytes,
    bytes.buffer,
    Buffer.from(bytes),
    new Int16Array(bytes.buffer),
    new Uint32Array(bytes.buffer),
    new Float64Array(bytes.buffer),
  ])
    ws.send(data, true);
  for (let i = 0; i < 6; i++) assert.deepEqual([...(await peer.frame()).data], [...bytes]);
  ws.send(bytes.subarray(2, 5), true);
  assert.deepEqual([...(await peer.frame()).data], [3, 4, 5]);
});

it('an empty message', async (t) => {
  const { peer, ws } = await pair(t);
  assert.equal(ws.send(''), 1);
  assert.equal(ws.send(undefined), 1);
  assert.deepEqual([(await peer.frame()).data.length, (await peer.frame()).data.length], [0, 0]);
});

it('text is encoded as UTF-8', async (t) => {
  const { peer, ws } = await pair(t);
  ws.send('\u00e9\u{1f600}');
  assert.equal(await peer.message(), '\u00e9\u{1f600}');
});

it('a lone surrogate', async (t) => {
  const { peer, ws } = await pair(t);
  ws.send('a\ud800b');
  assert.equal(
    (await peer.frame()).data.toString('hex'),
    differs('lone-surrogate', { original: '61eda08062', ours: '61efbfbd62' }),
  );
});

it('a buffer is taken at the call', async (t) => {
  const { peer, ws } = await pair(t);
  const buffer = Buffer.from('before');
  ws.send(buffer);
  buffer.fill('x');
  assert.equal(await peer.message(), 'before');
});

it('fragments', async (t) => {
  const { peer, ws } = await pair(t);
  assert.deepEqual(
    [
      ws.sendFirstFragment('a'),
      ws.sendFragment('b'),
      ws.sendLastFragment('c'),
      ws.sendFirstFragment('x', true),
      ws.sendLastFragment('y'),
    ],
    [1, 1, 1, 1, 1],
  );
  const frames = [];
  while (frames.length < 5) frames.push(await peer.frame());
  assert.deepEqual(
    frames.map(({ opcode, fin, text: data }) => [opcode, fin, data]),
    [
      [TEXT, false, 'a'],
      [CONTINUATION, false, 'b'],
      [CONTINUATION, true, 'c'],
      [BINARY, false, 'x'],
      [CONTINUATION, true, 'y'],
    ],
  );
});

it('ping', async (t) => {
  const { peer, ws } = await pair(t);
  assert.deepEqual([ws.ping(), ws.ping('data')], [1, 1]);
  const frames = [await peer.frame(), await peer.frame()];
  assert.deepEqual(
    frames.map(({ opcode, text: data }) => [opcode, data]),
    [
      [PING, ''],
      [PING, 'data'],
    ],
  );
});

it('cork runs synchronously, returns the socket, and sends in one segment', async (t) => {
  const { peer, ws } = await pair(t);
  const order = [];
  let reads = 0;
  peer.socket.on('data', () => reads++);
  const same =
    ws.cork(() => {
      order.push('in');
      for (let i = 0; i < 10; i++) ws.send(`m${i}`);
    }) === ws;
  order.push('out');
  assert.equal((await peer.messages(10)).join(), Array.from({ length: 10 }, (_, i) => `m${i}`).join());
  assert.deepEqual([order, same, reads], [['in', 'out'], true, 1]);
});

it('getBufferedAmount is 0 while the peer reads', async (t) => {
  const { peer, ws } = await pair(t);
  ws.send('x');
  await peer.message();
  assert.equal(ws.getBufferedAmount(), 0);
});

it('a message of 32 MiB arrives', async (t) => {
  const { peer, ws } = await pair(t);
  const message = Buffer.alloc(32 * MIB);
  for (let i = 0; i < message.length; i += 4096) message.writeUInt32LE(i, i);
  assert.ok([0, 1].includes(ws.send(message, true)));
  assert.ok((await peer.frame()).data.equals(message));
});

it('a single message may overshoot the limit; at a slow peer it is buffered and arrives', async (t) => {
  const { peer, ws } = await pair(t, { maxBackpressure: 1024 }, { paused: true });
  const message = Buffer.alloc(24 * MIB, 'm');
  assert.ok([0, 1].includes(ws.send(message, true)));
  for (let i = 0; i < 20; i++) await turn();
  peer.resume();
  assert.equal((await peer.frame()).data.length, message.length);
});

it('over the limit send returns 2 and the message is lost; dropped runs synchronously', async (t) => {
  const { peer, ws, events } = await pair(t, { maxBackpressure: 1024 }, { paused: true });
  const accepted = await fill(ws);
  const before = ws.getBufferedAmount();
  assert.equal(ws.send('lost'), 2);
  if (!v30) assert.deepEqual(events.list, [['dropped', 4, false]]);
  assert.equal(ws.send(Buffer.from('lost too'), true), 2);
  if (!v30) assert.deepEqual(events.list[1], ['dropped', 8, true]);
  assert.ok(ws.getBufferedAmount() <= before);
  peer.resume();
  for (let i = 0; i < accepted; i++) assert.equal((await peer.frame()).data.length, MIB);
  while (ws.getBufferedAmount() > 0) await turn();
  assert.equal(ws.send('after'), 1);
  assert.equal(await peer.message(), 'after');
});

it('the other senders return 2 over the limit too', async (t) => {
  const { ws } = await pair(t, { maxBackpressure: 1024 }, { paused: true });
  await fill(ws);
  assert.deepEqual(
    [ws.ping('p'), ws.sendFirstFragment('a'), ws.sendFragment('b'), ws.sendLastFragment('c')],
    [2, 2, 2, 2],
  );
});

it('the fragments behind a dropped one are dropped as well, and the next message is whole', async (t) => {
  const { peer, ws, events } = await pair(t, { maxBackpressure: 1024 }, { paused: true });
  const accepted = await fill(ws);
  assert.equal(ws.sendFirstFragment('a'), 2);
  peer.resume();
  for (let i = 0; i < accepted; i++) await peer.frame();
  while (ws.getBufferedAmount() > 0) await turn();
  const answers = [ws.sendFragment('b'), ws.sendLastFragment('c'), ws.send('whole')];
  const frames = differs('dropped-fragment', { original: ['b', 'c', 'whole'], ours: ['whole'] });
  assert.deepEqual(answers, differs('dropped-fragment', { original: [1, 1, 1], ours: [2, 2, 1] }));
  assert.deepEqual(await peer.messages(frames.length), frames);
  if (!v30) assert.equal(events.list.filter(([name]) => name === 'dropped').length, 4 - frames.length);
  assert.deepEqual([ws.sendFirstFragment('d'), ws.sendLastFragment('e')], [1, 1], 'a new message');
  assert.deepEqual(await peer.messages(2), ['d', 'e']);
});

it('a message whose end is dropped ends the connection, since the peer has its beginning', async (t) => {
  const { ws, events } = await pair(t, { maxBackpressure: 1024 }, { paused: true });
  assert.notEqual(ws.sendFirstFragment('begins'), 2);
  const fragment = Buffer.alloc(MIB);
  for (let i = 0; i < 200 && ws.sendFragment(fragment) !== 2; i++) await turn();
  const closes = () => events.list.filter(([name]) => name === 'close');
  if (differs('dropped-fragment', { original: false, ours: true })) {
    await until(() => closes().length > 0);
    assert.deepEqual(closes(), [['close', 1006, '']]);
  } else {
    assert.equal(ws.sendLastFragment('end'), 2);
    assert.deepEqual(closes(), []);
  }
});

it('with backlog below the limit send returns 0 and the message arrives', async (t) => {
  const { peer, ws } = await pair(t, { maxBackpressure: 64 * MIB }, { paused: true });
  const accepted = await fill(ws);
  assert.equal(ws.send('behind'), 0);
  peer.resume();
  for (let i = 0; i < accepted; i++) await peer.frame();
  assert.equal(await peer.message(), 'behind');
});

it('maxBackpressure 0 is unlimited', async (t) => {
  const { peer, ws, events } = await pair(t, { maxBackpressure: 0 }, { paused: true });
  const message = Buffer.alloc(4 * MIB, 'u');
  for (let i = 0; i < 12; i++) {
    assert.ok([0, 1].includes(ws.send(message, true)));
    await turn();
  }
  peer.resume();
  for (let i = 0; i < 12; i++) assert.equal((await peer.frame()).data.length, message.length);
  assert.deepEqual(
    events.list.filter(([name]) => name === 'dropped'),
    [],
  );
});

it('maxBackpressure is 64 KiB by default', async (t) => {
  const { ws } = await pair(t, {}, { paused: true });
  await fill(ws, 8 * MIB);
  assert.ok(ws.getBufferedAmount() > 65536);
  assert.equal(ws.send('x'), 2);
});

it('drain runs while the backlog gets smaller, down to 0', async (t) => {
  const { peer, ws, events } = await pair(t, { maxBackpressure: 0 }, { paused: true });
  await fill(ws, 16 * MIB);
  peer.resume();
  await events.first(([name, amount]) => name === 'drain' && amount === 0);
  const amounts = events.list.filter(([name]) => name === 'drain').map(([, amount]) => amount);
  assert.deepEqual(
    amounts,
    [...amounts].sort((a, b) => b - a),
  );
});

const PIECES = 40;
/** Sends PIECES of 1 MiB, and goes on after each drain through `later`. */
async function stream(t, later) {
  let total = 0;
  const piece = Buffer.alloc(MIB, 'd');
  const go = (ws) => {
    while (total < PIECES) {
      total++;
      if (ws.send(piece, true) !== 1) break;
    }
  };
  const server = serve(t, (app) =>
    app.ws('/*', {
      maxBackpressure: 4 * MIB,
      message: go,
      drain(ws) {
        if (ws.getBufferedAmount() < MIB) later(() => go(ws));
      },
    }),
  );
  const peer = await server.ws('/');
  await peer.text('go');
  for (let i = 0; i < PIECES; i++) assert.equal((await peer.frame()).data.length, MIB);
}

it('sending goes on after drain', (t) => stream(t, setImmediate));

it('sending goes on inside drain', onlyOurs('write-in-drain'), (t) => stream(t, (go) => go()));

it('closeOnBackpressureLimit closes the socket that is over the limit', async (t) => {
  const { ws, events } = await pair(
    t,
    { maxBackpressure: 1024, closeOnBackpressureLimit: true },
    { paused: true },
  );
  await fill(ws);
  assert.equal(ws.send('too much'), 2);
  const [, code] = await events.first(([name]) => name === 'close');
  assert.equal(code, 1006);
  assert.throws(() => ws.send('x'));
});

it('a burst in one tick, larger than the limit, to a healthy peer', async (t) => {
  const { peer, ws, events } = await pair(t, { maxBackpressure: 1024 });
  const statuses = Array.from({ length: 100 }, (_, i) => ws.send(`${i} ${'x'.repeat(1000)}`));
  assert.deepEqual(new Set(statuses), new Set([1]));
  const numbers = (await peer.messages(100)).map((message) => parseInt(message));
  assert.deepEqual(
    numbers,
    statuses.map((_, i) => i),
  );
  assert.deepEqual(
    events.list.filter(([name]) => name !== 'drain'),
    [],
  );
});

for (const paused of [false, true]) {
  it(`a very large burst in one tick to a peer that ${paused ? 'does not read' : 'reads'}: what was not answered 2 arrives, in order`, async (t) => {
    const { peer, ws, events } = await pair(t, { maxBackpressure: 16384 }, { paused });
    const accepted = [];
    const fillers = 'x'.repeat(1000);
    for (let i = 0; i < 15000; i++) if (ws.send(`${i} ${fillers}`) !== 2) accepted.push(i);
    for (let i = 0; i < 20; i++) await turn();
    if (paused) peer.resume();
    const numbers = (await peer.messages(accepted.length)).map((message) => parseInt(message));
    assert.deepEqual(numbers, accepted);
    if (!v30)
      assert.equal(events.list.filter(([name]) => name === 'dropped').length, 15000 - accepted.length);
    while (ws.getBufferedAmount() > 0) await turn();
    ws.send('end');
    assert.equal(await peer.message(), 'end');
  });
}

it('two sockets do not share their limits', async (t) => {
  const sockets = new Events();
  const server = serve(t, (app) =>
    app.ws('/*', {
      maxBackpressure: 1024,
      open(ws) {
        sockets.push(ws);
      },
    }),
  );
  const slow = await server.ws('/');
  slow.pause();
  const [first] = await sockets.count(1);
  await fill(first);
  const healthy = await server.ws('/');
  const [, second] = await sockets.count(2);
  assert.deepEqual([first.send('x'), second.send('x')], [2, 1]);
  assert.equal(await healthy.message(), 'x');
});

it('a backlog that is never read dies with the connection', async (t) => {
  const { peer, ws, events } = await pair(t, { maxBackpressure: 0 }, { paused: true });
  await fill(ws, 8 * MIB);
  peer.reset();
  const [, code] = await events.first(([name]) => name === 'close');
  assert.equal(code, 1006);
});

it('sends from open, message, timers and promises keep the order of the calls', async (t) => {
  const server = serve(t, (app) =>
    app.ws('/*', {
      open(ws) {
        ws.send('open');
        Promise.resolve().then(() => {
          ws.send('open microtask');
        });
      },
      message(ws) {
        ws.send('message');
        process.nextTick(() => {
          ws.send('tick');
        });
        Promise.resolve().then(() => {
          ws.send('microtask');
        });
        setImmediate(() => {
          ws.send('immediate');
        });
      },
    }),
  );
  const peer = await server.ws('/');
  await peer.text('x');
  assert.deepEqual(await peer.messages(6), [
    'open',
    'open microtask',
    'message',
    'tick',
    'microtask',
    'immediate',
  ]);
});
