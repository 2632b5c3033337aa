'use strict';

// All programs on Bun's own server.

const { PERIOD, pattern } = require('../pattern.js');
const { block, burn, counters, options, print, program } = require('../support.js');

const TOPIC = 'all';
const MIB = 1024 * 1024;

const echo = (socket, message) => {
  counters.messages += 1;
  if (options.burn) burn(options.burn);
  socket.send(message);
};

const publish = (socket, message) => {
  if (message.length === 3) {
    socket.subscribe(TOPIC);
    return socket.send('ok');
  }
  counters.messages += 1;
  server.publish(TOPIC, message);
};

const hello = () => {
  if (options.burn) burn(options.burn);
  return new Response('Hello World!');
};

const json = async (request) => {
  const { id, tags, text } = await request.json();
  return Response.json({ id, tags: tags.length, length: text.length });
};

const fixed = (body) => () =>
  new Response(body, { headers: { 'Content-Type': 'application/octet-stream', ETag: '"1"' } });

const upload = async (request) => {
  let received = 0;
  let wrong = null;
  for await (const chunk of request.body) {
    if (chunk[0] !== received % PERIOD) wrong ??= received;
    received += chunk.length;
  }
  return new Response(wrong === null ? String(received) : `wrong at ${wrong}`);
};

const routes = {
  '/': hello,
  '/json': json,
  '/static': fixed(pattern(64 * 1024)),
  '/download': fixed(pattern(options.download ?? 0)),
  '/upload': upload,
};

const answer = (request) => {
  counters.messages += 1;
  return routes[new URL(request.url).pathname](request);
};

if (options.block) block(...options.block);
const server = global.Bun.serve({
  hostname: '127.0.0.1',
  port: 0,
  idleTimeout: 0,
  maxRequestBodySize: 1024 * MIB,
  fetch(request, self) {
    if (program === 'http.js') return answer(request);
    return self.upgrade(request) ? undefined : new Response(null, { status: 400 });
  },
  websocket: {
    idleTimeout: 0,
    maxPayloadLength: 16 * MIB,
    backpressureLimit: 64 * MIB,
    message: program === 'ws-publish.js' ? publish : echo,
  },
});
print({ port: server.port });
