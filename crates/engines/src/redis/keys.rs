//! Names of keys and Pub/Sub channels.
//!
//! ```text
//! <prefix>.<kind>.{<partition>}.<channel>
//! <prefix>.r.{<partition>}.<length of the channel>.<channel>.<idempotency key>
//! ```
//!
//! The prefix has no braces and a kind is one letter, so that the partition is the hash tag whatever the channel
//! contains: everything of a channel is in one slot. No two names are the same: the kind decides on what follows.
//! Neither holds for the layout of Centrifugo, `<prefix>.<kind>.<channel>`, with `{<channel>}` in clusters.

use super::config::{Config, Layout};
use super::jump::hash;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Number of partitions. A constant of the layout: another number makes other keys.
const PARTITIONS: u64 = 4_096;

/// Kinds of keys. The letters are those of the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The Pub/Sub channel.
    Channel,
    /// Publications, as a stream.
    Stream,
    /// Publications, as a list.
    List,
    /// Offset, epoch and version.
    Meta,
}

impl Kind {
    const fn letter(self) -> char {
        match self {
            Self::Channel => 'c',
            Self::Stream => 's',
            Self::List => 'l',
            Self::Meta => 'm',
        }
    }
}

/// Names that begin with one prefix.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    prefix: Arc<str>,
    shared: Option<Shared>,
}

/// Names of Centrifugo.
#[derive(Clone, Debug)]
struct Shared {
    lists: bool,
    /// The servers are a cluster.
    cluster: Arc<AtomicBool>,
}

impl Keys {
    pub(crate) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.into(), shared: None }
    }

    /// Names in the layout of the configuration.
    pub(crate) fn in_layout(config: &Config) -> Self {
        let shared = match config.layout {
            Layout::Spinward => None,
            Layout::Centrifugo => Some(Shared { lists: config.history_use_lists, cluster: Arc::default() }),
        };
        Self { shared, ..Self::new(&config.prefix) }
    }

    /// Returns true for the layout of Centrifugo.
    pub(crate) const fn is_shared(&self) -> bool {
        self.shared.is_some()
    }

    /// Takes note of the kind of the servers, before the first name is made.
    pub(crate) fn settle(&self, cluster: bool) {
        if let Some(shared) = &self.shared {
            shared.cluster.store(cluster, Ordering::Relaxed);
        }
    }

    /// The key of a channel.
    pub(crate) fn of(&self, kind: Kind, channel: &str) -> Bytes {
        let Some(shared) = &self.shared else { return self.with(kind.letter(), channel, channel) };
        let word = match kind {
            Kind::Channel => "client",
            Kind::Stream => "stream",
            Kind::List => "list",
            Kind::Meta if shared.lists => "list.meta",
            Kind::Meta => "stream.meta",
        };
        format!("{}.{word}.{}", self.prefix, shared.tagged(channel)).into()
    }

    /// The key of the result of a publish.
    pub(crate) fn result(&self, channel: &str, idempotency_key: &str) -> Bytes {
        match &self.shared {
            Some(shared) => {
                format!("{}.result.{}.{idempotency_key}", self.prefix, shared.tagged(channel)).into()
            }
            None => self.with('r', channel, &format!("{}.{channel}.{idempotency_key}", channel.len())),
        }
    }

    /// Any name, in the slot of a channel.
    pub(crate) fn with(&self, letter: char, channel: &str, rest: &str) -> Bytes {
        let partition = partition(channel).to_string();
        let mut name = String::with_capacity(self.prefix.len() + partition.len() + rest.len() + 6);
        name.push_str(&self.prefix);
        name.push('.');
        name.push(letter);
        name.push_str(".{");
        name.push_str(&partition);
        name.push_str("}.");
        name.push_str(rest);
        name.into()
    }

    /// The channel of a Pub/Sub channel.
    pub(crate) fn channel<'a>(&self, name: &'a [u8]) -> Option<&'a str> {
        let rest = name.strip_prefix(self.prefix.as_bytes())?;
        if let Some(shared) = &self.shared {
            let mut channel = std::str::from_utf8(rest.strip_prefix(b".client.")?).ok()?;
            if shared.cluster.load(Ordering::Relaxed) {
                channel = channel.strip_prefix('{')?.strip_suffix('}')?;
            }
            return Some(channel);
        }
        let rest = rest.strip_prefix(b".c.{")?;
        let end = rest.iter().position(|byte| *byte == b'}')?;
        std::str::from_utf8(rest.get(end..)?.strip_prefix(b"}.")?).ok()
    }
}

impl Shared {
    fn tagged(&self, channel: &str) -> String {
        if self.cluster.load(Ordering::Relaxed) { format!("{{{channel}}}") } else { channel.to_owned() }
    }
}

fn partition(channel: &str) -> u64 {
    let hash = hash(channel.as_bytes());
    (hash ^ hash >> 32) % PARTITIONS
}

#[cfg(test)]
mod tests {
    use super::super::slots::slot;
    use super::*;
    use std::collections::HashMap;

    /// Names that are likely to be mistaken for each other: short, of the characters that keys are made of.
    fn name(random: &mut u64, longest: u64) -> String {
        const LETTERS: &[char] = &['a', 'c', 'r', 's', '.', '{', '}', '1', '2', ':', '\u{e4}', '\0'];
        let mut draw = |below: u64| {
            *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (*random >> 33) % below
        };
        (0..draw(longest + 1)).map(|_| LETTERS[draw(LETTERS.len() as u64) as usize]).collect()
    }

    #[test]
    fn a_million_names_are_distinct_and_of_the_slot_of_their_channel() {
        let keys = Keys::new("p.c");
        let mut random = 7;
        let mut made: HashMap<Bytes, (u8, String, String)> = HashMap::new();
        for round in 0..1_000_000_u64 {
            let channel = name(&mut random, 6);
            let home = slot(&keys.of(Kind::Meta, &channel));
            let (which, rest, key) = match round % 5 {
                0 => (0, String::new(), keys.of(Kind::Channel, &channel)),
                1 => (1, String::new(), keys.of(Kind::Stream, &channel)),
                2 => (2, String::new(), keys.of(Kind::List, &channel)),
                3 => (3, String::new(), keys.of(Kind::Meta, &channel)),
                _ => {
                    let idempotency_key = name(&mut random, 5);
                    let key = keys.result(&channel, &idempotency_key);
                    (4, idempotency_key, key)
                }
            };
            assert_eq!(slot(&key), home, "{key:?} is not in the slot of {channel:?}");
            if which == 0 {
                assert_eq!(keys.channel(&key), Some(&*channel));
            } else {
                assert_eq!(keys.channel(&key), None, "{key:?} passes for a Pub/Sub channel");
            }
            let of = (which, channel, rest);
            let before = made.entry(key).or_insert_with(|| of.clone());
            assert_eq!(*before, of, "two names of one key");
        }
    }

    #[test]
    fn names_of_others_are_not_ours() {
        let keys = Keys::new("p");
        for name in ["", "p", "p.c.", "p.c.{1}", "q.c.{1}.a", "p.s.{1}.a", "p.c.{1.a"] {
            assert_eq!(keys.channel(name.as_bytes()), None, "{name}");
        }
    }

    #[test]
    fn partitions_spread_channels_over_the_slots() {
        let keys = Keys::new("p");
        let thirds = (0..30_000).fold([0_u32; 3], |mut thirds, number| {
            let slot = slot(&keys.of(Kind::Meta, &format!("channel{number}")));
            thirds[usize::from(slot) * 3 / 16_384] += 1;
            thirds
        });
        assert!(thirds.iter().all(|third| (9_000..11_000).contains(third)), "{thirds:?}");
    }
}
