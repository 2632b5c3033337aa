'use strict';

// Installs the bundlers and runs their specs. Alone: node __test__/bundlers/run.js

const fs = require('node:fs');
const path = require('node:path');
const { attempt, installIfReachable } = require('../../scripts/run.js');

/** Returns the exit code or, as text, the reason why nothing was run: `npm test` shows both. */
function bundlers() {
  const names = fs.readdirSync(__dirname).filter((name) => name.endsWith('.spec.js'));
  const specs = names.map((name) => path.join(__dirname, name));
  return (
    installIfReachable(__dirname, 'the bundlers and the checkers of packages', 'install') ??
    attempt(process.execPath, ['--test', ...specs])
  );
}

module.exports = { bundlers };

if (require.main === module) {
  const outcome = bundlers();
  if (typeof outcome === 'string') console.log(`skipped: ${outcome}`);
  process.exitCode = typeof outcome === 'string' ? 0 : outcome;
}
