'use strict';

// Writes seeds of the fuzz targets into fuzz/seeds: the bytes of real clients (Node's http, https and net,
// curl, ws), recorded on loopback, and the numbers that the targets expect behind them. The other files there
// are some of the inputs by which the fuzzer has reached the most (`npm run fuzz -- <target> --minimise`).
//
//   node fuzz/seeds.js

const { execFile } = require('node:child_process');
const fs = require('node:fs');
const http = require('node:http');
const net = require('node:net');
const path = require('node:path');
const tls = require('node:tls');
const zlib = require('node:zlib');
const { WebSocket } = require('ws');

const SEEDS = path.join(__dirname, 'seeds');

/** Numbers stand behind the stream, the first one last. */
function withNumbers(stream, ...numbers) {
  return Buffer.concat([Buffer.from(stream), Buffer.from(numbers.reverse())]);
}

function save(target, name, bytes) {
  fs.mkdirSync(path.join(SEEDS, target), { recursive: true });
  fs.writeFileSync(path.join(SEEDS, target, name), bytes);
}

/** Records what a client sends to a server that answers with `answer` as soon as it gets something. */
async function record(client, answer = '') {
  const pieces = [];
  const server = net.createServer((socket) => {
    socket.on('data', (data) => {
      pieces.push(data);
      if (answer !== '') socket.write(answer);
    });
    socket.on('error', () => {});
    setTimeout(() => socket.destroy(), 400);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  await client(server.address().port);
  await new Promise((resolve) => setTimeout(resolve, 500));
  server.close();
  return Buffer.concat(pieces);
}

function request(options, ...body) {
  return (port) => {
    const sent = http.request({ host: '127.0.0.1', port, agent: false, ...options });
    sent.on('error', () => {});
    for (const chunk of body) sent.write(chunk);
    sent.end();
  };
}

function curl(...options) {
  return (port) => {
    execFile('curl', ['-sm', '1', ...options, `http://127.0.0.1:${port}/curl?q=%20a+b&c`], () => {});
  };
}

async function requests() {
  const upgrade = { connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': 13 };
  const key = { 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==', 'sec-websocket-protocol': 'a, b' };
  const clients = {
    get: request({ path: '/a/b?x=1&y=%20' }),
    head: request({ method: 'HEAD', headers: { 'x-empty': '', cookie: 'a=b; c=d' } }),
    length: request({ method: 'POST', path: '/post', headers: { 'content-length': 5 } }, 'hello'),
    chunked: request({ method: 'PUT', headers: { 'transfer-encoding': 'chunked' } }, 'hello', ' world', '!'),
    expect: request({ method: 'POST', headers: { expect: '100-continue', 'content-length': 2 } }, 'ok'),
    upgrade: request({ path: '/ws', headers: { ...upgrade, ...key } }),
    options: request({ method: 'OPTIONS', path: '*' }),
    absolute: request({ path: 'http://example.org:80/p?q', headers: { connection: 'close' } }),
    curl: curl('-H', 'X-Forwarded-For: 10.0.0.1, ::1'),
    'curl-form': curl('-F', 'a=b', '-F', 'file=@package.json;type=text/plain'),
    'curl-old': curl('--http1.0', '-d', 'a=b&c=d'),
    'curl-chunked': curl('-H', 'Transfer-Encoding: chunked', '-d', 'hello'),
  };
  const recorded = {};
  for (const [name, client] of Object.entries(clients)) {
    const bytes = await record(client);
    recorded[name] = bytes;
    const end = bytes.indexOf('\r\n\r\n') + 4;
    if (end < 4) throw new Error(`${name} sent no request`);
    save('http_head', name, withNumbers(bytes.subarray(0, end), 0, 3, 1, 20, 200));
    save('http_head', `${name}-limits`, withNumbers(bytes.subarray(0, end), 235, 0));
    save('events', name, Buffer.concat([Buffer.from([1]), withNumbers(bytes, 2, 1, 1, 2, 0)]));
    const body = bytes.subarray(end);
    if (body.length > 0 && body.length < 3000) save('http_body', name, withNumbers(body, 0, 3, 1, 2, 3));
    const [, type] = /content-type: (.*)\r\n/i.exec(bytes.toString('latin1')) ?? [];
    if (type?.startsWith('multipart/')) save('multipart', name, withNumbers(`${type}\n${body}`, 2, 9, 200));
  }
  save(
    'http_body',
    'extensions',
    withNumbers('5;a=b;c="d; e"\r\nhello\r\n0;x\r\nA: b\r\nC:\r\n\r\n', 0, 2, 4, 9),
  );
  save('http_body', 'length', withNumbers('hello', 202 + 5, 1, 2));
  return recorded;
}

/** Frames of the client of the package ws: text, binary, fragments, pings and a close. */
async function frames() {
  for (const compressed of [false, true]) {
    const bytes = await record((port) => {
      const options = { perMessageDeflate: compressed && { threshold: 0 } };
      const client = new WebSocket(`ws://127.0.0.1:${port}/`, options);
      // The answer of the recording server is no handshake; the frames are written all the same.
      client.on('error', () => {});
    });
    save('http_head', `ws-${compressed}`, withNumbers(bytes, 0, 2, 7, 100));
  }
  const sender = new WebSocket.Sender(sink(), {});
  const pieces = [];
  function sink() {
    return { cork() {}, uncork() {}, write: (data) => pieces.push(Buffer.from(data)) };
  }
  const options = { fin: true, mask: true, binary: false, compress: false };
  sender.send('Hello', options);
  sender.send(Buffer.alloc(200, 7), { ...options, binary: true });
  sender.send('äö', { ...options, fin: false });
  sender.ping(Buffer.from('ping'), true);
  sender.send('ü€😀', options);
  sender.pong(Buffer.alloc(0), true);
  sender.send(Buffer.alloc(70_000, 1).subarray(0, 300), { ...options, binary: true });
  sender.close(1000, 'bye', true);
  const stream = Buffer.concat(pieces);
  save('websocket', 'session', withNumbers(stream, 255, 3, 5, 1, 7, 100, 2, 30));
  // The other half of the target reads its numbers in front.
  save('websocket', 'session-front', Buffer.concat([Buffer.from([0x80, 255, 3, 1, 7, 60]), stream]));
  const deflated = zlib.deflateRawSync('Hello, hello', { finishFlush: zlib.constants.Z_SYNC_FLUSH });
  const message = Buffer.concat([Buffer.from([0xc1, 0x80 | deflated.length, 0, 0, 0, 0]), deflated]);
  save('websocket', 'compressed', Buffer.concat([Buffer.from([0x81, 255, 1, 3]), message]));
  return stream;
}

async function hellos() {
  const names = ['a.example', 'xn--bcher-kva.example', 'A.Example'];
  const ciphers = [
    'TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256',
    'ECDHE-RSA-CHACHA20-POLY1305:ECDHE-RSA-AES128-GCM-SHA256',
  ];
  for (const [index, options] of [
    { servername: names[0] },
    { servername: names[1], ciphers: ciphers[0] },
    { servername: names[2], ciphers: ciphers[1], maxVersion: 'TLSv1.2' },
    { ALPNProtocols: ['http/1.1', 'h2'] },
  ].entries()) {
    const hello = await record((port) => {
      tls.connect({ port, host: '127.0.0.1', ...options }).on('error', () => {});
    });
    save('client_hello', `node-${index}`, withNumbers(hello, 2, 3, 100));
    if (index === 0) save('client_hello', 'records', withNumbers(inRecords(hello, 150), 2, 7, 160));
  }
}

/** A handshake message in records of at most so many bytes. */
function inRecords(record_, length) {
  const records = [];
  for (let at = 5; at < record_.length; at += length) {
    const part = record_.subarray(at, Math.min(at + length, record_.length));
    records.push(Buffer.from([22, 3, 1, part.length >> 8, part.length & 255]), part);
  }
  return Buffer.concat(records);
}

function proxies() {
  const lines = {
    tcp4: 'PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\nGET / HTTP/1.1\r\n',
    tcp6: 'PROXY TCP6 2001:db8::1 ::ffff:192.0.2.1 56324 443\r\n',
    unknown: 'PROXY UNKNOWN ffff::1 ::1 1 2\r\n',
  };
  for (const [name, line] of Object.entries(lines)) save('proxy', name, withNumbers(line, 2, 6, 20));
  const signature = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
  const binary = (command, family, payload) =>
    Buffer.concat([
      signature,
      Buffer.from([command, family, payload.length >> 8, payload.length & 255]),
      payload,
    ]);
  const bytes = (length) => Buffer.from(Array.from({ length }, (_, at) => at * 7));
  save('proxy', 'binary4', withNumbers(binary(0x21, 0x11, bytes(12)), 1, 13));
  save(
    'proxy',
    'binary6',
    withNumbers(binary(0x21, 0x21, Buffer.concat([bytes(36), Buffer.from([3, 0, 4, 1, 2, 3, 4])])), 1, 13),
  );
  save('proxy', 'local', withNumbers(binary(0x20, 0x00, bytes(0)), 1, 13));
  save('proxy', 'unix', withNumbers(binary(0x21, 0x31, bytes(216)), 1, 13));
}

function forwarded() {
  const fields = {
    usual: 'x6.6.6.6, 192.0.2.1:4711 ,\t10.1.2.4\nx[2001:db9::7]:80,10.1.2.5',
    standard: 'ffor=6.6.6.6;proto=https, For="[2001:db9:cafe::17]:4711"; by=10.0.0.1\nffor=10.1.2.4',
    quoted: 'ffor=6.6.6.6;host="a,b;for=7.7.7.7\\"", for=192.0.2.1:_hidden, for=unknown',
    both: 'ffor=192.0.2.1\nx6.6.6.6, 192.0.2.1\noforwarded',
  };
  // The last two numbers choose the peer and the address of a PROXY header.
  for (const [name, lines] of Object.entries(fields)) save('forwarded', name, withNumbers(lines, 0, 9));
  save('forwarded', 'proxied', withNumbers(fields.usual, 5, 2));
}

function texts() {
  const json = fs.readFileSync(path.join(__dirname, '..', 'package.json')).subarray(0, 1500);
  // Compressor, repetitions, level, limit, then the pieces.
  save('deflate', 'json', withNumbers(json, 0, 1, 6, 200, 3, 255, 100, 255));
  save('deflate', 'json-context', withNumbers(json, 7, 0, 6, 200, 4, 255, 100, 255, 30));
  save('deflate', 'json-stream', withNumbers(json, 13, 3, 9, 200, 4, 255, 100, 255, 30));
  save('deflate', 'zeros', withNumbers(Buffer.alloc(600), 8, 6, 1, 200, 3, 1, 2, 100));
  const deflated = zlib.deflateRawSync(json, { finishFlush: zlib.constants.Z_SYNC_FLUSH });
  save('deflate', 'inflated', withNumbers(deflated, 6, 0, 3, 255, 0));
  const bomb = zlib.deflateRawSync(Buffer.alloc(1 << 20), { finishFlush: zlib.constants.Z_SYNC_FLUSH });
  save('deflate', 'bomb', withNumbers(bomb, 6, 0, 7, 255, 0));
  const golden = fs.readFileSync(path.join(__dirname, '..', 'testdata', 'multipart.txt'), 'utf8');
  const bodies = golden.split('\n').filter((line) => line.includes('\t') && !line.startsWith('#'));
  for (const [index, line] of bodies.slice(0, 12).entries()) {
    const [type, body] = line.split('\t');
    const escapes = { r: '\r', n: '\n', t: '\t', 0: '\0', '\\': '\\' };
    const unescaped = body.replaceAll(/\\(.)/g, (_, letter) => escapes[letter]);
    save('multipart', `golden-${index}`, withNumbers(`${type}\n${unescaped}`, 2, 50, 100));
  }
}

/** Pipelines, and a WebSocket; each calmly, and with short writes, signals and little room. */
function connections(recorded, frames) {
  const { get, head, length, chunked, expect, upgrade, options, absolute } = recorded;
  const streams = {
    pipeline: Buffer.concat([get, length, head, chunked, expect, options, get, absolute, get]),
    websocket: Buffer.concat([get, upgrade, frames]),
    broken: Buffer.concat([length, Buffer.from('GET / HTTP/1.1\r\nHost : a\r\n\r\n'), get]),
    ...recorded,
  };
  const calm = [0, 0, 0, 255, 7, 255, 7];
  const moody = [1, 1, 2, 90, 0, 20, 1];
  for (const [name, stream] of Object.entries(streams)) {
    save('connection', name, withNumbers(stream, ...calm, 0, 4, 1, 30, 100, 255));
    save('connection', `${name}-moody`, withNumbers(stream, ...moody, 4, 0, 2, 9, 17, 5, 3, 60, 1, 200, 90));
  }
}

async function main() {
  const recorded = await requests();
  connections(recorded, await frames());
  await hellos();
  proxies();
  forwarded();
  texts();
}

main();
