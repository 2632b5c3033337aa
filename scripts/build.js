'use strict';

// Builds the addon: `node scripts/build.js [--debug | --checked]`. Cargo decides what there is to do.
// `--checked` is a release build with the assertions of debug builds.
// The result is uws-rs.<platform>-<arch>[-<libc>].node in the root, where index.js looks for it.

const fs = require('node:fs');
const path = require('node:path');
const { spawnSync } = require('node:child_process');
const { target } = require('../lib/binaries.js');
const { optionsOf } = require('./options.js');
const { ROOT, has } = require('./run.js');

const LIBRARY = process.platform === 'darwin' ? 'libuws_rs.dylib' : 'libuws_rs.so';

const addonName = () => `uws-rs.${target()}.node`;

/** The profile of cargo that is asked for; each has a folder of the same name, but for `dev`. */
function profileAskedFor() {
  const { debug, checked } = optionsOf({ debug: 'flag', checked: 'flag' });
  return debug ? 'dev' : checked ? 'checked' : 'release';
}

function build(profile = 'release') {
  if (!has('cargo')) fail(WITHOUT_CARGO);
  const built = path.resolve(ROOT, process.env.CARGO_TARGET_DIR ?? 'target');
  if (!fs.existsSync(path.join(built, profile === 'dev' ? 'debug' : profile)))
    console.log('Compiling the addon: the first time this takes three minutes on two processors');
  replace(compiled(profile), path.join(ROOT, addonName()));
}

/** Runs cargo, and returns the path of the library as it tells it: its configuration may name any folder. */
function compiled(profile) {
  const args = ['build', '--profile', profile, '--message-format=json-render-diagnostics'];
  const stdio = ['inherit', 'pipe', 'inherit'];
  const done = spawnSync('cargo', args, { cwd: ROOT, encoding: 'utf8', maxBuffer: 1 << 28, stdio });
  if (done.error) fail(`cargo: ${done.error.message}`);
  if (done.status !== 0) process.exit(done.status ?? 1);
  const messages = done.stdout.split('\n').filter((line) => line.startsWith('{'));
  const files = messages.flatMap((line) => JSON.parse(line).filenames ?? []);
  const library = files.findLast((file) => path.basename(file) === LIBRARY);
  return library ?? fail(`cargo has built no ${LIBRARY}`);
}

const WITHOUT_CARGO = `There is no cargo, and building the addon takes Rust ${rustVersion()} or newer and a C compiler.
  Rust: https://rustup.rs
  a C compiler: apt-get install build-essential, dnf install gcc, apk add build-base, or xcode-select --install`;

function rustVersion() {
  return /^rust-version = "(.*)"$/m.exec(fs.readFileSync(path.join(ROOT, 'Cargo.toml'), 'utf8'))[1];
}

function fail(text) {
  console.error(text);
  process.exit(1);
}

/** The file is replaced by renaming: a process that has the old one mapped keeps it. */
function replace(from, to) {
  if (fs.existsSync(to) && fs.readFileSync(to).equals(fs.readFileSync(from))) return;
  fs.copyFileSync(from, `${to}.new`);
  fs.renameSync(`${to}.new`, to);
  console.log(`Built ${path.basename(to)}`);
}

module.exports = { addonName, build };

if (require.main === module) build(profileAskedFor());
