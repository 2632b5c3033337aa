'use strict';

// Makes the tables of docs/runtimes.md from the list that the tests of runtimes keep.
// `node scripts/runtimes.js --write` renews them, `--check` fails when they are not those of the list.

const { GeneratedPart, cell, table } = require('./generated.js');
const { FAILING, RUNTIMES } = require('../__test__/runtimes/runtimes.js');

const PART = new GeneratedPart({
  page: 'docs/runtimes.md',
  begin: '<!-- runtimes: made by scripts/runtimes.js -->',
  end: '<!-- end of runtimes -->',
});

function tables() {
  const kinds = [...new Set(Object.values(RUNTIMES).map(({ kind }) => kind))];
  const versions = kinds.map((kind) => {
    const all = Object.values(RUNTIMES).filter((each) => each.kind === kind);
    const failing = Object.values(FAILING[kind]).flatMap(Object.keys).length;
    return [kind, all.map(({ version }) => version).join(', '), failing === 0 ? 'none' : failing];
  });
  const failing = Object.entries(FAILING).flatMap(([kind, specs]) =>
    Object.entries(specs).flatMap(([spec, tests]) =>
      Object.entries(tests).map(([name, cause]) => [kind, cell(`${spec}: ${name}`), cell(cause)]),
    ),
  );
  return [
    table(['runtime', 'versions', 'tests that fail'], versions),
    table(['runtime', 'test', 'cause'], failing),
  ].join('\n\n');
}

const SCRIPT = 'scripts/runtimes.js';

module.exports = { offences: () => PART.offences(tables(), SCRIPT) };

if (require.main === module) PART.main(tables, SCRIPT);
