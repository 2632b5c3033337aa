//! A loop without a thread, whose owner has it turn: in the thread of a simulated kernel.

use super::control::{Control, Remote};
use super::net::event::Event;
use super::net::simulated::kernel;
use super::turn::{EVENTS_PER_POLL, EventLoop, WAKER};
use crate::channel::mailbox::Batch;
use crate::channel::{CommandBatch, ExchangeId, Shared, WakeJs};
use crate::protocol::http::request::Limits;
use mio::{Poll, Waker};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The loop, and its poll of the simulated kernel.
pub struct Simulated {
    event_loop: EventLoop,
    poll: usize,
    events: Vec<Event>,
}

/// Memory of a loop, in bytes, and the things that it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    pub connections: usize,
    /// Slots that are not free.
    pub slots: usize,
    pub listeners: usize,
    pub subscriptions: usize,
    /// Entries of the wheel.
    pub deadlines: usize,
    /// Bytes that wait to be sent, in memory of one connection alone.
    pub outbound: usize,
    /// Bytes that were received and are not parsed, by the memory they are in.
    pub unread: usize,
    /// Bodies that declared answers wait for.
    pub collected: usize,
    /// Events that are not handed over.
    pub events: usize,
    pub dropped: usize,
}

/// One connection, as [`Simulated::each`] shows it.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub id: ExchangeId,
    pub is_open: bool,
    pub unsent: usize,
    /// Tickets of a session wait for the first response.
    pub has_tickets: bool,
    /// Bytes that are not parsed, and the memory they are in.
    pub unread: (usize, usize),
}

impl Simulated {
    /// `poll`: the number of its poll in the kernel, which no other loop has.
    pub fn new(poll: usize, limits: Limits, wake_js: Arc<dyn WakeJs>) -> io::Result<Self> {
        // This poll never has a socket; the waker of other loops needs one.
        let system = Poll::new()?;
        let waker = Arc::new(Waker::new(system.registry(), WAKER)?);
        let (control, inbox) = crossbeam_channel::unbounded();
        let myself = Remote { shared: Arc::new(Shared::default()), control, waker };
        let event_loop = EventLoop::new(system, myself, inbox, limits, wake_js);
        Ok(Simulated { event_loop, poll, events: Vec::new() })
    }

    pub fn shared(&self) -> &Arc<Shared> {
        &self.event_loop.ctx.shared
    }

    pub fn remote(&self) -> Remote {
        self.event_loop.myself.clone()
    }

    /// How long the loop may sleep, as it would ask its poll to. `None`: until it is woken.
    pub fn sleep_for(&mut self) -> Option<Duration> {
        kernel(|kernel| kernel.run_poll(self.poll));
        self.event_loop.sleep_for()
    }

    /// Whether its poll has something to report.
    pub fn is_ready(&self) -> bool {
        kernel(|kernel| kernel.is_ready(self.poll))
    }

    /// Polls once, without a wait, and does the turn.
    pub fn turn(&mut self) {
        kernel(|kernel| {
            kernel.run_poll(self.poll);
            kernel.poll(self.poll, EVENTS_PER_POLL, &mut self.events);
        });
        self.event_loop.turn(self.events.iter().copied());
    }

    /// Shows each connection.
    pub fn each(&self) -> impl Iterator<Item = Seen> + '_ {
        let connections = self.event_loop.slots.iter().filter_map(|slot| slot.connection.as_deref());
        connections.map(|connection| Seen {
            id: connection.id(),
            is_open: connection.is_open(),
            unsent: connection.transport().unsent(),
            has_tickets: connection
                .transport()
                .tls
                .as_ref()
                .is_some_and(|tls| tls.unsent() > 0 && tls.may_wait()),
            unread: connection.unread(),
        })
    }

    pub fn held(&self) -> Held {
        let EventLoop { ctx, slots, listeners, free, .. } = &self.event_loop;
        let all = || slots.iter().filter_map(|slot| slot.connection.as_deref());
        Held {
            connections: ctx.connections,
            slots: slots.len() - free.len(),
            listeners: listeners.iter().flatten().count(),
            subscriptions: ctx.topics.subscriptions(),
            deadlines: ctx.wheel.len(),
            outbound: all().map(|each| each.transport().out.own_bytes()).sum(),
            unread: all().map(|each| each.unread().1).sum(),
            collected: ctx.collected.get(),
            events: ctx.events.bytes(),
            dropped: ctx.dropped.bytes(),
        }
    }
}

/// Puts a rare command into a batch for a simulated loop.
pub fn push_control(shared: &Shared, batch: &mut CommandBatch, control: Control) {
    shared.controls.fetch_add(1, Ordering::SeqCst);
    batch.push_boxed(Box::new(control));
}
