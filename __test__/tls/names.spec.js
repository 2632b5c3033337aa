'use strict';
// Certificates and routers by server name, while the app listens.

const {
  uWS,
  child,
  it,
  assert,
  Events,
  certificate,
  secure,
  handshake,
  httpsGet,
  differs,
  upgradeRequest,
  failedHandshakes,
} = require('./support');

const text = (answer) => (app) =>
  app.get('/*', (res) => {
    res.end(answer);
  });
const subject = async (server, servername) => (await handshake(server.port, { servername })).subject;

it('a certificate by name; a star stands for the left-most label; the case does not matter', async (t) => {
  const server = secure(t, text('hello'));
  const chained = server.app
    .addServerName('one.example', certificate('one'))
    .addServerName('*.wild.example', certificate('wild'))
    .addServerName('exact.wild.example', certificate('exact'));
  assert.equal(chained, server.app);
  const expected = {
    '': 'localhost',
    'one.example': 'one',
    'ONE.example': differs('server-name-case', { original: 'localhost', ours: 'one' }),
    'two.example': 'localhost',
    'a.wild.example': 'wild',
    'exact.wild.example': 'exact',
    'a.b.wild.example': 'localhost',
    'wild.example': 'localhost',
  };
  for (const [name, wanted] of Object.entries(expected))
    assert.equal(await subject(server, name), wanted, name);
});

it('certificates are added, replaced and removed while listening; open connections live on', async (t) => {
  const server = secure(t, text('hello'));
  server.app.addServerName('one.example', certificate('one'));
  const peer = await server.connect({ tls: { servername: 'one.example' } });
  assert.equal(await subject(server, 'one.example'), 'one');
  server.app.addServerName('one.example', certificate('newer', { algorithm: 'rsa' }));
  assert.equal(await subject(server, 'one.example'), 'newer');
  assert.equal((await peer.request('GET / HTTP/1.1\r\nHost: a\r\n\r\n')).body, 'hello');
  assert.equal(server.app.removeServerName('one.example'), server.app);
  assert.equal(await subject(server, 'one.example'), 'localhost');
  assert.equal((await peer.request('GET / HTTP/1.1\r\nHost: a\r\n\r\n')).body, 'hello');
  assert.equal(server.app.removeServerName('unknown.example'), server.app);
});

it('a name that cannot be added is warned about, and the app goes on', async (t) => {
  const server = secure(t, text('hello'));
  const warnings = new Events();
  const listener = (warning) => warnings.push(warning.message);
  process.on('warning', listener);
  t.after(() => process.removeListener('warning', listener));
  assert.equal(
    server.app.addServerName('one.example', { key_file_name: '/nowhere', cert_file_name: '/nowhere' }),
    server.app,
  );
  const warned = /^addServerName\('one\.example'\): cert_file_name '\/nowhere' cannot be read/;
  assert.match(
    (await warnings.count(1))[0],
    differs('server-name-files', { original: /none/, ours: warned }),
  );
  assert.equal(await subject(server, 'one.example'), 'localhost');
});

it('a name may have ciphers and client authorities of its own', async (t) => {
  const server = secure(t, text('hello'));
  server.app.addServerName('strict.example', {
    ...certificate('strict'),
    ssl_ciphers: 'TLS_AES_128_GCM_SHA256',
  });
  assert.ok((await handshake(server.port, { servername: 'strict.example', maxVersion: 'TLSv1.2' })).error);
  assert.equal(
    (await handshake(server.port, { servername: 'strict.example' })).cipher,
    'TLS_AES_128_GCM_SHA256',
  );
  assert.equal(
    (await handshake(server.port, { servername: 'other.example', maxVersion: 'TLSv1.2' })).version,
    'TLSv1.2',
  );
});

// ---- missingServerName

it('missingServerName may add the name for that very handshake', async (t) => {
  const server = secure(t, text('hello'));
  const asked = [];
  const chained = server.app.missingServerName((name) => {
    asked.push(name);
    if (name === 'late.example') server.app.addServerName(name, certificate('late'));
  });
  assert.equal(chained, server.app);
  assert.equal(await subject(server, 'late.example'), 'late');
  assert.equal(await subject(server, 'late.example'), 'late');
  assert.equal(await subject(server, 'never.example'), 'localhost');
  assert.equal(await subject(server, ''), 'localhost');
  assert.deepEqual(asked, ['late.example', 'never.example']);
});

it('while a handshake waits for JavaScript, other connections are served', async (t) => {
  const server = secure(t, text('hello'));
  const state = new SharedArrayBuffer(8);
  const worker = new (require('node:worker_threads').Worker)(
    `
    const { parentPort, workerData } = require('node:worker_threads')
    const https = require('node:https')
    const get = (options, done) => https.get({ port: workerData.port, host: '127.0.0.1', rejectUnauthorized: false, ...options }, (response) => { response.resume(); response.on('end', done) }).on('error', done)
    // Starts a handshake with a name that is missing, and, while the other thread is blocked by that, one
    // without a name.
    parentPort.on('message', async () => {
      const tls = require('node:tls')
      const state = new Int32Array(workerData.state)
      get({ servername: 'slow.example', agent: false }, () => { parentPort.postMessage({ asked: Date.now() }) })
      while (Atomics.load(state, 0) === 0) await new Promise((resolve) => setTimeout(resolve, 5))
      const { port } = workerData
      tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false }, function () {
        Atomics.store(state, 1, 1)
        Atomics.notify(state, 1)
        this.destroy()
      })
    })
    parentPort.postMessage('ready')`,
    { eval: true, workerData: { port: server.port, state } },
  );
  t.after(() => worker.terminate());
  let unblocked, other;
  server.app.missingServerName(() => {
    Atomics.store(new Int32Array(state), 0, 1);
    other = Atomics.wait(new Int32Array(state), 1, 0, 8000);
    unblocked = Date.now();
  });
  await new Promise((resolve) => worker.once('message', resolve));
  worker.postMessage('go');
  const { asked } = await new Promise((resolve) => worker.once('message', resolve));
  assert.notEqual(other, 'timed-out', 'the other handshake came about during the callback');
  assert.ok(asked >= unblocked);
});

it('an exception of the callback is one nobody caught, and the handshake goes on', async () => {
  const run = await child(
    async ({ uWS }, { options }) => {
      process.on('uncaughtException', (error) => console.log('uncaught', error.message));
      const app = uWS.SSLApp(options).missingServerName(() => {
        throw new Error('mine');
      });
      app.listen(0, (token) => {
        const where = { port: uWS.us_socket_local_port(token), host: '127.0.0.1', servername: 'one.example' };
        const socket = require('node:tls').connect({ ...where, rejectUnauthorized: false }, () => {
          console.log('connected', socket.getPeerCertificate().subject.CN);
          socket.destroy();
          app.close();
        });
      });
    },
    { options: certificate('localhost') },
  );
  assert.deepEqual([run.stdout, run.code], ['uncaught mine\nconnected localhost\n', 0]);
});

it('a client that leaves while JavaScript is asked does no harm', async (t) => {
  const server = secure(t, text('hello'));
  const asked = new Events();
  const failed = failedHandshakes();
  server.app.missingServerName((name) => {
    asked.push(name);
  });
  const peers = Array.from({ length: 10 }, () =>
    handshake(server.port, { servername: 'one.example', timeout: 1 }),
  );
  const raw = require('node:net');
  const tls = require('node:tls');
  for (let i = 0; i < 10; i++) {
    const socket = raw.connect(server.port, '127.0.0.1');
    const secured = tls
      .connect({ socket, servername: 'two.example', rejectUnauthorized: false })
      .on('error', () => {});
    socket.on('connect', () =>
      setImmediate(() => {
        socket.resetAndDestroy();
        secured.destroy();
      }),
    );
  }
  assert.ok((await Promise.all(peers)).every((peer) => peer.subject === 'localhost'));
  assert.equal((await httpsGet(server.port)).body, 'hello');
  assert.equal(failedHandshakes(), failed);
});

// ---- routers

it('routes registered after domain(name) belong to that name', async (t) => {
  const server = secure(t, (app) => {
    app.addServerName('one.example', certificate('one')).addServerName('*.wild.example', certificate('wild'));
    app
      .get('/both', (res) => {
        res.end('default');
      })
      .get('/default', (res) => {
        res.end('default');
      });
    assert.equal(app.domain('one.example'), app);
    app
      .get('/both', (res) => {
        res.end('one');
      })
      .get('/one', (res) => {
        res.end('one');
      });
    app.domain('*.Wild.example').get('/both', (res) => {
      res.end('wild');
    });
    app.domain('unknown.example').get('/unknown', (res) => {
      res.end('default again');
    });
  });
  const get = async (servername, path) => {
    const { status, body } = await httpsGet(server.port, path, { servername });
    return status === 200 ? body : status;
  };
  assert.deepEqual(
    [await get('', '/both'), await get('', '/one'), await get('', '/unknown')],
    ['default', 404, 'default again'],
  );
  assert.deepEqual([await get('one.example', '/both'), await get('one.example', '/one')], ['one', 'one']);
  assert.equal(await get('a.wild.example', '/both'), 'wild');
  assert.equal(await get('other.example', '/both'), 'default');
  // Routes that only the app has are not found under the name.
  const absent = differs('domain-not-found', { original: undefined, ours: 404 });
  assert.deepEqual(
    [await get('one.example', '/default'), await get('one.example', '/unknown')],
    [absent, absent],
  );
});

it('a name without routes of its own is served by those of the app', async (t) => {
  const server = secure(t, text('app'));
  server.app.addServerName('one.example', certificate('one'));
  const { body } = await httpsGet(server.port, '/', { servername: 'one.example' });
  assert.equal(body, differs('domain-without-routes', { original: undefined, ours: 'app' }));
});

it('ws routes of a name, and removing its routes', async (t) => {
  const server = secure(t, (app) => {
    app.addServerName('one.example', certificate('one')).domain('one.example');
    app
      .ws('/chat', {
        message: (ws, message) => {
          ws.send(message);
        },
      })
      .get('/a', (res) => {
        res.end('a');
      })
      .get('/b', (res) => {
        res.end('b');
      });
  });
  const peer = await server.ws('/chat', { tls: { servername: 'one.example' } });
  await peer.text('echo');
  assert.equal(await peer.message(), 'echo');
  assert.equal((await server.once(upgradeRequest('/chat'))).code, 404);
  server.app.get('/a', null);
  assert.equal((await httpsGet(server.port, '/a', { servername: 'one.example' })).status, 404);
  assert.equal((await httpsGet(server.port, '/b', { servername: 'one.example' })).body, 'b');
});

it('on an App names mean nothing', () => {
  const app = uWS.App();
  assert.equal(
    app
      .addServerName('a', {})
      .removeServerName('a')
      .missingServerName(() => {})
      .domain('a'),
    app,
  );
  assert.equal(app.addServerName('a', { key_file_name: '/nowhere' }), app);
});
