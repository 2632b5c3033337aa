'use strict';
// Clients that send tiny messages endlessly, and one that waits for a response each time: it must get its
// turn.

const { Worker } = require('node:worker_threads');
const { it, assert, serve, get, upgradeRequest } = require('../support');

/**
 * Floods and the polite client, in a thread of their own. It posts how many messages of the floods were
 * handled between two responses: the median, since the clients themselves may have to wait for a processor.
 */
function clients({ port, floods, upgrade, tls, answers }) {
  const worker = new Worker(
    `const { workerData: { port, floods, upgrade, secure, answers }, parentPort } = require('worker_threads');
    const connect = (ready) => {
      const where = { port, host: '127.0.0.1', rejectUnauthorized: false };
      const socket = secure ? require('tls').connect(where, ready) : require('net').connect(where, ready);
      socket.on('error', () => {});
      return socket;
    };
    const tiny = Buffer.from([0x82, 0x81, 0, 0, 0, 0, 7]);
    const flood = Buffer.alloc(tiny.length * 30000, tiny);
    for (let i = 0; i < floods; i++) {
      const socket = connect(() => {
        socket.write(upgrade);
        const go = () => { while (socket.write(flood)); socket.once('drain', go); };
        setTimeout(go, 50);
      });
      socket.on('data', () => {});
    }
    const polite = connect(() => polite.write(upgrade));
    let got = '', last = -1;
    const between = [];
    const ask = () => polite.write(Buffer.from([0x82, 0x82, 0, 0, 0, 0, 7, 7]));
    setTimeout(ask, 400);
    polite.on('data', (data) => {
      got += data.toString('latin1');
      for (let at; (at = got.indexOf(';')) >= 0; got = got.slice(at + 1)) {
        const handled = Number(got.slice(got.indexOf('#') + 1, at));
        if (last >= 0) between.push(handled - last);
        last = handled;
        if (between.length === answers) {
          parentPort.postMessage(between.sort((a, b) => a - b)[answers >> 1]);
          process.exit();
        }
        ask();
      }
    });`,
    { eval: true, workerData: { port, floods, upgrade, secure: tls, answers } },
  );
  return new Promise((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
}

it(
  'a client that waits for its answers is not behind all of what floods have sent',
  { timeout: 60000 },
  async (t) => {
    let handled = 0;
    const server = serve(t, (app) => {
      app.get('/*', (res) => res.end('x'));
      app.ws('/*', {
        idleTimeout: 0,
        message(ws, message) {
          if (message.byteLength === 2) ws.send(`#${handled};`);
          else handled++;
        },
      });
    });
    const floods = 20;
    const answers = 150;
    const median = await clients({
      port: server.port,
      floods,
      answers,
      upgrade: upgradeRequest('/'),
      tls: process.env.UWS_TLS === '1',
    });
    assert.ok(handled > 20000, `${handled} messages of floods`);
    // The bound is the queue, the batch before it, and a share for each flood.
    assert.ok(median < 15000, `${median} messages of floods came before one answer`);
    assert.equal((await server.once(get('/'))).body, 'x');
  },
);
