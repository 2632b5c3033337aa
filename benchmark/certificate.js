'use strict';

// Creates a key and a self-signed certificate (ECDSA, P-256) for the TLS trials. openssl makes them once per
// run; they are removed at its end.

const { execFileSync } = require('child_process');
const fs = require('fs');
const os = require('os');
const path = require('path');

const make = () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'uws-bench-'));
  process.once('exit', () => fs.rmSync(folder, { recursive: true, force: true }));
  const made = { key: path.join(folder, 'key.pem'), certificate: path.join(folder, 'certificate.pem') };
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
  const names = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'];
  const files = ['-keyout', made.key, '-out', made.certificate];
  execFileSync('openssl', ['req', '-x509', ...kind, ...names, ...files], { stdio: 'pipe' });
  return made;
};

let made;

/** Returns the paths of both: `{key, certificate}`. */
const certificate = () => (made ??= make());

module.exports = { certificate };
