'use strict';

// `npm run bench -- [arguments of benchmark/index.js]`

const { build } = require('./build.js');
const { ROOT, install, run } = require('./run.js');

install(ROOT);
build();
run(process.execPath, ['benchmark/index.js', ...process.argv.slice(2)]);
