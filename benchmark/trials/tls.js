'use strict';

// The same trials over TLS, and the cost of a handshake. The key is ECDSA P-256; the generator offers what
// browsers offer.

const HELLO = 'Hello World!';

const echo = (size, name) => ({
  name: `wss-echo/${name}-c64-p1`,
  about: `echo of ${name} over TLS 1.3, 64 connections`,
  server: 'ws-echo.js',
  tls: '1.3',
  load: ['ws-echo', { size, connections: 64, ...(size > 20 && { opcode: 'binary' }) }],
  must: { rate: 1.2, jsCpu: 0.5 },
});

/** Connecting, handshake, one request, end. */
const handshakes = ['1.3', '1.2'].flatMap((version) =>
  [false, true].map((resume) => ({
    name: `tls/${resume ? 'resumed' : 'full'}-${version}`,
    about: `${resume ? 'resumed' : 'full'} handshakes of TLS ${version} with one request each, 16 at a time`,
    server: 'http.js',
    tls: version,
    load: ['handshake', { connections: 16, resume }],
    must: { rate: 0.9 },
    unit: 'handshake',
  })),
);

module.exports = [
  echo(20, '20B'),
  echo(16384, '16KiB'),
  {
    name: 'https/hello-c64-p1',
    about: `GET of "${HELLO}" over TLS 1.3, 64 kept connections`,
    server: 'http.js',
    tls: '1.3',
    load: ['http', { connections: 64, 'expect-body': HELLO }],
    must: { rate: 1.2 },
    unit: 'request',
  },
  ...handshakes,
];
