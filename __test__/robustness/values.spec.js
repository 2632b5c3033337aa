'use strict';
// Values that cannot be converted to text, or whose conversion runs code of the program: the error is still
// the one that names the argument.

const { it, assert, uWS, ours, Peer, WsPeer, get, post } = require('../support');
const { Program } = require('./program');

const OURS = { skip: ours ? false : 'the originals have none of these options' };

let converted = 0;
const acts = () => {
  converted++;
  throw new Error('of the program');
};
const revoked = (target) => {
  const { proxy, revoke } = Proxy.revocable(target, {});
  revoke();
  return proxy;
};
const VALUES = [
  [Object.create(null), 'an object'],
  [{ toString: acts, valueOf: acts, [Symbol.toPrimitive]: acts }, 'an object'],
  [Object.assign(() => {}, { toString: acts }), 'a function'],
  [[{ toString: acts }], 'an array'],
  [new Proxy({}, { get: acts, getPrototypeOf: acts }), 'an object'],
  [revoked({}), 'an object'],
  [revoked([]), 'an object'],
  [Symbol('of the program'), 'Symbol\\(of the program\\)'],
];

const CALLS = {
  timeout: [RangeError, (value) => uWS.App().shutdown({ timeout: value })],
  bytes: [RangeError, (value) => uWS.memoryBudget(value)],
  scope: [TypeError, (value) => uWS.App().metrics('/metrics', { scope: value })],
  requireClientCertificate: [TypeError, (value) => uWS.SSLApp({ requireClientCertificate: value })],
  trustedProxies: [TypeError, (value) => uWS.App({ trustedProxies: ['::1', value] })],
  seconds: [RangeError, (value) => uWS.App().setIdleTimeout(value)],
  'limits.maxConnections': [TypeError, (value) => uWS.App({ limits: { maxConnections: value } })],
};

for (const [argument, [type, call]] of Object.entries(CALLS)) {
  it(`${argument} that cannot be shown`, OURS, () => {
    for (const [value, shown] of VALUES) {
      assert.throws(
        () => call(value),
        (error) => {
          assert.equal(error.constructor, type, String(error.stack));
          // A limit is shown by its type.
          const what = argument.startsWith('limits') ? '(object|function|symbol)' : shown;
          assert.match(
            error.message,
            new RegExp(`^${argument.replace('.', '\\.')} must be .*(got|has) ${what}\\.$`),
          );
          return true;
        },
      );
    }
    assert.equal(converted, 0);
  });
}

const POLLUTE = 'Object.assign(Object.prototype, { get: 1, set: () => 1 });';

/** A program whose Object.prototype has been extended, if not before it has loaded the module. */
async function polluted({ uWS }, code) {
  const app = uWS.App().ws('/*', {
    upgrade: (res, req, context) => {
      const key = req.getHeader('sec-websocket-key');
      res.upgrade({ name: 'ada', constructor: 'hers' }, key, '', '', context);
    },
    message: (ws) => void ws.send(`${ws.name} ${ws.getUserData().constructor}`),
  });
  (0, eval)(code);
  // The module loads what a cached route needs, and what reads a body, with the first of each.
  app.get('/cached', (res) => res.end('cached'), { lowerExpiry: 1, upperExpiry: 1 });
  app.post('/body', (res) => res.onAborted(() => {}).collectBody(9, (body) => res.end(body)));
  app.listen('127.0.0.1', 0, (token) => console.log(`port ${uWS.us_socket_local_port(token)}`));
}

const IN_NODE_20 = parseInt(process.versions.node) < 20 ? { skip: 'Node.js 18 itself fails' } : OURS;

for (const [when, flags, options] of [
  [
    'before the module is loaded',
    ['--import', `data:text/javascript,${encodeURIComponent(POLLUTE)}`],
    IN_NODE_20,
  ],
  ['while it serves', [], OURS],
]) {
  it(`Object.prototype gets a get and a set ${when}`, options, async (t) => {
    const program = Program.start(t, polluted, POLLUTE, { flags });
    const port = Number(await program.said('port'));
    const socket = await WsPeer.open(port, '/');
    await socket.text('x');
    assert.equal(await socket.message(), 'ada hers');
    socket.destroy();
    const peer = await Peer.connect(port);
    assert.equal((await peer.request(get('/cached'))).body, 'cached');
    assert.equal((await peer.request(post('/body', 'abc'))).body, 'abc');
    peer.destroy();
    await program.stop();
    assert.equal(program.stderr, '');
  });
}
