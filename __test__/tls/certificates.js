'use strict';
// Keys and certificates for the specs, made with openssl.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { execFileSync } = require('node:child_process');

function openssl(...args) {
  return execFileSync('openssl', args, { stdio: ['ignore', 'pipe', 'pipe'] });
}

const ALGORITHMS = {
  ec: ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'],
  p384: ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-384'],
  rsa: ['-newkey', 'rsa:2048'],
  ed25519: ['-newkey', 'ed25519'],
};

/** Creates a self-signed certificate for `name` in `directory`; returns the options of an SSLApp. */
function selfSigned(directory, name, { algorithm = 'ec', file = name.replaceAll('*', 'star') } = {}) {
  const key = path.join(directory, `${file}.key`);
  const cert = path.join(directory, `${file}.crt`);
  openssl(
    'req',
    '-x509',
    ...ALGORITHMS[algorithm],
    '-nodes',
    '-days',
    '3',
    '-keyout',
    key,
    '-out',
    cert,
    '-subj',
    `/CN=${name}`,
    '-addext',
    `subjectAltName=DNS:${name}`,
  );
  return { key_file_name: key, cert_file_name: cert };
}

/** Creates a certificate for `name` signed by `issuer`, which `selfSigned` made. */
function signedBy(directory, issuer, name, { algorithm = 'ec', authority = false } = {}) {
  const key = path.join(directory, `${name}.key`);
  const request = path.join(directory, `${name}.csr`);
  const cert = path.join(directory, `${name}.crt`);
  const extensions = path.join(directory, `${name}.ext`);
  fs.writeFileSync(
    extensions,
    authority ? 'basicConstraints=critical,CA:TRUE\n' : `subjectAltName=DNS:${name}\n`,
  );
  openssl('req', ...ALGORITHMS[algorithm], '-nodes', '-keyout', key, '-out', request, '-subj', `/CN=${name}`);
  openssl(
    'x509',
    '-req',
    '-in',
    request,
    '-CA',
    issuer.cert_file_name,
    '-CAkey',
    issuer.key_file_name,
    '-CAcreateserial',
    '-days',
    '3',
    '-extfile',
    extensions,
    '-out',
    cert,
  );
  return { key_file_name: key, cert_file_name: cert };
}

/**
 * Creates a certificate of X.509 version 1 for `name`, as `openssl x509 -req` does without extensions;
 * without an issuer it is signed by its own key.
 */
function versionOne(directory, name, { issuer, algorithm = 'ec' } = {}) {
  const [key, request, cert] = ['key', 'csr', 'crt'].map((kind) => path.join(directory, `${name}.${kind}`));
  openssl('req', ...ALGORITHMS[algorithm], '-nodes', '-keyout', key, '-out', request, '-subj', `/CN=${name}`);
  const signing =
    issuer === undefined
      ? ['-signkey', key]
      : ['-CA', issuer.cert_file_name, '-CAkey', issuer.key_file_name, '-CAcreateserial'];
  openssl('x509', '-req', '-in', request, ...signing, '-days', '3', '-out', cert);
  return { key_file_name: key, cert_file_name: cert };
}

function temporaryDirectory() {
  return fs.mkdtempSync(path.join(os.tmpdir(), 'uws-rs-tls-'));
}

/**
 * Creates the certificate that all processes of a run use; the first process makes it. Each day has one of
 * its own, since it is valid for three, and one that others may be reading is never replaced.
 */
function shared() {
  const today = Math.floor(Date.now() / (24 * 3600 * 1000));
  const all = `uws-rs-tls-shared-${os.userInfo().uid}-`;
  const directory = path.join(os.tmpdir(), `${all}${today}`);
  if (!fs.existsSync(directory)) {
    for (const name of fs.readdirSync(os.tmpdir()))
      if (name.startsWith(all) && Number(name.slice(all.length)) < today - 1)
        fs.rmSync(path.join(os.tmpdir(), name), { recursive: true, force: true });
    const fresh = temporaryDirectory();
    selfSigned(fresh, 'localhost');
    try {
      fs.renameSync(fresh, directory);
    } catch {
      // Another process was faster.
      fs.rmSync(fresh, { recursive: true, force: true });
    }
  }
  return {
    key_file_name: path.join(directory, 'localhost.key'),
    cert_file_name: path.join(directory, 'localhost.crt'),
  };
}

module.exports = { openssl, selfSigned, signedBy, versionOne, temporaryDirectory, shared };
