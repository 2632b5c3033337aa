'use strict';

// Installs the frameworks and runs their specs. UWS_MODULE and UWS_2057 choose the module under test (see
// ../support.js). Alone: node __test__/ecosystem/run.js

const fs = require('node:fs');
const path = require('node:path');
const { spawnSync } = require('node:child_process');
const { attempt } = require('../../scripts/run.js');

const UNREACHABLE =
  /\b(E?AI_AGAIN|ENOTFOUND|ECONNREFUSED|ECONNRESET|ENETUNREACH|EHOSTUNREACH|E\w*TIMEDOUT|ENOTCACHED)\b/;

/** Returns the exit code or, as text, the reason why nothing was run: `npm test` shows both. */
function ecosystem() {
  return install() ?? attempt(process.execPath, ['--test', '--test-concurrency=2', ...specs()]);
}

/**
 * Returns nothing where the frameworks are installed. On a machine without a network their absence is no
 * failure, in CI it is.
 */
function install() {
  const installed = modified(path.join(__dirname, 'node_modules', '.package-lock.json'));
  if (installed >= modified(path.join(__dirname, 'package-lock.json'))) return undefined;
  console.log('Installing the frameworks that sit on uWebSockets.js');
  const done = spawnSync('npm', ['ci', '--prefer-offline', '--loglevel=error', '--fetch-retries=1'], {
    cwd: __dirname,
    encoding: 'utf8',
  });
  if (done.status === 0) return undefined;
  const said = `${done.stdout}${done.stderr}${done.error?.message ?? ''}`;
  if (UNREACHABLE.test(said) && !process.env.CI)
    return 'the frameworks are not installed and the registry is not reachable';
  console.error(said);
  return 1;
}

function specs() {
  const names = fs.readdirSync(__dirname).filter((name) => name.endsWith('.spec.js'));
  return names.map((name) => path.join(__dirname, name));
}

function modified(file) {
  return fs.statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

module.exports = { ecosystem };

if (require.main === module) {
  const outcome = ecosystem();
  if (typeof outcome === 'string') console.log(`skipped: ${outcome}`);
  process.exitCode = typeof outcome === 'string' ? 0 : outcome;
}
