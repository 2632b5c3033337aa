'use strict';
const { it, assert, serve, Events, turn, text, v30, byVersion, BINARY, TEXT } = require('../support');

const MIB = 1024 * 1024;
/**
 * Opens `count` sockets: sockets[i] on the server's side, peers[i] on the other; `log` has the calls of
 * subscription, dropped and close.
 */
async function room(t, count, behavior = {}, each = () => {}) {
  const log = new Events();
  const sockets = new Events();
  const server = serve(t, (app) =>
    app.ws('/*', {
      idleTimeout: 0,
      ...behavior,
      open(ws) {
        ws.id = sockets.list.length;
        each(ws);
        sockets.push(ws);
      },
      subscription(ws, topic, newCount, oldCount) {
        log.push(['subscription', ws.id, text(topic), newCount, oldCount]);
      },
      dropped(ws, message) {
        log.push(['dropped', ws.id, message.byteLength]);
      },
      close(ws) {
        log.push(['close', ws.id]);
      },
    }),
  );
  const peers = [];
  for (let i = 0; i < count; i++) {
    peers.push(await server.ws('/'));
    await sockets.count(i + 1);
  }
  return { server, app: server.app, sockets: sockets.list, peers, log };
}
/** Reads the messages that came before the marker, which is sent last. */
async function until(peer, ws, marker = 'marker') {
  ws.send(marker);
  const list = [];
  for (;;) {
    const message = await peer.message();
    if (message === marker) return list;
    list.push(message);
  }
}

it('subscribe returns true, again true; unsubscribe true, then false', async (t) => {
  const {
    sockets: [ws],
  } = await room(t, 1);
  assert.deepEqual(
    [ws.subscribe('a'), ws.subscribe('a'), ws.unsubscribe('a'), ws.unsubscribe('a'), ws.unsubscribe('never')],
    [true, true, true, false, false],
  );
});

it('a socket publishes from its first subscription on, also behind its last unsubscription', async (t) => {
  const {
    sockets: [a, b],
    peers: [, other],
  } = await room(t, 2);
  b.subscribe('x');
  const published = [a.publish('x', 'never')];
  a.subscribe('y');
  published.push(a.publish('x', 'one'));
  a.unsubscribe('y');
  published.push(a.publish('x', 'none'));
  assert.deepEqual(published, [false, true, byVersion({ old: false, now: true })]);
  assert.equal(await other.message(), 'one');
  if (!v30) assert.equal(await other.message(), 'none');
});

it('isSubscribed and getTopics', async (t) => {
  const {
    sockets: [ws],
  } = await room(t, 1);
  assert.deepEqual([ws.isSubscribed('a'), ws.getTopics()], [false, []]);
  ws.subscribe('a');
  ws.subscribe('b');
  ws.subscribe('a');
  assert.deepEqual(
    [ws.isSubscribed('a'), ws.isSubscribed('c'), ws.getTopics().sort()],
    [true, false, ['a', 'b']],
  );
  ws.unsubscribe('a');
  assert.deepEqual(ws.getTopics(), ['b']);
});

it('numSubscribers', async (t) => {
  const {
    app,
    sockets: [a, b],
  } = await room(t, 2);
  const counts = [app.numSubscribers('x')];
  for (const step of [
    () => a.subscribe('x'),
    () => a.subscribe('x'),
    () => b.subscribe('x'),
    () => a.unsubscribe('x'),
    () => b.unsubscribe('x'),
  ]) {
    step();
    counts.push(app.numSubscribers('x'));
  }
  assert.deepEqual(counts, [0, 1, 1, 2, 1, 0]);
});

it('subscription runs synchronously with the counts, only when something changed', async (t) => {
  const {
    sockets: [a, b],
    log,
  } = await room(t, 2);
  a.subscribe('x');
  assert.deepEqual(log.list, [['subscription', 0, 'x', 1, 0]]);
  a.subscribe('x');
  b.subscribe('x');
  a.unsubscribe('x');
  a.unsubscribe('x');
  b.unsubscribe('x');
  assert.deepEqual(log.list, [
    ['subscription', 0, 'x', 1, 0],
    ['subscription', 1, 'x', 2, 1],
    ['subscription', 0, 'x', 1, 2],
    ['subscription', 1, 'x', 0, 1],
  ]);
});

it('at close the subscriptions go first, then close runs', async (t) => {
  for (const finish of [(ws) => ws.close(), (ws) => ws.end(1000)]) {
    const {
      app,
      sockets: [a, b],
      log,
    } = await room(t, 2);
    for (const topic of ['x', 'y']) a.subscribe(topic);
    b.subscribe('x');
    log.list.length = 0;
    finish(a);
    assert.deepEqual(log.list.slice(0, 2).sort(), [
      ['subscription', 0, 'x', 1, 2],
      ['subscription', 0, 'y', 0, 1],
    ]);
    assert.deepEqual(log.list.slice(2), [['close', 0]]);
    assert.deepEqual([app.numSubscribers('x'), app.numSubscribers('y')], [1, 0]);
  }
});

it('when the peer goes away the subscriptions go first too', async (t) => {
  const {
    app,
    sockets: [ws],
    peers: [peer],
    log,
  } = await room(t, 1);
  ws.subscribe('x');
  peer.reset();
  await log.count(3);
  assert.deepEqual(log.list, [
    ['subscription', 0, 'x', 1, 0],
    ['subscription', 0, 'x', 0, 1],
    ['close', 0],
  ]);
  assert.equal(app.numSubscribers('x'), 0);
});

it('app.publish: true with a subscriber, false without; reaches all of them', async (t) => {
  const { app, sockets, peers } = await room(t, 3);
  assert.equal(app.publish('x', 'nobody'), false);
  sockets[0].subscribe('x');
  sockets[1].subscribe('x');
  assert.equal(app.publish('x', 'hello'), true);
  assert.deepEqual(await Promise.all(sockets.map((ws, i) => until(peers[i], ws))), [
    ['hello'],
    ['hello'],
    [],
  ]);
});

it('publish sends text by default and binary when asked', async (t) => {
  const {
    app,
    sockets: [a, b],
    peers: [peer],
  } = await room(t, 2);
  a.subscribe('x');
  b.subscribe('x');
  app.publish('x', 'text');
  app.publish('x', Buffer.from('binary'), true);
  b.publish('x', 'again');
  b.publish('x', new Uint8Array([65]), true);
  const frames = [];
  while (frames.length < 4) frames.push(await peer.frame());
  assert.deepEqual(
    frames.map(({ opcode, text: data }) => [opcode, data]),
    [
      [TEXT, 'text'],
      [BINARY, 'binary'],
      [TEXT, 'again'],
      [BINARY, 'A'],
    ],
  );
});

it('ws.publish never reaches the sender', async (t) => {
  const {
    sockets: [a, b],
    peers,
  } = await room(t, 2);
  a.subscribe('x');
  b.subscribe('x');
  assert.equal(a.publish('x', 'from a'), true);
  assert.deepEqual([await until(peers[0], a), await until(peers[1], b)], [[], ['from a']]);
});

it('ws.publish is false when nobody else is there', async (t) => {
  const {
    sockets: [a, b],
  } = await room(t, 2);
  a.subscribe('x');
  b.subscribe('y');
  assert.deepEqual(
    [a.publish('x', 'only me'), a.publish('z', 'nobody'), a.publish('y', 'b is there')],
    [false, false, true],
  );
});

it('ws.publish of a socket that has subscribed to nothing is false and delivers nothing', async (t) => {
  const {
    sockets: [a, b],
    peers,
  } = await room(t, 2);
  a.subscribe('x');
  assert.equal(b.publish('x', 'from b'), false);
  b.subscribe('other');
  assert.equal(b.publish('x', 'now'), true);
  assert.deepEqual(await until(peers[0], a), ['now']);
});

it('publishing reaches the sockets of every ws route of the app, and of no other app', async (t) => {
  const names = [];
  const configure = (app) => {
    for (const route of ['/a', '/b'])
      app.ws(route, {
        open(ws) {
          ws.subscribe('x');
          names.push(route);
        },
      });
  };
  const server = serve(t, configure);
  const other = serve(t, configure);
  const a = await server.ws('/a');
  const b = await server.ws('/b');
  const c = await other.ws('/a');
  while (names.length < 3) await turn();
  assert.deepEqual([server.app.numSubscribers('x'), other.app.numSubscribers('x')], [2, 1]);
  server.app.publish('x', 'one');
  other.app.publish('x', 'two');
  assert.deepEqual([await a.message(), await b.message(), await c.message()], ['one', 'one', 'two']);
});

it('topics are plain strings', async (t) => {
  const {
    app,
    sockets: [ws],
    peers: [peer],
  } = await room(t, 1);
  for (const topic of ['a/+', 'a/#', '', '\x1f\u00e9', ' space ']) {
    assert.equal(ws.subscribe(topic), true);
    assert.deepEqual(
      [ws.isSubscribed(topic), app.numSubscribers(topic), app.publish(topic, `to ${topic}`)],
      [true, 1, true],
    );
  }
  assert.deepEqual(
    [app.publish('a/b', 'no'), app.publish('a', 'no'), app.publish('a/', 'no')],
    [false, false, false],
  );
  assert.deepEqual(ws.getTopics().sort(), ['a/+', 'a/#', '', '\x1f\u00e9', ' space '].sort());
  assert.deepEqual(await until(peer, ws), ['to a/+', 'to a/#', 'to ', 'to \x1f\u00e9', 'to  space ']);
});

it('topics may be given as any recognized data', async (t) => {
  const {
    app,
    sockets: [ws],
  } = await room(t, 1);
  ws.subscribe(Buffer.from('bytes'));
  assert.deepEqual(
    [ws.isSubscribed('bytes'), app.numSubscribers(new TextEncoder().encode('bytes').buffer), ws.getTopics()],
    [true, 1, ['bytes']],
  );
});

it('sends and publishes arrive in the order of the calls', async (t) => {
  const {
    app,
    sockets: [a, b],
    peers: [peerA, peerB],
  } = await room(t, 2);
  a.subscribe('x');
  b.subscribe('x');
  a.send('1');
  app.publish('x', '2');
  a.send('3');
  b.publish('x', '4');
  a.send('5');
  app.publish('x', '6');
  app.publish('x', '7');
  b.send('8');
  assert.deepEqual(await until(peerA, a), ['1', '2', '3', '4', '5', '6', '7']);
  assert.deepEqual(await until(peerB, b), ['2', '6', '7', '8']);
});

it('sends and publishes inside cork keep the order too', async (t) => {
  const {
    app,
    sockets: [ws],
    peers: [peer],
  } = await room(t, 1);
  ws.subscribe('x');
  ws.cork(() => {
    ws.send('1');
    app.publish('x', '2');
    ws.send('3');
    app.publish('x', '4');
  });
  ws.send('5');
  assert.deepEqual(await until(peer, ws), ['1', '2', '3', '4', '5']);
});

it(
  'publish, then unsubscribe: what was published before is delivered',
  { skip: v30 ? '20.30 loses it' : false },
  async (t) => {
    const {
      app,
      sockets: [a, b],
      peers: [peer],
    } = await room(t, 2);
    a.subscribe('x');
    b.subscribe('x');
    app.publish('x', 'before');
    b.publish('x', 'before too');
    a.unsubscribe('x');
    app.publish('x', 'after');
    assert.deepEqual(await until(peer, a), ['before', 'before too']);
  },
);

it('subscribe, then publish in one tick is delivered; publish, then subscribe is not', async (t) => {
  const {
    app,
    sockets: [ws],
    peers: [peer],
  } = await room(t, 1);
  app.publish('x', 'too early');
  ws.subscribe('x');
  app.publish('x', 'in time');
  assert.deepEqual(await until(peer, ws), ['in time']);
});

it('publish, then end: earlier publishes are delivered before the close frame', async (t) => {
  const {
    app,
    sockets: [ws],
    peers: [peer],
  } = await room(t, 1);
  ws.subscribe('x');
  app.publish('x', 'last words');
  ws.end(1000);
  const frames = await peer.frames();
  assert.deepEqual(
    frames.map(({ opcode, text: data }) => [opcode, data]),
    [
      [TEXT, 'last words'],
      [8, ''],
    ],
  );
});

it('10000 publishes of one tick arrive in order', async (t) => {
  const {
    app,
    sockets: [ws],
    peers: [peer],
  } = await room(t, 1, { maxBackpressure: 0 });
  ws.subscribe('x');
  for (let i = 0; i < 10000; i++) app.publish('x', String(i));
  assert.deepEqual(
    await until(peer, ws),
    Array.from({ length: 10000 }, (_, i) => String(i)),
  );
});

it('a big publish arrives at all', async (t) => {
  const { app, peers } = await room(t, 5, { maxBackpressure: 0 }, (ws) => ws.subscribe('x'));
  const message = Buffer.alloc(4 * MIB, 'p');
  assert.equal(app.publish('x', message, true), true);
  for (const peer of peers) assert.ok((await peer.frame()).data.equals(message));
});

it('a publish skips the slow socket that is over its limit, and no other', async (t) => {
  const { app, sockets, peers, log } = await room(t, 2, { maxBackpressure: 1024 }, (ws) => ws.subscribe('x'));
  peers[0].pause();
  const piece = Buffer.alloc(MIB, 's');
  let accepted = 0;
  while (sockets[0].getBufferedAmount() === 0) {
    if (sockets[0].send(piece, true) !== 2) accepted++;
    await turn();
  }
  log.list.length = 0;
  assert.equal(app.publish('x', 'published'), true);
  assert.deepEqual(await until(peers[1], sockets[1]), ['published']);
  if (!v30) assert.deepEqual(await log.first(([name]) => name === 'dropped'), ['dropped', 0, 9]);
  peers[0].resume();
  for (let i = 0; i < accepted; i++) assert.equal((await peers[0].frame()).data.length, MIB);
  while (sockets[0].getBufferedAmount() > 0) await turn();
  assert.deepEqual(await until(peers[0], sockets[0]), []);
});

it('300 subscribers', async (t) => {
  const { app, sockets, peers } = await room(t, 300, {}, (ws) => ws.subscribe('x'));
  assert.equal(app.numSubscribers('x'), 300);
  sockets[0].publish('x', 'to 299');
  app.publish('x', 'to 300');
  assert.deepEqual(await until(peers[0], sockets[0]), ['to 300']);
  for (const peer of peers.slice(1)) assert.deepEqual(await peer.messages(2), ['to 299', 'to 300']);
});

it('subscribing and publishing inside handlers', async (t) => {
  const server = serve(t, (app) =>
    app.ws('/*', {
      open(ws) {
        ws.subscribe('room');
        ws.publish('room', 'joined');
      },
      message(ws, message) {
        ws.publish('room', message);
        app.publish('room', 'all');
      },
    }),
  );
  const a = await server.ws('/');
  const b = await server.ws('/');
  assert.equal(await a.message(), 'joined');
  await b.text('hello');
  assert.deepEqual([await a.messages(2), await b.messages(1)], [['hello', 'all'], ['all']]);
});

it('publishing from a subscription or close handler', async (t) => {
  const server = serve(t, (app) =>
    app.ws('/*', {
      open(ws) {
        ws.subscribe('room');
      },
      message(ws) {
        ws.unsubscribe('room');
      },
      subscription(ws, topic, newCount, oldCount) {
        if (newCount < oldCount) app.publish('room', 'left');
      },
      close() {
        app.publish('room', 'closed');
      },
    }),
  );
  const a = await server.ws('/');
  const b = await server.ws('/');
  await b.text('x');
  assert.equal(await a.message(), 'left');
  b.reset();
  assert.equal(await a.message(), 'closed');
});

it('topics are bytes: those that are not UTF-8 are distinct, and returned unchanged', async (t) => {
  const {
    app,
    sockets: [a, b],
    peers: [peer],
    log,
  } = await room(t, 2);
  const [one, other] = [Buffer.from([200]), new Uint8Array([201])];
  a.subscribe(one);
  b.subscribe(other);
  a.subscribe('\u00c8');
  assert.deepEqual(log.list, [
    ['subscription', 0, '\u00c8', 1, 0],
    ['subscription', 1, '\u00c9', 1, 0],
    ['subscription', 0, '\u00c3\u0088', 1, 0],
  ]);
  assert.deepEqual(
    [one, other, Buffer.from([202]), '\ufffd', Buffer.from('\u00c8'), new Uint8Array([200]).buffer].map(
      (topic) => [a.isSubscribed(topic), app.numSubscribers(topic)],
    ),
    [
      [true, 1],
      [false, 1],
      [false, 0],
      [false, 0],
      [true, 1],
      [true, 1],
    ],
  );
  assert.deepEqual(a.getTopics().sort(), ['\u00c8', '\ufffd']);
  assert.deepEqual(
    [app.publish(Buffer.from([202]), 'nobody'), app.publish('\ufffd', 'nobody'), a.publish(other, 'to b')],
    [false, false, true],
  );
  assert.equal(b.publish(one, 'for a'), true);
  assert.equal(app.publish(other, 'for b'), true);
  assert.deepEqual(await until(peer, a), ['for a']);
  assert.deepEqual(
    [a.unsubscribe(other), a.unsubscribe('\ufffd'), a.isSubscribed(one), a.unsubscribe(one)],
    [false, false, true, true],
  );
  assert.deepEqual(log.list.slice(3), [['subscription', 0, '\u00c8', 0, 1]]);
});

it('no text is taken for bytes that are none', async (t) => {
  const {
    app,
    sockets: [ws],
  } = await room(t, 1);
  ws.subscribe(Buffer.from([0xdc, 0xe9]));
  const texts = ['\udc00\u00dc\u00e9', '\udc00', '\u00dc\u00e9', '\ud800\udc00\u00dc\u00e9', '\ufeff\u00e9'];
  assert.deepEqual(
    texts.map((topic) => ws.isSubscribed(topic) || app.numSubscribers(topic)),
    [0, 0, 0, 0, 0],
  );
  ws.subscribe('\ufeff\u00e9');
  assert.equal(ws.isSubscribed(Buffer.from('\ufeff\u00e9')), true);
});
