'use strict';

// The time that the JavaScript thread has left for the program: handlers that work, and a thread that is busy
// with other things. The server is not pinned: a second core is the point of a server with a second thread,
// and the generator has little to do here.

const working = [
  { burn: 5, rate: 1.6 },
  { burn: 20, rate: 1.2 },
].map(({ burn, rate }) => ({
  name: `js-work/echo-${burn}us`,
  about: `echo of 20 B, 64 connections, each message costs the handler ${burn} µs`,
  server: 'ws-echo.js',
  options: { burn },
  load: ['ws-echo', { size: 20, connections: 64 }],
  pinned: false,
  must: { rate },
}));

const BLOCKED = 'the thread busy 50 ms of every 100 ms';
/** A round has to include some of the busy times. */
const blocked = {
  options: { block: [50, 100] },
  pinned: false,
  must: { is: { p99: 3000 } },
  least: 2,
};

module.exports = [
  ...working,
  {
    ...blocked,
    name: 'js-blocked/ping',
    about: `1,000 pings/s on 8 connections, ${BLOCKED}`,
    server: 'ws-echo.js',
    load: ['ws-echo', { size: 20, connections: 8, opcode: 'ping', rate: 1000 }],
    others: true,
  },
  {
    ...blocked,
    name: 'js-blocked/declared',
    about: `1,000 requests/s on 8 connections, of a DeclarativeResponse or what stands in for it, ${BLOCKED}`,
    server: 'http.js',
    load: ['http', { path: '/declared', connections: 8, rate: 1000, 'expect-body': 'Hello World!' }],
    unit: 'request',
    onlyModules: true,
  },
  {
    ...blocked,
    name: 'js-blocked/backlog',
    about: 'responses of 8 MiB, the thread busy for 50 ms after each: from the first byte to the last',
    server: 'http.js',
    options: { backlog: 8 * 1024 * 1024 },
    load: [
      'http',
      { path: '/backlog', connections: 2, rate: 10, latency: 'body', 'expect-length': 8 * 1024 * 1024 },
    ],
    unit: 'request',
    must: { is: { p99: 20000 } },
  },
  {
    ...blocked,
    name: 'js-blocked/handshake',
    about: `200 connections/s accepted and secured with TLS 1.3, ${BLOCKED}`,
    server: 'http.js',
    tls: '1.3',
    load: ['handshake', { connections: 64, rate: 200, request: false }],
    unit: 'handshake',
  },
];
