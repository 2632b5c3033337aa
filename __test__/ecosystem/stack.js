'use strict';

// The part that the specs of the frameworks share. Each loads its framework by `packages`, from the folder
// that ECOSYSTEM_PACKAGES names (see run.js). With UWS_MODULE=20.57 (see ../support.js), `uWebSockets.js`
// means the original to them. Otherwise they find this module as any user's would: it is the package of that
// name. The older original is too old for the frameworks.

const fs = require('node:fs');
const http = require('node:http');
const https = require('node:https');
const Module = require('node:module');
const os = require('node:os');
const path = require('node:path');
const { pathToFileURL } = require('node:url');
const support = require('../support');
const packages = require(path.join(process.env.ECOSYSTEM_PACKAGES ?? __dirname, 'packages.js'));
const { WebSocket } = packages.require('ws');

const { Events, modulePath, ours, uWS } = support;

if (!ours) {
  const resolve = Module._resolveFilename;
  Module._resolveFilename = function (name, ...rest) {
    return resolve.call(this, name === 'uWebSockets.js' ? modulePath() : name, ...rest);
  };
  // The file that its package has for `import` lacks some of the names.
  const names = Object.keys(uWS).filter((name) => name !== 'default');
  const module_ = `import uWS from ${JSON.stringify(pathToFileURL(modulePath()))};
    export default uWS; export const { ${names} } = uWS;`;
  const url = JSON.stringify(`data:text/javascript,${encodeURIComponent(module_)}`);
  const hook = `export const resolve = (name, context, next) =>
    name === 'uWebSockets.js' ? { url: ${url}, shortCircuit: true } : next(name, context);`;
  Module.register(`data:text/javascript,${encodeURIComponent(hook)}`);
}
if (packages.require('uWebSockets.js') !== uWS)
  throw new Error('the frameworks would not run on the module under test');

/** Sends a request and resolves with the whole response, also where it is an error. */
async function request(port, target, options) {
  const message = await begin(port, target, options);
  const chunks = [];
  for await (const chunk of message) chunks.push(chunk);
  return new Answer(message, Buffer.concat(chunks));
}

/**
 * Sends a request, encrypted where there is a `ca`, and resolves with the head of the response. The caller
 * reads the body.
 */
function begin(port, target, { body, pieces = [], ...options } = {}) {
  return new Promise((resolve, reject) => {
    const settings = { host: '127.0.0.1', servername: 'localhost', port, path: target, ...options };
    const sent = (options.ca ? https : http).request(settings, (message) => {
      message.reused = sent.reusedSocket;
      resolve(message);
    });
    sent.on('error', reject);
    for (const piece of pieces) sent.write(piece);
    sent.end(body);
  });
}

class Answer {
  constructor(message, body) {
    this.status = message.statusCode;
    this.statusText = message.statusMessage;
    this.headers = message.headers;
    this.body = body;
    this.reused = message.reused;
  }

  get text() {
    return this.body.toString();
  }

  get json() {
    return JSON.parse(this.text);
  }
}

/** Requests to one server, as a browser would send them for each kind of body. */
function client(port, settings) {
  const send = (method) => (target, options) => request(port, target, { method, ...settings, ...options });
  const post = send('POST');
  return {
    port,
    begin: (target, options) => begin(port, target, options),
    get: send('GET'),
    head: send('HEAD'),
    post,
    put: send('PUT'),
    patch: send('PATCH'),
    delete: send('DELETE'),
    options: send('OPTIONS'),
    postJson: (target, value) =>
      post(target, { body: JSON.stringify(value), headers: { 'content-type': 'application/json' } }),
    postForm: (target, text) =>
      post(target, { body: text, headers: { 'content-type': 'application/x-www-form-urlencoded' } }),
    /** Multipart as the platform builds it. */
    async postMultipart(target, form) {
      const encoded = new Response(form);
      const body = Buffer.from(await encoded.arrayBuffer());
      return post(target, { body, headers: { 'content-type': encoded.headers.get('content-type') } });
    },
  };
}

/** A keep-alive agent with a single connection, so that each of its requests must reuse it. */
function oneConnection(t, { secure } = {}) {
  const agent = new (secure ? https : http).Agent({ keepAlive: true, maxSockets: 1 });
  t.after(() => agent.destroy());
  return agent;
}

/**
 * A WebSocket that records what it receives: `messages` of { data, binary }, and `closed` with { code, reason
 * }.
 */
class Socket {
  constructor(t, port, target, protocols, options) {
    const scheme = options?.ca ? 'wss' : 'ws';
    this.socket = new WebSocket(`${scheme}://127.0.0.1:${port}${target}`, protocols, options);
    this.messages = new Events();
    this.refused = new Promise((resolve) => {
      this.socket.on('unexpected-response', (_, answer) => resolve(answer.statusCode));
    });
    this.opened = new Promise((resolve, reject) => {
      this.socket.on('open', () => resolve(this));
      this.socket.on('error', reject);
    });
    this.opened.catch(() => {});
    this.closed = new Promise((resolve) => {
      this.socket.on('close', (code, reason) => resolve({ code, reason: reason.toString() }));
    });
    this.socket.on('message', (data, binary) => this.messages.push({ data, binary }));
    t.after(() => this.socket.terminate());
  }

  send(data) {
    this.socket.send(data);
  }

  close(code, reason) {
    this.socket.close(code, reason);
    return this.closed;
  }

  /** Returns the first `count` messages as text. */
  async texts(count) {
    return (await this.messages.count(count)).map(({ data }) => data.toString());
  }
}

/** Opens a WebSocket; awaiting the result gives it open. */
const open = (t, port, target, protocols, options) => new Socket(t, port, target, protocols, options).opened;

/** Returns the status with which a handshake is refused. */
const refusal = (t, port, target, options) => new Socket(t, port, target, undefined, options).refused;

/** Creates a file of that many bytes in which each part is different. It is removed after the test. */
function temporaryFile(t, name, size) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'uws-eco-'));
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  const file = path.join(folder, name);
  const bytes = patterned(size);
  fs.writeFileSync(file, bytes);
  return { file, folder, bytes };
}

function patterned(size) {
  const bytes = Buffer.alloc(size);
  for (let at = 0; at + 4 <= size; at += 4) bytes.writeUInt32LE(Math.imul(at, 2654435761) >>> 0, at);
  return bytes;
}

/** Returns the version of a package that the specs run on. */
function versionOf(name) {
  const manifest = path.join(packages.folder, 'node_modules', name, 'package.json');
  return JSON.parse(fs.readFileSync(manifest, 'utf8')).version;
}

/** Returns the first of its numbers, for what differs by release. */
const majorOf = (name) => Number(versionOf(name).split('.')[0]);

module.exports = {
  ...support,
  client,
  majorOf,
  oneConnection,
  open,
  packages,
  patterned,
  refusal,
  request,
  temporaryFile,
  versionOf,
};
