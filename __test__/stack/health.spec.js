'use strict';

// The stores of the realtime example fail: a mistake in the environment ends the process with a message, a
// server that goes or comes back has one line in the log, and /healthz tells the truth.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { describe, it } = require('node:test');
const { Server, apps, freePort, start, until } = require('./support/app.js');
const { connect, say } = require('./support/visitors.js');
const { needsPostgres, needsRedis, startPostgres, startRedis } = require('./servers.js');

const FAULTS = path.join(__dirname, 'support', 'faults.js');

async function health(server) {
  const response = await fetch(`${server.url}/healthz`);
  return [response.status, await response.text()];
}

const becomes = (server, status, text) =>
  until(async () => String(await health(server)) === String([status, text]), text);

const count = (server, pattern) => (server.output.match(pattern) ?? []).length;

function folder(t) {
  const made = fs.mkdtempSync(path.join(os.tmpdir(), 'uws-health-'));
  t.after(() => fs.rmSync(made, { recursive: true, force: true }));
  return made;
}

describe('stores that fail', { timeout: 120000 }, () => {
  describe('at the start the process ends with a message', () => {
    const file = path.join(os.tmpdir(), `uws-health-${process.pid}`);
    const mistakes = {
      'a word as REDIS_URL': [{ REDIS_URL: 'localhost' }, 'REDIS_URL is not a URL that begins with redis://'],
      'a page as REDIS_URL': [{ REDIS_URL: 'http://a:secret@b' }, 'REDIS_URL is not a URL'],
      'another database': [{ DATABASE_URL: 'mysql://a:secret@b/c' }, 'DATABASE_URL is not a URL'],
      'a file as DATA_DIR': [{ DATA_DIR: file }, `DATA_DIR ${file} cannot be used: EEXIST`],
    };
    for (const [name, [env, message]] of Object.entries(mistakes))
      for (const workers of [0, 2])
        it(`${name}${workers ? ', with workers' : ''}`, async (t) => {
          fs.writeFileSync(file, '');
          t.after(() => fs.rmSync(file, { force: true }));
          const server = new Server(apps.realtime, await freePort(), {
            env: { DATA_DIR: folder(t), ...env },
            workers,
          });
          server.start().catch(() => {});
          t.after(() => server.stop('SIGKILL'));
          await until(() => server.ended !== undefined && server.ended !== 'not started', 'it ends', 20000);
          assert.equal(server.ended, workers ? 'SIGHUP' : 1, server.output);
          assert.ok(server.output.includes(message), server.output);
          assert.doesNotMatch(server.output, /secret|\n {4}at /);
        });
  });

  for (const [name, needs, startStore, variable] of [
    ['Redis', needsRedis, startRedis, 'REDIS_URL'],
    ['PostgreSQL', needsPostgres, startPostgres, 'DATABASE_URL'],
  ])
    it(`${name} goes and comes back: one line for each, and /healthz says so`, needs, async (t) => {
      const store = await startStore(t);
      const env = { [variable]: store.url, CIRCUIT_RESET_MS: '200', STORE_TIMEOUT_MS: '500' };
      const server = await start(t, 'realtime', { env });
      const client = await connect(server, 'ann');
      await client.stream('rooms/messages', ['lobby']);
      await becomes(server, 200, 'ok\n');
      for (let round = 1; round <= 2; round++) {
        await store.stop();
        await becomes(server, 200, `degraded: ${name} is away\n`);
        // The breaker tries several times, and people go on.
        for (let i = 0; i < 10; i++) {
          await say(client, 'lobby', `${round}.${i}`);
          await new Promise((resolve) => setTimeout(resolve, 100));
        }
        assert.equal(count(server, new RegExp(`${name} is away \\(.+\\)`, 'g')), round, server.output);
        await store.start();
        await becomes(server, 200, 'ok\n');
        assert.equal(count(server, new RegExp(`${name} is back`, 'g')), round, server.output);
      }
      client.drop();
    });

  it('the data folder: degraded where it cannot be written, 503 where pages cannot be served', async (t) => {
    const server = await start(t, 'realtime', { env: { NODE_OPTIONS: `--require ${FAULTS}` } });
    const client = await connect(server, 'ann');
    await say(client, 'lobby', 'before');
    await becomes(server, 200, 'ok\n');

    server.process.kill('SIGUSR2');
    await until(
      () =>
        say(client, 'lobby', 'lost').then(
          () => false,
          () => true,
        ),
      'it fails',
    );
    for (let i = 0; i < 3; i++) await assert.rejects(say(client, 'lobby', 'lost'));
    assert.deepEqual(await health(server), [200, 'degraded: the data folder cannot be written\n']);
    assert.equal((await fetch(`${server.url}/rooms/lobby`)).status, 200);
    assert.equal(count(server, /The journal cannot be written: ENOSPC/g), 1, server.output);

    server.process.kill('SIGUSR2');
    await becomes(server, 503, 'pages cannot be served\n');

    server.process.kill('SIGUSR2');
    await becomes(server, 200, 'degraded: the data folder cannot be written\n');
    await say(client, 'lobby', 'after');
    await becomes(server, 200, 'ok\n');
    assert.equal(count(server, /The journal can be written again/g), 1, server.output);
    client.drop();
  });

  it('a journal whose last line was cut off by a crash loses that line alone', async (t) => {
    const DATA_DIR = folder(t);
    const server = await start(t, 'realtime', { env: { DATA_DIR } });
    const before = await connect(server, 'ann');
    for (const text of ['one', 'two']) await say(before, 'lobby', text);
    const journal = path.join(DATA_DIR, 'journal.jsonl');
    await server.restart({
      signal: 'SIGKILL',
      between: () => fs.appendFileSync(journal, '{"topic":"room:lob'),
    });
    const after = await connect(server, 'ann');
    await say(after, 'lobby', 'three');
    await server.restart({ signal: 'SIGKILL' });
    const last = await connect(server, 'ann');
    const { data } = (await last.stream('rooms/messages', ['lobby'])).response;
    assert.deepEqual(
      data.map(({ text }) => text),
      ['one', 'two', 'three'],
    );
    assert.equal(count(server, /a line that is no event/g), 1, server.output);
    for (const client of [before, after, last]) client.drop();
  });
});
