'use strict';
// Node's diagnostics channels; index.d.ts describes their messages. A message is made only where somebody
// subscribes.

const { channel } = require('diagnostics_channel');
const { guarded } = require('./errors');

const channels = {
  upgrade: channel('uws.upgrade'),
  close: channel('uws.close'),
  drop: channel('uws.drop'),
  limit: channel('uws.limit'),
};

/** Publishes what `make(a, b, c)` returns. Errors of subscribers are reported as uncaught ones. */
function tell(to, make, a, b, c) {
  if (to.hasSubscribers) guarded(publish, to, make(a, b, c));
}

function publish(to, message) {
  to.publish(message);
}

module.exports = { channels, tell };
