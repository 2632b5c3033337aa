//! The faults of 0.1, to be put back: a test shows that the simulation finds each of them. In other builds
//! none of them can be on, and nothing of this is left in the code.

// Not every build with the feature has those who put faults back, nor the simulated program.
#![cfg_attr(not(test), allow(dead_code))]

/// A fault, with its number in the issue that named it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// 1: a payload gets the buffer of another.
    ForeignBuffer,
    /// 2: a command for a connection that is gone is not acknowledged.
    LostAccount,
    /// 3: pings are answered however much waits to be sent.
    EndlessPongs,
    /// 4: a request behind an upgrade is handed over.
    BehindUpgrade,
    /// 5: a connection that has ended is still a subscriber.
    ForeignTopic,
    /// 8: dropped messages wait for JavaScript without a bound.
    EndlessDrops,
    /// 12: the time to close begins with the decision.
    CutResponse,
    /// 21: a topic is left twice.
    DoubleLeave,
    /// 22: events of connections that `app.close()` has ended make objects.
    TwoDeciders,
    /// 23: an address is read by slot.
    ForeignAddress,
    /// 29: a turn executes commands for as long as there are some.
    EndlessTurn,
    /// 30: deadlines are looked at before the bytes that wait.
    EarlyDeadlines,
    /// 31: an unread byte keeps the buffer of its read.
    WholeBuffer,
    /// 32: the copies of a publish pile up until the end of the turn.
    Pile,
    /// 33: a body that nobody asked for is expected.
    EatenRequest,
    /// 34: a connection is closed without waiting for the peer's end.
    NoLinger,
}

#[cfg(any(test, feature = "simulation"))]
thread_local! {
    static ON: std::cell::Cell<Option<Fault>> = const { std::cell::Cell::new(None) };
}

/// Puts a fault back in this thread; `None`: takes it out again.
#[cfg(any(test, feature = "simulation"))]
pub fn put_back(fault: Option<Fault>) {
    ON.set(fault);
}

#[cfg(any(test, feature = "simulation"))]
pub fn is_on(fault: Fault) -> bool {
    ON.get() == Some(fault)
}

#[cfg(not(any(test, feature = "simulation")))]
#[inline(always)]
pub const fn is_on(_: Fault) -> bool {
    false
}
