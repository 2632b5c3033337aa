'use strict';
// Publishing to subscribers that do not read, as fast as a program can: a `dropped` handler gets every
// dropped message unchanged, and memory stays bounded, although JavaScript gets no events meanwhile.

const { it, assert, serve, until, get, uWS } = require('../support');

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const rss = () => process.memoryUsage.rss() / 2 ** 20;

/** Resolves when JavaScript has handled it, too. */
async function open(server, topic) {
  const before = server.app.numSubscribers(topic);
  const peer = await server.ws('/');
  await until(() => server.app.numSubscribers(topic) !== before);
  return peer;
}

async function slow(server, topic) {
  const peer = await open(server, topic);
  peer.pause();
}

for (const [count, size, slowOnes] of [
  [8000, 64000, 1],
  [3000, 40000, 30],
  [60000, 100, 5],
]) {
  it(
    `${count} messages of ${size} bytes in one tick to ${slowOnes} that do not read`,
    { timeout: 60000 },
    async (t) => {
      let dropped = 0;
      let last = -1;
      let wrong = 0;
      let most = 0;
      const server = serve(t, (app) => {
        app.get('/*', (res) => res.end('x'));
        app.ws('/*', {
          maxBackpressure: 65536,
          idleTimeout: 0,
          open: (ws) => ws.subscribe('topic'),
          dropped(ws, message, binary) {
            dropped++;
            const bytes = Buffer.from(message);
            const number = bytes.readUInt32LE(0);
            // Each of them gets all messages, in order and whole.
            if (bytes.length !== size || bytes.at(-1) !== number % 251 || !binary) wrong++;
            if (slowOnes === 1 && number <= last) wrong++;
            last = number;
          },
        });
      });
      for (let i = 0; i < slowOnes; i++) await slow(server, 'topic');
      const before = rss();
      for (let i = 0; i < count; i++) {
        const message = Buffer.alloc(size, i % 251);
        message.writeUInt32LE(i, 0);
        message[size - 1] = i % 251;
        server.app.publish('topic', message, true);
        if (i % 100 === 0) most = Math.max(most, rss());
      }
      // The messages that the kernel and the limits hold are not dropped.
      const held = slowOnes * Math.ceil((12 << 20) / size + 10);
      const end = Date.now() + 20000;
      while (dropped < count * slowOnes - held && Date.now() < end) {
        most = Math.max(most, rss());
        await wait(5);
      }
      assert.ok(
        dropped >= count * slowOnes - held && dropped <= count * slowOnes,
        `${dropped} of ${count * slowOnes}`,
      );
      assert.equal(wrong, 0);
      assert.ok(most - before < 250, `${Math.round(most - before)} MiB more`);
      assert.equal((await server.once(get('/'))).body, 'x');
    },
  );
}

it('a dropped handler may publish, send, close and end the app', { timeout: 60000 }, async (t) => {
  const log = { dropped: 0, closed: 0, got: 0 };
  const server = serve(t, (app) => {
    app.ws('/*', {
      maxBackpressure: 1024,
      idleTimeout: 0,
      open(ws) {
        ws.subscribe('topic');
        ws.subscribe('other');
      },
      dropped(ws, message) {
        log.dropped++;
        if (message.byteLength === 5) return;
        if (log.dropped % 7 === 0) app.publish('other', 'again');
        if (log.dropped % 50 === 0) ws.send('sent');
        if (log.dropped % 1000 === 0) ws.close();
      },
      close: () => log.closed++,
    });
  });
  for (let i = 0; i < 6; i++) await slow(server, 'topic');
  const message = Buffer.alloc(50000, 'm');
  for (let i = 0; i < 4000 && log.closed < 6; i++) server.app.publish('topic', message);
  await wait(100);
  assert.ok(log.dropped > 1000);
  const second = await open(server, 'other');
  server.app.publish('other', 'still here');
  // The message before it was published by handlers that had not heard of all drops.
  while ((await second.message()) !== 'still here');
  server.app.close();
  assert.equal(log.closed, 7);
});

it('handlers do not run in the middle of a method that sends a command', { timeout: 60000 }, async (t) => {
  const wrong = new Set();
  const happened = new Set();
  const spared = new Set();
  /** The first `dropped` handler that runs within a method calls this. */
  let inside = null;
  const server = serve(t, (app) => {
    app.ws('/slow', {
      maxBackpressure: 1024,
      idleTimeout: 0,
      open: (ws) => ws.subscribe('topic'),
      dropped() {
        inside?.();
        inside = null;
      },
    });
    app.ws('/*', {
      idleTimeout: 0,
      open(ws) {
        spared.add(ws);
        ws.subscribe('kept');
      },
      subscription(ws, topic, now, before) {
        if (ws.ended) wrong.add('subscription after close');
        if (now < 0 || before < 0 || Math.abs(now - before) !== 1) wrong.add(`${before} to ${now}`);
      },
      close(ws) {
        if (ws.ended) wrong.add('closed twice');
        ws.ended = true;
        spared.delete(ws);
      },
    });
  });
  for (let i = 0; i < 60; i++) (await server.ws('/slow')).pause();
  for (let i = 0; i < 8; i++) await server.ws('/');
  await until(() => spared.size === 8 && server.app.numSubscribers('topic') === 60);
  for (let i = 0; i < 20000; i++) server.app.publish('topic', 'n'.repeat(1100));
  const methods = { subscribe: 'more', unsubscribe: 'kept' };
  for (const [name, topic] of Object.entries(methods)) {
    for (const ws of [...spared].slice(0, 4)) {
      const end = Date.now() + 5000;
      while (!ws.ended && Date.now() < end) {
        server.app.publish('topic', 'm'.repeat(40));
        inside = () => (happened.add(name), ws.close());
        ws[name](topic);
        inside = null;
        if (!ws.ended) ws[name === 'subscribe' ? 'unsubscribe' : 'subscribe'](topic);
      }
    }
  }
  assert.deepEqual([...wrong], []);
  assert.deepEqual([...happened], Object.keys(methods), 'the test has met what it is about');
  server.app.close();
  assert.equal(server.app.numSubscribers('kept'), 0);
});

it('app.close() right behind a burst that was dropped', { timeout: 60000 }, async (t) => {
  const app = uWS.App();
  let closed = 0;
  let late = 0;
  app.ws('/*', {
    maxBackpressure: 1024,
    idleTimeout: 0,
    open: (ws) => ws.subscribe('topic'),
    dropped: () => closed && late++,
    close: () => closed++,
  });
  const server = serve(t, () => {}, { app });
  for (let i = 0; i < 4; i++) await slow(server, 'topic');
  const message = Buffer.alloc(60000, 'm');
  for (let i = 0; i < 1000; i++) app.publish('topic', message);
  app.close();
  assert.equal(closed, 4);
  await wait(50);
  assert.equal(late, 0);
});
