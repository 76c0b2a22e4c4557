//! Contents of a verified token, and checks that it fits where it is used.

use super::reason::{Reason, Refusal};
use crate::policy::{Allow, Capabilities, Override, TokenClaims};
use bytes::Bytes;
use spinward::publication::Tags;
use std::collections::BTreeMap;
use std::fmt;

/// A verified connection token.
#[derive(Clone, Default)]
pub struct ConnectToken {
    /// The user; empty is anonymous.
    pub user: String,
    /// End of the connection, in Unix seconds, leeway included; `None` is never.
    pub expire_at: Option<i64>,
    /// The claim `exp`, in Unix seconds.
    pub exp: Option<i64>,
    /// The claim `iat`, in Unix seconds.
    pub iat: Option<i64>,
    /// The claim `jti`.
    pub jti: Option<String>,
    /// The claim `iss`.
    pub issuer: Option<String>,
    /// Information that others see with the connection: JSON, or any bytes if it came as `b64info`.
    pub info: Option<Bytes>,
    /// JSON that only the application sees.
    pub meta: Option<Bytes>,
    /// Labels of the connection, within their bounds.
    pub labels: Tags,
    /// Channels that the connection is subscribed to by the server.
    pub subs: BTreeMap<String, SubOptions>,
    /// Permissions of the connection beyond the options of the namespaces.
    pub caps: Option<Capabilities>,
    /// There is a claim `caps` in another form than Spinward's, which allows nothing.
    pub caps_ignored: bool,
}

/// One subscription made by a connection token.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SubOptions {
    /// Information that others see with the subscription.
    pub info: Option<Bytes>,
    /// Payload that the client gets with it.
    pub data: Option<Bytes>,
    /// Options that differ from the namespace's.
    pub overrides: Override,
}

/// A verified subscription token.
#[derive(Clone, Default)]
pub struct SubscribeToken {
    /// The user that it is for; empty is anonymous.
    pub user: String,
    /// The channel that it is for.
    pub channel: String,
    /// The connection that it is for; empty for any.
    pub client: String,
    /// The claim `eto`: of an old client, only the token expires and not the subscription.
    pub only_token_expires: bool,
    /// End of the subscription, in Unix seconds, leeway included; `None` is never.
    pub expire_at: Option<i64>,
    /// The claim `exp`, in Unix seconds.
    pub exp: Option<i64>,
    /// The claim `iat`, in Unix seconds.
    pub iat: Option<i64>,
    /// The claim `jti`.
    pub jti: Option<String>,
    /// The claim `iss`.
    pub issuer: Option<String>,
    /// Information that others see with the subscription.
    pub info: Option<Bytes>,
    /// Payload of the reply.
    pub data: Option<Bytes>,
    /// Options that differ from the namespace's.
    pub overrides: Override,
    /// Permissions in the channel beyond subscribing.
    pub allow: Allow,
}

impl ConnectToken {
    /// Checks what is left once the signature is good: whether there is a user where one is needed, and whether
    /// the connection has not ended already.
    ///
    /// # Errors
    /// Anonymous and not allowed to be, or `expire_at` is not ahead.
    pub fn usable(&self, anonymous_allowed: bool, now: i64) -> Result<(), Refusal> {
        if self.user.is_empty() && !anonymous_allowed {
            return Err(Refusal::new(
                Reason::AnonymousNotAllowed,
                "the token has no user",
                "set the claim sub, or client.disallow_anonymous_connection_tokens to false",
            ));
        }
        not_ended(self.expire_at, now)
    }

    /// Checks that a token may prolong a connection: it must not change its user.
    ///
    /// # Errors
    /// Another user.
    pub fn refreshes(&self, user: &str) -> Result<(), Refusal> {
        same_user(&self.user, user)
    }
}

impl SubscribeToken {
    /// Reads the token as one for a client that speaks version 1 of the protocol. Such tokens name the connection, and
    /// with it the user, whatever else they have.
    pub fn for_old_client(&mut self, user: &str, client: &str) {
        if !self.client.is_empty() && self.client == client {
            user.clone_into(&mut self.user);
        }
        if self.only_token_expires {
            self.expire_at = None;
        }
    }

    /// Checks that a token is for this connection and channel, and that the subscription has not ended already.
    /// `client` is `None` where the connection is not known, as on the command line.
    ///
    /// # Errors
    /// It is for another channel, user or connection, or `expire_at` is not ahead.
    pub fn usable(&self, user: &str, channel: &str, client: Option<&str>, now: i64) -> Result<(), Refusal> {
        if self.channel != channel {
            return Err(Refusal::new(
                Reason::ChannelMismatch,
                "the claim channel is not the channel of the subscription (a leading $ counts)",
                "make the token for exactly the channel that the client subscribes to",
            ));
        }
        same_user(&self.user, user)?;
        if client.is_some_and(|client| !self.client.is_empty() && self.client != client) {
            return Err(Refusal::new(
                Reason::ClientMismatch,
                "the claim client is the id of another connection",
                "leave the claim client out: sub and channel are enough",
            ));
        }
        not_ended(self.expire_at, now)
    }

    /// The claims, as a decision about permissions takes them.
    #[must_use]
    pub fn facts(&self) -> TokenClaims<'_> {
        TokenClaims {
            user: &self.user,
            channel: &self.channel,
            client: &self.client,
            expire_at: self.expire_at.unwrap_or(0),
            info: self.info.as_ref(),
            data: self.data.as_ref(),
            overrides: self.overrides,
            allow: self.allow,
        }
    }
}

fn same_user(of_token: &str, of_connection: &str) -> Result<(), Refusal> {
    if of_token == of_connection {
        return Ok(());
    }
    let detail = match (of_token.is_empty(), of_connection.is_empty()) {
        (true, _) => "the token has no user, and the connection has one",
        (_, true) => "the token has a user, and the connection is anonymous",
        _ => "the user of the token is not the user of the connection",
    };
    Err(Refusal::new(Reason::UserMismatch, detail, "set sub to the user id that the client connected with"))
}

fn not_ended(expire_at: Option<i64>, now: i64) -> Result<(), Refusal> {
    match expire_at {
        Some(end) if end <= now => Err(Refusal::new(
            Reason::CredentialsExpired,
            format!("expire_at passed {} s ago", now.saturating_sub(end)),
            "set expire_at to a time ahead, or leave it out: exp is then used",
        )),
        _ => Ok(()),
    }
}

/// Connection data is not shown, only whether it is there.
impl fmt::Debug for ConnectToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectToken")
            .field("user", &self.user)
            .field("expire_at", &self.expire_at)
            .field("info", &self.info.is_some())
            .field("meta", &self.meta.is_some())
            .field("subs", &self.subs.keys())
            .field("caps", &self.caps.is_some())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SubOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubOptions")
            .field("info", &self.info.is_some())
            .field("data", &self.data.is_some())
            .field("overrides", &self.overrides)
            .finish()
    }
}

impl fmt::Debug for SubscribeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubscribeToken")
            .field("user", &self.user)
            .field("channel", &self.channel)
            .field("expire_at", &self.expire_at)
            .field("info", &self.info.is_some())
            .field("data", &self.data.is_some())
            .field("allow", &self.allow)
            .finish_non_exhaustive()
    }
}
