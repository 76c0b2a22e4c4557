//! The application and the presence store of a simulated node.

use super::{META_TTL, POSITION_CHECK, Scenario};
use crate::random::Random;
use spinward::answer::Answer;
use spinward::engine::broker::HistoryOptions;
use spinward::engine::presence::{Member, Members, MemoryPresence, Presence, PresenceError, PresenceStats};
use spinward::hooks::{
    ConnectEvent, ConnectReply, Decision, HistoryEvent, Hooks, PresenceEvent, PublishEvent, PublishReply,
    SubscribeEvent, SubscribeOptions,
};
use spinward::id::ClientId;
use spinward::sim::give_way;
use spinward::{Client, ClientInfo, Config};
use std::sync::Arc;
use std::time::Duration;

pub(super) fn config(scenario: &Scenario) -> Config {
    Config {
        shards: scenario.shards,
        queue_max_size: 6_000,
        recovery_max_publication_limit: scenario.limit,
        inbox_max_size: scenario.inbox,
        history_meta_ttl: META_TTL,
        channel_position_check_delay: POSITION_CHECK,
        ..Config::default()
    }
}

pub(super) fn options(scenario: &Scenario, channel: &str) -> HistoryOptions {
    if channel == "n" {
        return HistoryOptions::default();
    }
    HistoryOptions { size: scenario.history, ttl: Duration::from_secs(3600), meta_ttl: META_TTL }
}

/// The application: everybody may do everything, now or later.
pub(super) struct Rules {
    pub(super) scenario: Scenario,
    pub(super) random: Random,
}

impl Rules {
    fn answer<T: Send + 'static>(&self, value: T) -> Answer<T> {
        later(&self.random, self.scenario.tarry, Answer::Now(value))
    }

    fn subscription(&self, channel: &str) -> SubscribeOptions {
        let history = options(&self.scenario, channel);
        SubscribeOptions {
            recovery: history.enabled(),
            history,
            presence: self.scenario.presence,
            join_leave: self.scenario.presence,
            push_join_leave: self.scenario.presence,
            delta: true,
            ..SubscribeOptions::default()
        }
    }
}

/// Returns true if the server subscribes this client to a channel.
pub(super) const fn is_served(c: u32) -> bool {
    c.is_multiple_of(3)
}

fn later<T: Send + 'static>(random: &Random, permille: usize, answer: Answer<T>) -> Answer<T> {
    if !random.permille(permille) {
        return answer;
    }
    let times = random.between(1, 6) as u32;
    Answer::later(async move {
        give_way(times).await;
        answer.wait().await
    })
}

impl Hooks for Rules {
    fn connect(&self, request: ConnectEvent) -> Decision<ConnectReply> {
        let credentials = request.handshake.credentials.clone().unwrap_or_default();
        let number = credentials.user.strip_prefix('u').and_then(|number| number.parse().ok());
        let subscriptions = if number.is_some_and(is_served) {
            vec![("s".to_owned(), self.subscription("s"))]
        } else {
            Vec::new()
        };
        self.answer(Ok(ConnectReply { credentials, subscriptions, ..ConnectReply::default() }))
    }

    fn subscribe(&self, _: &Client, request: SubscribeEvent) -> Decision<SubscribeOptions> {
        self.answer(Ok(self.subscription(&request.channel)))
    }

    /// Only hostile clients ask for this, and what they publish to is not among the channels that are checked.
    fn publish(&self, _: &Client, request: PublishEvent) -> Decision<PublishReply> {
        self.answer(Ok(PublishReply::new(request.data)))
    }

    fn presence(&self, _: &Client, _: PresenceEvent) -> Decision<()> {
        self.answer(Ok(()))
    }

    fn history(&self, _: &Client, request: HistoryEvent) -> Decision<HistoryOptions> {
        self.answer(Ok(options(&self.scenario, &request.channel)))
    }
}

/// A presence store that answers later.
pub(super) struct Tarrying {
    pub(super) store: Arc<MemoryPresence>,
    pub(super) random: Random,
}

impl Presence for Tarrying {
    fn add(
        &self,
        channel: &str,
        client: ClientId,
        info: Arc<ClientInfo>,
    ) -> Answer<Result<(), PresenceError>> {
        later(&self.random, 500, self.store.add(channel, client, info))
    }

    fn remove(&self, channel: &str, client: ClientId, user: &str) -> Answer<Result<(), PresenceError>> {
        later(&self.random, 500, self.store.remove(channel, client, user))
    }

    fn members(&self, channel: &str) -> Answer<Result<Members, PresenceError>> {
        self.store.members(channel)
    }

    fn stats(&self, channel: &str) -> Answer<Result<PresenceStats, PresenceError>> {
        self.store.stats(channel)
    }

    fn refresh_interval(&self) -> Option<Duration> {
        None
    }

    fn refresh(&self, _: &[Member]) -> Answer<Result<(), PresenceError>> {
        Answer::Now(Ok(()))
    }
}
