'use strict';

// Strangers send the realtime example arguments, forms and names that none of its pages would.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { before, describe, it } = require('node:test');
const { createRequire } = require('node:module');
const v8 = require('node:v8');
const vm = require('node:vm');
const { start } = require('./support/app.js');
const { REALTIME } = require('./support/build.js');
const { suite } = require('./support/suite.js');
const { connect } = require('./support/visitors.js');

const LOOKED_AT = 50_000;
/** Limits of one connection. */
const ROOMS = 20;
const TOPICS = 200;

/** Bytes in use after a collection. */
function heap() {
  v8.setFlagsFromString('--expose-gc');
  vm.runInNewContext('gc')();
  return process.memoryUsage().heapUsed;
}

/** Loads a module of the example's stores, which is TypeScript, by the bundler that builds the example. */
function load(name) {
  const { buildSync } = createRequire(path.join(REALTIME, 'package.json'))('esbuild');
  const entry = path.join(REALTIME, 'src', 'lib', 'server', 'stores', `${name}.ts`);
  const options = { bundle: true, platform: 'node', format: 'cjs', write: false, logLevel: 'error' };
  const module = { exports: {} };
  const [{ text }] = buildSync({ entryPoints: [entry], ...options }).outputFiles;
  vm.compileFunction(text, ['module', 'exports', 'require'])(module, module.exports, require);
  return module.exports;
}

describe('strangers', { timeout: 120000 }, () => {
  const t = suite();
  let server;

  before(async () => {
    server = await start(t, 'realtime');
  });

  it('only a string names a room, and a stranger is present in it once', async () => {
    const client = await connect(server, 'stranger');
    const [{ key }] = (await client.stream('rooms/people', ['lobby'])).response.data;
    for (const room of [['lobby'], { toString: 1 }, null, 7]) {
      const asked = [
        client.ask('rooms/people', [room], { stream: true }),
        client.ask('rooms/messages', [room], { stream: true }),
        client.ask('rooms/say', [room, 'abcdefgh', 'hello']),
        client.ask('rooms/moveCursor', [room, 0.5, 0.5]),
        client.ask('rooms/setTyping', [room, true]),
        client.ask('rooms/leaveRoom', [room]),
      ];
      for (const answer of await Promise.all(asked)) {
        assert.equal(answer.code, 'NOT_FOUND', `${JSON.stringify(room)}: ${JSON.stringify(answer)}`);
      }
    }
    const people = (await client.stream('rooms/present', ['lobby'])).response.data;
    assert.deepEqual(
      people.map((person) => person.key),
      [key],
    );
    client.drop();
  });

  it('only the name of an audience is one', async () => {
    const client = await connect(server, 'speaker');
    for (const audience of ['constructor', '__proto__', 'toString', ['everyone'], null, 7]) {
      const { code } = await client.ask('stage/speak', [audience, 'hello']);
      assert.equal(code, 'VALIDATION', JSON.stringify(audience));
    }
    client.drop();
  });

  it('a notice names nobody at length', async () => {
    const client = await connect(server, 'herald');
    const notice = (from) => client.ask('notices/postRaw', ['info', { text: 'hello', from, at: 1 }]);
    assert.equal((await notice('x'.repeat(60))).ok, true);
    assert.equal((await notice('x'.repeat(61))).code, 'VALIDATION');
    client.drop();
  });

  it('a form that cannot be read is answered with 400', async () => {
    for (const target of ['/todos?/add', '/stage?/role', '/stage?/speak']) {
      const response = await fetch(server.url + target, {
        method: 'POST',
        headers: { origin: server.url, 'content-type': 'multipart/form-data; boundary=x' },
        body: 'no part',
      });
      assert.equal(response.status, 400, target);
      await response.arrayBuffer();
    }
    assert.doesNotMatch(server.output, /Error/);
  });

  it('a connection is in few rooms, and hears few topics', async () => {
    const client = await connect(server, 'collector');
    const enter = (n) => client.ask('rooms/people', [`made-up-${n}`], { stream: true });
    for (let n = 0; n < ROOMS; n++) assert.equal((await enter(n)).ok, true, `room ${n}`);
    assert.equal((await enter(ROOMS)).code, 'OVERLOADED');
    assert.equal((await client.ask('rooms/moveCursor', [`made-up-${ROOMS}`, 0, 0])).code, 'OVERLOADED');
    await client.call('rooms/leaveRoom', 'made-up-0');
    assert.equal((await enter(ROOMS)).ok, true);
    for (let n = 0; n < TOPICS; n++) client.send({ type: 'subscribe', topic: `topic-${n}` });
    assert.equal((await client.ask('rooms/typing', ['lobby'], { stream: true })).code, 'OVERLOADED');
    client.send({ type: 'unsubscribe', topic: 'topic-0' });
    assert.equal((await client.ask('rooms/typing', ['lobby'], { stream: true })).ok, true);
    client.drop();
  });

  it("a switch of the engine's page is turned on once in a second", async () => {
    const client = await connect(server, 'presser');
    await client.subscribe('engine');
    await client.call('engine/probe');
    await client.topic('engine').when((list) => list.some(({ data }) => data.pings.length > 0), 'pings');
    const earlier = await accepted();
    const codes = [];
    for (let n = 0; n < 20; n++) {
      for (const name of ['load', 'slowClient'])
        codes.push((await client.ask(`engine/${name}`, [true])).code);
      for (const name of ['load', 'slowClient']) await client.call(`engine/${name}`, false);
    }
    assert.deepEqual(codes.slice(0, 2), [undefined, undefined]);
    assert.ok(codes.includes('RATE_LIMITED'), codes.join());
    // A start of both makes 19 connections.
    assert.ok((await accepted()) - earlier < 100);
    client.drop();
  });

  const accepted = async () => {
    const response = await fetch(`${server.url}/engine/metrics`, { headers: { accept: 'application/json' } });
    return (await response.json()).connections.accepted;
  };

  it('names of rooms that are only looked at take no memory', () => {
    const { Journal } = load('journal');
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'uws-journal-'));
    const journal = new Journal(folder);
    try {
      journal.append('room:kept', 'created', { id: 'first' });
      const earlier = heap();
      for (let i = 0; i < LOOKED_AT; i++) {
        journal.items(`room:${i}`);
        journal.since(`room:${i}`, 0);
      }
      const grown = heap() - earlier;
      assert.ok(grown < 20 * LOOKED_AT, `grown by ${grown} bytes`);
      assert.deepEqual(journal.items('room:kept'), [{ id: 'first' }]);
    } finally {
      journal.close();
      fs.rmSync(folder, { recursive: true, force: true });
    }
  });

  it('names of rooms that are only looked at are forgotten by a log that is shared', async () => {
    const { SharedLog } = load('shared-log');
    const listened = new Set(['room:listened']);
    const heard = [];
    const shelf = {
      written: new Map(),
      asked: [],
      async write({ topic, event, data }) {
        const events = this.written.get(topic) ?? [];
        this.written.set(topic, events);
        return events.push({ event, data });
      },
      async since(topic, seq) {
        this.asked.push(topic);
        const events = (this.written.get(topic) ?? []).map((each, i) => ({ topic, seq: i + 1, ...each }));
        return { seq: events.length, events: events.filter((each) => each.seq > seq) };
      },
      async items(topic) {
        const events = this.written.get(topic) ?? [];
        return { seq: events.length, items: events.map(({ data }) => data) };
      },
      seq: async (topic) => (shelf.written.get(topic) ?? []).length,
    };
    const circuit = { attempt: (task) => task(), run: (task) => task(), trip() {} };
    const log = new SharedLog(circuit, shelf);
    const platform = {
      subscribers: (topic) => (listened.has(topic) ? 1 : 0),
      publish: (topic, event, data) => heard.push([topic, event, data]),
    };
    log.activate(platform);
    await log.append(platform, 'room:kept', 'created', { id: 'first' });
    await log.items('room:kept');
    await log.items('room:listened');
    const { now } = Date;
    try {
      for (let i = 0; i < LOOKED_AT; i++) {
        // Each of them is left alone for more than a minute before half of the others are looked at.
        Date.now = () => now() + i * 1000;
        await log.items(`room:${i}`);
        await log.since(`room:${i}`, 0);
      }
    } finally {
      Date.now = now;
    }
    shelf.asked = [];
    await shelf.write({ topic: 'room:listened', event: 'created', data: { id: 'meanwhile' } });
    await log.resync();
    assert.ok(shelf.asked.length < 2500, `${shelf.asked.length} topics are remembered`);
    assert.ok(shelf.asked.includes('room:kept'));
    assert.deepEqual(heard, [['room:listened', 'created', { id: 'meanwhile' }]]);
  });
});
