'use strict';
// `npm run test:overload` runs the tests of overload at full size and prints their figures as the table of
// docs/reliability.md; `--small` runs them as `npm test` does, `--write` renews the table.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { spawnSync } = require('node:child_process');

const DOCUMENT = path.join(__dirname, '../../docs/reliability.md');
const BEGIN = '<!-- figures of overload: npm run test:overload -- --write -->';
const END = '<!-- end of the figures -->';

/** The figures of the last run, in the order of the tests. */
function figuresIn(file) {
  if (!fs.existsSync(file)) return [];
  const lines = fs.readFileSync(file, 'utf8').split('\n');
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line));
}

function table(figures) {
  const rows = figures.map(({ test, text }) => `| ${test} | ${text.replaceAll('|', '\\|')} |`);
  return ['| test | figures |', '| --- | --- |', ...rows].join('\n');
}

/** Puts the table between the marks of the document, with the machine and the day. */
function write(figures) {
  const text = fs.readFileSync(DOCUMENT, 'utf8');
  const [head, rest] = text.split(BEGIN);
  if (rest === undefined || !rest.includes(END)) throw new Error(`${DOCUMENT} has no marks for the figures.`);
  const tail = rest.slice(rest.indexOf(END));
  const day = new Date().toISOString().slice(0, 10);
  const machine = `${os.cpus()[0].model.trim()}, ${os.cpus().length} processors, Linux, Node ${process.version}, ${day}`;
  fs.writeFileSync(DOCUMENT, `${head}${BEGIN}\n\n${table(figures)}\n\n${machine}.\n\n${tail}`);
}

function main() {
  const file = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'uws-overload-')), 'figures');
  const names = fs.readdirSync(__dirname).filter((name) => name.endsWith('.spec.js'));
  const files = names.map((name) => path.join(__dirname, name));
  const size = process.argv.includes('--small') ? '' : 'full';
  // One after the other: each is to have the machine for itself.
  const { status } = spawnSync(process.execPath, ['--test', '--test-concurrency=1', ...files], {
    stdio: 'inherit',
    env: { ...process.env, OVERLOAD: size, OVERLOAD_FIGURES: file },
  });
  const figures = figuresIn(file);
  console.log(`\n${table(figures)}`);
  if (process.argv.includes('--write') && status === 0) write(figures);
  process.exitCode = status ?? 1;
}

if (require.main === module) main();
