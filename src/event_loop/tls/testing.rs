//! The peers of sessions in tests, simulated runs and fuzzing: a client of rustls, and settings of a server.

use super::config::{Options, Settings, settings};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme, SupportedProtocolVersion};
use std::sync::Arc;

/// A key of ECDSA that was made for tests and is used nowhere else, and its certificate.
pub const KEY: &str = include_str!("../../../testdata/key.pem");
pub const CERTIFICATE: &str = include_str!("../../../testdata/certificate.pem");

/// The settings of a server with this key and certificate, both in PEM. `name` keeps their files apart from
/// those of others in the process.
pub fn settings_with(name: &str, key: &str, certificate: &str) -> Arc<Settings> {
    let file = |kind: &str, content: &str| {
        let file = format!("uws-rs-{name}-{}-{kind}.pem", std::process::id());
        let path = std::env::temp_dir().join(file);
        std::fs::write(&path, content).expect("temporary file");
        path.to_str().expect("path").to_owned()
    };
    let (key, cert) = (file("key", key), file("cert", certificate));
    let options = Options {
        key_file_name: Some(key.clone()),
        cert_file_name: Some(cert.clone()),
        ..Options::default()
    };
    let settings = settings(&options).expect("settings").expect("certificate");
    for path in [key, cert] {
        std::fs::remove_file(path).expect("temporary file");
    }
    settings
}

/// A client that takes any certificate, but not a signature that does not fit it.
pub fn client_config(
    provider: CryptoProvider,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)
        .expect("versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting))
        .with_no_client_auth()
}

#[derive(Debug)]
struct Trusting;

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        // The schemes of the keys that there are: ECDSA for tests, Ed25519 for simulated runs.
        vec![SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::ED25519]
    }
}
