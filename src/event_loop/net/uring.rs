//! Sends and receives on many sockets with one system call, by io_uring: this file is the border to memory
//! that is shared with the kernel.
//!
//! A `send(2)` of a few bytes spends a fifth of its time on the way into the kernel and out of it, which a
//! batch pays once. No operation is ever left in flight: the kernel refuses an operation that would have to
//! wait, as it does without io_uring. So it has answered all of a batch before the call returns, and the
//! memory needs to live no longer than that.

use std::io::{self, IoSlice};
use std::ops::Range;

/// Operations of one batch.
pub const BATCH: usize = 256;

/// The bytes to be sent, socket by socket.
#[derive(Default)]
pub struct Sends<'a> {
    slices: Vec<IoSlice<'a>>,
    sockets: Vec<(i32, Range<usize>)>,
}

impl<'a> Sends<'a> {
    pub fn with_capacity(sockets: usize) -> Self {
        Sends { slices: Vec::with_capacity(2 * sockets), sockets: Vec::with_capacity(sockets) }
    }

    /// One send on the socket with this file descriptor, of all these slices.
    pub fn push(&mut self, socket: i32, slices: &[IoSlice<'a>]) {
        let start = self.slices.len();
        self.slices.extend_from_slice(slices);
        self.sockets.push((socket, start..self.slices.len()));
    }

    fn len(&self) -> usize {
        self.sockets.len()
    }

    /// Each socket with its slices.
    #[cfg(any(test, feature = "simulation"))]
    pub fn iter(&self) -> impl Iterator<Item = (i32, &[IoSlice<'a>])> {
        self.sockets.iter().map(|(socket, range)| (*socket, &self.slices[range.clone()]))
    }
}

pub use ring::Uring;

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod ring {
    use super::*;
    use io_uring::{IoUring, Probe, opcode, squeue, types};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    /// A ring of the thread that made it.
    pub struct Uring {
        ring: IoUring,
        heads: Vec<libc::msghdr>,
    }

    impl Uring {
        /// `None` where the kernel has no io_uring, where it is forbidden (as containers often do), and where
        /// the user has switched it off for libuv, too (`UV_USE_IO_URING=0`).
        pub fn new() -> Option<Self> {
            if std::env::var_os("UV_USE_IO_URING").is_some_and(|value| value == "0") {
                return None;
            }
            let ring = Self::ring().or_else(|_| IoUring::new(BATCH as u32)).ok()?;
            let mut probe = Probe::new();
            ring.submitter().register_probe(&mut probe).ok()?;
            let codes = [opcode::Send::CODE, opcode::SendMsg::CODE, opcode::Recv::CODE];
            if !codes.iter().all(|code| probe.is_supported(*code)) {
                return None;
            }
            let mut uring = Uring { ring, heads: Vec::with_capacity(BATCH) };
            uring.try_out().is_ok_and(|refuses| refuses).then_some(uring)
        }

        /// A ring with the flags that make it cheaper; they need Linux 6.1.
        fn ring() -> io::Result<IoUring> {
            IoUring::builder()
                .setup_single_issuer()
                .setup_defer_taskrun()
                .setup_submit_all()
                .build(BATCH as u32)
        }

        /// Whether the ring may be used, not only made, and refuses operations that would have to wait.
        fn try_out(&mut self) -> io::Result<bool> {
            let (here, there) = UnixStream::pair()?;
            let mut byte = [0];
            let entry = opcode::Recv::new(types::Fd(here.as_raw_fd()), byte.as_mut_ptr(), 1);
            // SAFETY: the byte lives until the operation is answered, which it is below.
            unsafe { self.ring.submission().push(&entry.flags(libc::MSG_DONTWAIT).build()) }
                .map_err(io::Error::other)?;
            self.ring.submit()?;
            if let Some(answer) = self.ring.completion().next() {
                return Ok(answer.result() == -libc::EAGAIN);
            }
            drop(there);
            self.await_answers(1, |_, _| {});
            Ok(false)
        }

        /// Sends all of them. The answers, in the same order, are those of `send(2)`: the number of bytes
        /// taken, or an error, which is `WouldBlock` if there was no room for any.
        ///
        /// # Panics
        ///
        /// Panics with more than `BATCH` sockets.
        pub fn send(&mut self, sends: &Sends<'_>, answers: &mut Vec<io::Result<usize>>) {
            assert!(sends.len() <= BATCH, "at most {BATCH} operations");
            self.heads.clear();
            for (index, (socket, range)) in sends.sockets.iter().enumerate() {
                let entry = self.entry(*socket, &sends.slices[range.clone()]).user_data(index as u64);
                // SAFETY: the entry refers to bytes that `sends` borrows, and to a head that stays where it
                // is (`heads` does not grow beyond the capacity it was made with). Both outlive the
                // operation, since all are answered below.
                unsafe { self.push(&entry) };
            }
            self.answer_all(sends.len(), answers);
        }

        /// Receives from each socket into the chunk of the memory with the same index. The answers are those
        /// of `recv(2)`.
        ///
        /// # Panics
        ///
        /// Panics with more than `BATCH` sockets, or with fewer chunks than sockets.
        pub fn receive(
            &mut self,
            sockets: &[i32],
            memory: &mut [u8],
            chunk: usize,
            answers: &mut Vec<io::Result<usize>>,
        ) {
            assert!(sockets.len() <= BATCH, "at most {BATCH} operations");
            let chunks = memory.chunks_exact_mut(chunk);
            assert!(chunks.len() >= sockets.len(), "a chunk for every socket");
            for (index, (socket, chunk)) in sockets.iter().zip(chunks).enumerate() {
                let entry = opcode::Recv::new(types::Fd(*socket), chunk.as_mut_ptr(), chunk.len() as u32);
                let entry = entry.flags(libc::MSG_DONTWAIT).build().user_data(index as u64);
                // SAFETY: the chunk is borrowed mutably, belongs to this entry alone and outlives the
                // operation, since all are answered below.
                unsafe { self.push(&entry) };
            }
            self.answer_all(sockets.len(), answers);
        }

        /// # Safety
        ///
        /// The memory that the entry refers to must live until the entry is answered.
        unsafe fn push(&mut self, entry: &squeue::Entry) {
            // SAFETY: as required of the caller.
            if unsafe { self.ring.submission().push(entry) }.is_err() {
                unreachable!("the queue was empty, and has room for {BATCH}");
            }
        }

        /// Executes the `count` operations that were pushed.
        fn answer_all(&mut self, count: usize, answers: &mut Vec<io::Result<usize>>) {
            answers.clear();
            answers.resize_with(count, || Ok(0));
            self.await_answers(count, |index, result| {
                answers[index as usize] = match result {
                    0.. => Ok(result as usize),
                    error => Err(io::Error::from_raw_os_error(-error)),
                };
            });
        }

        fn await_answers(&mut self, mut missing: usize, mut each: impl FnMut(u64, i32)) {
            while missing > 0 {
                match self.ring.submit_and_wait(missing) {
                    Ok(_) => {}
                    Err(error) if is_passing(&error) => {}
                    // This is not expected of a ring that was tried out. The loop cannot go on, since it does
                    // not know which operations were executed.
                    Err(error) => panic!("io_uring_enter failed: {error}"),
                }
                for answer in self.ring.completion() {
                    missing -= 1;
                    each(answer.user_data(), answer.result());
                }
            }
        }

        fn entry(&mut self, socket: i32, slices: &[IoSlice<'_>]) -> squeue::Entry {
            // The kernel refuses instead of waiting; the loop goes on at the socket's next writable event.
            let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
            if let [one] = slices {
                let len = u32::try_from(one.len()).unwrap_or(u32::MAX);
                return opcode::Send::new(types::Fd(socket), one.as_ptr(), len).flags(flags).build();
            }
            // SAFETY: all zeros are a head without address, data and control messages.
            let mut head: libc::msghdr = unsafe { std::mem::zeroed() };
            // `IoSlice` has the layout of `iovec`, by its documentation.
            head.msg_iov = slices.as_ptr().cast_mut().cast();
            head.msg_iovlen = slices.len() as _;
            self.heads.push(head);
            let head = &raw const self.heads[self.heads.len() - 1];
            opcode::SendMsg::new(types::Fd(socket), head).flags(flags as u32).build()
        }
    }

    /// A signal, or too little memory for the moment.
    fn is_passing(error: &io::Error) -> bool {
        matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN | libc::EBUSY | libc::ENOMEM))
    }
}

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
mod ring {
    use super::*;

    /// Not on this platform.
    pub enum Uring {}

    impl Uring {
        pub fn new() -> Option<Self> {
            None
        }

        pub fn send(&mut self, _sends: &Sends<'_>, _answers: &mut Vec<io::Result<usize>>) {
            match *self {}
        }

        pub fn receive(
            &mut self,
            _sockets: &[i32],
            _memory: &mut [u8],
            _chunk: usize,
            _answers: &mut Vec<io::Result<usize>>,
        ) {
            match *self {}
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::io::{ErrorKind, Read, Write};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    /// Containers may forbid io_uring; then there is nothing to test.
    fn uring() -> Option<Uring> {
        let uring = Uring::new();
        if uring.is_none() {
            eprintln!("skipped: no io_uring here");
        }
        uring
    }

    fn pair() -> (UnixStream, UnixStream) {
        let (ours, theirs) = UnixStream::pair().expect("sockets");
        ours.set_nonblocking(true).expect("non-blocking");
        (ours, theirs)
    }

    fn read(stream: &mut UnixStream, n: usize) -> Vec<u8> {
        let mut bytes = vec![0; n];
        stream.read_exact(&mut bytes).expect("read");
        bytes
    }

    #[test]
    fn every_socket_gets_its_bytes_and_every_send_its_answer() {
        let Some(mut uring) = uring() else { return };
        let mut pairs: Vec<_> = (0..BATCH).map(|_| pair()).collect();
        for round in 0..3usize {
            let texts: Vec<_> = (0..BATCH).map(|n| format!("{round}:{n}")).collect();
            let (mut sends, mut answers) = (Sends::with_capacity(BATCH), Vec::new());
            for (n, (ours, _)) in pairs.iter().enumerate() {
                // One slice or several.
                let text = texts[n].as_bytes();
                let slices = [IoSlice::new(&text[..1]), IoSlice::new(&text[1..2]), IoSlice::new(&text[2..])];
                match n % 2 {
                    0 => sends.push(ours.as_raw_fd(), &[IoSlice::new(text)]),
                    _ => sends.push(ours.as_raw_fd(), &slices),
                }
            }
            uring.send(&sends, &mut answers);
            assert_eq!(answers.len(), BATCH);
            for (n, answer) in answers.into_iter().enumerate() {
                assert_eq!(answer.expect("taken"), texts[n].len());
                assert_eq!(read(&mut pairs[n].1, texts[n].len()), texts[n].as_bytes());
            }
        }
    }

    #[test]
    fn a_socket_that_refuses_bytes_does_not_disturb_the_others() {
        let Some(mut uring) = uring() else { return };
        let [(full, mut from_full), (closed, gone), (fine, mut peer)] = [pair(), pair(), pair()];
        drop(gone);
        let much = vec![7; 8 << 20];
        let send = |uring: &mut Uring| {
            let (mut sends, mut answers) = (Sends::default(), Vec::new());
            sends.push(full.as_raw_fd(), &[IoSlice::new(&much)]);
            sends.push(closed.as_raw_fd(), &[IoSlice::new(b"lost")]);
            sends.push(-1, &[IoSlice::new(b"no"), IoSlice::new(b"where")]);
            sends.push(fine.as_raw_fd(), &[IoSlice::new(b"o"), IoSlice::new(b"k")]);
            uring.send(&sends, &mut answers);
            answers
        };
        // A part first, and nothing once there is no room left; never a wait.
        let mut taken = 0;
        let refused = loop {
            let mut answers = send(&mut uring).into_iter();
            let first = answers.next().expect("answer");
            assert_eq!(answers.next().expect("answer").expect_err("closed").kind(), ErrorKind::BrokenPipe);
            assert_eq!(
                answers.next().expect("answer").expect_err("no socket").raw_os_error(),
                Some(libc::EBADF)
            );
            assert_eq!(answers.next().expect("answer").expect("taken"), 2);
            assert_eq!(read(&mut peer, 2), b"ok");
            match first {
                Ok(n) => taken += n,
                Err(error) => break error,
            }
        };
        assert_eq!(refused.kind(), ErrorKind::WouldBlock);
        assert!(taken > 0);
        assert_eq!(read(&mut from_full, taken), vec![7; taken]);
        assert!(matches!(send(&mut uring)[0], Ok(n) if n > 0), "room again");
    }

    #[test]
    fn bytes_that_have_arrived_are_received_and_the_others_not_waited_for() {
        let Some(mut uring) = uring() else { return };
        let [(long, mut from_long), (empty, _idle), (closed, gone), (short, mut from_short)] =
            [pair(), pair(), pair(), pair()];
        drop(gone);
        from_long.write_all(b"123456789").expect("write");
        from_short.write_all(b"abc").expect("write");
        let sockets = [&long, &empty, &closed, &short].map(|socket| socket.as_raw_fd());
        let (mut memory, mut answers) = ([b'.'; 4 * 5 + 1], Vec::new());
        uring.receive(&sockets, &mut memory, 5, &mut answers);
        let mut answers = answers.into_iter();
        assert_eq!(answers.next().expect("answer").expect("bytes"), 5);
        assert_eq!(answers.next().expect("answer").expect_err("nothing").kind(), ErrorKind::WouldBlock);
        assert_eq!(answers.next().expect("answer").expect("end"), 0);
        assert_eq!(answers.next().expect("answer").expect("bytes"), 3);
        assert_eq!(&memory, b"12345..........abc...");
    }

    #[test]
    fn nothing_to_send_is_nothing() {
        let Some(mut uring) = uring() else { return };
        let mut answers = vec![Ok(1)];
        uring.send(&Sends::default(), &mut answers);
        assert!(answers.is_empty());
    }
}
