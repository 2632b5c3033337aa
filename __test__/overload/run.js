'use strict';
// `npm run test:overload` runs the tests of overload at full size and prints their figures as the table of
// docs/reliability.md; `--small` runs them as `npm test` does, `--write` renews the table.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { spawnSync } = require('node:child_process');
const { GeneratedPart, cell, table } = require('../../scripts/generated.js');
const { optionsOf } = require('../../scripts/options.js');

const PART = new GeneratedPart({
  page: 'docs/reliability.md',
  begin: '<!-- figures of overload: npm run test:overload -- --write -->',
  end: '<!-- end of the figures -->',
});

/** The figures of the last run, in the order of the tests. */
function figuresIn(file) {
  if (!fs.existsSync(file)) return [];
  const lines = fs.readFileSync(file, 'utf8').split('\n');
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line));
}

const tableOf = (figures) =>
  table(
    ['test', 'figures'],
    figures.map(({ test, text }) => [cell(test), cell(text)]),
  );

/** The table, with the machine and the day. */
function dated(figures) {
  const day = new Date().toISOString().slice(0, 10);
  const cpus = os.cpus();
  const machine = `${cpus[0].model.trim()}, ${cpus.length} processors, Linux, Node ${process.version}, ${day}`;
  return `${tableOf(figures)}\n\n${machine}.`;
}

function main() {
  const { small, write } = optionsOf({ small: 'flag', write: 'flag' });
  const file = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'uws-overload-')), 'figures');
  const names = fs.readdirSync(__dirname).filter((name) => name.endsWith('.spec.js'));
  const files = names.map((name) => path.join(__dirname, name));
  const size = small ? '' : 'full';
  // One after the other: each is to have the machine for itself.
  const { status } = spawnSync(process.execPath, ['--test', '--test-concurrency=1', ...files], {
    stdio: 'inherit',
    env: { ...process.env, OVERLOAD: size, OVERLOAD_FIGURES: file },
  });
  const figures = figuresIn(file);
  console.log(`\n${tableOf(figures)}`);
  if (write && status === 0) PART.write(dated(figures));
  process.exitCode = status ?? 1;
}

if (require.main === module) main();
