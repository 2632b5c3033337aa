'use strict';

// Runs the models of the protocols between the threads (the modules named `model` in src/) with loom, which
// tries every interleaving. Arguments choose among them, as in `node scripts/loom.js mailbox`.

const fs = require('node:fs');
const path = require('node:path');
const { ROOT, attempt, matching } = require('./run.js');

/** The names of the modules that have models. */
function modelled() {
  const sources = path.join(ROOT, 'src');
  const files = fs.readdirSync(sources, { recursive: true }).filter((name) => name.endsWith('.rs'));
  const has = (name) => /\bmod model\b/.test(fs.readFileSync(path.join(sources, name), 'utf8'));
  return files.filter(has).map((name) => name.slice(0, -'.rs'.length).replaceAll(path.sep, '::'));
}

// Cargo calls it a success if no test has the name.
const models = matching(modelled(), process.argv.slice(2)).map((name) => `${name}::model::`);

process.exitCode = attempt(
  'cargo',
  ['test', '--no-default-features', '--lib', '--release', '--', ...models],
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
