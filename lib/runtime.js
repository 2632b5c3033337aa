'use strict';
// The runtime that this is running in. A program may have globals named Bun or Deno, as a polyfill of either
// sets them, or a test that replaces them; the versions are the runtime's own.

const { bun, deno, electron, node } = process.versions;

/** Bun, Deno and Electron also tell the version of Node.js that they are compatible with, or made of. */
const [NAME, NUMBER] = [
  ['Bun', bun],
  ['Deno', deno],
  ['Electron', electron],
  ['Node.js', node],
].find(([, version]) => version !== undefined) ?? ['unknown', ''];

const isBun = NAME === 'Bun';
const isDeno = NAME === 'Deno';

/** The name and version of the runtime, to be shown to people. */
const runtime = () => `${NAME} ${NUMBER}`;

module.exports = { isBun, isDeno, runtime };
