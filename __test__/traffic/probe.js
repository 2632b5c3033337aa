'use strict';
// Asks a server again and again, on a new connection each time, how long it takes to be served. It runs in a
// thread of its own, since the clients of a run keep theirs busy.

const net = require('node:net');
const { parentPort, workerData } = require('node:worker_threads');

const REQUEST = 'GET /declared/1?v=probe HTTP/1.1\r\nHost: a\r\n\r\n';
const PAUSE_MS = 100;

function ask() {
  return new Promise((resolve) => {
    const began = Date.now();
    const socket = net.connect(workerData.port, '127.0.0.1', () => socket.write(REQUEST));
    socket.on('error', () => {});
    socket.on('data', () => socket.destroy());
    socket.on('close', () => resolve(Date.now() - began));
  });
}

async function main() {
  for (;;) {
    parentPort.postMessage(await ask());
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}

main();
