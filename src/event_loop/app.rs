//! The routes and settings of Apps.

use super::limits::Guard;
use super::timer::Tick;
use super::tls;
use crate::channel::{AppCounts, DEFAULT_TIMEOUT_S};
use crate::metrics::Metric;
use crate::protocol::http::forwarded::Trusted;
use crate::routing::router::Router;
use std::sync::Arc;

/// The routes and settings of one App.
#[derive(Default)]
pub struct App {
    pub router: Router,
    /// The app has a `filter` handler: JavaScript is told of every connection.
    pub filter: bool,
    /// The server names of an SSLApp.
    pub names: Option<tls::Names>,
    pub timeouts: Timeouts,
    /// Its connections have them as well, which may outlive it.
    pub counts: Arc<AppCounts>,
    /// Its limits; `None`: none but those that every app has.
    pub guard: Option<Box<Guard>>,
    /// The proxies that may name the addresses of their clients. `None`: anybody may send a PROXY header, but
    /// what it says counts for nothing here.
    pub trusted: Option<Arc<Trusted>>,
    /// The breaches of limits that JavaScript has been told of, in the order of `Metric::limits`.
    told: Vec<u64>,
    /// Descriptors of the child apps that accepted connections go to in turn.
    children: Vec<u64>,
    next_child: usize,
    /// Connections whose socket is open.
    pub open: usize,
    /// The app shuts down.
    pub shutdown: Option<Shutdown>,
}

/// An app that shuts down.
pub struct Shutdown {
    /// The tick at which the connections that are left are cut.
    pub cut_at: Tick,
    /// Connections that were closed before they were done.
    pub cut: u32,
}

impl App {
    /// Lets `change` change the routes of the app, or of one of its server names.
    pub fn change_routes(&mut self, domain: Option<&str>, change: impl FnOnce(&mut Router)) {
        match domain.and_then(|name| self.names.as_ref()?.router(name)) {
            Some(router) => change(&mut router.borrow_mut()),
            None => change(&mut self.router),
        }
    }

    pub fn add_child(&mut self, descriptor: u64) {
        self.children.push(descriptor);
    }

    pub fn remove_child(&mut self, descriptor: u64) {
        self.children.retain(|child| *child != descriptor);
    }

    /// The limits that were breached since the last call, and how often.
    pub fn new_breaches(&mut self) -> impl Iterator<Item = (&'static str, u64)> {
        let App { counts, told, .. } = self;
        Metric::limits().enumerate().filter_map(|(index, (metric, name))| {
            let now = counts.by_loop.get(metric) + counts.by_javascript.get(metric);
            if told.len() <= index {
                told.resize(index + 1, 0);
            }
            let before = std::mem::replace(&mut told[index], now);
            (now != before).then_some((name, now - before))
        })
    }

    /// Round-robin.
    pub fn next_child(&mut self) -> Option<u64> {
        self.next_child = self.next_child.wrapping_add(1);
        self.children.get(self.next_child % self.children.len().max(1)).copied()
    }
}

/// Seconds of an App's HTTP connections; 0: no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For the first request, an incomplete one, and each window of a body.
    pub idle: Tick,
    /// After a response: for the next request. While sending: for a peer that takes no bytes.
    pub response: Tick,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts { idle: DEFAULT_TIMEOUT_S, response: DEFAULT_TIMEOUT_S }
    }
}

/// A `ws` route's options, in units the loop uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behaviour {
    pub id: u32,
    /// Bytes of one message, over all its fragments.
    pub max_payload: usize,
    /// Seconds without a byte from the peer; 0: none.
    pub idle_timeout: u32,
    /// Seconds a connection may live; 0: none.
    pub max_lifetime: u32,
    /// Bytes the kernel has refused beyond which messages are dropped; 0: unlimited.
    pub max_backpressure: usize,
    pub close_on_backpressure_limit: bool,
    pub send_pings: bool,
    pub reset_idle_timeout_on_send: bool,
    /// The packed constants of uWebSockets.js.
    pub compression: u16,
    /// No `upgrade` handler: the loop upgrades by itself.
    pub auto_upgrade: bool,
    /// Events JavaScript has a handler for: [`wants`](crate::channel::wants).
    pub wants: u32,
}
