'use strict';
// The cases over Node's server and uWebSockets.js 20.57: each difference from uws-rs is explained in
// disagreements.js, and each explanation is needed.
const { it, assert } = require('../support');
const { differencesOf, ourOutcomes } = require('./differential');
const { unexplained } = require('./disagreements');
const { names } = require('./peers');

const ours = ourOutcomes();

for (const name of ['http', '20.57']) {
  const skip = names().includes(name) ? false : 'UWS_2057 names none';
  it(`${name} differs as disagreements.js says`, { skip, timeout: 120000 }, async () => {
    const found = await differencesOf(name, await ours);
    assert.deepEqual(unexplained([name], found), []);
  });
}
