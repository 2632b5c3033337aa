'use strict';

// The tools that the binaries are built with: which are there, how to get the others, and what they need in
// their environment. `--install-tools` puts them into a folder below Cargo's.

const fs = require('node:fs');
const path = require('node:path');
const { execFileSync } = require('node:child_process');
const { Debian, unavailable } = require('./debian.js');
const { ROOT, has, run } = require('../run.js');

const TARGET_FOLDER = path.resolve(ROOT, process.env.CARGO_TARGET_DIR ?? 'target');
const FOLDER = path.join(TARGET_FOLDER, 'tools');
const PYTHON = path.join(FOLDER, 'python');
const REQUIREMENTS = path.join(__dirname, 'requirements.txt');

const debian = new Debian(path.join(FOLDER, 'debian'));

// ---- zig, the linker and C compiler for Linux

/** The programs zig and cargo-zigbuild: those that we have installed, or those of the system. */
function zig() {
  const ours = path.join(PYTHON, 'ziglang', 'zig');
  if (fs.existsSync(ours)) return { program: ours, zigbuild: path.join(PYTHON, 'bin', 'cargo-zigbuild') };
  if (has('zig', ['version']) && has('cargo-zigbuild')) return { program: 'zig', zigbuild: 'cargo-zigbuild' };
  return undefined;
}

/** The arguments for pip to get wheels alone, whose checksums are in the file of requirements. */
function pip(command, requirements, ...options) {
  const strict = ['--no-deps', '--require-hashes', '--only-binary', ':all:'];
  return [
    '-m',
    'pip',
    command,
    '--quiet',
    '--disable-pip-version-check',
    ...strict,
    ...options,
    '--requirement',
    requirements,
  ];
}

function installZig() {
  if (zig()) return;
  console.log('Installing zig and cargo-zigbuild from PyPI, 100 MB');
  fs.rmSync(PYTHON, { recursive: true, force: true });
  run('python3', pip('install', REQUIREMENTS, '--target', PYTHON));
}

// ---- Rust with the standard library of the target

/** Debian's Rust, whose version is part of the names of its packages, and the libraries of its LLVM. */
const RUST = {
  name: 'rust-1.96',
  packages: [
    ...of('bookworm-security', 'rustc-web', 'libstd-rust-web-1.96', 'libstd-rust-web-dev'),
    ...of('bookworm-security', 'libstd-rust-web-dev:arm64', 'rust-web-src', 'libllvm22'),
    ...of('bookworm', 'libedit2', 'libbsd0', 'libmd0', 'libz3-4', 'libgmp10', 'libxml2', 'libicu72'),
  ],
};

function of(suite, ...names) {
  return names.map((name) => `${name}/${suite}`);
}

const debianRust = () => path.join(FOLDER, 'debian', RUST.name);

function hasStandardLibrary(triple, env = {}) {
  const rustc = env.RUSTC ?? 'rustc';
  try {
    const folder = execFileSync(rustc, ['--print', 'target-libdir', '--target', triple], {
      encoding: 'utf8',
    });
    return fs.readdirSync(folder.trim()).some((name) => name.startsWith('libstd-'));
  } catch {
    return false;
  }
}

/**
 * The environment and the options with which cargo compiles for a target: nothing where the installed Rust
 * has the standard library for it, else Debian's Rust. That lacks the library for musl, which then is
 * compiled along. Undefined where there is none.
 */
function rust({ triple }) {
  if (hasStandardLibrary(triple)) return { env: {}, options: [] };
  if (!fs.existsSync(debianRust())) return undefined;
  const env = { RUSTC: rustcOfDebian() };
  if (hasStandardLibrary(triple, env)) return { env, options: [] };
  return { env: { ...env, RUSTC_BOOTSTRAP: '1' }, options: ['-Zbuild-std=std,panic_unwind'] };
}

/** A text as one word of a shell. */
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** A program that starts Debian's rustc with the libraries that belong to it. */
function rustcOfDebian() {
  const file = path.join(FOLDER, 'rustc');
  const libraries = path.join(debianRust(), 'usr/lib/x86_64-linux-gnu');
  const program = path.join(debianRust(), 'usr/bin/rustc');
  const text = `#!/bin/sh\nLD_LIBRARY_PATH=${quoted(libraries)} exec ${quoted(program)} "$@"\n`;
  if (!fs.existsSync(file) || fs.readFileSync(file, 'utf8') !== text)
    fs.writeFileSync(file, text, { mode: 0o755 });
  return file;
}

/** The toolchain of rustup is left as it is, because other projects use it. */
function installRust({ triple }) {
  if (hasStandardLibrary(triple)) return;
  const reason = process.arch === 'x64' ? unavailable() : 'its packages are used on x64 alone';
  if (!reason) return debian.unpack(RUST.name, RUST.packages);
  throw new Error(
    `There is no standard library of Rust for ${triple}: rustup target add ${triple}. None from Debian: ${reason}`,
  );
}

// ---- objcopy, which parts a binary from its symbols

/** A program that can do it for the target: that of LLVM knows all processors, that of GNU mostly its own. */
function objcopy({ cpu }) {
  if (has('llvm-objcopy')) return 'llvm-objcopy';
  return cpu === process.arch && has('objcopy') ? 'objcopy' : undefined;
}

// ---- for a target

/** The tools that are missing to build for a target, and how to get each. */
function missing(target) {
  if (target.os === 'darwin') {
    if (process.platform !== 'darwin') return ['macOS: its tools may be used there alone'];
    return hasStandardLibrary(target.triple) ? [] : [`rustup target add ${target.triple}`];
  }
  if (process.platform !== 'linux') return ['Linux'];
  const found = [];
  if (!zig()) found.push('zig and cargo-zigbuild: pip install ziglang cargo-zigbuild, or --install-tools');
  if (!rust(target)) found.push(`Rust for it: rustup target add ${target.triple}, or --install-tools`);
  if (!objcopy(target)) found.push('llvm-objcopy: apt-get install llvm');
  return found;
}

function install(target) {
  if (target.os !== 'linux' || process.platform !== 'linux') return;
  fs.mkdirSync(FOLDER, { recursive: true });
  installZig();
  installRust(target);
}

module.exports = { FOLDER, TARGET_FOLDER, debian, install, missing, objcopy, pip, quoted, rust, zig };
