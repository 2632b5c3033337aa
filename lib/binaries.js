'use strict';
// Finds the native addon: the one that was built in a clone, or that of the platform's package.

const { isCutOff } = require('./elf');
const { libc } = require('./libc');
const { requirerHere, requirers } = require('./origins');

/**
 * How the binaries of each target are required. Bundlers and other tools that look for the files of a program
 * find those that are required by a literal, and do without one only where a `try` in the same function is
 * around it.
 */
const BINARIES = {
  'darwin-arm64': {
    built(failed) {
      try {
        return require('../uws-rs.darwin-arm64.node');
      } catch (error) {
        return failed(error);
      }
    },
    installed(failed) {
      try {
        return require('uws-rs-darwin-arm64');
      } catch (error) {
        return failed(error);
      }
    },
  },
  'darwin-x64': {
    built(failed) {
      try {
        return require('../uws-rs.darwin-x64.node');
      } catch (error) {
        return failed(error);
      }
    },
    installed(failed) {
      try {
        return require('uws-rs-darwin-x64');
      } catch (error) {
        return failed(error);
      }
    },
  },
  'linux-arm64-gnu': {
    built(failed) {
      try {
        return require('../uws-rs.linux-arm64-gnu.node');
      } catch (error) {
        return failed(error);
      }
    },
    installed(failed) {
      try {
        return require('uws-rs-linux-arm64-gnu');
      } catch (error) {
        return failed(error);
      }
    },
  },
  'linux-arm64-musl': {
    built(failed) {
      try {
        return require('../uws-rs.linux-arm64-musl.node');
      } catch (error) {
        return failed(error);
      }
    },
    installed(failed) {
      try {
        return require('uws-rs-linux-arm64-musl');
      } catch (error) {
        return failed(error);
      }
    },
  },
  'linux-x64-gnu': {
    built(failed) {
      try {
        return require('../uws-rs.linux-x64-gnu.node');
      } catch (error) {
        return failed(error);
      }
    },
    installed(failed) {
      try {
        return require('uws-rs-linux-x64-gnu');
      } catch (error) {
        return failed(error);
      }
    },
  },
  'linux-x64-musl': {
    built(failed) {
      try {
        return require('../uws-rs.linux-x64-musl.node');
      } catch (error) {
        return failed(error);
      }
    },
    installed(failed) {
      try {
        return require('uws-rs-linux-x64-musl');
      } catch (error) {
        return failed(error);
      }
    },
  },
};

/** Names the system as the binaries do, as linux-x64-gnu. */
function target() {
  return [process.platform, process.arch, libc()].filter(Boolean).join('-');
}

/**
 * Throws where the file that would be loaded is cut off, as by a disk that was full. The system's loader maps
 * it all the same, and its missing pages end the process by SIGBUS.
 */
function refuseCutOff(requires, path) {
  let file = '';
  try {
    file = requires.resolve(path);
    if (!isCutOff(file)) return;
  } catch {
    // The file is not there or unreadable, as the loader will say, or a bundler has put it elsewhere.
    return;
  }
  throw Object.assign(new Error(`${file}: the file is cut off`), { code: 'ERR_DLOPEN_FAILED' });
}

/** Calls a function of `BINARIES`, unless it would load a file that is cut off. */
function attempt(way, path, failed) {
  try {
    refuseCutOff(requirerHere(), path);
  } catch (error) {
    return failed(error);
  }
  return way(failed);
}

/**
 * Requires a binary where the literals do not lead to it: the bundler has left no `require`, the program is
 * one executable, or the target has no package and was built in a clone.
 */
function elsewhere(file, name, failures) {
  for (const requires of requirers()) {
    for (const path of [`./${file}`, `../${file}`, name]) {
      const from = path === name ? name : file;
      try {
        refuseCutOff(requires, path);
        return { native: requires(path), name: from };
      } catch (error) {
        // Of a target with a package the literals have failed before, and say more.
        if (!failures.has(from)) failures.set(from, error);
      }
    }
  }
  return undefined;
}

/** Loads the addon. Returns it and the file or the package that it is from. */
function find() {
  if (process.platform === 'win32') {
    throw new Error('uws-rs does not support Windows: it needs Linux or macOS; WSL works.');
  }
  const wanted = target();
  const [file, name] = [`uws-rs.${wanted}.node`, `uws-rs-${wanted}`];
  const failures = new Map();
  const { built, installed } = BINARIES[wanted] ?? {};
  for (const [from, path, way] of [
    [file, `../${file}`, built],
    [name, name, installed],
  ]) {
    const native = way && attempt(way, path, (error) => void failures.set(from, error));
    if (native) return { native, name: from };
  }
  const found = elsewhere(file, name, failures);
  if (found) return found;
  throw require('./unloadable').unloadable(wanted, failures, Object.keys(BINARIES));
}

module.exports = { BINARIES, find, target };
