'use strict';

// Builds the example app with another release of svelte-adapter-uws than the one it names:
//
//   node scripts/adapter.js <version, archive or folder of the adapter> <output folder>
//
// The browser tests serve the output where EXAMPLE_BUILD names it.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { copyApp } = require('./copy.js');
const { EXAMPLE, run } = require('./run.js');

function buildWith(adapter, output) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'uws-adapter-'));
  try {
    copyApp(EXAMPLE, folder, { 'svelte-adapter-uws': adapter });
    run('npm', ['run', 'build', '--silent'], { cwd: folder });
    fs.rmSync(output, { recursive: true, force: true });
    fs.cpSync(path.join(folder, 'build'), output, { recursive: true });
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

module.exports = { buildWith };

if (require.main === module) {
  const [adapter, output] = process.argv.slice(2);
  if (!output) {
    console.error(
      'Usage: node scripts/adapter.js <version, archive or folder of the adapter> <output folder>',
    );
    process.exit(2);
  }
  buildWith(adapter, path.resolve(output));
}
