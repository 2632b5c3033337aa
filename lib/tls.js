'use strict';
// Converts the options of an SSLApp or a server name to the form that the native side takes.

const { got, hasOptions, text } = require('./validate');

/** Options that are text, with their native names. */
const TEXTS = Object.freeze({
  key_file_name: 'keyFileName',
  cert_file_name: 'certFileName',
  ca_file_name: 'caFileName',
  passphrase: 'passphrase',
  dh_params_file_name: 'dhParamsFileName',
  ssl_ciphers: 'sslCiphers',
});

/**
 * An empty text counts as absent. `ssl_prefer_low_memory_usage` is ignored: this server always works in this
 * way.
 */
function tlsOptions(options) {
  const native = {};
  if (!hasOptions(options)) return native;
  for (const [name, nativeName] of Object.entries(TEXTS)) {
    const value = options[name] === null ? '' : text(options[name], name);
    if (value !== '') native[nativeName] = value;
  }
  const { requireClientCertificate = false } = options;
  if (typeof requireClientCertificate !== 'boolean') {
    throw new TypeError(
      `requireClientCertificate must be true or false; got ${got(requireClientCertificate)}.`,
    );
  }
  native.requireClientCertificate = requireClientCertificate;
  return native;
}

module.exports = { tlsOptions };
