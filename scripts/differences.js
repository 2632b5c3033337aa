'use strict';

// The README's table of differences from uWebSockets.js, from the list the conformance tests keep.
// `node scripts/differences.js --write` renews it, `--check` fails when it is not the list's.

const fs = require('node:fs');
const path = require('node:path');
const { ROOT } = require('./run.js');
const DIFFERENCES = require('../__test__/conformance/differences.js');

const README = path.join(ROOT, 'README.md');
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

function table() {
  const bySubject = new Map([...new Set(Object.values(SUBJECTS))].map((subject) => [subject, []]));
  for (const { id, section, original, ours } of DIFFERENCES) {
    const rows = bySubject.get(SUBJECTS[/\d/.exec(section)?.[0]]);
    if (!rows) throw new Error(`The difference ${id} belongs to no subject: ${section}`);
    rows.push(`| ${cell(original)} | ${cell(ours)} |`);
  }
  const heads = ['| uWebSockets.js | uws-rs |', '| --- | --- |'];
  return [...bySubject]
    .filter(([, rows]) => rows.length > 0)
    .map(([subject, rows]) => [`### ${subject}`, '', ...heads, ...rows].join('\n'))
    .join('\n\n');
}

function cell(text) {
  return text.replaceAll('|', '\\|');
}

/** The README with the table in its place. */
function renewed(readme) {
  const [from, to] = [readme.indexOf(BEGIN), readme.indexOf(END)];
  if (from < 0 || to < from) throw new Error(`README.md has no place for the table: ${BEGIN} … ${END}`);
  return `${readme.slice(0, from)}${BEGIN}\n\n${table()}\n\n${readme.slice(to)}`;
}

/** What is wrong with the README's table, as lines; empty when nothing is. */
function offences() {
  const readme = fs.readFileSync(README, 'utf8');
  if (renewed(readme) === readme) return [];
  return ['The table of differences in README.md is out of date: node scripts/differences.js --write'];
}

module.exports = { offences };

if (require.main === module) {
  if (process.argv.includes('--write')) {
    fs.writeFileSync(README, renewed(fs.readFileSync(README, 'utf8')));
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
