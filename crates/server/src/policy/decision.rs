//! Parts of a decision.

use super::ask::{Ask, SubscribeResult};
use super::caps::Allow;
use super::request::{Override, TokenClaims};
use super::rule::{Rule, Trail};
use crate::config::typed::{ChannelOptions, DeltaType, RecoveryMode, SubscriptionType};
use bytes::Bytes;
use spinward_wire::code::{DisconnectCode, ErrorCode};
use std::time::Duration;

/// A verdict and how it came about.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision<G> {
    /// The verdict.
    pub verdict: Verdict<G>,
    /// The rule that decided.
    pub rule: Rule,
    /// Every rule that was asked, in order.
    pub trail: Trail,
}

impl<G> Decision<G> {
    /// Returns the grant, if there is one.
    #[must_use]
    pub const fn grant(&self) -> Option<&G> {
        match &self.verdict {
            Verdict::Allow(grant) => Some(grant),
            Verdict::Ask(_) | Verdict::Error(_) | Verdict::Disconnect(_) => None,
        }
    }

    /// The code that the client gets if it is refused.
    #[must_use]
    pub const fn code(&self) -> Option<u32> {
        match &self.verdict {
            Verdict::Allow(_) | Verdict::Ask(_) => None,
            Verdict::Error(code) => Some(code.code),
            Verdict::Disconnect(code) => Some(code.code),
        }
    }

    /// Changes the grant, if there is one.
    pub fn map<H>(self, f: impl FnOnce(G) -> H) -> Decision<H> {
        Decision { verdict: self.verdict.map(f), rule: self.rule, trail: self.trail }
    }
}

/// Answer to a request. `G` is the grant of this kind of request.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict<G> {
    /// It is allowed, like so.
    Allow(G),
    /// A proxy of the application decides: ask it, and then [`decide_after`](super::decide_after).
    Ask(Ask),
    /// The command is answered with this error.
    Error(ErrorCode),
    /// The connection is closed with this code.
    Disconnect(DisconnectCode),
}

impl<G> Verdict<G> {
    fn map<H>(self, f: impl FnOnce(G) -> H) -> Verdict<H> {
        match self {
            Self::Allow(grant) => Verdict::Allow(f(grant)),
            Self::Ask(ask) => Verdict::Ask(ask),
            Self::Error(code) => Verdict::Error(code),
            Self::Disconnect(code) => Verdict::Disconnect(code),
        }
    }
}

/// Refusal of a request of the application itself, which needs no permission but can name a channel that will not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The rule that refuses it.
    pub rule: Rule,
    /// The error that the application gets.
    pub code: ErrorCode,
}

/// The grant of any [`Action`](super::Action).
#[derive(Clone, Debug, PartialEq)]
pub enum Grant<'a> {
    /// A subscription.
    Subscribe(SubscribeGrant<'a>),
    /// A subscription that goes on.
    SubRefresh(SubRefreshGrant<'a>),
    /// A publication.
    Publish(PublishGrant),
    /// A look at who is there.
    Presence,
    /// A look at history.
    History(HistoryGrant),
}

/// Amount of history that a channel keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistoryGrant {
    /// Most publications.
    pub size: u32,
    /// Time to keep them.
    pub ttl: Duration,
    /// Time to keep offset and epoch.
    pub meta_ttl: Duration,
}

impl HistoryGrant {
    pub(super) const fn of(options: &ChannelOptions) -> Self {
        Self {
            size: options.history_size,
            ttl: options.history_ttl.get(),
            meta_ttl: options.history_meta_ttl.get(),
        }
    }
}

/// Properties of a publication.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PublishGrant {
    /// Amount of history that the channel keeps.
    pub history: HistoryGrant,
    /// It may be sent as a delta.
    pub delta: bool,
}

impl PublishGrant {
    pub(super) const fn of(options: &ChannelOptions) -> Self {
        Self { history: HistoryGrant::of(options), delta: options.delta_publish }
    }

    pub(super) const fn without_history(mut self) -> Self {
        self.history.size = 0;
        self.history.ttl = Duration::ZERO;
        self
    }
}

/// Continuation of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubRefreshGrant<'a> {
    /// It goes on.
    Prolonged {
        /// End of the subscription, in Unix seconds; 0 never.
        expire_at: i64,
        /// Replaces what others see with it.
        info: Option<&'a Bytes>,
        /// Replaces what the subscription's token allows.
        allow: Allow,
    },
    /// The token is expired: the command is answered with an empty result, and the subscription's own
    /// expiry remains.
    TokenExpired,
}

/// Properties of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscribeGrant<'a> {
    /// Source of the grant.
    pub source: Source,
    /// Expiry unless it is refreshed, in Unix seconds; 0 never.
    pub expire_at: i64,
    /// Information that others see with it.
    pub info: Option<&'a Bytes>,
    /// Payload of the reply.
    pub data: Option<&'a Bytes>,
    /// Its kind.
    pub kind: SubscriptionType,
    /// The client is listed in the channel's presence.
    pub presence: bool,
    /// The channel is told that the client joins and leaves.
    pub join_leave: bool,
    /// The client is told that others join and leave.
    pub push_join_leave: bool,
    /// The client's position is watched.
    pub positioning: bool,
    /// The client may come back with a position and recover.
    pub recovery: bool,
    /// Recovery mode.
    pub recovery_mode: RecoveryMode,
    /// In cache mode, the latest publication comes unasked.
    pub auto_cache_recover: bool,
    /// Deltas may be agreed on.
    pub delta: bool,
    /// A tags filter may be agreed on.
    pub tags_filter: bool,
    /// Amount of history that the channel keeps.
    pub history: HistoryGrant,
    /// Further permissions of the token in the channel; for the requests to come.
    pub allow: Allow,
    /// The node itself asks for the prolongation, and the client does not learn of the expiry.
    pub server_side_refresh: bool,
}

impl<'a> SubscribeGrant<'a> {
    /// Returns the grant by the options of a namespace, before any wish.
    pub(super) fn of(options: &ChannelOptions, source: Source) -> Self {
        Self {
            source,
            expire_at: 0,
            info: None,
            data: None,
            kind: options.subscription_type,
            presence: options.presence,
            join_leave: options.join_leave,
            push_join_leave: options.force_push_join_leave,
            positioning: options.force_positioning,
            recovery: options.force_recovery,
            recovery_mode: options.force_recovery_mode,
            auto_cache_recover: false,
            delta: options.allowed_delta_types.contains(&DeltaType::Fossil),
            tags_filter: options.allow_tags_filter,
            history: HistoryGrant::of(options),
            allow: Allow::NONE,
            server_side_refresh: options.sub_refresh_proxy_enabled,
        }
    }

    pub(super) fn with_claims(mut self, claims: &TokenClaims<'a>) -> Self {
        self.expire_at = claims.expire_at;
        self.info = claims.info;
        self.data = claims.data;
        self.allow = claims.allow;
        self.with_override(&claims.overrides)
    }

    pub(super) fn with_result(mut self, result: &'a SubscribeResult) -> Self {
        self.expire_at = result.expire_at;
        self.info = result.info.as_ref();
        self.data = result.data.as_ref();
        let mut overrides = result.overrides;
        if self.source == Source::StreamProxy {
            // A stream is not recovered, whatever its proxy says: as in Centrifugo v6.9.
            overrides.force_recovery = None;
            overrides.force_positioning = None;
            self.recovery = false;
            self.positioning = false;
            self.delta = false;
            self.tags_filter = false;
        }
        self.with_override(&overrides)
    }

    pub(super) fn with_override(mut self, overrides: &Override) -> Self {
        for (field, value) in [
            (&mut self.presence, overrides.presence),
            (&mut self.join_leave, overrides.join_leave),
            (&mut self.push_join_leave, overrides.force_push_join_leave),
            (&mut self.positioning, overrides.force_positioning),
            (&mut self.recovery, overrides.force_recovery),
        ] {
            if let Some(value) = value {
                *field = value.value;
            }
        }
        self
    }

    /// Settles what depends on everything else.
    pub(super) fn settled(mut self, options: &ChannelOptions) -> Self {
        self.auto_cache_recover =
            options.auto_cache_recover && self.recovery && self.recovery_mode == RecoveryMode::Cache;
        self
    }
}

/// Source of a granted subscription. The numbers are those of Centrifugo's connections API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Source {
    /// A connection token names the channel.
    ConnectionToken = 1,
    /// The connect proxy named it.
    ConnectProxy = 2,
    /// A subscription token.
    SubscriptionToken = 3,
    /// The subscribe proxy.
    SubscribeProxy = 4,
    /// The user is in the name of the channel.
    UserLimited = 5,
    /// `allow_subscribe_for_client`.
    ClientAllowed = 6,
    /// `client.insecure`.
    ClientInsecure = 7,
    /// A unidirectional client asked for it as it connected.
    UniConnect = 8,
    /// The user's personal channel.
    UserPersonal = 9,
    /// The server API.
    ServerApi = 10,
    /// Capabilities of the connection token.
    ConnectionCapability = 11,
    /// An expression of the namespace.
    Expression = 12,
    /// The stream proxy.
    StreamProxy = 13,
}

impl Source {
    /// Its number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self as u32
    }
}
