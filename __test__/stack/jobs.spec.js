'use strict';

// Jobs of the realtime example are kept, and the queue that runs them is not: no job is left behind by an
// instance that is gone, and none is listed that was refused.

const assert = require('node:assert/strict');
const { describe, it } = require('node:test');
const { start, until } = require('./support/app.js');
const { connect } = require('./support/visitors.js');
const { needsRedis, startRedis } = require('./servers.js');

const listed = async (client) => (await client.stream('jobs/jobs')).response.data;
const statesOf = async (client) => (await listed(client)).map(({ name, state }) => `${name} ${state}`);

async function become(client, wanted) {
  await until(
    async () => JSON.stringify(await statesOf(client)) === JSON.stringify(wanted),
    wanted.join(', '),
  );
}

describe('jobs', { timeout: 120000, concurrency: true }, () => {
  for (const [signal, workers] of [
    ['SIGTERM', 0],
    ['SIGKILL', 0],
    ['SIGKILL', 2],
  ])
    it(`go on after a restart by ${signal}${workers ? ` of ${workers} workers` : ''}`, async (t) => {
      const server = await start(t, 'realtime', { workers });
      const before = await connect(server, 'before');
      for (const name of ['first', 'second']) await before.call('jobs/startJob', name, 12);
      await until(async () => (await listed(before))[0].step >= 3, 'the first one runs');
      await server.restart({ signal });
      // A request is enough to begin: no connection is open.
      assert.equal((await fetch(`${server.url}/jobs`)).status, 200);
      const after = await connect(server, 'after');
      const left = await listed(after);
      assert.ok(left[0].step >= 3, `it goes on at ${left[0].step}`);
      await become(after, ['first done', 'second done']);
      before.drop();
      after.drop();
    });

  it('that are refused are not in the list', async (t) => {
    const server = await start(t, 'realtime');
    const client = await connect(server, 'eager');
    const answers = await Promise.all(
      Array.from({ length: 30 }, (_, i) => client.ask('jobs/startJob', [`job ${i}`, 200])),
    );
    const accepted = answers.filter(({ ok }) => ok).map(({ data }) => data.name);
    assert.equal(accepted.length, 20);
    assert.ok(answers.filter(({ ok }) => !ok).every(({ code }) => code === 'OVERLOADED'));
    assert.deepEqual(
      (await listed(client)).map(({ name }) => name),
      accepted,
    );
    client.drop();
  });

  it('of an instance that died are taken over by another, each by one', needsRedis, async (t) => {
    const redis = await startRedis(t);
    const env = { REDIS_URL: redis.url };
    const servers = await Promise.all([1, 2, 3].map(() => start(t, 'realtime', { env })));
    const clients = await Promise.all(servers.map((server, i) => connect(server, `of ${i}`)));
    for (const name of ['first', 'second']) await clients[0].call('jobs/startJob', name, 20);
    await clients[1].call('jobs/startJob', 'own', 80);
    await until(async () => (await listed(clients[0]))[0].step >= 3, 'the first one runs');
    for (const client of clients) await listed(client);
    await servers[0].stop('SIGKILL');
    await become(clients[2], ['first done', 'second done', 'own done']);
    // Nobody has run a step twice at the same time: the progress seen was that of one at a time.
    const steps = clients[2]
      .topic('jobs')
      .filter(({ data }) => data.name === 'second' && data.state === 'running')
      .map(({ data }) => data.step);
    assert.deepEqual(
      steps,
      [...new Set(steps)].sort((one, other) => one - other),
    );
    for (const client of clients) client.drop();
  });
});
