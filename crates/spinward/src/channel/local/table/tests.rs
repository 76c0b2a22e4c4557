use super::*;
use crate::channel::directory::Directory;
use crate::channel::local::special::SubscriberFlags;
use crate::channel::record::EngineId;
use crate::engine::memory::stream::tests::config;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn record(directory: &Directory, name: &str) -> Arc<Channel> {
    directory.with(name, EngineId::DEFAULT, |channel, _| Arc::clone(channel))
}

/// There may be millions of each, so any growth should be deliberate.
#[test]
fn a_channel_and_its_subscribers_are_small() {
    assert!(size_of::<Channel>() <= 64, "{} bytes for the record of a channel", size_of::<Channel>());
    assert!(size_of::<Option<LocalChannel>>() <= 40, "{} bytes for a channel", size_of::<LocalChannel>());
    assert_eq!(size_of::<SubscriberFlags>(), 4);
}

#[test]
fn a_crowd_of_channels_that_has_left_gives_its_memory_back() {
    let directory = Directory::new(1);
    let mut table = LocalTable::new(directory.names.clone());
    let numbers: Vec<u32> =
        (0..10_000).map(|n| table.insert(record(&directory, &format!("c{n}")), 0)).collect();
    for number in &numbers[1..] {
        table.remove_idle(*number).unwrap();
    }
    assert_eq!(table.find("c0"), Some(numbers[0]));
    assert_eq!(table.channels.len(), 1);
    assert!(table.numbers.capacity() <= 32, "{}", table.numbers.capacity());
    assert!(table.free.capacity() <= 32, "{}", table.free.capacity());
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u8),
    Remove(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![any::<u8>().prop_map(Step::Insert), any::<u8>().prop_map(Step::Remove)];
    // Crowds that come, and go.
    let crowd = (any::<bool>(), 0_u8..200, 1_u8..56).prop_map(|(come, from, count)| {
        let step = if come { Step::Insert } else { Step::Remove };
        (from..from + count).map(step).collect::<Vec<_>>()
    });
    prop::collection::vec(prop_oneof![step.prop_map(|step| vec![step]), crowd], 1..40)
        .prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_table_does_what_a_plain_map_does(steps in steps()) {
        let directory = Directory::new(1);
        let mut table = LocalTable::new(directory.names.clone());
        let mut model: BTreeMap<u8, (u32, u64)> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Insert(name) => {
                    if model.contains_key(&name) {
                        continue;
                    }
                    let record = record(&directory, &name.to_string());
                    let id = record.id;
                    let number = table.insert(record, 0);
                    prop_assert!(model.values().all(|(taken, _)| *taken != number), "{} is taken", number);
                    model.insert(name, (number, id));
                }
                Step::Remove(name) => {
                    let Some((number, id)) = model.remove(&name) else { continue };
                    prop_assert_eq!(table.remove_idle(number).map(|record| record.id), Some(id));
                    prop_assert!(table.find(&name.to_string()).is_none() && table.find_id(id).is_none());
                }
            }
            for (name, (number, id)) in &model {
                prop_assert_eq!(table.find(&name.to_string()), Some(*number));
                prop_assert_eq!(table.find_id(*id), Some(*number));
            }
        }
    }
}
