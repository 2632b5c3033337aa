'use strict';

// WebSocket echo: what one message costs, unpipelined (a wake per message) and pipelined (many per wake).

const echo = (name, about, load, rest = {}) => ({
  name: `ws-echo/${name}`,
  about,
  server: 'ws-echo.js',
  raw: 'ws-echo',
  load: ['ws-echo', load],
  ...rest,
});

const small = [1, 64, 1000].flatMap((connections) =>
  [1, 16].map((pipeline) =>
    echo(
      `20B-c${connections}-p${pipeline}`,
      `echo of 20 B text, ${connections} connections, ${pipeline} in flight each`,
      {
        size: 20,
        connections,
        pipeline,
      },
    ),
  ),
);

const large = [1024, 16384].map((size) =>
  echo(`${size / 1024}KiB-c64-p1`, `echo of ${size / 1024} KiB binary, 64 connections`, {
    size,
    connections: 64,
    opcode: 'binary',
  }),
);

module.exports = [...small, ...large];
