'use strict';
const { it, assert, Peer, WsPeer, get } = require('../support');
const { Program, sleep, eventually, settled } = require('./program');

const LIMIT = 64;
const CLIENTS = 120;

it(
  'more clients than descriptors: accepting pauses without spinning, the others are served, all in the end',
  { timeout: 25000 },
  async (t) => {
    const program = Program.start(
      t,
      ({ listening }) => {
        const server = listening((app) =>
          app
            .get('/*', (res) => res.end('x'))
            .ws('/*', {
              open: (ws) => ws.subscribe('all'),
              message: (ws, message) => ws.publish('all', message) || ws.send(message),
            }),
        );
        console.log(`port ${server.port}`);
      },
      null,
      { descriptors: LIMIT },
    );
    const port = Number(await program.said('port'));
    const peers = new Set();
    t.after(() => peers.forEach((peer) => peer.destroy()));
    const track = (peer) => peers.add(peer);

    const old = await WsPeer.open(port, '/', { track });
    await old.text('first');
    assert.equal(await old.message(), 'first');

    const crowd = await Promise.all(Array.from({ length: CLIENTS }, () => Peer.connect(port, { track })));
    for (const peer of crowd) await peer.send(get('/'));
    const answered = () => crowd.filter((peer) => peer.size > 0).length;
    await eventually(() => answered() > 0 && program.stderr.includes('paused'));
    // The process may close one that it had opened for its start, and the listener tries once a second.
    const served = await settled(answered, 1500);
    assert.ok(served > 10 && served < LIMIT, `${served} of ${CLIENTS} were accepted`);

    // There are no descriptors for two seconds: old connections are served at once, and the loop does not
    // spin.
    const [used, began] = [program.cpu(), Date.now()];
    for (let i = 0; i < 20; i++) {
      await old.text(`message ${i}`);
      assert.equal(await old.message(), `message ${i}`);
      await sleep(100);
    }
    const share = (program.cpu() - used) / ((Date.now() - began) / 1000);
    assert.ok(share < 0.2, `${(share * 100).toFixed(0)} % of a processor while accepting is paused`);
    assert.equal(answered(), served);
    assert.equal(crowd.filter((peer) => peer.state !== 'open').length, 0, 'who waits is not refused');

    // Descriptors become free in small numbers; in the end every client was served.
    const left = new Set(crowd);
    while (left.size > 0) {
      const done = [...left].filter((peer) => peer.size > 0);
      for (const peer of done) {
        assert.equal((await peer.response()).body, 'x');
        peer.destroy();
        left.delete(peer);
      }
      assert.ok(
        done.length > 0 || (await eventually(() => [...left].some((peer) => peer.size > 0), 4000)),
        `${left.size} were never accepted`,
      );
    }

    // New clients are served at once when there are descriptors.
    const started = Date.now();
    const late = await Peer.connect(port, { track });
    assert.equal((await late.request(get('/'))).body, 'x');
    assert.ok(Date.now() - started < 1500);
    assert.equal(program.end, null);
    assert.equal((program.stderr.match(/UwsRsWarning/g) ?? []).length, 1, program.stderr);
  },
);
