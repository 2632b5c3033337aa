'use strict';

// `npm test` shows the closing lines of each step and all that failed; the whole is in a file.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { it } = require('node:test');
const { Parts, quietly } = require('../../scripts/quiet');

const SPEC = `
const { it, describe } = require('node:test');
for (let i = 0; i < 40; i++) it('passes ' + i, () => {});
describe('outer', () => {
  it('fails', () => { throw new Error('the cause'); });
  it.skip('is left out', () => {});
});
`;

const SCRIPT = `
const { spawnSync } = require('node:child_process');
const { say } = require(${JSON.stringify(require.resolve('../../scripts/quiet'))});
const shown = (command, args) => spawnSync(command, args, { stdio: 'inherit' }).status;
const step = (name, check) => {
  console.log('=== ' + name);
  say({ name });
  say({ name, verdict: check() === 0 ? 'ok' : 'FAILED', seconds: '1.0' });
};
step('long', () => shown('seq', ['1', '500']));
step('silent', () => 0);
step('tests', () => shown(process.execPath, ['--test', '--test-reporter=tap', process.argv[2]]));
step('lines', () => shown('sh', ['-c', 'seq 1 500; echo the end >&2; exit 3']));
say({ name: 'summary' });
console.log('summary of all');
process.exit(7);
`;

/** Runs a script quietly; returns its exit code, what was shown, and the whole output. */
async function run(t, source, ...args) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'uws-quiet-'));
  t.after(() => fs.rmSync(folder, { recursive: true }));
  const script = path.join(folder, 'script.js');
  fs.writeFileSync(script, source);
  fs.writeFileSync(path.join(folder, 'some.spec.js'), SPEC);
  const log = path.join(folder, 'new', 'test.log');
  const lines = [];
  const options = { script, args: [path.join(folder, 'some.spec.js'), ...args], log };
  // The runner of this file is not the runner of that one.
  const saved = process.env.NODE_TEST_CONTEXT;
  delete process.env.NODE_TEST_CONTEXT;
  const code = await quietly({ ...options, show: (text) => lines.push(text) });
  if (saved !== undefined) process.env.NODE_TEST_CONTEXT = saved;
  return { code, shown: lines.join('\n'), whole: fs.readFileSync(log, 'utf8') };
}

/** The part that is shown of a step. */
const of = (shown, name) => shown.split(`=== ${name}\n`)[1].split('\n=== ')[0];

it('shows the closing lines of a step, and all of it is in the file', async (t) => {
  const { code, shown, whole } = await run(t, SCRIPT);
  assert.equal(code, 7);
  assert.equal(
    of(shown, 'long').trim(),
    `${Array.from({ length: 10 }, (_, i) => 491 + i).join('\n')}\nlong: ok, 1.0 s`,
  );
  assert.equal(of(shown, 'silent').trim(), 'silent: ok, 1.0 s');
  assert.equal(of(shown, 'summary').trim(), 'summary of all');
  for (let i = 1; i <= 500; i++) assert.ok(whole.includes(`\n${i}\n`), `${i}`);
  assert.match(whole, /passes 39/);
});

it('shows what failed: tests with their reports, and the end of what says nothing of tests', async (t) => {
  const { shown } = await run(t, SCRIPT);
  const tests = of(shown, 'tests');
  assert.match(tests, /not ok 1 - fails\n(.*\n)*?.*the cause/);
  assert.doesNotMatch(tests, /not ok \d - outer[^]*the cause[^]*# tests/);
  assert.match(tests, /# pass 40\n# fail 1\n/);
  assert.match(tests, /tests: FAILED, 1\.0 s/);
  const lines = of(shown, 'lines');
  assert.match(lines, /\n499\n500\nthe end\nlines: FAILED/);
  assert.ok(!lines.includes('\n300\n'));
});

it('a script that ends before its time shows the rest', async (t) => {
  const source = `console.log('a'); require(${JSON.stringify(require.resolve('../../scripts/quiet'))}).say({ name: 'one' });
    console.log('why'); process.exit(4);`;
  const { code, shown } = await run(t, source);
  assert.equal(code, 4);
  assert.match(shown, /=== one\nwhy$/);
  const killed = await run(t, 'process.kill(process.pid, "SIGKILL");');
  assert.equal(killed.code, 128 + 9);
});

/** An empty file, read in parts. */
function parts(t) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'uws-quiet-'));
  const file = path.join(folder, 'test.log');
  fs.writeFileSync(file, '');
  const read = new Parts(file);
  t.after(() => {
    fs.closeSync(read.descriptor);
    fs.rmSync(folder, { recursive: true });
  });
  return { file, rest: () => read.upTo(read.size()) };
}

it('lines of any length and bytes of any kind are shown', (t) => {
  const { file, rest } = parts(t);
  fs.appendFileSync(file, 'x'.repeat(1e6) + '\n\0\n');
  fs.appendFileSync(file, Buffer.from([0xff, 0xfe, 0x0a, 0xe2, 0x82]));
  assert.equal(rest(), `${'x'.repeat(4000)}…\n\0\n\ufffd\ufffd\n\ufffd`);
});

it('the end is shown of a step that prints more than a string can hold', (t) => {
  const { file, rest } = parts(t);
  // The file has a hole, which takes no place on the disk.
  fs.truncateSync(file, 600 << 20);
  fs.appendFileSync(file, '\nthe end\n');
  assert.match(rest(), /\nthe end\n$/);
  fs.appendFileSync(file, 'next\n');
  assert.equal(rest(), 'next\n');
});

it('a file that another run has begun anew is shown from there', (t) => {
  const { file, rest } = parts(t);
  fs.appendFileSync(file, 'the first run\n');
  assert.equal(rest(), 'the first run\n');
  fs.writeFileSync(file, 'another\n');
  assert.equal(rest(), 'another\n');
});
