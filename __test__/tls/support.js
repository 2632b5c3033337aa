'use strict';
// The part that the TLS specs share: servers with certificates of their own, and openssl and curl as clients.

const fs = require('node:fs');
const https = require('node:https');
const tls = require('node:tls');
const { spawn, spawnSync } = require('node:child_process');
const { after } = require('node:test');
const support = require('../support');
const certificates = require('./certificates');

const directory = certificates.temporaryDirectory();
after(() => fs.rmSync(directory, { recursive: true, force: true }));

const made = new Map();
/** A self-signed certificate, made once per process. */
function certificate(name, options = {}) {
  const key = JSON.stringify([name, options]);
  if (!made.has(key))
    made.set(key, certificates.selfSigned(directory, name, { file: `cert-${made.size}`, ...options }));
  return made.get(key);
}

/** Creates an SSLApp on a free port; it is closed after the test. */
function secure(t, configure, options = certificate('localhost')) {
  return support.serve(t, configure, { app: support.uWS.SSLApp(options), peer: { tls: {} } });
}

/** One handshake of Node's client: { subject, version, cipher, protocol } or { error }. */
function handshake(port, options = {}) {
  return new Promise((resolve) => {
    const socket = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...options });
    socket.once('error', (error) => resolve({ error: error.code || error.message }));
    socket.once('secureConnect', () => {
      const subject = socket.getPeerCertificate().subject;
      resolve({
        subject: subject && subject.CN,
        version: socket.getProtocol(),
        cipher: socket.getCipher().standardName,
        protocol: socket.alpnProtocol,
      });
      socket.destroy();
    });
  });
}

/** One request of Node's client: { status, body, subject } or { error }. */
function httpsGet(port, path = '/', options = {}) {
  return new Promise((resolve) => {
    const request = https.get(
      { port, host: '127.0.0.1', path, rejectUnauthorized: false, agent: false, ...options },
      (response) => {
        const subject = response.socket.getPeerCertificate().subject.CN;
        let body = '';
        response.setEncoding('latin1').on('data', (data) => {
          body += data;
        });
        response.on('end', () => resolve({ status: response.statusCode, body, subject }));
      },
    );
    request.on('error', (error) => resolve({ error: error.code || error.message }));
  });
}

/** Runs a program to its end, at most 10 s, with `input` on its standard input. */
function run(program, args, input = '') {
  return new Promise((resolve) => {
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    let output = '';
    const timer = setTimeout(() => child.kill('SIGKILL'), 10000);
    child.stdout.on('data', (data) => {
      output += data;
    });
    child.stderr.on('data', (data) => {
      output += data;
    });
    child.stdin.on('error', () => {});
    child.stdin.write(input);
    if (!input) child.stdin.end();
    child.on('close', (code) => {
      clearTimeout(timer);
      resolve({ code, output });
    });
  });
}

const REQUEST = 'GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n';
/** Runs `openssl s_client` with one request that closes the connection. */
function sClient(port, args = []) {
  return run('openssl', ['s_client', '-connect', `127.0.0.1:${port}`, '-ign_eof', ...args], REQUEST);
}

/** The option `skip` of a test that needs a program. */
function needsProgram(name) {
  return { skip: spawnSync(name, ['--version']).error ? `${name} is not there` : false };
}

/** The number of TLS handshakes that failed in this process. */
function failedHandshakes() {
  return require('../../lib/engine').start().failedHandshakes();
}

/** Waits for a condition that has no event. */
async function until(check) {
  for (let i = 0; i < 500; i++) {
    if (check()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error('condition did not come true');
}

module.exports = {
  ...support,
  certificates,
  directory,
  certificate,
  secure,
  handshake,
  httpsGet,
  run,
  sClient,
  needsProgram,
  failedHandshakes,
  until,
};
