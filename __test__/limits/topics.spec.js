'use strict';
// The limits on subscriptions: `subscribe` answers false beyond them, and nothing throws.

const { both, it, assert, limited, Events } = require('./support');

/** Opens sockets of one app; returns the server's side of them. */
async function open(t, limits, count, tls = false) {
  const opened = new Events();
  const told = [];
  const server = limited(t, limits, {
    tls,
    configure: (app) =>
      app.ws('/*', {
        open: (ws) => opened.push(ws),
        subscription: (ws, topic, now, before) => told.push([Buffer.from(topic).toString(), now, before]),
      }),
  });
  const peers = [];
  for (let i = 0; i < count; i++) {
    peers.push(await server.ws('/'));
    await opened.count(i + 1);
  }
  return { server, peers, sockets: opened.list, told };
}

both('maxTopicsPerConnection', async (t, tls) => {
  const { server, peers, sockets, told } = await open(t, { maxTopicsPerConnection: 2 }, 2, tls);
  const [ws, other] = sockets;
  assert.deepEqual(
    ['a', 'b', 'c', 'a'].map((topic) => ws.subscribe(topic)),
    [true, true, false, true],
  );
  assert.deepEqual([ws.getTopics(), ws.isSubscribed('c')], [['a', 'b'], false]);
  assert.deepEqual(told, [
    ['a', 1, 0],
    ['b', 1, 0],
  ]);
  assert.ok(other.subscribe('c') && other.subscribe('a'));
  assert.equal(server.app.numSubscribers('c'), 1);
  server.app.publish('a', 'to both');
  assert.deepEqual([await peers[0].message(), await peers[1].message()], ['to both', 'to both']);
  ws.unsubscribe('a');
  assert.deepEqual([ws.subscribe('c'), ws.subscribe('d')], [true, false]);
  assert.deepEqual(server.breaches(), { maxTopicsPerConnection: 2 });
});

it('a socket whose only subscription is refused has never subscribed, and publishes nothing', async (t) => {
  const {
    sockets: [ws, other],
  } = await open(t, { maxTopicLength: 1 }, 2);
  assert.ok(other.subscribe('a'));
  assert.deepEqual([ws.subscribe('long'), ws.publish('a', 'x')], [false, false]);
  assert.deepEqual([ws.subscribe('b'), ws.publish('a', 'x')], [true, true]);
});

it('maxTopicLength is in bytes', async (t) => {
  const {
    server,
    sockets: [ws],
  } = await open(t, { maxTopicLength: 4 }, 1);
  const topics = [
    'abcd',
    'abcde',
    'éé',
    'ééé',
    Buffer.from([0xe9, 0xe9, 0xe9, 0xe9]),
    Buffer.alloc(5, 0xe9),
    '',
  ];
  assert.deepEqual(
    topics.map((topic) => ws.subscribe(topic)),
    [true, false, true, false, true, false, true],
  );
  assert.deepEqual(server.breaches(), { maxTopicLength: 3 });
});

both('maxSubscriptions counts those of all connections, and ends give them back', async (t, tls) => {
  const { server, peers, sockets } = await open(t, { maxSubscriptions: 3 }, 2, tls);
  const [one, two] = sockets;
  assert.deepEqual(
    ['a', 'b'].map((topic) => one.subscribe(topic)),
    [true, true],
  );
  assert.deepEqual(
    ['a', 'b'].map((topic) => two.subscribe(topic)),
    [true, false],
  );
  assert.deepEqual(server.breaches(), { maxSubscriptions: 1 });
  one.end(1000);
  assert.deepEqual(
    ['b', 'c', 'd'].map((topic) => two.subscribe(topic)),
    [true, true, false],
  );
  server.app.publish('b', 'news');
  assert.equal(await peers[1].message(), 'news');
  two.close();
  assert.equal(server.app.numSubscribers('b'), 0);
});

it('a subscription handler that subscribes, at the limit', async (t) => {
  const opened = new Events();
  const answers = [];
  const server = limited(
    t,
    { maxTopicsPerConnection: 2, maxSubscriptions: 10 },
    {
      configure: (app) =>
        app.ws('/*', {
          open: (ws) => opened.push(ws),
          subscription: (ws, topic, now, before) => {
            if (now > before) answers.push(ws.subscribe(`${Buffer.from(topic)}+`));
          },
        }),
    },
  );
  await server.ws('/');
  const [ws] = await opened.count(1);
  assert.ok(ws.subscribe('a'));
  assert.deepEqual(ws.getTopics(), ['a', 'a+']);
  assert.deepEqual(answers, [false, true]);
});

it('an app without such limits has none', async (t) => {
  const {
    server,
    sockets: [ws],
  } = await open(t, { maxConnections: 5 }, 1);
  for (let i = 0; i < 5000; i++) assert.ok(ws.subscribe(`topic ${i}`));
  assert.ok(ws.subscribe('x'.repeat(100000)));
  assert.deepEqual(server.breaches(), {});
});
