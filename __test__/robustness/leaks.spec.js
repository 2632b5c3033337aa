'use strict';
// The server is a process of its own, so that memory of its clients does not count.

const { it, assert, Peer, WsPeer, get, post, frame, upgradeRequest } = require('../support');
const { Program, eventually, sleep } = require('./program');

const body = ({ listening, uWS }) => {
  const block = (ms) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
  const counts = { opened: 0, closed: 0, messages: 0, bytes: 0, wrong: 0 };
  const chunk = Buffer.alloc(64 * 1024, 'c');
  let kept = null;
  const server = listening((app) =>
    app
      .get('/hello', (res, req) => res.writeHeader('x-agent', req.getHeader('user-agent')).end('hello'))
      .post('/body', (res) => {
        res.onAborted(() => {});
        res.collectBody(1e6, (whole) => res.end(whole));
      })
      .get('/memory', (res) => {
        res.onAborted(() => {});
        // The collector runs twice, with a turn between: finalizers of the first run may free more.
        globalThis.gc();
        setImmediate(() => {
          globalThis.gc();
          const { deliveries } = uWS.stats().webSocket;
          setImmediate(() => res.end(JSON.stringify({ ...process.memoryUsage(), ...counts, deliveries })));
        });
      })
      .get('/slow/:how/:mebibytes', (res, req) => {
        const [how, total] = [req.getParameter(0), Number(req.getParameter(1)) << 4];
        res.onAborted(() => {});
        const answers = [0, 0, 0];
        let number = 0;
        const some = () => {
          const end = how === 'tick' ? total : Math.min(total, number + 64);
          for (; number < end; number++) {
            chunk.writeUInt32BE(number);
            if (how === 'publish') app.publish('slow', chunk, true);
            else answers[kept.send(chunk, true)]++;
          }
          if (number < total) setImmediate(some);
          else res.cork(() => res.end(JSON.stringify(answers)));
        };
        some();
      })
      .ws('/echo', {
        compression: uWS.SHARED_COMPRESSOR,
        maxPayloadLength: 1 << 20,
        maxBackpressure: 64 << 20,
        open(ws) {
          counts.opened++;
          ws.subscribe('all');
          ws.subscribe(`own ${counts.opened}`);
        },
        message(ws, message, isBinary) {
          counts.messages++;
          ws.send(message, isBinary);
        },
        close: () => counts.closed++,
      })
      .ws('/upgraded', {
        upgrade(res, req, context) {
          const header = (name) => req.getHeader(`sec-websocket-${name}`);
          res.upgrade(
            { url: req.getUrl() },
            header('key'),
            header('protocol'),
            header('extensions'),
            context,
          );
        },
        open: () => counts.opened++,
        close: () => counts.closed++,
      })
      .ws('/slow', { maxBackpressure: 1 << 20, open: (ws) => (kept = ws).subscribe('slow') })
      .ws('/flood', {
        message(ws, message) {
          const data = Buffer.from(message);
          if (data.length < 100) {
            counts.bytes = counts.messages = 0;
            block(2000);
            console.log(`blocked ${process.memoryUsage().rss / 1048576}`);
            return;
          }
          if (data.readUInt32BE() !== counts.messages) counts.wrong++;
          counts.messages++;
          counts.bytes += data.length;
        },
      }),
  );
  console.log(`port ${server.port}`);
};

async function start(t) {
  const program = Program.start(t, body, null, { flags: ['--expose-gc'] });
  const port = Number(await program.said('port'));
  const memory = async () => {
    const peer = await Peer.connect(port);
    const answer = JSON.parse((await peer.request(get('/memory'))).body);
    peer.destroy();
    return answer;
  };
  return { program, port, memory };
}

/** Sends `data` that many times, and waits for as many bytes of responses. */
async function exchange(peer, data, answerLength, times) {
  for (let left = times; left > 0; left--) {
    peer.socket.write(data);
    // They are not sent all at once: waiting data is not what this measures.
    if (left % 16 === 1) await peer.take(answerLength * Math.min(16, times - left + 1));
  }
}

async function messages(port, count) {
  const peers = await Promise.all([0, 1, 2, 3].map(() => WsPeer.open(port, '/echo')));
  const kinds = [20, 20, 500, 20, 3000];
  const batch = Buffer.concat(
    Array.from({ length: 50 }, (_, i) =>
      frame({ payload: Buffer.alloc(kinds[i % 5], 'm'), opcode: 1 + (i % 2) }),
    ),
  );
  const answer = Array.from({ length: 50 }, (_, i) => kinds[i % 5]).reduce(
    (sum, size) => sum + size + (size < 126 ? 2 : 4),
    0,
  );
  await Promise.all(
    peers.map(async (peer) => {
      for (let left = count / 4; left > 0; left -= 800) await exchange(peer, batch, answer, 16);
      await peer.binary(Buffer.alloc(300000, 1));
      assert.equal((await peer.frame()).data.length, 300000);
      peer.destroy();
    }),
  );
}

async function requests(port, count) {
  const batch = (
    get('/hello', ['User-Agent: test']) +
    post('/body', 'b'.repeat(100)) +
    get('/nothing')
  ).repeat(5);
  const peers = await Promise.all([0, 1, 2, 3].map(() => Peer.connect(port)));
  await Promise.all(
    peers.map(async (peer) => {
      for (let left = count / 4; left > 0; left -= 15) {
        peer.socket.write(batch);
        for (let i = 0; i < 5; i++) {
          await peer.until('hello');
          await peer.until('b'.repeat(100));
          await peer.until('</html>');
        }
      }
      peer.destroy();
    }),
  );
}

/** Connections of several kinds; most end by a reset, which leaves no port occupied. */
async function connections(port, count) {
  let next = 0;
  const kinds = [upgradeRequest('/echo'), upgradeRequest('/upgraded'), get('/hello'), 'GET /unfinished HT'];
  await Promise.all(
    Array.from({ length: 20 }, async () => {
      while (next < count) {
        const number = next++;
        const peer = await Peer.connect(port);
        const text = kinds[number % 4];
        if (text.includes('unfinished')) await peer.send(text);
        else await peer.request(text);
        if (number % 50 === 0) peer.destroy();
        else peer.reset();
      }
    }),
  );
}

/** Measures the growth after `work` that repeats the work of `warm`. */
async function growth({ memory }, warm, work) {
  const settled = async () => {
    await eventually(async () => (await memory()).opened === (await memory()).closed, 3000);
    return memory();
  };
  await warm();
  const before = await settled();
  await work();
  const after = await settled();
  assert.equal(after.opened, after.closed);
  const mebibytes = (name) => (after[name] - before[name]) / 1048576;
  return {
    heap: mebibytes('heapUsed'),
    external: mebibytes('external'),
    resident: mebibytes('rss'),
    before,
    after,
  };
}

const LOADS = {
  '200,000 messages': { work: messages, count: 200000, resident: 20 },
  '50,000 requests': { work: requests, count: 49980, resident: 20 },
  '20,000 connections': { work: connections, count: 20000, resident: 20 },
};
for (const [name, { work, count, resident }] of Object.entries(LOADS)) {
  it(`memory after ${name} is what it was after a fifth of them`, { timeout: 40000 }, async (t) => {
    const server = await start(t);
    const warm = Math.ceil(count / 5 / 3200) * 3200;
    const grown = await growth(
      server,
      () => work(server.port, warm),
      () => work(server.port, count),
    );
    const figures = `heap ${grown.heap.toFixed(2)}, external ${grown.external.toFixed(2)}, resident ${grown.resident.toFixed(1)} MiB`;
    t.diagnostic(figures);
    assert.ok(grown.heap < 2, figures);
    assert.ok(grown.external < 2, figures);
    // Pages of the allocator come and go; a leak grows by as much again each time.
    let more = grown.resident;
    for (let i = 0; i < 2 && more >= resident; i++) {
      const { rss } = await server.memory();
      await work(server.port, count);
      more = ((await server.memory()).rss - rss) / 1048576;
    }
    assert.ok(more < resident, `${figures}, then ${more.toFixed(1)} MiB`);
    const done = (what) => grown.after[what] - grown.before[what];
    if (work === messages) assert.ok(done('messages') >= count);
    if (work === connections) assert.equal(done('opened'), count / 2);
    assert.equal(server.program.stderr, '');
  });
}

for (const how of ['turns', 'tick', 'publish']) {
  it(
    `500 MiB for a client that does not read (${how}): memory stays bounded, what was accepted arrives`,
    { timeout: 30000 },
    async (t) => {
      const { program, port, memory } = await start(t);
      const slow = await WsPeer.open(port, '/slow');
      slow.pause();
      const control = await Peer.connect(port);
      await control.request(get(`/slow/${how}/1`));
      const before = program.resident();
      let most = before;
      const watch = setInterval(() => (most = Math.max(most, program.resident())), 5);
      const answers = JSON.parse((await control.request(get(`/slow/${how}/500`))).body);
      clearInterval(watch);
      most = Math.max(most, program.resident());
      t.diagnostic(`at most ${(most - before).toFixed(1)} MiB more; answers ${answers}`);
      // The bound is 1 MiB of backpressure, and the queue of commands on its way to the loop.
      assert.ok(most - before < 40, `${(most - before).toFixed(1)} MiB more`);
      if (how !== 'publish') assert.ok(answers[2] > 7000, `${answers}`);

      const expected = how === 'publish' ? (await memory()).deliveries : 16 + answers[0] + answers[1];
      slow.resume();
      const numbers = [];
      while (numbers.length < expected) {
        const { data } = await slow.frame();
        assert.equal(data.length, 64 * 1024);
        numbers.push(data.readUInt32BE());
      }
      const second = numbers.indexOf(0, 1);
      assert.ok(
        numbers.slice(second + 1).every((number, i) => number > numbers[second + i]),
        'in order',
      );
      assert.equal(await eventually(() => slow.size > 0, 100), false, 'and nothing else');
      slow.destroy();
      control.destroy();
    },
  );
}

it(
  'a flood of 192 MiB while JavaScript is blocked for two seconds: memory stays bounded, nothing is lost',
  { timeout: 30000 },
  async (t) => {
    const { program, port, memory } = await start(t);
    const peers = await Promise.all([0, 1, 2].map(() => WsPeer.open(port, '/flood')));
    const before = (await memory()).rss / 1048576;
    const [peer] = peers;
    await peer.text('block');
    await sleep(50);
    const size = 12000;
    const total = Math.ceil((192 << 20) / size);
    let sent = 0;
    const flood = (async () => {
      while (sent < total) {
        const batch = [];
        for (let i = 0; i < 200 && sent < total; i++) {
          const payload = Buffer.alloc(size, 'f');
          payload.writeUInt32BE(sent++);
          batch.push(frame({ opcode: 2, payload }));
        }
        await peer.send(Buffer.concat(batch));
      }
    })();
    const blocked = Number(await program.said('blocked'));
    assert.ok(sent < total, 'the flood was held back');
    t.diagnostic(
      `${(blocked - before).toFixed(1)} MiB more after being blocked, ${((sent * size) / 1048576).toFixed(0)} MiB sent`,
    );
    assert.ok(blocked - before < 32, `${(blocked - before).toFixed(1)} MiB more`);
    await flood;
    let end;
    assert.ok(
      await eventually(async () => (end = await memory()).messages === total, 10000),
      JSON.stringify(end),
    );
    assert.deepEqual([end.wrong, end.bytes], [0, total * size]);
    for (const each of peers) each.destroy();
  },
);
