'use strict';

// From src/live/*.ts to the imports of a page: stubs in dev and in the production build, and their types.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { spawn, spawnSync } = require('node:child_process');
const { describe, it } = require('node:test');
const { freePort, until } = require('./support/app.js');
const { needsBrowser, openBrowser } = require('./support/browser.js');
const { PLACE, REALTIME, apps, borrow, borrowFixture, chosen, since } = require('./support/build.js');
const { openFixture } = require('./support/fixture.js');

const START_MS = 120000;

describe('build pipeline', { timeout: 600000 }, () => {
  it('production: the page has the names of the functions and nothing of their code', () => {
    const client = textsBelow(path.join(apps.fixture, 'build', 'client'));
    const server = textsBelow(path.join(apps.fixture, 'build', 'server'));
    for (const name of ['probe/ping', 'feed/rows', 'plugins/join']) assert.ok(client.includes(name), name);
    for (const inner of ['an inner detail', 'svelte-adapter-uws/plugins', 'DATA_DIR']) {
      assert.ok(!client.includes(inner), inner);
    }
    assert.ok(server.includes('an inner detail'));
  });

  it('dev: the page calls and streams, and sees a function as it was changed', needsBrowser, async (t) => {
    const folder = path.join(PLACE, 'dev');
    borrowFixture(folder);
    const server = await dev(t, folder);
    const browser = await openBrowser(t);
    const tab = await openFixture(browser, server, 'developer');
    const { page } = tab;
    const ping = () => page.evaluate(() => window.stack.probe.ping.fresh('hello'));
    assert.equal(await ping(), 'hello');
    await page.evaluate(() => window.stack.watch('rows', window.stack.feed.rows));
    await page.evaluate(() => window.stack.feed.add('rows', 2, 'dev '));
    const rows = await tab.last('rows', (list) => list?.length === 2);
    assert.deepEqual(
      rows.map(({ text }) => text),
      ['dev 0', 'dev 1'],
    );
    const stub = await page.evaluate(async () => {
      const names = performance.getEntriesByType('resource').map(({ name }) => name);
      return (await fetch(names.find((name) => /live.{0,6}probe/.test(name)))).text();
    });
    assert.match(stub, /probe\/ping/);
    assert.doesNotMatch(stub, /an inner detail/);

    // The plugin of 0.4 goes on with the function as it was.
    if (!since('svelte-realtime', '0.5.0')) return;
    const file = path.join(folder, 'src', 'live', 'probe.ts');
    const source = fs.readFileSync(file, 'utf8');
    const changed = source.replace('value: unknown) => value)', 'value: unknown) => [value, "changed"])');
    assert.notEqual(changed, source);
    replaceFile(file, changed);
    let answer;
    await until(async () => {
      // vite may reload the page at any time.
      answer = await ping().catch((error) => error.message);
      return answer[1] === 'changed';
    }, 'the changed function answers').catch((error) => assert.fail(`${error.message}: ${answer}`));
  });

  it('types: the app is clean; a page that calls a function as it no longer is, is an error', () => {
    const folder = path.join(PLACE, 'types');
    borrow(REALTIME, folder);
    const mistake =
      /\.svelte:\d+:\d+\s[^]*?Argument of type 'string' is not assignable to parameter of type '\{ words: string; \}'/;
    const clean = check(folder);
    // The app is written with the types of the registry's releases; those of others differ.
    if (!chosen) assert.equal(clean.status, 0, clean.output);
    assert.doesNotMatch(clean.output, mistake);

    const file = path.join(folder, 'src', 'live', 'todos.ts');
    const source = fs.readFileSync(file, 'utf8');
    const changed = source.replace(
      /(addTodo = live\(async \(ctx: Context, [^)]*: )string\)/,
      '$1{ words: string })',
    );
    assert.notEqual(changed, source, 'addTodo takes a text');
    fs.writeFileSync(file, changed);
    const broken = check(folder);
    assert.notEqual(broken.status, 0, broken.output);
    assert.match(broken.output, mistake);
  });
});

/** Runs vite in a folder as a developer does. */
async function dev(t, folder) {
  const port = await freePort();
  const vite = path.join(folder, 'node_modules', 'vite', 'bin', 'vite.js');
  const child = spawn(
    process.execPath,
    [vite, 'dev', '--port', port, '--strictPort', '--host', '127.0.0.1'],
    {
      cwd: folder,
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (output += data));
  t.after(() => child.kill('SIGKILL'));
  const ready = () => {
    if (child.exitCode !== null) throw new Error(`vite ended:\n${output}`);
    return /ready in|Local:/.test(output);
  };
  await until(ready, 'vite is ready', START_MS);
  return { url: `http://127.0.0.1:${port}` };
}

/** `npm run check` of the app. */
function check(folder) {
  const { status, stdout, stderr } = spawnSync('npm', ['run', 'check', '--silent'], {
    cwd: folder,
    encoding: 'utf8',
    env: { ...process.env, NO_COLOR: '1', FORCE_COLOR: '0' },
  });
  return { status, output: `${stdout}${stderr}` };
}

/**
 * Saves a file in one step, as editors do. Writing in place first empties it, and the plugin of
 * svelte-realtime forgets all functions when it sees two changes in quick succession.
 */
function replaceFile(file, text) {
  const next = path.join(path.dirname(path.dirname(file)), `.${path.basename(file)}.next`);
  fs.writeFileSync(next, text);
  fs.renameSync(next, file);
}

function textsBelow(folder) {
  const names = fs.readdirSync(folder, { recursive: true }).map(String);
  return names
    .filter((name) => name.endsWith('.js'))
    .map((name) => fs.readFileSync(path.join(folder, name), 'utf8'))
    .join('\n');
}
