'use strict';

// svelte-realtime's protocol on the wire: calls, errors, streams, batches, and order under rapid updates.

const assert = require('node:assert/strict');
const { before, describe, it } = require('node:test');
const { start } = require('./support/app.js');
const { CallError, Client } = require('./support/client.js');
const { suite } = require('./support/suite.js');

const UPDATES = 10000;

describe('protocol', { timeout: 180000 }, () => {
  const t = suite();
  let server;

  before(async () => {
    server = await start(t, 'fixture');
  });

  const client = (user) => Client.open(server, { cookie: `user=${user}` });

  it('a call is answered with what the function returns', async () => {
    const ann = await client('ann');
    assert.deepEqual(await ann.call('probe/whoami'), { id: 'ann', name: 'ANN' });
    for (const value of [null, 0, '', 'ünïcödé 🦀', [1, [2]], { deep: { er: true } }]) {
      assert.deepEqual(await ann.call('probe/ping', value), value);
    }
  });

  it('calls made at once are each answered with their own result', async () => {
    const ann = await client('ann');
    const answers = await Promise.all(Array.from({ length: 200 }, (_, n) => ann.call('probe/ping', n)));
    assert.deepEqual(
      answers,
      Array.from({ length: 200 }, (_, n) => n),
    );
  });

  it('an error the function means is told with its code, any other without its text', async () => {
    const ann = await client('ann');
    await assert.rejects(ann.call('probe/refuse'), (error) => {
      assert.ok(error instanceof CallError);
      assert.deepEqual([error.code, error.error], ['FORBIDDEN', 'not for you']);
      return true;
    });
    const crashed = await ann.ask('probe/crash');
    assert.equal(crashed.ok, false);
    assert.doesNotMatch(JSON.stringify(crashed), /inner detail/);
    assert.equal((await ann.ask('probe/absent')).code, 'NOT_FOUND');
    assert.equal(await ann.call('probe/ping', 'still here'), 'still here');
  });

  it('a stream begins with its data and goes on with every update', async () => {
    const [ann, bob] = [await client('ann'), await client('bob')];
    await bob.call('feed/add', 'rows', 2, 'before ');
    const { response, events } = await ann.stream('feed/rows');
    assert.deepEqual(
      response.data.map(({ text }) => text),
      ['before 0', 'before 1'],
    );
    assert.deepEqual([response.topic, response.merge, response.key], ['rows', 'crud', 'id']);
    await bob.call('feed/add', 'rows', 3, 'after ');
    const list = await events.count(3);
    assert.deepEqual(
      list.map(({ event, data }) => [event, data.text]),
      ['after 0', 'after 1', 'after 2'].map((text) => ['created', text]),
    );
  });

  it('50 calls in one frame are answered in one, in their order', async () => {
    const ann = await client('ann');
    const before = ann.frames.length;
    const results = await ann.batch(
      Array.from({ length: 50 }, (_, n) => (n === 7 ? ['probe/refuse'] : ['probe/ping', n])),
    );
    assert.equal(ann.frames.length, before + 1);
    assert.equal(results.length, 50);
    results.forEach((result, n) => {
      if (n === 7) assert.deepEqual([result.ok, result.code], [false, 'FORBIDDEN']);
      else assert.deepEqual([result.ok, result.data], [true, n]);
    });
  });

  it('a batch runs side by side, or one after the other where that is asked for', async () => {
    const order = async (user, options) => {
      const caller = await client(user);
      await caller.batch(
        [
          ['probe/wait', 300, 'slow'],
          ['probe/wait', 0, 'quick'],
        ],
        options,
      );
      const log = await caller.call('probe/log', user);
      return log.filter(({ hook }) => hook.startsWith('wait')).map(({ hook, detail }) => `${detail} ${hook}`);
    };
    assert.deepEqual(await order('side'), [
      'slow wait begins',
      'quick wait begins',
      'quick wait ends',
      'slow wait ends',
    ]);
    assert.deepEqual(await order('queue', { sequential: true }), [
      'slow wait begins',
      'slow wait ends',
      'quick wait begins',
      'quick wait ends',
    ]);
  });

  it('51 calls in one frame are refused', async () => {
    const ann = await client('ann');
    const [result] = await ann.batch(Array.from({ length: 51 }, () => ['probe/ping', 1]));
    assert.deepEqual([result.ok, result.code], [false, 'INVALID_REQUEST']);
  });

  it(`${UPDATES} rapid updates of each of two topics reach every client complete and in order`, async () => {
    const clients = await Promise.all(['ann', 'bob', 'cid'].map(client));
    const topics = ['left', 'right'];
    for (const each of clients) for (const topic of topics) await each.subscribe(topic);
    // The messages are small enough for the send buffer of a client that reads as fast as it can.
    for (let from = 0; from < UPDATES; from += 500) {
      await Promise.all(topics.map((topic) => clients[0].call('probe/flood', topic, from, 500)));
    }
    for (const each of clients) {
      for (const topic of topics) {
        const list = await each.topic(topic).count(UPDATES);
        assert.equal(list.length, UPDATES);
        assert.ok(
          list.every(({ data }, n) => data.n === n),
          `${topic} is in order`,
        );
      }
    }
  });
});
