//! The subscribers of each topic: a table from topic numbers to the slots of subscribed connections.
//!
//! Owned by the loop thread and changed by commands in the order of the JavaScript calls, so that "publish,
//! then unsubscribe" still delivers. Topic names and the counts that are answered synchronously live in
//! JavaScript; JavaScript hands the numbers out, and uses one again once its topic has no subscriber there.
//! Before it forgets a subscriber it tells the loop (`Unsubscribe`, `LeaveTopics`), so a number never brings
//! an old subscriber along.
#![forbid(unsafe_code)]

use indexmap::IndexSet;
use smallvec::SmallVec;
use std::hash::{BuildHasherDefault, Hasher};

/// Slots and topics are dense numbers: one multiplication spreads them well enough.
#[derive(Clone, Debug, Default)]
pub struct SlotHasher(u64);

impl Hasher for SlotHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }
    fn write_u32(&mut self, n: u32) {
        self.0 = (self.0 ^ u64::from(n)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26);
    }
}

pub type Subscribers = IndexSet<u32, BuildHasherDefault<SlotHasher>>;

#[derive(Default)]
pub struct Topics {
    topics: Vec<Subscribers>,
}

/// The bound of topic numbers. JavaScript hands out the smallest free one, so only nonsense exceeds it.
const MAX_TOPICS: usize = 1 << 26;

impl Topics {
    /// True when `slot` was not subscribed before.
    pub fn subscribe(&mut self, topic: u32, slot: u32) -> bool {
        let index = topic as usize;
        if index >= MAX_TOPICS {
            return false;
        }
        if index >= self.topics.len() {
            self.topics.resize_with(index + 1, Subscribers::default);
        }
        self.topics[index].insert(slot)
    }

    /// True when `slot` was subscribed.
    pub fn unsubscribe(&mut self, topic: u32, slot: u32) -> bool {
        let Some(subscribers) = self.topics.get_mut(topic as usize) else { return false };
        let was = subscribers.swap_remove(&slot);
        if subscribers.is_empty() {
            *subscribers = Subscribers::default();
        }
        was
    }

    /// Subscriptions of all connections.
    pub fn subscriptions(&self) -> usize {
        self.topics.iter().map(Subscribers::len).sum()
    }

    /// Copies the subscribers of a topic into `list`. A walk over the copy is not disturbed when some of them
    /// leave.
    pub fn list(&self, topic: u32, list: &mut Vec<u32>) {
        list.clear();
        if let Some(subscribers) = self.topics.get(topic as usize) {
            list.extend(subscribers);
        }
    }
}

/// Up to so many topics of one connection, a linear search is as fast as a table.
const FEW: usize = 16;

/// The topics of one connection. Most have one or two, some a hundred thousand.
#[derive(Debug)]
pub enum Subscriptions {
    Few(SmallVec<[u32; 4]>),
    Many(Box<Subscribers>),
}

impl Default for Subscriptions {
    fn default() -> Self {
        Subscriptions::Few(SmallVec::new())
    }
}

impl Subscriptions {
    /// Adds a topic, which the caller knows is not among them.
    pub fn add(&mut self, topic: u32) {
        match self {
            Subscriptions::Few(topics) if topics.len() < FEW => topics.push(topic),
            Subscriptions::Few(topics) => {
                let many = topics.drain(..).chain([topic]).collect();
                *self = Subscriptions::Many(Box::new(many));
            }
            Subscriptions::Many(topics) => {
                topics.insert(topic);
            }
        }
    }

    pub fn remove(&mut self, topic: u32) {
        match self {
            Subscriptions::Few(topics) => {
                if let Some(index) = topics.iter().position(|each| *each == topic) {
                    topics.swap_remove(index);
                }
            }
            Subscriptions::Many(topics) => {
                topics.swap_remove(&topic);
            }
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Subscriptions::Few(topics) => topics.len(),
            Subscriptions::Many(topics) => topics.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes all topics out.
    pub fn take(&mut self) -> impl Iterator<Item = u32> + use<> {
        let (few, many) = match std::mem::take(self) {
            Subscriptions::Few(topics) => (Some(topics), None),
            Subscriptions::Many(topics) => (None, Some(*topics)),
        };
        few.into_iter().flatten().chain(many.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn subscribers(topics: &Topics, topic: u32) -> Vec<u32> {
        let mut list = vec![7];
        topics.list(topic, &mut list);
        list
    }

    #[test]
    fn a_topic_lists_its_subscribers_once() {
        let mut topics = Topics::default();
        assert!(topics.subscribe(3, 10));
        assert!(!topics.subscribe(3, 10));
        assert!(topics.subscribe(3, 11));
        assert_eq!(subscribers(&topics, 3), [10, 11]);
        assert!(subscribers(&topics, 2).is_empty());
        assert!(topics.unsubscribe(3, 10));
        assert!(!topics.unsubscribe(3, 10));
        assert!(!topics.unsubscribe(99, 10));
        assert_eq!(subscribers(&topics, 3), [11]);
    }

    #[test]
    fn an_absurd_topic_number_reserves_nothing() {
        let mut topics = Topics::default();
        assert!(!topics.subscribe(u32::MAX, 1));
        assert!(subscribers(&topics, u32::MAX).is_empty());
    }

    proptest! {
        #[test]
        fn a_connection_has_the_topics_it_was_given(steps in prop::collection::vec((0u32..40, any::<bool>()), 0..200)) {
            let (mut own, mut expected) = (Subscriptions::default(), BTreeSet::new());
            for (topic, add) in steps {
                if !add {
                    own.remove(topic);
                    expected.remove(&topic);
                } else if expected.insert(topic) {
                    own.add(topic);
                }
            }
            prop_assert_eq!(own.take().collect::<BTreeSet<_>>(), expected);
            prop_assert_eq!(own.take().count(), 0);
        }

        #[test]
        fn agrees_with_sets(steps in prop::collection::vec((0u32..4, 0u32..40, any::<bool>()), 0..300)) {
            let mut topics = Topics::default();
            let mut sets = vec![BTreeSet::new(); 4];
            for (topic, slot, add) in steps {
                let set = &mut sets[topic as usize];
                if add {
                    prop_assert_eq!(topics.subscribe(topic, slot), set.insert(slot));
                } else {
                    prop_assert_eq!(topics.unsubscribe(topic, slot), set.remove(&slot));
                }
            }
            for topic in 0..4 {
                let mut got = subscribers(&topics, topic);
                got.sort_unstable();
                prop_assert_eq!(got, sets[topic as usize].iter().copied().collect::<Vec<_>>());
            }
        }
    }
}
