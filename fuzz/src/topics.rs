//! The table of subscribers, and the topics of each connection, against sets of pairs.

use crate::input::steps;
use arbitrary::Arbitrary;
use std::collections::{BTreeMap, BTreeSet};
use uws_rs::event_loop::topics::{Subscriptions, Topics};

#[derive(Arbitrary, Debug)]
enum Step {
    Subscribe(u8, u8),
    /// To so many topics in a row.
    SubscribeToMany(u8, u8),
    Unsubscribe(u8, u8),
    /// The connection leaves all of its topics.
    Leave(u8),
    Publish(u8),
    Nonsense(u32, u8),
}

pub fn run(data: &[u8]) {
    let mut topics = Topics::default();
    let mut mine: BTreeMap<u32, Subscriptions> = BTreeMap::new();
    let mut model: BTreeSet<(u32, u32)> = BTreeSet::new();
    for step in steps::<Step>(data, 2000) {
        match step {
            Step::Subscribe(topic, slot) => subscribe(&mut topics, &mut mine, &mut model, topic, slot),
            Step::SubscribeToMany(count, slot) => {
                for topic in 0..count % 40 {
                    subscribe(&mut topics, &mut mine, &mut model, topic, slot);
                }
            }
            Step::Unsubscribe(topic, slot) => {
                let (topic, slot) = (u32::from(topic), u32::from(slot));
                let was = model.remove(&(topic, slot));
                assert_eq!(topics.unsubscribe(topic, slot), was);
                if was {
                    mine.get_mut(&slot).expect("subscribed").remove(topic);
                }
            }
            Step::Leave(slot) => {
                let slot = u32::from(slot);
                let mut left: Vec<_> =
                    mine.get_mut(&slot).map(|mine| mine.take().collect()).unwrap_or_default();
                left.sort_unstable();
                let expected: Vec<_> =
                    model.iter().filter(|pair| pair.1 == slot).map(|pair| pair.0).collect();
                assert_eq!(left, expected);
                for topic in left {
                    assert!(topics.unsubscribe(topic, slot));
                    model.remove(&(topic, slot));
                }
                assert!(mine.get(&slot).is_none_or(Subscriptions::is_empty));
            }
            Step::Publish(topic) => {
                let mut list = vec![7];
                topics.list(u32::from(topic), &mut list);
                list.sort_unstable();
                let of_topic = model.range((u32::from(topic), 0)..=(u32::from(topic), u32::MAX));
                assert_eq!(list, of_topic.map(|pair| pair.1).collect::<Vec<_>>());
            }
            Step::Nonsense(topic, slot) => {
                let topic = topic | 1 << 26;
                assert!(!topics.subscribe(topic, u32::from(slot)));
                assert!(!topics.unsubscribe(topic, u32::from(slot)));
                let mut list = vec![7];
                topics.list(topic, &mut list);
                assert!(list.is_empty());
            }
        }
        assert_eq!(topics.subscriptions(), model.len());
        assert_eq!(mine.values().map(Subscriptions::len).sum::<usize>(), model.len());
    }
}

fn subscribe(
    topics: &mut Topics,
    mine: &mut BTreeMap<u32, Subscriptions>,
    model: &mut BTreeSet<(u32, u32)>,
    topic: u8,
    slot: u8,
) {
    let (topic, slot) = (u32::from(topic), u32::from(slot));
    let is_new = model.insert((topic, slot));
    assert_eq!(topics.subscribe(topic, slot), is_new);
    if is_new {
        mine.entry(slot).or_default().add(topic);
    }
}
