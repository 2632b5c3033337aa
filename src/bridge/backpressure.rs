//! The accounts of what JavaScript has sent on each connection, and when a program is told to wait.
//!
//! Backpressure acts as soon as the kernel has refused bytes of a connection: from then on until it has taken
//! everything, all that is on its way to that connection counts as buffered, and messages beyond its limit
//! are dropped. Before that, only one thing acts: with more than [`SEND_WINDOW`] in flight the next message
//! waits until the loop has tried to write.

use crate::channel::{Account, Answer, ExchangeId, MAX_CONNECTIONS, MAX_UNSENT, SlotTable, command_cost};

/// `tryEnd` accepts bytes until this many are in flight.
pub const TRY_END_WINDOW: usize = 1 << 20;
// lib/pipeline.js takes an answer `SENT` for less than the default limit of unsent bytes.
const _: () = assert!(TRY_END_WINDOW <= MAX_UNSENT);
/// With more than this in flight to one connection, JavaScript waits for the loop before it decides about the
/// next message.
const SEND_WINDOW: usize = 1 << 20;

/// The account of one connection: the last one of its slot that anything was sent on.
///
/// The session owns it and is the only one to count `sent`. The loop owns the other half, [`Account`] in
/// `SlotState`, and is the only one to count `acked`: once for each command it has executed, or dropped
/// because the connection had ended. Both halves belong to one generation. After the loop has given the slot
/// to another connection, nothing counts for this one any more: the session finds no account, and answers as
/// if nothing were buffered. After the loop thread has ended, `acked` stands still and bytes that are sent
/// stay in flight, until JavaScript reads the `Panic` event, with which all its objects end.
#[derive(Clone, Copy, Default)]
struct Ledger {
    /// 0 before anything is sent: the first connection of a slot has generation 1.
    generation: u32,
    /// [`command_cost`] of all commands sent, wrapping. As much of it as the loop has not acknowledged is in
    /// flight.
    sent: usize,
    /// The program was told that the connection is slow since the kernel last took everything.
    warned: bool,
}

/// The accounts of all connections.
#[derive(Default)]
pub struct Ledgers {
    by_slot: Vec<Ledger>,
    /// Slots whose accounts have changed since [`check`](Self::check).
    #[cfg(debug_assertions)]
    changed: Vec<u32>,
}

impl Ledgers {
    /// Counts a record's payload as sent on a connection. Called before the record is handed over.
    pub fn count_sent(&mut self, id: ExchangeId, payload: usize) {
        let slot = id.slot as usize;
        if slot >= MAX_CONNECTIONS {
            return;
        }
        if slot >= self.by_slot.len() {
            self.by_slot.resize(slot + 1, Ledger::default());
        }
        let ledger = &mut self.by_slot[slot];
        if ExchangeId::is_later(id.generation, ledger.generation) {
            *ledger = Ledger { generation: id.generation, ..Ledger::default() };
        }
        // Bytes for a connection that is gone must not count for the next one in its slot.
        if ledger.generation == id.generation {
            ledger.sent = ledger.sent.wrapping_add(command_cost(payload));
            #[cfg(debug_assertions)]
            self.changed.push(id.slot);
        }
    }

    /// `None`: nothing was sent on this connection, or it is gone and another has its slot.
    fn of(&mut self, id: ExchangeId) -> Option<&mut Ledger> {
        self.by_slot.get_mut(id.slot as usize).filter(|ledger| ledger.generation == id.generation)
    }

    /// The bytes that the kernel refused, and those that were sent since and that the loop has not seen.
    pub fn backlog_and_flight(&mut self, id: ExchangeId, slots: &SlotTable) -> (usize, usize) {
        let Some(sent) = self.of(id).map(|ledger| ledger.sent) else { return (0, 0) };
        let account = slots.get(id.slot).account(id.generation);
        account.map_or((0, 0), |Account { backlog, acked }| (backlog, sent.wrapping_sub(acked)))
    }

    /// Bytes that wait behind those the kernel has refused; 0 as long as it refuses none.
    fn buffered(&mut self, id: ExchangeId, slots: &SlotTable) -> usize {
        match self.backlog_and_flight(id, slots) {
            (0, _) => 0,
            (backlog, flight) => backlog + flight,
        }
    }

    /// Whether so much is in flight that it is uncertain whether the kernel will take the next message.
    pub fn is_uncertain(&mut self, id: ExchangeId, slots: &SlotTable) -> bool {
        let (backlog, flight) = self.backlog_and_flight(id, slots);
        backlog == 0 && flight > SEND_WINDOW
    }

    /// Decides whether a message may be sent. Returns the answer to the program.
    ///
    /// Between two calls the backlog may jump from nothing past the limit; the first message to meet it is
    /// accepted all the same, so that a program that stops at 0 never loses one.
    pub fn admit(&mut self, id: ExchangeId, limit: usize, is_over_budget: bool, slots: &SlotTable) -> Answer {
        let buffered = self.buffered(id, slots);
        let Some(Ledger { warned, .. }) = self.of(id) else { return Answer::Sent };
        if buffered == 0 {
            *warned = false;
            return Answer::Sent;
        }
        let over = limit > 0 && buffered > limit || is_over_budget;
        if over && *warned {
            return Answer::Dropped;
        }
        *warned = true;
        Answer::Backpressure
    }

    /// `getBufferedAmount`. A program that is told of bytes knows that the connection is slow.
    pub fn tell_buffered(&mut self, id: ExchangeId, slots: &SlotTable) -> usize {
        let buffered = self.buffered(id, slots);
        if let Some(ledger) = self.of(id).filter(|_| buffered > 0) {
            ledger.warned = true;
        }
        buffered
    }

    /// Panics if the loop has acknowledged more than was sent on one of the connections that anything was
    /// sent on since the last check. Called when all that is counted has been handed over.
    ///
    /// Right at any time, although the loop goes on counting meanwhile: it acknowledges commands that were
    /// handed over, each once, and all of those are in `sent`.
    #[cfg(debug_assertions)]
    pub fn check(&mut self, slots: &SlotTable) {
        for slot in std::mem::take(&mut self.changed) {
            self.check_one(slot, slots);
        }
    }

    /// `check` of every connection.
    #[cfg(debug_assertions)]
    pub fn check_all(&mut self, slots: &SlotTable) {
        self.changed.clear();
        for slot in 0..self.by_slot.len() as u32 {
            self.check_one(slot, slots);
        }
    }

    #[cfg(debug_assertions)]
    fn check_one(&self, slot: u32, slots: &SlotTable) {
        let Ledger { generation, sent, .. } = self.by_slot[slot as usize];
        let Some(Account { acked, .. }) = slots.get(slot).account(generation) else { return };
        let is_covered = sent.wrapping_sub(acked) as isize >= 0;
        assert!(is_covered, "connection {slot}/{generation}: sent {sent}, acknowledged {acked}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: ExchangeId = ExchangeId { slot: 3, generation: 7 };
    const LATER: ExchangeId = ExchangeId { generation: 8, ..ID };

    /// Accounts of both sides as they are when a connection begins.
    fn begun(id: ExchangeId) -> (Ledgers, SlotTable) {
        let slots = SlotTable::default();
        slots.get(id.slot).begin(id.generation, None);
        (Ledgers::default(), slots)
    }

    #[test]
    fn bytes_are_in_flight_until_the_loop_acknowledges_them() {
        let (mut ledgers, slots) = begun(ID);
        assert_eq!(ledgers.backlog_and_flight(ID, &slots), (0, 0));
        ledgers.count_sent(ID, 100);
        ledgers.count_sent(ID, 0);
        let cost = command_cost(100) + command_cost(0);
        assert_eq!(ledgers.backlog_and_flight(ID, &slots), (0, cost));
        assert_eq!(ledgers.tell_buffered(ID, &slots), 0, "the kernel has refused none of it");
        slots.get(ID.slot).set_backlog(5);
        assert_eq!(ledgers.tell_buffered(ID, &slots), 5 + cost);
        slots.get(ID.slot).acknowledge(cost);
        assert_eq!(ledgers.backlog_and_flight(ID, &slots), (5, 0));
    }

    #[test]
    fn an_account_is_of_one_connection() {
        let (mut ledgers, slots) = begun(ID);
        ledgers.count_sent(ID, 100);
        slots.get(ID.slot).begin(LATER.generation, None);
        assert_eq!(ledgers.backlog_and_flight(ID, &slots), (0, 0), "the loop has another there");
        assert_eq!(ledgers.backlog_and_flight(LATER, &slots), (0, 0));
        ledgers.count_sent(LATER, 1);
        ledgers.count_sent(ID, 100);
        assert_eq!(
            ledgers.backlog_and_flight(LATER, &slots),
            (0, command_cost(1)),
            "not those of the earlier one"
        );
        assert_eq!(ledgers.backlog_and_flight(ID, &slots), (0, 0));
    }

    #[test]
    fn generations_wrap() {
        let last = ExchangeId { generation: 0x7fff_ffff, ..ID };
        let first = ExchangeId { generation: 0, ..ID };
        let (mut ledgers, slots) = begun(first);
        let earlier = [0x3fff_ffff, 0x7fff_fffe].map(|generation| ExchangeId { generation, ..ID });
        for id in [earlier[0], earlier[1], last, first] {
            ledgers.count_sent(id, 1);
            slots.get(id.slot).begin(id.generation, None);
            assert_eq!(ledgers.backlog_and_flight(id, &slots), (0, command_cost(1)), "{id:?}");
        }
        ledgers.count_sent(last, 1);
        assert_eq!(ledgers.backlog_and_flight(first, &slots), (0, command_cost(1)));
    }

    #[test]
    fn slots_that_no_connection_has_are_not_counted() {
        let mut ledgers = Ledgers::default();
        ledgers.count_sent(ExchangeId { slot: u32::MAX, generation: 1 }, 1);
        assert!(ledgers.by_slot.is_empty());
    }

    #[test]
    fn the_first_message_beyond_the_limit_is_accepted_and_the_next_dropped() {
        let (mut ledgers, slots) = begun(ID);
        assert_eq!(ledgers.admit(ID, 10, false, &slots), Answer::Sent, "nothing was sent yet");
        ledgers.count_sent(ID, 1);
        assert_eq!(ledgers.admit(ID, 10, false, &slots), Answer::Sent);
        slots.get(ID.slot).set_backlog(1000);
        assert_eq!(ledgers.admit(ID, 0, false, &slots), Answer::Backpressure, "there is no limit");
        assert_eq!(ledgers.admit(ID, 0, true, &slots), Answer::Dropped, "the process holds too much");
        assert_eq!(ledgers.admit(ID, 10, false, &slots), Answer::Dropped);
        slots.get(ID.slot).set_backlog(0);
        assert_eq!(ledgers.admit(ID, 10, false, &slots), Answer::Sent);
        slots.get(ID.slot).set_backlog(1000);
        assert_eq!(ledgers.admit(ID, 10, false, &slots), Answer::Backpressure, "not known to be slow");
        assert_eq!(ledgers.admit(ID, 10, false, &slots), Answer::Dropped);
    }

    #[test]
    fn a_program_that_has_asked_knows_that_a_connection_is_slow() {
        let (mut ledgers, slots) = begun(ID);
        ledgers.count_sent(ID, 1);
        slots.get(ID.slot).set_backlog(1000);
        assert!(ledgers.tell_buffered(ID, &slots) > 1000);
        assert_eq!(ledgers.admit(ID, 10, false, &slots), Answer::Dropped);
    }

    #[cfg(debug_assertions)]
    #[test]
    fn accounts_of_which_no_more_is_acknowledged_than_was_sent_pass() {
        let (mut ledgers, slots) = begun(ID);
        ledgers.count_sent(ID, 100);
        slots.get(ID.slot).acknowledge(command_cost(100));
        ledgers.check(&slots);
        ledgers.count_sent(ID, 100);
        slots.get(ID.slot).begin(LATER.generation, None);
        slots.get(ID.slot).acknowledge(1000);
        ledgers.check(&slots);
        ledgers.check_all(&slots);
    }

    #[cfg(debug_assertions)]
    #[test]
    #[should_panic = "connection 3/7: sent 17, acknowledged 18"]
    fn an_account_of_which_more_is_acknowledged_than_was_sent_does_not() {
        let (mut ledgers, slots) = begun(ID);
        ledgers.count_sent(ID, 1);
        slots.get(ID.slot).acknowledge(command_cost(1) + 1);
        ledgers.check(&slots);
    }

    #[test]
    fn much_in_flight_is_uncertain_until_the_kernel_refuses() {
        let (mut ledgers, slots) = begun(ID);
        ledgers.count_sent(ID, SEND_WINDOW - command_cost(0));
        assert!(!ledgers.is_uncertain(ID, &slots));
        ledgers.count_sent(ID, 0);
        assert!(ledgers.is_uncertain(ID, &slots));
        slots.get(ID.slot).set_backlog(1);
        assert!(!ledgers.is_uncertain(ID, &slots));
    }
}
