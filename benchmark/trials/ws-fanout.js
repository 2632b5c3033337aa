'use strict';

// One message to many. A unit is one delivery; the latency is that from sending until the last subscriber has
// it.

const fanout = (name, about, load, rest) => ({
  name,
  about,
  server: 'ws-publish.js',
  load,
  unit: 'delivery',
  ...rest,
});

const must = { rate: 1.05, jsCpu: 0.015 };

const publish = [1000, 10000].map((subscribers) =>
  fanout(
    `ws-publish/100B-s${subscribers}`,
    `publish of 100 B to ${subscribers} subscribers, 4 in flight`,
    ['ws-publish', { size: 100, subscribers, 'in-flight': 4 }],
    { must, raw: 'ws-publish', others: subscribers === 1000 },
  ),
);

module.exports = [
  ...publish,
  fanout(
    'ws-publish/100B-s1000-slow',
    'the same to 1,000, and to 10 who read nothing and have a backlog',
    ['ws-publish', { size: 100, subscribers: 1000, slow: 10, 'in-flight': 4 }],
    { must, options: { maxBackpressure: 64 * 1024 } },
  ),
  fanout(
    'ws-mixed',
    '50 clients, 10 of them send bursts of 50, each message published to all 50',
    ['ws-mixed', { size: 100, clients: 50, senders: 10, burst: 50 }],
    { must: { rate: 1, jsCpu: 0.3 }, others: true },
  ),
];
