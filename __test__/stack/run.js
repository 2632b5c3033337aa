'use strict';

// Builds the apps and runs the specs of the realtime stack on them. ./support/build.js says with which
// packages. Alone: node __test__/stack/run.js [part of a spec's name…]

const fs = require('node:fs');
const path = require('node:path');
const { attempt, matching } = require('../../scripts/run.js');

/** Returns the exit code. Two specs run at a time, as each starts servers and a browser of its own. */
function stack(wanted = []) {
  const names = fs.readdirSync(__dirname).flatMap((name) => /^(.*)\.spec\.js$/.exec(name)?.[1] ?? []);
  const files = matching(names, wanted).map((name) => path.join(__dirname, `${name}.spec.js`));
  const { buildAll, versionOf } = require('./support/build.js');
  const code = buildAll();
  if (code !== 0) return code;
  const releases = ['svelte-adapter-uws', 'svelte-realtime'].map((name) => `${name} ${versionOf(name)}`);
  console.log(`Testing ${releases.join(', ')}`);
  return attempt(process.execPath, ['--test', '--test-concurrency=2', ...files]);
}

module.exports = { stack };

if (require.main === module) process.exitCode = stack(process.argv.slice(2));
