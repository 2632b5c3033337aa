//! `server ws-echo|http`: moves bytes and does nothing else, as the limit a real server can be held against.
//! It answers this generator only: the accept key is the constant one, requests have no bodies.
//! Like the servers under test it answers `stats` on stdin and ends when stdin ends.

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
use crate::ws;
use crate::{Failure, Result};

pub fn run(kind: &str, mut options: Options) -> Result<Value> {
    let echo = match kind {
        "ws-echo" => true,
        "http" => false,
        other => return Err(Failure::Usage(format!("no raw server {other}"))),
    };
    let port = options.take_or("port", 0u16)?;
    options.finish()?;
    let mut listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port)))?;
    println!("{}", json!({ "port": listener.local_addr()?.port() }));
    thread::spawn(answer_stats);
    let poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut server = Server { poll, conns: Vec::new(), echo };
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

struct Server {
    poll: Poll,
    /// Never reused: a run is short.
    conns: Vec<Option<Conn>>,
    echo: bool,
}

struct Conn {
    stream: TcpStream,
    rest: Vec<u8>,
    out: Vec<u8>,
    upgraded: bool,
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
                        upgraded: false,
                    }));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn handle(&mut self, number: usize, buffer: &mut [u8]) {
        let Some(conn) = &mut self.conns[number] else { return };
        if conn.turn(buffer, self.echo).is_err() {
            self.conns[number] = None
        }
    }
}

impl Conn {
    /// Reads what is there, answers it, writes what the kernel takes.
    fn turn(&mut self, buffer: &mut [u8], echo: bool) -> io::Result<()> {
        loop {
            let kept = self.rest.len();
            if kept * 2 > buffer.len() {
                return Err(ErrorKind::InvalidData.into());
            }
            buffer[..kept].copy_from_slice(&self.rest);
            let read = match self.stream.read(&mut buffer[kept..]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return self.flush(),
                Err(error) => return Err(error),
            };
            self.rest.clear();
            let filled = kept + read;
            let used = if echo { self.echo(&buffer[..filled])? } else { self.answer(&buffer[..filled]) };
            self.rest.extend_from_slice(&buffer[used..filled]);
            self.flush()?;
            if filled < buffer.len() {
                return Ok(());
            }
        }
    }

    fn answer(&mut self, input: &[u8]) -> usize {
        let mut used = 0;
        for at in memmem::find_iter(input, b"\r\n\r\n") {
            used = at + 4;
            self.out.extend_from_slice(HELLO);
        }
        used
    }

    fn echo(&mut self, input: &[u8]) -> io::Result<usize> {
        let mut used = 0;
        if !self.upgraded {
            let Some(end) = memmem::find(input, b"\r\n\r\n") else { return Ok(0) };
            used = end + 4;
            self.upgraded = true;
            let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
            self.out.extend_from_slice(head.as_bytes());
            self.out.extend_from_slice(format!("Sec-WebSocket-Accept: {}\r\n\r\n", ws::ACCEPT).as_bytes());
        }
        while let Some(size) = self.echo_frame(&input[used..])? {
            used += size;
        }
        Ok(used)
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

    fn flush(&mut self) -> io::Result<()> {
        while !self.out.is_empty() {
            match self.stream.write(&self.out) {
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
const HELLO: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n\r\nHello World!";
