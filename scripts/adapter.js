'use strict';

// Builds the example app with another release of svelte-adapter-uws than the one it names:
//   node scripts/adapter.js <version, archive or folder of the adapter> <output folder>
// The browser tests serve the output where EXAMPLE_BUILD names it.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { execFileSync } = require('node:child_process');
const { EXAMPLE, NPM, ROOT, run } = require('./run.js');

const NOT_COPIED = ['node_modules', 'build', '.svelte-kit', '.data', 'generated', 'package-lock.json'];

function buildWith(adapter, output) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'uws-adapter-'));
  try {
    const filter = (source) => !NOT_COPIED.includes(path.basename(source));
    fs.cpSync(EXAMPLE, folder, { recursive: true, filter });
    const manifest = path.join(folder, 'package.json');
    const content = JSON.parse(fs.readFileSync(manifest, 'utf8'));
    content.dependencies['uWebSockets.js'] = `file:${ROOT}`;
    content.devDependencies['svelte-adapter-uws'] = specifier(adapter, folder);
    fs.writeFileSync(manifest, JSON.stringify(content, null, 2));
    run(NPM, ['install', '--no-audit', '--no-fund'], { cwd: folder });
    run(NPM, ['run', 'build', '--silent'], { cwd: folder });
    fs.rmSync(output, { recursive: true, force: true });
    fs.cpSync(path.join(folder, 'build'), output, { recursive: true });
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

/** A folder is packed first, so that what is tested is what npm would install. */
function specifier(adapter, into) {
  if (!fs.existsSync(adapter)) return adapter;
  if (!fs.statSync(adapter).isDirectory()) return `file:${path.resolve(adapter)}`;
  const packed = execFileSync(NPM, ['pack', '--json', '--pack-destination', into], { cwd: adapter });
  return `file:./${JSON.parse(packed)[0].filename}`;
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
