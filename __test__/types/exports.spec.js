'use strict';
// The exports of the originals, and the members of their objects, exist here, and the reverse. Exceptions are
// listed here.

const assert = require('node:assert/strict');
const path = require('node:path');
const { pathToFileURL } = require('node:url');
const test = require('node:test');
const { PEERS, ROOT, members, missing } = require('./peers');

/** Names of an original that are missing here, with the reason. */
const NOT_OURS = {
  exports: {
    setTimeout: 'not in the types; Node has it',
    clearTimeout: 'not in the types; Node has it',
    arm: 'not in the types; belongs to its timers',
  },
  app: {},
  res: {},
  req: {},
  ws: {},
  declarative: {
    instructions: 'a detail of its implementation',
    _appendInstruction: 'a detail of its implementation',
    _appendInstructionWithLength: 'a detail of its implementation',
  },
};

/** Names that only this module has. */
const ONLY_OURS = {
  exports: {
    LIBUS_LISTEN_DEFAULT: "in the originals' types, not in their modules",
    ListenOptions: "in the originals' types, not in their modules",
    memoryBudget: 'the originals have no bound on all connections',
    stats: 'figures of the process',
  },
  app: {
    invalidate: 'the original keeps every reply until it expires',
    metrics: 'figures for scrapers',
    shutdown: 'the originals can only close',
    stats: 'figures of the app',
  },
  res: {},
  req: { getClientAddress: 'needs trustedProxies, which the originals do not have' },
  ws: {},
  declarative: {},
};

/** Names of the releases after an original's, up to the newest that this module follows. */
const LATER = {
  20.57: {
    exports: [],
    app: [],
    res: [
      'beginWrite',
      'collectBody',
      'getProxiedRemotePort',
      'getRemotePort',
      'maxRemainingBodyLength',
      'onDataV2',
    ],
    req: [],
    ws: ['getRemotePort'],
    declarative: ['writeStatus'],
  },
};
LATER['20.30'] = {
  ...LATER['20.57'],
  exports: ['DeclarativeResponse'],
  app: [
    'addChildAppDescriptor',
    'adoptSocket',
    'filter',
    'getDescriptor',
    'getIdleTimeout',
    'getResponseTimeout',
    'removeChildAppDescriptor',
    'setIdleTimeout',
    'setResponseTimeout',
  ],
  declarative: [
    'end',
    'write',
    'writeBody',
    'writeHeader',
    'writeHeaderValue',
    'writeParameterValue',
    'writeQueryValue',
    'writeStatus',
  ],
};

const OBJECTS = Object.keys(NOT_OURS);

for (const [version, { module }] of Object.entries(PEERS)) {
  for (const object of OBJECTS) {
    test(`${object} of uWebSockets.js ${version}`, { skip: missing(module) }, () => {
      const theirs = members(module)[object];
      const ours = members(ROOT)[object];
      const without = theirs.filter((name) => !ours.includes(name) && !(name in NOT_OURS[object]));
      assert.deepEqual(without, [], 'ours lacks what the original has');
      const beyond = ours.filter((name) => !theirs.includes(name) && !(name in ONLY_OURS[object]));
      assert.deepEqual(beyond, LATER[version][object], 'ours has what the original has not');
    });
  }
}

test(
  'the lists of differences name nothing that does not differ',
  { skip: missing(PEERS['20.57'].module) },
  () => {
    for (const object of OBJECTS) {
      const ours = members(ROOT)[object];
      const theirs = members(PEERS['20.57'].module)[object];
      for (const name of Object.keys(NOT_OURS[object])) {
        assert.ok(theirs.includes(name) && !ours.includes(name), `${object} ${name}`);
      }
      for (const name of Object.keys(ONLY_OURS[object])) {
        assert.ok(ours.includes(name) && !theirs.includes(name), `${object} ${name}`);
      }
    }
  },
);

test('the ES module exports the names of the CommonJS module, and it as default', async () => {
  const commonjs = require(ROOT);
  const { default: whole, ...named } = await import(pathToFileURL(path.join(ROOT, 'index.mjs')));
  assert.equal(whole, commonjs);
  assert.deepEqual(Object.keys(named).sort(), Object.keys(commonjs).sort());
  for (const name of Object.keys(named)) assert.equal(named[name], commonjs[name], name);
});
