'use strict';

const { setTimeout: sleep } = require('node:timers/promises');
const { assert, client, deferred, it, open, packages, patterned, refusal, uWS } = require('./stack');

const adapter = packages.import('crossws/adapters/uws').then((module) => module.default);

/** Serves the hooks on `/ws` by an app that is closed after the test. */
async function serve(t, options) {
  const ws = (await adapter)(options);
  const app = uWS.App();
  app.ws('/ws/*', ws.websocket);
  app.ws('/ws', ws.websocket);
  app.get('/', (res) => res.end('page'));
  const port = await new Promise((resolve) =>
    app.listen(0, (token) => resolve(uWS.us_socket_local_port(token))),
  );
  t.after(() => app.close());
  return { port, ws };
}

it('echoes text, binary and JSON, and knows who is there', async (t) => {
  const { port } = await serve(t, {
    hooks: {
      open: (peer) =>
        peer.send(`${peer.remoteAddress.replace(/^.*:/, '')} ${new URL(peer.request.url).search}`),
      message: (peer, message) => {
        if (message.rawData.byteLength > 1000) return peer.send(message.uint8Array());
        if (message.text() === 'json') return peer.send({ a: ['ü'] });
        peer.send(message.text());
      },
    },
  });
  const socket = await open(t, port, '/ws?room=a');
  assert.match((await socket.texts(1))[0], /^7f00:0001 \?room=a$|^127\.0\.0\.1 \?room=a$|^0001 \?room=a$/);
  const bytes = patterned(10000);
  socket.send('grüß');
  socket.send('json');
  socket.send(bytes);
  const [, text, json, binary] = await socket.messages.count(4);
  assert.deepEqual([text.data.toString(), text.binary], ['grüß', false]);
  assert.deepEqual(JSON.parse(json.data), { a: ['ü'] });
  assert.ok(binary.binary && binary.data.equals(bytes));
  assert.equal((await client(port).get('/')).text, 'page');
});

it('refuses and accepts in an asynchronous upgrade, with headers and context', async (t) => {
  const { port } = await serve(t, {
    hooks: {
      upgrade: async (request) => {
        if (request.headers.get('authorization') !== 'let me') {
          return new Response('go away', { status: 401, headers: { 'x-reason': 'stranger' } });
        }
        return {
          headers: { 'x-welcome': 'ann', 'sec-websocket-protocol': 'chat' },
          context: { user: 'ann' },
        };
      },
      open: (peer) => peer.send(peer.context.user),
    },
  });
  assert.equal(await refusal(t, port, '/ws'), 401);
  const headers = { authorization: 'let me' };
  const socket = await open(t, port, '/ws', ['chat', 'other'], { headers });
  assert.deepEqual(await socket.texts(1), ['ann']);
  assert.equal(socket.socket.protocol, 'chat');
});

it('publishes to topics, from peers and from the server, each namespace apart', async (t) => {
  const { port, ws } = await serve(t, {
    hooks: {
      open: (peer) => peer.subscribe('room'),
      message: (peer, message) => {
        if (message.text() === 'leave') {
          peer.unsubscribe('room');
          return peer.send('left');
        }
        peer.publish('room', message.text());
      },
    },
  });
  const [ann, bob] = [await open(t, port, '/ws'), await open(t, port, '/ws')];
  ann.send('hi');
  assert.deepEqual(await bob.texts(1), ['hi']);
  assert.equal(
    [...ws.peers.values()].reduce((sum, peers) => sum + peers.size, 0),
    2,
  );
  bob.send('leave');
  assert.deepEqual(await bob.texts(2), ['hi', 'left']);
  ws.publish('room', { from: 'server' });
  assert.deepEqual(await ann.texts(1), ['{"from":"server"}']);
  await sleep(20);
  assert.equal(bob.messages.list.length, 2);
});

it('closes from either side and tells the code', async (t) => {
  const closes = [];
  const done = deferred();
  const { port } = await serve(t, {
    hooks: {
      message: (peer, message) =>
        message.text() === 'terminate' ? peer.terminate() : peer.close(4001, 'enough'),
      close: (peer, { code }) => {
        closes.push([code, peer.websocket.readyState]);
        if (closes.length === 3) done.resolve();
      },
    },
  });
  const first = await open(t, port, '/ws');
  first.send('close');
  assert.deepEqual(await first.closed, { code: 4001, reason: 'enough' });
  const second = await open(t, port, '/ws');
  await second.close(4002, 'bye');
  const third = await open(t, port, '/ws');
  third.send('terminate');
  assert.equal((await third.closed).code, 1006);
  await done.promise;
  assert.deepEqual(closes, [
    [4001, 2],
    [4002, 2],
    [1006, 2],
  ]);
});

it('resolves hooks for each connection and passes pings', async (t) => {
  const pinged = deferred();
  const { port } = await serve(t, {
    resolve: (request) => {
      const room = new URL(request.url).pathname.split('/').pop();
      return {
        open: (peer) => peer.send(`in ${room}`),
        ping: (peer, data) => pinged.resolve([room, Buffer.from(data).toString()]),
      };
    },
  });
  const [a, b] = [await open(t, port, '/ws/a'), await open(t, port, '/ws/b')];
  assert.deepEqual([await a.texts(1), await b.texts(1)], [['in a'], ['in b']]);
  b.socket.ping('p');
  assert.deepEqual(await pinged.promise, ['b', 'p']);
});
