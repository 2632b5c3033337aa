'use strict';

// `npm start`: builds what is missing and serves the realtime example on http://localhost:3000. PORT, HOST,
// CLUSTER_WORKERS and the adapter's other variables are passed on, as are REDIS_URL and DATABASE_URL.

const { spawn } = require('node:child_process');
const { provideAddon } = require('./provide.js');
const { REALTIME, buildExample, install } = require('./run.js');

provideAddon();
install(REALTIME);
if (buildExample(REALTIME) !== 0) process.exit(1);

const env = { PORT: '3000', ...process.env };
const server = spawn(process.execPath, ['serve.js'], { cwd: REALTIME, env, stdio: 'inherit' });
console.log(`Open http://localhost:${env.PORT}`);

for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => server.kill(signal));
server.on('exit', (code, signal) => process.exit(signal ? 1 : code));
