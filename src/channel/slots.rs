//! The atomics of each connection, by its slot.

use super::sync::{AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
use crate::fault::{self, Fault};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::OnceLock;

/// The atomics of one connection that JavaScript reads to answer synchronously.
///
/// They belong to a generation, not to the slot: a reader names the generation it means, and gets nothing of
/// a later one. Only the loop writes.
pub struct SlotState {
    /// The generation of the connection that the other fields are about; [`BETWEEN`] while the loop changes
    /// them to those of another.
    generation: AtomicU32,
    backlog: AtomicUsize,
    acked: AtomicUsize,
    peer: AddressCell,
    proxied: AddressCell,
}

/// No connection has this generation: theirs have 31 bits.
const BETWEEN: u32 = u32::MAX;

impl Default for SlotState {
    fn default() -> Self {
        SlotState {
            generation: AtomicU32::new(BETWEEN),
            backlog: AtomicUsize::default(),
            acked: AtomicUsize::default(),
            peer: AddressCell::default(),
            proxied: AddressCell::default(),
        }
    }
}

/// The loop's account of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Bytes the kernel has refused so far and that wait in the loop.
    pub backlog: usize,
    /// [`command_cost`](super::command_cost) of all commands of this connection that the loop has executed or
    /// dropped, wrapping.
    pub acked: usize,
}

impl SlotState {
    /// The slot gets another connection, whose account begins at 0.
    pub fn begin(&self, generation: u32, peer: Option<SocketAddr>) {
        self.generation.store(BETWEEN, Ordering::Relaxed);
        // Pairs with the fence in `read`: a reader that sees any store below also sees that the generation
        // has changed.
        fence(Ordering::Release);
        self.backlog.store(0, Ordering::Relaxed);
        self.acked.store(0, Ordering::Relaxed);
        self.peer.store(peer);
        self.proxied.store(None);
        self.generation.store(generation, Ordering::Release);
    }

    pub fn set_backlog(&self, bytes: usize) {
        self.backlog.store(bytes, Ordering::SeqCst);
    }

    pub fn acknowledge(&self, cost: usize) {
        self.acked.fetch_add(cost, Ordering::Release);
    }

    /// The address of the client that a PROXY protocol header names.
    pub fn set_proxied(&self, address: Option<SocketAddr>) {
        self.proxied.store(address);
    }

    /// `None`: the slot has another connection by now.
    pub fn account(&self, generation: u32) -> Option<Account> {
        self.read(generation, |state| {
            // Read `acked` first: the loop publishes a backlog before it acknowledges the bytes.
            let acked = state.acked.load(Ordering::Acquire);
            Account { acked, backlog: state.backlog.load(Ordering::SeqCst) }
        })
    }

    pub fn peer(&self, generation: u32) -> Option<SocketAddr> {
        if fault::is_on(Fault::ForeignAddress) {
            return self.peer.load();
        }
        self.read(generation, |state| state.peer.load()).flatten()
    }

    pub fn proxied(&self, generation: u32) -> Option<SocketAddr> {
        self.read(generation, |state| state.proxied.load()).flatten()
    }

    fn read<T>(&self, generation: u32, look: impl FnOnce(&Self) -> T) -> Option<T> {
        if self.generation.load(Ordering::Acquire) != generation {
            return None;
        }
        let seen = look(self);
        fence(Ordering::Acquire);
        (self.generation.load(Ordering::Relaxed) == generation).then_some(seen)
    }
}

/// A socket address in atomics.
#[derive(Default)]
pub struct AddressCell {
    high: AtomicU64,
    low: AtomicU64,
    /// 0: none; otherwise family (4 or 6) in bits 16 and up, port below.
    meta: AtomicU32,
}

impl AddressCell {
    pub fn store(&self, address: Option<SocketAddr>) {
        let (ip, meta) = match address {
            None => (0, 0),
            Some(SocketAddr::V4(a)) => (u128::from(a.ip().to_bits()), 4 << 16 | u32::from(a.port())),
            Some(SocketAddr::V6(a)) => (a.ip().to_bits(), 6 << 16 | u32::from(a.port())),
        };
        self.high.store((ip >> 64) as u64, Ordering::Relaxed);
        self.low.store(ip as u64, Ordering::Relaxed);
        self.meta.store(meta, Ordering::Relaxed);
    }

    pub fn load(&self) -> Option<SocketAddr> {
        let meta = self.meta.load(Ordering::Relaxed);
        let (high, low) = (self.high.load(Ordering::Relaxed), self.low.load(Ordering::Relaxed));
        let ip: IpAddr = match meta >> 16 {
            4 => Ipv4Addr::from_bits(low as u32).into(),
            6 => Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low)).into(),
            _ => return None,
        };
        Some(SocketAddr::new(ip, meta as u16))
    }
}

/// Appends an address for JavaScript: the number of its bytes (0: none), those, and the port in two more, low
/// byte first.
pub fn write_address(out: &mut Vec<u8>, address: Option<SocketAddr>) {
    match address.map(|address| address.ip()) {
        None => out.push(0),
        Some(IpAddr::V4(ip)) => {
            out.push(4);
            out.extend_from_slice(&ip.octets());
        }
        Some(IpAddr::V6(ip)) => {
            out.push(16);
            out.extend_from_slice(&ip.octets());
        }
    }
    if let Some(address) = address {
        out.extend_from_slice(&address.port().to_le_bytes());
    }
}

const SLOTS_PER_CHUNK: usize = 1024;
const CHUNKS: usize = 4096;
/// The largest number of connections of one loop.
pub const MAX_CONNECTIONS: usize = SLOTS_PER_CHUNK * CHUNKS;

/// The slot states of one loop. The table grows by chunks and never moves one.
pub struct SlotTable {
    chunks: Box<[OnceLock<Box<[SlotState]>>]>,
}

impl Default for SlotTable {
    fn default() -> Self {
        SlotTable { chunks: (0..CHUNKS).map(|_| OnceLock::new()).collect() }
    }
}

impl SlotTable {
    /// The state of a slot below [`MAX_CONNECTIONS`]; created on first use.
    pub fn get(&self, slot: u32) -> &SlotState {
        let slot = slot as usize;
        let chunk = self.chunks[slot / SLOTS_PER_CHUNK % CHUNKS]
            .get_or_init(|| (0..SLOTS_PER_CHUNK).map(|_| SlotState::default()).collect());
        &chunk[slot % SLOTS_PER_CHUNK]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_cell() {
        let cell = AddressCell::default();
        assert_eq!(cell.load(), None);
        for text in ["127.0.0.1:80", "[::ffff:127.0.0.1]:65535", "[2001:db8::1]:1"] {
            let address: SocketAddr = text.parse().expect("address");
            cell.store(Some(address));
            assert_eq!(cell.load(), Some(address));
        }
        cell.store(None);
        assert_eq!(cell.load(), None);
    }

    #[test]
    fn the_state_of_a_slot_belongs_to_one_connection() {
        let (state, peer) = (SlotState::default(), "127.0.0.1:80".parse().ok());
        assert_eq!((state.account(0), state.peer(0)), (None, None));
        state.begin(7, peer);
        state.acknowledge(100);
        state.set_backlog(5);
        state.set_proxied(peer);
        assert_eq!(state.account(7), Some(Account { backlog: 5, acked: 100 }));
        assert_eq!((state.peer(7), state.proxied(7)), (peer, peer));
        state.begin(8, None);
        assert_eq!(state.account(7), None, "nothing of the next one");
        assert_eq!((state.peer(7), state.proxied(7)), (None, None));
        assert_eq!((state.account(8), state.proxied(8)), (Some(Account::default()), None));
    }
}

#[cfg(all(test, loom))]
mod model {
    use super::super::sync::model::check;
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    /// The address of the connection with this generation.
    fn address(generation: u32) -> SocketAddr {
        let bits = u128::MAX / 7 * u128::from(generation);
        SocketAddr::new(Ipv6Addr::from_bits(bits).into(), generation as u16)
    }

    #[test]
    fn nobody_reads_the_account_of_another_generation() {
        check(|| {
            let slot = Arc::new(SlotState::default());
            slot.begin(1, None);
            let of_loop = slot.clone();
            let thread = thread::spawn(move || {
                of_loop.set_backlog(100);
                of_loop.begin(2, None);
                of_loop.set_backlog(200);
                of_loop.acknowledge(2);
            });
            if let Some(Account { backlog, acked }) = slot.account(1) {
                assert!((backlog == 0 || backlog == 100) && acked == 0);
            }
            if let Some(Account { backlog, acked }) = slot.account(2) {
                assert!((backlog == 0 || backlog == 200) && (acked == 0 || acked == 2));
            }
            thread.join().expect("loop");
            assert_eq!(slot.account(1), None);
            assert_eq!(slot.account(2), Some(Account { backlog: 200, acked: 2 }));
        });
    }

    #[test]
    fn an_address_is_whole_and_of_its_generation() {
        check(|| {
            let slot = Arc::new(SlotState::default());
            slot.begin(1, Some(address(1)));
            let of_loop = slot.clone();
            let thread = thread::spawn(move || of_loop.begin(2, Some(address(2))));
            for generation in [1, 2] {
                assert!(slot.peer(generation).is_none_or(|peer| peer == address(generation)));
            }
            thread.join().expect("loop");
            assert_eq!((slot.peer(1), slot.peer(2)), (None, Some(address(2))));
        });
    }

    /// Bytes that the kernel has refused are never missing from both halves of the account.
    #[test]
    fn a_backlog_is_seen_before_its_bytes_are_acknowledged() {
        check(|| {
            let slot = Arc::new(SlotState::default());
            slot.begin(1, None);
            let of_loop = slot.clone();
            let thread = thread::spawn(move || {
                of_loop.set_backlog(10);
                of_loop.acknowledge(10);
                of_loop.set_backlog(30);
                of_loop.acknowledge(20);
            });
            let Some(Account { backlog, acked }) = slot.account(1) else { panic!("the connection is there") };
            assert!(backlog >= acked, "{backlog} {acked}");
            thread.join().expect("loop");
        });
    }
}
