'use strict';

// Whether the same commit gives the same bytes: builds it twice, in two folders with names of their own
// lengths, and compares the packages.

const fs = require('node:fs');
const path = require('node:path');
const { execFileSync } = require('node:child_process');
const { compile } = require('./compile.js');
const { gitOutput } = require('./git.js');
const { packMain, packPlatform } = require('./stage.js');
const tools = require('./tools.js');
const { ROOT } = require('../run.js');

const FOLDER = path.join(tools.TARGET_FOLDER, 'verify');

function verify(targets) {
  fs.rmSync(FOLDER, { recursive: true, force: true });
  const commit = gitOutput(ROOT, ['rev-parse', 'HEAD']).trim();
  const made = (name) => buildIn(path.join(FOLDER, name), commit, targets);
  const [first, second] = ['a', 'another-folder'].map(made);
  const names = [...new Set([first, second].flatMap((folder) => fs.readdirSync(folder)))];
  for (const name of names) {
    const isSame = bytesOf(first, name)?.equals(bytesOf(second, name) ?? Buffer.alloc(0)) ?? false;
    console.log(`${isSame ? 'same     ' : 'DIFFERENT'}  ${name}`);
    if (!isSame) process.exitCode = 1;
  }
  if (process.exitCode) return console.error(`Compare ${first} with ${second}`);
  fs.rmSync(FOLDER, { recursive: true });
}

/** Builds a commit in a folder and returns the folder of its packages. */
function buildIn(folder, commit, targets) {
  const [root, into] = [path.join(folder, 'sources'), path.join(folder, 'packages')];
  fs.mkdirSync(root, { recursive: true });
  const archive = gitOutput(ROOT, ['archive', commit], { maxBuffer: 1 << 30 });
  execFileSync('tar', ['-x', '-C', root], { input: archive });
  packMain({ into, root });
  for (const target of targets) {
    const addon = compile(target, { into, root, targetFolder: path.join(folder, 'target') });
    packPlatform(target, addon, { into, root });
  }
  return into;
}

function bytesOf(folder, name) {
  const file = path.join(folder, name);
  return fs.existsSync(file) ? fs.readFileSync(file) : undefined;
}

module.exports = { verify };
