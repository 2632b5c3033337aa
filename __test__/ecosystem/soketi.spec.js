'use strict';

// soketi, a server of the Pusher protocol, with the client and the backend library of Pusher. Errors of its
// HTTP interface have the status 200 and a code in the body: it writes other fields before the status, on
// either module.

const dgram = require('node:dgram');
const http = require('node:http');
const { once } = require('node:events');
const { after } = require('node:test');
const stack = require('./stack');
const { assert, client: requests, deferred, it, open, packages, uWS } = stack;
const { Server } = packages.require('@soketi/soketi/dist/server');
const Pusher = packages.require('pusher');
const PusherJS = packages.require('pusher-js');

const [KEY, SECRET] = ['app-key', 'app-secret'];
/** Options of the server's only application are named so. */
const APP = 'appManager.array.apps.0';

// The backend library keeps its connections open.
after(() => http.globalAgent.destroy());

const every = setInterval;

/** A server, stopped after the test. */
async function serve(t, options) {
  const server = new Server({
    host: '127.0.0.1',
    port: 0,
    'metrics.enabled': true,
    'metrics.host': '127.0.0.1',
    'metrics.port': 0,
    shutdownGracePeriod: 0,
    // It looks for other servers by UDP.
    'cluster.hostname': '127.0.0.1',
    'cluster.unicast': '127.0.0.1',
    'cluster.port': await freeUdpPort(),
    [`${APP}.enableClientMessages`]: true,
    ...options,
  });
  t.mock.method(console, 'log', () => {});
  // Its cache has a timer that `stop` leaves running.
  t.mock.method(globalThis, 'setInterval', (...args) => every(...args).unref());
  const clients = [];
  t.after(async () => {
    for (const each of clients) each.disconnect();
    server.discover.stop();
    await server.stop();
  });
  await new Promise((resolve) => server.start(resolve));
  const port = uWS.us_socket_local_port(server.serverProcess);
  const backend = new Pusher({ appId: 'app-id', key: KEY, secret: SECRET, host: '127.0.0.1', port });
  return {
    server,
    port,
    backend,
    metrics: requests(uWS.us_socket_local_port(server.metricsServerProcess)),
    /** A connected client; `user` goes into presence channels. */
    async join(user) {
      const each = new PusherJS(KEY, {
        cluster: '',
        wsHost: '127.0.0.1',
        wsPort: port,
        forceTLS: false,
        disableStats: true,
        enabledTransports: ['ws'],
        channelAuthorization: {
          customHandler: ({ socketId, channelName }, answer) =>
            answer(null, backend.authorizeChannel(socketId, channelName, user)),
        },
      });
      clients.push(each);
      await heard(each.connection, 'connected');
      return each;
    },
  };
}

async function freeUdpPort() {
  const socket = dgram.createSocket('udp4').bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const { port } = socket.address();
  await new Promise((resolve) => socket.close(resolve));
  return port;
}

/** Resolves with what an event has, once. */
function heard(emitter, name) {
  const { promise, resolve } = deferred();
  emitter.bind(name, resolve);
  return promise;
}

async function subscribed(each, name) {
  const channel = each.subscribe(name);
  const members = await heard(channel, 'pusher:subscription_succeeded');
  return { channel, members };
}

it('sends what the backend triggers to who has subscribed', async (t) => {
  const { backend, join } = await serve(t);
  const [ann, bob] = [await join(), await join()];
  const { channel } = await subscribed(ann, 'news');
  const other = (await subscribed(bob, 'other')).channel;
  const overheard = [];
  other.bind_global((name) => overheard.push(name));
  const event = heard(channel, 'greeting');
  const sent = await backend.trigger('news', 'greeting', { text: 'grüß', list: [1, null] });
  assert.equal(sent.status, 200);
  assert.deepEqual(await event, { text: 'grüß', list: [1, null] });
  const both = [heard(channel, 'all'), heard(other, 'all')];
  await backend.trigger(['news', 'other'], 'all', 'x'.repeat(5000));
  assert.deepEqual(await Promise.all(both), ['x'.repeat(5000), 'x'.repeat(5000)]);
  assert.deepEqual(overheard, ['all']);
});

it('takes batches, and leaves out the socket that is excluded', async (t) => {
  const { backend, join } = await serve(t);
  const [ann, bob] = [await join(), await join()];
  const channels = [(await subscribed(ann, 'news')).channel, (await subscribed(bob, 'news')).channel];
  const seen = [[], []];
  channels.forEach((channel, n) => channel.bind_global((name) => seen[n].push(name)));
  const done = channels.map((channel) => heard(channel, 'third'));
  await backend.trigger('news', 'first', {}, { socket_id: ann.connection.socket_id });
  const batch = ['second', 'third'].map((name) => ({ channel: 'news', name, data: {} }));
  await backend.triggerBatch(batch);
  await Promise.all(done);
  assert.deepEqual(seen, [
    ['second', 'third'],
    ['first', 'second', 'third'],
  ]);
});

it('has private channels, with events from client to client', async (t) => {
  const { join, port } = await serve(t);
  const [ann, bob] = [await join(), await join()];
  const from = (await subscribed(ann, 'private-room')).channel;
  const to = (await subscribed(bob, 'private-room')).channel;
  const event = heard(to, 'client-typing');
  assert.equal(from.trigger('client-typing', { by: 'ann' }), true);
  assert.deepEqual(await event, { by: 'ann' });
  const stranger = await open(t, port, `/app/${KEY}?protocol=7`);
  stranger.send(
    JSON.stringify({ event: 'pusher:subscribe', data: { channel: 'private-room', auth: `${KEY}:wrong` } }),
  );
  const [, answer] = await stranger.texts(2);
  assert.equal(JSON.parse(answer).event, 'pusher:subscription_error');
});

it('has presence channels, and says who comes and goes', async (t) => {
  const { backend, join } = await serve(t);
  const user = (id) => ({ user_id: id, user_info: { name: `user ${id}` } });
  const ann = await join(user('a'));
  const { channel, members } = await subscribed(ann, 'presence-room');
  assert.equal(members.count, 1);
  const added = heard(channel, 'pusher:member_added');
  const bob = await join(user('b'));
  assert.equal((await subscribed(bob, 'presence-room')).members.count, 2);
  assert.deepEqual(await added, { id: 'b', info: { name: 'user b' } });
  const asked = await backend.get({ path: '/channels/presence-room/users' });
  assert.deepEqual((await asked.json()).users.map(({ id }) => id).sort(), ['a', 'b']);
  const removed = heard(channel, 'pusher:member_removed');
  bob.disconnect();
  assert.equal((await removed).id, 'b');
});

it('tells the channels and their subscribers, and its figures', async (t) => {
  const { backend, join, metrics, port } = await serve(t);
  const all = await Promise.all([join(), join(), join()]);
  for (const each of all) await subscribed(each, 'news');
  const channels = await backend.get({ path: '/channels' });
  assert.equal((await channels.json()).channels.news.subscription_count, 3);
  const channel = await backend.get({ path: '/channels/news' });
  assert.deepEqual(await channel.json(), { subscription_count: 3, occupied: true });
  const text = (await metrics.get('/metrics')).text;
  assert.match(text, /^soketi_connected\{[^}]*\} 3$/m);
  assert.equal((await metrics.get('/usage')).status, 200);
  assert.equal((await requests(port).get('/')).text, 'OK');
  assert.equal((await requests(port).get('/ready')).text, 'OK');
});

it('refuses wrong keys, signatures, bodies and paths', async (t) => {
  const { port } = await serve(t, { 'httpApi.requestLimitInMb': 0.05 });
  const wrong = await open(t, port, '/app/nobody?protocol=7');
  assert.equal(JSON.parse((await wrong.texts(1))[0]).data.code, 4001);
  assert.equal((await wrong.closed).code, 4001);
  const options = { appId: 'app-id', key: KEY, secret: 'wrong', host: '127.0.0.1', port };
  const answer = await new Pusher(options).trigger('news', 'x', {});
  assert.equal((await answer.json()).code, 401);
  const direct = requests(port);
  assert.equal((await direct.get('/nowhere')).status, 404);
  assert.equal((await direct.postJson('/apps/nobody/events', {})).json.code, 404);
  assert.equal((await direct.postJson('/apps/app-id/events', { data: 'x'.repeat(100000) })).json.code, 413);
});

it('ends the connections of who is signed in as a user', async (t) => {
  const { port, backend } = await serve(t, { [`${APP}.enableUserAuthentication`]: true });
  const socket = await open(t, port, `/app/${KEY}?protocol=7`);
  const { socket_id } = JSON.parse(JSON.parse((await socket.texts(1))[0]).data);
  const signed = backend.authenticateUser(socket_id, { id: '7' });
  socket.send(JSON.stringify({ event: 'pusher:signin', data: signed }));
  assert.equal(JSON.parse((await socket.texts(2))[1]).event, 'pusher:signin_success');
  await backend.terminateUserConnections('7');
  assert.equal((await socket.closed).code, 4009);
});

it('serves 100 clients of one channel', async (t) => {
  const { backend, join } = await serve(t);
  const all = await Promise.all(Array.from({ length: 100 }, () => join()));
  const channels = await Promise.all(all.map((each) => subscribed(each, 'news')));
  const events = channels.map(({ channel }) => heard(channel, 'last'));
  const counts = channels.map(({ channel }) => {
    const seen = [];
    channel.bind('n', ({ n }) => seen.push(n));
    return seen;
  });
  for (let n = 0; n < 10; n += 1) await backend.trigger('news', 'n', { n });
  await backend.trigger('news', 'last', {});
  await Promise.all(events);
  for (const seen of counts) assert.deepEqual(seen, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
});
