'use strict';

// Runs the tests of what both threads share (blocks, mailboxes, slots) and of the bridge's parts that need no
// N-API under Miri, which finds undefined behaviour, races and leaks, in the crates they use as well. It is a
// part of nightly toolchains: rustup toolchain install nightly --component miri,rust-src. Arguments choose
// other tests, as in `node scripts/miri.js channel::slots`.

const path = require('node:path');
const { ROOT, attempt } = require('./run.js');

const PARTS = ['channel::', 'bridge::'];
const chosen = process.argv.slice(2);

process.exitCode = attempt(
  'cargo',
  [
    '+nightly',
    'miri',
    'test',
    '--no-default-features',
    '--lib',
    '--',
    ...(chosen.length > 0 ? chosen : PARTS),
  ],
  {
    env: {
      // Some tests look at the clock or read files of the tree.
      MIRIFLAGS: '-Zmiri-disable-isolation',
      CARGO_TARGET_DIR: path.join(process.env.CARGO_TARGET_DIR ?? path.join(ROOT, 'target'), 'miri'),
    },
  },
);
