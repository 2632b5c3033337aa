'use strict';

// The page of the engine: its figures, latencies and switches, as visitors see them.
// ENGINE_PICTURE names the file to keep a picture for the README in:
//
//   ENGINE_PICTURE=docs/engine.png node __test__/stack/run.js engine

const assert = require('node:assert/strict');
const fs = require('node:fs');
const { describe, it } = require('node:test');
const { start, until } = require('./support/app.js');
const { needsBrowser, openBrowser, openTab } = require('./support/browser.js');
const { connect } = require('./support/visitors.js');
const { Visitor } = require('./visitors.js');

const DESKTOP = { viewport: { width: 980, height: 1240 }, colorScheme: 'light' };
const PHONE = { viewport: { width: 320, height: 640 }, isMobile: true, hasTouch: true, colorScheme: 'dark' };
const QUICK_MS = 50;
/** The thread with the clients ends so long after the last page. */
const LEASE_MS = 10000;
const PICTURE_MAX = 200 * 1024;

const part = (page, name) => page.getByTestId(`engine-${name}`);

/** Returns the numbers of a row, or of another part, that its attributes give. */
function numbers(locator) {
  return locator.evaluate((element) =>
    Object.fromEntries(Object.entries(element.dataset).map(([key, value]) => [key, Number(value)])),
  );
}

const row = (page, name) => page.locator(`[data-testid=engine-row][data-row=${name}]`);
const rowOf = (page, name) => numbers(row(page, name));

function median(values) {
  return values.sort((left, right) => left - right)[values.length >> 1];
}

async function watch(visitor) {
  const page = await visitor.open('/engine');
  await page.locator('[data-testid=engine][data-running=true]').waitFor();
  for (const name of ['ping', 'declared', 'cached', 'javascript'])
    await page.locator(`[data-row=${name}][data-median]`).waitFor();
  return page;
}

/** Presses the button and reads the rows until JavaScript is free again. */
async function block(page) {
  const seen = { declared: [], cached: [], javascript: [] };
  await part(page, 'block').click();
  await page.locator('[data-testid=engine-blocked][data-blocked=true]').waitFor();
  while ((await part(page, 'blocked').getAttribute('data-blocked')) === 'true') {
    for (const name of Object.keys(seen)) seen[name].push((await rowOf(page, name)).now);
    await page.waitForTimeout(100);
  }
  return seen;
}

function fits(page) {
  return page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth);
}

describe('the engine', { concurrency: true, timeout: 300000 }, () => {
  it('shows that the loop goes on while JavaScript is blocked', needsBrowser, async (t) => {
    const server = await start(t, 'realtime');
    const browser = await openBrowser(t);
    const [ann, ben] = [
      await Visitor.come(browser, server, 0, DESKTOP),
      await Visitor.come(browser, server, 1, PHONE),
    ];
    const desk = await watch(ann);
    await part(desk, 'load').click();
    const phone = await watch(ben);
    for (const page of [desk, phone]) await page.locator('[data-testid=engine-load][data-on=true]').waitFor();

    // The block: before one's eyes, and as the page has it when the pings have been reported.
    const seen = await block(desk);
    for (const name of ['declared', 'cached'])
      assert.ok(median(seen[name]) < QUICK_MS, `${name}: ${seen[name]}`);
    assert.ok(Math.max(...seen.javascript) > 1000, `JavaScript: ${seen.javascript}`);
    const ping = await until(async () => {
      const read = await rowOf(desk, 'ping');
      return read.blockAnswers >= 20 && read;
    }, 'pings in the block');
    assert.ok(ping.blockMedian < QUICK_MS, `${ping.blockMedian} ms`);
    for (const name of ['declared', 'cached']) {
      const route = await rowOf(desk, name);
      assert.ok(route.blockAnswers >= 5, `${name}: ${route.blockAnswers} answers`);
      assert.ok(route.blockMedian < QUICK_MS, `${name}: ${route.blockMedian} ms`);
    }
    const script = await rowOf(desk, 'javascript');
    assert.equal(script.blockAnswers, 0);
    assert.ok(script.blockWorst > 1000, `${script.blockWorst} ms`);

    // The others saw it too, and cannot block at once again.
    await phone.locator('[data-row=javascript][data-block-answers="0"]').waitFor();
    await part(phone, 'block').click();
    await part(phone, 'message').filter({ hasText: 'Again in' }).waitFor();

    // A slow client.
    await part(desk, 'slow').click();
    await desk.waitForFunction(
      () => document.querySelector('[data-testid=engine-slow-state]')?.dataset.dropped > 20,
    );
    for (const name of ['ping', 'declared', 'cached']) {
      const { median: recent } = await rowOf(desk, name);
      assert.ok(recent < QUICK_MS, `${name}: ${recent} ms`);
    }
    const backlog = await desk.locator('[data-figure=backlog]').getAttribute('data-values');
    assert.ok(Number(backlog) > 1024 * 1024, `${backlog} bytes of backlog`);
    await keep(desk);
    await part(phone, 'slow').click();
    await desk.locator('[data-testid=engine-slow-state][data-on=false]').waitFor();
    const { published } = await numbers(part(desk, 'slow-state'));
    await desk.waitForFunction((count) => {
      const readers = [...document.querySelectorAll('[data-testid=engine-reader]')];
      return readers.length === 2 && readers.every(({ dataset }) => Number(dataset.received) === count);
    }, published);
    for (const reader of await part(desk, 'reader').all()) assert.equal((await numbers(reader)).missed, 0);

    for (const width of [320, 390]) {
      await phone.setViewportSize({ width, height: 640 });
      assert.ok(await fits(phone), `${width} columns`);
    }

    // Nobody presses anything more.
    await desk.locator('[data-testid=engine-load-state][data-on=false]').waitFor();
    const { sent, received } = await until(async () => {
      const counts = await numbers(part(desk, 'load-state'));
      return counts.received === counts.sent * 16 && counts;
    }, 'all of the load is received');
    assert.ok(sent > 1000 && received > 0, `${sent} sent, ${received} received`);
    for (const visitor of [ann, ben]) visitor.quiet();
  });

  it('has the figures of the moment without JavaScript', needsBrowser, async (t) => {
    const server = await start(t, 'realtime');
    const browser = await openBrowser(t);
    const { page } = await openTab(browser, server, '/engine', { javaScriptEnabled: false });
    assert.match(await page.locator('noscript').textContent(), /need JavaScript/);
    const [http] = (await page.locator('[data-figure=connections]').getAttribute('data-values')).split(' ');
    assert.ok(Number(http) >= 1, http);
    assert.ok(await part(page, 'block').isDisabled());
  });

  it('refuses its switches where it is told to, and ends what nobody watches', async (t) => {
    const server = await start(t, 'realtime', { env: { ENGINE: 'off' } });
    const client = await connect(server, 'ann');
    await client.subscribe('engine');
    for (const call of [['block'], ['slowClient', true], ['load', true]])
      await assert.rejects(client.call(`engine/${call[0]}`, ...call.slice(1)), { code: 'FORBIDDEN' });
    await client.call('engine/probe');
    await client.topic('engine').when((list) => list.some(({ data }) => data.pings.length > 0), 'pings');
    await client.close();
    assert.equal(await webSockets(server), 1);
    await until(async () => (await webSockets(server)) === 0, 'the clients end', LEASE_MS + 5000);
  });

  it('is there in each worker thread', async (t) => {
    const server = await start(t, 'realtime', { workers: 2 });
    const client = await connect(server, 'ann');
    await client.subscribe('engine');
    await client.call('engine/probe');
    await client.topic('engine').when((list) => list.some(({ data }) => data.pings.length > 0), 'pings');
    for (let n = 0; n < 10; n++) {
      const headers = { connection: 'close', accept: 'application/json' };
      const answers = await Promise.all(
        ['metrics', 'declared', 'cached'].map((name) => fetch(`${server.url}/engine/${name}`, { headers })),
      );
      assert.deepEqual(
        answers.map(({ status }) => status),
        [200, 200, 200],
      );
      // Adapter 0.3 has a loop for the acceptor as well.
      assert.ok((await answers[0].json()).loop.count >= 2);
    }
    // Several people press at once.
    const press = (on) => Promise.all([1, 2, 3].map(() => client.call('engine/slowClient', on)));
    await press(true);
    await until(async () => (await webSockets(server)) === 5, 'one feed has three clients');
    await press(false);
    await until(async () => (await webSockets(server)) === 2, 'they are gone');
    const blocks = await Promise.allSettled([1, 2, 3].map(() => client.call('engine/block')));
    assert.deepEqual(
      blocks.map(({ reason }) => reason?.code),
      [undefined, 'RATE_LIMITED', 'RATE_LIMITED'],
    );
    await client.close();
  });
});

async function webSockets(server) {
  const response = await fetch(`${server.url}/engine/metrics`, { headers: { accept: 'application/json' } });
  return (await response.json()).connections.plain.webSocket;
}

async function keep(page) {
  const file = process.env.ENGINE_PICTURE;
  if (!file) return;
  const image = await page.screenshot();
  assert.ok(image.length < PICTURE_MAX, `${image.length} bytes`);
  fs.writeFileSync(file, image);
}
