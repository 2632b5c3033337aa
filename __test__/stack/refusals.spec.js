'use strict';

// Pages show changes before the server has answered. Where it refuses some of them, exactly the others stay,
// for their author as for everybody, and each refused text returns to its author.

const assert = require('node:assert/strict');
const { before, describe, it } = require('node:test');
const { start, until } = require('./support/app.js');
const { needsBrowser, openBrowser } = require('./support/browser.js');
const { suite } = require('./support/suite.js');
const { connect } = require('./support/visitors.js');
const { Visitor, live, say, shows, texts } = require('./visitors.js');

describe('changes that are refused', { timeout: 240000, ...needsBrowser }, () => {
  const t = suite();
  let server;
  let browser;

  before(async () => {
    server = await start(t, 'realtime');
    browser = await openBrowser(t);
  });

  const come = (index) => Visitor.come(browser, server, index);
  const refusedTexts = (page) => page.getByTestId('refused-text').allTextContents();
  const sorted = (list) => [...list].sort();

  /** Types and sends each of the texts, as fast as the page takes it. */
  const sendAll = (page, all, [input, button]) =>
    page.evaluate(
      async ([list, fields]) => {
        const [field, send] = fields.map((id) => document.querySelector(`[data-testid=${id}]`));
        for (const text of list) {
          field.value = text;
          field.dispatchEvent(new Event('input', { bubbles: true }));
          send.click();
          await new Promise((resolve) => setTimeout(resolve));
        }
      },
      [all, [input, button]],
    );

  it('chat: of 30 quick clicks both show the accepted ones, and the author has the others back', async () => {
    const [ann, ben] = [await come(0), await come(1)];
    const [from, to] = [await ann.open('/rooms/many'), await ben.open('/rooms/many')];
    const all = Array.from({ length: 30 }, (_, i) => `message ${i}`);
    const [, others] = await Promise.all([
      sendAll(from, all, ['chat-input', 'chat-send']),
      // Another's messages arrive meanwhile.
      sendAll(to, ['first', 'second', 'third'], ['chat-input', 'chat-send']).then(() => 3),
    ]);
    await until(async () => (await from.locator('[data-pending]').count()) === 0, 'nothing is pending');
    const { response } = await (await connect(server, 'reader')).stream('rooms/messages', ['many']);
    const accepted = response.data.map(({ text }) => text);
    assert.ok(accepted.length >= 20 + others && accepted.length < 30, `${accepted.length} were accepted`);
    for (const page of [from, to]) {
      await shows(page, 'message', accepted.length);
      assert.deepEqual(await texts(page), accepted);
    }
    assert.deepEqual(
      sorted([...(await refusedTexts(from)), ...accepted]),
      sorted([...all, 'first', 'second', 'third']),
    );
    assert.equal((await refusedTexts(to)).length, 0);

    // A text is let go, another one is sent again.
    const [gone, kept] = await refusedTexts(from);
    await from.getByTestId('refused-discard').first().click();
    await until(async () => !(await refusedTexts(from)).includes(gone), 'it is discarded');
    await until(async () => {
      const again = from.getByTestId('refused-item').filter({ hasText: new RegExp(`^${kept}\\b`) });
      if (await again.count()) await again.getByTestId('refused-again').click();
      return (await texts(to)).includes(kept);
    }, 'it is accepted at last');
    for (const visitor of [ann, ben]) await visitor.context.close();
    for (const visitor of [ann, ben]) visitor.quiet();
  });

  it('a text whose answer is lost with the connection is there once, and does not return', async () => {
    const [ann, ben] = [await come(0), await come(1)];
    let isLost = false;
    const connections = [];
    await ann.context.routeWebSocket(/\/ws$/, (socket) => {
      connections.push(socket);
      socket.connectToServer().onMessage((message) => isLost || socket.send(message));
    });
    const [from, to] = [await ann.open('/rooms/lost'), await ben.open('/rooms/lost')];
    await say(from, 'first');
    await shows(to, 'message', 1);
    isLost = true;
    await say(from, 'second');
    await to.getByText('second', { exact: true }).waitFor();
    assert.equal(await from.locator('[data-pending]').count(), 1);
    isLost = false;
    await connections.at(-1).close();
    await from.locator('[data-testid=connection]:not([data-state=open])').waitFor();
    await live(from);
    for (const page of [from, to]) {
      await page.locator('[data-testid=message]:not([data-pending])', { hasText: 'second' }).waitFor();
      assert.deepEqual(await texts(page), ['first', 'second']);
    }
    assert.deepEqual(await refusedTexts(from), []);
    for (const { context } of [ann, ben]) await context.close();
  });

  it('todos: the same, and a refused change of one leaves the changes of others alone', async () => {
    const [ann, ben] = [await come(2), await come(3)];
    const [from, to] = [await ann.open('/todos'), await ben.open('/todos')];
    const all = Array.from({ length: 30 }, (_, i) => (i % 3 === 1 ? `${'x'.repeat(201)} ${i}` : `todo ${i}`));
    const good = all.filter((text) => text.length <= 200);
    await from.getByTestId('todo-input').evaluate((input) => input.removeAttribute('maxlength'));
    await sendAll(from, all, ['todo-input', 'todo-add']);
    for (const page of [from, to]) await shows(page, 'todo', good.length);
    for (const page of [from, to])
      assert.deepEqual(await page.getByTestId('todo-text').allTextContents(), good);
    await shows(from, 'refused-item', all.length - good.length);
    assert.deepEqual(sorted(await refusedTexts(from)), sorted(all.filter((text) => text.length > 200)));

    // Both change the same item, after one of them has removed it.
    await to.getByTestId('todo-remove').first().click();
    await from.evaluate(() => {
      const toggles = [...document.querySelectorAll('[data-testid=todo-toggle]')];
      for (const toggle of toggles.slice(0, 5)) toggle.click();
    });
    await until(async () => (await from.locator('li.pending').count()) === 0, 'nothing is pending');
    for (const page of [from, to]) await shows(page, 'todo', good.length - 1);
    const done = (page) =>
      page.getByTestId('todo').evaluateAll((items) => items.map(({ dataset }) => [dataset.id, dataset.done]));
    await until(
      async () => JSON.stringify(await done(from)) === JSON.stringify(await done(to)),
      'both show the same',
    );
    for (const visitor of [ann, ben]) await visitor.context.close();
    for (const visitor of [ann, ben]) visitor.quiet();
  });
});
