'use strict';

// Functions that the scripts share. They run in a fresh clone, before anything is installed, so they use Node
// alone.

const fs = require('node:fs');
const path = require('node:path');
const { spawnSync } = require('node:child_process');

const ROOT = path.join(__dirname, '..');
const EXAMPLE = path.join(ROOT, 'examples', 'sveltekit');
const REALTIME = path.join(ROOT, 'examples', 'realtime');

/** Runs a command with our output; ends this process if it fails. */
function run(command, args, options = {}) {
  const code = attempt(command, args, options);
  if (code !== 0) process.exit(code);
}

/** Runs a command with our output and returns its exit code. */
function attempt(command, args, { cwd = ROOT, env = {} } = {}) {
  const done = spawnSync(command, args, {
    cwd,
    env: { ...process.env, ...env },
    stdio: 'inherit',
  });
  if (done.error) console.error(`${command}: ${done.error.message}`);
  return done.status ?? 1;
}

function has(command, args = ['--version']) {
  return spawnSync(command, args, { stdio: 'ignore' }).status === 0;
}

/**
 * Runs `npm ci` where the installed packages are older than the lockfile. Its warnings are about versions and
 * scripts that the tests have shown to do.
 */
function install(folder) {
  const installed = path.join(folder, 'node_modules', '.package-lock.json');
  if (modified(installed) >= modified(path.join(folder, 'package-lock.json'))) return;
  mustBeWritable(folder);
  console.log(`Installing the packages of ${path.relative(ROOT, folder) || 'uws-rs'}`);
  run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: folder });
}

/**
 * The names that have one of the wanted parts in them; all, where none is wanted. A part that none has ends
 * this process: to run nothing would pass for a success, and `node --test` without files runs what it finds.
 */
function matching(names, wanted) {
  const unknown = wanted.filter((part) => !names.some((name) => name.includes(part)));
  if (unknown.length > 0) {
    console.error(`There is no ${unknown.join(', ')}; there are ${names.join(', ')}`);
    process.exit(2);
  }
  return names.filter((name) => wanted.length === 0 || wanted.some((part) => name.includes(part)));
}

function isWritable(folder) {
  try {
    fs.accessSync(folder, fs.constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** Ends this process where the checkout cannot be written, and says so. */
function mustBeWritable(folder) {
  if (isWritable(folder)) return;
  console.error(
    `${folder} cannot be written, and what is built is put there: take a copy of the checkout, or one of your own.`,
  );
  process.exit(1);
}

const UNREACHABLE =
  /\b(E?AI_AGAIN|ENOTFOUND|ECONNREFUSED|ECONNRESET|ENETUNREACH|EHOSTUNREACH|E\w*TIMEDOUT|ENOTCACHED)\b/;

/**
 * Runs `npm ci` for tests that want more than the others, or `npm install`, which goes on without an optional
 * package that the registry does not have. Returns nothing where the packages are there, otherwise the exit
 * code or, as text, the reason. On a machine without a network their absence is no failure, in CI it is.
 */
function installIfReachable(folder, wanted, command = 'ci') {
  const installed = modified(path.join(folder, 'node_modules', '.package-lock.json'));
  if (installed > 0 && installed >= modified(path.join(folder, 'package-lock.json'))) return undefined;
  console.log(`Installing ${wanted}`);
  const args = [command, '--prefer-offline', '--loglevel=error', '--fetch-retries=1', '--no-save'];
  const done = spawnSync('npm', args, { cwd: folder, encoding: 'utf8' });
  if (done.status === 0) return undefined;
  const said = `${done.stdout}${done.stderr}${done.error?.message ?? ''}`;
  if (UNREACHABLE.test(said) && !process.env.CI)
    return `the registry is not reachable, and these are not installed: ${wanted}`;
  console.error(said);
  return 1;
}

const APP_SOURCES = [
  'src',
  'static/favicon.svg',
  'scripts',
  'package-lock.json',
  'svelte.config.js',
  'vite.config.js',
  'vite.config.ts',
];

/**
 * Builds an example app where it, or the packages it is built with, has changed since, and returns the exit
 * code.
 */
function buildExample(app = EXAMPLE) {
  const newest = Math.max(...APP_SOURCES.map((name) => newestBelow(path.join(app, name))));
  if (modified(path.join(app, 'build', 'index.js')) > newest) return 0;
  mustBeWritable(app);
  console.log(`Building the example app ${path.basename(app)}`);
  return buildApp(app);
}

/** Builds a SvelteKit app. The output, a list of all assets, is shown where that fails. */
function buildApp(folder) {
  const done = spawnSync('npm', ['run', 'build', '--silent'], { cwd: folder, encoding: 'utf8' });
  if (done.status !== 0) console.error(`${done.stdout}${done.stderr}${done.error?.message ?? ''}`);
  return done.status ?? 1;
}

function newestBelow(entry) {
  if (!fs.statSync(entry, { throwIfNoEntry: false })?.isDirectory()) return modified(entry);
  return Math.max(...fs.readdirSync(entry).map((name) => newestBelow(path.join(entry, name))));
}

function modified(file) {
  return fs.statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

module.exports = {
  EXAMPLE,
  REALTIME,
  ROOT,
  attempt,
  buildApp,
  buildExample,
  has,
  install,
  installIfReachable,
  isWritable,
  matching,
  mustBeWritable,
  run,
};
