'use strict';

// Keeps the plan of src/: the direction in which files know each other, and that none know each other in a
// circle. Run alone it prints the offences.

const fs = require('node:fs');
const path = require('node:path');

const SOURCES = path.join(__dirname, '..', 'src');

/** A place, text that must not be in it, and why. */
const FORBIDDEN = [
  [
    'protocol',
    /\bstd::net\b|\bmio::|\bsocket2\b|Instant::now|SystemTime::now|\bnapi|crate::(event_loop|bridge|channel)\b/,
    'the protocol knows no socket, clock or JavaScript',
  ],
  ['event_loop', /\bnapi|crate::bridge\b/, 'the loop knows no JavaScript'],
  ['event_loop/net', /\bconnection::|crate::protocol\b/, 'sockets know no connection'],
  ['event_loop/tls', /\bconnection::|\bcontext::|crate::protocol\b/, 'TLS knows no connection'],
  ['channel', /\bnapi|crate::(bridge|event_loop)\b/, 'the contract knows neither side'],
  [
    'caching',
    /\bstd::net\b|\bmio::|Instant::now|SystemTime::now|\bnapi|crate::(bridge|event_loop|channel)\b/,
    'rules of caching know no socket, clock or JavaScript',
  ],
  ['routing', /\bnapi|crate::(bridge|event_loop)\b/, 'routes know nobody who asks'],
  [
    'bridge',
    /\bstd::net::(TcpStream|TcpListener|UdpSocket)|\bmio::|\bsocket2::/,
    'the binding knows no socket',
  ],
];
/** `impl Connection` belongs to its folder. */
const CONNECTION = path.join('event_loop', 'connection');

const files = new Map(
  fs
    .readdirSync(SOURCES, { recursive: true })
    .filter((name) => name.endsWith('.rs'))
    .map((name) => [name, code(fs.readFileSync(path.join(SOURCES, name), 'utf8'))]),
);

/** Without comments, and without the tests of a file at its end. */
function code(text) {
  return text.replaceAll(/\/\/.*/g, '').replace(/\n#\[cfg\(test\)\]\n(mod tests \{|impl )[^]*$/, '\n');
}

function isWithin(name, place) {
  return name.startsWith(place + path.sep);
}

function misplaced() {
  const found = [];
  for (const [name, text] of files) {
    for (const [place, pattern, why] of FORBIDDEN) {
      if (isWithin(name, place) && pattern.test(text))
        found.push(`${name}: ${why}: ${pattern.exec(text)[0]}`);
    }
    if (/\bimpl Connection\b/.test(text) && !isWithin(name, CONNECTION))
      found.push(`${name}: impl Connection`);
  }
  return found;
}

// ---- circles

/** The module of a file as its path in the crate. */
function moduleOf(name) {
  return name
    .replace(/(\/mod|^lib|^main)?\.rs$/, '')
    .split('/')
    .filter(Boolean);
}

const modules = new Map([...files.keys()].map((name) => [moduleOf(name).join('::'), name]));

/** A face hands names of its folder on; whoever uses them knows the files behind it. */
function isFace(name) {
  return !/\b(fn|struct|enum|trait|impl|static)\b/.test(files.get(name));
}

/** The paths of all `use` items and of paths written out in the code. */
function* pathsIn(text) {
  for (const [, tree] of text.matchAll(/\buse\s+((?:crate|super|self)::[^;]+);/g)) yield* branches(tree);
  for (const [written] of text.matchAll(/\b(?:crate|super|self)(?:::\w+)+/g)) yield written;
}

/** `a::{b, c::{d, e}}` as `a::b`, `a::c::d`, `a::c::e`. */
function* branches(tree) {
  const open = tree.indexOf('{');
  if (open < 0) return yield tree.trim();
  const [head, inner] = [tree.slice(0, open), tree.slice(open + 1, tree.lastIndexOf('}'))];
  let [depth, from] = [0, 0];
  for (let at = 0; at <= inner.length; at++) {
    if (inner[at] === '{') depth++;
    if (inner[at] === '}') depth--;
    if (at === inner.length || (inner[at] === ',' && depth === 0)) {
      const branch = inner.slice(from, at).trim();
      if (branch !== '') yield* branches(head + branch);
      from = at + 1;
    }
  }
}

/** The file a path leads to, as seen from `name`. */
function target(name, written) {
  const [first, ...rest] = written.split('::').map((part) => part.trim().replace(/ as .*/, ''));
  let at = first === 'crate' ? [] : moduleOf(name);
  const steps = first === 'super' ? ['super', ...rest] : rest;
  for (const step of steps) {
    if (step === 'super') at = at.slice(0, -1);
    else if (modules.has([...at, step].join('::'))) at = [...at, step];
    else break;
  }
  return modules.get(at.join('::'));
}

/** By file: the files it knows. */
function arrows() {
  return new Map(
    [...files].map(([name, text]) => {
      const targets = [...pathsIn(text)].map((written) => target(name, written));
      return [name, new Set(targets.filter((to) => to !== undefined && to !== name && !isFace(to)))];
    }),
  );
}

/** One circle for each file that can be reached from itself, once. */
function circles() {
  const from = arrows();
  const found = new Map();
  const walk = (start, at, trail) => {
    for (const next of from.get(at)) {
      if (next === start) found.set([...trail].sort().join(), [...trail, start].join(' → '));
      else if (!trail.includes(next) && !seen.has(next)) {
        seen.add(next);
        walk(start, next, [...trail, next]);
      }
    }
  };
  let seen;
  for (const name of from.keys()) {
    seen = new Set();
    walk(name, name, [name]);
  }
  return [...found.values()].map((circle) => `a circle of files: ${circle}`);
}

function offences() {
  return [...misplaced(), ...circles()];
}

module.exports = { offences };

if (require.main === module) {
  const found = offences();
  for (const line of found) console.error(line);
  process.exit(found.length ? 1 : 0);
}
