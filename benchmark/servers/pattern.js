'use strict';

// The content of large bodies, which the generator knows too: byte `i` is `i % 251`.

const PERIOD = 251;

const pattern = (size) => {
  const period = Uint8Array.from({ length: PERIOD }, (_, i) => i);
  return Buffer.alloc(size, period);
};

module.exports = { PERIOD, pattern };
