//! A kernel of one thread, for simulated runs: sockets with readiness as epoll reports it (edge-triggered), a
//! batch of system calls as of io_uring, and the time.
//!
//! Between any two system calls of the loop the other threads of a real process may run. So do those of a
//! simulated run: each call here first calls the function that `between_calls` was given.

use super::event::Event;
use super::uring::Sends;
use crate::simulation::rng::Rng;
use mio::Token;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Read};
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

thread_local! {
    static KERNEL: RefCell<Option<Kernel>> = const { RefCell::new(None) };
    static WEIGHTS: Cell<Weights> = const { Cell::new(Weights { now: 0, most: 0, discarded: 0 }) };
    static BETWEEN: RefCell<Option<Box<dyn FnMut()>>> = const { RefCell::new(None) };
}

/// The moods of a kernel.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// There is an io_uring.
    pub batches: bool,
    /// Of 1000 calls so many are interrupted by a signal.
    pub interrupted: usize,
    /// Of 1000 writes so many take only a part, although there is room for more.
    pub short: usize,
    /// The time that passes between two looks at the clock.
    pub look: Duration,
    pub seed: u64,
}

/// The kernel of a thread, from its start until this is dropped.
pub struct Running(());

pub fn start(options: Options) -> Running {
    let kernel = Kernel {
        options,
        rng: Rng::new(options.seed),
        began: Instant::now(),
        elapsed: Duration::ZERO,
        sockets: Vec::new(),
        listeners: Vec::new(),
        polls: Vec::new(),
        polling: 0,
        calls: 0,
        moved: 0,
        news: Vec::new(),
    };
    KERNEL.with(|place| place.replace(Some(kernel)));
    Running(())
}

impl Drop for Running {
    fn drop(&mut self) {
        between_calls(None);
        KERNEL.with(|place| place.replace(None));
    }
}

/// Gives access to the kernel of this thread.
///
/// # Panics
///
/// Panics if there is none.
pub fn kernel<T>(run: impl FnOnce(&mut Kernel) -> T) -> T {
    try_kernel(run).expect("a simulated kernel runs in this thread")
}

fn try_kernel<T>(run: impl FnOnce(&mut Kernel) -> T) -> Option<T> {
    KERNEL.with(|place| place.borrow_mut().as_mut().map(run))
}

/// Has `run` called between any two calls of the loop.
pub fn between_calls(run: Option<Box<dyn FnMut()>>) {
    BETWEEN.with(|place| place.replace(run));
}

/// Others have their turn. Their own calls here call nobody in turn.
fn others_run() {
    let run = BETWEEN.with(|place| place.borrow_mut().take());
    if let Some(mut run) = run {
        run();
        BETWEEN.with(|place| place.replace(Some(run)));
    }
}

/// A call of the loop.
fn call<T>(run: impl FnOnce(&mut Kernel) -> T) -> T {
    others_run();
    kernel(|kernel| {
        kernel.calls += 1;
        run(kernel)
    })
}

/// Bytes that one connection has copied to be sent; counted with those of all others of the thread.
#[derive(Default)]
pub struct Weight(usize);

impl Weight {
    pub fn set(&mut self, bytes: usize) {
        let Weights { now, most, discarded } = WEIGHTS.get();
        let now = now - self.0 + bytes;
        WEIGHTS.set(Weights { now, most: most.max(now), discarded });
        self.0 = bytes;
    }

    /// They will not be sent.
    pub fn discard(&mut self) {
        let weights = WEIGHTS.get();
        WEIGHTS.set(Weights { discarded: weights.discarded + self.0, ..weights });
    }
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// Bytes of all connections of a thread that are copied to be sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weights {
    /// Those that wait.
    pub now: usize,
    /// The most that have waited since they were last asked for.
    pub most: usize,
    /// Those that were discarded since then.
    pub discarded: usize,
}

pub fn weights() -> Weights {
    let weights = WEIGHTS.get();
    WEIGHTS.set(Weights { most: weights.now, discarded: 0, ..weights });
    weights
}

/// `None`: no kernel is simulated in this thread.
pub fn now() -> Option<Instant> {
    try_kernel(|_| ())?;
    Some(call(|kernel| {
        kernel.elapsed += kernel.options.look;
        kernel.began + kernel.elapsed
    }))
}

/// The date, which follows from the time of the run alone.
pub fn date() -> Option<SystemTime> {
    const BEGAN: Duration = Duration::from_secs(1_800_000_000);
    try_kernel(|kernel| SystemTime::UNIX_EPOCH + BEGAN + kernel.elapsed)
}

/// Whether there is an io_uring; `None`: no kernel is simulated in this thread.
pub fn has_batches() -> Option<bool> {
    try_kernel(|kernel| kernel.options.batches)
}

/// A socket of the loop, by its number in the kernel. It is closed when this is dropped.
pub struct Socket(u32);

impl Socket {
    /// The loop's poll reports the socket's readiness from here on.
    pub fn register(&self, token: Token) -> io::Result<()> {
        kernel(|kernel| {
            let poll = kernel.polling;
            kernel.sockets[self.0 as usize].registered = Some((poll, token));
            kernel.wake(self.0);
        });
        Ok(())
    }

    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        call(|kernel| kernel.receive(self.0, buffer))
    }

    pub fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        call(|kernel| kernel.send(self.0, slices))
    }

    /// The number by which batches name it.
    pub fn descriptor(&self) -> i32 {
        self.0 as i32
    }

    pub fn shutdown_write(&self) -> io::Result<()> {
        call(|kernel| {
            kernel.sockets[self.0 as usize].server_ended = true;
            kernel.tell_client(self.0);
        });
        Ok(())
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = try_kernel(|kernel| kernel.close(self.0));
    }
}

/// A listening socket of the loop.
pub struct Listener(u32);

impl Listener {
    pub fn accept(&self) -> io::Result<(Socket, Option<SocketAddr>)> {
        call(|kernel| {
            let listener = &mut kernel.listeners[self.0 as usize];
            if listener.failures > 0 && !listener.waiting.is_empty() {
                listener.failures -= 1;
                return Err(io::Error::from_raw_os_error(NO_DESCRIPTOR));
            }
            let socket = listener.waiting.pop_front().ok_or(ErrorKind::WouldBlock)?;
            Ok((Socket(socket), kernel.sockets[socket as usize].peer))
        })
    }

    pub fn register(&self, token: Token) -> io::Result<()> {
        kernel(|kernel| {
            let poll = kernel.polling;
            kernel.listeners[self.0 as usize].registered = Some((poll, token));
            kernel.wake(LISTENER | self.0);
        });
        Ok(())
    }

    pub fn number(&self) -> u32 {
        self.0
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = try_kernel(|kernel| kernel.close_listener(self.0));
    }
}

/// `EMFILE`
const NO_DESCRIPTOR: i32 = 24;

/// The io_uring.
pub struct Ring;

impl Ring {
    pub fn receive(
        &mut self,
        sockets: &[i32],
        memory: &mut [u8],
        chunk: usize,
        answers: &mut Vec<io::Result<usize>>,
    ) {
        answers.clear();
        let chunks = memory.chunks_exact_mut(chunk);
        answers.extend(call(|kernel| {
            let receive = |(socket, chunk): (&i32, &mut [u8])| kernel.receive(*socket as u32, chunk);
            sockets.iter().zip(chunks).map(receive).collect::<Vec<_>>()
        }));
    }

    pub fn send(&mut self, sends: &Sends<'_>, answers: &mut Vec<io::Result<usize>>) {
        answers.clear();
        call(|kernel| {
            answers.extend(sends.iter().map(|(socket, slices)| kernel.send(socket as u32, slices)));
        });
    }
}

/// Marks the number of a listener among those of sockets.
const LISTENER: u32 = 1 << 31;

pub struct Kernel {
    options: Options,
    rng: Rng,
    began: Instant,
    elapsed: Duration,
    sockets: Vec<SocketPair>,
    listeners: Vec<Listening>,
    /// For each poll the sockets whose readiness has changed since it reported them.
    polls: Vec<VecDeque<u32>>,
    /// The poll of the loop that runs.
    polling: usize,
    /// Calls that loops have made.
    calls: usize,
    /// Bytes that they and their clients have received.
    moved: usize,
    /// Sockets whose clients find something new, or more room.
    news: Vec<u32>,
}

struct Listening {
    waiting: VecDeque<u32>,
    registered: Option<(usize, Token)>,
    is_listed: bool,
    is_closed: bool,
    /// The next calls of `accept` that fail because there is no file descriptor left.
    failures: usize,
}

/// A connection: the loop's end is the server's, the other one the client's.
struct SocketPair {
    peer: Option<SocketAddr>,
    registered: Option<(usize, Token)>,
    is_listed: bool,
    to_server: VecDeque<u8>,
    to_client: VecDeque<u8>,
    server_room: usize,
    client_room: usize,
    client_ended: bool,
    /// The client reads and writes nothing any more.
    client_closed: bool,
    server_ended: bool,
    server_closed: bool,
    /// The server was refused room for more bytes.
    lacks_room: bool,
    /// The client has reset the connection.
    reset: bool,
    /// The error that the server's next call returns.
    error: Option<ErrorKind>,
    /// The server's end has reset the connection.
    reset_by_server: bool,
    /// Bytes that the reset took from the client.
    lost: usize,
    /// All bytes that the server's end was given.
    taken: u64,
    /// The client is among those with news.
    has_news: bool,
}

impl SocketPair {
    fn is_writable(&self) -> bool {
        self.reset || self.server_ended || self.to_client.len() * 3 <= self.client_room * 2
    }
}

/// The answer to a read of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    Bytes(usize),
    Nothing,
    End,
    Reset,
}

/// The loops' side.
impl Kernel {
    fn receive(&mut self, socket: u32, buffer: &mut [u8]) -> io::Result<usize> {
        if self.rng.chance(self.options.interrupted) {
            return Err(ErrorKind::Interrupted.into());
        }
        let number = socket;
        let socket = &mut self.sockets[number as usize];
        if !socket.to_server.is_empty() {
            // A short read has emptied the socket, so both halves of the queue are read.
            let read = buffer.len().min(socket.to_server.len());
            socket.to_server.read_exact(&mut buffer[..read])?;
            self.moved += read;
            self.tell_client(number);
            return Ok(read);
        }
        if socket.client_ended {
            return Ok(0);
        }
        match socket.error.take() {
            Some(error) => Err(error.into()),
            None if socket.reset => Ok(0),
            None => Err(ErrorKind::WouldBlock.into()),
        }
    }

    fn send(&mut self, number: u32, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.rng.chance(self.options.interrupted) {
            return Err(ErrorKind::Interrupted.into());
        }
        let socket = &mut self.sockets[number as usize];
        if socket.reset || socket.server_ended {
            return Err(socket.error.take().unwrap_or(ErrorKind::BrokenPipe).into());
        }
        let all: usize = slices.iter().map(|slice| slice.len()).sum();
        if socket.client_closed {
            // Nobody takes the bytes, and the answer to them is a reset.
            socket.taken += all as u64;
            socket.reset = true;
            socket.error = Some(ErrorKind::BrokenPipe);
            self.wake(number);
            return Ok(all);
        }
        let room = socket.client_room.saturating_sub(socket.to_client.len());
        if room == 0 {
            socket.lacks_room = true;
            return Err(ErrorKind::WouldBlock.into());
        }
        let mut taken = all.min(room);
        if taken > 1 && self.rng.chance(self.options.short) {
            taken = self.rng.within(1..taken);
        }
        socket.lacks_room |= room < all;
        let mut left = taken;
        for slice in slices {
            let part = &slice[..slice.len().min(left)];
            socket.to_client.extend(part);
            left -= part.len();
        }
        socket.taken += taken as u64;
        self.tell_client(number);
        Ok(taken)
    }

    /// The client has a reason to look at its end.
    fn tell_client(&mut self, number: u32) {
        if !std::mem::replace(&mut self.sockets[number as usize].has_news, true) {
            self.news.push(number);
        }
    }

    fn close(&mut self, number: u32) {
        let socket = &mut self.sockets[number as usize];
        (socket.server_closed, socket.registered) = (true, None);
        if socket.to_server.is_empty() {
            socket.server_ended = true;
        } else {
            // RFC 9112 §9.6: the reset may erase what the client has not read yet.
            socket.reset_by_server();
        }
        socket.to_server = VecDeque::new();
        self.tell_client(number);
    }

    fn close_listener(&mut self, number: u32) {
        let listener = &mut self.listeners[number as usize];
        (listener.is_closed, listener.registered) = (true, None);
        for number in std::mem::take(&mut listener.waiting) {
            let socket = &mut self.sockets[number as usize];
            socket.server_closed = true;
            socket.reset_by_server();
            self.tell_client(number);
        }
    }

    /// The poll reports this socket, unless it is to report it anyway.
    fn wake(&mut self, number: u32) {
        let index = (number & !LISTENER) as usize;
        let (registered, is_listed) = if number & LISTENER == 0 {
            let socket = &mut self.sockets[index];
            (socket.registered, &mut socket.is_listed)
        } else {
            let listener = &mut self.listeners[index];
            (listener.registered, &mut listener.is_listed)
        };
        if let Some((poll, _)) = registered
            && !std::mem::replace(is_listed, true)
        {
            self.poll_numbered(poll).push_back(number);
        }
    }

    fn poll_numbered(&mut self, poll: usize) -> &mut VecDeque<u32> {
        self.polls.resize_with(self.polls.len().max(poll + 1), VecDeque::new);
        &mut self.polls[poll]
    }

    /// Has the loop of this poll run: it registers its sockets there.
    pub fn run_poll(&mut self, poll: usize) {
        self.polling = poll;
    }

    /// Whether the poll has something to report.
    pub fn is_ready(&mut self, poll: usize) -> bool {
        !self.poll_numbered(poll).is_empty()
    }

    /// At most `most` events of a poll. As with epoll, an event has the state of its socket by now, and
    /// follows only upon a change.
    pub fn poll(&mut self, poll: usize, most: usize, events: &mut Vec<Event>) {
        events.clear();
        while events.len() < most {
            let Some(number) = self.poll_numbered(poll).pop_front() else { return };
            events.extend(self.event_of(number));
        }
    }

    fn event_of(&mut self, number: u32) -> Option<Event> {
        let index = (number & !LISTENER) as usize;
        if number & LISTENER != 0 {
            let listener = &mut self.listeners[index];
            listener.is_listed = false;
            let (_, token) = listener.registered?;
            let readable = !listener.waiting.is_empty();
            let event = Event { token, readable, writable: false, read_closed: false, error: false };
            return readable.then_some(event);
        }
        let socket = &mut self.sockets[index];
        socket.is_listed = false;
        let (_, token) = socket.registered?;
        let ended = socket.client_ended || socket.reset;
        let event = Event {
            token,
            readable: !socket.to_server.is_empty() || ended,
            writable: socket.is_writable(),
            read_closed: ended,
            error: socket.error.is_some(),
        };
        socket.lacks_room |= !event.writable;
        (event.readable || event.writable).then_some(event)
    }

    /// Whether a connection waits to be accepted.
    pub fn has_waiting(&self) -> bool {
        self.listeners.iter().any(|listener| !listener.waiting.is_empty())
    }

    /// Calls that loops have made so far.
    pub fn calls(&self) -> usize {
        self.calls
    }

    /// Bytes that loops and clients have received so far.
    pub fn moved(&self) -> usize {
        self.moved
    }

    // ---- the time

    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    pub fn pass(&mut self, time: Duration) {
        self.elapsed += time;
    }
}

impl SocketPair {
    fn reset_by_server(&mut self) {
        self.lost += self.to_client.len();
        self.to_client.clear();
        self.reset_by_server = true;
    }
}

/// The clients' side. Nothing here is a call of the loop.
impl Kernel {
    pub fn listen(&mut self) -> Listener {
        self.listeners.push(Listening {
            waiting: VecDeque::new(),
            registered: None,
            is_listed: false,
            is_closed: false,
            failures: 0,
        });
        Listener(self.listeners.len() as u32 - 1)
    }

    /// The next `failures` calls of `accept` find no file descriptor for the connection that waits.
    pub fn fail_accepts(&mut self, listener: u32, failures: usize) {
        self.listeners[listener as usize].failures = failures;
    }

    /// The number of the new socket; `None` if nothing listens there. The sockets take so many bytes that the
    /// other side has not read.
    pub fn connect(
        &mut self,
        listener: u32,
        peer: Option<SocketAddr>,
        server_room: usize,
        client_room: usize,
    ) -> Option<u32> {
        let number = self.sockets.len() as u32;
        let listening = self.listeners.get_mut(listener as usize).filter(|listener| !listener.is_closed)?;
        listening.waiting.push_back(number);
        self.sockets.push(SocketPair {
            peer,
            registered: None,
            is_listed: false,
            to_server: VecDeque::new(),
            to_client: VecDeque::new(),
            server_room,
            client_room,
            client_ended: false,
            client_closed: false,
            server_ended: false,
            server_closed: false,
            lacks_room: false,
            reset: false,
            error: None,
            reset_by_server: false,
            lost: 0,
            taken: 0,
            has_news: false,
        });
        self.wake(LISTENER | listener);
        Some(number)
    }

    /// Bytes that a client sends; returns how many there was room for. `None`: the connection is over.
    pub fn client_sends(&mut self, number: u32, bytes: &[u8]) -> Option<usize> {
        let socket = &mut self.sockets[number as usize];
        if socket.reset || socket.client_ended || socket.reset_by_server {
            return None;
        }
        if socket.server_closed {
            socket.reset_by_server();
            return None;
        }
        let taken = bytes.len().min(socket.server_room.saturating_sub(socket.to_server.len()));
        if taken > 0 {
            socket.to_server.extend(&bytes[..taken]);
            self.wake(number);
        }
        Some(taken)
    }

    /// Bytes that a client receives, behind those in `into`.
    pub fn client_receives(&mut self, number: u32, most: usize, into: &mut Vec<u8>) -> Received {
        let socket = &mut self.sockets[number as usize];
        if socket.to_client.is_empty() {
            return match socket {
                SocketPair { reset_by_server: true, .. } => Received::Reset,
                SocketPair { server_ended: true, .. } => Received::End,
                _ => Received::Nothing,
            };
        }
        let taken = most.min(socket.to_client.len());
        let start = into.len();
        into.resize(start + taken, 0);
        let _ = socket.to_client.read_exact(&mut into[start..]);
        self.moved += taken;
        let free = socket.client_room.saturating_sub(socket.to_client.len());
        if socket.lacks_room && free * 3 >= socket.client_room {
            socket.lacks_room = false;
            self.wake(number);
        }
        Received::Bytes(taken)
    }

    /// Takes the sockets whose clients find something new, or more room.
    pub fn take_news(&mut self, into: &mut Vec<u32>) {
        for number in &self.news {
            self.sockets[*number as usize].has_news = false;
        }
        into.append(&mut self.news);
    }

    /// The client sends nothing more.
    pub fn client_ends(&mut self, number: u32) {
        let socket = &mut self.sockets[number as usize];
        if !socket.reset && !std::mem::replace(&mut socket.client_ended, true) {
            self.wake(number);
        }
    }

    pub fn client_resets(&mut self, number: u32) {
        let socket = &mut self.sockets[number as usize];
        if std::mem::replace(&mut socket.client_closed, true) {
            return;
        }
        (socket.reset, socket.to_client) = (true, VecDeque::new());
        socket.error =
            Some(if socket.client_ended { ErrorKind::BrokenPipe } else { ErrorKind::ConnectionReset });
        self.wake(number);
    }

    /// The client is gone; with a reset if it has not read everything.
    pub fn client_closes(&mut self, number: u32) {
        if !self.sockets[number as usize].to_client.is_empty() {
            return self.client_resets(number);
        }
        self.client_ends(number);
        self.sockets[number as usize].client_closed = true;
    }

    /// Bytes that a reset of the server's end took from the client.
    pub fn lost(&self, number: u32) -> usize {
        self.sockets[number as usize].lost
    }

    /// Bytes that the server has sent.
    pub fn taken(&self, number: u32) -> u64 {
        self.sockets[number as usize].taken
    }

    /// Sockets and listeners that loops have not closed.
    pub fn held_by_loops(&self) -> usize {
        let waiting: usize = self.listeners.iter().map(|listener| listener.waiting.len()).sum();
        let open = |socket: &&SocketPair| !socket.server_closed;
        let listening = self.listeners.iter().filter(|listener| !listener.is_closed).count();
        self.sockets.iter().filter(open).count() - waiting + listening
    }

    /// Whether the server has neither closed nor reset.
    pub fn is_served(&self, number: u32) -> bool {
        let socket = &self.sockets[number as usize];
        !socket.server_closed && !socket.reset_by_server
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Options =
        Options { batches: false, interrupted: 0, short: 0, look: Duration::ZERO, seed: 1 };

    /// A connection with room for 90 bytes each way: the loop's end and the client's number.
    fn connected() -> (Running, Listener, Socket, u32) {
        let running = start(QUIET);
        let listener = kernel(|kernel| kernel.listen());
        let client = kernel(|kernel| kernel.connect(listener.number(), None, 90, 90)).expect("listens");
        let (socket, _) = listener.accept().expect("waits");
        (running, listener, socket, client)
    }

    fn events() -> Vec<(bool, bool, bool, bool)> {
        let mut events = Vec::new();
        kernel(|kernel| kernel.poll(0, 9, &mut events));
        let of = |event: Event| (event.readable, event.writable, event.read_closed, event.error);
        events.into_iter().map(of).collect()
    }

    fn send(socket: &Socket, bytes: &[u8]) -> io::Result<usize> {
        socket.write(&[IoSlice::new(bytes)])
    }

    #[test]
    fn a_change_is_reported_once_with_the_state_that_there_is_by_then() {
        let (_running, _listener, socket, client) = connected();
        socket.register(Token(2)).expect("registers");
        assert_eq!((events(), events()), (vec![(false, true, false, false)], vec![]));
        kernel(|kernel| kernel.client_sends(client, b"a"));
        kernel(|kernel| kernel.client_sends(client, b"b"));
        assert_eq!((events(), events()), (vec![(true, true, false, false)], vec![]));
        let mut buffer = [0; 9];
        assert_eq!(socket.read(&mut buffer).expect("bytes"), 2);
        assert_eq!(socket.read(&mut buffer).expect_err("none").kind(), ErrorKind::WouldBlock);
        kernel(|kernel| kernel.client_ends(client));
        assert_eq!(events(), [(true, true, true, false)]);
        assert_eq!(socket.read(&mut buffer).expect("the end"), 0);
    }

    #[test]
    fn room_is_reported_after_it_was_refused_once_a_third_is_free() {
        let (_running, _listener, socket, client) = connected();
        socket.register(Token(2)).expect("registers");
        assert_eq!(events().len(), 1);
        assert_eq!(send(&socket, &[7; 100]).expect("some"), 90);
        assert_eq!(send(&socket, &[7; 1]).expect_err("full").kind(), ErrorKind::WouldBlock);
        let mut got = Vec::new();
        let mut receive = |most| kernel(|kernel| kernel.client_receives(client, most, &mut got));
        assert_eq!(receive(29), Received::Bytes(29));
        assert_eq!(events(), []);
        assert_eq!(receive(1), Received::Bytes(1));
        assert_eq!((events(), events()), (vec![(false, true, false, false)], vec![]));
        assert_eq!(receive(99), Received::Bytes(60));
        assert_eq!((events(), got), (vec![], vec![7; 90]));
    }

    #[test]
    fn what_came_before_a_reset_is_read_before_its_error() {
        let (_running, _listener, socket, client) = connected();
        socket.register(Token(2)).expect("registers");
        kernel(|kernel| kernel.client_sends(client, b"ab"));
        kernel(|kernel| kernel.client_resets(client));
        assert_eq!(events(), [(true, true, true, true)]);
        let mut buffer = [0; 9];
        assert_eq!(socket.read(&mut buffer).expect("bytes"), 2);
        assert_eq!(socket.read(&mut buffer).expect_err("reset").kind(), ErrorKind::ConnectionReset);
        assert_eq!(socket.read(&mut buffer).expect("over"), 0);
        assert_eq!(send(&socket, b"a").expect_err("over").kind(), ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_socket_closed_with_unread_bytes_takes_those_for_the_client_along() {
        for (unread, received) in [(&b""[..], Received::Bytes(3)), (b"unread", Received::Reset)] {
            let (_running, _listener, socket, client) = connected();
            assert_eq!(send(&socket, b"abc").expect("room"), 3);
            kernel(|kernel| kernel.client_sends(client, unread));
            drop(socket);
            assert_eq!(kernel(|kernel| kernel.client_receives(client, 9, &mut Vec::new())), received);
            assert_eq!(kernel(|kernel| kernel.lost(client)), if unread.is_empty() { 0 } else { 3 });
        }
    }

    #[test]
    fn others_run_between_calls_and_their_own_calls_call_nobody() {
        let (_running, _listener, socket, _client) = connected();
        between_calls(Some(Box::new(move || {
            let _ = now();
            kernel(|kernel| kernel.pass(Duration::from_secs(1)));
        })));
        let _ = (socket.read(&mut [0]), send(&socket, b"a"), now());
        assert_eq!(kernel(|kernel| kernel.elapsed()), Duration::from_secs(3));
    }
}
