'use strict';

// Worker threads that share a port: by the kernel (SO_REUSEPORT), or by an acceptor that hands them their
// connections.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { before, describe, it } = require('node:test');
const { start, until } = require('./support/app.js');
const { needsBrowser, openBrowser } = require('./support/browser.js');
const { since } = require('./support/build.js');
const { suite } = require('./support/suite.js');
const { addTodo, connect, idOf, openPage, say, storeOf, textsOf } = require('./support/visitors.js');
const { needsRedis, startRedis } = require('./servers.js');

const WORKERS = 2;
const CRASH = path.join(__dirname, 'support', 'crash.js');
/** The number of connections that it may take until each worker has got one. */
const TRIES = 60;
const NAMES = Array.from({ length: TRIES }, (_, n) => `tab-${n}`);

const hasModes = since('svelte-adapter-uws', '0.4.0');
const MODES = {
  SO_REUSEPORT: {
    env: { CLUSTER_MODE: 'reuseport' },
    skip: !hasModes && 'adapter 0.3 has the acceptor only',
  },
  'an acceptor': { env: hasModes ? { CLUSTER_MODE: 'acceptor' } : {}, skip: false },
};

for (const [mode, { env, skip }] of Object.entries(MODES)) {
  for (const store of ['memory', 'redis']) {
    const skipped = skip || (store === 'redis' && needsRedis.skip);
    describe(`two workers behind ${mode}, ${store}`, { skip: skipped, timeout: 300000 }, () => {
      const t = suite();
      let server;
      let crashFile;

      before(async () => {
        const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'uws-cluster-'));
        t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
        crashFile = path.join(folder, 'crash');
        const all = { ...env, DATA_DIR: folder, CRASH_FILE: crashFile, PRESENCE_TTL_MS: '3000' };
        all.NODE_OPTIONS = `${process.env.NODE_OPTIONS ?? ''} --require ${JSON.stringify(CRASH)}`;
        if (store === 'redis') all.REDIS_URL = (await startRedis(t)).url;
        server = await start(t, 'realtime', { workers: WORKERS, env: all });
      });

      /** Opens a client of each worker: [client, instance] pairs. `not` is an instance that is gone. */
      async function ofEach(not) {
        const found = new Map();
        for (let n = 0; n < TRIES && found.size < WORKERS; n++) {
          const client = await connect(server, NAMES[n]).catch(() => undefined);
          const instance = client && (await storeOf(client)).instance;
          if (!client || found.has(instance) || instance === not) await client?.close();
          else found.set(instance, client);
        }
        assert.equal(found.size, WORKERS, `${TRIES} connections went to ${[...found.keys()]}`);
        return [...found].map(([instance, client]) => ({ instance, client }));
      }

      /** Ends the worker and resolves when another one has taken its place. */
      async function crash(instance) {
        const ready = () => server.output.match(/Worker thread \d+ (registered|listening on)/g).length;
        const seen = ready();
        fs.writeFileSync(crashFile, instance);
        await until(() => server.output.includes(`${instance} dies as it is told to`), 'the worker dies');
        await until(() => ready() > seen, 'another takes its place');
      }

      it('a publish on one reaches the clients of all, once', async () => {
        const workers = await ofEach();
        const todos = [];
        const typing = [];
        for (const { client } of workers) {
          todos.push((await client.stream('todos/todos')).events);
          typing.push((await client.stream('rooms/typing', ['lobby'])).events);
        }
        for (const { client, instance } of workers) {
          await addTodo(client, `from ${instance}`);
          await client.call('rooms/setTyping', 'lobby', true);
        }
        for (const events of todos) {
          await events.count(WORKERS);
          assert.deepEqual(textsOf(events).sort(), workers.map(({ instance }) => `from ${instance}`).sort());
        }
        for (const events of typing) await events.count(WORKERS);
        for (const { client } of workers) await client.settled();
        assert.deepEqual(
          [...todos, ...typing].map((events) => events.length),
          Array(2 * WORKERS).fill(WORKERS),
        );
      });

      it('people are known to all workers', async () => {
        const [one, other] = await ofEach();
        const { events } = await one.client.stream('rooms/people', ['lobby']);
        await other.client.stream('rooms/people', ['lobby']);
        await events.when((list) => list.filter(({ event }) => event === 'join').length === 2);
        const { data } = (await one.client.stream('rooms/people', ['lobby'])).response;
        assert.equal(data.length, 2);
        await other.client.close();
        await events.when((list) => list.some(({ event }) => event === 'leave'));
      });

      it('a worker that dies is replaced, and its clients miss nothing that replay holds', async () => {
        const [victim, survivor] = await ofEach();
        const witness = (await survivor.client.stream('todos/todos')).events;
        await addTodo(victim.client, 'before');
        await witness.when((list) => textsOf(list).includes('before'));
        const earlier = witness.length;
        const { seq } = (await victim.client.stream('todos/todos')).response;
        const replaced = crash(victim.instance);
        assert.notEqual((await victim.client.ended).code, 1000);
        const missed = ['missed 1', 'missed 2', 'missed 3'];
        for (const text of missed) await addTodo(survivor.client, text);
        await replaced;
        assert.deepEqual(textsOf((await witness.count(earlier + missed.length)).slice(earlier)), missed);
        assert.equal(survivor.client.closed, undefined);

        const now = await ofEach(victim.instance);
        for (const { client } of now) {
          const { response } = await client.stream('todos/todos', [], { seq });
          assert.equal(response.replay, true);
          assert.deepEqual(
            response.data.map((entry) => [entry.seq, entry.data.text]),
            missed.map((text, n) => [seq + 1 + n, text]),
          );
        }
        for (const { client, instance } of now) {
          await addTodo(client, `after, from ${instance}`);
          for (const events of [witness, ...now.map((worker) => worker.client.topic('todos'))])
            await events.when((list) => textsOf(list).includes(`after, from ${instance}`));
        }
      });

      it('a page of a worker that dies comes back by itself, and has it all', needsBrowser, async () => {
        const browser = await openBrowser(t);
        const { page, complaints } = await openPage(browser, server, 'page-ann', '/rooms/lobby');
        const instance = async () => (await page.getAttribute('[title^="Instance "]', 'title')).split(' ')[1];
        const first = await until(async () => {
          const name = await instance();
          const people = await page.locator(`[data-testid=person][data-key="${idOf('page-ann')}"]`).count();
          return people && name;
        }, 'the page is up');
        const workers = await ofEach();
        const survivor = workers.find((worker) => worker.instance !== first).client;
        await say(survivor, 'lobby', 'before the crash');
        await page.waitForSelector('[data-testid=message-text]:text-is("before the crash")');
        const replaced = crash(workers.find((worker) => worker.client !== survivor).instance);
        await workers.find((worker) => worker.client !== survivor).client.ended;
        await say(survivor, 'lobby', 'during the crash');
        await replaced;
        await page.waitForSelector('[data-testid=message-text]:text-is("during the crash")');
        await say(survivor, 'lobby', 'after the crash');
        await page.waitForSelector('[data-testid=message-text]:text-is("after the crash")');
        const texts = await page.locator('[data-testid=message-text]').allTextContents();
        assert.deepEqual(texts.slice(-3), ['before the crash', 'during the crash', 'after the crash']);
        assert.equal(new Set(texts).size, texts.length);
        // Its console may have the lost connection, and nothing else.
        assert.deepEqual(
          complaints.filter((text) => !/WebSocket|ERR_CONNECTION/.test(text)),
          [],
        );
      });
    });
  }
}
