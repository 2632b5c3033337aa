//! The bytes of a connection: its socket, the TLS records on it, the bytes that wait to be sent, and its
//! deadline. The transport does not know the meaning of the bytes.
//!
//! Owner: the connection. Only the transport writes the account that JavaScript reads (`SlotState`), which
//! belongs to the generation of `id`.

use super::outbound::{MAX_SLICES, Outbound, SharedBytes};
use crate::channel::buffers::Buffer;
use crate::channel::{AppCounts, Certificate, ExchangeId};
use crate::event_loop::context::Context;
use crate::event_loop::net::socket::Stream;
use crate::event_loop::timer::Tick;
use crate::event_loop::tls::{DomainRouter, Failure, Tls};
use crate::metrics::{Counts, Metric};
use crate::trace::trace;
use std::io::{self, ErrorKind, IoSlice};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The most bytes written to one connection in one turn.
const WRITE_BUDGET: usize = 4 << 20;
/// Once so many bytes are collected for one connection, they do not wait for the end of the turn.
const EAGER_WRITE: usize = 64 << 10;
/// A connection whose last read brought fewer bytes than this is likely to bring few again, so its next read
/// may be done ahead, with this size.
pub const READ_AHEAD: usize = 17 * 64;
/// Plain bytes encrypted for one write. The records that the kernel refuses have to wait, so this bounds
/// them.
const ENCRYPT_AT_ONCE: usize = 128 << 10;
/// Waiting records up to this size leave in one write with the ones that follow.
const JOINED: usize = 16 << 10;
/// Seconds without a byte taken after which a peer is slow.
const STALLED: Tick = 2;
/// Capacity the scratch buffers keep.
pub const KEPT_SCRATCH: usize = 256 << 10;

pub struct Transport {
    pub id: ExchangeId,
    /// `None`: closed.
    stream: Option<Stream>,
    /// Those of the app. The loop thread alone writes its part of them.
    counts: Arc<AppCounts>,
    /// The TLS of an SSLApp, between the socket and the plain bytes.
    pub tls: Option<Box<Tls>>,
    /// That of the client, which JavaScript may read until it has heard of the end.
    pub certificate: Option<Box<Certificate>>,
    pub out: Outbound,
    /// The socket may have bytes we have not read (edge-triggered).
    pub readable: bool,
    /// The peer has closed its sending side.
    pub peer_ended: bool,
    writing: Writing,
    /// The connection is in the context's list of those with bytes to write.
    pub dirty: bool,
    /// The connection is in the context's list of those with more to read.
    pub queued: bool,
    /// For how long bytes of the peer have waited, because the connection was not read or not parsed, though
    /// the peer is not to blame. It is noted only where the app limits rates.
    pub waiting: Option<Waiting>,
    /// The last read brought few bytes, so the next is likely to as well.
    pub brief: bool,
    /// The handshake has failed, and is counted among those that did.
    pub handshake_failed: bool,
    /// All bytes have been queued, and a close_notify follows them.
    pub says_goodbye: bool,
    /// Of this the connection has yet to hear.
    news: News,
    /// The backlog before `News::Flushed`.
    flushed_from: usize,
    /// The cost of executed commands that have not been acknowledged to JavaScript.
    executed: usize,
    /// The number of refused bytes that JavaScript was last told.
    backlog: usize,
    /// The kernel has taken bytes of which `progress_at` does not know.
    has_progressed: bool,
    /// The tick in which the kernel last took bytes.
    progress_at: Tick,
    /// 0: none.
    deadline: Tick,
    /// Bytes that were read since the deadline has passed, if it is put off until those are read that may
    /// have been there in time.
    read_since_due: Option<usize>,
    /// The tick of our entry in the wheel; 0: there is none. Entries at later ticks, for earlier deadlines,
    /// are ignored.
    wheel_at: Tick,
}

/// How long the bytes of a peer that were not read have waited at most, in nanoseconds. The time in which the
/// peer did not take what was sent before does not count: a peer could make it as long as it likes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Waiting {
    before: u64,
    /// The moment (`Context::nanos`) since which they wait again; `None`: they wait for the peer itself.
    since: Option<u64>,
    /// Bytes that were read since the last cut.
    read: usize,
    /// The part of `before` that was over at the last cut.
    at_cut: u64,
}

/// More than the kernel keeps of one connection for us to read (`tcp_rmem`).
const IN_KERNEL: usize = 8 << 20;

impl Waiting {
    /// They still wait. `for_peer`: now for the peer itself.
    pub fn goes_on(&mut self, now: u64, for_peer: bool) {
        self.before = self.until(now);
        self.since = (!for_peer).then_some(now);
        if self.read >= IN_KERNEL {
            // Those that wait now were sent after the cut before: the kernel had no room for them earlier.
            self.before -= self.at_cut;
            (self.at_cut, self.read) = (self.before, 0);
        }
    }

    pub fn until(&self, now: u64) -> u64 {
        self.before + self.since.map_or(0, |since| now.saturating_sub(since))
    }
}

/// Whether the kernel takes bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writing {
    Ready,
    /// The kernel has refused bytes; the next writable event goes on.
    Blocked,
    /// A write has failed: the peer takes no bytes any more, and those to be sent are discarded.
    GivenUp,
}

/// The outcome of writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    None,
    /// The kernel has been offered bytes.
    Flushed,
    Failed(Trouble),
}

/// Why a write has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The peer takes nothing any more.
    Socket,
    /// The TLS session is over; an alert tells the peer.
    Tls,
}

/// The outcome of a read.
pub enum Read {
    Bytes(usize),
    /// Nothing was read now: the read is to be tried again, at once or after the next readable event.
    Nothing,
    /// The peer has closed its sending side.
    End,
    Reset,
}

impl Transport {
    pub fn new(id: ExchangeId, stream: Stream, tls: Option<Box<Tls>>, counts: Arc<AppCounts>) -> Self {
        Transport {
            id,
            stream: Some(stream),
            counts,
            handshake_failed: false,
            tls,
            certificate: None,
            out: Outbound::default(),
            readable: false,
            peer_ended: false,
            writing: Writing::Ready,
            dirty: false,
            queued: false,
            waiting: None,
            brief: false,
            says_goodbye: false,
            news: News::None,
            flushed_from: 0,
            executed: 0,
            backlog: 0,
            has_progressed: false,
            progress_at: 0,
            deadline: 0,
            read_since_due: None,
            wheel_at: 0,
        }
    }

    /// The counters of the app.
    pub fn counts(&self) -> &Counts {
        &self.counts.by_loop
    }

    /// The routes of the server name the client asked for, if it has some of its own.
    pub fn router(&self) -> Option<&DomainRouter> {
        self.tls.as_ref().and_then(|tls| tls.router())
    }

    // ---- reading

    /// Reads once, at most `limit` bytes, behind the start of a record that was kept.
    pub fn read(&mut self, buffer: &mut Buffer, limit: usize) -> Read {
        buffer.clear();
        if let Some(tls) = &self.tls {
            buffer.extend(tls.rest());
        }
        let room = buffer.spare().min(limit);
        let Some(stream) = &mut self.stream else { return Read::End };
        let answer = stream.read(buffer.room(room));
        let read = self.take_read(answer, room);
        if let Read::Bytes(n) = read {
            buffer.advance(n);
        }
        read
    }

    /// Evaluates the answer of a read into `room` bytes.
    pub fn take_read(&mut self, answer: io::Result<usize>, room: usize) -> Read {
        match answer {
            Ok(0) => {
                self.readable = false;
                self.peer_ended = true;
                Read::End
            }
            Ok(n) => {
                // A short read has emptied the socket, and the next bytes bring a new readable event. An end
                // that has been reported already brings none, so the read that returns 0 is still needed
                // then.
                self.readable = n == room || self.peer_ended;
                self.brief = n < READ_AHEAD;
                self.counts().add(Metric::BytesReceived, n as u64);
                if let Some(waiting) = &mut self.waiting {
                    waiting.read += n;
                }
                if let Some(read) = &mut self.read_since_due {
                    *read += n;
                }
                Read::Bytes(n)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.readable = false;
                Read::Nothing
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Read::Nothing,
            Err(_) => Read::Reset,
        }
    }

    /// The socket, if its next bytes are likely to be few and no part of a record waits for them.
    pub fn read_ahead_from(&self) -> Option<i32> {
        let fit = self.brief && !self.queued && self.tls.as_ref().is_none_or(|tls| tls.rest().is_empty());
        self.stream.as_ref().filter(|_| fit).map(Stream::descriptor)
    }

    /// Whether the peer may have sent more than has been handed over.
    pub fn may_have_more(&self) -> bool {
        self.readable || self.tls.as_ref().is_some_and(|tls| !tls.rest().is_empty())
    }

    /// Puts the connection into the list of those with more to read or to parse in the next turn.
    pub fn queue(&mut self, ctx: &mut Context) {
        if !self.queued {
            self.queued = true;
            ctx.ready.push(self.id.slot);
        }
    }

    // ---- sending

    /// Bytes the kernel has not taken; over TLS those that are encrypted count with the length of their
    /// records.
    pub fn unsent(&self) -> usize {
        self.out.len() + self.tls.as_ref().map_or(0, |tls| tls.unsent())
    }

    /// Whether the kernel has refused bytes.
    pub fn is_blocked(&self) -> bool {
        self.writing == Writing::Blocked
    }

    /// The kernel takes bytes again. True: it had refused some before.
    pub fn unblock(&mut self) -> bool {
        let was_blocked = self.is_blocked();
        if was_blocked {
            self.writing = Writing::Ready;
        }
        was_blocked
    }

    pub fn mark_dirty(&mut self, ctx: &mut Context) {
        if !self.dirty {
            self.dirty = true;
            ctx.dirty.push(self.id.slot);
        }
    }

    /// Appends to the bytes that are sent at the end of the turn.
    pub fn send(&mut self, ctx: &mut Context, write: impl FnOnce(&mut Vec<u8>)) {
        self.out.append(&mut ctx.spare, write);
        self.mark_dirty(ctx);
    }

    /// As `send`, with the value of a `Date` header (RFC 9110 §5.6.7).
    pub fn send_dated(&mut self, ctx: &mut Context, write: impl FnOnce(&mut Vec<u8>, &[u8])) {
        self.out.append(&mut ctx.spare, |out| write(out, ctx.clock.date()));
        self.mark_dirty(ctx);
    }

    /// As `send`, with a buffer that need not be copied.
    pub fn push(&mut self, ctx: &mut Context, bytes: Vec<u8>) {
        self.out.push(&mut ctx.spare, bytes);
        self.mark_dirty(ctx);
    }

    /// As `send`, with bytes that other connections send as well.
    pub fn push_shared(&mut self, ctx: &mut Context, bytes: &Rc<SharedBytes>) {
        self.out.push_shared(bytes);
        self.mark_dirty(ctx);
    }

    /// Writes at once if much has been collected, so that it does not pile up until the end of the turn, and
    /// JavaScript learns what the kernel refuses before it adds more.
    pub fn flush_if_large(&mut self, ctx: &mut Context) {
        if self.is_blocked() {
            self.tell_account(ctx);
        } else if self.out.len() >= EAGER_WRITE {
            self.flush(ctx);
        }
    }

    /// Writes the bytes that wait, as far as the kernel and the turn's budget allow.
    pub fn flush(&mut self, ctx: &mut Context) {
        if let News::Failed(_) = self.news {
            return;
        }
        self.dirty = false;
        if self.writing == Writing::GivenUp {
            self.discard(ctx);
            return self.note_flushed(ctx);
        }
        let written = match self.tls {
            None => self.write_plain(ctx),
            Some(_) => self.write_sealed(ctx),
        };
        match written {
            Ok(()) => self.note_flushed(ctx),
            Err(trouble) => self.news = News::Failed(trouble),
        }
    }

    fn write_plain(&mut self, ctx: &mut Context) -> Result<(), Trouble> {
        let mut budget = WRITE_BUDGET;
        while !self.out.is_empty() && !self.is_blocked() {
            if budget == 0 {
                self.mark_dirty(ctx);
                break;
            }
            let Some(stream) = &mut self.stream else { break };
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let used = self.out.slices(&mut slices);
            let answer = stream.write_vectored(&slices[..used]);
            let written = self.take_write(answer)?;
            self.out.consume(&mut ctx.spare, written);
            budget = budget.saturating_sub(written);
        }
        Ok(())
    }

    /// The number of bytes that the kernel took in a write.
    fn take_write(&mut self, answer: io::Result<usize>) -> Result<usize, Trouble> {
        match answer {
            Ok(n) => {
                self.has_progressed |= n > 0;
                self.counts().add(Metric::BytesSent, n as u64);
                Ok(n)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.writing = Writing::Blocked;
                Ok(0)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(0),
            Err(_) => Err(Trouble::Socket),
        }
    }

    /// Called when the kernel has been offered all bytes: updates JavaScript's account and notes that the
    /// protocol has to be told.
    fn note_flushed(&mut self, ctx: &Context) {
        if std::mem::take(&mut self.has_progressed) || self.backlog == 0 {
            self.progress_at = ctx.now();
        }
        if self.news == News::None {
            self.news = News::Flushed;
            self.flushed_from = self.backlog;
        }
        self.tell_account(ctx);
    }

    pub fn has_news(&self) -> bool {
        self.news != News::None
    }

    pub fn take_news(&mut self) -> News {
        std::mem::replace(&mut self.news, News::None)
    }

    /// The backlog before the kernel was offered bytes.
    pub fn flushed_from(&self) -> usize {
        self.flushed_from
    }

    // ---- TLS on the way out

    /// Encrypts and writes one buffer at a time, so that at most one is encrypted that the kernel does not
    /// take.
    fn write_sealed(&mut self, ctx: &mut Context) -> Result<(), Trouble> {
        if self.stream.is_none() {
            return Ok(());
        }
        let mut records = std::mem::take(&mut ctx.tls.records);
        let written = self.write_records(ctx, &mut records);
        ctx.tls.records = records.recycle(KEPT_SCRATCH);
        written
    }

    fn write_records(&mut self, ctx: &mut Context, records: &mut Buffer) -> Result<(), Trouble> {
        let mut budget = WRITE_BUDGET;
        while !self.is_blocked() {
            if budget == 0 {
                self.mark_dirty(ctx);
                break;
            }
            records.clear();
            self.seal(ctx, records)?;
            let unsent = self.tls.as_ref().map_or(0, |tls| tls.unsent());
            if records.is_empty() && unsent == 0 {
                break;
            }
            budget = budget.saturating_sub(self.write_sealed_once(records.filled())?);
        }
        Ok(())
    }

    /// Encrypts the next bytes into `records`; nothing while many records wait already.
    fn seal(&mut self, ctx: &mut Context, records: &mut Buffer) -> Result<(), Trouble> {
        let start = records.len();
        let Some(tls) = self.tls.as_mut().filter(|tls| tls.unsent() <= JOINED) else { return Ok(()) };
        match encrypt_some(tls, &self.out, records) {
            Ok(taken) => self.out.consume(&mut ctx.spare, taken),
            Err(failure) => {
                tls.close(records);
                tls.keep(&records.filled()[start..]);
                trace!(TLS, self.id, "{failure}");
                return Err(Trouble::Tls);
            }
        }
        if self.says_goodbye && self.out.is_empty() {
            tls.close(records);
        }
        if tls.is_closing() {
            // Nothing follows an alert: what is sent behind it would be waited for in vain.
            self.out.clear(&mut ctx.spare);
        }
        Ok(())
    }

    /// Writes `records`, or the waiting ones if there are none. The part that the kernel refuses waits from
    /// then on.
    fn write_sealed_once(&mut self, records: &[u8]) -> Result<usize, Trouble> {
        let (Some(tls), Some(stream)) = (&self.tls, &mut self.stream) else { return Ok(0) };
        let bytes = if records.is_empty() { tls.unsent_records() } else { records };
        let answer = stream.write_vectored(&[IoSlice::new(bytes)]);
        let written = self.take_write(answer)?;
        if let Some(tls) = &mut self.tls {
            match records.is_empty() {
                true => tls.sent(written),
                false => tls.keep(&records[written..]),
            }
        }
        Ok(written)
    }

    // ---- writes in a batch with those of other connections

    /// Whether the next write may be one of a batch. One with more than `sealed_at_once` bytes to encrypt may
    /// not, nor may one that the kernel would refuse.
    pub fn may_offer(&self, sealed_at_once: usize) -> bool {
        let unsent = self.unsent();
        let alone = unsent == 0 || self.tls.is_some() && unsent > sealed_at_once;
        !alone && self.writing == Writing::Ready && self.stream.is_some()
    }

    /// Appends the records of the next write. False: there are none, and the connection writes alone.
    pub fn offer_records(&mut self, ctx: &mut Context, records: &mut Buffer) -> bool {
        if self.tls.is_none() {
            return true;
        }
        let start = records.len();
        if let Err(trouble) = self.seal(ctx, records) {
            self.news = News::Failed(trouble);
            return false;
        }
        records.len() > start
    }

    /// The socket and the bytes of an offer, whose records are `records`.
    pub fn offered<'a>(
        &'a self,
        records: &'a [u8],
        slices: &mut [IoSlice<'a>; MAX_SLICES],
    ) -> Option<(i32, usize)> {
        let socket = self.stream.as_ref()?.descriptor();
        if self.tls.is_none() {
            return Some((socket, self.out.slices(slices)));
        }
        slices[0] = IoSlice::new(records);
        Some((socket, 1))
    }

    /// Evaluates the kernel's answer to an offer; writes the rest if the kernel may take more.
    pub fn take_offered(&mut self, ctx: &mut Context, answer: io::Result<usize>, records: &[u8]) {
        let taken = match self.take_write(answer) {
            Ok(taken) => taken,
            Err(trouble) => return self.news = News::Failed(trouble),
        };
        match &mut self.tls {
            None => self.out.consume(&mut ctx.spare, taken),
            Some(tls) => tls.keep(&records[taken..]),
        }
        if self.is_blocked() || self.unsent() == 0 { self.note_flushed(ctx) } else { self.flush(ctx) }
    }

    // ---- accounts

    /// Counts an executed command. It is acknowledged to JavaScript once the kernel has been offered its
    /// bytes: until then they are in flight, since the kernel may still refuse them.
    pub fn count_executed(&mut self, ctx: &mut Context, cost: usize) {
        self.executed = self.executed.wrapping_add(cost);
        match self.stream {
            Some(_) => self.mark_dirty(ctx),
            None => self.tell_account(ctx),
        }
    }

    /// Publishes the backlog before it acknowledges bytes: JavaScript must never see bytes as gone that the
    /// kernel has refused.
    fn tell_account(&mut self, ctx: &Context) {
        let now = self.unsent();
        if self.backlog != now {
            ctx.shared.counters.unsent.fetch_add(now.wrapping_sub(self.backlog), Ordering::SeqCst);
            self.backlog = now;
            ctx.shared.slots.get(self.id.slot).set_backlog(now);
        }
        if self.executed != 0 {
            let cost = std::mem::take(&mut self.executed);
            ctx.shared.slots.get(self.id.slot).acknowledge(cost);
        }
    }

    /// The memory of bytes that wait, in either direction; without those of frames that others send, too.
    pub fn held(&self) -> usize {
        self.out.own_bytes() + self.tls.as_ref().map_or(0, |tls| tls.unsent() + tls.rest().len())
    }

    /// Ticks since the kernel has taken bytes, if it refuses some, and at least some time.
    pub fn stalled_for(&self, now: Tick) -> Tick {
        let ticks = now.saturating_sub(self.progress_at);
        if self.is_blocked() && ticks >= STALLED { ticks } else { 0 }
    }

    /// The number of refused bytes that JavaScript has been told.
    pub fn backlog(&self) -> usize {
        self.backlog
    }

    // ---- deadlines

    /// `in_s` seconds from now; 0: no deadline. Rounded up, since the current tick has begun already.
    pub fn set_timeout(&mut self, ctx: &mut Context, in_s: Tick) {
        self.set_deadline(ctx, if in_s == 0 { 0 } else { ctx.now() + in_s + 1 });
    }

    /// The deadline is at the beginning of a tick; 0: no deadline.
    pub fn set_deadline(&mut self, ctx: &mut Context, deadline: Tick) {
        if deadline == 0 || deadline > ctx.now() {
            self.read_since_due = None;
        }
        self.deadline = deadline;
        self.arm(ctx);
    }

    /// Puts a deadline that has passed off to the next tick, if bytes of the peer wait to be read: those may
    /// have been there in time. False: they have been read since. A peer that sends without end, faster than
    /// it is read, wins no more time.
    pub fn put_off(&mut self, ctx: &mut Context) -> bool {
        if !self.queued || *self.read_since_due.get_or_insert(0) >= IN_KERNEL {
            return false;
        }
        self.deadline = ctx.now() + 1;
        self.arm(ctx);
        true
    }

    fn arm(&mut self, ctx: &mut Context) {
        let earliest = self.deadline.max(ctx.now() + 1);
        if self.deadline != 0 && (self.wheel_at == 0 || earliest < self.wheel_at) {
            let entry = u64::from(self.id.slot) << 32 | u64::from(self.id.generation);
            self.wheel_at = ctx.wheel.insert(self.deadline, entry);
        }
    }

    /// Called when an entry of the wheel has come up. True: the deadline has passed, and is cleared.
    pub fn is_due(&mut self, ctx: &mut Context) -> bool {
        if self.wheel_at > ctx.now() {
            // This is an entry for a later deadline, which was replaced by an earlier one whose entry is
            // still to come.
            return false;
        }
        self.wheel_at = 0;
        if self.stream.is_none() || self.deadline == 0 {
            return false;
        }
        if self.deadline > ctx.now() {
            self.arm(ctx);
            return false;
        }
        self.deadline = 0;
        true
    }

    // ---- ends

    /// Closes the sending side, which tells the peer that no more bytes follow.
    pub fn shutdown_write(&self) {
        if let Some(stream) = &self.stream {
            stream.shutdown_write();
        }
    }

    /// Discards all bytes to be sent. The peer takes none any more, but may have sent some before, which are
    /// still to be read.
    pub fn give_up_writing(&mut self, ctx: &mut Context) {
        self.writing = Writing::GivenUp;
        self.readable = true;
        self.peer_ended = true;
        self.discard(ctx);
        self.tell_account(ctx);
    }

    /// Nothing of what waits to be sent will be, records included: an end must not wait for it.
    fn discard(&mut self, ctx: &mut Context) {
        self.out.clear(&mut ctx.spare);
        if let Some(tls) = &mut self.tls {
            tls.sent(tls.unsent());
        }
    }

    /// Ends the TLS session; its alert is the last that is sent.
    pub fn fail_session(&mut self, ctx: &mut Context) {
        if let Some(tls) = &mut self.tls {
            tls.fail();
        }
        self.out.clear(&mut ctx.spare);
        // The alert leaves in any state, also where the failure does not bring the end.
        self.mark_dirty(ctx);
    }

    /// Closes the socket; bytes that were not sent are lost. `is_cut`: a close_notify would look to the peer
    /// like the end of a body that is in fact incomplete, so none is sent.
    pub fn close(&mut self, ctx: &mut Context, is_cut: bool) {
        if !is_cut {
            self.say_goodbye();
        }
        self.stream = None;
        self.tls = None;
        self.out.clear(&mut ctx.spare);
        self.tell_account(ctx);
        self.readable = false;
        self.deadline = 0;
        self.news = News::None;
    }

    /// Sends a close_notify, if the kernel takes it: it tells the peer that this side has closed and that
    /// nothing was cut off (RFC 8446 §6.1).
    fn say_goodbye(&mut self) {
        let (Some(tls), Some(stream)) = (&mut self.tls, &mut self.stream) else { return };
        // Behind a part of a record the peer would take it for the rest of that record.
        if tls.unsent() > 0 {
            return;
        }
        let mut records = Buffer::default();
        tls.close(&mut records);
        if !records.is_empty() {
            let _ = stream.write_vectored(&[IoSlice::new(records.filled())]);
        }
    }

    /// Debug builds assert at the end of a turn that the account is the one JavaScript has.
    pub fn check(&self, ctx: &Context) {
        // Tickets of a handshake wait for the first response, and count as backlog only then.
        let waits = self.tls.as_ref().is_some_and(|tls| tls.unsent() > 0 && tls.may_wait());
        debug_assert!(self.dirty || waits || self.backlog == self.unsent(), "backlog");
        debug_assert!(self.dirty || self.executed == 0, "commands that were executed and not acknowledged");
        let account = ctx.shared.slots.get(self.id.slot).account(self.id.generation);
        debug_assert_eq!(account.map(|account| account.backlog), Some(self.backlog));
        debug_assert!(self.deadline == 0 || self.wheel_at != 0, "a deadline without an entry in the wheel");
        self.out.check();
    }
}

/// Encrypts the front of the queue; returns how many plain bytes that were.
fn encrypt_some(tls: &mut Tls, out: &Outbound, records: &mut Buffer) -> Result<usize, Failure> {
    let mut slices = [IoSlice::new(&[]); MAX_SLICES];
    let used = out.slices_within(ENCRYPT_AT_ONCE, &mut slices);
    tls.encrypt(&slices[..used], records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_waited_no_longer_than_the_kernel_has_had_room_for_them() {
        let mut waiting = Waiting::default();
        waiting.goes_on(100, false);
        waiting.goes_on(200, false);
        assert_eq!(waiting.until(250), 150);
        // In 50 they wait for the peer itself.
        waiting.goes_on(300, true);
        assert_eq!(waiting.until(340), 200);
        waiting.goes_on(350, false);
        assert_eq!(waiting.until(400), 250);
        // At the first cut all may have waited from the beginning, at later ones since the one before.
        for (now, waited) in [(400, 250), (1000, 600), (1700, 700)] {
            waiting.read = IN_KERNEL;
            waiting.goes_on(now, false);
            assert_eq!(waiting.until(now), waited);
        }
        waiting.goes_on(1800, false);
        assert_eq!(waiting.until(1800), 800);
    }
}
