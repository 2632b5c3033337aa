//! Connected sockets: one stream type over TCP and Unix sockets.

use super::owned;
#[cfg(any(test, feature = "simulation"))]
use super::simulated;
use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, RawFd};

/// A connected stream.
pub enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    #[cfg(any(test, feature = "simulation"))]
    Simulated(simulated::Socket),
}

impl Stream {
    /// Registers for reading and writing at once. The registration is edge-triggered, so interest in writing
    /// costs nothing until the kernel has refused a write, and no further system call is needed then.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        let source: &mut dyn Source = match self {
            Stream::Tcp(stream) => stream,
            Stream::Unix(stream) => stream,
            #[cfg(any(test, feature = "simulation"))]
            Stream::Simulated(socket) => return socket.register(token),
        };
        match source.register(registry, token, interest) {
            // A socket that was adopted, closed, and is adopted again under the same number: epoll keeps what
            // was registered for as long as another process has the socket as well.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                source.reregister(registry, token, interest)
            }
            registered => registered,
        }
    }

    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(buffer),
            Stream::Unix(stream) => stream.read(buffer),
            #[cfg(any(test, feature = "simulation"))]
            Stream::Simulated(socket) => socket.read(buffer),
        }
    }

    pub fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match (self, slices) {
            (Stream::Tcp(stream), [one]) => stream.write(one),
            (Stream::Unix(stream), [one]) => stream.write(one),
            (Stream::Tcp(stream), many) => stream.write_vectored(many),
            (Stream::Unix(stream), many) => stream.write_vectored(many),
            #[cfg(any(test, feature = "simulation"))]
            (Stream::Simulated(socket), slices) => socket.write(slices),
        }
    }

    pub fn descriptor(&self) -> RawFd {
        match self {
            Stream::Tcp(stream) => stream.as_raw_fd(),
            Stream::Unix(stream) => stream.as_raw_fd(),
            #[cfg(any(test, feature = "simulation"))]
            Stream::Simulated(socket) => socket.descriptor(),
        }
    }

    pub fn shutdown_write(&self) {
        // The peer may be gone already; then there is nothing left to tell it.
        let _ = match self {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
            #[cfg(any(test, feature = "simulation"))]
            Stream::Simulated(socket) => socket.shutdown_write(),
        };
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        match self {
            Stream::Tcp(_) | Stream::Unix(_) => owned::forget(self.descriptor()),
            #[cfg(any(test, feature = "simulation"))]
            Stream::Simulated(_) => {}
        }
    }
}
