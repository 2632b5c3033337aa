#!/usr/bin/env node
'use strict';
// `npx uws-rs --version` and `npx uws-rs doctor [--json]`.

const { VERSION } = require('../lib/version');

const USAGE = `Usage:
  uws-rs --version         prints the version
  uws-rs doctor [--json]   examines this system, and says what to mend; exit code 1: something has to be mended
`;

async function main([command, ...options]) {
  const unknown = options.filter((option) => option !== '--json');
  if (command === 'doctor' && unknown.length === 0) return require('./doctor').doctor(options.length > 0);
  if (options.length === 0 && ['--version', '-v'].includes(command)) return say(VERSION + '\n', 0);
  if (options.length === 0 && ['--help', '-h'].includes(command)) return say(USAGE, 0);
  process.stderr.write(USAGE);
  return 2;
}

function say(text, code) {
  process.stdout.write(text);
  return code;
}

// A reader may leave early, as `head` does, or the disk be full.
process.stdout.on('error', ({ code, message }) => {
  if (code !== 'EPIPE') process.stderr.write(`${message}\n`);
  process.exit(1);
});
process.stderr.on('error', () => {});

main(process.argv.slice(2)).then((code) => {
  process.exitCode = code;
});
