'use strict';

// Simulated runs of the event loop, from one seed on: `npm run simulate -- [--seed N] [--seconds N]`. Without
// seconds it runs the one seed. A seed that fails is shrunk to the smallest script that fails as well.

const { parseArgs } = require('node:util');
const { attempt } = require('./run.js');

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '0' },
    seconds: { type: 'string', default: '0' },
  },
});
for (const [name, value] of Object.entries(values)) {
  if (!/^[0-9]+$/.test(value)) {
    console.error(`--${name} must be a number; got ${value}.`);
    process.exit(1);
  }
}

// A release build with the assertions of debug builds: many times as many seeds in the same time.
const build = ['test', '--profile', 'checked', '--no-default-features', '--lib'];
const which = ['simulation::tests::more', '--', '--ignored', '--nocapture'];
const env = { SEED: values.seed, SECONDS: values.seconds };
process.exit(attempt('cargo', [...build, ...which], { env }));
