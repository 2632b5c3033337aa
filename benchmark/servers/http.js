'use strict';

// All HTTP trials. Options:
//
//   burn               microseconds of JavaScript work per hello
//   block              [busy, period]: the thread is busy that many milliseconds of every period
//   download           the size of the response of /download
//   backlog            the size of the response of /backlog; then the thread is busy for a while

const { PERIOD, pattern } = require('./pattern.js');
const { block, burn, counters, serve } = require('./support.js');

const hello = (work) => (res) => {
  counters.messages += 1;
  if (work) burn(work);
  res.end('Hello World!');
};

/** Parses a JSON body and answers with JSON about it. */
const json = (res) => {
  const chunks = [];
  res.onAborted(() => {});
  res.onData((chunk, isLast) => {
    // The memory of a chunk is lent for the time of the call.
    chunks.push(Buffer.from(isLast && chunks.length === 0 ? chunk : chunk.slice(0)));
    if (!isLast) return;
    counters.messages += 1;
    const { id, tags, text } = JSON.parse(Buffer.concat(chunks).toString());
    const answer = JSON.stringify({ id, tags: tags.length, length: text.length });
    res.cork(() => res.writeHeader('Content-Type', 'application/json').end(answer));
  });
};

const fixed = (body) => (res) => {
  counters.messages += 1;
  res.cork(() => {
    res
      .writeStatus('200 OK')
      .writeHeader('Content-Type', 'application/octet-stream')
      .writeHeader('ETag', '"1"')
      .end(body);
  });
};

/** Sends as much as the socket accepts, and goes on when it accepts more. */
const download = (body) => (res) => {
  counters.messages += 1;
  const [sent, done] = res.tryEnd(body, body.length);
  if (sent || done) return;
  res.onAborted(() => {});
  res.onWritable((offset) => res.tryEnd(body.subarray(offset), body.length)[0]);
};

/** Answers with the number of bytes, or with the position of a byte that is wrong. */
const upload = (res) => {
  let received = 0;
  let wrong = null;
  res.onAborted(() => {});
  res.onData((chunk, isLast) => {
    if (chunk.byteLength > 0 && new Uint8Array(chunk)[0] !== received % PERIOD) wrong ??= received;
    received += chunk.byteLength;
    if (!isLast) return;
    counters.messages += 1;
    res.end(wrong === null ? String(received) : `wrong at ${wrong}`);
  });
};

/** Sends more than the kernel accepts at once, and then waits for a while. */
const backlog = (body) => (res) => {
  counters.messages += 1;
  res.onAborted(() => {});
  res.end(body);
  setImmediate(burn, BACKLOG_BUSY_US);
};

const BACKLOG_BUSY_US = 50000;

serve((uWS, options) => {
  if (options.block) block(...options.block);
  const app = uWS
    .App()
    .get('/', hello(options.burn))
    .get('/static', fixed(pattern(64 * 1024)))
    .get('/download', download(pattern(options.download ?? 0)))
    .get('/backlog', backlog(Buffer.alloc(options.backlog ?? 0)))
    .post('/json', json)
    .post('/upload', upload);
  // Where there are no declarative responses a handler is used instead, so that the two can be compared.
  const declared = uWS.DeclarativeResponse && new uWS.DeclarativeResponse().end('Hello World!');
  app.get('/declared', declared ?? hello(options.burn));
  // 20.57 takes the options of a cached route, and aborts at its first request.
  if (app.invalidate === undefined) return app.get('/cached', hello(options.burn));
  return app.get('/cached', (res) => res.end('Hello World!'), { lowerExpiry: 600, upperExpiry: 600 });
});
