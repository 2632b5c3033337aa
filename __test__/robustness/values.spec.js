'use strict';
// Values that cannot be converted to text, or whose conversion runs code of the program: the error is still
// the one that names the argument.

const { it, assert, uWS, ours } = require('../support');

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
