'use strict';
// Handshakes: versions, suites, client certificates, resumption, and clients whose handshake fails.

const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const tls = require('node:tls');
const {
  uWS,
  ours,
  differs,
  it,
  assert,
  Events,
  certificates,
  directory,
  certificate,
  secure,
  handshake,
  httpsGet,
  sClient,
  run,
  needsProgram,
  failedHandshakes,
  until,
} = require('./support');

const hello = (app) =>
  app.get('/*', (res) => {
    res.end('hello');
  });

it('TLS 1.2 and 1.3 with each suite, chosen by openssl', async (t) => {
  const { port } = secure(t, hello);
  const rsa = secure(t, hello, certificate('rsa', { algorithm: 'rsa' }));
  for (const [to, args, suite] of [
    [port, ['-tls1_3', '-ciphersuites', 'TLS_AES_128_GCM_SHA256'], 'TLS_AES_128_GCM_SHA256'],
    [port, ['-tls1_3', '-ciphersuites', 'TLS_AES_256_GCM_SHA384'], 'TLS_AES_256_GCM_SHA384'],
    [port, ['-tls1_3', '-ciphersuites', 'TLS_CHACHA20_POLY1305_SHA256'], 'TLS_CHACHA20_POLY1305_SHA256'],
    [port, ['-tls1_2', '-cipher', 'ECDHE-ECDSA-AES128-GCM-SHA256'], 'ECDHE-ECDSA-AES128-GCM-SHA256'],
    [port, ['-tls1_2', '-cipher', 'ECDHE-ECDSA-AES256-GCM-SHA384'], 'ECDHE-ECDSA-AES256-GCM-SHA384'],
    [port, ['-tls1_2', '-cipher', 'ECDHE-ECDSA-CHACHA20-POLY1305'], 'ECDHE-ECDSA-CHACHA20-POLY1305'],
    [rsa.port, ['-tls1_2', '-cipher', 'ECDHE-RSA-AES128-GCM-SHA256'], 'ECDHE-RSA-AES128-GCM-SHA256'],
    [rsa.port, ['-tls1_2', '-cipher', 'ECDHE-RSA-AES256-GCM-SHA384'], 'ECDHE-RSA-AES256-GCM-SHA384'],
    [rsa.port, ['-tls1_2', '-cipher', 'ECDHE-RSA-CHACHA20-POLY1305'], 'ECDHE-RSA-CHACHA20-POLY1305'],
  ]) {
    const { output } = await sClient(to, args);
    assert.match(output, new RegExp(`Cipher is ${suite}\\n`), suite);
    assert.match(output, /HTTP\/1\.1 200 OK[^]*hello/, suite);
  }
});

it('AES-128 goes before AES-256, and ChaCha20 before both where the client has it first', async (t) => {
  const { port } = secure(t, hello);
  const chosen = async (version, ...names) => {
    const options = { minVersion: version, maxVersion: version, ciphers: names.join(':') };
    return (await handshake(port, options)).cipher;
  };
  const aes = differs('cipher-choice', { original: 'AES_256_GCM_SHA384', ours: 'AES_128_GCM_SHA256' });
  const tls13 = ['TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256', 'TLS_AES_128_GCM_SHA256'];
  assert.equal(await chosen('TLSv1.3', ...tls13), `TLS_${aes}`);
  assert.equal(await chosen('TLSv1.3', tls13[1], tls13[2], tls13[0]), tls13[1]);
  const [large, small] = ['ECDHE-ECDSA-AES256-GCM-SHA384', 'ECDHE-ECDSA-AES128-GCM-SHA256'];
  assert.equal(await chosen('TLSv1.2', large, small), `TLS_ECDHE_ECDSA_WITH_${aes}`);
  assert.equal(
    await chosen('TLSv1.2', 'ECDHE-ECDSA-CHACHA20-POLY1305', small),
    'TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256',
  );
});

it('TLS 1.0, 1.1 and weak suites are refused, and say so', async (t) => {
  const { port } = secure(t, hello);
  const rsa = secure(t, hello, certificate('rsa', { algorithm: 'rsa' }));
  const failed = failedHandshakes();
  for (const [to, args, alert] of [
    [port, ['-tls1', '-cipher', 'ALL:@SECLEVEL=0'], /alert (protocol version|handshake failure)/],
    [port, ['-tls1_1', '-cipher', 'ALL:@SECLEVEL=0'], /alert (protocol version|handshake failure)/],
    [rsa.port, ['-tls1_2', '-cipher', 'AES128-SHA'], /alert handshake failure/],
    [rsa.port, ['-tls1_2', '-cipher', 'AES128-GCM-SHA256'], /alert handshake failure/],
    [rsa.port, ['-tls1_2', '-cipher', 'ECDHE-RSA-AES128-SHA256'], /alert handshake failure/],
    [rsa.port, ['-tls1_2', '-cipher', 'DHE-RSA-AES128-GCM-SHA256'], /alert handshake failure/],
    [rsa.port, ['-tls1_2', '-cipher', 'ADH-AES128-SHA256:@SECLEVEL=0'], /alert handshake failure/],
  ]) {
    const { output } = await sClient(to, args);
    assert.match(output, alert, args.join(' '));
    assert.match(output, /Cipher is \(NONE\)/);
  }
  assert.equal(failedHandshakes() - failed, 7);
});

it('ALPN: http/1.1 is chosen, else http/1.0, nothing without an offer; one with neither fails', async (t) => {
  const { port } = secure(t, hello);
  const chosen = differs('alpn', { original: false, ours: 'http/1.1' });
  assert.equal((await handshake(port, { ALPNProtocols: ['h2', 'http/1.1'] })).protocol, chosen);
  assert.equal((await handshake(port, { ALPNProtocols: ['http/1.0', 'http/1.1'] })).protocol, 'http/1.1');
  assert.equal((await handshake(port, { ALPNProtocols: ['h2', 'http/1.0'] })).protocol, 'http/1.0');
  assert.equal((await handshake(port)).protocol, false);
  assert.ok((await handshake(port, { ALPNProtocols: ['h2'] })).error);
});

for (const version of ['TLSv1.2', 'TLSv1.3']) {
  it(`a session is resumed with ${version}`, async (t) => {
    const { port } = secure(t, hello);
    const connect = (session) =>
      new Promise((resolve, reject) => {
        const socket = tls.connect({
          port,
          host: '127.0.0.1',
          rejectUnauthorized: false,
          minVersion: version,
          maxVersion: version,
          session,
        });
        let ticket, reused;
        socket.on('session', (data) => {
          ticket = data;
        });
        socket.on('secureConnect', () => {
          reused = socket.isSessionReused();
          socket.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
        });
        socket.on('error', reject);
        socket.on('data', () => {});
        socket.on('close', () => resolve({ ticket, reused }));
      });
    const first = await connect();
    assert.equal(first.reused, false);
    assert.ok(first.ticket);
    assert.equal((await connect(first.ticket)).reused, true);
  });
}

it('openssl resumes a session from a file', async (t) => {
  const { port } = secure(t, hello);
  const session = path.join(directory, 'session.pem');
  assert.match((await sClient(port, ['-tls1_2', '-sess_out', session])).output, /New, TLSv1\.2/);
  assert.match((await sClient(port, ['-tls1_2', '-sess_in', session])).output, /Reused, TLSv1\.2/);
});

it('curl gets an answer', needsProgram('curl'), async (t) => {
  const { port } = secure(t, hello);
  const { cert_file_name: cert } = certificate('localhost');
  const { output, code } = await run('curl', [
    '-sS',
    '--cacert',
    cert,
    '--resolve',
    `localhost:${port}:127.0.0.1`,
    `https://localhost:${port}/`,
  ]);
  assert.deepEqual([code, output], [0, 'hello']);
});

it('client certificates are requested and verified; as in the original none is fine, too', async (t) => {
  const authority = certificate('authority');
  const client = certificates.signedBy(directory, authority, 'client');
  const stranger = certificate('stranger');
  const { port } = secure(t, hello, { ...certificate('localhost'), ca_file_name: authority.cert_file_name });
  const withCertificate = ({ key_file_name, cert_file_name }) => ({
    key: fs.readFileSync(key_file_name),
    cert: fs.readFileSync(cert_file_name),
  });
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3']) {
    assert.equal((await httpsGet(port, '/', { maxVersion })).body, 'hello');
    assert.equal((await httpsGet(port, '/', { maxVersion, ...withCertificate(client) })).body, 'hello');
    const failed = failedHandshakes();
    assert.ok((await httpsGet(port, '/', { maxVersion, ...withCertificate(stranger) })).error);
    assert.equal(failedHandshakes() - failed, 1);
  }
  const { output } = await sClient(port, [
    '-tls1_3',
    '-cert',
    client.cert_file_name,
    '-key',
    client.key_file_name,
  ]);
  assert.match(output, /Acceptable client certificate CA names\n.*authority/);
  assert.match(output, /hello/);
});

it(
  'with requireClientCertificate nobody comes in without one of an authority',
  { skip: !ours },
  async (t) => {
    const authority = certificate('authority');
    const client = certificates.signedBy(directory, authority, 'client');
    const required = { ca_file_name: authority.cert_file_name, requireClientCertificate: true };
    const server = secure(
      t,
      (app) => {
        hello(app);
        app.addServerName('one.example', { ...certificate('one.example'), ...required });
        // A name without a certificate of its own has the settings of the app.
        app.addServerName('two.example', {});
        app.addServerName('open.example', certificate('open.example'));
      },
      { ...certificate('localhost'), ...required },
    );
    const files = ({ key_file_name, cert_file_name }) => ({
      key: fs.readFileSync(key_file_name),
      cert: fs.readFileSync(cert_file_name),
    });
    const ask = (options) => httpsGet(server.port, '/', options);
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3']) {
      for (const servername of [undefined, 'one.example', 'two.example', 'unknown.example']) {
        const failed = failedHandshakes();
        assert.ok((await ask({ maxVersion, servername })).error);
        assert.ok((await ask({ maxVersion, servername, ...files(certificate('stranger')) })).error);
        await until(() => failedHandshakes() - failed === 2);
        assert.equal((await ask({ maxVersion, servername, ...files(client) })).body, 'hello');
      }
      // Each server name has settings of its own.
      assert.equal((await ask({ maxVersion, servername: 'open.example' })).body, 'hello');
    }
    const { output } = await sClient(server.port, ['-tls1_3']);
    assert.match(output, /alert certificate required|tlsv13 alert/i);
    // A session is resumed with the certificate that it began with.
    const request = (options) =>
      new Promise((resolve, reject) => {
        const socket = tls.connect({ port: server.port, rejectUnauthorized: false, ...options });
        const got = { text: '', session: undefined, reused: false };
        socket.on('session', (session) => Object.assign(got, { session }));
        socket.on('data', (data) => Object.assign(got, { text: got.text + data }));
        socket.once('error', reject);
        socket.once('end', () => resolve(got));
        socket.once('secureConnect', () => {
          got.reused = socket.isSessionReused();
          socket.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
        });
      });
    const { session } = await request(files(client));
    const resumed = await request({ session });
    assert.ok(resumed.reused && resumed.text.endsWith('hello'), resumed.text);
  },
);

it('an app without certificate refuses handshakes until it has one for the name', async (t) => {
  const server = secure(t, hello, {});
  assert.ok((await handshake(server.port)).error);
  assert.ok((await handshake(server.port, { servername: 'one.example' })).error);
  server.app.addServerName('one.example', certificate('one.example'));
  assert.equal((await handshake(server.port, { servername: 'one.example' })).subject, 'one.example');
});

// ---- clients whose handshake fails

/** Returns the bytes that a plain TCP client gets until the server closes. */
function rawExchange(port, bytes, { end = false } = {}) {
  return new Promise((resolve) => {
    const started = Date.now();
    let got = Buffer.alloc(0);
    const socket = net.connect(port, '127.0.0.1', () => {
      if (end) socket.end(bytes);
      else socket.write(bytes);
    });
    socket.on('data', (data) => {
      got = Buffer.concat([got, data]);
    });
    socket.on('error', () => {});
    socket.on('close', () => resolve({ got, seconds: (Date.now() - started) / 1000 }));
  });
}

it('plain HTTP gets 400 in clear text', async (t) => {
  const { port } = secure(t, hello);
  const failed = failedHandshakes();
  for (const text of [
    'GET / HTTP/1.1\r\nHost: a\r\n\r\n',
    'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n' + 'x'.repeat(100000),
    'G',
  ]) {
    const { got } = await rawExchange(port, text);
    const refusal = /^HTTP\/1\.1 400 Bad Request\r\n.*Connection: close\r\n/s;
    assert.match(got.toString(), differs('plain-http-on-tls', { original: /^$/, ours: refusal }));
  }
  assert.equal(failedHandshakes() - failed, 3);
});

it('bytes that are no TLS end the connection', async (t) => {
  const { port } = secure(t, hello);
  const record = (type, length) =>
    Buffer.concat([Buffer.from([type, 3, 1, length >> 8, length & 255]), Buffer.alloc(length, 7)]);
  const failed = failedHandshakes();
  const all = [
    Buffer.from([0, 1, 2, 3, 4, 5, 6, 7]),
    record(0x16, 300),
    record(0x17, 300),
    record(0x15, 2),
    record(0x16, 0xffff),
    Buffer.alloc(200000, 0x16),
  ];
  for (const bytes of all) {
    const { seconds } = await rawExchange(port, bytes);
    assert.ok(seconds < 8, `${bytes.subarray(0, 8).toString('hex')} took ${seconds} s`);
  }
  assert.equal(failedHandshakes() - failed, all.length);
  assert.equal((await httpsGet(port)).body, 'hello');
});

it('a ClientHello in pieces is put together, and one without end does not fill the memory', async (t) => {
  const { port } = secure(t, hello);
  // A handshake message that announces 16 MiB, in records of 16 KiB.
  const body = Buffer.alloc(16384, 0);
  body.set([1, 0xff, 0xff, 0xff], 0);
  const record = Buffer.concat([Buffer.from([0x16, 3, 1, 0x40, 0]), body]);
  const before = process.memoryUsage().rss;
  const socket = net.connect(port, '127.0.0.1');
  const closed = new Promise((resolve) => socket.on('close', resolve));
  socket.on('error', () => {});
  socket.on('data', () => {});
  let sent = 0;
  // More than a client can send before it sees the end, which a busy machine may delay.
  const MANY = 16384;
  const write = () => {
    while (sent < MANY && socket.write(record)) sent++;
  };
  socket.on('drain', write);
  write();
  await closed;
  assert.ok(sent < MANY);
  assert.ok(process.memoryUsage().rss - before < 64 << 20);
  // Node's client is then tried byte by byte.
  const proxy = net.createServer((client) => {
    const upstream = net.connect({ port, host: '127.0.0.1', noDelay: true });
    upstream.pipe(client);
    client.on('data', async (data) => {
      client.pause();
      for (const byte of data) {
        await new Promise((resolve) => upstream.write(Buffer.of(byte), resolve));
        await new Promise((resolve) => setImmediate(resolve));
      }
      client.resume();
    });
    for (const one of [client, upstream])
      one
        .on('error', () => {})
        .on('close', () => {
          client.destroy();
          upstream.destroy();
        });
  });
  await new Promise((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  t.after(() => proxy.close());
  assert.equal((await httpsGet(proxy.address().port)).body, 'hello');
});

it('a handshake that stands still is ended after about 10 s', { timeout: 20000 }, async (t) => {
  const { port } = secure(t, hello);
  const failed = failedHandshakes();
  const started = await Promise.all([
    rawExchange(port, Buffer.of()),
    rawExchange(port, Buffer.from([0x16, 3, 1, 2, 0, 1, 0, 1])),
  ]);
  for (const { seconds } of started) assert.ok(seconds > 8 && seconds < 14, `${seconds} s`);
  assert.equal(failedHandshakes() - failed, 2);
});

it('clients that vanish during the handshake leave nothing behind', async (t) => {
  const events = new Events();
  const server = secure(t, (app) => {
    hello(app);
    app.filter((res, count) => {
      events.push(count);
    });
  });
  const sockets = Array.from({ length: 20 }, () =>
    net.connect(server.port, '127.0.0.1', function () {
      this.write(Buffer.from([0x16, 3, 1]));
    }),
  );
  await events.when((list) => list.filter((count) => count === 1).length === 20);
  sockets.forEach((socket, i) => {
    if (i % 2) socket.destroy();
    else socket.resetAndDestroy();
  });
  await events.when((list) => list.filter((count) => count === -1).length === 20);
});

it('renegotiation is refused', async (t) => {
  const { port } = secure(t, hello);
  const { output } = await run('openssl', ['s_client', '-connect', `127.0.0.1:${port}`, '-tls1_2'], 'R\n');
  assert.match(output, /RENEGOTIATING/);
  assert.match(output, /no renegotiation/i);
});

it('failed handshakes are no exceptions, and cost the others nothing', async (t) => {
  const { port } = secure(t, hello);
  const failed = failedHandshakes();
  const unexpected = [];
  const listener = (error) => unexpected.push(error);
  process.on('uncaughtException', listener);
  t.after(() => process.removeListener('uncaughtException', listener));
  const bad = Array.from({ length: 50 }, () =>
    rawExchange(port, Buffer.from([0x16, 3, 1, 0, 4, 9, 9, 9, 9])),
  );
  const good = await Promise.all(Array.from({ length: 10 }, () => httpsGet(port)));
  await Promise.all(bad);
  assert.ok(good.every(({ body }) => body === 'hello'));
  await until(() => failedHandshakes() - failed === 50);
  assert.deepEqual(unexpected, []);
  assert.equal(typeof uWS.SSLApp, 'function');
});
