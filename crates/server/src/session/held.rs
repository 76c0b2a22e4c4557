//! The tokens that subscriptions rest on: what they allow besides, and what they can be taken back by.
//!
//! An entry begins on the connection's own thread when it asks with a token, so none can begin after the
//! connection is gone; a verification that waits fills it later, or finds that it is no longer there.

use crate::auth::claims::SubscribeToken;
use crate::auth::revoke::Subject;
use crate::policy::Allow;
use parking_lot::RwLock;
use spinward::Client;
use spinward::id::ClientId;
use std::collections::HashMap;
use std::sync::Arc;

/// By connection. Subscriptions that no token made are not here, and cost nothing.
///
/// In parts, so that a walk through all of them holds up few subscribers at a time.
pub(super) struct Held([RwLock<Connections>; PARTS]);

const PARTS: usize = 64;

type Connections = HashMap<ClientId, Connection>;

struct Connection {
    user: Arc<str>,
    /// Sorted by channel: most have one or two, and some have thousands.
    channels: Vec<Entry>,
}

struct Entry {
    channel: Box<str>,
    /// `None` while it is being verified.
    token: Option<Token>,
}

/// What is kept of a token.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Token {
    jti: Option<Box<str>>,
    iat: Option<i64>,
    allow: Allow,
}

impl Connection {
    fn find(&self, channel: &str) -> Result<usize, usize> {
        self.channels.binary_search_by(|entry| (*entry.channel).cmp(channel))
    }

    fn token(&self, channel: &str) -> Option<&Token> {
        self.channels[self.find(channel).ok()?].token.as_ref()
    }
}

impl Token {
    fn subject<'a>(&'a self, user: &'a str, channel: &'a str) -> Subject<'a> {
        Subject { user, jti: self.jti.as_deref(), iat: self.iat, channel: Some(channel) }
    }
}

impl From<&SubscribeToken> for Token {
    fn from(token: &SubscribeToken) -> Self {
        Self { jti: token.jti.as_deref().map(Box::from), iat: token.iat, allow: token.allow }
    }
}

impl Default for Held {
    fn default() -> Self {
        Self(std::array::from_fn(|_| RwLock::default()))
    }
}

impl Held {
    fn part(&self, client: ClientId) -> &RwLock<Connections> {
        &self.0[client.spread() as usize % PARTS]
    }

    /// A connection asks for a channel, or to stay in one, with a token.
    pub(super) fn begin(&self, client: &Client, channel: &str) {
        self.begin_for(client.id(), &client.identity().user, channel);
    }

    fn begin_for(&self, client: ClientId, user: &Arc<str>, channel: &str) {
        let mut all = self.part(client).write();
        let connection =
            all.entry(client).or_insert_with(|| Connection { user: Arc::clone(user), channels: Vec::new() });
        if let Err(at) = connection.find(channel) {
            // By less than doubling: there may be one of these for every connection.
            let count = connection.channels.len();
            if count == connection.channels.capacity() {
                connection.channels.reserve_exact(1 + count / 4);
            }
            connection.channels.insert(at, Entry { channel: channel.into(), token: None });
        }
    }

    /// The token is good so far. Gives what was held before, for [`give_back`](Self::give_back).
    pub(super) fn fill(&self, client: ClientId, token: &SubscribeToken) -> Option<Token> {
        self.exchange(client, &token.channel, Some(token.into()))
    }

    /// The token is not good after all: the subscription, if it was there, rests on the former one.
    pub(super) fn give_back(&self, client: ClientId, channel: &str, former: Option<Token>) {
        if former.is_some() {
            self.exchange(client, channel, former);
        } else {
            self.end(client, channel);
        }
    }

    fn exchange(&self, client: ClientId, channel: &str, token: Option<Token>) -> Option<Token> {
        let mut all = self.part(client).write();
        let connection = all.get_mut(&client)?;
        let at = connection.find(channel).ok()?;
        std::mem::replace(&mut connection.channels[at].token, token)
    }

    /// No token is verified for the channel, or none that was: what is held of an earlier one stays.
    pub(super) fn abandon(&self, client: ClientId, channel: &str) {
        self.remove_if(client, channel, |entry| entry.token.is_none());
    }

    /// The subscription is not there, or no longer.
    pub(super) fn end(&self, client: ClientId, channel: &str) {
        self.remove_if(client, channel, |_| true);
    }

    fn remove_if(&self, client: ClientId, channel: &str, condition: impl FnOnce(&Entry) -> bool) {
        // Most connections have nothing here, and then nothing is written.
        if !self.part(client).read().contains_key(&client) {
            return;
        }
        let mut all = self.part(client).write();
        let Some(connection) = all.get_mut(&client) else { return };
        if let Ok(at) = connection.find(channel)
            && condition(&connection.channels[at])
        {
            connection.channels.remove(at);
            if connection.channels.is_empty() {
                all.remove(&client);
            }
        }
    }

    /// The connection is gone.
    pub(super) fn forget(&self, client: ClientId) {
        if self.part(client).read().contains_key(&client) {
            self.part(client).write().remove(&client);
        }
    }

    /// What the token of a subscription allows besides.
    pub(super) fn allow(&self, client: ClientId, channel: &str) -> Allow {
        let all = self.part(client).read();
        all.get(&client).and_then(|held| held.token(channel)).map_or(Allow::NONE, |token| token.allow)
    }

    /// Asks about the token of a subscription, if one is held.
    pub(super) fn ask<T>(
        &self,
        client: ClientId,
        channel: &str,
        judge: impl FnOnce(&Subject<'_>) -> T,
    ) -> Option<T> {
        let all = self.part(client).read();
        let connection = all.get(&client)?;
        Some(judge(&connection.token(channel)?.subject(&connection.user, channel)))
    }

    /// The channels of a connection whose tokens are refused.
    pub(super) fn refused(
        &self,
        client: ClientId,
        is_refused: impl Fn(&Subject<'_>) -> bool,
    ) -> Vec<Box<str>> {
        let all = self.part(client).read();
        let Some(Connection { user, channels }) = all.get(&client) else { return Vec::new() };
        let is_refused = |channel: &str, token: &Token| is_refused(&token.subject(user, channel));
        channels
            .iter()
            .filter(|entry| entry.token.as_ref().is_some_and(|token| is_refused(&entry.channel, token)))
            .map(|entry| entry.channel.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spinward::id::Entropy;

    fn token(channel: &str, jti: &str) -> SubscribeToken {
        SubscribeToken { channel: channel.into(), jti: Some(jti.into()), ..SubscribeToken::default() }
    }

    fn rig() -> (Held, ClientId, Arc<str>) {
        (Held::default(), Entropy::seeded(1).client_id(), "u".into())
    }

    fn is_empty(held: &Held) -> bool {
        held.0.iter().all(|part| part.read().is_empty())
    }

    fn jti_of(held: &Held, client: ClientId, channel: &str) -> Option<String> {
        held.ask(client, channel, |subject| subject.jti.unwrap_or_default().to_owned())
    }

    #[test]
    fn what_waits_is_judged_by_nobody_and_fills_its_own_channel() {
        let (held, client, user) = rig();
        held.begin_for(client, &user, "news");
        assert!(held.refused(client, |_| true).is_empty());
        assert_eq!(jti_of(&held, client, "news"), None);
        assert_eq!(held.fill(client, &token("personal", "other")), None);
        assert_eq!(jti_of(&held, client, "personal"), None, "nobody asked for it with a token");
        assert_eq!(held.fill(client, &token("news", "j")), None);
        assert_eq!(jti_of(&held, client, "news"), Some("j".into()));
        assert_eq!(held.refused(client, |_| true), [Box::from("news")]);
        assert!(held.refused(client, |subject| subject.user != "u").is_empty());
        assert!(held.refused(Entropy::seeded(2).client_id(), |_| true).is_empty(), "of another connection");
    }

    #[test]
    fn a_connection_that_is_gone_gets_nothing() {
        let (held, client, user) = rig();
        held.begin_for(client, &user, "news");
        held.forget(client);
        assert_eq!(held.fill(client, &token("news", "j")), None);
        assert!(is_empty(&held));
    }

    #[test]
    fn a_refused_token_leaves_what_the_subscription_rests_on() {
        let (held, client, user) = rig();
        held.begin_for(client, &user, "news");
        held.fill(client, &token("news", "first"));
        held.begin_for(client, &user, "news");
        held.abandon(client, "news");
        assert_eq!(jti_of(&held, client, "news"), Some("first".into()));
        let former = held.fill(client, &token("news", "second"));
        held.give_back(client, "news", former);
        assert_eq!(jti_of(&held, client, "news"), Some("first".into()));
        held.end(client, "news");
        assert!(is_empty(&held));
        held.begin_for(client, &user, "news");
        held.give_back(client, "news", None);
        assert!(is_empty(&held));
    }

    #[test]
    fn many_channels_are_found_and_ended_in_any_order() {
        let (held, client, user) = rig();
        let name = |n: u32| format!("c{}", n * 7919 % 1000);
        for n in 0..1000 {
            held.begin_for(client, &user, &name(n));
            held.fill(client, &token(&name(n), &n.to_string()));
        }
        for n in (0..1000).rev() {
            assert_eq!(jti_of(&held, client, &name(n)), Some(n.to_string()));
            held.end(client, &name(n));
            assert_eq!(jti_of(&held, client, &name(n)), None);
        }
        assert!(is_empty(&held));
    }
}
