'use strict';

// Follows the recipe "SvelteKit" of README.md to the letter: `node scripts/sveltekit.js [version of sv]`
// makes an app with `sv create`, runs the commands in it, and asks the server for a page and a WebSocket. It
// takes the registry and a minute, and depends on the releases of the day, so `npm test` does not run it.

const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { once } = require('node:events');
const { spawn } = require('node:child_process');
const { addonName } = require('./build.js');
const { ROOT, run } = require('./run.js');

const START_MS = 20000;

/** The commands of the recipe. The last one starts the server. */
function recipe() {
  const readme = fs.readFileSync(path.join(ROOT, 'README.md'), 'utf8');
  const [, block] = /^## SvelteKit\n[^]*?```sh\n([^]*?)```/m.exec(readme);
  const lines = block.trim().split('\n');
  if (!lines.at(-1).startsWith('node build')) throw new Error(`the last command is ${lines.at(-1)}`);
  return lines.slice(0, -1);
}

async function main([version = 'latest']) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'uws-sveltekit-'));
  const app = path.join(folder, 'app');
  try {
    fs.symlinkSync(ROOT, path.join(folder, 'uws-rs'), 'dir');
    const options = ['--template', 'minimal', '--types', 'ts', '--no-add-ons', '--no-download-check'];
    run('npx', ['--yes', `sv@${version}`, 'create', ...options, '--install', 'npm', 'app'], { cwd: folder });
    for (const command of recipe()) {
      // An addon that is there has been built as the first command does.
      if (
        /run build$/.test(command) &&
        command.includes('uws-rs') &&
        fs.existsSync(path.join(ROOT, addonName()))
      )
        continue;
      console.log(`$ ${command}`);
      run('sh', ['-c', command], { cwd: app });
    }
    await serve(app);
    console.log('The recipe works');
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

async function serve(app) {
  const port = await freePort();
  const env = { ...process.env, PORT: String(port), HOST: '127.0.0.1', HOST_HEADER: 'host' };
  const server = spawn(process.execPath, ['build'], { cwd: app, env, stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    let output = '';
    server.stdout.setEncoding('utf8').on('data', (text) => (output += text));
    const deadline = Date.now() + START_MS;
    while (!output.includes('Listening on')) {
      if (server.exitCode !== null || Date.now() > deadline)
        throw new Error(`it does not listen:\n${output}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    const response = await fetch(`http://127.0.0.1:${port}/`);
    const page = await response.text();
    if (response.status !== 200 || !page.includes('Welcome to SvelteKit'))
      throw new Error(`the page is ${response.status}:\n${page}`);
    const status = await upgrade(port);
    if (!/^HTTP\/1.1 101 /.test(status)) throw new Error(`the WebSocket is answered with ${status}`);
  } finally {
    server.kill();
  }
}

/** The status line of the answer to the handshake. */
async function upgrade(port) {
  const socket = net.connect(port, '127.0.0.1');
  const fields = {
    Host: `127.0.0.1:${port}`,
    Origin: `http://127.0.0.1:${port}`,
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
  };
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.write(`GET /ws HTTP/1.1\r\n${lines.join('')}\r\n`);
  const [answer] = await once(socket, 'data');
  socket.destroy();
  return String(answer).split('\r\n')[0];
}

async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  return port;
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
