'use strict';
const { it, assert, serve, get, uWS, Peer, child, deferred, differs } = require('../support');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const net = require('node:net');

const hello = (app) =>
  app.get('/*', (res) => {
    res.end('hello');
  });

/**
 * Listens with the given arguments before the callback. Resolves with the callback's argument, and closes
 * after the test.
 */
function listen(t, ...args) {
  const app = hello(uWS.App());
  t.after(() => app.close());
  let token;
  assert.equal(
    app.listen(...args, (value) => {
      token = value;
    }),
    app,
  );
  return { app, token, port: token ? uWS.us_socket_local_port(token) : 0 };
}
/** Finds a port that was free a moment ago. */
async function freePort() {
  const probe = net.createServer();
  await new Promise((resolve) => probe.listen(0, resolve));
  const { port } = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  return port;
}
async function answers(port, host) {
  const peer = await Peer.connect(port, { host });
  const { body } = await peer.request(get('/'));
  peer.destroy();
  return body;
}
async function refused(port, host = '127.0.0.1') {
  const failed = deferred();
  const socket = net
    .connect({ port, host }, () => failed.resolve('connected'))
    .on('error', (error) => failed.resolve(error.code));
  const result = await failed.promise;
  socket.destroy();
  return result;
}

it('listen(port, cb) calls back before it returns and returns the app', async (t) => {
  const { token, port } = listen(t, 0);
  assert.ok(token);
  assert.ok(port > 0);
  assert.equal(await answers(port), 'hello');
});

it('the token is opaque and truthy', (t) => {
  const { token } = listen(t, 0);
  assert.equal(typeof token, 'object');
});

it('listen(port) without host is dual-stack', async (t) => {
  const { port } = listen(t, 0);
  assert.equal(await answers(port, '127.0.0.1'), 'hello');
  if (
    Object.values(os.networkInterfaces())
      .flat()
      .some((address) => address.address === '::1')
  )
    assert.equal(await answers(port, '::1'), 'hello');
});

it('listen(port, options, cb)', async (t) => {
  const { port } = listen(t, 0, uWS.LIBUS_LISTEN_EXCLUSIVE_PORT);
  assert.equal(await answers(port), 'hello');
});

it('listen(host, port, cb)', async (t) => {
  const { port } = listen(t, '127.0.0.1', 0);
  assert.equal(await answers(port), 'hello');
});

it('listen(host, port, options, cb)', async (t) => {
  const { port } = listen(t, '127.0.0.1', 0, uWS.LIBUS_LISTEN_EXCLUSIVE_PORT);
  assert.equal(await answers(port), 'hello');
});

it(
  'an IPv6 host',
  {
    skip: Object.values(os.networkInterfaces())
      .flat()
      .some((address) => address.address === '::1')
      ? false
      : 'no IPv6 here',
  },
  async (t) => {
    const { port } = listen(t, '::1', 0);
    assert.equal(await answers(port, '::1'), 'hello');
    assert.equal(await refused(port, '127.0.0.1'), 'ECONNREFUSED');
  },
);

it('a host name is resolved', async (t) => {
  const { port } = listen(t, 'localhost', 0);
  const hosts = await Promise.all(['127.0.0.1', '::1'].map((host) => refused(port, host)));
  assert.ok(hosts.includes('connected'), hosts.join());
});

it('a host that is not ours gives false', (t) => {
  assert.equal(listen(t, '203.0.113.1', 0).token, false);
});

it('a host name that does not resolve gives false', (t) => {
  assert.equal(listen(t, 'no-such-host.invalid', 0).token, false);
});

it('a port given as text after the host is coerced', async (t) => {
  const wanted = await freePort();
  const { port } = listen(t, '127.0.0.1', String(wanted));
  assert.equal(port, wanted);
  assert.equal(await answers(port), 'hello');
});

it('a port given as text alone', async (t) => {
  const wanted = await freePort();
  const { port, token } = listen(t, String(wanted));
  if (differs('listen-text-port', { original: 'false', ours: 'coerced' }) === 'false')
    return assert.equal(token, false);
  assert.equal(port, wanted);
  assert.equal(await answers(port), 'hello');
});

it('two apps may share a port by default', async (t) => {
  const wanted = await freePort();
  assert.equal(listen(t, wanted).port, wanted);
  assert.equal(listen(t, wanted).port, wanted);
  assert.equal(await answers(wanted), 'hello');
});

it('an exclusive port that is taken gives false', (t) => {
  const { port } = listen(t, 0, uWS.LIBUS_LISTEN_EXCLUSIVE_PORT);
  assert.equal(listen(t, port, uWS.LIBUS_LISTEN_EXCLUSIVE_PORT).token, false);
  assert.equal(listen(t, port).token, false);
});

it('a port taken by somebody else gives false', async (t) => {
  const other = net.createServer();
  await new Promise((resolve) => other.listen(0, resolve));
  t.after(() => other.close());
  assert.equal(listen(t, other.address().port).token, false);
});

it('an app may listen on several ports', async (t) => {
  const { app, port } = listen(t, 0);
  let second;
  app.listen(0, (token) => {
    second = uWS.us_socket_local_port(token);
  });
  assert.notEqual(second, port);
  assert.equal(await answers(port), 'hello');
  assert.equal(await answers(second), 'hello');
});

it('us_listen_socket_close closes that listen socket only; open connections live on', async (t) => {
  const { app, token, port } = listen(t, 0);
  let second;
  app.listen(0, (value) => {
    second = uWS.us_socket_local_port(value);
  });
  const peer = await Peer.connect(port);
  assert.equal((await peer.request(get('/'))).body, 'hello');
  uWS.us_listen_socket_close(token);
  assert.equal(await refused(port), 'ECONNREFUSED');
  assert.equal((await peer.request(get('/'))).body, 'hello');
  assert.equal(await answers(second), 'hello');
  peer.destroy();
});

for (const port of [NaN, 0.5, undefined, '0']) {
  it(`port ${JSON.stringify(port)} is a free one`, (t) => {
    assert.ok(listen(t, port).port > 0);
    assert.ok(listen(t, '127.0.0.1', port).port > 0);
  });
}

it('a port of null behind a host is a free one, and fractions are cut off', (t) => {
  assert.ok(listen(t, '127.0.0.1', null).port > 0);
  const { app, port } = listen(t, 0);
  app.close();
  assert.equal(listen(t, port + 0.7).port, port);
});

it('listen_unix(cb, path)', async (t) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'uws-'));
  const file = path.join(folder, 's');
  const app = hello(uWS.App());
  let token;
  assert.equal(
    app.listen_unix((value) => {
      token = value;
    }, file),
    app,
  );
  t.after(() => {
    app.close();
    fs.rmSync(folder, { recursive: true, force: true });
  });
  assert.ok(token);
  assert.equal(await answers(file), 'hello');
});

it('listen_unix takes the place of a stale socket, and of no other file', async (t) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'uws-'));
  const file = path.join(folder, 's');
  const app = hello(uWS.App());
  t.after(() => {
    app.close();
    fs.rmSync(folder, { recursive: true, force: true });
  });
  const listens = () => {
    let token;
    app.listen_unix((value) => {
      token = value;
    }, file);
    return token;
  };
  const [refused, kept] = differs('unix-other-file', { original: [false, false], ours: [true, true] });
  fs.writeFileSync(file, 'kept');
  assert.equal(listens() === false, refused);
  assert.equal(fs.statSync(file).isFile(), kept);
  if (!kept) return;
  fs.rmSync(file);
  // The process that listened is gone without having removed the socket.
  fs.renameSync(await abandoned(folder), file);
  assert.ok(listens());
  assert.equal(await answers(file), 'hello');
  assert.equal(listens(), false);
  assert.equal(await answers(file), 'hello');
});

/** Creates a socket at which nobody listens any more. */
async function abandoned(folder) {
  const [first, second] = ['first', 'second'].map((name) => path.join(folder, name));
  const server = net.createServer().listen(first);
  await new Promise((resolve) => server.once('listening', resolve));
  fs.renameSync(first, second);
  await new Promise((resolve) => server.close(resolve));
  return second;
}

it('a unix listen socket has no port', (t) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'uws-'));
  const app = uWS.App();
  t.after(() => {
    app.close();
    fs.rmSync(folder, { recursive: true, force: true });
  });
  let port;
  app.listen_unix(
    (token) => {
      port = uWS.us_socket_local_port(token);
    },
    path.join(folder, 's'),
  );
  assert.equal(port, -1);
});

it('listen_unix on a folder that is not there gives false', (t) => {
  const app = uWS.App();
  t.after(() => app.close());
  let token;
  app.listen_unix(
    (value) => {
      token = value;
    },
    path.join(os.tmpdir(), 'no-such-folder', 's'),
  );
  assert.equal(token, false);
});

it('TCP_NODELAY: small writes of separate ticks arrive one by one without delay', async (t) => {
  const server = serve(t, (app) =>
    app.get('/*', (res) => {
      res.onAborted(() => {});
      let left = 20;
      const step = () => {
        res.cork(() => {
          left-- > 0 ? res.write('x') : res.end();
        });
        if (left >= 0) setImmediate(step);
      };
      step();
    }),
  );
  // With Nagle and delayed acknowledgements each round would cost some 40 ms, in every attempt.
  const times = [];
  do {
    const started = process.hrtime.bigint();
    const answer = await server.once(get('/'));
    assert.equal(answer.body, 'x'.repeat(20));
    times.push(Number(process.hrtime.bigint() - started) / 1e6);
  } while (times.at(-1) >= 600 && times.length < 5);
  assert.ok(times.at(-1) < 600, `${times.join(', ')} ms`);
});

it('300 connections at once', async (t) => {
  const server = serve(t, hello);
  const peers = await Promise.all(Array.from({ length: 300 }, () => server.connect()));
  const bodies = await Promise.all(peers.map(async (peer) => (await peer.request(get('/'))).body));
  assert.deepEqual(new Set(bodies), new Set(['hello']));
});

it('a listen socket keeps the process alive', async () => {
  const run = await child(({ uWS }) => {
    uWS.App().listen(0, () => console.log('up'));
    const end = () => {
      console.log('alive');
      process.exit(0);
    };
    // The timer does not keep it alive.
    setTimeout(end, 1000).unref();
  });
  assert.deepEqual([run.stdout, run.code], ['up\nalive\n', 0]);
});

it('with the listen socket closed and no connection the process exits', async () => {
  const run = await child(({ uWS }) => {
    uWS.App().listen(0, (token) => {
      console.log('up');
      uWS.us_listen_socket_close(token);
    });
  });
  assert.deepEqual([run.stdout, run.code, run.hung], ['up\n', 0, false]);
});

it('a process that only makes an app exits', async () => {
  const run = await child(({ uWS }) => {
    uWS.App().get('/*', () => {});
    console.log('made');
  });
  assert.deepEqual([run.stdout, run.code, run.hung], ['made\n', 0, false]);
});

it('an open connection keeps the process alive after the listen socket is closed; its end lets it exit', async () => {
  const run = await child(({ uWS, overTls }) => {
    const app = uWS.App().get('/*', (res) => {
      res.end('hello');
      uWS.us_listen_socket_close(listenSocket);
      console.log('served');
    });
    let listenSocket;
    app.listen(0, (token) => {
      listenSocket = token;
      const port = uWS.us_socket_local_port(token);
      // The client is another process, so that only the server's socket can keep this one alive.
      require('node:child_process')
        .spawn(
          process.execPath,
          [
            '-e',
            `
        const options = { port: ${port}, host: '127.0.0.1', rejectUnauthorized: false }
        const socket = require('node:${overTls ? 'tls' : 'net'}').connect(options, () => socket.write('GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n'))
        socket.once('data', () => setTimeout(() => socket.destroy(), 300))`,
          ],
          { stdio: 'ignore', detached: true },
        )
        .unref();
    });
    const started = Date.now();
    process.on('exit', () => console.log('waited', Date.now() - started >= 250));
  });
  assert.deepEqual([run.stdout, run.code, run.hung], ['served\nwaited true\n', 0, false]);
});

it('the callback may be missing only at the price of an error', () => {
  assert.throws(() => uWS.App().listen(0));
});
