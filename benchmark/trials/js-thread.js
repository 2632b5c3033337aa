'use strict';

// What the JavaScript thread has left for the program: handlers that work, and a thread that is busy with other things.
// Not pinned: a second core is what a server with a second thread is for, and the generator has little to do here.

const working = [5, 20].map((burn) => ({
  name: `js-work/echo-${burn}us`,
  about: `echo of 20 B, 64 connections, each message costs the handler ${burn} µs`,
  server: 'ws-echo.js',
  options: { burn },
  load: ['ws-echo', { size: 20, connections: 64 }],
  pinned: false,
}));

const BLOCKED = 'the thread busy 50 ms of every 100 ms';
const blocked = { options: { block: [50, 100] }, pinned: false };

module.exports = [
  ...working,
  {
    ...blocked,
    name: 'js-blocked/ping',
    about: `1,000 pings/s on 8 connections, ${BLOCKED}`,
    server: 'ws-echo.js',
    load: ['ws-echo', { size: 20, connections: 8, opcode: 'ping', rate: 1000 }],
  },
  {
    ...blocked,
    name: 'js-blocked/declared',
    about: `1,000 requests/s of a DeclarativeResponse on 8 connections, ${BLOCKED}`,
    server: 'http.js',
    load: ['http', { path: '/declared', connections: 8, rate: 1000, 'expect-body': 'Hello World!' }],
    unit: 'request',
    needs: (uWS) => Boolean(uWS.DeclarativeResponse),
  },
];
