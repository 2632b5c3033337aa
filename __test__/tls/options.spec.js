'use strict';
// The keys, certificates and ciphers that an SSLApp accepts, and its errors for everything else.

const fs = require('node:fs');
const path = require('node:path');
const {
  uWS,
  ours,
  it,
  differs,
  assert,
  certificates,
  directory,
  certificate,
  secure,
  handshake,
  httpsGet,
} = require('./support');

const { openssl } = certificates;
const hello = (app) =>
  app.get('/*', (res) => {
    res.end('hello');
  });
const file = (name, content) => {
  const found = path.join(directory, name);
  if (content !== undefined) fs.writeFileSync(found, content);
  return found;
};
const failure = (options) => {
  try {
    uWS.SSLApp(options);
    return 'none';
  } catch (error) {
    return error.message;
  }
};

it('SSLApp works with and without new, and its objects go by their SSL names', async (t) => {
  const options = certificate('localhost');
  assert.equal(new uWS.SSLApp(options).constructor.name, 'uWS.SSLApp');
  const names = [];
  const server = secure(t, (app) => {
    names.push(app.constructor.name);
    app.get('/*', (res, req) => {
      names.push(res.constructor.name, req.constructor.name);
      res.end();
    });
    app.ws('/ws', {
      open: (ws) => {
        names.push(ws.constructor.name);
        ws.end();
      },
    });
  });
  await server.once('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  const peer = await server.ws('/ws');
  await peer.frame();
  assert.deepEqual(names, ['uWS.SSLApp', 'uWS.SSLHttpResponse', 'uWS.HttpRequest', 'uWS.SSLWebSocket']);
});

for (const algorithm of ['ec', 'p384', 'rsa', 'ed25519']) {
  it(`a key of kind ${algorithm}`, async (t) => {
    const server = secure(t, hello, certificate(algorithm, { algorithm }));
    const answer = await httpsGet(server.port);
    assert.deepEqual([answer.status, answer.body, answer.subject], [200, 'hello', algorithm]);
  });
}

it('the forms of a key: PKCS#1, SEC1, PKCS#8, encrypted PKCS#8', async (t) => {
  const rsa = certificate('rsa', { algorithm: 'rsa' });
  const ec = certificate('localhost');
  const forms = [
    [rsa, 'pkcs1', ['rsa', '-traditional']],
    [ec, 'sec1', ['ec']],
    [rsa, 'pkcs8', ['pkcs8', '-topk8', '-nocrypt']],
    [rsa, 'aes', ['pkcs8', '-topk8', '-v2', 'aes-256-cbc', '-passout', 'pass:sésame']],
    [
      ec,
      'aes128',
      ['pkcs8', '-topk8', '-v2', 'aes-128-cbc', '-v2prf', 'hmacWithSHA1', '-passout', 'pass:sésame'],
    ],
    [ec, 'des3', ['pkcs8', '-topk8', '-v2', 'des3', '-passout', 'pass:sésame']],
    [ec, 'scrypt', ['pkcs8', '-topk8', '-scrypt', '-scrypt_N', '1024', '-passout', 'pass:sésame']],
  ];
  for (const [options, name, [command, ...args]] of forms) {
    const key = file(`${name}.pem`);
    openssl(command, '-in', options.key_file_name, '-out', key, ...args);
    const server = secure(t, hello, { ...options, key_file_name: key, passphrase: 'sésame' });
    assert.equal((await httpsGet(server.port)).body, 'hello', name);
  }
  assert.match(fs.readFileSync(file('pkcs1.pem'), 'latin1'), /BEGIN RSA PRIVATE KEY/);
  assert.match(fs.readFileSync(file('sec1.pem'), 'latin1'), /BEGIN EC PRIVATE KEY/);
  assert.match(fs.readFileSync(file('aes.pem'), 'latin1'), /BEGIN ENCRYPTED PRIVATE KEY/);
});

it('a wrong or missing passphrase, and the legacy form with the command that converts it', () => {
  const { key_file_name: plain, cert_file_name } = certificate('rsa', { algorithm: 'rsa' });
  const encrypted = file('encrypted.pem');
  openssl('pkcs8', '-topk8', '-in', plain, '-out', encrypted, '-passout', 'pass:right');
  const legacy = file('legacy.pem');
  openssl('rsa', '-in', plain, '-aes128', '-traditional', '-passout', 'pass:right', '-out', legacy);
  assert.match(
    failure({ key_file_name: encrypted, cert_file_name, passphrase: 'wrong' }),
    /^App construction failed: .*encrypted\.pem' cannot be decrypted: wrong passphrase/,
  );
  assert.match(
    failure({ key_file_name: encrypted, cert_file_name }),
    /^App construction failed: .*encrypted and there is no passphrase$/,
  );
  const message = failure({ key_file_name: legacy, cert_file_name, passphrase: 'right' });
  const command = /'openssl (pkcs8 -topk8 [^']*) -out NEW_FILE' converts it$/.exec(message);
  assert.ok(command, message);
  const converted = file('converted.pem');
  openssl(...command[1].split(' '), '-passin', 'pass:right', '-passout', 'pass:right', '-out', converted);
  assert.equal(failure({ key_file_name: converted, cert_file_name, passphrase: 'right' }), 'none');
});

it('files that are missing or are not what they should be', () => {
  const { key_file_name, cert_file_name } = certificate('localhost');
  const other = certificate('other');
  const junk = file('junk.pem', 'nothing in here\n');
  const broken = file('broken.pem', '-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n');
  for (const [options, cause] of [
    [
      { key_file_name: '/nowhere/a.key', cert_file_name },
      /^key_file_name '\/nowhere\/a\.key' cannot be read: No such file/,
    ],
    [
      { key_file_name, cert_file_name: '/nowhere/a.crt' },
      /^cert_file_name '\/nowhere\/a\.crt' cannot be read: No such file/,
    ],
    [
      { key_file_name, cert_file_name, ca_file_name: '/nowhere/ca' },
      /^ca_file_name '\/nowhere\/ca' cannot be read: No such file/,
    ],
    [
      { key_file_name, cert_file_name, dh_params_file_name: '/nowhere/dh' },
      /^dh_params_file_name '\/nowhere\/dh' cannot be read: No such file/,
    ],
    [{ key_file_name }, /^cert_file_name is missing$/],
    [{ cert_file_name }, /^key_file_name is missing$/],
    [{ key_file_name: junk, cert_file_name }, /holds no private key in PEM form$/],
    [{ key_file_name: cert_file_name, cert_file_name }, /holds no private key in PEM form$/],
    [{ key_file_name, cert_file_name: junk }, /holds no certificate in PEM form$/],
    [{ key_file_name, cert_file_name: broken }, /holds no certificate in PEM form$/],
    [{ key_file_name, cert_file_name, ca_file_name: junk }, /holds no usable certificate in PEM form$/],
    [
      { key_file_name, cert_file_name: other.cert_file_name },
      /^the private key does not belong to the certificate$/,
    ],
  ]) {
    const message = failure(options);
    const start = 'App construction failed: ';
    assert.ok(message.startsWith(start), message);
    assert.match(message.slice(start.length), differs('ssl-app-cause', { original: /^$/, ours: cause }));
  }
});

it('requireClientCertificate is a flag, and needs authorities', { skip: !ours }, () => {
  const options = certificate('localhost');
  for (const requireClientCertificate of [1, 'true', null, {}]) {
    assert.throws(() => uWS.SSLApp({ ...options, requireClientCertificate }), {
      name: 'TypeError',
      message: /^requireClientCertificate must be true or false; got /,
    });
  }
  assert.equal(
    failure({ ...options, requireClientCertificate: true }),
    'App construction failed: requireClientCertificate needs ca_file_name, which says whose certificates are good',
  );
  assert.equal(failure({ ...options, requireClientCertificate: false }), 'none');
  const authorities = { ca_file_name: options.cert_file_name };
  assert.equal(failure({ ...options, ...authorities, requireClientCertificate: true }), 'none');
});

it('options of the wrong type, and options that change nothing', () => {
  const options = certificate('localhost');
  assert.throws(
    () => uWS.SSLApp({ ...options, key_file_name: 5 }),
    /^Error: Text and data can only be passed by/,
  );
  assert.throws(() => uWS.SSLApp('options'), /^Error: Options must be an object\.$/);
  const dh = file('dh.pem', '-----BEGIN DH PARAMETERS-----\n-----END DH PARAMETERS-----\n');
  const quiet = {
    ca_file_name: undefined,
    passphrase: null,
    ssl_ciphers: '',
    dh_params_file_name: dh,
    ssl_prefer_low_memory_usage: true,
  };
  assert.equal(failure({ ...options, ...quiet }), 'none');
  assert.equal(failure({ ...options, key_file_name: Buffer.from(options.key_file_name) }), 'none');
});

it('ssl_ciphers restricts TLS 1.2 and leaves TLS 1.3 alone', async (t) => {
  const ssl_ciphers = 'ECDHE-ECDSA-AES256-GCM-SHA384:DHE-RSA-AES256-GCM-SHA384:AES128-SHA';
  const { port } = secure(t, hello, { ...certificate('localhost'), ssl_ciphers });
  const old = { maxVersion: 'TLSv1.2' };
  assert.equal((await handshake(port, old)).cipher, 'TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384');
  assert.ok((await handshake(port, { ...old, ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256' })).error);
  assert.equal(
    (await handshake(port, { ciphers: 'TLS_AES_128_GCM_SHA256' })).cipher,
    'TLS_AES_128_GCM_SHA256',
  );
});

it('ssl_ciphers by IANA names, TLS 1.3 included', async (t) => {
  const ssl_ciphers = 'TLS_CHACHA20_POLY1305_SHA256:TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256';
  const { port } = secure(t, hello, { ...certificate('localhost'), ssl_ciphers });
  assert.equal((await handshake(port)).cipher, 'TLS_CHACHA20_POLY1305_SHA256');
  assert.equal(
    (await handshake(port, { maxVersion: 'TLSv1.2' })).cipher,
    'TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256',
  );
  assert.ok((await handshake(port, { minVersion: 'TLSv1.3', ciphers: 'TLS_AES_128_GCM_SHA256' })).error);
});

it('ciphers that nobody knows, and lists that leave none', () => {
  const options = certificate('localhost');
  assert.equal(
    failure({ ...options, ssl_ciphers: 'HIGH:NOPE' }),
    "App construction failed: ssl_ciphers: 'NOPE' is no cipher that OpenSSL or IANA knows",
  );
  assert.equal(
    failure({ ...options, ssl_ciphers: 'AES128-SHA' }),
    "App construction failed: ssl_ciphers: 'AES128-SHA' leaves no cipher to use",
  );
});

it('every name of OpenSSL is known', () => {
  const names = openssl('ciphers', 'ALL:COMPLEMENTOFALL:@SECLEVEL=0').toString().trim().split(':');
  assert.ok(names.length > 50);
  const options = certificate('localhost');
  for (const name of names)
    assert.equal(failure({ ...options, ssl_ciphers: `${name}:ECDHE-ECDSA-AES128-GCM-SHA256` }), 'none', name);
});

it('a chain is sent whole', async (t) => {
  const root = certificate('root');
  const middle = certificates.signedBy(directory, root, 'middle', { authority: true });
  const leaf = certificates.signedBy(directory, middle, 'leaf.example');
  const chain = file(
    'chain.pem',
    fs.readFileSync(leaf.cert_file_name, 'latin1') + fs.readFileSync(middle.cert_file_name, 'latin1'),
  );
  const server = secure(t, hello, { key_file_name: leaf.key_file_name, cert_file_name: chain });
  const ca = fs.readFileSync(root.cert_file_name);
  const answer = await httpsGet(server.port, '/', {
    ca,
    servername: 'leaf.example',
    rejectUnauthorized: true,
  });
  assert.deepEqual(answer, { status: 200, body: 'hello', subject: 'leaf.example' });
});
