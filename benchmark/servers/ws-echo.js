'use strict';

// Sends every message back. Options: `burn`, microseconds of JavaScript work per message; `block`, [busy,
// period]: the thread is busy that many milliseconds of every period; `compression`, names of constants: then
// all replies are compressed.

const { block, burn, compression, counters, roomy, serve } = require('./support.js');

serve((uWS, options) => {
  const work = options.burn;
  const compress = Boolean(options.compression);
  if (options.block) block(...options.block);
  return uWS.App().ws('/*', {
    ...roomy,
    compression: compression(uWS, options.compression),
    message(ws, message, isBinary) {
      counters.messages += 1;
      if (work) burn(work);
      ws.send(message, isBinary, compress);
    },
  });
});
