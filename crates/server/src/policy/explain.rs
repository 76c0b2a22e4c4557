//! A decision in words: what was decided, by which rule, and what to change.

use super::ask::Ask;
use super::decide::Rules;
use super::decision::{
    Decision, Grant, HistoryGrant, PublishGrant, SubRefreshGrant, SubscribeGrant, Verdict,
};
use super::facts::Facts;
use super::request::{Action, Request, SubscriptionToken};
use super::rule::{Outcome, Rule, Step, Trail};
use crate::channel::NameFault;
use crate::config::typed::RecoveryMode;
use serde::Serialize;
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;

/// A decision in words. Serialises to what the server API and the console show; displays as text.
///
/// It has the channel and the user in it, but no token, no payload and no key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Requested action.
    pub action: &'static str,
    /// The channel.
    pub channel: String,
    /// The user; empty is anonymous.
    pub user: String,
    /// Place of the channel's options in the configuration; `None` if there is no such namespace.
    pub namespace: Option<String>,
    /// `allow`, `ask`, `error` or `disconnect`.
    pub verdict: &'static str,
    /// The code that the client gets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u32>,
    /// The text of the code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The stable id of the rule that decided, or of the reason for which a token was refused.
    pub rule: Cow<'static, str>,
    /// The stable reason for which a token was refused, for any rule that depends on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<Cow<'static, str>>,
    /// The reason, in a sentence.
    pub reason: String,
    /// Changes that would allow it; one of these is enough.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub change: Vec<String>,
    /// Every rule that was asked, in order.
    pub trail: Vec<ExplainedStep>,
    /// Granted permissions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub granted: Vec<String>,
    /// The proxy that is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Box<ProxyAccount>>,
}

impl Explanation {
    /// Adds the proxy that is asked.
    #[must_use]
    pub(crate) fn by(self, proxy: ProxyAccount) -> Self {
        Self { proxy: Some(Box::new(proxy)), ..self }
    }
}

/// Account of a proxy that is asked about a request. It has no value of a header, no payload and no password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProxyAccount {
    /// Kind of event.
    pub event: &'static str,
    /// Name of the proxy.
    pub name: String,
    /// `http` or `grpc`.
    pub protocol: &'static str,
    /// Address, without user, password and query.
    pub endpoint: String,
    /// Names of the headers that go with the request.
    pub headers: Vec<String>,
    /// The request, with payload and connection data masked.
    pub request: Value,
    /// State of the circuit breaker: `open` or `closed`.
    pub breaker: &'static str,
    /// Milliseconds that the call took, if it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<u64>,
    /// The answer, with payloads by their size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Value>,
    /// Reason why there is no answer that can be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

impl fmt::Display for ProxyAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { event, name, endpoint, breaker, request, .. } = self;
        writeln!(f, "  asks the {event} proxy {name:?} at {endpoint}, circuit breaker {breaker}")?;
        writeln!(f, "    with {request}, headers: {}", self.headers.join(", "))?;
        let Some(took) = self.took_ms else {
            return writeln!(f, "    not called");
        };
        match (&self.answer, &self.failure) {
            (Some(answer), _) => writeln!(f, "    answered in {took} ms: {answer}"),
            (None, failure) => {
                writeln!(f, "    failed in {took} ms: {}", failure.as_deref().unwrap_or_default())
            }
        }
    }
}

/// A rule and what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ExplainedStep {
    /// The stable id of the rule.
    pub rule: &'static str,
    /// The stable id of what came of it.
    pub outcome: &'static str,
}

/// Puts a decision of [`super::decide()`] into words.
#[must_use]
pub fn explain<'a, A: Facts<'a>>(
    rules: &Rules,
    request: &Request<'a, A>,
    decision: &Decision<A::Grant>,
) -> Explanation {
    let namespace = rules.registry.resolve(request.channel).namespace;
    let words = Words {
        rules,
        request: &request.with(request.action.action()),
        path: namespace.map_or_else(|| "the namespace".to_owned(), |n| n.path()),
        rule: decision.rule,
        trail: &decision.trail,
    };
    let (verdict, code, message, granted) = match &decision.verdict {
        Verdict::Allow(grant) => ("allow", None, None, grant.in_words()),
        Verdict::Ask(_) => ("ask", None, None, Vec::new()),
        Verdict::Error(error) => ("error", Some(error.code), Some(error.message.to_string()), Vec::new()),
        Verdict::Disconnect(end) => ("disconnect", Some(end.code), Some(end.reason.to_string()), Vec::new()),
    };
    let reason = match &decision.verdict {
        Verdict::Ask(ask) => words.question(ask),
        _ => words.reason(code.is_some()),
    };
    let change = if code.is_some() { words.changes() } else { Vec::new() };
    Explanation {
        action: words.request.action.name(),
        channel: request.channel.to_owned(),
        user: request.user.to_owned(),
        namespace: namespace.map(|n| n.path()),
        verdict,
        code,
        message,
        rule: decision.rule.id().into(),
        fault: None,
        reason,
        change,
        trail: decision.trail.steps().iter().map(ExplainedStep::from).collect(),
        granted,
        proxy: None,
    }
}

/// A grant that can be put into words.
pub trait InWords {
    /// Returns one line for each thing that is granted and worth telling.
    fn in_words(&self) -> Vec<String> {
        Vec::new()
    }
}

impl From<&Step> for ExplainedStep {
    fn from(step: &Step) -> Self {
        Self { rule: step.rule.id(), outcome: step.outcome.id() }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user =
            if self.user.is_empty() { "the anonymous user".to_owned() } else { format!("{:?}", self.user) };
        write!(f, "{} in {:?} by {user}: {}", self.action, self.channel, self.verdict)?;
        if let (Some(code), Some(message)) = (self.code, &self.message) {
            write!(f, " {code} ({message})")?;
        }
        writeln!(
            f,
            "\n  options: {}",
            self.namespace.as_deref().unwrap_or(if self.trail.is_empty() {
                "not looked at"
            } else {
                "none, there is no such namespace"
            })
        )?;
        writeln!(f, "  decided by: {}\n  because {}", self.rule, self.reason)?;
        if let Some(fault) = self.fault.as_ref().filter(|fault| **fault != self.rule) {
            writeln!(f, "  fault of the token: {fault}")?;
        }
        for (at, change) in self.change.iter().enumerate() {
            writeln!(f, "  {} {change}", if at == 0 { "to allow it:" } else { "         or:" })?;
        }
        for granted in &self.granted {
            writeln!(f, "  with {granted}")?;
        }
        if let Some(proxy) = &self.proxy {
            write!(f, "{proxy}")?;
        }
        if self.trail.is_empty() {
            return write!(f, "  no rule was asked");
        }
        write!(f, "  asked in turn:")?;
        for ExplainedStep { rule, outcome } in &self.trail {
            write!(f, " {rule}={outcome}")?;
        }
        Ok(())
    }
}

struct Words<'a> {
    rules: &'a Rules,
    request: &'a Request<'a>,
    path: String,
    rule: Rule,
    trail: &'a Trail,
}

impl Words<'_> {
    fn question(&self, ask: &Ask) -> String {
        let option = option_of(self.rule).unwrap_or_default();
        format!("{}.{option} is on: the server asks the proxy {:?}", self.path, ask.name())
    }

    fn reason(&self, refused: bool) -> String {
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

    fn changes(&self) -> Vec<String> {
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

impl InWords for () {}
impl InWords for HistoryGrant {}
impl InWords for SubRefreshGrant<'_> {}

impl InWords for PublishGrant {
    fn in_words(&self) -> Vec<String> {
        if self.history.size == 0 {
            return Vec::new();
        }
        vec![format!("history of {} publications for {:?}", self.history.size, self.history.ttl)]
    }
}

impl InWords for SubscribeGrant<'_> {
    fn in_words(&self) -> Vec<String> {
        describe_subscription(self)
    }
}

impl InWords for Grant<'_> {
    fn in_words(&self) -> Vec<String> {
        match self {
            Self::Subscribe(grant) => grant.in_words(),
            Self::SubRefresh(grant) => grant.in_words(),
            Self::Publish(grant) => grant.in_words(),
            Self::Presence => Vec::new(),
            Self::History(grant) => grant.in_words(),
        }
    }
}

fn describe_subscription(grant: &SubscribeGrant<'_>) -> Vec<String> {
    let cache = grant.recovery && grant.recovery_mode == RecoveryMode::Cache;
    let mut granted: Vec<String> = [
        (grant.presence, "presence"),
        (grant.join_leave, "join and leave events made"),
        (grant.push_join_leave, "join and leave events received"),
        (grant.positioning || grant.recovery, "positioning"),
        (grant.recovery && !cache, "recovery of everything missed"),
        (cache, "recovery of the latest publication"),
        (grant.delta, "deltas if asked for"),
        (grant.tags_filter, "a tags filter if asked for"),
    ]
    .into_iter()
    .filter(|(on, _)| *on)
    .map(|(_, text)| text.to_owned())
    .collect();
    if grant.expire_at > 0 {
        granted.push(format!("expiry at {} (Unix seconds)", grant.expire_at));
    }
    if grant.allow != super::Allow::NONE {
        granted.push(format!("the token's allow: {}", grant.allow.names().collect::<Vec<_>>().join(", ")));
    }
    granted
}
