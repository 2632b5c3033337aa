'use strict';

// Makes the tables of docs/differences.md from the list that the conformance tests keep.
// `node scripts/differences.js --write` renews them, `--check` fails when they are not those of the list.

const { GeneratedPart, cell, table } = require('./generated.js');
const DIFFERENCES = require('../__test__/conformance/differences.js');

const PART = new GeneratedPart({
  page: 'docs/differences.md',
  begin: '<!-- differences: made by scripts/differences.js -->',
  end: '<!-- end of differences -->',
});

/** By the first number of a difference's section. */
const SUBJECTS = {
  1: 'Module and arguments',
  2: 'App',
  3: 'Request',
  4: 'Response and HTTP',
  5: 'WebSocket',
  6: 'WebSocket',
  7: 'Threads',
};

function tables() {
  const bySubject = new Map([...new Set(Object.values(SUBJECTS))].map((subject) => [subject, []]));
  for (const { id, section, original, ours } of DIFFERENCES) {
    const rows = bySubject.get(SUBJECTS[/\d/.exec(section)?.[0]]);
    if (!rows) throw new Error(`The difference ${id} belongs to no subject: ${section}`);
    rows.push([cell(original), cell(ours)]);
  }
  return [...bySubject]
    .filter(([, rows]) => rows.length > 0)
    .map(([subject, rows]) => `## ${subject}\n\n${table(['uWebSockets.js', 'uws-rs'], rows)}`)
    .join('\n\n');
}

const SCRIPT = 'scripts/differences.js';

module.exports = { offences: () => PART.offences(tables(), SCRIPT) };

if (require.main === module) PART.main(tables, SCRIPT);
