'use strict';

// permessage-deflate: JSON texts of 1 KiB. The client's messages are compressed once before the run. The
// replies are decompressed and compared; where the server keeps no context, equal bytes only once.

const SHARED = ['SHARED_COMPRESSOR', 'SHARED_DECOMPRESSOR'];
const DEDICATED = ['DEDICATED_COMPRESSOR_4KB', 'DEDICATED_DECOMPRESSOR_4KB'];

const echo = (name, about, compression) => ({
  name: `ws-deflate/echo-${name}`,
  about: `compressed echo of 1 KiB JSON, 64 connections, ${about}`,
  server: 'ws-echo.js',
  options: { compression },
  load: ['ws-echo', { size: 1024, connections: 64, deflate: true }],
  must: { rate: 1.2 },
});

const publish = (name, about, compression, must) => ({
  name: `ws-deflate/publish-${name}`,
  about: `compressed publish of 1 KiB JSON to 1,000 subscribers, 4 in flight, ${about}`,
  server: 'ws-publish.js',
  options: { compression },
  load: ['ws-publish', { size: 1024, subscribers: 1000, 'in-flight': 4, deflate: true }],
  unit: 'delivery',
  must,
  least: 1.5,
});

module.exports = [
  echo('shared', 'shared compressor', SHARED),
  echo('4KiB', 'dedicated compressor of 4 KiB', DEDICATED),
  publish('shared', 'shared compressor', SHARED, { rate: 3 }),
  publish('4KiB', 'dedicated compressors of 4 KiB', DEDICATED, { rate: 1.2 }),
];
