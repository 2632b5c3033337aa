'use strict';

// Makes the tables of docs/smuggling.md from the cases and the list of disagreements that the smuggling
// tests keep. `node scripts/disagreements.js --write` renews them, `--check` fails when they are not those
// of the lists.

const fs = require('node:fs');
const path = require('node:path');
const { ROOT } = require('./run.js');
const { CASES } = require('../__test__/smuggling/cases.js');
const { DISAGREEMENTS } = require('../__test__/smuggling/disagreements.js');

const PAGE = path.join(ROOT, 'docs', 'smuggling.md');
const BEGIN = '<!-- disagreements: made by scripts/disagreements.js -->';
const END = '<!-- end of disagreements -->';

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
  const rows = [...counts].map(([section, count]) => `| ${section} | ${count} |`);
  return ['| section | cases |', '| --- | --- |', ...rows, `| all | ${CASES.length} |`].join('\n');
}

function disagreements() {
  const rows = DISAGREEMENTS.map(({ why, found }) => {
    const peers = new Set(found.flatMap(([names]) => names.map((name) => PEERS.get(name.split(',')[0]))));
    const kinds = new Set(found.map(([, kind]) => kind));
    const ids = new Set(found.flatMap(([, , list]) => list.split(' ')));
    return `| ${[...peers].join(', ')} | ${[...kinds].join('; ')} | ${cell(why)} | ${examples([...ids])} |`;
  });
  return [
    '| who | how it differs | why, and why it is safe | cases |',
    '| --- | --- | --- | --- |',
    ...rows,
  ].join('\n');
}

function examples(ids) {
  const shown = ids.slice(0, 4).map((id) => `\`${id}\``);
  return ids.length > 4 ? `${shown.join(', ')} and ${ids.length - 4} more` : shown.join(', ');
}

function cell(text) {
  return text.replaceAll('|', '\\|');
}

/** The page with the tables in their place. */
function renewed(page) {
  const [from, to] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (from < 0 || to < from)
    throw new Error(`docs/smuggling.md has no place for the tables: ${BEGIN} … ${END}`);
  return `${page.slice(0, from)}${BEGIN}\n\n${sections()}\n\n${disagreements()}\n\n${page.slice(to)}`;
}

/** Lines that say how the page differs from the lists; none when it does not. */
function offences() {
  const page = fs.readFileSync(PAGE, 'utf8');
  if (renewed(page) === page) return [];
  return ['docs/smuggling.md is out of date: node scripts/disagreements.js --write'];
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
    console.error('Usage: node scripts/disagreements.js --write | --check');
    process.exit(2);
  }
}
