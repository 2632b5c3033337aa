'use strict';

// `npm run package` makes the packages that are published, in dist/: the main one, which has no binary, and
// one for each platform, with the symbols of its binary beside it.
//
//   --target NAME     this platform alone, several times for several; otherwise all that there are tools for
//   --install-tools   gets what is missing into a folder of Cargo's: zig from PyPI, Rust from Debian
//   --host            packs the addon that `npm run build` has made here, to try it: it asks for the glibc of
//                     this machine and may name folders of it; the main package knows this platform alone
//   --verify          builds the committed state twice, in two folders, and compares the packages
//   --out FOLDER      another folder than dist/

const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const { parseArgs } = require('node:util');
const { build } = require('./build.js');
const { compile } = require('./package/compile.js');
const { git } = require('./package/git.js');
const { packMain, packPlatform } = require('./package/stage.js');
const { TARGETS, addonOf, host, targetNamed } = require('./package/targets.js');
const tools = require('./package/tools.js');
const { ROOT } = require('./run.js');
const { verify } = require('./package/verify.js');

const OPTIONS = {
  target: { type: 'string', multiple: true },
  'install-tools': { type: 'boolean' },
  host: { type: 'boolean' },
  verify: { type: 'boolean' },
  out: { type: 'string', default: path.join(ROOT, 'dist') },
};

function main() {
  const { values: options } = parseArgs({ options: OPTIONS });
  if (options.host) return packHost(options.out);
  const targets = chosen(options);
  if (options.verify) return verify(targets);
  clear(options.out);
  sayIfChanged();
  const archives = [packMain({ into: options.out })];
  for (const target of targets) {
    const started = Date.now();
    console.log(`Building ${target.name}, which takes some minutes`);
    const addon = compile(target, { into: options.out });
    archives.push(packPlatform(target, addon, { into: options.out }));
    fs.rmSync(addon);
    console.log(`Built ${target.name} in ${Math.round((Date.now() - started) / 1000)} s`);
  }
  list(options.out);
}

/** The targets that are asked for, or all that can be built. Says what is missing for the others. */
function chosen(options) {
  const wanted = options.target?.map(targetNamed) ?? TARGETS;
  if (options['install-tools']) wanted.forEach(tools.install);
  const lacking = wanted.map((target) => [target, tools.missing(target)]).filter(([, list]) => list.length);
  for (const [target, list] of lacking) console.log(`${target.name} takes\n  ${list.join('\n  ')}`);
  const ready = wanted.filter((target) => !lacking.some(([each]) => each === target));
  if (ready.length === 0 || (options.target && lacking.length)) process.exit(1);
  return ready;
}

/** Removes what an earlier run has made, and nothing else: the folder may be anybody's. */
function clear(out) {
  if (!fs.existsSync(out)) return;
  const made = fs.readdirSync(out).filter((name) => /^(uws-rs.*\.(tgz|node|debug)|SHA256SUMS)$/.test(name));
  for (const name of made) fs.rmSync(path.join(out, name));
}

/** Packs what was built for this machine: quick, and for trying alone. */
function packHost(out) {
  const target = host();
  if (!target) throw new Error(`There is no package for ${process.platform} on ${process.arch}`);
  const addon = path.join(ROOT, addonOf(target));
  if (!fs.existsSync(addon)) build();
  clear(out);
  packMain({ into: out, targets: [target] });
  packPlatform(target, addon, { into: out });
  list(out);
}

function sayIfChanged() {
  const changed = git(ROOT, ['status', '--porcelain']);
  if (changed.status !== 0 || changed.stdout)
    console.log('There are changes that are not committed: these packages are not those of a commit.');
}

function list(out) {
  const names = fs.readdirSync(out).filter((name) => name.startsWith('uws-rs'));
  const lines = names.map((name) => {
    const bytes = fs.readFileSync(path.join(out, name));
    console.log(`${(bytes.length / 1e6).toFixed(2).padStart(7)} MB  ${path.join(out, name)}`);
    return `${crypto.createHash('sha256').update(bytes).digest('hex')}  ${name}\n`;
  });
  fs.writeFileSync(path.join(out, 'SHA256SUMS'), lines.join(''));
}

try {
  main();
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
