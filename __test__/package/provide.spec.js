'use strict';
// `npm start` without Rust: an addon that is there, or a package in dist/, does as well.

const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { execFileSync, spawnSync } = require('node:child_process');
const { it } = require('node:test');
const { addonName } = require('../../scripts/build');

const ROOT = path.join(__dirname, '..', '..');
const ADDON = addonName();

/** A tree with the scripts and without an addon, and a PATH on which there is tar, but no cargo. */
function fresh(t) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'uws-rs-provide-'));
  t.after(() => {
    execFileSync('chmod', ['-R', 'u+w', folder]);
    fs.rmSync(folder, { recursive: true });
  });
  for (const name of ['package.json', 'Cargo.toml', 'lib', 'scripts'])
    fs.cpSync(path.join(ROOT, name), path.join(folder, name), { recursive: true });
  fs.mkdirSync(path.join(folder, 'bin'));
  for (const tool of ['tar', 'gzip']) {
    const found = execFileSync('sh', ['-c', `command -v ${tool}`], { encoding: 'utf8' }).trim();
    fs.symlinkSync(found, path.join(folder, 'bin', tool));
  }
  return folder;
}

function provide(folder, program = `require('./scripts/provide.js').provideAddon()`, user = {}) {
  const env = { PATH: path.join(folder, 'bin') };
  return spawnSync(process.execPath, ['-e', program], { cwd: folder, env, encoding: 'utf8', ...user });
}

/** Takes the right to write from the folder; root has it anywhere, and goes on as another user. */
function readOnly(folder) {
  execFileSync('chmod', ['-R', 'a+rX,a-w', folder]);
  return process.getuid() === 0 ? { uid: 65534, gid: 65534 } : {};
}

it('without cargo and without an addon the error says how to get both', (t) => {
  const { status, stderr } = provide(fresh(t));
  assert.equal(status, 1);
  assert.match(stderr, /no cargo.*Rust 1\.\d+ or newer and a C compiler/);
  assert.match(stderr, /rustup\.rs/);
});

/** Adds a cargo that prints these lines, as that of a user whose configuration names a folder of its own. */
function withCargo(folder, lines) {
  const text = lines.map((line) => JSON.stringify(line)).join('\n');
  const program = `#!/bin/sh\n[ "$1" = --version ] || cat <<'END'\n${text}\nEND\n`;
  fs.writeFileSync(path.join(folder, 'bin', 'cargo'), program, { mode: 0o755 });
  fs.symlinkSync('/bin/cat', path.join(folder, 'bin', 'cat'));
}

it('the addon is taken from where cargo has put it', (t) => {
  const folder = fresh(t);
  const library = process.platform === 'darwin' ? 'libuws_rs.dylib' : 'libuws_rs.so';
  for (const [at, content] of [
    ['target/release', 'stale'],
    ['a b/x86_64/release', 'new'],
  ]) {
    fs.mkdirSync(path.join(folder, at), { recursive: true });
    fs.writeFileSync(path.join(folder, at, library), content);
  }
  const filenames = [library, 'libuws_rs.rlib'].map((name) => path.join(folder, 'a b/x86_64/release', name));
  withCargo(folder, [
    { reason: 'compiler-artifact', filenames: [path.join(folder, 'libother.so')] },
    { reason: 'compiler-artifact', filenames },
    { reason: 'build-finished', success: true },
  ]);
  const { status, stdout, stderr } = provide(folder);
  assert.equal(status, 0, stderr);
  assert.equal(stdout, `Built ${ADDON}\n`);
  assert.equal(fs.readFileSync(path.join(folder, ADDON), 'utf8'), 'new');
});

it('a cargo that builds no addon is an error', (t) => {
  const folder = fresh(t);
  withCargo(folder, [{ reason: 'build-finished', success: true }]);
  const { status, stderr } = provide(folder);
  assert.deepEqual([status, fs.existsSync(path.join(folder, ADDON))], [1, false]);
  assert.match(stderr, /^cargo has built no libuws_rs\./);
});

it('without cargo an addon that was built before is used', (t) => {
  const folder = fresh(t);
  fs.writeFileSync(path.join(folder, ADDON), 'built before');
  const { status, stdout, stderr } = provide(folder);
  assert.equal(status, 0, stderr);
  assert.match(stdout, /built before is used/);
  assert.equal(fs.readFileSync(path.join(folder, ADDON), 'utf8'), 'built before');
});

it('without cargo the package of this platform in dist/ is used', (t) => {
  const folder = fresh(t);
  const { version } = require('../../package.json');
  const name = `uws-rs-${ADDON.slice('uws-rs.'.length, -'.node'.length)}-${version}.tgz`;
  fs.mkdirSync(path.join(folder, 'dist', 'package'), { recursive: true });
  fs.writeFileSync(path.join(folder, 'dist', 'package', ADDON), 'packed');
  execFileSync('tar', ['-czf', name, 'package'], { cwd: path.join(folder, 'dist') });
  const { status, stdout, stderr } = provide(folder);
  assert.equal(status, 0, stderr);
  assert.ok(stdout.includes(name), stdout);
  assert.equal(fs.readFileSync(path.join(folder, ADDON), 'utf8'), 'packed');
});

it('a read-only checkout is used as it is where everything is built, and says so otherwise', (t) => {
  const folder = fresh(t);
  const example = path.join(folder, 'examples', 'realtime');
  fs.mkdirSync(example, { recursive: true });
  fs.writeFileSync(path.join(example, 'package-lock.json'), '{}');

  let user = readOnly(folder);
  for (const program of [
    undefined,
    `const { REALTIME, install } = require('./scripts/run.js'); install(REALTIME)`,
  ]) {
    const { status, stderr } = provide(folder, program, user);
    assert.equal(status, 1);
    assert.match(stderr, /cannot be written/);
  }
  execFileSync('chmod', ['-R', 'u+w', folder]);
  fs.writeFileSync(path.join(folder, ADDON), 'built before');
  user = readOnly(folder);
  const { status, stderr } = provide(folder, undefined, user);
  assert.equal(status, 0, stderr);
});

it('a package that is damaged leaves nothing behind', (t) => {
  const folder = fresh(t);
  const { version } = require('../../package.json');
  const name = `uws-rs-${ADDON.slice('uws-rs.'.length, -'.node'.length)}-${version}.tgz`;
  const dist = path.join(folder, 'dist');
  fs.mkdirSync(path.join(dist, 'package'), { recursive: true });
  fs.writeFileSync(path.join(dist, 'package', ADDON), crypto.randomBytes(1 << 20));
  execFileSync('tar', ['-czf', name, 'package'], { cwd: dist });
  fs.truncateSync(path.join(dist, name), 1 << 19);
  const before = fs.readdirSync(folder);
  for (let i = 0; i < 2; i++) {
    const { status, stderr } = provide(folder);
    assert.notEqual(status, 0);
    assert.match(stderr, /is damaged/);
    assert.deepEqual(fs.readdirSync(folder), before);
  }
});
