//! The tokens that subscriptions rest on: their further permissions, and the facts that they can be revoked by.
//!
//! A token is first offered, and counts for nothing. It becomes active when the library reports that the
//! subscription, or its refresh, has come about; a grant that the library refuses leaves the active one unchanged.
//!
//! An offer begins on the connection's own thread when it asks with a token, so none can begin after the connection
//! is gone; a verification that waits finds its offer, or finds that it is no longer there. A connection has an offer for
//! each command under way.

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
pub(super) struct SubscriptionTokens([RwLock<Connections>; PARTS]);

const PARTS: usize = 64;

type Connections = HashMap<ClientId, Connection>;

struct Connection {
    user: Arc<str>,
    /// Sorted by channel: most have one or two, and some have thousands.
    channels: Vec<Entry>,
    /// One for a channel. Most have one at most, while a command is under way.
    offers: Vec<Offer>,
}

struct Entry {
    channel: Box<str>,
    token: Token,
}

/// Offers of a connection, at most: more than it can have commands under way. What is beyond them was left by
/// verifications that never ended.
const OFFERS: usize = 1024;

/// The token of a command under way.
struct Offer {
    channel: Box<str>,
    /// `None` while it is being verified.
    token: Option<Token>,
}

/// Stored facts about a token.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Token {
    jti: Option<Box<str>>,
    iat: Option<i64>,
    allow: Allow,
}

impl Connection {
    fn new(user: &Arc<str>) -> Self {
        Self { user: Arc::clone(user), channels: Vec::new(), offers: Vec::new() }
    }

    fn take_offer(&mut self, channel: &str) -> Option<Offer> {
        let at = self.offers.iter().position(|offer| *offer.channel == *channel)?;
        let offer = self.offers.remove(at);
        if self.offers.is_empty() {
            self.offers = Vec::new();
        }
        Some(offer)
    }

    fn find(&self, channel: &str) -> Result<usize, usize> {
        self.channels.binary_search_by(|entry| (*entry.channel).cmp(channel))
    }

    fn token(&self, channel: &str) -> Option<&Token> {
        Some(&self.channels[self.find(channel).ok()?].token)
    }

    fn rest(&mut self, channel: Box<str>, token: Token) {
        match self.find(&channel) {
            Ok(at) => self.channels[at].token = token,
            Err(at) => {
                // By less than doubling: there may be one of these for every connection.
                let count = self.channels.len();
                if count == self.channels.capacity() {
                    self.channels.reserve_exact(1 + count / 4);
                }
                self.channels.insert(at, Entry { channel, token });
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.channels.is_empty() && self.offers.is_empty()
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

impl Default for SubscriptionTokens {
    fn default() -> Self {
        Self(std::array::from_fn(|_| RwLock::default()))
    }
}

impl SubscriptionTokens {
    fn part(&self, client: ClientId) -> &RwLock<Connections> {
        &self.0[client.spread() as usize % PARTS]
    }

    /// A connection asks for a channel, or to stay in one, with a token.
    pub(super) fn begin(&self, client: &Client, channel: &str) {
        self.begin_for(client.id(), &client.identity().user, channel);
    }

    fn begin_for(&self, client: ClientId, user: &Arc<str>, channel: &str) {
        let mut all = self.part(client).write();
        let connection = all.entry(client).or_insert_with(|| Connection::new(user));
        connection.take_offer(channel);
        if connection.offers.len() >= OFFERS {
            connection.offers.remove(0);
        }
        connection.offers.reserve_exact(1);
        connection.offers.push(Offer { channel: channel.into(), token: None });
    }

    /// The token is good so far.
    pub(super) fn offer(&self, client: ClientId, token: &SubscribeToken) {
        let mut all = self.part(client).write();
        let Some(connection) = all.get_mut(&client) else { return };
        if let Some(offer) = connection.offers.iter_mut().find(|offer| *offer.channel == token.channel) {
            offer.token = Some(token.into());
        }
    }

    /// The token is not good, the library has refused what was granted by it, or no token is asked with: the subscription, if it is there,
    /// rests on what it rested on before.
    pub(super) fn withdraw(&self, client: ClientId, channel: &str) {
        self.change(client, |connection| {
            connection.take_offer(channel);
        });
    }

    /// Confirms a grant: it is active, and rests on the token that was offered for it, if one was.
    pub(super) fn confirm(&self, client: ClientId, channel: &str) {
        self.change(client, |connection| {
            if let Some(Offer { channel, token: Some(token) }) = connection.take_offer(channel) {
                connection.rest(channel, token);
            }
        });
    }

    /// The subscription is not there any longer, or rests on something else.
    pub(super) fn end(&self, client: ClientId, channel: &str) {
        self.change(client, |connection| {
            if let Ok(at) = connection.find(channel) {
                connection.channels.remove(at);
            }
        });
    }

    fn change(&self, client: ClientId, change: impl FnOnce(&mut Connection)) {
        // Most connections have nothing here, and then nothing is written.
        if !self.part(client).read().contains_key(&client) {
            return;
        }
        let mut all = self.part(client).write();
        let Some(connection) = all.get_mut(&client) else { return };
        change(connection);
        if connection.is_empty() {
            all.remove(&client);
        }
    }

    /// The connection is gone.
    pub(super) fn forget(&self, client: ClientId) {
        if self.part(client).read().contains_key(&client) {
            self.part(client).write().remove(&client);
        }
    }

    /// Returns the further permissions of a subscription's token.
    pub(super) fn allow(&self, client: ClientId, channel: &str) -> Allow {
        let all = self.part(client).read();
        all.get(&client)
            .and_then(|connection| connection.token(channel))
            .map_or(Allow::NONE, |token| token.allow)
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
        let Some(Connection { user, channels, .. }) = all.get(&client) else { return Vec::new() };
        let is_refused = |channel: &str, token: &Token| is_refused(&token.subject(user, channel));
        channels
            .iter()
            .filter(|entry| is_refused(&entry.channel, &entry.token))
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

    fn rig() -> (SubscriptionTokens, ClientId, Arc<str>) {
        (SubscriptionTokens::default(), Entropy::seeded(1).client_id(), "u".into())
    }

    impl SubscriptionTokens {
        pub(crate) fn is_empty(&self) -> bool {
            self.0.iter().all(|part| part.read().is_empty())
        }
    }

    fn is_empty(tokens: &SubscriptionTokens) -> bool {
        tokens.is_empty()
    }

    fn jti_of(tokens: &SubscriptionTokens, client: ClientId, channel: &str) -> Option<String> {
        tokens.ask(client, channel, |subject| subject.jti.unwrap_or_default().to_owned())
    }

    #[test]
    fn an_offer_counts_for_nothing_until_it_is_confirmed() {
        let (tokens, client, user) = rig();
        let allowing = SubscribeToken { allow: Allow::PUBLISH, ..token("news", "j") };
        tokens.begin_for(client, &user, "news");
        tokens.offer(client, &token("personal", "other"));
        tokens.offer(client, &allowing);
        assert!(tokens.refused(client, |_| true).is_empty());
        assert_eq!(jti_of(&tokens, client, "news"), None);
        assert_eq!(tokens.allow(client, "news"), Allow::NONE);
        tokens.confirm(client, "personal");
        assert_eq!(jti_of(&tokens, client, "personal"), None, "nobody asked for it with a token");
        tokens.confirm(client, "news");
        assert_eq!(jti_of(&tokens, client, "news"), Some("j".into()));
        assert_eq!(tokens.allow(client, "news"), Allow::PUBLISH);
        assert_eq!(tokens.refused(client, |_| true), [Box::from("news")]);
        assert!(tokens.refused(client, |subject| subject.user != "u").is_empty());
        assert!(tokens.refused(Entropy::seeded(2).client_id(), |_| true).is_empty(), "of another connection");
    }

    #[test]
    fn a_connection_that_is_gone_gets_nothing() {
        let (tokens, client, user) = rig();
        tokens.begin_for(client, &user, "news");
        tokens.forget(client);
        tokens.offer(client, &token("news", "j"));
        tokens.confirm(client, "news");
        assert!(is_empty(&tokens));
    }

    #[test]
    fn a_refused_token_leaves_what_the_subscription_rests_on() {
        let (tokens, client, user) = rig();
        tokens.begin_for(client, &user, "news");
        tokens.offer(client, &token("news", "first"));
        tokens.confirm(client, "news");
        tokens.begin_for(client, &user, "news");
        tokens.withdraw(client, "news");
        assert_eq!(jti_of(&tokens, client, "news"), Some("first".into()));
        tokens.begin_for(client, &user, "news");
        tokens.offer(client, &token("news", "second"));
        tokens.withdraw(client, "other");
        tokens.withdraw(client, "news");
        tokens.confirm(client, "news");
        assert_eq!(jti_of(&tokens, client, "news"), Some("first".into()));
        tokens.end(client, "news");
        assert!(is_empty(&tokens));
    }

    #[test]
    fn an_offer_that_nothing_came_of_is_not_confirmed_by_what_follows() {
        let (tokens, client, user) = rig();
        tokens.begin_for(client, &user, "news");
        tokens.offer(client, &token("news", "first"));
        tokens.withdraw(client, "news");
        tokens.confirm(client, "news");
        assert!(is_empty(&tokens));
        tokens.begin_for(client, &user, "news");
        tokens.offer(client, &token("news", "first"));
        tokens.begin_for(client, &user, "news");
        tokens.confirm(client, "news");
        assert!(is_empty(&tokens), "the second was not verified");
    }

    #[test]
    fn commands_that_are_under_way_together_have_an_offer_each() {
        let (tokens, client, user) = rig();
        for channel in ["news", "chat"] {
            tokens.begin_for(client, &user, channel);
        }
        tokens.offer(client, &token("chat", "c"));
        tokens.offer(client, &token("news", "n"));
        tokens.withdraw(client, "other");
        tokens.confirm(client, "news");
        tokens.confirm(client, "chat");
        assert_eq!(jti_of(&tokens, client, "news"), Some("n".into()));
        assert_eq!(jti_of(&tokens, client, "chat"), Some("c".into()));
        for n in 0..2 * OFFERS {
            tokens.begin_for(client, &user, &n.to_string());
        }
        assert_eq!(
            tokens.part(client).read()[&client].offers.len(),
            OFFERS,
            "left by verifications without end"
        );
    }

    #[test]
    fn many_channels_are_found_and_ended_in_any_order() {
        let (tokens, client, user) = rig();
        let name = |n: u32| format!("c{}", n * 7919 % 1000);
        for n in 0..1000 {
            tokens.begin_for(client, &user, &name(n));
            tokens.offer(client, &token(&name(n), &n.to_string()));
            tokens.confirm(client, &name(n));
        }
        for n in (0..1000).rev() {
            assert_eq!(jti_of(&tokens, client, &name(n)), Some(n.to_string()));
            tokens.end(client, &name(n));
            assert_eq!(jti_of(&tokens, client, &name(n)), None);
        }
        assert!(is_empty(&tokens));
    }
}
