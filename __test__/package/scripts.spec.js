'use strict';
// Scripts that run tests: a part of a name or an option that is misspelt is an error, and not a run of
// nothing that passes for a success.

const assert = require('node:assert/strict');
const path = require('node:path');
const { spawnSync } = require('node:child_process');
const { it } = require('node:test');
const { optionsOf } = require('../../scripts/options');

const ROOT = path.join(__dirname, '../..');

/** Runs a script that must end before it does anything, and returns what it says. */
function refused(script, ...args) {
  const options = { cwd: ROOT, encoding: 'utf8', timeout: 60000 };
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, ...args], options);
  assert.deepEqual([status, stdout], [2, ''], `${script} ${args.join(' ')}: ${stdout}${stderr}`);
  return stderr;
}

it('a part of a name that no spec has', () => {
  assert.match(refused('__test__/stack/run.js', 'app', 'redsi'), /^There is no redsi; there are app, /);
  for (const more of [[], ['--newest']])
    assert.match(
      refused('__test__/ecosystem/run.js', 'hipper', ...more),
      /^There is no hipper; there are colyseus, /,
    );
});

it('options of runs that take a while', () => {
  for (const script of ['traffic/run', 'api-fuzz/run', 'overload/soak', 'smuggling/run']) {
    const file = `__test__/${script}.js`;
    assert.match(refused(file, '--second', '3'), /Unknown option '--second'/);
    assert.match(refused(file, '--seconds', 'ten'), /^--seconds takes a number; got ten\n$/);
    assert.match(refused(file, '--seconds='), /^--seconds takes a number; got none\n$/);
    assert.match(refused(file, '--seed', '1.5'), /^--seed takes a whole number; got 1\.5\n$/);
    assert.match(refused(file, '3'), /Unexpected argument '3'/);
  }
  const traffic = (...args) => refused('__test__/traffic/run.js', ...args);
  assert.match(
    traffic('--setting', 'oneplain'),
    /^--setting takes two, one, two-plain, one-plain; got oneplain\n$/,
  );
  assert.match(traffic('--kind', 'mixed,slw'), /^--kind takes mixed, .*; got slw\n$/);
  assert.match(refused('scripts/simulate.js', '--seed', '-1'), /--seed/);
});

it('publishing without the folder of the packages, or with two', () => {
  for (const folders of [[], ['a', 'b']])
    assert.match(refused('scripts/package/publish.js', ...folders), /^Usage: .* FOLDER /);
});

it('a step that throws, or a folder without tests, is a failure, and the other steps are run', () => {
  const program = `
    const { results, specs, step } = require('./scripts/test.js');
    step('throws', () => { throw new Error('the cause'); });
    step('empty', () => specs('ours', '__test__/package', '__test__/fixtures'));
    step('skipped', () => 'why');
    step('good', () => 0);
    console.log('verdicts ' + results.map(({ verdict }) => verdict));`;
  const options = { cwd: ROOT, encoding: 'utf8', timeout: 60000 };
  const { status, stdout, stderr } = spawnSync(process.execPath, ['-e', program], options);
  assert.equal(status, 0, stderr);
  assert.match(stdout, /\nverdicts FAILED,FAILED,skipped: why,ok\n$/);
  assert.match(stderr, /the cause[^]*There are no tests in __test__\/fixtures\n/);
});

it('options and names of scripts that build or check', () => {
  for (const script of ['scripts/build', 'scripts/licenses', 'scripts/test', '__test__/overload/run'])
    assert.match(refused(`${script}.js`, '--smal'), /Unknown option '--smal'/);
  assert.match(refused('scripts/loom.js', 'mailbox', 'mialbox'), /^There is no mialbox; there are .*mailbox/);
  assert.match(refused('scripts/fuzz.js', '--seconds', 'ten'), /^--seconds takes a whole number; got ten\n$/);
  assert.match(refused('__test__/runtimes/run.js', 'toString'), /^There is no toString; there are node-18, /);
});

it('options are read as what they take', () => {
  const kinds = { seconds: 'number', seed: 'whole', kind: ['a', 'b'], plan: 'text', all: 'flag' };
  const list = ['--seconds', '0.5', '--seed=7', '--kind', 'a,b', '--plan', 'x y', '--all'];
  assert.deepEqual(optionsOf(kinds, list), { seconds: 0.5, seed: 7, kind: 'a,b', plan: 'x y', all: true });
  assert.deepEqual(optionsOf(kinds, []), {});
});
