'use strict';
// uws-rs: the API of uWebSockets.js v20 on an event loop of its own.

const fs = require('node:fs');
const path = require('node:path');

/** All of lib/ in one file, made by `npm run build` together with the addon: thirteen files take Node 4 ms more. */
const BUNDLE = path.join(__dirname, 'lib', 'bundle.cjs');

module.exports = require(fs.existsSync(BUNDLE) ? BUNDLE : './lib/index.js');
