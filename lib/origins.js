'use strict';
// The files from which a binary may be found where a bundler has moved the package's code.

/** The files that bundles, or index.mjs, are in. */
const bundles = [];

/** Adds the file that a bundle is in, where it knows. */
function lookFrom(file) {
  if (typeof file === 'string') bundles.push(file);
}

/** The files from which a binary may be found: this one, the bundle, and the program or its executable. */
function origins() {
  const here = typeof __filename === 'string' ? [__filename] : [];
  return [...here, ...bundles, process.argv[1]].filter(Boolean);
}

module.exports = { lookFrom, origins };
