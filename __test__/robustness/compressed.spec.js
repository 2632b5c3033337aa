'use strict';
// Compressed messages under attack: invalid deflate streams, many inflations at once, thousands of
// connections.

const zlib = require('node:zlib');
const { it, assert, Peer, WsPeer, get, frame } = require('../support');
const { DeflatePeer } = require('../websocket/deflate');
const { Program, eventually, random, sleep } = require('./program');

const SECONDS = 4;
const AT_ONCE = 5;
/** FUZZ_SEED repeats a run, as far as timing allows. */
const SEED = Number(process.env.FUZZ_SEED ?? Date.now() % 1e9);

/** The compression that the server negotiates, by path. */
const SETTINGS = {
  shared: ['SHARED_COMPRESSOR'],
  'shared-both': ['SHARED_COMPRESSOR', 'SHARED_DECOMPRESSOR'],
  small: ['DEDICATED_COMPRESSOR_3KB', 'DEDICATED_DECOMPRESSOR_512B'],
  large: ['DEDICATED_COMPRESSOR_256KB', 'DEDICATED_DECOMPRESSOR_32KB'],
};

const body = ({ listening, uWS }, settings) => {
  const counts = { opened: 0, closed: 0, messages: 0 };
  const server = listening((app) => {
    app.get('/memory', (res) => {
      res.onAborted(() => {});
      // The collector runs twice, with a turn between: finalizers of the first run may free more.
      globalThis.gc();
      setImmediate(() => {
        globalThis.gc();
        setImmediate(() => res.end(JSON.stringify({ ...process.memoryUsage(), ...counts })));
      });
    });
    app.get('/block', (res) => {
      console.log('blocking now');
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3000);
      console.log('blocked 3000');
      res.end('blocked');
    });
    for (const [path, names] of Object.entries(settings)) {
      app.ws(`/${path}`, {
        compression: names.reduce((sum, name) => sum | uWS[name], 0),
        maxPayloadLength: 4 << 20,
        maxBackpressure: 16 << 20,
        open: (ws) => (counts.opened++, ws.subscribe('all')),
        message(ws, message, isBinary) {
          counts.messages++;
          if (message.byteLength < 200000) ws.send(message, isBinary, true);
          if (message.byteLength < 1000) ws.publish('all', message, isBinary, true);
        },
        close: () => counts.closed++,
      });
    }
    app.ws('/quiet', {
      compression: uWS.SHARED_COMPRESSOR,
      maxPayloadLength: 4 << 20,
      message: () => void counts.messages++,
    });
    // Nobody publishes to these topics.
    app.ws('/sure', {
      compression: uWS.DEDICATED_COMPRESSOR_8KB | uWS.DEDICATED_DECOMPRESSOR_8KB,
      maxPayloadLength: 4 << 20,
      message: (ws, message, isBinary) => void ws.send(message, isBinary, true),
    });
  });
  console.log(`port ${server.port}`);
};

const OFFER = 'permessage-deflate; client_max_window_bits';
const HEADERS = { headers: [`Sec-WebSocket-Extensions: ${OFFER}`] };

async function start(t) {
  const program = Program.start(t, body, SETTINGS, { flags: ['--expose-gc'] });
  const port = Number(await program.said('port'));
  const memory = async () => {
    const peer = await Peer.connect(port);
    const answer = JSON.parse((await peer.request(get('/memory'))).body);
    peer.destroy();
    return answer;
  };
  return { program, port, memory };
}

const deflate = (data, options) =>
  zlib.deflateRawSync(data, { finishFlush: zlib.constants.Z_SYNC_FLUSH, ...options }).subarray(0, -4);

const BOMB = deflate(Buffer.alloc(8 << 20));

/** Deflate streams, from valid to nonsense. */
function stream({ below, pick }) {
  const bytes = (length) => Buffer.from(Array.from({ length }, () => below(256)));
  const text = Buffer.from('{"name":"value","list":[1,2,3]}'.repeat(1 + below(300)));
  const sound = deflate(text, { windowBits: 9 + below(7), level: below(10), strategy: below(5) });
  const at = below(sound.length);
  if (below(3) === 0) return sound;
  return pick([
    () => zlib.deflateRawSync(text),
    () => Buffer.concat([sound.subarray(0, at), bytes(1 + below(20)), sound.subarray(at)]),
    () => sound.subarray(0, at),
    () => Buffer.concat([sound, sound]),
    () => bytes(below(500)),
    // Stored blocks, whose length and its complement agree or not; dynamic blocks without codes.
    () => Buffer.concat([Buffer.of(0, 255, 255, 0, 0), bytes(below(70000))]),
    () => Buffer.concat([Buffer.of(0), bytes(4), bytes(below(300))]),
    () => Buffer.concat([Buffer.of(4 | below(256)), bytes(below(60))]),
    () => Buffer.alloc(below(3000), below(256)),
    () => BOMB,
    () => Buffer.alloc(0),
  ])();
}

/** One connection with compressed messages that are invalid in one way or another, and its end. */
async function attack(port, dice) {
  const peer = await WsPeer.open(port, `/${dice.pick(Object.keys(SETTINGS))}`, HEADERS);
  let size = 0;
  peer.socket.removeAllListeners('data').on('data', (chunk) => (size += chunk.length));
  for (let left = 1 + dice.below(6); left > 0 && peer.state === 'open'; left--) {
    const payload = stream(dice);
    const cut = dice.below(payload.length + 1);
    const opcode = 1 + dice.below(2);
    const frames = dice.below(2)
      ? [frame({ opcode, rsv: 4, payload })]
      : [
          frame({ opcode, rsv: 4, fin: false, payload: payload.subarray(0, cut) }),
          frame({ opcode: 9, payload: 'between' }),
          frame({ opcode: 0, rsv: dice.below(20) ? 0 : 4, payload: payload.subarray(cut) }),
        ];
    await peer.send(Buffer.concat(frames));
    if (dice.below(2)) await new Promise((resolve) => setImmediate(resolve));
  }
  if (dice.below(3)) await Promise.race([peer.gone(), sleep(20)]);
  peer[dice.pick(['destroy', 'reset', 'halfClose'])]();
  peer.destroy();
  return size;
}

/** Valid traffic beside it, with contexts that break when data of other connections enters them. */
async function behave(port, dice, running, totals = {}) {
  const peer = await DeflatePeer.open(port, OFFER, { url: '/sure' });
  let rounds = 0;
  for (; running(); totals.rounds = ++rounds) {
    const text = `{"n":${dice.below(1e9)},"list":[1,2,3]}`.repeat(1 + dice.below(200));
    await peer.send(await peer.compressed(text, { cuts: [dice.below(50)] }));
    const answer = await peer.received();
    assert.ok(answer.compressed);
    assert.equal(answer.text, text);
  }
  peer.destroy();
  return rounds;
}

it(
  'wrong deflate streams from five connections at a time; sound ones notice nothing',
  { timeout: 90000 },
  async (t) => {
    t.diagnostic(`FUZZ_SEED=${SEED}`);
    const { program, port, memory } = await start(t);
    const end = Date.now() + SECONDS * 1000;
    const totals = { attacks: 0, heard: 0, rounds: 0 };
    // On a busy machine it takes longer until anything has been handled.
    const enough = () => totals.attacks >= 50 && totals.heard >= 1000 && totals.rounds >= 5;
    const running = () => program.end === null && (Date.now() < end || !enough());
    const sound = behave(port, random(SEED), running, totals);
    const attackers = Array.from({ length: AT_ONCE }, async (_, number) => {
      const dice = random(SEED + 1 + number);
      for (; running(); totals.attacks++) totals.heard += await attack(port, dice);
    });
    try {
      await Promise.all([sound, ...attackers]);
      t.diagnostic(JSON.stringify(totals));
      assert.ok(enough(), JSON.stringify(totals));
    } catch (error) {
      await Promise.race([program.ended, sleep(1000)]);
      if (program.end !== null)
        assert.fail(`the server died: ${JSON.stringify(program.end)} ${program.stderr} FUZZ_SEED=${SEED}`);
      throw error;
    }
    let left = 10;
    assert.equal(await behave(port, random(SEED), () => left-- > 0), 10);
    const all = async () => {
      const { opened, closed } = await memory();
      return opened === closed;
    };
    assert.ok(await eventually(all, 5000), 'every connection is closed');
    assert.equal(program.stderr, '');
  },
);

it(
  'many large inflations while JavaScript is blocked: memory stays bounded, nothing is lost',
  { timeout: 60000 },
  async (t) => {
    const { program, port, memory } = await start(t);
    const size = 4 << 20;
    const payload = deflate(Buffer.alloc(size));
    const [crowd, each] = [60, 4];
    const peers = await Promise.all(
      Array.from({ length: crowd }, () => WsPeer.open(port, '/quiet', HEADERS)),
    );
    const control = await Peer.connect(port);
    const { rss } = await memory();
    await control.send(get('/block'));
    await program.said('blocking');
    const messages = Buffer.concat(Array.from({ length: each }, () => frame({ opcode: 2, rsv: 4, payload })));
    for (const peer of peers) peer.socket.write(messages);
    let most = 0;
    const watch = setInterval(() => (most = Math.max(most, program.resident())), 20);
    await program.said('blocked');
    clearInterval(watch);
    const grown = most - rss / 1048576;
    t.diagnostic(`${grown.toFixed(1)} MiB more for ${(crowd * each * size) / 1048576} MiB`);
    assert.ok(grown < 64, `${grown.toFixed(1)} MiB more`);
    const all = async () => (await memory()).messages === crowd * each;
    assert.ok(await eventually(all, 30000), JSON.stringify(await memory()));
    assert.equal(program.stderr, '');
    for (const peer of [control, ...peers]) peer.destroy();
  },
);

it(
  'a flood of inflations that fill the queue leaves the others their turn',
  { timeout: 60000 },
  async (t) => {
    const { program, port } = await start(t);
    const flood = await WsPeer.open(port, '/quiet', HEADERS);
    const others = await Promise.all([1, 2, 3].map(() => Peer.connect(port)));
    const messages = 200;
    const one = frame({ opcode: 2, rsv: 4, payload: deflate(Buffer.alloc(4 << 20)) });
    flood.socket.write(Buffer.concat(Array(messages).fill(one)));
    const seen = others.map(async (peer) => JSON.parse((await peer.request(get('/memory'))).body).messages);
    for (const before of await Promise.all(seen)) {
      assert.ok(before < messages / 2, `answered behind ${before} of ${messages} messages`);
    }
    flood.destroy();
    for (const peer of others) peer.destroy();
    assert.equal(program.stderr, '');
  },
);

it('memory after 4,000 compressed connections is what it was after 1,600', { timeout: 90000 }, async (t) => {
  const server = await start(t);
  const paths = Object.keys(SETTINGS);
  const message = frame({ rsv: 4, payload: deflate(Buffer.from('{"name":"value"}'.repeat(100))) });
  const connections = async (count) => {
    let next = 0;
    const client = async () => {
      while (next < count) {
        const number = next++;
        const peer = await WsPeer.open(server.port, `/${paths[number % paths.length]}`, HEADERS);
        await peer.send(message);
        assert.equal((await peer.frame()).rsv, 4);
        if (number % 3) peer.reset();
        else peer.destroy();
      }
    };
    await Promise.all(Array.from({ length: 10 }, client));
    await eventually(async () => (await server.memory()).opened === (await server.memory()).closed);
    return server.memory();
  };
  const before = await connections(1600);
  const after = await connections(4000);
  assert.deepEqual(
    [after.opened - before.opened, after.closed - before.closed, after.messages - before.messages],
    [4000, 4000, 4000],
  );
  const grown = (name, from = before, to = after) => (to[name] - from[name]) / 1048576;
  const figures = ['heapUsed', 'external', 'rss'].map((name) => `${name} ${grown(name).toFixed(2)}`).join();
  t.diagnostic(figures);
  assert.ok(grown('heapUsed') < 2 && grown('external') < 2, figures);
  // Pages of the allocator come and go; a leak grows by as much again.
  let more = grown('rss');
  if (more >= 10) more = grown('rss', after, await connections(4000));
  assert.ok(more < 10, `${figures}, then ${more.toFixed(1)} MiB`);
  assert.equal(server.program.stderr, '');
});
