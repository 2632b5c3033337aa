'use strict';

// Git, asked about the repository of a folder.

const { spawnSync } = require('node:child_process');

/** The variables by which Git tells its hooks of the repository that they run for. */
const ELSEWHERE = [
  'GIT_ALTERNATE_OBJECT_DIRECTORIES',
  'GIT_COMMON_DIR',
  'GIT_DIR',
  'GIT_INDEX_FILE',
  'GIT_OBJECT_DIRECTORY',
  'GIT_PREFIX',
  'GIT_WORK_TREE',
];

/**
 * Runs Git in a folder, whatever repository the environment names, and returns what `spawnSync` does. Without
 * an encoding the output is bytes.
 */
function git(folder, args, options = { encoding: 'utf8' }) {
  const env = { ...process.env };
  for (const name of ELSEWHERE) delete env[name];
  return spawnSync('git', args, { ...options, cwd: folder, env });
}

/** The same, but throws where Git fails, and returns its output. */
function gitOutput(folder, args, options) {
  const { error, status, stderr, stdout } = git(folder, args, options);
  if (error) throw error;
  if (status !== 0) throw new Error(`git ${args[0]}: ${stderr}`);
  return stdout;
}

module.exports = { git, gitOutput };
