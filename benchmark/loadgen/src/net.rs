//! The sockets of a run: connects, upgrades, reads with one big buffer, joins the writes of a turn.
//!
//! Connections have numbers, 0 to `count - 1` in the order of connecting. The [`Load`] alone knows what is
//! measured.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::net::TcpStream;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use rustix::fd::OwnedFd;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use serde_json::Value;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::content::Content;
use crate::options::Options;
use crate::payload::excerpt;
use crate::tls::{Security, Session};
use crate::ws;
use crate::{Failure, Result};

/// The part of a mode that works with its connections. Times are nanoseconds of [`Net::now`].
pub trait Load {
    /// The connection may be used: connected (HTTP), upgraded (WebSocket).
    fn opened(&mut self, net: &mut Net, conn: usize) -> Result<()>;

    /// Takes whole units from the front of `input` and returns how many bytes those were.
    fn received(&mut self, net: &mut Net, conn: usize, input: &[u8], now: u64) -> Result<usize>;

    /// Everything queued on the connection has been handed to the kernel.
    fn drained(&mut self, _net: &mut Net, _conn: usize) {}

    /// Called once per turn of the loop, before it sleeps.
    fn turn(&mut self, net: &mut Net, now: u64) -> Result<Turn>;
}

pub enum Turn {
    Done,
    /// Come back at this time at the latest.
    Until(u64),
}

/// The address to connect to, the number of connections, the number of handshakes at a time, and the protocol
/// of the connections.
pub struct Target {
    address: SocketAddr,
    count: usize,
    in_progress: usize,
    security: Option<Security>,
    /// Request of an upgrade to a WebSocket; `None` leaves the connection to the mode.
    upgrade: Option<Vec<u8>>,
    deflate: bool,
    /// The conversation on a new WebSocket before it may be used.
    greeting: Option<Greeting>,
    /// The size of the kernel's receive buffer in bytes; `None` leaves it to the kernel.
    receive_buffer: Option<usize>,
}

impl Target {
    pub fn http(options: &mut Options, count: usize, in_progress: usize) -> Result<Self> {
        Ok(Target {
            address: options.take_address()?,
            count,
            in_progress: options.take_count("in-progress", in_progress)?,
            security: Security::take(options)?,
            upgrade: None,
            deflate: false,
            greeting: None,
            receive_buffer: options.take("receive-buffer")?,
        })
    }

    pub fn websocket(
        options: &mut Options,
        count: usize,
        in_progress: usize,
        content: &Content,
    ) -> Result<Self> {
        let path = options.take_or("path", content.path().to_owned())?;
        // Compression is offered if it is wanted, and then the server must accept it.
        let deflate = content.is_compressed();
        Ok(Target {
            upgrade: Some(ws::upgrade_request(&path, deflate)),
            deflate,
            greeting: content.greeting(),
            ..Target::http(options, count, in_progress)?
        })
    }

    /// A socket that is connecting.
    fn connect(&self, conn: usize) -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::for_address(self.address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        if let Some(size) = self.receive_buffer {
            socket.set_recv_buffer_size(size)?
        }
        if let (true, IpAddr::V4(host)) = (self.count > PORTS, self.address.ip()) {
            // The ports of one address are too few.
            let source = Ipv4Addr::from_bits(host.to_bits() + (conn / PORTS) as u32);
            socket.bind(&SocketAddr::from((source, 0)).into())?;
        }
        match socket.connect(&self.address.into()) {
            Err(error) if error.raw_os_error() != Some(EINPROGRESS) => Err(error),
            _ => Ok(TcpStream::from_std(socket.into())),
        }
    }
}

/// Takes messages from the front of the bytes received and appends the answers; returns how many bytes those
/// were, and whether the connection may be used now.
pub type Greeting = fn(&[u8], &mut Vec<u8>) -> Result<(usize, bool)>;

pub struct Net {
    poll: Poll,
    /// Ends the sleep at a deadline: the poll's own timeout knows only milliseconds.
    timer: OwnedFd,
    timer_set_to: u64,
    target: Target,
    conns: Vec<Conn>,
    dirty: VecDeque<usize>,
    opened: usize,
    clock: Instant,
    /// The plain bytes of the TLS records of one read.
    plain: Vec<u8>,
    /// The parameters that the first TLS session negotiated.
    negotiated: Value,
    bytes_in: u64,
    bytes_out: u64,
}

struct Conn {
    stream: TcpStream,
    tls: Option<Box<Session>>,
    stage: Stage,
    /// The server keeps the context of its compressor from message to message.
    takeover: bool,
    /// The time at which connecting began.
    since: u64,
    /// Start of a unit whose end has not arrived.
    rest: Vec<u8>,
    out: Vec<u8>,
    /// The bytes of `out` that have been sent; with TLS, those that have been encrypted.
    written: usize,
    dirty: bool,
    /// Nothing is read any more.
    paused: bool,
}

#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Stage {
    Connecting,
    Securing,
    Upgrading,
    Greeting,
    Open,
}

/// Connections per source address: there are some 28,000 ports, and finding a free one gets slow once half of
/// them are in use.
const PORTS: usize = 14_000;
/// The error of a non-blocking socket that is connecting.
const EINPROGRESS: i32 = rustix::io::Errno::INPROGRESS.raw_os_error();

/// The token of the timer and the waker, which only end the sleep.
const WAKE: Token = Token(usize::MAX);

impl Net {
    pub fn new(target: Target) -> Result<Self> {
        let poll = Poll::new()?;
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK).map_err(io::Error::from)?;
        poll.registry().register(&mut SourceFd(&timer.as_raw_fd()), WAKE, Interest::READABLE)?;
        Ok(Net {
            poll,
            timer,
            timer_set_to: 0,
            conns: Vec::with_capacity(target.count),
            target,
            dirty: VecDeque::new(),
            opened: 0,
            clock: Instant::now(),
            plain: Vec::new(),
            negotiated: Value::Null,
            bytes_in: 0,
            bytes_out: 0,
        })
    }

    /// The buffer to append to; its bytes leave at the end of the event that is being handled.
    pub fn out(&mut self, conn: usize) -> &mut Vec<u8> {
        let entry = &mut self.conns[conn];
        if !entry.dirty {
            entry.dirty = true;
            self.dirty.push_back(conn);
        }
        &mut entry.out
    }

    /// A waker that ends the loop's sleep from another thread.
    pub fn waker(&self) -> Result<Waker> {
        Ok(Waker::new(self.poll.registry(), WAKE)?)
    }

    pub fn now(&self) -> u64 {
        self.clock.elapsed().as_nanos() as u64
    }

    pub fn count(&self) -> usize {
        self.target.count
    }

    pub fn all_open(&self) -> bool {
        self.opened == self.target.count
    }

    /// The time at which connecting began.
    pub fn since(&self, conn: usize) -> u64 {
        self.conns[conn].since
    }

    /// Whether the server's compressor refers to earlier messages (RFC 7692 §7.1.1.1).
    pub fn takeover(&self, conn: usize) -> bool {
        self.conns[conn].takeover
    }

    /// The TLS session, where there is one.
    pub fn session(&self, conn: usize) -> Option<&Session> {
        self.conns[conn].tls.as_deref()
    }

    /// Reads no more from the connection, whatever the server sends.
    pub fn pause(&mut self, conn: usize) {
        self.conns[conn].paused = true
    }

    /// The parameters that the first TLS session negotiated; null without TLS.
    pub fn negotiated(&self) -> &Value {
        &self.negotiated
    }

    /// Ends an open connection, with a reset or in order, and begins a new one under its number.
    pub fn reconnect(&mut self, conn: usize, reset: bool) -> Result<()> {
        let entry = &mut self.conns[conn];
        if reset {
            SockRef::from(&entry.stream).set_linger(Some(Duration::ZERO))?
        } else if let Some(tls) = &mut entry.tls {
            // The end of the handshake may still be due.
            tls.flush(&mut entry.stream)?
        }
        self.opened -= 1;
        self.conns[conn] = self.connect(conn)?;
        Ok(())
    }

    /// Bytes read and written so far, before encryption.
    pub fn traffic(&self) -> (u64, u64) {
        (self.bytes_in, self.bytes_out)
    }

    fn connect_more(&mut self) -> Result<()> {
        while self.conns.len() < self.target.count && self.conns.len() - self.opened < self.target.in_progress
        {
            let conn = self.connect(self.conns.len())?;
            self.conns.push(conn);
        }
        Ok(())
    }

    fn connect(&mut self, conn: usize) -> Result<Conn> {
        let since = self.now();
        let mut stream = self.target.connect(conn)?;
        self.poll.registry().register(&mut stream, Token(conn), Interest::READABLE | Interest::WRITABLE)?;
        let tls = self.target.security.as_mut().map(|security| security.session(conn)).transpose()?;
        Ok(Conn {
            stream,
            tls: tls.map(Box::new),
            stage: Stage::Connecting,
            takeover: false,
            since,
            rest: Vec::new(),
            out: Vec::new(),
            written: 0,
            dirty: false,
            paused: false,
        })
    }

    fn handle<L: Load>(&mut self, load: &mut L, event: &Event, buffer: &mut Vec<u8>) -> Result<()> {
        if event.token() == WAKE {
            return Ok(());
        }
        let conn = event.token().0;
        if self.conns[conn].stage == Stage::Connecting {
            self.finish_connecting(load, conn)?;
        } else if event.is_writable() {
            self.flush(load, conn)?;
        }
        if event.is_readable() && self.conns[conn].stage != Stage::Connecting {
            match self.conns[conn].tls {
                None => self.read(load, conn, buffer)?,
                Some(_) => self.read_sealed(load, conn, buffer)?,
            }
        }
        self.flush_dirty(load)
    }

    fn finish_connecting<L: Load>(&mut self, load: &mut L, conn: usize) -> Result<()> {
        let entry = &mut self.conns[conn];
        if let Some(error) = entry.stream.take_error()? {
            return Err(error.into());
        }
        match entry.stream.peer_addr() {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        entry.stream.set_nodelay(true)?;
        if entry.tls.is_none() {
            return self.connected(load, conn);
        }
        entry.stage = Stage::Securing;
        self.flush(load, conn)
    }

    /// Called when bytes can be exchanged.
    fn connected<L: Load>(&mut self, load: &mut L, conn: usize) -> Result<()> {
        let Some(request) = &self.target.upgrade else { return self.open(load, conn) };
        let entry = &mut self.conns[conn];
        entry.stage = Stage::Upgrading;
        entry.out.extend_from_slice(request);
        self.flush(load, conn)
    }

    fn open<L: Load>(&mut self, load: &mut L, conn: usize) -> Result<()> {
        self.conns[conn].stage = Stage::Open;
        self.opened += 1;
        load.opened(self, conn)?;
        self.connect_more()
    }

    /// Reads until the kernel has no more; edge-triggered, so nothing may be left behind.
    fn read<L: Load>(&mut self, load: &mut L, conn: usize, buffer: &mut Vec<u8>) -> Result<()> {
        loop {
            let entry = &mut self.conns[conn];
            if entry.paused {
                return Ok(());
            }
            let kept = entry.rest.len();
            // A unit may be larger than the buffer: it grows until one fits.
            if buffer.len() < kept * 2 {
                buffer.resize(kept * 2, 0)
            }
            buffer[..kept].copy_from_slice(&entry.rest);
            entry.rest.clear();
            let read = match entry.stream.read(&mut buffer[kept..]) {
                Ok(0) => return Err(self.hung_up(conn, "closed by the server", &buffer[..kept])),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::Interrupted => 0,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    entry.rest.extend_from_slice(&buffer[..kept]);
                    return Ok(());
                }
                Err(error) => return Err(self.hung_up(conn, &error.to_string(), &buffer[..kept])),
            };
            self.bytes_in += read as u64;
            let filled = kept + read;
            let used = self.consume(load, conn, &buffer[..filled])?;
            self.conns[conn].rest.extend_from_slice(&buffer[used..filled]);
            // Linux reports new data after a short read as a new edge, and the end of the stream as well.
            if read > 0 && filled < buffer.len() {
                return Ok(());
            }
        }
    }

    /// The same for a connection with TLS.
    fn read_sealed<L: Load>(&mut self, load: &mut L, conn: usize, buffer: &mut [u8]) -> Result<()> {
        loop {
            let entry = &mut self.conns[conn];
            let read = match entry.stream.read(buffer) {
                Ok(0) => return Err(self.hung_up(conn, "closed by the server", b"")),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(self.hung_up(conn, &error.to_string(), b"")),
            };
            let mut plain = std::mem::take(&mut self.plain);
            plain.append(&mut entry.rest);
            let kept = plain.len();
            if let Some(tls) = &mut entry.tls {
                tls.open(&buffer[..read], &mut plain)?
            }
            self.bytes_in += (plain.len() - kept) as u64;
            self.opened_records(load, conn, &plain)?;
            plain.clear();
            self.plain = plain;
            if read < buffer.len() {
                return Ok(());
            }
        }
    }

    fn opened_records<L: Load>(&mut self, load: &mut L, conn: usize, plain: &[u8]) -> Result<()> {
        let entry = &mut self.conns[conn];
        let Some(tls) = &entry.tls else { return Ok(()) };
        let wants_write = tls.wants_write();
        if entry.stage == Stage::Securing && !tls.is_handshaking() {
            if self.negotiated.is_null() {
                self.negotiated = tls.report()
            }
            self.connected(load, conn)?
        }
        let used = if plain.is_empty() { 0 } else { self.consume(load, conn, plain)? };
        self.conns[conn].rest.extend_from_slice(&plain[used..]);
        if wants_write { self.flush(load, conn) } else { Ok(()) }
    }

    fn consume<L: Load>(&mut self, load: &mut L, conn: usize, input: &[u8]) -> Result<usize> {
        let mut used = 0;
        if self.conns[conn].stage == Stage::Upgrading {
            let Some((head, extension)) = ws::upgrade_response(input)? else { return Ok(0) };
            used = head;
            if extension.is_some() != self.target.deflate {
                return Err(Failure::Server(format!(
                    "permessage-deflate not negotiated: {}",
                    excerpt(input)
                )));
            }
            let entry = &mut self.conns[conn];
            entry.takeover = extension.is_some_and(|extension| extension.takeover);
            match self.target.greeting {
                None => self.open(load, conn)?,
                Some(_) => entry.stage = Stage::Greeting,
            }
        }
        if let (Stage::Greeting, Some(greeting)) = (self.conns[conn].stage, self.target.greeting) {
            let (size, open) = greeting(&input[used..], self.out(conn))?;
            used += size;
            if !open {
                return Ok(used);
            }
            self.open(load, conn)?;
        }
        if used < input.len() {
            let now = self.now();
            used += load.received(self, conn, &input[used..], now)?;
        }
        Ok(used)
    }

    fn hung_up(&self, conn: usize, how: &str, kept: &[u8]) -> Failure {
        Failure::Server(format!("connection {conn}: {how}, unread: {}", excerpt(kept)))
    }

    fn flush_dirty<L: Load>(&mut self, load: &mut L) -> Result<()> {
        while let Some(conn) = self.dirty.pop_front() {
            self.conns[conn].dirty = false;
            self.flush(load, conn)?;
        }
        Ok(())
    }

    fn flush<L: Load>(&mut self, load: &mut L, conn: usize) -> Result<()> {
        let entry = &mut self.conns[conn];
        if entry.stage == Stage::Connecting {
            return Ok(());
        }
        if entry.tls.is_some() {
            return self.flush_sealed(load, conn);
        }
        while entry.written < entry.out.len() {
            match entry.stream.write(&entry.out[entry.written..]) {
                Ok(written) => {
                    entry.written += written;
                    self.bytes_out += written as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(self.hung_up(conn, &error.to_string(), b"")),
            }
        }
        if entry.written == 0 {
            return Ok(());
        }
        entry.written = 0;
        entry.out.clear();
        if entry.stage == Stage::Open {
            load.drained(self, conn)
        }
        Ok(())
    }

    fn flush_sealed<L: Load>(&mut self, load: &mut L, conn: usize) -> Result<()> {
        let entry = &mut self.conns[conn];
        let Some(tls) = &mut entry.tls else { return Ok(()) };
        if entry.stage > Stage::Securing && !entry.out.is_empty() {
            tls.seal(&entry.out)?;
            entry.written += entry.out.len();
            self.bytes_out += entry.out.len() as u64;
            entry.out.clear();
        }
        match tls.flush(&mut entry.stream) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(self.hung_up(conn, &error.to_string(), b"")),
        }
        if std::mem::take(&mut entry.written) > 0 && entry.stage == Stage::Open {
            load.drained(self, conn)
        }
        Ok(())
    }

    /// Sleeps at most until `deadline`.
    fn sleep(&mut self, events: &mut Events, deadline: u64) -> Result<()> {
        let left = deadline.saturating_sub(self.now());
        let timeout = if left == 0 { Some(Duration::ZERO) } else { None };
        if left > 0 && deadline != self.timer_set_to {
            self.set_timer(deadline, left)?
        }
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() != ErrorKind::Interrupted => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn set_timer(&mut self, deadline: u64, left: u64) -> Result<()> {
        let value =
            Timespec { tv_sec: (left / 1_000_000_000) as i64, tv_nsec: (left % 1_000_000_000) as i64 };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once).map_err(io::Error::from)?;
        self.timer_set_to = deadline;
        Ok(())
    }

    /// Resets every connection: thousands in TIME_WAIT would eat the ports of the next run.
    fn reset_all(&mut self) -> io::Result<()> {
        for conn in &self.conns {
            SockRef::from(&conn.stream).set_linger(Some(Duration::ZERO))?;
        }
        self.conns.clear();
        Ok(())
    }
}

/// Runs a load to its end.
pub fn run<L: Load>(net: &mut Net, load: &mut L) -> Result<()> {
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; READ_BUFFER];
    net.connect_more()?;
    loop {
        let now = net.now();
        let Turn::Until(deadline) = load.turn(net, now)? else { break };
        net.flush_dirty(load)?;
        net.sleep(&mut events, deadline)?;
        for event in &events {
            net.handle(load, event, &mut buffer)?;
        }
    }
    Ok(net.reset_all()?)
}

const READ_BUFFER: usize = 512 * 1024;
