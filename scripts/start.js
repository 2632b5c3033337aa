'use strict';

// `npm start`: builds what is missing and serves the realtime example on http://localhost:3000. PORT, HOST,
// CLUSTER_WORKERS and the adapter's other variables are passed on, as are REDIS_URL and DATABASE_URL.

const { spawn } = require('node:child_process');
const { provideAddon } = require('./provide.js');
const { REALTIME, buildExample, install } = require('./run.js');

provideAddon();
install(REALTIME);
if (buildExample(REALTIME) !== 0) process.exit(1);

const env = { ...process.env, PORT: process.env.PORT || '3000' };
// The adapter warns where nothing says how it is reached, and then does as if this were set.
if (!['ORIGIN', 'HOST_HEADER', 'PROTOCOL_HEADER', 'SSL_CERT'].some((name) => env[name]))
  env.HOST_HEADER = 'host';

const server = spawn(process.execPath, ['serve.js'], {
  cwd: REALTIME,
  env,
  stdio: ['inherit', 'pipe', 'inherit'],
});
let said = '';
server.stdout.setEncoding('utf8').on('data', (text) => {
  process.stdout.write(text);
  if (said === undefined) return;
  said += text;
  if (!/listening on .*\n/i.test(said)) return;
  said = undefined;
  console.log(`Open ${env.SSL_CERT ? 'https' : 'http'}://${nameOf(env.HOST)}:${env.PORT}`);
});

/** The name by which this machine reaches the host that is listened on: not each has this machine's own. */
function nameOf(host = '') {
  if (['', '0.0.0.0', '::', '127.0.0.1', '::1'].includes(host)) return 'localhost';
  return host.includes(':') ? `[${host}]` : host;
}

for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => server.kill(signal));
server.on('close', (code, signal) => process.exit(signal ? 1 : code));
