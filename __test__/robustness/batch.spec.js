'use strict';
// Where there is io_uring, many connections at once are read from and written to with one system call. The
// data that arrives must not depend on it.

const { it, assert, WsPeer, Peer, get } = require('../support');
const { Program } = require('./program');

const PEERS = 40;
const WAYS = { 'with io_uring, where there is': {}, 'without io_uring': { UV_USE_IO_URING: '0' } };

const server = ({ listening }) => {
  const { port } = listening((app) =>
    app
      .get('/*', (res, req) => res.end(req.getUrl()))
      .ws('/*', {
        maxPayloadLength: 1 << 20,
        open: (ws) => ws.subscribe('all'),
        message(ws, message, isBinary) {
          if (isBinary) ws.send(message, true);
          else app.publish('all', message);
        },
      }),
  );
  console.log(`port ${port}`);
};

for (const [way, env] of Object.entries(WAYS)) {
  it(`messages of ${PEERS} WebSockets at once come back to each, in order (${way})`, async (t) => {
    const program = Program.start(t, server, null, { env });
    const port = Number(await program.said('port'));
    const peers = await Promise.all(Array.from({ length: PEERS }, () => WsPeer.open(port)));
    // First short messages, whose next read may be done ahead; then such as fill it exactly, exceed it, and
    // are short again.
    for (const size of [10, 10, 1078, 1079, 1080, 1081, 1088, 5000, 200_000, 10, 10]) {
      const sent = peers.map((_, n) => Buffer.alloc(size, n + 1));
      await Promise.all(peers.map((peer, n) => peer.binary(sent[n])));
      const came = await Promise.all(peers.map((peer) => peer.frame()));
      came.forEach(({ data }, n) => assert.ok(sent[n].equals(data), `${size} bytes of ${n}`));
    }
    await peers[0].text('one');
    await peers[1].text('two');
    const heard = await Promise.all(peers.map((peer) => peer.messages(2)));
    heard.forEach((messages) => assert.deepEqual([...messages].sort(), ['one', 'two']));
    peers.forEach((peer) => peer.destroy());
  });

  it(`${PEERS} clients get the answers to their own requests, pipelined or not (${way})`, async (t) => {
    const program = Program.start(t, server, null, { env });
    const port = Number(await program.said('port'));
    const peers = await Promise.all(Array.from({ length: PEERS }, () => Peer.connect(port)));
    for (let round = 0; round < 5; round++) {
      const paths = peers.map((_, n) => [`/${round}/${n}`, `/${round}/${n}/${'x'.repeat(round * 300)}`]);
      await Promise.all(peers.map((peer, n) => peer.send(paths[n].map((path) => get(path)).join(''))));
      const answers = await Promise.all(
        peers.map(async (peer) => [(await peer.response()).body, (await peer.response()).body]),
      );
      assert.deepEqual(answers, paths);
    }
    peers.forEach((peer) => peer.destroy());
  });
}
