'use strict';
// The functions that are internal to the runtime are found whatever the program, or a flag, has done to the
// names around them. Without them all works as well, but that lent memory is not taken back.

const { it, assert, Peer, get, post } = require('../support');
const { Program } = require('./program');

/** A server that tells whether the tick of a handler has run, and what is left of a body. */
async function serve({ uWS }, first) {
  (0, eval)(first);
  let ticked = false;
  let lent;
  const app = uWS.App();
  app.post('/*', (res) => {
    res.onAborted(() => {});
    res.onData((chunk) => {
      lent ??= chunk;
      process.nextTick(() => (ticked = true));
      res.end('read');
    });
  });
  app.get('/*', (res) => {
    res.onAborted(() => {});
    // An immediate comes behind the batch of events, at whose end the memory is taken back.
    setImmediate(() => res.end(`${ticked} ${lent.byteLength}`));
  });
  app.listen('127.0.0.1', 0, (token) => console.log(`port ${uWS.us_socket_local_port(token)}`));
}

/** Shows each module a `process` with a faked nextTick, as Jest may show it to a test file. */
const FAKED = `
  import Module from 'module';
  globalThis.faked = Object.create(process, { nextTick: { value() {} } });
  Module.wrapper[0] += 'const process = globalThis.faked;';`;

const preloaded = (program) => ['--import', `data:text/javascript,${encodeURIComponent(program)}`];

/** Mocks of timers, such as that of node:test, replace the functions of the module as well. */
const NO_IMMEDIATES = preloaded(`import timers from 'timers'; timers.setImmediate = () => ({});`);

const CASES = [
  ['globals named Bun and Deno, as polyfills set them', 'globalThis.Bun = globalThis.Deno = {};', [], 0],
  [
    'a global Promise whose callbacks are called in timers',
    'globalThis.Promise = class extends Promise { then(...all) { return setTimeout(() => super.then(...all)); } };',
    [],
    0,
  ],
  ['nextTick faked before the module is loaded', '', preloaded(FAKED), 0],
  ['setImmediate faked before the module is loaded', '', NO_IMMEDIATES, 0],
  [
    'the same without `_tickCallback`, where each event has a callback of its own',
    'process._tickCallback = undefined;',
    NO_IMMEDIATES,
    3,
  ],
  ['--pending-deprecation', '', ['--pending-deprecation'], 0],
  ['--throw-deprecation', '', ['--pending-deprecation', '--throw-deprecation'], 0],
  ['no `_tickCallback`', 'process._tickCallback = undefined;', [], 3],
];

for (const [name, first, flags, left] of CASES) {
  it(`${name}: ticks run after each handler${left ? '' : ', and memory is taken back'}`, async (t) => {
    const program = Program.start(t, serve, first, { flags });
    const peer = await Peer.connect(Number(await program.said('port')));
    assert.equal((await peer.request(post('/', 'abc'))).body, 'read');
    assert.equal((await peer.request(get('/'))).body, `true ${left}`);
    peer.destroy();
    await program.stop();
    assert.equal(program.stderr, '');
  });
}
