'use strict';
// Many connections at once, several messages in one write, every byte checked: no byte of one client may
// reach another, or another message of the same client.

const zlib = require('node:zlib');
const { it, assert, serve, uWS, frame, post, BINARY, CONTINUATION, TEXT } = require('../support');

/** A payload in which every byte tells its owner: eight bytes of connection and message number, repeated. */
function content(connection, number, length) {
  const unit = Buffer.alloc(8);
  unit.writeUInt32LE(connection, 0);
  unit.writeUInt32LE(number, 4);
  return Buffer.alloc(length, unit);
}

/** A message as a client without context sends it. */
function deflated(payload) {
  const bytes = zlib.deflateRawSync(payload, { finishFlush: zlib.constants.Z_SYNC_FLUSH });
  return frame({ opcode: BINARY, payload: bytes.subarray(0, bytes.length - 4), rsv: 4 });
}

function fragmented(payload) {
  const third = Math.ceil(payload.length / 3);
  return Buffer.concat([
    frame({ opcode: BINARY, payload: payload.subarray(0, third), fin: false }),
    frame({ opcode: CONTINUATION, payload: payload.subarray(third, 2 * third), fin: false }),
    frame({ opcode: CONTINUATION, payload: payload.subarray(2 * third) }),
  ]);
}

const whole = (payload) => frame({ opcode: BINARY, payload });
/** The ways in which a message may arrive, as functions of its payload. */
const WAYS = { whole, fragmented, deflated };
const KIB = [1, 7, 33, 40, 64, 70, 100, 120];

/** Small numbers that are the same in every run. */
function* numbers(seed) {
  for (let state = seed; ;) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    yield state >>> 8;
  }
}

for (const ways of [['whole'], ['whole', 'fragmented'], ['whole', 'deflated'], Object.keys(WAYS)]) {
  it(`messages of one write stay what they were: ${ways.join(', ')}`, { timeout: 60000 }, async (t) => {
    const received = new Map();
    const server = serve(t, (app) => {
      app.ws('/*', {
        maxPayloadLength: 1 << 20,
        idleTimeout: 0,
        compression: uWS.SHARED_COMPRESSOR | uWS.SHARED_DECOMPRESSOR,
        upgrade(res, req, context) {
          res.upgrade(
            { connection: Number(req.getQuery('n')) },
            req.getHeader('sec-websocket-key'),
            '',
            req.getHeader('sec-websocket-extensions'),
            context,
          );
        },
        message(ws, message) {
          received.get(ws.connection).push(Buffer.from(message.slice(0)));
          ws.send(String(received.get(ws.connection).length));
        },
      });
    });
    const headers = ['Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover'];
    const peers = await Promise.all(
      Array.from({ length: 6 }, (_, n) => {
        received.set(n, []);
        return server.ws(`/?n=${n}`, { headers: ways.includes('deflated') ? headers : [] });
      }),
    );
    const random = numbers(7);
    const pick = (list) => list[random.next().value % list.length];
    for (let round = 0; round < 25; round++) {
      await Promise.all(
        peers.map(async (peer, connection) => {
          const sent = Array.from({ length: 1 + (random.next().value % 4) }, (_, number) =>
            content(connection, round * 10 + number, pick(KIB) * 1024 + (random.next().value % 3)),
          );
          received.get(connection).length = 0;
          await peer.send(Buffer.concat(sent.map((payload) => WAYS[pick(ways)](payload))));
          await peer.messages(sent.length);
          const got = received.get(connection);
          for (const [index, payload] of sent.entries()) {
            assert.ok(
              got[index].equals(payload),
              `round ${round}, connection ${connection}, message ${index}`,
            );
          }
        }),
      );
    }
  });
}

it('a small message behind a large one, and both behind a request', { timeout: 30000 }, async (t) => {
  const got = [];
  const server = serve(t, (app) => {
    app.ws('/*', {
      maxPayloadLength: 1 << 20,
      idleTimeout: 0,
      message(ws, message, binary) {
        got.push(Buffer.from(message.slice(0)));
        ws.send('ok', binary);
      },
    });
  });
  const peer = await server.ws('/');
  for (let round = 0; round < 40; round++) {
    got.length = 0;
    const large = content(1, round, 70 << 10);
    const texts = Array.from({ length: 5 }, (_, n) => Buffer.from(`small ${round} ${n}`));
    const frames = texts.map((payload) => frame({ opcode: TEXT, payload }));
    await peer.send(Buffer.concat([frames[0], frames[1], whole(large), ...frames.slice(2), whole(large)]));
    await peer.messages(7);
    assert.deepEqual(got[2].equals(large) && got[6].equals(large), true);
    assert.deepEqual([got[0], got[1], ...got.slice(3, 6)].map(String), texts.map(String));
  }
});

it(
  'bodies of one write, with lengths and in chunks, beside those of others',
  { timeout: 60000 },
  async (t) => {
    const server = serve(t, (app) => {
      app.post('/*', (res) => {
        const chunks = [];
        res.onAborted(() => {});
        res.onData((chunk, last) => {
          chunks.push(Buffer.from(chunk.slice(0)));
          if (last) res.end(Buffer.concat(chunks));
        });
      });
    });
    const chunked = (body) =>
      Buffer.concat([
        Buffer.from('POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n'),
        ...[body.subarray(0, 35000), body.subarray(35000)]
          .filter((part) => part.length)
          .flatMap((part) => [Buffer.from(`${part.length.toString(16)}\r\n`), part, Buffer.from('\r\n')]),
        Buffer.from('0\r\n\r\n'),
      ]);
    const plain = (body) => Buffer.from(post('/p', body.toString('latin1')), 'latin1');
    const peers = await Promise.all(Array.from({ length: 5 }, () => server.connect()));
    const random = numbers(11);
    for (let round = 0; round < 15; round++) {
      await Promise.all(
        peers.map(async (peer, connection) => {
          const bodies = Array.from({ length: 3 }, (_, n) =>
            content(connection, round * 3 + n, (1 + (random.next().value % 110)) << 10),
          );
          await peer.send(
            Buffer.concat(bodies.map((body) => (random.next().value % 2 ? plain(body) : chunked(body)))),
          );
          for (const [index, body] of bodies.entries()) {
            const { raw } = await peer.response();
            assert.ok(raw.equals(body), `round ${round}, connection ${connection}, body ${index}`);
          }
        }),
      );
    }
  },
);
