'use strict';
// docs/observability.md names every metric and every place in JavaScript's object, and no others.

const fs = require('node:fs');
const path = require('node:path');
const { it, assert, uWS, serve, get } = require('./support');
const { read } = require('./texts');

const text = fs.readFileSync(path.join(__dirname, '../../docs/observability.md'), 'utf8');

const flat = (object, prefix = '') =>
  Object.entries(object).flatMap(([name, value]) =>
    typeof value === 'object' ? flat(value, `${prefix}${name}.`) : [`${prefix}${name}`],
  );

it('names, kinds and meanings', async (t) => {
  const server = serve(t, (app) => app.metrics('/metrics'));
  const families = read((await server.once(get('/metrics'))).body);
  const rows = text.matchAll(/^\| `(uws_\w+)` \| (\w+) \| (.+?) \| /gm);
  const documented = [...rows].map(([, name, kind, help]) => [name, kind, help]);
  assert.deepEqual(
    documented.sort(),
    [...families.values()].map(({ name, type, help }) => [name, type, help]).sort(),
  );
  // Those of the examples exist, too.
  for (const [name] of text.matchAll(/\buws_\w+/g)) assert.ok(families.has(name), name);
});

it('places in the objects', () => {
  const rows = text.split('\n').filter((line) => line.startsWith('| `uws_'));
  const places = rows.flatMap((row) => [...row.split(' | ')[3].matchAll(/`(\w+(?:\.\w+)+)(\.\*)?`/g)]);
  const documented = new Set(places.map(([, name]) => name));
  const there = flat(uWS.stats()).map((name) => name.replace(/(\.alert\w+)\.\w+$/, '$1'));
  assert.deepEqual([...documented].sort(), [...new Set(there)].sort());
});
