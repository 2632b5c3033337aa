'use strict';

// The app over TLS, served by the adapter itself (SSL_CERT, SSL_KEY), in Chromium, which accepts any issuer
// here.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { shared } = require('../tls/certificates.js');
const { Deployment, needsDescriptors, onlyOurs } = require('./stack.js');
const { Connection, request } = require('./http.js');
const { openBrowser, openTab, picture } = require('./tabs.js');

const it = (name, body, options) => test(name, { timeout: 120000, ...options }, body);

const { key_file_name: key, cert_file_name: cert } = shared();
const ANY_CERTIFICATE = { ignoreHTTPSErrors: true };
const TEXT = '/generated/field-notes.txt';

async function serve(t, { env, ...options } = {}) {
  const deployment = new Deployment(t);
  const server = await deployment.start({ env: { SSL_CERT: cert, SSL_KEY: key, ...env }, ...options });
  return { deployment, server };
}

const open = (browser, server, target, options) =>
  openTab(browser, server.url + target, { ...ANY_CERTIFICATE, ...options });

it('pages, over the newest TLS and HTTP/1.1, without a complaint', async (t) => {
  const { server } = await serve(t);
  const { page, complaints, response } = await open(await openBrowser(t), server, '/');
  const { protocol, subjectName } = await response.securityDetails();
  assert.deepEqual([protocol, subjectName], ['TLS 1.3', 'localhost']);
  for (const [link, heading] of [
    ['Live', 'Live room'],
    ['Files', 'Files'],
    ['About', 'About this app'],
    ['Home', 'SvelteKit on a Rust event loop'],
  ]) {
    await page.getByRole('navigation').getByRole('link', { name: link }).click();
    await page.getByRole('heading', { name: heading, level: 1 }).waitFor();
    await page.reload();
    await page.getByRole('heading', { name: heading, level: 1 }).waitFor();
  }
  const [entry] = await page.evaluate(() => performance.getEntriesByType('navigation'));
  assert.equal(entry.nextHopProtocol, 'http/1.1');
  const [cookie] = await page.context().cookies();
  assert.deepEqual([cookie.name, cookie.secure], ['guest', true]);
  assert.deepEqual(complaints, []);
  await picture(page, 'encrypted');
});

it('a download and an upload, byte by byte', async (t) => {
  const { deployment, server } = await serve(t);
  const { page, complaints } = await open(await openBrowser(t), server, '/files');
  const [sent, back] = await page.evaluate(async () => {
    const bytes = await (await fetch('/download/8')).arrayBuffer();
    const body = new FormData();
    body.append('file', new File([bytes], 'pattern.bin'));
    await fetch('/files', { method: 'POST', body });
    // The app names stored files by their digest.
    return [
      bytes.byteLength,
      (await (await fetch(`/files/${await digest(bytes)}`)).arrayBuffer()).byteLength,
    ];

    async function digest(content) {
      const sum = new Uint8Array(await crypto.subtle.digest('SHA-256', content));
      return [...sum].map((byte) => byte.toString(16).padStart(2, '0')).join('');
    }
  });
  assert.deepEqual([sent, back], [8 << 20, 8 << 20]);
  assert.deepEqual(complaints, []);
  const file = fs.readFileSync(path.join(deployment.folder, 'build/client', TEXT));
  const plain = await request(server.port, 'GET', TEXT, {}, '', server);
  assert.ok(plain.body.equals(file));
});

for (const workers of [0, 2]) {
  const how = workers ? `, with ${workers} workers` : '';
  it(
    `the live page over wss${how}`,
    async (t) => {
      const { server } = await serve(t, { workers });
      const browser = await openBrowser(t);
      const tabs = [await open(browser, server, '/live'), await open(browser, server, '/live')];
      const [a, b] = tabs.map((tab) => tab.room);
      await Promise.all([a.connected(), b.connected()]);
      await a.say('Nobody in between reads this');
      await b.hears('Nobody in between reads this');
      await b.more();
      await Promise.all([a.counts(1), b.counts(1)]);
      for (const { sockets, complaints } of tabs) {
        assert.deepEqual(
          sockets.map((socket) => new URL(socket.url()).protocol),
          ['wss:'],
        );
        assert.deepEqual(complaints, []);
      }
      assert.equal(await server.stop('SIGTERM'), 0);
    },
    workers ? { ...needsDescriptors, ...onlyOurs('aborts while its workers end') } : {},
  );
}

it('a server that comes back: the tab reconnects', async (t) => {
  const { deployment, server } = await serve(t);
  const { room } = await open(await openBrowser(t), server, '/live');
  await room.connected();
  await server.stop('SIGKILL');
  await room.disconnected();
  await deployment.start({ port: server.port, env: { SSL_CERT: cert, SSL_KEY: key } });
  await room.connected();
  await room.say('after the crash');
  await room.hears('after the crash');
});

it('without trust Chromium stops at the certificate, and the server goes on', async (t) => {
  const { server } = await serve(t);
  const browser = await openBrowser(t);
  await assert.rejects(openTab(browser, server.url), /ERR_CERT_AUTHORITY_INVALID/);
  assert.equal((await request(server.port, 'GET', '/healthz', {}, '', server)).status, 200);
});

it(
  'plain HTTP to its port is told so',
  async (t) => {
    const { server } = await serve(t);
    const connection = await Connection.open(server.port);
    assert.equal((await connection.request('GET', '/')).status, 400);
    await connection.closed();
  },
  onlyOurs('closes without a word'),
);
