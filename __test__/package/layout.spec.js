'use strict';
// lib/layout.js and the addon are made of one declaration; a Rust test compares the text. This one sees to it that an
// addon of another build is noticed.

const assert = require('node:assert/strict');
const { execFileSync } = require('node:child_process');
const path = require('node:path');
const { test } = require('node:test');

const ROOT = path.join(__dirname, '../..');
const lib = (name) => require(path.join(ROOT, 'lib', name));

test('the addon has the layout of lib/', () => {
  assert.equal(lib('binding').load().layout(), lib('layout').LAYOUT);
});

test('an addon with another layout is refused', () => {
  const program = `
    const layout = require('./lib/layout');
    layout.LAYOUT += 1;
    try {
      require('./index').App();
    } catch (error) {
      console.log(error.message);
    }`;
  const said = execFileSync(process.execPath, ['-e', program], { cwd: ROOT, encoding: 'utf8' });
  assert.match(
    said,
    /^The addon \(uws-rs\..*\.node\) and lib\/ of uws-rs are of different builds; 'npm run build'/,
  );
});

test('numbers of a table differ, and flags share no bit', () => {
  for (const [name, table] of Object.entries(lib('layout')).filter(([, each]) => typeof each === 'object')) {
    const values = Object.values(table);
    assert.equal(new Set(values).size, values.length, name);
    if (!name.endsWith('Flag') && name !== 'Wants') continue;
    const all = values.reduce((bits, value) => bits | value, 0);
    assert.equal(
      values.reduce((sum, value) => sum + value, 0),
      all,
      name,
    );
  }
});
