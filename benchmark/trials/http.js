'use strict';

// HTTP/1.1 over kept-alive connections.

const MIB = 1024 * 1024;
const BULK = 100 * MIB;
const HELLO = 'Hello World!';

/** The answer of servers/http.js to the generator's JSON body of this size. */
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

const PIPELINES = [1, 10];

const hello = [...PIPELINES, 16].map((pipeline) =>
  http(
    `hello-c64-p${pipeline}`,
    `GET of "${HELLO}", 64 connections, ${pipeline} in flight each`,
    { connections: 64, pipeline, 'expect-body': HELLO },
    { raw: 'http', must: { rate: 1, jsCpu: 0.2 }, others: true },
  ),
);

const json = PIPELINES.map((pipeline) =>
  http(
    `json-1KiB-c64-p${pipeline}`,
    `POST of 1 KiB JSON, parsed, answered with JSON, 64 connections, ${pipeline} in flight each`,
    { connections: 64, pipeline, path: '/json', 'json-body': 1024, 'expect-body': jsonAnswer(1024) },
    { must: { rate: 1 }, others: pipeline === 1 },
  ),
);

const fixed = PIPELINES.map((pipeline) =>
  http(
    `static-64KiB-c64-p${pipeline}`,
    `GET of 64 KiB from memory, 64 connections, ${pipeline} in flight each`,
    { connections: 64, pipeline, path: '/static', 'expect-length': 64 * 1024, 'expect-pattern': true },
    { raw: 'http', rawOptions: { body: 64 * 1024 }, must: { rate: 1 } },
  ),
);

/**
 * With many connections the requests under way at the end are not waited for: they were checked up to there.
 */
const bulk = (connections) => {
  const load = { connections, drain: connections === 1 };
  const rest = { unit: 'MiB', others: connections === 1, must: { rate: 1, jsCpu: 0.3 } };
  const where = connections === 1 ? '1 connection' : `${connections} connections`;
  return [
    http(
      `download-100MiB-c${connections}`,
      `GET of 100 MiB by tryEnd and onWritable, ${where}`,
      { ...load, path: '/download', 'expect-length': BULK, 'expect-pattern': true },
      { ...rest, direction: 'down', options: { download: BULK }, raw: 'http', rawOptions: { body: BULK } },
    ),
    http(
      `upload-100MiB-c${connections}`,
      `POST of 100 MiB read by onData, ${where}`,
      { ...load, path: '/upload', 'body-size': BULK, 'expect-body': String(BULK) },
      { ...rest, direction: 'up', raw: 'http', rawOptions: { upload: BULK } },
    ),
  ];
};

module.exports = [
  ...hello,
  ...json,
  ...fixed,
  ...bulk(1),
  ...bulk(64),
  http(
    'declared-c64-p1',
    'a DeclarativeResponse, 64 connections; the plain handler where a server has none',
    { connections: 64, path: '/declared', 'expect-body': HELLO },
    { raw: 'http', must: { rate: 1.3 }, onlyModules: true },
  ),
  http(
    'cached-c64-p1',
    'hits of a cached route, 64 connections; the plain handler where a server has none',
    { connections: 64, path: '/cached', 'expect-body': HELLO },
    { raw: 'http', must: { rate: 1.3 }, onlyModules: true },
  ),
];
