'use strict';
// The options of an SSLApp or a server name: what users may pass, in the shape the native side takes.

const { text } = require('./validate');

/** Options that are text, by the name the native side has for each. */
const TEXTS = Object.freeze({
  key_file_name: 'keyFileName',
  cert_file_name: 'certFileName',
  ca_file_name: 'caFileName',
  passphrase: 'passphrase',
  dh_params_file_name: 'dhParamsFileName',
  ssl_ciphers: 'sslCiphers',
});

/** Empty text counts as absent. `ssl_prefer_low_memory_usage` is how this server works anyway. */
function tlsOptions(options) {
  const native = {};
  if (options === undefined || options === null) return native;
  if (typeof options !== 'object') throw new TypeError('options must be an object.');
  for (const [name, nativeName] of Object.entries(TEXTS)) {
    const value = options[name] === null ? '' : text(options[name], name);
    if (value !== '') native[nativeName] = value;
  }
  return native;
}

module.exports = { tlsOptions };
