'use strict';

// The WebSocket programs on the package `ws`.

const { WebSocketServer } = require('ws');
const { block, burn, counters, options, print, program } = require('../support.js');

const settings = { host: '127.0.0.1', port: 0, perMessageDeflate: false, maxPayload: 16 * 1024 * 1024 };

const echo = (socket) =>
  socket.on('message', (data, isBinary) => {
    counters.messages += 1;
    if (options.burn) burn(options.burn);
    socket.send(data, { binary: isBinary });
  });

const subscribers = new Set();

const publish = (socket) => {
  socket.on('close', () => subscribers.delete(socket));
  socket.on('message', (data, isBinary) => {
    if (data.length === 3) {
      subscribers.add(socket);
      return socket.send('ok');
    }
    counters.messages += 1;
    for (const subscriber of subscribers) subscriber.send(data, { binary: isBinary });
  });
};

const accept = { 'ws-echo.js': echo, 'ws-publish.js': publish }[program];

if (options.block) block(...options.block);
const server = new WebSocketServer(settings, () => print({ port: server.address().port }));
server.on('connection', (socket) => {
  socket.on('error', () => {});
  accept(socket);
});
