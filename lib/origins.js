'use strict';
// The files from which a binary may be found where a bundler has moved the package's code.

const { createRequire } = require('module');

/** The files that bundles, or index.mjs, are in. */
const bundles = [];

/** Adds the file that a bundle is in, where it knows. */
function lookFrom(file) {
  if (typeof file === 'string') bundles.push(file);
}

/** The names that the package is installed by. */
const NAMES = ['uws-rs', 'uWebSockets.js'];

/**
 * The functions by which a binary may be required: those of this file, of the bundle, of the program or its
 * executable, and of the package where these find it. Some package managers show a package's dependencies to
 * the package alone.
 */
function requirers() {
  const here = typeof __filename === 'string' ? [__filename] : [];
  const files = [...here, ...bundles, process.argv[1]].filter(Boolean);
  return files.flatMap((file) => {
    const own = requirerOf(() => file);
    const packages = NAMES.flatMap((name) => requirerOf(() => own[0].resolve(`${name}/package.json`)));
    return [...own, ...packages];
  });
}

/** The function of this file; undefined where a bundler has left no name of it. */
function requirerHere() {
  return typeof __filename === 'string' ? requirerOf(() => __filename)[0] : undefined;
}

/** Returns the function of a file, in a list; none where the file is not found or is no path. */
function requirerOf(file) {
  try {
    return [createRequire(file())];
  } catch {
    return [];
  }
}

module.exports = { lookFrom, requirerHere, requirers };
