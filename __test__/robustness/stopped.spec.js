'use strict';
// A process that was stopped for longer than its timeouts (by a debugger, a frozen container, a suspended
// machine) first reads the data that its clients have sent meanwhile.

const { it, assert, Peer, WsPeer, get } = require('../support');
const { Program, sleep } = require('./program');

const STOPPED_S = 11;

it('clients that spoke while the process was stopped are not timed out', { timeout: 60000 }, async (t) => {
  const program = Program.start(t, ({ listening }) => {
    const server = listening((app) => {
      app.setIdleTimeout?.(3);
      app.setResponseTimeout?.(3);
      app.get('/hello', (res) => res.end('hello'));
      app.post('/body', (res) => {
        res.onAborted(() => console.log('aborted '));
        let length = 0;
        res.onData((chunk, last) => {
          length += chunk.byteLength;
          if (last) res.end(`${length}`);
        });
      });
      app.ws('/*', {
        idleTimeout: 8,
        sendPingsAutomatically: false,
        message: (ws, message) => ws.send(message),
        close: (ws, code) => console.log(`left ${code}`),
      });
    });
    console.log(`port ${server.port}`);
  });
  const port = Number(await program.said('port'));
  const sockets = await Promise.all(Array.from({ length: 30 }, () => WsPeer.open(port, '/')));
  const idle = await Promise.all(Array.from({ length: 10 }, () => Peer.connect(port)));
  for (const peer of idle) assert.equal((await peer.request(get('/hello'))).body, 'hello');
  const uploads = await Promise.all(Array.from({ length: 5 }, () => Peer.connect(port)));
  const head = 'POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n';
  for (const peer of uploads) await peer.send(head + 'x'.repeat(10000));
  await sleep(100);
  program.process.kill('SIGSTOP');
  // All of them send in time.
  await sleep(1000);
  for (const peer of sockets) await peer.text('still here');
  for (const peer of idle) await peer.send(get('/hello'));
  for (const peer of uploads) await peer.send('x'.repeat(90000));
  await sleep((STOPPED_S - 1) * 1000);
  program.process.kill('SIGCONT');
  for (const peer of sockets) assert.equal(await peer.message(), 'still here');
  for (const peer of idle) assert.equal((await peer.response()).body, 'hello');
  for (const peer of uploads) assert.equal((await peer.response()).body, '100000');
  assert.ok(!program.stdout.includes('left') && !program.stdout.includes('aborted'), program.stdout);
});
