//! The client's half of TLS: the certificate that it trusts, the parameters that it offers, and one session
//! over a socket that belongs to [`crate::net`].
//!
//! The generator must not be what a trial measures, so it knows the one certificate that is right instead of
//! building a chain, and checks only some of the signatures made with it. It does everything else like any
//! client.

use std::io::{self, BufRead, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConnection, Resumption};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, HandshakeKind, SignatureScheme};
use serde_json::{Value, json};

use crate::options::Options;
use crate::{Failure, Result};

/// The TLS configuration of a run's connections.
pub struct Security {
    config: Arc<ClientConfig>,
    /// One configuration per connection, each with a store of its own: a ticket is used once, and only by the
    /// connection slot that got it.
    slots: Option<Vec<Option<Arc<ClientConfig>>>>,
}

impl Security {
    /// `--tls 1.2|1.3|any`, `--certificate FILE` and `--resume true`; `None` without `--tls`.
    pub fn take(options: &mut Options) -> Result<Option<Self>> {
        let Some(version) = options.take::<String>("tls")? else { return Ok(None) };
        let versions = match version.as_str() {
            "1.2" => vec![&TLS12],
            "1.3" => vec![&TLS13],
            "any" => vec![&TLS13, &TLS12],
            other => return Err(Failure::Usage(format!("--tls cannot be {other}"))),
        };
        let file: String =
            options.take("certificate")?.ok_or_else(|| Failure::Usage("--certificate is missing".into()))?;
        let certificate = CertificateDer::from_pem_file(&file)
            .map_err(|error| Failure::Usage(format!("--certificate {file}: {error}")))?;
        let resume = options.take_or("resume", false)?;
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider()))
            .with_protocol_versions(&versions)
            .map_err(wrong)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Known {
                certificate,
                signatures: AtomicUsize::new(0),
            }))
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Ok(Some(Security { config: Arc::new(config), slots: resume.then(Vec::new) }))
    }

    pub fn session(&mut self, conn: usize) -> Result<Session> {
        let config = match &mut self.slots {
            None => &self.config,
            Some(slots) => {
                if slots.len() <= conn {
                    slots.resize(conn + 1, None)
                }
                slots[conn].get_or_insert_with(|| {
                    let mut config = ClientConfig::clone(&self.config);
                    config.resumption = Resumption::in_memory_sessions(8);
                    Arc::new(config)
                })
            }
        };
        let name = ServerName::try_from("localhost").map_err(|error| Failure::Usage(error.to_string()))?;
        let mut session = ClientConnection::new(Arc::clone(config), name).map_err(wrong)?;
        session.set_buffer_limit(None);
        Ok(Session(session))
    }
}

/// Offers the same first as browsers: X25519, and AES-128-GCM before the other ciphers.
fn provider() -> CryptoProvider {
    use aws_lc_rs::{cipher_suite as suite, kx_group};
    CryptoProvider {
        cipher_suites: vec![
            suite::TLS13_AES_128_GCM_SHA256,
            suite::TLS13_AES_256_GCM_SHA384,
            suite::TLS13_CHACHA20_POLY1305_SHA256,
            suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        ],
        kx_groups: vec![kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1],
        ..aws_lc_rs::default_provider()
    }
}

pub struct Session(ClientConnection);

impl Session {
    /// Takes bytes from the socket and appends their plain bytes.
    pub fn open(&mut self, mut sealed: &[u8], plain: &mut Vec<u8>) -> Result<()> {
        while !sealed.is_empty() {
            self.0.read_tls(&mut sealed)?;
            let mut left = self.0.process_new_packets().map_err(wrong)?.plaintext_bytes_to_read();
            while left > 0 {
                let mut reader = self.0.reader();
                let chunk = reader.fill_buf()?;
                plain.extend_from_slice(chunk);
                let size = chunk.len();
                reader.consume(size);
                left -= size.min(left);
            }
        }
        Ok(())
    }

    /// Encrypts; [`Session::flush`] sends.
    pub fn seal(&mut self, plain: &[u8]) -> Result<()> {
        Ok(self.0.writer().write_all(plain)?)
    }

    /// Sends the waiting records, until there are none or the socket takes no more (`WouldBlock`).
    pub fn flush(&mut self, socket: &mut impl Write) -> io::Result<()> {
        while self.0.wants_write() {
            self.0.write_tls(socket)?;
        }
        Ok(())
    }

    pub fn wants_write(&self) -> bool {
        self.0.wants_write()
    }

    pub fn is_handshaking(&self) -> bool {
        self.0.is_handshaking()
    }

    /// Whether the handshake resumed an earlier session; `None` before its end.
    pub fn resumed(&self) -> Option<bool> {
        self.0.handshake_kind().map(|kind| kind == HandshakeKind::Resumed)
    }

    /// The negotiated parameters: servers with different ones are not comparable.
    pub fn report(&self) -> Value {
        json!({
            "version": self.0.protocol_version().map(|version| format!("{version:?}")),
            "suite": self.0.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite())),
            "group": self.0.negotiated_key_exchange_group().map(|group| format!("{:?}", group.name())),
        })
    }
}

/// Trusts one certificate.
#[derive(Debug)]
struct Known {
    certificate: CertificateDer<'static>,
    signatures: AtomicUsize,
}

impl Known {
    fn due(&self) -> bool {
        self.signatures.fetch_add(1, Ordering::Relaxed).is_multiple_of(SIGNATURE_CHECKED)
    }
}

impl ServerCertVerifier for Known {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        if *end_entity == self.certificate {
            return Ok(ServerCertVerified::assertion());
        }
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        if !self.due() {
            return Ok(HandshakeSignatureValid::assertion());
        }
        verify_tls12_signature(
            message,
            cert,
            signed,
            &aws_lc_rs::default_provider().signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        if !self.due() {
            return Ok(HandshakeSignatureValid::assertion());
        }
        verify_tls13_signature(
            message,
            cert,
            signed,
            &aws_lc_rs::default_provider().signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

fn wrong(error: rustls::Error) -> Failure {
    Failure::Server(format!("TLS: {error}"))
}

/// One signature in so many is checked.
const SIGNATURE_CHECKED: usize = 64;
