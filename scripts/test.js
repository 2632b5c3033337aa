'use strict';

// `npm test` runs every check, from a fresh clone. `npm run test:peer` runs the behaviour tests against the
// real uWebSockets.js, to see that they expect what it does. The output is in target/test.log; of it the
// closing lines of each check are shown, and what failed. `--verbose` shows all of it instead.
//
//   UWS_2057              path of a uWebSockets.js 20.57 to compare with; without it those runs are skipped
//   PACKAGE_MANAGERS      folder with pnpm, yarn and bun; see __test__/guide/migration.spec.js
//   CHROMIUM              the browser, if not /usr/bin/chromium
//   SVELTE_ADAPTER_UWS    archive or folder of another release of the adapter, for more browser tests
//   STACK_ADAPTER, STACK_REALTIME, STACK_EXTENSIONS    the same for the tests of the realtime stack

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const suite = require('../__test__/autobahn/suite.js');
const { bundlers } = require('../__test__/bundlers/run.js');
const { ecosystem } = require('../__test__/ecosystem/run.js');
const { newest } = require('../__test__/runtimes/run.js');
const { missing: missingProxies } = require('../__test__/smuggling/proxies.js');
const { stack } = require('../__test__/stack/run.js');
const { buildWith } = require('./adapter.js');
const { build } = require('./build.js');
const differences = require('./differences.js');
const disagreements = require('./disagreements.js');
const { unsupported } = require('./fuzz.js');
const layers = require('./layers.js');
const licenses = require('./licenses.js');
const { optionsOf } = require('./options.js');
const programs = require('./programs.js');
const prose = require('./prose.js');
const { quietly, say } = require('./quiet.js');
const runtimes = require('./runtimes.js');
const { EXAMPLE, ROOT, attempt, buildExample, has, install } = require('./run.js');

const CHROMIUM = process.env.CHROMIUM || '/usr/bin/chromium';
/** Folders of tests for behaviour that only our addon has, or has completely. */
const OURS = [
  'types',
  'package',
  'http',
  'websocket',
  'threads',
  'tls',
  'limits',
  'robustness',
  'observability',
  'guide',
].map((name) => `__test__/${name}`);
/** The specs of robustness that depend neither on the time of handshakes nor on the contents of memory. */
const ROBUST_OVER_TLS = [
  'closing',
  'crossing',
  'dropped',
  'endings',
  'exit',
  'filters',
  'floods',
  'fuzz',
  'pipeline',
  'reentrancy',
  'shutdown',
  'slots',
  'topics',
  'workers',
].map((name) => `__test__/robustness/${name}.spec.js`);
const results = [];

/**
 * Runs a check, which returns its exit code or, as text, the reason why it is skipped. The other checks run
 * in any case.
 */
function step(name, check) {
  begin(name);
  const started = Date.now();
  const outcome = outcomeOf(check);
  const seconds = ((Date.now() - started) / 1000).toFixed(1);
  const verdict = typeof outcome === 'string' ? `skipped: ${outcome}` : outcome === 0 ? 'ok' : 'FAILED';
  if (verdict !== 'ok') console.log(`${name}: ${verdict}`);
  results.push({ name, verdict, seconds });
  say({ name, verdict, seconds });
}

function outcomeOf(check) {
  try {
    return check();
  } catch (error) {
    console.error(error);
    return 1;
  }
}

function begin(name) {
  console.log(`\n=== ${name}`);
  say({ name });
}

function rust() {
  const core = '--no-default-features';
  const strict = ['--all-targets', '--', '-D', 'warnings'];
  step('rustfmt', () => attempt('cargo', ['fmt', '--check']));
  step('rustfmt of the fuzz targets', () =>
    attempt('cargo', ['fmt', '--check', '--manifest-path', 'fuzz/Cargo.toml']),
  );
  step('clippy', () => attempt('cargo', ['clippy', core, ...strict]));
  step('clippy, with the binding', () => attempt('cargo', ['clippy', ...strict]));
  step('layers', () => report(layers.offences()));
  step('licences', () => report(licenses.offences()));
  const nextest = has('cargo', ['nextest', '--version']);
  // Failures are repeated at the end, which is shown.
  const env = { NEXTEST_FAILURE_OUTPUT: 'immediate-final' };
  step('Rust tests', () => attempt('cargo', nextest ? ['nextest', 'run', core] : ['test', core], { env }));
  step('fuzzing', () => unsupported() ?? attempt(process.execPath, ['scripts/fuzz.js']));
  step('Rust documentation', () =>
    attempt('cargo', ['doc', core, '--no-deps'], { env: { RUSTDOCFLAGS: '-D warnings' } }),
  );
}

function javascript() {
  step('ESLint', () => tool('eslint', '.'));
  step('Prettier', () => tool('prettier', '--check', '.'));
  step('types', () => tool('tsc', '--project', '__test__/types'));
  step('comments', () => report(prose.offences()));
  step('programs of the guide', () => report(programs.offences()));
  step('tables of differences', () => report(differences.offences()));
  step('table of disagreements', () => report(disagreements.offences()));
  step('table of runtimes', () => report(runtimes.offences()));
}

/** The assertions of debug builds: all accounts balance after each turn, no buffer shows old bytes. */
function assertions() {
  step('build with assertions', () => {
    build('checked');
    return 0;
  });
  step('robustness with assertions', () => specs('ours', '__test__/robustness'));
  step('API fuzzer with assertions', () => script('__test__/api-fuzz/run.js', '--seconds', '30'));
}

function behaviour(peers) {
  if (!peers) {
    step('Node tests', () => specs('ours', ...OURS));
    step('overload', () => attempt(process.execPath, ['__test__/overload/run.js', '--small']));
    step('soak', () => attempt(process.execPath, ['__test__/overload/soak.js', '--seconds', '60']));
    step('conformance', () => specs('ours', '__test__/conformance'));
    step('conformance on the newest Node.js', newest);
    step('conformance over TLS', () => overTls(() => specs('ours', '__test__/conformance')));
    step('robustness over TLS', () => overTls(() => run('ours', ROBUST_OVER_TLS)));
    step('ecosystem', ecosystem);
    step('bundlers', bundlers);
    smuggling();
  }
  if (!peers) step('traffic', () => script('__test__/traffic/run.js', '--matrix', '--seconds', '40'));
  if (!peers) step('Autobahn', autobahn);
  for (const peer of ['20.30', '20.57']) {
    step(`conformance of uWebSockets.js ${peer}`, () => missing(peer) ?? specs(peer, '__test__/conformance'));
    step(
      `traffic to uWebSockets.js ${peer}`,
      () => missing(peer) ?? script('__test__/traffic/run.js', '--module', peer, '--seconds', '8'),
    );
  }
}

/** Where a request ends: as the cases say, as other servers see it, and as the proxies in front see it. */
function smuggling() {
  const spec = (name) => `__test__/smuggling/${name}.spec.js`;
  const mutated = (part) => attempt(process.execPath, ['__test__/smuggling/run.js', part, '--seconds', '20']);
  const all = (...checks) => checks.reduce((code, check) => check() || code, 0);
  step('smuggling', () =>
    all(
      () => run('ours', [spec('cases'), spec('differential'), spec('mutate')]),
      () => mutated('--direct'),
    ),
  );
  step('smuggling over TLS', () => overTls(() => run('ours', [spec('cases')])));
  const lacking = missingProxies();
  step('smuggling through proxies', () => {
    if (lacking.length) return process.env.CI ? 1 : `there is no ${lacking.join(', ')}`;
    return all(
      () => run('ours', [spec('proxies')]),
      () => mutated('--proxies'),
    );
  });
}

function browser(peers) {
  if (!fs.existsSync(CHROMIUM)) {
    return step('browser', () => (process.env.CI ? 1 : `no Chromium at ${CHROMIUM}`));
  }
  step('example app', () => {
    install(EXAMPLE);
    return buildExample();
  });
  if (!peers) step('browser', () => specs('ours', '__test__/browser'));
  for (const peer of peers ? ['20.30', '20.57'] : []) {
    step(`browser, uWebSockets.js ${peer}`, () => missing(peer) ?? specs(peer, '__test__/browser'));
  }
  if (!peers) step('browser, with another adapter', otherAdapter);
}

function otherAdapter() {
  const adapter = process.env.SVELTE_ADAPTER_UWS;
  if (!adapter) return 'SVELTE_ADAPTER_UWS names none';
  process.env.EXAMPLE_BUILD = fs.mkdtempSync(path.join(os.tmpdir(), 'uws-build-'));
  try {
    buildWith(adapter, process.env.EXAMPLE_BUILD);
    return specs('ours', '__test__/browser');
  } finally {
    fs.rmSync(process.env.EXAMPLE_BUILD, { recursive: true, force: true });
    delete process.env.EXAMPLE_BUILD;
  }
}

/** Runs the part of the Autobahn testsuite that takes a minute; `npm run test:autobahn` runs all of it. */
function autobahn() {
  const python = suite.python();
  if (!python) return 'its suite wants Python 2.7 with pip (PYTHON2 may name it)';
  try {
    suite.install(python);
  } catch (error) {
    return `its suite could not be installed: ${error.message}`;
  }
  return attempt(process.execPath, ['__test__/autobahn/run.js', '--quick']);
}

/** Returns the reason why the peer is missing; undefined when it is there. */
function missing(peer) {
  if (peer === '20.57') return process.env.UWS_2057 ? undefined : 'UWS_2057 names none';
  const main = require.resolve('@trufflesuite/uws-js-unofficial');
  const name = `uws_${process.platform}_${process.arch}_${process.versions.modules}.node`;
  return fs.existsSync(path.join(main, '../../binaries', name)) ? undefined : `there is no ${name}`;
}

function specs(module, ...folders) {
  const files = folders.map((folder) => filesIn(folder, '.spec.js'));
  const empty = folders.filter((folder, i) => files[i].length === 0);
  if (empty.length > 0) throw new Error(`There are no tests in ${empty.join(', ')}`);
  return run(module, files.flat());
}

/** Runs a check in which every App of the specs is an SSLApp, and their clients use TLS. */
function overTls(check) {
  process.env.UWS_TLS = '1';
  try {
    return check();
  } finally {
    delete process.env.UWS_TLS;
  }
}

/** On two processors Node runs one file at a time by default, of which most wait most of the time. */
const AT_ONCE = Math.max(2, os.availableParallelism() - 1);

function run(module, files) {
  const args = ['--test', `--test-concurrency=${AT_ONCE}`, ...files];
  return attempt(process.execPath, args, { env: { UWS_MODULE: module } });
}

function script(file, ...options) {
  return attempt(process.execPath, [file, ...options]);
}

function filesIn(folder, ending) {
  const at = path.join(ROOT, folder);
  const names = fs.existsSync(at) ? fs.readdirSync(at) : [];
  return names.filter((name) => name.endsWith(ending)).map((name) => path.join(folder, name));
}

function tool(name, ...args) {
  return attempt(path.join(ROOT, 'node_modules', '.bin', name), args);
}

function report(lines) {
  for (const line of lines) console.error(line);
  return lines.length ? 1 : 0;
}

function main({ peer: peers }) {
  install(ROOT);
  if (!peers) {
    rust();
    javascript();
    assertions();
  }
  step('build', () => {
    build('release');
    return 0;
  });
  behaviour(peers);
  browser(peers);
  if (!peers) step('realtime stack', () => stack());

  begin('summary');
  for (const { name, verdict, seconds } of results)
    console.log(`${seconds.padStart(7)} s  ${name}: ${verdict}`);
  process.exit(results.some(({ verdict }) => verdict === 'FAILED') ? 1 : 0);
}

module.exports = { results, specs, step };

if (require.main === module) {
  const options = optionsOf({ peer: 'flag', verbose: 'flag' });
  if (options.verbose || process.send !== undefined) main(options);
  else {
    const log = path.join(ROOT, 'target', 'test.log');
    quietly({ script: __filename, args: process.argv.slice(2), log }).then((code) => {
      process.exitCode = code;
    });
  }
}
