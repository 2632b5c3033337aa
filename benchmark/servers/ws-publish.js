'use strict';

// `sub` subscribes and is answered `ok`; every other message is published to all subscribers as it came.
// `compression`: names of constants; then all publishes are compressed.

const { compression, counters, roomy, serve } = require('./support.js');

const TOPIC = 'all';

serve((uWS, options) => {
  const app = uWS.App();
  const compress = Boolean(options.compression);
  return app.ws('/*', {
    ...roomy,
    compression: compression(uWS, options.compression),
    message(ws, message, isBinary) {
      if (message.byteLength === 3) {
        ws.subscribe(TOPIC);
        ws.send('ok');
        return;
      }
      counters.messages += 1;
      app.publish(TOPIC, message, isBinary, compress);
    },
  });
});
