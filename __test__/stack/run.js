'use strict';

// Builds the apps and runs the specs of the realtime stack on them. ./support/build.js says with which
// packages. Alone: node __test__/stack/run.js [part of a spec's name…]

const fs = require('node:fs');
const path = require('node:path');
const { attempt } = require('../../scripts/run.js');

/** Returns the exit code. Two specs run at a time, as each starts servers and a browser of its own. */
function stack(wanted = []) {
  const { buildAll, versionOf } = require('./support/build.js');
  const code = buildAll();
  if (code !== 0) return code;
  const releases = ['svelte-adapter-uws', 'svelte-realtime'].map((name) => `${name} ${versionOf(name)}`);
  console.log(`Testing ${releases.join(', ')}`);
  const files = specs().filter((file) => wanted.length === 0 || wanted.some((part) => file.includes(part)));
  return attempt(process.execPath, ['--test', '--test-concurrency=2', ...files]);
}

function specs() {
  const names = fs.readdirSync(__dirname).filter((name) => name.endsWith('.spec.js'));
  return names.map((name) => path.join(__dirname, name));
}

module.exports = { stack };

if (require.main === module) process.exitCode = stack(process.argv.slice(2));
