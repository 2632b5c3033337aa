'use strict';

// `sub` subscribes and is answered with `ok`; every other message is published to all subscribers unchanged.
// `fill` is answered with more than the kernel accepts for a client that does not read. Options:
// `compression`, names of constants: then all publishes are compressed; `maxBackpressure`, the bytes from
// which on a slow subscriber gets nothing more.

const { compression, counters, roomy, serve } = require('./support.js');

const TOPIC = 'all';
const FILL = Buffer.alloc(6 * 1024 * 1024);

serve((uWS, options) => {
  const app = uWS.App();
  const compress = Boolean(options.compression);
  return app.ws('/*', {
    ...roomy,
    ...(options.maxBackpressure && { maxBackpressure: options.maxBackpressure }),
    compression: compression(uWS, options.compression),
    message(ws, message, isBinary) {
      if (message.byteLength === 3) {
        ws.subscribe(TOPIC);
        return ws.send('ok');
      }
      if (message.byteLength === 4) return ws.send(FILL, true);
      counters.messages += 1;
      app.publish(TOPIC, message, isBinary, compress);
    },
  });
});
