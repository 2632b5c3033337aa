'use strict';

// The servers that can be compared: modules with the API of uWebSockets.js, other servers with programs of
// their own (servers/peers/), and `raw`, the generator's own server, which only moves bytes. Servers that are
// not installed, or cannot run a trial, are left out with a message.

const { spawnSync } = require('child_process');
const fs = require('fs');
const path = require('path');

const PACKAGES = path.join(__dirname, 'node_modules');

const unofficial = () => {
  const main = require.resolve('@trufflesuite/uws-js-unofficial');
  const name = `uws_${process.platform}_${process.arch}_${process.versions.modules}.node`;
  return path.join(path.dirname(main), '..', 'binaries', name);
};

const modules = {
  ours: () => path.join(__dirname, '..', 'index.js'),
  'uws-20.30': unofficial,
  'uws-20.57': () => process.env.UWS_2057,
};

/** Finds Bun's binary: in the package for this platform, or where that of the launcher has moved it. */
const bun = () => {
  const kinds = process.arch === 'arm64' ? ['aarch64'] : ['x64', 'x64-baseline'];
  const files = [
    ...kinds.map((kind) => path.join(PACKAGES, '@oven', `bun-${process.platform}-${kind}`, 'bin/bun')),
    path.join(PACKAGES, 'bun/bin/bun.exe'),
  ];
  const runs = (file) => fs.existsSync(file) && spawnSync(file, ['--version']).status === 0;
  return files.find(runs) ?? null;
};

/**
 * For each driver: the `programs` that it has, the `options` that they know, and further properties that a
 * trial may require. `load` has the options by which the generator uses its protocol.
 */
const peers = {
  ws: {
    programs: ['ws-echo.js', 'ws-publish.js'],
    options: ['burn', 'block'],
    runtime: () => process.execPath,
  },
  node: {
    programs: ['http.js'],
    options: ['burn', 'block', 'download'],
    runtime: () => process.execPath,
  },
  bun: {
    programs: ['ws-echo.js', 'ws-publish.js', 'http.js'],
    options: ['burn', 'block', 'download'],
    runtime: bun,
  },
  'socket.io': {
    programs: ['ws-echo.js', 'ws-publish.js'],
    options: ['burn', 'block'],
    runtime: () => process.execPath,
    load: { dialect: 'socket.io' },
    textOnly: true,
  },
};

const RAW = 'raw';

const names = [...Object.keys(modules), ...Object.keys(peers), RAW];

let installed;

/** Installs the packages that the peers and tools need, on first use; returns the reason if that fails. */
const packages = () => {
  if (installed !== undefined) return installed;
  const modified = (file) => fs.statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  const lock = path.join(__dirname, 'package-lock.json');
  if (modified(path.join(PACKAGES, '.package-lock.json')) >= modified(lock)) return (installed = null);
  console.error('installing the packages of the benchmark');
  const options = { cwd: __dirname, stdio: ['ignore', 'ignore', 'inherit'] };
  const { status } = spawnSync('npm', ['ci', '--no-audit', '--no-fund', '--ignore-scripts'], options);
  return (installed = status === 0 ? null : 'its packages could not be installed');
};

const ofPeer = (name) => {
  const missing = packages();
  if (missing) return { name, missing };
  const runtime = peers[name].runtime();
  const program = path.join(__dirname, 'servers', 'peers', `${name}.js`);
  return runtime ? { name, ...peers[name], runtime, program } : { name, missing: 'it does not run here' };
};

const ofModule = (name) => {
  try {
    const module = modules[name]();
    if (module && fs.existsSync(module)) return { name, module };
    return {
      name,
      missing: module ? `no file ${path.basename(module)}` : 'its environment variable is not set',
    };
  } catch (error) {
    return { name, missing: error.message.split('\n')[0] };
  }
};

/** Finds a driver by its name, or the reason why it is missing. */
const resolve = (name) => {
  if (name === RAW) return { name, raw: true };
  if (Object.hasOwn(peers, name)) return ofPeer(name);
  if (Object.hasOwn(modules, name)) return ofModule(name);
  throw new Error(`unknown driver ${name}; there are: ${names.join(', ')}`);
};

/** Whether a driver has everything that a trial needs. */
const isAble = (driver, trial) => {
  if (driver.raw) return Boolean(trial.raw);
  if (driver.program) return isPeerAble(driver, trial);
  if (!trial.needs) return true;
  try {
    return trial.needs(require(driver.module));
  } catch {
    // It does not load; the trial reports that.
    return true;
  }
};

const isPeerAble = ({ programs, options, textOnly }, trial) => {
  const [, load = {}] = trial.load ?? [];
  return (
    programs.includes(trial.server) &&
    !trial.onlyModules &&
    !trial.tls &&
    Object.keys(trial.options ?? {}).every((option) => options.includes(option)) &&
    !(textOnly && load.opcode && load.opcode !== 'text')
  );
};

module.exports = { PACKAGES, isAble, packages, resolve };
