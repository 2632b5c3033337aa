'use strict';

// Pages, static files and form actions over plain HTTP, and a walk through the app in Chromium.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const zlib = require('node:zlib');
const { before, after, describe, it } = require('node:test');
const { Deployment, onlyOurs } = require('./stack.js');
const { Connection, request } = require('./http.js');
const { openBrowser, openTab, picture } = require('./tabs.js');

const PAGES = ['/', '/live', '/files', '/about'];
const TEXT = '/generated/field-notes.txt';
const twoLengths = onlyOurs('sends two Content-Length fields, which fetch refuses');
const headAborts = onlyOurs('HEAD aborts the process or sends the body');

describe('pages', { timeout: 120000 }, () => {
  const cleanups = [];
  const suite = { after: (fn) => cleanups.unshift(fn) };
  let server;
  let text;

  before(async () => {
    const deployment = new Deployment(suite);
    server = await deployment.start();
    text = fs.readFileSync(path.join(deployment.folder, 'build/client', TEXT));
  });
  after(async () => {
    for (const cleanup of cleanups) await cleanup();
  });

  it('are rendered on the server', async () => {
    for (const [page, words] of [
      ['/', 'SvelteKit on a Rust event loop'],
      ['/live', 'Nobody has said anything yet.'],
      ['/files', 'Uploaded lately'],
      ['/about', 'About this app'],
    ]) {
      const { status, header, body } = await request(server.port, 'GET', page);
      assert.equal(status, 200, page);
      assert.match(header('content-type'), /^text\/html/);
      assert.ok(body.toString().includes(words), page);
    }
  });

  it('that do not exist are rendered too', async () => {
    const { status, body } = await request(server.port, 'GET', '/nowhere');
    assert.equal(status, 404);
    assert.match(body.toString(), /Not Found/);
  });

  it('and static files come as the browser accepts them', async () => {
    const ask = (fields) => request(server.port, 'GET', TEXT, fields);
    const plain = await ask();
    assert.equal(plain.header('content-encoding'), undefined);
    assert.ok(plain.body.equals(text));
    const brotli = await ask({ 'accept-encoding': 'gzip, deflate, br' });
    assert.equal(brotli.header('content-encoding'), 'br');
    assert.ok(zlib.brotliDecompressSync(brotli.body).equals(text));
    const gzip = await ask({ 'accept-encoding': 'gzip' });
    assert.equal(gzip.header('content-encoding'), 'gzip');
    assert.ok(zlib.gunzipSync(gzip.body).equals(text));
    assert.equal(gzip.header('vary'), 'Accept-Encoding');
    const known = await ask({ 'if-none-match': plain.header('etag') });
    assert.equal(known.status, 304);
  });

  it('share one connection', async () => {
    const connection = await Connection.open(server.port);
    for (let i = 0; i < 40; i++) {
      const { status, body } = await connection.request('GET', PAGES[i % PAGES.length]);
      assert.equal(status, 200);
      assert.ok(body.toString().endsWith('</html>\n'), `request ${i}`);
    }
    connection.destroy();
  });

  it('say how they were reached', async () => {
    const { body } = await request(server.port, 'GET', '/', { 'user-agent': 'a test & more' });
    assert.ok(body.toString().includes('127.0.0.1'));
    assert.ok(body.toString().includes('a test &amp; more'));
  });

  it('take forms, and answer them again with what is wrong', async () => {
    const send = (body, fields) =>
      request(server.port, 'POST', '/live?/say', form(server, body, fields), body);
    const good = await send('text=posted+by+hand');
    assert.equal(good.status, 200);
    assert.ok(good.body.toString().includes('posted by hand'));
    const empty = await send('text=++');
    assert.equal(empty.status, 400);
    assert.ok(empty.body.toString().includes('Write something first.'));
    const foreign = await send('text=x', { origin: 'http://elsewhere.example' });
    assert.equal(foreign.status, 403);
  });

  it('take a form that comes byte by byte', async () => {
    const body = 'text=drop+by+drop';
    const connection = await Connection.open(server.port);
    const fields = { host: 'localhost', ...form(server, body) };
    const head = Object.entries(fields)
      .map(([name, value]) => `${name}: ${value}\r\n`)
      .join('');
    for (const byte of `POST /live?/say HTTP/1.1\r\n${head}\r\n${body}`) {
      connection.send(byte);
      await new Promise(setImmediate);
    }
    const response = await connection.response();
    assert.equal(response.status, 200);
    assert.ok(response.body.toString().includes('drop by drop'));
    connection.destroy();
  });

  it('refuse a body over the limit', async () => {
    const { status } = await request(server.port, 'POST', '/files', {
      ...form(server, ''),
      'content-length': String(33 * 1024 * 1024),
    });
    assert.equal(status, 413);
  });

  it('have a health check', async () => {
    const { status, body } = await request(server.port, 'GET', '/healthz');
    assert.equal(status, 200);
    assert.equal(body.toString(), 'OK');
  });

  it('can be walked through in Chromium without a complaint', async (t) => {
    const browser = await openBrowser(t);
    const { page, complaints } = await openTab(browser, server.url);
    await picture(page, 'home');
    for (const [link, heading] of [
      ['Live', 'Live room'],
      ['Files', 'Files'],
      ['About', 'About this app'],
      ['Home', 'SvelteKit on a Rust event loop'],
    ]) {
      await page.getByRole('navigation').getByRole('link', { name: link }).click();
      await page.getByRole('heading', { name: heading, level: 1 }).waitFor();
      await picture(page, link.toLowerCase());
      await page.reload();
      await page.getByRole('heading', { name: heading, level: 1 }).waitFor();
    }
    assert.deepEqual(complaints, []);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
    assert.equal(wide, false);
  });

  it('fit a phone', async (t) => {
    const browser = await openBrowser(t);
    for (const target of PAGES) {
      const { page } = await openTab(browser, server.url + target, { viewport: { width: 360, height: 740 } });
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.equal(wide, 0, target);
      await picture(page, `phone${target.replace('/', '-')}`);
    }
  });

  it("are read by Node's own fetch", twoLengths, async () => {
    for (const target of [...PAGES, TEXT, '/generated/noise.bin', '/favicon.svg']) {
      const response = await fetch(server.url + target);
      assert.equal(response.status, 200, target);
      const { size } = await response.blob();
      assert.ok(size > 200, target);
    }
    assert.ok(Buffer.from(await (await fetch(server.url + TEXT)).arrayBuffer()).equals(text));
  });

  it('carry one Content-Length', twoLengths, async () => {
    for (const target of [...PAGES, TEXT, '/nowhere', '/healthz']) {
      const { all, body } = await request(server.port, 'GET', target);
      assert.deepEqual(all('content-length'), [String(body.length)], target);
    }
  });

  it('answer HEAD with the head of GET alone', headAborts, async () => {
    const connection = await Connection.open(server.port);
    for (const target of [...PAGES, TEXT, '/nowhere']) {
      const get = await connection.request('GET', target);
      const head = await connection.request('HEAD', target);
      assert.equal(head.status, get.status, target);
      assert.equal(head.header('content-type'), get.header('content-type'), target);
      if (target === TEXT) assert.deepEqual(head.all('content-length'), get.all('content-length'));
    }
    assert.equal((await connection.request('GET', '/')).status, 200);
    connection.destroy();
  });

  it('survive HEAD requests by fetch', headAborts, async () => {
    for (const target of [...PAGES, TEXT]) {
      const response = await fetch(server.url + target, { method: 'HEAD' });
      assert.equal(response.status, 200, target);
      assert.equal(await response.text(), '');
    }
    assert.equal(server.ended, undefined);
  });
});

function form(server, body, fields) {
  return {
    origin: server.url,
    host: `127.0.0.1:${server.port}`,
    accept: 'text/html',
    'content-type': 'application/x-www-form-urlencoded',
    'content-length': String(body.length),
    ...fields,
  };
}
