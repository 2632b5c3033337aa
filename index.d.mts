// The types of index.mjs: those of index.js, which is also the default export.

import uWS = require('./index.js');

export * from './index.js';
export default uWS;
