//! Listening sockets: binds, registers and accepts.
//!
//! Binding runs on the JavaScript thread, because `listen` answers before it returns; everything else runs in
//! the loop.

use super::owned;
#[cfg(any(test, feature = "simulation"))]
use super::simulated;
use super::socket::Stream;
use mio::event::Source;
use mio::net::{TcpListener, UnixListener};
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The backlog of connections that the kernel holds until we accept them; the same as that of uWebSockets.
pub const BACKLOG: i32 = 512;

/// A bound, listening, non-blocking socket that the loop has not seen yet.
pub struct Bound {
    socket: Socketlike,
    /// `None` for a Unix socket.
    pub port: Option<u16>,
    file: Option<SocketFile>,
}

enum Socketlike {
    Real(Socket),
    #[cfg(any(test, feature = "simulation"))]
    Simulated(simulated::Listener),
}

#[cfg(any(test, feature = "simulation"))]
impl Bound {
    /// A listener of the simulated kernel of this thread.
    pub fn simulated(listener: simulated::Listener) -> Self {
        Bound { socket: Socketlike::Simulated(listener), port: Some(0), file: None }
    }
}

#[cfg(test)]
impl Bound {
    /// The socket, of a listener that is not simulated.
    pub fn socket(&self) -> &Socket {
        match &self.socket {
            Socketlike::Real(socket) => socket,
            Socketlike::Simulated(_) => panic!("a simulated listener has no socket"),
        }
    }
}

/// Binds a TCP port. Without host: dual-stack, or IPv4 where there is no IPv6. Host names are resolved.
/// Unless `exclusive`, other processes and threads may bind the same port and the kernel spreads the
/// connections.
pub fn bind_tcp(host: Option<&str>, port: u16, exclusive: bool) -> io::Result<Bound> {
    let Some(host) = host.filter(|h| !h.is_empty()) else {
        return bind_address(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port), exclusive).or_else(
            |error| match error.kind() {
                io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied => Err(error),
                _ => bind_address(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port), exclusive),
            },
        );
    };
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host name has no address");
    for address in (host, port).to_socket_addrs()? {
        match bind_address(address, exclusive) {
            Ok(bound) => return Ok(bound),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn bind_address(address: SocketAddr, exclusive: bool) -> io::Result<Bound> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // `::` serves both families; a specific IPv6 address has no IPv4 side anyway.
        socket.set_only_v6(address.ip() != IpAddr::V6(Ipv6Addr::UNSPECIFIED))?;
    }
    socket.set_reuse_address(true)?;
    if !exclusive {
        socket.set_reuse_port(true)?;
    }
    // Linux hands this down to accepted sockets, which saves a system call on each.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    let port = socket.local_addr()?.as_socket().map(|a| a.port());
    Ok(Bound { socket: Socketlike::Real(socket), port, file: None })
}

/// Binds a Unix socket. A stale socket of a process that is gone is replaced; a socket in use is not, nor is
/// any other file.
pub fn bind_unix(path: &Path) -> io::Result<Bound> {
    let address = SockAddr::unix(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    if let Err(error) = socket.bind(&address) {
        let stale = SocketFile::at(path).filter(|_| error.kind() == io::ErrorKind::AddrInUse);
        let Some(stale) = stale.filter(|_| !answers(&address)) else { return Err(error) };
        stale.remove();
        socket.bind(&address)?;
    }
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(Bound { socket: Socketlike::Real(socket), port: None, file: SocketFile::at(path) })
}

/// Whether a process listens there. If its backlog is full, the connection is not refused but would have to
/// wait.
fn answers(address: &SockAddr) -> bool {
    let connect = || -> io::Result<()> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.connect(address)
    };
    connect().map_or_else(|error| error.kind() == io::ErrorKind::WouldBlock, |()| true)
}

/// The file of a Unix socket: its path, and its device and inode, since another file may have taken its
/// place.
struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    /// `None`: there is no socket there.
    fn at(path: &Path) -> Option<Self> {
        let found = std::fs::symlink_metadata(path).ok().filter(|found| found.file_type().is_socket())?;
        Some(SocketFile { path: path.to_owned(), device: found.dev(), inode: found.ino() })
    }

    fn remove(&self) {
        let is_same = |there: SocketFile| (there.device, there.inode) == (self.device, self.inode);
        if SocketFile::at(&self.path).is_some_and(is_same) {
            // It does not matter if another process has removed the file meanwhile.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// A listening socket in the loop.
pub struct Listener {
    kind: ListenerKind,
    file: Option<SocketFile>,
}

enum ListenerKind {
    Tcp(TcpListener),
    Unix(UnixListener),
    #[cfg(any(test, feature = "simulation"))]
    Simulated(simulated::Listener),
}

impl Listener {
    pub fn new(bound: Bound) -> Self {
        let kind = match (bound.socket, bound.port) {
            (Socketlike::Real(socket), Some(_)) => ListenerKind::Tcp(TcpListener::from_std(socket.into())),
            (Socketlike::Real(socket), None) => ListenerKind::Unix(UnixListener::from_std(socket.into())),
            #[cfg(any(test, feature = "simulation"))]
            (Socketlike::Simulated(listener), _) => ListenerKind::Simulated(listener),
        };
        Listener { kind, file: bound.file }
    }

    pub fn accept(&self) -> io::Result<(Stream, Option<SocketAddr>)> {
        match &self.kind {
            ListenerKind::Tcp(listener) => listener.accept().map(|(stream, peer)| {
                #[cfg(not(target_os = "linux"))]
                let _ = stream.set_nodelay(true);
                owned::note(stream.as_raw_fd());
                (Stream::Tcp(stream), Some(peer))
            }),
            ListenerKind::Unix(listener) => listener.accept().map(|(stream, _)| {
                owned::note(stream.as_raw_fd());
                (Stream::Unix(stream), None)
            }),
            #[cfg(any(test, feature = "simulation"))]
            ListenerKind::Simulated(listener) => {
                listener.accept().map(|(stream, peer)| (Stream::Simulated(stream), peer))
            }
        }
    }

    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match &mut self.kind {
            ListenerKind::Tcp(listener) => listener.register(registry, token, Interest::READABLE),
            ListenerKind::Unix(listener) => listener.register(registry, token, Interest::READABLE),
            #[cfg(any(test, feature = "simulation"))]
            ListenerKind::Simulated(listener) => listener.register(token),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            file.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_host_both_families_are_served() {
        let bound = bind_tcp(None, 0, false).expect("bind");
        let port = bound.port.expect("port");
        assert!(std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
        if std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
            assert!(std::net::TcpStream::connect((Ipv6Addr::LOCALHOST, port)).is_ok());
        }
    }

    #[test]
    fn a_port_is_shared_unless_exclusive() {
        let first = bind_tcp(Some("127.0.0.1"), 0, false).expect("bind");
        let port = first.port.expect("port");
        assert!(bind_tcp(Some("127.0.0.1"), port, false).is_ok());
        assert!(bind_tcp(Some("127.0.0.1"), port, true).is_err());
        assert!(bind_tcp(Some("no such host"), 0, false).is_err());
    }

    #[test]
    fn only_a_stale_socket_is_replaced_or_removed() {
        let folder = std::env::temp_dir().join(format!("uws-rs-socket-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("folder");
        let (path, link) = (folder.join("s"), folder.join("l"));
        std::fs::write(&path, "kept").expect("file");
        assert!(bind_unix(&path).is_err());
        assert_eq!(std::fs::read(&path).expect("still there"), b"kept");
        std::os::unix::fs::symlink(&path, &link).expect("link");
        assert!(bind_unix(&link).is_err());
        assert!(link.is_symlink() && path.is_file());
        std::fs::remove_file(&path).expect("remove");
        // A stale socket: no process listens on it.
        drop(std::os::unix::net::UnixListener::bind(&path).expect("bind"));
        let listener = Listener::new(bind_unix(&path).expect("replaced"));
        assert!(bind_unix(&path).is_err(), "in use");
        // Another file has taken its place.
        std::fs::remove_file(&path).expect("remove");
        let other = Listener::new(bind_unix(&path).expect("bind"));
        drop(listener);
        assert!(std::os::unix::net::UnixStream::connect(&path).is_ok(), "the other's is left alone");
        drop(other);
        assert!(!path.exists());
        let third = Listener::new(bind_unix(&path).expect("bind"));
        std::fs::remove_file(&path).expect("remove");
        std::fs::write(&path, "kept").expect("file");
        drop(third);
        assert_eq!(std::fs::read(&path).expect("still there"), b"kept");
        std::fs::remove_dir_all(&folder).expect("remove");
    }

    #[test]
    fn a_stale_unix_socket_is_replaced_and_a_live_one_is_not() {
        let path = std::env::temp_dir().join(format!("uws-rs-test-{}.sock", std::process::id()));
        let first = bind_unix(&path).expect("bind");
        assert!(bind_unix(&path).is_err());
        drop(first);
        let listener = Listener::new(bind_unix(&path).expect("stale file"));
        assert!(path.exists());
        drop(listener);
        assert!(!path.exists());
    }
}
