'use strict';
// Worker threads, certificates, proxies in front, shutdown, and figures.

const fs = require('node:fs');
const path = require('node:path');
const net = require('node:net');
const { spawn } = require('node:child_process');
const { missing, freePorts } = require('../smuggling/proxies');
const { openssl, selfSigned, temporaryDirectory } = require('../tls/certificates');
const support = require('./support');
const { CLOSE, assert, get, it, request, sleep, start, textOf, until } = support;

/** Ends the worker with this number by an error, when the main thread gets SIGUSR2. */
const FAILING = `
const { isMainThread, threadId, BroadcastChannel } = require('worker_threads');
const channel = new BroadcastChannel('of the test');
channel.unref();
if (isMainThread) process.on('SIGUSR2', () => channel.postMessage(2));
else channel.onmessage = ({ data }) => {
  if (data === threadId) setImmediate(() => { throw new Error('a fault of the test'); });
};
channel.unref();`;

it('workers: connections in turn, one chat for all, and a worker that fails is replaced', async (t) => {
  const program = await start(t, 'workers.mjs', { preload: FAILING, env: { THREADS: '3' } });
  const peers = await Promise.all(Array.from({ length: 12 }, () => program.connect()));
  const threadOf = async (peer) => (await peer.request(get('/thread'))).body;
  const threads = await Promise.all(peers.map(threadOf));
  const count = (list) =>
    Object.fromEntries([...new Set(list)].sort().map((id) => [id, list.filter((x) => x === id).length]));
  assert.deepEqual(count(threads), { 1: 4, 2: 4, 3: 4 });

  const sockets = await Promise.all(Array.from({ length: 6 }, () => program.ws('/chat')));
  for (const [at, socket] of sockets.entries()) await socket.text(`from ${at}`);
  for (const socket of sockets) {
    const got = (await socket.messages(6)).sort();
    assert.deepEqual(
      got,
      [0, 1, 2, 3, 4, 5].map((at) => `from ${at}`),
    );
  }
  await sockets[0].binary(Buffer.from([0, 255]));
  for (const socket of sockets) {
    const { opcode, data } = await socket.frame();
    assert.deepEqual([opcode, data], [support.BINARY, Buffer.from([0, 255])]);
  }

  program.child.kill('SIGUSR2');
  await program.prints(/A worker has failed: Error: a fault of the test/);
  await Promise.all(peers.filter((_, at) => threads[at] === '2').map((peer) => peer.gone()));
  const others = peers.filter((_, at) => threads[at] !== '2');
  assert.ok((await Promise.all(others.map(threadOf))).every((id) => id !== '2'));
  for (const seen = new Set(); !seen.has('4'); await sleep(20)) {
    const peer = await program.connect();
    const id = await threadOf(peer);
    assert.notEqual(id, '2');
    seen.add(id);
    peer.destroy();
  }
  for (const each of [...peers, ...sockets]) each.destroy();
});

/** Puts a fresh certificate for the name where certbot would. */
function renew(folder, name) {
  const fresh = temporaryDirectory();
  const { key_file_name, cert_file_name } = selfSigned(fresh, name);
  fs.mkdirSync(path.join(folder, name), { recursive: true });
  fs.copyFileSync(key_file_name, path.join(folder, name, 'privkey.pem'));
  fs.copyFileSync(cert_file_name, path.join(folder, name, 'fullchain.pem'));
  fs.rmSync(fresh, { recursive: true });
  const sum = openssl(
    'x509',
    '-in',
    path.join(folder, name, 'fullchain.pem'),
    '-noout',
    '-fingerprint',
    '-sha256',
  );
  return sum.toString().trim().split('=')[1];
}

it('tls: a certificate for each name, renewed while connections go on', async (t) => {
  const folder = support.emptyFolder(t);
  const live = path.join(folder, 'live');
  const names = ['one.example', 'two.example'];
  const [one, two] = names.map((name) => renew(live, name));
  fs.writeFileSync(path.join(live, 'README'), 'of certbot');
  const env = { CERTIFICATES: live, DEFAULT_NAME: names[0] };
  const program = await start(t, 'tls.mjs', { folder, env });
  const open = (servername, as = program.connect.bind(program)) =>
    as({ tls: servername ? { servername } : {} });
  const shown = async (servername) => {
    const peer = await open(servername);
    const { fingerprint256 } = peer.socket.getPeerCertificate();
    assert.equal((await peer.request(get('/'))).body, 'Hello from localhost\n');
    peer.destroy();
    return fingerprint256;
  };
  const loaded = async (times) => {
    program.child.kill('SIGHUP');
    await until(() => program.output.match(/^Certificates of/gm)?.length === times);
  };
  assert.deepEqual(await Promise.all([...names, 'three.example', ''].map(shown)), [one, two, one, one]);

  const old = await open('one.example');
  const socket = await program.ws('/echo', { tls: { servername: 'one.example' } });
  const newer = renew(live, 'one.example');
  const three = renew(live, 'three.example');
  assert.notEqual(newer, one);
  await loaded(2);
  assert.deepEqual(await Promise.all(['one.example', 'two.example', 'three.example'].map(shown)), [
    newer,
    two,
    three,
  ]);
  assert.equal(old.socket.getPeerCertificate().fingerprint256, one);
  assert.equal((await old.request(get('/'))).code, 200);
  await socket.text('still here');
  assert.equal(await socket.message(), 'still here');

  fs.writeFileSync(path.join(live, 'two.example/fullchain.pem'), 'half a fi');
  renew(path.join(folder, 'elsewhere'), 'one.example');
  fs.copyFileSync(
    path.join(folder, 'elsewhere/one.example/privkey.pem'),
    path.join(live, 'one.example/privkey.pem'),
  );
  await loaded(3);
  await program.prints(/addServerName\('two\.example'\).*the name is not added/);
  await program.prints(/addServerName\('one\.example'\).*the name is not added/);
  assert.deepEqual(
    await Promise.all(['one.example', 'two.example'].map(shown)),
    [newer, two],
    'they keep theirs',
  );
  for (const each of [old, socket]) each.destroy();
});

// Debian keeps the proxies where the path of a user may not lead.
const PATH = `${process.env.PATH}:/usr/sbin:/usr/local/sbin`;

/** Runs a proxy until the end of the test; resolves when it listens. */
async function proxy(t, command, args, ports) {
  const child = spawn(command, args, { env: { ...process.env, PATH }, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  let ended = false;
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (output += data));
  const over = new Promise((resolve) => child.once('close', () => resolve((ended = true))));
  t.after(() => (child.kill('SIGTERM'), over));
  for (const port of ports) {
    for (const end = Date.now() + 8000; ; await sleep(20)) {
      const there = await support.Peer.connect(port, { tls: false }).then(
        (peer) => (peer.destroy(), true),
        () => false,
      );
      if (there) break;
      if (ended || Date.now() > end) throw new Error(`${command} does not listen: ${output}`);
    }
  }
}
const recipe = (name) => fs.readFileSync(path.join(support.FROM, name), 'utf8');
/** Replaces texts that have to be there. */
const replaced = (text, changes) =>
  changes.reduce((all, [from, to]) => (assert.ok(all.includes(from), from), all.replaceAll(from, to)), text);

const PROXIES = {
  nginx: async (t, folder, app) => {
    const [port] = await freePorts(1);
    const config = replaced(recipe('nginx.conf'), [
      ['listen 80;', `listen 127.0.0.1:${port};`],
      ['server 127.0.0.1:3000;', `server 127.0.0.1:${app};`],
    ]);
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
    const paths = temporary.map((each) => `${each}_temp_path ${folder}/${each};`).join(' ');
    const whole = `daemon off; worker_processes 1; master_process off; pid ${folder}/pid; error_log stderr;
      events {} http { access_log off; ${paths} ${config} }`;
    fs.writeFileSync(path.join(folder, 'nginx.conf'), whole);
    await proxy(t, 'nginx', ['-p', folder, '-e', 'stderr', '-c', path.join(folder, 'nginx.conf')], [port]);
    return [['nginx', port]];
  },
  haproxy: async (t, folder, app) => {
    const [port, tcp] = await freePorts(2);
    const config = replaced(recipe('haproxy.cfg'), [
      ['bind :80', `bind 127.0.0.1:${port}`],
      ['bind :443', `bind 127.0.0.1:${tcp}`],
      ['server one 127.0.0.1:3000', `server one 127.0.0.1:${app}`],
    ]);
    fs.writeFileSync(path.join(folder, 'haproxy.cfg'), config);
    await proxy(t, 'haproxy', ['-db', '-f', path.join(folder, 'haproxy.cfg')], [port, tcp]);
    return [
      ['HAProxy', port],
      ['HAProxy with a PROXY header', tcp],
    ];
  },
};

for (const [name, begin] of Object.entries(PROXIES)) {
  const lacks = missing().includes(name) && `there is no ${name}`;
  // Clients come from addresses of 127.0.0.0/8, which other systems than Linux do not have.
  const skip = lacks || (process.platform !== 'linux' && 'needs 127.0.0.2') || false;
  it(
    `behind ${name}: the client's address, WebSockets, rates by address, and no forgery`,
    { skip },
    async (t) => {
      const folder = support.emptyFolder(t);
      const program = await start(t, 'proxied.mjs', { folder });
      // 127.0.0.2 and the like are clients: only 127.0.0.1 is trusted.
      const from = async (localAddress, port, Kind = support.Peer) => {
        const socket = net.connect({ port, host: '127.0.0.1', localAddress, allowHalfOpen: true });
        await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject));
        const peer = new Kind(socket);
        t.after(() => peer.destroy());
        return peer;
      };
      const whoami = async (localAddress, port, headers = []) => {
        const peer = await from(localAddress, port);
        const answer = await peer.request(get('/whoami', headers));
        assert.equal(answer.code, 200, answer.text);
        peer.destroy();
        return JSON.parse(answer.body);
      };
      const forged = ['X-Forwarded-For: 9.9.9.9', 'Forwarded: for=9.9.9.9', 'X-Forwarded-Proto: https'];
      let host = 10;
      for (const [way, port] of await begin(t, folder, program.port)) {
        const header = way.includes('PROXY');
        const client = `127.0.0.${host++}`;
        assert.deepEqual(await whoami(client, port), { address: client, secure: false }, way);
        // Behind a PROXY header the fields are the client's own, and it is none of the trusted proxies.
        assert.deepEqual(await whoami(client, port, forged), { address: client, secure: header }, way);

        const socket = await from(client, port, support.WsPeer);
        await socket.send(support.upgradeRequest('/echo'));
        assert.equal((await socket.head()).code, 101, way);
        assert.equal(await socket.message(), client, way);
        const long = 'x'.repeat(10_000);
        await socket.text(long);
        assert.equal(await socket.message(), long, way);

        const greedy = await from(`127.0.0.${host++}`, port);
        const codes = [];
        // A token comes back each half second.
        while (codes.at(-1) !== 429 && codes.length < 100)
          codes.push((await greedy.request(get('/whoami'))).code);
        assert.equal(codes.indexOf(429) >= 20 && codes.at(-1), 429, `${way}: ${codes}`);
        assert.equal((await whoami(client, port)).address, client, `${way}: others are not refused`);
      }
      // Directly nobody else is believed, and a PROXY header is a bad request.
      assert.deepEqual((await whoami('127.0.0.3', program.port, forged)).address, '127.0.0.3');
      const liar = await from('127.0.0.3', program.port);
      const answer = await liar.request(`PROXY TCP4 9.9.9.9 127.0.0.1 1 2\r\n${get('/whoami')}`);
      assert.equal(answer.code, 400);
    },
  );
}

it('shutdown: under load no accepted request is lost, WebSockets are told, and the process ends', async (t) => {
  const program = await start(t, 'shutdown.mjs', { env: { NOTICE_MS: '2000' } });
  const health = async () => {
    const response = await fetch(program.url('/healthz'), { headers: { connection: 'close' } });
    return [response.status, await response.text()];
  };
  assert.deepEqual(await health(), [200, 'ok\n']);
  const sockets = await Promise.all(Array.from({ length: 5 }, () => program.ws('/chat')));
  const idle = await Promise.all(Array.from({ length: 3 }, () => program.connect()));
  let leaving = false;
  let answered = 0;
  let last = 0;
  /** A client that asks again and again, until a response says that it is the last. */
  const client = async () => {
    const peer = await program.connect();
    for (;;) {
      await peer.send(get('/slow'));
      const answer = await peer.response();
      assert.deepEqual([answer.code, answer.body], [200, 'done\n']);
      answered += 1;
      if (answer.get('connection') === 'close') break;
    }
    assert.ok(leaving, 'not before the signal');
    last += 1;
    assert.equal(await peer.gone(), 'fin');
    peer.destroy();
  };
  const clients = Array.from({ length: 30 }, client);
  await sleep(200);
  leaving = true;
  program.child.kill('SIGTERM');
  await program.prints(/SIGTERM: leaving/);
  program.child.kill('SIGTERM'); // a second one changes nothing
  assert.deepEqual(await health(), [503, 'leaving\n']);
  await sockets[0].text('a last message');
  for (const socket of sockets) assert.equal(await socket.message(), 'a last message');
  for (const socket of sockets) {
    const { opcode, code } = await socket.frame();
    assert.deepEqual([opcode, code], [CLOSE, 1001]);
    await socket.close(1001);
    assert.equal(await socket.gone(), 'fin');
    socket.destroy();
  }
  await Promise.all([...clients, ...idle.map((peer) => peer.gone())]);
  assert.equal(last, 30);
  assert.ok(answered >= 60, `${answered}`);
  await program.prints(/0 connections were cut/);
  for (const peer of idle) peer.destroy();
  assert.deepEqual(await program.ended.promise, { code: 0, signal: null });
  await assert.rejects(program.connect(), /ECONNREFUSED/);
});

it('metrics: the loop answers while JavaScript is blocked, and what is wrong has a line', async (t) => {
  const program = await start(t, 'metrics.mjs', { env: { METRICS_PORT: '0' } });
  const [, port] = await program.prints(/Metrics on port (\d+)/);
  const scrape = async (accept = '*/*') => {
    const response = await fetch(`http://127.0.0.1:${port}/metrics`, { headers: { accept } });
    return response.text();
  };
  assert.equal(await (await fetch(program.url('/'))).text(), 'Hello\n');
  assert.match(await scrape(), /^uws_http_responses_total\{class="2xx"\} [1-9]/m);
  assert.ok(JSON.parse(await scrape('application/json')).http.requests >= 2);
  assert.equal((await fetch(program.url('/metrics'))).status, 404, 'not on the public port');

  const peer = await program.connect();
  const SLOW = /Slow: JavaScript ([2-9]|\d\d+)\d\d ms/;
  // It is blocked for 300 ms, in which a busy machine may not come to anything else: then once more.
  let isFirst = false;
  for (let round = 0; round < 10 && !(isFirst && SLOW.test(program.output)); round++) {
    await peer.send(get('/block'));
    let done = false;
    const blocked = peer.response().then(() => (done = true));
    await sleep(30);
    const other = fetch(program.url('/')); // waits for JavaScript
    await scrape();
    isFirst ||= !done;
    await Promise.all([blocked, other]);
    await program.prints(SLOW, 1500).catch(() => {});
  }
  assert.ok(isFirst, 'the figures came first');
  await program.prints(SLOW);

  const gone = await program.ws('/echo');
  gone.reset();
  await program.prints(/\/echo: closed with 1006/);
  await peer.send(request('POST', '/', [`Content-Length: ${2 ** 21}`]));
  assert.equal((await peer.response()).code, 413);
  await program.prints(/The limit maxBodyLength was met \(1\)/);
  const slow = await program.ws('/echo');
  slow.pause();
  for (let at = 0; at < 2000; at++) await slow.text('x'.repeat(10_000));
  await program.prints(/\/echo: dropped a send of 10000 bytes/);
  for (const each of [peer, gone, slow]) each.destroy();
});

/** Has a port as systemd has it, which accepts nothing itself, and starts the program twice. */
const MANAGER = `
const { spawnSync } = require('child_process');
const server = require('net').createServer().listen(0, '127.0.0.1', () => {
  console.log('Managing port ' + server.address().port);
  const stdio = ['ignore', 'inherit', 'inherit', server._handle.fd];
  for (let i = 0; i < 2; i++) {
    const { status } = spawnSync(process.execPath, ['-r', './preload.cjs', 'activation.mjs'], { stdio });
    console.log('Ended with ' + status);
  }
  server.close();
});`;
/** For systemd the number of the process is that of the program. */
const PASSED = `
Object.assign(process.env, { LISTEN_PID: String(process.pid), LISTEN_FDS: '1' });
console.log('Process ' + process.pid);`;

it('activation: the port comes from a manager, whose clients wait while the server restarts', async (t) => {
  const files = { 'preload.cjs': PASSED, 'activation.mjs': textOf('activation.mjs') };
  const manager = await start(t, MANAGER, { files, listens: /Managing port (\d+)/ });
  const early = await manager.connect();
  for (const round of [1, 2]) {
    const [, pid] = await manager.prints(round === 1 ? /Process (\d+)/ : /Process \d+[^]*Process (\d+)/);
    t.after(() => {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        /* it has ended */
      }
    });
    const peer = round === 1 ? early : await manager.connect();
    assert.equal((await peer.request(get('/'))).body, 'Hello\n');
    const socket = await manager.ws('/echo');
    await socket.text('hi');
    assert.equal(await socket.message(), 'hi');
    for (const each of [peer, socket]) each.destroy();
    process.kill(pid, 'SIGTERM');
    await manager.prints(round === 1 ? /Ended with 0/ : /Ended with 0[^]*Ended with 0/);
  }
  assert.deepEqual(await manager.ended.promise, { code: 0, signal: null });
});

it('activation: by hand it has a port of its own', async (t) => {
  const program = await start(t, 'activation.mjs');
  const peers = await Promise.all(Array.from({ length: 20 }, () => program.connect()));
  for (const peer of peers) assert.equal((await peer.request(get('/'))).body, 'Hello\n');
  for (const peer of peers.slice(1)) peer.reset();
  assert.equal((await peers[0].request(get('/'))).code, 200);
  peers[0].destroy();
});
