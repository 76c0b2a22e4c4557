//! The server API: operations for an application's backend. HTTP is one endpoint of it; others call the same
//! [`Api::call`].

pub mod command;
pub mod http;
pub mod openapi;
pub mod reply;
pub mod table;

use crate::auth::revoke::{Revocation, StoreError};
use crate::patience::within;
use crate::policy::api::{self, check};
use crate::policy::server_side::{ServerSide, server_side};
use crate::policy::{HistoryGrant, PublishGrant, Rules, Source};
use crate::session::{Explainer, Taken, options};
use command::{Command, Message, Since, Subscribe, Who};
use globset::ErrorKind;
use parking_lot::Mutex;
use reply::{ApiError, Node as NodeFacts, Reply};
use spinward::engine::broker::{BrokerError, HistoryFilter, HistoryOptions, PublishOptions, Published};
use spinward::wire::code::{DisconnectCode, UnsubscribeCode};
use spinward::{ClientFilter, Done, Node, NodeInfo, Position, ServerSubscribe};
use std::sync::Arc;
use std::time::Duration;

/// The server API of one node.
#[derive(Clone)]
pub struct Api {
    node: Node,
    facts: Arc<Facts>,
    taken: Taken,
    explainer: Explainer,
    /// Previous result of `info`.
    told: Arc<Mutex<Option<NodeInfo>>>,
}

/// Time a publish waits for subscribers that are behind, before the caller is to try again later.
const PUBLISH_WAIT: Duration = Duration::from_secs(10);

/// Facts of a node in `info`, besides its counters.
#[derive(Debug)]
pub struct Facts {
    /// Random id of this life of the process.
    pub uid: String,
    /// `node.name`.
    pub name: String,
}

impl Api {
    /// The API of a node that decides as `explainer` tells.
    #[must_use]
    pub fn new(node: Node, facts: Facts, explainer: Explainer) -> Self {
        let taken = explainer.taken.clone();
        Self { node, facts: Arc::new(facts), taken, explainer, told: Arc::default() }
    }

    /// Makes a call.
    ///
    /// # Errors
    /// An error of the server API, as the caller is told.
    pub async fn call(&self, command: Command) -> Result<Reply, ApiError> {
        let mut revoking = Vec::new();
        let reply = self.call_one_of_many(command, &mut revoking).await;
        all(&mut revoking).await;
        reply
    }

    /// The same as one of several calls in a row. Revocations among them do not wait for each other's end: those
    /// in a row are enforced together, before the next call of another kind or before the caller is answered, for
    /// which `revoking` is awaited.
    async fn call_one_of_many(&self, command: Command, revoking: &mut Vec<Done>) -> Result<Reply, ApiError> {
        if !command.revokes() {
            all(revoking).await;
        }
        let in_force = self.explainer.in_force.get();
        let rules = &in_force.rules;
        match command {
            Command::Publish { channel, message } => {
                self.publish(rules, &channel, &message).await.map(Reply::Published)
            }
            Command::Broadcast { channels, message } => {
                if channels.is_empty() || message.data.is_none() {
                    return Err(ApiError::BAD_REQUEST);
                }
                let mut responses = Vec::with_capacity(channels.len());
                for channel in &channels {
                    responses.push(self.publish(rules, channel, &message).await);
                }
                Ok(Reply::Broadcast(responses))
            }
            Command::Subscribe(subscribe) => self.subscribe(rules, &subscribe).await,
            Command::Unsubscribe { who, channel } => {
                let channel = (!channel.is_empty()).then_some(channel.as_str());
                if let Some(channel) = channel {
                    allowed(rules, channel, api::Unsubscribe)?;
                }
                if let Some(filter) = filter(&who, Vec::new()) {
                    self.node.unsubscribe(&who.user, &filter, channel, UnsubscribeCode::SERVER).await;
                }
                Ok(Reply::Empty)
            }
            Command::Disconnect { who, whitelist, code } => {
                let code =
                    code.filter(|code| code.code != 0).map_or(DisconnectCode::FORCE_DISCONNECT, |code| {
                        DisconnectCode { code: code.code, reason: code.reason.into() }
                    });
                if let Some(filter) = filter(&who, whitelist) {
                    self.node.disconnect(&who.user, &filter, code).await;
                }
                Ok(Reply::Empty)
            }
            Command::Refresh { who, expired, expire_at, info } => {
                if let Some(filter) = filter(&who, Vec::new()) {
                    // Centrifugo v6.9 takes the info with an end only.
                    let (expire_at, info) = (expire_at.max(0), info.filter(|_| expire_at > 0));
                    self.node.refresh(&who.user, &filter, expired, expire_at, info).await;
                }
                Ok(Reply::Empty)
            }
            Command::Presence { channel } => {
                allowed(rules, &channel, api::Presence)?;
                self.node.presence(&channel).await.map(Reply::Presence).map_err(|_| ApiError::INTERNAL)
            }
            Command::PresenceStats { channel } => {
                allowed(rules, &channel, api::Presence)?;
                self.node.presence_stats(&channel).await.map(Reply::Stats).map_err(|_| ApiError::INTERNAL)
            }
            Command::History { channel, limit, since, reverse } => {
                let grant = allowed(rules, &channel, api::History)?;
                let filter = HistoryFilter { limit: i64::from(limit), since: since.map(position), reverse };
                // Not the caller's fault there, as in Centrifugo v6.9.
                if filter.is_backwards_from_nothing() {
                    return Err(ApiError::INTERNAL);
                }
                self.node
                    .history(&channel, filter, history(grant))
                    .await
                    .map(Reply::History)
                    .map_err(|error| failed(&error))
            }
            Command::HistoryRemove { channel } => {
                allowed(rules, &channel, api::History)?;
                self.node
                    .remove_history(&channel)
                    .await
                    .map(|()| Reply::Empty)
                    .map_err(|error| failed(&error))
            }
            Command::Channels { pattern } => self.channels(&pattern),
            Command::Info => Ok(self.info()),
            Command::Rpc { method } if method.is_empty() => Err(ApiError::BAD_REQUEST),
            // Nothing registers methods yet.
            Command::Rpc { .. } => Err(ApiError::NOT_FOUND),
            Command::RevokeToken { uid, expire_at } => {
                self.revoke(Revocation::Token { uid, expire_at }, revoking).await
            }
            // Every token was issued after the beginning of time: this is a parameter left out.
            Command::InvalidateUserTokens { issued_before: ..=0, .. } => Err(ApiError::BAD_REQUEST),
            Command::InvalidateUserTokens { user, issued_before, expire_at, channel } => {
                self.revoke(Revocation::UserTokens { user, issued_before, channel, expire_at }, revoking)
                    .await
            }
            Command::BlockUser { user, expire_at } => {
                self.revoke(Revocation::User { user, expire_at }, revoking).await
            }
            Command::UnblockUser { user } => {
                self.in_store(move |api| api.taken.unblock_user(&user)).await.map(|()| Reply::Empty)
            }
            Command::Explain(None) => Err(ApiError::BAD_REQUEST),
            Command::Explain(Some(question)) => {
                Ok(Reply::Explained(Box::new(self.explainer.explain(&question).await)))
            }
            Command::OtherKind { whole: false, .. } => Err(ApiError::BAD_REQUEST),
            Command::OtherKind { channel, .. } => {
                allowed(rules, &channel, api::Publish { data: b"{}", skip_history: false, delta: false })?;
                // The channel is one of streams, which have no keys.
                Err(ApiError::BAD_REQUEST)
            }
        }
    }

    async fn revoke(&self, revocation: Revocation, revoking: &mut Vec<Done>) -> Result<Reply, ApiError> {
        revoking.push(self.in_store(move |api| api.taken.revoke(&api.node, revocation)).await?);
        Ok(Reply::Empty)
    }

    /// The store may write a file, which must hold up no other call.
    async fn in_store<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let api = self.clone();
        match tokio::task::spawn_blocking(move || act(&api)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(StoreError::Name(_))) => Err(ApiError::BAD_REQUEST),
            Ok(Err(error)) => {
                tracing::error!(%error, "cannot store a revocation");
                Err(ApiError::INTERNAL)
            }
            Err(error) => {
                tracing::error!(%error, "a revocation was interrupted");
                Err(ApiError::INTERNAL)
            }
        }
    }

    async fn publish(&self, rules: &Rules, channel: &str, message: &Message) -> Result<Published, ApiError> {
        let data = message.data.clone().ok_or(ApiError::BAD_REQUEST)?;
        let call = api::Publish { data: &data, skip_history: message.skip_history, delta: message.delta };
        let PublishGrant { history: kept, delta } = allowed(rules, channel, call)?;
        let options = PublishOptions {
            history: history(kept),
            info: None,
            tags: (!message.tags.is_empty()).then(|| Arc::new(message.tags.clone())),
            idempotency_key: message.idempotency_key.clone(),
            version: message.version,
            version_epoch: message.version_epoch.clone(),
            delta,
        };
        // The node admits a publication once its subscribers have nearly caught up.
        match within(PUBLISH_WAIT, self.node.publish(channel, data, options)).await {
            Some(published) => published.map_err(|error| failed(&error)),
            None => Err(ApiError::TOO_MANY_REQUESTS),
        }
    }

    async fn subscribe(&self, rules: &Rules, subscribe: &Subscribe) -> Result<Reply, ApiError> {
        let (Some(info), Some(data)) = (&subscribe.info, &subscribe.data) else {
            return Err(ApiError::BAD_REQUEST);
        };
        let wanted = ServerSide {
            source: Source::ServerApi,
            overrides: subscribe.overrides,
            expire_at: subscribe.expire_at.max(0),
            info: (!info.is_empty()).then_some(info),
            data: (!data.is_empty()).then_some(data),
        };
        let grant = server_side(rules, &subscribe.channel, &wanted)
            .map_err(|refused| ApiError::from(&refused.code))?;
        if let Some(filter) = filter(&subscribe.who, Vec::new()) {
            let made = ServerSubscribe {
                options: options(&grant),
                since: subscribe.recover_since.clone().map(position),
            };
            let subscribed =
                self.node.subscribe(&subscribe.who.user, &filter, &subscribe.channel, made).await;
            // An end in the past is an error of the server too, as in Centrifugo v6.9.
            subscribed.map_err(|error| {
                tracing::warn!(%error, "API subscribe failed");
                ApiError::INTERNAL
            })?;
        }
        Ok(Reply::Empty)
    }

    fn channels(&self, pattern: &str) -> Result<Reply, ApiError> {
        if pattern.is_empty() {
            return Ok(Reply::Channels(self.node.channels(|_| true)));
        }
        let pattern = plain_carets(pattern);
        let glob =
            globset::GlobBuilder::new(&pattern).literal_separator(false).backslash_escape(true).build();
        let matcher = match glob {
            Ok(glob) => glob.compile_matcher(),
            // A pattern that begins too late or ends too early is one that nothing matches, as in Centrifugo v6.9.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::UnclosedAlternates | ErrorKind::UnopenedAlternates | ErrorKind::DanglingEscape
                ) =>
            {
                return Ok(Reply::Channels(Vec::new()));
            }
            Err(_) => return Err(ApiError::INTERNAL),
        };
        Ok(Reply::Channels(self.node.channels(|channel| matcher.is_match(channel))))
    }

    /// The numbers are up to three seconds old, as in Centrifugo v6.9, and asking often costs nothing.
    fn info(&self) -> Reply {
        const AGE: Duration = Duration::from_secs(3);
        let uptime = self.node.uptime();
        let mut told = self.told.lock();
        let info = match &*told {
            Some(info) if uptime.saturating_sub(info.uptime) < AGE => info.clone(),
            _ => told.insert(self.node.info()).clone(),
        };
        drop(told);
        Reply::Info(Box::new(NodeFacts {
            uid: self.facts.uid.clone(),
            name: self.facts.name.clone(),
            version: env!("CARGO_PKG_VERSION"),
            clients: info.counters.clients,
            users: info.counters.users,
            channels: info.counters.channels,
            subscriptions: info.counters.subscriptions,
            uptime: uptime.as_secs(),
        }))
    }
}

/// A caret at the beginning of a class is a character like others there (Centrifugo's patterns negate by `!`);
/// globset takes it so at the end.
fn plain_carets(pattern: &str) -> String {
    let mut parts = pattern.split("[^");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(']') {
            Some((class, rest)) if !class.is_empty() => {
                out.extend(["[", class, "^]", rest]);
            }
            _ => out.extend(["[^", part]),
        }
    }
    out
}

/// Waits until what was revoked has ended.
async fn all(revoking: &mut Vec<Done>) {
    for done in revoking.drain(..) {
        done.await;
    }
}

/// Returns the grant for a call in the channel, or the reason why there is none.
fn allowed<C: api::Call>(rules: &Rules, channel: &str, call: C) -> Result<C::Grant, ApiError> {
    check(rules, channel, call).map_err(|refused| ApiError::from(&refused.code))
}

/// `None`: nobody is meant, since WebSocket connections have no session.
fn filter(who: &Who, except: Vec<String>) -> Option<ClientFilter> {
    let client = (!who.client.is_empty()).then(|| who.client.clone());
    who.session.is_empty().then_some(ClientFilter { client, except })
}

fn history(grant: HistoryGrant) -> HistoryOptions {
    HistoryOptions { size: grant.size as usize, ttl: grant.ttl, meta_ttl: grant.meta_ttl }
}

fn position(since: Since) -> Position {
    Position { offset: since.offset, epoch: since.epoch.into() }
}

fn failed(error: &BrokerError) -> ApiError {
    match error {
        BrokerError::UnrecoverablePosition => ApiError::UNRECOVERABLE_POSITION,
        BrokerError::NotSupported => ApiError::NOT_AVAILABLE,
        BrokerError::Stopped => ApiError::INTERNAL,
        BrokerError::Overloaded => ApiError::TOO_MANY_REQUESTS,
        BrokerError::Failed(_) => {
            tracing::error!(%error, "API call failed");
            ApiError::INTERNAL
        }
    }
}
