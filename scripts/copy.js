'use strict';

// Copies of an example app in which other releases of its packages are installed than it names.

const fs = require('node:fs');
const path = require('node:path');
const { execFileSync } = require('node:child_process');
const { ROOT, run } = require('./run.js');

const NOT_COPIED = ['node_modules', 'build', '.svelte-kit', '.data', 'generated', 'package-lock.json'];

/** Lists the sources of an app, without the files made from them. */
function copySources(app, folder) {
  const filter = (source) => !NOT_COPIED.includes(path.basename(source));
  fs.cpSync(app, folder, { recursive: true, filter });
}

/** Copies the app and installs it; `packages` maps names to a version, archive or folder each. */
function copyApp(app, folder, packages) {
  copySources(app, folder);
  const manifest = path.join(folder, 'package.json');
  const content = JSON.parse(fs.readFileSync(manifest, 'utf8'));
  content.dependencies['uWebSockets.js'] = `file:${ROOT}`;
  for (const [name, wanted] of Object.entries(packages)) {
    const list = name in content.dependencies ? content.dependencies : content.devDependencies;
    list[name] = specifier(wanted, folder);
  }
  fs.writeFileSync(manifest, JSON.stringify(content, null, 2));
  run('npm', ['install', '--no-audit', '--no-fund'], { cwd: folder });
}

/** A folder is packed first, so that the tests run on the files that npm would install. */
function specifier(wanted, into) {
  if (!fs.existsSync(wanted)) return wanted;
  if (!fs.statSync(wanted).isDirectory()) return `file:${path.resolve(wanted)}`;
  const packed = execFileSync('npm', ['pack', '--json', '--pack-destination', into], { cwd: wanted });
  return `file:./${JSON.parse(packed)[0].filename}`;
}

module.exports = { copyApp, copySources };
