//! A bounded map whose least recently used entries go first.
#![forbid(unsafe_code)]

use hashlink::LinkedHashMap;
use std::hash::RandomState;

/// Memory of an entry beside the bytes that it is charged for.
pub const OVERHEAD: usize = 256;

/// Owner of the values: whoever puts one in gives it away, and a look-up lends it.
///
/// Keys come from clients, so their hashes are seeded (`RandomState`), and a key is compared as a whole.
pub struct Store<T> {
    entries: LinkedHashMap<Box<[u8]>, Entry<T>, RandomState>,
    bytes: usize,
    max_entries: usize,
    max_bytes: usize,
}

struct Entry<T> {
    value: T,
    cost: usize,
}

impl<T> Store<T> {
    pub fn new(max_entries: usize, max_bytes: usize) -> Self {
        let entries = LinkedHashMap::with_hasher(RandomState::new());
        Store { entries, bytes: 0, max_entries, max_bytes }
    }

    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// The sum of what all entries cost.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The value of a key, which is the most recently used one from now on.
    pub fn get(&mut self, key: &[u8]) -> Option<&mut T> {
        self.entries.to_back(key).map(|entry| &mut entry.value)
    }

    /// Puts a value in, in place of one with the same key, that costs `bytes` beside its key. Returns how
    /// many others had to go; `None`: it is larger than all the room, and is not put in.
    pub fn insert(&mut self, key: Box<[u8]>, value: T, bytes: usize) -> Option<usize> {
        self.remove(&key);
        let cost = bytes.saturating_add(key.len()).saturating_add(OVERHEAD);
        if cost > self.max_bytes || self.max_entries == 0 {
            return None;
        }
        let mut evicted = 0;
        while self.entries.len() >= self.max_entries || self.bytes + cost > self.max_bytes {
            if self.pop().is_none() {
                break;
            }
            evicted += 1;
        }
        self.bytes += cost;
        self.entries.insert(key, Entry { value, cost });
        Some(evicted)
    }

    /// The entry costs so much more from now on. Returns how many had to go.
    pub fn charge(&mut self, key: &[u8], more: usize) -> usize {
        let Some(entry) = self.entries.get_mut(key) else { return 0 };
        entry.cost += more;
        self.bytes += more;
        let mut evicted = 0;
        while self.bytes > self.max_bytes && self.pop().is_some() {
            evicted += 1;
        }
        evicted
    }

    pub fn remove(&mut self, key: &[u8]) -> Option<T> {
        let entry = self.entries.remove(key)?;
        self.bytes -= entry.cost;
        Some(entry.value)
    }

    /// Takes the least recently used value out.
    pub fn pop(&mut self) -> Option<T> {
        let (_, entry) = self.entries.pop_front()?;
        self.bytes -= entry.cost;
        Some(entry.value)
    }

    /// Removes the entries with these keys.
    pub fn remove_all(&mut self, mut is_meant: impl FnMut(&[u8]) -> bool) {
        let bytes = &mut self.bytes;
        self.entries.retain(|key, entry| {
            let stays = !is_meant(key);
            if !stays {
                *bytes -= entry.cost;
            }
            stays
        });
    }

    /// Debug builds assert that the counts are those of the entries.
    pub fn check(&self) {
        debug_assert_eq!(self.bytes, self.entries.values().map(|entry| entry.cost).sum::<usize>());
        debug_assert!(self.bytes <= self.max_bytes && self.entries.len() <= self.max_entries);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(text: &str) -> Box<[u8]> {
        text.as_bytes().into()
    }

    fn at(store: &mut Store<usize>, name: &str) -> Option<usize> {
        store.get(name.as_bytes()).copied()
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let mut store = Store::new(3, usize::MAX);
        for (n, name) in ["a", "b", "c"].into_iter().enumerate() {
            assert_eq!(store.insert(key(name), n, 1), Some(0));
        }
        assert_eq!(at(&mut store, "a"), Some(0));
        assert_eq!(store.insert(key("d"), 3, 1), Some(1));
        assert_eq!((at(&mut store, "b"), at(&mut store, "a")), (None, Some(0)));
        assert_eq!(store.insert(key("a"), 7, 1), Some(0), "it takes the place of the other");
        assert_eq!((store.count(), at(&mut store, "a")), (3, Some(7)));
        store.check();
    }

    #[test]
    fn bytes_are_bounded() {
        let mut store = Store::new(100, 10 * (OVERHEAD + 11));
        for n in 0..10 {
            store.insert(key(&n.to_string()), n, 10);
        }
        assert_eq!((store.count(), store.bytes()), (10, 10 * (OVERHEAD + 11)));
        assert_eq!(store.insert(key("x"), 10, 2 * (OVERHEAD + 11) + 10), Some(3));
        assert_eq!(store.insert(key("y"), 11, 20 * OVERHEAD), None, "it is larger than all the room");
        assert_eq!((at(&mut store, "y"), at(&mut store, "x"), store.count()), (None, Some(10), 8));
        assert_eq!(store.insert(key("x"), 12, 20 * OVERHEAD), None);
        assert_eq!(at(&mut store, "x"), None, "the old value is gone all the same");
        assert_eq!(store.charge(b"9", 9 * OVERHEAD), 6, "it makes room for itself");
        assert_eq!(store.charge(b"9", 99 * OVERHEAD), 1);
        store.check();
        assert_eq!((store.count(), store.bytes()), (0, 0));
        assert_eq!(Store::new(0, 1000).insert(key("a"), 0, 0), None);
    }

    proptest! {
        #[test]
        fn counts_and_order_are_those_of_a_list(
            steps in prop::collection::vec((0u8..5, 0u8..12, 0usize..900), 0..200)) {
            let mut store = Store::new(6, 8 * OVERHEAD);
            // Key, value and cost, the most recently used last.
            let mut list: Vec<(Box<[u8]>, usize, usize)> = Vec::new();
            for (n, (step, name, bytes)) in steps.into_iter().enumerate() {
                let name = key(&name.to_string());
                let at = list.iter().position(|each| each.0 == name);
                match step {
                    0 | 1 => {
                        at.map(|at| list.remove(at));
                        let cost = bytes + name.len() + OVERHEAD;
                        if cost <= 8 * OVERHEAD {
                            list.push((name.clone(), n, cost));
                            while list.len() > 6 || list.iter().map(|each| each.2).sum::<usize>() > 8 * OVERHEAD {
                                list.remove(0);
                            }
                        }
                        store.insert(name, n, bytes);
                    }
                    2 => {
                        let found = at.map(|at| list.remove(at));
                        prop_assert_eq!(store.get(&name).copied(), found.as_ref().map(|each| each.1));
                        list.extend(found);
                    }
                    3 => {
                        let found = at.map(|at| list.remove(at));
                        prop_assert_eq!(store.remove(&name), found.map(|each| each.1));
                    }
                    _ => {
                        list.retain(|each| each.0[0] != name[0]);
                        store.remove_all(|key| key[0] == name[0]);
                    }
                }
                store.check();
                prop_assert_eq!(store.count(), list.len());
                prop_assert_eq!(store.bytes(), list.iter().map(|each| each.2).sum::<usize>());
            }
        }
    }
}
