'use strict';
// lib/layout.js and the addon are generated from the same declaration, and a Rust test compares the text.
// platform.spec.js tests that an addon of another build is refused.

const assert = require('node:assert/strict');
const path = require('node:path');
const { test } = require('node:test');

const ROOT = path.join(__dirname, '../..');
const lib = (name) => require(path.join(ROOT, 'lib', name));

test('the addon has the layout of lib/', () => {
  assert.equal(lib('binding').load().layout(), lib('layout').LAYOUT);
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
