'use strict';

// A server's process requires this before the app (NODE_OPTIONS=--require). Each SIGUSR2 changes what fails
// of its files: appending, then reading as well, then nothing any more.

const fs = require('node:fs');
const Module = require('node:module');

const { appendFileSync, readSync } = fs;
const FAULTS = [
  { appendFileSync: failing('ENOSPC: no space left on device'), readSync },
  { appendFileSync: failing('EIO: i/o error'), readSync: failing('EIO: i/o error') },
  { appendFileSync, readSync },
];
let signals = 0;

function failing(message) {
  return () => {
    throw Object.assign(new Error(message), { code: message.split(':')[0] });
  };
}

process.on('SIGUSR2', () => {
  Object.assign(fs, FAULTS[signals++ % FAULTS.length]);
  Module.syncBuiltinESMExports();
});
