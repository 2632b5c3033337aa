'use strict';

// Runs the conformance tests on other runtimes, which come from npm. Each spec is a process of its own, so
// that a crash is a failure of that spec alone.
//
//   npm run test:runtimes                   all of them
//   npm run test:runtimes -- deno node-18   some of them

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { spawn } = require('node:child_process');
const { ROOT, attempt, installIfReachable } = require('../../scripts/run.js');
const { FAILING, NEWEST, RUNTIMES } = require('./runtimes.js');

const SPECS = path.join(ROOT, '__test__', 'conformance');
const LIMIT_MS = 120_000;
/** The specs that run at once. */
const PARALLEL = Math.max(2, os.availableParallelism?.() ?? 2);

/** How each kind runs a spec, and writes its report to a file. */
const COMMANDS = {
  'Node.js': (spec) => ['--test-reporter=tap', '--test', spec],
  Bun: (spec, report) => ['test', '--reporter=junit', `--reporter-outfile=${report}`, spec],
  Deno: (spec, report) => ['test', '-A', '--no-check', `--junit-path=${report}`, spec],
};

/** Returns the executable of a runtime; as text in `missing` the reason why there is none. */
function executable(name) {
  const {
    version,
    package: [package_, file],
  } = RUNTIMES[name];
  const folder = path.join(__dirname, 'node_modules', `${name}-${version}`);
  fs.mkdirSync(folder, { recursive: true });
  const manifest = path.join(folder, 'package.json');
  const content = JSON.stringify({ private: true, dependencies: { [package_]: version } });
  if (!fs.existsSync(manifest)) fs.writeFileSync(manifest, content);
  const missing = installIfReachable(folder, `${name} ${version}`, 'install');
  return missing === undefined ? { path: path.join(folder, 'node_modules', package_, file) } : { missing };
}

/** Runs a spec. Resolves with { passed, failed, skipped }, where `failed` are the names of tests. */
function run(runtime, program, spec, folder) {
  const report = path.join(folder, `${spec}.xml`);
  const args = COMMANDS[runtime.kind](path.join(SPECS, `${spec}.spec.js`), report);
  return new Promise((resolve) => {
    const env = { ...process.env, UWS_MODULE: 'ours', NO_COLOR: '1' };
    const child = spawn(program, args, { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'pipe'] });
    const timer = setTimeout(() => child.kill('SIGKILL'), LIMIT_MS);
    let output = '';
    child.stdout.on('data', (data) => (output += data));
    child.stderr.on('data', (data) => (output += data));
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      const found = runtime.kind === 'Node.js' ? readTap(output) : readJunit(report);
      // A report that is incomplete, or says nothing of a failure, is one.
      const whole = found !== null && signal === null && (code === 0 || found.failed.length > 0);
      if (!whole) resolve({ passed: 0, skipped: 0, failed: [`(ended with ${signal ?? code})`], output });
      else resolve({ ...found, output });
    });
  });
}

function readTap(text) {
  const tests = [...text.matchAll(/^ *(not )?ok \d+ - (.*?)( # (?:SKIP|TODO).*)?$/gm)]
    .map(([, not, name, skipped]) => ({ not, name: name.replaceAll('\\#', '#'), skipped }))
    .filter(({ name }) => !name.endsWith('.spec.js'));
  if (!/^# tests \d+$/m.test(text)) return null;
  return counted(
    tests.map(({ not, name, skipped }) => [name, skipped ? 'skipped' : not ? 'failed' : 'passed']),
  );
}

const ENTITIES = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };
const decoded = (text) =>
  text.replace(/&(?:#(\d+)|(\w+));/g, (_, code, name) => (code ? String.fromCharCode(code) : ENTITIES[name]));

function readJunit(file) {
  if (!fs.existsSync(file)) return null;
  const text = fs.readFileSync(file, 'utf8');
  const tests = text.matchAll(/<testcase name="([^"]*)"[^>]*?(?:\/>|>([^]*?)<\/testcase>)/g);
  return counted(
    [...tests].map(([, name, inside = '']) => [
      decoded(name),
      /<(failure|error)\b/.test(inside) ? 'failed' : /<skipped\b/.test(inside) ? 'skipped' : 'passed',
    ]),
  );
}

function counted(tests) {
  const of = (outcome) => tests.filter(([, each]) => each === outcome).map(([name]) => name);
  return { passed: of('passed').length, skipped: of('skipped').length, failed: of('failed') };
}

/** Runs all specs on a runtime. Returns whether exactly those tests fail that are listed. */
async function conforms(name, program) {
  const runtime = RUNTIMES[name];
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'uws-runtimes-'));
  const specs = fs.readdirSync(SPECS).flatMap((file) => /^(.*)\.spec\.js$/.exec(file)?.[1] ?? []);
  const waiting = [...specs];
  const total = { passed: 0, skipped: 0, failed: 0 };
  let fine = true;
  const work = async () => {
    for (let spec = waiting.shift(); spec !== undefined; spec = waiting.shift()) {
      const { passed, skipped, failed, output } = await run(runtime, program, spec, folder);
      total.passed += passed;
      total.skipped += skipped;
      total.failed += failed.length;
      const listed = Object.keys(FAILING[runtime.kind][spec] ?? {});
      const unlisted = failed.filter((test) => !listed.includes(test));
      const mended = listed.filter((test) => !failed.includes(test));
      for (const test of unlisted) console.error(`${name}, ${spec}: ${test}: FAILED`);
      for (const test of mended) console.error(`${name}, ${spec}: ${test}: passes, but is listed as failing`);
      if (unlisted.length > 0) console.error(output);
      fine &&= unlisted.length === 0 && mended.length === 0;
    }
  };
  await Promise.all(Array.from({ length: PARALLEL }, work));
  fs.rmSync(folder, { recursive: true, force: true });
  const { passed, failed, skipped } = total;
  console.log(`${runtime.kind} ${runtime.version}: ${passed} passed, ${failed} failed, ${skipped} skipped`);
  return fine && passed > 0;
}

/** Returns the exit code. A runtime that cannot be had is skipped, in CI it is a failure. */
async function runtimes(names) {
  let code = 0;
  for (const name of names) {
    const { path: program, missing } = executable(name);
    if (typeof missing === 'string') console.log(`${name}: skipped: ${missing}`);
    else if (missing !== undefined || !(await conforms(name, program))) code = 1;
  }
  return code;
}

async function main() {
  const named = process.argv.slice(2);
  const names = named.length > 0 ? named : Object.keys(RUNTIMES);
  const unknown = names.filter((name) => !Object.hasOwn(RUNTIMES, name));
  if (unknown.length > 0) {
    console.error(`There is no ${unknown.join(', ')}; there are ${Object.keys(RUNTIMES).join(', ')}`);
    return 2;
  }
  return runtimes(names);
}

/**
 * Runs the newest Node alone, as a part of `npm test`. Returns the exit code or, as text, the reason why it
 * is not run.
 */
function newest() {
  return executable(NEWEST).missing ?? attempt(process.execPath, [__filename, NEWEST]);
}

module.exports = { executable, newest };

if (require.main === module) {
  main().then((code) => {
    process.exitCode = code;
  });
}
