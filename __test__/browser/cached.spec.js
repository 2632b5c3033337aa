'use strict';

// A page of SvelteKit behind a cached route, beside the other pages of the same app: cached.js of
// examples/sveltekit.

const assert = require('node:assert/strict');
const { before, after, describe, it } = require('node:test');
const { Deployment, onlyOurs } = require('./stack.js');

const ours = onlyOurs('has no such routes in a release that can be had');

describe('a cached page', { timeout: 120000, ...ours }, () => {
  const cleanups = [];
  let server;

  before(async () => {
    const deployment = new Deployment({ after: (fn) => cleanups.unshift(fn) });
    server = await deployment.start({ program: 'cached.js' });
  });
  after(async () => {
    for (const cleanup of cleanups) await cleanup();
  });

  const ask = (path, headers = {}) => fetch(`${server.url}${path}`, { headers });

  it('is the same for everybody, and sets no cookie; other pages do', async () => {
    const answers = await Promise.all(
      Array.from({ length: 30 }, (_, i) => ask('/files', { cookie: `guest=${i}` })),
    );
    const [first] = answers;
    assert.equal(first.status, 200);
    assert.match(first.headers.get('content-type'), /^text\/html/);
    assert.match(first.headers.get('vary'), /Accept-Encoding/);
    const pages = new Set(await Promise.all(answers.map((answer) => answer.text())));
    assert.equal(pages.size, 1);
    assert.match([...pages][0], /<title>Files/);
    for (const answer of answers) assert.equal(answer.headers.get('set-cookie'), null);
    assert.match((await ask('/')).headers.get('set-cookie'), /^guest=/);
  });

  it('is compressed, and answers a condition with 304', async () => {
    let answer;
    do answer = await ask('/files', { 'accept-encoding': 'br' });
    while (answer.headers.get('content-encoding') !== 'br');
    assert.match(await answer.text(), /<title>Files/);
    const condition = { 'accept-encoding': 'br', 'if-none-match': answer.headers.get('etag') };
    assert.equal((await ask('/files', condition)).status, 304);
    assert.equal((await fetch(`${server.url}/files`, { method: 'HEAD' })).status, 200);
  });

  it('leaves form actions and data requests to the adapter', async () => {
    const data = await ask('/files/__data.json');
    assert.match(data.headers.get('content-type'), /json/);
    const action = await fetch(`${server.url}/files`, {
      method: 'POST',
      headers: { origin: server.url },
      body: new FormData(),
    });
    assert.equal((await action.json()).type, 'failure');
  });
});
