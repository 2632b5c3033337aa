'use strict';

// HTTP/1.1 over kept-alive connections.

const MIB = 1024 * 1024;
const HELLO = 'Hello World!';

/** What servers/http.js answers to the generator's JSON body of this size. */
const jsonAnswer = (size) => {
  const empty = '{"id":12345,"tags":["a","b"],"text":""}';
  return JSON.stringify({ id: 12345, tags: 2, length: size - empty.length });
};

const http = (name, about, load, rest) => ({
  name: `http/${name}`,
  about,
  server: 'http.js',
  load: ['http', load],
  unit: 'request',
  ...rest,
});

const hello = [1, 10, 16].map((pipeline) =>
  http(
    `hello-c64-p${pipeline}`,
    `GET of "${HELLO}", 64 connections, ${pipeline} in flight each`,
    { connections: 64, pipeline, 'expect-body': HELLO },
    { raw: 'http' },
  ),
);

const bulk = (name, about, direction, load, options) =>
  http(name, about, { connections: 1, ...load }, { unit: 'MiB', direction, options });

module.exports = [
  ...hello,
  http(
    'declared-c64-p1',
    'a DeclarativeResponse, 64 connections; the plain handler where a server has none',
    { connections: 64, path: '/declared', 'expect-body': HELLO },
    { raw: 'http' },
  ),
  http('json-1KiB', 'POST of 1 KiB JSON, parsed, answered with JSON, 64 connections', {
    connections: 64,
    path: '/json',
    'json-body': 1024,
    'expect-body': jsonAnswer(1024),
  }),
  http('static-64KiB', 'GET of 64 KiB from memory, 16 connections', {
    connections: 16,
    path: '/static',
    'expect-length': 64 * 1024,
    'expect-pattern': true,
  }),
  bulk(
    'download-100MiB',
    'GET of 100 MiB by tryEnd and onWritable, 1 connection',
    'down',
    { path: '/download', 'expect-length': 100 * MIB, 'expect-pattern': true },
    { download: 100 * MIB },
  ),
  bulk('upload-100MiB', 'POST of 100 MiB read by onData, 1 connection', 'up', {
    path: '/upload',
    'body-size': 100 * MIB,
    'expect-body': String(100 * MIB),
  }),
];
