'use strict';

// `npm run test:platforms`: the conformance suite on the packages in dist/, plain and over TLS, each by the
// Node of its platform. `npm run package` makes the packages.
//
//   --target NAME      this platform alone; otherwise all whose package is in dist/
//   --spec NAME        this spec alone, several times for several
//   --from FOLDER      another folder than dist/
//   --plain, --tls     one of both alone
//   --native           by the Node that runs this, on the platform itself

const fs = require('node:fs');
const path = require('node:path');
const { execFileSync, spawn } = require('node:child_process');
const { parseArgs } = require('node:util');
const { foreignNode, isEmulated, unobtainable } = require('./package/foreign.js');
const { manifestOf } = require('./package/stage.js');
const { TARGETS, packageOf, targetNamed } = require('./package/targets.js');
const tools = require('./package/tools.js');
const { ROOT } = require('./run.js');

const LIMIT_S = 120;
/** How many times as long an emulated spec may take as one that is not. */
const EMULATED = 8;
const OPTIONS = {
  target: { type: 'string', multiple: true },
  spec: { type: 'string', multiple: true },
  from: { type: 'string', default: path.join(ROOT, 'dist') },
  native: { type: 'boolean' },
  plain: { type: 'boolean' },
  tls: { type: 'boolean' },
};

async function main() {
  const { values: options } = parseArgs({ options: OPTIONS });
  const targets = options.target?.map(targetNamed) ?? TARGETS.filter((target) => archive(target, options));
  if (targets.length === 0) fail(`There are no packages in ${options.from}: npm run package`);
  const lines = [];
  for (const target of targets) {
    if (!archive(target, options))
      fail(`There is no package for ${target.name} in ${options.from}: npm run package`);
    const reason = options.native ? undefined : unobtainable(target);
    if (reason && process.env.CI) fail(`${target.name}: ${reason}`);
    if (reason) lines.push(`${target.name}: skipped, ${reason}`);
    else lines.push(...(await testTarget(target, options)));
  }
  console.log(`\n${lines.join('\n')}`);
}

function fail(text) {
  console.error(text);
  process.exit(1);
}

function archive(target, { from }) {
  const file = path.join(from, `${packageOf(target)}-${manifestOf(ROOT).version}.tgz`);
  return fs.existsSync(file) ? file : undefined;
}

/** Runs the suite on a package. Returns lines that say how it went. */
async function testTarget(target, options) {
  const program = options.native ? process.execPath : foreignNode(target);
  const patience = !options.native && isEmulated(target) ? EMULATED : 1;
  const folder = installed(target, options);
  const modes = options.plain ? [false] : options.tls ? [true] : [false, true];
  const lines = [];
  for (const isOverTls of modes) {
    const started = Date.now();
    const title = `${target.name}${isOverTls ? ' over TLS' : ''}`;
    const { passed, failed, skipped } = await suite(program, folder, {
      title,
      isOverTls,
      patience,
      specs: options.spec,
    });
    const seconds = Math.round((Date.now() - started) / 1000);
    lines.push(`${title}: ${passed} passed, ${failed} failed, ${skipped} skipped, ${seconds} s`);
    if (failed > 0 || passed === 0) process.exitCode = 1;
  }
  return lines;
}

// ---- the packages with the specs beside them

/** The main package with the specs, and the platform package and the modules of the specs below it. */
function installed(target, { from }) {
  const folder = path.join(tools.TARGET_FOLDER, 'platforms', target.name);
  const modules = path.join(folder, 'node_modules');
  fs.rmSync(folder, { recursive: true, force: true });
  extract(path.join(from, `uws-rs-${manifestOf(ROOT).version}.tgz`), folder);
  extract(archive(target, { from }), path.join(modules, packageOf(target)));
  fs.cpSync(path.join(ROOT, '__test__'), path.join(folder, '__test__'), {
    recursive: true,
    filter: (name) => !['node_modules', 'build'].includes(path.basename(name)),
  });
  for (const name of fs.readdirSync(path.join(ROOT, 'node_modules')).filter((each) => !each.startsWith('.')))
    fs.symlinkSync(path.join(ROOT, 'node_modules', name), path.join(modules, name));
  return folder;
}

function extract(file, folder) {
  fs.mkdirSync(folder, { recursive: true });
  execFileSync('tar', ['-xzf', path.resolve(file), '-C', folder, '--strip-components=1']);
}

// ---- the suite

async function suite(program, folder, { specs, title, ...how }) {
  const at = path.join(folder, '__test__/conformance');
  const names = fs.readdirSync(at).filter((name) => name.endsWith('.spec.js'));
  const wanted = names.filter((name) => !specs || specs.includes(name.slice(0, -'.spec.js'.length)));
  const total = { passed: 0, failed: 0, skipped: 0 };
  for (const name of wanted) {
    const found = await spec(program, path.join(at, name), how);
    for (const key of Object.keys(total)) total[key] += found[key];
    console.log(`${title}  ${name}: ${found.passed} passed, ${found.failed} failed${found.text}`);
  }
  return total;
}

/** Runs a spec. One that ends without its report counts as a failure. */
async function spec(program, file, { isOverTls, patience }) {
  const env = {
    ...process.env,
    UWS_MODULE: 'ours',
    UWS_PATIENCE: patience,
    PATH: `${path.dirname(program)}:${process.env.PATH}`,
  };
  if (isOverTls) env.UWS_TLS = '1';
  const child = spawn(program, ['--test-reporter=tap', file], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const timer = setTimeout(() => child.kill('SIGKILL'), LIMIT_S * patience * 1000);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (output += data));
  const [code, signal] = await new Promise((resolve) => child.on('close', (...ends) => resolve(ends)));
  clearTimeout(timer);
  const count = (name) => Number(new RegExp(`^# ${name} (\\d+)$`, 'm').exec(output)?.[1] ?? 0);
  const broken = output.match(/^ *not ok .*(?:\n(?!ok|not ok).*){0,14}/gm) ?? [];
  const failed = count('fail') + count('cancelled');
  const crashed = failed === 0 && code !== 0;
  return {
    passed: count('pass'),
    skipped: count('skipped'),
    failed: failed + Number(crashed),
    text: [crashed ? `, ended by ${signal ?? code}\n${output.slice(-1500)}` : '', ...broken]
      .join('\n')
      .trimEnd(),
  };
}

main().catch((error) => fail(error.message));
