'use strict';

// Runs the models of the protocols between the threads (the modules named `model` in src/) with loom, which
// tries every interleaving. An argument chooses among them, as in `node scripts/loom.js mailbox`.

const path = require('node:path');
const { ROOT, attempt } = require('./run.js');

process.exitCode = attempt(
  'cargo',
  [
    'test',
    '--no-default-features',
    '--lib',
    '--release',
    `${process.argv[2] ?? ''}::model::`.replace(/^::/, ''),
  ],
  {
    env: {
      RUSTFLAGS: '--cfg loom',
      CARGO_TARGET_DIR: path.join(process.env.CARGO_TARGET_DIR ?? path.join(ROOT, 'target'), 'loom'),
      // Models need a fast test program, but not the one of the addon, which takes minutes to link.
      CARGO_PROFILE_RELEASE_LTO: 'off',
      CARGO_PROFILE_RELEASE_CODEGEN_UNITS: '16',
      CARGO_PROFILE_RELEASE_DEBUG: '0',
    },
  },
);
