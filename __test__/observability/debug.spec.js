'use strict';
// UWS_DEBUG: readable lines on standard error, each of a connection with its id, and no others.

const { it, assert, get, frame, Peer, WsPeer, support } = require('./support');
const { Program, eventually } = require('../robustness/program');

/** A server in a process of its own, with and without TLS. */
const body = ({ uWS }, certificate) => {
  const configure = (app) =>
    app
      .get('/*', (res) => res.end('hello'))
      .get('/declared', new uWS.DeclarativeResponse().end('x'))
      .post('/*', (res) => res.onData((_, last) => last && res.end()).onAborted(() => {}))
      .ws('/ws', { message: (ws, message) => ws.send(message) });
  const ports = [uWS.App(), uWS.SSLApp(certificate)].map((app) => {
    configure(app).listen('127.0.0.1', 0, (token) => (app.port = uWS.us_socket_local_port(token)));
    return app.port;
  });
  console.log(`ports ${ports.join(' ')}`);
};

async function start(t, list) {
  const program = Program.start(t, body, support.certificate('localhost'), {
    env: { UWS_DEBUG: list, UWS_TLS: '' },
  });
  const [plain, secure] = (await program.said('ports')).split(' ').map(Number);
  return { program, plain: () => Peer.connect(plain, { tls: false }), port: plain, secure };
}

/** All lines so far, without their times, once the last of them fits. */
async function lines(program, last) {
  const all = () => program.stderr.split('\n').slice(0, -1);
  assert.ok(await eventually(() => all().some((line) => last.test(line))), `${last}: ${program.stderr}`);
  return all().map((line) => {
    assert.match(line, /^uws \d+\.\d{6} /, 'no line of another form');
    return line.replace(/^uws [\d.]+ /, '');
  });
}

it('the life of a connection under one id', async (t) => {
  const { program, plain, port } = await start(t, '*');
  const peer = await plain();
  await peer.request(get('/hello?secret=1', [['X-Secret', 'mine']]));
  await peer.request(get('/declared'));
  peer.destroy();
  const socket = await WsPeer.open(port, '/ws', { tls: false });
  await socket.text('confidential');
  await socket.message();
  socket.close(1000);
  await socket.gone();
  socket.destroy();
  const all = await lines(program, /ws \d:\d received close 1000/);
  const of = (id) => all.filter((line) => line.split(' ')[1] === id).join('\n');
  assert.match(
    of('0:1'),
    new RegExp(
      [
        '^loop 0:1 accepted from 127.0.0.1:\\d+ for app 0',
        "http 0:1 'GET' '/hello' to JavaScript",
        "http 0:1 status '200 OK' Length\\(5\\)",
        "http 0:1 'GET' '/declared' by the loop",
        "http 0:1 status '200 OK' Length\\(1\\)",
        'loop 0:1 ends: Refuse 0',
      ].join('\n(?:.*\n)*?'),
    ),
  );
  const id = /ws (\d:\d) open/.exec(all.join('\n'))[1];
  assert.match(
    of(id),
    new RegExp(
      `ws ${id} received text, 12 bytes\n(.*\n)*?ws ${id} sends TEXT, 12 bytes\n(.*\n)*?ws ${id} received close 1000`,
    ),
  );
  assert.match(all[0], /^loop app 0 listens/);
  assert.doesNotMatch(program.stderr, /secret|mine|confidential/i, 'payloads that nobody asked for');
});

it('the areas and payloads that are asked for, and no others', async (t) => {
  const { program, plain, port, secure } = await start(t, 'ws,tls,payloads');
  const peer = await plain();
  await peer.request(get('/hello'));
  peer.destroy();
  await support.httpsGet(secure);
  const wrong = await Peer.connect(secure, { tls: false });
  await wrong.send(get('/'));
  await wrong.rest();
  wrong.destroy();
  const socket = await WsPeer.open(port, '/ws', { tls: false });
  await socket.text('\x1b[2J\r\nuws 0.1 loop \u202e');
  await socket.message();
  await socket.send(frame({ payload: Buffer.of(255) }));
  await socket.gone();
  const all = await lines(program, /InvalidUtf8/);
  assert.deepEqual([...new Set(all.map((line) => line.split(' ')[0]))].sort(), ['tls', 'ws']);
  const text = all.join('\n');
  assert.match(text, /^tls \d:\d a ClientHello for ''$/m);
  assert.match(text, /^tls \d:\d the handshake is complete$/m);
  assert.match(text, /^tls \d:\d the handshake failed: no TLS, but text$/m);
  assert.ok(text.includes("received: '\\u{1b}[2J\\r\\nuws 0.1 loop \\u{202e}'"), text);
});

it('lines of one second are bounded, and the others are counted', async (t) => {
  const { program, plain } = await start(t, 'http');
  const peer = await plain();
  // More requests than the lines of two seconds.
  // Few at a time, since standard error takes some 280 lines at most that nobody has read.
  for (let i = 0; i < 150; i++) {
    await peer.send(get('/declared').repeat(20));
    for (let j = 0; j < 20; j++) await peer.response();
  }
  await new Promise((resolve) => setTimeout(resolve, 1100));
  await peer.request(get('/hello'));
  const all = await lines(program, /hello/);
  assert.ok(all.includes('the rest of this second is left out'));
  const shown = all.filter((line) => line.startsWith('http')).length;
  const left = all.map((line) => /^(\d+) lines were left out$/.exec(line)?.[1]).filter(Boolean);
  assert.equal(shown + left.reduce((sum, each) => sum + Number(each), 0), 2 * 3001);
  const seconds = new Map();
  for (const [, second] of program.stderr.matchAll(/^uws (\d+)\.\d+ http /gm)) {
    seconds.set(second, (seconds.get(second) ?? 0) + 1);
  }
  for (const [second, count] of seconds) assert.ok(count <= 500, `${count} lines in second ${second}`);
});

it('without the variable there is no line', async (t) => {
  const { program, plain } = await start(t, '');
  const peer = await plain();
  await peer.request('nonsense\r\n\r\n');
  peer.destroy();
  program.process.kill('SIGTERM');
  await program.ended;
  assert.equal(program.stderr, '');
});

it('names that are not known are warned of', async (t) => {
  const { program } = await start(t, 'htpp, ws,all');
  assert.ok(await eventually(() => /UwsRsWarning/.test(program.stderr)));
  assert.match(
    program.stderr,
    /UwsRsWarning: UWS_DEBUG has names that are not known: htpp, all\. Known are loop, http, ws, tls, payloads and \*\./,
  );
});
