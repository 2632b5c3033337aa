'use strict';

// The realtime example as its visitors see it, in one process with the embedded store.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { afterEach, before, describe, it } = require('node:test');
const { start } = require('./support/app.js');
const { needsBrowser, openBrowser, picture } = require('./support/browser.js');
const { suite } = require('./support/suite.js');
const { Visitor, live, reads, say, shows, texts } = require('./visitors.js');

const PHONE = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true };

describe('realtime example', { timeout: 600000, ...needsBrowser }, () => {
  const t = suite();
  let server;
  let browser;
  let visitors = [];
  const begun = Date.now();

  before(async () => {
    const DATA_DIR = fs.mkdtempSync(path.join(os.tmpdir(), 'uws-realtime-'));
    t.after(() => fs.rmSync(DATA_DIR, { recursive: true, force: true }));
    server = await start(t, 'realtime', { env: { DATA_DIR } });
    browser = await openBrowser(t);
  });

  afterEach(async () => {
    const all = visitors;
    visitors = [];
    for (const { context } of all) await context.close();
    for (const visitor of all) visitor.quiet();
  });

  async function come(index, options) {
    const visitor = await Visitor.come(browser, server, index, options);
    visitors.push(visitor);
    return visitor;
  }

  it('chat: shown at once, sent to all, taken back where it is refused', async () => {
    const [ann, ben] = [await come(0), await come(1)];
    const [from, to] = [await ann.open('/rooms/chat'), await ben.open('/rooms/chat')];
    for (const text of ['one', 'two', 'three']) await say(from, text);
    await to.getByText('three', { exact: true }).waitFor();
    await shows(from, 'message', 3);
    assert.equal(await from.locator('[data-pending]').count(), 0);
    for (const page of [from, to]) assert.deepEqual(await texts(page), ['one', 'two', 'three']);
    await say(from, 'x'.repeat(501));
    await reads(from, 'refused-why', 'At most 500 characters');
    assert.deepEqual(await texts(from), ['one', 'two', 'three']);
  });

  it('presence: a visitor with two tabs is one person, until the last of them is closed', async () => {
    const [ann, ben] = [await come(0), await come(1)];
    const first = await ann.open('/rooms/presence');
    const second = await ann.open('/rooms/presence');
    const other = await ben.open('/rooms/presence');
    for (const page of [first, second, other]) await shows(page, 'person', 2);
    await second.close();
    await first.getByTestId('nav-home').click();
    await shows(other, 'person', 1);
    await first.goBack();
    await shows(other, 'person', 2);
    await ann.context.close();
    await shows(other, 'person', 1);
  });

  it('home: tells who is in which room without being there', async () => {
    const [ann, ben] = [await come(0), await come(1)];
    const home = await ann.open('/');
    const music = (people) => home.locator(`[data-room=music][data-people="${people}"]`).waitFor();
    await music(0);
    const page = await ben.open('/rooms/music');
    await music(1);
    await shows(page, 'person', 1);
    await page.goto('about:blank');
    await music(0);
  });

  it('cursors, typing and reactions', async () => {
    const [ann, ben] = [await come(0), await come(1)];
    const [from, to] = [await ann.open('/rooms/cursors'), await ben.open('/rooms/cursors')];
    await shows(to, 'person', 2);
    const area = await from.getByTestId('cursor-area').boundingBox();
    await from.mouse.move(area.x + area.width / 4, area.y + area.height / 2, { steps: 5 });
    await to.locator('[data-testid=cursor][data-x^="0.2"][data-y^="0.5"]').waitFor();
    await from.getByTestId('chat-input').pressSequentially('hm');
    await to.getByTestId('typing').filter({ hasText: 'is writing' }).waitFor();
    await from.getByTestId('react-heart').click();
    for (const page of [from, to]) await page.locator('[data-testid=reactions][data-count="1"]').waitFor();
    await from.mouse.move(area.x + area.width / 3, area.y + area.height / 2);
    await shows(to, 'cursor', 1);
    await from.mouse.move(area.x + area.width / 3, 2);
    await shows(to, 'cursor', 0);
    await from.mouse.move(area.x + area.width / 4, area.y + area.height / 2);
    await shows(to, 'cursor', 1);
    await from.close();
    await shows(to, 'cursor', 0);
  });

  it('todos: created, changed and removed for all', async () => {
    const [ann, ben] = [await come(0), await come(1)];
    const [from, to] = [await ann.open('/todos'), await ben.open('/todos')];
    for (const text of ['milk', 'bread']) {
      await from.getByTestId('todo-input').fill(text);
      await from.getByTestId('todo-add').click();
    }
    await shows(to, 'todo', 2);
    assert.deepEqual(await to.getByTestId('todo-text').allTextContents(), ['milk', 'bread']);
    await to.getByTestId('todo-toggle').first().click();
    await from.locator('[data-testid=todo][data-done=true]').waitFor();
    // The others keep their order.
    for (const text of ['jam', 'tea']) {
      await from.getByTestId('todo-input').fill(text);
      await from.getByTestId('todo-add').click();
    }
    await shows(to, 'todo', 4);
    await to.getByTestId('todo-remove').first().click();
    for (const page of [from, to]) {
      await shows(page, 'todo', 3);
      assert.deepEqual(await page.getByTestId('todo-text').allTextContents(), ['bread', 'jam', 'tea']);
    }
    for (let left = 3; left > 1; left--) {
      await to.getByTestId('todo-remove').last().click();
      await shows(from, 'todo', left - 1);
    }
  });

  it('todos: the same without JavaScript', async () => {
    const [ann, plain] = [await come(0), await come(1, { javaScriptEnabled: false })];
    const live = await ann.open('/todos');
    const page = await plain.context.newPage();
    await page.goto(`${server.url}/todos`);
    const begun = await page.getByTestId('todo').count();
    await page.getByTestId('todo-input').fill('written by a form');
    await page.getByTestId('todo-add').click();
    await live.getByText('written by a form').waitFor();
    await shows(live, 'todo', begun + 1);
    await page.getByTestId('todo-toggle').last().click();
    await live.locator('[data-testid=todo][data-done=true]', { hasText: 'written by a form' }).waitFor();
    await page.getByTestId('todo-remove').last().click();
    await shows(live, 'todo', begun);
  });

  it('stage: roles decide who speaks and who hears', async () => {
    const [boss, guest] = [await come(0, { cookies: { role: 'admin' } }), await come(1)];
    const [from, to] = [await boss.open('/stage'), await guest.open('/stage')];
    await to.getByTestId('role-viewer').click();
    await reads(to, 'role', 'viewer');
    await live(to);
    const speak = async (page, audience, text) => {
      await page.getByTestId('stage-audience').selectOption(audience);
      await page.getByTestId('stage-input').fill(text);
      await page.getByTestId('stage-send').click();
    };
    for (const audience of ['admins', 'members', 'everyone']) await speak(from, audience, `to ${audience}`);
    await to.getByText('to everyone').waitFor();
    await shows(from, 'broadcast', 3);
    await shows(to, 'broadcast', 1);
    await speak(to, 'everyone', 'me too');
    await reads(to, 'stage-error', 'Viewers listen');
    await from.locator('[data-testid=listener][data-role=viewer]').waitFor();
    await shows(from, 'listener', 2);
  });

  it('chat, jobs, stage and notices: forms without JavaScript', async () => {
    const [ann, plain] = [await come(0), await come(1, { javaScriptEnabled: false })];
    const page = await plain.context.newPage();
    const open = async (path) => {
      await page.goto(server.url + path);
      return ann.open(path);
    };
    const post = async (field, text, button) => {
      await page.getByTestId(field).fill(text);
      await page.getByTestId(button).click();
      assert.doesNotMatch(page.url(), /[?&]text=/);
    };

    const room = await open('/rooms/plain');
    await post('chat-input', 'said by a form', 'chat-send');
    await shows(page, 'message', 1);
    assert.deepEqual(await texts(page), ['said by a form']);
    await room.getByText('said by a form', { exact: true }).waitFor();
    await post('chat-input', 'x'.repeat(501), 'chat-send');
    await reads(page, 'chat-error', 'At most 500 characters');
    assert.equal(await page.getByTestId('chat-input').inputValue(), 'x'.repeat(501));
    assert.equal((await texts(room)).length, 1);

    const jobs = await open('/jobs');
    await post('job-name', 'by a form', 'job-start');
    const job = (owner) => owner.getByTestId('job').filter({ hasText: 'by a form' });
    await job(jobs).and(jobs.locator('[data-state=running]')).waitFor();
    await job(page).getByTestId('job-cancel').click();
    await job(jobs).and(jobs.locator('[data-state=cancelled]')).waitFor();
    await job(page).getByTestId('job-remove').click();
    await job(jobs).waitFor({ state: 'detached' });
    await page.getByTestId('job-start').click();
    await shows(jobs, 'job', 1);
    await jobs.getByTestId('job-cancel').click();
    await jobs.getByTestId('job-remove').click();
    await shows(jobs, 'job', 0);

    const stage = await open('/stage');
    const heard = await stage.getByTestId('broadcast').count();
    await post('stage-input', 'spoken by a form', 'stage-send');
    await shows(stage, 'broadcast', heard + 1);
    await page.getByTestId('role-viewer').click();
    await post('stage-input', 'form of a viewer', 'stage-send');
    await reads(page, 'stage-error', 'Viewers listen');
    assert.equal(await page.getByTestId('stage-input').inputValue(), 'form of a viewer');

    const home = await open('/');
    await page.getByTestId('notice-kind').selectOption('warning');
    await post('notice-input', 'Told by a form', 'notice-send');
    await home.locator('[data-testid=notice][data-kind=warning]', { hasText: 'Told by a form' }).waitFor();
    await page.getByTestId('notice-send').click();
    await reads(page, 'notice-error', 'There is nothing in it');
  });

  it('notices: the typed channel, on every page', async () => {
    const [ann, ben] = [await come(0), await come(1)];
    const [from, to] = [await ann.open('/'), await ben.open('/jobs')];
    await from.getByTestId('notice-kind').selectOption('warning');
    await from.getByTestId('notice-input').fill('Tea is ready');
    await from.getByTestId('notice-send').click();
    await to.locator('[data-testid=notice][data-kind=warning]', { hasText: 'Tea is ready' }).waitFor();
    await to.getByRole('button', { name: 'Dismiss' }).click();
    await shows(to, 'notice', 0);
  });

  it('jobs: one after the other, with progress, and cancelled', async () => {
    const [ann, ben] = [await come(0), await come(1)];
    const [from, to] = [await ann.open('/jobs'), await ben.open('/jobs')];
    for (const name of ['first', 'second']) {
      await from.getByTestId('job-name').fill(name);
      await from.getByTestId('job-start').click();
    }
    const job = (page, name) => page.getByTestId('job').filter({ hasText: name });
    await job(to, 'first').and(to.locator('[data-state=running]')).waitFor();
    await job(to, 'second').and(to.locator('[data-state=waiting]')).waitFor();
    await job(to, 'second').getByTestId('job-cancel').click();
    await job(from, 'second').and(from.locator('[data-state=cancelled]')).waitFor();
    await job(from, 'first').and(from.locator('[data-state=done][data-percent="100"]')).waitFor();
    await job(from, 'second').getByTestId('job-remove').click();
    await shows(to, 'job', 1);
    await shows(to, 'job-remove', 1);
  });

  it('chart: fewer readings sent than taken', async () => {
    const page = await (await come(0)).open('/chart');
    const number = async (id) => Number(await page.getByTestId(id).textContent());
    await page.waitForFunction(
      () => Number(document.querySelector('[data-testid=chart-sent]').textContent) > 9,
    );
    const [taken, sent] = [await number('chart-taken'), await number('chart-sent')];
    assert.ok(sent > 9 && sent < taken, `${sent} of ${taken}`);
    const { context } = await come(1, { javaScriptEnabled: false });
    const plain = await context.newPage();
    await plain.goto(`${server.url}/chart`);
    for (const one of [page, plain])
      assert.equal(
        await one.getByTestId('chart').getAttribute('data-points'),
        '120',
        'it begins with history',
      );
  });

  it('about: rendered on the server, and no script at all', async () => {
    const { context } = await come(0);
    const page = await context.newPage();
    const requests = [];
    page.on('request', (request) => requests.push(request.resourceType()));
    await page.goto(`${server.url}/about`);
    await reads(page, 'about-store', 'memory');
    assert.ok(!requests.some((type) => ['script', 'websocket'].includes(type)), requests.join());
    assert.equal(await page.locator('script').count(), 0);

    // The same when one comes by a link of a page that has a script.
    await page.goto(server.url);
    await live(page);
    await page.getByTestId('nav-about').click();
    await page.getByText('no script, no WebSocket').waitFor();
    assert.equal(await page.locator('script').count(), 0);
    const since = Date.parse(await page.getByTestId('about-since').textContent());
    assert.ok(since > begun - 1000 && since < begun + 10000, `${since} is when ${begun} began`);
  });

  it('the status bar knows at once that the network is gone, and does not pass off an old latency', async () => {
    const visitor = await come(0);
    const page = await visitor.open('/chart');
    const connection = (state) => page.locator(`[data-testid=connection][data-state=${state}]`).waitFor();
    await visitor.context.setOffline(true);
    await connection('closed');
    await reads(page, 'connection', 'Offline');
    await visitor.context.setOffline(false);
    await connection('open');
    for (const complaints of visitor.complaints) complaints.length = 0;

    await page.locator('[data-testid=latency][data-old=false]', { hasText: 'ms' }).waitFor();
    server.process.kill('SIGSTOP');
    try {
      await page.locator('[data-testid=latency][data-old=true]').waitFor();
    } finally {
      server.process.kill('SIGCONT');
    }
    await page.locator('[data-testid=latency][data-old=false]').waitFor();
  });

  it('the status bar names connection, latency and store, and survives the server', async () => {
    const page = await (await come(0)).open('/rooms/restart');
    await page.locator('[data-testid=store][data-kind=memory]').waitFor();
    await page
      .getByTestId('latency')
      .filter({ hasText: /\d ms$/ })
      .waitFor();
    await say(page, 'before');
    await page.locator('[data-testid=message]:not([data-pending])').waitFor();
    await server.stop();
    await page.locator('[data-testid=connection]:not([data-state=open])').waitFor();
    await server.restart();
    await live(page);
    await say(page, 'after');
    await page.locator('[data-testid=message]:not([data-pending])', { hasText: 'after' }).waitFor();
    assert.deepEqual(await texts(page), ['before', 'after']);
    // Browsers write failed attempts to connect to their console.
    for (const complaints of visitors[0].complaints) complaints.length = 0;
  });

  it('fits a phone', async () => {
    const phone = await come(0, PHONE);
    for (const path of ['/', '/rooms/lobby', '/todos', '/stage', '/jobs', '/chart']) {
      const page = await phone.open(path);
      const width = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(width <= PHONE.viewport.width, `${path} is ${width} px wide`);
      await picture(page, `realtime-phone-${path.slice(1).replace('/', '-') || 'home'}`);
      await page.close();
    }
  });
});
