'use strict';

// Sends every message back. `burn`: microseconds of JavaScript work per message. `block: [busy, period]`: the thread
// is busy that many milliseconds of every period.

const { block, burn, counters, roomy, serve } = require('./support.js');

serve((uWS, options) => {
  const work = options.burn;
  if (options.block) block(...options.block);
  return uWS.App().ws('/*', {
    ...roomy,
    message(ws, message, isBinary) {
      counters.messages += 1;
      if (work) burn(work);
      ws.send(message, isBinary);
    },
  });
});
