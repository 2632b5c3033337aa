'use strict';

// Sends every message back. `burn`: microseconds of JavaScript work per message. `block: [busy, period]`: the thread
// is busy that many milliseconds of every period.

const { burn, counters, roomy, serve } = require('./support');

serve((uWS, { burn: work = 0, block }) => {
  if (block) setInterval(() => burn(block[0] * 1000), block[1]);
  return uWS.App().ws('/*', {
    ...roomy,
    message(ws, message, isBinary) {
      counters.messages += 1;
      if (work) burn(work);
      ws.send(message, isBinary);
    },
  });
});
