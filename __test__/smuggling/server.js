'use strict';
// A server that says of each request how it understood it: the response has a field X-Seen with method,
// target, body and the mark of a proxy, in base64. As a program of its own it serves until its standard
// input ends:
//
//   node server.js http | ours | ours-tls | <path of a uWebSockets.js>

const http = require('http');
const path = require('path');
const { plain, summary } = require('./reference');

const encode = (seen) => Buffer.from(JSON.stringify(seen)).toString('base64url');
/** An absolute form names the same resource as its origin form. */
const origin = (target) => target.replace(/^(?:https?|wss?):\/\/[^/?]*\/?/i, '/');

function describe(method, target, mark, chunks) {
  const body = summary(Buffer.concat(chunks).toString('latin1'));
  return { method, target: summary(plain(origin(target))), mark, body };
}

/** Lets an app of uWebSockets.js's API answer every request; `report` is told of each, too. */
function echo(app, report = () => {}) {
  return app.any('/*', (res, req) => {
    const query = req.getQuery();
    const target = req.getUrl() + (query === undefined || query === '' ? '' : `?${query}`);
    const [method, mark] = [req.getCaseSensitiveMethod(), req.getHeader('x-proxy-mark')];
    const chunks = [];
    report({ begun: true, method, target, mark });
    res.onAborted(() => report({ aborted: true }));
    res.onData((chunk, last) => {
      chunks.push(Buffer.from(Buffer.from(chunk)));
      if (!last) return;
      const seen = describe(method, target, mark, chunks);
      report(seen);
      res.cork(() => res.writeHeader('X-Seen', encode(seen)).end());
    });
  });
}

function startUws(name) {
  const uWS = require(name.startsWith('ours') ? path.join(__dirname, '../..') : name);
  const app = name === 'ours-tls' ? uWS.SSLApp(require('../tls/certificates').shared()) : uWS.App();
  echo(app).listen('127.0.0.1', 0, (token) => announce(uWS.us_socket_local_port(token)));
}

/** Node's own server in its strict mode, the default. */
function startNode() {
  const server = http.createServer({ keepAliveTimeout: 60000 }, answer);
  // Clients come and go as they like.
  server.on('connection', (socket) => socket.on('error', () => {}));
  server.on('checkContinue', (request, response) => {
    response.writeContinue();
    answer(request, response);
  });
  // A CONNECT has no body, and no request follows it on its connection.
  server.on('connect', (request, socket) => {
    const seen = describe(request.method, request.url, '', []);
    socket.end(`HTTP/1.1 200 OK\r\nX-Seen: ${encode(seen)}\r\n\r\n`);
  });
  server.on('clientError', (error, socket) => {
    if (!socket.writable) return socket.destroy();
    // The end of the connection amid a request is no fault of its syntax.
    const atEnd = error.code === 'HPE_INVALID_EOF_STATE' || error.code === 'ECONNRESET';
    socket.end(atEnd ? '' : 'HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n');
  });
  server.listen(0, '127.0.0.1', () => announce(server.address().port));
}

function answer(request, response) {
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', () => {
    response.setHeader('X-Seen', encode(describe(request.method, request.url, '', chunks)));
    response.end();
  });
  request.on('error', () => {});
}

function announce(port) {
  process.stdout.write(`${port}\n`);
}

module.exports = { echo };

if (require.main === module) {
  if (process.argv[2] === 'http') startNode();
  else startUws(process.argv[2]);
  process.stdin.on('end', () => process.exit()).resume();
}
