import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { extname, join, relative, sep } from 'node:path';
import uWS from 'uWebSockets.js';

const port = Number(process.env.PORT ?? 3000);
const FOLDER = process.env.PUBLIC ?? 'public';
const TYPES = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.ico': 'image/x-icon',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.woff2': 'font/woff2',
};

/** All files by their path, read once: no request can name a file that is not here. */
const files = new Map();
for (const entry of await readdir(FOLDER, { recursive: true, withFileTypes: true })) {
  if (!entry.isFile()) continue;
  const file = join(entry.parentPath ?? entry.path, entry.name);
  const body = await readFile(file);
  const etag = `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`;
  const path = `/${relative(FOLDER, file).split(sep).join('/')}`.replace(/\/index\.html$/, '/');
  files.set(path, { body, etag, type: TYPES[extname(file)] ?? 'application/octet-stream' });
}

function fileOf(url) {
  try {
    return files.get(decodeURIComponent(url));
  } catch {
    return undefined; // a malformed escape
  }
}

/** Whether the client has this very file (RFC 9110 §13.1.2). */
const isKnown = (ifNoneMatch, etag) =>
  ifNoneMatch === '*' || ifNoneMatch.split(',').some((each) => each.trim().replace(/^W\//, '') === etag);

function serve(res, req) {
  const file = fileOf(req.getUrl());
  if (!file) return res.writeStatus('404 Not Found').end('Not found\n');
  const known = isKnown(req.getHeader('if-none-match'), file.etag);
  res.writeStatus(known ? '304 Not Modified' : '200 OK');
  res.writeHeader('etag', file.etag).writeHeader('cache-control', 'no-cache'); // "ask each time"
  if (known) return res.endWithoutBody();
  res.writeHeader('content-type', file.type).writeHeader('x-content-type-options', 'nosniff');
  res.end(file.body); // for HEAD the length is sent, and no body
}

const app = uWS.App().get('/*', serve).head('/*', serve);
app.listen(port, uWS.LIBUS_LISTEN_EXCLUSIVE_PORT, (token) => {
  if (!token) throw new Error(`Port ${port} is taken`);
  console.log(`Listening on port ${uWS.us_socket_local_port(token)}`);
});
