'use strict';
const { inspect } = require('node:util');
const { describe } = require('node:test');
const {
  it,
  assert,
  serve,
  uWS,
  deferred,
  Events,
  child,
  aborted,
  turn,
  text,
  differs,
  frame,
  upgradeRequest,
  ERRORS,
  CLOSE,
  PING,
} = require('../support');

async function pair(t, behavior = {}) {
  const opened = deferred();
  const calls = new Events();
  const server = serve(t, (app) =>
    app.ws('/*', {
      ...behavior,
      open: opened.resolve,
      message(ws, message) {
        calls.push(['message', text(message)]);
        if (behavior.message) behavior.message(ws, message);
      },
      close(ws, code, reason) {
        calls.push(['close', code, text(reason)]);
        if (behavior.close) behavior.close(ws, code, reason);
      },
    }),
  );
  const peer = await server.ws('/');
  return { server, peer, ws: await opened.promise, calls };
}

const METHODS = [
  'send',
  'sendFirstFragment',
  'sendFragment',
  'sendLastFragment',
  'ping',
  'getBufferedAmount',
  'end',
  'close',
  'cork',
  'subscribe',
  'unsubscribe',
  'isSubscribed',
  'getTopics',
  'publish',
  'getRemoteAddress',
  'getRemoteAddressAsText',
];
function errorsOf(ws) {
  return Object.fromEntries(
    METHODS.map((name) => {
      try {
        ws[name](name === 'cork' ? () => {} : 'topic', 'data');
        return [name, 'no error'];
      } catch (error) {
        return [name, error.message];
      }
    }),
  );
}
function assertAllInvalid(errors) {
  for (const [name, message] of Object.entries(errors)) assert.match(message, ERRORS.socket, name);
}

it('a socket has every method', async (t) => {
  const { ws } = await pair(t);
  for (const name of [...METHODS, 'getUserData']) assert.equal(typeof ws[name], 'function', name);
});

it('end(code, reason): close frame, the close handler synchronously, FIN', async (t) => {
  const { peer, ws, calls } = await pair(t);
  assert.equal(ws.end(4001, 'reason'), undefined);
  assert.deepEqual(calls.list, [['close', 4001, 'reason']]);
  const frames = await peer.frames();
  assert.deepEqual(
    frames.map(({ opcode, code, text: reason }) => [opcode, code, reason]),
    [[CLOSE, 4001, 'reason']],
  );
  assert.equal(peer.state, 'fin');
});

for (const [args, code, size] of [
  [[], 0, 0],
  [[0], 0, 0],
  [[1005], 1005, 0],
  [[1000], 1000, 2],
  [['1001'], 1001, 2],
  [[undefined, 'r'], 0, 0],
  [[1000, Buffer.from('bytes')], 1000, 7],
]) {
  it(`end(${args.map((arg) => JSON.stringify(arg)).join(', ')})`, async (t) => {
    const { peer, ws, calls } = await pair(t);
    ws.end(...args);
    assert.deepEqual(calls.list, [['close', code, args[1] === undefined ? '' : String(args[1])]]);
    const [answer] = await peer.frames();
    assert.deepEqual([answer.opcode, answer.data.length], [CLOSE, size]);
    if (size > 0) assert.equal(answer.code, code);
  });
}

it('the reason of end is cut at 123 bytes', async (t) => {
  const { peer, ws } = await pair(t);
  ws.end(1000, 'x'.repeat(200));
  const [answer] = await peer.frames();
  assert.equal(answer.text, 'x'.repeat(123));
});

it('messages sent before end arrive before the close frame', async (t) => {
  const { peer, ws } = await pair(t, { maxBackpressure: 0 });
  peer.pause();
  ws.send(Buffer.alloc(16 * 1024 * 1024), true);
  ws.end(1000, 'done');
  for (let i = 0; i < 20; i++) await turn();
  peer.resume();
  const frames = await peer.frames();
  assert.deepEqual(
    frames.map(({ opcode, data }) => [opcode, data.length]),
    [
      [2, 16 * 1024 * 1024],
      [CLOSE, 6],
    ],
  );
});

it('data received after end is ignored', async (t) => {
  const { peer, ws, calls } = await pair(t);
  ws.end(1000);
  await peer.text('late');
  await peer.close(1000);
  await peer.gone();
  assert.deepEqual(calls.list, [['close', 1000, '']]);
});

it('close() is immediate: no close frame, the close handler synchronously with 1006', async (t) => {
  const { peer, ws, calls } = await pair(t);
  assert.equal(ws.close(), undefined);
  assert.deepEqual(calls.list, [['close', 1006, '']]);
  assert.deepEqual(await peer.frames(), []);
});

it('surplus arguments of close do not matter', async (t) => {
  const { ws, calls } = await pair(t);
  ws.close(1001, 'ignored');
  assert.deepEqual(calls.list, [['close', 1006, '']]);
});

for (const [name, finish] of Object.entries({ end: (ws) => ws.end(1000), close: (ws) => ws.close() })) {
  it(`every method throws after ${name}, except getUserData`, async (t) => {
    const { ws } = await pair(t);
    finish(ws);
    assertAllInvalid(errorsOf(ws));
    assert.equal(ws.getUserData(), ws);
  });
}

it('every method throws inside the close handler, except getUserData', async (t) => {
  const seen = deferred();
  const { peer } = await pair(t, {
    close(ws) {
      seen.resolve([errorsOf(ws), ws.getUserData() === ws]);
    },
  });
  await peer.close(1000);
  const [errors, same] = await seen.promise;
  assertAllInvalid(errors);
  assert.equal(same, true);
});

it('every method throws after the peer has gone', async (t) => {
  const { peer, ws, calls } = await pair(t);
  peer.reset();
  await calls.count(1);
  assertAllInvalid(errorsOf(ws));
});

it('end and close inside open, message and drain', async (t) => {
  for (const finish of [(ws) => ws.end(1000, 'x'), (ws) => ws.close()]) {
    const order = new Events();
    const server = serve(t, (app) =>
      app
        .ws('/open', {
          open(ws) {
            finish(ws);
            order.push('after');
          },
          close() {
            order.push('close');
          },
        })
        .ws('/message', {
          message(ws) {
            finish(ws);
            order.push('after');
          },
          close() {
            order.push('close');
          },
        }),
    );
    const first = await server.connect();
    await first.send(upgradeRequest('/open'));
    await first.gone();
    assert.deepEqual(order.list, ['close', 'after']);
    const second = await server.ws('/message');
    await second.send(Buffer.concat([frame({ payload: 'x' }), frame({ payload: 'y' })]));
    await second.gone();
    assert.deepEqual(order.list, ['close', 'after', 'close', 'after']);
  }
});

for (const [name, later] of Object.entries({
  'a microtask': (act) => Promise.resolve().then(act),
  'a tick': (act) => process.nextTick(act),
})) {
  it(`a socket that is closed in ${name} of open does not get the answer to its handshake`, async (t) => {
    const upgrade = (res, req, context) =>
      res.upgrade({}, req.getHeader('sec-websocket-key'), '', '', context);
    for (const more of [{}, { upgrade }]) {
      const server = await serve(t, (app) => {
        const open = (ws) => {
          ws.send('lost');
          later(() => ws.close());
        };
        app.ws('/*', { ...more, open });
      });
      const peer = await server.connect();
      await peer.send(upgradeRequest('/'));
      await peer.gone();
      assert.equal(peer.size, 0, 'no answer');
    }
  });
}

it('a socket that is closed in an immediate of open has had the answer to its handshake', async (t) => {
  const server = await serve(t, (app) =>
    app.ws('/*', {
      open(ws) {
        ws.send('first');
        setImmediate(() => ws.close());
      },
    }),
  );
  const peer = await server.ws('/');
  assert.equal(await peer.message(), 'first');
  await peer.gone();
});

it('close of one socket inside the handler of another', async (t) => {
  const sockets = new Events();
  const closes = new Events();
  const server = serve(t, (app) =>
    app.ws('/*', {
      open(ws) {
        sockets.push(ws);
      },
      message() {
        for (const ws of sockets.list) ws.close();
      },
      close() {
        closes.push(1);
      },
    }),
  );
  const a = await server.ws('/');
  const b = await server.ws('/');
  await sockets.count(2);
  await a.text('x');
  await Promise.all([a.gone(), b.gone()]);
  assert.equal(closes.list.length, 2);
});

const BAD_OPTIONS = {
  'idleTimeout 1': { idleTimeout: 1 },
  'idleTimeout 7': { idleTimeout: 7 },
  'idleTimeout 961': { idleTimeout: 961 },
  'idleTimeout "7"': { idleTimeout: '7' },
  'idleTimeout 7.9': { idleTimeout: 7.9 },
  'idleTimeout -1': { idleTimeout: -1 },
  'idleTimeout true': { idleTimeout: true },
};
for (const [name, options] of Object.entries(BAD_OPTIONS)) {
  it(`${name} is refused`, async () => {
    const run = await child(({ uWS }, behavior) => {
      try {
        uWS.App().ws('/*', behavior);
        console.log('accepted');
      } catch (error) {
        console.log(error.name);
      }
      process.exit(0);
    }, options);
    if (differs('bad-timeout-options', { original: 'ends', ours: 'throws' }) === 'throws')
      assert.equal(run.stdout, 'RangeError\n');
    else assert.ok(aborted(run) || run.code !== 0, JSON.stringify(run));
  });
}

for (const [given, code] of [
  ['1000', 1000],
  [1000.9, 1000],
  [null, 0],
  ['none', 0],
  [Infinity, 0],
]) {
  it(`end(${JSON.stringify(given)}) ends with ${code}`, async (t) => {
    let seen;
    const server = serve(t, (app) =>
      app.ws('/*', {
        open: (ws) => ws.end(given, 'x'),
        close(ws, number) {
          seen = number;
        },
      }),
    );
    const peer = await server.ws('/');
    assert.equal((await peer.frame()).code, code || 1005);
    assert.equal(seen, code);
  });
}

for (const minutes of [241, 1440, -1]) {
  it(`maxLifetime ${minutes}`, async () => {
    const run = await child(({ uWS }, maxLifetime) => {
      uWS.App().ws('/*', { maxLifetime });
      console.log('accepted');
      process.exit(0);
    }, minutes);
    assert.equal(run.stdout, differs('long-lifetime', { original: '', ours: 'accepted\n' }));
  });
}

for (const options of [
  { idleTimeout: 0 },
  { idleTimeout: 8 },
  { idleTimeout: 960 },
  { idleTimeout: '60' },
  { idleTimeout: 60.5 },
  { idleTimeout: 960.5 },
  { idleTimeout: null },
  { idleTimeout: '' },
  { idleTimeout: 'none' },
  { idleTimeout: false },
  { idleTimeout: Infinity },
  { maxLifetime: 0 },
  { maxLifetime: 240 },
  { maxLifetime: '10' },
  { maxLifetime: 240.5 },
  { maxLifetime: null },
  { maxLifetime: Infinity },
  { maxPayloadLength: '1024', maxBackpressure: '1024' },
  { maxPayloadLength: 1024.7, maxBackpressure: 1024.7 },
  { maxPayloadLength: 1e10, maxBackpressure: 1e10 },
  { maxPayloadLength: -1, maxBackpressure: -1 },
  { maxPayloadLength: null, maxBackpressure: null },
  { maxPayloadLength: Infinity, maxBackpressure: Infinity },
  { compression: true },
  { compression: null },
  { compression: '1' },
  { compression: 65537 },
  { compression: 2.5 },
  { sendPingsAutomatically: '0', closeOnBackpressureLimit: null },
]) {
  it(`${inspect(options)} is accepted`, () => {
    uWS.App().ws('/*', options);
  });
}

// The waits of this group run at the same time. Eight seconds is the shortest idleTimeout there is.
const WINDOW = differs('timeout-granularity', { original: [3.5, 14], ours: [7, 10.5] });
const seconds = (since) => Number(process.hrtime.bigint() - since) / 1e9;
describe('idleTimeout', { concurrency: true }, () => {
  it('without pings a silent socket is closed', { timeout: 20000 }, async (t) => {
    const { peer, calls } = await pair(t, { idleTimeout: 8, sendPingsAutomatically: false });
    const since = process.hrtime.bigint();
    assert.deepEqual((await calls.count(1))[0], ['close', 1006, 'WebSocket timed out from inactivity']);
    const waited = seconds(since);
    assert.ok(waited >= WINDOW[0] && waited <= WINDOW[1], `${waited} s`);
    await peer.gone();
    assert.equal(peer.size === 0 || (await peer.frame()).opcode === CLOSE, true);
  });

  it(
    'pings are sent before the timeout; a peer that does not answer is closed',
    { timeout: 25000 },
    async (t) => {
      const { peer, calls } = await pair(t, { idleTimeout: 8 });
      const since = process.hrtime.bigint();
      const ping = await peer.frame();
      const pinged = seconds(since);
      assert.deepEqual([ping.opcode, ping.data.length], [PING, 0]);
      assert.ok(pinged < 9, `${pinged} s`);
      assert.deepEqual((await calls.count(1))[0], ['close', 1006, 'WebSocket timed out from inactivity']);
    },
  );

  it('a peer that answers stays', { timeout: 30000 }, async (t) => {
    const { peer, calls } = await pair(t, { idleTimeout: 8 });
    for (let i = 0; i < 3; i++) {
      assert.equal((await peer.frame()).opcode, PING);
      await peer.pong();
    }
    assert.deepEqual(calls.list, []);
    await peer.text('still here');
    await calls.first(([name]) => name === 'message');
  });

  it('messages of the peer keep the socket open', { timeout: 30000 }, async (t) => {
    const { peer, calls } = await pair(t, { idleTimeout: 8, sendPingsAutomatically: false });
    for (let i = 0; i < 6; i++) {
      await peer.text('x');
      await new Promise((resolve) => setTimeout(resolve, 2500));
    }
    assert.ok(!calls.list.some(([name]) => name === 'close'));
  });

  it('messages of the server do not keep it open', { timeout: 30000 }, async (t) => {
    const { ws, calls } = await pair(t, { idleTimeout: 8, sendPingsAutomatically: false });
    const talk = setInterval(() => {
      try {
        ws.send('x');
      } catch {
        clearInterval(talk);
      }
    }, 500);
    t.after(() => clearInterval(talk));
    assert.deepEqual((await calls.count(1))[0], ['close', 1006, 'WebSocket timed out from inactivity']);
  });

  it('resetIdleTimeoutOnSend', { timeout: 30000 }, async (t) => {
    const { ws, calls } = await pair(t, {
      idleTimeout: 8,
      sendPingsAutomatically: false,
      resetIdleTimeoutOnSend: true,
    });
    const talk = setInterval(() => {
      try {
        ws.send('x');
      } catch {
        clearInterval(talk);
      }
    }, 500);
    t.after(() => clearInterval(talk));
    await new Promise((resolve) => setTimeout(resolve, 15000));
    assert.equal(calls.list.length, differs('reset-idle-timeout-on-send', { original: 1, ours: 0 }));
  });

  it('idleTimeout 0 is off', { timeout: 30000 }, async (t) => {
    const { peer, calls } = await pair(t, { idleTimeout: 0, sendPingsAutomatically: false });
    await new Promise((resolve) => setTimeout(resolve, 15000));
    assert.deepEqual([calls.list, peer.state, peer.size], [[], 'open', 0]);
  });

  it('after end a peer that does not close is not waited for long', { timeout: 30000 }, async (t) => {
    const { peer, ws } = await pair(t);
    ws.end(1000);
    assert.equal(await peer.gone(), 'fin');
    // The peer keeps its side open: once the server has given up, writing to it fails.
    const failed = deferred();
    peer.socket.on('error', failed.resolve);
    peer.socket.on('close', failed.resolve);
    const poke = setInterval(() => {
      peer.text('x');
    }, 500);
    t.after(() => clearInterval(poke));
    await failed.promise;
  });

  const slow = process.env.UWS_SLOW ? false : 'takes over a minute: set UWS_SLOW';
  it(
    'maxLifetime: after its minutes a close frame 1000 `please reconnect`',
    { timeout: 100000, skip: slow },
    async (t) => {
      const { peer, calls } = await pair(t, { idleTimeout: 0, maxLifetime: 1 });
      const since = process.hrtime.bigint();
      const answer = await peer.frame();
      assert.deepEqual([answer.opcode, answer.code, answer.text], [CLOSE, 1000, 'please reconnect']);
      assert.ok(seconds(since) > 50 && seconds(since) < 70);
      assert.deepEqual(await calls.first(([name]) => name === 'close'), ['close', 1000, 'please reconnect']);
    },
  );
});
