'use strict';

// Packs the packages. npm itself makes the archives: it gives each file the same time and owner, so that the
// same files are the same bytes.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { execFileSync } = require('node:child_process');
const { originOf, whereabouts } = require('./origin.js');
const { TARGETS, addonOf, packageOf } = require('./targets.js');
const { ROOT } = require('../run.js');

const SHARED = ['LICENSE', 'THIRD-PARTY-LICENSES.txt'];
/** The parts of our manifest that a platform package has as well. */
const INHERITED = ['version', 'license', 'repository', 'homepage', 'bugs', 'author', 'engines'];

function manifestOf(root) {
  return JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8'));
}

/** Our manifest, with the address of the sources by this clone's origin where it has none itself. */
function packedManifest(root) {
  const manifest = manifestOf(root);
  return { ...manifest, ...whereabouts(originOf(ROOT)), ...manifest };
}

/** The manifest of the package with the binary for a target. */
function platformManifest(target, main) {
  return {
    name: packageOf(target),
    description: `The binary of uws-rs for ${target.title}`,
    ...Object.fromEntries(INHERITED.filter((key) => key in main).map((key) => [key, main[key]])),
    main: addonOf(target),
    files: [addonOf(target), 'THIRD-PARTY-LICENSES.txt'],
    os: [target.os],
    cpu: [target.cpu],
    ...(target.libc && { libc: [target.libc] }),
    preferUnplugged: true,
  };
}

/**
 * The manifest of the main package. Here it gets the platform packages: in a clone, where they may not have
 * been published yet, `npm install` does without them.
 */
function mainManifest({ devDependencies: _, scripts, ...main }, targets = TARGETS) {
  const platforms = targets.map((target) => [packageOf(target), main.version]);
  return {
    ...main,
    scripts: { build: scripts.build },
    optionalDependencies: Object.fromEntries(platforms.sort()),
  };
}

const readmeOf = (target) => `# ${packageOf(target)}

The binary of [uws-rs](https://www.npmjs.com/package/uws-rs) for ${target.title}. npm installs it with uws-rs
where it fits; nothing else is to be done with it.
`;

/** Packs the addon for a target. Returns the path of the archive. */
function packPlatform(target, addon, { into, root = ROOT }) {
  return packed(into, (stage) => {
    for (const name of SHARED) fs.copyFileSync(path.join(root, name), path.join(stage, name));
    fs.copyFileSync(addon, path.join(stage, addonOf(target)));
    fs.writeFileSync(path.join(stage, 'README.md'), readmeOf(target));
    writeManifest(stage, platformManifest(target, packedManifest(root)));
  });
}

/**
 * Packs the main package, which has no binary, but the sources of one. `npm ci` refuses a lock without a
 * package that it names and no registry has, so one that is not published names those beside it alone.
 */
function packMain({ into, root = ROOT, targets }) {
  return packed(into, (stage) => {
    for (const name of filesOf(root)) {
      fs.mkdirSync(path.join(stage, path.dirname(name)), { recursive: true });
      fs.copyFileSync(path.join(root, name), path.join(stage, name));
    }
    writeManifest(stage, mainManifest(packedManifest(root), targets));
  });
}

/** The files of the main package, by the list in its manifest. */
function filesOf(root) {
  const [{ files }] = JSON.parse(npm(root, 'pack', '--dry-run', '--json', '--ignore-scripts'));
  const names = files.map(({ path: name }) => name);
  const binaries = names.filter((name) => name.endsWith('.node'));
  if (binaries.length) throw new Error(`The main package would contain ${binaries}: package.json, files`);
  return names;
}

function packed(into, fill) {
  fs.mkdirSync(into, { recursive: true });
  const stage = fs.mkdtempSync(path.join(os.tmpdir(), 'uws-rs-package-'));
  try {
    fill(stage);
    const said = npm(stage, 'pack', '--json', '--ignore-scripts', '--pack-destination', path.resolve(into));
    return path.join(into, JSON.parse(said)[0].filename);
  } finally {
    fs.rmSync(stage, { recursive: true, force: true });
  }
}

function writeManifest(stage, manifest) {
  fs.writeFileSync(path.join(stage, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`);
}

function npm(cwd, ...args) {
  return execFileSync('npm', args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

module.exports = { mainManifest, manifestOf, packMain, packPlatform, platformManifest };
