'use strict';
// The diagnostics channels: what they are told, and that their subscribers disturb nothing.

const diagnostics = require('node:diagnostics_channel');
const { it, assert, support, until, upgradeRequest } = require('./support');
const { Program } = require('../robustness/program');

/** Subscribes for the time of a test; returns the messages. */
function listen(t, name) {
  const messages = [];
  const hear = (message) => messages.push(message);
  diagnostics.subscribe(name, hear);
  t.after(() => diagnostics.unsubscribe(name, hear));
  return messages;
}

for (const secure of [false, true]) {
  it(`upgrade and close, ${secure ? 'over TLS' : 'in plain text'}`, async (t) => {
    const [upgrades, closes] = [listen(t, 'uws.upgrade'), listen(t, 'uws.close')];
    const heard = [];
    const start = secure ? support.secure : support.plain;
    const { app, ws } = start(t, (app) =>
      app
        .ws('/by/:itself', {
          open: (ws) => heard.push(['open', ws, upgrades.length]),
          close: (ws, code) => heard.push(['close', ws, code, closes.length]),
        })
        .ws('/asked', {
          upgrade: (res, req, context) =>
            res.upgrade({ id: 7 }, req.getHeader('sec-websocket-key'), '', '', context),
        }),
    );
    const peer = await ws('/by/x');
    await until(() => heard.length === 1);
    const [{ ws: first }] = upgrades;
    assert.deepEqual(upgrades, [{ app, route: '/by/:itself', ws: first }]);
    assert.deepEqual(heard[0], ['open', first, 1], 'it is told before');
    peer.close(1001, 'bye');
    await until(() => heard.length === 2);
    assert.deepEqual(closes, [{ app, route: '/by/:itself', ws: first, code: 1001, reason: 'bye' }]);
    assert.deepEqual(heard[1], ['close', first, 1001, 1]);
    const asked = await ws('/asked');
    await until(() => upgrades.length === 2);
    assert.deepEqual([upgrades[1].route, upgrades[1].ws.id], ['/asked', 7]);
    asked.destroy();
    await until(() => closes.length === 2);
    assert.equal(closes[1].code, 1006);
  });
}

it('drops, and the limit that they may breach', async (t) => {
  const [drops, limits] = [listen(t, 'uws.drop'), listen(t, 'uws.limit')];
  const sockets = [];
  const { app, ws } = support.plain(t, (app) =>
    app
      .ws('/kept', { maxBackpressure: 1 << 20, open: (ws) => (sockets.push(ws), ws.subscribe('all')) })
      .ws('/closed', {
        maxBackpressure: 1 << 20,
        closeOnBackpressureLimit: true,
        open: (ws) => sockets.push(ws),
      }),
  );
  const peer = await ws('/kept');
  await until(() => sockets.length === 1);
  peer.pause();
  while (sockets[0].send(Buffer.alloc(100_000), true) !== 2);
  assert.deepEqual(drops, [
    { app, route: '/kept', ws: sockets[0], of: 'send', bytes: 100_000, isBinary: true },
  ]);
  await new Promise((resolve) => setTimeout(resolve, 50));
  app.publish('all', 'to a slow one');
  await until(() => drops.length === 2);
  assert.deepEqual(drops[1], { ...drops[0], of: 'publish', bytes: 13, isBinary: false });
  assert.equal(limits.length, 0);
  const other = await ws('/closed');
  await until(() => sockets.length === 2);
  other.pause();
  for (let answer = 0; answer !== 2;) answer = sockets[1].send(Buffer.alloc(100_000), true);
  await until(() => limits.length === 1);
  assert.deepEqual(limits, [{ app, limit: 'backpressure', count: 1 }]);
});

/** Subscribes a function that closes the socket of each message; returns how often it was called. */
function closeAll(t, name) {
  const calls = [];
  const hear = ({ ws }) => {
    calls.push(ws);
    ws.close();
  };
  diagnostics.subscribe(name, hear);
  t.after(() => diagnostics.unsubscribe(name, hear));
  return calls;
}

it('a socket that a subscriber closes is not given to `open`', async (t) => {
  const closed = closeAll(t, 'uws.upgrade');
  const heard = [];
  const { connect } = support.plain(t, (app) =>
    app.ws('/*', { open: () => heard.push('open'), close: (ws, code) => heard.push(code) }),
  );
  const peer = await connect();
  await peer.send(upgradeRequest('/'));
  await peer.gone();
  assert.deepEqual([closed.length, heard], [1, [1006]]);
});

for (const of of ['send', 'publish']) {
  it(`a socket that a subscriber closes is not given to \`dropped\`, of ${of}`, async (t) => {
    const closed = closeAll(t, 'uws.drop');
    const heard = [];
    const { app, ws } = support.plain(t, (app) =>
      app.ws('/*', {
        maxBackpressure: 1 << 20,
        open(ws) {
          ws.subscribe('all');
          heard.push(ws);
        },
        dropped: () => heard.push('dropped'),
        close: (ws, code) => heard.push(code),
      }),
    );
    const peer = await ws('/');
    peer.pause();
    await until(() => heard.length === 1);
    const [socket] = heard;
    const data = Buffer.alloc(100_000);
    while (of === 'send' && socket.send(data, true) !== 2);
    await until(() => {
      if (of === 'publish') app.publish('all', data, true);
      return closed.length > 0;
    });
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.deepEqual([closed, heard], [[socket], [socket, 1006]]);
    peer.destroy();
  });
}

it('without subscribers nothing is made', async (t) => {
  const { channels } = require('../../lib/diagnostics');
  for (const [name, channel] of Object.entries(channels)) {
    assert.equal(channel.name, `uws.${name}`);
    assert.equal(channel.hasSubscribers, false);
    t.mock.method(channel, 'publish', () => assert.fail('published'));
  }
  const { ws } = support.plain(t, (app) => app.ws('/*', {}));
  const peer = await ws('/');
  peer.close(1000);
  await peer.gone();
});

it('an error of a subscriber is uncaught and disturbs nothing', { timeout: 20000 }, async (t) => {
  const program = Program.start(
    t,
    ({ listening, WsPeer }) => {
      require('node:diagnostics_channel').subscribe('uws.upgrade', ({ ws }) => {
        ws.seen = true;
        throw new Error('of a subscriber');
      });
      process.on('uncaughtException', ({ message }) => console.log(`uncaught ${message}`));
      const server = listening((app) =>
        app.ws('/*', {
          open: (ws) => ws.send(`open ${ws.seen}`),
          message: (ws, message) => ws.send(message),
        }),
      );
      WsPeer.open(server.port, '/', { tls: false }).then(async (peer) => {
        const first = String(await peer.message());
        await peer.text('on');
        console.log(`peer ${first} ${await peer.message()}`);
        process.exit();
      });
    },
    null,
    { env: { UWS_TLS: '' } },
  );
  assert.equal(await program.said('peer'), 'open true on');
  assert.equal(await program.said('uncaught'), 'of a subscriber');
});
