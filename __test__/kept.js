'use strict';
// Folders of temporary files that later runs find again.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

/**
 * Returns a folder that is there and ours. Programs are run from it, and anybody may make folders among the
 * temporary files, so one of somebody else is an error.
 */
function keptFolder(name) {
  const folder = path.join(os.tmpdir(), `${name}-${os.userInfo().uid}`);
  try {
    fs.mkdirSync(folder, { mode: 0o700 });
  } catch (error) {
    if (error.code !== 'EEXIST') throw error;
  }
  const found = fs.lstatSync(folder);
  const isOurs = found.isDirectory() && found.uid === process.getuid() && (found.mode & 0o022) === 0;
  if (!isOurs) throw new Error(`${folder} is not ours alone: remove it`);
  return folder;
}

module.exports = { keptFolder };
