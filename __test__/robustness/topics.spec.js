'use strict';
// A topic reaches exactly its subscribers, whichever connections end meanwhile, in whatever way, and whatever
// handlers do about it.

const { it, assert, serve, until, frame, closePayload, get, CLOSE } = require('../support');

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const upgrade = (res, req, context) =>
  res.upgrade({ name: req.getQuery('n') }, req.getHeader('sec-websocket-key'), '', '', context);

/** The ways in which a WebSocket may end. */
const ENDS = {
  'a close frame': (peer) => peer.send(frame({ opcode: CLOSE, payload: closePayload(1000) })),
  'a protocol error': (peer) => peer.send(Buffer.from([0xf1, 0x80, 0, 0, 0, 0])),
  'a FIN': (peer) => peer.halfClose(),
  'a reset': (peer) => peer.reset(),
  'ws.end()': (peer) => peer.text('end'),
  'ws.close()': (peer) => peer.text('close'),
  'a message and a close frame': (peer) =>
    peer.send(
      Buffer.concat([frame({ payload: 'hello' }), frame({ opcode: CLOSE, payload: closePayload(1000) })]),
    ),
};

const onMessage = (ws, message) => {
  const text = Buffer.from(message).toString();
  if (text === 'end') ws.end(1000);
  if (text === 'close') ws.close();
};

for (const [name, end] of Object.entries(ENDS)) {
  it(`the number of a topic is not another's while its last subscriber ends by ${name}`, async (t) => {
    let victim;
    const server = serve(t, (app) => {
      app.ws('/*', {
        upgrade,
        open(ws) {
          if (ws.name === 'leaving')
            for (const topic of ['inbox/1', 'inbox/2', 'inbox/3']) ws.subscribe(topic);
          else victim = ws;
        },
        message: onMessage,
        // Both topics get the numbers that have just been freed.
        subscription(ws, topic, now, before) {
          if (ws.name !== 'leaving' || now > before) return;
          victim.subscribe(`room of ${Buffer.from(topic)}`);
          app.publish(`room of ${Buffer.from(topic)}`, `SECRET of ${Buffer.from(topic)}`);
        },
        close(ws) {
          if (ws.name !== 'leaving') return;
          victim.subscribe('room');
          app.publish('room', 'SECRET');
        },
      });
    });
    const [staying, leaving] = [await server.ws('/?n=staying'), await server.ws('/?n=leaving')];
    await end(leaving);
    const secrets = [1, 2, 3].map((n) => `SECRET of inbox/${n}`).concat('SECRET');
    assert.deepEqual((await staying.messages(4)).sort(), secrets.sort());
    if (name !== 'a reset') {
      await leaving.gone();
      assert.ok(!leaving.bytes().includes('SECRET'), leaving.bytes().toString('latin1'));
    }
  });
}

it('subscription handlers that unsubscribe the socket that ends: each topic is left once', async (t) => {
  for (const end of Object.values(ENDS)) {
    const counts = [];
    const server = serve(t, (app) => {
      app.ws('/*', {
        upgrade,
        open(ws) {
          for (const topic of ['a', 'b', 'c'])
            if (ws.name === 'leaving' || topic !== 'a') ws.subscribe(topic);
        },
        message: onMessage,
        subscription(ws, topic, now, before) {
          if (ws.name !== 'leaving' || now > before) return;
          counts.push([Buffer.from(topic).toString(), now, before]);
          for (const other of ['a', 'b', 'c', 'never']) ws.unsubscribe(other);
          assert.equal(ws.subscribe('too late'), false);
        },
        close: (ws) => ws.name === 'leaving' && counts.push('closed'),
      });
    });
    const [first, second] = [await server.ws('/?n=1'), await server.ws('/?n=2')];
    const leaving = await server.ws('/?n=leaving');
    await end(leaving);
    await until(() => counts.includes('closed'));
    assert.deepEqual(counts.filter((each) => each !== 'closed').sort(), [
      ['a', 0, 1],
      ['b', 2, 3],
      ['c', 2, 3],
    ]);
    const { app } = server;
    assert.deepEqual(
      ['a', 'b', 'c', 'too late'].map((topic) => app.numSubscribers(topic)),
      [0, 2, 2, 0],
    );
    // The numbers of topics that still have subscribers are not reused.
    const third = await server.ws('/?n=3');
    for (const topic of ['b', 'c']) app.publish(topic, topic);
    for (const peer of [first, second, third]) assert.deepEqual(await peer.messages(2), ['b', 'c']);
  }
});

it(
  'random subscriptions and ends: everybody gets what is theirs, and nothing else',
  { timeout: 40000 },
  async (t) => {
    let state = 5;
    const random = (n) => {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      return (state >>> 8) % n;
    };
    const TOPICS = Array.from({ length: 7 }, (_, n) => `topic ${n}`);
    /** The messages that each socket must get, in order. */
    const expected = new Map();
    const open = new Set();
    let busy = false;
    const server = serve(t, (app) => {
      const publish = (topic) => {
        const message = `${topic}: ${random(1000000)}`;
        for (const ws of open) if (ws.isSubscribed(topic)) expected.get(ws.name).push(message);
        app.publish(topic, message);
      };
      const meddle = () => {
        if (busy) return;
        busy = true;
        for (const ws of open) {
          if (random(2)) continue;
          const topic = TOPICS[random(TOPICS.length)];
          if (random(2)) ws.subscribe(topic);
          else ws.unsubscribe(topic);
        }
        publish(TOPICS[random(TOPICS.length)]);
        busy = false;
      };
      app.ws('/*', {
        upgrade,
        idleTimeout: 0,
        open(ws) {
          open.add(ws);
          expected.set(ws.name, []);
          ws.subscribe(TOPICS[random(TOPICS.length)]);
        },
        message(ws, message) {
          const text = Buffer.from(message).toString();
          if (text === 'end' || text === 'close') {
            open.delete(ws);
          }
          onMessage(ws, message);
          for (const topic of TOPICS) publish(topic);
          meddle();
        },
        subscription(ws, topic, now, before) {
          // The first sign of an end that the loop has reported.
          if (!busy && now < before) open.delete(ws);
          meddle();
        },
        close(ws) {
          open.delete(ws);
          meddle();
        },
      });
    });
    let number = 0;
    const peers = new Map();
    const join = async () => {
      const name = String(number++);
      const peer = await server.ws(`/?n=${name}`);
      peer.name = name;
      peers.set(name, peer);
    };
    for (let i = 0; i < 8; i++) await join();
    const ends = Object.values(ENDS);
    for (let round = 0; round < 60; round++) {
      const [leaving, speaking] = [...peers.values()].sort(() => random(3) - 1);
      peers.delete(leaving.name);
      await Promise.all([ends[round % ends.length](leaving), speaking.text('hello'), join()]);
      // A socket that leaves gets messages of its topics from before, and never those of others.
      await leaving.gone();
      const got = [];
      while (leaving.size > 0) {
        const part = await leaving.frame().catch(() => null);
        if (part === null) break;
        if (part.opcode === 1) got.push(part.text);
      }
      for (const message of got)
        assert.ok(expected.get(leaving.name).includes(message), `${leaving.name} got ${message}`);
    }
    for (const peer of peers.values()) {
      const wanted = expected.get(peer.name);
      assert.deepEqual(await peer.messages(wanted.length), wanted);
    }
    await wait(50);
    for (const peer of peers.values()) assert.equal(peer.size, 0, 'nothing more came');
  },
);

it('a socket leaves a hundred thousand topics without stopping the others', { timeout: 30000 }, async (t) => {
  const COUNT = 100000;
  const server = serve(t, (app) => {
    app.get('/*', (res) => res.end('x'));
    app.ws('/*', {
      open(ws) {
        for (let i = 0; i < COUNT; i++) ws.subscribe(`${i}`);
        // The sockets are closed from the front and from the back.
        for (let i = 0; i < COUNT; i += 2) ws.unsubscribe(`${i}`);
        for (let i = COUNT - 1; i > 0; i -= 4) ws.unsubscribe(`${i}`);
        ws.send(`${ws.getTopics().length}`);
      },
    });
  });
  const began = process.cpuUsage();
  const peer = await server.ws('/');
  assert.equal(await peer.message(), String(COUNT / 4));
  assert.equal((await server.once(get('/'))).body, 'x');
  peer.destroy();
  assert.equal((await server.once(get('/'))).body, 'x');
  await until(() => server.app.numSubscribers('1') === 0);
  // The bound is on work, not on time: searching all of them each time takes ten times as much.
  const { user, system } = process.cpuUsage(began);
  assert.ok(user + system < 4e6, `${(user + system) / 1e6} s of work`);
});
