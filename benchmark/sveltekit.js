'use strict';

// Builds the SvelteKit app of the benchmark (sveltekit/) with the packages of the example app, on first use.

const { spawnSync } = require('child_process');
const fs = require('fs');
const path = require('path');

const APP = path.join(__dirname, 'sveltekit');
const EXAMPLE = path.join(__dirname, '..', 'examples', 'sveltekit');
const BUILD = path.join(APP, 'build');
const SOURCES = ['src', 'static', 'svelte.config.js', 'vite.config.js'];

const newest = (entry) => {
  const { mtimeMs } = fs.statSync(entry);
  if (!fs.statSync(entry).isDirectory()) return mtimeMs;
  return Math.max(mtimeMs, ...fs.readdirSync(entry).map((name) => newest(path.join(entry, name))));
};

const run = (command, args, cwd) => {
  const { status, stderr } = spawnSync(command, args, { cwd, encoding: 'utf8' });
  if (status !== 0) throw new Error(`${path.basename(command)} ${args[0]} failed: ${stderr}`);
};

/** Returns the folder of the adapter's output. */
const build = () => {
  const sources = Math.max(...SOURCES.map((name) => newest(path.join(APP, name))));
  const built = fs.statSync(path.join(BUILD, 'index.js'), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  if (built > sources) return BUILD;
  console.error('building the SvelteKit app of the benchmark');
  const packages = path.join(EXAMPLE, 'node_modules');
  if (!fs.existsSync(packages)) run('npm', ['ci', '--no-audit', '--no-fund'], EXAMPLE);
  const link = path.join(APP, 'node_modules');
  if (!fs.existsSync(link)) fs.symlinkSync(packages, link);
  run(process.execPath, [path.join(packages, 'vite', 'bin', 'vite.js'), 'build'], APP);
  return BUILD;
};

module.exports = { build };
