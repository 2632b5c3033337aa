'use strict';

// Installs the frameworks and runs their specs. UWS_MODULE and UWS_2057 choose the module under test (see
// ../support.js).
//
//   npm run test:ecosystem                    the newest releases, and the older ones of some
//   npm run test:ecosystem -- hyper soketi    specs with that in their names
//   npm run test:ecosystem -- --newest        what the registry has today in the place of the pinned releases

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { spawnSync } = require('node:child_process');
const { ROOT, attempt, matching, installIfReachable } = require('../../scripts/run.js');
const { executable } = require('../runtimes/run.js');
const { NEWEST } = require('../runtimes/runtimes.js');

const OLDER = path.join(__dirname, 'older');
/** The specs of the frameworks that the folder of older releases has. */
const OF_OLDER = ['colyseus', 'encrypted', 'hyper-express', 'ultimate-express'];

/** Returns the exit code or, as text, the reason why nothing was run: `npm test` shows both. */
function ecosystem(wanted = []) {
  const [ofNewer, ofOlder] = [specs(wanted), specs(wanted, OF_OLDER)];
  const lacking =
    installIfReachable(__dirname, 'the frameworks that sit on uWebSockets.js') ??
    installIfReachable(OLDER, 'their older releases');
  if (lacking !== undefined) return lacking;
  const program = newestNode();
  if (program.missing !== undefined) return program.missing;
  const newer = run(program.path, __dirname, ofNewer);
  const older = run(process.execPath, OLDER, ofOlder);
  return newer || older;
}

/**
 * The newest releases want a newer Node.js than this package does. The uWebSockets.js that is compared with
 * has no binary for it.
 */
function newestNode() {
  const ours = (process.env.UWS_MODULE ?? 'ours') === 'ours';
  return ours ? executable(NEWEST) : { path: process.execPath };
}

function specs(wanted, among) {
  const names = fs.readdirSync(__dirname).flatMap((name) => /^(.*)\.spec\.js$/.exec(name)?.[1] ?? []);
  return matching(names, wanted)
    .filter((name) => !among || among.includes(name))
    .map((name) => path.join(__dirname, `${name}.spec.js`));
}

/** Runs specs on the packages of a folder, and returns the exit code. */
function run(program, folder, files) {
  if (files.length === 0) return 0;
  const env = { ECOSYSTEM_PACKAGES: folder };
  return attempt(program, ['--test', '--test-concurrency=2', ...files], { env });
}

// ---- releases that are newer than the pinned ones

/** Runs the specs on the newest releases, and says which these are and which specs fail. */
function newest(wanted) {
  const files = specs(wanted);
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'uws-ecosystem-'));
  try {
    const pinned = JSON.parse(fs.readFileSync(path.join(__dirname, 'package.json'), 'utf8'));
    const code = installNewest(folder, pinned);
    if (code !== 0) return code;
    const program = newestNode();
    if (program.missing !== undefined) return program.missing;
    const failed = files.filter((file) => run(program.path, folder, [file]) !== 0);
    console.log(`\n${versions(folder, pinned).join('\n')}`);
    for (const file of failed) console.log(`FAILED: ${path.basename(file)}`);
    return failed.length === 0 ? 0 : 1;
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

function installNewest(folder, pinned) {
  // A package under another name is an old release that is meant.
  const latest = Object.entries(pinned.devDependencies).map(([name, version]) => [
    name,
    version.startsWith('npm:') ? version : 'latest',
  ]);
  const manifest = {
    ...pinned,
    dependencies: { 'uWebSockets.js': `file:${ROOT}` },
    devDependencies: Object.fromEntries(latest),
  };
  fs.writeFileSync(path.join(folder, 'package.json'), JSON.stringify(manifest));
  fs.copyFileSync(path.join(__dirname, 'packages.js'), path.join(folder, 'packages.js'));
  const args = ['install', '--no-audit', '--no-fund', '--loglevel=error'];
  return spawnSync('npm', args, { cwd: folder, stdio: 'inherit' }).status ?? 1;
}

function versions(folder, { devDependencies }) {
  return Object.entries(devDependencies).map(([name, pinned]) => {
    const manifest = path.join(folder, 'node_modules', name, 'package.json');
    const { version } = JSON.parse(fs.readFileSync(manifest, 'utf8'));
    return `${name} ${version}${pinned.endsWith(version) ? '' : ` (pinned: ${pinned})`}`;
  });
}

module.exports = { ecosystem };

if (require.main === module) {
  const wanted = process.argv.slice(2).filter((each) => each !== '--newest');
  const outcome = process.argv.includes('--newest') ? newest(wanted) : ecosystem(wanted);
  if (typeof outcome === 'string') console.log(`skipped: ${outcome}`);
  process.exitCode = typeof outcome === 'string' ? 0 : outcome;
}
