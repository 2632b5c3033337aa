'use strict';

// The servers that can be compared. A driver is the path of a module with the API of uWebSockets.js; what is not
// installed here is left out and named in the report.

const fs = require('fs');
const path = require('path');

const unofficial = () => {
  const main = require.resolve('@trufflesuite/uws-js-unofficial');
  const name = `uws_${process.platform}_${process.arch}_${process.versions.modules}.node`;
  return path.join(path.dirname(main), '..', 'binaries', name);
};

const drivers = {
  ours: () => path.join(__dirname, '..', 'index.js'),
  'uws-20.30': unofficial,
  'uws-20.57': () => process.env.UWS_2057,
};

/** The module of a driver, or why there is none. */
const resolve = (name) => {
  if (!Object.hasOwn(drivers, name)) {
    throw new Error(`unknown driver ${name}; there are: ${Object.keys(drivers).join(', ')}`);
  }
  try {
    const module = drivers[name]();
    if (module && fs.existsSync(module)) return { name, module };
    return { name, missing: module ? `no file ${path.basename(module)}` : 'its environment variable is not set' };
  } catch (error) {
    return { name, missing: error.message.split('\n')[0] };
  }
};

module.exports = { names: Object.keys(drivers), resolve };
