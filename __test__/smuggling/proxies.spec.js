'use strict';
// The cases through nginx, HAProxy and Varnish to uws-rs. Proxy and server must agree about every request
// on their connections; other differences are explained in disagreements.js, and each explanation is
// needed.
const net = require('node:net');
const { it, assert } = require('../support');
const { logFaults, ourOutcomes, startGuarded, through, throughWay } = require('./differential');
const { unexplained } = require('./disagreements');
const { PROXIES, WAYS, missing, startProxy } = require('./proxies');

const ours = ourOutcomes();
const skip = missing().length ? `there is no ${missing().join(', ')}` : false;

for (const name of PROXIES) {
  it(`${name} in front`, { skip, timeout: 120000 }, async () => {
    const proxy = await startGuarded(name, WAYS[name]);
    try {
      const outcomes = await ours;
      const results = await Promise.all(proxy.ways.map((way) => throughWay(way, outcomes)));
      const faults = results.flatMap((result) => result.faults);
      assert.deepEqual([...faults, ...(await logFaults(proxy))], []);
      const found = results.flatMap(({ differences }) => differences);
      assert.deepEqual(unexplained(WAYS[name], found), []);
    } finally {
      await proxy.stop();
    }
  });
}

it('a server that divides the bytes otherwise than its proxy is found out', { skip }, async () => {
  // It knows no bodies, so that a body is a request to it.
  const backend = { begun: [], seen: [] };
  const server = net.createServer((socket) => {
    let text = '';
    socket.on('error', () => {});
    socket.on('data', (data) => {
      text += data.toString('latin1');
      for (let end; (end = text.indexOf('\r\n\r\n')) >= 0; text = text.slice(end + 4)) {
        const head = text.slice(0, end);
        const [method, target] = head.split(' ');
        const mark = /^x-proxy-mark: *(\S*)/im.exec(head)?.[1] ?? '';
        backend.begun.push({ method, target, mark });
        const seen = Buffer.from(JSON.stringify({ method, target, mark, body: '' })).toString('base64url');
        socket.write(`HTTP/1.1 200 OK\r\nX-Seen: ${seen}\r\nContent-Length: 0\r\n\r\n`);
      }
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  const proxy = await startProxy('haproxy', [port, port]);
  const way = Object.assign(proxy.ways[0], { backend });
  const hidden = 'GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n';
  const stream = `POST /c HTTP/1.1\r\nHost: h\r\nContent-Length: ${hidden.length}\r\n\r\n${hidden}`;
  try {
    const { faults } = await through(way, [stream]);
    assert.ok(
      faults.some((text) => text.startsWith('GET /hidden came')),
      faults.join('\n'),
    );
  } finally {
    await proxy.stop();
    server.close();
  }
});
