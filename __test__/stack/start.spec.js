'use strict';

// `npm start`, as a new user sees it: quiet, and true.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { spawn } = require('node:child_process');
const { describe, it } = require('node:test');
const { freePort, until } = require('./support/app.js');
const { chosen } = require('./support/build.js');
const { ROOT } = require('../../scripts/run.js');

/** The test is not about building the addon, which is there: cargo is not found. */
const PATH = process.env.PATH.split(path.delimiter)
  .filter((folder) => !fs.existsSync(path.join(folder, 'cargo')))
  .join(path.delimiter);

/** Runs the script that `npm start` is. */
function start(t, port, given = {}) {
  const data = fs.mkdtempSync(path.join(os.tmpdir(), 'uws-start-'));
  const env = { ...process.env, PATH, PORT: String(port), HOST: '127.0.0.1', DATA_DIR: data, ...given };
  for (const name of ['NODE_TEST_CONTEXT', 'ORIGIN', 'REDIS_URL', 'DATABASE_URL']) delete env[name];
  const child = spawn(process.execPath, ['scripts/start.js'], { cwd: ROOT, env });
  const started = { child, output: '', ended: undefined };
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text) => (started.output += text));
  started.over = new Promise((resolve) => child.once('close', (code) => resolve((started.ended = code))));
  t.after(async () => {
    child.kill('SIGTERM');
    await started.over;
    fs.rmSync(data, { recursive: true, force: true });
  });
  return started;
}

const opened = (program) =>
  until(
    () => program.ended !== undefined || /^Open .*\n/m.test(program.output),
    'it says where to go',
    // The app is built before, where it has changed.
    120000,
  );

describe('npm start', { timeout: 240000, skip: chosen && 'it starts the app of the registry' }, () => {
  for (const workers of ['', '2'])
    it(`says where to go once it listens, and nothing untrue${workers && ', with workers'}`, async (t) => {
      const port = await freePort();
      const program = start(t, port, { CLUSTER_WORKERS: workers });
      await opened(program);
      assert.equal(program.ended, undefined, program.output);
      assert.equal((await fetch(`http://127.0.0.1:${port}/`)).status, 200);
      assert.match(program.output, new RegExp(`istening on .*\\n(.*\\n)*Open http://localhost:${port}\\n`));
      assert.doesNotMatch(program.output, /warn|EBADENGINE|unsubscribe|ORIGIN|\d kB/i);
    });

  it('names the host that it was told to listen on', async (t) => {
    const port = await freePort();
    const program = start(t, port, { HOST: '127.0.0.2' });
    await opened(program);
    const [, url] = /^Open (.*)$/m.exec(program.output);
    assert.equal(url, `http://127.0.0.2:${port}`);
    assert.equal((await fetch(url)).status, 200);
  });

  it('takes an empty PORT for none', async (t) => {
    const program = start(t, '', { HOST: '127.0.0.2' });
    await opened(program);
    // Another program of this machine may have it.
    assert.match(program.output, /^Open http:\/\/127\.0\.0\.2:3000$|Port 3000 is taken/m);
  });

  it('says that the port is taken, and ends', async (t) => {
    const port = await freePort();
    await opened(start(t, port));
    for (const workers of ['', '2']) {
      const second = start(t, port, { CLUSTER_WORKERS: workers });
      await until(() => second.ended !== undefined, 'the second one ends');
      assert.equal(second.ended, 1, second.output);
      assert.match(second.output, new RegExp(`Port ${port} is taken`));
      assert.doesNotMatch(second.output, /^Open/m);
    }
  });
});
