'use strict';
// The echo servers that the suite tests, one for each way of carrying messages. As a program this file serves
// one of them: `node agents.js NAME`. It is started by run.js, which reads its port.

const { once } = require('node:events');
const { fork } = require('node:child_process');
const certificates = require('../tls/certificates');
const uWS = require('../..');

/** This is more than the largest message of section 9. */
const MAX_PAYLOAD = 17 * 1024 * 1024;

const AGENTS = {
  plain: { compression: uWS.DISABLED },
  shared: { compression: uWS.SHARED_COMPRESSOR | uWS.SHARED_DECOMPRESSOR },
  dedicated: { compression: uWS.DEDICATED_COMPRESSOR | uWS.DEDICATED_DECOMPRESSOR },
  tls: { compression: uWS.DISABLED, tls: true },
};

function compresses(name) {
  return AGENTS[name].compression !== uWS.DISABLED;
}

function serve(name) {
  const { compression, tls } = AGENTS[name];
  const app = tls ? uWS.SSLApp(certificates.shared()) : uWS.App();
  app.ws('/*', {
    compression,
    maxPayloadLength: MAX_PAYLOAD,
    maxBackpressure: 0,
    idleTimeout: 120,
    message: (ws, message, isBinary) => ws.send(message, isBinary, compresses(name)),
  });
  app.listen('127.0.0.1', 0, (socket) => {
    if (!socket) throw new Error('cannot listen');
    process.send(uWS.us_socket_local_port(socket));
  });
}

/** Starts the server in a process of its own, so that a crash fails the cases and not the run. */
async function start(name) {
  const child = fork(__filename, [name]);
  const ended = once(child, 'exit').then(([code, signal]) => {
    throw new Error(`the server of agent ${name} ended: ${signal || code}`);
  });
  const [port] = await Promise.race([once(child, 'message'), ended]);
  ended.catch(() => {});
  return {
    url: `${AGENTS[name].tls ? 'wss' : 'ws'}://127.0.0.1:${port}`,
    alive: () => child.exitCode === null && child.signalCode === null,
    stop: () => child.kill('SIGKILL'),
  };
}

module.exports = { AGENTS, compresses, start };

if (require.main === module) {
  process.on('disconnect', () => process.exit());
  serve(process.argv[2]);
}
