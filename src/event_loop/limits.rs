//! The limits of an app on what strangers may use: connections, requests, time.
//!
//! An app without limits has no [`Guard`], which costs its connections one look at an `Option`. The counts of
//! an app's connections live with the permits that are counted: each connection owns its own, and gives it
//! back when its socket is closed, however it ends.

use super::timer::Tick;
use crate::channel::Limit;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;

/// The limits of an app, checked; `None`: the original's value where it has one, else no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppLimits {
    pub max_connections: Option<u32>,
    pub max_connections_per_address: Option<u32>,
    pub max_requests_per_address: Option<Rate>,
    pub max_upgrades_per_address: Option<Rate>,
    /// Seconds; 0: no limit. The same goes for the other times.
    pub head_timeout: Option<Tick>,
    pub request_timeout: Option<Tick>,
    pub keep_alive_timeout: Option<Tick>,
    /// Bytes per second.
    pub min_body_rate: Option<u32>,
    /// Bytes.
    pub max_body_length: Option<u64>,
    pub max_requests_per_connection: Option<u32>,
    /// Bytes.
    pub max_unsent_bytes: Option<usize>,
}

/// So many in so many seconds, which may come all at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub count: u32,
    pub seconds: u32,
}

/// The limits of one app, with the counts that they are about.
pub struct Guard {
    pub limits: AppLimits,
    /// `None`: connections are not limited.
    pub doors: Option<Arc<Doors>>,
    pub requests: Option<Buckets>,
    pub upgrades: Option<Buckets>,
}

impl Guard {
    pub fn new(limits: AppLimits) -> Self {
        let counts = limits.max_connections.is_some() || limits.max_connections_per_address.is_some();
        Guard {
            doors: counts.then(|| Arc::new(Doors::new(&limits))),
            requests: limits.max_requests_per_address.map(Buckets::new),
            upgrades: limits.max_upgrades_per_address.map(Buckets::new),
            limits,
        }
    }
}

impl Guard {
    pub fn has_rates(&self) -> bool {
        self.requests.is_some() || self.upgrades.is_some()
    }
}

/// An address as limits count it: one of IPv4, also where IPv6 carries it, or a network of IPv6 of 64 bits,
/// since a site has at least one of those to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    V4(u32),
    V6(u64),
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Address::V4(ip.to_bits()),
            IpAddr::V6(ip) => Address::V6((ip.to_bits() >> 64) as u64),
        }
    }
}

// ---- connections

/// Counts the open connections of an app. Those that it has handed to child apps count as well, wherever
/// they are, so other loops may give permits back.
pub struct Doors {
    most: u32,
    most_per_address: u32,
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    all: u32,
    /// Each has at least one connection, so there are at most as many as connections.
    by_address: HashMap<Address, u32>,
}

/// The place of one connection among those that are counted. Dropping it gives the place back.
pub struct Permit {
    doors: Arc<Doors>,
    /// `None`: counted with no address, like the peers of Unix sockets and trusted proxies.
    address: Option<Address>,
}

impl Doors {
    fn new(limits: &AppLimits) -> Self {
        Doors {
            most: limits.max_connections.unwrap_or(u32::MAX),
            most_per_address: limits.max_connections_per_address.unwrap_or(u32::MAX),
            inside: Mutex::default(),
        }
    }

    /// An error: there is no room for another connection, or none for one of this address.
    pub fn enter(self: &Arc<Self>, address: Option<Address>) -> Result<Permit, Limit> {
        let mut inside = self.inside.lock();
        if inside.all >= self.most {
            return Err(Limit::MaxConnections);
        }
        self.enter_by(&mut inside, address)?;
        inside.all += 1;
        Ok(Permit { doors: self.clone(), address })
    }

    fn enter_by(&self, inside: &mut Inside, address: Option<Address>) -> Result<(), Limit> {
        let Some(address) = address else { return Ok(()) };
        match inside.by_address.entry(address) {
            Entry::Occupied(count) if *count.get() >= self.most_per_address => {
                return Err(Limit::MaxConnectionsPerAddress);
            }
            Entry::Occupied(mut count) => *count.get_mut() += 1,
            Entry::Vacant(place) => {
                place.insert(1);
            }
        }
        Ok(())
    }

    /// Debug builds assert that the counts fit each other, and the permits that the caller knows of.
    pub fn check(&self, known: usize) {
        if cfg!(debug_assertions) {
            let inside = self.inside.lock();
            assert!(inside.all as usize >= known && inside.all <= self.most, "connections with a permit");
            assert!(inside.by_address.values().all(|count| (1..=self.most_per_address).contains(count)));
            assert!(inside.by_address.values().sum::<u32>() <= inside.all, "connections by address");
        }
    }

    #[cfg(test)]
    fn counts(&self) -> (u32, usize) {
        let inside = self.inside.lock();
        (inside.all, inside.by_address.len())
    }
}

impl Inside {
    fn leave_by(&mut self, address: Option<Address>) {
        if let Some(Entry::Occupied(mut count)) = address.map(|address| self.by_address.entry(address)) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

impl Permit {
    /// The connection of a proxy turns out to be that of a client at this address. False: that has too many
    /// already. One that is counted with an address stays so, since the app that counts it does not believe
    /// this proxy.
    pub fn name(&mut self, address: Address) -> bool {
        if self.address.is_some() {
            return true;
        }
        let named = self.doors.enter_by(&mut self.doors.inside.lock(), Some(address)).is_ok();
        self.address = named.then_some(address);
        named
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut inside = self.doors.inside.lock();
        inside.all -= 1;
        inside.leave_by(self.address);
    }
}

/// The permits of one connection: that of the app which serves it, and that of the app which accepted it
/// where that is another.
#[derive(Default)]
pub struct Admission {
    pub own: Option<Permit>,
    pub home: Option<Permit>,
}

impl Admission {
    /// Whether there is a permit at all.
    pub fn counts(&self) -> bool {
        self.permits().next().is_some()
    }

    fn permits(&self) -> impl Iterator<Item = &Permit> {
        [&self.own, &self.home].into_iter().flatten()
    }

    pub fn is_counted_by(&self, doors: &Arc<Doors>) -> bool {
        self.permits().any(|permit| Arc::ptr_eq(&permit.doors, doors))
    }

    /// Called with the address of a client whose proxy names it. False: that has too many connections.
    pub fn name(&mut self, address: Address) -> bool {
        [&mut self.own, &mut self.home].into_iter().flatten().all(|permit| permit.name(address))
    }
}

// ---- rates

/// Buckets of one set, among which an address has its place.
const WAYS: usize = 8;
const SETS: usize = 8192;
const NANOS: u64 = 1_000_000_000;

/// A token bucket for each address, by the generic cell rate algorithm: of a bucket only the moment is kept
/// at which it will be full again.
///
/// The crate `governor` does the same, but its table of keys grows with the addresses until somebody sweeps
/// all of it, and a stranger has as many addresses of IPv6 as he likes. This table has a fixed size
/// (1.5 MiB). An address has its place in one of its sets, which is chosen by a keyed hash. If all places of
/// the set are taken, it gets that of the bucket which is the nearest to full, and what is missing there: so
/// whoever fills the table gains nothing by it, and a stranger who shares a set with him loses some of his
/// burst at worst.
pub struct Buckets {
    /// Nanoseconds in which one token comes back.
    interval: u64,
    /// Nanoseconds in which all do.
    burst: u64,
    hasher: RandomState,
    places: Box<[Bucket]>,
}

#[derive(Clone, Copy, Default)]
struct Bucket {
    address: Option<Address>,
    /// The moment at which it is full. Before `now` it is.
    full_at: u64,
}

/// A moment in nanoseconds of a monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub now: u64,
    /// The moment since which the request may have waited to be read or parsed. Tokens that came back since
    /// are kept even if the bucket was full.
    pub sent_since: u64,
}

impl Buckets {
    pub fn new(Rate { count, seconds }: Rate) -> Self {
        let burst = u64::from(seconds.max(1)) * NANOS;
        Buckets {
            interval: (burst / u64::from(count.max(1))).max(1),
            burst,
            hasher: RandomState::new(),
            places: vec![Bucket::default(); SETS * WAYS].into_boxed_slice(),
        }
    }

    /// Takes a token of the address. An error is the number of seconds after which there is one.
    pub fn take(&mut self, address: Address, Moment { now, sent_since }: Moment) -> Result<(), u32> {
        let (interval, burst) = (self.interval, self.burst);
        let bucket = self.bucket(address, now);
        let full_at = bucket.full_at.max(sent_since.min(now)) + interval;
        match full_at.checked_sub(now + burst) {
            None | Some(0) => {
                bucket.full_at = full_at;
                Ok(())
            }
            Some(wait) => Err(wait.div_ceil(NANOS).max(1) as u32),
        }
    }

    fn bucket(&mut self, address: Address, now: u64) -> &mut Bucket {
        let set = self.hasher.hash_one(address) as usize % SETS;
        let places = &mut self.places[set * WAYS..][..WAYS];
        let known = places.iter().position(|bucket| bucket.address == Some(address));
        let at = known.unwrap_or_else(|| {
            let fullest = places.iter().enumerate().min_by_key(|(_, bucket)| bucket.full_at.max(now));
            fullest.map_or(0, |(at, _)| at)
        });
        places[at].address = Some(address);
        &mut places[at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn address(text: &str) -> Address {
        text.parse::<IpAddr>().expect("address").into()
    }

    fn doors(all: Option<u32>, per_address: Option<u32>) -> Arc<Doors> {
        let limits = AppLimits {
            max_connections: all,
            max_connections_per_address: per_address,
            ..AppLimits::default()
        };
        Arc::new(Doors::new(&limits))
    }

    #[test]
    fn addresses_are_those_that_a_site_has() {
        assert_eq!(address("10.0.0.1"), address("::ffff:10.0.0.1"));
        assert_ne!(address("10.0.0.1"), address("10.0.0.2"));
        assert_eq!(address("2001:db8:0:1::1"), address("2001:db8:0:1:ffff::2"));
        assert_ne!(address("2001:db8:0:1::1"), address("2001:db8:0:2::1"));
    }

    #[test]
    fn a_place_is_given_back_with_its_permit() {
        let doors = doors(Some(2), None);
        let first = doors.enter(Some(address("10.0.0.1")));
        let second = doors.enter(None);
        assert!(first.is_ok() && second.is_ok());
        assert_eq!(doors.enter(None).err(), Some(Limit::MaxConnections));
        drop(first);
        assert!(doors.enter(Some(address("10.0.0.2"))).is_ok());
        drop(second);
        assert_eq!(doors.counts(), (0, 0));
    }

    #[test]
    fn each_address_has_its_places_and_those_without_an_address_are_not_limited() {
        let doors = doors(None, Some(1));
        let one = doors.enter(Some(address("10.0.0.1")));
        let beyond = doors.enter(Some(address("::ffff:10.0.0.1")));
        assert_eq!(beyond.err(), Some(Limit::MaxConnectionsPerAddress));
        let other = doors.enter(Some(address("10.0.0.2")));
        let local: Vec<_> = (0..9).map(|_| doors.enter(None)).collect();
        assert!(one.is_ok() && other.is_ok() && local.iter().all(Result::is_ok));
        assert_eq!(doors.counts(), (11, 2));
        drop((one, other, local));
        assert_eq!(doors.counts(), (0, 0));
    }

    #[test]
    fn a_permit_is_named_once() {
        let doors = doors(None, Some(1));
        let mut permit = doors.enter(None).expect("permit");
        assert!(permit.name(address("10.0.0.1")));
        let mut second = doors.enter(None).expect("permit");
        assert!(!second.name(address("10.0.0.1")));
        assert_eq!(doors.counts(), (2, 1));
        assert!(permit.name(address("10.0.0.2")));
        assert!(doors.enter(Some(address("10.0.0.1"))).is_err(), "it is that of the first");
        drop(permit);
        assert!(second.name(address("10.0.0.1")));
        drop(second);
        assert_eq!(doors.counts(), (0, 0));
    }

    fn at(seconds: f64) -> Moment {
        let now = (seconds * NANOS as f64) as u64;
        Moment { now, sent_since: now }
    }

    #[test]
    fn a_bucket_gives_its_tokens_at_once_and_then_as_they_come_back() {
        let (mut buckets, one) = (Buckets::new(Rate { count: 4, seconds: 2 }), address("10.0.0.1"));
        for _ in 0..4 {
            assert_eq!(buckets.take(one, at(10.0)), Ok(()));
        }
        assert_eq!(buckets.take(one, at(10.0)), Err(1));
        assert_eq!(buckets.take(address("10.0.0.2"), at(10.0)), Ok(()), "another has its own");
        assert_eq!(buckets.take(one, at(10.49)), Err(1));
        assert_eq!(buckets.take(one, at(10.5)), Ok(()));
        assert_eq!(buckets.take(one, at(10.5)), Err(1), "a refused one costs nothing");
        assert_eq!((0..9).filter(|_| buckets.take(one, at(100.0)).is_ok()).count(), 4);
    }

    #[test]
    fn the_wait_is_told_in_whole_seconds() {
        let (mut buckets, one) = (Buckets::new(Rate { count: 1, seconds: 60 }), address("10.0.0.1"));
        assert_eq!(buckets.take(one, at(1.0)), Ok(()));
        assert_eq!((buckets.take(one, at(1.0)), buckets.take(one, at(31.5))), (Err(60), Err(30)));
        assert_eq!(buckets.take(one, at(61.0)), Ok(()));
    }

    #[test]
    fn requests_that_waited_for_the_loop_are_not_a_burst() {
        let (mut buckets, one) = (Buckets::new(Rate { count: 2, seconds: 1 }), address("10.0.0.1"));
        let moment = Moment { sent_since: at(10.0).now, ..at(15.0) };
        let taken = (0..99).filter(|_| buckets.take(one, moment).is_ok()).count();
        assert_eq!(taken, 12, "those of 5 s, and a burst");
        assert_eq!(buckets.take(one, at(15.5)), Ok(()));
        assert_eq!(buckets.take(one, at(15.5)), Err(1));
    }

    #[test]
    fn whoever_fills_the_table_gains_nothing() {
        let mut buckets = Buckets::new(Rate { count: 3, seconds: 3600 });
        let mut taken = 0;
        for round in 0..10u64 {
            for site in 0..100_000u64 {
                let ip = IpAddr::V6(Ipv6Addr::from_bits(u128::from(site) << 64 | u128::from(round)));
                taken += usize::from(buckets.take(ip.into(), at(1.0)).is_ok());
            }
        }
        assert!(taken <= SETS * WAYS * 3, "{taken} tokens of {} buckets", SETS * WAYS);
        let late = (0..10_000).map(|n| IpAddr::V4(Ipv4Addr::from_bits(n)).into());
        assert!(late.filter(|one| buckets.take(*one, at(3602.0)).is_ok()).count() == 10_000, "it recovers");
    }
}
