'use strict';

// The real package of extensions, where STACK_EXTENSIONS names one (it is not on the registry): two processes
// of a small app that has nothing else, with Redis and PostgreSQL.

const assert = require('node:assert/strict');
const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { before, describe, it } = require('node:test');
const { start, until } = require('./support/app.js');
const { PLACE, apps, borrow, since } = require('./support/build.js');
const { Client } = require('./support/client.js');
const { suite } = require('./support/suite.js');
const { needsPostgres, needsRedis, startPostgres, startRedis } = require('./servers.js');

const SOURCES = path.join(__dirname, 'extensions');
const BUILT = path.join(PLACE, 'extensions');
const PACKAGE = path.join(apps.realtime, 'node_modules', 'svelte-adapter-uws-extensions');
const absent =
  (!fs.existsSync(PACKAGE) && 'STACK_EXTENSIONS names none') ||
  (!since('svelte-adapter-uws', '0.5.0') && 'they need adapter 0.5');
/** Settings of the app: how much its replay holds, and how much its rate limit allows. */
const KEPT = 20;
const POINTS = 5;

describe(
  'svelte-adapter-uws-extensions',
  {
    skip: absent || needsRedis.skip || needsPostgres.skip,
    timeout: 300000,
  },
  () => {
    const t = suite();
    let redis;
    let postgres;
    let left;
    let right;

    before(async () => {
      borrow(SOURCES, BUILT);
      execFileSync('npm', ['run', 'build', '--silent'], { cwd: BUILT, stdio: 'pipe' });
      [redis, postgres] = [await startRedis(t), await startPostgres(t)];
      const env = { REDIS_URL: redis.url, DATABASE_URL: postgres.url };
      [left, right] = await Promise.all([start(t, BUILT, { env }), start(t, BUILT, { env })]);
    });

    /** A client that can ask the app to do something. */
    async function guest(server, user) {
      const client = await Client.open(server, { cookie: `user=${user}` });
      let next = 1;
      const ask = async (what, args = {}) => {
        const id = String(next++);
        client.send({ id, do: what, ...args });
        const answers = client.topic('answer');
        const { data } = await answers.when((list) => list.find(({ event }) => event === id), what);
        if (data.error) throw new Error(data.error);
        return data.value;
      };
      await ask('ready');
      return Object.assign(client, { do: ask });
    }

    it('bus: one process publishes, the clients of both receive it once', async () => {
      const [ann, bob] = [await guest(left, 'ann'), await guest(right, 'bob')];
      for (const client of [ann, bob]) await client.subscribe('news');
      await ann.do('publish', { topic: 'news', data: 1 });
      await bob.do('publish', { topic: 'news', data: 2 });
      await ann.do('batch', { topic: 'news', list: [3, 4, 5] });
      for (const client of [ann, bob]) {
        await client.topic('news').count(5);
        await client.do('ready');
        assert.deepEqual(
          client
            .topic('news')
            .map(({ data }) => data)
            .sort(),
          [1, 2, 3, 4, 5],
        );
      }
    });

    it('bus: thousands, in order', async () => {
      const [ann, bob] = [await guest(left, 'ann'), await guest(right, 'bob')];
      await bob.subscribe('flood');
      const all = Array.from({ length: 3000 }, (_, n) => n);
      for (const data of all) ann.send({ id: 'flood', do: 'publish', topic: 'flood', data });
      await bob.topic('flood').count(all.length);
      assert.deepEqual(
        bob.topic('flood').map(({ data }) => data),
        all,
      );
    });

    it('replay in Redis: numbered without gaps by both, and given to who asks', async () => {
      const [ann, bob] = [await guest(left, 'ann'), await guest(right, 'bob')];
      for (const client of [ann, bob]) await client.subscribe('log');
      await Promise.all(
        [1, 2, 3, 4, 5].flatMap((data) => [ann, bob].map((one) => one.do('keep', { topic: 'log', data }))),
      );
      assert.equal(await bob.do('seq', { topic: 'log' }), 10);
      const kept = await ann.do('since', { topic: 'log', seq: 4 });
      assert.deepEqual(
        kept.map(({ seq }) => seq),
        [5, 6, 7, 8, 9, 10],
      );
      await bob.do('replay', { topic: 'log', seq: 7 });
      const replayed = bob.topic('__replay:log');
      await replayed.when((list) => list.some(({ event }) => event === 'end'));
      assert.deepEqual(
        replayed.map(({ event, data }) => [event, data.seq ?? data.reqId]),
        [
          ['msg', 8],
          ['msg', 9],
          ['msg', 10],
          ['end', 'asked'],
        ],
      );
    });

    it('replay in Redis: survives the process, and says where it is not whole', async () => {
      const ann = await guest(left, 'ann');
      for (let data = 0; data < KEPT + 5; data++) await ann.do('keep', { topic: 'long', data });
      await left.restart({ signal: 'SIGKILL' });
      const again = await guest(left, 'ann');
      await again.subscribe('long');
      await again.do('replay', { topic: 'long', seq: 2 });
      const replayed = again.topic('__replay:long');
      await replayed.when((list) => list.some(({ event }) => event === 'end'));
      assert.deepEqual(
        [replayed[0].event, replayed.filter(({ event }) => event === 'msg').length],
        ['truncated', KEPT],
      );
    });

    it('replay in PostgreSQL', async () => {
      const [ann, bob] = [await guest(left, 'ann'), await guest(right, 'bob')];
      for (const data of [1, 2, 3]) await ann.do('keepInTable', { topic: 'table', data });
      const kept = await bob.do('sinceInTable', { topic: 'table', seq: 1 });
      assert.deepEqual(
        kept.map(({ seq, data }) => [seq, data]),
        [
          [2, 2],
          [3, 3],
        ],
      );
    });

    it('NOTIFY of psql reaches the clients of both', async () => {
      const clients = [await guest(left, 'ann'), await guest(right, 'bob')];
      for (const client of clients) await client.subscribe('rows');
      await postgres.psql(`NOTIFY changes, '{"topic": "rows", "event": "created", "data": {"id": 7}}'`);
      for (const client of clients)
        assert.deepEqual((await client.topic('rows').count(1))[0].data, { id: 7 });
    });

    it('a rate limit counts for both together', async () => {
      const [one, other] = [await guest(left, 'chatty'), await guest(right, 'chatty')];
      const taken = [];
      for (let n = 0; n < POINTS; n++) taken.push(await (n % 2 ? one : other).do('take'));
      assert.deepEqual(
        taken.map(({ allowed, remaining }) => [allowed, remaining]),
        taken.map((_, n) => [true, POINTS - 1 - n]),
      );
      for (const client of [one, other]) assert.equal((await client.do('take')).allowed, false);
      assert.equal((await (await guest(left, 'modest')).do('take')).allowed, true);
    });

    it('presence: Redis 7.4 and later; with an older one the package says so', async (context) => {
      const [, version, major, minor] = /redis_version:((\d+)\.(\d+)\S*)/.exec(
        await redis.tell('INFO server'),
      );
      const [ann, bob] = [await guest(left, 'ann'), await guest(right, 'bob')];
      if (major < 7 || (major === '7' && minor < 4)) {
        context.diagnostic(`this is Redis ${version}: only the refusal is tested`);
        await assert.rejects(ann.do('join', { topic: 'room' }), /requires Redis 7\.4\+/);
        return;
      }
      await ann.do('join', { topic: 'room' });
      await bob.do('join', { topic: 'room' });
      const ids = async () => (await bob.do('people', { topic: 'room' })).map(({ id }) => id).sort();
      assert.deepEqual(await ids(), ['ann', 'bob']);
      await left.restart({ signal: 'SIGKILL' });
      await until(async () => (await ids()).length === 1, 'the dead are taken out');
    });

    it('a group has its members on both', async () => {
      const [ann, bob] = [await guest(left, 'ann'), await guest(right, 'bob')];
      for (const client of [ann, bob]) await client.do('enter');
      assert.equal(await ann.do('members'), 2);
      await ann.do('tell', { data: 'ahoy' });
      for (const client of [ann, bob]) {
        const told = (list) => list.some(({ event, data }) => event === 'told' && data === 'ahoy');
        await client.frames.when(told);
      }
      await bob.close();
      await until(async () => (await ann.do('members')) === 1, 'Bob has left');
    });

    it('cursors of one show at the other', async () => {
      const [ann, bob] = [await guest(left, 'ann'), await guest(right, 'bob')];
      for (const client of [ann, bob]) await client.do('watch', { topic: 'board' });
      // A process listens to the others from the first move of its own.
      await bob.do('move', { topic: 'board', data: { x: 1, y: 2 } });
      await until(async () => {
        await ann.do('move', { topic: 'board', data: { x: 3, y: 4 } });
        return JSON.stringify(bob.frames).includes('"x":3');
      }, 'the cursor shows');
    });

    it('Redis away: the breaker opens, local delivery goes on; back: all is as before', async () => {
      const [ann, here, there] = [
        await guest(left, 'ann'),
        await guest(left, 'here'),
        await guest(right, 'there'),
      ];
      for (const client of [here, there]) await client.subscribe('storm');
      await redis.stop('SIGKILL');
      await until(async () => {
        await ann.do('keep', { topic: 'storm', data: 'away' });
        return (await ann.do('state')) !== 'healthy';
      }, 'the breaker opens');
      await here.topic('storm').when((list) => list.some(({ data }) => data === 'away'));
      for (const client of [ann, here, there]) assert.equal(client.closed, undefined);
      await redis.start();
      await until(async () => {
        await ann.do('keep', { topic: 'storm', data: 'back' });
        return (await ann.do('state')) === 'healthy';
      }, 'the breaker closes');
      await until(async () => {
        await ann.do('publish', { topic: 'storm', data: 'again' });
        return there.topic('storm').some(({ data }) => data === 'again');
      }, 'the other hears it');
    });
  },
);
