'use strict';
// uws-rs: the API of uWebSockets.js v20 on its own event loop. index.d.ts describes each member.

const { once } = require('./lib/once');

module.exports = once(() => {
  const { App, SSLApp, us_listen_socket_close, us_socket_local_port } = require('./lib/app');
  const { DeclarativeResponse } = require('./lib/declarative');
  const { extras } = require('./lib/extras');

  return {
    App,
    SSLApp,
    us_listen_socket_close,
    us_socket_local_port,
    DeclarativeResponse,
    ...extras,
    ListenOptions: Object.freeze({ LIBUS_LISTEN_DEFAULT: 0, LIBUS_LISTEN_EXCLUSIVE_PORT: 1 }),
    LIBUS_LISTEN_DEFAULT: 0,
    LIBUS_LISTEN_EXCLUSIVE_PORT: 1,
    DISABLED: 0,
    SHARED_COMPRESSOR: 1,
    SHARED_DECOMPRESSOR: 256,
    DEDICATED_COMPRESSOR_3KB: 145,
    DEDICATED_COMPRESSOR_4KB: 146,
    DEDICATED_COMPRESSOR_8KB: 163,
    DEDICATED_COMPRESSOR_16KB: 180,
    DEDICATED_COMPRESSOR_32KB: 197,
    DEDICATED_COMPRESSOR_64KB: 214,
    DEDICATED_COMPRESSOR_128KB: 231,
    DEDICATED_COMPRESSOR_256KB: 248,
    DEDICATED_COMPRESSOR: 248,
    DEDICATED_DECOMPRESSOR_512B: 2304,
    DEDICATED_DECOMPRESSOR_1KB: 2560,
    DEDICATED_DECOMPRESSOR_2KB: 2816,
    DEDICATED_DECOMPRESSOR_4KB: 3072,
    DEDICATED_DECOMPRESSOR_8KB: 3328,
    DEDICATED_DECOMPRESSOR_16KB: 3584,
    DEDICATED_DECOMPRESSOR_32KB: 3840,
    DEDICATED_DECOMPRESSOR: 3840,
  };
});
