'use strict';

// Measures the time from before `require` to the first byte of a response, seen by a client in the same
// process.

const net = require('net');
const { modulePath, print } = require('./support.js');

const start = performance.now();
const uWS = require(modulePath);
const required = performance.now();

const report = () => {
  print({ requireMs: required - start, firstByteMs: performance.now() - start });
};

uWS
  .App()
  .get('/*', (res) => res.end('Hello World!'))
  .listen('127.0.0.1', 0, (token) => {
    const client = net.connect(uWS.us_socket_local_port(token), '127.0.0.1');
    client.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
    client.once('data', report);
  });
