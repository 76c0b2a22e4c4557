//! Presence within one process: exact, never expiring.

use crate::answer::Answer;
use crate::capacity::reduced;
use crate::engine::memory::present::Present;
use crate::engine::presence::{Member, Members, Presence, PresenceError, PresenceStats};
use crate::id::ClientId;
use crate::publication::ClientInfo;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use parking_lot::Mutex;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

const SHARDS: usize = 16;

/// Lists of members that a shard keeps for the next question at most.
const RECENT: usize = 4;

/// Members from which on a list is worth keeping.
const CROWD: usize = 16;

/// A presence store in the memory of one node, for single-node deployments.
///
/// Entries stay until they are removed. Adding, removing and counting cost the same however many are in a
/// channel; only listing them does not.
pub struct MemoryPresence {
    hasher: FixedState,
    shards: [Mutex<Shard>; SHARDS],
}

struct Shard {
    channels: Channels,
    /// Lists that were asked for lately, until somebody comes or goes. At most [`RECENT`].
    recent: Vec<Recent>,
}

/// A list of the members of a channel, as they still are.
struct Recent {
    channel: Box<str>,
    members: Members,
    /// Somebody has asked for it since the last look.
    used: bool,
}

pub(super) type Map<K, V> = HashMap<K, V, FixedState>;

/// Has no channel without members.
type Channels = Map<Box<str>, Present>;

impl MemoryPresence {
    /// An empty store. The seed is that of its hash tables: keep it random where strangers choose channel or
    /// user names.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let hasher = FixedState::with_seed(seed);
        let shards = std::array::from_fn(|_| {
            Mutex::new(Shard { channels: Map::with_hasher(hasher.clone()), recent: Vec::new() })
        });
        Self { hasher, shards }
    }

    fn shard(&self, channel: &str) -> &Mutex<Shard> {
        // The tables take their bits from both ends of the hash.
        let middle = self.hasher.hash_one(channel) >> 32;
        &self.shards[middle as usize % SHARDS]
    }
}

impl Presence for MemoryPresence {
    fn add(
        &self,
        channel: &str,
        client: ClientId,
        info: Arc<ClientInfo>,
    ) -> Answer<Result<(), PresenceError>> {
        let mut shard = self.shard(channel).lock();
        shard.changed(channel);
        let channels = &mut shard.channels;
        if let Some(members) = channels.get_mut(channel) {
            members.add(client, info, &self.hasher);
        } else {
            channels.entry(channel.into()).or_insert_with(Present::new).add(client, info, &self.hasher);
        }
        Answer::Now(Ok(()))
    }

    fn remove(&self, channel: &str, client: ClientId, _: &str) -> Answer<Result<(), PresenceError>> {
        let mut shard = self.shard(channel).lock();
        shard.changed(channel);
        let channels = &mut shard.channels;
        if let Some(members) = channels.get_mut(channel) {
            members.remove(client);
            if members.is_empty() {
                channels.remove(channel);
                give_back(channels);
            }
        }
        Answer::Now(Ok(()))
    }

    fn members(&self, channel: &str) -> Answer<Result<Members, PresenceError>> {
        Answer::Now(Ok(self.shard(channel).lock().members(channel)))
    }

    fn stats(&self, channel: &str) -> Answer<Result<PresenceStats, PresenceError>> {
        let shard = self.shard(channel).lock();
        Answer::Now(Ok(shard.channels.get(channel).map_or_else(PresenceStats::default, Present::stats)))
    }

    /// Drops lists that nobody has asked for since the last time.
    fn tidy(&self) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            shard.recent.retain_mut(|recent| std::mem::take(&mut recent.used));
            if shard.recent.is_empty() {
                shard.recent = Vec::new();
            }
        }
    }

    fn refresh_interval(&self) -> Option<Duration> {
        None
    }

    fn refresh(&self, _: &[Member]) -> Answer<Result<(), PresenceError>> {
        Answer::Now(Ok(()))
    }
}

impl Shard {
    fn members(&mut self, channel: &str) -> Members {
        if let Some(recent) = self.recent.iter_mut().find(|recent| *recent.channel == *channel) {
            recent.used = true;
            return recent.members.clone();
        }
        let Some(present) = self.channels.get(channel) else { return Members::default() };
        let members = Members::from(present.infos());
        if members.len() >= CROWD {
            if self.recent.len() == RECENT {
                self.recent.remove(0);
            }
            self.recent.push(Recent { channel: channel.into(), members: members.clone(), used: true });
        }
        members
    }

    /// Somebody came to a channel, or left it.
    fn changed(&mut self, channel: &str) {
        self.recent.retain(|recent| *recent.channel != *channel);
    }
}

pub(super) fn give_back<K: Eq + std::hash::Hash, V>(map: &mut Map<K, V>) {
    if let Some(capacity) = reduced(map.len(), map.capacity()) {
        map.shrink_to(capacity);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::memory::stream::tests::config;
    use proptest::prelude::*;
    use spinward_wire::Protocol;
    use std::collections::{BTreeMap, BTreeSet};

    fn client(number: u8) -> ClientId {
        ClientId::from_random([number; 16])
    }

    /// The tag distinguishes infos of one connection.
    fn info(user: &str, number: u8, tag: u8) -> Arc<ClientInfo> {
        Arc::new(ClientInfo {
            user: user.into(),
            client: client(number).to_string().into(),
            conn_info: vec![tag].into(),
            ..ClientInfo::default()
        })
    }

    fn now<T>(answer: Answer<Result<T, PresenceError>>) -> T {
        match answer {
            Answer::Now(Ok(value)) => value,
            _ => panic!("memory answers at once"),
        }
    }

    fn stats(store: &MemoryPresence, channel: &str) -> (u32, u32) {
        let stats = now(store.stats(channel));
        (stats.clients, stats.users)
    }

    #[test]
    fn empty_channels_leave_nothing_behind() {
        let store = MemoryPresence::new(1);
        assert_eq!(store.refresh_interval(), None);
        for number in 0..200 {
            now(store.add(&format!("c{number}"), client(number), info("u", number, 0)));
            now(store.add("crowd", client(number), info("u", number, 0)));
        }
        assert_eq!(stats(&store, "crowd"), (200, 1));
        for number in 0..200 {
            now(store.remove(&format!("c{number}"), client(number), "u"));
            now(store.remove("crowd", client(number), "u"));
            now(store.remove("never", client(number), "u"));
        }
        for shard in &store.shards {
            assert_eq!(shard.lock().channels.len(), 0);
        }
        assert_eq!(stats(&store, "crowd"), (0, 0));
        assert!(now(store.members("crowd")).is_empty());
    }

    #[test]
    fn channels_spread_over_the_shards() {
        let store = MemoryPresence::new(1);
        for number in 0..1_600 {
            now(store.add(&format!("c{number}"), client(1), info("u", 1, 0)));
        }
        for shard in &store.shards {
            assert!((50..200).contains(&shard.lock().channels.len()));
        }
    }

    #[test]
    fn adding_again_replaces_the_info_and_keeps_the_counts() {
        let store = MemoryPresence::new(1);
        now(store.add("c", client(1), info("a", 1, 0)));
        now(store.add("c", client(2), info("a", 2, 0)));
        now(store.add("c", client(1), info("a", 1, 7)));
        assert_eq!(stats(&store, "c"), (2, 1));
        now(store.add("c", client(1), info("", 1, 8)));
        assert_eq!(stats(&store, "c"), (2, 2), "the anonymous count as one user");
        now(store.remove("c", client(2), "u"));
        assert_eq!(now(store.members("c")).to_vec(), [info("", 1, 8)]);
        assert_eq!(stats(&store, "c"), (1, 1));
    }

    #[test]
    fn a_list_is_made_and_encoded_once_until_somebody_comes_or_goes() {
        let store = MemoryPresence::new(1);
        for number in 0..20 {
            now(store.add("c", client(number), info("u", number, 0)));
        }
        for protocol in [Protocol::Json, Protocol::Protobuf] {
            let (first, again) = (now(store.members("c")), now(store.members("c")));
            assert_eq!(first.as_ptr(), again.as_ptr());
            assert_eq!(first.encoded(protocol).as_ptr(), again.encoded(protocol).as_ptr());
        }
        let before = now(store.members("c"));
        now(store.add("c", client(0), info("u", 0, 7)));
        let after = now(store.members("c"));
        assert!(before.iter().any(|member| **member == *info("u", 0, 0)), "a list does not change");
        assert!(after.iter().any(|member| **member == *info("u", 0, 7)));
        assert_ne!(before.encoded(Protocol::Json), after.encoded(Protocol::Json));
        now(store.remove("c", client(3), "u"));
        assert_eq!(now(store.members("c")).len(), 19);
    }

    #[test]
    fn lists_are_kept_for_a_moment_and_few_at_a_time() {
        let store = MemoryPresence::new(1);
        let kept = || store.shards.iter().map(|shard| shard.lock().recent.len()).sum::<usize>();
        for channel in 0..500 {
            for number in 0..20 {
                now(store.add(&format!("c{channel}"), client(number), info("u", number, 0)));
            }
        }
        now(store.add("few", client(1), info("u", 1, 0)));
        drop(now(store.members("few")));
        drop(now(store.members("none")));
        assert_eq!(kept(), 0);
        for channel in 0..500 {
            drop(now(store.members(&format!("c{channel}"))));
        }
        assert_eq!(kept(), SHARDS * RECENT);
        store.tidy();
        drop(now(store.members("c499")));
        store.tidy();
        assert_eq!(kept(), 1, "only what was asked for since");
        let last = Arc::downgrade(&now(store.members("c499")).0);
        store.tidy();
        store.tidy();
        assert_eq!((kept(), last.strong_count()), (0, 0));
    }

    /// Were counting to walk through the members, this would take hours.
    #[test]
    fn a_channel_of_a_hundred_thousand_is_counted_at_once() {
        const MEMBERS: u32 = 100_000;
        let store = MemoryPresence::new(1);
        let id = |number: u32| {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&number.to_le_bytes());
            ClientId::from_random(bytes)
        };
        for number in 0..MEMBERS {
            now(store.add("c", id(number), info(&(number / 2).to_string(), 0, 0)));
            assert_eq!(stats(&store, "c"), (number + 1, number / 2 + 1));
        }
        assert_eq!(now(store.members("c")).len(), MEMBERS as usize);
        for number in 0..MEMBERS {
            now(store.remove("c", id(number), "u"));
            let left = MEMBERS - number - 1;
            assert_eq!(stats(&store, "c"), (left, left.div_ceil(2)));
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Add(&'static str, u8, &'static str, u8),
        Remove(&'static str, u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        let channel = || prop::sample::select(vec!["a", "b", "ab"]);
        prop_oneof![
            3 => (channel(), 0_u8..20, prop::sample::select(vec!["", "u", "v"]), any::<u8>())
                .prop_map(|(channel, client, user, tag)| Step::Add(channel, client, user, tag)),
            2 => (channel(), 0_u8..20).prop_map(|(channel, client)| Step::Remove(channel, client)),
        ]
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn presence_does_what_a_plain_map_does(
            seed in any::<u64>(),
            steps in prop::collection::vec(step(), 1..100),
        ) {
            let store = MemoryPresence::new(seed);
            let mut model: BTreeMap<(&str, u8), (&str, u8)> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Add(channel, number, user, tag) => {
                        model.insert((channel, number), (user, tag));
                        now(store.add(channel, client(number), info(user, number, tag)));
                    }
                    Step::Remove(channel, number) => {
                        model.remove(&(channel, number));
                        now(store.remove(channel, client(number), "u"));
                    }
                }
                for channel in ["a", "b", "ab"] {
                    let there: Vec<_> = model.iter().filter(|(at, _)| at.0 == channel).collect();
                    let users: BTreeSet<_> = there.iter().map(|(_, info)| info.0).collect();
                    prop_assert_eq!(stats(&store, channel), (there.len() as u32, users.len() as u32));
                    let mut expected: Vec<_> =
                        there.iter().map(|(at, (user, tag))| info(user, at.1, *tag)).collect();
                    let mut members = now(store.members(channel)).to_vec();
                    expected.sort_by(|a, b| a.client.cmp(&b.client));
                    members.sort_by(|a, b| a.client.cmp(&b.client));
                    prop_assert_eq!(members, expected);
                }
                let channels: BTreeSet<_> = model.keys().map(|at| at.0).collect();
                prop_assert_eq!(store.shards.iter().map(|shard| shard.lock().channels.len()).sum::<usize>(), channels.len());
            }
        }
    }
}
