//! The exported functions of an SSLApp alone: certificates by server name.

use super::engine::control;
use super::place;
use crate::event_loop::{Control, tls};
use napi::Result;
use napi_derive::napi;
use std::sync::Arc;

/// The options of an SSLApp or a server name, most of them text.
#[napi(object)]
pub struct TlsOptions {
    pub key_file_name: Option<String>,
    pub cert_file_name: Option<String>,
    pub ca_file_name: Option<String>,
    pub passphrase: Option<String>,
    pub dh_params_file_name: Option<String>,
    pub ssl_ciphers: Option<String>,
    pub require_client_certificate: Option<bool>,
}

fn settings(options: TlsOptions) -> Result<Option<Arc<tls::Settings>>> {
    let options = tls::Options {
        key_file_name: options.key_file_name,
        cert_file_name: options.cert_file_name,
        ca_file_name: options.ca_file_name,
        passphrase: options.passphrase,
        dh_params_file_name: options.dh_params_file_name,
        ssl_ciphers: options.ssl_ciphers,
        require_client_certificate: options.require_client_certificate.unwrap_or_default(),
    };
    tls::settings(&options).map_err(|error| napi::Error::from_reason(error.to_string()))
}

/// Adds an SSLApp. The text of the error is its cause.
#[napi]
pub fn add_secure_app(engine: u32, app: u32, options: TlsOptions) -> Result<()> {
    let settings = settings(options)?;
    control(engine, Control::AddApp { app });
    control(engine, Control::Secure { app, settings });
    Ok(())
}

#[napi]
pub fn add_server_name(engine: u32, app: u32, name: String, options: TlsOptions) -> Result<()> {
    let change = tls::Change::Add { name, settings: settings(options)? };
    control(engine, Control::ServerNames { app, change });
    Ok(())
}

#[napi]
pub fn remove_server_name(engine: u32, app: u32, name: String) {
    control(engine, Control::ServerNames { app, change: tls::Change::Remove { name } });
}

/// From here on the loop sends `ServerName` events, each of which JavaScript answers.
#[napi]
pub fn ask_for_missing_names(engine: u32, app: u32) {
    control(engine, Control::ServerNames { app, change: tls::Change::AskForMissing });
}

/// How many TLS handshakes have failed.
#[napi]
pub fn failed_handshakes(engine: u32) -> f64 {
    place::with(engine, |session| session.event_loop.shared.counters.failed_handshakes() as f64)
        .unwrap_or_default()
}
