'use strict';

// The servers that can be compared. A driver is the path of a module with the API of uWebSockets.js, or `raw`, the
// generator's own server that only moves bytes. What is not installed here is left out, and said so.

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

const RAW = 'raw';

const names = [...Object.keys(drivers), RAW];

/** The module of a driver, or why there is none. */
const resolve = (name) => {
  if (name === RAW) return { name, raw: true };
  if (!Object.hasOwn(drivers, name)) {
    throw new Error(`unknown driver ${name}; there are: ${names.join(', ')}`);
  }
  try {
    const module = drivers[name]();
    if (module && fs.existsSync(module)) return { name, module };
    return {
      name,
      missing: module ? `no file ${path.basename(module)}` : 'its environment variable is not set',
    };
  } catch (error) {
    return { name, missing: error.message.split('\n')[0] };
  }
};

module.exports = { resolve };
