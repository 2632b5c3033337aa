'use strict';
// `getX509Certificate()` of the responses of an SSLApp: section 3 of what changed after 20.57, which has it
// already.
const fs = require('node:fs');
const tls = require('node:tls');
const { X509Certificate } = require('node:crypto');
const {
  it,
  assert,
  v30,
  ours,
  serve,
  turn,
  until,
  deferred,
  get,
  upgradeRequest,
  ERRORS,
  certificates,
  directory,
  certificate,
  secure,
} = require('../tls/support');

const present = { skip: v30 ? '20.30 has no getX509Certificate' : false };
const read = (file) => fs.readFileSync(file, 'utf8');

let files;
/** An authority, and the key and certificate of a client that it has signed. */
function signed() {
  if (files === undefined) {
    const authority = certificate('authority');
    const client = certificates.signedBy(directory, authority, 'client');
    const cert = read(client.cert_file_name);
    files = {
      authority,
      key: read(client.key_file_name),
      cert,
      chain: cert + read(authority.cert_file_name),
    };
  }
  return files;
}

const messageOf = (call) => {
  try {
    return call();
  } catch (error) {
    return error.message;
  }
};

const asking = () => ({ ...certificate('localhost'), ca_file_name: signed().authority.cert_file_name });
const withCertificate = () => ({ key: signed().key, cert: signed().cert });
const telling = (app) => app.any('/*', (res) => void res.end(res.getX509Certificate()));

/** One connection; `ask` sends a request and returns the body of its response. */
async function connect(t, port, options = {}) {
  const socket = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...options });
  t.after(() => socket.destroy());
  socket.on('error', () => {});
  let text = '';
  socket.setEncoding('latin1').on('data', (data) => (text += data));
  await new Promise((resolve, reject) => socket.once('secureConnect', resolve).once('error', reject));
  const ask = async (request = get('/')) => {
    text = '';
    socket.write(request);
    const bodyOf = () => text.slice(text.indexOf('\r\n\r\n') + 4);
    const length = () => Number(/\r\ncontent-length: (\d+)/i.exec(text)?.[1]);
    await until(() => text.includes('\r\n\r\n') && bodyOf().length === length());
    return bodyOf();
  };
  return { socket, ask };
}

for (const maxVersion of ['TLSv1.2', 'TLSv1.3']) {
  it(`the certificate that the client has sent, ${maxVersion}`, present, async (t) => {
    const { port } = secure(t, telling, asking());
    const { ask } = await connect(t, port, { maxVersion, ...withCertificate() });
    const found = await ask();
    assert.equal(found, new X509Certificate(signed().cert).toString());
    assert.equal(await ask(get('/again')), found, 'also of the next request');
    // The leaf alone is told of a chain.
    const whole = await connect(t, port, { maxVersion, key: signed().key, cert: signed().chain });
    assert.equal(await whole.ask(), found);
  });

  it(`nothing of a client that has sent none, ${maxVersion}`, present, async (t) => {
    const { port } = secure(t, telling, asking());
    assert.equal(await (await connect(t, port, { maxVersion })).ask(), '');
  });

  it(`nothing where none is asked for, ${maxVersion}`, present, async (t) => {
    const { port } = secure(t, telling);
    assert.equal(await (await connect(t, port, { maxVersion, ...withCertificate() })).ask(), '');
  });

  it(`each connection has its own, ${maxVersion}`, present, async (t) => {
    const other = certificates.signedBy(directory, signed().authority, `other-${maxVersion}`);
    const { port } = secure(t, telling, asking());
    const one = await connect(t, port, { maxVersion, ...withCertificate() });
    const two = await connect(t, port, {
      maxVersion,
      key: read(other.key_file_name),
      cert: read(other.cert_file_name),
    });
    const none = await connect(t, port, { maxVersion });
    const subjects = [];
    for (const { ask } of [one, two, none, one]) {
      const found = await ask();
      subjects.push(found && new X509Certificate(found).subject);
    }
    assert.deepEqual(subjects, ['CN=client', `CN=other-${maxVersion}`, '', 'CN=client']);
    one.socket.destroy();
    none.socket.destroy();
    // Whoever comes next, perhaps in their place, has none.
    for (let i = 0; i < 3; i++) assert.equal(await (await connect(t, port, { maxVersion })).ask(), '');
  });

  it(`a session that is resumed is that of the same client, ${maxVersion}`, { skip: !ours }, async (t) => {
    const { port } = secure(t, telling, asking());
    const first = await connect(t, port, { maxVersion, ...withCertificate() });
    let session = first.socket.getSession();
    first.socket.on('session', (ticket) => (session = ticket));
    const found = await first.ask();
    await until(() => session !== undefined);
    const second = await connect(t, port, { maxVersion, session });
    assert.equal(second.socket.isSessionReused(), true);
    assert.equal(await second.ask(), found);
  });
}

it('in an upgrade handler, after an await, and not any more after the response', present, async (t) => {
  const seen = [];
  const done = deferred();
  const { port } = secure(
    t,
    (app) => {
      app.get('/*', async (res) => {
        res.onAborted(() => {});
        await turn();
        seen.push(res.getX509Certificate());
        res.cork(() => res.end('x'));
        seen.push(messageOf(() => res.getX509Certificate()));
      });
      app.ws('/ws', {
        upgrade(res, req, context) {
          seen.push(res.getX509Certificate());
          const names = ['sec-websocket-key', 'sec-websocket-protocol', 'sec-websocket-extensions'];
          res.upgrade({}, ...names.map((name) => req.getHeader(name)), context);
        },
        open(ws) {
          seen.push(ws.getX509Certificate);
          done.resolve();
        },
      });
    },
    asking(),
  );
  const { ask, socket } = await connect(t, port, withCertificate());
  assert.equal(await ask(), 'x');
  socket.write(upgradeRequest('/ws'));
  await done.promise;
  const pem = new X509Certificate(signed().cert).toString();
  const [first, after, ...others] = seen;
  assert.deepEqual([first, ...others], [pem, pem, undefined]);
  assert.match(after, ERRORS.response);
});

it('of a client that has gone, as long as the response is valid', present, async (t) => {
  const seen = [];
  const over = deferred();
  const { port } = secure(
    t,
    (app) =>
      app.get('/*', (res) => {
        res.onAborted(() => {
          seen.push(messageOf(() => res.getX509Certificate()));
          over.resolve();
        });
        socket.destroy();
        // The connection ends meanwhile, of which nothing has been heard here.
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300);
        seen.push(res.getX509Certificate());
      }),
    asking(),
  );
  const { socket } = await connect(t, port, withCertificate());
  socket.write(get('/'));
  await over.promise;
  assert.equal(seen[0], new X509Certificate(signed().cert).toString());
  assert.match(seen[1], ERRORS.response);
});

it('an App has no such method', present, async (t) => {
  const { App } = require(require('../support').modulePath());
  const types = [];
  const server = serve(
    t,
    (app) => {
      app.get('/*', (res) => {
        types.push(typeof res.getX509Certificate);
        res.end();
      });
    },
    { app: App(), peer: { tls: false } },
  );
  const peer = await server.connect();
  await peer.request(get('/'));
  assert.deepEqual(types, ['undefined']);
});
