//! Accepts connections in bursts, pauses when the process has no file descriptor left, and hands connections
//! over to child apps.

use super::app::App;
use super::connection::Connection;
use super::control::Control;
use super::limits::{Address, Admission, Permit};
use super::net::clock;
use super::net::socket::Stream;
use super::registry;
use super::turn::*;
use crate::channel::{ExchangeId, JsEvent, MAX_CONNECTIONS};
use crate::metrics::Metric;
use crate::trace::{self, trace};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// The number of this loop: an environment has one.
const LOOP_NUMBER: u32 = 0;

impl EventLoop {
    pub(super) fn accept(&mut self, index: usize) {
        for _ in 0..ACCEPTS_PER_TURN {
            let Some(Some(listening)) = self.listeners.get_mut(index) else { return };
            match listening.socket.accept() {
                Ok((stream, peer)) => {
                    // A descriptor is free again: the next pause is the shortest. The shortage is over, and
                    // may be warned of again, once no connection waits.
                    listening.rest = listening.rest.map(|(until, _)| (until, Duration::ZERO));
                    let app = listening.app;
                    self.let_in(stream, peer, app);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    listening.rest = None;
                    return;
                }
                Err(error) if is_transient(&error) => {}
                Err(error) => return self.rest(index, &error),
            }
        }
        // The poll may report the listener again before the next turn; list it once.
        if !self.accepting.contains(&index) {
            self.accepting.push(index);
        }
    }

    /// There is no file descriptor or memory for another connection: the listener rests, longer each time.
    pub(super) fn rest(&mut self, index: usize, error: &io::Error) {
        let Some(Some(listening)) = self.listeners.get_mut(index) else { return };
        if let Some(app) = self.ctx.apps.get(listening.app as usize) {
            app.counts.by_loop.one(Metric::DescriptorLimit);
        }
        let pause = match listening.rest {
            None => {
                let text = format!(
                    "uws-rs: accepting connections is paused: {error}; the limit of open files (ulimit -n) says \
                     how many there can be, and limits.maxConnections keeps an app below it."
                );
                log::debug!(target: trace::LOOP, "accepting for app {} is paused: {error}", listening.app);
                self.ctx.event(JsEvent::Warning, ExchangeId::default(), text.as_bytes());
                ACCEPT_BACK_OFF.0
            }
            Some((_, pause)) => (pause * 2).clamp(ACCEPT_BACK_OFF.0, ACCEPT_BACK_OFF.1),
        };
        listening.rest = Some((clock::now() + pause, pause));
    }

    /// Takes a connection that was just accepted, or closes it if there are too many, before anybody hears of
    /// it.
    pub(super) fn let_in(&mut self, stream: Stream, peer: Option<SocketAddr>, app: u32) {
        if let Ok(permit) = self.permit(app, peer) {
            self.hand_out(stream, peer, app, permit);
        }
    }

    /// Hands a connection to the next child app, or to the accepting app itself if no child app is alive.
    fn hand_out(
        &mut self,
        mut stream: Stream,
        peer: Option<SocketAddr>,
        app: u32,
        mut permit: Option<Permit>,
    ) {
        while let Some(child) = self.ctx.apps.get_mut(app as usize).and_then(App::next_child) {
            let home = Some((self.myself.clone(), app));
            match registry::hand_over(child, |app| Control::Adopt { app, stream, peer, home, permit }) {
                Err(Control::Adopt { stream: back, permit: unused, .. }) => (stream, permit) = (back, unused),
                _ => return,
            }
            self.ctx.apps[app as usize].remove_child(child);
        }
        self.adopt(stream, peer, app, Admission { own: permit, home: None });
    }

    /// A place among the connections of an app; `None` where they are not counted. An error: there is none
    /// left.
    fn permit(&self, app: u32, peer: Option<SocketAddr>) -> Result<Option<Permit>, ()> {
        let Some(app) = self.ctx.apps.get(app as usize) else { return Ok(None) };
        let Some(doors) = app.guard.as_ref().and_then(|guard| guard.doors.as_ref()) else { return Ok(None) };
        let ip = peer.map(|peer| peer.ip());
        // A proxy has many clients; a PROXY header will tell which one this is.
        let is_proxy = app.trusted.as_ref().is_some_and(|trusted| trusted.includes(ip));
        let address = ip.filter(|_| !is_proxy).map(Address::from);
        let entered = doors.enter(address).map(Some);
        entered.map_err(|limit| app.counts.by_loop.one(limit.metric()))
    }

    /// Adopts a connection that another app accepted (`handed_over`), or that a child app gives back to this
    /// one.
    pub(super) fn adopt_from(
        &mut self,
        stream: Stream,
        peer: Option<SocketAddr>,
        app: u32,
        handed_over: bool,
        permit: Option<Permit>,
    ) {
        let admission = match handed_over {
            true => self.permit(app, peer).map(|own| Admission { own, home: permit }),
            false => Ok(Admission { own: permit, home: None }),
        };
        if let Ok(admission) = admission {
            self.adopt(stream, peer, app, admission);
        }
    }

    fn adopt(&mut self, mut stream: Stream, peer: Option<SocketAddr>, app: u32, admission: Admission) {
        let counts = self.ctx.apps.get(app as usize).map(|app| app.counts.clone()).unwrap_or_default();
        let Some(slot) = self.free_slot() else { return counts.by_loop.one(Metric::ConnectionLimit) };
        let place = &mut self.slots[slot as usize];
        let generation = ExchangeId::next_generation(place.generation);
        let id = ExchangeId::new(LOOP_NUMBER, slot, generation);
        if stream.register(self.poll.registry(), connection_token(id)).is_err() {
            self.free.push(slot);
            return;
        }
        place.generation = generation;
        self.ctx.shared.slots.get(slot).begin(id.generation, peer);
        match peer {
            Some(peer) => trace!(LOOP, id, "accepted from {peer} for app {app}"),
            None => trace!(LOOP, id, "accepted for app {app}"),
        }
        let secure = self.ctx.apps.get(app as usize).is_some_and(|app| app.names.is_some());
        let tls = secure.then(Box::default);
        let mut connection = Box::new(Connection::new(id, app, stream, tls, counts, admission));
        connection.start_timeout(&mut self.ctx);
        place.connection = Some(connection);
        self.ctx.connections += 1;
        if let Some(app) = self.ctx.apps.get_mut(app as usize) {
            app.open += 1;
        }
        if std::mem::replace(&mut self.quiet, false) {
            self.ctx.event(JsEvent::Busy { adopted: false }, ExchangeId::default(), b"");
        }
        self.ctx.filter_event(app, id, true);
    }

    pub(super) fn free_slot(&mut self) -> Option<u32> {
        if let Some(slot) = self.free.pop() {
            return Some(slot);
        }
        if self.slots.len() >= MAX_CONNECTIONS {
            return None;
        }
        self.slots.push(Slot { generation: 0, connection: None });
        Some(self.slots.len() as u32 - 1)
    }
}
