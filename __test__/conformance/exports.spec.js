'use strict';
const {
  uWS,
  it,
  assert,
  differs,
  ours,
  v57,
  text,
  needs,
  child,
  serve,
  get,
  named,
  overTls,
} = require('../support');

it('App and SSLApp are functions that work with and without new', () => {
  assert.equal(typeof uWS.App, 'function');
  assert.equal(typeof uWS.SSLApp, 'function');
  const plain = uWS.App();
  const constructed = new uWS.App();
  for (const app of [plain, constructed, uWS.App({})]) {
    assert.equal(typeof app.listen, 'function');
    assert.equal(typeof app.ws, 'function');
  }
  assert.equal(plain.constructor.name, named('App'));
});

it('an app has every registration and control method', () => {
  const app = uWS.App();
  const methods = [
    'get',
    'post',
    'options',
    'del',
    'patch',
    'put',
    'head',
    'connect',
    'trace',
    'any',
    'ws',
    'listen',
    'listen_unix',
    'publish',
    'numSubscribers',
    'close',
    'addServerName',
    'removeServerName',
    'missingServerName',
    'domain',
  ];
  for (const name of methods) assert.equal(typeof app[name], 'function', name);
});

it(
  'an app has the newer methods',
  needs('filter and descriptors', typeof uWS.App().filter === 'function'),
  () => {
    const app = uWS.App();
    for (const name of ['filter', 'getDescriptor', 'addChildAppDescriptor', 'removeChildAppDescriptor'])
      assert.equal(typeof app[name], 'function', name);
  },
);

const CONSTANTS = {
  DISABLED: 0,
  SHARED_COMPRESSOR: 1,
  SHARED_DECOMPRESSOR: 256,
  DEDICATED_COMPRESSOR_3KB: 145,
  DEDICATED_COMPRESSOR_4KB: 146,
  DEDICATED_COMPRESSOR_8KB: 163,
  DEDICATED_COMPRESSOR_16KB: 180,
  DEDICATED_COMPRESSOR_32KB: 197,
  DEDICATED_COMPRESSOR_64KB: 214,
  DEDICATED_COMPRESSOR_128KB: 231,
  DEDICATED_COMPRESSOR_256KB: 248,
  DEDICATED_COMPRESSOR: 248,
  DEDICATED_DECOMPRESSOR_512B: 2304,
  DEDICATED_DECOMPRESSOR_1KB: 2560,
  DEDICATED_DECOMPRESSOR_2KB: 2816,
  DEDICATED_DECOMPRESSOR_4KB: 3072,
  DEDICATED_DECOMPRESSOR_8KB: 3328,
  DEDICATED_DECOMPRESSOR_16KB: 3584,
  DEDICATED_DECOMPRESSOR_32KB: 3840,
  DEDICATED_DECOMPRESSOR: 3840,
  LIBUS_LISTEN_EXCLUSIVE_PORT: 1,
};

for (const [name, value] of Object.entries(CONSTANTS)) {
  it(`constant ${name}`, () => assert.equal(uWS[name], value));
}

it('LIBUS_LISTEN_DEFAULT is what the types promise', () => {
  assert.equal(
    uWS.LIBUS_LISTEN_DEFAULT,
    differs('listen-default-constant', { original: undefined, ours: 0 }),
  );
});

it('a compressor and a decompressor combine with |', () => {
  const both = uWS.DEDICATED_COMPRESSOR_4KB | uWS.DEDICATED_DECOMPRESSOR_2KB;
  assert.equal(both & 0xff, uWS.DEDICATED_COMPRESSOR_4KB);
  assert.equal(both & 0xff00, uWS.DEDICATED_DECOMPRESSOR_2KB);
});

it('functions of the module', () => {
  const names = [
    'us_listen_socket_close',
    'us_socket_local_port',
    'getParts',
    '_cfg',
    'getString',
    'setString',
    'getInteger',
    'setInteger',
    'incInteger',
    'getStringKeys',
    'getIntegerKeys',
    'deleteString',
    'deleteInteger',
    'deleteStringCollection',
    'deleteIntegerCollection',
    'lock',
    'unlock',
  ];
  for (const name of names) assert.equal(typeof uWS[name], 'function', name);
});

it('DeclarativeResponse is a class', needs('DeclarativeResponse', uWS.DeclarativeResponse), () => {
  assert.equal(typeof uWS.DeclarativeResponse, 'function');
  const { DeclarativeResponse } = uWS;
  assert.ok(new DeclarativeResponse().writeHeader('a', 'b').end('c') instanceof ArrayBuffer);
});

it(
  'the ESM wrapper has the module as default export and re-exports every name',
  {
    skip: overTls
      ? 'over TLS App is a wrapper'
      : ours || v57
        ? false
        : 'the 20.30 package is no original package',
  },
  async () => {
    const run = await child(async (support) => {
      const path = require('node:path');
      const { pathToFileURL } = require('node:url');
      const entry = require.resolve(support.modulePath());
      const wrapper = support.ours
        ? await import(pathToFileURL(path.join(support.modulePath(), 'index.mjs')))
        : await import(pathToFileURL(path.join(entry, '../ESM_wrapper.mjs')));
      const missing = Object.keys(support.uWS).filter((name) => !(name in wrapper));
      console.log(JSON.stringify({ same: wrapper.default === support.uWS, missing }));
    });
    const { same, missing } = JSON.parse(run.stdout);
    assert.equal(same, true);
    assert.equal(
      missing.includes('DeclarativeResponse'),
      differs('esm-all-names', { original: true, ours: false }),
    );
    assert.equal(missing.includes('getParts'), differs('esm-all-names', { original: true, ours: false }));
    if (ours) assert.deepEqual(missing, []);
  },
);

it('us_socket_local_port of a listen socket', () => {
  const app = uWS.App();
  let port;
  app.listen(0, (token) => {
    port = uWS.us_socket_local_port(token);
  });
  assert.ok(Number.isInteger(port) && port > 0 && port < 65536, String(port));
  app.close();
});

it('getParts takes a multipart body apart', () => {
  const body = [
    '--XX',
    'Content-Disposition: form-data; name="field"',
    '',
    'value',
    '--XX',
    'Content-Disposition: form-data; name="up"; filename="a.txt"',
    'Content-Type: text/plain',
    '',
    'line 1\r\nline 2',
    '--XX--',
    '',
  ].join('\r\n');
  const parts = uWS.getParts(body, 'multipart/form-data; boundary=XX');
  assert.equal(parts.length, 2);
  assert.equal(parts[0].name, 'field');
  assert.ok(parts[0].data instanceof ArrayBuffer);
  assert.equal(text(parts[0].data), 'value');
  assert.equal(parts[0].filename, undefined);
  assert.equal(parts[0].type, undefined);
  assert.deepEqual(
    [parts[1].name, parts[1].filename, parts[1].type, text(parts[1].data)],
    ['up', 'a.txt', 'text/plain', 'line 1\r\nline 2'],
  );
});

it('getParts accepts any recognized data', () => {
  const body = Buffer.from('--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n--b--\r\n');
  assert.equal(text(uWS.getParts(body, 'multipart/form-data; boundary=b')[0].data), '1');
});

it('getParts of another content type is undefined', () => {
  assert.equal(uWS.getParts('a=1', 'application/x-www-form-urlencoded'), undefined);
  assert.equal(uWS.getParts('{}', 'application/json'), undefined);
});

const PARTS = [
  [
    'an empty part',
    '--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n--b--',
    'multipart/form-data; boundary=b',
    [['a', '']],
  ],
  [
    'an unquoted name',
    '--b\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--b--',
    'multipart/form-data; boundary=b',
    [['a', '1']],
  ],
  [
    'another multipart type',
    '--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--b--',
    'multipart/mixed; boundary=b',
    [['a', '1']],
  ],
  ['no part', '--b--\r\n', 'multipart/form-data; boundary=b', []],
  ['an empty body', '', 'multipart/form-data; boundary=b', []],
  [
    'a part without its end',
    '--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1',
    'multipart/form-data; boundary=b',
    [],
  ],
];
for (const [name, body, type, expected] of PARTS) {
  it(`getParts: ${name}`, () => {
    assert.deepEqual(
      uWS.getParts(body, type).map((part) => [part.name, text(part.data)]),
      expected,
    );
  });
}

it('getParts: binary data stays as it is', () => {
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
  const body = Buffer.concat([
    Buffer.from(
      '--bound\r\nContent-Disposition: form-data; name="f"; filename="b.bin"\r\nContent-Type: application/octet-stream\r\n\r\n',
    ),
    bytes,
    Buffer.from('\r\n--bound--\r\n'),
  ]);
  const [part] = uWS.getParts(body, 'multipart/form-data; boundary=bound');
  assert.ok(Buffer.from(part.data).equals(bytes));
});

it('the key-value helpers keep strings and integers apart', () => {
  const to = `c${process.pid}`;
  assert.equal(uWS.getInteger('missing', to), 0);
  assert.equal(text(Buffer.from(uWS.getString('missing', to))), '');
  uWS.setInteger('n', 41, to);
  assert.equal(uWS.incInteger('n', 1, to), 42);
  assert.equal(uWS.getInteger('n', to), 42);
  uWS.setString('s', 'text', to);
  assert.equal(text(Buffer.from(uWS.getString('s', to))), 'text');
});

it('_cfg accepts a key and does not throw', () => {
  assert.doesNotThrow(() => uWS._cfg('unknown'));
});

it('SNI methods of App return the app and do nothing', async (t) => {
  const server = serve(t, (app) => {
    assert.equal(app.addServerName('example.org', {}), app);
    assert.equal(
      app.missingServerName(() => {}),
      app,
    );
    assert.equal(app.removeServerName('example.org'), app);
    assert.equal(app.domain('example.org'), app);
    assert.equal(
      app.get('/*', (res) => {
        res.end('served');
      }),
      app,
    );
  });
  assert.equal((await server.once(get('/'))).body, 'served');
});

it('SSLApp with files that are not there throws', () => {
  assert.throws(
    () => uWS.SSLApp({ key_file_name: 'no-such.key', cert_file_name: 'no-such.crt' }),
    (error) => error instanceof Error && /^App construction failed/.test(error.message),
  );
});
