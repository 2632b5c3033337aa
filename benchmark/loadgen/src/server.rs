//! `server ws-echo|ws-publish|http`: moves bytes and does nothing else, as the limit for real servers to be
//! compared with. It answers only this generator: the accept key is constant, and the command line says how
//! requests and responses look (`http`: `--body N` of the responses, `--upload N` of the requests). Like the
//! servers under test it answers `stats` on stdin and ends when stdin ends.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::thread;
use std::time::Instant;

use memchr::memmem;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use serde_json::{Value, json};

use crate::meter::cpu_ns;
use crate::options::Options;
use crate::payload::pattern;
use crate::ws;
use crate::{Failure, Result};

pub fn run(kind: &str, mut options: Options) -> Result<Value> {
    let work = match kind {
        "ws-echo" => Work::Echo,
        "ws-publish" => Work::Publish,
        "http" => Work::Http(Answers::take(&mut options)?),
        other => return Err(Failure::Usage(format!("no raw server {other}"))),
    };
    let port = options.take_or("port", 0u16)?;
    options.finish()?;
    let mut listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port)))?;
    println!("{}", json!({ "port": listener.local_addr()?.port() }));
    thread::spawn(answer_stats);
    let poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut server = Server { poll, conns: Vec::new(), work };
    server.serve(&listener)?;
    Ok(Value::Null)
}

fn answer_stats() {
    let start = Instant::now();
    for line in io::stdin().lines().map_while(|line| line.ok()) {
        if line != "stats" {
            continue;
        }
        let time = start.elapsed().as_micros() as u64;
        let stats =
            json!({ "time": time, "cpu": cpu_ns() / 1000, "threadCpu": null, "rss": resident_bytes() });
        println!("{stats}");
    }
    std::process::exit(0);
}

fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

enum Work {
    Echo,
    Publish,
    Http(Answers),
}

/// The answers to requests.
struct Answers {
    /// Head and body, or the head alone before a body that is too large to be queued.
    bytes: Vec<u8>,
    large: Vec<u8>,
    /// Size of the body of each request.
    upload: usize,
}

impl Answers {
    fn take(options: &mut Options) -> Result<Self> {
        let upload = options.take_or("upload", 0)?;
        let body = match (options.take::<usize>("body")?, upload) {
            (Some(size), _) => pattern(size)[..size].to_vec(),
            (None, 0) => b"Hello World!".to_vec(),
            (None, size) => size.to_string().into_bytes(),
        };
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n", body.len());
        let (queued, large) = if body.len() > LARGE { (vec![], body) } else { (body, vec![]) };
        Ok(Answers { bytes: [head.into_bytes(), queued].concat(), large, upload })
    }
}

struct Server {
    poll: Poll,
    /// Never reused: a run is short.
    conns: Vec<Option<Conn>>,
    work: Work,
}

struct Conn {
    stream: TcpStream,
    rest: Vec<u8>,
    out: Vec<u8>,
    /// Bytes of the large body still to be sent after `out`.
    large_left: usize,
    /// Bytes of a request body still to come.
    upload_left: usize,
    upgraded: bool,
    subscribed: bool,
}

impl Server {
    fn serve(&mut self, listener: &TcpListener) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut buffer = vec![0; BUFFER];
        loop {
            if let Err(error) = self.poll.poll(&mut events, None)
                && error.kind() != ErrorKind::Interrupted
            {
                return Err(error);
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept(listener)?,
                    Token(number) => self.handle(number, &mut buffer),
                }
            }
        }
    }

    fn accept(&mut self, listener: &TcpListener) -> io::Result<()> {
        loop {
            match listener.accept() {
                Ok((mut stream, _)) => {
                    stream.set_nodelay(true)?;
                    let token = Token(self.conns.len());
                    self.poll.registry().register(
                        &mut stream,
                        token,
                        Interest::READABLE | Interest::WRITABLE,
                    )?;
                    self.conns.push(Some(Conn {
                        stream,
                        rest: Vec::new(),
                        out: Vec::new(),
                        large_left: 0,
                        upload_left: 0,
                        upgraded: false,
                        subscribed: false,
                    }));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn handle(&mut self, number: usize, buffer: &mut [u8]) {
        let Some(conn) = &mut self.conns[number] else { return };
        let mut published = Vec::new();
        if conn.turn(buffer, &self.work, &mut published).is_err() {
            self.conns[number] = None
        }
        if published.is_empty() {
            return;
        }
        for conn in self.conns.iter_mut().flatten().filter(|conn| conn.subscribed) {
            conn.out.extend_from_slice(&published);
            // A broken connection is seen when it is read.
            let _ = conn.flush(&[]);
        }
    }
}

impl Conn {
    /// Reads all bytes there are, answers them, and writes as much as the kernel takes. Frames for all
    /// subscribers go to `published`.
    fn turn(&mut self, buffer: &mut [u8], work: &Work, published: &mut Vec<u8>) -> io::Result<()> {
        let large = if let Work::Http(answers) = work { &answers.large[..] } else { &[] };
        loop {
            let kept = self.rest.len();
            if kept * 2 > buffer.len() {
                return Err(ErrorKind::InvalidData.into());
            }
            buffer[..kept].copy_from_slice(&self.rest);
            let read = match self.stream.read(&mut buffer[kept..]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return self.flush(large),
                Err(error) => return Err(error),
            };
            self.rest.clear();
            let filled = kept + read;
            let input = &buffer[..filled];
            let used = match work {
                Work::Http(answers) => self.answer(input, answers),
                Work::Echo => self.websocket(input, None)?,
                Work::Publish => self.websocket(input, Some(published))?,
            };
            self.rest.extend_from_slice(&buffer[used..filled]);
            self.flush(large)?;
            if filled < buffer.len() {
                return Ok(());
            }
        }
    }

    fn answer(&mut self, input: &[u8], answers: &Answers) -> usize {
        let mut used = 0;
        loop {
            let body = self.upload_left.min(input.len() - used);
            used += body;
            self.upload_left -= body;
            if body > 0 && self.upload_left == 0 {
                self.out.extend_from_slice(&answers.bytes)
            }
            if self.upload_left > 0 {
                return used;
            }
            let Some(at) = memmem::find(&input[used..], b"\r\n\r\n") else { return used };
            used += at + 4;
            if answers.upload > 0 {
                self.upload_left = answers.upload
            } else {
                self.out.extend_from_slice(&answers.bytes);
                self.large_left = answers.large.len()
            }
        }
    }

    fn websocket(&mut self, input: &[u8], mut published: Option<&mut Vec<u8>>) -> io::Result<usize> {
        let mut used = 0;
        if !self.upgraded {
            let Some(end) = memmem::find(input, b"\r\n\r\n") else { return Ok(0) };
            used = end + 4;
            self.upgraded = true;
            let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
            self.out.extend_from_slice(head.as_bytes());
            self.out.extend_from_slice(format!("Sec-WebSocket-Accept: {}\r\n\r\n", ws::ACCEPT).as_bytes());
        }
        loop {
            let start = self.out.len();
            let Some(size) = self.echo_frame(&input[used..])? else { return Ok(used) };
            used += size;
            let Some(published) = &mut published else { continue };
            let frame = self.out.split_off(start);
            if frame[2..] == *SUBSCRIBE {
                self.subscribed = true;
                self.out.extend_from_slice(SUBSCRIBED)
            } else {
                published.extend_from_slice(&frame)
            }
        }
    }

    fn echo_frame(&mut self, input: &[u8]) -> io::Result<Option<usize>> {
        let [first, second, ..] = *input else { return Ok(None) };
        let Some((length, header)) = ws::payload_length(second, input) else { return Ok(None) };
        if length > BUFFER {
            return Err(ErrorKind::InvalidData.into());
        }
        let end = header + 4 + length;
        if input.len() < end {
            return Ok(None);
        }
        let Some(&key) = input[header..].first_chunk() else { return Ok(None) };
        let opcode = if first & 15 == ws::PING { ws::PONG } else { first & 15 };
        self.out.extend_from_slice(&[0x80 | opcode, second & 0x7f]);
        self.out.extend_from_slice(&input[2..header]);
        let start = self.out.len();
        self.out.extend_from_slice(&input[header + 4..end]);
        ws::apply_mask(&mut self.out[start..], key);
        Ok(Some(end))
    }

    fn flush(&mut self, large: &[u8]) -> io::Result<()> {
        while !self.out.is_empty() || self.large_left > 0 {
            let queued = !self.out.is_empty();
            let bytes = if queued { &self.out[..] } else { &large[large.len() - self.large_left..] };
            match self.stream.write(bytes) {
                Ok(written) if !queued => self.large_left -= written,
                Ok(written) if written == self.out.len() => self.out.clear(),
                Ok(written) => drop(self.out.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

const LISTENER: Token = Token(usize::MAX);
const BUFFER: usize = 1024 * 1024;
/// Bodies from this size on are not copied into a queue.
const LARGE: usize = 1024 * 1024;
const SUBSCRIBE: &[u8] = b"sub";
/// A frame: text, not masked.
const SUBSCRIBED: &[u8] = b"\x81\x02ok";
