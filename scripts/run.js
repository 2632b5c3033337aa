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

/** Runs `npm ci` where the installed packages are older than the lockfile. */
function install(folder) {
  const installed = path.join(folder, 'node_modules', '.package-lock.json');
  if (modified(installed) >= modified(path.join(folder, 'package-lock.json'))) return;
  console.log(`Installing the packages of ${path.relative(ROOT, folder) || 'uws-rs'}`);
  run('npm', ['ci', '--no-audit', '--no-fund'], { cwd: folder });
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
  console.log(`Building the example app ${path.basename(app)}`);
  return attempt('npm', ['run', 'build', '--silent'], { cwd: app });
}

function newestBelow(entry) {
  if (!fs.statSync(entry, { throwIfNoEntry: false })?.isDirectory()) return modified(entry);
  return Math.max(...fs.readdirSync(entry).map((name) => newestBelow(path.join(entry, name))));
}

function modified(file) {
  return fs.statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

module.exports = { EXAMPLE, REALTIME, ROOT, attempt, buildExample, has, install, run };
