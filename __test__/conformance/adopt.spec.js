'use strict';
// `adoptSocket`: connections that were accepted elsewhere. Section 2 of what changed after 20.57: there is an
// address behind it, in releases of which there is no binary to run.
const net = require('node:net');
const { spawn } = require('node:child_process');
const support = require('../support');

const { it, assert, uWS, v30, ours, onlyOurs, Peer, get, text, until, deferred, ERRORS } = support;
const present = { skip: v30 ? 'about 20.57 and newer' : false };

/** A server of Node, which accepts and reads nothing. */
async function acceptor(t, onConnection, options = { pauseOnConnect: true }) {
  const server = net.createServer(options, onConnection);
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  return { server, port: server.address().port };
}

async function connect(t, port) {
  const peer = await Peer.connect(port);
  t.after(() => peer.destroy());
  return peer;
}

/** An app that has what Node accepts. */
async function adopting(t, configure, { app = uWS.App(), ip } = {}) {
  configure(app);
  const { port, server } = await acceptor(t, (socket) => app.adoptSocket(socket, ip));
  t.after(() => app.close());
  return { app, server, port, connect: () => connect(t, port) };
}

const telling = (app) =>
  app.get('/*', (res) => {
    res.end(`${text(res.getRemoteAddressAsText())} ${res.getRemotePort?.()}`);
  });

it('a descriptor that a parent has passed on, with nothing else open', present, async (t) => {
  const source = `
    const { uWS } = require(${JSON.stringify(require.resolve('../support'))});
    const app = uWS.App();
    app.get('/*', (res, req) => res.end('adopted ' + req.getUrl()));
    console.log(app.adoptSocket(3) === app);`;
  const run = deferred();
  const { port } = await acceptor(t, (socket) => {
    const child = spawn(process.execPath, ['-e', source], { stdio: ['ignore', 'pipe', 'inherit', socket] });
    t.after(() => child.kill('SIGKILL'));
    let output = '';
    child.stdout.on('data', (data) => (output += data));
    child.on('close', (code, signal) => run.resolve({ code, signal, output }));
    // The child has it, too.
    child.on('spawn', () => socket.destroy());
  });
  const peer = await connect(t, port);
  assert.equal((await peer.request(get('/one'))).body, 'adopted /one');
  assert.equal((await peer.request(get('/two'))).body, 'adopted /two');
  peer.destroy();
  if (ours) assert.deepEqual(await run.promise, { code: 0, signal: null, output: 'true\n' });
});

const OURS = onlyOurs('adopted-objects');

it('a connection of a server of Node', OURS, async (t) => {
  const { connect: open } = await adopting(t, telling);
  const peers = [await open(), await open(), await open()];
  for (const peer of peers) {
    const expected = `127.0.0.1 ${(peer.raw ?? peer.socket).localPort}`;
    for (let i = 0; i < 3; i++) assert.equal((await peer.request(get('/'))).body, expected);
  }
});

it('what the client has sent before is not lost', OURS, async (t) => {
  const app = uWS.App();
  telling(app);
  const sockets = [];
  const { port } = await acceptor(t, (socket) => sockets.push(socket));
  t.after(() => app.close());
  const opening = Peer.connect(port);
  await until(() => sockets.length === 1);
  const socket = net.connect(port, '127.0.0.1');
  t.after(() => socket.destroy());
  if (!support.overTls) socket.write(get('/'));
  await until(() => sockets.length === 2);
  await new Promise((resolve) => setTimeout(resolve, 50));
  for (const each of sockets) app.adoptSocket(each);
  const peer = await opening;
  t.after(() => peer.destroy());
  assert.match((await peer.request(get('/'))).body, /^127\.0\.0\.1/);
  if (support.overTls) return;
  const answer = await new Promise((resolve) => socket.once('data', (data) => resolve(data.toString())));
  assert.match(answer, /^HTTP\/1\.1 200 OK/);
});

it('WebSockets and publishing', OURS, async (t) => {
  const { app, port } = await adopting(t, (app) =>
    app.ws('/*', {
      open: (ws) => ws.subscribe('all'),
      message: (ws, message) => app.publish('all', message),
    }),
  );
  const sockets = [await support.WsPeer.open(port), await support.WsPeer.open(port)];
  t.after(() => sockets.forEach((socket) => socket.destroy()));
  await until(() => app.numSubscribers('all') === 2);
  await sockets[0].text('hello');
  for (const socket of sockets) assert.equal(await socket.message(), 'hello');
});

it('the address of the client may be another one than that of the peer', OURS, async (t) => {
  const six = Buffer.from('20010db8000000000000000000000001', 'hex');
  for (const [ip, expected] of [
    [Uint8Array.of(1, 2, 3, 4), '1.2.3.4'],
    [Uint8Array.of(1, 2, 3, 4).buffer, '1.2.3.4'],
    [six, '2001:0db8:0000:0000:0000:0000:0000:0001'],
    [new ArrayBuffer(0), '127.0.0.1'],
    [undefined, '127.0.0.1'],
  ]) {
    const { connect: open } = await adopting(t, telling, { ip });
    const peer = await open();
    const { localPort } = peer.raw ?? peer.socket;
    assert.equal((await peer.request(get('/'))).body, `${expected} ${localPort}`);
  }
});

const thrown = (call) => {
  try {
    call();
    return 'nothing';
  } catch (error) {
    return [error.name, error.code, error.message];
  }
};

it('other arguments are errors', OURS, () => {
  const app = uWS.App();
  assert.deepEqual(
    thrown(() => app.adoptSocket()),
    ['Error', undefined, 'Function requires at least 1 arguments.'],
  );
  for (const [value, shown] of [
    [-1, '-1'],
    [1.5, '1.5'],
    [NaN, 'NaN'],
    [2 ** 31, '2147483648'],
    ['3', '3'],
    [3n, '3'],
    [null, 'null'],
    [undefined, 'undefined'],
    [{}, 'an object'],
    [{ _handle: { fd: 3 } }, 'an object'],
    [() => {}, 'a function'],
  ]) {
    const [name, code, message] = thrown(() => app.adoptSocket(value));
    assert.deepEqual([name, code], ['TypeError', undefined]);
    assert.match(
      message,
      /^socket must be a file descriptor, which is an integer from 0 on, or a net\.Socket; got /,
    );
    assert.ok(message.endsWith(` ${shown}.`), message);
  }
  for (const ip of ['127.0.0.1', 1, null, {}, []])
    assert.equal(thrown(() => app.adoptSocket(999999, ip))[0], 'TypeError');
  for (const length of [1, 3, 5, 15, 17]) {
    const [name, , message] = thrown(() => app.adoptSocket(999999, new Uint8Array(length)));
    assert.deepEqual([name, message], ['RangeError', `ip must have 4 or 16 bytes, or none; got ${length}.`]);
  }
});

it('what is no connection is left as it was', OURS, async (t) => {
  const fs = require('node:fs');
  const app = uWS.App();
  const file = fs.openSync(__filename);
  const { server, port } = await acceptor(t, () => {});
  const codes = (descriptor) => thrown(() => app.adoptSocket(descriptor)).slice(0, 2);
  assert.deepEqual(codes(file), ['Error', 'ENOTSOCK']);
  assert.equal(fs.readSync(file, Buffer.alloc(4)), 4);
  fs.closeSync(file);
  assert.deepEqual(codes(file), ['Error', 'EBADF']);
  assert.deepEqual(codes(1 << 19), ['Error', 'EBADF']);
  assert.deepEqual(codes(0x7fffffff), ['Error', 'EBADF']);
  // Where a parent reads them they are connected sockets, too.
  for (const stream of [1, 2]) assert.deepEqual(codes(stream), ['Error', 'EBUSY']);
  if (process.platform === 'linux') assert.deepEqual(codes(server._handle.fd), ['Error', 'EINVAL']);
  const client = net.connect(port, '127.0.0.1');
  await new Promise((resolve) => client.once('connect', resolve));
  client.destroy();
});

it('a socket of Node that is used, gone or of TLS is refused', OURS, async (t) => {
  const app = uWS.App();
  const accepted = [];
  const { port } = await acceptor(t, (socket) => accepted.push(socket));
  const clients = await Promise.all(
    [0, 1, 2].map(async () => {
      const client = net.connect(port, '127.0.0.1');
      t.after(() => client.destroy());
      await new Promise((resolve) => client.once('connect', resolve));
      return client;
    }),
  );
  await until(() => accepted.length === 3);
  const code = (socket) => thrown(() => app.adoptSocket(socket))[1];
  accepted[0].write('x');
  assert.equal(code(accepted[0]), 'EALREADY');
  for (const client of clients) client.write('y');
  accepted[1].resume();
  await until(() => accepted[1].bytesRead > 0);
  assert.equal(code(accepted[1]), 'EALREADY');
  accepted[2].destroy();
  assert.equal(code(accepted[2]), 'ENOTCONN');
  const connecting = net.connect(port, '127.0.0.1').on('error', () => {});
  assert.equal(code(connecting), 'ENOTCONN');
  connecting.destroy();
  const { TLSSocket } = require('node:tls');
  const secure = new TLSSocket(accepted[1]);
  assert.equal(thrown(() => app.adoptSocket(secure))[0], 'TypeError');
  secure.destroy();
  assert.equal(accepted[0].destroyed, false, 'left as it was');
  accepted[0].destroy();
});

it('a descriptor that an app has is not adopted again', OURS, async (t) => {
  const source = `
    const { uWS } = require(${JSON.stringify(require.resolve('../support'))});
    const app = uWS.App();
    app.get('/*', (res) => {
      let code = 'nothing';
      try { uWS.App().adoptSocket(3) } catch (error) { code = error.code + ' ' + error.message }
      res.end(code);
    });
    app.adoptSocket(3);`;
  const { port } = await acceptor(t, (socket) => {
    const child = spawn(process.execPath, ['-e', source], { stdio: ['ignore', 'ignore', 'inherit', socket] });
    t.after(() => child.kill('SIGKILL'));
    child.on('spawn', () => socket.destroy());
  });
  const peer = await connect(t, port);
  for (let i = 0; i < 2; i++) {
    const { body } = await peer.request(get('/'));
    assert.equal(body, 'EBUSY The file descriptor 3 belongs to an app already.');
  }
});

it('not by an app that shuts down; the socket stays', OURS, async (t) => {
  const app = uWS.App();
  telling(app);
  const accepted = deferred();
  const { port } = await acceptor(t, accepted.resolve);
  const client = net.connect(port, '127.0.0.1');
  t.after(() => client.destroy());
  const socket = await accepted.promise;
  const over = app.shutdown();
  assert.deepEqual(
    thrown(() => app.adoptSocket(socket)),
    ['Error', undefined, 'The app shuts down.'],
  );
  assert.equal(socket.destroyed, false);
  await over;
  socket.destroy();
});

it('the limits of the app hold', OURS, async (t) => {
  const certificate = support.overTls ? require('../tls/certificates').shared() : {};
  const module_ = require(support.modulePath());
  const app = module_[support.overTls ? 'SSLApp' : 'App']({ ...certificate, limits: { maxConnections: 2 } });
  const { port } = await adopting(t, telling, { app });
  const peers = [await connect(t, port), await connect(t, port)];
  for (const peer of peers) assert.equal((await peer.request(get('/'))).code, 200);
  const beyond = net.connect(port, '127.0.0.1').on('error', () => {});
  await new Promise((resolve) => beyond.once('close', resolve));
  peers[0].destroy();
  const open = () => app.stats().connections[support.overTls ? 'tls' : 'plain'].http;
  await until(() => open() < 2);
  const next = await connect(t, port);
  assert.equal((await next.request(get('/'))).code, 200);
});

it('filters hear of it, and close ends it', OURS, async (t) => {
  const heard = [];
  const { app, connect: open } = await adopting(t, (app) => {
    telling(app).filter((res, count) => heard.push(count));
  });
  const peer = await open();
  assert.equal((await peer.request(get('/'))).code, 200);
  app.close();
  await peer.gone();
  await until(() => heard.length === 2);
  assert.deepEqual(heard, [1, -1]);
});

it('it is a method of an app alone', OURS, () => {
  assert.throws(() => uWS.App().adoptSocket.call({}, 3), TypeError);
  assert.ok(ERRORS.callback);
});
