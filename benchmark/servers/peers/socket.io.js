'use strict';

// The WebSocket programs on socket.io: each message is an event `m` with one text.

const { createServer } = require('http');
const { Server } = require('socket.io');
const { block, burn, counters, options, print, program } = require('../support.js');

const TOPIC = 'all';

const echo = (socket, text) => {
  counters.messages += 1;
  if (options.burn) burn(options.burn);
  socket.emit('m', text);
};

const publish = (socket, text) => {
  if (text.length === 3) {
    socket.join(TOPIC);
    return socket.emit('m', 'ok');
  }
  counters.messages += 1;
  io.to(TOPIC).emit('m', text);
};

const receive = { 'ws-echo.js': echo, 'ws-publish.js': publish }[program];

if (options.block) block(...options.block);
const server = createServer();
const io = new Server(server, { transports: ['websocket'], maxHttpBufferSize: 16 * 1024 * 1024 });
io.on('connection', (socket) => socket.on('m', (text) => receive(socket, text)));
server.listen(0, '127.0.0.1', () => print({ port: server.address().port }));
