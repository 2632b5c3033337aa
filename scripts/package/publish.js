'use strict';

// Publishes packages: `node scripts/package/publish.js FOLDER [--tag NAME] [--dry-run]`. FOLDER has the
// folders that `npm run package` has made on several machines. All packages of this version must be there,
// and they must be what was packed. The main one comes last: whoever installs it finds the others.

const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const zlib = require('node:zlib');
const { execFileSync, spawnSync } = require('node:child_process');
const { parseArgs } = require('node:util');
const { manifestOf } = require('./stage.js');
const { TARGETS, packageOf } = require('./targets.js');
const { ROOT } = require('../run.js');

/**
 * The archives of this version below a folder, in the order of publishing. Throws if one is missing, if one
 * is not what its SHA256SUMS says, or if the machines have packed different main packages.
 */
function gather(folder, version) {
  const found = new Map();
  for (const name of fs.readdirSync(folder).sort()) {
    for (const file of archivesOf(path.join(folder, name))) {
      const known = found.get(path.basename(file));
      if (known && !isSame(known, file)) throw new Error(`${known} and ${file} are different packages`);
      if (!known) found.set(path.basename(file), file);
    }
  }
  return [...TARGETS.map(packageOf), 'uws-rs'].map((name) => {
    const file = found.get(`${name}-${version}.tgz`);
    if (!file) throw new Error(`${name} ${version} is not below ${folder}`);
    return { name, version, file };
  });
}

/** The archives in a folder that `npm run package` has made. */
function archivesOf(folder) {
  const sums = fs.readFileSync(path.join(folder, 'SHA256SUMS'), 'utf8').trim().split('\n');
  for (const line of sums) {
    const [sum, name] = line.split('  ');
    const bytes = fs.readFileSync(path.join(folder, name));
    const now = crypto.createHash('sha256').update(bytes).digest('hex');
    if (now !== sum) throw new Error(`${path.join(folder, name)} is not what was packed: ${now}`);
  }
  const names = sums.map((line) => line.split('  ')[1]);
  return names.filter((name) => name.endsWith('.tgz')).map((name) => path.join(folder, name));
}

/** Throws if a package names no repository: npm compares that with the provenance. */
function refuseUnlocated(archives) {
  for (const { file } of archives) {
    const manifest = execFileSync('tar', ['-xzOf', file, 'package/package.json'], { encoding: 'utf8' });
    if (JSON.parse(manifest).repository === undefined)
      throw new Error(`${file} names no repository: it was packed in a clone whose origin is not on the web`);
  }
}

/** Processors compress the same archive to different bytes. */
function isSame(a, b) {
  return zlib.gunzipSync(fs.readFileSync(a)).equals(zlib.gunzipSync(fs.readFileSync(b)));
}

/** Whether the package is there already, by an attempt that ended halfway. Another content is an error. */
function isPublished({ name, version, file }) {
  const asked = spawnSync('npm', ['view', `${name}@${version}`, 'dist.integrity', '--json'], {
    encoding: 'utf8',
  });
  if (asked.status !== 0 && !/E404/.test(asked.stdout + asked.stderr))
    throw new Error(`npm view: ${asked.stderr}`);
  if (asked.status !== 0 || asked.stdout.trim() === '') return false;
  const ours = `sha512-${crypto.createHash('sha512').update(fs.readFileSync(file)).digest('base64')}`;
  if (JSON.parse(asked.stdout) === ours) return true;
  throw new Error(`${name} ${version} is published with another content: it takes a new version`);
}

function main() {
  const options = { tag: { type: 'string', default: 'latest' }, 'dry-run': { type: 'boolean' } };
  const { values, positionals } = parseArgs({ options, allowPositionals: true });
  if (positionals.length !== 1) {
    console.error('Usage: node scripts/package/publish.js FOLDER [--tag NAME] [--dry-run]');
    process.exit(2);
  }
  const { version } = manifestOf(ROOT);
  const archives = gather(positionals[0], version);
  refuseUnlocated(archives);
  for (const each of archives) {
    const isThere = !values['dry-run'] && isPublished(each);
    console.log(`${isThere ? 'is published' : 'publishing'}: ${each.name} ${version}`);
    const how = values['dry-run'] ? ['--dry-run'] : ['--provenance'];
    const args = ['publish', path.resolve(each.file), '--access', 'public', '--tag', values.tag, ...how];
    if (!isThere) execFileSync('npm', args, { stdio: 'inherit' });
  }
}

if (require.main === module) main();

module.exports = { gather, refuseUnlocated };
