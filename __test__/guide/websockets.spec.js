'use strict';
// Upgrades with auth, rooms with presence, broadcasts to slow clients, and limits.

const http = require('node:http');
const { createHmac } = require('node:crypto');
const {
  CLOSE,
  LINUX,
  assert,
  get,
  it,
  post,
  request,
  sleep,
  start,
  until,
  upgradeRequest,
} = require('./support');

const SECRET = 'a secret of the tests';
const token = (name, expiry = Math.floor(Date.now() / 1000) + 60, secret = SECRET) => {
  const text = `${Buffer.from(name).toString('base64url')}.${expiry}`;
  return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
};

/** The status that an upgrade request is answered with, and the first message if that is 101. */
async function knock(program, target, headers) {
  const peer = await program.connect();
  await peer.send(upgradeRequest(target, { headers }));
  const { code } = await peer.head();
  const said = code === 101 ? (await peer.take((await peer.take(2))[1])).toString() : undefined;
  peer.destroy();
  return [code, said];
}

it('auth, at once: only a token that was signed, is valid, and is used by our page', async (t) => {
  const env = { SECRET, SESSIONS: 'http://127.0.0.1:1', ORIGINS: 'https://one.example,https://two.example' };
  const program = await start(t, 'auth.mts', { env });
  const signed = (cookie, origin) =>
    knock(program, '/signed', [`Cookie: ${cookie}`, ...(origin ? [`Origin: ${origin}`] : [])]);
  const names = ['Ada', 'Zoë'];
  const answers = await Promise.all(names.map((name) => signed(`a=b; token=${token(name)}; c=d`)));
  assert.deepEqual(answers, [
    [101, 'Hello Ada'],
    [101, Buffer.from('Hello Zoë').toString()],
  ]);
  assert.equal((await signed(`token=${token('Ada')}`, 'https://two.example'))[0], 101);
  for (const origin of ['https://evil.example', 'null', 'https://one.example.evil'])
    assert.equal((await signed(`token=${token('Ada')}`, origin))[0], 403, origin);
  const good = token('Ada');
  const forged = [
    '',
    good.slice(0, -2),
    `${good}AAAA`,
    token('Ada', 1),
    token('Ada', undefined, 'another secret'),
    good.replace(/^[^.]+/, Buffer.from('Eve').toString('base64url')),
    good.replace(/\.\d+\./, '.99999999999.'),
    `${good.split('.').slice(0, 2).join('.')}.é`,
    '...',
  ];
  for (const cookie of forged) assert.equal((await signed(`token=${cookie}`))[0], 401, cookie);
  assert.equal((await signed(`xtoken=${good}`))[0], 401);
  const without = await start(t, 'auth.mts', { listens: false });
  assert.equal((await without.ended.promise).code, 1);
});

it('auth, looked up: known, unknown, no answer, and clients that leave meanwhile', async (t) => {
  const waiting = [];
  let left = 0;
  const service = http.createServer((req, res) => {
    const id = decodeURIComponent(req.url.slice(1));
    res.once('close', () => (left += res.writableFinished ? 0 : 1));
    if (id === 'slow') return waiting.push(res);
    if (id === 'broken') return res.destroy();
    if (!id.startsWith('user ')) return res.writeHead(404).end();
    setTimeout(() => res.end(JSON.stringify({ name: id.slice(5) })), 10);
  });
  await new Promise((resolve) => service.listen(0, '127.0.0.1', resolve));
  t.after(() => (service.closeAllConnections(), service.close()));
  const env = { SECRET, SESSIONS: `http://127.0.0.1:${service.address().port}` };
  const program = await start(t, 'auth.mts', { env });
  const lookup = (id) => knock(program, '/looked-up', [`Cookie: session=${id}`]);
  const many = Array.from({ length: 20 }, (_, at) => `user ${at}`);
  assert.deepEqual(
    await Promise.all(many.map(lookup)),
    many.map((_, at) => [101, `Hello ${at}`]),
  );
  assert.deepEqual(await lookup('nobody'), [401, undefined]);
  assert.deepEqual(await lookup(''), [401, undefined]);
  assert.deepEqual(await lookup('broken'), [503, undefined]);

  const peers = await Promise.all([1, 2, 3].map(() => program.connect()));
  for (const peer of peers)
    await peer.send(upgradeRequest('/looked-up', { headers: ['Cookie: session=slow'] }));
  await until(() => waiting.length === 3);
  for (const peer of peers) peer.destroy();
  await until(() => left === 3 + 1); // and the broken one
  for (const res of waiting) res.end(JSON.stringify({ name: 'late' }));
  assert.deepEqual(await lookup('user 7'), [101, 'Hello 7']);
  assert.equal(program.output.trim().split('\n').length, 1, program.output);
});

it('rooms: messages stay in their room, presence counts people, and ends with them', async (t) => {
  const program = await start(t, 'rooms.mts');
  const enter = async (name) => {
    const peer = await program.ws(`/rooms?name=${encodeURIComponent(name)}`);
    peer.say = (message) => peer.text(JSON.stringify(message));
    peer.hear = async () => JSON.parse(await peer.message());
    return peer;
  };
  const [ada, bob] = [await enter('Ada'), await enter('Bob')];
  await ada.say({ type: 'join', room: 'one' });
  assert.deepEqual(await ada.hear(), { room: 'one', here: ['Ada'] });
  await bob.say({ type: 'join', room: 'one' });
  assert.deepEqual(await bob.hear(), { room: 'one', here: ['Ada', 'Bob'] });
  assert.deepEqual(await ada.hear(), { room: 'one', joined: 'Bob' });
  await bob.say({ type: 'join', room: 'two' });
  assert.deepEqual(await bob.hear(), { room: 'two', here: ['Bob'] });
  await bob.say({ type: 'say', room: 'two', text: 'to myself' });
  assert.deepEqual(await bob.hear(), { room: 'two', from: 'Bob', text: 'to myself' });
  await ada.say({ type: 'say', room: 'two', text: 'not there' }); // it has not joined
  await ada.say({ type: 'say', room: 'one', text: 'é "quoted"' });
  for (const each of [ada, bob])
    assert.deepEqual(await each.hear(), { room: 'one', from: 'Ada', text: 'é "quoted"' });

  // A second tab of Bob's is no second Bob, and the first may go.
  const tab = await enter('Bob');
  await tab.say({ type: 'join', room: 'one' });
  assert.deepEqual(await tab.hear(), { room: 'one', here: ['Ada', 'Bob'] });
  bob.reset();
  await ada.say({ type: 'say', room: 'one', text: 'still here?' });
  assert.equal((await ada.hear()).text, 'still here?');
  tab.close(1000);
  assert.deepEqual(await ada.hear(), { room: 'one', left: 'Bob' });
  await ada.say({ type: 'leave', room: 'one' });
  await ada.say({ type: 'say', room: 'one', text: 'gone' });
  await ada.say({ type: 'join', room: 'two' });
  assert.deepEqual(await ada.hear(), { room: 'two', here: ['Ada'] }, 'the room that Bob left is empty');

  for (const bad of [
    '',
    '{',
    'null',
    '{"type":"join"}',
    '{"type":"join","room":5}',
    '{"type":"x","room":"a"}',
  ]) {
    const rude = await enter('Eve');
    await rude.text(bad);
    assert.equal((await rude.frame()).code, 1008, bad);
    rude.destroy();
  }
  const large = await enter('Eve');
  await large.text('x'.repeat(5000));
  assert.equal((await large.frame()).code, 1009);
  assert.equal((await knock(program, '/rooms?name=%3Cb%3E', []))[0], 400);
  const greedy = await enter('Eve');
  for (let at = 0; at < 30; at++) await greedy.say({ type: 'join', room: `r${at}` });
  await greedy.say({ type: 'say', room: 'r19', text: 'the last' });
  for (let at = 0; at < 20; at++) assert.equal((await greedy.hear()).room, `r${at}`);
  assert.equal((await greedy.hear()).text, 'the last');
  for (const each of [ada, bob, tab, large, greedy]) each.destroy();
});

it('broadcast: a slow client misses steps and not the result; the others miss nothing', LINUX, async (t) => {
  const program = await start(t, 'broadcast.mjs');
  const [quick, slow] = [await program.ws('/prices'), await program.ws('/prices')];
  assert.deepEqual(JSON.parse(await quick.message()), { sequence: 0, all: {} });
  assert.deepEqual(JSON.parse(await slow.message()), { sequence: 0, all: {} });
  slow.pause();
  const NAMES = 40;
  const name = (at) => `${'n'.repeat(2000)}${at % NAMES}`;
  const changes = 8000;
  const driver = await program.connect();
  const hurry = (async () => {
    for (let at = 0; at < changes; at += 100) {
      let text = '';
      for (let next = at; next < at + 100; next++) text += post(`/prices/${name(next)}`, String(next + 1));
      await driver.send(text);
      for (let next = at; next < at + 100; next++) assert.equal((await driver.response()).code, 204);
    }
  })();
  for (let at = 1; at <= changes; at++) {
    const { sequence, name: changed, price } = JSON.parse(await quick.message());
    assert.deepEqual([sequence, price], [at, at]);
    if (at % 1000 === 0) assert.equal(changed, name(at - 1));
  }
  await hurry;
  slow.resume();
  // It reads as a client does: a snapshot replaces all, and a change that is older than it is left out.
  let state = { sequence: 0, all: {} };
  let snapshots = 0;
  while (state.sequence !== changes) {
    const message = JSON.parse(await slow.message());
    if (message.all) [state, snapshots] = [message, snapshots + 1];
    else if (message.sequence === state.sequence + 1)
      state = { sequence: message.sequence, all: { ...state.all, [message.name]: message.price } };
  }
  assert.ok(snapshots > 0, 'it was too slow');
  const right = Object.fromEntries(
    Array.from({ length: NAMES }, (_, at) => [name(at), changes - NAMES + 1 + at]),
  );
  assert.deepEqual(state.all, right);
  await driver.request(post(`/prices/${name(3)}`, '0.5'));
  for (const each of [quick, slow])
    assert.deepEqual(JSON.parse(await each.message()), { sequence: changes + 1, name: name(3), price: 0.5 });
  for (const bad of ['', 'x', '-1', '1e999x', '1'.repeat(65)])
    assert.equal((await driver.request(post('/prices/a', bad))).code, 400, bad);
  for (const each of [quick, slow, driver]) each.destroy();
});

it('limits: 429 and 413 of the loop, a rate by hand for each key, and one for each WebSocket', async (t) => {
  const program = await start(t, 'limits.mjs', { env: { API_KEYS: 'k1,k2' } });
  const began = Date.now();
  const elapsed = () => (Date.now() - began) / 1000;
  const chat = await program.ws('/chat');
  for (let at = 0; at < 10; at++) await chat.text(`m${at}`);
  assert.equal((await chat.messages(10)).at(-1), 'm9');
  for (let at = 0; at < 30; at++) await chat.text('more');
  let frame = await chat.frame();
  while (frame.opcode !== CLOSE) frame = await chat.frame();
  assert.deepEqual([frame.code, frame.text], [1008, 'Too many messages']);

  const peer = await program.connect();
  const report = async (key) => {
    const answer = await peer.request(get('/report', key ? [`X-API-Key: ${key}`] : []));
    return [answer.code, Number(answer.get('retry-after') ?? 0)];
  };
  for (let at = 0; at < 3; at++) assert.deepEqual(await report('k1'), [200, 0]);
  const [code, wait] = await report('k1');
  assert.ok(code === 429 && wait <= 20 && wait >= Math.ceil(20 - elapsed()), `${code}, ${wait} s`);
  assert.deepEqual(await report('k2'), [200, 0], 'another key has a rate of its own');
  for (const key of ['', 'k3', 'k1,k2']) assert.equal((await report(key))[0], 401);
  const echoed = await peer.request(post('/echo', 'x'.repeat(16 * 1024)));
  assert.deepEqual([echoed.code, echoed.raw.length], [200, 16 * 1024]);

  const large = await program.connect();
  assert.equal((await large.request(request('POST', '/echo', ['Content-Length: 16385']))).code, 413);
  // 11 requests so far, one of them the upgrade: 20 may come at once, then one each half second.
  let answer = await peer.request(get('/report'));
  let taken = 12;
  while (answer.code === 401) {
    answer = await peer.request(get('/report'));
    taken += 1;
  }
  assert.deepEqual([answer.code, answer.get('retry-after')], [429, '1']);
  const most = 21 + Math.ceil(elapsed() / 0.5);
  assert.ok(taken >= 20 && taken <= most, `the request ${taken} was refused`);
  await sleep(600);
  assert.equal((await peer.request(get('/report'))).code, 401, 'half a second later there is one more');
  for (const each of [chat, peer, large]) each.destroy();
});
