//! Keeps the loop's part of the process within the memory budget: over it, the slowest consumers go first.
//!
//! | over the budget | consequence |
//! | --- | --- |
//! | at once | messages for a WebSocket that has a backlog are dropped; stored replies of cached routes go |
//! | for 50 ms | connections whose peer has taken nothing for 2 s are closed, by bytes × seconds |
//! | for 2 s, or by a quarter | others, those that hold most first |
//!
//! Messages are dropped in `deliver`, and by `admit` in the bridge. In the 50 ms other loops count again.
//! It ends as soon as the budget is kept. Connections are looked at only over the budget, and ten times a
//! second at most.

use super::connection::Connection;
use super::net::clock;
use super::registry;
use super::turn::*;
use super::victims::{GRACE, Victim};
use crate::channel::mailbox::Batch;
use crate::channel::{Budget, ExchangeId, JsEvent};
use std::time::{Duration, Instant};

/// From then on those that take bytes have to go, too.
const PATIENCE: Duration = Duration::from_secs(2);
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

impl EventLoop {
    /// Bytes that the loop holds, for connections and in queues.
    fn held(&self) -> usize {
        let shared = &self.ctx.shared;
        let queued = shared.events.bytes() + shared.dropped.bytes() + shared.commands.bytes();
        let collecting = self.ctx.events.bytes() + self.ctx.dropped.bytes();
        self.ctx.held + self.ctx.frames.get() + self.ctx.caches.bytes.get() + queued + collecting
    }

    /// Called at the end of a turn.
    pub(super) fn keep_to_budget(&mut self) {
        self.relieving.share.set(self.held());
        self.shed_replies();
        if !self.relieving.share.budget().is_over() {
            if self.relieving.over_since.take().is_some() {
                self.relieving.victims = Vec::new();
            }
            return;
        }
        let (now, budget) = (clock::now(), self.relieving.share.budget().clone());
        let since = *self.relieving.over_since.get_or_insert_with(|| {
            registry::wake_all();
            now
        });
        if now.duration_since(since) < GRACE && !budget.is_far_over() {
            return;
        }
        self.relieve(&budget, now, now.duration_since(since) >= PATIENCE);
    }

    /// Stored replies can be made again, so they go before anybody is closed.
    fn shed_replies(&mut self) {
        while self.relieving.share.budget().is_over() && self.ctx.caches.shed() {
            self.relieving.share.set(self.held());
        }
    }

    fn relieve(&mut self, budget: &Budget, now: Instant, is_out_of_patience: bool) {
        // Another loop is at it. If that is not enough, this one is awake again soon.
        let Some(mut relief) = budget.relief.try_lock() else { return };
        if self.relieving.looked_at.is_none_or(|last| now.duration_since(last) >= BETWEEN_LOOKS) {
            self.relieving.looked_at = Some(now);
            self.look_for_victims();
        }
        while budget.is_over() {
            let Some(victim) = self.relieving.victims.pop() else { break };
            if !victim.is_stalled && !is_out_of_patience && !budget.is_far_over() {
                self.relieving.victims.push(victim);
                break;
            }
            let EventLoop { slots, ctx, .. } = self;
            if let Some(connection) = connection_at(slots, victim.slot as usize)
                && connection.id().generation == victim.generation
                && connection.is_open()
            {
                connection.give_up(ctx);
                relief.count();
                self.relieving.share.set(self.held());
            }
        }
        if let Some(closed) = relief.due(now) {
            let text = format!(
                "uws-rs: {closed} slow connections were closed, because more than {} bytes waited in memory \
                 for all of them; uWS.memoryBudget() sets how much may.",
                budget.limit()
            );
            self.ctx.event(JsEvent::Warning, ExchangeId::default(), text.as_bytes());
        }
    }

    fn look_for_victims(&mut self) {
        let now = self.ctx.now();
        let victim = |connection: &Connection| {
            let (stalled_for, bytes) = (connection.stalled_for(now), connection.burden());
            let ExchangeId { slot, generation } = connection.id();
            let weight = bytes as u64 * u64::from(stalled_for.max(1));
            (bytes > 0).then_some(Victim { is_stalled: stalled_for > 0, weight, slot, generation })
        };
        let all = self.slots.iter().filter_map(|slot| slot.connection.as_deref());
        let mut victims: Vec<_> = all.filter_map(victim).collect();
        victims.sort_unstable();
        self.relieving.victims = victims;
    }
}
