'use strict';
// Mutated streams to uws-rs, Node's server, uWebSockets.js 20.57, and uws-rs behind nginx, HAProxy and
// Varnish:
//
//   npm run test:smuggling -- [--seconds 20] [--seed <number>] [--direct | --proxies]
//
// It is a finding when uws-rs sees other requests in a stream than the second reading of the RFC
// (reference.js), when it divides a stream otherwise than another server and no known fault of that server
// explains it, or when a proxy and the server behind it disagree. A finding is printed as the shortest
// stream that shows it, and the run fails. Refusing more than others do is none.

const { optionsOf } = require('../../scripts/options');
const { KINDS, difference, same } = require('./compare');
const { PATIENT, startGuarded, through } = require('./differential');
const { quirk } = require('./disagreements');
const { Mutator, reduce } = require('./mutate');
const { MARKER, names, observe, startPeer } = require('./peers');
const { PROXIES, WAYS, missing } = require('./proxies');
const { readStream } = require('./reference');

const AT_ONCE = 12;
const MAX_FINDINGS = 10;
/** Both sides accept something, and not the same. Where one of them refuses nobody is led astray. */
const CONFUSING = new Set([
  KINDS['request request'],
  KINDS['request waits'],
  KINDS['waits request'],
  KINDS['closed request'],
]);

class Run {
  constructor({ seconds, seed }) {
    this.until = Date.now() + seconds * 1000;
    this.mutator = new Mutator(seed);
    this.findings = [];
    this.kinds = new Map();
    this.streams = 0;
    this.sent = 0;
  }

  get over() {
    return Date.now() > this.until || this.findings.length >= MAX_FINDINGS;
  }

  count(peer, what) {
    const key = `${peer}: ${what}`;
    this.kinds.set(key, (this.kinds.get(key) ?? 0) + 1);
  }

  async found(what, stream, pieces, shows) {
    const number = this.findings.push(what);
    // Some faults show only when the stream is cut where it was.
    const short = (await shows(stream)) ? await reduce(stream, shows) : pieces;
    if (short === pieces)
      return console.log(`\nFinding ${number}: ${what}, sent as\n${JSON.stringify(pieces)}`);
    console.log(`\nFinding ${number}: ${what}\n${JSON.stringify(short)}\nfrom ${JSON.stringify(stream)}`);
    await shows(short, (text) => console.log(text));
  }

  next() {
    this.streams++;
    const stream = this.mutator.stream();
    return { stream, pieces: this.mutator.cut(stream + MARKER) };
  }
}

/** How uws-rs departs from the second reading of the RFC, or null. */
function departure(stream, ours) {
  const { requests } = readStream(stream + MARKER);
  const equal =
    requests.length === ours.requests.length && requests.every((one, at) => same(one, ours.requests[at]));
  return equal ? null : `by the RFC ${JSON.stringify(requests)}, by uws-rs ${JSON.stringify(ours.events)}`;
}

async function direct(run, peers) {
  const ours = await startPeer('ours');
  const others = await Promise.all(peers.map((name) => startPeer(name)));
  const seen = (stream, peer, options) => observe(peer, [stream + MARKER], options);

  async function check() {
    const { stream, pieces } = run.next();
    const [own, ...theirs] = await Promise.all([
      observe(ours, pieces),
      ...others.map((peer) => seen(stream, peer)),
    ]);
    run.sent += peers.length + 1;
    if (departure(stream, own)) await confirmDeparture(stream, pieces);
    for (const [at, outcome] of theirs.entries()) {
      const kind = difference(own, outcome);
      if (kind && CONFUSING.has(kind)) await confirm(stream, others[at]);
      else run.count(peers[at], kind ?? 'agrees');
    }
  }

  async function confirmDeparture(stream, pieces) {
    const again = departure(stream, await observe(ours, pieces, PATIENT));
    if (!again) return;
    run.count('uws-rs', 'departs from the RFC');
    await run.found(`uws-rs departs from the RFC: ${again}`, stream, pieces, async (short, tell) => {
      const text = departure(short, await seen(short, ours));
      if (tell) tell(text);
      return text;
    });
  }

  async function confirm(stream, peer) {
    const compare = async (short, options) => {
      const [own, other] = [await seen(short, ours, options), await seen(short, peer, options)];
      const kind = difference(own, other);
      const why = quirk(peer.name, short + MARKER, kind, own, other);
      return { kind, why, own, other, confusing: CONFUSING.has(kind) && !why };
    };
    const { kind, why, confusing } = await compare(stream, PATIENT);
    run.count(peer.name, why ? `${kind} (${why})` : (kind ?? 'agrees'));
    if (!confusing) return;
    await run.found(`${peer.name} ${kind}`, stream, [stream + MARKER], async (short, tell) => {
      const { own, other, ...result } = await compare(short);
      if (tell)
        tell(
          `uws-rs ${JSON.stringify(own.events)} ${own.end}, ${peer.name} ${JSON.stringify(other.events)} ${other.end}`,
        );
      return result.confusing && result.kind === kind;
    });
  }

  await Promise.all(Array.from({ length: AT_ONCE }, () => repeat(run, check)));
  await Promise.all([ours, ...others].map((peer) => peer.stop()));
}

/** One stream at a time for each way of a proxy, so that it is known which stream a fault comes from. */
async function proxied(run, proxies) {
  const started = await Promise.all(proxies.map((name) => startGuarded(name, WAYS[name])));
  const check = async (way) => {
    const { stream, pieces } = run.next();
    const { faults } = await through(way, pieces, { quiet: 60 });
    run.sent++;
    run.count(way.name, faults.length ? 'DISAGREES' : 'agrees');
    if (faults.length) await track(run, way, faults, [stream, way.previous]);
    way.previous = stream;
  };
  const ways = started.flatMap((proxy) => proxy.ways);
  await Promise.all(ways.map((way) => repeat(run, () => check(way))));
  await Promise.all(started.map((proxy) => proxy.stop()));
}

/** Reports faults by the shortest stream that shows them; a fault may be seen late, at the stream behind. */
async function track(run, way, faults, [stream, previous]) {
  const shows = async (short, tell) => {
    const again = (await through(way, [short + MARKER], { quiet: 100, settle: true })).faults;
    if (tell) tell(again.join('\n'));
    return again.length > 0;
  };
  const late = previous !== undefined && !(await shows(stream)) && (await shows(previous));
  const what = `${way.name}: ${faults.join(', ')}`;
  await run.found(what, late ? previous : stream, [stream, previous], shows);
}

async function repeat(run, check) {
  while (!run.over) await check();
}

async function main() {
  const values = optionsOf({ seconds: 'number', seed: 'whole', direct: 'flag', proxies: 'flag' });
  const { seconds = 20, seed = Date.now() % 1e9 } = values;
  const lacking = missing();
  const parts = [];
  if (!values.proxies) parts.push(['servers', (run) => direct(run, names())]);
  if (!values.direct && lacking.length) console.log(`without proxies: there is no ${lacking.join(', ')}`);
  else if (!values.direct) parts.push(['proxies', (run) => proxied(run, PROXIES)]);
  let failed = false;
  for (const [name, part] of parts) {
    const run = new Run({ seconds: seconds / parts.length, seed });
    await part(run);
    console.log(
      `\n${name}: ${run.streams} streams, sent ${run.sent} times, seed ${seed}, ${run.findings.length} findings`,
    );
    for (const [key, count] of [...run.kinds].sort()) console.log(`${String(count).padStart(8)}  ${key}`);
    failed ||= run.findings.length > 0;
  }
  process.exit(failed ? 1 : 0);
}

// The proxies end with this process, however it ends.
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1));
main();
