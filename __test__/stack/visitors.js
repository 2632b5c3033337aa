'use strict';

// Visitors of the realtime example, who use its pages as a person does.

const assert = require('node:assert/strict');
const { openTab, visit } = require('./support/browser.js');

/** Ids whose names and colours are: Calm Owl, Brave Puffin, Merry Raven, Warm Falcon. */
const COOKIES = ['1b64f7a2c0de0001', '9e3579b1c0de0002', '40f2d6c9c0de0003', 'c7a1083dc0de0004'];

/** Opens a browser of one's own: several tabs of it are one visitor. */
class Visitor {
  static async come(browser, server, index, options = {}) {
    const cookies = { visitor: COOKIES[index], ...options.cookies };
    return new Visitor(await visit(browser, server, { ...options, cookies }), server);
  }

  constructor(context, server) {
    this.context = context;
    this.server = server;
    this.complaints = [];
  }

  /** Opens a page in another tab, and waits until it is live. */
  async open(path) {
    const { page, complaints } = await openTab(this.context, this.server, path);
    this.complaints.push(complaints);
    await live(page);
    return page;
  }

  /** Checks that the console of every tab is empty. */
  quiet() {
    assert.deepEqual(this.complaints.flat(), []);
  }
}

function live(page) {
  return page.locator('[data-testid=connection][data-state=open]').waitFor();
}

/** The visitor uses the keyboard, since a click would move the cursor. */
async function say(page, text) {
  await page.getByTestId('chat-input').fill(text);
  await page.getByTestId('chat-input').press('Enter');
}

function texts(page) {
  return page.getByTestId('message-text').allTextContents();
}

/** Waits until the element has the text. */
function reads(page, testId, text) {
  return page
    .getByTestId(testId)
    .filter({ hasText: new RegExp(`^${text}$`) })
    .waitFor();
}

/** Waits until there are exactly that many, and fails with their number if there never are. */
async function shows(page, testId, number) {
  try {
    const count = ([id, wanted]) => document.querySelectorAll(`[data-testid="${id}"]`).length === wanted;
    await page.waitForFunction(count, [testId, number]);
  } catch (error) {
    const found = await page.getByTestId(testId).allTextContents();
    throw new Error(`${number} of ${testId}, there were ${JSON.stringify(found)}`, { cause: error });
  }
}

module.exports = { Visitor, live, reads, say, shows, texts };
