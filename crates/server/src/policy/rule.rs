//! The rules that decide, and the trail of those that a request passed.

use std::fmt;

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident = $id:literal;)*) => {
        /// A rule that takes part in decisions. Its id is stable: logs, metrics and explanations show it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Rule { $($(#[$doc])* $name,)* }

        impl Rule {
            /// Every rule.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The stable id.
            #[must_use]
            pub const fn id(self) -> &'static str {
                match self { $(Self::$name => $id,)* }
            }
        }
    };
}

rules! {
    // What any request must be.
    /// The channel has a name.
    ChannelRequired = "channel_required";
    /// The name is not longer than `channel.max_length`.
    ChannelLength = "channel_length";
    /// The namespace exists.
    Namespace = "namespace";
    /// The name is ASCII, or what `channel_regex` says.
    ChannelName = "channel_name";
    /// The subscription type exists.
    KnownSubscriptionType = "known_subscription_type";
    /// The subscription type is the namespace's `subscription_type`.
    SubscriptionType = "subscription_type";
    /// The delta encoding exists.
    DeltaType = "delta_type";
    /// The connection is not subscribed yet.
    AlreadySubscribed = "already_subscribed";
    /// The connection has fewer channels than `client.channel_limit`.
    ChannelLimit = "channel_limit";
    /// The payload is what `publication_data_format` says.
    DataFormat = "publication_data_format";
    /// The namespace keeps presence.
    PresenceOn = "presence";
    /// The namespace keeps history.
    HistoryOn = "history";

    // Tokens and lists.
    /// A channel with the private prefix takes a subscription token.
    PrivateChannel = "private_channel";
    /// The subscription token is good.
    SubscriptionToken = "subscription_token";
    /// The subscription token is for this channel.
    TokenChannel = "subscription_token_channel";
    /// The subscription token is for this user.
    TokenUser = "subscription_token_user";
    /// The subscription token is for this connection.
    TokenClient = "subscription_token_client";
    /// The subscription token's `expire_at` is ahead.
    TokenExpireAt = "subscription_token_expire_at";
    /// A prolongation brings a token.
    RefreshToken = "refresh_token_required";
    /// A prolongation is of a subscription that there is.
    Subscribed = "subscribed";
    /// The user is listed in the name of a user-limited channel.
    UserLimited = "user_limited_channel";
    /// The subscription's token allows it.
    TokenAllow = "subscription_token_allow";
    /// The connection token's `caps` allow it.
    Capability = "connection_capability";

    // The application is asked.
    /// `subscribe_proxy_enabled`.
    SubscribeProxy = "subscribe_proxy";
    /// `subscribe_stream_proxy_enabled`.
    SubscribeStreamProxy = "subscribe_stream_proxy";
    /// `publish_proxy_enabled`.
    PublishProxy = "publish_proxy";
    /// An expression of the namespace.
    Expression = "expression";

    // What the options of the namespace allow.
    /// `allow_subscribe_for_client`.
    AllowSubscribe = "allow_subscribe_for_client";
    /// `allow_publish_for_client`.
    AllowPublish = "allow_publish_for_client";
    /// `allow_publish_for_subscriber`.
    AllowPublishSubscriber = "allow_publish_for_subscriber";
    /// `allow_presence_for_client`.
    AllowPresence = "allow_presence_for_client";
    /// `allow_presence_for_subscriber`.
    AllowPresenceSubscriber = "allow_presence_for_subscriber";
    /// `allow_history_for_client`.
    AllowHistory = "allow_history_for_client";
    /// `allow_history_for_subscriber`.
    AllowHistorySubscriber = "allow_history_for_subscriber";
    /// `client.insecure`.
    Insecure = "client_insecure";
    /// Nothing allowed it.
    NothingAllows = "nothing_allows";

    // What a subscription may ask for besides.
    /// It asks that its position be watched.
    WishPositioned = "wish_positioned";
    /// It asks that it may recover.
    WishRecoverable = "wish_recoverable";
    /// It asks for joins and leaves.
    WishJoinLeave = "wish_join_leave";
    /// It asks for deltas.
    WishDelta = "wish_delta";
    /// It asks for a tags filter.
    TagsFilter = "allow_tags_filter";
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

macro_rules! outcomes {
    ($($(#[$doc:meta])* $name:ident = $id:literal;)*) => {
        /// Outcome of a rule.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Outcome { $($(#[$doc])* $name,)* }

        impl Outcome {
            /// The stable id.
            #[must_use]
            pub const fn id(self) -> &'static str {
                match self { $(Self::$name => $id,)* }
            }
        }
    };
}

outcomes! {
    /// The request is as it must be; the next rule is asked.
    Pass = "pass";
    /// The rule allows it: decided.
    Allow = "allow";
    /// The rule refuses it: decided.
    Refuse = "refuse";
    /// A proxy of the application decides.
    Ask = "ask";
    /// The rule does not concern this request: its option is off, or what it looks at is not there.
    Off = "off";
    /// The option is on, but the user is anonymous and the option for anonymous users off.
    Anonymous = "anonymous";
    /// The option is on, but the connection is not subscribed.
    NotSubscribed = "not_subscribed";
    /// The rule has a list, and this is not on it.
    NotListed = "not_listed";
    /// The rule has no bearing on a user-limited channel.
    UserLimited = "user_limited";
}

/// One rule and what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The rule.
    pub rule: Rule,
    /// Its outcome.
    pub outcome: Outcome,
}

/// The rules that a request passed, in order. Kept in place: a decision allocates nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Trail {
    steps: [Step; Self::CAPACITY],
    len: u8,
}

impl Trail {
    /// More than any request passes; the tests see to it.
    pub const CAPACITY: usize = 40;

    pub(super) const fn new() -> Self {
        Self { steps: [Step { rule: Rule::ChannelRequired, outcome: Outcome::Off }; Self::CAPACITY], len: 0 }
    }

    pub(super) fn push(&mut self, rule: Rule, outcome: Outcome) {
        debug_assert!(self.steps().len() < Self::CAPACITY, "the trail is too short");
        if let Some(step) = self.steps.get_mut(usize::from(self.len)) {
            *step = Step { rule, outcome };
            self.len += 1;
        }
    }

    /// The steps, first to last.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps[..usize::from(self.len)]
    }

    /// Returns the outcome of a rule, if it was asked.
    #[must_use]
    pub fn outcome(&self, rule: Rule) -> Option<Outcome> {
        self.steps().iter().find(|step| step.rule == rule).map(|step| step.outcome)
    }
}

impl fmt::Debug for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.steps().iter().map(|step| (step.rule.id(), step.outcome.id()))).finish()
    }
}
