//! What the application took back: checked when something is granted, and acted upon when it is taken back.
//!
//! A connection is in the node's list before [`Hooks::connected`](spinward::hooks::Hooks::connected) has it
//! checked, and under its new token before [`Hooks::refreshed`](spinward::hooks::Hooks::refreshed) has; a revocation
//! is in the store before the connections of the list are looked at. Whatever the order of the two, one of them
//! sees the other.

use super::{Inner, State};
use crate::auth::reason::{Outcome, Refusal, Use};
use crate::auth::revoke::{Revocation, RevocationStore, StoreError, Subject};
use crate::auth::token::{ConnectToken, SubscribeToken};
use parking_lot::RwLock;
use spinward::clock::Clock;
use spinward::id::ClientId;
use spinward::identity::Identity;
use spinward::wire::code::{DisconnectCode, UnsubscribeCode};
use spinward::{Client, ClientFilter, Node};
use std::collections::HashMap;
use std::sync::Arc;

/// The store of a server. Cheap to clone.
#[derive(Clone)]
pub struct Taken {
    store: Arc<dyn RevocationStore>,
    clock: Clock,
}

impl Taken {
    /// Backed by this store.
    #[must_use]
    pub fn new(store: Arc<dyn RevocationStore>, clock: Clock) -> Self {
        Self { store, clock }
    }

    /// Whether something was taken back.
    ///
    /// # Errors
    /// It was, with the reason.
    pub fn check(&self, subject: &Subject<'_>) -> Result<(), Refusal> {
        self.store.check(subject, self.clock.now().unix())
    }

    /// Takes something back, and closes the connections that have it. The call writes a file where one is
    /// configured: it is not for a thread that must not wait.
    ///
    /// # Errors
    /// The store is full or cannot be written, or a name is empty or too long.
    pub fn revoke(&self, node: &Node, revocation: Revocation) -> Result<(), StoreError> {
        let now = self.clock.now().unix();
        let stored = self.store.revoke(revocation.clone(), now);
        // What could not be written holds all the same, until the process ends.
        if !matches!(stored, Ok(()) | Err(StoreError::Failed(_))) {
            return stored;
        }
        match &revocation {
            // Subscriptions do not remember their tokens: all of the user's in this channel ask anew.
            Revocation::UserTokens { user, channel, .. } if !channel.is_empty() => {
                node.unsubscribe(user, &ClientFilter::default(), Some(channel), UnsubscribeCode::EXPIRED);
            }
            Revocation::UserTokens { user, .. } | Revocation::User { user, .. } => {
                self.review(node, Some(user));
            }
            Revocation::Token { .. } => self.review(node, None),
        }
        stored
    }

    /// Ends the block of a user.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn unblock_user(&self, user: &str) -> Result<(), StoreError> {
        self.store.unblock_user(user, self.clock.now().unix())
    }

    fn review(&self, node: &Node, user: Option<&str>) {
        let taken = self.clone();
        node.review(user, move |identity| taken.verdict(identity).err().map(|refusal| close_code(&refusal)));
    }

    /// Whether a connection may stay.
    fn verdict(&self, identity: &Identity) -> Result<(), Refusal> {
        let state = identity.extension.as_ref().and_then(|state| state.downcast_ref::<State>());
        self.check(&Subject {
            user: &identity.user,
            jti: state.and_then(|state| state.jti.as_deref()),
            iat: state.and_then(|state| state.iat),
            channel: None,
        })
    }
}

/// Of a login without a token: nothing that is about tokens concerns it.
pub(super) const NO_TOKEN: i64 = i64::MAX;

impl Inner {
    pub(super) fn check_user(&self, user: &str) -> Result<(), Refusal> {
        self.taken.check(&Subject { user, iat: Some(NO_TOKEN), ..Subject::default() })
    }

    /// A connection is in the list now, or under another token: what was taken back since that was decided is
    /// noticed here.
    pub(super) fn check_standing(&self, client: &Client, used: Use) {
        if let Err(refusal) = self.taken.verdict(client.identity()) {
            let code = close_code(&refusal);
            self.refusals.token(used, client.user(), "", &refusal, code.code);
            client.disconnect(code);
        }
    }
}

/// Subscription tokens whose verification had to wait: by the time that the subscription is there, its token may
/// have been taken back, and a subscription does not remember it. A connection does one thing at a time, so it has
/// one entry at most.
#[derive(Default)]
pub(super) struct Waiting(RwLock<HashMap<ClientId, Option<Waited>>>);

/// The token of a subscription, once it is good.
struct Waited {
    channel: String,
    jti: Option<String>,
    iat: Option<i64>,
}

impl Waiting {
    /// A verification begins that waits.
    pub(super) fn begin(&self, client: ClientId) {
        self.0.write().insert(client, None);
    }

    /// It has ended well, if the connection is still there.
    pub(super) fn end(&self, client: ClientId, token: &SubscribeToken) {
        // Most did not wait, and then nothing is written.
        if !self.0.read().contains_key(&client) {
            return;
        }
        if let Some(waited) = self.0.write().get_mut(&client) {
            let (channel, jti) = (token.channel.clone(), token.jti.clone());
            *waited = Some(Waited { channel, jti, iat: token.iat });
        }
    }

    /// The token of a subscription to this channel. One to another channel, which the server has made meanwhile,
    /// takes nothing away.
    fn take(&self, client: ClientId, channel: &str) -> Option<Waited> {
        let is_here = |waited: &Option<Waited>| waited.as_ref().is_some_and(|one| one.channel == channel);
        if !self.0.read().get(&client).is_some_and(is_here) {
            return None;
        }
        self.0.write().remove(&client).flatten()
    }

    fn forget(&self, client: ClientId) {
        if self.0.read().contains_key(&client) {
            self.0.write().remove(&client);
        }
    }
}

impl Inner {
    /// A subscription is there: what was taken back since its token was checked is noticed here.
    pub(super) fn check_subscribed(&self, client: &Client, channel: &str) {
        let Some(waited) = self.waiting.take(client.id(), channel) else { return };
        let subject = Subject {
            user: client.user(),
            jti: waited.jti.as_deref(),
            iat: waited.iat,
            channel: Some(channel),
        };
        if let Err(refusal) = self.taken.check(&subject) {
            let code = UnsubscribeCode::EXPIRED;
            self.refusals.token(Use::Subscribe, client.user(), channel, &refusal, code.code);
            client.unsubscribe(channel, code);
        }
    }

    /// A connection is gone, and what it waited for with it.
    pub(super) fn forget_waiting(&self, client: &Client) {
        self.waiting.forget(client.id());
    }
}

/// What a connection token is checked by.
#[must_use]
pub fn of_connection(token: &ConnectToken) -> Subject<'_> {
    Subject { user: &token.user, jti: token.jti.as_deref(), iat: token.iat, channel: None }
}

/// What a subscription token is checked by.
#[must_use]
pub fn of_subscription(token: &SubscribeToken) -> Subject<'_> {
    Subject { user: &token.user, jti: token.jti.as_deref(), iat: token.iat, channel: Some(&token.channel) }
}

fn close_code(refusal: &Refusal) -> DisconnectCode {
    match refusal.outcome(Use::Connect) {
        Outcome::Disconnect(code) => code,
        Outcome::Error(_) => DisconnectCode::INVALID_TOKEN,
    }
}

#[cfg(test)]
#[path = "revocation_tests.rs"]
mod tests;
