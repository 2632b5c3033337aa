//! Connections that were accepted elsewhere, and come by their descriptors.

use super::owned::{forget, is_noted, note};
use super::socket::Stream;
use mio::net::{TcpStream, UnixStream};
use socket2::{Domain, SockRef, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, RawFd};
use thiserror::Error;

/// Why a descriptor is not adopted. It is left as it was.
#[derive(Debug, Error)]
pub enum Unfit {
    #[error("is not open")]
    Closed,
    #[error("is no socket")]
    NoSocket,
    #[error("is no stream socket of TCP or of the Unix domain")]
    Foreign,
    #[error("is a socket that listens, and not a connection that was accepted")]
    Listening,
    #[error("is a socket without a peer, which may be gone")]
    NotConnected,
    #[error("belongs to an app already")]
    Owned,
    #[error("cannot be adopted: {0}")]
    System(#[from] io::Error),
}

impl Unfit {
    /// The name of the error in the manner of the system.
    pub fn code(&self) -> &'static str {
        match self {
            Unfit::Closed => "EBADF",
            Unfit::NoSocket => "ENOTSOCK",
            Unfit::Foreign => "EPROTOTYPE",
            Unfit::Listening => "EINVAL",
            Unfit::NotConnected => "ENOTCONN",
            Unfit::Owned => "EBUSY",
            Unfit::System(error) if error.raw_os_error() == Some(EMFILE) => "EMFILE",
            Unfit::System(_) => "EIO",
        }
    }
}

// They have the same numbers on all systems.
const EBADF: i32 = 9;
const EMFILE: i32 = 24;

/// Takes a connected socket over, or a duplicate of it, and returns it with the address of its peer, if that
/// has one. After an error the descriptor is the caller's as before.
pub fn adopt(descriptor: RawFd, duplicate: bool) -> Result<(Stream, Option<SocketAddr>), Unfit> {
    if descriptor < 0 {
        return Err(Unfit::Closed);
    }
    // SAFETY: it is not -1, and it is used for nothing but system calls, which fail if it is not open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
    let socket = SockRef::from(&borrowed);
    let domain = check(&socket)?;
    let peer = socket.peer_addr().map_err(|error| match error.kind() {
        io::ErrorKind::NotConnected => Unfit::NotConnected,
        _ => error.into(),
    })?;
    let owned = if duplicate {
        // Its owner would close it after this, and with it the connection that has it.
        if is_noted(descriptor) {
            return Err(Unfit::Owned);
        }
        let copy = socket.try_clone()?;
        note(copy.as_raw_fd());
        copy
    } else {
        if !note(descriptor) {
            return Err(Unfit::Owned);
        }
        if let Err(error) = socket.set_cloexec(true) {
            forget(descriptor);
            return Err(error.into());
        }
        // SAFETY: it is open, no connection of ours has it, and the caller gives it up.
        unsafe { Socket::from_raw_fd(descriptor) }
    };
    // None of these fails on a socket that is connected; if the peer is gone, the next read tells.
    let _ = owned.set_nonblocking(true);
    let stream = if domain == Domain::UNIX {
        Stream::Unix(UnixStream::from_std(owned.into()))
    } else {
        let _ = owned.set_tcp_nodelay(true);
        Stream::Tcp(TcpStream::from_std(owned.into()))
    };
    Ok((stream, peer.as_socket()))
}

/// Whether it is a stream socket of a domain that is served, and not a listener.
fn check(socket: &Socket) -> Result<Domain, Unfit> {
    let kind = socket.r#type().map_err(|error| match error.raw_os_error() {
        Some(EBADF) => Unfit::Closed,
        _ => Unfit::NoSocket,
    })?;
    let domain = socket.local_addr()?.domain();
    if kind != Type::STREAM || ![Domain::IPV4, Domain::IPV6, Domain::UNIX].contains(&domain) {
        return Err(Unfit::Foreign);
    }
    // Elsewhere a listener is one of the sockets without a peer.
    #[cfg(target_os = "linux")]
    if socket.is_listener()? {
        return Err(Unfit::Listening);
    }
    Ok(domain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::{AsFd, IntoRawFd};
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let client = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
        (client, listener.accept().expect("accept").0)
    }

    fn code(descriptor: RawFd) -> &'static str {
        adopt(descriptor, false).map_or_else(|error| error.code(), |_| "adopted")
    }

    #[test]
    fn what_is_no_connection_stays_with_its_owner() {
        let file = std::fs::File::open("/dev/null").expect("file");
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let folder = std::env::temp_dir().join(format!("uws-rs-adopt-{}", std::process::id()));
        let unix_listener = UnixListener::bind(&folder).expect("bind");
        std::fs::remove_file(&folder).expect("remove");
        let udp = UdpSocket::bind("127.0.0.1:0").expect("bind");
        let (datagrams, _other) = UnixDatagram::pair().expect("pair");
        let unconnected = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
        let listening = if cfg!(target_os = "linux") { "EINVAL" } else { "ENOTCONN" };
        for (descriptor, expected) in [
            (-1, "EBADF"),
            (i32::MIN, "EBADF"),
            (i32::MAX, "EBADF"),
            (1 << 19, "EBADF"),
            (file.as_raw_fd(), "ENOTSOCK"),
            (listener.as_raw_fd(), listening),
            (unix_listener.as_raw_fd(), listening),
            (udp.as_raw_fd(), "EPROTOTYPE"),
            (datagrams.as_raw_fd(), "EPROTOTYPE"),
            (unconnected.as_raw_fd(), "ENOTCONN"),
        ] {
            assert_eq!(code(descriptor), expected, "{descriptor}");
        }
        assert!(file.metadata().is_ok() && listener.local_addr().is_ok());
        assert!(udp.local_addr().is_ok() && unconnected.local_addr().is_ok());
    }

    #[test]
    fn an_adopted_descriptor_has_one_owner() {
        let (client, server) = pair();
        let descriptor = server.into_raw_fd();
        let (stream, peer) = adopt(descriptor, false).expect("adopted");
        assert_eq!((stream.descriptor(), peer), (descriptor, client.local_addr().ok()));
        assert_eq!(code(descriptor), "EBUSY");
        assert!(matches!(adopt(descriptor, true), Err(Unfit::Owned)), "nor is a duplicate made");
        drop(stream);
        assert!(matches!(client.peek(&mut [0]), Ok(0)), "closed with its owner");
    }

    #[test]
    fn a_duplicate_leaves_the_descriptor_to_its_owner() {
        let (mut one, other) = UnixStream::pair().expect("pair");
        let (mut stream, peer) = adopt(other.as_raw_fd(), true).expect("adopted");
        assert_eq!(peer, None);
        assert_ne!(stream.descriptor(), other.as_raw_fd());
        drop(other);
        io::Write::write_all(&mut one, b"hi").expect("write");
        assert_eq!(stream.read(&mut [0; 9]).expect("read"), 2);
        drop(stream);
        assert!(matches!(io::Read::read(&mut one, &mut [0]), Ok(0)));
        assert!(one.as_fd().try_clone_to_owned().is_ok());
    }
}
