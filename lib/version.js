'use strict';
// The version of this package. Bundlers leave package.json behind, so it is repeated here.

module.exports = { VERSION: '0.1.1' };
