'use strict';

// WebSocket echo: the cost of one message, unpipelined (a wake per message) and pipelined (many per wake).

const SIZES = { '20B': 20, '1KiB': 1024, '16KiB': 16384 };

/** The trials that other kinds of servers run as well. */
const OTHERS = ['20B-c64-p1', '20B-c64-p16', '1KiB-c64-p1'];

/** One connection alone measures latency. */
const must = (connections, pipeline) => ({
  ...(connections === 1 && pipeline === 1 ? { p50: 1.5 } : { rate: 1 }),
  jsCpu: pipeline === 1 ? 0.15 : 0.5,
  cpu: 1,
  p99: 1.1,
});

const echo = (name, size, connections, pipeline) => ({
  name: `ws-echo/${name}`,
  about: `echo of ${size} B ${size > 20 ? 'binary' : 'text'}, ${connections} connections, ${pipeline} in flight each`,
  server: 'ws-echo.js',
  raw: 'ws-echo',
  load: ['ws-echo', { size, connections, pipeline, ...(size > 20 && { opcode: 'binary' }) }],
  must: must(connections, pipeline),
  others: OTHERS.includes(name),
});

module.exports = Object.entries(SIZES).flatMap(([label, size]) =>
  [1, 64, 1000].flatMap((connections) =>
    [1, 16].map((pipeline) => echo(`${label}-c${connections}-p${pipeline}`, size, connections, pipeline)),
  ),
);
