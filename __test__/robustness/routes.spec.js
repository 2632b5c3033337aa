'use strict';
// Routes that are replaced or removed: they release what they hold, but not before the last event that may
// name them.

const { it, assert, ours, serve, get, upgradeRequest, child } = require('../support');
const { Program, eventually, sleep } = require('./program');

const OURS = { skip: ours ? false : 'the originals show no handlers' };

it('replaced and removed routes of all kinds are released, and their numbers used again', async (t) => {
  const program = Program.start(
    t,
    async ({ uWS, listening, modulePath, get, until }) => {
      const { handlers } = require(`${modulePath()}/lib/engine`);
      const weak = [];
      const holding = () => {
        const large = new Array(1000).fill(0);
        const handler = () => large.length;
        weak.push(new WeakRef(handler));
        return handler;
      };
      const server = listening((each) => each.get('/last', (res) => res.end('there')));
      const { app } = server;
      const peer = await server.connect();
      const declared = new uWS.DeclarativeResponse().end('declared');
      for (let round = 0; round < 20; round++) {
        for (let i = 0; i < 100; i++) {
          app.get('/replaced', holding());
          app.any('/removed/:a/*', holding());
          app.any('/removed/:b/*', null);
          app.ws('/replaced', { open: holding(), message: holding() });
          app.get('/declared', declared);
          app.get('/declared', holding());
        }
        // Those there are: '/last' and one for each pattern that is left.
        await until(() => handlers.filter((each) => each).length === 4);
        // The loop executes what was sent before an answer, and says so before it brings the next request.
        for (let i = 0; i < 2; i++) await peer.request(get('/last'));
      }
      const alive = () => weak.filter((each) => each.deref() !== undefined).length;
      // A reference that was looked at holds its object until the end of this turn.
      await until(() => (globalThis.gc(), alive() <= 4)).catch(() => {});
      console.log(`result ${JSON.stringify({ alive: alive(), handlers: handlers.length })}`);
      process.exit(0);
    },
    undefined,
    { flags: ['--expose-gc'] },
  );
  const { alive, handlers } = JSON.parse(await program.said('result'));
  assert.ok(alive <= 4, `${alive} alive`);
  assert.ok(handlers < 700, `${handlers} of 12,000`);
});

it('the routes of a removed server name are released with its last connection', OURS, async (t) => {
  const program = Program.start(t, async ({ uWS, Peer, WsPeer, get, modulePath, until }) => {
    const { handlers } = require(`${modulePath()}/lib/engine`);
    const { shared } = require(`${modulePath()}/__test__/tls/certificates`);
    const held = () => handlers.filter((each) => each).length;
    const app = uWS.SSLApp(shared()).get('/own', (res) => res.end('own'));
    const port = await new Promise((resolve) => {
      app.listen('127.0.0.1', 0, (token) => resolve(uWS.us_socket_local_port(token)));
    });
    const add = (name) =>
      app
        .addServerName(name, shared())
        .domain(name)
        .get('/', (res) => res.end(name))
        .post('/:a/*', () => {})
        .get('/cached/:a/b', (res) => res.end(name), { lowerExpiry: 1, upperExpiry: 1 })
        .get('/declared', new uWS.DeclarativeResponse().end(name))
        .metrics('/metrics')
        .ws('/*', { message: (ws) => void ws.send(name) });
    for (let round = 0; round < 20; round++) {
      for (let i = 0; i < 5; i++) add(`${i}.example`).removeServerName(`${i}.example`);
      await until(() => held() === 1);
    }
    console.log(`numbers ${handlers.length}`);

    add('a.example');
    const options = { tls: { servername: 'a.example' } };
    const [peer, socket] = [await Peer.connect(port, options), await WsPeer.open(port, '/ws', options)];
    app.removeServerName('a.example');
    const still = async () => {
      const answers = [(await peer.request(get('/'))).body, (await peer.request(get('/cached/1/b'))).body];
      await socket.text('x');
      return `${answers} ${await socket.message()} ${held()}`;
    };
    console.log(`open ${await still()}`);
    peer.destroy();
    await new Promise((resolve) => setTimeout(resolve, 100));
    await socket.text('x');
    console.log(`left ${await socket.message()} ${held()}`);
    socket.destroy();
    await until(() => held() === 1);
    const other = await Peer.connect(port, options);
    console.log(`later ${(await other.request(get('/own'))).body}`);
    process.exit(0);
  });
  assert.equal(await program.said('later'), 'own');
  assert.ok(Number(await program.said('numbers')) < 200, 'of 701');
  assert.equal(await program.said('open'), 'a.example,a.example a.example 8');
  assert.equal(await program.said('left'), 'a.example 8');
});

it('a request that waits in a pipeline is answered by the route it was for, though that is gone', async (t) => {
  const held = [];
  const server = serve(t, (app) =>
    app
      .get('/first', (res) => res.onAborted(() => {}) && held.push(res))
      .get('/old', (res) => res.end('old'))
      .get('/*', (res) => res.end('any')),
  );
  const peer = await server.connect();
  await peer.send(get('/first') + get('/old') + get('/old'));
  assert.ok(await eventually(() => held.length === 1));
  await sleep(20);
  server.app.get('/old', null);
  for (let i = 0; i < 50; i++) server.app.get('/other', (res) => res.end(`other ${i}`));
  await sleep(30);
  for (let i = 0; i < 50; i++) server.app.get('/other', (res) => res.end('another'));
  await sleep(30);
  held[0].end('first');
  assert.equal((await peer.response()).body, 'first');
  assert.equal((await peer.response()).body, 'old');
  assert.equal((await peer.response()).body, 'old');
  assert.equal((await peer.request(get('/old'))).body, 'any');
  assert.equal((await peer.request(get('/other'))).body, 'another');
});

it(
  'many routes that a waiting request has kept are released at once',
  { ...OURS, timeout: 60000 },
  async (t) => {
    const program = Program.start(t, async ({ uWS, Peer, get, modulePath, until }) => {
      const { handlers } = require(`${modulePath()}/lib/engine`);
      const { calls } = require(`${modulePath()}/lib/binding`);
      const kept = () => handlers.filter((each) => each).length;
      const many = 150000;
      let held;
      const app = uWS
        .App()
        .get('/held', (res) => (held = res.onAborted(() => {})))
        .get('/replaced', (res) => res.end());
      const port = await new Promise((resolve) => {
        app.listen('127.0.0.1', 0, (token) => resolve(uWS.us_socket_local_port(token)));
      });
      const peer = await Peer.connect(port);
      await peer.send(get('/held') + get('/replaced'));
      await until(() => held && calls.parkedSoFar() > 0);
      for (let i = 0; i <= many; i++) {
        app.get('/replaced', (res) => res.end());
        if (i % 500 === 0) await new Promise(setImmediate);
      }
      await until(() => kept() > many, 60000);
      const began = process.cpuUsage();
      held.end();
      await until(() => kept() === 2, 60000);
      const { user, system } = process.cpuUsage(began);
      console.log(`used ${Math.round((user + system) / 1000)}`);
      process.exit();
    });
    const used = Number(await program.said('used'));
    // One after the other it was 8 s.
    assert.ok(used < 2000, `it took ${used} ms of a processor`);
  },
);

it('a WebSocket lives on with the behaviour it came by, and an upgrade that was begun is completed', async (t) => {
  const waiting = [];
  const said = [];
  const server = serve(t, (app) =>
    app
      .ws('/plain', {
        message: (ws, message) => ws.send(`old ${Buffer.from(message)}`),
        close: () => said.push('close'),
      })
      .ws('/late', {
        upgrade(res, req, context) {
          res.onAborted(() => {});
          const key = req.getHeader('sec-websocket-key');
          waiting.push(() => res.upgrade({ id: 1 }, key, '', '', context));
        },
        open: (ws) => ws.send(`open ${ws.id}`),
        message: (ws, message) => ws.send(`late ${Buffer.from(message)}`),
      }),
  );
  const plain = await server.ws('/plain');
  const late = [await server.connect(), await server.connect()];
  for (const peer of late) await peer.send(upgradeRequest('/late'));
  assert.ok(await eventually(() => waiting.length === 2));
  for (const path of ['/plain', '/late']) {
    server.app.ws(path, null);
    for (let i = 0; i < 20; i++) server.app.ws(path, { message: (ws) => ws.send('new') });
  }
  await sleep(50);
  for (const go of waiting) {
    go();
    await sleep(10);
  }
  for (const peer of late) assert.match((await peer.head()).text, /^HTTP\/1.1 101 /);
  await plain.text('a');
  assert.equal(await plain.message(), 'old a');
  plain.destroy();
  assert.ok(await eventually(() => said.length === 1));
  const fresh = await server.ws('/late');
  await fresh.text('a');
  assert.equal(await fresh.message(), 'new');
});

it('routes come and go under load, and each request is answered by a route of its path', async (t) => {
  const server = serve(t, (app) => app.get('/*', (res) => res.end('none')));
  let going = true;
  const change = async () => {
    for (let i = 0; going; i++) {
      for (const path of ['/a', '/b', '/c']) {
        if (i % 3 === 2) server.app.get(path, null);
        else if (i % 3 === 1) server.app.get(path, (res) => res.end(path));
        else server.app.get(path, (res) => res.onAborted(() => {}) && setImmediate(() => res.end(path)));
      }
      if (i % 10 === 0) await sleep(1);
    }
  };
  const changing = change();
  const ask = async (path) => {
    const peer = await server.connect();
    for (let i = 0; i < 60; i++) {
      await peer.send(get(path).repeat(8));
      for (let k = 0; k < 8; k++) assert.match((await peer.response()).body, new RegExp(`^(none|${path})$`));
    }
  };
  await Promise.all(['/a', '/b', '/c', '/a'].map(ask));
  going = false;
  await changing;
});

it('has room on its stack for patterns of any length', async () => {
  const result = await child(({ listening }) => {
    const server = listening((app) => {
      for (const segment of ['/a', '/:a', '/*']) {
        app.get(segment.repeat(100000), (res) => res.end());
        app.ws(segment.repeat(100000), {});
        app.any(segment.repeat(100000), null);
      }
      app.get('/a', (res) => res.end('short'));
    });
    (async () => {
      const peer = await server.connect();
      const { body } = await peer.request('GET /a HTTP/1.1\r\nHost: a\r\n\r\n');
      peer.destroy();
      server.app.close();
      console.log(body);
    })();
  });
  assert.deepEqual([result.code, result.signal, result.stdout], [0, null, 'short\n'], result.stderr);
});
