//! Sentences of an explanation: the reason of a decision, and the changes that would allow the request.

use super::ask::Ask;
use super::decide::Rules;
use super::request::{Action, Request, SubscriptionToken};
use super::rule::{Outcome, Rule, Step, Trail};
use crate::channel::NameFault;

/// A decision that is put into words.
pub(super) struct Words<'a> {
    pub(super) rules: &'a Rules,
    pub(super) request: &'a Request<'a>,
    /// The place of the channel's options.
    pub(super) path: String,
    pub(super) rule: Rule,
    pub(super) trail: &'a Trail,
}

impl Words<'_> {
    pub(super) fn question(&self, ask: &Ask) -> String {
        let option = option_of(self.rule).unwrap_or_default();
        format!("{}.{option} is on: the server asks the proxy {:?}", self.path, ask.name())
    }

    pub(super) fn reason(&self, refused: bool) -> String {
        let Self { rules, request, path, .. } = self;
        match (self.rule, refused) {
            (Rule::ChannelRequired, _) => "the channel name is empty".to_owned(),
            (Rule::ChannelLength, _) => {
                let (length, registry) = (request.channel.len(), &rules.registry);
                match request.action {
                    Action::Subscribe(_) => {
                        format!(
                            "the name has {length} bytes, channel.max_length is {}",
                            registry.syntax().max_length
                        )
                    }
                    _ => {
                        format!("the name has {length} bytes, at most {} are taken", registry.longest_name())
                    }
                }
            }
            (Rule::Namespace, _) => self.no_namespace(),
            (Rule::ChannelName, _) => self.name_fault(),
            (Rule::KnownSubscriptionType | Rule::SubscriptionType, _) => {
                format!("the client asks for another subscription type than {path}.subscription_type")
            }
            (Rule::DeltaType, _) => "the client asks for a delta encoding that does not exist".to_owned(),
            (Rule::AlreadySubscribed, _) => "the connection is subscribed to the channel already".to_owned(),
            (Rule::ChannelLimit, _) => {
                format!(
                    "the connection has {} channels, client.channel_limit is {}",
                    request.subscriptions, rules.channel_limit
                )
            }
            (Rule::DataFormat, _) => {
                format!("the payload is not what {path}.publication_data_format asks for")
            }
            (Rule::PresenceOn, _) => format!("{path}.presence is off"),
            (Rule::HistoryOn, _) => format!("{path} keeps no history"),
            (Rule::PrivateChannel, _) => format!(
                "the name begins with channel.private_prefix {:?}, and no subscription token came with it",
                rules.registry.syntax().private_prefix
            ),
            (Rule::SubscriptionToken, false) => {
                "the subscription token is good and for this channel and user".to_owned()
            }
            (Rule::SubscriptionToken, true) => self.bad_token(),
            (Rule::TokenChannel, _) => {
                format!("the subscription token is for channel {:?}", self.claim(|c| c.channel))
            }
            (Rule::TokenUser, _) => {
                format!("the subscription token is for user {:?}", self.claim(|c| c.user))
            }
            (Rule::TokenClient, _) => {
                format!("the subscription token is for connection {:?}", self.claim(|c| c.client))
            }
            (Rule::TokenExpireAt, _) => {
                "the claim expire_at of the subscription token is in the past".to_owned()
            }
            (Rule::RefreshToken, _) => "a prolongation needs a new token".to_owned(),
            (Rule::Subscribed, _) => "the connection is not subscribed to the channel".to_owned(),
            (Rule::UserLimited, _) => {
                format!(
                    "the user is listed in the channel name, and {path}.allow_user_limited_channels is on"
                )
            }
            (Rule::TokenAllow, _) => "the claim allow of the subscription's token says so".to_owned(),
            (Rule::Capability, _) => "the claim caps of the connection token says so".to_owned(),
            (Rule::SubscribeProxy | Rule::SubscribeStreamProxy | Rule::PublishProxy, _) => {
                format!(
                    "{path}.{} is on, and this server has no proxy to ask",
                    option_of(self.rule).unwrap_or_default()
                )
            }
            (Rule::Insecure, _) => "client.insecure is on".to_owned(),
            (Rule::NothingAllows, _) => self.nothing(),
            (Rule::TagsFilter, _) => {
                format!("the client asks for a tags filter, and {path}.allow_tags_filter is off")
            }
            (rule, _) => match option_of(rule) {
                Some(option) => format!("{path}.{option} is on"),
                None => rule.id().replace('_', " "),
            },
        }
    }

    pub(super) fn changes(&self) -> Vec<String> {
        let Self { request, path, .. } = self;
        let token = |say: &str| vec![format!("make a subscription token {say}")];
        match self.rule {
            Rule::ChannelLength => vec!["raise channel.max_length".to_owned()],
            Rule::Namespace => match self.rules.registry.syntax().parse(request.channel) {
                name if name.pattern => {
                    vec!["give a namespace of channel.namespaces a matching pattern".to_owned()]
                }
                name => vec![format!(
                    "add a namespace {:?} to channel.namespaces",
                    name.namespace.unwrap_or_default()
                )],
            },
            Rule::ChannelName => vec![format!("change {path}.channel_regex")],
            Rule::KnownSubscriptionType | Rule::SubscriptionType => {
                vec![format!("change {path}.subscription_type")]
            }
            Rule::ChannelLimit => vec!["raise client.channel_limit".to_owned()],
            Rule::DataFormat => vec![format!("change {path}.publication_data_format")],
            Rule::PresenceOn => vec![format!("set {path}.presence to true")],
            Rule::HistoryOn => vec![format!("set {path}.history_size and {path}.history_ttl")],
            Rule::PrivateChannel => token("for this channel and user"),
            Rule::TokenChannel => token(&format!("with channel {:?}", request.channel)),
            Rule::TokenUser if request.user.is_empty() => token("without sub"),
            Rule::TokenUser => token(&format!("with sub {:?}", request.user)),
            Rule::TokenClient => token("without client"),
            Rule::TokenExpireAt => token("with expire_at ahead, or without it"),
            Rule::SubscriptionToken => token("that is good now"),
            Rule::TagsFilter => vec![format!("set {path}.allow_tags_filter to true")],
            Rule::SubscribeProxy | Rule::SubscribeStreamProxy | Rule::PublishProxy => {
                vec![format!("set {path}.{} to false", option_of(self.rule).unwrap_or_default())]
            }
            Rule::NothingAllows => {
                self.trail.steps().iter().filter_map(|step| self.would_allow(*step)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Returns the change to a rule that could have allowed it and did not.
    fn would_allow(&self, step: Step) -> Option<String> {
        let Self { request, path, .. } = self;
        let what = match &request.action {
            Action::Subscribe(_) => ("subscribe", "sub"),
            Action::Publish(_) => ("publish", "pub"),
            Action::Presence | Action::PresenceStats => ("presence", "prs"),
            Action::History => ("history", "hst"),
            Action::SubRefresh(_) => return None,
        };
        Some(match (step.rule, step.outcome) {
            (Rule::UserLimited, Outcome::NotListed) if request.user.is_empty() => {
                "log in: the anonymous user is in no user-limited channel".to_owned()
            }
            (Rule::UserLimited, Outcome::NotListed) => "use a channel whose name lists the user".to_owned(),
            (Rule::UserLimited, Outcome::Off)
                if self
                    .rules
                    .registry
                    .syntax()
                    .parse(request.channel)
                    .users
                    .is_some_and(|u| u.contains(request.user)) =>
            {
                format!("set {path}.allow_user_limited_channels to true")
            }
            (Rule::SubscriptionToken, Outcome::Off) => {
                "send a subscription token for this channel and user".to_owned()
            }
            (Rule::Capability, Outcome::Off | Outcome::NotListed) => {
                format!("add {:?} for this channel to the claim caps of the connection token", what.1)
            }
            (Rule::TokenAllow, Outcome::Off) if request.subscribed => {
                format!("add {:?} to the claim allow of the subscription token", what.1)
            }
            (rule, Outcome::Anonymous) => {
                format!("log in, or set {path}.allow_{}_for_anonymous to true ({rule} is on)", what.0)
            }
            (_, Outcome::NotSubscribed) => "subscribe to the channel first".to_owned(),
            (rule, Outcome::Off) if rule == Rule::Insecure || rule == Rule::Expression => return None,
            (rule, Outcome::Off) => match option_of(rule) {
                Some(option) if option.starts_with("allow_") => self.switch_on(option, what.0),
                _ => return None,
            },
            _ => return None,
        })
    }

    fn switch_on(&self, option: &str, action: &str) -> String {
        let path = &self.path;
        if self.request.user.is_empty() {
            format!("set {path}.{option} and {path}.allow_{action}_for_anonymous to true")
        } else {
            format!("set {path}.{option} to true")
        }
    }

    fn no_namespace(&self) -> String {
        match self.rules.registry.syntax().parse(self.request.channel) {
            name if name.pattern => "no pattern of channel.namespaces matches the name".to_owned(),
            name => format!("channel.namespaces has no namespace {:?}", name.namespace.unwrap_or_default()),
        }
    }

    fn name_fault(&self) -> String {
        let resolved = self.rules.registry.resolve(self.request.channel);
        match resolved.namespace.map(|namespace| (namespace, namespace.check_form(&resolved.name))) {
            Some((namespace, Err(NameFault::Regex))) => format!(
                "{:?} does not match {}.channel_regex {:?}",
                resolved.name.rest,
                self.path,
                namespace.options().channel_regex
            ),
            Some((_, Err(fault))) => fault.to_string(),
            _ => "the channel name is not acceptable".to_owned(),
        }
    }

    fn bad_token(&self) -> String {
        let (Action::Subscribe(super::SubscribeFacts { token, .. }) | Action::SubRefresh(token)) =
            &self.request.action
        else {
            return "the subscription token is not good".to_owned();
        };
        match token {
            SubscriptionToken::Expired => "the subscription token is expired, or not valid yet",
            SubscriptionToken::Unavailable => "the subscription token could not be checked now",
            _ => "the subscription token is not good; a token that was sent decides alone",
        }
        .to_owned()
    }

    fn claim<'c>(&'c self, which: impl Fn(&'c super::TokenClaims<'c>) -> &'c str) -> &'c str {
        match &self.request.action {
            Action::Subscribe(super::SubscribeFacts {
                token: SubscriptionToken::Verified(claims), ..
            })
            | Action::SubRefresh(SubscriptionToken::Verified(claims)) => which(claims),
            _ => "",
        }
    }

    fn nothing(&self) -> String {
        match self.trail.outcome(Rule::UserLimited) {
            Some(Outcome::NotListed) if self.request.user.is_empty() => {
                "the channel is for listed users, and the anonymous user is on no list".to_owned()
            }
            Some(Outcome::NotListed) => {
                "the channel is for listed users, and this user is not on the list".to_owned()
            }
            _ => format!("neither {} nor a token allows it", self.path),
        }
    }
}

/// The option of a namespace that a rule is about.
const fn option_of(rule: Rule) -> Option<&'static str> {
    Some(match rule {
        Rule::SubscribeProxy => "subscribe_proxy_enabled",
        Rule::SubscribeStreamProxy => "subscribe_stream_proxy_enabled",
        Rule::PublishProxy => "publish_proxy_enabled",
        Rule::AllowSubscribe
        | Rule::AllowPublish
        | Rule::AllowPublishSubscriber
        | Rule::AllowPresence
        | Rule::AllowPresenceSubscriber
        | Rule::AllowHistory
        | Rule::AllowHistorySubscriber => rule.id(),
        _ => return None,
    })
}
