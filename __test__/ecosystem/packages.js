'use strict';

// Loads packages of the folder that this file lies in: the specs run on the packages of several folders, of
// which ECOSYSTEM_PACKAGES names one (see run.js). Each has this file, or a copy.

/** Like `import()`, for packages that are ES modules or have no other working build. */
const load = (name) => import(name);

module.exports = { folder: __dirname, import: load, require };
