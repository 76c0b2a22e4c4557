//! The hooks of the library, answered by the server, and grants in the library's terms.

use super::{ServerHooks, State};
use crate::auth::reason::Use;
use crate::policy::{
    HistoryFacts, HistoryGrant, PresenceFacts, PublishGrant, PublishResult, Source, SubscribeGrant,
};
use bytes::Bytes;
use spinward::Client;
use spinward::answer::Answer;
use spinward::engine::broker::{HistoryOptions, PublishOptions};
use spinward::hooks::{
    ConnectEvent, ConnectReply, Decision, HistoryEvent, Hooks, PresenceEvent, PublishEvent, PublishReply,
    RefreshEvent, RefreshReply, RpcEvent, SubRefreshEvent, SubRefreshReply, SubscribeEvent, SubscribeFailure,
    SubscribeOptions,
};
use spinward::wire::code::{DisconnectCode, UnsubscribeCode};
use std::sync::Arc;

impl Hooks for ServerHooks {
    fn connect(&self, request: ConnectEvent) -> Decision<ConnectReply> {
        self.inner.connect(request)
    }

    fn connected(&self, client: &Client) {
        if let Some(events) = &self.client_events {
            events.connected(client);
        }
        self.inner.check_standing(client, Use::Connect);
    }

    fn refreshed(&self, client: &Client) {
        self.inner.check_standing(client, Use::Refresh);
    }

    fn refresh(&self, client: &Client, request: RefreshEvent) -> Decision<RefreshReply> {
        self.inner.refresh(client, request)
    }

    fn subscribe(&self, client: &Client, request: SubscribeEvent) -> Decision<SubscribeOptions> {
        self.inner.subscribe(client, request)
    }

    fn subscribe_many(
        &self,
        client: &Client,
        requests: Vec<SubscribeEvent>,
    ) -> Vec<Decision<SubscribeOptions>> {
        self.inner.subscribe_many(client, requests)
    }

    fn sub_refresh(&self, client: &Client, request: SubRefreshEvent) -> Decision<SubRefreshReply> {
        self.inner.sub_refresh(client, request)
    }

    fn publish(&self, client: &Client, request: PublishEvent) -> Decision<PublishReply> {
        self.inner.publish(client, request)
    }

    fn presence(&self, client: &Client, request: PresenceEvent) -> Decision<()> {
        let (state, facts) = (client.extension::<State>(), PresenceFacts { stats: request.stats });
        let place = (request.channel.as_str(), request.subscribed);
        Answer::Now(self.inner.decide(client, state.as_deref(), place, facts))
    }

    fn history(&self, client: &Client, request: HistoryEvent) -> Decision<HistoryOptions> {
        let state = client.extension::<State>();
        let place = (request.channel.as_str(), request.subscribed);
        Answer::Now(self.inner.decide(client, state.as_deref(), place, HistoryFacts).map(history))
    }

    fn rpc(&self, client: &Client, call: RpcEvent) -> Decision<Bytes> {
        self.inner.rpc(client, &call)
    }

    fn engine(&self, channel: &str) -> Option<&str> {
        self.brokers.of(channel)
    }

    fn subscribed(&self, client: &Client, channel: &str) {
        self.inner.streams.begin(client, channel);
        self.inner.confirm_subscription(client, channel, Use::Subscribe);
    }

    fn sub_refreshed(&self, client: &Client, channel: &str) {
        self.inner.confirm_subscription(client, channel, Use::SubRefresh);
    }

    fn subscribe_failed(&self, client: &Client, channel: &str, failure: &SubscribeFailure) {
        // What the server makes rests on no token, and may fail beside a subscription that does.
        if !failure.server_side {
            self.inner.streams.end(client, channel);
            let tokens = self.inner.revocations.tokens();
            tokens.withdraw(client.id(), channel);
            // A broker may refuse what was active already.
            tokens.end(client.id(), channel);
        }
    }

    fn subscription_began(&self, client: &Client, channel: &str) {
        if let Some(events) = &self.client_events {
            events.subscribed(client, channel);
        }
    }

    fn subscription_replaced(&self, client: &Client, channel: &str) {
        self.inner.streams.end(client, channel);
        self.inner.revocations.tokens().end(client.id(), channel);
    }

    fn disconnected(&self, client: &Client, code: &DisconnectCode) {
        if let Some(events) = &self.client_events {
            events.disconnected(client, code);
        }
        self.inner.revocations.tokens().forget(client.id());
    }

    fn unsubscribed(&self, client: &Client, channel: &str, code: &UnsubscribeCode) {
        if let Some(events) = &self.client_events {
            events.unsubscribed(client, channel, code);
        }
        self.inner.streams.end(client, channel);
        self.inner.revocations.tokens().end(client.id(), channel);
    }

    fn channel_occupied(&self, channel: &str) {
        self.channel_changed(channel);
    }

    fn channel_vacated(&self, channel: &str) {
        self.channel_changed(channel);
    }
}

/// Returns the options of a granted subscription, in the library's terms.
#[must_use]
pub fn options(grant: &SubscribeGrant<'_>) -> SubscribeOptions {
    SubscribeOptions {
        expire_at: grant.expire_at,
        info: grant.info.cloned().unwrap_or_default(),
        data: grant.data.cloned().unwrap_or_default(),
        presence: grant.presence,
        join_leave: grant.join_leave,
        push_join_leave: grant.push_join_leave,
        positioning: grant.positioning,
        recovery: grant.recovery,
        cache: grant.recovery_mode == crate::config::typed::RecoveryMode::Cache,
        auto_recover: grant.auto_cache_recover,
        delta: grant.delta,
        tags_filter: grant.tags_filter,
        history: history(grant.history),
        source: grant.source.number(),
        server_side_refresh: grant.server_side_refresh,
        by_login: grant.source == Source::ConnectionCapability,
    }
}

/// Returns a publication as it is granted.
pub(super) fn publication(grant: PublishGrant, data: Bytes) -> PublishReply {
    let history = history(grant.history);
    let options = PublishOptions { history, delta: grant.delta, ..PublishOptions::default() };
    PublishReply { options, ..PublishReply::new(data) }
}

/// Returns a publication as it is granted, with what a proxy has said about it.
pub(super) fn proxied(grant: PublishGrant, data: Bytes, result: PublishResult) -> PublishReply {
    let mut reply = publication(grant, result.data.unwrap_or(data));
    let options = &mut reply.options;
    options.tags = (!result.tags.is_empty()).then(|| Arc::new(result.tags));
    options.idempotency_key = result.idempotency_key;
    options.version = result.version;
    options.version_epoch = result.version_epoch;
    reply
}

fn history(grant: HistoryGrant) -> HistoryOptions {
    HistoryOptions { size: grant.size as usize, ttl: grant.ttl, meta_ttl: grant.meta_ttl }
}
