'use strict';

// One message to many. A unit is one delivery; latency is from sending until the last subscriber has it.

const fanout = (name, about, load) => ({ name, about, server: 'ws-publish.js', load, unit: 'delivery' });

const publish = [1000, 10000].map((subscribers) =>
  fanout(`ws-publish/100B-s${subscribers}`, `publish of 100 B to ${subscribers} subscribers, 4 in flight`, [
    'ws-publish',
    { size: 100, subscribers, 'in-flight': 4 },
  ]),
);

module.exports = [
  ...publish,
  fanout('ws-mixed', '50 clients, 10 of them send bursts of 50, each message published to all 50', [
    'ws-mixed',
    { size: 100, clients: 50, senders: 10, burst: 50 },
  ]),
];
