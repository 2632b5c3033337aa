'use strict';
const { it, assert } = require('../support');
const { Program } = require('./program');

const SUPPORT = require.resolve('../support');

/** A worker that serves HTTP and WebSockets and publishes all the time. */
const SOURCE = `
const { parentPort, workerData } = require('node:worker_threads');
const { uWS } = require(workerData.support);
const app = uWS.App();
const large = Buffer.alloc(20000, 'x');
app
  .get('/*', (res) => res.end('worker'))
  .post('/*', (res) => { res.onAborted(() => {}); res.collectBody(1e6, (body) => res.end(body)); })
  .ws('/*', {
    maxPayloadLength: 1 << 20,
    open(ws) { ws.subscribe('news'); },
    message(ws, message, isBinary) { ws.send(message, isBinary); },
    close() { if (workerData.exitIn === 'close') process.exit(4); },
  });
app.listen(0, (token) => parentPort.postMessage(uWS.us_socket_local_port(token)));
setInterval(() => { for (let i = 0; i < 10; i++) app.publish('news', large, true); }, 2);
parentPort.on('message', () => process.exit(4));`;

/**
 * For the child processes below: a worker under load from `clients` connections of each kind, none of which
 * may wait for the end.
 */
const loaded = async ({ Peer, WsPeer, get, post, frame }, { source, support }, exitIn) => {
  const { Worker } = require('node:worker_threads');
  const thread = new Worker(source, { eval: true, workerData: { support, exitIn } });
  thread.on('error', (error) => console.log(`error ${error.message}`));
  const exit = new Promise((resolve) => thread.once('exit', resolve));
  const port = await new Promise((resolve) => thread.once('message', resolve));
  const peers = [];
  let answered = 0;
  for (let i = 0; i < 6; i++) {
    const socket = await WsPeer.open(port);
    const plain = await Peer.connect(port);
    const body = 'b'.repeat(30000);
    const batch = Buffer.concat(
      Array.from({ length: 20 }, (_, n) => frame({ payload: Buffer.alloc(n * 500, 'm') })),
    );
    const requests = get('/').repeat(10) + post('/', body);
    for (const [peer, data] of [
      [socket, batch],
      [plain, requests],
    ]) {
      peer.socket.removeAllListeners('data');
      peer.socket.on('data', (chunk) => (answered += chunk.length));
      const more = () => {
        if (peer.state !== 'open') clearInterval(timer);
        else if (peer.socket.writableLength === 0) peer.socket.write(data, 'latin1');
      };
      const timer = setInterval(more, 4);
      more();
      peers.push(peer);
    }
  }
  return { thread, exit, peers, answered: () => answered };
};

const argument = { source: SOURCE, support: SUPPORT, loaded: String(loaded) };

it(
  'terminate() under load ten times: the process and its own app live on, no thread or descriptor is left',
  { timeout: 40000 },
  async (t) => {
    const program = Program.start(
      t,
      async (support, given) => {
        const fs = require('node:fs');
        const { listening, get, until } = support;
        const load = eval(given.loaded);
        const count = (what) => fs.readdirSync(`/proc/self/${what}`).length;
        const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
        const server = listening((app) =>
          app.get('/*', (res) => res.end('main')).ws('/*', { message: (ws, message) => ws.send(message) }),
        );
        const socket = await server.ws('/');
        const plain = await server.connect();
        const cycle = async (milliseconds) => {
          const { thread, peers, answered } = await load(support, given);
          await sleep(milliseconds);
          await until(() => answered() >= 1000);
          await thread.terminate();
          await Promise.all(peers.map((peer) => peer.gone()));
          for (const peer of peers) peer.destroy();
          await socket.text('main');
          if ((await socket.message()) !== 'main') throw new Error('another echo');
          if ((await plain.request(get('/'))).body !== 'main') throw new Error('another body');
        };
        const settled = async (tasks, descriptors) => {
          for (let i = 0; i < 200 && (count('task') > tasks || count('fd') > descriptors); i++)
            await sleep(10);
          return [count('task'), count('fd')];
        };
        await cycle(50);
        await sleep(300);
        const before = [count('task'), count('fd')];
        for (let round = 0; round < 10; round++) await cycle(40 + round * 15);
        const after = await settled(...before);
        console.log(`result ${JSON.stringify({ before, after })}`);
        socket.destroy();
        plain.destroy();
        server.app.close();
      },
      argument,
    );
    const run = await program.endWithin(35000);
    assert.ok(run, `hangs: ${program.stdout} ${program.stderr}`);
    assert.deepEqual([run.code, run.signal, run.stderr], [0, null, '']);
    const { before, after } = JSON.parse(await program.said('result'));
    assert.ok(after[0] <= before[0], `threads: ${before[0]} before, ${after[0]} after`);
    assert.ok(after[1] <= before[1], `descriptors: ${before[1]} before, ${after[1]} after`);
  },
);

for (const where of ['message to the thread', 'close']) {
  it(`process.exit() in a worker under load (${where}) ends that worker only`, async (t) => {
    const program = Program.start(
      t,
      async (support, given) => {
        const server = support.listening((app) => app.get('/*', (res) => res.end('main')));
        const { thread, exit, peers } = await eval(given.loaded)(support, given, given.where);
        setTimeout(() => (given.where === 'close' ? peers[0].reset() : thread.postMessage('exit')), 100);
        const code = await exit;
        await Promise.all(peers.map((peer) => peer.gone()));
        const { body } = await (await server.connect()).request(support.get('/'));
        console.log(`result ${code} ${body}`);
        process.exit(0);
      },
      { ...argument, where },
    );
    const run = await program.endWithin(10000);
    assert.ok(run, 'hangs');
    assert.deepEqual([run.stdout, run.code, run.stderr], ['result 4 main\n', 0, '']);
  });
}

it('the main thread exits while three workers are under load', async (t) => {
  const program = Program.start(
    t,
    async (support, given) => {
      for (let i = 0; i < 3; i++) await eval(given.loaded)(support, given);
      setTimeout(() => process.exit(9), 200);
    },
    argument,
  );
  const run = await program.endWithin(10000);
  assert.ok(run, 'hangs');
  assert.deepEqual([run.code, run.signal, run.stderr], [9, null, '']);
});

it('the main thread dies of an uncaught exception while workers are under load', async (t) => {
  const program = Program.start(
    t,
    async (support, given) => {
      for (let i = 0; i < 2; i++) await eval(given.loaded)(support, given);
      setTimeout(() => {
        throw new Error('mine');
      }, 100);
    },
    argument,
  );
  const run = await program.endWithin(10000);
  assert.ok(run, 'hangs');
  assert.deepEqual([run.code, run.signal], [1, null]);
  assert.match(run.stderr, /Error: mine/);
});

it('loaded by eight workers at once, and again after they ended', { timeout: 30000 }, async (t) => {
  const program = Program.start(
    t,
    async ({ Peer, WsPeer, get }, { support, source }) => {
      const { Worker } = require('node:worker_threads');
      const round = async () => {
        const threads = Array.from(
          { length: 8 },
          () => new Worker(source, { eval: true, workerData: { support } }),
        );
        const exits = threads.map((thread) => new Promise((resolve) => thread.once('exit', resolve)));
        const ports = await Promise.all(
          threads.map((thread) => new Promise((resolve) => thread.once('message', resolve))),
        );
        for (const port of ports) {
          const peer = await Peer.connect(port);
          const socket = await WsPeer.open(port);
          console.log((await peer.request(get('/'))).body, (await socket.frame()).data.length);
        }
        threads.forEach((thread, index) => (index % 2 ? thread.terminate() : thread.postMessage('exit')));
        const codes = await Promise.all(exits);
        console.log(codes.filter((code, index) => code === (index % 2 ? 1 : 4)).length);
      };
      await round();
      await round();
      process.exit(0);
    },
    argument,
  );
  const run = await program.endWithin(25000);
  assert.ok(run, `hangs: ${program.stdout}`);
  assert.deepEqual(
    [run.stdout, run.code, run.stderr],
    [('worker 20000\n'.repeat(8) + '8\n').repeat(2), 0, ''],
  );
});

/** The places where a process ends itself, and the requests by which a client gets there. */
const ENDS = {
  'a route': { go: ({ plain, get }) => plain.send(get('/exit')) },
  onData: { go: ({ plain, post }) => plain.send(post('/data', 'x')) },
  onAborted: {
    go: async ({ plain, get, until, handled }) => {
      await plain.send(get('/abort'));
      await until(() => handled.has('/abort'));
      plain.reset();
    },
  },
  upgrade: { go: ({ plain, upgradeRequest }) => plain.send(upgradeRequest('/upgrade')) },
  open: { go: ({ plain, upgradeRequest }) => plain.send(upgradeRequest('/open')) },
  message: { go: ({ socket }) => socket.text('exit') },
  close: { go: ({ socket }) => socket.reset() },
  'the close that app.close() causes': { go: ({ socket }) => socket.text('close') },
};
for (const [name, { go }] of Object.entries(ENDS)) {
  it(`process.exit() in ${name}`, async (t) => {
    const program = Program.start(
      t,
      async (support, how) => {
        const exit = () => process.exit(6);
        const handled = new Set();
        const server = support.listening((app) =>
          app
            .get('/exit', exit)
            .post('/data', (res) => res.onAborted(() => {}).onData(exit))
            .get('/abort', (res) => handled.add('/abort') && res.onAborted(exit))
            .ws('/upgrade', { upgrade: exit })
            .ws('/open', { open: exit })
            .ws('/', {
              message: (ws, message) => (Buffer.from(message).toString() === 'exit' ? exit() : app.close()),
              close: exit,
            }),
        );
        const others = [await server.connect(), await server.connect()];
        for (const other of others)
          await other.send(
            support.post('/data', '', ['Content-Length: 10']).replace('Content-Length: 0\r\n', ''),
          );
        await eval(how)({ ...support, handled, plain: await server.connect(), socket: await server.ws('/') });
      },
      String(go),
    );
    const run = await program.endWithin(6000);
    assert.ok(run, 'hangs');
    assert.deepEqual([run.code, run.signal, run.stderr], [6, null, '']);
  });
}

/** A worker that passes every large buffer that it is lent on to the main thread, and then ends. */
const GIVES_AWAY = `
const { parentPort, workerData } = require('node:worker_threads');
const { uWS } = require(workerData.support);
const give = (lent) => {
  if (lent.byteLength < 32768) return;
  const own = workerData.how === 'transfer()' ? lent.transfer() : lent;
  parentPort.postMessage(own, [own]);
  if (lent.byteLength !== 0) throw new Error('not transferred');
};
uWS
  .App()
  .ws('/*', { maxPayloadLength: 1 << 20, message: (ws, message) => { give(message); process.exit(0); } })
  .post('/*', (res) => {
    res.onAborted(() => {});
    res.onData((chunk, last) => { give(chunk); if (last) res.end(); });
  })
  .listen(0, (token) => parentPort.postMessage(uWS.us_socket_local_port(token)));`;

for (const how of ['transfer()', 'postMessage']) {
  const missing = how === 'transfer()' && ArrayBuffer.prototype.transfer === undefined;
  it(
    `what a worker was lent and gave away with ${how} outlives it`,
    { skip: missing && 'this runtime has no transfer()' },
    async (t) => {
      const program = Program.start(
        t,
        async ({ Peer, WsPeer, post }, given) => {
          const { Worker } = require('node:worker_threads');
          const kept = [];
          for (let round = 0; round < 5; round++) {
            const thread = new Worker(given.source, { eval: true, workerData: given });
            const exit = new Promise((resolve) => thread.once('exit', resolve));
            const port = await new Promise((resolve) => thread.once('message', resolve));
            thread.on('message', (buffer) => kept.push(buffer));
            await (await Peer.connect(port)).request(post('/', 'b'.repeat(300000)));
            await (await WsPeer.open(port)).binary(Buffer.alloc(500000, 'm'));
            await exit;
          }
          await new Promise((resolve) => setTimeout(resolve, 50));
          const texts = kept.map((buffer) => Buffer.from(buffer).toString('latin1'));
          const whole = texts.every((text) => /^(b+|m+)$/.test(text));
          console.log(`result ${whole} ${texts.filter((text) => text.length === 500000).length}`);
          process.exit(0);
        },
        { support: SUPPORT, source: GIVES_AWAY, how },
      );
      const run = await program.endWithin(10000);
      assert.ok(run, 'hangs');
      assert.deepEqual([run.stdout, run.code, run.signal, run.stderr], ['result true 5\n', 0, null, '']);
    },
  );
}
