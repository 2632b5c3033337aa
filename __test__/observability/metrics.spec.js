'use strict';
// The route of metrics: its formats, its place among other routes, and that JavaScript is not needed for it.

const { it, assert, uWS, support, get, Peer } = require('./support');
const { read, samples } = require('./texts');
const { Program, sleep } = require('../robustness/program');

const TEXT = 'text/plain; version=0.0.4; charset=utf-8';
const OPEN = 'application/openmetrics-text; version=1.0.0; charset=utf-8';

/** Sends one request on a connection of its own. */
async function ask(server, target, accept) {
  const peer = await server.connect();
  const answer = await peer.request(get(target, accept === undefined ? [] : [['Accept', accept]]));
  peer.destroy();
  return answer;
}

for (const secure of [false, true]) {
  const start = (t, configure) => (secure ? support.secure(t, configure) : support.plain(t, configure));

  it(`each format, ${secure ? 'over TLS' : 'in plain text'}`, async (t) => {
    const server = start(t, (app) => assert.equal(app.metrics('/metrics', { scope: 'app' }), app));
    const plain = await ask(server, '/metrics');
    assert.deepEqual([plain.code, plain.get('content-type')], [200, TEXT]);
    assert.deepEqual([plain.get('cache-control'), plain.get('vary')], ['no-store', 'Accept']);
    assert.equal(samples(plain.body).uws_http_requests_total, 1);
    const open = await ask(server, '/metrics', 'application/openmetrics-text;version=1.0.0,text/plain;q=0.5');
    assert.equal(open.get('content-type'), OPEN);
    assert.equal(samples(open.body, true).uws_http_requests_total, 2);
    const json = await ask(server, '/metrics', 'application/json');
    assert.equal(json.get('content-type'), 'application/json');
    const side = secure ? 'tls' : 'plain';
    const stats = JSON.parse(json.body);
    assert.deepEqual([stats.http.requests, stats.http.responses.success], [3, 2]);
    assert.deepEqual([stats.connections.accepted, stats.connections[side].http], [3, 1]);
    // The three texts have the same families.
    assert.deepEqual(
      [...read(plain.body)].map(([name]) => name.replace(/_total$/, '')),
      [...read(open.body, true).keys()],
    );
    const now = server.app.stats();
    assert.deepEqual([now.http.requests, now.http.responses.success], [3, 3]);
  });
}

it('HEAD has the head of GET, and no body', async (t) => {
  const { connect } = support.plain(t, (app) => app.metrics('/metrics'));
  const peer = await connect();
  const head = await peer.request('HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n', { head: true });
  assert.deepEqual([head.code, head.get('content-type'), head.raw.length], [200, TEXT, 0]);
  assert.ok(Number(head.get('content-length')) > 1000);
  assert.equal((await peer.request(get('/metrics'))).code, 200, 'the connection goes on');
  assert.equal(
    (await peer.request('POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n')).code,
    404,
  );
});

it('a request with a body, and pipelined ones', async (t) => {
  const { connect } = support.plain(t, (app) => app.metrics('/metrics').get('/x', (res) => res.end('x')));
  const peer = await connect();
  await peer.send(
    'GET /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello' + get('/x') + get('/metrics'),
  );
  assert.match((await peer.response()).body, /^# HELP/);
  assert.equal((await peer.response()).body, 'x');
  assert.match((await peer.response()).body, /^# HELP/);
});

it('requests of one turn get the same text, which takes long to make', async (t) => {
  const { connect } = support.plain(t, (app) => app.metrics('/metrics').metrics('/own', { scope: 'app' }));
  const peer = await connect();
  await peer.send(get('/own') + get('/own') + get('/metrics') + get('/own'));
  const texts = [];
  for (let i = 0; i < 4; i++) texts.push((await peer.response()).body);
  assert.equal(samples(texts[0]).uws_http_requests_total, 1);
  assert.deepEqual([texts[1], texts[3]], [texts[0], texts[0]]);
  assert.notEqual(texts[2], texts[0]);
  const next = await peer.request(get('/own'));
  assert.equal(samples(next.body).uws_http_requests_total, 5);
});

it('the process has the figures of all apps, and those of the loop', async (t) => {
  const before = uWS.stats();
  const one = support.plain(t, (app) => app.metrics('/all').metrics('/own', { scope: 'app' }));
  const other = support.plain(t, (app) => app.get('/*', (res) => res.end('x')));
  for (let i = 0; i < 4; i++) assert.equal((await ask(other, '/')).body, 'x');
  const own = samples((await ask(one, '/own')).body);
  assert.equal(own.uws_http_requests_total, 1);
  assert.equal(own.uws_loop_turns_total, undefined);
  const all = samples((await ask(one, '/all')).body);
  assert.equal(all.uws_http_requests_total - before.http.requests, 6);
  assert.equal(all['uws_connections{transport="plain",protocol="http"}'] - before.connections.plain.http, 1);
  assert.equal(all.uws_loops, 1);
  for (const name of ['loop_turns_total', 'loop_busy_seconds_total', 'javascript_events_total'])
    assert.ok(all[`uws_${name}`] > 0, name);
  // The same object as from uWS.stats().
  const json = JSON.parse((await ask(one, '/all', 'application/json')).body);
  const shape = (object) =>
    Object.entries(object).map(([name, value]) => [name, typeof value === 'object' ? shape(value) : 0]);
  assert.deepEqual(shape(json), shape(uWS.stats()));
});

it('counters never decrease', async (t) => {
  const server = support.plain(t, (app) => app.metrics('/metrics').get('/*', (res) => res.end('x')));
  let last = {};
  for (let i = 0; i < 20; i++) {
    const { body } = await ask(server, '/metrics');
    const now = samples(body);
    for (const [name, value] of Object.entries(last)) {
      if (/_total\b/.test(name)) assert.ok(now[name] >= value, `${name}: ${value}, then ${now[name]}`);
    }
    last = now;
    await ask(server, '/');
  }
});

it('it is a route as any other', async (t) => {
  const server = support.plain(t, (app) =>
    app
      .any('/*', (res) => res.end('any'))
      .metrics('/metrics')
      .metrics('/yielded')
      .metrics('/p/:name', { scope: 'app' }),
  );
  const { app } = server;
  assert.match((await ask(server, '/metrics')).body, /^# HELP/);
  assert.match((await ask(server, '/p/x')).body, /^# HELP/);
  // A handler before it yields: JavaScript answers with the same text.
  app.get('/yielded', (res, req) => req.setYield(true)).metrics('/*');
  const yielded = await ask(server, '/yielded', 'application/openmetrics-text');
  assert.equal(yielded.get('content-type'), OPEN);
  assert.equal(yielded.get('cache-control'), 'no-store');
  assert.ok(samples(yielded.body, true).uws_http_requests_total > 0);
  app.get('/metrics', (res) => res.end('mine'));
  assert.equal((await ask(server, '/metrics')).body, 'mine', 'a later route of the same pattern replaces it');
  app.get('/metrics', null).head('/metrics', null).get('/*', null);
  assert.equal((await ask(server, '/metrics')).body, 'any');
});

it('arguments', () => {
  const app = uWS.App();
  assert.throws(() => app.metrics(), /^Error: Function requires at least 1 arguments\.$/);
  assert.throws(() => app.metrics(5), /Text and data can only be passed/);
  for (const scope of ['all', 1, null, ''])
    assert.throws(() => app.metrics('/m', { scope }), /^TypeError: scope must be 'process' or 'app'; got /);
  assert.throws(() => app.metrics('/m', 'app'), /^TypeError: options must be an object\.$/);
  assert.equal(app.metrics('/m', null).metrics('/m', {}), app);
});

it('it answers while JavaScript is blocked', { timeout: 20000 }, async (t) => {
  const BLOCKED = 3000;
  const program = Program.start(
    t,
    ({ listening }, blocked) => {
      const server = listening((app) =>
        app.metrics('/metrics').get('/block', (res) => {
          res.end('blocked');
          setImmediate(() =>
            setImmediate(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, blocked)),
          );
        }),
      );
      console.log(`port ${server.port}`);
    },
    BLOCKED,
    { env: { UWS_TLS: '' } },
  );
  const port = Number(await program.said('port'));
  const connect = () => Peer.connect(port, { tls: false });
  const [peer, waits] = [await connect(), await connect()];
  await peer.request(get('/block'));
  await sleep(200);
  const started = Date.now();
  await waits.send(get('/block'));
  await sleep(500);
  for (let i = 0; i < 20; i++) {
    const now = samples((await peer.request(get('/metrics'))).body);
    assert.equal(now.uws_queued_events, 1, 'the request that waits for JavaScript');
    assert.ok(now.uws_javascript_lag_seconds > 0.4, `${now.uws_javascript_lag_seconds} s`);
    assert.ok(now.uws_loop_lag_seconds < 0.4);
  }
  assert.ok(Date.now() - started < BLOCKED - 500, `it took ${Date.now() - started} ms`);
  assert.equal(waits.size, 0, 'JavaScript was blocked meanwhile');
  assert.equal((await waits.response()).body, 'blocked');
  peer.destroy();
  waits.destroy();
});
