//! The exported functions about the limits of an App.

use super::engine::control;
use super::place;
use crate::channel::Limit;
use crate::event_loop::{AppLimits, Control, Rate};
use crate::protocol::http::forwarded::Trusted;
use napi_derive::napi;
use std::sync::Arc;

/// The limits of an App, which JavaScript has checked; absent ones are not set.
#[napi(object)]
pub struct LimitOptions {
    pub max_connections: Option<u32>,
    pub max_connections_per_address: Option<u32>,
    pub max_requests_per_address: Option<RateOptions>,
    pub max_upgrades_per_address: Option<RateOptions>,
    pub head_timeout: Option<u32>,
    pub request_timeout: Option<u32>,
    pub keep_alive_timeout: Option<u32>,
    pub min_body_rate: Option<u32>,
    pub max_body_length: Option<f64>,
    pub max_requests_per_connection: Option<u32>,
    pub max_unsent_bytes: Option<f64>,
}

#[napi(object)]
pub struct RateOptions {
    pub count: u32,
    pub seconds: u32,
}

impl From<RateOptions> for Rate {
    fn from(RateOptions { count, seconds }: RateOptions) -> Self {
        Rate { count, seconds }
    }
}

impl From<LimitOptions> for AppLimits {
    fn from(options: LimitOptions) -> Self {
        AppLimits {
            max_connections: options.max_connections,
            max_connections_per_address: options.max_connections_per_address,
            max_requests_per_address: options.max_requests_per_address.map(Rate::from),
            max_upgrades_per_address: options.max_upgrades_per_address.map(Rate::from),
            head_timeout: options.head_timeout,
            request_timeout: options.request_timeout,
            keep_alive_timeout: options.keep_alive_timeout,
            min_body_rate: options.min_body_rate,
            max_body_length: options.max_body_length.map(|bytes| bytes as u64),
            max_requests_per_connection: options.max_requests_per_connection,
            max_unsent_bytes: options.max_unsent_bytes.map(|bytes| bytes as usize),
        }
    }
}

/// Sets the limits of an app that does not listen yet.
#[napi]
pub fn limits(engine: u32, app: u32, options: LimitOptions) {
    control(engine, Control::Limits { app, limits: Box::new(options.into()) });
}

/// How often each limit of an app was breached, by [`Limit`].
#[napi]
pub fn breaches(engine: u32, app: u32) -> Vec<f64> {
    let counts = place::with(engine, |session| session.event_loop.shared.counters.app(app)).flatten();
    let of = |limit: &Limit| counts.as_ref().map_or(0.0, |counts| counts.breaches(*limit) as f64);
    Limit::ALL.iter().map(of).collect()
}

/// Counts a breach of a limit that JavaScript enforces.
#[napi]
pub fn count_breach(engine: u32, app: u32, limit: u32) {
    let counts = place::with(engine, |session| session.event_loop.shared.counters.app(app)).flatten();
    if let (Some(limit), Some(counts)) = (Limit::from_number(limit), counts) {
        counts.by_javascript.one(limit.metric());
    }
}

/// The first entry of a list that is neither an address nor a network.
#[napi]
pub fn unusable_proxy(_engine: u32, list: Vec<String>) -> Option<String> {
    Trusted::parse(&list).err().map(str::to_owned)
}

/// Lets only these proxies name the addresses of their clients, from the app's first connection on.
#[napi]
pub fn trust_proxies(engine: u32, app: u32, list: Vec<String>) {
    let Ok(trusted) = Trusted::parse(&list) else { return };
    let proxies = Arc::new(trusted);
    place::with(engine, |session| session.trusted.insert(app, proxies.clone()));
    control(engine, Control::Trust { app, proxies });
}
