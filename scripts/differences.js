'use strict';

// Makes the tables of docs/differences.md from the list that the conformance tests keep.
// `node scripts/differences.js --write` renews them, `--check` fails when they are not those of the list.

const fs = require('node:fs');
const path = require('node:path');
const { ROOT } = require('./run.js');
const DIFFERENCES = require('../__test__/conformance/differences.js');

const PAGE = path.join(ROOT, 'docs', 'differences.md');
const BEGIN = '<!-- differences: made by scripts/differences.js -->';
const END = '<!-- end of differences -->';

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
    rows.push(`| ${cell(original)} | ${cell(ours)} |`);
  }
  const heads = ['| uWebSockets.js | uws-rs |', '| --- | --- |'];
  return [...bySubject]
    .filter(([, rows]) => rows.length > 0)
    .map(([subject, rows]) => [`## ${subject}`, '', ...heads, ...rows].join('\n'))
    .join('\n\n');
}

function cell(text) {
  return text.replaceAll('|', '\\|');
}

/** The page with the tables in their place. */
function renewed(page) {
  const [from, to] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (from < 0 || to < from)
    throw new Error(`docs/differences.md has no place for the tables: ${BEGIN} … ${END}`);
  return `${page.slice(0, from)}${BEGIN}\n\n${tables()}\n\n${page.slice(to)}`;
}

/** Lines that say how the page differs from the list; none when it does not. */
function offences() {
  const page = fs.readFileSync(PAGE, 'utf8');
  if (renewed(page) === page) return [];
  return ['docs/differences.md is out of date: node scripts/differences.js --write'];
}

module.exports = { offences };

if (require.main === module) {
  if (process.argv.includes('--write')) {
    fs.writeFileSync(PAGE, renewed(fs.readFileSync(PAGE, 'utf8')));
  } else if (process.argv.includes('--check')) {
    for (const line of offences()) {
      console.error(line);
      process.exitCode = 1;
    }
  } else {
    console.error('Usage: node scripts/differences.js --write | --check');
    process.exit(2);
  }
}
