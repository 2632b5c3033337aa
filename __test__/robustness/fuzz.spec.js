'use strict';
const {
  it,
  assert,
  serve,
  Peer,
  WsPeer,
  request,
  get,
  post,
  upgradeRequest,
  frame,
  closePayload,
} = require('../support');
const { Program, eventually, random, sleep } = require('./program');

const SECONDS = 4;
const AT_ONCE = 5;
/** FUZZ_SEED repeats a run, as far as timing allows. */
const SEED = Number(process.env.FUZZ_SEED ?? Date.now() % 1e9);

const body = ({ listening, uWS }) => {
  const declared = () => new uWS.DeclarativeResponse();
  const server = listening((app) =>
    app
      .get('/sum/:a/:b', (res, req) =>
        res.end(String(Number(req.getParameter(0)) + Number(req.getParameter(1)))),
      )
      .any('/echo', (res, req) => {
        req.forEach(() => {});
        req.getQuery('a');
        res.onAborted(() => {});
        res.collectBody(100000, (whole) => (whole === null ? res.close() : res.end(whole)));
      })
      .get(
        '/declared/:a',
        declared().writeHeaderValue('a').writeQueryValue('a').writeParameterValue('a').end('!'),
      )
      .any('/declared/:a', declared().writeStatus('202 Accepted').write('<').writeBody().end('>'))
      .get('/stream', (res) => {
        res.onAborted(() => {});
        for (let i = 0; i < 5; i++) res.write('part');
        res.end();
      })
      .ws('/ws', {
        compression: uWS.DEDICATED_COMPRESSOR_4KB | uWS.DEDICATED_DECOMPRESSOR_1KB,
        maxPayloadLength: 50000,
        open: (ws) => ws.subscribe('all'),
        message(ws, message, isBinary) {
          ws.send(message, isBinary, true);
          ws.publish('all', message.slice(0, 10), true);
        },
        ping() {},
        pong() {},
      })
      .ws('/sure', {
        maxPayloadLength: 50000,
        message: (ws, message, isBinary) => ws.send(message, isBinary),
      }),
  );
  console.log(`port ${server.port}`);
};

const bytes = (text) => Buffer.from(text, 'latin1');

/** Valid conversations to start from. */
function seeds({ below }) {
  const deflate = ['Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits'];
  const frames = [
    frame({ payload: 'text' }),
    frame({ opcode: 2, payload: Buffer.alloc(below(70000), 7) }),
    frame({ payload: 'Hé', fin: false }),
    frame({ opcode: 9, payload: 'ping' }),
    frame({ opcode: 0, payload: ' end' }),
    frame({ payload: Buffer.from([0xaa, 0x56, 0x2a, 0x01, 0x00]), rsv: 4 }),
    frame({ opcode: 10, payload: '' }),
    frame({ opcode: 8, payload: closePayload(1000 + below(20), 'bye') }),
  ];
  const chunked = request(
    'POST',
    '/echo',
    ['Transfer-Encoding: chunked'],
    '5;a=b\r\nhello\r\n3\r\nyou\r\n0\r\nTrailer: x\r\n\r\n',
  );
  return [
    [bytes(get('/sum/1/2?a=b&c=%20') + get('/nothing') + get('/stream'))],
    [bytes(post('/echo', 'x'.repeat(below(3000))) + get('/echo'))],
    [bytes(chunked + chunked)],
    [bytes(get('/declared/a%20b?a=b%20c', ['A: b']) + post('/declared/', 'x'.repeat(below(3000))))],
    [bytes((chunked + chunked).replaceAll('/echo', '/declared/a'))],
    [bytes(request('HEAD', '/stream') + request('OPTIONS', '*') + request('DELETE', '/echo'))],
    [bytes(request('POST', '/echo', ['Expect: 100-continue', 'Content-Length: 4'], 'body'))],
    [bytes(upgradeRequest('/ws')), ...frames],
    [bytes(upgradeRequest('/ws', { headers: deflate })), ...frames.filter(() => below(2))],
    [bytes(upgradeRequest('/sure')), ...frames.filter(() => below(2)), bytes(get('/'))],
    [Buffer.from(Array.from({ length: 1 + below(2000) }, () => below(256)))],
    [bytes(upgradeRequest('/ws')), Buffer.from(Array.from({ length: 1 + below(2000) }, () => below(256)))],
  ];
}

const TOKENS = [
  '\r\n',
  '\r\n\r\n',
  '\n',
  '\0',
  ' ',
  ':',
  '0',
  '-1',
  'ffffffffffffffff',
  'Content-Length: 5\r\n',
  '%',
  '?',
  '\xff\xff',
];

function mutate(data, { below, pick }) {
  const at = below(data.length + 1);
  const end = Math.min(data.length, at + below(30));
  switch (below(7)) {
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
      return Buffer.concat([data.subarray(0, at), bytes(pick(TOKENS)), data.subarray(at)]);
    case 4:
      return data.subarray(0, at);
    case 5:
      return Buffer.concat([data.subarray(0, at), Buffer.alloc(below(9000), below(256)), data.subarray(at)]);
    default:
      return data;
  }
}

/** One connection that sends something invalid in pieces, and ends in one of the possible ways. */
async function attack(port, dice) {
  const peer = await Peer.connect(port);
  let size = 0;
  peer.socket.on('data', (chunk) => (size += chunk.length));
  let data = Buffer.concat(
    dice.pick(seeds(dice)).map((part) => (dice.below(3) === 0 ? mutate(part, dice) : part)),
  );
  for (let rounds = dice.below(4); rounds > 0; rounds--) data = mutate(data, dice);
  const pieces = 1 + dice.below(8);
  for (let i = 0; i < pieces && data.length > 0 && peer.state === 'open'; i++) {
    const length = i === pieces - 1 ? data.length : dice.below(data.length + 1);
    await peer.send(data.subarray(0, length));
    data = data.subarray(length);
    if (dice.below(2)) await new Promise((resolve) => setImmediate(resolve));
  }
  if (dice.below(3) === 0) await sleep(dice.below(5));
  peer[dice.pick(['destroy', 'reset', 'halfClose'])]();
  if (dice.below(3) === 0) await Promise.race([peer.gone(), sleep(20)]);
  peer.destroy();
  return size;
}

/** Valid traffic beside it, every response checked. */
async function behave(port, dice, running) {
  const plain = await Peer.connect(port);
  const socket = await WsPeer.open(port, '/sure');
  let rounds = 0;
  for (; running(); rounds++) {
    const [a, b] = [dice.below(1e6), dice.below(1e6)];
    assert.equal((await plain.request(get(`/sum/${a}/${b}`))).body, String(a + b));
    const whole = String(a).repeat(1 + dice.below(500));
    assert.equal((await plain.request(post('/echo', whole))).body, whole);
    assert.equal((await plain.request(get(`/declared/${a}`))).body, `${a}!`);
    assert.equal((await plain.request(post('/declared/b', whole))).body, `<${whole}>`);
    await socket.text(whole);
    await socket.binary(Buffer.from(whole));
    assert.deepEqual(await socket.messages(2), [whole, whole]);
  }
  plain.destroy();
  socket.destroy();
  return rounds;
}

it(
  'mutated and random bytes from five connections at a time; sound connections notice nothing',
  { timeout: 90000 },
  async (t) => {
    t.diagnostic(`FUZZ_SEED=${SEED}`);
    const program = Program.start(t, body);
    const port = Number(await program.said('port'));
    const end = Date.now() + SECONDS * 1000;
    let [attacks, heard, begun] = [0, 0, 0];
    // On a busy machine it takes longer until anything has been handled.
    const enough = () => attacks > 30 && heard > 1000 && begun > 4;
    const running = () => program.end === null && (Date.now() < end || !enough());
    const sound = behave(port, random(SEED), () => (begun++, running()));
    const attackers = Array.from({ length: AT_ONCE }, async (_, number) => {
      const dice = random(SEED + 1 + number);
      for (; running(); attacks++) heard += await attack(port, dice);
    });
    try {
      const [rounds] = await Promise.all([sound, ...attackers]);
      t.diagnostic(`${attacks} attacks, ${heard} bytes of answers, ${rounds} sound rounds`);
      assert.ok(
        attacks > 30 && rounds > 3 && heard > 1000,
        `${attacks} attacks, ${rounds} rounds, ${heard} bytes`,
      );
    } catch (error) {
      await Promise.race([program.ended, sleep(1000)]);
      if (program.end !== null)
        assert.fail(`the server died: ${JSON.stringify(program.end)} ${program.stderr} FUZZ_SEED=${SEED}`);
      throw error;
    }
    assert.equal(
      await behave(
        port,
        random(SEED),
        (
          (left) => () =>
            left-- > 0
        )(20),
      ),
      20,
    );
    assert.equal(program.stderr, '');
    const descriptors = () => require('node:fs').readdirSync(`/proc/${program.pid}/fd`).length;
    assert.ok(await eventually(() => descriptors() < 40), `${descriptors()} descriptors are left`);
  },
);

const ENDINGS = {
  'no body': '\r\n\r\n',
  'a body': '\r\nContent-Length: 4\r\n\r\nabcd',
  'a chunked body': '\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n',
};
for (const [name, ending] of Object.entries(ENDINGS)) {
  it(`an upgrade request with ${name}, for a route without upgrade handler and for one behind a yield`, async (t) => {
    const echo = { message: (ws, message) => ws.send(message) };
    const server = serve(t, (app) =>
      app
        .ws('/without', echo)
        .ws('/behind/*', echo)
        .ws('/behind/yield', { upgrade: (res, req) => req.setYield(true) }),
    );
    for (const target of ['/without', '/behind/yield']) {
      const peer = await WsPeer.connect(server.port, { track: (each) => server.peers.add(each) });
      const headers = ['Sec-WebSocket-Protocol: one, two'];
      await peer.send(upgradeRequest(target, { headers }).replace('\r\n\r\n', ending));
      const head = await peer.head();
      assert.deepEqual([head.code, head.get('sec-websocket-protocol')], [101, 'one']);
      await peer.text('x');
      assert.equal(await peer.message(), 'x');
    }
  });
}
