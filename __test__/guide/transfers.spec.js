'use strict';
// Uploads to the disk, downloads and server-sent events: every byte, slow readers, clients that leave.

const fs = require('node:fs');
const path = require('node:path');
const { LINUX, assert, bytes, get, hash, it, post, request, sleep, start, until } = require('./support');

const MIB = 1024 * 1024;

/** A disk that a test can halt (`halted` beside the program) and fill (`full`). */
const DISK = `
const fs = require('fs');
const write = fs.write;
fs.write = function (fd, ...rest) {
  const attempt = () => {
    if (fs.existsSync('full')) return rest.at(-1)(Object.assign(new Error('no space left'), { code: 'ENOSPC' }));
    if (fs.existsSync('halted')) return setTimeout(attempt, 5);
    write.call(fs, fd, ...rest);
  };
  attempt();
};`;

/** The files of the folder of uploads. */
const stored = (program) => fs.readdirSync(program.file('uploads'));
const chunked = (data) =>
  Buffer.concat([Buffer.from(`${data.length.toString(16)}\r\n`), data, Buffer.from('\r\n')]);
const CHUNKED = request('POST', '/upload', ['Transfer-Encoding: chunked']);

/** Waits until a number has not changed for a while, and returns it. */
async function settled(read, milliseconds = 300) {
  for (let last = read(), since = Date.now(); ;) {
    await sleep(20);
    const now = read();
    if (now !== last) [last, since] = [now, Date.now()];
    else if (Date.now() - since > milliseconds) return now;
  }
}

/** The bytes that the process has read so far, from files and sockets. */
const readBy = (program) =>
  Number(/^rchar: (\d+)/m.exec(fs.readFileSync(`/proc/${program.pid}/io`, 'utf8'))[1]);

it('upload: several at once, whole and in chunks, byte for byte', async (t) => {
  const program = await start(t, 'upload.mjs');
  const uploads = [0, 1, 100_000, 5 * MIB, 9 * MIB + 7].map((size, at) => bytes(size, at + 1));
  await Promise.all(
    uploads.map(async (data, at) => {
      const peer = await program.connect();
      if (at % 2) await peer.send(request('POST', '/upload', [`Content-Length: ${data.length}`]));
      else await peer.send(CHUNKED);
      if (at % 2 === 0 && data.length) peer.socket.write(chunked(data));
      peer.socket.write(at % 2 ? data : '0\r\n\r\n');
      const answer = await peer.response();
      assert.equal(answer.code, 201);
      const { id } = JSON.parse(answer.body);
      assert.equal(hash(fs.readFileSync(program.file(path.join('uploads', id)))), hash(data));
      // The connection goes on.
      assert.equal((await peer.request(post('/upload', 'again'))).code, 201);
      peer.destroy();
    }),
  );
  assert.equal(stored(program).length, 2 * uploads.length);
  assert.ok(stored(program).every((name) => !name.endsWith('.part')));
});

it('upload: a disk that stands still holds the client, not its bytes', LINUX, async (t) => {
  const program = await start(t, 'upload.mjs', { preload: DISK });
  const data = bytes(64 * MIB);
  fs.writeFileSync(program.file('halted'), '');
  const before = program.resident();
  const peer = await program.connect();
  await peer.send(request('POST', '/upload', [`Content-Length: ${data.length}`]));
  // Piece by piece: `sent` is what the kernel has taken.
  let sent = 0;
  (async () => {
    for (; sent < data.length; sent += MIB) {
      await new Promise((resolve) => peer.socket.write(data.subarray(sent, sent + MIB), resolve));
    }
  })();
  const taken = await settled(() => sent);
  assert.ok(taken < 24 * MIB, `the client has sent ${taken / MIB} MiB to a disk that takes nothing`);
  assert.ok(program.resident() - before < 24 * MIB, `${(program.resident() - before) / MIB} MiB more`);
  fs.rmSync(program.file('halted'));
  const answer = await peer.response();
  const { id } = JSON.parse(answer.body);
  assert.equal(hash(fs.readFileSync(program.file(path.join('uploads', id)))), hash(data));
  peer.destroy();
});

it('upload: nothing is left of one that is broken off, too large, or meets a full disk', LINUX, async (t) => {
  const program = await start(t, 'upload.mjs', { preload: DISK, env: { LIMIT: String(MIB) } });
  const begun = await Promise.all([1, 2, 3].map(() => program.connect()));
  for (const peer of begun) await peer.send(post('/upload', 'x'.repeat(MIB)).slice(0, 500_000));
  await until(() => stored(program).length === 3 && program.openFiles().length === 3);
  for (const [at, peer] of begun.entries())
    at === 0 ? peer.destroy() : at === 1 ? peer.reset() : peer.halfClose();
  await until(() => stored(program).length === 0 && program.openFiles().length === 0);
  assert.doesNotMatch(program.output, /rror/);
  for (const peer of begun) peer.destroy();

  const announced = await program.connect();
  await announced.send(request('POST', '/upload', [`Content-Length: ${MIB + 1}`]));
  assert.equal((await announced.response()).code, 413);
  const streamed = await program.connect();
  await streamed.send(CHUNKED);
  streamed.socket.write(chunked(bytes(MIB + 1)));
  assert.equal((await streamed.response()).code, 413);
  await until(() => stored(program).length === 0);

  fs.writeFileSync(program.file('full'), '');
  const full = await fetch(program.url('/upload'), { method: 'POST', body: bytes(300_000) });
  assert.deepEqual([full.status, await full.json()], [500, { error: 'It could not be stored' }]);
  assert.deepEqual(stored(program), []);
  fs.rmSync(program.file('full'));
  assert.equal((await fetch(program.url('/upload'), { method: 'POST', body: bytes(300_000) })).status, 201);
  for (const peer of [announced, streamed]) peer.destroy();
});

const VIDEO = bytes(48 * MIB, 7);
const videos = (t, more = {}) =>
  start(t, 'download.mjs', {
    files: { 'videos/film.mp4': VIDEO, 'videos/empty.mp4': '', 'secret.mp4': 's', ...more },
  });

it('download: a client that does not read holds one chunk, and gets every byte later', LINUX, async (t) => {
  const program = await videos(t);
  const before = program.resident();
  const peer = await program.connect();
  peer.pause();
  await peer.send(get('/videos/film.mp4'));
  const read = () => readBy(program);
  const atFirst = read();
  await settled(read);
  assert.ok(read() - atFirst < 24 * MIB, `${(read() - atFirst) / MIB} MiB were read of the file`);
  assert.ok(program.resident() - before < 24 * MIB, `${(program.resident() - before) / MIB} MiB more`);
  const quick = await fetch(program.url('/videos/film.mp4'));
  assert.equal(hash(Buffer.from(await quick.arrayBuffer())), hash(VIDEO), 'others are not held up');
  peer.resume();
  const answer = await peer.response();
  assert.deepEqual([answer.code, answer.get('content-length')], [200, String(VIDEO.length)]);
  assert.equal(hash(answer.raw), hash(VIDEO));
  await until(() => program.openFiles().length === 0);
  peer.destroy();
});

it('download: ranges, 416, If-Range, HEAD and 404', async (t) => {
  const film = VIDEO.subarray(0, 5 * MIB + 3);
  const program = await videos(t, { 'videos/film.mp4': film });
  const size = film.length;
  const ask = async (headers, target = '/videos/film.mp4', method = 'GET') => {
    const peer = await program.connect();
    const answer = await peer.request(request(method, target, headers), { head: method === 'HEAD' });
    peer.destroy();
    return answer;
  };
  const parts = [
    ['0-0', 0, 1],
    ['0-1023', 0, 1024],
    ['1000000-3000000', 1_000_000, 3_000_001],
    [`${size - 5}-`, size - 5, size],
    ['-7', size - 7, size],
    [`100-${size * 2}`, 100, size],
  ];
  await Promise.all(
    parts.map(async ([range, from, to]) => {
      const answer = await ask([`Range: bytes=${range}`]);
      const span = [206, `bytes ${from}-${to - 1}/${size}`];
      assert.deepEqual([answer.code, answer.get('content-range')], span, range);
      assert.equal(hash(answer.raw), hash(film.subarray(from, to)), range);
    }),
  );
  for (const range of [`${size}-`, '-0', `${size + 9}-${size + 10}`]) {
    const answer = await ask([`Range: bytes=${range}`]);
    assert.deepEqual([answer.code, answer.get('content-range')], [416, `bytes */${size}`], range);
  }
  for (const ignored of ['items=0-1', 'bytes=5-2', 'bytes=0-1,5-6', 'bytes=-', 'bytes=a-b']) {
    const answer = await ask([`Range: ${ignored}`], '/videos/film.mp4', 'HEAD');
    assert.deepEqual([answer.code, answer.get('content-range')], [200, undefined], ignored);
    assert.equal((await ask([`Range: ${ignored}`])).raw.length, size, ignored);
  }
  const etag = (await ask([], '/videos/film.mp4', 'HEAD')).get('etag');
  assert.equal((await ask([`If-Range: ${etag}`, 'Range: bytes=1-2'])).raw.length, 2);
  assert.equal((await ask(['If-Range: "old"', 'Range: bytes=1-2'])).code, 200);

  const head = await ask(['Range: bytes=0-1'], '/videos/film.mp4', 'HEAD');
  assert.deepEqual([head.code, head.get('content-length')], [200, String(size)]);
  const empty = await ask([], '/videos/empty.mp4');
  assert.deepEqual([empty.code, empty.get('content-length')], [200, '0']);
  assert.equal((await ask(['Range: bytes=0-'], '/videos/empty.mp4')).code, 416);
  for (const name of ['none.mp4', '..%2fsecret.mp4', '.hidden.mp4', 'film.mp4%00', 'film.txt'])
    assert.equal((await ask([], `/videos/${name}`)).code, 404, name);
  assert.equal((await ask([], '/videos/../secret.mp4')).code, 404);
});

it('download: those who leave leave no open file, and a file that shrinks is cut', LINUX, async (t) => {
  const program = await videos(t);
  const peers = await Promise.all(Array.from({ length: 6 }, () => program.connect()));
  for (const peer of peers) {
    peer.pause();
    await peer.send(get('/videos/film.mp4'));
  }
  await until(() => program.openFiles().length === 6);
  peers.forEach((peer, at) => (at % 2 ? peer.reset() : peer.destroy()));
  await until(() => program.openFiles().length === 0);
  assert.equal(program.output.trim().split('\n').length, 1, program.output);

  const peer = await program.connect();
  peer.pause();
  await peer.send(get('/videos/film.mp4'));
  await until(() => program.openFiles().length === 1);
  await settled(() => readBy(program)); // by then the length has been announced
  fs.truncateSync(program.file('videos/film.mp4'), 1000);
  peer.resume();
  await peer.gone();
  assert.ok(peer.size < VIDEO.length, 'the connection ends before the announced length');
  await program.prints(/The file has become shorter/);
  assert.equal((await fetch(program.url('/videos/film.mp4'))).status, 200, 'and the program goes on');
});

/** A client of server-sent events, which reads as long as it is not paused. */
async function listener(program, last) {
  const peer = await program.connect();
  await peer.send(get('/events', last === undefined ? [] : [`Last-Event-ID: ${last}`]));
  const head = await peer.head();
  assert.deepEqual([head.code, head.get('content-type')], [200, 'text/event-stream']);
  peer.rest = '';
  /** The next event, without comments and fields of the connection. */
  peer.event = async () => {
    for (;;) {
      const end = peer.rest.indexOf('\n\n');
      if (end < 0) {
        const size = parseInt(await peer.until('\r\n'), 16);
        peer.rest += (await peer.take(size)).toString();
        await peer.take(2);
        continue;
      }
      const fields = new Map(
        peer.rest
          .slice(0, end)
          .split('\n')
          .map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()]),
      );
      peer.rest = peer.rest.slice(end + 2);
      if (!fields.has('data')) continue;
      return { id: Number(fields.get('id')), event: fields.get('event'), ...JSON.parse(fields.get('data')) };
    }
  };
  return peer;
}
/** Prints how much memory is used for which purpose when it is asked by SIGUSR2. */
const FIGURES = `
process.on('SIGUSR2', () => {
  console.log('memory ' + JSON.stringify(require('uWebSockets.js').stats().memory) + ' of now');
});`;
async function figures(program) {
  program.child.kill('SIGUSR2');
  return JSON.parse((await program.prints(/memory (\{.*\}) of now/))[1]);
}

const say = async (program, text) => {
  const { status } = await fetch(program.url('/messages'), { method: 'POST', body: text });
  assert.equal(status, 204);
};

it('sse: every client, those who come back, and those who come back too late', async (t) => {
  const program = await start(t, 'sse.mjs');
  const [one, two] = [await listener(program), await listener(program)];
  await say(program, 'first\nof two lines');
  for (const each of [one, two])
    assert.deepEqual(await each.event(), {
      id: 1,
      event: 'message',
      text: 'first\nof two lines',
      clients: 2,
    });
  two.reset();
  for (let at = 2; at <= 5; at++) await say(program, `m${at}`);
  for (let at = 2; at <= 5; at++) assert.equal((await one.event()).text, `m${at}`);
  const back = await listener(program, 1);
  for (let at = 2; at <= 5; at++) assert.equal((await back.event()).id, at);
  for (let clients = 3; clients !== 2;) {
    await say(program, 'count'); // until the server has heard that one of them is gone
    ({ clients } = await one.event());
  }

  for (let at = 0; at < 150; at++) await say(program, `n${at}`);
  const late = await listener(program, 2);
  assert.equal((await late.event()).event, 'gap');
  const ids = [];
  while (ids.length < 100) ids.push((await late.event()).id);
  assert.deepEqual(
    ids,
    Array.from(ids, (_, at) => ids[0] + at),
    'no event is left out or comes twice',
  );
  const foreign = await listener(program, 999_999);
  assert.equal((await foreign.event()).event, 'gap');
  assert.equal((await foreign.event()).id, ids[0]);
  for (const each of [one, back, late, foreign]) each.destroy();
});

it('sse: a client that does not read costs no memory, and is told of its gap', LINUX, async (t) => {
  const program = await start(t, 'sse.mjs', { preload: FIGURES });
  const [slow, quick] = [await listener(program), await listener(program)];
  slow.pause();
  const text = 'x'.repeat(60 * 1024);
  const seen = [];
  const reading = (async () => {
    while (seen.length < 600) seen.push((await quick.event()).id);
  })();
  for (let at = 0; at < 600; at++) await say(program, text);
  await reading;
  assert.deepEqual(
    seen,
    Array.from({ length: 600 }, (_, at) => at + 1),
  );
  const { unsent } = await figures(program);
  assert.ok(unsent < 4 * MIB, `600 events of 60 KiB: ${unsent / MIB} MiB wait for one client`);
  slow.resume();
  const got = [];
  for (let gap = false; got.at(-1)?.id !== 600;) {
    const event = await slow.event();
    if (event.event === 'gap') gap = true;
    else got.push({ ...event, gap });
  }
  assert.ok(got.at(-1).gap, 'it was told');
  const after = got.filter(({ gap }) => gap).map(({ id }) => id);
  assert.deepEqual(
    after,
    Array.from(after, (_, at) => after[0] + at),
  );
  assert.equal(after.length, 100);
  for (const each of [slow, quick]) each.destroy();
});
