'use strict';
// Calls at and after the end of an environment: whatever is called then, no freed memory is touched, and no
// call has a surprising result.

const { it, assert } = require('../support');
const { Program } = require('./program');

const SUPPORT = require.resolve('../support');

/**
 * Creates, for programs and workers, an app with a pending response, a WebSocket, and `everything()`, which
 * calls all methods.
 */
const stage = async ({ uWS, listening, post, Peer, WsPeer }) => {
  const held = {};
  const server = listening((app) =>
    app
      .post('/*', (res, req) => {
        res.onAborted(() => {});
        Object.assign(held, { res, req });
      })
      .ws('/*', { open: (ws) => (held.ws = ws).subscribe('news'), message() {} }),
  );
  const peers = [await Peer.connect(server.port), await WsPeer.open(server.port)];
  await peers[0].send(post('/a?b=c', 'body'));
  while (held.res === undefined || held.ws === undefined)
    await new Promise((resolve) => setTimeout(resolve, 5));
  const spare = uWS.App();
  const secure = uWS.SSLApp({});
  const handler = () => {};
  const data = [
    undefined,
    '',
    'text',
    Buffer.alloc(100000),
    new ArrayBuffer(8),
    new SharedArrayBuffer(8),
    {},
    null,
    3,
  ];
  const values = [
    handler,
    1,
    0,
    -1,
    'text',
    null,
    { open: handler },
    {},
    Buffer.alloc(9),
    NaN,
    2n ** 70n,
    Symbol('s'),
  ];
  const ends = new Set(['end', 'close', 'tryEnd', 'endWithoutBody', 'upgrade']);
  const members = (object) => {
    const names = new Set();
    for (let at = object; at && at !== Object.prototype; at = Object.getPrototypeOf(at))
      Object.getOwnPropertyNames(at).forEach((name) => names.add(name));
    names.delete('constructor');
    // The calls that end the object come last.
    return [...names].sort((a, b) => ends.has(a) - ends.has(b));
  };
  let calls = 0;
  const quietly = (object, name, given) => {
    calls++;
    try {
      return object[name](...given);
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      return undefined;
    }
  };
  const everything = () => {
    const { res, req, ws } = held;
    for (const object of [req, ws, res, spare, secure, server.app]) {
      for (const name of members(object)) {
        for (const first of data) quietly(object, name, [first]);
        for (const first of values) quietly(object, name, ['/pattern', first, first, first, first]);
        quietly(object, name, [9, handler]);
        quietly(object, name, []);
      }
    }
    quietly(uWS, 'App', []);
    quietly(uWS, 'SSLApp', [{}]);
    quietly(uWS, 'us_listen_socket_close', [server.token]);
    quietly(uWS, 'us_socket_local_port', [server.token]);
    return calls;
  };
  return { held, server, peers, spare, everything };
};

const argument = { stage: String(stage), support: SUPPORT };

it('every method after the end of the environment answers quietly', async (t) => {
  const program = Program.start(
    t,
    async (support, given) => {
      const { held, server, spare, everything } = await eval(given.stage)(support);
      const { start } = require(`${support.modulePath()}/lib/engine`);
      const { calls, callArgs } = require(`${support.modulePath()}/lib/binding`);
      start().endForTest();
      let token;
      spare.listen(0, (listening) => (token = listening));
      const answers = [
        held.ws.send('x'),
        held.ws.getBufferedAmount(),
        held.res.write('x'),
        server.app.publish('news', 'x'),
        server.app.getDescriptor(),
        token,
        calls.take(),
      ];
      console.log(`answers ${JSON.stringify(answers)}`);
      const made = everything();
      for (const name of Object.keys(calls)) {
        if (name === 'fatal') continue;
        for (const value of [undefined, 0, -1, 2 ** 31, 'text', {}, Symbol('s'), new ArrayBuffer(1)]) {
          callArgs.fill(0xffffffff);
          calls[name](value, value, value, value, value, value, value, value, value, value);
        }
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
      console.log(`result ${made > 1000}`);
      process.exit(0);
    },
    argument,
  );
  const run = await program.endWithin(10000);
  assert.ok(run, `hangs: ${program.stdout}`);
  assert.deepEqual([run.code, run.signal, run.stderr], [0, null, '']);
  assert.equal(await program.said('answers'), '[2,0,false,true,0,false,0]');
  assert.equal(await program.said('result'), 'true');
});

for (const where of ['the main thread', 'a worker']) {
  it(`every method in a listener of the end of ${where}`, async (t) => {
    const program = Program.start(
      t,
      async (support, given) => {
        const source = `(async () => {
          const given = ${JSON.stringify(given)};
          const { everything } = await eval(given.stage)(require(given.support));
          process.on('exit', () => console.log('calls', everything()));
          process.exit(7);
        })()`;
        if (given.where === 'the main thread') return void eval(source);
        const { Worker } = require('node:worker_threads');
        const thread = new Worker(source, { eval: true, stdout: false });
        thread.on('exit', (code) => setTimeout(() => process.exit(code), 50));
      },
      { ...argument, where },
    );
    const run = await program.endWithin(10000);
    assert.ok(run, `hangs: ${program.stdout}`);
    assert.deepEqual([run.code, run.signal, run.stderr], [7, null, '']);
    assert.ok(Number((await program.said('calls')).trim()) > 1000);
  });
}
