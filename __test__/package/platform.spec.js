'use strict';

// Loading where the addon cannot run: the error says so, instead of naming a file that nobody can build
// there.

const assert = require('node:assert/strict');
const path = require('node:path');
const { execFileSync } = require('node:child_process');
const { test } = require('node:test');

const ROOT = path.join(__dirname, '..', '..');

/** Pretends to be on another platform and tells how creating an App failed. */
const PROGRAM = `
  const [root, platform] = process.argv.slice(1);
  Object.defineProperty(process, 'platform', { value: platform });
  try {
    require(root).App();
    console.log('no error');
  } catch (error) {
    console.log(error.message);
  }`;

function failureOn(platform) {
  const args = ['-e', PROGRAM, ROOT, platform];
  return execFileSync(process.execPath, args, { encoding: 'utf8', timeout: 20000 }).trim();
}

test('Windows is named as not supported', () => {
  const expected = 'uws-rs does not support Windows: it needs Linux or macOS; WSL works.';
  assert.equal(failureOn('win32'), expected);
});

test('elsewhere the error names the binary that is missing and how to build it', () => {
  const name = `uws-rs.freebsd-${process.arch}.node`;
  assert.equal(
    failureOn('freebsd'),
    `uws-rs has no binary for this platform (${name}); 'npm run build' makes one.`,
  );
});
