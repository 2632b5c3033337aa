'use strict';

// Redis goes away under load and comes back: visitors notice it only in the status bar, and nothing is lost.

const assert = require('node:assert/strict');
const { describe, it } = require('node:test');
const { delay, start } = require('./support/app.js');
const { needsBrowser, openBrowser } = require('./support/browser.js');
const { addTodo, connect, idOf, openPage, storeOf, textsOf } = require('./support/visitors.js');
const { needsRedis, startRedis } = require('./servers.js');

const TIMEOUT_MS = 1500;
const PAUSE_MS = 10;
/** The number of items of a list that the app keeps. */
const LISTED = 500;
const ROOM = 'lobby';

/** The failures of Redis, and how each is undone. */
const OUTAGES = {
  'is killed and starts with what it had': {
    end: (redis) => redis.stop('SIGKILL'),
    undo: (redis) => redis.start(),
  },
  'is killed and starts empty': {
    options: { persist: false },
    end: (redis) => redis.stop('SIGKILL'),
    undo: (redis) => redis.start(),
  },
  'hangs and goes on': { end: (redis) => redis.hang(), undo: (redis) => redis.go() },
};

describe('circuit breaker', { ...needsRedis, timeout: 300000 }, () => {
  for (const [name, { options, end, undo }] of Object.entries(OUTAGES)) {
    it(`Redis ${name}`, async (t) => {
      const { redis, left, right } = await pair(t, options);
      const readers = [await connect(left, 'reader-l'), await connect(right, 'reader-r')];
      const todos = [];
      const people = [];
      for (const reader of readers) {
        todos.push((await reader.stream('todos/todos')).events);
        people.push((await reader.stream('rooms/people', [ROOM])).events);
      }
      await addTodo(readers[0], 'the first');
      const first = (await readers[1].stream('todos/todos')).response.seq;
      const leaver = await connect(right, 'leaver');
      await leaver.stream('rooms/people', [ROOM]);
      const loads = [
        new Load(await connect(left, 'left'), 'left'),
        new Load(await connect(right, 'right'), 'right'),
      ];
      await Promise.all(loads.map((load) => load.said(50)));

      await end(redis);
      for (const reader of readers) await storeOf(reader, ({ circuit }) => circuit === 'open');
      const before = todos.map((events) => [countOf(events, 'left'), countOf(events, 'right')]);
      await Promise.all(loads.map((load) => load.said(100)));
      // Each instance goes on with its own clients.
      await todos[0].when((events) => countOf(events, 'left') >= before[0][0] + 90);
      await todos[1].when((events) => countOf(events, 'right') >= before[1][1] + 90);
      assert.equal(countOf(todos[0], 'right'), before[0][1]);
      assert.equal(countOf(todos[1], 'left'), before[1][0]);
      const joiner = await connect(left, 'joiner');
      const { data } = (await joiner.stream('rooms/people', [ROOM])).response;
      assert.ok(data.some(({ key }) => key === idOf('joiner')));
      await people[0].when((events) => has(events, 'join', 'joiner'));
      await leaver.close();
      await people[1].when((events) => has(events, 'leave', 'leaver'));

      await undo(redis);
      for (const reader of readers) await storeOf(reader, ({ circuit }) => circuit === 'closed');
      await Promise.all(loads.map((load) => load.said(50)));
      const said = (await Promise.all(loads.map((load) => load.stop()))).flat();
      for (const events of todos) {
        await events.count(1 + said.length);
        for (const { name: writer, texts } of loads)
          assert.deepEqual(
            textsOf(events).filter((text) => text.startsWith(writer)),
            texts,
          );
      }
      await people[1].when((events) => has(events, 'join', 'joiner'));
      await people[0].when((events) => has(events, 'leave', 'leaver'));
      assert.deepEqual(
        [...readers, joiner, ...loads.map(({ client }) => client)].filter(({ closed }) => closed),
        [],
      );

      // A process that did not exist meanwhile has everything from Redis.
      const third = await start(t, 'realtime', { env: { REDIS_URL: redis.url } });
      const newcomer = await connect(third, 'new');
      const all = (await newcomer.stream('todos/todos')).response;
      const listed = new Set(all.data.map(({ text }) => text));
      assert.equal(listed.size, Math.min(1 + said.length, LISTED));
      assert.equal(['the first', ...said].filter((text) => listed.has(text)).length, listed.size);
      assert.equal(all.seq, first + said.length);
      const present = (await newcomer.stream('rooms/people', [ROOM])).response.data.map(({ key }) => key);
      assert.deepEqual(present.sort(), ['joiner', 'new', 'reader-l', 'reader-r'].map(idOf).sort());
      for (const events of todos) assert.equal(events.length, 1 + said.length);
    });
  }

  it('Redis is away when the app starts', async (t) => {
    const redis = await startRedis(t);
    await redis.stop();
    const server = await start(t, 'realtime', { env: environment(redis) });
    const [ann, bob] = [await connect(server, 'ann'), await connect(server, 'bob')];
    const { events } = await bob.stream('todos/todos');
    await addTodo(ann, 'said into the void');
    assert.deepEqual(textsOf(await events.count(1)), ['said into the void']);
    await redis.start();
    await storeOf(ann, ({ circuit }) => circuit === 'closed');
    await addTodo(ann, 'and afterwards');
    assert.deepEqual(textsOf(await events.count(2)), ['said into the void', 'and afterwards']);
    const { data } = (await bob.stream('todos/todos')).response;
    assert.deepEqual(
      data.map(({ text }) => text),
      ['said into the void', 'and afterwards'],
    );
  });

  it('a page shows it, and works on', needsBrowser, async (t) => {
    const { redis, left, right } = await pair(t);
    const browser = await openBrowser(t);
    const ann = await openPage(browser, left, 'page-ann', `/rooms/${ROOM}`);
    const bob = await openPage(browser, right, 'page-bob', `/rooms/${ROOM}`);
    const circuit = ({ page }, state) =>
      page.waitForSelector(`[data-testid=circuit][data-circuit=${state}]`, { state: 'attached' });
    const message = ({ page }, text) => page.waitForSelector(`[data-testid=message-text]:text-is("${text}")`);
    for (const tab of [ann, bob]) await circuit(tab, 'closed');
    await redis.stop('SIGKILL');
    for (const tab of [ann, bob]) await circuit(tab, 'open');
    await ann.page.fill('[data-testid=chat-input]', 'Anybody there?');
    await ann.page.click('[data-testid=chat-send]');
    await message(ann, 'Anybody there?');
    assert.equal(await bob.page.getByText('Anybody there?').count(), 0);
    await redis.start();
    for (const tab of [ann, bob]) await circuit(tab, 'closed');
    await message(bob, 'Anybody there?');
    for (const { page, complaints } of [ann, bob]) {
      await page.waitForSelector('[data-testid=connection][data-state=open]');
      assert.equal(await page.getByText('Anybody there?').count(), 1);
      assert.deepEqual(complaints, []);
    }
  });
});

async function pair(t, options) {
  const redis = await startRedis(t, options);
  const [left, right] = await Promise.all(
    [0, 1].map(() => start(t, 'realtime', { env: environment(redis) })),
  );
  return { redis, left, right };
}

function environment(redis) {
  return { REDIS_URL: redis.url, STORE_TIMEOUT_MS: String(TIMEOUT_MS), CIRCUIT_RESET_MS: '300' };
}

/** A client that adds todos to the list endlessly, one after the other; each of its calls has to succeed. */
class Load {
  texts = [];
  #stopped = false;

  constructor(client, name) {
    this.client = client;
    this.name = name;
    this.done = this.#run();
    this.done.catch(() => {});
  }

  /** Resolves when that many more have been added. */
  async said(more) {
    const wanted = this.texts.length + more;
    while (this.texts.length < wanted) await Promise.race([delay(PAUSE_MS), this.done]);
  }

  /** Returns all that was added. */
  async stop() {
    this.#stopped = true;
    await this.done;
    return this.texts;
  }

  async #run() {
    while (!this.#stopped) {
      const text = `${this.name} ${this.texts.length}`;
      await addTodo(this.client, text);
      this.texts.push(text);
      await delay(PAUSE_MS);
    }
  }
}

const countOf = (events, writer) => textsOf(events).filter((text) => text.startsWith(writer)).length;
const has = (events, event, name) => events.some((one) => one.event === event && one.data.key === idOf(name));
