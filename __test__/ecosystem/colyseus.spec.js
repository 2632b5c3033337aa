'use strict';

const { after } = require('node:test');
const { assert, client: requests, deferred, it, packages, uWS } = require('./stack');
const { WebSocket } = packages.require('ws');

// Colyseus needs the global WebSocket of Node.js 22; this one can also cut the connection, which the test of
// reconnecting needs.
globalThis.WebSocket = WebSocket;

const { Client } = packages.require('@colyseus/sdk');
const { MapSchema, Schema, defineTypes } = packages.require('@colyseus/schema');
const { Room, Server, ServerError } = packages.require('@colyseus/core');
const { uWebSocketsTransport } = packages.require('@colyseus/uwebsockets-transport');

class Player extends Schema {}
defineTypes(Player, { name: 'string', x: 'number' });

class State extends Schema {
  constructor() {
    super();
    this.players = new MapSchema();
    this.round = 0;
  }
}
defineTypes(State, { players: { map: Player }, round: 'number' });

/** A room where players have a name and move. It records its events. */
class Field extends Room {
  onCreate() {
    this.state = new State();
    this.patchRate = 10;
    this.onMessage('move', (client, x) => {
      this.state.players.get(client.sessionId).x += x;
    });
    this.onMessage('say', (client, text) => this.broadcast('said', text, { except: client }));
    this.onMessage('echo', (client, value) => client.send('echo', value));
    this.onMessage('bytes', (client, value) => client.sendBytes('bytes', value));
    this.onMessage('kick', (client) => client.leave(4100));
    Field.last = this;
  }

  onAuth(client, options) {
    if (options.name === 'stranger') throw new ServerError(401, 'not you');
    return true;
  }

  onJoin(client, { name }) {
    const player = new Player();
    Object.assign(player, { name, x: 0 });
    this.state.players.set(client.sessionId, player);
  }

  async onDrop(client, code) {
    if (code === 1006) await this.allowReconnection(client, 5);
  }

  onLeave(client, code) {
    this.left = [...(this.left || []), code];
    this.state.players.delete(client.sessionId);
  }
}

let game;
/** All tests share one server: there is one matchmaker per process. */
async function serve(t) {
  game ||= start();
  const { port } = await game;
  const rooms = new Set();
  t.after(async () => {
    // A second call of `leave` never ends.
    for (const room of rooms) if (room.connection.isOpen) await room.leave();
  });
  const client = new Client(`http://127.0.0.1:${port}`);
  const join = async (name, method = 'joinOrCreate', ...more) => {
    const room = await client[method](...(more.length ? more : ['field']), { name });
    rooms.add(room);
    room.onMessage('*', () => {});
    room.reconnection.minUptime = 0;
    return room;
  };
  return { client, join, port };
}

async function start() {
  const transport = new uWebSocketsTransport();
  const server = new Server({
    transport,
    greet: false,
    gracefullyShutdown: false,
    express: (app) => {
      app.get('/page', (req, res) => res.send('page'));
    },
  });
  server.define('field', Field);
  await server.listen(0);
  return { server, port: uWS.us_socket_local_port(transport._listeningSocket), transport };
}

after(async () => {
  const { server, transport } = await game;
  await server.gracefullyShutdown(false);
  transport.app.close();
});

/** Resolves when the state of a room is as expected. */
function until(room, check) {
  const { promise, resolve } = deferred();
  const attempt = () => check(room.state) && resolve();
  room.onStateChange(attempt);
  if (room.state) attempt();
  return promise;
}

const message = (room, type) => new Promise((resolve) => room.onMessage(type, resolve));

it('joins a room and gets its state', async (t) => {
  const { join } = await serve(t);
  const room = await join('ann', 'create');
  await until(room, (state) => state.players?.size === 1);
  assert.deepEqual(room.state.players.get(room.sessionId).toJSON(), { name: 'ann', x: 0 });
});

it('keeps the state of two players in step', async (t) => {
  const { join } = await serve(t);
  const ann = await join('ann', 'create');
  const bob = await join('bob', 'joinById', ann.roomId);
  assert.equal(bob.roomId, ann.roomId);
  await until(ann, (state) => state.players?.size === 2);
  for (let n = 0; n < 100; n += 1) bob.send('move', 2);
  ann.send('move', 5);
  for (const room of [ann, bob]) {
    await until(room, ({ players }) => {
      return players?.get(ann.sessionId)?.x === 5 && players.get(bob.sessionId)?.x === 200;
    });
  }
  await bob.leave();
  await until(ann, ({ players }) => players.size === 1);
  assert.deepEqual(Field.last.left, [4000]);
});

it('sends messages, broadcasts and bytes', async (t) => {
  const { join } = await serve(t);
  const ann = await join('ann', 'create');
  const bob = await join('bob', 'joinById', ann.roomId);
  const echo = message(ann, 'echo');
  ann.send('echo', { text: 'grüß', list: [1, 2.5, null] });
  assert.deepEqual(await echo, { text: 'grüß', list: [1, 2.5, null] });
  const said = message(bob, 'said');
  ann.send('say', 'hi');
  assert.equal(await said, 'hi');
  const bytes = message(bob, 'bytes');
  bob.send('bytes', new Uint8Array([0, 127, 255]));
  assert.deepEqual([...(await bytes)], [0, 127, 255]);
});

it('refuses who may not join and rooms that are not', async (t) => {
  const { client, join } = await serve(t);
  t.mock.method(console, 'warn', () => {});
  await assert.rejects(join('stranger', 'create'), { message: 'not you' });
  await assert.rejects(client.joinOrCreate('nowhere'), /not defined/);
  await assert.rejects(client.joinById('none'), /not found/);
});

it('tells a player that the room sends away', async (t) => {
  const { join } = await serve(t);
  const room = await join('ann', 'create');
  const left = new Promise((resolve) => room.onLeave(resolve));
  room.send('kick');
  assert.equal(await left, 4100);
});

it('takes a player back whose connection broke', async (t) => {
  const { join } = await serve(t);
  const room = await join('ann', 'create');
  await until(room, (state) => state.players?.size === 1);
  t.mock.method(console, 'info', () => {});
  const back = new Promise((resolve) => room.onReconnect(resolve));
  room.connection.transport.ws.terminate();
  await back;
  const echo = message(room, 'echo');
  room.send('echo', 'again');
  assert.equal(await echo, 'again');
  assert.equal(Field.last.clients.length, 1);
});

it('has 20 players in a room', async (t) => {
  const { join } = await serve(t);
  const first = await join('player 0', 'create');
  const names = Array.from({ length: 19 }, (_, n) => `player ${n + 1}`);
  const rooms = [first, ...(await Promise.all(names.map((name) => join(name, 'joinById', first.roomId))))];
  for (const room of rooms) room.send('move', 1);
  for (const room of rooms) {
    await until(
      room,
      ({ players }) => players?.size === 20 && [...players.values()].every(({ x }) => x === 1),
    );
  }
});

it('answers matchmaking over HTTP and the routes of express beside it', async (t) => {
  const { client, port } = await serve(t);
  const http = requests(port);
  const made = await http.postJson('/matchmake/create/field', { name: 'ann' });
  assert.equal(made.status, 200);
  assert.equal(made.json.name, 'field');
  const room = await client.consumeSeatReservation(made.json);
  await room.leave();
  const preflight = await http.options('/matchmake/create/field', {
    headers: { origin: 'http://there.example' },
  });
  assert.equal(preflight.status, 204);
  assert.equal(preflight.headers['access-control-allow-origin'], 'http://there.example');
  const page = await http.get('/page');
  assert.deepEqual([page.status, page.text], [200, 'page']);
  assert.equal((await http.get('/none')).status, 404);
});
