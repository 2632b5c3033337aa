'use strict';

// Compiles the addon for a target, checks it, and parts it from its symbols. The bytes depend on the sources
// and on the versions of the tools, not on folders, on the time or on the machine.

const crypto = require('node:crypto');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { execFileSync } = require('node:child_process');
const { offences } = require('./check.js');
const { GLIBC_FLOOR, addonOf } = require('./targets.js');
const tools = require('./tools.js');
const { ROOT } = require('../run.js');

/** Makes the addon and its symbols, `NAME.node` and `NAME.node.debug`, in the folder `into`. */
function compile(target, { into, root = ROOT, targetFolder = tools.TARGET_FOLDER }) {
  const library =
    target.os === 'darwin' ? forMac(target, root, targetFolder) : forLinux(target, root, targetFolder);
  fs.mkdirSync(into, { recursive: true });
  const addon = path.join(into, addonOf(target));
  const symbols = `${addon}.debug`;
  if (target.os === 'darwin') splitOnMac(library, addon, symbols);
  else split(tools.objcopy(target), library, addon, symbols);
  const found = offences(addon, target, [root, targetFolder, tools.FOLDER, cargoHome()]);
  if (found.length) throw new Error(`${addonOf(target)} is not fit to be published: ${found.join('; ')}`);
  return addon;
}

const cargoHome = () => process.env.CARGO_HOME ?? path.join(os.homedir(), '.cargo');

function forLinux(target, root, targetFolder) {
  const { program, zigbuild } = tools.zig();
  const { env, options } = tools.rust(target);
  const floor = target.libc === 'glibc' ? `.${GLIBC_FLOOR}` : '';
  const folders = remapped(target, root, targetFolder, env);
  const flags = [...folders.map(([from, to]) => `--remap-path-prefix=${from}=${to}`), ...flagsOf(target)];
  execFileSync(
    zigbuild,
    ['zigbuild', '--release', '--locked', '--target', `${target.triple}${floor}`, ...options],
    {
      cwd: root,
      stdio: 'inherit',
      env: {
        ...process.env,
        ...env,
        ...compilerFlags(target, folders),
        CARGO_ENCODED_RUSTFLAGS: flags.join('\x1f'),
        CARGO_INCREMENTAL: '0',
        CARGO_TARGET_DIR: targetFolder,
        CARGO_ZIGBUILD_ZIG_PATH: program,
        CARGO_ZIGBUILD_CACHE_DIR: path.join(tools.FOLDER, 'zigbuild-cache'),
        ZIG_GLOBAL_CACHE_DIR: path.join(tools.FOLDER, 'zig-cache'),
      },
    },
  );
  return path.join(targetFolder, target.triple, 'release', target.library);
}

function forMac(target, root, targetFolder) {
  const folders = remapped(target, root, targetFolder, {});
  const flags = folders.map(([from, to]) => `--remap-path-prefix=${from}=${to}`);
  execFileSync('cargo', ['build', '--release', '--locked', '--target', target.triple], {
    cwd: root,
    stdio: 'inherit',
    env: {
      ...process.env,
      ...compilerFlags(target, folders),
      CARGO_ENCODED_RUSTFLAGS: flags.join('\x1f'),
      CARGO_INCREMENTAL: '0',
      CARGO_TARGET_DIR: targetFolder,
      // The oldest macOS that Node 18 and 20 run on.
      MACOSX_DEPLOYMENT_TARGET: '10.15',
      // The linker would number its output by the time.
      ZERO_AR_DATE: '1',
    },
  });
  return path.join(targetFolder, target.triple, 'release', target.library);
}

/** The folders whose names would get into the binary, and the names that they get. The last match wins. */
function remapped(target, root, targetFolder, env) {
  const rustc = env.RUSTC ?? 'rustc';
  const sysroot = execFileSync(rustc, ['--print', 'sysroot'], { encoding: 'utf8' }).trim();
  return [
    [cargoHome(), '/cargo'],
    [path.join(sysroot, 'lib/rustlib/src/rust'), '/rust'],
    [sysroot, '/rust'],
    [root, '/uws-rs'],
    [targetFolder, '/target'],
  ];
}

/** A library for musl is loaded into a Node that has musl's libc already: it must not bring its own. */
function flagsOf({ libc }) {
  return libc === 'musl' ? ['-Ctarget-feature=-crt-static'] : [];
}

/** C that is compiled along: the cryptography. Its flags are one text, which is parted at spaces. */
function compilerFlags({ triple }, folders) {
  const spaced = folders.map(([from]) => from).find((folder) => /\s/.test(folder));
  if (spaced !== undefined)
    throw new Error(`A folder with a space in its name cannot be left out of the binary: ${spaced}`);
  const flags = folders.map(([from, to]) => `-ffile-prefix-map=${from}=${to}`).join(' ');
  return { [`CFLAGS_${triple.replaceAll('-', '_')}`]: flags };
}

/**
 * Debuggers know the symbols of a binary by an identifier in both. It is made from the binary alone: the
 * checksum of a `.gnu_debuglink` would bring the names of folders, which are in the symbols, into the binary.
 */
function split(objcopy, library, addon, symbols) {
  execFileSync(objcopy, ['--strip-all', library, addon]);
  execFileSync(objcopy, ['--only-keep-debug', library, symbols]);
  fs.chmodSync(symbols, 0o644);
  const identifier = crypto.createHash('sha1').update(fs.readFileSync(addon)).digest();
  const note = `${addon}.note`;
  fs.writeFileSync(note, buildId(identifier));
  for (const file of [addon, symbols])
    execFileSync(objcopy, [`--add-section=.note.gnu.build-id=${note}`, file]);
  fs.rmSync(note);
}

/** A note of ELF: the lengths of its name and its content, its type, and both. */
function buildId(identifier) {
  const NT_GNU_BUILD_ID = 3;
  const head = Buffer.alloc(12);
  [4, identifier.length, NT_GNU_BUILD_ID].forEach((value, index) => head.writeUInt32LE(value, index * 4));
  return Buffer.concat([head, Buffer.from('GNU\0'), identifier]);
}

function splitOnMac(library, addon, symbols) {
  fs.rmSync(symbols, { recursive: true, force: true });
  execFileSync('dsymutil', ['--flat', '-o', symbols, library]);
  execFileSync('strip', ['-x', '-o', addon, library]);
}

module.exports = { compile, compilerFlags, split };
