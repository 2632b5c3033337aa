'use strict';

// Simulated runs of the event loop, from one seed on: `npm run simulate -- [--seed N] [--seconds N]`. Without
// seconds it runs the one seed. A seed that fails is shrunk to the smallest script that fails as well.

const { optionsOf } = require('./options.js');
const { attempt } = require('./run.js');

const { seed = 0, seconds = 0 } = optionsOf({ seed: 'whole', seconds: 'whole' });

// A release build with the assertions of debug builds: many times as many seeds in the same time.
const build = ['test', '--profile', 'checked', '--no-default-features', '--lib'];
const which = ['simulation::tests::more', '--', '--ignored', '--nocapture'];
const env = { SEED: `${seed}`, SECONDS: `${seconds}` };
process.exit(attempt('cargo', [...build, ...which], { env }));
