'use strict';

// The apps under test, built once for all specs: examples/realtime, and ../fixture for features that a
// made-up page shows better.
//
//   STACK_ADAPTER, STACK_REALTIME, STACK_EXTENSIONS   a version, archive or folder of svelte-adapter-uws,
//                                                     svelte-realtime and svelte-adapter-uws-extensions
//
// Without them the app is built in its place, as `npm start` does; with one, in a copy under ../build.

const fs = require('node:fs');
const path = require('node:path');
const { createHash } = require('node:crypto');
const { copyApp, copySources } = require('../../../scripts/copy.js');
const { ROOT, buildApp, install } = require('../../../scripts/run.js');

const REALTIME = path.join(ROOT, 'examples', 'realtime');
const FIXTURE = path.join(__dirname, '..', 'fixture');
const COMPATIBILITY = path.join('src', 'lib', 'compat');
const PACKAGES = Object.fromEntries(
  [
    ['svelte-adapter-uws', process.env.STACK_ADAPTER],
    ['svelte-realtime', process.env.STACK_REALTIME],
    ['svelte-adapter-uws-extensions', process.env.STACK_EXTENSIONS],
  ].filter(([, wanted]) => wanted),
);
const chosen = Object.keys(PACKAGES).length > 0;
const SET = chosen ? digest(JSON.stringify(PACKAGES)) : 'registry';
const PLACE = path.join(__dirname, '..', 'build', SET);

/** The folders of the apps: `build/index.js` in each is the server. */
const apps = {
  realtime: chosen ? path.join(PLACE, 'realtime') : REALTIME,
  fixture: path.join(PLACE, 'fixture'),
};

/** Builds the apps that have changed since their last build, and returns the exit code. */
function buildAll() {
  return buildRealtime() || buildFixture();
}

function buildRealtime() {
  if (!chosen) install(REALTIME);
  else if (outdated(path.join(apps.realtime, 'node_modules', '.package-lock.json'), [REALTIME])) {
    fs.rmSync(apps.realtime, { recursive: true, force: true });
    fs.mkdirSync(apps.realtime, { recursive: true });
    console.log(`Installing the app with ${Object.keys(PACKAGES).join(', ')}`);
    copyApp(REALTIME, apps.realtime, PACKAGES);
  }
  return buildIfOutdated(apps.realtime, [REALTIME]);
}

function buildFixture() {
  const sources = [
    FIXTURE,
    path.join(REALTIME, COMPATIBILITY),
    path.join(apps.realtime, 'node_modules', '.package-lock.json'),
  ];
  if (!outdated(path.join(apps.fixture, 'build', 'index.js'), sources)) return 0;
  borrowFixture(apps.fixture);
  return buildIfOutdated(apps.fixture, sources);
}

function buildIfOutdated(folder, sources) {
  if (!outdated(path.join(folder, 'build', 'index.js'), sources)) return 0;
  console.log(`Building ${path.relative(ROOT, folder)}`);
  return buildApp(folder);
}

/** The fixture has no packages of its own: it uses the app's, and the app's compatibility module. */
function borrowFixture(folder) {
  borrow(FIXTURE, folder);
  fs.cpSync(path.join(REALTIME, COMPATIBILITY), path.join(folder, COMPATIBILITY), { recursive: true });
}

/** Copies sources to a folder where they find the packages of the app. */
function borrow(source, folder) {
  fs.rmSync(folder, { recursive: true, force: true });
  fs.mkdirSync(path.dirname(folder), { recursive: true });
  copySources(source, folder);
  fs.symlinkSync(path.join(apps.realtime, 'node_modules'), path.join(folder, 'node_modules'), 'dir');
}

/** Returns the version of a package installed with the app, for behaviour that differs by release. */
function versionOf(name) {
  const manifest = path.join(apps.realtime, 'node_modules', name, 'package.json');
  return JSON.parse(fs.readFileSync(manifest, 'utf8')).version;
}

/** Whether the installed release is at least this one. */
function since(name, wanted) {
  const [left, right] = [versionOf(name), wanted].map((text) => text.split('.').map(Number));
  const at = left.findIndex((number, index) => number !== right[index]);
  return at < 0 || left[at] > right[at];
}

const MADE = ['node_modules', 'build', '.svelte-kit', '.data', '$types.d.ts'];

function outdated(result, sources) {
  return modified(result) <= Math.max(...sources.map(newest));
}

function newest(entry) {
  if (MADE.includes(path.basename(entry))) return 0;
  const stats = fs.statSync(entry, { throwIfNoEntry: false });
  if (!stats?.isDirectory()) return stats?.mtimeMs ?? 0;
  return Math.max(0, ...fs.readdirSync(entry).map((name) => newest(path.join(entry, name))));
}

function modified(file) {
  return fs.statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

function digest(text) {
  return createHash('sha256').update(text).digest('hex').slice(0, 12);
}

module.exports = { PLACE, REALTIME, apps, borrow, borrowFixture, buildAll, chosen, since, versionOf };
