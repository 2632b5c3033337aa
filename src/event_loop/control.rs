//! Rare commands, and the handle by which other loops hand connections over.

use super::app::{Behaviour, Timeouts};
use super::limits::{AppLimits, Permit};
use super::net::listener::Bound;
use super::net::socket;
use super::timer::Tick;
use super::tls;
use crate::caching::{self, coding::Coding};
use crate::channel::Shared;
use crate::metrics::Scope;
use crate::protocol::http::forwarded::Trusted;
use crate::routing::declarative::Program;
use crate::routing::router::{Method, Priority};
use crossbeam_channel::Sender;
use mio::Waker;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Rare commands, whose contents do not fit into a record.
pub enum Control {
    AddApp {
        app: u32,
    },
    /// Makes an app an SSLApp, with the certificate for clients that ask for no known server name.
    Secure {
        app: u32,
        settings: Option<Arc<tls::Settings>>,
    },
    ServerNames {
        app: u32,
        change: tls::Change,
    },
    Route {
        app: u32,
        /// The server name to whose router the route belongs.
        domain: Option<String>,
        method: Method,
        pattern: Vec<u8>,
        priority: Priority,
        handler: u32,
    },
    RemoveRoute {
        app: u32,
        domain: Option<String>,
        method: Method,
        pattern: Vec<u8>,
    },
    Behaviour(Behaviour),
    /// The routes with this handler are answered by the loop.
    Declared {
        handler: u32,
        program: Program,
    },
    /// The routes with this handler are answered by the loop, with its figures.
    Metrics {
        handler: u32,
        scope: Scope,
    },
    /// The routes with this handler are answered with stored replies.
    Cached {
        handler: u32,
        app: u32,
        options: Box<caching::Options>,
    },
    /// The helper is done with a stored reply; these codings made its body smaller.
    Compressed {
        job: u64,
        variants: Vec<(Coding, Vec<u8>)>,
    },
    /// Forgets the stored replies for a URL, or for all that begin as one that ends in `*`.
    Invalidate {
        app: u32,
        url: Vec<u8>,
    },
    Filter {
        app: u32,
    },
    Timeouts {
        app: u32,
        timeouts: Timeouts,
    },
    /// Sent before the app listens, so that its connections have the same limits from their first to their
    /// last moment.
    Limits {
        app: u32,
        limits: Box<AppLimits>,
    },
    /// Nobody else may name the addresses of clients from now on. Sent before the app listens.
    Trust {
        app: u32,
        proxies: Arc<Trusted>,
    },
    Listen {
        app: u32,
        listener: u32,
        bound: Bound,
    },
    /// The app accepts nothing more; what is left of it after so many seconds is cut.
    ShutDown {
        app: u32,
        seconds: Tick,
    },
    /// A shorter time for an app that shuts down. Nothing if it has already, of which JavaScript is still to
    /// hear.
    HurryUp {
        app: u32,
        seconds: Tick,
    },
    /// From now on `app` hands its accepted connections to the child app with this descriptor, too.
    AddChild {
        app: u32,
        descriptor: u64,
    },
    RemoveChild {
        app: u32,
        descriptor: u64,
    },
    /// A connection another loop accepted for `app`. `home`: the app that accepted it. A loop that ends gives
    /// the connection back to it.
    Adopt {
        app: u32,
        stream: socket::Stream,
        peer: Option<std::net::SocketAddr>,
        home: Option<(Remote, u32)>,
        /// Its place among the connections of the app that accepted it.
        permit: Option<Permit>,
    },
    /// A connection that JavaScript hands over, accepted elsewhere.
    Accepted {
        app: u32,
        stream: socket::Stream,
        peer: Option<std::net::SocketAddr>,
    },
    /// For tests of the panic path.
    #[doc(hidden)]
    Panic(String),
    /// The loop is busy until the other side is dropped.
    #[cfg(test)]
    Wait(crossbeam_channel::Receiver<()>),
    /// Says how many allocations the loop's thread has made.
    #[cfg(test)]
    Allocations(Sender<usize>),
}

/// A loop as other loops see it.
#[derive(Clone)]
pub struct Remote {
    pub(super) shared: Arc<Shared>,
    pub(super) control: Sender<Control>,
    pub(super) waker: Arc<Waker>,
}

impl Remote {
    /// Gives the command back if the loop has ended.
    pub(super) fn control(&self, control: Control) -> Result<(), Control> {
        if self.shared.stop.load(Ordering::SeqCst) {
            return Err(control);
        }
        self.control.send(control).map_err(|error| error.into_inner())?;
        if self.shared.commands.needs_wake() {
            let _ = self.waker.wake();
        }
        Ok(())
    }

    pub(super) fn is_same(&self, other: &Remote) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}
