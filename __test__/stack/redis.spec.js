'use strict';

// Two processes of the app on two ports, and one Redis: messages sent to one arrive at the other.

const assert = require('node:assert/strict');
const { before, describe, it } = require('node:test');
const { start, until } = require('./support/app.js');
const { needsBrowser, openBrowser } = require('./support/browser.js');
const { suite } = require('./support/suite.js');
const { addTodo, connect, idOf, openPage, say, storeOf, textsOf } = require('./support/visitors.js');
const { needsRedis, startRedis } = require('./servers.js');

/** An instance that has been silent for this time counts as dead. */
const PRESENCE_TTL_MS = 3000;
/** The rate limit of a visitor: a burst, and messages per second. */
const SAY_BURST = 20;
const SAY_PER_SECOND = 2;

describe('two processes and one Redis', { ...needsRedis, timeout: 300000 }, () => {
  const t = suite();
  let left;
  let right;

  before(async () => {
    const redis = await startRedis(t);
    const env = { REDIS_URL: redis.url, PRESENCE_TTL_MS: String(PRESENCE_TTL_MS) };
    [left, right] = await Promise.all([start(t, 'realtime', { env }), start(t, 'realtime', { env })]);
  });

  it('both say that Redis is behind them, and are two', async () => {
    const stores = await Promise.all(
      [left, right].map(async (server) => storeOf(await connect(server, 'ann'))),
    );
    assert.deepEqual(
      stores.map(({ kind, circuit }) => [kind, circuit]),
      [
        ['redis', 'closed'],
        ['redis', 'closed'],
      ],
    );
    assert.notEqual(stores[0].instance, stores[1].instance);
  });

  it('kept events reach the clients of both, once', async () => {
    const [ann, bob] = [await connect(left, 'ann'), await connect(right, 'bob')];
    const heard = [await ann.stream('todos/todos'), await bob.stream('todos/todos')].map(
      ({ events }) => events,
    );
    await addTodo(ann, 'from the left');
    await addTodo(bob, 'from the right');
    for (const events of heard) await events.count(2);
    await addTodo(ann, 'the last');
    for (const events of heard) {
      await events.count(3);
      assert.deepEqual(textsOf(events).sort(), ['from the left', 'from the right', 'the last']);
    }
    const { response } = await bob.stream('todos/todos');
    assert.deepEqual(response.data.map(({ text }) => text).sort(), textsOf(heard[0]).sort());
  });

  it('events that are not kept reach the clients of both, once', async () => {
    const [ann, bob] = [await connect(left, 'ann'), await connect(right, 'bob')];
    const heard = [await ann.stream('rooms/typing', ['lobby']), await bob.stream('rooms/typing', ['lobby'])];
    for (const on of [true, false]) await ann.call('rooms/setTyping', 'lobby', on);
    for (const { events } of heard) {
      await events.when((list) => list.some(({ event }) => event === 'leave'));
      assert.deepEqual(
        events.map(({ event, data }) => [event, data.key]),
        [
          ['join', idOf('ann')],
          ['leave', idOf('ann')],
        ],
      );
    }
  });

  it('a topic has one order for all, whoever writes', async () => {
    const each = 200;
    const writers = [await connect(left, 'writer-l'), await connect(right, 'writer-r')];
    const readers = [await connect(left, 'ann'), await connect(right, 'bob')];
    const heard = [];
    for (const reader of readers) heard.push((await reader.stream('todos/todos')).events);
    await Promise.all(
      writers.flatMap((writer, side) =>
        Array.from({ length: each }, (_, n) => addTodo(writer, `${side} ${n}`)),
      ),
    );
    for (const events of heard) await events.count(2 * each);
    assert.deepEqual(textsOf(heard[0]), textsOf(heard[1]));
    for (const side of ['0', '1']) {
      const own = textsOf(heard[0]).filter((text) => text.startsWith(`${side} `));
      assert.deepEqual(
        own,
        Array.from({ length: each }, (_, n) => `${side} ${n}`),
      );
    }
  });

  for (const signal of ['SIGTERM', 'SIGKILL']) {
    it(`events missed across a restart by ${signal} are replayed`, async () => {
      const ann = await connect(left, 'ann');
      const bob = await connect(right, 'bob');
      await addTodo(ann, `before ${signal}`);
      const { seq } = (await ann.stream('todos/todos')).response;
      const missed = [1, 2, 3].map((n) => `while away ${signal} ${n}`);
      await left.restart({
        signal,
        between: async () => {
          for (const text of missed) await addTodo(bob, text);
        },
      });
      const again = await connect(left, 'ann');
      const { response, events } = await again.stream('todos/todos', [], { seq });
      assert.equal(response.replay, true);
      assert.deepEqual(
        response.data.map((entry) => [entry.seq, entry.event, entry.data.text]),
        missed.map((text, n) => [seq + 1 + n, 'created', text]),
      );
      await addTodo(bob, `after ${signal}`);
      await events.count(1);
      assert.deepEqual(textsOf(events), [`after ${signal}`]);
    });
  }

  it('a visitor in several tabs, on both, is one; those of a process that is killed are taken out', async () => {
    const room = 'lobby';
    const watch = await connect(right, 'watcher');
    const { events } = await watch.stream('rooms/people', [room]);
    const people = async () =>
      (await watch.stream('rooms/people', [room])).response.data.map(({ key }) => key);
    const both = [await connect(left, 'both'), await connect(left, 'both'), await connect(right, 'both')];
    const one = await connect(left, 'one');
    for (const client of [...both, one]) await client.stream('rooms/people', [room]);
    await events.when((list) => list.some(({ data }) => data.key === idOf('one')));
    assert.deepEqual((await people()).sort(), ['both', 'one', 'watcher'].map(idOf).sort());
    const joins = events.filter(({ event, data }) => event === 'join' && data.key === idOf('both'));
    assert.equal(joins.length, 1);

    await both[0].close();
    await one.settled();
    await left.stop('SIGKILL');
    await events.when((list) => list.some(({ event }) => event === 'leave'), 'the dead are taken out');
    assert.deepEqual(
      events.filter(({ event }) => event === 'leave').map(({ data }) => data.key),
      [idOf('one')],
    );
    assert.deepEqual((await people()).sort(), ['both', 'watcher'].map(idOf).sort());
    await both[2].close();
    await events.when((list) => list.filter(({ event }) => event === 'leave').length === 2);
    await left.start();
  });

  it('a rate limit counts for both together', async () => {
    const clients = [await connect(left, 'chatty'), await connect(right, 'chatty')];
    const started = Date.now();
    const answers = await Promise.all(
      clients.flatMap((client) =>
        Array.from({ length: 30 }, (_, n) =>
          say(client, 'lobby', `word ${n}`).then(
            () => 'OK',
            ({ code }) => code,
          ),
        ),
      ),
    );
    const refilled = Math.ceil(((Date.now() - started) / 1000) * SAY_PER_SECOND);
    const said = answers.filter((answer) => answer === 'OK').length;
    assert.ok(said >= SAY_BURST && said <= SAY_BURST + refilled, `${said} said, ${refilled} of them later`);
    assert.deepEqual(
      answers.filter((answer) => answer !== 'OK'),
      Array(60 - said).fill('RATE_LIMITED'),
    );
    // The limit does not affect another visitor.
    assert.equal((await say(await connect(left, 'modest'), 'lobby', 'hello')).text, 'hello');
  });

  it('two browsers at two processes talk', needsBrowser, async () => {
    const browser = await openBrowser(t);
    const ann = await openPage(browser, left, 'page-ann', '/rooms/lobby');
    const bob = await openPage(browser, right, 'page-bob', '/rooms/lobby');
    for (const { page } of [ann, bob]) {
      assert.equal(await page.getAttribute('[data-testid=store]', 'data-kind'), 'redis');
      for (const name of ['page-ann', 'page-bob'])
        await page.waitForSelector(`[data-testid=person][data-key="${idOf(name)}"]`);
    }
    await ann.page.fill('[data-testid=chat-input]', 'Hello over there');
    await ann.page.click('[data-testid=chat-send]');
    await bob.page.waitForSelector('[data-testid=message-text]:text-is("Hello over there")');
    await bob.page.fill('[data-testid=chat-input]', 'Hello back');
    await bob.page.click('[data-testid=chat-send]');
    await ann.page.waitForSelector('[data-testid=message-text]:text-is("Hello back")');
    await bob.page.close();
    await until(
      async () => (await ann.page.locator(`[data-key="${idOf('page-bob')}"]`).count()) === 0,
      'Bob has left',
    );
    assert.deepEqual([...ann.complaints, ...bob.complaints], []);
  });
});
