//! Faults in the options of an SSLApp.

use std::io;
use thiserror::Error;

/// The caller's fault: a file or a text that is not what it should be.
#[derive(Debug, Error)]
pub enum ConfigError {
    #[error("{option} '{path}' cannot be read: {error}")]
    Unreadable { option: &'static str, path: String, error: io::Error },
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("cert_file_name '{0}' holds no certificate in PEM form")]
    NoCertificate(String),
    #[error("ca_file_name '{0}' holds no usable certificate in PEM form")]
    NoAuthority(String),
    #[error("requireClientCertificate needs ca_file_name, which says whose certificates are good")]
    NobodyToRequire,
    #[error("key_file_name '{0}' holds no private key in PEM form")]
    NoKey(String),
    #[error("key_file_name '{0}' is encrypted and there is no passphrase")]
    NoPassphrase(String),
    #[error(
        "key_file_name '{path}' cannot be decrypted: wrong passphrase or unsupported encryption ({error})"
    )]
    Undecryptable { path: String, error: pkcs8::Error },
    #[error(
        "key_file_name '{0}' is encrypted in OpenSSL's legacy form; \
         'openssl pkcs8 -topk8 -v2 aes-256-cbc -in {0} -out NEW_FILE' converts it"
    )]
    LegacyEncryption(String),
    #[error("the private key does not belong to the certificate")]
    Mismatch,
    #[error("ssl_ciphers: '{0}' is no cipher that OpenSSL or IANA knows")]
    UnknownCipher(String),
    #[error("ssl_ciphers: '{0}' leaves no cipher to use")]
    NoCipher(String),
    #[error("{0}")]
    Tls(rustls::Error),
}

impl From<rustls::Error> for ConfigError {
    fn from(error: rustls::Error) -> Self {
        match error {
            rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch) => ConfigError::Mismatch,
            error => ConfigError::Tls(error),
        }
    }
}
