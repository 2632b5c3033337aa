'use strict';

// The platforms that packages are made for. The loader, lib/binaries.js, knows the same names.

const { addonName } = require('../build.js');

/** The oldest glibc that the binaries run on: that of CentOS 7 and Amazon Linux 2. */
const GLIBC_FLOOR = '2.17';

const TARGETS = [
  linux('x64', 'gnu', 'x86_64'),
  linux('x64', 'musl', 'x86_64'),
  linux('arm64', 'gnu', 'aarch64'),
  linux('arm64', 'musl', 'aarch64'),
  darwin('x64', 'x86_64'),
  darwin('arm64', 'aarch64'),
];

function linux(cpu, libc, machine) {
  return {
    name: `linux-${cpu}-${libc}`,
    title: `Linux on ${cpu}, with ${libc === 'gnu' ? `glibc ${GLIBC_FLOOR} or newer` : 'musl'}`,
    os: 'linux',
    cpu,
    libc: libc === 'gnu' ? 'glibc' : 'musl',
    triple: `${machine}-unknown-linux-${libc}`,
    library: 'libuws_rs.so',
  };
}

function darwin(cpu, machine) {
  const triple = `${machine}-apple-darwin`;
  return {
    name: `darwin-${cpu}`,
    title: `macOS on ${cpu}`,
    os: 'darwin',
    cpu,
    triple,
    library: 'libuws_rs.dylib',
  };
}

const packageOf = ({ name }) => `uws-rs-${name}`;
const addonOf = ({ name }) => `uws-rs.${name}.node`;
/** The target of the machine that this runs on; undefined where we make no package for it. */
const host = () => TARGETS.find((target) => addonOf(target) === addonName());

function targetNamed(name) {
  const found = TARGETS.find((target) => target.name === name);
  if (found) return found;
  throw new Error(`There is no target ${name}: ${TARGETS.map((target) => target.name).join(', ')}`);
}

module.exports = { GLIBC_FLOOR, TARGETS, addonOf, host, packageOf, targetNamed };
