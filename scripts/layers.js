'use strict';

// Keeps the direction of dependency: the protocol knows no socket, clock or JavaScript, the event loop no
// JavaScript, and the binding no socket. Run alone it prints the lines that break this.

const fs = require('node:fs');
const path = require('node:path');

const SOURCES = path.join(__dirname, '..', 'src');

const FORBIDDEN = [
  [
    'protocol',
    /\bstd::net\b|\bmio::|\bsocket2\b|Instant::now|SystemTime::now|\bnapi|crate::(event_loop|bridge|channel)\b/,
  ],
  ['event_loop', /\bnapi|crate::bridge\b/],
  ['channel', /\bnapi|crate::(bridge|event_loop)\b/],
  ['bridge', /\bstd::net::(TcpStream|TcpListener|UdpSocket)|\bmio::|\bsocket2::/],
];

function offences() {
  return FORBIDDEN.flatMap(([layer, pattern]) =>
    rustFiles(path.join(SOURCES, layer)).flatMap((file) =>
      fs
        .readFileSync(file, 'utf8')
        .split('\n')
        .map((line, i) => [line.replace(/\/\/.*/, ''), i + 1])
        .filter(([line]) => pattern.test(line))
        .map(
          ([line, number]) => `${path.relative(SOURCES, file)}:${number}: not in this layer: ${line.trim()}`,
        ),
    ),
  );
}

function rustFiles(entry) {
  if (!fs.existsSync(entry)) return [];
  if (!fs.statSync(entry).isDirectory()) return [entry];
  return fs
    .readdirSync(entry, { recursive: true })
    .filter((name) => name.endsWith('.rs'))
    .map((name) => path.join(entry, name));
}

module.exports = { offences };

if (require.main === module) {
  const found = offences();
  for (const line of found) console.error(line);
  process.exit(found.length ? 1 : 0);
}
