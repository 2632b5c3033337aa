'use strict';
// The modules whose members and types are compared: this one, and the originals that are available.

const fs = require('node:fs');
const path = require('node:path');
const { execFileSync } = require('node:child_process');

const ROOT = path.join(__dirname, '../..');
const unofficial = path.join(require.resolve('@trufflesuite/uws-js-unofficial'), '../..');
const binary = `uws_${process.platform}_${process.arch}_${process.versions.modules}.node`;
const v57 = process.env.UWS_2057;

const PEERS = {
  '20.30': {
    module: path.join(unofficial, 'binaries', binary),
    types: path.join(unofficial, 'docs/index.d.ts'),
  },
  20.57: { module: v57, types: v57 && path.join(v57, '../index.d.ts') },
};

/** Returns why the file is missing; false when it exists. */
function missing(file) {
  if (!file) return 'UWS_2057 names no uWebSockets.js 20.57';
  return fs.existsSync(file) ? false : `there is no ${path.basename(file)}`;
}

const probed = new Map();

/** Returns the names of a module's exports and of its objects' members. */
function members(module) {
  if (!probed.has(module)) {
    const args = [path.join(__dirname, 'probe.js'), module];
    probed.set(module, JSON.parse(execFileSync(process.execPath, args, { timeout: 15000 }).toString()));
  }
  return probed.get(module);
}

module.exports = { PEERS, ROOT, members, missing };
