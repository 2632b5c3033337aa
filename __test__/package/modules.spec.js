'use strict';
// Checks how the package's files load their modules.

const fs = require('node:fs');
const path = require('node:path');
const { it, assert } = require('../support');

const ROOT = path.join(__dirname, '..', '..');

it('no `node:` prefix before the names of modules: older resolvers (Jest 26) do not know it', () => {
  const { files } = require(path.join(ROOT, 'package.json'));
  const shipped = files
    // Scripts are run by Node itself, and no program requires them.
    .filter((name) => !name.endsWith('.d.ts') && !name.startsWith('scripts/'))
    .flatMap((name) => {
      const at = path.join(ROOT, name);
      if (!fs.existsSync(at)) return [];
      return fs.statSync(at).isDirectory() ? fs.readdirSync(at).map((each) => path.join(at, each)) : [at];
    })
    .filter((name) => /\.[cm]?js$/.test(name));
  assert.ok(shipped.length > 10, shipped.join());
  for (const name of shipped) {
    assert.doesNotMatch(fs.readFileSync(name, 'utf8'), /['"`]node:/, name);
  }
});
