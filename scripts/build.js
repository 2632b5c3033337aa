'use strict';

// Builds the addon: `node scripts/build.js [--debug | --checked]`. Cargo decides what there is to do.
// `--checked` is a release build with the assertions of debug builds.
// The result is uws-rs.<platform>-<arch>[-<libc>].node in the root, where index.js looks for it.

const fs = require('node:fs');
const path = require('node:path');
const { ROOT, has, run } = require('./run.js');

const LIBRARY = process.platform === 'darwin' ? 'libuws_rs.dylib' : 'libuws_rs.so';

function addonName() {
  const parts = [process.platform, process.arch];
  if (process.platform === 'linux') {
    parts.push(process.report.getReport().header.glibcVersionRuntime ? 'gnu' : 'musl');
  }
  return `uws-rs.${parts.join('-')}.node`;
}

/** Cargo's profiles by the option that asks for them; each has a folder of the same name, but for `dev`. */
const PROFILES = { '--debug': 'dev', '--checked': 'checked' };

function profileAskedFor() {
  const option = Object.keys(PROFILES).find((each) => process.argv.includes(each));
  return PROFILES[option] ?? 'release';
}

function build(profile = profileAskedFor()) {
  if (!has('cargo')) {
    console.error('Building the addon takes Rust: install it from https://rustup.rs and try again.');
    process.exit(1);
  }
  run('cargo', ['build', '--profile', profile]);
  const target = path.resolve(ROOT, process.env.CARGO_TARGET_DIR ?? 'target');
  const folder = profile === 'dev' ? 'debug' : profile;
  replace(path.join(target, folder, LIBRARY), path.join(ROOT, addonName()));
}

/** The file is replaced by renaming: a process that has the old one mapped keeps it. */
function replace(from, to) {
  if (fs.existsSync(to) && fs.readFileSync(to).equals(fs.readFileSync(from))) return;
  fs.copyFileSync(from, `${to}.new`);
  fs.renameSync(`${to}.new`, to);
  console.log(`Built ${path.basename(to)}`);
}

module.exports = { addonName, build };

if (require.main === module) build();
