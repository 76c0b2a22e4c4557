//! Notice of new lives to the node.

use super::counters::{Counters, bump};
use super::keys::{Keys, Kind};
use super::pool::Shard;
use super::slots::slot;
use spinward::engine::broker::{Scope, Sink};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Tells a node about each new life of the servers of one shard.
pub(super) struct Watcher {
    pub(super) keys: Keys,
    pub(super) sink: Sink,
    pub(super) counters: Arc<Counters>,
    /// Place of the shard among all, and their number.
    pub(super) index: usize,
    pub(super) count: usize,
}

impl Watcher {
    pub(super) async fn run(self, shard: Arc<Shard>) {
        let mut changes = shard.changes();
        let mut before = Vec::new();
        let mut flushes = shard.flushes();
        loop {
            let now = shard.incarnations();
            self.compare(&mut before, now);
            let flushed = shard.flushes();
            // Fewer: a node has left the cluster.
            if flushed > std::mem::replace(&mut flushes, flushed) {
                // Offsets and epochs may be gone, or those of another database were: positions tell.
                self.sink.interrupted(Scope::All);
            }
            if changes.changed().await.is_err() || self.sink.is_closed() {
                return;
            }
        }
    }

    /// Compares the incarnations of hash slots with those before, and tells of those that another one followed. One
    /// that is not known yet does not count.
    fn compare(&self, before: &mut Vec<Arc<str>>, now: Vec<Arc<str>>) {
        let mut replaced = vec![false; now.len()];
        let mut any = false;
        before.resize(now.len(), "".into());
        for ((before, now), replaced) in before.iter_mut().zip(&now).zip(&mut replaced) {
            if !now.is_empty() && *before != *now {
                *replaced = !before.is_empty();
                any |= *replaced;
                *before = Arc::clone(now);
            }
        }
        if !any {
            return;
        }
        bump(&self.counters.replaced);
        let cluster = now.len() > 1;
        // Epochs of Centrifugo go on over lives: all that can be done is to compare positions.
        if self.keys.is_shared() {
            self.sink.interrupted(Scope::All);
            return;
        }
        if !cluster && self.count == 1 {
            if let Some(life) = now.first() {
                self.sink.replaced(Scope::All, life);
            }
            return;
        }
        let wanted = self.sink.wanted();
        let mut channels: BTreeMap<&Arc<str>, Vec<&str>> = BTreeMap::new();
        for channel in &wanted {
            if super::jump::bucket(channel, self.count) != self.index {
                continue;
            }
            let slot = if cluster { usize::from(slot(&self.keys.of(Kind::Channel, channel))) } else { 0 };
            if let (Some(true), Some(life)) = (replaced.get(slot), now.get(slot)) {
                channels.entry(life).or_default().push(channel);
            }
        }
        for (life, channels) in channels {
            self.sink.replaced(Scope::Channels(&channels), life);
        }
    }
}
