//! Turns the options of an SSLApp or a server name into configurations of rustls: certificates, key, suites,
//! client certificates.
//!
//! This reads files, so it runs on the JavaScript thread, which also gets the errors.

use super::ciphers;
use super::error::ConfigError;
use pkcs8::EncryptedPrivateKeyInfoOwned;
use pkcs8::der::Decode;
use pkcs8::der::asn1::AnyRef;
use pkcs8::der::pem::PemLabel;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, RootCertStore, ServerConfig};
use std::fs;
use std::sync::Arc;

/// The options by the names that users give them; `None` if they are empty.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub key_file_name: Option<String>,
    pub cert_file_name: Option<String>,
    pub ca_file_name: Option<String>,
    pub passphrase: Option<String>,
    /// The file must be readable, but is not used: rustls has no finite-field key exchange.
    pub dh_params_file_name: Option<String>,
    pub ssl_ciphers: Option<String>,
    /// A client without a certificate of an authority in `ca_file_name` is refused.
    pub require_client_certificate: bool,
}

/// The configurations that handshakes use.
#[derive(Debug)]
pub struct Settings {
    usual: Arc<ServerConfig>,
    for_chacha: Arc<ServerConfig>,
}

impl Settings {
    /// The configuration for a client. The server's order of ciphers decides if the options have no list,
    /// except for a client that prefers ChaCha20 because it has no hardware for AES.
    pub fn for_client(&self, prefers_chacha: bool) -> Arc<ServerConfig> {
        if prefers_chacha { self.for_chacha.clone() } else { self.usual.clone() }
    }
}

/// `None`: the options name neither key nor certificate.
pub fn settings(options: &Options) -> Result<Option<Arc<Settings>>, ConfigError> {
    if let Some(path) = &options.dh_params_file_name {
        read("dh_params_file_name", path)?;
    }
    let provider = provider(options)?;
    let verifier = client_verifier(options, &provider)?;
    let Some(certified) = certified_key(options, &provider)? else { return Ok(None) };
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(Always(Arc::new(certified))));
    config.alpn_protocols = vec![b"http/1.1".to_vec(), b"http/1.0".to_vec()];
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    // `session` handles the records of an established session.
    config.enable_secret_extraction = true;
    let for_chacha = Arc::new(config.clone());
    config.ignore_client_order = options.ssl_ciphers.is_none();
    Ok(Some(Arc::new(Settings { usual: Arc::new(config), for_chacha })))
}

/// Always the same certificate: the settings were already chosen by the name that the client sent.
#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesServerCert for Always {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

fn provider(options: &Options) -> Result<Arc<CryptoProvider>, ConfigError> {
    let mut provider = aws_lc_rs::default_provider();
    match &options.ssl_ciphers {
        Some(list) => provider.cipher_suites = ciphers::parse(list)?,
        None => ciphers::prefer_aes_128(&mut provider.cipher_suites),
    }
    Ok(Arc::new(provider))
}

/// The server asks clients for a certificate. An authority of the file must have signed a certificate that is
/// sent. As in the original, a client without one is accepted, unless the options require one.
fn client_verifier(
    options: &Options,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn rustls::server::danger::ClientCertVerifier>>, ConfigError> {
    let Some(path) = &options.ca_file_name else {
        return if options.require_client_certificate { Err(ConfigError::NobodyToRequire) } else { Ok(None) };
    };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates(&read("ca_file_name", path)?));
    let unusable = || ConfigError::NoAuthority(path.clone());
    if roots.is_empty() {
        return Err(unusable());
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let builder = if options.require_client_certificate { builder } else { builder.allow_unauthenticated() };
    builder.build().map(Some).map_err(|_| unusable())
}

fn certified_key(options: &Options, provider: &CryptoProvider) -> Result<Option<CertifiedKey>, ConfigError> {
    let (cert_path, key_path) = match (&options.cert_file_name, &options.key_file_name) {
        (None, None) => return Ok(None),
        (None, _) => return Err(ConfigError::Missing("cert_file_name")),
        (_, None) => return Err(ConfigError::Missing("key_file_name")),
        (Some(cert), Some(key)) => (cert, key),
    };
    let chain = certificates(&read("cert_file_name", cert_path)?);
    if chain.is_empty() {
        return Err(ConfigError::NoCertificate(cert_path.clone()));
    }
    let key = private_key(&read("key_file_name", key_path)?, key_path, options.passphrase.as_deref())?;
    let certified = CertifiedKey::new(chain, provider.key_provider.load_private_key(key)?);
    match certified.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(Some(certified)),
        Err(Error::InvalidCertificate(_)) if keys_match_as_anchor(&certified)? => Ok(Some(certified)),
        Err(error) => Err(error.into()),
    }
}

/// Whether key and certificate belong together, where rustls cannot read the latter: it is of X.509 version
/// 1, as `openssl x509 -req` makes them without extensions. The server only sends its certificate, so its
/// reader for authorities, which knows that version, is good enough.
fn keys_match_as_anchor(certified: &CertifiedKey) -> Result<bool, Error> {
    let mut store = RootCertStore::empty();
    store.add(certified.end_entity_cert()?.clone().into_owned())?;
    let Some(key) = certified.key.public_key() else { return Ok(true) };
    let key = AnyRef::from_der(&key).map_err(|error| Error::General(error.to_string()))?;
    match store.roots.first().map(|anchor| &anchor.subject_public_key_info) {
        Some(of_certificate) if key.value() == of_certificate.as_ref() => Ok(true),
        _ => Err(InconsistentKeys::KeyMismatch.into()),
    }
}

fn read(option: &'static str, path: &str) -> Result<Vec<u8>, ConfigError> {
    fs::read(path).map_err(|error| ConfigError::Unreadable { option, path: path.to_owned(), error })
}

/// The certificates of a PEM file, up to the first damaged section.
fn certificates(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).map_while(Result::ok).collect()
}

/// The first private key of a PEM file: PKCS#1, PKCS#8 (also encrypted) or SEC1.
fn private_key(
    pem: &[u8],
    path: &str,
    passphrase: Option<&str>,
) -> Result<PrivateKeyDer<'static>, ConfigError> {
    let no_key = || ConfigError::NoKey(path.to_owned());
    if let Some(section) = encrypted_section(pem) {
        let passphrase = passphrase.ok_or_else(|| ConfigError::NoPassphrase(path.to_owned()))?;
        let section = std::str::from_utf8(section).map_err(|_| no_key())?;
        let (_, document) = pkcs8::SecretDocument::from_pem(section).map_err(|_| no_key())?;
        let failed = |error| ConfigError::Undecryptable { path: path.to_owned(), error };
        let info = EncryptedPrivateKeyInfoOwned::try_from(document.as_bytes()).map_err(|_| no_key())?;
        let key = info.decrypt(passphrase).map_err(failed)?;
        return Ok(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into());
    }
    if find(pem, b"Proc-Type: 4,ENCRYPTED").is_some() {
        return Err(ConfigError::LegacyEncryption(path.to_owned()));
    }
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| no_key())
}

/// The first section with an encrypted PKCS#8 key (RFC 7468 §11).
fn encrypted_section(pem: &[u8]) -> Option<&[u8]> {
    let label = EncryptedPrivateKeyInfoOwned::PEM_LABEL;
    let start = find(pem, format!("-----BEGIN {label}-----").as_bytes())?;
    let end_line = format!("-----END {label}-----");
    let end = find(&pem[start..], end_line.as_bytes())?;
    Some(&pem[start..start + end + end_line.len()])
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    memchr::memmem::find(haystack, needle)
}
