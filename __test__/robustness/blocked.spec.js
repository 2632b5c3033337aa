'use strict';
const { it, assert, Peer, WsPeer, get, PONG, upgradeRequest } = require('../support');
const { Program, sleep } = require('./program');

const BLOCKED = 2000;

/** A server that the message `block` blocks, by sleeping or by work. */
const body = ({ listening }) => {
  const ways = {
    sleep: (ms) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms),
    work: (ms) => {
      for (const end = Date.now() + ms; Date.now() < end;);
    },
  };
  let opened = 0;
  const server = listening((app) =>
    app
      .get('/hello', (res) => res.end('hello'))
      .ws('/echo', {
        message: (ws, message) => ws.send(message),
        close: (ws, code) => console.log(`left ${code}`),
      })
      .ws('/count', { message: (ws) => ws.send(`${++opened}`) })
      .ws('/open', { open: (ws) => ws.send('open') })
      .ws('/upgraded', { upgrade: (res) => res.end('no') })
      .ws('/control', {
        maxBackpressure: 64 << 20,
        message(ws, message) {
          const [command, way, milliseconds] = Buffer.from(message).toString().split(' ');
          if (command === 'backlog') for (let i = 0; i < 200; i++) ws.send(Buffer.alloc(100000, i), true);
          // Waits for the next turn, when the data sent here has been handed over.
          setImmediate(() =>
            setImmediate(() => {
              if (command !== 'backlog') ways[way](Number(milliseconds));
              ws.send(`done ${opened}`);
            }),
          );
        },
      }),
  );
  console.log(`port ${server.port}`);
};

/** Runs `during(port)` while JavaScript is blocked; fails if it took until JavaScript ran again. */
async function whileBlocked(t, way, during, prepare = async () => {}) {
  const program = Program.start(t, body);
  const port = Number(await program.said('port'));
  const control = await WsPeer.open(port, '/control');
  const prepared = await prepare(port);
  await control.text(`block ${way} ${BLOCKED}`);
  await sleep(100);
  const started = Date.now();
  const result = await during(port, prepared);
  assert.equal(control.size, 0, 'it took as long as JavaScript was blocked');
  // It has been blocked for 100 ms at most when this begins.
  assert.ok(Date.now() - started < BLOCKED - 200, `it took ${Date.now() - started} ms`);
  assert.match(await control.message(), /^done/);
  control.destroy();
  return { result, program };
}

for (const way of ['sleep', 'work']) {
  it(`JavaScript is blocked (${way}): pings, upgrades and requests without a route are answered before it is back`, async (t) => {
    const { result } = await whileBlocked(
      t,
      way,
      async (port, old) => {
        for (let i = 0; i < 50; i++) await old.ping(`ping ${i}`);
        for (let i = 0; i < 50; i++) {
          const { opcode, text } = await old.frame();
          assert.deepEqual([opcode, text], [PONG, `ping ${i}`]);
        }
        const opened = await Promise.all(Array.from({ length: 40 }, () => WsPeer.open(port, '/count')));
        for (const peer of opened) await peer.text('count');
        await opened[0].ping('new');
        assert.equal((await opened[0].frame()).opcode, PONG);
        const waiting = await Peer.connect(port);
        await waiting.send(get('/hello'));
        const opening = await Peer.connect(port);
        await opening.send(upgradeRequest('/open'));
        for (let i = 0; i < 10; i++) await askUnrouted(port);
        assert.equal(waiting.size, 0, 'a routed request waits for its handler');
        assert.ok(
          opened.every((peer) => peer.size === 0),
          'no handler has run',
        );
        assert.equal(opening.size, 0, 'an answer follows the open handler');
        return { old, opened, waiting, opening };
      },
      (port) => WsPeer.open(port, '/echo'),
    );
    const { old, opened, waiting, opening } = result;
    const numbers = await Promise.all(opened.map((peer) => peer.message()));
    assert.deepEqual(
      numbers.map(Number).sort((a, b) => a - b),
      Array.from({ length: 40 }, (_, i) => i + 1),
    );
    assert.equal((await waiting.response()).body, 'hello');
    assert.equal((await waiting.request(get('/nothing'))).code, 404);
    assert.equal((await opening.head()).code, 101);
    for (const peer of [old, waiting, opening, ...opened]) peer.destroy();
  });
}

/** Sends two requests without a route on one connection, and bytes that are not a request on another. */
async function askUnrouted(port) {
  const peer = await Peer.connect(port);
  for (let i = 0; i < 2; i++) assert.equal((await peer.request(get(`/nothing/${i}`))).code, 404);
  peer.destroy();
  const broken = await Peer.connect(port);
  await broken.send('NO HTTP\r\n\r\n');
  assert.equal((await broken.response()).code, 400);
  broken.destroy();
}

it('JavaScript is blocked: a backlog of 20 MB drains to a client that begins to read', async (t) => {
  const { result: peer } = await whileBlocked(
    t,
    'sleep',
    async (port, peer) => {
      peer.resume();
      for (let i = 0; i < 200; i++) {
        const { data } = await peer.frame();
        // The bytes are not sent one by one, since the program is blocked only for some time.
        assert.ok(data.equals(Buffer.alloc(100000, i)), `message ${i}`);
      }
      return peer;
    },
    async (port) => {
      const peer = await WsPeer.open(port, '/control');
      peer.pause();
      await peer.text('backlog');
      await sleep(300);
      return peer;
    },
  );
  assert.match(await peer.message(), /^done/);
  peer.destroy();
});

it('JavaScript is blocked: data sent meanwhile is handled afterwards, in order and once; clients that left are closed', async (t) => {
  const { result: peers, program } = await whileBlocked(
    t,
    'work',
    async (port, [staying, leaving]) => {
      for (let i = 0; i < 500; i++) await staying.text(`message ${i}`);
      await leaving.ping('x');
      assert.equal((await leaving.frame()).opcode, PONG);
      await leaving.text('never answered');
      leaving.reset();
      return [staying, leaving];
    },
    (port) => Promise.all([WsPeer.open(port, '/echo'), WsPeer.open(port, '/echo')]),
  );
  assert.deepEqual(
    await peers[0].messages(500),
    Array.from({ length: 500 }, (_, i) => `message ${i}`),
  );
  assert.equal(await program.said('left'), '1006');
  await peers[0].ping('end');
  const { opcode, text } = await peers[0].frame();
  assert.deepEqual([opcode, text], [PONG, 'end']);
  peers[0].destroy();
});
