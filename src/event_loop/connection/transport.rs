//! The bytes of a connection: its socket, the TLS records on it, what waits to be sent, and its deadline. Knows
//! nothing of what the bytes mean.
//!
//! Owner: the connection. JavaScript's account of it (`SlotState`) is written here alone, and belongs to the
//! generation of `id`.

use super::outbound::{MAX_SLICES, Outbound};
use crate::channel::ConnId;
use crate::channel::buffers::Buffer;
use crate::event_loop::context::Context;
use crate::event_loop::net::socket::Stream;
use crate::event_loop::timer::Tick;
use crate::event_loop::tls::{DomainRouter, Failure, Tls};
use std::io::{self, ErrorKind, IoSlice};
use std::sync::atomic::Ordering;

/// Bytes written to one connection in one turn.
const WRITE_BUDGET: usize = 4 << 20;
/// Bytes collected for one connection that do not wait for the end of the turn.
const EAGER_WRITE: usize = 64 << 10;
/// A read that brought less than this is followed by one of the same size, which may be done ahead.
pub const BRIEF: usize = 17 * 64;
/// Plain bytes encrypted for one write. What the kernel refuses of it waits as records, so this bounds those.
const ENCRYPT_AT_ONCE: usize = 128 << 10;
/// Records that wait and are no longer than this leave in one write with what follows.
const JOINED: usize = 16 << 10;
/// Capacity the scratch buffers keep.
pub const KEPT_SCRATCH: usize = 256 << 10;

pub struct Transport {
    pub id: ConnId,
    /// `None`: closed.
    stream: Option<Stream>,
    /// Of an SSLApp: the records between the socket and the plain bytes.
    pub tls: Option<Box<Tls>>,
    pub out: Outbound,
    /// The socket may have bytes we have not read (edge-triggered).
    pub readable: bool,
    /// The peer has closed its sending side.
    pub peer_ended: bool,
    /// The kernel refused bytes; the next writable edge goes on.
    pub blocked: bool,
    /// A write has failed: the peer takes nothing any more, and whatever is sent is discarded.
    deaf: bool,
    /// In the context's list of those with bytes to write.
    pub dirty: bool,
    /// In the context's list of those with more to read.
    pub queued: bool,
    /// The last read brought little, so the next may, too.
    pub brief: bool,
    /// Everything that follows has been queued: behind it a close_notify leaves.
    pub says_goodbye: bool,
    /// A write has failed, of which the connection has yet to hear.
    trouble: Trouble,
    /// The kernel has been offered bytes, of which the protocol has yet to hear.
    flushed: bool,
    /// The backlog before that.
    flushed_from: usize,
    /// Cost of commands executed, of which JavaScript has not been told.
    executed: usize,
    /// The bytes JavaScript was last told that the kernel has refused.
    backlog: usize,
    /// 0: none.
    deadline: Tick,
    /// Where the wheel holds an entry for us; 0: nowhere. Later ones, of longer deadlines before, are ignored.
    wheel_at: Tick,
}

/// Why a write has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    None,
    /// The peer takes nothing any more.
    Socket,
    /// The session is over; an alert says so.
    Tls,
}

/// The outcome of a read.
pub enum Read {
    Bytes(usize),
    /// To be tried again, or with the next edge.
    Nothing,
    /// The peer has closed its sending side.
    End,
    Reset,
}

impl Transport {
    pub fn new(id: ConnId, stream: Stream, tls: Option<Box<Tls>>) -> Self {
        Transport {
            id,
            stream: Some(stream),
            tls,
            out: Outbound::default(),
            readable: false,
            peer_ended: false,
            blocked: false,
            deaf: false,
            dirty: false,
            queued: false,
            brief: false,
            says_goodbye: false,
            trouble: Trouble::None,
            flushed: false,
            flushed_from: 0,
            executed: 0,
            backlog: 0,
            deadline: 0,
            wheel_at: 0,
        }
    }

    /// The routes of the server name the client asked for, if it has some of its own.
    pub fn router(&self) -> Option<&DomainRouter> {
        self.tls.as_ref().and_then(|tls| tls.router())
    }

    // ---- reading

    /// Reads once, behind the start of a record that was kept; at most `limit` bytes.
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

    /// What a read into `room` bytes says of the socket.
    pub fn take_read(&mut self, answer: io::Result<usize>, room: usize) -> Read {
        match answer {
            Ok(0) => {
                self.readable = false;
                self.peer_ended = true;
                Read::End
            }
            Ok(n) => {
                // A short read has emptied the socket: the next bytes bring a new edge. An end that has been announced
                // already does not, so then the read that returns 0 is needed.
                self.readable = n == room || self.peer_ended;
                self.brief = n < BRIEF;
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

    /// Goes on in the next turn with what is unread or readable.
    pub fn queue(&mut self, ctx: &mut Context) {
        if !self.queued {
            self.queued = true;
            ctx.ready.push(self.id.slot);
        }
    }

    // ---- sending

    /// Bytes the kernel has not taken; over TLS those that are encrypted already count as such.
    pub fn unsent(&self) -> usize {
        self.out.len() + self.tls.as_ref().map_or(0, |tls| tls.unsent())
    }

    pub fn mark_dirty(&mut self, ctx: &mut Context) {
        if !self.dirty {
            self.dirty = true;
            ctx.dirty.push(self.id.slot);
        }
    }

    /// Appends to what is to be sent at the end of the turn.
    pub fn send(&mut self, ctx: &mut Context, write: impl FnOnce(&mut Vec<u8>)) {
        self.out.append(&mut ctx.spare, write);
        self.mark_dirty(ctx);
    }

    /// As `send`, for what has a `Date` header in it (RFC 9110 §5.6.7).
    pub fn send_dated(&mut self, ctx: &mut Context, write: impl FnOnce(&mut Vec<u8>, &[u8])) {
        self.out.append(&mut ctx.spare, |out| write(out, ctx.clock.date()));
        self.mark_dirty(ctx);
    }

    /// As `send`, of a buffer as it is.
    pub fn push(&mut self, ctx: &mut Context, bytes: Vec<u8>) {
        self.out.push(&mut ctx.spare, bytes);
        self.mark_dirty(ctx);
    }

    /// What one turn collects for a connection does not pile up until its end: a large part leaves at once, and what
    /// the kernel refuses is known before more is added.
    pub fn flush_if_large(&mut self, ctx: &mut Context) {
        if self.blocked {
            self.tell_account(ctx);
        } else if self.out.len() >= EAGER_WRITE {
            self.flush(ctx);
        }
    }

    /// Writes what is waiting, as far as the kernel and the turn's budget allow.
    pub fn flush(&mut self, ctx: &mut Context) {
        if self.trouble != Trouble::None {
            return;
        }
        self.dirty = false;
        if self.deaf {
            self.discard(ctx);
            return self.note_flushed(ctx);
        }
        let written = match self.tls {
            None => self.write_plain(ctx),
            Some(_) => self.write_sealed(ctx),
        };
        match written {
            Ok(()) => self.note_flushed(ctx),
            Err(trouble) => self.trouble = trouble,
        }
    }

    fn write_plain(&mut self, ctx: &mut Context) -> Result<(), Trouble> {
        let mut budget = WRITE_BUDGET;
        while !self.out.is_empty() && !self.blocked {
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

    /// How many bytes a write has brought to the kernel.
    fn take_write(&mut self, answer: io::Result<usize>) -> Result<usize, Trouble> {
        match answer {
            Ok(n) => Ok(n),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.blocked = true;
                Ok(0)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(0),
            Err(_) => Err(Trouble::Socket),
        }
    }

    /// The kernel has been offered what there is: JavaScript's account is renewed, and the protocol hears of it.
    fn note_flushed(&mut self, ctx: &Context) {
        if !self.flushed {
            self.flushed = true;
            self.flushed_from = self.backlog;
        }
        self.tell_account(ctx);
    }

    /// The backlog before the kernel was offered bytes, once.
    pub fn take_flushed(&mut self) -> Option<usize> {
        std::mem::take(&mut self.flushed).then_some(self.flushed_from)
    }

    pub fn take_trouble(&mut self) -> Trouble {
        std::mem::replace(&mut self.trouble, Trouble::None)
    }

    /// Whether something has happened here of which the connection has yet to hear.
    pub fn has_news(&self) -> bool {
        self.flushed || self.trouble != Trouble::None
    }

    // ---- TLS on the way out

    /// Encrypts no more than the kernel takes, but for one buffer.
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
        while !self.blocked {
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

    /// Moves what is to be sent next to `records`; nothing while many of them wait already.
    fn seal(&mut self, ctx: &mut Context, records: &mut Buffer) -> Result<(), Trouble> {
        let start = records.len();
        let Some(tls) = self.tls.as_mut().filter(|tls| tls.unsent() <= JOINED) else { return Ok(()) };
        match encrypt_some(tls, &self.out, records) {
            Ok(taken) => self.out.consume(&mut ctx.spare, taken),
            Err(failure) => {
                tls.close(records);
                tls.keep(&records.filled()[start..]);
                log::debug!("connection {}: TLS: {failure}", self.id.slot);
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

    /// Writes `records`, or those that wait; what the kernel refuses of the former waits then.
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

    // ---- a write that is done together with those of other connections

    /// Whether the next write may be one of many. One with more than `sealed_at_once` bytes to be sealed may not, nor
    /// may one that the kernel would refuse.
    pub fn may_offer(&self, sealed_at_once: usize) -> bool {
        let unsent = self.unsent();
        let alone = unsent == 0 || self.tls.is_some() && unsent > sealed_at_once;
        !alone && !self.blocked && !self.deaf && self.stream.is_some()
    }

    /// Appends the records of the next write. False: it has none, and is to be done alone.
    pub fn offer_records(&mut self, ctx: &mut Context, records: &mut Buffer) -> bool {
        if self.tls.is_none() {
            return true;
        }
        let start = records.len();
        if let Err(trouble) = self.seal(ctx, records) {
            self.trouble = trouble;
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

    /// The kernel's answer to an offer; what it has not taken follows.
    pub fn take_offered(&mut self, ctx: &mut Context, answer: io::Result<usize>, records: &[u8]) {
        let taken = match self.take_write(answer) {
            Ok(taken) => taken,
            Err(trouble) => return self.trouble = trouble,
        };
        match &mut self.tls {
            None => self.out.consume(&mut ctx.spare, taken),
            Some(tls) => tls.keep(&records[taken..]),
        }
        if self.blocked || self.unsent() == 0 { self.note_flushed(ctx) } else { self.flush(ctx) }
    }

    // ---- accounts

    /// JavaScript is told once the kernel has been offered what the commands brought: until then their bytes are on
    /// their way, and it cannot be known whether they will be refused.
    pub fn count_executed(&mut self, ctx: &mut Context, cost: usize) {
        self.executed = self.executed.wrapping_add(cost);
        match self.stream {
            Some(_) => self.mark_dirty(ctx),
            None => self.tell_account(ctx),
        }
    }

    /// In this order: JavaScript hears of a backlog before it hears that the bytes have arrived.
    fn tell_account(&mut self, ctx: &Context) {
        let now = self.unsent();
        if self.backlog != now {
            ctx.shared.unsent.fetch_add(now.wrapping_sub(self.backlog), Ordering::SeqCst);
            self.backlog = now;
            ctx.shared.slots.get(self.id.slot).set_backlog(now);
        }
        if self.executed != 0 {
            let cost = std::mem::take(&mut self.executed);
            ctx.shared.slots.get(self.id.slot).acknowledge(cost);
        }
    }

    /// What JavaScript has been told that the kernel has refused.
    pub fn backlog(&self) -> usize {
        self.backlog
    }

    // ---- deadlines

    /// `in_s` seconds from now; 0: no deadline. Rounded up, since the current tick has begun already.
    pub fn set_timeout(&mut self, ctx: &mut Context, in_s: Tick) {
        self.set_deadline(ctx, if in_s == 0 { 0 } else { ctx.now() + in_s + 1 });
    }

    /// At the beginning of a tick; 0: no deadline.
    pub fn set_deadline(&mut self, ctx: &mut Context, deadline: Tick) {
        self.deadline = deadline;
        self.arm(ctx);
    }

    fn arm(&mut self, ctx: &mut Context) {
        if self.deadline != 0 && (self.wheel_at == 0 || self.deadline < self.wheel_at) {
            let entry = u64::from(self.id.slot) << 32 | u64::from(self.id.generation);
            self.wheel_at = ctx.wheel.insert(self.deadline, entry);
        }
    }

    /// An entry of the wheel has come up. True: the deadline has passed, and there is none any more.
    pub fn is_due(&mut self, ctx: &mut Context) -> bool {
        if self.wheel_at > ctx.now() {
            // An old entry, from before a deadline that was earlier: the one that counts is still to come.
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

    /// Nothing more is to be sent, and the peer hears so.
    pub fn shutdown_write(&self) {
        if let Some(stream) = &self.stream {
            stream.shutdown_write();
        }
    }

    /// The peer takes nothing any more, but may have sent something before, which is still to be read.
    pub fn give_up_writing(&mut self, ctx: &mut Context) {
        self.deaf = true;
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
        self.blocked = false;
    }

    /// The session is over; its alert is the last that is sent.
    pub fn fail_session(&mut self, ctx: &mut Context) {
        if let Some(tls) = &mut self.tls {
            tls.fail();
        }
        self.out.clear(&mut ctx.spare);
    }

    /// Closes the socket; whatever was not sent is lost. `is_cut`: a peer that is told of the end now would take that for
    /// the end of a body.
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
        self.flushed = false;
        self.trouble = Trouble::None;
    }

    /// A close_notify tells the peer that the cut is ours and not one of the network (RFC 8446 §6.1), as far as the
    /// kernel takes it.
    fn say_goodbye(&mut self) {
        let (Some(tls), Some(stream)) = (&mut self.tls, &mut self.stream) else { return };
        // Behind a part of a record it would only be taken for the rest of it.
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
        // Tickets of a handshake wait for the first response, and are told of with it.
        let waits = self.tls.as_ref().is_some_and(|tls| tls.unsent() > 0 && tls.may_wait());
        debug_assert!(self.dirty || waits || self.backlog == self.unsent(), "backlog");
        debug_assert!(self.dirty || self.executed == 0, "commands that were executed and not acknowledged");
        let account = ctx.shared.slots.get(self.id.slot).account(self.id.generation);
        debug_assert_eq!(account.map(|account| account.backlog), Some(self.backlog));
        debug_assert!(self.deadline == 0 || self.wheel_at != 0, "a deadline without an entry in the wheel");
        self.out.check();
    }
}

/// Encrypts the front of what waits; returns how many plain bytes that was.
fn encrypt_some(tls: &mut Tls, out: &Outbound, records: &mut Buffer) -> Result<usize, Failure> {
    let mut slices = [IoSlice::new(&[]); MAX_SLICES];
    let used = out.slices_within(ENCRYPT_AT_ONCE, &mut slices);
    tls.encrypt(&slices[..used], records)
}
