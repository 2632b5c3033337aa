'use strict';
// TLS under attack: broken records, handshakes that stall, thousands of connections. The server is a process
// of its own.

const net = require('node:net');
const tls = require('node:tls');
const { Duplex } = require('node:stream');
const { it, assert, Peer, WsPeer, get, post, frame, upgradeRequest } = require('../support');
const { shared } = require('../tls/certificates');
const { Program, descriptorsOf, eventually, random, settled, sleep } = require('./program');

const SECONDS = 4;
const AT_ONCE = 5;
/** FUZZ_SEED repeats a run, as far as timing allows. */
const SEED = Number(process.env.FUZZ_SEED ?? Date.now() % 1e9);

const body = ({ uWS }, certificate) => {
  const counts = { opened: 0, closed: 0, messages: 0 };
  const app = uWS.SSLApp(certificate);
  app
    .get('/sum/:a/:b', (res, req) =>
      res.end(String(Number(req.getParameter(0)) + Number(req.getParameter(1)))),
    )
    .post('/echo', (res) => {
      res.onAborted(() => {});
      res.collectBody(1e6, (whole) => res.end(whole));
    })
    .get('/declared/:a', new uWS.DeclarativeResponse().writeParameterValue('a').end())
    .get('/memory', (res) => {
      res.onAborted(() => {});
      // The collector runs twice, with a turn between: finalizers of the first run may free more.
      globalThis.gc();
      setImmediate(() => {
        globalThis.gc();
        setImmediate(() => res.end(JSON.stringify({ ...process.memoryUsage(), ...counts })));
      });
    })
    .ws('/ws', {
      compression: uWS.SHARED_COMPRESSOR,
      maxPayloadLength: 1 << 20,
      open: () => counts.opened++,
      message(ws, message, isBinary) {
        counts.messages++;
        ws.send(message, isBinary, true);
      },
      close: () => counts.closed++,
    })
    .listen(0, (token) => console.log(`port ${uWS.us_socket_local_port(token)}`));
};

const TLS = { tls: {} };

async function start(t) {
  const program = Program.start(t, body, shared(), { flags: ['--expose-gc'] });
  const port = Number(await program.said('port'));
  const memory = async () => {
    const peer = await Peer.connect(port, TLS);
    const answer = JSON.parse((await peer.request(get('/memory'))).body);
    peer.destroy();
    return answer;
  };
  const descriptors = () => descriptorsOf(program.pid);
  return { program, port, memory, descriptors };
}

/** A TCP connection for a TLS client; `change` gets the bytes that it writes and returns those to send. */
class Changed extends Duplex {
  constructor(port, change) {
    super();
    this.raw = net.connect(port, '127.0.0.1');
    this.change = change;
    this.raw.on('data', (chunk) => this.push(chunk));
    this.raw.on('end', () => this.push(null));
    this.raw.on('error', () => this.destroy());
    this.raw.on('close', () => this.destroy());
  }
  _read() {}
  _write(chunk, encoding, done) {
    const bytes = this.change(chunk);
    if (bytes.length === 0 || this.raw.destroyed) done();
    else this.raw.write(bytes, () => done());
  }
  _final(done) {
    this.raw.end(done);
  }
  _destroy(error, done) {
    this.raw.destroy();
    done();
  }
}

/** Builds a record as it is sent. */
function record(type, payload, version = 0x0303) {
  const head = Buffer.alloc(5);
  head[0] = type;
  head.writeUInt16BE(version, 1);
  head.writeUInt16BE(payload.length, 3);
  return Buffer.concat([head, payload]);
}

/** Records that no client sends at this point, or at all. */
function noise({ below, pick }) {
  const bytes = (length) => Buffer.from(Array.from({ length }, () => below(256)));
  return pick([
    () => record(20, Buffer.of(1)),
    () => Buffer.concat(Array.from({ length: 200 }, () => record(20, Buffer.of(1)))),
    () => record(21, Buffer.of(1, 0)),
    () => record(21, Buffer.of(2, below(120))),
    () => record(22, bytes(below(500))),
    () => record(22, Buffer.concat([Buffer.of(below(30), 0, below(4), below(256)), bytes(below(2000))])),
    () => record(23, bytes(below(17000))),
    () => record(below(256), bytes(below(100)), below(65536)),
    () => Buffer.concat(Array.from({ length: 100 }, () => record(23, Buffer.alloc(0)))),
    () => Buffer.concat([record(22, Buffer.alloc(0)), record(23, bytes(16385 + below(2048)))]),
    () => bytes(1 + below(3000)),
  ])();
}

function mutate(data, dice) {
  const { below } = dice;
  const at = below(data.length + 1);
  const end = Math.min(data.length, at + below(40));
  switch (below(6)) {
    case 0: {
      const copy = Buffer.from(data);
      if (at < copy.length) copy[at] ^= 1 << below(8);
      return copy;
    }
    case 1:
      return Buffer.concat([data.subarray(0, at), data.subarray(end)]);
    case 2:
      return Buffer.concat([data.subarray(0, end), data.subarray(at)]);
    case 3:
      return Buffer.concat([data.subarray(0, at), noise(dice), data.subarray(at)]);
    case 4:
      return Buffer.concat([noise(dice), data]);
    default:
      return Buffer.concat([data, noise(dice)]);
  }
}

/** One client whose bytes become invalid from a certain flight on: in the handshake or after it. */
async function attack(port, dice) {
  const sound = dice.below(5);
  let flight = 0;
  const wire = new Changed(port, (chunk) => (flight++ < sound ? chunk : mutate(chunk, dice)));
  const socket = tls.connect({
    socket: wire,
    rejectUnauthorized: false,
    maxVersion: dice.pick(['TLSv1.2', 'TLSv1.3']),
  });
  const outcome = { encrypted: false, heard: 0 };
  const over = new Promise((resolve) => {
    socket.on('error', resolve).on('close', resolve);
    setTimeout(resolve, 200 + dice.below(100));
  });
  socket.on('data', (chunk) => (outcome.heard += chunk.length));
  socket.on('secureConnect', () => {
    outcome.encrypted = true;
    socket.write(get('/sum/1/2') + post('/echo', 'x'.repeat(dice.below(40000))));
    setImmediate(() => socket.write(get('/declared/a')));
    if (dice.below(2)) setImmediate(() => socket.write(upgradeRequest('/ws')));
  });
  await over;
  socket.destroy();
  wire.destroy();
  return outcome;
}

/** Valid traffic beside it, every response checked. */
async function behave(port, dice, running, totals = {}) {
  const plain = await Peer.connect(port, TLS);
  const socket = await WsPeer.open(port, '/ws', TLS);
  let rounds = 0;
  for (; running(); totals.rounds = ++rounds) {
    const [a, b] = [dice.below(1e6), dice.below(1e6)];
    assert.equal((await plain.request(get(`/sum/${a}/${b}`))).body, String(a + b));
    assert.equal((await plain.request(get(`/declared/${a}`))).body, String(a));
    const whole = String(a).repeat(1 + dice.below(4000));
    assert.equal((await plain.request(post('/echo', whole))).body, whole);
    await socket.text(whole);
    assert.equal(await socket.message(), whole);
    if (rounds % 5 === 0) {
      const other = await Peer.connect(port, TLS);
      assert.equal((await other.request(get('/sum/1/1'))).body, '2');
      other.destroy();
    }
  }
  plain.destroy();
  socket.destroy();
  return rounds;
}

it(
  'TLS clients whose bytes go wrong on the way; sound ones notice nothing',
  { timeout: 90000 },
  async (t) => {
    t.diagnostic(`FUZZ_SEED=${SEED}`);
    const { program, port, descriptors } = await start(t);
    const end = Date.now() + SECONDS * 1000;
    const totals = { attacks: 0, encrypted: 0, heard: 0, rounds: 0 };
    // On a busy machine it takes longer until anything has been handled.
    const enough = () => totals.attacks >= 50 && totals.encrypted >= 5 && totals.rounds >= 5;
    const running = () => program.end === null && (Date.now() < end || !enough());
    const sound = behave(port, random(SEED), running, totals);
    const attackers = Array.from({ length: AT_ONCE }, async (_, number) => {
      const dice = random(SEED + 1 + number);
      for (; running(); totals.attacks++) {
        const { encrypted, heard } = await attack(port, dice);
        if (encrypted) totals.encrypted++;
        totals.heard += heard;
      }
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
    assert.equal(program.stderr, '');
    assert.ok(await eventually(() => descriptors() < 40, 15000), `${descriptors()} descriptors are left`);
  },
);

/** The first bytes of a client. */
function clientHello() {
  return new Promise((resolve) => {
    const server = net.createServer((socket) =>
      socket.once('data', (data) => {
        socket.destroy();
        server.close();
        resolve(data);
      }),
    );
    server.listen(0, '127.0.0.1', () => {
      tls.connect({ port: server.address().port, host: '127.0.0.1' }).on('error', () => {});
    });
  });
}

it(
  'a flood of handshakes that stand still: the others are served, and all of it is given back',
  { timeout: 60000 },
  async (t) => {
    const { program, port, memory, descriptors } = await start(t);
    const hello = await clientHello();
    const many = 900;
    await memory();
    const before = { resident: program.resident(), descriptors: await settled(descriptors) };
    const open = new Set();
    const starts = [Buffer.alloc(0), hello.subarray(0, hello.length >> 1), hello];
    const crowd = Array.from({ length: many }, (_, number) => {
      const socket = net.connect(port, '127.0.0.1').on('error', () => {});
      socket.on('connect', () => (open.add(socket), socket.write(starts[number % 3])));
      socket.on('close', () => open.delete(socket));
      socket.resume();
      return socket;
    });
    t.after(() => crowd.forEach((socket) => socket.destroy()));
    assert.ok(await eventually(() => open.size === many, 9000), `${open.size} connected`);
    const plain = await Peer.connect(port, TLS);
    for (let i = 0; i < 20; i++) {
      assert.equal((await plain.request(get(`/sum/${i}/1`))).body, String(i + 1));
      const fresh = await Peer.connect(port, TLS);
      assert.equal((await fresh.request(post('/echo', 'x'.repeat(20000)))).body.length, 20000);
      fresh.destroy();
    }
    const held = program.resident() - before.resident;
    t.diagnostic(`${((held * 1024) / many).toFixed(0)} KiB for each`);
    assert.ok(held < (many * 100) / 1024, `${held.toFixed(0)} MiB for ${many} handshakes`);
    assert.ok(await eventually(() => open.size === 0, 20000), `${open.size} are still open`);
    plain.destroy();
    assert.ok(
      await eventually(() => descriptors() <= before.descriptors, 3000),
      `${descriptors()} descriptors, ${before.descriptors} before`,
    );
    assert.equal(program.stderr, '');
  },
);

/** One TLS connection; its number decides what it does and how it ends. */
const KINDS = [
  async function answered(port) {
    const peer = await Peer.connect(port, TLS);
    await peer.request(get('/sum/1/2'));
    peer.halfClose();
    await peer.gone();
    peer.destroy();
  },
  async function socket(port) {
    const peer = await WsPeer.open(port, '/ws', {
      ...TLS,
      headers: ['Sec-WebSocket-Extensions: permessage-deflate'],
    });
    await peer.sendFrame({ payload: Buffer.from([0xaa, 0x56, 0x2a, 0x01, 0x00]), rsv: 4 });
    await peer.frame();
    peer.reset();
  },
  async function halfway(port, hello) {
    const peer = await Peer.connect(port, { tls: false });
    await peer.send(hello);
    await peer.take(1);
    peer.reset();
  },
  async function broken(port) {
    const peer = await Peer.connect(port, TLS);
    peer.raw.write(record(23, Buffer.alloc(100, 1)));
    await peer.gone();
    peer.destroy();
  },
  async function resumed(port) {
    const first = await Peer.connect(port, TLS);
    const session = new Promise((resolve) => first.socket.once('session', resolve));
    await first.request(get('/sum/1/2'));
    const second = await Peer.connect(port, { tls: { session: await session } });
    assert.ok(second.socket.isSessionReused());
    second.reset();
    first.reset();
  },
];

it(
  'memory and descriptors after 2,000 TLS connections are what they were after 800',
  { timeout: 120000 },
  async (t) => {
    const server = await start(t);
    const hello = await clientHello();
    const connections = async (count) => {
      let next = 0;
      const client = async () => {
        while (next < count) await KINDS[next++ % KINDS.length](server.port, hello);
      };
      await Promise.all(Array.from({ length: 10 }, client));
      await eventually(async () => (await server.memory()).opened === (await server.memory()).closed);
      return server.memory();
    };
    const before = await connections(800);
    const descriptors = await settled(server.descriptors);
    const after = await connections(2000);
    assert.equal(after.opened, after.closed);
    assert.equal(after.opened - before.opened, 400);
    assert.equal(after.messages - before.messages, 400);
    const grown = (name, from = before, to = after) => (to[name] - from[name]) / 1048576;
    const figures = ['heapUsed', 'external', 'rss'].map((name) => `${name} ${grown(name).toFixed(2)}`).join();
    t.diagnostic(figures);
    assert.ok(grown('heapUsed') < 2 && grown('external') < 2, figures);
    // Pages of the allocator come and go; a leak grows by as much again.
    let more = grown('rss');
    if (more >= 10) more = grown('rss', after, await connections(2000));
    assert.ok(more < 10, `${figures}, then ${more.toFixed(1)} MiB`);
    assert.ok(
      await eventually(() => server.descriptors() <= descriptors),
      `${server.descriptors()} descriptors, ${descriptors} before`,
    );
    assert.equal(server.program.stderr, '');
  },
);

it('bombs in many fragments, over TLS: each ends its connection, memory stays bounded', async (t) => {
  const { program, port, memory } = await start(t);
  const zlib = require('node:zlib');
  const bomb = zlib.deflateRawSync(Buffer.alloc(64 << 20)).subarray(0, -4);
  const parts = Array.from({ length: 64 }, (_, i) => {
    const size = Math.ceil(bomb.length / 64);
    return frame({
      opcode: i ? 0 : 2,
      rsv: i ? 0 : 4,
      fin: i === 63,
      payload: bomb.subarray(i * size, (i + 1) * size),
    });
  });
  const fragments = Buffer.concat(parts);
  const headers = ['Sec-WebSocket-Extensions: permessage-deflate'];
  const witness = await WsPeer.open(port, '/ws', TLS);
  await memory();
  const before = program.resident();
  const codes = Array.from({ length: 20 }, async () => {
    const peer = await WsPeer.open(port, '/ws', { ...TLS, headers });
    peer.socket.write(fragments);
    const { code } = await peer.frame();
    await peer.gone();
    peer.destroy();
    return code;
  });
  assert.deepEqual(await Promise.all(codes), Array(20).fill(1009));
  const grown = program.resident() - before;
  t.diagnostic(`${grown.toFixed(1)} MiB more`);
  assert.ok(grown < 60, `${grown.toFixed(1)} MiB more for bombs of 64 MiB`);
  await witness.text('x');
  assert.equal(await witness.message(), 'x');
  witness.destroy();
});
