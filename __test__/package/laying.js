'use strict';
// Lays out the package as npm will install it: without a binary, which the package of the platform has.

const fs = require('node:fs');
const path = require('node:path');
const { addonName } = require('../../scripts/build');
const { VERSION } = require('../../lib/version');

const ROOT = path.join(__dirname, '..', '..');
/** The name of the binary that was built here. */
const BUILT = addonName();
/** The system, as binaries and packages are named by it. */
const TARGET = BUILT.slice('uws-rs.'.length, -'.node'.length);
/** The name of the package for this platform. */
const PACKAGE = `uws-rs-${TARGET}`;

const addon = () => fs.readFileSync(path.join(ROOT, BUILT));

/** Lays the package into node_modules of `app` and returns its path. */
function layPackage(app) {
  const { files } = require('../../package.json');
  const into = path.join(app, 'node_modules', 'uws-rs');
  for (const name of ['package.json', ...files.filter((each) => each !== '*.node')]) {
    if (!fs.existsSync(path.join(ROOT, name))) continue;
    fs.cpSync(path.join(ROOT, name), path.join(into, name), { recursive: true });
  }
  return into;
}

/** Lays the package of a platform into node_modules of `app`. */
function layBinary(app, { name = PACKAGE, content = addon() } = {}) {
  const into = path.join(app, 'node_modules', name);
  const main = `${name.replace('uws-rs-', 'uws-rs.')}.node`;
  fs.mkdirSync(into, { recursive: true });
  fs.writeFileSync(path.join(into, 'package.json'), JSON.stringify({ name, version: VERSION, main }));
  fs.writeFileSync(path.join(into, main), content);
}

module.exports = { BUILT, PACKAGE, ROOT, TARGET, addon, layBinary, layPackage };
