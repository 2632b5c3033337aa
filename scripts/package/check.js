'use strict';

// Whether a binary for Linux runs wherever its package is installed: it asks for no newer glibc than the
// oldest that we promise, for no library that a bare system lacks, and names no folder of the machine that
// built it.

const fs = require('node:fs');
const os = require('node:os');
const { readElf } = require('./elf.js');
const { GLIBC_FLOOR } = require('./targets.js');

/** The libraries of the C library itself. */
const OF_GLIBC = /^(lib(c|m|dl|rt|pthread|util)\.so\.\d+|ld-linux.*\.so\.\d+)$/;
const OF_MUSL = /^(libc\.so|libc\.musl-.*\.so\.1)$/;

/** The faults of the binary for its target, a sentence each. `folders` are not to be found in it. */
function offences(file, target, folders = []) {
  if (target.os !== 'linux') return named(file, folders);
  const { cpu, needed, versions, defined } = readElf(file);
  const allowed = target.libc === 'musl' ? OF_MUSL : OF_GLIBC;
  const found = [];
  if (cpu !== target.cpu) found.push(`it is for ${cpu ?? 'another processor'}, not for ${target.cpu}`);
  for (const name of needed.filter((name) => !allowed.test(name))) found.push(`it needs ${name}`);
  for (const name of versions.filter((name) => !isOldEnough(name, target)))
    found.push(`it needs ${name}${target.libc === 'musl' ? '' : `, newer than GLIBC_${GLIBC_FLOOR}`}`);
  if (!defined.includes('napi_register_module_v1')) found.push('it is no addon of Node-API');
  return [...found, ...named(file, folders)];
}

/** Musl has no versions of symbols, so that any is of another library. */
function isOldEnough(version, { libc }) {
  if (libc === 'musl') return false;
  const [, major, minor, patch = 0] = /^GLIBC_(\d+)\.(\d+)(?:\.(\d+))?$/.exec(version) ?? [];
  const [floorMajor, floorMinor] = GLIBC_FLOOR.split('.').map(Number);
  if (Number(major) !== floorMajor) return Number(major) < floorMajor;
  return Number(minor) < floorMinor || (Number(minor) === floorMinor && Number(patch) === 0);
}

function named(file, folders) {
  const bytes = fs.readFileSync(file);
  const within = [...folders, os.homedir()].filter(
    (folder) => folder.length > 1 && bytes.includes(`${folder}/`),
  );
  return within.map((folder) => `it names ${folder}, a folder of the machine that built it`);
}

module.exports = { offences };
