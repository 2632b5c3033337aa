'use strict';

// Installs the frameworks and runs their specs. UWS_MODULE and UWS_2057 choose the module under test (see
// ../support.js). Alone: node __test__/ecosystem/run.js

const fs = require('node:fs');
const path = require('node:path');
const { attempt, installIfReachable } = require('../../scripts/run.js');

const WANTED = 'the frameworks that sit on uWebSockets.js';

/** Returns the exit code or, as text, the reason why nothing was run: `npm test` shows both. */
function ecosystem() {
  return (
    installIfReachable(__dirname, WANTED) ??
    attempt(process.execPath, ['--test', '--test-concurrency=2', ...specs()])
  );
}

function specs() {
  const names = fs.readdirSync(__dirname).filter((name) => name.endsWith('.spec.js'));
  return names.map((name) => path.join(__dirname, name));
}

module.exports = { ecosystem };

if (require.main === module) {
  const outcome = ecosystem();
  if (typeof outcome === 'string') console.log(`skipped: ${outcome}`);
  process.exitCode = typeof outcome === 'string' ? 0 : outcome;
}
