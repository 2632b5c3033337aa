'use strict';
// The module under test and what of a plan it is asked to do.

/**
 * Parts of a plan that the originals cannot do, by the id of the listed difference
 * (../conformance/differences.js) that says why. Their plans leave these out.
 */
const LEFT_OUT = {
  'pipelining-pending': 'a request behind one that is answered late',
  'http-1.0': 'HTTP/1.0',
  'head-body': 'HEAD to a handler with a body',
  'status-without-body': '204 and 304 with a streamed body',
  'late-connection-close': '`end(body, true)` after `write`',
  'close-before-more': 'bytes behind a request with `Connection: close`',
  'late-body-handler': 'a body that is asked for after the handler',
  'handshake-segment': 'frames in the segment of the handshake',
  'early-frames': 'frames while an upgrade is pending',
  'chunk-extension': 'chunk extensions',
  'trailer-field': 'trailer fields',
  'forgotten-response': 'handlers that forget their response',
  'throwing-handler': 'handlers that throw',
  'registered-close-codes': 'close codes from 3000 to 3999',
  'close-after-tryEnd': '`Connection: close` with `tryEnd`, after which the original waits for its timeout',
  'empty-body': 'a body of no bytes, whose end the original sometimes does not tell',
  'compressed-fragments': 'compressed fragments of the server',
};

module.exports = { LEFT_OUT };
