'use strict';
// Checkers of packages find nothing in the archive that npm would publish: every import finds its types and
// its module, in the right format.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { spawnSync } = require('node:child_process');
const { after, before, test } = require('node:test');
const { packMain } = require('../../scripts/package/stage');

const MODULES = path.join(__dirname, 'node_modules');
let folder, archive;

before(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'uws-published-'));
  archive = packMain({ into: folder });
});
after(() => fs.rmSync(folder, { recursive: true, force: true }));

/** Runs a checker and returns its output. */
function check(script, ...args) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [path.join(MODULES, script), ...args], {
    cwd: folder,
    encoding: 'utf8',
    env: { ...process.env, FORCE_COLOR: '0' },
    timeout: 120_000,
  });
  assert.equal(status, 0, stdout + stderr);
  return stdout;
}

test('Are the types wrong?', () => {
  const { analysis, problems } = JSON.parse(
    check('@arethetypeswrong/cli/dist/index.js', archive, '--format', 'json'),
  );
  assert.deepEqual(problems ?? {}, {});
  const { resolutions } = analysis.entrypoints['.'];
  assert.deepEqual(Object.keys(resolutions).sort(), ['bundler', 'node10', 'node16-cjs', 'node16-esm']);
  const typesOf = (name) => path.basename(resolutions[name].resolution.fileName);
  assert.equal(typesOf('node16-esm'), 'index.d.mts');
  assert.equal(typesOf('node16-cjs'), 'index.d.ts');
});

test('publint', () => {
  assert.match(check('publint/src/cli.js', archive, '--strict'), /All good!/);
});
