'use strict';

// The HTTP programs on `node:http`.

const http = require('http');
const { PERIOD, pattern } = require('../pattern.js');
const { block, burn, counters, options, print } = require('../support.js');

const send = (res, body, headers = {}) =>
  res.writeHead(200, { ...headers, 'Content-Length': Buffer.byteLength(body) }).end(body);

const hello = (req, res) => {
  if (options.burn) burn(options.burn);
  send(res, 'Hello World!');
};

const json = (req, res) => {
  const chunks = [];
  req.on('data', (chunk) => chunks.push(chunk));
  req.on('end', () => {
    const { id, tags, text } = JSON.parse(Buffer.concat(chunks).toString());
    const answer = JSON.stringify({ id, tags: tags.length, length: text.length });
    send(res, answer, { 'Content-Type': 'application/json' });
  });
};

const fixed = (body) => (req, res) =>
  send(res, body, { 'Content-Type': 'application/octet-stream', ETag: '"1"' });

const upload = (req, res) => {
  let received = 0;
  let wrong = null;
  req.on('data', (chunk) => {
    if (chunk[0] !== received % PERIOD) wrong ??= received;
    received += chunk.length;
  });
  req.on('end', () => send(res, wrong === null ? String(received) : `wrong at ${wrong}`));
};

const routes = {
  '/': hello,
  '/json': json,
  '/static': fixed(pattern(64 * 1024)),
  '/download': fixed(pattern(options.download ?? 0)),
  '/upload': upload,
};

if (options.block) block(...options.block);
const server = http.createServer((req, res) => {
  counters.messages += 1;
  routes[req.url](req, res);
});
// The generator keeps its connections longer than 5 s.
server.keepAliveTimeout = 0;
server.listen(0, '127.0.0.1', () => print({ port: server.address().port }));
