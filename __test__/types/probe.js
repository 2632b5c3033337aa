'use strict';
// `node probe.js MODULE` prints, as JSON, the names that a module exports and those of its objects. It is a
// process of its own, so that a module may end it, and two originals do not meet.

const net = require('node:net');

/** The names of an object's prototypes, and of its own properties as far as they are visible. */
function namesOf(object) {
  const names = new Set(Object.keys(object));
  for (let at = Object.getPrototypeOf(object); at !== Object.prototype; at = Object.getPrototypeOf(at)) {
    for (const name of Object.getOwnPropertyNames(at)) names.add(name);
  }
  names.delete('constructor');
  return [...names].sort();
}

const UPGRADE = [
  'GET / HTTP/1.1',
  'Host: localhost',
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
];

function probe(uWS) {
  const found = { exports: Object.keys(uWS).sort(), app: [], res: [], req: [], ws: [], declarative: [] };
  if (uWS.DeclarativeResponse) found.declarative = namesOf(new uWS.DeclarativeResponse());
  const app = uWS.App();
  found.app = namesOf(app);
  app.ws('/*', {
    upgrade: (res, req, context) => {
      Object.assign(found, { res: namesOf(res), req: namesOf(req) });
      const header = (name) => req.getHeader(`sec-websocket-${name}`);
      res.upgrade({}, header('key'), header('protocol'), header('extensions'), context);
    },
    open: (ws) => {
      found.ws = namesOf(ws);
      process.stdout.write(JSON.stringify(found), () => process.exit(0));
    },
  });
  app.listen('127.0.0.1', 0, (token) => {
    const port = uWS.us_socket_local_port(token);
    net.connect(port, '127.0.0.1', function connected() {
      this.write(`${UPGRADE.join('\r\n')}\r\n\r\n`);
    });
  });
}

probe(require(process.argv[2]));
