'use strict';
const fs = require('node:fs');
const path = require('node:path');
const { it, assert } = require('../support');
const DIFFERENCES = require('./differences');

const specs = ['.', '../http', '../threads', '../websocket', '../package', '../tls']
  .filter((folder) => fs.existsSync(path.join(__dirname, folder)))
  .flatMap((folder) => fs.readdirSync(path.join(__dirname, folder)).map((name) => path.join(folder, name)))
  .filter((name) => name.endsWith('.spec.js') && name !== 'differences.spec.js');
const used = new Set(
  specs.flatMap((name) =>
    [
      ...fs
        .readFileSync(path.join(__dirname, name), 'utf8')
        .matchAll(/(?:differs\(|onlyOurs\(|\{ id: )'([^']*)'/g),
    ].map(([, id]) => id),
  ),
);
const listed = DIFFERENCES.map(({ id }) => id);

it('every difference that a spec uses is listed', () => {
  assert.deepEqual(
    [...used].filter((id) => !listed.includes(id)),
    [],
  );
});

it('every listed difference is used by a spec', () => {
  assert.deepEqual(
    listed.filter((id) => !used.has(id)),
    [],
  );
});

it('ids are unique and every entry is complete', () => {
  assert.equal(new Set(listed).size, listed.length);
  for (const { id, section, original, ours } of DIFFERENCES) {
    assert.match(id, /^[a-z0-9.-]+$/);
    assert.match(section, /^§\d/);
    for (const side of [original, ours]) assert.ok(typeof side === 'string' && side.length >= 3, id);
    assert.notEqual(original, ours);
  }
});

it('differs is called with a literal id, so that the list can be checked', () => {
  for (const name of specs) {
    const source = fs.readFileSync(path.join(__dirname, name), 'utf8');
    const calls = [...source.matchAll(/differs\(([^)])/g)].map(([, first]) => first);
    const allowed = name === 'malformed.spec.js' ? ["'", 'i'] : ["'"];
    assert.deepEqual(
      calls.filter((first) => !allowed.includes(first)),
      [],
      name,
    );
  }
});
