'use strict';

// Pages and static files as any HTTP client reads them. On uWebSockets.js, adapter 0.3 answers with two
// Content-Length fields, which Node's own fetch refuses, and some HEAD requests end its process.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { before, describe, it } = require('node:test');
const { Connection } = require('../browser/http.js');
const { MODULE, apps, start } = require('./support/app.js');
const { suite } = require('./support/suite.js');

const onlyOurs = {
  skip: MODULE !== 'ours' && 'the original has two Content-Length fields, and ends on HEAD',
};

for (const app of ['fixture', 'realtime']) {
  describe(`http: ${app}`, { timeout: 120000, ...onlyOurs }, () => {
    const t = suite();
    let server;
    let targets;

    before(async () => {
      server = await start(t, app);
      targets = ['/', '/healthz', '/nowhere', ...files(path.join(apps[app], 'build', 'client'))];
    });

    it("pages and static files can be read by Node's own fetch", async () => {
      for (const target of targets) {
        const response = await fetch(server.url + target);
        const body = Buffer.from(await response.arrayBuffer());
        assert.equal(response.status, target === '/nowhere' ? 404 : 200, target);
        assert.ok(body.length > 0, target);
        const file = path.join(apps[app], 'build', 'client', target);
        if (target !== '/' && fs.existsSync(file)) assert.ok(body.equals(fs.readFileSync(file)), target);
      }
    });

    it('no answer announces its length twice', async () => {
      const connection = await Connection.open(server.port);
      for (const target of targets) {
        const response = await connection.request('GET', target);
        const lengths = response.all('content-length');
        assert.ok(lengths.length + response.all('transfer-encoding').length === 1, `${target}: ${lengths}`);
      }
      connection.destroy();
    });

    it('HEAD is answered with the head of GET, and the server goes on', async () => {
      const connection = await Connection.open(server.port);
      // The adapter serves /healthz for GET only.
      const both = targets.filter((target) => target !== '/healthz');
      for (const target of [...both, '/log', '/__data.json', ...both]) {
        const head = await connection.request('HEAD', target);
        const get = await connection.request('GET', target);
        assert.equal(head.status, get.status, target);
        assert.equal(head.header('content-type'), get.header('content-type'), target);
        assert.equal(head.body.length, 0);
      }
      connection.destroy();
      const heads = await Promise.all(both.map((target) => fetch(server.url + target, { method: 'HEAD' })));
      assert.deepEqual(
        heads.map(({ status }) => status),
        both.map((target) => (target === '/nowhere' ? 404 : 200)),
      );
      assert.equal(server.ended, undefined);
    });
  });
}

/** Some of the files that the build serves unchanged: the first of each kind. */
function files(folder) {
  const names = fs.readdirSync(folder, { recursive: true }).map(String);
  const kinds = new Map();
  for (const name of names.sort()) {
    const kind = path.extname(name);
    if (!['.br', '.gz', ''].includes(kind) && !kinds.has(kind)) kinds.set(kind, `/${name}`);
  }
  return [...kinds.values()];
}
