'use strict';
// The options `limits` and `trustedProxies`: every mistake is an error that names it.

const { it, assert, uWS, limited, get } = require('./support');

const EVERY = {
  maxConnections: 1000,
  maxConnectionsPerAddress: 100,
  maxRequestsPerAddress: { count: 100, seconds: 10 },
  maxUpgradesPerAddress: { count: 10, seconds: 10 },
  headTimeout: 5,
  requestTimeout: 30,
  keepAliveTimeout: 20,
  minBodyRate: 1000,
  maxBodyLength: 1e6,
  maxRequestsPerConnection: 100,
  maxUnsentBytes: 1e5,
  maxTopicsPerConnection: 10,
  maxTopicLength: 100,
  maxSubscriptions: 1000,
};
const RATES = ['maxRequestsPerAddress', 'maxUpgradesPerAddress'];
const NUMBERS = Object.keys(EVERY).filter((name) => !RATES.includes(name));

it('an app with every limit, with none, and with all of them off', async (t) => {
  for (const limits of [EVERY, {}, undefined, Object.fromEntries(NUMBERS.map((name) => [name, Infinity]))]) {
    const server = limited(t, limits);
    assert.equal((await server.once(get('/hi'))).body, 'hi');
    assert.deepEqual(server.breaches(), {});
  }
});

it('unknown limits are named, and the known ones listed', () => {
  for (const App of [uWS.App, uWS.SSLApp]) {
    assert.throws(() => App({ limits: { maxConnection: 1 } }), {
      name: 'TypeError',
      message: new RegExp(
        `^limits has no "maxConnection"; it may have ${Object.keys(EVERY).sort().join(', ')}\\.$`,
      ),
    });
  }
  assert.throws(() => uWS.App({ limits: { maxRequestsPerAddress: { count: 1, seconds: 1, burst: 2 } } }), {
    name: 'TypeError',
    message: 'limits.maxRequestsPerAddress has no "burst"; it may have count, seconds.',
  });
});

it('limits of the wrong type are a TypeError, those out of bounds a RangeError', () => {
  for (const limits of [null, 1, 'all', [], true]) {
    assert.throws(() => uWS.App({ limits }), {
      name: 'TypeError',
      message: /^limits must be an object; got /,
    });
  }
  for (const name of NUMBERS) {
    for (const value of ['1', null, {}, true, 1n, Symbol('s')]) {
      assert.throws(() => uWS.App({ limits: { [name]: value } }), {
        name: 'TypeError',
        message: new RegExp(`^limits\\.${name} must be a number; got `),
      });
    }
    for (const value of [-1, 1.5, NaN, -Infinity, 2 ** 53]) {
      assert.throws(() => uWS.App({ limits: { [name]: value } }), {
        name: 'RangeError',
        message: new RegExp(`^limits\\.${name} must be an integer from \\d+ to \\d+; got ${value}\\.$`),
      });
    }
  }
  for (const name of ['maxConnections', 'maxConnectionsPerAddress', 'maxRequestsPerConnection']) {
    assert.throws(() => uWS.App({ limits: { [name]: 0 } }), RangeError);
  }
  for (const name of RATES) {
    for (const value of [1, null, 'a', [1, 2], { count: 1 }, { seconds: 1 }, { count: '1', seconds: 1 }]) {
      assert.throws(() => uWS.App({ limits: { [name]: value } }), {
        name: 'TypeError',
        message: new RegExp(`^limits\\.${name}`),
      });
    }
    for (const value of [
      { count: 0, seconds: 1 },
      { count: 1, seconds: 0 },
      { count: 1, seconds: 86401 },
      { count: Infinity, seconds: 1 },
    ]) {
      assert.throws(() => uWS.App({ limits: { [name]: value } }), {
        name: 'RangeError',
        message: new RegExp(`^limits\\.${name}`),
      });
    }
  }
});

it('each limit is read once', async (t) => {
  let read = 0;
  const limits = {
    get maxBodyLength() {
      return read++ === 0 ? 10 : 'other';
    },
  };
  const server = limited(t, limits);
  assert.equal((await server.once(get('/hi'))).body, 'hi');
  assert.equal(read, 1);
});

it('trustedProxies is a list of addresses and networks', async (t) => {
  for (const trustedProxies of [null, 'all', 1, {}]) {
    assert.throws(() => uWS.App({ trustedProxies }), {
      name: 'TypeError',
      message: /^trustedProxies must be an array/,
    });
  }
  for (const wrong of [1, null, undefined, ['::1']]) {
    assert.throws(() => uWS.App({ trustedProxies: ['::1', wrong] }), {
      name: 'TypeError',
      message: /^trustedProxies must be an array of text; it has /,
    });
  }
  for (const wrong of ['', 'localhost', '10.0.0.0/33', '10.0.0', '::1/129', '10.0.0.0 /8']) {
    assert.throws(() => uWS.App({ trustedProxies: ['::1', wrong] }), {
      name: 'TypeError',
      message: `trustedProxies has ${JSON.stringify(wrong)}, which is no address, network ('10.0.0.0/8') or 'unix'.`,
    });
  }
  const server = limited(t, undefined, { trustedProxies: ['10.0.0.0/8', '::1', '2001:db8::/32', 'unix'] });
  assert.equal((await server.once(get('/hi'))).body, 'hi');
});

it('an app that could not be made leaves nothing to the next one', async (t) => {
  assert.throws(() => uWS.App({ limits: { maxConnections: 1 }, trustedProxies: ['nobody'] }), TypeError);
  assert.throws(() => uWS.SSLApp({ limits: { maxConnections: 1 }, key_file_name: '/nowhere' }), Error);
  const server = limited(t, undefined);
  const peers = await Promise.all(Array.from({ length: 5 }, () => server.connect()));
  for (const peer of peers) assert.equal((await peer.request(get('/hi'))).body, 'hi');
});
