'use strict';
// Every case over the other servers and through the proxies, with the differences that come of it.

const path = require('path');
const { CASES, expectedBehind } = require('./cases');
const { UNANSWERED, difference, same } = require('./compare');
const { MARKER, observe, startPeer } = require('./peers');
const { startProxy } = require('./proxies');
const { echo } = require('./server');

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** A server may be slow on a busy machine: before it counts as silent it gets more time. */
const PATIENT = { quiet: 1000 };

const AT_ONCE = 8;

/** Runs `check` for each case, several at a time. */
async function eachCase(check) {
  const left = CASES.values();
  const work = async () => {
    for (const each of left) await check(each);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
}

/** The outcome of each case in uws-rs, by its id. */
async function ourOutcomes() {
  const ours = await startPeer('ours');
  const outcomes = new Map();
  await eachCase(async (each) => {
    const quiet = expectedBehind(each).end === 'waits' ? 100 : 5000;
    outcomes.set(each.id, await observe(ours, [each.bytes + MARKER], { quiet }));
  });
  await ours.stop();
  return outcomes;
}

/** An outcome that does not come from having waited for too short a time. */
async function patiently(ours, attempt) {
  const theirs = ours.end === 'waits' ? null : await attempt({ quiet: 100 });
  return !theirs || difference(ours, theirs) ? attempt(PATIENT) : theirs;
}

/** Resolves with the differences of another server, { id, peer, kind } each. */
async function differencesOf(name, ours) {
  const peer = await startPeer(name);
  const found = [];
  await eachCase(async ({ id, bytes }) => {
    const attempt = (options) => observe(peer, [bytes + MARKER], options);
    const theirs = await patiently(ours.get(id), attempt);
    const kind = difference(ours.get(id), theirs);
    if (kind) found.push({ id, peer: name, kind });
  });
  await peer.stop();
  return found;
}

/** A proxy with a server of ours behind each of its ways, which notes what it sees. */
async function startGuarded(name, ways) {
  const uWS = require(path.join(__dirname, '../..'));
  const backends = ways.map(() => {
    const backend = { port: 0, seen: [], begun: [], open: 0 };
    backend.app = echo(uWS.App(), (report) => {
      backend.open += report.begun ? 1 : -1;
      if (report.begun) backend.begun.push(report);
      else if (!report.aborted) backend.seen.push(report);
    });
    backend.app.listen('127.0.0.1', 0, (token) => (backend.port = uWS.us_socket_local_port(token)));
    return backend;
  });
  const proxy = await startProxy(
    name,
    backends.map(({ port }) => port),
  );
  proxy.ways.forEach((way, at) => {
    // Varnish pipes methods that it does not know: it marks the request, but no response, and gives the
    // connection to nobody else.
    Object.assign(way, { backend: backends[at], pipes: way.name === 'Varnish, its own VCL' });
  });
  const { stop } = proxy;
  return Object.assign(proxy, {
    stop: async () => {
      await stop();
      for (const { app } of backends) app.close();
    },
  });
}

/**
 * Sends a stream through a proxy, then a request of another client, which must get its own response.
 * Returns the outcome, and as `faults` all that shows proxy and server to disagree about the requests on
 * their connection. Several streams may be on their way at once; `forwarded` is of use only when there is
 * one.
 */
async function through(way, pieces, options = { quiet: 100 }) {
  const seen = way.backend.seen.length;
  const outcome = await observe(way, pieces, options);
  if (options.settle) await settled(way.backend, outcome);
  const forwarded = way.backend.seen
    .slice(seen)
    .map(({ method, target, body }) => ({ method, target, body }));
  const faults = strangers(way);
  way.probes = (way.probes ?? 0) + 1;
  const target = `/probe/${way.probes}`;
  const probe = `GET ${target} HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n`;
  let answer = await observe(way, [probe], { quiet: 5000 });
  // Silence may mean that the machine is busy.
  if (!answer.responses.length) answer = await observe(way, [probe], { quiet: 20000 });
  if (answer.requests[0]?.target !== target) faults.push(`a probe got ${JSON.stringify(answer.responses)}`);
  for (const { sent, seen: own } of [...outcome.responses, ...answer.responses]) {
    if (own && own.mark !== sent && !(way.pipes && sent === undefined)) {
      faults.push(`the response to ${own.mark} went to ${sent}`);
    }
  }
  faults.push(...strangers(way));
  return { ...outcome, faults, forwarded };
}

/** A proxy that has refused a request may still be sending it to the server. */
async function settled(backend, { status }) {
  if (status >= 500) await sleep(150);
  for (let patience = 100; backend.open > 0 && patience > 0; patience--) await sleep(20);
}

/** Requests that came to the server since the last look and that the proxy did not forward as such. */
function strangers(way) {
  const faults = [];
  way.marks ??= new Set();
  const heads = way.backend.begun.splice(0);
  for (const { mark, method, target } of heads) {
    if (!mark) faults.push(`${method} ${target} came, which the proxy knows nothing of`);
    else if (way.marks.has(mark)) faults.push(`${method} ${target} came with the mark of another`);
    way.marks.add(mark);
  }
  return faults;
}

/**
 * Faults by the access log of a proxy: each request that the server answered is in it, and each that has the
 * server's status was answered.
 */
async function logFaults(proxy) {
  // The log may be a moment behind.
  for (let patience = 20; ; patience--) {
    const log = proxy.forwarded();
    const seen = new Set(proxy.ways.flatMap(({ backend }) => backend.seen.map(({ mark }) => mark)));
    const faults = [
      ...[...seen].filter((mark) => !log.has(mark)).map((mark) => `${proxy.name} logged no ${mark}`),
      ...[...log]
        .filter(([mark, status]) => status === '200' && !seen.has(mark))
        .map(([mark]) => `${mark} never came`),
    ];
    if (!faults.length || patience === 0) return faults;
    await sleep(100);
  }
}

/**
 * Sends each case through a way of a proxy. Resolves with { faults, differences }: the proxy differs by
 * what it answered, or as `forwarded` by what it made the server see.
 */
async function throughWay(way, ours) {
  const [faults, differences] = [[], []];
  for (const { id, bytes } of CASES) {
    const attempt = (options) => through(way, [bytes + MARKER], { ...options, settle: true });
    const theirs = await patiently(ours.get(id), attempt);
    faults.push(...theirs.faults.map((text) => `${id}, ${way.name}: ${text}`));
    const kind = difference(ours.get(id), theirs);
    if (kind) differences.push({ id, peer: way.name, kind });
    const lost = unanswered(ours.get(id), theirs);
    if (lost) differences.push({ id, peer: way.name, kind: UNANSWERED });
  }
  return { faults, differences };
}

/** Whether a request reached the server that neither the client of the proxy got an answer to nor ours. */
function unanswered({ requests }, { requests: answered, forwarded }) {
  const known = [...requests, ...answered];
  return forwarded.some((one) => !known.some((other) => same(one, other)));
}

module.exports = { PATIENT, differencesOf, logFaults, ourOutcomes, startGuarded, through, throughWay };
