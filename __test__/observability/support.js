'use strict';
// Servers with and without TLS beside each other.

const tls = require('../tls/support');

const support = {
  ...tls,
  ...require('../clients'),
  /** Creates a plain server, whatever UWS_TLS says. */
  plain: (t, configure) => tls.serve(t, configure, { app: tls.uWS.App(), peer: { tls: false } }),
  /** A connection without TLS. */
  rawPeer: (port) => tls.Peer.connect(port, { tls: false }),
};

module.exports = { ...support, support };
