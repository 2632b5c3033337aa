'use strict';
// Certificates of X.509 version 1, which `openssl x509 -req` makes without extensions.
const fs = require('node:fs');
const { X509Certificate } = require('node:crypto');
const {
  it,
  assert,
  uWS,
  differs,
  needsProgram,
  certificates,
  directory,
  certificate,
  secure,
  handshake,
  httpsGet,
  sClient,
} = require('../tls/support');

const { openssl, signedBy, versionOne } = certificates;
const hello = (app) => app.get('/*', (res) => void res.end('hello'));
const read = ({ key_file_name, cert_file_name }) => ({
  key: fs.readFileSync(key_file_name),
  cert: fs.readFileSync(cert_file_name),
});
const version = ({ cert_file_name }) =>
  /Version: (\d)/.exec(openssl('x509', '-in', cert_file_name, '-noout', '-text').toString())[1];

for (const algorithm of ['ec', 'rsa']) {
  it(`a server's own certificate, ${algorithm}`, needsProgram('openssl'), async (t) => {
    const options = versionOne(directory, `server-${algorithm}`, { algorithm });
    assert.equal(version(options), '1');
    const { port } = secure(t, hello, options);
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3']) {
      const answer = await httpsGet(port, '/', { maxVersion });
      assert.deepEqual([answer.body, answer.subject], ['hello', `server-${algorithm}`]);
    }
    const { output } = await sClient(port, ['-CAfile', options.cert_file_name]);
    assert.match(output, /Verify return code: 0 \(ok\)/);
    assert.match(output, /hello/);
  });
}

it('of a server name', async (t) => {
  const options = versionOne(directory, 'named.example');
  const { port } = secure(t, (app) => hello(app).addServerName('named.example', options));
  assert.equal((await handshake(port, { servername: 'named.example' })).subject, 'named.example');
});

it('whose key is another one', () => {
  const { cert_file_name } = versionOne(directory, 'mine');
  const { key_file_name } = versionOne(directory, 'other');
  const message = differs('ssl-app-cause', {
    original: 'App construction failed',
    ours: 'App construction failed: the private key does not belong to the certificate',
  });
  assert.throws(() => uWS.SSLApp({ key_file_name, cert_file_name }), { message });
});

it('an authority of clients', async (t) => {
  const authority = versionOne(directory, 'authority-one');
  const client = signedBy(directory, authority, 'client-of-one');
  const { port } = secure(t, hello, { ...certificate('localhost'), ca_file_name: authority.cert_file_name });
  assert.equal(new X509Certificate(read(client).cert).issuer, 'CN=authority-one');
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3']) {
    assert.equal((await httpsGet(port, '/', { maxVersion, ...read(client) })).body, 'hello');
    const stranger = signedBy(directory, certificate('stranger'), `stranger-${maxVersion}`);
    assert.ok((await httpsGet(port, '/', { maxVersion, ...read(stranger) })).error);
  }
});

it('a client of version 1', async (t) => {
  const authority = certificate('authority');
  const client = versionOne(directory, 'client-one', { issuer: authority });
  assert.equal(version(client), '1');
  const { port } = secure(t, hello, { ...certificate('localhost'), ca_file_name: authority.cert_file_name });
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3']) {
    const { body } = await httpsGet(port, '/', { maxVersion, ...read(client) });
    assert.equal(body, differs('client-version-1', { original: 'hello', ours: undefined }));
    assert.equal((await httpsGet(port, '/', { maxVersion })).body, 'hello');
  }
});
