'use strict';
// getParts, with forms as the runtime itself writes them, and with bodies that the original does not split.

const { it, assert, uWS, ours, serve, post, text } = require('../support');

async function encoded(form) {
  const response = new Response(form);
  return { type: response.headers.get('content-type'), body: Buffer.from(await response.arrayBuffer()) };
}

it('a form with files of the runtime', async () => {
  const bytes = Buffer.from(Array.from({ length: 3000 }, (_, i) => i * 7));
  const form = new FormData();
  form.append('plain', 'grün 🌿');
  form.append('empty', '');
  form.append('file', new Blob([bytes], { type: 'application/x-bytes' }), 'ü 1.bin');
  form.append('file', new Blob(['--\r\n--\r\n\r\n']), 'b.txt');
  const { type, body } = await encoded(form);
  const parts = uWS.getParts(body, type);
  assert.deepEqual(
    parts.map(({ name, filename }) => [name, filename]),
    [
      ['plain', undefined],
      ['empty', undefined],
      ['file', 'ü 1.bin'],
      ['file', 'b.txt'],
    ],
  );
  assert.deepEqual(
    parts.map((part) => part.type),
    [undefined, undefined, 'application/x-bytes', 'application/octet-stream'],
  );
  assert.equal(Buffer.from(parts[0].data).toString(), 'grün 🌿');
  assert.equal(parts[1].data.byteLength, 0);
  assert.ok(Buffer.from(parts[2].data).equals(bytes));
  assert.equal(text(parts[3].data), '--\r\n--\r\n\r\n');
  for (const { data } of parts) assert.ok(data instanceof ArrayBuffer);
});

it('the parts are copies', async () => {
  const form = new FormData();
  form.append('a', 'before');
  const { type, body } = await encoded(form);
  const [part] = uWS.getParts(body, type);
  body.fill(0);
  assert.equal(text(part.data), 'before');
});

it('every kind of data, and a view of a larger buffer', async () => {
  const whole = '....--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n--b--\r\n....';
  const buffer = Uint8Array.from(Buffer.from(whole)).buffer;
  const type = 'multipart/form-data; boundary=b';
  const views = [
    whole.slice(4, -4),
    new Uint8Array(buffer, 4, whole.length - 8),
    buffer.slice(4, whole.length - 4),
  ];
  if (ours) views.push(new DataView(buffer, 4, whole.length - 8));
  for (const body of views) assert.equal(text(uWS.getParts(body, type)[0].data), '1');
  assert.throws(() => uWS.getParts({}, type), {
    message: 'Text and data can only be passed by String, ArrayBuffer or ArrayBufferView.',
  });
});

it('parts that the original leaves out', { skip: ours ? false : 'about ours' }, () => {
  const part = '--b\r\nContent-Disposition: form-data; name="a\\"b"\r\n\r\n--bc\r\n1\r\n--b--';
  for (const type of [
    'multipart/form-data; boundary="b"',
    'Multipart/Form-Data; charset=utf-8; Boundary=b; x=y',
  ]) {
    const [{ name, data }] = uWS.getParts(part, type);
    assert.deepEqual([name, text(data)], ['a"b', '--bc\r\n1']);
  }
  for (const type of [
    undefined,
    '',
    'multipart/form-data',
    'multipart/form-data; boundary=',
    'text/plain; boundary=b',
  ])
    assert.equal(uWS.getParts(part, type), undefined);
});

it('a body as the server receives it', async (t) => {
  const form = new FormData();
  form.append('field', 'value');
  const { type, body } = await encoded(form);
  const server = serve(t, (app) =>
    app.post('/*', (res, req) => {
      const contentType = req.getHeader('content-type');
      const chunks = [];
      res.onAborted(() => {});
      res.onData((chunk, last) => {
        chunks.push(Buffer.from(Buffer.from(chunk)));
        if (last)
          res.end(
            uWS
              .getParts(Buffer.concat(chunks), contentType)
              .map(({ name, data }) => `${name}=${text(data)}`)
              .join(),
          );
      });
    }),
  );
  assert.equal(
    (await server.once(post('/', body.toString('latin1'), [['Content-Type', type]]))).body,
    'field=value',
  );
});
