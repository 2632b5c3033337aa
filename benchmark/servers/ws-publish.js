'use strict';

// `sub` subscribes and is answered `ok`; every other message is published to all subscribers as it came.

const { counters, roomy, serve } = require('./support.js');

const TOPIC = 'all';

serve((uWS) => {
  const app = uWS.App();
  return app.ws('/*', {
    ...roomy,
    message(ws, message, isBinary) {
      if (message.byteLength === 3) {
        ws.subscribe(TOPIC);
        ws.send('ok');
        return;
      }
      counters.messages += 1;
      app.publish(TOPIC, message, isBinary);
    },
  });
});
