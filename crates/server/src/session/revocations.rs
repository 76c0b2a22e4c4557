//! Token and user revocation: checked on every grant, and enforced on live connections.
//!
//! A connection is in the node's list before [`Hooks::connected`](spinward::hooks::Hooks::connected) has it
//! checked, and under its new token before [`Hooks::refreshed`](spinward::hooks::Hooks::refreshed) has; a revocation
//! is in the store before the connections of the list are looked at. Whatever the order of the two, one of them
//! sees the other. The same holds for subscriptions and [their tokens](super::subscription_tokens).

use super::subscription_tokens::SubscriptionTokens;
use super::{Inner, State};
use crate::auth::reason::{Outcome, Refusal, Use};
use crate::auth::revoke::{Revocation, RevocationStore, StoreError, Subject};
use crate::auth::token::{ConnectToken, SubscribeToken};
use spinward::clock::Clock;
use spinward::enforce::{Judge, Verdict};
use spinward::id::ClientId;
use spinward::identity::Identity;
use spinward::wire::code::{DisconnectCode, UnsubscribeCode};
use spinward::{Client, Done, Node};
use std::sync::Arc;

/// The store of a server. Cheap to clone.
#[derive(Clone)]
pub struct Revocations {
    store: Arc<dyn RevocationStore>,
    tokens: Arc<SubscriptionTokens>,
    clock: Clock,
    /// Decides by the store if a connection may stay, and what it may keep.
    judge: Judge,
}

impl Revocations {
    /// Backed by this store.
    #[must_use]
    pub fn new(store: Arc<dyn RevocationStore>, clock: Clock) -> Self {
        let tokens: Arc<SubscriptionTokens> = Arc::default();
        let judge = {
            let (store, tokens, clock) = (Arc::clone(&store), Arc::clone(&tokens), clock.clone());
            Judge::new(move |identity| judge(&*store, &tokens, clock.now().unix(), identity))
        };
        Self { store, tokens, clock, judge }
    }

    /// Checks a subject.
    ///
    /// # Errors
    /// The subject was revoked, with the reason.
    pub fn check(&self, subject: &Subject<'_>) -> Result<(), Refusal> {
        self.store.check(subject, self.clock.now().unix())
    }

    /// Takes something back. The connections and subscriptions that rest on it have ended once the returned future
    /// is ready; they end whether or not it is awaited. The call writes a file where one is configured: it is not
    /// for a thread that must not wait.
    ///
    /// Which connections rest on a token is not indexed, since every connection would pay for that: all of them are
    /// asked about, and revocations that come faster than that are covered by one further walk.
    ///
    /// # Errors
    /// The store is full or cannot be written, or a name is empty or too long.
    pub fn revoke(&self, node: &Node, revocation: Revocation) -> Result<Done, StoreError> {
        let user = match &revocation {
            Revocation::UserTokens { user, .. } | Revocation::User { user, .. } => Some(user.clone()),
            Revocation::Token { .. } => None,
        };
        let stored = self.store.revoke(revocation, self.clock.now().unix());
        // What could not be written holds all the same, until the process ends.
        let unwritten = match stored {
            Ok(()) => None,
            Err(error @ StoreError::Failed(_)) => Some(error),
            Err(error) => return Err(error),
        };
        let done = node.enforce(user.as_deref(), &self.judge);
        unwritten.map_or(Ok(done), Err)
    }

    /// Offers this token for a subscription to rest on, unless it was revoked.
    ///
    /// # Errors
    /// It was revoked, with the reason.
    pub(super) fn offer(&self, client: ClientId, token: &SubscribeToken) -> Result<(), Refusal> {
        self.check(&of_subscription(token))?;
        self.tokens.offer(client, token);
        Ok(())
    }

    /// The tokens that subscriptions rest on.
    pub(super) fn tokens(&self) -> &SubscriptionTokens {
        &self.tokens
    }

    /// Ends the block of a user.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn unblock_user(&self, user: &str) -> Result<(), StoreError> {
        self.store.unblock_user(user, self.clock.now().unix())
    }

    /// Checks if a connection may stay.
    fn verdict(&self, identity: &Identity) -> Result<(), Refusal> {
        self.check(&of_login(identity))
    }
}

/// Decides if a connection may stay, and which of its subscriptions may.
fn judge(store: &dyn RevocationStore, tokens: &SubscriptionTokens, now: i64, identity: &Identity) -> Verdict {
    if let Err(refusal) = store.check(&of_login(identity), now) {
        return Verdict::Disconnect(close_code(&refusal));
    }
    let refused = tokens.refused(identity.id, |subject| store.check(subject, now).is_err());
    if refused.is_empty() { Verdict::Keep } else { Verdict::Unsubscribe(refused, UnsubscribeCode::EXPIRED) }
}

/// Returns the subject of a login.
fn of_login(identity: &Identity) -> Subject<'_> {
    let state = identity.extension.as_ref().and_then(|state| state.downcast_ref::<State>());
    Subject {
        user: &identity.user,
        jti: state.and_then(|state| state.jti.as_deref()),
        iat: state.and_then(|state| state.iat),
        channel: None,
    }
}

/// Of a login without a token: nothing that is about tokens concerns it.
pub(super) const NO_TOKEN: i64 = i64::MAX;

impl Inner {
    pub(super) fn check_user(&self, user: &str) -> Result<(), Refusal> {
        self.revocations.check(&Subject { user, iat: Some(NO_TOKEN), ..Subject::default() })
    }

    /// A connection is in the list now, or under another token: what was taken back since that was decided is
    /// noticed here.
    pub(super) fn check_standing(&self, client: &Client, used: Use) {
        if let Err(refusal) = self.revocations.verdict(client.identity()) {
            let code = close_code(&refusal);
            self.refusals.token(used, client.user(), "", &refusal, code.code);
            client.disconnect(code);
        }
    }

    /// A subscription is there, or goes on, and its token comes into force.
    ///
    /// The token is held before it is checked again, as a revocation is stored before it looks for what is held:
    /// whatever the order of the two, one of them sees the other.
    pub(super) fn confirm_subscription(&self, client: &Client, channel: &str, used: Use) {
        self.revocations.tokens.confirm(client.id(), channel);
        let checked =
            self.revocations.tokens.ask(client.id(), channel, |subject| self.revocations.check(subject));
        if let Some(Err(refusal)) = checked {
            let code = UnsubscribeCode::EXPIRED;
            self.refusals.token(used, client.user(), channel, &refusal, code.code);
            client.unsubscribe(channel, code);
        }
    }
}

/// Returns the subject of a connection token.
#[must_use]
pub fn of_connection(token: &ConnectToken) -> Subject<'_> {
    Subject { user: &token.user, jti: token.jti.as_deref(), iat: token.iat, channel: None }
}

/// Returns the subject of a subscription token.
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
#[path = "revocations_tests.rs"]
mod tests;
