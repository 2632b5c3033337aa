'use strict';
// A registry of npm in this process, with our packages as `npm run package` makes them, the binary being the
// one of this tree.

const crypto = require('node:crypto');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const { execFileSync } = require('node:child_process');
const stage = require('../../scripts/package/stage');
const { TARGETS, addonOf, host, packageOf } = require('../../scripts/package/targets');

const ROOT = path.join(__dirname, '../..');

/**
 * Serves our packages and those of `more`, which are folders by their names. Archives are made in `folder`;
 * `binaries` has archives of other platforms, by the names of their packages.
 */
async function serveRegistry(folder, { more = {}, binaries = {} } = {}) {
  const main = stage.packMain({ into: folder });
  const ours = stage.packPlatform(host(), path.join(ROOT, addonOf(host())), { into: folder });
  const packages = { 'uws-rs': [manifestIn(main), main] };
  // Each package manager asks for whom the binaries are, and downloads one of them.
  for (const target of TARGETS) {
    const name = packageOf(target);
    packages[name] = [stage.platformManifest(target, stage.manifestOf(ROOT)), binaries[name] ?? ours];
  }
  for (const [name, from] of Object.entries(more)) {
    const archive = pack(from, folder);
    packages[name] = [manifestIn(archive), archive];
  }
  const server = http.createServer((req, res) => {
    const name = decodeURIComponent(req.url.slice(1).split(/[/?]/)[0]);
    const [manifest, file] = packages[name] ?? [];
    if (!file) return res.writeHead(404).end('{"error":"not found"}');
    if (req.url.endsWith('.tgz')) return fs.createReadStream(file).pipe(res);
    res.setHeader('content-type', 'application/json');
    res.end(JSON.stringify(packument(name, manifest, file, req.headers.host)));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const close = () => (server.closeAllConnections(), server.close());
  return { url: `http://127.0.0.1:${server.address().port}`, close };
}

function packument(name, manifest, file, host) {
  const { version } = manifest;
  const data = fs.readFileSync(file);
  const dist = {
    tarball: `http://${host}/${encodeURIComponent(name)}/-/${path.basename(file)}`,
    integrity: `sha512-${crypto.createHash('sha512').update(data).digest('base64')}`,
    shasum: crypto.createHash('sha1').update(data).digest('hex'),
  };
  const time = { [version]: '2026-01-01T00:00:00.000Z' };
  return { name, 'dist-tags': { latest: version }, versions: { [version]: { ...manifest, dist } }, time };
}

/** Makes the archive of a package in the folder, and returns its path. */
function pack(from, folder) {
  const options = ['pack', '--json', '--ignore-scripts', '--pack-destination', folder];
  const said = execFileSync('npm', options, {
    cwd: from,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  return path.join(folder, JSON.parse(said)[0].filename);
}

const manifestIn = (archive) =>
  JSON.parse(execFileSync('tar', ['-xzOf', archive, 'package/package.json'], { encoding: 'utf8' }));

/** The environment of a command that may reach the registry alone, with a home of its own. */
const offline = (home) => ({
  PATH: process.env.PATH,
  HOME: path.join(home, 'home'),
  CI: '1',
  npm_config_cache: path.join(home, 'npm-cache'),
  YARN_CACHE_FOLDER: path.join(home, 'yarn-cache'),
  http_proxy: 'http://127.0.0.1:1',
  https_proxy: 'http://127.0.0.1:1',
  no_proxy: '127.0.0.1',
});

module.exports = { offline, serveRegistry };
