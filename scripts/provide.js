'use strict';

// Gets the addon to run with: built from the sources, or, where there is no Rust, one that is there already.

const fs = require('node:fs');
const path = require('node:path');
const { target } = require('../lib/binaries.js');
const { addonName, build } = require('./build.js');
const { ROOT, attempt, has, isWritable, mustBeWritable } = require('./run.js');

/** Without cargo and an addon, `build` ends the process and says how to get them. */
function provideAddon() {
  const isBuilt = fs.existsSync(path.join(ROOT, addonName()));
  if (isBuilt && !isWritable(ROOT)) return;
  mustBeWritable(ROOT);
  if (has('cargo')) return build();
  if (isBuilt) {
    console.log('There is no cargo: the addon that was built before is used as it is');
    return;
  }
  const archive = packed();
  if (archive === undefined) return build();
  console.log(`There is no cargo: the addon of ${path.relative(ROOT, archive)} is used`);
  const code = unpack(archive);
  if (code !== 0) process.exit(code);
}

/**
 * Unpacks the addon of an archive and returns the exit code. It is renamed when it is whole: from an archive
 * that is damaged a part would stay, and pass for an addon the next time.
 */
function unpack(archive) {
  const folder = fs.mkdtempSync(path.join(ROOT, 'unpacked-'));
  try {
    const code = attempt('tar', ['-xzf', archive, '-C', folder, `package/${addonName()}`]);
    if (code === 0) fs.renameSync(path.join(folder, 'package', addonName()), path.join(ROOT, addonName()));
    else
      console.error(
        `${path.relative(ROOT, archive)} is damaged, or there is no tar: \`npm run package\` makes it`,
      );
    return code;
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

/** The package of this platform and version, as `npm run package` makes it. */
function packed() {
  const { version } = JSON.parse(fs.readFileSync(path.join(ROOT, 'package.json'), 'utf8'));
  const archive = path.join(ROOT, 'dist', `uws-rs-${target()}-${version}.tgz`);
  return fs.existsSync(archive) ? archive : undefined;
}

module.exports = { provideAddon };
