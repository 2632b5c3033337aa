'use strict';

// See ../packages.js. The older releases have a folder of their own.

const load = (name) => import(name);

module.exports = { folder: __dirname, import: load, require };
