//! Presence of namespaces in stores of their own.

use crate::channel::Registry;
use spinward::answer::Answer;
use spinward::engine::EngineHealth;
use spinward::engine::presence::{Member, Members, Presence, PresenceError, PresenceStats};
use spinward::id::ClientId;
use spinward::publication::ClientInfo;
use std::sync::Arc;
use std::time::Duration;

/// Several presence stores as one: a channel is in the store that its namespace names.
pub(super) struct ByNamespace {
    default: Arc<dyn Presence>,
    named: Vec<(String, Arc<dyn Presence>)>,
    /// As of the start of the server: a channel in use does not move to another store.
    registry: Arc<Registry>,
}

impl ByNamespace {
    pub(super) fn new(
        default: Arc<dyn Presence>,
        named: Vec<(String, Arc<dyn Presence>)>,
        registry: Arc<Registry>,
    ) -> Self {
        Self { default, named, registry }
    }

    /// The place of a channel's store among the named ones. `None` is the default.
    fn place(&self, channel: &str) -> Option<usize> {
        let name = &self.registry.resolve(channel).namespace?.options().presence_manager_name;
        self.named.iter().position(|(known, _)| known == name)
    }

    fn of(&self, channel: &str) -> &dyn Presence {
        self.place(channel).map_or(&*self.default, |place| &*self.named[place].1)
    }

    fn all(&self) -> impl Iterator<Item = &Arc<dyn Presence>> {
        std::iter::once(&self.default).chain(self.named.iter().map(|(_, store)| store))
    }
}

impl Presence for ByNamespace {
    fn add(
        &self,
        channel: &str,
        client: ClientId,
        info: Arc<ClientInfo>,
    ) -> Answer<Result<(), PresenceError>> {
        self.of(channel).add(channel, client, info)
    }

    fn remove(&self, channel: &str, client: ClientId, user: &str) -> Answer<Result<(), PresenceError>> {
        self.of(channel).remove(channel, client, user)
    }

    fn members(&self, channel: &str) -> Answer<Result<Members, PresenceError>> {
        self.of(channel).members(channel)
    }

    fn stats(&self, channel: &str) -> Answer<Result<PresenceStats, PresenceError>> {
        self.of(channel).stats(channel)
    }

    fn tidy(&self) {
        self.all().for_each(|store| store.tidy());
    }

    fn refresh_interval(&self) -> Option<Duration> {
        self.all().filter_map(|store| store.refresh_interval()).min()
    }

    fn refresh(&self, members: &[Member]) -> Answer<Result<(), PresenceError>> {
        let mut parts = vec![Vec::new(); self.named.len() + 1];
        for member in members {
            let place = self.place(&member.channel).map_or(0, |place| place + 1);
            parts[place].push(member.clone());
        }
        // A store in which nothing expires has nothing to refresh.
        let parts = self
            .all()
            .zip(parts)
            .filter(|(store, part)| !part.is_empty() && store.refresh_interval().is_some());
        let answers: Vec<_> = parts.map(|(store, part)| store.refresh(&part)).collect();
        Answer::later(async move {
            // Each is asked, whatever becomes of the others.
            let mut result = Ok(());
            for answer in answers {
                result = result.and(answer.wait().await);
            }
            result
        })
    }

    fn health(&self) -> EngineHealth {
        let named = self.named.iter().map(|(name, store)| (name.as_str(), store));
        for (name, store) in std::iter::once(("default", &self.default)).chain(named) {
            if let EngineHealth::Down { reason } = store.health() {
                return EngineHealth::Down { reason: format!("{name}: {reason}") };
            }
        }
        EngineHealth::Up
    }

    fn close(&self) -> Answer<()> {
        let closing: Vec<_> = self.all().map(|store| store.close()).collect();
        Answer::later(async move {
            for one in closing {
                one.wait().await;
            }
        })
    }
}
