'use strict';
// The addon under AddressSanitizer: how it is built, and how Node runs with it.

const fs = require('node:fs');
const path = require('node:path');
const { execFileSync } = require('node:child_process');
const { ROOT, run } = require('../../scripts/run.js');
const { addonName } = require('../../scripts/build.js');

const TARGET = 'x86_64-unknown-linux-gnu';

/**
 * Builds into a target folder of its own. `--target` keeps the flags from build scripts. The module is a copy
 * of `lib/` with that addon beside it.
 */
function build() {
  const folder = path.resolve(ROOT, process.env.ASAN_TARGET_DIR ?? 'target/asan');
  run('cargo', ['build', '--profile', 'checked', '--target', TARGET], {
    env: { RUSTC_BOOTSTRAP: '1', RUSTFLAGS: '-Zsanitizer=address', CARGO_TARGET_DIR: folder },
  });
  const module_ = path.join(folder, 'module');
  fs.mkdirSync(module_, { recursive: true });
  for (const name of ['index.js', 'index.mjs', 'package.json', 'lib']) {
    fs.cpSync(path.join(ROOT, name), path.join(module_, name), { recursive: true });
  }
  fs.copyFileSync(path.join(folder, TARGET, 'checked', 'libuws_rs.so'), path.join(module_, addonName()));
  return module_;
}

/** The runtime that goes with gcc: that of rustc is for executables alone. */
function runtime() {
  return execFileSync('gcc', ['-print-file-name=libasan.so'], { encoding: 'utf8' }).trim();
}

function setting() {
  const module_ = process.env.ASAN_MODULE ?? build();
  return {
    name: 'asan',
    patience: 3,
    env: {
      API_FUZZ_MODULE: module_,
      LD_PRELOAD: runtime(),
      ASAN_OPTIONS:
        'detect_leaks=0:abort_on_error=1:allocator_may_return_null=1:detect_stack_use_after_return=0',
    },
  };
}

module.exports = { setting };
