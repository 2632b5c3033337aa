//! The accounts of what JavaScript has sent on each connection, and what it is told of backpressure.

use super::session::Session;
use crate::channel::{Account, ConnId, MAX_CONNECTIONS, command_cost};

/// `tryEnd` accepts no more than keeps this many bytes in flight.
pub const TRY_END_WINDOW: usize = 1 << 20;
/// With more than this on its way to one connection, the loop is waited for before the next message is judged.
const SEND_WINDOW: usize = 1 << 20;

/// JavaScript's account of one connection: the last one of its slot that anything was sent on.
#[derive(Clone, Copy, Default)]
pub struct Ledger {
    generation: u32,
    /// `command_cost` of all commands sent, wrapping. As much of it as the loop has not acknowledged is in flight.
    sent: usize,
    /// A send was answered 0 since the kernel last took everything.
    warned: bool,
}

/// Generations are of 31 bits and wrap.
fn is_later(generation: u32, than: u32) -> bool {
    let ahead = generation.wrapping_sub(than) & 0x7fff_ffff;
    ahead != 0 && ahead < 0x4000_0000
}

impl Session {
    /// Counts a record's payload as sent on a connection.
    pub fn count_sent(&mut self, id: ConnId, payload: usize) {
        let slot = id.slot as usize;
        if slot >= MAX_CONNECTIONS {
            return;
        }
        if slot >= self.ledger.len() {
            self.ledger.resize(slot + 1, Ledger::default());
        }
        let ledger = &mut self.ledger[slot];
        if is_later(id.generation, ledger.generation) {
            *ledger = Ledger { generation: id.generation, ..Ledger::default() };
        }
        // Bytes for a connection that is gone must not count for the next one in its slot.
        if ledger.generation == id.generation {
            ledger.sent = ledger.sent.wrapping_add(command_cost(payload));
        }
    }

    /// `count_sent` for a message or a response, which unlike `tryEnd` come one after the other without a bound of their own.
    pub fn count_answer(&mut self, id: ConnId, payload: usize) {
        self.answered += payload;
        self.count_sent(id, payload);
    }

    /// `None`: nothing was sent on this connection, or it is gone and another has its slot.
    fn ledger(&mut self, id: ConnId) -> Option<&mut Ledger> {
        self.ledger.get_mut(id.slot as usize).filter(|ledger| ledger.generation == id.generation)
    }

    /// Bytes the kernel refused, and those sent since that the loop has not seen.
    pub fn backlog_and_flight(&mut self, id: ConnId) -> (usize, usize) {
        let Some(sent) = self.ledger(id).map(|ledger| ledger.sent) else { return (0, 0) };
        let account = self.event_loop.shared.slots.get(id.slot).account(id.generation);
        account.map_or((0, 0), |Account { backlog, acked }| (backlog, sent.wrapping_sub(acked)))
    }

    /// What waits behind bytes the kernel has refused; 0 as long as it refuses none.
    fn buffered(&mut self, id: ConnId) -> usize {
        match self.backlog_and_flight(id) {
            (0, _) => 0,
            (backlog, flight) => backlog + flight,
        }
    }

    /// Whether a message may be sent, and what to answer: 1, 0, or 2 for one that is dropped.
    ///
    /// Between two calls the backlog may jump from nothing past the limit; the first message to meet it is accepted
    /// all the same, so that a program that stops at 0 never loses one.
    pub fn admit(&mut self, id: ConnId, limit: usize) -> u32 {
        let (backlog, flight) = self.backlog_and_flight(id);
        if backlog == 0 && flight > SEND_WINDOW {
            // As long as the original's own system call would take; then the answer is as true as its.
            self.settle();
        }
        let buffered = self.buffered(id);
        let Some(Ledger { warned, .. }) = self.ledger(id) else { return 1 };
        if buffered == 0 {
            *warned = false;
            return 1;
        }
        let over = limit > 0 && buffered > limit;
        if over && *warned {
            return 2;
        }
        *warned = true;
        0
    }

    /// `getBufferedAmount`, after which the program knows that the connection is slow.
    pub fn tell_buffered(&mut self, id: ConnId) -> usize {
        let buffered = self.buffered(id);
        if let Some(ledger) = self.ledger(id).filter(|_| buffered > 0) {
            ledger.warned = true;
        }
        buffered
    }
}
