//! Debug builds assert at the end of every turn that everything that is counted exists and is counted once.

use super::connection::Connection;
use super::turn::EventLoop;
use crate::metrics::Metric;
use std::sync::atomic::Ordering;

/// With more slots than this, only some turns are checked.
const EACH_TURN: usize = 256;
/// One of so many turns is checked then.
const TURNS: usize = 64;

/// The gauges of connections.
const KINDS: [Metric; 5] = [
    Metric::PlainHttp,
    Metric::PlainWebSocket,
    Metric::TlsHandshaking,
    Metric::TlsHttp,
    Metric::TlsWebSocket,
];

impl EventLoop {
    pub(super) fn check_accounts(&self) {
        let turn = self.ctx.shared.counters.turns.load(Ordering::Relaxed);
        if !cfg!(debug_assertions) || self.slots.len() > EACH_TURN && !turn.is_multiple_of(TURNS) {
            return;
        }
        let all = || self.slots.iter().filter_map(|slot| slot.connection.as_deref());
        all().for_each(|connection| connection.check(&self.ctx));
        let sum = |count: fn(&Connection) -> usize| all().map(count).sum::<usize>();
        assert_eq!(self.ctx.connections, sum(|each| usize::from(each.is_open())), "connections");
        for (number, app) in self.ctx.apps.iter().enumerate() {
            let open = all().filter(|each| each.app() as usize == number && each.is_open()).count();
            assert_eq!(app.open, open, "connections of app {number}");
        }
        let shutting_down = self.ctx.apps.iter().filter(|app| app.shutdown.is_some()).count();
        assert_eq!(self.ctx.shutting_down, shutting_down, "apps that shut down");
        assert_eq!(self.ctx.topics.subscriptions(), sum(Connection::subscriptions), "subscriptions");
        let unsent = self.ctx.shared.counters.unsent.load(Ordering::SeqCst);
        assert_eq!(unsent, sum(|each| each.transport().backlog()), "bytes the kernel has refused");
        assert_eq!(self.ctx.held, sum(Connection::held), "bytes that connections hold");
        assert!(self.ctx.dirty.len() >= sum(|each| usize::from(each.transport().dirty)), "to be written");
        assert!(self.ctx.ready.len() >= sum(|each| usize::from(each.transport().queued)), "to be read");
        for app in &self.ctx.apps {
            for kind in KINDS {
                let counted = |each: &&Connection| {
                    std::ptr::eq(each.counts(), &app.counts.by_loop) && each.kind() == Some(kind)
                };
                assert_eq!(app.counts.by_loop.get(kind), all().filter(counted).count() as u64, "{kind:?}");
            }
        }
        self.ctx.caches.check();
        for doors in self.ctx.apps.iter().filter_map(|app| app.guard.as_ref()?.doors.as_ref()) {
            doors.check(all().filter(|each| each.is_counted_by(doors)).count());
        }
        assert_eq!(self.slots.len(), self.free.len() + all().count(), "slots");
        assert!(self.free.iter().all(|slot| self.slots[*slot as usize].connection.is_none()), "free slots");
    }
}
