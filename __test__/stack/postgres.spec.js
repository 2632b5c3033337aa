'use strict';

// Two processes of the app on two ports, and one PostgreSQL, to which others write as well.

const assert = require('node:assert/strict');
const { before, describe, it } = require('node:test');
const { start, until } = require('./support/app.js');
const { needsBrowser, openBrowser } = require('./support/browser.js');
const { suite } = require('./support/suite.js');
const { addTodo, connect, idOf, openPage, storeOf, textsOf } = require('./support/visitors.js');
const { needsPostgres, needsRedis, startPostgres, startRedis } = require('./servers.js');

describe('two processes and one PostgreSQL', { ...needsPostgres, timeout: 300000 }, () => {
  const t = suite();
  let postgres;
  let left;
  let right;

  before(async () => {
    postgres = await startPostgres(t);
    const env = { DATABASE_URL: postgres.url, CIRCUIT_RESET_MS: '300' };
    [left, right] = await Promise.all([start(t, 'realtime', { env }), start(t, 'realtime', { env })]);
    for (const server of [left, right]) {
      const client = await connect(server, 'first');
      await client.stream('todos/todos');
      assert.equal((await storeOf(client)).kind, 'postgres');
    }
  });

  it('kept events, and others, reach the clients of both, once', async () => {
    const clients = [await connect(left, 'ann'), await connect(right, 'bob')];
    const todos = [];
    const typing = [];
    for (const client of clients) {
      todos.push((await client.stream('todos/todos')).events);
      typing.push((await client.stream('rooms/typing', ['lobby'])).events);
    }
    await addTodo(clients[0], 'from the left');
    await addTodo(clients[1], 'from the right');
    for (const on of [true, false]) await clients[0].call('rooms/setTyping', 'lobby', on);
    for (const events of todos) {
      await events.count(2);
      assert.deepEqual(textsOf(events), ['from the left', 'from the right']);
    }
    for (const events of typing) {
      await events.count(2);
      assert.deepEqual(
        events.map(({ event }) => event),
        ['join', 'leave'],
      );
    }
    await clients[0].settled();
    assert.deepEqual(
      [...todos, ...typing].map((events) => events.length),
      [2, 2, 2, 2],
    );
  });

  it('everybody who is here is seen by all, until they leave, or their process is gone for long', async () => {
    const env = { DATABASE_URL: postgres.url, CIRCUIT_RESET_MS: '300', PRESENCE_TTL_MS: '1500' };
    const [one, other] = [await start(t, 'realtime', { env }), await start(t, 'realtime', { env })];
    const names = (list) => list.map(({ key }) => key).sort();
    const ids = (...people) => people.map(idOf).sort();
    const enter = async (server, name) => {
      const client = await connect(server, name);
      const { response, events } = await client.stream('rooms/people', ['meeting']);
      return { client, events, here: response.data };
    };
    const ann = await enter(one, 'ann');
    const bob = await enter(other, 'bob');
    const late = async (server) => {
      const client = await connect(server, 'looks');
      const { data } = (await client.stream('rooms/present', ['meeting'])).response;
      client.drop();
      return names(data);
    };
    await ann.events.when((list) =>
      list.some(({ event, data }) => event === 'join' && data.key === idOf('bob')),
    );
    for (const server of [one, other])
      await until(async () => String(await late(server)) === String(ids('ann', 'bob')), 'both are seen');

    // The same visitor at both is one person, until the last connection is closed.
    const again = await enter(one, 'bob');
    await bob.client.close();
    await again.client.settled();
    for (const server of [one, other])
      await until(async () => String(await late(server)) === String(ids('ann', 'bob')), 'bob has stayed');
    const left = ({ event, data }) => event === 'leave' && data.key === idOf('bob');
    assert.ok(!ann.events.some(left));
    await again.client.close();
    await ann.events.when((list) => list.some(left));

    const carl = await enter(other, 'carl');
    await ann.events.when((list) => list.some(({ data }) => data.key === idOf('carl')));
    await postgres.restart();
    await until(async () => String(await late(one)) === String(ids('ann', 'carl')), 'both are seen again');
    await other.stop('SIGKILL');
    await ann.events.when((list) =>
      list.some(({ event, data }) => event === 'leave' && data.key === idOf('carl')),
    );
    assert.deepEqual(await late(one), ids('ann'));
    carl.client.drop();
    ann.client.drop();
    await one.stop();
  });

  it('a topic has one order for all, whoever writes', async () => {
    const each = 200;
    const writers = [await connect(left, 'writer-l'), await connect(right, 'writer-r')];
    const heard = [];
    for (const server of [left, right])
      heard.push((await (await connect(server, 'reader')).stream('todos/todos')).events);
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

  it('rows that psql changes reach the clients of both', async () => {
    const ann = await connect(left, 'ann');
    const bob = await connect(right, 'bob');
    const heard = [await ann.stream('todos/todos'), await bob.stream('todos/todos')].map(
      ({ events }) => events,
    );
    const where = `topic = 'todos' AND id = 'by-psql'`;
    const todo = `'{"text": "by psql", "done": false, "by": "psql"}'`;
    await postgres.psql(`INSERT INTO live_items VALUES ('todos', 'by-psql', ${todo})`);
    await postgres.psql(`UPDATE live_items SET data = data || '{"done": true}' WHERE ${where}`);
    // This is more than NOTIFY accepts.
    await postgres.psql(
      `UPDATE live_items SET data = data || jsonb_build_object('by', repeat('x', 20000)) WHERE ${where}`,
    );
    await postgres.psql(`DELETE FROM live_items WHERE ${where}`);
    for (const events of heard) {
      await events.count(4);
      assert.deepEqual(
        events.map(({ event, data }) => [event, data.id, data.done, data.by.length]),
        [
          ['created', 'by-psql', false, 4],
          ['updated', 'by-psql', true, 4],
          ['updated', 'by-psql', true, 20000],
          ['deleted', 'by-psql', true, 20000],
        ],
      );
    }
  });

  it('rows that psql changes show in the browser', needsBrowser, async () => {
    const browser = await openBrowser(t);
    const { page, complaints } = await openPage(browser, left, 'page-ann', '/todos');
    const todo = `'{"text": "Water the plants", "done": false, "by": "psql"}'`;
    await postgres.psql(`INSERT INTO live_items VALUES ('todos', 'plants', ${todo})`);
    await page.waitForSelector('[data-testid=todo][data-id=plants][data-done=false]');
    await postgres.psql(`UPDATE live_items SET data = data || '{"done": true}' WHERE id = 'plants'`);
    await page.waitForSelector('[data-testid=todo][data-id=plants][data-done=true]');
    await postgres.psql(`DELETE FROM live_items WHERE id = 'plants'`);
    await page.waitForSelector('[data-testid=todo][data-id=plants]', { state: 'detached' });
    assert.deepEqual(complaints, []);
  });

  for (const signal of ['SIGTERM', 'SIGKILL']) {
    it(`events missed across a restart of the app by ${signal} are replayed from the table`, async () => {
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
      const { response } = await (await connect(left, 'ann')).stream('todos/todos', [], { seq });
      assert.equal(response.replay, true);
      assert.deepEqual(
        response.data.map((entry) => [entry.seq, entry.event, entry.data.text]),
        missed.map((text, n) => [seq + 1 + n, 'created', text]),
      );
    });
  }

  it('events that are too old to be replayed bring the whole', async () => {
    const ann = await connect(left, 'ann');
    const { seq } = (await ann.stream('todos/todos')).response;
    await postgres.psql(
      `INSERT INTO live_items SELECT 'todos', 'many-' || n, '{"text": "many", "done": false, "by": "psql"}'
       FROM generate_series(1, 1200) n`,
    );
    const { response } = await (await connect(right, 'ann')).stream('todos/todos', [], { seq });
    assert.equal(response.replay, false);
    assert.equal(response.seq, seq + 1200);
    assert.equal(response.data.at(-1).id, 'many-1200');
  });

  it('PostgreSQL restarts: clients stay, and get what was changed meanwhile', async () => {
    const clients = [await connect(left, 'ann'), await connect(right, 'bob')];
    const heard = [];
    for (const client of clients) heard.push((await client.stream('todos/todos')).events);
    // Events that were written before may still be on their way.
    await addTodo(clients[0], 'the marker');
    for (const events of heard) await events.when((list) => textsOf(list).includes('the marker'));
    const [first, second] = heard.map(({ length }) => length);
    await postgres.stop('SIGKILL');
    await storeOf(clients[0], ({ circuit }) => circuit !== 'closed');
    await addTodo(clients[0], 'said without a database');
    assert.deepEqual(textsOf((await heard[0].count(first + 1)).slice(first)), ['said without a database']);
    await postgres.start();
    await postgres.psql(
      `INSERT INTO live_items VALUES ('todos', 'early', '{"text": "first again", "done": false, "by": "psql"}')`,
    );
    for (const [events, earlier] of [
      [heard[0], first],
      [heard[1], second],
    ]) {
      const later = (await events.count(earlier + 2)).slice(earlier);
      assert.deepEqual(textsOf(later).sort(), ['first again', 'said without a database']);
    }
    for (const client of clients) {
      assert.equal((await storeOf(client, ({ circuit }) => circuit === 'closed')).circuit, 'closed');
      assert.equal(client.closed, undefined);
    }
    const texts = async (client) =>
      (await client.stream('todos/todos')).response.data.map(({ text }) => text);
    await until(async () => (await texts(clients[1])).includes('said without a database'), 'it is written');
  });
});

describe(
  'PostgreSQL and Redis together',
  { skip: needsPostgres.skip || needsRedis.skip, timeout: 300000 },
  () => {
    const t = suite();
    let postgres;
    let left;
    let right;

    before(async () => {
      const redis = await startRedis(t);
      postgres = await startPostgres(t);
      const env = { REDIS_URL: redis.url, DATABASE_URL: postgres.url };
      [left, right] = await Promise.all([start(t, 'realtime', { env }), start(t, 'realtime', { env })]);
    });

    it('topics are kept in PostgreSQL, people and the rest go by Redis', async () => {
      const [ann, bob] = [await connect(left, 'ann'), await connect(right, 'bob')];
      assert.equal((await storeOf(ann)).kind, 'redis+postgres');
      const todos = (await bob.stream('todos/todos')).events;
      const typing = (await bob.stream('rooms/typing', ['lobby'])).events;
      await addTodo(ann, 'in the table');
      await ann.call('rooms/setTyping', 'lobby', true);
      await ann.stream('rooms/people', ['lobby']);
      await todos.count(1);
      await typing.count(1);
      assert.equal(
        await postgres.psql(`SELECT data->>'text' FROM live_items WHERE topic = 'todos'`),
        'in the table',
      );
      const { data } = (await bob.stream('rooms/people', ['lobby'])).response;
      assert.deepEqual(data.map(({ key }) => key).sort(), ['ann', 'bob'].map(idOf));
      await postgres.psql(`UPDATE live_items SET data = data || '{"done": true}'`);
      assert.equal((await todos.count(2))[1].data.done, true);
    });
  },
);
