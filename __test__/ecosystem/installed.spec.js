'use strict';

// The override that docs/migration.md tells users to write, as npm has carried it out here: each framework
// asks for a uWebSockets.js of its own, from GitHub, and finds the one that the program names.

const fs = require('node:fs');
const path = require('node:path');
const { createRequire } = require('node:module');
const { assert, it, ours, packages, uWS } = require('./stack');

/** By path in the lock file, what npm has installed. The program itself has the empty path. */
const installed = Object.entries(
  JSON.parse(fs.readFileSync(path.join(packages.folder, 'package-lock.json'), 'utf8')).packages,
).filter(([place]) => place.startsWith('node_modules/'));

const asking = installed.filter(([, { dependencies }]) => dependencies?.['uWebSockets.js']);

it('there is one uWebSockets.js, though the frameworks ask for several', () => {
  const places = installed.map(([place]) => place).filter((place) => /(^|\/)uWebSockets\.js$/.test(place));
  assert.deepEqual(places, ['node_modules/uWebSockets.js']);
  const wanted = new Set(asking.map(([, { dependencies }]) => dependencies['uWebSockets.js']));
  assert.ok(wanted.size > 1, [...wanted].join());
  for (const each of wanted) assert.match(each, /uNetworking\/uWebSockets\.js.*#v20\.\d+/);
});

const skip = ours ? false : 'the original is not installed there';

for (const [place] of asking) {
  it(`${place.slice('node_modules/'.length)} finds it`, { skip }, () => {
    const there = createRequire(path.join(packages.folder, place, 'package.json'));
    assert.equal(there('uWebSockets.js'), uWS);
    const { name } = there('uWebSockets.js/package.json');
    assert.equal(name, 'uws-rs');
  });
}
