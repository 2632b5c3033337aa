'use strict';

// Makes the tables of docs/smuggling.md from the cases and the list of disagreements that the smuggling
// tests keep. `node scripts/disagreements.js --write` renews them, `--check` fails when they are not those
// of the lists.

const { GeneratedPart, cell, table } = require('./generated.js');
const { CASES } = require('../__test__/smuggling/cases.js');
const { DISAGREEMENTS } = require('../__test__/smuggling/disagreements.js');

const PART = new GeneratedPart({
  page: 'docs/smuggling.md',
  begin: '<!-- disagreements: made by scripts/disagreements.js -->',
  end: '<!-- end of disagreements -->',
});

/** The names of the peers in the tables; the ways of one proxy count as one where all of them are meant. */
const PEERS = new Map([
  ['http', 'Node'],
  ['20.57', '20.57'],
  ['nginx', 'nginx'],
  ['HAProxy', 'HAProxy'],
  ['Varnish', 'Varnish'],
]);

function sections() {
  const counts = new Map();
  for (const { section } of CASES) counts.set(section, (counts.get(section) ?? 0) + 1);
  return table(['section', 'cases'], [...counts, ['all', CASES.length]]);
}

function disagreements() {
  const rows = DISAGREEMENTS.map(({ why, found }) => {
    const peers = new Set(found.flatMap(([names]) => names.map((name) => PEERS.get(name.split(',')[0]))));
    const kinds = new Set(found.map(([, kind]) => kind));
    const ids = new Set(found.flatMap(([, , list]) => list.split(' ')));
    return [[...peers].join(', '), [...kinds].join('; '), cell(why), examples([...ids])];
  });
  return table(['who', 'how it differs', 'why, and why it is safe', 'cases'], rows);
}

function examples(ids) {
  const shown = ids.slice(0, 4).map((id) => `\`${id}\``);
  return ids.length > 4 ? `${shown.join(', ')} and ${ids.length - 4} more` : shown.join(', ');
}

const text = () => `${sections()}\n\n${disagreements()}`;
const SCRIPT = 'scripts/disagreements.js';

module.exports = { offences: () => PART.offences(text(), SCRIPT) };

if (require.main === module) PART.main(text, SCRIPT);
