'use strict';
// The notices of the crates in the binary are packed, and licences are read as SPDX has them. `npm test` also
// compares the notices with the crates, which takes cargo.

const fs = require('node:fs');
const path = require('node:path');
const test = require('node:test');
const assert = require('node:assert/strict');
const { isAccepted } = require('../../scripts/licenses');

const ROOT = path.join(__dirname, '../..');

test('the notices are packed and name what is linked', () => {
  assert.ok(require('../../package.json').files.includes('THIRD-PARTY-LICENSES.txt'));
  const text = fs.readFileSync(path.join(ROOT, 'THIRD-PARTY-LICENSES.txt'), 'utf8');
  for (const name of ['rustls', 'aws-lc-sys', 'zlib-rs', 'mio', 'napi']) {
    const [, version] = new RegExp(`\nname = "${name}"\nversion = "([^"]+)"`).exec(
      fs.readFileSync(path.join(ROOT, 'Cargo.lock'), 'utf8'),
    );
    assert.ok(text.includes(`\n${name} ${version}  `), `${name} ${version}`);
  }
  assert.match(text, /Permission is hereby granted/);
  assert.doesNotMatch(text, /\n(proptest|loom|napi-derive|syn) \d/, 'not linked');
});

test('licence expressions', () => {
  const licences = new Set(['MIT', 'ISC', 'A WITH x']);
  const accepted = [
    'MIT',
    'MIT OR GPL',
    'GPL OR MIT',
    'GPL/MIT',
    '(GPL OR MIT) AND ISC',
    'MIT AND ISC',
    'A WITH x',
  ];
  const refused = ['', 'GPL', 'GPL AND MIT', 'GPL OR GPL AND MIT', 'A', 'MIT WITH x', '(MIT', 'MIT ISC'];
  for (const expression of accepted) assert.equal(isAccepted(expression, licences), true, expression);
  for (const expression of refused) assert.equal(isAccepted(expression, licences), false, expression);
});
